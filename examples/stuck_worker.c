/*
 * examples/stuck_worker.c - what Skua says of a task that computes for long without an await, and how the
 * others fare meanwhile.
 *
 * A poll that takes SKUA_STALL_MS is reported on standard error, with the task, its last await and a
 * backtrace. A spare worker goes on with the other tasks, even if there is one worker only. There are
 * three ways out: await skua_yield now and then; skua_spawn_blocking; or skua_block_in_place, as here.
 *
 * Standard error has a report of the first computation, and none of the second:
 *
 *     skua: warning: worker 0 is stuck: task thumbnails has been running for 51 ms; ...
 *     skua: warning:   #0 clock_gettime (libc.so.6+0xcf438)
 *     skua: warning:   #1 ...
 *
 * It prints:
 *
 *     computing, and saying nothing
 *     another task goes on meanwhile
 *     computing in skua_block_in_place
 *     another task goes on meanwhile
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include <skua.h>

/* ---- Another task ---- */

static atomic_int others; /* that have run */

struct other {
	skua_coro co;
};

static skua_poll other(skua_cx *cx, struct other *self)
{
	(void)cx;
	SKUA_BEGIN(self);
	printf("another task goes on meanwhile\n");
	others++;
	SKUA_END(0);
}
SKUA_CORO(other, struct other);

/* ---- The one that computes ---- */

/* For 300 ms, and until so many other tasks have run. */
static int64_t compute(void *count)
{
	uint64_t end = skua_now() + 300 * SKUA_MSEC;

	while (skua_now() < end || others < *(int *)count)
		;
	return 0;
}

struct thumbnails {
	skua_coro co;
	skua_task *other;
	int count;
	int64_t rc;
};

static int64_t spawn_other(skua_cx *cx, struct thumbnails *self)
{
	self->count++;
	return skua_spawn(skua_cx_runtime(cx), &(struct other){.co = SKUA_CORO_INIT(other)}.co,
			  &self->other);
}

static skua_poll thumbnails(skua_cx *cx, struct thumbnails *self)
{
	SKUA_BEGIN(self);
	printf("computing, and saying nothing\n");
	self->rc = spawn_other(cx, self);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	compute(&self->count);
	SKUA_AWAIT(self->rc = skua_join(cx, &self->other));

	printf("computing in skua_block_in_place\n");
	self->rc = spawn_other(cx, self);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	skua_block_in_place(cx, compute, &self->count);
	SKUA_AWAIT(self->rc = skua_join(cx, &self->other));
	SKUA_END(self->rc);
}
SKUA_CORO(thumbnails, struct thumbnails);

int main(void)
{
	struct thumbnails task = {.co = SKUA_CORO_INIT(thumbnails)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	config.stall_ms = 50; /* or SKUA_STALL_MS=50; the default is 100 */
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_block_on(rt, &task.co);
	return skua_runtime_free(rt) < 0 || rc < 0;
}
