/*
 * kernel_steal.c - tasks that move: one that has been pending on one worker is woken, and polled on
 * another; and the wake that a searcher passes on.
 *
 * So that these scenarios are small, everything before the interesting moment happens in one thread,
 * a worker is kept where it must not look any more by a task that blocks in its poll, and the tasks
 * themselves stop the scheduler.
 */
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/stop_sched.h"
#include "tests/model/sync_model.h"

#define LESS .stale = 1, .spurious = -1

static struct sk_sched *sched;
static sk_slot slot;
static SK_ATOMIC(uint32_t) events;
static int written;       /* plain: what one poll has written is seen by the next */
static int threads[3];    /* started on the way */
static sk_parker blocker; /* of the task that blocks */

static void begin(uint32_t workers)
{
	struct sk_sched_options options = {.workers = workers, .budget = 128};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	sk_parker_init(&blocker);
}

static void push(unsigned worker, const skua_future_ops *ops)
{
	skua_future future = {ops, 0, 0};
	struct sk_chain chain = {0};

	sk_chain_add(&chain, sk_task_new(sched, &future, sizeof future, false));
	sk_inbox_push(&sched->workers[worker]->inbox, &chain);
}

static void runs_worker_1(void *unused)
{
	(void)unused;
	sk_worker_main(sched->workers[1]);
}

static void fires(void *unused)
{
	(void)unused;
	sk_fetch_add(&events, 1, SK_RELAXED);
	sk_waiter_wake(sk_slot_fire(&slot));
}

/* The task holds a second reference for this one, which wakes it without a slot. */
static skua_task *moving;

static void wakes(void *unused)
{
	(void)unused;
	sk_fetch_add(&events, 1, SK_RELAXED);
	sk_task_wake_and_release(moving);
}

/* ---- Tasks ---- */

/* Blocks its worker until the other task has ended. */
static skua_poll block_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_park(&blocker, SK_FOREVER);
	return 7;
}

static const skua_future_ops block_ops = {block_poll, NULL, sizeof(skua_future), "block", NULL};

/* That other task. */
static skua_poll needed_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_unpark(&blocker);
	return 7;
}

static const skua_future_ops needed_ops = {needed_poll, NULL, sizeof(skua_future), "needed", NULL};

/* Ends the whole scenario when it ends. */
static skua_poll move_on(void)
{
	sk_unpark(&blocker);
	stop_sched(sched);
	return 7;
}

/* In its first poll it starts worker 1 and one who fires. */
static skua_poll move_poll(skua_cx *cx, skua_future *self)
{
	skua_poll waits;

	if (self->line++ == 0) {
		threads[0] = mc_thread(runs_worker_1, NULL);
		threads[1] = mc_thread(fires, NULL);
	}
	waits = sk_slot_wait(&slot, cx);
	written++;
	return waits == 0 ? move_on() : waits;
}

static const skua_future_ops move_ops = {move_poll, NULL, sizeof(skua_future), "move", NULL};

/* The same, with two that wake it by its reference: it ends when it has seen both events. */
static skua_poll move_twice_poll(skua_cx *cx, skua_future *self)
{
	written++;
	if (self->line++ == 0) {
		moving = cx->task;
		sk_task_hold(moving);
		sk_task_hold(moving);
		threads[0] = mc_thread(runs_worker_1, NULL);
		threads[1] = mc_thread(wakes, NULL);
		threads[2] = mc_thread(wakes, NULL);
	}
	return sk_load(&events, SK_RELAXED) == 2 ? move_on() : SKUA_PENDING;
}

static const skua_future_ops move_twice_ops = {move_twice_poll, NULL, sizeof(skua_future),
					       "move twice", NULL};

/* Worker 0 is this thread: it polls the task, and then the one that blocks, unless that is stolen. */
static void run(const skua_future_ops *ops, int count)
{
	begin(2);
	push(0, ops);
	push(0, &block_ops);
	sk_worker_main(sched->workers[0]);
	for (int i = 0; i < count; i++)
		mc_join(threads[i]);
	/* Whoever was stopped before it took the task that blocks has left that one. */
	mc_assert(sk_sched_free(sched) <= 1);
}

MC_SCENARIO_WITH(worker, a_pending_task_moves, LESS)
{
	run(&move_ops, 2);
	mc_assert(written >= 1);
}

MC_SCENARIO_WITH(worker, a_pending_task_that_two_wake_moves, .preemptions = 1, LESS)
{
	run(&move_twice_ops, 3);
	mc_assert(written >= 1);
}

/* ---- A worker that comes back from a long poll ---- */

/* Worker 0 is this thread, in the middle of a poll; worker 1 runs. */
static void begin_in_a_poll(void)
{
	static skua_task polled;

	begin(2);
	sk_init(&sched->workers[0]->tick, 1);
	sched->workers[0]->running = &polled;
	sk_thread_local_set(sched->workers[0]);
	threads[0] = mc_thread(runs_worker_1, NULL);
}

static void spawn(const skua_future_ops *ops)
{
	skua_future future = {ops, 0, 0};

	mc_assert(sk_sched_spawn(sched, &future, NULL) == 0);
}

/* The poll is over: worker 0 goes on until the last task stops it. */
static void come_back(void)
{
	sched->workers[0]->running = NULL;
	sk_worker_main(sched->workers[0]);
	mc_join(threads[0]);
	mc_assert(sk_sched_free(sched) == 0);
}

static skua_poll last_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	written++;
	return move_on();
}

static const skua_future_ops last_ops = {last_poll, NULL, sizeof(skua_future), "last", NULL};

/* The driver has found it stuck, so the other one may take what is in its LIFO slot, also at the moment
 * when it comes back and takes that itself: the task is polled once. */
MC_SCENARIO_WITH(worker, lifo_slot_is_stolen_when_its_worker_comes_back, LESS)
{
	begin_in_a_poll();
	spawn(&last_ops);
	sk_store(&sched->workers[0]->stuck_tick, 1, SK_RELAXED);
	sk_fence();
	sk_sched_wake_one(sched, 1);
	come_back();
	mc_assert(written == 1);
}

/* Without a driver every task that is queued is offered at once: this one will be taken by the other
 * worker, even if that one is just falling asleep. */
MC_SCENARIO_WITH(worker, queued_task_is_offered, LESS)
{
	begin_in_a_poll();
	spawn(&needed_ops);
	spawn(&last_ops); /* displaces the first one from the LIFO slot */
	sk_park(&blocker, SK_FOREVER);
	come_back();
}

/* ---- A queue that cannot grow ---- */

static skua_poll one_of_four_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	if (++written == 4)
		stop_sched(sched);
	return 7;
}

static const skua_future_ops one_of_four_ops = {one_of_four_poll, NULL, sizeof(skua_future),
						"one of four", NULL};

/* There is room for two, and perhaps no memory for more: the rest waits in the inbox. */
MC_SCENARIO(worker, full_queue_without_memory)
{
	struct sk_deque *deque;

	begin(1);
	deque = &sched->workers[0]->deque;
	sk_deque_destroy(deque);
	mc_assert(sk_deque_init(deque, 2) == 0);
	for (int i = 0; i < 4; i++)
		push(0, &one_of_four_ops);
	mc_allow_failures(3);
	sk_worker_main(sched->workers[0]);
	mc_assert(written == 4);
	mc_assert(sk_sched_free(sched) == 0);
}

/* ---- Three workers: the last searcher passes the wake on ---- */

/* Sleeps already. Who claims it counts it as searching: so this search has found nothing. */
static void runs_sleeper(void *worker)
{
	sk_park(&((struct sk_worker *)worker)->parker, SK_FOREVER);
	sk_idle_end_search(&sched->idle);
	sk_worker_main(worker);
}

/* Worker 2 is stuck; worker 0 finds the task that blocks and stops searching; who publishes the other
 * one sees it search, and wakes nobody. But worker 0 will not come to it. */
MC_SCENARIO_WITH(worker, a_searcher_passes_the_wake_on, .preemptions = 1, .stale = -1,
		 .spurious = -1)
{
	skua_future future = {&needed_ops, 0, 0};

	begin(3);
	sk_idle_sleep(&sched->idle, 1, false);
	mc_assert(sk_thread_start(&sched->workers[1]->thread, "", runs_sleeper,
				  sched->workers[1]) == 0);
	push(2, &block_ops);
	mc_assert(sk_thread_start(&sched->workers[0]->thread, "", sk_worker_main,
				  sched->workers[0]) == 0);
	sched->started = 2;
	mc_assert(sk_sched_spawn(sched, &future, NULL) == 0);
	while (sk_load(&sched->workers[0]->completed, SK_RELAXED) +
		       sk_load(&sched->workers[1]->completed, SK_RELAXED) <
	       2)
		sk_thread_yield();
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}
