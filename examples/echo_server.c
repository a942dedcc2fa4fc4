/*
 * examples/echo_server.c - a TCP server that sends back what it receives: one task accepts, and one
 * task serves each connection. Try it with a netcat: nc 127.0.0.1 7000
 *
 * Both tasks are stackless coroutines: straight code in which SKUA_AWAIT marks the places where the
 * task may have to wait, and where its worker goes on with another one. What must survive such a
 * place lives in the task's struct and not in a local variable.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

/* ---- One connection ---- */

struct echo {
	skua_coro co; /* first member: the future and the resume point */
	skua_tcp *conn;
	int64_t n, rc; /* two: an awaited expression may not read what it assigns */
	char buf[4096];
};

static skua_poll echo(skua_cx *cx, struct echo *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->buf, sizeof self->buf));
		if (self->n <= 0)
			break; /* 0: the peer is done; negative: an error, or the server stops */
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, self->buf, (size_t)self->n));
		if (self->rc < 0)
			break;
	}
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(echo, struct echo);

/* ---- The accepting task ---- */

struct accept_loop {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	int64_t rc;
};

/* A new task for a connection. It is detached: nobody waits for its result. */
static void echo_spawn(skua_runtime *runtime, skua_tcp *conn)
{
	struct echo task = {.co = SKUA_CORO_INIT(echo), .conn = conn};

	if (skua_spawn(runtime, &task.co, NULL) < 0)
		skua_tcp_close(conn);
}

static skua_poll accept_loop(skua_cx *cx, struct accept_loop *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
		if (self->rc < 0)
			break;
		echo_spawn(skua_cx_runtime(cx), self->conn);
	}
	skua_listener_close(self->listener);
	if (self->rc != -ECANCELED)
		server_stop();
	SKUA_END(self->rc);
}
SKUA_CORO(accept_loop, struct accept_loop);

int main(int argc, char **argv)
{
	struct server server = {.host = "127.0.0.1", .port = 7000, .workers = OPTION_UNSET};
	const struct option options[] = {SERVER_OPTIONS(server)};
	struct accept_loop loop = {.co = SKUA_CORO_INIT(accept_loop)};
	skua_task *accepting;
	int rc;

	options_read(argc, argv, "Sends back what it receives, on any number of TCP connections.",
		     options, sizeof options / sizeof options[0]);
	server_start(&server);
	loop.listener = server.listener;
	rc = skua_spawn(server.runtime, &loop.co, &accepting);
	if (rc < 0)
		die(1, "cannot start accepting: %s", error_text(rc));
	return server_run(&server, accepting);
}
