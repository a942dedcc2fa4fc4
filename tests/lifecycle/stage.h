/*
 * stage.h - what a case needs besides its task: waiting for a condition, tasks that keep workers
 * busy, and actors: functions that are called on a worker, in a blocking job, or on the driver's
 * thread, while the controller waits for them.
 */
#ifndef SKUA_TESTS_STAGE_H
#define SKUA_TESTS_STAGE_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include <skua.h>

#include "runtime/runtime.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/cases.h"
#include "tests/lifecycle/lifecycle.h"

/* A call that another thread makes for the controller. */
struct stage_call {
	void (*_Atomic function)(void *argument); /* NULL: none, or done */
	void *argument;
};

/* Until when workers are kept busy, or the task in its poll. */
enum stage_until { UNTIL_RELEASED, UNTIL_CLOSING, UNTIL_STOPPED };

struct stage {
	const struct life_case *c;
	skua_runtime *rt; /* NULL when it has been freed */
	struct sk_sched *sched;

	/* Workers that are kept busy. */
	_Atomic unsigned busy;
	_Atomic enum stage_until busy_until;
	_Atomic bool released;
	struct stage_call busy_call; /* made by one of them */

	/* The task that is kept in its poll. */
	_Atomic bool hold, held, let_go;
	_Atomic enum stage_until hold_until;
	struct stage_call held_call;

	/* The driver's thread. */
	skua_source *bell;
	skua_cx bell_cx;
	struct stage_call bell_call;
};

/* Prepares the actor of the case; before the runtime is freed, stage_close ends it. */
void stage_open(struct stage *stage, const struct life_case *c, skua_runtime *rt);
void stage_close(struct stage *stage);

/* Keeps every worker busy until they are released, or the runtime is at this point. */
void stage_occupy(struct stage *stage, enum stage_until until);
void stage_release(struct stage *stage);

/* Queues some tasks that end at once, for others to be queued behind. */
void stage_queue_others(struct stage *stage);

/* Called by the task in its first poll: stays there as long as the case wants. */
void stage_hold(struct stage *stage);

/* Calls a function on the thread that the case says, and waits until it has returned. */
void stage_act(struct stage *stage, void (*function)(void *argument), void *argument);

#endif /* SKUA_TESTS_STAGE_H */
