/*
 * deque_contender.h - what bench/deque_bench.c asks of a run queue that it compares.
 *
 * Each contender is reached through the same table of pointers to thin wrappers, and its operations
 * are never inlined into those (sched/deque.c cannot be), so all pay the same for being called.
 */
#ifndef SKUA_BENCH_DEQUE_CONTENDER_H
#define SKUA_BENCH_DEQUE_CONTENDER_H

#include "sched/sync.h"
#include "sched/task.h"

#define OUTLINE static __attribute__((noinline))

enum order {
	ORDER_FIFO,       /* oldest first, for the owner as well as for thieves */
	ORDER_LIFO,       /* newest first for the owner, oldest first for thieves */
	ORDER_FIFO_BELOW, /* oldest first as long as at most BOUNDED_CAPACITY tasks are queued */
};

struct contender {
	const char *name;
	const char *about;
	enum order order;
	size_t size;
	/* Makes a queue of zeroed memory. `victim` is NULL, or the queue that this one's owner
	 * steals from; queues that share something share it with that one. */
	bool (*init)(void *queue, void *victim);
	void (*destroy)(void *queue);
	/* The owner's. Push returns false if there is no memory, pop NULL if there is no task. */
	bool (*push)(void *queue, skua_task *task);
	skua_task *(*pop)(void *queue);
	/* Returns a task, and may put more into `own`, which is empty and the caller's. NULL: nothing
	 * there, or others were faster twice. The pointer itself is NULL if nobody can steal. */
	skua_task *(*steal)(void *victim, void *own);
};

#endif /* SKUA_BENCH_DEQUE_CONTENDER_H */
