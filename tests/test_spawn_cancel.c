/*
 * test_spawn_cancel.c - cancelling: it is delivered once, to the await that is next, at whatever
 * moment of a task's life it comes.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "spawn_support.h"

/* Notes what each of three awaits returns. */
struct awaits {
	skua_coro co;
	skua_timer timer;
	struct awaits *report;
	atomic_int polls;
	int64_t result[3];
};

static skua_poll awaits(skua_cx *cx, struct awaits *self)
{
	atomic_fetch_add(&self->report->polls, 1);
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->result[0] = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	T_EQ(skua_cx_cancelled(cx), 1);
	SKUA_AWAIT(self->result[1] = skua_yield(cx));
	SKUA_AWAIT(self->result[2] = skua_sleep(cx, &self->timer, SKUA_MSEC));
	memcpy(self->report->result, self->result, sizeof self->result);
	SKUA_END(11);
}
SKUA_CORO(awaits, struct awaits);

static void check_awaits(const struct awaits *report)
{
	T_EQ(report->result[0], -ECANCELED);
	T_EQ(report->result[1], 0);
	T_EQ(report->result[2], 0);
}

T_TEST(spawn, cancelled_before_its_first_poll)
{
	skua_runtime *rt = runtime_of(1);
	struct hog state = {0};
	struct awaits report = {0};
	struct awaits future = {.co = SKUA_CORO_INIT(awaits), .report = &report};
	skua_task *busy = start(rt, hog, &state), *task;

	WAIT_UNTIL(state.started);
	task = start_future(rt, &future.co);
	T_EQ(skua_cancel(task), 0);
	T_EQ(report.polls, 0);
	atomic_store(&state.stop, 1);
	T_EQ(skua_task_wait(&task), 11);
	T_GE(report.polls, 1);
	check_awaits(&report);
	T_EQ(skua_task_wait(&busy), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, cancelled_while_it_waits)
{
	skua_runtime *rt = runtime_of(2);
	struct awaits report = {0};
	struct awaits future = {.co = SKUA_CORO_INIT(awaits), .report = &report};
	skua_task *task = start_future(rt, &future.co);

	WAIT_UNTIL(report.polls == 1);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), 11);
	check_awaits(&report);
	T_EQ(skua_runtime_free(rt), 0);
}

struct busy_then_awaits {
	struct hog hog;
	skua_timer timer;
	int64_t results[2];
};

static skua_poll works_then_sleeps(skua_cx *cx, void *argument)
{
	struct busy_then_awaits *state = argument;

	if (!state->hog.started) {
		T_EQ(skua_cx_cancelled(cx), 0);
		hog(cx, &state->hog);
		T_EQ(skua_cx_cancelled(cx), 1);
	}
	state->results[0] = skua_sleep(cx, &state->timer, 3600 * SKUA_SEC);
	T_NE(state->results[0], SKUA_PENDING);
	state->results[1] = skua_sleep(cx, &state->timer, 0);
	return 12;
}

T_TEST(spawn, cancelled_while_it_runs)
{
	skua_runtime *rt = runtime_of(1);
	struct busy_then_awaits state = {0};
	skua_task *task = start(rt, works_then_sleeps, &state);

	WAIT_UNTIL(state.hog.started);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_cancel(task), 0);
	atomic_store(&state.hog.stop, 1);
	T_EQ(skua_task_wait(&task), 12);
	T_EQ(state.results[0], -ECANCELED);
	T_EQ(state.results[1], 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, cancelled_twice_is_delivered_once)
{
	skua_runtime *rt = runtime_of(2);
	struct awaits report = {0};
	struct awaits future = {.co = SKUA_CORO_INIT(awaits), .report = &report};
	skua_task *task = start_future(rt, &future.co);
	int rc = 0;

	/* 0 as long as it lives, -ESRCH afterwards; never anything else. */
	T_EQ(skua_cancel(task), 0);
	while ((rc = skua_cancel(task)) == 0)
		;
	T_EQ(rc, -ESRCH);
	T_EQ(skua_task_wait(&task), 11);
	check_awaits(&report);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, cancel_of_a_finished_task_and_of_null)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *task = start(rt, seven, NULL);

	WAIT_UNTIL(skua_task_finished(task));
	T_EQ(skua_cancel(task), -ESRCH);
	T_EQ(skua_task_wait(&task), 7);
	T_EQ(skua_cancel(NULL), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll cancels_itself(skua_cx *cx, void *argument)
{
	struct knows_itself *state = argument;
	skua_poll taken = cell_take(cx, &state->go);

	if (taken == -ECANCELED)
		return 5;
	if (taken == 0)
		T_EQ(skua_cancel(state->self), 0);
	return SKUA_PENDING;
}

T_TEST(spawn, a_task_cancels_itself)
{
	skua_runtime *rt = runtime_of(2);
	struct knows_itself state = {.go = CELL_INIT};

	state.self = start(rt, cancels_itself, &state);
	cell_fill(&state.go);
	T_EQ(skua_task_wait(&state.self), 5);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Threads cancel tasks at every moment of their lives. */
T_TEST(spawn, cancel_races_with_everything)
{
	enum { TASKS = 100 };
	skua_runtime *rt = runtime_of(2);
	skua_task *tasks[TASKS];

	for (int round = 0; round < rounds(100); round++) {
		struct cell cells[TASKS];

		for (int i = 0; i < TASKS; i++) {
			cells[i] = (struct cell)CELL_INIT;
			tasks[i] = start(rt, cell_take, &cells[i]);
		}
		for (int i = 0; i < TASKS; i++) {
			int rc;

			if (i % 3 != 0)
				cell_fill(&cells[i]);
			rc = skua_cancel(tasks[i]);
			T_ASSERT(rc == 0 || rc == -ESRCH);
		}
		for (int i = 0; i < TASKS; i++) {
			int64_t result = skua_task_wait(&tasks[i]);

			T_ASSERT(result == -ECANCELED || (i % 3 != 0 && result == 0));
		}
	}
	T_EQ(skua_runtime_free(rt), 0);
}
