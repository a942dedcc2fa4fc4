/*
 * demand.h - how many workers the load needs.
 *
 * More workers than that do harm where polls are short and wait for the network: each takes a part of
 * every batch, so batches get smaller, everybody sleeps and wakes more often, and the CPUs wait for
 * that (measured: docs/benchmarks-net.md, "Giving way, a limit on workers, the driver's place").
 *
 * So there is a limit. As many workers as it says share the load; no other one is woken for a mere
 * backlog, unless that is SK_BACKLOG_MAX_NS long, and one that is awake beyond it goes to sleep when
 * its own queues are empty: it neither searches nor waits for events. Nothing depends on this that must
 * not be late: a task that no awake worker has still wakes a sleeper, and a worker that is stuck in a
 * poll does not count as one that shares the load.
 *
 * The driver sets it by what the workers have really used, in windows of SK_DEMAND_LOOKS of its looks:
 *
 *     no limit at first, after a pause, and while polls take long (SK_LONG_POLL_NS of CPU time): then a
 *     second worker is worth its wake, and the mean does not tell how long the next poll is
 *     the CPU time of all workers would fit into fewer, with 5 % to spare: try that many for a window,
 *     and go back if they get less done (by SK_DEMAND_GAIN percent of polls)
 *     those that there may be are busy all the time: try twice as many, and go back unless they get
 *     more done (by as much)
 *     what was tried in vain is not tried again for a while, each time for twice as long, at most for
 *     SK_DEMAND_PATIENCE windows
 *
 * Where only the driver waits for events (io/driver.h) and one worker is enough, the driver runs beside
 * it, on its CPU: each time the worker has run dry, the driver comes to run and has the next batch ready
 * before anybody sleeps. On another CPU, if that is not idle, it waits behind others while the worker
 * sleeps, and they go in lockstep (measured in the same place). The CPU that they share may become the
 * limit; so the driver's time counts as well there, and the next that is tried is two workers, or, if
 * there is only one, the driver where the system puts it. From a worker that is stuck the driver goes
 * away at once, or it would wait for the end of that one's time slices.
 *
 * (Go and Tokio have no such limit; Linux's cpufreq governors decide by utilisation like this.)
 */
#ifndef SKUA_SCHED_DEMAND_H
#define SKUA_SCHED_DEMAND_H

#include "sched/sync.h"

struct sk_sched;

enum {
	SK_DEMAND_BESIDE = 0, /* as a level: one worker, and the driver on its CPU */
	SK_DEMAND_LOOKS = 16,
	SK_DEMAND_PATIENCE = 32,
	SK_DEMAND_GAIN = 8,
	SK_LONG_POLL_NS = 20000,
	SK_BACKLOG_MAX_NS = 5000000,
};

struct sk_demand {
	SK_ATOMIC(uint32_t) limit; /* workers that share the load */
	SK_ATOMIC(uint32_t) stuck; /* that are in the middle of a long poll, as of the last look */

	/* The driver's own. */
	uint32_t level;       /* the limit, or SK_DEMAND_BESIDE */
	int32_t driver_clock; /* of its CPU time, if it can run beside a worker; or SK_NO_CLOCK */
	int32_t cpu;          /* of the worker that has done most since the last look; or -1 */
	uint32_t looks;       /* in this window */
	uint32_t patience;    /* windows until another level is tried */
	uint32_t backoff;     /* what that will be if it is in vain again */
	bool trying;          /* a level, in this window */
	uint32_t before;      /* the level before that one */
	uint64_t rate;        /* polls in a second, in the last window */
	uint64_t begin;       /* of this window */
	struct sk_work {
		uint64_t cpu, driver_cpu; /* time, in ns, of all workers and of the driver */
		uint64_t polls;
	} done; /* until then */
};

void sk_demand_init(struct sk_demand *demand, uint32_t workers);

/* At the end of a window in which the workers have used `percent` of one CPU, and the driver
 * `driver_percent`, for `rate` polls in a second: the new level. demand->rate is that of the window
 * before. */
uint32_t sk_demand_judge(struct sk_demand *demand, uint32_t workers, uint64_t percent,
			 uint64_t driver_percent, uint64_t rate);

/* The CPU that the driver should keep to, or -1. */
int sk_demand_cpu(const struct sk_demand *demand);

/* At each look of the driver while workers are awake; and at the last one before a pause. */
void sk_demand_look(struct sk_sched *sched, uint64_t now);
void sk_demand_reset(struct sk_sched *sched);

/* Whether as many workers are awake as the load needs, or would be without the one that asks. Those
 * that are stuck do not count. */
bool sk_demand_is_met(struct sk_sched *sched);
bool sk_demand_is_met_by_others(struct sk_sched *sched);

/* Whether anybody is awake and not stuck. */
bool sk_demand_is_anybody_awake(struct sk_sched *sched);

#endif /* SKUA_SCHED_DEMAND_H */
