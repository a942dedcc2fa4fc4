/* time_live.c - many live timers, some of which fire all the time: how late, and at what cost. */
#include <stdatomic.h>
#include <stdlib.h>

#include "../../examples/common.h"
#include "bench.h"

enum {
	LIVE = 1000000,
	LIVE_QUICK = 100000,
	RATE = 100000, /* how many fire in a second, as long as nothing is late for good */
	LATEST =
		1000000, /* lateness is counted in microseconds; what is later, in the last place */
	SETTLING_MS = 500, /* from when the last one has been armed to the first window */
};
#define LEAD (200 * SKUA_MSEC) /* before the first of them is due */

static atomic_uint late[LATEST + 1];
static atomic_long armed;
static skua_task **tasks;
static int64_t live;

/* Fires once in each period; counts how late. */
struct metronome {
	skua_coro co;
	uint64_t due, period;
	skua_timer timer;
	int64_t rc;
};

static void count_lateness(uint64_t due)
{
	uint64_t us = (skua_now() - due) / SKUA_USEC;

	atomic_fetch_add_explicit(&late[us < LATEST ? us : LATEST], 1, memory_order_relaxed);
}

static skua_poll metronome(skua_cx *cx, struct metronome *self)
{
	SKUA_BEGIN(self);
	atomic_fetch_add_explicit(&armed, 1, memory_order_release);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_sleep_until(cx, &self->timer, self->due));
		if (self->rc < 0)
			break;
		count_lateness(self->due);
		self->due += self->period;
	}
	SKUA_END(0);
}
SKUA_CORO(metronome, struct metronome);

static void begin(struct bench *bench, int64_t unused)
{
	struct metronome task = {.co = SKUA_CORO_INIT(metronome)};
	uint64_t first = skua_now() + LEAD;

	(void)unused;
	live = bench->quick ? LIVE_QUICK : LIVE;
	tasks = calloc((size_t)live, sizeof(void *));
	if (tasks == NULL)
		die(1, "no memory");
	task.period = (uint64_t)live * (SKUA_SEC / RATE);
	atomic_store(&armed, 0);
	for (int64_t i = 0; i < live; i++) {
		task.due = first + (uint64_t)i * (SKUA_SEC / RATE);
		must(skua_spawn(bench->runtime, &task.co, &tasks[i]), "skua_spawn");
	}
	while (atomic_load_explicit(&armed, memory_order_acquire) < live)
		pause_ms(1);
	pause_ms(SETTLING_MS);
}

static void end(struct bench *bench, int64_t unused)
{
	(void)bench, (void)unused;
	for (int64_t i = 0; i < live; i++)
		must(skua_cancel(tasks[i]), "skua_cancel");
	for (int64_t i = 0; i < live; i++)
		must(skua_task_wait(&tasks[i]), "skua_task_wait");
	free(tasks);
}

/* What a share of the counted timers was not later than, in nanoseconds. */
static double lateness(const unsigned *counts, uint64_t all, double share)
{
	uint64_t left = (uint64_t)((double)all * share);

	for (int us = 0; us < LATEST; us++) {
		if (counts[us] > left)
			return ((double)us + 0.5) * 1e3;
		left -= counts[us];
	}
	return LATEST * 1e3;
}

/* One window: lateness, half and 99 percent, and CPU time in a second. */
static void window(struct bench *bench, int64_t unused, double *figures)
{
	static unsigned counts[LATEST + 1];
	uint64_t begin, all = 0;
	double cpu, seconds, share;

	(void)unused;
	for (int us = 0; us <= LATEST; us++)
		atomic_store_explicit(&late[us], 0, memory_order_relaxed);
	begin = skua_now();
	cpu = cpu_ns();
	pause_ms(bench->quick ? 400 : 2000);
	cpu = cpu_ns() - cpu;
	seconds = (double)(skua_now() - begin) / 1e9;
	for (int us = 0; us <= LATEST; us++) {
		counts[us] = atomic_load_explicit(&late[us], memory_order_relaxed);
		all += counts[us];
	}
	share = (double)all / seconds / RATE;
	if (share < 0.5 || share > 1.5)
		die(1, "timers fire at %.2f of the rate", share);
	figures[0] = lateness(counts, all, 0.5);
	figures[1] = lateness(counts, all, 0.99);
	figures[2] = cpu / seconds;
}

const struct workload time_live[] = {
	{.name = "time/live",
	 .begin = begin,
	 .measure = window,
	 .end = end,
	 .units = {"late_p50_ns", "late_p99_ns", "cpu_ns_per_s"}},
	{.name = NULL},
};
