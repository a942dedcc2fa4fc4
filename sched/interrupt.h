/*
 * interrupt.h - what can stop an operation besides the cancellation of its task: a deadline around it,
 * a cancelled token, a faster branch of the same select.
 *
 * An interrupt is a member of whatever stands around the operation. For the time of each poll it is
 * in the chain of the context, the innermost first. It is due when it has an error; then the first
 * leaf inside that asks (skua_cx_interrupt) takes back what it had registered and returns -ECANCELED,
 * once for each interrupt; and when the operation ends with that, the one who stands around it makes
 * its own error of it. So nothing is abandoned half-way, code inside may await while it cleans up, and
 * nobody mistakes another's interrupt for his own.
 *
 * Of several that are due the outermost goes first: what ends most. A shield keeps out those that stand
 * around it, and the cancellation of the task, but not those inside it; they are delivered after it.
 */
#ifndef SKUA_SCHED_INTERRUPT_H
#define SKUA_SCHED_INTERRUPT_H

#include <errno.h>
#include <stdbool.h>

#include "skua/future.h"

/* What an interrupt is a member of. */
enum {
	SK_INTERRUPT_TOKEN,       /* of a struct sk_token_waiter */
	SK_INTERRUPT_DEADLINE,    /* of a struct sk_timer */
	SK_INTERRUPT_COMPOSITION, /* of a struct compose, which shields as well */
};

/* May alias: it lives in storages that users assign as a whole. */
struct __attribute__((may_alias)) sk_interrupt {
	struct sk_interrupt *outer; /* the next in the chain */
	int16_t error;              /* why the operation is to end, or 0 */
	bool delivered;             /* a leaf inside has been told */
	bool passed_on;             /* a composition inside has told its branches of this error */
	uint8_t kind;               /* SK_INTERRUPT_* */
	uint8_t around;             /* how often it is in the chain: once, or a mistake */
	uint16_t shields;           /* that stand around it */
};

/* Nothing is to be told any more. */
static inline void sk_interrupt_clear(struct sk_interrupt *self)
{
	self->error = 0;
	self->delivered = false;
	self->passed_on = false;
}

/* Begins the poll of the operation inside. */
static inline void sk_interrupt_enter(struct sk_interrupt *self, skua_cx *cx)
{
	if (self->around++ > 0)
		return;
	self->outer = (struct sk_interrupt *)cx->interrupts;
	self->shields = cx->shields;
	cx->interrupts = self;
	if (self->error != 0 && !self->delivered)
		cx->due++;
}

/* Whether a skua_shield is around this point, rather than only compositions, which pass on what comes
 * from outside. */
static inline bool sk_is_shielded(const skua_cx *cx)
{
	uint16_t shields = cx->shields;

	for (const struct sk_interrupt *i = cx->interrupts; i != NULL; i = i->outer)
		shields -= i->kind == SK_INTERRUPT_COMPOSITION;
	return shields > 0;
}

/* Ends it. False: the same interrupt stands around itself, which is a mistake of the caller's. */
static inline bool sk_interrupt_leave(struct sk_interrupt *self, skua_cx *cx)
{
	if (--self->around > 0)
		return false;
	cx->interrupts = self->outer;
	if (self->error != 0 && !self->delivered)
		cx->due--;
	return true;
}

/* The operation has ended with `result`: what that means outside, and the interrupt is as new. */
static inline skua_poll sk_interrupt_finish(struct sk_interrupt *self, skua_poll result)
{
	if (self->delivered && result == -ECANCELED)
		result = self->error;
	sk_interrupt_clear(self);
	return result;
}

#endif /* SKUA_SCHED_INTERRUPT_H */
