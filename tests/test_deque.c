/*
 * tests/test_deque.c - the run queue: order, growth, stealing by halves, memory that runs out, and
 * that every task comes out exactly once whoever takes.
 */
#include "sched/deque.h"

#include "tests/sched_support.h"

/* Tasks are only carried: any pointer will do. */
static skua_task *item(uintptr_t number)
{
	return (skua_task *)((number + 1) * 16);
}

static uintptr_t number_of(skua_task *task)
{
	T_NOT_NULL(task);
	return (uintptr_t)task / 16 - 1;
}

static void make(struct sk_deque *deque, uint64_t capacity)
{
	T_EQ(sk_deque_init(deque, capacity), 0);
}

static void fill(struct sk_deque *deque, uintptr_t from, uintptr_t count)
{
	for (uintptr_t i = 0; i < count; i++)
		T_ASSERT(sk_deque_push(deque, item(from + i)));
}

/* Pops `count` tasks, which must be numbered on from `from`. */
static void expect(struct sk_deque *deque, uintptr_t from, uintptr_t count)
{
	for (uintptr_t i = 0; i < count; i++)
		T_EQ(number_of(sk_deque_pop(deque)), from + i);
}

static uint64_t capacity_of(struct sk_deque *deque)
{
	return sk_load(&deque->ring, SK_RELAXED)->mask + 1;
}

/* An empty queue whose next index is `index`. */
static void start_at(struct sk_deque *deque, uint64_t index)
{
	sk_init(&deque->top, index);
	sk_init(&deque->bottom, index);
}

T_TEST(deque, pop_of_an_empty_queue_is_null)
{
	struct sk_deque deque;

	make(&deque, 4);
	T_NULL(sk_deque_pop(&deque));
	fill(&deque, 0, 1);
	expect(&deque, 0, 1);
	T_NULL(sk_deque_pop(&deque));
	T_NULL(sk_deque_pop(&deque));
	T_EQ(sk_deque_length(&deque), 0);
	sk_deque_destroy(&deque);
}

T_TEST(deque, tasks_come_out_in_the_order_they_went_in)
{
	struct sk_deque deque;

	make(&deque, 8);
	fill(&deque, 0, 3);
	expect(&deque, 0, 2);
	fill(&deque, 3, 5);
	expect(&deque, 2, 6);
	T_NULL(sk_deque_pop(&deque));
	T_EQ(capacity_of(&deque), 8);
	sk_deque_destroy(&deque);
}

T_TEST(deque, length_follows_pushes_pops_and_steals)
{
	struct sk_deque deque, thief;
	unsigned count;

	make(&deque, 4);
	make(&thief, 4);
	T_EQ(sk_deque_length(&deque), 0);
	for (unsigned i = 1; i <= 9; i++) {
		fill(&deque, i, 1);
		T_EQ(sk_deque_length(&deque), i);
	}
	expect(&deque, 1, 1);
	T_EQ(sk_deque_length(&deque), 8);
	T_NOT_NULL(sk_deque_steal(&deque, &thief, &count));
	T_EQ(sk_deque_length(&deque), 4);
	T_EQ(sk_deque_length(&thief), 3);
	sk_deque_destroy(&thief);
	sk_deque_destroy(&deque);
}

T_TEST(deque, a_queue_grows_when_it_is_full_and_not_before)
{
	/* The first task in each of the slots in turn, so that the ring is copied over its seam. */
	for (unsigned offset = 0; offset < 8; offset++) {
		struct sk_deque deque;
		struct sk_ring *ring;

		make(&deque, 8);
		ring = sk_load(&deque.ring, SK_RELAXED);
		fill(&deque, 1000, offset);
		expect(&deque, 1000, offset);
		fill(&deque, 0, 8);
		T_ASSERT(sk_load(&deque.ring, SK_RELAXED) == ring);
		fill(&deque, 8, 1);
		T_EQ(capacity_of(&deque), 16);
		T_ASSERT(sk_load(&deque.ring, SK_RELAXED)->older == ring);
		fill(&deque, 9, 7);
		T_EQ(capacity_of(&deque), 16);
		expect(&deque, 0, 16);
		T_NULL(sk_deque_pop(&deque));
		sk_deque_destroy(&deque);
	}
}

T_TEST(deque, room_that_pops_made_is_used_again)
{
	struct sk_deque deque;

	make(&deque, 4);
	fill(&deque, 0, 4);
	for (unsigned i = 0; i < 100; i++) {
		expect(&deque, i, 1);
		fill(&deque, i + 4, 1);
	}
	T_EQ(capacity_of(&deque), 4);
	expect(&deque, 100, 4);
	sk_deque_destroy(&deque);
}

T_TEST(deque, an_old_ring_keeps_what_was_in_it)
{
	struct sk_deque deque;
	struct sk_ring *old;

	make(&deque, 4);
	old = sk_load(&deque.ring, SK_RELAXED);
	fill(&deque, 0, 40);
	/* A thief that still holds the first ring finds the tasks of its indices there. */
	for (unsigned i = 0; i < 4; i++)
		T_EQ(number_of(sk_load(&old->slots[i], SK_RELAXED)), i);
	expect(&deque, 0, 40);
	sk_deque_destroy(&deque);
}

T_TEST(deque, capacities_of_one_and_two_work)
{
	for (uint64_t capacity = 1; capacity <= 2; capacity++) {
		struct sk_deque deque, thief;
		unsigned count;

		make(&deque, capacity);
		make(&thief, capacity);
		for (unsigned i = 0; i < 20; i++) {
			fill(&deque, i, 1);
			expect(&deque, i, 1);
		}
		T_EQ(capacity_of(&deque), capacity);
		fill(&deque, 0, 9);
		T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 0);
		T_EQ(count, 5);
		expect(&thief, 1, 4);
		expect(&deque, 5, 4);
		T_NULL(sk_deque_pop(&deque));
		sk_deque_destroy(&thief);
		sk_deque_destroy(&deque);
	}
}

T_TEST(deque, indices_beyond_31_32_and_63_bits_work)
{
	const uint64_t starts[] = {
		(UINT64_C(1) << 31) - 3, UINT64_C(1) << 31,       (UINT64_C(1) << 32) - 3,
		(UINT64_C(1) << 32) - 1, (UINT64_C(1) << 63) - 3, UINT64_C(1) << 63,
	};

	for (unsigned i = 0; i < sizeof starts / sizeof starts[0]; i++) {
		struct sk_deque deque, thief;
		unsigned count;

		make(&deque, 4);
		make(&thief, 2);
		start_at(&deque, starts[i]);
		start_at(&thief, starts[i]);
		T_NULL(sk_deque_pop(&deque));
		T_NULL(sk_deque_steal(&deque, &thief, &count));
		fill(&deque, 0, 20);
		T_EQ(sk_deque_length(&deque), 20);
		expect(&deque, 0, 4);
		T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 4);
		T_EQ(count, 8);
		expect(&thief, 5, 7);
		expect(&deque, 12, 8);
		T_NULL(sk_deque_pop(&deque));
		T_NULL(sk_deque_pop(&thief));
		sk_deque_destroy(&thief);
		sk_deque_destroy(&deque);
	}
}

/* ---- Stealing ---- */

T_TEST(deque, nothing_can_be_stolen_from_an_empty_queue)
{
	struct sk_deque deque, thief;
	unsigned count = 99;

	make(&deque, 4);
	make(&thief, 4);
	T_NULL(sk_deque_steal(&deque, &thief, &count));
	T_EQ(count, 0);
	fill(&deque, 0, 1);
	expect(&deque, 0, 1);
	count = 99;
	T_NULL(sk_deque_steal(&deque, &thief, &count));
	T_EQ(count, 0);
	T_EQ(sk_deque_length(&thief), 0);
	sk_deque_destroy(&thief);
	sk_deque_destroy(&deque);
}

T_TEST(deque, a_steal_takes_the_older_half_rounded_up)
{
	for (unsigned n = 1; n <= 70; n++) {
		struct sk_deque deque, thief;
		unsigned count, half = (n + 1) / 2;

		make(&deque, 16);
		make(&thief, 16);
		fill(&deque, 0, n);
		T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 0);
		T_EQ(count, half);
		T_EQ(sk_deque_length(&thief), half - 1);
		T_EQ(sk_deque_length(&deque), n - half);
		expect(&thief, 1, half - 1);
		T_NULL(sk_deque_pop(&thief));
		expect(&deque, half, n - half);
		T_NULL(sk_deque_pop(&deque));
		sk_deque_destroy(&thief);
		sk_deque_destroy(&deque);
	}
}

T_TEST(deque, a_steal_takes_no_more_than_the_limit)
{
	const unsigned sizes[] = {
		2 * SK_DEQUE_MAX_STEAL - 2, 2 * SK_DEQUE_MAX_STEAL - 1, 2 * SK_DEQUE_MAX_STEAL,
		2 * SK_DEQUE_MAX_STEAL + 1, 5 * SK_DEQUE_MAX_STEAL,
	};

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct sk_deque deque, thief;
		unsigned count, wanted = (sizes[i] + 1) / 2;

		if (wanted > SK_DEQUE_MAX_STEAL)
			wanted = SK_DEQUE_MAX_STEAL;
		make(&deque, SK_DEQUE_INITIAL);
		make(&thief, SK_DEQUE_INITIAL);
		fill(&deque, 0, sizes[i]);
		T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 0);
		T_EQ(count, wanted);
		/* One went to the caller: what is left fits into a new queue without growing. */
		T_EQ(capacity_of(&thief), SK_DEQUE_INITIAL);
		expect(&thief, 1, wanted - 1);
		expect(&deque, wanted, sizes[i] - wanted);
		sk_deque_destroy(&thief);
		sk_deque_destroy(&deque);
	}
}

T_TEST(deque, stolen_tasks_go_behind_the_thiefs_own)
{
	struct sk_deque deque, thief;
	unsigned count;

	make(&deque, 16);
	make(&thief, 16);
	fill(&thief, 500, 3);
	fill(&deque, 0, 8);
	T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 0);
	expect(&thief, 500, 3);
	expect(&thief, 1, 3);
	T_NULL(sk_deque_pop(&thief));
	expect(&deque, 4, 4);
	sk_deque_destroy(&thief);
	sk_deque_destroy(&deque);
}

T_TEST(deque, a_thiefs_queue_grows_for_what_it_takes)
{
	/* All fillings of a queue of four, from every place in the ring. */
	for (unsigned own = 0; own <= 4; own++)
		for (unsigned offset = 0; offset < 4; offset++) {
			struct sk_deque deque, thief;
			unsigned count;

			make(&deque, 128);
			make(&thief, 4);
			fill(&thief, 700, offset);
			expect(&thief, 700, offset);
			fill(&thief, 500, own);
			fill(&deque, 0, 100);
			T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 0);
			T_EQ(count, 50);
			T_EQ(capacity_of(&thief), 64);
			expect(&thief, 500, own);
			expect(&thief, 1, 49);
			T_NULL(sk_deque_pop(&thief));
			expect(&deque, 50, 50);
			sk_deque_destroy(&thief);
			sk_deque_destroy(&deque);
		}
}

/* ---- Without memory ---- */

T_TEST(deque, no_queue_is_made_without_memory)
{
	struct sk_deque deque;

	limit_memory();
	allow_allocations(0);
	T_EQ(sk_deque_init(&deque, 8), -ENOMEM);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(deque, a_push_that_cannot_grow_says_so_and_loses_nothing)
{
	struct sk_deque deque;

	limit_memory();
	make(&deque, 4);
	allow_allocations(0);
	fill(&deque, 0, 4);
	T_ASSERT(!sk_deque_push(&deque, item(99)));
	T_ASSERT(!sk_deque_push(&deque, item(99)));
	T_EQ(sk_deque_length(&deque), 4);
	expect(&deque, 0, 1);
	fill(&deque, 4, 1);
	T_ASSERT(!sk_deque_push(&deque, item(99)));
	allow_allocations(-1);
	fill(&deque, 5, 3);
	expect(&deque, 1, 7);
	T_NULL(sk_deque_pop(&deque));
	sk_deque_destroy(&deque);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(deque, a_thief_that_cannot_grow_takes_one)
{
	struct sk_deque deque, thief;
	unsigned count;

	limit_memory();
	make(&deque, 64);
	make(&thief, 2);
	fill(&deque, 0, 40);
	fill(&thief, 500, 2);
	allow_allocations(0);
	T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 0);
	T_EQ(count, 1);
	T_EQ(sk_deque_length(&thief), 2);
	T_EQ(sk_deque_length(&deque), 39);
	expect(&thief, 500, 2);
	/* Nineteen still do not fit into two, but three are two and the one that is returned. */
	T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 1);
	T_EQ(count, 1);
	expect(&deque, 2, 33);
	T_EQ(number_of(sk_deque_steal(&deque, &thief, &count)), 35);
	T_EQ(count, 3);
	expect(&thief, 36, 2);
	expect(&deque, 38, 2);
	sk_deque_destroy(&thief);
	sk_deque_destroy(&deque);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(deque, all_rings_are_freed)
{
	struct sk_deque deque;

	limit_memory();
	make(&deque, 2);
	fill(&deque, 0, 1000);
	T_EQ(blocks_in_use(), 10);
	expect(&deque, 0, 1000);
	sk_deque_destroy(&deque);
	T_EQ(blocks_in_use(), 0);
}

/* ---- Many threads ---- */

enum { THIEVES = 3, MAX_ITEMS = 400000 };

/* The cell behind a task: plain, so that ThreadSanitizer sees whether a hand-over has an order. */
static struct cell {
	uint32_t check;
	uint32_t taken;
} cells[MAX_ITEMS];

static struct stress {
	struct sk_deque queues[1 + THIEVES]; /* the owner's first */
	sk_thread threads[THIEVES];
	unsigned items;
	bool from_each_other;
	counter taken;
	counter stolen;
} stress;

static void take(skua_task *task)
{
	uintptr_t number = number_of(task);

	T_LT(number, stress.items);
	T_EQ(cells[number].check, number * 7 + 3);
	T_EQ(cells[number].taken, 0);
	cells[number].taken = 1;
	count_up(&stress.taken);
}

static void thief_main(void *argument)
{
	struct sk_deque *own = argument;
	uint32_t random = (uint32_t)(own - stress.queues);
	uintptr_t last = 0;

	while (count_of(&stress.taken) < stress.items) {
		unsigned victim = stress.from_each_other ? sk_random(&random) % (1 + THIEVES) : 0;
		unsigned count, rest;
		skua_task *task;

		if (&stress.queues[victim] == own)
			continue;
		task = sk_deque_steal(&stress.queues[victim], own, &count);
		if (task == NULL) {
			T_EQ(count, 0);
			sk_thread_yield();
			continue;
		}
		sk_fetch_add(&stress.stolen, 1, SK_RELAXED);
		for (rest = 1; task != NULL; task = sk_deque_pop(own), rest++) {
			/* With one source, whatever one thief gets is in the order of that. */
			if (!stress.from_each_other)
				T_GE(number_of(task), last);
			last = number_of(task);
			take(task);
			if (!stress.from_each_other)
				T_LE(rest, count);
			else if (rest % 4 == 0)
				sk_thread_yield();
		}
	}
}

static void run_stress(unsigned items, bool from_each_other)
{
	struct sk_deque *own = &stress.queues[0];
	uint32_t random = 12345;

	stress.items = items;
	stress.from_each_other = from_each_other;
	for (unsigned i = 0; i <= THIEVES; i++)
		make(&stress.queues[i], 2);
	for (unsigned i = 0; i < THIEVES; i++)
		T_EQ(sk_thread_start(&stress.threads[i], "thief", thief_main,
				     &stress.queues[i + 1]),
		     0);
	for (unsigned next = 0; next < items;) {
		unsigned burst = sk_random(&random) % 64;

		for (; burst > 0 && next < items; burst--, next++) {
			cells[next].check = next * 7 + 3;
			fill(own, next, 1);
		}
		/* What the last burst brings is left to the thieves. */
		for (burst = sk_random(&random) % 40; burst > 0 && next < items; burst--) {
			skua_task *task = sk_deque_pop(own);

			if (task != NULL)
				take(task);
		}
		if (sk_random(&random) % 8 == 0)
			sk_thread_yield();
	}
	EVENTUALLY(count_of(&stress.taken) == items);
	for (unsigned i = 0; i < THIEVES; i++)
		sk_thread_join(&stress.threads[i]);
	for (unsigned i = 0; i < items; i++)
		T_EQ(cells[i].taken, 1);
	T_GT(count_of(&stress.stolen), 0);
	T_GT(capacity_of(own), 2);
	for (unsigned i = 0; i <= THIEVES; i++) {
		T_NULL(sk_deque_pop(&stress.queues[i]));
		sk_deque_destroy(&stress.queues[i]);
	}
}

T_TEST(deque, stress_every_task_comes_out_once_and_in_order)
{
	run_stress(rounds_of(MAX_ITEMS), false);
}

T_TEST(deque, stress_thieves_steal_from_thieves)
{
	run_stress(rounds_of(MAX_ITEMS), true);
}

/* ---- One task, two who want it ---- */

static void last_task_thief(void *unused)
{
	(void)unused;
	while (count_of(&stress.taken) < stress.items) {
		unsigned count;
		skua_task *task = sk_deque_steal(&stress.queues[0], &stress.queues[1], &count);

		if (task == NULL)
			continue;
		T_EQ(count, 1);
		take(task);
	}
}

T_TEST(deque, stress_the_last_task_goes_to_one)
{
	unsigned items = rounds_of(MAX_ITEMS);

	stress.items = items;
	make(&stress.queues[0], 2);
	make(&stress.queues[1], 2);
	T_EQ(sk_thread_start(&stress.threads[0], "thief", last_task_thief, NULL), 0);
	for (unsigned i = 0; i < items; i++) {
		skua_task *task;

		cells[i].check = i * 7 + 3;
		fill(&stress.queues[0], i, 1);
		task = sk_deque_pop(&stress.queues[0]);
		if (task != NULL)
			take(task);
		T_EQ(sk_deque_length(&stress.queues[0]), 0);
	}
	sk_thread_join(&stress.threads[0]);
	for (unsigned i = 0; i < items; i++)
		T_EQ(cells[i].taken, 1);
	T_EQ(capacity_of(&stress.queues[0]), 2);
	sk_deque_destroy(&stress.queues[1]);
	sk_deque_destroy(&stress.queues[0]);
}
