/*
 * compose_support.h - what the tests of compositions share: a future that does what it is told in
 * so many polls and keeps count, and the three ways to await any future.
 */
#ifndef SKUA_TESTS_COMPOSE_SUPPORT_H
#define SKUA_TESTS_COMPOSE_SUPPORT_H

#include <limits.h>
#include <stdbool.h>

#include "executor_support.h"

/* Ready with `value` after `waits` polls that were not; interrupted, with -ECANCELED after
 * `cleanup`. */
struct step {
	skua_future future;
	int64_t value;
	int waits;   /* polls that are not ready; FOREVER */
	int cleanup; /* the same, when it was interrupted */
	int polls, told, ended, dropped;
	int cleaning;
};

enum { FOREVER = INT_MAX };

static inline skua_poll step_poll(skua_cx *cx, skua_future *future)
{
	struct step *self = (struct step *)(void *)future;
	int interrupt = skua_cx_interrupt(cx);

	T_EQ(self->ended, 0);
	T_EQ(self->dropped, 0);
	self->polls++;
	if (interrupt != 0) {
		self->told++;
		self->waits = self->cleanup;
		self->cleanup = 0;
		self->cleaning = 1;
	}
	if (self->waits > 0) {
		if (self->waits != FOREVER) {
			self->waits--;
			skua_waker_wake_by_ref(skua_cx_waker(cx));
		}
		return SKUA_PENDING;
	}
	self->ended = 1;
	return self->cleaning ? -ECANCELED : self->value;
}

static inline void step_drop(skua_future *future)
{
	struct step *self = (struct step *)(void *)future;

	T_EQ(self->ended, 0);
	T_EQ(self->dropped, 0);
	self->dropped = 1;
}

static const skua_future_ops step_ops = {
	.poll = step_poll,
	.drop = step_drop,
	.size = sizeof(struct step),
	.name = "step",
	.file = __FILE__,
};

static inline struct step step_of(int waits, int64_t value)
{
	return (struct step){.future = {&step_ops, 0, 0}, .waits = waits, .value = value};
}

/* ---- The three ways to await ---- */

enum way { IN_A_COROUTINE, BY_BLOCK_ON, BY_A_FOREIGN_EXECUTOR, WAYS };

struct awaits {
	skua_coro co;
	skua_future *future;
	int64_t result;
};

static inline skua_poll awaits(skua_cx *cx, struct awaits *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->result = skua_poll_future(cx, self->future));
	SKUA_END(self->result);
}
SKUA_CORO(awaits, struct awaits);

static inline skua_poll poll_any(skua_cx *cx, void *future)
{
	return skua_poll_future(cx, future);
}

static inline skua_poll await_by_hand(skua_runtime *rt, skua_future *future)
{
	struct executor executor;
	skua_waker waker;
	skua_poll result;
	skua_cx cx;

	executor_init(&executor);
	waker = executor_waker(&executor);
	skua_cx_init(&cx, rt, &waker);
	result = drive(&executor, &cx, poll_any, future);
	executor_check(&executor);
	T_EQ(cx.due, 0);
	T_EQ(cx.shields, 0);
	T_NULL(cx.interrupts);
	return result;
}

static inline skua_poll await_in_a_coroutine(skua_runtime *rt, skua_future *future)
{
	struct awaits task = {.co = SKUA_CORO_INIT(awaits), .future = future};
	skua_task *handle = start_future(rt, &task.co);

	return skua_task_wait(&handle);
}

static inline skua_poll await_by(enum way way, skua_runtime *rt, skua_future *future)
{
	switch (way) {
	case IN_A_COROUTINE:
		return await_in_a_coroutine(rt, future);
	case BY_BLOCK_ON:
		return skua_block_on(rt, future);
	default:
		return await_by_hand(rt, future);
	}
}

#endif /* SKUA_TESTS_COMPOSE_SUPPORT_H */
