/* source_model.c - see source_model.h. */
#include "tests/model/source_model.h"

#include <errno.h>

#include "io/dispatch.h"
#include "io/driver.h"
#include "sched/waiter.h"
#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"

struct sk_io *sm_io;
struct sk_source *sm_sources[2];
static uint32_t files[2]; /* that the sources were made of */
skua_poll sm_answers[2];
static SK_ATOMIC(uint32_t) stopping;
static int driver; /* its thread, or -1 */

void sm_begin(uint32_t backend)
{
	mc_assert(sk_io_new(backend, false, 1, &sm_io) == 0);
	driver = -1;
}

void sm_open(unsigned i, uint32_t ready)
{
	int fd = fd_socket(ready);

	files[i] = fd_file(fd);
	sm_sources[i] = sk_source_new(sm_io, fd);
	mc_assert(sm_sources[i] != NULL);
}

static void wake_waiter(void *unused, sk_waiter waiter)
{
	(void)unused;
	sk_waiter_wake(waiter);
}

void sm_dispatch(uint64_t id, uint32_t ready)
{
	skua_event event = {id, ready};

	sk_dispatch(sm_io, &event, 1, wake_waiter, NULL);
}

void sm_block_and_dispatch(int64_t timeout)
{
	skua_event events[2];
	int count = skua_blocker_block(sm_io->drivers[0]->blocker, events, 2, timeout);

	sk_dispatch(sm_io, events, count, wake_waiter, NULL);
}

static void driver_main(void *unused)
{
	(void)unused;
	while (sk_load(&stopping, SK_RELAXED) == 0)
		sm_block_and_dispatch(-1);
}

void sm_start_driver(void)
{
	driver = mc_thread(driver_main, NULL);
}

void sm_end(void)
{
	uint32_t places = sm_io->sources.count;

	if (driver >= 0) {
		sk_store(&stopping, 1, SK_RELAXED);
		skua_blocker_wake(sm_io->drivers[0]->blocker);
		mc_join(driver);
	}
	for (struct sk_source *source = sm_io->sources.free; source != NULL;
	     source = source->next) {
		mc_assert(source->fd == -1);
		places--;
	}
	mc_assert(places == 0);
	sk_io_free(sm_io);
	mc_assert(fd_open() == 0);
}

/* ---- Operations ---- */

int sm_use(const struct sk_source *source, uint32_t ready)
{
	int rc = fd_use(source->fd, ready);

	mc_assert(fd_file(source->fd) == files[source == sm_sources[1]]);
	return rc;
}

static skua_poll receive(skua_cx *cx, struct sk_source *source, void *unused)
{
	(void)cx, (void)unused;
	return sm_use(source, EPOLLIN) == 0 ? 7 : -EAGAIN;
}

static skua_poll transmit(skua_cx *cx, struct sk_source *source, void *unused)
{
	(void)cx, (void)unused;
	return sm_use(source, EPOLLOUT) == 0 ? 8 : -EAGAIN;
}

skua_poll sm_operate(skua_cx *cx, struct sk_source *source, enum sk_direction direction)
{
	return sk_source_operate(cx, source, direction, direction == SK_READ ? receive : transmit,
				 NULL);
}

/* Its own workings are one step each. */
struct sm_sleeper {
	bool woken;
};

__attribute__((no_sanitize("thread"))) static void wake(void *data)
{
	struct sm_sleeper *sleeper = data;

	mc_step("wakes", __builtin_return_address(0));
	mc_release_to(sleeper);
	sleeper->woken = true;
	mc_unblock(sleeper, true);
}

__attribute__((no_sanitize("thread"))) void sm_sleep(struct sm_sleeper *sleeper)
{
	mc_step("sleeps", __builtin_return_address(0));
	while (!sleeper->woken)
		mc_block(sleeper, "sleeps", false);
	sleeper->woken = false;
	mc_acquire_from(sleeper);
}

static void *duplicate(void *data)
{
	return data;
}

static void drop(void *data)
{
	(void)data;
}

static const skua_waker_ops sleeper_ops = {duplicate, wake, wake, drop};

struct sm_sleeper *sm_begin_to_poll(skua_cx *cx)
{
	static struct sm_sleeper sleepers[MC_THREADS];
	skua_waker waker = {&sleeper_ops, &sleepers[mc_self()]};

	skua_cx_init(cx, NULL, &waker);
	return waker.data;
}

skua_poll sm_await(struct sk_source *source, enum sk_direction direction)
{
	skua_poll result;
	skua_cx cx;
	struct sm_sleeper *sleeper = sm_begin_to_poll(&cx);

	while ((result = sm_operate(&cx, source, direction)) == SKUA_PENDING)
		sm_sleep(sleeper);
	return result;
}

void sm_reader(void *number)
{
	uintptr_t i = (uintptr_t)number;

	sm_answers[0] = sm_await(sm_sources[i], SK_READ);
}

void sm_writer(void *number)
{
	uintptr_t i = (uintptr_t)number;

	sm_answers[1] = sm_await(sm_sources[i], SK_WRITE);
}
