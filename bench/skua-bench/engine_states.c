/* engine_states.c - what tasks cost while they wait, and how long others wait for them. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "oneshot.h"
#include "signal.h"

enum { PARKED = 1000000, STARTS = 100 };

static void pause_ms(long ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

/* ---- A million tasks that wait ---- */

static atomic_long waiting;

struct parked {
	skua_coro co;
	char state[48]; /* 64 bytes in all */
};

static skua_poll parked(skua_cx *cx, struct parked *self)
{
	(void)self;
	if (skua_cx_interrupt(cx) != 0)
		return 0;
	atomic_fetch_add_explicit(&waiting, 1, memory_order_relaxed);
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

static double memory(struct bench *bench, int64_t count)
{
	struct parked task = {.co = SKUA_CORO_INIT(parked)};
	skua_task **tasks = calloc((size_t)count, sizeof *tasks);
	double before, after;

	must(tasks == NULL ? -1 : 0, "calloc");
	for (int64_t i = 0; i < count; i++)
		tasks[i] = (skua_task *)tasks; /* the handles' memory is not the tasks' */
	atomic_store(&waiting, 0);
	before = resident();
	for (int64_t i = 0; i < count; i++)
		must(skua_spawn(bench->runtime, &task.co, &tasks[i]), "skua_spawn");
	while (atomic_load(&waiting) < count)
		pause_ms(1);
	after = resident();
	for (int64_t i = 0; i < count; i++) {
		must(skua_cancel(tasks[i]), "skua_cancel");
		must(skua_task_wait(&tasks[i]), "skua_task_wait");
	}
	free(tasks);
	return (after - before) / (double)count;
}

/* ---- A new task beside two that wake each other for ever ---- */

static struct mailbox there, back;
static atomic_bool eternal;
static sem_t started;

struct eternal {
	skua_coro co;
	struct mailbox *in, *out;
};

static skua_poll eternal_player(skua_cx *cx, struct eternal *self)
{
	SKUA_BEGIN(self);
	while (atomic_load_explicit(&eternal, memory_order_relaxed)) {
		SKUA_AWAIT(mailbox_receive(cx, self->in));
		SKUA_AWAIT(mailbox_send(cx, self->out, 0));
	}
	SKUA_END(0);
}
SKUA_CORO(eternal_player, struct eternal);

struct starter {
	skua_coro co;
};

static skua_poll starter(skua_cx *cx, struct starter *self)
{
	(void)cx, (void)self;
	sem_post(&started);
	return 0;
}
SKUA_CORO(starter, struct starter);

static double fairness(struct bench *bench, int64_t starts)
{
	struct eternal a = {.co = SKUA_CORO_INIT(eternal_player), .in = &there, .out = &back};
	struct eternal b = {.co = SKUA_CORO_INIT(eternal_player), .in = &back, .out = &there};
	struct starter task = {.co = SKUA_CORO_INIT(starter)};
	skua_task *players[2];
	double worst = 0;

	must(sem_init(&started, 0, 0), "sem_init");
	atomic_store(&eternal, true);
	atomic_store(&there.state, 1); /* full: the ball */
	must(skua_spawn(bench->runtime, &a.co, &players[0]), "skua_spawn");
	must(skua_spawn(bench->runtime, &b.co, &players[1]), "skua_spawn");
	for (int64_t i = 0; i < starts; i++) {
		uint64_t begin = skua_now();
		double took;

		must(skua_spawn(bench->runtime, &task.co, NULL), "skua_spawn");
		signal_wait(&started);
		took = (double)(skua_now() - begin);
		worst = took > worst ? took : worst;
	}
	/* Each may stop with the ball in its hands or not: put one in for whoever still waits. */
	atomic_store(&eternal, false);
	for (int i = 0; i < 2; i++) {
		skua_cancel(players[i]);
		must(skua_task_wait(&players[i]), "skua_task_wait");
	}
	mailbox_destroy(&there);
	mailbox_destroy(&back);
	return worst;
}

/* ---- Nothing to do ---- */

static double idle(struct bench *bench, int64_t count)
{
	struct parked task = {.co = SKUA_CORO_INIT(parked)};
	skua_task **tasks = calloc((size_t)count, sizeof *tasks);
	long seconds = bench->quick ? 2 : 10;
	double before;

	must(tasks == NULL ? -1 : 0, "calloc");
	for (int64_t i = 0; i < count; i++)
		must(skua_spawn(bench->runtime, &task.co, &tasks[i]), "skua_spawn");
	pause_ms(500);
	before = cpu_ns();
	pause_ms(1000 * seconds);
	before = (cpu_ns() - before) / (double)seconds;
	for (int64_t i = 0; i < count; i++) {
		must(skua_cancel(tasks[i]), "skua_cancel");
		must(skua_task_wait(&tasks[i]), "skua_task_wait");
	}
	free(tasks);
	return before;
}

const struct workload engine_states[] = {
	{.name = "engine/memory", .argument = PARKED, .value = memory, .unit = "bytes"},
	{.name = "engine/fairness", .argument = STARTS, .value = fairness, .unit = "worst_ns"},
	{.name = "engine/idle", .argument = 1000, .value = idle, .unit = "cpu_ns_per_s"},
	{.name = NULL},
};
