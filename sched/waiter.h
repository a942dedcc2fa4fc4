/*
 * waiter.h - who waits, in one word; and the slot in which one waiter meets one event.
 *
 * A waiter is a task (a pointer, with a reference to it) or the waker of a foreign executor (a
 * pointer to a box, marked by its lowest bits). It belongs to whoever holds the word.
 *
 * A slot is empty, ready, or holds a waiter:
 *
 *     wait    empty -> waiter   by the one who waits. If the slot is ready, it need not wait.
 *     fire    any -> ready      by whoever brings the event; who was there is woken.
 *     reset   any -> empty      by the one who waits, BEFORE it looks again at what it waits for:
 *                               an event after the reset makes the slot ready, and is not lost.
 *
 * One atomic operation changes a slot, a read-modify-write: there is no lock and no moment at which
 * an event can fall between. An event that comes after the waiter finds it; one that came before is
 * found by the wait, or was taken out by the reset, which has acquired what came with it. So no more
 * than acquire and release is needed, also where the waiter looks at a second word after it waits
 * (io/source.h, "close against wait").
 *
 * The idea of a slot with a sticky ready state is that of Go's pollDesc (runtime/netpoll.go).
 */
#ifndef SKUA_SCHED_WAITER_H
#define SKUA_SCHED_WAITER_H

#include "sched/sync.h"

#include "skua/future.h"

typedef uintptr_t sk_waiter;

enum { SK_NO_WAITER = 0, SK_SLOT_EMPTY = 0, SK_SLOT_READY = 1 };

typedef SK_ATOMIC(uintptr_t) sk_slot;

static inline bool sk_is_waiter(uintptr_t word)
{
	return word > SK_SLOT_READY;
}

/* The one who polls with this context; SK_NO_WAITER if there is no memory (foreign wakers only). */
sk_waiter sk_waiter_of(const skua_cx *cx);

/* A waiter for any waker, which it takes over. SK_NO_WAITER: no memory, the waker is kept. */
sk_waiter sk_waiter_of_waker(skua_waker *waker);

/* Ends a waiter, with or without waking. SK_NO_WAITER is allowed. */
void sk_waiter_wake(sk_waiter waiter);
void sk_waiter_drop(sk_waiter waiter);

/* The task that waits, or NULL if it is a foreign waker. */
skua_task *sk_waiter_task(sk_waiter waiter);

static inline void sk_slot_init(sk_slot *slot)
{
	sk_init(slot, SK_SLOT_EMPTY);
}

/*
 * Waits in the slot for the one who polls with `cx`. Returns 0 if the slot is ready, SKUA_PENDING
 * if it now waits there or did already, -EBUSY if another task does, -ENOMEM.
 */
skua_poll sk_slot_wait(sk_slot *slot, const skua_cx *cx);

/* Takes back the wait of a task, or, without one, of a foreign executor, if that waits there. */
void sk_slot_forget(sk_slot *slot, const skua_task *task);

/* Makes it ready. Returns the waiter, for the caller to wake, or SK_NO_WAITER. */
static inline sk_waiter sk_slot_fire(sk_slot *slot)
{
	/* Release: what was done before is seen by who finds the slot ready. Acquire: pairs with
	 * the release in sk_slot_wait. */
	uintptr_t old = sk_exchange(slot, SK_SLOT_READY, SK_ACQ_REL);

	return sk_is_waiter(old) ? old : SK_NO_WAITER;
}

/* Empties it. What must be looked at again is looked at after this. */
static inline void sk_slot_reset(sk_slot *slot)
{
	uintptr_t old;

	if (sk_load(slot, SK_RELAXED) == SK_SLOT_EMPTY)
		return;
	/* Acquire: pairs with the release in sk_slot_fire; what an event that is taken out here has
	 * brought is seen by the look that follows. */
	old = sk_exchange(slot, SK_SLOT_EMPTY, SK_ACQUIRE);
	if (sk_is_waiter(old))
		sk_waiter_drop(old);
}

static inline bool sk_slot_is_ready(sk_slot *slot)
{
	/* Acquire: pairs with the release in sk_slot_fire. */
	return sk_load(slot, SK_ACQUIRE) == SK_SLOT_READY;
}

#endif /* SKUA_SCHED_WAITER_H */
