/*
 * runtime.c - the life of a runtime, and the way in for threads that are not workers.
 */
#include "runtime/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/driver.h"
#include "sched/log.h"
#include "sched/task.h"
#include "sched/thread_waker.h"
#include "sched/worker.h"

#include "skua/task.h"

enum { MAX_CPU_LIST = SK_MAX_WORKERS };

/* ---- Beginning ---- */

static bool is_assisted(const skua_config *config)
{
	return config->io_poll == SKUA_IO_POLL_ASSIST;
}

static int new_sched(skua_runtime *rt)
{
	const skua_config *config = &rt->config.public;
	int cpus[MAX_CPU_LIST];
	int count = sk_config_cpu_list(config, cpus, MAX_CPU_LIST);
	struct sk_sched_options options = {
		.workers = config->workers,
		.spare_workers = config->spare_workers,
		.stall_ms = config->stall_ms,
		.budget = config->budget,
		.spin_us = config->spin_us,
		.blocking = {.threads = config->max_blocking,
			     .running = {[SKUA_BLOCKING_FILES] = config->blocking_files,
					 [SKUA_BLOCKING_NAMES] = config->blocking_names},
			     .queued = config->blocking_queue,
			     .keepalive_ms = config->blocking_keepalive_ms},
		.cpus = cpus,
		.runtime = rt,
		.driver_ops = is_assisted(config) ? &sk_io_assisted_driver_ops : &sk_io_driver_ops,
		.driver = rt->head.io->drivers[0],
	};

	if (count < 0)
		return count;
	options.cpu_count = (uint32_t)(count < MAX_CPU_LIST ? count : MAX_CPU_LIST);
	return sk_sched_new(&options, &rt->head.sched);
}

/* Ends whatever of a runtime exists. Returns how many tasks had to be abandoned. */
static unsigned tear_down(skua_runtime *rt)
{
	struct sk_runtime_head *head = &rt->head;
	unsigned abandoned = 0;

	/* The order is that of sched.h: workers, drivers, tasks, descriptors. */
	if (head->sched != NULL)
		sk_sched_stop(head->sched);
	if (head->io != NULL)
		sk_io_stop(head->io);
	if (head->sched != NULL)
		abandoned = sk_sched_free(head->sched);
	if (head->io != NULL)
		sk_io_free(head->io);
	sk_free(rt);
	sk_allocator_release();
	return abandoned;
}

static int start(skua_runtime *rt)
{
	const skua_config *config = &rt->config.public;
	int rc = sk_io_new(config->io_backend, is_assisted(config), config->io_threads,
			   &rt->head.io);

	if (rc == 0)
		rc = new_sched(rt);
	if (rc == 0)
		rc = sk_io_start(rt->head.io, rt->head.sched);
	if (rc == 0)
		rc = sk_sched_start(rt->head.sched);
	return rc;
}

/* Says why as a sentence, unless `config` is not one that was initialised. */
static int cannot_start(skua_config *config, int rc)
{
	if (config->struct_size == sizeof *config)
		snprintf(config->message, sizeof config->message, "the runtime cannot start: %s",
			 skua_strerror(rc));
	return rc;
}

int skua_runtime_new(skua_config *config, skua_runtime **out)
{
	skua_runtime *rt;
	int rc;

	if (config == NULL || out == NULL)
		return -EINVAL;
	if (sk_worker_current() != NULL)
		return cannot_start(config, -EDEADLK);
	rt = sk_calloc(1, sizeof *rt);
	if (rt == NULL)
		return cannot_start(config, -ENOMEM);
	rc = sk_config_resolve_copy(config, &rt->config);
	if (rc < 0) {
		sk_free(rt);
		return rc;
	}
	sk_log_set_level((int)rt->config.public.log);
	sk_allocator_hold();
	rc = start(rt);
	if (rc < 0) {
		tear_down(rt);
		return cannot_start(config, rc);
	}
	*out = rt;
	return 0;
}

/* ---- The end ---- */

/* Lets tasks and jobs end by themselves. What a worker that does not return from a poll has not told yet
 * gets its time when it has. Without a grace period nobody gets any. */
static void let_end(skua_runtime *rt)
{
	uint64_t grace = rt->config.public.shutdown_ms * SKUA_MSEC;
	struct sk_sched *sched = rt->head.sched;

	if (sk_sched_drain(sched, sk_now() + grace))
		return;
	sk_log(SKUA_LOG_WARN, "shutdown: not everything ended within %u ms",
	       rt->config.public.shutdown_ms);
	sk_sched_report(sched);
	if (grace > 0 && sk_sched_wait_until_told(sched))
		(void)sk_sched_drain(sched, sk_now() + grace);
}

int skua_runtime_free(skua_runtime *rt)
{
	struct sk_worker *worker = sk_worker_current();

	if (rt == NULL)
		return 0;
	if ((worker != NULL && worker->sched == rt->head.sched) ||
	    sk_blocking_is_job_thread(rt->head.sched))
		return -EDEADLK;
	sk_sched_close(rt->head.sched);
	let_end(rt);
	return tear_down(rt) > 0 ? -ETIMEDOUT : 0;
}

/* ---- The way in ---- */

skua_poll skua_block_on(skua_runtime *rt, skua_future *future)
{
	struct sk_thread_waker *waker;
	skua_poll result;
	sk_waiter waiter;
	skua_task *task;
	bool abandoned;
	skua_cx cx;
	int rc;

	if (rt == NULL || future == NULL || future->ops == NULL)
		return -EINVAL;
	if (sk_worker_current() != NULL)
		return -EDEADLK;
	/* All memory first: once the future is polled, it must be waited for. */
	waker = sk_thread_waker_new();
	if (waker == NULL)
		return -ENOMEM;
	sk_thread_waker_cx(waker, &cx);
	waiter = sk_waiter_of(&cx);
	rc = waiter == SK_NO_WAITER ? -ENOMEM : 0;
	/* Before the task can run into a timer: a paused clock jumps only for who waits. */
	sk_clock_begin_wait();
	if (rc == 0)
		rc = sk_sched_spawn_reference(rt->head.sched, future, waiter, &task);
	if (rc == 0)
		while (!sk_task_is_complete(task))
			sk_thread_waker_park(waker);
	else
		sk_waiter_drop(waiter);
	sk_clock_end_wait();
	sk_thread_waker_free(waker);
	if (rc < 0)
		return rc;
	abandoned = task->abandoned;
	result = sk_task_take_result(&task);
	return abandoned ? -ECANCELED : result;
}

void skua_runtime_stats(const skua_runtime *rt, skua_stats *stats)
{
	memset(stats, 0, sizeof *stats);
	sk_sched_stats(rt->head.sched, stats);
	sk_io_stats(rt->head.io, stats);
}
