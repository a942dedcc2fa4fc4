/*
 * time.c - skua/time.h: sleeping, ticking, and a deadline on any await.
 *
 * A deadline is an interrupt (sched/interrupt.h). When the timer has fired, the operation is polled once
 * more; the first leaf inside it that asks takes back what it had registered and returns -ECANCELED; and
 * when the operation ends with that, skua_timeout makes -ETIMEDOUT of it. So -ETIMEDOUT always means the
 * deadline that one has written oneself: an outer one looks like the cancellation that it is.
 */
#include "skua/time.h"

#include <errno.h>

#include "runtime/runtime.h"
#include "sched/cx.h"
#include "sched/timer.h"
#include "sched/worker.h"

/* The scheduler for the one who polls, or NULL. */
static struct sk_sched *sched_of(const skua_cx *cx)
{
	const struct sk_worker *worker = cx->worker;

	if (worker != NULL)
		return worker->sched;
	return cx->runtime != NULL ? cx->runtime->head.sched : NULL;
}

static int arm(skua_cx *cx, struct sk_timer *timer, uint64_t deadline, uint64_t now)
{
	timer->moved = false;
	return sk_sched_arm_timer(sched_of(cx), cx->worker, timer, deadline, now, cx);
}

static uint64_t after(uint64_t now, uint64_t ns)
{
	return ns < SK_FOREVER - now ? now + ns : SK_FOREVER;
}

/* Whether an armed timer is due. One that has fired too early, because it was put off meanwhile, is armed
 * again. Returns 1, 0 or -ENOMEM. */
static int is_due(skua_cx *cx, struct sk_timer *timer)
{
	uint64_t now, deadline = timer->deadline;

	if (!sk_timer_has_fired(timer))
		return 0;
	if (!timer->moved)
		return 1;
	now = sk_clock_now(&sched_of(cx)->clock);
	if (deadline <= now)
		return 1;
	sk_timer_disarm(timer);
	return arm(cx, timer, deadline, now);
}

/* ---- Sleeping ---- */

/* Polls an armed timer. */
static skua_poll poll_timer(skua_cx *cx, struct sk_timer *timer)
{
	int due = is_due(cx, timer);
	skua_poll waits = due < 0 ? due : 0;

	if (due == 0)
		waits = sk_slot_wait(&timer->entry->slot, cx);
	/* It may have fired at this moment: then the next poll sees to it. */
	if (waits == 0 && due == 0 && timer->moved) {
		skua_waker_wake_by_ref(skua_cx_waker(cx));
		return SKUA_PENDING;
	}
	/* Another task's sleep is left alone. */
	if (waits != SKUA_PENDING && waits != -EBUSY)
		sk_timer_disarm(timer);
	return waits;
}

/* Until `when`, or for `ns` if that is 0. */
static skua_poll sleep_for(skua_cx *cx, struct sk_timer *timer, uint64_t when, uint64_t ns)
{
	struct sk_sched *sched = sched_of(cx);
	int interrupt = timer->interrupt.around > 0 ? -EINVAL : sk_cx_interrupt(cx);
	uint64_t now;
	int rc;

	if (interrupt == -EINVAL)
		return interrupt;
	if (interrupt != 0) {
		sk_timer_disarm(timer);
		return interrupt;
	}
	if (sk_timer_is_armed(timer))
		return poll_timer(cx, timer);
	if (!sk_cx_budget(cx))
		return SKUA_PENDING;
	if (when == 0 && ns == 0)
		return 0;
	if (sched == NULL)
		return -EINVAL;
	now = sk_clock_now(&sched->clock);
	if (ns > 0)
		when = after(now, ns);
	if (when <= now)
		return 0;
	rc = arm(cx, timer, when, now);
	return rc < 0 ? rc : SKUA_PENDING;
}

skua_poll skua_sleep(skua_cx *cx, skua_timer *timer, uint64_t ns)
{
	return sleep_for(cx, sk_timer_of(timer), 0, ns);
}

skua_poll skua_sleep_until(skua_cx *cx, skua_timer *timer, uint64_t when)
{
	return sleep_for(cx, sk_timer_of(timer), when, 0);
}

void skua_timer_cancel(skua_timer *storage)
{
	struct sk_timer *timer = sk_timer_of(storage);

	sk_timer_disarm(timer);
	sk_interrupt_clear(&timer->interrupt);
}

int skua_timer_reset(skua_cx *cx, skua_timer *storage, uint64_t when)
{
	struct sk_timer *timer = sk_timer_of(storage);

	if (!sk_timer_is_armed(timer))
		return -EINVAL;
	/* It was due at the beginning of this poll, and nobody has been told yet. */
	if (timer->interrupt.error == -ETIMEDOUT && !timer->interrupt.delivered) {
		sk_interrupt_clear(&timer->interrupt);
		cx->due -= timer->interrupt.around > 0;
	}
	/* It is moved when it fires. If it has fired, this may be the poll that it had caused. */
	if (when >= timer->deadline && !sk_timer_has_fired(timer)) {
		timer->moved = timer->moved || when > timer->deadline;
		timer->deadline = when;
		return 0;
	}
	sk_timer_disarm(timer);
	return arm(cx, timer, when, sk_clock_now(&sched_of(cx)->clock));
}

/* ---- Ticking ---- */

/* May alias: see skua_interval. */
struct __attribute__((may_alias)) interval {
	skua_timer timer;
	uint64_t next; /* tick, a moment */
	uint64_t period;
	uint32_t missed;
};

_Static_assert(sizeof(struct interval) <= sizeof(skua_interval), "skua_interval is too small");

int skua_interval_init(skua_interval *storage, uint64_t first, uint64_t period, uint32_t missed)
{
	struct interval *interval = (struct interval *)(void *)storage;

	if (period == 0 || missed > SKUA_MISSED_SKIP)
		return -EINVAL;
	*storage = (skua_interval){0};
	interval->next = first;
	interval->period = period;
	interval->missed = missed;
	return 0;
}

/* The tick that was due at `next` has been taken. Returns how many after it are left out. */
static uint64_t go_on(struct interval *interval, uint64_t now)
{
	uint64_t late = now > interval->next ? now - interval->next : 0, left_out = 0;

	if (interval->missed == SKUA_MISSED_DELAY)
		interval->next = now;
	if (interval->missed == SKUA_MISSED_SKIP)
		left_out = late / interval->period;
	interval->next = after(interval->next + left_out * interval->period, interval->period);
	return left_out;
}

skua_poll skua_tick(skua_cx *cx, skua_interval *storage)
{
	struct interval *interval = (struct interval *)(void *)storage;
	skua_poll slept;

	if (sched_of(cx) == NULL)
		return -EINVAL;
	/* At once: by the clock of the runtime that it ticks in. */
	if (interval->next == 0)
		interval->next = sk_clock_now(&sched_of(cx)->clock);
	slept = skua_sleep_until(cx, &interval->timer, interval->next);
	if (slept != 0)
		return slept;
	return (skua_poll)go_on(interval, sk_clock_now(&sched_of(cx)->clock));
}

/* ---- Deadlines ---- */

/* Before the operation is polled: is the time up? */
static void begin(skua_cx *cx, struct sk_timer *timer)
{
	int due = sk_timer_is_armed(timer) ? is_due(cx, timer) : 0;

	if (due != 0 && timer->interrupt.around == 0)
		timer->interrupt.error = (int16_t)(due < 0 ? due : -ETIMEDOUT);
	timer->interrupt.kind = SK_INTERRUPT_DEADLINE;
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

/* The operation has to wait: the time begins to run. Returns 0, or why it is to be interrupted. */
static int start(skua_cx *cx, struct sk_timer *timer)
{
	struct sk_sched *sched = sched_of(cx);
	uint64_t now, deadline;

	if (sched == NULL)
		return -EINVAL;
	now = sk_clock_now(&sched->clock);
	deadline = timer->relative ? after(now, timer->deadline) : timer->deadline;
	timer->relative = false;
	return deadline <= now ? -ETIMEDOUT : arm(cx, timer, deadline, now);
}

skua_poll skua_timeout_end(skua_cx *cx, skua_timer *storage, skua_poll result)
{
	struct sk_timer *timer = sk_timer_of(storage);

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
		(void)sk_slot_wait(&timer->entry->slot, cx);
		return result;
	}
	timer->interrupt.error = (int16_t)start(cx, timer);
	/* No time left, or no memory for a timer: the next poll is to deliver that. */
	if (timer->interrupt.error != 0)
		skua_waker_wake_by_ref(skua_cx_waker(cx));
	return result;
}

uint64_t skua_cx_deadline(const skua_cx *cx)
{
	uint64_t nearest = SKUA_NEVER;
	uint16_t compositions = 0;

	for (const struct sk_interrupt *i = cx->interrupts; i != NULL; i = i->outer) {
		const struct sk_timer *timer =
			(const struct sk_timer *)(const void *)((const char *)i -
								offsetof(struct sk_timer,
									 interrupt));
		uint64_t deadline;

		/* What is outside a skua_shield is not in force; a composition passes it on. */
		if ((uint16_t)(cx->shields - i->shields) > compositions)
			break;
		compositions += i->kind == SK_INTERRUPT_COMPOSITION;
		if (i->kind != SK_INTERRUPT_DEADLINE)
			continue;
		deadline = timer->deadline;
		if (!sk_timer_is_armed(timer) && timer->relative && sched_of(cx) != NULL)
			deadline = after(sk_clock_now(&sched_of(cx)->clock), timer->deadline);
		if (deadline < nearest)
			nearest = deadline;
	}
	return nearest;
}
