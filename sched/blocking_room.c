/* blocking_room.c - see blocking_room.h. */
#include "sched/blocking_room.h"

#include <errno.h>

#include "sched/cx.h"

/* ---- The list of a kind; all of this under the lock ---- */

static void list_add(struct sk_blocking_kind *kind, struct sk_blocking_wait *wait)
{
	wait->state = SK_BLOCKING_WAITS;
	wait->next = NULL;
	wait->previous = kind->last_wait;
	if (kind->last_wait != NULL)
		kind->last_wait->next = wait;
	else
		kind->first_wait = wait;
	kind->last_wait = wait;
	kind->waiting++;
}

static void list_remove(struct sk_blocking_kind *kind, struct sk_blocking_wait *wait)
{
	if (wait->previous != NULL)
		wait->previous->next = wait->next;
	else
		kind->first_wait = wait->next;
	if (wait->next != NULL)
		wait->next->previous = wait->previous;
	else
		kind->last_wait = wait->previous;
	kind->waiting--;
}

/* Ends the wait of the first, who is told the outcome. */
static sk_waiter tell_first(struct sk_blocking_kind *kind, enum sk_blocking_wait_state outcome)
{
	struct sk_blocking_wait *first = kind->first_wait;

	list_remove(kind, first);
	first->state = (uint8_t)outcome;
	/* The last touch: its owner may now see it ready and free it. */
	return sk_slot_fire(&first->slot);
}

sk_waiter sk_blocking_free_place(struct sk_blocking_kind *kind)
{
	if (kind->first_wait != NULL)
		return tell_first(kind, SK_BLOCKING_HAS_PLACE);
	kind->taken--;
	return SK_NO_WAITER;
}

bool sk_blocking_refuse_first(struct sk_blocking_kind *kind, sk_waiter *waiter)
{
	if (kind->first_wait == NULL)
		return false;
	*waiter = tell_first(kind, SK_BLOCKING_CLOSED);
	return true;
}

/* ---- Waiting ---- */

/* What is left when the wait is out of the list and its state is known. */
static void forget(struct sk_blocking_wait *wait)
{
	sk_slot_reset(&wait->slot);
	sk_obligation_remove(&wait->obligation);
	wait->pool = NULL;
}

void sk_blocking_wait_cancel(struct sk_blocking_wait *wait)
{
	struct sk_blocking *pool = wait->pool;
	struct sk_blocking_kind *kind;
	sk_waiter next = SK_NO_WAITER;

	if (pool == NULL)
		return;
	kind = &pool->kinds[wait->kind];
	sk_mutex_lock(&pool->lock);
	if (wait->state == SK_BLOCKING_WAITS)
		list_remove(kind, wait);
	else if (wait->state == SK_BLOCKING_HAS_PLACE)
		next = sk_blocking_free_place(kind);
	sk_mutex_unlock(&pool->lock);
	forget(wait);
	sk_waiter_wake(next);
}

/* The task ends, and has not awaited its place to the end. */
static void take_back(struct sk_obligation *obligation, skua_task *task)
{
	(void)task;
	sk_blocking_wait_cancel(
		(struct sk_blocking_wait *)(void *)((char *)obligation -
						    offsetof(struct sk_blocking_wait, obligation)));
}

static const struct sk_obligation_ops obligation_ops = {take_back, "room for a blocking job", true};

/* Takes a place, or begins to wait for one. Returns 0, SKUA_PENDING, -ESHUTDOWN, -ENOMEM. */
static skua_poll begin(struct sk_blocking *pool, struct sk_blocking_wait *wait, uint32_t kind_index,
		       const skua_cx *cx)
{
	struct sk_blocking_kind *kind = &pool->kinds[kind_index];
	skua_poll rc;

	sk_slot_init(&wait->slot);
	rc = sk_slot_wait(&wait->slot, cx);
	if (rc != SKUA_PENDING)
		return rc;
	wait->kind = kind_index;
	wait->obligation.ops = &obligation_ops;
	sk_mutex_lock(&pool->lock);
	if (pool->closed) {
		rc = -ESHUTDOWN;
	} else if (kind->taken < kind->places) {
		kind->taken++;
		rc = 0;
	} else {
		list_add(kind, wait);
	}
	sk_mutex_unlock(&pool->lock);
	if (rc != SKUA_PENDING) {
		sk_slot_reset(&wait->slot);
		return rc;
	}
	wait->pool = pool;
	if (cx->task != NULL)
		sk_obligation_add(&cx->task->obligations, &wait->obligation);
	return SKUA_PENDING;
}

/* Goes on waiting. Returns as begin() does; -EBUSY if another task waits with it. */
static skua_poll go_on(struct sk_blocking_wait *wait, const skua_cx *cx)
{
	skua_poll waits = sk_slot_wait(&wait->slot, cx);
	bool has_place;

	if (waits == SKUA_PENDING || waits == -EBUSY)
		return waits;
	if (waits < 0) {
		sk_blocking_wait_cancel(wait);
		return waits;
	}
	has_place = wait->state == SK_BLOCKING_HAS_PLACE;
	forget(wait);
	return has_place ? 0 : -ESHUTDOWN;
}

skua_poll sk_blocking_submit_when_room(struct sk_sched *sched, skua_cx *cx,
				       struct sk_blocking_wait *wait,
				       const struct sk_blocking_job *job, skua_task **handle)
{
	int interrupt = sk_cx_interrupt(cx);
	skua_poll rc;

	if (interrupt != 0) {
		sk_blocking_wait_cancel(wait);
		return interrupt;
	}
	if (wait->pool == NULL) {
		if (!sk_cx_budget(cx))
			return SKUA_PENDING;
		rc = sk_blocking_try(sched, job, false, handle);
		if (rc != SK_BLOCKING_FULL)
			return rc;
		rc = begin(&sched->blocking, wait, job->kind, cx);
	} else if (wait->pool != &sched->blocking || wait->kind != job->kind) {
		sk_blocking_wait_cancel(wait);
		return -EINVAL;
	} else {
		rc = go_on(wait, cx);
	}
	return rc == 0 ? sk_blocking_try(sched, job, true, handle) : rc;
}
