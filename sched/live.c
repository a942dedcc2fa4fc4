/* live.c - see live.h. */
#include "sched/live.h"

#ifdef SK_CHAOS

#include "sched/sync.h"
#include "sched/task.h"

static sk_mutex lock = SK_MUTEX_INITIALIZER;
static skua_task *first;
static uint64_t count;

void sk_live_add(skua_task *task)
{
	sk_mutex_lock(&lock);
	task->number = ++count;
	task->live_previous = NULL;
	task->live_next = first;
	if (first != NULL)
		first->live_previous = task;
	first = task;
	sk_mutex_unlock(&lock);
}

void sk_live_remove(skua_task *task)
{
	sk_mutex_lock(&lock);
	if (task->live_previous != NULL)
		task->live_previous->live_next = task->live_next;
	else
		first = task->live_next;
	if (task->live_next != NULL)
		task->live_next->live_previous = task->live_previous;
	sk_mutex_unlock(&lock);
}

void sk_live_each(bool (*function)(void *argument, skua_task *task), void *argument)
{
	sk_mutex_lock(&lock);
	for (skua_task *task = first; task != NULL; task = task->live_next)
		if (!function(argument, task))
			break;
	sk_mutex_unlock(&lock);
}

#else

/* A file must declare something. */
typedef int sk_no_live;

#endif
