/*
 * test_compose.c - groups of futures (skua/compose.h): what each kind is ready with, awaited in
 * each of the three ways; who is cancelled; fairness, the budget, and misuse.
 */
#include "memory_support.h"

#include "compose_support.h"

enum kind { JOIN, TRY_JOIN, SELECT, RACE, RACE_OK };

enum { MOST = 200 };

/* A group of steps. */
struct steps {
	struct step steps[MOST];
	skua_branch branches[MOST];
	size_t count;
	skua_group group;
};

static void add(struct steps *self, int waits, int64_t value)
{
	self->steps[self->count] = step_of(waits, value);
	self->branches[self->count] = (skua_branch){.future = &self->steps[self->count].future};
	self->count++;
}

static void make(struct steps *self, enum kind kind, unsigned order)
{
	skua_group *group = &self->group;
	skua_branch *branches = self->branches;
	int rc = -1;

	switch (kind) {
	case JOIN:
		rc = skua_group_join(group, branches, self->count);
		break;
	case TRY_JOIN:
		rc = skua_group_try_join(group, branches, self->count);
		break;
	case SELECT:
		rc = skua_group_select(group, branches, self->count, order);
		break;
	case RACE:
		rc = skua_group_race(group, branches, self->count, order);
		break;
	case RACE_OK:
		rc = skua_group_race_ok(group, branches, self->count, order);
		break;
	}
	T_EQ(rc, 0);
}

/* All have ended, and each knows its result. */
static void check_ended(const struct steps *self)
{
	for (size_t i = 0; i < self->count; i++) {
		T_EQ(self->steps[i].ended, 1);
		T_EQ(self->steps[i].dropped, 0);
		T_EQ(self->branches[i].result,
		     self->steps[i].cleaning ? -ECANCELED : self->steps[i].value);
	}
}

static void each_way(void (*test)(skua_runtime *rt, enum way way))
{
	skua_runtime *rt = runtime_of(2);

	for (enum way way = 0; way < WAYS; way++)
		test(rt, way);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Joins ---- */

static void joins(skua_runtime *rt, enum way way)
{
	for (int waits = 0; waits < 4; waits++) {
		struct steps steps = {.count = 0};

		add(&steps, waits, 5);
		add(&steps, 0, -EPIPE);
		add(&steps, 2, 7);
		make(&steps, JOIN, 0);
		T_EQ(steps.branches[0].result, SKUA_PENDING);
		T_EQ(await_by(way, rt, &steps.group.future), 0);
		check_ended(&steps);
		T_EQ(steps.branches[0].result, 5);
		T_EQ(steps.branches[1].result, -EPIPE);
		T_EQ(steps.steps[0].told + steps.steps[1].told + steps.steps[2].told, 0);
	}
}

T_TEST(group, join_awaits_all)
{
	each_way(joins);
}

static void joins_of_nothing(skua_runtime *rt, enum way way)
{
	skua_group group;

	T_EQ(skua_group_join(&group, NULL, 0), 0);
	T_EQ(await_by(way, rt, &group.future), 0);
	T_EQ(skua_group_try_join(&group, NULL, 0), 0);
	T_EQ(await_by(way, rt, &group.future), 0);
}

T_TEST(group, join_of_nothing_is_ready)
{
	each_way(joins_of_nothing);
}

static void tries(skua_runtime *rt, enum way way)
{
	struct steps good = {.count = 0}, bad = {.count = 0};

	add(&good, 1, 5);
	add(&good, 0, 6);
	make(&good, TRY_JOIN, 0);
	T_EQ(await_by(way, rt, &good.group.future), 0);
	check_ended(&good);

	add(&bad, FOREVER, 5);
	add(&bad, 2, -EPIPE);
	add(&bad, 1, 9);
	add(&bad, FOREVER, 5);
	bad.steps[0].cleanup = 3;
	make(&bad, TRY_JOIN, 0);
	T_EQ(await_by(way, rt, &bad.group.future), -EPIPE);
	check_ended(&bad);
	T_EQ(bad.steps[0].told, 1);
	T_EQ(bad.steps[2].told, 0);
	T_EQ(bad.branches[2].result, 9);
	T_EQ(bad.steps[3].told, 1);
}

T_TEST(group, try_join_ends_with_the_first_error)
{
	each_way(tries);
}

/* ---- The first one ---- */

static void select_one(skua_runtime *rt, enum way way, unsigned order, unsigned winner)
{
	struct steps steps = {.count = 0};

	for (unsigned i = 0; i < 5; i++)
		add(&steps, i == winner ? (int)winner : FOREVER, 10 + i);
	steps.steps[(winner + 1) % 5].cleanup = 4;
	make(&steps, SELECT, order);
	T_EQ(await_by(way, rt, &steps.group.future), winner);
	check_ended(&steps);
	for (unsigned i = 0; i < 5; i++) {
		T_EQ(steps.steps[i].told, i != winner);
		T_EQ(steps.branches[i].result, i == winner ? 10 + (int)i : -ECANCELED);
	}
}

static void selects(skua_runtime *rt, enum way way)
{
	for (unsigned winner = 0; winner < 5; winner++) {
		select_one(rt, way, SKUA_FAIR, winner);
		select_one(rt, way, SKUA_IN_ORDER, winner);
	}
}

T_TEST(group, select_gives_the_number_of_the_first)
{
	each_way(selects);
}

static void races(skua_runtime *rt, enum way way)
{
	struct steps steps = {.count = 0};

	add(&steps, FOREVER, 1);
	add(&steps, 1, -EPIPE);
	make(&steps, RACE, SKUA_FAIR);
	T_EQ(await_by(way, rt, &steps.group.future), -EPIPE);
	check_ended(&steps);
}

T_TEST(group, race_gives_the_result_of_the_first)
{
	each_way(races);
}

static void races_for_success(skua_runtime *rt, enum way way)
{
	struct steps steps = {.count = 0}, failing = {.count = 0};

	add(&steps, 0, -EPIPE);
	add(&steps, 3, 0);
	add(&steps, FOREVER, 1);
	make(&steps, RACE_OK, SKUA_FAIR);
	T_EQ(await_by(way, rt, &steps.group.future), 0);
	check_ended(&steps);
	T_EQ(steps.steps[0].told, 0);
	T_EQ(steps.steps[2].told, 1);

	add(&failing, 2, -EPIPE);
	add(&failing, 1, -EIO);
	make(&failing, RACE_OK, SKUA_FAIR);
	T_EQ(await_by(way, rt, &failing.group.future), -EIO);
	check_ended(&failing);
}

T_TEST(group, race_ok_passes_over_errors)
{
	each_way(races_for_success);
}

/* Of several that are ready, one wins, and the others keep what they have brought or are cancelled.
 * */
static void all_ready(skua_runtime *rt, enum way way)
{
	struct steps steps = {.count = 0};

	for (unsigned i = 0; i < 3; i++)
		add(&steps, 0, 10 + i);
	make(&steps, SELECT, SKUA_IN_ORDER);
	T_EQ(await_by(way, rt, &steps.group.future), 0);
	check_ended(&steps);
	T_EQ(steps.steps[1].told, 1);
	T_EQ(steps.steps[2].told, 1);
}

T_TEST(group, select_in_order_takes_the_lowest)
{
	each_way(all_ready);
}

/* ---- Many branches: the state of a group is more than one word ---- */

static void many(skua_runtime *rt, enum way way)
{
	static const unsigned counts[] = {1, 63, 64, 65, 127, 128, 129, MOST};

	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		static struct steps steps;
		unsigned winner = counts[c] - 1;

		steps.count = 0;
		for (unsigned i = 0; i < counts[c]; i++)
			add(&steps, i == winner ? 2 : FOREVER, i);
		make(&steps, SELECT, SKUA_FAIR);
		T_EQ(await_by(way, rt, &steps.group.future), winner);
		check_ended(&steps);
		steps.count = 0;
		for (unsigned i = 0; i < counts[c]; i++)
			add(&steps, (int)(i % 5), i);
		make(&steps, TRY_JOIN, 0);
		T_EQ(await_by(way, rt, &steps.group.future), 0);
		check_ended(&steps);
	}
}

T_TEST(group, many_branches)
{
	each_way(many);
}

/* ---- Groups in groups ---- */

static void nests(skua_runtime *rt, enum way way)
{
	struct steps joined = {.count = 0}, selected = {.count = 0};
	skua_branch branches[2];
	skua_group outer;

	add(&selected, FOREVER, 1);
	add(&selected, 2, 2);
	make(&selected, SELECT, SKUA_FAIR);
	add(&joined, FOREVER, 3);
	add(&joined, 1, 4);
	joined.steps[0].cleanup = 2;
	make(&joined, JOIN, 0);
	branches[0] = (skua_branch){.future = &joined.group.future};
	branches[1] = (skua_branch){.future = &selected.group.future};
	T_EQ(skua_group_race(&outer, branches, 2, SKUA_FAIR), 0);
	T_EQ(await_by(way, rt, &outer.future), 1);
	check_ended(&selected);
	check_ended(&joined);
	T_EQ(branches[0].result, -ECANCELED);
	T_EQ(joined.branches[0].result, -ECANCELED);
	T_EQ(joined.branches[1].result, 4);
}

T_TEST(group, a_race_of_a_join_and_a_select)
{
	each_way(nests);
}

/* As deep as an ordinary program goes, and more: one inside the other. */
T_TEST(group, nested_a_thousand_deep)
{
	enum { DEPTH = 1000 };
	static skua_group groups[DEPTH];
	static skua_branch branches[DEPTH];
	skua_runtime *rt = runtime_of(1);
	struct step step = step_of(3, 8);

	for (int i = 0; i < DEPTH; i++) {
		branches[i].future = i == 0 ? &step.future : &groups[i - 1].future;
		T_EQ(skua_group_race(&groups[i], &branches[i], 1, SKUA_FAIR), 0);
	}
	T_EQ(skua_block_on(rt, &groups[DEPTH - 1].future), 8);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Fairness and the budget ---- */

static int first_wins(skua_runtime *rt, enum way way, unsigned order, int selects)
{
	int wins = 0;

	for (int i = 0; i < selects; i++) {
		struct steps steps;

		steps.count = 0;
		add(&steps, 0, 0);
		add(&steps, 0, 1);
		make(&steps, SELECT, order);
		wins += await_by(way, rt, &steps.group.future) == 0;
	}
	return wins;
}

struct many_selects {
	unsigned order;
	int selects, wins;
};

/* So many of them in one poll. */
static skua_poll selects_in_a_row(skua_cx *cx, void *argument)
{
	struct many_selects *self = argument;

	for (; self->selects > 0; self->selects--) {
		struct steps steps;
		skua_poll result;

		steps.count = 0;
		add(&steps, 0, 0);
		add(&steps, 0, 1);
		make(&steps, SELECT, self->order);
		result = skua_poll_future(cx, &steps.group.future);
		if (result == SKUA_PENDING) /* the budget, before any branch was polled */
			return SKUA_PENDING;
		self->wins += result == 0;
	}
	return 0;
}

T_TEST(group, both_of_two_that_are_always_ready_win)
{
	enum { SELECTS = 10000 };
	skua_runtime *rt = runtime_of(1);
	struct many_selects fair = {SKUA_FAIR, SELECTS, 0}, order = {SKUA_IN_ORDER, SELECTS, 0};
	int by_hand;

	T_EQ(run(rt, selects_in_a_row, &fair), 0);
	T_GE(fair.wins, SELECTS * 45 / 100);
	T_LE(fair.wins, SELECTS * 55 / 100);
	T_EQ(run(rt, selects_in_a_row, &order), 0);
	T_EQ(order.wins, SELECTS);
	by_hand = first_wins(rt, BY_A_FOREIGN_EXECUTOR, SKUA_FAIR, 200);
	T_GE(by_hand, 50);
	T_LE(by_hand, 150);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Also in a group that is kept in several words: which branch is first says nothing about the word. */
T_TEST(group, each_of_many_that_are_always_ready_wins)
{
	enum { SELECTS = 8000, BRANCHES = 160 };
	static struct steps steps;
	skua_runtime *rt = runtime_of(1);
	int wins[BRANCHES] = {0};

	for (int i = 0; i < SELECTS; i++) {
		skua_poll winner;

		steps.count = 0;
		for (int branch = 0; branch < BRANCHES; branch++)
			add(&steps, 0, branch);
		make(&steps, SELECT, SKUA_FAIR);
		winner = skua_block_on(rt, &steps.group.future);
		T_ASSERT(winner >= 0 && winner < BRANCHES);
		wins[winner]++;
	}
	/* 50 are expected, with a deviation of 7. */
	for (int branch = 0; branch < BRANCHES; branch++)
		T_GE(wins[branch], 10);
	T_EQ(skua_runtime_free(rt), 0);
}

/* In each poll each branch that has not ended is polled once, whichever is the first, and whoever else
 * ends. */
T_TEST(group, each_branch_is_polled_once_in_a_poll)
{
	static const unsigned counts[] = {1, 2, 5, 63, 64, 65, 128, 160};
	static struct steps steps;

	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
		for (int round = 0; round < rounds(20); round++) {
			struct executor executor;
			skua_waker waker;
			skua_poll result;
			skua_cx cx;
			int polls = 0;

			executor_init(&executor);
			waker = executor_waker(&executor);
			skua_cx_init(&cx, NULL, &waker);
			steps.count = 0;
			for (unsigned i = 0; i < counts[c]; i++)
				add(&steps, (int)(i * 7 % 5), -EPIPE);
			make(&steps, RACE_OK, SKUA_FAIR);
			do {
				result = skua_poll_future(&cx, &steps.group.future);
				polls++;
				for (unsigned i = 0; i < counts[c]; i++)
					T_EQ(steps.steps[i].polls, polls <= (int)(i * 7 % 5)
									   ? polls
									   : (int)(i * 7 % 5) + 1);
			} while (result == SKUA_PENDING);
			T_EQ(result, -EPIPE);
			executor_check(&executor);
		}
}

/* ---- The budget ---- */

/* Takes so many units, if there are, and is ready at its second poll. */
struct spender {
	int units, polls;
};

static skua_poll spends(skua_cx *cx, void *argument)
{
	struct spender *self = argument;

	for (int i = 0; i < self->units; i++)
		T_EQ(skua_cx_budget(cx), 1);
	return self->polls++ > 0 ? 1 : SKUA_PENDING;
}

struct spending {
	struct spender spenders[3];
	int spent[2];
	struct call calls[3];
	skua_branch branches[3];
	skua_group group;
	skua_compose compose; /* or as a block */
	bool is_block;
};

static skua_poll spending(skua_cx *cx, struct spending *self)
{
	skua_poll result;

	if (!self->is_block)
		return skua_poll_future(cx, &self->group.future);
	SKUA_POLL_JOIN (result, cx, &self->compose, 3) {
		SKUA_BRANCH(0, spends(cx, &self->spenders[0]));
		SKUA_BRANCH(1, spends(cx, &self->spenders[1]));
		SKUA_BRANCH(2, spends(cx, &self->spenders[2]));
	}
	return result;
}

static skua_poll watches_the_budget(skua_cx *cx, void *argument)
{
	struct spending *self = argument;
	int32_t before = cx->budget;
	skua_poll result = spending(cx, self);

	self->spent[result == SKUA_PENDING ? 0 : 1] = before - cx->budget;
	if (result == SKUA_PENDING)
		skua_waker_wake_by_ref(skua_cx_waker(cx));
	return result;
}

/* What the branches take is taken from the task, and one unit for the whole. */
T_TEST(group, the_budget_pays_for_the_branches)
{
	skua_runtime *rt = runtime_of(1);

	for (int is_block = 0; is_block < 2; is_block++) {
		struct spending self = {.spenders = {{.units = 2}, {.units = 0}, {.units = 5}},
					.is_block = is_block};

		for (int i = 0; i < 3; i++) {
			self.calls[i] = call_of(spends, &self.spenders[i]);
			self.branches[i].future = &self.calls[i].future;
		}
		T_EQ(skua_group_join(&self.group, self.branches, 3), 0);
		T_EQ(run(rt, watches_the_budget, &self), 0);
		T_EQ(self.spent[0], 8);
		T_EQ(self.spent[1], 8);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* Many in many: each has one unit, though there are not so many. It is a debt afterwards. */
static skua_poll joins_of_joins(skua_cx *cx, void *left)
{
	enum { MANY = 64 };
	static struct spender spenders[MANY][MANY];
	static struct call calls[MANY][MANY];
	static skua_branch inner[MANY][MANY], outer[MANY];
	static skua_group groups[MANY], group;

	for (int i = 0; i < MANY; i++) {
		for (int j = 0; j < MANY; j++) {
			spenders[i][j] = (struct spender){.units = 1, .polls = 1};
			calls[i][j] = call_of(spends, &spenders[i][j]);
			inner[i][j] = (skua_branch){.future = &calls[i][j].future};
		}
		T_EQ(skua_group_join(&groups[i], inner[i], MANY), 0);
		outer[i] = (skua_branch){.future = &groups[i].future};
	}
	T_EQ(skua_group_join(&group, outer, MANY), 0);
	*(int *)left = cx->budget;
	T_EQ(skua_poll_future(cx, &group.future), 0);
	*(int *)left -= cx->budget;
	return 0;
}

T_TEST(group, what_is_spent_beyond_the_budget_is_not_forgotten)
{
	skua_runtime *rt = runtime_of(1);
	int spent = 0;

	T_EQ(run(rt, joins_of_joins, &spent), 0);
	T_EQ(spent, 64 * 64 + 64 + 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Goes on as long as there is budget. */
static skua_poll greedy(skua_cx *cx, void *argument)
{
	atomic_int *stop = argument;

	while (!atomic_load(stop))
		if (!skua_cx_budget(cx))
			return SKUA_PENDING;
	return 1;
}

struct modest {
	int left;
	atomic_int *stop;
};

/* Takes one unit in each poll, so many times. */
static skua_poll modest(skua_cx *cx, void *argument)
{
	struct modest *self = argument;

	if (!skua_cx_budget(cx))
		return SKUA_PENDING;
	if (--self->left > 0)
		return SKUA_PENDING;
	atomic_store(self->stop, 1);
	return 2;
}

/* The greedy one comes first in each poll, and yet the others get on; also if they are more than
 * the budget has units. */
static void with_a_greedy_one(unsigned count)
{
	static struct modest modests[MOST];
	static struct call calls[MOST];
	static skua_branch branches[MOST];
	atomic_int stop = 0;
	skua_runtime *rt = runtime_of(1);
	skua_group group;

	for (unsigned i = 0; i < count; i++) {
		modests[i] = (struct modest){20, &stop};
		calls[i] = i == 0 ? call_of(greedy, &stop) : call_of(modest, &modests[i]);
		branches[i] = (skua_branch){.future = &calls[i].future};
	}
	T_EQ(skua_group_join(&group, branches, count), 0);
	T_EQ(skua_block_on(rt, &group.future), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(group, a_greedy_branch_does_not_starve_the_others)
{
	with_a_greedy_one(2);
	with_a_greedy_one(10);
	with_a_greedy_one(MOST);
}

/* A loop over groups that are ready at once lets other tasks have their turn. */
static skua_poll selects_for_ever(skua_cx *cx, void *argument)
{
	atomic_int *stop = argument;

	while (!atomic_load(stop)) {
		struct many_selects one = {SKUA_FAIR, 1, 0};

		if (selects_in_a_row(cx, &one) == SKUA_PENDING)
			return SKUA_PENDING;
	}
	return 0;
}

static skua_poll set(skua_cx *cx, void *argument)
{
	(void)cx;
	atomic_store((atomic_int *)argument, 1);
	return 0;
}

T_TEST(group, one_that_is_always_ready_uses_budget)
{
	skua_runtime *rt = runtime_of(1);
	atomic_int stop = 0;
	skua_task *task = start(rt, selects_for_ever, &stop);

	T_EQ(run(rt, set, &stop), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Memory ---- */

static atomic_int allocations;

static void count_allocation(size_t size)
{
	(void)size;
	atomic_fetch_add(&allocations, 1);
}

static skua_poll counted(skua_cx *cx, void *argument)
{
	skua_poll result;

	memory_on_allocation = count_allocation;
	result = skua_poll_future(cx, argument);
	memory_on_allocation = NULL;
	return result;
}

T_TEST(group, nothing_is_allocated)
{
	static struct steps steps;
	skua_runtime *rt;

	memory_begin();
	rt = runtime_of(1);
	for (enum kind kind = JOIN; kind <= RACE_OK; kind++) {
		steps.count = 0;
		for (int i = 0; i < MOST; i++)
			add(&steps, i % 3 + (kind == SELECT), -i);
		make(&steps, kind, SKUA_FAIR);
		(void)run(rt, counted, &steps.group.future);
		check_ended(&steps);
	}
	T_EQ(allocations, 0);
	T_EQ(skua_runtime_free(rt), 0);
	memory_end();
}

/* ---- Misuse ---- */

T_TEST(group, bad_arguments)
{
	struct step step = step_of(0, 0);
	skua_branch branches[2] = {{.future = &step.future, .result = 4}, {.future = NULL}};
	skua_group group = {.future = {.line = 77}};

	T_EQ(skua_group_join(NULL, branches, 1), -EINVAL);
	T_EQ(skua_group_join(&group, NULL, 1), -EINVAL);
	T_EQ(skua_group_try_join(&group, branches, 2), -EINVAL);
	T_EQ(skua_group_select(&group, branches, 0, SKUA_FAIR), -EINVAL);
	T_EQ(skua_group_race(&group, branches, 0, SKUA_FAIR), -EINVAL);
	T_EQ(skua_group_race_ok(&group, branches, 0, SKUA_FAIR), -EINVAL);
	T_EQ(skua_group_select(&group, branches, 1, 2), -EINVAL);
	T_EQ(skua_group_join(&group, branches, (size_t)INT32_MAX + 1), -EINVAL);
	T_EQ(group.future.line, 77);
	T_EQ(branches[0].result, 4);
}

T_TEST(group, a_branch_of_its_own)
{
	skua_runtime *rt = runtime_of(1);
	skua_branch branch;
	skua_group group;

	branch = (skua_branch){.future = &group.future};
	T_EQ(skua_group_race(&group, &branch, 1, SKUA_FAIR), 0);
	T_EQ(skua_block_on(rt, &group.future), -EINVAL);
	/* And polled again after its end. */
	T_EQ(skua_block_on(rt, &group.future), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}
