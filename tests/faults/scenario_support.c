/* scenario_support.c - what the scenarios share: deadlines, waiting without memory, an echo. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "faults.h"

void env_wrong(struct env *env, const char *what)
{
	if (env->wrong == NULL)
		env->wrong = what;
}

/* ---- A deadline around everything ---- */

struct guard {
	skua_coro co;
	skua_timer timer;
	skua_future *inner;
	uint64_t patience;
	int64_t rc;
};

static skua_poll guard(skua_cx *cx, struct guard *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, self->patience,
					   skua_poll_future(cx, self->inner)));
	SKUA_END(self->rc);
}
SKUA_CORO(guard, struct guard);

int env_block_on(struct env *env, skua_future *future)
{
	struct guard guarded = {
		.co = SKUA_CORO_INIT(guard), .inner = future, .patience = env->patience};

	return (int)skua_block_on(env->rt, &guarded.co);
}

int64_t env_wait(skua_task **task)
{
	const struct timespec pause = {0, 50000};
	int64_t result = skua_task_wait(task);

	if (*task == NULL)
		return result;
	/* No memory for a waker: one that has ended needs none. */
	while (!skua_task_finished(*task))
		nanosleep(&pause, NULL);
	return skua_task_wait(task);
}

int64_t first_cause(int64_t here, int64_t there)
{
	/* What the end of the other side looks like, or that of its listener. */
	bool seen_from_here =
		here == -ECONNRESET || here == -EPIPE || here == -ENOTCONN || here == -ECONNREFUSED;

	if (there < 0 && (here == 0 || (seen_from_here && there != -ECANCELED)))
		return there;
	return here;
}

/* ---- Echo ---- */

enum { ECHO_BYTES = 64 };

struct echo_server {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	int64_t n, rc;
	char buffer[ECHO_BYTES];
};

/* Owns the listener, and closes it after one connection: one that waits in vain sees that. */
static skua_poll echo_server(skua_cx *cx, struct echo_server *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
	skua_listener_close(self->listener);
	while (self->rc >= 0) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->buffer, sizeof self->buffer));
		if (self->n <= 0) {
			self->rc = self->n;
			break;
		}
		SKUA_AWAIT(self->rc =
				   skua_write_all(cx, self->conn, self->buffer, (size_t)self->n));
	}
	skua_tcp_close(self->conn);
	SKUA_END(self->rc);
}
SKUA_CORO(echo_server, struct echo_server);

struct echo {
	skua_coro co;
	struct env *env;
	skua_listener *listener;
	skua_task *server;
	skua_tcp *conn;
	skua_addr addr;
	size_t got;
	int64_t rc, n;
	char sent[ECHO_BYTES], received[ECHO_BYTES];
};

static int echo_open(skua_cx *cx, struct echo *self)
{
	struct echo_server server = {.co = SKUA_CORO_INIT(echo_server)};
	int rc = skua_addr_parse(&self->addr, "127.0.0.1", 0);

	if (rc == 0)
		rc = skua_listen(skua_cx_runtime(cx), &self->addr, NULL, &self->listener);
	if (rc == 0)
		rc = skua_listener_addr(self->listener, &self->addr);
	server.listener = self->listener;
	if (rc == 0)
		rc = skua_spawn(skua_cx_runtime(cx), &server.co, &self->server);
	if (rc < 0)
		skua_listener_close(self->listener);
	for (int i = 0; i < ECHO_BYTES; i++)
		self->sent[i] = (char)(i * 7 + skua_addr_port(&self->addr));
	return rc;
}

/* Takes in what has come; 0 while there is more to come. */
static int64_t echo_received(struct echo *self)
{
	if (self->n <= 0)
		return self->n == 0 ? -ECONNRESET : self->n;
	if (memcmp(self->received + self->got, self->sent + self->got, (size_t)self->n) != 0)
		env_wrong(self->env, "echo: other bytes came back");
	self->got += (size_t)self->n;
	return 0;
}

static skua_poll echo(skua_cx *cx, struct echo *self)
{
	SKUA_BEGIN(self);
	self->rc = echo_open(cx, self);
	if (self->rc == 0)
		SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->conn));
	if (self->rc == 0) {
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, self->sent, ECHO_BYTES));
		self->rc = self->rc < 0 ? self->rc : 0;
	}
	while (self->rc == 0 && self->got < ECHO_BYTES) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->received + self->got,
					       ECHO_BYTES - self->got));
		self->rc = echo_received(self);
	}
	skua_tcp_close(self->conn);
	if (self->server != NULL && self->rc < 0)
		skua_cancel(self->server);
	while (self->server != NULL) {
		SKUA_AWAIT(self->n = skua_join(cx, &self->server));
		self->rc = first_cause(self->rc, self->n);
		/* A deadline: the server is not to outlive this. */
		if (self->server != NULL)
			skua_cancel(self->server);
	}
	SKUA_END(self->rc);
}
SKUA_CORO(echo, struct echo);

int echo_once(struct env *env)
{
	struct echo client = {.co = SKUA_CORO_INIT(echo), .env = env};

	return env_block_on(env, &client.co);
}
