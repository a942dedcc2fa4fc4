/* deque.c - see deque.h for the invariants, which the comments here refer to by number. */
#include "sched/deque.h"

#include <errno.h>

static struct sk_ring *ring_new(uint64_t capacity, struct sk_ring *older)
{
	struct sk_ring *ring;

	ring = sk_malloc(sizeof *ring + (size_t)capacity * sizeof ring->slots[0]);
	if (ring == NULL)
		return NULL;
	ring->mask = capacity - 1;
	ring->older = older;
	return ring;
}

int sk_deque_init(struct sk_deque *deque, uint64_t capacity)
{
	struct sk_ring *ring = ring_new(capacity, NULL);

	if (ring == NULL)
		return -ENOMEM;
	sk_init(&deque->top, 0);
	sk_init(&deque->bottom, 0);
	sk_init(&deque->ring, ring);
	return 0;
}

void sk_deque_destroy(struct sk_deque *deque)
{
	struct sk_ring *ring = sk_load(&deque->ring, SK_RELAXED);

	while (ring != NULL) {
		struct sk_ring *older = ring->older;

		sk_free(ring);
		ring = older;
	}
}

struct sk_ring *sk_deque_grow(struct sk_deque *deque, uint64_t top, uint64_t bottom, uint64_t count)
{
	struct sk_ring *ring = sk_load(&deque->ring, SK_RELAXED), *larger;
	uint64_t capacity = ring->mask + 1;

	while (bottom - top + count > capacity)
		capacity *= 2;
	larger = ring_new(capacity, ring);
	if (larger == NULL)
		return NULL;
	for (uint64_t i = top; i < bottom; i++)
		sk_init(&larger->slots[i & larger->mask],
			sk_load(&ring->slots[i & ring->mask], SK_RELAXED));
	/* Release: pairs with the acquire of ring in sk_deque_steal (invariant 3). */
	sk_store(&deque->ring, larger, SK_RELEASE);
	return larger;
}

skua_task *sk_deque_steal(struct sk_deque *victim, struct sk_deque *thief, unsigned *count)
{
	uint64_t own = sk_load(&thief->bottom, SK_RELAXED);

	*count = 0;
	for (int attempt = 0; attempt < 2; attempt++) {
		/* No order needed: with an old top the exchange fails, and a bottom that is older
		 * than top looks like an empty queue. */
		uint64_t top = sk_load(&victim->top, SK_RELAXED);
		/* Acquire: pairs with the release of bottom in sk_deque_push (invariant 1). */
		uint64_t bottom = sk_load(&victim->bottom, SK_ACQUIRE);
		/* Acquire: pairs with the release of ring in grow (invariant 3). */
		struct sk_ring *ring = sk_load(&victim->ring, SK_ACQUIRE), *into;
		skua_task *first;
		uint64_t n;

		if (top >= bottom)
			return NULL;
		n = (bottom - top + 1) / 2;
		if (n > SK_DEQUE_MAX_STEAL)
			n = SK_DEQUE_MAX_STEAL;
		into = sk_deque_ring_for(thief, own, n - 1);
		if (into == NULL) {
			n = 1;
			into = sk_load(&thief->ring, SK_RELAXED);
		}
		first = sk_load(&ring->slots[top & ring->mask], SK_RELAXED);
		for (uint64_t i = 1; i < n; i++)
			sk_store(&into->slots[(own + i - 1) & into->mask],
				 sk_load(&ring->slots[(top + i) & ring->mask], SK_RELAXED),
				 SK_RELAXED);
		/* Release: the slots were read before; pairs with sk_deque_ring_for (invariant 2). */
		if (!sk_cas(&victim->top, &top, top + n, SK_RELEASE, SK_RELAXED))
			continue;
		/* Release: as in sk_deque_push. */
		if (n > 1)
			sk_store(&thief->bottom, own + n - 1, SK_RELEASE);
		*count = (unsigned)n;
		return first;
	}
	return NULL;
}
