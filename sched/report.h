/*
 * report.h - what is told of tasks: those that are dropped when a runtime is freed, and those in a poll
 * that does not return.
 */
#ifndef SKUA_SCHED_REPORT_H
#define SKUA_SCHED_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "skua/future.h"

/* What a task is called, and the last await of its own coroutine. The strings are constants of the
 * program, or NULL. */
struct sk_task_seen {
	const char *name, *file;
	uint32_t line; /* 0: not known */
};

/* Copies that of a task which may run, or be gone: then it may be anything. False: it cannot be read. */
bool sk_report_peek(const skua_task *task, struct sk_task_seen *seen);

/* Tasks that are dropped: the first ones get a line each, the others one for all. */
struct sk_dropped_report {
	unsigned count;
};

/* When no worker runs, and before the first task is dropped: that changes what others wait for. */
void sk_report_dropped(struct sk_dropped_report *report, const skua_task *task);
void sk_report_dropped_end(const struct sk_dropped_report *report);

#endif /* SKUA_SCHED_REPORT_H */
