/* sched_timers.c - the timers of all workers together: arming from any thread, and a paused clock that jumps to
 * the next one (clock.h). */
#include "sched/sched.h"
#include "sched/thread_waker.h"
#include "sched/worker.h"

int sk_sched_arm_timer(struct sk_sched *sched, struct sk_worker *worker, struct sk_timer *timer,
		       uint64_t deadline, uint64_t now, const skua_cx *cx)
{
	bool coarse = sk_clock_is_system(&sched->clock);
	unsigned index;
	int rc;

	if (worker != NULL)
		return sk_timer_arm(&worker->timers, timer, deadline,
				    coarse && deadline > now ? sk_granule(deadline - now) : 1, cx);
	index = sk_thread_stripe() % sched->options.workers;
	rc = sk_timer_arm_from_outside(&sched->workers[index]->timers, timer, deadline, cx);
	if (rc == 0)
		sk_sched_timer_changed(sched, index);
	return rc;
}

void sk_sched_timer_changed(struct sk_sched *sched, unsigned index)
{
	sk_fence();
	sk_sched_wake_worker(sched, index);
}

void sk_sched_clock_changed(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		sk_sched_timer_changed(sched, i);
}

/*
 * Whether nothing can happen without a timer, and a thread waits; under the clock's lock. In this order, so
 * that what moves on meanwhile is seen at the next station: a job that ends has woken a task before; who
 * takes a task out of a queue is awake by then; and before it sleeps again, it has armed its timers and
 * woken its threads.
 */
static bool is_quiet(struct sk_sched *sched)
{
	struct sk_blocking *pool = &sched->blocking;
	bool quiet;

	sk_mutex_lock(&pool->lock);
	quiet = pool->spawned == pool->completed;
	sk_mutex_unlock(&pool->lock);
	for (uint32_t i = 0; quiet && i < sk_sched_width(sched); i++)
		quiet = !sk_worker_has_backlog(sched->workers[i]);
	/* Each has called sk_clock_publish before: what it has done is seen. */
	quiet = quiet && sk_idle_count(&sched->idle) == sk_sched_width(sched);
	return quiet && sk_clock_is_awaited();
}

/* The earliest of all workers that sleep. */
static uint64_t next_timer(struct sk_sched *sched)
{
	uint64_t next = SK_FOREVER;

	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		if (sk_timers_next(&sched->workers[i]->timers) < next)
			next = sk_timers_next(&sched->workers[i]->timers);
	return next;
}

void sk_sched_thread_waits(struct sk_sched *sched, struct sk_thread_waker *waker)
{
	struct sk_clock *clock = &sched->clock;

	if (sk_clock_is_system(clock)) {
		sk_thread_waker_count(waker);
		/* Pairs with that after a pause (sk_sched_clock_changed): either the workers that are woken
		 * see the count, or the pause is seen here. */
		sk_fence();
		if (sk_clock_is_system(clock))
			return;
	} else {
		sk_mutex_lock(&clock->lock);
		sk_thread_waker_count(waker);
		sk_mutex_unlock(&clock->lock);
	}
	/* Somebody has to see whether the clock may jump now. */
	sk_sched_timer_changed(sched, 0);
}

/* Sleepers that have got mail do not know their next timer: they have to look first, and whoever of them
 * goes to sleep last comes here again. */
static bool deliver_mail(struct sk_sched *sched)
{
	bool any = false;

	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		if (sk_timers_have_mail(&sched->workers[i]->timers)) {
			sk_sched_timer_changed(sched, i);
			any = true;
		}
	return any;
}

bool sk_sched_jump(struct sk_sched *sched, struct sk_worker *worker)
{
	struct sk_clock *clock = &sched->clock;
	uint64_t next = SK_FOREVER;
	bool jumps;

	if (deliver_mail(sched))
		return false;
	sk_mutex_lock(&clock->lock);
	jumps = sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_PAUSED && is_quiet(sched);
	if (jumps)
		next = next_timer(sched);
	jumps = jumps && next != SK_FOREVER && next > clock->time;
	if (jumps)
		clock->time = next;
	sk_mutex_unlock(&clock->lock);
	if (!jumps)
		return false;
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		if (i != worker->index && sk_timers_next(&sched->workers[i]->timers) <= next)
			sk_sched_timer_changed(sched, i);
	return sk_timers_next(&worker->timers) <= next;
}
