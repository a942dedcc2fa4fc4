/*
 * scope.h - scopes: the children of one owner, counted, so that the owner does not end before them.
 *
 * Counting. `open` is BIAS plus the spawns by children less the ends, and the spawns by the owner
 * are in a counter of its own (`owned_spawns`): so a spawn by the owner writes no line that the
 * children write. When the owner begins to join, it takes BIAS away and adds its own spawns. From
 * then on `open` is the number of children that have not ended, only a child can add to it, and
 * whoever takes it to zero is the last one:
 *
 *     child, at its end     ... everything else; open - 1; if that was the last one: fire `done`
 *     owner, in its join    open - (BIAS - owned_spawns); if children are left: wait for `done`
 *
 * The count is also what keeps the scope there for a child, so the fire is the last touch by
 * anybody, and the owner frees the scope only after it (as with timers, timer.h). It is the biased
 * counting of Choi, Shull and Torrellas (PACT 2018) with one count to be merged instead of many.
 *
 * Cancelling. A child is in the scope's list from its first PENDING until its end; that is the only
 * thing for which it takes the lock, so a child that never waits touches `open` and nothing else.
 *
 *     cancel    cancelled = 1; lock; take children out of the list; unlock; cancel each
 *     child     at its first PENDING: lock; if cancelled: be told, or else into the list; unlock
 *
 * By the lock one of the two sees the other. The list has a reference to each child in it, because
 * else the child's runner would take itself to be alone with its state word (task.h); who takes a
 * child out takes that over. A child is also told if the scope is cancelled before its first poll.
 * So an await need not look at the scope: one that has to wait brings the child into the list.
 *
 * A cancelled task cancels its open scopes when it is next polled, before it is polled
 * (sk_scopes_cancel): on its own worker, since the list of its obligations is its runner's.
 *
 * Results. A child that has ended is pushed on a stack, with a reference, while it still counts (as
 * in inbox.h); who pushes the first one fires `news`. The owner turns what it takes into a list,
 * or, for the order of the spawns, a pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986), which
 * needs no memory but the children's links. All have come when as many were taken as there were
 * spawns: what a child has spawned is counted before the child is pushed.
 *
 * Limit. Under the lock: `running` children are queued or run; while others wait, running == limit.
 *
 * The end of the owner. A task whose future is ready while it has open scopes is not complete: it
 * cancels and awaits them (sk_scopes_end), and its future is not polled again. If it is abandoned,
 * with the runtime, its children are so before it (sk_sched_free); if it was a foreign executor's, the
 * scope is nobody's, and its last child frees it.
 */
#ifndef SKUA_SCHED_SCOPE_H
#define SKUA_SCHED_SCOPE_H

#include "sched/obligation.h"
#include "sched/sync.h"
#include "sched/task.h"
#include "sched/timer.h"
#include "sched/token.h"

#include "skua/scope.h"

struct skua_scope {
	/* What all read and nearly nobody writes. */
	SK_ATOMIC(uint32_t) cancelled SK_ALIGNED;
	SK_ATOMIC(int32_t) error; /* the first one, why it was cancelled included; or 0 */
	struct sk_sched *sched;
	skua_task *owner; /* NULL: a foreign executor */
	uint32_t on_error, results, limit;
	bool spared;   /* the cancellation of the owner does not come here by itself */
	bool orphaned; /* nobody will join it; written and read by the last thread of the runtime */

	/* The owner's. */
	SK_ATOMIC(uint64_t) owned_spawns SK_ALIGNED; /* others read it for skua_scope_count */
	struct sk_obligation obligation;
	bool joining;     /* the share is given up */
	bool finished;    /* every child has ended */
	bool interrupted; /* in its join */
	uint64_t taken;   /* results */
	skua_task *first; /* of the results that have come: a list, or a heap */
	bool has_deadline;
	struct sk_timer deadline;
	struct sk_token_listener listening; /* to a token, or to none */

	/* The children's. */
	SK_ATOMIC(int64_t) open SK_ALIGNED;
	SK_ATOMIC(uint64_t) numbers;  /* spawns so far, if results are wanted */
	SK_ATOMIC(skua_task *) ended; /* newest first, linked by their extensions */
	SK_ATOMIC(uint32_t)
	references; /* of the owner, an armed deadline, a token's cancellation */
	sk_slot done, news, room;
	sk_mutex lock;
	skua_task *pending;                /* a list, linked by their extensions */
	skua_task *waiting, *last_waiting; /* for their turn, linked by `next` */
	uint32_t running;
};

/* See skua/scope.h; what can be wrong with arguments has been looked at. */
int sk_scope_new(skua_cx *cx, struct sk_sched *sched, const skua_scope_options *options,
		 skua_scope **out);
int sk_scope_spawn(skua_cx *cx, skua_scope *scope, const skua_future *future,
		   const skua_spawn_options *options, skua_task **handle);
skua_poll sk_scope_room(skua_cx *cx, skua_scope *scope);
skua_poll sk_scope_next(skua_cx *cx, skua_scope *scope, skua_scope_result *result);
skua_poll sk_scope_join(skua_cx *cx, skua_scope **handle);
uint64_t sk_scope_count(const skua_scope *scope);

/* Whether the poll that goes on may spawn into a scope: it is its owner's, or inside it. */
bool sk_scope_is_around(const skua_scope *scope, const skua_cx *cx);

/* Cancels it; `error` is why, unless there is an error already. */
void sk_scope_cancel(skua_scope *scope, int error);

static inline bool sk_scope_is_cancelled(const skua_scope *scope)
{
	/* Acquire: pairs with the release in sk_scope_cancel; what came before is seen by who is
	 * told. */
	return sk_load(&scope->cancelled, SK_ACQUIRE) != 0;
}

/* The scope that a task is a child of, or NULL. */
static inline skua_scope *sk_scope_of(const skua_task *task)
{
	return task->extended ? sk_task_extension(task)->scope : NULL;
}

/* ---- The life of a child, for its runner; for any task ---- */

/* Before the first poll. */
static inline void sk_scope_child_begins(skua_task *task)
{
	skua_scope *scope = sk_scope_of(task);

	if (scope != NULL && sk_scope_is_cancelled(scope))
		sk_fetch_or(&task->state, SK_TASK_CANCELLED, SK_RELAXED);
}

/* At the end of its first poll that is PENDING. */
void sk_scope_child_waits(skua_task *task);

/* After it is complete. It may be the end of the scope, too. */
void sk_scope_child_ends(skua_task *task, int64_t result);

/* ---- Results (scope_results.c) ---- */

/* By a child that has ended: leaves its result, and its cell with the reference for this. */
void sk_scope_leave_result(skua_scope *scope, skua_task *task);

/* When every child has ended: lets go of what was not taken. */
void sk_scope_discard_results(skua_scope *scope);

/* ---- When the runtime is freed ---- */

/* In how many scopes a task is, one around the other; `most` if they are more. */
unsigned sk_scope_depth(const skua_task *task, unsigned most);

/* Calls a function for each child that waits for its turn in a scope of this owner. */
void sk_scopes_each_waiting(const skua_task *owner,
			    void (*function)(void *argument, skua_task *task), void *argument);

/* ---- The owner, for its runner ---- */

/* It was cancelled: so are the scopes that it has open. */
void sk_scopes_cancel(skua_task *owner);

/* Its future is ready with `result`, or was at an earlier call: cancels and awaits the scopes that
 * are open. What this returns counts instead. */
skua_poll sk_scopes_end(skua_cx *cx, skua_poll result);

#endif /* SKUA_SCHED_SCOPE_H */
