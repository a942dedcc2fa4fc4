/* test_runtime.c - the life of runtimes: beginning, configuration, block_on, and every kind of end. */
#include <sys/socket.h>

#include "api_support.h"

static skua_poll forty_two(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return 42;
}

static skua_poll fails_with_eio(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return -EIO;
}

/* ---- Beginning and end ---- */

T_TEST(runtime, new_and_free)
{
	skua_runtime *rt = runtime_of(2);

	T_EQ(run(rt, forty_two, NULL), 42);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(skua_runtime_free(NULL), 0);
}

T_TEST(runtime, free_before_the_workers_have_slept)
{
	for (int i = 0; i < rounds(200); i++)
		T_EQ(skua_runtime_free(runtime_of(3)), 0);
}

static void many_times(uint32_t backend)
{
	for (int i = 0; i < rounds(1000); i++) {
		skua_runtime *rt = runtime_on(2, backend);

		T_EQ(run(rt, forty_two, NULL), 42);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

T_TEST(runtime, a_thousand_times_epoll)
{
	many_times(SKUA_IO_BACKEND_EPOLL);
}

T_TEST(runtime, a_thousand_times_uv)
{
	many_times(SKUA_IO_BACKEND_UV);
}

T_TEST_T(runtime, ten_thousand_times, 60)
{
	if (T_QUICK || T_SANITIZED)
		T_SKIP("a short run was asked for, or a sanitizer is on");
	for (int i = 0; i < 10000; i++) {
		skua_runtime *rt = runtime_of(1);

		T_EQ(run(rt, forty_two, NULL), 42);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

/* A task of one runtime hands a token to that of the next one, round and round. */
struct ring_member {
	skua_coro co;
	struct cell *mine, *next;
	int laps;
	int64_t rc;
};

static skua_poll ring_member(skua_cx *cx, struct ring_member *self)
{
	SKUA_BEGIN(self);
	for (; self->laps > 0; self->laps--) {
		SKUA_AWAIT(self->rc = cell_take(cx, self->mine));
		if (self->rc < 0)
			SKUA_RETURN(self->rc);
		cell_fill(self->next);
	}
	SKUA_END(7);
}
SKUA_CORO(ring_member, struct ring_member);

T_TEST(runtime, several_exchange_wakes)
{
	enum { RUNTIMES = 4 };
	static struct cell cells[RUNTIMES] = {CELL_INIT, CELL_INIT, CELL_INIT, CELL_INIT};
	skua_runtime *rts[RUNTIMES];
	skua_task *tasks[RUNTIMES];

	for (int i = 0; i < RUNTIMES; i++) {
		struct ring_member member = {
			.co = SKUA_CORO_INIT(ring_member),
			.mine = &cells[i],
			.next = &cells[(i + 1) % RUNTIMES],
			.laps = rounds(2000),
		};

		rts[i] = runtime_of(1 + (uint32_t)i % 2);
		tasks[i] = start_future(rts[i], &member.co);
	}
	cell_fill(&cells[0]);
	for (int i = 0; i < RUNTIMES; i++)
		T_EQ(skua_task_wait(&tasks[i]), 7);
	T_EQ(cells[0].count, 1);
	for (int i = 0; i < RUNTIMES; i++)
		T_EQ(skua_runtime_free(rts[i]), 0);
}

static int64_t runtime_inside(void *unused)
{
	skua_runtime *rt = runtime_of(1);
	int64_t result = run(rt, forty_two, NULL);

	(void)unused;
	T_EQ(skua_runtime_free(rt), 0);
	return result;
}

T_TEST(runtime, one_can_be_made_and_freed_in_a_blocking_job_of_another)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *job = NULL;

	T_EQ(skua_spawn_blocking(rt, runtime_inside, NULL, 0, &job), 0);
	T_EQ(skua_task_wait(&job), 42);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Configuration ---- */

T_TEST(runtime, null_arguments_are_refused)
{
	skua_runtime *rt = NULL;
	skua_config config;

	skua_config_init(&config);
	T_EQ(skua_runtime_new(NULL, &rt), -EINVAL);
	T_EQ(skua_runtime_new(&config, NULL), -EINVAL);
	T_NULL(rt);
}

T_TEST(runtime, uninitialised_config_is_refused)
{
	skua_runtime *rt = NULL;
	skua_config zeroed = {0};
	skua_config other_size;

	T_EQ(skua_runtime_new(&zeroed, &rt), -EINVAL);
	skua_config_init(&other_size);
	other_size.struct_size--;
	T_EQ(skua_runtime_new(&other_size, &rt), -EINVAL);
	T_NULL(rt);
}

T_TEST(runtime, bad_worker_counts_in_the_environment_are_named)
{
	static const char *const bad[] = {"0", "-1", "abc", "99999999999", "513", "", "2x"};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		skua_runtime *rt = NULL;
		skua_config config;

		T_EQ(setenv("SKUA_WORKERS", bad[i], 1), 0);
		skua_config_init(&config);
		T_ASSERT_MSG(skua_runtime_new(&config, &rt) == -EINVAL, "SKUA_WORKERS=%s", bad[i]);
		T_NULL(rt);
		T_LOG("%s", config.message);
		T_NOT_NULL(strstr(config.message, "SKUA_WORKERS"));
		T_NOT_NULL(strstr(config.message, bad[i]));
		T_NOT_NULL(strstr(config.message, "512"));
	}
	unsetenv("SKUA_WORKERS");
}

T_TEST(runtime, environment_beats_the_program_unless_pinned)
{
	skua_runtime *rt;
	skua_config config;
	skua_stats stats;

	T_EQ(setenv("SKUA_WORKERS", "3", 1), 0);
	skua_config_init(&config);
	config.workers = 2;
	rt = runtime_with(&config);
	skua_runtime_stats(rt, &stats);
	T_EQ(stats.workers, 3);
	T_EQ(config.workers, 2);
	T_EQ(skua_runtime_free(rt), 0);

	config.pinned = SKUA_KNOB_WORKERS;
	rt = runtime_with(&config);
	skua_runtime_stats(rt, &stats);
	T_EQ(stats.workers, 2);
	T_EQ(skua_runtime_free(rt), 0);
	unsetenv("SKUA_WORKERS");
}

static skua_poll add_one(skua_cx *cx, void *argument)
{
	(void)cx;
	return atomic_fetch_add((atomic_int *)argument, 1);
}

static void work_on(uint32_t workers)
{
	enum { TASKS = 2000 };
	skua_runtime *rt = runtime_of(workers);
	static skua_task *tasks[TASKS];
	atomic_int sum = 0;
	skua_stats stats;
	int64_t total = 0;

	for (int i = 0; i < TASKS; i++)
		tasks[i] = start(rt, add_one, &sum);
	for (int i = 0; i < TASKS; i++)
		total += skua_task_wait(&tasks[i]);
	T_EQ(sum, TASKS);
	T_EQ(total, (int64_t)TASKS * (TASKS - 1) / 2);
	skua_runtime_stats(rt, &stats);
	T_EQ(stats.workers, workers);
	T_EQ(stats.spawned, TASKS);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(runtime, workers_1)
{
	work_on(1);
}

T_TEST(runtime, workers_2)
{
	work_on(2);
}

T_TEST(runtime, workers_4)
{
	work_on(4);
}

T_TEST(runtime, workers_16)
{
	work_on(16);
}

T_TEST(runtime, several_io_threads)
{
	skua_config config;
	skua_runtime *rt;

	quiet_config(&config, 2, SKUA_IO_BACKEND_AUTO);
	config.io_threads = 3;
	rt = runtime_with(&config);
	T_EQ(run(rt, forty_two, NULL), 42);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- block_on ---- */

T_TEST(runtime, block_on_gives_values_and_errors)
{
	skua_runtime *rt = runtime_of(2);

	T_EQ(run(rt, forty_two, NULL), 42);
	T_EQ(run(rt, fails_with_eio, NULL), -EIO);
	T_EQ(skua_block_on(rt, NULL), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll third_poll(skua_cx *cx, void *argument)
{
	int *polls = argument;

	if (++*polls == 3)
		return INT64_MAX;
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	return SKUA_PENDING;
}

T_TEST(runtime, block_on_polls_the_callers_own_future)
{
	skua_runtime *rt = runtime_of(1);
	int polls = 0;
	struct call call = call_of(third_poll, &polls);

	call.future.line = 77;
	T_EQ(skua_block_on(rt, &call.future), INT64_MAX);
	T_EQ(polls, 3);
	T_EQ(call.future.line, 77);
	T_EQ(skua_runtime_free(rt), 0);
}

struct nested {
	skua_runtime *rt;
	skua_task *parked;
	int polled;
};

static skua_poll count_poll(skua_cx *cx, void *argument)
{
	(void)cx;
	return ++*(int *)argument;
}

static skua_poll blocks_on_a_worker(skua_cx *cx, void *argument)
{
	struct nested *nested = argument;

	(void)cx;
	T_EQ(run(nested->rt, count_poll, &nested->polled), -EDEADLK);
	T_EQ(skua_task_wait(&nested->parked), -EDEADLK);
	T_NOT_NULL(nested->parked);
	return 1;
}

T_TEST(runtime, block_on_and_wait_on_a_worker_are_refused)
{
	struct nested nested = {.rt = runtime_of(1)};

	nested.parked = start(nested.rt, parked, NULL);
	T_EQ(run(nested.rt, blocks_on_a_worker, &nested), 1);
	T_EQ(nested.polled, 0);
	T_EQ(skua_cancel(nested.parked), 0);
	T_EQ(skua_task_wait(&nested.parked), -ECANCELED);
	T_EQ(skua_runtime_free(nested.rt), 0);
}

static int64_t blocks_in_a_job(void *argument)
{
	skua_runtime *rt = *(skua_runtime **)argument;

	return run(rt, forty_two, NULL);
}

T_TEST(runtime, block_on_in_a_blocking_job_is_fine)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *job = NULL;

	T_EQ(skua_spawn_blocking(rt, blocks_in_a_job, &rt, sizeof(void *), &job), 0);
	T_EQ(skua_task_wait(&job), 42);
	T_EQ(skua_runtime_free(rt), 0);
}

static void *blocks_on_a_thread(void *argument)
{
	for (int i = 0; i < 500; i++)
		T_EQ(run(argument, forty_two, NULL), 42);
	return NULL;
}

T_TEST(runtime, block_on_from_many_threads)
{
	skua_runtime *rt = runtime_of(2);
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		T_EQ(pthread_create(&threads[i], NULL, blocks_on_a_thread, rt), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- The end ---- */

static skua_poll frees_its_runtime(skua_cx *cx, void *argument)
{
	(void)argument;
	return skua_runtime_free(skua_cx_runtime(cx));
}

static int64_t job_frees_its_runtime(void *argument)
{
	return skua_runtime_free(*(skua_runtime **)argument);
}

T_TEST(runtime, free_on_its_own_threads_is_refused)
{
	skua_runtime *rt = runtime_of(2);
	skua_task *job = NULL;

	T_EQ(run(rt, frees_its_runtime, NULL), -EDEADLK);
	T_EQ(skua_spawn_blocking(rt, job_frees_its_runtime, &rt, sizeof(void *), &job), 0);
	T_EQ(skua_task_wait(&job), -EDEADLK);
	T_EQ(run(rt, forty_two, NULL), 42);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(runtime, free_cancels_tasks_that_are_parked_for_ever)
{
	enum { TASKS = 300 };
	static skua_task *tasks[TASKS];
	skua_runtime *rt = runtime_of(2);
	uint64_t begin;

	for (int i = 0; i < TASKS; i++)
		tasks[i] = start(rt, parked, NULL);
	begin = skua_now();
	T_EQ(skua_runtime_free(rt), 0);
	T_ASSERT_MSG(seconds_since(begin) < 1.0 * PATIENCE, "it took %g s", seconds_since(begin));
	/* Handles outlive the runtime. */
	for (int i = 0; i < TASKS; i++) {
		T_ASSERT(skua_task_finished(tasks[i]));
		T_STR_EQ(skua_task_name(tasks[i]), "call");
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	}
}

T_TEST(runtime, free_with_detached_tasks_in_every_queue)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int sum = 0;

	for (int i = 0; i < 1000; i++) {
		struct call call = call_of(i % 2 ? parked : add_one, &sum);

		T_EQ(skua_spawn(rt, &call.future, NULL), 0);
	}
	T_EQ(skua_runtime_free(rt), 0);
	/* Also those that were never polled before the end are polled. */
	T_EQ(sum, 500);
}

/* Waits on after the cancellation, as a task does that has something to clean up. */
struct cleaner {
	skua_coro co;
	skua_timer timer;
	int64_t first, second;
};

static skua_poll cleaner(skua_cx *cx, struct cleaner *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->first = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	SKUA_AWAIT(self->second = skua_sleep(cx, &self->timer, 20 * SKUA_MSEC));
	SKUA_END(self->first == -ECANCELED && self->second == 0 ? 5 : -EBADMSG);
}
SKUA_CORO(cleaner, struct cleaner);

T_TEST(runtime, free_lets_tasks_clean_up)
{
	skua_runtime *rt = runtime_of(2);
	struct cleaner task = {.co = SKUA_CORO_INIT(cleaner)};
	skua_task *tasks[20];
	uint64_t begin;

	for (int i = 0; i < 20; i++)
		tasks[i] = start_future(rt, &task.co);
	begin = skua_now();
	T_EQ(skua_runtime_free(rt), 0);
	T_GE(skua_now() - begin, 20 * SKUA_MSEC);
	for (int i = 0; i < 20; i++)
		T_EQ(skua_task_wait(&tasks[i]), 5);
}

struct stubborn {
	skua_future future;
	atomic_int *drops;
	atomic_int *polls;
};

static skua_poll stubborn_poll(skua_cx *cx, skua_future *self)
{
	(void)cx;
	atomic_fetch_add(((struct stubborn *)(void *)self)->polls, 1);
	return SKUA_PENDING;
}

static void stubborn_drop(skua_future *self)
{
	atomic_fetch_add(((struct stubborn *)(void *)self)->drops, 1);
}

static const skua_future_ops stubborn_ops = {
	stubborn_poll, stubborn_drop, sizeof(struct stubborn), "the stubborn one", __FILE__,
};

T_TEST(runtime, free_drops_tasks_that_ignore_it)
{
	atomic_int drops = 0, polls = 0;
	struct stubborn stubborn = {{&stubborn_ops, 0, 0}, &drops, &polls};
	skua_task *kept, *good;
	struct capture capture;
	skua_config config;
	skua_runtime *rt;
	uint64_t begin;
	char said[4096];

	quiet_config(&config, 2, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = 60;
	config.log = SKUA_LOG_WARN;
	rt = runtime_with(&config);
	kept = start_future(rt, &stubborn.future);
	T_EQ(skua_spawn(rt, &stubborn.future, NULL), 0);
	good = start(rt, parked, NULL);
	WAIT_UNTIL(polls >= 2);
	capture_start(&capture);
	begin = skua_now();
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	begin = skua_now() - begin;
	capture_stop(&capture, said, sizeof said);
	T_LOG("%s", said);
	T_GE(begin, 60 * SKUA_MSEC);
	T_EQ(drops, 2);
	T_NOT_NULL(strstr(said, "the stubborn one"));
	T_EQ(skua_task_wait(&kept), -ESHUTDOWN);
	T_EQ(skua_task_wait(&good), -ECANCELED);
}

static int64_t slow_job(void *argument)
{
	atomic_int *done = *(atomic_int **)argument;

	sleep_ms(100);
	return atomic_fetch_add(done, 1);
}

T_TEST(runtime, free_waits_for_running_blocking_calls)
{
	atomic_int done = 0, *argument = &done;
	skua_task *running = NULL, *queued = NULL;
	skua_config config;
	skua_runtime *rt;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.max_blocking = 1;
	config.shutdown_ms = 20;
	rt = runtime_with(&config);
	T_EQ(skua_spawn_blocking(rt, slow_job, &argument, sizeof argument, &running), 0);
	T_EQ(skua_spawn_blocking(rt, slow_job, &argument, sizeof argument, &queued), 0);
	sleep_ms(20);
	/* The grace period passes, but nothing is dropped. */
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(done, 1);
	T_EQ(skua_task_wait(&running), 0);
	T_EQ(skua_task_wait(&queued), -ECANCELED);
}

/* Leaves a listener, both ends of a connection and a connection in the backlog behind. */
struct littering {
	skua_coro co;
	skua_listener *listener;
	skua_addr addr;
	skua_tcp *client, *server;
	skua_tcp *second;
	int64_t rc;
	atomic_int *reading;
};

static skua_poll littering(skua_cx *cx, struct littering *self)
{
	char byte;

	SKUA_BEGIN(self);
	T_EQ(skua_addr_parse(&self->addr, "127.0.0.1", 0), 0);
	T_EQ(skua_listen(skua_cx_runtime(cx), &self->addr, NULL, &self->listener), 0);
	T_EQ(skua_listener_addr(self->listener, &self->addr), 0);
	SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->client));
	T_EQ(self->rc, 0);
	SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->server));
	T_EQ(self->rc, 0);
	SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->second));
	T_EQ(self->rc, 0);
	atomic_store(self->reading, 1);
	SKUA_AWAIT(self->rc = skua_read(cx, self->server, &byte, 1));
	SKUA_END(self->rc);
}
SKUA_CORO(littering, struct littering);

static void free_with_sockets(uint32_t backend)
{
	skua_runtime *rt = runtime_on(2, backend);
	atomic_int reading = 0;
	struct littering future = {.co = SKUA_CORO_INIT(littering), .reading = &reading};
	skua_task *task = start_future(rt, &future.co);

	WAIT_UNTIL(reading);
	sleep_ms(20);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
}

T_TEST(runtime, free_closes_open_sockets_epoll)
{
	free_with_sockets(SKUA_IO_BACKEND_EPOLL);
}

T_TEST(runtime, free_closes_open_sockets_uv)
{
	free_with_sockets(SKUA_IO_BACKEND_UV);
}

static skua_poll sleep_an_hour(skua_cx *cx, void *argument)
{
	return skua_sleep(cx, argument, 3600 * SKUA_SEC);
}

T_TEST(runtime, free_disarms_timers)
{
	static skua_timer timers[200];
	skua_task *tasks[200];
	skua_runtime *rt = runtime_of(2);

	for (int i = 0; i < 200; i++)
		tasks[i] = start(rt, sleep_an_hour, &timers[i]);
	sleep_ms(10);
	T_EQ(skua_runtime_free(rt), 0);
	for (int i = 0; i < 200; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
}

struct late {
	skua_runtime *rt;
	int spawn, block;
};

static skua_poll spawns_while_closing(skua_cx *cx, void *argument)
{
	struct late *late = argument;
	struct call call = call_of(forty_two, NULL);
	int interrupt = skua_cx_interrupt(cx);

	if (interrupt == 0)
		return SKUA_PENDING;
	late->spawn = skua_spawn(late->rt, &call.future, NULL);
	late->block = skua_spawn_blocking(late->rt, slow_job, NULL, 0, NULL);
	return 3;
}

T_TEST(runtime, nothing_is_spawned_while_it_is_freed)
{
	struct late late = {.rt = runtime_of(1)};
	skua_task *task = start(late.rt, spawns_while_closing, &late);

	T_EQ(skua_runtime_free(late.rt), 0);
	T_EQ(skua_task_wait(&task), 3);
	T_EQ(late.spawn, -ESHUTDOWN);
	T_EQ(late.block, -ESHUTDOWN);
}

static void *blocked_for_ever(void *argument)
{
	T_EQ(run(argument, parked, NULL), -ECANCELED);
	return NULL;
}

T_TEST(runtime, free_ends_a_block_on_of_another_thread)
{
	skua_runtime *rt = runtime_of(1);
	pthread_t thread;
	skua_stats stats;

	T_EQ(pthread_create(&thread, NULL, blocked_for_ever, rt), 0);
	do {
		sleep_ms(1);
		skua_runtime_stats(rt, &stats);
	} while (stats.polls == 0);
	T_EQ(skua_runtime_free(rt), 0);
	pthread_join(thread, NULL);
}

static skua_poll joins(skua_cx *cx, void *argument)
{
	skua_task **task = argument;
	skua_poll result = skua_join(cx, task);

	if (result == SKUA_PENDING || *task == NULL)
		return result;
	skua_detach(task);
	return result;
}

T_TEST(runtime, free_with_tasks_that_await_each_other)
{
	skua_runtime *rt = runtime_of(2);
	skua_task *inner = start(rt, parked, NULL);
	skua_task *outer = start(rt, joins, &inner);
	int64_t result;

	T_EQ(skua_runtime_free(rt), 0);
	result = skua_task_wait(&outer);
	T_EQ(result, -ECANCELED);
	T_NULL(inner);
}

/* ---- Counters ---- */

T_TEST(runtime, counters_are_sane)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int done = 0, *argument = &done;
	skua_task *job = NULL;
	skua_stats before, after;
	int polls = 0;

	skua_runtime_stats(rt, &before);
	T_EQ(before.spawned, 0);
	T_EQ(before.completed, 0);
	T_EQ(before.blocking_threads, 0);
	T_EQ(run(rt, third_poll, &polls), INT64_MAX);
	T_EQ(skua_spawn_blocking(rt, slow_job, &argument, sizeof argument, &job), 0);
	skua_runtime_stats(rt, &before);
	T_EQ(before.blocking_threads, 1);
	T_EQ(before.spawned, 2);
	T_EQ(skua_task_wait(&job), 0);
	do
		skua_runtime_stats(rt, &after);
	while (after.completed < 2);
	T_EQ(after.spawned, 2);
	T_EQ(after.completed, 2);
	T_GE(after.polls, 3);
	T_GE(after.parks, 1);
	T_LE(after.wakes, 1000);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(runtime, an_idle_one_uses_no_cpu)
{
	skua_runtime *rt = runtime_of(4);
	skua_task *task = start(rt, parked, NULL);
	skua_stats before, after;
	uint64_t cpu;

	T_EQ(run(rt, forty_two, NULL), 42);
	sleep_ms(300);
	skua_runtime_stats(rt, &before);
	cpu = cpu_time();
	sleep_ms(500);
	cpu = cpu_time() - cpu;
	skua_runtime_stats(rt, &after);
	T_EQ(after.parks, before.parks);
	T_EQ(after.io_batches, before.io_batches);
	T_ASSERT_MSG(cpu < 5 * SKUA_MSEC * PATIENCE, "%g ms of CPU in 500 ms", (double)cpu / 1e6);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}
