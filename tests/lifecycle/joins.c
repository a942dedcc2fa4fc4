/*
 * joins.c - those who wait for the task: tasks that join it, with deadlines, cancelled or two at a
 * time, and a thread.
 */
#include <errno.h>

#include "tests/lifecycle/life.h"

/* ---- A task that joins ---- */

struct joiner {
	skua_future future;
	struct life *life;
	int number;
	bool keeps; /* the handle is its own, not a second copy */
	skua_task *target;
	skua_timer timer;
};

static void hand_back(struct joiner *self)
{
	struct life *life = self->life;

	if (!self->keeps || self->target == NULL)
		return;
	if (atomic_exchange(&life->returned, self->target) != NULL)
		life_fail(life, "the handle came back twice");
	self->target = NULL;
}

static skua_poll joiner_poll(skua_cx *cx, skua_future *future)
{
	struct joiner *self = (struct joiner *)(void *)future;
	enum handle handle = self->life->c->handle;
	skua_poll result;

	if (handle == JOINED_IN_TIME || handle == JOINED_LATE) {
		uint64_t time = handle == JOINED_LATE ? 1 : 10 * LIFE_HOUR;

		result = skua_timeout(cx, &self->timer, time, skua_join(cx, &self->target));
	} else {
		result = skua_join(cx, &self->target);
	}
	if (result == SKUA_PENDING)
		return result;
	if (self->target == NULL) {
		atomic_fetch_add(&self->life->joins_taken, 1);
		/* It was joined: there is nothing to join any more. */
		if (skua_join(cx, &self->target) != -EINVAL)
			life_fail(self->life, "a second join of the same task was possible");
	}
	hand_back(self);
	return result;
}

static void joiner_drop(skua_future *future)
{
	struct joiner *self = (struct joiner *)(void *)future;

	atomic_fetch_add(&self->life->joiner_drops, 1);
	hand_back(self);
}

static const skua_future_ops joiner_ops = {
	joiner_poll, joiner_drop, sizeof(struct joiner), "joiner", __FILE__,
};

/* The first one takes the controller's handle. */
void life_start_joiner(struct life *life, int number, skua_task *target)
{
	struct joiner joiner = {
		.future = {&joiner_ops, 0, 0},
		.life = life,
		.number = number,
		.keeps = number == 0,
		.target = target,
	};

	life->handle = NULL;
	life_expect(life, "spawning who joins",
		    skua_spawn(life->stage.rt, &joiner.future, &life->joiners[number]), 0);
}

static void take_back_handle(struct life *life)
{
	life->handle = atomic_exchange(&life->returned, NULL);
}

static void end_joiner(struct life *life, int number, int64_t expected)
{
	life_expect(life, "who joins", skua_task_wait(&life->joiners[number]), expected);
}

static void await_join(struct life *life, skua_task *task)
{
	(void)life;
	CASES_WAIT(sk_is_waiter(sk_load(&task->join, SK_ACQUIRE)));
}

/* The joins that happen while it is parked, and cannot end. */
void life_join_parked(struct life *life)
{
	skua_task *task = life->handle;

	life_start_joiner(life, 0, task);
	switch (life->c->handle) {
	case JOINED_LATE:
		end_joiner(life, 0, -ETIMEDOUT);
		take_back_handle(life);
		break;
	case JOINED_CANCELLED:
		await_join(life, task);
		life_expect(life, "cancelling who joins", skua_cancel(life->joiners[0]), 0);
		end_joiner(life, 0, -ECANCELED);
		take_back_handle(life);
		break;
	default:
		await_join(life, task);
		life_start_joiner(life, 1, task);
		end_joiner(life, 1, -EBUSY);
	}
	if (life->c->handle == JOINED_TWICE)
		return;
	if (life->handle != task)
		life_fail(life, "a join that was given up kept the handle");
	if (sk_is_waiter(sk_load(&task->join, SK_ACQUIRE)))
		life_fail(life, "a join that was given up still waits");
}

/* ---- A thread that waits ---- */

/* The thread that waits while the others act; it serves all cases. */
static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct life *life; /* whose task it waits for */
	skua_task *task;
	bool finish;
} waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *waiter_main(void *argument)
{
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.finish) {
		struct life *life = waiter.life;

		if (life == NULL) {
			pthread_cond_wait(&waiter.changed, &waiter.lock);
			continue;
		}
		pthread_mutex_unlock(&waiter.lock);
		life->joined[0] = skua_task_wait(&waiter.task);
		pthread_mutex_lock(&waiter.lock);
		waiter.life = NULL;
		pthread_cond_broadcast(&waiter.changed);
	}
	pthread_mutex_unlock(&waiter.lock);
	return argument;
}

void life_waiter_start(struct life *life)
{
	pthread_mutex_lock(&waiter.lock);
	waiter.task = life->handle;
	waiter.life = life;
	life->handle = NULL;
	pthread_cond_broadcast(&waiter.changed);
	pthread_mutex_unlock(&waiter.lock);
}

static void waiter_end(struct life *life)
{
	pthread_mutex_lock(&waiter.lock);
	while (waiter.life != NULL)
		pthread_cond_wait(&waiter.changed, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	life_expect(life, "the thread that waits", life->joined[0], life->outcome.result);
}

void life_waiter_begin(void)
{
	pthread_create(&waiter.thread, NULL, waiter_main, NULL);
}

void life_waiter_finish(void)
{
	pthread_mutex_lock(&waiter.lock);
	waiter.finish = true;
	pthread_cond_broadcast(&waiter.changed);
	pthread_mutex_unlock(&waiter.lock);
	pthread_join(waiter.thread, NULL);
}

/* ---- All of them ---- */

void life_end_joins(struct life *life)
{
	for (int i = 0; i < 2; i++) {
		if (life->joiners[i] == NULL)
			continue;
		life->joined[i] = skua_task_wait(&life->joiners[i]);
		if (atomic_load(&life->joins_taken) > 0)
			life_expect(life, "the join", life->joined[i], life->outcome.result);
		else if (life->joined[i] != -ECANCELED && life->joined[i] != -ESHUTDOWN)
			life_fail(life, "a join that was interrupted gave %lld",
				  (long long)life->joined[i]);
	}
	if (atomic_load(&life->returned) != NULL)
		take_back_handle(life);
	if (life->c->handle >= JOINED && life->c->end == NEVER && life_is_consumed(life->c))
		life_expect(life, "joins with the result", life->joins_taken, 1);
	if (life->c->handle == WAITED_ALWAYS)
		waiter_end(life);
}
