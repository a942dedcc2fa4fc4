/*
 * litmus_locks.c - mutual exclusion, made by hand and with locks, condition variables, and the mistakes
 * that must be found.
 */
#include "tests/model/litmus.h"

static int counter;

/* Two threads of one lock each count once; the sum is right and there is no race. */
static void count_twice(void (*first)(void *), void (*second)(void *))
{
	RUN(first, second);
	mc_assert(counter == 2);
}

/* ---- Dekker's entry: who sees the other's flag stays out ---- */

#define DEKKER(name, order, between, load)                                                         \
	THREAD(name##_1)                                                                           \
	{                                                                                          \
		W(x, 1, order);                                                                    \
		between;                                                                           \
		if (R(y, load) == 0)                                                               \
			counter++;                                                                 \
	}                                                                                          \
	THREAD(name##_2)                                                                           \
	{                                                                                          \
		W(y, 1, order);                                                                    \
		between;                                                                           \
		if (R(x, load) == 0)                                                               \
			counter++;                                                                 \
	}

DEKKER(dekker_fences, RELAXED, sk_fence(), RELAXED)
DEKKER(dekker_release, RELEASE, , ACQUIRE)

/* Store buffering as a lock: at most one comes in. */
HOLDS(dekker_with_fences)
{
	RUN(dekker_fences_1, dekker_fences_2);
	mc_assert(counter <= 1);
}

/* With release and acquire both come in. */
MUST_FAIL(dekker_without_fences, "race: a plain")
{
	RUN(dekker_release_1, dekker_release_2);
}

/* ---- Peterson's lock ---- */

#define PETERSON(name, own, other, number, order, load)                                            \
	THREAD(name)                                                                               \
	{                                                                                          \
		W(own, 1, order);                                                                  \
		W(z, number, order);                                                               \
		while (R(other, load) == 1 && R(z, load) == number)                                \
			sk_thread_yield();                                                         \
		counter++;                                                                         \
		W(own, 0, RELEASE);                                                                \
	}

PETERSON(peterson_1, x, y, 1, SEQ_CST, SEQ_CST)
PETERSON(peterson_2, y, x, 2, SEQ_CST, SEQ_CST)
PETERSON(peterson_release_1, x, y, 1, RELEASE, ACQUIRE)
PETERSON(peterson_release_2, y, x, 2, RELEASE, ACQUIRE)

/* Peterson's lock is correct with seq_cst accesses. */
HOLDS(peterson_seq_cst)
{
	count_twice(peterson_1, peterson_2);
}

/* Not with less: each may miss the other's flag. */
MUST_FAIL(peterson_release_acquire, "race: a plain")
{
	count_twice(peterson_release_1, peterson_release_2);
}

/* ---- Spin locks ---- */

#define SPIN(name, lock, unlock)                                                                   \
	THREAD(name)                                                                               \
	{                                                                                          \
		while (sk_exchange(&x, 1, SK_##lock) == 1)                                         \
			sk_thread_yield();                                                         \
		counter++;                                                                         \
		W(x, 0, unlock);                                                                   \
	}

SPIN(spin, ACQUIRE, RELEASE)
SPIN(spin_relaxed_lock, RELAXED, RELEASE)
SPIN(spin_relaxed_unlock, ACQUIRE, RELAXED)

/* A spin lock: exchange with acquire, store with release. */
HOLDS(spin_lock)
{
	count_twice(spin, spin);
}

/* With three, those who wait must not keep the holder from going on. */
MC_SCENARIO_WITH(litmus, spin_lock_of_three, .preemptions = 3)
{
	RUN(spin, spin, spin);
	mc_assert(counter == 3);
}

/* The lock does not acquire what was done under it before. */
MUST_FAIL(spin_lock_relaxed_lock, "race: a plain")
{
	count_twice(spin_relaxed_lock, spin_relaxed_lock);
}

/* The unlock does not release it. */
MUST_FAIL(spin_lock_relaxed_unlock, "race: a plain")
{
	count_twice(spin_relaxed_unlock, spin_relaxed_unlock);
}

/* ---- Mutexes ---- */

static sk_mutex first = SK_MUTEX_INITIALIZER, second = SK_MUTEX_INITIALIZER;

THREAD(lock_and_count)
{
	sk_mutex_lock(&first);
	counter++;
	sk_mutex_unlock(&first);
}

THREAD(count_without_lock)
{
	counter++;
}

/* One at a time, and each sees what the one before did. */
HOLDS(mutex)
{
	count_twice(lock_and_count, lock_and_count);
}

/* A lock that only one of them takes is none. */
MUST_FAIL(mutex_forgotten, "race: a plain")
{
	count_twice(lock_and_count, count_without_lock);
}

THREAD(lock_first_second)
{
	sk_mutex_lock(&first);
	sk_mutex_lock(&second);
	sk_mutex_unlock(&second);
	sk_mutex_unlock(&first);
}

THREAD(lock_second_first)
{
	sk_mutex_lock(&second);
	sk_mutex_lock(&first);
	sk_mutex_unlock(&first);
	sk_mutex_unlock(&second);
}

/* Two locks in one order. */
HOLDS(two_mutexes)
{
	RUN(lock_first_second, lock_first_second);
}

/* Two locks in both orders: each holds what the other waits for. */
MUST_FAIL(deadlock, "no thread can go on")
{
	RUN(lock_first_second, lock_second_first);
}

THREAD(lock_twice)
{
	sk_mutex_lock(&first);
	sk_mutex_lock(&first);
}

/* A mutex is not recursive. */
MUST_FAIL(mutex_locked_twice, "no thread can go on")
{
	RUN(lock_twice);
}

THREAD(unlock_only)
{
	sk_mutex_unlock(&first);
}

/* Only its holder unlocks a mutex. */
MUST_FAIL(mutex_unlocked_by_another, "does not hold it")
{
	sk_mutex_lock(&first);
	RUN(unlock_only);
}

/* ---- Condition variables ---- */

static sk_cond cond;
static bool ready;

THREAD(wait_while)
{
	sk_mutex_lock(&first);
	while (!ready)
		sk_cond_wait(&cond, &first);
	counter++;
	sk_mutex_unlock(&first);
}

THREAD(wait_if)
{
	sk_mutex_lock(&first);
	if (!ready)
		sk_cond_wait(&cond, &first);
	mc_assert(ready);
	sk_mutex_unlock(&first);
}

THREAD(set_and_signal)
{
	sk_mutex_lock(&first);
	ready = true;
	sk_cond_signal(&cond);
	sk_mutex_unlock(&first);
}

THREAD(set_and_broadcast)
{
	sk_mutex_lock(&first);
	ready = true;
	sk_mutex_unlock(&first);
	sk_cond_broadcast(&cond);
}

THREAD(signal_before_set)
{
	sk_cond_signal(&cond);
	sk_mutex_lock(&first);
	ready = true;
	sk_mutex_unlock(&first);
}

/* Waiting in a loop, under the lock. */
HOLDS(condition)
{
	RUN(wait_while, set_and_signal);
}

/* A wait may end for no reason. */
MUST_FAIL(condition_without_loop, "not so: ready")
{
	RUN(wait_if, set_and_signal);
}

/* The signal comes between the look and the set. */
MUST_FAIL(condition_signalled_too_early, "no thread can go on")
{
	RUN(wait_while, signal_before_set);
}

/* A broadcast wakes both, also when the lock is free by then. */
MC_SCENARIO_WITH(litmus, condition_of_two, .preemptions = 3)
{
	RUN(wait_while, wait_while, set_and_broadcast);
	mc_assert(counter == 2);
}

/* A signal wakes only one of two. */
MUST_FAIL(condition_one_signal_for_two, "no thread can go on")
{
	RUN(wait_while, wait_while, set_and_signal);
}

static int waiting, woken;

#define WAIT_FOR_ONE(name, number)                                                                 \
	THREAD(name)                                                                               \
	{                                                                                          \
		sk_mutex_lock(&first);                                                             \
		waiting++;                                                                         \
		sk_cond_wait(&cond, &first);                                                       \
		if (woken == 0)                                                                    \
			woken = number;                                                            \
		sk_cond_signal(&cond);                                                             \
		sk_mutex_unlock(&first);                                                           \
	}

WAIT_FOR_ONE(wait_for_one_1, 1)
WAIT_FOR_ONE(wait_for_one_2, 2)

THREAD(signal_when_both_wait)
{
	bool both = false;

	while (!both) {
		sk_mutex_lock(&first);
		both = waiting == 2;
		sk_mutex_unlock(&first);
		if (!both)
			sk_thread_yield();
	}
	sk_cond_signal(&cond);
}

/* Which of two waiters a signal wakes is not said: each is tried. */
MC_SCENARIO_WITH(litmus, condition_wakes_any, .preemptions = 2, .spurious = -1,
		 .outcomes = OUTCOMES(1, 2))
{
	RUN(wait_for_one_1, wait_for_one_2, signal_when_both_wait);
	mc_outcome(woken);
}

static int state;

THREAD(wait_for_state)
{
	sk_mutex_lock(&first);
	r[0] = state;
	if (state < 2)
		sk_cond_wait(&cond, &first);
	r[1] = state;
	sk_mutex_unlock(&first);
}

THREAD(set_state_twice)
{
	sk_mutex_lock(&first);
	state = 1;
	sk_mutex_unlock(&first);
	sk_mutex_lock(&first);
	state = 2;
	sk_mutex_unlock(&first);
	sk_cond_signal(&cond);
}

/* A wait may end for no reason at any time (outcome: the state before and after, in base 3). */
MC_SCENARIO_WITH(litmus, condition_ends_at_any_time, FREELY, .outcomes = OUTCOMES(0, 1, 2, 4, 5, 8))
{
	RUN(wait_for_state, set_state_twice);
	mc_outcome(3 * r[0] + r[1]);
}
