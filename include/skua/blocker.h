/*
 * skua/blocker.h - the IO blocker: the one place where a thread blocks until some descriptor is
 * ready. The driver thread of a runtime is a loop around it; a program that writes an executor of
 * its own can use one directly (examples/socket_read.c does).
 *
 * Interest {id, READABLE | WRITABLE} is registered for a descriptor, under an id that the caller
 * chooses; block() waits and returns events {id, what is ready}. Whoever called block() then finds
 * the waker that belongs to the id, and wakes it.
 *
 * Interest is for a change, once: after an event, call the kernel until it says EAGAIN, then rearm.
 * (On the epoll backend the registration is edge-triggered and rearm costs nothing; on the uv
 * backend it is what starts the next wait.) Events may be spurious.
 */
#ifndef SKUA_BLOCKER_H
#define SKUA_BLOCKER_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	SKUA_READABLE = 1,
	SKUA_WRITABLE = 2,
	SKUA_HANGUP = 4, /* in events only: an error, or the peer is gone; comes with both others */
	/* In events only, with READABLE, and of the epoll backend only: after a read that was short
	 * there may be more to read at once: the end of the stream, or what follows urgent data. */
	SKUA_MORE = 8,
};

typedef struct skua_blocker skua_blocker;

typedef struct skua_interest {
	uint64_t id;    /* comes back in the events; the two highest numbers are not free */
	uint32_t flags; /* SKUA_READABLE | SKUA_WRITABLE */
} skua_interest;

typedef struct skua_event {
	uint64_t id;
	uint32_t ready; /* SKUA_READABLE | SKUA_WRITABLE | SKUA_HANGUP | SKUA_MORE */
} skua_event;

/* One registered descriptor; the caller's memory, zeroed, in place until it is deregistered. The
 * fields are private. */
typedef struct skua_registration {
	skua_interest interest;
	int fd;
	uint32_t state;
	void *watch;
} skua_registration;

/*
 * Makes a blocker on a backend (SKUA_IO_BACKEND_AUTO, _EPOLL or _UV of skua/runtime.h). Returns 0;
 * -ENOMEM, -EMFILE, -ENFILE; -ENOTSUP if this system lacks the backend; -EINVAL. Any thread; never
 * blocks.
 */
SKUA_API SKUA_MUST_USE int skua_blocker_new(uint32_t backend, skua_blocker **blocker);

/* Ends it. Nobody may be in skua_blocker_block, and nothing may still be registered. NULL is
 * allowed. One thread; does not block. */
SKUA_API void skua_blocker_free(skua_blocker *blocker);

/*
 * Registers interest in a non-blocking descriptor, which must not be registered here already
 * (-EEXIST on the epoll backend; on the uv backend the second one gets an event with SKUA_HANGUP).
 * Returns 0; -EBADF, -EPERM (a regular file), -ENOMEM, -ENOSPC (the system's limit of watches),
 * -EINVAL. Any thread; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_blocker_register(skua_blocker *blocker, int fd,
						 skua_interest interest,
						 skua_registration *registration);

/*
 * Waits for these directions again after a call said EAGAIN; directions that were not in the
 * interest are added to it. Returns 0, or as skua_blocker_register: on the uv backend what the loop
 * met when it began to wait is told here, after an event with SKUA_HANGUP. Any thread, one at a time
 * for each registration; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_blocker_rearm(skua_blocker *blocker,
					      skua_registration *registration, uint32_t flags);

/*
 * Ends a registration that was made (after a failed register there is nothing to end); events that
 * are already on their way may still come out of block(). With close_fd the blocker also closes the
 * descriptor, at the first moment when that is safe. Without it the caller may close it once
 * skua_blocker_block has returned after this call, at once on the epoll backend. Any thread, one at
 * a time for each registration; never blocks.
 */
SKUA_API void skua_blocker_deregister(skua_blocker *blocker, skua_registration *registration,
				      int close_fd);

/*
 * Blocks until something is ready, skua_blocker_wake is called, or `timeout` nanoseconds pass (a
 * negative one is for ever, 0 only looks). Returns how many events were stored, at most `capacity`;
 * 0 is possible; -EINVAL if capacity is less than 1. One thread at a time, always the same one;
 * blocks.
 */
SKUA_API SKUA_MUST_USE int skua_blocker_block(skua_blocker *blocker, skua_event *events,
					      int capacity, int64_t timeout);

/* Makes the block() that is going on, or else the next one, return. Any thread; never blocks. */
SKUA_API void skua_blocker_wake(skua_blocker *blocker);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_BLOCKER_H */
