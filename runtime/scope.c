/* scope.c - skua/scope.h: what can be wrong with the arguments. The protocol is in
 * sched/scope.h. */
#include "skua/scope.h"

#include <errno.h>

#include "runtime/runtime.h"
#include "runtime/task.h"
#include "sched/scope.h"

static const skua_scope_options no_options = {.struct_size = sizeof(skua_scope_options)};

static bool is_known(const skua_scope_options *options)
{
	return options->struct_size == sizeof *options &&
	       options->on_error <= SKUA_ON_ERROR_GO_ON &&
	       options->results <= SKUA_RESULTS_IN_ORDER && options->reserved == 0 &&
	       options->more == 0;
}

int skua_scope_new(skua_cx *cx, const skua_scope_options *options, skua_scope **scope)
{
	if (options == NULL)
		options = &no_options;
	if (cx == NULL || cx->runtime == NULL || scope == NULL || !is_known(options))
		return -EINVAL;
	return sk_scope_new(cx, cx->runtime->head.sched, options, scope);
}

int skua_scope_spawn(skua_cx *cx, skua_scope *scope, const skua_future *future, skua_task **task)
{
	return skua_scope_spawn_with(cx, scope, future, NULL, task);
}

int skua_scope_spawn_with(skua_cx *cx, skua_scope *scope, const skua_future *future,
			  const skua_spawn_options *options, skua_task **task)
{
	if (cx == NULL || scope == NULL || !sk_is_future(future) ||
	    (options != NULL && !sk_are_spawn_options(options)) || !sk_scope_is_around(scope, cx))
		return -EINVAL;
	return sk_scope_spawn(cx, scope, future, options, task);
}

static bool is_owner(const skua_cx *cx, const skua_scope *scope)
{
	return scope != NULL && scope->owner == cx->task;
}

skua_poll skua_scope_room(skua_cx *cx, skua_scope *scope)
{
	return is_owner(cx, scope) ? sk_scope_room(cx, scope) : -EINVAL;
}

skua_poll skua_scope_next(skua_cx *cx, skua_scope *scope, skua_scope_result *result)
{
	if (!is_owner(cx, scope) || scope->results == SKUA_RESULTS_NONE || result == NULL)
		return -EINVAL;
	return sk_scope_next(cx, scope, result);
}

skua_poll skua_scope_join(skua_cx *cx, skua_scope **scope)
{
	if (scope == NULL || !is_owner(cx, *scope))
		return -EINVAL;
	return sk_scope_join(cx, scope);
}

void skua_scope_cancel(skua_scope *scope)
{
	if (scope != NULL)
		sk_scope_cancel(scope, -ECANCELED);
}

int skua_scope_cancelled(const skua_scope *scope)
{
	return sk_scope_is_cancelled(scope);
}

uint64_t skua_scope_count(const skua_scope *scope)
{
	return sk_scope_count(scope);
}
