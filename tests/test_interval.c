/*
 * test_interval.c - ticking, moving timers that are armed, and the nearest deadline. On a paused clock, so
 * that every figure is exact.
 */
#include "api_support.h"

static skua_runtime *paused_runtime(void)
{
	skua_runtime *rt = runtime_of(1);

	T_EQ(skua_clock_pause(rt), 0);
	return rt;
}

/* ---- Intervals ---- */

enum { TICKS = 6 };

/* Takes ticks, is busy for a while after the second, and notes when each came and what it said. */
struct ticker {
	skua_coro co;
	skua_interval interval;
	skua_timer timer;
	uint32_t missed;
	int taken;
	int64_t rc, said[TICKS];
	uint64_t begin, came[TICKS];
};

static skua_poll ticker(skua_cx *cx, struct ticker *self)
{
	SKUA_BEGIN(self);
	self->begin = skua_now();
	T_EQ(skua_interval_init(&self->interval, self->begin + 5 * SKUA_MSEC, 10 * SKUA_MSEC,
				self->missed),
	     0);
	while (self->taken < TICKS) {
		SKUA_AWAIT(self->rc = skua_tick(cx, &self->interval));
		self->said[self->taken] = self->rc;
		self->came[self->taken++] = skua_now() - self->begin;
		if (self->taken == 2)
			SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 34 * SKUA_MSEC));
	}
	SKUA_END(0);
}
SKUA_CORO(ticker, struct ticker);

static void ticks(uint32_t missed, const uint64_t *came_ms, const int64_t *said)
{
	skua_runtime *rt = paused_runtime();
	struct ticker task = {.co = SKUA_CORO_INIT(ticker), .missed = missed};

	T_EQ(skua_block_on(rt, &task.co), 0);
	for (int i = 0; i < TICKS; i++) {
		T_EQ(task.came[i], came_ms[i] * SKUA_MSEC);
		T_EQ(task.said[i], said[i]);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* It is busy from 15 to 49; ticks are due at 25, 35, 45, 55. */

T_TEST(interval, burst_brings_all_that_were_missed)
{
	ticks(SKUA_MISSED_BURST, (uint64_t[]){5, 15, 49, 49, 49, 55},
	      (int64_t[]){0, 0, 0, 0, 0, 0});
}

T_TEST(interval, delay_begins_anew_with_the_late_one)
{
	ticks(SKUA_MISSED_DELAY, (uint64_t[]){5, 15, 49, 59, 69, 79},
	      (int64_t[]){0, 0, 0, 0, 0, 0});
}

T_TEST(interval, skip_leaves_out_and_says_how_many)
{
	ticks(SKUA_MISSED_SKIP, (uint64_t[]){5, 15, 49, 55, 65, 75}, (int64_t[]){0, 0, 2, 0, 0, 0});
}

T_TEST(interval, mistakes_are_told)
{
	skua_interval interval;

	T_EQ(skua_interval_init(&interval, 0, 0, SKUA_MISSED_BURST), -EINVAL);
	T_EQ(skua_interval_init(&interval, 0, 1, SKUA_MISSED_SKIP + 1), -EINVAL);
	T_EQ(skua_interval_init(&interval, 0, 1, SKUA_MISSED_SKIP), 0);
}

/* A tick that is interrupted has not been taken. */
struct impatient {
	skua_coro co;
	skua_interval interval;
	skua_timer timer;
	int64_t rc;
	uint64_t begin, came;
};

static skua_poll impatient(skua_cx *cx, struct impatient *self)
{
	SKUA_BEGIN(self);
	self->begin = skua_now();
	T_EQ(skua_interval_init(&self->interval, self->begin + 10 * SKUA_MSEC, 10 * SKUA_MSEC,
				SKUA_MISSED_BURST),
	     0);
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, 4 * SKUA_MSEC,
					   skua_tick(cx, &self->interval)));
	T_EQ(self->rc, -ETIMEDOUT);
	SKUA_AWAIT(self->rc = skua_tick(cx, &self->interval));
	self->came = skua_now() - self->begin;
	SKUA_END(self->rc);
}
SKUA_CORO(impatient, struct impatient);

T_TEST(interval, a_tick_that_was_given_up_comes_all_the_same)
{
	skua_runtime *rt = paused_runtime();
	struct impatient task = {.co = SKUA_CORO_INIT(impatient)};

	T_EQ(skua_block_on(rt, &task.co), 0);
	T_EQ(task.came, 10 * SKUA_MSEC);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Moving ---- */

/* Polls a sleep, moves it, and polls on: like a task that has several things to wait for. */
struct mover {
	skua_future future;
	skua_timer timer;
	uint64_t length, moves[4]; /* from the begin; 0 ends them */
	uint64_t begin, woken;
	unsigned moved;
	int as_deadline;
};

static skua_poll wait_in(skua_cx *cx, struct mover *self)
{
	if (self->as_deadline)
		return skua_deadline(cx, &self->timer, self->begin + self->length,
				     parked(cx, NULL));
	return skua_sleep_until(cx, &self->timer, self->begin + self->length);
}

static skua_poll mover_poll(skua_cx *cx, skua_future *future)
{
	struct mover *self = (struct mover *)(void *)future;
	skua_poll result;

	if (self->begin == 0)
		self->begin = skua_now();
	result = wait_in(cx, self);
	while (result == SKUA_PENDING && self->moves[self->moved] != 0)
		T_EQ(skua_timer_reset(cx, &self->timer, self->begin + self->moves[self->moved++]),
		     0);
	if (result != SKUA_PENDING)
		self->woken = skua_now() - self->begin;
	return result;
}

static const skua_future_ops mover_ops = {mover_poll, NULL, sizeof(struct mover), "mover",
					  __FILE__};

static void moves(const struct mover *example, uint64_t woken)
{
	for (int as_deadline = 0; as_deadline < 2; as_deadline++) {
		skua_runtime *rt = paused_runtime();
		struct mover mover = *example;

		mover.future = (skua_future){&mover_ops, 0, 0};
		mover.as_deadline = as_deadline;
		T_EQ(skua_block_on(rt, &mover.future), as_deadline ? -ETIMEDOUT : 0);
		T_EQ(mover.woken, woken);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

T_TEST(reset, to_later)
{
	moves(&(struct mover){.length = SKUA_SEC, .moves = {2 * SKUA_SEC}}, 2 * SKUA_SEC);
}

T_TEST(reset, to_earlier)
{
	moves(&(struct mover){.length = SKUA_SEC, .moves = {SKUA_MSEC}}, SKUA_MSEC);
}

T_TEST(reset, to_and_fro)
{
	moves(&(struct mover){.length = SKUA_SEC,
			      .moves = {3 * SKUA_SEC, 2 * SKUA_SEC, 5 * SKUA_SEC}},
	      5 * SKUA_SEC);
	moves(&(struct mover){.length = SKUA_SEC, .moves = {3 * SKUA_SEC, SKUA_MSEC, 1}}, 1);
}

static skua_poll reset_nothing(skua_cx *cx, void *timer)
{
	return skua_timer_reset(cx, timer, 1);
}

T_TEST(reset, of_nothing_is_a_mistake)
{
	skua_runtime *rt = paused_runtime();
	skua_timer timer = {{0}};

	T_EQ(run(rt, reset_nothing, &timer), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- The nearest deadline ---- */

static skua_poll ask(skua_cx *cx, uint64_t *deadline)
{
	*deadline = skua_cx_deadline(cx);
	return 0;
}

static skua_poll ask_everywhere(skua_cx *cx, void *argument)
{
	uint64_t now = skua_now(), found[4];
	skua_timer timers[2] = {{{0}}};

	(void)argument;
	T_EQ(ask(cx, &found[0]), 0);
	T_EQ(skua_timeout(cx, &timers[0], SKUA_SEC, ask(cx, &found[1])), 0);
	T_EQ(skua_timeout(cx, &timers[0], SKUA_SEC,
			  skua_deadline(cx, &timers[1], now + 5, ask(cx, &found[2]))),
	     0);
	T_EQ(skua_deadline(cx, &timers[0], now + 3,
			   skua_timeout(cx, &timers[1], SKUA_SEC, ask(cx, &found[3]))),
	     0);
	T_ASSERT(found[0] == SKUA_NEVER);
	T_EQ(found[1], now + SKUA_SEC);
	T_EQ(found[2], now + 5);
	T_EQ(found[3], now + 3);
	return 0;
}

T_TEST(deadline_in_force, is_the_nearest_of_all)
{
	skua_runtime *rt = paused_runtime();

	T_EQ(run(rt, ask_everywhere, NULL), 0);
	T_EQ(skua_runtime_free(rt), 0);
}
