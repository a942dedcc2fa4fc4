/* scenarios_of_tasks.c - joining tasks and jobs, waiting for room, values of tasks, tokens, and
 * shields. */
#include "tests/cancel/cancel.h"

/* ---- Joining ---- */

struct joins {
	SUBJECT;
	skua_task *tasks[3];
	int64_t first; /* the result that counts */
	skua_timer timer;
};

/* The first of the tasks that are left: whoever was told keeps the handle. */
static skua_task **left(struct joins *self)
{
	for (unsigned i = 0; i < 3; i++)
		if (self->tasks[i] != NULL)
			return &self->tasks[i];
	return NULL;
}

/* Joins what is left; when it is told, it cancels all, and waits behind a shield. */
static skua_poll join_all(skua_cx *cx, struct joins *self)
{
	SKUA_BEGIN(self);
	while (self->first >= 0 && left(self) != NULL) {
		STEP(skua_join(cx, left(self)));
		self->first = self->rc;
	}
	while (left(self) != NULL) {
		skua_cancel(*left(self));
		STEP(skua_shield(cx, skua_join(cx, left(self))));
	}
	SKUA_END(self->first);
}

static void begin_tasks(skua_cx *cx, struct joins *self, int count)
{
	for (int i = 0; i < count; i++) {
		struct sleeper sleeper = sleeper_of(self->trial, i + 1, i + 1);
		skua_spawn_options options = {.struct_size = sizeof options,
					      .priority = (uint32_t)i % 3};

		trial_expect(self->trial, "skua_spawn_with",
			     skua_spawn_with(skua_cx_runtime(cx), &sleeper.co, &options,
					     &self->tasks[i]),
			     0);
	}
}

static skua_poll join_task(skua_cx *cx, struct joins *self)
{
	if (self->co.resume == 0)
		begin_tasks(cx, self, 1);
	return join_all(cx, self);
}
SKUA_CORO(join_task, struct joins);

static skua_poll join_tasks_of_each_priority(skua_cx *cx, struct joins *self)
{
	if (self->co.resume == 0)
		begin_tasks(cx, self, 3);
	return join_all(cx, self);
}
SKUA_CORO(join_tasks_of_each_priority, struct joins);

/* Who is told leaves the task to somebody else, who then waits for it. */
static skua_poll join_handed_over(skua_cx *cx, struct joins *self)
{
	SKUA_BEGIN(self);
	begin_tasks(cx, self, 1);
	STEP(skua_join(cx, &self->tasks[0]));
	self->trial->helpers[0] = self->tasks[0];
	SKUA_END(self->rc);
}
SKUA_CORO(join_handed_over, struct joins);

static void another_joins(struct trial *trial)
{
	if (trial->helpers[0] == NULL)
		return;
	if (trial->rt != NULL)
		helper_ends(trial, 0, 1);
	else
		helper_ends_somehow(trial, 0);
}

/* A task that joins another one. */
struct chained {
	skua_coro co;
	skua_task *task;
	int64_t rc;
};

static skua_poll chained(skua_cx *cx, struct chained *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_join(cx, &self->task));
	if (self->task != NULL) {
		skua_cancel(self->task);
		SKUA_AWAIT(skua_shield(cx, skua_join(cx, &self->task)));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(chained, struct chained);

static void begin_chain(skua_cx *cx, struct joins *self)
{
	begin_tasks(cx, self, 1);
	for (int i = 0; i < 3; i++) {
		struct chained next = {.co = SKUA_CORO_INIT(chained), .task = self->tasks[0]};

		trial_expect(self->trial, "skua_spawn",
			     skua_spawn(skua_cx_runtime(cx), &next.co, &self->tasks[0]), 0);
	}
}

static skua_poll join_chain(skua_cx *cx, struct joins *self)
{
	if (self->co.resume == 0)
		begin_chain(cx, self);
	return join_all(cx, self);
}
SKUA_CORO(join_chain, struct joins);

/* The subject itself cancels the task that it joins. */
static skua_poll join_cancelled(skua_cx *cx, struct joins *self)
{
	SKUA_BEGIN(self);
	begin_tasks(cx, self, 1);
	STEP(skua_sleep(cx, &self->timer, CANCEL_HOUR / 2));
	self->first = self->rc;
	skua_cancel(self->tasks[0]);
	STEP(skua_shield(cx, skua_join(cx, &self->tasks[0])));
	trial_expect(self->trial, "what a cancelled task returns", self->rc, -ECANCELED);
	SKUA_END(self->first);
}
SKUA_CORO(join_cancelled, struct joins);

/* Tasks that nobody joins go on. */
static skua_poll detached(skua_cx *cx, struct joins *self)
{
	SKUA_BEGIN(self);
	begin_tasks(cx, self, 2);
	skua_detach(&self->tasks[0]);
	STEP(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	skua_detach(&self->tasks[1]);
	SKUA_END(self->rc);
}
SKUA_CORO(detached, struct joins);

/* ---- Jobs ---- */

/* For as many as can be before the one that the subject waits for. */
static void open_gate(struct trial *trial)
{
	gate_open(trial, 3);
}

static skua_poll join_job(skua_cx *cx, struct joins *self)
{
	for (int i = 0; i < 2 && self->co.resume == 0; i++)
		trial_expect(self->trial, "skua_spawn_blocking",
			     skua_spawn_blocking(skua_cx_runtime(cx), gate_job, &self->trial,
						 sizeof(void *), &self->tasks[i]),
			     0);
	return join_all(cx, self);
}
SKUA_CORO(join_job, struct joins);

static const skua_blocking_options names = {sizeof names, SKUA_BLOCKING_NAMES, "lookup"};

struct submits {
	SUBJECT;
	skua_blocking_wait wait;
	skua_task *task;
	int64_t first;
	int turns;
};

/* As many as run and wait at once. */
static void fill_queue(skua_cx *cx, struct trial *trial)
{
	for (int i = 0; i < 2; i++)
		trial_expect(trial, "filling the queue",
			     skua_spawn_blocking_with(skua_cx_runtime(cx), gate_job, &trial,
						      sizeof(void *), &names, NULL),
			     0);
}

static skua_poll room(skua_cx *cx, struct submits *self)
{
	SKUA_BEGIN(self);
	fill_queue(cx, self->trial);
	for (self->turns = 0; self->turns < 2; self->turns++) {
		STEP(skua_spawn_blocking_when_room(cx, &self->wait, gate_job, &self->trial,
						   sizeof(void *), &names, &self->task));
		if (self->rc < 0)
			SKUA_RETURN(self->rc);
		STEP(skua_join(cx, &self->task));
		if (self->task == NULL)
			continue;
		self->first = self->rc;
		skua_cancel(self->task);
		STEP(skua_shield(cx, skua_join(cx, &self->task)));
		SKUA_RETURN(self->first);
	}
	SKUA_END(self->rc);
}
SKUA_CORO(room, struct submits);

static void nobody_waits_for_room(struct trial *trial)
{
	skua_stats stats;

	if (trial->rt == NULL)
		return;
	skua_runtime_stats(trial->rt, &stats);
	trial_expect(trial, "waiting for room",
		     (int64_t)stats.blocking[SKUA_BLOCKING_NAMES].waiting, 0);
}

/* ---- Room, with somebody behind ---- */

/* Waits behind the subject, which it wakes then: so there is an await with both in the queue. */
struct behind {
	skua_coro co;
	struct trial *trial;
	skua_blocking_wait wait;
	skua_task *task;
	bool waits;
	int64_t rc;
};

static void wake_subject(struct trial *trial)
{
	pthread_mutex_lock(&trial->lock);
	if (trial->waker.ops != NULL)
		skua_waker_wake_by_ref(&trial->waker);
	pthread_mutex_unlock(&trial->lock);
}

static bool subject_waits(struct trial *trial)
{
	bool over;

	pthread_mutex_lock(&trial->lock);
	over = trial->is_over || trial->wants_shutdown;
	pthread_mutex_unlock(&trial->lock);
	return over || atomic_load(&trial->awaits) > 0;
}

static skua_poll wait_behind(skua_cx *cx, struct behind *self)
{
	skua_poll result = skua_spawn_blocking_when_room(cx, &self->wait, gate_job, &self->trial,
							 sizeof(void *), &names, &self->task);

	if (result == SKUA_PENDING && !self->waits) {
		self->waits = true;
		wake_subject(self->trial);
	}
	return result;
}

static skua_poll behind(skua_cx *cx, struct behind *self)
{
	SKUA_BEGIN(self);
	while (!subject_waits(self->trial))
		SKUA_AWAIT(skua_yield(cx));
	SKUA_AWAIT(self->rc = wait_behind(cx, self));
	if (self->rc == 0)
		SKUA_AWAIT(self->rc = skua_join(cx, &self->task));
	skua_detach(&self->task);
	SKUA_END(self->rc);
}
SKUA_CORO(behind, struct behind);

static skua_poll room_before_another(skua_cx *cx, struct submits *self)
{
	struct behind helper = {.co = SKUA_CORO_INIT(behind), .trial = self->trial};

	SKUA_BEGIN(self);
	fill_queue(cx, self->trial);
	trial_expect(self->trial, "skua_waker_clone",
		     skua_waker_clone(skua_cx_waker(cx), &self->trial->waker), 0);
	trial_expect(self->trial, "skua_spawn",
		     skua_spawn(skua_cx_runtime(cx), &helper.co, &self->trial->helpers[0]), 0);
	STEP(skua_spawn_blocking_when_room(cx, &self->wait, gate_job, &self->trial, sizeof(void *),
					   &names, NULL));
	SKUA_END(self->rc);
}
SKUA_CORO(room_before_another, struct submits);

/* Not before somebody is behind it. */
static void open_for_both(struct trial *trial)
{
	if (trial->awaits >= 2)
		open_gate(trial);
}

static void release_room(struct trial *trial)
{
	pthread_mutex_lock(&trial->lock);
	skua_waker_drop(&trial->waker);
	pthread_mutex_unlock(&trial->lock);
	gate_release(trial);
}

static void another_had_its_turn(struct trial *trial)
{
	if (trial->rt != NULL)
		helper_ends(trial, 0, 7);
	else
		helper_ends_somehow(trial, 0);
	nobody_waits_for_room(trial);
}

/* ---- Values of tasks ---- */

static void release_value(void *value)
{
	atomic_fetch_add(&((struct trial *)value)->counts[3], 1);
}

static const skua_local_key key = {"trial", release_value};

static void set_value(skua_cx *cx, struct trial *trial)
{
	trial_expect(trial, "skua_local_set", skua_local_set(cx, &key, trial), 0);
	atomic_fetch_add(&trial->counts[2], 1);
}

struct reader {
	skua_coro co;
	struct trial *trial;
	skua_timer timer;
	int64_t rc;
};

static skua_poll reader(skua_cx *cx, struct reader *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, CANCEL_HOUR));
	if (skua_local_get(cx, &key) != self->trial)
		trial_fail(self->trial, "a child does not see the value");
	SKUA_END(self->rc);
}
SKUA_CORO(reader, struct reader);

struct locals {
	SUBJECT;
	skua_timer timer;
	skua_scope *scope;
};

static skua_poll locals(skua_cx *cx, struct locals *self)
{
	struct reader child = {.co = SKUA_CORO_INIT(reader), .trial = self->trial};

	SKUA_BEGIN(self);
	set_value(cx, self->trial);
	STEP_OR_END(skua_scope_new(cx, NULL, &self->scope));
	self->rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
	set_value(cx, self->trial);
	STEP(skua_scope_join(cx, &self->scope));
	if (self->rc == 0)
		STEP(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	set_value(cx, self->trial);
	SKUA_END(self->rc);
}
SKUA_CORO(locals, struct locals);

static void values_are_released(struct trial *trial)
{
	trial_expect(trial, "values that were released", atomic_load(&trial->counts[3]),
		     atomic_load(&trial->counts[2]));
}

/* ---- Tokens ---- */

struct tokens {
	SUBJECT;
	skua_timer timer;
	skua_token_waiter waiters[2];
};

static skua_poll token_wait(skua_cx *cx, struct tokens *self)
{
	SKUA_BEGIN(self);
	STEP_OR_END(skua_token_wait(cx, &self->waiters[0], self->trial->tokens[1]));
	STEP_OR_END(skua_token_wait(cx, &self->waiters[0], self->trial->tokens[0]));
	SKUA_END(0);
}
SKUA_CORO(token_wait, struct tokens);

static skua_poll with_token(skua_cx *cx, struct tokens *self)
{
	SKUA_BEGIN(self);
	STEP(skua_with_token(cx, &self->waiters[0], self->trial->tokens[1],
			     skua_sleep(cx, &self->timer, CANCEL_HOUR)));
	SKUA_END(self->rc);
}
SKUA_CORO(with_token, struct tokens);

static skua_poll with_tokens_nested(skua_cx *cx, struct tokens *self)
{
	SKUA_BEGIN(self);
	STEP(skua_with_token(cx, &self->waiters[0], self->trial->tokens[0],
			     skua_with_token(cx, &self->waiters[1], self->trial->tokens[1],
					     skua_sleep(cx, &self->timer, CANCEL_HOUR))));
	SKUA_END(self->rc);
}
SKUA_CORO(with_tokens_nested, struct tokens);

static void make_tokens(struct trial *trial)
{
	trial_expect(trial, "skua_token_new", skua_token_new(NULL, &trial->tokens[0]), 0);
	trial_expect(trial, "skua_token_new", skua_token_new(trial->tokens[0], &trial->tokens[1]),
		     0);
}

/* All, by the upper one. */
static void cancel_tokens(struct trial *trial)
{
	skua_token_cancel(trial->tokens[0]);
}

static void release_tokens(struct trial *trial)
{
	skua_token_release(trial->tokens[0]);
	skua_token_release(trial->tokens[1]);
}

/* ---- Shields and clean-up ---- */

struct shielded {
	SUBJECT;
	skua_timer timers[2];
};

static skua_poll shield(skua_cx *cx, struct shielded *self)
{
	SKUA_BEGIN(self);
	STEP(skua_shield(cx, skua_sleep(cx, &self->timers[0], CANCEL_HOUR)));
	trial_expect(self->trial, "a sleep behind a shield", self->rc, 0);
	STEP(skua_shield(cx, skua_shield(cx, skua_sleep(cx, &self->timers[0], CANCEL_HOUR))));
	trial_expect(self->trial, "a sleep behind two shields", self->rc, 0);
	STEP_OR_END(skua_sleep(cx, &self->timers[0], CANCEL_HOUR));
	SKUA_END(0);
}
SKUA_CORO(shield, struct shielded);

/* Nothing but the token ends it. */
static skua_poll shield_of_token(skua_cx *cx, struct tokens *self)
{
	SKUA_BEGIN(self);
	STEP(skua_shield(cx, skua_token_wait(cx, &self->waiters[0], self->trial->tokens[1])));
	trial_expect(self->trial, "a token behind a shield", self->rc, 0);
	STEP(skua_sleep(cx, &self->timer, CANCEL_HOUR));
	SKUA_END(self->rc);
}
SKUA_CORO(shield_of_token, struct tokens);

static skua_poll shield_with_timeout(skua_cx *cx, struct shielded *self)
{
	SKUA_BEGIN(self);
	STEP(skua_shield(cx, skua_timeout(cx, &self->timers[0], CANCEL_HOUR,
					  skua_sleep(cx, &self->timers[1], 2 * CANCEL_HOUR))));
	trial_expect(self->trial, "a timeout behind a shield", self->rc, -ETIMEDOUT);
	STEP(skua_timeout(cx, &self->timers[0], CANCEL_HOUR,
			  skua_shield(cx, skua_sleep(cx, &self->timers[1], 2 * CANCEL_HOUR))));
	trial_expect(self->trial, "a shield in a timeout", self->rc, 0);
	SKUA_END(0);
}
SKUA_CORO(shield_with_timeout, struct shielded);

/* When it is told, it awaits in the open and behind a shield. */
static skua_poll cleanup(skua_cx *cx, struct shielded *self)
{
	SKUA_BEGIN(self);
	STEP(skua_sleep(cx, &self->timers[0], CANCEL_HOUR));
	STEP(skua_sleep(cx, &self->timers[0], CANCEL_HOUR));
	STEP(skua_shield(cx, skua_sleep(cx, &self->timers[0], CANCEL_HOUR)));
	trial_expect(self->trial, "a sleep behind a shield", self->rc, 0);
	STEP(skua_yield(cx));
	SKUA_END(0);
}
SKUA_CORO(cleanup, struct shielded);

#define WITH_TOKENS(subject, value, has_flags)                                                     \
	{                                                                                          \
		.name = #subject, .ops = &subject##_ops, .result = (value), .flags = (has_flags),  \
		.begin = make_tokens, .nudge = cancel_tokens, .after = release_tokens              \
	}

const struct scenario scenarios_of_tasks[] = {
	{.name = "join_task", .ops = &join_task_ops, .result = 1, .after = sleepers_have_ended},
	{.name = "join_handed_over",
	 .ops = &join_handed_over_ops,
	 .result = 1,
	 .after = another_joins},
	{.name = "join_chain", .ops = &join_chain_ops, .result = 1, .after = sleepers_have_ended},
	{.name = "join_tasks_of_each_priority",
	 .ops = &join_tasks_of_each_priority_ops,
	 .result = 3,
	 .after = sleepers_have_ended},
	{.name = "join_cancelled", .ops = &join_cancelled_ops, .after = sleepers_have_ended},
	{.name = "detached", .ops = &detached_ops},
	{.name = "join_job",
	 .ops = &join_job_ops,
	 .result = 7,
	 .nudge = open_gate,
	 .release = gate_release},
	{.name = "room",
	 .ops = &room_ops,
	 .result = 7,
	 .nudge = open_gate,
	 .release = gate_release,
	 .after = nobody_waits_for_room},
	{.name = "room_before_another",
	 .ops = &room_before_another_ops,
	 .nudge = open_for_both,
	 .release = release_room,
	 .after = another_had_its_turn},
	{.name = "locals",
	 .ops = &locals_ops,
	 .flags = NOT_FOREIGN | LEAVES_OBLIGATIONS,
	 .after = values_are_released},
	WITH_TOKENS(token_wait, 0, 0),
	WITH_TOKENS(with_token, -EINTR, 0),
	WITH_TOKENS(with_tokens_nested, -EINTR, 0),
	WITH_TOKENS(shield_of_token, 0, NEEDS_NUDGES),
	{.name = "shield", .ops = &shield_ops, .flags = TAKES_TIME},
	{.name = "shield_with_timeout", .ops = &shield_with_timeout_ops, .flags = TAKES_TIME},
	{.name = "cleanup", .ops = &cleanup_ops, .flags = TAKES_TIME},
	{.name = NULL},
};
