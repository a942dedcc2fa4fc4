/*
 * test_blocking_kinds.c - kinds of blocking jobs, from outside: how many of each run, who goes first,
 * how many may wait, and what they are called.
 */
#include "api_support.h"

enum { GENERAL = SKUA_BLOCKING_GENERAL, FILES = SKUA_BLOCKING_FILES, NAMES = SKUA_BLOCKING_NAMES };

static skua_runtime *rt;

static void begin(uint32_t threads, uint32_t files, uint32_t names, uint32_t queue)
{
	skua_config config;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.max_blocking = threads;
	config.blocking_files = files;
	config.blocking_names = names;
	config.blocking_queue = queue;
	rt = runtime_with(&config);
}

/* ---- Jobs ---- */

static atomic_int gate, running[SKUA_BLOCKING_KINDS], most[SKUA_BLOCKING_KINDS];

/* Hangs until the gate is open. */
static int64_t hang(void *argument)
{
	uint32_t kind = *(uint32_t *)argument;
	int now = atomic_fetch_add(&running[kind], 1) + 1, old = most[kind];

	while (now > old && !atomic_compare_exchange_weak(&most[kind], &old, now))
		;
	WAIT_UNTIL(gate != 0);
	atomic_fetch_sub(&running[kind], 1);
	return kind;
}

static int64_t ends(void *argument)
{
	return *(uint32_t *)argument;
}

static int spawn_of(uint32_t kind, int64_t (*function)(void *), skua_task **task)
{
	const skua_blocking_options options = {.struct_size = sizeof options, .kind = kind};

	return skua_spawn_blocking_with(rt, function, &kind, sizeof kind, &options, task);
}

static skua_task *submit(uint32_t kind, int64_t (*function)(void *))
{
	skua_task *task = NULL;

	T_EQ(spawn_of(kind, function, &task), 0);
	T_NOT_NULL(task);
	return task;
}

static void wait_all(skua_task **tasks, int count, int64_t result)
{
	for (int i = 0; i < count; i++)
		T_EQ(skua_task_wait(&tasks[i]), result);
}

/* ---- What one kind does to the others ---- */

T_TEST(blocking_kinds, names_that_hang_keep_no_file_from_being_read)
{
	enum { HANGING = 1000 };
	static skua_task *names[HANGING];
	skua_task *other;

	begin(8, 0, 0, 65536);
	for (int i = 0; i < HANGING; i++)
		names[i] = submit(NAMES, hang);
	WAIT_UNTIL(running[NAMES] == 2);
	for (int i = 0; i < 100; i++) {
		other = submit(FILES, ends);
		T_EQ(skua_task_wait(&other), FILES);
		other = submit(GENERAL, ends);
		T_EQ(skua_task_wait(&other), GENERAL);
	}
	T_EQ(most[NAMES], 2);
	atomic_store(&gate, 1);
	wait_all(names, HANGING, NAMES);
	T_EQ(most[NAMES], 2);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Limits that would let one kind have every thread: one is kept for each of the others. */
static void hangs_alone(uint32_t kind)
{
	enum { THREADS = 5, JOBS = 20 };
	skua_task *jobs[JOBS], *other;

	begin(THREADS, THREADS, THREADS, 1000);
	for (int i = 0; i < JOBS; i++)
		jobs[i] = submit(kind, hang);
	WAIT_UNTIL(running[kind] == THREADS - 2);
	for (uint32_t i = 1; i < SKUA_BLOCKING_KINDS; i++) {
		other = submit((kind + i) % SKUA_BLOCKING_KINDS, ends);
		T_EQ(skua_task_wait(&other), (kind + i) % SKUA_BLOCKING_KINDS);
	}
	T_EQ(most[kind], THREADS - 2);
	atomic_store(&gate, 1);
	wait_all(jobs, JOBS, kind);
	T_EQ(most[kind], THREADS - 2);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_kinds, general_jobs_leave_a_thread_for_each_other_kind)
{
	hangs_alone(GENERAL);
}

T_TEST(blocking_kinds, jobs_on_files_leave_a_thread_for_each_other_kind)
{
	hangs_alone(FILES);
}

T_TEST(blocking_kinds, lookups_leave_a_thread_for_each_other_kind)
{
	hangs_alone(NAMES);
}

/* Two kinds that hang together leave the third one its thread as well. */
T_TEST(blocking_kinds, two_kinds_that_hang_leave_the_third_its_thread)
{
	skua_task *files[6], *names[6], *other;

	begin(4, 4, 4, 1000);
	for (int i = 0; i < 6; i++) {
		files[i] = submit(FILES, hang);
		names[i] = submit(NAMES, hang);
	}
	WAIT_UNTIL(running[FILES] + running[NAMES] == 3);
	other = submit(GENERAL, ends);
	T_EQ(skua_task_wait(&other), GENERAL);
	atomic_store(&gate, 1);
	wait_all(files, 6, FILES);
	wait_all(names, 6, NAMES);
	T_EQ(skua_runtime_free(rt), 0);
}

/* The limit of one kind is reached, and the threads are not: that is no reason to keep them from the
 * rest. */
T_TEST(blocking_kinds, the_limit_of_a_kind_is_its_own)
{
	skua_task *files[8], *general[8];

	begin(8, 2, 1, 1000);
	for (int i = 0; i < 8; i++)
		files[i] = submit(FILES, hang);
	for (int i = 0; i < 8; i++)
		general[i] = submit(GENERAL, hang);
	WAIT_UNTIL(running[FILES] == 2 && running[GENERAL] == 5);
	atomic_store(&gate, 1);
	wait_all(files, 8, FILES);
	wait_all(general, 8, GENERAL);
	T_EQ(most[FILES], 2);
	T_LE(most[GENERAL], 6);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Who goes first ---- */

static int order[12], order_count; /* only ever one job at a time */

static int64_t notes(void *argument)
{
	WAIT_UNTIL(gate != 0);
	order[order_count++] = *(int *)argument;
	return 0;
}

static skua_task *submit_number(uint32_t kind, int number)
{
	const skua_blocking_options options = {.struct_size = sizeof options, .kind = kind};
	skua_task *task = NULL;

	T_EQ(skua_spawn_blocking_with(rt, notes, &number, sizeof number, &options, &task), 0);
	return task;
}

T_TEST(blocking_kinds, all_kinds_share_one_thread_in_the_order_of_their_spawns)
{
	skua_task *tasks[12];

	begin(1, 0, 0, 1000);
	for (int i = 0; i < 12; i++)
		tasks[i] = submit_number((uint32_t)(i * 7 / 2) % SKUA_BLOCKING_KINDS, i);
	atomic_store(&gate, 1);
	wait_all(tasks, 12, 0);
	for (int i = 0; i < 12; i++)
		T_EQ(order[i], i);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_kinds, jobs_of_a_kind_keep_their_order)
{
	skua_task *tasks[12];

	begin(6, 1, 1, 1000);
	for (int i = 0; i < 12; i++)
		tasks[i] = submit_number(NAMES, i);
	atomic_store(&gate, 1);
	wait_all(tasks, 12, 0);
	for (int i = 0; i < 12; i++)
		T_EQ(order[i], i);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- How many may wait ---- */

T_TEST(blocking_kinds, a_full_queue_refuses_its_own_kind_only)
{
	skua_task *names[5], *files, *refused = NULL;

	begin(8, 2, 2, 3);
	for (int i = 0; i < 5; i++)
		names[i] = submit(NAMES, hang);
	for (int i = 0; i < 3; i++)
		T_EQ(spawn_of(NAMES, hang, &refused), -EAGAIN);
	T_NULL(refused);
	T_EQ(spawn_of(NAMES, hang, NULL), -EAGAIN);
	files = submit(FILES, ends);
	T_EQ(skua_task_wait(&files), FILES);
	T_EQ(skua_spawn_blocking(rt, ends, &(uint32_t){5}, sizeof(uint32_t), &files), 0);
	T_EQ(skua_task_wait(&files), 5);
	atomic_store(&gate, 1);
	wait_all(names, 5, NAMES);
	/* There is room again: each has given its place back, but perhaps not yet. */
	for (int i = 0; i < 20; i++) {
		WAIT_UNTIL(spawn_of(NAMES, ends, &names[0]) == 0);
		wait_all(names, 1, NAMES);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_kinds, a_job_cancelled_in_the_queue_gives_its_place_to_another)
{
	skua_task *names[3], *refused = NULL, *next;

	begin(8, 1, 1, 2);
	for (int i = 0; i < 3; i++)
		names[i] = submit(NAMES, hang);
	WAIT_UNTIL(running[NAMES] == 1);
	T_EQ(spawn_of(NAMES, hang, &refused), -EAGAIN);
	T_EQ(skua_cancel(names[1]), 0);
	T_EQ(skua_task_wait(&names[1]), -ECANCELED);
	next = submit(NAMES, hang);
	T_EQ(spawn_of(NAMES, hang, &refused), -EAGAIN);
	/* The first, the last and one in the middle of a queue can be taken out. */
	T_EQ(skua_cancel(next), 0);
	T_EQ(skua_cancel(names[2]), 0);
	T_EQ(skua_task_wait(&names[2]), -ECANCELED);
	T_EQ(skua_task_wait(&next), -ECANCELED);
	next = submit(NAMES, hang);
	atomic_store(&gate, 1);
	T_EQ(skua_task_wait(&names[0]), NAMES);
	T_EQ(skua_task_wait(&next), NAMES);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_kinds, stats_tell_what_each_kind_does)
{
	skua_task *names[4], *refused = NULL;
	skua_stats stats;

	begin(8, 1, 2, 2);
	for (int i = 0; i < 4; i++)
		names[i] = submit(NAMES, hang);
	WAIT_UNTIL(running[NAMES] == 2);
	for (int i = 0; i < 3; i++)
		T_EQ(spawn_of(NAMES, hang, &refused), -EAGAIN);
	skua_runtime_stats(rt, &stats);
	T_EQ(stats.blocking[NAMES].running, 2);
	T_EQ(stats.blocking[NAMES].queued, 2);
	T_EQ(stats.blocking[NAMES].waiting, 0);
	T_EQ(stats.blocking[NAMES].refused, 3);
	T_EQ(stats.blocking[FILES].running + stats.blocking[FILES].queued, 0);
	T_EQ(stats.blocking[GENERAL].refused, 0);
	T_EQ(stats.spawned, 4);
	T_EQ(stats.completed, 0);
	atomic_store(&gate, 1);
	wait_all(names, 4, NAMES);
	do
		skua_runtime_stats(rt, &stats);
	while (stats.completed < 4);
	T_EQ(stats.blocking[NAMES].running + stats.blocking[NAMES].queued, 0);
	T_EQ(stats.blocking[NAMES].refused, 3);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Options ---- */

T_TEST(blocking_kinds, a_job_has_the_name_it_was_given)
{
	const skua_blocking_options named = {sizeof named, FILES, "read of a file"};
	const skua_blocking_options unnamed = {sizeof unnamed, NAMES, NULL};
	uint32_t kind = GENERAL;
	skua_task *tasks[3];

	begin(4, 0, 0, 10);
	T_EQ(skua_spawn_blocking_with(rt, ends, &kind, sizeof kind, &named, &tasks[0]), 0);
	T_EQ(skua_spawn_blocking_with(rt, ends, &kind, sizeof kind, &unnamed, &tasks[1]), 0);
	T_EQ(skua_spawn_blocking_with(rt, ends, &kind, sizeof kind, NULL, &tasks[2]), 0);
	T_STR_EQ(skua_task_name(tasks[0]), "read of a file");
	T_STR_EQ(skua_task_name(tasks[1]), "blocking job");
	T_STR_EQ(skua_task_name(tasks[2]), "blocking job");
	wait_all(tasks, 3, GENERAL);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_kinds, bad_options_are_refused)
{
	skua_blocking_options options = {sizeof options, SKUA_BLOCKING_KINDS, NULL};
	uint32_t kind = GENERAL;
	skua_task *task = NULL;

	begin(4, 0, 0, 10);
	T_EQ(skua_spawn_blocking_with(rt, ends, &kind, sizeof kind, &options, &task), -EINVAL);
	options.kind = UINT32_MAX;
	T_EQ(skua_spawn_blocking_with(rt, ends, &kind, sizeof kind, &options, &task), -EINVAL);
	options.kind = FILES;
	options.struct_size--;
	T_EQ(skua_spawn_blocking_with(rt, ends, &kind, sizeof kind, &options, &task), -EINVAL);
	options.struct_size++;
	T_EQ(skua_spawn_blocking_with(NULL, ends, &kind, sizeof kind, &options, &task), -EINVAL);
	T_EQ(skua_spawn_blocking_with(rt, NULL, &kind, sizeof kind, &options, &task), -EINVAL);
	T_EQ(skua_spawn_blocking_with(rt, ends, NULL, sizeof kind, &options, &task), -EINVAL);
	T_NULL(task);
	T_EQ(skua_runtime_free(rt), 0);
}
