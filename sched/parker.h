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
 *     EMPTY -> ELSEWHERE   the owner, about to sleep in something else, such as epoll_wait: who
 *                          unparks it then has to end that sleep (sk_unpark says so)
 *     any -> EMPTY         the owner, which has come back from there
 */
#ifndef SKUA_SCHED_PARKER_H
#define SKUA_SCHED_PARKER_H

#include "sched/sync.h"

typedef struct sk_parker {
#ifdef SK_HAS_FUTEX
	sk_futex state;
#else
	bool notified, elsewhere;
	sk_mutex mutex;
	sk_cond cond;
#endif
} sk_parker;

void sk_parker_init(sk_parker *parker);
void sk_parker_destroy(sk_parker *parker);
/* Sleeps until unparked (true) or until `deadline` (false). Only the owner may call it. */
bool sk_park(sk_parker *parker, uint64_t deadline);

/* Before the owner sleeps elsewhere. False: it has been unparked, and must not sleep. */
bool sk_park_elsewhere(sk_parker *parker);
/* After it has. Returns whether it was unparked. */
bool sk_park_end(sk_parker *parker);

/* Any thread. True: the owner sleeps elsewhere, or is about to, and the caller has to wake it. */
bool sk_unpark(sk_parker *parker);

#endif /* SKUA_SCHED_PARKER_H */
