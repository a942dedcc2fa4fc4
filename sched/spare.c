/* spare.c - see spare.h. */
#include "sched/spare.h"

#include <stdio.h>

#include "sched/log.h"
#include "sched/sched.h"
#include "sched/worker.h"

void sk_spares_init(struct sk_spares *spares)
{
	sk_mutex_init(&spares->lock);
	spares->has_cpus = sk_thread_get_cpus(&spares->cpus) == 0;
}

void sk_spares_destroy(struct sk_spares *spares)
{
	sk_mutex_destroy(&spares->lock);
}

/* ---- Who is away, and who is active ---- */

static bool is_away(struct sk_sched *sched, uint32_t index)
{
	struct sk_worker *worker = sched->workers[index];

	if (sk_idle_is_asleep(&sched->idle, index))
		return false;
	return worker->stuck_looks >= SK_AWAY_LOOKS || sk_load(&worker->blocks, SK_RELAXED) != 0;
}

void sk_spares_count(struct sk_sched *sched)
{
	struct sk_idle *idle = &sched->idle;
	uint32_t width = sk_sched_width(sched), present = 0, active = 0;

	while (active < width && present < idle->workers)
		present += !is_away(sched, active++);
	active += idle->workers - present;
	sched->spares.all_away = present == 0;
	sk_store(&idle->active, active < idle->slots ? active : idle->slots, SK_RELAXED);
}

void sk_spares_reset(struct sk_sched *sched)
{
	sched->spares.all_away = false;
	sk_store(&sched->idle.active, sched->idle.workers, SK_RELAXED);
}

/* ---- Threads ---- */

static void spare_main(void *argument)
{
	struct sk_worker *worker = argument;
	struct sk_sched *sched = worker->sched;

	if (sched->spares.has_cpus)
		/* If that cannot be done it runs where the driver does. */
		(void)sk_thread_set_cpus(&sched->spares.cpus);
	/* Before anything gets into its queues. The one before it has begun already. */
	sk_store(&sched->width, worker->index + 1, SK_RELAXED);
	sk_worker_main(worker);
}

static int start_thread(struct sk_sched *sched, struct sk_worker *worker)
{
	struct sk_spares *spares = &sched->spares;
	uint32_t started = sk_load(&spares->started, SK_RELAXED);
	char name[16];
	int rc = 0;

	snprintf(name, sizeof name, "skua-spare-%u", started % 1000);
	sk_mutex_lock(&spares->lock);
	if (!spares->stopped) {
		rc = sk_thread_start(&worker->thread, name, spare_main, worker);
		sk_store(&spares->started, started + (rc == 0), SK_RELAXED);
	}
	sk_mutex_unlock(&spares->lock);
	return rc;
}

/* All slots are taken, and their workers are away. */
static void say_that_full(struct sk_sched *sched)
{
	struct sk_spares *spares = &sched->spares;

	if (spares->said_that_full || sched->idle.slots == sched->options.workers)
		return;
	spares->said_that_full = true;
	sk_log(SK_LOG_WARN,
	       "all %u workers and %u spare ones are stuck, and tasks wait: SKUA_SPARE_WORKERS "
	       "could be more",
	       sched->options.workers, sched->idle.slots - sched->options.workers);
}

void sk_spares_start(struct sk_sched *sched, uint64_t now)
{
	struct sk_spares *spares = &sched->spares;
	uint32_t index = sched->options.workers + sk_load(&spares->started, SK_RELAXED);
	int rc;

	if (!spares->all_away || sk_load(&sched->stranded, SK_RELAXED) == 0)
		return;
	if (index == sched->idle.slots) {
		say_that_full(sched);
		return;
	}
	/* One at a time: who has been started last may be enough. */
	if (sk_sched_width(sched) < index || now < spares->retry)
		return;
	rc = start_thread(sched, sched->workers[index]);
	if (rc == 0)
		return;
	spares->retry = now + SK_SPARE_RETRY_MS * UINT64_C(1000000);
	if (!spares->said_that_fails)
		sk_log(SK_LOG_WARN, "a spare worker cannot be started, and tasks wait: %s",
		       skua_strerror(rc));
	spares->said_that_fails = true;
}

void sk_spares_stop(struct sk_spares *spares)
{
	sk_mutex_lock(&spares->lock);
	spares->stopped = true;
	sk_mutex_unlock(&spares->lock);
}

void sk_spares_join(struct sk_sched *sched)
{
	uint32_t started = sk_load(&sched->spares.started, SK_RELAXED);

	for (uint32_t i = 0; i < started; i++)
		sk_thread_join(&sched->workers[sched->options.workers + i]->thread);
	sk_store(&sched->spares.started, 0, SK_RELAXED);
}

/* ---- Blocking in place ---- */

/* Leaves what this worker has to one that sleeps or is awake; the driver looks whether there is one. */
static void leave(struct sk_worker *worker)
{
	struct sk_sched *sched = worker->sched;

	/* So that others take the LIFO slot, and publishers go elsewhere. */
	sk_store(&worker->stuck_tick, sk_load(&worker->tick, SK_RELAXED), SK_RELAXED);
	sk_store(&worker->blocks, 1, SK_RELAXED);
	if (!sk_worker_has_backlog(worker))
		return;
	sk_fence();
	if (!sk_sched_wake_one(sched, worker->index))
		sk_store(&sched->stranded, 1, SK_RELAXED);
}

int64_t sk_block_in_place(struct sk_worker *worker, int64_t (*function)(void *argument),
			  void *argument)
{
	int64_t result;

	/* In the middle of another one. */
	if (sk_load(&worker->blocks, SK_RELAXED) != 0)
		return function(argument);
	leave(worker);
	result = function(argument);
	sk_store(&worker->blocks, 0, SK_RELAXED);
	sk_store(&worker->stuck_tick, UINT64_MAX, SK_RELAXED);
	return result;
}
