/*
 * spawn_support.h - what the tests of tasks share: operations that end at once, a join, and a task
 * that keeps its worker busy.
 */
#ifndef SKUA_TESTS_SPAWN_SUPPORT_H
#define SKUA_TESTS_SPAWN_SUPPORT_H

#include <stdatomic.h>
#include <stdint.h>

#include "api_support.h"

static inline skua_poll seven(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return 7;
}

static inline skua_poll join_operation(skua_cx *cx, void *argument)
{
	return skua_join(cx, argument);
}

/* Keeps a worker busy until it is told to stop. */
struct hog {
	atomic_int started, stop;
};

static inline skua_poll hog(skua_cx *cx, void *argument)
{
	struct hog *state = argument;

	(void)cx;
	atomic_store(&state->started, 1);
	while (!atomic_load(&state->stop))
		sleep_ms(1);
	return 0;
}

/* A task that is told its own handle, and then may go. */
struct knows_itself {
	struct cell go;
	skua_task *self;
	int64_t result;
};

#endif /* SKUA_TESTS_SPAWN_SUPPORT_H */
