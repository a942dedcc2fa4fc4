/*
 * test_stuck.c - workers that are stuck in long polls: what gets ready meanwhile runs as soon as one of
 * them comes free, a free one is not kept from it, and what the driver does itself is done at once.
 *
 * Who is stuck sleeps instead of computing, so that a busy machine does not matter, and stays so until
 * what is tested has happened: if it does not happen, the test's timeout says so. How soon it happens is
 * measured, on a machine that may be busy with others: it is tried TRIES times, and one of these has
 * to be in time.
 */
#include <poll.h>
#include <semaphore.h>

#include "net_support.h"
#include "runtime/runtime.h"
#include "sched/worker.h"

enum { WORKERS = 3, TRIES = 30 };

/* What is promised (docs/design.md): a look of the driver every 2 ms. */
#define LOOK (SK_MONITOR_MS * SKUA_MSEC)

/* The best of several measurements. */
struct best {
	const char *what;
	uint64_t bound, least;
	int tries;
};

static struct best best_of(const char *what, uint64_t bound)
{
	return (struct best){.what = what, .bound = bound * PATIENCE, .least = UINT64_MAX};
}

/* Whether another try is needed. Fails after the last. */
static int is_too_late(struct best *best)
{
	if (best->tries > 0 && best->least <= best->bound)
		return 0;
	T_ASSERT_MSG(best->tries < TRIES, "%s: %g ms at best, not %g", best->what,
		     (double)best->least / 1e6, (double)best->bound / 1e6);
	return 1;
}

static void note(struct best *best, uint64_t from, uint64_t to)
{
	uint64_t took = to > from ? to - from : 0;

	best->tries++;
	if (took < best->least)
		best->least = took;
	T_LOG("%s: %g ms", best->what, (double)took / 1e6);
}

/* ---- Workers that are stuck ---- */

struct hog {
	sem_t leave;
	_Atomic(struct sk_worker *) worker; /* which is stuck; NULL before */
	_Atomic(uint64_t) left;             /* when it came free */
	skua_task *task;
};

static skua_poll hog(skua_cx *cx, void *argument)
{
	struct hog *self = argument;

	self->worker = cx->worker;
	while (sem_wait(&self->leave) != 0)
		;
	self->left = skua_now();
	return 0;
}

static struct sk_sched *sched_of(skua_runtime *rt)
{
	return rt->head.sched;
}

static void all_get_stuck(skua_runtime *rt, struct hog *hogs)
{
	for (int i = 0; i < WORKERS; i++) {
		T_EQ(sem_init(&hogs[i].leave, 0, 0), 0);
		hogs[i].worker = NULL;
		hogs[i].task = start(rt, hog, &hogs[i]);
	}
	for (int i = 0; i < WORKERS; i++)
		WAIT_UNTIL(hogs[i].worker != NULL);
}

static void get_free(struct hog *hog)
{
	sem_post(&hog->leave);
	T_EQ(skua_task_wait(&hog->task), 0);
	sem_destroy(&hog->leave);
}

static void all_get_free(struct hog *hogs)
{
	for (int i = 0; i < WORKERS; i++)
		if (hogs[i].task != NULL)
			get_free(&hogs[i]);
}

/* The hog on that worker, or one on another. */
static struct hog *hog_on(struct hog *hogs, struct sk_worker *worker, int same)
{
	int i = 0;

	while ((hogs[i].worker == worker) != same)
		T_LT(++i, WORKERS);
	return &hogs[i];
}

/* ---- Readers ---- */

struct reader {
	skua_tcp *conn;
	_Atomic(struct sk_worker *) waits; /* the worker that polled it last */
	_Atomic(uint64_t) ready;           /* when it had its byte */
	char byte;
};

static skua_poll reader(skua_cx *cx, void *argument)
{
	struct reader *self = argument;
	skua_poll n = skua_read(cx, self->conn, &self->byte, 1);

	if (n == SKUA_PENDING)
		self->waits = cx->worker;
	else
		self->ready = skua_now();
	return n;
}

/* All workers sleep, and the reader waits for its byte. */
static skua_task *start_reader(skua_runtime *rt, struct reader *self)
{
	skua_task *task;

	self->waits = NULL;
	self->ready = 0;
	task = start(rt, reader, self);
	WAIT_UNTIL(self->waits != NULL && sk_idle_count(&sched_of(rt)->idle) == WORKERS);
	return task;
}

/* As after many polls that were very short: what waits seems not to be worth a wake, so that only the
 * driver's word that a worker is stuck makes another one come. */
static void seem_quick(skua_runtime *rt)
{
	for (int i = 0; i < WORKERS; i++)
		sk_store(&sched_of(rt)->workers[i]->mean_poll_ns, 100, SK_RELAXED);
}

static void send_byte(skua_tcp *conn)
{
	T_EQ(write(fd_of(conn), "x", 1), 1);
}

static struct net net_with_workers(uint32_t kind)
{
	struct net net = net_listen(WORKERS, kind);

	net_connect(&net);
	return net;
}

/* All workers are stuck when a socket becomes readable. Its task runs when one of them comes free:
 * the one that ran it last, or another. */
static void comes_free(uint32_t kind, int same)
{
	struct net net = net_with_workers(kind);
	struct reader state = {.conn = net.server};
	struct best best = best_of("from a worker's coming free", LOOK);

	while (is_too_late(&best)) {
		skua_task *task = start_reader(net.rt, &state);
		struct hog hogs[WORKERS], *first;

		all_get_stuck(net.rt, hogs);
		send_byte(net.client);
		/* The driver has looked meanwhile, and has given it to somebody who is stuck. */
		sleep_ms(5 * SK_MONITOR_MS);
		T_EQ(skua_task_finished(task), 0);
		first = hog_on(hogs, state.waits, same);
		sem_post(&first->leave);
		T_EQ(skua_task_wait(&task), 1);
		note(&best, first->left, state.ready);
		sem_post(&first->leave);
		all_get_free(hogs);
	}
	net_close(&net);
}

T_ON_EACH_IO(stuck, readiness_is_served_when_its_own_worker_comes_free)
{
	comes_free(kind, 1);
}

T_ON_EACH_IO(stuck, readiness_is_served_when_another_worker_comes_free)
{
	comes_free(kind, 0);
}

/* The worker that has run the task, and has been the one to wait for events perhaps, is stuck, as are
 * all others but one. */
T_ON_EACH_IO(stuck, readiness_is_served_by_the_only_worker_that_is_free)
{
	struct net net = net_with_workers(kind);
	struct reader state = {.conn = net.server};
	struct best best = best_of("from the event", LOOK);

	while (is_too_late(&best)) {
		skua_task *task = start_reader(net.rt, &state);
		struct hog hogs[WORKERS];
		uint64_t sent;

		all_get_stuck(net.rt, hogs);
		get_free(hog_on(hogs, state.waits, 0));
		WAIT_UNTIL(sk_idle_count(&sched_of(net.rt)->idle) == 1);
		sleep_ms(2 * SK_MONITOR_MS);
		seem_quick(net.rt);
		sent = skua_now();
		send_byte(net.client);
		T_EQ(skua_task_wait(&task), 1);
		note(&best, sent, state.ready);
		all_get_free(hogs);
	}
	net_close(&net);
}

/* ---- A free worker that is busy ---- */

enum { POLL_NS = 200000, FEW_POLLS = 10, BUSY_TRIES = 9 };

/* Many polls, none of which is long, until it is told to stop. */
struct busy {
	skua_coro co;
	int64_t rc;
	atomic_int *stop, *polls;
};

static skua_poll busy(skua_cx *cx, struct busy *self)
{
	const struct timespec time = {0, POLL_NS};

	SKUA_BEGIN(self);
	while (*self->stop == 0) {
		nanosleep(&time, NULL);
		atomic_fetch_add(self->polls, 1);
		SKUA_AWAIT(self->rc = skua_yield(cx));
	}
	SKUA_END(0);
}
SKUA_CORO(busy, struct busy);

/* A hog that leaves something else to do behind. */
struct successor {
	struct hog hog;
	struct busy busy;
};

static skua_poll hog_with_successor(skua_cx *cx, void *argument)
{
	struct successor *self = argument;
	skua_poll result = hog(cx, &self->hog);

	if (*self->busy.stop == 0)
		T_EQ(skua_spawn(skua_cx_runtime(cx), &self->busy.co, NULL), 0);
	return result;
}

/* What waits in the inbox of a stuck worker is taken over by one that comes free, although it has enough
 * to do: not only when it looks at the clock, every SK_MAINTENANCE_INTERVAL polls. */
T_ON_EACH_IO(stuck, readiness_is_served_by_a_busy_worker_that_comes_free)
{
	struct net net = net_with_workers(kind);
	struct reader state = {.conn = net.server};
	int soon = 0;

	for (int try = 0; try < BUSY_TRIES; try++) {
		skua_task *task = start_reader(net.rt, &state);
		struct successor hogs[WORKERS];
		atomic_int stop = 0, polls = 0;
		int other = 0;

		for (int i = 0; i < WORKERS; i++) {
			hogs[i].hog.worker = NULL;
			hogs[i].busy = (struct busy){
				.co = SKUA_CORO_INIT(busy), .stop = &stop, .polls = &polls};
			T_EQ(sem_init(&hogs[i].hog.leave, 0, 0), 0);
			hogs[i].hog.task = start(net.rt, hog_with_successor, &hogs[i]);
		}
		for (int i = 0; i < WORKERS; i++)
			WAIT_UNTIL(hogs[i].hog.worker != NULL);
		/* The driver knows that all are stuck, so it gives it to the one that ran it last. */
		WAIT_UNTIL(sk_load(&sched_of(net.rt)->demand.stuck, SK_RELAXED) == WORKERS);
		send_byte(net.client);
		sleep_ms(5 * SK_MONITOR_MS);
		while (hogs[other].hog.worker == state.waits)
			other++;
		sem_post(&hogs[other].hog.leave);
		T_EQ(skua_task_wait(&task), 1);
		T_LOG("after %d polls", polls);
		soon += polls <= FEW_POLLS;
		atomic_store(&stop, 1);
		sem_post(&hogs[other].hog.leave);
		for (int i = 0; i < WORKERS; i++)
			get_free(&hogs[i].hog);
		WAIT_UNTIL(sk_idle_count(&sched_of(net.rt)->idle) == WORKERS);
	}
	T_GT(soon, BUSY_TRIES / 2);
	net_close(&net);
}

/* ---- Stuck with the events of others ---- */

/* Several sockets become readable, and whoever runs first gets stuck at once. */
enum { CROWD = 8 };

struct member {
	struct crowd *crowd;
	skua_tcp *conn, *client;
	skua_task *task;
	atomic_int waits;
	char byte;
};

struct crowd {
	struct net net;
	sem_t leave;
	int size;
	struct member members[CROWD];
	atomic_int begun, done;
	_Atomic(uint64_t) stuck, last;
};

static skua_poll member(skua_cx *cx, void *argument)
{
	struct member *self = argument;
	struct crowd *crowd = self->crowd;
	skua_poll n = skua_read(cx, self->conn, &self->byte, 1);

	if (n == SKUA_PENDING) {
		self->waits = 1;
		return n;
	}
	T_EQ(n, 1);
	if (atomic_fetch_add(&crowd->begun, 1) == 0) {
		crowd->stuck = skua_now();
		while (sem_wait(&crowd->leave) != 0)
			;
		return n;
	}
	crowd->last = skua_now();
	atomic_fetch_add(&crowd->done, 1);
	return n;
}

static void crowd_open(struct crowd *crowd, uint32_t kind, int size)
{
	struct net net = net_listen(WORKERS, kind);

	*crowd = (struct crowd){.net = net, .size = size};
	for (int i = 0; i < size; i++) {
		net_connect(&net);
		crowd->members[i] =
			(struct member){.crowd = crowd, .conn = net.server, .client = net.client};
	}
	T_EQ(sem_init(&crowd->leave, 0, 0), 0);
}

/* All of them wait, and all workers sleep. */
static void crowd_begin(struct crowd *crowd)
{
	skua_runtime *rt = crowd->net.rt;

	crowd->begun = crowd->done = 0;
	crowd->stuck = crowd->last = 0;
	for (int i = 0; i < crowd->size; i++) {
		crowd->members[i].waits = 0;
		crowd->members[i].task = start(rt, member, &crowd->members[i]);
	}
	for (int i = 0; i < crowd->size; i++)
		WAIT_UNTIL(crowd->members[i].waits == 1);
	WAIT_UNTIL(sk_idle_count(&sched_of(rt)->idle) == WORKERS);
	seem_quick(rt);
}

static void crowd_end(struct crowd *crowd)
{
	sem_post(&crowd->leave);
	for (int i = 0; i < crowd->size; i++)
		T_EQ(skua_task_wait(&crowd->members[i].task), 1);
}

static void crowd_close(struct crowd *crowd)
{
	sem_destroy(&crowd->leave);
	for (int i = 0; i < crowd->size; i++) {
		skua_tcp_close(crowd->members[i].client);
		skua_tcp_close(crowd->members[i].conn);
	}
	net_close(&crowd->net);
}

T_ON_EACH_IO(stuck, what_came_with_the_event_of_a_stuck_task_is_served)
{
	struct crowd crowd;
	/* It takes two looks to find that the first one is stuck. */
	struct best best = best_of("all others, from the first one's getting stuck", 3 * LOOK);

	crowd_open(&crowd, kind, CROWD);
	while (is_too_late(&best)) {
		crowd_begin(&crowd);
		for (int i = 0; i < CROWD; i++)
			send_byte(crowd.members[i].client);
		WAIT_UNTIL(crowd.done == CROWD - 1);
		note(&best, crowd.stuck, crowd.last);
		crowd_end(&crowd);
	}
	crowd_close(&crowd);
}

/* One connection after the other: the second one's event comes when the worker that took the first
 * one's has only just got stuck, so that nobody knows it. `limit` workers seem to be enough. */
static void beside_one_that_has_just_got_stuck(uint32_t kind, uint32_t limit)
{
	enum { PAIR = 2, ENOUGH = TRIES * 4 / 5, ROUNDS = 3 };
	struct crowd crowd;
	int in_time = 0;

	crowd_open(&crowd, kind, PAIR);
	for (int try = 0; try < ROUNDS * TRIES && in_time < ENOUGH; try++) {
		uint64_t sent;

		if (try % TRIES == 0)
			in_time = 0;

		crowd_begin(&crowd);
		sk_store(&sched_of(crowd.net.rt)->demand.limit, limit, SK_RELAXED);
		send_byte(crowd.members[0].client);
		while (crowd.stuck == 0)
			;
		sent = skua_now();
		send_byte(crowd.members[1].client);
		WAIT_UNTIL(crowd.done == 1);
		T_LOG("%g ms", (double)(crowd.last - sent) / 1e6);
		in_time += crowd.last - sent <= (uint64_t)PATIENCE * (LOOK + LOOK / 4);
		crowd_end(&crowd);
	}
	/* By luck, without anybody's being woken for it, it is every other one. */
	T_EQ(in_time, ENOUGH);
	crowd_close(&crowd);
}

T_ON_EACH_IO(stuck, readiness_beside_a_worker_that_has_just_got_stuck_is_served)
{
	beside_one_that_has_just_got_stuck(kind, WORKERS);
}

/* The event is found by the driver, at its next look. */
T_TEST(stuck, readiness_is_served_although_one_worker_seems_to_be_enough)
{
	beside_one_that_has_just_got_stuck(IO_EPOLL, 1);
}

/* ---- What the driver does itself ---- */

/* A context of the test's own thread, which needs no worker. */
static _Atomic(uint64_t) woken_at;

static void *own_clone(void *data)
{
	return data;
}

static void own_wake(void *data)
{
	(void)data;
	woken_at = skua_now();
}

static void own_drop(void *data)
{
	(void)data;
}

static const skua_waker_ops own_ops = {own_clone, own_wake, own_wake, own_drop};

static skua_cx own_cx(skua_runtime *rt)
{
	skua_waker waker = {&own_ops, &woken_at};
	skua_cx cx;

	woken_at = 0;
	skua_cx_init(&cx, rt, &waker);
	return cx;
}

T_ON_EACH_IO(stuck, readiness_wakes_other_executors_while_all_are_stuck)
{
	struct net net = net_with_workers(kind);
	struct best best = best_of("from the event", LOOK);

	while (is_too_late(&best)) {
		struct hog hogs[WORKERS];
		skua_cx cx = own_cx(net.rt);
		uint64_t sent;
		char byte;

		all_get_stuck(net.rt, hogs);
		sleep_ms(2 * SK_MONITOR_MS);
		T_EQ(skua_read(&cx, net.server, &byte, 1), SKUA_PENDING);
		sent = skua_now();
		send_byte(net.client);
		WAIT_UNTIL(woken_at != 0);
		note(&best, sent, woken_at);
		T_EQ(skua_read(&cx, net.server, &byte, 1), 1);
		all_get_free(hogs);
	}
	net_close(&net);
}

T_ON_EACH_IO(stuck, timers_fire_while_all_are_stuck)
{
	skua_runtime *rt = runtime_on(WORKERS, kind);
	struct best best = best_of("from the deadline", LOOK);

	while (is_too_late(&best)) {
		struct hog hogs[WORKERS];
		skua_cx cx = own_cx(rt);
		skua_timer timer = {0};
		uint64_t due;

		all_get_stuck(rt, hogs);
		due = skua_now() + 10 * SKUA_MSEC;
		T_EQ(skua_sleep_until(&cx, &timer, due), SKUA_PENDING);
		WAIT_UNTIL(woken_at != 0);
		T_GE(woken_at, due);
		note(&best, due, woken_at);
		T_EQ(skua_sleep_until(&cx, &timer, due), 0);
		all_get_free(hogs);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* Closes a connection that has been waited for, or has not. */
static void is_closed(uint32_t kind, int waited_for)
{
	struct net net = net_listen(WORKERS, kind);
	struct best best = best_of("from the close to the end of the stream", LOOK);

	while (is_too_late(&best)) {
		struct hog hogs[WORKERS];
		struct pollfd peer = {.events = POLLIN};
		uint64_t closed;
		char byte;

		net_connect(&net);
		if (waited_for) {
			struct reader state = {.conn = net.server};
			skua_task *task = start_reader(net.rt, &state);

			send_byte(net.client);
			T_EQ(skua_task_wait(&task), 1);
		}
		all_get_stuck(net.rt, hogs);
		peer.fd = fd_of(net.client);
		closed = skua_now();
		skua_tcp_close(net.server);
		T_EQ(poll(&peer, 1, -1), 1);
		note(&best, closed, skua_now());
		T_EQ(recv(peer.fd, &byte, 1, 0), 0);
		skua_tcp_close(net.client);
		all_get_free(hogs);
	}
	net.client = net.server = NULL;
	net_close(&net);
}

T_ON_EACH_IO(stuck, a_connection_is_closed_while_all_are_stuck)
{
	is_closed(kind, 0);
	is_closed(kind, 1);
}

/* The driver goes on looking, knows who is stuck, and a dump says with what. */
T_TEST(stuck, the_driver_finds_all_that_are_stuck)
{
	skua_runtime *rt = runtime_of(WORKERS);
	struct best best = best_of("from the last one's getting stuck", 4 * LOOK);

	while (is_too_late(&best)) {
		struct hog hogs[WORKERS];
		uint64_t begin;

		all_get_stuck(rt, hogs);
		begin = skua_now();
		WAIT_UNTIL(sk_load(&sched_of(rt)->demand.stuck, SK_RELAXED) == WORKERS);
		note(&best, begin, skua_now());
		/* One of those counted may have been on its way to a spare worker's hog, on a busy
		 * machine; then that one is found at a later look. */
		for (int i = 0; i < WORKERS; i++)
			WAIT_UNTIL(sk_worker_is_stuck(hogs[i].worker));
		all_get_free(hogs);
		WAIT_UNTIL(sk_load(&sched_of(rt)->demand.stuck, SK_RELAXED) == 0);
	}
	T_EQ(skua_runtime_free(rt), 0);
}
