/*
 * blocker.h - the inside of the IO blocker (skua/blocker.h): a libuv loop, and how a backend hangs
 * descriptors into it.
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
	/* Stores what is ready now, without the loop; NULL if only the loop can tell. */
	void (*look)(skua_blocker *blocker);
};

extern const struct sk_blocker_ops sk_blocker_epoll; /* Linux */
extern const struct sk_blocker_ops sk_blocker_uv;

struct skua_blocker {
	const struct sk_blocker_ops *ops;
	uv_loop_t loop;
	uv_async_t async;
	uv_timer_t timer;
	SK_ATOMIC(uint32_t) woken; /* skua_blocker_wake was called */

	/* Of the block() that is going on. */
	skua_event *events;
	int capacity, count;

	/* The epoll backend: the set, and the one handle by which the loop watches it. */
	int epoll_fd;
	uv_poll_t epoll_poll;

	/* The uv backend: watches with requests for the loop's thread. */
	SK_ATOMIC(struct sk_watch *) submitted;
};

/* Stores an event of the block() that is going on. False if there is no room. */
bool sk_blocker_emit(skua_blocker *blocker, uint64_t id, uint32_t ready);

/* Makes the loop come round; after publishing something for it. */
void sk_blocker_kick(skua_blocker *blocker);

/* Whether one registration is good for all waits, so that rearm has nothing to do once a direction
 * is in the interest. */
bool sk_blocker_is_edge_triggered(const skua_blocker *blocker);

#endif /* SKUA_IO_BLOCKER_H */
