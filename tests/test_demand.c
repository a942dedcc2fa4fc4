/* test_demand.c - how many workers the load is found to need (sched/demand.h), by windows that are made
 * up. */
#include "harness.h"
#include "sched/demand.h"

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
