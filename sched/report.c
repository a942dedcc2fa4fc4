/*
 * report.c - what is told when the grace period of a shutdown is over: what the scheduler waits for and
 * cannot end, polls that do not return and calls that block (sk_sched_report); then which tasks are
 * dropped, and what they were waiting for. One line for each.
 *
 * A poll that does not return goes on while it is looked at, and may end. Its task and future are copied
 * (sk_peek), and what was copied counts only if the worker is still in the same poll afterwards. The
 * names in it are constants.
 */
#include "sched/report.h"

#include <stdio.h>

#include "sched/log.h"
#include "sched/obligation.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"

enum {
	LONG_POLL_NS = 10000000,
	REPORTED = 20,    /* tasks that are named */
	PLACE_SIZE = 200, /* of the texts that a line is made of */
	WAITS_SIZE = 120,
	JOINER_SIZE = 80,
};

bool sk_report_peek(const skua_task *task, struct sk_task_seen *seen)
{
	struct sk_task_extension extension;
	skua_future_ops ops;
	skua_future future;
	skua_task copy;

	if (!sk_peek(&copy, task, sizeof copy) || !sk_peek(&future, copy.future, sizeof future) ||
	    !sk_peek(&ops, future.ops, sizeof ops))
		return false;
	*seen = (struct sk_task_seen){ops.name, ops.file, future.line};
	if (copy.extended && copy.size >= sizeof copy + sizeof extension &&
	    sk_peek(&extension, (const char *)task + copy.size - sizeof extension,
		    sizeof extension) &&
	    extension.name != NULL)
		seen->name = extension.name;
	return true;
}

static const char *or_unnamed(const char *name)
{
	return name != NULL ? name : "unnamed";
}

/* ---- Polls that do not return ---- */

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
	struct sk_task_seen task;
	struct poll_seen after;
	char place[PLACE_SIZE];

	if (before->task == NULL || !sk_report_peek(before->task, &task))
		return;
	after = look_at(worker);
	if (after.tick != before->tick || after.task != before->task)
		return;
	if (task.line > 0 && task.file != NULL)
		snprintf(place, sizeof place, "its last await was %.160s:%u", task.file,
			 (unsigned)task.line);
	else
		snprintf(place, sizeof place, "it has not awaited yet");
	sk_log(SK_LOG_WARN,
	       "shutdown: task %s is in a poll that does not return, on worker %u; %s: it is waited for",
	       or_unnamed(task.name), worker->index, place);
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

/* ---- Tasks that are dropped ---- */

/* What it has begun and not ended, as a list. False: nothing that it could wait for. */
static bool list_waits(const skua_task *task, char *text, size_t size)
{
	size_t length = 0;

	for (const struct sk_obligation *each = task->obligations; each != NULL;
	     each = each->next) {
		int more;

		if (!each->ops->is_wait)
			continue;
		more = snprintf(text + length, size - length, "%s%s", length > 0 ? ", " : "",
				each->ops->name);
		if (more < 0 || (size_t)more >= size - length)
			break;
		length += (size_t)more;
	}
	return length > 0;
}

static void describe_wait(const skua_task *task, char *text, size_t size)
{
	char list[WAITS_SIZE];

	if (!task->owned)
		snprintf(text, size, "it has never been polled");
	else if ((sk_load(&task->state, SK_RELAXED) & SK_TASK_SCHEDULED) != 0)
		snprintf(text, size, "it was about to go on");
	else if (task->ending)
		snprintf(text, size, "it has returned, and waits for the children of its scope");
	else if (list_waits(task, list, sizeof list))
		snprintf(text, size, "pending: %s", list);
	else
		snprintf(text, size, "it waits for another task, or a waker");
}

/* Who awaits it. A task of another runtime may be about to go. */
static void describe_joiner(const skua_task *task, char *text, size_t size)
{
	uintptr_t word = sk_load(&task->join, SK_RELAXED);
	const skua_task *joiner = sk_is_waiter(word) ? sk_waiter_task(word) : NULL;
	struct sk_task_seen seen;
	skua_task copy;

	text[0] = '\0';
	if (joiner != NULL && sk_peek(&copy, joiner, sizeof copy) && copy.sched == task->sched &&
	    sk_report_peek(joiner, &seen))
		snprintf(text, size, "; task %s awaits it", or_unnamed(seen.name));
	else if (sk_is_waiter(word))
		snprintf(text, size, "; somebody outside awaits it");
}

void sk_report_dropped(struct sk_dropped_report *report, const skua_task *task)
{
	const skua_future *future = task->future;
	const char *file = future->ops->file != NULL ? future->ops->file : "an unknown file";
	char place[PLACE_SIZE], wait[WAITS_SIZE + 16], joiner[JOINER_SIZE];

	if (report->count++ >= REPORTED || !sk_log_passes(SK_LOG_WARN))
		return;
	if (future->line > 0)
		snprintf(place, sizeof place, "at %.160s:%u", file, (unsigned)future->line);
	else
		snprintf(place, sizeof place, "in %.160s", file);
	describe_wait(task, wait, sizeof wait);
	describe_joiner(task, joiner, sizeof joiner);
	sk_log(SK_LOG_WARN, "shutdown: task %s did not end in time and is dropped, %s; %s%s",
	       sk_task_name(task), place, wait, joiner);
}

void sk_report_dropped_end(const struct sk_dropped_report *report)
{
	if (report->count > REPORTED)
		sk_log(SK_LOG_WARN, "shutdown: and %u more tasks are dropped",
		       report->count - REPORTED);
}
