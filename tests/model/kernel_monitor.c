/*
 * kernel_monitor.c - the driver's look at the workers: what is behind a worker that is stuck in a poll
 * is found by another, timers fire in time, and a look that was asked for is not lost.
 *
 * In most scenarios the first thread is the driver, and worker 1 as well: that one is in the middle of
 * a poll all the time. Worker 0 is real. A task that nobody comes to is a deadlock, so each of them
 * also shows that no task is left while all workers sleep.
 */
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/thread_waker.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/join_task.h"
#include "tests/model/sync_model.h"

#define LESS .stale = 1, .spurious = -1
#define NO_STALE .stale = -1, .spurious = -1
#define TWO_WORKERS .preemptions = 1, .stale = 1, .spurious = -1

enum { LOOK = SK_MONITOR_MS * 1000000 };

static struct sk_sched *sched;
static skua_task *handles[2];
static SK_ATOMIC(uint32_t) polls, watches;

static void count_watch(void *driver)
{
	(void)driver;
	sk_fetch_add(&watches, 1, SK_RELAXED);
}

static const struct sk_driver_ops counting = {.watch = count_watch};

static void begin(uint32_t workers, const struct sk_driver_ops *ops)
{
	struct sk_sched_options options = {.workers = workers, .budget = 128, .driver_ops = ops};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	/* No poll seems to be worth a wake: only the monitor finds out. */
	for (uint32_t i = 0; i < workers; i++)
		sk_init(&sched->workers[i]->mean_poll_ns, 1);
}

static void end(void)
{
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

static bool look(void)
{
	mc_advance_clock(LOOK);
	return sk_sched_monitor(sched);
}

/* ---- Watching: workers that do not run ---- */

static void fall_asleep(unsigned worker)
{
	sk_idle_sleep(&sched->idle, worker, false);
}

/* As sleep_or_not and find_work in worker.c, once the worker is woken. */
static void wake_up(unsigned worker)
{
	if (sk_idle_wake_self(&sched->idle, worker))
		sk_sched_watch(sched);
}

static void wakes_up_0(void *unused)
{
	(void)unused;
	wake_up(0);
}

static void wakes_up_1(void *unused)
{
	(void)unused;
	wake_up(1);
}

static void naps(void *unused)
{
	(void)unused;
	fall_asleep(0);
	wake_up(0);
}

/* All sleep, and one look more makes the driver give up. */
static void begin_watched(uint32_t workers)
{
	begin(workers, &counting);
	for (uint32_t i = 0; i < workers; i++) {
		sk_sched_watch(sched);
		fall_asleep(i);
	}
	mc_assert(sk_load(&watches, SK_RELAXED) == 1);
	sk_store(&watches, 0, SK_RELAXED);
	for (int i = 0; i < 4; i++)
		mc_assert(look());
}

/* Somebody is awake, so the driver comes again: by itself or because it was told, never both. */
static void end_watched(bool comes_again)
{
	mc_assert(sk_load(&watches, SK_RELAXED) + comes_again == 1);
	mc_assert(sk_load(&sched->monitoring, SK_RELAXED) == 1);
	mc_assert(sk_sched_free(sched) == 0);
}

MC_SCENARIO(monitor, last_look)
{
	begin_watched(1);
	mc_assert(!look());
	mc_assert(sk_load(&watches, SK_RELAXED) == 0);
	wake_up(0);
	end_watched(false);
}

MC_SCENARIO(monitor, last_look_against_a_waking_worker)
{
	bool again;

	begin_watched(1);
	mc_start(wakes_up_0, 0);
	again = look();
	mc_join_all();
	end_watched(again);
}

MC_SCENARIO(monitor, last_look_against_two_waking_workers)
{
	bool again;

	begin_watched(2);
	mc_start(wakes_up_0, 0);
	mc_start(wakes_up_1, 0);
	again = look();
	mc_join_all();
	end_watched(again);
}

/* It wakes, sleeps and wakes; then the last look may come at any time. */
MC_SCENARIO(monitor, last_look_against_a_nap)
{
	bool again;

	begin_watched(1);
	wake_up(0);
	mc_start(naps, 0);
	do
		again = look();
	while (again && sk_idle_count(&sched->idle) == 1);
	mc_join_all();
	end_watched(again);
}

/* ---- A worker that is stuck ---- */

static skua_poll ready_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	return 7;
}

static const skua_future_ops ready_ops = {ready_poll, NULL, sizeof(skua_future), "ready", NULL};

/* Worker 1 is this thread, in the middle of a poll; worker 0 runs. */
static void begin_stuck(void)
{
	static skua_task polled;
	struct sk_worker *stuck;

	begin(2, &counting);
	stuck = sched->workers[1];
	sk_init(&stuck->tick, 1);
	stuck->running = &polled;
	mc_assert(sk_thread_start(&sched->workers[0]->thread, "", sk_worker_main,
				  sched->workers[0]) == 0);
	sched->started = 1;
	sk_thread_local_set(stuck);
	/* The driver knows this poll from now on. */
	stuck->monitor_tick = 1;
}

static void end_stuck(void)
{
	/* The poll ends: this thread is no worker any more. */
	sched->workers[1]->running = NULL;
	sk_thread_local_set(NULL);
	end();
}

static void spawn(unsigned i)
{
	skua_future future = {&ready_ops, 0, 0};

	mc_assert(sk_sched_spawn(sched, &future, &handles[i]) == 0);
}

static int64_t join(unsigned i)
{
	return join_task(&handles[i]);
}

/* A task in the LIFO slot of a stuck worker is found after one look, whether the other one sleeps by
 * then or is about to. */
MC_SCENARIO_WITH(monitor, lifo_of_a_stuck_worker, LESS)
{
	begin_stuck();
	spawn(0);
	mc_assert(look());
	mc_assert(join(0) == 7);
	end_stuck();
}

/* So is one in its queue, though it does not seem to be worth a wake. */
MC_SCENARIO_WITH(monitor, queue_of_a_stuck_worker, NO_STALE)
{
	begin_stuck();
	spawn(0);
	spawn(1); /* displaces the first one */
	mc_assert(look());
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end_stuck();
}

/* It is not stuck, but its polls have become longer than it thinks: then its backlog is worth a wake.
 * There is no fence between the look at the queue and that at the sleepers, so this look may miss one
 * who is just falling asleep; the next one does not. */
MC_SCENARIO_WITH(monitor, polls_have_become_longer, NO_STALE)
{
	struct sk_worker *worker;

	begin_stuck();
	worker = sched->workers[1];
	spawn(0);
	spawn(1);
	sk_store(&worker->tick, 3, SK_RELAXED);
	mc_assert(look());
	/* Two polls took as long as from one look to the next, or the queue is empty already. */
	mc_assert(sk_load(&worker->mean_poll_ns, SK_RELAXED) == LOOK / 2 ||
		  sk_deque_length(&worker->deque) == 0);
	sk_store(&worker->tick, 4, SK_RELAXED);
	mc_assert(look());
	mc_assert(join(0) == 7);
	/* Now it is stuck, in its fourth poll. */
	mc_assert(look());
	mc_assert(join(1) == 7);
	end_stuck();
}

/* The load needs one worker, and worker 1 is awake: worker 0 goes to sleep whatever that one has, but not
 * with a task in its own inbox. (Worker 1 counts as one that shares the load, and still nothing is left
 * to it.) */
MC_SCENARIO_WITH(monitor, spare_worker_with_a_task, LESS)
{
	begin_stuck();
	sk_store(&sched->demand.limit, 1, SK_RELAXED);
	sk_store(&sched->workers[1]->stuck_tick, 1, SK_RELAXED);
	sk_thread_local_set(NULL);
	spawn(0);
	mc_assert(join(0) == 7);
	end_stuck();
}

/* A timer of a stuck worker fires all the same. */
MC_SCENARIO_WITH(monitor, timer_of_a_stuck_worker, LESS)
{
	struct sk_thread_waker *waker = sk_thread_waker_new();
	struct sk_timer *timer = sk_calloc(1, sizeof *timer);
	skua_cx cx;

	begin_stuck();
	sk_thread_waker_cx(waker, &cx);
	mc_assert(sk_timer_arm_from_outside(&sched->workers[1]->timers, timer, sk_now() + LOOK,
					    &cx) == 0);
	mc_assert(look());
	sk_thread_waker_park(waker);
	mc_assert(sk_timer_has_fired(timer));
	sk_timer_disarm(timer);
	sk_free(timer);
	sk_thread_waker_free(waker);
	end_stuck();
}

/* A timer that is late with a worker which is busy, but not stuck. */
MC_SCENARIO_WITH(monitor, late_timer_of_a_busy_worker, LESS)
{
	struct sk_thread_waker *waker = sk_thread_waker_new();
	struct sk_timer *timer = sk_calloc(1, sizeof *timer);
	skua_cx cx;

	begin_stuck();
	sk_thread_waker_cx(waker, &cx);
	mc_assert(sk_timer_arm_from_outside(&sched->workers[1]->timers, timer, sk_now() + LOOK / 4,
					    &cx) == 0);
	sk_store(&sched->workers[1]->tick, 2, SK_RELAXED);
	mc_assert(look());
	sk_thread_waker_park(waker);
	sk_timer_disarm(timer);
	sk_free(timer);
	sk_thread_waker_free(waker);
	end_stuck();
}

/* Somebody arms a timer from outside with a worker that is about to sleep, and the driver takes the
 * post in for it. Nobody but that worker sees to the timer. */
MC_SCENARIO_WITH(monitor, post_taken_by_the_driver_against_a_parking_worker, .stale = -1,
		 .spurious = -1, .allow_timeouts = true)
{
	struct sk_thread_waker *waker = sk_thread_waker_new();
	struct sk_timer *timer = sk_calloc(1, sizeof *timer);
	skua_cx cx;

	begin(1, &counting);
	mc_assert(sk_sched_start(sched) == 0);
	sk_thread_waker_cx(waker, &cx);
	mc_assert(sk_timer_arm_from_outside(&sched->workers[0]->timers, timer, sk_now() + 10 * LOOK,
					    &cx) == 0);
	sk_sched_timer_changed(sched, 0);
	mc_assert(look());
	while (!sk_timer_has_fired(timer))
		sk_thread_waker_park(waker);
	sk_timer_disarm(timer);
	sk_free(timer);
	sk_thread_waker_free(waker);
	end();
}

/* Yields until the other one has been polled. */
static skua_poll yield_poll(skua_cx *cx, skua_future *self)
{
	(void)self;
	if (sk_load(&polls, SK_RELAXED) > 0)
		return 7;
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

static const skua_future_ops yield_ops = {yield_poll, NULL, sizeof(skua_future), "yield", NULL};

/* Nobody sleeps who could be woken: the worker that is awake looks between its own tasks. */
MC_SCENARIO_WITH(monitor, stranded_tasks_are_rescued, TWO_WORKERS)
{
	skua_future future = {&yield_ops, 0, 0};
	struct sk_chain chain = {0};

	begin(2, &counting);
	sk_init(&sched->workers[1]->tick, 1);
	sched->workers[1]->monitor_tick = 1;
	sched->workers[1]->running = handles[0] = sk_task_new(sched, &future, sizeof future, true);
	sk_thread_local_set(sched->workers[1]);
	spawn(1);
	/* Both are awake, and worker 0 has work of its own. */
	sk_init(&sched->workers[0]->tick, 2 * SK_MAINTENANCE_INTERVAL - 1);
	sk_chain_add(&chain, handles[0]);
	sk_inbox_push(&sched->workers[0]->inbox, &chain);
	sk_count(&sched->workers[0]->spawned, 1);
	mc_assert(look());
	mc_assert(sk_load(&sched->stranded, SK_RELAXED) == 1);
	mc_assert(sk_thread_start(&sched->workers[0]->thread, "", sk_worker_main,
				  sched->workers[0]) == 0);
	sched->started = 1;
	mc_assert(join(1) == 7);
	mc_assert(join(0) == 7);
	end_stuck();
}

/* ---- The dead tasks of a worker that sleeps ---- */

/* As bury in worker.c; the life reference is one, and the handle the other. */
static void leave_dead(struct sk_worker *owner, skua_task *task)
{
	skua_task *head = sk_load(&owner->dead, SK_RELAXED);

	do
		task->next = head;
	while (!sk_cas_weak(&owner->dead, &head, task, SK_RELEASE, SK_RELAXED));
}

static bool is_reaped(skua_task *task)
{
	return sk_load(&task->state, SK_ACQUIRE) / SK_TASK_REFERENCE == 1;
}

/* Before the driver gives up it wakes whoever sleeps on dead tasks, once. */
MC_SCENARIO_WITH(monitor, dead_tasks_of_a_sleeper, LESS)
{
	skua_task *task;

	begin(1, &counting);
	task = sk_task_new(sched, NULL, 0, true);
	sched->workers[0]->owned = task;
	task->owned = true;
	mc_assert(sk_sched_start(sched) == 0);
	leave_dead(sched->workers[0], task);
	/* It reaps on its way to sleep, or is woken for it. */
	while (look())
		sk_thread_yield();
	while (!is_reaped(task))
		sk_thread_yield();
	sk_task_close_handle(task);
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

/* ---- A driver of its own, asked by workers that run ---- */

static sk_parker driver_parker;
static SK_ATOMIC(uint32_t) asked, ends;

static void ask(void *driver)
{
	(void)driver;
	sk_store(&asked, 1, SK_RELAXED);
	sk_unpark(&driver_parker);
}

static const struct sk_driver_ops driving = {.watch = ask};

static void driver(void *unused)
{
	(void)unused;
	while (sk_load(&ends, SK_RELAXED) == 0) {
		if (sk_exchange(&asked, 0, SK_RELAXED) == 0) {
			sk_park(&driver_parker, SK_FOREVER);
			continue;
		}
		while (look())
			sk_thread_yield();
	}
}

/* It comes when a worker is awake, and goes when all sleep. */
MC_SCENARIO_WITH(monitor, driver_and_worker, TWO_WORKERS)
{
	sk_parker_init(&driver_parker);
	begin(1, &driving);
	mc_assert(sk_sched_start(sched) == 0);
	mc_start(driver, 0);
	spawn(0);
	mc_assert(join(0) == 7);
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	sk_store(&ends, 1, SK_RELAXED);
	sk_unpark(&driver_parker);
	/* A worker that has ended counts as awake: this ends the looks. */
	sk_idle_sleep(&sched->idle, 0, false);
	mc_join_all();
	mc_assert(sk_sched_free(sched) == 0);
}

/* ---- What never depends on the monitor ---- */

static void ignore(void *driver)
{
	(void)driver;
}

static const struct sk_driver_ops idle_driver = {.watch = ignore};

/* A sleeping worker is woken for a task that no awake worker has: nobody looks, and all come to an
 * end though no backlog seems to be worth a wake. */
MC_SCENARIO_WITH(monitor, paced_workers_without_a_look, TWO_WORKERS)
{
	begin(2, &idle_driver);
	mc_assert(sk_sched_start(sched) == 0);
	spawn(0);
	spawn(1);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}

MC_SCENARIO_WITH(monitor, paced_worker_without_a_look, LESS)
{
	begin(1, &idle_driver);
	mc_assert(sk_sched_start(sched) == 0);
	spawn(0);
	mc_assert(join(0) == 7);
	spawn(1);
	mc_assert(join(1) == 7);
	end();
}
