/*
 * live.h - the list of all tasks that exist, for dumps: kept only in a chaos build (chaos.h),
 * because a spawn must not touch what all workers share.
 */
#ifndef SKUA_SCHED_LIVE_H
#define SKUA_SCHED_LIVE_H

#include <stdbool.h>

#include "skua/future.h"

#ifdef SK_CHAOS

void sk_live_add(skua_task *task);
void sk_live_remove(skua_task *task);

/* Calls a function for each task, until it returns false. No task is freed meanwhile: it must not
 * wait for anything. */
void sk_live_each(bool (*function)(void *argument, skua_task *task), void *argument);

#else

static inline void sk_live_add(skua_task *task)
{
	(void)task;
}

static inline void sk_live_remove(skua_task *task)
{
	(void)task;
}

#endif

#endif /* SKUA_SCHED_LIVE_H */
