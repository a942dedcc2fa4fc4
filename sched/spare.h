/*
 * spare.h - spare workers: threads that carry the rest while workers are stuck; and a task that says it
 * will block (skua_block_in_place).
 *
 * A worker is away while it is stuck for long: the driver has found it in the same poll in
 * SK_AWAY_LOOKS looks, or the poll has said that it blocks. Nothing has to be taken from such a worker:
 * others may steal from its queue, its inbox and, of one that is stuck, its LIFO slot, and the driver
 * fires its timers. What is missing is a thread. A spare worker is one: a worker like any other, with
 * queues and timers of its own, in a slot behind those that were asked for.
 *
 * Slots and threads. All slots are made with the scheduler, so an index of one is good for whoever comes
 * across it. Threads are started when they are needed, and stay. `width` counts the slots whose workers
 * run; it only grows, and the new worker writes it itself, before it does anything else. So whoever
 * looks at all queues for a task that somebody has put into one finds that one: he passes a fence
 * after the other (idle.h), and the width was there before the task. All accesses are relaxed.
 *
 * When. A thread is started when something waits behind workers that are away, nobody could be woken for
 * it, and all there are are away: one that is not comes to it between two polls (`stranded` in
 * sched.h). The driver starts it; if that fails, or there is no slot left, it says so once, and what
 * waits waits.
 *
 * Who works. As many as were asked for and are not away; the driver counts them, from the first slot
 * on, and all slots as far as it had to count are active (idle.h). A spare worker that is active is as all
 * others are: it is woken for a backlog, searches, waits for events. One that is not active rests: it
 * leaves what it has to the others and sleeps. It may wake by a timer of its own, or for a task that
 * was on its way to it, and leaves that to the others as well. It waits for events only if nobody
 * else is awake who could.
 *
 * Go's sysmon takes a P from a thread that blocks in a system call, after 20 us to 10 ms, and hands it
 * to another one; Tokio's block_in_place hands the worker's core over, when it is asked to, and a task
 * that only computes keeps what waits in its LIFO slot and its timers (tokio#4730). Here one rule
 * serves both, since what a stuck worker has is never out of reach.
 */
#ifndef SKUA_SCHED_SPARE_H
#define SKUA_SCHED_SPARE_H

#include "sched/sync.h"

struct sk_sched;
struct sk_worker;

/* Looks of the driver (SK_MONITOR_MS): 10 ms, after which Go's sysmon asks a goroutine to give way. */
enum { SK_AWAY_LOOKS = 5, SK_SPARE_RETRY_MS = 100 };

struct sk_spares {
	sk_mutex lock;               /* between a start and the end of all */
	bool stopped;                /* under the lock */
	SK_ATOMIC(uint32_t) started; /* threads; written under the lock */

	/* The driver's own. */
	bool all_away;        /* as of the last count */
	bool said_that_full;  /* in the log */
	bool said_that_fails; /* too */
	uint64_t retry;       /* not before this moment */

	sk_cpu_mask cpus; /* that workers may run on */
	bool has_cpus;    /* whether that is known */
};

/* Spare workers may run where the calling thread may. (The driver, which starts them, may keep to one
 * CPU: demand.h.) */
void sk_spares_init(struct sk_spares *spares);
void sk_spares_destroy(struct sk_spares *spares);

/* At each look of the driver: counts who is away, and says who is active. */
void sk_spares_count(struct sk_sched *sched);

/* After that and after help for all who are stuck: starts a thread if one is needed. */
void sk_spares_start(struct sk_sched *sched, uint64_t now);

/* At the last look before a pause: nobody is away. */
void sk_spares_reset(struct sk_sched *sched);

/* From now on none is started. */
void sk_spares_stop(struct sk_spares *spares);
void sk_spares_join(struct sk_sched *sched);

/* See skua_block_in_place. From a poll of this worker, on its thread. */
int64_t sk_block_in_place(struct sk_worker *worker, int64_t (*function)(void *argument),
			  void *argument);

#endif /* SKUA_SCHED_SPARE_H */
