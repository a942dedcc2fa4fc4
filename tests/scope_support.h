/*
 * scope_support.h - what the tests of scopes share: a coroutine that opens a scope, spawns children
 * into it and joins it; children of some kinds; and a foreign executor.
 */
#ifndef SKUA_TESTS_SCOPE_SUPPORT_H
#define SKUA_TESTS_SCOPE_SUPPORT_H

#include "api_support.h"
#include "sched/thread_waker.h"

/* ---- Children ---- */

/* Ends at once. */
static inline skua_poll child_seven(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return 7;
}

/* Ends at once, and counts. */
static inline skua_poll child_counts(skua_cx *cx, void *argument)
{
	(void)cx;
	atomic_fetch_add((atomic_int *)argument, 1);
	return 0;
}

/* Fails at once. */
static inline skua_poll child_fails(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return -EIO;
}

/* Gives way once, then counts. */
struct yielder {
	skua_coro co;
	atomic_int *count;
	int64_t rc;
};

static inline skua_poll yielder(skua_cx *cx, struct yielder *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_yield(cx));
	atomic_fetch_add(self->count, 1);
	SKUA_END(self->rc);
}
SKUA_CORO(yielder, struct yielder);

/* Waits until it is cancelled, then cleans up, which takes a while. */
struct waiter {
	atomic_int begun, told, ended;
};

struct sleeper {
	skua_coro co;
	struct waiter *waiter;
	skua_timer timer;
	int64_t rc;
};

static inline skua_poll sleeper(skua_cx *cx, struct sleeper *self)
{
	SKUA_BEGIN(self);
	atomic_fetch_add(&self->waiter->begun, 1);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 3600 * SKUA_SEC));
	atomic_fetch_add(&self->waiter->told, self->rc == -ECANCELED);
	SKUA_AWAIT(skua_sleep(cx, &self->timer, 2 * SKUA_MSEC));
	atomic_fetch_add(&self->waiter->ended, 1);
	SKUA_END(self->rc);
}
SKUA_CORO(sleeper, struct sleeper);

static inline struct sleeper sleeper_of(struct waiter *waiter)
{
	return (struct sleeper){.co = SKUA_CORO_INIT(sleeper), .waiter = waiter};
}

/* ---- An owner ---- */

/* Opens a scope, spawns `count` copies of a child, and then `last`, if there is one, and joins. */
struct owner {
	skua_coro co;
	const skua_scope_options *options;
	const skua_future *child, *last;
	int count;
	int spawned;    /* out: how many spawns succeeded */
	int64_t failed; /* out: how the first one that failed did */
	skua_scope *scope;
	int64_t rc;
};

static inline skua_poll spawn_all(skua_cx *cx, struct owner *self)
{
	int64_t rc = skua_scope_new(cx, self->options, &self->scope);

	for (int i = 0; i < self->count && rc == 0; i++) {
		rc = skua_scope_spawn(cx, self->scope, self->child, NULL);
		self->spawned += rc == 0;
	}
	if (self->last != NULL && rc == 0)
		rc = skua_scope_spawn(cx, self->scope, self->last, NULL);
	self->failed = rc;
	return self->scope != NULL ? 0 : rc;
}

static inline skua_poll owner(skua_cx *cx, struct owner *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = spawn_all(cx, self));
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	T_NULL(self->scope);
	SKUA_END(self->rc);
}
SKUA_CORO(owner, struct owner);

static inline struct owner owner_of(const skua_future *child, int count)
{
	return (struct owner){.co = SKUA_CORO_INIT(owner), .child = child, .count = count};
}

/* ---- A foreign executor: this thread ---- */

static inline skua_poll run_foreign(skua_runtime *rt, skua_future *future)
{
	struct sk_thread_waker *waker = sk_thread_waker_new();
	skua_poll result;
	skua_cx cx;

	T_NOT_NULL(waker);
	sk_thread_waker_cx(waker, &cx);
	cx.runtime = rt;
	while ((result = future->ops->poll(&cx, future)) == SKUA_PENDING)
		sk_thread_waker_park(waker);
	sk_thread_waker_free(waker);
	return result;
}

/* The three ways to await: a task, skua_block_on, a foreign executor. */
enum { AS_TASK, BLOCKING, FOREIGN, WAYS };

static inline skua_poll await_in(int way, skua_runtime *rt, skua_future *future)
{
	skua_task *task;

	if (way == FOREIGN)
		return run_foreign(rt, future);
	if (way == BLOCKING)
		return skua_block_on(rt, future);
	task = start_future(rt, future);
	return skua_task_wait(&task);
}

#endif /* SKUA_TESTS_SCOPE_SUPPORT_H */
