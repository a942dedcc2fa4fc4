/*
 * test_memory.c - memory that runs out before a future is polled, that comes back from tasks which
 * ended elsewhere, and that is aligned.
 */
#include <stdalign.h>

#include "memory_support.h"
#include "runtime/runtime.h"
#include "sched/worker.h"

/* ---- block_on ---- */

static atomic_int polls;

struct napper {
	skua_coro co;
	skua_timer timer;
	int64_t result;
};

static skua_poll napper(skua_cx *cx, struct napper *self)
{
	atomic_fetch_add(&polls, 1);
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->result = skua_sleep(cx, &self->timer, 2 * SKUA_MSEC));
	SKUA_END(self->result < 0 ? self->result : 7);
}
SKUA_CORO(napper, struct napper);

static skua_poll block_on_napper(skua_runtime *rt)
{
	/* On the heap: a poll after the end is seen. */
	struct napper *future = malloc(sizeof *future);
	skua_poll result;

	*future = (struct napper){.co = SKUA_CORO_INIT(napper)};
	result = skua_block_on(rt, &future->co);
	memset(future, 0xff, sizeof *future);
	free(future);
	return result;
}

T_TEST(memory, block_on_without_memory_has_never_polled)
{
	int failed = 0;
	skua_poll result;

	memory_begin();
	do {
		skua_runtime *rt = runtime_of(1);
		long long before;

		polls = 0;
		before = memory_alive;
		memory_countdown = failed + 1;
		result = block_on_napper(rt);
		memory_countdown = 0;
		if (result == -ENOMEM) {
			failed++;
			T_EQ(memory_alive, before);
			/* Time enough for a poll that should not be. */
			sleep_ms(10);
			T_EQ(polls, 0);
			T_EQ(block_on_napper(rt), 7);
			T_EQ(polls, 2);
		}
		T_EQ(skua_runtime_free(rt), 0);
		T_EQ(memory_alive, 0);
	} while (result == -ENOMEM);
	T_EQ(result, 7);
	T_EQ(polls, 2);
	/* The waker of the thread, its box, the task. */
	T_GE(failed, 3);
	memory_end();
}

/* ---- Tasks that end on another worker than the one that had them first ---- */

enum { CHAIN = 64 };

static struct link {
	skua_waker waker;
	atomic_int polled;            /* for the first time */
	atomic_uintptr_t first, last; /* workers */
} chain[CHAIN];

/* Is pending once, on another worker than its neighbour; when woken, ends and wakes the next. */
struct member {
	skua_future future;
	int number;
};

static atomic_int members_alive, woken;

static skua_poll member_poll(skua_cx *cx, skua_future *future)
{
	const int number = ((struct member *)(void *)future)->number;
	struct link *self = &chain[number];

	if (self->polled == 0) {
		T_EQ(skua_waker_clone(skua_cx_waker(cx), &self->waker), 0);
		atomic_store(&self->first, (uintptr_t)cx->worker);
		atomic_store(&self->polled, 1);
		/* Holds its worker until the neighbour runs on the other one. */
		WAIT_UNTIL(chain[number ^ 1].polled == 1);
		return SKUA_PENDING;
	}
	if (woken <= number)
		return SKUA_PENDING;
	atomic_store(&self->last, (uintptr_t)cx->worker);
	if (number + 1 < CHAIN) {
		atomic_fetch_add(&woken, 1);
		skua_waker_wake(&chain[number + 1].waker);
	}
	return 0;
}

static const skua_future_ops member_ops = {
	.poll = member_poll,
	.size = sizeof(struct member) + 4096,
	.name = "member",
};

/* A cell is the header of a task, and a member. */
static int is_member(size_t size)
{
	return size >= sizeof(struct member) + 4096 && size < sizeof(struct member) + 4096 + 512;
}

static void *count_members_malloc(size_t size)
{
	if (is_member(size))
		atomic_fetch_add(&members_alive, 1);
	return malloc(size);
}

static void count_members_free_sized(void *block, size_t size)
{
	if (block != NULL && is_member(size))
		atomic_fetch_sub(&members_alive, 1);
	free(block);
}

T_TEST_T(memory, tasks_that_ended_elsewhere_are_given_back_while_their_worker_sleeps, 10)
{
	static const skua_allocator table = {
		sizeof(skua_allocator),   count_members_malloc, calloc, realloc, free,
		count_members_free_sized,
	};
	union {
		struct member member;
		char room[sizeof(struct member) + 4096];
	} future = {.member = {{&member_ops, 0, 0}, 0}};
	skua_runtime *rt;
	skua_stats stats;
	int moved = 0;

	T_EQ(skua_set_allocator(&table), 0);
	rt = runtime_of(2);
	for (int i = 0; i < CHAIN; i += 2) {
		for (int j = 0; j < 2; j++) {
			future.member.number = i + j;
			T_EQ(skua_spawn(rt, &future.member.future, NULL), 0);
		}
		WAIT_UNTIL(chain[i].polled == 1 && chain[i + 1].polled == 1);
	}
	T_EQ(members_alive, CHAIN);
	/* One worker wakes, ends them all, and the other one sleeps on. */
	WAIT_UNTIL(sk_idle_count(&rt->head.sched->idle) == 2);
	sleep_ms(50);
	atomic_store(&woken, 1);
	skua_waker_wake(&chain[0].waker);
	do {
		sleep_ms(1);
		skua_runtime_stats(rt, &stats);
	} while (stats.completed < CHAIN);
	for (int i = 0; i < CHAIN; i++)
		moved += chain[i].first != chain[i].last;
	T_LOG("%d of %d ended on the other worker", moved, CHAIN);
	WAIT_UNTIL(members_alive == 0);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(skua_set_allocator(NULL), 0);
}

/* ---- Alignment ---- */

struct aligned {
	skua_future future;
	char odd;
	alignas(max_align_t) char last;
};

static skua_poll aligned_poll(skua_cx *cx, skua_future *self)
{
	struct aligned *aligned = (struct aligned *)(void *)self;

	(void)cx;
	return (skua_poll)((uintptr_t)self % alignof(max_align_t) +
			   (uintptr_t)&aligned->last % alignof(max_align_t));
}

static int64_t aligned_job(void *argument)
{
	return (int64_t)((uintptr_t)argument % alignof(max_align_t));
}

T_TEST(memory, futures_and_arguments_of_jobs_are_aligned_for_anything)
{
	static const char argument[100];
	skua_runtime *rt = runtime_of(2);

	for (size_t size = 1; size < sizeof argument; size += 3) {
		skua_future_ops ops = {aligned_poll, NULL, sizeof(struct aligned) + size, "aligned",
				       NULL};
		struct {
			struct aligned aligned;
			char room[100];
		} future = {.aligned = {.future = {&ops, 0, 0}}};
		skua_task *task = start_future(rt, &future.aligned.future);

		T_EQ(skua_task_wait(&task), 0);
		T_EQ(skua_spawn_blocking(rt, aligned_job, argument, size, &task), 0);
		T_EQ(skua_task_wait(&task), 0);
	}
	T_EQ(skua_runtime_free(rt), 0);
}
