/* token.c - see token.h. */
#include "sched/token.h"

#include <errno.h>

#include "sched/task.h"

/* The root, and what belongs to the whole tree. */
struct sk_token_tree {
	skua_token root;
	sk_mutex lock;
};

enum { CALL_BATCH = 64 };

/* ---- The tree ---- */

static void token_init(skua_token *token, skua_token *parent, struct sk_token_tree *tree)
{
	sk_init(&token->references, 1);
	sk_init(&token->cancelled, 0);
	sk_mutex_init(&token->lock);
	token->tree = tree;
	token->parent = parent;
	token->children = token->previous = token->next = NULL;
	token->listeners = NULL;
	token->marked = NULL;
}

static int new_tree(skua_token **out)
{
	struct sk_token_tree *tree = sk_malloc(sizeof *tree);

	if (tree == NULL)
		return -ENOMEM;
	token_init(&tree->root, NULL, tree);
	sk_mutex_init(&tree->lock);
	*out = &tree->root;
	return 0;
}

int sk_token_new(skua_token *parent, skua_token **out)
{
	skua_token *token;

	if (parent == NULL)
		return new_tree(out);
	token = sk_malloc(sizeof *token);
	if (token == NULL)
		return -ENOMEM;
	token_init(token, parent, parent->tree);
	sk_token_hold(parent);
	sk_mutex_lock(&parent->tree->lock);
	sk_init(&token->cancelled, sk_load(&parent->cancelled, SK_RELAXED));
	token->next = parent->children;
	if (token->next != NULL)
		token->next->previous = token;
	parent->children = token;
	sk_mutex_unlock(&parent->tree->lock);
	*out = token;
	return 0;
}

/* Takes a token without references out of the tree, and frees it. */
static void token_free(skua_token *token)
{
	struct sk_token_tree *tree = token->tree;
	skua_token *parent = token->parent;

	sk_assert(token->children == NULL && token->listeners == NULL);
	if (parent == NULL) {
		sk_mutex_destroy(&token->lock);
		sk_mutex_destroy(&tree->lock);
		sk_free_sized(tree, sizeof *tree);
		return;
	}
	sk_mutex_lock(&tree->lock);
	if (token->previous != NULL)
		token->previous->next = token->next;
	else
		parent->children = token->next;
	if (token->next != NULL)
		token->next->previous = token->previous;
	sk_mutex_unlock(&tree->lock);
	sk_mutex_destroy(&token->lock);
	sk_free_sized(token, sizeof *token);
}

void sk_token_hold(skua_token *token)
{
	/* Relaxed: whoever adds a reference has one. */
	sk_fetch_add(&token->references, 1, SK_RELAXED);
}

void sk_token_release(skua_token *token)
{
	/* Release, and acquire for the last one: everybody is done with it. */
	while (token != NULL && sk_fetch_sub(&token->references, 1, SK_ACQ_REL) == 1) {
		skua_token *parent = token->parent;

		token_free(token);
		token = parent;
	}
}

/* ---- Cancelling ---- */

/* Marks one token, and chains it up if it has listeners. False: it was cancelled before. */
static bool mark(skua_token *token, skua_token **chain)
{
	if (sk_load(&token->cancelled, SK_RELAXED) != 0)
		return false;
	/* Release: pairs with the acquire in sk_token_is_cancelled. */
	sk_store(&token->cancelled, 1, SK_RELEASE);
	sk_mutex_lock(&token->lock);
	if (token->listeners != NULL) {
		sk_token_hold(token);
		token->marked = *chain;
		*chain = token;
	}
	sk_mutex_unlock(&token->lock);
	return true;
}

/* Marks a token and all below it; what is below a cancelled one is cancelled already. */
static skua_token *mark_subtree(skua_token *top)
{
	skua_token *chain = NULL, *token = top;

	for (;;) {
		if (mark(token, &chain) && token->children != NULL) {
			token = token->children;
			continue;
		}
		while (token != top && token->next == NULL)
			token = token->parent;
		if (token == top)
			return chain;
		token = token->next;
	}
}

/* A listener that was taken out. */
struct call {
	void (*cancelled)(struct sk_token_listener *listener);
	struct sk_token_listener *listener;
	sk_waiter waiter;
};

static void remove_listener(struct sk_token_listener *listener)
{
	*listener->place = listener->next;
	if (listener->next != NULL)
		listener->next->place = listener->place;
	listener->place = NULL;
}

/* Takes some listeners out. Returns how many. */
static unsigned take_listeners(skua_token *token, struct call *calls)
{
	unsigned count = 0;

	sk_mutex_lock(&token->lock);
	while (count < CALL_BATCH && token->listeners != NULL) {
		struct sk_token_listener *listener = token->listeners;
		struct call *call = &calls[count++];

		remove_listener(listener);
		call->cancelled = listener->ops->cancelled;
		call->listener = listener;
		/* May be the last touch: its owner may now free it. */
		call->waiter = listener->ops->take(listener);
	}
	sk_mutex_unlock(&token->lock);
	return count;
}

static void call_listeners(skua_token *token)
{
	struct call calls[CALL_BATCH];
	unsigned count;

	do {
		count = take_listeners(token, calls);
		for (unsigned i = 0; i < count; i++) {
			sk_waiter_wake(calls[i].waiter);
			if (calls[i].cancelled != NULL)
				calls[i].cancelled(calls[i].listener);
		}
	} while (count == CALL_BATCH);
}

void sk_token_cancel(skua_token *token)
{
	skua_token *chain;

	sk_mutex_lock(&token->tree->lock);
	chain = mark_subtree(token);
	sk_mutex_unlock(&token->tree->lock);
	while (chain != NULL) {
		skua_token *next = chain->marked;

		call_listeners(chain);
		sk_token_release(chain);
		chain = next;
	}
}

/* ---- Listening ---- */

bool sk_token_listen(skua_token *token, struct sk_token_listener *listener,
		     const struct sk_token_listener_ops *ops)
{
	bool cancelled;

	sk_mutex_lock(&token->lock);
	/* Acquire: as in sk_token_is_cancelled. */
	cancelled = sk_load(&token->cancelled, SK_ACQUIRE) != 0;
	if (!cancelled) {
		sk_token_hold(token);
		listener->token = token;
		listener->ops = ops;
		listener->next = token->listeners;
		listener->place = &token->listeners;
		if (listener->next != NULL)
			listener->next->place = &listener->next;
		token->listeners = listener;
	}
	sk_mutex_unlock(&token->lock);
	return !cancelled;
}

bool sk_token_unlisten(struct sk_token_listener *listener)
{
	skua_token *token = listener->token;
	bool listened;

	if (token == NULL)
		return false;
	sk_mutex_lock(&token->lock);
	listened = listener->place != NULL;
	if (listened)
		remove_listener(listener);
	sk_mutex_unlock(&token->lock);
	listener->token = NULL;
	sk_token_release(token);
	return listened;
}

/* ---- Waiting ---- */

static struct sk_token_waiter *waiter_of(struct sk_token_listener *listener)
{
	return (struct sk_token_waiter *)(void *)listener;
}

static sk_waiter fire(struct sk_token_listener *listener)
{
	return sk_slot_fire(&waiter_of(listener)->slot);
}

static const struct sk_token_listener_ops waiter_ops = {fire, NULL};

/* The task ends, and has not awaited its token to the end. */
static void take_back(struct sk_obligation *obligation, skua_task *task)
{
	(void)task;
	sk_token_wait_end(
		(struct sk_token_waiter *)(void *)((char *)obligation -
						   offsetof(struct sk_token_waiter, obligation)));
}

static const struct sk_obligation_ops obligation_ops = {take_back, "token", true};

skua_poll sk_token_wait_begin(struct sk_token_waiter *waiter, skua_token *token, const skua_cx *cx)
{
	skua_poll waits;

	sk_slot_init(&waiter->slot);
	waits = sk_slot_wait(&waiter->slot, cx);
	if (waits != SKUA_PENDING)
		return waits;
	if (!sk_token_listen(token, &waiter->listener, &waiter_ops)) {
		sk_slot_reset(&waiter->slot);
		return 0;
	}
	waiter->obligation.ops = &obligation_ops;
	if (cx->task != NULL)
		sk_obligation_add(&cx->task->obligations, &waiter->obligation);
	return SKUA_PENDING;
}

void sk_token_wait_end(struct sk_token_waiter *waiter)
{
	struct sk_token_listener *listener = &waiter->listener;

	if (listener->token == NULL)
		return;
	/* Once the slot is ready, who cancels has let go of it. */
	if (sk_slot_is_ready(&waiter->slot)) {
		sk_token_release(listener->token);
		listener->token = NULL;
	} else {
		(void)sk_token_unlisten(listener);
	}
	sk_slot_reset(&waiter->slot);
	sk_obligation_remove(&waiter->obligation);
}
