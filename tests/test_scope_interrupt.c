/*
 * test_scope_interrupt.c - what becomes of scopes when two things want their owner to end, when they are
 * opened inside a branch of a join or select, and when the runtime drops owner and children.
 */
#include "scope_support.h"

/* ---- A deadline around the join, and then a cancellation ---- */

struct twice {
	skua_coro co;
	struct waiter waiters[1];
	skua_scope *scope;
	skua_timer timer;
	int64_t rc, joined, next;
	atomic_int cleans_up, cancelled;
};

/* Waits to be told, and then until the owner has been cancelled. */
struct slow {
	skua_coro co;
	struct twice *owner;
	skua_timer timer;
	int64_t rc;
};

static skua_poll slow(skua_cx *cx, struct slow *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	atomic_store(&self->owner->cleans_up, 1);
	while (!atomic_load(&self->owner->cancelled))
		SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, SKUA_MSEC));
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 5 * SKUA_MSEC));
	SKUA_END(self->rc);
}
SKUA_CORO(slow, struct slow);

static int64_t open_with_slow(skua_cx *cx, struct twice *self)
{
	struct slow child = {.co = SKUA_CORO_INIT(slow), .owner = self};

	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &child.co, NULL), 0);
	return 0;
}

static skua_poll twice(skua_cx *cx, struct twice *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_with_slow(cx, self));
	SKUA_AWAIT(self->joined = skua_timeout(cx, &self->timer, 5 * SKUA_MSEC,
					       skua_scope_join(cx, &self->scope)));
	SKUA_AWAIT(self->next = skua_sleep(cx, &self->timer, SKUA_MSEC));
	SKUA_END(0);
}
SKUA_CORO(twice, struct twice);

static skua_poll poll_in_place(skua_cx *cx, void *future)
{
	return skua_poll_future(cx, future);
}

T_TEST(scope_interrupt, a_cancellation_during_the_join_of_a_timeout_is_told_afterwards)
{
	skua_runtime *rt = runtime_of(2);
	struct twice self = {.co = SKUA_CORO_INIT(twice)};
	skua_task *task = start(rt, poll_in_place, &self.co);

	WAIT_UNTIL(atomic_load(&self.cleans_up));
	T_EQ(skua_cancel(task), 0);
	atomic_store(&self.cancelled, 1);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(self.joined, -ETIMEDOUT);
	T_EQ(self.next, -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- A scope that is opened in a branch ---- */

/* Its next() takes the cancellation, so the join is not told: the scope must have been. */
struct server {
	skua_coro co;
	struct waiter *waiter;
	skua_scope *scope;
	skua_scope_result result;
	int64_t rc;
};

static int64_t open_with_sleeper(skua_cx *cx, struct server *self)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .results = SKUA_RESULTS_AS_THEY_COME};
	struct sleeper child = sleeper_of(self->waiter);

	T_EQ(skua_scope_new(cx, &options, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &child.co, NULL), 0);
	return 0;
}

static skua_poll server(skua_cx *cx, struct server *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_with_sleeper(cx, self));
	SKUA_AWAIT(self->rc = skua_scope_next(cx, self->scope, &self->result));
	T_EQ(self->rc, -ECANCELED);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(server, struct server);

struct main_task {
	skua_coro co;
	struct server server;
	skua_compose both;
	skua_timer timer;
	int64_t rc, which;
};

static skua_poll main_task(skua_cx *cx, struct main_task *self)
{
	SKUA_BEGIN(self);
	SKUA_JOIN (self->which, cx, &self->both, 2) {
		SKUA_BRANCH(0, self->rc = skua_poll_future(cx, &self->server.co));
		SKUA_BRANCH(1, skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	}
	SKUA_END(self->which);
}
SKUA_CORO(main_task, struct main_task);

T_TEST(scope_interrupt, one_that_is_opened_in_a_branch_is_cancelled_with_its_owner)
{
	skua_runtime *rt = runtime_of(2);
	struct waiter waiter = {0};
	struct main_task future = {
		.co = SKUA_CORO_INIT(main_task),
		.server = {.co = SKUA_CORO_INIT(server), .waiter = &waiter},
	};
	skua_task *task = start_future(rt, &future.co);

	WAIT_UNTIL(atomic_load(&waiter.begun));
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(waiter.told, 1);
	T_EQ(waiter.ended, 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Dropping ---- */

enum { DEPTH = 4, DROPS = 8 };

static atomic_int drops, dropped[DROPS], begun, alive;

/* Ignores all that it is told, and has a child of its own, up to a depth. */
struct nested {
	skua_coro co;
	int depth;
	skua_scope *scope;
	int64_t rc;
};

static void nested_dropped(struct nested *self)
{
	atomic_store(&dropped[atomic_fetch_add(&drops, 1)], self->depth);
}

static int64_t open_deeper(skua_cx *cx, struct nested *self);

static skua_poll nested(skua_cx *cx, struct nested *self)
{
	SKUA_BEGIN(self);
	atomic_fetch_add(&begun, 1);
	SKUA_AWAIT(self->rc = open_deeper(cx, self));
	atomic_fetch_add(&alive, 1);
	for (;;)
		SKUA_AWAIT(self->rc = parked(cx, NULL));
	SKUA_END(0);
}
SKUA_CORO_WITH_DROP(nested, struct nested, nested_dropped);

static int64_t open_deeper(skua_cx *cx, struct nested *self)
{
	struct nested child = {.co = SKUA_CORO_INIT(nested), .depth = self->depth + 1};

	if (self->depth == DEPTH)
		return 0;
	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &child.co, NULL), 0);
	/* So another worker has it: the order in which one worker met its tasks proves nothing. */
	WAIT_UNTIL(atomic_load(&begun) > child.depth);
	return 0;
}

T_TEST(scope_interrupt, children_are_dropped_before_their_owners)
{
	for (int round = 0; round < rounds(20); round++) {
		skua_config config;
		skua_runtime *rt;
		struct nested outermost = {.co = SKUA_CORO_INIT(nested)};

		quiet_config(&config, 4, SKUA_IO_BACKEND_AUTO);
		config.shutdown_ms = 1;
		config.log = SKUA_LOG_OFF;
		rt = runtime_with(&config);
		atomic_store(&drops, 0);
		atomic_store(&begun, 0);
		atomic_store(&alive, 0);
		T_EQ(skua_spawn(rt, &outermost.co, NULL), 0);
		WAIT_UNTIL(atomic_load(&alive) == DEPTH + 1);
		T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
		T_EQ(drops, DEPTH + 1);
		for (int i = 0; i <= DEPTH; i++)
			T_EQ(dropped[i], DEPTH - i);
	}
}

/* ---- Groups of none ---- */

T_TEST(scope_interrupt, a_join_of_none_with_an_array_of_anything)
{
	skua_runtime *rt = runtime_of(1);
	skua_branch branches[2];
	skua_group group;

	memset(branches, 0xff, sizeof branches);
	T_EQ(skua_group_join(&group, branches, 0), 0);
	T_EQ(skua_block_on(rt, &group.future), 0);
	T_EQ(skua_group_try_join(&group, branches, 0), 0);
	T_EQ(skua_block_on(rt, &group.future), 0);
	T_EQ(skua_runtime_free(rt), 0);
}
