/*
 * signal.h - what tasks share with the thread that measures, which is no worker. Shared things are
 * counted, as they are in the peers: who passes one on to a task takes a share of it, and the task
 * gives it back.
 */
#ifndef SKUA_BENCH_SIGNAL_H
#define SKUA_BENCH_SIGNAL_H

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "bench.h"

/* Says that all is done. */
struct signal {
	_Alignas(64) sem_t posted;
	atomic_size_t shares;
};

static inline void signal_init(struct signal *signal)
{
	must(sem_init(&signal->posted, 0, 0), "sem_init");
	atomic_init(&signal->shares, 1);
}

static inline struct signal *signal_share(struct signal *signal)
{
	atomic_fetch_add_explicit(&signal->shares, 1, memory_order_relaxed);
	return signal;
}

static inline void signal_leave(struct signal *signal)
{
	atomic_fetch_sub_explicit(&signal->shares, 1, memory_order_acq_rel);
}

static inline void signal_send(struct signal *signal)
{
	sem_post(&signal->posted);
}

static inline void signal_wait(struct signal *signal)
{
	while (sem_wait(&signal->posted) < 0 && errno == EINTR)
		;
}

/* How many tasks have still to end. */
struct remaining {
	_Alignas(64) atomic_size_t count;
	atomic_size_t shares;
};

static inline struct remaining *remaining_share(struct remaining *remaining)
{
	atomic_fetch_add_explicit(&remaining->shares, 1, memory_order_relaxed);
	return remaining;
}

/* Whether this was the last one. */
static inline bool remaining_less(struct remaining *remaining)
{
	return atomic_fetch_sub_explicit(&remaining->count, 1, memory_order_relaxed) == 1;
}

static inline void remaining_leave(struct remaining *remaining)
{
	atomic_fetch_sub_explicit(&remaining->shares, 1, memory_order_release);
}

#endif /* SKUA_BENCH_SIGNAL_H */
