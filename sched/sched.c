/* sched.c - the scheduler: ways in from outside, and the end; see sched.h. The driver's look is in
 * monitor.c. */
#include "sched/sched.h"

#include <errno.h>
#include <stdio.h>

#include "sched/guard.h"
#include "sched/report.h"
#include "sched/scope.h"
#include "sched/task.h"
#include "sched/worker.h"

/* ---- Beginning ---- */

static void free_memory(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sched->idle.slots && sched->workers != NULL; i++) {
		struct sk_worker *worker = sched->workers[i];

		if (worker != NULL && worker->sched != NULL)
			sk_worker_destroy(worker);
		sk_free_aligned(worker);
	}
	sk_free(sched->workers);
	sk_clock_destroy(&sched->clock);
	sk_spares_destroy(&sched->spares);
	sk_stalls_destroy(&sched->stalls);
	sk_cond_destroy(&sched->drained);
	sk_mutex_destroy(&sched->drain_lock);
	sk_free_aligned(sched);
}

static int make_worker(struct sk_sched *sched, uint32_t index)
{
	const struct sk_sched_options *options = &sched->options;
	struct sk_worker *worker = sk_calloc_aligned(sizeof *worker);

	sched->workers[index] = worker;
	if (worker == NULL || sk_worker_init(worker, sched, index) < 0)
		return -ENOMEM;
	if (options->cpu_count > 0)
		worker->cpu = options->cpus[index % options->cpu_count];
	return 0;
}

/* Without a driver nobody finds out who is stuck. */
static uint32_t slots_of(const struct sk_sched_options *options)
{
	uint32_t room = SK_MAX_WORKERS - options->workers;

	if (options->driver_ops == NULL)
		return options->workers;
	return options->workers + (options->spare_workers < room ? options->spare_workers : room);
}

int sk_sched_new(const struct sk_sched_options *options, struct sk_sched **out)
{
	struct sk_sched *sched = sk_calloc_aligned(sizeof *sched);
	uint32_t slots = slots_of(options);
	int rc = 0;

	if (sched == NULL)
		return -ENOMEM;
	sched->options = *options;
	sk_init(&sched->width, options->workers);
	sk_idle_init(&sched->idle, options->workers, slots);
	sk_spares_init(&sched->spares);
	sk_stalls_init(&sched->stalls, options->stall_ms);
	sk_demand_init(&sched->demand, options->workers);
	sk_clock_init(&sched->clock);
	sk_mutex_init(&sched->drain_lock);
	sk_cond_init(&sched->drained);
	sched->workers = sk_calloc(slots, sizeof(struct sk_worker *));
	if (sched->workers == NULL)
		rc = -ENOMEM;
	for (uint32_t i = 0; i < slots && rc == 0; i++)
		rc = make_worker(sched, i);
	if (rc < 0) {
		free_memory(sched);
		return rc;
	}
	/* The list is the caller's. */
	sched->options.cpus = NULL;
	sched->options.cpu_count = 0;
	sk_blocking_init(&sched->blocking, &options->blocking);
	*out = sched;
	return 0;
}

int sk_sched_start(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sched->options.workers; i++) {
		char name[16];
		int rc;

		snprintf(name, sizeof name, "skua-worker-%u", i % 1000);
		rc = sk_thread_start(&sched->workers[i]->thread, name, sk_worker_main,
				     sched->workers[i]);
		if (rc < 0)
			return rc;
		sched->started++;
	}
	return 0;
}

/* ---- Ways in ---- */

static void wake_claimed(struct sk_sched *sched, int index)
{
	if (index < 0)
		return;
	sk_fetch_add(&sched->workers[index]->wakes, 1, SK_RELAXED);
	if (sk_unpark(&sched->workers[index]->parker))
		sched->options.driver_ops->interrupt(sched->options.driver);
}

bool sk_sched_wake_one(struct sk_sched *sched, unsigned preferred)
{
	int index = sk_idle_claim(&sched->idle, preferred);

	wake_claimed(sched, index);
	return index >= 0;
}

bool sk_sched_wake_worker(struct sk_sched *sched, unsigned index)
{
	if (!sk_idle_claim_worker(&sched->idle, index))
		return false;
	wake_claimed(sched, (int)index);
	return true;
}

/* Whether a worker will come to its inbox soon. */
static bool is_at_hand(struct sk_sched *sched, unsigned index)
{
	return !sk_idle_is_asleep(&sched->idle, index) &&
	       !sk_worker_is_stuck(sched->workers[index]);
}

/* Of those that do not rest: this worker if it is awake, or else any that is, or else one that can be
 * woken. Who is stuck does not count as awake. -1: all of them are. */
static int find_worker(struct sk_sched *sched, unsigned preferred)
{
	uint32_t active = sk_load(&sched->idle.active, SK_RELAXED);
	uint32_t width = sk_sched_width(sched), workers = active < width ? active : width;

	for (uint32_t i = 0; i < workers; i++) {
		unsigned index = (preferred + i) % workers;

		if (is_at_hand(sched, index))
			return (int)index;
	}
	for (uint32_t i = 0; i < workers; i++) {
		unsigned index = (preferred + i) % workers;

		if (sk_idle_is_asleep(&sched->idle, index))
			return (int)index;
	}
	return -1;
}

/* The same, or else the preferred one, unless that is spare: it may rest. */
static unsigned choose_worker(struct sk_sched *sched, unsigned preferred)
{
	int index = find_worker(sched, preferred);

	return index >= 0 ? (unsigned)index : preferred % sched->options.workers;
}

int sk_sched_heir(struct sk_sched *sched)
{
	return find_worker(sched, 0);
}

void sk_sched_publish(struct sk_sched *sched, unsigned index, const struct sk_chain *chain)
{
	struct sk_worker *worker = sched->workers[index];
	bool first = sk_inbox_push(&worker->inbox, chain);
	bool asleep = sk_idle_sleeps(&sched->idle, index);

	/* The step of the publishing side (idle.h). If the worker is awake there is no need of it, but
	 * for those without a monitor, where nobody comes later to what that worker does not come to. */
	if (asleep || sched->options.driver_ops == NULL)
		sk_fence();
	/* The backlog of a worker is written all the time: who looks at it takes its cache lines. So
	 * only the first of those looks whose tasks the next one to empty the inbox will find, and only
	 * if somebody could be woken. */
	if (asleep || (first && sk_idle_could_wake(&sched->idle) &&
		       sk_worker_is_behind(worker, chain->count)))
		sk_sched_wake_one(sched, index);
}

void sk_sched_inject(struct sk_sched *sched, skua_task *task)
{
	unsigned preferred = sk_thread_stripe() % sched->options.workers;
	struct sk_chain chain = {0};

	sk_chain_add(&chain, task);
	sk_sched_publish(sched, choose_worker(sched, preferred), &chain);
}

#ifdef SK_CHAOS
void sk_sched_queue_on(struct sk_sched *sched, unsigned index, skua_task *task)
{
	struct sk_chain chain = {0};

	sk_chain_add(&chain, task);
	sk_sched_publish(sched, index, &chain);
}
#endif

int sk_sched_begin_spawn(struct sk_sched *sched, struct sk_spawning *spawning)
{
	struct sk_worker *worker = sk_worker_current();

	spawning->worker = worker != NULL && worker->sched == sched ? worker : NULL;
	if (spawning->worker != NULL) {
		if (!sk_sched_is_open(sched))
			return -ESHUTDOWN;
		sk_count(&worker->spawned, 1);
		return 0;
	}
	spawning->side = sk_guard_enter();
	/* Sequentially consistent: after entering, see guard.h. */
	if (sk_load(&sched->phase, SK_SEQ_CST) != SK_PHASE_OPEN) {
		sk_guard_leave(spawning->side);
		return -ESHUTDOWN;
	}
	sk_fetch_add(&sched->foreign[sk_thread_stripe() % SK_STRIPES].spawned, 1, SK_RELAXED);
	return 0;
}

void sk_sched_end_spawn(struct sk_sched *sched, const struct sk_spawning *spawning, skua_task *task)
{
	if (spawning->worker != NULL) {
		if (task != NULL)
			sk_worker_queue_hot(spawning->worker, task);
		return;
	}
	if (task != NULL)
		sk_sched_inject(sched, task);
	sk_guard_leave(spawning->side);
}

static int spawn(struct sk_sched *sched, skua_task *task, skua_task **handle)
{
	struct sk_spawning spawning;
	int rc = sk_sched_begin_spawn(sched, &spawning);

	if (rc < 0) {
		/* Nobody else has seen it. */
		if (handle != NULL)
			sk_task_release(task);
		sk_task_release(task);
		return rc;
	}
	/* Before it can run: its end may be awaited through this. */
	if (handle != NULL)
		*handle = task;
	sk_sched_end_spawn(sched, &spawning, task);
	return 0;
}

int sk_sched_spawn(struct sk_sched *sched, const skua_future *future, skua_task **handle)
{
	skua_task *task;

	if (!sk_sched_is_open(sched))
		return -ESHUTDOWN;
	task = sk_task_new(sched, future, future->ops->size, handle != NULL);
	if (task == NULL)
		return -ENOMEM;
	return spawn(sched, task, handle);
}

int sk_sched_spawn_with(struct sk_sched *sched, const skua_future *future,
			const skua_spawn_options *options, skua_task **handle)
{
	skua_task *task;

	if (!sk_sched_is_open(sched))
		return -ESHUTDOWN;
	if (options->name != NULL)
		task = sk_task_new_extended(sched, future, future->ops->size, handle != NULL);
	else
		task = sk_task_new(sched, future, future->ops->size, handle != NULL);
	if (task == NULL)
		return -ENOMEM;
	if (options->name != NULL)
		sk_task_extension(task)->name = options->name;
	task->priority = (uint8_t)options->priority;
	return spawn(sched, task, handle);
}

int sk_sched_spawn_reference(struct sk_sched *sched, skua_future *future, sk_waiter joiner,
			     skua_task **handle)
{
	skua_task *task;
	int rc;

	if (!sk_sched_is_open(sched))
		return -ESHUTDOWN;
	task = sk_task_new(sched, NULL, 0, true);
	if (task == NULL)
		return -ENOMEM;
	task->future = future;
	sk_task_hold(task);
	sk_init(&task->join, joiner);
	rc = spawn(sched, task, handle);
	/* Its joiner is still the caller's, so it must not go with the task. */
	if (rc < 0)
		sk_init(&task->join, SK_SLOT_EMPTY);
	sk_task_release(task);
	return rc;
}

/* ---- Batches ---- */

int sk_batch_init(struct sk_batch *batch, struct sk_sched *sched)
{
	batch->sched = sched;
	batch->touched_count = 0;
	batch->strays = (struct sk_chain){0};
	batch->chains = sk_calloc(sched->idle.slots, sizeof *batch->chains);
	batch->touched = sk_calloc(sched->idle.slots, sizeof *batch->touched);
	if (batch->chains != NULL && batch->touched != NULL)
		return 0;
	sk_batch_destroy(batch);
	return -ENOMEM;
}

void sk_batch_destroy(struct sk_batch *batch)
{
	sk_free(batch->chains);
	sk_free(batch->touched);
	batch->chains = NULL;
	batch->touched = NULL;
}

void sk_batch_add(struct sk_batch *batch, sk_waiter waiter)
{
	skua_task *task = sk_waiter_task(waiter);
	struct sk_chain *chain;
	uint16_t index;

	if (waiter == SK_NO_WAITER)
		return;
	if (task == NULL || task->sched != batch->sched) {
		sk_waiter_wake(waiter);
		return;
	}
	if (!sk_task_mark_and_release(task))
		return;
	index = sk_load(&task->last_worker, SK_RELAXED);
#ifdef SK_CHAOS
	if (sk_chaos_migrates())
		index = (uint16_t)((index + 1) % batch->sched->options.workers);
#endif
	chain = &batch->chains[index];
	/* Asked once for each worker: the answer takes a cache line that it writes at every poll. */
	if (chain->count == 0 && !is_at_hand(batch->sched, index)) {
		sk_chain_add(&batch->strays, task);
		return;
	}
	if (chain->count == 0)
		batch->touched[batch->touched_count++] = index;
	sk_chain_add(chain, task);
}

void sk_batch_publish(struct sk_batch *batch)
{
	struct sk_sched *sched = batch->sched;

	for (unsigned i = 0; i < batch->touched_count; i++) {
		struct sk_chain *chain = &batch->chains[batch->touched[i]];

		sk_sched_publish(sched, batch->touched[i], chain);
		*chain = (struct sk_chain){0};
	}
	batch->touched_count = 0;
	if (batch->strays.count > 0) {
		/* All to one worker, awake if there is one; if they are many, others will steal. */
		unsigned last = sk_load(&batch->strays.oldest->last_worker, SK_RELAXED);

		sk_sched_publish(sched, choose_worker(sched, last), &batch->strays);
		batch->strays = (struct sk_chain){0};
	}
}

/* ---- The end ---- */

static void wake_everybody(struct sk_sched *sched)
{
	sk_fence();
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		sk_sched_wake_worker(sched, i);
}

void sk_sched_close(struct sk_sched *sched)
{
	/* Release: pairs with the acquire in follow_phase. */
	sk_store(&sched->phase, SK_PHASE_CLOSING, SK_RELEASE);
	sk_guard_wait();
	wake_everybody(sched);
	sk_blocking_close(&sched->blocking);
}

void sk_sched_task_ended(struct sk_sched *sched)
{
	if (sk_load(&sched->phase, SK_RELAXED) == SK_PHASE_OPEN)
		return;
	sk_mutex_lock(&sched->drain_lock);
	sk_cond_signal(&sched->drained);
	sk_mutex_unlock(&sched->drain_lock);
}

/* Jobs of the blocking pool, by its own lock. */
static void count_jobs(struct sk_sched *sched, uint64_t *spawned, uint64_t *completed)
{
	sk_mutex_lock(&sched->blocking.lock);
	*spawned += sched->blocking.spawned;
	*completed += sched->blocking.completed;
	sk_mutex_unlock(&sched->blocking.lock);
}

static uint64_t count_spawned(struct sk_sched *sched)
{
	uint64_t spawned = 0;

	/* Relaxed: for everything_ended count_completed has acquired what it needs, and the spawns by
	 * other threads are known since sk_guard_wait. */
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		spawned += sk_load(&sched->workers[i]->spawned, SK_RELAXED);
	for (uint32_t i = 0; i < SK_STRIPES; i++)
		spawned += sk_load(&sched->foreign[i].spawned, SK_RELAXED);
	return spawned;
}

static uint64_t count_completed(struct sk_sched *sched)
{
	uint64_t completed = 0;

	/* Acquire: pairs with sk_count; the spawns that came before are seen by count_spawned. */
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		completed += sk_load(&sched->workers[i]->completed, SK_ACQUIRE);
	return completed;
}

static bool everything_ended(struct sk_sched *sched)
{
	uint64_t completed = 0, spawned = 0, unused = 0;

	/* First all that completed, then all that was spawned: see sched.h. */
	count_jobs(sched, &unused, &completed);
	completed += count_completed(sched);
	spawned += count_spawned(sched);
	unused = 0;
	count_jobs(sched, &spawned, &unused);
	return completed == spawned;
}

bool sk_sched_drain(struct sk_sched *sched, uint64_t deadline)
{
	bool ended;

	sk_mutex_lock(&sched->drain_lock);
	while (!(ended = everything_ended(sched)))
		if (!sk_cond_wait_until(&sched->drained, &sched->drain_lock, deadline)) {
			ended = everything_ended(sched);
			break;
		}
	sk_mutex_unlock(&sched->drain_lock);
	return ended;
}

void sk_sched_worker_told(struct sk_worker *worker)
{
	struct sk_sched *sched = worker->sched;

	sk_mutex_lock(&sched->drain_lock);
	worker->has_told = true;
	sk_cond_signal(&sched->drained);
	sk_mutex_unlock(&sched->drain_lock);
}

/* A spare worker that comes later has no list yet. */
static bool has_everybody_told(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		if (!sched->workers[i]->has_told)
			return false;
	return true;
}

bool sk_sched_wait_until_told(struct sk_sched *sched)
{
	bool waited = false;

	sk_mutex_lock(&sched->drain_lock);
	while (!has_everybody_told(sched)) {
		sk_cond_wait(&sched->drained, &sched->drain_lock);
		waited = true;
	}
	sk_mutex_unlock(&sched->drain_lock);
	return waited;
}

void sk_sched_stop(struct sk_sched *sched)
{
	/* Relaxed: sk_sched_close has been called before, by this thread, and its fence releases what
	 * was before that. (Not if a start has failed; then there is nothing to be seen.) */
	sk_store(&sched->phase, SK_PHASE_STOPPED, SK_RELAXED);
	sk_spares_stop(&sched->spares);
	wake_everybody(sched);
	sk_stalls_stop(&sched->stalls);
	for (uint32_t i = 0; i < sched->started; i++)
		sk_thread_join(&sched->workers[i]->thread);
	sched->started = 0;
	sk_spares_join(sched);
}

/* Scopes in scopes, up to which children are abandoned before their owners. */
enum { DEEPEST = 64 };

/* Tasks that have been abandoned, linked by `owned_next`; `next` may still be written by a thread
 * that queues them. */
struct remains {
	skua_task *first;
	unsigned count;
	struct sk_dropped_report report;
};

static void abandon(struct remains *remains, skua_task *task)
{
	sk_task_abandon(task);
	task->owned_next = remains->first;
	remains->first = task;
	remains->count++;
}

/* A task out of a queue: if it is in a list as well, it is left to that. */
static void abandon_queued(struct remains *remains, skua_task *task)
{
	if (task == NULL || task->owned)
		return;
	sk_report_dropped(&remains->report, task);
	abandon(remains, task);
}

static void abandon_queues(struct remains *remains, struct sk_worker *worker)
{
	skua_task *task = sk_inbox_take(&worker->inbox);

	while (task != NULL) {
		skua_task *next = task->next;

		abandon_queued(remains, task);
		task = next;
	}
	abandon_queued(remains, sk_exchange(&worker->lifo, NULL, SK_RELAXED));
	while ((task = sk_deque_pop(&worker->deque)) != NULL ||
	       (task = sk_lanes_take_after(&worker->lanes)) != NULL)
		abandon_queued(remains, task);
}

/* Of the tasks in a list those that are so deep in scopes (or deeper, at the most). */
static void abandon_owned(struct remains *remains, struct sk_worker *worker, unsigned depth)
{
	skua_task **link = &worker->owned;

	while (*link != NULL) {
		skua_task *task = *link;

		if (sk_task_is_complete(task)) {
			/* It ended on another worker, and nobody came to fetch it. Its scope may be gone. */
			*link = task->owned_next;
			task->owned_next = remains->first;
			remains->first = task;
		} else if (sk_scope_depth(task, DEEPEST) == depth) {
			*link = task->owned_next;
			abandon(remains, task);
		} else {
			link = &task->owned_next;
		}
	}
}

/* A child that waits for its turn goes with its scope. */
static void report_waiting(void *argument, skua_task *task)
{
	struct remains *remains = argument;

	sk_report_dropped(&remains->report, task);
	remains->count++;
}

static void report_owned(struct remains *remains, struct sk_worker *worker)
{
	for (skua_task *task = worker->owned; task != NULL; task = task->owned_next) {
		if (sk_task_is_complete(task))
			continue;
		sk_report_dropped(&remains->report, task);
		sk_scopes_each_waiting(task, report_waiting, remains);
	}
}

unsigned sk_sched_free(struct sk_sched *sched)
{
	struct remains remains = {0};

	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		report_owned(&remains, sched->workers[i]);
	/* First what is only in queues, then the lists: waking a joiner may queue it again, but
	 * such a joiner has been polled, so it is in a list. */
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		abandon_queues(&remains, sched->workers[i]);
	/* Children before their owners, so that a drop finds what it may use. */
	for (unsigned depth = DEEPEST + 1; depth-- > 0;)
		for (uint32_t i = 0; i < sk_sched_width(sched); i++)
			abandon_owned(&remains, sched->workers[i], depth);
	sk_report_dropped_end(&remains.report);
	sk_blocking_join(&sched->blocking);
	sk_guard_wait();
	sk_blocking_destroy(&sched->blocking);
	while (remains.first != NULL) {
		skua_task *task = remains.first;

		remains.first = task->owned_next;
		sk_task_release(task);
	}
	free_memory(sched);
	return remains.count;
}

/* ---- Counters ---- */

void sk_sched_stats(struct sk_sched *sched, skua_stats *stats)
{
	stats->workers = sched->options.workers;
	stats->spare_workers = sk_sched_width(sched) - sched->options.workers;
	stats->stalls = sk_load(&sched->stalls.count, SK_RELAXED);
	stats->completed = count_completed(sched);
	stats->spawned = count_spawned(sched);
	count_jobs(sched, &stats->spawned, &stats->completed);
	for (uint32_t i = 0; i < sk_sched_width(sched); i++) {
		struct sk_worker *worker = sched->workers[i];

		stats->polls += sk_load(&worker->tick, SK_RELAXED);
		stats->stolen += sk_load(&worker->stolen, SK_RELAXED);
		stats->parks += sk_load(&worker->parks, SK_RELAXED);
		stats->wakes += sk_load(&worker->wakes, SK_RELAXED);
		stats->io_batches += sk_load(&worker->io_batches, SK_RELAXED);
		stats->io_events += sk_load(&worker->io_events, SK_RELAXED);
	}
	sk_blocking_stats(&sched->blocking, stats);
}
