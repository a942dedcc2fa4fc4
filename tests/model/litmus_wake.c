/*
 * litmus_wake.c - sleep and wakeups: futexes, the parker, threads that wait by looking; and the mistakes
 * that must be found.
 */
#include "sched/parker.h"
#include "tests/model/litmus.h"

/* What is to be visible after a wakeup. */
static int told;

/* ---- Futexes ---- */

static sk_futex word;

THREAD(futex_waits)
{
	while (R(word, ACQUIRE) == 0)
		sk_futex_wait(&word, 0, SK_FOREVER);
	mc_assert(told == 1);
}

THREAD(futex_wakes)
{
	told = 1;
	W(word, 1, RELEASE);
	sk_futex_wake(&word);
}

THREAD(futex_does_not_wake)
{
	told = 1;
	W(word, 1, RELEASE);
}

THREAD(futex_wakes_too_early)
{
	told = 1;
	sk_futex_wake(&word);
	W(word, 1, RELEASE);
}

/* The look of the kernel and the sleep are one step, so no wakeup falls between. */
HOLDS(futex)
{
	RUN(futex_waits, futex_wakes);
}

/* A store alone wakes nobody. */
MUST_FAIL(futex_without_wake, "no thread can go on")
{
	RUN(futex_waits, futex_does_not_wake);
}

/* Nor does a wake before the store. */
MUST_FAIL(futex_woken_too_early, "no thread can go on")
{
	RUN(futex_waits, futex_wakes_too_early);
}

THREAD(futex_waits_once)
{
	if (R(word, RELAXED) == 0)
		sk_futex_wait(&word, 0, SK_FOREVER);
	mc_assert(R(word, RELAXED) != 0);
}

/* A futex wait may end for no reason. */
MUST_FAIL(futex_without_loop, "not so: ")
{
	RUN(futex_waits_once, futex_wakes);
}

/* Also before anything has happened. */
LITMUS2(futex_ends_at_any_time, sk_futex_wait(&word, 0, SK_FOREVER);
	r[0] = ADD(x, 0, RELAXED), W(x, 1, RELAXED); W(word, 1, RELEASE);
	sk_futex_wake(&word), r[0], 0, 1)

/* ---- The parker of sched/parker.c ---- */

static sk_parker parker;

THREAD(unparks)
{
	told = 1;
	sk_unpark(&parker);
}

/* Before, during or after: an unpark ends one park, and passes on what was before it. */
HOLDS(park_against_unpark)
{
	int thread;

	sk_parker_init(&parker);
	thread = mc_thread(unparks, NULL);
	mc_assert(sk_park(&parker, SK_FOREVER));
	mc_assert(told == 1);
	mc_join(thread);
	sk_parker_destroy(&parker);
}

/* An unpark is remembered, and everything before it. */
HOLDS(park_after_unpark)
{
	sk_parker_init(&parker);
	RUN(unparks);
	mc_assert(sk_park(&parker, SK_FOREVER));
	sk_parker_destroy(&parker);
}

/* But an unpark is remembered only once. */
MUST_FAIL(park_twice, "no thread can go on")
{
	sk_parker_init(&parker);
	sk_unpark(&parker);
	sk_unpark(&parker);
	sk_park(&parker, SK_FOREVER);
	sk_park(&parker, SK_FOREVER);
}

static void unpark(void *argument)
{
	sk_unpark(argument);
}

/* The parked thread may end the parker's life: the unpark only uses its address. */
HOLDS(park_and_free)
{
	sk_parker *own = sk_malloc(sizeof *own);
	int thread;

	sk_parker_init(own);
	thread = mc_thread(unpark, own);
	sk_park(own, SK_FOREVER);
	sk_parker_destroy(own);
	sk_free(own);
	mc_join(thread);
}

/* That only its timeout ends a wait hides a lost wakeup. */
MUST_FAIL(park_until_timeout, "only a timeout ends the wait")
{
	sk_parker_init(&parker);
	sk_park(&parker, sk_now() + 1);
}

/* Where a timeout is allowed it may come first, or not. */
MC_SCENARIO_WITH(litmus, park_timed, .preemptions = 20, .spurious = 2, .allow_timeouts = true,
		 .outcomes = OUTCOMES(0, 1))
{
	int thread;

	sk_parker_init(&parker);
	thread = mc_thread(unparks, NULL);
	mc_outcome(sk_park(&parker, sk_now() + 1));
	mc_join(thread);
}

/* A wait that runs out ends at its deadline, not before. */
MC_SCENARIO_WITH(litmus, park_until_a_deadline, .preemptions = 20, .spurious = 2,
		 .allow_timeouts = true, .outcomes = OUTCOMES(0, 1))
{
	uint64_t begin = sk_now();
	bool woken;
	int thread;

	sk_parker_init(&parker);
	thread = mc_thread(unparks, NULL);
	woken = sk_park(&parker, begin + 1000000000);
	mc_assert(woken || sk_now() >= begin + 1000000000);
	mc_outcome(woken);
	mc_join(thread);
}

/* ---- Threads that wait for each other by looking ---- */

THREAD(wait_for_y)
{
	while (R(y, ACQUIRE) == 0)
		sk_thread_yield();
	W(x, 1, RELEASE);
}

THREAD(wait_for_x)
{
	while (R(x, ACQUIRE) == 0)
		sk_thread_yield();
	W(y, 1, RELEASE);
}

THREAD(spin_for_x)
{
	while (R(x, ACQUIRE) == 0)
		;
	W(y, 1, RELEASE);
}

THREAD(set_x)
{
	W(x, 1, RELEASE);
}

/* Each waits for the other for ever: a livelock. */
MUST_FAIL(livelock, "yields for ever")
{
	RUN(wait_for_y, wait_for_x);
}

/* Without a yield it is found by the number of steps. */
MC_SCENARIO_WITH(litmus, livelock_without_yield, .preemptions = 1, .must_fail = true,
		 .expect = "a livelock?")
{
	RUN(spin_for_x);
}

/* One who waits by looking sees the store in the end. */
HOLDS(wait_by_looking)
{
	RUN(wait_for_x, set_x);
}

/* Two who do, and take turns, do not keep the third one away. */
MC_SCENARIO_WITH(litmus, wait_by_looking_of_two, .preemptions = 3, .stale = 3)
{
	RUN(wait_for_x, wait_for_x, set_x);
}

THREAD(count_until_x)
{
	while (R(x, ACQUIRE) == 0) {
		ADD(y, 1, RELAXED);
		sk_thread_yield();
	}
}

/* Not even when each of their looks changes something. */
MC_SCENARIO_WITH(litmus, wait_by_counting_of_two, .preemptions = 1, .stale = -1)
{
	RUN(count_until_x, count_until_x, set_x);
}
