/* kernel_thread_waker.c - the waker of a thread that waits for a task: wakes, clones, the last reference. */
#include "sched/thread_waker.h"

#include <errno.h>

#include "sched/clock.h"
#include "sched/waiter.h"
#include "tests/model/explorer.h"
#include "tests/model/sync_model.h"

static struct sk_thread_waker *own;
static skua_cx cx;
static skua_waker clones[2];
static int written[2]; /* plain: what was written before a wake is seen after the park */
static SK_ATOMIC(uint32_t) events;
static sk_slot slot;

/* The thread that waits has lent `count` clones to others. */
static void begin(unsigned count)
{
	own = sk_thread_waker_new();
	mc_assert(own != NULL);
	sk_thread_waker_cx(own, &cx);
	for (unsigned i = 0; i < count; i++)
		mc_assert(skua_waker_clone(&cx.waker, &clones[i]) == 0);
}

static void wakes(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	written[i] = 1;
	sk_fetch_add(&events, 1, SK_RELAXED);
	skua_waker_wake(&clones[i]);
}

static void wakes_and_drops(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	written[i] = 1;
	sk_fetch_add(&events, 1, SK_RELAXED);
	skua_waker_wake_by_ref(&clones[i]);
	skua_waker_drop(&clones[i]);
}

static void drops(void *argument)
{
	skua_waker_drop(&clones[(uintptr_t)argument]);
}

/* Parks until there have been so many events. */
static void wait_for(uint32_t count)
{
	while (sk_load(&events, SK_RELAXED) < count)
		sk_thread_waker_park(own);
}

/* Before, while and after it parks; and the waker goes at once, by whoever is the last. */
MC_SCENARIO(thread_waker, wake_against_park_and_free)
{
	begin(1);
	mc_start(wakes, 0);
	sk_thread_waker_park(own);
	mc_assert(written[0] == 1);
	sk_thread_waker_free(own);
	mc_join_all();
}

MC_SCENARIO(thread_waker, wake_by_reference_against_park_and_free)
{
	begin(1);
	mc_start(wakes_and_drops, 0);
	sk_thread_waker_park(own);
	mc_assert(written[0] == 1);
	sk_thread_waker_free(own);
	mc_join_all();
}

MC_SCENARIO(thread_waker, two_threads_wake)
{
	begin(2);
	mc_start(wakes, 0);
	mc_start(wakes_and_drops, 1);
	wait_for(2);
	sk_thread_waker_free(own);
	mc_join_all();
}

/* A wake after the thread has seen the event without it must not fall on freed memory. */
MC_SCENARIO(thread_waker, wake_against_one_who_does_not_park)
{
	begin(1);
	mc_start(wakes, 0);
	if (sk_load(&events, SK_RELAXED) == 0)
		sk_thread_waker_park(own);
	sk_thread_waker_free(own);
	mc_join_all();
}

MC_SCENARIO(thread_waker, drop_of_a_clone_against_free)
{
	begin(2);
	mc_start(drops, 0);
	mc_start(wakes, 1);
	sk_thread_waker_park(own);
	mc_assert(written[1] == 1);
	sk_thread_waker_free(own);
	mc_join_all();
}

/* A clone of the clone, by a thread that knows nothing else. */
static void clones_and_wakes(void *unused)
{
	skua_waker copy;

	(void)unused;
	mc_assert(skua_waker_clone(&clones[0], &copy) == 0);
	skua_waker_drop(&clones[0]);
	written[0] = 1;
	skua_waker_wake(&copy);
}

MC_SCENARIO(thread_waker, a_clone_of_a_clone)
{
	begin(1);
	mc_start(clones_and_wakes, 0);
	sk_thread_waker_park(own);
	mc_assert(written[0] == 1);
	sk_thread_waker_free(own);
	mc_join_all();
}

/* Two events by one thread: the second wake falls into the time between two parks. */
static void wakes_twice(void *unused)
{
	(void)unused;
	sk_fetch_add(&events, 1, SK_RELAXED);
	skua_waker_wake_by_ref(&clones[0]);
	wakes(NULL);
}

MC_SCENARIO(thread_waker, two_wakes_in_a_row)
{
	begin(1);
	mc_start(wakes_twice, 0);
	wait_for(2);
	sk_thread_waker_free(own);
	mc_join_all();
}

/* ---- Counting the thread, for a clock that is paused ---- */

/* From the count to the first wake since it last came back, and no longer. */
MC_SCENARIO(thread_waker, counted_until_it_is_woken)
{
	begin(1);
	for (int i = 0; i < 2; i++) {
		sk_thread_waker_count(own);
		mc_assert(sk_clock_is_awaited());
		skua_waker_wake_by_ref(&clones[0]);
		mc_assert(!sk_clock_is_awaited());
		sk_thread_waker_count(own);
		mc_assert(!sk_clock_is_awaited());
		sk_thread_waker_park(own);
	}
	skua_waker_drop(&clones[0]);
	sk_thread_waker_free(own);
}

/* At the same moment; and in the time between two wakes, when one ends what it does not know of. */
MC_SCENARIO(thread_waker, counted_against_two_wakes)
{
	begin(2);
	mc_start(wakes, 0);
	mc_start(wakes_and_drops, 1);
	while (sk_load(&events, SK_RELAXED) < 2) {
		sk_thread_waker_count(own);
		sk_thread_waker_park(own);
	}
	mc_join_all();
	mc_assert(!sk_clock_is_awaited());
	sk_thread_waker_free(own);
}

static void fires(void *unused)
{
	(void)unused;
	written[0] = 1;
	sk_waiter_wake(sk_slot_fire(&slot));
}

/* As skua_block_on and skua_task_wait: by way of a slot. Memory may run out on the way. */
MC_SCENARIO(thread_waker, wait_in_a_slot)
{
	skua_poll waits;

	mc_start(fires, 0);
	mc_allow_failures(1);
	own = sk_thread_waker_new();
	if (own != NULL) {
		sk_thread_waker_cx(own, &cx);
		while ((waits = sk_slot_wait(&slot, &cx)) == SKUA_PENDING)
			sk_thread_waker_park(own);
		mc_assert(waits == 0 || (waits == -ENOMEM && mc_failures() == 1));
		if (waits == 0)
			mc_assert(written[0] == 1);
		sk_thread_waker_free(own);
	}
	mc_join_all();
}
