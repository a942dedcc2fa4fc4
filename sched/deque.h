/*
 * deque.h - the run queue of one worker: a growable ring that only its owner fills, at the bottom,
 * and from which the owner and thieves take, at the top.
 *
 * Concepts. `top` and `bottom` count tasks for ever and never wrap in practice (64 bits); the tasks
 * in the queue are those with top <= index < bottom, in slot index & mask of the current ring. It
 * is first in, first out for everybody, because tasks woken by IO must not wait behind newer ones;
 * the worker's LIFO slot (worker.h) is where the cache-hot task goes.
 *
 * Invariants and their orders.
 *   1. A slot is written before `bottom` passes it (release), and read after `bottom` was read
 *      (acquire). So a task is seen whole.
 *   2. Taking n tasks is one compare-and-exchange of `top` from t to t + n. `top` only grows, so
 *      success means that no one took any of them and that no slot read before it was overwritten:
 *      the owner writes slot t + capacity only after it has read a `top` > t (acquire, pairing with
 *      the taker's release), and a taker's reads come before its exchange. Only a load that reads
 *      from the future would show either of them weakened, which no tool of ours tries; C11 has it.
 *   3. To grow, the owner copies the tasks to a ring of twice the size and publishes that (release)
 *      before `bottom` grows. A thief with the old ring finds the same tasks in it, because an old
 *      ring is never written again. Old rings are freed with the queue: together they are smaller
 *      than the current one.
 *
 * Taking a batch with one exchange is Go's runqgrab (runtime/proc.go); growing by publishing a new
 * ring is Chase and Lev's (SPAA 2005). Because the owner takes from the top as well, none of the
 * fences of the Chase-Lev pop are needed (Le et al., PPoPP 2013, has those); the price is a
 * compare-and-exchange for each pop. docs/deque.md has the measurement behind the choice.
 */
#ifndef SKUA_SCHED_DEQUE_H
#define SKUA_SCHED_DEQUE_H

#include "sched/sync.h"

#include "skua/future.h"

enum { SK_DEQUE_INITIAL = 256, SK_DEQUE_MAX_STEAL = 256 };

struct sk_ring {
	uint64_t mask;
	struct sk_ring *older;
	SK_ATOMIC(skua_task *) slots[];
};

struct sk_deque {
	/* Written by every taker. */
	SK_ATOMIC(uint64_t) top SK_ALIGNED;
	/* Written by the owner only. */
	SK_ATOMIC(uint64_t) bottom SK_ALIGNED;
	SK_ATOMIC(struct sk_ring *) ring;
};

/* `capacity` is a power of two. Returns 0 or -ENOMEM. */
int sk_deque_init(struct sk_deque *deque, uint64_t capacity);

/* Frees the rings; the queue is empty and nobody uses it. */
void sk_deque_destroy(struct sk_deque *deque);

/* A larger ring with the tasks from `top` to `bottom`, now the current one; or NULL. */
struct sk_ring *sk_deque_grow(struct sk_deque *deque, uint64_t top, uint64_t bottom,
			      uint64_t count);

/* A ring with room for `count` more tasks than there are, or NULL. Owner only. */
static inline struct sk_ring *sk_deque_ring_for(struct sk_deque *deque, uint64_t bottom,
						uint64_t count)
{
	struct sk_ring *ring = sk_load(&deque->ring, SK_RELAXED);
	/* Acquire: pairs with the takers' release of top (invariant 2). */
	uint64_t top = sk_load(&deque->top, SK_ACQUIRE);

	if (bottom - top + count <= ring->mask + 1)
		return ring;
	return sk_deque_grow(deque, top, bottom, count);
}

/* Adds a task at the bottom. Owner only. False if it is full and there is no memory to grow. */
static inline bool sk_deque_push(struct sk_deque *deque, skua_task *task)
{
	uint64_t bottom = sk_load(&deque->bottom, SK_RELAXED);
	struct sk_ring *ring = sk_deque_ring_for(deque, bottom, 1);

	if (ring == NULL)
		return false;
	sk_store(&ring->slots[bottom & ring->mask], task, SK_RELAXED);
	/* Release: pairs with the acquire of bottom in sk_deque_steal (invariant 1). */
	sk_store(&deque->bottom, bottom + 1, SK_RELEASE);
	return true;
}

/* Takes the oldest task, or NULL. Owner only. */
static inline skua_task *sk_deque_pop(struct sk_deque *deque)
{
	struct sk_ring *ring = sk_load(&deque->ring, SK_RELAXED);
	uint64_t bottom = sk_load(&deque->bottom, SK_RELAXED);
	uint64_t top = sk_load(&deque->top, SK_RELAXED);

	while (top < bottom) {
		skua_task *task = sk_load(&ring->slots[top & ring->mask], SK_RELAXED);

		/* The owner wrote the slot itself and will overwrite it itself: no order needed. */
		if (sk_cas_weak(&deque->top, &top, top + 1, SK_RELAXED, SK_RELAXED))
			return task;
	}
	return NULL;
}

/*
 * Takes the older half of `victim`, at most SK_DEQUE_MAX_STEAL: returns the oldest task and puts
 * the others into `thief`, which the caller owns. `*count` is how many were taken. Returns NULL if
 * there was nothing, or if others were faster more than once.
 */
skua_task *sk_deque_steal(struct sk_deque *victim, struct sk_deque *thief, unsigned *count);

/* How many tasks there are about now. Anybody. */
static inline uint64_t sk_deque_length(struct sk_deque *deque)
{
	uint64_t top = sk_load(&deque->top, SK_RELAXED);
	uint64_t bottom = sk_load(&deque->bottom, SK_RELAXED);

	return bottom > top ? bottom - top : 0;
}

#endif /* SKUA_SCHED_DEQUE_H */
