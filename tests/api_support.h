/*
 * api_support.h - what the tests of the public interface share: runtimes that the environment does
 * not change, any function as a future, a cell in which a task waits for a thread, and clocks.
 */
#ifndef SKUA_TESTS_API_SUPPORT_H
#define SKUA_TESTS_API_SUPPORT_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <skua.h>

#include "harness.h"
#include "io_kinds.h"

/* ---- Runtimes ---- */

/* A config whose knobs the environment cannot change. */
static inline void quiet_config(skua_config *config, uint32_t workers, uint32_t kind)
{
	skua_config_init(config);
	config->workers = workers;
	io_configure(config, kind);
	config->log = SKUA_LOG_ERROR;
	/* As many threads poll as the test says. */
	config->spare_workers = 0;
	config->pinned = SKUA_KNOB_WORKERS | SKUA_KNOB_CPUS | SKUA_KNOB_IO_THREADS |
			 SKUA_KNOB_IO_BACKEND | SKUA_KNOB_IO_POLL | SKUA_KNOB_MAX_BLOCKING |
			 SKUA_KNOB_BLOCKING_KEEPALIVE_MS | SKUA_KNOB_BLOCKING_QUEUE |
			 SKUA_KNOB_BLOCKING_FILES | SKUA_KNOB_BLOCKING_NAMES | SKUA_KNOB_BUDGET |
			 SKUA_KNOB_SPIN_US | SKUA_KNOB_SHUTDOWN_MS | SKUA_KNOB_LOG |
			 SKUA_KNOB_STALL_MS | SKUA_KNOB_SPARE_WORKERS;
}

static inline skua_runtime *runtime_with(skua_config *config)
{
	skua_runtime *rt = NULL;
	int rc = skua_runtime_new(config, &rt);

	T_ASSERT_MSG(rc == 0, "skua_runtime_new: %d (%s)", rc, config->message);
	T_NOT_NULL(rt);
	return rt;
}

static inline skua_runtime *runtime_on(uint32_t workers, uint32_t kind)
{
	skua_config config;

	quiet_config(&config, workers, kind);
	return runtime_with(&config);
}

static inline skua_runtime *runtime_of(uint32_t workers)
{
	return runtime_on(workers, SKUA_IO_BACKEND_AUTO);
}

/* A test of the IO blocker that runs on each backend, as NAME_epoll and NAME_uv. */
#define T_ON_BACKENDS(suite, name)                                                                 \
	static void suite##_##name##_on_(uint32_t backend);                                        \
	T_TEST(suite, name##_epoll)                                                                \
	{                                                                                          \
		suite##_##name##_on_(IO_EPOLL);                                                    \
	}                                                                                          \
	T_TEST(suite, name##_uv)                                                                   \
	{                                                                                          \
		suite##_##name##_on_(IO_UV);                                                       \
	}                                                                                          \
	static void suite##_##name##_on_(uint32_t backend)

/* A test that runs with each kind of IO, as NAME_epoll, NAME_driver and NAME_uv. */
#define T_ON_EACH_IO(suite, name)                                                                  \
	static void suite##_##name##_on_(uint32_t kind);                                           \
	T_TEST(suite, name##_epoll)                                                                \
	{                                                                                          \
		suite##_##name##_on_(IO_EPOLL);                                                    \
	}                                                                                          \
	T_TEST(suite, name##_driver)                                                               \
	{                                                                                          \
		suite##_##name##_on_(IO_DRIVER);                                                   \
	}                                                                                          \
	T_TEST(suite, name##_uv)                                                                   \
	{                                                                                          \
		suite##_##name##_on_(IO_UV);                                                       \
	}                                                                                          \
	static void suite##_##name##_on_(uint32_t kind)

/* ---- Any function as a future ---- */

typedef skua_poll operation(skua_cx *cx, void *argument);

struct call {
	skua_future future;
	operation *function;
	void *argument;
};

static inline skua_poll call_poll(skua_cx *cx, skua_future *self)
{
	struct call *call = (struct call *)(void *)self;

	return call->function(cx, call->argument);
}

static const skua_future_ops call_ops = {
	.poll = call_poll,
	.size = sizeof(struct call),
	.name = "call",
	.file = __FILE__,
};

static inline struct call call_of(operation *function, void *argument)
{
	return (struct call){{&call_ops, 0, 0}, function, argument};
}

/* Awaits an operation from the test's thread. */
static inline skua_poll run(skua_runtime *rt, operation *function, void *argument)
{
	struct call call = call_of(function, argument);

	return skua_block_on(rt, &call.future);
}

/* Makes a task of an operation. */
static inline skua_task *start(skua_runtime *rt, operation *function, void *argument)
{
	struct call call = call_of(function, argument);
	skua_task *task = NULL;

	T_EQ(skua_spawn(rt, &call.future, &task), 0);
	T_NOT_NULL(task);
	return task;
}

/* Never ready, until it is interrupted. */
static inline skua_poll parked(skua_cx *cx, void *argument)
{
	int interrupt = skua_cx_interrupt(cx);

	(void)argument;
	return interrupt != 0 ? interrupt : SKUA_PENDING;
}

/* Spawns any future, such as a coroutine's head. */
static inline skua_task *start_future(skua_runtime *rt, const skua_future *future)
{
	skua_task *task = NULL;

	T_EQ(skua_spawn(rt, future, &task), 0);
	return task;
}

/* ---- A cell: a task waits until somebody fills it ---- */

struct cell {
	pthread_mutex_t lock;
	skua_waker waker;
	int64_t count; /* how often it was filled and not yet emptied */
};

#define CELL_INIT                                                                                  \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER, {NULL, NULL}, 0                                         \
	}

static inline void cell_fill(struct cell *cell)
{
	skua_waker waker;

	pthread_mutex_lock(&cell->lock);
	cell->count++;
	waker = cell->waker;
	cell->waker = (skua_waker){NULL, NULL};
	pthread_mutex_unlock(&cell->lock);
	if (waker.ops != NULL)
		skua_waker_wake(&waker);
}

/* Takes one filling out; an operation. */
static inline skua_poll cell_take(skua_cx *cx, void *argument)
{
	struct cell *cell = argument;
	skua_waker old;
	skua_poll result = skua_cx_interrupt(cx);

	pthread_mutex_lock(&cell->lock);
	old = cell->waker;
	cell->waker = (skua_waker){NULL, NULL};
	if (result == 0 && cell->count > 0) {
		cell->count--;
	} else if (result == 0) {
		result = skua_waker_clone(skua_cx_waker(cx), &cell->waker);
		if (result == 0)
			result = SKUA_PENDING;
	}
	pthread_mutex_unlock(&cell->lock);
	skua_waker_drop(&old);
	return result;
}

static inline int cell_has_waiter(struct cell *cell)
{
	int waits;

	pthread_mutex_lock(&cell->lock);
	waits = cell->waker.ops != NULL;
	pthread_mutex_unlock(&cell->lock);
	return waits;
}

/* ---- Time ---- */

static inline void sleep_ms(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0)
		;
}

/* Waits until a condition holds; the harness's timeout ends it if it never does. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		while (!(condition))                                                               \
			sleep_ms(1);                                                               \
	} while (0)

static inline double seconds_since(uint64_t begin)
{
	return (double)(skua_now() - begin) / 1e9;
}

/* CPU time of the whole process, in nanoseconds. */
static inline uint64_t cpu_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* How much longer things may take here: sanitizers, and machines that are busy with others. */
#define PATIENCE (T_SANITIZED ? 10 : 1)

/* A number of rounds: all of them, or a tenth under a sanitizer or when a short run is wanted. */
static inline int rounds(int all)
{
	return T_QUICK || T_SANITIZED ? (all + 9) / 10 : all;
}

/* ---- Standard error ---- */

struct capture {
	int real;
	FILE *file;
};

static inline void capture_start(struct capture *capture)
{
	capture->file = tmpfile();
	T_NOT_NULL(capture->file);
	capture->real = dup(STDERR_FILENO);
	T_GE(capture->real, 0);
	T_GE(dup2(fileno(capture->file), STDERR_FILENO), 0);
}

/* Stops, and stores what was written. */
static inline void capture_stop(struct capture *capture, char *text, size_t size)
{
	ssize_t length;

	dup2(capture->real, STDERR_FILENO);
	close(capture->real);
	length = pread(fileno(capture->file), text, size - 1, 0);
	text[length > 0 ? length : 0] = '\0';
	fclose(capture->file);
}

#endif /* SKUA_TESTS_API_SUPPORT_H */
