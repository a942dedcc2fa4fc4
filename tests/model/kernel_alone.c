/*
 * kernel_alone.c - a runner that is alone with its task writes the state word without a
 * read-modify-write (task.h): against those who are about to let go of the task, or who have just
 * done so, and against the owner of the list that it is in.
 *
 * As in kernel_steal.c, a worker runs on the thread of the scenario, and the tasks start the other
 * threads and stop the scheduler. A wake that is lost leaves that worker asleep for ever.
 */
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/stop_sched.h"

#define LESS .stale = 1, .spurious = -1

static struct sk_sched *sched;
static skua_task *shared; /* its first poll has a reference for each of the other threads */
static SK_ATOMIC(uint32_t) events;
static uint32_t wanted;

/* A future with room for what another thread writes. */
struct future {
	skua_future future;
	int written; /* plain: before the reference was given up */
};

static void watch(void *driver)
{
	(void)driver;
}

/* Spawns a task without a handle, and runs worker 0 until it is stopped. There is a driver, because
 * a worker without one has a fence more. */
static void run(uint32_t workers, const skua_future_ops *ops)
{
	static const struct sk_driver_ops driver_ops = {.watch = watch};
	struct sk_sched_options options = {
		.workers = workers,
		.budget = 128,
		.driver_ops = &driver_ops,
	};
	struct future future = {.future = {ops, 0, 0}};
	struct sk_chain chain = {0};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	sk_chain_add(&chain, sk_task_new(sched, &future, sizeof future, false));
	sk_inbox_push(&sched->workers[0]->inbox, &chain);
	sk_worker_main(sched->workers[0]);
	mc_join_all();
	mc_assert(sk_sched_free(sched) == 0);
}

static skua_poll stop(void)
{
	stop_sched(sched);
	return 7;
}

/* In the first poll: starts so many threads, each of which has a reference. */
static bool begins(skua_cx *cx, skua_future *self, void (*thread)(void *), unsigned count)
{
	if (self->line++ > 0)
		return false;
	shared = cx->task;
	for (unsigned i = 0; i < count; i++) {
		sk_task_hold(shared);
		mc_start(thread, i);
	}
	return true;
}

static skua_poll ready_when_seen(void)
{
	return sk_load(&events, SK_RELAXED) == wanted ? stop() : SKUA_PENDING;
}

static void wakes(void *unused)
{
	(void)unused;
	sk_fetch_add(&events, 1, SK_RELAXED);
	sk_task_wake_and_release(shared);
}

/* ---- Wakes by those who let go of the task with it ---- */

static skua_poll two_wake_poll(skua_cx *cx, skua_future *self)
{
	begins(cx, self, wakes, 2);
	return ready_when_seen();
}

static const skua_future_ops two_wake_ops = {two_wake_poll, NULL, sizeof(struct future), "two wake",
					     NULL};

MC_SCENARIO_WITH(worker, alone_after_two_wakes, LESS)
{
	wanted = 2;
	run(1, &two_wake_ops);
}

/* Another wakes it while it gives way. */
static skua_poll yields_poll(skua_cx *cx, skua_future *self)
{
	if (begins(cx, self, wakes, 1)) {
		sk_task_poll_again(cx->task);
		return SKUA_PENDING;
	}
	return ready_when_seen();
}

static const skua_future_ops yields_ops = {yields_poll, NULL, sizeof(struct future), "yields",
					   NULL};

MC_SCENARIO_WITH(worker, alone_when_it_gives_way, LESS)
{
	wanted = 1;
	run(1, &yields_ops);
}

/* ---- A waker that is lent ---- */

/* While the poll waits for it, which is all that is asked of a thread that uses a waker without
 * having one of its own. */
static void uses_the_lent_waker(void *argument)
{
	const skua_waker *lent = argument;
	skua_waker own;

	mc_assert(skua_waker_clone(lent, &own) == 0);
	sk_fetch_add(&events, 1, SK_RELAXED);
	skua_waker_wake_by_ref(lent);
	skua_waker_drop(&own);
}

static skua_poll lends_poll(skua_cx *cx, skua_future *self)
{
	int thread;

	if (self->line++ > 0)
		return ready_when_seen();
	thread = mc_thread(uses_the_lent_waker, (void *)(uintptr_t)skua_cx_waker(cx));
	sk_task_poll_again(cx->task);
	mc_join(thread);
	return SKUA_PENDING;
}

static const skua_future_ops lends_ops = {lends_poll, NULL, sizeof(struct future), "lends", NULL};

MC_SCENARIO_WITH(worker, alone_but_for_a_lent_waker, LESS)
{
	wanted = 1;
	run(1, &lends_ops);
}

/* ---- The last reference ---- */

static void writes_and_lets_go(void *unused)
{
	struct future *future = sk_task_payload(shared);

	(void)unused;
	future->written = 1;
	sk_task_release(shared);
}

/* The cell must not be freed under who has written into it. */
static skua_poll ends_poll(skua_cx *cx, skua_future *self)
{
	begins(cx, self, writes_and_lets_go, 1);
	return stop();
}

static const skua_future_ops ends_ops = {ends_poll, NULL, sizeof(struct future), "ends", NULL};

MC_SCENARIO_WITH(worker, alone_at_the_end, LESS)
{
	run(1, &ends_ops);
}

/* ---- The owner of the list ---- */

static void runs_worker_1(void *unused)
{
	(void)unused;
	sk_worker_main(sched->workers[1]);
}

static void closes(void *unused)
{
	(void)unused;
	sk_sched_close(sched);
}

/* Worker 0 owns it, worker 1 may have stolen it when the runtime is closed: it must be told. */
static skua_poll moves_poll(skua_cx *cx, skua_future *self)
{
	if (self->line++ == 0) {
		mc_start(runs_worker_1, 0);
		mc_start(closes, 0);
		sk_task_poll_again(cx->task);
		return SKUA_PENDING;
	}
	return skua_cx_interrupt(cx) != 0 ? stop() : SKUA_PENDING;
}

static const skua_future_ops moves_ops = {moves_poll, NULL, sizeof(struct future), "moves", NULL};

MC_SCENARIO_WITH(worker, not_alone_with_the_task_of_another, .preemptions = 1, LESS)
{
	run(2, &moves_ops);
}
