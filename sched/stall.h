/*
 * stall.h - the report about a worker that is stuck: which task it runs, where that awaited last, and
 * where it is (backtrace.h).
 *
 * The driver finds out at its looks, every SK_MONITOR_MS. The report is written by a thread of its own,
 * which is started for it: writing to standard error, waiting for the stuck thread's answer and asking
 * the dynamic linker for names can take as long as they like, and everybody depends on the driver.
 *
 * A poll is reported once, when it has taken SKUA_STALL_MS, and its end is told at the level of
 * information. How much of it the thread was on a CPU tells a task that computes from one that waits in a
 * system call, and from one that the system does not let run. What it spends in skua_block_in_place does
 * not count, and begins the time anew. A program that is stuck all the time does not fill its log: there
 * are SK_STALL_BURST reports in SK_STALL_PAUSE_MS at most, and the next one says how many were left out.
 *
 * The task may end while it is looked at. So what is its, is copied as it is (sk_peek), and thrown away
 * unless the worker is still in the same poll after that: then it was there all the time.
 */
#ifndef SKUA_SCHED_STALL_H
#define SKUA_SCHED_STALL_H

#include "sched/sync.h"

struct sk_sched;
struct sk_worker;

enum { SK_STALL_BURST = 5, SK_STALL_PAUSE_MS = 10000 };

/* A poll that goes on, as far as the driver knows: a member of its worker, all 0 at first. */
struct sk_long_poll {
	uint64_t since;     /* when it was first found in it; 0: there was a pause */
	uint64_t cpu_since; /* when its CPU time was first looked at; 0: not yet */
	uint64_t cpu;       /* that its thread had used by then, in ns */
	bool is_counted, is_reported;
};

/* What the writing thread is told. */
struct sk_stall {
	struct sk_worker *worker;
	uint64_t tick;  /* the poll */
	uint64_t ns;    /* that it has taken so far */
	int32_t on_cpu; /* for so many hundredths of its last part; -1: not known */
	uint32_t left_out;
	bool is_last; /* for a while */
	bool ended;   /* the poll has: nothing but that is to be told */
};

struct sk_stalls {
	SK_ATOMIC(uint32_t) busy; /* the thread has not finished */
	sk_mutex lock;            /* between a start and the end of all */
	bool started,
		stopped; /* under the lock: there is a thread to be joined; there will be none */
	sk_thread thread;
	struct sk_stall stall; /* the thread's while it is busy */

	/* The driver's own. */
	uint64_t limit; /* SKUA_STALL_MS in ns; 0: no reports */
	uint64_t pause; /* until this moment a burst lasts */
	uint32_t in_burst, left_out;
	SK_ATOMIC(uint64_t) count; /* of polls that have taken so long; anybody reads it */
};

void sk_stalls_init(struct sk_stalls *stalls, uint32_t stall_ms);
void sk_stalls_destroy(struct sk_stalls *stalls);

/* At a look of the driver, for each worker, before its monitor_tick is set. */
void sk_stall_look(struct sk_sched *sched, struct sk_worker *worker, uint64_t tick, uint64_t now);

/* At the last look before a pause: what takes long after it, has begun after it. */
void sk_stalls_pause(struct sk_sched *sched);

/* So long after the last look the driver looks again. If that is too long to say anything about a worker,
 * the process was most likely stopped (SIGSTOP, a frozen control group), and that time does not count. */
void sk_stalls_look_came(struct sk_sched *sched, uint64_t elapsed);

/* No report from now on; waits for the one that is being written. Workers are not yet joined. */
void sk_stalls_stop(struct sk_stalls *stalls);

#endif /* SKUA_SCHED_STALL_H */
