/*
 * kernel_spare.c - spare workers and blocking in place: what waits behind workers that are stuck is run, and
 * so is what comes to a spare one that goes to rest; and none is started when all comes to its end.
 *
 * The first thread is the driver. A task that nobody comes to is a deadlock.
 */
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/join_task.h"
#include "tests/model/sync_model.h"

#define LESS .stale = 1, .spurious = -1
#define LEAST .preemptions = 1, .stale = -1, .spurious = -1

enum { LOOK = SK_MONITOR_MS * 1000000 };

static struct sk_sched *sched;
static skua_task *handles[2];
static SK_ATOMIC(uint32_t) polls;

static void ignore(void *driver)
{
	(void)driver;
}

static const struct sk_driver_ops driver_ops = {.watch = ignore};

static void begin(uint32_t workers, uint32_t spare_workers)
{
	struct sk_sched_options options = {.workers = workers,
					   .spare_workers = spare_workers,
					   .budget = 128,
					   .driver_ops = &driver_ops};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	/* No poll seems to be worth a wake. */
	for (uint32_t i = 0; i < workers + spare_workers; i++)
		sk_init(&sched->workers[i]->mean_poll_ns, 1);
}

static void end(void)
{
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

static void look(void)
{
	mc_advance_clock(LOOK);
	mc_assert(sk_sched_monitor(sched));
}

/* Asks for a spare worker as the driver does. */
static void start_spare(void)
{
	sched->spares.all_away = true;
	sk_store(&sched->stranded, 1, SK_RELAXED);
	sk_spares_start(sched, sk_now());
}

/* ---- Tasks ---- */

static skua_poll ready_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_fetch_add(&polls, 1, SK_RELAXED);
	return 7;
}

static const skua_future_ops ready_ops = {ready_poll, NULL, sizeof(skua_future), "ready", NULL};

static void spawn(unsigned i, const skua_future_ops *ops)
{
	skua_future future = {ops, 0, 0};

	mc_assert(sk_sched_spawn(sched, &future, &handles[i]) == 0);
}

/* Blocks until the other task has run. */
static int64_t wait_for_it(void *unused)
{
	(void)unused;
	while (sk_load(&polls, SK_RELAXED) == 0)
		sk_thread_yield();
	return 8;
}

static skua_poll blocking_poll(skua_cx *cx, skua_future *self)
{
	(void)self;
	spawn(1, &ready_ops);
	return sk_block_in_place(cx->worker, wait_for_it, NULL);
}

static const skua_future_ops blocking_ops = {blocking_poll, NULL, sizeof(skua_future), "blocking",
					     NULL};

/* ---- Scenarios ---- */

/* This thread is worker 0 as well, in the middle of a poll; what it has in its LIFO slot is run by the spare
 * one, which comes when the worker has been stuck for long. */
MC_SCENARIO_WITH(spare, carries_the_rest, LESS)
{
	static skua_task polled;
	struct sk_worker *stuck;

	begin(1, 1);
	stuck = sched->workers[0];
	sk_init(&stuck->tick, 1);
	stuck->running = &polled;
	stuck->monitor_tick = 1;
	sk_thread_local_set(stuck);
	spawn(0, &ready_ops);
	for (int i = 0; i < SK_AWAY_LOOKS - 1; i++)
		look();
	mc_assert(sk_load(&sched->spares.started, SK_RELAXED) == 0);
	look();
	mc_assert(sk_load(&sched->spares.started, SK_RELAXED) == 1);
	mc_assert(join_task(&handles[0]) == 7);
	stuck->running = NULL;
	sk_thread_local_set(NULL);
	end();
}

/* The only worker blocks in place; the spare one comes for the task that it has left, lets it go on, and is
 * not needed any more. */
MC_SCENARIO_WITH(spare, comes_and_goes, LEAST)
{
	begin(1, 1);
	mc_assert(sk_sched_start(sched) == 0);
	spawn(0, &blocking_ops);
	while (sk_load(&polls, SK_RELAXED) == 0) {
		look();
		sk_thread_yield();
	}
	look();
	mc_assert(join_task(&handles[0]) == 8);
	mc_assert(join_task(&handles[1]) == 7);
	end();
}

/* What a worker that blocks has, another one finds, whether it sleeps by then or is about to. Nobody
 * looks. */
MC_SCENARIO_WITH(spare, left_to_another_worker, .preemptions = 1, LESS)
{
	begin(2, 0);
	mc_assert(sk_sched_start(sched) == 0);
	spawn(0, &blocking_ops);
	mc_assert(join_task(&handles[0]) == 8);
	mc_assert(join_task(&handles[1]) == 7);
	end();
}

/* A task comes to a spare worker that rests, or is about to: because it was there when it ran last. The
 * other worker, which sleeps perhaps, or this one runs it. Nobody looks. */
MC_SCENARIO_WITH(spare, task_for_one_that_rests, LEAST)
{
	struct sk_chain chain = {0};
	skua_future future = {&ready_ops, 0, 0};

	begin(1, 1);
	start_spare();
	mc_assert(sk_sched_start(sched) == 0);
	while (sk_sched_width(sched) < 2)
		sk_thread_yield();
	handles[0] = sk_task_new(sched, &future, sizeof future, true);
	sk_count(&sched->foreign[0].spawned, 1);
	sk_chain_add(&chain, handles[0]);
	sk_sched_publish(sched, 1, &chain);
	mc_assert(join_task(&handles[0]) == 7);
	end();
}

/* The same, and the other worker is stuck: there is no heir. */
MC_SCENARIO_WITH(spare, task_for_one_that_rests_alone, LEAST)
{
	struct sk_chain chain = {0};
	skua_future future = {&ready_ops, 0, 0};

	begin(1, 1);
	sk_store(&sched->workers[0]->stuck_tick, 0, SK_RELAXED);
	start_spare();
	while (sk_sched_width(sched) < 2)
		sk_thread_yield();
	handles[0] = sk_task_new(sched, &future, sizeof future, true);
	sk_count(&sched->foreign[0].spawned, 1);
	sk_chain_add(&chain, handles[0]);
	sk_sched_publish(sched, 1, &chain);
	mc_assert(join_task(&handles[0]) == 7);
	end();
}

static void starts_spare(void *unused)
{
	(void)unused;
	start_spare();
}

/* The driver is about to start one when all comes to its end: it is joined, or not started. */
MC_SCENARIO_WITH(spare, start_against_the_end, LESS)
{
	begin(1, 1);
	mc_start(starts_spare, 0);
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_join_all();
	mc_assert(sk_load(&sched->spares.started, SK_RELAXED) == 0);
	mc_assert(sk_sched_free(sched) == 0);
}

/* It cannot be started; the next time it can. */
MC_SCENARIO_WITH(spare, start_that_fails, LEAST)
{
	begin(1, 1);
	mc_allow_failures(1);
	start_spare();
	mc_assert(sk_load(&sched->spares.started, SK_RELAXED) + mc_failures() == 1);
	mc_allow_failures(0);
	/* Not at once. */
	start_spare();
	mc_assert(sk_load(&sched->spares.started, SK_RELAXED) + mc_failures() == 1);
	mc_advance_clock(SK_SPARE_RETRY_MS * UINT64_C(1000000));
	start_spare();
	mc_assert(sk_load(&sched->spares.started, SK_RELAXED) == 1);
	end();
}
