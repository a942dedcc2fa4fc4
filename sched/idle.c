/* idle.c - see idle.h for the protocol. Its fences order everything here: all accesses are relaxed. */
#include "sched/idle.h"

static uint64_t bit(unsigned worker)
{
	return UINT64_C(1) << (worker % 64);
}

void sk_idle_init(struct sk_idle *idle, uint32_t workers, uint32_t slots)
{
	for (unsigned i = 0; i < SK_IDLE_WORDS; i++)
		sk_init(&idle->sleepers[i], 0);
	sk_init(&idle->searching, 0);
	sk_init(&idle->polling, UINT32_MAX);
	sk_init(&idle->active, workers);
	idle->workers = workers;
	idle->slots = slots;
}

/* Clears a worker's bit; true if it was this caller who did. */
static bool take(struct sk_idle *idle, unsigned worker)
{
	uint64_t old = sk_fetch_and(&idle->sleepers[worker / 64], ~bit(worker), SK_RELAXED);

	return (old & bit(worker)) != 0;
}

static int take_any(struct sk_idle *idle, unsigned preferred)
{
	uint32_t polling = sk_load(&idle->polling, SK_RELAXED);

	if (preferred != polling && !sk_idle_rests(idle, preferred) &&
	    sk_idle_is_asleep(idle, preferred) && take(idle, preferred))
		return (int)preferred;
	for (unsigned i = 0; i < sk_idle_words(idle); i++) {
		uint64_t sleepers = sk_idle_active_sleepers(idle, i);

		for (; sleepers != 0; sleepers &= sleepers - 1) {
			unsigned worker = i * 64 + (unsigned)__builtin_ctzll(sleepers);

			if (worker != polling && take(idle, worker))
				return (int)worker;
		}
	}
	if (polling != UINT32_MAX && !sk_idle_rests(idle, polling) &&
	    sk_idle_is_asleep(idle, polling) && take(idle, polling))
		return (int)polling;
	if (sk_idle_is_asleep(idle, preferred) && take(idle, preferred))
		return (int)preferred;
	return -1;
}

int sk_idle_claim(struct sk_idle *idle, unsigned preferred)
{
	while (sk_idle_any_sleeper(idle) || sk_idle_is_asleep(idle, preferred)) {
		uint32_t searching = 0;
		int worker;

		if (!sk_cas(&idle->searching, &searching, 1, SK_RELAXED, SK_RELAXED))
			return -1;
		worker = take_any(idle, preferred);
		if (worker >= 0)
			return worker;
		/* Nobody after all: take the count back, and look again for those it put off. */
		sk_fetch_sub(&idle->searching, 1, SK_RELAXED);
		sk_fence();
	}
	return -1;
}

bool sk_idle_claim_worker(struct sk_idle *idle, unsigned worker)
{
	if ((sk_load(&idle->sleepers[worker / 64], SK_RELAXED) & bit(worker)) == 0)
		return false;
	if (!take(idle, worker))
		return false;
	sk_fetch_add(&idle->searching, 1, SK_RELAXED);
	return true;
}

bool sk_idle_begin_search(struct sk_idle *idle)
{
	if (2 * sk_load(&idle->searching, SK_RELAXED) >= idle->workers)
		return false;
	/* A few too many do no harm. */
	sk_fetch_add(&idle->searching, 1, SK_RELAXED);
	return true;
}

bool sk_idle_end_search(struct sk_idle *idle)
{
	uint32_t old = sk_fetch_sub(&idle->searching, 1, SK_RELAXED);

	sk_assert(old > 0);
	return old == 1;
}

void sk_idle_sleep(struct sk_idle *idle, unsigned worker, bool searching)
{
	sk_fetch_or(&idle->sleepers[worker / 64], bit(worker), SK_RELAXED);
	if (searching)
		sk_idle_end_search(idle);
	sk_fence();
}

bool sk_idle_wake_self(struct sk_idle *idle, unsigned worker)
{
	return take(idle, worker);
}

unsigned sk_idle_count(struct sk_idle *idle)
{
	unsigned count = 0;

	for (unsigned i = 0; i < sk_idle_words(idle); i++)
		count += (unsigned)__builtin_popcountll(sk_load(&idle->sleepers[i], SK_RELAXED));
	return count;
}
