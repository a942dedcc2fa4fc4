/* blocking.c - skua/blocking.h: jobs of the blocking pool. The pool itself is in sched/. */
#include "skua/blocking.h"

#include <errno.h>

#include "runtime/runtime.h"
#include "sched/blocking.h"
#include "sched/sched.h"

static bool are_valid(const skua_blocking_options *options)
{
	return options == NULL ||
	       (options->struct_size == sizeof *options && options->kind < SKUA_BLOCKING_KINDS);
}

int skua_spawn_blocking_with(skua_runtime *rt, int64_t (*function)(void *argument),
			     const void *argument, size_t size,
			     const skua_blocking_options *options, skua_task **task)
{
	struct sk_blocking_job job = {.function = function, .argument = argument, .size = size};

	if (rt == NULL || function == NULL || (argument == NULL && size > 0) || !are_valid(options))
		return -EINVAL;
	if (sk_load(&rt->head.sched->phase, SK_RELAXED) != SK_PHASE_OPEN)
		return -ESHUTDOWN;
	if (options != NULL) {
		job.kind = options->kind;
		job.name = options->name;
	}
	return sk_blocking_submit(rt->head.sched, &job, task);
}

int skua_spawn_blocking(skua_runtime *rt, int64_t (*function)(void *argument), const void *argument,
			size_t size, skua_task **task)
{
	return skua_spawn_blocking_with(rt, function, argument, size, NULL, task);
}
