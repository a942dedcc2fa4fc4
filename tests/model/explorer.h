/*
 * explorer.h - the interleaving explorer: runs a scenario again and again, each time with other choices,
 * until none is left, under a C11-like weak memory model.
 *
 * How it gets hold of the code. The files of sched/ and io/ are compiled as they are, with
 * -fsanitize=thread, and linked not with libtsan but with tsan_abi.c: so every atomic operation, with
 * its order, and every plain read and write that could be shared comes to the explorer. sync.c, the
 * seam, is replaced by sync_model.c: threads, locks, futexes, memory and the clock.
 *
 * One execution. Each modelled thread is a fiber on one OS thread. Before each atomic operation, lock,
 * futex and yield the explorer chooses which thread goes on; at a load it chooses which store is read,
 * at a weak compare-and-exchange whether it fails for no reason, at a futex wait whether it returns for
 * no reason. All of these go through mc_choose, so the list of what was chosen is the execution: it is
 * printed when something fails, and replays it.
 *
 * Search. Depth-first over the choices, stateless (CHESS: Musuvathi et al., OSDI 2008). Choices that
 * differ from the ordinary course are counted, and bounded for each execution: preemptions of a thread
 * that could go on, loads that do not read the newest store, spurious failures. Within these bounds the
 * search is complete.
 *
 * Memory (after loom and CDSChecker). Each atomic has a history of stores in modification order, which
 * is the order of execution. A load may read any store that is not older than one that this thread
 * already knows of: by its own accesses, by what it acquired, by a sequentially consistent fence.
 * Plain accesses are checked for races with vector clocks (FastTrack: Flanagan and Freund, PLDI 2009).
 *
 * What it cannot see: loads that read from the future (load buffering), and modification orders other
 * than the order of execution (some cases of 2+2W). docs/explorer.md has the list.
 *
 * What fails an execution: an assertion; no thread can go on (a lost wakeup); a race between plain
 * accesses, or of a plain access and an atomic one; use of freed memory, a second free, memory that is
 * left at the end; too many steps (a livelock).
 */
#ifndef SKUA_TESTS_MODEL_EXPLORER_H
#define SKUA_TESTS_MODEL_EXPLORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MC_THREADS = 6 };

/* ---- Scenarios ---- */

struct mc_scenario {
	const char *kernel; /* what is checked */
	const char *name;
	void (*run)(void); /* thread 0 */
	/* Bounds for one execution; 0: as given on the command line; negative: none of these. */
	int preemptions, stale, spurious;
	/* A timed wait may run out although the thread could have been woken: each time counts as
	 * spurious, unless nobody else can go on. */
	bool allow_timeouts;
	/* For litmus tests: the outcomes that must be seen, all of them and no other, ended by -1. */
	const int *outcomes;
	/* The run must fail: the canary. With a message that contains `expect`. */
	bool must_fail;
	const char *expect;
	struct mc_scenario *next;
};

void mc_register(struct mc_scenario *scenario);

/* A scenario: MC_SCENARIO(kernel, name) { ... }; the other one sets fields, such as bounds. */
#define MC_SCENARIO(kernel, name) MC_SCENARIO_WITH(kernel, name, .must_fail = false)
#define MC_SCENARIO_WITH(kernel_, name_, ...)                                                      \
	static void mc_##kernel_##_##name_(void);                                                  \
	static struct mc_scenario mc_##kernel_##_##name_##_entry = {                               \
		.kernel = #kernel_, .name = #name_, .run = mc_##kernel_##_##name_, __VA_ARGS__};   \
	__attribute__((constructor)) static void mc_##kernel_##_##name_##_register(void)           \
	{                                                                                          \
		mc_register(&mc_##kernel_##_##name_##_entry);                                      \
	}                                                                                          \
	static void mc_##kernel_##_##name_(void)

/* Starts a modelled thread; returns its number. Everything before is visible to it. */
int mc_thread(void (*run)(void *argument), void *argument);
void mc_join(int number);

/* The same for what most scenarios need: the argument is a number, and mc_join_all joins every thread
 * that was started like this, in the order of their starts. */
int mc_start(void (*run)(void *argument), uintptr_t argument);
void mc_join_all(void);

/* The number of the running thread. */
int mc_self(void);

/* Waits until nobody else can go on, not even because a time runs out. Only where timeouts are allowed. */
void mc_rest(void);

/* One of 0 to n - 1: for what a scenario wants to be tried in every way. */
unsigned mc_choose(unsigned n);

/* From here on up to `n` allocations may get the place of a block that was freed, if there is one of
 * their size: each is a choice. Otherwise no address comes twice in an execution. */
void mc_reuse_memory(unsigned n);

/* Says which outcome this execution had, for litmus tests. */
void mc_outcome(int outcome);

#define mc_assert(condition)                                                                       \
	do {                                                                                       \
		if (!(condition))                                                                  \
			mc_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition);              \
	} while (0)

/* Ends this execution as a failure. */
__attribute__((noreturn, format(printf, 1, 2))) void mc_fail(const char *format, ...);

/* ---- For tsan_abi.c and sync_model.c ---- */

uint64_t mc_load(uintptr_t address, unsigned size, int order, const void *where);
void mc_store(uintptr_t address, unsigned size, uint64_t value, int order, const void *where);

enum mc_rmw { MC_EXCHANGE, MC_ADD, MC_SUB, MC_AND, MC_OR, MC_XOR };
uint64_t mc_rmw(enum mc_rmw operation, uintptr_t address, unsigned size, uint64_t value, int order,
		const void *where);
bool mc_cas(uintptr_t address, unsigned size, uint64_t *expected, uint64_t value, bool weak,
	    int success, int failure, const void *where);
void mc_fence(int order, const void *where);
/* A sequentially consistent fence of every thread at once, as membarrier(2). */
void mc_fence_all(const void *where);

/* A plain access of `size` bytes. */
void mc_plain(uintptr_t address, size_t size, bool write, const void *where);

/* A lock is used: it must be there, and stay there until whoever ends it knows of this. */
void mc_touch(const void *object, const void *where);

void *mc_malloc(size_t size);
void mc_free(void *pointer, const void *where);

/* A step of another kind: the explorer may let another thread go first. */
void mc_step(const char *what, const void *where);
/* The thread only waits for others: it goes on when another thread has made a step, and from the
 * second time on when another thread has changed something. */
void mc_yield(void);
/* Blocks until mc_unblock of the same object, or, if timed, until nothing else can go on. Returns
 * false if the time ran out. */
bool mc_block(const void *object, const char *what, bool timed);
/* Lets the threads blocked on the object go on, one (which, is tried in every way) or all. */
void mc_unblock(const void *object, bool all);

/* What one thread knows, passed on to another: for locks. Stores and loads by a number of its own. */
void mc_release_to(const void *address);
void mc_acquire_from(const void *address);

/* Whether something spurious is to happen here. */
bool mc_spurious(void);

/* A slot for the one thread-local pointer. */
void **mc_thread_local(void);

uint64_t mc_now(void);

#endif /* SKUA_TESTS_MODEL_EXPLORER_H */
