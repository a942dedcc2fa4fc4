/*
 * kernel_room.c - the blocking pool with kinds of jobs and with few places: a kind that hangs against
 * one that does not, and those who wait for room against the ends of jobs, each other, and the end. The
 * scheduler's workers do not run.
 */
#include <errno.h>

#include "sched/blocking_room.h"
#include "sched/parker.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/thread_waker.h"
#include "tests/model/explorer.h"
#include "tests/model/join_task.h"
#include "tests/model/sync_model.h"

#define BOUNDS .preemptions = 1, .stale = 1, .allow_timeouts = true
#define FEW .preemptions = 1, .stale = -1
/* With several threads in the pool: who goes on when one waits is tried in every way. */
#define THREADS .preemptions = 1, .stale = -1, .allow_timeouts = true

enum { GENERAL = SKUA_BLOCKING_GENERAL, FILES = SKUA_BLOCKING_FILES, NAMES = SKUA_BLOCKING_NAMES };

static struct sk_sched *sched;
static skua_task *handles[4];
static SK_ATOMIC(uint32_t) runs;
static sk_parker gate, running;

static void begin(uint32_t threads, uint32_t names, uint32_t queued)
{
	struct sk_sched_options options = {.workers = 1,
					   .blocking = {.threads = threads,
							.running = {[NAMES] = names},
							.queued = queued,
							.keepalive_ms = 1}};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	sk_parker_init(&gate);
	sk_parker_init(&running);
}

static void end(void)
{
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

/* ---- Jobs ---- */

static int64_t job(void *unused)
{
	(void)unused;
	sk_fetch_add(&runs, 1, SK_RELAXED);
	return 7;
}

static int64_t waits_at_the_gate(void *unused)
{
	sk_unpark(&running);
	sk_park(&gate, SK_FOREVER);
	return job(unused);
}

static int64_t opens_the_gate(void *unused)
{
	sk_unpark(&gate);
	return job(unused);
}

static struct sk_blocking_job job_of(uint32_t kind, int64_t (*function)(void *))
{
	return (struct sk_blocking_job){.function = function, .kind = kind};
}

static void submit(unsigned i, uint32_t kind, int64_t (*function)(void *))
{
	const struct sk_blocking_job from = job_of(kind, function);

	mc_assert(sk_blocking_submit(sched, &from, &handles[i]) == 0);
}

static void join(unsigned i)
{
	mc_assert(join_task(&handles[i]) == 7);
}

/* ---- Kinds ---- */

/* A lookup hangs until a file has been read, and another one waits for it: nobody but the file's own
 * submission sends the file its thread, and the end of the lookup starts the next. */
MC_SCENARIO_WITH(room, a_name_that_hangs_and_a_file, THREADS)
{
	begin(2, 1, 0);
	submit(0, NAMES, waits_at_the_gate);
	submit(1, NAMES, job);
	submit(2, FILES, opens_the_gate);
	for (unsigned i = 0; i < 3; i++)
		join(i);
	end();
}

/* Of three threads one is kept for each other kind, though two general jobs would like to run. */
MC_SCENARIO_WITH(room, a_thread_is_kept_for_a_file, THREADS)
{
	begin(3, 0, 0);
	submit(0, GENERAL, waits_at_the_gate);
	submit(1, GENERAL, job);
	submit(2, FILES, opens_the_gate);
	for (unsigned i = 0; i < 3; i++)
		join(i);
	end();
}

/* The thread that ends a lookup leaves a job on files to another one. */
MC_SCENARIO_WITH(room, the_end_of_a_job_starts_one_of_another_kind, THREADS)
{
	begin(2, 1, 0);
	submit(0, NAMES, waits_at_the_gate);
	submit(1, GENERAL, opens_the_gate);
	submit(2, FILES, job);
	submit(3, NAMES, job);
	for (unsigned i = 0; i < 4; i++)
		join(i);
	end();
}

/* ---- Cancelling a job in the queue ---- */

static void cancels(void *index)
{
	int rc = sk_task_cancel(handles[(uintptr_t)index]);

	mc_assert(rc == 0 || rc == -ESRCH);
}

/* The pool is closed, drained and freed meanwhile: who cancels has what it touches until it is done. */
MC_SCENARIO_WITH(room, cancel_against_the_end, .stale = 1, .allow_timeouts = true)
{
	int64_t result;

	begin(1, 0, 0);
	submit(0, GENERAL, job);
	mc_start(cancels, 0);
	end();
	mc_join_all();
	result = sk_task_take_result(&handles[0]);
	mc_assert(sk_load(&runs, SK_RELAXED) == (result == 7));
	mc_assert(result == 7 || result == -ECANCELED);
}

/* A job behind one that hangs: it ends although its turn never comes. */
MC_SCENARIO_WITH(room, cancelled_job_behind_one_that_hangs, BOUNDS)
{
	begin(1, 0, 0);
	submit(0, GENERAL, waits_at_the_gate);
	submit(1, GENERAL, job);
	sk_park(&running, SK_FOREVER);
	mc_assert(sk_task_cancel(handles[1]) == 0);
	mc_assert(join_task(&handles[1]) == -ECANCELED);
	sk_unpark(&gate);
	join(0);
	mc_assert(sk_load(&runs, SK_RELAXED) == 1);
	end();
}

/* ---- Waiting for room ---- */

static skua_poll poll_once(unsigned i, skua_cx *cx, struct sk_blocking_wait *wait)
{
	const struct sk_blocking_job from = job_of(GENERAL, job);

	return sk_blocking_submit_when_room(sched, cx, wait, &from, &handles[i]);
}

/* Waits until the job is accepted, or cannot be any more. The wait goes as soon as it may. */
static skua_poll submit_when_room(unsigned i)
{
	struct sk_thread_waker *waker = sk_thread_waker_new();
	struct sk_blocking_wait *wait = sk_calloc(1, sizeof *wait);
	skua_poll rc;
	skua_cx cx;

	sk_thread_waker_cx(waker, &cx);
	while ((rc = poll_once(i, &cx, wait)) == SKUA_PENDING)
		sk_thread_waker_park(waker);
	sk_free(wait);
	sk_thread_waker_free(waker);
	return rc;
}

static void waits_for_room(void *index)
{
	mc_assert(submit_when_room((unsigned)(uintptr_t)index) == 0);
}

/* Polls once, and has no patience. */
static void gives_up(void *index)
{
	unsigned i = (unsigned)(uintptr_t)index;
	struct sk_thread_waker *waker = sk_thread_waker_new();
	struct sk_blocking_wait *wait = sk_calloc(1, sizeof *wait);
	skua_poll rc;
	skua_cx cx;

	sk_thread_waker_cx(waker, &cx);
	rc = poll_once(i, &cx, wait);
	mc_assert(rc == 0 || rc == SKUA_PENDING);
	sk_blocking_wait_cancel(wait);
	sk_free(wait);
	sk_thread_waker_free(waker);
}

/* One thread and one place in the queue: two jobs, and there is no room. */
static void begin_full(void)
{
	begin(1, 0, 1);
	submit(0, GENERAL, waits_at_the_gate);
	submit(1, GENERAL, job);
}

static void end_full(void)
{
	join(0);
	join(1);
	for (unsigned i = 2; i < 4; i++)
		if (handles[i] != NULL)
			join(i);
	/* A thread that has just ended a job, and wakes somebody, is one of them. */
	sk_mutex_lock(&sched->blocking.lock);
	mc_assert(sched->blocking.threads <= 1);
	mc_assert(sched->blocking.kinds[GENERAL].first_wait == NULL);
	sk_mutex_unlock(&sched->blocking.lock);
	end();
}

/* Before, while or after the jobs end. */
MC_SCENARIO_WITH(room, wait_against_the_ends_of_jobs, BOUNDS)
{
	begin_full();
	sk_unpark(&gate);
	waits_for_room((void *)2);
	mc_assert(handles[2] != NULL);
	end_full();
}

MC_SCENARIO_WITH(room, two_wait, FEW)
{
	begin_full();
	mc_start(waits_for_room, 2);
	sk_unpark(&gate);
	waits_for_room((void *)3);
	mc_join_all();
	mc_assert(handles[2] != NULL && handles[3] != NULL);
	end_full();
}

/* Whoever comes first: the place of the one who gives up goes to the other one. */
MC_SCENARIO_WITH(room, one_waits_and_one_gives_up, FEW)
{
	begin_full();
	mc_start(gives_up, 2);
	sk_unpark(&gate);
	waits_for_room((void *)3);
	mc_join_all();
	mc_assert(handles[3] != NULL);
	end_full();
}

/* A job that is cancelled in the queue makes room. */
MC_SCENARIO_WITH(room, wait_against_a_cancel, FEW)
{
	int64_t result;

	begin_full();
	mc_start(cancels, 1);
	mc_start(waits_for_room, 2);
	mc_join_all();
	sk_unpark(&gate);
	mc_assert(handles[2] != NULL);
	join(0);
	join(2);
	result = join_task(&handles[1]);
	mc_assert(result == -ECANCELED);
	end();
}

static void waits_or_is_refused(void *index)
{
	skua_poll rc = submit_when_room((unsigned)(uintptr_t)index);

	mc_assert(rc == 0 || rc == -ESHUTDOWN);
	mc_assert((rc == 0) == (handles[(uintptr_t)index] != NULL));
}

/* Nobody waits for ever when the pool closes. */
MC_SCENARIO_WITH(room, wait_against_close, FEW)
{
	begin_full();
	mc_start(waits_or_is_refused, 2);
	sk_sched_close(sched);
	mc_join_all();
	sk_unpark(&gate);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	for (unsigned i = 0; i < 3; i++)
		if (handles[i] != NULL)
			(void)sk_task_take_result(&handles[i]);
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

static sk_parker late;

static void comes_late(void *index)
{
	sk_unpark(&late);
	waits_or_is_refused(index);
}

/* A place that was handed over and is not used yet keeps a pool full that closes: who comes then must
 * not wait for it. */
MC_SCENARIO_WITH(room, late_wait_against_close, FEW)
{
	struct sk_blocking_wait wait = {0};
	struct sk_thread_waker *waker;
	skua_cx cx;

	begin(1, 0, 1);
	submit(0, GENERAL, job);
	submit(1, GENERAL, waits_at_the_gate);
	waker = sk_thread_waker_new();
	sk_thread_waker_cx(waker, &cx);
	if (poll_once(2, &cx, &wait) == SKUA_PENDING)
		sk_thread_waker_park(waker);
	sk_park(&running, SK_FOREVER);
	sk_parker_init(&late);
	mc_start(comes_late, 3);
	sk_park(&late, SK_FOREVER);
	sk_sched_close(sched);
	mc_join_all();
	sk_unpark(&gate);
	sk_blocking_wait_cancel(&wait);
	sk_thread_waker_free(waker);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	for (unsigned i = 0; i < 4; i++)
		if (handles[i] != NULL)
			(void)sk_task_take_result(&handles[i]);
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

static int64_t tells(void *unused)
{
	sk_unpark(&running);
	return job(unused);
}

/* Polled for no reason at the moment when the place is handed over. */
MC_SCENARIO_WITH(room, poll_against_the_place, FEW)
{
	struct sk_blocking_wait wait = {0};
	struct sk_thread_waker *waker;
	skua_poll rc;
	skua_cx cx;

	begin(1, 0, 1);
	submit(0, GENERAL, tells);
	submit(1, GENERAL, job);
	waker = sk_thread_waker_new();
	sk_thread_waker_cx(waker, &cx);
	rc = poll_once(2, &cx, &wait);
	sk_park(&running, SK_FOREVER);
	if (rc == SKUA_PENDING)
		rc = poll_once(2, &cx, &wait);
	if (rc == SKUA_PENDING) {
		sk_thread_waker_park(waker);
		rc = poll_once(2, &cx, &wait);
	}
	mc_assert(rc == 0);
	sk_thread_waker_free(waker);
	end_full();
}

/* Without memory for the job the place goes to the next, or back. */
MC_SCENARIO_WITH(room, place_without_memory, FEW)
{
	struct sk_blocking_wait wait = {0};
	struct sk_thread_waker *waker;
	skua_poll rc;
	skua_cx cx;

	begin_full();
	waker = sk_thread_waker_new();
	sk_thread_waker_cx(waker, &cx);
	rc = poll_once(2, &cx, &wait);
	mc_assert(rc == SKUA_PENDING);
	sk_unpark(&gate);
	sk_thread_waker_park(waker);
	mc_allow_failures(1);
	rc = poll_once(2, &cx, &wait);
	mc_allow_failures(0);
	mc_assert(rc == 0 || rc == -ENOMEM);
	mc_assert((rc == 0) == (handles[2] != NULL));
	sk_thread_waker_free(waker);
	waits_for_room((void *)3);
	end_full();
}
