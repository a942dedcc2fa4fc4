/* engine_states.c - what tasks cost while they wait, and how long others wait for them. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../examples/common.h"
#include "bench.h"
#include "mailbox.h"
#include "signal.h"

enum { PARKED = 1000000, STARTS = 100 };

/* ---- A million tasks that wait ---- */

static atomic_long waiting;

/* Keeps its waker, as one that waits for something does. */
struct parked {
	skua_coro co;
	skua_waker waker;
	char state[32];
};
_Static_assert(sizeof(struct parked) == 64, "the future of the workload has 64 bytes");

static skua_poll parked(skua_cx *cx, struct parked *self)
{
	if (skua_cx_interrupt(cx) != 0) {
		skua_waker_drop(&self->waker);
		return 0;
	}
	must(skua_waker_clone(skua_cx_waker(cx), &self->waker), "skua_waker_clone");
	atomic_fetch_add_explicit(&waiting, 1, memory_order_release);
	return SKUA_PENDING;
}
SKUA_CORO(parked, struct parked);

static double resident(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long size = 0, pages = 0;

	must(file == NULL ? -1 : 0, "/proc/self/statm");
	must(fscanf(file, "%ld %ld", &size, &pages) == 2 ? 0 : -1, "/proc/self/statm");
	fclose(file);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* Spawns a task for each handle, and comes back when all of them wait. */
static void park(struct bench *bench, skua_task **tasks, int64_t count)
{
	struct parked task = {.co = SKUA_CORO_INIT(parked)};

	atomic_store(&waiting, 0);
	for (int64_t i = 0; i < count; i++)
		must(skua_spawn(bench->runtime, &task.co, &tasks[i]), "skua_spawn");
	while (atomic_load_explicit(&waiting, memory_order_acquire) < count)
		pause_ms(1);
}

static void end(skua_task **tasks, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		must(skua_cancel(tasks[i]), "skua_cancel");
	for (int64_t i = 0; i < count; i++)
		must(skua_task_wait(&tasks[i]), "skua_task_wait");
	free(tasks);
}

static skua_task **new_handles(int64_t count)
{
	skua_task **handles = calloc((size_t)count, sizeof(void *));

	if (handles == NULL)
		die(1, "no memory");
	return handles;
}

/* Only the first measurement of a process is true, since freed memory stays resident. */
static void memory(struct bench *bench, int64_t count, double *bytes)
{
	skua_task **tasks = new_handles(count);
	double before;

	for (int64_t i = 0; i < count; i++)
		tasks[i] = (skua_task *)tasks; /* the handles' memory is not the tasks' */
	before = resident();
	park(bench, tasks, count);
	*bytes = (resident() - before) / (double)count;
	end(tasks, count);
}

/* ---- A new task beside two that wake each other for ever ---- */

static struct mailbox there, back;
static atomic_bool eternal;
static struct signal started;

/* How often a player has passed the ball on: once in each of its polls. */
static struct passes {
	_Alignas(64) atomic_uint_fast64_t count;
} passes[2];

static uint64_t passed(void)
{
	return atomic_load_explicit(&passes[0].count, memory_order_relaxed) +
	       atomic_load_explicit(&passes[1].count, memory_order_relaxed);
}

struct eternal {
	skua_coro co;
	struct mailbox *in, *out;
	struct passes *passes;
};

static skua_poll eternal_player(skua_cx *cx, struct eternal *self)
{
	uint64_t count;

	SKUA_BEGIN(self);
	/* Whoever sees the end first has passed the ball on, so that the other one sees it, too. */
	do {
		SKUA_AWAIT(mailbox_receive(cx, self->in));
		count = atomic_load_explicit(&self->passes->count, memory_order_relaxed);
		atomic_store_explicit(&self->passes->count, count + 1, memory_order_relaxed);
		SKUA_AWAIT(mailbox_send(cx, self->out, 0));
	} while (atomic_load_explicit(&eternal, memory_order_relaxed));
	SKUA_END(0);
}
SKUA_CORO(eternal_player, struct eternal);

/* When a task was polled first. */
struct start {
	uint64_t time, passed;
};

struct starter {
	skua_coro co;
	struct start *start;
};

static skua_poll starter(skua_cx *cx, struct starter *self)
{
	(void)cx;
	*self->start = (struct start){skua_now(), passed()};
	signal_send(&started);
	return 0;
}
SKUA_CORO(starter, struct starter);

/* The worst of some starts: the time from before the spawn, and the passes after it. */
static struct start worst_start(struct bench *bench, int64_t starts)
{
	struct eternal a = {.co = SKUA_CORO_INIT(eternal_player), .in = &there, .out = &back};
	struct eternal b = {.co = SKUA_CORO_INIT(eternal_player), .in = &back, .out = &there};
	struct starter task = {.co = SKUA_CORO_INIT(starter)};
	struct start start, worst = {0, 0};
	skua_task *players[2];

	signal_init(&started);
	a.passes = &passes[0];
	b.passes = &passes[1];
	task.start = &start;
	atomic_store(&eternal, true);
	atomic_store(&back.state, 0);
	atomic_store(&there.state, 1); /* full: the ball */
	must(skua_spawn(bench->runtime, &a.co, &players[0]), "skua_spawn");
	must(skua_spawn(bench->runtime, &b.co, &players[1]), "skua_spawn");
	for (int64_t i = 0; i < starts; i++) {
		uint64_t begin = skua_now(), before;

		must(skua_spawn(bench->runtime, &task.co, NULL), "skua_spawn");
		before = passed();
		signal_wait(&started);
		if (start.time - begin > worst.time)
			worst.time = start.time - begin;
		if (start.passed > before && start.passed - before > worst.passed)
			worst.passed = start.passed - before;
	}
	atomic_store(&eternal, false);
	for (int i = 0; i < 2; i++)
		must(skua_task_wait(&players[i]), "skua_task_wait");
	return worst;
}

static void fairness(struct bench *bench, int64_t starts, double *worst_ns)
{
	*worst_ns = (double)worst_start(bench, starts).time;
}

static void fairness_polls(struct bench *bench, int64_t starts, double *worst_polls)
{
	*worst_polls = (double)worst_start(bench, starts).passed;
}

/* ---- Nothing to do ---- */

/* A window of 2 s; five of them are the 10 s of the workload. */
static void idle(struct bench *bench, int64_t count, double *cpu_ns_per_s)
{
	skua_task **tasks = new_handles(count);
	long window_ms = bench->quick ? 400 : 2000;
	double spent;

	park(bench, tasks, count);
	pause_ms(500);
	spent = cpu_ns();
	pause_ms(window_ms);
	spent = cpu_ns() - spent;
	end(tasks, count);
	*cpu_ns_per_s = spent * 1000 / (double)window_ms;
}

const struct workload engine_states[] = {
	{.name = "engine/memory",
	 .argument = PARKED,
	 .measure = memory,
	 .units = {"bytes"},
	 .once = true},
	{.name = "engine/fairness", .argument = STARTS, .measure = fairness, .units = {"worst_ns"}},
	{.name = "engine/fairness_polls",
	 .argument = STARTS,
	 .measure = fairness_polls,
	 .units = {"worst_polls"}},
	{.name = "engine/idle", .argument = 1000, .measure = idle, .units = {"cpu_ns_per_s"}},
	{.name = NULL},
};
