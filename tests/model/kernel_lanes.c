/*
 * kernel_lanes.c - lanes: they are made while thieves look for them, and a task that is only in a lane
 * is found like one in a queue: by thieves, by those who are about to sleep, and by the driver's look at
 * a stuck worker.
 *
 * In the scenarios with workers, worker 0 is this thread, in the middle of a poll, and worker 1 is real.
 * A task that nobody comes to is a deadlock.
 */
#include "sched/lanes.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/stop_sched.h"
#include "tests/model/sync_model.h"

#define LESS .stale = 1, .spurious = -1
#define NO_STALE .stale = -1, .spurious = -1

/* ---- Lanes alone ---- */

enum { ITEMS = 3, THIEVES = 2 };

static struct sk_lanes lanes, thief_lanes[THIEVES];
static struct sk_deque others[THIEVES];
static skua_task items[ITEMS];
static int taken[THIEVES + 1][ITEMS]; /* the last row is the owner's */

static void take(int who, skua_task *task)
{
	if (task == NULL)
		return;
	/* Plain: what was written before the push is seen. */
	mc_assert(task->result == 7);
	taken[who][task - items]++;
}

static bool put(unsigned i, uint8_t priority)
{
	items[i].priority = priority;
	items[i].result = 7;
	return sk_lanes_push(&lanes, &items[i]);
}

static void thief(void *argument)
{
	uintptr_t self = (uintptr_t)argument;
	unsigned count, length;
	skua_task *task = sk_lanes_steal(&lanes, SKUA_PRIORITY_BACKGROUND, &thief_lanes[self],
					 &others[self], &count);

	mc_assert((task != NULL) == (count > 0));
	take((int)self, task);
	length = (unsigned)sk_lane_length(&thief_lanes[self], SKUA_PRIORITY_BACKGROUND) +
		 (unsigned)sk_deque_length(&others[self]);
	mc_assert(length == (count > 0 ? count - 1 : 0));
}

static void empty(int who, struct sk_lanes *from)
{
	skua_task *task;

	while ((task = sk_lanes_take_after(from)) != NULL)
		take(who, task);
	sk_lanes_destroy(from);
}

/* Every task that was put was taken once, by somebody. */
static void finish(void)
{
	skua_task *task;

	empty(THIEVES, &lanes);
	for (int i = 0; i < THIEVES; i++) {
		empty(i, &thief_lanes[i]);
		while ((task = sk_deque_pop(&others[i])) != NULL)
			take(i, task);
		sk_deque_destroy(&others[i]);
	}
	for (int i = 0; i < ITEMS; i++)
		mc_assert(taken[0][i] + taken[1][i] + taken[2][i] == (items[i].result == 7));
}

static void owner_against(int thieves)
{
	for (int i = 0; i < THIEVES; i++)
		mc_assert(sk_deque_init(&others[i], 2) == 0);
	for (int i = 0; i < thieves; i++)
		mc_start(thief, (uintptr_t)i);
	mc_assert(put(0, SKUA_PRIORITY_BACKGROUND));
	mc_assert(put(1, SKUA_PRIORITY_INTERACTIVE));
	mc_assert(put(2, SKUA_PRIORITY_BACKGROUND));
	take(THIEVES, sk_lanes_take_before(&lanes));
	take(THIEVES, sk_lanes_take_after(&lanes));
	mc_join_all();
	finish();
}

MC_SCENARIO(lanes, made_against_a_thief)
{
	owner_against(1);
}

MC_SCENARIO_WITH(lanes, made_against_two_thieves, LESS)
{
	owner_against(2);
}

/* Whichever allocation fails, the task is refused and nothing is left; or a thief puts what it got where
 * it can. */
MC_SCENARIO_WITH(lanes, made_without_memory, LESS)
{
	for (int i = 0; i < THIEVES; i++)
		mc_assert(sk_deque_init(&others[i], 2) == 0);
	mc_allow_failures(1);
	for (unsigned i = 0; i < ITEMS; i++)
		if (!put(i, SKUA_PRIORITY_BACKGROUND))
			items[i].result = 0;
	mc_start(thief, 0);
	mc_join_all();
	finish();
}

/* ---- Workers ---- */

static struct sk_sched *sched;
static sk_parker blocker;
static int worker_1;
static int polled;

static void watch(void *driver)
{
	(void)driver;
}

static const struct sk_driver_ops driver_ops = {.watch = watch};

static void runs_worker_1(void *unused)
{
	(void)unused;
	sk_worker_main(sched->workers[1]);
}

/* With a driver no poll seems to be worth a wake. */
static void begin(const struct sk_driver_ops *ops)
{
	struct sk_sched_options options = {.workers = 2, .budget = 128, .driver_ops = ops};
	static skua_task running;

	mc_assert(sk_sched_new(&options, &sched) == 0);
	for (unsigned i = 0; i < 2 && ops != NULL; i++)
		sk_init(&sched->workers[i]->mean_poll_ns, 1);
	sk_parker_init(&blocker);
	sk_init(&sched->workers[0]->tick, 1);
	sched->workers[0]->monitor_tick = 1;
	sched->workers[0]->running = &running;
	sk_thread_local_set(sched->workers[0]);
}

static void start_worker_1(void)
{
	worker_1 = mc_thread(runs_worker_1, NULL);
}

/* Ends what worker 0 waits for in its poll. */
static skua_poll needed_poll(skua_cx *cx, skua_future *self)
{
	(void)self;
	mc_assert(cx->worker == sched->workers[1]);
	polled++;
	sk_unpark(&blocker);
	return 7;
}

static const skua_future_ops needed_ops = {needed_poll, NULL, sizeof(skua_future), "needed", NULL};

static void spawn(const skua_future_ops *ops, unsigned priority)
{
	skua_spawn_options options = {.struct_size = sizeof options, .priority = priority};
	skua_future future = {ops, 0, 0};

	mc_assert(sk_sched_spawn_with(sched, &future, &options, NULL) == 0);
}

/* Up to `left` tasks may not have ended. */
static void end(unsigned left)
{
	sk_park(&blocker, SK_FOREVER);
	mc_assert(polled == 1);
	stop_sched(sched);
	mc_join(worker_1);
	mc_assert(sk_sched_free(sched) <= left);
}

/* Without a driver a task is offered when it is queued, and worker 0 does not come to it: so worker 1
 * has to, whether it looks for work just then, is about to sleep, or sleeps. */
static void task_in_a_lane_is_offered(unsigned priority)
{
	begin(NULL);
	start_worker_1();
	spawn(&needed_ops, priority);
	end(0);
}

MC_SCENARIO_WITH(lanes, interactive_task_is_offered, LESS)
{
	task_in_a_lane_is_offered(SKUA_PRIORITY_INTERACTIVE);
}

MC_SCENARIO_WITH(lanes, background_task_is_offered, LESS)
{
	task_in_a_lane_is_offered(SKUA_PRIORITY_BACKGROUND);
}

/* With a driver nobody is woken for it, but one look at the stuck worker finds it. */
static void lane_of_a_stuck_worker(unsigned priority)
{
	begin(&driver_ops);
	start_worker_1();
	spawn(&needed_ops, priority);
	mc_advance_clock(SK_MONITOR_MS * 1000000);
	mc_assert(sk_sched_monitor(sched));
	end(0);
}

MC_SCENARIO_WITH(lanes, interactive_lane_of_a_stuck_worker, LESS)
{
	lane_of_a_stuck_worker(SKUA_PRIORITY_INTERACTIVE);
}

MC_SCENARIO_WITH(lanes, background_lane_of_a_stuck_worker, LESS)
{
	lane_of_a_stuck_worker(SKUA_PRIORITY_BACKGROUND);
}

/* Nobody sleeps who could be woken. Worker 1 yields until the task in the lane has run: it must look at the
 * stuck worker in between. */
static skua_poll busy_poll(skua_cx *cx, skua_future *self)
{
	(void)self;
	if (polled > 0)
		return 7;
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

static const skua_future_ops busy_ops = {busy_poll, NULL, sizeof(skua_future), "busy", NULL};

MC_SCENARIO_WITH(lanes, stranded_lane_is_rescued, .preemptions = 1, NO_STALE)
{
	skua_future future = {&busy_ops, 0, 0};
	struct sk_chain chain = {0};

	begin(&driver_ops);
	spawn(&needed_ops, SKUA_PRIORITY_BACKGROUND);
	sk_chain_add(&chain, sk_task_new(sched, &future, sizeof future, false));
	sk_inbox_push(&sched->workers[1]->inbox, &chain);
	mc_advance_clock(SK_MONITOR_MS * 1000000);
	mc_assert(sk_sched_monitor(sched));
	mc_assert(sk_load(&sched->stranded, SK_RELAXED) == 1);
	start_worker_1();
	end(1);
}

/* What is left in lanes goes with the scheduler. */
MC_SCENARIO_WITH(lanes, freed_with_tasks, NO_STALE)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};
	static skua_task running;

	mc_assert(sk_sched_new(&options, &sched) == 0);
	sched->workers[0]->running = &running;
	sk_thread_local_set(sched->workers[0]);
	spawn(&needed_ops, SKUA_PRIORITY_BACKGROUND);
	spawn(&needed_ops, SKUA_PRIORITY_INTERACTIVE);
	sk_thread_local_set(NULL);
	mc_assert(sk_sched_free(sched) == 2);
}
