/*
 * test_spawn_join.c - handles: a task is joined once and by one, a wait that was cancelled can be
 * repeated, a handle can be let go of, and long chains of joins end.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include "spawn_support.h"

/* ---- Joining ---- */

T_TEST(spawn, join_twice)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *task = start(rt, seven, NULL);

	T_EQ(skua_task_wait(&task), 7);
	T_EQ(skua_task_wait(&task), -EINVAL);
	T_EQ(run(rt, join_operation, &task), -EINVAL);
	T_EQ(run(rt, join_operation, NULL), -EINVAL);
	T_EQ(skua_task_wait(NULL), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll joins_itself(skua_cx *cx, void *argument)
{
	struct knows_itself *state = argument;
	skua_poll taken = cell_take(cx, &state->go);

	if (taken != 0)
		return taken;
	state->result = skua_join(cx, &state->self);
	return 1;
}

T_TEST(spawn, join_itself)
{
	skua_runtime *rt = runtime_of(2);
	struct knows_itself state = {.go = CELL_INIT};

	state.self = start(rt, joins_itself, &state);
	cell_fill(&state.go);
	T_EQ(skua_task_wait(&state.self), 1);
	T_EQ(state.result, -EDEADLK);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll polled_join(skua_cx *cx, void *argument)
{
	struct {
		skua_task *task;
		atomic_int polls;
	} *state = argument;
	skua_poll result = skua_join(cx, &state->task);

	atomic_fetch_add(&state->polls, 1);
	return result;
}

T_TEST(spawn, second_joiner_is_refused)
{
	skua_runtime *rt = runtime_of(2);
	struct cell cell = CELL_INIT;
	struct {
		skua_task *task;
		atomic_int polls;
	} state = {.task = start(rt, cell_take, &cell)};
	skua_task *copy = state.task, *first = start(rt, polled_join, &state);

	WAIT_UNTIL(state.polls == 1);
	T_EQ(run(rt, join_operation, &copy), -EBUSY);
	T_NOT_NULL(copy);
	T_EQ(skua_task_wait(&copy), -EBUSY);
	T_NOT_NULL(copy);
	cell_fill(&cell);
	T_EQ(skua_task_wait(&first), 0);
	T_NULL(state.task);
	T_EQ(skua_runtime_free(rt), 0);
}

struct patient {
	skua_coro co;
	skua_task *task;
	struct cell *go;
	int64_t first, second;
	atomic_int *waits;
};

/* A cancelled wait keeps the handle, which can be joined again. */
static skua_poll patient(skua_cx *cx, struct patient *self)
{
	SKUA_BEGIN(self);
	atomic_store(self->waits, 1);
	SKUA_AWAIT(self->first = skua_join(cx, &self->task));
	T_EQ(self->first, -ECANCELED);
	T_NOT_NULL(self->task);
	cell_fill(self->go);
	SKUA_AWAIT(self->second = skua_join(cx, &self->task));
	T_NULL(self->task);
	SKUA_END(self->second);
}
SKUA_CORO(patient, struct patient);

T_TEST(spawn, cancelled_join_keeps_the_handle)
{
	skua_runtime *rt = runtime_of(2);
	struct cell cell = CELL_INIT;
	atomic_int waits = 0;
	struct patient future = {.co = SKUA_CORO_INIT(patient), .go = &cell, .waits = &waits};
	skua_task *task;

	future.task = start(rt, cell_take, &cell);
	task = start_future(rt, &future.co);
	WAIT_UNTIL(waits);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, finished_says_so_and_the_name_is_told)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	skua_task *task = start(rt, cell_take, &cell);

	T_STR_EQ(skua_task_name(task), "call");
	sleep_ms(5);
	T_EQ(skua_task_finished(task), 0);
	cell_fill(&cell);
	WAIT_UNTIL(skua_task_finished(task));
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, detach_lets_it_go_on)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	skua_task *task = start(rt, cell_take, &cell);
	skua_stats stats;

	skua_detach(&task);
	T_NULL(task);
	skua_detach(&task);
	skua_detach(NULL);
	cell_fill(&cell);
	do
		skua_runtime_stats(rt, &stats);
	while (stats.completed < 1);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, detach_of_a_finished_task)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *task = start(rt, seven, NULL);

	WAIT_UNTIL(skua_task_finished(task));
	skua_detach(&task);
	T_NULL(task);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Chains ---- */

/* Each task joins the one made before it: a chain that ends one by one, without recursion. */
struct link {
	skua_coro co;
	skua_task *before;
	struct cell *go;
	int64_t n;
};

static skua_poll chain_link(skua_cx *cx, struct link *self)
{
	SKUA_BEGIN(self);
	if (self->before != NULL)
		SKUA_AWAIT(self->n = skua_join(cx, &self->before));
	else
		SKUA_AWAIT(self->n = cell_take(cx, self->go));
	SKUA_END(self->n < 0 ? self->n : self->n + 1);
}
SKUA_CORO(chain_link, struct link);

T_TEST(spawn, a_long_chain_of_joins)
{
	int count = rounds(100000);
	skua_runtime *rt = runtime_of(2);
	struct cell go = CELL_INIT;
	skua_task *last = NULL;

	for (int i = 0; i < count; i++) {
		struct link future = {.co = SKUA_CORO_INIT(chain_link), .before = last, .go = &go};

		last = start_future(rt, &future.co);
	}
	cell_fill(&go);
	T_EQ(skua_task_wait(&last), count);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spawn, a_chain_is_cancelled_by_its_end)
{
	int count = rounds(10000);
	skua_runtime *rt = runtime_of(2);
	struct cell go = CELL_INIT;
	skua_task *last = NULL, *first = NULL;
	struct link future = {.co = SKUA_CORO_INIT(chain_link), .go = &go};

	first = start_future(rt, &future.co);
	T_EQ(skua_cancel(first), 0);
	last = first;
	for (int i = 1; i < count; i++) {
		future.before = last;
		last = start_future(rt, &future.co);
	}
	T_EQ(skua_task_wait(&last), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}
