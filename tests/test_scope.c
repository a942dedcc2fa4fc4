/*
 * test_scope.c - scopes: joining few and many, errors, who may spawn, what is refused, and what a
 * child has of its spawner.
 */
#include "sched/task.h"
#include "scope_support.h"

/* ---- Joining ---- */

static void join_ending_at_once(int way, int count)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int ran = 0;
	struct call child = call_of(child_counts, &ran);
	struct owner state = owner_of(&child.future, count);

	T_EQ(await_in(way, rt, &state.co), 0);
	T_EQ(ran, count);
	T_EQ(skua_runtime_free(rt), 0);
}

static void join_yielding(int way, int count)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int ran = 0;
	struct yielder child = {.co = SKUA_CORO_INIT(yielder), .count = &ran};
	struct owner state = owner_of(&child.co, count);

	T_EQ(await_in(way, rt, &state.co), 0);
	T_EQ(ran, count);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(scope, of_none)
{
	for (int way = 0; way < WAYS; way++)
		join_ending_at_once(way, 0);
}

T_TEST(scope, of_one)
{
	for (int way = 0; way < WAYS; way++) {
		join_ending_at_once(way, 1);
		join_yielding(way, 1);
	}
}

T_TEST(scope, of_a_thousand)
{
	for (int way = 0; way < WAYS; way++) {
		join_ending_at_once(way, 1000);
		join_yielding(way, 1000);
	}
}

T_TEST_T(scope, of_a_million, 120)
{
	join_ending_at_once(AS_TASK, rounds(1000000));
}

T_TEST_T(scope, of_a_million_that_wait, 120)
{
	join_yielding(AS_TASK, rounds(1000000));
}

/* ---- Errors ---- */

static int64_t one_fails_of(int way, uint32_t on_error, int count, struct waiter *waiter)
{
	skua_scope_options options = {.struct_size = sizeof options, .on_error = on_error};
	skua_runtime *rt = runtime_of(2);
	struct sleeper child = sleeper_of(waiter);
	struct call last = call_of(child_fails, NULL);
	struct owner state = owner_of(&child.co, count);
	int64_t rc;

	state.options = &options;
	state.last = &last.future;
	rc = await_in(way, rt, &state.co);
	T_EQ(skua_runtime_free(rt), 0);
	return rc;
}

T_TEST(scope, first_error_cancels_the_siblings_and_awaits_their_clean_up)
{
	for (int way = 0; way < WAYS; way++) {
		struct waiter waiter = {0};

		T_EQ(one_fails_of(way, SKUA_ON_ERROR_CANCEL, 200, &waiter), -EIO);
		/* Who had not begun yet is polled all the same. */
		T_EQ(waiter.begun, 200);
		T_EQ(waiter.told, 200);
		T_EQ(waiter.ended, 200);
	}
}

T_TEST(scope, an_error_need_not_stop_the_others)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .on_error = SKUA_ON_ERROR_GO_ON};

	for (int way = 0; way < WAYS; way++) {
		skua_runtime *rt = runtime_of(2);
		atomic_int ran = 0;
		struct yielder child = {.co = SKUA_CORO_INIT(yielder), .count = &ran};
		struct call last = call_of(child_fails, NULL);
		struct owner state = owner_of(&child.co, 100);

		state.options = &options;
		state.last = &last.future;
		T_EQ(await_in(way, rt, &state.co), -EIO);
		T_EQ(ran, 100);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

/* Answers a cancellation with an error of its own. */
struct sore {
	skua_coro co;
	skua_timer timer;
	int64_t rc;
};

static skua_poll sore(skua_cx *cx, struct sore *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	SKUA_END(-EPIPE);
}
SKUA_CORO(sore, struct sore);

T_TEST(scope, the_first_error_in_time_is_the_result)
{
	skua_runtime *rt = runtime_of(2);
	struct sore child = {.co = SKUA_CORO_INIT(sore)};
	struct call last = call_of(child_fails, NULL);
	struct owner state = owner_of(&child.co, 20);

	state.last = &last.future;
	T_EQ(skua_block_on(rt, &state.co), -EIO);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll fails_with_a_large_number(skua_cx *cx, void *unused)
{
	(void)cx, (void)unused;
	return (skua_poll)INT32_MIN - 5;
}

T_TEST(scope, an_error_that_is_no_errno_is_one_all_the_same)
{
	skua_runtime *rt = runtime_of(1);
	struct call child = call_of(fails_with_a_large_number, NULL);
	struct owner state = owner_of(&child.future, 1);

	T_LT(skua_block_on(rt, &state.co), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Who may spawn ---- */

/* Spawns two of its kind into its own scope. */
struct twig {
	skua_coro co;
	int depth;
	atomic_int *count;
	skua_scope **scope;
};

static skua_poll twig(skua_cx *cx, struct twig *self);
SKUA_CORO(twig, struct twig);

static skua_poll twig(skua_cx *cx, struct twig *self)
{
	struct twig next = *self;

	atomic_fetch_add(self->count, 1);
	next.depth--;
	next.co = (skua_coro)SKUA_CORO_INIT(twig);
	for (int i = 0; i < 2 && self->depth > 0; i++)
		T_EQ(skua_scope_spawn(cx, *self->scope, &next.co, NULL), 0);
	return 0;
}

T_TEST(scope, children_spawn_into_their_own_scope)
{
	for (int way = 0; way < WAYS; way++) {
		enum { DEPTH = 12 };
		skua_runtime *rt = runtime_of(2);
		atomic_int count = 0;
		struct twig child = {.co = SKUA_CORO_INIT(twig), .depth = DEPTH, .count = &count};
		struct owner state = owner_of(&child.co, 1);

		child.scope = &state.scope;
		/* The owner stays where it is, for the children know it. */
		T_EQ(way == FOREIGN ? run_foreign(rt, &state.co) : skua_block_on(rt, &state.co), 0);
		T_EQ(count, (1 << (DEPTH + 1)) - 1);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

/* Opens a scope of its own, whose child spawns into the outer one. */
struct inner {
	skua_coro co;
	skua_scope *outer, *own;
	atomic_int *count;
	int depth;
	int64_t rc;
};

static skua_poll inner(skua_cx *cx, struct inner *self);
SKUA_CORO(inner, struct inner);

static int64_t open_inner(skua_cx *cx, struct inner *self)
{
	struct call leaf = call_of(child_counts, self->count);
	struct inner next = {.co = SKUA_CORO_INIT(inner), .count = self->count};

	next.outer = self->outer;
	next.depth = self->depth - 1;
	if (self->depth == 0)
		return skua_scope_spawn(cx, self->outer, &leaf.future, NULL);
	T_EQ(skua_scope_new(cx, NULL, &self->own), 0);
	if (self->outer == NULL)
		next.outer = self->own;
	return skua_scope_spawn(cx, self->own, &next.co, NULL);
}

static skua_poll inner(skua_cx *cx, struct inner *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_inner(cx, self));
	T_EQ(self->rc, 0);
	if (self->own != NULL)
		SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->own));
	SKUA_END(self->rc);
}

T_TEST(scope, a_task_further_in_spawns_into_an_outer_scope)
{
	skua_runtime *rt = runtime_of(2);
	atomic_int count = 0;
	struct inner top = {.co = SKUA_CORO_INIT(inner), .count = &count, .depth = 3};

	T_EQ(skua_block_on(rt, &top.co), 0);
	T_EQ(count, 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- What is refused ---- */

static skua_poll tries_from_outside(skua_cx *cx, void *argument)
{
	struct call child = call_of(child_seven, NULL);
	skua_scope_result result;
	skua_scope *scope = argument;

	T_EQ(skua_scope_spawn(cx, scope, &child.future, NULL), -EINVAL);
	T_EQ(skua_scope_next(cx, scope, &result), -EINVAL);
	T_EQ(skua_scope_room(cx, scope), -EINVAL);
	T_EQ(skua_scope_join(cx, &scope), -EINVAL);
	T_NOT_NULL(scope);
	return 0;
}

struct refused {
	skua_coro co;
	skua_scope *scope;
	skua_task *outsider;
	struct waiter waiter;
	int64_t rc;
};

static int64_t try_what_is_refused(skua_cx *cx, struct refused *self)
{
	skua_scope_options options = {.struct_size = sizeof options};
	struct call child = call_of(child_seven, NULL);
	struct sleeper sleeper = sleeper_of(&self->waiter);
	struct call outsider;
	skua_scope_result result;

	options.struct_size--;
	T_EQ(skua_scope_new(cx, &options, &self->scope), -EINVAL);
	options = (skua_scope_options){.struct_size = sizeof options, .on_error = 2};
	T_EQ(skua_scope_new(cx, &options, &self->scope), -EINVAL);
	options = (skua_scope_options){.struct_size = sizeof options, .results = 3};
	T_EQ(skua_scope_new(cx, &options, &self->scope), -EINVAL);
	options = (skua_scope_options){.struct_size = sizeof options, .reserved = 1};
	T_EQ(skua_scope_new(cx, &options, &self->scope), -EINVAL);
	options = (skua_scope_options){.struct_size = sizeof options, .more = 1};
	T_EQ(skua_scope_new(cx, &options, &self->scope), -EINVAL);
	T_EQ(skua_scope_new(cx, NULL, NULL), -EINVAL);
	T_NULL(self->scope);
	T_EQ(skua_scope_join(cx, &self->scope), -EINVAL);
	T_EQ(skua_scope_join(cx, NULL), -EINVAL);
	skua_scope_cancel(NULL);
	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	T_EQ(skua_scope_next(cx, self->scope, &result), -EINVAL);
	T_EQ(skua_scope_spawn(cx, NULL, &child.future, NULL), -EINVAL);
	T_EQ(skua_scope_spawn(cx, self->scope, NULL, NULL), -EINVAL);
	T_EQ(skua_scope_spawn_with(cx, self->scope, &child.future,
				   &(skua_spawn_options){.struct_size = 1}, NULL),
	     -EINVAL);
	T_EQ(skua_scope_spawn(cx, self->scope, &sleeper.co, NULL), 0);
	outsider = call_of(tries_from_outside, self->scope);
	return skua_spawn(skua_cx_runtime(cx), &outsider.future, &self->outsider);
}

/* Once the join has begun, the owner is no longer one who may spawn. */
static skua_poll spawns_while_it_joins(skua_cx *cx, struct refused *self)
{
	struct call child = call_of(child_seven, NULL);
	skua_poll rc = skua_scope_join(cx, &self->scope);

	if (rc == SKUA_PENDING) {
		T_EQ(skua_scope_spawn(cx, self->scope, &child.future, NULL), -EINVAL);
		T_EQ(skua_scope_count(self->scope), 1);
		skua_scope_cancel(self->scope);
	}
	return rc;
}

static skua_poll refused(skua_cx *cx, struct refused *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = try_what_is_refused(cx, self));
	SKUA_AWAIT(self->rc = skua_join(cx, &self->outsider));
	T_EQ(self->rc, 0);
	SKUA_AWAIT(self->rc = spawns_while_it_joins(cx, self));
	SKUA_END(self->rc);
}
SKUA_CORO(refused, struct refused);

T_TEST(scope, bad_arguments_and_outsiders_are_refused)
{
	skua_runtime *rt = runtime_of(2);
	struct refused state = {.co = SKUA_CORO_INIT(refused)};

	T_EQ(skua_block_on(rt, &state.co), -ECANCELED);
	state = (struct refused){.co = SKUA_CORO_INIT(refused)};
	T_EQ(run_foreign(rt, &state.co), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- What a child has of its spawner ---- */

static skua_poll tells_priority(skua_cx *cx, void *unused)
{
	(void)unused;
	return cx->task->priority == SKUA_PRIORITY_BACKGROUND ? 0 : -EPROTO;
}

static skua_poll has_a_name(skua_cx *cx, void *unused)
{
	(void)unused;
	T_STR_EQ(skua_task_name(cx->task), "named");
	return cx->task->priority == SKUA_PRIORITY_INTERACTIVE ? 0 : -EPROTO;
}

struct ranked {
	skua_coro co;
	skua_scope *scope;
	int64_t rc;
};

static int64_t spawn_ranked(skua_cx *cx, struct ranked *self)
{
	struct call same = call_of(tells_priority, NULL), own = call_of(has_a_name, NULL);
	skua_spawn_options options = {.struct_size = sizeof options,
				      .priority = SKUA_PRIORITY_INTERACTIVE,
				      .name = "named"};

	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &same.future, NULL), 0);
	T_EQ(skua_scope_spawn_with(cx, self->scope, &same.future, NULL, NULL), 0);
	return skua_scope_spawn_with(cx, self->scope, &own.future, &options, NULL);
}

static skua_poll ranked(skua_cx *cx, struct ranked *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = spawn_ranked(cx, self));
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(ranked, struct ranked);

T_TEST(scope, children_have_the_priority_of_their_spawner)
{
	skua_runtime *rt = runtime_of(2);
	struct ranked state = {.co = SKUA_CORO_INIT(ranked)};
	skua_spawn_options options = {.struct_size = sizeof options,
				      .priority = SKUA_PRIORITY_BACKGROUND};
	skua_task *task;

	T_EQ(skua_spawn_with(rt, &state.co, &options, &task), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}
