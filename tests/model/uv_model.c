/*
 * uv_model.c - libuv for modelled threads, as far as io/ uses it: one async handle, polls, timers,
 * closing. The loop is that of libuv 1.44.2 on Linux (src/unix/core.c, epoll.c, poll.c, src/timer.c),
 * without what is not used. uv_async_send and the loop's side of it follow src/unix/async.c line by
 * line, because io/blocker.h depends on what they do, and in which order.
 *
 * This file is observed: who touches a handle on a thread that is not the loop's has a race. The
 * memory order of `pending` is relaxed everywhere. libuv's first look at it is (ACCESS_ONCE); its
 * cmpxchgi is a full barrier where it is made today, but is not said to be one, and the rule of
 * io/blocker.h does not rely on it.
 */
#include <uv.h>

#include <errno.h>
#include <string.h>

#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"

static void add_handle(uv_loop_t *loop, uv_handle_t *handle, enum uv_kind kind)
{
	handle->loop = loop;
	handle->kind = kind;
	handle->active = handle->closing = false;
	handle->next = loop->handles;
	loop->handles = handle;
}

/* ---- The async handle: src/unix/async.c ---- */

/* What is in memory now, without a step: only cmpxchgi may ask. */
__attribute__((no_sanitize("thread"))) static int newest(uv_async_t *handle)
{
	return handle->pending.value_;
}

/* `lock cmpxchg` compares with the newest value. In C11 a compare-and-exchange that fails may have read
 * an older one: then it is made again. */
static int cmpxchgi(uv_async_t *handle, int old, int new)
{
	int found;

	do {
		found = old;
		sk_cas(&handle->pending, &found, new, SK_RELAXED, SK_RELAXED);
	} while (found != old && found != newest(handle));
	return found;
}

int uv_async_init(uv_loop_t *loop, uv_async_t *handle, uv_async_cb callback)
{
	if (loop->async != NULL)
		mc_fail("a loop with two async handles is not modelled");
	add_handle(loop, (uv_handle_t *)handle, UV_ASYNC);
	handle->active = true;
	handle->callback = callback;
	sk_init(&handle->pending, 0);
	loop->async = handle;
	loop->changed = true;
	loop->event_fd = eventfd(0, 0);
	return 0;
}

int uv_async_send(uv_async_t *handle)
{
	/* Do a cheap read first. */
	if (sk_load(&handle->pending, SK_RELAXED) != 0)
		return 0;
	/* Tell the other thread we're busy with the handle. */
	if (cmpxchgi(handle, 0, 1) != 0)
		return 0;
	/* Wake up the other thread's event loop. */
	eventfd_write(handle->loop->event_fd, 1);
	/* Tell the other thread we're done. */
	if (cmpxchgi(handle, 1, 2) != 1)
		mc_fail("uv_async_send aborts");
	return 0;
}

/* Returns 0 if it was not pending. libuv yields only after each 997th try. */
static int async_spin(uv_async_t *handle)
{
	for (;;) {
		int rc = cmpxchgi(handle, 2, 0);

		if (rc != 1)
			return rc;
		mc_yield();
	}
}

static void async_io(uv_loop_t *loop)
{
	fd_eventfd_read(loop->event_fd);
	if (async_spin(loop->async) == 0)
		return; /* Not pending. */
	loop->async->callback(loop->async);
}

/* ---- Polls ---- */

/* The next poll that waits, from a handle on. */
static uv_poll_t *next_poll(uv_handle_t *handle)
{
	while (handle != NULL && (handle->kind != UV_POLL || !handle->active))
		handle = handle->next;
	return (uv_poll_t *)handle;
}

static bool is_polled(uv_loop_t *loop, int fd)
{
	for (uv_poll_t *p = next_poll(loop->handles); p != NULL; p = next_poll(p->next))
		if (p->fd == fd)
			return true;
	return false;
}

int uv_poll_init(uv_loop_t *loop, uv_poll_t *handle, int fd)
{
	if (is_polled(loop, fd))
		return UV_EEXIST;
	mc_step("epoll_ctl of libuv", __builtin_return_address(0));
	if (fd_file(fd) == 0)
		return UV_EBADF;
	add_handle(loop, (uv_handle_t *)handle, UV_POLL);
	handle->fd = fd;
	handle->file = fd_file(fd);
	handle->events = handle->ready = 0;
	return 0;
}

/* libuv names the descriptor to epoll_ctl, which must not have become another one. */
static void poll_stop(uv_poll_t *handle)
{
	mc_step("epoll_ctl of libuv", __builtin_return_address(0));
	if (handle->active && fd_file(handle->fd) != handle->file)
		mc_fail("libuv names descriptor %d, which was closed", handle->fd);
	handle->active = false;
	/* What was found in this turn is not reported any more (uv__platform_invalidate_fd). */
	handle->ready = 0;
}

int uv_poll_stop(uv_poll_t *handle)
{
	mc_assert(!handle->closing);
	poll_stop(handle);
	return 0;
}

int uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb callback)
{
	mc_assert(!handle->closing);
	if (!handle->active && is_polled(handle->loop, handle->fd))
		return UV_EEXIST;
	poll_stop(handle);
	if (events == 0)
		return 0;
	handle->events = 0;
	if ((events & UV_READABLE) != 0)
		handle->events |= EPOLLIN;
	if ((events & UV_WRITABLE) != 0)
		handle->events |= EPOLLOUT;
	if ((events & UV_DISCONNECT) != 0)
		handle->events |= EPOLLRDHUP;
	handle->callback = callback;
	handle->active = true;
	handle->loop->changed = true;
	return 0;
}

static void poll_io(uv_poll_t *handle)
{
	uint32_t ready = handle->ready;
	int events = 0;

	if ((ready & EPOLLERR) != 0) {
		poll_stop(handle);
		handle->callback(handle, UV_EBADF, 0);
		return;
	}
	/* A hangup by itself is reported as all that is waited for. */
	if (ready == EPOLLHUP)
		ready |= handle->events;
	if ((ready & EPOLLIN) != 0)
		events |= UV_READABLE;
	if ((ready & EPOLLOUT) != 0)
		events |= UV_WRITABLE;
	if ((ready & EPOLLRDHUP) != 0)
		events |= UV_DISCONNECT;
	handle->ready = 0;
	handle->callback(handle, 0, events);
}

/* ---- Timers ---- */

int uv_timer_init(uv_loop_t *loop, uv_timer_t *handle)
{
	add_handle(loop, (uv_handle_t *)handle, UV_TIMER);
	return 0;
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb callback, uint64_t timeout, uint64_t repeat)
{
	handle->callback = callback;
	handle->due = handle->loop->time + timeout;
	handle->repeat = repeat;
	handle->active = true;
	return 0;
}

int uv_timer_stop(uv_timer_t *handle)
{
	handle->active = false;
	return 0;
}

/* The timer that is due first, or NULL. */
static uv_timer_t *first_timer(uv_loop_t *loop)
{
	uv_timer_t *first = NULL;

	for (uv_handle_t *handle = loop->handles; handle != NULL; handle = handle->next) {
		uv_timer_t *timer = (uv_timer_t *)handle;

		if (handle->kind == UV_TIMER && handle->active &&
		    (first == NULL || timer->due < first->due))
			first = timer;
	}
	return first;
}

static void run_timers(uv_loop_t *loop)
{
	for (;;) {
		uv_timer_t *timer = first_timer(loop);

		if (timer == NULL || timer->due > loop->time)
			return;
		uv_timer_stop(timer);
		if (timer->repeat != 0)
			uv_timer_start(timer, timer->callback, timer->repeat, timer->repeat);
		timer->callback(timer);
	}
}

/* ---- The loop ---- */

void uv_update_time(uv_loop_t *loop)
{
	loop->time = mc_now() / 1000000;
}

int uv_loop_init(uv_loop_t *loop)
{
	memset(loop, 0, sizeof *loop);
	uv_update_time(loop);
	return 0;
}

/* Who waits for the loop by this has no polls in it, so what it would be ready for is the async
 * handle. */
int uv_backend_fd(const uv_loop_t *loop)
{
	return loop->event_fd;
}

int uv_loop_close(uv_loop_t *loop)
{
	return loop->handles != NULL ? UV_EBUSY : 0;
}

void uv_walk(uv_loop_t *loop, uv_walk_cb callback, void *argument)
{
	for (uv_handle_t *handle = loop->handles; handle != NULL; handle = handle->next)
		callback(handle, argument);
}

int uv_is_closing(const uv_handle_t *handle)
{
	return handle->closing;
}

void uv_close(uv_handle_t *handle, uv_close_cb callback)
{
	mc_assert(!handle->closing);
	handle->closing = true;
	handle->close_cb = callback;
	if (handle->kind == UV_POLL)
		poll_stop((uv_poll_t *)handle);
	else if (handle->kind == UV_ASYNC)
		async_spin((uv_async_t *)handle);
	handle->active = false;
}

static bool run_closing_handles(uv_loop_t *loop)
{
	uv_handle_t **place = &loop->handles;
	bool any = false;

	while (*place != NULL) {
		uv_handle_t *handle = *place;

		if (!handle->closing) {
			place = &handle->next;
			continue;
		}
		*place = handle->next;
		any = true;
		if (handle->kind == UV_ASYNC) {
			close(loop->event_fd);
			loop->async = NULL;
		}
		if (handle->close_cb != NULL)
			handle->close_cb(handle);
	}
	return any;
}

/* Whether there is a handle that is active, and one that is being closed. */
static void count_handles(const uv_loop_t *loop, bool *active, bool *closing)
{
	*active = *closing = false;
	for (const uv_handle_t *handle = loop->handles; handle != NULL; handle = handle->next) {
		*active |= handle->active;
		*closing |= handle->closing;
	}
}

/* How many milliseconds the loop may wait; -1 is for ever. */
static int64_t backend_timeout(uv_loop_t *loop)
{
	uv_timer_t *timer = first_timer(loop);
	bool active, closing;

	count_handles(loop, &active, &closing);
	if (!active || closing)
		return 0;
	if (timer == NULL)
		return -1;
	return timer->due <= loop->time ? 0 : (int64_t)(timer->due - loop->time);
}

int uv_backend_timeout(uv_loop_t *loop)
{
	return loop->changed ? 0 : (int)backend_timeout(loop);
}

/* What epoll_wait of the loop's own set finds, which is level-triggered. */
static void look(uv_loop_t *loop, bool *async, bool *polls)
{
	*polls = false;
	mc_step("libuv looks", __builtin_return_address(0));
	for (uv_poll_t *p = next_poll(loop->handles); p != NULL; p = next_poll(p->next)) {
		if (fd_file(p->fd) != p->file)
			mc_fail("libuv waits for descriptor %d, which was closed", p->fd);
		p->ready = fd_ready(p->fd) & (p->events | EPOLLERR | EPOLLHUP);
		*polls |= p->ready != 0;
	}
	*async = loop->async != NULL && !loop->async->closing && fd_ready(loop->event_fd) != 0;
}

/* A callback may end any handle, so each search begins anew. */
static void report_polls(uv_loop_t *loop)
{
	uv_poll_t *p = next_poll(loop->handles);

	while (p != NULL) {
		if (p->ready != 0) {
			poll_io(p);
			p = next_poll(loop->handles);
		} else {
			p = next_poll(p->next);
		}
	}
}

static void io_poll(uv_loop_t *loop, int64_t timeout)
{
	uint64_t end = loop->time + (uint64_t)timeout;
	bool async, polls, async_first;

	loop->changed = false;
	for (look(loop, &async, &polls); !async && !polls; look(loop, &async, &polls)) {
		if (timeout == 0)
			return;
		fd_block("waits in libuv", timeout > 0);
		uv_update_time(loop);
		if (timeout > 0 && loop->time >= end)
			timeout = 0;
	}
	uv_update_time(loop);
	/* The kernel reports in the order in which they became ready. */
	async_first = async && (!polls || mc_choose(2) == 0);
	if (async_first)
		async_io(loop);
	report_polls(loop);
	if (async && !async_first)
		async_io(loop);
}

int uv_run(uv_loop_t *loop, uv_run_mode mode)
{
	bool active, closing;

	count_handles(loop, &active, &closing);
	while (active || closing) {
		uv_update_time(loop);
		run_timers(loop);
		io_poll(loop, mode == UV_RUN_NOWAIT ? 0 : backend_timeout(loop));
		run_closing_handles(loop);
		if (mode == UV_RUN_ONCE) {
			uv_update_time(loop);
			run_timers(loop);
		}
		count_handles(loop, &active, &closing);
		if (mode != UV_RUN_DEFAULT)
			break;
	}
	return active || closing;
}
