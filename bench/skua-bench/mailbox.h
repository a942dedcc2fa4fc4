/*
 * mailbox.h - a channel for one value at a time, from one task to another. In a header, as the peer's is
 * inlined by its compiler.
 */
#ifndef SKUA_BENCH_MAILBOX_H
#define SKUA_BENCH_MAILBOX_H

#include <skua.h>
#include <stdatomic.h>

#include "bench.h"

struct mailbox {
	atomic_uint state;
	int64_t value;
	skua_waker waiting; /* the side that waits */
};

/* FREE and FULL say whether there is a value; somebody waits for it to change: BLOCKED. Only one side can
 * ever wait, the one that cannot go on. */
enum { MAILBOX_FREE, MAILBOX_FULL, MAILBOX_FREE_BLOCKED, MAILBOX_FULL_BLOCKED };

/* Waits for `state` to change: either it has, or the waker is left. */
static inline bool mailbox_block(skua_cx *cx, struct mailbox *mailbox, unsigned state,
				 unsigned blocked)
{
	must(skua_waker_clone(skua_cx_waker(cx), &mailbox->waiting), "skua_waker_clone");
	if (atomic_compare_exchange_strong_explicit(&mailbox->state, &state, blocked,
						    memory_order_release, memory_order_relaxed))
		return true;
	skua_waker_drop(&mailbox->waiting);
	return false;
}

/* Changes the state, and wakes whoever waited for that. */
static inline void mailbox_change(struct mailbox *mailbox, unsigned state, unsigned blocked)
{
	if (atomic_exchange_explicit(&mailbox->state, state, memory_order_acq_rel) == blocked) {
		skua_waker waker = mailbox->waiting;

		skua_waker_wake(&waker);
	}
}

static inline skua_poll mailbox_send(skua_cx *cx, struct mailbox *mailbox, int64_t value)
{
	unsigned state = atomic_load_explicit(&mailbox->state, memory_order_acquire);

	if (state == MAILBOX_FULL_BLOCKED ||
	    (state == MAILBOX_FULL &&
	     mailbox_block(cx, mailbox, MAILBOX_FULL, MAILBOX_FULL_BLOCKED)))
		return SKUA_PENDING;
	mailbox->value = value;
	mailbox_change(mailbox, MAILBOX_FULL, MAILBOX_FREE_BLOCKED);
	return 0;
}

static inline skua_poll mailbox_receive(skua_cx *cx, struct mailbox *mailbox)
{
	unsigned state = atomic_load_explicit(&mailbox->state, memory_order_acquire);
	int64_t value;

	if (state == MAILBOX_FREE_BLOCKED ||
	    (state == MAILBOX_FREE &&
	     mailbox_block(cx, mailbox, MAILBOX_FREE, MAILBOX_FREE_BLOCKED)))
		return SKUA_PENDING;
	value = mailbox->value;
	mailbox_change(mailbox, MAILBOX_FREE, MAILBOX_FULL_BLOCKED);
	return value;
}

/* Takes back the waker of a receiver that will not be polled again, unless it has been woken. */
static inline void mailbox_stop_receiving(struct mailbox *mailbox)
{
	unsigned state = MAILBOX_FREE_BLOCKED;

	/* Then the waker is still this side's own. */
	if (atomic_load_explicit(&mailbox->state, memory_order_relaxed) == MAILBOX_FREE_BLOCKED &&
	    atomic_compare_exchange_strong_explicit(&mailbox->state, &state, MAILBOX_FREE,
						    memory_order_relaxed, memory_order_relaxed))
		skua_waker_drop(&mailbox->waiting);
}

#endif /* SKUA_BENCH_MAILBOX_H */
