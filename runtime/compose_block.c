/* compose_block.c - skua/compose.h: branches that are written where they are awaited. */
#include <stdio.h>

#include "runtime/compose.h"

enum { BLOCK_MAX = COMPOSE_WORD };

/* Begins the poll of a block, and its await. 0, an error, or SKUA_PENDING. */
static skua_poll begin(skua_cx *cx, struct compose *self, skua_compose_poll *poll)
{
	unsigned kind = poll->kind & 0xff, order = poll->kind >> 8;

	if (poll->count > BLOCK_MAX || order > SKUA_IN_ORDER)
		return -EINVAL;
	if (!self->active)
		compose_start(self, kind, order, NULL, poll->count);
	else if (self->interrupt.around > 0 || self->kind != kind || self->count != poll->count)
		return -EINVAL;
	return compose_begin(cx, self, NULL, poll) ? 0 : SKUA_PENDING;
}

__attribute__((noinline, cold, noreturn)) static void
branch_is_missing(const skua_compose_poll *poll)
{
	fprintf(stderr, "skua: %s:%u: there is no SKUA_BRANCH(%d, ...), but %u were announced\n",
		poll->file, poll->line, poll->number, poll->count);
	sk_panic("a branch is missing");
}

int skua_compose_next(skua_cx *cx, skua_compose_poll *poll)
{
	struct compose *self = (struct compose *)(void *)poll->storage;

	if (poll->number < 0) {
		poll->value = begin(cx, self, poll);
		if (poll->value != 0)
			return 0;
	} else if (poll->result == SKUA_COMPOSE_UNKNOWN_) {
		branch_is_missing(poll);
	} else {
		compose_take(cx, self, NULL, poll);
	}
	if (compose_next(cx, self, NULL, poll)) {
		poll->result = SKUA_COMPOSE_UNKNOWN_;
		return 1;
	}
	poll->value = compose_result(self);
	return 0;
}
