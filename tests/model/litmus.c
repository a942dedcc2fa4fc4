/*
 * litmus.c - two and more threads on two and three atomics: what may be seen of whose stores, and in
 * which order. Outcomes have one bit for each of the reads, the first one on top, unless it says
 * otherwise. Message passing has a file of its own.
 */
#include "tests/model/litmus.h"

atomic_number x, y, z;
int r[4];

void run_threads(int count, void (*const threads[])(void *))
{
	int numbers[MC_THREADS];

	for (int i = 0; i < count; i++)
		numbers[i] = mc_thread(threads[i], NULL);
	for (int i = 0; i < count; i++)
		mc_join(numbers[i]);
}

/* ---- Store buffering: may both miss the other's store? ---- */

#define SB(name, store_x, between_1, load_y, store_y, between_2, load_x, ...)                      \
	LITMUS2(name, store_x; between_1; r[0] = load_y, store_y; between_2;                       \
		r[1] = load_x, 2 * r[0] + r[1], __VA_ARGS__)

/* Nothing orders a load after an earlier store. */
SB(sb_relaxed, W(x, 1, RELAXED), , R(y, RELAXED), W(y, 1, RELAXED), , R(x, RELAXED), 0, 1, 2, 3)

/* Release and acquire do not order a load after an earlier store either. */
SB(sb_release_acquire, W(x, 1, RELEASE), , R(y, ACQUIRE), W(y, 1, RELEASE), , R(x, ACQUIRE), 0, 1,
   2, 3)

/* One order of all four: the last of the stores is before the other thread's load. */
SB(sb_seq_cst, W(x, 1, SEQ_CST), , R(y, SEQ_CST), W(y, 1, SEQ_CST), , R(x, SEQ_CST), 1, 2, 3)

/* The later fence sees what was stored before the earlier one. */
SB(sb_fences, W(x, 1, RELAXED), sk_fence(), R(y, RELAXED), W(y, 1, RELAXED), sk_fence(),
   R(x, RELAXED), 1, 2, 3)

/* One fence alone has nothing to be ordered with. */
SB(sb_one_fence, W(x, 1, RELAXED), FENCE(SEQ_CST), R(y, RELAXED), W(y, 1, RELAXED), , R(x, RELAXED),
   0, 1, 2, 3)

/* A fence that is only acquire and release is as weak as those accesses. */
SB(sb_acq_rel_fences, W(x, 1, RELAXED), FENCE(ACQ_REL), R(y, RELAXED), W(y, 1, RELAXED),
   FENCE(ACQ_REL), R(x, RELAXED), 0, 1, 2, 3)

/* A fence on one side and seq_cst accesses on the other are all in the one order. */
SB(sb_fence_and_seq_cst, W(x, 1, RELAXED), FENCE(SEQ_CST), R(y, RELAXED), W(y, 1, SEQ_CST), ,
   R(x, SEQ_CST), 1, 2, 3)

/* The relaxed load is not in the one order: a seq_cst store is no fence. */
SB(sb_seq_cst_stores, W(x, 1, SEQ_CST), , R(y, RELAXED), W(y, 1, SEQ_CST), , R(x, RELAXED), 0, 1, 2,
   3)

/* The relaxed stores are not in the one order. */
SB(sb_seq_cst_loads, W(x, 1, RELAXED), , R(y, SEQ_CST), W(y, 1, RELAXED), , R(x, SEQ_CST), 0, 1, 2,
   3)

/* The first thread's load is not in the one order, so it may miss what is. */
SB(sb_seq_cst_store_and_fence, W(x, 1, SEQ_CST), , R(y, RELAXED), W(y, 1, RELAXED), FENCE(SEQ_CST),
   R(x, RELAXED), 0, 1, 2, 3)

/* A seq_cst read-modify-write is no fence either: the relaxed load may be before it. */
SB(sb_rmw_and_relaxed_load, ADD(x, 1, SEQ_CST), , R(y, RELAXED), ADD(y, 1, SEQ_CST), ,
   R(x, RELAXED), 0, 1, 2, 3)

/* With a seq_cst load all four are in the one order. */
SB(sb_rmw_and_seq_cst_load, ADD(x, 1, SEQ_CST), , R(y, SEQ_CST), ADD(y, 1, SEQ_CST), ,
   R(x, SEQ_CST), 1, 2, 3)

/* Seq_cst stores, and fetch_add(0) in place of the load: all four are in the one order. */
SB(sb_fetch_add_0_as_load, W(x, 1, SEQ_CST), , ADD(y, 0, SEQ_CST), W(y, 1, SEQ_CST), ,
   ADD(x, 0, SEQ_CST), 1, 2, 3)

/* The same behind relaxed stores: C11 allows 0, with a store that comes into the modification order
 * before the fetch_add that was executed before; this is the hole of modification orders. */
SB(sb_fetch_add_0_relaxed_stores, W(x, 1, RELAXED), , ADD(y, 0, SEQ_CST), W(y, 1, RELAXED), ,
   ADD(x, 0, SEQ_CST), 1, 2, 3)

/* Two read-modify-writes of the same atomic: the later one acquires from the earlier. */
SB(sb_fetch_add_0_as_fence, W(x, 1, RELAXED), ADD(z, 0, ACQ_REL), R(y, RELAXED), W(y, 1, RELAXED),
   ADD(z, 0, ACQ_REL), R(x, RELAXED), 1, 2, 3)

/* ---- Load buffering ---- */

/* C11 allows 3; RC11 does not, and the explorer cannot read from the future. */
LITMUS2(lb_relaxed, r[0] = R(x, RELAXED); W(y, 1, RELAXED), r[1] = R(y, RELAXED);
	W(x, 1, RELAXED), 2 * r[0] + r[1], 0, 1, 2)

/* Here C11 forbids it, too: each store would happen before itself. */
LITMUS2(lb_release_acquire, r[0] = R(x, ACQUIRE); W(y, 1, RELEASE), r[1] = R(y, ACQUIRE);
	W(x, 1, RELEASE), 2 * r[0] + r[1], 0, 1, 2)

/* ---- Independent reads of independent writes: must the readers agree? ---- */

#define IRIW(name, store, load, between, ...)                                                      \
	LITMUS4(name, W(x, 1, store), W(y, 1, store), r[0] = R(x, load); between;                  \
		r[1] = R(y, load), r[2] = R(y, load); between;                                     \
		r[3] = R(x, load), 8 * r[0] + 4 * r[1] + 2 * r[2] + r[3], __VA_ARGS__)

/* No: acquire orders what one writer did, not two. */
IRIW(iriw_release_acquire, RELEASE, ACQUIRE, , 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

/* Yes: all six are in the one order. 10 is that they disagree. */
IRIW(iriw_seq_cst, SEQ_CST, SEQ_CST, , 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15)

/* Yes: the later fence sees what the reader with the earlier one had read. */
IRIW(iriw_fences, RELAXED, RELAXED, FENCE(SEQ_CST), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14,
     15)

/* No: the stores are not in the one order, so seq_cst loads do not bind each other. */
IRIW(iriw_seq_cst_loads, RELEASE, SEQ_CST, , 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

/* ---- R: a store that is overwritten, and a load ---- */

#define R_TEST(name, order, between, load, ...)                                                    \
	LITMUS2(name, W(x, 1, order); between; W(y, 1, order), W(y, 2, order); between;            \
		r[0] = R(x, load), 2 * (LAST(y) == 2) + r[0], __VA_ARGS__)

/* The load may be before the store: y ends as 2 and x is still 0. */
R_TEST(r_release_acquire, RELEASE, , ACQUIRE, 0, 1, 2, 3)

/* One order of all four: y = 1 before y = 2 puts x = 1 before the load. */
R_TEST(r_seq_cst, SEQ_CST, , SEQ_CST, 0, 1, 3)

/* The second fence is after y = 1, so after the first fence. */
R_TEST(r_fences, RELAXED, FENCE(SEQ_CST), RELAXED, 0, 1, 3)

/* ---- S: a store before a release, and one after an acquire ---- */

/* The store after the acquire is the later one: x = 2 cannot stay. */
LITMUS2(s_release_acquire, W(x, 2, RELAXED); W(y, 1, RELEASE), r[0] = R(y, ACQUIRE);
	W(x, 1, RELAXED), 2 * (LAST(x) == 2) + r[0], 0, 1, 2)

/* C11 allows 3 here: a hole, because stores come into the modification order as they execute. */
LITMUS2(s_relaxed, W(x, 2, RELAXED); W(y, 1, RELAXED), r[0] = R(y, RELAXED);
	W(x, 1, RELAXED), 2 * (LAST(x) == 2) + r[0], 0, 1, 2)

/* ---- 2+2W: can both first stores be the last? ---- */

/* C11 allows 0, that both are 1: the same hole. */
LITMUS2(w2_2_relaxed, W(x, 1, RELAXED); W(y, 2, RELAXED), W(y, 1, RELAXED);
	W(x, 2, RELAXED), 2 * (LAST(x) == 2) + (LAST(y) == 2), 1, 2, 3)

/* Not in one order of all four. */
LITMUS2(w2_2_seq_cst, W(x, 1, SEQ_CST); W(y, 2, SEQ_CST), W(y, 1, SEQ_CST);
	W(x, 2, SEQ_CST), 2 * (LAST(x) == 2) + (LAST(y) == 2), 1, 2, 3)

/* ---- Coherence: one atomic, all of it relaxed ---- */

/* Who has read the new value does not read the old one again. */
LITMUS2(co_rr, W(x, 1, RELAXED), r[0] = R(x, RELAXED);
	r[1] = R(x, RELAXED), 2 * r[0] + r[1], 0, 1, 3)

/* For two readers: 1 before 2, 2 before 1, or neither was seen. */
static int seen(int first, int second)
{
	return first == 1 && second == 2 ? 1 : first == 2 && second == 1 ? 2 : 0;
}

/* All agree on the order of the stores: never one of each. */
LITMUS4(co_rr_two_readers, W(x, 1, RELAXED), W(x, 2, RELAXED), r[0] = R(x, RELAXED);
	r[1] = R(x, RELAXED), r[2] = R(x, RELAXED);
	r[3] = R(x, RELAXED), 3 * seen(r[0], r[1]) + seen(r[2], r[3]), 0, 1, 2, 3, 4, 6, 8)

/* One's own store, or a later one: if 2 was read, it stays. */
LITMUS2(co_wr, W(x, 1, RELAXED);
	r[0] = R(x, RELAXED), W(x, 2, RELAXED), 2 * (r[0] == 2) + (LAST(x) == 2), 0, 1, 3)

/* A store is after what was read before it: if 2 was read, it does not stay. */
LITMUS2(co_rw, r[0] = R(x, RELAXED);
	W(x, 1, RELAXED), W(x, 2, RELAXED), 2 * (r[0] == 2) + (LAST(x) == 2), 0, 1, 2)

/* Two stores of a thread stay in their order (outcome: the two values in base 3). */
LITMUS2(co_ww, W(x, 1, RELAXED); W(x, 2, RELAXED), r[0] = R(x, RELAXED);
	r[1] = R(x, RELAXED), 3 * r[0] + r[1], 0, 1, 2, 4, 5, 8)

/* ---- Three threads: does knowledge travel? ---- */

#define WRC(name, load_x, store_y, load_y, ...)                                                    \
	LITMUS3(name, W(x, 1, RELAXED), r[0] = R(x, load_x);                                       \
		W(y, 1, store_y), r[1] = R(y, load_y);                                             \
		r[2] = R(x, RELAXED), 4 * r[0] + 2 * r[1] + r[2], __VA_ARGS__)

/* Nothing travels by relaxed accesses. */
WRC(wrc_relaxed, RELAXED, RELAXED, RELAXED, 0, 1, 2, 3, 4, 5, 6, 7)

/* What a thread has read is older than what it releases: not 6, even if it read relaxed. */
WRC(wrc_release_acquire, RELAXED, RELEASE, ACQUIRE, 0, 1, 2, 3, 4, 5, 7)

/* But the last one has to acquire. */
WRC(wrc_without_acquire, ACQUIRE, RELEASE, RELAXED, 0, 1, 2, 3, 4, 5, 6, 7)

#define ISA2(name, load_y, store_z, ...)                                                           \
	LITMUS3(name, W(x, 1, RELAXED); W(y, 1, RELEASE), r[0] = R(y, load_y);                     \
		W(z, 1, store_z), r[1] = R(z, ACQUIRE);                                            \
		r[2] = R(x, RELAXED), 4 * r[0] + 2 * r[1] + r[2], __VA_ARGS__)

/* Happens-before is transitive. */
ISA2(isa2_release_acquire, ACQUIRE, RELEASE, 0, 1, 2, 3, 4, 5, 7)

/* A relaxed load in the middle passes nothing on. */
ISA2(isa2_relaxed_load, RELAXED, RELEASE, 0, 1, 2, 3, 4, 5, 6, 7)

/* Nor does a relaxed store. */
ISA2(isa2_relaxed_store, ACQUIRE, RELAXED, 0, 1, 2, 3, 4, 5, 6, 7)

#define RWC(name, between, ...)                                                                    \
	LITMUS3(name, W(x, 1, RELAXED), r[0] = R(x, RELAXED); between;                             \
		r[1] = R(y, RELAXED), W(y, 1, RELAXED); between;                                   \
		r[2] = R(x, RELAXED), 4 * r[0] + 2 * r[1] + r[2], __VA_ARGS__)

/* Fences order what was read, too: x was seen, then y not, then x must be seen: not 4. */
RWC(rwc_fences, FENCE(SEQ_CST), 0, 1, 2, 3, 5, 6, 7)

/* Without them there is no such order. */
RWC(rwc_acq_rel_fences, FENCE(ACQ_REL), 0, 1, 2, 3, 4, 5, 6, 7)

/* Seq_cst accesses beside a release on the same atomic. C++20 and RC11 allow 2, that the order of the
 * seq_cst ones disagrees with happens-before; C11 does not, nor does the explorer. */
LITMUS3(z6_u, W(x, 1, SEQ_CST); W(y, 1, RELEASE), r[0] = ADD(y, 1, SEQ_CST);
	r[1] = R(y, RELAXED), W(y, 3, SEQ_CST);
	r[2] = R(x, SEQ_CST), 2 * (r[0] == 1 && r[1] == 3) + r[2], 0, 1, 3)

/* ---- Read-modify-writes ---- */

/* Nothing comes between the read and the write of an addition. */
LITMUS2(rmw_adds, ADD(x, 1, RELAXED), ADD(x, 1, RELAXED), LAST(x), 2)

/* Exactly one exchange finds what was there first. */
LITMUS2(rmw_exchanges, r[0] = sk_exchange(&x, 1, SK_RELAXED), r[1] = sk_exchange(&x, 1, SK_RELAXED),
	2 * r[0] + r[1], 1, 2)

#define CAS(variable, expected, desired, success, failure)                                         \
	sk_cas(&(variable), &(int){expected}, desired, SK_##success, SK_##failure)

/* Exactly one compare-and-exchange wins. */
LITMUS2(cas_one_wins, r[0] = CAS(x, 0, 1, RELAXED, RELAXED), r[1] = CAS(x, 0, 2, RELAXED, RELAXED),
	2 * r[0] + r[1], 1, 2)

/* The weak one may fail although the value is there. */
LITMUS2(cas_weak_fails_for_no_reason, ,
	r[0] = sk_cas_weak(&x, &(int){0}, 1, SK_RELAXED, SK_RELAXED), r[0], 0, 1)

/* The strong one may not. */
LITMUS2(cas_strong_succeeds, , r[0] = CAS(x, 0, 1, RELAXED, RELAXED), r[0], 1)

/* One that fails is a load, and may read an old store. */
LITMUS2(cas_fails_on_an_old_store, W(x, 1, RELAXED); W(y, 1, RELAXED), int found = 5;
	r[0] = R(y, RELAXED); sk_cas(&x, &found, 7, SK_RELAXED, SK_RELAXED);
	r[1] = found, 2 * r[0] + r[1], 0, 1, 2, 3)

/* One that succeeds has read the newest store: not when a newer one is known. */
LITMUS2(cas_succeeds_on_the_newest, W(x, 1, RELAXED); W(y, 1, RELEASE), r[0] = R(y, ACQUIRE);
	r[1] = CAS(x, 0, 2, RELAXED, RELAXED), 2 * r[0] + r[1], 0, 1, 2)

/* A weak one that fails for no reason is a load, too: 4 is that it reads the first 0, although the
 * second one was there. */
LITMUS2(cas_weak_fails_on_an_old_store, W(y, 1, RELAXED); W(x, 0, RELEASE);
	W(z, 1, RELAXED), r[0] = R(z, RELAXED);
	r[1] = sk_cas_weak(&x, &(int){0}, 1, SK_ACQUIRE, SK_ACQUIRE);
	r[2] = R(y, RELAXED), 4 * r[0] + 2 * r[1] + r[2], 0, 1, 2, 3, 4, 5, 7)
