/* run.c - one poll of a task by its worker: the runner's side of the state word (task.h), and the list of
 * tasks that have once been pending here. */
#include "sched/run.h"

#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/task.h"
#include "sched/worker.h"

/* ---- The list of tasks that have once been pending here ---- */

static void own(struct sk_worker *worker, skua_task *task)
{
	task->owned = true;
	task->owner = (uint16_t)worker->index;
	task->owned_previous = NULL;
	task->owned_next = worker->owned;
	if (worker->owned != NULL)
		worker->owned->owned_previous = task;
	worker->owned = task;
}

static void disown(struct sk_worker *worker, skua_task *task)
{
	if (task->owned_previous != NULL)
		task->owned_previous->owned_next = task->owned_next;
	else
		worker->owned = task->owned_next;
	if (task->owned_next != NULL)
		task->owned_next->owned_previous = task->owned_previous;
	sk_task_release(task);
}

/* Ends the life reference of a task that this worker has completed. */
static void bury(struct sk_worker *worker, skua_task *task)
{
	struct sk_worker *owner;
	skua_task *head;

	if (!task->owned) {
		sk_task_release(task);
		return;
	}
	owner = worker->sched->workers[task->owner];
	if (owner == worker) {
		disown(worker, task);
		return;
	}
	head = sk_load(&owner->dead, SK_RELAXED);
	do
		task->next = head;
	/* Release: pairs with the acquire in reap. */
	while (!sk_cas_weak(&owner->dead, &head, task, SK_RELEASE, SK_RELAXED));
}

void sk_reap(struct sk_worker *worker)
{
	skua_task *task;

	if (sk_load(&worker->dead, SK_RELAXED) == NULL)
		return;
	/* Acquire: pairs with the release in bury. */
	task = sk_exchange(&worker->dead, NULL, SK_ACQUIRE);
	while (task != NULL) {
		skua_task *next = task->next;

		disown(worker, task);
		task = next;
	}
}

/* ---- Running a task ---- */

/* SCHEDULED becomes RUNNING. Returns whether the task was cancelled before. */
static bool begin_poll(struct sk_worker *worker, skua_task *task)
{
	/* Acquire: pairs with the release of each wake, also of one that found the task queued
	 * already, and of the end of the poll before. Nobody learns from this that it runs. */
	uint64_t old = sk_load(&task->state, SK_ACQUIRE);

	if (sk_task_is_alone(task, old, worker->index))
		sk_store(&task->state, old ^ (SK_TASK_SCHEDULED | SK_TASK_RUNNING), SK_RELAXED);
	else
		old = sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQUIRE);
	sk_assert((old & (SK_TASK_SCHEDULED | SK_TASK_RUNNING | SK_TASK_COMPLETE)) ==
		  SK_TASK_SCHEDULED);
	sk_store(&task->last_worker, (uint16_t)worker->index, SK_RELAXED);
	return (old & SK_TASK_CANCELLED) != 0;
}

/* The references that were taken in advance and not used (sk_hold_running), in units of the state word. */
static uint64_t take_surplus(struct sk_worker *worker)
{
	uint64_t surplus = (uint64_t)worker->held * SK_TASK_REFERENCE;

	worker->held = 0;
	return surplus;
}

/* The task is pending: RUNNING goes. If it was woken meanwhile, it is queued again. */
static void end_poll(struct sk_worker *worker, skua_task *task)
{
	uint64_t surplus = take_surplus(worker), old;
	bool again;

	if (!task->owned) {
		own(worker, task);
		sk_scope_child_waits(task);
	}
	again = task->again;
	task->again = false;
	/* Acquire: what a waker has brought that is gone again goes on to the next poll through the
	 * queue, as what this poll did. */
	old = sk_load(&task->state, SK_ACQUIRE) - surplus;
	if (again)
		old |= SK_TASK_SCHEDULED;
	if (sk_task_is_alone(task, old, worker->index)) {
		sk_store(&task->state, old ^ SK_TASK_RUNNING, SK_RELAXED);
	} else {
		if (again)
			sk_fetch_or(&task->state, SK_TASK_SCHEDULED, SK_RELAXED);
		/* Release: the next poll, on any worker, sees what this one did. What comes with a
		 * wake in between is acquired by that poll. */
		old = sk_fetch_sub(&task->state, SK_TASK_RUNNING + surplus, SK_RELEASE);
	}
	if ((old & SK_TASK_SCHEDULED) != 0)
		sk_worker_queue_last(worker, task);
}

/* Polls the future, or, after its end, the scopes that the task has left open. */
static skua_poll poll_task(skua_cx *cx, skua_task *task)
{
	skua_future *future = task->future;
	skua_poll result;

	if (task->ending)
		return sk_scopes_end(cx, 0);
	result = future->ops->poll(cx, future);
	if (result != SKUA_PENDING && task->obligations != NULL)
		return sk_scopes_end(cx, result);
	return result;
}

void sk_run(struct sk_worker *worker, skua_task *task)
{
	struct sk_sched *sched = worker->sched;
	skua_cx cx = {
		.waker = {&sk_task_waker_ops, task},
		.task = task,
		.runtime = sched->options.runtime,
		.worker = worker,
		.budget = (int32_t)sched->options.budget,
	};
	skua_poll result;

	if (begin_poll(worker, task) && task->obligations != NULL)
		sk_scopes_cancel(task);
	if (!task->owned)
		sk_scope_child_begins(task);
	worker->running = task;
	result = poll_task(&cx, task);
	worker->running = NULL;

	if (result == SKUA_PENDING) {
		end_poll(worker, task);
		return;
	}
	sk_task_complete(task, result, take_surplus(worker));
	bury(worker, task);
	sk_count(&worker->completed, 1);
	if (worker->phase != SK_PHASE_OPEN)
		sk_sched_task_ended(sched);
}
