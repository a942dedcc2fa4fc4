/*
 * examples/scopes.c - tasks that end before their owner does: many pages fetched at once, but no more
 * than two at a time, whose results are taken as they come; an error that ends the siblings; a deadline.
 *
 * The clock is paused: it jumps to the next timer as soon as every task waits.
 *
 * It prints:
 *
 *     page 1 has 200 bytes, after 2 s
 *     page 2 has 100 bytes, after 3 s
 *     page 0 has 500 bytes, after 5 s
 *     page 3 has 400 bytes, after 7 s
 *     1200 bytes of 4 pages
 *     with a page that fails: no such file or directory, after 1 s, 3 pages given up
 *     with a deadline: connection timed out, after 3 s, 2 pages given up
 *     children left: none
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include <skua.h>

/* ---- A child: the page has a hundred bytes for each second that it takes ---- */

static atomic_int alive, given_up;

struct fetch {
	skua_coro co;
	skua_timer timer;
	int seconds; /* 0: the page does not exist, which is known after a second */
	int64_t rc;
};

static skua_poll fetch(skua_cx *cx, struct fetch *self)
{
	SKUA_BEGIN(self);
	alive++;
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer,
					 (self->seconds ? (uint64_t)self->seconds : 1) * SKUA_SEC));
	if (self->rc == -ECANCELED)
		given_up++;
	else if (self->rc == 0)
		self->rc = self->seconds ? 100 * self->seconds : -ENOENT;
	alive--;
	SKUA_END(self->rc);
}
SKUA_CORO(fetch, struct fetch);

/* ---- The owner ---- */

struct owner {
	skua_coro co;
	skua_scope *scope;
	skua_scope_result page;
	uint64_t start;
	int64_t rc, bytes, pages;
};

/* A child for each of the lengths. */
static int64_t spawn_all(skua_cx *cx, struct owner *self, const int *seconds, int count)
{
	int64_t rc = 0;

	for (int i = 0; rc == 0 && i < count; i++) {
		struct fetch child = {.co = SKUA_CORO_INIT(fetch), .seconds = seconds[i]};

		rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
	}
	return rc;
}

static int64_t open_scope(skua_cx *cx, struct owner *self, uint32_t results, uint32_t limit,
			  uint64_t deadline)
{
	const skua_scope_options options = {.struct_size = sizeof options,
					    .results = results,
					    .limit = limit,
					    .deadline = deadline};

	self->start = skua_now();
	given_up = 0;
	return skua_scope_new(cx, &options, &self->scope);
}

static int after(const struct owner *self)
{
	return (int)((skua_now() - self->start) / SKUA_SEC);
}

static skua_poll owner(skua_cx *cx, struct owner *self)
{
	static const int four[] = {5, 2, 1, 4}, failing[] = {9, 9, 0, 9}, slow[] = {1, 9, 9};

	SKUA_BEGIN(self);
	/* If a spawn fails, the owner ends, and with it every child that has been spawned. */
	if (open_scope(cx, self, SKUA_RESULTS_AS_THEY_COME, 2, 0) < 0 ||
	    spawn_all(cx, self, four, 4) < 0)
		SKUA_RETURN(-ENOMEM);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_scope_next(cx, self->scope, &self->page));
		if (self->rc <= 0)
			break; /* 0: that was the last one */
		printf("page %d has %d bytes, after %d s\n", (int)self->page.index,
		       (int)self->page.result, after(self));
		self->pages++;
		self->bytes += self->page.result;
	}
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	printf("%d bytes of %d pages\n", (int)self->bytes, (int)self->pages);

	if (open_scope(cx, self, SKUA_RESULTS_NONE, 0, 0) < 0 ||
	    spawn_all(cx, self, failing, 4) < 0)
		SKUA_RETURN(-ENOMEM);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	printf("with a page that fails: %s, after %d s, %d pages given up\n",
	       skua_strerror(self->rc), after(self), given_up);

	if (open_scope(cx, self, SKUA_RESULTS_NONE, 0, skua_now() + 3 * SKUA_SEC) < 0 ||
	    spawn_all(cx, self, slow, 3) < 0)
		SKUA_RETURN(-ENOMEM);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	printf("with a deadline: %s, after %d s, %d pages given up\n", skua_strerror(self->rc),
	       after(self), given_up);
	SKUA_END(self->bytes);
}
SKUA_CORO(owner, struct owner);

int main(void)
{
	struct owner task = {.co = SKUA_CORO_INIT(owner)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_clock_pause(rt);
	if (rc == 0)
		rc = skua_block_on(rt, &task.co);
	printf("children left: %s\n", alive == 0 ? "none" : "some");
	return skua_runtime_free(rt) < 0 || rc != 1200 || alive != 0;
}
