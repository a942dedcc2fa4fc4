/*
 * bias.h - a lock that belongs to one thread: its owner enters and leaves without a read-modify-write
 * and without a fence, and the price is paid by the others, who come seldom.
 *
 *     owner:  inside = 1;  light fence;  look at `wanted`; if somebody wants it, step back and wait
 *     other:  wanted = 1;  heavy fence;  look at `inside`; if the owner is inside, give up
 *
 * Each writes, passes a fence and then looks, so at least one sees the other (Dekker). The others come
 * one at a time, under a mutex, which the owner takes only to wait for the one that has it.
 *
 * That one side of a Dekker protocol can be spared its fence is from Dice, Huang and Yang, "Asymmetric
 * Dekker Synchronization" (2001); that this makes a lock cheap for its owner, from Dice, Moir and
 * Scherer, "Quickly Reacquirable Locks" (2003).
 */
#ifndef SKUA_SCHED_BIAS_H
#define SKUA_SCHED_BIAS_H

#include "sched/sync.h"

struct sk_bias {
	SK_ATOMIC(uint32_t) inside; /* the owner is */
	SK_ATOMIC(uint32_t) wanted; /* one of the others wants it, or has it */
	sk_mutex others;
};

static inline void sk_bias_init(struct sk_bias *bias)
{
	sk_fence_prepare();
	sk_init(&bias->inside, 0);
	sk_init(&bias->wanted, 0);
	sk_mutex_init(&bias->others);
}

static inline void sk_bias_destroy(struct sk_bias *bias)
{
	sk_mutex_destroy(&bias->others);
}

static inline void sk_bias_leave(struct sk_bias *bias)
{
	/* Release: pairs with the acquire in sk_bias_try_take. */
	sk_store(&bias->inside, 0, SK_RELEASE);
}

/* Waits for the one who has it. Under the mutex nobody does, and whoever comes next sees `inside`. */
static inline void sk_bias_wait(struct sk_bias *bias)
{
	sk_bias_leave(bias);
	sk_mutex_lock(&bias->others);
	sk_store(&bias->inside, 1, SK_RELAXED);
	sk_mutex_unlock(&bias->others);
}

/* By the owner, who is not inside yet. */
static inline void sk_bias_enter(struct sk_bias *bias)
{
	sk_assert(sk_load(&bias->inside, SK_RELAXED) == 0);
	sk_store(&bias->inside, 1, SK_RELAXED);
	sk_fence_light();
	/* Acquire: pairs with the release in sk_bias_give_back. */
	if (sk_load(&bias->wanted, SK_ACQUIRE) != 0)
		sk_bias_wait(bias);
}

static inline void sk_bias_give_back(struct sk_bias *bias)
{
	/* Release: pairs with the acquire in sk_bias_enter. Also if nothing was done: the owner may see this
	 * and not what the one before has written here. */
	sk_store(&bias->wanted, 0, SK_RELEASE);
	sk_mutex_unlock(&bias->others);
}

/* By any other thread. False: the owner is inside. */
static inline bool sk_bias_try_take(struct sk_bias *bias)
{
	sk_mutex_lock(&bias->others);
	sk_store(&bias->wanted, 1, SK_RELAXED);
	/* Acquire: pairs with the release in sk_bias_leave. */
	if (sk_fence_heavy() && sk_load(&bias->inside, SK_ACQUIRE) == 0)
		return true;
	sk_bias_give_back(bias);
	return false;
}

#endif /* SKUA_SCHED_BIAS_H */
