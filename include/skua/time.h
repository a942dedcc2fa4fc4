/*
 * skua/time.h - sleeping, and a deadline on any await. Times are nanoseconds of the monotonic
 * clock; a timer fires at its time or later, never before.
 */
#ifndef SKUA_TIME_H
#define SKUA_TIME_H

#include "future.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SKUA_USEC UINT64_C(1000)
#define SKUA_MSEC UINT64_C(1000000)
#define SKUA_SEC UINT64_C(1000000000)

/*
 * One timer, a member of the struct of whoever awaits. Zero it before the first use; after each
 * await it may be used again. It serves one await at a time: a sleep inside a skua_timeout, or a
 * skua_timeout inside another, needs its own (-EINVAL otherwise). The fields are private. A task's
 * timers are disarmed when the task ends; memory that goes earlier than its task needs
 * skua_timer_cancel first.
 */
typedef struct SKUA_MAY_ALIAS skua_timer {
	uint64_t opaque[12];
} skua_timer;

/* Now, in nanoseconds of the monotonic clock. Any thread; never blocks. */
SKUA_API uint64_t skua_now(void);

/*
 * Awaits the passing of `ns` nanoseconds from the first poll of this await. Ready with 0;
 * -ECANCELED, -ENOMEM. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_sleep(skua_cx *cx, skua_timer *timer, uint64_t ns);

/* The same until a moment of skua_now(); one in the past is ready at once. From a poll. */
SKUA_API SKUA_MUST_USE skua_poll skua_sleep_until(skua_cx *cx, skua_timer *timer, uint64_t when);

/*
 * Puts a deadline on an operation:
 *
 *     SKUA_AWAIT(n = skua_timeout(cx, &self->timer, 5 * SKUA_SEC, skua_read(cx, ...)));
 *
 * The time runs from the first poll of this await. The operation is always tried, and one that is
 * ready gives its own result; the clock is looked at only when it has to wait. When the time is up,
 * the await that is going on inside it returns -ECANCELED, once, having taken back whatever it had
 * registered; if the operation then ends with -ECANCELED, the result of the whole is -ETIMEDOUT. So
 * a coroutine inside cleans up as if it were cancelled, and may await while it does.
 *
 * They may be nested, each with a timer of its own: the nearest deadline wins, and an outer one is
 * never mistaken for the inner one. A timer whose memory could not be had gives -ENOMEM in the same
 * way. From a poll.
 */
#define skua_timeout(cx, timer, ns, operation)                                                     \
	(skua_timeout_begin((cx), (timer), (ns)), skua_timeout_end((cx), (timer), (operation)))

/* The same with a moment of skua_now() instead of a length of time. From a poll. */
#define skua_deadline(cx, timer, when, operation)                                                  \
	(skua_deadline_begin((cx), (timer), (when)), skua_timeout_end((cx), (timer), (operation)))

/* The halves of skua_timeout and skua_deadline; not for use on their own. From a poll. */
SKUA_API void skua_timeout_begin(skua_cx *cx, skua_timer *timer, uint64_t ns);
SKUA_API void skua_deadline_begin(skua_cx *cx, skua_timer *timer, uint64_t when);
SKUA_API SKUA_MUST_USE skua_poll skua_timeout_end(skua_cx *cx, skua_timer *timer, skua_poll result);

/* Disarms a timer whose await will not be polled again, before its memory goes. A timer that is
 * not armed is left alone. Only from the task that armed it (another one would race with it); never
 * blocks. */
SKUA_API void skua_timer_cancel(skua_timer *timer);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_TIME_H */
