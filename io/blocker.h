/*
 * blocker.h - the inside of the IO blocker (skua/blocker.h): a libuv loop, and what a backend adds
 * to it.
 *
 * The uv backend hangs descriptors into the loop. The epoll backend has a set of its own, and hangs
 * the loop into that, by its backend descriptor (the way of embedding that libuv documents): who
 * waits for the set serves the loop when it asks for it, and an event of a descriptor costs one
 * system call. A set that is shared (sk_blocker_share) is without the loop: one thread serves the
 * loop, another waits for the set.
 *
 * Only the thread that blocks touches the loop. Other threads reach it through one uv_async_t by
 * one rule: publish; sk_fence; uv_async_send. The fence is not optional: uv_async_send returns
 * early on a plain look at a flag that the loop clears (libuv src/unix/async.c), so without it the
 * publication may be ordered after that look, and the wake is lost, on x86 too (libuv#349,
 * julia#45899).
 */
#ifndef SKUA_IO_BLOCKER_H
#define SKUA_IO_BLOCKER_H

#include <uv.h>

#include "sched/sync.h"

#include "skua/blocker.h"

struct sk_watch;

/* Ids from this one on are the epoll backend's own. */
#define SK_BLOCKER_IDS (UINT64_MAX - 1)

/* A backend: the functions of skua/blocker.h, behind their checks. */
struct sk_blocker_ops {
	int (*open)(skua_blocker *blocker);
	/* Gives back what open took; handles of the loop are closed by the caller. */
	void (*close)(skua_blocker *blocker);
	int (*register_fd)(skua_blocker *blocker, skua_registration *registration);
	int (*rearm)(skua_blocker *blocker, skua_registration *registration, uint32_t flags);
	void (*deregister)(skua_blocker *blocker, skua_registration *registration, bool close_fd);
	/* Called on the blocking thread when the async handle has fired. */
	void (*kicked)(skua_blocker *blocker);
	/*
	 * Waits for the set at most `timeout` ns (negative: for ever), and stores what is ready.
	 * Returns how many events that are, 0 also for no reason; -EINTR, also when a debugger comes
	 * or goes. `*loop_ready`: the loop asks to be served. NULL if there is no set.
	 */
	int (*collect)(skua_blocker *blocker, skua_event *events, int capacity, int64_t timeout,
		       bool *loop_ready);
	/* See sk_blocker_share and sk_blocker_interrupt; NULL if there is no set. */
	int (*share)(skua_blocker *blocker);
	void (*interrupt)(skua_blocker *blocker);
};

extern const struct sk_blocker_ops sk_blocker_epoll; /* Linux */
extern const struct sk_blocker_ops sk_blocker_uv;

struct skua_blocker {
	const struct sk_blocker_ops *ops;
	uv_loop_t loop;
	uv_async_t async;
	uv_timer_t timer;
	SK_ATOMIC(uint32_t) woken; /* skua_blocker_wake was called */
	bool kicked;               /* the async handle has fired; of the thread that blocks */

	/* The uv backend: of the block() that is going on. */
	skua_event *events;
	int capacity, count;

	/* The epoll backend: the set; and, if it is shared, the eventfd that interrupts a wait. */
	int epoll_fd;
	int interrupt_fd;
	bool shared;

	/* The uv backend: watches with requests for the loop's thread. */
	SK_ATOMIC(struct sk_watch *) submitted;
};

/* Stores an event of the block() that is going on. False if there is no room. */
bool sk_blocker_emit(skua_blocker *blocker, uint64_t id, uint32_t ready);

/* Makes the loop come round; after publishing something for it. */
void sk_blocker_kick(skua_blocker *blocker);

/*
 * From here on skua_blocker_block serves the loop only, and sk_blocker_collect waits for the
 * descriptors. Before the blocker is used. Returns 0 or a negative errno; -ENOTSUP on the uv backend.
 */
int sk_blocker_share(skua_blocker *blocker);

/* As skua_blocker_block, of a shared set; or -EINTR. Any thread, one at a time. */
int sk_blocker_collect(skua_blocker *blocker, skua_event *events, int capacity, int64_t timeout);

/* Makes the collect that is going on, or else the next one, return. Any thread. */
void sk_blocker_interrupt(skua_blocker *blocker);

/* Whether one registration is good for all waits, so that rearm has nothing to do once a direction
 * is in the interest. */
bool sk_blocker_is_edge_triggered(const skua_blocker *blocker);

#endif /* SKUA_IO_BLOCKER_H */
