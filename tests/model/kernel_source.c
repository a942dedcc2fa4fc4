/*
 * kernel_source.c - sources: operations that wait, events, close, and places and descriptors that are
 * used again. No event is lost, each descriptor is closed once and never under a system call, and all
 * is given back.
 *
 * The operations are those of foreign executors, each a thread that sleeps until its waker wakes it,
 * and where it matters those of tasks. The driver's part is short here; kernel_driver.c has the real one.
 */
#include <errno.h>

#include "io/driver.h"
#include "io/io.h"
#include "io/source.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"

/* For those of many steps. */
#define LESS .stale = 1, .spurious = -1

static struct sk_io *io;
static struct sk_source *sources[2];
static uint32_t files[2]; /* that the sources were made of */
static skua_poll answers[2];
static SK_ATOMIC(uint32_t) stopping;
static int driver;

static int start(void (*run)(void *), uintptr_t argument)
{
	return mc_thread(run, (void *)argument);
}

static void begin(uint32_t backend)
{
	mc_assert(sk_io_new(backend, 1, &io) == 0);
	driver = -1;
}

static void open_source(unsigned i, uint32_t ready)
{
	int fd = fd_socket(ready);

	files[i] = fd_file(fd);
	sources[i] = sk_source_new(io, fd);
	mc_assert(sources[i] != NULL);
}

static void dispatch(uint64_t id, uint32_t ready)
{
	struct sk_source *source = sk_source_of_event(&io->sources, id);

	if (source == NULL)
		return;
	if ((ready & SKUA_READABLE) != 0)
		sk_waiter_wake(sk_slot_fire(&source->slots[SK_READ]));
	if ((ready & SKUA_WRITABLE) != 0)
		sk_waiter_wake(sk_slot_fire(&source->slots[SK_WRITE]));
}

static void driver_main(void *unused)
{
	skua_event events[2];

	(void)unused;
	while (sk_load(&stopping, SK_RELAXED) == 0) {
		int count = skua_blocker_block(io->drivers[0]->blocker, events, 2, -1);

		for (int i = 0; i < count; i++)
			dispatch(events[i].id, events[i].ready);
	}
}

/* Everything has been given back: memory, descriptors, and every place of the table. */
static void end(void)
{
	uint32_t places = io->sources.count;

	if (driver >= 0) {
		sk_store(&stopping, 1, SK_RELAXED);
		skua_blocker_wake(io->drivers[0]->blocker);
		mc_join(driver);
	}
	for (struct sk_source *source = io->sources.free; source != NULL; source = source->next) {
		mc_assert(source->fd == -1);
		places--;
	}
	mc_assert(places == 0);
	sk_io_free(io);
	mc_assert(fd_open() == 0);
}

/* ---- Operations ---- */

/* The descriptor is still the one that the source was made of. */
static int use(const struct sk_source *source, uint32_t ready)
{
	int rc = fd_use(source->fd, ready);

	mc_assert(fd_file(source->fd) == files[source == sources[1]]);
	return rc;
}

static skua_poll receive(skua_cx *cx, struct sk_source *source, void *unused)
{
	(void)cx, (void)unused;
	return use(source, EPOLLIN) == 0 ? 7 : -EAGAIN;
}

static skua_poll transmit(skua_cx *cx, struct sk_source *source, void *unused)
{
	(void)cx, (void)unused;
	return use(source, EPOLLOUT) == 0 ? 8 : -EAGAIN;
}

static skua_poll operate(skua_cx *cx, struct sk_source *source, enum sk_direction direction)
{
	return sk_source_operate(cx, source, direction, direction == SK_READ ? receive : transmit,
				 NULL);
}

/* A foreign executor: a thread that sleeps until it is woken. Its own workings are one step each. */
struct sleeper {
	bool woken;
};

__attribute__((no_sanitize("thread"))) static void wake(void *data)
{
	struct sleeper *sleeper = data;

	mc_step("wakes", __builtin_return_address(0));
	mc_release_to(sleeper);
	sleeper->woken = true;
	mc_unblock(sleeper, true);
}

__attribute__((no_sanitize("thread"))) static void sleep_until_woken(struct sleeper *sleeper)
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

/* For the running thread. */
static struct sleeper *begin_to_poll(skua_cx *cx)
{
	static struct sleeper sleepers[MC_THREADS];
	skua_waker waker = {&sleeper_ops, &sleepers[mc_self()]};

	skua_cx_init(cx, NULL, &waker);
	return waker.data;
}

static skua_poll await(struct sk_source *source, enum sk_direction direction)
{
	skua_poll result;
	skua_cx cx;
	struct sleeper *sleeper = begin_to_poll(&cx);

	while ((result = operate(&cx, source, direction)) == SKUA_PENDING)
		sleep_until_woken(sleeper);
	return result;
}

static void reader(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	answers[0] = await(sources[i], SK_READ);
}

static void writer(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	answers[1] = await(sources[i], SK_WRITE);
}

static void assert_closed(skua_poll answer)
{
	mc_assert(answer == -ECANCELED || answer == -EBADF);
}

/* ---- Events ---- */

static void read_against_event(uint32_t backend)
{
	int thread;

	begin(backend);
	driver = start(driver_main, 0);
	open_source(0, 0);
	thread = start(reader, 0);
	fd_raise(sources[0]->fd, EPOLLIN);
	mc_join(thread);
	mc_assert(answers[0] == 7);
	sk_source_close(sources[0]);
	end();
}

MC_SCENARIO(source, read_against_event)
{
	read_against_event(SKUA_IO_BACKEND_EPOLL);
}

MC_SCENARIO(source, uv_read_against_event)
{
	read_against_event(SKUA_IO_BACKEND_UV);
}

/* Both directions are waited for, and registered, at the same time. */
static void read_and_write(uint32_t backend)
{
	int one, two;

	begin(backend);
	driver = start(driver_main, 0);
	open_source(0, 0);
	one = start(reader, 0);
	two = start(writer, 0);
	fd_raise(sources[0]->fd, EPOLLIN | EPOLLOUT);
	mc_join(one);
	mc_join(two);
	mc_assert(answers[0] == 7 && answers[1] == 8);
	sk_source_close(sources[0]);
	end();
}

MC_SCENARIO_WITH(source, read_and_write, LESS)
{
	read_and_write(SKUA_IO_BACKEND_EPOLL);
}

MC_SCENARIO_WITH(source, uv_read_and_write, .preemptions = 1, LESS)
{
	read_and_write(SKUA_IO_BACKEND_UV);
}

/* A program that makes its own system calls: after each EAGAIN it awaits a change. */
static void own_reader(void *unused)
{
	skua_cx cx;
	struct sleeper *sleeper = begin_to_poll(&cx);

	(void)unused;
	while (use(sources[0], EPOLLIN) != 0) {
		skua_poll ready;

		while ((ready = sk_source_ready(&cx, sources[0], SK_READ)) == SKUA_PENDING)
			sleep_until_woken(sleeper);
		mc_assert(ready == 0);
	}
	answers[0]++;
}

MC_SCENARIO(source, ready_against_event)
{
	int thread;

	begin(SKUA_IO_BACKEND_EPOLL);
	driver = start(driver_main, 0);
	open_source(0, 0);
	thread = start(own_reader, 0);
	fd_raise(sources[0]->fd, EPOLLIN);
	mc_join(thread);
	/* An event has been used up: the next one is awaited again. */
	thread = start(own_reader, 0);
	fd_raise(sources[0]->fd, EPOLLIN);
	mc_join(thread);
	mc_assert(answers[0] == 2);
	sk_source_close(sources[0]);
	end();
}

/* ---- One direction, two tasks ---- */

/* Two operations that need not wait: each succeeds, or finds the direction taken. What belongs to the
 * direction is seen by the next who has it. */
static int in_turn; /* plain: who has the direction has this */

static skua_poll transmit_in_turn(skua_cx *cx, struct sk_source *source, void *unused)
{
	(void)cx, (void)source, (void)unused;
	in_turn++;
	return 8;
}

static void writer_in_turn(void *argument)
{
	uintptr_t i = (uintptr_t)argument;
	skua_cx cx;

	begin_to_poll(&cx);
	answers[i] = sk_source_operate(&cx, sources[0], SK_WRITE, transmit_in_turn, NULL);
}

MC_SCENARIO(source, two_writers_in_turn)
{
	int one, two;

	begin(SKUA_IO_BACKEND_EPOLL);
	open_source(0, EPOLLOUT);
	one = start(writer_in_turn, 0);
	two = start(writer_in_turn, 1);
	mc_join(one);
	mc_join(two);
	for (int i = 0; i < 2; i++)
		mc_assert(answers[i] == 8 || answers[i] == -EBUSY);
	mc_assert(in_turn == (answers[0] == 8) + (answers[1] == 8) && in_turn > 0);
	sk_source_close(sources[0]);
	end();
}

/* One waits: the other is refused, and the wait is not disturbed. */
static void other_reader(void *unused)
{
	(void)unused;
	answers[1] = await(sources[0], SK_READ);
}

MC_SCENARIO(source, two_readers_wait)
{
	int one, two;

	begin(SKUA_IO_BACKEND_EPOLL);
	open_source(0, 0);
	one = start(reader, 0);
	two = start(other_reader, 0);
	/* One of them waits by then, or will see that it is closed. */
	sk_source_close(sources[0]);
	mc_join(one);
	mc_join(two);
	for (int i = 0; i < 2; i++)
		if (answers[i] != -EBUSY)
			assert_closed(answers[i]);
	mc_assert(answers[0] != -EBUSY || answers[1] != -EBUSY);
	end();
}

/* ---- Close ---- */

static void close_against_wait(uint32_t backend)
{
	int thread;

	begin(backend);
	open_source(0, 0);
	thread = start(reader, 0);
	sk_source_close(sources[0]);
	mc_join(thread);
	assert_closed(answers[0]);
	end();
}

MC_SCENARIO(source, close_against_wait)
{
	close_against_wait(SKUA_IO_BACKEND_EPOLL);
}

MC_SCENARIO(source, uv_close_against_wait)
{
	close_against_wait(SKUA_IO_BACKEND_UV);
}

MC_SCENARIO(source, close_against_reader_and_writer)
{
	int one, two;

	begin(SKUA_IO_BACKEND_EPOLL);
	open_source(0, 0);
	one = start(reader, 0);
	two = start(writer, 0);
	sk_source_close(sources[0]);
	mc_join(one);
	mc_join(two);
	assert_closed(answers[0]);
	assert_closed(answers[1]);
	end();
}

/* The event and the close come at the same time. */
MC_SCENARIO(source, close_against_event)
{
	int thread;

	begin(SKUA_IO_BACKEND_EPOLL);
	driver = start(driver_main, 0);
	open_source(0, EPOLLIN);
	thread = start(reader, 0);
	sk_source_close(sources[0]);
	mc_join(thread);
	if (answers[0] != 7)
		assert_closed(answers[0]);
	end();
}

/* A call that is not an operation, such as shutdown(2). */
static void caller(void *unused)
{
	(void)unused;
	answers[0] = -EBADF;
	if (!sk_source_enter(sources[0]))
		return;
	answers[0] = use(sources[0], EPOLLOUT);
	sk_source_leave(sources[0]);
}

/* The number of the descriptor is taken by somebody else at once. */
MC_SCENARIO(source, close_and_reuse_against_a_call)
{
	int one, two, fd;

	begin(SKUA_IO_BACKEND_EPOLL);
	open_source(0, EPOLLOUT);
	one = start(caller, 0);
	two = start(writer, 0);
	sk_source_close(sources[0]);
	fd = fd_socket(0);
	mc_join(one);
	mc_join(two);
	close(fd);
	end();
}

/* ---- Places are used again ---- */

static void late_event(void *argument)
{
	dispatch(*(uint64_t *)argument, SKUA_READABLE | SKUA_WRITABLE);
}

/* An event of the old descriptor that comes when the place has another one finds nothing, or at worst
 * wakes for nothing: it does not hide the event of the new one, or take a reader with it. */
MC_SCENARIO_WITH(source, late_event_against_reuse, LESS)
{
	static uint64_t old;
	int late, thread;

	begin(SKUA_IO_BACKEND_EPOLL);
	driver = start(driver_main, 0);
	open_source(0, 0);
	old = sources[0]->index;
	late = start(late_event, (uintptr_t)&old);
	sk_source_close(sources[0]);
	open_source(1, 0);
	mc_assert(sources[1] == sources[0]);
	mc_assert(sk_source_of_event(&io->sources, old) == NULL);
	sources[0] = NULL;
	thread = start(reader, 1);
	fd_raise(sources[1]->fd, EPOLLIN);
	mc_join(thread);
	mc_join(late);
	mc_assert(answers[0] == 7);
	sk_source_close(sources[1]);
	end();
}

/* Two threads make sources, and the table grows, while events come for one of them. */
static void maker(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	open_source((unsigned)i, EPOLLIN);
	sk_source_close(sources[i]);
}

MC_SCENARIO(source, two_threads_make_sources)
{
	int one, two;

	begin(SKUA_IO_BACKEND_EPOLL);
	one = start(maker, 0);
	two = start(maker, 1);
	mc_join(one);
	mc_join(two);
	end();
}

/* Any index may come with an event, also without what a kernel passes on: the place is not there, or
 * there whole. */
static void looker(void *unused)
{
	struct sk_source *source = sk_source_of_event(&io->sources, 0);

	(void)unused;
	if (source != NULL)
		mc_assert(sk_slot_fire(&source->slots[SK_READ]) == SK_NO_WAITER);
}

MC_SCENARIO(source, grow_against_event)
{
	int one, two;

	begin(SKUA_IO_BACKEND_EPOLL);
	one = start(maker, 0);
	two = start(looker, 0);
	mc_join(one);
	mc_join(two);
	end();
}

/* ---- Tasks ---- */

static struct sk_sched *sched; /* does not run: what is woken stays in its inbox */
static skua_task *task;

static void begin_task(void)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};

	begin(SKUA_IO_BACKEND_EPOLL);
	mc_assert(sk_sched_new(&options, &sched) == 0);
	task = sk_task_new(sched, NULL, 0, false);
	driver = start(driver_main, 0);
	open_source(0, 0);
}

static void end_task(void)
{
	/* The driver may still be waking the task. */
	end();
	mc_assert(sk_load(&task->state, SK_RELAXED) / SK_TASK_REFERENCE == 1);
	mc_assert(task->obligations == NULL);
	sk_inbox_take(&sched->workers[0]->inbox);
	sk_task_release(task);
	mc_assert(sk_sched_free(sched) == 0);
}

static skua_cx begin_poll(void)
{
	skua_cx cx = {.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};

	sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	return cx;
}

/* The poll has answered PENDING: the runner comes back when the task is SCHEDULED again. */
static void end_poll(void)
{
	uint64_t old = sk_fetch_xor(&task->state, SK_TASK_RUNNING, SK_ACQ_REL);

	if ((old & SK_TASK_SCHEDULED) != 0)
		return;
	while (sk_inbox_take(&sched->workers[0]->inbox) == NULL)
		sk_thread_yield();
}

/* The task ends in the middle of its operation: what it had begun is taken back. */
static void forgetful_task(void *unused)
{
	skua_cx cx = begin_poll();

	(void)unused;
	answers[0] = operate(&cx, sources[0], SK_READ);
	answers[1] = operate(&cx, sources[0], SK_WRITE);
	sk_task_complete(task, 0);
}

MC_SCENARIO_WITH(source, task_ends_against_event, LESS)
{
	int thread;

	begin_task();
	thread = start(forgetful_task, 0);
	fd_raise(sources[0]->fd, EPOLLIN);
	mc_join(thread);
	mc_assert(answers[0] == 7 || answers[0] == SKUA_PENDING);
	mc_assert(answers[1] == SKUA_PENDING);
	/* Both directions are free again. */
	fd_raise(sources[0]->fd, EPOLLIN | EPOLLOUT);
	reader(0);
	writer(0);
	mc_assert(answers[0] == 7 && answers[1] == 8);
	sk_source_close(sources[0]);
	end_task();
}

MC_SCENARIO_WITH(source, task_ends_against_close, LESS)
{
	int thread;

	begin_task();
	thread = start(forgetful_task, 0);
	sk_source_close(sources[0]);
	mc_join(thread);
	end_task();
}

/* Awaits readiness; it is told once that it was cancelled, and goes on. */
static void cancelled_task(void *unused)
{
	(void)unused;
	for (;;) {
		skua_cx cx = begin_poll();
		skua_poll result = sk_source_ready(&cx, sources[0], SK_READ);

		if (result == -ECANCELED) {
			mc_assert(++answers[0] == 1);
			result = sk_source_ready(&cx, sources[0], SK_READ);
		}
		if (result == 0)
			break;
		mc_assert(result == SKUA_PENDING);
		end_poll();
	}
	sk_task_complete(task, 0);
}

/* An event that comes with a cancellation is not lost. */
MC_SCENARIO_WITH(source, task_is_cancelled_against_event, LESS)
{
	int thread;

	begin_task();
	thread = start(cancelled_task, 0);
	fd_raise(sources[0]->fd, EPOLLIN);
	sk_task_cancel(task);
	mc_join(thread);
	sk_source_close(sources[0]);
	end_task();
}
