/* test_blocker.c - the IO blocker used directly, on both backends. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include "api_support.h"

static skua_blocker *blocker_on(uint32_t backend)
{
	skua_blocker *blocker = NULL;

	T_EQ(skua_blocker_new(backend, &blocker), 0);
	return blocker;
}

/* Registers `fd` under `id`. */
static void enter(skua_blocker *blocker, skua_registration *registration, int fd, uint64_t id,
		  uint32_t flags)
{
	memset(registration, 0, sizeof *registration);
	T_EQ(skua_blocker_register(blocker, fd, (skua_interest){id, flags}, registration), 0);
}

/* Blocks until there is an event; block() may return without one. */
static int next_events(skua_blocker *blocker, skua_event *events, int capacity)
{
	int count;

	do
		count = skua_blocker_block(blocker, events, capacity, -1);
	while (count == 0);
	T_GT(count, 0);
	T_LE(count, capacity);
	return count;
}

/* The ready flags of a descriptor's next event, which has to be the only one. */
static uint32_t next_ready(skua_blocker *blocker, uint64_t id)
{
	skua_event event;

	T_EQ(next_events(blocker, &event, 1), 1);
	T_EQ(event.id, id);
	return event.ready;
}

/* No event comes for a while. */
static void expect_silence(skua_blocker *blocker)
{
	skua_event event;
	uint64_t end = skua_now() + 20 * SKUA_MSEC;

	do
		T_EQ(skua_blocker_block(blocker, &event, 1, 5 * SKUA_MSEC), 0);
	while (skua_now() < end);
}

static void open_pair(int ends[2])
{
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static void read_all(int fd)
{
	char bytes[256];

	while (read(fd, bytes, sizeof bytes) > 0)
		;
	T_EQ(errno, EAGAIN);
}

static void fill_up(int fd)
{
	static const char zeros[4096];

	while (write(fd, zeros, sizeof zeros) > 0)
		;
	T_EQ(errno, EAGAIN);
}

/* ---- Mistakes ---- */

T_TEST(blocker, bad_backends)
{
	skua_blocker *blocker = NULL;

	T_EQ(skua_blocker_new(7, &blocker), -EINVAL);
	T_EQ(skua_blocker_new(SKUA_IO_BACKEND_AUTO, NULL), -EINVAL);
	T_NULL(blocker);
	skua_blocker_free(NULL);
	skua_blocker_free(blocker_on(SKUA_IO_BACKEND_AUTO));
}

T_ON_BACKENDS(blocker, bad_arguments)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registration = {0};
	const skua_interest read = {1, SKUA_READABLE};
	skua_event event;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), closed = dup(file);

	close(closed);
	T_EQ(skua_blocker_register(NULL, file, read, &registration), -EINVAL);
	T_EQ(skua_blocker_register(blocker, file, read, NULL), -EINVAL);
	T_EQ(skua_blocker_register(blocker, file, (skua_interest){1, 0}, &registration), -EINVAL);
	T_EQ(skua_blocker_register(blocker, file, (skua_interest){1, SKUA_HANGUP}, &registration),
	     -EINVAL);
	T_EQ(skua_blocker_register(blocker, file, read, &registration), -EPERM);
	T_EQ(skua_blocker_register(blocker, -1, read, &registration), -EBADF);
	T_EQ(skua_blocker_register(blocker, closed, read, &registration), -EBADF);
	T_EQ(skua_blocker_rearm(blocker, &registration, 0), -EINVAL);
	T_EQ(skua_blocker_block(blocker, &event, 0, 0), -EINVAL);
	T_EQ(skua_blocker_block(blocker, NULL, 1, 0), -EINVAL);
	T_EQ(skua_blocker_block(NULL, &event, 1, 0), -EINVAL);
	skua_blocker_free(blocker);
	close(file);
}

T_TEST(blocker, registering_twice_epoll)
{
	skua_blocker *blocker = blocker_on(SKUA_IO_BACKEND_EPOLL);
	skua_registration first, second = {0};
	const skua_interest interest = {2, SKUA_READABLE};
	int ends[2];

	open_pair(ends);
	enter(blocker, &first, ends[0], 1, SKUA_READABLE);
	T_EQ(skua_blocker_register(blocker, ends[0], interest, &second), -EEXIST);
	/* The first one still works. */
	T_EQ(write(ends[1], "x", 1), 1);
	T_EQ(next_ready(blocker, 1), SKUA_READABLE);
	skua_blocker_deregister(blocker, &first, 1);
	close(ends[1]);
	skua_blocker_free(blocker);
}

/* The portable backend cannot tell before its loop has tried: the second registration then reports
 * a hang-up, so that whoever waits does not wait for ever. */
T_TEST(blocker, registering_twice_uv)
{
	skua_blocker *blocker = blocker_on(SKUA_IO_BACKEND_UV);
	skua_registration first, second = {0};
	const skua_interest interest = {2, SKUA_READABLE};
	int ends[2], rc;

	open_pair(ends);
	enter(blocker, &first, ends[0], 1, SKUA_READABLE);
	expect_silence(blocker);
	rc = skua_blocker_register(blocker, ends[0], interest, &second);
	if (rc == 0) {
		T_NE(next_ready(blocker, 2) & SKUA_HANGUP, 0);
		skua_blocker_deregister(blocker, &second, 0);
		expect_silence(blocker);
	} else {
		T_EQ(rc, -EEXIST);
	}
	T_EQ(write(ends[1], "x", 1), 1);
	T_EQ(next_ready(blocker, 1), SKUA_READABLE);
	skua_blocker_deregister(blocker, &first, 1);
	close(ends[1]);
	skua_blocker_free(blocker);
}

/* ---- Events ---- */

T_ON_BACKENDS(blocker, readable_once_for_each_change)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registration;
	int ends[2];

	open_pair(ends);
	enter(blocker, &registration, ends[0], UINT64_C(0xfedcba9876543210), SKUA_READABLE);
	expect_silence(blocker);
	for (int i = 0; i < 10; i++) {
		T_EQ(write(ends[1], "x", 1), 1);
		T_EQ(next_ready(blocker, UINT64_C(0xfedcba9876543210)), SKUA_READABLE);
		/* Reported once, although it is still readable. */
		if (i == 0)
			expect_silence(blocker);
		read_all(ends[0]);
		T_EQ(skua_blocker_rearm(blocker, &registration, SKUA_READABLE), 0);
	}
	expect_silence(blocker);
	skua_blocker_deregister(blocker, &registration, 1);
	close(ends[1]);
	skua_blocker_free(blocker);
}

T_ON_BACKENDS(blocker, ready_before_it_was_registered)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registration;
	int ends[2];

	open_pair(ends);
	T_EQ(write(ends[1], "x", 1), 1);
	enter(blocker, &registration, ends[0], 3, SKUA_READABLE | SKUA_WRITABLE);
	T_EQ(next_ready(blocker, 3), SKUA_READABLE | SKUA_WRITABLE);
	skua_blocker_deregister(blocker, &registration, 1);
	close(ends[1]);
	skua_blocker_free(blocker);
}

T_ON_BACKENDS(blocker, rearm_adds_a_direction)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registration;
	int ends[2];

	open_pair(ends);
	enter(blocker, &registration, ends[0], 4, SKUA_READABLE);
	expect_silence(blocker);
	T_EQ(skua_blocker_rearm(blocker, &registration, SKUA_WRITABLE), 0);
	T_EQ(next_ready(blocker, 4) & SKUA_WRITABLE, SKUA_WRITABLE);

	fill_up(ends[0]);
	T_EQ(skua_blocker_rearm(blocker, &registration, SKUA_WRITABLE), 0);
	expect_silence(blocker);
	read_all(ends[1]);
	T_EQ(next_ready(blocker, 4) & SKUA_WRITABLE, SKUA_WRITABLE);
	/* And the first direction is still there. */
	T_EQ(write(ends[1], "x", 1), 1);
	T_EQ(next_ready(blocker, 4) & SKUA_READABLE, SKUA_READABLE);
	skua_blocker_deregister(blocker, &registration, 1);
	close(ends[1]);
	skua_blocker_free(blocker);
}

T_ON_BACKENDS(blocker, hangup)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registration;
	int ends[2];

	open_pair(ends);
	enter(blocker, &registration, ends[0], 5, SKUA_READABLE);
	expect_silence(blocker);
	close(ends[1]);
	T_NE(next_ready(blocker, 5) & SKUA_READABLE, 0);
	skua_blocker_deregister(blocker, &registration, 1);
	skua_blocker_free(blocker);
}

/* ---- Ends of registrations ---- */

T_ON_BACKENDS(blocker, deregister_keeps_the_descriptor)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registration;
	skua_event event;
	int ends[2];

	open_pair(ends);
	for (uint64_t id = 10; id < 15; id++) {
		enter(blocker, &registration, ends[0], id, SKUA_READABLE);
		T_EQ(write(ends[1], "x", 1), 1);
		T_EQ(next_ready(blocker, id), SKUA_READABLE);
		read_all(ends[0]);
		T_EQ(skua_blocker_rearm(blocker, &registration, SKUA_READABLE), 0);
		skua_blocker_deregister(blocker, &registration, 0);
		while (skua_blocker_block(blocker, &event, 1, 5 * SKUA_MSEC) != 0)
			;
		/* Nobody is told any more, and the descriptor still works. */
		T_EQ(write(ends[1], "y", 1), 1);
		expect_silence(blocker);
		read_all(ends[0]);
	}
	T_EQ(close(ends[0]), 0);
	T_EQ(close(ends[1]), 0);
	skua_blocker_free(blocker);
}

T_ON_BACKENDS(blocker, deregister_closes_the_descriptor)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registrations[2];
	skua_event event;
	int used[2], fresh[2];
	char byte;

	open_pair(used);
	open_pair(fresh);
	/* One that has waited, and one that was only just registered. */
	enter(blocker, &registrations[0], used[0], 1, SKUA_READABLE);
	expect_silence(blocker);
	enter(blocker, &registrations[1], fresh[0], 2, SKUA_READABLE);
	skua_blocker_deregister(blocker, &registrations[0], 1);
	skua_blocker_deregister(blocker, &registrations[1], 1);
	(void)!skua_blocker_block(blocker, &event, 1, SKUA_MSEC);
	T_EQ(read(used[1], &byte, 1), 0);
	T_EQ(read(fresh[1], &byte, 1), 0);
	close(used[1]);
	close(fresh[1]);
	skua_blocker_free(blocker);
}

enum { AT_ONCE = 4 };

/* Keeps a thread on one of the CPUs there are; the scheduler would often keep both on the same. */
static void keep_on(pthread_t thread, int wanted)
{
	cpu_set_t all, one;
	int cpu = 0;

	T_EQ(sched_getaffinity(0, sizeof all, &all), 0);
	wanted %= CPU_COUNT(&all);
	while (!CPU_ISSET(cpu, &all) || wanted-- > 0)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	T_EQ(pthread_setaffinity_np(thread, sizeof one, &one), 0);
}

/* Waits until it is told to stop, and does nothing else. */
struct waits {
	skua_blocker *blocker;
	atomic_int stop;
};

static void *waits(void *argument)
{
	struct waits *self = argument;

	while (!self->stop) {
		skua_event events[AT_ONCE];

		(void)!skua_blocker_block(self->blocker, events, AT_ONCE, -1);
	}
	return NULL;
}

/*
 * Of each pair the end that is registered gets a byte, has it taken away again, and is closed. So the
 * thread that waits may look at it just then, and go to sleep because there is nothing. Since Linux 6.9
 * it would keep the file open in its sleep (blocker_epoll.c), and without an event there is no end to
 * that. On two CPUs it happened in the first few hundred turns when they were only closed.
 */
T_ON_BACKENDS(blocker, deregister_closes_at_once_while_a_thread_waits)
{
	enum { PATIENT_MS = 5000 };
	struct waits state = {.blocker = blocker_on(backend)};
	int turns = rounds(backend == IO_UV ? 1000 : 5000);
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, waits, &state), 0);
	keep_on(thread, 1);
	keep_on(pthread_self(), 0);
	for (int turn = 0; turn < turns; turn++) {
		skua_registration registrations[AT_ONCE];
		int ends[AT_ONCE][2];
		char byte;

		for (int i = 0; i < AT_ONCE; i++) {
			open_pair(ends[i]);
			enter(state.blocker, &registrations[i], ends[i][0], (uint64_t)i,
			      SKUA_READABLE);
		}
		for (int i = 0; i < AT_ONCE; i++) {
			T_EQ(write(ends[i][1], "x", 1), 1);
			T_EQ(read(ends[i][0], &byte, 1), 1);
		}
		for (int i = AT_ONCE; i-- > 0;)
			skua_blocker_deregister(state.blocker, &registrations[i], 1);
		for (int i = 0; i < AT_ONCE; i++) {
			struct pollfd peer = {ends[i][1], POLLIN, 0};

			T_ASSERT_MSG(poll(&peer, 1, PATIENT_MS * PATIENCE) == 1,
				     "the peer waits for the end of the stream; turn %d", turn);
			T_EQ(read(ends[i][1], &byte, 1), 0);
			close(ends[i][1]);
		}
	}
	atomic_store(&state.stop, 1);
	skua_blocker_wake(state.blocker);
	pthread_join(thread, NULL);
	skua_blocker_free(state.blocker);
}

/* Nobody blocks any more: what was asked of the loop is done when it is freed. */
T_ON_BACKENDS(blocker, free_after_deregister)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registration;
	int ends[2];
	char byte;

	open_pair(ends);
	enter(blocker, &registration, ends[0], 1, SKUA_READABLE);
	skua_blocker_deregister(blocker, &registration, 1);
	skua_blocker_free(blocker);
	T_EQ(read(ends[1], &byte, 1), 0);
	close(ends[1]);
}

/* ---- Blocking ---- */

T_ON_BACKENDS(blocker, timeouts)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_event event;
	uint64_t begin = skua_now();

	for (int i = 0; i < 100; i++)
		T_EQ(skua_blocker_block(blocker, &event, 1, 0), 0);
	T_ASSERT(seconds_since(begin) < 0.5 * PATIENCE);
	for (int i = 0; i < 5; i++) {
		begin = skua_now();
		T_EQ(skua_blocker_block(blocker, &event, 1, 20 * SKUA_MSEC), 0);
		/* Counted from libuv's clock, which has whole milliseconds. */
		T_GE(skua_now() - begin, 19 * SKUA_MSEC);
		T_ASSERT(seconds_since(begin) < 1.0 * PATIENCE);
	}
	/* The shortest one does not become "for ever" or an endless loop. */
	T_EQ(skua_blocker_block(blocker, &event, 1, 1), 0);
	skua_blocker_free(blocker);
}

static void *wakes(void *argument)
{
	sleep_ms(10);
	skua_blocker_wake(argument);
	return NULL;
}

T_ON_BACKENDS(blocker, wake)
{
	skua_blocker *blocker = blocker_on(backend);
	skua_event event;
	pthread_t thread;

	for (int i = 0; i < 5; i++) {
		T_EQ(pthread_create(&thread, NULL, wakes, blocker), 0);
		T_EQ(skua_blocker_block(blocker, &event, 1, -1), 0);
		pthread_join(thread, NULL);
	}
	/* Before the block, and several times: one is remembered. */
	skua_blocker_wake(blocker);
	skua_blocker_wake(blocker);
	T_EQ(skua_blocker_block(blocker, &event, 1, -1), 0);
	T_EQ(skua_blocker_block(blocker, &event, 1, SKUA_MSEC), 0);
	skua_blocker_free(blocker);
}

struct waker_thread {
	skua_blocker *blocker;
	atomic_int wanted, done;
};

static void *wakes_when_wanted(void *argument)
{
	struct waker_thread *self = argument;

	for (int i = 1; i <= self->done; i++) {
		while (self->wanted < i)
			sched_yield();
		skua_blocker_wake(self->blocker);
	}
	return NULL;
}

/* A wake that comes at the moment when block() begins or ends is not lost. */
T_ON_BACKENDS(blocker, no_wake_is_lost)
{
	struct waker_thread state = {.blocker = blocker_on(backend), .done = rounds(2000)};
	skua_event event;
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, wakes_when_wanted, &state), 0);
	for (int i = 1; i <= state.done; i++) {
		atomic_store(&state.wanted, i);
		T_EQ(skua_blocker_block(state.blocker, &event, 1, -1), 0);
	}
	pthread_join(thread, NULL);
	skua_blocker_free(state.blocker);
}

/* ---- Many ---- */

T_ON_BACKENDS(blocker, capacity_1_loses_no_event)
{
	enum { COUNT = 100 };
	skua_blocker *blocker = blocker_on(backend);
	skua_registration registrations[COUNT];
	int ends[COUNT][2], seen[COUNT] = {0}, distinct = 0;

	for (int i = 0; i < COUNT; i++) {
		open_pair(ends[i]);
		enter(blocker, &registrations[i], ends[i][0], (uint64_t)i, SKUA_READABLE);
	}
	for (int i = 0; i < COUNT; i++)
		T_EQ(write(ends[i][1], "x", 1), 1);
	for (int events = 0; distinct < COUNT; events++) {
		skua_event event;

		T_EQ(next_events(blocker, &event, 1), 1);
		T_LT(event.id, COUNT);
		distinct += seen[event.id]++ == 0;
		/* Spurious ones are allowed, but not without end. */
		T_LT(events, 3 * COUNT);
	}
	for (int i = 0; i < COUNT; i++) {
		skua_blocker_deregister(blocker, &registrations[i], 1);
		close(ends[i][1]);
	}
	skua_blocker_free(blocker);
}

T_ON_BACKENDS(blocker, many_in_one_batch)
{
	enum { COUNT = 400 };
	skua_blocker *blocker = blocker_on(backend);
	static skua_registration registrations[COUNT];
	static skua_event events[COUNT];
	static int ends[COUNT][2];
	int got = 0, blocks = 0;

	for (int i = 0; i < COUNT; i++) {
		open_pair(ends[i]);
		enter(blocker, &registrations[i], ends[i][0], (uint64_t)i, SKUA_READABLE);
	}
	expect_silence(blocker);
	for (int i = 0; i < COUNT; i++)
		T_EQ(write(ends[i][1], "x", 1), 1);
	for (; got < COUNT; blocks++)
		got += next_events(blocker, events, COUNT);
	T_EQ(got, COUNT);
	T_LE(blocks, 4);
	for (int i = 0; i < COUNT; i++) {
		skua_blocker_deregister(blocker, &registrations[i], 1);
		close(ends[i][1]);
	}
	skua_blocker_free(blocker);
}

/* Another thread registers, writes, reads and deregisters while this one blocks. */
struct worker {
	skua_blocker *blocker;
	int turns;
	atomic_int reported; /* the id of the last event */
	atomic_int over;
};

static void *registers(void *argument)
{
	struct worker *self = argument;

	for (int id = 1; id <= self->turns; id++) {
		skua_registration registration;
		int ends[2];

		open_pair(ends);
		enter(self->blocker, &registration, ends[0], (uint64_t)id, SKUA_READABLE);
		T_EQ(write(ends[1], "x", 1), 1);
		while (self->reported != id)
			sched_yield();
		read_all(ends[0]);
		T_EQ(skua_blocker_rearm(self->blocker, &registration, SKUA_READABLE), 0);
		skua_blocker_deregister(self->blocker, &registration, 1);
		close(ends[1]);
	}
	atomic_store(&self->over, 1);
	skua_blocker_wake(self->blocker);
	return NULL;
}

T_ON_BACKENDS(blocker, other_threads_register_while_it_blocks)
{
	struct worker state = {.blocker = blocker_on(backend), .turns = rounds(2000)};
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, registers, &state), 0);
	while (!state.over) {
		skua_event events[4];
		int count = skua_blocker_block(state.blocker, events, 4, -1);

		for (int i = 0; i < count; i++)
			atomic_store(&state.reported, (int)events[i].id);
	}
	pthread_join(thread, NULL);
	skua_blocker_free(state.blocker);
}
