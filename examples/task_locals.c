/*
 * examples/task_locals.c - a request's id that every task of the request sees, although nobody hands
 * it on: a task-local value, which the children of a scope inherit.
 *
 * The clock is paused: it jumps to the next timer as soon as every task waits.
 *
 * It prints:
 *
 *     [none] waiting for requests
 *     [request 7] asks for the user
 *     [request 8] asks for the user
 *     [request 7, prices] asks for the prices
 *     [request 7] has all it needs
 *     [request 8, prices] asks for the prices
 *     [request 8] has all it needs
 *     [none] ended, 4 ids released
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <skua.h>

/* ---- The value ---- */

static atomic_int released;

static void id_release(void *id)
{
	free(id);
	released++;
}

static const skua_local_key request_id = {"request id", id_release};

/* The id of the task that polls, and of the children that it spawns from now on. */
static int id_set(skua_cx *cx, int number, const char *remark)
{
	char *id = malloc(64);
	int rc;

	if (id == NULL)
		return -1;
	snprintf(id, 64, "request %d%s", number, remark);
	rc = skua_local_set(cx, &request_id, id);
	if (rc < 0)
		free(id); /* it is still ours */
	return rc;
}

/* A line of the log, which asks for the id itself. */
static void say(const skua_cx *cx, const char *text)
{
	const char *id = skua_local_get(cx, &request_id);

	printf("[%s] %s\n", id ? id : "none", text);
}

/* ---- A query: a child of a request ---- */

struct query {
	skua_coro co;
	skua_timer timer;
	int number; /* of the request */
	int prices; /* has an id of its own, which the parent and its sibling do not see */
	int64_t rc;
};

static skua_poll query(skua_cx *cx, struct query *self)
{
	SKUA_BEGIN(self);
	if (self->prices && id_set(cx, self->number, ", prices") < 0)
		SKUA_RETURN(-1);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, (uint64_t)self->number * SKUA_SEC));
	say(cx, self->prices ? "asks for the prices" : "asks for the user");
	SKUA_END(self->rc);
}
SKUA_CORO(query, struct query);

/* ---- A request ---- */

struct request {
	skua_coro co;
	skua_scope *scope;
	int number, prices;
	int64_t rc;
};

static skua_poll request(skua_cx *cx, struct request *self)
{
	SKUA_BEGIN(self);
	if (id_set(cx, self->number, "") < 0)
		SKUA_RETURN(-1);
	for (; self->prices < 2; self->prices++) {
		if (skua_scope_new(cx, NULL, &self->scope) < 0)
			SKUA_RETURN(-1);
		if (skua_scope_spawn(cx, self->scope,
				     &(struct query){.co = SKUA_CORO_INIT(query),
						     .number = self->number,
						     .prices = self->prices}
					      .co,
				     NULL) < 0)
			SKUA_RETURN(-1);
		SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	}
	say(cx, "has all it needs");
	SKUA_END(self->rc);
}
SKUA_CORO(request, struct request);

/* ---- The server, which has no id ---- */

struct server {
	skua_coro co;
	skua_scope *scope;
	int64_t rc;
};

static skua_poll server(skua_cx *cx, struct server *self)
{
	SKUA_BEGIN(self);
	say(cx, "waiting for requests");
	if (skua_scope_new(cx, NULL, &self->scope) < 0)
		SKUA_RETURN(-1);
	for (int number = 7; number <= 8; number++) {
		struct request task = {.co = SKUA_CORO_INIT(request), .number = number};

		if (skua_scope_spawn(cx, self->scope, &task.co, NULL) < 0)
			SKUA_RETURN(-1);
	}
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	printf("[none] ended, %d ids released\n", released);
	SKUA_END(self->rc);
}
SKUA_CORO(server, struct server);

int main(void)
{
	struct server task = {.co = SKUA_CORO_INIT(server)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_clock_pause(rt);
	if (rc == 0)
		rc = skua_block_on(rt, &task.co);
	return skua_runtime_free(rt) < 0 || rc < 0 || released != 4;
}
