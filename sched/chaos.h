/*
 * chaos.h - a build in which threads are disturbed on purpose (-Dchaos=true, which defines
 * SK_CHAOS); in any other build nothing of it exists.
 *
 * Every operation of sync.h is a point at which the calling thread may give its CPU away or sleep
 * for a moment, a weak compare-and-exchange may fail and a wait may end for no reason. Besides,
 * every task that is queued again can be sent to the next worker. What happens at a point is
 * decided by a generator of the thread's own, seeded from one number and the order in which threads
 * came: the same seed disturbs in the same way, though it does not repeat an execution.
 *
 * Without a call of sk_chaos_configure the environment decides: SKUA_TEST_CHAOS=SEED turns the
 * default on.
 */
#ifndef SKUA_SCHED_CHAOS_H
#define SKUA_SCHED_CHAOS_H

#include <stdbool.h>
#include <stdint.h>

struct sk_chaos_options {
	uint64_t seed;
	uint32_t yield_one_in; /* points; 0: never */
	uint32_t sleep_one_in;
	uint32_t sleep_us; /* at most */
	uint32_t fail_one_in;
	bool migrate;
};

/* When no other thread is at a point. */
void sk_chaos_configure(const struct sk_chaos_options *wanted);

/* What a seed stands for. */
struct sk_chaos_options sk_chaos_default(uint64_t seed);

#ifdef SK_CHAOS

/* May give the CPU away. */
void sk_chaos_point(void);

/* Whether an operation that may fail for no reason does. */
bool sk_chaos_fails(void);

/* Whether tasks that are queued again go to the next worker. */
bool sk_chaos_migrates(void);

#endif

#endif /* SKUA_SCHED_CHAOS_H */
