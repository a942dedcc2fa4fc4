/*
 * test_token.c - cancel tokens (skua/cancel.h): the tree, waiting for one in each of the three
 * ways, an operation that one ends, listeners, and who lets go of what.
 */
#include "memory_support.h"

#include "compose_support.h"
#include "sched/token.h"

static skua_token *token_below(skua_token *parent)
{
	skua_token *token = NULL;

	T_EQ(skua_token_new(parent, &token), 0);
	T_NOT_NULL(token);
	T_EQ(skua_token_is_cancelled(token), skua_token_is_cancelled(parent));
	return token;
}

/* ---- The tree ---- */

T_TEST(token, cancels_all_below_and_nothing_else)
{
	skua_token *top, *left, *right, *below, *late;

	memory_begin();
	top = token_below(NULL);
	left = token_below(top);
	right = token_below(top);
	below = token_below(left);
	skua_token_cancel(left);
	T_EQ(skua_token_is_cancelled(left), 1);
	T_EQ(skua_token_is_cancelled(below), 1);
	T_EQ(skua_token_is_cancelled(top), 0);
	T_EQ(skua_token_is_cancelled(right), 0);
	late = token_below(below);
	T_EQ(skua_token_is_cancelled(late), 1);
	skua_token_cancel(left);
	skua_token_cancel(top);
	T_EQ(skua_token_is_cancelled(right), 1);
	skua_token_release(top);
	skua_token_release(below);
	skua_token_release(left);
	skua_token_release(late);
	skua_token_release(right);
	memory_end();
}

T_TEST(token, a_child_keeps_the_tree)
{
	skua_token *top, *middle, *below;

	memory_begin();
	top = token_below(NULL);
	middle = token_below(top);
	below = token_below(middle);
	T_ASSERT(skua_token_hold(top) == top);
	skua_token_release(top);
	skua_token_release(middle);
	skua_token_cancel(top);
	T_EQ(skua_token_is_cancelled(below), 1);
	skua_token_release(top);
	T_EQ(skua_token_is_cancelled(below), 1);
	skua_token_cancel(below);
	skua_token_release(below);
	T_EQ(memory_alive, 0);
	/* And cancelling one whose children have gone. */
	top = token_below(NULL);
	skua_token_release(token_below(top));
	skua_token_cancel(top);
	skua_token_release(top);
	memory_end();
}

enum { MANY = 100000 };

static skua_token *tokens[MANY];

/* A chain of them: neither the cancel nor the last release goes down by recursion. */
T_TEST(token, a_hundred_thousand_one_below_the_other)
{
	memory_begin();
	for (int i = 0; i < MANY; i++)
		tokens[i] = token_below(i == 0 ? NULL : tokens[i - 1]);
	skua_token_cancel(tokens[1]);
	T_EQ(skua_token_is_cancelled(tokens[0]), 0);
	for (int i = 1; i < MANY; i++)
		T_EQ(skua_token_is_cancelled(tokens[i]), 1);
	for (int i = 0; i < MANY; i++)
		skua_token_release(tokens[i]);
	memory_end();
}

/* A tree in which each has seven below it. */
T_TEST(token, a_hundred_thousand_in_a_tree)
{
	memory_begin();
	for (int i = 0; i < MANY; i++)
		tokens[i] = token_below(i == 0 ? NULL : tokens[(i - 1) / 7]);
	skua_token_cancel(tokens[3]);
	skua_token_cancel(tokens[0]);
	for (int i = 0; i < MANY; i++)
		T_EQ(skua_token_is_cancelled(tokens[i]), 1);
	for (int i = MANY - 1; i >= 0; i--)
		skua_token_release(tokens[i]);
	memory_end();
}

T_TEST(token, bad_arguments_and_no_memory)
{
	skua_token *top, *token = NULL;

	T_EQ(skua_token_new(NULL, NULL), -EINVAL);
	skua_token_cancel(NULL);
	skua_token_release(NULL);
	T_EQ(skua_token_is_cancelled(NULL), 0);
	memory_begin();
	memory_countdown = 1;
	T_EQ(skua_token_new(NULL, &token), -ENOMEM);
	T_NULL(token);
	top = token_below(NULL);
	memory_countdown = 1;
	T_EQ(skua_token_new(top, &token), -ENOMEM);
	T_NULL(token);
	skua_token_release(top);
	memory_end();
}

/* ---- Waiting ---- */

struct waits {
	skua_coro co;
	skua_token_waiter waiter;
	skua_timer timer;
	skua_token *token;
	atomic_int *polls;
	int64_t rc;
};

static skua_poll wait_counted(skua_cx *cx, struct waits *self)
{
	skua_poll result = skua_token_wait(cx, &self->waiter, self->token);

	atomic_fetch_add(self->polls, 1);
	return result;
}

static skua_poll waits(skua_cx *cx, struct waits *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = wait_counted(cx, self));
	SKUA_END(self->rc);
}
SKUA_CORO(waits, struct waits);

struct canceller {
	skua_token *token;
	atomic_int polls;
	pthread_t thread;
};

static void *cancel_when_polled(void *argument)
{
	struct canceller *self = argument;

	WAIT_UNTIL(self->polls > 0);
	skua_token_cancel(self->token);
	return NULL;
}

static void start_canceller(struct canceller *self, skua_token *token)
{
	self->token = token;
	atomic_init(&self->polls, 0);
	T_EQ(pthread_create(&self->thread, NULL, cancel_when_polled, self), 0);
}

static void wait_for_one(skua_runtime *rt, enum way way)
{
	skua_token *top = token_below(NULL), *token = token_below(top);
	struct waits task = {.co = SKUA_CORO_INIT(waits), .token = token};
	struct canceller canceller;

	task.polls = &canceller.polls;
	start_canceller(&canceller, top);
	T_EQ(await_by(way, rt, &task.co), 0);
	T_EQ(pthread_join(canceller.thread, NULL), 0);
	/* It is ready at once the second time. */
	task = (struct waits){
		.co = SKUA_CORO_INIT(waits), .token = token, .polls = &canceller.polls};
	canceller.polls = 0;
	T_EQ(await_by(way, rt, &task.co), 0);
	T_EQ(canceller.polls, 1);
	skua_token_release(token);
	skua_token_release(top);
}

T_TEST(token, wait_in_each_of_the_three_ways)
{
	skua_runtime *rt;

	memory_begin();
	rt = runtime_of(2);
	for (enum way way = 0; way < WAYS; way++)
		wait_for_one(rt, way);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* More of them than one batch holds, for one token and for one below it. */
T_TEST(token, wakes_all_who_wait)
{
	enum { TASKS = 300 };
	static skua_task *tasks[TASKS];
	skua_runtime *rt = runtime_of(2);
	skua_token *top = token_below(NULL), *token = token_below(top);
	atomic_int polls = 0;

	for (int i = 0; i < TASKS; i++) {
		struct waits task = {.co = SKUA_CORO_INIT(waits),
				     .token = i % 2 == 0 ? top : token,
				     .polls = &polls};

		tasks[i] = start_future(rt, &task.co);
	}
	WAIT_UNTIL(polls == TASKS);
	skua_token_cancel(top);
	for (int i = 0; i < TASKS; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(polls, 2 * TASKS);
	skua_token_release(token);
	skua_token_release(top);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A wait keeps its token, and the end of the task, or a cancellation, ends the wait. */
T_TEST(token, a_wait_that_is_cancelled_lets_the_token_go)
{
	skua_runtime *rt;
	atomic_int polls = 0;
	skua_token *token;
	skua_task *handle;
	struct waits task = {.co = SKUA_CORO_INIT(waits), .polls = &polls};

	memory_begin();
	rt = runtime_of(1);
	task.token = token = token_below(NULL);
	handle = start_future(rt, &task.co);
	WAIT_UNTIL(polls == 1);
	skua_token_release(token);
	T_EQ(skua_cancel(handle), 0);
	T_EQ(skua_task_wait(&handle), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

static skua_poll forgets(skua_cx *cx, void *argument)
{
	struct waits *self = argument;

	T_EQ(skua_token_wait(cx, &self->waiter, self->token), SKUA_PENDING);
	return 3;
}

T_TEST(token, a_wait_that_is_forgotten_lets_the_token_go)
{
	skua_runtime *rt;
	skua_token *token;
	struct waits state = {.rc = 0};
	skua_waker none = {NULL, NULL};
	struct executor executor;
	skua_cx cx;

	memory_begin();
	rt = runtime_of(1);
	state.token = token = token_below(NULL);
	T_EQ(run(rt, forgets, &state), 3);
	/* Under a foreign executor it is told so. */
	executor_init(&executor);
	none = executor_waker(&executor);
	skua_cx_init(&cx, rt, &none);
	T_EQ(forgets(&cx, &state), 3);
	skua_token_forget(&state.waiter);
	skua_token_forget(&state.waiter);
	executor_check(&executor);
	skua_token_cancel(token);
	T_EQ(executor.wakes, 0);
	skua_token_release(token);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* ---- An operation that a token ends ---- */

struct stops {
	skua_coro co;
	skua_token_waiter waiter, outer_waiter;
	skua_timer timer, sleep;
	skua_token *token, *outer;
	atomic_int *polls;
	uint64_t limit;
	int64_t inside, rc;
};

static skua_poll nap(skua_cx *cx, struct stops *self)
{
	skua_poll result = skua_sleep(cx, &self->sleep, 3600 * SKUA_SEC);

	atomic_fetch_add(self->polls, 1);
	return result;
}

static skua_poll stops(skua_cx *cx, struct stops *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(
		self->rc = skua_with_token(
			cx, &self->outer_waiter, self->outer,
			self->inside = skua_timeout(
				cx, &self->timer, self->limit,
				skua_with_token(cx, &self->waiter, self->token, nap(cx, self)))));
	/* The next await is told of nothing. */
	SKUA_AWAIT(self->inside = skua_sleep(cx, &self->sleep, SKUA_USEC));
	SKUA_END(self->inside == 0 ? self->rc : 1);
}
SKUA_CORO(stops, struct stops);

static struct stops stops_with(skua_token *outer, skua_token *token, atomic_int *polls)
{
	return (struct stops){.co = SKUA_CORO_INIT(stops),
			      .outer = outer,
			      .token = token,
			      .polls = polls,
			      .limit = 3600 * SKUA_SEC};
}

static void stop_one(skua_runtime *rt, enum way way, int which)
{
	skua_token *outer = token_below(NULL), *token = token_below(NULL);
	struct canceller canceller;
	struct stops task = stops_with(outer, token, &canceller.polls);

	start_canceller(&canceller, which == 0 ? outer : token);
	T_EQ(await_by(way, rt, &task.co), -EINTR);
	T_EQ(pthread_join(canceller.thread, NULL), 0);
	/* Cancelled before: the operation is told at its first await. */
	canceller.polls = 0;
	task = stops_with(outer, token, &canceller.polls);
	T_EQ(await_by(way, rt, &task.co), -EINTR);
	T_EQ(canceller.polls, 1);
	skua_token_release(token);
	skua_token_release(outer);
}

T_TEST(token, ends_an_operation)
{
	skua_runtime *rt;

	memory_begin();
	rt = runtime_of(2);
	for (enum way way = 0; way < WAYS; way++) {
		stop_one(rt, way, 0);
		stop_one(rt, way, 1);
	}
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* A deadline and the cancellation of the task keep their own errors. */
T_TEST(token, what_else_ends_the_operation_is_told_apart)
{
	skua_runtime *rt = runtime_of(2);
	skua_token *token = token_below(NULL);
	atomic_int polls = 0;
	struct stops task = stops_with(NULL, token, &polls);
	skua_task *handle;

	task.limit = SKUA_MSEC;
	T_EQ(skua_block_on(rt, &task.co), -ETIMEDOUT);
	task = stops_with(NULL, token, &polls);
	polls = 0;
	handle = start_future(rt, &task.co);
	WAIT_UNTIL(polls == 1);
	T_EQ(skua_cancel(handle), 0);
	T_EQ(skua_task_wait(&handle), -ECANCELED);
	skua_token_release(token);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Cancelled after the operation has asked, and before the wait begins: nobody else wakes the task.
 * */
static skua_poll cancels_and_parks(skua_cx *cx, struct stops *self)
{
	skua_poll result = parked(cx, NULL);

	skua_token_cancel(self->token);
	return result;
}

static skua_poll cancelled_in_its_poll(skua_cx *cx, void *argument)
{
	struct stops *self = argument;

	return skua_with_token(cx, &self->waiter, self->token, cancels_and_parks(cx, self));
}

T_TEST(token, cancelled_by_the_operation_itself)
{
	skua_runtime *rt = runtime_of(1);
	skua_token *token = token_below(NULL);
	struct stops state = {.token = token};
	struct call call = call_of(cancelled_in_its_poll, &state);

	T_EQ(skua_block_on(rt, &call.future), -EINTR);
	skua_token_release(token);
	state.token = token_below(NULL);
	T_EQ(await_by_hand(NULL, &call.future), -EINTR);
	skua_token_release(state.token);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll in_itself(skua_cx *cx, void *argument)
{
	struct stops *self = argument;

	return skua_with_token(cx, &self->waiter, self->token,
			       skua_with_token(cx, &self->waiter, self->token, parked(cx, NULL)));
}

static skua_poll wait_in_itself(skua_cx *cx, void *argument)
{
	struct stops *self = argument;

	return skua_with_token(cx, &self->waiter, self->token,
			       skua_token_wait(cx, &self->waiter, self->token));
}

static skua_poll wait_for_none(skua_cx *cx, void *argument)
{
	return skua_token_wait(cx, &((struct stops *)argument)->waiter, NULL);
}

T_TEST(token, one_waiter_for_two)
{
	skua_runtime *rt = runtime_of(1);
	skua_token *token = token_below(NULL);
	struct stops state = {.token = token};

	T_EQ(run(rt, in_itself, &state), -EINVAL);
	T_EQ(run(rt, wait_in_itself, &state), -EINVAL);
	T_EQ(run(rt, wait_for_none, &state), -EINVAL);
	skua_token_release(token);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Under a shield it waits, as all else does. */
static skua_poll shielded(skua_cx *cx, void *argument)
{
	struct stops *self = argument;

	return skua_with_token(cx, &self->waiter, self->token,
			       skua_shield(cx, skua_sleep(cx, &self->sleep, SKUA_MSEC)));
}

T_TEST(token, waits_until_a_shield_is_over)
{
	skua_runtime *rt = runtime_of(1);
	skua_token *token = token_below(NULL);
	struct stops state = {.token = token};

	skua_token_cancel(token);
	T_EQ(run(rt, shielded, &state), 0);
	skua_token_release(token);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A select of two waits: the loser lets its token go. */
struct choice {
	skua_compose compose;
	skua_token_waiter waiters[2];
	skua_token *tokens[2];
};

static skua_poll either(skua_cx *cx, void *argument)
{
	struct choice *self = argument;
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, skua_token_wait(cx, &self->waiters[0], self->tokens[0]));
		SKUA_BRANCH(1, skua_token_wait(cx, &self->waiters[1], self->tokens[1]));
	}
	return which;
}

T_TEST(token, the_loser_of_a_select)
{
	struct choice state = {0};
	skua_runtime *rt;
	skua_task *task;

	memory_begin();
	rt = runtime_of(2);
	for (int i = 0; i < 2; i++)
		state.tokens[i] = token_below(NULL);
	task = start(rt, either, &state);
	sleep_ms(1);
	skua_token_cancel(state.tokens[1]);
	T_EQ(skua_task_wait(&task), 1);
	for (int i = 0; i < 2; i++)
		skua_token_release(state.tokens[i]);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* ---- Listeners ---- */

struct heard {
	struct sk_token_listener listener;
	int taken, cancelled;
};

static sk_waiter heard_take(struct sk_token_listener *listener)
{
	((struct heard *)(void *)listener)->taken++;
	return SK_NO_WAITER;
}

/* Called without a lock: it may listen, cancel and make tokens. */
static void heard_cancelled(struct sk_token_listener *listener)
{
	skua_token *token = listener->token;

	((struct heard *)(void *)listener)->cancelled++;
	skua_token_cancel(token);
	skua_token_release(token_below(token));
}

static const struct sk_token_listener_ops heard_ops = {heard_take, heard_cancelled};

T_TEST(token, listeners_are_called_once)
{
	struct heard heard[3] = {{.taken = 0}};
	skua_token *top, *token;

	memory_begin();
	top = token_below(NULL);
	token = token_below(top);
	for (int i = 0; i < 3; i++)
		T_ASSERT(sk_token_listen(i == 0 ? top : token, &heard[i].listener, &heard_ops));
	T_ASSERT(sk_token_unlisten(&heard[1].listener));
	T_ASSERT(!sk_token_unlisten(&heard[1].listener));
	skua_token_cancel(top);
	for (int i = 0; i < 3; i++) {
		T_EQ(heard[i].taken, i != 1);
		T_EQ(heard[i].cancelled, i != 1);
	}
	T_ASSERT(!sk_token_listen(token, &heard[1].listener, &heard_ops));
	T_ASSERT(!sk_token_unlisten(&heard[0].listener));
	T_ASSERT(!sk_token_unlisten(&heard[2].listener));
	skua_token_release(token);
	skua_token_release(top);
	memory_end();
}

/* ---- Threads ---- */

static skua_token *shared;
static atomic_int stop;

struct ear {
	struct sk_token_listener listener;
	atomic_int taken, done;
};

static sk_waiter ear_take(struct sk_token_listener *listener)
{
	atomic_fetch_add(&((struct ear *)(void *)listener)->taken, 1);
	return SK_NO_WAITER;
}

static void ear_cancelled(struct sk_token_listener *listener)
{
	atomic_store(&((struct ear *)(void *)listener)->done, 1);
}

static const struct sk_token_listener_ops ear_ops = {ear_take, ear_cancelled};

static void *make_and_release(void *unused)
{
	(void)unused;
	while (!atomic_load(&stop)) {
		skua_token *child = NULL, *grandchild = NULL;
		struct ear ear = {.taken = 0};

		T_EQ(skua_token_new(shared, &child), 0);
		T_EQ(skua_token_new(child, &grandchild), 0);
		if (sk_token_listen(grandchild, &ear.listener, &ear_ops) &&
		    !sk_token_unlisten(&ear.listener))
			WAIT_UNTIL(ear.done);
		T_EQ(ear.taken, ear.done);
		skua_token_release(child);
		skua_token_cancel(grandchild);
		T_EQ(skua_token_is_cancelled(grandchild), 1);
		skua_token_release(grandchild);
	}
	return NULL;
}

static skua_poll wait_shared(skua_cx *cx, void *waiter)
{
	return skua_token_wait(cx, waiter, shared);
}

T_TEST(token, stress_of_threads_that_make_cancel_and_release)
{
	skua_runtime *rt;
	skua_token_waiter waiter = {{0}};
	pthread_t threads[2];

	memory_begin();
	rt = runtime_of(2);
	for (int round = 0; round < rounds(100); round++) {
		skua_task *task;

		shared = token_below(NULL);
		stop = 0;
		for (int i = 0; i < 2; i++)
			T_EQ(pthread_create(&threads[i], NULL, make_and_release, NULL), 0);
		task = start(rt, wait_shared, &waiter);
		if (round % 2 == 0)
			sleep_ms(1);
		skua_token_cancel(shared);
		T_EQ(skua_task_wait(&task), 0);
		stop = 1;
		for (int i = 0; i < 2; i++)
			T_EQ(pthread_join(threads[i], NULL), 0);
		skua_token_release(shared);
	}
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}
