/*
 * driver.h - the driver: a thread that blocks in the IO blocker and dispatches wakers to workers.
 *
 * It never reads or writes a socket, runs no code of the user's tasks, and takes no lock that
 * others hold for long. One turn of its loop: block; for each event find the source and fire its
 * slots; publish all woken tasks as one batch (sk_batch). Before it blocks again it gives way: it
 * yields the CPU and looks once more, SK_DRIVER_LOOKS times, so that on a busy machine events
 * gather and one batch carries many. Where events come one by one that costs CPU time for nothing; so
 * it is not done after SK_DRIVER_PATIENCE batches in a row that had one event, came at least
 * SK_DRIVER_RARE_NS after the one before, and gave way in vain. Both are measured in
 * docs/benchmarks-net.md, "Giving way, a limit on workers, the driver's place".
 *
 * The first driver also looks after the workers (sk_sched_monitor) by a timer of its loop, which
 * runs only while some worker is awake. With SKUA_IO_POLL=assist the workers wait for its events
 * themselves (assist.h), and it serves the loop, that timer, and those whom no worker comes to.
 */
#ifndef SKUA_IO_DRIVER_H
#define SKUA_IO_DRIVER_H

#include <uv.h>

#include "io/assist.h"
#include "sched/give_way.h"
#include "sched/sched.h"
#include "sched/sync.h"

#include "skua/blocker.h"

enum {
	SK_DRIVER_EVENTS = 512,
	SK_DRIVER_LOOKS = 2,
	SK_DRIVER_PATIENCE = 8,
	SK_DRIVER_RARE_NS = 40000,
	SK_DRIVER_GIVE_WAY_NS = 1000000, /* at most: the loop has the monitor and others to serve */
};

struct sk_io;

struct sk_driver {
	skua_blocker *blocker;
	struct sk_io *io;
	sk_thread thread;
	bool running;
	SK_ATOMIC(uint32_t) stop;
	SK_ATOMIC(uint32_t) watch_requested;
	uv_timer_t monitor; /* of the blocker's loop */
	struct sk_batch batch;
	uint32_t in_vain;    /* batches in a row after which there was nothing to give way for */
	bool eventful;       /* not SK_DRIVER_PATIENCE of them; as it has told the scheduler */
	uint64_t last_batch; /* when it came */
	struct sk_yielding yielding;
	int beside;        /* the CPU that it keeps to, or -1 */
	sk_cpu_mask apart; /* the CPUs that it may use otherwise */
	SK_ATOMIC(uint64_t) batches, events;
	bool assisted; /* workers poll: the blocker is shared */
	struct sk_assist assist;
};

/* Makes a driver that does not run yet. `assisted`: workers poll in its place. */
int sk_driver_new(uint32_t backend, bool assisted, struct sk_io *io, struct sk_driver **out);
int sk_driver_start(struct sk_driver *driver, unsigned index);
void sk_driver_stop(struct sk_driver *driver);
void sk_driver_free(struct sk_driver *driver);

/* Looks at a shared set, with the token, and dispatches what is ready. The driver's thread. */
void sk_driver_look(struct sk_driver *driver);

#endif /* SKUA_IO_DRIVER_H */
