/*
 * tests/test_sched.c - the scheduler with its workers: every task runs once wherever it comes from,
 * and in a fair order.
 */
#include "sched/sched.h"

#include <errno.h>

#include "sched/worker.h"
#include "tests/step_support.h"

/* ---- Running ---- */

T_TEST(sched, begins_and_ends_with_nothing_to_do)
{
	for (uint32_t workers = 1; workers <= 5; workers++) {
		sched = start_sched(workers);
		EVENTUALLY(sk_idle_count(&sched->idle) == workers);
		T_EQ(end_sched(sched, 0), 0);
	}
	sched = start_sched(3);
	T_EQ(end_sched(sched, 0), 0);
	sched = new_sched(3);
	T_EQ(end_sched(sched, 0), 0);
}

T_TEST(sched, is_made_completely_or_not_at_all)
{
	struct sk_sched_options options = {.workers = 3, .blocking.threads = 1};
	int rc = -ENOMEM;
	int64_t allowed;

	limit_memory();
	for (allowed = 0; rc < 0; allowed++) {
		allow_allocations(allowed);
		rc = sk_sched_new(&options, &sched);
		T_ASSERT(rc == 0 || rc == -ENOMEM);
		T_ASSERT(rc == 0 || blocks_in_use() == 0);
		T_LT(allowed, 100);
	}
	T_GT(allowed, 5);
	allow_allocations(-1);
	T_EQ(sk_sched_free(sched), 0);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(sched, runs_a_task_and_keeps_its_result)
{
	skua_task *task;

	sched = start_sched(2);
	task = spawn_step(new_step(poll_number, 4711));
	T_EQ(skua_task_wait(&task), 4711);
	T_EQ(count_of(&polls), 1);
	T_EQ(end_sched(sched, 1000), 0);
	T_EQ(count_of(&dropped), 0);
}

T_TEST(sched, polls_a_lent_future_where_it_lies)
{
	struct step step = new_step(poll_number, 5);
	skua_task *task = NULL;

	sched = start_sched(1);
	T_EQ(sk_sched_spawn_reference(sched, &step.future, SK_NO_WAITER, &task), 0);
	T_ASSERT(task->future == &step.future);
	T_EQ(skua_task_wait(&task), 5);
	T_EQ(end_sched(sched, 1000), 0);
}

/* ---- Each task once ---- */

enum { MANY = 10000, SPAWNERS = 3 };

static counter ran[SPAWNERS * MANY];

static skua_poll run_once(skua_cx *cx, struct step *self)
{
	(void)cx;
	T_EQ(sk_fetch_add(&ran[self->number], 1, SK_RELAXED), 0);
	count_up(&ended);
	return 0;
}

static void spawner_main(void *argument)
{
	unsigned from = (unsigned)((counter *)argument - ran), many = rounds_of(MANY);

	for (unsigned i = 0; i < many; i++)
		spawn_detached(new_step(run_once, from + i));
}

T_TEST(sched, tasks_from_outside_run_once)
{
	unsigned many = rounds_of(MANY);
	sk_thread threads[SPAWNERS];
	skua_stats stats = {0};

	sched = start_sched(2);
	for (unsigned i = 0; i < SPAWNERS; i++)
		T_EQ(sk_thread_start(&threads[i], "spawner", spawner_main, &ran[i * MANY]), 0);
	for (unsigned i = 0; i < SPAWNERS; i++)
		sk_thread_join(&threads[i]);
	EVENTUALLY(count_of(&ended) == SPAWNERS * many);
	EVENTUALLY(sk_idle_count(&sched->idle) == 2);
	sk_sched_stats(sched, &stats);
	T_EQ(stats.spawned, SPAWNERS * many);
	T_EQ(stats.completed, SPAWNERS * many);
	T_EQ(stats.polls, SPAWNERS * many);
	T_EQ(stats.workers, 2);
	for (unsigned i = 0; i < SPAWNERS; i++)
		for (unsigned j = 0; j < many; j++)
			T_EQ(count_of(&ran[i * MANY + j]), 1);
	T_EQ(end_sched(sched, 1000), 0);
}

/* Runs the tasks `number` to `number + left - 1` as a tree. */
static skua_poll spawn_range(skua_cx *cx, struct step *self)
{
	uint64_t from = self->number, count = self->left;

	while (count > 1) {
		struct step half = new_step(spawn_range, from + count / 2);

		half.left = count - count / 2;
		spawn_detached(half);
		count /= 2;
	}
	self->number = from;
	return run_once(cx, self);
}

T_TEST(sched, tasks_from_tasks_run_once)
{
	struct step root = new_step(spawn_range, 0);

	root.left = SPAWNERS * rounds_of(MANY);
	for (uint32_t workers = 1; workers <= 3; workers++) {
		sk_store(&ended, 0, SK_RELEASE);
		for (unsigned i = 0; i < root.left; i++)
			sk_store(&ran[i], 0, SK_RELEASE);
		sched = start_sched(workers);
		spawn_detached(root);
		EVENTUALLY(count_of(&ended) == root.left);
		T_EQ(end_sched(sched, 10000), 0);
		for (unsigned i = 0; i < root.left; i++)
			T_EQ(count_of(&ran[i]), 1);
	}
}

/* A tree of tasks of which each awaits its two children: 2^left leaves. */
static skua_poll sum_of_tree(skua_cx *cx, struct step *self)
{
	skua_poll result;

	if (self->left == 0)
		return 1;
	if (self->child == NULL && self->other == NULL) {
		struct step half = new_step(sum_of_tree, 0);

		half.left = self->left - 1;
		self->child = spawn_step(half);
		self->other = spawn_step(half);
	}
	while (self->child != NULL) {
		result = skua_join(cx, &self->child);
		if (result == SKUA_PENDING)
			return result;
		self->number += (uint64_t)result;
		self->child = self->other;
		self->other = NULL;
	}
	return (skua_poll)self->number;
}

T_TEST(sched, stress_a_tree_of_joins_gives_the_right_sum)
{
	unsigned rounds = rounds_of(16);

	for (unsigned i = 0; i < rounds; i++) {
		struct step root = new_step(sum_of_tree, 0);
		skua_task *task;

		root.left = 10;
		sched = start_sched(1 + i % 4);
		task = spawn_step(root);
		T_EQ(skua_task_wait(&task), 1 << 10);
		T_EQ(end_sched(sched, 10000), 0);
	}
}

T_TEST(sched, no_memory_is_left_of_tasks_that_moved)
{
	limit_memory();
	for (unsigned i = 0; i < 4; i++) {
		struct step root = new_step(sum_of_tree, 0);
		skua_task *task;

		root.left = 8;
		sched = start_sched(3);
		task = spawn_step(root);
		T_EQ(skua_task_wait(&task), 1 << 8);
		T_EQ(end_sched(sched, 10000), 0);
		T_EQ(blocks_in_use(), 0);
	}
}

/* ---- Order ---- */

static unsigned order[4096], order_count;
static counter gate;

static skua_poll note_and_yield(skua_cx *cx, struct step *self)
{
	order[order_count++] = (unsigned)self->number;
	if (self->left-- == 0) {
		count_up(&ended);
		return 0;
	}
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

T_TEST(sched, tasks_that_yield_take_turns_in_order)
{
	enum { TASKS = 300, TURNS = 6 };

	sched = new_sched(1);
	for (unsigned i = 0; i < TASKS; i++) {
		struct step step = new_step(note_and_yield, i);

		step.left = TURNS - 1;
		spawn_detached(step);
	}
	T_EQ(sk_sched_start(sched), 0);
	EVENTUALLY(count_of(&ended) == TASKS);
	T_EQ(order_count, TASKS * TURNS);
	for (unsigned i = 0; i < TASKS * TURNS; i++)
		T_EQ(order[i], i % TASKS);
	T_EQ(end_sched(sched, 1000), 0);
}

static skua_poll just_note(skua_cx *cx, struct step *self)
{
	(void)cx;
	order[order_count++] = (unsigned)self->number;
	count_up(&ended);
	return 0;
}

/* Spawns 0, 1, 2 and 3. */
static skua_poll spawn_four(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	for (unsigned i = 0; i < 4; i++)
		spawn_detached(new_step(just_note, i));
	return 0;
}

T_TEST(sched, the_task_that_was_spawned_last_runs_next_and_the_others_in_order)
{
	static const unsigned expected[] = {3, 99, 0, 1, 2};

	sched = new_sched(1);
	spawn_detached(new_step(spawn_four, 0));
	spawn_detached(new_step(just_note, 99));
	T_EQ(sk_sched_start(sched), 0);
	EVENTUALLY(count_of(&ended) == 5);
	for (unsigned i = 0; i < 5; i++)
		T_EQ(order[i], expected[i]);
	T_EQ(end_sched(sched, 1000), 0);
}

/* Two that wake each other, for ever: each is always the hottest task. */
static skua_task *pair[2];

static skua_poll wake_partner(skua_cx *cx, struct step *self)
{
	(void)cx;
	if (count_of(&gate) != 0)
		return 0;
	count_up(&polls);
	sk_task_wake(pair[1 - self->number]);
	return SKUA_PENDING;
}

static skua_poll watch_the_pair(skua_cx *cx, struct step *self)
{
	uint64_t now = count_of(&polls);

	if (self->number > 0) {
		T_LE(now - self->number, 2 * (SK_LIFO_LIMIT + 1));
		T_GT(now, self->number);
	}
	self->number = now;
	if (--self->left == 0) {
		count_up(&gate);
		sk_task_wake(pair[0]);
		sk_task_wake(pair[1]);
		return 0;
	}
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

T_TEST(sched, two_that_wake_each_other_do_not_starve_a_third)
{
	struct step third = new_step(watch_the_pair, 0);

	third.left = 1000;
	sched = new_sched(1);
	pair[0] = spawn_step(new_step(wake_partner, 0));
	pair[1] = spawn_step(new_step(wake_partner, 1));
	spawn_detached(third);
	T_EQ(sk_sched_start(sched), 0);
	T_EQ(skua_task_wait(&pair[0]), 0);
	T_EQ(skua_task_wait(&pair[1]), 0);
	T_EQ(end_sched(sched, 1000), 0);
}

/* Yields until the gate opens. To its worker the polls seem short, also at first: with long ones it
 * would look into its inbox before each. */
static skua_poll yield_until_open(skua_cx *cx, struct step *self)
{
	struct sk_worker *worker = cx->worker;

	(void)self;
	sk_store(&worker->mean_poll_ns, 100, SK_RELAXED);
	count_up(&polls);
	if (count_of(&gate) != 0)
		return 0;
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

static skua_poll open_gate(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	count_up(&gate);
	return 0;
}

T_TEST(sched, tasks_that_yield_do_not_starve_those_from_outside)
{
	skua_task *tasks[3];

	sched = start_sched(1);
	for (unsigned i = 0; i < 3; i++)
		tasks[i] = spawn_step(new_step(yield_until_open, i));
	EVENTUALLY(count_of(&polls) > 100);
	spawn_detached(new_step(open_gate, 0));
	for (unsigned i = 0; i < 3; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(end_sched(sched, 1000), 0);
}

static skua_poll note_the_delay(skua_cx *cx, struct step *self)
{
	(void)cx;
	/* The other yielder may come between. */
	T_LE(count_of(&polls) - self->number, SK_INBOX_INTERVAL + 2);
	count_up(&gate);
	return 0;
}

/* In its hundredth poll one yielder leaves a task in the inbox, as somebody outside would. */
static skua_poll publish_and_yield(skua_cx *cx, struct step *self)
{
	struct sk_worker *worker = cx->worker;

	if (count_of(&polls) == 100) {
		struct step step = new_step(note_the_delay, 100);
		struct sk_chain chain = {0};

		sk_chain_add(&chain, sk_task_new(sched, &step.future, sizeof step, false));
		sk_count(&worker->spawned, 1);
		sk_inbox_push(&worker->inbox, &chain);
	}
	return yield_until_open(cx, self);
}

T_TEST(sched, an_inbox_beside_short_polls_waits_for_a_few_of_them)
{
	skua_task *tasks[2];

	sched = start_sched(1);
	for (unsigned i = 0; i < 2; i++)
		tasks[i] = spawn_step(new_step(publish_and_yield, i));
	for (unsigned i = 0; i < 2; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(end_sched(sched, 1000), 0);
}
