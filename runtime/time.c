/*
 * time.c - skua/time.h: sleeping, and a deadline on any await.
 *
 * A deadline is delivered like a cancellation. When the timer has fired, the operation is polled
 * once more; the first leaf inside it that asks (skua_cx_interrupt) takes back what it had
 * registered and returns -ECANCELED, once; and when the operation ends with that, skua_timeout
 * makes -ETIMEDOUT of it. So no operation is ever abandoned half-way, code inside can await while
 * it cleans up, and -ETIMEDOUT always means the deadline that one has written oneself: an outer one
 * looks like the cancellation that it is.
 */
#include "skua/time.h"

#include <errno.h>

#include "runtime/runtime.h"
#include "sched/cx.h"
#include "sched/timer.h"
#include "sched/worker.h"

uint64_t skua_now(void)
{
	return sk_now();
}

/* The shard for the one who polls: that of his worker, or the first under a foreign executor. */
static int arm(skua_cx *cx, struct sk_timer *timer, uint64_t deadline)
{
	struct sk_worker *worker = cx->worker;
	struct sk_sched *sched;
	bool earliest = false;
	int rc;

	if (worker != NULL)
		return sk_timer_arm(&worker->timers, timer, deadline, cx, &earliest);
	if (cx->runtime == NULL)
		return -EINVAL;
	sched = cx->runtime->head.sched;
	rc = sk_timer_arm(&sched->workers[0]->timers, timer, deadline, cx, &earliest);
	if (rc == 0 && earliest)
		sk_sched_timer_changed(sched, 0);
	return rc;
}

static uint64_t after(uint64_t ns)
{
	uint64_t now = sk_now();

	return ns < SK_FOREVER - now ? now + ns : SK_FOREVER;
}

/* Polls an armed timer. */
static skua_poll poll_timer(skua_cx *cx, struct sk_timer *timer)
{
	skua_poll waits = sk_slot_wait(&timer->slot, cx);

	if (waits != SKUA_PENDING)
		sk_timer_disarm(timer);
	return waits;
}

static skua_poll sleep_for(skua_cx *cx, skua_timer *storage, uint64_t deadline)
{
	struct sk_timer *timer = sk_timer_of(storage);
	int rc;

	if (!sk_cx_budget(cx))
		return SKUA_PENDING;
	if (deadline <= sk_now())
		return 0;
	rc = arm(cx, timer, deadline);
	return rc < 0 ? rc : SKUA_PENDING;
}

skua_poll skua_sleep(skua_cx *cx, skua_timer *storage, uint64_t ns)
{
	struct sk_timer *timer = sk_timer_of(storage);
	int interrupt;

	if (timer->interrupt.around > 0)
		return -EINVAL;
	interrupt = sk_cx_interrupt(cx);
	if (interrupt != 0) {
		sk_timer_disarm(timer);
		return interrupt;
	}
	if (sk_timer_is_armed(timer))
		return poll_timer(cx, timer);
	return sleep_for(cx, storage, after(ns));
}

skua_poll skua_sleep_until(skua_cx *cx, skua_timer *storage, uint64_t when)
{
	struct sk_timer *timer = sk_timer_of(storage);
	int interrupt;

	if (timer->interrupt.around > 0)
		return -EINVAL;
	interrupt = sk_cx_interrupt(cx);
	if (interrupt != 0) {
		sk_timer_disarm(timer);
		return interrupt;
	}
	if (sk_timer_is_armed(timer))
		return poll_timer(cx, timer);
	return sleep_for(cx, storage, when);
}

void skua_timer_cancel(skua_timer *storage)
{
	struct sk_timer *timer = sk_timer_of(storage);

	sk_timer_disarm(timer);
	timer->interrupt.error = 0;
	timer->interrupt.delivered = false;
}

/* ---- Deadlines ---- */

/* Before the operation is polled: is the time up? */
static void begin(skua_cx *cx, struct sk_timer *timer)
{
	if (sk_timer_is_armed(timer) && sk_slot_is_ready(&timer->slot))
		timer->interrupt.error = -ETIMEDOUT;
	timer->interrupt.is_deadline = true;
	sk_interrupt_enter(&timer->interrupt, cx);
}

void skua_timeout_begin(skua_cx *cx, skua_timer *storage, uint64_t ns)
{
	struct sk_timer *timer = sk_timer_of(storage);

	/* The time runs from here, but the clock is read only if the operation has to wait. */
	if (!sk_timer_is_armed(timer)) {
		timer->deadline = ns;
		timer->relative = true;
	}
	begin(cx, timer);
}

void skua_deadline_begin(skua_cx *cx, skua_timer *storage, uint64_t when)
{
	struct sk_timer *timer = sk_timer_of(storage);

	if (!sk_timer_is_armed(timer)) {
		timer->deadline = when;
		timer->relative = false;
	}
	begin(cx, timer);
}

skua_poll skua_timeout_end(skua_cx *cx, skua_timer *storage, skua_poll result)
{
	struct sk_timer *timer = sk_timer_of(storage);
	uint64_t deadline;

	/* The timer of an outer skua_timeout: see skua_timer. */
	if (!sk_interrupt_leave(&timer->interrupt, cx))
		return -EINVAL;
	if (result != SKUA_PENDING) {
		sk_timer_disarm(timer);
		return sk_interrupt_finish(&timer->interrupt, result);
	}
	if (timer->interrupt.error != 0)
		return result;
	if (sk_timer_is_armed(timer)) {
		/* Under a foreign executor the waker may have changed; and if it has fired since
		 * begin, the wake for that is on its way. */
		(void)sk_slot_wait(&timer->slot, cx);
		return result;
	}
	deadline = timer->relative ? after(timer->deadline) : timer->deadline;
	if (deadline <= sk_now())
		timer->interrupt.error = -ETIMEDOUT;
	else
		timer->interrupt.error = (int16_t)arm(cx, timer, deadline);
	/* No time left, or no memory for a timer: the next poll is to deliver that. */
	if (timer->interrupt.error != 0)
		skua_waker_wake_by_ref(skua_cx_waker(cx));
	return result;
}
