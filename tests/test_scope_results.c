/*
 * test_scope_results.c - what a scope can be asked for: the results of its children, in either
 * order, a limit on how many run at once, and a deadline.
 */
#include "scope_support.h"

/* ---- Results ---- */

/* Gives way some times, and ends with its number. */
struct numbered {
	skua_coro co;
	int number, turns;
	int64_t rc;
};

static skua_poll numbered(skua_cx *cx, struct numbered *self)
{
	SKUA_BEGIN(self);
	while (self->turns-- > 0)
		SKUA_AWAIT(self->rc = skua_yield(cx));
	SKUA_END(1000 + self->number);
}
SKUA_CORO(numbered, struct numbered);

/* Spawns them with turns that differ, and takes the results but for the last `left`. */
struct collector {
	skua_coro co;
	skua_scope_options options;
	int count, left, taken, rounds;
	skua_scope *scope;
	skua_scope_result result;
	char *seen;
	int64_t rc;
};

static int64_t spawn_numbered(skua_cx *cx, struct collector *self)
{
	int64_t rc = self->scope == NULL ? skua_scope_new(cx, &self->options, &self->scope) : 0;

	for (int i = 0; i < self->count && rc == 0; i++) {
		struct numbered child = {.co = SKUA_CORO_INIT(numbered), .number = i};

		child.turns = (self->count - i) * 7 % 11;
		rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
	}
	return rc;
}

static void note_result(struct collector *self)
{
	int index = (int)self->result.index % self->count;

	T_EQ(self->result.result, 1000 + index);
	if (self->options.results == SKUA_RESULTS_IN_ORDER)
		T_EQ(self->result.index, self->taken);
	T_EQ(self->seen[self->result.index], 0);
	self->seen[self->result.index] = 1;
	self->taken++;
}

static skua_poll collector(skua_cx *cx, struct collector *self)
{
	SKUA_BEGIN(self);
	while (self->rounds-- > 0) {
		SKUA_AWAIT(self->rc = spawn_numbered(cx, self));
		T_EQ(self->rc, 0);
		for (;;) {
			SKUA_AWAIT(self->rc = skua_scope_next(cx, self->scope, &self->result));
			if (self->rc != 1)
				break;
			note_result(self);
			if (self->left > 0 && self->taken == self->count - self->left)
				break;
		}
		T_EQ(self->rc, self->left > 0 ? 1 : 0);
	}
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(collector, struct collector);

static void collect(int way, uint32_t results, int count, int left, uint32_t limit)
{
	skua_runtime *rt = runtime_of(2);
	struct collector state = {.co = SKUA_CORO_INIT(collector),
				  .count = count,
				  .left = left,
				  .rounds = left > 0 ? 1 : 2};

	state.options = (skua_scope_options){
		.struct_size = sizeof state.options, .results = results, .limit = limit};
	state.seen = calloc((size_t)count * 2, 1);
	T_EQ(await_in(way, rt, &state.co), 0);
	for (int i = 0; i < 2 * count && left == 0; i++)
		T_EQ(state.seen[i], 1);
	free(state.seen);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(scope, results_as_they_come)
{
	for (int way = 0; way < WAYS; way++)
		collect(way, SKUA_RESULTS_AS_THEY_COME, 500, 0, 0);
}

T_TEST(scope, results_in_order)
{
	for (int way = 0; way < WAYS; way++)
		collect(way, SKUA_RESULTS_IN_ORDER, 500, 0, 0);
}

T_TEST(scope, results_of_many)
{
	collect(AS_TASK, SKUA_RESULTS_AS_THEY_COME, rounds(200000), 0, 0);
	collect(AS_TASK, SKUA_RESULTS_IN_ORDER, rounds(200000), 0, 0);
	collect(AS_TASK, SKUA_RESULTS_IN_ORDER, rounds(20000), 0, 7);
}

T_TEST(scope, results_that_nobody_takes_are_discarded)
{
	for (int way = 0; way < WAYS; way++) {
		collect(way, SKUA_RESULTS_AS_THEY_COME, 300, 250, 0);
		collect(way, SKUA_RESULTS_IN_ORDER, 300, 250, 0);
		collect(way, SKUA_RESULTS_IN_ORDER, 300, 299, 10);
	}
}

/* A wait for a result that is interrupted cancels nothing. */
struct patient {
	skua_coro co;
	struct waiter waiter;
	skua_timer timer;
	skua_scope *scope;
	skua_scope_result result;
	int64_t rc;
};

static int64_t open_patient(skua_cx *cx, struct patient *self)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .results = SKUA_RESULTS_AS_THEY_COME};
	struct sleeper child = sleeper_of(&self->waiter);

	T_EQ(skua_scope_new(cx, &options, &self->scope), 0);
	return skua_scope_spawn(cx, self->scope, &child.co, NULL);
}

static skua_poll patient(skua_cx *cx, struct patient *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_patient(cx, self));
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, SKUA_MSEC,
					   skua_scope_next(cx, self->scope, &self->result)));
	T_EQ(self->rc, -ETIMEDOUT);
	T_EQ(skua_scope_cancelled(self->scope), 0);
	T_EQ(self->waiter.told, 0);
	skua_scope_cancel(self->scope);
	SKUA_AWAIT(self->rc = skua_scope_next(cx, self->scope, &self->result));
	T_EQ(self->rc, 1);
	T_EQ(self->result.result, -ECANCELED);
	SKUA_AWAIT(self->rc = skua_scope_next(cx, self->scope, &self->result));
	T_EQ(self->rc, 0);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(patient, struct patient);

T_TEST(scope, an_interrupted_wait_for_a_result_cancels_nothing)
{
	skua_runtime *rt = runtime_of(2);
	struct patient state = {.co = SKUA_CORO_INIT(patient)};

	T_EQ(skua_block_on(rt, &state.co), -ECANCELED);
	state = (struct patient){.co = SKUA_CORO_INIT(patient)};
	T_EQ(run_foreign(rt, &state.co), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- The limit ---- */

struct crowd {
	atomic_int running, most, ended;
};

struct runner {
	skua_coro co;
	struct crowd *crowd;
	int turns;
	int64_t rc;
};

static skua_poll runner(skua_cx *cx, struct runner *self)
{
	int now;

	SKUA_BEGIN(self);
	now = atomic_fetch_add(&self->crowd->running, 1) + 1;
	if (now > atomic_load(&self->crowd->most))
		atomic_store(&self->crowd->most, now);
	while (self->turns-- > 0)
		SKUA_AWAIT(self->rc = skua_yield(cx));
	atomic_fetch_sub(&self->crowd->running, 1);
	atomic_fetch_add(&self->crowd->ended, 1);
	SKUA_END(0);
}
SKUA_CORO(runner, struct runner);

static void run_crowd(int way, uint32_t limit, int count, int most)
{
	skua_scope_options options = {.struct_size = sizeof options, .limit = limit};
	skua_runtime *rt = runtime_of(2);
	struct crowd crowd = {0};
	struct runner child = {.co = SKUA_CORO_INIT(runner), .crowd = &crowd, .turns = 3};
	struct owner state = owner_of(&child.co, count);

	state.options = &options;
	T_EQ(await_in(way, rt, &state.co), 0);
	T_EQ(crowd.ended, count);
	T_LE(crowd.most, most);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(scope, never_do_more_run_than_the_limit)
{
	for (int way = 0; way < WAYS; way++) {
		run_crowd(way, 1, 100, 1);
		run_crowd(way, 5, 1000, 5);
		run_crowd(way, UINT32_MAX, 100, 100);
	}
}

/* Who waits for his turn in a scope that is cancelled is polled all the same, and told. */
T_TEST(scope, those_who_wait_for_their_turn_are_told_too)
{
	skua_scope_options options = {.struct_size = sizeof options, .limit = 3};
	struct waiter waiter = {0};
	skua_runtime *rt = runtime_of(2);
	struct sleeper child = sleeper_of(&waiter);
	struct owner state = owner_of(&child.co, 20);
	skua_task *task;

	state.options = &options;
	task = start_future(rt, &state.co);
	WAIT_UNTIL(waiter.begun == 3);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(waiter.told, 20);
	T_EQ(waiter.ended, 20);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Spawns only when there is room: none ever waits for its turn. */
struct feeder {
	skua_coro co;
	struct crowd *crowd;
	skua_scope *scope;
	skua_timer timer;
	struct waiter *waiter;
	int left;
	int64_t rc;
};

static int64_t feed(skua_cx *cx, struct feeder *self)
{
	struct runner child = {.co = SKUA_CORO_INIT(runner), .crowd = self->crowd, .turns = 5};

	T_LT(skua_scope_count(self->scope), 4);
	return skua_scope_spawn(cx, self->scope, &child.co, NULL);
}

static int64_t open_feeder(skua_cx *cx, struct feeder *self)
{
	skua_scope_options options = {.struct_size = sizeof options, .limit = 4};

	return skua_scope_new(cx, &options, &self->scope);
}

static skua_poll feeder(skua_cx *cx, struct feeder *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_feeder(cx, self));
	while (self->left-- > 0) {
		SKUA_AWAIT(self->rc = skua_scope_room(cx, self->scope));
		T_EQ(self->rc, 0);
		/* A child that ends makes room just before it stops to count. */
		while (skua_scope_count(self->scope) >= 4)
			SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, SKUA_USEC));
		SKUA_AWAIT(self->rc = feed(cx, self));
		T_EQ(self->rc, 0);
	}
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(feeder, struct feeder);

T_TEST(scope, room_is_awaited)
{
	for (int way = 0; way < WAYS; way++) {
		skua_runtime *rt = runtime_of(2);
		struct crowd crowd = {0};
		struct feeder state = {.co = SKUA_CORO_INIT(feeder), .crowd = &crowd, .left = 300};

		T_EQ(await_in(way, rt, &state.co), 0);
		T_EQ(crowd.ended, 300);
		T_LE(crowd.most, 4);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

/* ---- The deadline ---- */

static int64_t until(int way, uint64_t deadline, struct waiter *waiter)
{
	skua_scope_options options = {.struct_size = sizeof options, .deadline = deadline};
	skua_runtime *rt = runtime_of(2);
	struct sleeper child = sleeper_of(waiter);
	struct owner state = owner_of(&child.co, 10);
	int64_t rc;

	state.options = &options;
	rc = await_in(way, rt, &state.co);
	T_EQ(skua_runtime_free(rt), 0);
	return rc;
}

T_TEST(scope, a_deadline_ends_it)
{
	for (int way = 0; way < WAYS; way++) {
		struct waiter waiter = {0};
		uint64_t begin = skua_now(), deadline = begin + 20 * SKUA_MSEC;

		T_EQ(until(way, deadline, &waiter), -ETIMEDOUT);
		T_GE(skua_now(), deadline);
		T_EQ(waiter.ended, waiter.begun);
	}
}

T_TEST(scope, a_deadline_in_the_past_lets_nothing_begin)
{
	struct waiter waiter = {0};

	T_EQ(until(AS_TASK, 1, &waiter), -ETIMEDOUT);
	T_EQ(waiter.begun, 0);
}

T_TEST(scope, a_deadline_that_is_not_reached_does_nothing)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .deadline = skua_now() + 3600 * SKUA_SEC};

	for (int way = 0; way < WAYS; way++) {
		skua_runtime *rt = runtime_of(2);
		atomic_int ran = 0;
		struct call child = call_of(child_counts, &ran);
		struct owner state = owner_of(&child.future, 10);

		state.options = &options;
		T_EQ(await_in(way, rt, &state.co), 0);
		T_EQ(ran, 10);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

/* The owner awaits something else, and cannot be told: the children are. */
struct busy {
	skua_coro co;
	struct waiter *waiter;
	struct cell *go;
	skua_scope *scope;
	int64_t rc;
};

static int64_t open_busy(skua_cx *cx, struct busy *self)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .deadline = skua_now() + 5 * SKUA_MSEC};
	struct sleeper child = sleeper_of(self->waiter);

	T_EQ(skua_scope_new(cx, &options, &self->scope), 0);
	return skua_scope_spawn(cx, self->scope, &child.co, NULL);
}

static skua_poll busy(skua_cx *cx, struct busy *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_busy(cx, self));
	SKUA_AWAIT(self->rc = cell_take(cx, self->go));
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(busy, struct busy);

T_TEST(scope, its_deadline_does_not_wait_for_the_owner)
{
	skua_runtime *rt = runtime_of(2);
	struct waiter waiter = {0};
	struct cell go = CELL_INIT;
	struct busy state = {.co = SKUA_CORO_INIT(busy), .waiter = &waiter, .go = &go};
	skua_task *task = start_future(rt, &state.co);

	WAIT_UNTIL(waiter.ended);
	T_ASSERT(cell_has_waiter(&go));
	cell_fill(&go);
	T_EQ(skua_task_wait(&task), -ETIMEDOUT);
	T_EQ(skua_runtime_free(rt), 0);
}
