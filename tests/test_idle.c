/*
 * tests/test_idle.c - who sleeps and who searches: the bitmap, the counts, and the protocol that
 * keeps a publisher and a sleeper from missing each other.
 */
#include "sched/idle.h"

#include "tests/sched_support.h"

static const unsigned sizes[] = {1, 2, 64, 65, 130, 512};

#define FOREACH_SIZE(n)                                                                            \
	for (unsigned i_ = 0, n; i_ < sizeof sizes / sizeof sizes[0] && (n = sizes[i_], true); i_++)

static unsigned searching(struct sk_idle *idle)
{
	return sk_load(&idle->searching, SK_RELAXED);
}

T_TEST(idle, nobody_sleeps_at_first)
{
	FOREACH_SIZE(n)
	{
		struct sk_idle idle;

		sk_idle_init(&idle, n, n);
		T_EQ(sk_idle_count(&idle), 0);
		T_ASSERT(!sk_idle_could_wake(&idle));
		for (unsigned i = 0; i < n; i++) {
			T_ASSERT(!sk_idle_is_asleep(&idle, i));
			T_EQ(sk_idle_claim(&idle, i), -1);
			T_ASSERT(!sk_idle_claim_worker(&idle, i));
			T_ASSERT(!sk_idle_wake_self(&idle, i));
		}
		T_EQ(searching(&idle), 0);
	}
}

T_TEST(idle, each_sleeper_has_a_bit_of_its_own)
{
	FOREACH_SIZE(n)
	{
		struct sk_idle idle;

		sk_idle_init(&idle, n, n);
		for (unsigned i = 0; i < n; i++) {
			sk_idle_sleep(&idle, i, false);
			T_ASSERT(sk_idle_is_asleep(&idle, i));
			T_ASSERT(i + 1 == n || !sk_idle_is_asleep(&idle, i + 1));
			T_EQ(sk_idle_count(&idle), i + 1);
		}
		for (unsigned i = 0; i < n; i++) {
			T_ASSERT(sk_idle_wake_self(&idle, i));
			T_ASSERT(!sk_idle_is_asleep(&idle, i));
			T_ASSERT(!sk_idle_wake_self(&idle, i));
			T_EQ(sk_idle_count(&idle), n - i - 1);
		}
		T_EQ(searching(&idle), 0);
	}
}

T_TEST(idle, the_preferred_sleeper_is_claimed)
{
	FOREACH_SIZE(n)
	{
		for (unsigned preferred = 0; preferred<n; preferred += n> 8 ? 13 : 1) {
			struct sk_idle idle;

			sk_idle_init(&idle, n, n);
			for (unsigned i = 0; i < n; i++)
				sk_idle_sleep(&idle, i, false);
			T_EQ(sk_idle_claim(&idle, preferred), (int)preferred);
			T_ASSERT(!sk_idle_is_asleep(&idle, preferred));
			T_EQ(sk_idle_count(&idle), n - 1);
			T_EQ(searching(&idle), 1);
		}
	}
}

T_TEST(idle, any_sleeper_is_claimed_if_the_preferred_one_is_awake)
{
	FOREACH_SIZE(n)
	{
		for (unsigned sleeper = 0; sleeper < n; sleeper++) {
			struct sk_idle idle;

			sk_idle_init(&idle, n, n);
			sk_idle_sleep(&idle, sleeper, false);
			T_ASSERT(sk_idle_could_wake(&idle));
			T_EQ(sk_idle_claim(&idle, (sleeper + 1) % n), (int)sleeper);
			T_EQ(sk_idle_count(&idle), 0);
			T_EQ(searching(&idle), 1);
		}
	}
}

T_TEST(idle, every_sleeper_is_claimed_once)
{
	FOREACH_SIZE(n)
	{
		bool claimed[SK_MAX_WORKERS] = {false};
		struct sk_idle idle;

		sk_idle_init(&idle, n, n);
		for (unsigned i = 0; i < n; i++)
			sk_idle_sleep(&idle, i, false);
		for (unsigned i = 0; i < n; i++) {
			int worker = sk_idle_claim(&idle, 0);

			T_GE(worker, 0);
			T_LT(worker, n);
			T_ASSERT(!claimed[worker]);
			claimed[worker] = true;
			T_ASSERT(sk_idle_end_search(&idle));
		}
		T_EQ(sk_idle_claim(&idle, 0), -1);
		T_EQ(searching(&idle), 0);
	}
}

T_TEST(idle, nobody_is_claimed_while_one_searches)
{
	struct sk_idle idle;

	sk_idle_init(&idle, 8, 8);
	for (unsigned i = 1; i < 8; i++)
		sk_idle_sleep(&idle, i, false);
	T_ASSERT(sk_idle_begin_search(&idle));
	T_ASSERT(!sk_idle_could_wake(&idle));
	T_EQ(sk_idle_claim(&idle, 3), -1);
	T_EQ(sk_idle_count(&idle), 7);
	T_EQ(searching(&idle), 1);
	T_ASSERT(sk_idle_end_search(&idle));
	T_ASSERT(sk_idle_could_wake(&idle));
	/* One wake is in flight at a time: the claimed one searches until it says otherwise. */
	T_EQ(sk_idle_claim(&idle, 3), 3);
	T_EQ(sk_idle_claim(&idle, 4), -1);
	T_ASSERT(sk_idle_end_search(&idle));
	T_EQ(sk_idle_claim(&idle, 4), 4);
}

T_TEST(idle, a_claim_in_vain_leaves_no_count_behind)
{
	struct sk_idle idle;

	sk_idle_init(&idle, 4, 4);
	for (int i = 0; i < 10; i++)
		T_EQ(sk_idle_claim(&idle, 2), -1);
	T_EQ(searching(&idle), 0);
	T_ASSERT(sk_idle_begin_search(&idle));
	T_ASSERT(sk_idle_end_search(&idle));
}

T_TEST(idle, one_worker_can_be_claimed_whoever_searches)
{
	struct sk_idle idle;

	sk_idle_init(&idle, 130, 130);
	sk_idle_sleep(&idle, 5, false);
	sk_idle_sleep(&idle, 129, false);
	T_ASSERT(sk_idle_begin_search(&idle));
	T_ASSERT(sk_idle_claim_worker(&idle, 129));
	T_EQ(searching(&idle), 2);
	T_ASSERT(!sk_idle_claim_worker(&idle, 129));
	T_ASSERT(!sk_idle_claim_worker(&idle, 1));
	T_EQ(searching(&idle), 2);
	T_ASSERT(sk_idle_is_asleep(&idle, 5));
	T_ASSERT(!sk_idle_end_search(&idle));
	T_ASSERT(sk_idle_end_search(&idle));
}

T_TEST(idle, half_of_the_workers_search_at_most)
{
	FOREACH_SIZE(n)
	{
		struct sk_idle idle;
		unsigned begun = 0;

		sk_idle_init(&idle, n, n);
		while (sk_idle_begin_search(&idle))
			T_LE(++begun, n);
		T_EQ(begun, (n + 1) / 2);
		T_EQ(searching(&idle), begun);
	}
}

T_TEST(idle, only_the_last_searcher_is_told_so)
{
	struct sk_idle idle;

	sk_idle_init(&idle, 6, 6);
	for (int i = 0; i < 3; i++)
		T_ASSERT(sk_idle_begin_search(&idle));
	T_ASSERT(!sk_idle_begin_search(&idle));
	T_ASSERT(!sk_idle_end_search(&idle));
	T_ASSERT(sk_idle_begin_search(&idle));
	T_ASSERT(!sk_idle_end_search(&idle));
	T_ASSERT(!sk_idle_end_search(&idle));
	T_ASSERT(sk_idle_end_search(&idle));
}

T_TEST(idle, a_searcher_that_sleeps_is_counted_out)
{
	struct sk_idle idle;

	sk_idle_init(&idle, 4, 4);
	T_ASSERT(sk_idle_begin_search(&idle));
	T_ASSERT(sk_idle_begin_search(&idle));
	sk_idle_sleep(&idle, 0, true);
	T_EQ(searching(&idle), 1);
	sk_idle_sleep(&idle, 1, true);
	T_EQ(searching(&idle), 0);
	sk_idle_sleep(&idle, 2, false);
	T_EQ(searching(&idle), 0);
	T_EQ(sk_idle_count(&idle), 3);
}

T_TEST(idle, a_claimed_worker_cannot_wake_itself)
{
	struct sk_idle idle;

	sk_idle_init(&idle, 2, 2);
	sk_idle_sleep(&idle, 1, false);
	T_EQ(sk_idle_claim(&idle, 1), 1);
	T_ASSERT(!sk_idle_wake_self(&idle, 1));
	T_EQ(searching(&idle), 1);
	/* It parks until the unpark that was promised, then it searches. */
	T_ASSERT(sk_idle_end_search(&idle));
	sk_idle_sleep(&idle, 1, false);
	T_ASSERT(sk_idle_wake_self(&idle, 1));
	T_EQ(searching(&idle), 0);
	T_EQ(sk_idle_claim(&idle, 1), -1);
}

/* ---- Many threads ---- */

/*
 * Workers with queues that are only counts of tasks. Publishers put tasks in and wait for them to be
 * taken; a lost wake-up is a task that nobody comes for.
 */
enum { MOST_WORKERS = 4, PUBLISHERS = 2 };

static struct stress {
	struct sk_idle idle;
	unsigned workers, rounds;
	counter queues[MOST_WORKERS];
	sk_parker parkers[MOST_WORKERS];
	counter stop, taken, parks, published, ended;
	sk_thread threads[MOST_WORKERS + PUBLISHERS];
} stress;

static void wake_claimed(int worker)
{
	if (worker >= 0)
		sk_unpark(&stress.parkers[worker]);
}

static bool take_from(unsigned queue)
{
	uint32_t tasks = sk_load(&stress.queues[queue], SK_RELAXED);

	while (tasks > 0)
		if (sk_cas(&stress.queues[queue], &tasks, tasks - 1, SK_ACQUIRE, SK_RELAXED))
			return true;
	return false;
}

static bool any_task(void)
{
	for (unsigned i = 0; i < stress.workers; i++)
		if (sk_load(&stress.queues[i], SK_RELAXED) > 0)
			return true;
	return false;
}

static bool sleep_or_not(unsigned self, bool searches)
{
	sk_idle_sleep(&stress.idle, self, searches);
	if (!any_task() && count_of(&stress.stop) == 0) {
		count_up(&stress.parks);
		if (sk_park(&stress.parkers[self], SK_FOREVER))
			return true;
	}
	if (sk_idle_wake_self(&stress.idle, self))
		return false;
	T_ASSERT(sk_park(&stress.parkers[self], SK_FOREVER));
	return true;
}

static void worker_main(void *argument)
{
	unsigned self = (unsigned)((counter *)argument - stress.queues);
	bool searches = false;

	while (count_of(&stress.stop) == 0) {
		bool found = take_from(self);

		if (!found && !searches)
			searches = sk_idle_begin_search(&stress.idle);
		for (unsigned i = 0; i < stress.workers && searches && !found; i++)
			found = take_from(i);
		if (!found) {
			searches = sleep_or_not(self, searches);
			continue;
		}
		if (searches && sk_idle_end_search(&stress.idle)) {
			sk_fence();
			if (any_task())
				wake_claimed(sk_idle_claim(&stress.idle, self));
		}
		searches = false;
		count_up(&stress.taken);
	}
	count_up(&stress.ended);
}

static void publisher_main(void *argument)
{
	uint32_t random = *(uint32_t *)argument;

	for (unsigned i = 0; i < stress.rounds; i++) {
		unsigned queue = sk_random(&random) % stress.workers;

		count_up(&stress.published);
		count_up(&stress.queues[queue]);
		sk_fence();
		wake_claimed(sk_idle_claim(&stress.idle, queue));
		if (sk_random(&random) % 2 == 0)
			EVENTUALLY(count_of(&stress.taken) == count_of(&stress.published));
	}
}

static void run_stress(unsigned workers)
{
	static uint32_t seeds[PUBLISHERS] = {11, 12};

	stress.workers = workers;
	stress.rounds = rounds_of(20000);
	sk_idle_init(&stress.idle, workers, workers);
	for (unsigned i = 0; i < workers; i++) {
		sk_parker_init(&stress.parkers[i]);
		T_EQ(sk_thread_start(&stress.threads[i], "worker", worker_main, &stress.queues[i]),
		     0);
	}
	for (unsigned i = 0; i < PUBLISHERS; i++)
		T_EQ(sk_thread_start(&stress.threads[workers + i], "publisher", publisher_main,
				     &seeds[i]),
		     0);
	for (unsigned i = 0; i < PUBLISHERS; i++)
		sk_thread_join(&stress.threads[workers + i]);
	EVENTUALLY(count_of(&stress.taken) == PUBLISHERS * stress.rounds);
	/* When all is done, everybody goes to sleep and nobody is counted as searching. */
	EVENTUALLY(sk_idle_count(&stress.idle) == workers);
	T_EQ(searching(&stress.idle), 0);
	T_GT(count_of(&stress.parks), 0);
	count_up(&stress.stop);
	sk_fence();
	for (unsigned i = 0; i < workers; i++)
		if (sk_idle_claim_worker(&stress.idle, i))
			sk_unpark(&stress.parkers[i]);
	EVENTUALLY(count_of(&stress.ended) == workers);
	for (unsigned i = 0; i < workers; i++) {
		sk_thread_join(&stress.threads[i]);
		sk_parker_destroy(&stress.parkers[i]);
	}
}

T_TEST(idle, stress_no_wake_is_lost_with_one_worker)
{
	run_stress(1);
}

T_TEST(idle, stress_no_wake_is_lost_with_two_workers)
{
	run_stress(2);
}

T_TEST(idle, stress_no_wake_is_lost_with_four_workers)
{
	run_stress(4);
}
