/*
 * skua/local.h - task-local values: what a task, and the tasks that it spawns into scopes, carry
 * along without passing it on by hand, such as the id of a request.
 *
 *     static const skua_local_key request_id = {"request id", free};
 *
 *     rc = skua_local_set(cx, &request_id, strdup(id));
 *     ...
 *     id = skua_local_get(cx, &request_id);
 *
 * A child of a scope (skua/scope.h) sees the values that its spawner saw at the moment of the
 * spawn; what either of them sets later, the other does not see. Other tasks begin without any. The
 * values are shared, not copied, and tasks that share one may run at the same time: so it is to be
 * constant, or to protect itself. (Go's context values and Python's contextvars are like this.)
 */
#ifndef SKUA_LOCAL_H
#define SKUA_LOCAL_H

#include "future.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is known of a value; static storage, for its address is what it is known by. */
typedef struct skua_local_key {
	const char *name; /* for messages */
	/* Called with a value when no task can see it any more, on whatever thread that happens,
	 * never under a lock of Skua's; must not block. NULL: there is nothing to be released. */
	void (*release)(void *value);
} skua_local_key;

/*
 * Sets a value for the task that polls, and takes it over. It takes the place of one with the same
 * key, which is released when no other task sees it any more. NULL is a value like any other.
 *
 * Returns 0; or else the value stays the caller's: -ENOMEM; -EINVAL if cx or key is NULL; -ENOTSUP
 * under a foreign executor. From a poll; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_local_set(skua_cx *cx, const skua_local_key *key, void *value);

/* The value that the task that polls sees, lent until that task sets another one or ends; NULL if
 * there is none, always under a foreign executor. From a poll; never blocks. */
SKUA_API void *skua_local_get(const skua_cx *cx, const skua_local_key *key);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_LOCAL_H */
