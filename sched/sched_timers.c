/* sched_timers.c - the timers of all workers together: arming from any thread, and a paused clock that jumps to
 * the next one (clock.h). */
#include "sched/sched.h"
#include "sched/worker.h"

int sk_sched_arm_timer(struct sk_sched *sched, struct sk_worker *worker, struct sk_timer *timer,
		       uint64_t deadline, uint64_t now, const skua_cx *cx)
{
	bool coarse = sk_clock_is_system(&sched->clock);
	unsigned index;
	int rc;

	if (worker != NULL)
		return sk_timer_arm(&worker->timers, timer, deadline,
				    coarse ? sk_granule(deadline - now) : 1, cx);
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

/* Whether nothing can happen without a timer. */
static bool is_quiet(struct sk_sched *sched)
{
	struct sk_blocking *pool = &sched->blocking;
	bool quiet = sk_clock_is_awaited() && sk_idle_count(&sched->idle) == sk_sched_width(sched);

	for (uint32_t i = 0; quiet && i < sk_sched_width(sched); i++)
		quiet = !sk_worker_has_backlog(sched->workers[i]);
	if (!quiet)
		return false;
	sk_mutex_lock(&pool->lock);
	quiet = pool->spawned == pool->completed;
	sk_mutex_unlock(&pool->lock);
	return quiet;
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

/* A moment from here on is SKUA_NEVER, or centuries away: of what is so far away the wheel tells only
 * where its slot begins (wheel.h), and this one is the last. */
#define NEVER_FROM (UINT64_C(63) << 58)

bool sk_sched_jump(struct sk_sched *sched, struct sk_worker *worker)
{
	struct sk_clock *clock = &sched->clock;
	uint64_t next = SK_FOREVER;
	bool jumps;

	if (deliver_mail(sched))
		return false;
	sk_mutex_lock(&clock->lock);
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		if (sk_timers_next(&sched->workers[i]->timers) < next)
			next = sk_timers_next(&sched->workers[i]->timers);
	jumps = sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_PAUSED && next < NEVER_FROM &&
		next > clock->time && is_quiet(sched);
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
