/*
 * steal.h - what a worker without work takes from the others.
 *
 * From one worker, the first of these that there is: half of its interactive lane, half of its queue, its
 * whole inbox, the LIFO slot if it is stuck in a poll. Background tasks come last of all: only if no
 * worker that was looked at had anything else, half of one worker's lane.
 */
#ifndef SKUA_SCHED_STEAL_H
#define SKUA_SCHED_STEAL_H

#include "skua/future.h"

struct sk_worker;

/* One round through all other workers, from a random one on. Returns one task, and puts the others that
 * were taken with it at the ends of the own queues; NULL if there was nothing. */
skua_task *sk_steal(struct sk_worker *worker);

#endif /* SKUA_SCHED_STEAL_H */
