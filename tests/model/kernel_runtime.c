/*
 * kernel_runtime.c - a whole runtime, from skua_runtime_new to skua_runtime_free, by the functions that a
 * program calls; with one worker. Its IO is a stand-in: a driver thread that waits for one event.
 *
 * The configuration and the IO are defined here, under other names (meson.build): the engine's own would
 * read files, and the steps of libuv are another kernel's subject.
 */
#include <errno.h>

#include "runtime/runtime.h"
#include "sched/log.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/sync_model.h"

#include "skua/task.h"

#define LESS .stale = 1, .spurious = -1
#define NO_STALE .stale = -1, .spurious = -1
#define GRACE_RUNS_OUT .stale = -1, .allow_timeouts = true

static skua_runtime *rt;
static skua_task *handles[2];
static sk_slot slot; /* what tasks wait for */
static SK_ATOMIC(uint32_t) polls, drops, jobs;
static int reason; /* plain: written by the one who frees the runtime */

/* ---- The configuration ---- */

int sk_config_resolve_copy(skua_config *config, struct sk_config *resolved)
{
	resolved->public.workers = config->workers;
	resolved->public.budget = 128;
	resolved->public.max_blocking = 1;
	resolved->public.blocking_keepalive_ms = 10000;
	resolved->public.shutdown_ms = 1000;
	return 0;
}

int sk_config_cpu_list(const skua_config *config, int *cpus, int capacity)
{
	(void)config;
	/* Workers may run anywhere. */
	if (capacity > 0)
		cpus[0] = 0;
	return 0;
}

void sk_log_set_level(int level)
{
	(void)level;
}

/* ---- The IO: one driver, and one event that it may bring ---- */

static struct {
	bool exists; /* or there is no thread */
	bool runs;
	sk_thread thread;
	sk_parker parker;
	SK_ATOMIC(uint32_t) stop, event;
	struct sk_batch batch;
} driver;

static void drive(void *unused)
{
	(void)unused;
	while (sk_load(&driver.stop, SK_ACQUIRE) == 0) {
		sk_park(&driver.parker, SK_FOREVER);
		if (sk_exchange(&driver.event, 0, SK_ACQUIRE) == 0)
			continue;
		sk_batch_add(&driver.batch, sk_slot_fire(&slot));
		sk_batch_publish(&driver.batch);
	}
}

/* The descriptor becomes readable. */
static void event(void)
{
	sk_store(&driver.event, 1, SK_RELEASE);
	sk_unpark(&driver.parker);
}

static void watch(void *unused)
{
	(void)unused;
}

const struct sk_driver_ops sk_io_driver_ops = {.watch = watch};
const struct sk_driver_ops sk_io_assisted_driver_ops = {.watch = watch};

int sk_io_new(uint32_t backend, bool assisted, uint32_t drivers, struct sk_io **out)
{
	struct sk_io *io = sk_calloc(1, sizeof *io);

	(void)backend, (void)assisted, (void)drivers;
	if (io == NULL)
		return -ENOMEM;
	io->drivers = sk_calloc(1, sizeof(struct sk_driver *));
	if (io->drivers == NULL) {
		sk_free(io);
		return -ENOMEM;
	}
	*out = io;
	return 0;
}

int sk_io_start(struct sk_io *io, struct sk_sched *sched)
{
	int rc;

	io->sched = sched;
	if (!driver.exists)
		return 0;
	sk_parker_init(&driver.parker);
	rc = sk_batch_init(&driver.batch, sched);
	if (rc < 0)
		return rc;
	rc = sk_thread_start(&driver.thread, "driver", drive, NULL);
	if (rc < 0)
		sk_batch_destroy(&driver.batch);
	driver.runs = rc == 0;
	return rc;
}

void sk_io_stop(struct sk_io *io)
{
	(void)io;
	if (!driver.runs)
		return;
	sk_store(&driver.stop, 1, SK_RELEASE);
	sk_unpark(&driver.parker);
	sk_thread_join(&driver.thread);
	sk_batch_destroy(&driver.batch);
	driver.runs = false;
}

void sk_io_free(struct sk_io *io)
{
	sk_free(io->drivers);
	sk_free(io);
}

void sk_io_stats(struct sk_io *io, skua_stats *stats)
{
	(void)io, (void)stats;
}

/* ---- Tasks and jobs ---- */

static skua_poll ready_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	return 7;
}

/* Waits in the slot, as a read does. */
static skua_poll wait_poll(skua_cx *cx, skua_future *self)
{
	skua_poll interrupt = skua_cx_interrupt(cx), waits;

	(void)self;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	if (interrupt != 0) {
		sk_slot_forget(&slot, cx->task);
		return interrupt;
	}
	waits = sk_slot_wait(&slot, cx);
	return waits == 0 ? 7 : waits;
}

/* The same, and does not care whether it was cancelled. */
static skua_poll stubborn_poll(skua_cx *cx, skua_future *self)
{
	skua_poll waits = sk_slot_wait(&slot, cx);

	(void)self;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	return waits == 0 ? 7 : waits;
}

static void count_drop(skua_future *self)
{
	(void)self;
	sk_fetch_add(&drops, 1, SK_RELAXED);
}

/* Is polled again only because the runtime closes; it does not ask why, but sees what came before. */
static skua_poll woken_poll(skua_cx *cx, skua_future *self)
{
	(void)cx;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	return self->line++ == 0 ? SKUA_PENDING : reason;
}

/* Is in the same poll all the time, and looks itself. */
static skua_poll long_poll(skua_cx *cx, skua_future *self)
{
	(void)self;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	while (sk_load(&cx->task->sched->phase, SK_ACQUIRE) == SK_PHASE_OPEN)
		sk_thread_yield();
	return reason;
}

static const skua_future_ops ready_ops = {ready_poll, NULL, sizeof(skua_future), "ready", NULL};
static const skua_future_ops wait_ops = {wait_poll, count_drop, sizeof(skua_future), "wait", NULL};
static const skua_future_ops stubborn_ops = {stubborn_poll, count_drop, sizeof(skua_future),
					     "stubborn", NULL};
static const skua_future_ops woken_ops = {woken_poll, NULL, sizeof(skua_future), "woken", NULL};
static const skua_future_ops long_ops = {long_poll, NULL, sizeof(skua_future), "long", NULL};

/* Sleeps for a long time. */
struct sleeper {
	skua_future future;
	struct sk_timer timer;
};

static skua_poll sleep_poll(skua_cx *cx, skua_future *self)
{
	struct sk_timer *timer = &((struct sleeper *)(void *)self)->timer;
	skua_poll interrupt = skua_cx_interrupt(cx);

	if (interrupt != 0) {
		sk_timer_disarm(timer);
		return interrupt;
	}
	if (!sk_timer_is_armed(timer))
		mc_assert(sk_timer_arm(&((struct sk_worker *)cx->worker)->timers, timer,
				       sk_now() + UINT64_C(3600000000000), 1, cx) == 0);
	return SKUA_PENDING;
}

static const skua_future_ops sleep_ops = {sleep_poll, NULL, sizeof(struct sleeper), "sleep", NULL};

static int64_t job(void *argument)
{
	(void)argument;
	sk_fetch_add(&jobs, 1, SK_RELAXED);
	return 7;
}

/* A job that spawns: the last way in while a runtime is being freed. */
static int64_t spawning_job(void *argument)
{
	skua_future future = {&ready_ops, 0, 0};
	int rc = skua_spawn(rt, &future, NULL);

	(void)argument;
	mc_assert(rc == 0 || rc == -ESHUTDOWN);
	return rc == 0;
}

/* ---- What the threads do ---- */

static void begin(void)
{
	skua_config config = {.struct_size = sizeof config, .workers = 1};

	mc_assert(skua_runtime_new(&config, &rt) == 0);
}

static int spawn(unsigned i, const skua_future_ops *ops)
{
	skua_future future = {ops, 0, 0};

	return skua_spawn(rt, &future, &handles[i]);
}

static void fire(void *unused)
{
	(void)unused;
	sk_waiter_wake(sk_slot_fire(&slot));
}

static void wait_for_a_poll(void)
{
	while (sk_load(&polls, SK_RELAXED) == 0)
		sk_thread_yield();
}

/* Of a handle that has outlived the runtime. */
static int64_t take(unsigned i)
{
	mc_assert(skua_task_finished(handles[i]));
	return sk_task_take_result(&handles[i]);
}

/* ---- Start and end ---- */

MC_SCENARIO_WITH(runtime, new_and_free, LESS)
{
	begin();
	mc_assert(skua_runtime_free(rt) == 0);
}

MC_SCENARIO_WITH(runtime, block_on_and_free, LESS)
{
	skua_future future = {&ready_ops, 0, 0};

	begin();
	mc_assert(skua_block_on(rt, &future) == 7);
	mc_assert(skua_runtime_free(rt) == 0);
}

/* Whatever fails at the start, there is an error and nothing is left. */
MC_SCENARIO_WITH(runtime, new_without_memory_or_threads, .preemptions = 1, LESS)
{
	skua_config config = {.struct_size = sizeof config, .workers = 2};
	int rc;

	driver.exists = true;
	mc_allow_failures(1);
	rc = skua_runtime_new(&config, &rt);
	mc_allow_failures(0);
	mc_assert(mc_failures() == 0 ? rc == 0 : rc == -ENOMEM || rc == -EAGAIN);
	mc_assert(rc == 0 || config.message[0] != '\0');
	if (rc == 0)
		mc_assert(skua_runtime_free(rt) == 0);
}

/* The future is polled to its end, or never. */
MC_SCENARIO_WITH(runtime, block_on_without_memory, LESS)
{
	skua_future future = {&ready_ops, 0, 0};
	skua_poll result;

	begin();
	mc_allow_failures(2);
	result = skua_block_on(rt, &future);
	mc_allow_failures(0);
	mc_assert(result == (mc_failures() > 0 ? -ENOMEM : 7));
	mc_assert(sk_load(&polls, SK_RELAXED) == (result == 7));
	mc_assert(skua_runtime_free(rt) == 0);
}

/* The same for what is spawned, and for the wait for it: a handle whose wait fails stays. */
MC_SCENARIO_WITH(runtime, spawn_and_wait_without_memory, LESS)
{
	int64_t result;
	int rc;

	begin();
	mc_allow_failures(1);
	rc = spawn(0, &ready_ops);
	mc_assert(rc == 0 || (rc == -ENOMEM && mc_failures() == 1));
	if (rc == 0) {
		result = skua_task_wait(&handles[0]);
		mc_assert(result == 7 || (result == -ENOMEM && mc_failures() == 1));
		mc_assert((result == 7) == (handles[0] == NULL));
	}
	mc_allow_failures(0);
	skua_detach(&handles[0]);
	mc_assert(skua_runtime_free(rt) == 0);
	mc_assert(sk_load(&polls, SK_RELAXED) == (rc == 0));
}

/* ---- The end, and what is alive then ---- */

MC_SCENARIO_WITH(runtime, free_with_a_waiting_task, LESS)
{
	int64_t result;

	begin();
	mc_assert(spawn(0, &wait_ops) == 0);
	mc_assert(skua_runtime_free(rt) == 0);
	result = take(0);
	mc_assert(result == -ECANCELED);
	mc_assert(sk_load(&polls, SK_RELAXED) >= 1 && sk_load(&drops, SK_RELAXED) == 0);
}

MC_SCENARIO_WITH(runtime, free_with_a_task_that_does_not_ask, LESS)
{
	begin();
	mc_assert(spawn(0, &woken_ops) == 0);
	wait_for_a_poll();
	reason = 9;
	mc_assert(skua_runtime_free(rt) == 0);
	mc_assert(take(0) == 9);
}

MC_SCENARIO_WITH(runtime, free_with_a_timer, LESS)
{
	struct sleeper sleeper = {.future = {&sleep_ops, 0, 0}};

	begin();
	mc_assert(skua_spawn(rt, &sleeper.future, &handles[0]) == 0);
	mc_assert(skua_runtime_free(rt) == 0);
	mc_assert(take(0) == -ECANCELED);
}

MC_SCENARIO_WITH(runtime, free_with_a_job, .preemptions = 1, NO_STALE)
{
	int64_t result;

	begin();
	mc_assert(skua_spawn_blocking(rt, job, NULL, 0, &handles[0]) == 0);
	mc_assert(skua_runtime_free(rt) == 0);
	result = take(0);
	mc_assert(result == (sk_load(&jobs, SK_RELAXED) == 1 ? 7 : -ECANCELED));
}

/* What a job spawns while the runtime is being freed runs, or is refused. */
MC_SCENARIO_WITH(runtime, free_with_a_job_that_spawns, .preemptions = 1, NO_STALE)
{
	int64_t result;

	begin();
	mc_assert(skua_spawn_blocking(rt, spawning_job, NULL, 0, &handles[0]) == 0);
	mc_assert(skua_runtime_free(rt) == 0);
	result = take(0);
	mc_assert(result == 0 || result == 1 || result == -ECANCELED);
	mc_assert(sk_load(&polls, SK_RELAXED) == (result == 1));
}

/* All at once: a task that waits, one with a timer, a job, and a driver that may bring the event. */
MC_SCENARIO_WITH(runtime, free_with_everything, .preemptions = 1, NO_STALE)
{
	struct sleeper sleeper = {.future = {&sleep_ops, 0, 0}};
	int64_t result;

	driver.exists = true;
	begin();
	mc_assert(spawn(0, &wait_ops) == 0);
	mc_assert(skua_spawn(rt, &sleeper.future, NULL) == 0);
	mc_assert(skua_spawn_blocking(rt, job, NULL, 0, NULL) == 0);
	event();
	mc_assert(skua_runtime_free(rt) == 0);
	result = take(0);
	mc_assert(result == 7 || result == -ECANCELED);
	sk_slot_reset(&slot);
}

/* ---- The end against others ---- */

/* The driver publishes a task to a worker that is being stopped. */
MC_SCENARIO_WITH(runtime, free_against_an_event, .preemptions = 1, LESS)
{
	int64_t result;

	driver.exists = true;
	begin();
	mc_assert(spawn(0, &wait_ops) == 0);
	event();
	mc_assert(skua_runtime_free(rt) == 0);
	result = take(0);
	mc_assert(result == 7 || result == -ECANCELED);
	sk_slot_reset(&slot);
}

/* A task that does not end in time is dropped, while a foreign thread wakes it. */
MC_SCENARIO_WITH(runtime, drop_against_a_foreign_wake, .preemptions = 1, GRACE_RUNS_OUT)
{
	int64_t result;
	int rc;

	begin();
	mc_assert(spawn(0, &stubborn_ops) == 0);
	mc_start(fire, 0);
	rc = skua_runtime_free(rt);
	result = take(0);
	mc_assert(rc == 0 ? result == 7 : rc == -ETIMEDOUT && result == -ESHUTDOWN);
	mc_assert(sk_load(&drops, SK_RELAXED) == (rc != 0));
	mc_join_all();
	sk_slot_reset(&slot);
}

/* One that is in the same poll until the runtime closes ends by itself. */
MC_SCENARIO_WITH(runtime, free_with_a_task_in_a_long_poll, .preemptions = 1, GRACE_RUNS_OUT)
{
	begin();
	mc_assert(spawn(0, &long_ops) == 0);
	wait_for_a_poll();
	reason = 9;
	mc_assert(skua_runtime_free(rt) == 0);
	mc_assert(take(0) == 9);
}

/* As above, but it is the driver who brings the event too late. */
MC_SCENARIO_WITH(runtime, drop_against_an_event, .preemptions = 1, GRACE_RUNS_OUT)
{
	int64_t result;
	int rc;

	driver.exists = true;
	begin();
	mc_assert(spawn(0, &stubborn_ops) == 0);
	event();
	rc = skua_runtime_free(rt);
	result = take(0);
	mc_assert(rc == 0 ? result == 7 : rc == -ETIMEDOUT && result == -ESHUTDOWN);
	mc_assert(sk_load(&drops, SK_RELAXED) == (rc != 0));
	sk_slot_reset(&slot);
}

/* Somebody waits for a task while the runtime is freed: the handle outlives it. */
static void waits(void *unused)
{
	int64_t result = skua_task_wait(&handles[0]);

	(void)unused;
	mc_assert(result == -ECANCELED && handles[0] == NULL);
}

MC_SCENARIO_WITH(runtime, free_against_a_wait, .preemptions = 1, NO_STALE)
{
	begin();
	mc_assert(spawn(0, &wait_ops) == 0);
	mc_start(waits, 0);
	mc_assert(skua_runtime_free(rt) == 0);
	mc_join_all();
}

/* Somebody is inside skua_block_on while the runtime is freed: it returns when its future has ended or
 * been dropped, and the future is on its stack. */
static void blocks_on(void *argument)
{
	skua_future future = {argument, 0, 0};

	mc_assert(skua_block_on(rt, &future) == -ECANCELED);
	future.ops = NULL;
}

static void free_against_block_on(const skua_future_ops *ops, int wanted)
{
	int one;

	begin();
	one = mc_thread(blocks_on, (void *)(uintptr_t)ops);
	/* It is inside: or it would use a runtime that is gone. */
	wait_for_a_poll();
	mc_assert(skua_runtime_free(rt) == wanted);
	mc_join(one);
	sk_slot_reset(&slot);
}

/* Refused or not, while the runtime closes: nothing is left of what was refused. */
static void blocks_on_late(void *unused)
{
	skua_future future = {&ready_ops, 0, 0};
	skua_poll result = skua_block_on(rt, &future);

	(void)unused;
	mc_assert(result == 7 || result == -ESHUTDOWN);
}

static void spawns_late(void *unused)
{
	int rc = spawn(0, &ready_ops);

	(void)unused;
	mc_assert(rc == 0 || rc == -ESHUTDOWN);
	mc_assert((rc == 0) == (handles[0] != NULL));
}

static void close_against(void (*run)(void *))
{
	begin();
	mc_start(run, 0);
	sk_sched_close(rt->head.sched);
	/* It needs the runtime until it has returned. */
	mc_join_all();
	mc_assert(skua_runtime_free(rt) == 0);
	skua_detach(&handles[0]);
}

MC_SCENARIO_WITH(runtime, close_against_block_on, .preemptions = 1, LESS)
{
	close_against(blocks_on_late);
}

MC_SCENARIO_WITH(runtime, close_against_spawn, .preemptions = 1, LESS)
{
	close_against(spawns_late);
}

MC_SCENARIO_WITH(runtime, free_against_block_on, .preemptions = 1, NO_STALE)
{
	free_against_block_on(&wait_ops, 0);
}

MC_SCENARIO_WITH(runtime, drop_against_block_on, .preemptions = 1, GRACE_RUNS_OUT)
{
	free_against_block_on(&stubborn_ops, -ETIMEDOUT);
	mc_assert(sk_load(&drops, SK_RELAXED) == 1);
}
