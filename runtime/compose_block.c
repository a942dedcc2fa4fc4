/* compose_block.c - skua/compose.h: branches that are written where they are awaited. */
#include <stdio.h>

#include "runtime/compose.h"

enum { BLOCK_MAX = COMPOSE_WORD };

static struct compose *compose_of(skua_compose *storage)
{
	return (struct compose *)(void *)storage;
}

static bool is_valid(uint32_t kind, uint32_t count)
{
	return count > 0 && count <= BLOCK_MAX &&
	       (kind & 0xffff) <= (SKUA_COMPOSE_IN_ORDER_ | 0xff);
}

/* Nothing is left to evaluate in this poll. */
static int32_t over(struct compose *self, skua_poll value)
{
	self->pass.value = value;
	return -1;
}

static int32_t next(skua_cx *cx, struct compose *self)
{
	int32_t number = compose_next(cx, self, NULL);

	return number >= 0 ? number : over(self, compose_result(self));
}

int32_t skua_compose_begin(skua_cx *cx, skua_compose *storage, uint32_t kind, uint32_t count)
{
	struct compose *self = compose_of(storage);
	uint64_t what = compose_what(kind, count);

	if (self->what == 0 && is_valid(kind, count))
		compose_start(self, what, NULL);
	else if (self->what != what || self->interrupt.around > 0)
		return over(self, -EINVAL);
	if (!compose_begin(cx, self, NULL))
		return over(self, SKUA_PENDING);
	/* There is one: each branch that has not ended is polled. */
	return compose_pick(cx, self, NULL);
}

int32_t skua_compose_take(skua_cx *cx, skua_compose *storage, int32_t number, skua_poll result)
{
	struct compose *self = compose_of(storage);

	compose_take(cx, self, NULL, (uint32_t)number, result);
	return next(cx, self);
}

int32_t skua_compose_end(skua_cx *cx, skua_compose *storage)
{
	struct compose *self = compose_of(storage);

	return compose_end_pass(cx, self, NULL) ? next(cx, self) : over(self, SKUA_PENDING);
}

void skua_compose_is_missing(const char *file, int line, int number)
{
	fprintf(stderr,
		"skua: %s:%d: there is no SKUA_BRANCH(%d, ...), though its number is below the count\n",
		file, line, number);
	sk_panic("a branch is missing");
}
