/*
 * blocker_uv.c - the portable backend: each descriptor is a uv_poll_t on the loop.
 *
 * Only the loop's thread may touch a uv_poll_t, so other threads leave requests: bits in the watch,
 * and the watch in a list that the loop empties when it is kicked. A watch is in the list at most
 * once: who sets the first bit puts it there. The list is only ever taken whole (see inbox.h).
 *
 * uv_poll is level-triggered; a direction is stopped when it has been reported, and started again
 * by the next rearm. libuv aborts the process when epoll_ctl says that a descriptor is bad
 * (libuv#1495), so a descriptor is closed here, by the loop's thread, after its watch was stopped.
 */
#include "io/blocker.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	ARM_READABLE = SKUA_READABLE,
	ARM_WRITABLE = SKUA_WRITABLE,
	STOP = 4,
	CLOSE_FD = 8,
};

struct sk_watch {
	uv_poll_t poll;
	skua_blocker *blocker;
	struct sk_watch *next; /* in the list of submitted watches */
	SK_ATOMIC(uint32_t) requests;
	SK_ATOMIC(int) failure; /* of the loop's thread, for the next rearm; 0 or -errno */
	uint64_t id;
	int fd;
	uint32_t armed; /* directions that the loop waits for */
	bool has_handle;
};

static void submit(struct sk_watch *watch, uint32_t requests)
{
	skua_blocker *blocker = watch->blocker;
	struct sk_watch *head;

	/* Acquire: pairs with the release in serve, before the watch could be in the list again. */
	if (sk_fetch_or(&watch->requests, requests, SK_ACQ_REL) != 0)
		return;
	head = sk_load(&blocker->submitted, SK_RELAXED);
	do
		watch->next = head;
	/* Release: pairs with the acquire in kicked. */
	while (!sk_cas_weak(&blocker->submitted, &head, watch, SK_RELEASE, SK_RELAXED));
	if (head == NULL)
		sk_blocker_kick(blocker);
}

static void on_closed(uv_handle_t *handle)
{
	sk_free(handle->data);
}

static void stop(struct sk_watch *watch, bool close_fd)
{
	int fd = watch->fd;

	/* uv_close still names the descriptor to epoll_ctl; after that it is ours to close, and its
	 * number another thread's to take. */
	if (watch->has_handle)
		uv_close((uv_handle_t *)&watch->poll, on_closed);
	else
		sk_free(watch);
	if (close_fd)
		close(fd);
}

static void on_ready(uv_poll_t *poll, int status, int events);

/* Waits for the armed directions; with none, for nothing. */
static int start(struct sk_watch *watch)
{
	int events = 0;

	if ((watch->armed & ARM_READABLE) != 0)
		events |= UV_READABLE | UV_DISCONNECT;
	if ((watch->armed & ARM_WRITABLE) != 0)
		events |= UV_WRITABLE;
	if (events == 0)
		return uv_poll_stop(&watch->poll);
	return uv_poll_start(&watch->poll, events, on_ready);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct sk_watch *watch = poll->data;
	uint32_t ready = 0;

	if ((events & (UV_READABLE | UV_DISCONNECT)) != 0)
		ready |= SKUA_READABLE;
	if ((events & UV_WRITABLE) != 0)
		ready |= SKUA_WRITABLE;
	/* UV_EBADF comes for a mere error condition, such as a reset (libuv#3796), and libuv has
	 * stopped the handle: let the system call tell. */
	if (status < 0)
		ready = SKUA_READABLE | SKUA_WRITABLE | SKUA_HANGUP;
	/* No room: it stays armed, and the level brings it back. */
	if (!sk_blocker_emit(watch->blocker, watch->id, ready)) {
		if (status < 0)
			start(watch);
		return;
	}
	watch->armed &= ~ready;
	start(watch);
}

/* Serves the requests of one watch. False if an event did not fit. */
static bool serve(struct sk_watch *watch, uint32_t requests)
{
	int rc = 0;

	if ((requests & STOP) != 0) {
		stop(watch, (requests & CLOSE_FD) != 0);
		return true;
	}
	watch->armed |= requests & (ARM_READABLE | ARM_WRITABLE);
	if (!watch->has_handle) {
		rc = uv_poll_init(&watch->blocker->loop, &watch->poll, watch->fd);
		watch->has_handle = rc == 0;
		watch->poll.data = watch;
	}
	if (rc == 0)
		rc = start(watch);
	if (rc == 0)
		return true;
	/* It cannot be waited for: whoever waits must try, sees the error of the descriptor if it has
	 * one, and otherwise gets this one from its next rearm. Relaxed: the event that it is woken by
	 * comes after it. */
	sk_store(&watch->failure, rc, SK_RELAXED);
	if (!sk_blocker_emit(watch->blocker, watch->id,
			     SKUA_READABLE | SKUA_WRITABLE | SKUA_HANGUP))
		return false;
	watch->armed = 0;
	return true;
}

static void kicked(skua_blocker *blocker)
{
	/* Acquire: pairs with the release in submit. */
	struct sk_watch *newest = sk_exchange(&blocker->submitted, NULL, SK_ACQUIRE);
	struct sk_watch *watch = NULL;

	/* In their order: a descriptor may end one watch and begin another. */
	while (newest != NULL) {
		struct sk_watch *next = newest->next;

		newest->next = watch;
		watch = newest;
		newest = next;
	}
	while (watch != NULL) {
		struct sk_watch *next = watch->next;
		/* After this another thread may put the watch into the list again. */
		uint32_t requests = sk_exchange(&watch->requests, 0, SK_ACQ_REL);

		if (!serve(watch, requests))
			submit(watch, requests);
		watch = next;
	}
}

static int uv_open(skua_blocker *blocker)
{
	sk_init(&blocker->submitted, NULL);
	return 0;
}

static void uv_close_backend(skua_blocker *blocker)
{
	(void)blocker;
}

static int uv_register(skua_blocker *blocker, skua_registration *registration)
{
	struct sk_watch *watch;
	struct stat status;

	if (fstat(registration->fd, &status) < 0)
		return -errno;
	if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
		return -EPERM;
	watch = sk_calloc(1, sizeof *watch);
	if (watch == NULL)
		return -ENOMEM;
	watch->blocker = blocker;
	watch->id = registration->interest.id;
	watch->fd = registration->fd;
	registration->watch = watch;
	submit(watch, registration->interest.flags);
	return 0;
}

static int uv_rearm(skua_blocker *blocker, skua_registration *registration, uint32_t flags)
{
	struct sk_watch *watch = registration->watch;
	int failure = sk_exchange(&watch->failure, 0, SK_RELAXED);

	(void)blocker;
	/* Told once: the limit that was met may be gone when somebody waits again. */
	if (failure < 0)
		return failure;
	registration->interest.flags |= flags;
	submit(watch, flags);
	return 0;
}

static void uv_deregister(skua_blocker *blocker, skua_registration *registration, bool close_fd)
{
	(void)blocker;
	submit(registration->watch, STOP | (close_fd ? CLOSE_FD : 0u));
	registration->watch = NULL;
}

const struct sk_blocker_ops sk_blocker_uv = {
	.open = uv_open,
	.close = uv_close_backend,
	.register_fd = uv_register,
	.rearm = uv_rearm,
	.deregister = uv_deregister,
	.kicked = kicked,
};
