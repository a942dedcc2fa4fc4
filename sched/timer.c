/* timer.c - see timer.h. */
#include "sched/timer.h"

#include <errno.h>
#include <string.h>

#include "sched/task.h"

/* The deadline stands beside the pointer, so that sifting does not touch the timers. */
struct sk_timer_entry {
	uint64_t deadline;
	struct sk_timer *timer;
};

enum { ARITY = 4, FIRE_BATCH = 64 };

void sk_timers_init(struct sk_timers *timers)
{
	sk_init(&timers->next, SK_FOREVER);
	sk_mutex_init(&timers->lock);
	timers->heap = NULL;
	timers->count = timers->capacity = 0;
}

void sk_timers_destroy(struct sk_timers *timers)
{
	sk_free(timers->heap);
	sk_mutex_destroy(&timers->lock);
}

/* ---- The heap; all of this under the lock. Positions count from 1. ---- */

static void place(struct sk_timers *timers, uint32_t position, struct sk_timer_entry entry)
{
	timers->heap[position - 1] = entry;
	entry.timer->position = position;
}

static void sift_up(struct sk_timers *timers, uint32_t position, struct sk_timer_entry entry)
{
	while (position > 1) {
		uint32_t parent = (position - 2) / ARITY + 1;

		if (timers->heap[parent - 1].deadline <= entry.deadline)
			break;
		place(timers, position, timers->heap[parent - 1]);
		position = parent;
	}
	place(timers, position, entry);
}

static void sift_down(struct sk_timers *timers, uint32_t position, struct sk_timer_entry entry)
{
	for (;;) {
		uint64_t first = (uint64_t)(position - 1) * ARITY + 2, least = 0;

		for (uint64_t child = first; child < first + ARITY && child <= timers->count;
		     child++)
			if (least == 0 ||
			    timers->heap[child - 1].deadline < timers->heap[least - 1].deadline)
				least = child;
		if (least == 0 || timers->heap[least - 1].deadline >= entry.deadline)
			break;
		place(timers, position, timers->heap[least - 1]);
		position = (uint32_t)least;
	}
	place(timers, position, entry);
}

static void publish_next(struct sk_timers *timers)
{
	uint64_t next = timers->count > 0 ? timers->heap[0].deadline : SK_FOREVER;

	sk_store(&timers->next, next, SK_RELAXED);
}

static int insert(struct sk_timers *timers, struct sk_timer *timer)
{
	struct sk_timer_entry entry = {timer->deadline, timer};

	if (timers->count == timers->capacity) {
		uint32_t capacity = timers->capacity == 0 ? 64 : timers->capacity * 2;
		struct sk_timer_entry *heap = sk_malloc(capacity * sizeof *heap);

		if (heap == NULL)
			return -ENOMEM;
		if (timers->count > 0)
			memcpy(heap, timers->heap, timers->count * sizeof *heap);
		sk_free(timers->heap);
		timers->heap = heap;
		timers->capacity = capacity;
	}
	timers->count++;
	sift_up(timers, timers->count, entry);
	publish_next(timers);
	return 0;
}

static void delete (struct sk_timers *timers, struct sk_timer *timer)
{
	uint32_t position = timer->position;
	struct sk_timer_entry last = timers->heap[--timers->count];

	timer->position = 0;
	if (last.timer == timer) {
		publish_next(timers);
		return;
	}
	if (last.deadline < timer->deadline)
		sift_up(timers, position, last);
	else
		sift_down(timers, position, last);
	publish_next(timers);
}

/* ---- Arming and firing ---- */

/* The task ends, and has not awaited its timer to the end. */
static void take_back(struct sk_obligation *obligation, skua_task *task)
{
	(void)task;
	sk_timer_disarm((struct sk_timer *)(void *)((char *)obligation -
						    offsetof(struct sk_timer, obligation)));
}

static const struct sk_obligation_ops obligation_ops = {take_back, "timer"};

int sk_timer_arm(struct sk_timers *timers, struct sk_timer *timer, uint64_t deadline,
		 const skua_cx *cx, bool *earliest)
{
	skua_poll waits;
	int rc;

	sk_slot_init(&timer->slot);
	timer->deadline = deadline;
	waits = sk_slot_wait(&timer->slot, cx);
	if (waits != SKUA_PENDING)
		return (int)waits;
	sk_mutex_lock(&timers->lock);
	rc = insert(timers, timer);
	*earliest = rc == 0 && timer->position == 1;
	sk_mutex_unlock(&timers->lock);
	if (rc < 0) {
		sk_slot_reset(&timer->slot);
		return rc;
	}
	timer->timers = timers;
	timer->obligation.ops = &obligation_ops;
	if (cx->task != NULL)
		sk_obligation_add(&cx->task->obligations, &timer->obligation);
	return 0;
}

void sk_timer_disarm(struct sk_timer *timer)
{
	struct sk_timers *timers = timer->timers;

	if (timers == NULL)
		return;
	if (!sk_slot_is_ready(&timer->slot)) {
		sk_mutex_lock(&timers->lock);
		if (timer->position != 0)
			delete (timers, timer);
		sk_mutex_unlock(&timers->lock);
	}
	sk_slot_reset(&timer->slot);
	sk_obligation_remove(&timer->obligation);
	timer->timers = NULL;
	timer->position = 0;
}

unsigned sk_timers_fire(struct sk_timers *timers, uint64_t now)
{
	sk_waiter due[FIRE_BATCH];
	unsigned count, total = 0;

	do {
		count = 0;
		if (sk_timers_next(timers) > now)
			break;
		sk_mutex_lock(&timers->lock);
		while (count < FIRE_BATCH && timers->count > 0 && timers->heap[0].deadline <= now) {
			struct sk_timer *timer = timers->heap[0].timer;

			delete (timers, timer);
			/* The last touch: its owner may now see it ready and free it. */
			due[count++] = sk_slot_fire(&timer->slot);
		}
		sk_mutex_unlock(&timers->lock);
		/* Waking calls foreign code: never under the lock. */
		for (unsigned i = 0; i < count; i++)
			sk_waiter_wake(due[i]);
		total += count;
	} while (count == FIRE_BATCH);
	return total;
}
