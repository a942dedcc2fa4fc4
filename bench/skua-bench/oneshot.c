/* oneshot.c - see oneshot.h. */
#include "oneshot.h"

#include <stdlib.h>

#include "../../examples/common.h"
#include "bench.h"

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
