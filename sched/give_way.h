/*
 * give_way.h - yielding the CPU, where others on it may bring work sooner than a sleep and a wake
 * would take; unless they are such that compute.
 *
 * A yield lets a thread that computes have its whole time slice, some milliseconds, while one that
 * sleeps and is woken gets the CPU at once. So after a yield that took SK_YIELD_LONG_NS there is none for
 * a while: first for SK_YIELD_PAUSE_NS, and each time that the next one is as long again, for twice as
 * long.
 */
#ifndef SKUA_SCHED_GIVE_WAY_H
#define SKUA_SCHED_GIVE_WAY_H

#include "sched/sync.h"

enum {
	SK_YIELD_LONG_NS = 2000000,
	SK_YIELD_PAUSE_NS = 8000000,
	SK_YIELD_PAUSE_MAX_NS = 1000000000,
};

/* Of one thread; zeroed at first. */
struct sk_yielding {
	uint64_t not_before;
	uint64_t pause; /* after the last yield; 0 if that was short */
};

/* Yields; false: that is not advisable, or it is `until` already. */
static inline bool sk_give_way(struct sk_yielding *yielding, uint64_t until)
{
	uint64_t before = sk_now(), after;

	if (before < yielding->not_before || before >= until)
		return false;
	sk_thread_yield();
	after = sk_now();
	if (after - before < SK_YIELD_LONG_NS) {
		yielding->pause = 0;
		return true;
	}
	if (yielding->pause == 0)
		yielding->pause = SK_YIELD_PAUSE_NS;
	else if (yielding->pause < SK_YIELD_PAUSE_MAX_NS / 2)
		yielding->pause *= 2;
	else
		yielding->pause = SK_YIELD_PAUSE_MAX_NS;
	yielding->not_before = after + yielding->pause;
	return true;
}

#endif /* SKUA_SCHED_GIVE_WAY_H */
