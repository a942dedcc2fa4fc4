/*
 * kernel_assist.c - workers that wait for events themselves (io/assist.h): the real workers, sources
 * and poll token. No event is lost, nobody sleeps while nobody waits for events, and whoever waits for
 * them is woken like any other worker.
 *
 * The driver's thread does not run. What it does for the workers, its look, the first thread does.
 */
#include <errno.h>

#include "io/driver.h"
#include "io/io.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"
#include "tests/model/join_task.h"
#include "tests/model/sleep_task.h"

#define LESS .stale = 1, .spurious = -1
#define LEAST .stale = -1, .spurious = -1
#define TWO_WORKERS .preemptions = 1, .stale = 1, .spurious = -1

static uint32_t spare_workers; /* that run and rest, though nobody is stuck (sched/spare.h) */
static struct sk_io *io;
static struct sk_sched *sched;
static struct sk_source *sources[2];
static skua_task *handles[2];

static void watch(void *driver)
{
	(void)driver;
}

static const struct sk_driver_ops ops = {
	.watch = watch,
	.begin_poll = sk_assist_begin,
	.poll = sk_assist_poll,
	.end_poll = sk_assist_end,
	.interrupt = sk_assist_interrupt,
};

/* `limit` of the workers share the load (sched/demand.h). */
static void begin(uint32_t workers, uint32_t limit, unsigned source_count)
{
	struct sk_sched_options options = {.workers = workers,
					   .spare_workers = spare_workers,
					   .budget = 128,
					   .blocking.threads = 1,
					   .driver_ops = &ops};

	mc_assert(sk_io_new(SKUA_IO_BACKEND_EPOLL, true, 1, &io) == 0);
	options.driver = io->drivers[0];
	mc_assert(sk_sched_new(&options, &sched) == 0);
	io->sched = sched;
	mc_assert(sk_batch_init(&io->drivers[0]->batch, sched) == 0);
	for (unsigned i = 0; i < source_count; i++)
		sources[i] = sk_source_new(io, fd_socket(0));
	sk_store(&sched->demand.limit, limit, SK_RELAXED);
	mc_assert(sk_sched_start(sched) == 0);
	if (spare_workers > 0) {
		sched->spares.all_away = true;
		sk_store(&sched->stranded, 1, SK_RELAXED);
		sk_spares_start(sched, sk_now());
	}
}

static void end(void)
{
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_assert(sk_load(&io->drivers[0]->assist.token, SK_RELAXED) == 0);
	mc_assert(sk_load(&sched->idle.polling, SK_RELAXED) == UINT32_MAX);
	mc_assert(sk_sched_free(sched) == 0);
	sk_io_free(io);
	mc_assert(fd_open() == 0);
}

/* ---- Tasks ---- */

static skua_poll receive(skua_cx *cx, struct sk_source *source, void *unused)
{
	(void)cx, (void)unused;
	return fd_use(source->fd, EPOLLIN) == 0 ? 7 : -EAGAIN;
}

/* Reads from the source with the number of the future. */
static skua_poll read_poll(skua_cx *cx, skua_future *self)
{
	return sk_source_operate(cx, sources[self->resume], SK_READ, receive, NULL);
}

static skua_poll ready_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	return 8;
}

static const skua_future_ops read_ops = {read_poll, NULL, sizeof(skua_future), "read", NULL};
static const skua_future_ops ready_ops = {ready_poll, NULL, sizeof(skua_future), "ready", NULL};

static void spawn(const skua_future_ops *future_ops, uint32_t number, skua_task **handle)
{
	struct sleep future = {.future = {future_ops, number, 0}};

	mc_assert(sk_sched_spawn(sched, &future.future, handle) == 0);
}

static void spawner(void *number)
{
	spawn(&ready_ops, 0, &handles[(uintptr_t)number]);
}

static void raiser(void *number)
{
	fd_raise(sources[(uintptr_t)number]->fd, EPOLLIN);
}

static void close_source(unsigned i)
{
	sk_source_close(sources[i]);
}

/* ---- Scenarios that several numbers of workers have ---- */

static void event_against_sleep(uint32_t workers, uint32_t limit)
{
	begin(workers, limit, 1);
	spawn(&read_ops, 0, &handles[0]);
	raiser(0);
	mc_assert(join_task(&handles[0]) == 7);
	close_source(0);
	end();
}

static void spawn_against_sleep(uint32_t workers)
{
	begin(workers, workers, 0);
	spawn(&ready_ops, 0, &handles[0]);
	mc_assert(join_task(&handles[0]) == 8);
	end();
}

static void spawn_against_event(uint32_t workers, uint32_t limit)
{
	begin(workers, limit, 1);
	spawn(&read_ops, 0, &handles[0]);
	mc_start(raiser, 0);
	spawner((void *)1);
	mc_assert(join_task(&handles[1]) == 8);
	mc_assert(join_task(&handles[0]) == 7);
	mc_join_all();
	close_source(0);
	end();
}

/* ---- One worker ---- */

MC_SCENARIO_WITH(assist, stop_against_poll, LESS)
{
	begin(1, 1, 0);
	end();
}

MC_SCENARIO_WITH(assist, event_against_sleep, LESS)
{
	event_against_sleep(1, 1);
}

MC_SCENARIO_WITH(assist, spawn_against_sleep, LESS)
{
	spawn_against_sleep(1);
}

/* Woken by an event and by a thread at the same time: an interrupt may be left over for later. */
MC_SCENARIO_WITH(assist, spawn_against_event, LEAST)
{
	spawn_against_event(1, 1);
}

MC_SCENARIO_WITH(assist, two_events, LEAST)
{
	begin(1, 1, 2);
	spawn(&read_ops, 0, &handles[0]);
	spawn(&read_ops, 1, &handles[1]);
	mc_start(raiser, 0);
	raiser((void *)1);
	mc_assert(join_task(&handles[0]) == 7);
	mc_assert(join_task(&handles[1]) == 7);
	mc_join_all();
	close_source(0);
	close_source(1);
	end();
}

MC_SCENARIO_WITH(assist, close_against_sleep, LESS)
{
	begin(1, 1, 1);
	spawn(&read_ops, 0, &handles[0]);
	close_source(0);
	mc_assert(join_task(&handles[0]) < 0);
	end();
}

/* Who waits for events wakes for its timers as well. */
MC_SCENARIO_WITH(assist, timer_in_poll, LESS, .allow_timeouts = true)
{
	begin(1, 1, 0);
	spawn(&sleep_ops, 0, &handles[0]);
	mc_assert(join_task(&handles[0]) == 7);
	end();
}

/* ---- The driver's look ---- */

/* The driver has the token while the last worker goes to sleep: somebody must wait for what comes. */
MC_SCENARIO_WITH(assist, look_against_sleep, LESS)
{
	begin(1, 1, 1);
	spawn(&read_ops, 0, &handles[0]);
	sk_assist_look(io->drivers[0]);
	raiser(0);
	mc_assert(join_task(&handles[0]) == 7);
	close_source(0);
	end();
}

static void looker(void *unused)
{
	(void)unused;
	sk_assist_look(io->drivers[0]);
}

/* The event is found by the worker or by the driver. */
MC_SCENARIO_WITH(assist, look_against_event, LEAST)
{
	begin(1, 1, 1);
	spawn(&read_ops, 0, &handles[0]);
	mc_start(looker, 0);
	raiser(0);
	mc_assert(join_task(&handles[0]) == 7);
	mc_join_all();
	close_source(0);
	end();
}

/* ---- Two workers ---- */

MC_SCENARIO_WITH(assist, two_workers_event_against_sleep, TWO_WORKERS)
{
	event_against_sleep(2, 2);
}

MC_SCENARIO_WITH(assist, two_workers_spawn_against_sleep, TWO_WORKERS)
{
	spawn_against_sleep(2);
}

/* One who waits for events leaves, and the other one sleeps in its parker: whoever is done first waits
 * for the second event. */
MC_SCENARIO_WITH(assist, two_workers_two_events, .preemptions = 1, LEAST)
{
	begin(2, 2, 2);
	spawn(&read_ops, 0, &handles[0]);
	spawn(&read_ops, 1, &handles[1]);
	raiser(0);
	mc_assert(join_task(&handles[0]) == 7);
	raiser((void *)1);
	mc_assert(join_task(&handles[1]) == 7);
	close_source(0);
	close_source(1);
	end();
}

/* ---- Two workers where the load needs one (sched/demand.h) ---- */

MC_SCENARIO_WITH(assist, spare_event_against_sleep, TWO_WORKERS)
{
	event_against_sleep(2, 1);
}

MC_SCENARIO_WITH(assist, spare_spawn_against_event, .preemptions = 1, LEAST)
{
	spawn_against_event(2, 1);
}

/* ---- A spare worker that rests beside the one that is needed (sched/spare.h) ---- */

/* The spare one waits for events only while nobody else is awake, and leaves what it finds to the other,
 * which may be the one to wait for the second event, or has to be woken for it. */
static void beside_one_that_rests(unsigned source_count)
{
	spare_workers = 1;
	begin(1, 1, source_count);
	/* It was needed until now, and may be the one that waits for events. */
	sk_store(&sched->idle.active, 2, SK_RELAXED);
	for (unsigned i = 0; i < source_count; i++)
		spawn(&read_ops, i, &handles[i]);
	sk_store(&sched->idle.active, 1, SK_RELAXED);
	for (unsigned i = 0; i < source_count; i++) {
		raiser((void *)(uintptr_t)i);
		mc_assert(join_task(&handles[i]) == 7);
	}
	for (unsigned i = 0; i < source_count; i++)
		close_source(i);
	end();
}

MC_SCENARIO_WITH(assist, resting_event_against_sleep, .preemptions = 1, LEAST)
{
	beside_one_that_rests(1);
}

MC_SCENARIO_WITH(assist, resting_two_events, .preemptions = 1, LEAST)
{
	beside_one_that_rests(2);
}
