/*
 * kernel_blocker.c - the IO blocker: what other threads publish for the loop's thread, and the kick
 * that makes the loop come round for it (io/blocker.h: publish; fence; send). A wakeup that is lost
 * shows as a loop that waits for ever.
 */
#include <uv.h>

#include "io/blocker.h"
#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"

#include "skua/runtime.h"

/* ---- The rule itself, on the modelled libuv ---- */

static uv_loop_t loop;
static uv_async_t async;
static SK_ATOMIC(uint32_t) published;
static uint32_t seen; /* by the callback */

static void looks_after_a_fence(uv_async_t *unused)
{
	(void)unused;
	sk_fence();
	seen = sk_load(&published, SK_RELAXED);
}

static void looks_without_fence(uv_async_t *unused)
{
	(void)unused;
	seen = sk_load(&published, SK_RELAXED);
}

static void publish_twice(bool fence)
{
	for (uint32_t i = 1; i <= 2; i++) {
		sk_store(&published, i, SK_RELAXED);
		if (fence)
			sk_fence();
		uv_async_send(&async);
	}
}

static void publisher(void *unused)
{
	(void)unused;
	publish_twice(true);
}

static void publisher_without_fence(void *unused)
{
	(void)unused;
	publish_twice(false);
}

/* The loop comes round until it has seen both. */
static void send_against_loop(void (*run)(void *), uv_async_cb callback)
{
	uv_loop_init(&loop);
	mc_assert(uv_async_init(&loop, &async, callback) == 0);
	mc_start(run, 0);
	while (seen < 2)
		uv_run(&loop, UV_RUN_ONCE);
	mc_join_all();
	uv_close((uv_handle_t *)&async, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	mc_assert(uv_loop_close(&loop) == 0);
}

MC_SCENARIO(blocker, async_send_with_fences)
{
	send_against_loop(publisher, looks_after_a_fence);
}

/* Without the first one uv_async_send may look at its flag before the publication is there. */
MC_SCENARIO_WITH(blocker, async_send_without_fence, .must_fail = true,
		 .expect = "no thread can go on")
{
	send_against_loop(publisher_without_fence, looks_after_a_fence);
}

/* Without the second one the loop may look before its flag is cleared. */
MC_SCENARIO_WITH(blocker, async_callback_without_fence, .must_fail = true,
		 .expect = "no thread can go on")
{
	send_against_loop(publisher, looks_without_fence);
}

/* ---- The blocker; its loop runs on thread 0 ---- */

enum { CAPACITY = 4 };

static skua_blocker *blocker;
static skua_registration registrations[3];
static int fds[2];
static uint32_t reported[3]; /* by the loop, for each id */
static SK_ATOMIC(uint32_t) flag;
static sk_mutex lock = SK_MUTEX_INITIALIZER; /* of the registrations, as each source has one */

static void begin(uint32_t backend, uint32_t ready)
{
	mc_assert(skua_blocker_new(backend, &blocker) == 0);
	for (int i = 0; i < 2; i++)
		fds[i] = fd_socket(ready);
}

/* Everything has been given back. */
static void end(void)
{
	skua_blocker_free(blocker);
	mc_assert(fd_open() == 0);
}

static void enter(unsigned i, uint32_t flags)
{
	mc_assert(skua_blocker_register(blocker, fds[i], (skua_interest){i, flags},
					&registrations[i]) == 0);
}

static void leave(unsigned i)
{
	skua_blocker_deregister(blocker, &registrations[i], 1);
}

/* One block. Returns how many events it has brought. */
static int block(int capacity, int64_t timeout)
{
	skua_event events[CAPACITY];
	int count = skua_blocker_block(blocker, events, capacity, timeout);

	mc_assert(count >= 0 && count <= capacity);
	for (int i = 0; i < count; i++) {
		mc_assert(events[i].id < 3);
		reported[events[i].id] |= events[i].ready;
	}
	return count;
}

static void block_until(unsigned id, uint32_t flags)
{
	while ((reported[id] & flags) != flags)
		block(CAPACITY, -1);
}

/* ---- Waking ---- */

static void waker(void *unused)
{
	(void)unused;
	sk_store(&flag, 1, SK_RELAXED);
	skua_blocker_wake(blocker);
}

static void waker_of_two(void *unused)
{
	(void)unused;
	sk_fetch_add(&flag, 1, SK_RELAXED);
	skua_blocker_wake(blocker);
}

static void waker_twice(void *unused)
{
	waker_of_two(unused);
	waker_of_two(unused);
}

static void no_sockets(uint32_t backend)
{
	mc_assert(skua_blocker_new(backend, &blocker) == 0);
}

/* What was done before the wake is seen after the block, or after the next one. */
static void block_until_flag(uint32_t value)
{
	while (sk_load(&flag, SK_RELAXED) != value)
		mc_assert(block(CAPACITY, -1) == 0);
}

MC_SCENARIO(blocker, wake_against_block)
{
	no_sockets(SKUA_IO_BACKEND_EPOLL);
	mc_start(waker, 0);
	block_until_flag(1);
	mc_join_all();
	end();
}

MC_SCENARIO(blocker, wake_twice_against_block)
{
	no_sockets(SKUA_IO_BACKEND_EPOLL);
	mc_start(waker_twice, 0);
	block_until_flag(2);
	mc_join_all();
	end();
}

MC_SCENARIO(blocker, two_wakers_against_block)
{
	no_sockets(SKUA_IO_BACKEND_EPOLL);
	mc_start(waker_of_two, 0);
	mc_start(waker_of_two, 0);
	block_until_flag(2);
	mc_join_all();
	end();
}

/* One wake ends one block, also when it comes before: the second block is only ended by its time. */
MC_SCENARIO_WITH(blocker, wakes_do_not_add_up, .allow_timeouts = true)
{
	uint64_t before;

	no_sockets(SKUA_IO_BACKEND_EPOLL);
	skua_blocker_wake(blocker);
	skua_blocker_wake(blocker);
	mc_assert(block(CAPACITY, -1) == 0);
	before = sk_now();
	mc_assert(block(CAPACITY, 1000000) == 0);
	mc_assert(sk_now() >= before + 1000000);
	skua_blocker_wake(blocker);
	mc_assert(block(CAPACITY, -1) == 0);
	end();
}

/* ---- Requests for the uv backend ---- */

static void registrar(void *argument)
{
	enter((unsigned)(uintptr_t)argument, SKUA_READABLE);
}

static void registrar_of_both(void *unused)
{
	(void)unused;
	registrar(0);
	registrar((void *)1);
}

MC_SCENARIO(blocker, uv_register_against_block)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN);
	mc_start(registrar, 0);
	block_until(0, SKUA_READABLE);
	mc_join_all();
	leave(0);
	close(fds[1]);
	end();
}

MC_SCENARIO(blocker, uv_two_registrations)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN);
	mc_start(registrar_of_both, 0);
	block_until(0, SKUA_READABLE);
	block_until(1, SKUA_READABLE);
	mc_join_all();
	leave(0);
	leave(1);
	end();
}

MC_SCENARIO(blocker, uv_two_submitters)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN);
	mc_start(registrar, 0);
	mc_start(registrar, 1);
	block_until(0, SKUA_READABLE);
	block_until(1, SKUA_READABLE);
	mc_join_all();
	leave(0);
	leave(1);
	end();
}

MC_SCENARIO(blocker, uv_register_against_wake)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN);
	mc_start(registrar, 0);
	mc_start(waker, 0);
	block_until(0, SKUA_READABLE);
	while (sk_load(&flag, SK_RELAXED) != 1)
		block(CAPACITY, -1);
	mc_join_all();
	leave(0);
	close(fds[1]);
	end();
}

/* One event for each time that it is armed, although the socket stays readable. */
static void rearm(uint32_t flags)
{
	sk_mutex_lock(&lock);
	mc_assert(skua_blocker_rearm(blocker, &registrations[0], flags) == 0);
	sk_mutex_unlock(&lock);
}

static void rearmer(void *unused)
{
	(void)unused;
	rearm(SKUA_READABLE);
}

MC_SCENARIO_WITH(blocker, uv_rearm_against_block, .allow_timeouts = true)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN);
	registrar(0);
	block_until(0, SKUA_READABLE);
	mc_assert(block(CAPACITY, 0) == 0);
	reported[0] = 0;
	mc_start(rearmer, 0);
	block_until(0, SKUA_READABLE);
	mc_join_all();
	mc_assert(block(CAPACITY, 0) == 0);
	leave(0);
	close(fds[1]);
	end();
}

/* A reader and a writer, both for the same descriptor. */
static void writer(void *unused)
{
	(void)unused;
	rearm(SKUA_WRITABLE);
}

MC_SCENARIO(blocker, uv_two_rearms_of_one_watch)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN | EPOLLOUT);
	registrar(0);
	block_until(0, SKUA_READABLE);
	reported[0] = 0;
	mc_start(rearmer, 0);
	mc_start(writer, 0);
	block_until(0, SKUA_READABLE | SKUA_WRITABLE);
	mc_join_all();
	leave(0);
	close(fds[1]);
	end();
}

/* The descriptor is closed while its event may be on its way; its number is used again at once. */
static void replacer(void *unused)
{
	(void)unused;
	leave(0);
	fds[1] = fd_socket(EPOLLIN);
	enter(1, SKUA_READABLE);
}

static void close_and_reuse_against_block(uint32_t backend)
{
	mc_assert(skua_blocker_new(backend, &blocker) == 0);
	fds[0] = fd_socket(EPOLLIN);
	registrar(0);
	mc_start(replacer, 0);
	block_until(1, SKUA_READABLE);
	mc_join_all();
	leave(1);
	end();
}

MC_SCENARIO(blocker, uv_close_and_reuse_against_block)
{
	close_and_reuse_against_block(SKUA_IO_BACKEND_UV);
}

/* The watch ends while it is in the list already. */
static void rearms_and_leaves(void *unused)
{
	rearmer(unused);
	leave(0);
	sk_store(&flag, 1, SK_RELAXED);
	skua_blocker_wake(blocker);
}

MC_SCENARIO(blocker, uv_rearm_and_close_against_block)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN);
	close(fds[1]);
	registrar(0);
	block_until(0, SKUA_READABLE);
	mc_start(rearms_and_leaves, 0);
	while (sk_load(&flag, SK_RELAXED) != 1)
		block(CAPACITY, -1);
	mc_join_all();
	end();
}

/* What does not fit comes with the next block. */
MC_SCENARIO(blocker, uv_more_events_than_room)
{
	begin(SKUA_IO_BACKEND_UV, EPOLLIN);
	mc_start(registrar_of_both, 0);
	while (reported[0] == 0 || reported[1] == 0)
		block(1, -1);
	mc_join_all();
	leave(0);
	leave(1);
	end();
}

/* A registration that libuv refuses, here because there is one of the descriptor already, is reported
 * as ready for everything: with the next block, if there is no room in this one. */
static void registrar_of_the_same(void *unused)
{
	skua_interest interest = {2, SKUA_READABLE};

	(void)unused;
	mc_assert(skua_blocker_register(blocker, fds[1], interest, &registrations[2]) == 0);
}

MC_SCENARIO(blocker, uv_refused_registration_without_room)
{
	begin(SKUA_IO_BACKEND_UV, 0);
	registrar_of_both(NULL);
	mc_assert(block(CAPACITY, 0) == 0);
	fd_raise(fds[0], EPOLLIN);
	mc_start(registrar_of_the_same, 0);
	while (reported[0] == 0 || reported[2] == 0)
		block(1, -1);
	mc_assert(reported[2] == (SKUA_READABLE | SKUA_WRITABLE | SKUA_HANGUP));
	mc_assert(reported[1] == 0);
	mc_join_all();
	skua_blocker_deregister(blocker, &registrations[2], 0);
	leave(0);
	leave(1);
	end();
}

/* A socket that fails is reported as ready for everything. */
static void resetter(void *unused)
{
	(void)unused;
	fd_raise(fds[0], EPOLLERR);
}

MC_SCENARIO(blocker, uv_error_against_register)
{
	begin(SKUA_IO_BACKEND_UV, 0);
	close(fds[1]);
	mc_start(registrar, 0);
	mc_start(resetter, 0);
	block_until(0, SKUA_READABLE | SKUA_WRITABLE | SKUA_HANGUP);
	mc_join_all();
	leave(0);
	end();
}

/* ---- The epoll backend ---- */

static void raiser(void *argument)
{
	fd_raise(fds[0], (uint32_t)(uintptr_t)argument);
}

MC_SCENARIO(blocker, epoll_register_against_event)
{
	begin(SKUA_IO_BACKEND_EPOLL, 0);
	close(fds[1]);
	mc_start(registrar, 0);
	mc_start(raiser, EPOLLIN);
	block_until(0, SKUA_READABLE);
	mc_join_all();
	leave(0);
	end();
}

/* The second direction is added to a registration while its event comes. */
MC_SCENARIO(blocker, epoll_rearm_against_event)
{
	begin(SKUA_IO_BACKEND_EPOLL, EPOLLIN);
	close(fds[1]);
	registrar(0);
	mc_start(writer, 0);
	mc_start(raiser, EPOLLOUT);
	block_until(0, SKUA_READABLE | SKUA_WRITABLE);
	mc_join_all();
	leave(0);
	end();
}

MC_SCENARIO(blocker, epoll_close_and_reuse_against_block)
{
	close_and_reuse_against_block(SKUA_IO_BACKEND_EPOLL);
}

/* What does not fit comes with the next block, and with a look that does not block. */
MC_SCENARIO(blocker, epoll_more_events_than_room)
{
	begin(SKUA_IO_BACKEND_EPOLL, EPOLLIN);
	mc_start(registrar, 0);
	mc_start(registrar, 1);
	block(1, 0);
	while (reported[0] == 0 || reported[1] == 0)
		block(1, -1);
	mc_join_all();
	leave(0);
	leave(1);
	end();
}
