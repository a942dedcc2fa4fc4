/*
 * test_spawn_yield.c - giving way: tasks that yield, wake each other or have spent their budget
 * let the others run, and can be cancelled.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include "spawn_support.h"

/* A yield that is cancelled in the middle leaves nothing behind: the next one gives way again. */
struct cancelled_yield {
	int polls;
	skua_task *self;
};

static skua_poll cancelled_yield(skua_cx *cx, void *argument)
{
	struct cancelled_yield *state = argument;

	switch (state->polls++) {
	case 0:
		T_EQ(skua_yield(cx), SKUA_PENDING);
		T_EQ(skua_cancel(state->self), 0);
		return SKUA_PENDING;
	case 1:
		T_EQ(skua_yield(cx), -ECANCELED);
		T_EQ(skua_yield(cx), SKUA_PENDING);
		return SKUA_PENDING;
	default:
		T_EQ(skua_yield(cx), 0);
		return 0;
	}
}

T_TEST(spawn, a_yield_after_one_that_was_cancelled)
{
	skua_runtime *rt = runtime_of(1);
	struct hog busy = {0};
	struct cancelled_yield state = {0};
	skua_task *first = start(rt, hog, &busy);

	/* Until its handle is known. */
	WAIT_UNTIL(busy.started);
	state.self = start(rt, cancelled_yield, &state);
	atomic_store(&busy.stop, 1);
	T_EQ(skua_task_wait(&first), 0);
	T_EQ(skua_task_wait(&state.self), 0);
	T_EQ(state.polls, 3);
	T_EQ(skua_runtime_free(rt), 0);
}

struct yielder {
	skua_coro co;
	int left;
	atomic_int *mine, *other;
	int *worst;
	int64_t rc;
};

static skua_poll yielder(skua_cx *cx, struct yielder *self)
{
	int ahead;

	SKUA_BEGIN(self);
	for (; self->left > 0; self->left--) {
		ahead = atomic_fetch_add(self->mine, 1) + 1 - atomic_load(self->other);
		if (ahead > *self->worst)
			*self->worst = ahead;
		SKUA_AWAIT(self->rc = skua_yield(cx));
		T_EQ(self->rc, 0);
	}
	SKUA_END(0);
}
SKUA_CORO(yielder, struct yielder);

T_TEST(spawn, yield_lets_the_others_run_first)
{
	enum { TURNS = 5000 };
	skua_runtime *rt = runtime_of(1);
	atomic_int counts[2] = {0};
	struct hog state = {0};
	int worst = 0;
	skua_task *busy = start(rt, hog, &state), *tasks[2];

	WAIT_UNTIL(state.started);
	for (int i = 0; i < 2; i++) {
		struct yielder future = {
			.co = SKUA_CORO_INIT(yielder),
			.left = TURNS,
			.mine = &counts[i],
			.other = &counts[1 - i],
			.worst = &worst,
		};

		tasks[i] = start_future(rt, &future.co);
	}
	atomic_store(&state.stop, 1);
	for (int i = 0; i < 2; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	/* They alternate: neither is ever more than a turn or two ahead. */
	T_LE(worst, 2);
	T_EQ(counts[0] + counts[1], 2 * TURNS);
	T_EQ(skua_task_wait(&busy), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Two tasks that wake each other all the time must not starve a third one. */
struct pingpong {
	struct cell *mine, *other;
	atomic_int *stop;
};

static skua_poll pingpong(skua_cx *cx, void *argument)
{
	struct pingpong *state = argument;
	skua_poll taken;

	while ((taken = cell_take(cx, state->mine)) == 0 && !*state->stop) {
		cell_fill(state->other);
	}
	if (*state->stop) {
		cell_fill(state->other);
		return 0;
	}
	return taken;
}

static skua_poll sets(skua_cx *cx, void *argument)
{
	(void)cx;
	return atomic_exchange((atomic_int *)argument, 1);
}

T_TEST(spawn, tasks_that_wake_each_other_starve_nobody)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cells[2] = {CELL_INIT, CELL_INIT};
	atomic_int stop = 0;
	struct pingpong states[2] = {{&cells[0], &cells[1], &stop}, {&cells[1], &cells[0], &stop}};
	skua_task *tasks[2];

	for (int i = 0; i < 2; i++)
		tasks[i] = start(rt, pingpong, &states[i]);
	cell_fill(&cells[0]);
	sleep_ms(5);
	T_EQ(run(rt, sets, &stop), 0);
	for (int i = 0; i < 2; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll yields_for_ever(skua_cx *cx, void *argument)
{
	skua_poll result = skua_yield(cx);

	(void)argument;
	while (result == 0)
		result = skua_yield(cx);
	return result;
}

T_TEST(spawn, yielding_tasks_can_be_cancelled)
{
	skua_runtime *rt = runtime_of(2);
	skua_task *tasks[10];

	for (int i = 0; i < 10; i++)
		tasks[i] = start(rt, yields_for_ever, NULL);
	sleep_ms(5);
	for (int i = 0; i < 10; i++)
		T_EQ(skua_cancel(tasks[i]), 0);
	for (int i = 0; i < 10; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

struct spender {
	int polls, taken;
};

static skua_poll spends_its_budget(skua_cx *cx, void *argument)
{
	struct spender *spender = argument;

	spender->polls++;
	while (skua_cx_budget(cx))
		if (++spender->taken == 100)
			return spender->polls;
	return SKUA_PENDING;
}

T_TEST(spawn, budget_ends_a_poll)
{
	struct spender spender = {0};
	skua_config config;
	skua_runtime *rt;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.budget = 30;
	rt = runtime_with(&config);
	T_EQ(run(rt, spends_its_budget, &spender), 4);
	T_EQ(spender.taken, 100);
	T_EQ(skua_runtime_free(rt), 0);
}
