/*
 * tests/test_sched_wake.c - wakes and the scheduler: a task is polled after every wake and only
 * then, by the worker that ran it if a batch wakes it, and no wake of any thread is lost.
 */
#include "sched/sched.h"

#include <errno.h>

#include "sched/inbox.h"
#include "sched/task.h"
#include "sched/waiter.h"
#include "tests/step_support.h"

/* ---- Waking ---- */

/* Pending until it was polled `left` times. */
static skua_poll count_down(skua_cx *cx, struct step *self)
{
	(void)cx;
	sk_fetch_add(&polls, 1, SK_ACQ_REL);
	return --self->left == 0 ? 0 : SKUA_PENDING;
}

T_TEST(sched, a_pending_task_is_polled_when_woken_and_only_then)
{
	struct step step = new_step(count_down, 0);
	skua_task *task;

	step.left = 20;
	sched = start_sched(2);
	task = spawn_step(step);
	for (unsigned i = 1; i < 20; i++) {
		EVENTUALLY(count_of(&polls) == i);
		if (i % 8 == 0)
			sleep_ms(3);
		T_EQ(count_of(&polls), i);
		sk_task_wake(task);
	}
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(count_of(&polls), 20);
	T_EQ(end_sched(sched, 1000), 0);
}

static skua_poll wake_self(skua_cx *cx, struct step *self)
{
	count_up(&polls);
	if (self->left-- == 0)
		return 0;
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	return SKUA_PENDING;
}

T_TEST(sched, a_task_that_wakes_itself_is_polled_again_once)
{
	struct step step = new_step(wake_self, 0);
	skua_task *task;

	step.left = 1000;
	sched = start_sched(2);
	task = spawn_step(step);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(count_of(&polls), 1001);
	T_EQ(end_sched(sched, 1000), 0);
}

/* ---- Batches ---- */

static sk_waiter waiter_of(skua_task *task)
{
	skua_cx cx = task_cx(task);

	return sk_waiter_of(&cx);
}

T_TEST(sched, a_batch_goes_to_the_workers_that_ran_the_tasks)
{
	struct sk_batch batch;
	struct counting counting;
	skua_cx foreign = counting_cx(&counting);
	skua_task *tasks[12], *queued;

	sched = new_sched(3);
	T_EQ(sk_batch_init(&batch, sched), 0);
	for (unsigned i = 0; i < 12; i++) {
		struct step step = new_step(poll_number, i);

		tasks[i] = sk_task_new(sched, &step, sizeof step, false);
		begin_poll(tasks[i]);
		T_ASSERT(!end_poll(tasks[i]));
		sk_store(&tasks[i]->last_worker, i % 3, SK_RELAXED);
	}
	/* Worker 2 sleeps, and is left alone while another searches: its tasks go to one that is
	 * awake. */
	sk_idle_sleep(&sched->idle, 2, false);
	T_ASSERT(sk_idle_begin_search(&sched->idle));
	sk_batch_add(&batch, SK_NO_WAITER);
	for (unsigned i = 0; i < 12; i++)
		sk_batch_add(&batch, waiter_of(tasks[i]));
	sk_batch_add(&batch, waiter_of(tasks[0]));
	T_EQ(count_of(&counting.wakes), 0);
	sk_batch_add(&batch, sk_waiter_of(&foreign));
	T_EQ(count_of(&counting.wakes), 1);
	T_EQ(take_queued(sched, NULL), 0);
	sk_batch_publish(&batch);
	queued = sk_inbox_take(&sched->workers[1]->inbox);
	for (unsigned i = 1; i < 12; i += 3, queued = queued->next)
		T_ASSERT(queued == tasks[i]);
	T_NULL(queued);
	queued = sk_inbox_take(&sched->workers[0]->inbox);
	for (unsigned i = 0; i < 12; i += 3, queued = queued->next)
		T_ASSERT(queued == tasks[i]);
	for (unsigned i = 2; i < 12; i += 3, queued = queued->next)
		T_ASSERT(queued == tasks[i]);
	T_NULL(queued);
	T_NULL(sk_inbox_take(&sched->workers[2]->inbox));
	T_EQ(sk_idle_count(&sched->idle), 1);
	/* Published once. */
	sk_batch_publish(&batch);
	T_EQ(take_queued(sched, NULL), 0);
	for (unsigned i = 0; i < 12; i++) {
		T_EQ(references_of(tasks[i]), 1);
		T_EQ(flags_of(tasks[i]), SK_TASK_SCHEDULED);
		sk_task_release(tasks[i]);
	}
	sk_batch_destroy(&batch);
	end_sched(sched, 0);
}

T_TEST(sched, no_batch_without_memory)
{
	struct sk_batch batch;
	int64_t before;

	limit_memory();
	sched = new_sched(2);
	before = blocks_in_use();
	for (int64_t allowed = 0; allowed < 2; allowed++) {
		allow_allocations(allowed);
		T_EQ(sk_batch_init(&batch, sched), -ENOMEM);
		T_EQ(blocks_in_use(), before);
	}
	allow_allocations(-1);
	end_sched(sched, 0);
}

/* ---- Many threads ---- */

enum { WAKERS = 3, WAKEN = 32 };

static struct {
	skua_task *tasks[WAKEN];
	counter woken[WAKEN], seen[WAKEN];
	unsigned rounds;
	counter done;
} stress;

/* Ends when it has seen every wake. */
static skua_poll see_wakes(skua_cx *cx, struct step *self)
{
	uint32_t woken = sk_load(&stress.woken[self->number], SK_RELAXED);

	(void)cx;
	sk_store(&stress.seen[self->number], woken, SK_RELEASE);
	return woken == WAKERS * stress.rounds ? 0 : SKUA_PENDING;
}

static void waker_main(void *argument)
{
	uint32_t random = *(uint32_t *)argument;

	for (unsigned i = 0; i < stress.rounds; i++) {
		for (unsigned j = 0; j < WAKEN; j++) {
			sk_fetch_add(&stress.woken[j], 1, SK_RELAXED);
			sk_task_wake(stress.tasks[j]);
		}
		if (sk_random(&random) % 64 == 0)
			sleep_ms(1);
	}
	count_up(&stress.done);
}

static void run_stress(uint32_t workers)
{
	static uint32_t seeds[WAKERS] = {1, 2, 3};
	sk_thread threads[WAKERS];

	stress.rounds = rounds_of(2000);
	sched = start_sched(workers);
	for (unsigned i = 0; i < WAKEN; i++)
		stress.tasks[i] = spawn_step(new_step(see_wakes, i));
	for (unsigned i = 0; i < WAKERS; i++)
		T_EQ(sk_thread_start(&threads[i], "waker", waker_main, &seeds[i]), 0);
	for (unsigned i = 0; i < WAKEN; i++)
		EVENTUALLY(skua_task_finished(stress.tasks[i]));
	for (unsigned i = 0; i < WAKERS; i++)
		sk_thread_join(&threads[i]);
	for (unsigned i = 0; i < WAKEN; i++)
		T_EQ(skua_task_wait(&stress.tasks[i]), 0);
	T_EQ(end_sched(sched, 10000), 0);
}

T_TEST(sched, stress_every_wake_is_followed_by_a_poll_with_two_workers)
{
	run_stress(2);
}

T_TEST(sched, stress_every_wake_is_followed_by_a_poll_with_four_workers)
{
	run_stress(4);
}
