/*
 * trial.c - one run of a scenario: where its probe is polled, who waits for it, and what must hold
 * when it has ended.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "runtime/runtime.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/cancel/cancel.h"
#include "tests/cases.h"
#include "tests/io_kinds.h"

/* ---- Complaints ---- */

void trial_name(const struct trial *trial, char *name, size_t size)
{
	int length = snprintf(name, size, "%s/%s", trial->scenario->name, io_name(trial->kind));

	if (length > 0 && (size_t)length < size)
		snprintf(name + length, size - (size_t)length, "/%s/%d%s", trial->way->name,
			 (int)trial->target, trial->alone ? "/alone" : "");
}

void trial_fail(struct trial *trial, const char *format, ...)
{
	char name[200];
	va_list arguments;

	trial_name(trial, name, sizeof name);
	va_start(arguments, format);
	cases_fail(cases_note, &trial->failures, name, format, arguments);
	va_end(arguments);
}

void trial_expect(struct trial *trial, const char *what, int64_t is, int64_t should)
{
	if (is != should)
		trial_fail(trial, "%s: %lld, expected %lld", what, (long long)is,
			   (long long)should);
}

/* ---- The runtime ---- */

skua_runtime *trial_runtime(uint32_t workers, uint32_t kind)
{
	skua_runtime *rt = NULL;
	skua_config config;

	skua_config_init(&config);
	config.pinned = UINT32_MAX >> 16; /* all knobs */
	config.workers = workers;
	config.spare_workers = 0;
	config.log = SKUA_LOG_ERROR;
	config.shutdown_ms = 60000;
	/* Of the lookups one runs and one waits. */
	config.max_blocking = 4;
	config.blocking_names = 1;
	config.blocking_queue = 1;
	io_configure(&config, kind);
	if (skua_runtime_new(&config, &rt) < 0) {
		fprintf(stderr, "cancel: %s\n", config.message);
		abort();
	}
	if (skua_clock_pause(rt) < 0)
		abort();
	return rt;
}

/* ---- Under a foreign executor: the controller's own thread ---- */

/* While it is parked, the clock may jump; whoever wakes it ends that, so no time passes between the
 * wake and the poll. */
struct executor {
	struct sk_sched *sched;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool woken, parked, jumps;
	_Atomic int references;
};

static void *executor_clone(void *data)
{
	atomic_fetch_add(&((struct executor *)data)->references, 1);
	return data;
}

static void executor_wake_by_ref(void *data)
{
	struct executor *executor = data;

	pthread_mutex_lock(&executor->lock);
	if (executor->parked && executor->jumps)
		sk_clock_end_wait();
	executor->parked = false;
	executor->woken = true;
	pthread_cond_signal(&executor->changed);
	pthread_mutex_unlock(&executor->lock);
}

static void executor_drop(void *data)
{
	atomic_fetch_sub(&((struct executor *)data)->references, 1);
}

static void executor_wake(void *data)
{
	executor_wake_by_ref(data);
	executor_drop(data);
}

static const skua_waker_ops executor_ops = {executor_clone, executor_wake, executor_wake_by_ref,
					    executor_drop};

static void executor_park(struct executor *executor)
{
	bool parked;

	pthread_mutex_lock(&executor->lock);
	parked = executor->parked = !executor->woken;
	if (parked && executor->jumps)
		sk_clock_begin_wait();
	pthread_mutex_unlock(&executor->lock);
	if (parked && executor->jumps)
		sk_sched_timer_changed(executor->sched, 0);
	pthread_mutex_lock(&executor->lock);
	while (!executor->woken)
		pthread_cond_wait(&executor->changed, &executor->lock);
	executor->woken = false;
	pthread_mutex_unlock(&executor->lock);
}

static bool jumps(const struct trial *trial)
{
	return (trial->scenario->flags & WITH_IO) == 0;
}

static void run_foreign(struct trial *trial, struct probe *probe)
{
	struct executor executor = {.sched = trial->rt->head.sched,
				    .lock = PTHREAD_MUTEX_INITIALIZER,
				    .changed = PTHREAD_COND_INITIALIZER,
				    .jumps = jumps(trial)};
	skua_waker waker = {&executor_ops, &executor};
	skua_cx cx;

	skua_cx_init(&cx, trial->rt, &waker);
	while (skua_poll_future(&cx, &probe->future) == SKUA_PENDING)
		executor_park(&executor);
	if (trial->scenario->release != NULL)
		trial->scenario->release(trial);
	if (cx.due != 0 || cx.shields != 0 || cx.interrupts != NULL)
		trial_fail(trial, "the context is not as new");
	CASES_WAIT(atomic_load(&executor.references) == 0);
	/* Who wakes it gives its reference up inside of the lock's scope, or after it. */
	pthread_mutex_lock(&executor.lock);
	pthread_mutex_unlock(&executor.lock);
}

/* ---- As a task, or in scopes ---- */

struct parent {
	skua_coro co;
	struct trial *trial;
	skua_scope *scope;
	int depth;
	int64_t rc;
};

static const skua_future_ops parent_ops;

static int64_t have_child(skua_cx *cx, struct parent *self)
{
	struct trial *trial = self->trial;
	struct parent child = {.co = SKUA_CORO_INIT(parent), .trial = trial, .depth = 1};
	struct probe probe;
	int64_t rc;

	if (trial->owner == NULL)
		trial->owner = cx->task;
	rc = skua_scope_new(cx, NULL, &self->scope);
	trial_expect(trial, "skua_scope_new", rc, 0);
	if (self->depth > 1)
		return skua_scope_spawn(cx, self->scope, &child.co, NULL);
	trial->scope = self->scope;
	probe = probe_of(trial);
	return skua_scope_spawn(cx, self->scope, &probe.future, NULL);
}

static skua_poll parent(skua_cx *cx, struct parent *self)
{
	SKUA_BEGIN(self);
	self->rc = have_child(cx, self);
	trial_expect(self->trial, "spawning into a scope", self->rc, 0);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(parent, struct parent);

static void spawn(struct trial *trial)
{
	struct parent parent = {.co = SKUA_CORO_INIT(parent), .trial = trial};
	struct probe probe;
	int rc;

	if (trial->way->place == AS_A_TASK) {
		probe = probe_of(trial);
		rc = skua_spawn(trial->rt, &probe.future, &trial->root);
	} else {
		parent.depth = trial->way->place == AS_A_GRANDCHILD ? 2 : 1;
		rc = skua_spawn(trial->rt, &parent.co, &trial->root);
	}
	trial_expect(trial, "skua_spawn", rc, 0);
}

static void free_runtime(struct trial *trial)
{
	skua_runtime *rt = trial->rt;

	if (trial->scenario->release != NULL)
		trial->scenario->release(trial);
	trial_expect(trial, "skua_runtime_free", skua_runtime_free(rt), 0);
	trial->rt = NULL;
}

static void run_on_workers(struct trial *trial)
{
	int64_t result;

	/* Before anything sleeps: the clock jumps only for somebody who waits. */
	if (jumps(trial))
		sk_clock_begin_wait();
	spawn(trial);
	pthread_mutex_lock(&trial->lock);
	while (!trial->is_over && !trial->wants_shutdown)
		pthread_cond_wait(&trial->changed, &trial->lock);
	pthread_mutex_unlock(&trial->lock);
	if (trial->wants_shutdown)
		free_runtime(trial);
	else if (trial->scenario->release != NULL)
		trial->scenario->release(trial);
	if (jumps(trial))
		sk_clock_end_wait();
	CASES_WAIT(skua_task_finished(trial->root));
	CASES_WAIT(atomic_load(&trial->actor_done));
	result = skua_task_wait(&trial->root);
	if (trial->way->place == AS_A_TASK)
		trial_expect(trial, "the result of the task", result, trial->outcome);
}

/* ---- What must hold ---- */

/* What the whole gives, from what the subject gave. */
static int64_t outcome_of(const struct trial *trial)
{
	bool told = trial->told_in_body + trial->told_late > 0 && trial->result == -ECANCELED;

	switch (trial->way->around) {
	case DEADLINE_AROUND:
		return told ? -ETIMEDOUT : trial->result;
	case TOKEN_AROUND:
		return told ? -EINTR : trial->result;
	case SELECT_AROUND:
		return trial->requests > 0;
	default:
		return trial->result;
	}
}

static void check(struct trial *trial)
{
	bool may_be_late = trial->way->races || trial->awaits < trial->target + trial->way->delay;
	unsigned told = trial->told_in_body + trial->told_late;
	unsigned least = may_be_late ? 0 : trial->requests;
	int64_t result = trial->result;

	if (told < least || told > trial->requests)
		trial_fail(trial, "told %u times, but asked %u times", told, trial->requests);
	/* One ns is the deadline's. */
	if (trial->told_in_body > 0 && !trial->way->races &&
	    (trial->scenario->flags & TAKES_TIME) == 0 && trial->over_at > trial->requested_at + 1)
		trial_fail(trial, "it took %llu ns to end",
			   (unsigned long long)(trial->over_at - trial->requested_at));
	trial_expect(trial, "ends of the patient", trial->ends, 1);
	trial_expect(trial, "clean-ups", trial->cleanups, 1);
	trial_expect(trial, "the outcome", trial->outcome, outcome_of(trial));
	/* Who has not been told may have found a scope cancelled, or the runtime closed. */
	if (trial->told_in_body == 0 &&
	    (trial->requests == 0 || (result != -ECANCELED && result != -ESHUTDOWN)))
		trial_expect(trial, "the result", result, trial->scenario->result);
}

static bool all_ended(struct trial *trial)
{
	skua_stats stats;

	skua_runtime_stats(trial->rt, &stats);
	return stats.completed == stats.spawned;
}

/* Whether nothing is armed with this worker. It has to look at its mail first. */
static bool has_no_timers(struct sk_worker *worker)
{
	struct sk_timers *timers = &worker->timers;
	bool none;

	if (sk_timers_have_mail(timers)) {
		sk_sched_timer_changed(worker->sched, worker->index);
		return false;
	}
	if (!sk_bias_try_take(&timers->bias))
		return false;
	none = timers->wheel.due.first == NULL;
	for (unsigned i = 0; i < SK_WHEEL_LEVELS; i++)
		none = none && timers->wheel.used[i] == 0;
	sk_bias_give_back(&timers->bias);
	return none;
}

static void settle(struct trial *trial)
{
	struct sk_sched *sched = trial->rt->head.sched;

	/* Detached tasks may sleep. */
	sk_clock_begin_wait();
	sk_sched_clock_changed(sched);
	CASES_WAIT(all_ended(trial));
	sk_clock_end_wait();
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		for (unsigned turn = 0; !has_no_timers(sched->workers[i]); turn++) {
			usleep(20);
			if (turn == 200000) {
				trial_fail(trial, "a timer is left with worker %u", i);
				break;
			}
		}
}

int trial_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 96; fd++)
		count += fcntl(fd, F_GETFD) != -1;
	return count;
}

/* ---- The whole ---- */

static void begin(struct trial *trial)
{
	skua_future *subject = calloc(1, trial->scenario->ops->size);

	pthread_mutex_init(&trial->lock, NULL);
	pthread_cond_init(&trial->changed, NULL);
	for (unsigned i = 0; i < sizeof trial->fds / sizeof trial->fds[0]; i++)
		trial->fds[i] = -1;
	atomic_store(&trial->actor_done, true);
	subject->ops = trial->scenario->ops;
	((struct { SUBJECT; } *)(void *)subject)->trial = trial;
	trial->subject = subject;
	if (skua_token_new(NULL, &trial->parent) < 0 ||
	    skua_token_new(trial->parent, &trial->token) < 0)
		abort();
	if (trial->scenario->begin != NULL)
		trial->scenario->begin(trial);
}

void trial_run(struct trial *trial)
{
	struct probe probe;

	begin(trial);
	if (trial->way->place == UNDER_A_FOREIGN_EXECUTOR) {
		probe = probe_of(trial);
		run_foreign(trial, &probe);
	} else {
		run_on_workers(trial);
	}
	check(trial);
	if (trial->scenario->after != NULL)
		trial->scenario->after(trial);
	skua_token_release(trial->token);
	skua_token_release(trial->parent);
	if (trial->rt != NULL)
		settle(trial);
	free(trial->subject);
	pthread_cond_destroy(&trial->changed);
	pthread_mutex_destroy(&trial->lock);
}

bool trial_is_possible(const struct scenario *scenario, const struct way *way)
{
	return way->place != UNDER_A_FOREIGN_EXECUTOR || (scenario->flags & NOT_FOREIGN) == 0;
}
