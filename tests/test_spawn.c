/* test_spawn.c - tasks: spawning, joining, cancelling, yielding; and blocking jobs. */
#include <stddef.h>

#include "api_support.h"

static skua_poll give(skua_cx *cx, void *argument)
{
	(void)cx;
	return *(int64_t *)argument;
}

static skua_poll seven(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return 7;
}

static skua_poll join_operation(skua_cx *cx, void *argument)
{
	return skua_join(cx, argument);
}

/* ---- Values ---- */

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

struct self_join {
	struct cell go;
	skua_task *self;
	int64_t result;
};

static skua_poll joins_itself(skua_cx *cx, void *argument)
{
	struct self_join *state = argument;
	skua_poll taken = cell_take(cx, &state->go);

	if (taken != 0)
		return taken;
	state->result = skua_join(cx, &state->self);
	return 1;
}

T_TEST(spawn, join_itself)
{
	skua_runtime *rt = runtime_of(2);
	struct self_join state = {.go = CELL_INIT};

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

/* ---- Cancelling ---- */

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

/* Keeps a worker busy until it is told to stop. */
struct hog {
	atomic_int started, stop;
};

static skua_poll hog(skua_cx *cx, void *argument)
{
	struct hog *state = argument;

	(void)cx;
	atomic_store(&state->started, 1);
	while (!atomic_load(&state->stop))
		sleep_ms(1);
	return 0;
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
	struct self_join *state = argument;
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
	struct self_join state = {.go = CELL_INIT};

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

/* ---- Giving way ---- */

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

/* ---- Blocking jobs ---- */

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
