/*
 * litmus_message.c - message passing: one thread writes x, then the flag y; the other reads the flag,
 * then x. Outcome: twice the flag plus x; so 2 is a flag that was seen before what it stands for.
 */
#include "tests/model/litmus.h"

#define MP(name, raise_flag, read_flag, ...)                                                       \
	LITMUS2(name, W(x, 1, RELAXED); raise_flag, read_flag;                                     \
		r[1] = R(x, RELAXED), 2 * r[0] + r[1], __VA_ARGS__)

/* Without any order. */
MP(mp_relaxed, W(y, 1, RELAXED), r[0] = R(y, RELAXED), 0, 1, 2, 3)

/* A store that releases, read by a load that acquires, synchronizes. */
MP(mp_release_acquire, W(y, 1, RELEASE), r[0] = R(y, ACQUIRE), 0, 1, 3)

/* Release alone does not. */
MP(mp_release_relaxed, W(y, 1, RELEASE), r[0] = R(y, RELAXED), 0, 1, 2, 3)

/* Nor does acquire alone. */
MP(mp_relaxed_acquire, W(y, 1, RELAXED), r[0] = R(y, ACQUIRE), 0, 1, 2, 3)

/* Seq_cst is both. */
MP(mp_seq_cst, W(y, 1, SEQ_CST), r[0] = R(y, SEQ_CST), 0, 1, 3)

/* Compilers take consume for acquire, and so does the explorer. */
MP(mp_release_consume, W(y, 1, RELEASE), r[0] = sk_load(&y, __ATOMIC_CONSUME), 0, 1, 3)

/* A fence before a relaxed store and one after a relaxed load synchronize. */
MP(mp_fences, FENCE(RELEASE); W(y, 1, RELAXED), r[0] = R(y, RELAXED); FENCE(ACQUIRE), 0, 1, 3)

/* Seq_cst fences are acquire and release fences as well. */
MP(mp_seq_cst_fences, FENCE(SEQ_CST); W(y, 1, RELAXED), r[0] = R(y, RELAXED);
   FENCE(SEQ_CST), 0, 1, 3)

/* A fence with a load that acquires. */
MP(mp_fence_to_atomic, FENCE(RELEASE); W(y, 1, RELAXED), r[0] = R(y, ACQUIRE), 0, 1, 3)

/* A store that releases with a fence. */
MP(mp_atomic_to_fence, W(y, 1, RELEASE), r[0] = R(y, RELAXED); FENCE(ACQUIRE), 0, 1, 3)

/* An acquire fence does not release. */
MP(mp_wrong_fence, FENCE(ACQUIRE); W(y, 1, RELAXED), r[0] = R(y, RELAXED);
   FENCE(ACQUIRE), 0, 1, 2, 3)

/* A release fence releases only what was before it. */
LITMUS2(mp_fence_before_the_data, FENCE(RELEASE); W(x, 1, RELAXED);
	W(y, 1, RELAXED), r[0] = R(y, ACQUIRE); r[1] = R(x, RELAXED), 2 * r[0] + r[1], 0, 1, 2, 3)

/* An acquire fence acquires only what was read before it. */
LITMUS2(mp_fence_before_the_flag, W(x, 1, RELAXED); W(y, 1, RELEASE), FENCE(ACQUIRE);
	r[0] = R(y, RELAXED); r[1] = R(x, RELAXED), 2 * r[0] + r[1], 0, 1, 2, 3)

/* A read-modify-write releases as a store and acquires as a load. */
MP(mp_rmw, ADD(y, 1, RELEASE), r[0] = ADD(y, 0, ACQUIRE), 0, 1, 3)

/* A relaxed one does not acquire. */
MP(mp_rmw_relaxed, ADD(y, 1, RELEASE), r[0] = ADD(y, 0, RELAXED), 0, 1, 2, 3)

/* Three threads: y = 1 is the release; the second thread adds 2, or stores 2. Outcome: 2 y + x. */
#define SEQUENCE(name, between, ...)                                                               \
	LITMUS3(name, W(x, 1, RELAXED); W(y, 1, RELEASE), between, r[0] = R(y, ACQUIRE);           \
		r[1] = R(x, RELAXED), 2 * r[0] + r[1], __VA_ARGS__)

/* A relaxed read-modify-write goes on with the release sequence: y = 3 implies x. */
SEQUENCE(release_sequence_by_rmw, ADD(y, 2, RELAXED), 0, 1, 3, 4, 5, 7)

/* So do two of them: an odd y implies x. */
LITMUS3(release_sequence_by_two_rmws, W(x, 1, RELAXED); ADD(y, 1, RELEASE), ADD(y, 2, RELAXED);
	ADD(y, 2, RELAXED), r[0] = R(y, ACQUIRE);
	r[1] = R(x, RELAXED), 2 * r[0] + r[1], 0, 1, 3, 4, 5, 7, 8, 9, 11)

/* A store of another thread ends it: y = 2 implies nothing. */
SEQUENCE(release_sequence_broken, W(y, 2, RELAXED), 0, 1, 3, 4, 5)

/* So does a relaxed store of the same thread since C++20; C11 would not allow 4. */
LITMUS2(release_sequence_own_store, W(x, 1, RELAXED); W(y, 1, RELEASE);
	W(y, 2, RELAXED), r[0] = R(y, ACQUIRE);
	r[1] = R(x, RELAXED), 2 * r[0] + r[1], 0, 1, 3, 4, 5)

/* A read-modify-write by a third thread after such a store has nothing to go on with. */
LITMUS3(release_sequence_broken_then_rmw, W(x, 1, RELAXED); W(y, 1, RELEASE);
	W(y, 2, RELAXED), r[2] = sk_cas(&y, &(int){2}, 3, SK_RELAXED, SK_RELAXED),
	r[0] = R(y, ACQUIRE);
	r[1] = R(x, RELAXED), 2 * r[0] + r[1], 0, 1, 3, 4, 5, 6, 7)

/* Compare-and-exchange as the second access of the flag; r[0]: it was found. */
#define CAS_MP(name, expected, found, success, failure, ...)                                       \
	MP(name, W(y, 1, RELEASE), int value = expected;                                           \
	   bool done = sk_cas(&y, &value, 2, SK_##success, SK_##failure);                          \
	   r[0] = found, __VA_ARGS__)

/* If a compare-and-exchange succeeds the first order counts. */
CAS_MP(mp_cas_succeeds_acquire, 1, done, ACQUIRE, RELAXED, 0, 1, 3)

/* And if that is relaxed, nothing is acquired. */
CAS_MP(mp_cas_succeeds_relaxed, 1, done, RELAXED, RELAXED, 0, 1, 2, 3)

/* If it fails the second order counts: it reads 1 where 5 was expected. */
CAS_MP(mp_cas_fails_acquire, 5, !done && value == 1, ACQUIRE, ACQUIRE, 0, 1, 3)

/* Then the first one does not help. */
CAS_MP(mp_cas_fails_relaxed, 5, !done && value == 1, ACQ_REL, RELAXED, 0, 1, 2, 3)

/* A compare-and-exchange may release, too. */
MP(mp_cas_releases, sk_cas(&y, &(int){0}, 1, SK_RELEASE, SK_RELAXED), r[0] = R(y, ACQUIRE), 0, 1, 3)
