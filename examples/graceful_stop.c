/*
 * examples/graceful_stop.c - how a server stops without losing an answer: it accepts no more, lets each
 * request that has begun come to its end, takes leave of clients that are idle, and ends what is
 * left after half a second. A server that does so at a SIGTERM begins like echo_server.c.
 *
 * Clients and server are in this one program.
 *
 * It prints:
 *
 *     the client that said "hi" was told "hello bye"
 *     the client that said "wait" was told "wait "
 *     the client that said "stop" was told "done bye"
 *     the server: connection timed out, 3 requests, 2 goodbyes
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <skua.h>

static atomic_int requests, goodbyes;

/* ---- One connection ---- */

struct connection {
	skua_coro co;
	skua_tcp *conn;
	skua_token *stop; /* lent by the server, which waits for us */
	skua_token_waiter waiter;
	skua_timer timer;
	uint64_t takes; /* the request, in ns */
	const char *answer;
	int64_t n, rc;
	char request[16];
};

/* One request is a word. A plain function, since no await may stand in a switch of one's own. */
static void understand(struct connection *self)
{
	requests++;
	self->takes = 0;
	switch (self->request[0]) {
	case 's': /* stop the server; this request is answered all the same */
		skua_token_cancel(self->stop);
		self->answer = "done ";
		break;
	case 'w':
		self->answer = "wait ";
		self->takes = 3600 * SKUA_SEC; /* after the answer */
		break;
	default:
		self->answer = "hello ";
	}
}

static skua_poll connection(skua_cx *cx, struct connection *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		/* The token ends the wait for a request, and nothing else. */
		SKUA_AWAIT(self->n = skua_with_token(
				   cx, &self->waiter, self->stop,
				   skua_read(cx, self->conn, self->request, sizeof self->request)));
		if (self->n <= 0)
			break;
		understand(self);
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, self->answer,
						     strlen(self->answer)));
		if (self->rc >= 0)
			SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, self->takes));
		if (self->rc < 0)
			break; /* -ECANCELED: time is up */
	}
	if (self->n == -EINTR) {
		SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, SKUA_SEC,
						   skua_write_all(cx, self->conn, "bye", 3)));
		goodbyes++;
	}
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(connection, struct connection);

/* ---- The server ---- */

struct server {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	skua_token *stop;
	skua_token_waiter waiter;
	skua_scope *scope;
	skua_timer timer;
	int64_t rc;
};

static void serve(skua_cx *cx, struct server *self)
{
	const struct connection task = {
		.co = SKUA_CORO_INIT(connection), .conn = self->conn, .stop = self->stop};

	if (skua_scope_spawn(cx, self->scope, &task.co, NULL) < 0)
		skua_tcp_close(self->conn);
}

static skua_poll server(skua_cx *cx, struct server *self)
{
	SKUA_BEGIN(self);
	self->rc = skua_scope_new(cx, NULL, &self->scope);
	while (self->rc >= 0) {
		SKUA_AWAIT(self->rc =
				   skua_with_token(cx, &self->waiter, self->stop,
						   skua_accept(cx, self->listener, &self->conn)));
		if (self->rc >= 0)
			serve(cx, self);
	}
	skua_listener_close(self->listener);
	/* All connections; those that have not ended in time are cancelled, and awaited still. */
	if (self->scope != NULL)
		SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, 500 * SKUA_MSEC,
						   skua_scope_join(cx, &self->scope)));
	SKUA_END(self->rc);
}
SKUA_CORO(server, struct server);

/* ---- Three clients ---- */

struct clients {
	skua_coro co;
	skua_addr addr;
	skua_tcp *conns[3];
	char said[3][32]; /* by the server, to each of them */
	int i;
	int64_t n, rc;
};

/* Adds what comes next to what was said. Nothing is said while it waits, so each poll sees the same. */
static skua_poll receive(skua_cx *cx, struct clients *self)
{
	char *said = self->said[self->i];
	size_t length = strlen(said);

	return skua_read(cx, self->conns[self->i], said + length,
			 sizeof self->said[0] - 1 - length);
}

static skua_poll clients(skua_cx *cx, struct clients *self)
{
	static const char *const words[] = {"hi", "wait", "stop"};

	SKUA_BEGIN(self);
	for (self->i = 0; self->i < 3; self->i++) {
		SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->conns[self->i]));
		if (self->rc < 0)
			SKUA_RETURN(self->rc);
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conns[self->i], words[self->i],
						     strlen(words[self->i])));
		SKUA_AWAIT(self->n = receive(cx, self));
	}
	for (self->i = 0; self->i < 3; self->i++) {
		do
			SKUA_AWAIT(self->n = receive(cx, self));
		while (self->n > 0);
		skua_tcp_close(self->conns[self->i]);
		printf("the client that said \"%s\" was told \"%s\"\n", words[self->i],
		       self->said[self->i]);
	}
	SKUA_END(0);
}
SKUA_CORO(clients, struct clients);

int main(void)
{
	struct clients them = {.co = SKUA_CORO_INIT(clients)};
	struct server us = {.co = SKUA_CORO_INIT(server)};
	skua_task *serving;
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	if (skua_addr_parse(&them.addr, "127.0.0.1", 0) < 0 ||
	    skua_listen(rt, &them.addr, NULL, &us.listener) < 0 ||
	    skua_listener_addr(us.listener, &them.addr) < 0 || skua_token_new(NULL, &us.stop) < 0 ||
	    skua_spawn(rt, &us.co, &serving) < 0)
		return 1;
	rc = skua_block_on(rt, &them.co);
	if (rc == 0)
		rc = skua_task_wait(&serving);
	printf("the server: %s, %d requests, %d goodbyes\n", skua_strerror(rc), requests, goodbyes);
	skua_token_release(us.stop);
	return skua_runtime_free(rt) < 0 || rc != -ETIMEDOUT || goodbyes != 2;
}
