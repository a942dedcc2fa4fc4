/*
 * run.c - brings one task through its life as the case says, and compares what came of it with
 * what was predicted: its result, its clean-up, the end of its runtime, and all memory.
 */
#include "tests/lifecycle/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sched/timer.h"
#include "tests/lifecycle/memory.h"
#include "tests/lifecycle/stage.h"

#define HOUR (3600 * SKUA_SEC)

/* Everything about one case. */
struct life {
	const struct life_case *c;
	struct life_outcome outcome;
	struct stage stage;
	unsigned failures;
	int64_t memory; /* blocks, before the case */

	/* The task. */
	skua_task *_Atomic task; /* as its poll saw it: not to be touched when it may have ended */
	skua_task *handle;       /* the controller's, or NULL */
	int spawned;             /* what skua_spawn returned */
	int cancelled;           /* what skua_cancel returned */
	_Atomic unsigned polls, pendings, interrupts, inside;
	_Atomic unsigned ended, drops, releases; /* each at most 1 */
	_Atomic unsigned wrong_polls;            /* two at a time, or after the end */
	_Atomic bool cleaning;

	/* What it waits for. */
	pthread_mutex_t cell_lock;
	skua_waker cell_waker;
	unsigned cell_count;
	skua_source *source;
	int source_fd;
	bool source_awaited;
	_Atomic unsigned jobs_started, jobs_go;

	/* Those who join it. */
	skua_task *joiners[2];
	_Atomic int64_t joined[2];
	skua_task *_Atomic returned; /* the handle of a join that was given up */
	_Atomic unsigned joins_taken, joiner_drops;
};

__attribute__((format(printf, 2, 3))) static void fail(struct life *life, const char *format, ...)
{
	char name[200];
	va_list arguments;

	life_case_name(life->c, name, sizeof name);
	if (life->failures++ == 0)
		printf("# %s\n", name);
	printf("#     ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

static void expect(struct life *life, const char *what, int64_t is, int64_t should)
{
	if (is != should)
		fail(life, "%s: %lld, expected %lld", what, (long long)is, (long long)should);
}

/* ---- The task ---- */

struct subject {
	skua_future future;
	struct life *life;
	unsigned awaits;
	void *owned; /* memory, so that the clean-up is seen by the allocator as well */
	skua_task *job;
	skua_timer timer;
};

static skua_poll await_waker(skua_cx *cx, struct life *life)
{
	skua_poll result = skua_cx_interrupt(cx);
	skua_waker old;

	pthread_mutex_lock(&life->cell_lock);
	old = life->cell_waker;
	life->cell_waker = (skua_waker){NULL, NULL};
	if (result == 0 && life->cell_count > 0) {
		life->cell_count--;
	} else if (result == 0) {
		result = skua_waker_clone(skua_cx_waker(cx), &life->cell_waker);
		if (result == 0)
			result = SKUA_PENDING;
	}
	pthread_mutex_unlock(&life->cell_lock);
	skua_waker_drop(&old);
	return result;
}

/* Tries before it waits, and goes on where it waited, as a coroutine does. */
static skua_poll await_source(skua_cx *cx, struct life *life)
{
	uint64_t count;

	for (;;) {
		skua_poll ready;

		if (!life->source_awaited &&
		    read(life->source_fd, &count, sizeof count) == sizeof count)
			return 0;
		ready = skua_source_readable(cx, life->source);
		life->source_awaited = ready == SKUA_PENDING;
		if (ready != 0)
			return ready;
	}
}

static int64_t job(void *argument)
{
	struct life *life = *(struct life **)argument;
	unsigned number = atomic_fetch_add(&life->jobs_started, 1) + 1;

	while (atomic_load(&life->jobs_go) < number &&
	       sk_load(&life->stage.sched->phase, SK_ACQUIRE) == SK_PHASE_OPEN)
		usleep(50);
	return 0;
}

static skua_poll await_job(skua_cx *cx, struct subject *self)
{
	int rc;

	if (self->job == NULL) {
		rc = skua_cx_interrupt(cx);
		if (rc == 0)
			rc = skua_spawn_blocking(cx->runtime, job, &self->life, sizeof(void *),
						 &self->job);
		if (rc < 0)
			return rc;
	}
	return skua_join(cx, &self->job);
}

static skua_poll await_once(skua_cx *cx, struct subject *self)
{
	switch (self->life->c->wait) {
	case YIELD:
		return skua_yield(cx);
	case WAKER:
		return await_waker(cx, self->life);
	case TIMER:
		return skua_sleep(cx, &self->timer, HOUR);
	case SOURCE:
		return await_source(cx, self->life);
	case JOB:
		return await_job(cx, self);
	default:
		return SKUA_PENDING;
	}
}

/* Goes on from where it was. */
static skua_poll subject_step(skua_cx *cx, struct subject *self)
{
	struct life *life = self->life;
	enum program program = life->c->program;

	if (atomic_load(&life->cleaning))
		return skua_yield(cx) == SKUA_PENDING ? SKUA_PENDING : -ECANCELED;
	while (self->awaits > 0) {
		skua_poll result = await_once(cx, self);

		if (result == SKUA_PENDING)
			return SKUA_PENDING;
		if (result == -ECANCELED) {
			atomic_fetch_add(&life->interrupts, 1);
			if (program == STUBBORN || program == DROPPED)
				continue;
			if (program != CLEANS_UP)
				return result;
			atomic_store(&life->cleaning, true);
			return skua_yield(cx) == SKUA_PENDING ? SKUA_PENDING : -ECANCELED;
		}
		if (result < 0)
			return result;
		self->awaits--;
	}
	return program == ERROR || program == ERROR_AFTER_1 ? -EIO : LIFE_VALUE;
}

/* Gives back all that it owns: once, at its end or when it is dropped. */
static void subject_release(struct subject *self)
{
	struct life *life = self->life;

	if (atomic_fetch_add(&life->releases, 1) > 0)
		return;
	life_free(self->owned);
	pthread_mutex_lock(&life->cell_lock);
	skua_waker_drop(&life->cell_waker);
	pthread_mutex_unlock(&life->cell_lock);
	if (life->source != NULL)
		skua_source_close(life->source);
	if (self->job != NULL) {
		skua_cancel(self->job);
		skua_detach(&self->job);
	}
}

static skua_poll subject_poll(skua_cx *cx, skua_future *future)
{
	struct subject *self = (struct subject *)(void *)future;
	struct life *life = self->life;
	skua_poll result;

	if (atomic_fetch_add(&life->inside, 1) != 0 || atomic_load(&life->releases) != 0)
		atomic_fetch_add(&life->wrong_polls, 1);
	atomic_store(&life->task, cx->task);
	atomic_fetch_add(&life->polls, 1);
	stage_hold(&life->stage);
	result = subject_step(cx, self);
	if (result != SKUA_PENDING)
		subject_release(self);
	atomic_fetch_sub(&life->inside, 1);
	if (result == SKUA_PENDING)
		atomic_fetch_add(&life->pendings, 1);
	else
		atomic_fetch_add(&life->ended, 1);
	return result;
}

static void subject_drop(skua_future *future)
{
	struct subject *self = (struct subject *)(void *)future;

	atomic_fetch_add(&self->life->drops, 1);
	subject_release(self);
}

static const skua_future_ops subject_ops = {
	subject_poll, subject_drop, sizeof(struct subject), "subject", __FILE__,
};

static void spawn_subject(void *argument)
{
	struct life *life = argument;
	enum program program = life->c->program;
	struct subject subject = {
		.future = {&subject_ops, 0, 0},
		.life = life,
		.awaits = program == VALUE_AFTER_3               ? 3
			  : program == VALUE || program == ERROR ? 0
								 : 1,
		.owned = life_malloc(32),
	};

	life->spawned = skua_spawn(life->stage.rt, &subject.future,
				   life->c->handle == NO_HANDLE ? NULL : &life->handle);
}

/* ---- What wakes it ---- */

static void fill_cell(void *argument)
{
	struct life *life = argument;
	skua_waker waker;

	pthread_mutex_lock(&life->cell_lock);
	life->cell_count++;
	waker = life->cell_waker;
	life->cell_waker = (skua_waker){NULL, NULL};
	pthread_mutex_unlock(&life->cell_lock);
	if (waker.ops != NULL)
		skua_waker_wake(&waker);
}

/* As the driver does it for a worker that is late; deadlines of joins are later. */
static void fire_timers(void *argument)
{
	struct sk_sched *sched = ((struct life *)argument)->stage.sched;

	for (uint32_t i = 0; i < sched->options.workers; i++)
		sk_timers_fire(&sched->workers[i]->timers, sk_now() + 2 * HOUR);
}

static void wake_subject(struct life *life)
{
	uint64_t one = 1;

	switch (life->c->wait) {
	case WAKER:
		stage_act(&life->stage, fill_cell, life);
		break;
	case TIMER:
		stage_act(&life->stage, fire_timers, life);
		break;
	case SOURCE:
		if (write(life->source_fd, &one, sizeof one) != sizeof one)
			fail(life, "the source cannot be written");
		break;
	default:
		atomic_fetch_add(&life->jobs_go, 1);
	}
}

/* ---- Those who join it ---- */

struct joiner {
	skua_future future;
	struct life *life;
	int number;
	bool keeps; /* the handle is its own, not a second copy */
	skua_task *target;
	skua_timer timer;
};

static void hand_back(struct joiner *self)
{
	struct life *life = self->life;

	if (!self->keeps || self->target == NULL)
		return;
	if (atomic_exchange(&life->returned, self->target) != NULL)
		fail(life, "the handle came back twice");
	self->target = NULL;
}

static skua_poll joiner_poll(skua_cx *cx, skua_future *future)
{
	struct joiner *self = (struct joiner *)(void *)future;
	enum handle handle = self->life->c->handle;
	skua_poll result;

	if (handle == JOINED_IN_TIME || handle == JOINED_LATE) {
		uint64_t time = handle == JOINED_LATE ? 1 : 10 * HOUR;

		result = skua_timeout(cx, &self->timer, time, skua_join(cx, &self->target));
	} else {
		result = skua_join(cx, &self->target);
	}
	if (result == SKUA_PENDING)
		return result;
	if (self->target == NULL) {
		atomic_fetch_add(&self->life->joins_taken, 1);
		/* It was joined: there is nothing to join any more. */
		if (skua_join(cx, &self->target) != -EINVAL)
			fail(self->life, "a second join of the same task was possible");
	}
	hand_back(self);
	return result;
}

static void joiner_drop(skua_future *future)
{
	struct joiner *self = (struct joiner *)(void *)future;

	atomic_fetch_add(&self->life->joiner_drops, 1);
	hand_back(self);
}

static const skua_future_ops joiner_ops = {
	joiner_poll, joiner_drop, sizeof(struct joiner), "joiner", __FILE__,
};

/* The first one takes the controller's handle. */
static void start_joiner(struct life *life, int number, skua_task *target)
{
	struct joiner joiner = {
		.future = {&joiner_ops, 0, 0},
		.life = life,
		.number = number,
		.keeps = number == 0,
		.target = target,
	};

	life->handle = NULL;
	expect(life, "spawning who joins",
	       skua_spawn(life->stage.rt, &joiner.future, &life->joiners[number]), 0);
}

static void take_back_handle(struct life *life)
{
	life->handle = atomic_exchange(&life->returned, NULL);
}

static void end_joiner(struct life *life, int number, int64_t expected)
{
	expect(life, "who joins", skua_task_wait(&life->joiners[number]), expected);
}

static void await_join(struct life *life, skua_task *task)
{
	(void)life;
	STAGE_WAIT(sk_is_waiter(sk_load(&task->join, SK_ACQUIRE)));
}

/* The joins that happen while it is parked, and cannot end. */
static void join_parked(struct life *life)
{
	skua_task *task = life->handle;

	start_joiner(life, 0, task);
	switch (life->c->handle) {
	case JOINED_LATE:
		end_joiner(life, 0, -ETIMEDOUT);
		take_back_handle(life);
		break;
	case JOINED_CANCELLED:
		await_join(life, task);
		expect(life, "cancelling who joins", skua_cancel(life->joiners[0]), 0);
		end_joiner(life, 0, -ECANCELED);
		take_back_handle(life);
		break;
	default:
		await_join(life, task);
		start_joiner(life, 1, task);
		end_joiner(life, 1, -EBUSY);
	}
	if (life->c->handle == JOINED_TWICE)
		return;
	if (life->handle != task)
		fail(life, "a join that was given up kept the handle");
	if (sk_is_waiter(sk_load(&task->join, SK_ACQUIRE)))
		fail(life, "a join that was given up still waits");
}

/* The thread that waits while the others act; it serves all cases. */
static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct life *life; /* whose task it waits for */
	skua_task *task;
	bool finish;
} waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *waiter_main(void *argument)
{
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.finish) {
		struct life *life = waiter.life;

		if (life == NULL) {
			pthread_cond_wait(&waiter.changed, &waiter.lock);
			continue;
		}
		pthread_mutex_unlock(&waiter.lock);
		life->joined[0] = skua_task_wait(&waiter.task);
		pthread_mutex_lock(&waiter.lock);
		waiter.life = NULL;
		pthread_cond_broadcast(&waiter.changed);
	}
	pthread_mutex_unlock(&waiter.lock);
	return argument;
}

static void waiter_start(struct life *life)
{
	pthread_mutex_lock(&waiter.lock);
	waiter.task = life->handle;
	waiter.life = life;
	life->handle = NULL;
	pthread_cond_broadcast(&waiter.changed);
	pthread_mutex_unlock(&waiter.lock);
}

static void waiter_end(struct life *life)
{
	pthread_mutex_lock(&waiter.lock);
	while (waiter.life != NULL)
		pthread_cond_wait(&waiter.changed, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	expect(life, "the thread that waits", life->joined[0], life->outcome.result);
}

void (*life_on_runtime)(struct sk_sched *sched);

void life_begin(void)
{
	life_memory_begin();
	pthread_create(&waiter.thread, NULL, waiter_main, NULL);
}

void life_finish(void)
{
	pthread_mutex_lock(&waiter.lock);
	waiter.finish = true;
	pthread_cond_broadcast(&waiter.changed);
	pthread_mutex_unlock(&waiter.lock);
	pthread_join(waiter.thread, NULL);
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
	expect(life, "skua_runtime_free", skua_runtime_free(rt),
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
		expect(life, "skua_cancel", life->cancelled, moment == COMPLETE ? -ESRCH : 0);
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
	stage_act(&life->stage, spawn_subject, life);
	expect(life, "skua_spawn", life->spawned, 0);
	*task = life->handle;
	if (c->handle == JOINED || c->handle == JOINED_IN_TIME)
		start_joiner(life, 0, life->handle);
	else if (c->handle == WAITED_ALWAYS)
		waiter_start(life);
	if (!queued)
		return true;
	expect(life, "polls before the first", life->polls, 0);
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
	wake_subject(life);
	STAGE_WAIT((sk_load(&task->state, SK_ACQUIRE) & SK_TASK_SCHEDULED) != 0);
	expect(life, "polls while every worker is busy", life->polls, polls);
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
		STAGE_WAIT(atomic_load(&life->stage.held));
		if (!happen(life, RUNNING, task))
			return false;
		atomic_store(&life->stage.let_go, true);
	}
	if (life->outcome.passes[PARKED]) {
		unsigned before;

		STAGE_WAIT(has_parked(life, 0));
		task = atomic_load(&life->task);
		before = life->pendings;
		if (c->handle >= JOINED_LATE)
			join_parked(life);
		if (!happen(life, PARKED, task))
			return false;
		if (c->cancel == PARKED)
			STAGE_WAIT(has_parked(life, before));
		before = life->pendings;
		if (life->outcome.passes[QUEUED]) {
			if (!be_queued(life, task))
				return false;
			STAGE_WAIT(has_parked(life, before));
		}
	}
	while (c->wait >= WAKER && !is_over(life)) {
		STAGE_WAIT(has_parked(life, pendings));
		if (is_over(life))
			break;
		pendings = life->pendings;
		wake_subject(life);
	}
	STAGE_WAIT(atomic_load(&life->ended) != 0);
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

static void end_joins(struct life *life)
{
	for (int i = 0; i < 2; i++) {
		if (life->joiners[i] == NULL)
			continue;
		life->joined[i] = skua_task_wait(&life->joiners[i]);
		if (atomic_load(&life->joins_taken) > 0)
			expect(life, "the join", life->joined[i], life->outcome.result);
		else if (life->joined[i] != -ECANCELED && life->joined[i] != -ESHUTDOWN)
			fail(life, "a join that was interrupted gave %lld",
			     (long long)life->joined[i]);
	}
	if (atomic_load(&life->returned) != NULL)
		take_back_handle(life);
	if (life->c->handle >= JOINED && life->c->end == NEVER && life_is_consumed(life->c))
		expect(life, "joins with the result", life->joins_taken, 1);
	if (life->c->handle == WAITED_ALWAYS)
		waiter_end(life);
}

static void end_life(struct life *life)
{
	/* Jobs that nobody waits for any more. */
	atomic_store(&life->jobs_go, UINT32_MAX);
	if (life->stage.rt != NULL && life->handle != NULL)
		STAGE_WAIT(skua_task_finished(life->handle));
	if (life->stage.rt != NULL)
		end_joins(life);
	happen(life, COMPLETE, life->handle);
	if (life->stage.rt == NULL)
		end_joins(life);
	if (life->handle != NULL) {
		expect(life, "skua_task_finished", skua_task_finished(life->handle), 1);
		expect(life, "the result", skua_task_wait(&life->handle), life->outcome.result);
		expect(life, "a second wait", skua_task_wait(&life->handle), -EINVAL);
	}
	if (life->stage.rt != NULL) {
		STAGE_WAIT(all_ended(life));
		free_runtime(life);
	}
}

static void check(struct life *life)
{
	const struct life_outcome *outcome = &life->outcome;
	unsigned interrupts = life->interrupts;

	expect(life, "ends", life->ended, !outcome->dropped);
	expect(life, "drops", life->drops, outcome->dropped);
	expect(life, "releases of what it owns", life->releases, 1);
	expect(life, "polls that must not be", life->wrong_polls, 0);
	expect(life, "polls that have not returned", life->inside, 0);
	if (outcome->polled && life->polls == 0)
		fail(life, "it was never polled");
	if (outcome->never_polled && life->polls > 0)
		fail(life, "it was polled %u times", (unsigned)life->polls);
	if (interrupts < outcome->interrupts_min || interrupts > outcome->interrupts_max)
		fail(life, "%u interrupts, expected %u to %u", interrupts, outcome->interrupts_min,
		     outcome->interrupts_max);
	expect(life, "drops of who joins", life->joiner_drops > 1, 0);
	if (life->source != NULL && fcntl(life->source_fd, F_GETFD) != -1)
		fail(life, "its descriptor is still open");
	expect(life, "blocks of memory that are left", life_memory_alive() - life->memory, 0);
	expect(life, "blocks of memory that were freed twice", life_memory_mistakes(), 0);
}

static skua_runtime *new_runtime(const struct life_case *c, bool dropped)
{
	skua_runtime *rt = NULL;
	skua_config config;
	int rc;

	skua_config_init(&config);
	config.pinned = UINT32_MAX >> 22; /* all ten knobs */
	config.workers = life_worker_count(c);
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
		expect(&life, "skua_source_new", skua_source_new(rt, life.source_fd, &life.source),
		       0);
	}
	if (begin_life(&life, &task))
		live(&life, task);
	end_life(&life);
	check(&life);
	pthread_mutex_destroy(&life.cell_lock);
	return life.failures;
}
