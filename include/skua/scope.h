/*
 * skua/scope.h - scopes: tasks that end before their owner does.
 *
 * A scope belongs to the task that opens it. Tasks that are spawned into it are its children; the
 * owner awaits them all with skua_scope_join, which also frees the scope:
 *
 *     rc = skua_scope_new(cx, NULL, &self->scope);
 *     for (i = 0; i < n; i++)
 *             rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
 *     SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
 *
 * No child outlives its owner: a task that ends with a scope still open is complete only when all
 * the children have ended, which are cancelled then. So a child may use its owner's struct; what the
 * owner frees in its own body, it frees after the join. (The idea is that of Trio's nurseries and
 * Kotlin's coroutineScope.) A detached task, skua_spawn(rt, future, NULL), is the other kind: it
 * belongs to the runtime, and ends when it ends or when that is freed.
 *
 * A scope is cancelled by the first error of a child (SKUA_ON_ERROR_CANCEL), by its deadline, by
 * skua_scope_cancel, when its owner is cancelled, or when its owner ends. Its children are then
 * cancelled as by skua_cancel, and so are the scopes that they have open, and so on all the way
 * down: each at the moment when its owner would next be polled, awaiting or not. A child that is in
 * a poll may do up to SKUA_BUDGET operations more that need not wait. A scope that was opened
 * inside a skua_shield, or after its owner had been told of its cancellation, is one for clean-up:
 * the cancellation of the owner does not reach it by itself. Nothing more can be spawned into a
 * cancelled scope.
 *
 * An interrupted skua_scope_join cancels the children; an interrupted skua_scope_next or _room does
 * not. Where one of these is awaited under a skua_timeout, with a token or in a branch, what comes
 * after an error is skua_scope_cancel, and then the join, or that waits for children that nobody has
 * told:
 *
 *     SKUA_AWAIT(rc = skua_timeout(cx, &self->timer, SKUA_SEC, skua_scope_next(cx, scope, &result)));
 *     if (rc < 0)
 *             skua_scope_cancel(scope);
 *     SKUA_AWAIT(rc = skua_scope_join(cx, &self->scope));
 *
 * Under a foreign executor a scope has no owner that could end: it must be joined, and if it has a
 * deadline, before the runtime is freed.
 */
#ifndef SKUA_SCOPE_H
#define SKUA_SCOPE_H

#include "cancel.h"
#include "future.h"
#include "task.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct skua_scope skua_scope;

/* What the first error of a child does to its siblings: cancels them, or nothing. */
enum { SKUA_ON_ERROR_CANCEL = 0, SKUA_ON_ERROR_GO_ON = 1 };

/* Whether the children's results are kept for skua_scope_next, and in which order it gives them. */
enum { SKUA_RESULTS_NONE = 0, SKUA_RESULTS_AS_THEY_COME = 1, SKUA_RESULTS_IN_ORDER = 2 };

/* What a scope can be asked for. Zeroed, but for struct_size, it is what NULL gives. */
typedef struct skua_scope_options {
	size_t struct_size; /* sizeof(skua_scope_options) */
	uint32_t on_error;  /* SKUA_ON_ERROR_* */
	uint32_t results;   /* SKUA_RESULTS_* */
	uint32_t limit;     /* how many children run at once; 0: all. Others wait, in order */
	uint32_t reserved;  /* 0 */
	uint64_t deadline;  /* a moment of skua_now() at which it is cancelled; 0: none */
	skua_token
		*token; /* cancelled with this one, of which the scope keeps a reference; or NULL */
	uint64_t more;  /* 0 */
} skua_scope_options;

/* One child's result. */
typedef struct skua_scope_result {
	int64_t result; /* what its poll function has returned */
	uint64_t index; /* which spawn into this scope it was, from 0 */
} skua_scope_result;

/*
 * Opens a scope that belongs to the task that polls. `options` may be NULL. A deadline that lies
 * nearer, of a skua_timeout around the owner's awaits or of a scope further out, wins by itself.
 *
 * Returns 0; -EINVAL if an argument is not one that this version knows, or the context has no
 * runtime; -ENOMEM. From a poll; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_scope_new(skua_cx *cx, const skua_scope_options *options,
					  skua_scope **scope);

/*
 * skua_spawn into a scope, by its owner or by a task that is inside it: a child, or a child of a
 * scope that a child has open. The child has the priority of the task that spawns it, and sees its
 * task-local values (skua/local.h). `task` takes a handle, for skua_join or skua_detach as ever;
 * NULL: none. The scope awaits the child in both cases.
 *
 * Returns 0; or else the caller still owns the future: -ECANCELED if the scope is cancelled,
 * -ESHUTDOWN, -ENOMEM; -EINVAL if an argument is NULL, the future is none, the caller is not inside
 * the scope, or the owner has begun to join it. From a poll; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_scope_spawn(skua_cx *cx, skua_scope *scope,
					    const skua_future *future, skua_task **task);

/* The same with options, whose priority is then the child's; NULL is the same as none. Returns what
 * skua_scope_spawn does, and -EINVAL for options that skua_spawn_with refuses. From a poll; never
 * blocks. */
SKUA_API SKUA_MUST_USE int skua_scope_spawn_with(skua_cx *cx, skua_scope *scope,
						 const skua_future *future,
						 const skua_spawn_options *options,
						 skua_task **task);

/*
 * Awaits that fewer children run than the scope's limit, so that the next one begins at once; ready
 * at once without a limit. Ready with 0; -ECANCELED; -EINVAL if scope is NULL or the caller is not
 * its owner; -ENOMEM (only under a foreign executor). From a poll of the owner's.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_scope_room(skua_cx *cx, skua_scope *scope);

/*
 * Awaits the next result of a child, in the order that the scope was asked for. Ready with 1, and
 * *result is filled; 0 if the results of all children have been taken; -ECANCELED, which cancels
 * nothing by itself; -EINVAL if an argument is NULL, the scope keeps no results or the caller is
 * not its owner; -ENOMEM (only under a foreign executor). A child's memory is kept until its result
 * has been taken. From a poll of the owner's.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_scope_next(skua_cx *cx, skua_scope *scope,
						 skua_scope_result *result);

/*
 * Awaits the end of every child, and frees the scope: when ready, *scope is NULL. Results that were
 * not taken are discarded. When this await is interrupted (the owner is cancelled, a skua_timeout
 * around it has run out), the children are cancelled, it goes on waiting until they have ended, and
 * gives -ECANCELED then: so nothing is left behind, and a skua_timeout around it works.
 *
 * Ready with 0; -ECANCELED if it was interrupted; else with what came first of the error of a
 * child, -ETIMEDOUT (the deadline passed), -EINTR (its token was cancelled) and -ECANCELED
 * (skua_scope_cancel). The -ECANCELED of a
 * child that was itself cancelled is no error. -EINVAL if scope or *scope is NULL or the caller is
 * not its owner; -ENOMEM (only under a foreign executor): then *scope is kept. From a poll of the
 * owner's.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_scope_join(skua_cx *cx, skua_scope **scope);

/* Cancels a scope: its children are asked to stop. Any thread that knows that the scope has not
 * been joined: its owner, or a task inside it. NULL is allowed. Never blocks. */
SKUA_API void skua_scope_cancel(skua_scope *scope);

/* Whether it is cancelled, for whatever reason. Same callers; never blocks. */
SKUA_API int skua_scope_cancelled(const skua_scope *scope);

/* How many children have not ended, those that wait to begin included; roughly, while children
 * begin and end. Same callers; never blocks. */
SKUA_API uint64_t skua_scope_count(const skua_scope *scope);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_SCOPE_H */
