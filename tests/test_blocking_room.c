/*
 * test_blocking_room.c - waiting for room in the queue of the blocking pool: who gets it, and what
 * becomes of the place of one who is cancelled, ends or forgets about it.
 */
#include <stdbool.h>

#include "memory_support.h"

static skua_runtime *rt;

/* One job runs and `queue` wait, of each kind but the general one. */
static void begin(uint32_t workers, uint32_t queue)
{
	skua_config config;

	quiet_config(&config, workers, SKUA_IO_BACKEND_AUTO);
	config.max_blocking = 8;
	config.blocking_files = config.blocking_names = 1;
	config.blocking_queue = queue;
	config.shutdown_ms = 10000 * PATIENCE;
	rt = runtime_with(&config);
}

/* ---- Jobs: each ends when the gate has been opened for it ---- */

static atomic_int opened, passed, order[64];

static int64_t pass(void *argument)
{
	int place = passed;

	WAIT_UNTIL(opened > place);
	atomic_store(&order[place], *(int *)argument);
	atomic_store(&passed, place + 1);
	return 0;
}

static void let_pass(int count)
{
	atomic_fetch_add(&opened, count);
}

static const skua_blocking_options names = {sizeof names, SKUA_BLOCKING_NAMES, "lookup"};

static void fill(int count)
{
	for (int i = 0; i < count; i++)
		T_EQ(skua_spawn_blocking_with(rt, pass, &i, sizeof i, &names, NULL), 0);
	T_EQ(skua_spawn_blocking_with(rt, pass, &count, sizeof count, &names, NULL), -EAGAIN);
}

/* ---- Who submits ---- */

struct submitter {
	skua_coro co;
	skua_blocking_wait wait;
	skua_timer timer;
	skua_task *job;
	atomic_int *began;
	uint64_t patience; /* 0: any */
	int64_t rc;
	int number;
};

static skua_poll submitter(skua_cx *cx, struct submitter *self)
{
	SKUA_BEGIN(self);
	atomic_fetch_add(self->began, 1);
	if (self->patience > 0)
		SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, self->patience,
						   skua_spawn_blocking_when_room(
							   cx, &self->wait, pass, &self->number,
							   sizeof(int), &names, &self->job)));
	else
		SKUA_AWAIT(self->rc = skua_spawn_blocking_when_room(cx, &self->wait, pass,
								    &self->number, sizeof(int),
								    &names, &self->job));
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	SKUA_AWAIT(self->rc = skua_join(cx, &self->job));
	SKUA_END(self->rc);
}
SKUA_CORO(submitter, struct submitter);

static atomic_int began;

static struct submitter submitter_of(int number)
{
	return (struct submitter){
		.co = SKUA_CORO_INIT(submitter), .began = &began, .number = number};
}

static skua_blocking_stats name_stats(void)
{
	skua_stats stats;

	skua_runtime_stats(rt, &stats);
	return stats.blocking[SKUA_BLOCKING_NAMES];
}

static uint64_t waiting(void)
{
	return name_stats().waiting;
}

static uint64_t queued(void)
{
	return name_stats().queued;
}

/* One that has been seen to wait. */
static skua_task *start_waiting(int number)
{
	struct submitter future = submitter_of(number);
	uint64_t before = waiting();
	skua_task *task = start_future(rt, &future.co);

	WAIT_UNTIL(waiting() == before + 1);
	return task;
}

T_TEST(blocking_room, with_room_nobody_waits)
{
	struct submitter future = submitter_of(7);

	begin(1, 3);
	let_pass(1);
	T_EQ(skua_block_on(rt, &future.co), 0);
	T_EQ(order[0], 7);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_room, first_come_first_served)
{
	enum { WAITERS = 10 };
	skua_task *tasks[WAITERS];

	begin(2, 2);
	fill(3);
	for (int i = 0; i < WAITERS; i++)
		tasks[i] = start_waiting(100 + i);
	/* One by one: several that are served at the same moment submit in any order. */
	for (int i = 0; i < WAITERS; i++) {
		let_pass(1);
		WAIT_UNTIL(waiting() == (uint64_t)(WAITERS - 1 - i) && queued() == 2);
	}
	let_pass(3);
	for (int i = 0; i < WAITERS; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	for (int i = 0; i < WAITERS; i++)
		T_EQ(order[3 + i], 100 + i);
	T_EQ(waiting(), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_room, one_kind_does_not_wait_for_another)
{
	const skua_blocking_options files = {sizeof files, SKUA_BLOCKING_FILES, NULL};
	skua_task *task, *job;
	int number = 1;

	begin(1, 1);
	fill(2);
	task = start_waiting(5);
	let_pass(1);
	WAIT_UNTIL(passed == 1);
	let_pass(1);
	T_EQ(skua_spawn_blocking_with(rt, pass, &number, sizeof number, &files, &job), 0);
	let_pass(2);
	T_EQ(skua_task_wait(&job), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_room, a_job_cancelled_in_the_queue_makes_room)
{
	skua_task *first, *queued, *task;
	int number = 1;

	begin(1, 1);
	T_EQ(skua_spawn_blocking_with(rt, pass, &number, sizeof number, &names, &first), 0);
	T_EQ(skua_spawn_blocking_with(rt, pass, &number, sizeof number, &names, &queued), 0);
	task = start_waiting(2);
	/* Which of the two runs is for the pool to say; it was the first. */
	T_EQ(skua_cancel(queued), 0);
	T_EQ(skua_task_wait(&queued), -ECANCELED);
	WAIT_UNTIL(waiting() == 0);
	let_pass(2);
	T_EQ(skua_task_wait(&first), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(order[1], 2);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Cancelling ---- */

T_TEST(blocking_room, a_cancelled_waiter_leaves_the_list)
{
	skua_task *tasks[4];

	begin(1, 1);
	fill(2);
	for (int i = 0; i < 4; i++)
		tasks[i] = start_waiting(10 + i);
	/* The first, one in the middle, the last. */
	for (int i = 0; i < 4; i++) {
		if (i == 2)
			continue;
		T_EQ(skua_cancel(tasks[i]), 0);
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	}
	T_EQ(waiting(), 1);
	let_pass(3);
	T_EQ(skua_task_wait(&tasks[2]), 0);
	T_EQ(order[2], 12);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_room, a_deadline_ends_the_wait)
{
	struct submitter future = submitter_of(1);

	begin(1, 1);
	fill(2);
	future.patience = 20 * SKUA_MSEC;
	T_EQ(skua_block_on(rt, &future.co), -ETIMEDOUT);
	T_EQ(waiting(), 0);
	let_pass(2);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- A foreign executor, whose polls are the test's own ---- */

static void *same_data(void *data)
{
	return data;
}

static void count_wake(void *data)
{
	atomic_fetch_add((atomic_int *)data, 1);
}

static void no_drop(void *data)
{
	(void)data;
}

static const skua_waker_ops counting_ops = {same_data, count_wake, count_wake, no_drop};

struct foreign {
	atomic_int wakes;
	skua_cx cx;
	skua_blocking_wait wait;
	int number;
};

static void foreign_init(struct foreign *foreign, int number)
{
	skua_waker waker = {&counting_ops, &foreign->wakes};

	memset(foreign, 0, sizeof *foreign);
	foreign->number = number;
	skua_cx_init(&foreign->cx, rt, &waker);
}

static skua_poll foreign_poll(struct foreign *foreign)
{
	return skua_spawn_blocking_when_room(&foreign->cx, &foreign->wait, pass, &foreign->number,
					     sizeof(int), &names, NULL);
}

T_TEST(blocking_room, a_foreign_executor_may_wait)
{
	struct foreign foreign;

	begin(1, 1);
	fill(2);
	foreign_init(&foreign, 77);
	for (int i = 0; i < 3; i++)
		T_EQ(foreign_poll(&foreign), SKUA_PENDING);
	T_EQ(waiting(), 1);
	T_EQ(foreign.wakes, 0);
	let_pass(1);
	WAIT_UNTIL(foreign.wakes == 1);
	/* The place is kept until it is taken: nobody else gets it. */
	T_EQ(skua_spawn_blocking_with(rt, pass, &(int){1}, sizeof(int), &names, NULL), -EAGAIN);
	T_EQ(foreign_poll(&foreign), 0);
	T_EQ(foreign.wakes, 1);
	let_pass(2);
	WAIT_UNTIL(passed == 3);
	T_EQ(order[2], 77);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_room, a_place_that_is_not_used_goes_to_the_next)
{
	struct foreign first, second, third;

	begin(1, 1);
	fill(2);
	foreign_init(&first, 1);
	foreign_init(&second, 2);
	foreign_init(&third, 3);
	T_EQ(foreign_poll(&first), SKUA_PENDING);
	T_EQ(foreign_poll(&second), SKUA_PENDING);
	T_EQ(foreign_poll(&third), SKUA_PENDING);
	let_pass(1);
	WAIT_UNTIL(first.wakes == 1);
	T_EQ(second.wakes, 0);
	skua_blocking_wait_cancel(&first.wait);
	T_EQ(second.wakes, 1);
	skua_blocking_wait_cancel(&first.wait);
	T_EQ(third.wakes, 0);
	T_EQ(foreign_poll(&second), 0);
	skua_blocking_wait_cancel(&second.wait);
	/* One that still waits can be ended as well; then there is a place for anybody. */
	skua_blocking_wait_cancel(&third.wait);
	T_EQ(third.wakes, 0);
	let_pass(2);
	WAIT_UNTIL(passed == 3);
	T_EQ(order[2], 2);
	T_EQ(foreign_poll(&first), 0);
	let_pass(1);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_room, without_memory_the_place_goes_to_the_next)
{
	struct foreign first, second;

	memory_begin();
	begin(1, 1);
	fill(2);
	foreign_init(&first, 1);
	foreign_init(&second, 2);
	T_EQ(foreign_poll(&first), SKUA_PENDING);
	T_EQ(foreign_poll(&second), SKUA_PENDING);
	let_pass(1);
	WAIT_UNTIL(first.wakes == 1);
	T_EQ(skua_spawn_blocking_when_room(&first.cx, &first.wait, pass, "", SIZE_MAX / 2, &names,
					   NULL),
	     -ENOMEM);
	T_EQ(second.wakes, 1);
	T_EQ(foreign_poll(&second), 0);
	let_pass(2);
	WAIT_UNTIL(passed == 3);
	T_EQ(order[2], 2);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

T_TEST(blocking_room, bad_arguments)
{
	const skua_blocking_options files = {sizeof files, SKUA_BLOCKING_FILES, NULL};
	const skua_blocking_options wrong = {sizeof wrong, SKUA_BLOCKING_KINDS, NULL};
	struct foreign foreign, second;
	skua_cx *cx = &foreign.cx;
	skua_blocking_wait *wait = &foreign.wait;

	begin(1, 1);
	fill(2);
	foreign_init(&foreign, 1);
	foreign_init(&second, 2);
	T_EQ(skua_spawn_blocking_when_room(cx, NULL, pass, "", 1, &names, NULL), -EINVAL);
	T_EQ(skua_spawn_blocking_when_room(cx, wait, NULL, "", 1, &names, NULL), -EINVAL);
	T_EQ(skua_spawn_blocking_when_room(cx, wait, pass, NULL, 1, &names, NULL), -EINVAL);
	T_EQ(skua_spawn_blocking_when_room(cx, wait, pass, "", 1, &wrong, NULL), -EINVAL);
	/* Another kind than that which is waited for ends the wait, and the next has its turn. */
	T_EQ(foreign_poll(&foreign), SKUA_PENDING);
	T_EQ(foreign_poll(&second), SKUA_PENDING);
	let_pass(1);
	WAIT_UNTIL(foreign.wakes == 1);
	T_EQ(skua_spawn_blocking_when_room(cx, wait, pass, "", 1, &files, NULL), -EINVAL);
	T_EQ(second.wakes, 1);
	T_EQ(foreign_poll(&second), 0);
	let_pass(2);
	foreign.cx.runtime = NULL;
	T_EQ(foreign_poll(&foreign), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Waits that nobody awaits to the end ---- */

/* Polls once, and ends; the wait is in the task's memory. */
struct forgetful {
	skua_future future;
	skua_blocking_wait wait;
	struct cell *go;
	int number;
	bool began;
};

static atomic_int forgetful_began;

static skua_poll forgetful_poll(skua_cx *cx, skua_future *future)
{
	struct forgetful *self = (struct forgetful *)(void *)future;

	if (!self->began) {
		self->began = true;
		T_EQ(skua_spawn_blocking_when_room(cx, &self->wait, pass, &self->number,
						   sizeof(int), &names, NULL),
		     SKUA_PENDING);
		atomic_fetch_add(&forgetful_began, 1);
	}
	return cell_take(cx, self->go) == SKUA_PENDING ? SKUA_PENDING : 9;
}

static const skua_future_ops forgetful_ops = {
	.poll = forgetful_poll, .size = sizeof(struct forgetful), .name = "forgetful"};

static void task_that_forgets(bool after_the_place_came)
{
	struct cell go = CELL_INIT;
	struct forgetful future = {{&forgetful_ops, 0, 0}, {{0}}, &go, 1, false};
	skua_task *forgetting, *next;

	begin(1, 1);
	fill(2);
	forgetting = start_future(rt, &future.future);
	WAIT_UNTIL(forgetful_began == 1);
	next = start_waiting(2);
	if (after_the_place_came) {
		let_pass(1);
		WAIT_UNTIL(waiting() == 1);
	}
	cell_fill(&go);
	T_EQ(skua_task_wait(&forgetting), 9);
	T_EQ(waiting(), after_the_place_came ? 0 : 1);
	let_pass(3);
	T_EQ(skua_task_wait(&next), 0);
	T_EQ(order[2], 2);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(blocking_room, a_task_that_ends_leaves_the_list)
{
	task_that_forgets(false);
}

T_TEST(blocking_room, a_task_that_ends_hands_its_place_on)
{
	task_that_forgets(true);
}

/* ---- The end ---- */

static int64_t frees(void *unused)
{
	(void)unused;
	return skua_runtime_free(rt);
}

static void *thread_main(void *unused)
{
	T_EQ(frees(unused), 0);
	return NULL;
}

T_TEST(blocking_room, waits_end_with_the_runtime)
{
	struct foreign foreign;
	skua_task *task;
	pthread_t thread;

	begin(1, 1);
	fill(2);
	foreign_init(&foreign, 1);
	T_EQ(foreign_poll(&foreign), SKUA_PENDING);
	task = start_waiting(2);
	T_EQ(pthread_create(&thread, NULL, thread_main, NULL), 0);
	/* The job that runs keeps the runtime, whoever waits is told. */
	WAIT_UNTIL(foreign.wakes == 1);
	T_EQ(foreign_poll(&foreign), -ESHUTDOWN);
	T_EQ(foreign_poll(&foreign), -ESHUTDOWN);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	let_pass(1);
	T_EQ(pthread_join(thread, NULL), 0);
}

/* ---- Many ---- */

static int64_t counts(void *argument)
{
	return atomic_fetch_add(*(atomic_int **)argument, 1) >= 0;
}

static atomic_int ran;

struct busy {
	skua_coro co;
	skua_blocking_wait wait;
	skua_timer timer;
	atomic_int *counter;
	skua_blocking_options options;
	int left, accepted;
	int64_t rc;
};

/* Submits again and again, and has no patience every third time. */
static skua_poll busy(skua_cx *cx, struct busy *self)
{
	SKUA_BEGIN(self);
	self->counter = &ran;
	for (; self->left > 0; self->left--) {
		SKUA_AWAIT(self->rc = skua_timeout(
				   cx, &self->timer,
				   self->left % 3 == 0 ? 20 * SKUA_USEC : 3600 * SKUA_SEC,
				   skua_spawn_blocking_when_room(
					   cx, &self->wait, counts, &self->counter,
					   sizeof self->counter, &self->options, NULL)));
		if (self->rc == 0)
			self->accepted++;
		else
			T_EQ(self->rc, -ETIMEDOUT);
	}
	SKUA_END(self->accepted);
}
SKUA_CORO(busy, struct busy);

T_TEST(blocking_room, stress_nobody_is_lost)
{
	enum { TASKS = 24 };
	skua_task *tasks[TASKS];
	int64_t accepted = 0;
	int left = rounds(2000);

	begin(2, 1);
	for (int i = 0; i < TASKS; i++) {
		struct busy future = {.co = SKUA_CORO_INIT(busy), .left = left};

		future.options = (skua_blocking_options){sizeof future.options,
							 (uint32_t)i % SKUA_BLOCKING_KINDS, NULL};
		tasks[i] = start_future(rt, &future.co);
	}
	for (int i = 0; i < TASKS; i++) {
		int64_t own = skua_task_wait(&tasks[i]);

		T_GE(own, left - left / 3 - 1);
		accepted += own;
	}
	T_EQ(skua_runtime_free(rt), 0);
	T_LE(ran, accepted);
	T_GE(ran, accepted - 30);
}
