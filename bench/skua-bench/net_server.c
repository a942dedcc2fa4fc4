/*
 * net_server.c - `skua-bench net`: the server that is compared with those of bench/peers over the
 * network. What it has to do is in bench/peers/README.md.
 *
 * Each connection is a detached coroutine. With --lean it has buffers only while there is something
 * in them that cannot go on: a piece of a request, or answers that the kernel has no room for.
 */
#include <errno.h>
#include <stdlib.h>

#include "../peers/net_http.h"
#include "../peers/net_server.h"
#include "bench.h"

static struct server_options options; /* set before the first task */

/* ---- http ---- */

struct http {
	skua_coro co;
	skua_tcp *conn;
	struct http_buffers *buffers; /* NULL only with --lean */
	int64_t n;
	enum http_state state;
};

/* Reads and answers on the stack, and tries to write. Ready as skua_read is; what did not go on is
 * in self->buffers then. */
static skua_poll turn_on_stack(skua_cx *cx, struct http *self)
{
	struct http_buffers stack;
	skua_poll n, written = 0;

	http_init(&stack);
	n = skua_read(cx, self->conn, stack.in, sizeof stack.in);
	if (n <= 0)
		return n;
	stack.used = (uint32_t)n;
	self->state = http_answer(&stack, options.spin);
	if (stack.unsent > 0)
		written = skua_write(cx, self->conn, stack.out, stack.unsent);
	if (written < 0 && written != SKUA_PENDING)
		return written;
	/* A write that is pending goes on with the copy: it is not bound to a buffer. */
	if (written > 0)
		stack.sent = (uint32_t)written;
	if (http_is_empty(&stack) && self->state != HTTP_ROOM)
		return n;
	self->buffers = malloc(sizeof *self->buffers);
	if (self->buffers == NULL)
		return -ENOMEM;
	http_copy(self->buffers, &stack);
	return n;
}

/* Reads, and answers what is complete. Ready as skua_read is. */
static skua_poll turn(skua_cx *cx, struct http *self)
{
	struct http_buffers *buffers = self->buffers;
	skua_poll n;

	if (buffers == NULL)
		return turn_on_stack(cx, self);
	n = skua_read(cx, self->conn, buffers->in + buffers->used,
		      sizeof buffers->in - buffers->used);
	if (n <= 0)
		return n;
	buffers->used += (uint32_t)n;
	self->state = http_answer(buffers, options.spin);
	return n;
}

/* Answers on the stack that had no room for another may all be written already. */
static bool has_to_write(const struct http *self)
{
	const struct http_buffers *buffers = self->buffers;

	return buffers != NULL && (buffers->sent < buffers->unsent || self->state == HTTP_ROOM);
}

/* After a write of all answers: the next ones, if there was no room for them. */
static void answer_on(struct http *self)
{
	self->buffers->sent = self->buffers->unsent = 0;
	if (self->state == HTTP_ROOM)
		self->state = http_answer(self->buffers, options.spin);
}

static void let_go_of_empty(struct http *self)
{
	if (self->buffers == NULL || !http_is_empty(self->buffers))
		return;
	free(self->buffers);
	self->buffers = NULL;
}

static skua_poll http(skua_cx *cx, struct http *self)
{
	SKUA_BEGIN(self);
	if (!options.lean) {
		self->buffers = malloc(sizeof *self->buffers);
		if (self->buffers == NULL)
			goto close;
		http_init(self->buffers);
	}
	do {
		SKUA_AWAIT(self->n = turn(cx, self));
		if (self->n <= 0)
			break;
		while (has_to_write(self)) {
			SKUA_AWAIT(self->n = skua_write_all(
					   cx, self->conn, self->buffers->out + self->buffers->sent,
					   self->buffers->unsent - self->buffers->sent));
			if (self->n < 0)
				goto close;
			answer_on(self);
		}
		if (options.lean)
			let_go_of_empty(self);
	} while (self->state != HTTP_CLOSE);
close:
	free(self->buffers);
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(http, struct http);

static int http_spawn(skua_runtime *runtime, skua_tcp *conn)
{
	struct http task = {.co = SKUA_CORO_INIT(http), .conn = conn};

	return skua_spawn(runtime, &task.co, NULL);
}

/* ---- echo ---- */

struct echo {
	skua_coro co;
	skua_tcp *conn;
	char *buffer;
	int64_t n, rc;
};

static skua_poll echo(skua_cx *cx, struct echo *self)
{
	SKUA_BEGIN(self);
	self->buffer = malloc(ECHO_BUFFER);
	if (self->buffer == NULL)
		goto close;
	for (;;) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->buffer, ECHO_BUFFER));
		if (self->n <= 0)
			break;
		SKUA_AWAIT(self->rc =
				   skua_write_all(cx, self->conn, self->buffer, (size_t)self->n));
		if (self->rc < 0)
			break;
	}
close:
	free(self->buffer);
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(echo, struct echo);

static int echo_spawn(skua_runtime *runtime, skua_tcp *conn)
{
	struct echo task = {.co = SKUA_CORO_INIT(echo), .conn = conn};

	return skua_spawn(runtime, &task.co, NULL);
}

/* ---- Accepting ---- */

struct accept_loop {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	int (*spawn)(skua_runtime *runtime, skua_tcp *conn);
	int64_t rc;
};

static skua_poll accept_loop(skua_cx *cx, struct accept_loop *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
		must(self->rc, "skua_accept");
		if (self->spawn(skua_cx_runtime(cx), self->conn) < 0)
			skua_tcp_close(self->conn);
	}
	SKUA_END(0);
}
SKUA_CORO(accept_loop, struct accept_loop);

/* `workers` = 0: SKUA_WORKERS, or one for each CPU. */
static skua_runtime *start(int workers)
{
	skua_runtime *runtime;
	skua_config config;

	skua_config_init(&config);
	if (workers > 0) {
		config.workers = (uint32_t)workers;
		config.pinned |= SKUA_KNOB_WORKERS;
	}
	if (skua_runtime_new(&config, &runtime) < 0) {
		fprintf(stderr, "skua-bench: %s\n", config.message);
		exit(1);
	}
	return runtime;
}

int net_main(int argc, char **argv)
{
	const skua_listen_options listen = {.struct_size = sizeof listen,
					    .backlog = SERVER_BACKLOG};
	struct accept_loop loop = {.co = SKUA_CORO_INIT(accept_loop)};
	skua_runtime *runtime;
	skua_addr addr;

	options = server_read_options(argc, argv, "skua", skua_version_string());
	server_prepare();
	runtime = start(options.workers);
	must(skua_addr_parse(&addr, "127.0.0.1", options.port), "skua_addr_parse");
	must(skua_listen(runtime, &addr, &listen, &loop.listener), "skua_listen");
	must(skua_listener_addr(loop.listener, &addr), "skua_listener_addr");
	loop.spawn = options.echo ? echo_spawn : http_spawn;
	must(skua_spawn(runtime, &loop.co, NULL), "skua_spawn");
	server_say_port(skua_addr_port(&addr));
	server_wait_for_end(NULL);
	return 0;
}
