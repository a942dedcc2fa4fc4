/* run.h - one poll of a task by its worker. */
#ifndef SKUA_SCHED_RUN_H
#define SKUA_SCHED_RUN_H

#include "skua/future.h"

struct sk_worker;

/* Polls a task that was taken out of a queue, and sees to what follows from the result. */
void sk_run(struct sk_worker *worker, skua_task *task);

/* Gives back the memory of tasks of this worker's list that have ended on other workers. */
void sk_reap(struct sk_worker *worker);

#endif /* SKUA_SCHED_RUN_H */
