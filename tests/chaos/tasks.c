/* tasks.c - workloads of tasks alone: trees of joins, wakers, timers, jobs, threads outside. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/chaos/workloads.h"

/* ---- Trees: every task spawns and joins others ---- */

enum { BRANCHES = 3 };

struct tree {
	skua_coro co;
	uint32_t depth;
	int next;
	int64_t sum, part;
	skua_task *branches[BRANCHES];
};

static skua_poll tree(skua_cx *cx, struct tree *self);
SKUA_CORO(tree, struct tree);

static skua_poll tree(skua_cx *cx, struct tree *self)
{
	SKUA_BEGIN(self);
	self->sum = 1;
	for (self->next = 0; self->depth > 0 && self->next < BRANCHES; self->next++) {
		struct tree branch = {.co = SKUA_CORO_INIT(tree), .depth = self->depth - 1};
		int rc = skua_spawn(cx->runtime, &branch.co, &self->branches[self->next]);

		CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
	}
	SKUA_AWAIT(self->part = skua_yield(cx));
	for (self->next = 0; self->depth > 0 && self->next < BRANCHES; self->next++) {
		SKUA_AWAIT(self->part = skua_join(cx, &self->branches[self->next]));
		CHAOS_CHECK(self->part > 0, "skua_join: %lld", (long long)self->part);
		self->sum += self->part;
	}
	chaos_progress();
	SKUA_END(self->sum);
}

void chaos_trees(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);
	uint64_t random = chaos->seed;

	while (chaos_goes_on(chaos)) {
		struct tree root = {.co = SKUA_CORO_INIT(tree),
				    .depth = 1 + chaos_random(&random, 4)};
		int64_t expected = 0, level = 1;
		skua_poll sum;

		for (uint32_t i = 0; i <= root.depth; i++, level *= BRANCHES)
			expected += level;
		sum = skua_block_on(rt, &root.co);
		CHAOS_CHECK(sum == expected, "%lld, expected %lld", (long long)sum,
			    (long long)expected);
	}
	chaos_runtime_free(rt, 0);
}

/* ---- Ping-pong: pairs that wake each other, and two threads that look on ---- */

/* A place for one message and one waker. */
struct box {
	pthread_mutex_t lock;
	skua_waker waker;
	int64_t value; /* 0: none */
};

static void box_put(struct box *box, int64_t value)
{
	skua_waker waker;

	pthread_mutex_lock(&box->lock);
	CHAOS_CHECK(box->value == 0, "a message was lost: %lld", (long long)box->value);
	box->value = value;
	waker = box->waker;
	box->waker = (skua_waker){NULL, NULL};
	pthread_mutex_unlock(&box->lock);
	if (waker.ops != NULL)
		skua_waker_wake(&waker);
}

static skua_poll box_take(skua_cx *cx, struct box *box)
{
	skua_waker old;
	skua_poll value;

	pthread_mutex_lock(&box->lock);
	old = box->waker;
	box->waker = (skua_waker){NULL, NULL};
	value = box->value;
	box->value = 0;
	if (value == 0) {
		int rc = skua_waker_clone(skua_cx_waker(cx), &box->waker);

		CHAOS_CHECK(rc == 0, "skua_waker_clone: %d", rc);
		value = SKUA_PENDING;
	}
	pthread_mutex_unlock(&box->lock);
	skua_waker_drop(&old);
	return value;
}

enum { EXCHANGES = 30, PAIRS = 8 };

struct player {
	skua_coro co;
	struct box *mine, *other;
	bool serves;
	int64_t turn, value;
};

static skua_poll player(skua_cx *cx, struct player *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 1; self->turn <= EXCHANGES; self->turn++) {
		if (self->serves)
			box_put(self->other, self->turn);
		SKUA_AWAIT(self->value = box_take(cx, self->mine));
		CHAOS_CHECK(self->value == self->turn, "%lld in turn %lld", (long long)self->value,
			    (long long)self->turn);
		if (!self->serves)
			box_put(self->other, self->turn);
		chaos_progress();
	}
	SKUA_END(self->turn);
}
SKUA_CORO(player, struct player);

void chaos_ping_pong(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);

	while (chaos_goes_on(chaos)) {
		skua_task *tasks[2 * PAIRS];
		struct box boxes[2 * PAIRS];

		for (int i = 0; i < 2 * PAIRS; i++)
			boxes[i] = (struct box){.lock = PTHREAD_MUTEX_INITIALIZER};
		for (int i = 0; i < 2 * PAIRS; i++) {
			struct player one = {.co = SKUA_CORO_INIT(player),
					     .mine = &boxes[i],
					     .other = &boxes[i ^ 1],
					     .serves = i % 2 == 0};
			int rc = skua_spawn(rt, &one.co, &tasks[i]);

			CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
		}
		for (int i = 0; i < 2 * PAIRS; i++) {
			skua_poll turns = skua_task_wait(&tasks[i]);

			CHAOS_CHECK(turns == EXCHANGES + 1, "%lld turns", (long long)turns);
		}
	}
	chaos_runtime_free(rt, 0);
}

/* ---- Timers, timeouts and cancellations ---- */

struct sleeper {
	skua_coro co;
	uint64_t random;
	uint64_t from, length, limit, outer;
	skua_timer sleeping, inner_limit, outer_limit;
	skua_poll inner, result;
	int left;
};

static skua_poll sleeper_awaits(skua_cx *cx, struct sleeper *self)
{
	/* Each of them may be polled many times; what counts is the last result. */
	skua_poll result = skua_timeout(cx, &self->inner_limit, self->limit,
					skua_sleep(cx, &self->sleeping, self->length));

	self->inner = result;
	return result;
}

static skua_poll sleeper(skua_cx *cx, struct sleeper *self)
{
	SKUA_BEGIN(self);
	for (self->left = 20; self->left > 0; self->left--) {
		self->length = chaos_random(&self->random, 2000) * SKUA_USEC;
		self->limit = chaos_random(&self->random, 2000) * SKUA_USEC;
		self->outer = chaos_random(&self->random, 2000) * SKUA_USEC;
		self->from = skua_now();
		SKUA_AWAIT(self->result = skua_timeout(cx, &self->outer_limit, self->outer,
						       sleeper_awaits(cx, self)));
		self->from = skua_now() - self->from;
		chaos_progress();
		if (self->result == 0) {
			CHAOS_CHECK(self->from >= self->length, "woke after %llu of %llu ns",
				    (unsigned long long)self->from,
				    (unsigned long long)self->length);
		} else if (self->result == -ETIMEDOUT) {
			CHAOS_CHECK(self->from >= self->limit || self->from >= self->outer,
				    "timed out after %llu ns", (unsigned long long)self->from);
		} else {
			CHAOS_CHECK(self->result == -ECANCELED, "%lld", (long long)self->result);
			CHAOS_CHECK(skua_cx_cancelled(cx), "nobody cancelled it");
			SKUA_RETURN(-ECANCELED);
		}
	}
	SKUA_END(0);
}
SKUA_CORO(sleeper, struct sleeper);

enum { SLEEPERS = 60 };

void chaos_timers(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);
	uint64_t random = chaos->seed;

	while (chaos_goes_on(chaos)) {
		bool cancelled[SLEEPERS] = {false};
		skua_task *tasks[SLEEPERS];

		for (int i = 0; i < SLEEPERS; i++) {
			struct sleeper one = {.co = SKUA_CORO_INIT(sleeper),
					      .random = random + (uint64_t)i};
			int rc = skua_spawn(rt, &one.co, &tasks[i]);

			CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
		}
		for (int i = 0; i < SLEEPERS; i++) {
			uint32_t which = chaos_random(&random, SLEEPERS);
			int rc = skua_cancel(tasks[which]);

			CHAOS_CHECK(rc == 0 || rc == -ESRCH, "skua_cancel: %d", rc);
			cancelled[which] = true;
			if (chaos_random(&random, 8) == 0)
				usleep(chaos_random(&random, 1000));
		}
		for (int i = 0; i < SLEEPERS; i++) {
			skua_poll result = skua_task_wait(&tasks[i]);

			CHAOS_CHECK(result == 0 || (result == -ECANCELED && cancelled[i]), "%lld",
				    (long long)result);
		}
	}
	chaos_runtime_free(rt, 0);
}

/* ---- Jobs that block ---- */

struct job {
	_Atomic int *runs;
	unsigned us;
};

static int64_t job(void *argument)
{
	struct job *self = argument;

	atomic_fetch_add(self->runs, 1);
	usleep(self->us);
	chaos_progress();
	return 5;
}

struct employer {
	skua_coro co;
	uint64_t random;
	_Atomic int *runs, *results;
	skua_task *job;
	skua_poll result;
	int left;
};

static void employ(skua_cx *cx, struct employer *self)
{
	struct job order = {self->runs, chaos_random(&self->random, 200)};
	int rc = skua_spawn_blocking(cx->runtime, job, &order, sizeof order, &self->job);

	CHAOS_CHECK(rc == 0, "skua_spawn_blocking: %d", rc);
	if (chaos_random(&self->random, 3) == 0) {
		rc = skua_cancel(self->job);
		CHAOS_CHECK(rc == 0 || rc == -ESRCH, "skua_cancel: %d", rc);
	}
}

static skua_poll employer(skua_cx *cx, struct employer *self)
{
	SKUA_BEGIN(self);
	for (self->left = 10; self->left > 0; self->left--) {
		employ(cx, self);
		SKUA_AWAIT(self->result = skua_join(cx, &self->job));
		CHAOS_CHECK(self->result == 5 || self->result == -ECANCELED, "%lld",
			    (long long)self->result);
		if (self->result == 5)
			atomic_fetch_add(self->results, 1);
		chaos_progress();
	}
	SKUA_END(0);
}
SKUA_CORO(employer, struct employer);

enum { EMPLOYERS = 12 };

void chaos_blocking(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);
	_Atomic int runs = 0, results = 0;
	uint64_t random = chaos->seed;

	while (chaos_goes_on(chaos)) {
		skua_task *tasks[EMPLOYERS];

		for (int i = 0; i < EMPLOYERS; i++) {
			struct employer one = {.co = SKUA_CORO_INIT(employer),
					       .random = random++ * 77,
					       .runs = &runs,
					       .results = &results};
			int rc = skua_spawn(rt, &one.co, &tasks[i]);

			CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
		}
		for (int i = 0; i < EMPLOYERS; i++) {
			skua_poll result = skua_task_wait(&tasks[i]);

			CHAOS_CHECK(result == 0, "%lld", (long long)result);
		}
		/* A job ran once if it has its result, and else not at all. */
		CHAOS_CHECK(runs == results, "%d runs, %d results", runs, results);
	}
	chaos_runtime_free(rt, 0);
}

/* ---- Threads outside that spawn, cancel, detach and wait ---- */

enum { THREADS = 4 };

struct outsider {
	struct chaos *chaos;
	skua_runtime *rt;
	uint64_t random;
	pthread_t thread;
};

static skua_poll yielder(skua_cx *cx, struct tree *self)
{
	SKUA_BEGIN(self);
	while (self->next-- > 0) {
		SKUA_AWAIT(self->part = skua_yield(cx));
		if (self->part < 0)
			SKUA_RETURN(self->part);
	}
	SKUA_END(17);
}
SKUA_CORO(yielder, struct tree);

static void *outsider(void *argument)
{
	struct outsider *self = argument;

	while (chaos_goes_on(self->chaos)) {
		struct tree one = {.co = SKUA_CORO_INIT(yielder),
				   .next = (int)chaos_random(&self->random, 6)};
		uint32_t choice = chaos_random(&self->random, 4);
		skua_poll result = 17;
		skua_task *task;
		int rc;

		if (choice == 0) {
			result = skua_block_on(self->rt, &one.co);
			CHAOS_CHECK(result == 17, "skua_block_on: %lld", (long long)result);
			chaos_progress();
			continue;
		}
		rc = skua_spawn(self->rt, &one.co, &task);
		CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
		if (choice >= 2)
			rc = skua_cancel(task);
		CHAOS_CHECK(rc == 0 || rc == -ESRCH, "skua_cancel: %d", rc);
		if (choice == 3)
			skua_detach(&task);
		else
			result = skua_task_wait(&task);
		CHAOS_CHECK(result == 17 || (choice == 2 && result == -ECANCELED), "%lld",
			    (long long)result);
		chaos_progress();
	}
	return NULL;
}

void chaos_outsiders(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);
	struct outsider outsiders[THREADS];

	for (int i = 0; i < THREADS; i++) {
		outsiders[i] = (struct outsider){chaos, rt, chaos->seed + (uint64_t)i, 0};
		if (pthread_create(&outsiders[i].thread, NULL, outsider, &outsiders[i]) != 0)
			abort();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(outsiders[i].thread, NULL);
	chaos_runtime_free(rt, 0);
}

/* ---- A task that nobody wakes ---- */

static skua_poll never_woken(skua_cx *cx, struct tree *self)
{
	(void)cx, (void)self;
	return SKUA_PENDING;
}
SKUA_CORO(never_woken, struct tree);

void chaos_forget_a_task(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 100);
	struct tree one = {.co = SKUA_CORO_INIT(never_woken)};
	skua_task *task;
	int rc = skua_spawn(rt, &one.co, &task);

	CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
	CHAOS_CHECK(skua_task_wait(&task) == 0, "somebody woke it");
}

/* ---- One operation that a stop comes into ---- */

struct spanning {
	skua_coro co;
	skua_timer timer;
	skua_poll result;
};

static skua_poll spanning(skua_cx *cx, struct spanning *self)
{
	SKUA_BEGIN(self);
	atomic_store(&chaos_shared->begun, true);
	while (!atomic_load(&chaos_shared->may_end)) {
		SKUA_AWAIT(self->result = skua_sleep(cx, &self->timer, SKUA_MSEC));
		CHAOS_CHECK(self->result == 0, "skua_sleep: %lld", (long long)self->result);
	}
	SKUA_END(0);
}
SKUA_CORO(spanning, struct spanning);

void chaos_span_a_stop(struct chaos *chaos)
{
	skua_runtime *rt = chaos_runtime(chaos, chaos->workers, 5000);
	struct spanning one = {.co = SKUA_CORO_INIT(spanning)};
	skua_poll result;

	/* Whatever the start took is not counted. */
	chaos_progress();
	result = skua_block_on(rt, &one.co);
	CHAOS_CHECK(result == 0, "%lld", (long long)result);
	chaos_progress();
	chaos_runtime_free(rt, 0);
}
