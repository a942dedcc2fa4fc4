/* kernel_inbox.c - the inbox: publishers against the owner and a thief, who both take it whole. */
#include "sched/inbox.h"
#include "tests/model/explorer.h"

enum { ITEMS = 4 };

static struct sk_inbox inbox;
static skua_task items[ITEMS];
static int taken[ITEMS];

static unsigned number_of(const skua_task *task)
{
	return (unsigned)(task - items);
}

/* Items first to first + count - 1, in this order, as one chain. */
static void publish(unsigned first, unsigned count)
{
	struct sk_chain chain = {0};

	for (unsigned i = first; i < first + count; i++) {
		items[i].result = (int64_t)i + 100;
		sk_chain_add(&chain, &items[i]);
	}
	sk_inbox_push(&inbox, &chain);
}

/* Takes the list; what one publisher has put in comes out in its order. The items of publisher p are
 * 2 p and 2 p + 1. */
static void take(void *unused)
{
	skua_task *task = sk_inbox_take(&inbox);
	unsigned last[2] = {0};

	(void)unused;
	for (; task != NULL; task = task->next) {
		unsigned i = number_of(task);

		mc_assert(task->result == (int64_t)i + 100);
		mc_assert(last[i / 2] <= i);
		last[i / 2] = i;
		taken[i]++;
	}
}

static void finish(unsigned count)
{
	take(NULL);
	mc_assert(sk_inbox_empty(&inbox));
	for (unsigned i = 0; i < count; i++)
		mc_assert(taken[i] == 1);
}

static void publisher(void *argument)
{
	publish(2 * (unsigned)(uintptr_t)argument, 2);
}

static void publisher_one_by_one(void *argument)
{
	unsigned first = 2 * (unsigned)(uintptr_t)argument;

	publish(first, 1);
	publish(first + 1, 1);
}

MC_SCENARIO(inbox, a_chain_against_the_owner)
{
	mc_start(publisher, 0);
	take(NULL);
	take(NULL);
	mc_join_all();
	finish(2);
}

MC_SCENARIO(inbox, one_by_one_against_the_owner)
{
	mc_start(publisher_one_by_one, 0);
	take(NULL);
	take(NULL);
	mc_join_all();
	finish(2);
}

MC_SCENARIO(inbox, two_publishers_against_the_owner)
{
	mc_start(publisher, 0);
	mc_start(publisher_one_by_one, 1);
	take(NULL);
	mc_join_all();
	finish(4);
}

MC_SCENARIO(inbox, publisher_against_owner_and_thief)
{
	mc_start(publisher_one_by_one, 0);
	mc_start(take, 0);
	take(NULL);
	mc_join_all();
	finish(2);
}

/* What was there before goes to one of two who take it. */
MC_SCENARIO(inbox, owner_against_thief)
{
	publish(0, 2);
	mc_start(take, 0);
	take(NULL);
	mc_join_all();
	finish(2);
}
