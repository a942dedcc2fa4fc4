/* demand.c - see demand.h. */
#include "sched/demand.h"

#include "sched/sched.h"
#include "sched/worker.h"

static void set_level(struct sk_demand *demand, uint32_t level)
{
	demand->level = level;
	sk_store(&demand->limit, level == SK_DEMAND_BESIDE ? 1 : level, SK_RELAXED);
}

void sk_demand_init(struct sk_demand *demand, uint32_t workers)
{
	sk_init(&demand->limit, workers);
	sk_init(&demand->stuck, 0);
	demand->level = workers;
	demand->driver_clock = SK_NO_CLOCK;
	demand->cpu = -1;
	demand->backoff = 1;
}

int sk_demand_cpu(const struct sk_demand *demand)
{
	if (demand->level != SK_DEMAND_BESIDE || sk_load(&demand->stuck, SK_RELAXED) > 0)
		return -1;
	return demand->cpu;
}

/* Whether so many are awake and not stuck, or were without a number of others. */
static bool are_awake(struct sk_sched *sched, uint32_t count, uint32_t away)
{
	away += sk_idle_count(&sched->idle) + sk_load(&sched->demand.stuck, SK_RELAXED);
	return sk_sched_width(sched) >= count + away;
}

static bool is_met(struct sk_sched *sched, uint32_t not_counted)
{
	uint32_t limit = sk_load(&sched->demand.limit, SK_RELAXED);

	return limit < sched->options.workers && are_awake(sched, limit, not_counted);
}

bool sk_demand_is_anybody_awake(struct sk_sched *sched)
{
	return are_awake(sched, 1, 0);
}

bool sk_demand_is_met(struct sk_sched *sched)
{
	return is_met(sched, 0);
}

bool sk_demand_is_met_by_others(struct sk_sched *sched)
{
	return is_met(sched, 1);
}

/* What everybody has done so far. */
static struct sk_work work_of(struct sk_sched *sched)
{
	struct sk_work work = {.driver_cpu = sk_cpu_time(sched->demand.driver_clock)};

	for (uint32_t i = 0; i < sk_sched_width(sched); i++) {
		struct sk_worker *worker = sched->workers[i];

		work.cpu += sk_cpu_time(sk_load(&worker->cpu_clock, SK_RELAXED));
		work.polls += sk_load(&worker->tick, SK_RELAXED);
	}
	return work;
}

/* How much of a CPU those have used whom the level counts: beside each other the driver as well. */
static uint64_t percent_at(uint32_t level, uint64_t percent, uint64_t driver_percent)
{
	return level == SK_DEMAND_BESIDE ? percent + driver_percent : percent;
}

/* Another level than `before` has been tried for a window: whether it is better. Fewer have to get as
 * much done, and more of them more, and with more than the CPUs that they had. */
static bool is_better(const struct sk_demand *demand, uint64_t percent, uint64_t driver_percent,
		      uint64_t rate)
{
	uint64_t had = demand->before == SK_DEMAND_BESIDE ? 1 : demand->before;

	if (demand->level < demand->before)
		return rate * 100 >= demand->rate * (100 - SK_DEMAND_GAIN);
	return percent_at(demand->before, percent, driver_percent) > 100 * had &&
	       rate * 100 >= demand->rate * (100 + SK_DEMAND_GAIN);
}

/* The level to try next; the present one, if that is as it should be. */
static uint32_t other_level(const struct sk_demand *demand, uint32_t workers, uint64_t percent,
			    uint64_t driver_percent)
{
	uint32_t level = demand->level, next = level == SK_DEMAND_BESIDE ? 2 : 2 * level;
	uint64_t full = level == SK_DEMAND_BESIDE ? 1 : level;
	/* With 5 % to spare. */
	uint32_t needed = (uint32_t)((percent + 5 + 99) / 100);

	/* Of two workers' CPU time and the driver's, less is left when there is one. */
	if (needed == 1 && demand->driver_clock != SK_NO_CLOCK &&
	    (level > 1 || percent + driver_percent <= 95))
		needed = SK_DEMAND_BESIDE;
	if (needed < level)
		return needed;
	if (level == workers || percent_at(level, percent, driver_percent) < 93 * full)
		return level;
	return next < workers ? next : workers;
}

uint32_t sk_demand_judge(struct sk_demand *demand, uint32_t workers, uint64_t percent,
			 uint64_t driver_percent, uint64_t rate)
{
	uint32_t next;

	if (demand->trying) {
		demand->trying = false;
		if (!is_better(demand, percent, driver_percent, rate)) {
			demand->patience = demand->backoff;
			if (demand->backoff < SK_DEMAND_PATIENCE)
				demand->backoff *= 2;
			return demand->before;
		}
		demand->backoff = (demand->backoff + 1) / 2;
	}
	if (demand->patience > 0) {
		demand->patience--;
		return demand->level;
	}
	next = other_level(demand, workers, percent, driver_percent);
	demand->trying = next != demand->level;
	demand->before = demand->level;
	return next;
}

void sk_demand_look(struct sk_sched *sched, uint64_t now)
{
	struct sk_demand *demand = &sched->demand;
	uint32_t workers = sched->options.workers, level = workers;
	uint64_t elapsed, rate, cpu, driver_cpu, polls;
	struct sk_work work;

	if (workers == 1 && demand->driver_clock == SK_NO_CLOCK)
		return;
	if (++demand->looks < SK_DEMAND_LOOKS)
		return;
	work = work_of(sched);
	elapsed = now - demand->begin;
	cpu = work.cpu - demand->done.cpu;
	driver_cpu = work.driver_cpu - demand->done.driver_cpu;
	polls = work.polls - demand->done.polls;
	rate = polls * 1000000 / (elapsed / 1000 + 1);
	if (demand->begin != 0 && cpu < polls * SK_LONG_POLL_NS)
		level = sk_demand_judge(demand, workers, cpu * 100 / elapsed,
					driver_cpu * 100 / elapsed, rate);
	else
		demand->trying = false;
	set_level(demand, level);
	demand->looks = 0;
	demand->begin = now;
	demand->rate = rate;
	demand->done = work;
}

void sk_demand_reset(struct sk_sched *sched)
{
	struct sk_demand *demand = &sched->demand;

	demand->looks = 0;
	demand->begin = 0;
	demand->patience = 0;
	demand->trying = false;
	demand->backoff = 1;
	sk_store(&demand->stuck, 0, SK_RELAXED);
	set_level(demand, sched->options.workers);
}
