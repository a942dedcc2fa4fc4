/* blocking.c - the blocking pool; see blocking.h. */
#include "sched/blocking.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "sched/blocking_room.h"
#include "sched/guard.h"
#include "sched/log.h"
#include "sched/sched.h"
#include "sched/task.h"

/* The payload of a job's task; the argument follows. */
struct job {
	_Alignas(max_align_t) int64_t (*function)(void *argument);
	const char *name; /* or NULL */
	uint64_t number;  /* in the order of all that were accepted */
	uint32_t kind;
	bool queued; /* under the lock */
};

struct sk_blocking_thread {
	struct sk_sched *sched;
	struct sk_blocking_thread *next, *previous; /* in `alive`; `next` alone in `ended` */
	sk_thread thread;

	/* The job that it runs, which is gone before this is; under the lock, but for the time. */
	const char *name; /* NULL: none */
	uint32_t kind;
	SK_ATOMIC(uint64_t) since; /* 0: it is just about to begin */
};

/* A job has no poll function; its name is for messages. */
static skua_poll job_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_panic("a blocking job was polled");
}

static const skua_future_ops job_ops = {job_poll, NULL, sizeof(skua_future), "blocking job", NULL};
static skua_future job_future = {&job_ops, 0, 0};

static struct job *job_of(const skua_task *task)
{
	return sk_task_payload((skua_task *)(uintptr_t)task);
}

const char *sk_blocking_job_name(const skua_task *task)
{
	const struct job *job = job_of(task);

	return job->name != NULL ? job->name : job_ops.name;
}

const char *sk_blocking_kind_name(unsigned kind)
{
	static const char *const names[SKUA_BLOCKING_KINDS] = {"general", "files", "names"};

	return names[kind];
}

void sk_blocking_init(struct sk_blocking *pool, const struct sk_blocking_limits *limits)
{
	memset(pool, 0, sizeof *pool);
	sk_mutex_init(&pool->lock);
	sk_cond_init(&pool->work);
	sk_cond_init(&pool->gone);
	pool->max_threads = limits->threads;
	pool->reserve = limits->threads >= SKUA_BLOCKING_KINDS;
	pool->busy = pool->reserve * SKUA_BLOCKING_KINDS;
	pool->keepalive_ns = limits->keepalive_ms * UINT64_C(1000000);
	for (uint32_t i = 0; i < SKUA_BLOCKING_KINDS; i++) {
		struct sk_blocking_kind *kind = &pool->kinds[i];
		uint32_t limit = limits->running[i];

		kind->limit = limit > 0 && limit < limits->threads ? limit : limits->threads;
		kind->places =
			limits->queued > 0 ? (uint64_t)kind->limit + limits->queued : UINT64_MAX;
	}
}

void sk_blocking_destroy(struct sk_blocking *pool)
{
	sk_cond_destroy(&pool->gone);
	sk_cond_destroy(&pool->work);
	sk_mutex_destroy(&pool->lock);
}

/* ---- The queues; all of this under the lock ---- */

static void queue_push(struct sk_blocking_kind *kind, skua_task *task)
{
	task->next = NULL;
	task->owned_previous = kind->last;
	if (kind->last != NULL)
		kind->last->next = task;
	else
		kind->first = task;
	kind->last = task;
	kind->queued++;
	job_of(task)->queued = true;
}

static void queue_remove(struct sk_blocking_kind *kind, skua_task *task)
{
	if (task->owned_previous != NULL)
		task->owned_previous->next = task->next;
	else
		kind->first = task->next;
	if (task->next != NULL)
		task->next->owned_previous = task->owned_previous;
	else
		kind->last = task->owned_previous;
	kind->queued--;
	job_of(task)->queued = false;
}

static uint32_t minimum(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Whether a job of this kind may run besides those that do. */
static bool may_run(const struct sk_blocking *pool, const struct sk_blocking_kind *kind)
{
	return kind->running < kind->limit &&
	       (kind->running < pool->reserve || pool->busy < pool->max_threads);
}

/* How many jobs are ready. */
static uint32_t count_ready(const struct sk_blocking *pool)
{
	uint32_t ready = 0, left = pool->max_threads - pool->busy;

	for (unsigned i = 0; i < SKUA_BLOCKING_KINDS; i++) {
		const struct sk_blocking_kind *kind = &pool->kinds[i];
		uint32_t jobs = minimum(kind->queued, kind->limit - kind->running);
		uint32_t kept = minimum(jobs, kind->running < pool->reserve);
		uint32_t shared = minimum(jobs - kept, left);

		left -= shared;
		ready += kept + shared;
	}
	return ready;
}

/* Takes the job that has waited longest of those that are ready, to run it. NULL: there is none. */
static skua_task *queue_pop(struct sk_blocking *pool)
{
	struct sk_blocking_kind *oldest = NULL;
	skua_task *task;

	for (unsigned i = 0; i < SKUA_BLOCKING_KINDS; i++) {
		struct sk_blocking_kind *kind = &pool->kinds[i];

		if (kind->first != NULL && may_run(pool, kind) &&
		    (oldest == NULL || job_of(kind->first)->number < job_of(oldest->first)->number))
			oldest = kind;
	}
	if (oldest == NULL)
		return NULL;
	task = oldest->first;
	queue_remove(oldest, task);
	if (oldest->running++ >= pool->reserve)
		pool->busy++;
	return task;
}

/* A job of this kind has ended that queue_pop had given. Returns whom to wake. */
static sk_waiter count_end(struct sk_blocking *pool, struct sk_blocking_kind *kind)
{
	if (--kind->running >= pool->reserve)
		pool->busy--;
	pool->completed++;
	return sk_blocking_free_place(kind);
}

/* ---- Threads come ---- */

static void thread_main(void *argument);

/* Starts one more thread. Under the lock, so that `self->thread` is set before the thread could
 * end. Returns 0, -EAGAIN, -ENOMEM. */
static int add_thread(struct sk_sched *sched)
{
	struct sk_blocking *pool = &sched->blocking;
	struct sk_blocking_thread *self = sk_malloc(sizeof *self);
	int rc;

	if (self == NULL)
		return -ENOMEM;
	memset(self, 0, sizeof *self);
	self->sched = sched;
	rc = sk_thread_start(&self->thread, "skua-blocking", thread_main, self);
	if (rc < 0) {
		sk_free(self);
		return rc;
	}
	self->next = pool->alive;
	if (self->next != NULL)
		self->next->previous = self;
	pool->alive = self;
	pool->threads++;
	pool->starting++;
	return 0;
}

/* A job is ready: sends one more thread to it, if there may be one. Under the lock.
 * Returns 0, or why a thread that was needed could not be started. */
static int send_thread(struct sk_sched *sched)
{
	struct sk_blocking *pool = &sched->blocking;

	if (pool->idle > 0) {
		pool->idle--;
		pool->promised++;
		sk_cond_signal(&pool->work);
		return 0;
	}
	return pool->threads < pool->max_threads ? add_thread(sched) : 0;
}

static uint32_t count_on_the_way(const struct sk_blocking *pool)
{
	return pool->promised + pool->starting;
}

/* By a thread that has just taken a job: sees to those that it leaves. `arrived`: it has been sent for
 * them; then the jobs before it have not ended, so they seem to block, and it sends two threads, if
 * there are jobs for both. Otherwise somebody is on the way, unless a start has failed. If one fails
 * now, this thread comes to them when its own job ends. Under the lock. */
static void send_to_the_rest(struct sk_sched *sched, bool arrived)
{
	uint32_t coming = count_on_the_way(&sched->blocking);
	uint32_t ready = count_ready(&sched->blocking);

	if (ready <= coming || (!arrived && coming > 0))
		return;
	if (send_thread(sched) == 0 && arrived && ready > coming + 1)
		(void)send_thread(sched);
}

/* ---- They work, and go ---- */

/* Ends a job that nobody else can reach any more. Not under the lock. */
static void job_end(skua_task *task, int64_t result)
{
	sk_task_complete(task, result == SKUA_PENDING ? -EINVAL : result, 0);
	sk_task_release(task);
}

/* The state word of a job that has been taken out of its queue; returns what it was. */
static uint64_t job_begin(skua_task *task)
{
	/* Relaxed: a job comes by the pool's lock, and one that was cancelled does nothing. */
	return sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_RELAXED);
}

/* Runs a job, or, if it was cancelled meanwhile, only ends it. Not under the lock. */
static void job_run(skua_task *task)
{
	struct job *job = job_of(task);
	int64_t result = -ECANCELED;

	if ((job_begin(task) & SK_TASK_CANCELLED) == 0)
		result = job->function(job + 1);
	job_end(task, result);
}

/* Waits for a job; NULL: this thread is to end. `arrived`: it has just been started. Under the lock. */
static skua_task *next_job(struct sk_sched *sched, bool arrived)
{
	struct sk_blocking *pool = &sched->blocking;
	uint64_t deadline = 0;
	bool expired = false;

	for (;;) {
		/* What is left when the pool closes is ended by who closes it. */
		skua_task *task = pool->closed ? NULL : queue_pop(pool);

		if (task != NULL)
			send_to_the_rest(sched, arrived);
		if (task != NULL || pool->closed || expired)
			return task;
		if (deadline == 0)
			deadline = sk_now() + pool->keepalive_ns;
		pool->idle++;
		while (pool->promised == 0 && !pool->closed && !expired)
			expired = !sk_cond_wait_until(&pool->work, &pool->lock, deadline);
		/* Whoever promised a job has already taken a thread out of `idle`; a busy thread may
		 * have been faster with the job itself. */
		arrived = pool->promised > 0;
		if (arrived)
			pool->promised--;
		else
			pool->idle--;
	}
}

static struct sk_blocking_thread *take_ended(struct sk_blocking *pool)
{
	struct sk_blocking_thread *ended = pool->ended;

	pool->ended = NULL;
	return ended;
}

/* Joins threads that have ended. Not under the lock. */
static void join_ended(struct sk_blocking_thread *ended)
{
	while (ended != NULL) {
		struct sk_blocking_thread *next = ended->next;

		sk_thread_join(&ended->thread);
		sk_free(ended);
		ended = next;
	}
}

/* Out of one list, into the other. Under the lock. */
static void thread_ends(struct sk_blocking *pool, struct sk_blocking_thread *self)
{
	if (self->previous != NULL)
		self->previous->next = self->next;
	else
		pool->alive = self->next;
	if (self->next != NULL)
		self->next->previous = self->previous;
	self->next = pool->ended;
	pool->ended = self;
	pool->threads--;
	sk_cond_signal(&pool->gone);
}

static void note_job(struct sk_blocking_thread *self, const skua_task *task)
{
	self->name = sk_blocking_job_name(task);
	self->kind = job_of(task)->kind;
	/* Relaxed: both by this thread, and for messages only. */
	sk_store(&self->since, 0, SK_RELAXED);
}

static void thread_main(void *argument)
{
	struct sk_blocking_thread *self = argument;
	struct sk_sched *sched = self->sched;
	struct sk_blocking *pool = &sched->blocking;
	bool arrived = true;
	sk_waiter waiter;
	skua_task *task;

	sk_thread_local_set((void *)((uintptr_t)sched | SK_JOB_THREAD));
	sk_mutex_lock(&pool->lock);
	pool->starting--;
	while ((task = next_job(sched, arrived)) != NULL) {
		note_job(self, task);
		arrived = false;
		sk_mutex_unlock(&pool->lock);
		sk_store(&self->since, sk_now_coarse(), SK_RELAXED);
		job_run(task);
		sk_mutex_lock(&pool->lock);
		self->name = NULL;
		waiter = count_end(pool, &pool->kinds[self->kind]);
		/* Who waits for the last task has closed the pool first. */
		if (pool->closed || waiter != SK_NO_WAITER || !sk_clock_is_system(&sched->clock)) {
			sk_mutex_unlock(&pool->lock);
			sk_waiter_wake(waiter);
			sk_sched_task_ended(sched);
			/* A paused clock does not jump while a job runs: it may be able to now. */
			if (!sk_clock_is_system(&sched->clock))
				sk_sched_timer_changed(sched, 0);
			sk_mutex_lock(&pool->lock);
		}
	}
	thread_ends(pool, self);
	sk_mutex_unlock(&pool->lock);
}

/* ---- Submitting ---- */

/* Accepts a job, and sees to a thread for it. Under the lock. */
static int accept(struct sk_sched *sched, skua_task *task, bool has_place)
{
	struct sk_blocking *pool = &sched->blocking;
	struct sk_blocking_kind *kind = &pool->kinds[job_of(task)->kind];
	int rc = 0;

	if (pool->closed)
		return -ESHUTDOWN;
	if (!has_place && kind->taken == kind->places) {
		kind->refused++;
		return SK_BLOCKING_FULL;
	}
	if (may_run(pool, kind) && count_on_the_way(pool) == 0)
		rc = send_thread(sched);
	/* With another thread alive the job is late, but not lost. */
	if (rc < 0 && pool->threads == 0)
		return rc;
	kind->taken += !has_place;
	job_of(task)->number = pool->spawned++;
	queue_push(kind, task);
	return 0;
}

/* The task of a job. NULL: no memory. */
static skua_task *job_new(struct sk_sched *sched, const struct sk_blocking_job *from, bool joinable)
{
	struct job *job;
	skua_task *task;

	if (from->size > UINT32_MAX / 2)
		return NULL;
	task = sk_task_new(sched, NULL, sizeof *job + from->size, joinable);
	if (task == NULL)
		return NULL;
	task->blocking = true;
	task->future = &job_future;
	job = job_of(task);
	*job = (struct job){.function = from->function, .name = from->name, .kind = from->kind};
	if (from->size > 0)
		memcpy(job + 1, from->argument, from->size);
	return task;
}

/* The place of a job that came to nothing. Not under the lock. */
static void hand_on(struct sk_blocking *pool, uint32_t kind)
{
	sk_waiter waiter;

	sk_mutex_lock(&pool->lock);
	waiter = sk_blocking_free_place(&pool->kinds[kind]);
	sk_mutex_unlock(&pool->lock);
	sk_waiter_wake(waiter);
}

static int submit(struct sk_sched *sched, skua_task *task, bool has_place, skua_task **handle)
{
	struct sk_blocking *pool = &sched->blocking;
	struct sk_blocking_thread *ended;
	int rc;

	/* Before the job can run: its end may be awaited through this. */
	if (handle != NULL)
		*handle = task;
	sk_mutex_lock(&pool->lock);
	rc = accept(sched, task, has_place);
	ended = take_ended(pool);
	sk_mutex_unlock(&pool->lock);
	join_ended(ended);
	if (rc != 0) {
		if (handle != NULL) {
			*handle = NULL;
			sk_task_release(task);
		}
		sk_task_release(task);
	}
	return rc;
}

int sk_blocking_try(struct sk_sched *sched, const struct sk_blocking_job *job, bool has_place,
		    skua_task **handle)
{
	skua_task *task = job_new(sched, job, handle != NULL);
	int rc = task != NULL ? submit(sched, task, has_place, handle) : -ENOMEM;

	if (rc < 0 && has_place)
		hand_on(&sched->blocking, job->kind);
	return rc;
}

int sk_blocking_submit(struct sk_sched *sched, const struct sk_blocking_job *job,
		       skua_task **handle)
{
	int rc = sk_blocking_try(sched, job, false, handle);

	return rc == SK_BLOCKING_FULL ? -EAGAIN : rc;
}

bool sk_blocking_is_job_thread(const struct sk_sched *sched)
{
	return (uintptr_t)sk_thread_local() == ((uintptr_t)sched | SK_JOB_THREAD);
}

/* ---- Jobs that never start ---- */

/* Ends a job that has been taken out of its queue, and counts that. Not under the lock. */
static void job_skip(struct sk_blocking *pool, skua_task *task)
{
	(void)job_begin(task);
	job_end(task, -ECANCELED);
	sk_mutex_lock(&pool->lock);
	pool->completed++;
	sk_mutex_unlock(&pool->lock);
}

void sk_blocking_withdraw(skua_task *task)
{
	struct sk_sched *sched = task->sched;
	struct sk_blocking *pool = &sched->blocking;
	struct sk_blocking_kind *kind = &pool->kinds[job_of(task)->kind];
	sk_waiter waiter = SK_NO_WAITER;
	bool queued;

	sk_mutex_lock(&pool->lock);
	queued = job_of(task)->queued;
	if (queued) {
		queue_remove(kind, task);
		waiter = sk_blocking_free_place(kind);
	}
	sk_mutex_unlock(&pool->lock);
	if (!queued)
		return;
	sk_waiter_wake(waiter);
	job_skip(pool, task);
	sk_sched_task_ended(sched);
	/* A paused clock does not jump while a job is queued: it may be able to now. */
	if (!sk_clock_is_system(&sched->clock))
		sk_sched_timer_changed(sched, 0);
}

/* ---- The end ---- */

/* Takes any job out of the queues. Under the lock. */
static skua_task *take_any(struct sk_blocking *pool)
{
	for (unsigned i = 0; i < SKUA_BLOCKING_KINDS; i++) {
		struct sk_blocking_kind *kind = &pool->kinds[i];
		skua_task *task = kind->first;

		if (task != NULL) {
			queue_remove(kind, task);
			kind->taken--;
			return task;
		}
	}
	return NULL;
}

/* Tells all who wait for a place that there will be none. Under the lock, which it lets go of. */
static void refuse_all(struct sk_blocking *pool)
{
	sk_waiter waiter;

	for (unsigned i = 0; i < SKUA_BLOCKING_KINDS; i++)
		while (sk_blocking_refuse_first(&pool->kinds[i], &waiter)) {
			sk_mutex_unlock(&pool->lock);
			sk_waiter_wake(waiter);
			sk_mutex_lock(&pool->lock);
		}
}

void sk_blocking_close(struct sk_blocking *pool)
{
	skua_task *task;

	sk_mutex_lock(&pool->lock);
	pool->closed = true;
	sk_cond_broadcast(&pool->work);
	refuse_all(pool);
	while ((task = take_any(pool)) != NULL) {
		sk_mutex_unlock(&pool->lock);
		job_skip(pool, task);
		sk_mutex_lock(&pool->lock);
	}
	sk_mutex_unlock(&pool->lock);
}

void sk_blocking_join(struct sk_blocking *pool)
{
	struct sk_blocking_thread *ended;

	sk_mutex_lock(&pool->lock);
	while (pool->threads > 0)
		sk_cond_wait(&pool->gone, &pool->lock);
	ended = take_ended(pool);
	sk_mutex_unlock(&pool->lock);
	join_ended(ended);
}

/* ---- Counters, and what goes on ---- */

void sk_blocking_stats(struct sk_blocking *pool, skua_stats *stats)
{
	sk_mutex_lock(&pool->lock);
	stats->blocking_threads = pool->threads;
	for (unsigned i = 0; i < SKUA_BLOCKING_KINDS; i++) {
		const struct sk_blocking_kind *kind = &pool->kinds[i];

		stats->blocking[i] = (skua_blocking_stats){
			.running = kind->running,
			.queued = kind->queued,
			.waiting = kind->waiting,
			.refused = kind->refused,
		};
	}
	sk_mutex_unlock(&pool->lock);
}

/* What a thread is doing. */
struct job_seen {
	const char *name;
	uint32_t kind;
	uint64_t since;
};

enum { REPORTED = 20 };

/* Stores the first jobs that run. Returns how many there are. */
static unsigned look_at_jobs(struct sk_blocking *pool, struct job_seen *seen)
{
	unsigned count = 0;

	sk_mutex_lock(&pool->lock);
	for (struct sk_blocking_thread *thread = pool->alive; thread != NULL;
	     thread = thread->next) {
		if (thread->name == NULL)
			continue;
		if (count < REPORTED)
			seen[count] = (struct job_seen){thread->name, thread->kind,
							sk_load(&thread->since, SK_RELAXED)};
		count++;
	}
	sk_mutex_unlock(&pool->lock);
	return count;
}

void sk_blocking_report(struct sk_blocking *pool)
{
	struct job_seen seen[REPORTED];
	unsigned count = look_at_jobs(pool, seen);
	uint64_t now = sk_now();

	for (unsigned i = 0; i < count && i < REPORTED; i++) {
		uint64_t ms = seen[i].since == 0 || seen[i].since > now
				      ? 0
				      : (now - seen[i].since) / 1000000;

		sk_log(SK_LOG_WARN,
		       "shutdown: %s (%s) has run for %" PRIu64
		       ".%03u s; a blocking call cannot be "
		       "ended: it is waited for",
		       seen[i].name, sk_blocking_kind_name(seen[i].kind), ms / 1000,
		       (unsigned)(ms % 1000));
	}
	if (count > REPORTED)
		sk_log(SK_LOG_WARN, "shutdown: and %u more blocking calls", count - REPORTED);
}
