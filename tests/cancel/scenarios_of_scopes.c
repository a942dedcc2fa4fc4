/* scenarios_of_scopes.c - scopes: joining, results, limits, deadlines, errors, scopes in scopes. */
#include "tests/cancel/cancel.h"

struct scoped {
	SUBJECT;
	skua_scope *scope;
	skua_scope_result next;
	skua_timer timer;
	int64_t first; /* the result that counts */
	int number;
};

/* Opens a scope with `count` children that sleep for one hour, two hours, and so on. */
static void open_with(skua_cx *cx, struct scoped *self, skua_scope_options *options, int count)
{
	int64_t rc;

	if (options != NULL)
		options->struct_size = sizeof *options;
	rc = skua_scope_new(cx, options, &self->scope);
	for (int i = 0; i < count && rc == 0; i++) {
		struct sleeper child = sleeper_of(self->trial, i + 1, i + 1);

		rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
	}
	trial_expect(self->trial, "a scope with children", rc, 0);
}

/* ---- Joining ---- */

static skua_poll scope_join(skua_cx *cx, struct scoped *self)
{
	SKUA_BEGIN(self);
	open_with(cx, self, NULL, 3);
	STEP(skua_scope_join(cx, &self->scope));
	trial_expect(self->trial, "a scope is left", self->scope != NULL, 0);
	SKUA_END(self->rc);
}
SKUA_CORO(scope_join, struct scoped);

static skua_poll scope_timeout(skua_cx *cx, struct scoped *self)
{
	SKUA_BEGIN(self);
	open_with(cx, self, NULL, 3);
	STEP(skua_timeout(cx, &self->timer, 3 * CANCEL_HOUR / 2,
			  skua_scope_join(cx, &self->scope)));
	trial_expect(self->trial, "a scope is left", self->scope != NULL, 0);
	SKUA_END(self->rc);
}
SKUA_CORO(scope_timeout, struct scoped);

static skua_poll scope_cancelled(skua_cx *cx, struct scoped *self)
{
	SKUA_BEGIN(self);
	open_with(cx, self, NULL, 3);
	STEP(skua_sleep(cx, &self->timer, 3 * CANCEL_HOUR / 2));
	skua_scope_cancel(self->scope);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(scope_cancelled, struct scoped);

/* The children are cancelled with their owner, also if it awaits something else. */
static skua_poll owner_sleeps(skua_cx *cx, struct scoped *self)
{
	const struct way *way = self->trial->way;
	bool before = self->trial->target > 0 && !way->races && !way->at_shutdown;

	SKUA_BEGIN(self);
	open_with(cx, self, NULL, 3);
	STEP(skua_sleep(cx, &self->timer, CANCEL_HOUR / 2));
	self->first = self->rc;
	/* Unless it was opened after the request, in the same poll. */
	if (self->rc < 0 && skua_cx_cancelled(cx) && before)
		trial_expect(self->trial, "its scope is cancelled",
			     skua_scope_cancelled(self->scope), 1);
	if (self->rc < 0)
		skua_scope_cancel(self->scope);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->first < 0 ? self->first : self->rc);
}
SKUA_CORO(owner_sleeps, struct scoped);

/* ---- Results ---- */

static skua_poll take_results(skua_cx *cx, struct scoped *self, uint32_t order)
{
	skua_scope_options options = {.results = order};

	SKUA_BEGIN(self);
	open_with(cx, self, &options, 4);
	do {
		STEP(skua_scope_next(cx, self->scope, &self->next));
		self->number += self->rc == 1;
	} while (self->rc == 1);
	self->first = self->rc < 0 ? self->rc : self->number;
	if (self->rc < 0)
		skua_scope_cancel(self->scope);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc < 0 ? self->rc : self->first);
}

static skua_poll next_as_they_come(skua_cx *cx, struct scoped *self)
{
	return take_results(cx, self, SKUA_RESULTS_AS_THEY_COME);
}
SKUA_CORO(next_as_they_come, struct scoped);

static skua_poll next_in_order(skua_cx *cx, struct scoped *self)
{
	return take_results(cx, self, SKUA_RESULTS_IN_ORDER);
}
SKUA_CORO(next_in_order, struct scoped);

/* Results that nobody takes. */
static skua_poll results_left(skua_cx *cx, struct scoped *self)
{
	skua_scope_options options = {.results = SKUA_RESULTS_AS_THEY_COME};

	SKUA_BEGIN(self);
	open_with(cx, self, &options, 3);
	STEP(skua_scope_next(cx, self->scope, &self->next));
	if (self->rc < 0)
		skua_scope_cancel(self->scope);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(results_left, struct scoped);

/* ---- Limits ---- */

static skua_poll scope_limit(skua_cx *cx, struct scoped *self)
{
	skua_scope_options options = {.limit = 2};

	SKUA_BEGIN(self);
	open_with(cx, self, &options, 6);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(scope_limit, struct scoped);

static skua_poll scope_room(skua_cx *cx, struct scoped *self)
{
	skua_scope_options options = {.limit = 1};
	struct sleeper child = sleeper_of(self->trial, 1, 0);

	SKUA_BEGIN(self);
	open_with(cx, self, &options, 0);
	for (self->number = 0; self->number < 3; self->number++) {
		STEP(skua_scope_room(cx, self->scope));
		self->first = self->rc;
		if (self->rc == 0)
			self->first = skua_scope_spawn(cx, self->scope, &child.co, NULL);
		if (self->first < 0)
			break;
	}
	if (self->first < 0)
		skua_scope_cancel(self->scope);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->first < 0 ? self->first : self->rc);
}
SKUA_CORO(scope_room, struct scoped);

/* ---- Deadlines and errors ---- */

static skua_poll scope_deadline(skua_cx *cx, struct scoped *self)
{
	skua_scope_options options = {0};

	SKUA_BEGIN(self);
	options.deadline = skua_clock_now(skua_cx_runtime(cx)) + 3 * CANCEL_HOUR / 2;
	open_with(cx, self, &options, 3);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(scope_deadline, struct scoped);

static skua_poll fail_one(skua_cx *cx, struct scoped *self, uint32_t on_error)
{
	skua_scope_options options = {.on_error = on_error};
	struct sleeper child = sleeper_of(self->trial, 1, -EIO);

	SKUA_BEGIN(self);
	open_with(cx, self, &options, 3);
	self->rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}

static skua_poll error_cancels(skua_cx *cx, struct scoped *self)
{
	return fail_one(cx, self, SKUA_ON_ERROR_CANCEL);
}
SKUA_CORO(error_cancels, struct scoped);

static skua_poll error_goes_on(skua_cx *cx, struct scoped *self)
{
	return fail_one(cx, self, SKUA_ON_ERROR_GO_ON);
}
SKUA_CORO(error_goes_on, struct scoped);

/* ---- Scopes in scopes ---- */

/* A child that has children, and spawns siblings of its own. */
struct family {
	skua_coro co;
	struct trial *trial;
	skua_scope *outer, *scope;
	int depth;
	int64_t rc;
};

static const skua_future_ops family_ops;

static int64_t have_children(skua_cx *cx, struct family *self)
{
	struct family child = {
		.co = SKUA_CORO_INIT(family), .trial = self->trial, .depth = self->depth - 1};
	struct sleeper sleeper = sleeper_of(self->trial, self->depth + 1, 0);
	int64_t rc = skua_scope_new(cx, NULL, &self->scope);

	child.outer = self->scope;
	if (rc == 0 && self->depth > 0)
		rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
	if (rc == 0)
		rc = skua_scope_spawn(cx, self->scope, &sleeper.co, NULL);
	if (rc == 0)
		rc = skua_scope_spawn(cx, self->outer, &sleeper.co, NULL);
	return rc;
}

static skua_poll family(skua_cx *cx, struct family *self)
{
	SKUA_BEGIN(self);
	atomic_fetch_add(&self->trial->counts[0], 1);
	self->rc = have_children(cx, self);
	if (self->scope != NULL)
		SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	atomic_fetch_add(&self->trial->counts[1], 1);
	SKUA_END(self->rc);
}
SKUA_CORO(family, struct family);

static skua_poll scopes_nested(skua_cx *cx, struct scoped *self)
{
	struct family child = {.co = SKUA_CORO_INIT(family), .trial = self->trial, .depth = 2};

	SKUA_BEGIN(self);
	open_with(cx, self, NULL, 1);
	child.outer = self->scope;
	self->rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(scopes_nested, struct scoped);

/* ---- Scopes that are left open, and scopes for clean-up ---- */

static skua_poll scope_left_open(skua_cx *cx, struct scoped *self)
{
	SKUA_BEGIN(self);
	open_with(cx, self, NULL, 3);
	STEP(skua_sleep(cx, &self->timer, 3 * CANCEL_HOUR / 2));
	SKUA_END(self->rc);
}
SKUA_CORO(scope_left_open, struct scoped);

/* One whose results have been waited for. */
static skua_poll results_left_open(skua_cx *cx, struct scoped *self)
{
	skua_scope_options options = {.results = SKUA_RESULTS_AS_THEY_COME, .limit = 2};

	SKUA_BEGIN(self);
	open_with(cx, self, &options, 5);
	STEP(skua_scope_next(cx, self->scope, &self->next));
	SKUA_END(self->rc);
}
SKUA_CORO(results_left_open, struct scoped);

static int64_t open_for_cleanup(skua_cx *cx, struct scoped *self)
{
	struct sleeper child = sleeper_of(self->trial, 1, 0);
	int64_t rc = skua_scope_new(cx, NULL, &self->scope);

	return rc == 0 ? skua_scope_spawn(cx, self->scope, &child.co, NULL) : rc;
}

/* Told or not, it opens a scope behind a shield, which the cancellation does not reach. */
static skua_poll scope_for_cleanup(skua_cx *cx, struct scoped *self)
{
	SKUA_BEGIN(self);
	STEP(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	self->first = self->rc;
	STEP(skua_shield(cx, open_for_cleanup(cx, self)));
	/* Nothing is spawned any more when the runtime ends. */
	if (self->rc != -ESHUTDOWN)
		trial_expect(self->trial, "a scope behind a shield", self->rc, 0);
	STEP(skua_shield(cx, skua_scope_join(cx, &self->scope)));
	SKUA_END(self->first);
}
SKUA_CORO(scope_for_cleanup, struct scoped);

#define WITH_CHILDREN(subject, value, has_flags)                                                   \
	{                                                                                          \
		.name = #subject, .ops = &subject##_ops, .result = (value), .flags = (has_flags),  \
		.after = sleepers_have_ended                                                       \
	}

const struct scenario scenarios_of_scopes[] = {
	WITH_CHILDREN(scope_join, 0, 0),
	WITH_CHILDREN(scope_timeout, -ETIMEDOUT, 0),
	WITH_CHILDREN(scope_cancelled, -ECANCELED, 0),
	WITH_CHILDREN(owner_sleeps, 0, 0),
	WITH_CHILDREN(next_as_they_come, 4, 0),
	WITH_CHILDREN(next_in_order, 4, 0),
	WITH_CHILDREN(results_left, 0, 0),
	WITH_CHILDREN(scope_limit, 0, 0),
	WITH_CHILDREN(scope_room, 0, 0),
	WITH_CHILDREN(scope_deadline, -ETIMEDOUT, 0),
	WITH_CHILDREN(error_cancels, -EIO, 0),
	WITH_CHILDREN(error_goes_on, -EIO, 0),
	WITH_CHILDREN(scopes_nested, 0, 0),
	WITH_CHILDREN(scope_left_open, 0, NOT_FOREIGN | LEAVES_OBLIGATIONS),
	WITH_CHILDREN(results_left_open, 1, NOT_FOREIGN | LEAVES_OBLIGATIONS),
	WITH_CHILDREN(scope_for_cleanup, 0, TAKES_TIME),
	{.name = NULL},
};
