/* task.h - what every spawn asks of its arguments, and how a thread waits for a task. */
#ifndef SKUA_RUNTIME_TASK_INTERNAL_H
#define SKUA_RUNTIME_TASK_INTERNAL_H

#include <stdbool.h>

#include "skua/task.h"

/* Whether it can be made a task of. */
static inline bool sk_is_future(const skua_future *future)
{
	return future != NULL && future->ops != NULL && future->ops->poll != NULL &&
	       future->ops->size >= sizeof *future;
}

/* Whether this version knows them. */
static inline bool sk_are_spawn_options(const skua_spawn_options *options)
{
	return options->struct_size == sizeof *options &&
	       options->priority <= SKUA_PRIORITY_BACKGROUND && options->reserved == 0;
}

struct sk_thread_waker;

/* Sleeps until the waker, which waits for the task, has been woken since the last time; meanwhile the thread
 * counts as one that waits, for a clock that is paused. */
void sk_task_park(skua_task *task, struct sk_thread_waker *waker);

#endif /* SKUA_RUNTIME_TASK_INTERNAL_H */
