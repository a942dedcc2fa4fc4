/* kernel_idle.c - the sleep and wake protocol: publishers and workers around one modelled queue. */
#include "sched/idle.h"
#include "sched/parker.h"
#include "tests/model/explorer.h"

enum { WORKERS = 2 };

static struct sk_idle idle;
static sk_parker parkers[WORKERS];
typedef SK_ATOMIC(uint32_t) items;

static items queue; /* how many there are */
static items other; /* a second queue, that nobody publishes to */

static void begin(uint32_t workers)
{
	sk_idle_init(&idle, workers, workers);
	for (int i = 0; i < WORKERS; i++)
		sk_parker_init(&parkers[i]);
}

/* Everything is taken, nobody sleeps, searches, or has an unpark coming. */
static void end(void)
{
	mc_assert(sk_load(&queue, SK_RELAXED) == 0);
	mc_assert(sk_idle_count(&idle) == 0);
	mc_assert(sk_load(&idle.searching, SK_RELAXED) == 0);
	for (int i = 0; i < WORKERS; i++)
		mc_assert(sk_load(&parkers[i].state, SK_RELAXED) == 0);
}

static void wake_one(unsigned preferred)
{
	int worker = sk_idle_claim(&idle, preferred);

	if (worker >= 0)
		sk_unpark(&parkers[worker]);
}

static void publish(unsigned preferred)
{
	sk_fetch_add(&queue, 1, SK_RELAXED);
	sk_fence();
	wake_one(preferred);
}

static void publisher(void *argument)
{
	publish((unsigned)(uintptr_t)argument);
}

static bool take(items *from)
{
	uint32_t count = sk_load(from, SK_RELAXED);

	while (count > 0)
		if (sk_cas(from, &count, count - 1, SK_RELAXED, SK_RELAXED))
			return true;
	return false;
}

/* As sleep_or_not of worker.c. */
static bool sleep_or_not(unsigned self, bool searching, uint64_t deadline)
{
	bool parked, notified = false;

	sk_idle_sleep(&idle, self, searching);
	parked = sk_load(&queue, SK_RELAXED) == 0;
	if (parked)
		notified = sk_park(&parkers[self], deadline);
	if (notified)
		return true;
	if (sk_idle_wake_self(&idle, self)) {
		if (!parked && !searching)
			sk_thread_yield();
		return false;
	}
	sk_park(&parkers[self], SK_FOREVER);
	return true;
}

static void end_search(unsigned self)
{
	if (!sk_idle_end_search(&idle))
		return;
	/* As pass_on. */
	sk_fence();
	if (sk_load(&queue, SK_RELAXED) > 0)
		wake_one(self);
}

/* A worker that takes one item and is gone: what else there is, others must come to. */
static void work(unsigned self, bool searching, uint64_t deadline)
{
	for (;;) {
		if (!searching)
			searching = sk_idle_begin_search(&idle);
		if (searching && take(&queue))
			break;
		searching = sleep_or_not(self, searching, deadline);
	}
	end_search(self);
}

static void worker(void *argument)
{
	work((unsigned)(uintptr_t)argument, false, SK_FOREVER);
}

static void worker_with_timer(void *argument)
{
	work((unsigned)(uintptr_t)argument, false, sk_now() + 1);
}

MC_SCENARIO(idle, one_publisher_one_sleeper)
{
	begin(1);
	mc_start(worker, 0);
	publish(0);
	mc_join_all();
	end();
}

/* The worker comes back for the second item. */
static void worker_twice(void *argument)
{
	worker(argument);
	worker(argument);
}

MC_SCENARIO(idle, two_items_one_sleeper)
{
	begin(1);
	mc_start(worker_twice, 0);
	publish(0);
	publish(0);
	mc_join_all();
	end();
}

MC_SCENARIO(idle, two_publishers_one_sleeper)
{
	begin(1);
	mc_start(worker_twice, 0);
	mc_start(publisher, 0);
	publish(0);
	mc_join_all();
	end();
}

MC_SCENARIO(idle, one_publisher_two_sleepers)
{
	begin(2);
	mc_start(worker, 0);
	mc_start(worker, 1);
	publish(0);
	publish(1);
	mc_join_all();
	end();
}

/* A worker that searches finds something else, and is gone: it must pass on what the publisher,
 * who saw it search, has left to it. */
static void searcher_of_other(void *unused)
{
	(void)unused;
	mc_assert(take(&other));
	end_search(1);
}

MC_SCENARIO(idle, a_searcher_that_finds_something_else)
{
	int one, two;

	begin(2);
	sk_init(&other, 1);
	sk_init(&idle.searching, 1);
	two = mc_start(searcher_of_other, 0);
	one = mc_start(worker, 0);
	publish(0);
	mc_join(one);
	mc_join(two);
	end();
}

/* The count of one publisher, who finds that its sleeper is awake after all, puts the other
 * publisher off: the first one must look again. Worker 0 wakes of its own accord. */
static void riser(void *unused)
{
	bool searching = false;

	(void)unused;
	if (!sk_idle_wake_self(&idle, 0)) {
		sk_park(&parkers[0], SK_FOREVER);
		searching = true;
	}
	mc_assert(take(&other));
	if (searching)
		end_search(0);
}

MC_SCENARIO(idle, a_count_that_puts_another_publisher_off)
{
	begin(2);
	sk_init(&other, 1);
	sk_init(&idle.sleepers[0], 1);
	mc_start(riser, 0);
	mc_start(worker, 1);
	mc_start(publisher, 0);
	/* For the riser, who may have found it already. */
	sk_fence();
	wake_one(0);
	mc_join_all();
	end();
}

/* Two who look for a sleeper at the same time wake one of two: one wake is in flight at a time. */
static int claimed[2];

static void claims_any(void *argument)
{
	claimed[(uintptr_t)argument] = sk_idle_claim(&idle, (unsigned)(uintptr_t)argument);
}

MC_SCENARIO(idle, two_claims_wake_one)
{
	begin(2);
	sk_init(&idle.sleepers[0], 3);
	mc_start(claims_any, 0);
	mc_start(claims_any, 1);
	mc_join_all();
	mc_assert((claimed[0] < 0) != (claimed[1] < 0));
	mc_assert(sk_load(&idle.searching, SK_RELAXED) == 1);
	mc_assert(sk_idle_count(&idle) == 1);
}

/* One particular worker is claimed while its time runs out. */
static void claimer(void *unused)
{
	(void)unused;
	sk_fence();
	if (sk_idle_claim_worker(&idle, 0))
		sk_unpark(&parkers[0]);
}

MC_SCENARIO_WITH(idle, claim_worker_against_a_timeout, .allow_timeouts = true)
{
	begin(1);
	mc_start(worker_with_timer, 0);
	mc_start(claimer, 0);
	publish(0);
	mc_join_all();
	end();
}

/* Two claim the same sleeper: it is woken once, and counted once. */
static void sleeper(void *unused)
{
	(void)unused;
	sk_idle_sleep(&idle, 0, false);
	if (!sk_park(&parkers[0], sk_now() + 1)) {
		if (sk_idle_wake_self(&idle, 0))
			return;
		mc_assert(sk_park(&parkers[0], SK_FOREVER));
	}
	mc_assert(sk_idle_end_search(&idle));
}

MC_SCENARIO_WITH(idle, two_claims_of_one_worker, .allow_timeouts = true)
{
	begin(1);
	mc_start(sleeper, 0);
	mc_start(claimer, 0);
	claimer(NULL);
	mc_join_all();
	end();
}
