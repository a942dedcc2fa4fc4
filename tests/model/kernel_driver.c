/*
 * kernel_driver.c - the driver's thread as it is: events that it dispatches as batches, its end, and
 * the look after the workers that it is asked for. The scheduler's workers do not run.
 */
#include <errno.h>

#include "io/driver.h"
#include "io/io.h"
#include "sched/idle.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"

/* For those of many steps. */
#define LESS .stale = 1, .spurious = -1

static struct sk_io *io;
static struct sk_sched *sched;
static struct sk_source *sources[2];
static skua_task *tasks[2];

static void begin(uint32_t backend)
{
	struct sk_sched_options options = {
		.workers = 1, .budget = 128, .driver_ops = &sk_io_driver_ops};

	mc_assert(sk_io_new(backend, false, 1, &io) == 0);
	options.driver = io->drivers[0];
	mc_assert(sk_sched_new(&options, &sched) == 0);
	/* As after many events: it gives way. */
	io->drivers[0]->in_vain = 0;
	io->drivers[0]->eventful = true;
	sk_init(&sched->eventful, 1);
}

static void start(void)
{
	mc_assert(sk_io_start(io, sched) == 0);
}

static void end(void)
{
	sk_io_stop(io); /* if it has not been */
	sk_io_free(io);
	mc_assert(sk_sched_free(sched) == 0);
	mc_assert(fd_open() == 0);
}

/* ---- The end ---- */

MC_SCENARIO(driver, stop_against_block)
{
	begin(SKUA_IO_BACKEND_EPOLL);
	start();
	end();
}

MC_SCENARIO(driver, uv_stop_against_block)
{
	begin(SKUA_IO_BACKEND_UV);
	start();
	end();
}

/* ---- Events ---- */

/* A task that waits in a direction of a source, and belongs to nobody but its slot from then on. */
static skua_poll never(skua_cx *cx, struct sk_source *source, void *unused)
{
	(void)cx, (void)source, (void)unused;
	return -EAGAIN;
}

static void wait_with_a_task(unsigned i, struct sk_source *source, enum sk_direction direction)
{
	skua_cx cx = {.waker = {&sk_task_waker_ops, NULL}, .budget = 128};

	tasks[i] = sk_task_new(sched, NULL, 0, false);
	cx.waker.data = cx.task = tasks[i];
	sk_fetch_xor(&tasks[i]->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	mc_assert(sk_source_operate(&cx, source, direction, never, NULL) == SKUA_PENDING);
	sk_fetch_xor(&tasks[i]->state, SK_TASK_RUNNING, SK_ACQ_REL);
}

/* What is in the inbox, one bit for each task, taken as a worker does; each comes once. */
static unsigned take_woken(void)
{
	skua_task *task = sk_inbox_take(&sched->workers[0]->inbox);
	unsigned woken = 0;

	for (; task != NULL; task = task->next) {
		unsigned bit = task == tasks[0] ? 1 : 2;

		mc_assert((woken & bit) == 0);
		mc_assert((sk_load(&task->state, SK_RELAXED) & SK_TASK_SCHEDULED) != 0);
		woken |= bit;
	}
	return woken;
}

static void wait_until_woken(unsigned wanted)
{
	unsigned woken = 0;

	while (woken != wanted) {
		unsigned more = take_woken();

		mc_assert((woken & more) == 0);
		woken |= more;
		if (more == 0)
			sk_thread_yield();
	}
}

/* The task ends in a poll that follows. */
static void end_task(unsigned i)
{
	sk_fetch_or(&tasks[i]->state, SK_TASK_RUNNING, SK_ACQ_REL);
	sk_task_complete(tasks[i], 0, 0);
	mc_assert(sk_load(&tasks[i]->state, SK_RELAXED) / SK_TASK_REFERENCE == 1);
	sk_task_release(tasks[i]);
}

static void end_tasks(void)
{
	end_task(0);
	end_task(1);
	end();
}

/* Both directions of one descriptor, in one event or in two. */
static void two_directions(uint32_t backend)
{
	begin(backend);
	sources[0] = sk_source_new(io, fd_socket(0));
	wait_with_a_task(0, sources[0], SK_READ);
	wait_with_a_task(1, sources[0], SK_WRITE);
	start();
	fd_raise(sources[0]->fd, EPOLLIN);
	fd_raise(sources[0]->fd, EPOLLOUT);
	wait_until_woken(3);
	end_tasks();
}

MC_SCENARIO_WITH(driver, two_directions, LESS)
{
	two_directions(SKUA_IO_BACKEND_EPOLL);
}

MC_SCENARIO_WITH(driver, uv_two_directions, LESS)
{
	two_directions(SKUA_IO_BACKEND_UV);
}

/* Two descriptors, in one batch or in two. */
MC_SCENARIO_WITH(driver, two_descriptors, LESS)
{
	begin(SKUA_IO_BACKEND_EPOLL);
	for (unsigned i = 0; i < 2; i++) {
		sources[i] = sk_source_new(io, fd_socket(0));
		wait_with_a_task(i, sources[i], SK_READ);
	}
	start();
	fd_raise(sources[0]->fd, EPOLLIN);
	fd_raise(sources[1]->fd, EPOLLIN);
	wait_until_woken(3);
	end_tasks();
}

/* A hangup wakes both, and so does a close; each task once. */
MC_SCENARIO_WITH(driver, close_against_hangup, LESS)
{
	begin(SKUA_IO_BACKEND_EPOLL);
	sources[0] = sk_source_new(io, fd_socket(0));
	wait_with_a_task(0, sources[0], SK_READ);
	wait_with_a_task(1, sources[0], SK_WRITE);
	start();
	fd_raise(sources[0]->fd, EPOLLHUP);
	sk_source_close(sources[0]);
	wait_until_woken(3);
	end_tasks();
}

/* The driver ends while an event comes: it is dispatched, or left. */
MC_SCENARIO_WITH(driver, stop_against_event, LESS)
{
	begin(SKUA_IO_BACKEND_EPOLL);
	sources[0] = sk_source_new(io, fd_socket(0));
	wait_with_a_task(0, sources[0], SK_READ);
	start();
	fd_raise(sources[0]->fd, EPOLLIN);
	sk_io_stop(io);
	if (take_woken() == 0)
		sk_task_wake(tasks[0]);
	take_woken();
	end_task(0);
	end();
}

/* ---- The look after the workers ---- */

/* Who rests comes back when the driver waits for ever. */
#define TIMED .allow_timeouts = true, .stale = 1, .spurious = -1

/* All workers sleep: the driver looks a few times, and then ends it. */
static void assert_looked(void)
{
	mc_assert(sched->monitor_looks > 0);
	mc_assert(sk_load(&sched->monitoring, SK_RELAXED) == 0);
}

static void watcher(void *unused)
{
	(void)unused;
	sk_sched_watch(sched);
	mc_rest();
}

static void watch(void)
{
	sk_idle_sleep(&sched->idle, 0, false);
	start();
	mc_join(mc_thread(watcher, NULL));
}

MC_SCENARIO_WITH(driver, watch_against_block, TIMED)
{
	begin(SKUA_IO_BACKEND_EPOLL);
	watch();
	sk_io_stop(io);
	assert_looked();
	end();
}

/* The request comes with an event, or while the driver gives way after it. */
static void watch_against_event(uint32_t backend)
{
	begin(backend);
	sources[0] = sk_source_new(io, fd_socket(EPOLLIN));
	/* The descriptor is registered, but nobody waits for it: a task would wake a worker. */
	wait_with_a_task(0, sources[0], SK_READ);
	end_task(0);
	watch();
	sk_io_stop(io);
	assert_looked();
	end();
}

MC_SCENARIO_WITH(driver, watch_against_event, TIMED)
{
	watch_against_event(SKUA_IO_BACKEND_EPOLL);
}

MC_SCENARIO_WITH(driver, uv_watch_against_event, TIMED)
{
	watch_against_event(SKUA_IO_BACKEND_UV);
}

/* Somebody else wakes the driver at the same time. */
static void waker(void *unused)
{
	(void)unused;
	skua_blocker_wake(io->drivers[0]->blocker);
}

MC_SCENARIO_WITH(driver, watch_against_wake, TIMED)
{
	int thread;

	begin(SKUA_IO_BACKEND_EPOLL);
	start();
	thread = mc_thread(waker, NULL);
	sk_idle_sleep(&sched->idle, 0, false);
	mc_join(mc_thread(watcher, NULL));
	mc_join(thread);
	sk_io_stop(io);
	assert_looked();
	end();
}
