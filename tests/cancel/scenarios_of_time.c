/* scenarios_of_time.c - sleeping, ticking, deadlines, giving way. */
#include "tests/cancel/cancel.h"

/* ---- Sleeping ---- */

struct sleeps {
	SUBJECT;
	skua_timer timer;
	int naps;
};

static skua_poll sleep_thrice(skua_cx *cx, struct sleeps *self)
{
	SKUA_BEGIN(self);
	for (self->naps = 0; self->naps < 3; self->naps++)
		STEP_OR_END(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	SKUA_END(3);
}
SKUA_CORO(sleep_thrice, struct sleeps);

struct until {
	SUBJECT;
	skua_timer timer;
	uint64_t when;
};

static skua_poll sleep_until(skua_cx *cx, struct until *self)
{
	SKUA_BEGIN(self);
	self->when = skua_clock_now(skua_cx_runtime(cx)) + CANCEL_HOUR;
	STEP_OR_END(skua_sleep_until(cx, &self->timer, self->when));
	STEP_OR_END(skua_sleep_until(cx, &self->timer, self->when + 1));
	SKUA_END(0);
}
SKUA_CORO(sleep_until, struct until);

/* Its time is put off, once to later and once to earlier. */
static skua_poll sleep_and_reset(skua_cx *cx, struct until *self)
{
	skua_poll result = skua_sleep(cx, &self->timer, CANCEL_HOUR);

	if (result == SKUA_PENDING && self->when < 2) {
		uint64_t now = skua_clock_now(skua_cx_runtime(cx));

		trial_expect(self->trial, "skua_timer_reset",
			     skua_timer_reset(cx, &self->timer,
					      now + (self->when == 0 ? 2 : 1) * CANCEL_HOUR),
			     0);
		self->when++;
		skua_waker_wake_by_ref(skua_cx_waker(cx));
	}
	return result;
}

static skua_poll reset(skua_cx *cx, struct until *self)
{
	SKUA_BEGIN(self);
	STEP_OR_END(sleep_and_reset(cx, self));
	SKUA_END(0);
}
SKUA_CORO(reset, struct until);

/* An await that is given up, and another one with the same timer. */
static skua_poll forgotten(skua_cx *cx, struct sleeps *self)
{
	SKUA_BEGIN(self);
	self->rc = skua_sleep(cx, &self->timer, CANCEL_HOUR);
	skua_timer_cancel(&self->timer);
	if (self->rc == -ECANCELED)
		SKUA_RETURN(self->rc);
	STEP_OR_END(skua_sleep(cx, &self->timer, 2 * CANCEL_HOUR));
	SKUA_END(0);
}
SKUA_CORO(forgotten, struct sleeps);

/* ---- Ticking ---- */

struct ticks {
	SUBJECT;
	skua_interval interval;
	skua_timer timer;
	int ticks;
};

static skua_poll tick(skua_cx *cx, struct ticks *self, uint32_t missed)
{
	SKUA_BEGIN(self);
	self->rc = skua_interval_init(&self->interval, 0, CANCEL_HOUR, missed);
	for (self->ticks = 0; self->ticks < 3; self->ticks++)
		STEP_OR_END(skua_tick(cx, &self->interval));
	/* Two and a half are missed. */
	STEP_OR_END(skua_sleep(cx, &self->timer, 5 * CANCEL_HOUR / 2));
	for (self->ticks = 0; self->ticks < 4; self->ticks++)
		STEP_OR_END(skua_tick(cx, &self->interval));
	SKUA_END(0);
}

static skua_poll tick_burst(skua_cx *cx, struct ticks *self)
{
	return tick(cx, self, SKUA_MISSED_BURST);
}
SKUA_CORO(tick_burst, struct ticks);

static skua_poll tick_delay(skua_cx *cx, struct ticks *self)
{
	return tick(cx, self, SKUA_MISSED_DELAY);
}
SKUA_CORO(tick_delay, struct ticks);

static skua_poll tick_skip(skua_cx *cx, struct ticks *self)
{
	return tick(cx, self, SKUA_MISSED_SKIP);
}
SKUA_CORO(tick_skip, struct ticks);

/* ---- Deadlines ---- */

struct limits {
	SUBJECT;
	skua_timer timers[3];
	struct sleeper sleeper;
};

static skua_poll timeout_passes(skua_cx *cx, struct limits *self)
{
	SKUA_BEGIN(self);
	STEP(skua_timeout(cx, &self->timers[0], CANCEL_HOUR,
			  skua_sleep(cx, &self->timers[1], 2 * CANCEL_HOUR)));
	if (self->rc != -ETIMEDOUT)
		SKUA_RETURN(self->rc);
	STEP(skua_timeout(cx, &self->timers[0], CANCEL_HOUR,
			  skua_sleep(cx, &self->timers[1], 2 * CANCEL_HOUR)));
	SKUA_END(self->rc);
}
SKUA_CORO(timeout_passes, struct limits);

static skua_poll timeout_in_time(skua_cx *cx, struct limits *self)
{
	SKUA_BEGIN(self);
	STEP_OR_END(skua_timeout(cx, &self->timers[0], 2 * CANCEL_HOUR,
				 skua_sleep(cx, &self->timers[1], CANCEL_HOUR)));
	STEP_OR_END(skua_timeout(cx, &self->timers[0], 2 * CANCEL_HOUR,
				 skua_sleep_until(cx, &self->timers[1], 1)));
	STEP_OR_END(skua_sleep(cx, &self->timers[1], 3 * CANCEL_HOUR));
	SKUA_END(0);
}
SKUA_CORO(timeout_in_time, struct limits);

static skua_poll timeout_nested(skua_cx *cx, struct limits *self)
{
	SKUA_BEGIN(self);
	STEP(skua_timeout(cx, &self->timers[0], 3 * CANCEL_HOUR,
			  skua_timeout(cx, &self->timers[1], CANCEL_HOUR,
				       skua_sleep(cx, &self->timers[2], 5 * CANCEL_HOUR))));
	if (self->rc != -ETIMEDOUT)
		SKUA_RETURN(self->rc);
	STEP(skua_timeout(cx, &self->timers[0], CANCEL_HOUR,
			  skua_timeout(cx, &self->timers[1], 3 * CANCEL_HOUR,
				       skua_sleep(cx, &self->timers[2], 5 * CANCEL_HOUR))));
	SKUA_END(self->rc);
}
SKUA_CORO(timeout_nested, struct limits);

/* What is inside awaits while it cleans up. */
static skua_poll timeout_of_cleanup(skua_cx *cx, struct limits *self)
{
	SKUA_BEGIN(self);
	self->sleeper = sleeper_of(self->trial, 4, 0);
	STEP(skua_timeout(cx, &self->timers[0], 5 * CANCEL_HOUR / 2,
			  skua_poll_future(cx, &self->sleeper.co)));
	SKUA_END(self->rc);
}
SKUA_CORO(timeout_of_cleanup, struct limits);

struct deadline {
	SUBJECT;
	uint64_t when;
	skua_timer timers[2];
};

static skua_poll deadline(skua_cx *cx, struct deadline *self)
{
	SKUA_BEGIN(self);
	self->when = skua_clock_now(skua_cx_runtime(cx)) + CANCEL_HOUR;
	STEP(skua_deadline(cx, &self->timers[0], self->when,
			   skua_sleep(cx, &self->timers[1], 2 * CANCEL_HOUR)));
	if (self->rc != -ETIMEDOUT)
		SKUA_RETURN(self->rc);
	/* It has passed already. */
	STEP(skua_deadline(cx, &self->timers[0], self->when,
			   skua_sleep(cx, &self->timers[1], 2 * CANCEL_HOUR)));
	SKUA_END(self->rc);
}
SKUA_CORO(deadline, struct deadline);

/* ---- Giving way ---- */

struct turns {
	SUBJECT;
	skua_timer timer;
	int turns;
};

static skua_poll yield(skua_cx *cx, struct turns *self)
{
	SKUA_BEGIN(self);
	for (self->turns = 0; self->turns < 5; self->turns++)
		STEP_OR_END(skua_yield(cx));
	SKUA_END(0);
}
SKUA_CORO(yield, struct turns);

/* Awaits that are ready at once, until the budget is used up. */
static skua_poll budget(skua_cx *cx, struct turns *self)
{
	SKUA_BEGIN(self);
	for (self->turns = 0; self->turns < 600; self->turns++)
		STEP_OR_END(skua_sleep_until(cx, &self->timer, 1));
	SKUA_END(0);
}
SKUA_CORO(budget, struct turns);

static int64_t nap(void *unused)
{
	(void)unused;
	sched_yield();
	return 5;
}

static skua_poll block_in_place(skua_cx *cx, struct turns *self)
{
	SKUA_BEGIN(self);
	STEP_OR_END(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	STEP_OR_END(skua_block_in_place(cx, nap, NULL));
	STEP_OR_END(skua_yield(cx));
	STEP_OR_END(skua_block_in_place(cx, nap, NULL));
	STEP_OR_END(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	SKUA_END(0);
}
SKUA_CORO(block_in_place, struct turns);

const struct scenario scenarios_of_time[] = {
	{.name = "sleep", .ops = &sleep_thrice_ops, .result = 3},
	{.name = "sleep_until", .ops = &sleep_until_ops},
	{.name = "timer_reset", .ops = &reset_ops},
	{.name = "timer_forgotten", .ops = &forgotten_ops},
	{.name = "tick_burst", .ops = &tick_burst_ops},
	{.name = "tick_delay", .ops = &tick_delay_ops},
	{.name = "tick_skip", .ops = &tick_skip_ops},
	{.name = "timeout_passes", .ops = &timeout_passes_ops, .result = -ETIMEDOUT},
	{.name = "timeout_in_time", .ops = &timeout_in_time_ops},
	{.name = "timeout_nested", .ops = &timeout_nested_ops, .result = -ETIMEDOUT},
	{.name = "timeout_of_cleanup",
	 .ops = &timeout_of_cleanup_ops,
	 .result = -ETIMEDOUT,
	 .after = sleepers_have_ended},
	{.name = "deadline", .ops = &deadline_ops, .result = -ETIMEDOUT},
	{.name = "yield", .ops = &yield_ops},
	{.name = "budget", .ops = &budget_ops},
	{.name = "block_in_place", .ops = &block_in_place_ops},
	{.name = NULL},
};
