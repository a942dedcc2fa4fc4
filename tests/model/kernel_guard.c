/* kernel_guard.c - the guard: what is freed after a wait is not touched by those who had entered. */
#include "sched/guard.h"
#include "sched/sync.h"
#include "tests/model/explorer.h"

enum { OPEN, CLOSED };

/* A runtime: whoever finds it open, inside the guard, may write to its memory. */
struct thing {
	SK_ATOMIC(uint32_t) touched;
	int plain;
};

static struct thing *things[2];
static SK_ATOMIC(uint32_t) state[2];

/* As sk_task_wake: enter, a read-modify-write of the state, touch, leave. */
static void wake(unsigned i)
{
	unsigned side = sk_guard_enter();

	if (sk_fetch_or(&state[i], 2, SK_ACQ_REL) % 2 == OPEN)
		sk_fetch_add(&things[i]->touched, 1, SK_RELAXED);
	sk_guard_leave(side);
}

static void waker(void *argument)
{
	wake((unsigned)(uintptr_t)argument);
}

static void waker_twice(void *argument)
{
	waker(argument);
	waker(argument);
}

/* As spawn_foreign: enter, a fence, a look at the phase, touch, leave. */
static void spawner(void *argument)
{
	uintptr_t i = (uintptr_t)argument;
	unsigned side = sk_guard_enter();

	sk_fence();
	if (sk_load(&state[i], SK_RELAXED) == OPEN)
		things[i]->plain = 1;
	sk_guard_leave(side);
}

static void begin(unsigned i)
{
	things[i] = sk_malloc(sizeof *things[i]);
	sk_init(&things[i]->touched, 0);
	things[i]->plain = 0;
}

/* The task completes, the runtime is freed. */
static void complete_and_free(unsigned i)
{
	sk_fetch_or(&state[i], CLOSED, SK_RELEASE);
	sk_guard_wait();
	sk_free(things[i]);
}

static void close_and_free(unsigned i)
{
	sk_store(&state[i], CLOSED, SK_RELEASE);
	sk_guard_wait();
	sk_free(things[i]);
}

static void freer(void *argument)
{
	complete_and_free((unsigned)(uintptr_t)argument);
}

MC_SCENARIO(guard, wake_against_free)
{
	begin(0);
	mc_start(waker, 0);
	complete_and_free(0);
	mc_join_all();
}

MC_SCENARIO(guard, spawn_against_close)
{
	begin(0);
	mc_start(spawner, 0);
	close_and_free(0);
	mc_join_all();
}

MC_SCENARIO(guard, two_wakes_against_free)
{
	begin(0);
	mc_start(waker, 0);
	mc_start(waker, 0);
	complete_and_free(0);
	mc_join_all();
}

/* The epoch turns twice while somebody has read it, but not yet entered. */
MC_SCENARIO(guard, two_waits_in_a_row_under_a_slow_waker)
{
	begin(0);
	begin(1);
	mc_start(waker, 1);
	complete_and_free(0);
	complete_and_free(1);
	mc_join_all();
}

MC_SCENARIO(guard, two_waits_in_a_row_under_a_slow_spawner)
{
	begin(0);
	begin(1);
	mc_start(spawner, 1);
	close_and_free(0);
	close_and_free(1);
	mc_join_all();
}

/* Two runtimes are freed at once; the waker of one goes on waking. */
MC_SCENARIO(guard, two_waits_at_once)
{
	begin(0);
	begin(1);
	mc_start(waker, 0);
	mc_start(freer, 1);
	complete_and_free(0);
	mc_join_all();
}

/* Somebody who enters again and again does not keep the wait from ending. */
MC_SCENARIO(guard, a_busy_waker_against_free)
{
	begin(0);
	mc_start(waker_twice, 0);
	complete_and_free(0);
	mc_join_all();
}
