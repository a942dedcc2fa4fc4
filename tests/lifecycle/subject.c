/*
 * subject.c - the task whose life it is: what it does and what it waits for, and how that is made
 * to happen.
 */
#include <errno.h>
#include <unistd.h>

#include "sched/timer.h"
#include "tests/lifecycle/life.h"
#include "tests/lifecycle/memory.h"

/* ---- The task ---- */

struct subject {
	skua_future future;
	struct life *life;
	unsigned awaits;
	void *owned; /* memory, so that the clean-up is seen by the allocator as well */
	skua_task *job;
	skua_timer timer;
};

static skua_poll await_waker(skua_cx *cx, struct life *life)
{
	skua_poll result = skua_cx_interrupt(cx);
	skua_waker old;

	pthread_mutex_lock(&life->cell_lock);
	old = life->cell_waker;
	life->cell_waker = (skua_waker){NULL, NULL};
	if (result == 0 && life->cell_count > 0) {
		life->cell_count--;
	} else if (result == 0) {
		result = skua_waker_clone(skua_cx_waker(cx), &life->cell_waker);
		if (result == 0)
			result = SKUA_PENDING;
	}
	pthread_mutex_unlock(&life->cell_lock);
	skua_waker_drop(&old);
	return result;
}

/* Tries before it waits, and goes on where it waited, as a coroutine does. */
static skua_poll await_source(skua_cx *cx, struct life *life)
{
	uint64_t count;

	for (;;) {
		skua_poll ready;

		if (!life->source_awaited &&
		    read(life->source_fd, &count, sizeof count) == sizeof count)
			return 0;
		ready = skua_source_readable(cx, life->source);
		life->source_awaited = ready == SKUA_PENDING;
		if (ready != 0)
			return ready;
	}
}

static int64_t job(void *argument)
{
	struct life *life = *(struct life **)argument;
	unsigned number = atomic_fetch_add(&life->jobs_started, 1) + 1;

	while (atomic_load(&life->jobs_go) < number &&
	       sk_load(&life->stage.sched->phase, SK_ACQUIRE) == SK_PHASE_OPEN)
		usleep(50);
	return 0;
}

static skua_poll await_job(skua_cx *cx, struct subject *self)
{
	int rc;

	if (self->job == NULL) {
		rc = skua_cx_interrupt(cx);
		if (rc == 0)
			rc = skua_spawn_blocking(cx->runtime, job, &self->life, sizeof(void *),
						 &self->job);
		if (rc < 0)
			return rc;
	}
	return skua_join(cx, &self->job);
}

static skua_poll await_once(skua_cx *cx, struct subject *self)
{
	switch (self->life->c->wait) {
	case YIELD:
		return skua_yield(cx);
	case WAKER:
		return await_waker(cx, self->life);
	case TIMER:
		return skua_sleep(cx, &self->timer, LIFE_HOUR);
	case SOURCE:
		return await_source(cx, self->life);
	case JOB:
		return await_job(cx, self);
	default:
		return SKUA_PENDING;
	}
}

/* Goes on from where it was. */
static skua_poll subject_step(skua_cx *cx, struct subject *self)
{
	struct life *life = self->life;
	enum program program = life->c->program;

	if (atomic_load(&life->cleaning))
		return skua_yield(cx) == SKUA_PENDING ? SKUA_PENDING : -ECANCELED;
	while (self->awaits > 0) {
		skua_poll result = await_once(cx, self);

		if (result == SKUA_PENDING)
			return SKUA_PENDING;
		if (result == -ECANCELED) {
			atomic_fetch_add(&life->interrupts, 1);
			if (program == STUBBORN || program == DROPPED)
				continue;
			if (program != CLEANS_UP)
				return result;
			atomic_store(&life->cleaning, true);
			return skua_yield(cx) == SKUA_PENDING ? SKUA_PENDING : -ECANCELED;
		}
		if (result < 0)
			return result;
		self->awaits--;
	}
	return program == ERROR || program == ERROR_AFTER_1 ? -EIO : LIFE_VALUE;
}

/* Gives back all that it owns: once, at its end or when it is dropped. */
static void subject_release(struct subject *self)
{
	struct life *life = self->life;

	if (atomic_fetch_add(&life->releases, 1) > 0)
		return;
	life_free(self->owned);
	pthread_mutex_lock(&life->cell_lock);
	skua_waker_drop(&life->cell_waker);
	pthread_mutex_unlock(&life->cell_lock);
	if (life->source != NULL)
		skua_source_close(life->source);
	if (self->job != NULL) {
		skua_cancel(self->job);
		skua_detach(&self->job);
	}
}

static skua_poll subject_poll(skua_cx *cx, skua_future *future)
{
	struct subject *self = (struct subject *)(void *)future;
	struct life *life = self->life;
	skua_poll result;

	if (atomic_fetch_add(&life->inside, 1) != 0 || atomic_load(&life->releases) != 0)
		atomic_fetch_add(&life->wrong_polls, 1);
	atomic_store(&life->task, cx->task);
	atomic_fetch_add(&life->polls, 1);
	stage_hold(&life->stage);
	result = subject_step(cx, self);
	if (result != SKUA_PENDING)
		subject_release(self);
	atomic_fetch_sub(&life->inside, 1);
	if (result == SKUA_PENDING)
		atomic_fetch_add(&life->pendings, 1);
	else
		atomic_fetch_add(&life->ended, 1);
	return result;
}

static void subject_drop(skua_future *future)
{
	struct subject *self = (struct subject *)(void *)future;

	atomic_fetch_add(&self->life->drops, 1);
	subject_release(self);
}

static const skua_future_ops subject_ops = {
	subject_poll, subject_drop, sizeof(struct subject), "subject", __FILE__,
};

void life_spawn_subject(void *argument)
{
	struct life *life = argument;
	enum program program = life->c->program;
	struct subject subject = {
		.future = {&subject_ops, 0, 0},
		.life = life,
		.awaits = program == VALUE_AFTER_3               ? 3
			  : program == VALUE || program == ERROR ? 0
								 : 1,
		.owned = life_malloc(32),
	};

	life->spawned = skua_spawn(life->stage.rt, &subject.future,
				   life->c->handle == NO_HANDLE ? NULL : &life->handle);
}

/* ---- What wakes it ---- */

static void fill_cell(void *argument)
{
	struct life *life = argument;
	skua_waker waker;

	pthread_mutex_lock(&life->cell_lock);
	life->cell_count++;
	waker = life->cell_waker;
	life->cell_waker = (skua_waker){NULL, NULL};
	pthread_mutex_unlock(&life->cell_lock);
	if (waker.ops != NULL)
		skua_waker_wake(&waker);
}

/* As the driver does it for a worker that is late; deadlines of joins are later. */
static void fire_timers(void *argument)
{
	struct sk_sched *sched = ((struct life *)argument)->stage.sched;
	uint64_t now = sk_now() + 2 * LIFE_HOUR;

	/* Again, if a worker is just at its timers. */
	for (uint32_t i = 0; i < sched->options.workers; i++)
		while (sk_timers_next(&sched->workers[i]->timers) <= now &&
		       sk_timers_fire_for_owner(&sched->workers[i]->timers, now) == 0)
			sk_thread_yield();
}

void life_wake_subject(struct life *life)
{
	uint64_t one = 1;

	switch (life->c->wait) {
	case WAKER:
		stage_act(&life->stage, fill_cell, life);
		break;
	case TIMER:
		stage_act(&life->stage, fire_timers, life);
		break;
	case SOURCE:
		if (write(life->source_fd, &one, sizeof one) != sizeof one)
			life_fail(life, "the source cannot be written");
		break;
	default:
		atomic_fetch_add(&life->jobs_go, 1);
	}
}
