/* lanes.c - see lanes.h for the invariants, and worker.h for the order and its bounds. */
#include "sched/lanes.h"

#include "sched/task.h"

/* The owner's lanes, made if there are none yet; NULL: no memory. */
static struct sk_lane_pair *make(struct sk_lanes *lanes)
{
	struct sk_lane_pair *pair = sk_load(&lanes->pair, SK_RELAXED);

	if (pair != NULL)
		return pair;
	pair = sk_calloc_aligned(sizeof *pair);
	if (pair == NULL)
		return NULL;
	if (sk_deque_init(&pair->interactive, SK_LANE_INITIAL) < 0) {
		sk_free_aligned(pair);
		return NULL;
	}
	if (sk_deque_init(&pair->background, SK_LANE_INITIAL) < 0) {
		sk_deque_destroy(&pair->interactive);
		sk_free_aligned(pair);
		return NULL;
	}
	/* Release: pairs with the acquire in sk_lane (invariant 1). */
	sk_store(&lanes->pair, pair, SK_RELEASE);
	return pair;
}

void sk_lanes_destroy(struct sk_lanes *lanes)
{
	struct sk_lane_pair *pair = sk_load(&lanes->pair, SK_RELAXED);

	if (pair == NULL)
		return;
	sk_deque_destroy(&pair->interactive);
	sk_deque_destroy(&pair->background);
	sk_free_aligned(pair);
}

bool sk_lanes_push(struct sk_lanes *lanes, skua_task *task)
{
	struct sk_lane_pair *pair = make(lanes);

	return pair != NULL && sk_deque_push(sk_lane_of(pair, task->priority), task);
}

static skua_task *take_interactive(struct sk_lane_pair *pair)
{
	skua_task *task = sk_deque_pop(&pair->interactive);

	if (task != NULL)
		pair->interactive_polls++;
	return task;
}

static skua_task *take_background(struct sk_lane_pair *pair)
{
	pair->passed_over = 0;
	return sk_deque_pop(&pair->background);
}

skua_task *sk_lanes_take_before(struct sk_lanes *lanes)
{
	struct sk_lane_pair *pair = sk_load(&lanes->pair, SK_RELAXED);
	skua_task *task = NULL;

	if (sk_deque_length(&pair->background) == 0)
		pair->passed_over = 0;
	else if (++pair->passed_over == SK_BACKGROUND_INTERVAL)
		task = take_background(pair);
	if (task == NULL && pair->interactive_polls < SK_INTERACTIVE_LIMIT)
		task = take_interactive(pair);
	if (task == NULL)
		pair->interactive_polls = 0;
	return task;
}

skua_task *sk_lanes_take_after(struct sk_lanes *lanes)
{
	struct sk_lane_pair *pair = sk_load(&lanes->pair, SK_RELAXED);
	skua_task *task;

	if (pair == NULL)
		return NULL;
	task = take_interactive(pair);
	return task != NULL ? task : take_background(pair);
}

skua_task *sk_lanes_steal(struct sk_lanes *victim, unsigned priority, struct sk_lanes *thief,
			  struct sk_deque *otherwise, unsigned *count)
{
	struct sk_deque *lane = sk_lane(victim, priority);
	struct sk_lane_pair *own;

	*count = 0;
	if (lane == NULL || sk_deque_length(lane) == 0)
		return NULL;
	own = make(thief);
	return sk_deque_steal(lane, own != NULL ? sk_lane_of(own, priority) : otherwise, count);
}
