/*
 * skua/blocking.h - calls that block, on threads of their own: the blocking pool.
 *
 * A job is a function that may block. It is a task: it is joined, cancelled and detached like any
 * other (skua/task.h). Jobs are of a kind, which says what they wait for. Each kind has a queue of its
 * own, in which jobs keep their order, and a limit of those that run at once; among the kinds that
 * may run one, the job that has waited longest goes first. From three threads on (`max_blocking`)
 * one of them is kept for each kind that has no job running: however many name lookups hang, a
 * file is read all the same.
 *
 * A kind accepts as many jobs as may run at once and `blocking_queue` more. Beyond that a spawn is
 * refused with -EAGAIN, and skua_spawn_blocking_when_room waits.
 */
#ifndef SKUA_BLOCKING_H
#define SKUA_BLOCKING_H

#include "future.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a job waits for, which says how many may run at once. */
enum {
	SKUA_BLOCKING_GENERAL = 0, /* anything else: `max_blocking` */
	SKUA_BLOCKING_FILES = 1,   /* disks: `blocking_files` */
	SKUA_BLOCKING_NAMES = 2,   /* name servers: `blocking_names` */
	SKUA_BLOCKING_KINDS = 3    /* how many kinds there are */
};

typedef struct skua_blocking_options {
	size_t struct_size; /* sizeof(skua_blocking_options) */
	uint32_t kind;      /* SKUA_BLOCKING_* */
	const char
		*name; /* for messages, and skua_task_name; static storage; NULL: "blocking job" */
} skua_blocking_options;

/*
 * Runs a function that may block on a thread of the blocking pool. It gets a private copy of `size`
 * bytes at `argument` (size may be 0), which lives until the function returns; its return value
 * becomes the result of the task. Cancelled before it starts, it never runs: the task ends at once
 * with -ECANCELED, and its place in the queue is free. `task` takes the handle; NULL detaches the
 * job at once.
 *
 * Returns 0; -EAGAIN (the queue is full, or no thread could be started and none exists); -ENOMEM;
 * -ESHUTDOWN; -EINVAL (runtime or function is NULL, or argument is and size is not 0). Any thread;
 * never blocks. The function runs with signals blocked, but for those of faults: a process that it
 * starts inherits that mask.
 */
SKUA_API SKUA_MUST_USE int skua_spawn_blocking(skua_runtime *runtime,
					       int64_t (*function)(void *argument),
					       const void *argument, size_t size, skua_task **task);

/*
 * The same for a job of a kind and with a name. `options` may be NULL: a general job. Returns what
 * skua_spawn_blocking does; -EINVAL, too, if the struct_size or the kind is not right. Any thread;
 * never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_spawn_blocking_with(skua_runtime *runtime,
						    int64_t (*function)(void *argument),
						    const void *argument, size_t size,
						    const skua_blocking_options *options,
						    skua_task **task);

/*
 * One wait for room, a member of the struct of whoever awaits. Zero it before the first use; after
 * each await it may be used again. The fields are private. A task's waits end with the task; memory
 * that goes earlier than its task, or that a foreign executor will not poll with again, needs
 * skua_blocking_wait_cancel first. None may outlive its runtime.
 */
typedef struct SKUA_MAY_ALIAS skua_blocking_wait {
	uint64_t opaque[10];
} skua_blocking_wait;

/*
 * skua_spawn_blocking_with that waits for room in the queue of the job's kind, where that returns
 * -EAGAIN. Those who wait are served in the order in which they came, before all that do not
 * wait. The argument is copied when the job is accepted; until then it must be there, and the same,
 * at each poll.
 *
 * Ready with 0, and the job is accepted; otherwise it is not: -ECANCELED; -ESHUTDOWN, -ENOMEM,
 * -EINVAL, -EAGAIN (no thread could be started and none exists) as there; -EBUSY if another task
 * waits with the same `wait`. From a poll; under a foreign executor, whose context must have a
 * runtime, too.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_spawn_blocking_when_room(
	skua_cx *cx, skua_blocking_wait *wait, int64_t (*function)(void *argument),
	const void *argument, size_t size, const skua_blocking_options *options, skua_task **task);

/* Ends a wait that will not be polled again, and lets the next one have its turn. One that waits for
 * nothing is left alone. Only from the task that waits with it; never blocks. */
SKUA_API void skua_blocking_wait_cancel(skua_blocking_wait *wait);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_BLOCKING_H */
