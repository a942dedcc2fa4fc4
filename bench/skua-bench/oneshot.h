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

/* A channel for one value at a time, from one task to another. */
struct mailbox {
	atomic_uint state;
	int64_t value;
	skua_waker waiting; /* the side that waits */
};

skua_poll mailbox_send(skua_cx *cx, struct mailbox *mailbox, int64_t value);
skua_poll mailbox_receive(skua_cx *cx, struct mailbox *mailbox);
/* Takes back the waker of a receiver that will not be polled again, unless it has been woken. */
void mailbox_stop_receiving(struct mailbox *mailbox);

#endif /* SKUA_BENCH_ONESHOT_H */
