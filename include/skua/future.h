/*
 * skua/future.h - the future, the context it is polled with, and the waker that has it polled
 * again.
 *
 * A future is a struct whose first member is a `skua_future`. Its poll function moves it forward
 * and returns one skua_poll:
 *
 *     >= 0            ready, with a value
 *     negative errno  ready, with an error
 *     SKUA_PENDING    not ready: the waker of the context is registered with whatever it waits for,
 *                     and waking it means "poll me again"
 *
 * An operation is any expression of type skua_poll that takes a skua_cx, such as
 * skua_read(cx, conn, buf, n). A poll may be repeated at any time (a spurious wake): an operation
 * that is not ready then says SKUA_PENDING again.
 *
 * Before its first poll a future may be copied; after it, it must stay where it is.
 */
#ifndef SKUA_FUTURE_H
#define SKUA_FUTURE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t skua_poll;

#define SKUA_PENDING INT64_MIN

typedef struct skua_cx skua_cx;
typedef struct skua_future skua_future;
typedef struct skua_runtime skua_runtime;
typedef struct skua_task skua_task;

/* What is known about a kind of future. One constant per kind; it outlives every such future. */
typedef struct skua_future_ops {
	/*
	 * Moves the future forward; see above for the result. Called on one worker at a time, never
	 * again after it returned anything but SKUA_PENDING. It must not block.
	 */
	skua_poll (*poll)(skua_cx *cx, skua_future *self);
	/*
	 * Releases what the future owns, when it will never be polled to its end: the runtime was
	 * freed and the task did not finish in the grace period. May be NULL. Not called otherwise:
	 * a future that returned a result has already cleaned up after itself.
	 */
	void (*drop)(skua_future *self);
	size_t size;      /* of the whole struct, in bytes: what a spawn copies */
	const char *name; /* for messages; static storage */
	const char *file; /* where it is defined, for messages; may be NULL */
} skua_future_ops;

/* The header of every future, its first member. */
struct skua_future {
	const skua_future_ops *ops;
	uint32_t resume; /* a coroutine's resume point; other futures may use it as they like */
	uint32_t line;   /* the source line of the await it stands at, for messages; 0 if unknown */
};

/* ---- Wakers ---- */

/* What an executor must offer so that its tasks can be woken. All four may be called from any
 * thread, at any time, also after the task has finished, and must not block. */
typedef struct skua_waker_ops {
	void *(*clone)(void *data);      /* one more reference; returns the data of the new one, or
	                                    NULL if there is no memory */
	void (*wake)(void *data);        /* wakes, and gives the reference up */
	void (*wake_by_ref)(void *data); /* wakes, and keeps the reference */
	void (*drop)(void *data);        /* gives the reference up */
} skua_waker_ops;

/* The right to have a task polled once more. Waking twice before that poll is the same as once. */
typedef struct skua_waker {
	const skua_waker_ops *ops;
	void *data;
} skua_waker;

/*
 * A second waker for the same task, owned by the caller, who ends it with skua_waker_wake or
 * skua_waker_drop. Returns 0, or -ENOMEM (only a foreign executor's clone can fail). Any thread;
 * never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_waker_clone(const skua_waker *waker, skua_waker *clone);

/* Wakes and gives the waker up. Any thread; never blocks. */
SKUA_API void skua_waker_wake(skua_waker *waker);

/* Wakes and keeps the waker. Any thread; never blocks. */
SKUA_API void skua_waker_wake_by_ref(const skua_waker *waker);

/* Gives the waker up without waking; a zeroed waker is left alone. Any thread; never blocks. */
SKUA_API void skua_waker_drop(skua_waker *waker);

/* Whether both wake the same task: then a stored one need not be replaced. Any thread; never blocks. */
SKUA_API int skua_waker_same(const skua_waker *a, const skua_waker *b);

/* ---- The context of a poll ---- */

/*
 * What a poll is given: who to wake, which task and worker this is, how much it may still do.
 * Valid for this one poll only. The fields are private; a program has one of its own only to poll
 * futures from an executor that is not Skua's.
 */
struct skua_cx {
	skua_waker waker;
	skua_task *task;
	skua_runtime *runtime;
	void *worker;
	void *interrupts;
	int32_t budget;
	uint16_t due;
	uint16_t shields;
	uint64_t more[2];
};

/*
 * Prepares a context for an executor of one's own: `waker` is lent for as long as cx is used, and
 * `runtime` serves the operations that need one (timers, connecting) and may be NULL without them.
 * Use the same cx for every poll of a future. Cancellation, the budget and skua_yield belong to
 * Skua's own tasks; such a context has none of them. Any thread; never blocks.
 */
SKUA_API void skua_cx_init(skua_cx *cx, skua_runtime *runtime, const skua_waker *waker);

/* The waker of this poll, lent: clone it to keep it. From a poll; never blocks. */
SKUA_API const skua_waker *skua_cx_waker(const skua_cx *cx);

/* The runtime of this poll. From a poll; never blocks. */
SKUA_API skua_runtime *skua_cx_runtime(const skua_cx *cx);

/* Whether this task has been asked to stop (skua_cancel, or the runtime is being freed), no matter
 * whether an await has already reported it. From a poll; never blocks. */
SKUA_API int skua_cx_cancelled(const skua_cx *cx);

/*
 * For futures written by hand: what this await has to return at once instead of going on, or 0.
 * It is -ECANCELED, handed out once when the task is cancelled, once when the runtime is being
 * freed, and once for each thing around this await that wants it to end: a skua_timeout whose time is
 * up (which then makes -ETIMEDOUT of it), a token, a select that has another winner. Under a
 * skua_shield it is 0, but for what stands inside the shield. Call it first in a leaf's poll; when it
 * is not 0, take back whatever is registered and return it. From a poll; never blocks.
 */
SKUA_API int skua_cx_interrupt(skua_cx *cx);

/*
 * For futures written by hand: takes one unit of the task's budget (SKUA_BUDGET for each poll).
 * Returns 1 if there was one. Returns 0 if the task has done enough for now: its waker has been
 * woken, and the operation returns SKUA_PENDING although it could go on. From a poll; never blocks.
 */
SKUA_API int skua_cx_budget(skua_cx *cx);

/* Three of the above in line; skua_cx_interrupt as far as a branch of a composition has nothing to be
 * told. The functions themselves are there, too: for a pointer to one, and for other languages. */
static inline int skua_cx_interrupt_(skua_cx *cx)
{
	return cx->due == 0 && cx->shields > 0 ? 0 : skua_cx_interrupt(cx);
}
static inline void skua_waker_wake_by_ref_(const skua_waker *waker)
{
	waker->ops->wake_by_ref(waker->data);
}
static inline const skua_waker *skua_cx_waker_(const skua_cx *cx)
{
	return &cx->waker;
}
#define skua_cx_interrupt(cx) skua_cx_interrupt_(cx)
#define skua_cx_waker(cx) skua_cx_waker_(cx)
#define skua_waker_wake_by_ref(waker) skua_waker_wake_by_ref_(waker)

#ifdef __cplusplus
}
#endif

#endif /* SKUA_FUTURE_H */
