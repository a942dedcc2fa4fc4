/*
 * cx.h - the first questions of every await, asked without a call: in nearly all of them there is
 * nothing to be told, and something left to be done.
 */
#ifndef SKUA_SCHED_CX_H
#define SKUA_SCHED_CX_H

#include "sched/sched.h"
#include "sched/task.h"

/* Whether there is certainly nothing to be told. */
static inline bool sk_cx_is_undisturbed(const skua_cx *cx)
{
	const skua_task *task = cx->task;

	/* Relaxed: what came before a cancel is acquired when it is told. */
	return cx->due == 0 &&
	       (task == NULL || ((sk_load(&task->state, SK_RELAXED) & SK_TASK_CANCELLED) == 0 &&
				 sk_load(&task->sched->phase, SK_RELAXED) == SK_PHASE_OPEN));
}

/* As skua_cx_interrupt. */
static inline int sk_cx_interrupt(skua_cx *cx)
{
	return sk_cx_is_undisturbed(cx) ? 0 : skua_cx_interrupt(cx);
}

/* As skua_cx_budget. */
static inline bool sk_cx_budget(skua_cx *cx)
{
	if (cx->task == NULL || cx->budget <= 0)
		return skua_cx_budget(cx) != 0;
	cx->budget--;
	return true;
}

/* What the task itself has to be told, and has not been: SK_CANCEL_*. */
uint8_t sk_cx_task_due(const skua_cx *cx);

#endif /* SKUA_SCHED_CX_H */
