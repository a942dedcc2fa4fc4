/*
 * skua/cancel.h - what keeps a cancellation away for a while.
 *
 * Asking a task to stop is skua_cancel (skua/task.h); a deadline on an operation is skua_timeout
 * (skua/time.h). Both arrive as -ECANCELED from the next await.
 */
#ifndef SKUA_CANCEL_H
#define SKUA_CANCEL_H

#include "future.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Shields an operation, such as the last message of a protocol, from what wants to end it:
 *
 *     SKUA_AWAIT(rc = skua_shield(cx, skua_timeout(cx, &self->timer, SKUA_SEC, say_goodbye(...))));
 *
 * While it goes on, the cancellation of the task, the end of the runtime and every deadline outside
 * the shield wait; the next await after it is told. Deadlines inside the shield work as ever: give it
 * one, since nothing else ends it but the end of the grace period of skua_runtime_free. May be nested.
 * From a poll.
 */
#define skua_shield(cx, operation) (skua_shield_begin(cx), skua_shield_end((cx), (operation)))

/* The halves of skua_shield; not for use on their own. From a poll; never block. */
SKUA_API void skua_shield_begin(skua_cx *cx);
SKUA_API SKUA_MUST_USE skua_poll skua_shield_end(skua_cx *cx, skua_poll result);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_CANCEL_H */
