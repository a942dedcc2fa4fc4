/*
 * examples/timers.c - sleeping, an interval and what it does about missed ticks, and a deadline that
 * is put off whenever something happens.
 *
 * The runtime's clock is paused: time jumps to the next timer as soon as every task waits, so that
 * these two minutes take no time. Without skua_clock_pause the program prints the same.
 *
 * It prints:
 *
 *     slept for 3 s
 *     burst: ticks at 0 s 5 s 5 s 6 s 8 s
 *     delay: ticks at 0 s 5 s 7 s 9 s 11 s
 *     skip:  ticks at 0 s 5 s 6 s 8 s 10 s, 1 left out
 *     a message after 10 s
 *     a message after 20 s
 *     a message after 29 s
 *     idle for 30 s: closed
 */
#include <errno.h>
#include <stdio.h>

#include <skua.h>

enum { TICKS = 5 };

/* ---- An interval ---- */

struct ticker {
	skua_coro co;
	skua_interval interval; /* everything that lives across an await is a member */
	skua_timer work;
	const char *name;
	uint64_t start;
	uint32_t missed;
	int i;
	int64_t rc, left_out;
};

/* A tick every 2 s; what is done after the first one takes 5 s. */
static skua_poll ticker(skua_cx *cx, struct ticker *self)
{
	SKUA_BEGIN(self);
	self->start = skua_now();
	self->rc = skua_interval_init(&self->interval, self->start, 2 * SKUA_SEC, self->missed);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	printf("%-6s ticks at", self->name);
	for (self->i = 0; self->i < TICKS; self->i++) {
		SKUA_AWAIT(self->rc = skua_tick(cx, &self->interval));
		if (self->rc < 0)
			SKUA_RETURN(self->rc);
		self->left_out += self->rc;
		printf(" %d s", (int)((skua_now() - self->start) / SKUA_SEC));
		if (self->i == 0)
			SKUA_AWAIT(self->rc = skua_sleep(cx, &self->work, 5 * SKUA_SEC));
	}
	if (self->left_out > 0)
		printf(", %d left out", (int)self->left_out);
	printf("\n");
	SKUA_END(0);
}
SKUA_CORO(ticker, struct ticker);

/* ---- A deadline that is put off: a session that must not be idle for 30 s ---- */

#define IDLE (30 * SKUA_SEC)

struct session {
	skua_coro co;
	skua_timer message; /* stands for a connection: the next message comes when it fires */
	skua_timer *idle;   /* of the skua_timeout around the whole session */
	int i;
	int64_t rc;
};

static skua_poll session(skua_cx *cx, struct session *self)
{
	static const unsigned gaps[] = {10, 20, 29, 31};

	SKUA_BEGIN(self);
	for (self->i = 0; self->i < 4; self->i++) {
		SKUA_AWAIT(self->rc = skua_sleep(cx, &self->message, gaps[self->i] * SKUA_SEC));
		if (self->rc < 0)
			break; /* -ECANCELED: the deadline around this */
		printf("a message after %u s\n", gaps[self->i]);
		self->rc = skua_timer_reset(cx, self->idle, skua_now() + IDLE);
		if (self->rc < 0)
			break;
	}
	SKUA_END(self->rc);
}
SKUA_CORO(session, struct session);

/* ---- One after the other ---- */

struct all {
	skua_coro co;
	skua_timer timer;
	struct ticker ticker;
	struct session session;
	int i;
	int64_t rc;
};

static skua_poll all(skua_cx *cx, struct all *self)
{
	static const char *const names[] = {"burst:", "delay:", "skip:"}; /* SKUA_MISSED_* */

	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 3 * SKUA_SEC));
	printf("slept for 3 s\n");
	for (self->i = 0; self->rc == 0 && self->i < 3; self->i++) {
		self->ticker = (struct ticker){.co = SKUA_CORO_INIT(ticker),
					       .name = names[self->i],
					       .missed = (uint32_t)self->i};
		SKUA_AWAIT(self->rc = skua_poll_future(cx, &self->ticker.co));
	}
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	self->session = (struct session){.co = SKUA_CORO_INIT(session), .idle = &self->timer};
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, IDLE,
					   skua_poll_future(cx, &self->session.co)));
	if (self->rc == -ETIMEDOUT)
		printf("idle for 30 s: closed\n");
	SKUA_END(self->rc == -ETIMEDOUT ? 0 : -EPROTO);
}
SKUA_CORO(all, struct all);

int main(void)
{
	struct all main_task = {.co = SKUA_CORO_INIT(all)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_clock_pause(rt);
	if (rc == 0)
		rc = skua_block_on(rt, &main_task.co);
	return skua_runtime_free(rt) < 0 || rc < 0;
}
