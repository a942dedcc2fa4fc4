/*
 * clock.h - the clock of a runtime's timers: that of the system, or, in tests, one that stands still
 * and is moved by hand.
 *
 * While it is paused, no deadline comes by itself. It is moved by skua_clock_advance, and, whenever
 * nothing is left to do and somebody waits for the runtime (skua_block_on, skua_task_wait), to the next
 * timer (sk_sched_jump).
 *
 * A thread counts as waiting until it is woken, not until it runs: otherwise the clock would go on
 * between the end of the task and the moment at which the thread sees it. So whoever wakes it takes it
 * out of the count, before it looks whether the clock may jump. And a thread counts from when what it
 * has spawned can be seen: it joins the count under the lock under which the jump is decided.
 *
 * After it was resumed it goes on from where it was, and stays that much behind the system's, or before
 * it. What is not a timer is measured by the system's clock as ever.
 *
 * The idea is Tokio's (time::pause).
 */
#ifndef SKUA_SCHED_CLOCK_H
#define SKUA_SCHED_CLOCK_H

#include "sched/sync.h"

enum { SK_CLOCK_SYSTEM, SK_CLOCK_PAUSED, SK_CLOCK_SHIFTED };

struct sk_clock {
	SK_ATOMIC(uint32_t) state; /* SK_CLOCK_*; written under the lock */
	sk_mutex lock;
	uint64_t time;  /* while it is paused */
	uint64_t shift; /* while it is shifted: what is added to the system's, modulo 2^64 */
};

void sk_clock_init(struct sk_clock *clock);
void sk_clock_destroy(struct sk_clock *clock);

/* For a clock that is not the system's. */
uint64_t sk_clock_time(struct sk_clock *clock);

static inline bool sk_clock_is_system(struct sk_clock *clock)
{
	/* Relaxed: a change is followed by a fence and a wake of the workers, as any that they look for. */
	return sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_SYSTEM;
}

/* Now, in ns. */
static inline uint64_t sk_clock_now(struct sk_clock *clock)
{
	return sk_clock_is_system(clock) ? sk_now() : sk_clock_time(clock);
}

/* The moment of sk_now() until which a thread may sleep that has something to do at `moment` of this
 * clock: SK_FOREVER if that never comes by itself. */
uint64_t sk_clock_sleep_until(struct sk_clock *clock, uint64_t moment);

/* Stop it; let it go on. False: it is already. Then the workers have to look (sched.h). */
bool sk_clock_pause(struct sk_clock *clock);
bool sk_clock_resume(struct sk_clock *clock);

/* What the caller has done before is seen by whoever sees, under the clock's lock, what it does after this. */
void sk_clock_publish(struct sk_clock *clock);

/* How many threads wait for a task; of any runtime, since a task and its runtime may be gone when the
 * wait is over. thread_waker.c calls these. */
void sk_clock_begin_wait(void);
void sk_clock_end_wait(void);
bool sk_clock_is_awaited(void);

/* Moves a paused clock on. False: it is not paused. */
bool sk_clock_advance(struct sk_clock *clock, uint64_t ns);

#endif /* SKUA_SCHED_CLOCK_H */
