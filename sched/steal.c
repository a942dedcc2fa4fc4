/* steal.c - see steal.h. */
#include "sched/steal.h"

#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"

static bool lifo_is_stuck(struct sk_worker *victim)
{
	return sk_load(&victim->lifo, SK_RELAXED) != NULL && sk_worker_is_stuck(victim);
}

/* Takes from one lane of another worker. */
static skua_task *steal_lane(struct sk_worker *worker, struct sk_worker *victim, unsigned priority)
{
	unsigned count;
	skua_task *task =
		sk_lanes_steal(&victim->lanes, priority, &worker->lanes, &worker->deque, &count);

	if (task != NULL)
		sk_count(&worker->stolen, count);
	return task;
}

/* Takes something from one other worker, no background task but from its inbox; all but the first
 * task go to the own queues. */
static skua_task *steal_from(struct sk_worker *worker, struct sk_worker *victim)
{
	unsigned count = 0;
	skua_task *task = steal_lane(worker, victim, SKUA_PRIORITY_INTERACTIVE);

	if (task != NULL)
		return task;
	task = sk_deque_steal(&victim->deque, &worker->deque, &count);
	if (task == NULL && !sk_inbox_empty(&victim->inbox)) {
		skua_task *rest;

		task = sk_inbox_take(&victim->inbox);
		if (task == NULL)
			return NULL;
		count = 1;
		for (rest = task->next; rest != NULL; count++) {
			skua_task *next = rest->next;

			sk_worker_push(worker, rest);
			rest = next;
		}
	}
	if (task == NULL && lifo_is_stuck(victim)) {
		/* Acquire: pairs with the release in sk_worker_queue_hot. */
		task = sk_exchange(&victim->lifo, NULL, SK_ACQUIRE);
		count = task != NULL;
	}
	if (task != NULL)
		sk_count(&worker->stolen, count);
	return task;
}

skua_task *sk_steal(struct sk_worker *worker)
{
	struct sk_sched *sched = worker->sched;
	uint32_t workers = sk_sched_width(sched);
	uint32_t start = sk_random(&worker->random) % workers;
	struct sk_worker *background = NULL;

	for (uint32_t i = 0; i < workers; i++) {
		struct sk_worker *victim = sched->workers[(start + i) % workers];
		skua_task *task = victim == worker ? NULL : steal_from(worker, victim);

		if (task != NULL)
			return task;
		if (victim != worker &&
		    sk_lane_length(&victim->lanes, SKUA_PRIORITY_BACKGROUND) > 0)
			background = victim;
	}
	return background != NULL ? steal_lane(worker, background, SKUA_PRIORITY_BACKGROUND) : NULL;
}

bool sk_worker_has_backlog(struct sk_worker *worker)
{
	return sk_deque_length(&worker->deque) > 0 || sk_worker_beside_queue(worker) > 0 ||
	       lifo_is_stuck(worker);
}
