/*
 * test_shield.c - skua_shield: what waits while a shield stands, what does not, and what is told after
 * it. And the options of a spawn that need no more than that.
 */
#include "api_support.h"

/* A task that sleeps under a shield, and tells how each of its awaits ended. */
struct shielded {
	skua_coro co;
	skua_timer inner, sleep;
	uint64_t limit; /* of a deadline inside the shield, or 0 */
	atomic_int *begun;
	int64_t under, after, last;
	int64_t *results;
};

static skua_poll nap(skua_cx *cx, struct shielded *self)
{
	atomic_store(self->begun, 1);
	return skua_sleep(cx, &self->sleep, 30 * SKUA_MSEC);
}

static skua_poll limited(skua_cx *cx, struct shielded *self)
{
	if (self->limit == 0)
		return nap(cx, self);
	return skua_timeout(cx, &self->inner, self->limit, nap(cx, self));
}

static skua_poll shielded(skua_cx *cx, struct shielded *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->results[0] = skua_shield(cx, limited(cx, self)));
	SKUA_AWAIT(self->results[1] = skua_sleep(cx, &self->sleep, SKUA_MSEC));
	SKUA_AWAIT(self->results[2] = skua_sleep(cx, &self->sleep, SKUA_MSEC));
	SKUA_END(0);
}
SKUA_CORO(shielded, struct shielded);

/* How the awaits of such a task ended. */
static int64_t results[3];

static void cancelled_under_a_shield(uint64_t limit)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int begun = 0;
	struct shielded task = {.co = SKUA_CORO_INIT(shielded),
				.limit = limit,
				.begun = &begun,
				.results = results};
	skua_task *handle;

	T_EQ(skua_spawn(rt, &task.co, &handle), 0);
	WAIT_UNTIL(atomic_load(&begun));
	T_EQ(skua_cancel(handle), 0);
	T_EQ(skua_task_wait(&handle), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(shield, a_cancellation_waits_until_it_is_over)
{
	cancelled_under_a_shield(0);
	T_EQ(results[0], 0);
	T_EQ(results[1], -ECANCELED);
	T_EQ(results[2], 0);
}

static skua_poll asks_the_function(skua_cx *cx, void *answers)
{
	int (*ask)(skua_cx * cx) = skua_cx_interrupt;
	int *under = answers, *after = under + 1;

	while (!skua_cx_cancelled(cx))
		sleep_ms(1);
	*under = skua_shield(cx, ask(cx));
	*after = ask(cx);
	return 0;
}

/* The function is asked by who cannot use what is in line. */
T_TEST(shield, the_function_keeps_to_it)
{
	skua_runtime *rt = runtime_of(1);
	int answers[2] = {1, 1};
	skua_task *task = start(rt, asks_the_function, answers);

	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(answers[0], 0);
	T_EQ(answers[1], -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(shield, a_deadline_inside_works_as_ever)
{
	cancelled_under_a_shield(SKUA_MSEC);
	T_EQ(results[0], -ETIMEDOUT);
	T_EQ(results[1], -ECANCELED);
	T_EQ(results[2], 0);
}

/* The shield stands inside a deadline: that is told after it. */
struct outside {
	skua_coro co;
	struct shielded inner;
	skua_timer timer;
	int64_t rc;
};

static skua_poll outside(skua_cx *cx, struct outside *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, SKUA_MSEC,
					   skua_poll_future(cx, &self->inner.co)));
	SKUA_END(self->rc);
}
SKUA_CORO(outside, struct outside);

T_TEST(shield, a_deadline_outside_waits_until_it_is_over)
{
	skua_runtime *rt = runtime_of(1);
	atomic_int begun = 0;
	struct outside task = {
		.co = SKUA_CORO_INIT(outside),
		.inner = {.co = SKUA_CORO_INIT(shielded), .begun = &begun, .results = results},
	};

	/* The code inside goes on after it has been told, so its own result counts. */
	T_EQ(skua_block_on(rt, &task.co), 0);
	T_EQ(results[0], 0);
	T_EQ(results[1], -ECANCELED);
	T_EQ(results[2], 0);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll twice(skua_cx *cx, void *timers)
{
	skua_timer *timer = timers;

	return skua_timeout(
		cx, &timer[0], SKUA_MSEC,
		skua_shield(cx, skua_shield(cx, skua_sleep(cx, &timer[1], 5 * SKUA_MSEC))));
}

T_TEST(shield, one_inside_another)
{
	skua_runtime *rt = runtime_of(1);
	skua_timer timers[2] = {0};

	T_EQ(run(rt, twice, timers), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Spawning with options ---- */

static skua_poll nothing(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return 7;
}

T_TEST(spawn_with, a_name_of_its_own)
{
	skua_runtime *rt = runtime_of(1);
	struct call call = call_of(nothing, NULL);
	skua_spawn_options options = {.struct_size = sizeof options, .name = "its own"};
	skua_task *task;

	T_EQ(skua_spawn_with(rt, &call.future, &options, &task), 0);
	T_STR_EQ(skua_task_name(task), "its own");
	T_EQ(skua_task_wait(&task), 7);
	T_EQ(skua_spawn_with(rt, &call.future, NULL, &task), 0);
	T_STR_EQ(skua_task_name(task), "call");
	T_EQ(skua_task_wait(&task), 7);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn_with, options_that_nobody_knows)
{
	skua_runtime *rt = runtime_of(1);
	struct call call = call_of(nothing, NULL);
	skua_spawn_options options = {.struct_size = sizeof options};
	skua_task *task = NULL;

	options.priority = SKUA_PRIORITY_BACKGROUND + 1;
	T_EQ(skua_spawn_with(rt, &call.future, &options, &task), -EINVAL);
	options.priority = SKUA_PRIORITY_NORMAL;
	options.reserved = 1;
	T_EQ(skua_spawn_with(rt, &call.future, &options, &task), -EINVAL);
	options.reserved = 0;
	options.struct_size--;
	T_EQ(skua_spawn_with(rt, &call.future, &options, &task), -EINVAL);
	T_NULL(task);
	T_EQ(skua_runtime_free(rt), 0);
}
