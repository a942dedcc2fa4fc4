/*
 * skua/time.h - sleeping, ticking, a deadline on any await, and a clock that tests can stop.
 *
 * Times are nanoseconds of the monotonic clock, which no one sets and which does not jump. A timer
 * fires at its time or later, never before. Resolution: up to 16 ms a timer is kept to the nanosecond;
 * one that is further away may come later by a 64th of its length, and by 1.05 ms at most, so that
 * those that are far away come together. To that comes what it takes to wake a thread.
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

/* A moment that never comes. */
#define SKUA_NEVER UINT64_MAX

/*
 * One timer, a member of the struct of whoever awaits. Zero it before the first use; after each
 * await it may be used again. It serves one await at a time: a sleep inside a skua_timeout, or a
 * skua_timeout inside another, needs its own (-EINVAL otherwise). The fields are private. A task's
 * timers are disarmed when the task ends; memory that goes earlier than its task needs
 * skua_timer_cancel first.
 */
typedef struct SKUA_MAY_ALIAS skua_timer {
	uint64_t opaque[10];
} skua_timer;

/* Now, in nanoseconds of the monotonic clock; on a thread of a runtime whose clock was paused, that of
 * this runtime's clock. Any thread; never blocks. */
SKUA_API uint64_t skua_now(void);

/*
 * Awaits the passing of `ns` nanoseconds from the first poll of this await. Ready with 0;
 * -ECANCELED, -ENOMEM. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_sleep(skua_cx *cx, skua_timer *timer, uint64_t ns);

/* The same until a moment of skua_now(); one in the past is ready at once. From a poll. */
SKUA_API SKUA_MUST_USE skua_poll skua_sleep_until(skua_cx *cx, skua_timer *timer, uint64_t when);

/*
 * Gives a sleep or a deadline that is going on another moment. To put it off costs next to nothing:
 * this is how to keep the deadline of a connection that must not be idle for too long.
 *
 * Returns 0; -EINVAL if nothing is going on with this timer; -ENOMEM, and it is not armed any more.
 * From a poll of the task that awaits it; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_timer_reset(skua_cx *cx, skua_timer *timer, uint64_t when);

/* What an interval does about ticks that nobody has awaited in time. */
enum {
	SKUA_MISSED_BURST = 0, /* they come one after the other, at once, until it has caught up */
	SKUA_MISSED_DELAY = 1, /* the next one comes a whole period after the late one */
	SKUA_MISSED_SKIP = 2,  /* they are left out; the next one comes when it would have */
};

/* A clock that ticks, a member of the struct of whoever awaits. The fields are private. */
typedef struct SKUA_MAY_ALIAS skua_interval {
	skua_timer timer;
	uint64_t opaque[4];
} skua_interval;

/*
 * Prepares an interval: its first tick comes at `first`, a moment of skua_now() (0: at once), the
 * others every `period` ns. Returns 0; -EINVAL if period is 0 or missed is not one of SKUA_MISSED_*.
 * Before it is shared; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_interval_init(skua_interval *interval, uint64_t first,
					      uint64_t period, uint32_t missed);

/*
 * Awaits the next tick. Ready with the number of ticks that are left out after it (always 0 but with
 * SKUA_MISSED_SKIP); -ECANCELED or -ENOMEM, and the tick has not been taken. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_tick(skua_cx *cx, skua_interval *interval);

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

/* The nearest deadline in force where this is called: of all skua_timeout and skua_deadline around it,
 * up to the nearest skua_shield,
 * as a moment of skua_now(); SKUA_NEVER if there is none. For passing it on, to another machine for
 * example. From a poll; never blocks. */
SKUA_API uint64_t skua_cx_deadline(const skua_cx *cx);

/* The halves of skua_timeout and skua_deadline; not for use on their own. From a poll. */
SKUA_API void skua_timeout_begin(skua_cx *cx, skua_timer *timer, uint64_t ns);
SKUA_API void skua_deadline_begin(skua_cx *cx, skua_timer *timer, uint64_t when);
SKUA_API SKUA_MUST_USE skua_poll skua_timeout_end(skua_cx *cx, skua_timer *timer, skua_poll result);

/* Disarms a timer whose await will not be polled again, before its memory goes. A timer that is
 * not armed is left alone. Only from the task that armed it (another one would race with it); never
 * blocks. */
SKUA_API void skua_timer_cancel(skua_timer *timer);

/* ---- A clock for tests ---- */

/*
 * Stops the clock of a runtime's timers. From then on time passes only by skua_clock_advance, and by
 * itself in one case: when every task waits, no blocking job is left, and some thread of the process waits
 * in skua_block_on or skua_task_wait, then the clock jumps to the next timer, as often as needed. So what
 * sleeps for an hour is tested in no time. A wait ends with what is waited for: whoever returns from it
 * finds the clock at that moment, unless another thread waits as well. Descriptors do not count: what is
 * on its way over a socket may come after the jump. Timers that are armed already stay as they are.
 *
 * Returns 0; -EALREADY; -EINVAL if runtime is NULL. Any thread; never blocks.
 */
SKUA_API int skua_clock_pause(skua_runtime *runtime);

/* Lets it go on from where it is. Returns 0; -EALREADY if it is not paused; -EINVAL if runtime is NULL.
 * Any thread; never blocks. */
SKUA_API int skua_clock_resume(skua_runtime *runtime);

/* Moves a paused clock on: what is due then fires, and whoever is woken sees the new time. Returns 0;
 * -EINVAL if it is not paused or runtime is NULL. Any thread; never blocks. */
SKUA_API SKUA_MUST_USE int skua_clock_advance(skua_runtime *runtime, uint64_t ns);

/* Now, by the clock of this runtime: for threads that are not its own. Any thread; never blocks. */
SKUA_API uint64_t skua_clock_now(const skua_runtime *runtime);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_TIME_H */
