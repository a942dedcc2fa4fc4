/*
 * examples/select.c - several operations at once in one task: all of them (join), all unless one fails
 * (try_join), the first one (select), and a stop that ends the work in the middle.
 *
 * Who loses is cancelled, and awaited until it has cleaned up: nothing goes on behind one's back.
 *
 * The clock is paused: it jumps to the next timer as soon as every task waits.
 *
 * It prints:
 *
 *     join: 3 and 5, after 5 s
 *     try_join: no such file or directory, after 1 s; the other one: operation canceled
 *     select: the answer, after 2 s
 *     select: stopped, after 5 s; the work: operation canceled
 */
#include <errno.h>
#include <stdio.h>

#include <skua.h>

/* ---- An operation that takes some seconds: these are its result ---- */

static skua_poll work(skua_cx *cx, skua_timer *timer, int seconds)
{
	skua_poll rc = skua_sleep(cx, timer, (uint64_t)seconds * SKUA_SEC);

	return rc == 0 ? seconds : rc; /* SKUA_PENDING goes through, too */
}

static skua_poll fails(skua_cx *cx, skua_timer *timer)
{
	skua_poll rc = skua_sleep(cx, timer, SKUA_SEC);

	return rc == 0 ? -ENOENT : rc;
}

/* ---- Someone else, who says stop after 5 s ---- */

struct stopper {
	skua_coro co;
	skua_token *token;
	skua_timer timer;
	int64_t rc;
};

static skua_poll stopper(skua_cx *cx, struct stopper *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 5 * SKUA_SEC));
	skua_token_cancel(self->token);
	skua_token_release(self->token);
	SKUA_END(self->rc);
}
SKUA_CORO(stopper, struct stopper);

/* ---- All of them ---- */

struct several {
	skua_coro co;
	skua_compose compose; /* what an await of several needs; zeroed, used again and again */
	skua_timer timers[2];
	skua_token *token;
	skua_token_waiter waiter;
	uint64_t start;
	int64_t rc, which, a, b;
};

static int after(struct several *self)
{
	return (int)((skua_now() - self->start) / SKUA_SEC);
}

/* Has the token cancelled by another task. */
static int64_t start_stopper(skua_cx *cx, struct several *self)
{
	struct stopper task = {.co = SKUA_CORO_INIT(stopper)};
	int64_t rc = skua_token_new(NULL, &self->token);

	if (rc < 0)
		return rc;
	task.token = skua_token_hold(self->token);
	rc = skua_spawn(skua_cx_runtime(cx), &task.co, NULL);
	if (rc < 0)
		skua_token_release(task.token);
	return rc;
}

static skua_poll several(skua_cx *cx, struct several *self)
{
	SKUA_BEGIN(self);
	self->start = skua_now();
	SKUA_JOIN (self->rc, cx, &self->compose, 2) {
		SKUA_BRANCH(0, self->a = work(cx, &self->timers[0], 3));
		SKUA_BRANCH(1, self->b = work(cx, &self->timers[1], 5));
	}
	printf("join: %d and %d, after %d s\n", (int)self->a, (int)self->b, after(self));

	self->start = skua_now();
	SKUA_TRY_JOIN (self->rc, cx, &self->compose, 2) {
		SKUA_BRANCH(0, self->a = work(cx, &self->timers[0], 3));
		SKUA_BRANCH(1, self->b = fails(cx, &self->timers[1]));
	}
	printf("try_join: %s, after %d s; the other one: %s\n", skua_strerror(self->rc),
	       after(self), skua_strerror(self->a));

	self->start = skua_now();
	SKUA_SELECT (self->which, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, self->a = work(cx, &self->timers[0], 2));
		SKUA_BRANCH(1, self->rc = skua_sleep(cx, &self->timers[1], 60 * SKUA_SEC));
	}
	printf("select: %s, after %d s\n", self->which == 0 ? "the answer" : "?", after(self));

	self->start = skua_now();
	self->rc = start_stopper(cx, self);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	SKUA_SELECT (self->which, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, self->a = work(cx, &self->timers[0], 60));
		SKUA_BRANCH(1, self->rc = skua_token_wait(cx, &self->waiter, self->token));
	}
	printf("select: %s, after %d s; the work: %s\n", self->which == 1 ? "stopped" : "?",
	       after(self), skua_strerror(self->a));
	skua_token_release(self->token);
	SKUA_END(self->which == 1 ? 0 : -EPROTO);
}
SKUA_CORO(several, struct several);

int main(void)
{
	struct several task = {.co = SKUA_CORO_INIT(several)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_clock_pause(rt);
	if (rc == 0)
		rc = skua_block_on(rt, &task.co);
	return skua_runtime_free(rt) < 0 || rc < 0;
}
