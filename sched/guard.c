/* guard.c - see guard.h. */
#include "sched/guard.h"

#include "sched/sync.h"

enum { STRIPES = 16 };

static struct {
	SK_ATOMIC(uint32_t) inside SK_ALIGNED;
} stripes[STRIPES];

void sk_guard_enter(void)
{
	/* Sequentially consistent: before the read-modify-write of the task's state. */
	sk_fetch_add(&stripes[sk_thread_stripe() % STRIPES].inside, 1, SK_SEQ_CST);
}

void sk_guard_leave(void)
{
	/* Release: pairs with the acquire in sk_guard_wait. */
	sk_fetch_sub(&stripes[sk_thread_stripe() % STRIPES].inside, 1, SK_RELEASE);
}

void sk_guard_wait(void)
{
	/* The step between completing the tasks and looking at the counters. */
	sk_fence();
	for (int i = 0; i < STRIPES; i++)
		while (sk_load(&stripes[i].inside, SK_ACQUIRE) != 0)
			sk_thread_yield();
}
