/* sleep_task.h - a task that sleeps on a timer of the worker that polls it first. */
#ifndef SKUA_TESTS_MODEL_SLEEP_TASK_H
#define SKUA_TESTS_MODEL_SLEEP_TASK_H

#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"

struct sleep {
	skua_future future;
	struct sk_timer timer;
};

/* Ready with 7, when the time is up or the task is cancelled. */
static inline skua_poll sleep_poll(skua_cx *cx, skua_future *self)
{
	struct sk_timer *timer = &((struct sleep *)(void *)self)->timer;
	struct sk_worker *worker = cx->worker;

	if (self->line == 0) {
		self->line = 1;
		mc_assert(sk_timer_arm(&worker->timers, timer, sk_now() + 1000, 1, cx) == 0);
		return SKUA_PENDING;
	}
	if (!sk_timer_has_fired(timer) && skua_cx_interrupt(cx) == 0)
		return SKUA_PENDING;
	sk_timer_disarm(timer);
	return 7;
}

static const skua_future_ops sleep_ops = {sleep_poll, NULL, sizeof(struct sleep), "sleep", NULL};

#endif /* SKUA_TESTS_MODEL_SLEEP_TASK_H */
