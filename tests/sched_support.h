/*
 * tests/sched_support.h - what the tests of the engine share: threads that are joined together,
 * wakers that count, memory that runs out on demand, and schedulers without a driver.
 */
#ifndef SKUA_TESTS_SCHED_SUPPORT_H
#define SKUA_TESTS_SCHED_SUPPORT_H

#include "sched/inbox.h"
#include "sched/parker.h"
#include "sched/sched.h"
#include "sched/sync.h"
#include "sched/task.h"
#include "sched/waiter.h"
#include "sched/worker.h"
#include "tests/harness.h"

#include <errno.h>
#include <stdlib.h>

/* ---- How much ---- */

/* Rounds of a stress test: fewer where every access is instrumented or a short run is wanted. */
static inline unsigned rounds_of(unsigned rounds)
{
	unsigned divisor = (T_TSAN ? 12 : T_SANITIZED ? 4 : 1) * (T_QUICK ? 8 : 1);

	return rounds / divisor > 0 ? rounds / divisor : 1;
}

static inline uint64_t after_ms(uint64_t ms)
{
	return sk_now() + ms * UINT64_C(1000000);
}

static inline void sleep_ms(uint64_t ms)
{
	sk_parker parker;

	sk_parker_init(&parker);
	sk_park(&parker, after_ms(ms));
	sk_parker_destroy(&parker);
}

/* Waits until the condition holds; fails after ten seconds (a minute under a sanitizer). */
#define EVENTUALLY(condition)                                                                      \
	do {                                                                                       \
		uint64_t until_ = after_ms(T_SANITIZED ? 60000 : 10000);                           \
		while (!(condition)) {                                                             \
			T_ASSERT_MSG(sk_now() < until_, "in vain: %s", #condition);                \
			sk_thread_yield();                                                         \
		}                                                                                  \
	} while (0)

/* Until when a stress test may begin new rounds, on a machine that has no time for all of them. */
static inline uint64_t end_of_rounds(void)
{
	return after_ms(T_QUICK ? 200 : 1000);
}

/* ---- A flag and a counter that threads share ---- */

typedef SK_ATOMIC(uint32_t) counter;

static inline uint32_t count_of(counter *c)
{
	return sk_load(c, SK_ACQUIRE);
}

static inline void count_up(counter *c)
{
	sk_fetch_add(c, 1, SK_ACQ_REL);
}

/* Waits for another thread that is expected at any moment; gives way if it does not come. */
static inline void await_count(counter *c, uint32_t at_least)
{
	for (unsigned i = 0; count_of(c) < at_least; i++)
		if (i % 256 == 255)
			sk_thread_yield();
		else
			sk_spin_hint();
}

/* ---- Wakers that count ---- */

/* A foreign executor's task: how many wakers of it there are, and how often it was woken. */
struct counting {
	counter references; /* the one that is lent to the context included */
	counter wakes, clones;
	bool no_memory;
	void (*on_clone)(void *argument), (*on_wake)(void *argument);
	void *argument;
};

static inline void *counting_clone(void *data)
{
	struct counting *counting = data;

	if (counting->no_memory)
		return NULL;
	count_up(&counting->references);
	count_up(&counting->clones);
	if (counting->on_clone != NULL)
		counting->on_clone(counting->argument);
	return counting;
}

static inline void counting_wake_by_ref(void *data)
{
	struct counting *counting = data;

	count_up(&counting->wakes);
	if (counting->on_wake != NULL)
		counting->on_wake(counting->argument);
}

static inline void counting_drop(void *data)
{
	struct counting *counting = data;

	T_GT(sk_fetch_sub(&counting->references, 1, SK_ACQ_REL), 0);
}

static inline void counting_wake(void *data)
{
	counting_wake_by_ref(data);
	counting_drop(data);
}

static const skua_waker_ops counting_ops = {
	counting_clone,
	counting_wake,
	counting_wake_by_ref,
	counting_drop,
};

/* A context whose waker is lent from `counting`, which begins anew. */
static inline skua_cx counting_cx(struct counting *counting)
{
	skua_waker waker = {&counting_ops, counting};
	skua_cx cx;

	memset(counting, 0, sizeof *counting);
	sk_init(&counting->references, 1);
	skua_cx_init(&cx, NULL, &waker);
	return cx;
}

/* ---- Memory that runs out ---- */

static SK_ATOMIC(int64_t) allocations_left; /* negative: any number */
static SK_ATOMIC(int64_t) blocks;           /* allocated and not freed, since fail_memory_begin */
static void *volatile watched_block;        /* see watched_block_freed */
static counter watched_block_freed;         /* how often watched_block was freed */

static inline bool may_allocate(void)
{
	int64_t left = sk_load(&allocations_left, SK_RELAXED);

	while (left > 0)
		if (sk_cas_weak(&allocations_left, &left, left - 1, SK_RELAXED, SK_RELAXED))
			break;
	if (left == 0)
		return false;
	sk_fetch_add(&blocks, 1, SK_RELAXED);
	return true;
}

static inline void *limited_malloc(size_t size)
{
	return may_allocate() ? malloc(size) : NULL;
}

static inline void *limited_calloc(size_t count, size_t size)
{
	return may_allocate() ? calloc(count, size) : NULL;
}

static inline void *limited_realloc(void *block, size_t size)
{
	if (block == NULL)
		return limited_malloc(size);
	return sk_load(&allocations_left, SK_RELAXED) != 0 ? realloc(block, size) : NULL;
}

static inline void limited_free(void *block)
{
	if (block == NULL)
		return;
	if (block == watched_block)
		count_up(&watched_block_freed);
	sk_fetch_sub(&blocks, 1, SK_RELAXED);
	free(block);
}

/* From now on `count` allocations succeed; a negative count stands for any number. */
static inline void allow_allocations(int64_t count)
{
	sk_store(&allocations_left, count, SK_RELAXED);
}

/* Puts the table in place, with no limit yet. Before anything is allocated. */
static inline void limit_memory(void)
{
	static const skua_allocator table = {
		sizeof(skua_allocator), limited_malloc, limited_calloc,
		limited_realloc,        limited_free,   NULL,
	};

	allow_allocations(-1);
	T_EQ(skua_set_allocator(&table), 0);
}

static inline int64_t blocks_in_use(void)
{
	return sk_load(&blocks, SK_RELAXED);
}

/* ---- Schedulers ---- */

static inline struct sk_sched *new_sched_with(const struct sk_sched_options *options)
{
	struct sk_sched *sched = NULL;

	T_EQ(sk_sched_new(options, &sched), 0);
	return sched;
}

/* One whose workers do not run, so that every step is the test's own. */
static inline struct sk_sched *new_sched(uint32_t workers)
{
	struct sk_sched_options options = {
		.workers = workers,
		.budget = 128,
		.blocking.threads = 4,
		.blocking.keepalive_ms = 10000,
	};

	return new_sched_with(&options);
}

static inline struct sk_sched *start_sched(uint32_t workers)
{
	struct sk_sched *sched = new_sched(workers);

	T_EQ(sk_sched_start(sched), 0);
	return sched;
}

/* Ends a scheduler with `grace_ms` for its tasks. Returns how many were abandoned. */
static inline unsigned end_sched(struct sk_sched *sched, uint64_t grace_ms)
{
	sk_sched_close(sched);
	sk_sched_drain(sched, after_ms(grace_ms));
	sk_sched_stop(sched);
	return sk_sched_free(sched);
}

/* Takes everything out of the inboxes of a scheduler that does not run. Returns how many tasks
 * there were; the last one is stored in `*task`. */
static inline unsigned take_queued(struct sk_sched *sched, skua_task **task)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < sched->options.workers; i++) {
		skua_task *queued = sk_inbox_take(&sched->workers[i]->inbox);

		for (; queued != NULL; queued = queued->next, count++)
			if (task != NULL)
				*task = queued;
	}
	return count;
}

/* ---- Tasks ---- */

static inline uint64_t flags_of(const skua_task *task)
{
	return sk_load(&task->state, SK_ACQUIRE) & (SK_TASK_REFERENCE - 1);
}

static inline uint64_t references_of(const skua_task *task)
{
	return sk_load(&task->state, SK_ACQUIRE) / SK_TASK_REFERENCE;
}

/* The runner's half of the state word, for tests that play the worker. */
static inline void begin_poll(skua_task *task)
{
	uint64_t old = sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);

	T_EQ(old & (SK_TASK_SCHEDULED | SK_TASK_RUNNING | SK_TASK_COMPLETE), SK_TASK_SCHEDULED);
}

/* Returns whether the task was woken during the poll. */
static inline bool end_poll(skua_task *task)
{
	bool again = task->again;
	uint64_t old = sk_fetch_xor(&task->state, SK_TASK_RUNNING, SK_ACQ_REL);

	T_NE(old & SK_TASK_RUNNING, 0);
	task->again = false;
	return again || (old & SK_TASK_SCHEDULED) != 0;
}

static inline skua_cx task_cx(skua_task *task)
{
	skua_cx cx = {.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};

	return cx;
}

#endif /* SKUA_TESTS_SCHED_SUPPORT_H */
