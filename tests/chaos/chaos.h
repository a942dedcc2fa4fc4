/*
 * chaos.h - stress under chaos: workloads that run in a build that disturbs every thread
 * (sched/chaos.h), many workers on one CPU, in a process that is stopped and continued from
 * outside. What must hold is what every workload checks, that nothing is left at its end, and that
 * it makes progress: a watchdog (watchdog.c) ends the process after five seconds without, and
 * writes down what every task, worker and driver is doing.
 */
#ifndef SKUA_TESTS_CHAOS_H
#define SKUA_TESTS_CHAOS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <skua.h>

#include "sched/sched.h"
#include "tests/io_kinds.h"

/* One run of one workload. */
struct chaos {
	uint64_t seed;
	uint64_t until; /* a moment of skua_now */
	uint32_t workers;
	uint32_t io; /* enum io_kind */
	bool one_cpu;
};

struct chaos_workload {
	const char *name;
	void (*run)(struct chaos *chaos);
};

/* Ends with a zeroed entry. */
extern const struct chaos_workload chaos_workloads[];

/* Not one of them: a task that nobody wakes, for the proof that the watchdog notices. */
void chaos_forget_a_task(struct chaos *chaos);

/* Nor this: one operation that ends when the parent says so, with a stop in the middle of it. */
void chaos_span_a_stop(struct chaos *chaos);

/* What the process of a run and its parent tell each other. */
struct chaos_shared {
	_Atomic bool ready;  /* to be stopped: it dies with its parent */
	uint64_t operations; /* at the end */
	_Atomic bool begun;  /* chaos_span_a_stop: the operation */
	_Atomic bool may_end;
};

extern struct chaos_shared *chaos_shared;

/* Counts an operation that has ended: progress. */
void chaos_progress(void);
uint64_t chaos_operations(void);

/* Ends the process if the condition does not hold. */
#define CHAOS_CHECK(condition, ...)                                                                \
	do {                                                                                       \
		if (!(condition))                                                                  \
			chaos_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                   \
	} while (0)

__attribute__((noreturn, format(printf, 4, 5))) void
chaos_fail(const char *file, int line, const char *condition, const char *format, ...);

/* ---- For workloads ---- */

/* Until the time is over, but not before an operation has ended: a slow start is no excuse. */
static inline bool chaos_goes_on(const struct chaos *chaos)
{
	return skua_now() < chaos->until || chaos_operations() == 0;
}

/* A random number below `below`, from a state that is one thread's or one task's. */
static inline uint32_t chaos_random(uint64_t *state, uint32_t below)
{
	uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	return (uint32_t)((x ^ x >> 31) >> 32) % below;
}

/* A runtime that the watchdog knows; freeing it must give `expected`. */
skua_runtime *chaos_runtime(struct chaos *chaos, uint32_t workers, uint32_t shutdown_ms);
void chaos_runtime_free(skua_runtime *rt, int expected);

/* ---- The watchdog ---- */

enum { CHAOS_EXIT_FAILED = 1, CHAOS_EXIT_STUCK = 3 };

void watchdog_start(uint64_t limit_ms);
void watchdog_stop(void);

/* Whose tasks are dumped. */
void watchdog_add(struct sk_sched *sched);
void watchdog_remove(struct sk_sched *sched);

#endif /* SKUA_TESTS_CHAOS_H */
