/*
 * blocking.h - the blocking pool: threads for functions that block.
 *
 * One lock, a queue for each kind of job, threads that come when a job finds no idle one and go when
 * they were idle for the keep-alive time. A job is a task whose payload is the function and a copy
 * of its argument; it is never in a run queue, but is joined and cancelled like any task.
 *
 * Accounting, all under the lock: a thread is idle from when it starts to wait until somebody takes
 * it out of the count (not until it wakes up: counting later is how tokio#8056 lost jobs).
 *
 * Kinds. A job that is in a queue is ready if its kind runs fewer than its limit, and the pool has a
 * thread left for it: `busy` counts the running jobs of each kind, but `reserve` for a kind that runs
 * fewer, and never exceeds the most threads that there may be. So a kind that runs nothing always
 * finds a thread. The end of one job makes at most one job ready, and the thread that has run it
 * takes that one.
 *
 * Waking. Jobs that do not block after all are the common ones, and a wake costs more than they do.
 * So whoever submits sends a thread to the queue, woken or started, only if none is on its way. A
 * thread that arrives and finds more jobs than its own knows that they are not of that kind: it
 * sends two more, so that n jobs that do block are all begun after about log n wakes. Hence: if a job
 * is ready, a thread is on its way, or (when none could be started) whoever is done first looks at
 * the queues.
 *
 * Places. A kind accepts as many jobs as may run at once and a queue of more; each has a place from
 * when it is accepted until it ends, so that whether there is room does not depend on how quickly
 * threads come. Who cancels a job that is still in the queue takes it out and ends it, and so does
 * who closes the pool. Who waits for a place is in blocking_room.h.
 */
#ifndef SKUA_SCHED_BLOCKING_H
#define SKUA_SCHED_BLOCKING_H

#include "sched/sync.h"

#include "skua/blocking.h"
#include "skua/runtime.h"

struct sk_sched;
struct sk_blocking_thread;
struct sk_blocking_wait;

/* What a pool may do. A limit of 0 is none. */
struct sk_blocking_limits {
	uint32_t threads;                      /* at most; not 0 */
	uint32_t running[SKUA_BLOCKING_KINDS]; /* jobs of each kind that run at once */
	uint32_t queued;                       /* jobs of each kind that may wait besides */
	uint32_t keepalive_ms;
};

/* The jobs of one kind. */
struct sk_blocking_kind {
	skua_task *first, *last; /* the queue, linked by `next` and `owned_previous` */
	uint32_t queued, running;
	uint32_t limit;         /* of `running` */
	uint64_t taken, places; /* how many are taken, and how many there are */
	uint64_t refused;       /* jobs that found no place */

	struct sk_blocking_wait *first_wait, *last_wait; /* for a place (blocking_room.h) */
	uint32_t waiting;
};

struct sk_blocking {
	sk_mutex lock;
	sk_cond work; /* a job was queued for an idle thread, or the pool closes */
	sk_cond gone; /* a thread has ended */
	uint32_t max_threads;
	uint32_t reserve; /* threads that are kept for each kind: 1, or 0 if there are too few */
	uint64_t keepalive_ns;

	struct sk_blocking_kind kinds[SKUA_BLOCKING_KINDS];
	uint32_t busy;     /* the sum of what the kinds run, but at least `reserve` for each */
	uint32_t threads;  /* that exist */
	uint32_t starting; /* of these: that have not looked at the queue yet */
	uint32_t idle;     /* that wait, and that nobody has counted out */
	uint32_t promised; /* that wait, and that somebody has counted out for a job */
	bool closed;
	struct sk_blocking_thread *alive; /* threads that exist */
	struct sk_blocking_thread *ended; /* threads to be joined */
	uint64_t spawned, completed;
};

/* A job that is to be. */
struct sk_blocking_job {
	int64_t (*function)(void *argument);
	const void *argument; /* copied */
	size_t size;
	const char *name;
	uint32_t kind;
};

void sk_blocking_init(struct sk_blocking *pool, const struct sk_blocking_limits *limits);
void sk_blocking_destroy(struct sk_blocking *pool);

/* Queues a job; see skua_spawn_blocking_with. */
int sk_blocking_submit(struct sk_sched *sched, const struct sk_blocking_job *job,
		       skua_task **handle);

/* The same, for who can wait: SK_BLOCKING_FULL if there is no place. `has_place`: the caller has one,
 * which goes to the job, or to others if this fails. */
enum { SK_BLOCKING_FULL = 1 };
int sk_blocking_try(struct sk_sched *sched, const struct sk_blocking_job *job, bool has_place,
		    skua_task **handle);

/* A job of no particular kind. */
static inline int sk_blocking_spawn(struct sk_sched *sched, int64_t (*function)(void *argument),
				    const void *argument, size_t size, skua_task **handle)
{
	const struct sk_blocking_job job = {function, argument, size, NULL, SKUA_BLOCKING_GENERAL};

	return sk_blocking_submit(sched, &job, handle);
}

/* A job that has been cancelled: ends it, if it is still in the queue. By who has entered the guard
 * (guard.h) before cancelling it. */
void sk_blocking_withdraw(skua_task *task);

/* Ends the jobs that have not started with -ECANCELED; no new ones are taken. */
void sk_blocking_close(struct sk_blocking *pool);

/* Waits until the running jobs have returned, and joins the threads. */
void sk_blocking_join(struct sk_blocking *pool);

void sk_blocking_stats(struct sk_blocking *pool, skua_stats *stats);

/* Names in the log the jobs that run, or some of them if they are many. */
void sk_blocking_report(struct sk_blocking *pool);

/* The name of a job, for messages. */
const char *sk_blocking_job_name(const skua_task *task);

/* "general", "files", "names". */
const char *sk_blocking_kind_name(unsigned kind);

/* Marks the thread-local pointer of a thread of the pool, which leads to the scheduler. */
enum { SK_JOB_THREAD = 1 };

/* The scheduler to whose pool the calling thread belongs, or NULL. */
static inline struct sk_sched *sk_blocking_current(void)
{
	uintptr_t value = (uintptr_t)sk_thread_local();

	return (value & SK_JOB_THREAD) != 0 ? (struct sk_sched *)(value & ~(uintptr_t)SK_JOB_THREAD)
					    : NULL;
}

/* Whether the calling thread belongs to the pool of this scheduler. */
bool sk_blocking_is_job_thread(const struct sk_sched *sched);

#endif /* SKUA_SCHED_BLOCKING_H */
