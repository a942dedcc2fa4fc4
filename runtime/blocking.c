/* blocking.c - skua/blocking.h: jobs of the blocking pool. The pool itself is in sched/. */
#include "skua/blocking.h"

#include <errno.h>

#include "runtime/runtime.h"
#include "sched/blocking_room.h"
#include "sched/sched.h"

/* Puts a job together; false if an argument is not right. */
static bool make_job(struct sk_blocking_job *job, int64_t (*function)(void *argument),
		     const void *argument, size_t size, const skua_blocking_options *options)
{
	if (function == NULL || (argument == NULL && size > 0))
		return false;
	*job = (struct sk_blocking_job){.function = function, .argument = argument, .size = size};
	if (options == NULL)
		return true;
	job->kind = options->kind;
	job->name = options->name;
	return options->struct_size == sizeof *options && options->kind < SKUA_BLOCKING_KINDS;
}

int skua_spawn_blocking_with(skua_runtime *rt, int64_t (*function)(void *argument),
			     const void *argument, size_t size,
			     const skua_blocking_options *options, skua_task **task)
{
	struct sk_blocking_job job;

	if (rt == NULL || !make_job(&job, function, argument, size, options))
		return -EINVAL;
	if (sk_load(&rt->head.sched->phase, SK_RELAXED) != SK_PHASE_OPEN)
		return -ESHUTDOWN;
	return sk_blocking_submit(rt->head.sched, &job, task);
}

int skua_spawn_blocking(skua_runtime *rt, int64_t (*function)(void *argument), const void *argument,
			size_t size, skua_task **task)
{
	return skua_spawn_blocking_with(rt, function, argument, size, NULL, task);
}

skua_poll skua_spawn_blocking_when_room(skua_cx *cx, skua_blocking_wait *wait,
					int64_t (*function)(void *argument), const void *argument,
					size_t size, const skua_blocking_options *options,
					skua_task **task)
{
	struct sk_blocking_job job;

	if (cx->runtime == NULL || wait == NULL ||
	    !make_job(&job, function, argument, size, options))
		return -EINVAL;
	return sk_blocking_submit_when_room(cx->runtime->head.sched, cx, sk_blocking_wait_of(wait),
					    &job, task);
}

void skua_blocking_wait_cancel(skua_blocking_wait *wait)
{
	sk_blocking_wait_cancel(sk_blocking_wait_of(wait));
}
