/* oneshot.c - see oneshot.h. */
#include "oneshot.h"

#include <stdlib.h>

#include "../../examples/common.h"
#include "bench.h"

/* ---- Oneshot ---- */

enum { EMPTY, WAITING, SENT };

struct oneshot *oneshot_new(void)
{
	struct oneshot *oneshot = malloc(sizeof *oneshot);

	if (oneshot == NULL)
		die(1, "no memory");
	atomic_init(&oneshot->state, EMPTY);
	atomic_init(&oneshot->sides, 2);
	oneshot->waker = (skua_waker){NULL, NULL};
	return oneshot;
}

static void leave(struct oneshot *oneshot)
{
	if (atomic_fetch_sub_explicit(&oneshot->sides, 1, memory_order_acq_rel) == 1)
		free(oneshot);
}

void oneshot_send(struct oneshot *oneshot, int64_t value)
{
	oneshot->value = value;
	/* Release: the value. Acquire: the waker. */
	if (atomic_exchange_explicit(&oneshot->state, SENT, memory_order_acq_rel) == WAITING)
		skua_waker_wake(&oneshot->waker);
	leave(oneshot);
}

skua_poll oneshot_receive(skua_cx *cx, struct oneshot *oneshot)
{
	unsigned state = atomic_load_explicit(&oneshot->state, memory_order_acquire);
	int64_t value;

	if (state == EMPTY) {
		must(skua_waker_clone(skua_cx_waker(cx), &oneshot->waker), "skua_waker_clone");
		if (atomic_compare_exchange_strong_explicit(&oneshot->state, &state, WAITING,
							    memory_order_release,
							    memory_order_acquire))
			return SKUA_PENDING;
		skua_waker_drop(&oneshot->waker);
	}
	if (state == WAITING)
		return SKUA_PENDING;
	value = oneshot->value;
	leave(oneshot);
	return value;
}

/* ---- Mailbox ---- */

/* FREE and FULL say whether there is a value; somebody waits for it to change: BLOCKED. BUSY: the
 * waker is being written. Only one side can ever wait, the one that cannot go on. */
enum { FREE, FULL, FREE_BLOCKED, FULL_BLOCKED };

/* Waits for `state` to change: either it has, or the waker is left. */
static bool block(skua_cx *cx, struct mailbox *mailbox, unsigned state, unsigned blocked)
{
	must(skua_waker_clone(skua_cx_waker(cx), &mailbox->waiting), "skua_waker_clone");
	if (atomic_compare_exchange_strong_explicit(&mailbox->state, &state, blocked,
						    memory_order_release, memory_order_relaxed))
		return true;
	skua_waker_drop(&mailbox->waiting);
	return false;
}

/* Changes the state, and wakes whoever waited for that. */
static void change(struct mailbox *mailbox, unsigned state, unsigned blocked)
{
	if (atomic_exchange_explicit(&mailbox->state, state, memory_order_acq_rel) == blocked) {
		skua_waker waker = mailbox->waiting;

		skua_waker_wake(&waker);
	}
}

skua_poll mailbox_send(skua_cx *cx, struct mailbox *mailbox, int64_t value)
{
	unsigned state = atomic_load_explicit(&mailbox->state, memory_order_acquire);

	if (state == FULL_BLOCKED || (state == FULL && block(cx, mailbox, FULL, FULL_BLOCKED)))
		return SKUA_PENDING;
	mailbox->value = value;
	change(mailbox, FULL, FREE_BLOCKED);
	return 0;
}

skua_poll mailbox_receive(skua_cx *cx, struct mailbox *mailbox)
{
	unsigned state = atomic_load_explicit(&mailbox->state, memory_order_acquire);
	int64_t value;

	if (state == FREE_BLOCKED || (state == FREE && block(cx, mailbox, FREE, FREE_BLOCKED)))
		return SKUA_PENDING;
	value = mailbox->value;
	change(mailbox, FREE, FULL_BLOCKED);
	return value;
}

void mailbox_stop_receiving(struct mailbox *mailbox)
{
	unsigned state = FREE_BLOCKED;

	/* Then the waker is still this side's own. */
	if (atomic_load_explicit(&mailbox->state, memory_order_relaxed) == FREE_BLOCKED &&
	    atomic_compare_exchange_strong_explicit(&mailbox->state, &state, FREE,
						    memory_order_relaxed, memory_order_relaxed))
		skua_waker_drop(&mailbox->waiting);
}
