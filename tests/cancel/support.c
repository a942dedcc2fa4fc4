/* support.c - what scenarios share: a gate for jobs, helpers, and children that sleep. */
#include "tests/cancel/cancel.h"

/* ---- The gate ---- */

int64_t gate_job(void *argument)
{
	struct trial *trial = *(struct trial **)argument;

	pthread_mutex_lock(&trial->lock);
	while (trial->gate == 0)
		pthread_cond_wait(&trial->changed, &trial->lock);
	trial->gate--;
	pthread_mutex_unlock(&trial->lock);
	return 7;
}

void gate_open(struct trial *trial, int count)
{
	pthread_mutex_lock(&trial->lock);
	trial->gate += count;
	pthread_cond_broadcast(&trial->changed);
	pthread_mutex_unlock(&trial->lock);
}

void gate_release(struct trial *trial)
{
	gate_open(trial, 1 << 20);
}

/* ---- Helpers ---- */

void helper_ends(struct trial *trial, int number, int64_t result)
{
	if (trial->helpers[number] == NULL)
		return;
	trial_expect(trial, "the result of a helper", skua_task_wait(&trial->helpers[number]),
		     result);
}

void helper_ends_somehow(struct trial *trial, int number)
{
	int64_t unused = skua_task_wait(&trial->helpers[number]);

	(void)unused;
}

/* ---- Sleepers ---- */

static skua_poll sleeper(skua_cx *cx, struct sleeper *self)
{
	SKUA_BEGIN(self);
	atomic_fetch_add(&self->trial->counts[0], 1);
	self->rc = 0;
	for (self->naps = 0; self->naps < self->hours && self->rc == 0; self->naps++)
		SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, CANCEL_HOUR));
	if (self->rc == -ECANCELED)
		SKUA_AWAIT(skua_yield(cx));
	atomic_fetch_add(&self->trial->counts[1], 1);
	SKUA_END(self->rc < 0 ? self->rc : self->value);
}
SKUA_CORO(sleeper, struct sleeper);

struct sleeper sleeper_of(struct trial *trial, int hours, int64_t value)
{
	return (struct sleeper){
		.co = SKUA_CORO_INIT(sleeper), .trial = trial, .hours = hours, .value = value};
}

void sleepers_have_ended(struct trial *trial)
{
	trial_expect(trial, "children that have ended", atomic_load(&trial->counts[1]),
		     atomic_load(&trial->counts[0]));
}
