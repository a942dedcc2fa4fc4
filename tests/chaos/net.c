/* net.c - workloads of descriptors: an echo whose every byte is checked, and closing while a task
 * reads. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/chaos/workloads.h"

enum { CLIENTS = 8, MESSAGES = 6, MAX_MESSAGE = 3000 };

/* ---- The server ---- */

struct echo {
	skua_coro co;
	skua_tcp *conn;
	int64_t n, rc;
	char buffer[1024];
};

static skua_poll echo(skua_cx *cx, struct echo *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->buffer, sizeof self->buffer));
		if (self->n <= 0)
			break;
		SKUA_AWAIT(self->rc =
				   skua_write_all(cx, self->conn, self->buffer, (size_t)self->n));
		CHAOS_CHECK(self->rc == self->n, "skua_write_all: %lld", (long long)self->rc);
	}
	/* The client is content before the end of the stream comes; then so may be the runtime. */
	CHAOS_CHECK(self->n == 0 || (self->n == -ECANCELED && skua_cx_cancelled(cx)),
		    "skua_read: %lld", (long long)self->n);
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(echo, struct echo);

struct acceptor {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	int64_t rc;
};

static void serve(skua_cx *cx, skua_tcp *conn)
{
	struct echo one = {.co = SKUA_CORO_INIT(echo), .conn = conn};
	int rc = skua_spawn(cx->runtime, &one.co, NULL);

	CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
}

static skua_poll acceptor(skua_cx *cx, struct acceptor *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
		if (self->rc < 0)
			break;
		serve(cx, self->conn);
	}
	SKUA_END(self->rc);
}
SKUA_CORO(acceptor, struct acceptor);

/* ---- The clients ---- */

struct client {
	skua_coro co;
	const skua_addr *addr;
	uint64_t random;
	skua_tcp *conn;
	int64_t n;
	size_t size, read;
	int left;
	char sent[MAX_MESSAGE], received[MAX_MESSAGE];
};

static skua_poll client(skua_cx *cx, struct client *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->n = skua_connect(cx, self->addr, &self->conn));
	CHAOS_CHECK(self->n == 0, "skua_connect: %lld", (long long)self->n);
	for (self->left = MESSAGES; self->left > 0; self->left--) {
		self->size = 1 + chaos_random(&self->random, MAX_MESSAGE);
		for (size_t i = 0; i < self->size; i++)
			self->sent[i] = (char)chaos_random(&self->random, 256);
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, self->sent, self->size));
		CHAOS_CHECK(self->n == (int64_t)self->size, "skua_write_all: %lld",
			    (long long)self->n);
		for (self->read = 0; self->read < self->size; self->read += (size_t)self->n) {
			SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->received + self->read,
						       self->size - self->read));
			CHAOS_CHECK(self->n > 0, "skua_read: %lld", (long long)self->n);
		}
		CHAOS_CHECK(memcmp(self->sent, self->received, self->size) == 0,
			    "other bytes came back, of %zu", self->size);
		chaos_progress();
	}
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(client, struct client);

static void run_clients(skua_runtime *rt, const skua_addr *addr, uint64_t *random)
{
	skua_task *tasks[CLIENTS];

	for (int i = 0; i < CLIENTS; i++) {
		struct client one = {
			.co = SKUA_CORO_INIT(client), .addr = addr, .random = *random += 1};
		int rc = skua_spawn(rt, &one.co, &tasks[i]);

		CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
	}
	for (int i = 0; i < CLIENTS; i++) {
		skua_poll result = skua_task_wait(&tasks[i]);

		CHAOS_CHECK(result == 0, "%lld", (long long)result);
	}
}

void chaos_echo(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);
	struct acceptor server = {.co = SKUA_CORO_INIT(acceptor)};
	uint64_t random = chaos->seed;
	skua_task *task;
	skua_poll result;
	skua_addr addr;
	int rc = skua_addr_parse(&addr, "127.0.0.1", 0);

	CHAOS_CHECK(rc == 0, "skua_addr_parse: %d", rc);
	rc = skua_listen(rt, &addr, NULL, &server.listener);
	CHAOS_CHECK(rc == 0, "skua_listen: %d", rc);
	rc = skua_listener_addr(server.listener, &addr);
	CHAOS_CHECK(rc == 0, "skua_listener_addr: %d", rc);
	rc = skua_spawn(rt, &server.co, &task);
	CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
	while (chaos_goes_on(chaos))
		run_clients(rt, &addr, &random);
	if (chaos->seed % 2 == 0) {
		rc = skua_cancel(task);
		CHAOS_CHECK(rc == 0, "skua_cancel: %d", rc);
		result = skua_task_wait(&task);
		skua_listener_close(server.listener);
	} else {
		skua_listener_close(server.listener);
		result = skua_task_wait(&task);
	}
	CHAOS_CHECK(result == -ECANCELED, "%lld", (long long)result);
	chaos_runtime_free(rt, 0);
}

/* ---- Closing while a task reads ---- */

enum { READERS = 12 };

/* A pipe: one task waits until it is readable, others write to it, cancel the reader and close. */
struct reader {
	skua_future future;
	skua_source *source;
	_Atomic bool *waits;
};

static skua_poll reader_poll(skua_cx *cx, skua_future *self)
{
	struct reader *reader = (struct reader *)(void *)self;
	skua_poll result = skua_source_readable(cx, reader->source);

	/* From now on the source may be closed. */
	atomic_store(reader->waits, true);
	return result;
}

static const skua_future_ops reader_ops = {reader_poll, NULL, sizeof(struct reader), "reader",
					   __FILE__};

struct closer {
	skua_coro co;
	skua_source *source;
	skua_poll turn;
	uint32_t turns;
};

static skua_poll closer(skua_cx *cx, struct closer *self)
{
	SKUA_BEGIN(self);
	while (self->turns-- > 0)
		SKUA_AWAIT(self->turn = skua_yield(cx));
	skua_source_close(self->source);
	chaos_progress();
	SKUA_END(0);
}
SKUA_CORO(closer, struct closer);

struct victim {
	skua_task *reader, *closer;
	skua_source *source;
	int write_end;
	bool written, cancelled;
	_Atomic bool waits;
};

static void start_reader(skua_runtime *rt, struct victim *victim)
{
	struct reader reader = {{&reader_ops, 0, 0}, NULL, &victim->waits};
	int ends[2], rc;

	*victim = (struct victim){.write_end = -1};
	CHAOS_CHECK(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, "pipe2: %d", errno);
	rc = skua_source_new(rt, ends[0], &victim->source);
	CHAOS_CHECK(rc == 0, "skua_source_new: %d", rc);
	victim->write_end = ends[1];
	reader.source = victim->source;
	rc = skua_spawn(rt, &reader.future, &victim->reader);
	CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
}

static void attack(skua_runtime *rt, struct victim *victim, uint64_t *random)
{
	struct closer one = {.co = SKUA_CORO_INIT(closer),
			     .source = victim->source,
			     .turns = chaos_random(random, 3)};
	uint32_t choice = chaos_random(random, 8);

	if (choice == 0 || choice == 1) {
		victim->written = write(victim->write_end, "x", 1) == 1;
		CHAOS_CHECK(victim->written, "write: %d", errno);
	}
	if (choice == 1 || choice == 2) {
		victim->cancelled = true;
		CHAOS_CHECK(skua_cancel(victim->reader) != -EINVAL, "skua_cancel");
	}
	if (chaos_random(random, 2) == 0) {
		skua_source_close(victim->source);
	} else {
		int rc = skua_spawn(rt, &one.co, &victim->closer);

		CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
	}
}

static void end_reader(struct victim *victim)
{
	skua_poll result = skua_task_wait(&victim->reader);

	/* Ready spuriously is allowed, too, but not for ever. */
	CHAOS_CHECK(result == 0 || result == -ECANCELED, "skua_source_readable: %lld",
		    (long long)result);
	if (victim->closer != NULL)
		CHAOS_CHECK(skua_task_wait(&victim->closer) == 0, "the closer");
	close(victim->write_end);
	chaos_progress();
}

void chaos_closing(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);
	uint64_t random = chaos->seed;

	while (chaos_goes_on(chaos)) {
		struct victim victims[READERS];

		for (int i = 0; i < READERS; i++)
			start_reader(rt, &victims[i]);
		for (int i = 0; i < READERS; i++) {
			while (!atomic_load(&victims[i].waits))
				usleep(20);
			attack(rt, &victims[i], &random);
		}
		for (int i = 0; i < READERS; i++)
			end_reader(&victims[i]);
	}
	chaos_runtime_free(rt, 0);
}
