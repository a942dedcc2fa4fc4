/*
 * skua/cancel.h - cancel tokens, by which one call ends operations of many tasks; and the shield,
 * which keeps a cancellation away for a while.
 *
 * Asking a task to stop is skua_cancel (skua/task.h); a deadline on an operation is skua_timeout
 * (skua/time.h). Like a token, both arrive as -ECANCELED from the next await.
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
 * the shield wait; the next await after it is told. Deadlines inside the shield work as ever: give
 * it one, since nothing else ends it but the end of the grace period of skua_runtime_free. It shields
 * what is awaited here and nothing else: the children of a scope that was opened before are told when
 * their owner is cancelled, also while it joins them under a shield. May be nested. From a poll.
 */
#define skua_shield(cx, operation) (skua_shield_begin(cx), skua_shield_end((cx), (operation)))

/* The halves of skua_shield; not for use on their own. From a poll; never block. */
SKUA_API void skua_shield_begin(skua_cx *cx);
SKUA_API SKUA_MUST_USE skua_poll skua_shield_end(skua_cx *cx, skua_poll result);

/* ---- Tokens ---- */

/*
 * A cancel token: something that may be cancelled once, with all that is below it. Tokens are
 * counted: each reference is ended by skua_token_release. A token below another needs no reference
 * to that one of the user's, and the other way about.
 */
typedef struct skua_token skua_token;

/*
 * Makes a token, below `parent`, or at the top of a tree of its own if that is NULL. Below a
 * cancelled one it is cancelled from the start. The reference in `*token` is the caller's. Returns
 * 0; -ENOMEM; -EINVAL if token is NULL. Any thread that has a reference to the parent; never
 * blocks.
 */
SKUA_API SKUA_MUST_USE int skua_token_new(skua_token *parent, skua_token **token);

/* One more reference; returns the token. Any thread that has a reference; never blocks. */
SKUA_API skua_token *skua_token_hold(skua_token *token);

/* Gives a reference up; NULL is allowed. Nothing is cancelled by that. Any thread; never blocks. */
SKUA_API void skua_token_release(skua_token *token);

/*
 * Cancels a token and all below it: when it returns, each of them is cancelled, and who waits for
 * one has been woken (by this call or an earlier one that is not quite over). NULL is allowed, and
 * one that is cancelled already is left alone. The time it takes grows with the number of tokens
 * below. Any thread that has a reference; never blocks.
 */
SKUA_API void skua_token_cancel(skua_token *token);

/* Whether it is cancelled; then all that was done before that cancel is seen. NULL never is. Any
 * thread that has a reference; never blocks. */
SKUA_API int skua_token_is_cancelled(const skua_token *token);

/*
 * What waiting for a token needs, a member of the struct of whoever awaits. Zero it before the
 * first use; after each await it may be used again. It serves one await at a time (-EINVAL
 * otherwise), and keeps the token for as long. The fields are private. What a task waits for is
 * taken back when it ends; memory that goes earlier than its task needs skua_token_forget first.
 */
typedef struct SKUA_MAY_ALIAS skua_token_waiter {
	uint64_t opaque[12];
} skua_token_waiter;

/*
 * Awaits the cancellation of a token. Ready with 0 when it is cancelled; -ECANCELED, -ENOMEM
 * (foreign executors only), -EINVAL if token is NULL. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_token_wait(skua_cx *cx, skua_token_waiter *waiter,
						 skua_token *token);

/*
 * Ends an operation when a token is cancelled:
 *
 *     SKUA_AWAIT(n = skua_with_token(cx, &self->waiter, self->stop, skua_read(cx, ...)));
 *
 * It works as skua_timeout does. When the token is cancelled, the await that goes on inside, or the
 * first one if it was cancelled before, returns -ECANCELED, once; if the operation then ends with
 * -ECANCELED, the result of the whole is -EINTR: so one's own token is told from a cancellation of
 * the task. May be nested, each with a waiter of its own. A token of NULL is never cancelled. From
 * a poll.
 */
#define skua_with_token(cx, waiter, token, operation)                                              \
	(skua_with_token_begin((cx), (waiter), (token)),                                           \
	 skua_with_token_end((cx), (waiter), (token), (operation)))

/* The halves of skua_with_token; not for use on their own. From a poll. */
SKUA_API void skua_with_token_begin(skua_cx *cx, skua_token_waiter *waiter,
				    const skua_token *token);
SKUA_API SKUA_MUST_USE skua_poll skua_with_token_end(skua_cx *cx, skua_token_waiter *waiter,
						     skua_token *token, skua_poll result);

/* Takes back a wait that will not be polled again, before its memory goes. One that does not wait
 * is left alone. Only from the task that waits; never blocks. */
SKUA_API void skua_token_forget(skua_token_waiter *waiter);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_CANCEL_H */
