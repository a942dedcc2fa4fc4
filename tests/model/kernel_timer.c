/*
 * kernel_timer.c - timers: their owner arms, disarms and fires, the driver fires for it, and others disarm
 * and arm by post. A timer that fires fires once; one that is disarmed may be freed at once.
 */
#include <errno.h>
#include <string.h>

#include "sched/sched.h"
#include "sched/task.h"
#include "sched/thread_waker.h"
#include "sched/timer.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/sync_model.h"

enum { NOW = 1000, LATER = 2000 };

static struct sk_timers shards[2];
static struct sk_timer *timers[3]; /* each a block of its own, to be freed as soon as it may */

/* ---- A foreign executor that only counts ---- */

static SK_ATOMIC(uint32_t) references, wakes;
static void (*on_wake)(void); /* what the executor does in a wake */

static void *count_clone(void *data)
{
	sk_fetch_add(&references, 1, SK_RELAXED);
	return data;
}

static void count_wake_by_ref(void *data)
{
	(void)data;
	if (on_wake != NULL)
		on_wake();
	sk_fetch_add(&wakes, 1, SK_RELAXED);
}

static void count_drop(void *data)
{
	(void)data;
	sk_fetch_sub(&references, 1, SK_RELAXED);
}

static void count_wake(void *data)
{
	count_wake_by_ref(data);
	count_drop(data);
}

static const skua_waker_ops count_ops = {count_clone, count_wake, count_wake_by_ref, count_drop};

static uint32_t wakes_so_far(void)
{
	return sk_load(&wakes, SK_RELAXED);
}

/* ---- What the threads do ---- */

/* The timers of the scenario's own thread, and those of another one, which is not there. */
static void begin(void)
{
	for (int i = 0; i < 2; i++) {
		memset(&shards[i], 0, sizeof shards[i]);
		sk_timers_init(&shards[i], i == 0 ? sk_thread_local() : &shards[i]);
	}
	for (int i = 0; i < 3; i++) {
		timers[i] = sk_calloc(1, sizeof *timers[i]);
		mc_assert(timers[i] != NULL);
	}
}

/* Another thread than the owner of the first ones. */
static void be_another(void)
{
	sk_thread_local_set(&timers);
}

static void arm_in(struct sk_timers *shard, unsigned i, uint64_t deadline)
{
	skua_waker waker = {&count_ops, NULL};
	skua_cx cx;

	skua_cx_init(&cx, NULL, &waker);
	if (shard->owner == sk_thread_local())
		mc_assert(sk_timer_arm(shard, timers[i], deadline, 1, &cx) == 0);
	else
		mc_assert(sk_timer_arm_from_outside(shard, timers[i], deadline, &cx) == 0);
}

static void arm(unsigned i, uint64_t deadline)
{
	arm_in(&shards[0], i, deadline);
}

static bool has_fired(unsigned i)
{
	return sk_timer_is_armed(timers[i]) && sk_timer_has_fired(timers[i]);
}

/* The user's memory from then on. */
static void disarm_and_free(unsigned i)
{
	if (timers[i] == NULL)
		return;
	sk_timer_disarm(timers[i]);
	mc_assert(!sk_timer_is_armed(timers[i]));
	sk_free(timers[i]);
	timers[i] = NULL;
}

static bool is_empty(struct sk_timers *shard)
{
	sk_timers_refresh(shard);
	return sk_timers_next(shard) == SK_FOREVER;
}

static void end(void)
{
	for (unsigned i = 0; i < 3; i++)
		disarm_and_free(i);
	mc_assert(is_empty(&shards[0]));
	for (int i = 0; i < 2; i++)
		sk_timers_destroy(&shards[i]);
	mc_assert(sk_load(&references, SK_RELAXED) == 0);
}

/* The driver. */
static void fires(void *unused)
{
	(void)unused;
	be_another();
	sk_timers_fire_for_owner(&shards[0], NOW);
}

/* ---- The owner and the driver ---- */

MC_SCENARIO(timer, disarm_against_fire)
{
	begin();
	arm(0, NOW);
	mc_start(fires, 0);
	disarm_and_free(0);
	mc_join_all();
	mc_assert(wakes_so_far() <= 1);
	end();
}

/* The owner polls, and goes on as soon as it finds the timer ready. */
MC_SCENARIO(timer, poll_against_fire)
{
	begin();
	arm(0, NOW);
	mc_start(fires, 0);
	if (has_fired(0))
		disarm_and_free(0);
	mc_join_all();
	mc_assert(wakes_so_far() == 1);
	mc_assert(timers[0] == NULL || has_fired(0));
	end();
}

/* Armed while somebody fires what is due: that one takes it, or the next. */
MC_SCENARIO(timer, arm_against_fire)
{
	begin();
	arm(1, NOW);
	mc_start(fires, 0);
	arm(0, NOW);
	mc_join_all();
	sk_timers_fire(&shards[0], NOW);
	mc_assert(wakes_so_far() == 2);
	end();
}

/* The owner comes back from its long poll while the driver fires for it: each fires once. */
MC_SCENARIO(timer, owner_and_driver_fire_two_timers)
{
	begin();
	arm(0, NOW);
	arm(1, NOW);
	mc_start(fires, 0);
	sk_timers_fire(&shards[0], NOW);
	disarm_and_free(1);
	mc_join_all();
	mc_assert(wakes_so_far() == 2);
	mc_assert(has_fired(0));
	end();
}

/* Two who fire for it, and the owner: a timer that is disarmed fires at most once. */
MC_SCENARIO(timer, two_threads_fire_two_timers)
{
	begin();
	arm(0, NOW);
	arm(1, NOW);
	mc_start(fires, 0);
	mc_start(fires, 0);
	disarm_and_free(1);
	mc_join_all();
	sk_timers_fire(&shards[0], NOW);
	mc_assert(wakes_so_far() == 1 || wakes_so_far() == 2);
	mc_assert(has_fired(0));
	end();
}

/* Disarmed and armed again with a later deadline: a firing of the first time does not count. */
MC_SCENARIO(timer, rearm_against_fire)
{
	uint32_t before;

	begin();
	arm(0, NOW);
	mc_start(fires, 0);
	sk_timer_disarm(timers[0]);
	arm(0, LATER);
	mc_join_all();
	mc_assert(!has_fired(0));
	sk_timers_refresh(&shards[0]);
	mc_assert(sk_timers_next(&shards[0]) == LATER);
	before = wakes_so_far();
	mc_assert(sk_timers_fire(&shards[0], LATER) == 1);
	mc_assert(wakes_so_far() == before + 1);
	end();
}

/* One is taken out from between the others. */
MC_SCENARIO(timer, disarm_in_the_middle_against_fire)
{
	begin();
	arm(0, NOW + 2);
	arm(1, NOW);
	arm(2, NOW + 1);
	mc_start(fires, 0);
	disarm_and_free(2);
	mc_join_all();
	sk_timers_fire(&shards[0], NOW);
	mc_assert(wakes_so_far() == 1 && has_fired(1));
	mc_assert(sk_timers_fire(&shards[0], NOW + 2) == 1 && has_fired(0));
	end();
}

/* ---- By post ---- */

/* The one who waits has moved to another worker: it disarms there, and its memory goes. */
static void disarms_elsewhere(void *unused)
{
	(void)unused;
	be_another();
	disarm_and_free(0);
}

MC_SCENARIO(timer, disarm_elsewhere_against_fire)
{
	begin();
	arm(0, NOW);
	mc_start(disarms_elsewhere, 0);
	sk_timers_fire(&shards[0], NOW);
	mc_join_all();
	mc_assert(wakes_so_far() <= 1);
	end();
}

MC_SCENARIO(timer, disarm_elsewhere_against_two_who_fire)
{
	begin();
	arm(0, NOW);
	mc_start(disarms_elsewhere, 0);
	mc_start(fires, 0);
	sk_timers_fire(&shards[0], NOW);
	mc_join_all();
	mc_assert(wakes_so_far() <= 1);
	end();
}

/* What was posted is used again by the owner, while the other one is still on its way out. */
MC_SCENARIO(timer, disarm_elsewhere_against_arm)
{
	begin();
	arm(0, NOW);
	mc_start(disarms_elsewhere, 0);
	sk_timers_refresh(&shards[0]);
	arm(1, NOW);
	arm(2, NOW);
	mc_join_all();
	mc_assert(wakes_so_far() == 0);
	mc_assert(sk_timers_fire(&shards[0], NOW) >= 2);
	mc_assert(wakes_so_far() == 2 && has_fired(1) && has_fired(2));
	end();
}

/* Two post at once. */
static void disarms_another_elsewhere(void *unused)
{
	(void)unused;
	be_another();
	disarm_and_free(1);
}

MC_SCENARIO(timer, two_disarm_elsewhere)
{
	begin();
	arm(0, NOW);
	arm(1, NOW);
	mc_start(disarms_elsewhere, 0);
	mc_start(disarms_another_elsewhere, 0);
	sk_timers_refresh(&shards[0]);
	mc_join_all();
	end();
}

/* A foreign executor arms in somebody's wheel. */
static void arms_from_outside(void *unused)
{
	(void)unused;
	be_another();
	arm(0, NOW);
}

static void arms_and_disarms_from_outside(void *unused)
{
	arms_from_outside(unused);
	disarm_and_free(0);
}

MC_SCENARIO(timer, arm_from_outside_against_fire)
{
	begin();
	mc_start(arms_from_outside, 0);
	sk_timers_fire(&shards[0], NOW);
	mc_join_all();
	sk_timers_fire(&shards[0], NOW);
	mc_assert(wakes_so_far() == 1 && has_fired(0));
	end();
}

MC_SCENARIO(timer, arm_and_disarm_from_outside_against_fire)
{
	begin();
	mc_start(arms_and_disarms_from_outside, 0);
	sk_timers_fire(&shards[0], NOW);
	mc_join_all();
	mc_assert(wakes_so_far() <= 1);
	end();
}

MC_SCENARIO(timer, arm_and_disarm_from_outside_against_two_who_fire)
{
	begin();
	mc_start(arms_and_disarms_from_outside, 0);
	mc_start(fires, 0);
	sk_timers_fire(&shards[0], NOW);
	mc_join_all();
	mc_assert(wakes_so_far() <= 1);
	end();
}

/* Armed in a wheel whose owner never comes: nothing is left of it. */
MC_SCENARIO(timer, arm_and_disarm_from_outside_without_an_owner)
{
	begin();
	arm_in(&shards[1], 0, NOW);
	arm_in(&shards[1], 1, NOW);
	sk_timer_disarm(timers[0]);
	end();
}

/* ---- Waking, and memory ---- */

/* A wake may do anything, such as disarming another timer of the wheel, or arming one. */
static void disarms_the_other(void)
{
	sk_timer_disarm(timers[1]);
}

MC_SCENARIO(timer, wake_that_disarms)
{
	begin();
	arm(0, NOW);
	arm(1, LATER);
	on_wake = disarms_the_other;
	mc_start(fires, 0);
	mc_join_all();
	mc_assert(wakes_so_far() == 1);
	end();
}

static void arms_another(void)
{
	on_wake = NULL;
	arm(1, LATER);
}

MC_SCENARIO(timer, wake_that_arms)
{
	begin();
	arm(0, NOW);
	on_wake = arms_another;
	mc_assert(sk_timers_fire(&shards[0], NOW) == 1);
	sk_timers_refresh(&shards[0]);
	mc_assert(sk_timers_next(&shards[0]) == LATER);
	end();
}

/* Without memory nothing is armed, and nothing is left behind. */
static int arm_without_memory(bool outside)
{
	skua_waker waker = {&count_ops, NULL};
	skua_cx cx;
	int rc;

	skua_cx_init(&cx, NULL, &waker);
	mc_allow_failures(1);
	if (outside)
		rc = sk_timer_arm_from_outside(&shards[0], timers[0], NOW, &cx);
	else
		rc = sk_timer_arm(&shards[0], timers[0], NOW, 1, &cx);
	mc_assert(rc == (mc_failures() > 0 ? -ENOMEM : 0));
	mc_assert(sk_timer_is_armed(timers[0]) == (rc == 0));
	if (rc < 0)
		mc_assert(sk_load(&references, SK_RELAXED) == 0);
	return rc;
}

MC_SCENARIO(timer, arm_without_memory)
{
	begin();
	mc_start(fires, 0);
	if (arm_without_memory(false) < 0)
		mc_assert(is_empty(&shards[0]));
	mc_join_all();
	end();
}

MC_SCENARIO(timer, arm_from_outside_without_memory)
{
	begin();
	mc_start(fires, 0);
	if (arm_without_memory(true) < 0)
		mc_assert(!sk_timers_have_mail(&shards[0]));
	mc_join_all();
	end();
}

/* ---- Tasks ---- */

static struct sk_sched *sched; /* does not run: what is woken stays in its inbox */
static skua_task *task;
static struct sk_timers *shard; /* of its only worker */

/* A task in the middle of its first poll, with a timer in its own memory. */
static void begin_task(skua_cx *cx)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	shard = &sched->workers[0]->timers;
	/* This thread plays the worker, up to its thread-local pointer: what it wakes goes to the inbox. */
	shard->owner = sk_thread_local();
	task = sk_task_new(sched, NULL, sizeof(struct sk_timer), false);
	timers[0] = sk_task_payload(task);
	*timers[0] = (struct sk_timer){0};
	sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	*cx = (skua_cx){.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};
}

static void fires_for_the_worker(void *unused)
{
	(void)unused;
	sk_timers_fire_for_owner(shard, NOW);
}

/* The task ends with its timer armed: the timer is taken back before its memory goes. */
MC_SCENARIO(timer, task_ends_against_fire)
{
	skua_cx cx;

	begin_task(&cx);
	mc_assert(sk_timer_arm(shard, timers[0], NOW, 1, &cx) == 0);
	mc_start(fires_for_the_worker, 0);
	sk_task_complete(task, 7, 0);
	sk_task_release(task);
	mc_join_all();
	mc_assert(is_empty(shard));
	mc_assert(sk_inbox_empty(&sched->workers[0]->inbox));
	mc_assert(sk_sched_free(sched) == 0);
}

/* What was disarmed in time is the task's no more. */
MC_SCENARIO(timer, task_ends_after_a_disarm)
{
	skua_cx cx;

	begin_task(&cx);
	timers[1] = sk_calloc(1, sizeof *timers[1]);
	mc_assert(sk_timer_arm(shard, timers[0], NOW, 1, &cx) == 0);
	mc_assert(sk_timer_arm(shard, timers[1], NOW, 1, &cx) == 0);
	mc_start(fires_for_the_worker, 0);
	disarm_and_free(1);
	sk_task_complete(task, 7, 0);
	sk_task_release(task);
	mc_join_all();
	mc_assert(sk_sched_free(sched) == 0);
}

/* The poll ends with PENDING while the timer fires: the task is queued, once. */
MC_SCENARIO(timer, end_of_a_poll_against_fire)
{
	uint64_t old;
	skua_cx cx;

	begin_task(&cx);
	mc_start(fires_for_the_worker, 0);
	mc_assert(sk_timer_arm(shard, timers[0], NOW, 1, &cx) == 0);
	old = sk_fetch_xor(&task->state, SK_TASK_RUNNING, SK_ACQ_REL);
	mc_join_all();
	fires_for_the_worker(NULL);
	mc_assert((sk_load(&task->state, SK_RELAXED) & SK_TASK_SCHEDULED) != 0);
	mc_assert(((old & SK_TASK_SCHEDULED) != 0) == sk_inbox_empty(&sched->workers[0]->inbox));
	sk_inbox_take(&sched->workers[0]->inbox);
	sk_timer_disarm(timers[0]);
	sk_task_release(task);
	mc_assert(sk_sched_free(sched) == 0);
}

/* ---- A worker that sleeps until the earliest ---- */

/* A foreign executor arms a timer in the shard of a worker that is about to sleep for ever: it wakes
 * up in time, or reads the deadline before it sleeps. */
MC_SCENARIO_WITH(timer, arm_from_outside_against_a_parking_worker, .stale = 1, .spurious = -1,
		 .allow_timeouts = true)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};
	struct sk_thread_waker *own;
	skua_cx cx;

	mc_assert(sk_sched_new(&options, &sched) == 0);
	mc_assert(sk_sched_start(sched) == 0);
	timers[0] = sk_calloc(1, sizeof *timers[0]);
	own = sk_thread_waker_new();
	sk_thread_waker_cx(own, &cx);
	/* As arm in runtime/time.c. */
	mc_assert(sk_timer_arm_from_outside(&sched->workers[0]->timers, timers[0], sk_now() + NOW,
					    &cx) == 0);
	sk_sched_timer_changed(sched, 0);
	while (!sk_timer_has_fired(timers[0]))
		sk_thread_waker_park(own);
	sk_timer_disarm(timers[0]);
	sk_free(timers[0]);
	sk_thread_waker_free(own);
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

/* The clock is paused, by another thread than the one that waits, while the last worker goes to sleep:
 * somebody has to see that it may jump. */
MC_SCENARIO_WITH(timer, pausing_against_a_parking_worker, .stale = -1, .spurious = -1,
		 .allow_timeouts = true)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};
	struct sk_thread_waker *own;
	skua_cx cx;

	mc_assert(sk_sched_new(&options, &sched) == 0);
	timers[0] = sk_calloc(1, sizeof *timers[0]);
	own = sk_thread_waker_new();
	sk_thread_waker_cx(own, &cx);
	sk_clock_begin_wait();
	mc_assert(sk_timer_arm_from_outside(&sched->workers[0]->timers, timers[0],
					    sk_now() + 1000000000, &cx) == 0);
	mc_assert(sk_sched_start(sched) == 0);
	/* As skua_clock_pause. */
	mc_assert(sk_clock_pause(&sched->clock));
	sk_sched_clock_changed(sched);
	while (!sk_timer_has_fired(timers[0]))
		sk_thread_waker_park(own);
	sk_clock_end_wait();
	sk_timer_disarm(timers[0]);
	sk_free(timers[0]);
	sk_thread_waker_free(own);
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

/* Two workers go to sleep under a paused clock; one of them has just armed the earlier timer. */
static uint64_t paused_at;

static void arms_and_sleeps(void *unused)
{
	struct sk_worker *worker = sched->workers[0];
	skua_waker waker = {&count_ops, NULL};
	uint64_t now;
	skua_cx cx;

	(void)unused;
	sk_thread_local_set(worker);
	skua_cx_init(&cx, NULL, &waker);
	/* As skua_sleep, then sleep_or_not. */
	now = sk_clock_now(&sched->clock);
	mc_assert(sk_timer_arm(&worker->timers, timers[0], now + 100, 1, &cx) == 0);
	sk_timers_refresh(&worker->timers);
	sk_clock_publish(&sched->clock);
	sk_idle_sleep(&sched->idle, 0, false);
	(void)sk_sched_jump(sched, worker);
}

MC_SCENARIO(timer, jump_against_a_worker_that_arms_and_sleeps)
{
	struct sk_sched_options options = {.workers = 2, .budget = 128};
	skua_waker waker = {&count_ops, NULL};
	skua_cx cx;

	mc_assert(sk_sched_new(&options, &sched) == 0);
	for (int i = 0; i < 2; i++)
		timers[i] = sk_calloc(1, sizeof *timers[i]);
	skua_cx_init(&cx, NULL, &waker);
	sk_clock_begin_wait();
	mc_assert(sk_clock_pause(&sched->clock));
	paused_at = sk_clock_now(&sched->clock);
	sk_thread_local_set(sched->workers[1]);
	mc_assert(sk_timer_arm(&sched->workers[1]->timers, timers[1], paused_at + 1000, 1, &cx) ==
		  0);
	sk_timers_refresh(&sched->workers[1]->timers);
	mc_start(arms_and_sleeps, 0);
	sk_clock_publish(&sched->clock);
	sk_idle_sleep(&sched->idle, 1, false);
	(void)sk_sched_jump(sched, sched->workers[1]);
	mc_join_all();
	mc_assert(sk_clock_now(&sched->clock) <= paused_at + 100);
	sk_clock_end_wait();
	sk_thread_local_set(NULL);
	for (int i = 0; i < 2; i++) {
		sk_timer_disarm(timers[i]);
		sk_free(timers[i]);
	}
	mc_assert(sk_sched_free(sched) == 0);
}
