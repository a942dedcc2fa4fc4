/* give_way.h - an operation that wakes its task at the first poll, and is ready at the second. */
#ifndef SKUA_BENCH_GIVE_WAY_H
#define SKUA_BENCH_GIVE_WAY_H

#include <skua.h>
#include <stdbool.h>

/* Zero before the first use; used again after its end. */
struct give_way {
	bool polled;
};

static inline skua_poll give_way(skua_cx *cx, struct give_way *operation, int64_t value)
{
	int interrupt = skua_cx_interrupt(cx);

	if (interrupt == 0 && !operation->polled) {
		operation->polled = true;
		skua_waker_wake_by_ref(skua_cx_waker(cx));
		return SKUA_PENDING;
	}
	operation->polled = false;
	return interrupt != 0 ? interrupt : value;
}

#endif /* SKUA_BENCH_GIVE_WAY_H */
