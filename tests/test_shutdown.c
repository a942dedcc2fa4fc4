/*
 * test_shutdown.c - a runtime that is freed while other threads are in the middle of waking its
 * tasks or of spawning new ones, and what its tasks are told.
 */
#include <sched.h>

#include "memory_support.h"
#include "net_support.h"
#include "runtime/runtime.h"
#include "sched/guard.h"
#include "sched/task.h"

static skua_runtime *impatient_runtime(uint32_t workers, uint32_t shutdown_ms)
{
	skua_config config;

	quiet_config(&config, workers, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = shutdown_ms;
	config.log = SKUA_LOG_OFF;
	return runtime_with(&config);
}

static skua_task *task_of(const skua_waker *waker)
{
	return waker->data;
}

static uint64_t references_of(const skua_task *task)
{
	return sk_load(&task->state, SK_ACQUIRE) / SK_TASK_REFERENCE;
}

/* ---- Waking a task that is being dropped ---- */

/* Never ends; whoever holds `waker` can wake it. */
struct stubborn {
	skua_future future;
	skua_waker *waker;
	void (*on_drop)(skua_waker *waker);
};

static atomic_int asleep, dropped;

static skua_poll stubborn_poll(skua_cx *cx, skua_future *future)
{
	struct stubborn *self = (struct stubborn *)(void *)future;

	if (self->waker->ops == NULL) {
		T_EQ(skua_waker_clone(skua_cx_waker(cx), self->waker), 0);
		atomic_fetch_add(&asleep, 1);
	}
	return SKUA_PENDING;
}

static void stubborn_drop(skua_future *future)
{
	struct stubborn *self = (struct stubborn *)(void *)future;

	if (self->on_drop != NULL)
		self->on_drop(self->waker);
	atomic_fetch_add(&dropped, 1);
}

static const skua_future_ops stubborn_ops = {
	.poll = stubborn_poll,
	.drop = stubborn_drop,
	.size = sizeof(struct stubborn),
	.name = "stubborn",
};

static void start_stubborn(skua_runtime *rt, skua_waker *waker, void (*on_drop)(skua_waker *))
{
	struct stubborn future = {{&stubborn_ops, 0, 0}, waker, on_drop};

	T_EQ(skua_spawn(rt, &future.future, NULL), 0);
}

static atomic_int go, marked;

/* skua_waker_wake in slow motion: the task is marked and the reference given up long before it is
 * queued. */
static void *wake_slowly(void *argument)
{
	skua_task *task = argument;
	unsigned side;

	WAIT_UNTIL(go == 1);
	side = sk_guard_enter();
	(void)sk_task_mark_and_release(task);
	atomic_store(&marked, 1);
	WAIT_UNTIL(dropped == 1);
	sleep_ms(20);
	T_EQ(memory_watched_freed, 0);
	sk_sched_inject(task->sched, task);
	sk_guard_leave(side);
	return NULL;
}

static void have_it_marked(skua_waker *waker)
{
	(void)waker;
	atomic_store(&go, 1);
	WAIT_UNTIL(marked == 1);
}

T_TEST_T(shutdown, a_dropped_task_stays_until_its_waker_is_done, 10)
{
	skua_waker waker = {0};
	pthread_t thread;
	skua_runtime *rt;

	memory_begin();
	rt = impatient_runtime(1, 1);
	start_stubborn(rt, &waker, have_it_marked);
	WAIT_UNTIL(asleep == 1);
	atomic_store(&memory_watched, (uintptr_t)task_of(&waker));
	T_EQ(pthread_create(&thread, NULL, wake_slowly, waker.data), 0);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(memory_watched_freed, 1);
	memory_end();
}

/* The same with the real function: a thread that wakes each task just when it is dropped. */
static _Atomic(skua_waker *) to_wake;
static atomic_int stop_waking;

static void *wake_what_is_dropped(void *unused)
{
	(void)unused;
	for (unsigned i = 0; stop_waking == 0; i++) {
		skua_waker *waker = atomic_exchange(&to_wake, NULL);

		if (waker != NULL)
			skua_waker_wake(waker);
		else if (i % 256 == 0)
			sched_yield();
	}
	return NULL;
}

static void have_it_woken(skua_waker *waker)
{
	skua_task *task = task_of(waker);

	T_EQ(references_of(task), 2);
	atomic_store(&to_wake, waker);
	/* Until the waker has given its reference up: then it is about to queue the task. */
	for (unsigned i = 1; references_of(task) > 1; i++)
		if (i % 256 == 0)
			sched_yield();
}

T_TEST(shutdown, stress_tasks_are_woken_while_they_are_dropped)
{
	enum { TASKS = 64 };
	const uint64_t end = skua_now() + (T_QUICK ? 100 : 700) * SKUA_MSEC;
	pthread_t thread;

	memory_begin();
	T_EQ(pthread_create(&thread, NULL, wake_what_is_dropped, NULL), 0);
	for (int round = 0; round < 200 && skua_now() < end; round++) {
		skua_waker wakers[TASKS] = {{NULL, NULL}};
		skua_runtime *rt = impatient_runtime(2, 0);

		asleep = dropped = 0;
		for (int i = 0; i < TASKS; i++)
			start_stubborn(rt, &wakers[i], have_it_woken);
		WAIT_UNTIL(asleep == TASKS);
		T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
		T_EQ(dropped, TASKS);
		T_EQ(memory_alive, 0);
	}
	atomic_store(&stop_waking, 1);
	T_EQ(pthread_join(thread, NULL), 0);
	memory_end();
}

/* ---- Spawning while the runtime ends ---- */

static struct {
	skua_runtime *rt;
	int64_t (*spawn)(void);
	atomic_int is_late;
	atomic_int polled, result;
} late;

/* In the middle of a spawn, which has looked at the phase: waits until no worker is left. */
static void wait_for_the_end(size_t size)
{
	struct sk_sched *sched = late.rt->head.sched;

	if (size < sizeof(skua_task) || atomic_exchange(&late.is_late, 1) != 0)
		return;
	WAIT_UNTIL(sk_load(&sched->phase, SK_ACQUIRE) == SK_PHASE_STOPPED);
	sleep_ms(20);
}

static skua_poll count_poll(skua_cx *cx, void *unused)
{
	(void)cx, (void)unused;
	atomic_fetch_add(&late.polled, 1);
	return 5;
}

static int64_t late_block_on(void)
{
	struct call call = call_of(count_poll, NULL);

	return skua_block_on(late.rt, &call.future);
}

static int64_t late_spawn(void)
{
	struct call call = call_of(count_poll, NULL);

	return skua_spawn(late.rt, &call.future, NULL);
}

static int64_t late_spawn_and_wait(void)
{
	struct call call = call_of(count_poll, NULL);
	skua_task *task = NULL;
	int rc = skua_spawn(late.rt, &call.future, &task);

	return rc < 0 ? rc : skua_task_wait(&task);
}

static int64_t spawn_late(void *unused)
{
	(void)unused;
	memory_on_allocation = wait_for_the_end;
	late.result = (int)late.spawn();
	memory_on_allocation = NULL;
	return 0;
}

static void spawn_too_late(int64_t (*spawn)(void))
{
	memory_begin();
	late.spawn = spawn;
	late.rt = impatient_runtime(1, 1);
	T_EQ(skua_spawn_blocking(late.rt, spawn_late, NULL, 0, NULL), 0);
	WAIT_UNTIL(late.is_late == 1);
	T_EQ(skua_runtime_free(late.rt), 0);
	T_EQ(late.result, -ESHUTDOWN);
	T_EQ(late.polled, 0);
	memory_end();
}

/* Where it went wrong, these waited for ever. */
T_TEST_T(shutdown, block_on_at_the_last_moment_is_refused, 5)
{
	spawn_too_late(late_block_on);
}

T_TEST_T(shutdown, a_spawn_at_the_last_moment_is_refused, 5)
{
	spawn_too_late(late_spawn);
}

T_TEST_T(shutdown, a_spawn_with_a_handle_at_the_last_moment_is_refused, 5)
{
	spawn_too_late(late_spawn_and_wait);
}

/* A spawn in slow motion that was in time: it has seen that the runtime is open, and queues the task
 * when that is closing already. */
static atomic_int entered;
static skua_task *slow_task;

static void *spawn_slowly(void *argument)
{
	struct sk_sched *sched = argument;
	struct call call = call_of(count_poll, NULL);
	unsigned side = sk_guard_enter();

	sk_fence();
	T_EQ(sk_load(&sched->phase, SK_RELAXED), SK_PHASE_OPEN);
	slow_task = sk_task_new(sched, &call.future, sizeof call, true);
	T_NOT_NULL(slow_task);
	atomic_store(&entered, 1);
	WAIT_UNTIL(sk_load(&sched->phase, SK_ACQUIRE) != SK_PHASE_OPEN);
	sleep_ms(20);
	T_EQ(sk_load(&sched->phase, SK_ACQUIRE), SK_PHASE_CLOSING);
	sk_fetch_add(&sched->foreign[0].spawned, 1, SK_RELAXED);
	sk_sched_inject(sched, slow_task);
	sk_guard_leave(side);
	return NULL;
}

T_TEST_T(shutdown, a_spawn_that_was_in_time_is_waited_for, 5)
{
	pthread_t thread;
	skua_runtime *rt;

	memory_begin();
	rt = impatient_runtime(1, 1000 * PATIENCE);
	T_EQ(pthread_create(&thread, NULL, spawn_slowly, rt->head.sched), 0);
	WAIT_UNTIL(entered == 1);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(late.polled, 1);
	T_EQ(skua_task_wait(&slow_task), 5);
	memory_end();
}

/* Jobs that spawn all the time: each task that was accepted runs or is dropped. */
static atomic_int accepted, counted;

static skua_poll counted_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	atomic_fetch_add(&counted, 1);
	return 5;
}

static void counted_drop(skua_future *self)
{
	(void)self;
	atomic_fetch_add(&counted, 1);
}

static const skua_future_ops counted_ops = {
	.poll = counted_poll,
	.drop = counted_drop,
	.size = sizeof(skua_future),
	.name = "counted",
};

static int64_t spawn_until_the_end(void *argument)
{
	skua_runtime *rt = *(skua_runtime **)argument;
	int64_t result = 0;

	for (int i = 0; result != -ESHUTDOWN; i++) {
		skua_future future = {&counted_ops, 0, 0};
		skua_task *task = NULL;

		if (i % 4 == 0) {
			result = skua_block_on(rt, &future);
			/* Accepted, and dropped: that is -ESHUTDOWN, too. */
			T_ASSERT(result == 5 || result == -ESHUTDOWN);
			if (result == 5)
				atomic_fetch_add(&accepted, 1);
			continue;
		}
		result = skua_spawn(rt, &future, i % 4 == 1 ? &task : NULL);
		T_ASSERT(result == 0 || result == -ESHUTDOWN);
		T_ASSERT((task != NULL) == (result == 0 && i % 4 == 1));
		if (result == 0)
			atomic_fetch_add(&accepted, 1);
		if (task != NULL) {
			int64_t waited = skua_task_wait(&task);

			T_ASSERT(waited == 5 || waited == -ESHUTDOWN);
		}
	}
	return 0;
}

T_TEST(shutdown, stress_jobs_spawn_until_the_end)
{
	uint32_t random = 1;

	memory_begin();
	for (int round = 0; round < rounds(200); round++) {
		skua_runtime *rt = impatient_runtime(1 + (uint32_t)round % 2, 1000 * PATIENCE);
		struct timespec delay = {0, 0};

		accepted = counted = 0;
		for (int i = 0; i < 2; i++)
			T_EQ(skua_spawn_blocking(rt, spawn_until_the_end, &rt, sizeof(void *),
						 NULL),
			     0);
		random = random * 1664525u + 1013904223u;
		delay.tv_nsec = random % 1000000;
		nanosleep(&delay, NULL);
		T_EQ(skua_runtime_free(rt), 0);
		/* One of block_on may have been accepted and dropped in each job. */
		T_GE(counted, accepted);
		T_LE(counted, accepted + 2);
		T_EQ(memory_alive, 0);
	}
	memory_end();
}

/* ---- What is dropped ---- */

/* Who waits for a future that is dropped is told so, and not by the future's own words. */
static void *waits_for_a_stubborn_one(void *rt)
{
	static skua_waker waker;
	struct stubborn future = {{&stubborn_ops, 0, 0}, &waker, NULL};

	T_EQ(skua_block_on(rt, &future.future), -ECANCELED);
	T_EQ(dropped, 1);
	skua_waker_drop(&waker);
	return NULL;
}

T_TEST_T(shutdown, block_on_of_a_dropped_future_is_cancelled, 10)
{
	skua_runtime *rt = impatient_runtime(1, 1);
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, waits_for_a_stubborn_one, rt), 0);
	WAIT_UNTIL(asleep == 1);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(pthread_join(thread, NULL), 0);
}

/* A future that is dropped may still close what it owns. */
static skua_listener *owned;

static void close_listener(skua_waker *waker)
{
	skua_listener_close(owned);
	skua_waker_drop(waker);
}

T_TEST_T(shutdown, a_dropped_task_closes_its_sockets, 10)
{
	skua_waker waker = {0};
	skua_runtime *rt = impatient_runtime(1, 1);
	skua_addr addr;

	T_EQ(skua_addr_parse(&addr, "127.0.0.1", 0), 0);
	T_EQ(skua_listen(rt, &addr, NULL, &owned), 0);
	start_stubborn(rt, &waker, close_listener);
	WAIT_UNTIL(asleep == 1);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(dropped, 1);
}

/* ---- What the tasks are told ---- */

/* Awaits until it is cancelled, and then awaits things to clean up. */
struct cleaner {
	skua_coro co;
	skua_timer timer;
	atomic_int *stage;
	int64_t results[4];
	int64_t *out;
};

static skua_poll cleaner(skua_cx *cx, struct cleaner *self)
{
	SKUA_BEGIN(self);
	atomic_store(self->stage, 1);
	SKUA_AWAIT(self->results[0] = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	SKUA_AWAIT(self->results[1] = skua_yield(cx));
	atomic_store(self->stage, 2);
	SKUA_AWAIT(self->results[2] = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	SKUA_AWAIT(self->results[3] = skua_sleep(cx, &self->timer, SKUA_MSEC));
	memcpy(self->out, self->results, sizeof self->results);
	SKUA_END(7);
}
SKUA_CORO(cleaner, struct cleaner);

T_TEST(shutdown, a_task_that_was_cancelled_before_is_told_once_more)
{
	skua_runtime *rt = impatient_runtime(1, 2000 * PATIENCE);
	int64_t results[4] = {1, 1, 1, 1};
	atomic_int stage = 0;
	struct cleaner future = {.co = SKUA_CORO_INIT(cleaner), .stage = &stage, .out = results};
	skua_task *task = start_future(rt, &future.co);

	WAIT_UNTIL(stage == 1);
	T_EQ(skua_cancel(task), 0);
	WAIT_UNTIL(stage == 2);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(skua_task_wait(&task), 7);
	T_EQ(results[0], -ECANCELED);
	T_EQ(results[1], 0);
	T_EQ(results[2], -ECANCELED);
	T_EQ(results[3], 0);
}

T_TEST(shutdown, a_task_that_was_not_cancelled_is_told_once)
{
	skua_runtime *rt = impatient_runtime(1, T_SANITIZED ? 500 : 200);
	int64_t results[4] = {1, 1, 1, 1};
	atomic_int stage = 0;
	struct cleaner future = {.co = SKUA_CORO_INIT(cleaner), .stage = &stage, .out = results};
	skua_task *task = start_future(rt, &future.co);

	WAIT_UNTIL(stage == 1);
	/* It gets its one -ECANCELED, goes on to sleep for an hour, and is dropped. */
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(stage, 2);
	T_EQ(skua_task_wait(&task), -ESHUTDOWN);
	T_EQ(results[0], 1);
}

/* ---- Nothing new ---- */

/* A server that goes on when it is told to stop, and tries everything that would begin something. */
struct persistent {
	skua_coro co;
	skua_listener *listener, *second;
	skua_tcp *conn;
	skua_timer timer;
	skua_addr addr;
	atomic_int *told;
	int64_t rc;
	int64_t *results;
};

enum { ACCEPT, ACCEPT_AGAIN, ACCEPT_IN_TIME, LISTEN, SPAWN, SPAWN_JOB, ATTEMPTS };

static int64_t no_job(void *unused)
{
	(void)unused;
	return 0;
}

static void begin_something(skua_cx *cx, struct persistent *self)
{
	struct call call = call_of(count_poll, NULL);
	skua_runtime *rt = skua_cx_runtime(cx);

	self->results[LISTEN] = skua_listen(rt, &self->addr, NULL, &self->second);
	self->results[SPAWN] = skua_spawn(rt, &call.future, NULL);
	self->results[SPAWN_JOB] = skua_spawn_blocking(rt, no_job, NULL, 0, NULL);
}

static skua_poll persistent(skua_cx *cx, struct persistent *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
	self->results[ACCEPT] = self->rc;
	atomic_store(self->told, 1);
	/* A client comes meanwhile. */
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 50 * SKUA_MSEC));
	SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
	self->results[ACCEPT_AGAIN] = self->rc;
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, 3600 * SKUA_SEC,
					   skua_accept(cx, self->listener, &self->conn)));
	self->results[ACCEPT_IN_TIME] = self->rc;
	begin_something(cx, self);
	SKUA_END(0);
}
SKUA_CORO(persistent, struct persistent);

static void *connect_when_told(void *argument)
{
	struct persistent *server = argument;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	T_GE(fd, 0);
	WAIT_UNTIL(atomic_load(server->told) == 1);
	connect_fd(fd, &server->addr);
	/* It stays in the backlog, and is closed. */
	T_LE(recv(fd, &byte, 1, 0), 0);
	close(fd);
	return NULL;
}

T_ON_EACH_IO(shutdown, nothing_new_is_begun)
{
	struct net net = {.rt = NULL};
	int64_t results[ATTEMPTS] = {0};
	struct persistent server = {.co = SKUA_CORO_INIT(persistent), .results = results};
	atomic_int told = 0;
	skua_task *task;
	pthread_t client;
	skua_config config;

	quiet_config(&config, 2, kind);
	config.shutdown_ms = 20000;
	net.rt = runtime_with(&config);
	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	server.listener = net.listener;
	server.told = &told;
	T_EQ(skua_addr_parse(&server.addr, "127.0.0.1", skua_addr_port(&net.addr)), 0);
	task = start_future(net.rt, &server.co);
	T_EQ(pthread_create(&client, NULL, connect_when_told, &server), 0);
	T_EQ(skua_runtime_free(net.rt), 0);
	T_EQ(pthread_join(client, NULL), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(results[ACCEPT], -ECANCELED);
	for (int i = ACCEPT_AGAIN; i < ATTEMPTS; i++)
		T_EQ(results[i], -ESHUTDOWN);
}
