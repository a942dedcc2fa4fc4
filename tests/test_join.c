/*
 * test_join.c - who may wait for the end of a task, and when such a wait gives way.
 */
#include "api_support.h"
#include "sched/task.h"

static skua_poll one(skua_cx *cx, void *unused)
{
	(void)cx, (void)unused;
	return 1;
}

/* ---- Giving way ---- */

enum { CHILDREN = 100, BUDGET = 30 };

struct parent {
	skua_task *children[CHILDREN];
	int polls, joined;
};

static skua_poll joins_all(skua_cx *cx, void *argument)
{
	struct parent *parent = argument;

	parent->polls++;
	for (; parent->joined < CHILDREN; parent->joined++) {
		skua_poll result = skua_join(cx, &parent->children[parent->joined]);

		if (result != 1)
			return result;
	}
	return parent->polls;
}

T_TEST(join, of_many_that_have_ended_gives_way)
{
	struct parent parent = {0};
	skua_config config;
	skua_runtime *rt;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.budget = BUDGET;
	rt = runtime_with(&config);
	for (int i = 0; i < CHILDREN; i++)
		parent.children[i] = start(rt, one, NULL);
	for (int i = 0; i < CHILDREN; i++)
		WAIT_UNTIL(skua_task_finished(parent.children[i]));
	T_EQ(run(rt, joins_all, &parent), CHILDREN / BUDGET + 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Two who wait ---- */

struct waiting {
	skua_task *task;
	int64_t result;
};

static int has_waiter(skua_task *task)
{
	return sk_is_waiter(sk_load(&task->join, SK_RELAXED));
}

static void *waits(void *argument)
{
	struct waiting *waiting = argument;

	waiting->result = skua_task_wait(&waiting->task);
	return NULL;
}

/* The first of two threads keeps its place. */
T_TEST_T(join, a_second_thread_is_refused, 10)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	struct waiting first = {.task = start(rt, cell_take, &cell)};
	skua_task *copy = first.task;
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, waits, &first), 0);
	WAIT_UNTIL(has_waiter(copy));
	T_EQ(skua_task_wait(&copy), -EBUSY);
	T_NOT_NULL(copy);
	cell_fill(&cell);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(first.result, 0);
	T_NULL(first.task);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A task that was cancelled while it waited has left its place to others. */
static skua_poll join_operation(skua_cx *cx, void *argument)
{
	return skua_join(cx, argument);
}

T_TEST_T(join, an_interrupted_one_leaves_its_place, 10)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	skua_task *awaited = start(rt, cell_take, &cell), *copy = awaited;
	skua_task *first = start(rt, join_operation, &awaited), *second;

	WAIT_UNTIL(has_waiter(awaited));
	T_EQ(skua_cancel(first), 0);
	T_EQ(skua_task_wait(&first), -ECANCELED);
	T_ASSERT(awaited == copy);
	second = start(rt, join_operation, &copy);
	/* The only worker comes to this one after the second has begun to wait. */
	T_EQ(run(rt, one, NULL), 1);
	T_EQ(skua_task_finished(second), 0);
	cell_fill(&cell);
	T_EQ(skua_task_wait(&second), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Who may not ---- */

static skua_poll waits_on_a_worker(skua_cx *cx, void *argument)
{
	skua_task **task = argument;

	(void)cx;
	return skua_task_wait(task);
}

/* Also when it would not have to wait for long. */
T_TEST_T(join, a_worker_does_not_block, 10)
{
	skua_runtime *rt = runtime_of(1), *other = runtime_of(1);
	struct cell cell = CELL_INIT;
	skua_task *task = start(other, cell_take, &cell);

	T_EQ(run(rt, waits_on_a_worker, &task), -EDEADLK);
	T_NOT_NULL(task);
	cell_fill(&cell);
	WAIT_UNTIL(skua_task_finished(task));
	T_EQ(run(rt, waits_on_a_worker, &task), -EDEADLK);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(other), 0);
	T_EQ(skua_runtime_free(rt), 0);
}
