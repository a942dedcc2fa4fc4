/* scenarios_of_compositions.c - join, try_join, select, race and race_ok, as blocks and as groups;
 * in each other, in timeouts, with scopes and shields inside. */
#include "tests/cancel/cancel.h"

enum { BRANCHES = 70, FEW = 3 };

struct composed {
	SUBJECT;
	skua_compose compose, inner;
	skua_timer timers[4];
	int64_t result;
	struct sleeper sleepers[5];
	skua_branch branches[5], outer[2];
	skua_group groups[3];
	skua_token_waiter waiter;
	skua_scope *scope;
	int turn;
};

/* ---- Blocks of sleeps ---- */

static skua_poll nap(skua_cx *cx, struct composed *self, int number)
{
	return skua_sleep(cx, &self->timers[number], (uint64_t)(number + 1) * CANCEL_HOUR);
}

static skua_poll join_block(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	SKUA_JOIN (self->rc, cx, &self->compose, 3) {
		SKUA_BRANCH(0, nap(cx, self, 0));
		SKUA_BRANCH(1, nap(cx, self, 1));
		SKUA_BRANCH(2, nap(cx, self, 2));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(join_block, struct composed);

static skua_poll select_block(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 2; self->turn++) {
		SKUA_SELECT (self->rc, cx, &self->compose, SKUA_FAIR, 3) {
			SKUA_BRANCH(0, nap(cx, self, 2));
			SKUA_BRANCH(1, nap(cx, self, 0));
			SKUA_BRANCH(2, nap(cx, self, 1));
		}
		if (self->rc < 0)
			break;
	}
	SKUA_END(self->rc);
}
SKUA_CORO(select_block, struct composed);

/* A sleep that fails at its end. */
static skua_poll failing_nap(skua_cx *cx, struct composed *self, int number)
{
	skua_poll result = nap(cx, self, number);

	return result == 0 ? -EPIPE : result;
}

static skua_poll try_join_block(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	SKUA_TRY_JOIN (self->rc, cx, &self->compose, 3) {
		SKUA_BRANCH(0, nap(cx, self, 0));
		SKUA_BRANCH(1, failing_nap(cx, self, 1));
		SKUA_BRANCH(2, nap(cx, self, 2));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(try_join_block, struct composed);

static skua_poll race_ok_block(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	SKUA_RACE_OK (self->rc, cx, &self->compose, SKUA_FAIR, 3) {
		SKUA_BRANCH(0, failing_nap(cx, self, 0));
		SKUA_BRANCH(1, nap(cx, self, 1));
		SKUA_BRANCH(2, nap(cx, self, 2));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(race_ok_block, struct composed);

/* A branch that cannot be told at once. */
static skua_poll inner_join(skua_cx *cx, struct composed *self)
{
	skua_poll result;

	SKUA_POLL_JOIN (result, cx, &self->inner, 2) {
		SKUA_BRANCH(0, skua_shield(cx, nap(cx, self, 1)));
		SKUA_BRANCH(1, nap(cx, self, 2));
	}
	return result;
}

static skua_poll block_with_shield(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	SKUA_RACE (self->rc, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, inner_join(cx, self));
		SKUA_BRANCH(1, nap(cx, self, 0));
	}
	STEP(skua_sleep(cx, &self->timers[0], CANCEL_HOUR));
	SKUA_END(self->rc);
}
SKUA_CORO(block_with_shield, struct composed);

static skua_poll timeout_of_block(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	SKUA_SELECT (self->rc, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0,
			    self->result = skua_timeout(cx, &self->timers[3], 3 * CANCEL_HOUR / 2,
							inner_join(cx, self)));
		SKUA_BRANCH(1, skua_sleep(cx, &self->timers[0], 9 * CANCEL_HOUR));
	}
	if (self->rc == 0)
		trial_expect(self->trial, "a join in a timeout", self->result, -ETIMEDOUT);
	SKUA_END(self->rc);
}
SKUA_CORO(timeout_of_block, struct composed);

/* ---- Groups of coroutines that clean up ---- */

static void have_sleepers(struct composed *self)
{
	for (int i = 0; i < 5; i++) {
		self->sleepers[i] = sleeper_of(self->trial, i + 1, 10 + i);
		self->branches[i].future = &self->sleepers[i].co;
	}
}

static void made(struct composed *self, int rc)
{
	trial_expect(self->trial, "making a group", rc, 0);
}

static skua_poll join_group(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	have_sleepers(self);
	made(self, skua_group_join(&self->groups[0], self->branches, FEW));
	STEP(skua_poll_future(cx, &self->groups[0].future));
	SKUA_END(self->rc);
}
SKUA_CORO(join_group, struct composed);

static skua_poll try_join_group(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	have_sleepers(self);
	self->sleepers[1].value = -EPIPE;
	made(self, skua_group_try_join(&self->groups[0], self->branches, FEW));
	STEP(skua_poll_future(cx, &self->groups[0].future));
	SKUA_END(self->rc);
}
SKUA_CORO(try_join_group, struct composed);

static skua_poll select_group(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	have_sleepers(self);
	self->sleepers[0].hours = 7;
	made(self, skua_group_select(&self->groups[0], self->branches, FEW, SKUA_FAIR));
	STEP(skua_poll_future(cx, &self->groups[0].future));
	SKUA_END(self->rc);
}
SKUA_CORO(select_group, struct composed);

static skua_poll race_group(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	have_sleepers(self);
	made(self, skua_group_race(&self->groups[0], self->branches, FEW, SKUA_FAIR));
	STEP(skua_poll_future(cx, &self->groups[0].future));
	SKUA_END(self->rc);
}
SKUA_CORO(race_group, struct composed);

static skua_poll race_ok_group(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	have_sleepers(self);
	self->sleepers[0].value = self->sleepers[1].value = -EPIPE;
	made(self, skua_group_race_ok(&self->groups[0], self->branches, FEW, SKUA_FAIR));
	STEP(skua_poll_future(cx, &self->groups[0].future));
	SKUA_END(self->rc);
}
SKUA_CORO(race_ok_group, struct composed);

/* A race of a try_join and a select. */
static skua_poll groups_nested(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	have_sleepers(self);
	self->sleepers[1].hours = 6;
	self->outer[0].future = &self->groups[0].future;
	self->outer[1].future = &self->groups[1].future;
	made(self, skua_group_try_join(&self->groups[0], self->branches, 2));
	made(self, skua_group_select(&self->groups[1], self->branches + 2, 3, SKUA_FAIR));
	made(self, skua_group_race(&self->groups[2], self->outer, 2, SKUA_FAIR));
	STEP(skua_poll_future(cx, &self->groups[2].future));
	SKUA_END(self->rc);
}
SKUA_CORO(groups_nested, struct composed);

/* The loser cleans up for long. */
struct slow {
	skua_coro co;
	skua_timer timer;
	int64_t rc;
};

static skua_poll slow(skua_cx *cx, struct slow *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 9 * CANCEL_HOUR));
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 9 * CANCEL_HOUR));
	SKUA_END(self->rc);
}
SKUA_CORO(slow, struct slow);

struct slow_loser {
	SUBJECT;
	skua_compose compose;
	skua_timer timer;
	struct slow slow;
};

/* If the end was asked for meanwhile, the loser was told of it, and the result was kept. */
static void ended_at_once(skua_cx *cx, struct trial *trial)
{
	uint64_t now = skua_clock_now(skua_cx_runtime(cx));

	if (trial->requested && !trial->way->races && trial->way->around != SHIELD_AROUND &&
	    now > trial->requested_at + 1)
		trial_fail(trial, "a loser was not told");
}

static skua_poll slow_loser(skua_cx *cx, struct slow_loser *self)
{
	SKUA_BEGIN(self);
	self->slow = (struct slow){.co = SKUA_CORO_INIT(slow)};
	SKUA_SELECT (self->rc, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, skua_poll_future(cx, &self->slow.co));
		SKUA_BRANCH(1, skua_sleep(cx, &self->timer, CANCEL_HOUR));
	}
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	ended_at_once(cx, self->trial);
	STEP_OR_END(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	SKUA_END(self->rc);
}
SKUA_CORO(slow_loser, struct slow_loser);

/* More than a word of branches. */
struct crowd {
	SUBJECT;
	struct sleeper sleepers[BRANCHES];
	skua_branch branches[BRANCHES];
	skua_group group;
};

static skua_poll crowd(skua_cx *cx, struct crowd *self)
{
	SKUA_BEGIN(self);
	for (int i = 0; i < BRANCHES; i++) {
		self->sleepers[i] = sleeper_of(self->trial, 1 + i % 3, i);
		self->branches[i].future = &self->sleepers[i].co;
	}
	self->rc = skua_group_join(&self->group, self->branches, BRANCHES);
	STEP(skua_poll_future(cx, &self->group.future));
	SKUA_END(self->rc);
}
SKUA_CORO(crowd, struct crowd);

/* ---- With other things inside ---- */

static void open_scope(skua_cx *cx, struct composed *self)
{
	struct sleeper child = sleeper_of(self->trial, 2, 0);

	trial_expect(self->trial, "skua_scope_new", skua_scope_new(cx, NULL, &self->scope), 0);
	trial_expect(self->trial, "skua_scope_spawn",
		     skua_scope_spawn(cx, self->scope, &child.co, NULL), 0);
}

/* The join of a scope loses. */
static skua_poll select_scope(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	open_scope(cx, self);
	SKUA_SELECT (self->rc, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, skua_scope_join(cx, &self->scope));
		SKUA_BRANCH(1, nap(cx, self, 0));
	}
	trial_expect(self->trial, "a scope is left", self->scope != NULL, 0);
	SKUA_END(self->rc);
}
SKUA_CORO(select_scope, struct composed);

/* A wait for a token wins, or loses if there is no nudge. */
static skua_poll select_token(skua_cx *cx, struct composed *self)
{
	SKUA_BEGIN(self);
	SKUA_SELECT (self->rc, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, skua_token_wait(cx, &self->waiter, self->trial->tokens[0]));
		SKUA_BRANCH(1, nap(cx, self, 0));
	}
	SKUA_END(self->rc < 0 ? self->rc : 0);
}
SKUA_CORO(select_token, struct composed);

static void make_token(struct trial *trial)
{
	trial_expect(trial, "skua_token_new", skua_token_new(NULL, &trial->tokens[0]), 0);
}

static void cancel_token(struct trial *trial)
{
	skua_token_cancel(trial->tokens[0]);
}

static void release_token(struct trial *trial)
{
	skua_token_release(trial->tokens[0]);
}

/* Two tasks are joined; the handle of the one that loses is kept. */
struct raced {
	SUBJECT;
	skua_compose compose;
	skua_task *tasks[2];
	int number;
	int64_t first;
};

static void begin_tasks(skua_cx *cx, struct raced *self)
{
	for (int i = 0; i < 2; i++) {
		struct sleeper sleeper = sleeper_of(self->trial, 2 - i, i);

		trial_expect(self->trial, "skua_spawn",
			     skua_spawn(skua_cx_runtime(cx), &sleeper.co, &self->tasks[i]), 0);
	}
}

static skua_poll select_joins(skua_cx *cx, struct raced *self)
{
	SKUA_BEGIN(self);
	begin_tasks(cx, self);
	SKUA_SELECT (self->rc, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, skua_join(cx, &self->tasks[0]));
		SKUA_BRANCH(1, skua_join(cx, &self->tasks[1]));
	}
	self->first = self->rc;
	for (self->number = 0; self->number < 2; self->number++) {
		if (self->tasks[self->number] == NULL)
			continue;
		skua_cancel(self->tasks[self->number]);
		STEP(skua_shield(cx, skua_join(cx, &self->tasks[self->number])));
	}
	SKUA_END(self->first);
}
SKUA_CORO(select_joins, struct raced);

#define COMPOSED(subject, value, has_flags)                                                        \
	{                                                                                          \
		.name = #subject, .ops = &subject##_ops, .result = (value), .flags = (has_flags),  \
		.after = sleepers_have_ended                                                       \
	}

const struct scenario scenarios_of_compositions[] = {
	COMPOSED(join_block, 0, 0),
	COMPOSED(select_block, 1, 0),
	COMPOSED(try_join_block, -EPIPE, 0),
	COMPOSED(race_ok_block, 0, 0),
	COMPOSED(block_with_shield, 0, TAKES_TIME),
	COMPOSED(timeout_of_block, 0, TAKES_TIME),
	COMPOSED(join_group, 0, 0),
	COMPOSED(try_join_group, -EPIPE, 0),
	COMPOSED(select_group, 1, 0),
	COMPOSED(race_group, 10, 0),
	COMPOSED(race_ok_group, 12, 0),
	COMPOSED(groups_nested, 0, 0),
	COMPOSED(slow_loser, 0, TAKES_TIME),
	COMPOSED(crowd, 0, 0),
	COMPOSED(select_scope, 1, 0),
	COMPOSED(select_joins, 1, 0),
	{.name = "select_token",
	 .ops = &select_token_ops,
	 .begin = make_token,
	 .nudge = cancel_token,
	 .after = release_token},
	{.name = NULL},
};
