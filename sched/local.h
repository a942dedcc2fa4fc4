/*
 * local.h - task-local values: tables that tasks share, and copy when they change them.
 *
 * A task has a table, or none; a child of a scope begins with that of its spawner. A table that one
 * task alone refers to is changed in place, any other one is copied; a value belongs to all tables
 * that have it, and is released with the last. So a task that sets the same key again and again,
 * and spawns in between, keeps nothing of the old values but what its children see.
 *
 * The table hangs in the task's extension or, for a task that has none, in an obligation.
 */
#ifndef SKUA_SCHED_LOCAL_H
#define SKUA_SCHED_LOCAL_H

#include "sched/sync.h"
#include "sched/task.h"

#include "skua/local.h"

struct sk_locals;

/* The table of a task, lent, or NULL. For its runner. */
struct sk_locals *sk_locals_of(const skua_task *task);

/* One more reference; returns the table. NULL is allowed in both. */
struct sk_locals *sk_locals_hold(struct sk_locals *locals);
void sk_locals_release(struct sk_locals *locals);

/* See skua/local.h. For the runner of the task. */
int sk_local_set(skua_task *task, const skua_local_key *key, void *value);
void *sk_local_get(const skua_task *task, const skua_local_key *key);

#endif /* SKUA_SCHED_LOCAL_H */
