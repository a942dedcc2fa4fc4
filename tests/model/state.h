/*
 * state.h - the inside of the explorer: what it knows of the execution that is going on, shared by
 *
 *     choice.c     every choice, taken over, at random or by search
 *     schedule.c   threads: who makes the next step, waits, wakes, what passes from one to another
 *     memory.c     plain memory: blocks, races, use after free
 *     atomic.c     atomics: histories of stores, and who may read which
 *     execution.c  one execution from its start to its end, the next one, and what has failed
 *     explorer.c   the program: scenarios, modes, reports
 */
#ifndef SKUA_TESTS_MODEL_STATE_H
#define SKUA_TESTS_MODEL_STATE_H

#include "tests/model/explorer.h"
#include "tests/model/fiber.h"

enum {
	HISTORY = 8,        /* stores that an atomic remembers */
	LOCATIONS = 192,    /* atomics in one execution */
	OBJECTS = 64,       /* locks and other things that pass knowledge on */
	CHOICES = 1 << 14,  /* in one execution */
	STEPS = 20000,      /* in one execution; more is a livelock */
	ARENA = 1 << 20,    /* bytes that one execution may allocate */
	BLOCKS = 256,       /* of memory, in one execution */
	STACK = 128 * 1024, /* bytes of each fiber */
	STARVED = 12,       /* yields of others, then a thread that could go on does */
	TRACE = 4096,       /* steps that are kept for the report */
	OUTCOMES = 256,
	UNBOUNDED = CHOICES,
	DEPTH = 16,        /* of PCT, at most */
	CHECK_EVERY = 100, /* of so many executions, one is run twice */
};
/* ---- What a thread knows ---- */

/* Which steps of each thread come before, and, for each atomic, the newest store known. */
struct knowledge {
	uint32_t clock[MC_THREADS];
	uint32_t view[LOCATIONS];
};

struct store {
	uint64_t value;
	struct knowledge released; /* to those who read it with acquire */
};

struct location {
	uintptr_t address;
	unsigned size;
	bool stale;     /* written by a plain access: the history begins anew */
	uint32_t first; /* number of the oldest store that is remembered */
	uint32_t count; /* number of stores so far */
	/* The last atomic accesses of each thread, for later plain ones. */
	uint32_t read_clock[MC_THREADS], write_clock[MC_THREADS];
	struct store stores[HISTORY];
};

struct object {
	const void *address;
	struct knowledge released;
};

/* ---- Plain memory ---- */

struct shadow {
	uint32_t execution; /* in which this was written */
	uint32_t write_clock;
	uint32_t read_clock[MC_THREADS];
	uint16_t location; /* the atomic that this byte is part of, plus 1 */
	uint8_t writer;
	uint8_t state;
};

enum { UNUSED, ALIVE, FREED };

struct block {
	uintptr_t address;
	size_t size;
	uint32_t clock; /* of whoever allocated it */
	uint8_t owner;
	bool freed;
};

/* ---- Threads ---- */

enum status { READY, BLOCKED, FINISHED };

struct thread {
	enum status status;
	bool yielded;
	unsigned yields;  /* since anything has changed */
	unsigned starved; /* yields of others since it last went on, while it could */
	bool timed, timed_out;
	bool rests;  /* its time runs out last */
	bool in_all; /* joined by mc_join_all */
	const void *blocked_on;
	const char *what;
	void (*run)(void *argument);
	void *argument;
	void *local;
	int64_t priority; /* for PCT */
	struct fiber fiber;
	struct knowledge knows;
	struct knowledge pending;  /* read relaxed; an acquire fence makes it known */
	struct knowledge released; /* by the last release fence */
};

struct choice {
	uint16_t chosen, options;
};

struct trace {
	int thread;
	const char *what;
	uintptr_t address;
	uint64_t value;
	const void *where;
};

enum mode { SEARCH, RANDOM, PCT, REPLAY };

/* What a choice is about. */
enum about { A_THREAD, A_STORE, A_SPURIOUS, ANYTHING };

/* ---- All of it ---- */

/* Everything of the explorer's is here, outside of the program's data, which is put back to what it
 * was before each execution. */
struct explorer {
	struct mc_scenario *scenario;
	enum mode mode;
	int preemption_bound, stale_bound, spurious_bound;
	int priority_changes; /* of PCT */
	uint64_t random;
	unsigned longest;          /* execution so far, in steps */
	unsigned change_at[DEPTH]; /* steps at which PCT changes a priority */
	int64_t lowest;            /* priority given away */

	/* The search. */
	struct choice choices[CHOICES];
	unsigned depth, known; /* of this execution; of these, taken over from the last one */
	uint64_t executions;

	/* This execution. */
	uint32_t execution;
	struct thread threads[MC_THREADS];
	int thread_count, current;
	unsigned steps, idle_yields;
	int preemptions, stale, spurious;
	uint64_t now;
	bool failed, ended;
	const char *failure_kind; /* the format of the message */
	char failure[512];
	uint64_t hash; /* of all steps */
	struct location locations[LOCATIONS];
	unsigned location_count;
	uint16_t index[1024]; /* of locations, by hash; 0 is none */
	struct object objects[OBJECTS];
	unsigned object_count;
	struct knowledge consistent; /* what sequentially consistent operations have seen */
	uintptr_t arena_used;
	struct block blocks[BLOCKS]; /* by address */
	unsigned block_count, blocks_in_use, reuses;

	int outcome;
	bool seen[OUTCOMES];
	bool tracing;
	struct trace trace[TRACE];
	unsigned trace_count;
	struct fiber main_fiber;
};

extern struct explorer *mc;

/* Memory that the program under test may have, and what is known of each byte. */
extern char *mc_arena, *mc_stacks;
extern struct shadow *mc_arena_shadow, *mc_data_shadow, *mc_stack_shadow;
extern char *mc_data_begin;
extern size_t mc_data_size;

static inline struct thread *self(void)
{
	return &mc->threads[mc->current];
}

/* ---- choice.c ---- */

uint32_t mc_random(void);
unsigned mc_choose_about(enum about about, unsigned n, const int *threads);
/* A choice whose other branches cost one of a bounded number of deviations. */
unsigned mc_choose_bounded(enum about about, unsigned n, const int *threads, int *used, int bound);

/* ---- schedule.c ---- */

/* Before each step that others could see: somebody else may come first. */
void mc_point(void);
/* The thread ends, and another one goes on. */
_Noreturn void mc_finish(void);
/* What this thread has passed on ends here: what it does from now on has another time, or who got to
 * know of the former would seem to know of the latter. */
void mc_passed_on(void);
/* This thread has changed something that others may wait for. */
void mc_made_change(void);
void mc_learn(struct knowledge *into, const struct knowledge *from);
/* Threads start with random priorities, all above those of the change points (Burckhardt et al.,
 * ASPLOS 2010). */
int64_t mc_random_priority(void);

/* ---- memory.c ---- */

struct shadow *mc_shadow_of(uintptr_t address); /* NULL: not the program's */
void mc_check_alive(const struct shadow *shadow, uintptr_t address, const void *where);

/* ---- execution.c ---- */

/* Maps what the explorer needs, and keeps the program's data as it is now for each execution. */
void mc_set_up(void);
/* Writes a step down. */
void mc_note(const char *what, uintptr_t address, uint64_t value, const void *where);
void mc_mix(uint64_t value);
/* For `addr2line -e explorer`. */
unsigned long mc_offset(const void *where);
/* Runs the scenario once: first the choices that are known, then as the mode says. */
void mc_execute(void);
/* Makes the same choices once more: they must lead through the same steps. */
void mc_check_deterministic(void);
/* Goes on to the next execution of the search. False: there is none. */
bool mc_advance(void);
/* Drops choices one by one as long as the failure stays: fewer deviations are easier to read. */
void mc_shrink(void);

#endif /* SKUA_TESTS_MODEL_STATE_H */
