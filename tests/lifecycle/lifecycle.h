/*
 * lifecycle.h - the life of a task as a matrix: every combination of how it ends, what it waits
 * for, when it is cancelled, what becomes of its handle, when its runtime is freed, who acts on it,
 * and where it runs. matrix.c generates the combinations, says which make no sense and why, and predicts
 * what must come of the others; run.c, with subject.c and joins.c, brings a real task through one of
 * them and compares.
 *
 * The life of the task has five moments, in this order, and whatever happens to it happens at one:
 *
 *     NEW       spawned, queued behind others, never polled: every worker is kept busy
 *     RUNNING   in its first poll, which is held there
 *     PARKED    it has answered PENDING, and waits
 *     QUEUED    woken, and queued behind others again: every worker is kept busy
 *     COMPLETE  it has its result
 *
 * At each of them first the cancellation comes, then what is done with the handle, then the end of
 * the runtime. So a case has one outcome, whatever the threads do meanwhile.
 */
#ifndef SKUA_TESTS_LIFECYCLE_H
#define SKUA_TESTS_LIFECYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum moment { NEVER, NEW, RUNNING, PARKED, QUEUED, COMPLETE, MOMENTS };

/* What the task does. All but the last three return -ECANCELED when an await does. */
enum program {
	VALUE,
	ERROR,
	VALUE_AFTER_1,
	VALUE_AFTER_3,
	ERROR_AFTER_1,
	CLEANS_UP, /* after one await; when interrupted it yields once more and returns -ECANCELED */
	STUBBORN,  /* after one await; takes no notice of interrupts */
	DROPPED,   /* the same, and its runtime gives it no time: it never ends by itself */
	PROGRAMS,
};

enum wait { NOTHING, YIELD, WAKER, TIMER, SOURCE, JOB, WAITS };

enum { TWICE = MOMENTS, CANCELS }; /* the moments, and this one: twice while running, and parked */

enum handle {
	NO_HANDLE,
	DETACHED_NEW,
	DETACHED_RUNNING,
	DETACHED_PARKED,
	DETACHED_COMPLETE,
	WAITED_AFTER,     /* a thread waits when it has ended, or its runtime has */
	WAITED_ALWAYS,    /* a thread waits from its spawn on */
	JOINED,           /* by a task, from its spawn on */
	JOINED_IN_TIME,   /* the same with a deadline that does not pass */
	JOINED_LATE,      /* while parked, with a deadline that passes; then waited for */
	JOINED_CANCELLED, /* while parked, by a task that is cancelled; then waited for */
	JOINED_TWICE,     /* while parked, by two tasks */
	HANDLES,
};

/* Who spawns, wakes, cancels and detaches it. */
enum actor { OUTSIDE, ON_WORKER, ON_JOB, ON_DRIVER, ACTORS };

enum { WORKER_COUNTS = 3, BACKENDS = 2 };

struct life_case {
	enum program program;
	enum wait wait;
	unsigned cancel; /* enum moment, or TWICE */
	enum handle handle;
	enum moment end; /* of the runtime; NEVER: when all is over */
	enum actor actor;
	unsigned workers; /* an index: 1, 2, 4 */
	unsigned backend; /* 0: epoll, 1: uv */
};

/* How many there are, and the i-th. */
enum {
	LIFE_CASES =
		PROGRAMS * WAITS * CANCELS * HANDLES * MOMENTS * ACTORS * WORKER_COUNTS * BACKENDS
};
struct life_case life_case_at(unsigned index);

/* program/wait/cancel=.../handle=.../end=.../actor/workers/backend */
void life_case_name(const struct life_case *c, char *name, size_t size);
const char *life_program_name(enum program program);
uint32_t life_worker_count(const struct life_case *c);

/* Why a combination makes no sense, or NULL. */
const char *life_impossible(const struct life_case *c);

/* What must come of a case. */
struct life_outcome {
	bool passes
		[MOMENTS]; /* whether the task comes to this moment, before its runtime is freed */
	int64_t result;    /* through the handle */
	bool dropped;
	bool polled; /* at least once, for certain */
	bool never_polled;
	unsigned interrupts_min, interrupts_max;
};

void life_predict(const struct life_case *c, struct life_outcome *outcome);

enum { LIFE_VALUE = 4711 };

/* Whether the controller's handle is consumed by a task or a thread that joins. */
bool life_is_consumed(const struct life_case *c);

/* The moment of detaching, or NEVER. */
enum moment life_detached_at(const struct life_case *c);

/* Runs one case; returns how many expectations were not met. */
unsigned life_run(const struct life_case *c);

/* Called with a line for each of them, after a line with the name of the case; never two calls at a
 * time. If NULL, the lines go to standard error. */
extern void (*life_on_note)(const char *line);

/* If not NULL: called with the scheduler of each case, and with NULL when it has been freed. */
struct sk_sched;
extern void (*life_on_runtime)(struct sk_sched *sched);

/* Starts and ends what all cases share: the memory functions, and the thread that waits. */
void life_begin(void);
void life_finish(void);

#endif /* SKUA_TESTS_LIFECYCLE_H */
