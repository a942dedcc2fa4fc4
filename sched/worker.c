/* worker.c - the loop that polls tasks; see worker.h for the order and idle.h for the protocol. */
#include "sched/worker.h"

#include <errno.h>

#include "sched/backtrace.h"
#include "sched/log.h"
#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/steal.h"
#include "sched/task.h"

int sk_worker_init(struct sk_worker *worker, struct sk_sched *sched, unsigned index)
{
	int rc = sk_deque_init(&worker->deque, SK_DEQUE_INITIAL);

	if (rc < 0)
		return rc;
	worker->sched = sched;
	worker->index = index;
	worker->random = index * 2654435761u | 1u;
	worker->cpu = -1;
	/* Until the first measurement a poll is assumed to be worth a wake. */
	sk_init(&worker->mean_poll_ns, SK_WAKE_COST_NS);
	sk_init(&worker->stuck_tick, UINT64_MAX);
	sk_init(&worker->on_cpu, -1);
	sk_parker_init(&worker->parker);
	sk_timers_init(&worker->timers, worker);
	return 0;
}

void sk_worker_destroy(struct sk_worker *worker)
{
	sk_timers_destroy(&worker->timers);
	sk_parker_destroy(&worker->parker);
	sk_lanes_destroy(&worker->lanes);
	sk_deque_destroy(&worker->deque);
}

/* ---- Queueing ---- */

bool sk_worker_is_behind(struct sk_worker *worker, int64_t more)
{
	int64_t backlog = (int64_t)sk_deque_length(&worker->deque) + more;
	uint64_t ns;

	if (worker->sched->options.driver_ops == NULL || backlog <= 0)
		return backlog > 0;
	ns = (uint64_t)backlog * sk_load(&worker->mean_poll_ns, SK_RELAXED);
	return ns >= SK_WAKE_COST_NS &&
	       (ns >= SK_BACKLOG_MAX_NS || !sk_demand_is_met(worker->sched));
}

/*
 * After work was added to the own queue; if `more` is -1, one task of it runs next and does not count.
 * This worker is awake and will come to it, so a sleeper that is missed here costs time at worst, and
 * the monitor bounds that; without a monitor the full protocol is followed.
 */
static void offer(struct sk_worker *worker, int64_t more)
{
	struct sk_sched *sched = worker->sched;

	if (!sk_worker_is_behind(worker, more))
		return;
	if (sched->options.driver_ops == NULL)
		sk_fence();
	if (sk_idle_could_wake(&sched->idle))
		sk_sched_wake_one(sched, worker->index);
}

static void push_normal(struct sk_worker *worker, skua_task *task)
{
	if (!sk_deque_push(&worker->deque, task)) {
		struct sk_chain chain = {0};

		sk_chain_add(&chain, task);
		sk_inbox_push(&worker->inbox, &chain);
	}
}

/* At the end of the queue of its class. */
static void push(struct sk_worker *worker, skua_task *task)
{
	if (task->priority == SKUA_PRIORITY_NORMAL || !sk_lanes_push(&worker->lanes, task))
		push_normal(worker, task);
}

void sk_worker_push(struct sk_worker *worker, skua_task *task)
{
	push(worker, task);
}

/* In a chaos build every task that is queued goes to the next worker. */
static bool migrate(struct sk_worker *worker, skua_task *task)
{
#ifdef SK_CHAOS
	struct sk_sched *sched = worker->sched;

	if (sk_chaos_migrates()) {
		sk_sched_queue_on(sched, (worker->index + 1) % sched->options.workers, task);
		return true;
	}
#else
	(void)worker, (void)task;
#endif
	return false;
}

__attribute__((noinline)) static void queue_by_class(struct sk_worker *worker, skua_task *task)
{
	push(worker, task);
	offer(worker, (int64_t)sk_lanes_length(&worker->lanes));
}

void sk_worker_queue_last(struct sk_worker *worker, skua_task *task)
{
	if (migrate(worker, task))
		return;
	if (task->priority != SKUA_PRIORITY_NORMAL) {
		queue_by_class(worker, task);
		return;
	}
	push_normal(worker, task);
	offer(worker, 0);
}

void sk_worker_queue_hot(struct sk_worker *worker, skua_task *task)
{
	skua_task *displaced;

	if (migrate(worker, task))
		return;
	/* Woken between two polls, by a timer for example: nothing of it is in the cache. Or of another
	 * class than the slot is for. */
	if (worker->running == NULL || task->priority != SKUA_PRIORITY_NORMAL) {
		sk_worker_queue_last(worker, task);
		return;
	}
	/* Only this worker fills the slot; a thief may empty it. Release: pairs with the acquire
	 * in steal_lifo. */
	if (sk_load(&worker->lifo, SK_RELAXED) == NULL) {
		sk_store(&worker->lifo, task, SK_RELEASE);
		return;
	}
	displaced = sk_exchange(&worker->lifo, task, SK_RELEASE);
	if (displaced != NULL)
		sk_worker_queue_last(worker, displaced);
}

/* Moves what others left in the inbox to the ends of the queues. Apart, so that take_own is short. */
__attribute__((noinline)) static void empty_inbox(struct sk_worker *worker)
{
	skua_task *task = sk_inbox_take(&worker->inbox);
	bool long_polls;

	while (task != NULL) {
		skua_task *next = task->next;

		push(worker, task);
		task = next;
	}
	/* One of them runs next. If that is likely to take long, somebody else should look for events. */
	long_polls = sk_load(&worker->mean_poll_ns, SK_RELAXED) >= SK_WAKE_COST_NS;
	offer(worker, (int64_t)sk_lanes_length(&worker->lanes) - !long_polls);
}

/* ---- The list of tasks that have once been pending here ---- */

static void own(struct sk_worker *worker, skua_task *task)
{
	task->owned = true;
	task->owner = (uint16_t)worker->index;
	task->owned_previous = NULL;
	task->owned_next = worker->owned;
	if (worker->owned != NULL)
		worker->owned->owned_previous = task;
	worker->owned = task;
}

static void disown(struct sk_worker *worker, skua_task *task)
{
	if (task->owned_previous != NULL)
		task->owned_previous->owned_next = task->owned_next;
	else
		worker->owned = task->owned_next;
	if (task->owned_next != NULL)
		task->owned_next->owned_previous = task->owned_previous;
	sk_task_release(task);
}

/* Ends the life reference of a task that this worker has completed. */
static void bury(struct sk_worker *worker, skua_task *task)
{
	struct sk_worker *owner;
	skua_task *head;

	if (!task->owned) {
		sk_task_release(task);
		return;
	}
	owner = worker->sched->workers[task->owner];
	if (owner == worker) {
		disown(worker, task);
		return;
	}
	head = sk_load(&owner->dead, SK_RELAXED);
	do
		task->next = head;
	/* Release: pairs with the acquire in reap. */
	while (!sk_cas_weak(&owner->dead, &head, task, SK_RELEASE, SK_RELAXED));
}

static void reap(struct sk_worker *worker)
{
	skua_task *task;

	if (sk_load(&worker->dead, SK_RELAXED) == NULL)
		return;
	/* Acquire: pairs with the release in bury. */
	task = sk_exchange(&worker->dead, NULL, SK_ACQUIRE);
	while (task != NULL) {
		skua_task *next = task->next;

		disown(worker, task);
		task = next;
	}
}

/* ---- Running a task ---- */

/* SCHEDULED becomes RUNNING. Returns whether the task was cancelled before. */
static bool begin_poll(struct sk_worker *worker, skua_task *task)
{
	/* Acquire: pairs with the release of each wake, also of one that found the task queued
	 * already, and of the end of the poll before. Nobody learns from this that it runs. */
	uint64_t old = sk_load(&task->state, SK_ACQUIRE);

	if (sk_task_is_alone(task, old, worker->index))
		sk_store(&task->state, old ^ (SK_TASK_SCHEDULED | SK_TASK_RUNNING), SK_RELAXED);
	else
		old = sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQUIRE);
	sk_assert((old & (SK_TASK_SCHEDULED | SK_TASK_RUNNING | SK_TASK_COMPLETE)) ==
		  SK_TASK_SCHEDULED);
	sk_store(&task->last_worker, (uint16_t)worker->index, SK_RELAXED);
	return (old & SK_TASK_CANCELLED) != 0;
}

/* The task is pending: RUNNING goes. If it was woken meanwhile, it is queued again. */
static void end_poll(struct sk_worker *worker, skua_task *task)
{
	bool again;
	uint64_t old;

	if (!task->owned) {
		own(worker, task);
		sk_scope_child_waits(task);
	}
	again = task->again;
	task->again = false;
	/* Acquire: what a waker has brought that is gone again goes on to the next poll through the
	 * queue, as what this poll did. */
	old = sk_load(&task->state, SK_ACQUIRE);
	if (again)
		old |= SK_TASK_SCHEDULED;
	if (sk_task_is_alone(task, old, worker->index)) {
		sk_store(&task->state, old ^ SK_TASK_RUNNING, SK_RELAXED);
	} else {
		if (again)
			sk_fetch_or(&task->state, SK_TASK_SCHEDULED, SK_RELAXED);
		/* Release: the next poll, on any worker, sees what this one did. What comes with a
		 * wake in between is acquired by that poll. */
		old = sk_fetch_xor(&task->state, SK_TASK_RUNNING, SK_RELEASE);
	}
	if ((old & SK_TASK_SCHEDULED) != 0)
		sk_worker_queue_last(worker, task);
}

/* Polls the future, or, after its end, the scopes that the task has left open. */
static skua_poll poll_task(skua_cx *cx, skua_task *task)
{
	skua_future *future = task->future;
	skua_poll result;

	if (task->ending)
		return sk_scopes_end(cx, 0);
	result = future->ops->poll(cx, future);
	if (result != SKUA_PENDING && task->obligations != NULL)
		return sk_scopes_end(cx, result);
	return result;
}

static void run(struct sk_worker *worker, skua_task *task)
{
	struct sk_sched *sched = worker->sched;
	skua_cx cx = {
		.waker = {&sk_task_waker_ops, task},
		.task = task,
		.runtime = sched->options.runtime,
		.worker = worker,
		.budget = (int32_t)sched->options.budget,
	};
	skua_poll result;

	if (begin_poll(worker, task) && task->obligations != NULL)
		sk_scopes_cancel(task);
	if (!task->owned)
		sk_scope_child_begins(task);
	worker->running = task;
	result = poll_task(&cx, task);
	worker->running = NULL;

	if (result == SKUA_PENDING) {
		end_poll(worker, task);
		return;
	}
	sk_task_complete(task, result);
	bury(worker, task);
	sk_count(&worker->completed, 1);
	if (worker->phase != SK_PHASE_OPEN)
		sk_sched_task_ended(sched);
}

/* ---- Regular duties ---- */

/* Counts the time since the last call, and updates the mean time of a poll when there were enough. What
 * comes one by one is measured as well, over several sleeps, which do not count. */
static void measure(struct sk_worker *worker, uint64_t now)
{
	uint64_t tick = sk_load(&worker->tick, SK_RELAXED);
	uint64_t polls = tick - worker->measure_tick, mean;

	worker->awake_ns += now - worker->awake_since;
	worker->awake_since = now;
	if (polls < 8)
		return;
	mean = sk_load(&worker->mean_poll_ns, SK_RELAXED);
	sk_store(&worker->mean_poll_ns, (3 * mean + worker->awake_ns / polls) / 4, SK_RELAXED);
	worker->awake_ns = 0;
	worker->measure_tick = tick;
}

/* Notices that the runtime is being shut down. */
static void follow_phase(struct sk_worker *worker)
{
	/* Acquire: pairs with the stores of the phase in sched.c. */
	uint32_t phase = sk_load(&worker->sched->phase, SK_ACQUIRE);

	if (phase == worker->phase)
		return;
	if (worker->phase == SK_PHASE_OPEN)
		/* What they await finds out why, skua_cx_interrupt. */
		for (skua_task *task = worker->owned; task != NULL; task = task->owned_next)
			sk_task_wake(task);
	worker->phase = phase;
	/* What this worker completed before it noticed was not announced. */
	sk_sched_worker_told(worker);
}

/* ---- Looking for work ---- */

/* Whether it is time to look into the inbox. What is in it comes after all that is in the queue, so
 * it can wait for that; but tasks that yield keep the queue filled for ever. Each look takes the cache
 * line from those who publish: some 100 ns, which is a lot only if the polls are short. */
static bool inbox_is_due(struct sk_worker *worker)
{
	return sk_deque_length(&worker->deque) == 0 ||
	       sk_load(&worker->tick, SK_RELAXED) % SK_INBOX_INTERVAL == 0 ||
	       sk_load(&worker->mean_poll_ns, SK_RELAXED) >= SK_SHORT_POLL_NS;
}

/* Of the normal class, or NULL. */
static inline skua_task *take_normal(struct sk_worker *worker)
{
	skua_task *task;

	if (sk_load(&worker->lifo, SK_RELAXED) != NULL) {
		/* Acquire is not needed: this worker put it there. */
		task = sk_exchange(&worker->lifo, NULL, SK_RELAXED);
		if (task != NULL && worker->lifo_polls < SK_LIFO_LIMIT) {
			worker->lifo_polls++;
			return task;
		}
		if (task != NULL)
			push_normal(worker, task);
	}
	worker->lifo_polls = 0;
	return sk_deque_pop(&worker->deque);
}

/* Of any class, if there are lanes. Apart, so that the way without them stays as short as it was. */
__attribute__((noinline)) static skua_task *take_by_class(struct sk_worker *worker)
{
	skua_task *task = sk_lanes_take_before(&worker->lanes);

	if (task == NULL)
		task = take_normal(worker);
	return task != NULL ? task : sk_lanes_take_after(&worker->lanes);
}

/* The next task of one's own, or NULL. */
static skua_task *take_own(struct sk_worker *worker)
{
	if (inbox_is_due(worker) && !sk_inbox_empty(&worker->inbox))
		empty_inbox(worker);
	return sk_lanes_exist(&worker->lanes) ? take_by_class(worker) : take_normal(worker);
}

/* Takes over what waits behind a stuck worker, though there is work of one's own. */
static void rescue(struct sk_worker *worker)
{
	skua_task *task;

	sk_store(&worker->sched->stranded, 0, SK_RELAXED);
	task = sk_steal(worker);
	if (task != NULL)
		push(worker, task);
}

/*
 * The look at every queue after sk_idle_sleep: is there a reason not to park? For one that is spare
 * it is only what no awake worker has. That others are awake it must have seen after its own fence:
 * of two that go to sleep together, one sees the other asleep.
 */
static bool must_stay_awake(struct sk_worker *worker, bool spare)
{
	struct sk_sched *sched = worker->sched;

	if (sk_load(&sched->phase, SK_RELAXED) != worker->phase ||
	    sk_timers_have_mail(&worker->timers))
		return true;
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		if ((!spare || sk_idle_is_asleep(&sched->idle, i)) &&
		    sk_worker_has_backlog(sched->workers[i]))
			return true;
	return false;
}

/*
 * The last searcher has found something and stops searching. Publishers that saw it search have
 * woken nobody, so it looks whether there is more: something that no awake worker will come to, or
 * a backlog that is worth a wake.
 */
static void pass_on(struct sk_worker *worker)
{
	struct sk_sched *sched = worker->sched;

	sk_fence();
	for (uint32_t i = 0; i < sk_sched_width(sched); i++) {
		struct sk_worker *other = sched->workers[i];
		bool lost = sk_idle_is_asleep(&sched->idle, i) && sk_worker_has_backlog(other);

		if (lost || sk_worker_is_behind(other, sk_worker_beside_queue(other))) {
			sk_sched_wake_one(sched, i);
			return;
		}
	}
}

/* Looks at the queues for a while before sleeping, if SKUA_SPIN_US says so. */
static void spin(struct sk_worker *worker)
{
	uint32_t spin_us = worker->sched->options.spin_us;
	uint64_t until;

	if (spin_us == 0)
		return;
	until = sk_now() + (uint64_t)spin_us * 1000;
	while (!must_stay_awake(worker, false) && sk_now() < until) {
		sk_spin_hint();
		sk_thread_yield();
	}
}

/* Whether workers wait for events themselves (io/assist.h), and not only the driver. */
static bool workers_poll(const struct sk_sched *sched)
{
	const struct sk_driver_ops *ops = sched->options.driver_ops;

	return ops != NULL && ops->begin_poll != NULL;
}

/* Looks around for a while, where the driver has to bring what comes, and no longer as a searcher: it
 * looks at its own inbox only. False: in vain, or not this one's to do. */
static bool look_around(struct sk_worker *worker, bool *searching)
{
	struct sk_sched *sched = worker->sched;
	uint64_t until;

	if (sched->options.driver_ops == NULL || workers_poll(sched))
		return false;
	sk_store(&worker->on_cpu, sk_thread_cpu(), SK_RELAXED);
	if (sk_load(&sched->eventful, SK_RELAXED) == 0)
		return false;
	if (*searching && sk_idle_end_search(&sched->idle))
		pass_on(worker);
	*searching = false;
	until = sk_now() + SK_LOOK_AROUND_NS;
	for (uint32_t i = 0; i < SK_LOOKS; i++) {
		if (!sk_inbox_empty(&worker->inbox))
			return true;
		if (!sk_give_way(&worker->yielding, until))
			return false;
	}
	return false;
}

/* How long it may sleep. */
static uint64_t next_timer(struct sk_worker *worker)
{
	return sk_clock_sleep_until(&worker->sched->clock, sk_timers_next(&worker->timers));
}

/* Sleeps by waiting for events, with the right to. Returns whether it was unparked. */
static bool sleep_in_poll(struct sk_worker *worker)
{
	const struct sk_sched_options *options = &worker->sched->options;
	bool notified = true;

	sk_store(&worker->sched->idle.polling, worker->index, SK_RELAXED);
	if (sk_park_elsewhere(&worker->parker)) {
		options->driver_ops->poll(options->driver, worker, next_timer(worker));
		notified = sk_park_end(&worker->parker);
	}
	sk_store(&worker->sched->idle.polling, UINT32_MAX, SK_RELAXED);
	options->driver_ops->end_poll(options->driver);
	return notified;
}

/* Sleeps until unparked (true), or until a timer is due or there are events (false). */
static bool sleep_somewhere(struct sk_worker *worker, bool spare)
{
	const struct sk_sched_options *options = &worker->sched->options;
	enum sk_poll_right right = SK_POLL_TAKEN;

	if (!spare && workers_poll(worker->sched))
		right = options->driver_ops->begin_poll(options->driver, true);
	if (right == SK_POLL_BUSY) {
		/* In a moment it will be free, and somebody has to take it then. */
		sk_thread_yield();
		return false;
	}
	sk_count(&worker->parks, 1);
	if (right == SK_POLL_YOURS)
		return sleep_in_poll(worker);
	return sk_park(&worker->parker, next_timer(worker));
}

/* Whether others will come to all that is to be done, and wait for events. For one that rests somebody
 * has to be awake: while all sleep, one of them waits for events, and it may be this one. */
static bool is_not_needed(struct sk_worker *worker)
{
	struct sk_sched *sched = worker->sched;

	return sk_demand_is_met(sched) ||
	       (sk_idle_rests(&sched->idle, worker->index) && sk_demand_is_anybody_awake(sched));
}

/* Sleeps, unless there is work after all. Returns whether the worker comes back as a searcher. */
static bool sleep_or_not(struct sk_worker *worker, bool searching)
{
	struct sk_idle *idle = &worker->sched->idle;
	bool system_clock = sk_clock_is_system(&worker->sched->clock);
	bool parked, spare, notified = false;

	if (!system_clock)
		sk_timers_refresh(&worker->timers);
	sk_idle_sleep(idle, worker->index, searching);
	spare = is_not_needed(worker);
	parked = !must_stay_awake(worker, spare) &&
		 (system_clock || !sk_sched_jump(worker->sched, worker));
	if (parked)
		notified = sleep_somewhere(worker, spare);
	if (notified)
		return true;
	if (sk_idle_wake_self(idle, worker->index)) {
		/* There is work that only those who already search may look for: let them. */
		if (!parked && !searching)
			sk_thread_yield();
		return false;
	}
	/* Claimed at the same moment: the unpark is on its way. */
	sk_park(&worker->parker, SK_FOREVER);
	return true;
}

/* A spare worker that is no longer needed leaves its tasks to the others (spare.h). */
static void hand_over(struct sk_worker *worker)
{
	int heir = sk_worker_has_backlog(worker) ? sk_sched_heir(worker->sched) : -1;
	struct sk_chain chain = {0};
	skua_task *task;

	if (heir < 0)
		return;
	while ((task = take_own(worker)) != NULL)
		sk_chain_add(&chain, task);
	if (chain.count > 0)
		sk_sched_publish(worker->sched, (unsigned)heir, &chain);
}

/* If the last poll took long, it has ended. */
static void not_stuck(struct sk_worker *worker)
{
	if (sk_worker_is_stuck(worker))
		sk_store(&worker->stuck_tick, UINT64_MAX, SK_RELAXED);
}

/* Everything the worker does without a task of its own. Returns NULL only when it has to end. */
static skua_task *find_work(struct sk_worker *worker)
{
	struct sk_sched *sched = worker->sched;
	bool searching = false, rests;
	skua_task *task;

	measure(worker, sk_now());
	not_stuck(worker);
	for (;;) {
		reap(worker);
		follow_phase(worker);
		if (worker->phase == SK_PHASE_STOPPED)
			return NULL;
		rests = sk_idle_rests(&sched->idle, worker->index);
		if (rests)
			hand_over(worker);
		task = take_own(worker);
		if (task == NULL && !searching && !rests && !sk_demand_is_met_by_others(sched))
			searching = sk_idle_begin_search(&sched->idle);
		if (task == NULL && searching)
			task = sk_steal(worker);
		if (task != NULL)
			break;
		spin(worker);
		if (!look_around(worker, &searching)) {
			searching = sleep_or_not(worker, searching);
			sk_sched_watch(sched);
			sk_timers_fire(&worker->timers, sk_clock_now(&sched->clock));
		}
		worker->awake_since = sk_now();
	}
	if (searching && sk_idle_end_search(&sched->idle))
		pass_on(worker);
	return task;
}

/* A busy worker looks for events, too, or they would wait until it is idle; but not after each few
 * short polls, since it is a system call. */
static void look_for_events(struct sk_worker *worker, uint64_t now)
{
	const struct sk_sched_options *options = &worker->sched->options;

	if (!workers_poll(worker->sched) || now - worker->looked_at < SK_EVENT_INTERVAL_NS)
		return;
	worker->looked_at = now;
	if (options->driver_ops->begin_poll(options->driver, false) != SK_POLL_YOURS)
		return;
	options->driver_ops->poll(options->driver, worker, 0);
	options->driver_ops->end_poll(options->driver);
}

static void maintain(struct sk_worker *worker)
{
	struct sk_clock *clock = &worker->sched->clock;
	uint64_t now = sk_now();

	measure(worker, now);
	sk_timers_fire(&worker->timers, sk_clock_is_system(clock) ? now : sk_clock_time(clock));
	reap(worker);
	look_for_events(worker, now);
}

static skua_task *next_task(struct sk_worker *worker)
{
	skua_task *task;

	if (sk_load(&worker->tick, SK_RELAXED) % SK_MAINTENANCE_INTERVAL == 0)
		maintain(worker);
	if (sk_load(&worker->sched->phase, SK_RELAXED) != worker->phase)
		follow_phase(worker);
	if (worker->phase == SK_PHASE_STOPPED)
		return NULL;
	/* In the cache line of the phase. */
	if (sk_load(&worker->sched->stranded, SK_RELAXED) != 0)
		rescue(worker);
	if (sk_idle_rests(&worker->sched->idle, worker->index))
		hand_over(worker);
	task = take_own(worker);
	return task != NULL ? task : find_work(worker);
}

void sk_worker_main(void *argument)
{
	struct sk_worker *worker = argument;
	skua_task *task;

	sk_thread_local_set(worker);
	sk_store(&worker->cpu_clock, sk_thread_cpu_clock(), SK_RELAXED);
	if (worker->cpu >= 0 && sk_thread_pin(worker->cpu) < 0)
		sk_log(SKUA_LOG_WARN, "worker %u cannot be kept on CPU %d", worker->index,
		       worker->cpu);
	if (worker->sched->stalls.limit > 0)
		sk_store(&worker->address, sk_backtrace_allow(), SK_RELAXED);
	worker->awake_since = sk_now();
	sk_sched_watch(worker->sched);
	while ((task = next_task(worker)) != NULL) {
		sk_store(&worker->tick, sk_load(&worker->tick, SK_RELAXED) + 1, SK_RELAXED);
		run(worker, task);
	}
	sk_thread_local_set(NULL);
}
