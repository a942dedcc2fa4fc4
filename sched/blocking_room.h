/*
 * blocking_room.h - waiting until the blocking pool has a place for one more job.
 *
 * Each kind of job has a list of those who wait, first come first served. A place that becomes free
 * while somebody waits is never free for others: it is handed to the first of the list, who leaves
 * it with a place of his own (as a permit of Tokio's semaphore is). So as long as the list is not
 * empty all places are taken, and who does not wait cannot overtake. Who is given a place and does
 * not use it, because he was cancelled or has ended, hands it on.
 *
 * The lock of the pool guards lists and states. Handing over touches the wait last with
 * sk_slot_fire: who finds the slot ready may free it. Wakers are called when the lock is released.
 */
#ifndef SKUA_SCHED_BLOCKING_ROOM_H
#define SKUA_SCHED_BLOCKING_ROOM_H

#include "sched/blocking.h"
#include "sched/obligation.h"
#include "sched/waiter.h"

/* The first two by the lock; the others are read after the slot is ready. */
enum sk_blocking_wait_state {
	SK_BLOCKING_WAITS, /* it is in the list */
	SK_BLOCKING_HAS_PLACE,
	SK_BLOCKING_CLOSED, /* there will be no place any more */
};

/* May alias: it lives in a skua_blocking_wait, which users assign as a whole. */
struct __attribute__((may_alias)) sk_blocking_wait {
	sk_slot slot;                             /* ready when it is no longer in the list */
	struct sk_blocking *pool;                 /* NULL: nobody waits with it. Its user's own */
	struct sk_blocking_wait *next, *previous; /* in the list of its kind */
	struct sk_obligation obligation;
	uint32_t kind;
	uint8_t state; /* enum sk_blocking_wait_state */
};

_Static_assert(sizeof(struct sk_blocking_wait) <= sizeof(skua_blocking_wait),
	       "skua_blocking_wait is too small");

static inline struct sk_blocking_wait *sk_blocking_wait_of(skua_blocking_wait *wait)
{
	return (struct sk_blocking_wait *)(void *)wait;
}

/* Submits a job as soon as there is room; see skua_spawn_blocking_when_room. */
skua_poll sk_blocking_submit_when_room(struct sk_sched *sched, skua_cx *cx,
				       struct sk_blocking_wait *wait,
				       const struct sk_blocking_job *job, skua_task **handle);

/* Makes sure that nothing is waited for with it; it is then as new. */
void sk_blocking_wait_cancel(struct sk_blocking_wait *wait);

/* A place of this kind is no longer needed: hands it to the first who waits, or gives it back. Under
 * the lock. Returns whom to wake when it has been released. */
sk_waiter sk_blocking_free_place(struct sk_blocking_kind *kind);

/* Tells the first who waits, if there is one, that there will be no place. Under the lock of a pool that
 * is closed. Returns whom to wake, and whether there was anybody. */
bool sk_blocking_refuse_first(struct sk_blocking_kind *kind, sk_waiter *waiter);

#endif /* SKUA_SCHED_BLOCKING_ROOM_H */
