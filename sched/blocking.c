/* blocking.c - the blocking pool; see blocking.h. */
#include "sched/blocking.h"

#include <errno.h>
#include <string.h>

#include "sched/guard.h"
#include "sched/sched.h"
#include "sched/task.h"

/* The payload of a job's task; the argument follows. */
struct job {
	_Alignas(max_align_t) int64_t (*function)(void *argument);
};

struct sk_blocking_thread {
	struct sk_sched *sched;
	struct sk_blocking_thread *next; /* in `ended` */
	sk_thread thread;
};

/* A job has no poll function; its name is for messages. */
static skua_poll job_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	sk_panic("a blocking job was polled");
}

static const skua_future_ops job_ops = {job_poll, NULL, sizeof(skua_future), "blocking job", NULL};
static skua_future job_future = {&job_ops, 0, 0};

void sk_blocking_init(struct sk_blocking *pool, uint32_t max_threads, uint64_t keepalive_ns)
{
	memset(pool, 0, sizeof *pool);
	sk_mutex_init(&pool->lock);
	sk_cond_init(&pool->work);
	sk_cond_init(&pool->gone);
	pool->max_threads = max_threads;
	pool->keepalive_ns = keepalive_ns;
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
	self->sched = sched;
	rc = sk_thread_start(&self->thread, "skua-blocking", thread_main, self);
	if (rc < 0) {
		sk_free(self);
		return rc;
	}
	pool->threads++;
	pool->starting++;
	return 0;
}

/* There is a job in the queue: sends one more thread to it, if there may be one. Under the lock.
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

static bool is_anybody_on_the_way(const struct sk_blocking *pool)
{
	return pool->promised + pool->starting > 0;
}

/* By a thread that has just taken a job: sees to those that it leaves in the queue. `arrived`: it has
 * been sent for them; then the jobs before it have not ended, so they seem to block, and it sends two
 * threads. Otherwise somebody is on the way, unless a start has failed. If one fails now, this thread
 * comes to them when its own job ends. Under the lock. */
static void send_to_the_rest(struct sk_sched *sched, bool arrived)
{
	struct sk_blocking *pool = &sched->blocking;

	if (pool->first == NULL || (!arrived && is_anybody_on_the_way(pool)))
		return;
	if (send_thread(sched) == 0 && arrived && pool->first != pool->last)
		(void)send_thread(sched);
}

/* ---- They work, and go ---- */

static skua_task *queue_pop(struct sk_blocking *pool)
{
	skua_task *task = pool->first;

	if (task != NULL) {
		pool->first = task->next;
		if (pool->first == NULL)
			pool->last = NULL;
	}
	return task;
}

/* Runs a job, or, if it was cancelled in the queue, only ends it. Not under the lock. */
static void job_run(skua_task *task)
{
	struct job *job = sk_task_payload(task);
	int64_t result = -ECANCELED;
	/* Relaxed: a job comes by the pool's lock, and one that was cancelled does nothing. */
	uint64_t old = sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_RELAXED);

	if ((old & SK_TASK_CANCELLED) == 0)
		result = job->function(job + 1);
	sk_task_complete(task, result == SKUA_PENDING ? -EINVAL : result);
	sk_task_release(task);
}

/* Waits for a job; NULL: this thread is to end. `arrived`: it has just been started. Under the lock. */
static skua_task *next_job(struct sk_sched *sched, bool arrived)
{
	struct sk_blocking *pool = &sched->blocking;
	uint64_t deadline = 0;
	bool expired = false;

	for (;;) {
		skua_task *task = queue_pop(pool);

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

static void thread_main(void *argument)
{
	struct sk_blocking_thread *self = argument;
	struct sk_sched *sched = self->sched;
	struct sk_blocking *pool = &sched->blocking;
	bool arrived = true;
	skua_task *task;

	sk_thread_local_set((void *)((uintptr_t)sched | SK_JOB_THREAD));
	sk_mutex_lock(&pool->lock);
	pool->starting--;
	while ((task = next_job(sched, arrived)) != NULL) {
		arrived = false;
		sk_mutex_unlock(&pool->lock);
		job_run(task);
		sk_mutex_lock(&pool->lock);
		pool->completed++;
		/* Who waits for the last task has closed the pool first. */
		if (pool->closed) {
			sk_mutex_unlock(&pool->lock);
			sk_sched_task_ended(sched);
			sk_mutex_lock(&pool->lock);
		}
	}
	pool->threads--;
	self->next = pool->ended;
	pool->ended = self;
	sk_cond_signal(&pool->gone);
	sk_mutex_unlock(&pool->lock);
}

/* ---- Submitting ---- */

static void queue_push(struct sk_blocking *pool, skua_task *task)
{
	task->next = NULL;
	if (pool->last != NULL)
		pool->last->next = task;
	else
		pool->first = task;
	pool->last = task;
}

/* Queues a job and sees to a thread for it. Under the lock. */
static int submit(struct sk_sched *sched, skua_task *task)
{
	struct sk_blocking *pool = &sched->blocking;
	int rc;

	if (pool->closed)
		return -ESHUTDOWN;
	rc = is_anybody_on_the_way(pool) ? 0 : send_thread(sched);
	/* With another thread alive the job is late, but not lost. */
	if (rc < 0 && pool->threads == 0)
		return rc;
	queue_push(pool, task);
	pool->spawned++;
	return 0;
}

int sk_blocking_spawn(struct sk_sched *sched, int64_t (*function)(void *argument),
		      const void *argument, size_t size, skua_task **handle)
{
	struct sk_blocking *pool = &sched->blocking;
	struct sk_blocking_thread *ended;
	struct job *job;
	skua_task *task;
	int rc;

	if (size > UINT32_MAX / 2)
		return -ENOMEM;
	task = sk_task_new(sched, NULL, sizeof *job + size, handle != NULL);
	if (task == NULL)
		return -ENOMEM;
	task->blocking = true;
	task->future = &job_future;
	job = sk_task_payload(task);
	job->function = function;
	if (size > 0)
		memcpy(job + 1, argument, size);

	/* Before the job can run: its end may be awaited through this. */
	if (handle != NULL)
		*handle = task;
	sk_mutex_lock(&pool->lock);
	rc = submit(sched, task);
	ended = take_ended(pool);
	sk_mutex_unlock(&pool->lock);
	join_ended(ended);
	if (rc < 0) {
		if (handle != NULL) {
			*handle = NULL;
			sk_task_release(task);
		}
		sk_task_release(task);
	}
	return rc;
}

bool sk_blocking_is_job_thread(const struct sk_sched *sched)
{
	return (uintptr_t)sk_thread_local() == ((uintptr_t)sched | SK_JOB_THREAD);
}

/* ---- The end ---- */

void sk_blocking_close(struct sk_blocking *pool)
{
	skua_task *task;

	sk_mutex_lock(&pool->lock);
	pool->closed = true;
	/* Threads go on until the queue is empty; cancelled jobs cost them nothing. */
	for (task = pool->first; task != NULL; task = task->next)
		sk_task_cancel(task);
	sk_cond_broadcast(&pool->work);
	sk_mutex_unlock(&pool->lock);
}

void sk_blocking_join(struct sk_blocking *pool)
{
	struct sk_blocking_thread *ended;

	sk_mutex_lock(&pool->lock);
	while (pool->threads > 0)
		sk_cond_wait(&pool->gone, &pool->lock);
	sk_assert(pool->first == NULL);
	ended = take_ended(pool);
	sk_mutex_unlock(&pool->lock);
	join_ended(ended);
	sk_cond_destroy(&pool->gone);
	sk_cond_destroy(&pool->work);
	sk_mutex_destroy(&pool->lock);
}
