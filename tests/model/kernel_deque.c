/* kernel_deque.c - the run queue: an owner against thieves, with growth, at indices near wrap. */
#include "sched/deque.h"
#include "tests/model/explorer.h"

enum { ITEMS = 4 };

static struct sk_deque deque, thief_deque[2];
static int taken[8];

/* The queue never looks into a task. */
static skua_task *item(unsigned number)
{
	return (skua_task *)(uintptr_t)(8 * (number + 1));
}

static void take(skua_task *task)
{
	uintptr_t number = (uintptr_t)task / 8;

	if (task == NULL)
		return;
	mc_assert(number >= 1 && number <= 8);
	taken[number - 1]++;
}

static void start(uint64_t capacity, uint64_t index)
{
	mc_assert(sk_deque_init(&deque, capacity) == 0);
	sk_init(&deque.top, index);
	sk_init(&deque.bottom, index);
	for (int i = 0; i < 2; i++)
		mc_assert(sk_deque_init(&thief_deque[i], 2) == 0);
}

/* Everything that was pushed has been taken exactly once. */
static void finish(unsigned items)
{
	skua_task *task;

	while ((task = sk_deque_pop(&deque)) != NULL)
		take(task);
	for (int i = 0; i < 2; i++)
		while ((task = sk_deque_pop(&thief_deque[i])) != NULL)
			take(task);
	for (unsigned i = 0; i < items; i++)
		mc_assert(taken[i] == 1);
	sk_deque_destroy(&deque);
	sk_deque_destroy(&thief_deque[0]);
	sk_deque_destroy(&thief_deque[1]);
}

/* What each thread takes is counted where only it writes. */
static int stolen[2][8];

static void steal(struct sk_deque *victim, uintptr_t self)
{
	unsigned count;
	skua_task *task = sk_deque_steal(victim, &thief_deque[self], &count);
	uintptr_t number = (uintptr_t)task / 8;

	if (task == NULL)
		return;
	mc_assert(number >= 1 && number <= 8);
	stolen[self][number - 1]++;
}

static void thief(void *argument)
{
	steal(&deque, (uintptr_t)argument);
}

static void add_stolen(void)
{
	for (int t = 0; t < 2; t++)
		for (int i = 0; i < 8; i++)
			taken[i] += stolen[t][i];
}

static void owner_against_thieves(uint64_t capacity, uint64_t index, int thieves)
{
	int threads[2];

	start(capacity, index);
	mc_assert(sk_deque_push(&deque, item(0)));
	for (int i = 0; i < thieves; i++)
		threads[i] = mc_thread(thief, (void *)(uintptr_t)i);
	mc_assert(sk_deque_push(&deque, item(1)));
	take(sk_deque_pop(&deque));
	mc_assert(sk_deque_push(&deque, item(2)));
	take(sk_deque_pop(&deque));
	for (int i = 0; i < thieves; i++)
		mc_join(threads[i]);
	add_stolen();
	finish(3);
}

MC_SCENARIO(deque, push_pop_against_a_thief)
{
	owner_against_thieves(4, 0, 1);
}

MC_SCENARIO(deque, push_pop_against_two_thieves)
{
	owner_against_thieves(4, 0, 2);
}

MC_SCENARIO(deque, capacity_2_near_the_wrap_of_32_bits)
{
	owner_against_thieves(2, UINT32_MAX, 1);
}

MC_SCENARIO(deque, capacity_2_near_the_wrap_of_63_bits)
{
	owner_against_thieves(2, (UINT64_C(1) << 63) - 1, 1);
}

/* The owner grows the ring while a thief takes half. */
MC_SCENARIO(deque, grow_against_a_batch_steal)
{
	int thread;

	start(2, 0);
	mc_assert(sk_deque_push(&deque, item(0)));
	mc_assert(sk_deque_push(&deque, item(1)));
	thread = mc_thread(thief, NULL);
	mc_assert(sk_deque_push(&deque, item(2)));
	mc_assert(sk_deque_push(&deque, item(3)));
	take(sk_deque_pop(&deque));
	mc_join(thread);
	add_stolen();
	finish(4);
}

static void second_thief(void *argument)
{
	(void)argument;
	steal(&thief_deque[0], 1);
}

/* What a thief has taken is stolen from it. */
MC_SCENARIO(deque, steal_from_a_thief)
{
	int threads[2];

	start(4, 0);
	for (unsigned i = 0; i < 3; i++)
		mc_assert(sk_deque_push(&deque, item(i)));
	/* So that there is something old in the slots of the first thief. */
	for (unsigned i = 3; i < 5; i++) {
		mc_assert(sk_deque_push(&thief_deque[0], item(i)));
		take(sk_deque_pop(&thief_deque[0]));
	}
	threads[0] = mc_thread(thief, NULL);
	threads[1] = mc_thread(second_thief, NULL);
	mc_join(threads[0]);
	mc_join(threads[1]);
	add_stolen();
	finish(5);
}
