/* guard.c - see guard.h. */
#include "sched/guard.h"

#include "sched/sync.h"

static struct {
	SK_ATOMIC(uint32_t) inside[2] SK_ALIGNED;
} stripes[SK_STRIPES];

/* Its lowest bit is the side on which threads enter. */
static SK_ATOMIC(uint32_t) epoch;

/* One wait at a time: they turn the epoch. */
static sk_mutex turning = SK_MUTEX_INITIALIZER;

unsigned sk_guard_enter(void)
{
	unsigned side = sk_load(&epoch, SK_RELAXED) & 1;

	/* Sequentially consistent: so that the look at the phase that follows comes after it (guard.h). */
	sk_fetch_add(&stripes[sk_thread_stripe() % SK_STRIPES].inside[side], 1, SK_SEQ_CST);
	return side;
}

void sk_guard_leave(unsigned side)
{
	/* Release: pairs with the acquire in sk_guard_wait. */
	sk_fetch_sub(&stripes[sk_thread_stripe() % SK_STRIPES].inside[side], 1, SK_RELEASE);
}

void sk_guard_wait(void)
{
	sk_mutex_lock(&turning);
	/* The step between what the caller did and the look at the counters. */
	sk_fence();
	/* Twice: a thread may have read the epoch long before it counted itself in. */
	for (int turn = 0; turn < 2; turn++) {
		unsigned side = sk_fetch_add(&epoch, 1, SK_RELAXED) & 1;

		for (int i = 0; i < SK_STRIPES; i++)
			while (sk_load(&stripes[i].inside[side], SK_ACQUIRE) != 0)
				sk_thread_yield();
	}
	sk_mutex_unlock(&turning);
}
