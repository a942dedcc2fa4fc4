/*
 * test_local.c - task-local values: who sees them, and when they are released.
 */
#include "memory_support.h"
#include "scope_support.h"

/* ---- Values that count their ends ---- */

struct value {
	int number;
	atomic_int released;
};

static void value_release(void *argument)
{
	atomic_fetch_add(&((struct value *)argument)->released, 1);
}

static const skua_local_key key_a = {"a", value_release};
static const skua_local_key key_b = {"b", value_release};
static const skua_local_key plain = {"plain", NULL};

enum { VALUES = 64 };
static struct value values[VALUES];

static int seen(skua_cx *cx, const skua_local_key *key)
{
	struct value *value = skua_local_get(cx, key);

	return value != NULL ? value->number : -1;
}

static void begin(void)
{
	for (int i = 0; i < VALUES; i++)
		values[i] = (struct value){.number = i};
}

/* ---- One task ---- */

static skua_poll sets_and_gets(skua_cx *cx, void *unused)
{
	static int constant;

	(void)unused;
	T_EQ(seen(cx, &key_a), -1);
	T_EQ(skua_local_set(cx, &key_a, &values[1]), 0);
	T_EQ(skua_local_set(cx, &key_b, &values[2]), 0);
	T_EQ(seen(cx, &key_a), 1);
	T_EQ(seen(cx, &key_b), 2);
	T_EQ(skua_local_set(cx, &key_a, &values[3]), 0);
	T_EQ(seen(cx, &key_a), 3);
	T_EQ(seen(cx, &key_b), 2);
	T_EQ(values[1].released, 1);
	T_EQ(skua_local_set(cx, &plain, &constant), 0);
	T_ASSERT(skua_local_get(cx, &plain) == &constant);
	T_EQ(skua_local_set(cx, &plain, NULL), 0);
	T_NULL(skua_local_get(cx, &plain));
	T_EQ(skua_local_set(cx, NULL, &constant), -EINVAL);
	T_EQ(skua_local_set(NULL, &plain, &constant), -EINVAL);
	return 0;
}

static skua_poll sees_nothing(skua_cx *cx, void *unused)
{
	(void)unused;
	return seen(cx, &key_a);
}

T_TEST(local, values_of_one_task)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *task;

	begin();
	T_EQ(run(rt, sets_and_gets, NULL), 0);
	for (int i = 1; i <= 3; i++)
		T_EQ(values[i].released, 1);
	task = start(rt, sees_nothing, NULL);
	T_EQ(skua_task_wait(&task), -1);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(local, a_foreign_executor_has_none)
{
	skua_runtime *rt = runtime_of(1);
	skua_waker nobody = {NULL, NULL};
	skua_cx cx;

	skua_cx_init(&cx, rt, &nobody);
	T_EQ(skua_local_set(&cx, &plain, rt), -ENOTSUP);
	T_NULL(skua_local_get(&cx, &plain));
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Children ---- */

/* Sees what its parent has set, sets something of its own, and has a child that sees that. */
struct heir {
	skua_coro co;
	int depth, a, b; /* what it is to see */
	struct cell *go;
	skua_scope *scope;
	int64_t rc;
};

static skua_poll heir(skua_cx *cx, struct heir *self);
SKUA_CORO(heir, struct heir);

static int64_t have_heirs(skua_cx *cx, struct heir *self)
{
	struct heir next = {.co = SKUA_CORO_INIT(heir), .depth = self->depth - 1};

	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	next.go = self->go;
	for (int i = 0; i < 3 && self->depth > 0; i++) {
		/* Each spawn sees the values of its own moment. */
		next.a = self->depth * 10 + i;
		next.b = self->b;
		T_EQ(skua_local_set(cx, &key_a, &values[next.a]), 0);
		T_EQ(skua_scope_spawn(cx, self->scope, &next.co, NULL), 0);
	}
	return 0;
}

static skua_poll heir(skua_cx *cx, struct heir *self)
{
	SKUA_BEGIN(self);
	T_EQ(seen(cx, &key_a), self->a);
	T_EQ(seen(cx, &key_b), self->b);
	SKUA_AWAIT(self->rc = have_heirs(cx, self));
	SKUA_AWAIT(self->rc = skua_yield(cx));
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	T_EQ(seen(cx, &key_a), self->depth > 0 ? self->depth * 10 + 2 : self->a);
	T_EQ(seen(cx, &key_b), self->b);
	SKUA_END(0);
}

static skua_poll sets_b(skua_cx *cx, void *argument)
{
	struct heir *first = argument;

	if (first->b < 0) {
		first->b = 50;
		T_EQ(skua_local_set(cx, &key_b, &values[50]), 0);
	}
	return skua_poll_future(cx, &first->co);
}

T_TEST(local, children_see_what_their_spawner_saw)
{
	skua_runtime *rt = runtime_of(2);
	struct heir first = {.co = SKUA_CORO_INIT(heir), .depth = 1, .a = -1, .b = -1};

	begin();
	T_EQ(run(rt, sets_b, &first), 0);
	for (int i = 10; i < 13; i++)
		T_EQ(values[i].released, 1);
	T_EQ(values[50].released, 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- A task that sets one key for ever ---- */

struct server {
	skua_coro co;
	skua_scope *scope;
	int round;
	int64_t alive; /* blocks, after some rounds */
	int64_t rc;
};

static int64_t serve(skua_cx *cx, struct server *self)
{
	struct call child = call_of(child_seven, NULL);

	T_EQ(skua_local_set(cx, &plain, self), 0);
	T_EQ(skua_local_set(cx, &key_a, &values[self->round % VALUES]), 0);
	return skua_scope_spawn(cx, self->scope, &child.future, NULL);
}

static skua_poll server(skua_cx *cx, struct server *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_scope_new(cx, NULL, &self->scope));
	for (self->round = 0; self->round < 4 * VALUES; self->round++) {
		/* Children of earlier rounds may still share the table. */
		SKUA_AWAIT(self->rc = serve(cx, self));
		if (self->round % 8 == 7)
			SKUA_AWAIT(self->rc = skua_yield(cx));
	}
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	/* All of them but the last. */
	for (int i = 0; i < VALUES; i++)
		T_EQ(values[i].released, i < VALUES - 1 ? 4 : 3);
	SKUA_END(0);
}
SKUA_CORO(server, struct server);

T_TEST(local, setting_again_keeps_nothing_of_the_old)
{
	skua_runtime *rt = runtime_of(1);
	struct server state = {.co = SKUA_CORO_INIT(server)};

	begin();
	T_EQ(skua_block_on(rt, &state.co), 0);
	for (int i = 0; i < VALUES; i++)
		T_EQ(values[i].released, 4);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- No memory ---- */

static skua_poll sets_without_memory(skua_cx *cx, void *unused)
{
	int failures = 0;

	(void)unused;
	for (int n = 1; n < 10; n++) {
		int rc;

		memory_countdown = n;
		rc = skua_local_set(cx, &key_a, &values[1]);
		memory_countdown = 0;
		if (rc == 0)
			break;
		T_EQ(rc, -ENOMEM);
		T_EQ(seen(cx, &key_a), -1);
		T_EQ(values[1].released, 0);
		failures++;
	}
	T_EQ(seen(cx, &key_a), 1);
	return failures;
}

T_TEST(local, no_memory_keeps_the_value_with_the_caller)
{
	skua_runtime *rt;

	memory_begin();
	begin();
	rt = runtime_of(1);
	T_GE(run(rt, sets_without_memory, NULL), 2);
	T_EQ(values[1].released, 1);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* ---- The runtime ends ---- */

static skua_poll sets_and_stays(skua_cx *cx, void *argument)
{
	if (atomic_fetch_add((atomic_int *)argument, 1) == 0)
		T_EQ(skua_local_set(cx, &key_a, &values[1]), 0);
	return SKUA_PENDING;
}

T_TEST(local, released_when_the_task_is_dropped)
{
	struct capture capture;
	atomic_int polls = 0;
	skua_config config;
	skua_runtime *rt;
	skua_task *task;
	char text[4096];

	begin();
	capture_start(&capture);
	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = 1;
	rt = runtime_with(&config);
	task = start(rt, sets_and_stays, &polls);
	WAIT_UNTIL(polls > 0);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(values[1].released, 1);
	skua_detach(&task);
	capture_stop(&capture, text, sizeof text);
}
