/*
 * run.c - brings one task through its life as the case says, and compares what came of it with
 * what was predicted: its result, its clean-up, the end of its runtime, and all memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "tests/cases.h"
#include "tests/lifecycle/life.h"
#include "tests/lifecycle/memory.h"

static void note_on_stderr(const char *line)
{
	fprintf(stderr, "lifecycle: %s\n", line);
}

void (*life_on_note)(const char *line);

__attribute__((format(printf, 2, 3))) void life_fail(struct life *life, const char *format, ...)
{
	char name[200];
	va_list arguments;

	life_case_name(life->c, name, sizeof name);
	va_start(arguments, format);
	cases_fail(life_on_note != NULL ? life_on_note : note_on_stderr, &life->failures, name,
		   format, arguments);
	va_end(arguments);
}

void life_expect(struct life *life, const char *what, int64_t is, int64_t should)
{
	if (is != should)
		life_fail(life, "%s: %lld, expected %lld", what, (long long)is, (long long)should);
}

void (*life_on_runtime)(struct sk_sched *sched);

void life_begin(void)
{
	life_memory_begin();
	life_waiter_begin();
}

void life_finish(void)
{
	life_waiter_finish();
	life_memory_end();
}

/* ---- Moments ---- */

struct order {
	struct life *life;
	skua_task *task;
};

static void cancel_it(void *argument)
{
	struct order *order = argument;

	order->life->cancelled = skua_cancel(order->task);
}

static void detach_it(void *argument)
{
	skua_detach(&((struct order *)argument)->life->handle);
}

static void free_runtime(struct life *life)
{
	struct stage *stage = &life->stage;
	skua_runtime *rt = stage->rt;

	stage_close(stage);
	life_expect(life, "skua_runtime_free", skua_runtime_free(rt),
		    life->outcome.dropped ? -ETIMEDOUT : 0);
	stage->sched = NULL;
	if (life_on_runtime != NULL)
		life_on_runtime(NULL);
}

/* What happens at this moment; `task` is the task, who cannot have ended unless this is the last.
 * Returns whether the runtime is still there. */
static bool happen(struct life *life, enum moment moment, skua_task *task)
{
	const struct life_case *c = life->c;
	struct order order = {life, task};
	int times = c->cancel == (unsigned)moment;

	if (c->cancel == TWICE && moment == RUNNING)
		times = 2;
	if (c->cancel == TWICE && moment == PARKED && task == life->handle)
		times = 1;
	for (int i = 0; i < times; i++) {
		stage_act(&life->stage, cancel_it, &order);
		life_expect(life, "skua_cancel", life->cancelled, moment == COMPLETE ? -ESRCH : 0);
	}
	if (life_detached_at(c) == moment)
		stage_act(&life->stage, detach_it, &order);
	if (c->end != moment)
		return true;
	if (moment == PARKED && c->program == DROPPED)
		stage_occupy(&life->stage, UNTIL_STOPPED);
	free_runtime(life);
	return false;
}

static bool has_moment(const struct life_case *c, enum moment moment)
{
	return c->cancel == (unsigned)moment || life_detached_at(c) == moment || c->end == moment ||
	       (c->cancel == TWICE && moment == RUNNING);
}

/* How long it stays in its poll, or workers in others, if the runtime is freed at that moment. */
static enum stage_until until(const struct life_case *c, enum moment moment)
{
	if (c->end != moment)
		return UNTIL_RELEASED;
	return c->program == DROPPED ? UNTIL_STOPPED : UNTIL_CLOSING;
}

/* From the spawn to the first poll. Returns the task, as far as its handle is there. */
static bool begin_life(struct life *life, skua_task **task)
{
	const struct life_case *c = life->c;
	bool queued = has_moment(c, NEW);

	if (has_moment(c, RUNNING)) {
		atomic_store(&life->stage.hold_until, until(c, RUNNING));
		atomic_store(&life->stage.hold, true);
	}
	if (queued) {
		stage_occupy(&life->stage, until(c, NEW));
		stage_queue_others(&life->stage);
	}
	stage_act(&life->stage, life_spawn_subject, life);
	life_expect(life, "skua_spawn", life->spawned, 0);
	*task = life->handle;
	if (c->handle == JOINED || c->handle == JOINED_IN_TIME)
		life_start_joiner(life, 0, life->handle);
	else if (c->handle == WAITED_ALWAYS)
		life_waiter_start(life);
	if (!queued)
		return true;
	life_expect(life, "polls before the first", life->polls, 0);
	if (!happen(life, NEW, *task))
		return false;
	stage_release(&life->stage);
	return true;
}

/* It has ended, or needs nobody to end. */
static bool is_over(struct life *life)
{
	return atomic_load(&life->ended) != 0 || atomic_load(&life->cleaning);
}

/* Whether it waits to be woken, having answered PENDING more than so often; or is over. */
static bool has_parked(struct life *life, unsigned pendings)
{
	/* In this order: what answered PENDING and is not over does not end before it is woken. */
	if (atomic_load(&life->pendings) <= pendings || is_over(life))
		return is_over(life);
	if (life->c->wait == JOB && atomic_load(&life->jobs_started) <= life->jobs_go)
		return false;
	return (sk_load(&atomic_load(&life->task)->state, SK_ACQUIRE) &
		(SK_TASK_SCHEDULED | SK_TASK_RUNNING)) == 0;
}

/* Woken, and queued behind others. */
static bool be_queued(struct life *life, skua_task *task)
{
	unsigned polls = life->polls;

	stage_occupy(&life->stage, until(life->c, QUEUED));
	stage_queue_others(&life->stage);
	life_wake_subject(life);
	CASES_WAIT((sk_load(&task->state, SK_ACQUIRE) & SK_TASK_SCHEDULED) != 0);
	life_expect(life, "polls while every worker is busy", life->polls, polls);
	if (!happen(life, QUEUED, task))
		return false;
	stage_release(&life->stage);
	return true;
}

/* From the first poll to the end. Returns whether the runtime is still there. */
static bool live(struct life *life, skua_task *task)
{
	const struct life_case *c = life->c;
	unsigned pendings = 0;

	if (has_moment(c, RUNNING)) {
		CASES_WAIT(atomic_load(&life->stage.held));
		if (!happen(life, RUNNING, task))
			return false;
		atomic_store(&life->stage.let_go, true);
	}
	if (life->outcome.passes[PARKED]) {
		unsigned before;

		CASES_WAIT(has_parked(life, 0));
		task = atomic_load(&life->task);
		before = life->pendings;
		if (c->handle >= JOINED_LATE)
			life_join_parked(life);
		if (!happen(life, PARKED, task))
			return false;
		if (c->cancel == PARKED)
			CASES_WAIT(has_parked(life, before));
		before = life->pendings;
		if (life->outcome.passes[QUEUED]) {
			if (!be_queued(life, task))
				return false;
			CASES_WAIT(has_parked(life, before));
		}
	}
	while (c->wait >= WAKER && !is_over(life)) {
		CASES_WAIT(has_parked(life, pendings));
		if (is_over(life))
			break;
		pendings = life->pendings;
		life_wake_subject(life);
	}
	CASES_WAIT(atomic_load(&life->ended) != 0);
	return true;
}

/* ---- The end ---- */

/* Every task and job of the runtime has ended. */
static bool all_ended(struct life *life)
{
	skua_stats stats;

	skua_runtime_stats(life->stage.rt, &stats);
	return stats.completed == stats.spawned;
}

static void end_life(struct life *life)
{
	/* Jobs that nobody waits for any more. */
	atomic_store(&life->jobs_go, UINT32_MAX);
	if (life->stage.rt != NULL && life->handle != NULL)
		CASES_WAIT(skua_task_finished(life->handle));
	if (life->stage.rt != NULL)
		life_end_joins(life);
	happen(life, COMPLETE, life->handle);
	if (life->stage.rt == NULL)
		life_end_joins(life);
	if (life->handle != NULL) {
		life_expect(life, "skua_task_finished", skua_task_finished(life->handle), 1);
		life_expect(life, "the result", skua_task_wait(&life->handle),
			    life->outcome.result);
		life_expect(life, "a second wait", skua_task_wait(&life->handle), -EINVAL);
	}
	if (life->stage.rt != NULL) {
		CASES_WAIT(all_ended(life));
		free_runtime(life);
	}
}

static void check(struct life *life)
{
	const struct life_outcome *outcome = &life->outcome;
	unsigned interrupts = life->interrupts;

	life_expect(life, "ends", life->ended, !outcome->dropped);
	life_expect(life, "drops", life->drops, outcome->dropped);
	life_expect(life, "releases of what it owns", life->releases, 1);
	life_expect(life, "polls that must not be", life->wrong_polls, 0);
	life_expect(life, "polls that have not returned", life->inside, 0);
	if (outcome->polled && life->polls == 0)
		life_fail(life, "it was never polled");
	if (outcome->never_polled && life->polls > 0)
		life_fail(life, "it was polled %u times", (unsigned)life->polls);
	if (interrupts < outcome->interrupts_min || interrupts > outcome->interrupts_max)
		life_fail(life, "%u interrupts, expected %u to %u", interrupts,
			  outcome->interrupts_min, outcome->interrupts_max);
	life_expect(life, "drops of who joins", life->joiner_drops > 1, 0);
	if (life->source != NULL && fcntl(life->source_fd, F_GETFD) != -1)
		life_fail(life, "its descriptor is still open");
	life_expect(life, "blocks of memory that are left", life_memory_alive() - life->memory, 0);
	life_expect(life, "blocks of memory that were freed twice", life_memory_mistakes(), 0);
}

static skua_runtime *new_runtime(const struct life_case *c, bool dropped)
{
	skua_runtime *rt = NULL;
	skua_config config;
	int rc;

	skua_config_init(&config);
	config.pinned = UINT32_MAX >> 19; /* all thirteen knobs */
	config.workers = life_worker_count(c);
	/* All workers are kept busy on purpose. */
	config.spare_workers = 0;
	config.io_backend = c->backend == 0 ? SKUA_IO_BACKEND_EPOLL : SKUA_IO_BACKEND_UV;
	config.log = SKUA_LOG_OFF;
	/* What ignores its end is not waited for; the others have all the time that they need. */
	config.shutdown_ms = dropped ? 0 : 60000;
	rc = skua_runtime_new(&config, &rt);
	if (rc < 0) {
		fprintf(stderr, "lifecycle: %s\n", config.message);
		abort();
	}
	return rt;
}

unsigned life_run(const struct life_case *c)
{
	struct life life = {.c = c, .cell_lock = PTHREAD_MUTEX_INITIALIZER};
	skua_runtime *rt;
	skua_task *task;

	life_predict(c, &life.outcome);
	life.memory = life_memory_alive();
	rt = new_runtime(c, life.outcome.dropped);
	if (life_on_runtime != NULL)
		life_on_runtime(rt->head.sched);
	stage_open(&life.stage, c, rt);
	if (c->wait == SOURCE) {
		life.source_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		life_expect(&life, "skua_source_new",
			    skua_source_new(rt, life.source_fd, &life.source), 0);
	}
	if (begin_life(&life, &task))
		live(&life, task);
	end_life(&life);
	check(&life);
	pthread_mutex_destroy(&life.cell_lock);
	return life.failures;
}
