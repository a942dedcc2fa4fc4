/*
 * test_priority_wake.c - tasks of all classes in a runtime with its driver: however a task is woken, it
 * is queued by its class; and what waits in the lanes of a worker that is stuck is taken over.
 */
#include <semaphore.h>

#include "net_support.h"
#include "runtime/runtime.h"
#include "sched/task.h"
#include "sched/worker.h"

enum { CLASSES = 3 };

/* In the order in which they are spawned here, and in that in which they have to run. */
static const unsigned spawned[] = {SKUA_PRIORITY_BACKGROUND, SKUA_PRIORITY_NORMAL,
				   SKUA_PRIORITY_INTERACTIVE};
static const unsigned expected[] = {SKUA_PRIORITY_INTERACTIVE, SKUA_PRIORITY_NORMAL,
				    SKUA_PRIORITY_BACKGROUND};

static skua_task *start_of(skua_runtime *rt, unsigned priority, operation *function, void *argument)
{
	skua_spawn_options options = {.struct_size = sizeof options, .priority = priority};
	struct call call = call_of(function, argument);
	skua_task *task = NULL;

	T_EQ(skua_spawn_with(rt, &call.future, &options, &task), 0);
	return task;
}

static struct sk_sched *sched_of(skua_runtime *rt)
{
	return rt->head.sched;
}

/* ---- A worker that is kept busy ---- */

struct hog {
	sem_t leave;
	atomic_int entered;
	struct cell *fills; /* CLASSES of them when it leaves, or NULL */
	skua_task *task;
};

static skua_poll hog(skua_cx *cx, void *argument)
{
	struct hog *self = argument;

	(void)cx;
	self->entered = 1;
	while (sem_wait(&self->leave) != 0)
		;
	for (int i = 0; i < CLASSES && self->fills != NULL; i++)
		cell_fill(&self->fills[i]);
	return 0;
}

static void hog_begin(struct hog *self, skua_runtime *rt, operation *function, struct cell *fills)
{
	T_EQ(sem_init(&self->leave, 0, 0), 0);
	self->entered = 0;
	self->fills = fills;
	self->task = start(rt, function, self);
	WAIT_UNTIL(self->entered);
}

static void hog_end(struct hog *self)
{
	sem_post(&self->leave);
	T_EQ(skua_task_wait(&self->task), 0);
	sem_destroy(&self->leave);
}

/* ---- Tasks that wait, one of each class ---- */

struct waiting {
	unsigned priority;
	operation *wait; /* for what */
	void *argument;
	atomic_int polled;
	skua_task *task;
};

static unsigned order[CLASSES];
static atomic_uint ran;

static skua_poll waiting(skua_cx *cx, void *argument)
{
	struct waiting *self = argument;
	skua_poll result = self->wait(cx, self->argument);

	self->polled = 1;
	if (result == SKUA_PENDING)
		return result;
	T_GE(result, 0);
	order[ran++] = self->priority;
	return result;
}

/* Spawns them with `arguments`, CLASSES of `size` bytes, and waits until all of them have been polled. */
static void waiting_begin(struct waiting *tasks, skua_runtime *rt, operation *wait, void *arguments,
			  size_t size)
{
	ran = 0;
	for (int i = 0; i < CLASSES; i++) {
		tasks[i] = (struct waiting){.priority = spawned[i],
					    .wait = wait,
					    .argument = (char *)arguments + (size_t)i * size};
		tasks[i].task = start_of(rt, spawned[i], waiting, &tasks[i]);
	}
	for (int i = 0; i < CLASSES; i++)
		WAIT_UNTIL(tasks[i].polled);
}

/* All have been woken, and the only worker has not come to them. */
static void await_wakes(const struct waiting *tasks)
{
	for (int i = 0; i < CLASSES; i++)
		WAIT_UNTIL(sk_load(&tasks[i].task->state, SK_ACQUIRE) & SK_TASK_SCHEDULED);
	T_EQ(ran, 0);
}

static void waiting_end(struct waiting *tasks)
{
	for (int i = 0; i < CLASSES; i++)
		T_GE(skua_task_wait(&tasks[i].task), 0);
	for (int i = 0; i < CLASSES; i++)
		T_EQ(order[i], expected[i]);
}

T_TEST(priority_wake, by_another_thread)
{
	struct cell cells[CLASSES] = {CELL_INIT, CELL_INIT, CELL_INIT};
	skua_runtime *rt = runtime_of(1);
	struct waiting tasks[CLASSES];
	struct hog state;

	waiting_begin(tasks, rt, cell_take, cells, sizeof *cells);
	hog_begin(&state, rt, hog, NULL);
	for (int i = 0; i < CLASSES; i++)
		cell_fill(&cells[i]);
	await_wakes(tasks);
	hog_end(&state);
	waiting_end(tasks);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(priority_wake, by_another_task)
{
	struct cell cells[CLASSES] = {CELL_INIT, CELL_INIT, CELL_INIT};
	skua_runtime *rt = runtime_of(1);
	struct waiting tasks[CLASSES];
	struct hog state;

	waiting_begin(tasks, rt, cell_take, cells, sizeof *cells);
	hog_begin(&state, rt, hog, cells);
	hog_end(&state);
	waiting_end(tasks);
	T_EQ(skua_runtime_free(rt), 0);
}

struct nap {
	skua_timer timer;
	uint64_t until;
};

static skua_poll nap(skua_cx *cx, void *argument)
{
	struct nap *self = argument;

	return skua_sleep_until(cx, &self->timer, self->until);
}

/* The worker has to be busy before the time is up: else once more, with more time. */
T_TEST(priority_wake, by_timers)
{
	skua_runtime *rt = runtime_of(1);
	struct waiting tasks[CLASSES];
	struct hog state;
	bool in_time;

	for (uint64_t ns = 20 * SKUA_MSEC;; ns *= 2) {
		uint64_t until = skua_now() + ns;
		struct nap naps[CLASSES];

		for (int i = 0; i < CLASSES; i++)
			naps[i] = (struct nap){.until = until};
		waiting_begin(tasks, rt, nap, naps, sizeof *naps);
		hog_begin(&state, rt, hog, NULL);
		in_time = skua_now() < until;
		if (in_time)
			await_wakes(tasks);
		hog_end(&state);
		if (in_time)
			break;
		for (int i = 0; i < CLASSES; i++)
			T_EQ(skua_task_wait(&tasks[i].task), 0);
	}
	waiting_end(tasks);
	T_EQ(skua_runtime_free(rt), 0);
}

T_ON_EACH_IO(priority_wake, by_readiness)
{
	struct net net = net_listen(1, kind), pairs[CLASSES];
	struct waiting tasks[CLASSES];
	struct io reads[CLASSES];
	char bytes[CLASSES];
	struct hog state;

	for (int i = 0; i < CLASSES; i++) {
		pairs[i] = net;
		net_connect(&pairs[i]);
		reads[i] = (struct io){.conn = pairs[i].server, .data = &bytes[i], .size = 1};
	}
	waiting_begin(tasks, net.rt, op_read, reads, sizeof *reads);
	hog_begin(&state, net.rt, hog, NULL);
	for (int i = 0; i < CLASSES; i++)
		T_EQ(write(fd_of(pairs[i].client), "x", 1), 1);
	await_wakes(tasks);
	hog_end(&state);
	waiting_end(tasks);
	for (int i = 1; i < CLASSES; i++) {
		skua_tcp_close(pairs[i].client);
		skua_tcp_close(pairs[i].server);
	}
	net_close(&pairs[0]);
}

/* ---- The lanes of a worker that is stuck ---- */

static atomic_int ended;

static skua_poll ends(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	ended++;
	return 0;
}

/* Leaves tasks in its lanes that do not seem to be worth a wake, as after many short polls, and gets
 * stuck. */
static skua_poll hog_with_lanes(skua_cx *cx, void *argument)
{
	struct sk_worker *worker = cx->worker;

	sk_store(&worker->mean_poll_ns, 1, SK_RELAXED);
	for (int i = 0; i < 2 * CLASSES; i++) {
		skua_task *task = start_of(skua_cx_runtime(cx), spawned[i % CLASSES], ends, NULL);

		skua_detach(&task);
	}
	return hog(cx, argument);
}

T_TEST(priority_wake, a_sleeper_is_woken_for_the_lanes_of_a_stuck_worker)
{
	skua_runtime *rt = runtime_of(2);
	struct hog state;

	WAIT_UNTIL(sk_idle_count(&sched_of(rt)->idle) == 2);
	hog_begin(&state, rt, hog_with_lanes, NULL);
	WAIT_UNTIL(ended == 2 * CLASSES);
	hog_end(&state);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Yields until what is behind the stuck worker has run. */
static skua_poll busy_until_ended(skua_cx *cx, void *argument)
{
	skua_poll result = 0;

	(void)argument;
	while (ended < 2 * CLASSES && result == 0)
		result = skua_yield(cx);
	return result;
}

T_TEST(priority_wake, a_busy_worker_takes_over_the_lanes_of_a_stuck_worker)
{
	for (int i = 0; i < CLASSES; i++) {
		skua_runtime *rt = runtime_of(2);
		struct hog state;
		skua_task *busy;

		ended = 0;
		busy = start_of(rt, spawned[i], busy_until_ended, NULL);
		hog_begin(&state, rt, hog_with_lanes, NULL);
		T_EQ(skua_task_wait(&busy), 0);
		hog_end(&state);
		T_EQ(skua_runtime_free(rt), 0);
	}
}
