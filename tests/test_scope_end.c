/*
 * test_scope_end.c - scopes that are not joined: the owner ends before, is dropped with its
 * runtime, or there is no memory. And chains of tasks that await each other.
 */
#include "memory_support.h"
#include "scope_support.h"

/* ---- The owner ends ---- */

/* Opens some scopes with sleepers in them, and ends. */
struct leaver {
	skua_coro co;
	struct waiter *waiter;
	skua_scope *scopes[3];
	skua_timer timer;
	int joins_first; /* it has begun to join one of them */
	int polls;
	int64_t rc;
};

static int64_t open_three(skua_cx *cx, struct leaver *self)
{
	struct sleeper child = sleeper_of(self->waiter);

	for (int i = 0; i < 3; i++) {
		T_EQ(skua_scope_new(cx, NULL, &self->scopes[i]), 0);
		for (int n = 0; n < 10 * i; n++)
			T_EQ(skua_scope_spawn(cx, self->scopes[i], &child.co, NULL), 0);
	}
	return 0;
}

static skua_poll join_once(skua_cx *cx, struct leaver *self)
{
	if (self->joins_first)
		T_EQ(skua_scope_join(cx, &self->scopes[1]), SKUA_PENDING);
	return 0;
}

static skua_poll leaver(skua_cx *cx, struct leaver *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_three(cx, self));
	SKUA_AWAIT(self->rc = join_once(cx, self));
	/* What it has begun besides is taken back as ever. */
	T_EQ(skua_sleep(cx, &self->timer, 3600 * SKUA_SEC), SKUA_PENDING);
	SKUA_END(42);
}
SKUA_CORO(leaver, struct leaver);

T_TEST(scope, an_owner_that_ends_without_joining_takes_its_children_along)
{
	for (int joins = 0; joins < 2; joins++)
		for (int way = 0; way < FOREIGN; way++) {
			skua_runtime *rt = runtime_of(2);
			struct waiter waiter = {0};
			struct leaver state = {.co = SKUA_CORO_INIT(leaver),
					       .waiter = &waiter,
					       .joins_first = joins};

			T_EQ(await_in(way, rt, &state.co), 42);
			T_EQ(waiter.begun, 30);
			T_EQ(waiter.told, 30);
			T_EQ(waiter.ended, 30);
			T_EQ(skua_runtime_free(rt), 0);
		}
}

static skua_poll opens_and_fails(skua_cx *cx, void *argument)
{
	struct sleeper child = sleeper_of(argument);
	skua_scope *scope;

	T_EQ(skua_scope_new(cx, NULL, &scope), 0);
	T_EQ(skua_scope_spawn(cx, scope, &child.co, NULL), 0);
	return -EPROTO;
}

/* Each level ends without joining: the top one ends last. */
T_TEST(scope, an_owner_in_a_scope_that_ends_without_joining)
{
	skua_runtime *rt = runtime_of(2);
	struct waiter waiter = {0};
	struct call child = call_of(opens_and_fails, &waiter);
	struct owner state = owner_of(&child.future, 5);

	T_EQ(skua_block_on(rt, &state.co), -EPROTO);
	T_EQ(waiter.begun, 5);
	T_EQ(waiter.ended, 5);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- The runtime ends ---- */

T_TEST(scope, closing_the_runtime_tells_owners_and_children)
{
	skua_runtime *rt = runtime_of(2);
	struct waiter waiter = {0};
	struct sleeper child = sleeper_of(&waiter);
	struct owner state = owner_of(&child.co, 100);
	skua_task *task = start_future(rt, &state.co);

	WAIT_UNTIL(waiter.begun == 100);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(waiter.ended, 100);
	T_EQ(skua_task_wait(&task), -ECANCELED);
}

/* Does not end, whatever it is told; and owns a block of memory. */
struct stubborn {
	skua_coro co;
	atomic_int *begun, *dropped;
	void *block;
};

static skua_poll stubborn(skua_cx *cx, struct stubborn *self)
{
	(void)skua_cx_interrupt(cx);
	if (self->block == NULL) {
		self->block = malloc(16);
		atomic_fetch_add(self->begun, 1);
	}
	return SKUA_PENDING;
}

static void stubborn_release(struct stubborn *self)
{
	free(self->block);
	atomic_fetch_add(self->dropped, 1);
}
SKUA_CORO_WITH_DROP(stubborn, struct stubborn, stubborn_release);

/* How an owner is found by the end of its runtime. */
enum { JOINING, BUSY, ENDING, SITUATIONS };

struct dropped {
	skua_coro co;
	const skua_scope_options *options;
	const struct stubborn *child;
	int situation, count;
	skua_scope *scope;
	skua_scope_result result;
	int64_t rc;
};

static int64_t open_dropped(skua_cx *cx, struct dropped *self)
{
	struct call seven = call_of(child_seven, NULL);

	T_EQ(skua_scope_new(cx, self->options, &self->scope), 0);
	for (int i = 0; i < self->count; i++)
		T_EQ(skua_scope_spawn(cx, self->scope, &self->child->co, NULL), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &seven.future, NULL), 0);
	return 0;
}

static skua_poll dropped(skua_cx *cx, struct dropped *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_dropped(cx, self));
	if (self->situation == ENDING)
		SKUA_RETURN(0);
	if (self->situation == JOINING)
		SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	/* Left half-way: two waits of the owner's. */
	if (self->options->results != SKUA_RESULTS_NONE)
		while (skua_scope_next(cx, self->scope, &self->result) == 1)
			;
	self->rc = skua_scope_room(cx, self->scope);
	SKUA_AWAIT(SKUA_PENDING);
	SKUA_END(0);
}
SKUA_CORO(dropped, struct dropped);

static void drop_in(int situation, const skua_scope_options *options)
{
	atomic_int begun = 0, gone = 0;
	struct stubborn child = {.co = SKUA_CORO_INIT(stubborn), .begun = &begun, .dropped = &gone};
	struct dropped state = {.co = SKUA_CORO_INIT(dropped), .options = options};
	struct capture capture;
	skua_config config;
	skua_runtime *rt;
	char text[1 << 14];

	capture_start(&capture);
	memory_begin();
	quiet_config(&config, 2, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = 20;
	rt = runtime_with(&config);
	state.situation = situation;
	state.child = &child;
	state.count = 20;
	T_EQ(skua_spawn(rt, &state.co, NULL), 0);
	WAIT_UNTIL(begun == (options->limit > 0 ? (int)options->limit : 20));
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	/* Those who waited for their turn, too. */
	T_EQ(gone, 20);
	memory_end();
	capture_stop(&capture, text, sizeof text);
}

T_TEST(scope, dropped_with_the_runtime_leaves_nothing)
{
	for (int situation = 0; situation < SITUATIONS; situation++)
		for (uint32_t results = 0; results <= SKUA_RESULTS_IN_ORDER; results++)
			for (uint32_t limit = 0; limit < 6; limit += 5) {
				skua_scope_options options = {.struct_size = sizeof options};

				options.results = results;
				options.limit = limit;
				options.deadline = skua_now() + 3600 * SKUA_SEC;
				drop_in(situation, &options);
			}
}

/* Nobody in the runtime owns it: the children are dropped, those who wait as well, and then it is
 * joined. */
T_TEST(scope, a_foreign_owner_joins_after_the_runtime)
{
	skua_scope_options options = {.struct_size = sizeof options, .limit = 5};
	atomic_int begun = 0, gone = 0;
	struct stubborn child = {.co = SKUA_CORO_INIT(stubborn), .begun = &begun, .dropped = &gone};
	struct sk_thread_waker *waker = sk_thread_waker_new();
	struct dropped state = {.options = &options, .child = &child, .count = 20};
	struct capture capture;
	skua_config config;
	skua_runtime *rt;
	char text[4096];
	skua_cx cx;

	capture_start(&capture);
	quiet_config(&config, 2, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = 20;
	rt = runtime_with(&config);
	sk_thread_waker_cx(waker, &cx);
	cx.runtime = rt;
	T_EQ(open_dropped(&cx, &state), 0);
	WAIT_UNTIL(begun == 5);
	T_EQ(skua_scope_join(&cx, &state.scope), SKUA_PENDING);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(gone, 20);
	T_EQ(skua_scope_join(&cx, &state.scope), -ESHUTDOWN);
	sk_thread_waker_free(waker);
	capture_stop(&capture, text, sizeof text);
}

/* ---- No memory ---- */

struct hungry {
	skua_coro co;
	const skua_scope_options *options;
	int fails_at; /* the allocation in this task that fails, from 1 */
	int opened, spawned;
	skua_scope *scope;
	skua_task *handle;
	int64_t rc;
};

static int64_t open_hungry(skua_cx *cx, struct hungry *self)
{
	struct call child = call_of(child_seven, NULL);
	int64_t rc;

	memory_countdown = self->fails_at;
	rc = skua_scope_new(cx, self->options, &self->scope);
	self->opened = rc == 0;
	if (rc == 0) {
		rc = skua_scope_spawn(cx, self->scope, &child.future, &self->handle);
		self->spawned = rc == 0;
	} else {
		T_NULL(self->scope);
	}
	memory_countdown = 0;
	T_ASSERT(rc == 0 || rc == -ENOMEM);
	T_ASSERT((self->handle != NULL) == self->spawned);
	skua_detach(&self->handle);
	return rc;
}

static skua_poll hungry(skua_cx *cx, struct hungry *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = open_hungry(cx, self));
	if (self->opened)
		SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->opened + self->spawned);
}
SKUA_CORO(hungry, struct hungry);

T_TEST(scope, no_memory)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .results = SKUA_RESULTS_AS_THEY_COME};
	int succeeded = 0;

	memory_begin();
	options.deadline = skua_now() + 3600 * SKUA_SEC;
	for (int n = 1; succeeded < 2 && n < 20; n++) {
		/* A new one each time: its timers have no memory yet. */
		skua_runtime *rt = runtime_of(1);
		struct hungry state = {
			.co = SKUA_CORO_INIT(hungry), .options = &options, .fails_at = n};

		succeeded = (int)skua_block_on(rt, &state.co);
		T_EQ(state.rc < 0 ? state.rc : 0, succeeded == 0 ? -ENOMEM : 0);
		T_EQ(skua_runtime_free(rt), 0);
	}
	T_EQ(succeeded, 2);
	memory_end();
}

/* ---- A chain of tasks, each joining the next ---- */

struct chain {
	skua_scope *scope;
	int length;
	uintptr_t lowest, highest; /* addresses of a local of its polls; one worker */
};

struct link {
	skua_coro co;
	struct chain *chain;
	skua_task *next;
	int number;
	int64_t rc;
};

static skua_poll chain_link(skua_cx *cx, struct link *self);
SKUA_CORO(chain_link, struct link);

static int64_t add_link(skua_cx *cx, struct link *self)
{
	struct link next = {.co = SKUA_CORO_INIT(chain_link), .chain = self->chain};
	struct chain *chain = self->chain;

	next.number = self->number + 1;
	if (next.number == chain->length)
		return 0;
	if (chain->scope != NULL)
		return skua_scope_spawn(cx, chain->scope, &next.co, &self->next);
	return skua_spawn(skua_cx_runtime(cx), &next.co, &self->next);
}

static void note_stack(struct chain *chain)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	chain->lowest = here < chain->lowest ? here : chain->lowest;
	chain->highest = here > chain->highest ? here : chain->highest;
}

static skua_poll chain_link(skua_cx *cx, struct link *self)
{
	note_stack(self->chain);
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = add_link(cx, self));
	T_EQ(self->rc, 0);
	if (self->next != NULL)
		SKUA_AWAIT(self->rc = skua_join(cx, &self->next));
	SKUA_END(self->rc + 1);
}

struct chain_owner {
	skua_coro co;
	struct chain *chain;
	struct link first;
	skua_scope *scope;
	int64_t rc;
};

static skua_poll chain_owner(skua_cx *cx, struct chain_owner *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_scope_new(cx, NULL, &self->scope));
	self->chain->scope = self->scope;
	SKUA_AWAIT(self->rc = skua_scope_spawn(cx, self->scope, &self->first.co, NULL));
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(chain_owner, struct chain_owner);

static void check_stack(const struct chain *chain)
{
	T_LT(chain->highest - chain->lowest, 1024 * PATIENCE);
}

T_TEST_T(scope, a_chain_of_a_million_joins_does_not_recurse, 120)
{
	struct chain chain = {.length = rounds(1000000), .lowest = UINTPTR_MAX};
	skua_runtime *rt = runtime_of(1);
	struct link first = {.co = SKUA_CORO_INIT(chain_link), .chain = &chain};

	T_EQ(skua_block_on(rt, &first.co), chain.length);
	check_stack(&chain);
	T_EQ(skua_runtime_free(rt), 0);
}

/* The same with all of them in one scope. */
T_TEST_T(scope, a_chain_of_a_million_children_does_not_recurse, 120)
{
	struct chain chain = {.length = rounds(1000000), .lowest = UINTPTR_MAX};
	skua_runtime *rt = runtime_of(1);
	struct chain_owner state = {.co = SKUA_CORO_INIT(chain_owner), .chain = &chain};

	state.first = (struct link){.co = SKUA_CORO_INIT(chain_link), .chain = &chain};
	T_EQ(skua_block_on(rt, &state.co), 0);
	check_stack(&chain);
	T_EQ(skua_runtime_free(rt), 0);
}
