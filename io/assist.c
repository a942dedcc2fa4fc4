/* assist.c - see assist.h. */
#include "io/assist.h"

#include <errno.h>

#include "io/blocker.h"
#include "io/dispatch.h"
#include "io/driver.h"
#include "sched/task.h"
#include "sched/worker.h"

enum { FREE, BUSY, BLOCKED };

/* How many events a worker takes at once: they are out of reach for all others until they are in its
 * inbox. */
enum { ASSIST_EVENTS = 256 };

void sk_assist_init(struct sk_assist *assist)
{
	sk_init(&assist->token, FREE);
}

enum sk_poll_right sk_assist_begin(void *driver, bool block)
{
	struct sk_assist *assist = &((struct sk_driver *)driver)->assist;
	uint32_t found = sk_load(&assist->token, SK_RELAXED);

	if (found == FREE &&
	    sk_cas(&assist->token, &found, block ? BLOCKED : BUSY, SK_RELAXED, SK_RELAXED))
		return SK_POLL_YOURS;
	return found == BLOCKED ? SK_POLL_TAKEN : SK_POLL_BUSY;
}

void sk_assist_end(void *driver)
{
	struct sk_assist *assist = &((struct sk_driver *)driver)->assist;

	sk_store(&assist->token, FREE, SK_RELAXED);
}

/* What one wait has woken. */
struct harvest {
	struct sk_worker *worker;
	struct sk_chain chain;
};

static void add_to_harvest(void *argument, sk_waiter waiter)
{
	struct harvest *harvest = argument;
	skua_task *task = sk_waiter_task(waiter);

	if (task == NULL || task->sched != harvest->worker->sched)
		sk_waiter_wake(waiter);
	else if (sk_task_mark_and_release(task))
		sk_chain_add(&harvest->chain, task);
}

static int64_t timeout_of(uint64_t deadline)
{
	uint64_t now;

	if (deadline == 0 || deadline == SK_FOREVER)
		return deadline == 0 ? 0 : -1;
	now = sk_now();
	if (deadline <= now)
		return 0;
	return deadline - now < INT64_MAX ? (int64_t)(deadline - now) : -1;
}

void sk_assist_poll(void *argument, struct sk_worker *worker, uint64_t deadline)
{
	struct sk_driver *driver = argument;
	struct harvest harvest = {.worker = worker};
	skua_event events[ASSIST_EVENTS];
	int count;

	do
		count = sk_blocker_collect(driver->blocker, events, ASSIST_EVENTS,
					   timeout_of(deadline));
	while (count == -EINTR);
	if (count <= 0)
		return;
	sk_dispatch(driver->io, events, count, add_to_harvest, &harvest);
	if (harvest.chain.count > 0)
		sk_inbox_push(&worker->inbox, &harvest.chain);
	sk_count(&worker->io_batches, 1);
	sk_count(&worker->io_events, (uint64_t)count);
}

void sk_assist_interrupt(void *driver)
{
	sk_blocker_interrupt(((struct sk_driver *)driver)->blocker);
}

void sk_assist_look(struct sk_driver *driver)
{
	if (sk_assist_begin(driver, false) != SK_POLL_YOURS)
		return;
	sk_driver_look(driver);
	sk_assist_end(driver);
}
