/* task.c - skua/task.h: spawning, joining, cancelling. The engine is in sched/. */
#include "skua/task.h"

#include <errno.h>

#include "runtime/runtime.h"
#include "runtime/task.h"
#include "sched/cx.h"
#include "sched/guard.h"
#include "sched/spare.h"
#include "sched/task.h"
#include "sched/thread_waker.h"
#include "sched/worker.h"

int skua_spawn(skua_runtime *rt, const skua_future *future, skua_task **task)
{
	if (rt == NULL || !sk_is_future(future))
		return -EINVAL;
	return sk_sched_spawn(rt->head.sched, future, task);
}

int skua_spawn_with(skua_runtime *rt, const skua_future *future, const skua_spawn_options *options,
		    skua_task **task)
{
	if (options == NULL)
		return skua_spawn(rt, future, task);
	if (rt == NULL || !sk_is_future(future) || !sk_are_spawn_options(options))
		return -EINVAL;
	return sk_sched_spawn_with(rt->head.sched, future, options, task);
}

int64_t skua_block_in_place(skua_cx *cx, int64_t (*function)(void *argument), void *argument)
{
	struct sk_worker *worker = sk_worker_current();

	if (function == NULL)
		return -EINVAL;
	/* Polled by an executor of its own, a future keeps nobody's worker but that executor's. */
	if (cx == NULL || cx->task == NULL || worker == NULL || worker->running != cx->task)
		return function(argument);
	return sk_block_in_place(worker, function, argument);
}

skua_poll skua_join(skua_cx *cx, skua_task **task)
{
	skua_poll waits;
	int interrupt;

	if (task == NULL || *task == NULL)
		return -EINVAL;
	if (*task == cx->task)
		return -EDEADLK;
	interrupt = sk_cx_interrupt(cx);
	if (interrupt != 0) {
		sk_slot_forget(&(*task)->join, cx->task);
		return interrupt;
	}
	if (!sk_cx_budget(cx))
		return SKUA_PENDING;
	if (sk_task_is_complete(*task))
		return sk_task_take_result(task);
	waits = sk_slot_wait(&(*task)->join, cx);
	return waits == 0 ? sk_task_take_result(task) : waits;
}

/* The runtime may be freed as soon as the task has ended: guard.h keeps it until we have left. */
void sk_task_park(skua_task *task, struct sk_thread_waker *waker)
{
	unsigned side = sk_guard_enter();

	/* Sequentially consistent: after entering, see guard.h. */
	if ((sk_load(&task->state, SK_SEQ_CST) & SK_TASK_COMPLETE) == 0)
		sk_sched_thread_waits(task->sched, waker);
	sk_guard_leave(side);
	sk_thread_waker_park(waker);
}

skua_poll skua_task_wait(skua_task **task)
{
	struct sk_thread_waker *waker;
	skua_poll waits;
	skua_cx cx;

	if (task == NULL || *task == NULL)
		return -EINVAL;
	if (sk_worker_current() != NULL)
		return -EDEADLK;
	if (sk_task_is_complete(*task))
		return sk_task_take_result(task);
	/* Another foreign waker would be taken for this one's of an earlier poll, and be replaced. */
	if (sk_is_waiter(sk_load(&(*task)->join, SK_RELAXED)))
		return -EBUSY;
	waker = sk_thread_waker_new();
	if (waker == NULL)
		return -ENOMEM;
	sk_thread_waker_cx(waker, &cx);
	/* Once is enough, since nothing but the end of the task fires the slot; but to be sure. */
	while ((waits = sk_slot_wait(&(*task)->join, &cx)) == SKUA_PENDING)
		sk_task_park(*task, waker);
	sk_thread_waker_free(waker);
	return waits == 0 ? sk_task_take_result(task) : waits;
}

void skua_detach(skua_task **task)
{
	if (task == NULL || *task == NULL)
		return;
	sk_task_close_handle(*task);
	*task = NULL;
}

int skua_cancel(skua_task *task)
{
	return task != NULL ? sk_task_cancel(task) : -EINVAL;
}

int skua_task_finished(const skua_task *task)
{
	return sk_task_is_complete(task);
}

const char *skua_task_name(const skua_task *task)
{
	return sk_task_name(task);
}

skua_poll skua_yield(skua_cx *cx)
{
	skua_task *task = cx->task;
	int interrupt = sk_cx_interrupt(cx);

	if (interrupt != 0 || task == NULL) {
		if (task != NULL)
			task->yielded = false;
		return interrupt;
	}
	task->yielded = !task->yielded;
	if (!task->yielded)
		return 0;
	/* While it runs, a wake means: to the end of the queue when this poll is over. */
	sk_task_poll_again(task);
	return SKUA_PENDING;
}
