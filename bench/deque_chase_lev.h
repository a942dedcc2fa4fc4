/*
 * deque_chase_lev.h - a contender: the growable deque of Chase and Lev (SPAA 2005), of which the
 * owner takes the newest task and a thief the oldest, one at a time.
 *
 * The orders are those of Le, Pop, Cohen and Zappa Nardelli (PPoPP 2013), with their fences turned
 * into orders of the operations: "publish bottom, then look at top" in pop, and "look at top, then
 * at bottom" in steal, are pairs of sequentially consistent accesses, because ThreadSanitizer and
 * most model checkers do not see fences. So of the two that compete for the last task at least one
 * sees the other, and the compare-and-exchange of top decides.
 *
 * Two things that implementations in use have beyond the paper: pop looks whether there is anything
 * before it publishes, and an exchange lost in steal is tried a second time, as in sched/deque.c.
 */
#ifndef SKUA_BENCH_DEQUE_CHASE_LEV_H
#define SKUA_BENCH_DEQUE_CHASE_LEV_H

#include "bench/deque_contender.h"

enum { CHASE_LEV_INITIAL = 256 };

struct chase_lev_ring {
	int64_t mask;
	struct chase_lev_ring *older;
	SK_ATOMIC(skua_task *) slots[];
};

struct chase_lev {
	SK_ATOMIC(int64_t) top SK_ALIGNED;
	SK_ATOMIC(int64_t) bottom SK_ALIGNED;
	SK_ATOMIC(struct chase_lev_ring *) ring;
};

static struct chase_lev_ring *chase_lev_ring_new(int64_t capacity, struct chase_lev_ring *older)
{
	struct chase_lev_ring *ring =
		sk_malloc(sizeof *ring + (size_t)capacity * sizeof ring->slots[0]);

	if (ring == NULL)
		return NULL;
	ring->mask = capacity - 1;
	ring->older = older;
	return ring;
}

static bool chase_lev_init(void *queue, void *victim)
{
	struct chase_lev *deque = queue;
	struct chase_lev_ring *ring = chase_lev_ring_new(CHASE_LEV_INITIAL, NULL);

	(void)victim;
	sk_init(&deque->ring, ring);
	return ring != NULL;
}

static void chase_lev_destroy(void *queue)
{
	struct chase_lev *deque = queue;
	struct chase_lev_ring *ring = sk_load(&deque->ring, SK_RELAXED);

	while (ring != NULL) {
		struct chase_lev_ring *older = ring->older;

		sk_free(ring);
		ring = older;
	}
}

OUTLINE struct chase_lev_ring *chase_lev_grow(struct chase_lev *deque, int64_t top, int64_t bottom)
{
	struct chase_lev_ring *ring = sk_load(&deque->ring, SK_RELAXED);
	struct chase_lev_ring *larger = chase_lev_ring_new((ring->mask + 1) * 2, ring);

	if (larger == NULL)
		return NULL;
	for (int64_t i = top; i < bottom; i++)
		sk_init(&larger->slots[i & larger->mask],
			sk_load(&ring->slots[i & ring->mask], SK_RELAXED));
	/* Release: pairs with the acquire of ring in chase_lev_steal. */
	sk_store(&deque->ring, larger, SK_RELEASE);
	return larger;
}

OUTLINE bool chase_lev_push(struct chase_lev *deque, skua_task *task)
{
	int64_t bottom = sk_load(&deque->bottom, SK_RELAXED);
	/* Acquire: pairs with the exchanges of top; a slot is overwritten after it was read. */
	int64_t top = sk_load(&deque->top, SK_ACQUIRE);
	struct chase_lev_ring *ring = sk_load(&deque->ring, SK_RELAXED);

	if (bottom - top > ring->mask) {
		ring = chase_lev_grow(deque, top, bottom);
		if (ring == NULL)
			return false;
	}
	sk_store(&ring->slots[bottom & ring->mask], task, SK_RELAXED);
	/* Release: pairs with the load of bottom in chase_lev_steal. */
	sk_store(&deque->bottom, bottom + 1, SK_RELEASE);
	return true;
}

OUTLINE skua_task *chase_lev_pop(struct chase_lev *deque)
{
	int64_t bottom = sk_load(&deque->bottom, SK_RELAXED) - 1;
	int64_t top = sk_load(&deque->top, SK_RELAXED);
	struct chase_lev_ring *ring = sk_load(&deque->ring, SK_RELAXED);
	skua_task *task = NULL;

	if (top > bottom)
		return NULL;
	/* Sequentially consistent, both: pair with the loads of top and bottom in the steal. */
	sk_store(&deque->bottom, bottom, SK_SEQ_CST);
	top = sk_load(&deque->top, SK_SEQ_CST);
	if (top <= bottom) {
		task = sk_load(&ring->slots[bottom & ring->mask], SK_RELAXED);
		if (top < bottom)
			return task;
		/* The last one: thieves may want it, too. Pairs with the exchange in the steal. */
		if (!sk_cas(&deque->top, &top, top + 1, SK_SEQ_CST, SK_RELAXED))
			task = NULL;
	}
	/* Relaxed: the queue is empty, and a thief that believes otherwise fails to exchange. */
	sk_store(&deque->bottom, bottom + 1, SK_RELAXED);
	return task;
}

OUTLINE skua_task *chase_lev_steal(struct chase_lev *deque)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		/* Sequentially consistent, both: pair with bottom and top in chase_lev_pop. */
		int64_t top = sk_load(&deque->top, SK_SEQ_CST);
		int64_t bottom = sk_load(&deque->bottom, SK_SEQ_CST);
		struct chase_lev_ring *ring;
		skua_task *task;

		if (top >= bottom)
			return NULL;
		/* Acquire: pairs with the release of ring in chase_lev_grow. */
		ring = sk_load(&deque->ring, SK_ACQUIRE);
		task = sk_load(&ring->slots[top & ring->mask], SK_RELAXED);
		/* Pairs with its like in chase_lev_pop, and with the load in chase_lev_push. */
		if (sk_cas(&deque->top, &top, top + 1, SK_SEQ_CST, SK_RELAXED))
			return task;
	}
	return NULL;
}

static bool chase_lev_push_any(void *queue, skua_task *task)
{
	return chase_lev_push(queue, task);
}

static skua_task *chase_lev_pop_any(void *queue)
{
	return chase_lev_pop(queue);
}

static skua_task *chase_lev_steal_any(void *victim, void *own)
{
	(void)own;
	return chase_lev_steal(victim);
}

static const struct contender chase_lev = {
	.name = "chase-lev",
	.about = "growable Chase-Lev deque: LIFO owner, thieves take one task at a time",
	.order = ORDER_LIFO,
	.size = sizeof(struct chase_lev),
	.init = chase_lev_init,
	.destroy = chase_lev_destroy,
	.push = chase_lev_push_any,
	.pop = chase_lev_pop_any,
	.steal = chase_lev_steal_any,
};

#endif /* SKUA_BENCH_DEQUE_CHASE_LEV_H */
