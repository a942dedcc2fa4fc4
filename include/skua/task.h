/*
 * skua/task.h - tasks: spawned futures that the workers run.
 *
 * A task lives in one block of memory: its header, the future by value, and the place where its
 * result waits. A handle (skua_task *) is needed only to join or to cancel; it is ended by exactly
 * one of skua_join, skua_task_wait and skua_detach, each of which sets it to NULL; otherwise the
 * cell leaks.
 */
#ifndef SKUA_TASK_H
#define SKUA_TASK_H

#include "future.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes a task of a future: copies future->ops->size bytes from `future`, which must not have been
 * polled, and has a worker poll the copy. On success the task owns what the future owned, and ends
 * by its own poll function: it is polled at least once, also when it is cancelled before that.
 *
 * `task` takes the handle; NULL detaches the task at once.
 *
 * Returns 0; -ENOMEM or -ESHUTDOWN, and the caller still owns the future; -EINVAL if an argument is
 * NULL or the size is less than a skua_future's. Any thread; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_spawn(skua_runtime *runtime, const skua_future *future,
				      skua_task **task);

/*
 * How urgent a task is. Interactive tasks run before normal ones and those before background ones, but
 * none starves: docs/semantics.md states the bounds.
 */
enum { SKUA_PRIORITY_NORMAL = 0, SKUA_PRIORITY_INTERACTIVE = 1, SKUA_PRIORITY_BACKGROUND = 2 };

/* What skua_spawn_with takes besides the future. Zeroed, but for struct_size, it is skua_spawn. */
typedef struct skua_spawn_options {
	size_t struct_size; /* sizeof(skua_spawn_options) */
	uint32_t priority;  /* SKUA_PRIORITY_* */
	uint32_t reserved;  /* 0 */
	const char *name;   /* for messages; static storage; NULL: that of the future's kind */
} skua_spawn_options;

/*
 * skua_spawn with options; NULL is the same as none. Returns what skua_spawn does, and -EINVAL if
 * the options are none that this version knows. Any thread; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_spawn_with(skua_runtime *runtime, const skua_future *future,
					   const skua_spawn_options *options, skua_task **task);

/*
 * Awaits the end of a task, and gives its result. When ready, the handle is gone and *task is NULL.
 * A cancelled wait (-ECANCELED) keeps the handle: *task is not NULL then, which tells
 * it from a task whose own result is that number.
 *
 * Ready with the task's own result; -EINVAL if task or *task is NULL (joined before); -EBUSY if
 * another task already awaits this one; -EDEADLK if a task awaits itself. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_join(skua_cx *cx, skua_task **task);

/*
 * skua_join for threads that are not workers: blocks until the task has ended. Returns the task's
 * result; -EDEADLK on a worker, -EINVAL if task or *task is NULL, -EBUSY if a task awaits it,
 * -ENOMEM: then the handle is kept. Any thread but a worker; blocks.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_task_wait(skua_task **task);

/* Gives the handle up; the task goes on. *task becomes NULL; NULL is allowed. Any thread; never
 * blocks. */
SKUA_API void skua_detach(skua_task **task);

/*
 * Asks a task to stop: its next await, or the one it is in, returns -ECANCELED, once; what it does
 * then is up to the task, which may await again to clean up. (A runtime that is being freed asks
 * every task, those that were asked before once more.) A blocking job that has not started never
 * will, and ends at once; one that runs is not disturbed.
 *
 * Returns 0, also if it was asked before; -ESRCH if the task has already ended; -EINVAL if task is
 * NULL. Any thread that holds the handle; never blocks.
 */
SKUA_API int skua_cancel(skua_task *task);

/* Whether the task has ended, so that joining it is ready at once. Any thread; never blocks. */
SKUA_API int skua_task_finished(const skua_task *task);

/* The name that it was spawned with, or else that of its kind (skua_future_ops.name). Any thread; never
 * blocks. */
SKUA_API const char *skua_task_name(const skua_task *task);

/*
 * Lets every other ready task of its priority on this worker run first. Ready with 0 when its turn has
 * come again; -ECANCELED. Under a foreign executor it is ready at once. One at a time in each task.
 * From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_yield(skua_cx *cx);

/*
 * Calls a function that may block, or compute for long, in the middle of a poll, and on this very thread.
 * What waits behind this task goes to other workers at once, or to a spare one (SKUA_SPARE_WORKERS)
 * within some milliseconds; afterwards the poll goes on as if nothing had been. It is for code that
 * needs what is on the stack of the poll; otherwise skua_spawn_blocking is better, because with it the
 * worker goes on, and the number of threads is that of the pool.
 *
 * At most as many tasks as there are workers and spare ones do something at the same time, those in here
 * counted. While the function runs the task cannot be cancelled: its next await tells it. The function may
 * use everything that does not need a worker of its own: skua_block_on and skua_task_wait return
 * -EDEADLK in it as elsewhere on a worker. Within another such call, under a foreign executor, and on
 * a thread that is no worker the function is just called.
 *
 * Returns the function's result; -EINVAL if function is NULL. From a poll; blocks as the function
 * does.
 */
SKUA_API int64_t skua_block_in_place(skua_cx *cx, int64_t (*function)(void *argument),
				     void *argument);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_TASK_H */
