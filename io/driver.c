/* driver.c - the driver's thread; see driver.h. */
#include "io/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "io/blocker.h"
#include "io/dispatch.h"
#include "io/io.h"
#include "sched/worker.h"

/* Runs beside the one worker that the load needs, or where the system puts it (sched/demand.h). */
static void follow(struct sk_driver *driver)
{
	int cpu = sk_demand_cpu(&driver->io->sched->demand);

	if (cpu == driver->beside)
		return;
	if (driver->beside < 0 && sk_thread_get_cpus(&driver->apart) < 0)
		return;
	/* If that cannot be done it stays where it is, and is not tried again for this CPU. */
	if (cpu < 0)
		(void)sk_thread_set_cpus(&driver->apart);
	else
		(void)sk_thread_pin(cpu);
	driver->beside = cpu;
}

/* Tells the workers whether looking for more events is worth their while. */
static void say_if_eventful(struct sk_driver *driver)
{
	bool eventful = driver->in_vain < SK_DRIVER_PATIENCE;

	if (eventful == driver->eventful)
		return;
	driver->eventful = eventful;
	if (eventful)
		sk_fetch_add(&driver->io->sched->eventful, 1, SK_RELAXED);
	else
		sk_fetch_sub(&driver->io->sched->eventful, 1, SK_RELAXED);
}

static void on_monitor(uv_timer_t *timer)
{
	struct sk_driver *driver = timer->data;

	if (driver->assisted)
		sk_assist_look(driver);
	if (!sk_sched_monitor(driver->io->sched)) {
		uv_timer_stop(timer);
		driver->in_vain = SK_DRIVER_PATIENCE;
		say_if_eventful(driver);
	}
	follow(driver);
}

int sk_driver_new(uint32_t backend, bool assisted, struct sk_io *io, struct sk_driver **out)
{
	struct sk_driver *driver = sk_calloc_aligned(sizeof *driver);
	int rc;

	if (driver == NULL)
		return -ENOMEM;
	driver->io = io;
	driver->assisted = assisted;
	driver->beside = -1;
	driver->in_vain = SK_DRIVER_PATIENCE;
	sk_assist_init(&driver->assist);
	rc = skua_blocker_new(backend, &driver->blocker);
	if (rc == 0 && assisted)
		rc = sk_blocker_share(driver->blocker);
	if (rc < 0) {
		skua_blocker_free(driver->blocker);
		sk_free_aligned(driver);
		return rc;
	}
	uv_timer_init(&driver->blocker->loop, &driver->monitor);
	driver->monitor.data = driver;
	*out = driver;
	return 0;
}

static void add_to_batch(void *batch, sk_waiter waiter)
{
	sk_batch_add(batch, waiter);
}

static void dispatch(struct sk_driver *driver, const skua_event *events, int count)
{
	sk_dispatch(driver->io, events, count, add_to_batch, &driver->batch);
	sk_batch_publish(&driver->batch);
	sk_count(&driver->batches, 1);
	sk_count(&driver->events, (uint64_t)count);
}

void sk_driver_look(struct sk_driver *driver)
{
	skua_event events[SK_DRIVER_EVENTS];
	int count = sk_blocker_collect(driver->blocker, events, SK_DRIVER_EVENTS, 0);

	if (count > 0) {
		dispatch(driver, events, count);
		sk_sched_events_waited(driver->io->sched);
	}
}

/* Whether giving way is likely to bring anything, after a batch of `count` events. */
static bool is_worth_giving_way(struct sk_driver *driver, int count)
{
	uint64_t now = sk_now(), before = driver->last_batch;

	driver->last_batch = now;
	if (count > 1 || now - before < SK_DRIVER_RARE_NS)
		driver->in_vain = 0;
	if (driver->in_vain < SK_DRIVER_PATIENCE)
		driver->in_vain++;
	say_if_eventful(driver);
	return driver->eventful;
}

/* Lets the others run, and looks again, while that brings anything; but not for long, because the
 * loop has timers and requests to serve, too, and a yield can cost a time slice. */
static void give_way(struct sk_driver *driver, skua_event *events)
{
	uint64_t until = sk_now() + SK_DRIVER_GIVE_WAY_NS;
	int looks = 0;

	while (looks < SK_DRIVER_LOOKS) {
		int count;

		if (!sk_give_way(&driver->yielding, until))
			return;
		count = skua_blocker_block(driver->blocker, events, SK_DRIVER_EVENTS, 0);
		if (count > 0) {
			dispatch(driver, events, count);
			driver->in_vain = 0;
			looks = 0;
		} else {
			looks++;
		}
	}
}

static void driver_main(void *argument)
{
	struct sk_driver *driver = argument;
	skua_event events[SK_DRIVER_EVENTS];

	/* Then it is this thread that feeds the workers, and no other one. */
	if (!driver->assisted && driver->io->driver_count == 1)
		driver->io->sched->demand.driver_clock = sk_thread_cpu_clock();
	/* Relaxed, here and of the request to watch: skua_blocker_wake orders what came before it. */
	while (sk_load(&driver->stop, SK_RELAXED) == 0) {
		int count;

		/* Right before blocking: any look at the loop may have taken the kick that came with
		 * the request. */
		if (sk_exchange(&driver->watch_requested, 0, SK_RELAXED) != 0)
			uv_timer_start(&driver->monitor, on_monitor, SK_MONITOR_MS, SK_MONITOR_MS);
		count = skua_blocker_block(driver->blocker, events, SK_DRIVER_EVENTS, -1);
		if (count > 0) {
			dispatch(driver, events, count);
			if (is_worth_giving_way(driver, count))
				give_way(driver, events);
		}
	}
	uv_timer_stop(&driver->monitor);
}

int sk_driver_start(struct sk_driver *driver, unsigned index)
{
	char name[16];
	int rc = sk_batch_init(&driver->batch, driver->io->sched);

	if (rc < 0)
		return rc;
	snprintf(name, sizeof name, "skua-io-%u", index % 1000);
	rc = sk_thread_start(&driver->thread, name, driver_main, driver);
	driver->running = rc == 0;
	return rc;
}

void sk_driver_stop(struct sk_driver *driver)
{
	if (!driver->running)
		return;
	sk_store(&driver->stop, 1, SK_RELAXED);
	skua_blocker_wake(driver->blocker);
	sk_thread_join(&driver->thread);
	driver->running = false;
}

void sk_driver_free(struct sk_driver *driver)
{
	if (driver == NULL)
		return;
	sk_batch_destroy(&driver->batch);
	skua_blocker_free(driver->blocker);
	sk_free_aligned(driver);
}

/* ---- The table by which the scheduler sees the driver ---- */

static void watch(void *argument)
{
	struct sk_driver *driver = argument;

	sk_store(&driver->watch_requested, 1, SK_RELAXED);
	skua_blocker_wake(driver->blocker);
}

static void dump(void *argument, FILE *file)
{
	struct sk_io *io = ((struct sk_driver *)argument)->io;

	for (uint32_t i = 0; i < io->driver_count; i++) {
		struct sk_driver *driver = io->drivers[i];

		fprintf(file, "driver %" PRIu32 ": %" PRIu64 " batches, %" PRIu64 " events%s%s\n",
			i, sk_load(&driver->batches, SK_RELAXED),
			sk_load(&driver->events, SK_RELAXED),
			sk_load(&driver->watch_requested, SK_RELAXED) != 0 ? ", asked to watch"
									   : "",
			sk_load(&driver->stop, SK_RELAXED) != 0 ? ", stopping" : "");
	}
}

const struct sk_driver_ops sk_io_driver_ops = {.watch = watch, .dump = dump};

const struct sk_driver_ops sk_io_assisted_driver_ops = {
	.watch = watch,
	.dump = dump,
	.begin_poll = sk_assist_begin,
	.poll = sk_assist_poll,
	.end_poll = sk_assist_end,
	.interrupt = sk_assist_interrupt,
};
