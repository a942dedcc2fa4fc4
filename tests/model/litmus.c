/*
 * litmus.c - the explorer's own proof: small programs whose outcomes are known. Each lists what C11
 * allows; all of it must be seen and nothing else.
 */
#include "sched/sync.h"
#include "tests/model/explorer.h"

typedef SK_ATOMIC(int) atomic_number;

static atomic_number a, b;
static int plain;
static int r[4];

#define OUTCOMES(...) ((const int[]){__VA_ARGS__, -1})
#define FREELY .preemptions = 10, .stale = 10

static void run_both(void (*first)(void *), void (*second)(void *))
{
	int one = mc_thread(first, NULL), two = mc_thread(second, NULL);

	mc_join(one);
	mc_join(two);
}

static void mp_relaxed_writer(void *unused)
{
	(void)unused;
	sk_store(&a, 1, SK_RELAXED);
	sk_store(&b, 1, SK_RELAXED);
}

static void mp_relaxed_reader(void *unused)
{
	(void)unused;
	r[0] = sk_load(&b, SK_RELAXED);
	r[1] = sk_load(&a, SK_RELAXED);
}

/* Message passing without any order: the flag may be seen before the data. */
MC_SCENARIO_WITH(litmus, message_passing_relaxed, FREELY, .outcomes = OUTCOMES(0, 1, 2, 3))
{
	run_both(mp_relaxed_writer, mp_relaxed_reader);
	mc_outcome(2 * r[0] + r[1]);
}

static void mp_writer(void *unused)
{
	(void)unused;
	sk_store(&a, 1, SK_RELAXED);
	sk_store(&b, 1, SK_RELEASE);
}

static void mp_reader(void *unused)
{
	(void)unused;
	r[0] = sk_load(&b, SK_ACQUIRE);
	r[1] = sk_load(&a, SK_RELAXED);
}

MC_SCENARIO_WITH(litmus, message_passing, FREELY, .outcomes = OUTCOMES(0, 1, 3))
{
	run_both(mp_writer, mp_reader);
	mc_outcome(2 * r[0] + r[1]);
}

static void sb_first(void *unused)
{
	(void)unused;
	sk_store(&a, 1, SK_RELEASE);
	r[0] = sk_load(&b, SK_ACQUIRE);
}

static void sb_second(void *unused)
{
	(void)unused;
	sk_store(&b, 1, SK_RELEASE);
	r[1] = sk_load(&a, SK_ACQUIRE);
}

/* Store buffering: with release and acquire both may miss the other's store. */
MC_SCENARIO_WITH(litmus, store_buffering, FREELY, .outcomes = OUTCOMES(0, 1, 2, 3))
{
	run_both(sb_first, sb_second);
	mc_outcome(2 * r[0] + r[1]);
}

static void sb_fence_first(void *unused)
{
	(void)unused;
	sk_store(&a, 1, SK_RELAXED);
	sk_fence();
	r[0] = sk_load(&b, SK_RELAXED);
}

static void sb_fence_second(void *unused)
{
	(void)unused;
	sk_store(&b, 1, SK_RELAXED);
	sk_fence();
	r[1] = sk_load(&a, SK_RELAXED);
}

MC_SCENARIO_WITH(litmus, store_buffering_with_fences, FREELY, .outcomes = OUTCOMES(1, 2, 3))
{
	run_both(sb_fence_first, sb_fence_second);
	mc_outcome(2 * r[0] + r[1]);
}

static void race_writer(void *unused)
{
	(void)unused;
	plain = 1;
	sk_store(&a, 1, SK_RELAXED);
}

static void race_reader(void *unused)
{
	(void)unused;
	if (sk_load(&a, SK_ACQUIRE) == 1)
		r[0] = plain;
}

/* The canary: the store is not a release. It must fail in every run. */
MC_SCENARIO_WITH(litmus, canary_a_race_is_found, .must_fail = true)
{
	run_both(race_writer, race_reader);
}
