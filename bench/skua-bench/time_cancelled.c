/* time_cancelled.c - timers that are armed and cancelled, and timeouts that are never over. */
#include <stdlib.h>

#include "../../examples/common.h"
#include "bench.h"
#include "give_way.h"

enum { TIMERS = 1000000, SINGLE = 100000, TIMEOUTS = 100000 };

/* ---- Timers ---- */

static uint64_t *lengths;
static skua_timer *timers;

/* From a second to 68 minutes, each octave as likely as any other: the same in all programs. None
 * of these timers fires while something is measured. */
static void prepare(struct bench *bench, int64_t count)
{
	uint64_t x = 88172645463325252, octave;

	(void)bench;
	lengths = calloc((size_t)count, sizeof *lengths);
	timers = calloc((size_t)count, sizeof *timers);
	if (lengths == NULL || timers == NULL)
		die(1, "no memory");
	for (int64_t i = 0; i < count; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		octave = SKUA_SEC << ((x >> 32) % 12);
		lengths[i] = octave + x % octave;
	}
}

static void give_back(struct bench *bench, int64_t count)
{
	(void)bench, (void)count;
	free(lengths);
	free(timers);
}

struct inserter {
	skua_coro co;
	int64_t count, i, waiting;
};

/* Arms a timer by its first poll. Whether it waits. */
static int arm(skua_cx *cx, int64_t i)
{
	return skua_sleep(cx, &timers[i], lengths[i]) == SKUA_PENDING;
}

/* How many sleeps a poll may begin before its budget is spent (SKUA_BUDGET). */
enum { SLEEPS = 100 };

/* All live at once, then all cancelled in the order in which they were armed. */
static skua_poll insert_all(skua_cx *cx, struct inserter *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < self->count; self->i++) {
		if (self->i % SLEEPS == 0)
			SKUA_AWAIT(skua_yield(cx));
		self->waiting += arm(cx, self->i);
	}
	for (self->i = 0; self->i < self->count; self->i++)
		skua_timer_cancel(&timers[self->i]);
	SKUA_END(self->waiting);
}
SKUA_CORO(insert_all, struct inserter);

static void insert_cancel(struct bench *bench, int64_t count)
{
	struct inserter future = {.co = SKUA_CORO_INIT(insert_all), .count = count};

	must_be(skua_block_on(bench->runtime, &future.co), count, "timers that wait");
}

/* Each is cancelled before the next is armed. */
static skua_poll insert_one(skua_cx *cx, struct inserter *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < self->count; self->i++) {
		if (self->i % SLEEPS == 0)
			SKUA_AWAIT(skua_yield(cx));
		self->waiting += skua_sleep(cx, &timers[0], lengths[self->i]) == SKUA_PENDING;
		skua_timer_cancel(&timers[0]);
	}
	SKUA_END(self->waiting);
}
SKUA_CORO(insert_one, struct inserter);

static void insert_cancel_one(struct bench *bench, int64_t count)
{
	struct inserter future = {.co = SKUA_CORO_INIT(insert_one), .count = count};

	must_be(skua_block_on(bench->runtime, &future.co), count, "timers that wait");
}

/* ---- Timeouts ---- */

struct timed {
	skua_coro co;
	int64_t count, i, sum, value;
	skua_timer timer;
	struct give_way operation;
};

/* An operation that is ready at its first poll. */
static __attribute__((noinline)) skua_poll ready(skua_cx *cx, int64_t value)
{
	__asm__ volatile("" : "+r"(value)); /* nobody knows what it returns */
	(void)cx;
	return value;
}

static skua_poll around_ready(skua_cx *cx, struct timed *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < self->count; self->i++) {
		SKUA_AWAIT(self->value = skua_timeout(cx, &self->timer, 5 * SKUA_SEC,
						      ready(cx, self->i)));
		self->sum += self->value;
	}
	SKUA_END(self->sum);
}
SKUA_CORO(around_ready, struct timed);

static void timeout_ready(struct bench *bench, int64_t count)
{
	struct timed future = {.co = SKUA_CORO_INIT(around_ready), .count = count};

	must_be(skua_block_on(bench->runtime, &future.co), count * (count - 1) / 2, "the sum");
}

/* Around an operation that is ready at its second poll: by then the timer is armed. */
static skua_poll around_pending(skua_cx *cx, struct timed *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < self->count; self->i++) {
		SKUA_AWAIT(self->value = skua_timeout(cx, &self->timer, 5 * SKUA_SEC,
						      give_way(cx, &self->operation, self->i)));
		self->sum += self->value;
	}
	SKUA_END(self->sum);
}
SKUA_CORO(around_pending, struct timed);

static void timeout_pending(struct bench *bench, int64_t count)
{
	struct timed future = {.co = SKUA_CORO_INIT(around_pending), .count = count};

	must_be(skua_block_on(bench->runtime, &future.co), count * (count - 1) / 2, "the sum");
}

const struct workload time_cancelled[] = {
	{.name = "time/insert_cancel",
	 .operations = TIMERS,
	 .argument = TIMERS,
	 .begin = prepare,
	 .iterate = insert_cancel,
	 .end = give_back},
	{.name = "time/insert_cancel_one",
	 .operations = SINGLE,
	 .argument = SINGLE,
	 .begin = prepare,
	 .iterate = insert_cancel_one,
	 .end = give_back},
	{.name = "time/timeout_ready",
	 .operations = TIMEOUTS,
	 .argument = TIMEOUTS,
	 .iterate = timeout_ready},
	{.name = "time/timeout_pending",
	 .operations = TIMEOUTS,
	 .argument = TIMEOUTS,
	 .iterate = timeout_pending},
	{.name = NULL},
};
