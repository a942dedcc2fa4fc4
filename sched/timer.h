/*
 * timer.h - timers: one shard for each worker, a 4-ary heap under a lock of its own.
 *
 * A worker arms timers in its own shard and fires those that are due between polls and when it
 * wakes; it parks no longer than until the earliest. When a worker is stuck in a long poll, the
 * driver fires its timers for it (sk_sched_monitor): that, and tasks that have moved to another
 * worker and disarm their timer there, are why there is a lock; it is almost never contended.
 *
 * A timer is the user's memory. Firing touches it last with sk_slot_fire: who then finds the slot
 * ready may free it at once. Whoever disarms a timer that is not ready takes the lock, and so waits
 * for a firing that is going on. An armed timer is an obligation of its task (obligation.h).
 */
#ifndef SKUA_SCHED_TIMER_H
#define SKUA_SCHED_TIMER_H

#include "sched/interrupt.h"
#include "sched/obligation.h"
#include "sched/sync.h"
#include "sched/waiter.h"

#include "skua/time.h"

/* May alias: it lives in a skua_timer, which users assign as a whole. */
struct __attribute__((may_alias)) sk_timer {
	uint64_t deadline;
	sk_slot slot;             /* ready when it has fired */
	struct sk_timers *timers; /* the shard it is armed in, or NULL */
	struct sk_obligation obligation;
	uint32_t position; /* in the heap, from 1; 0: not in it. Under the shard's lock */

	/* For skua_timeout (runtime/time.c). */
	bool relative; /* `deadline` is still a length of time */
	struct sk_interrupt interrupt;
};

_Static_assert(sizeof(struct sk_timer) <= sizeof(skua_timer), "skua_timer is too small");

static inline struct sk_timer *sk_timer_of(skua_timer *timer)
{
	return (struct sk_timer *)(void *)timer;
}

struct sk_timers {
	SK_ATOMIC(uint64_t) next; /* the earliest deadline, or SK_FOREVER */
	sk_mutex lock;
	struct sk_timer_entry *heap;
	uint32_t count, capacity;
};

void sk_timers_init(struct sk_timers *timers);
void sk_timers_destroy(struct sk_timers *timers);

/*
 * Arms a timer that is not armed, on behalf of the one who polls with `cx`, who is woken when it
 * fires. Returns 0 or -ENOMEM. `*earliest` says whether it became the first to fire.
 */
int sk_timer_arm(struct sk_timers *timers, struct sk_timer *timer, uint64_t deadline,
		 const skua_cx *cx, bool *earliest);

/* Makes sure that it will not fire any more; it is then as new. */
void sk_timer_disarm(struct sk_timer *timer);

static inline bool sk_timer_is_armed(const struct sk_timer *timer)
{
	return timer->timers != NULL;
}

/* Fires what is due, and wakes those who wait. Any thread of the runtime. Returns how many. */
unsigned sk_timers_fire(struct sk_timers *timers, uint64_t now);

static inline uint64_t sk_timers_next(struct sk_timers *timers)
{
	return sk_load(&timers->next, SK_RELAXED);
}

#endif /* SKUA_SCHED_TIMER_H */
