/*
 * tests/test_sched_end.c - tasks end with their scheduler whatever state they are in, and whatever
 * other threads are doing with them at that moment.
 */
#include "sched/sched.h"

#include <errno.h>

#include "sched/blocking.h"
#include "sched/guard.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/step_support.h"

static counter cancelled, gate;

/* ---- The end ---- */

/* Waits for ever; ends when it is asked to. */
static skua_poll wait_for_cancel(skua_cx *cx, struct step *self)
{
	int interrupt = skua_cx_interrupt(cx);

	(void)self;
	count_up(&polls);
	if (interrupt == 0)
		return SKUA_PENDING;
	count_up(&cancelled);
	return interrupt;
}

/* Waits for ever, whatever it is asked. */
static skua_poll wait_for_ever(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	count_up(&polls);
	return SKUA_PENDING;
}

/* Yields until it is asked to end. */
static skua_poll yield_until_cancelled(skua_cx *cx, struct step *self)
{
	if (wait_for_cancel(cx, self) != SKUA_PENDING)
		return -ECANCELED;
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

static skua_poll yield_for_ever(skua_cx *cx, struct step *self)
{
	wait_for_ever(cx, self);
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

T_TEST(sched, nothing_is_spawned_while_closing)
{
	struct step step = new_step(poll_number, 1);
	skua_task *task = NULL;

	sched = start_sched(2);
	sk_sched_close(sched);
	T_EQ(sk_sched_spawn(sched, &step.future, &task), -ESHUTDOWN);
	T_EQ(sk_sched_spawn_reference(sched, &step.future, SK_NO_WAITER, &task), -ESHUTDOWN);
	T_NULL(task);
	T_ASSERT(sk_sched_drain(sched, 0));
	sk_sched_stop(sched);
	T_EQ(sk_sched_spawn(sched, &step.future, NULL), -ESHUTDOWN);
	T_EQ(sk_sched_free(sched), 0);
	T_EQ(count_of(&polls), 0);
	T_EQ(count_of(&dropped), 0);
}

T_TEST(sched, waiting_and_yielding_tasks_are_cancelled_and_end)
{
	enum { TASKS = 100 };
	skua_task *tasks[TASKS];

	sched = start_sched(3);
	for (unsigned i = 0; i < TASKS; i++)
		tasks[i] = spawn_step(
			new_step(i % 2 == 0 ? wait_for_cancel : yield_until_cancelled, i));
	EVENTUALLY(count_of(&polls) >= TASKS);
	sk_sched_close(sched);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), 0);
	T_EQ(count_of(&cancelled), TASKS);
	T_EQ(count_of(&dropped), 0);
	for (unsigned i = 0; i < TASKS; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
}

T_TEST(sched, sleeping_workers_wake_to_cancel_their_tasks)
{
	skua_task *tasks[10];

	sched = start_sched(3);
	for (unsigned i = 0; i < 10; i++)
		tasks[i] = spawn_step(new_step(wait_for_cancel, i));
	EVENTUALLY(count_of(&polls) == 10 && sk_idle_count(&sched->idle) == 3);
	sk_sched_close(sched);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), 0);
	for (unsigned i = 0; i < 10; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
}

T_TEST(sched, a_task_that_ended_elsewhere_and_was_not_fetched_is_freed)
{
	struct step step = new_step(poll_number, 0);
	skua_task *task;

	limit_memory();
	sched = new_sched(2);
	/* In the list of one worker, and completed by the other just before the end. */
	task = sk_task_new(sched, &step, sizeof step, false);
	begin_poll(task);
	task->owned = true;
	task->owner = 1;
	sched->workers[1]->owned = task;
	sk_task_complete(task, 0, 0);
	T_EQ(end_sched(sched, 0), 0);
	T_EQ(count_of(&dropped), 0);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(sched, a_task_that_never_ran_is_polled_with_the_cancel)
{
	skua_task *tasks[5], *stuck;

	sched = start_sched(1);
	stuck = spawn_step(new_step(be_busy, 20000));
	for (unsigned i = 0; i < 5; i++)
		tasks[i] = spawn_step(new_step(wait_for_cancel, i));
	sk_sched_close(sched);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), 0);
	T_EQ(skua_task_wait(&stuck), 0);
	for (unsigned i = 0; i < 5; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	T_EQ(count_of(&dropped), 0);
}

/* Ends a scheduler whose tasks do not: each is dropped once, and its joiner is told. */
static void end_stubborn(skua_poll (*poll)(skua_cx *, struct step *), uint32_t workers,
			 uint64_t grace_ms)
{
	enum { TASKS = 20 };
	skua_task *tasks[TASKS];

	sched = start_sched(workers);
	for (unsigned i = 0; i < TASKS; i++)
		tasks[i] = spawn_step(new_step(poll, i));
	EVENTUALLY(count_of(&polls) >= TASKS);
	sk_sched_close(sched);
	T_ASSERT(!sk_sched_drain(sched, after_ms(grace_ms)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), TASKS);
	T_EQ(count_of(&dropped), TASKS);
	for (unsigned i = 0; i < TASKS; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ESHUTDOWN);
}

T_TEST(sched, tasks_that_wait_for_ever_are_dropped_without_grace)
{
	end_stubborn(wait_for_ever, 2, 0);
}

T_TEST(sched, tasks_that_wait_for_ever_are_dropped_after_a_grace)
{
	end_stubborn(wait_for_ever, 2, 20);
}

T_TEST(sched, tasks_that_yield_for_ever_are_dropped_without_grace)
{
	end_stubborn(yield_for_ever, 2, 0);
}

T_TEST(sched, tasks_that_yield_for_ever_are_dropped_after_a_grace)
{
	end_stubborn(yield_for_ever, 3, 20);
}

T_TEST(sched, tasks_of_a_scheduler_that_never_started_are_dropped)
{
	enum { TASKS = 10 };
	skua_task *tasks[TASKS];

	sched = new_sched(3);
	for (unsigned i = 0; i < TASKS; i++)
		tasks[i] = spawn_step(new_step(poll_number, i));
	T_EQ(end_sched(sched, 1), TASKS);
	T_EQ(count_of(&polls), 0);
	T_EQ(count_of(&dropped), TASKS);
	for (unsigned i = 0; i < TASKS; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ESHUTDOWN);
}

static skua_poll a_long_poll(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	count_up(&polls);
	sleep_ms(50);
	count_up(&ended);
	return 3;
}

T_TEST(sched, stopping_waits_for_the_poll_that_is_going_on)
{
	skua_task *task;

	sched = start_sched(2);
	task = spawn_step(new_step(a_long_poll, 0));
	EVENTUALLY(count_of(&polls) == 1);
	T_EQ(end_sched(sched, 0), 0);
	T_EQ(count_of(&ended), 1);
	T_EQ(skua_task_wait(&task), 3);
}

/* Awaits `child`, for ever and whatever it is asked. */
static skua_poll join_stubbornly(skua_cx *cx, struct step *self)
{
	count_up(&polls);
	while (self->child != NULL) {
		skua_poll result = skua_join(cx, &self->child);

		if (result == SKUA_PENDING)
			return result;
	}
	return 0;
}

T_TEST(sched, dropping_a_task_that_others_await_leaves_nothing_behind)
{
	enum { CHAIN = 12 };

	limit_memory();
	for (unsigned round = 0; round < 4; round++) {
		struct step step = new_step(wait_for_ever, 0);
		skua_task *last = NULL;

		sk_store(&polls, 0, SK_RELEASE);
		sk_store(&dropped, 0, SK_RELEASE);
		sched = start_sched(1 + round % 3);
		for (unsigned i = 0; i < CHAIN; i++) {
			step.child = last;
			last = spawn_step(step);
			step = new_step(join_stubbornly, i);
		}
		EVENTUALLY(count_of(&polls) >= CHAIN);
		T_EQ(end_sched(sched, round), CHAIN);
		T_EQ(count_of(&dropped), CHAIN);
		T_EQ(skua_task_wait(&last), -ESHUTDOWN);
		T_EQ(blocks_in_use(), 0);
	}
}

T_TEST(sched, the_end_comes_as_soon_as_the_last_task_has_ended)
{
	for (unsigned i = 0; i < 20; i++) {
		uint64_t before;

		sched = start_sched(2);
		for (unsigned j = 0; j < 10; j++)
			spawn_detached(new_step(be_busy, 300));
		spawn_detached(new_step(wait_for_cancel, 0));
		before = sk_now();
		sk_sched_close(sched);
		T_ASSERT(sk_sched_drain(sched, after_ms(60000)));
		T_LT(sk_now() - before, UINT64_C(10000000000));
		sk_sched_stop(sched);
		T_EQ(sk_sched_free(sched), 0);
	}
}

T_TEST(sched, a_worker_on_its_way_to_sleep_sees_the_end)
{
	struct sk_sched_options options = {
		.workers = 2,
		.budget = 128,
		.spin_us = 5000,
		.blocking.threads = 1,
	};

	/* Workers that still look around are not asleep, so nobody wakes them. */
	for (unsigned i = 0; i < 5; i++) {
		skua_task *task;

		sched = new_sched_with(&options);
		T_EQ(sk_sched_start(sched), 0);
		task = spawn_step(new_step(poll_number, i));
		T_EQ(skua_task_wait(&task), i);
		T_EQ(end_sched(sched, 1000), 0);
	}
}

/* ---- The end, and threads that are in the middle of something ---- */

static int64_t wait_for_a_task(void *argument)
{
	skua_task *task = *(skua_task **)argument;

	count_up(&gate);
	return skua_task_wait(&task);
}

T_TEST(sched, a_job_that_waits_for_a_task_does_not_hold_up_the_end)
{
	skua_task *task, *job = NULL;

	sched = start_sched(1);
	task = spawn_step(new_step(wait_for_ever, 0));
	T_EQ(sk_blocking_spawn(sched, wait_for_a_task, &task, sizeof(skua_task *), &job), 0);
	EVENTUALLY(count_of(&gate) == 1 && count_of(&polls) == 1);
	T_EQ(end_sched(sched, 1), 1);
	T_EQ(skua_task_wait(&job), -ESHUTDOWN);
	T_EQ(count_of(&dropped), 1);
}

static counter marked, was_freed_early;

/* A wake, with a pause in the middle: the task is marked, and not yet in a queue. */
static void wake_slowly(void *argument)
{
	skua_task *task = argument;
	unsigned side = sk_guard_enter();

	T_ASSERT(sk_task_mark_and_release(task));
	count_up(&marked);
	sleep_ms(30);
	sk_store(&was_freed_early, count_of(&watched_block_freed), SK_RELEASE);
	if (count_of(&was_freed_early) == 0)
		sk_sched_inject(sched, task);
	sk_guard_leave(side);
}

T_TEST(sched, a_task_is_not_freed_under_who_wakes_it)
{
	sk_thread thread;
	skua_task *task;

	limit_memory();
	sched = start_sched(1);
	task = spawn_step(new_step(wait_for_ever, 0));
	EVENTUALLY(count_of(&polls) == 1 && sk_idle_count(&sched->idle) == 1);
	/* The waker's reference is the one that the handle had. */
	watched_block = task;
	T_EQ(sk_thread_start(&thread, "waker", wake_slowly, task), 0);
	EVENTUALLY(count_of(&marked) == 1);
	T_EQ(end_sched(sched, 0), 1);
	sk_thread_join(&thread);
	T_EQ(count_of(&was_freed_early), 0);
	T_EQ(count_of(&watched_block_freed), 1);
	T_EQ(count_of(&dropped), 1);
	T_EQ(blocks_in_use(), 0);
}

/* A job that spawns a task when the scheduler is about to be freed. */
static int64_t spawn_late(void *unused)
{
	struct step step = new_step(poll_number, 0);

	(void)unused;
	count_up(&gate);
	sleep_ms(30);
	return sk_sched_spawn(sched, &step.future, NULL);
}

T_TEST(sched, a_job_cannot_spawn_when_the_workers_are_gone)
{
	skua_task *job = NULL;

	limit_memory();
	sched = start_sched(1);
	T_EQ(sk_blocking_spawn(sched, spawn_late, NULL, 0, &job), 0);
	EVENTUALLY(count_of(&gate) == 1);
	T_EQ(end_sched(sched, 0), 0);
	T_EQ(skua_task_wait(&job), -ESHUTDOWN);
	T_EQ(count_of(&polls), 0);
	T_EQ(count_of(&dropped), 0);
	T_EQ(blocks_in_use(), 0);
}

/* A spawn that is in the middle when the scheduler closes: closing waits for it, and the task is
 * found. */
static void spawn_slowly(void *unused)
{
	struct step step = new_step(poll_number, 0);
	skua_task *task = sk_task_new(sched, &step, sizeof step, false);
	unsigned side = sk_guard_enter();

	(void)unused;
	T_NOT_NULL(task);
	T_EQ(sk_load(&sched->phase, SK_SEQ_CST), SK_PHASE_OPEN);
	count_up(&gate);
	sleep_ms(30);
	sk_fetch_add(&sched->foreign[0].spawned, 1, SK_RELAXED);
	sk_sched_inject(sched, task);
	sk_guard_leave(side);
}

T_TEST(sched, closing_waits_for_a_spawn_that_has_begun)
{
	sk_thread thread;

	limit_memory();
	sched = start_sched(1);
	T_EQ(sk_thread_start(&thread, "spawner", spawn_slowly, NULL), 0);
	EVENTUALLY(count_of(&gate) == 1);
	T_EQ(end_sched(sched, 5000), 0);
	sk_thread_join(&thread);
	T_EQ(count_of(&polls), 1);
	T_EQ(blocks_in_use(), 0);
}

/* ---- Many threads ---- */

enum { WAKEN = 32 };

static skua_task *waken[WAKEN];

static void free_waker_main(void *unused)
{
	(void)unused;
	while (count_of(&gate) == 0)
		for (unsigned i = 0; i < WAKEN; i++)
			sk_task_wake(waken[i]);
}

/* Wakers are at work until after the scheduler is gone. */
T_TEST(sched, stress_waking_while_the_scheduler_is_freed)
{
	unsigned rounds = rounds_of(40);
	uint64_t until = end_of_rounds();

	for (unsigned i = 0; i < rounds && sk_now() < until; i++) {
		sk_thread threads[2];

		sk_store(&gate, 0, SK_RELEASE);
		sk_store(&dropped, 0, SK_RELEASE);
		sched = start_sched(2);
		for (unsigned j = 0; j < WAKEN; j++)
			waken[j] = spawn_step(
				new_step(j % 2 == 0 ? wait_for_ever : wait_for_cancel, j));
		for (unsigned j = 0; j < 2; j++)
			T_EQ(sk_thread_start(&threads[j], "waker", free_waker_main, NULL), 0);
		sk_sched_close(sched);
		sk_sched_drain(sched, after_ms(i % 3));
		sk_sched_stop(sched);
		T_GE(sk_sched_free(sched), WAKEN / 2);
		T_GE(count_of(&dropped), WAKEN / 2);
		count_up(&gate);
		for (unsigned j = 0; j < 2; j++)
			sk_thread_join(&threads[j]);
		for (unsigned j = 0; j < WAKEN; j++) {
			T_ASSERT(skua_task_finished(waken[j]));
			skua_detach(&waken[j]);
		}
	}
}
