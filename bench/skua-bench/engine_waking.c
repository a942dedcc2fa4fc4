/* engine_waking.c - giving way, and tasks that wake each other. */
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"
#include "mailbox.h"
#include "oneshot.h"
#include "signal.h"

enum { YIELDERS = 200, YIELDS = 1000, PINGS = 1000, RING = 300, LAPS = 300 };

static struct remaining remaining;
static struct signal done;

static void prepare(struct bench *bench, int64_t argument)
{
	(void)bench, (void)argument;
	signal_init(&done);
}

/* ---- Giving way ---- */

struct yielder {
	skua_coro co;
	struct signal *done;
	int i;
};

static skua_poll yielder(skua_cx *cx, struct yielder *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < YIELDS; self->i++)
		SKUA_AWAIT(skua_yield(cx));
	signal_send(self->done);
	signal_leave(self->done);
	SKUA_END(0);
}
SKUA_CORO(yielder, struct yielder);

static void yield_many(struct bench *bench, int64_t tasks)
{
	struct yielder task = {.co = SKUA_CORO_INIT(yielder)};

	for (int64_t i = 0; i < tasks; i++) {
		task.done = signal_share(&done);
		must(skua_spawn(bench->runtime, &task.co, NULL), "skua_spawn");
	}
	for (int64_t i = 0; i < tasks; i++)
		signal_wait(&done);
}

/* ---- Ping and pong: each pair of tasks has two oneshots ---- */

struct pong {
	skua_coro co;
	struct oneshot *ping, *pong;
};

static skua_poll pong(skua_cx *cx, struct pong *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(oneshot_receive(cx, self->ping));
	oneshot_send(self->pong, 0);
	SKUA_END(0);
}
SKUA_CORO(pong, struct pong);

struct ping {
	skua_coro co;
	struct oneshot *ping, *pong;
	struct remaining *remaining;
	struct signal *done;
};

static skua_poll ping(skua_cx *cx, struct ping *self)
{
	struct pong other = {.co = SKUA_CORO_INIT(pong)};

	SKUA_BEGIN(self);
	self->ping = other.ping = oneshot_new();
	self->pong = other.pong = oneshot_new();
	must(skua_spawn(skua_cx_runtime(cx), &other.co, NULL), "skua_spawn");
	oneshot_send(self->ping, 0);
	SKUA_AWAIT(oneshot_receive(cx, self->pong));
	if (remaining_less(self->remaining))
		signal_send(self->done);
	remaining_leave(self->remaining);
	signal_leave(self->done);
	SKUA_END(0);
}
SKUA_CORO(ping, struct ping);

struct all_pings {
	skua_coro co;
	int64_t count;
	struct remaining *remaining;
	struct signal *done;
};

static skua_poll all_pings(skua_cx *cx, struct all_pings *self)
{
	struct ping task = {.co = SKUA_CORO_INIT(ping)};

	for (int64_t i = 0; i < self->count; i++) {
		task.remaining = remaining_share(self->remaining);
		task.done = signal_share(self->done);
		must(skua_spawn(skua_cx_runtime(cx), &task.co, NULL), "skua_spawn");
	}
	remaining_leave(self->remaining);
	signal_leave(self->done);
	return 0;
}
SKUA_CORO(all_pings, struct all_pings);

static void ping_pong(struct bench *bench, int64_t count)
{
	struct all_pings task = {.co = SKUA_CORO_INIT(all_pings), .count = count};

	atomic_store(&remaining.count, (size_t)count);
	task.remaining = remaining_share(&remaining);
	task.done = signal_share(&done);
	must(skua_spawn(bench->runtime, &task.co, NULL), "skua_spawn");
	signal_wait(&done);
}

/* ---- A ring of tasks, round which one token goes ---- */

static struct mailbox boxes[RING];

struct runner {
	skua_coro co;
	int index, lap;
	int64_t token;
};

static skua_poll runner(skua_cx *cx, struct runner *self)
{
	SKUA_BEGIN(self);
	for (self->lap = 0; self->lap < LAPS; self->lap++) {
		SKUA_AWAIT(self->token = mailbox_receive(cx, &boxes[self->index]));
		SKUA_AWAIT(mailbox_send(cx, &boxes[(self->index + 1) % RING], self->token + 1));
	}
	if (self->index == RING - 1)
		signal_send(&done);
	SKUA_END(0);
}
SKUA_CORO(runner, struct runner);

static void ring(struct bench *bench, int64_t unused)
{
	struct runner task = {.co = SKUA_CORO_INIT(runner)};
	skua_task *tasks[RING];

	(void)unused;
	/* Full, with a 0, before the first one: that is the token. */
	atomic_store(&boxes[0].state, 1);
	boxes[0].value = 0;
	for (task.index = 0; task.index < RING; task.index++)
		must(skua_spawn(bench->runtime, &task.co, &tasks[task.index]), "skua_spawn");
	signal_wait(&done);
	for (int i = 0; i < RING; i++)
		must(skua_task_wait(&tasks[i]), "skua_task_wait");
	must_be(boxes[0].value, (int64_t)RING * LAPS, "the token");
	atomic_store(&boxes[0].state, 0);
}

const struct workload engine_waking[] = {
	{.name = "engine/yield_many",
	 .operations = YIELDERS * YIELDS,
	 .argument = YIELDERS,
	 .begin = prepare,
	 .iterate = yield_many},
	{.name = "engine/ping_pong",
	 .operations = PINGS,
	 .argument = PINGS,
	 .begin = prepare,
	 .iterate = ping_pong},
	{.name = "engine/ring", .operations = RING * LAPS, .begin = prepare, .iterate = ring},
	{.name = NULL},
};
