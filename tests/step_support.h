/*
 * tests/step_support.h - what the tests of the running scheduler share: the scheduler, and a task
 * whose poll function is a field. There is no driver: the tests play it.
 */
#ifndef SKUA_TESTS_STEP_SUPPORT_H
#define SKUA_TESTS_STEP_SUPPORT_H

#include "sched/sched.h"
#include "sched/worker.h"
#include "skua/task.h"
#include "tests/sched_support.h"

static struct sk_sched *sched;

static counter polls, ended, dropped;

/* A future whose poll function is its field: one kind for all tests. */
struct step {
	skua_future future;
	skua_poll (*poll)(skua_cx *cx, struct step *self);
	uint64_t number;
	uint64_t left;
	skua_task *child;
	void *other;
};

static inline skua_poll step_poll(skua_cx *cx, skua_future *future)
{
	struct step *self = (struct step *)(void *)future;

	return self->poll(cx, self);
}

static inline void step_drop(skua_future *future)
{
	struct step *self = (struct step *)(void *)future;

	count_up(&dropped);
	skua_detach(&self->child);
}

static const skua_future_ops step_ops = {
	step_poll, step_drop, sizeof(struct step), "step", __FILE__,
};

static inline struct step new_step(skua_poll (*poll)(skua_cx *, struct step *), uint64_t number)
{
	struct step step = {.future = {&step_ops, 0, 0}, .poll = poll, .number = number};

	return step;
}

static inline skua_task *spawn_step(struct step step)
{
	skua_task *task = NULL;

	T_EQ(sk_sched_spawn(sched, &step.future, &task), 0);
	T_NOT_NULL(task);
	return task;
}

static inline void spawn_detached(struct step step)
{
	T_EQ(sk_sched_spawn(sched, &step.future, NULL), 0);
}

/* ---- Kinds of steps ---- */

static inline skua_poll poll_number(skua_cx *cx, struct step *self)
{
	T_NOT_NULL(cx->task);
	T_ASSERT(sk_worker_current() == cx->worker);
	count_up(&polls);
	return (skua_poll)self->number;
}

/* Keeps this thread busy. */
static inline void spin_us(unsigned us)
{
	uint64_t until = sk_now() + us * UINT64_C(1000);

	while (sk_now() < until)
		sk_spin_hint();
}

static inline skua_poll be_busy(skua_cx *cx, struct step *self)
{
	(void)cx;
	spin_us((unsigned)self->number);
	count_up(&ended);
	return 0;
}

#endif /* SKUA_TESTS_STEP_SUPPORT_H */
