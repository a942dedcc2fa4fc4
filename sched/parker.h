/*
 * parker.h - puts one thread to sleep: with a futex on Linux, elsewhere with a mutex and a
 * condition.
 *
 * An unpark is remembered, once: it ends the park that is going on or else the next one. Everything
 * before an unpark is visible after the park that it ended. Three states (after Rust's thread
 * parker):
 *
 *     EMPTY -> PARKED      the owner, about to sleep
 *     any -> NOTIFIED      an unpark; it wakes the futex if it found PARKED
 *     NOTIFIED -> EMPTY    the owner, which returns
 */
#ifndef SKUA_SCHED_PARKER_H
#define SKUA_SCHED_PARKER_H

#include "sched/sync.h"

typedef struct sk_parker {
#ifdef SK_HAS_FUTEX
	sk_futex state;
#else
	bool notified;
	sk_mutex mutex;
	sk_cond cond;
#endif
} sk_parker;

void sk_parker_init(sk_parker *parker);
void sk_parker_destroy(sk_parker *parker);
/* Sleeps until unparked (true) or until `deadline` (false). Only the owner may call it. */
bool sk_park(sk_parker *parker, uint64_t deadline);
void sk_unpark(sk_parker *parker);

#endif /* SKUA_SCHED_PARKER_H */
