/*
 * kernel_source.c - sources: operations that wait, events, close, and places and descriptors that are
 * used again. No event is lost, each descriptor is closed once and never under a system call, and all
 * is given back.
 */
#include <errno.h>

#include "io/driver.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"
#include "tests/model/source_model.h"

static void assert_closed(skua_poll answer)
{
	mc_assert(answer == -ECANCELED || answer == -EBADF);
}

/* ---- Events ---- */

static void read_against_event(uint32_t backend)
{
	sm_begin(backend);
	sm_start_driver();
	sm_open(0, 0);
	mc_start(sm_reader, 0);
	fd_raise(sm_sources[0]->fd, EPOLLIN);
	mc_join_all();
	mc_assert(sm_answers[0] == 7);
	sk_source_close(sm_sources[0]);
	sm_end();
}

MC_SCENARIO(source, read_against_event)
{
	read_against_event(SKUA_IO_BACKEND_EPOLL);
}

MC_SCENARIO(source, uv_read_against_event)
{
	read_against_event(SKUA_IO_BACKEND_UV);
}

/* The descriptor is registered since the read before: only the slot keeps an event that comes early. */
static void raiser(void *unused)
{
	(void)unused;
	fd_raise(sm_sources[0]->fd, EPOLLIN);
}

MC_SCENARIO(source, second_read_against_event)
{
	struct sm_sleeper *sleeper;
	skua_cx cx;

	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_open(0, 0);
	sleeper = sm_begin_to_poll(&cx);
	mc_assert(sm_operate(&cx, sm_sources[0], SK_READ) == SKUA_PENDING);
	raiser(NULL);
	sm_block_and_dispatch(0);
	sm_sleep(sleeper);
	mc_assert(sm_operate(&cx, sm_sources[0], SK_READ) == 7);
	sm_start_driver();
	mc_start(raiser, 0);
	sm_reader(0);
	mc_join_all();
	mc_assert(sm_answers[0] == 7);
	sk_source_close(sm_sources[0]);
	sm_end();
}

/* A stream that ends. Each read is short: it takes all that is there. */
static skua_poll receive_short(skua_cx *cx, struct sk_source *source, void *unused)
{
	int received = fd_receive(source->fd);

	(void)cx, (void)unused;
	if (received != 0)
		sk_source_is_drained(source);
	return received;
}

static void read_to_the_end(void *unused)
{
	skua_cx cx;
	struct sm_sleeper *sleeper = sm_begin_to_poll(&cx);
	skua_poll result;

	(void)unused;
	do {
		result = sk_source_operate(&cx, sm_sources[0], SK_READ, receive_short, NULL);
		if (result == SKUA_PENDING)
			sm_sleep(sleeper);
		else
			sm_answers[0] += result;
	} while (result != 0);
}

static void read_to_the_end_against(uint32_t backend, uint32_t first, uint32_t second)
{
	sm_begin(backend);
	sm_start_driver();
	sm_open(0, 0);
	mc_start(read_to_the_end, 0);
	fd_raise(sm_sources[0]->fd, first);
	if (second != 0)
		fd_raise(sm_sources[0]->fd, second);
	mc_join_all();
	mc_assert(sm_answers[0] == 1);
	sk_source_close(sm_sources[0]);
	sm_end();
}

/* The end comes with the data: there is no other event for it. */
MC_SCENARIO(source, short_read_against_end_with_data)
{
	read_to_the_end_against(SKUA_IO_BACKEND_EPOLL, EPOLLIN | EPOLLRDHUP, 0);
}

MC_SCENARIO_WITH(source, short_read_against_end_after_data, LESS)
{
	read_to_the_end_against(SKUA_IO_BACKEND_EPOLL, EPOLLIN, EPOLLRDHUP);
}

MC_SCENARIO_WITH(source, uv_short_read_against_end_with_data, LESS)
{
	read_to_the_end_against(SKUA_IO_BACKEND_UV, EPOLLIN | EPOLLRDHUP, 0);
}

/* More data comes while a read is under way that is short all the same. */
MC_SCENARIO_WITH(source, short_reads_against_data, LESS)
{
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_start_driver();
	sm_open(0, 0);
	mc_start(read_to_the_end, 0);
	fd_raise(sm_sources[0]->fd, EPOLLIN);
	fd_raise(sm_sources[0]->fd, EPOLLIN);
	fd_raise(sm_sources[0]->fd, EPOLLIN | EPOLLRDHUP);
	mc_join_all();
	mc_assert(sm_answers[0] >= 1 && sm_answers[0] <= 3);
	sk_source_close(sm_sources[0]);
	sm_end();
}

/* Both directions are waited for, and registered, at the same time. */
static void read_and_write(uint32_t backend)
{
	sm_begin(backend);
	sm_start_driver();
	sm_open(0, 0);
	mc_start(sm_reader, 0);
	mc_start(sm_writer, 0);
	fd_raise(sm_sources[0]->fd, EPOLLIN | EPOLLOUT);
	mc_join_all();
	mc_assert(sm_answers[0] == 7 && sm_answers[1] == 8);
	sk_source_close(sm_sources[0]);
	sm_end();
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
	struct sm_sleeper *sleeper = sm_begin_to_poll(&cx);

	(void)unused;
	while (sm_use(sm_sources[0], EPOLLIN) != 0) {
		skua_poll ready;

		while ((ready = sk_source_ready(&cx, sm_sources[0], SK_READ)) == SKUA_PENDING)
			sm_sleep(sleeper);
		mc_assert(ready == 0);
	}
	sm_answers[0]++;
}

MC_SCENARIO(source, ready_against_event)
{
	int thread;

	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_start_driver();
	sm_open(0, 0);
	thread = mc_start(own_reader, 0);
	fd_raise(sm_sources[0]->fd, EPOLLIN);
	mc_join(thread);
	/* An event has been used up: the next one is awaited again. */
	thread = mc_start(own_reader, 0);
	fd_raise(sm_sources[0]->fd, EPOLLIN);
	mc_join(thread);
	mc_assert(sm_answers[0] == 2);
	sk_source_close(sm_sources[0]);
	sm_end();
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

	sm_begin_to_poll(&cx);
	sm_answers[i] = sk_source_operate(&cx, sm_sources[0], SK_WRITE, transmit_in_turn, NULL);
}

MC_SCENARIO(source, two_writers_in_turn)
{
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_open(0, EPOLLOUT);
	mc_start(writer_in_turn, 0);
	mc_start(writer_in_turn, 1);
	mc_join_all();
	for (int i = 0; i < 2; i++)
		mc_assert(sm_answers[i] == 8 || sm_answers[i] == -EBUSY);
	mc_assert(in_turn == (sm_answers[0] == 8) + (sm_answers[1] == 8) && in_turn > 0);
	sk_source_close(sm_sources[0]);
	sm_end();
}

/* One waits: the other is refused, and the wait is not disturbed. */
static void other_reader(void *unused)
{
	(void)unused;
	sm_answers[1] = sm_await(sm_sources[0], SK_READ);
}

MC_SCENARIO(source, two_readers_wait)
{
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_open(0, 0);
	mc_start(sm_reader, 0);
	mc_start(other_reader, 0);
	/* One of them waits by then, or will see that it is closed. */
	sk_source_close(sm_sources[0]);
	mc_join_all();
	for (int i = 0; i < 2; i++)
		if (sm_answers[i] != -EBUSY)
			assert_closed(sm_answers[i]);
	mc_assert(sm_answers[0] != -EBUSY || sm_answers[1] != -EBUSY);
	sm_end();
}

/* ---- Close ---- */

static int why; /* plain: written before the close, and seen by whoever is told of it */

static void closer(void *unused)
{
	(void)unused;
	why = 1;
	sk_source_close(sm_sources[0]);
}

static void close_against_wait(uint32_t backend)
{
	sm_begin(backend);
	sm_open(0, 0);
	mc_start(closer, 0);
	sm_reader(0);
	assert_closed(sm_answers[0]);
	mc_assert(why == 1);
	mc_join_all();
	sm_end();
}

MC_SCENARIO(source, close_against_wait)
{
	close_against_wait(SKUA_IO_BACKEND_EPOLL);
}

MC_SCENARIO(source, uv_close_against_wait)
{
	close_against_wait(SKUA_IO_BACKEND_UV);
}

MC_SCENARIO_WITH(source, close_against_reader_and_writer, LESS)
{
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_open(0, 0);
	mc_start(sm_reader, 0);
	mc_start(sm_writer, 0);
	sk_source_close(sm_sources[0]);
	mc_join_all();
	assert_closed(sm_answers[0]);
	assert_closed(sm_answers[1]);
	sm_end();
}

/* The event and the close come at the same time. */
MC_SCENARIO(source, close_against_event)
{
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_start_driver();
	sm_open(0, EPOLLIN);
	mc_start(sm_reader, 0);
	sk_source_close(sm_sources[0]);
	mc_join_all();
	if (sm_answers[0] != 7)
		assert_closed(sm_answers[0]);
	sm_end();
}

/* A call that is not an operation, such as shutdown(2). */
static void caller(void *unused)
{
	(void)unused;
	sm_answers[0] = -EBADF;
	if (!sk_source_enter(sm_sources[0]))
		return;
	sm_answers[0] = sm_use(sm_sources[0], EPOLLOUT);
	sk_source_leave(sm_sources[0]);
}

/* The number of the descriptor is taken by somebody else at once. */
MC_SCENARIO(source, close_and_reuse_against_a_call)
{
	int fd;

	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_open(0, EPOLLOUT);
	mc_start(caller, 0);
	mc_start(sm_writer, 0);
	sk_source_close(sm_sources[0]);
	fd = fd_socket(0);
	mc_join_all();
	close(fd);
	sm_end();
}

/* ---- Memory is used again ---- */

static struct sk_sched *sched; /* does not run */

static skua_task *begin_to_poll(skua_cx *cx)
{
	skua_task *task = sk_task_new(sched, NULL, 0, false);

	sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	*cx = (skua_cx){.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};
	return task;
}

static void end_task(skua_task *task)
{
	sk_obligations_take_back(&task->obligations, task);
	sk_task_release(task);
}

/* In the middle of this read another task wants to read, too. */
static skua_poll read_with_a_rival(skua_cx *unused, struct sk_source *source, void *argument)
{
	skua_task *rival;
	skua_cx cx;

	(void)unused, (void)argument;
	rival = begin_to_poll(&cx);
	mc_assert(sm_operate(&cx, source, SK_READ) == -EBUSY);
	end_task(rival);
	return 7;
}

/* A task ends in the middle of its read, and another one gets its memory: it is not taken for it. */
MC_SCENARIO(source, a_task_in_the_memory_of_another)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};
	skua_task *task;
	skua_cx cx;

	mc_assert(sk_sched_new(&options, &sched) == 0);
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_open(0, 0);
	mc_reuse_memory(1);
	task = begin_to_poll(&cx);
	mc_assert(sm_operate(&cx, sm_sources[0], SK_READ) == SKUA_PENDING);
	end_task(task);
	sm_begin_to_poll(&cx);
	mc_assert(sk_source_operate(&cx, sm_sources[0], SK_READ, read_with_a_rival, NULL) == 7);
	sk_source_close(sm_sources[0]);
	sm_end();
	mc_assert(sk_sched_free(sched) == 0);
}

/* ---- Places are used again ---- */

static void late_event(void *argument)
{
	sm_dispatch(*(uint64_t *)argument, SKUA_READABLE | SKUA_WRITABLE);
}

/* An event of the old descriptor that comes when the place has another one finds nothing, or at worst
 * wakes for nothing: it does not hide the event of the new one, or take a reader with it. */
MC_SCENARIO_WITH(source, late_event_against_reuse, LESS)
{
	static uint64_t old;
	int late, thread;

	sm_begin(SKUA_IO_BACKEND_EPOLL);
	sm_start_driver();
	sm_open(0, 0);
	old = sm_sources[0]->index;
	late = mc_start(late_event, (uintptr_t)&old);
	sk_source_close(sm_sources[0]);
	sm_open(1, 0);
	mc_assert(sm_sources[1] == sm_sources[0]);
	mc_assert(sk_source_of_event(&sm_io->sources, old) == NULL);
	sm_sources[0] = NULL;
	thread = mc_start(sm_reader, 1);
	fd_raise(sm_sources[1]->fd, EPOLLIN);
	mc_join(thread);
	mc_join(late);
	mc_assert(sm_answers[0] == 7);
	sk_source_close(sm_sources[1]);
	sm_end();
}

/* Two threads make sources, and the table grows, while events come for one of them. */
static void maker(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	sm_open((unsigned)i, EPOLLIN);
	sk_source_close(sm_sources[i]);
}

MC_SCENARIO(source, two_threads_make_sources)
{
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	mc_start(maker, 0);
	mc_start(maker, 1);
	mc_join_all();
	sm_end();
}

/* Any index may come with an event, also without what a kernel passes on: the place is not there, or
 * there whole. */
static void looker(void *unused)
{
	struct sk_source *source = sk_source_of_event(&sm_io->sources, 0);

	(void)unused;
	if (source != NULL)
		mc_assert(sk_slot_fire(&source->slots[SK_READ]) == SK_NO_WAITER);
}

MC_SCENARIO(source, grow_against_event)
{
	sm_begin(SKUA_IO_BACKEND_EPOLL);
	mc_start(maker, 0);
	mc_start(looker, 0);
	mc_join_all();
	sm_end();
}
