/* test_time.c - sleeping and deadlines. */
#include "api_support.h"

/* ---- Sleeping ---- */

struct nap {
	skua_timer timer;
	uint64_t ns, begin, took;
};

static skua_poll nap(skua_cx *cx, void *argument)
{
	struct nap *nap = argument;
	skua_poll result;

	if (nap->begin == 0)
		nap->begin = skua_now();
	result = skua_sleep(cx, &nap->timer, nap->ns);
	if (result != SKUA_PENDING)
		nap->took = skua_now() - nap->begin;
	return result;
}

T_TEST(time, sleep_is_never_early)
{
	static const uint64_t lengths[] = {1, 1000, 999999, SKUA_MSEC, 1500001, 7 * SKUA_MSEC};
	skua_runtime *rt = runtime_of(2);

	for (int round = 0; round < rounds(10); round++)
		for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
			struct nap state = {.ns = lengths[i]};

			T_EQ(run(rt, nap, &state), 0);
			T_GE(state.took, lengths[i]);
			T_ASSERT_MSG(state.took < lengths[i] + SKUA_SEC * PATIENCE,
				     "%" PRIu64 " ns took %" PRIu64, lengths[i], state.took);
		}
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll sleeps_of_no_length(skua_cx *cx, void *argument)
{
	skua_timer *timer = argument;

	T_EQ(skua_sleep(cx, timer, 0), 0);
	T_EQ(skua_sleep_until(cx, timer, 0), 0);
	T_EQ(skua_sleep_until(cx, timer, skua_now()), 0);
	T_EQ(skua_sleep_until(cx, timer, skua_now() - SKUA_SEC), 0);
	return 4;
}

T_TEST(time, sleep_0_and_a_moment_past_are_ready_at_once)
{
	skua_runtime *rt = runtime_of(1);
	skua_timer timer = {{0}};

	T_EQ(run(rt, sleeps_of_no_length, &timer), 4);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll until(skua_cx *cx, void *argument)
{
	struct nap *nap = argument;

	return skua_sleep_until(cx, &nap->timer, nap->begin + nap->ns);
}

T_TEST(time, sleep_until_a_moment)
{
	skua_runtime *rt = runtime_of(1);
	struct nap state = {.begin = skua_now(), .ns = 15 * SKUA_MSEC};

	T_EQ(run(rt, until, &state), 0);
	T_GE(skua_now(), state.begin + state.ns);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll almost_for_ever(skua_cx *cx, void *argument)
{
	return skua_sleep(cx, argument, UINT64_MAX - 1);
}

T_TEST(time, the_longest_sleep_does_not_wrap)
{
	skua_runtime *rt = runtime_of(1);
	skua_timer timer = {{0}};
	skua_task *task = start(rt, almost_for_ever, &timer);

	sleep_ms(20);
	T_EQ(skua_task_finished(task), 0);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Sleeps, then notes its place in the order of waking. */
struct runner {
	skua_coro co;
	skua_timer timer;
	uint64_t when;
	uint64_t *woken;
	atomic_int *place;
	uint64_t *order;
	int64_t rc;
};

static skua_poll runner(skua_cx *cx, struct runner *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep_until(cx, &self->timer, self->when));
	*self->woken = skua_now();
	self->order[atomic_fetch_add(self->place, 1)] = self->when;
	SKUA_END(self->rc);
}
SKUA_CORO(runner, struct runner);

/* Runs 1000 timers, and returns how far all of them together woke from their places. */
static int64_t displacement(skua_runtime *rt)
{
	enum { COUNT = 1000, STEP = 100000 };
	static skua_task *tasks[COUNT];
	static uint64_t woken[COUNT], order[COUNT];
	uint64_t base = skua_now() + 50 * SKUA_MSEC;
	atomic_int place = 0;
	int64_t displaced = 0;

	for (uint32_t i = 0; i < COUNT; i++) {
		struct runner future = {
			.co = SKUA_CORO_INIT(runner),
			/* 7 and 1000 have no common divisor: each place once, in a wild order. */
			.when = base + (uint64_t)(i * 7 % COUNT) * STEP,
			.woken = &woken[i],
			.place = &place,
			.order = order,
		};

		tasks[i] = start_future(rt, &future.co);
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		T_EQ(skua_task_wait(&tasks[i]), 0);
		T_GE(woken[i], base + (uint64_t)(i * 7 % COUNT) * STEP);
	}
	for (uint32_t i = 0; i < COUNT; i++)
		displaced += llabs((int64_t)((order[i] - base) / STEP) - (int64_t)i);
	return displaced / COUNT;
}

/* Of those that fall due together the last one may run first, so each may be some places away. If
 * the system stops the worker for a while, a hundred fall due together: that happens, but not five
 * times in a row. */
T_TEST(time, many_timers_fire_in_order)
{
	skua_runtime *rt = runtime_of(1);
	int64_t displaced = displacement(rt);

	for (int again = 0; again < 4 && displaced > 4; again++)
		displaced = displacement(rt);
	T_LE(displaced, 4);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(time, ten_thousand_sleepers_on_4_workers)
{
	int count = rounds(10000);
	skua_runtime *rt = runtime_of(4);
	skua_task **tasks = calloc((size_t)count, sizeof(void *));
	struct nap *naps = calloc((size_t)count, sizeof *naps);

	for (int i = 0; i < count; i++) {
		naps[i].ns = (uint64_t)(i % 50) * SKUA_MSEC + (uint64_t)i;
		tasks[i] = start(rt, nap, &naps[i]);
	}
	for (int i = 0; i < count; i++) {
		T_EQ(skua_task_wait(&tasks[i]), 0);
		T_GE(naps[i].took, naps[i].ns);
	}
	free(tasks);
	free(naps);
	T_EQ(skua_runtime_free(rt), 0);
}

struct repeat {
	skua_coro co;
	skua_timer timer;
	int left;
	uint64_t begin, least;
	int64_t rc;
};

static skua_poll repeat(skua_cx *cx, struct repeat *self)
{
	SKUA_BEGIN(self);
	self->begin = skua_now();
	self->least = (uint64_t)self->left * 200 * SKUA_USEC;
	for (; self->left > 0; self->left--) {
		SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 100 * SKUA_USEC));
		T_EQ(self->rc, 0);
		SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, 100 * SKUA_USEC,
						   parked(cx, NULL)));
		T_EQ(self->rc, -ETIMEDOUT);
		SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, SKUA_SEC, skua_yield(cx)));
		T_EQ(self->rc, 0);
	}
	T_GE(skua_now() - self->begin, self->least);
	SKUA_END(1);
}
SKUA_CORO(repeat, struct repeat);

T_TEST(time, a_timer_can_be_used_again_and_again)
{
	skua_runtime *rt = runtime_of(2);
	struct repeat future = {.co = SKUA_CORO_INIT(repeat), .left = 50};

	T_EQ(skua_block_on(rt, &future.co), 1);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(time, a_sleep_can_be_cancelled_and_the_timer_used_again)
{
	skua_runtime *rt = runtime_of(2);
	skua_timer timer = {{0}};
	skua_task *task = start(rt, almost_for_ever, &timer);
	struct nap state = {.ns = SKUA_MSEC};

	sleep_ms(2);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	state.timer = timer;
	T_EQ(run(rt, nap, &state), 0);
	T_GE(state.took, SKUA_MSEC);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll arms_and_ends(skua_cx *cx, void *argument)
{
	skua_timer *timers = argument;

	T_EQ(skua_sleep(cx, &timers[0], 10 * SKUA_MSEC), SKUA_PENDING);
	T_EQ(skua_sleep(cx, &timers[1], 3600 * SKUA_SEC), SKUA_PENDING);
	T_EQ(skua_sleep(cx, &timers[2], 5 * SKUA_MSEC), SKUA_PENDING);
	skua_timer_cancel(&timers[1]);
	skua_timer_cancel(&timers[1]);
	return 1;
}

/* Under AddressSanitizer the memory of the timers is poisoned as soon as the task has ended. */
T_TEST(time, timers_are_disarmed_when_their_task_ends)
{
	skua_runtime *rt = runtime_of(2);

	for (int i = 0; i < rounds(100); i++) {
		skua_timer *timers = calloc(3, sizeof *timers);

		T_EQ(run(rt, arms_and_ends, timers), 1);
		memset(timers, 0xff, 3 * sizeof *timers);
		free(timers);
	}
	sleep_ms(20);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Deadlines ---- */

struct limited {
	struct cell cell;
	skua_timer inner, outer;
	uint64_t inner_ns, outer_ns, begin;
	int polls;
};

static skua_poll counted_take(skua_cx *cx, struct limited *limited)
{
	limited->polls++;
	return cell_take(cx, &limited->cell);
}

static skua_poll limited(skua_cx *cx, void *argument)
{
	struct limited *self = argument;

	return skua_timeout(cx, &self->outer, self->outer_ns, counted_take(cx, self));
}

T_TEST(time, timeout_of_a_pending_operation_that_can_be_used_again)
{
	skua_runtime *rt = runtime_of(2);
	struct limited state = {.cell = CELL_INIT, .outer_ns = 20 * SKUA_MSEC};

	for (int i = 0; i < 3; i++) {
		uint64_t begin = skua_now();

		T_EQ(run(rt, limited, &state), -ETIMEDOUT);
		T_GE(skua_now() - begin, 20 * SKUA_MSEC);
		/* It has taken back what it had registered. */
		T_EQ(cell_has_waiter(&state.cell), 0);
		cell_fill(&state.cell);
		T_EQ(run(rt, limited, &state), 0);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(time, timeout_of_a_ready_operation)
{
	skua_runtime *rt = runtime_of(1);
	struct limited state = {.cell = CELL_INIT, .outer_ns = 0};

	/* Also without any time left, what is ready is ready. */
	cell_fill(&state.cell);
	T_EQ(run(rt, limited, &state), 0);
	T_EQ(state.polls, 1);
	T_EQ(run(rt, limited, &state), -ETIMEDOUT);
	T_EQ(state.polls, 3);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(time, an_operation_in_time_gives_its_result)
{
	skua_runtime *rt = runtime_of(2);
	struct limited state = {.cell = CELL_INIT, .outer_ns = 60 * SKUA_SEC};
	skua_task *task = start(rt, limited, &state);

	WAIT_UNTIL(cell_has_waiter(&state.cell));
	cell_fill(&state.cell);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(time, cancelling_inside_a_timeout)
{
	skua_runtime *rt = runtime_of(2);
	struct limited state = {.cell = CELL_INIT, .outer_ns = 60 * SKUA_SEC};
	skua_task *task = start(rt, limited, &state);

	WAIT_UNTIL(cell_has_waiter(&state.cell));
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(cell_has_waiter(&state.cell), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll inner_limited(skua_cx *cx, struct limited *self)
{
	return skua_timeout(cx, &self->inner, self->inner_ns, counted_take(cx, self));
}

static skua_poll doubly_limited(skua_cx *cx, void *argument)
{
	struct limited *self = argument;

	return skua_timeout(cx, &self->outer, self->outer_ns, inner_limited(cx, self));
}

T_TEST(time, of_nested_timeouts_the_nearest_wins)
{
	skua_runtime *rt = runtime_of(2);

	for (int inner_first = 0; inner_first < 2; inner_first++) {
		struct limited state = {.cell = CELL_INIT};
		uint64_t begin = skua_now();

		state.inner_ns = inner_first ? 10 * SKUA_MSEC : 60 * SKUA_SEC;
		state.outer_ns = inner_first ? 60 * SKUA_SEC : 10 * SKUA_MSEC;
		T_EQ(run(rt, doubly_limited, &state), -ETIMEDOUT);
		T_GE(skua_now() - begin, 10 * SKUA_MSEC);
		T_ASSERT(seconds_since(begin) < 5.0 * PATIENCE);
		/* Both are disarmed, and both can be used again. */
		cell_fill(&state.cell);
		T_EQ(run(rt, doubly_limited, &state), 0);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* The outer deadline also ends what comes after the inner one. */
struct stages {
	skua_coro co;
	skua_timer timer;
	int64_t first, second;
};

static skua_poll stages(skua_cx *cx, struct stages *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->first = skua_timeout(cx, &self->timer, 5 * SKUA_MSEC, parked(cx, NULL)));
	SKUA_AWAIT(self->second = parked(cx, NULL));
	SKUA_END(self->second);
}
SKUA_CORO(stages, struct stages);

struct whole {
	struct stages stages;
	skua_timer timer;
};

static skua_poll whole(skua_cx *cx, void *argument)
{
	struct whole *self = argument;

	return skua_timeout(cx, &self->timer, 25 * SKUA_MSEC,
			    skua_poll_future(cx, &self->stages.co));
}

T_TEST(time, a_timeout_around_a_coroutine)
{
	skua_runtime *rt = runtime_of(2);
	struct whole state = {.stages = {.co = SKUA_CORO_INIT(stages)}};
	uint64_t begin = skua_now();

	T_EQ(run(rt, whole, &state), -ETIMEDOUT);
	T_GE(skua_now() - begin, 25 * SKUA_MSEC);
	T_EQ(state.stages.first, -ETIMEDOUT);
	/* To the coroutine inside, somebody else's deadline is a cancellation. */
	T_EQ(state.stages.second, -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll by_deadline(skua_cx *cx, void *argument)
{
	struct limited *self = argument;

	return skua_deadline(cx, &self->outer, self->begin + self->outer_ns,
			     counted_take(cx, self));
}

T_TEST(time, deadline_at_a_moment)
{
	skua_runtime *rt = runtime_of(2);
	struct limited state = {.cell = CELL_INIT, .begin = skua_now(), .outer_ns = 20 * SKUA_MSEC};

	T_EQ(run(rt, by_deadline, &state), -ETIMEDOUT);
	T_GE(skua_now(), state.begin + state.outer_ns);
	/* It is in the past now. */
	T_EQ(run(rt, by_deadline, &state), -ETIMEDOUT);
	cell_fill(&state.cell);
	T_EQ(run(rt, by_deadline, &state), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll sleep_in_a_timeout(skua_cx *cx, void *argument)
{
	struct limited *self = argument;

	return skua_timeout(cx, &self->outer, self->outer_ns,
			    skua_sleep(cx, &self->inner, self->inner_ns));
}

T_TEST(time, a_sleep_can_time_out)
{
	skua_runtime *rt = runtime_of(2);
	struct limited state = {.inner_ns = 3600 * SKUA_SEC, .outer_ns = 5 * SKUA_MSEC};

	T_EQ(run(rt, sleep_in_a_timeout, &state), -ETIMEDOUT);
	state.inner_ns = SKUA_MSEC;
	state.outer_ns = 60 * SKUA_SEC;
	T_EQ(run(rt, sleep_in_a_timeout, &state), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Expiry and readiness race; every outcome is one of the two. */
T_TEST(time, expiry_races_with_readiness)
{
	skua_runtime *rt = runtime_of(2);
	int ready = 0;

	for (int i = 0; i < rounds(2000); i++) {
		struct limited state = {.cell = CELL_INIT,
					.outer_ns = (uint64_t)(20 + i % 80) * SKUA_USEC};
		skua_task *task = start(rt, limited, &state);
		uint64_t end = skua_now() + 60 * SKUA_USEC;
		int64_t result;

		while (skua_now() < end)
			;
		cell_fill(&state.cell);
		result = skua_task_wait(&task);
		T_ASSERT(result == 0 || result == -ETIMEDOUT);
		ready += result == 0;
	}
	T_LOG("%d in time", ready);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- A worker that is stuck ---- */

static skua_poll punctual(skua_cx *cx, void *argument)
{
	struct nap *self = argument;

	if (self->begin == 0)
		self->begin = skua_now();
	if (skua_sleep_until(cx, &self->timer, self->begin + self->ns) == SKUA_PENDING)
		return SKUA_PENDING;
	self->took = skua_now() - self->begin;
	return 0;
}

static skua_poll sits(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	sleep_ms(150);
	return 0;
}

/* Arms a timer, and leaves a task to the same worker that will sit on it when the timer is due. */
static skua_poll arms_and_sits(skua_cx *cx, void *argument)
{
	struct nap *self = argument;
	int first = self->begin == 0;
	skua_poll result = punctual(cx, self);

	if (first && result == SKUA_PENDING) {
		struct call call = call_of(sits, NULL);

		T_EQ(skua_spawn(skua_cx_runtime(cx), &call.future, NULL), 0);
	}
	return result;
}

T_TEST(time, a_stuck_worker_does_not_delay_the_others_timers)
{
	const uint64_t tolerated = (10 + 10) * SKUA_MSEC * PATIENCE;
	skua_runtime *rt = runtime_of(3);
	uint64_t best = UINT64_MAX;

	/* The best of some rounds: the machine itself may be late. */
	for (int i = 0; i < 5 && best >= tolerated; i++) {
		struct nap state = {.ns = 30 * SKUA_MSEC};

		T_EQ(run(rt, arms_and_sits, &state), 0);
		T_GE(state.took, state.ns);
		T_LOG("late by %g ms", (double)(state.took - state.ns) / 1e6);
		if (state.took - state.ns < best)
			best = state.took - state.ns;
	}
	T_LT(best, tolerated);
	T_EQ(skua_runtime_free(rt), 0);
}
