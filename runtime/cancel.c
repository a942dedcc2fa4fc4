/*
 * cancel.c - skua/cancel.h: shields (how they work: sched/interrupt.h), and tokens in a poll. The
 * tokens themselves are in sched/token.h.
 *
 * A token that is cancelled reaches an operation as a deadline does (runtime/time.c): the task is
 * woken, and the first leaf inside that asks returns -ECANCELED. Whether it is cancelled is read
 * from the token itself at each poll; the waiter is only there to have the task polled.
 */
#include "skua/cancel.h"

#include <errno.h>

#include "sched/cx.h"
#include "sched/token.h"

/* ---- Shields ---- */

void skua_shield_begin(skua_cx *cx)
{
	cx->shields++;
}

skua_poll skua_shield_end(skua_cx *cx, skua_poll result)
{
	cx->shields--;
	return result;
}

/* ---- Tokens ---- */

int skua_token_new(skua_token *parent, skua_token **token)
{
	return token != NULL ? sk_token_new(parent, token) : -EINVAL;
}

skua_token *skua_token_hold(skua_token *token)
{
	sk_token_hold(token);
	return token;
}

void skua_token_release(skua_token *token)
{
	sk_token_release(token);
}

void skua_token_cancel(skua_token *token)
{
	if (token != NULL)
		sk_token_cancel(token);
}

int skua_token_is_cancelled(const skua_token *token)
{
	return token != NULL && sk_token_is_cancelled(token);
}

static struct sk_token_waiter *waiter_of(skua_token_waiter *storage)
{
	return (struct sk_token_waiter *)(void *)storage;
}

/* Waits on, for one who has begun to. */
static skua_poll poll_waiter(skua_cx *cx, struct sk_token_waiter *waiter)
{
	skua_poll waits = sk_slot_wait(&waiter->slot, cx);

	/* Another task's wait is left alone. */
	if (waits != SKUA_PENDING && waits != -EBUSY)
		sk_token_wait_end(waiter);
	return waits;
}

skua_poll skua_token_wait(skua_cx *cx, skua_token_waiter *storage, skua_token *token)
{
	struct sk_token_waiter *waiter = waiter_of(storage);
	int interrupt;

	if (token == NULL || waiter->interrupt.around > 0 ||
	    (sk_token_waits(waiter) && waiter->listener.token != token))
		return -EINVAL;
	interrupt = sk_cx_interrupt(cx);
	if (interrupt != 0) {
		sk_token_wait_end(waiter);
		return interrupt;
	}
	if (sk_token_waits(waiter))
		return poll_waiter(cx, waiter);
	if (!sk_cx_budget(cx))
		return SKUA_PENDING;
	if (sk_token_is_cancelled(token))
		return 0;
	return sk_token_wait_begin(waiter, token, cx);
}

void skua_token_forget(skua_token_waiter *storage)
{
	struct sk_token_waiter *waiter = waiter_of(storage);

	sk_token_wait_end(waiter);
	sk_interrupt_clear(&waiter->interrupt);
}

void skua_with_token_begin(skua_cx *cx, skua_token_waiter *storage, const skua_token *token)
{
	struct sk_interrupt *interrupt = &waiter_of(storage)->interrupt;

	if (interrupt->around == 0 && interrupt->error == 0 && skua_token_is_cancelled(token))
		interrupt->error = -EINTR;
	sk_interrupt_enter(interrupt, cx);
}

skua_poll skua_with_token_end(skua_cx *cx, skua_token_waiter *storage, skua_token *token,
			      skua_poll result)
{
	struct sk_token_waiter *waiter = waiter_of(storage);
	skua_poll waits;

	/* The waiter of an outer skua_with_token: see skua_token_waiter. */
	if (!sk_interrupt_leave(&waiter->interrupt, cx))
		return -EINVAL;
	if (result != SKUA_PENDING) {
		sk_token_wait_end(waiter);
		return sk_interrupt_finish(&waiter->interrupt, result);
	}
	if (waiter->interrupt.error != 0 || token == NULL)
		return result;
	if (sk_token_waits(waiter)) {
		/* Under a foreign executor the waker may have changed; and if it was cancelled
		 * since the poll began, the wake for that is on its way. */
		(void)sk_slot_wait(&waiter->slot, cx);
		return result;
	}
	waits = sk_token_wait_begin(waiter, token, cx);
	if (waits == SKUA_PENDING)
		return result;
	/* Cancelled meanwhile, or no memory for a waker: the next poll is to deliver that. */
	waiter->interrupt.error = waits == 0 ? -EINTR : (int16_t)waits;
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	return result;
}
