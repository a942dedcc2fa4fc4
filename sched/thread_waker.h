/*
 * thread_waker.h - a waker that unparks a thread, for threads that wait for a task.
 *
 * It is counted, because the one who wakes may still be inside sk_unpark when the thread has
 * already seen the result and gone on (folly#2093).
 */
#ifndef SKUA_SCHED_THREAD_WAKER_H
#define SKUA_SCHED_THREAD_WAKER_H

#include "skua/future.h"

struct sk_thread_waker;

/* For the calling thread. NULL: no memory. */
struct sk_thread_waker *sk_thread_waker_new(void);
void sk_thread_waker_free(struct sk_thread_waker *waker);

/* A context to poll with, valid as long as the waker. */
void sk_thread_waker_cx(struct sk_thread_waker *waker, skua_cx *cx);

/* Counts the thread among those that wait (sk_clock_is_awaited), until the waker is woken; does nothing if
 * it has been woken since the last time. */
void sk_thread_waker_count(struct sk_thread_waker *waker);

/* Sleeps until the waker has been woken since the last time. */
void sk_thread_waker_park(struct sk_thread_waker *waker);

#endif /* SKUA_SCHED_THREAD_WAKER_H */
