/*
 * test_compose_block.c - operations composed where they are awaited: SKUA_SELECT and its like, in a
 * coroutine and in a poll function written by hand.
 */
#include <signal.h>
#include <sys/wait.h>

#include "compose_support.h"

/* Awaited in each of the three ways. */
static void each_way(skua_poll (*poll)(skua_cx *cx, void *argument), void *argument, size_t size,
		     void (*check)(void *argument, skua_poll result))
{
	skua_runtime *rt = runtime_of(2);

	for (enum way way = 0; way < WAYS; way++) {
		struct call call;
		void *copy = malloc(size);

		memcpy(copy, argument, size);
		call = call_of(poll, copy);
		check(copy, await_by(way, rt, &call.future));
		free(copy);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- In a coroutine ---- */

struct pair {
	skua_coro co;
	skua_compose compose;
	struct step a, b;
	int64_t a_result, b_result, which;
	int before, after;
};

static skua_poll selects(skua_cx *cx, struct pair *self)
{
	SKUA_BEGIN(self);
	self->before++;
	SKUA_SELECT (self->which, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, self->a_result = skua_poll_future(cx, &self->a.future));
		SKUA_BRANCH(1, self->b_result = skua_poll_future(cx, &self->b.future));
	}
	self->after++;
	SKUA_END(self->which);
}
SKUA_CORO(selects, struct pair);

static skua_poll poll_pair(skua_cx *cx, void *argument)
{
	return skua_poll_future(cx, &((struct pair *)argument)->co);
}

static void check_select(void *argument, skua_poll result)
{
	struct pair *pair = argument;

	T_EQ(result, 1);
	T_EQ(pair->a_result, -ECANCELED);
	T_EQ(pair->b_result, 22);
	T_EQ(pair->a.told, 1);
	T_EQ(pair->before, 1);
	T_EQ(pair->after, 1);
}

T_TEST(block, select_in_a_coroutine)
{
	struct pair pair = {
		.co = SKUA_CORO_INIT(selects), .a = step_of(FOREVER, 11), .b = step_of(2, 22)};

	pair.a.cleanup = 2;
	each_way(poll_pair, &pair, sizeof pair, check_select);
}

/* Every kind, one after another, some in a loop and some under an `if` without braces. */
struct kinds {
	skua_coro co;
	skua_compose compose;
	struct step a, b, c;
	int64_t result, results[3];
	int round;
	bool no;
};

static void prepare(struct kinds *self, int64_t a, int64_t b, int64_t c)
{
	self->a = step_of(1, a);
	self->b = step_of(0, b);
	self->c = step_of(2, c);
}

static skua_poll kinds(skua_cx *cx, struct kinds *self)
{
	SKUA_BEGIN(self);
	for (self->round = 0; self->round < 3; self->round++) {
		prepare(self, 1, 2, 3);
		SKUA_JOIN (self->result, cx, &self->compose, 3) {
			SKUA_BRANCH(0, self->results[0] = skua_poll_future(cx, &self->a.future));
			SKUA_BRANCH(1, self->results[1] = skua_poll_future(cx, &self->b.future));
			SKUA_BRANCH(2, self->results[2] = skua_poll_future(cx, &self->c.future));
		}
		T_EQ(self->result, 0);
		T_EQ(self->results[0] + self->results[1] + self->results[2], 6);
	}
	prepare(self, -EPIPE, 2, 3);
	SKUA_TRY_JOIN (self->result, cx, &self->compose, 3) {
		SKUA_BRANCH(2, self->results[2] = skua_poll_future(cx, &self->c.future));
		SKUA_BRANCH(0, self->results[0] = skua_poll_future(cx, &self->a.future));
		SKUA_BRANCH(1, self->results[1] = skua_poll_future(cx, &self->b.future));
	}
	T_EQ(self->result, -EPIPE);
	T_EQ(self->results[1], 2);
	T_EQ(self->results[2], -ECANCELED);
	if (self->no) {
		SKUA_RACE (self->result, cx, &self->compose, SKUA_FAIR, 1) {
			SKUA_BRANCH(0, skua_poll_future(cx, NULL));
		}
	}
	prepare(self, 1, -EPIPE, 3);
	SKUA_RACE (self->result, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, skua_poll_future(cx, &self->a.future));
		SKUA_BRANCH(1, skua_poll_future(cx, &self->b.future));
	}
	T_EQ(self->result, -EPIPE);
	prepare(self, 1, -EPIPE, 3);
	SKUA_RACE_OK (self->result, cx, &self->compose, SKUA_IN_ORDER, 3) {
		SKUA_BRANCH(0, skua_poll_future(cx, &self->a.future));
		SKUA_BRANCH(1, skua_poll_future(cx, &self->b.future));
		SKUA_BRANCH(2, skua_poll_future(cx, &self->c.future));
	}
	T_EQ(self->result, 1);
	SKUA_END(99);
}
SKUA_CORO(kinds, struct kinds);

static skua_poll poll_kinds(skua_cx *cx, void *argument)
{
	return skua_poll_future(cx, &((struct kinds *)argument)->co);
}

static void check_kinds(void *argument, skua_poll result)
{
	(void)argument;
	T_EQ(result, 99);
}

T_TEST(block, every_kind_in_a_coroutine)
{
	struct kinds state = {.co = SKUA_CORO_INIT(kinds)};

	each_way(poll_kinds, &state, sizeof state, check_kinds);
}

/* ---- In a poll function written by hand ---- */

struct either {
	skua_compose compose;
	struct step a, b;
	int64_t a_result, b_result;
};

static skua_poll either(skua_cx *cx, void *argument)
{
	struct either *self = argument;
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, self->a_result = skua_poll_future(cx, &self->a.future));
		SKUA_BRANCH(1, self->b_result = skua_poll_future(cx, &self->b.future));
	}
	return which;
}

static void check_either(void *argument, skua_poll result)
{
	struct either *state = argument;

	T_EQ(result, 0);
	T_EQ(state->a_result, 5);
	T_EQ(state->b_result, -ECANCELED);
}

T_TEST(block, select_in_a_poll_function)
{
	struct either state = {.a = step_of(3, 5), .b = step_of(FOREVER, 6)};

	each_way(either, &state, sizeof state, check_either);
}

/* ---- Sixty-four ---- */

struct wide {
	skua_compose compose;
	struct step steps[64];
	int64_t results[64];
};

#define ONE(i) SKUA_BRANCH(i, self->results[i] = skua_poll_future(cx, &self->steps[i].future));
#define EIGHT(i) ONE(i) ONE(i + 1) ONE(i + 2) ONE(i + 3) ONE(i + 4) ONE(i + 5) ONE(i + 6) ONE(i + 7)

static skua_poll wide(skua_cx *cx, void *argument)
{
	struct wide *self = argument;
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, &self->compose, SKUA_FAIR, 64) {
		EIGHT(0) EIGHT(8) EIGHT(16) EIGHT(24) EIGHT(32) EIGHT(40) EIGHT(48) EIGHT(56)
	}
	return which;
}

static void check_wide(void *argument, skua_poll result)
{
	struct wide *state = argument;

	T_EQ(result, 63);
	for (int i = 0; i < 64; i++)
		T_EQ(state->results[i], i == 63 ? 163 : -ECANCELED);
}

T_TEST(block, sixty_four_branches)
{
	static struct wide state;

	for (int i = 0; i < 64; i++)
		state.steps[i] = step_of(i == 63 ? 1 : FOREVER, 100 + i);
	each_way(wide, &state, sizeof state, check_wide);
}

/* ---- Real operations: a sleep, a deadline around one of them and around all ---- */

struct timed {
	skua_coro co;
	skua_compose compose;
	skua_timer limit, inner, a, b;
	int64_t a_result, b_result, which;
};

static skua_poll naps(skua_cx *cx, struct timed *self)
{
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, self->a_result = skua_sleep(cx, &self->a, 3600 * SKUA_SEC));
		SKUA_BRANCH(1, self->b_result = skua_sleep(cx, &self->b, 3600 * SKUA_SEC));
	}
	return which;
}

static skua_poll timed(skua_cx *cx, struct timed *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->which = skua_timeout(cx, &self->limit, 2 * SKUA_MSEC, naps(cx, self)));
	T_EQ(self->which, -ETIMEDOUT);
	T_EQ(self->a_result, -ECANCELED);
	T_EQ(self->b_result, -ECANCELED);
	SKUA_SELECT (self->which, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, self->a_result =
				       skua_timeout(cx, &self->inner, SKUA_MSEC,
						    skua_sleep(cx, &self->a, 3600 * SKUA_SEC)));
		SKUA_BRANCH(1, self->b_result = skua_sleep(cx, &self->b, 3600 * SKUA_SEC));
	}
	T_EQ(self->which, 0);
	T_EQ(self->a_result, -ETIMEDOUT);
	T_EQ(self->b_result, -ECANCELED);
	SKUA_END(1);
}
SKUA_CORO(timed, struct timed);

T_TEST(block, deadlines_around_it_and_inside)
{
	skua_runtime *rt = runtime_of(2);

	for (enum way way = 0; way < WAYS; way++) {
		struct timed task = {.co = SKUA_CORO_INIT(timed)};

		T_EQ(await_by(way, rt, &task.co), 1);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Fairness ---- */

struct counts {
	skua_coro co;
	skua_compose compose;
	unsigned order;
	int left, wins;
	int64_t which;
};

static skua_poll ready(int value)
{
	return value;
}

static skua_poll counts(skua_cx *cx, struct counts *self)
{
	SKUA_BEGIN(self);
	for (; self->left > 0; self->left--) {
		SKUA_SELECT (self->which, cx, &self->compose, self->order, 2) {
			SKUA_BRANCH(0, ready(0));
			SKUA_BRANCH(1, ready(0));
		}
		self->wins += self->which == 0;
	}
	SKUA_END(self->wins);
}
SKUA_CORO(counts, struct counts);

T_TEST(block, both_of_two_that_are_always_ready_win)
{
	enum { SELECTS = 10000 };
	skua_runtime *rt = runtime_of(1);

	for (enum way way = 0; way < WAYS; way++) {
		struct counts fair = {.co = SKUA_CORO_INIT(counts), .left = SELECTS};
		struct counts order = {
			.co = SKUA_CORO_INIT(counts), .order = SKUA_IN_ORDER, .left = SELECTS};
		skua_poll wins = await_by(way, rt, &fair.co);

		T_GE(wins, SELECTS * 4 / 10);
		T_LE(wins, SELECTS * 6 / 10);
		T_EQ(await_by(way, rt, &order.co), SELECTS);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

struct shared {
	skua_coro co;
	skua_compose compose;
	int left;
	int64_t first, second, rc;
};

/* Uses up what it is given in each poll, until the other one has ended. */
static skua_poll greedy(skua_cx *cx, struct shared *self)
{
	while (self->left > 0)
		if (!skua_cx_budget(cx))
			return SKUA_PENDING;
	return 1;
}

/* Takes one unit in each poll. */
static skua_poll modest(skua_cx *cx, struct shared *self)
{
	if (!skua_cx_budget(cx) || --self->left > 0)
		return SKUA_PENDING;
	return 2;
}

static skua_poll shared(skua_cx *cx, struct shared *self)
{
	SKUA_BEGIN(self);
	SKUA_JOIN (self->rc, cx, &self->compose, 2) {
		SKUA_BRANCH(0, self->first = greedy(cx, self));
		SKUA_BRANCH(1, self->second = modest(cx, self));
	}
	SKUA_END(self->first * 10 + self->second);
}
SKUA_CORO(shared, struct shared);

T_TEST(block, a_greedy_branch_does_not_starve_the_other)
{
	skua_runtime *rt = runtime_of(1);
	struct shared task = {.co = SKUA_CORO_INIT(shared), .left = 20};

	T_EQ(skua_block_on(rt, &task.co), 12);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Misuse ---- */

/* One storage for two blocks at the same time. */
struct twice {
	skua_compose compose;
	int64_t inner;
	struct step step;
};

static skua_poll within(skua_cx *cx, struct twice *self)
{
	skua_poll which;

	SKUA_POLL_JOIN (which, cx, &self->compose, 1) {
		SKUA_BRANCH(0, ready(0));
	}
	return which;
}

static skua_poll around(skua_cx *cx, void *argument)
{
	struct twice *self = argument;
	skua_poll which;

	SKUA_POLL_JOIN (which, cx, &self->compose, 2) {
		SKUA_BRANCH(0, self->inner = within(cx, self));
		SKUA_BRANCH(1, skua_poll_future(cx, &self->step.future));
	}
	return which;
}

static skua_poll one_after_the_other(skua_cx *cx, void *argument)
{
	struct twice *self = argument;

	if (around(cx, argument) == SKUA_PENDING)
		/* It has not ended, and another one begins. */
		return within(cx, self);
	return 1;
}

T_TEST(block, one_storage_for_two)
{
	skua_runtime *rt = runtime_of(1);
	struct twice state = {.step = step_of(1, 0)}, again = {.step = step_of(FOREVER, 0)};

	T_EQ(run(rt, around, &state), 0);
	T_EQ(state.inner, -EINVAL);
	T_EQ(run(rt, one_after_the_other, &again), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Two of the same kind and count, one beside the other. */
static skua_poll beside(skua_cx *cx, struct twice *self)
{
	skua_poll which;

	SKUA_POLL_JOIN (which, cx, &self->compose, 1) {
		SKUA_BRANCH(0, skua_poll_future(cx, &self->step.future));
	}
	return which;
}

static skua_poll side_by_side(skua_cx *cx, void *argument)
{
	struct twice *self = argument;

	self->inner = beside(cx, self);
	return within(cx, self);
}

T_TEST(block, one_storage_for_two_side_by_side)
{
	skua_runtime *rt = runtime_of(1);
	struct twice state = {.step = step_of(FOREVER, 0)};

	T_EQ(run(rt, side_by_side, &state), -EINVAL);
	T_EQ(state.inner, SKUA_PENDING);
	T_EQ(skua_runtime_free(rt), 0);
}

/* The same in a coroutine: which is refused, and the other one goes on to its end. */
struct siblings {
	skua_coro co;
	skua_compose outer, inner;
	struct step step;
	skua_poll which, first, second, third;
};

static skua_poll sibling(skua_cx *cx, struct siblings *self)
{
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, &self->inner, SKUA_IN_ORDER, 1) {
		SKUA_BRANCH(0, skua_poll_future(cx, &self->step.future));
	}
	return which + 10;
}

static skua_poll other_sibling(skua_cx *cx, struct siblings *self)
{
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, &self->inner, SKUA_IN_ORDER, 1) {
		SKUA_BRANCH(0, ready(0));
	}
	return which + 20;
}

static skua_poll siblings(skua_cx *cx, struct siblings *self)
{
	SKUA_BEGIN(self);
	SKUA_JOIN (self->which, cx, &self->outer, 2) {
		SKUA_BRANCH(0, self->first = sibling(cx, self));
		SKUA_BRANCH(1, self->second = other_sibling(cx, self));
	}
	/* One after the other is fine. */
	SKUA_SELECT (self->third, cx, &self->inner, SKUA_IN_ORDER, 1) {
		SKUA_BRANCH(0, ready(0));
	}
	SKUA_END(self->which);
}
SKUA_CORO(siblings, struct siblings);

T_TEST(block, one_storage_for_two_branches)
{
	skua_runtime *rt = runtime_of(1);
	struct siblings state = {.co = SKUA_CORO_INIT(siblings), .step = step_of(3, 0)};

	T_EQ(skua_block_on(rt, &state.co), 0);
	T_EQ(state.first, 10);
	T_EQ(state.second, 20 - EINVAL);
	T_EQ(state.third, 0);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll bad_order(skua_cx *cx, void *argument)
{
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, (skua_compose *)argument, 2, 2) {
		SKUA_BRANCH(0, ready(0));
		SKUA_BRANCH(1, ready(0));
	}
	return which;
}

static skua_poll too_many(skua_cx *cx, void *argument)
{
	skua_poll which;

	SKUA_POLL_JOIN (which, cx, (skua_compose *)argument, 65) {
		SKUA_BRANCH(0, ready(0));
	}
	return which;
}

T_TEST(block, bad_order_and_too_many)
{
	skua_runtime *rt = runtime_of(1);
	skua_compose compose = {0};

	T_EQ(run(rt, bad_order, &compose), -EINVAL);
	T_EQ(run(rt, too_many, &compose), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll incomplete(skua_cx *cx, void *argument)
{
	skua_poll which;

	SKUA_POLL_JOIN (which, cx, (skua_compose *)argument, 3) {
		SKUA_BRANCH(0, ready(0));
		SKUA_BRANCH(2, ready(0));
	}
	return which;
}

/* In a process of its own, which ends there. */
T_TEST(block, a_missing_branch_ends_the_process)
{
	struct capture capture;
	char text[1000];
	pid_t child;
	int status;

	capture_start(&capture);
	child = fork();
	T_GE(child, 0);
	if (child == 0) {
		skua_compose compose = {0};
		skua_waker none = {NULL, NULL};
		skua_cx cx;

		signal(SIGABRT, SIG_DFL);
		skua_cx_init(&cx, NULL, &none);
		(void)incomplete(&cx, &compose);
		_exit(0);
	}
	T_EQ(waitpid(child, &status, 0), child);
	capture_stop(&capture, text, sizeof text);
	T_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	T_ASSERT_MSG(strstr(text, "SKUA_BRANCH(1, ...)") != NULL, "it says: %s", text);
	T_NOT_NULL(strstr(text, "test_compose_block.c"));
}
