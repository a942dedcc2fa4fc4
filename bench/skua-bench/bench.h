/*
 * bench.h - what the workloads of skua-bench are made of, and what measures them.
 *
 * A workload is a function that does a known number of operations, called again and again. A sample
 * is as many of these iterations as take --min-ms together; its value is the time of one operation.
 * Beside the wall time stand the CPU time of the whole process and its context switches: what is
 * fast because it burns a second core is not fast.
 */
#ifndef SKUA_BENCH_H
#define SKUA_BENCH_H

#include <skua.h>
#include <stdbool.h>
#include <stddef.h>

enum { FIGURES = 3 };

struct bench {
	skua_runtime *runtime;
	unsigned workers;
	bool quick;
	/* Of the part that is timed: all of an iteration, unless it sets both. */
	uint64_t start, stop;
};

struct workload {
	const char *name; /* family/name */
	uint64_t operations;
	int64_t argument; /* for functions that serve several workloads */
	unsigned workers; /* 0: as asked for */
	/* One iteration. */
	void (*iterate)(struct bench *bench, int64_t argument);
	/* Before the samples, and after; may be NULL. What they do is not timed. */
	void (*begin)(struct bench *bench, int64_t argument);
	void (*end)(struct bench *bench, int64_t argument);
	/* Instead of `iterate`: measures something else, a figure for each of `units`. */
	void (*measure)(struct bench *bench, int64_t argument, double *figures);
	const char *units[FIGURES]; /* keys of the JSON */
	bool once;                  /* only the first such sample of a process is true */
};

/* What one has to do with a return value that must be 0. Ends the program with a message. */
void must(int64_t rc, const char *what);
/* Ends the program if a workload did not compute what it should. */
void must_be(int64_t value, int64_t expected, const char *what);

double cpu_ns(void); /* of the process so far */
void pause_ms(long ms);

/* The families; each ends with a workload without a name. */
extern const struct workload engine_spawning[], engine_waking[], engine_fork_join[],
	engine_states[], time_cancelled[], time_live[], scope_tasks[], scope_select[];

/* skua-bench net: a server, until it is told to end. */
int net_main(int argc, char **argv);

#endif /* SKUA_BENCH_H */
