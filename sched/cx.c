/*
 * cx.c - the context of a poll, and public wakers: what skua/future.h declares.
 */
#include "sched/cx.h"

#include <errno.h>
#include <string.h>

#include "sched/interrupt.h"
#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/task.h"

/* The functions themselves. */
#undef skua_cx_interrupt
#undef skua_cx_waker
#undef skua_waker_wake_by_ref

/* ---- Wakers ---- */

int skua_waker_clone(const skua_waker *waker, skua_waker *clone)
{
	void *data = waker->ops->clone(waker->data);

	/* NULL may be the data that an executor works with: then its clone is NULL, too. */
	if (data == NULL && waker->data != NULL)
		return -ENOMEM;
	clone->ops = waker->ops;
	clone->data = data;
	return 0;
}

void skua_waker_wake(skua_waker *waker)
{
	skua_waker taken = *waker;

	memset(waker, 0, sizeof *waker);
	taken.ops->wake(taken.data);
}

void skua_waker_wake_by_ref(const skua_waker *waker)
{
	waker->ops->wake_by_ref(waker->data);
}

void skua_waker_drop(skua_waker *waker)
{
	skua_waker taken = *waker;

	memset(waker, 0, sizeof *waker);
	if (taken.ops != NULL)
		taken.ops->drop(taken.data);
}

int skua_waker_same(const skua_waker *a, const skua_waker *b)
{
	return a->ops == b->ops && a->data == b->data;
}

/* ---- The context ---- */

void skua_cx_init(skua_cx *cx, skua_runtime *runtime, const skua_waker *waker)
{
	memset(cx, 0, sizeof *cx);
	cx->waker = *waker;
	cx->runtime = runtime;
}

const skua_waker *skua_cx_waker(const skua_cx *cx)
{
	return &cx->waker;
}

skua_runtime *skua_cx_runtime(const skua_cx *cx)
{
	return cx->runtime;
}

static bool is_closing(const skua_task *task)
{
	/* Acquire: pairs with the release in sk_sched_close. */
	return sk_load(&task->sched->phase, SK_ACQUIRE) != SK_PHASE_OPEN;
}

static bool is_scope_cancelled(const skua_task *task)
{
	const skua_scope *scope = sk_scope_of(task);

	return scope != NULL && sk_scope_is_cancelled(scope);
}

int skua_cx_cancelled(const skua_cx *cx)
{
	skua_task *task = cx->task;

	if (task == NULL)
		return 0;
	/* Acquire: pairs with the release in sk_task_cancel, which may come in the middle of this
	 * poll. */
	return (sk_load(&task->state, SK_ACQUIRE) & SK_TASK_CANCELLED) != 0 || is_closing(task) ||
	       is_scope_cancelled(task);
}

/* The outermost interrupt that is due and that no shield keeps out, or NULL. */
static struct sk_interrupt *outermost_due(const skua_cx *cx)
{
	struct sk_interrupt *outermost = NULL;

	if (cx->due == 0)
		return NULL;
	for (struct sk_interrupt *i = cx->interrupts; i != NULL; i = i->outer)
		if (i->error != 0 && !i->delivered && i->shields == cx->shields)
			outermost = i;
	return outermost;
}

uint8_t sk_cx_task_due(const skua_cx *cx)
{
	const skua_task *task = cx->task;
	uint8_t due;

	if (cx->shields > 0 || !skua_cx_cancelled(cx))
		return SK_CANCEL_NONE;
	due = is_closing(task) ? SK_CANCEL_CLOSING : SK_CANCEL_OWN;
	return due > task->delivered ? due : SK_CANCEL_NONE;
}

int skua_cx_interrupt(skua_cx *cx)
{
	struct sk_interrupt *interrupt;
	uint8_t due;

	interrupt = outermost_due(cx);
	/* Once: what is awaited from here on is clean-up. */
	if (interrupt != NULL) {
		interrupt->delivered = true;
		cx->due--;
		return -ECANCELED;
	}
	due = sk_cx_task_due(cx);
	if (due == SK_CANCEL_NONE)
		return 0;
	cx->task->delivered = due;
	return -ECANCELED;
}

int skua_cx_budget(skua_cx *cx)
{
	if (cx->task == NULL)
		return 1;
	if (cx->budget > 0) {
		cx->budget--;
		return 1;
	}
	sk_task_poll_again(cx->task);
	return 0;
}
