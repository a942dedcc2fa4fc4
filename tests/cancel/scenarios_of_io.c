/*
 * scenarios_of_io.c - sockets and descriptors, on each kind of IO. The other end is a plain socket;
 * a nudge makes it send, receive or connect. Afterwards somebody else must find the place free.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "io/source.h"
#include "tests/cancel/cancel.h"

enum { PEER, LISTENER, OTHER }; /* of trial->fds */
enum { SMALL = 1 << 15, LARGE = 1 << 18 };

static char bulk[LARGE];

/* ---- Other ends ---- */

static void must(struct trial *trial, const char *what, int64_t rc)
{
	if (rc < 0)
		trial_fail(trial, "%s: %lld, errno %d", what, (long long)rc, errno);
}

/* The buffers are small: what is large has to wait. */
static int new_socket(struct trial *trial)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = SMALL;

	must(trial, "socket", fd);
	must(trial, "SO_RCVBUF", setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
	return fd;
}

static void close_fd(struct trial *trial, int number)
{
	if (trial->fds[number] >= 0)
		close(trial->fds[number]);
	trial->fds[number] = -1;
}

static void connect_fd(struct trial *trial, int number)
{
	close_fd(trial, number);
	trial->fds[number] = new_socket(trial);
	must(trial, "connect",
	     connect(trial->fds[number], (const struct sockaddr *)(const void *)trial->addr.storage,
		     (socklen_t)trial->addr.length));
	must(trial, "fcntl", fcntl(trial->fds[number], F_SETFL, O_NONBLOCK));
}

/* ---- Operations of somebody else's, before the subject and after it ---- */

struct once {
	skua_future future;
	skua_poll (*operation)(skua_cx *cx, struct trial *trial);
	struct trial *trial;
};

static skua_poll once_poll(skua_cx *cx, skua_future *future)
{
	struct once *self = (struct once *)(void *)future;

	return self->operation(cx, self->trial);
}

static const skua_future_ops once_ops = {.poll = once_poll, .size = sizeof(struct once)};

static void another(struct trial *trial, const char *what,
		    skua_poll (*operation)(skua_cx *cx, struct trial *trial), int64_t result)
{
	struct once once = {{&once_ops, 0, 0}, operation, trial};

	trial_expect(trial, what, skua_block_on(trial->rt, &once.future), result);
}

static skua_poll accept_one(skua_cx *cx, struct trial *trial)
{
	return skua_accept(cx, trial->listener, &trial->conn);
}

static skua_poll read_one(skua_cx *cx, struct trial *trial)
{
	char byte;

	return skua_read(cx, trial->conn, &byte, 1);
}

static skua_poll write_one(skua_cx *cx, struct trial *trial)
{
	return skua_write_all(cx, trial->conn, "y", 1);
}

static skua_poll become_readable(skua_cx *cx, struct trial *trial)
{
	return skua_source_readable(cx, trial->source);
}

static skua_poll become_writable(skua_cx *cx, struct trial *trial)
{
	return skua_source_writable(cx, trial->source);
}

/* ---- A connected pair ---- */

static void listen_for_one(struct trial *trial)
{
	must(trial, "an address", skua_addr_parse(&trial->addr, "127.0.0.1", 0));
	must(trial, "skua_listen", skua_listen(trial->rt, &trial->addr, NULL, &trial->listener));
	must(trial, "skua_listener_addr", skua_listener_addr(trial->listener, &trial->addr));
}

static void connect_pair(struct trial *trial)
{
	int size = SMALL;

	listen_for_one(trial);
	connect_fd(trial, PEER);
	another(trial, "accepting", accept_one, 0);
	must(trial, "SO_SNDBUF",
	     setsockopt(((struct sk_source *)(void *)trial->conn)->fd, SOL_SOCKET, SO_SNDBUF, &size,
			sizeof size));
}

static void close_all(struct trial *trial)
{
	if (trial->rt != NULL) {
		skua_tcp_close(trial->conn);
		skua_listener_close(trial->listener);
		skua_source_close(trial->source);
	}
	for (int i = 0; i < 4; i++)
		close_fd(trial, i);
}

static void peer_sends(struct trial *trial)
{
	must(trial, "send", send(trial->fds[PEER], "x", 1, MSG_NOSIGNAL));
}

static void peer_receives(struct trial *trial)
{
	char buffer[4096];

	while (recv(trial->fds[PEER], buffer, sizeof buffer, MSG_DONTWAIT) > 0)
		;
}

static void peer_talks(struct trial *trial)
{
	peer_receives(trial);
	peer_sends(trial);
}

static void another_reads(struct trial *trial)
{
	if (trial->rt != NULL) {
		peer_sends(trial);
		another(trial, "another one who reads", read_one, 1);
	}
	close_all(trial);
}

static void another_writes(struct trial *trial)
{
	struct once once = {{&once_ops, 0, 0}, write_one, trial};
	skua_task *task = NULL;

	if (trial->rt != NULL) {
		must(trial, "skua_spawn", skua_spawn(trial->rt, &once.future, &task));
		while (!skua_task_finished(task)) {
			peer_receives(trial);
			sched_yield();
		}
		trial_expect(trial, "another one who writes", skua_task_wait(&task), 1);
	}
	close_all(trial);
}

static void another_does_both(struct trial *trial)
{
	if (trial->rt != NULL) {
		peer_talks(trial);
		another(trial, "another one who reads", read_one, 1);
	}
	another_writes(trial);
}

/* ---- Reading and writing ---- */

struct talks {
	SUBJECT;
	char byte;
	int turn;
	size_t written;
	skua_timer timer;
	skua_compose compose;
	int64_t results[2];
	skua_scope *scope;
};

static skua_poll read_thrice(skua_cx *cx, struct talks *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 3; self->turn++)
		STEP_OR_END(skua_read(cx, self->trial->conn, &self->byte, 1));
	SKUA_END(self->rc);
}
SKUA_CORO(read_thrice, struct talks);

static skua_poll read_with_timeout(skua_cx *cx, struct talks *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 2; self->turn++)
		STEP_OR_END(skua_timeout(cx, &self->timer, CANCEL_HOUR,
					 skua_read(cx, self->trial->conn, &self->byte, 1)));
	SKUA_END(self->rc);
}
SKUA_CORO(read_with_timeout, struct talks);

static skua_poll write_much(skua_cx *cx, struct talks *self)
{
	SKUA_BEGIN(self);
	for (self->written = 0; self->written < LARGE;) {
		STEP_OR_END(skua_write(cx, self->trial->conn, bulk, LARGE - self->written));
		self->written += (size_t)self->rc;
	}
	SKUA_END(0);
}
SKUA_CORO(write_much, struct talks);

static skua_poll write_all(skua_cx *cx, struct talks *self)
{
	SKUA_BEGIN(self);
	STEP_OR_END(skua_write_all(cx, self->trial->conn, bulk, LARGE));
	SKUA_END(self->rc);
}
SKUA_CORO(write_all, struct talks);

static skua_poll echo(skua_cx *cx, struct talks *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 3; self->turn++) {
		STEP_OR_END(skua_read(cx, self->trial->conn, &self->byte, 1));
		STEP_OR_END(skua_write_all(cx, self->trial->conn, &self->byte, 1));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(echo, struct talks);

static skua_poll read_and_write(skua_cx *cx, struct talks *self)
{
	SKUA_BEGIN(self);
	SKUA_JOIN (self->rc, cx, &self->compose, 2) {
		SKUA_BRANCH(0, self->results[0] = skua_read(cx, self->trial->conn, &self->byte, 1));
		SKUA_BRANCH(1,
			    self->results[1] = skua_write_all(cx, self->trial->conn, bulk, LARGE));
	}
	SKUA_END(self->rc);
}
SKUA_CORO(read_and_write, struct talks);

static skua_poll select_read(skua_cx *cx, struct talks *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 2; self->turn++) {
		SKUA_SELECT (self->rc, cx, &self->compose, SKUA_FAIR, 2) {
			SKUA_BRANCH(0, skua_read(cx, self->trial->conn, &self->byte, 1));
			SKUA_BRANCH(1, skua_sleep(cx, &self->timer, CANCEL_HOUR));
		}
		if (self->rc < 0)
			break;
	}
	SKUA_END(self->rc);
}
SKUA_CORO(select_read, struct talks);

/* A child reads. */
struct child {
	skua_coro co;
	skua_tcp *conn;
	int64_t rc;
	char byte;
};

static skua_poll child(skua_cx *cx, struct child *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_read(cx, self->conn, &self->byte, 1));
	SKUA_END(self->rc);
}
SKUA_CORO(child, struct child);

static skua_poll read_in_scope(skua_cx *cx, struct talks *self)
{
	struct child reader = {.co = SKUA_CORO_INIT(child), .conn = self->trial->conn};

	SKUA_BEGIN(self);
	STEP_OR_END(skua_scope_new(cx, NULL, &self->scope));
	self->rc = skua_scope_spawn(cx, self->scope, &reader.co, NULL);
	STEP(skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(read_in_scope, struct talks);

/* ---- Accepting and connecting ---- */

struct opens {
	SUBJECT;
	skua_tcp *conn;
	int turn;
};

static skua_poll accept_twice(skua_cx *cx, struct opens *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 2; self->turn++) {
		STEP_OR_END(skua_accept(cx, self->trial->listener, &self->conn));
		skua_tcp_close(self->conn);
	}
	SKUA_END(self->rc);
}
SKUA_CORO(accept_twice, struct opens);

static void peer_connects(struct trial *trial)
{
	connect_fd(trial, OTHER);
}

static void another_accepts(struct trial *trial)
{
	if (trial->rt != NULL) {
		connect_fd(trial, PEER);
		another(trial, "another one who accepts", accept_one, 0);
	}
	close_all(trial);
}

static skua_poll connect_twice(skua_cx *cx, struct opens *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 2; self->turn++) {
		self->conn = NULL;
		STEP(skua_connect(cx, &self->trial->addr, &self->conn));
		if (self->rc < 0 && self->conn != NULL)
			trial_fail(self->trial, "a connection that is none");
		if (self->rc < 0)
			SKUA_RETURN(self->rc);
		skua_tcp_close(self->conn);
	}
	SKUA_END(self->rc);
}
SKUA_CORO(connect_twice, struct opens);

static void peer_listens(struct trial *trial)
{
	struct sockaddr *address = (struct sockaddr *)(void *)trial->addr.storage;
	socklen_t length;

	must(trial, "an address", skua_addr_parse(&trial->addr, "127.0.0.1", 0));
	length = (socklen_t)trial->addr.length;
	trial->fds[LISTENER] = new_socket(trial);
	must(trial, "bind", bind(trial->fds[LISTENER], address, length));
	must(trial, "listen", listen(trial->fds[LISTENER], 16));
	must(trial, "getsockname", getsockname(trial->fds[LISTENER], address, &length));
}

/* ---- Descriptors of one's own ---- */

static void make_event(struct trial *trial)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	must(trial, "eventfd", fd);
	must(trial, "skua_source_new", skua_source_new(trial->rt, fd, &trial->source));
}

static void signal_event(struct trial *trial)
{
	uint64_t one = 1;

	must(trial, "write", write(skua_source_fd(trial->source), &one, sizeof one));
}

struct waits {
	SUBJECT;
	uint64_t count;
	int turn;
};

/* Readiness may be spurious: until there is something. */
static skua_poll source_readable(skua_cx *cx, struct waits *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 3; self->turn++)
		while (read(skua_source_fd(self->trial->source), &self->count, sizeof self->count) <
		       0)
			STEP_OR_END(skua_source_readable(cx, self->trial->source));
	SKUA_END(0);
}
SKUA_CORO(source_readable, struct waits);

static void another_waits(struct trial *trial)
{
	if (trial->rt != NULL) {
		signal_event(trial);
		another(trial, "another one who waits to read", become_readable, 0);
	}
	close_all(trial);
}

static void make_pipe(struct trial *trial)
{
	int ends[2] = {-1, -1};

	must(trial, "pipe2", pipe2(ends, O_NONBLOCK | O_CLOEXEC));
	trial->fds[PEER] = ends[0];
	must(trial, "skua_source_new", skua_source_new(trial->rt, ends[1], &trial->source));
}

static void drain_pipe(struct trial *trial)
{
	char buffer[4096];

	while (read(trial->fds[PEER], buffer, sizeof buffer) > 0)
		;
}

static skua_poll source_writable(skua_cx *cx, struct waits *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < 8; self->turn++)
		while (write(skua_source_fd(self->trial->source), bulk, SMALL) < 0)
			STEP_OR_END(skua_source_writable(cx, self->trial->source));
	SKUA_END(0);
}
SKUA_CORO(source_writable, struct waits);

static void another_waits_to_write(struct trial *trial)
{
	if (trial->rt != NULL) {
		drain_pipe(trial);
		another(trial, "another one who waits to write", become_writable, 0);
	}
	close_all(trial);
}

#define ON_A_PAIR(subject, value, nudged_by, looked_at_by)                                         \
	{                                                                                          \
		.name = #subject, .ops = &subject##_ops, .result = (value), .flags = WITH_IO,      \
		.begin = connect_pair, .nudge = (nudged_by), .after = (looked_at_by)               \
	}

const struct scenario scenarios_of_io[] = {
	ON_A_PAIR(read_thrice, 1, peer_sends, another_reads),
	ON_A_PAIR(read_with_timeout, 1, peer_sends, another_reads),
	ON_A_PAIR(select_read, 0, peer_sends, another_reads),
	ON_A_PAIR(read_in_scope, 0, peer_sends, another_reads),
	ON_A_PAIR(write_much, 0, peer_receives, another_writes),
	ON_A_PAIR(write_all, LARGE, peer_receives, another_writes),
	ON_A_PAIR(echo, 1, peer_talks, another_does_both),
	ON_A_PAIR(read_and_write, 0, peer_talks, another_does_both),
	{.name = "accept_twice",
	 .ops = &accept_twice_ops,
	 .flags = WITH_IO,
	 .begin = listen_for_one,
	 .nudge = peer_connects,
	 .after = another_accepts},
	{.name = "connect_twice",
	 .ops = &connect_twice_ops,
	 .flags = WITH_IO,
	 .begin = peer_listens,
	 .after = close_all},
	{.name = "source_readable",
	 .ops = &source_readable_ops,
	 .flags = WITH_IO,
	 .begin = make_event,
	 .nudge = signal_event,
	 .after = another_waits},
	{.name = "source_writable",
	 .ops = &source_writable_ops,
	 .flags = WITH_IO,
	 .begin = make_pipe,
	 .nudge = drain_pipe,
	 .after = another_waits_to_write},
	{.name = NULL},
};
