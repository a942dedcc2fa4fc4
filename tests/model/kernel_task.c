/*
 * kernel_task.c - the state word of a task: wakes, polls, the end, cancelling, joining. The runners
 * here make the transitions of run() in worker.c around one inbox; kernel_worker.c has the real one.
 */
#include <errno.h>

#include "sched/sched.h"
#include "sched/task.h"
#include "sched/thread_waker.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"

static struct sk_sched *sched; /* does not run */
static skua_task *handle, *task;
static SK_ATOMIC(uint32_t) events; /* what the task waits for */
static SK_ATOMIC(uint32_t) ended;
static unsigned wanted;
static int64_t expected = 7; /* by the joiner */
static int polls;  /* plain: polls on two threads are a race, unless one comes after the other */
static int reason; /* plain: written before the task is cancelled, and seen when it is */

static skua_poll poll(skua_cx *cx, skua_future *self)
{
	(void)self;
	polls++;
	if (skua_cx_cancelled(cx)) {
		mc_assert(reason == 1);
		return -ECANCELED;
	}
	return sk_load(&events, SK_RELAXED) >= wanted ? 7 : SKUA_PENDING;
}

static const skua_future_ops ops = {poll, NULL, sizeof(skua_future), "waiting for events", NULL};

/* A task that is in the inbox for its first poll, with as many references as there will be wakers. */
static void begin(unsigned wanted_events, unsigned wakers, bool joinable)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};
	skua_future future = {&ops, 0, 0};
	struct sk_chain chain = {0};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	task = sk_task_new(sched, &future, sizeof future, joinable);
	handle = joinable ? task : NULL;
	for (unsigned i = 0; i < wakers; i++)
		sk_task_hold(task);
	sk_chain_add(&chain, task);
	sk_inbox_push(&sched->workers[0]->inbox, &chain);
	wanted = wanted_events;
}

/* As run() in worker.c. */
static void run(skua_task *next)
{
	skua_cx cx = {.waker = {&sk_task_waker_ops, next}, .task = next, .budget = 128};
	uint64_t old = sk_fetch_xor(&next->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	skua_poll result;

	mc_assert((old & (SK_TASK_SCHEDULED | SK_TASK_RUNNING | SK_TASK_COMPLETE)) ==
		  SK_TASK_SCHEDULED);
	result = next->future->ops->poll(&cx, next->future);
	if (result == SKUA_PENDING) {
		old = sk_fetch_xor(&next->state, SK_TASK_RUNNING, SK_ACQ_REL);
		if ((old & SK_TASK_SCHEDULED) != 0)
			sk_sched_inject(sched, next);
		return;
	}
	sk_task_complete(next, result, 0);
	sk_task_release(next);
	sk_fetch_add(&ended, 1, SK_RELAXED);
}

static bool run_next(void)
{
	skua_task *next = sk_inbox_take(&sched->workers[0]->inbox);

	if (next == NULL)
		return false;
	run(next);
	return true;
}

/* Looks twice; waiting for more would only have the explorer try how long. */
static void runner(void *unused)
{
	(void)unused;
	run_next();
	run_next();
}

/* What is left is polled now; a task whose wake was lost is not there. */
static void run_rest(void)
{
	while (run_next())
		;
	mc_assert(sk_load(&ended, SK_RELAXED) == 1);
}

/* Ends everything. Returns the result, if there is a handle. */
static int64_t finish(void)
{
	int64_t result = 0;

	run_rest();
	if (handle != NULL)
		result = sk_task_take_result(&handle);
	mc_assert(sk_sched_free(sched) == 0);
	return result;
}

static void waker(void *unused)
{
	(void)unused;
	sk_fetch_add(&events, 1, SK_RELAXED);
	sk_task_wake_and_release(task);
}

static void waker_by_ref(void *unused)
{
	(void)unused;
	sk_fetch_add(&events, 1, SK_RELAXED);
	sk_task_wake(task);
	sk_task_release(task);
}

/* As the driver: the state half, and then the queue. */
static void batch(void *unused)
{
	struct sk_batch own;

	(void)unused;
	mc_assert(sk_batch_init(&own, sched) == 0);
	sk_fetch_add(&events, 1, SK_RELAXED);
	sk_batch_add(&own, (sk_waiter)task);
	sk_batch_publish(&own);
	sk_batch_destroy(&own);
}

static void canceller(void *unused)
{
	int rc;

	(void)unused;
	reason = 1;
	rc = sk_task_cancel(handle);
	mc_assert(rc == 0 || rc == -ESRCH);
	/* It has ended, and everything that it did can be seen. */
	if (rc == -ESRCH)
		mc_assert(polls > 0);
}

/* As sk_sched_close. */
static void closer_of_all(void *unused)
{
	(void)unused;
	reason = 1;
	sk_store(&sched->phase, SK_PHASE_CLOSING, SK_RELEASE);
}

MC_SCENARIO(task, a_wake_against_the_end_of_a_poll)
{
	begin(1, 1, false);
	mc_start(waker, 0);
	runner(NULL);
	mc_join_all();
	finish();
}

MC_SCENARIO(task, a_wake_by_reference)
{
	begin(1, 1, false);
	mc_start(waker_by_ref, 0);
	runner(NULL);
	mc_join_all();
	finish();
}

MC_SCENARIO(task, two_wakes_against_a_runner)
{
	begin(2, 2, false);
	mc_start(waker, 0);
	mc_start(waker_by_ref, 0);
	runner(NULL);
	mc_join_all();
	finish();
}

MC_SCENARIO(task, two_runners)
{
	begin(1, 1, false);
	mc_start(waker, 0);
	mc_start(runner, 0);
	runner(NULL);
	mc_join_all();
	finish();
}

MC_SCENARIO_WITH(task, the_driver_wakes, .stale = 1)
{
	begin(2, 2, false);
	mc_start(batch, 0);
	mc_start(waker, 0);
	runner(NULL);
	mc_join_all();
	finish();
}

/* The task ends of its own accord; a waker has the last reference. */
MC_SCENARIO(task, wakes_against_completion)
{
	begin(0, 2, false);
	mc_start(waker, 0);
	mc_start(waker_by_ref, 0);
	runner(NULL);
	mc_join_all();
	mc_assert(polls == 1);
	finish();
}

MC_SCENARIO(task, cancel_a_waiting_task)
{
	begin(1, 0, true);
	mc_start(canceller, 0);
	runner(NULL);
	mc_join_all();
	mc_assert(finish() == -ECANCELED);
}

MC_SCENARIO(task, cancel_against_wake)
{
	int64_t result;

	begin(1, 1, true);
	mc_start(canceller, 0);
	mc_start(waker, 0);
	runner(NULL);
	mc_join_all();
	result = finish();
	mc_assert(result == 7 || result == -ECANCELED);
}

MC_SCENARIO(task, cancel_against_completion)
{
	int64_t result;

	begin(0, 0, true);
	mc_start(canceller, 0);
	runner(NULL);
	mc_join_all();
	result = finish();
	mc_assert(result == 7 || result == -ECANCELED);
}

MC_SCENARIO(task, the_close_of_the_scheduler_against_a_poll)
{
	int64_t result;

	begin(1, 1, true);
	mc_start(closer_of_all, 0);
	mc_start(waker, 0);
	runner(NULL);
	mc_join_all();
	result = finish();
	mc_assert(result == 7 || result == -ECANCELED);
}

/* As skua_task_wait and skua_join. */
static void joiner(void *unused)
{
	struct sk_thread_waker *own = sk_thread_waker_new();
	skua_cx cx;

	(void)unused;
	sk_thread_waker_cx(own, &cx);
	while (!sk_task_is_complete(handle) && sk_slot_wait(&handle->join, &cx) != 0)
		sk_thread_waker_park(own);
	sk_thread_waker_free(own);
	mc_assert(sk_task_take_result(&handle) == expected);
}

MC_SCENARIO(task, join_against_completion)
{
	begin(0, 0, true);
	mc_start(joiner, 0);
	run_rest();
	mc_join_all();
	finish();
}

MC_SCENARIO_WITH(task, join_against_completion_after_a_wake, .stale = 1)
{
	int one, two;

	begin(1, 1, true);
	one = mc_start(joiner, 0);
	two = mc_start(waker, 0);
	runner(NULL);
	mc_join(two);
	run_rest();
	mc_join(one);
	finish();
}

static void closer(void *unused)
{
	(void)unused;
	sk_task_close_handle(handle);
	handle = NULL;
}

MC_SCENARIO(task, close_against_completion)
{
	begin(0, 1, true);
	mc_start(closer, 0);
	mc_start(waker, 0);
	runner(NULL);
	mc_join_all();
	finish();
}

/* Waits, and then loses interest: the waker in the slot is dropped or used. */
static void impatient(void *unused)
{
	struct sk_thread_waker *own = sk_thread_waker_new();
	skua_cx cx;

	(void)unused;
	sk_thread_waker_cx(own, &cx);
	if (!sk_task_is_complete(handle))
		sk_slot_wait(&handle->join, &cx);
	sk_task_close_handle(handle);
	handle = NULL;
	sk_thread_waker_free(own);
}

MC_SCENARIO(task, a_join_that_is_given_up)
{
	begin(0, 0, true);
	mc_start(impatient, 0);
	mc_start(runner, 0);
	mc_join_all();
	finish();
}

/* The scheduler is freed while the task waits, and somebody wakes it or waits for it. */
static void against_free(void (*run_thread)(void *), unsigned wakers, bool joinable)
{
	skua_task *next;

	begin(1, wakers, joinable);
	next = sk_inbox_take(&sched->workers[0]->inbox);
	mc_start(run_thread, 0);
	/* Polled once, in no list: it is the free's own to abandon if it has not been woken. */
	sk_fetch_xor(&next->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	next->owned = true;
	sched->workers[0]->owned = next;
	if ((sk_fetch_xor(&next->state, SK_TASK_RUNNING, SK_ACQ_REL) & SK_TASK_SCHEDULED) != 0)
		sk_sched_inject(sched, next);
	mc_assert(sk_sched_free(sched) == 1);
	mc_join_all();
}

MC_SCENARIO(task, a_wake_against_the_free_of_the_scheduler)
{
	against_free(waker, 1, false);
}

MC_SCENARIO(task, a_wake_by_reference_against_the_free_of_the_scheduler)
{
	against_free(waker_by_ref, 1, false);
}

MC_SCENARIO(task, a_join_against_the_free_of_the_scheduler)
{
	expected = -ESHUTDOWN;
	against_free(joiner, 0, true);
}
