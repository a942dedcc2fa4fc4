/*
 * kernel_timer.c - timers: arming and disarming against one or two threads that fire, as the worker and
 * the driver do. A timer that fires fires once; one that is disarmed may be freed at once.
 */
#include <errno.h>

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

static void begin(void)
{
	for (int i = 0; i < 2; i++)
		sk_timers_init(&shards[i]);
	for (int i = 0; i < 3; i++) {
		timers[i] = sk_calloc(1, sizeof *timers[i]);
		mc_assert(timers[i] != NULL);
	}
}

static void arm(struct sk_timers *shard, unsigned i, uint64_t deadline)
{
	skua_waker waker = {&count_ops, NULL};
	bool earliest;
	skua_cx cx;

	skua_cx_init(&cx, NULL, &waker);
	mc_assert(sk_timer_arm(shard, timers[i], deadline, &cx, &earliest) == 0);
}

/* The owner's memory from then on. */
static void disarm_and_free(unsigned i)
{
	if (timers[i] == NULL)
		return;
	sk_timer_disarm(timers[i]);
	mc_assert(!sk_timer_is_armed(timers[i]) && timers[i]->position == 0);
	sk_free(timers[i]);
	timers[i] = NULL;
}

static void end(void)
{
	for (unsigned i = 0; i < 3; i++)
		disarm_and_free(i);
	for (int i = 0; i < 2; i++) {
		mc_assert(shards[i].count == 0);
		sk_timers_destroy(&shards[i]);
	}
	mc_assert(sk_load(&references, SK_RELAXED) == 0);
}

static void fires(void *unused)
{
	(void)unused;
	sk_timers_fire(&shards[0], NOW);
}

/* ---- Scenarios of the shard alone ---- */

MC_SCENARIO(timer, disarm_against_fire)
{
	begin();
	arm(&shards[0], 0, NOW);
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
	arm(&shards[0], 0, NOW);
	mc_start(fires, 0);
	if (sk_slot_is_ready(&timers[0]->slot))
		disarm_and_free(0);
	mc_join_all();
	mc_assert(wakes_so_far() == 1);
	mc_assert(timers[0] == NULL || sk_slot_is_ready(&timers[0]->slot));
	end();
}

/* Armed while somebody fires what is due: that one takes it, or the next. */
MC_SCENARIO(timer, arm_against_fire)
{
	begin();
	arm(&shards[0], 1, NOW);
	mc_start(fires, 0);
	arm(&shards[0], 0, NOW);
	mc_join_all();
	fires(NULL);
	mc_assert(wakes_so_far() == 2);
	end();
}

/* Two who fire do not fire one timer twice. */
MC_SCENARIO(timer, two_threads_fire_two_timers)
{
	begin();
	arm(&shards[0], 0, NOW);
	arm(&shards[0], 1, NOW);
	mc_start(fires, 0);
	mc_start(fires, 0);
	disarm_and_free(1);
	mc_join_all();
	mc_assert(wakes_so_far() == 1 || wakes_so_far() == 2);
	mc_assert(sk_slot_is_ready(&timers[0]->slot));
	end();
}

/* Disarmed and armed again with a later deadline: a firing of the first time does not count. */
MC_SCENARIO(timer, rearm_against_fire)
{
	uint32_t before;

	begin();
	arm(&shards[0], 0, NOW);
	mc_start(fires, 0);
	sk_timer_disarm(timers[0]);
	arm(&shards[0], 0, LATER);
	mc_join_all();
	mc_assert(!sk_slot_is_ready(&timers[0]->slot));
	mc_assert(sk_timers_next(&shards[0]) == LATER);
	before = wakes_so_far();
	mc_assert(sk_timers_fire(&shards[0], LATER) == 1);
	mc_assert(wakes_so_far() == before + 1);
	end();
}

/* The same with the same deadline, at once due again: it fires once more at most. */
MC_SCENARIO(timer, rearm_of_a_due_timer_against_two_fires)
{
	begin();
	arm(&shards[0], 0, NOW);
	mc_start(fires, 0);
	mc_start(fires, 0);
	sk_timer_disarm(timers[0]);
	arm(&shards[0], 0, NOW);
	mc_join_all();
	mc_assert(wakes_so_far() <= 2);
	mc_assert(sk_slot_is_ready(&timers[0]->slot) == (shards[0].count == 0));
	end();
}

/* The one who waits has moved to another worker: it disarms there, and arms in that one's shard. */
static void moves(void *unused)
{
	(void)unused;
	sk_timer_disarm(timers[0]);
	arm(&shards[1], 0, LATER);
}

MC_SCENARIO(timer, rearm_in_another_shard_against_fire)
{
	begin();
	arm(&shards[0], 0, NOW);
	arm(&shards[0], 1, LATER);
	mc_start(fires, 0);
	mc_start(moves, 0);
	disarm_and_free(1);
	mc_join_all();
	mc_assert(!sk_slot_is_ready(&timers[0]->slot));
	mc_assert(shards[0].count == 0 && shards[1].count == 1);
	mc_assert(sk_timers_next(&shards[0]) == SK_FOREVER);
	mc_assert(sk_timers_fire(&shards[1], LATER) == 1);
	end();
}

/* One is taken out of the middle of the heap; the others come in their order. */
MC_SCENARIO(timer, disarm_in_the_middle_against_fire)
{
	begin();
	arm(&shards[0], 0, LATER);
	arm(&shards[0], 1, NOW);
	arm(&shards[0], 2, NOW + 1);
	mc_start(fires, 0);
	disarm_and_free(2);
	mc_join_all();
	mc_assert(wakes_so_far() == 1 && sk_slot_is_ready(&timers[1]->slot));
	mc_assert(sk_timers_next(&shards[0]) == LATER);
	end();
}

/* A wake may do anything, such as disarming another timer of the shard. */
static void disarms_the_other(void)
{
	sk_timer_disarm(timers[1]);
}

MC_SCENARIO(timer, wake_that_disarms)
{
	begin();
	arm(&shards[0], 0, NOW);
	arm(&shards[0], 1, LATER);
	on_wake = disarms_the_other;
	mc_start(fires, 0);
	mc_join_all();
	mc_assert(wakes_so_far() == 1 && shards[0].count == 0);
	end();
}

/* Without memory nothing is armed, and nothing is left behind. */
MC_SCENARIO(timer, arm_without_memory)
{
	skua_waker waker = {&count_ops, NULL};
	bool earliest;
	skua_cx cx;
	int rc;

	begin();
	skua_cx_init(&cx, NULL, &waker);
	mc_start(fires, 0);
	mc_allow_failures(1);
	rc = sk_timer_arm(&shards[0], timers[0], NOW, &cx, &earliest);
	mc_assert(rc == (mc_failures() > 0 ? -ENOMEM : 0));
	mc_assert(sk_timer_is_armed(timers[0]) == (rc == 0));
	if (rc < 0)
		mc_assert(shards[0].count == 0 && sk_load(&references, SK_RELAXED) == 0);
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
	task = sk_task_new(sched, NULL, sizeof(struct sk_timer), false);
	timers[0] = sk_task_payload(task);
	*timers[0] = (struct sk_timer){0};
	sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	*cx = (skua_cx){.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};
}

static void fires_for_the_worker(void *unused)
{
	(void)unused;
	sk_timers_fire(shard, NOW);
}

/* The task ends with its timer armed: the timer is taken back before its memory goes. */
MC_SCENARIO(timer, task_ends_against_fire)
{
	bool earliest;
	skua_cx cx;

	begin_task(&cx);
	mc_assert(sk_timer_arm(shard, timers[0], NOW, &cx, &earliest) == 0 && earliest);
	mc_start(fires_for_the_worker, 0);
	sk_task_complete(task, 7);
	sk_task_release(task);
	mc_join_all();
	mc_assert(shard->count == 0);
	mc_assert(sk_inbox_empty(&sched->workers[0]->inbox));
	mc_assert(sk_sched_free(sched) == 0);
}

/* What was disarmed in time is the task's no more. */
MC_SCENARIO(timer, task_ends_after_a_disarm)
{
	bool earliest;
	skua_cx cx;

	begin_task(&cx);
	timers[1] = sk_calloc(1, sizeof *timers[1]);
	mc_assert(sk_timer_arm(shard, timers[0], NOW, &cx, &earliest) == 0);
	mc_assert(sk_timer_arm(shard, timers[1], NOW, &cx, &earliest) == 0);
	mc_start(fires_for_the_worker, 0);
	disarm_and_free(1);
	sk_task_complete(task, 7);
	sk_task_release(task);
	mc_join_all();
	mc_assert(sk_sched_free(sched) == 0);
}

/* The poll ends with PENDING while the timer fires: the task is queued, once. */
MC_SCENARIO(timer, end_of_a_poll_against_fire)
{
	uint64_t old;
	bool earliest;
	skua_cx cx;

	begin_task(&cx);
	mc_start(fires_for_the_worker, 0);
	mc_assert(sk_timer_arm(shard, timers[0], NOW, &cx, &earliest) == 0);
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
	bool earliest;
	skua_cx cx;

	mc_assert(sk_sched_new(&options, &sched) == 0);
	mc_assert(sk_sched_start(sched) == 0);
	timers[0] = sk_calloc(1, sizeof *timers[0]);
	own = sk_thread_waker_new();
	sk_thread_waker_cx(own, &cx);
	mc_assert(sk_timer_arm(&sched->workers[0]->timers, timers[0], sk_now() + NOW, &cx,
			       &earliest) == 0);
	/* As arm in runtime/time.c. */
	if (earliest)
		sk_sched_timer_changed(sched, 0);
	while (!sk_slot_is_ready(&timers[0]->slot))
		sk_thread_waker_park(own);
	sk_timer_disarm(timers[0]);
	sk_free(timers[0]);
	sk_thread_waker_free(own);
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}
