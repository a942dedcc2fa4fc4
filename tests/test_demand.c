/* test_demand.c - how many workers the load is found to need (sched/demand.h), by windows that are made
 * up. */
#include "sched_support.h"

struct load {
	struct sk_demand demand;
	uint32_t workers;
};

static struct load load_on(uint32_t workers)
{
	struct load load = {.workers = workers};

	sk_demand_init(&load.demand, workers);
	return load;
}

static uint32_t level_of(struct load *load)
{
	return load->demand.level;
}

/* A window: what the workers and the driver have used, in percent of one CPU, and done. Returns the
 * level after it. */
static uint32_t window_beside(struct load *load, uint64_t percent, uint64_t driver, uint64_t rate)
{
	load->demand.level = sk_demand_judge(&load->demand, load->workers, percent, driver, rate);
	load->demand.rate = rate;
	return load->demand.level;
}

static uint32_t window(struct load *load, uint64_t percent, uint64_t rate)
{
	return window_beside(load, percent, 0, rate);
}

/* As many windows as it takes until another limit is tried. */
static int windows_until_a_change(struct load *load, uint64_t percent, uint64_t rate)
{
	uint32_t before = level_of(load);
	int count = 1;

	while (window(load, percent, rate) == before)
		T_LT(count++, 1000);
	return count;
}

T_TEST(demand, all_may_work_at_first)
{
	struct load load = load_on(4);

	T_EQ(level_of(&load), 4);
	T_EQ(window(&load, 390, 1000), 4);
}

/* Two workers use less than one CPU, and one alone gets as much done: it stays at one. */
T_TEST(demand, fewer_if_they_do_as_much)
{
	struct load load = load_on(2);

	T_EQ(window(&load, 87, 130000), 1);
	T_EQ(window(&load, 80, 131000), 1);
	T_EQ(window(&load, 80, 131000), 1);
	T_EQ(load.demand.backoff, 1);
}

T_TEST(demand, back_if_fewer_do_less)
{
	struct load load = load_on(2);

	T_EQ(window(&load, 87, 150000), 1);
	T_EQ(window(&load, 60, 120000), 2);
	/* Each time it takes longer until it is tried again. */
	T_EQ(windows_until_a_change(&load, 87, 150000), 2);
	T_EQ(window(&load, 60, 120000), 2);
	T_EQ(windows_until_a_change(&load, 87, 150000), 3);
	T_EQ(window(&load, 60, 120000), 2);
	T_EQ(windows_until_a_change(&load, 87, 150000), 5);
}

/* One is busy all the time, and two do a fifth more. */
T_TEST(demand, more_if_they_do_more)
{
	struct load load = load_on(2);

	window(&load, 50, 50000);
	T_EQ(window(&load, 50, 50000), 1);
	T_EQ(window(&load, 99, 90000), 2);
	T_EQ(window(&load, 112, 108000), 2);
	T_EQ(window(&load, 112, 108000), 2);
}

/* Two use more than one CPU, but do not get more done; or they do, but would not have had to be two. */
T_TEST(demand, back_if_more_do_not_do_more)
{
	struct load load = load_on(2);

	window(&load, 50, 50000);
	window(&load, 50, 50000);
	T_EQ(window(&load, 99, 155000), 2);
	T_EQ(window(&load, 110, 130000), 1);
	T_EQ(windows_until_a_change(&load, 99, 155000), 2);
	T_EQ(window(&load, 98, 180000), 1);
}

/* However often it was in vain, it is tried again. */
T_TEST(demand, patience_has_an_end)
{
	struct load load = load_on(2);
	int longest = 0;

	window(&load, 50, 50000);
	window(&load, 50, 50000);
	for (int i = 0; i < 20; i++) {
		longest = windows_until_a_change(&load, 99, 155000);
		T_EQ(level_of(&load), 2);
		T_EQ(window(&load, 90, 130000), 1);
	}
	T_EQ(longest, SK_DEMAND_PATIENCE + 1);
}

T_TEST(demand, many_workers)
{
	struct load load = load_on(64);

	T_EQ(window(&load, 320, 100000), 4);
	T_EQ(window(&load, 320, 100000), 4);
	/* Twice as many each time, and not more than there are. */
	T_EQ(window(&load, 399, 100000), 8);
	T_EQ(window(&load, 799, 200000), 16);
	T_EQ(window(&load, 1599, 400000), 32);
	T_EQ(window(&load, 3199, 800000), 64);
	T_EQ(window(&load, 6399, 1600000), 64);
}

T_TEST(demand, nothing_to_do)
{
	struct load load = load_on(8);

	T_EQ(window(&load, 0, 0), 1);
	T_EQ(window(&load, 0, 0), 1);
}

/* ---- The driver beside a worker ---- */

enum { CLOCK_OF_A_DRIVER = -7 };

static struct load load_on_driver_and(uint32_t workers)
{
	struct load load = load_on(workers);

	load.demand.driver_clock = CLOCK_OF_A_DRIVER;
	load.demand.cpu = 3;
	return load;
}

T_TEST(demand, driver_beside_the_only_worker_that_is_needed)
{
	struct load load = load_on_driver_and(2);

	T_EQ(sk_demand_cpu(&load.demand), -1);
	/* What two workers and the driver use is more than one CPU has; one worker needs less. */
	T_EQ(window_beside(&load, 90, 15, 130000), SK_DEMAND_BESIDE);
	T_EQ(sk_demand_cpu(&load.demand), 3);
	sk_store(&load.demand.stuck, 1, SK_RELAXED);
	T_EQ(sk_demand_cpu(&load.demand), -1);
	sk_store(&load.demand.stuck, 0, SK_RELAXED);
	T_EQ(window_beside(&load, 80, 11, 150000), SK_DEMAND_BESIDE);
	T_EQ(window_beside(&load, 80, 11, 150000), SK_DEMAND_BESIDE);
}

T_TEST(demand, driver_apart_again_if_less_is_done)
{
	struct load load = load_on_driver_and(2);

	T_EQ(window_beside(&load, 60, 15, 130000), SK_DEMAND_BESIDE);
	T_EQ(window_beside(&load, 60, 15, 110000), 2);
	T_EQ(sk_demand_cpu(&load.demand), -1);
	T_EQ(windows_until_a_change(&load, 60, 130000), 2);
}

/* The CPU that they share is the limit, and two workers get more done. */
T_TEST(demand, two_workers_if_one_cpu_is_too_little_for_worker_and_driver)
{
	struct load load = load_on_driver_and(2);

	T_EQ(window_beside(&load, 80, 10, 100000), SK_DEMAND_BESIDE);
	T_EQ(window_beside(&load, 80, 10, 100000), SK_DEMAND_BESIDE);
	T_EQ(window_beside(&load, 84, 12, 105000), 2);
	T_EQ(window_beside(&load, 150, 20, 180000), 2);
	T_EQ(window_beside(&load, 150, 20, 180000), 2);
}

/* If there is no second one, the driver may have a CPU to itself. */
T_TEST(demand, driver_apart_from_a_single_worker_that_needs_its_cpu)
{
	struct load load = load_on_driver_and(1);

	T_EQ(window_beside(&load, 50, 10, 100000), SK_DEMAND_BESIDE);
	T_EQ(window_beside(&load, 50, 10, 100000), SK_DEMAND_BESIDE);
	T_EQ(window_beside(&load, 84, 13, 150000), 1);
	T_EQ(window_beside(&load, 97, 16, 175000), 1);
	/* Beside each other they do not fit. */
	T_EQ(window_beside(&load, 90, 16, 160000), 1);
	T_EQ(window_beside(&load, 60, 12, 110000), SK_DEMAND_BESIDE);
}

/* Nor does the driver move where that brought nothing. */
T_TEST(demand, driver_stays_beside_a_single_worker)
{
	struct load load = load_on_driver_and(1);

	window_beside(&load, 50, 10, 100000);
	T_EQ(window_beside(&load, 84, 13, 150000), 1);
	T_EQ(window_beside(&load, 90, 16, 155000), SK_DEMAND_BESIDE);
}

/* ---- What the driver's looks make of it ---- */

/* Workers without threads: the test says what they have done. */
static struct sk_sched *idle_sched(uint32_t workers)
{
	struct sk_sched_options options = {.workers = workers, .budget = 128};
	struct sk_sched *sched;

	T_EQ(sk_sched_new(&options, &sched), 0);
	return sched;
}

/* All looks of a window, in which one worker polls so often, and uses CPU time for `cpu_ms`. */
static void look_through_a_window(struct sk_sched *sched, uint64_t polls, uint64_t cpu_ms)
{
	struct sk_worker *worker = sched->workers[0];
	int32_t clock = sk_thread_cpu_clock();
	uint64_t until = sk_cpu_time(clock) + cpu_ms * 1000000;

	sk_store(&worker->cpu_clock, clock, SK_RELAXED);
	while (sk_cpu_time(clock) < until)
		sk_spin_hint();
	sk_store(&worker->tick, sk_load(&worker->tick, SK_RELAXED) + polls, SK_RELAXED);
	for (int i = 0; i < SK_DEMAND_LOOKS; i++) {
		T_EQ(sched->demand.looks, i);
		/* Long windows: what the test itself uses is no load. */
		sk_demand_look(sched, (sched->demand.begin / 1000000000 + 2) * 1000000000);
	}
}

static void free_idle_sched(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sched->options.workers; i++)
		sk_store(&sched->workers[i]->cpu_clock, SK_NO_CLOCK, SK_RELAXED);
	sk_sched_free(sched);
}

T_TEST(demand, no_limit_while_polls_are_long)
{
	struct sk_sched *sched = idle_sched(4);

	/* The first window has no beginning. */
	look_through_a_window(sched, 100, 0);
	T_EQ(sk_load(&sched->demand.limit, SK_RELAXED), 4);
	look_through_a_window(sched, 1000000, 1);
	T_EQ(sk_load(&sched->demand.limit, SK_RELAXED), 1);
	T_EQ(sched->demand.trying, true);
	/* Long ones in the middle of a trial: it has neither succeeded nor failed. */
	look_through_a_window(sched, 10, 5);
	T_EQ(sk_load(&sched->demand.limit, SK_RELAXED), 4);
	T_EQ(sched->demand.trying, false);
	look_through_a_window(sched, 1000000, 1);
	T_EQ(sk_load(&sched->demand.limit, SK_RELAXED), 1);
	T_EQ(sched->demand.backoff, 1);
	free_idle_sched(sched);
}

T_TEST(demand, no_limit_after_a_pause)
{
	struct sk_sched *sched = idle_sched(4);

	look_through_a_window(sched, 100, 0);
	look_through_a_window(sched, 1000000, 1);
	/* One is enough, of four that are awake: stuck ones do not count. */
	sk_store(&sched->demand.stuck, 2, SK_RELAXED);
	T_EQ(sk_demand_is_met_by_others(sched), true);
	sk_store(&sched->demand.stuck, 3, SK_RELAXED);
	T_EQ(sk_demand_is_met_by_others(sched), false);
	T_EQ(sk_demand_is_met(sched), true);
	sk_store(&sched->demand.stuck, 4, SK_RELAXED);
	T_EQ(sk_demand_is_met(sched), false);
	sk_demand_reset(sched);
	T_EQ(sk_load(&sched->demand.limit, SK_RELAXED), 4);
	T_EQ(sk_load(&sched->demand.stuck, SK_RELAXED), 0);
	T_EQ(sk_demand_is_met(sched), false);
	free_idle_sched(sched);
}
