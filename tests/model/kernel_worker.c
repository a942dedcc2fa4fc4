/*
 * kernel_worker.c - the scheduler as it is: worker threads that poll, search, steal, sleep and are
 * woken, and the end of it all. Everything ends, nothing is left, no wake is lost.
 *
 * An execution has hundreds of steps, so most scenarios have bounds of their own. With two workers a
 * search with two preemptions does not end in a reasonable time.
 */
#include <errno.h>

#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/join_task.h"
#include "tests/model/sleep_task.h"

#define LESS .stale = 1, .spurious = -1
#define TWO_WORKERS .preemptions = 1, .stale = 1, .spurious = -1

static struct sk_sched *sched;
static skua_task *handles[2];
static sk_slot slots[2];
static SK_ATOMIC(uint32_t) polls, events;

static void watch(void *driver)
{
	(void)driver;
}

static void begin_with(uint32_t workers, const struct sk_driver_ops *driver_ops)
{
	struct sk_sched_options options = {
		.workers = workers,
		.budget = 128,
		.blocking.threads = 1,
		.blocking.keepalive_ms = 10000,
		.driver_ops = driver_ops,
	};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	mc_assert(sk_sched_start(sched) == 0);
}

/* Without a driver there is a fence more when something is published. */
static void begin(uint32_t workers)
{
	begin_with(workers, NULL);
}

static const struct sk_driver_ops driver_ops = {.watch = watch};

static void end(void)
{
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

static void spawn(const skua_future_ops *ops, uint32_t number, skua_task **handle)
{
	skua_future future = {ops, number, 0};

	mc_assert(sk_sched_spawn(sched, &future, handle) == 0);
}

static int64_t join(unsigned i)
{
	return join_task(&handles[i]);
}

static void fire(unsigned i)
{
	sk_waiter_wake(sk_slot_fire(&slots[i]));
}

static void firer(void *argument)
{
	fire((unsigned)(uintptr_t)argument);
}

/* ---- What tasks do ---- */

static skua_poll ready_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	return 7;
}

/* Waits in the slot with the number of the future. */
static skua_poll wait_poll(skua_cx *cx, skua_future *self)
{
	skua_poll interrupt = skua_cx_interrupt(cx), waits;

	if (interrupt != 0) {
		sk_slot_forget(&slots[self->resume], cx->task);
		return interrupt;
	}
	waits = sk_slot_wait(&slots[self->resume], cx);
	return waits == 0 ? 7 : waits;
}

/* Fires the other slot, and waits in its own. */
static skua_poll pair_poll(skua_cx *cx, skua_future *self)
{
	if (self->line == 0) {
		self->line = 1;
		fire(1 - self->resume);
	}
	return wait_poll(cx, self);
}

static const skua_future_ops ready_ops = {ready_poll, NULL, sizeof(skua_future), "ready", NULL};
static const skua_future_ops wait_ops = {wait_poll, NULL, sizeof(skua_future), "wait", NULL};
static const skua_future_ops pair_ops = {pair_poll, NULL, sizeof(skua_future), "pair", NULL};

/* Spawns one, and joins it as skua_join does. */
static skua_poll parent_poll(skua_cx *cx, skua_future *self)
{
	skua_poll waits;

	if (self->line == 0) {
		self->line = 1;
		spawn(&ready_ops, 0, &handles[1]);
	}
	if (sk_task_is_complete(handles[1]))
		return sk_task_take_result(&handles[1]);
	waits = sk_slot_wait(&handles[1]->join, cx);
	return waits == 0 ? sk_task_take_result(&handles[1]) : waits;
}

static const skua_future_ops parent_ops = {parent_poll, NULL, sizeof(skua_future), "parent", NULL};

/* ---- One worker ---- */

MC_SCENARIO(worker, spawn_and_end)
{
	begin(1);
	spawn(&ready_ops, 0, NULL);
	end();
	mc_assert(sk_load(&polls, SK_RELAXED) == 1);
}

MC_SCENARIO_WITH(worker, spawn_and_join, LESS)
{
	begin(1);
	spawn(&ready_ops, 0, &handles[0]);
	mc_assert(join(0) == 7);
	end();
}

static void wake_and_end(void)
{
	spawn(&wait_ops, 0, &handles[0]);
	fire(0);
	mc_assert(join(0) == 7);
	end();
}

static void wake_from_outside(uint32_t workers, const struct sk_driver_ops *ops)
{
	begin_with(workers, ops);
	wake_and_end();
}

MC_SCENARIO_WITH(worker, wake_from_outside, LESS)
{
	wake_from_outside(1, NULL);
}

/* One certain worker, whose bit the publisher looks at twice without a fence: to choose it, and after
 * the push. */
MC_SCENARIO_WITH(worker, publish_to_who_goes_to_sleep, .preemptions = 1, .stale = 2, .spurious = -1)
{
	wake_from_outside(1, &driver_ops);
}

/* One who publishes is put off by a searcher that has nothing left to search. */
MC_SCENARIO_WITH(worker, two_workers_publish_to_who_goes_to_sleep, TWO_WORKERS)
{
	wake_from_outside(2, &driver_ops);
}

MC_SCENARIO_WITH(worker, cancel_from_outside, LESS)
{
	begin(1);
	spawn(&wait_ops, 0, &handles[0]);
	mc_assert(sk_task_cancel(handles[0]) == 0);
	mc_assert(join(0) == -ECANCELED);
	end();
}

/* A task that waits for nothing is told that the runtime closes. */
MC_SCENARIO_WITH(worker, close_wakes_a_waiting_task, LESS)
{
	begin(1);
	spawn(&wait_ops, 0, NULL);
	end();
}

MC_SCENARIO_WITH(worker, two_tasks_wake_each_other, LESS)
{
	begin(1);
	spawn(&pair_ops, 0, &handles[0]);
	spawn(&pair_ops, 1, &handles[1]);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}

/* Two tasks that keep waking each other, until a third one has been polled. */
static skua_poll restless_poll(skua_cx *cx, skua_future *self)
{
	skua_task *other = handles[1 - self->resume];

	if (sk_load(&polls, SK_RELAXED) > 0)
		return 7;
	if (self->resume == 0 && self->line++ == 0) {
		skua_future second = {self->ops, 1, 0};

		spawn(&ready_ops, 0, NULL);
		mc_assert(sk_sched_spawn(sched, &second, &handles[1]) == 0);
		return SKUA_PENDING;
	}
	(void)cx;
	sk_task_wake(other);
	return SKUA_PENDING;
}

static const skua_future_ops restless_ops = {restless_poll, NULL, sizeof(skua_future), "restless",
					     NULL};

MC_SCENARIO_WITH(worker, two_tasks_do_not_starve_a_third, .preemptions = -1, .stale = -1,
		 .spurious = -1)
{
	begin(1);
	spawn(&restless_ops, 0, &handles[0]);
	mc_assert(join(0) == 7);
	sk_task_cancel(handles[1]);
	mc_assert(join(1) == 7);
	end();
}

MC_SCENARIO_WITH(worker, a_task_spawns_and_joins, LESS)
{
	begin(1);
	spawn(&parent_ops, 0, &handles[0]);
	mc_assert(join(0) == 7);
	end();
}

/* Somebody spawns while the runtime is closed: the task runs to its end, or is refused. */
static void late_spawner(void *unused)
{
	skua_future future = {&ready_ops, 0, 0};
	int rc = sk_sched_spawn(sched, &future, NULL);

	(void)unused;
	mc_assert(rc == 0 || rc == -ESHUTDOWN);
	if (rc == 0)
		sk_fetch_add(&events, 1, SK_RELAXED);
}

MC_SCENARIO_WITH(worker, spawn_against_close, LESS)
{
	int thread;

	begin(1);
	thread = mc_thread(late_spawner, NULL);
	/* The spawner needs the runtime for its first look. */
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_join(thread);
	mc_assert(sk_load(&polls, SK_RELAXED) == sk_load(&events, SK_RELAXED));
	mc_assert(sk_sched_free(sched) == 0);
}

/* A task spawns while the runtime is closed. The drain does not end before the one that was spawned,
 * which is kept from its end for a while: it has counted what completed first, then what was spawned. */
static sk_parker gate;

static skua_poll gate_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_park(&gate, SK_FOREVER);
	sk_fetch_add(&polls, 1, SK_RELAXED);
	return 7;
}

static const skua_future_ops gate_ops = {gate_poll, NULL, sizeof(skua_future), "gate", NULL};

static skua_poll late_parent_poll(skua_cx *cx, skua_future *self)
{
	skua_future child = {&gate_ops, 0, 0};
	int rc = sk_sched_spawn(sched, &child, NULL);

	(void)cx, (void)self;
	mc_assert(rc == 0 || rc == -ESHUTDOWN);
	sk_fetch_add(&events, rc == 0, SK_RELAXED);
	return 7;
}

static const skua_future_ops late_parent_ops = {late_parent_poll, NULL, sizeof(skua_future),
						"late parent", NULL};

MC_SCENARIO_WITH(worker, spawn_by_a_task_against_drain, LESS, .allow_timeouts = true)
{
	sk_parker_init(&gate);
	begin(1);
	spawn(&late_parent_ops, 0, NULL);
	sk_sched_close(sched);
	if (sk_sched_drain(sched, sk_now() + 1))
		/* Nothing that was spawned is alive. */
		mc_assert(sk_load(&events, SK_RELAXED) == 0);
	sk_unpark(&gate);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	mc_assert(sk_load(&polls, SK_RELAXED) == sk_load(&events, SK_RELAXED));
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

/* Somebody wakes a task until after the runtime is gone. */
MC_SCENARIO_WITH(worker, wake_against_the_end, LESS)
{
	int thread;

	begin(1);
	spawn(&wait_ops, 0, NULL);
	thread = mc_thread(firer, NULL);
	end();
	mc_join(thread);
}

/* ---- Timers ---- */

MC_SCENARIO_WITH(worker, sleep_on_a_timer, .stale = -1, .allow_timeouts = true)
{
	struct sleep sleep = {.future = {&sleep_ops, 0, 0}};

	begin(1);
	mc_assert(sk_sched_spawn(sched, &sleep.future, &handles[0]) == 0);
	mc_assert(join(0) == 7);
	end();
}

MC_SCENARIO_WITH(worker, close_against_a_timer, .stale = -1, .allow_timeouts = true)
{
	struct sleep sleep = {.future = {&sleep_ops, 0, 0}};

	begin(1);
	mc_assert(sk_sched_spawn(sched, &sleep.future, NULL) == 0);
	end();
}

/* ---- Two workers ---- */

MC_SCENARIO_WITH(worker, two_workers_spawn_and_end, TWO_WORKERS)
{
	begin(2);
	spawn(&ready_ops, 0, NULL);
	end();
	mc_assert(sk_load(&polls, SK_RELAXED) == 1);
}

MC_SCENARIO_WITH(worker, two_workers_spawn_and_join, TWO_WORKERS)
{
	begin(2);
	spawn(&ready_ops, 0, &handles[0]);
	mc_assert(join(0) == 7);
	end();
}

MC_SCENARIO_WITH(worker, two_workers_two_tasks, TWO_WORKERS)
{
	begin(2);
	spawn(&pair_ops, 0, &handles[0]);
	spawn(&pair_ops, 1, &handles[1]);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}

MC_SCENARIO_WITH(worker, two_workers_a_task_spawns_and_joins, TWO_WORKERS)
{
	begin(2);
	spawn(&parent_ops, 0, &handles[0]);
	mc_assert(join(0) == 7);
	end();
}

MC_SCENARIO_WITH(worker, two_workers_wake_from_outside, TWO_WORKERS)
{
	wake_from_outside(2, NULL);
}

/* ---- Two workers where the load needs one (sched/demand.h) ---- */

#define SPARE .preemptions = 1, .stale = -1, .spurious = -1

static void begin_with_a_spare(void)
{
	begin_with(2, &driver_ops);
	sk_store(&sched->demand.limit, 1, SK_RELAXED);
}

MC_SCENARIO_WITH(worker, spare_wake_from_outside, SPARE)
{
	begin_with_a_spare();
	wake_and_end();
}

MC_SCENARIO_WITH(worker, spare_two_tasks, SPARE)
{
	begin_with_a_spare();
	spawn(&pair_ops, 0, &handles[0]);
	spawn(&pair_ops, 1, &handles[1]);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}
