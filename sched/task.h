/*
 * task.h - the task: one cell of memory with the header, the future by value and the place for its
 * result, and the one word that says what may happen to it next.
 *
 * The state word: six flags and a count of references.
 *
 *     SCHEDULED      somebody must poll it: it is in a queue, or its runner will put it there
 *     RUNNING        a worker is polling it
 *     COMPLETE       it has a result and will never be polled again
 *     CANCELLED      it was asked to stop
 *     JOINABLE       a handle exists
 *
 *     from                 to                      by whom, with which operation
 *     (new)                SCHEDULED               spawn; plain, nobody else knows it
 *     idle                 SCHEDULED               a waker: or SCHEDULED; who set it, queues it
 *     SCHEDULED            RUNNING                 the worker that took it out of the queue: xor (*)
 *     RUNNING              RUNNING|SCHEDULED       a waker: or SCHEDULED; and does nothing else
 *     RUNNING              idle                    the runner, on PENDING: minus RUNNING (*)
 *     RUNNING|SCHEDULED    SCHEDULED               the same, and it queues the task again
 *     RUNNING[|SCHEDULED]  COMPLETE[|SCHEDULED]    the runner, with the result: plus COMPLETE, minus
 *                                                  RUNNING (*)
 *     any but RUNNING      COMPLETE                the last thread of a runtime that is freed, when
 *                                                  no worker runs any more: or
 *     The last three take references away as well that the runner had taken in advance (worker.h).
 *     (*) A runner that is alone with the task (sk_task_is_alone) writes what it has read, changed,
 *         instead: nobody else can write at that moment, and a plain store is some 20 cycles cheaper.
 *         A task that was spawned without a handle and has handed out no waker is such a task.
 *
 * Invariants.
 *   - A task is in at most one queue, and only while it is SCHEDULED and not RUNNING.
 *   - From spawn to COMPLETE there is one reference that belongs to nobody in particular (the life
 *     reference): queues, lists and the runner need none of their own. Others: one for the handle,
 *     one for each waker.
 *   - After the operation that clears RUNNING, the runner does not touch a task that it did not find
 *     SCHEDULED: another worker may already have ended and freed it.
 *   - Nobody writes the state word without having a reference, but: the owner of its list, when the
 *     runtime is closed; and who has the waker lent by the poll that goes on, which waits for it.
 *   - A job of the blocking pool is run by whoever takes it out of its queue, which the pool's lock
 *     makes one: a thread of the pool, who cancels it, or who closes the pool.
 *   - Every wake is a read-modify-write, also of a task that is already SCHEDULED: so what was
 *     written before the wake is seen by the poll that follows (tokio#7622 is what happens else).
 *
 * A task that has once answered PENDING is in the list of the worker that polled it then (`owner`),
 * so that a runtime that is being freed finds every task: what is in no list is in a queue. Only
 * the owner touches its list; another worker that ends such a task leaves it in the owner's dead
 * stack. So spawning and ending touch nothing that all workers share.
 */
#ifndef SKUA_SCHED_TASK_H
#define SKUA_SCHED_TASK_H

#include "sched/obligation.h"
#include "sched/sync.h"
#include "sched/waiter.h"

#include "skua/future.h"

struct sk_sched;

enum {
	SK_TASK_SCHEDULED = 1 << 0,
	SK_TASK_RUNNING = 1 << 1,
	SK_TASK_COMPLETE = 1 << 2,
	SK_TASK_CANCELLED = 1 << 3,
	SK_TASK_JOINABLE = 1 << 4,
	SK_TASK_REFERENCE = 1 << 8, /* one reference; the count is the rest of the word */
};

/* A task is told once that it was cancelled, and once that the runtime is closing. */
enum { SK_CANCEL_NONE, SK_CANCEL_OWN, SK_CANCEL_CLOSING };

struct skua_task {
	/* Aligned for anything, as malloc's blocks are: so is the payload, which begins at the end. */
	_Alignas(max_align_t) SK_ATOMIC(uint64_t) state;
	skua_task *next; /* in an inbox, a chain or a dead stack */
	struct sk_sched *sched;
	skua_future *future; /* in this cell, or the caller's own (skua_block_on) */
	sk_slot join;        /* fires when the task is complete */
	int64_t result;      /* written before COMPLETE */

	/* The rest belongs to the runner, and to the owner's list. */
	struct sk_obligation *obligations;
	skua_task *owned_previous, *owned_next; /* (a job has the first one in its queue) */
	uint32_t size;                          /* of the whole cell */
	SK_ATOMIC(uint16_t) last_worker;
	uint16_t owner;
	bool owned;        /* in the owner's list */
	uint8_t delivered; /* SK_CANCEL_*: which -ECANCELED an await has returned */
	bool yielded;      /* in the middle of skua_yield */
	bool again;        /* to be queued at the end of this poll */
	bool abandoned;    /* the runtime was freed before it ended */
	bool blocking;     /* a job of the blocking pool: never queued or polled */
	bool extended;     /* the cell ends with a struct sk_task_extension */
	bool ending;       /* its future is ready, and scopes of its are not (scope.h) */
	uint8_t priority;  /* SKUA_PRIORITY_* */
#ifdef SK_CHAOS
	skua_task *live_previous, *live_next; /* live.h */
	uint64_t number;                      /* in the order of spawns */
#endif
};

/* What not all tasks have, so that the others do without: the end of the cell. */
struct sk_task_extension {
	_Alignas(max_align_t) const char *name; /* instead of the future's, or NULL */
	struct skua_scope *scope;               /* that it is a child of, or NULL */
	struct sk_locals *locals;               /* or NULL; local.h */
	uint64_t number;                        /* of its spawn into the scope */
	/* In the scope's list while it runs, and among its results afterwards (scope.h). */
	skua_task *previous, *next;
};

/*
 * A new task with the life reference, and one more if it is to be joinable. The `size` bytes at
 * `payload` are copied behind the header; without a payload the caller fills them. NULL: no memory.
 */
skua_task *sk_task_new(struct sk_sched *sched, const void *payload, size_t size, bool joinable);

/* The same with an extension, which is zeroed. The payload must be given. */
skua_task *sk_task_new_extended(struct sk_sched *sched, const void *payload, size_t size,
				bool joinable);

/* The extension of a task, or NULL. */
static inline struct sk_task_extension *sk_task_extension(const skua_task *task)
{
	const size_t size = sizeof(struct sk_task_extension);

	if (!task->extended)
		return NULL;
	return (struct sk_task_extension *)(void *)((char *)(uintptr_t)task + task->size - size);
}

/* Where the payload is: the future, by value. */
static inline void *sk_task_payload(skua_task *task)
{
	return task + 1;
}

static inline void sk_task_hold(skua_task *task)
{
	/* Relaxed: whoever adds a reference has one. */
	sk_fetch_add(&task->state, SK_TASK_REFERENCE, SK_RELAXED);
}

/*
 * Whether whoever runs the task, between two polls, is alone with its state word, which has this
 * value: there is no reference but the life reference, and the list that it is in, if it is in one,
 * is that of this worker. Only a poll can make that untrue, by handing out its waker.
 */
static inline bool sk_task_is_alone(const skua_task *task, uint64_t state, unsigned worker)
{
	return state < 2 * SK_TASK_REFERENCE && (!task->owned || task->owner == worker);
}

/* Gives one reference up; the last one frees the cell. */
void sk_task_release(skua_task *task);

/* The same for who may be in a poll of this very task: then it costs less (sk_hold_running). */
void sk_task_let_go(skua_task *task);

/* Frees a cell that nobody else has seen, whatever its references. */
void sk_task_discard(skua_task *task);

/* Wakes: the task will be polled after this. By reference, or giving one reference up. */
void sk_task_wake(skua_task *task);
void sk_task_wake_and_release(skua_task *task);

/* Has a task queued again when the poll is over that goes on on this thread: as a wake, but without
 * touching the state word, which other threads may be writing by a waker that the poll has lent. */
static inline void sk_task_poll_again(skua_task *task)
{
	task->again = true;
}

/* The state half of a wake, for the driver, which queues whole batches: gives one reference up, and
 * returns true if the caller must now queue the task. */
bool sk_task_mark_and_release(skua_task *task);

/* Ends a task that the caller runs: the result, the joiner, the flags; gives references up that the caller
 * has besides (`surplus`, in units of the state word). The life reference is still his afterwards. */
void sk_task_complete(skua_task *task, int64_t result, uint64_t surplus);

/* Ends a task that will not be polled any more: drops the future. Only when no worker runs; other
 * threads may be in the middle of waking it, so its life reference is kept until sk_guard_wait. */
void sk_task_abandon(skua_task *task);

/* Asks it to stop, see skua_cancel. */
int sk_task_cancel(skua_task *task);

/* Gives the handle up: JOINABLE and its reference. */
void sk_task_close_handle(skua_task *task);

static inline bool sk_task_is_complete(const skua_task *task)
{
	/* Acquire: pairs with the xor in sk_task_complete; the result can be read. */
	return (sk_load(&task->state, SK_ACQUIRE) & SK_TASK_COMPLETE) != 0;
}

/* The result of a task that is complete, through its handle, which is gone with it. */
int64_t sk_task_take_result(skua_task **task);

/* What sort of future it is, for messages. */
const char *sk_task_name(const skua_task *task);

extern const skua_waker_ops sk_task_waker_ops;

#endif /* SKUA_SCHED_TASK_H */
