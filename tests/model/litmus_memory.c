/*
 * litmus_memory.c - plain memory: races, what orders accesses, lives of blocks; and the explorer's
 * other checks.
 */
#include <stdlib.h>

#include "tests/model/litmus.h"
#include "tests/model/sync_model.h"

static int plain;

/* ---- Races: each one is found whichever access comes first ---- */

THREAD(write_plain)
{
	plain = 1;
}

THREAD(read_plain)
{
	r[1] = plain;
}

THREAD(read_plain_elsewhere)
{
	r[0] = plain;
}

/* Reads do not race with each other. */
HOLDS(two_reads)
{
	RUN(read_plain, read_plain_elsewhere);
}

/* A read after a write. */
MUST_FAIL(race_write_read, "race: a plain read")
{
	RUN(write_plain, read_plain);
}

/* A write after a read, with the threads started the other way round. */
MUST_FAIL(race_read_write, "race: a plain write")
{
	RUN(read_plain, write_plain);
}

/* Two writes. */
MUST_FAIL(race_write_write, "race: a plain write")
{
	RUN(write_plain, write_plain);
}

THREAD(init_atomic)
{
	sk_init(&x, 1);
}

THREAD(store_atomic)
{
	W(x, 2, SEQ_CST);
}

THREAD(load_atomic)
{
	r[0] = R(x, SEQ_CST);
}

/* An atomic access after sk_init, which is plain. */
MUST_FAIL(race_init_load, "race: an atomic access")
{
	RUN(init_atomic, load_atomic);
}

/* sk_init after an atomic store. */
MUST_FAIL(race_store_init, "after an atomic access")
{
	RUN(store_atomic, init_atomic);
}

/* sk_init after an atomic load. */
MUST_FAIL(race_load_init, "after an atomic access")
{
	RUN(load_atomic, init_atomic);
}

/* ---- What orders accesses, and how far ---- */

THREAD(write_and_store_relaxed)
{
	plain = 1;
	W(x, 1, RELAXED);
}

THREAD(write_and_release)
{
	plain = 1;
	W(x, 1, RELEASE);
}

THREAD(release_and_write)
{
	W(x, 1, RELEASE);
	plain = 1;
}

THREAD(fence_and_write)
{
	FENCE(RELEASE);
	plain = 1;
	W(x, 1, RELAXED);
}

THREAD(write_and_fence)
{
	plain = 1;
	FENCE(SEQ_CST);
}

THREAD(acquire_and_read)
{
	if (R(x, ACQUIRE) == 1)
		r[0] = plain;
}

THREAD(fence_and_read)
{
	FENCE(SEQ_CST);
	r[0] = plain;
}

/* What was written before a release may be read after the acquire. */
HOLDS(release_orders)
{
	RUN(write_and_release, acquire_and_read);
}

/* The canary: the store is not a release. It must fail in every run. */
MUST_FAIL(canary_a_race_is_found, "race: a plain read")
{
	RUN(write_and_store_relaxed, acquire_and_read);
}

/* What comes after a release store is not part of it. */
MUST_FAIL(race_after_release, "race: a plain")
{
	RUN(release_and_write, acquire_and_read);
}

/* What comes after a release fence is not part of it. */
MUST_FAIL(race_after_fence, "race: a plain")
{
	RUN(fence_and_write, acquire_and_read);
}

/* Two fences order accesses only with an atomic between them that is written and read. */
MUST_FAIL(race_with_fences_only, "race: a plain")
{
	RUN(write_and_fence, fence_and_read);
}

THREAD(write_fence_look_store)
{
	plain = 1;
	FENCE(SEQ_CST);
	if (R(z, RELAXED) == 0)
		W(x, 1, RELAXED);
}

THREAD(store_fence_look_read)
{
	W(z, 1, RELAXED);
	FENCE(SEQ_CST);
	if (R(x, RELAXED) == 1)
		r[0] = plain;
}

/* Nor if their order is known: here the first one was before the second. */
MUST_FAIL(race_with_ordered_fences, "race: a plain")
{
	RUN(write_fence_look_store, store_fence_look_read);
}

/* A thread sees what was before its start, and a join sees what it did. */
HOLDS(start_and_join_order)
{
	plain = 2;
	RUN(write_plain);
	plain++;
	mc_assert(plain == 2);
}

/* What the starter does after the start is not ordered. */
MUST_FAIL(race_after_start, "race: a plain")
{
	int thread = mc_thread(read_plain, NULL);

	plain = 1;
	mc_join(thread);
}

static sk_mutex mutex = SK_MUTEX_INITIALIZER;

THREAD(unlock_and_write)
{
	sk_mutex_lock(&mutex);
	sk_mutex_unlock(&mutex);
	plain = 1;
}

THREAD(lock_and_read)
{
	sk_mutex_lock(&mutex);
	r[0] = plain;
	sk_mutex_unlock(&mutex);
}

/* What comes after an unlock is not ordered. */
MUST_FAIL(race_after_unlock, "race: a plain")
{
	RUN(unlock_and_write, lock_and_read);
}

/* ---- Blocks of memory ---- */

struct counted {
	atomic_number count;
	int value;
};

static struct counted *block;

static void start_block(void)
{
	block = sk_malloc(sizeof *block);
	sk_init(&block->count, 2);
	block->value = 0;
}

THREAD(drop)
{
	if (sk_fetch_sub(&block->count, 1, SK_ACQ_REL) == 1)
		sk_free(block);
}

THREAD(drop_with_fence)
{
	if (sk_fetch_sub(&block->count, 1, SK_RELEASE) == 1) {
		FENCE(ACQUIRE);
		sk_free(block);
	}
}

THREAD(drop_relaxed)
{
	if (sk_fetch_sub(&block->count, 1, SK_RELAXED) == 1)
		sk_free(block);
}

THREAD(drop_and_look)
{
	if (sk_fetch_sub(&block->count, 1, SK_ACQ_REL) == 1)
		sk_free(block);
	else
		r[0] = R(block->count, RELAXED);
}

THREAD(look)
{
	r[0] = R(block->count, RELAXED);
}

THREAD(leave)
{
}

THREAD(free_block)
{
	sk_free(block);
}

THREAD(write_block)
{
	block->value = 1;
}

/* A count of references: the last one frees, after all the others have gone. */
HOLDS(references)
{
	start_block();
	RUN(drop, drop);
}

/* The fence may stand where it is needed only. */
HOLDS(references_with_fence)
{
	start_block();
	RUN(drop_with_fence, drop_with_fence);
}

/* Relaxed, the others may not yet have gone. */
MUST_FAIL(references_relaxed, "after an atomic access")
{
	start_block();
	RUN(drop_relaxed, drop_relaxed);
}

/* Who has given up a reference must not look at the block. */
MUST_FAIL(use_after_drop, "after an atomic access")
{
	start_block();
	RUN(drop, drop_and_look);
}

static SK_ATOMIC(struct counted *) shared;

THREAD(allocate_and_share)
{
	sk_store(&shared, sk_calloc(1, sizeof(struct counted)), SK_RELAXED);
}

THREAD(look_at_shared)
{
	struct counted *found = sk_load(&shared, SK_RELAXED);

	if (found != NULL)
		sk_load(&found->count, SK_RELAXED);
}

/* Who gets a block in no order may see what was there before it was allocated. */
MUST_FAIL(race_allocation, "race: an atomic access")
{
	RUN(allocate_and_share, look_at_shared);
	sk_free(sk_load(&shared, SK_RELAXED));
}

/* An atomic use after the free. */
MUST_FAIL(use_after_free_atomic, "use of freed memory")
{
	start_block();
	RUN(free_block);
	RUN(look);
}

/* A plain use after the free. */
MUST_FAIL(use_after_free, "use of freed memory")
{
	start_block();
	RUN(free_block);
	RUN(write_block);
}

/* A free while another thread writes. */
MUST_FAIL(race_free, "race: a plain write")
{
	start_block();
	RUN(write_block, free_block);
}

/* Two frees. */
MUST_FAIL(double_free, "second free")
{
	start_block();
	RUN(free_block);
	RUN(free_block);
}

/* No free at all: a leak. */
MUST_FAIL(leak, "1 blocks of memory are left")
{
	start_block();
	RUN(leave);
}

/* A step beyond the end. */
MUST_FAIL(beyond_the_end, "was not allocated")
{
	start_block();
	(&block->value)[1] = 1;
}

THREAD(lock_block)
{
	sk_mutex_lock((sk_mutex *)(void *)block);
	sk_mutex_unlock((sk_mutex *)(void *)block);
}

/* A lock is memory, too. */
MUST_FAIL(mutex_freed_in_use, "atomic access of thread")
{
	sk_mutex *own = sk_malloc(sizeof *own);

	sk_mutex_init(own);
	block = (struct counted *)(void *)own;
	RUN(lock_block, free_block);
}

THREAD(lock_block_only)
{
	sk_mutex_lock((sk_mutex *)(void *)block);
}

/* And must be there. */
MUST_FAIL(mutex_used_after_free, "use of freed memory")
{
	block = sk_calloc(1, sizeof(sk_mutex));
	RUN(free_block);
	RUN(lock_block_only);
}

/* So must the word that a futex waits for. */
MUST_FAIL(futex_used_after_free, "use of freed memory")
{
	sk_futex *own = sk_calloc(1, sizeof *own);

	sk_free(own);
	sk_futex_wait(own, 0, SK_FOREVER);
}

/* ---- The frames of functions: their memory is used again ---- */

__attribute__((noinline)) static int load_and_store(atomic_number *number, int value)
{
	int found;

	sk_init(number, value);
	found = sk_load(number, SK_RELAXED);
	sk_store(number, value + 1, SK_RELAXED);
	return found;
}

__attribute__((noinline)) static int in_a_frame(int value)
{
	atomic_number number;

	return load_and_store(&number, value);
}

/* An atomic in a frame has no history from the frame before. */
HOLDS(frames)
{
	mc_assert(in_a_frame(1) == 1);
	mc_assert(in_a_frame(10) == 10);
}

/* ---- The explorer's own checks ---- */

THREAD(fail)
{
	mc_assert(R(x, RELAXED) == 0);
}

/* An assertion of a scenario. */
MUST_FAIL(assertion, "not so: ")
{
	RUN(store_atomic, fail);
}

/* All that mc_choose offers is tried. */
MC_SCENARIO_WITH(litmus, choices, FREELY, .outcomes = OUTCOMES(0, 1, 2, 10, 11, 12))
{
	int tens = 10 * (int)mc_choose(2);

	mc_outcome(tens + (int)mc_choose(3));
}

/* Where one failure is allowed, no allocation fails, or one of them, or a thread does not start. The
 * outcome has a bit for each; one more than that would be another failure. */
THREAD(nothing)
{
}

MC_SCENARIO_WITH(litmus, one_failure, FREELY, .outcomes = OUTCOMES(0, 1, 2, 4))
{
	void *first, *second;
	sk_thread thread;
	int failures;

	mc_allow_failures(1);
	first = sk_malloc(8);
	second = sk_calloc(2, 4);
	failures = (first == NULL) + 2 * (second == NULL);
	if (sk_thread_start(&thread, "nothing", nothing, NULL) == 0)
		sk_thread_join(&thread);
	else
		failures += 4;
	mc_assert(mc_failures() == (failures != 0));
	sk_free(first);
	sk_free(second);
	mc_outcome(failures);
}

/* A block that was freed may come again, or another one. */
MC_SCENARIO_WITH(litmus, memory_that_comes_again, FREELY, .outcomes = OUTCOMES(0, 1))
{
	void *first, *second;
	uintptr_t address;

	mc_reuse_memory(1);
	first = sk_malloc(8);
	address = (uintptr_t)first;
	sk_free(first);
	second = sk_malloc(8);
	mc_outcome((uintptr_t)second == address);
	sk_free(second);
}

/* ABA: the block that is there is the one that was seen, and yet it is not. */
static SK_ATOMIC(uintptr_t) place;
static SK_ATOMIC(int) replaced;

THREAD(replace_block)
{
	sk_free((void *)sk_load(&place, SK_RELAXED));
	sk_store(&replaced, 1, SK_RELAXED);
	sk_store(&place, (uintptr_t)sk_malloc(8), SK_RELEASE);
}

THREAD(compare_block)
{
	uintptr_t seen = sk_load(&place, SK_RELAXED);
	int before = sk_load(&replaced, SK_RELAXED);

	if (sk_load(&place, SK_ACQUIRE) == seen)
		mc_assert(sk_load(&replaced, SK_RELAXED) == before);
}

MC_SCENARIO_WITH(litmus, an_address_is_no_identity, FREELY, .must_fail = true,
		 .expect = "== before")
{
	mc_reuse_memory(1);
	sk_store(&place, (uintptr_t)sk_malloc(8), SK_RELAXED);
	RUN(compare_block, replace_block);
	sk_free((void *)sk_load(&place, SK_RELAXED));
}

/* An outcome that is listed has to be seen. */
MC_SCENARIO_WITH(litmus, outcome_missing, .outcomes = OUTCOMES(0, 1, 2), .must_fail = true,
		 .expect = "the outcome 2 is allowed and was never seen")
{
	mc_outcome((int)mc_choose(2));
}

/* And no other one. */
MC_SCENARIO_WITH(litmus, outcome_forbidden, .outcomes = OUTCOMES(0, 1), .must_fail = true,
		 .expect = "the outcome 2 is forbidden and was seen")
{
	mc_outcome((int)mc_choose(3));
}

/* What differs from one execution to the next, by something that the explorer does not put back. */
MUST_FAIL(not_deterministic, "not deterministic")
{
	W(x, rand(), RELAXED);
	W(y, (int)mc_choose(2), RELAXED);
}
