/*
 * examples/timeouts.c - deadlines in deadlines: 10 s for the whole, 4 s for each attempt, and a request
 * that tells the other side how long it will be waited for.
 *
 * A deadline that passes is a cancellation to the code inside it: the await that goes on there returns
 * -ECANCELED, the code cleans up and may await for that, and the skua_timeout around it makes
 * -ETIMEDOUT of it. So -ETIMEDOUT is always one's own deadline, and an outer one, which has nothing
 * to be tried again, arrives as -ECANCELED.
 *
 * The clock is paused: it jumps to the next timer as soon as every task waits.
 *
 * It prints:
 *
 *     at 0 s: attempt 1, the other side has 4.0 s
 *     at 4 s: the request is given up
 *     attempt 1: connection timed out
 *     at 4 s: attempt 2, the other side has 4.0 s
 *     at 8 s: the request is given up
 *     attempt 2: connection timed out
 *     at 8 s: attempt 3, the other side has 2.0 s
 *     at 10 s: the request is given up
 *     attempt 3: operation canceled
 *     the whole: connection timed out
 */
#include <errno.h>
#include <stdio.h>

#include <skua.h>

static uint64_t start; /* set before the tasks are, for what is printed */

static int seconds(uint64_t moment)
{
	return (int)((moment - start) / SKUA_SEC);
}

/* ---- One request, to a server that takes a minute ---- */

struct request {
	skua_coro co;
	skua_timer answer, clean_up;
	int64_t rc, cleaned;
};

static skua_poll request(skua_cx *cx, struct request *self)
{
	SKUA_BEGIN(self);
	printf("the other side has %.1f s\n", (double)(skua_cx_deadline(cx) - skua_now()) / 1e9);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->answer, 60 * SKUA_SEC));
	if (self->rc < 0) {
		/* The deadline has been told, once: this await is an ordinary one again. */
		SKUA_AWAIT(self->cleaned = skua_sleep(cx, &self->clean_up, SKUA_MSEC));
		printf("at %d s: the request is given up\n", seconds(skua_now()));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(request, struct request);

/* ---- Attempts, until one is answered or the caller has no more time ---- */

struct attempts {
	skua_coro co;
	skua_timer timer;
	struct request request; /* made anew for each attempt */
	int number;
	int64_t rc;
};

static skua_poll attempts(skua_cx *cx, struct attempts *self)
{
	SKUA_BEGIN(self);
	do {
		self->number++;
		self->request = (struct request){.co = SKUA_CORO_INIT(request)};
		printf("at %d s: attempt %d, ", seconds(skua_now()), self->number);
		SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, 4 * SKUA_SEC,
						   skua_poll_future(cx, &self->request.co)));
		printf("attempt %d: %s\n", self->number, skua_strerror(self->rc));
	} while (self->rc == -ETIMEDOUT);
	SKUA_END(self->rc);
}
SKUA_CORO(attempts, struct attempts);

/* ---- The whole ---- */

struct whole {
	skua_coro co;
	skua_timer timer;
	struct attempts attempts;
	int64_t rc;
};

static skua_poll whole(skua_cx *cx, struct whole *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, 10 * SKUA_SEC,
					   skua_poll_future(cx, &self->attempts.co)));
	printf("the whole: %s\n", skua_strerror(self->rc));
	SKUA_END(self->rc);
}
SKUA_CORO(whole, struct whole);

int main(void)
{
	struct whole task = {.co = SKUA_CORO_INIT(whole), .attempts.co = SKUA_CORO_INIT(attempts)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_clock_pause(rt);
	start = skua_clock_now(rt);
	if (rc == 0)
		rc = skua_block_on(rt, &task.co);
	return skua_runtime_free(rt) < 0 || rc != -ETIMEDOUT || task.attempts.number != 3;
}
