/*
 * tests/test_sched_steal.c - workers that do each other's work: tasks are stolen when others have
 * time, and the tasks and timers of a stuck worker are helped out from behind it.
 */
#include "sched/sched.h"

#include <stdbool.h>
#include <string.h>

#include "sched/timer.h"
#include "sched/worker.h"
#include "tests/step_support.h"

static counter gate;

/* ---- Stealing ---- */

static skua_poll spawn_busy_ones(skua_cx *cx, struct step *self)
{
	(void)cx;
	while (self->left-- > 0)
		spawn_detached(new_step(be_busy, self->number));
	count_up(&ended);
	return 0;
}

T_TEST(sched, a_backlog_is_stolen)
{
	struct step root = new_step(spawn_busy_ones, 20);
	skua_stats stats = {0};
	unsigned spawned = 0;

	root.left = 200;
	sched = start_sched(2);
	/* The other worker may not get a CPU at once. */
	for (unsigned i = 0; i < 100 && stats.stolen == 0; i++) {
		EVENTUALLY(sk_idle_count(&sched->idle) == 2);
		spawn_detached(root);
		spawned += 201;
		EVENTUALLY(count_of(&ended) == spawned);
		memset(&stats, 0, sizeof stats);
		sk_sched_stats(sched, &stats);
	}
	T_GT(stats.stolen, 0);
	T_GT(stats.wakes, 0);
	T_GT(stats.parks, 0);
	T_LE(stats.stolen, spawned);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(sched, the_inbox_of_a_busy_worker_is_stolen)
{
	struct step stuck = new_step(be_busy, 0);
	skua_task *tasks[10];

	/* One worker is kept in a poll; whatever is left at its door runs on the other. */
	sched = start_sched(2);
	for (unsigned round = 0; round < 5; round++) {
		stuck.number = 30000;
		spawn_detached(stuck);
		for (unsigned i = 0; i < 10; i++)
			tasks[i] = spawn_step(new_step(poll_number, i));
		for (unsigned i = 0; i < 10; i++)
			T_EQ(skua_task_wait(&tasks[i]), i);
	}
	T_EQ(end_sched(sched, 10000), 0);
}

/* Stays in its poll until `left` tasks do. */
static skua_poll meet(skua_cx *cx, struct step *self)
{
	(void)cx;
	count_up(&polls);
	EVENTUALLY(count_of(&polls) >= self->left);
	return 0;
}

/* As many tasks as workers, each of which needs a worker of its own: one that a searcher was trusted
 * to come for, and did not, is missed by all. */
T_TEST(sched, every_worker_is_woken_when_all_are_needed)
{
	enum { WORKERS = 4 };
	unsigned rounds = rounds_of(300);
	uint64_t until = end_of_rounds();
	skua_task *tasks[WORKERS];

	sched = start_sched(WORKERS);
	for (unsigned round = 1; round <= rounds && sk_now() < until; round++) {
		struct step step = new_step(meet, 0);

		step.left = round * WORKERS;
		if (round % 2 == 0)
			EVENTUALLY(sk_idle_count(&sched->idle) == WORKERS);
		for (unsigned i = 0; i < WORKERS; i++)
			tasks[i] = spawn_step(step);
		for (unsigned i = 0; i < WORKERS; i++)
			T_EQ(skua_task_wait(&tasks[i]), 0);
	}
	T_EQ(end_sched(sched, 1000), 0);
}

/* ---- The driver's look ---- */

static counter watches;

static void note_watch(void *argument)
{
	T_ASSERT(argument == &watches);
	count_up(&watches);
}

static const struct sk_driver_ops driver_ops = {.watch = note_watch};

/* One that believes polls to be so short that no backlog is worth a wake. */
static struct sk_sched *start_paced(uint32_t workers)
{
	struct sk_sched_options options = {
		.workers = workers,
		.budget = 128,
		.blocking.threads = 1,
		.driver_ops = &driver_ops,
		.driver = &watches,
	};
	struct sk_sched *paced = new_sched_with(&options);

	for (uint32_t i = 0; i < workers; i++)
		sk_store(&paced->workers[i]->mean_poll_ns, 0, SK_RELAXED);
	T_EQ(sk_sched_start(paced), 0);
	EVENTUALLY(sk_idle_count(&paced->idle) == workers);
	return paced;
}

static unsigned stuck_worker;

/* Spawns `left` tasks, and stays in its poll until they have run. */
static skua_poll spawn_and_get_stuck(skua_cx *cx, struct step *self)
{
	uint64_t left = self->left;

	stuck_worker = ((struct sk_worker *)cx->worker)->index;
	for (uint64_t i = 0; i < left; i++)
		spawn_detached(new_step(poll_number, i));
	count_up(&gate);
	EVENTUALLY(count_of(&polls) == left);
	return 0;
}

static void help_a_stuck_worker(unsigned backlog)
{
	struct step step = new_step(spawn_and_get_stuck, 0);
	skua_task *task;

	step.left = backlog;
	sched = start_paced(2);
	task = spawn_step(step);
	EVENTUALLY(count_of(&gate) == 1);
	sleep_ms(10);
	/* Nobody came by himself: the backlog was not worth it. */
	T_EQ(count_of(&polls), 0);
	T_EQ(sk_idle_count(&sched->idle), 1);
	T_ASSERT(sk_sched_monitor(sched));
	T_ASSERT(sk_sched_monitor(sched));
	EVENTUALLY(count_of(&polls) == backlog);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(sched, the_hot_task_of_a_stuck_worker_runs_elsewhere)
{
	help_a_stuck_worker(1);
}

T_TEST(sched, the_backlog_of_a_stuck_worker_runs_elsewhere)
{
	help_a_stuck_worker(10);
}

static struct sleeper {
	struct sk_timer timer;
	counter armed;
	unsigned worker; /* on which it ended */
} sleeper;

/* Awaits a timer of its worker. */
static skua_poll await_timer(skua_cx *cx, struct step *self)
{
	struct sk_worker *worker = cx->worker;

	(void)self;
	if (count_of(&sleeper.armed) == 0) {
		T_EQ(sk_timer_arm(&worker->timers, &sleeper.timer, after_ms(15), 1, cx), 0);
		count_up(&sleeper.armed);
		return SKUA_PENDING;
	}
	if (!sk_timer_has_fired(&sleeper.timer))
		return SKUA_PENDING;
	sk_timer_disarm(&sleeper.timer);
	sleeper.worker = worker->index;
	count_up(&polls);
	return 7;
}

T_TEST(sched, a_worker_wakes_for_its_timers)
{
	skua_task *task;
	uint64_t before = sk_now();

	sched = start_sched(2);
	task = spawn_step(new_step(await_timer, 0));
	T_EQ(skua_task_wait(&task), 7);
	T_ASSERT(sk_now() - before >= 15 * UINT64_C(1000000));
	T_EQ(end_sched(sched, 1000), 0);
}

/* Spawns the sleeper, lets it go first, and then stays in its poll until the sleeper has ended. */
static skua_poll get_stuck_before_a_timer(skua_cx *cx, struct step *self)
{
	if (self->left-- > 0) {
		sk_task_wake(cx->task);
		spawn_detached(new_step(await_timer, 0));
		return SKUA_PENDING;
	}
	/* The other worker may have stolen it before it was polled here: then it is armed there. */
	EVENTUALLY(count_of(&sleeper.armed) == 1);
	stuck_worker = ((struct sk_worker *)cx->worker)->index;
	EVENTUALLY(count_of(&polls) == 1);
	T_NE(sleeper.worker, stuck_worker);
	return 0;
}

T_TEST(sched, the_timers_of_a_stuck_worker_are_fired_for_it)
{
	struct step step = new_step(get_stuck_before_a_timer, 0);
	uint64_t until = after_ms(20000);
	skua_task *task;

	step.left = 1;
	sched = start_paced(2);
	task = spawn_step(step);
	while (!skua_task_finished(task)) {
		T_ASSERT_MSG(sk_now() < until, "nobody fired the timer");
		sk_sched_monitor(sched);
		sleep_ms(1);
	}
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(sched, the_driver_is_asked_to_watch_while_somebody_is_awake)
{
	skua_task *task;
	unsigned looks = 0;

	sched = start_paced(2);
	/* Starting woke the workers, so somebody asked. */
	T_EQ(count_of(&watches), 1);
	while (sk_sched_monitor(sched))
		T_LT(++looks, 1000);
	T_GT(looks, 1);
	task = spawn_step(new_step(poll_number, 1));
	T_EQ(skua_task_wait(&task), 1);
	EVENTUALLY(count_of(&watches) == 2);
	T_EQ(end_sched(sched, 1000), 0);
}
