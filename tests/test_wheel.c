/*
 * test_wheel.c - the timing wheel: single entries at the edges of its levels, and millions of random
 * operations beside a sorted list.
 */
#include "sched/wheel.h"

#include <stdlib.h>

#include "harness.h"

#define TICK (UINT64_C(1) << SK_TICK_BITS)

static struct sk_wheel wheel;

static void empty_wheel(void)
{
	memset(&wheel, 0, sizeof wheel);
}

/* ---- Single entries ---- */

/* The beginnings of slots of each level, the ends of time, and what lies beside them. */
static unsigned edges(uint64_t *moments)
{
	unsigned count = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t power = UINT64_C(1) << bit;

		moments[count++] = power - 1;
		moments[count++] = power;
		moments[count++] = power + 1;
	}
	moments[count++] = UINT64_MAX - 1;
	moments[count++] = UINT64_MAX;
	return count;
}

enum { MOST_EDGES = 3 * 64 + 2 };

/* One entry in a wheel that is at `start` comes out at its moment and not before, however time goes. */
static void comes_out_at(uint64_t start, uint64_t moment)
{
	struct sk_wheel_entry entry = {0};
	uint64_t now = start;
	unsigned turns = 0;

	empty_wheel();
	T_NULL(sk_wheel_take(&wheel, start));
	sk_wheel_insert(&wheel, &entry, moment);
	T_ASSERT(sk_wheel_holds(&entry));
	if (moment > start)
		T_NULL(sk_wheel_take(&wheel, moment - 1));
	/* From one announced moment to the next: it is never announced too late. */
	while (sk_wheel_holds(&entry)) {
		uint64_t next = sk_wheel_next(&wheel);

		T_ASSERT_MSG(next <= moment || next <= now, "moment %" PRIu64 ", next %" PRIu64,
			     moment, next);
		if (now < next)
			now = next;
		T_LT(turns++, SK_WHEEL_LEVELS + 1);
		(void)sk_wheel_take(&wheel, now);
	}
	T_ASSERT(now == (moment > start ? moment : start));
	T_ASSERT(sk_wheel_next(&wheel) == SK_WHEEL_NEVER);
}

T_TEST(wheel, each_edge_from_each_other)
{
	uint64_t moments[MOST_EDGES];
	unsigned count = edges(moments);

	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < count; j++)
			comes_out_at(moments[i], moments[j]);
}

T_TEST(wheel, a_removed_one_is_gone)
{
	uint64_t moments[MOST_EDGES];
	unsigned count = edges(moments);

	empty_wheel();
	for (unsigned i = 0; i < count; i++) {
		struct sk_wheel_entry entry = {0};

		sk_wheel_insert(&wheel, &entry, moments[i]);
		sk_wheel_remove(&wheel, &entry);
		T_ASSERT(!sk_wheel_holds(&entry));
		T_ASSERT(sk_wheel_next(&wheel) == SK_WHEEL_NEVER);
	}
	T_NULL(sk_wheel_take(&wheel, UINT64_MAX));
}

T_TEST(wheel, the_same_moment_comes_out_in_the_order_of_going_in)
{
	enum { N = 1000 };
	static struct sk_wheel_entry entries[N];
	const uint64_t moment = 5000 * TICK + 7;

	empty_wheel();
	/* Time goes on between the insertions, so they go to different levels. */
	for (unsigned i = 0; i < N; i++) {
		T_NULL(sk_wheel_take(&wheel, i * 5 * TICK));
		sk_wheel_insert(&wheel, &entries[i], moment);
	}
	for (unsigned i = 0; i < N; i++)
		T_ASSERT(sk_wheel_take(&wheel, moment) == &entries[i]);
	T_NULL(sk_wheel_take(&wheel, moment));
}

T_TEST(wheel, one_that_is_due_can_still_be_removed)
{
	struct sk_wheel_entry entries[3] = {{0}};

	empty_wheel();
	for (unsigned i = 0; i < 3; i++)
		sk_wheel_insert(&wheel, &entries[i], 10);
	T_ASSERT(sk_wheel_take(&wheel, 10) == &entries[0]);
	T_ASSERT(sk_wheel_next(&wheel) == 10);
	sk_wheel_remove(&wheel, &entries[1]);
	T_ASSERT(sk_wheel_take(&wheel, 10) == &entries[2]);
	T_ASSERT(sk_wheel_next(&wheel) == SK_WHEEL_NEVER);
}

/* ---- Beside a sorted list ---- */

enum { LIVE = 192 };

struct listed {
	struct sk_wheel_entry entry;
	uint64_t order;
};

static struct {
	struct listed pool[LIVE];
	struct listed *sorted[LIVE]; /* by moment, then by order */
	unsigned count;
	uint64_t now, inserted, random;
} list;

static uint64_t next_random(void)
{
	list.random ^= list.random << 13;
	list.random ^= list.random >> 7;
	list.random ^= list.random << 17;
	return list.random;
}

/* Often near, sometimes anywhere, often on an edge of a level. */
static uint64_t random_moment(void)
{
	uint64_t length = next_random() >> (next_random() % 64), moment = list.now + length;
	uint64_t edge = UINT64_C(1) << (next_random() % 64);

	switch (next_random() % 8) {
	case 0:
		moment = moment / edge * edge;
		break;
	case 1:
		moment = moment / edge * edge - 1;
		break;
	case 2:
		return list.now - (length < list.now ? length : list.now); /* long ago */
	default:
		break;
	}
	return moment < list.now ? UINT64_MAX - next_random() % 2 : moment;
}

static void insert(void)
{
	struct listed *new = list.pool;
	uint64_t moment = random_moment();
	unsigned at = list.count;

	while (sk_wheel_holds(&new->entry))
		new ++;
	new->order = list.inserted++;
	sk_wheel_insert(&wheel, &new->entry, moment);
	for (; at > 0 && list.sorted[at - 1]->entry.moment > moment; at--)
		list.sorted[at] = list.sorted[at - 1];
	list.sorted[at] = new;
	list.count++;
}

static void forget(unsigned at)
{
	list.count--;
	for (; at < list.count; at++)
		list.sorted[at] = list.sorted[at + 1];
}

static void remove_any(void)
{
	unsigned at = (unsigned)(next_random() % list.count);

	sk_wheel_remove(&wheel, &list.sorted[at]->entry);
	forget(at);
}

/* Time goes on, and what comes out is what the list says. */
static unsigned let_time_pass(void)
{
	uint64_t next = sk_wheel_next(&wheel), step = next_random() >> (next_random() % 64);
	uint64_t before = list.now;
	struct sk_wheel_entry *entry;
	unsigned taken = 0;

	if (list.count > 0)
		T_ASSERT(next <= list.sorted[0]->entry.moment || next <= list.now);
	else
		T_ASSERT(next == SK_WHEEL_NEVER);
	list.now = step < UINT64_MAX - before ? before + step : UINT64_MAX;
	if (next_random() % 2 == 0 && next != SK_WHEEL_NEVER && next > before)
		list.now = next;
	while ((entry = sk_wheel_take(&wheel, list.now)) != NULL) {
		struct listed *listed = (struct listed *)(void *)entry;

		T_ASSERT(entry->moment <= list.now && !sk_wheel_holds(entry));
		T_ASSERT(list.sorted[0] == listed);
		forget(0);
		taken++;
	}
	if (list.count > 0)
		T_ASSERT(list.sorted[0]->entry.moment > list.now);
	return taken;
}

static uint64_t play(uint64_t seed, uint64_t operations)
{
	uint64_t done = 0;

	memset(&list, 0, sizeof list);
	empty_wheel();
	list.random = seed;
	/* Anywhere in time, so that no digit of the position is always 0. */
	list.now = next_random() >> (next_random() % 64);
	T_NULL(sk_wheel_take(&wheel, list.now));
	while (done < operations && list.now < UINT64_MAX) {
		uint64_t what = next_random() % 16;

		if (what < 8 && list.count < LIVE)
			insert();
		else if (what < 13 && list.count > 0)
			remove_any();
		else if (what == 15)
			done += let_time_pass();
		done++;
	}
	return done;
}

T_TEST_T(wheel, ten_million_operations_beside_a_sorted_list, 120)
{
	const uint64_t wanted = T_QUICK || T_SANITIZED ? 1000000 : 10000000;
	uint64_t done = 0, seed = 88172645463325252u;

	/* Each game ends with time itself. */
	while (done < wanted)
		done += play(seed++, wanted - done);
}

/* The clock has been paused at a moment before the one that the wheel has seen already. */
T_TEST(wheel, what_is_due_comes_out_though_the_clock_went_back)
{
	struct sk_wheel_entry entry = {0};

	empty_wheel();
	T_NULL(sk_wheel_take(&wheel, 20 * TICK));
	sk_wheel_insert(&wheel, &entry, 18 * TICK + 7);
	T_ASSERT(sk_wheel_next(&wheel) == 18 * TICK + 7);
	T_NULL(sk_wheel_take(&wheel, 18 * TICK + 6));
	T_ASSERT(sk_wheel_take(&wheel, sk_wheel_next(&wheel)) == &entry);
}
