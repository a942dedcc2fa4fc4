/*
 * sched.h - the scheduler: all workers together, the ways in for other threads, and the end.
 *
 * The layers above are seen through two things only: `runtime`, which is handed to polls, and the
 * small table sk_driver_ops. The driver in turn calls sk_batch_* and sk_sched_monitor.
 *
 * Shutdown, in order:
 *   1. sk_sched_close: the phase becomes CLOSING, and threads in the middle of a spawn are waited
 *      for (guard.h): nothing can be spawned from here on. Each worker wakes the tasks in its list;
 *      what they await looks at the phase, and returns -ECANCELED once.
 *   2. sk_sched_drain: waits until every task and job has ended, or a deadline passes. The test is
 *      four-counter termination detection in its monotone form: read all `completed`, then all
 *      `spawned`; if the sums are equal, then at the time of the first read nothing was alive, and
 *      what is not alive spawns nothing.
 *      Only the owner of a list may look into it, so the tasks of a worker that stays in one poll are
 *      told when that returns (sk_sched_wait_until_told). Nobody can end the poll, so it is waited for
 *      in any case; and then they get their time, instead of being dropped for what another one did.
 *   3. sk_sched_stop: the phase becomes STOPPED, workers leave their loop and are joined.
 *   4. The driver is stopped by the layer above, so that nobody else calls in.
 *   5. sk_sched_free: tasks that are left are abandoned, the blocking pool is joined, threads that
 *      are in the middle of a wake are waited for (guard.h), then the tasks' and all other memory
 *      goes.
 */
#ifndef SKUA_SCHED_SCHED_H
#define SKUA_SCHED_SCHED_H

#include <stdio.h>

#include "sched/blocking.h"
#include "sched/clock.h"
#include "sched/demand.h"
#include "sched/idle.h"
#include "sched/inbox.h"
#include "sched/spare.h"
#include "sched/stall.h"
#include "sched/sync.h"
#include "sched/waiter.h"

#include "skua/future.h"
#include "skua/runtime.h"
#include "skua/task.h"

struct sk_timer;
struct sk_worker;

/* Whether a worker may poll for events itself: yes; no, because another one waits for them; no,
 * because somebody looks just now. */
enum sk_poll_right { SK_POLL_YOURS, SK_POLL_TAKEN, SK_POLL_BUSY };

/* How the scheduler sees the driver. May be absent (tests): then nothing is ever paced. */
struct sk_driver_ops {
	/* Some worker is awake: call sk_sched_monitor every SK_MONITOR_MS until it returns false.
	 * Any thread; must not block. */
	void (*watch)(void *driver);
	/* For sk_sched_dump; may be NULL. */
	void (*dump)(void *driver, FILE *file);

	/*
	 * Polling by workers (io/assist.h); all NULL where only the driver polls. A worker asks for
	 * the right, to wait or only to look; with it, it waits for events until `deadline` (0: it
	 * only looks), finds the tasks that they have woken in its inbox, and gives the right back.
	 * `interrupt`, by any thread: the wait that goes on, or the next one, returns.
	 */
	enum sk_poll_right (*begin_poll)(void *driver, bool block);
	void (*poll)(void *driver, struct sk_worker *worker, uint64_t deadline);
	void (*end_poll)(void *driver);
	void (*interrupt)(void *driver);
};

enum { SK_PHASE_OPEN, SK_PHASE_CLOSING, SK_PHASE_STOPPED };

struct sk_sched_options {
	uint32_t workers;
	uint32_t stall_ms;      /* see stall.h; 0: no reports */
	uint32_t spare_workers; /* at most; fewer if both would be more than SK_MAX_WORKERS */
	uint32_t budget;
	uint32_t spin_us;
	struct sk_blocking_limits blocking;
	const int *cpus; /* worker i runs on cpus[i % cpu_count]; none if cpu_count is 0 */
	uint32_t cpu_count;
	skua_runtime *runtime;
	const struct sk_driver_ops *driver_ops; /* or NULL */
	void *driver;
};

struct sk_sched {
	struct sk_idle idle;
	struct sk_demand demand SK_ALIGNED;
	struct sk_clock clock SK_ALIGNED;
	SK_ATOMIC(uint32_t) phase SK_ALIGNED;
	SK_ATOMIC(uint32_t) monitoring; /* the driver looks after us */
	SK_ATOMIC(uint32_t) stranded;   /* tasks wait behind a stuck worker, and nobody sleeps */
	SK_ATOMIC(uint32_t) eventful;   /* drivers whose events are worth looking for */
	SK_ATOMIC(uint32_t) width;      /* slots whose workers run, or will: see spare.h */
	struct sk_worker **workers;     /* one in each slot, the spare ones at the end */
	struct sk_sched_options options;
	struct sk_spares spares;
	struct sk_stalls stalls;
	uint32_t started;       /* workers whose threads run */
	uint32_t monitor_quiet; /* looks of the driver in a row that found everybody asleep */
	uint64_t monitor_time;  /* of the last look */
	uint32_t monitor_looks;
	struct sk_blocking blocking;
	struct {
		SK_ATOMIC(uint64_t) spawned SK_ALIGNED;
	} foreign[SK_STRIPES]; /* tasks spawned by other threads */
	sk_mutex drain_lock;
	sk_cond drained; /* a task has ended while CLOSING */
};

/* How many workers there are to be looked at, spare ones included; see spare.h. */
static inline uint32_t sk_sched_width(struct sk_sched *sched)
{
	return sk_load(&sched->width, SK_RELAXED);
}

/* Whether something new may be begun: it is not being freed. Any thread; who must not be too late looks
 * again in the guard (guard.h). */
static inline bool sk_sched_is_open(struct sk_sched *sched)
{
	return sk_load(&sched->phase, SK_RELAXED) == SK_PHASE_OPEN;
}

/* Makes a scheduler; its workers do not run yet. Returns 0 or -ENOMEM. */
int sk_sched_new(const struct sk_sched_options *options, struct sk_sched **out);

/* Starts the workers. Returns 0, -EAGAIN or -ENOMEM: then call sk_sched_stop and sk_sched_free. */
int sk_sched_start(struct sk_sched *sched);

/* Spawns a task; see skua_spawn. */
int sk_sched_spawn(struct sk_sched *sched, const skua_future *future, skua_task **handle);

/* The same with options that have been checked; see skua_spawn_with. */
int sk_sched_spawn_with(struct sk_sched *sched, const skua_future *future,
			const skua_spawn_options *options, skua_task **handle);

/*
 * A spawn in two halves, between which a task can be shown to others. The first counts one task
 * more, or returns -ESHUTDOWN; then the second must come soon: it queues the task, or none, which
 * somebody must queue later.
 */
struct sk_spawning {
	struct sk_worker *worker; /* NULL: not one of this scheduler's */
	unsigned side;            /* of the guard */
};

int sk_sched_begin_spawn(struct sk_sched *sched, struct sk_spawning *spawning);
void sk_sched_end_spawn(struct sk_sched *sched, const struct sk_spawning *spawning,
			skua_task *task);

/* Spawns a task that polls the caller's future in place. `joiner`, which is taken over on success,
 * is woken when it has ended. */
int sk_sched_spawn_reference(struct sk_sched *sched, skua_future *future, sk_waiter joiner,
			     skua_task **handle);

/* Queues a task that became SCHEDULED, from a thread that is not one of the workers. */
void sk_sched_inject(struct sk_sched *sched, skua_task *task);

/* A worker that could go on with what a spare one has to leave; -1: there is none. */
int sk_sched_heir(struct sk_sched *sched);

/* Publishes a chain to a worker, and wakes: that worker if it sleeps, another if it is behind. */
void sk_sched_publish(struct sk_sched *sched, unsigned index, const struct sk_chain *chain);

#ifdef SK_CHAOS
/* Queues a task that became SCHEDULED on one worker. */
void sk_sched_queue_on(struct sk_sched *sched, unsigned index, skua_task *task);
#endif

/* Wakes a sleeper, preferably this one, if nobody searches. False: nobody was woken. */
bool sk_sched_wake_one(struct sk_sched *sched, unsigned preferred);

/* Wakes this one if it sleeps, no matter who searches. Returns whether it did. */
bool sk_sched_wake_worker(struct sk_sched *sched, unsigned index);

/* Makes the driver watch, if it does not yet. */
void sk_sched_watch(struct sk_sched *sched);

/* The driver has found events that no worker was looking for (io/assist.h), and has dispatched them. Who
 * took the last ones may have begun a poll that takes long; unless somebody has made many polls since
 * the last regular look, another worker is woken for them. The driver's thread. */
void sk_sched_events_waited(struct sk_sched *sched);

/* The driver's regular look: helps stuck workers. False: all sleep, do not come again until
 * watch is called. */
bool sk_sched_monitor(struct sk_sched *sched);

/* Arms a timer in the wheel of the worker that runs on this thread, or of any if that is NULL; see
 * sk_timer_arm. */
int sk_sched_arm_timer(struct sk_sched *sched, struct sk_worker *worker, struct sk_timer *timer,
		       uint64_t deadline, uint64_t now, const skua_cx *cx);

/* Has a worker look at its timers again: one was posted to it, or the clock has been moved. */
void sk_sched_timer_changed(struct sk_sched *sched, unsigned index);
void sk_sched_clock_changed(struct sk_sched *sched);

/* Everybody sleeps, the last one is about to: moves a paused clock to the next timer, if nothing else can
 * happen before that. True: a timer of this worker is due now. */
bool sk_sched_jump(struct sk_sched *sched, struct sk_worker *worker);

/* ---- Batches: how the driver publishes what one wait has brought ---- */

struct sk_batch {
	struct sk_sched *sched;
	struct sk_chain *chains; /* one for each slot */
	uint16_t *touched;       /* the workers whose chain is not empty */
	unsigned touched_count;
	struct sk_chain strays; /* tasks whose last worker sleeps */
};

int sk_batch_init(struct sk_batch *batch, struct sk_sched *sched);
void sk_batch_destroy(struct sk_batch *batch);

/* Takes a waiter over. A task joins the chain of the worker that ran it last, if that is awake; a
 * foreign waker is woken at once. */
void sk_batch_add(struct sk_batch *batch, sk_waiter waiter);

/* Publishes each chain with one operation, and wakes at most one worker for each. */
void sk_batch_publish(struct sk_batch *batch);

/* ---- The end ---- */

void sk_sched_close(struct sk_sched *sched);
/* True when everything has ended; false when the deadline has passed. */
bool sk_sched_drain(struct sk_sched *sched, uint64_t deadline);
void sk_sched_stop(struct sk_sched *sched);
/* Returns how many tasks had to be abandoned. */
unsigned sk_sched_free(struct sk_sched *sched);

/* For a drain that was in vain: names in the log the polls that do not return and the blocking jobs
 * that run. Takes some 10 ms. */
void sk_sched_report(struct sk_sched *sched);

/*
 * After a drain that was in vain: waits until every worker has told the tasks in its list that the runtime
 * closes. One that has been in the same poll since then has not, and comes to it only after that poll.
 * False: all of them had.
 */
bool sk_sched_wait_until_told(struct sk_sched *sched);

/* A task of this scheduler has ended, or a worker has told its tasks: for those two. */
void sk_sched_task_ended(struct sk_sched *sched);
void sk_sched_worker_told(struct sk_worker *worker);

void sk_sched_stats(struct sk_sched *sched, skua_stats *stats);

/*
 * Writes down what a scheduler is doing: its workers with their queues, the driver, the blocking
 * pool, and, in a chaos build (chaos.h), every task with what it waits for. For finding out why
 * nothing goes on: any thread, while the others run or are stuck. It takes none of their locks and
 * what it reads may change meanwhile, so it is approximate: a task that runs can be shown twice, in
 * the wrong place, or with half of its waits. The scheduler must not be freed meanwhile.
 */
void sk_sched_dump(struct sk_sched *sched, FILE *file);

#endif /* SKUA_SCHED_SCHED_H */
