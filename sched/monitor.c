/* monitor.c - the driver's regular look at the workers: what gets late with one that is stuck in a poll, or
 * busy, is done here or left to another; see sk_sched_monitor. */
#include "sched/sched.h"
#include "sched/worker.h"

enum {
	QUIET_LOOKS = 5,    /* after so many without anybody awake the driver stops looking */
	REAP_INTERVAL = 25, /* looks between two checks for dead tasks of sleeping workers */
	MANY_POLLS = 8,     /* between two looks: such polls are short */
	LATE_NS = 1000000,  /* a timer that is due for so long is fired by the driver */
};

void sk_sched_watch(struct sk_sched *sched)
{
	const struct sk_driver_ops *ops = sched->options.driver_ops;

	if (ops == NULL)
		return;
	/* This worker's sleeper bit was cleared before; see the end of sk_sched_monitor. */
	sk_fence();
	if (sk_load(&sched->monitoring, SK_RELAXED) == 0 &&
	    sk_exchange(&sched->monitoring, 1, SK_RELAXED) == 0)
		ops->watch(sched->options.driver);
}

/* The worker has polled since the last look. If its polls have become longer than it thinks, its
 * backlog may be worth a wake: time / polls is the most that they can have taken. */
static void check_estimate(struct sk_sched *sched, struct sk_worker *worker, uint64_t polls,
			   uint64_t elapsed)
{
	int64_t more = sk_worker_beside_queue(worker);
	uint64_t backlog = sk_deque_length(&worker->deque) + (uint64_t)more;
	uint64_t longest = elapsed / polls;

	if (backlog * longest < SK_WAKE_COST_NS)
		return;
	if (longest > 2 * sk_load(&worker->mean_poll_ns, SK_RELAXED))
		sk_store(&worker->mean_poll_ns, longest, SK_RELAXED);
	if (sk_idle_could_wake(&sched->idle) && sk_worker_is_behind(worker, more))
		sk_sched_wake_one(sched, worker->index);
}

/* What came by post has gone into the wheel: if the worker has gone to sleep meanwhile, it did not see it. */
static void fire_for(struct sk_sched *sched, struct sk_worker *worker, uint64_t time)
{
	bool earlier = false;

	sk_timers_visit(&worker->timers, time, &earlier);
	if (earlier)
		sk_sched_timer_changed(sched, worker->index);
}

/* One worker that is awake. Returns whether it is stuck. */
static bool help(struct sk_sched *sched, struct sk_worker *worker, uint64_t tick, uint64_t elapsed)
{
	uint64_t polls = tick - worker->monitor_tick, time = sk_clock_now(&sched->clock);

	/* A worker comes to its mail by itself, if it does not poll for long. */
	if (sk_timers_next(&worker->timers) < time - LATE_NS ||
	    (polls < SK_MAINTENANCE_INTERVAL && sk_timers_have_mail(&worker->timers)))
		fire_for(sched, worker, time);
	if (polls > 0) {
		check_estimate(sched, worker, polls, elapsed);
		return false;
	}
	/* It has been in the same poll since the last look. */
	sk_store(&worker->stuck_tick, tick, SK_RELAXED);
	fire_for(sched, worker, time);
	if (!sk_worker_has_backlog(worker))
		return true;
	sk_fence();
	if (!sk_sched_wake_one(sched, worker->index))
		sk_store(&sched->stranded, 1, SK_RELAXED);
	return true;
}

/* How long each has been in the same poll. */
static void count_stuck_looks(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sk_sched_width(sched); i++) {
		struct sk_worker *worker = sched->workers[i];
		bool stuck = sk_load(&worker->tick, SK_RELAXED) == worker->monitor_tick &&
			     !sk_idle_is_asleep(&sched->idle, i);

		worker->stuck_looks = stuck ? worker->stuck_looks + 1 : 0;
	}
}

/* A sleeping worker does not give back the memory of its tasks that ended elsewhere, nor that of its
 * timers that were disarmed there. */
static void reap_sleeper(struct sk_sched *sched, unsigned index)
{
	struct sk_worker *worker = sched->workers[index];

	if (sk_load(&worker->dead, SK_RELAXED) != NULL || sk_timers_have_mail(&worker->timers))
		sk_sched_wake_worker(sched, index);
}

void sk_sched_events_waited(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sk_sched_width(sched); i++) {
		struct sk_worker *worker = sched->workers[i];

		if (!sk_idle_is_asleep(&sched->idle, i) &&
		    sk_load(&worker->tick, SK_RELAXED) - worker->monitor_tick >= MANY_POLLS)
			return;
	}
	/* A sleeper that is missed without a fence comes at the next look. */
	if (sk_idle_could_wake(&sched->idle))
		sk_sched_wake_one(sched, 0);
}

bool sk_sched_monitor(struct sk_sched *sched)
{
	uint64_t now = sk_now(), elapsed = now - sched->monitor_time;
	bool all_asleep = true, reap;
	uint64_t most = 0;
	uint32_t stuck = 0;

	sched->monitor_time = now;
	sk_stalls_look_came(sched, elapsed);
	/* The first look after a pause. */
	if (elapsed > 4 * SK_MONITOR_MS * UINT64_C(1000000))
		elapsed = SK_MONITOR_MS * UINT64_C(1000000);
	reap = ++sched->monitor_looks % REAP_INTERVAL == 0 ||
	       sched->monitor_quiet == QUIET_LOOKS - 1;
	count_stuck_looks(sched);
	sk_spares_count(sched);
	for (uint32_t i = 0; i < sk_sched_width(sched); i++) {
		struct sk_worker *worker = sched->workers[i];
		uint64_t tick = sk_load(&worker->tick, SK_RELAXED);

		/* One that sleeps has worked meanwhile. */
		all_asleep = all_asleep && tick == worker->monitor_tick;
		if (tick - worker->monitor_tick > most) {
			most = tick - worker->monitor_tick;
			sched->demand.cpu = sk_load(&worker->on_cpu, SK_RELAXED);
		}
		if (!sk_idle_is_asleep(&sched->idle, i)) {
			all_asleep = false;
			stuck += help(sched, worker, tick, elapsed);
		} else if (reap) {
			reap_sleeper(sched, i);
		}
		sk_stall_look(sched, worker, tick, now);
		worker->monitor_tick = tick;
	}
	sk_store(&sched->demand.stuck, stuck, SK_RELAXED);
	sk_spares_start(sched, now);
	sk_demand_look(sched, now);
	sched->monitor_quiet = all_asleep ? sched->monitor_quiet + 1 : 0;
	if (sched->monitor_quiet < QUIET_LOOKS)
		return true;
	sched->monitor_quiet = 0;
	sk_demand_reset(sched);
	sk_spares_reset(sched);
	sk_stalls_pause(sched);
	/* Between giving up and looking once more there is a fence, and between the clearing of a
	 * sleeper's bit and its look at `monitoring`, too (sk_sched_watch). The bit may have been
	 * cleared by who woke the worker, which happened before that fence: that it counts for the
	 * fence all the same is what C++20 says (P0668), and what all processors do; C11 wants the
	 * clearing to be the worker's own. */
	sk_exchange(&sched->monitoring, 0, SK_RELAXED);
	sk_fence();
	if (sk_idle_count(&sched->idle) == sk_sched_width(sched))
		return false;
	return sk_exchange(&sched->monitoring, 1, SK_RELAXED) == 0;
}
