/* demand.c - see demand.h. */
#include "sched/demand.h"

#include "sched/sched.h"
#include "sched/worker.h"

void sk_demand_init(struct sk_demand *demand, uint32_t workers)
{
	sk_init(&demand->limit, workers);
	sk_init(&demand->stuck, 0);
	demand->backoff = 1;
}

static bool is_met(struct sk_sched *sched, uint32_t not_counted)
{
	uint32_t limit = sk_load(&sched->demand.limit, SK_RELAXED);
	uint32_t away = not_counted;

	if (limit >= sched->options.workers)
		return false;
	away += sk_idle_count(&sched->idle) + sk_load(&sched->demand.stuck, SK_RELAXED);
	return sched->options.workers >= limit + away;
}

bool sk_demand_is_met(struct sk_sched *sched)
{
	return is_met(sched, 0);
}

bool sk_demand_is_met_by_others(struct sk_sched *sched)
{
	return is_met(sched, 1);
}

/* What all workers have done so far. */
static struct sk_work work_of(struct sk_sched *sched)
{
	struct sk_work work = {0};

	for (uint32_t i = 0; i < sched->options.workers; i++) {
		struct sk_worker *worker = sched->workers[i];

		work.cpu += sk_cpu_time(sk_load(&worker->cpu_clock, SK_RELAXED));
		work.polls += sk_load(&worker->tick, SK_RELAXED);
	}
	return work;
}

/* Another limit than `before` has been tried for a window, in which the workers have used `percent` of
 * one CPU: whether it is better. Fewer have to get as much done, and more of them more. */
static bool is_better(struct sk_demand *demand, uint32_t limit, uint32_t before, uint64_t percent,
		      uint64_t rate)
{
	if (limit < before)
		return rate * 100 >= demand->rate * (100 - SK_DEMAND_GAIN);
	return percent > 100 * (uint64_t)before &&
	       rate * 100 >= demand->rate * (100 + SK_DEMAND_GAIN);
}

/* The limit to try next; the present one, if that is as it should be. */
static uint32_t other_limit(uint32_t limit, uint32_t workers, uint64_t percent)
{
	/* With 5 % to spare. */
	uint32_t needed = (uint32_t)((percent + 5 + 99) / 100);

	if (needed < limit)
		return needed;
	if (limit == workers || percent < 93 * (uint64_t)limit)
		return limit;
	return 2 * limit < workers ? 2 * limit : workers;
}

uint32_t sk_demand_judge(struct sk_demand *demand, uint32_t workers, uint64_t percent,
			 uint64_t rate)
{
	uint32_t limit = sk_load(&demand->limit, SK_RELAXED), before = demand->before, next;

	demand->before = 0;
	if (before != 0 && !is_better(demand, limit, before, percent, rate)) {
		demand->patience = demand->backoff;
		if (demand->backoff < SK_DEMAND_PATIENCE)
			demand->backoff *= 2;
		return before;
	}
	if (before != 0)
		demand->backoff = (demand->backoff + 1) / 2;
	if (demand->patience > 0) {
		demand->patience--;
		return limit;
	}
	next = other_limit(limit, workers, percent);
	if (next != limit)
		demand->before = limit;
	return next;
}

void sk_demand_look(struct sk_sched *sched, uint64_t now)
{
	struct sk_demand *demand = &sched->demand;
	uint32_t workers = sched->options.workers, limit = workers;
	uint64_t elapsed, rate, cpu, polls;
	struct sk_work work;

	if (workers == 1 || ++demand->looks < SK_DEMAND_LOOKS)
		return;
	work = work_of(sched);
	elapsed = now - demand->begin;
	cpu = work.cpu - demand->done.cpu;
	polls = work.polls - demand->done.polls;
	rate = polls * 1000000 / (elapsed / 1000 + 1);
	if (demand->begin != 0 && cpu < polls * SK_LONG_POLL_NS)
		limit = sk_demand_judge(demand, workers, cpu * 100 / elapsed, rate);
	sk_store(&demand->limit, limit, SK_RELAXED);
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
	demand->patience = demand->before = 0;
	demand->backoff = 1;
	sk_store(&demand->stuck, 0, SK_RELAXED);
	sk_store(&demand->limit, sched->options.workers, SK_RELAXED);
}
