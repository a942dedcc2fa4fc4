/*
 * test_every_operation.c - what docs/semantics.md promises of every operation, also of one that is
 * ready at once: it tells a cancellation before it does anything, and uses the budget of its task.
 */
#include <inttypes.h>
#include <sys/eventfd.h>

#include "net_support.h"
#include "spawn_support.h"

/* What the operations work on. */
struct ground {
	struct net net;
	skua_runtime *rt;
	skua_tcp *conn; /* to be read from, to be accepted or to be connected */
	skua_source *source;
	skua_token *cancelled;
	skua_task *ended;
	skua_scope *scope;
	skua_timer timers[2];
	skua_interval interval;
	skua_token_waiter waiter;
	skua_blocking_wait room;
	skua_compose compose;
	char byte;
};

static skua_poll op_sleep(skua_cx *cx, struct ground *on)
{
	return skua_sleep(cx, &on->timers[0], 0);
}

static skua_poll op_sleep_until(skua_cx *cx, struct ground *on)
{
	return skua_sleep_until(cx, &on->timers[0], 1);
}

static skua_poll op_timeout(skua_cx *cx, struct ground *on)
{
	return skua_timeout(cx, &on->timers[0], SKUA_SEC, skua_sleep(cx, &on->timers[1], 0));
}

/* Always behind. */
static skua_poll op_tick(skua_cx *cx, struct ground *on)
{
	return skua_tick(cx, &on->interval);
}

static skua_poll op_yield(skua_cx *cx, struct ground *on)
{
	(void)on;
	return skua_yield(cx);
}

static skua_poll op_join_task(skua_cx *cx, struct ground *on)
{
	return skua_join(cx, &on->ended);
}

static skua_poll op_token(skua_cx *cx, struct ground *on)
{
	return skua_token_wait(cx, &on->waiter, on->cancelled);
}

static skua_poll op_room(skua_cx *cx, struct ground *on)
{
	return skua_scope_room(cx, on->scope);
}

static skua_poll op_next(skua_cx *cx, struct ground *on)
{
	skua_scope_result result;

	return skua_scope_next(cx, on->scope, &result);
}

static skua_poll op_scope(skua_cx *cx, struct ground *on)
{
	if (on->scope == NULL)
		T_EQ(skua_scope_new(cx, NULL, &on->scope), 0);
	return skua_scope_join(cx, &on->scope);
}

static int64_t job(void *argument)
{
	(void)argument;
	return 0;
}

static skua_poll op_when_room(skua_cx *cx, struct ground *on)
{
	return skua_spawn_blocking_when_room(cx, &on->room, job, NULL, 0, NULL, NULL);
}

static skua_poll op_read_one(skua_cx *cx, struct ground *on)
{
	return skua_read(cx, on->conn, &on->byte, 1);
}

static skua_poll op_read_nothing(skua_cx *cx, struct ground *on)
{
	return skua_read(cx, on->conn, &on->byte, 0);
}

static skua_poll op_write_one(skua_cx *cx, struct ground *on)
{
	return skua_write(cx, on->conn, &on->byte, 1);
}

static skua_poll op_write_nothing(skua_cx *cx, struct ground *on)
{
	return skua_write(cx, on->conn, &on->byte, 0);
}

static skua_poll op_write_all_of_one(skua_cx *cx, struct ground *on)
{
	return skua_write_all(cx, on->conn, &on->byte, 1);
}

static skua_poll op_write_all_of_nothing(skua_cx *cx, struct ground *on)
{
	return skua_write_all(cx, on->conn, &on->byte, 0);
}

static skua_poll op_writev_one(skua_cx *cx, struct ground *on)
{
	struct iovec piece = {&on->byte, 1};

	return skua_writev(cx, on->conn, &piece, 1);
}

static skua_poll op_accept_one(skua_cx *cx, struct ground *on)
{
	return skua_accept(cx, on->net.listener, &on->conn);
}

static skua_poll op_connect_one(skua_cx *cx, struct ground *on)
{
	return skua_connect(cx, &on->net.addr, &on->conn);
}

static skua_poll op_readable(skua_cx *cx, struct ground *on)
{
	return skua_source_readable(cx, on->source);
}

static skua_poll op_writable(skua_cx *cx, struct ground *on)
{
	return skua_source_writable(cx, on->source);
}

static skua_poll op_select(skua_cx *cx, struct ground *on)
{
	skua_poll result;

	SKUA_POLL_SELECT (result, cx, &on->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, skua_sleep(cx, &on->timers[0], 0));
		SKUA_BRANCH(1, skua_sleep(cx, &on->timers[1], 0));
	}
	return result;
}

static skua_poll op_join_branches(skua_cx *cx, struct ground *on)
{
	skua_poll result;

	SKUA_POLL_JOIN (result, cx, &on->compose, 2) {
		SKUA_BRANCH(0, skua_sleep(cx, &on->timers[0], 0));
		SKUA_BRANCH(1, skua_sleep(cx, &on->timers[1], 0));
	}
	return result;
}

/* `next`: what it gives after it has told; `lasts`: it is ready any number of times. */
static const struct kind {
	const char *name;
	skua_poll (*poll)(skua_cx *cx, struct ground *on);
	int64_t next;
	int scope, has_conn, lasts;
} operations[] = {
	{"sleep", op_sleep, 0, 0, 0, 1},
	{"sleep_until", op_sleep_until, 0, 0, 0, 1},
	{"timeout", op_timeout, 0, 0, 0, 1},
	{"tick", op_tick, 0, 0, 0, 1},
	{"yield", op_yield, 0, 0, 0, 1},
	{"join", op_join_task, 7, 0, 0, 0},
	{"token_wait", op_token, 0, 0, 0, 1},
	{"scope_room", op_room, 0, 1, 0, 1},
	{"scope_next", op_next, 0, 1, 0, 1},
	{"scope_join", op_scope, 0, 0, 0, 1},
	{"when_room", op_when_room, 0, 0, 0, 0},
	{"read", op_read_one, 1, 0, 1, 0},
	{"read of nothing", op_read_nothing, 0, 0, 1, 1},
	{"write", op_write_one, 1, 0, 1, 0},
	{"write of nothing", op_write_nothing, 0, 0, 1, 1},
	{"write_all", op_write_all_of_one, 1, 0, 1, 0},
	{"write_all of nothing", op_write_all_of_nothing, 0, 0, 1, 1},
	{"writev", op_writev_one, 1, 0, 1, 0},
	{"accept", op_accept_one, 0, 0, 0, 0},
	{"connect", op_connect_one, 0, 0, 0, 0},
	{"source_readable", op_readable, 0, 0, 0, 0},
	{"source_writable", op_writable, 0, 0, 0, 0},
	{"select", op_select, 0, 0, 0, 1},
	{"join of branches", op_join_branches, 0, 0, 0, 1},
};

enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static void ground_begin(struct ground *on, uint32_t workers, const struct kind *kind)
{
	*on = (struct ground){.net = net_listen(workers, IO_AUTO)};
	on->rt = on->net.rt;
	net_connect(&on->net);
	T_EQ(skua_source_new(on->rt, eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), &on->source), 0);
	T_EQ(skua_token_new(NULL, &on->cancelled), 0);
	skua_token_cancel(on->cancelled);
	on->ended = start(on->rt, seven, NULL);
	WAIT_UNTIL(skua_task_finished(on->ended));
	T_EQ(skua_interval_init(&on->interval, 1, 1, SKUA_MISSED_BURST), 0);
	if (kind->has_conn) {
		on->conn = on->net.server;
		on->net.server = NULL;
		T_EQ(write_all(on->rt, on->net.client, "abcd", 4), 4);
	}
}

static void ground_end(struct ground *on)
{
	skua_detach(&on->ended);
	skua_tcp_close(on->conn);
	skua_source_close(on->source);
	skua_token_release(on->cancelled);
	net_close(&on->net);
}

/* ---- A cancellation is told first ---- */

/* Cancels itself, or has a cancelled token around it, and awaits the operation twice. */
struct told {
	skua_coro co;
	const struct kind *kind;
	struct ground *on;
	struct cell *go;
	skua_task **self;
	skua_token_waiter waiter;
	skua_scope_options options;
	int by_token;
	int64_t first, second;
};

static int64_t enter_scope(skua_cx *cx, const struct kind *kind, struct ground *on)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .results = SKUA_RESULTS_AS_THEY_COME};

	return kind->scope ? skua_scope_new(cx, &options, &on->scope) : 0;
}

static skua_poll told(skua_cx *cx, struct told *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(cell_take(cx, self->go));
	T_EQ(enter_scope(cx, self->kind, self->on), 0);
	if (self->by_token) {
		SKUA_AWAIT(self->first = skua_with_token(cx, &self->waiter, self->on->cancelled,
							 self->kind->poll(cx, self->on)));
	} else {
		T_EQ(skua_cancel(*self->self), 0);
		SKUA_AWAIT(self->first = self->kind->poll(cx, self->on));
	}
	SKUA_AWAIT(self->second = self->kind->poll(cx, self->on));
	T_ASSERT_MSG(self->first == (self->by_token ? -EINTR : -ECANCELED) &&
			     self->second == self->kind->next,
		     "%s: %" PRId64 ", then %" PRId64, self->kind->name, self->first, self->second);
	SKUA_END(0);
}
SKUA_CORO(told, struct told);

static void tell_all(int by_token)
{
	for (unsigned i = 0; i < OPERATIONS; i++) {
		struct cell go = CELL_INIT;
		struct ground on;
		skua_task *task;
		struct told state = {.co = SKUA_CORO_INIT(told),
				     .kind = &operations[i],
				     .on = &on,
				     .go = &go,
				     .self = &task,
				     .by_token = by_token};
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ground_begin(&on, 2, state.kind);
		connect_fd(fd, &on.net.addr);
		task = start_future(on.rt, &state.co);
		cell_fill(&go);
		T_EQ(skua_task_wait(&task), 0);
		close(fd);
		ground_end(&on);
	}
}

T_TEST_T(every_operation, tells_a_cancellation_first, 60)
{
	tell_all(0);
}

T_TEST_T(every_operation, tells_a_cancelled_token_first, 60)
{
	tell_all(1);
}

/* ---- The budget ---- */

/* Awaits the operation again and again, until it is cancelled. */
struct greedy {
	skua_coro co;
	const struct kind *kind;
	struct ground *on;
	atomic_int *begun;
	int64_t rc;
};

static skua_poll greedy(skua_cx *cx, struct greedy *self)
{
	SKUA_BEGIN(self);
	T_EQ(enter_scope(cx, self->kind, self->on), 0);
	do {
		atomic_store(self->begun, 1);
		SKUA_AWAIT(self->rc = self->kind->poll(cx, self->on));
	} while (self->rc == self->kind->next);
	T_EQ(self->rc, -ECANCELED);
	SKUA_END(0);
}
SKUA_CORO(greedy, struct greedy);

/* The only worker comes to another task. */
T_TEST_T(every_operation, gives_way_when_it_is_always_ready, 60)
{
	for (unsigned i = 0; i < OPERATIONS; i++) {
		atomic_int begun = 0;
		struct ground on;
		struct greedy state = {.co = SKUA_CORO_INIT(greedy),
				       .kind = &operations[i],
				       .on = &on,
				       .begun = &begun};
		skua_task *task;

		if (!state.kind->lasts)
			continue;
		ground_begin(&on, 1, state.kind);
		T_LOG("%s", state.kind->name);
		task = start_future(on.rt, &state.co);
		WAIT_UNTIL(begun);
		T_EQ(run(on.rt, seven, NULL), 7);
		T_EQ(skua_cancel(task), 0);
		T_EQ(skua_task_wait(&task), 0);
		ground_end(&on);
	}
}
