/*
 * test_spare.c - spare workers, which carry the rest while workers are stuck, and skua_block_in_place.
 *
 * As in test_stuck.c, who is stuck sleeps until what is tested has happened; if it does not happen, the
 * test's timeout says so.
 */
#include <semaphore.h>

#include "echo_support.h"
#include "runtime/runtime.h"
#include "sched/worker.h"

static struct sk_sched *sched_of(skua_runtime *rt)
{
	return rt->head.sched;
}

static skua_runtime *runtime_with_spares(uint32_t workers, uint32_t spares, uint32_t kind)
{
	skua_config config;

	quiet_config(&config, workers, kind);
	config.spare_workers = spares;
	return runtime_with(&config);
}

static uint64_t spares_of(skua_runtime *rt)
{
	skua_stats stats;

	skua_runtime_stats(rt, &stats);
	return stats.spare_workers;
}

static unsigned index_of(const skua_cx *cx)
{
	return ((const struct sk_worker *)cx->worker)->index;
}

/* ---- Tasks that keep their worker ---- */

enum { MANY = 8 };

struct hog {
	sem_t leave;
	atomic_int in;
	skua_task *task;
};

static int64_t wait_to_leave(void *argument)
{
	struct hog *self = argument;

	self->in = 1;
	while (sem_wait(&self->leave) != 0)
		;
	return 5;
}

/* Stuck, and nobody has been told. */
static skua_poll hog(skua_cx *cx, void *argument)
{
	(void)cx;
	return wait_to_leave(argument);
}

/* It says so. */
static skua_poll blocker(skua_cx *cx, void *argument)
{
	return skua_block_in_place(cx, wait_to_leave, argument);
}

static void hogs_begin(skua_runtime *rt, operation *how, struct hog *hogs, int count)
{
	for (int i = 0; i < count; i++) {
		T_EQ(sem_init(&hogs[i].leave, 0, 0), 0);
		hogs[i].in = 0;
		hogs[i].task = start(rt, how, &hogs[i]);
	}
	for (int i = 0; i < count; i++)
		WAIT_UNTIL(hogs[i].in == 1);
}

static void hogs_end(struct hog *hogs, int count)
{
	for (int i = 0; i < count; i++)
		sem_post(&hogs[i].leave);
	for (int i = 0; i < count; i++) {
		T_EQ(skua_task_wait(&hogs[i].task), 5);
		sem_destroy(&hogs[i].leave);
	}
}

static skua_poll seven(skua_cx *cx, void *argument)
{
	if (argument != NULL)
		*(atomic_uint *)argument = index_of(cx);
	return 7;
}

static int64_t run_one(skua_runtime *rt, atomic_uint *worker)
{
	skua_task *task = start(rt, seven, worker);

	return skua_task_wait(&task);
}

static skua_poll nap(skua_cx *cx, void *argument)
{
	return skua_sleep(cx, argument, 5 * SKUA_MSEC);
}

/* ---- All others go on ---- */

/* Tasks are run, timers fire and events are served although `stuck` of `workers` are. */
static void others_go_on(operation *how, uint32_t workers, int stuck, uint32_t kind)
{
	struct net net = {.rt = runtime_with_spares(workers, 4, kind)};
	skua_timer timer = {0};
	struct hog hogs[MANY];
	char byte = 'x';

	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	hogs_begin(net.rt, how, hogs, stuck);
	for (int i = 0; i < 3; i++) {
		net_connect(&net);
		T_EQ(write_all(net.rt, net.client, &byte, 1), 1);
		T_EQ(read_some(net.rt, net.server, &byte, 1), 1);
		T_EQ(run(net.rt, nap, &timer), 0);
		T_EQ(run_one(net.rt, NULL), 7);
		skua_tcp_close(net.client);
		skua_tcp_close(net.server);
	}
	T_GE(spares_of(net.rt), stuck == (int)workers);
	hogs_end(hogs, stuck);
	net.client = net.server = NULL;
	net_close(&net);
}

T_ON_EACH_IO(spare, others_go_on_while_one_of_one_is_stuck)
{
	others_go_on(hog, 1, 1, kind);
	others_go_on(blocker, 1, 1, kind);
}

T_ON_EACH_IO(spare, others_go_on_while_one_of_two_is_stuck)
{
	others_go_on(hog, 2, 1, kind);
	others_go_on(blocker, 2, 1, kind);
}

T_ON_EACH_IO(spare, others_go_on_while_two_of_two_are_stuck)
{
	others_go_on(hog, 2, 2, kind);
	others_go_on(blocker, 2, 2, kind);
}

/* What is in the queues of the stuck one itself: its LIFO slot, its queue, its timers. */
struct parent {
	struct hog hog;
	atomic_int done;
	operation *how;
};

static skua_poll child(skua_cx *cx, void *argument)
{
	(void)cx;
	return atomic_fetch_add((atomic_int *)argument, 1);
}

static skua_poll parent(skua_cx *cx, void *argument)
{
	struct parent *self = argument;
	struct call call = call_of(child, &self->done);

	for (int i = 0; i < MANY; i++)
		T_EQ(skua_spawn(skua_cx_runtime(cx), &call.future, NULL), 0);
	return self->how(cx, &self->hog);
}

static void children_run(operation *how)
{
	skua_runtime *rt = runtime_with_spares(1, 1, IO_AUTO);
	struct parent state = {.how = how};
	skua_task *task;

	T_EQ(sem_init(&state.hog.leave, 0, 0), 0);
	task = start(rt, parent, &state);
	WAIT_UNTIL(state.done == MANY);
	sem_post(&state.hog.leave);
	T_EQ(skua_task_wait(&task), 5);
	sem_destroy(&state.hog.leave);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spare, what_the_stuck_task_has_spawned_is_run)
{
	children_run(hog);
	children_run(blocker);
}

/* Who says that it blocks is stood in for at the next look, or the one after that: not only after 10 ms. */
T_TEST(spare, comes_soon_for_one_that_blocks_in_place)
{
	const uint64_t bound = 3 * SK_MONITOR_MS * SKUA_MSEC * PATIENCE;
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 30 && least > bound; i++) {
		skua_runtime *rt = runtime_with_spares(1, 1, IO_AUTO);
		struct hog state;
		uint64_t begin, took;

		hogs_begin(rt, blocker, &state, 1);
		begin = skua_now();
		T_EQ(run_one(rt, NULL), 7);
		took = skua_now() - begin;
		least = took < least ? took : least;
		hogs_end(&state, 1);
		T_EQ(skua_runtime_free(rt), 0);
	}
	T_LE(least, bound);
}

/* A task that sleeps on a timer of the worker that gets stuck meanwhile. */
T_ON_EACH_IO(spare, timers_of_the_stuck_worker_fire)
{
	skua_runtime *rt = runtime_with_spares(1, 1, kind);
	skua_timer timer = {0};
	struct hog state;
	skua_task *napping = start(rt, nap, &timer);

	WAIT_UNTIL(sk_load(&sched_of(rt)->workers[0]->tick, SK_RELAXED) > 0);
	hogs_begin(rt, blocker, &state, 1);
	T_EQ(skua_task_wait(&napping), 0);
	hogs_end(&state, 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Without spare workers ---- */

T_TEST(spare, none_if_none_is_wanted)
{
	skua_runtime *rt = runtime_with_spares(1, 0, IO_AUTO);
	struct hog state;
	skua_task *task;

	for (int i = 0; i < 2; i++) {
		hogs_begin(rt, i == 0 ? hog : blocker, &state, 1);
		task = start(rt, seven, NULL);
		sleep_ms(20 * SK_MONITOR_MS);
		T_EQ(skua_task_finished(task), 0);
		T_EQ(spares_of(rt), 0);
		hogs_end(&state, 1);
		T_EQ(skua_task_wait(&task), 7);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(spare, no_more_than_are_wanted)
{
	skua_runtime *rt = runtime_with_spares(1, 2, IO_AUTO);
	struct hog hogs[3];
	skua_task *task;

	hogs_begin(rt, hog, hogs, 3);
	T_EQ(spares_of(rt), 2);
	task = start(rt, seven, NULL);
	sleep_ms(20 * SK_MONITOR_MS);
	T_EQ(skua_task_finished(task), 0);
	/* Any of them runs it when it comes free. */
	sem_post(&hogs[1].leave);
	T_EQ(skua_task_wait(&task), 7);
	sem_post(&hogs[1].leave);
	hogs_end(hogs, 3);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Workers and spare ones together are bounded, too. */
T_TEST(spare, no_more_than_there_can_be)
{
	skua_runtime *rt = runtime_with_spares(500, 100, IO_AUTO);

	T_EQ(sched_of(rt)->idle.slots, SK_MAX_WORKERS);
	T_EQ(run_one(rt, NULL), 7);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- When the workers come free ---- */

static void all_sleep(skua_runtime *rt)
{
	struct sk_sched *sched = sched_of(rt);

	WAIT_UNTIL(sk_idle_count(&sched->idle) == sk_sched_width(sched));
}

T_ON_EACH_IO(spare, rests_when_it_is_no_longer_needed)
{
	skua_runtime *rt = runtime_with_spares(1, 4, kind);
	struct hog state;
	atomic_uint worker = 0;
	int own;

	for (int i = 0; i < 5; i++) {
		hogs_begin(rt, i % 2 == 0 ? hog : blocker, &state, 1);
		T_EQ(run_one(rt, &worker), 7);
		T_EQ(worker, 1);
		hogs_end(&state, 1);
		WAIT_UNTIL(sk_load(&sched_of(rt)->idle.active, SK_RELAXED) == 1);
		all_sleep(rt);
		/* A worker that the system does not let run for long seems to be stuck as well. */
		for (int j = own = 0; j < 20; j++) {
			T_EQ(run_one(rt, &worker), 7);
			own += worker == 0;
		}
		T_GE(own, 15);
		/* The same one again. */
		T_EQ(spares_of(rt), 1);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

struct yielder {
	skua_coro co;
	atomic_uint *worker;
	atomic_int *stop;
	int64_t rc;
};

static skua_poll yielder(skua_cx *cx, struct yielder *self)
{
	SKUA_BEGIN(self);
	while (*self->stop == 0) {
		*self->worker = index_of(cx);
		SKUA_AWAIT(self->rc = skua_yield(cx));
	}
	SKUA_END(0);
}
SKUA_CORO(yielder, struct yielder);

/* It is never out of work, and leaves that to the worker that has come free: all of it, and not only what
 * that one steals. */
T_TEST(spare, rests_though_it_has_enough_to_do)
{
	skua_runtime *rt = runtime_with_spares(1, 4, IO_AUTO);
	atomic_uint worker = 0;
	atomic_int stop = 0;
	struct yielder busy = {.co = SKUA_CORO_INIT(yielder), .worker = &worker, .stop = &stop};
	struct hog state;
	skua_task *tasks[4];

	hogs_begin(rt, hog, &state, 1);
	for (int i = 0; i < 4; i++)
		tasks[i] = start_future(rt, &busy.co);
	WAIT_UNTIL(worker == 1);
	hogs_end(&state, 1);
	WAIT_UNTIL(worker == 0);
	WAIT_UNTIL(sk_idle_is_asleep(&sched_of(rt)->idle, 1));
	T_EQ(worker, 0);
	stop = 1;
	for (int i = 0; i < 4; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

struct sleeper {
	skua_coro co;
	skua_timer timer;
	atomic_uint *worker;
	atomic_int *stop;
	int64_t rc;
};

static skua_poll sleeper(skua_cx *cx, struct sleeper *self)
{
	SKUA_BEGIN(self);
	while (*self->stop == 0) {
		*self->worker = index_of(cx);
		SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, 2 * SKUA_MSEC));
	}
	SKUA_END(0);
}
SKUA_CORO(sleeper, struct sleeper);

/* Its timer wakes it, but it leaves the task to the worker that has come free. */
T_ON_EACH_IO(spare, rests_though_it_has_timers)
{
	skua_runtime *rt = runtime_with_spares(1, 4, kind);
	atomic_uint worker = 0;
	atomic_int stop = 0;
	struct sleeper busy = {.co = SKUA_CORO_INIT(sleeper), .worker = &worker, .stop = &stop};
	struct hog state;
	skua_task *task;

	hogs_begin(rt, hog, &state, 1);
	task = start_future(rt, &busy.co);
	WAIT_UNTIL(worker == 1);
	hogs_end(&state, 1);
	WAIT_UNTIL(worker == 0);
	stop = 1;
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Blocking in place ---- */

static int64_t deadlock(void *argument)
{
	struct call call = call_of(seven, NULL);

	return skua_block_on(argument, &call.future);
}

struct nesting {
	skua_cx *cx;
	int depth;
};

static int64_t nested(void *argument)
{
	struct nesting *self = argument;
	struct sk_worker *worker = self->cx->worker;
	int64_t result;

	if (self->depth == 0)
		return deadlock(skua_cx_runtime(self->cx));
	self->depth--;
	result = skua_block_in_place(self->cx, nested, self);
	/* The outer one goes on. */
	T_EQ(sk_load(&worker->blocks, SK_RELAXED), 1);
	return result;
}

static skua_poll nests(skua_cx *cx, void *argument)
{
	struct sk_worker *worker = cx->worker;
	struct nesting nesting = {cx, 3};

	(void)argument;
	T_EQ(skua_block_in_place(cx, nested, &nesting), -EDEADLK);
	/* It is a worker like all others again. */
	T_EQ(sk_load(&worker->blocks, SK_RELAXED), 0);
	T_EQ(skua_block_in_place(cx, NULL, NULL), -EINVAL);
	return skua_yield(cx);
}

T_TEST(spare, blocking_in_place_may_be_nested)
{
	skua_runtime *rt = runtime_with_spares(1, 1, IO_AUTO);

	T_EQ(run(rt, nests, NULL), 0);
	T_EQ(run_one(rt, NULL), 7);
	T_EQ(skua_runtime_free(rt), 0);
}

static void *no_clone(void *data)
{
	return data;
}

static void no_wake(void *data)
{
	(void)data;
}

static int64_t same_thread(void *argument)
{
	return pthread_equal(*(pthread_t *)argument, pthread_self()) != 0;
}

/* Under a foreign executor the function is called, and that is all. */
T_TEST(spare, blocking_in_place_of_a_foreign_executor)
{
	static const skua_waker_ops ops = {no_clone, no_wake, no_wake, no_wake};
	skua_runtime *rt = runtime_with_spares(1, 1, IO_AUTO);
	pthread_t thread = pthread_self();
	skua_waker waker = {&ops, NULL};
	skua_cx cx;

	skua_cx_init(&cx, rt, &waker);
	T_EQ(skua_block_in_place(&cx, same_thread, &thread), 1);
	T_EQ(spares_of(rt), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_ON_EACH_IO(spare, many_block_in_place_at_once)
{
	skua_runtime *rt = runtime_with_spares(2, MANY, kind);
	struct hog hogs[MANY];

	for (int i = 0; i < 3; i++) {
		hogs_begin(rt, blocker, hogs, MANY);
		T_EQ(run_one(rt, NULL), 7);
		hogs_end(hogs, MANY);
	}
	T_LE(spares_of(rt), MANY);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll blocks_and_asks(skua_cx *cx, void *argument)
{
	T_EQ(skua_cx_interrupt(cx), 0);
	T_EQ(skua_block_in_place(cx, wait_to_leave, argument), 5);
	return skua_cx_interrupt(cx);
}

T_TEST(spare, cancelled_while_it_blocks_in_place)
{
	skua_runtime *rt = runtime_with_spares(1, 1, IO_AUTO);
	struct hog state;

	hogs_begin(rt, blocks_and_asks, &state, 1);
	T_EQ(skua_cancel(state.task), 0);
	T_EQ(run_one(rt, NULL), 7);
	T_EQ(skua_task_finished(state.task), 0);
	sem_post(&state.leave);
	T_EQ(skua_task_wait(&state.task), -ECANCELED);
	sem_destroy(&state.leave);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- The end ---- */

static void *leave_later(void *argument)
{
	sleep_ms(20 * SK_MONITOR_MS);
	sem_post(&((struct hog *)argument)->leave);
	return NULL;
}

/* The runtime is freed while a worker is stuck and others wait behind it: they are run by the spare one. */
static void freed_while_stuck(operation *how, uint32_t spares)
{
	skua_runtime *rt = runtime_with_spares(1, spares, IO_AUTO);
	skua_task *tasks[MANY];
	pthread_t thread;
	struct hog state;

	hogs_begin(rt, how, &state, 1);
	for (int i = 0; i < MANY; i++)
		tasks[i] = start(rt, parked, NULL);
	T_EQ(pthread_create(&thread, NULL, leave_later, &state), 0);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	for (int i = 0; i < MANY; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	T_EQ(skua_task_wait(&state.task), 5);
	sem_destroy(&state.leave);
}

T_TEST(spare, freed_while_a_worker_is_stuck)
{
	freed_while_stuck(hog, 0);
	freed_while_stuck(hog, 1);
	freed_while_stuck(blocker, 1);
}
