/*
 * kernel_blocking.c - the blocking pool: jobs against threads that come, wait and give up, against each
 * other, and against the end. The scheduler's workers do not run.
 */
#include "sched/blocking.h"

#include <errno.h>

#include "sched/parker.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/thread_waker.h"
#include "sched/timer.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/join_task.h"
#include "tests/model/sync_model.h"

#define TIMEOUTS .stale = 1, .allow_timeouts = true
/* With two threads in the pool: who goes on when one waits is tried in every way, all the same. */
#define TWO_THREADS .preemptions = -1, .stale = -1, .allow_timeouts = true
#define TWO_THREADS_1 .preemptions = 1, .stale = -1, .allow_timeouts = true

static struct sk_sched *sched;
static skua_task *handles[3];
static SK_ATOMIC(uint32_t) runs;
static sk_parker gate;    /* what a job waits for that another one opens */
static sk_parker running; /* for who waits until a job runs */

static void begin(uint32_t max_threads)
{
	struct sk_sched_options options = {
		.workers = 1, .blocking.threads = max_threads, .blocking.keepalive_ms = 1};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	sk_parker_init(&gate);
}

static void end(void)
{
	sk_sched_close(sched);
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

static int64_t join(unsigned i)
{
	return join_task(&handles[i]);
}

/* ---- Jobs ---- */

static int64_t job(void *argument)
{
	sk_fetch_add(&runs, 1, SK_RELAXED);
	return argument != NULL ? *(int *)argument : 7;
}

static int64_t waits_at_the_gate(void *argument)
{
	sk_park(&gate, SK_FOREVER);
	return job(argument);
}

static int64_t opens_the_gate(void *argument)
{
	(void)argument;
	sk_fetch_add(&runs, 1, SK_RELAXED);
	sk_unpark(&gate);
	return 7;
}

static int try_to_submit(unsigned i, int64_t (*function)(void *))
{
	int number = 7;

	return sk_blocking_spawn(sched, function, &number, sizeof number, &handles[i]);
}

static void submit(unsigned i, int64_t (*function)(void *))
{
	mc_assert(try_to_submit(i, function) == 0);
}

static void submits(void *argument)
{
	submit((unsigned)(uintptr_t)argument, job);
}

static bool ran_or_cancelled(int64_t result)
{
	return result == 7 || result == -ECANCELED;
}

/* ---- Jobs and threads ---- */

MC_SCENARIO_WITH(blocking, job_and_join, TIMEOUTS)
{
	begin(1);
	submit(0, job);
	mc_assert(join(0) == 7);
	end();
}

MC_SCENARIO_WITH(blocking, two_jobs_and_one_thread, TIMEOUTS)
{
	begin(1);
	submit(0, job);
	submit(1, job);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}

MC_SCENARIO_WITH(blocking, two_submitters, .stale = -1, .allow_timeouts = true)
{
	begin(1);
	mc_start(submits, 1);
	submit(0, job);
	mc_join_all();
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	sk_mutex_lock(&sched->blocking.lock);
	mc_assert(sched->blocking.threads <= 1);
	sk_mutex_unlock(&sched->blocking.lock);
	end();
}

/* The thread of the pool gives up waiting at the moment of the next job. */
MC_SCENARIO_WITH(blocking, job_against_the_end_of_an_idle_thread, .stale = -1,
		 .allow_timeouts = true)
{
	begin(1);
	submit(0, job);
	mc_assert(join(0) == 7);
	submit(0, job);
	mc_assert(join(0) == 7);
	end();
}

/* Two jobs come, the first for the thread that gives up; the second one needs a thread of its own, as
 * the first one waits for it. An idle thread that is counted twice would have to run both. */
MC_SCENARIO_WITH(blocking, two_jobs_against_the_end_of_an_idle_thread, TWO_THREADS_1)
{
	begin(2);
	submit(0, job);
	mc_assert(join(0) == 7);
	submit(0, waits_at_the_gate);
	submit(1, opens_the_gate);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}

/* A busy thread is faster with the job that was promised to the idle one; that one waits again, and
 * is there for the next. */
MC_SCENARIO_WITH(blocking, promised_job_is_taken_by_another, TWO_THREADS)
{
	begin(2);
	submit(0, waits_at_the_gate);
	submit(1, opens_the_gate);
	submit(2, job);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	mc_assert(join(2) == 7);
	submit(0, waits_at_the_gate);
	submit(1, opens_the_gate);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}

/* ---- Cancelling ---- */

/* A job that waits for another to end is cancelled: it runs, or does not. */
MC_SCENARIO_WITH(blocking, cancel_a_queued_job, TIMEOUTS)
{
	int64_t result;
	int rc;

	begin(1);
	submit(0, job);
	submit(1, job);
	rc = sk_task_cancel(handles[1]);
	mc_assert(rc == 0 || rc == -ESRCH);
	result = join(1);
	mc_assert(rc == 0 ? ran_or_cancelled(result) : result == 7);
	mc_assert(join(0) == 7);
	mc_assert(sk_load(&runs, SK_RELAXED) == 1 + (result == 7));
	end();
}

/* The handle of a job is closed while it runs: whoever is the last frees it. */
MC_SCENARIO_WITH(blocking, detach_against_the_end_of_a_job, TIMEOUTS)
{
	begin(1);
	submit(0, job);
	sk_task_close_handle(handles[0]);
	end();
	mc_assert(sk_load(&runs, SK_RELAXED) <= 1);
}

/* ---- The end ---- */

/* A job that has not begun when the runtime closes is ended without having run. */
MC_SCENARIO_WITH(blocking, job_against_close, TIMEOUTS)
{
	int64_t result;

	begin(1);
	submit(0, job);
	end();
	mc_assert(sk_task_is_complete(handles[0]));
	result = sk_task_take_result(&handles[0]);
	mc_assert(result == (sk_load(&runs, SK_RELAXED) == 1 ? 7 : -ECANCELED));
}

/* Behind a job that is running: it does not run any more. */
static int64_t opens_and_waits(void *argument)
{
	(void)argument;
	sk_unpark(&running);
	sk_park(&gate, SK_FOREVER);
	return 7;
}

MC_SCENARIO_WITH(blocking, queued_job_against_close, .stale = -1, .allow_timeouts = true)
{
	begin(1);
	sk_parker_init(&running);
	submit(0, opens_and_waits);
	submit(1, job);
	sk_park(&running, SK_FOREVER);
	sk_sched_close(sched);
	sk_unpark(&gate);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == -ECANCELED);
	mc_assert(sk_load(&runs, SK_RELAXED) == 0);
	end();
}

/* The same without anybody who runs out of time: the end itself wakes every thread that is idle. */
MC_SCENARIO_WITH(blocking, idle_threads_against_close, .preemptions = 1, .stale = -1,
		 .spurious = -1)
{
	begin(2);
	submit(0, waits_at_the_gate);
	submit(1, opens_the_gate);
	mc_assert(join(0) == 7);
	mc_assert(join(1) == 7);
	end();
}

static void submits_late(void *unused)
{
	int rc = try_to_submit(0, job);

	(void)unused;
	mc_assert(rc == 0 || rc == -ESHUTDOWN);
	mc_assert((rc == 0) == (handles[0] != NULL));
}

/* A job is taken or refused; what is taken comes to an end. */
MC_SCENARIO_WITH(blocking, submit_against_close, TIMEOUTS)
{
	begin(1);
	mc_start(submits_late, 0);
	sk_sched_close(sched);
	mc_join_all();
	mc_assert(sk_sched_drain(sched, SK_FOREVER));
	if (handles[0] != NULL) {
		mc_assert(sk_task_is_complete(handles[0]));
		mc_assert(ran_or_cancelled(sk_task_take_result(&handles[0])));
	}
	sk_sched_stop(sched);
	mc_assert(sk_sched_free(sched) == 0);
}

/* The drain waits for a job that runs, and is woken by its end. */
MC_SCENARIO(blocking, drain_waits_for_a_job)
{
	begin(1);
	submit(0, opens_the_gate);
	sk_park(&gate, SK_FOREVER);
	end();
	mc_assert(sk_task_take_result(&handles[0]) == 7);
}

/* ---- Failures ---- */

/* No memory, or no thread: an error, and nothing is left; or the job is late, but not lost. */
MC_SCENARIO_WITH(blocking, jobs_without_memory_or_threads, TWO_THREADS_1)
{
	int rc[2];

	begin(2);
	mc_allow_failures(2);
	for (unsigned i = 0; i < 2; i++) {
		rc[i] = try_to_submit(i, job);
		mc_assert(rc[i] == 0 || rc[i] == -ENOMEM || rc[i] == -EAGAIN);
		mc_assert((rc[i] == 0) == (handles[i] != NULL));
	}
	mc_assert(mc_failures() > 0 || (rc[0] == 0 && rc[1] == 0));
	mc_allow_failures(0);
	for (unsigned i = 0; i < 2; i++)
		if (rc[i] == 0)
			mc_assert(join(i) == 7);
	end();
}

/* With a thread alive that will come to it, a job is not refused because no second thread starts. */
MC_SCENARIO_WITH(blocking, late_job_is_not_refused, TWO_THREADS)
{
	int rc;

	begin(2);
	submit(0, waits_at_the_gate);
	mc_allow_failures(1);
	rc = try_to_submit(1, job);
	mc_allow_failures(0);
	/* Without memory for the job itself it is refused, but not for want of a thread. */
	mc_assert(rc == 0 || rc == -ENOMEM);
	mc_assert(rc == 0 || handles[1] == NULL);
	sk_unpark(&gate);
	mc_assert(join(0) == 7);
	if (rc == 0)
		mc_assert(join(1) == 7);
	end();
}

/* A job that is cancelled in the queue has kept a paused clock from jumping. */
MC_SCENARIO_WITH(blocking, withdrawn_under_a_paused_clock, .preemptions = 1, .stale = -1,
		 .spurious = -1, .allow_timeouts = true)
{
	struct sk_timer *timer = sk_calloc(1, sizeof *timer);
	struct sk_thread_waker *own = sk_thread_waker_new();
	skua_cx cx;

	begin(1);
	sk_thread_waker_cx(own, &cx);
	mc_assert(sk_clock_pause(&sched->clock));
	sk_clock_begin_wait();
	mc_assert(sk_sched_start(sched) == 0);
	submit(0, job);
	mc_assert(sk_timer_arm_from_outside(&sched->workers[0]->timers, timer,
					    sk_now() + 1000000000, &cx) == 0);
	sk_sched_timer_changed(sched, 0);
	sk_task_cancel(handles[0]);
	while (!sk_timer_has_fired(timer))
		sk_thread_waker_park(own);
	sk_clock_end_wait();
	sk_task_close_handle(handles[0]);
	sk_timer_disarm(timer);
	sk_free(timer);
	sk_thread_waker_free(own);
	end();
}
