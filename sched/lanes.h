/*
 * lanes.h - the queues of one worker for tasks that are not of the normal class: one for interactive
 * tasks, one for background tasks. Each is a deque (deque.h), so thieves take from it like from the
 * worker's queue. Whose turn it is, and how long a task waits at most, stands in worker.h.
 *
 * They are made when the first such task is queued on a worker: programs without classes have none,
 * and pay a load and a branch for each poll and each task that is queued.
 *
 * Invariants.
 *   1. Only the owner makes them, once, and they live as long as the worker. The pointer is published
 *      with release after both deques are whole, and read by others with acquire.
 *   2. The owner puts a task into a lane only after the pointer is published. So what idle.h says of a
 *      queue holds for a lane: whoever looks after the fence of its own side either sees the task, or is
 *      seen asleep by who has queued it.
 *   3. A task that finds no memory for its lane goes to the worker's queue: it is late or early then,
 *      never lost.
 */
#ifndef SKUA_SCHED_LANES_H
#define SKUA_SCHED_LANES_H

#include "sched/deque.h"
#include "sched/sync.h"

#include "skua/task.h"

enum {
	SK_INTERACTIVE_LIMIT = 8,    /* interactive polls until normal work has a turn */
	SK_BACKGROUND_INTERVAL = 64, /* of so many polls one is of the background */
	SK_LANE_INITIAL = 64,
};

struct sk_lane_pair {
	struct sk_deque interactive, background;

	/* The owner's own. */
	uint32_t interactive_polls; /* since normal work last had its turn */
	uint32_t passed_over;       /* polls of others since a background task waits or has run */
};

/* Of one worker; zeroed: there are none. */
struct sk_lanes {
	SK_ATOMIC(struct sk_lane_pair *) pair;
};

/* Frees them; they are empty and nobody uses them. */
void sk_lanes_destroy(struct sk_lanes *lanes);

/* Adds a task whose class is not the normal one at the end of its lane. Owner only. False: no memory. */
bool sk_lanes_push(struct sk_lanes *lanes, skua_task *task);

/* The two halves of the owner's choice: what comes before the normal work, if there are lanes, or NULL,
 * which gives that its turn; and what comes after it, if there was none of it. */
skua_task *sk_lanes_take_before(struct sk_lanes *lanes);
skua_task *sk_lanes_take_after(struct sk_lanes *lanes);

/*
 * Takes the older half of one lane of `victim`: returns the oldest task and puts the others into the
 * same lane of `thief`, which the caller owns, or, without memory for that, into `otherwise`. `*count`
 * is how many were taken. NULL if there was nothing, or if others were faster.
 */
skua_task *sk_lanes_steal(struct sk_lanes *victim, unsigned priority, struct sk_lanes *thief,
			  struct sk_deque *otherwise, unsigned *count);

/* Whether there are lanes, for their owner, or as a hint. */
static inline bool sk_lanes_exist(struct sk_lanes *lanes)
{
	return sk_load(&lanes->pair, SK_RELAXED) != NULL;
}

static inline struct sk_deque *sk_lane_of(struct sk_lane_pair *pair, unsigned priority)
{
	return priority == SKUA_PRIORITY_INTERACTIVE ? &pair->interactive : &pair->background;
}

/* One lane, or NULL if there is none. Anybody. */
static inline struct sk_deque *sk_lane(struct sk_lanes *lanes, unsigned priority)
{
	/* Acquire: pairs with the release in make (invariant 1). */
	struct sk_lane_pair *pair = sk_load(&lanes->pair, SK_ACQUIRE);

	return pair != NULL ? sk_lane_of(pair, priority) : NULL;
}

/* How many tasks of a class there are about now. Anybody. */
static inline uint64_t sk_lane_length(struct sk_lanes *lanes, unsigned priority)
{
	struct sk_deque *lane = sk_lane(lanes, priority);

	return lane != NULL ? sk_deque_length(lane) : 0;
}

/* The same of both classes. */
static inline uint64_t sk_lanes_length(struct sk_lanes *lanes)
{
	if (!sk_lanes_exist(lanes))
		return 0;
	return sk_lane_length(lanes, SKUA_PRIORITY_INTERACTIVE) +
	       sk_lane_length(lanes, SKUA_PRIORITY_BACKGROUND);
}

#endif /* SKUA_SCHED_LANES_H */
