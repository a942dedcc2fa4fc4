/* kernel_parker.c - the parker: unparks before, during and after a park, and when it is gone. */
#include "sched/parker.h"
#include "tests/model/explorer.h"

static sk_parker parker;
static SK_ATOMIC(uint32_t) flags[2];
static int data[2];

/* Writes plain data and unparks. */
static void publisher(void *argument)
{
	uintptr_t self = (uintptr_t)argument;

	data[self] = 1;
	sk_store(&flags[self], 1, SK_RELAXED);
	sk_unpark(&parker);
}

/* The unpark comes before, during or after the moment of falling asleep. */
MC_SCENARIO(parker, unpark_at_any_time)
{
	sk_parker_init(&parker);
	mc_start(publisher, 0);
	mc_assert(sk_park(&parker, SK_FOREVER));
	mc_assert(data[0] == 1);
	mc_join_all();
	sk_parker_destroy(&parker);
}

/* The same where the owner waits elsewhere: it is told when it goes there, or when it comes back, or it
 * parks next. */
MC_SCENARIO(parker, unpark_of_one_that_is_elsewhere)
{
	sk_parker_init(&parker);
	mc_start(publisher, 0);
	if (sk_park_elsewhere(&parker) && !sk_park_end(&parker))
		mc_assert(sk_park(&parker, SK_FOREVER));
	mc_assert(data[0] == 1);
	mc_join_all();
	sk_parker_destroy(&parker);
}

/* Two unparks may be one; but the park that the second one ended sees what came before it. */
static void twice(void *unused)
{
	publisher(unused);
	data[1] = 1;
	sk_store(&flags[1], 1, SK_RELAXED);
	sk_unpark(&parker);
}

MC_SCENARIO(parker, unpark_twice)
{
	sk_parker_init(&parker);
	mc_start(twice, 0);
	do {
		mc_assert(sk_park(&parker, SK_FOREVER));
		mc_assert(data[0] == 1);
	} while (sk_load(&flags[1], SK_RELAXED) == 0);
	mc_join_all();
	mc_assert(data[1] == 1);
}

/* The flags are read relaxed: only the unparks make them seen. */
MC_SCENARIO(parker, two_unparkers)
{
	sk_parker_init(&parker);
	mc_start(publisher, 0);
	mc_start(publisher, 1);
	while (sk_load(&flags[0], SK_RELAXED) == 0 || sk_load(&flags[1], SK_RELAXED) == 0)
		mc_assert(sk_park(&parker, SK_FOREVER));
	mc_join_all();
}

/* An unpark that finds the parker unparked already still publishes what came before it. */
MC_SCENARIO(parker, an_unpark_of_the_unparked_publishes)
{
	sk_parker_init(&parker);
	sk_unpark(&parker);
	mc_start(publisher, 0);
	while (sk_load(&flags[0], SK_RELAXED) == 0)
		mc_assert(sk_park(&parker, SK_FOREVER));
	mc_join_all();
}

/* The time runs out at the moment of the unpark: it ends this park or the next one. */
MC_SCENARIO_WITH(parker, timeout_against_unpark, .allow_timeouts = true, .spurious = 2)
{
	sk_parker_init(&parker);
	mc_start(publisher, 0);
	if (!sk_park(&parker, sk_now() + 1))
		mc_assert(sk_park(&parker, SK_FOREVER));
	mc_assert(data[0] == 1);
	mc_join_all();
}

/* One unpark ends one park. */
MC_SCENARIO_WITH(parker, one_unpark_ends_one_park, .allow_timeouts = true, .spurious = 2)
{
	int ended;

	sk_parker_init(&parker);
	mc_start(publisher, 0);
	ended = sk_park(&parker, sk_now() + 1);
	ended += sk_park(&parker, sk_now() + 1);
	mc_join_all();
	ended += sk_park(&parker, sk_now() + 1);
	mc_assert(ended == 1);
}

/* The owner goes with its parker while the unparker is about to wake the futex. */
static void unparker_of_block(void *argument)
{
	sk_unpark(argument);
}

MC_SCENARIO(parker, freed_under_the_unparker)
{
	sk_parker *own = sk_malloc(sizeof *own);
	int thread;

	sk_parker_init(own);
	thread = mc_thread(unparker_of_block, own);
	mc_assert(sk_park(own, SK_FOREVER));
	sk_parker_destroy(own);
	sk_free(own);
	mc_join(thread);
}

/* The same memory becomes another parker: a late wake is spurious, and ends nothing. */
MC_SCENARIO(parker, reused_under_the_unparker)
{
	int one, two;

	sk_parker_init(&parker);
	one = mc_thread(unparker_of_block, &parker);
	mc_assert(sk_park(&parker, SK_FOREVER));
	sk_parker_init(&parker);
	two = mc_start(publisher, 0);
	mc_assert(sk_park(&parker, SK_FOREVER));
	mc_assert(data[0] == 1);
	mc_join(one);
	mc_join(two);
}
