/*
 * deque_bounded.h - a contender: a ring of 256 tasks with a shared list behind it, as in the
 * schedulers of Go (runtime/proc.go: runqput, runqputslow, runqget, runqgrab) and Tokio (queue.rs).
 *
 * Owner and thieves take at the head by compare-and-exchange, a thief half of what there is. When
 * the ring is full, its older half and the new task go to a list under a lock that all workers
 * share, and who finds nothing in the ring takes up to half a ring from there. The list links the
 * tasks themselves. The head is Go's single counter, which is cheaper than the two that Tokio
 * packs. Not here: Go's look at the shared list every 61st time, which bounds how long it waits.
 */
#ifndef SKUA_BENCH_DEQUE_BOUNDED_H
#define SKUA_BENCH_DEQUE_BOUNDED_H

#include "bench/deque_contender.h"

enum { BOUNDED_CAPACITY = 256, BOUNDED_HALF = BOUNDED_CAPACITY / 2 };

/* What is shared. The count is written under the lock, and read without it as a hint. */
struct bounded_overflow {
	sk_mutex mutex;
	SK_ATOMIC(uint64_t) count;
	skua_task *oldest, *newest;
};

struct bounded {
	SK_ATOMIC(uint64_t) head SK_ALIGNED;
	SK_ATOMIC(uint64_t) tail SK_ALIGNED;
	struct bounded_overflow *overflow; /* the one below, or the one of another queue */
	SK_ATOMIC(skua_task *) slots[BOUNDED_CAPACITY];
	struct bounded_overflow shared SK_ALIGNED;
};

static bool bounded_init(void *queue, void *victim)
{
	struct bounded *ring = queue, *other = victim;

	sk_mutex_init(&ring->shared.mutex);
	ring->overflow = other != NULL ? other->overflow : &ring->shared;
	return true;
}

static void bounded_destroy(void *queue)
{
	struct bounded *ring = queue;

	sk_mutex_destroy(&ring->shared.mutex);
}

/* Moves the older half and `task` to the shared list; false if a thief was at it meanwhile. */
OUTLINE bool bounded_push_overflow(struct bounded *ring, uint64_t head, skua_task *task)
{
	struct bounded_overflow *overflow = ring->overflow;
	skua_task *batch[BOUNDED_HALF + 1];

	for (uint64_t i = 0; i < BOUNDED_HALF; i++)
		batch[i] = sk_load(&ring->slots[(head + i) % BOUNDED_CAPACITY], SK_RELAXED);
	/* Relaxed: the owner wrote the slots itself and will overwrite them itself. */
	if (!sk_cas(&ring->head, &head, head + BOUNDED_HALF, SK_RELAXED, SK_RELAXED))
		return false;
	batch[BOUNDED_HALF] = task;
	for (int i = 0; i < BOUNDED_HALF; i++)
		batch[i]->next = batch[i + 1];
	task->next = NULL;

	sk_mutex_lock(&overflow->mutex);
	if (overflow->newest != NULL)
		overflow->newest->next = batch[0];
	else
		overflow->oldest = batch[0];
	overflow->newest = task;
	sk_store(&overflow->count, sk_load(&overflow->count, SK_RELAXED) + BOUNDED_HALF + 1,
		 SK_RELAXED);
	sk_mutex_unlock(&overflow->mutex);
	return true;
}

OUTLINE bool bounded_push(struct bounded *ring, skua_task *task)
{
	for (;;) {
		uint64_t tail = sk_load(&ring->tail, SK_RELAXED);
		/* Acquire: pairs with the exchange in bounded_steal; slots are read before. */
		uint64_t head = sk_load(&ring->head, SK_ACQUIRE);

		if (tail - head < BOUNDED_CAPACITY) {
			sk_store(&ring->slots[tail % BOUNDED_CAPACITY], task, SK_RELAXED);
			/* Release: pairs with the acquire of tail in bounded_steal. */
			sk_store(&ring->tail, tail + 1, SK_RELEASE);
			return true;
		}
		if (bounded_push_overflow(ring, head, task))
			return true;
	}
}

/* Takes the oldest of the shared list; those after it go into `own`, which is empty. */
OUTLINE skua_task *bounded_take_overflow(struct bounded *own)
{
	struct bounded_overflow *overflow = own->overflow;
	skua_task *first, *task;
	uint64_t n, tail;

	sk_mutex_lock(&overflow->mutex);
	n = sk_load(&overflow->count, SK_RELAXED);
	sk_store(&overflow->count, n > BOUNDED_HALF ? n - BOUNDED_HALF : 0, SK_RELAXED);
	if (n > BOUNDED_HALF)
		n = BOUNDED_HALF;
	first = task = overflow->oldest;
	tail = sk_load(&own->tail, SK_RELAXED);
	for (uint64_t i = 0; i < n; i++) {
		if (i > 0)
			sk_store(&own->slots[tail++ % BOUNDED_CAPACITY], task, SK_RELAXED);
		task = task->next;
	}
	overflow->oldest = task;
	if (task == NULL)
		overflow->newest = NULL;
	sk_mutex_unlock(&overflow->mutex);
	/* Release: as in bounded_push. */
	sk_store(&own->tail, tail, SK_RELEASE);
	return first;
}

OUTLINE skua_task *bounded_pop(struct bounded *ring)
{
	uint64_t tail = sk_load(&ring->tail, SK_RELAXED);
	uint64_t head = sk_load(&ring->head, SK_RELAXED);

	while (head < tail) {
		skua_task *task = sk_load(&ring->slots[head % BOUNDED_CAPACITY], SK_RELAXED);

		/* Relaxed: as in bounded_push_overflow. */
		if (sk_cas_weak(&ring->head, &head, head + 1, SK_RELAXED, SK_RELAXED))
			return task;
	}
	if (sk_load(&ring->overflow->count, SK_RELAXED) == 0)
		return NULL;
	/* Empty, and only the owner fills it; but slots are overwritten now.
	 * Acquire: pairs with the exchange in bounded_steal. */
	(void)sk_load(&ring->head, SK_ACQUIRE);
	return bounded_take_overflow(ring);
}

OUTLINE skua_task *bounded_steal(struct bounded *victim, struct bounded *own)
{
	uint64_t own_tail = sk_load(&own->tail, SK_RELAXED);

	/* Acquire: as in bounded_push; `own` is empty, and its slots are overwritten. */
	(void)sk_load(&own->head, SK_ACQUIRE);
	for (int attempt = 0; attempt < 2; attempt++) {
		/* Acquire: tail is read after head. */
		uint64_t head = sk_load(&victim->head, SK_ACQUIRE);
		/* Acquire: pairs with the release of tail in bounded_push. */
		uint64_t tail = sk_load(&victim->tail, SK_ACQUIRE), n;
		skua_task *first;

		if (head >= tail) {
			if (sk_load(&victim->overflow->count, SK_RELAXED) == 0)
				return NULL;
			return bounded_take_overflow(own);
		}
		n = (tail - head + 1) / 2;
		if (n > BOUNDED_HALF)
			continue; /* head is out of date */
		first = sk_load(&victim->slots[head % BOUNDED_CAPACITY], SK_RELAXED);
		for (uint64_t i = 1; i < n; i++)
			sk_store(&own->slots[(own_tail + i - 1) % BOUNDED_CAPACITY],
				 sk_load(&victim->slots[(head + i) % BOUNDED_CAPACITY], SK_RELAXED),
				 SK_RELAXED);
		/* Release: pairs with the acquire of head in bounded_push. */
		if (!sk_cas(&victim->head, &head, head + n, SK_RELEASE, SK_RELAXED))
			continue;
		/* Release: as in bounded_push. */
		if (n > 1)
			sk_store(&own->tail, own_tail + n - 1, SK_RELEASE);
		return first;
	}
	return NULL;
}

static bool bounded_push_any(void *queue, skua_task *task)
{
	return bounded_push(queue, task);
}

static skua_task *bounded_pop_any(void *queue)
{
	return bounded_pop(queue);
}

static skua_task *bounded_steal_any(void *victim, void *own)
{
	return bounded_steal(victim, own);
}

static const struct contender bounded = {
	.name = "bounded",
	.about = "ring of 256 and a shared list: FIFO below that, thieves take half",
	.order = ORDER_FIFO_BELOW,
	.size = sizeof(struct bounded),
	.init = bounded_init,
	.destroy = bounded_destroy,
	.push = bounded_push_any,
	.pop = bounded_pop_any,
	.steal = bounded_steal_any,
};

#endif /* SKUA_BENCH_DEQUE_BOUNDED_H */
