/* join_task.h - awaiting a task from a thread of a scenario that has only the engine, as
 * skua_task_wait does. */
#ifndef SKUA_TESTS_MODEL_JOIN_TASK_H
#define SKUA_TESTS_MODEL_JOIN_TASK_H

#include "sched/task.h"
#include "sched/thread_waker.h"

/* Waits for its end, and takes the handle. */
static inline int64_t join_task(skua_task **handle)
{
	struct sk_thread_waker *waker = sk_thread_waker_new();
	skua_cx cx;

	sk_thread_waker_cx(waker, &cx);
	while (!sk_task_is_complete(*handle) && sk_slot_wait(&(*handle)->join, &cx) != 0)
		sk_thread_waker_park(waker);
	sk_thread_waker_free(waker);
	return sk_task_take_result(handle);
}

#endif /* SKUA_TESTS_MODEL_JOIN_TASK_H */
