/*
 * test_scope_cancel.c - scopes that are cancelled: by hand, by a timeout around the join, by the
 * cancellation of an owner further out; and when a child is told.
 */
#include "scope_support.h"

/* ---- Cancelling ---- */

/* Cancels one of two children by its handle. */
struct canceller {
	skua_coro co;
	struct waiter waiters[2];
	skua_scope *scope;
	skua_task *task;
	skua_timer timer;
	int64_t rc, joined, spawned;
	int cancels_all, limited;
};

static int64_t spawn_two(skua_cx *cx, struct canceller *self)
{
	struct sleeper first = sleeper_of(&self->waiters[0]),
		       second = sleeper_of(&self->waiters[1]);

	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &first.co, &self->task), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &second.co, NULL), 0);
	T_EQ(skua_scope_count(self->scope), 2);
	return 0;
}

static skua_poll both_begun(skua_cx *cx, struct canceller *self)
{
	if (self->waiters[0].begun + self->waiters[1].begun == 2)
		return 0;
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	return SKUA_PENDING;
}

static skua_poll join_limited(skua_cx *cx, struct canceller *self)
{
	if (!self->limited)
		return skua_scope_join(cx, &self->scope);
	return skua_timeout(cx, &self->timer, SKUA_MSEC, skua_scope_join(cx, &self->scope));
}

static skua_poll canceller(skua_cx *cx, struct canceller *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = spawn_two(cx, self));
	SKUA_AWAIT(self->rc = both_begun(cx, self));
	T_EQ(skua_cancel(self->task), 0);
	SKUA_AWAIT(self->joined = skua_join(cx, &self->task));
	T_EQ(skua_scope_cancelled(self->scope), 0);
	T_EQ(self->waiters[1].told, 0);
	if (self->cancels_all) {
		struct call child = call_of(child_seven, NULL);

		skua_scope_cancel(self->scope);
		skua_scope_cancel(self->scope);
		T_EQ(skua_scope_cancelled(self->scope), 1);
		self->spawned = skua_scope_spawn(cx, self->scope, &child.future, &self->task);
		T_NULL(self->task);
	}
	SKUA_AWAIT(self->rc = join_limited(cx, self));
	T_NULL(self->scope);
	SKUA_END(self->rc);
}
SKUA_CORO(canceller, struct canceller);

T_TEST(scope, cancelling_it_tells_every_child_and_refuses_more)
{
	for (int way = 0; way < WAYS; way++) {
		skua_runtime *rt = runtime_of(2);
		struct canceller *self = calloc(1, sizeof *self);

		/* Not by skua_spawn, which copies. */
		*self = (struct canceller){.co = SKUA_CORO_INIT(canceller), .cancels_all = 1};
		T_EQ(way == FOREIGN ? run_foreign(rt, &self->co) : skua_block_on(rt, &self->co),
		     -ECANCELED);
		/* A child that was cancelled by its handle is no error to the others. */
		T_EQ(self->joined, -ECANCELED);
		T_EQ(self->spawned, -ECANCELED);
		T_EQ(self->waiters[0].ended + self->waiters[1].ended, 2);
		T_EQ(skua_runtime_free(rt), 0);
		free(self);
	}
}

T_TEST(scope, a_timeout_around_the_join_leaves_nothing_behind)
{
	for (int way = 0; way < WAYS; way++) {
		skua_runtime *rt = runtime_of(2);
		struct canceller *self = calloc(1, sizeof *self);

		*self = (struct canceller){.co = SKUA_CORO_INIT(canceller), .limited = 1};
		T_EQ(way == FOREIGN ? run_foreign(rt, &self->co) : skua_block_on(rt, &self->co),
		     -ETIMEDOUT);
		T_EQ(self->waiters[1].told, 1);
		T_EQ(self->waiters[1].ended, 1);
		T_EQ(skua_runtime_free(rt), 0);
		free(self);
	}
}

/* ---- What a child is told, and when ---- */

/* Awaits what is always ready, until it is told. */
struct eager {
	skua_coro co;
	skua_timer timer;
	atomic_int *awaits, *running;
	int64_t rc;
};

static skua_poll eager(skua_cx *cx, struct eager *self)
{
	SKUA_BEGIN(self);
	atomic_store(self->running, 1);
	do {
		SKUA_AWAIT(self->rc = skua_sleep_until(cx, &self->timer, 1));
		atomic_fetch_add(self->awaits, 1);
	} while (self->rc == 0);
	SKUA_END(self->rc);
}
SKUA_CORO(eager, struct eager);

T_TEST(scope, who_begins_after_the_cancel_is_told_by_its_first_await)
{
	skua_scope_options options = {.struct_size = sizeof options, .limit = 1};
	skua_runtime *rt = runtime_of(1);
	atomic_int awaits = 0, running = 0;
	struct eager last = {.co = SKUA_CORO_INIT(eager), .awaits = &awaits, .running = &running};
	struct call child = call_of(child_fails, NULL);
	struct owner state = owner_of(&child.future, 1);

	state.options = &options;
	state.last = &last.co;
	T_EQ(skua_block_on(rt, &state.co), -EIO);
	T_EQ(awaits, 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* One that never has to wait is told, too. */
T_TEST(scope, who_is_in_its_first_poll_is_told)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int awaits = 0, running = 0;
	struct eager child = {.co = SKUA_CORO_INIT(eager), .awaits = &awaits, .running = &running};
	struct owner state = owner_of(&child.co, 1);
	skua_task *task = start_future(rt, &state.co);

	WAIT_UNTIL(running);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A computation asks whether it is to stop. */
static skua_poll computes(skua_cx *cx, void *argument)
{
	atomic_store((atomic_int *)argument, 1);
	while (!skua_cx_cancelled(cx))
		;
	T_EQ(skua_cx_interrupt(cx), -ECANCELED);
	T_EQ(skua_cx_interrupt(cx), 0);
	return 0;
}

T_TEST(scope, a_computation_can_ask)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int running = 0;
	struct call child = call_of(computes, &running);
	struct owner state = owner_of(&child.future, 1);
	skua_task *task = start_future(rt, &state.co);

	WAIT_UNTIL(running);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A child under a shield is told after it. */
struct guarded {
	skua_coro co;
	struct cell *go;
	skua_timer timer;
	int64_t rc;
};

static skua_poll guarded(skua_cx *cx, struct guarded *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_shield(cx, cell_take(cx, self->go)));
	T_EQ(self->rc, 0);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	T_EQ(self->rc, -ECANCELED);
	SKUA_END(5);
}
SKUA_CORO(guarded, struct guarded);

T_TEST(scope, a_child_under_a_shield_is_told_after_it)
{
	skua_runtime *rt = runtime_of(2);
	struct cell go = CELL_INIT;
	struct guarded child = {.co = SKUA_CORO_INIT(guarded), .go = &go};
	struct owner state = owner_of(&child.co, 1);
	skua_task *task = start_future(rt, &state.co);

	WAIT_UNTIL(cell_has_waiter(&go));
	T_EQ(skua_cancel(task), 0);
	sleep_ms(5);
	T_ASSERT(cell_has_waiter(&go));
	cell_fill(&go);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A scope for clean-up is not reached by the cancellation that made it necessary. */
struct cleaner {
	skua_coro co;
	struct cell *go;
	atomic_int *count;
	int shielded;
	skua_scope *scope;
	int64_t rc;
};

static int64_t open_cleaner(skua_cx *cx, struct cleaner *self)
{
	struct yielder child = {.co = SKUA_CORO_INIT(yielder), .count = self->count};

	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	for (int i = 0; i < 10; i++)
		T_EQ(skua_scope_spawn(cx, self->scope, &child.co, NULL), 0);
	return 0;
}

static skua_poll clean_up(skua_cx *cx, struct cleaner *self)
{
	if (self->scope == NULL)
		(void)open_cleaner(cx, self);
	return skua_scope_join(cx, &self->scope);
}

static skua_poll cleaner(skua_cx *cx, struct cleaner *self)
{
	SKUA_BEGIN(self);
	if (self->shielded) {
		SKUA_AWAIT(self->rc = skua_shield(cx, cell_take(cx, self->go)));
		SKUA_AWAIT(self->rc = skua_shield(cx, clean_up(cx, self)));
	} else {
		SKUA_AWAIT(self->rc = cell_take(cx, self->go));
		T_EQ(self->rc, -ECANCELED);
		SKUA_AWAIT(self->rc = clean_up(cx, self));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(cleaner, struct cleaner);

T_TEST(scope, one_for_clean_up_is_spared)
{
	for (int shielded = 0; shielded < 2; shielded++) {
		skua_runtime *rt = runtime_of(2);
		struct cell go = CELL_INIT;
		atomic_int count = 0;
		struct cleaner state = {.co = SKUA_CORO_INIT(cleaner),
					.go = &go,
					.count = &count,
					.shielded = shielded};
		skua_task *task = start_future(rt, &state.co);

		WAIT_UNTIL(cell_has_waiter(&go));
		T_EQ(skua_cancel(task), 0);
		cell_fill(&go);
		T_EQ(skua_task_wait(&task), 0);
		T_EQ(count, 10);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

/* ---- Scopes in scopes ---- */

/* Opens a scope with one of its kind in it, `depth` times, and then waits where it cannot be
 * told. */
struct level {
	skua_coro co;
	int depth;
	struct waiter *waiter;
	struct cell *go;
	skua_scope *scope;
	int64_t rc;
};

static skua_poll level(skua_cx *cx, struct level *self);
SKUA_CORO(level, struct level);

static int64_t open_level(skua_cx *cx, struct level *self)
{
	struct level next = {
		.co = SKUA_CORO_INIT(level),
		.depth = self->depth - 1,
		.waiter = self->waiter,
		.go = self->go + 1,
	};
	struct sleeper last = sleeper_of(self->waiter);
	const skua_future *child = self->depth > 0 ? &next.co : &last.co;

	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, child, NULL), 0);
	return 0;
}

static skua_poll level(skua_cx *cx, struct level *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_level(cx, self));
	SKUA_AWAIT(self->rc = skua_shield(cx, cell_take(cx, self->go)));
	T_EQ(self->rc, 0);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}

T_TEST(scope, cancelling_the_owner_goes_all_the_way_down_before_any_join)
{
	skua_runtime *rt = runtime_of(2);
	struct waiter waiter = {0};
	struct cell go[4] = {CELL_INIT, CELL_INIT, CELL_INIT, CELL_INIT};
	struct level top = {.co = SKUA_CORO_INIT(level), .depth = 3, .waiter = &waiter, .go = go};
	skua_task *task = start_future(rt, &top.co);

	for (int i = 0; i < 4; i++)
		WAIT_UNTIL(cell_has_waiter(&go[i]));
	WAIT_UNTIL(waiter.begun);
	T_EQ(skua_cancel(task), 0);
	/* All four owners are still under their shields. */
	WAIT_UNTIL(waiter.ended);
	for (int i = 0; i < 4; i++)
		T_ASSERT(cell_has_waiter(&go[i]));
	for (int i = 0; i < 4; i++)
		cell_fill(&go[i]);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(waiter.told, 1);
	T_EQ(skua_runtime_free(rt), 0);
}
