/*
 * examples/stop_token.c - one call that stops many tasks, each of which says goodbye before it ends: a
 * tree of cancel tokens, and a shield around the last message.
 *
 * A token that is cancelled ends what goes on under skua_with_token; the result is -EINTR. So that is
 * told from a cancellation of the task itself, which is -ECANCELED.
 *
 * The clock is paused: it jumps to the next timer as soon as every task waits.
 *
 * It prints:
 *
 *     ana 1: stopped, goodbye
 *     one tenant is stopped, 4 sessions are left
 *     ben 1: stopped, goodbye
 *     ben 2: stopped, goodbye
 *     all tenants are stopped, 2 sessions are left
 *     eva 1: cancelled, goodbye
 *     eva 2: cancelled, no time for a goodbye
 *     the end: operation canceled, 0 sessions are left
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include <skua.h>

static atomic_int sessions;

/* ---- A session: works until it is stopped, and then takes its time to say goodbye ---- */

struct session {
	skua_coro co;
	const char *name;
	skua_token *stop; /* lent by the owner of the scope, which waits for us; may be NULL */
	skua_token_waiter waiter;
	skua_timer work, goodbye, limit;
	uint64_t takes; /* the goodbye, in ns */
	int64_t rc, said;
};

static skua_poll session(skua_cx *cx, struct session *self)
{
	SKUA_BEGIN(self);
	sessions++;
	do
		SKUA_AWAIT(self->rc = skua_with_token(cx, &self->waiter, self->stop,
						      skua_sleep(cx, &self->work, SKUA_SEC)));
	while (self->rc == 0);
	/* Nothing from outside gets through a shield, so it has a deadline inside. */
	SKUA_AWAIT(self->said = skua_shield(
			   cx, skua_timeout(cx, &self->limit, 100 * SKUA_MSEC,
					    skua_sleep(cx, &self->goodbye, self->takes))));
	printf("%s: %s, %s\n", self->name, self->rc == -EINTR ? "stopped" : "cancelled",
	       self->said == 0 ? "goodbye" : "no time for a goodbye");
	sessions--;
	SKUA_END(0);
}
SKUA_CORO(session, struct session);

/* ---- Their owner ---- */

struct owner {
	skua_coro co;
	skua_scope *scope;
	skua_token *all, *ana, *ben;
	skua_timer timer;
	int64_t rc;
};

static int64_t begin(skua_cx *cx, struct owner *self)
{
	if (skua_token_new(NULL, &self->all) < 0 || skua_token_new(self->all, &self->ana) < 0 ||
	    skua_token_new(self->all, &self->ben) < 0 || skua_scope_new(cx, NULL, &self->scope) < 0)
		return -ENOMEM;

	const struct session all[] = {
		{.name = "ana 1", .stop = self->ana, .takes = 10 * SKUA_MSEC},
		{.name = "ben 1", .stop = self->ben, .takes = 20 * SKUA_MSEC},
		{.name = "ben 2", .stop = self->ben, .takes = 30 * SKUA_MSEC},
		{.name = "eva 1", .stop = NULL, .takes = 40 * SKUA_MSEC},
		{.name = "eva 2", .stop = NULL, .takes = 10 * SKUA_SEC},
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		struct session task = all[i];

		task.co = (skua_coro)SKUA_CORO_INIT(session);
		if (skua_scope_spawn(cx, self->scope, &task.co, NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

static skua_poll owner(skua_cx *cx, struct owner *self)
{
	SKUA_BEGIN(self);
	self->rc = begin(cx, self);
	if (self->rc < 0)
		SKUA_RETURN(self->rc); /* sessions that have begun are cancelled, and awaited */
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 3 * SKUA_SEC));
	skua_token_cancel(self->ana);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, SKUA_SEC));
	printf("one tenant is stopped, %d sessions are left\n", sessions);
	skua_token_cancel(self->all);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, SKUA_SEC));
	printf("all tenants are stopped, %d sessions are left\n", sessions);
	skua_scope_cancel(self->scope);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	printf("the end: %s, %d sessions are left\n", skua_strerror(self->rc), sessions);
	skua_token_release(self->ana);
	skua_token_release(self->ben);
	skua_token_release(self->all);
	SKUA_END(self->rc);
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
	return skua_runtime_free(rt) < 0 || rc != -ECANCELED || sessions != 0;
}
