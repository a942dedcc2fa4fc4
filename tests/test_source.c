/* test_source.c - readiness of descriptors that the program uses itself, on both backends. */
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "api_support.h"

struct waiting {
	skua_source *source;
	skua_timer timer;
	uint64_t ns;
	atomic_int polls;
};

static skua_poll op_readable(skua_cx *cx, void *argument)
{
	struct waiting *self = argument;
	skua_poll result = skua_source_readable(cx, self->source);

	atomic_fetch_add(&self->polls, 1);
	return result;
}

static skua_poll op_writable(skua_cx *cx, void *argument)
{
	struct waiting *self = argument;
	skua_poll result = skua_source_writable(cx, self->source);

	atomic_fetch_add(&self->polls, 1);
	return result;
}

static skua_poll op_readable_in_time(skua_cx *cx, void *argument)
{
	struct waiting *self = argument;

	return skua_timeout(cx, &self->timer, self->ns, skua_source_readable(cx, self->source));
}

static skua_source *source_of(skua_runtime *rt, int fd)
{
	skua_source *source = NULL;

	T_EQ(skua_source_new(rt, fd, &source), 0);
	T_EQ(skua_source_fd(source), fd);
	return source;
}

static void open_pipe(int ends[2])
{
	T_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

/* ---- What can be waited for ---- */

T_TEST(source, what_cannot_be_waited_for_is_refused)
{
	skua_runtime *rt = runtime_of(1);
	skua_source *source = NULL;
	int ends[2], file, directory, closed;

	T_EQ(pipe2(ends, O_CLOEXEC), 0);
	T_EQ(skua_source_new(rt, ends[0], &source), -EINVAL);
	T_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	T_EQ(skua_source_new(NULL, ends[0], &source), -EINVAL);
	T_EQ(skua_source_new(rt, ends[0], NULL), -EINVAL);
	file = open("/proc/self/exe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	T_EQ(skua_source_new(rt, file, &source), -EPERM);
	directory = open("/", O_RDONLY | O_NONBLOCK | O_DIRECTORY | O_CLOEXEC);
	T_EQ(skua_source_new(rt, directory, &source), -EPERM);
	closed = dup(file);
	close(closed);
	T_EQ(skua_source_new(rt, closed, &source), -EBADF);
	T_EQ(skua_source_new(rt, -1, &source), -EBADF);
	T_NULL(source);
	/* All of them are still the caller's. */
	T_EQ(close(ends[0]) | close(ends[1]) | close(file) | close(directory), 0);
	skua_source_close(NULL);
	T_EQ(skua_runtime_free(rt), 0);
}

/* The kernel cannot wait for /dev/null: an error, or "ready", but not a wait for ever. */
T_ON_EACH_IO(source, a_device_without_readiness_does_not_hang)
{
	skua_runtime *rt = runtime_on(1, kind);
	int null = open("/dev/null", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct waiting state = {.source = source_of(rt, null)};
	int64_t result = run(rt, op_readable, &state);

	T_ASSERT_MSG(result == 0 || result == -EPERM, "the await gave %" PRId64, result);
	skua_source_close(state.source);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Reading ---- */

/* Reads to the end, by the book: try; on EAGAIN await; try again. */
struct reader {
	skua_coro co;
	skua_source *source;
	ssize_t n;
	int64_t rc, sum;
	int awaits;
};

static skua_poll reader(skua_cx *cx, struct reader *self)
{
	unsigned char bytes[16];

	SKUA_BEGIN(self);
	for (;;) {
		self->n = read(skua_source_fd(self->source), bytes, sizeof bytes);
		if (self->n == 0)
			break;
		for (ssize_t i = 0; i < self->n; i++)
			self->sum += bytes[i];
		if (self->n > 0)
			continue;
		T_EQ(errno, EAGAIN);
		self->awaits++;
		SKUA_AWAIT(self->rc = skua_source_readable(cx, self->source));
		T_EQ(self->rc, 0);
	}
	skua_source_close(self->source);
	T_GT(self->awaits, 0);
	SKUA_END(self->sum);
}
SKUA_CORO(reader, struct reader);

T_ON_EACH_IO(source, reading_a_pipe)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct reader future = {.co = SKUA_CORO_INIT(reader)};
	int64_t sum = 0;
	skua_task *task;
	int ends[2];

	open_pipe(ends);
	future.source = source_of(rt, ends[0]);
	task = start_future(rt, &future.co);
	for (int i = 0; i < 300; i++) {
		unsigned char bytes[3] = {(unsigned char)i, 1, 2};
		size_t size = (size_t)i % 3 + 1;

		T_EQ(write(ends[1], bytes, size), (ssize_t)size);
		for (size_t b = 0; b < size; b++)
			sum += bytes[b];
		if (i % 50 == 0)
			sleep_ms(2);
	}
	sleep_ms(2);
	close(ends[1]);
	T_EQ(skua_task_wait(&task), sum);
	T_EQ(skua_runtime_free(rt), 0);
}

T_ON_EACH_IO(source, what_was_there_before_is_reported)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct waiting state = {0};
	int ends[2];

	open_pipe(ends);
	T_EQ(write(ends[1], "x", 1), 1);
	state.source = source_of(rt, ends[0]);
	T_EQ(run(rt, op_readable, &state), 0);
	skua_source_close(state.source);
	close(ends[1]);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Each increment of the counter by a thread is seen by the task. */
struct counting {
	skua_coro co;
	skua_source *source;
	uint64_t value;
	ssize_t n;
	int64_t rc, sum, goal;
};

static skua_poll counting(skua_cx *cx, struct counting *self)
{
	SKUA_BEGIN(self);
	while (self->sum < self->goal) {
		self->n = read(skua_source_fd(self->source), &self->value, sizeof self->value);
		if (self->n < 0)
			SKUA_AWAIT(self->rc = skua_source_readable(cx, self->source));
		else
			self->sum += (int64_t)self->value;
	}
	SKUA_END(self->sum);
}
SKUA_CORO(counting, struct counting);

T_ON_EACH_IO(source, an_eventfd_that_threads_signal)
{
	skua_runtime *rt = runtime_on(2, kind);
	int goal = rounds(5000);
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct counting future = {
		.co = SKUA_CORO_INIT(counting), .source = source_of(rt, fd), .goal = goal};
	skua_task *task = start_future(rt, &future.co);

	for (int i = 0; i < goal; i++) {
		T_EQ(eventfd_write(fd, 1), 0);
		if (i % 100 == 0)
			sched_yield();
	}
	T_EQ(skua_task_wait(&task), goal);
	skua_source_close(future.source);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Writing ---- */

static void fill_up(int fd)
{
	static const char zeros[4096];

	while (write(fd, zeros, sizeof zeros) > 0)
		;
	T_EQ(errno, EAGAIN);
}

static void drain(int fd)
{
	char bytes[4096];

	while (read(fd, bytes, sizeof bytes) > 0)
		;
	T_EQ(errno, EAGAIN);
}

T_ON_EACH_IO(source, writing_to_a_full_pipe)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct waiting state = {0};
	int ends[2];

	open_pipe(ends);
	state.source = source_of(rt, ends[1]);
	for (int i = 0; i < 10; i++) {
		skua_task *task;

		fill_up(ends[1]);
		state.polls = 0;
		task = start(rt, op_writable, &state);
		WAIT_UNTIL(state.polls >= 1);
		sleep_ms(1);
		drain(ends[0]);
		T_EQ(skua_task_wait(&task), 0);
		T_EQ(write(ends[1], "x", 1), 1);
	}
	skua_source_close(state.source);
	close(ends[0]);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Ends ---- */

T_ON_EACH_IO(source, the_other_end_goes)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct waiting reading = {0}, writing = {0};
	int in[2], out[2];
	skua_task *reads, *writes;
	char byte;

	signal(SIGPIPE, SIG_IGN);
	open_pipe(in);
	open_pipe(out);
	fill_up(out[1]);
	reading.source = source_of(rt, in[0]);
	writing.source = source_of(rt, out[1]);
	reads = start(rt, op_readable, &reading);
	writes = start(rt, op_writable, &writing);
	WAIT_UNTIL(reading.polls >= 1 && writing.polls >= 1);
	close(in[1]);
	close(out[0]);
	T_EQ(skua_task_wait(&reads), 0);
	T_EQ(read(in[0], &byte, 1), 0);
	T_EQ(skua_task_wait(&writes), 0);
	T_EQ(write(out[1], "x", 1), -1);
	T_EQ(errno, EPIPE);
	skua_source_close(reading.source);
	skua_source_close(writing.source);
	T_EQ(skua_runtime_free(rt), 0);
}

T_ON_EACH_IO(source, close_under_both_waits)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct waiting state = {0};
	skua_task *reads, *writes;
	char bytes[4096];
	int ends[2];
	ssize_t n;

	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	fill_up(ends[0]);
	state.source = source_of(rt, ends[0]);
	reads = start(rt, op_readable, &state);
	writes = start(rt, op_writable, &state);
	/* A unix socket reports itself writable early and again: the waits may be polled often. */
	WAIT_UNTIL(state.polls >= 2);
	sleep_ms(2);
	T_EQ(skua_task_finished(reads), 0);
	T_EQ(skua_task_finished(writes), 0);
	skua_source_close(state.source);
	T_EQ(skua_task_wait(&reads), -ECANCELED);
	T_EQ(skua_task_wait(&writes), -ECANCELED);
	/* The descriptor is closed: on the uv io by the driver, in a moment. */
	do
		n = read(ends[1], bytes, sizeof bytes);
	while (n > 0 || (n < 0 && errno == EAGAIN));
	T_EQ(n, 0);
	close(ends[1]);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Interruptions, and two at once ---- */

T_ON_EACH_IO(source, timeout_and_cancel)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct waiting state = {.ns = 10 * SKUA_MSEC};
	uint64_t begin = skua_now();
	skua_task *task;
	int ends[2];

	open_pipe(ends);
	state.source = source_of(rt, ends[0]);
	T_EQ(run(rt, op_readable_in_time, &state), -ETIMEDOUT);
	T_GE(skua_now() - begin, 10 * SKUA_MSEC);
	task = start(rt, op_readable, &state);
	WAIT_UNTIL(state.polls >= 1);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	state.ns = 60 * SKUA_SEC;
	T_EQ(write(ends[1], "x", 1), 1);
	T_EQ(run(rt, op_readable_in_time, &state), 0);
	skua_source_close(state.source);
	close(ends[1]);
	T_EQ(skua_runtime_free(rt), 0);
}

T_ON_EACH_IO(source, a_second_task_is_refused)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct waiting first = {0}, second = {0};
	skua_task *task;
	int ends[2];

	open_pipe(ends);
	first.source = second.source = source_of(rt, ends[0]);
	task = start(rt, op_readable, &first);
	WAIT_UNTIL(first.polls >= 1);
	T_EQ(run(rt, op_readable, &second), -EBUSY);
	T_EQ(write(ends[1], "x", 1), 1);
	T_EQ(skua_task_wait(&task), 0);
	skua_source_close(first.source);
	close(ends[1]);
	T_EQ(skua_runtime_free(rt), 0);
}

/* More sources than the table's first chunk, opened and closed again and again. */
T_ON_EACH_IO(source, many_one_after_the_other)
{
	enum { COUNT = 300 };
	skua_runtime *rt = runtime_on(2, kind);
	struct waiting states[COUNT] = {0};
	int ends[COUNT][2];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < COUNT; i++) {
			open_pipe(ends[i]);
			states[i].source = source_of(rt, ends[i][0]);
		}
		for (int i = 0; i < COUNT; i++) {
			T_EQ(write(ends[i][1], "x", 1), 1);
			T_EQ(run(rt, op_readable, &states[i]), 0);
			skua_source_close(states[i].source);
			close(ends[i][1]);
		}
	}
	T_EQ(skua_runtime_free(rt), 0);
}
