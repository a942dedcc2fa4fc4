/*
 * guard.h - keeps a runtime from being freed under a thread that is still in the middle of waking
 * one of its tasks.
 *
 * The danger: a foreign thread queues a task and then looks for a sleeping worker; meanwhile the
 * task runs and ends, the runtime is found empty and is freed (async-executor#163 is that bug). A
 * reference count in the runtime does not help, because the thread must reach the runtime to
 * count. So foreign threads count themselves in memory that is always there: a few process-wide
 * counters, spread so that threads seldom share one.
 *
 *     waker:   enter (counter + 1); mark the task SCHEDULED; queue it; wake a worker; leave
 *     free:    every task is COMPLETE; wait until each counter has been 0 once; free
 *
 * Both enter and the completion of a task are sequentially consistent read-modify-writes or are
 * followed by a fence: a waker that enters after the wait looked at its counter finds the task
 * COMPLETE, and touches nothing else. Workers and drivers do not enter; they are joined.
 */
#ifndef SKUA_SCHED_GUARD_H
#define SKUA_SCHED_GUARD_H

void sk_guard_enter(void);
void sk_guard_leave(void);

/* Waits until every thread that had entered before has left. */
void sk_guard_wait(void);

#endif /* SKUA_SCHED_GUARD_H */
