/* blocker.c - the IO blocker: what its backends have in common; see blocker.h. */
#include "io/blocker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "skua/runtime.h"

/* As many as libuv and a backend open: two pipes for signals, two eventfds and two epoll sets. */
enum { PROBED_PIPES = 4 };

bool sk_blocker_emit(skua_blocker *blocker, uint64_t id, uint32_t ready)
{
	if (blocker->count >= blocker->capacity)
		return false;
	blocker->events[blocker->count++] = (skua_event){.id = id, .ready = ready};
	return true;
}

bool sk_blocker_is_edge_triggered(const skua_blocker *blocker)
{
	return blocker->ops != &sk_blocker_uv;
}

void sk_blocker_kick(skua_blocker *blocker)
{
	/* See blocker.h: between what was published and the look inside uv_async_send. */
	sk_fence();
	uv_async_send(&blocker->async);
}

static void on_async(uv_async_t *async)
{
	skua_blocker *blocker = async->data;

	/* The loop has cleared its flag; what was published before the send is seen after this. */
	sk_fence();
	/* Acquire: pairs with the release in skua_blocker_wake, of those that found it set. */
	sk_exchange(&blocker->woken, 0, SK_ACQUIRE);
	blocker->kicked = true;
	if (blocker->ops->kicked != NULL)
		blocker->ops->kicked(blocker);
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
}

static const struct sk_blocker_ops *choose(uint32_t backend)
{
	switch (backend) {
#ifdef __linux__
	case SKUA_IO_BACKEND_AUTO:
	case SKUA_IO_BACKEND_EPOLL:
		return &sk_blocker_epoll;
#else
	case SKUA_IO_BACKEND_AUTO:
#endif
	case SKUA_IO_BACKEND_UV:
		return &sk_blocker_uv;
	default:
		return NULL;
	}
}

static void close_loop(skua_blocker *blocker);

/* Whether there are descriptors left for a loop. libuv makes its first pipes where it can only abort
 * (uv__signal_global_init), so this is found out before. */
static int probe_descriptors(void)
{
	int pipes[PROBED_PIPES][2];
	int made = 0, rc = 0;

	while (rc == 0 && made < PROBED_PIPES) {
		if (pipe(pipes[made]) < 0)
			rc = -errno;
		else
			made++;
	}
	while (made-- > 0) {
		close(pipes[made][0]);
		close(pipes[made][1]);
	}
	return rc;
}

/* uv_loop_init; before 1.51 libuv keeps the descriptor of its backend when that fails half-way. A
 * loop whose memory failed has 0 there, and later versions have -1. */
static int init_loop(uv_loop_t *loop)
{
	int rc = uv_loop_init(loop);

	if (rc < 0 && uv_backend_fd(loop) > 0)
		close(uv_backend_fd(loop));
	return rc;
}

int skua_blocker_new(uint32_t backend, skua_blocker **out)
{
	skua_blocker *blocker;
	int rc;

	if (out == NULL || backend > SKUA_IO_BACKEND_UV)
		return -EINVAL;
	if (choose(backend) == NULL)
		return -ENOTSUP;
	rc = probe_descriptors();
	if (rc < 0)
		return rc;
	blocker = sk_calloc(1, sizeof *blocker);
	if (blocker == NULL)
		return -ENOMEM;
	blocker->ops = choose(backend);
	blocker->epoll_fd = blocker->interrupt_fd = -1;
	rc = init_loop(&blocker->loop);
	if (rc < 0) {
		sk_free(blocker);
		return rc;
	}
	rc = uv_async_init(&blocker->loop, &blocker->async, on_async);
	if (rc == 0) {
		blocker->async.data = blocker;
		uv_timer_init(&blocker->loop, &blocker->timer);
		rc = blocker->ops->open(blocker);
	}
	if (rc < 0) {
		close_loop(blocker);
		sk_free(blocker);
		return rc;
	}
	sk_allocator_hold();
	*out = blocker;
	return 0;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Closes every handle, lets their close callbacks run, and closes the loop. */
static void close_loop(skua_blocker *blocker)
{
	uv_walk(&blocker->loop, close_handle, NULL);
	while (uv_run(&blocker->loop, UV_RUN_DEFAULT) != 0)
		;
	sk_assert(uv_loop_close(&blocker->loop) == 0);
}

void skua_blocker_free(skua_blocker *blocker)
{
	if (blocker == NULL)
		return;
	if (blocker->ops->kicked != NULL)
		blocker->ops->kicked(blocker);
	blocker->ops->close(blocker);
	close_loop(blocker);
	if (blocker->ops == &sk_blocker_uv)
		sk_assert(sk_load(&blocker->submitted, SK_RELAXED) == NULL);
	sk_free(blocker);
	sk_allocator_release();
}

static bool valid_flags(uint32_t flags)
{
	return flags != 0 && (flags & ~(uint32_t)(SKUA_READABLE | SKUA_WRITABLE)) == 0;
}

int skua_blocker_register(skua_blocker *blocker, int fd, skua_interest interest,
			  skua_registration *registration)
{
	if (blocker == NULL || registration == NULL || !valid_flags(interest.flags))
		return -EINVAL;
	if (interest.id >= SK_BLOCKER_IDS)
		return -EINVAL;
	if (fd < 0)
		return -EBADF;
	registration->interest = interest;
	registration->fd = fd;
	registration->state = 0;
	registration->watch = NULL;
	return blocker->ops->register_fd(blocker, registration);
}

int skua_blocker_rearm(skua_blocker *blocker, skua_registration *registration, uint32_t flags)
{
	if (blocker == NULL || registration == NULL || !valid_flags(flags))
		return -EINVAL;
	return blocker->ops->rearm(blocker, registration, flags);
}

void skua_blocker_deregister(skua_blocker *blocker, skua_registration *registration, int close_fd)
{
	blocker->ops->deregister(blocker, registration, close_fd != 0);
}

/* How long the loop can do without being served: negative for ever, 0 if it must be now. */
static int64_t time_of_loop(uv_loop_t *loop)
{
	uv_update_time(loop);
	return uv_backend_timeout(loop) * INT64_C(1000000);
}

/* The loop is in the set. Whoever only looks leaves it alone. */
static int block_on_set(skua_blocker *blocker, skua_event *events, int capacity, int64_t timeout)
{
	int64_t left = timeout == 0 ? -1 : time_of_loop(&blocker->loop);
	bool loop_ready = false;
	int count;

	/* A timer is due, or a handle is new and not in the loop's own set yet. This may take the kick
	 * that is to end the wait. */
	if (left == 0) {
		blocker->kicked = false;
		uv_run(&blocker->loop, UV_RUN_NOWAIT);
		left = blocker->kicked ? 0 : time_of_loop(&blocker->loop);
	}
	if (left >= 0 && (timeout < 0 || left < timeout))
		timeout = left;
	count = blocker->ops->collect(blocker, events, capacity, timeout, &loop_ready);
	if (loop_ready)
		uv_run(&blocker->loop, UV_RUN_NOWAIT);
	return count < 0 ? 0 : count;
}

/* Everything is in the loop, or it is waited for alone. */
static int block_on_loop(skua_blocker *blocker, skua_event *events, int capacity, int64_t timeout)
{
	blocker->events = events;
	blocker->capacity = capacity;
	blocker->count = 0;
	if (timeout == 0) {
		uv_run(&blocker->loop, UV_RUN_NOWAIT);
	} else if (timeout < 0) {
		uv_run(&blocker->loop, UV_RUN_ONCE);
	} else {
		/* The loop's clock is in whole milliseconds, rounded down: one more, or it would
		 * return early. */
		uint64_t ms = ((uint64_t)timeout + 999999) / 1000000 + 1;

		uv_update_time(&blocker->loop);
		uv_timer_start(&blocker->timer, on_timer, ms, 0);
		uv_run(&blocker->loop, UV_RUN_ONCE);
		uv_timer_stop(&blocker->timer);
	}
	blocker->events = NULL;
	blocker->capacity = 0;
	return blocker->count;
}

int skua_blocker_block(skua_blocker *blocker, skua_event *events, int capacity, int64_t timeout)
{
	if (blocker == NULL || events == NULL || capacity < 1)
		return -EINVAL;
	if (blocker->ops->collect != NULL && !blocker->shared)
		return block_on_set(blocker, events, capacity, timeout);
	return block_on_loop(blocker, events, capacity, timeout);
}

int sk_blocker_share(skua_blocker *blocker)
{
	int rc = blocker->ops->share != NULL ? blocker->ops->share(blocker) : -ENOTSUP;

	blocker->shared = rc == 0;
	return rc;
}

int sk_blocker_collect(skua_blocker *blocker, skua_event *events, int capacity, int64_t timeout)
{
	bool unused;

	return blocker->ops->collect(blocker, events, capacity, timeout, &unused);
}

void sk_blocker_interrupt(skua_blocker *blocker)
{
	blocker->ops->interrupt(blocker);
}

void skua_blocker_wake(skua_blocker *blocker)
{
	/* Release: if somebody else's wake is still on its way, it is this caller's, too. */
	if (sk_exchange(&blocker->woken, 1, SK_RELEASE) == 0)
		sk_blocker_kick(blocker);
}
