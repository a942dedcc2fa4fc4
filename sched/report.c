/*
 * report.c - sk_sched_report: what a scheduler waits for when the grace period of its shutdown is over
 * and it cannot go on: polls that do not return, and calls that block. One line for each.
 *
 * Such a poll goes on while it is looked at, and may end. Its task and future are copied (sk_peek), and
 * what was copied counts only if the worker is still in the same poll afterwards. The names in it are
 * constants.
 */
#include "sched/log.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"

enum { LONG_POLL_NS = 10000000 };

/* What a worker polls: the number of the poll, and the task or NULL. */
struct poll_seen {
	uint64_t tick;
	skua_task *task;
};

static struct poll_seen look_at(struct sk_worker *worker)
{
	/* Relaxed: what is read later is worth nothing if this has changed by then. */
	struct poll_seen seen = {sk_load(&worker->tick, SK_RELAXED), NULL};

	if (!sk_peek(&seen.task, &worker->running, sizeof(void *)))
		seen.task = NULL;
	return seen;
}

static void report_poll(struct sk_worker *worker, const struct poll_seen *before)
{
	const skua_future_ops *ops;
	struct poll_seen after;
	skua_future future;
	skua_task task;

	if (before->task == NULL || !sk_peek(&task, before->task, sizeof task) ||
	    !sk_peek(&future, task.future, sizeof future))
		return;
	after = look_at(worker);
	if (after.tick != before->tick || after.task != before->task)
		return;
	ops = future.ops;
	sk_log(SK_LOG_WARN,
	       "shutdown: task %s is in a poll that does not return, on worker %u (last await at line "
	       "%u of %s): it is waited for",
	       ops->name != NULL ? ops->name : "unnamed", worker->index, future.line,
	       ops->file != NULL ? ops->file : "an unknown file");
}

/* Lets polls that are merely going on come to their end. */
static void wait_a_moment(struct sk_sched *sched)
{
	uint64_t until = sk_now() + LONG_POLL_NS;

	sk_mutex_lock(&sched->drain_lock);
	while (sk_cond_wait_until(&sched->drained, &sched->drain_lock, until))
		;
	sk_mutex_unlock(&sched->drain_lock);
}

void sk_sched_report(struct sk_sched *sched)
{
	struct poll_seen seen[SK_MAX_WORKERS];
	uint32_t workers = sk_sched_width(sched);
	bool any = false;

	for (uint32_t i = 0; i < workers; i++) {
		seen[i] = look_at(sched->workers[i]);
		any = any || seen[i].task != NULL;
	}
	if (any)
		wait_a_moment(sched);
	for (uint32_t i = 0; i < workers; i++)
		report_poll(sched->workers[i], &seen[i]);
	sk_blocking_report(&sched->blocking);
}
