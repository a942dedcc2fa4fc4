/*
 * idle.h - which workers sleep, how many search, and whom to wake.
 *
 * The protocol against lost wakeups. There are two sides, and each does its sequentially consistent
 * step between its write and its look, so at least one sees the other:
 *
 *     publish:  put a task in a queue;      sk_fence;  look for sleepers, wake one
 *     sleep:    set the own sleeper bit;    sk_fence;  look at every queue; only then park
 *
 * A worker that the load does not need (demand.h) looks only at the queues of those that sleep: what is
 * in the others, somebody awake will come to. Of two that go to sleep together, one sees the other's bit
 * after its own fence, so it looks at that one's queue, too (must_stay_awake in worker.c).
 *
 * Most publishers only have to know that one certain worker is awake. They save the fence: the write
 * to its inbox and the look at its bit (sk_idle_sleeps) are both sequentially consistent, so they are
 * in one order with each other and with the sleeper's fence, which is all that a fence would give.
 *
 * A worker that is searching for work counts in `searching`; while there is one, a publisher wakes
 * nobody: the searcher will find the task, because
 *     - it looks at the queues again after it stopped counting, also when it found something else
 *       (sk_idle_end_search returns true for the last one, who then looks, and passes the wake on);
 *     - the publisher read `searching` after it published, so its look came after that.
 * A woken worker is counted as searching by whoever wakes it, before it is unparked: so one wake is
 * in flight at a time. Of its own accord a worker begins to search only while less than half of
 * them do.
 *
 * Whoever counted itself in on behalf of a sleeper and then found none takes the count back, passes
 * a fence, and looks at the sleepers again: another publisher may have been put off by that very
 * count.
 *
 * The fences carry the protocol, and every access to the bits and to the count is relaxed. Whoever
 * stops searching passes a fence before it looks again (sk_idle_sleep, sk_idle_claim, pass_on in
 * worker.c). So a publisher that still saw it counted passed its own fence before that one, and what
 * it published is seen by the look. The count goes from 0 to 1 by compare-and-exchange only so that
 * one wake is in flight at a time.
 *
 * Spare workers that are not needed rest (spare.h): they sleep by the same protocol, but nobody is woken
 * among them for a mere backlog. Only a task in the queue of one that sleeps wakes it, if there is no
 * other sleeper: whoever sleeps with a task in its queue can always be claimed by who put it there.
 *
 * Throttling of searchers is Go's (runtime/proc.go, "Worker thread parking/unparking") and Tokio's
 * (worker.rs, idle.rs); the bitmap, from which a sleeper is claimed without a lock, is nexosim's.
 */
#ifndef SKUA_SCHED_IDLE_H
#define SKUA_SCHED_IDLE_H

#include "sched/sync.h"

enum { SK_MAX_WORKERS = 512, SK_IDLE_WORDS = SK_MAX_WORKERS / 64 };

struct sk_idle {
	SK_ATOMIC(uint64_t) sleepers[SK_IDLE_WORDS] SK_ALIGNED;
	SK_ATOMIC(uint32_t) searching SK_ALIGNED;
	/* The one that waits for events in its sleep, or UINT32_MAX: whom to wake last. A hint. */
	SK_ATOMIC(uint32_t) polling SK_ALIGNED;
	/* Workers below this share the work; those above are spare, and rest (spare.h). A hint: at least
	 * `workers`, at most `slots`, written by the driver. */
	SK_ATOMIC(uint32_t) active SK_ALIGNED;
	uint32_t workers, slots; /* without and with spare ones */
};

/* `slots` is at least `workers`. */
void sk_idle_init(struct sk_idle *idle, uint32_t workers, uint32_t slots);

/*
 * After sk_fence: claims a sleeper to be unparked, counted as searching. Prefers `preferred`, and
 * takes the one that waits for events only if there is no other; one that rests only if it is
 * `preferred` and there is no other at all.
 * Returns its index, or -1 if nobody of these sleeps or somebody searches already.
 */
int sk_idle_claim(struct sk_idle *idle, unsigned preferred);

/* The same for one particular worker, no matter who searches. False if it does not sleep. */
bool sk_idle_claim_worker(struct sk_idle *idle, unsigned worker);

/* Counts the caller in, if fewer than half of the workers search. */
bool sk_idle_begin_search(struct sk_idle *idle);

/* Counts the caller out. True if it was the last: after a fence it must look at every queue again. */
bool sk_idle_end_search(struct sk_idle *idle);

/* The sleeping side: says that this worker is about to sleep, and no longer searches; then, after
 * this, it looks at the queues. */
void sk_idle_sleep(struct sk_idle *idle, unsigned worker, bool searching);

/* Takes that back. False if somebody has claimed the worker: it will be unparked, and is counted as
 * searching from then on, so it must park until that happens. */
bool sk_idle_wake_self(struct sk_idle *idle, unsigned worker);

/* Whether a worker sleeps; an answer for choosing, not for relying on. */
static inline bool sk_idle_is_asleep(struct sk_idle *idle, unsigned worker)
{
	return (sk_load(&idle->sleepers[worker / 64], SK_RELAXED) >> (worker % 64) & 1) != 0;
}

/* Of `sleepers`, in use. */
static inline unsigned sk_idle_words(struct sk_idle *idle)
{
	return (idle->slots + 63) / 64;
}

/* The sleepers of one word that do not rest. */
static inline uint64_t sk_idle_active_sleepers(struct sk_idle *idle, unsigned word)
{
	uint32_t active = sk_load(&idle->active, SK_RELAXED);
	uint64_t sleepers;

	if (active <= 64 * word)
		return 0;
	sleepers = sk_load(&idle->sleepers[word], SK_RELAXED);
	return active < 64 * word + 64 ? sleepers & ~(UINT64_MAX << active % 64) : sleepers;
}

/* Whether anybody sleeps that does not rest. */
static inline bool sk_idle_any_sleeper(struct sk_idle *idle)
{
	for (unsigned i = 0; i < sk_idle_words(idle); i++)
		if (sk_idle_active_sleepers(idle, i) != 0)
			return true;
	return false;
}

/* Whether a worker sleeps, after sk_inbox_push and without a fence: if not, it will look again. */
static inline bool sk_idle_sleeps(struct sk_idle *idle, unsigned worker)
{
	return (sk_load(&idle->sleepers[worker / 64], SK_SEQ_CST) >> (worker % 64) & 1) != 0;
}

/* Whether anybody sleeps and nobody searches: whether a wake is worth a thought. */
static inline bool sk_idle_could_wake(struct sk_idle *idle)
{
	return sk_idle_any_sleeper(idle) && sk_load(&idle->searching, SK_RELAXED) == 0;
}

/* Whether a worker is spare and not needed at the moment (spare.h). */
static inline bool sk_idle_rests(struct sk_idle *idle, unsigned worker)
{
	return worker >= idle->workers && worker >= sk_load(&idle->active, SK_RELAXED);
}

/* How many sleep, and rest. */
unsigned sk_idle_count(struct sk_idle *idle);

#endif /* SKUA_SCHED_IDLE_H */
