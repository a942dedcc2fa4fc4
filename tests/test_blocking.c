/*
 * tests/test_blocking.c - the blocking pool: how many threads, who waits in the queue, when threads
 * go, what cancelling and closing do to a job, and what happens when no thread can be had. The
 * scheduler's workers are not needed and do not run.
 */
#include "sched/blocking.h"

#include <pthread.h>

#include "skua/task.h"
#include "tests/sched_support.h"

static struct sk_sched *sched;

static void make_pool(uint32_t max_threads, uint32_t keepalive_ms)
{
	struct sk_sched_options options = {
		.workers = 1,
		.budget = 128,
		.blocking.threads = max_threads,
		.blocking.keepalive_ms = keepalive_ms,
	};

	sched = new_sched_with(&options);
}

/* One of the pool's numbers, under its lock. */
#define POOL(field) pool_number(&sched->blocking.field)

static uint32_t pool_number(const uint32_t *number)
{
	uint32_t value;

	sk_mutex_lock(&sched->blocking.lock);
	value = *number;
	sk_mutex_unlock(&sched->blocking.lock);
	return value;
}

static skua_task *submit(int64_t (*function)(void *), const void *argument, size_t size)
{
	skua_task *task = NULL;

	T_EQ(sk_blocking_spawn(sched, function, argument, size, &task), 0);
	T_NOT_NULL(task);
	return task;
}

/* ---- Jobs ---- */

static counter running, most_running, finished, gate;

static void note_most(void)
{
	uint32_t now = sk_fetch_add(&running, 1, SK_ACQ_REL) + 1, most = count_of(&most_running);

	while (now > most && !sk_cas(&most_running, &most, now, SK_ACQ_REL, SK_ACQUIRE))
		;
}

static int64_t answer(void *argument)
{
	count_up(&finished);
	return *(int64_t *)argument;
}

static int64_t nothing(void *unused)
{
	(void)unused;
	count_up(&finished);
	return 0;
}

/* Runs until the gate is open. */
static int64_t wait_at_gate(void *argument)
{
	note_most();
	EVENTUALLY(count_of(&gate) != 0);
	sk_fetch_sub(&running, 1, SK_ACQ_REL);
	return answer(argument);
}

static const int64_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

/* ---- One job ---- */

T_TEST(blocking, the_result_of_a_job_is_the_tasks)
{
	const int64_t results[] = {0, 42, -ENOENT, INT64_MAX};

	make_pool(2, 1000);
	for (unsigned i = 0; i < 4; i++) {
		skua_task *task = submit(answer, &results[i], sizeof results[i]);

		T_EQ(skua_task_wait(&task), results[i]);
		T_NULL(task);
	}
	end_sched(sched, 100);
}

T_TEST(blocking, a_result_cannot_be_pending)
{
	const int64_t pending = SKUA_PENDING;
	skua_task *task;

	make_pool(1, 1000);
	task = submit(answer, &pending, sizeof pending);
	T_EQ(skua_task_wait(&task), -EINVAL);
	end_sched(sched, 100);
}

struct wide {
	long double aligned;
	char text[1000];
};

static int64_t check_wide(void *argument)
{
	struct wide *wide = argument;

	EVENTUALLY(count_of(&gate) != 0);
	T_EQ((uintptr_t)argument % _Alignof(struct wide), 0);
	for (unsigned i = 0; i < sizeof wide->text; i++)
		T_EQ(wide->text[i], 'x');
	/* The copy is the job's to write on. */
	memset(argument, 0, sizeof *wide);
	return (int64_t)wide->text[0];
}

T_TEST(blocking, the_argument_is_copied)
{
	struct wide wide = {.aligned = 1};
	skua_task *task;

	make_pool(1, 1000);
	memset(wide.text, 'x', sizeof wide.text);
	task = submit(check_wide, &wide, sizeof wide);
	memset(wide.text, 'y', sizeof wide.text);
	count_up(&gate);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(wide.text[0], 'y');
	end_sched(sched, 100);
}

T_TEST(blocking, a_job_needs_no_handle_and_no_argument)
{
	make_pool(1, 1000);
	T_EQ(sk_blocking_spawn(sched, nothing, NULL, 0, NULL), 0);
	EVENTUALLY(count_of(&finished) == 1);
	end_sched(sched, 100);
}

static int64_t whose_thread(void *other)
{
	return sk_blocking_is_job_thread(sched) &&
	       !sk_blocking_is_job_thread(*(struct sk_sched **)other) &&
	       sk_worker_current() == NULL;
}

T_TEST(blocking, a_job_knows_whose_thread_it_is_on)
{
	struct sk_sched *other = new_sched(1);
	skua_task *task;

	make_pool(1, 1000);
	T_ASSERT(!sk_blocking_is_job_thread(sched));
	task = submit(whose_thread, &other, sizeof(struct sk_sched *));
	T_EQ(skua_task_wait(&task), 1);
	end_sched(sched, 100);
	end_sched(other, 100);
}

/* ---- Threads ---- */

T_TEST(blocking, no_more_threads_than_allowed)
{
	skua_task *tasks[9];

	/* Of five, one is kept for each of the other two kinds. */
	make_pool(5, 1000);
	for (unsigned i = 0; i < 9; i++)
		tasks[i] = submit(wait_at_gate, &numbers[i], sizeof numbers[i]);
	EVENTUALLY(count_of(&running) == 3);
	sleep_ms(10);
	T_EQ(count_of(&running), 3);
	T_EQ(POOL(threads), 3);
	T_EQ(POOL(idle), 0);
	count_up(&gate);
	for (unsigned i = 0; i < 9; i++)
		T_EQ(skua_task_wait(&tasks[i]), numbers[i]);
	T_EQ(count_of(&most_running), 3);
	T_EQ(POOL(threads), 3);
	end_sched(sched, 100);
}

static unsigned order[10], order_count;

static int64_t note_order(void *argument)
{
	EVENTUALLY(count_of(&gate) != 0);
	order[order_count++] = (unsigned)*(int64_t *)argument;
	return 0;
}

T_TEST(blocking, jobs_in_the_queue_keep_their_order)
{
	skua_task *tasks[10];

	make_pool(1, 1000);
	for (unsigned i = 0; i < 10; i++)
		tasks[i] = submit(note_order, &numbers[i], sizeof numbers[i]);
	count_up(&gate);
	for (unsigned i = 0; i < 10; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(order_count, 10);
	for (unsigned i = 0; i < 10; i++)
		T_EQ(order[i], i);
	end_sched(sched, 100);
}

T_TEST(blocking, an_idle_thread_is_used_again)
{
	make_pool(4, 60000);
	for (unsigned i = 0; i < 20; i++) {
		skua_task *task = submit(answer, &numbers[i % 10], sizeof numbers[0]);

		T_EQ(skua_task_wait(&task), numbers[i % 10]);
		EVENTUALLY(POOL(idle) == 1);
		T_EQ(POOL(threads), 1);
	}
	end_sched(sched, 100);
}

T_TEST(blocking, threads_go_when_they_were_idle_long_enough)
{
	make_pool(6, 15);
	for (unsigned round = 0; round < 3; round++) {
		skua_task *tasks[4];
		uint64_t ended;

		sk_store(&gate, 0, SK_RELEASE);
		for (unsigned i = 0; i < 4; i++)
			tasks[i] = submit(wait_at_gate, &numbers[i], sizeof numbers[i]);
		EVENTUALLY(count_of(&running) == 4);
		ended = sk_now();
		count_up(&gate);
		for (unsigned i = 0; i < 4; i++)
			T_EQ(skua_task_wait(&tasks[i]), numbers[i]);
		EVENTUALLY(POOL(threads) == 0);
		T_ASSERT(sk_now() - ended >= 15 * UINT64_C(1000000));
		T_EQ(POOL(idle), 0);
		T_EQ(POOL(promised), 0);
	}
	end_sched(sched, 100);
}

T_TEST(blocking, a_keepalive_of_zero_ends_threads_at_once)
{
	make_pool(2, 0);
	for (unsigned i = 0; i < 50; i++) {
		skua_task *task = submit(answer, &numbers[i % 10], sizeof numbers[0]);

		T_EQ(skua_task_wait(&task), numbers[i % 10]);
	}
	EVENTUALLY(POOL(threads) == 0);
	end_sched(sched, 100);
}

/* The moment when a thread's time is up, and a submitter, who has the lock, counts on it. */
T_TEST(blocking, a_thread_that_was_counted_on_as_it_expired_keeps_the_counts_right)
{
	struct sk_blocking *pool;
	skua_task *task;

	make_pool(2, 15);
	pool = &sched->blocking;
	task = submit(answer, &numbers[1], sizeof numbers[1]);
	T_EQ(skua_task_wait(&task), 1);
	for (unsigned idle = 0; idle == 0;) {
		sk_mutex_lock(&pool->lock);
		idle = pool->idle;
		if (idle == 1) {
			sleep_ms(30);
			/* As submit() does; a busy thread has then been faster with the job. */
			pool->idle--;
			pool->promised++;
		}
		sk_mutex_unlock(&pool->lock);
	}
	EVENTUALLY(POOL(threads) == 0);
	T_EQ(POOL(idle), 0);
	T_EQ(POOL(promised), 0);
	task = submit(answer, &numbers[2], sizeof numbers[2]);
	T_EQ(skua_task_wait(&task), 2);
	end_sched(sched, 100);
}

/* ---- Cancelling ---- */

T_TEST(blocking, a_job_cancelled_in_the_queue_never_runs)
{
	skua_task *first, *second, *third;

	make_pool(1, 1000);
	first = submit(wait_at_gate, &numbers[1], sizeof numbers[1]);
	second = submit(answer, &numbers[2], sizeof numbers[2]);
	third = submit(answer, &numbers[3], sizeof numbers[3]);
	T_EQ(skua_cancel(second), 0);
	T_EQ(skua_cancel(second), -ESRCH);
	/* It ends at once, and does not wait for the job before it. */
	T_EQ(skua_task_finished(second), 1);
	T_EQ(skua_task_wait(&second), -ECANCELED);
	count_up(&gate);
	T_EQ(skua_task_wait(&first), 1);
	T_EQ(skua_task_wait(&third), 3);
	T_EQ(count_of(&finished), 2);
	end_sched(sched, 100);
}

T_TEST(blocking, cancelling_a_running_job_changes_nothing)
{
	skua_task *task;

	make_pool(1, 1000);
	task = submit(wait_at_gate, &numbers[7], sizeof numbers[7]);
	EVENTUALLY(count_of(&running) == 1);
	T_EQ(skua_cancel(task), 0);
	count_up(&gate);
	EVENTUALLY(skua_task_finished(task));
	T_EQ(skua_cancel(task), -ESRCH);
	T_EQ(skua_task_wait(&task), 7);
	T_EQ(count_of(&finished), 1);
	end_sched(sched, 100);
}

/* ---- The end ---- */

T_TEST(blocking, closing_ends_the_queue_and_lets_running_jobs_be)
{
	skua_task *first, *tasks[5], *late = NULL;

	make_pool(1, 60000);
	first = submit(wait_at_gate, &numbers[9], sizeof numbers[9]);
	EVENTUALLY(count_of(&running) == 1);
	for (unsigned i = 0; i < 5; i++)
		tasks[i] = submit(answer, &numbers[i], sizeof numbers[i]);
	sk_sched_close(sched);
	T_EQ(sk_blocking_spawn(sched, nothing, NULL, 0, &late), -ESHUTDOWN);
	T_NULL(late);
	T_EQ(sk_blocking_spawn(sched, nothing, NULL, 0, NULL), -ESHUTDOWN);
	T_ASSERT(!sk_sched_drain(sched, after_ms(5)));
	count_up(&gate);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	T_EQ(skua_task_wait(&first), 9);
	for (unsigned i = 0; i < 5; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	T_EQ(count_of(&finished), 1);
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), 0);
}

static int64_t a_slow_job(void *unused)
{
	(void)unused;
	note_most();
	sleep_ms(50);
	count_up(&finished);
	return 5;
}

T_TEST(blocking, freeing_waits_for_running_jobs)
{
	skua_task *task;

	make_pool(2, 60000);
	task = submit(a_slow_job, NULL, 0);
	EVENTUALLY(count_of(&running) == 1);
	T_EQ(end_sched(sched, 0), 0);
	T_EQ(count_of(&finished), 1);
	/* The handle outlives the pool. */
	T_EQ(skua_task_wait(&task), 5);
}

T_TEST(blocking, idle_threads_do_not_hold_up_the_end)
{
	uint64_t before;

	make_pool(6, 3600 * 1000);
	for (unsigned i = 0; i < 4; i++)
		T_EQ(sk_blocking_spawn(sched, wait_at_gate, &numbers[i], sizeof numbers[i], NULL),
		     0);
	EVENTUALLY(count_of(&running) == 4);
	count_up(&gate);
	EVENTUALLY(POOL(idle) == 4);
	before = sk_now();
	end_sched(sched, 0);
	T_LT(sk_now() - before, UINT64_C(10000000000));
}

/* ---- Jobs that submit jobs ---- */

static int64_t submit_more(void *argument)
{
	int64_t left = *(int64_t *)argument - 1;

	count_up(&finished);
	if (left > 0) {
		T_EQ(sk_blocking_spawn(sched, submit_more, &left, sizeof left, NULL), 0);
		T_EQ(sk_blocking_spawn(sched, submit_more, &left, sizeof left, NULL), 0);
	}
	return 0;
}

T_TEST(blocking, jobs_may_submit_jobs)
{
	const int64_t depth = 9;

	make_pool(2, 1000);
	T_EQ(sk_blocking_spawn(sched, submit_more, &depth, sizeof depth, NULL), 0);
	EVENTUALLY(count_of(&finished) == (1u << depth) - 1);
	T_LE(POOL(threads), 2);
	end_sched(sched, 100);
}

/* ---- Without memory, without threads ---- */

T_TEST(blocking, a_job_that_finds_no_memory_is_refused)
{
	skua_task *task = (skua_task *)&numbers[0];
	int64_t before;

	limit_memory();
	make_pool(2, 1000);
	before = blocks_in_use();
	T_EQ(sk_blocking_spawn(sched, nothing, NULL, SIZE_MAX / 2, &task), -ENOMEM);
	/* The task; the record of its thread. */
	for (int64_t allowed = 0; allowed < 2; allowed++) {
		allow_allocations(allowed);
		task = NULL;
		T_EQ(sk_blocking_spawn(sched, nothing, NULL, 0, &task), -ENOMEM);
		T_NULL(task);
		T_EQ(sk_blocking_spawn(sched, nothing, NULL, 0, NULL), -ENOMEM);
		allow_allocations(-1);
		T_EQ(blocks_in_use(), before);
	}
	T_EQ(POOL(threads), 0);
	task = submit(nothing, NULL, 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(count_of(&finished), 1);
	end_sched(sched, 100);
	T_EQ(blocks_in_use(), 0);
}

/* Asks for stacks larger than any address space, so that no thread can be made. */
static void forbid_threads(bool forbid)
{
	static size_t usual;
	pthread_attr_t attributes;

	T_EQ(pthread_getattr_default_np(&attributes), 0);
	if (usual == 0)
		T_EQ(pthread_attr_getstacksize(&attributes, &usual), 0);
	T_EQ(pthread_attr_setstacksize(&attributes, forbid ? (size_t)1 << 50 : usual), 0);
	T_EQ(pthread_setattr_default_np(&attributes), 0);
	pthread_attr_destroy(&attributes);
}

T_TEST(blocking, without_any_thread_a_job_is_refused)
{
	skua_task *task = NULL;

	make_pool(4, 1000);
	forbid_threads(true);
	T_EQ(sk_blocking_spawn(sched, nothing, NULL, 0, &task), -EAGAIN);
	T_NULL(task);
	T_EQ(sk_blocking_spawn(sched, nothing, NULL, 0, NULL), -EAGAIN);
	T_EQ(POOL(threads), 0);
	forbid_threads(false);
	task = submit(answer, &numbers[3], sizeof numbers[3]);
	T_EQ(skua_task_wait(&task), 3);
	T_EQ(count_of(&finished), 1);
	end_sched(sched, 100);
}

T_TEST(blocking, with_one_thread_alive_a_job_is_late_but_not_lost)
{
	skua_task *first, *second;

	make_pool(4, 1000);
	first = submit(wait_at_gate, &numbers[1], sizeof numbers[1]);
	EVENTUALLY(count_of(&running) == 1);
	forbid_threads(true);
	second = submit(answer, &numbers[2], sizeof numbers[2]);
	T_EQ(POOL(threads), 1);
	forbid_threads(false);
	count_up(&gate);
	T_EQ(skua_task_wait(&first), 1);
	T_EQ(skua_task_wait(&second), 2);
	end_sched(sched, 100);
}

/* ---- Many threads ---- */

enum { SUBMITTERS = 3, MOST_JOBS = 4000 };

static struct {
	unsigned jobs;
	uint32_t ran[SUBMITTERS][MOST_JOBS];
} stress;

static int64_t run_once(void *argument)
{
	uint32_t *cell = *(uint32_t **)argument;

	T_EQ(*cell, 0);
	*cell = 1;
	count_up(&finished);
	return 0;
}

static void submitter_main(void *argument)
{
	uint32_t *cells = argument, random = (uint32_t)((uintptr_t)argument >> 4) | 1;

	for (unsigned i = 0; i < stress.jobs; i++) {
		uint32_t *cell = &cells[i];
		skua_task *task = NULL;

		T_EQ(sk_blocking_spawn(sched, run_once, &cell, sizeof cell,
				       i % 4 == 0 ? &task : NULL),
		     0);
		if (task != NULL)
			T_EQ(skua_task_wait(&task), 0);
		/* Now and then long enough for threads to expire. */
		if (sk_random(&random) % 256 == 0)
			sleep_ms(2);
	}
}

static void run_stress(uint32_t keepalive_ms)
{
	sk_thread threads[SUBMITTERS];

	stress.jobs = rounds_of(MOST_JOBS);
	make_pool(3, keepalive_ms);
	for (unsigned i = 0; i < SUBMITTERS; i++)
		T_EQ(sk_thread_start(&threads[i], "submitter", submitter_main, stress.ran[i]), 0);
	for (unsigned i = 0; i < SUBMITTERS; i++)
		sk_thread_join(&threads[i]);
	EVENTUALLY(count_of(&finished) == SUBMITTERS * stress.jobs);
	sk_sched_close(sched);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	T_EQ(sched->blocking.spawned, SUBMITTERS * stress.jobs);
	T_EQ(sched->blocking.completed, SUBMITTERS * stress.jobs);
	sk_sched_stop(sched);
	sk_sched_free(sched);
	for (unsigned i = 0; i < SUBMITTERS; i++)
		for (unsigned j = 0; j < stress.jobs; j++)
			T_EQ(stress.ran[i][j], 1);
}

T_TEST(blocking, stress_every_job_runs_once)
{
	run_stress(1000);
}

T_TEST(blocking, stress_every_job_runs_once_while_threads_come_and_go)
{
	run_stress(1);
}
