/*
 * executor_support.h - an executor that is not Skua's: a thread of the test polls by hand, and
 * sleeps until it is woken. It counts its wakers.
 */
#ifndef SKUA_TESTS_EXECUTOR_SUPPORT_H
#define SKUA_TESTS_EXECUTOR_SUPPORT_H

#include "api_support.h"

struct executor {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int woken, wakes;
	atomic_int clones, ended; /* references given out, and given back */
	atomic_int fail;          /* the next clones fail */
};

static inline void *executor_clone(void *data)
{
	struct executor *executor = data;

	if (atomic_load(&executor->fail) > 0) {
		atomic_fetch_sub(&executor->fail, 1);
		return NULL;
	}
	atomic_fetch_add(&executor->clones, 1);
	return data;
}

static inline void executor_wake_by_ref(void *data)
{
	struct executor *executor = data;

	pthread_mutex_lock(&executor->lock);
	executor->woken = 1;
	executor->wakes++;
	pthread_cond_signal(&executor->changed);
	pthread_mutex_unlock(&executor->lock);
}

static inline void executor_drop(void *data)
{
	atomic_fetch_add(&((struct executor *)data)->ended, 1);
}

static inline void executor_wake(void *data)
{
	executor_wake_by_ref(data);
	executor_drop(data);
}

static const skua_waker_ops executor_ops = {
	executor_clone,
	executor_wake,
	executor_wake_by_ref,
	executor_drop,
};

static inline void executor_init(struct executor *executor)
{
	memset(executor, 0, sizeof *executor);
	pthread_mutex_init(&executor->lock, NULL);
	pthread_cond_init(&executor->changed, NULL);
}

static inline skua_waker executor_waker(struct executor *executor)
{
	return (skua_waker){&executor_ops, executor};
}

static inline void executor_sleep(struct executor *executor)
{
	pthread_mutex_lock(&executor->lock);
	while (!executor->woken)
		pthread_cond_wait(&executor->changed, &executor->lock);
	executor->woken = 0;
	pthread_mutex_unlock(&executor->lock);
}

/* Polls an operation to its end, sleeping in between. */
static inline skua_poll drive(struct executor *executor, skua_cx *cx, operation *function,
			      void *argument)
{
	skua_poll result;

	while ((result = function(cx, argument)) == SKUA_PENDING)
		executor_sleep(executor);
	return result;
}

/* Every reference was given back. Those who wake give theirs up a moment after the wake. */
static inline void executor_check(struct executor *executor)
{
	WAIT_UNTIL(executor->ended == executor->clones);
	sleep_ms(2);
	T_EQ(executor->ended, executor->clones);
}

#endif /* SKUA_TESTS_EXECUTOR_SUPPORT_H */
