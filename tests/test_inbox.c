/*
 * tests/test_inbox.c - the inbox: chains come out in the order in which they went in, whole, and
 * exactly once whoever takes.
 */
#include "sched/inbox.h"

#include "tests/sched_support.h"

enum { MOST = 40000, PUBLISHERS = 3, TAKERS = 2, LONGEST = 9 };

/* Only `next` and, as the publisher and the number within it, `size` and `result` are used. */
static skua_task tasks[PUBLISHERS][MOST];

static void add(struct sk_chain *chain, unsigned number)
{
	tasks[0][number].result = number;
	sk_chain_add(chain, &tasks[0][number]);
}

/* Publishes a chain of tasks `from` to `from + count - 1`. */
static void publish(struct sk_inbox *inbox, unsigned from, unsigned count)
{
	struct sk_chain chain = {0};

	for (unsigned i = 0; i < count; i++)
		add(&chain, from + i);
	T_EQ(chain.count, count);
	sk_inbox_push(inbox, &chain);
}

static void expect(skua_task *list, unsigned from, unsigned count)
{
	for (unsigned i = 0; i < count; i++, list = list->next) {
		T_NOT_NULL(list);
		T_EQ(list->result, from + i);
	}
	T_NULL(list);
}

T_TEST(inbox, nothing_comes_out_of_an_empty_one)
{
	struct sk_inbox inbox = {0};

	T_ASSERT(sk_inbox_empty(&inbox));
	T_NULL(sk_inbox_take(&inbox));
	publish(&inbox, 0, 1);
	T_NOT_NULL(sk_inbox_take(&inbox));
	T_NULL(sk_inbox_take(&inbox));
}

T_TEST(inbox, a_chain_knows_its_ends_and_its_length)
{
	struct sk_chain chain = {0};

	add(&chain, 0);
	T_ASSERT(chain.newest == &tasks[0][0] && chain.oldest == &tasks[0][0]);
	add(&chain, 1);
	add(&chain, 2);
	T_ASSERT(chain.newest == &tasks[0][2] && chain.oldest == &tasks[0][0]);
	T_EQ(chain.count, 3);
	T_ASSERT(tasks[0][2].next == &tasks[0][1]);
	T_ASSERT(tasks[0][1].next == &tasks[0][0]);
}

T_TEST(inbox, a_chain_comes_out_oldest_first)
{
	for (unsigned n = 1; n < 20; n++) {
		struct sk_inbox inbox = {0};

		publish(&inbox, 0, n);
		T_ASSERT(!sk_inbox_empty(&inbox));
		expect(sk_inbox_take(&inbox), 0, n);
		T_ASSERT(sk_inbox_empty(&inbox));
	}
}

T_TEST(inbox, chains_come_out_one_after_the_other)
{
	struct sk_inbox inbox = {0};

	publish(&inbox, 0, 3);
	publish(&inbox, 3, 1);
	publish(&inbox, 4, 6);
	publish(&inbox, 10, 2);
	expect(sk_inbox_take(&inbox), 0, 12);
}

T_TEST(inbox, what_comes_after_a_take_is_for_the_next)
{
	struct sk_inbox inbox = {0};

	publish(&inbox, 0, 5);
	expect(sk_inbox_take(&inbox), 0, 5);
	publish(&inbox, 5, 2);
	publish(&inbox, 7, 2);
	expect(sk_inbox_take(&inbox), 5, 4);
	T_NULL(sk_inbox_take(&inbox));
}

T_TEST(inbox, a_stale_link_of_the_oldest_task_is_replaced)
{
	struct sk_inbox inbox = {0};

	/* Tasks come from other lists, and bring their links along. */
	tasks[0][0].next = &tasks[0][7];
	publish(&inbox, 0, 1);
	expect(sk_inbox_take(&inbox), 0, 1);
	tasks[0][1].next = &tasks[0][7];
	publish(&inbox, 0, 3);
	expect(sk_inbox_take(&inbox), 0, 3);
}

/* ---- Many threads ---- */

static struct stress {
	struct sk_inbox inbox;
	unsigned each; /* tasks of each publisher */
	bool one_taker;
	counter taken;
	counter done;
} stress;

static void publisher_main(void *argument)
{
	skua_task *own = argument;
	uint32_t random = (uint32_t)((own - tasks[0]) / MOST) + 1, publisher = random - 1;

	for (unsigned next = 0; next < stress.each;) {
		unsigned length = 1 + sk_random(&random) % LONGEST;
		struct sk_chain chain = {0};

		for (; length > 0 && next < stress.each; length--, next++) {
			/* Plain writes: who takes the task must see them. */
			own[next].size = publisher;
			own[next].result = next;
			own[next].owned = false;
			sk_chain_add(&chain, &own[next]);
		}
		sk_inbox_push(&stress.inbox, &chain);
		if (length % 3 == 0)
			sk_thread_yield();
	}
}

static void taker_main(void *unused)
{
	int64_t last[PUBLISHERS];

	(void)unused;
	memset(last, -1, sizeof last);
	while (count_of(&stress.taken) < PUBLISHERS * stress.each) {
		skua_task *task = sk_inbox_take(&stress.inbox);

		if (task == NULL)
			sk_thread_yield();
		for (; task != NULL; task = task->next) {
			/* One taker sees every task of a publisher; of several each sees some. */
			if (stress.one_taker)
				T_EQ(task->result, last[task->size] + 1);
			else
				T_GT(task->result, last[task->size]);
			last[task->size] = task->result;
			T_ASSERT(!task->owned);
			task->owned = true;
			count_up(&stress.taken);
		}
	}
	count_up(&stress.done);
}

static void run_stress(unsigned takers)
{
	sk_thread publishers[PUBLISHERS], threads[TAKERS];

	stress.each = rounds_of(MOST);
	stress.one_taker = takers == 1;
	for (unsigned i = 0; i < takers; i++)
		T_EQ(sk_thread_start(&threads[i], "taker", taker_main, NULL), 0);
	for (unsigned i = 0; i < PUBLISHERS; i++)
		T_EQ(sk_thread_start(&publishers[i], "publisher", publisher_main, tasks[i]), 0);
	for (unsigned i = 0; i < PUBLISHERS; i++)
		sk_thread_join(&publishers[i]);
	EVENTUALLY(count_of(&stress.done) == takers);
	for (unsigned i = 0; i < takers; i++)
		sk_thread_join(&threads[i]);
	T_ASSERT(sk_inbox_empty(&stress.inbox));
	for (unsigned i = 0; i < PUBLISHERS; i++)
		for (unsigned j = 0; j < stress.each; j++)
			T_ASSERT(tasks[i][j].owned);
}

T_TEST(inbox, stress_one_taker_sees_every_publishers_order)
{
	run_stress(1);
}

T_TEST(inbox, stress_several_takers_get_each_task_once)
{
	run_stress(TAKERS);
}
