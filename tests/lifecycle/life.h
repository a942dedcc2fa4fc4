/*
 * life.h - one case while it runs: what run.c (the controller), subject.c (the task) and joins.c
 * (those who wait for it) share.
 */
#ifndef SKUA_TESTS_LIFE_H
#define SKUA_TESTS_LIFE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <skua.h>

#include "tests/lifecycle/lifecycle.h"
#include "tests/lifecycle/stage.h"

#define LIFE_HOUR (3600 * SKUA_SEC)

/* Everything about one case. */
struct life {
	const struct life_case *c;
	struct life_outcome outcome;
	struct stage stage;
	_Atomic unsigned failures;
	int64_t memory; /* blocks, before the case */

	/* The task. */
	skua_task *_Atomic task; /* as its poll saw it: not to be touched when it may have ended */
	skua_task *handle;       /* the controller's, or NULL */
	int spawned;             /* what skua_spawn returned */
	int cancelled;           /* what skua_cancel returned */
	_Atomic unsigned polls, pendings, interrupts, inside;
	_Atomic unsigned ended, drops, releases; /* each at most 1 */
	_Atomic unsigned wrong_polls;            /* two at a time, or after the end */
	_Atomic bool cleaning;

	/* What it waits for. */
	pthread_mutex_t cell_lock;
	skua_waker cell_waker;
	unsigned cell_count;
	skua_source *source;
	int source_fd;
	bool source_awaited;
	_Atomic unsigned jobs_started, jobs_go;

	/* Those who join it. */
	skua_task *joiners[2];
	_Atomic int64_t joined[2];
	skua_task *_Atomic returned; /* the handle of a join that was given up */
	_Atomic unsigned joins_taken, joiner_drops;
};

/* ---- What was not as predicted (run.c); any thread may say so ---- */

__attribute__((format(printf, 2, 3))) void life_fail(struct life *life, const char *format, ...);
void life_expect(struct life *life, const char *what, int64_t is, int64_t should);

/* ---- The task (subject.c) ---- */

/* For stage_act: the argument is the struct life. */
void life_spawn_subject(void *argument);

/* Makes what the task waits for happen. */
void life_wake_subject(struct life *life);

/* ---- Those who join it, and the thread that waits for it (joins.c) ---- */

/* Whoever joins first takes the controller's handle. */
void life_start_joiner(struct life *life, int number, skua_task *target);

/* The joins that happen while the task is parked, and cannot end. */
void life_join_parked(struct life *life);

/* Waits for all who join, and looks at what they got. */
void life_end_joins(struct life *life);

/* The waiting thread serves all cases. */
void life_waiter_begin(void);
void life_waiter_finish(void);
void life_waiter_start(struct life *life);

#endif /* SKUA_TESTS_LIFE_H */
