/* task.c - the life of a task; see task.h for the state word. */
#include "sched/task.h"

#include <errno.h>
#include <string.h>

#include "sched/guard.h"
#include "sched/live.h"
#include "sched/local.h"
#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/worker.h"

/* A cell of `size` bytes with the header filled in; NULL: no memory. */
static skua_task *new_cell(struct sk_sched *sched, size_t size, bool joinable)
{
	skua_task *task = size <= UINT32_MAX ? sk_malloc(size) : NULL;
	uint64_t state = SK_TASK_SCHEDULED | SK_TASK_REFERENCE;

	if (task == NULL)
		return NULL;
	memset(task, 0, sizeof *task);
	if (joinable)
		state += SK_TASK_JOINABLE | SK_TASK_REFERENCE;
	sk_init(&task->state, state);
	task->sched = sched;
	task->future = sk_task_payload(task);
	task->size = (uint32_t)size;
	sk_live_add(task);
	return task;
}

/* Larger payloads than this have no memory: so no sum of sizes is too large. */
static const size_t largest_payload = UINT32_MAX / 2;

skua_task *sk_task_new(struct sk_sched *sched, const void *payload, size_t size, bool joinable)
{
	skua_task *task = NULL;

	if (size <= largest_payload)
		task = new_cell(sched, sizeof(skua_task) + size, joinable);
	if (task != NULL && payload != NULL)
		memcpy(sk_task_payload(task), payload, size);
	return task;
}

skua_task *sk_task_new_extended(struct sk_sched *sched, const void *payload, size_t size,
				bool joinable)
{
	const size_t unit = _Alignof(struct sk_task_extension);
	size_t whole = sizeof(skua_task) + sizeof(struct sk_task_extension);
	skua_task *task = NULL;

	if (size <= largest_payload)
		task = new_cell(sched, whole + (size + unit - 1) / unit * unit, joinable);
	if (task == NULL)
		return NULL;
	memcpy(sk_task_payload(task), payload, size);
	task->extended = true;
	memset(sk_task_extension(task), 0, sizeof(struct sk_task_extension));
	return task;
}

static void task_free(skua_task *task)
{
	/* Its end has fired the slot, or the handle took its waiter out when it went. */
	sk_assert(!sk_is_waiter(sk_load(&task->join, SK_RELAXED)));
	sk_live_remove(task);
	sk_free_sized(task, task->size);
}

/* Takes a reference away, and flags with it; the last reference frees the cell. */
static void subtract(skua_task *task, uint64_t amount)
{
	/* Acquire: what all others did with the task comes before its end. */
	uint64_t old = sk_load(&task->state, SK_ACQUIRE);

	/* If it is the last one, nobody is left who could take one more, or give one up. */
	if (old >= 2 * SK_TASK_REFERENCE)
		/* Release: so does what this thread did. Acquire: as above. */
		old = sk_fetch_sub(&task->state, amount, SK_ACQ_REL);
	sk_assert(old >= SK_TASK_REFERENCE);
	if (old < 2 * SK_TASK_REFERENCE)
		task_free(task);
}

void sk_task_discard(skua_task *task)
{
	task_free(task);
}

void sk_task_release(skua_task *task)
{
	subtract(task, SK_TASK_REFERENCE);
}

void sk_task_let_go(skua_task *task)
{
	struct sk_worker *worker = sk_worker_current();

	if (worker != NULL && worker->running == task)
		sk_release_running(worker);
	else
		sk_task_release(task);
}

/* Whether the waker that saw this state has to queue the task. */
static bool must_queue(uint64_t state)
{
	return (state & (SK_TASK_SCHEDULED | SK_TASK_RUNNING | SK_TASK_COMPLETE)) == 0;
}

/* Sets SCHEDULED. Release: what came before the wake is seen by the poll. */
static bool mark(skua_task *task)
{
	return must_queue(sk_fetch_or(&task->state, SK_TASK_SCHEDULED, SK_ACQ_REL));
}

bool sk_task_mark_and_release(skua_task *task)
{
	uint64_t state = sk_load(&task->state, SK_RELAXED);

	/* A task that is not complete keeps its life reference: this one is never the last. */
	while ((state & SK_TASK_COMPLETE) == 0) {
		uint64_t next = (state | SK_TASK_SCHEDULED) - SK_TASK_REFERENCE;

		if (sk_cas_weak(&task->state, &state, next, SK_ACQ_REL, SK_RELAXED))
			return must_queue(state);
	}
	sk_task_release(task);
	return false;
}

void sk_task_wake(skua_task *task)
{
	struct sk_worker *worker = sk_worker_current();
	unsigned side;

	if (worker != NULL && worker->sched == task->sched) {
		if (mark(task))
			sk_worker_queue_hot(worker, task);
		return;
	}
	/* The runtime may be freed as soon as the task has run: guard.h keeps it until we left. */
	side = sk_guard_enter();
	if (mark(task))
		sk_sched_inject(task->sched, task);
	sk_guard_leave(side);
}

void sk_task_wake_and_release(skua_task *task)
{
	struct sk_worker *worker = sk_worker_current();
	unsigned side;

	if (worker != NULL && worker->sched == task->sched) {
		if (sk_task_mark_and_release(task))
			sk_worker_queue_hot(worker, task);
		return;
	}
	side = sk_guard_enter();
	if (sk_task_mark_and_release(task))
		sk_sched_inject(task->sched, task);
	sk_guard_leave(side);
}

/* What hangs in the task itself is taken back. */
static void release_locals(skua_task *task)
{
	struct sk_task_extension *extension = sk_task_extension(task);

	if (extension == NULL)
		return;
	sk_locals_release(extension->locals);
	extension->locals = NULL;
}

void sk_task_complete(skua_task *task, int64_t result, uint64_t surplus)
{
	uint64_t old;

	sk_obligations_take_back(&task->obligations, task);
	release_locals(task);
	task->result = result;
	/* Acquire: whoever has let go of the task is done with it. */
	old = sk_load(&task->state, SK_ACQUIRE) - surplus;
	if (old < 2 * SK_TASK_REFERENCE && !task->owned)
		/* Alone, and so without a handle: nobody asks. */
		sk_store(&task->state, old ^ (SK_TASK_RUNNING | SK_TASK_COMPLETE), SK_RELAXED);
	else
		/* Release: pairs with the acquire in sk_task_is_complete. */
		old = sk_fetch_sub(&task->state, SK_TASK_RUNNING - SK_TASK_COMPLETE + surplus,
				   SK_RELEASE);
	sk_assert((old & (SK_TASK_RUNNING | SK_TASK_COMPLETE)) == SK_TASK_RUNNING);
	if ((old & SK_TASK_JOINABLE) != 0)
		sk_waiter_wake(sk_slot_fire(&task->join));
	if (task->extended)
		sk_scope_child_ends(task, result);
}

void sk_task_abandon(skua_task *task)
{
	skua_future *future = task->future;

	sk_obligations_take_back(&task->obligations, task);
	if (!task->blocking && !task->ending && future->ops->drop != NULL)
		future->ops->drop(future);
	release_locals(task);
	task->result = -ESHUTDOWN;
	task->abandoned = true;
	/* Release: as in sk_task_complete. */
	sk_fetch_or(&task->state, SK_TASK_COMPLETE, SK_RELEASE);
	sk_waiter_wake(sk_slot_fire(&task->join));
	if (task->extended)
		sk_scope_child_ends(task, -ESHUTDOWN);
}

const char *sk_task_name(const skua_task *task)
{
	const struct sk_task_extension *extension = sk_task_extension(task);

	if (task->blocking)
		return sk_blocking_job_name(task);
	if (extension != NULL && extension->name != NULL)
		return extension->name;
	return task->future->ops->name != NULL ? task->future->ops->name : "unnamed";
}

static int cancel(skua_task *task)
{
	/* Release: pairs with the acquire in skua_cx_cancelled; what came before is seen by the task
	 * when it is told. Acquire: what came before the end is seen by who is told that it is too late. */
	uint64_t old = sk_fetch_or(&task->state, SK_TASK_CANCELLED, SK_ACQ_REL);

	if ((old & SK_TASK_COMPLETE) != 0)
		return -ESRCH;
	if ((old & SK_TASK_CANCELLED) == 0) {
		if (task->blocking)
			sk_blocking_withdraw(task);
		else
			sk_task_wake(task);
	}
	return 0;
}

int sk_task_cancel(skua_task *task)
{
	unsigned side;
	int rc;

	if (!task->blocking)
		return cancel(task);
	/* The pool is looked at after this; if the job ends meanwhile, whoever ends it has seen the
	 * cancel, and so this count, when it gives the life reference up (guard.h). */
	side = sk_guard_enter();
	rc = cancel(task);
	sk_guard_leave(side);
	return rc;
}

void sk_task_close_handle(skua_task *task)
{
	/* Only the holder of the handle waits in the slot: nobody is left to be woken. */
	uintptr_t word = sk_load(&task->join, SK_RELAXED);

	if (sk_is_waiter(word) && sk_cas(&task->join, &word, SK_SLOT_EMPTY, SK_RELAXED, SK_RELAXED))
		sk_waiter_drop(word);
	/* JOINABLE is set, so subtracting it clears it. */
	subtract(task, SK_TASK_REFERENCE + SK_TASK_JOINABLE);
}

int64_t sk_task_take_result(skua_task **task)
{
	int64_t result = (*task)->result;

	sk_task_close_handle(*task);
	*task = NULL;
	return result;
}

/* ---- The task as a waker ---- */

static void *waker_clone(void *data)
{
	struct sk_worker *worker = sk_worker_current();

	if (worker != NULL && worker->running == data)
		sk_hold_running(worker);
	else
		sk_task_hold(data);
	return data;
}

static void waker_wake(void *data)
{
	sk_task_wake_and_release(data);
}

static void waker_wake_by_ref(void *data)
{
	sk_task_wake(data);
}

static void waker_drop(void *data)
{
	sk_task_let_go(data);
}

const skua_waker_ops sk_task_waker_ops = {
	waker_clone,
	waker_wake,
	waker_wake_by_ref,
	waker_drop,
};
