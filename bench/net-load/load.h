/*
 * load.h - net-load: what it is told to do, the connections with which it does it, and what is seen
 * of the server from outside. main.c has the order of things.
 */
#ifndef BENCH_NET_LOAD_LOAD_H
#define BENCH_NET_LOAD_LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "../histogram.h"

#define SECOND UINT64_C(1000000000)

/* How long the server may take for what has to come at the beginning and at the end. */
#define PATIENCE (5 * SECOND)

__attribute__((noreturn, format(printf, 2, 3))) void die(int status, const char *format, ...);

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec time = {0};

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* ---- What is to be done; written before anything else happens ---- */

struct plan {
	int64_t port, connections, idle, pipeline, size, rate, server_pid, echo, churn;
	double seconds, warm_up, slow_percent;
	const char *path, *slow_path, *stuck_path;
};

extern struct plan plan;

/* ---- connections.c ---- */

/* Since load_count_from, except `made`, which counts from the start. */
struct counts {
	uint64_t answers; /* that came, light and slow ones */
	uint64_t errors;
	uint64_t made;     /* connections */
	uint64_t lateness; /* the longest that a request was sent after it was due, by our fault */
	struct histogram light, slow;
};

extern struct counts counts;

void load_prepare(void);

/*
 * Opens connections, makes a request on each and awaits its answer. The first are those that are
 * busy later (none with --churn, which opens its own), the second those that stay idle.
 */
void load_open_busy(void);
void load_open_idle(void);

/* From now to `end` the busy connections make requests. */
void load_start(uint64_t end);

/* Does so until a moment, which may be the end. */
void load_run(uint64_t until);

/* Counts anew. In an open loop latencies are those of requests that are due from here on. */
void load_count_from(uint64_t moment);

/* Asks for --stuck-path on a connection of its own, again and again. */
void load_stick(void);

/* Awaits the answers that are due after the end. Without them it ends the program. */
void load_drain(void);

/* ---- observed.c ---- */

struct usage {
	uint64_t cpu_ns;
	uint64_t switches; /* voluntary and involuntary, of the threads that there are */
};

struct usage observe_usage(int64_t pid);

/*
 * Anonymous memory of the process, in bytes: heap and stacks, but neither code nor what the kernel
 * keeps for its sockets. Pages that are shared count in proportion.
 */
uint64_t observe_memory(int64_t pid);

/* Rounds of xorshift64 that take a microsecond here. */
double observe_spin(void);

#endif /* BENCH_NET_LOAD_LOAD_H */
