/*
 * test_waker.c - wakers, and futures of a runtime that are polled by an executor that is not Skua's:
 * a thread of the test with a waker of its own.
 */
#include <fcntl.h>

#include "executor_support.h"
#include "sched/task.h"

/* ---- Operations of a runtime, polled by hand ---- */

static skua_poll join_operation(skua_cx *cx, void *argument)
{
	return skua_join(cx, argument);
}

static skua_poll sleep_5_ms(skua_cx *cx, void *argument)
{
	return skua_sleep(cx, argument, 5 * SKUA_MSEC);
}

static skua_poll after_a_while(skua_cx *cx, void *argument)
{
	skua_poll result = skua_sleep(cx, argument, 5 * SKUA_MSEC);

	return result == 0 ? 31 : result;
}

T_TEST(waker, join_by_hand)
{
	skua_runtime *rt = runtime_of(2);
	struct executor executor;
	skua_timer timer = {{0}};
	skua_waker waker;
	skua_task *task;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	T_ASSERT(skua_cx_runtime(&cx) == rt);
	T_ASSERT(skua_waker_same(skua_cx_waker(&cx), &waker));
	T_EQ(skua_cx_cancelled(&cx), 0);
	T_EQ(skua_cx_interrupt(&cx), 0);
	T_EQ(skua_cx_budget(&cx), 1);
	T_EQ(skua_yield(&cx), 0);
	task = start(rt, after_a_while, &timer);
	T_EQ(drive(&executor, &cx, join_operation, &task), 31);
	T_NULL(task);
	T_EQ(executor.wakes, 1);
	executor_check(&executor);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(waker, detach_while_a_foreign_executor_waits)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	struct executor executor;
	skua_task *task = start(rt, cell_take, &cell);
	skua_waker waker;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	T_EQ(skua_join(&cx, &task), SKUA_PENDING);
	T_EQ(executor.clones, 1);
	skua_detach(&task);
	executor_check(&executor);
	cell_fill(&cell);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(executor.wakes, 0);
}

T_TEST(waker, sleep_by_hand)
{
	skua_runtime *rt = runtime_of(2);
	struct executor executor;
	skua_timer timer = {{0}};
	skua_waker waker;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	for (int i = 0; i < 5; i++) {
		uint64_t begin = skua_now();

		T_EQ(drive(&executor, &cx, sleep_5_ms, &timer), 0);
		T_GE(skua_now() - begin, 5 * SKUA_MSEC);
	}
	/* One that will not be polled again is disarmed by hand. */
	T_EQ(skua_sleep(&cx, &timer, 3600 * SKUA_SEC), SKUA_PENDING);
	skua_timer_cancel(&timer);
	executor_check(&executor);
	T_EQ(executor.wakes, 5);
	T_EQ(skua_runtime_free(rt), 0);
}

/*
 * An executor that polls all the time, woken or not: the timer fires in the middle of a poll that
 * puts the waker in place again, and must not be lost.
 */
T_TEST(waker, a_sleep_that_is_polled_all_the_time_ends)
{
	skua_runtime *rt = runtime_of(2);
	struct executor executor;
	skua_waker waker;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	for (int i = 0; i < rounds(2000); i++) {
		skua_timer timer = {{0}};
		uint64_t begin = skua_now();
		skua_poll result;

		while ((result = skua_sleep(&cx, &timer, 150 * SKUA_USEC)) == SKUA_PENDING)
			T_ASSERT_MSG(seconds_since(begin) < 2.0 * PATIENCE,
				     "sleep %d of 150 us has not ended after %g s", i,
				     seconds_since(begin));
		T_EQ(result, 0);
	}
	executor_check(&executor);
	T_EQ(skua_runtime_free(rt), 0);
}

/* The same for descriptors: no edge comes a second time. */
T_TEST(waker, a_source_that_is_polled_all_the_time_is_reported)
{
	skua_runtime *rt = runtime_of(1);
	struct executor executor;
	skua_source *source = NULL;
	skua_waker waker;
	int ends[2];
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	T_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	T_EQ(skua_source_new(rt, ends[0], &source), 0);
	for (int i = 0; i < rounds(5000); i++) {
		uint64_t begin = skua_now();
		char byte = 0;

		T_EQ(write(ends[1], "x", 1), 1);
		do {
			skua_poll result;

			while ((result = skua_source_readable(&cx, source)) == SKUA_PENDING)
				T_ASSERT_MSG(seconds_since(begin) < 2.0 * PATIENCE,
					     "byte %d was not reported", i);
			T_EQ(result, 0);
		} while (read(ends[0], &byte, 1) < 0);
		T_EQ(byte, 'x');
		T_EQ(read(ends[0], &byte, 1), -1);
	}
	skua_source_close(source);
	close(ends[1]);
	executor_check(&executor);
	T_EQ(skua_runtime_free(rt), 0);
}

struct timed_join {
	skua_task *task;
	skua_timer timer;
	uint64_t ns;
};

static skua_poll timed_join(skua_cx *cx, void *argument)
{
	struct timed_join *self = argument;

	return skua_timeout(cx, &self->timer, self->ns, skua_join(cx, &self->task));
}

T_TEST(waker, timeout_by_hand)
{
	skua_runtime *rt = runtime_of(2);
	struct cell cell = CELL_INIT;
	struct executor executor;
	struct timed_join state = {.ns = 10 * SKUA_MSEC};
	uint64_t begin = skua_now();
	skua_waker waker;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	state.task = start(rt, cell_take, &cell);
	T_EQ(drive(&executor, &cx, timed_join, &state), -ETIMEDOUT);
	T_GE(skua_now() - begin, 10 * SKUA_MSEC);
	T_NOT_NULL(state.task);
	cell_fill(&cell);
	state.ns = 60 * SKUA_SEC;
	T_EQ(drive(&executor, &cx, timed_join, &state), 0);
	executor_check(&executor);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll sleeps_by_hand(skua_cx *cx, void *timer)
{
	return skua_sleep(cx, timer, 20 * SKUA_MSEC);
}

/* Nobody looks at a clock by then: the one who is to fire it has to be told. */
T_TEST(waker, sleep_by_hand_beside_a_runtime_that_rests)
{
	skua_runtime *rt = runtime_of(1);
	struct executor executor;
	skua_timer timer = {0};
	skua_waker waker;
	skua_cx cx;

	sleep_ms(300);
	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	T_EQ(drive(&executor, &cx, sleeps_by_hand, &timer), 0);
	executor_check(&executor);
	T_EQ(skua_runtime_free(rt), 0);
}

struct network {
	skua_listener *listener;
	skua_addr addr;
	skua_tcp *server, *client;
	char bytes[16];
};

static skua_poll accept_operation(skua_cx *cx, void *argument)
{
	struct network *self = argument;

	return skua_accept(cx, self->listener, &self->server);
}

static skua_poll connect_operation(skua_cx *cx, void *argument)
{
	struct network *self = argument;

	return skua_connect(cx, &self->addr, &self->client);
}

static skua_poll read_operation(skua_cx *cx, void *argument)
{
	struct network *self = argument;

	return skua_read(cx, self->server, self->bytes, sizeof self->bytes);
}

/* A task that writes after a while. */
struct late_writer {
	skua_coro co;
	skua_timer timer;
	skua_tcp *conn;
	int64_t rc;
};

static skua_poll late_writer(skua_cx *cx, struct late_writer *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 10 * SKUA_MSEC));
	SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, "skua", 4));
	skua_tcp_close(self->conn);
	SKUA_END(self->rc);
}
SKUA_CORO(late_writer, struct late_writer);

static void sockets_by_hand(uint32_t backend)
{
	skua_runtime *rt = runtime_on(2, backend);
	struct network state = {0};
	struct late_writer writer = {.co = SKUA_CORO_INIT(late_writer)};
	struct executor executor;
	skua_task *task, *connecting;
	skua_waker waker;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	T_EQ(skua_addr_parse(&state.addr, "127.0.0.1", 0), 0);
	T_EQ(skua_listen(rt, &state.addr, NULL, &state.listener), 0);
	T_EQ(skua_listener_addr(state.listener, &state.addr), 0);

	/* The accept has to wait: nobody has connected. */
	T_EQ(accept_operation(&cx, &state), SKUA_PENDING);
	connecting = start(rt, connect_operation, &state);
	T_EQ(drive(&executor, &cx, accept_operation, &state), 0);
	T_EQ(skua_task_wait(&connecting), 0);

	T_EQ(read_operation(&cx, &state), SKUA_PENDING);
	writer.conn = state.client;
	task = start_future(rt, &writer.co);
	T_EQ(drive(&executor, &cx, read_operation, &state), 4);
	T_MEM_EQ(state.bytes, "skua", 4);
	T_EQ(skua_task_wait(&task), 4);
	T_EQ(drive(&executor, &cx, read_operation, &state), 0);
	skua_tcp_close(state.server);

	/* Connecting by hand, and closing under a waiting read. */
	state.client = NULL;
	T_EQ(drive(&executor, &cx, connect_operation, &state), 0);
	T_EQ(drive(&executor, &cx, accept_operation, &state), 0);
	T_EQ(read_operation(&cx, &state), SKUA_PENDING);
	skua_tcp_close(state.server);
	T_EQ(drive(&executor, &cx, read_operation, &state), -ECANCELED);
	skua_tcp_close(state.client);
	skua_listener_close(state.listener);
	executor_check(&executor);
	T_EQ(skua_runtime_free(rt), 0);
	executor_check(&executor);
}

T_TEST(waker, sockets_by_hand_epoll)
{
	sockets_by_hand(SKUA_IO_BACKEND_EPOLL);
}

T_TEST(waker, sockets_by_hand_uv)
{
	sockets_by_hand(SKUA_IO_BACKEND_UV);
}

T_TEST(waker, a_clone_that_fails_is_no_memory)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	struct executor executor;
	skua_timer timer = {{0}};
	struct network state = {0};
	skua_task *task = start(rt, cell_take, &cell);
	skua_waker waker, clone = {NULL, NULL};
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	executor.fail = 1;
	T_EQ(skua_waker_clone(&waker, &clone), -ENOMEM);
	T_NULL(clone.ops);
	executor.fail = 1;
	T_EQ(skua_join(&cx, &task), -ENOMEM);
	T_NOT_NULL(task);
	executor.fail = 1;
	T_EQ(skua_sleep(&cx, &timer, SKUA_MSEC), -ENOMEM);
	T_EQ(skua_addr_parse(&state.addr, "127.0.0.1", 0), 0);
	T_EQ(skua_listen(rt, &state.addr, NULL, &state.listener), 0);
	executor.fail = 1;
	T_EQ(accept_operation(&cx, &state), -ENOMEM);
	skua_listener_close(state.listener);

	/* Afterwards everything works as if nothing had happened. */
	T_EQ(drive(&executor, &cx, sleep_5_ms, &timer), 0);
	cell_fill(&cell);
	T_EQ(drive(&executor, &cx, join_operation, &task), 0);
	executor_check(&executor);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(waker, an_operation_that_needs_a_runtime_says_so)
{
	struct executor executor;
	skua_timer timer = {{0}};
	skua_waker waker;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, NULL, &waker);
	T_EQ(skua_sleep(&cx, &timer, SKUA_MSEC), -EINVAL);
	T_EQ(skua_sleep(&cx, &timer, 0), 0);
	executor_check(&executor);
}

/* ---- Wakers of tasks ---- */

struct keeper {
	struct cell *cell;
	skua_waker kept[3];
	atomic_int stored, polls;
};

/* Keeps three clones of its waker, and waits. */
static skua_poll keeps_wakers(skua_cx *cx, void *argument)
{
	struct keeper *keeper = argument;

	atomic_fetch_add(&keeper->polls, 1);
	if (!keeper->stored) {
		for (int i = 0; i < 3; i++)
			T_EQ(skua_waker_clone(skua_cx_waker(cx), &keeper->kept[i]), 0);
		T_EQ(skua_waker_same(&keeper->kept[0], &keeper->kept[1]), 1);
		atomic_store(&keeper->stored, 1);
	}
	return cell_take(cx, keeper->cell);
}

T_TEST(waker, wakes_after_the_end_are_harmless)
{
	skua_runtime *rt = runtime_of(2);
	struct cell cell = CELL_INIT;
	struct keeper keeper = {.cell = &cell};
	skua_task *task = start(rt, keeps_wakers, &keeper);
	int polls;

	WAIT_UNTIL(keeper.stored);
	cell_fill(&cell);
	T_EQ(skua_task_wait(&task), 0);
	polls = keeper.polls;
	/* After the end of the task, and after that of the runtime. */
	skua_waker_wake(&keeper.kept[0]);
	T_NULL(keeper.kept[0].ops);
	T_EQ(skua_runtime_free(rt), 0);
	skua_waker_wake_by_ref(&keeper.kept[1]);
	skua_waker_wake(&keeper.kept[1]);
	skua_waker_drop(&keeper.kept[2]);
	skua_waker_drop(&keeper.kept[2]);
	T_EQ(keeper.polls, polls);
}

struct waking_thread {
	skua_waker waker;
	atomic_int *stop;
};

static void *wakes_all_the_time(void *argument)
{
	struct waking_thread *self = argument;

	while (!*self->stop)
		skua_waker_wake_by_ref(&self->waker);
	skua_waker_drop(&self->waker);
	return NULL;
}

/* Other threads wake a task of a runtime that is being freed. */
T_TEST(waker, wakes_race_with_the_end_of_the_runtime)
{
	for (int i = 0; i < rounds(20); i++) {
		skua_runtime *rt = runtime_of(2);
		struct cell cell = CELL_INIT;
		struct keeper keeper = {.cell = &cell};
		struct waking_thread state[3];
		atomic_int stop = 0;
		pthread_t threads[3];
		skua_task *task = start(rt, keeps_wakers, &keeper);

		WAIT_UNTIL(keeper.stored);
		for (int t = 0; t < 3; t++) {
			state[t] = (struct waking_thread){keeper.kept[t], &stop};
			T_EQ(pthread_create(&threads[t], NULL, wakes_all_the_time, &state[t]), 0);
		}
		T_EQ(skua_runtime_free(rt), 0);
		atomic_store(&stop, 1);
		for (int t = 0; t < 3; t++)
			pthread_join(threads[t], NULL);
		T_EQ(skua_task_wait(&task), -ECANCELED);
	}
}

/* ---- No wake is lost ---- */

struct counter {
	atomic_int written; /* by threads, before they wake */
	atomic_int seen;    /* by the task, when it is polled */
	int goal;
	skua_waker waker;
	atomic_int ready;
};

static skua_poll counts(skua_cx *cx, void *argument)
{
	struct counter *self = argument;

	if (!self->ready) {
		T_EQ(skua_waker_clone(skua_cx_waker(cx), &self->waker), 0);
		atomic_store(&self->ready, 1);
	}
	atomic_store(&self->seen, atomic_load(&self->written));
	return self->seen >= self->goal ? self->seen : SKUA_PENDING;
}

static void *writes_and_wakes(void *argument)
{
	struct counter *self = argument;

	for (int i = 0; i < self->goal / 4; i++) {
		int mine = atomic_fetch_add(&self->written, 1) + 1;

		skua_waker_wake_by_ref(&self->waker);
		/* Now and then: the task must come to see what was written before the wake. */
		if (i % 64 == 0)
			WAIT_UNTIL(self->seen >= mine);
	}
	return NULL;
}

T_TEST(waker, wakes_from_many_threads_are_never_lost)
{
	skua_runtime *rt = runtime_of(2);
	struct counter state = {.goal = 4 * rounds(20000)};
	skua_task *task = start(rt, counts, &state);
	pthread_t threads[4];
	skua_stats stats;

	WAIT_UNTIL(state.ready);
	for (int t = 0; t < 4; t++)
		T_EQ(pthread_create(&threads[t], NULL, writes_and_wakes, &state), 0);
	for (int t = 0; t < 4; t++)
		pthread_join(threads[t], NULL);
	T_EQ(skua_task_wait(&task), state.goal);
	skua_waker_drop(&state.waker);
	skua_runtime_stats(rt, &stats);
	/* Wakes before a poll are one wake. */
	T_LE(stats.polls, (uint64_t)state.goal + 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Clones the waker of another task, many times, and drops the clones; and so of its own. */
static skua_poll clones_of_another(skua_cx *cx, void *argument)
{
	struct counter *other = argument;
	skua_waker clones[100];

	for (int i = 0; i < 100; i++)
		T_EQ(skua_waker_clone(i % 2 == 0 ? &other->waker : skua_cx_waker(cx), &clones[i]),
		     0);
	for (int i = 0; i < 100; i++)
		skua_waker_drop(&clones[i]);
	return 0;
}

/* With the last waker the cell goes, and with none before. */
static int references_of(const skua_task *task)
{
	return (int)(sk_load(&task->state, SK_RELAXED) / SK_TASK_REFERENCE);
}

T_TEST(waker, a_poll_clones_that_of_another_task)
{
	skua_runtime *rt = runtime_of(2);
	struct counter state = {.goal = 1};
	skua_task *task = start(rt, counts, &state);

	WAIT_UNTIL(state.ready);
	/* Its life, the handle, the waker. */
	WAIT_UNTIL(references_of(task) == 3);
	T_EQ(run(rt, clones_of_another, &state), 0);
	T_EQ(references_of(task), 3);
	atomic_store(&state.written, 1);
	skua_waker_wake(&state.waker);
	T_EQ(skua_task_wait(&task), 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Twice each time, by reference and with a clone: the next poll is one for both. */
static skua_poll wakes_itself(skua_cx *cx, void *argument)
{
	int *polls = argument;
	skua_waker clone;

	if (++*polls == 100)
		return *polls;
	T_EQ(skua_waker_clone(skua_cx_waker(cx), &clone), 0);
	skua_waker_wake_by_ref(&clone);
	skua_waker_wake(&clone);
	return SKUA_PENDING;
}

T_TEST(waker, a_wake_inside_the_poll_leads_to_one_more)
{
	skua_runtime *rt = runtime_of(2);
	int polls = 0;
	skua_task *task = start(rt, wakes_itself, &polls);
	skua_stats stats;

	T_EQ(skua_task_wait(&task), 100);
	skua_runtime_stats(rt, &stats);
	T_EQ(stats.polls, 100);
	T_EQ(skua_runtime_free(rt), 0);
}
