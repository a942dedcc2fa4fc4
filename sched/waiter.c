/* waiter.c - see waiter.h. */
#include "sched/waiter.h"

#include <errno.h>

#include "sched/task.h"
#include "sched/worker.h"

/* The waker of a foreign executor, so that it fits in one word. */
struct box {
	skua_waker waker;
};

enum { BOX = 2 };

static struct box *box_of(sk_waiter waiter)
{
	return (waiter & BOX) != 0 ? (struct box *)(waiter & ~(uintptr_t)BOX) : NULL;
}

sk_waiter sk_waiter_of_waker(skua_waker *waker)
{
	struct box *box = sk_malloc(sizeof *box);

	if (box == NULL)
		return SK_NO_WAITER;
	box->waker = *waker;
	return (uintptr_t)box | BOX;
}

sk_waiter sk_waiter_of(const skua_cx *cx)
{
	struct sk_worker *worker = cx->worker;
	skua_waker waker;
	sk_waiter waiter;

	if (cx->task != NULL) {
		if (worker != NULL && worker->running == cx->task)
			sk_hold_running(worker);
		else
			sk_task_hold(cx->task);
		return (uintptr_t)cx->task;
	}
	if (skua_waker_clone(&cx->waker, &waker) < 0)
		return SK_NO_WAITER;
	waiter = sk_waiter_of_waker(&waker);
	if (waiter == SK_NO_WAITER)
		skua_waker_drop(&waker);
	return waiter;
}

void sk_waiter_wake(sk_waiter waiter)
{
	struct box *box = box_of(waiter);

	if (box != NULL) {
		skua_waker waker = box->waker;

		sk_free_sized(box, sizeof *box);
		skua_waker_wake(&waker);
	} else if (waiter != SK_NO_WAITER) {
		sk_task_wake_and_release((skua_task *)waiter);
	}
}

void sk_waiter_drop(sk_waiter waiter)
{
	struct box *box = box_of(waiter);

	if (box != NULL) {
		skua_waker_drop(&box->waker);
		sk_free_sized(box, sizeof *box);
	} else if (waiter != SK_NO_WAITER) {
		sk_task_let_go((skua_task *)waiter);
	}
}

skua_task *sk_waiter_task(sk_waiter waiter)
{
	return (waiter & BOX) != 0 ? NULL : (skua_task *)waiter;
}

skua_poll sk_slot_wait(sk_slot *slot, const skua_cx *cx)
{
	/* Acquire, here and on failure below: pairs with the release in sk_slot_fire. */
	uintptr_t word = sk_load(slot, SK_ACQUIRE);
	sk_waiter waiter;

	if (word == SK_SLOT_READY)
		return 0;
	if (sk_is_waiter(word)) {
		skua_task *task = sk_waiter_task(word);

		if (task != NULL)
			return task == cx->task ? SKUA_PENDING : -EBUSY;
		/* A foreign executor may bring another waker to each poll: the last one counts. It
		 * takes the place of the first in one step, or an event in between would be lost. */
	}
	waiter = sk_waiter_of(cx);
	if (waiter == SK_NO_WAITER) {
		sk_slot_forget(slot, cx->task);
		return -ENOMEM;
	}
	/* Release: the firer sees the waiter whole. Acquire, if it fails because of an event: what came
	 * before that. Success has both as well, or compilers for POWER and ARMv7 lose the acquire of
	 * the failure, which C11 (7.17.7.4) does not let be the stronger one. */
	if (sk_cas(slot, &word, waiter, SK_ACQ_REL, SK_ACQUIRE)) {
		if (sk_is_waiter(word))
			sk_waiter_drop(word);
		return SKUA_PENDING;
	}
	sk_waiter_drop(waiter);
	return word == SK_SLOT_READY ? 0 : -EBUSY;
}

void sk_slot_forget(sk_slot *slot, const skua_task *task)
{
	uintptr_t word = sk_load(slot, SK_RELAXED);

	if (!sk_is_waiter(word) || sk_waiter_task(word) != task)
		return;
	/* The box of a foreign waker is read next: it is this waiter's own, of an earlier poll. If the
	 * exchange fails, it has just been fired. */
	if (sk_cas(slot, &word, SK_SLOT_EMPTY, SK_RELAXED, SK_RELAXED))
		sk_waiter_drop(word);
}
