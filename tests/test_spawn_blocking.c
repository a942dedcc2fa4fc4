/*
 * test_spawn_blocking.c - blocking jobs of a runtime: their arguments, how many run at a time, and
 * what cancelling does to them. The pool itself is tested in test_blocking.c.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spawn_support.h"

struct big_argument {
	_Alignas(max_align_t) char bytes[4000];
};

static int64_t sums(void *argument)
{
	const struct big_argument *big = argument;
	int64_t sum = 0;

	T_EQ((uintptr_t)argument % _Alignof(max_align_t), 0);
	sleep_ms(5);
	for (size_t i = 0; i < sizeof big->bytes; i++)
		sum += big->bytes[i];
	return sum;
}

T_TEST(spawn, blocking_job_gets_a_copy_of_its_argument)
{
	skua_runtime *rt = runtime_of(1);
	struct big_argument *big = malloc(sizeof *big);
	skua_task *task = NULL;

	memset(big, 2, sizeof *big);
	T_EQ(skua_spawn_blocking(rt, sums, big, sizeof *big, &task), 0);
	memset(big, 9, sizeof *big);
	free(big);
	T_EQ(run(rt, join_operation, &task), 8000);
	T_EQ(skua_runtime_free(rt), 0);
}

static int64_t counts(void *argument)
{
	return atomic_fetch_add(*(atomic_int **)argument, 1) >= 0;
}

T_TEST(spawn, blocking_jobs_beyond_the_limit_wait_in_order)
{
	enum { JOBS = 300 };
	static skua_task *tasks[JOBS];
	atomic_int count = 0, *argument = &count;
	skua_config config;
	skua_runtime *rt;
	skua_stats stats;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.max_blocking = 3;
	config.blocking_keepalive_ms = 20;
	rt = runtime_with(&config);
	for (int i = 0; i < JOBS; i++)
		T_EQ(skua_spawn_blocking(rt, counts, &argument, sizeof argument, &tasks[i]), 0);
	skua_runtime_stats(rt, &stats);
	T_GE(stats.blocking_threads, 1);
	T_LE(stats.blocking_threads, 3);
	for (int i = 0; i < JOBS; i++)
		T_EQ(skua_task_wait(&tasks[i]), 1);
	T_EQ(count, JOBS);
	/* Idle threads end. */
	do {
		sleep_ms(1);
		skua_runtime_stats(rt, &stats);
	} while (stats.blocking_threads > 0);
	T_EQ(skua_spawn_blocking(rt, counts, &argument, sizeof argument, &tasks[0]), 0);
	T_EQ(skua_task_wait(&tasks[0]), 1);
	T_EQ(skua_runtime_free(rt), 0);
}

static int64_t waits_for_stop(void *argument)
{
	struct hog *state = *(struct hog **)argument;

	return hog(NULL, state) + 3;
}

T_TEST(spawn, blocking_job_is_cancelled_only_before_it_starts)
{
	skua_config config;
	skua_runtime *rt;
	struct hog state = {0}, *argument = &state;
	atomic_int count = 0, *counted = &count;
	skua_task *running = NULL, *queued = NULL;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.max_blocking = 1;
	rt = runtime_with(&config);
	T_EQ(skua_spawn_blocking(rt, waits_for_stop, &argument, sizeof(void *), &running), 0);
	T_EQ(skua_spawn_blocking(rt, counts, &counted, sizeof counted, &queued), 0);
	T_STR_EQ(skua_task_name(running), "blocking job");
	WAIT_UNTIL(state.started);
	T_EQ(skua_cancel(running), 0);
	T_EQ(skua_cancel(queued), 0);
	atomic_store(&state.stop, 1);
	T_EQ(skua_task_wait(&running), 3);
	T_EQ(skua_task_wait(&queued), -ECANCELED);
	T_EQ(count, 0);
	T_EQ(skua_runtime_free(rt), 0);
}

static int64_t nothing(void *argument)
{
	(void)argument;
	return 0;
}

T_TEST(spawn, blocking_bad_arguments)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *task = NULL;

	T_EQ(skua_spawn_blocking(NULL, nothing, NULL, 0, &task), -EINVAL);
	T_EQ(skua_spawn_blocking(rt, NULL, NULL, 0, &task), -EINVAL);
	T_EQ(skua_spawn_blocking(rt, nothing, NULL, 8, &task), -EINVAL);
	T_EQ(skua_spawn_blocking(rt, nothing, "", SIZE_MAX / 2, &task), -ENOMEM);
	T_NULL(task);
	T_EQ(skua_spawn_blocking(rt, nothing, NULL, 0, &task), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_spawn_blocking(rt, nothing, NULL, 0, NULL), 0);
	T_EQ(skua_runtime_free(rt), 0);
}
