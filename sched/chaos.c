/* chaos.c - see chaos.h. Its own operations are no points. */
#define SK_NO_POINTS
#include "sched/chaos.h"

#ifdef SK_CHAOS

#include <stdlib.h>

#include "sched/sync.h"

static struct sk_chaos_options options;

/* Counts the calls of sk_chaos_configure: threads with an older number seed themselves anew. */
static SK_ATOMIC(uint32_t) generation;
static SK_ATOMIC(uint32_t) threads;

static _Thread_local struct {
	uint64_t random;
	uint32_t generation;
	bool slow; /* one thread in eight is held up much more often */
} self;

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9E3779B97F4A7C15);
	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return x ^ x >> 31;
}

struct sk_chaos_options sk_chaos_default(uint64_t seed)
{
	uint64_t r = mix(seed);
	struct sk_chaos_options chosen = {
		.seed = seed,
		.yield_one_in = 4u << (r & 3),
		.sleep_one_in = 512u << (r >> 2 & 3),
		.sleep_us = 20u << (r >> 4 & 3),
		.fail_one_in = 16u << (r >> 6 & 3),
		.migrate = (r >> 8 & 1) != 0,
	};

	return chosen;
}

void sk_chaos_configure(const struct sk_chaos_options *wanted)
{
	options = *wanted;
	sk_store(&threads, 0, SK_RELAXED);
	/* Release: the options, and the count of threads. */
	sk_fetch_add(&generation, 1, SK_RELEASE);
}

__attribute__((constructor)) static void configure_from_environment(void)
{
	const char *seed = getenv("SKUA_TEST_CHAOS");

	if (seed != NULL) {
		struct sk_chaos_options chosen = sk_chaos_default(strtoull(seed, NULL, 0));

		sk_chaos_configure(&chosen);
	}
}

static uint32_t next(void)
{
	/* Acquire: pairs with the release in sk_chaos_configure. */
	uint32_t now = sk_load(&generation, SK_ACQUIRE);

	if (self.generation != now) {
		uint32_t number = sk_fetch_add(&threads, 1, SK_RELAXED);

		self.generation = now;
		self.random = mix(options.seed) + number;
		self.slow = mix(self.random) % 8 == 0;
	}
	self.random++;
	return (uint32_t)mix(self.random);
}

static bool hits(uint32_t random, uint32_t one_in)
{
	return one_in != 0 && random % one_in == 0;
}

void sk_chaos_point(void)
{
	uint32_t random = next();

	if (hits(random, self.slow ? options.sleep_one_in / 16 : options.sleep_one_in))
		sk_thread_sleep((uint64_t)(next() % (options.sleep_us + 1)) * 1000);
	else if (hits(random, options.yield_one_in))
		sk_thread_yield();
}

bool sk_chaos_fails(void)
{
	return hits(next(), options.fail_one_in);
}

bool sk_chaos_migrates(void)
{
	return options.migrate;
}

#else

/* A file must declare something. */
typedef int sk_no_chaos;

#endif
