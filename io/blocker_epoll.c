/*
 * blocker_epoll.c - the Linux backend: an epoll set of our own, in which the loop hangs.
 *
 * Descriptors are added edge-triggered, by the thread that registers them, without the loop's
 * knowledge: one epoll_ctl for a connection that only reads, another one when it first has to wait
 * for writing, and one before it is closed; none for each event. libuv itself could only watch them
 * level-triggered, with three epoll_ctl for each event, all on its own thread.
 *
 * The set is not itself in another one: adding to a set that is takes a lock of the whole system
 * (epnested_mutex in fs/eventpoll.c), and an event of it wakes twice. The loop's own set hangs in
 * ours, level-triggered, unless ours is shared. A set inside a set is well supported since Linux
 * 5.13; until then some wakes of the outer one were lost (fixed by "epoll: restore waking from
 * ep_done_scan()" there and in the stable trees).
 */
#ifdef __linux__

#include "io/blocker.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { COLLECT_AT_ONCE = 512 };

/* What is in the set besides descriptors. */
#define LOOP_ID SK_BLOCKER_IDS
#define INTERRUPT_ID (SK_BLOCKER_IDS + 1)

/* ---- Waiting ---- */

static int wait_rounded(int set, struct epoll_event *found, int capacity, int64_t timeout)
{
	int64_t ms = timeout < 0 ? -1 : timeout / 1000000 + (timeout % 1000000 != 0);

	return epoll_wait(set, found, capacity, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

/* To the nanosecond, where the kernel can: since Linux 5.11. */
static int wait_exactly(int set, struct epoll_event *found, int capacity, int64_t timeout)
{
#ifdef SK_HAS_EPOLL_PWAIT2
	struct timespec time = {timeout / 1000000000, timeout % 1000000000};
	int count = epoll_pwait2(set, found, capacity, &time, NULL);

	/* Also what a sandbox says that does not know the call. */
	if (count >= 0 || (errno != ENOSYS && errno != EPERM))
		return count;
#endif
	return wait_rounded(set, found, capacity, timeout);
}

static uint32_t ready_of(uint32_t events)
{
	uint32_t ready = 0;

	if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI)) != 0)
		ready |= SKUA_READABLE;
	if ((events & EPOLLOUT) != 0)
		ready |= SKUA_WRITABLE;
	/* An error is for whoever waits: the system call will tell which. */
	if ((events & (EPOLLERR | EPOLLHUP)) != 0)
		ready |= SKUA_READABLE | SKUA_WRITABLE | SKUA_HANGUP;
	if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI)) != 0)
		ready |= SKUA_MORE;
	return ready;
}

static int epoll_collect(skua_blocker *blocker, skua_event *events, int capacity, int64_t timeout,
			 bool *loop_ready)
{
	struct epoll_event found[COLLECT_AT_ONCE];
	int room = capacity < COLLECT_AT_ONCE ? capacity : COLLECT_AT_ONCE;
	int count = 0, n;

	if (timeout > 0)
		n = wait_exactly(blocker->epoll_fd, found, room, timeout);
	else
		n = wait_rounded(blocker->epoll_fd, found, room, timeout);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (found[i].data.u64 == LOOP_ID)
			*loop_ready = true;
		else if (found[i].data.u64 != INTERRUPT_ID)
			events[count++] =
				(skua_event){found[i].data.u64, ready_of(found[i].events)};
	}
	return count;
}

/* ---- Beginning, sharing, end ---- */

static int add(skua_blocker *blocker, int fd, uint64_t id, uint32_t events)
{
	struct epoll_event event = {.data.u64 = id, .events = events};

	return epoll_ctl(blocker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int epoll_open(skua_blocker *blocker)
{
	int rc;

	blocker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (blocker->epoll_fd < 0)
		return -errno;
	rc = add(blocker, uv_backend_fd(&blocker->loop), LOOP_ID, EPOLLIN);
	if (rc < 0)
		close(blocker->epoll_fd);
	return rc;
}

static void epoll_close(skua_blocker *blocker)
{
	close(blocker->epoll_fd);
	if (blocker->interrupt_fd >= 0)
		close(blocker->interrupt_fd);
}

/* The eventfd is edge-triggered and never read: each write is an edge. */
static int epoll_share(skua_blocker *blocker)
{
	struct epoll_event unused = {0};

	blocker->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (blocker->interrupt_fd < 0 ||
	    epoll_ctl(blocker->epoll_fd, EPOLL_CTL_DEL, uv_backend_fd(&blocker->loop), &unused) < 0)
		return -errno;
	return add(blocker, blocker->interrupt_fd, INTERRUPT_ID, EPOLLIN | EPOLLET);
}

static void epoll_interrupt(skua_blocker *blocker)
{
	/* It cannot fail: the counter has room for 2^64 of them. */
	eventfd_write(blocker->interrupt_fd, 1);
}

/* ---- Registering ---- */

static int control(skua_blocker *blocker, int operation, skua_registration *registration)
{
	struct epoll_event event = {.data.u64 = registration->interest.id, .events = EPOLLET};

	if ((registration->interest.flags & SKUA_READABLE) != 0)
		event.events |= EPOLLIN | EPOLLRDHUP | EPOLLPRI;
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
	/*
	 * Closing alone would remove it from the set, too, but not always at once. A thread that looks
	 * at the entry in epoll_wait holds the file meanwhile (ep_item_poll, since Linux 6.9), and if
	 * it finds nothing, goes to sleep; what it held it gives back when it returns to user space.
	 * Until then the socket is open, and the peer waits for the end of the stream. The removal
	 * waits for that look. It also ends events for duplicates that live on in other processes.
	 */
	control(blocker, EPOLL_CTL_DEL, registration);
	if (close_fd)
		close(registration->fd);
}

const struct sk_blocker_ops sk_blocker_epoll = {
	.open = epoll_open,
	.close = epoll_close,
	.register_fd = epoll_register,
	.rearm = epoll_rearm,
	.deregister = epoll_deregister,
	.collect = epoll_collect,
	.share = epoll_share,
	.interrupt = epoll_interrupt,
};

#endif
