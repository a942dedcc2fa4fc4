/*
 * token.h - cancel tokens: a tree, in which cancelling a token cancels all below it; and those who
 * listen to one.
 *
 * A child has a reference to its parent, a parent none to its children: it only knows them. So a
 * parent lives as long as anything below it, and a child goes with its last reference.
 *
 * Two kinds of locks:
 *   - The tree's, in its root: who is whose child, and the marking of a whole subtree, so that a
 *     cancel has cancelled everything below when it returns, and no child is added in between.
 *   - Each token's own: its listeners. It is taken inside the tree's. So the waits in different
 *     tokens of a tree, one for each connection, say, do not meet.
 *
 * A cancel marks the subtree under the tree's lock, without recursion, and chains up the tokens
 * that have listeners. (A token with a listener has that one's reference: so it can be held, while
 * a token without may be on its way out, kept only by the tree's lock.) Without that lock it then
 * takes the listeners out, some at a time, and calls them when no lock is held.
 *
 * Listening against cancelling. The mark is set before the listeners are looked at, and a listener
 * looks at the mark under the token's lock before it is added: so either it sees the mark, or it is
 * seen.
 */
#ifndef SKUA_SCHED_TOKEN_H
#define SKUA_SCHED_TOKEN_H

#include "sched/interrupt.h"
#include "sched/obligation.h"
#include "sched/sync.h"
#include "sched/waiter.h"

#include "skua/cancel.h"

struct sk_token_tree;
struct sk_token_listener;

struct skua_token {
	SK_ATOMIC(uint32_t) references;
	SK_ATOMIC(uint32_t) cancelled;
	struct sk_token_tree *tree;
	skua_token *parent; /* with a reference */

	/* Under the tree's lock. */
	skua_token *children, *previous, *next;

	/* Under the token's own. */
	sk_mutex lock;
	struct sk_token_listener *listeners;

	skua_token *marked; /* the next one in the chain of the cancel that has marked this one */
};

/* What is known of a kind of listener; one constant for each. */
struct sk_token_listener_ops {
	/*
	 * The token is cancelled; called once, under its lock, so it takes none itself and calls no
	 * user code. Either it touches the listener for the last time, and returns whom to wake (or
	 * SK_NO_WAITER); or it takes a reference that keeps the listener until `cancelled` is
	 * called.
	 */
	sk_waiter (*take)(struct sk_token_listener *self);
	/* The same, without any lock; may be NULL. Gives up what `take` took. */
	void (*cancelled)(struct sk_token_listener *self);
};

struct sk_token_listener {
	skua_token *token;                       /* with a reference; NULL: it does not listen */
	struct sk_token_listener **place, *next; /* place NULL: it is not in the list any more */
	const struct sk_token_listener_ops *ops;
};

/* See skua/cancel.h. */
int sk_token_new(skua_token *parent, skua_token **out);
void sk_token_hold(skua_token *token);
void sk_token_release(skua_token *token);
void sk_token_cancel(skua_token *token);

static inline bool sk_token_is_cancelled(const skua_token *token)
{
	/* Acquire: pairs with the release in sk_token_cancel; what came before that is seen. */
	return sk_load(&token->cancelled, SK_ACQUIRE) != 0;
}

/* Adds a listener that does not listen yet. False: the token is cancelled, nothing was done. */
bool sk_token_listen(skua_token *token, struct sk_token_listener *listener,
		     const struct sk_token_listener_ops *ops);

/*
 * Ends the listening; only its owner does that, in any case, before the memory goes. False: `take`
 * has been called, or it did not listen.
 */
bool sk_token_unlisten(struct sk_token_listener *listener);

/* ---- A task that waits for a token; the user's memory ---- */

/* May alias: it lives in a skua_token_waiter, which users assign as a whole. */
struct __attribute__((may_alias)) sk_token_waiter {
	struct sk_token_listener listener;
	sk_slot slot; /* ready when the token was cancelled */
	struct sk_obligation obligation;
	struct sk_interrupt interrupt; /* for skua_with_token */
};

_Static_assert(sizeof(struct sk_token_waiter) <= sizeof(skua_token_waiter),
	       "skua_token_waiter is too small");

static inline bool sk_token_waits(const struct sk_token_waiter *waiter)
{
	return waiter->listener.token != NULL;
}

/* Waits for one who does not wait yet, on behalf of the one who polls. SKUA_PENDING; 0 if the token
 * is cancelled, or -ENOMEM: then it does not wait. */
skua_poll sk_token_wait_begin(struct sk_token_waiter *waiter, skua_token *token, const skua_cx *cx);

/* Makes sure that it will not be touched any more; it is then as new. */
void sk_token_wait_end(struct sk_token_waiter *waiter);

#endif /* SKUA_SCHED_TOKEN_H */
