/* engine_spawning.c - spawning tasks, from workers, from other threads, and onto blocking threads. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"
#include "signal.h"

enum { MANY = 10000, SOME = 1000, REMOTE = 12800, STALL_NS = 10000, BATCHES = 100, BATCH = 16 };

static skua_task *handles[REMOTE];
static struct remaining remaining;
static struct signal done;

static void prepare(struct bench *bench, int64_t argument)
{
	(void)bench, (void)argument;
	signal_init(&done);
}

/* ---- Tasks that do next to nothing ---- */

struct empty {
	skua_coro co;
};

static skua_poll empty(skua_cx *cx, struct empty *self)
{
	(void)cx, (void)self;
	return 0;
}
SKUA_CORO(empty, struct empty);

struct count_down {
	skua_coro co;
	struct remaining *remaining;
	struct signal *done;
};

static skua_poll count_down(skua_cx *cx, struct count_down *self)
{
	(void)cx;
	if (remaining_less(self->remaining))
		signal_send(self->done);
	remaining_leave(self->remaining);
	signal_leave(self->done);
	return 0;
}
SKUA_CORO(count_down, struct count_down);

/* Called "local" by Tokio, whose main thread is no worker either. */
static void spawn_many_local(struct bench *bench, int64_t count)
{
	struct count_down task = {.co = SKUA_CORO_INIT(count_down)};

	atomic_store(&remaining.count, (size_t)count);
	for (int64_t i = 0; i < count; i++) {
		task.remaining = remaining_share(&remaining);
		task.done = signal_share(&done);
		must(skua_spawn(bench->runtime, &task.co, NULL), "skua_spawn");
	}
	signal_wait(&done);
}

/* ---- With handles, each of which is awaited ---- */

/* As block_on of the peers does, on the thread that calls. */
static void wait_for_all(skua_task **tasks, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		must(skua_task_wait(&tasks[i]), "skua_task_wait");
}

static void spawn_many_remote(struct bench *bench, int64_t count)
{
	struct empty task = {.co = SKUA_CORO_INIT(empty)};

	for (int64_t i = 0; i < count; i++)
		must(skua_spawn(bench->runtime, &task.co, &handles[i]), "skua_spawn");
	wait_for_all(handles, count);
}

/* ---- Workers that are busy meanwhile ---- */

static atomic_bool busy;
static skua_task *background[1024];
static unsigned background_count;

static void stall(void)
{
	uint64_t until = skua_now() + STALL_NS;

	while (skua_now() < until)
		sched_yield();
}

struct yielding {
	skua_coro co;
};

static skua_poll yielding(skua_cx *cx, struct yielding *self)
{
	SKUA_BEGIN(self);
	while (atomic_load_explicit(&busy, memory_order_relaxed)) {
		SKUA_AWAIT(skua_yield(cx));
		stall();
	}
	SKUA_END(0);
}
SKUA_CORO(yielding, struct yielding);

struct chain {
	skua_coro co;
};

static skua_poll chain(skua_cx *cx, struct chain *self);
SKUA_CORO(chain, struct chain);

/* Its successor takes over for it; the last one says so. */
static skua_poll chain(skua_cx *cx, struct chain *self)
{
	(void)self;
	if (atomic_load_explicit(&busy, memory_order_relaxed)) {
		struct chain next = {.co = SKUA_CORO_INIT(chain)};

		stall();
		must(skua_spawn(skua_cx_runtime(cx), &next.co, NULL), "skua_spawn");
	} else if (remaining_less(&remaining)) {
		signal_send(&done);
	}
	return 0;
}

static void begin_busy_1(struct bench *bench, int64_t argument)
{
	struct yielding task = {.co = SKUA_CORO_INIT(yielding)};

	prepare(bench, argument);
	atomic_store(&busy, true);
	background_count = 2 * bench->workers;
	for (unsigned i = 0; i < background_count; i++)
		must(skua_spawn(bench->runtime, &task.co, &background[i]), "skua_spawn");
}

static void end_busy_1(struct bench *bench, int64_t argument)
{
	(void)bench, (void)argument;
	atomic_store(&busy, false);
	wait_for_all(background, background_count);
}

static void begin_busy_2(struct bench *bench, int64_t argument)
{
	struct chain task = {.co = SKUA_CORO_INIT(chain)};

	prepare(bench, argument);
	atomic_store(&busy, true);
	atomic_store(&remaining.count, bench->workers);
	for (unsigned i = 0; i < bench->workers; i++)
		must(skua_spawn(bench->runtime, &task.co, NULL), "skua_spawn");
}

static void end_busy_2(struct bench *bench, int64_t argument)
{
	(void)bench, (void)argument;
	atomic_store(&busy, false);
	signal_wait(&done);
}

/* ---- One after the other ---- */

struct chained {
	skua_coro co;
	int64_t left;
	struct signal *done;
};

static skua_poll chained(skua_cx *cx, struct chained *self);
SKUA_CORO(chained, struct chained);

static skua_poll chained(skua_cx *cx, struct chained *self)
{
	struct chained next = {.co = SKUA_CORO_INIT(chained)};

	if (self->left == 0) {
		signal_send(self->done);
		signal_leave(self->done);
		return 0;
	}
	next.left = self->left - 1;
	next.done = self->done;
	must(skua_spawn(skua_cx_runtime(cx), &next.co, NULL), "skua_spawn");
	return 0;
}

static void chained_spawn(struct bench *bench, int64_t count)
{
	struct chained first = {.co = SKUA_CORO_INIT(chained), .left = count};

	first.done = signal_share(&done);
	must(skua_spawn(bench->runtime, &first.co, NULL), "skua_spawn");
	signal_wait(&done);
}

/* ---- A few, awaited by block_on ---- */

struct work {
	skua_coro co;
};

static skua_poll work(skua_cx *cx, struct work *self)
{
	volatile int64_t two = 2;

	SKUA_BEGIN(self);
	SKUA_AWAIT(skua_yield(cx));
	SKUA_END(two);
}
SKUA_CORO(work, struct work);

struct few {
	skua_coro co;
	int64_t count, i;
	skua_task *tasks[10];
};

static skua_poll few(skua_cx *cx, struct few *self)
{
	struct work task = {.co = SKUA_CORO_INIT(work)};
	int64_t rc;

	SKUA_BEGIN(self);
	for (self->i = 0; self->i < self->count; self->i++)
		must(skua_spawn(skua_cx_runtime(cx), &task.co, &self->tasks[self->i]),
		     "skua_spawn");
	for (self->i = 0; self->i < self->count; self->i++) {
		SKUA_AWAIT(rc = skua_join(cx, &self->tasks[self->i]));
		must_be(rc, 2, "the result of a task");
	}
	SKUA_END(0);
}
SKUA_CORO(few, struct few);

static void spawn_few(struct bench *bench, int64_t count)
{
	struct few future = {.co = SKUA_CORO_INIT(few), .count = count};

	must(skua_block_on(bench->runtime, &future.co), "skua_block_on");
}

/* ---- From several threads at once ---- */

struct producer {
	pthread_t thread;
	struct bench *bench;
	pthread_barrier_t *barrier;
	skua_task **handles;
	int64_t count;
	uint64_t start, stop;
};

static void *produce(void *argument)
{
	struct producer *self = argument;
	struct empty task = {.co = SKUA_CORO_INIT(empty)};

	pthread_barrier_wait(self->barrier);
	self->start = skua_now();
	for (int64_t i = 0; i < self->count; i++)
		must(skua_spawn(self->bench->runtime, &task.co, &self->handles[i]), "skua_spawn");
	self->stop = skua_now();
	return NULL;
}

/* The clock runs from the start of the first producer to the last spawn of the last one. */
static void remote_spawn(struct bench *bench, int64_t producers)
{
	struct producer producer[16];
	pthread_barrier_t barrier;
	int64_t each = REMOTE / producers;

	must(pthread_barrier_init(&barrier, NULL, (unsigned)producers), "pthread_barrier_init");
	for (int64_t i = 0; i < producers; i++) {
		producer[i] = (struct producer){
			.bench = bench,
			.barrier = &barrier,
			.handles = &handles[i * each],
			.count = each,
		};
		must(pthread_create(&producer[i].thread, NULL, produce, &producer[i]),
		     "pthread_create");
	}
	for (int64_t i = 0; i < producers; i++) {
		pthread_join(producer[i].thread, NULL);
		if (i == 0 || producer[i].start < bench->start)
			bench->start = producer[i].start;
		if (i == 0 || producer[i].stop > bench->stop)
			bench->stop = producer[i].stop;
	}
	pthread_barrier_destroy(&barrier);
	wait_for_all(handles, producers * each);
}

/* ---- Onto blocking threads ---- */

static int64_t nothing(void *argument)
{
	(void)argument;
	return 0;
}

struct batches {
	skua_coro co;
	int i, j;
	skua_task *jobs[BATCH];
};

static skua_poll batches(skua_cx *cx, struct batches *self)
{
	int64_t rc;

	SKUA_BEGIN(self);
	for (self->i = 0; self->i < BATCHES; self->i++) {
		for (self->j = 0; self->j < BATCH; self->j++)
			must(skua_spawn_blocking(skua_cx_runtime(cx), nothing, NULL, 0,
						 &self->jobs[self->j]),
			     "skua_spawn_blocking");
		for (self->j = 0; self->j < BATCH; self->j++) {
			SKUA_AWAIT(rc = skua_join(cx, &self->jobs[self->j]));
			must(rc, "skua_join");
		}
	}
	SKUA_END(0);
}
SKUA_CORO(batches, struct batches);

static void spawn_blocking(struct bench *bench, int64_t tasks)
{
	struct batches task = {.co = SKUA_CORO_INIT(batches)};

	for (int64_t i = 0; i < tasks; i++)
		must(skua_spawn(bench->runtime, &task.co, &handles[i]), "skua_spawn");
	wait_for_all(handles, tasks);
}

#define REMOTE_SPAWN(producers)                                                                    \
	{                                                                                          \
		.name = "engine/remote_spawn_" #producers, .operations = REMOTE,                   \
		.argument = producers, .iterate = remote_spawn,                                    \
	}
#define SPAWN_BLOCKING(tasks)                                                                      \
	{                                                                                          \
		.name = "engine/spawn_blocking_" #tasks, .operations = (tasks)*BATCHES * BATCH,    \
		.argument = tasks, .iterate = spawn_blocking,                                      \
	}

const struct workload engine_spawning[] = {
	{.name = "engine/spawn_many_local",
	 .operations = MANY,
	 .argument = MANY,
	 .begin = prepare,
	 .iterate = spawn_many_local},
	{.name = "engine/spawn_many_remote_idle",
	 .operations = MANY,
	 .argument = MANY,
	 .iterate = spawn_many_remote},
	{.name = "engine/spawn_many_remote_busy1",
	 .operations = MANY,
	 .argument = MANY,
	 .begin = begin_busy_1,
	 .iterate = spawn_many_remote,
	 .end = end_busy_1},
	{.name = "engine/spawn_many_remote_busy2",
	 .operations = SOME,
	 .argument = SOME,
	 .begin = begin_busy_2,
	 .iterate = spawn_many_remote,
	 .end = end_busy_2},
	{.name = "engine/chained_spawn",
	 .operations = SOME,
	 .argument = SOME,
	 .begin = prepare,
	 .iterate = chained_spawn},
	{.name = "engine/spawn",
	 .operations = 1,
	 .argument = 1,
	 .workers = 1,
	 .iterate = spawn_few},
	{.name = "engine/spawn10",
	 .operations = 10,
	 .argument = 10,
	 .workers = 1,
	 .iterate = spawn_few},
	REMOTE_SPAWN(1),
	REMOTE_SPAWN(2),
	REMOTE_SPAWN(4),
	REMOTE_SPAWN(8),
	REMOTE_SPAWN(16),
	SPAWN_BLOCKING(1),
	SPAWN_BLOCKING(4),
	SPAWN_BLOCKING(16),
	{.name = NULL},
};
