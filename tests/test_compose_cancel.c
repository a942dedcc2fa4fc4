/*
 * test_compose_cancel.c - who is told when a composition is to end: the losers, all branches when
 * it comes from outside, those under a shield later; and that nothing outside is lost or told
 * twice.
 */
#include "memory_support.h"

#include "compose_support.h"

/* ---- A composition in compositions, cancelled at each of its polls ---- */

/*
 * race_ok of (try_join of 0 and 1) and (select of 2 and (join of 3 and 4)), some of which clean up
 * for some polls. At its poll number `when` it is cancelled: by a token around it, or the task
 * itself.
 */
enum { STEPS = 5 };

struct nest {
	skua_future future;
	struct step steps[STEPS];
	skua_branch tried[2], joined[2], selected[2], raced[2];
	skua_group try_join, join, select, race;
	skua_token *token; /* or NULL: the task is cancelled */
	skua_token_waiter waiter;
	_Atomic(skua_task *) *task;
	int polls, when;
	int64_t result;
	int told_after; /* by the next await */
};

static void cancel_now(struct nest *self)
{
	if (self->token != NULL) {
		skua_token_cancel(self->token);
		return;
	}
	WAIT_UNTIL(atomic_load(self->task) != NULL);
	T_EQ(skua_cancel(atomic_load(self->task)), 0);
}

static skua_poll nest_poll(skua_cx *cx, skua_future *future)
{
	struct nest *self = (struct nest *)(void *)future;
	skua_poll result;

	if (self->polls++ == self->when)
		cancel_now(self);
	if (self->token == NULL) {
		self->result = result = skua_poll_future(cx, &self->race.future);
		if (result != SKUA_PENDING)
			self->told_after = skua_cx_interrupt(cx);
		return result;
	}
	/* Inside the token: what the composition gives, and what the next await is told. */
	return skua_with_token(
		cx, &self->waiter, self->token,
		(self->result = result = skua_poll_future(cx, &self->race.future),
		 self->told_after = result != SKUA_PENDING ? skua_cx_interrupt(cx) : 0, result));
}

static const skua_future_ops nest_ops = {.poll = nest_poll, .size = sizeof(struct nest)};

static void nest_make(struct nest *self, int when)
{
	static const int waits[STEPS] = {2, 5, FOREVER, 1, 4};

	memset(self, 0, sizeof *self);
	self->future.ops = &nest_ops;
	self->when = when;
	for (int i = 0; i < STEPS; i++) {
		self->steps[i] = step_of(waits[i], 10 + i);
		self->steps[i].cleanup = i;
	}
	self->steps[1].value = -EPIPE;
	self->tried[0].future = &self->steps[0].future;
	self->tried[1].future = &self->steps[1].future;
	self->joined[0].future = &self->steps[3].future;
	self->joined[1].future = &self->steps[4].future;
	self->selected[0].future = &self->steps[2].future;
	self->selected[1].future = &self->join.future;
	self->raced[0].future = &self->try_join.future;
	self->raced[1].future = &self->select.future;
	T_EQ(skua_group_try_join(&self->try_join, self->tried, 2), 0);
	T_EQ(skua_group_join(&self->join, self->joined, 2), 0);
	T_EQ(skua_group_select(&self->select, self->selected, 2, SKUA_FAIR), 0);
	T_EQ(skua_group_race_ok(&self->race, self->raced, 2, SKUA_FAIR), 0);
}

/* Whether it was cancelled before its end. */
static bool nest_check(struct nest *self)
{
	bool cancelled = self->when < self->polls;

	for (int i = 0; i < STEPS; i++) {
		T_EQ(self->steps[i].ended, 1);
		T_LE(self->steps[i].told, 2);
	}
	/* Told once outside: by the result, or by the next await, if the result was known by then.
	 * */
	if (self->result == -ECANCELED) {
		T_ASSERT(cancelled);
		T_EQ(self->told_after, 0);
	} else {
		T_EQ(self->result, 1);
		T_EQ(self->told_after, cancelled ? -ECANCELED : 0);
	}
	return cancelled;
}

static bool by_token(skua_runtime *rt, enum way way, int when)
{
	static struct nest nest;
	bool cancelled;

	nest_make(&nest, when);
	T_EQ(skua_token_new(NULL, &nest.token), 0);
	T_EQ(await_by(way, rt, &nest.future), nest.result == -ECANCELED ? -EINTR : nest.result);
	cancelled = nest_check(&nest);
	skua_token_release(nest.token);
	return cancelled;
}

T_TEST(compose_cancel, by_a_token_at_each_poll_in_each_way)
{
	skua_runtime *rt;

	memory_begin();
	rt = runtime_of(2);
	for (enum way way = 0; way < WAYS; way++) {
		int when = 0;

		while (by_token(rt, way, when))
			when++;
		T_GE(when, 5);
	}
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* As a task of its own, so that there is a handle; the result is looked at where it lives. */
struct outer {
	skua_coro co;
	struct nest *nest;
	int64_t rc;
};

static skua_poll outer(skua_cx *cx, struct outer *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_poll_future(cx, &self->nest->future));
	SKUA_END(self->rc);
}
SKUA_CORO(outer, struct outer);

static bool by_handle(skua_runtime *rt, int when)
{
	static struct nest nest;
	_Atomic(skua_task *) shared = NULL;
	struct outer task = {.co = SKUA_CORO_INIT(outer), .nest = &nest};
	skua_task *handle;

	nest_make(&nest, when);
	nest.task = &shared;
	handle = start_future(rt, &task.co);
	atomic_store(&shared, handle);
	T_EQ(skua_task_wait(&handle), nest.result);
	return nest_check(&nest);
}

T_TEST(compose_cancel, by_its_handle_at_each_poll)
{
	skua_runtime *rt;
	int when = 0;

	memory_begin();
	rt = runtime_of(2);
	while (by_handle(rt, when))
		when++;
	T_GE(when, 5);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* ---- By hand, one poll after the other ---- */

/* Polls `future` inside two tokens: the inner one gives -EINTR, so 1 is returned for the outer one.
 * */
struct hand {
	skua_cx cx;
	skua_token *outer, *inner;
	skua_token_waiter outer_waiter, inner_waiter;
	struct executor executor;
	int64_t inside;
};

static void hand_begin(struct hand *self)
{
	skua_waker waker;

	memset(self, 0, sizeof *self);
	executor_init(&self->executor);
	waker = executor_waker(&self->executor);
	skua_cx_init(&self->cx, NULL, &waker);
	T_EQ(skua_token_new(NULL, &self->outer), 0);
	T_EQ(skua_token_new(NULL, &self->inner), 0);
}

static skua_poll hand_poll(struct hand *self, skua_future *future)
{
	skua_cx *cx = &self->cx;
	skua_poll result =
		skua_with_token(cx, &self->outer_waiter, self->outer,
				self->inside = skua_with_token(cx, &self->inner_waiter, self->inner,
							       skua_poll_future(cx, future)));

	T_EQ(cx->due, 0);
	T_EQ(cx->shields, 0);
	return result;
}

static void hand_end(struct hand *self)
{
	skua_token_forget(&self->outer_waiter);
	skua_token_forget(&self->inner_waiter);
	skua_token_release(self->outer);
	skua_token_release(self->inner);
	executor_check(&self->executor);
}

/* A step under a shield that lasts as long as the flag is set. */
struct shielded {
	skua_future future;
	struct step step;
	int *shield;
};

static skua_poll shielded_poll(skua_cx *cx, skua_future *future)
{
	struct shielded *self = (struct shielded *)(void *)future;

	if (*self->shield)
		return skua_shield(cx, skua_poll_future(cx, &self->step.future));
	return skua_poll_future(cx, &self->step.future);
}

static const skua_future_ops shielded_ops = {.poll = shielded_poll,
					     .size = sizeof(struct shielded)};

struct guarded {
	struct step plain;
	struct shielded shielded;
	skua_branch branches[2];
	skua_group group;
	int shield;
};

static void guarded_make(struct guarded *self, int cleanup)
{
	memset(self, 0, sizeof *self);
	self->shield = 1;
	self->plain = step_of(FOREVER, 0);
	self->plain.cleanup = cleanup;
	self->shielded = (struct shielded){.future = {&shielded_ops, 0, 0},
					   .step = step_of(FOREVER, 0),
					   .shield = &self->shield};
	self->branches[0].future = &self->plain.future;
	self->branches[1].future = &self->shielded.future;
	T_EQ(skua_group_join(&self->group, self->branches, 2), 0);
}

T_TEST(compose_cancel, a_shielded_branch_is_told_later)
{
	struct guarded guarded;
	struct hand hand;

	hand_begin(&hand);
	guarded_make(&guarded, 1);
	T_EQ(hand_poll(&hand, &guarded.group.future), SKUA_PENDING);
	skua_token_cancel(hand.inner);
	T_EQ(hand_poll(&hand, &guarded.group.future), SKUA_PENDING);
	T_EQ(guarded.plain.told, 1);
	T_EQ(guarded.plain.ended, 0);
	T_EQ(guarded.shielded.step.told, 0);
	/* A poll more tells nobody twice. */
	T_EQ(hand_poll(&hand, &guarded.group.future), SKUA_PENDING);
	T_EQ(guarded.plain.told, 1);
	T_EQ(guarded.plain.ended, 1);
	guarded.shield = 0;
	T_EQ(hand_poll(&hand, &guarded.group.future), -EINTR);
	T_EQ(guarded.shielded.step.told, 1);
	hand_end(&hand);
}

/*
 * Two tokens around, and a branch that hears late: each of them is told to the composition or, if
 * it has ended by then, to what comes after it; the inner one never counts for the outer one.
 */
T_TEST(compose_cancel, two_from_outside_are_not_mixed_up)
{
	for (int inner_first = 0; inner_first < 2; inner_first++) {
		struct guarded guarded;
		struct hand hand;

		hand_begin(&hand);
		guarded_make(&guarded, 0);
		T_EQ(hand_poll(&hand, &guarded.group.future), SKUA_PENDING);
		skua_token_cancel(inner_first ? hand.inner : hand.outer);
		T_EQ(hand_poll(&hand, &guarded.group.future), SKUA_PENDING);
		skua_token_cancel(inner_first ? hand.outer : hand.inner);
		T_EQ(hand_poll(&hand, &guarded.group.future), SKUA_PENDING);
		guarded.shield = 0;
		/* The outer token's: the inner waiter passes its -ECANCELED. If the inner one was
		 * first, it makes its error of it, and the outer one is still to be told. */
		T_EQ(hand_poll(&hand, &guarded.group.future), -EINTR);
		T_EQ(hand.inside, inner_first ? -EINTR : -ECANCELED);
		T_EQ(guarded.plain.told, 1);
		T_EQ(guarded.shielded.step.told, 1);
		hand_end(&hand);
	}
}

/* The result is known, and a loser cleans up: it is told again, and the result stays. */
T_TEST(compose_cancel, a_result_that_is_known_stays)
{
	struct step steps[2] = {step_of(0, 7), step_of(FOREVER, 8)};
	skua_branch branches[2] = {{.future = &steps[0].future}, {.future = &steps[1].future}};
	skua_group group;
	struct hand hand;

	hand_begin(&hand);
	steps[1].cleanup = FOREVER;
	T_EQ(skua_group_race(&group, branches, 2, SKUA_FAIR), 0);
	T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
	T_EQ(steps[1].told, 1);
	steps[1].cleanup = 1;
	skua_token_cancel(hand.outer);
	T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
	T_EQ(steps[1].told, 2);
	T_EQ(hand_poll(&hand, &group.future), 7);
	T_EQ(steps[1].told, 2);
	T_EQ(branches[1].result, -ECANCELED);
	hand_end(&hand);
}

/* Cancelled, and during the clean-up once more: each branch hears of both. */
T_TEST(compose_cancel, a_second_time_during_the_clean_up)
{
	struct step steps[2] = {step_of(FOREVER, 7), step_of(FOREVER, 8)};
	skua_branch branches[2] = {{.future = &steps[0].future}, {.future = &steps[1].future}};
	skua_group group;
	struct hand hand;

	hand_begin(&hand);
	steps[0].cleanup = steps[1].cleanup = FOREVER;
	T_EQ(skua_group_join(&group, branches, 2), 0);
	T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
	skua_token_cancel(hand.inner);
	T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
	T_EQ(steps[0].told + steps[1].told, 2);
	skua_token_cancel(hand.outer);
	T_EQ(hand_poll(&hand, &group.future), -EINTR);
	T_EQ(hand.inside, -EINTR);
	T_EQ(steps[0].told, 2);
	T_EQ(steps[1].told, 2);
	hand_end(&hand);
}

/* Two that are due in one poll: both are told in it, since nobody wakes the task for the second
 * one. */
T_TEST(compose_cancel, two_at_once)
{
	struct step steps[2] = {step_of(FOREVER, 7), step_of(FOREVER, 8)};
	skua_branch branches[2] = {{.future = &steps[0].future}, {.future = &steps[1].future}};
	skua_group group;
	struct hand hand;

	hand_begin(&hand);
	steps[0].cleanup = FOREVER;
	T_EQ(skua_group_join(&group, branches, 2), 0);
	T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
	skua_token_cancel(hand.inner);
	skua_token_cancel(hand.outer);
	T_EQ(hand_poll(&hand, &group.future), -EINTR);
	T_EQ(hand.inside, -ECANCELED);
	T_EQ(steps[0].told, 2);
	T_EQ(steps[1].told, 1);
	hand_end(&hand);
}

/* A race of two steps in each of the two forms. The first one wins at once, the second one cleans up. */
enum form { GROUP, BLOCK, FORMS };

struct known {
	skua_future block;
	skua_compose compose;
	skua_group group;
	skua_branch branches[2];
	struct step steps[2];
};

static skua_poll block_poll(skua_cx *cx, skua_future *future)
{
	struct known *self = (struct known *)(void *)future;
	skua_poll result;

	SKUA_POLL_RACE (result, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, skua_poll_future(cx, &self->steps[0].future));
		SKUA_BRANCH(1, skua_poll_future(cx, &self->steps[1].future));
	}
	return result;
}

static const skua_future_ops block_ops = {.poll = block_poll, .size = sizeof(struct known)};

static skua_future *known_make(struct known *self, enum form form)
{
	memset(self, 0, sizeof *self);
	self->steps[0] = step_of(0, 7);
	self->steps[1] = step_of(FOREVER, 8);
	self->steps[1].cleanup = FOREVER;
	for (int i = 0; i < 2; i++)
		self->branches[i].future = &self->steps[i].future;
	self->block.ops = &block_ops;
	T_EQ(skua_group_race(&self->group, self->branches, 2, SKUA_IN_ORDER), 0);
	return form == GROUP ? &self->group.future : &self->block;
}

/* What was passed on first stays due outside, and does not hide what comes later. */
T_TEST(compose_cancel, each_of_two_is_passed_on)
{
	for (int i = 0; i < 2 * FORMS; i++) {
		struct known known;
		skua_future *race = known_make(&known, i / 2);
		struct step *loser = &known.steps[1];
		struct hand hand;

		hand_begin(&hand);
		T_EQ(hand_poll(&hand, race), SKUA_PENDING);
		T_EQ(loser->told, 1);
		loser->cleanup = FOREVER;
		skua_token_cancel(i % 2 == 0 ? hand.outer : hand.inner);
		T_EQ(hand_poll(&hand, race), SKUA_PENDING);
		T_EQ(hand_poll(&hand, race), SKUA_PENDING);
		T_EQ(loser->told, 2);
		skua_token_cancel(i % 2 == 0 ? hand.inner : hand.outer);
		T_EQ(hand_poll(&hand, race), 7);
		T_EQ(loser->told, 3);
		hand_end(&hand);
	}
}

/* And what an earlier composition has passed on is passed on by the next one as well. */
T_TEST(compose_cancel, what_was_passed_on_is_taken_or_passed_on_by_the_next)
{
	for (enum form form = 0; form < FORMS; form++) {
		struct known first, second;
		skua_future *race = known_make(&first, form);
		struct hand hand;

		hand_begin(&hand);
		first.steps[1].waits = FOREVER;
		T_EQ(hand_poll(&hand, race), SKUA_PENDING);
		first.steps[1].cleanup = FOREVER;
		skua_token_cancel(hand.inner);
		T_EQ(hand_poll(&hand, race), SKUA_PENDING);
		T_EQ(first.steps[1].told, 2);
		first.steps[1].cleanup = FOREVER;
		skua_token_cancel(hand.outer);
		T_EQ(hand_poll(&hand, race), SKUA_PENDING);
		T_EQ(first.steps[1].told, 3);
		/* The first one is forgotten in the middle. The result of the second one is not known:
		 * it takes one of them, and passes the other one on. */
		race = known_make(&second, form);
		second.steps[0].waits = FOREVER;
		second.steps[0].cleanup = FOREVER;
		T_EQ(hand_poll(&hand, race), -EINTR);
		T_EQ(hand.inside, -ECANCELED);
		T_EQ(second.steps[0].told, 2);
		T_EQ(second.steps[1].told, 2);
		hand_end(&hand);
	}
}

/* A composition that tells its branches twice, and a branch that has its result and only cleans up. */
T_TEST(compose_cancel, a_known_one_in_another_hears_each_telling)
{
	for (enum form form = 0; form < FORMS; form++) {
		struct known known;
		struct step winner = step_of(1, 9);
		skua_branch branches[2] = {{.future = &winner.future}};
		struct step *loser = &known.steps[1];
		skua_group group;
		struct hand hand;

		branches[1].future = known_make(&known, form);
		T_EQ(skua_group_race(&group, branches, 2, SKUA_IN_ORDER), 0);
		hand_begin(&hand);
		T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
		T_EQ(loser->told, 1);
		loser->cleanup = FOREVER;
		T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
		T_EQ(winner.ended, 1);
		T_EQ(hand_poll(&hand, &group.future), SKUA_PENDING);
		T_EQ(loser->told, 2);
		skua_token_cancel(hand.outer);
		T_EQ(hand_poll(&hand, &group.future), 9);
		T_EQ(loser->told, 3);
		T_EQ(branches[1].result, 7);
		hand_end(&hand);
	}
}

T_TEST(compose_cancel, a_join_of_nothing_is_an_await_like_any_other)
{
	skua_group group;
	struct hand hand;

	hand_begin(&hand);
	skua_token_cancel(hand.inner);
	T_EQ(skua_group_join(&group, NULL, 0), 0);
	T_EQ(hand_poll(&hand, &group.future), -EINTR);
	hand_end(&hand);
}

/* ---- A result that is known, a deadline around it, and the end of the task ---- */

struct bounded {
	skua_coro co;
	skua_timer timer;
	skua_compose compose;
	atomic_int *told;
	bool puts_off;
	int64_t rc, next;
};

/* Ends only when it is told for the third time. The deadline is the second one, and may be put off. */
static skua_poll stubborn(skua_cx *cx, struct bounded *self)
{
	int told;

	if (skua_cx_interrupt(cx) == 0)
		return SKUA_PENDING;
	told = atomic_fetch_add(self->told, 1) + 1;
	if (told == 2 && self->puts_off)
		T_EQ(skua_timer_reset(cx, &self->timer, skua_now() + SKUA_MSEC), 0);
	return told == 3 ? -ECANCELED : SKUA_PENDING;
}

static skua_poll bounded_race(skua_cx *cx, struct bounded *self)
{
	skua_poll result;

	SKUA_POLL_RACE (result, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, 5);
		SKUA_BRANCH(1, stubborn(cx, self));
	}
	return result;
}

static skua_poll bounded(skua_cx *cx, struct bounded *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, SKUA_MSEC, bounded_race(cx, self)));
	/* The result was known before the task was cancelled, which is told now. */
	SKUA_AWAIT(self->next = skua_yield(cx));
	SKUA_END(self->rc == 5 && self->next == -ECANCELED ? 1 : 0);
}
SKUA_CORO(bounded, struct bounded);

T_TEST(compose_cancel, a_deadline_does_not_hide_the_end_of_the_task)
{
	for (int by_handle = 0; by_handle < 2; by_handle++) {
		atomic_int told = 0;
		struct bounded future = {.co = SKUA_CORO_INIT(bounded), .told = &told};
		skua_runtime *rt = runtime_of(1);
		skua_task *task = start_future(rt, &future.co);

		WAIT_UNTIL(atomic_load(&told) == 2);
		if (by_handle) {
			T_EQ(skua_cancel(task), 0);
			T_EQ(skua_task_wait(&task), 1);
		}
		T_EQ(skua_runtime_free(rt), 0);
		if (!by_handle)
			T_EQ(skua_task_wait(&task), 1);
		T_EQ(told, 3);
	}
}

T_TEST(compose_cancel, a_deadline_that_is_put_off_is_told_again)
{
	atomic_int told = 0;
	struct bounded future = {.co = SKUA_CORO_INIT(bounded), .told = &told, .puts_off = true};
	skua_runtime *rt = runtime_of(1);

	/* Nobody cancels the task. */
	T_EQ(skua_block_on(rt, &future.co), 0);
	T_EQ(told, 3);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Dropping ---- */

static struct step dropped_steps[3];
static skua_branch dropped_branches[4];

/* Comes last, so the others have been polled by then. */
static skua_poll reaches(skua_cx *cx, void *reached)
{
	(void)cx;
	atomic_store((atomic_int *)reached, 1);
	return 0;
}

T_TEST(compose_cancel, an_abandoned_group_drops_what_has_not_ended)
{
	skua_branch inner_branch = {.future = &dropped_steps[2].future};
	atomic_int reached = 0;
	struct call last = call_of(reaches, &reached);
	skua_group group, inner;
	skua_config config;
	skua_runtime *rt;
	skua_task *task;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = 1;
	config.log = SKUA_LOG_OFF;
	rt = runtime_with(&config);
	for (int i = 0; i < 3; i++) {
		dropped_steps[i] = step_of(i == 0 ? 0 : FOREVER, 1);
		dropped_steps[i].cleanup = i == 0 ? 0 : FOREVER;
	}
	T_EQ(skua_group_join(&inner, &inner_branch, 1), 0);
	dropped_branches[0].future = &dropped_steps[0].future;
	dropped_branches[1].future = &dropped_steps[1].future;
	dropped_branches[2].future = &inner.future;
	dropped_branches[3].future = &last.future;
	T_EQ(skua_group_join(&group, dropped_branches, 4), 0);
	task = start_future(rt, &group.future);
	WAIT_UNTIL(reached);
	skua_detach(&task);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(dropped_steps[0].ended, 1);
	T_EQ(dropped_steps[0].dropped, 0);
	T_EQ(dropped_steps[1].dropped, 1);
	T_EQ(dropped_steps[2].dropped, 1);
}

/* A block whose task ends in the middle leaves nothing behind: its timers are the task's. */
struct leaves {
	skua_compose compose;
	skua_timer timers[2];
};

static skua_poll leaves_block(skua_cx *cx, struct leaves *self)
{
	skua_poll which;

	SKUA_POLL_JOIN (which, cx, &self->compose, 2) {
		SKUA_BRANCH(0, skua_sleep(cx, &self->timers[0], SKUA_MSEC));
		SKUA_BRANCH(1, skua_sleep(cx, &self->timers[1], 3600 * SKUA_SEC));
	}
	return which;
}

static skua_poll leaves(skua_cx *cx, void *argument)
{
	T_EQ(leaves_block(cx, argument), SKUA_PENDING);
	return 5;
}

T_TEST(compose_cancel, a_task_that_ends_in_the_middle_of_a_block)
{
	skua_runtime *rt = runtime_of(1);
	struct leaves *state = calloc(1, sizeof *state);

	T_EQ(run(rt, leaves, state), 5);
	free(state);
	sleep_ms(3);
	T_EQ(skua_runtime_free(rt), 0);
}
