/*
 * test_interrupt.c - an await that has ended, or was interrupted, leaves nothing behind: the next one,
 * with the same timer or in the same task, begins anew.
 */
#include "api_support.h"

/* Waits for long, is interrupted, and waits once more, for a short time. */
struct sleeper {
	skua_timer timer;
	skua_poll (*sleep)(skua_cx *cx, skua_timer *timer, uint64_t ns);
	atomic_int polls;
	int interrupted;
	uint64_t second, took;
};

static skua_poll sleep_until_then(skua_cx *cx, skua_timer *timer, uint64_t ns)
{
	return skua_sleep_until(cx, timer, skua_now() + ns);
}

static skua_poll sleeps_twice(skua_cx *cx, void *argument)
{
	struct sleeper *self = argument;
	skua_poll result;

	atomic_fetch_add(&self->polls, 1);
	if (!self->interrupted) {
		result = self->sleep(cx, &self->timer, 3600 * SKUA_SEC);
		if (result == SKUA_PENDING)
			return result;
		T_EQ(result, -ECANCELED);
		self->interrupted = 1;
		self->second = skua_now();
	}
	result = self->sleep(cx, &self->timer, 10 * SKUA_MSEC);
	self->took = skua_now() - self->second;
	return result;
}

static void sleep_again(skua_poll (*sleep)(skua_cx *, skua_timer *, uint64_t))
{
	skua_runtime *rt = runtime_of(1);
	struct sleeper state = {.sleep = sleep};
	skua_task *task = start(rt, sleeps_twice, &state);

	WAIT_UNTIL(state.polls == 1);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_GE(state.took, 10 * SKUA_MSEC);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST_T(interrupt, a_sleep_begins_anew, 10)
{
	sleep_again(skua_sleep);
}

T_TEST_T(interrupt, a_sleep_until_a_moment_begins_anew, 10)
{
	sleep_again(sleep_until_then);
}

static skua_poll sleeps_again_at_once(skua_cx *cx, void *argument)
{
	struct sleeper *self = argument;
	skua_poll result = skua_sleep(cx, &self->timer, SKUA_MSEC);

	if (result != 0 || self->second != 0)
		return result;
	self->second = skua_now();
	result = skua_sleep(cx, &self->timer, SKUA_MSEC);
	T_EQ(result, SKUA_PENDING);
	return result;
}

T_TEST_T(interrupt, a_sleep_after_a_sleep_begins_anew, 10)
{
	skua_runtime *rt = runtime_of(1);
	struct sleeper state = {.second = 0};

	T_EQ(run(rt, sleeps_again_at_once, &state), 0);
	T_GE(skua_now() - state.second, SKUA_MSEC);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Yields, is interrupted before it is its turn, and yields again. */
struct yielder {
	atomic_int stage, go;
};

static skua_poll yields_twice(skua_cx *cx, void *argument)
{
	struct yielder *self = argument;
	skua_poll result = skua_yield(cx);
	int stage = self->stage;

	switch (stage) {
	case 0:
		/* It is queued, and held here until it has been cancelled. */
		T_EQ(result, SKUA_PENDING);
		atomic_store(&self->stage, 1);
		WAIT_UNTIL(self->go);
		return SKUA_PENDING;
	case 1:
		T_EQ(result, -ECANCELED);
		atomic_store(&self->stage, 2);
		/* The second yield, too, is not ready before others have had their turn. */
		T_EQ(skua_yield(cx), SKUA_PENDING);
		return SKUA_PENDING;
	default:
		return result;
	}
}

T_TEST_T(interrupt, a_yield_begins_anew, 10)
{
	skua_runtime *rt = runtime_of(1);
	struct yielder state = {.stage = 0};
	skua_task *task = start(rt, yields_twice, &state);

	WAIT_UNTIL(state.stage == 1);
	T_EQ(skua_cancel(task), 0);
	atomic_store(&state.go, 1);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(state.stage, 2);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- One timer for two deadlines ---- */

/* The inner one is a mistake, and is told so; the outer one goes on. */
static skua_poll nested_in_itself(skua_cx *cx, void *timer)
{
	return skua_timeout(cx, timer, SKUA_SEC,
			    skua_timeout(cx, timer, SKUA_MSEC, parked(cx, NULL)));
}

T_TEST_T(interrupt, a_deadline_within_itself_is_refused, 10)
{
	skua_runtime *rt = runtime_of(1);
	skua_timer timer = {{0}};

	T_EQ(run(rt, nested_in_itself, &timer), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}
