/*
 * blocking.h - the blocking pool: threads for functions that block.
 *
 * One lock, one queue, threads that come when a job finds no idle one and go when they were idle
 * for the keep-alive time. A job is a task whose payload is the function and a copy of its
 * argument; it is never in a run queue, but is joined and cancelled like any task.
 *
 * Accounting, all under the lock: a thread is idle from when it starts to wait until somebody takes
 * it out of the count (not until it wakes up: counting later is how tokio#8056 lost jobs).
 *
 * Waking. Jobs that do not block after all are the common ones, and a wake costs more than they do.
 * So whoever submits sends a thread to the queue, woken or started, only if none is on its way. A
 * thread that arrives and finds more jobs than its own knows that they are not of that kind: it
 * sends two more, so that n jobs that do block are all begun after about log n wakes. Hence: if there
 * is a job in the queue, a thread is on its way, or all threads that there may be are busy, and
 * whoever of them is done first looks at the queue.
 */
#ifndef SKUA_SCHED_BLOCKING_H
#define SKUA_SCHED_BLOCKING_H

#include "sched/sync.h"

#include "skua/future.h"

struct sk_sched;
struct sk_blocking_thread;

struct sk_blocking {
	sk_mutex lock;
	sk_cond work; /* a job was queued for an idle thread, or the pool closes */
	sk_cond gone; /* a thread has ended */
	uint32_t max_threads;
	uint64_t keepalive_ns;

	skua_task *first, *last; /* the queue, linked by `next` */
	uint32_t threads;        /* that exist */
	uint32_t starting;       /* of these: that have not looked at the queue yet */
	uint32_t idle;           /* that wait, and that nobody has counted out */
	uint32_t promised;       /* that wait, and that somebody has counted out for a job */
	bool closed;
	struct sk_blocking_thread *ended; /* threads to be joined */
	uint64_t spawned, completed;
};

void sk_blocking_init(struct sk_blocking *pool, uint32_t max_threads, uint64_t keepalive_ns);

/* Queues a job; see skua_spawn_blocking. */
int sk_blocking_spawn(struct sk_sched *sched, int64_t (*function)(void *argument),
		      const void *argument, size_t size, skua_task **handle);

/* Ends the jobs that have not started with -ECANCELED; no new ones are taken. */
void sk_blocking_close(struct sk_blocking *pool);

/* Waits until the running jobs have returned, and joins the threads. */
void sk_blocking_join(struct sk_blocking *pool);

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
