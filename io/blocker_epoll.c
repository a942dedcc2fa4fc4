/*
 * blocker_epoll.c - the Linux backend: an epoll set of our own, watched by the loop through one
 * uv_poll_t.
 *
 * Descriptors are added edge-triggered, by the thread that registers them, without the loop's
 * knowledge: one epoll_ctl in the life of a connection that only reads, a second one when it first
 * has to wait for writing, none for each event. libuv itself could only watch them level-triggered,
 * with three epoll_ctl for each event, all on its own thread.
 *
 * A set inside a set is well supported since Linux 5.13; until then some wakes of the outer set
 * were lost (fixed by "epoll: restore waking from ep_done_scan()" there and in the stable trees).
 */
#ifdef __linux__

#include "io/blocker.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { LOOK_AT_ONCE = 512 };

static void look(skua_blocker *blocker)
{
	struct epoll_event found[LOOK_AT_ONCE];
	int room = blocker->capacity - blocker->count;
	int n;

	/* In close_loop nobody asks for events. */
	if (room <= 0)
		return;
	n = epoll_wait(blocker->epoll_fd, found, room < LOOK_AT_ONCE ? room : LOOK_AT_ONCE, 0);
	for (int i = 0; i < n; i++) {
		uint32_t ready = 0;

		if ((found[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI)) != 0)
			ready |= SKUA_READABLE;
		if ((found[i].events & EPOLLOUT) != 0)
			ready |= SKUA_WRITABLE;
		/* An error is for whoever waits: the system call will tell which. */
		if ((found[i].events & (EPOLLERR | EPOLLHUP)) != 0)
			ready |= SKUA_READABLE | SKUA_WRITABLE | SKUA_HANGUP;
		sk_blocker_emit(blocker, found[i].data.u64, ready);
	}
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	look(poll->data);
}

static int epoll_open(skua_blocker *blocker)
{
	int rc;

	blocker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (blocker->epoll_fd < 0)
		return -errno;
	rc = uv_poll_init(&blocker->loop, &blocker->epoll_poll, blocker->epoll_fd);
	if (rc == 0) {
		blocker->epoll_poll.data = blocker;
		rc = uv_poll_start(&blocker->epoll_poll, UV_READABLE, on_ready);
	}
	if (rc < 0)
		close(blocker->epoll_fd);
	return rc;
}

static void epoll_close(skua_blocker *blocker)
{
	uv_poll_stop(&blocker->epoll_poll);
	close(blocker->epoll_fd);
}

static int control(skua_blocker *blocker, int operation, skua_registration *registration)
{
	struct epoll_event event = {.data.u64 = registration->interest.id, .events = EPOLLET};

	if ((registration->interest.flags & SKUA_READABLE) != 0)
		event.events |= EPOLLIN | EPOLLRDHUP;
	if ((registration->interest.flags & SKUA_WRITABLE) != 0)
		event.events |= EPOLLOUT;
	if (epoll_ctl(blocker->epoll_fd, operation, registration->fd, &event) < 0)
		return -errno;
	return 0;
}

static int epoll_register(skua_blocker *blocker, skua_registration *registration)
{
	return control(blocker, EPOLL_CTL_ADD, registration);
}

static int epoll_rearm(skua_blocker *blocker, skua_registration *registration, uint32_t flags)
{
	uint32_t before = registration->interest.flags;
	int rc;

	if ((flags & ~before) == 0)
		return 0;
	/* The kernel looks at the descriptor again: if it is ready now, that is an edge. */
	registration->interest.flags = before | flags;
	rc = control(blocker, EPOLL_CTL_MOD, registration);
	if (rc < 0)
		registration->interest.flags = before;
	return rc;
}

static void epoll_deregister(skua_blocker *blocker, skua_registration *registration, bool close_fd)
{
	/* Closing removes it from the set, unless a duplicate lives on in another process; stray
	 * events are then told apart by their id. */
	if (close_fd)
		close(registration->fd);
	else
		control(blocker, EPOLL_CTL_DEL, registration);
}

const struct sk_blocker_ops sk_blocker_epoll = {
	.open = epoll_open,
	.close = epoll_close,
	.register_fd = epoll_register,
	.rearm = epoll_rearm,
	.deregister = epoll_deregister,
	.look = look,
};

#endif
