/*
 * assist.h - SKUA_IO_POLL=assist: a worker that has nothing else to do waits for events itself.
 *
 * The poll token. Of one driver's set, one thread at a time waits or looks, the one that holds the
 * token:
 *
 *     FREE -> BLOCKED    a worker that is about to sleep; it will wait in the set
 *     FREE -> BUSY       whoever only looks: a worker between two tasks, or the driver
 *     either -> FREE     its holder
 *
 * It guards nothing in memory, so all its accesses are relaxed.
 *
 * A worker that finds BLOCKED sleeps in its parker: somebody waits for events, or has just stopped
 * waiting and is awake. One that finds BUSY tries again: if it slept, the other could be the driver,
 * and nobody would be left who waits. So while all workers sleep, one of them waits in the set.
 *
 * Unparking the one that waits. It takes the token, says in its parker that it is elsewhere
 * (sk_park_elsewhere), and waits. A waker that finds it there interrupts the wait; if the worker has
 * just come back, it ends the next wait, of whoever, which then returns for nothing. Nobody else takes
 * an interrupt away from a worker that is about to wait, because that one has the token.
 *
 * What an event wakes goes to the inbox of the worker that found it, in the order of the events; it
 * wakes another worker only for a backlog that is worth it (worker.h). Its tasks are in the cache of
 * nobody else that is awake, and it is there already.
 *
 * The driver stands behind them. The thread that serves libuv looks at the set every SK_MONITOR_MS
 * while any worker is awake and the token is free, and dispatches as if it was the only one that
 * polls. So a worker that took the last events and got stuck with one of them does not keep the others
 * from anybody (tokio#4730: there, nobody polls).
 *
 * That an idle worker polls is what Tokio, Go and Asio do; the token is Tokio's TryLock around its
 * driver (runtime/scheduler/multi_thread/park.rs), and the guarantor is Go's sysmon, at 2 in place of
 * 10 ms.
 */
#ifndef SKUA_IO_ASSIST_H
#define SKUA_IO_ASSIST_H

#include "sched/sched.h"
#include "sched/sync.h"

struct sk_driver;

struct sk_assist {
	SK_ATOMIC(uint32_t) token SK_ALIGNED;
};

void sk_assist_init(struct sk_assist *assist);

/* The members of sk_driver_ops, of a driver whose blocker is shared. */
enum sk_poll_right sk_assist_begin(void *driver, bool block);
void sk_assist_poll(void *argument, struct sk_worker *worker, uint64_t deadline);
void sk_assist_end(void *driver);
void sk_assist_interrupt(void *driver);

/* The driver's own look, if nobody else has the token. */
void sk_assist_look(struct sk_driver *driver);

#endif /* SKUA_IO_ASSIST_H */
