/*
 * litmus.h - how the litmus programs are written: the explorer's own proof. Each one lists the outcomes
 * that are allowed; all of them must be seen and nothing else. docs/verification.md has the table.
 *
 * LITMUS2(name, first thread, second thread, outcome, allowed outcomes...), LITMUS3 and LITMUS4 make a
 * scenario of small threads; the outcome is computed at the end. x, y, z and r are 0 at first. Two or
 * three threads run without bounds, four with 3 preemptions.
 */
#ifndef SKUA_TESTS_MODEL_LITMUS_H
#define SKUA_TESTS_MODEL_LITMUS_H

#include "sched/sync.h"
#include "tests/model/explorer.h"

typedef SK_ATOMIC(int) atomic_number;

extern atomic_number x, y, z;
extern int r[4];

/* Runs the threads and joins them, in this order. */
void run_threads(int count, void (*const threads[])(void *));

#define OUTCOMES(...) ((const int[]){__VA_ARGS__, -1})
/* So few steps need no bound. */
#define FREELY .preemptions = 20, .stale = 20

/* A scenario that must pass, and one that must fail with these words. */
#define HOLDS(name) MC_SCENARIO_WITH(litmus, name, FREELY)
#define MUST_FAIL(name, text)                                                                      \
	MC_SCENARIO_WITH(litmus, name, FREELY, .must_fail = true, .expect = text)

#define W(variable, value, order) sk_store(&(variable), value, SK_##order)
#define R(variable, order) sk_load(&(variable), SK_##order)
#define ADD(variable, value, order) sk_fetch_add(&(variable), value, SK_##order)
#define FENCE(order) __atomic_thread_fence(SK_##order)
/* What all threads have left behind, at the end. */
#define LAST(variable) R(variable, RELAXED)

#define THREAD(name) static void name(void *argument __attribute__((unused)))
#define RUN(...)                                                                                   \
	run_threads((int)(sizeof((void (*[])(void *)){__VA_ARGS__}) / sizeof(void (*)(void *))),   \
		    (void (*const[])(void *)){__VA_ARGS__})

#define LITMUS2(name, first, second, outcome, ...)                                                 \
	THREAD(name##_1)                                                                           \
	{                                                                                          \
		first;                                                                             \
	}                                                                                          \
	THREAD(name##_2)                                                                           \
	{                                                                                          \
		second;                                                                            \
	}                                                                                          \
	MC_SCENARIO_WITH(litmus, name, FREELY, .outcomes = OUTCOMES(__VA_ARGS__))                  \
	{                                                                                          \
		RUN(name##_1, name##_2);                                                           \
		mc_outcome(outcome);                                                               \
	}

#define LITMUS3(name, first, second, third, outcome, ...)                                          \
	THREAD(name##_1)                                                                           \
	{                                                                                          \
		first;                                                                             \
	}                                                                                          \
	THREAD(name##_2)                                                                           \
	{                                                                                          \
		second;                                                                            \
	}                                                                                          \
	THREAD(name##_3)                                                                           \
	{                                                                                          \
		third;                                                                             \
	}                                                                                          \
	MC_SCENARIO_WITH(litmus, name, FREELY, .outcomes = OUTCOMES(__VA_ARGS__))                  \
	{                                                                                          \
		RUN(name##_1, name##_2, name##_3);                                                 \
		mc_outcome(outcome);                                                               \
	}

#define LITMUS4(name, first, second, third, fourth, outcome, ...)                                  \
	THREAD(name##_1)                                                                           \
	{                                                                                          \
		first;                                                                             \
	}                                                                                          \
	THREAD(name##_2)                                                                           \
	{                                                                                          \
		second;                                                                            \
	}                                                                                          \
	THREAD(name##_3)                                                                           \
	{                                                                                          \
		third;                                                                             \
	}                                                                                          \
	THREAD(name##_4)                                                                           \
	{                                                                                          \
		fourth;                                                                            \
	}                                                                                          \
	MC_SCENARIO_WITH(litmus, name, .preemptions = 3, .stale = 20,                              \
			 .outcomes = OUTCOMES(__VA_ARGS__))                                        \
	{                                                                                          \
		RUN(name##_1, name##_2, name##_3, name##_4);                                       \
		mc_outcome(outcome);                                                               \
	}

#endif /* SKUA_TESTS_MODEL_LITMUS_H */
