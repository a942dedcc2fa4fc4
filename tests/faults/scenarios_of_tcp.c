/* scenarios_of_tcp.c - connections over loopback. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"

static int run_echo(struct env *env)
{
	return echo_once(env);
}

/* ---- One side that sends, and one that counts and compares ---- */

enum { MUCH = 96 * 1024, PIECE = 4096 };

enum manner { WRITE_ALL, WRITE, WRITEV, HANG_UP };

static char content[MUCH];

static void fill_content(void)
{
	for (size_t i = 0; i < sizeof content; i++)
		content[i] = (char)(i * 31 + i / 251);
}

/* Accepts one connection, closes the listener, which it owns, and sends. */
struct sender {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	enum manner manner;
	size_t size, sent;
	struct iovec pieces[3];
	int64_t n;
};

/* What is left, in three pieces, one of them empty. */
static const struct iovec *cut(struct sender *self)
{
	size_t left = self->size - self->sent, first = left / 3;

	self->pieces[0] = (struct iovec){content + self->sent, first};
	self->pieces[1] = (struct iovec){content, 0};
	self->pieces[2] = (struct iovec){content + self->sent + first, left - first};
	return self->pieces;
}

static skua_poll sender(skua_cx *cx, struct sender *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->n = skua_accept(cx, self->listener, &self->conn));
	skua_listener_close(self->listener);
	if (self->n < 0)
		SKUA_RETURN(self->n);
	if (self->manner == WRITE_ALL) {
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, content, self->size));
	}
	while (self->n >= 0 && self->manner == WRITE && self->sent < self->size) {
		SKUA_AWAIT(self->n = skua_write(cx, self->conn, content + self->sent,
						self->size - self->sent));
		self->sent += self->n > 0 ? (size_t)self->n : 0;
	}
	while (self->n >= 0 && self->manner == WRITEV && self->sent < self->size) {
		SKUA_AWAIT(self->n = skua_writev(cx, self->conn, cut(self), 3));
		self->sent += self->n > 0 ? (size_t)self->n : 0;
	}
	if (self->n >= 0)
		self->n = self->manner == HANG_UP ? skua_tcp_hang_up(self->conn)
						  : skua_tcp_shutdown(self->conn);
	/* Reading goes on after either: to the end of the other side. */
	while (self->n >= 0) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->pieces, sizeof self->pieces));
		if (self->n == 0)
			break;
	}
	skua_tcp_close(self->conn);
	SKUA_END(self->n);
}
SKUA_CORO(sender, struct sender);

struct receiver {
	skua_coro co;
	struct env *env;
	enum manner manner;
	size_t size, got;
	skua_listener *listener;
	skua_task *sender;
	skua_tcp *conn;
	skua_addr addr;
	int64_t rc, n;
	char buffer[PIECE];
};

static int open_pair(skua_cx *cx, struct receiver *self)
{
	struct sender future = {
		.co = SKUA_CORO_INIT(sender), .manner = self->manner, .size = self->size};
	int rc = skua_addr_parse(&self->addr, "127.0.0.1", 0);

	if (rc == 0)
		rc = skua_listen(skua_cx_runtime(cx), &self->addr, NULL, &self->listener);
	if (rc == 0)
		rc = skua_listener_addr(self->listener, &self->addr);
	future.listener = self->listener;
	if (rc == 0)
		rc = skua_spawn(skua_cx_runtime(cx), &future.co, &self->sender);
	if (rc < 0)
		skua_listener_close(self->listener);
	return rc;
}

static void compare(struct receiver *self)
{
	if (self->got + (size_t)self->n > self->size ||
	    memcmp(self->buffer, content + self->got, (size_t)self->n) != 0)
		env_wrong(self->env, "other bytes arrived than were sent");
	self->got += (size_t)self->n;
}

static skua_poll receiver(skua_cx *cx, struct receiver *self)
{
	SKUA_BEGIN(self);
	self->rc = open_pair(cx, self);
	if (self->rc == 0)
		SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->conn));
	while (self->rc == 0) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->buffer, sizeof self->buffer));
		if (self->n < 0)
			self->rc = self->n;
		if (self->n <= 0)
			break;
		compare(self);
	}
	if (self->rc == 0 && self->manner == HANG_UP && self->got != 0)
		env_wrong(self->env, "bytes after a hang-up");
	skua_tcp_close(self->conn);
	if (self->sender != NULL && self->rc < 0)
		skua_cancel(self->sender);
	while (self->sender != NULL) {
		SKUA_AWAIT(self->n = skua_join(cx, &self->sender));
		self->rc = first_cause(self->rc, self->n);
		if (self->sender != NULL)
			skua_cancel(self->sender);
	}
	if (self->rc == 0 && self->manner != HANG_UP && self->got != self->size)
		env_wrong(self->env, "an end before all bytes, and no error");
	SKUA_END(self->rc);
}
SKUA_CORO(receiver, struct receiver);

static int run_transfer(struct env *env, enum manner manner, size_t size)
{
	struct receiver future = {
		.co = SKUA_CORO_INIT(receiver), .env = env, .manner = manner, .size = size};

	fill_content();
	return env_block_on(env, &future.co);
}

static int run_write_all(struct env *env)
{
	return run_transfer(env, WRITE_ALL, 3000);
}

static int run_write_much(struct env *env)
{
	return run_transfer(env, WRITE_ALL, MUCH);
}

static int run_write(struct env *env)
{
	return run_transfer(env, WRITE, 3000);
}

static int run_writev(struct env *env)
{
	return run_transfer(env, WRITEV, 3000);
}

static int run_hang_up(struct env *env)
{
	return run_transfer(env, HANG_UP, 0);
}

/* ---- Connecting to nobody ---- */

struct caller {
	skua_coro co;
	skua_addr addr;
	skua_tcp *conn;
	int64_t rc;
};

static skua_poll caller(skua_cx *cx, struct caller *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->conn));
	skua_tcp_close(self->conn);
	SKUA_END(self->rc);
}
SKUA_CORO(caller, struct caller);

/* The port is taken, but its socket does not listen. */
static int run_connect_refused(struct env *env)
{
	struct caller future = {.co = SKUA_CORO_INIT(caller)};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) != 0)
		env_wrong(env, "the scenario cannot take a port");
	rc = skua_addr_parse(&future.addr, "127.0.0.1", ntohs(address.sin_port));
	if (rc == 0)
		rc = env_block_on(env, &future.co);
	close(fd);
	if (rc == 0)
		env_wrong(env, "connected to nobody");
	return rc == -ECONNREFUSED ? 0 : rc;
}

/* ---- Addresses and options ---- */

struct asker {
	skua_coro co;
	struct env *env;
	skua_listener *listener;
	skua_tcp *here, *there;
	skua_addr addr, local, peer;
	int64_t rc;
};

static int ask(struct asker *self)
{
	int rc = skua_tcp_local_addr(self->here, &self->local);

	if (rc == 0)
		rc = skua_tcp_peer_addr(self->there, &self->peer);
	if (rc == 0 && skua_addr_port(&self->local) != skua_addr_port(&self->peer))
		env_wrong(self->env, "the two ends disagree about a port");
	if (rc == 0)
		rc = skua_tcp_set_nodelay(self->here, 0);
	return rc;
}

static skua_poll asker(skua_cx *cx, struct asker *self)
{
	static const skua_listen_options options = {
		.struct_size = sizeof options, .backlog = 4, .reuse_port = 1};

	SKUA_BEGIN(self);
	self->rc = skua_addr_parse(&self->addr, "127.0.0.1", 0);
	if (self->rc == 0)
		self->rc = skua_listen(skua_cx_runtime(cx), &self->addr, &options, &self->listener);
	if (self->rc == 0)
		self->rc = skua_listener_addr(self->listener, &self->addr);
	if (self->rc == 0)
		SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->here));
	if (self->rc == 0)
		SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->there));
	if (self->rc == 0)
		self->rc = ask(self);
	skua_tcp_close(self->here);
	skua_tcp_close(self->there);
	skua_listener_close(self->listener);
	SKUA_END(self->rc);
}
SKUA_CORO(asker, struct asker);

static int run_addresses(struct env *env)
{
	struct asker future = {.co = SKUA_CORO_INIT(asker), .env = env};

	return env_block_on(env, &future.co);
}

/* ---- Handles closed under a task that waits ---- */

struct waiter {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	int64_t rc;
};

static skua_poll waiter(skua_cx *cx, struct waiter *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
	skua_tcp_close(self->conn);
	SKUA_END(self->rc);
}
SKUA_CORO(waiter, struct waiter);

struct closer {
	skua_coro co;
	struct env *env;
	skua_addr addr;
	skua_listener *listener;
	skua_task *task;
	int64_t rc, n;
};

static int start_waiter(skua_cx *cx, struct closer *self)
{
	struct waiter future = {.co = SKUA_CORO_INIT(waiter)};
	int rc = skua_addr_parse(&self->addr, "127.0.0.1", 0);

	if (rc == 0)
		rc = skua_listen(skua_cx_runtime(cx), &self->addr, NULL, &self->listener);
	future.listener = self->listener;
	return rc < 0 ? rc : skua_spawn(skua_cx_runtime(cx), &future.co, &self->task);
}

static skua_poll closer(skua_cx *cx, struct closer *self)
{
	SKUA_BEGIN(self);
	self->rc = start_waiter(cx, self);
	SKUA_AWAIT(self->n = skua_yield(cx));
	SKUA_AWAIT(self->n = skua_yield(cx));
	/* If the task has not begun to wait, its handle must not go. */
	if (self->task != NULL)
		skua_cancel(self->task);
	while (self->task != NULL) {
		SKUA_AWAIT(self->n = skua_join(cx, &self->task));
		if (self->task == NULL && self->n != -ECANCELED && self->rc == 0) {
			self->rc = self->n < 0 ? self->n : -EPROTO;
			if (self->n >= 0)
				env_wrong(self->env, "accepted a connection that nobody made");
		}
	}
	skua_listener_close(self->listener);
	SKUA_END(self->rc);
}
SKUA_CORO(closer, struct closer);

static int run_accept_cancelled(struct env *env)
{
	struct closer future = {.co = SKUA_CORO_INIT(closer), .env = env};

	return env_block_on(env, &future.co);
}

/* A listener and a task that waits on it, both left to the end of the runtime. */
static int run_live_listener(struct env *env)
{
	struct waiter future = {.co = SKUA_CORO_INIT(waiter)};
	skua_addr addr;
	int rc = skua_addr_parse(&addr, "127.0.0.1", 0);

	if (rc == 0)
		rc = skua_listen(env->rt, &addr, NULL, &future.listener);
	return rc < 0 ? rc : skua_spawn(env->rt, &future.co, NULL);
}

/* Several connections at a time. */
static int run_echo_thrice(struct env *env)
{
	int rc = 0;

	for (int i = 0; i < 3 && rc == 0; i++)
		rc = echo_once(env);
	return rc;
}

const struct scenario scenarios_of_tcp[] = {
	{"echo", SCENARIO_PEER, run_echo, NULL},
	{"echo_thrice", SCENARIO_PEER, run_echo_thrice, NULL},
	{"write_all", SCENARIO_PEER, run_write_all, NULL},
	{"write_much", SCENARIO_PEER, run_write_much, NULL},
	{"write", SCENARIO_PEER, run_write, NULL},
	{"writev", SCENARIO_PEER, run_writev, NULL},
	{"hang_up", SCENARIO_PEER, run_hang_up, NULL},
	{"connect_refused", 0, run_connect_refused, NULL},
	{"addresses", 0, run_addresses, NULL},
	{"accept_cancelled", 0, run_accept_cancelled, NULL},
	{"live_listener", 0, run_live_listener, NULL},
};

const int scenarios_of_tcp_count = sizeof scenarios_of_tcp / sizeof *scenarios_of_tcp;
