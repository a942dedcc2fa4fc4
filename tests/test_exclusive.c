/*
 * test_exclusive.c - one reader and one writer at a time, also in the very middle of a poll; and
 * that such a poll does not keep the worker for itself. recv and send are the test's own, so that
 * it can stop a poll inside them.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "api_support.h"

/* ---- recv and send ---- */

static struct {
	atomic_int countdown; /* the call in which to stop: 1 is the next */
	atomic_int is_in, go_on;
	atomic_int pretends; /* send takes a little and does nothing */
	atomic_int sends;
} calls;

static void stop_here(void)
{
	if (calls.countdown == 0 || atomic_fetch_sub(&calls.countdown, 1) != 1)
		return;
	atomic_store(&calls.is_in, 1);
	WAIT_UNTIL(calls.go_on == 1);
}

/* The C library names the parameters otherwise.
 * NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
ssize_t recv(int fd, void *data, size_t size, int flags)
{
	stop_here();
	return recvfrom(fd, data, size, flags, NULL, NULL);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): as above */
ssize_t send(int fd, const void *data, size_t size, int flags)
{
	atomic_fetch_add(&calls.sends, 1);
	if (calls.pretends)
		return size < 1000 ? (ssize_t)size : 1000;
	stop_here();
	return sendto(fd, data, size, flags, NULL, 0);
}

/* ---- A connection, and a thread at its other end ---- */

struct link {
	skua_runtime *rt;
	skua_source *source;
	int peer;
};

static struct link open_link(uint32_t kind)
{
	struct link link = {.rt = runtime_on(2, kind)};
	int ends[2], size = 4096;

	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	T_EQ(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
	T_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	T_EQ(skua_source_new(link.rt, ends[0], &link.source), 0);
	link.peer = ends[1];
	return link;
}

static void close_link(struct link *link)
{
	skua_source_close(link->source);
	close(link->peer);
	T_EQ(skua_runtime_free(link->rt), 0);
}

/* A source of a stream socket serves as a connection. */
static skua_tcp *conn_of(const struct link *link)
{
	return (skua_tcp *)(void *)link->source;
}

struct bytes {
	skua_tcp *conn;
	char *data;
	size_t size;
	skua_timer timer;
	atomic_int polls;
};

static skua_poll op_read(skua_cx *cx, void *argument)
{
	struct bytes *bytes = argument;

	atomic_fetch_add(&bytes->polls, 1);
	return skua_timeout(cx, &bytes->timer, 20 * SKUA_SEC,
			    skua_read(cx, bytes->conn, bytes->data, bytes->size));
}

static skua_poll op_write(skua_cx *cx, void *argument)
{
	struct bytes *bytes = argument;

	atomic_fetch_add(&bytes->polls, 1);
	return skua_timeout(cx, &bytes->timer, 20 * SKUA_SEC,
			    skua_write(cx, bytes->conn, bytes->data, bytes->size));
}

static skua_poll op_write_all(skua_cx *cx, void *argument)
{
	struct bytes *bytes = argument;

	atomic_fetch_add(&bytes->polls, 1);
	return skua_timeout(cx, &bytes->timer, 20 * SKUA_SEC,
			    skua_write_all(cx, bytes->conn, bytes->data, bytes->size));
}

/* ---- A second one while the first is in the middle of a poll ---- */

static void stop_at(int call)
{
	calls.is_in = calls.go_on = 0;
	calls.countdown = call;
}

/* The first reader is stopped in its n-th call of recv. */
static void second_reader(uint32_t kind, int call)
{
	struct link link = open_link(kind);
	char in[2] = "", other = 0;
	struct bytes first = {.conn = conn_of(&link), .data = in, .size = 1};
	struct bytes second = {.conn = conn_of(&link), .data = &other, .size = 1};
	skua_task *task;

	stop_at(call);
	task = start(link.rt, op_read, &first);
	if (call > 1) {
		/* It is waiting: the byte leads to another call. */
		WAIT_UNTIL(calls.countdown == call - 1);
		T_EQ(write(link.peer, "x", 1), 1);
	}
	WAIT_UNTIL(calls.is_in == 1);
	for (int i = 0; i < 3; i++)
		T_EQ(run(link.rt, op_read, &second), -EBUSY);
	T_EQ(skua_task_finished(task), 0);
	calls.go_on = 1;
	if (call == 1)
		T_EQ(write(link.peer, "x", 1), 1);
	T_EQ(skua_task_wait(&task), 1);
	T_EQ(in[0], 'x');
	T_EQ(other, 0);
	/* And now it is the other one's turn. */
	T_EQ(write(link.peer, "y", 1), 1);
	T_EQ(run(link.rt, op_read, &second), 1);
	T_EQ(other, 'y');
	close_link(&link);
}

T_ON_EACH_IO(exclusive, a_second_reader_in_the_middle_of_the_first_poll)
{
	second_reader(kind, 1);
}

T_ON_EACH_IO(exclusive, a_second_reader_in_the_middle_of_a_later_poll)
{
	second_reader(kind, 2);
}

enum { MANY = 200000 };

static char byte_at(size_t position)
{
	return (char)(position * 2654435761u >> 13);
}

/* Reads `size` bytes at the other end, and checks that they are those of the first writer. */
static void check_stream(int peer, size_t size)
{
	static char in[MANY];
	size_t done = 0;

	T_LE(size, sizeof in);
	while (done < size) {
		ssize_t n = read(peer, in + done, size - done);

		T_GT(n, 0);
		done += (size_t)n;
	}
	for (size_t i = 0; i < size; i++)
		if (in[i] != byte_at(i))
			T_ASSERT_MSG(0, "the byte at %zu is not the first writer's", i);
}

/* The first writer is stopped in its n-th call of send. */
static void second_writer(uint32_t kind, int call, operation *other)
{
	static char out[MANY];
	struct link link = open_link(kind);
	char seven[] = "1234567";
	struct bytes first = {.conn = conn_of(&link), .data = out, .size = sizeof out};
	struct bytes second = {.conn = conn_of(&link), .data = seven, .size = 7};
	char after[8] = "";
	skua_task *task;

	for (size_t i = 0; i < sizeof out; i++)
		out[i] = byte_at(i);
	stop_at(call);
	task = start(link.rt, op_write_all, &first);
	WAIT_UNTIL(calls.is_in == 1);
	for (int i = 0; i < 3; i++)
		T_EQ(run(link.rt, other, &second), -EBUSY);
	T_EQ(skua_task_finished(task), 0);
	calls.go_on = 1;
	check_stream(link.peer, sizeof out);
	T_EQ(skua_task_wait(&task), sizeof out);
	/* Nothing of the second one came in between, and now it is its turn. */
	T_EQ(recvfrom(link.peer, after, 1, MSG_DONTWAIT, NULL, NULL), -1);
	T_EQ(run(link.rt, other, &second), 7);
	T_EQ(read(link.peer, after, sizeof after), 7);
	T_STR_EQ(after, seven);
	close_link(&link);
}

T_ON_EACH_IO(exclusive, a_second_writer_in_the_middle_of_the_first_poll)
{
	second_writer(kind, 1, op_write);
	second_writer(kind, 1, op_write_all);
}

/* The buffer of the socket is smaller, so a part has been written. */
T_ON_EACH_IO(exclusive, a_second_writer_after_a_part_was_written)
{
	second_writer(kind, 2, op_write);
	second_writer(kind, 2, op_write_all);
}

/* Reading and writing are two things. */
T_ON_EACH_IO(exclusive, a_writer_in_the_middle_of_a_read)
{
	struct link link = open_link(kind);
	char in = 0, out = 'o', got = 0;
	struct bytes reading = {.conn = conn_of(&link), .data = &in, .size = 1};
	struct bytes writing = {.conn = conn_of(&link), .data = &out, .size = 1};
	skua_task *task;

	stop_at(1);
	task = start(link.rt, op_read, &reading);
	WAIT_UNTIL(calls.is_in == 1);
	T_EQ(run(link.rt, op_write_all, &writing), 1);
	T_EQ(read(link.peer, &got, 1), 1);
	T_EQ(got, 'o');
	T_EQ(write(link.peer, "i", 1), 1);
	calls.go_on = 1;
	T_EQ(skua_task_wait(&task), 1);
	T_EQ(in, 'i');
	close_link(&link);
}

/* Two that write all the time, without any stop: one of them gets -EBUSY now and then, and nobody
 * anything else. */
struct insistent {
	skua_coro co;
	skua_tcp *conn;
	size_t size, done, busy;
	int64_t n;
	atomic_int *stop;
	atomic_size_t *total;
};

static skua_poll insistent(skua_cx *cx, struct insistent *self)
{
	static const char data[3000];

	SKUA_BEGIN(self);
	while (*self->stop == 0) {
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, data, self->size));
		if (self->n == (int64_t)self->size)
			atomic_fetch_add(self->total, self->size);
		else
			T_EQ(self->n, -EBUSY);
		if (self->n == -EBUSY)
			SKUA_AWAIT(self->n = skua_yield(cx));
	}
	SKUA_END(0);
}
SKUA_CORO(insistent, struct insistent);

struct drain {
	int fd;
	size_t bytes;
};

static void *drain(void *argument)
{
	struct drain *drain = argument;
	char data[4096];
	ssize_t n;

	while ((n = read(drain->fd, data, sizeof data)) > 0)
		drain->bytes += (size_t)n;
	return NULL;
}

T_ON_EACH_IO(exclusive, stress_two_writers)
{
	struct link link = open_link(kind);
	atomic_int stop = 0;
	atomic_size_t total = 0;
	struct insistent state = {
		.co = SKUA_CORO_INIT(insistent),
		.conn = conn_of(&link),
		.stop = &stop,
		.total = &total,
	};
	struct drain reading = {.fd = link.peer};
	pthread_t thread;
	skua_task *tasks[2];

	T_EQ(pthread_create(&thread, NULL, drain, &reading), 0);
	for (int i = 0; i < 2; i++) {
		state.size = i == 0 ? 3000 : 7;
		tasks[i] = start_future(link.rt, &state.co);
	}
	sleep_ms(T_QUICK ? 50 : 300);
	stop = 1;
	for (int i = 0; i < 2; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(skua_tcp_shutdown(conn_of(&link)), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(reading.bytes, total);
	close_link(&link);
}

/* ---- Nothing to transfer ---- */

static skua_poll nothing(skua_cx *cx, void *argument)
{
	struct bytes *bytes = argument;

	T_EQ(skua_read(cx, bytes->conn, NULL, 0), 0);
	T_EQ(skua_write_all(cx, bytes->conn, NULL, 0), 0);
	return 3;
}

T_ON_EACH_IO(exclusive, nothing_is_read_and_written_at_once)
{
	struct link link = open_link(kind);
	char in = 0;
	struct bytes bytes = {.conn = conn_of(&link), .data = &in, .size = 1};

	T_EQ(run(link.rt, nothing, &bytes), 3);
	/* With data there, none of it is taken. */
	T_EQ(write(link.peer, "x", 1), 1);
	T_EQ(run(link.rt, nothing, &bytes), 3);
	T_EQ(run(link.rt, op_read, &bytes), 1);
	T_EQ(in, 'x');
	close_link(&link);
}

/* ---- A reader that is faster than the writer ---- */

static skua_poll counts_turns(skua_cx *cx, void *argument)
{
	int *turns = argument;
	int interrupt = skua_cx_interrupt(cx);

	if (interrupt != 0)
		return interrupt;
	++*turns;
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	return SKUA_PENDING;
}

T_TEST(exclusive, a_large_write_all_gives_way_on_the_same_worker)
{
	enum { BUDGET = 8, SENDS = MANY / 1000 };
	static char out[MANY];
	struct link link = {.peer = -1};
	struct bytes bytes = {.data = out, .size = sizeof out};
	skua_config config;
	skua_task *other;
	int ends[2], turns = 0;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.budget = BUDGET;
	link.rt = runtime_with(&config);
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	T_EQ(skua_source_new(link.rt, ends[0], &link.source), 0);
	link.peer = ends[1];
	bytes.conn = conn_of(&link);
	calls.pretends = 1;
	other = start(link.rt, counts_turns, &turns);
	T_EQ(run(link.rt, op_write_all, &bytes), sizeof out);
	T_EQ(skua_cancel(other), 0);
	T_EQ(skua_task_wait(&other), -ECANCELED);
	T_EQ(calls.sends, SENDS);
	/* One unit of the budget for each call; then everybody else had a turn. */
	T_GE(bytes.polls, SENDS / (BUDGET + 1));
	T_GE(turns, bytes.polls - 1);
	close_link(&link);
}
