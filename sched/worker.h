/*
 * worker.h - one worker: a thread, its queues, its timers, and the loop that polls tasks.
 *
 * Where a worker looks for its next task, in this order:
 *   1. The background lane (lanes.h), if SK_BACKGROUND_INTERVAL - 1 polls in a row have gone to others
 *      while a task was in it.
 *   2. The interactive lane, unless SK_INTERACTIVE_LIMIT tasks have come from it since 3 or 4 had a turn.
 *   3. The LIFO slot: the normal task that the last poll woke or spawned, whose memory is in the cache.
 *      At most SK_LIFO_LIMIT times in a row, then it goes to the end of the queue: two tasks that
 *      wake each other do not starve the rest.
 *   4. The queue of normal tasks, first in first out. When it is empty, and before every
 *      SK_INBOX_INTERVAL-th poll (before each, if they are not short), what others left in the inbox is
 *      moved to its end, or to that of a lane, so tasks woken by IO run in the order of their events.
 *   5. The lanes, whosever turn it is: interactive, then background.
 *   6. Other workers (steal.h).
 *   7. Where only the driver polls: SK_LOOKS looks more, giving way to the driver each time, since what
 *      it brings next may be there sooner than a sleep and a wake would take; unless the driver says
 *      that events are rare.
 *   8. Sleep, by the protocol in idle.h.
 *
 * So no class starves another one. On a worker that goes on polling, a ready task that is first of its
 * class waits for at most so many polls of others, and test_priority.c says that it can be as many:
 *
 *     in the interactive lane      2     one normal and one background task
 *     in the LIFO slot             9     SK_INTERACTIVE_LIMIT and one background task
 *     in the queue                36     the LIFO slot SK_LIFO_LIMIT times, SK_INTERACTIVE_LIMIT before
 *                                        each of these and before itself, one background task
 *     in the background lane      63     SK_BACKGROUND_INTERVAL - 1
 *     in the inbox                 8     SK_INBOX_INTERVAL: then it is the last in its lane or queue
 *
 * A task woken by a poll goes to the end of its lane if it is not a normal one, never to the LIFO slot: an
 * interactive one runs next there as well if it is alone, but thieves can take it, it does not overtake
 * those that were ready before, and the bound is counted in one place.
 *
 * When to wake another worker. Waking an idle CPU costs more than many polls (20 to 60 us on a
 * virtual machine), so a worker that is awake wakes another one only for a backlog that is worth
 * it: queue length x mean time of a poll >= SK_WAKE_COST_NS. What the estimate gets wrong, the
 * driver mends: every SK_MONITOR_MS it looks at the workers that are awake, corrects the estimate
 * of those whose polls have become longer, fires the timers of those that are late with them, and
 * wakes a worker for what waits behind one that is stuck in a poll (sk_sched_monitor). A sleeping
 * worker is always woken for a task that no awake worker has. How many workers share a load is
 * limited to what it needs (demand.h); one more than that is spare: it goes to sleep although there
 * is work, if that is the work of others that are awake.
 */
#ifndef SKUA_SCHED_WORKER_H
#define SKUA_SCHED_WORKER_H

#include "sched/blocking.h"
#include "sched/deque.h"
#include "sched/give_way.h"
#include "sched/inbox.h"
#include "sched/lanes.h"
#include "sched/parker.h"
#include "sched/stall.h"
#include "sched/sync.h"
#include "sched/task.h"
#include "sched/timer.h"

/* The model checker, which tries every order of looking, has fewer. */
#ifndef SK_LOOKS
#define SK_LOOKS 20
#endif

enum {
	SK_LIFO_LIMIT = 3,
	SK_INBOX_INTERVAL = 8,        /* polls between two looks into the inbox of a busy worker */
	SK_SHORT_POLL_NS = 1000,      /* with longer ones it looks before each */
	SK_MAINTENANCE_INTERVAL = 61, /* polls between two looks at clock and dead tasks (prime) */
	SK_WAKE_COST_NS = 50000,
	SK_LOOK_AROUND_NS = 2000000,   /* at most */
	SK_EVENT_INTERVAL_NS = 100000, /* at least, between two looks of a busy worker for events */
	SK_MONITOR_MS = 2,
	SK_HELD = 64, /* references that are taken at once, see sk_hold_running */
};

struct sk_worker {
	/* What others write. */
	struct sk_inbox inbox SK_ALIGNED;
	SK_ATOMIC(skua_task *) dead; /* tasks of this worker's list that ended elsewhere */
	SK_ATOMIC(uint64_t) wakes;
	sk_parker parker;

	/* What others read. */
	struct sk_deque deque;
	struct sk_lanes lanes SK_ALIGNED; /* written once at most: the owner looks at each poll */
	SK_ATOMIC(skua_task *) lifo SK_ALIGNED;
	SK_ATOMIC(uint64_t) tick;         /* polls so far, and one more while in one */
	SK_ATOMIC(uint64_t) stuck_tick;   /* the driver's word that this poll takes long */
	SK_ATOMIC(uint64_t) mean_poll_ns; /* a moving average */
	SK_ATOMIC(uint64_t) spawned, completed, stolen, parks;
	SK_ATOMIC(uint64_t) io_batches, io_events; /* that it has waited for itself */
	SK_ATOMIC(int32_t) on_cpu;    /* where it was when it last ran dry; -1: not known */
	SK_ATOMIC(uintptr_t) address; /* of its thread, for a backtrace; 0: there is none */
	SK_ATOMIC(uint32_t) blocks;   /* in skua_block_in_place (spare.h) */
	struct sk_timers timers;

	/* The worker's own. */
	struct sk_sched *sched SK_ALIGNED;
	unsigned index;
	uint32_t random;
	uint32_t lifo_polls; /* in a row */
	struct sk_yielding yielding;
	uint32_t phase;       /* of the runtime, as far as this worker has noticed */
	skua_task *running;   /* the task in the middle of a poll, or NULL */
	uint32_t held;        /* references to it that were taken in advance */
	skua_task *owned;     /* tasks that have once been pending here */
	uint64_t awake_since; /* from here on awake_ns does not count yet */
	uint64_t awake_ns;    /* since the last measurement of mean_poll_ns, at measure_tick */
	uint64_t measure_tick;
	uint64_t looked_at;           /* when it last looked for events between two polls */
	int cpu;                      /* to run on, or -1 */
	SK_ATOMIC(int32_t) cpu_clock; /* of its CPU time */
	sk_thread thread;
	bool has_told; /* its tasks that the runtime closes; under the scheduler's drain_lock */

	/* The driver's own. */
	uint64_t monitor_tick;
	uint32_t stuck_looks;     /* in a row that found it in the same poll */
	struct sk_long_poll poll; /* that one (stall.h) */
};

/* The worker that runs on this thread, or NULL. */
static inline struct sk_worker *sk_worker_current(void)
{
	uintptr_t value = (uintptr_t)sk_thread_local();

	return (value & SK_JOB_THREAD) == 0 ? (struct sk_worker *)value : NULL;
}

/*
 * References to the task that runs, taken and given back in its poll, on its worker's thread. The state
 * word is shared, so each costs a read-modify-write; here one takes many in advance, and the end of the
 * poll gives back what is left together with RUNNING (run.c). In between there are more references than
 * are in use, which nobody minds: a task that runs is not freed.
 */
static inline void sk_hold_running(struct sk_worker *worker)
{
	if (worker->held == 0) {
		/* Relaxed: whoever adds a reference has one. */
		sk_fetch_add(&worker->running->state, SK_HELD * (uint64_t)SK_TASK_REFERENCE,
			     SK_RELAXED);
		worker->held = SK_HELD;
	}
	worker->held--;
}

static inline void sk_release_running(struct sk_worker *worker)
{
	worker->held++;
}

/* Returns 0 or -ENOMEM. */
int sk_worker_init(struct sk_worker *worker, struct sk_sched *sched, unsigned index);
void sk_worker_destroy(struct sk_worker *worker);

/* The thread's function. */
void sk_worker_main(void *argument);

/* Queues a task on the calling worker: to run next, if a poll is going on that woke it, or after all
 * others. */
void sk_worker_queue_hot(struct sk_worker *worker, skua_task *task);
void sk_worker_queue_last(struct sk_worker *worker, skua_task *task);

/* Adds a task at the end of the queue of its class, and wakes nobody. The worker's own thread. */
void sk_worker_push(struct sk_worker *worker, skua_task *task);

/* How many tasks there are outside of its queue about now: in the lanes, and one for the inbox. Anybody. */
static inline int64_t sk_worker_beside_queue(struct sk_worker *worker)
{
	return (int64_t)sk_lanes_length(&worker->lanes) + !sk_inbox_empty(&worker->inbox);
}

/* Whether anything of this worker's could be taken by another. */
bool sk_worker_has_backlog(struct sk_worker *worker);

/* Whether the driver has found it in the same long poll twice: it does not come to its inbox. */
static inline bool sk_worker_is_stuck(struct sk_worker *worker)
{
	return sk_load(&worker->stuck_tick, SK_RELAXED) == sk_load(&worker->tick, SK_RELAXED);
}

/* Whether `more` tasks on top of its queue are worth waking somebody. */
bool sk_worker_is_behind(struct sk_worker *worker, int64_t more);

/* Adds to a counter that one thread writes. */
#define sk_count(counter, n) sk_store(counter, sk_load(counter, SK_RELAXED) + (n), SK_RELEASE)

#endif /* SKUA_SCHED_WORKER_H */
