/*
 * test_spawn.c - spawning: what a task gets and gives, wherever it is spawned, and very many.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spawn_support.h"

/* ---- Values ---- */

static skua_poll give(skua_cx *cx, void *argument)
{
	(void)cx;
	return *(int64_t *)argument;
}

T_TEST(spawn, join_gives_values_and_errors)
{
	static const int64_t values[] = {0, 1, -1, -ENOENT, INT64_MAX, INT64_MIN + 1};
	skua_runtime *rt = runtime_of(2);

	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		int64_t value = values[i];
		skua_task *waited = start(rt, give, &value);
		skua_task *joined = start(rt, give, &value);

		T_EQ(skua_task_wait(&waited), value);
		T_NULL(waited);
		T_EQ(run(rt, join_operation, &joined), value);
		T_NULL(joined);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, bad_arguments)
{
	skua_runtime *rt = runtime_of(1);
	struct call call = call_of(seven, NULL);
	skua_future_ops small = call_ops, no_poll = call_ops;
	skua_future orphan = {NULL, 0, 0};
	skua_task *task = NULL;

	small.size = sizeof(skua_future) - 1;
	no_poll.poll = NULL;
	T_EQ(skua_spawn(NULL, &call.future, &task), -EINVAL);
	T_EQ(skua_spawn(rt, NULL, &task), -EINVAL);
	T_EQ(skua_spawn(rt, &orphan, &task), -EINVAL);
	call.future.ops = &small;
	T_EQ(skua_spawn(rt, &call.future, &task), -EINVAL);
	call.future.ops = &no_poll;
	T_EQ(skua_spawn(rt, &call.future, &task), -EINVAL);
	T_NULL(task);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Where spawns come from ---- */

struct spawner {
	skua_coro co;
	skua_task *child;
	int64_t result;
};

static skua_poll spawner(skua_cx *cx, struct spawner *self)
{
	struct call call = call_of(seven, NULL);

	SKUA_BEGIN(self);
	self->result = skua_spawn(skua_cx_runtime(cx), &call.future, &self->child);
	T_EQ(self->result, 0);
	SKUA_AWAIT(self->result = skua_join(cx, &self->child));
	SKUA_END(self->result + 1);
}
SKUA_CORO(spawner, struct spawner);

static int64_t spawning_job(void *argument)
{
	skua_runtime *rt = *(skua_runtime **)argument;
	skua_task *task = start(rt, seven, NULL);

	return skua_task_wait(&task) + 2;
}

T_TEST(spawn, from_a_worker_a_thread_and_a_job)
{
	skua_runtime *rt = runtime_of(2), *other = runtime_of(1);
	struct spawner future = {.co = SKUA_CORO_INIT(spawner)};
	skua_task *task = NULL;

	T_EQ(skua_block_on(rt, &future.co), 8);
	task = start(rt, seven, NULL);
	T_EQ(skua_task_wait(&task), 7);
	T_EQ(skua_spawn_blocking(rt, spawning_job, &other, sizeof(void *), &task), 0);
	T_EQ(skua_task_wait(&task), 9);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(skua_runtime_free(other), 0);
}

/* A task of one runtime joins one of another. */
T_TEST(spawn, join_across_runtimes)
{
	skua_runtime *rt = runtime_of(1), *other = runtime_of(1);

	for (int i = 0; i < rounds(300); i++) {
		skua_task *task = start(other, seven, NULL);

		T_EQ(run(rt, join_operation, &task), 7);
	}
	T_EQ(skua_runtime_free(other), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

struct valued {
	skua_future future;
	int64_t value;
	_Alignas(max_align_t) char more[200];
};

static skua_poll valued_poll(skua_cx *cx, skua_future *self)
{
	struct valued *valued = (struct valued *)(void *)self;

	(void)cx;
	T_EQ((uintptr_t)valued % _Alignof(max_align_t), 0);
	for (size_t i = 0; i < sizeof valued->more; i++)
		T_EQ(valued->more[i], 'a');
	return valued->value;
}

static const skua_future_ops valued_ops = {
	valued_poll, NULL, sizeof(struct valued), "valued", __FILE__,
};

T_TEST(spawn, takes_the_future_by_value)
{
	skua_runtime *rt = runtime_of(1);
	struct hog state = {0};
	struct valued future = {.future = {&valued_ops, 0, 0}, .value = 99};
	skua_task *busy = start(rt, hog, &state), *task;

	memset(future.more, 'a', sizeof future.more);
	WAIT_UNTIL(state.started);
	task = start_future(rt, &future.future);
	memset(&future, 0xff, sizeof future);
	atomic_store(&state.stop, 1);
	T_EQ(skua_task_wait(&task), 99);
	T_EQ(skua_task_wait(&busy), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Many ---- */

struct fan {
	skua_coro co;
	int count, next;
	skua_task **tasks;
	int64_t sum, n;
};

static skua_poll fan(skua_cx *cx, struct fan *self)
{
	struct call call = call_of(seven, NULL);

	SKUA_BEGIN(self);
	for (int i = 0; i < self->count; i++)
		T_EQ(skua_spawn(skua_cx_runtime(cx), &call.future, &self->tasks[i]), 0);
	for (self->next = 0; self->next < self->count; self->next++) {
		SKUA_AWAIT(self->n = skua_join(cx, &self->tasks[self->next]));
		self->sum += self->n;
	}
	SKUA_END(self->sum);
}
SKUA_CORO(fan, struct fan);

static void fan_out_and_in(uint32_t workers)
{
	int count = rounds(100000);
	skua_runtime *rt = runtime_of(workers);
	struct fan future = {.co = SKUA_CORO_INIT(fan), .count = count};

	future.tasks = calloc((size_t)count, sizeof(skua_task *));
	T_NOT_NULL(future.tasks);
	T_EQ(skua_block_on(rt, &future.co), 7 * (int64_t)count);
	free(future.tasks);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, fan_out_and_in_on_1_worker)
{
	fan_out_and_in(1);
}

T_TEST(spawn, fan_out_and_in_on_4_workers)
{
	fan_out_and_in(4);
}

T_TEST(spawn, fan_out_from_many_threads)
{
	skua_runtime *rt = runtime_of(2);
	struct fan futures[4];
	skua_task *tasks[4];
	int count = rounds(20000);

	for (int i = 0; i < 4; i++) {
		futures[i] = (struct fan){.co = SKUA_CORO_INIT(fan), .count = count};
		futures[i].tasks = calloc((size_t)count, sizeof(skua_task *));
		tasks[i] = start_future(rt, &futures[i].co);
	}
	for (int i = 0; i < 4; i++) {
		T_EQ(skua_task_wait(&tasks[i]), 7 * (int64_t)count);
		free(futures[i].tasks);
	}
	T_EQ(skua_runtime_free(rt), 0);
}
