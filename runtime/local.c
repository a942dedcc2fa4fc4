/* local.c - skua/local.h: task-local values. The tables are in sched/local.h. */
#include "skua/local.h"

#include <errno.h>

#include "sched/local.h"

int skua_local_set(skua_cx *cx, const skua_local_key *key, void *value)
{
	if (cx == NULL || key == NULL)
		return -EINVAL;
	return cx->task != NULL ? sk_local_set(cx->task, key, value) : -ENOTSUP;
}

void *skua_local_get(const skua_cx *cx, const skua_local_key *key)
{
	return cx->task != NULL ? sk_local_get(cx->task, key) : NULL;
}
