/*
 * cancel.h - cancellation at every await: what the parts of this program share.
 *
 * A scenario is a future, the subject, that awaits something. It is polled by a probe (probe.c),
 * which counts the polls that answered PENDING: the awaits. A first run tells how many there are;
 * then the scenario is run again for each of them, and at that moment, from inside the poll, the
 * probe asks for the end: in each of several ways (ways.c). What must hold afterwards is looked at
 * by the probe, when the subject has ended, by the scenario, and by whoever runs it (trial.c):
 *
 *   - the subject is told -ECANCELED once for each request, by an await of its own or a later one,
 *     and does not go on with what it awaited: no time passes;
 *   - its clean-up runs once, and the result is the one that this way of cancelling gives;
 *   - nothing is left in the context, among the task's obligations and in the wheels;
 *   - whoever waits behind it has his turn;
 *   - no memory and no descriptor is left, while the runtime goes on and when it has been freed.
 *
 * The clock is paused, and jumps; what else a subject waits for is made to happen by a nudge, at
 * each PENDING: so no run takes time of its own. At the chosen await there is a run with a nudge
 * and one without, since what comes together with the cancellation must not be lost for others.
 */
#ifndef SKUA_TESTS_CANCEL_H
#define SKUA_TESTS_CANCEL_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <skua.h>

#include "sched/sync.h"

#define CANCEL_HOUR (3600 * SKUA_SEC)

struct trial;

/* ---- Scenarios ---- */

enum {
	WITH_IO = 1,            /* on each kind of IO; the clock does not jump */
	NOT_FOREIGN = 2,        /* needs a task of Skua's */
	LEAVES_OBLIGATIONS = 4, /* that end with the task: open scopes, values */
	NEEDS_NUDGES = 8,       /* waits behind a shield for what a nudge brings */
	TAKES_TIME = 16,        /* sleeps behind a shield, or when it has been told */
};

struct scenario {
	const char *name;
	const skua_future_ops *ops; /* of the subject, a struct that begins with SUBJECT */
	int64_t result;             /* when nobody cancels */
	unsigned flags;
	/* Each may be NULL. Before the subject; the controller. */
	void (*begin)(struct trial *trial);
	/* Makes what it waits for happen; from the probe's poll. */
	void (*nudge)(struct trial *trial);
	/* Nothing is to be held back any more; the controller. */
	void (*release)(struct trial *trial);
	/* The subject has ended: looks whether its places are free, and ends what begin() began.
	 * The runtime may have been freed: then trial->rt is NULL. The controller. */
	void (*after)(struct trial *trial);
};

/* A list that ends with one without a name. */
extern const struct scenario scenarios_of_time[], scenarios_of_tasks[], scenarios_of_scopes[],
	scenarios_of_compositions[], scenarios_of_io[];

/* What the struct of a subject begins with. The rest is zeroed. */
#define SUBJECT                                                                                    \
	skua_coro co;                                                                              \
	struct trial *trial;                                                                       \
	int64_t rc

/* An await of the subject's own; STEP goes on whatever the result. */
#define STEP(operation) SKUA_AWAIT(self->rc = (operation))
#define STEP_OR_END(operation)                                                                     \
	do {                                                                                       \
		STEP(operation);                                                                   \
		if (self->rc < 0)                                                                  \
			SKUA_RETURN(self->rc);                                                     \
	} while (0)

/* ---- Ways of cancelling ---- */

/* What stands around the patient: the subject and its clean-up. */
enum around { NOTHING_AROUND, DEADLINE_AROUND, TOKEN_AROUND, SELECT_AROUND, SHIELD_AROUND };

/* Where the probe runs. */
enum place { AS_A_TASK, AS_A_CHILD, AS_A_GRANDCHILD, UNDER_A_FOREIGN_EXECUTOR };

struct way {
	const char *name;
	enum around around;
	enum place place;
	/* From the probe's poll; counts in trial->requests. */
	void (*request)(skua_cx *cx, struct trial *trial);
	/* The same at the awaits that follow the chosen one, or NULL. */
	void (*again)(skua_cx *cx, struct trial *trial);
	bool from_the_start; /* can be requested before the first poll */
	bool at_shutdown;    /* the request is that the controller frees the runtime */
	bool races;          /* the request may come too late, */
	unsigned delay;      /* or only so many awaits after this one */
	bool two_workers;    /* threads other than the worker take part */
	bool on_each_io;     /* not only on the first kind of IO, unless all cases are asked for */
};

extern const struct way cancel_ways[];
extern const unsigned cancel_way_count;

/* The thread that cancels from outside, for all trials. */
void actor_start(void);
void actor_stop(void);

/* ---- One run ---- */

struct trial {
	const struct scenario *scenario;
	const struct way *way;
	uint32_t kind;   /* of IO */
	unsigned target; /* the await at which it is cancelled; 0: before the first poll */
	bool alone;      /* there, nothing else happens: no nudge */
	uint32_t workers;
	skua_runtime *rt;
	_Atomic unsigned failures;
	pthread_mutex_t lock;
	pthread_cond_t changed;

	/* The probe. */
	_Atomic unsigned awaits;
	unsigned requests, cleanups, ends;
	unsigned told_in_body, told_late; /* by the subject's awaits, and by those after it */
	bool requested, is_over;
	uint64_t requested_at, over_at; /* by the clock of the runtime */
	_Atomic bool wants_shutdown;    /* under the lock, as is_over */
	int64_t result;                 /* of the subject */
	int64_t outcome;                /* of the whole */
	skua_future *subject;
	struct patient {
		skua_coro co;
		struct trial *trial;
		int64_t rc;
	} patient;
	skua_timer timer;
	skua_token *parent, *token; /* the second is below the first */
	skua_token_waiter waiter;
	skua_compose compose;
	skua_scope *scope;
	skua_task *root;  /* the controller's handle: of the probe or of what owns its scope */
	skua_task *owner; /* the same task, for the probe; NULL without scopes */
	_Atomic bool actor_done; /* what was asked for */

	/* For the scenarios; zeroed before each run. */
	int gate;              /* how many jobs may pass */
	_Atomic int counts[8]; /* what is counted in between */
	int fds[4];            /* descriptors of the scenario's own, -1 if none */
	skua_task *helpers[4];
	skua_tcp *conn;
	skua_listener *listener;
	skua_source *source;
	skua_addr addr;
	skua_token *tokens[2];
	skua_waker waker;
};

/* A runtime for trials, whose clock stands still. */
skua_runtime *trial_runtime(uint32_t workers, uint32_t kind);

/* Runs it to its end on trial->rt, which is freed, and NULL then, only if the way does so. */
void trial_run(struct trial *trial);

/* Descriptors of this process. */
int trial_descriptors(void);

/* Whether this scenario can be cancelled in this way. */
bool trial_is_possible(const struct scenario *scenario, const struct way *way);

/* scenario/io/way/await */
void trial_name(const struct trial *trial, char *name, size_t size);

/* What was not as it should be; any thread. */
__attribute__((format(printf, 2, 3))) void trial_fail(struct trial *trial, const char *format, ...);
void trial_expect(struct trial *trial, const char *what, int64_t is, int64_t should);

/* ---- The probe (probe.c) ---- */

/* The future that polls the subject of a trial; it may be copied. */
struct probe {
	skua_future future;
	struct trial *trial;
};

struct probe probe_of(struct trial *trial);

/* Something went wrong on the way to it: the controller is not to wait. */
void probe_is_over(struct trial *trial);

/* ---- Help for scenarios (support.c) ---- */

/* A job that ends when it may pass; its argument is a struct trial **. */
int64_t gate_job(void *argument);
void gate_open(struct trial *trial, int count);
void gate_release(struct trial *trial);

/* Waits for a helper, and expects its result, or any. */
void helper_ends(struct trial *trial, int number, int64_t result);
void helper_ends_somehow(struct trial *trial, int number);

/* A child that sleeps for an hour times `hours`, then returns `value`; it counts its beginning and
 * its end in counts[0] and counts[1], and when it is told -ECANCELED it yields before it ends. */
struct sleeper {
	skua_coro co;
	struct trial *trial;
	int hours, naps;
	int64_t value, rc;
	skua_timer timer;
};

struct sleeper sleeper_of(struct trial *trial, int hours, int64_t value);

/* Each that has begun has ended. */
void sleepers_have_ended(struct trial *trial);

#endif /* SKUA_TESTS_CANCEL_H */
