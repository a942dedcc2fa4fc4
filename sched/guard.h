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
 *     free:    every task is COMPLETE; wait until each counter has been 0; free tasks and runtime
 *     spawner: enter; look at the phase; queue the task; wake a worker; leave
 *     close:   the phase is CLOSING; sk_fence; wait until each counter has been 0: nothing is
 *              spawned from here on
 *
 * Whoever enters after the wait looked at its counter finds the task COMPLETE, or the phase CLOSING,
 * and touches nothing else. Entering needs no order of its own for this. A waker that has to queue
 * the task marks it first, so the task does not end before somebody has taken it out of the queue,
 * or has abandoned it: the queue, or the state (release in the mark, the fence of the wait after
 * sk_task_abandon), makes the count seen. A spawner enters and looks by sequentially consistent
 * operations, and who closes has a fence between its write and its look: so one sees the other.
 * Workers and drivers do not enter; they are joined.
 *
 * The counters are the process's, so the wakers of other runtimes could keep them from ever being 0
 * at the moment of a look. Therefore there are two of each, and each wait sends newcomers to the
 * other one, twice (as in sleepable RCU, McKenney 2006).
 */
#ifndef SKUA_SCHED_GUARD_H
#define SKUA_SCHED_GUARD_H

/* Returns what has to be given to sk_guard_leave. Not to be held while anything is waited for. */
unsigned sk_guard_enter(void);
void sk_guard_leave(unsigned side);

/* Waits until every thread that had entered before has left. Not between enter and leave. */
void sk_guard_wait(void);

#endif /* SKUA_SCHED_GUARD_H */
