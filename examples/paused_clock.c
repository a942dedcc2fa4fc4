/*
 * examples/paused_clock.c - how to test code that waits for hours: with a clock that is paused.
 *
 * Time passes in two ways then: by itself, to the next timer, when every task waits and a thread waits
 * in skua_block_on or skua_task_wait; and by skua_clock_advance. So a test sleeps to the moment that
 * it wants to see, and how fast the machine is does not matter.
 *
 * It prints:
 *
 *     after 59 minutes: valid
 *     after 61 minutes: ended when it was 60 minutes old
 *     advanced by 364 days: valid
 *     advanced by 1 day more: ended when it was 365 days old
 */
#include <stdio.h>

#include <skua.h>

#define MINUTE (60 * SKUA_SEC)
#define DAY (24 * 60 * MINUTE)

/* ---- The code under test: a lease, which ends at a moment that is known when it is made ---- */

struct lease {
	skua_coro co;
	skua_timer timer;
	uint64_t from, to;
	int64_t rc;
};

/* Its result is how old it was, in minutes. */
static skua_poll lease(skua_cx *cx, struct lease *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep_until(cx, &self->timer, self->to));
	SKUA_END(self->rc < 0 ? self->rc : (int64_t)((skua_now() - self->from) / MINUTE));
}
SKUA_CORO(lease, struct lease);

/* NULL if it could not be started. */
static skua_task *lease_start(skua_runtime *rt, uint64_t length)
{
	struct lease task = {.co = SKUA_CORO_INIT(lease), .from = skua_clock_now(rt)};
	skua_task *handle;

	task.to = task.from + length;
	return skua_spawn(rt, &task.co, &handle) < 0 ? NULL : handle;
}

/* ---- What the tests need ---- */

struct nap {
	skua_coro co;
	skua_timer timer;
	uint64_t ns;
	int64_t rc;
};

static skua_poll nap(skua_cx *cx, struct nap *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, self->ns));
	SKUA_END(self->rc);
}
SKUA_CORO(nap, struct nap);

/* Lets time pass, and what is due in it happen. */
static int64_t let_pass(skua_runtime *rt, uint64_t ns)
{
	struct nap task = {.co = SKUA_CORO_INIT(nap), .ns = ns};

	return skua_block_on(rt, &task.co);
}

/* ---- The tests, which return whether all was as expected ---- */

static int test_an_hour(skua_runtime *rt)
{
	skua_task *task = lease_start(rt, 60 * MINUTE);
	int valid, ended;
	int64_t age;

	if (task == NULL || let_pass(rt, 59 * MINUTE) < 0)
		return 0;
	valid = !skua_task_finished(task);
	printf("after 59 minutes: %s\n", valid ? "valid" : "ended");
	if (let_pass(rt, 2 * MINUTE) < 0)
		return 0;
	ended = skua_task_finished(task);
	age = skua_task_wait(&task);
	printf("after 61 minutes: ended when it was %d minutes old\n", (int)age);
	return valid && ended && age == 60;
}

/* Here no thread waits, so the clock stands still but for what the test says. */
static int test_a_year(skua_runtime *rt)
{
	skua_task *task = lease_start(rt, 365 * DAY);
	int valid;
	int64_t age;

	if (task == NULL || skua_clock_advance(rt, 364 * DAY) < 0)
		return 0;
	valid = !skua_task_finished(task);
	printf("advanced by 364 days: %s\n", valid ? "valid" : "ended");
	if (skua_clock_advance(rt, DAY) < 0)
		return 0;
	age = skua_task_wait(&task) / (24 * 60);
	printf("advanced by 1 day more: ended when it was %d days old\n", (int)age);
	return valid && age == 365;
}

int main(void)
{
	skua_config config;
	skua_runtime *rt;
	int good;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	good = skua_clock_pause(rt) == 0 && test_an_hour(rt) && test_a_year(rt);
	return skua_runtime_free(rt) < 0 || !good;
}
