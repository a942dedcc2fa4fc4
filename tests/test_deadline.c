/*
 * test_deadline.c - deadlines inside deadlines, together with cancellation, and at the same moment
 * as the event that was awaited.
 */
#include <sys/socket.h>

#include "api_support.h"
#include "io/source.h"
#include "sched/task.h"
#include "sched/timer.h"

static int has_fired(skua_timer *timer)
{
	struct sk_timer *inner = sk_timer_of(timer);

	return sk_timer_is_armed(inner) && sk_timer_has_fired(inner);
}

/* Polls a future where it lies, so that the test sees it. */
static skua_poll in_place(skua_cx *cx, void *future)
{
	return skua_poll_future(cx, future);
}

/* ---- Holding the only worker until several things have happened ---- */

struct holder {
	int (*happened)(void *argument);
	int (*is_too_late)(void *argument); /* something was delivered before the worker was held */
	void *argument;
	atomic_int holds, too_late;
};

static skua_poll hold(skua_cx *cx, void *argument)
{
	struct holder *holder = argument;

	(void)cx;
	atomic_store(&holder->too_late, holder->is_too_late(holder->argument));
	atomic_store(&holder->holds, 1);
	if (!holder->too_late)
		WAIT_UNTIL(holder->happened(holder->argument));
	return 0;
}

/* On a machine that is very busy, the worker may be held too late; how often that is tolerated. */
enum { TRIES = 20, DUE_MS = 30 };

/* ---- A heartbeat under an outer deadline ---- */

/* Beats until something else than its own deadline comes; cleans up; ends with what came. */
struct heart {
	skua_coro co;
	skua_timer beat, sleep;
	int beats, interrupts;
	int64_t result, cleanup[3];
};

static skua_poll heart(skua_cx *cx, struct heart *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->result = skua_timeout(cx, &self->beat, 3 * SKUA_MSEC,
						       skua_sleep(cx, &self->sleep, SKUA_SEC)));
		if (self->result != -ETIMEDOUT)
			break;
		/* Not in the same poll for ever. */
		T_LT(++self->beats, 10000);
	}
	self->interrupts++;
	SKUA_AWAIT(self->cleanup[0] = skua_yield(cx));
	SKUA_AWAIT(self->cleanup[1] = skua_sleep(cx, &self->sleep, SKUA_MSEC));
	SKUA_AWAIT(self->cleanup[2] = skua_timeout(cx, &self->beat, SKUA_MSEC, parked(cx, NULL)));
	SKUA_END(self->result);
}
SKUA_CORO(heart, struct heart);

struct body {
	struct heart heart;
	skua_timer limit;
	uint64_t ns;
};

static skua_poll body(skua_cx *cx, void *argument)
{
	struct body *self = argument;

	return skua_timeout(cx, &self->limit, self->ns, skua_poll_future(cx, &self->heart.co));
}

static void check_heart(const struct heart *heart)
{
	T_EQ(heart->interrupts, 1);
	T_EQ(heart->result, -ECANCELED);
	T_EQ(heart->cleanup[0], 0);
	T_EQ(heart->cleanup[1], 0);
	/* Its own deadlines go on working, and are told from the other one. */
	T_EQ(heart->cleanup[2], -ETIMEDOUT);
}

T_TEST_T(deadline, an_outer_one_ends_a_heartbeat, 10)
{
	skua_runtime *rt = runtime_of(1);
	struct body state = {.ns = 20 * SKUA_MSEC};
	int beats = 0;

	/* With the same timers again and again. */
	for (int i = 0; i < 5; i++) {
		state.heart = (struct heart){.co = SKUA_CORO_INIT(heart)};
		T_EQ(run(rt, body, &state), -ETIMEDOUT);
		check_heart(&state.heart);
		beats += state.heart.beats;
	}
	T_GE(beats, 1);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST_T(deadline, a_cancel_ends_a_heartbeat, 10)
{
	skua_runtime *rt = runtime_of(1);
	struct body state = {.ns = 3600 * SKUA_SEC, .heart = {.co = SKUA_CORO_INIT(heart)}};
	skua_task *task = start(rt, body, &state);

	sleep_ms(10);
	T_EQ(skua_cancel(task), 0);
	/* Not -ETIMEDOUT: no time was up. */
	T_EQ(skua_task_wait(&task), -ECANCELED);
	check_heart(&state.heart);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Two at the same moment ---- */

/* Notes the results of four awaits, the first with a deadline of its own. */
struct taker {
	skua_coro co;
	skua_timer inner;
	int64_t results[4];
};

static skua_poll taker(skua_cx *cx, struct taker *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->results[0] =
			   skua_timeout(cx, &self->inner, DUE_MS * SKUA_MSEC, parked(cx, NULL)));
	SKUA_AWAIT(self->results[1] = skua_yield(cx));
	SKUA_AWAIT(self->results[2] = skua_yield(cx));
	SKUA_AWAIT(self->results[3] = skua_yield(cx));
	SKUA_END(self->results[0]);
}
SKUA_CORO(taker, struct taker);

struct both {
	struct taker taker;
	skua_timer outer;
	uint64_t ns;
	skua_task *task;
	atomic_int polls;
};

static skua_poll both(skua_cx *cx, void *argument)
{
	struct both *self = argument;

	self->task = cx->task;
	atomic_fetch_add(&self->polls, 1);
	return skua_timeout(cx, &self->outer, self->ns, skua_poll_future(cx, &self->taker.co));
}

static int was_polled_again(void *argument)
{
	struct both *self = argument;

	return self->polls > 1;
}

static int is_cancelled(skua_task *task)
{
	return (sk_load(&task->state, SK_ACQUIRE) & SK_TASK_CANCELLED) != 0;
}

static int both_are_due(void *argument)
{
	struct both *self = argument;

	return has_fired(&self->outer) && has_fired(&self->taker.inner);
}

static int both_are_due_and_cancelled(void *argument)
{
	struct both *self = argument;

	return both_are_due(self) && is_cancelled(self->task);
}

static int inner_is_due_and_cancelled(void *argument)
{
	struct both *self = argument;

	return has_fired(&self->taker.inner) && is_cancelled(self->task);
}

/* Runs `both` on the only worker of a runtime, which is held until `happened`. */
static int64_t run_held(struct both *state, uint64_t outer_ns, int (*happened)(void *argument),
			int cancel)
{
	skua_runtime *rt = runtime_of(1);
	int64_t result = 0;

	for (int i = 0; i < TRIES; i++) {
		struct holder holder = {happened, was_polled_again, state, 0, 0};
		skua_task *task, *held;

		*state = (struct both){.ns = outer_ns, .taker = {.co = SKUA_CORO_INIT(taker)}};
		task = start(rt, both, state);
		WAIT_UNTIL(state->polls >= 1);
		held = start(rt, hold, &holder);
		WAIT_UNTIL(holder.holds == 1);
		if (cancel || holder.too_late)
			(void)skua_cancel(task);
		T_EQ(skua_task_wait(&held), 0);
		result = skua_task_wait(&task);
		if (!holder.too_late)
			break;
	}
	T_EQ(skua_runtime_free(rt), 0);
	return result;
}

static void check_results(const struct both *state, int64_t first, int64_t second)
{
	T_EQ(state->taker.results[0], first);
	T_EQ(state->taker.results[1], second);
	T_EQ(state->taker.results[2], 0);
	T_EQ(state->taker.results[3], 0);
}

T_TEST_T(deadline, of_two_that_are_due_the_outer_one_comes_first, 10)
{
	struct both state;

	T_EQ(run_held(&state, DUE_MS * SKUA_MSEC, both_are_due, 0), -ETIMEDOUT);
	/* Inside it is not the own deadline that came. */
	check_results(&state, -ECANCELED, 0);
}

T_TEST_T(deadline, a_cancel_at_the_same_moment_is_told_too, 10)
{
	struct both state;

	T_EQ(run_held(&state, DUE_MS * SKUA_MSEC, both_are_due_and_cancelled, 1), -ETIMEDOUT);
	/* The outer deadline; the cancel; and no more. */
	check_results(&state, -ECANCELED, -ECANCELED);
}

T_TEST_T(deadline, ones_own_and_a_cancel_are_told_one_after_the_other, 10)
{
	struct both state;

	T_EQ(run_held(&state, 3600 * SKUA_SEC, inner_is_due_and_cancelled, 1), -ETIMEDOUT);
	check_results(&state, -ETIMEDOUT, -ECANCELED);
}

/* ---- Leaves that do not ask, and code that takes no notice ---- */

/* Takes from a cell without asking for an interrupt. */
static skua_poll deaf_take(skua_cx *cx, struct cell *cell)
{
	skua_poll result = SKUA_PENDING;
	skua_waker old;

	pthread_mutex_lock(&cell->lock);
	old = cell->waker;
	cell->waker = (skua_waker){NULL, NULL};
	if (cell->count > 0) {
		cell->count--;
		result = 5;
	} else {
		T_EQ(skua_waker_clone(skua_cx_waker(cx), &cell->waker), 0);
	}
	pthread_mutex_unlock(&cell->lock);
	skua_waker_drop(&old);
	return result;
}

struct deaf {
	skua_coro co;
	struct cell *cell;
	skua_timer timer;
	atomic_int polls;
	int64_t results[4];
};

static skua_poll deaf(skua_cx *cx, struct deaf *self)
{
	atomic_fetch_add(&self->polls, 1);
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->results[0] = skua_timeout(cx, &self->timer, 2 * SKUA_MSEC,
						   deaf_take(cx, self->cell)));
	/* In the same poll, and without a deadline: that the time was up is over. */
	SKUA_AWAIT(self->results[1] = skua_yield(cx));
	/* The timer can be used again. */
	SKUA_AWAIT(self->results[2] =
			   skua_timeout(cx, &self->timer, 3600 * SKUA_SEC, skua_yield(cx)));
	SKUA_AWAIT(self->results[3] =
			   skua_timeout(cx, &self->timer, 2 * SKUA_MSEC, parked(cx, NULL)));
	SKUA_END(0);
}
SKUA_CORO(deaf, struct deaf);

T_TEST_T(deadline, a_leaf_that_does_not_ask_is_not_interrupted, 10)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	struct deaf state = {.cell = &cell};

	for (int i = 0; i < 3; i++) {
		skua_task *task;

		state.co = (skua_coro)SKUA_CORO_INIT(deaf);
		state.polls = 0;
		task = start(rt, in_place, &state.co);
		/* Polled once more when the time is up, and then left alone. */
		WAIT_UNTIL(state.polls >= 2);
		sleep_ms(5);
		T_EQ(state.polls, 2);
		T_EQ(skua_task_finished(task), 0);
		cell_fill(&cell);
		T_EQ(skua_task_wait(&task), 0);
		T_EQ(state.results[0], 5);
		T_EQ(state.results[1], 0);
		T_EQ(state.results[2], 0);
		T_EQ(state.results[3], -ETIMEDOUT);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

struct limited {
	skua_coro co;
	skua_timer timer;
	int64_t at_the_interrupt; /* what the operation inside makes of it */
	int64_t result, next;
};

static skua_poll translates(skua_cx *cx, int64_t at_the_interrupt)
{
	return parked(cx, NULL) == SKUA_PENDING ? SKUA_PENDING : at_the_interrupt;
}

static skua_poll limited(skua_cx *cx, struct limited *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->result = skua_timeout(cx, &self->timer, 2 * SKUA_MSEC,
					       translates(cx, self->at_the_interrupt)));
	SKUA_AWAIT(self->next = skua_yield(cx));
	SKUA_END(self->next);
}
SKUA_CORO(limited, struct limited);

static skua_poll cancelled_in_time(skua_cx *cx, void *timer)
{
	return skua_timeout(cx, timer, 3600 * SKUA_SEC, -ECANCELED);
}

T_TEST(deadline, only_a_cancellation_by_it_becomes_a_timeout)
{
	static const int64_t results[] = {9, 0, -EPIPE, -ETIMEDOUT};
	skua_runtime *rt = runtime_of(1);
	skua_timer timer = {{0}};

	for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
		struct limited state = {.co = SKUA_CORO_INIT(limited),
					.at_the_interrupt = results[i]};

		T_EQ(skua_block_on(rt, &state.co), 0);
		T_EQ(state.result, results[i]);
		T_EQ(state.next, 0);
	}
	T_EQ(run(rt, cancelled_in_time, &timer), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- An event at the moment of the interrupt ---- */

struct reader {
	skua_coro co;
	skua_source *source;
	skua_timer timer;
	uint64_t ns;
	skua_task *task;
	int64_t interrupted, after;
};

static skua_poll reader(skua_cx *cx, struct reader *self)
{
	SKUA_BEGIN(self);
	self->task = cx->task;
	SKUA_AWAIT(self->interrupted = skua_timeout(cx, &self->timer, self->ns,
						    skua_source_readable(cx, self->source)));
	SKUA_AWAIT(self->after = skua_timeout(cx, &self->timer, SKUA_SEC * PATIENCE,
					      skua_source_readable(cx, self->source)));
	SKUA_END(0);
}
SKUA_CORO(reader, struct reader);

static sk_slot *read_slot(skua_source *source)
{
	return &((struct sk_source *)(void *)source)->slots[SK_READ];
}

static int was_interrupted(void *argument)
{
	struct reader *self = argument;

	return !sk_is_waiter(sk_load(read_slot(self->source), SK_ACQUIRE));
}

static int is_readable_and_due(void *argument)
{
	struct reader *self = argument;

	return sk_slot_is_ready(read_slot(self->source)) && has_fired(&self->timer);
}

static int is_readable_and_cancelled(void *argument)
{
	struct reader *self = argument;

	return sk_slot_is_ready(read_slot(self->source)) && is_cancelled(self->task);
}

static void coincide(uint32_t kind, int with_cancel)
{
	skua_runtime *rt = runtime_on(1, kind);
	int too_late = 1;

	for (int i = 0; i < TRIES && too_late; i++) {
		struct reader state = {
			.co = SKUA_CORO_INIT(reader),
			.ns = with_cancel ? 3600 * SKUA_SEC : DUE_MS * SKUA_MSEC,
		};
		struct holder holder = {
			with_cancel ? is_readable_and_cancelled : is_readable_and_due,
			was_interrupted,
			&state,
			0,
			0,
		};
		skua_task *task, *held;
		int ends[2];

		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
		T_EQ(skua_source_new(rt, ends[0], &state.source), 0);
		task = start(rt, in_place, &state.co);
		WAIT_UNTIL(!was_interrupted(&state));
		held = start(rt, hold, &holder);
		WAIT_UNTIL(holder.holds == 1);
		T_EQ(write(ends[1], "x", 1), 1);
		if (with_cancel)
			(void)skua_cancel(task);
		T_EQ(skua_task_wait(&held), 0);
		T_EQ(skua_task_wait(&task), 0);
		too_late = holder.too_late;
		if (!too_late) {
			T_EQ(state.interrupted, with_cancel ? -ECANCELED : -ETIMEDOUT);
			T_EQ(state.after, 0);
		}
		skua_source_close(state.source);
		close(ends[1]);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

T_ON_EACH_IO(deadline, an_event_at_the_same_moment_is_kept)
{
	coincide(kind, 0);
}

T_ON_EACH_IO(deadline, an_event_together_with_a_cancel_is_kept)
{
	coincide(kind, 1);
}

/* ---- A foreign executor whose waker is another one at each poll ---- */

static skua_timer foreign_timer;
static atomic_int waits_in_clone;

static void *foreign_clone(void *data)
{
	if (waits_in_clone)
		WAIT_UNTIL(has_fired(&foreign_timer));
	return data;
}

static void foreign_nothing(void *data)
{
	(void)data;
}

/* Of the wakers that are woken each has a number of its own. */
static atomic_int woken[2];

static void foreign_wake(void *data)
{
	atomic_fetch_add((atomic_int *)data, 1);
}

static const skua_waker_ops foreign_ops = {
	foreign_clone,
	foreign_wake,
	foreign_wake,
	foreign_nothing,
};

static skua_cx foreign_cx(skua_runtime *rt)
{
	skua_waker waker = {&foreign_ops, &woken[0]};
	skua_cx cx;

	skua_cx_init(&cx, rt, &waker);
	return cx;
}

T_TEST_T(deadline, a_timer_that_fires_while_its_waker_is_replaced_is_seen, 10)
{
	skua_runtime *rt = runtime_of(1);
	skua_cx cx = foreign_cx(rt);

	T_EQ(skua_sleep(&cx, &foreign_timer, 10 * SKUA_MSEC), SKUA_PENDING);
	atomic_store(&waits_in_clone, 1);
	T_EQ(skua_sleep(&cx, &foreign_timer, 10 * SKUA_MSEC), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A foreign executor may bring another waker to each poll: the last one is woken. */
T_TEST_T(deadline, the_waker_of_the_last_poll_is_woken, 10)
{
	skua_runtime *rt = runtime_of(1);
	skua_cx cx = foreign_cx(rt);

	T_EQ(skua_timeout(&cx, &foreign_timer, 200 * SKUA_MSEC, SKUA_PENDING), SKUA_PENDING);
	cx.waker.data = &woken[1];
	T_EQ(skua_timeout(&cx, &foreign_timer, 200 * SKUA_MSEC, SKUA_PENDING), SKUA_PENDING);
	WAIT_UNTIL(woken[1] == 1);
	T_EQ(woken[0], 0);
	skua_timer_cancel(&foreign_timer);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST_T(deadline, sleeps_that_are_polled_all_the_time_end, 10)
{
	skua_runtime *rt = runtime_of(1);
	skua_cx cx = foreign_cx(rt);

	for (int i = 0; i < rounds(1000); i++)
		while (skua_sleep(&cx, &foreign_timer, 100 * SKUA_USEC) == SKUA_PENDING)
			;
	T_EQ(skua_runtime_free(rt), 0);
}
