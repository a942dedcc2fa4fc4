/*
 * load_support.h - a bit of everything at once: an echo server with clients, timers and deadlines, scopes
 * with nested children, blocking jobs that run, wait in the queue and wait for room, joins, selects,
 * tokens, and yielders of every priority; all of it ends by itself.
 *
 * Every poll is a step. At a chosen step the poll that takes it waits until the runtime has begun to
 * close: so a shutdown begins in the middle of whatever is going on at that step.
 */
#ifndef SKUA_TESTS_LOAD_SUPPORT_H
#define SKUA_TESTS_LOAD_SUPPORT_H

#include "memory_support.h"
#include "net_support.h"
#include "runtime/runtime.h"
#include "sched/sched.h"

enum {
	LOAD_SESSIONS = 6, /* clients that are tasks */
	LOAD_ROUNDS = 6,   /* requests of each */
	LOAD_TASKS = 4,    /* of most other kinds */
	LOAD_YIELDS = 12,
	LOAD_JOBS = 5, /* for two threads, with room for one more in the queue */
};

static struct {
	skua_runtime *rt;
	skua_listener *listener;
	skua_addr addr;
	skua_token *token;
	int64_t step_to_stop; /* 0: none */
	atomic_llong steps;
	void (*in_the_poll)(void); /* called at that step when the runtime is closing, or NULL */
	atomic_int stopping;       /* that step has been reached */
	atomic_int alive;          /* tasks of the load that have been spawned and have not ended */
	atomic_int bad;            /* wrong bytes, and calls that should have been refused */
} load;

static inline int load_is_closing(void)
{
	return !sk_sched_is_open(load.rt->head.sched);
}

/* A poll begins. */
static inline void load_step(void)
{
	int64_t step = atomic_fetch_add(&load.steps, 1) + 1;

	if (step != load.step_to_stop)
		return;
	atomic_store(&load.stopping, 1);
	while (!load_is_closing())
		;
	if (load.in_the_poll != NULL)
		load.in_the_poll();
}

static inline int load_spawn_with(skua_cx *cx, skua_scope *scope, const skua_future *future,
				  const skua_spawn_options *options, skua_task **task)
{
	int rc;

	atomic_fetch_add(&load.alive, 1);
	rc = scope != NULL ? skua_scope_spawn_with(cx, scope, future, options, task)
			   : skua_spawn_with(load.rt, future, options, task);
	if (rc < 0)
		atomic_fetch_sub(&load.alive, 1);
	return rc;
}

static inline int load_spawn(skua_cx *cx, skua_scope *scope, const skua_future *future)
{
	return load_spawn_with(cx, scope, future, NULL, NULL);
}

/* The last words of each task: if the runtime is closing, nothing new may begin. */
static inline int64_t load_end(int64_t result)
{
	struct call call = call_of(parked, NULL);
	skua_listener *listener = NULL;

	if (load_is_closing()) {
		if (skua_spawn(load.rt, &call.future, NULL) != -ESHUTDOWN ||
		    skua_listen(load.rt, &load.addr, NULL, &listener) != -ESHUTDOWN)
			atomic_fetch_add(&load.bad, 1);
	}
	atomic_fetch_sub(&load.alive, 1);
	return result;
}

/* ---- Sockets ---- */

struct load_session {
	skua_coro co;
	skua_tcp *conn;
	skua_timer timer;
	int64_t n, rc;
	char data[64];
};

static skua_poll load_session(skua_cx *cx, struct load_session *self)
{
	load_step();
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->n = skua_timeout(
				   cx, &self->timer, 60 * SKUA_SEC,
				   skua_read(cx, self->conn, self->data, sizeof self->data)));
		if (self->n <= 0)
			break;
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, self->data, (size_t)self->n));
		if (self->rc < 0)
			break;
	}
	skua_tcp_close(self->conn);
	SKUA_END(load_end(0));
}
SKUA_CORO(load_session, struct load_session);

/* Accepts until the token is cancelled. */
struct load_acceptor {
	skua_coro co;
	skua_tcp *conn;
	skua_token_waiter waiter;
	int64_t rc;
};

static void serve(skua_cx *cx, skua_tcp *conn)
{
	struct load_session session = {.co = SKUA_CORO_INIT(load_session), .conn = conn};

	if (load_spawn(cx, NULL, &session.co) < 0)
		skua_tcp_close(conn);
}

static skua_poll load_acceptor(skua_cx *cx, struct load_acceptor *self)
{
	load_step();
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_with_token(cx, &self->waiter, load.token,
						      skua_accept(cx, load.listener, &self->conn)));
		if (self->rc < 0)
			break;
		serve(cx, self->conn);
	}
	SKUA_END(load_end(0));
}
SKUA_CORO(load_acceptor, struct load_acceptor);

struct load_client {
	skua_coro co;
	skua_tcp *conn;
	skua_timer timer;
	int64_t n, rc;
	int round;
	char data[16];
};

static skua_poll load_client(skua_cx *cx, struct load_client *self)
{
	load_step();
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_connect(cx, &load.addr, &self->conn));
	for (; self->rc >= 0 && self->round < LOAD_ROUNDS; self->round++) {
		memset(self->data, 'a' + self->round, sizeof self->data);
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, self->data, 1));
		if (self->rc < 0)
			break;
		self->data[0] = 0;
		SKUA_AWAIT(self->n = self->rc = skua_read(cx, self->conn, self->data, 16));
		if (self->n == 1 && self->data[0] != 'a' + self->round)
			atomic_fetch_add(&load.bad, 1);
		if (self->n <= 0)
			break;
		SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 100 * SKUA_USEC));
	}
	skua_tcp_close(self->conn);
	SKUA_END(load_end(0));
}
SKUA_CORO(load_client, struct load_client);

/* ---- Time ---- */

struct load_ticker {
	skua_coro co;
	skua_interval interval;
	skua_timer timers[2];
	int64_t rc;
	int tick;
};

static skua_poll load_ticker(skua_cx *cx, struct load_ticker *self)
{
	load_step();
	SKUA_BEGIN(self);
	self->rc = skua_interval_init(&self->interval, 0, 300 * SKUA_USEC, SKUA_MISSED_SKIP);
	for (self->tick = 0; self->rc >= 0 && self->tick < LOAD_ROUNDS; self->tick++) {
		SKUA_AWAIT(self->rc = skua_tick(cx, &self->interval));
		if (self->rc < 0)
			break;
		/* A deadline that runs out. */
		SKUA_AWAIT(self->rc =
				   skua_timeout(cx, &self->timers[0], 100 * SKUA_USEC,
						skua_sleep(cx, &self->timers[1], 3600 * SKUA_SEC)));
		self->rc = self->rc == -ETIMEDOUT ? 0 : self->rc;
	}
	SKUA_END(load_end(0));
}
SKUA_CORO(load_ticker, struct load_ticker);

/* ---- Yielders, joins, selects, tokens ---- */

struct load_yielder {
	skua_coro co;
	int64_t rc;
	int yields;
};

static skua_poll load_yielder(skua_cx *cx, struct load_yielder *self)
{
	load_step();
	SKUA_BEGIN(self);
	while (self->rc >= 0 && self->yields++ < LOAD_YIELDS)
		SKUA_AWAIT(self->rc = skua_yield(cx));
	SKUA_END(load_end(self->rc));
}
SKUA_CORO(load_yielder, struct load_yielder);

/* Spawns one of another priority, and joins it, also when it is itself cancelled meanwhile. */
struct load_joiner {
	skua_coro co;
	skua_task *child;
	int64_t rc;
	uint32_t priority;
};

static skua_poll load_joiner(skua_cx *cx, struct load_joiner *self)
{
	const skua_spawn_options options = {.struct_size = sizeof options,
					    .priority = self->priority};
	struct load_yielder child = {.co = SKUA_CORO_INIT(load_yielder)};

	load_step();
	SKUA_BEGIN(self);
	self->rc = load_spawn_with(cx, NULL, &child.co, &options, &self->child);
	while (self->child != NULL)
		SKUA_AWAIT(self->rc = skua_join(cx, &self->child));
	SKUA_END(load_end(0));
}
SKUA_CORO(load_joiner, struct load_joiner);

/* The first of a timer, a token and a yield, again and again. */
struct load_selector {
	skua_coro co;
	skua_compose select;
	skua_timer timer;
	skua_token_waiter waiter;
	int64_t which, results[3];
	int round;
};

static skua_poll load_selector(skua_cx *cx, struct load_selector *self)
{
	load_step();
	SKUA_BEGIN(self);
	for (; self->which >= 0 && self->round < LOAD_ROUNDS; self->round++) {
		SKUA_SELECT (self->which, cx, &self->select, SKUA_FAIR, 3) {
			SKUA_BRANCH(0, self->results[0] =
					       skua_sleep(cx, &self->timer, 50 * SKUA_USEC));
			SKUA_BRANCH(1, self->results[1] =
					       skua_token_wait(cx, &self->waiter, load.token));
			SKUA_BRANCH(2, self->results[2] = skua_yield(cx));
		}
	}
	SKUA_END(load_end(0));
}
SKUA_CORO(load_selector, struct load_selector);

/* ---- Blocking ---- */

static int64_t load_job(void *unused)
{
	(void)unused;
	sleep_ms(1);
	return 0;
}

struct load_blocker {
	skua_coro co;
	skua_blocking_wait wait;
	skua_task *job;
	int64_t rc;
	int in_place;
};

static skua_poll load_blocker(skua_cx *cx, struct load_blocker *self)
{
	load_step();
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_spawn_blocking_when_room(cx, &self->wait, load_job, NULL, 0,
							    NULL, &self->job));
	while (self->rc == 0 && self->job != NULL)
		SKUA_AWAIT(self->rc = skua_join(cx, &self->job));
	if (self->job != NULL)
		skua_detach(&self->job);
	if (self->in_place)
		self->rc = skua_block_in_place(cx, load_job, NULL);
	SKUA_END(load_end(0));
}
SKUA_CORO(load_blocker, struct load_blocker);

/* ---- Scopes ---- */

/* Opens a scope with children, one of which does the same, `depth` times. */
struct load_parent {
	skua_coro co;
	skua_scope *scope;
	skua_timer timer;
	int64_t rc;
	int depth;
};

static skua_poll load_parent(skua_cx *cx, struct load_parent *self);
SKUA_CORO(load_parent, struct load_parent);

static int64_t bear_children(skua_cx *cx, struct load_parent *self)
{
	const skua_scope_options options = {.struct_size = sizeof options, .limit = 3};
	struct load_parent parent = {.co = SKUA_CORO_INIT(load_parent), .depth = self->depth - 1};
	struct load_yielder yielder = {.co = SKUA_CORO_INIT(load_yielder)};
	struct load_ticker ticker = {.co = SKUA_CORO_INIT(load_ticker)};
	int rc = skua_scope_new(cx, &options, &self->scope);

	for (int i = 0; i < 2 && rc == 0; i++) {
		rc = load_spawn(cx, self->scope, &yielder.co);
		rc = rc < 0 ? rc : load_spawn(cx, self->scope, &ticker.co);
	}
	if (rc == 0 && self->depth > 0)
		rc = load_spawn(cx, self->scope, &parent.co);
	return rc;
}

static skua_poll load_parent(skua_cx *cx, struct load_parent *self)
{
	load_step();
	SKUA_BEGIN(self);
	self->rc = bear_children(cx, self);
	/* The deepest one leaves its scope open, which ends it, too. */
	if (self->depth > 0)
		SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(load_end(0));
}

/* ---- All of it ---- */

/* Begins everything, and ends the acceptor when the clients are done. */
struct load_root {
	skua_coro co;
	skua_scope *clients;
	int64_t rc;
};

static void begin_tasks(skua_cx *cx, int i)
{
	struct load_ticker ticker = {.co = SKUA_CORO_INIT(load_ticker)};
	struct load_joiner joiner = {.co = SKUA_CORO_INIT(load_joiner),
				     .priority = (uint32_t)i % 3};
	struct load_selector selector = {.co = SKUA_CORO_INIT(load_selector)};
	struct load_parent parent = {.co = SKUA_CORO_INIT(load_parent), .depth = 2};

	(void)load_spawn(cx, NULL, &ticker.co);
	(void)load_spawn(cx, NULL, &joiner.co);
	(void)load_spawn(cx, NULL, &selector.co);
	if (i == 0)
		(void)load_spawn(cx, NULL, &parent.co);
}

static void begin_everything(skua_cx *cx, struct load_root *self)
{
	struct load_acceptor acceptor = {.co = SKUA_CORO_INIT(load_acceptor)};

	(void)load_spawn(cx, NULL, &acceptor.co);
	for (int i = 0; i < LOAD_SESSIONS && self->clients != NULL; i++) {
		struct load_client client = {.co = SKUA_CORO_INIT(load_client)};

		(void)load_spawn(cx, self->clients, &client.co);
	}
	for (int i = 0; i < LOAD_TASKS; i++)
		begin_tasks(cx, i);
	for (int i = 0; i < LOAD_JOBS; i++) {
		struct load_blocker blocker = {.co = SKUA_CORO_INIT(load_blocker),
					       .in_place = i == 0};

		(void)load_spawn(cx, NULL, &blocker.co);
	}
}

static skua_poll load_root(skua_cx *cx, struct load_root *self)
{
	load_step();
	SKUA_BEGIN(self);
	self->rc = skua_scope_new(cx, NULL, &self->clients);
	begin_everything(cx, self);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->clients));
	skua_token_cancel(load.token);
	SKUA_END(load_end(0));
}
SKUA_CORO(load_root, struct load_root);

/* Begins a runtime for it. The knobs are the caller's. */
static inline void load_open(skua_config *config, int64_t step_to_stop)
{
	load.step_to_stop = step_to_stop;
	load.in_the_poll = NULL;
	load.steps = 0;
	load.stopping = 0;
	load.alive = 0;
	load.bad = 0;
	config->max_blocking = 2;
	config->blocking_queue = 1;
	T_EQ(skua_token_new(NULL, &load.token), 0);
	load.rt = runtime_with(config);
	load.listener = listen_on(load.rt, "127.0.0.1", NULL, &load.addr);
}

static inline void load_begin(void)
{
	struct load_root root = {.co = SKUA_CORO_INIT(load_root)};

	T_EQ(load_spawn(NULL, NULL, &root.co), 0);
}

#endif /* SKUA_TESTS_LOAD_SUPPORT_H */
