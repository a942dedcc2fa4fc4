/*
 * oneshot.h - a value that one task sends to another, once. As the peers' ones it lies in a block of
 * its own, which the two sides share.
 */
#ifndef SKUA_BENCH_ONESHOT_H
#define SKUA_BENCH_ONESHOT_H

#include <skua.h>
#include <stdatomic.h>

struct oneshot {
	atomic_uint state;
	atomic_uint sides; /* that still use it */
	int64_t value;
	skua_waker waker;
};

struct oneshot *oneshot_new(void);
void oneshot_send(struct oneshot *oneshot, int64_t value);
/* Awaits the value. */
skua_poll oneshot_receive(skua_cx *cx, struct oneshot *oneshot);

#endif /* SKUA_BENCH_ONESHOT_H */
