/*
 * timer.h - timers: for each worker a wheel (wheel.h) that is its own, without a lock for it.
 *
 * A worker arms timers in its own wheel and fires those that are due between polls and when it wakes;
 * it parks no longer than until the earliest. All that is under a lock that belongs to the worker
 * (bias.h): it enters with two plain accesses. When the worker is stuck in a long poll, which is outside
 * that lock, the driver takes it and fires the timers instead (sk_sched_monitor).
 *
 * What is in the wheel is an entry out of a store of the worker's, not the user's timer, whose memory
 * may go at any time. Its slot (waiter.h) is how the two sides meet: firing is the exchange that makes
 * it ready, and the last touch.
 *
 *     armed by the owner      entry into the wheel
 *     armed by another        the entry, one of its own, is posted to the owner, who puts it into the wheel
 *     fired                   out of the wheel, then the slot is made ready, and who waits is woken
 *     disarmed by the owner   the slot is emptied, out of the wheel, back to the store: no search
 *     disarmed by another     the slot is emptied, then the entry is posted; the owner takes it out when
 *                             it next looks. In between, its firing finds nobody to wake.
 *
 * An entry is posted once at a time: POSTED says that it is on its way, GONE that nobody waits any more,
 * and whoever sets the first, pushes. The owner clears POSTED before it looks at GONE, so of two posts
 * the one that comes later is either seen with the first or pushed again.
 *
 * An armed timer is an obligation of its task (obligation.h).
 *
 * Resolution. A moment is kept in ns, and rounded up to a multiple of 2^20 ns (1.05 ms) if it is 64 times
 * as far away or more, and of 2^18 ns (0.26 ms) from a quarter of that on: timers that are far away come
 * together, and a worker is woken once for all of them. Nothing is rounded while the clock is paused.
 */
#ifndef SKUA_SCHED_TIMER_H
#define SKUA_SCHED_TIMER_H

#include "sched/bias.h"
#include "sched/interrupt.h"
#include "sched/obligation.h"
#include "sched/sync.h"
#include "sched/waiter.h"
#include "sched/wheel.h"

#include "skua/time.h"

struct sk_timer_chunk;

/* What waits in the wheel for one timer. */
struct sk_timer_entry {
	struct sk_wheel_entry in_wheel; /* under the lock */
	sk_slot slot;                   /* ready when it has fired */
	struct sk_timers *timers;       /* where it belongs */
	struct sk_timer_entry *next;    /* in the mail, or in the store */
	SK_ATOMIC(uint32_t) posted;     /* POSTED, GONE */
	bool single;                    /* a block of its own, not of a chunk */
};

/* May alias: it lives in a skua_timer, which users assign as a whole. */
struct __attribute__((may_alias)) sk_timer {
	struct sk_timer_entry *entry; /* or NULL: not armed */
	uint64_t deadline;
	struct sk_obligation obligation;

	/* For skua_timeout (runtime/time.c). */
	struct sk_interrupt interrupt;
	bool relative; /* `deadline` is still a length of time */
	bool moved; /* `deadline` is later than the entry knows: when it fires, it is armed again */
};

_Static_assert(sizeof(struct sk_timer) <= sizeof(skua_timer), "skua_timer is too small");

static inline struct sk_timer *sk_timer_of(skua_timer *timer)
{
	return (struct sk_timer *)(void *)timer;
}

/* The timers of one worker. */
struct sk_timers {
	/* What others write. */
	SK_ATOMIC(struct sk_timer_entry *) mail SK_ALIGNED;

	struct sk_bias bias SK_ALIGNED;
	/* When to look: the earliest moment or before it; SK_FOREVER. Written under the lock. */
	SK_ATOMIC(uint64_t) next;
	const void *owner;             /* the thread-local pointer of the thread whose they are */
	struct sk_timer_entry *unused; /* under the lock, as all that follows */
	struct sk_timer_chunk *chunks;
	struct sk_wheel wheel;
};

/* Zeroed memory. `owner`: the thread-local pointer of the thread that may call sk_timers_fire. */
void sk_timers_init(struct sk_timers *timers, const void *owner);
/* Nobody uses them any more; what is armed never fires. */
void sk_timers_destroy(struct sk_timers *timers);

/*
 * Arms a timer that is not armed, on behalf of the one who polls with `cx`, who is woken when it
 * fires. By the owner. `granule`: to what power of two of ns the moment may be rounded up (sk_granule).
 * Returns 0 or -ENOMEM.
 */
int sk_timer_arm(struct sk_timers *timers, struct sk_timer *timer, uint64_t deadline,
		 uint64_t granule, const skua_cx *cx);

/* The same by any other thread, which then lets the owner know (sk_sched_timer_changed). */
int sk_timer_arm_from_outside(struct sk_timers *timers, struct sk_timer *timer, uint64_t deadline,
			      const skua_cx *cx);

/* Makes sure that it will not fire any more; it is then as new. */
void sk_timer_disarm(struct sk_timer *timer);

static inline bool sk_timer_is_armed(const struct sk_timer *timer)
{
	return timer->entry != NULL;
}

/* Whether an armed timer has fired. */
static inline bool sk_timer_has_fired(const struct sk_timer *timer)
{
	return sk_slot_is_ready(&timer->entry->slot);
}

/* How finely a moment is kept that is `length` ns away; see above. */
static inline uint64_t sk_granule(uint64_t length)
{
	if (length < UINT64_C(1) << 24)
		return 1;
	return length < UINT64_C(1) << 26 ? UINT64_C(1) << 18 : UINT64_C(1) << 20;
}

/* Finds out when to look next, without firing anything: `next` may be too early after a disarming. By
 * the owner. */
void sk_timers_refresh(struct sk_timers *timers);

/* Fires what is due, and wakes those who wait. By the owner. Returns how many. */
unsigned sk_timers_fire(struct sk_timers *timers, uint64_t now);

/* The same by another thread, while the owner is stuck in something else; if it is just at its timers
 * itself, nothing is done. */
unsigned sk_timers_fire_for_owner(struct sk_timers *timers, uint64_t now);

/* The same, and `*earlier` becomes true if the owner has to look earlier than it knew: it may have gone to
 * sleep meanwhile, and has to be told (sk_sched_timer_changed). */
unsigned sk_timers_visit(struct sk_timers *timers, uint64_t now, bool *earlier);

static inline uint64_t sk_timers_next(struct sk_timers *timers)
{
	return sk_load(&timers->next, SK_RELAXED);
}

/* Whether something was posted to the owner. */
static inline bool sk_timers_have_mail(struct sk_timers *timers)
{
	return sk_load(&timers->mail, SK_RELAXED) != NULL;
}

#endif /* SKUA_SCHED_TIMER_H */
