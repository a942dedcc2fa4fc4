/*
 * tests/test_priority.c - the classes of tasks: who runs first, how many polls a class waits for the
 * others at most, and that tasks of any class are found by every worker and survive every kind of wake.
 *
 * What one worker does is exact: its polls are written down, and compared with the order that worker.h
 * states.
 */
#include "tests/step_support.h"

#include <stdio.h>

#include "sched/lanes.h"
#include "sched/steal.h"

enum { NORMAL = SKUA_PRIORITY_NORMAL, INTERACTIVE = SKUA_PRIORITY_INTERACTIVE };
enum { BACKGROUND = SKUA_PRIORITY_BACKGROUND };
enum { POLLS = 4000 };

static unsigned trace[POLLS], traced; /* the numbers of the tasks in the order of their polls */
static counter gate, entered;

static skua_task *spawn_of(unsigned priority, struct step step)
{
	skua_spawn_options options = {.struct_size = sizeof options, .priority = priority};
	skua_task *task = NULL;

	T_EQ(sk_sched_spawn_with(sched, &step.future, &options, &task), 0);
	return task;
}

static void spawn_detached_of(unsigned priority, struct step step)
{
	skua_task *task = spawn_of(priority, step);

	skua_detach(&task);
}

/* Writes its number down; that of most tasks here is their class. */
static skua_poll note(skua_cx *cx, struct step *self)
{
	(void)cx;
	if (traced < POLLS)
		trace[traced++] = (unsigned)self->number;
	count_up(&ended);
	return 0;
}

/* The same again and again, until enough has been written down. */
static skua_poll note_for_ever(skua_cx *cx, struct step *self)
{
	if (traced == POLLS) {
		count_up(&ended);
		return 0;
	}
	trace[traced++] = (unsigned)self->number;
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

static void expect_trace(const unsigned *expected, unsigned count)
{
	EVENTUALLY(count_of(&ended) == count);
	T_EQ(traced, count);
	for (unsigned i = 0; i < count; i++)
		T_ASSERT_MSG(trace[i] == expected[i], "poll %u: %u, not %u", i, trace[i],
			     expected[i]);
	T_EQ(end_sched(sched, 1000), 0);
}

/* The most polls of others between two polls of one task. */
static unsigned longest_wait(unsigned number)
{
	unsigned longest = 0, wait = 0, found = 0;

	for (unsigned i = 0; i < traced; i++)
		if (trace[i] == number) {
			if (found++ > 0 && wait > longest)
				longest = wait;
			wait = 0;
		} else {
			wait++;
		}
	T_GT(found, 10);
	return longest;
}

/* Runs tasks that yield for ever, `counts` of each class, and writes their classes down. */
static void run_for_ever(unsigned normal, unsigned interactive, unsigned background)
{
	const unsigned counts[] = {normal, interactive, background};

	sched = new_sched(1);
	for (unsigned priority = 0; priority < 3; priority++)
		for (unsigned i = 0; i < counts[priority]; i++)
			spawn_detached_of(priority, new_step(note_for_ever, priority));
	T_EQ(sk_sched_start(sched), 0);
	EVENTUALLY(count_of(&ended) == normal + interactive + background);
	T_EQ(traced, POLLS);
	T_EQ(end_sched(sched, 1000), 0);
}

/* ---- The order on one worker ---- */

T_TEST(priority, classes_run_in_order_and_each_in_the_order_of_arrival)
{
	static const unsigned expected[] = {10, 11, 0, 1, 20, 21};

	sched = new_sched(1);
	for (unsigned i = 0; i < 2; i++) {
		spawn_detached_of(BACKGROUND, new_step(note, 20 + i));
		spawn_detached_of(NORMAL, new_step(note, 0 + i));
		spawn_detached_of(INTERACTIVE, new_step(note, 10 + i));
	}
	T_EQ(sk_sched_start(sched), 0);
	expect_trace(expected, 6);
}

/* Spawns tasks of all classes in one poll. */
static skua_poll spawn_some(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	spawn_detached_of(BACKGROUND, new_step(note, 20));
	spawn_detached_of(NORMAL, new_step(note, 0));
	spawn_detached_of(INTERACTIVE, new_step(note, 10));
	spawn_detached_of(NORMAL, new_step(note, 1));
	spawn_detached_of(INTERACTIVE, new_step(note, 11));
	spawn_detached_of(BACKGROUND, new_step(note, 21));
	return 0;
}

/* The LIFO slot is for normal tasks only. */
T_TEST(priority, classes_of_tasks_that_a_poll_has_spawned)
{
	static const unsigned expected[] = {10, 11, 1, 0, 20, 21};

	sched = start_sched(1);
	spawn_detached(new_step(spawn_some, 0));
	expect_trace(expected, 6);
}

/* Two tasks that a poll wakes; it has been told them. */
static skua_poll wake_two(skua_cx *cx, struct step *self)
{
	(void)cx;
	sk_task_wake(self->child);
	sk_task_wake(self->other);
	self->child = NULL;
	return 0;
}

static skua_poll pending_once(skua_cx *cx, struct step *self)
{
	if (self->left++ > 0)
		return note(cx, self);
	count_up(&entered);
	return SKUA_PENDING;
}

T_TEST(priority, tasks_that_a_poll_wakes_keep_their_class)
{
	static const unsigned expected[] = {INTERACTIVE, BACKGROUND};
	struct step step = new_step(wake_two, 0);
	skua_task *tasks[2];

	sched = start_sched(1);
	tasks[0] = spawn_of(BACKGROUND, new_step(pending_once, BACKGROUND));
	tasks[1] = spawn_of(INTERACTIVE, new_step(pending_once, INTERACTIVE));
	await_count(&entered, 2);
	step.child = tasks[0];
	step.other = tasks[1];
	spawn_detached(step);
	EVENTUALLY(count_of(&ended) == 2);
	for (int i = 0; i < 2; i++)
		skua_detach(&tasks[i]);
	expect_trace(expected, 2);
}

/* ---- The bounds, exactly ---- */

/* Of nine polls of these two classes eight are interactive; every 64th poll of all is background. */
T_TEST(priority, the_order_of_classes_that_never_run_dry)
{
	unsigned others = 0;

	run_for_ever(1, 1, 1);
	for (unsigned i = 0; i < POLLS; i++) {
		unsigned expected = BACKGROUND;

		if (i % SK_BACKGROUND_INTERVAL != SK_BACKGROUND_INTERVAL - 1)
			expected = others++ % 9 == 8 ? NORMAL : INTERACTIVE;
		T_ASSERT_MSG(trace[i] == expected, "poll %u: class %u, not %u", i, trace[i],
			     expected);
	}
	T_EQ(longest_wait(INTERACTIVE), 2);
	T_EQ(longest_wait(NORMAL), 9);
	T_EQ(longest_wait(BACKGROUND), 63);
}

T_TEST(priority, background_beside_normal_work_only)
{
	run_for_ever(5, 0, 1);
	T_EQ(longest_wait(BACKGROUND), 63);
}

T_TEST(priority, background_beside_interactive_work_only)
{
	run_for_ever(0, 5, 1);
	T_EQ(longest_wait(BACKGROUND), 63);
}

T_TEST(priority, normal_beside_many_interactive_tasks)
{
	run_for_ever(1, 30, 0);
	T_EQ(longest_wait(NORMAL), 8);
}

/* Runs for ever, and spawns a background task when there has been none for a while. */
static skua_poll spawn_background_late(skua_cx *cx, struct step *self)
{
	if (traced % 100 == 50)
		spawn_detached_of(BACKGROUND, new_step(note, BACKGROUND));
	return note_for_ever(cx, self);
}

/* It waits from when it came, and not from when the last one ran. */
T_TEST(priority, background_waits_from_its_arrival)
{
	sched = start_sched(1);
	spawn_detached_of(INTERACTIVE, new_step(spawn_background_late, INTERACTIVE));
	EVENTUALLY(count_of(&ended) == 1 + POLLS / 100);
	/* Spawned by poll 50, it is poll 114: 63 others come between. */
	for (unsigned i = 0; i < POLLS; i++)
		T_EQ(trace[i], i % 100 == 14 && i > 100 ? BACKGROUND : INTERACTIVE);
	T_EQ(end_sched(sched, 1000), 0);
}

/* With one class only there is nothing to wait for. */
T_TEST(priority, interactive_tasks_alone_take_turns)
{
	run_for_ever(0, 3, 0);
	T_EQ(longest_wait(INTERACTIVE), 0);
}

/* Two tasks that wake each other, by the LIFO slot. */
static skua_task *pair[2];

static skua_poll wake_the_other(skua_cx *cx, struct step *self)
{
	bool last = traced == POLLS;

	(void)cx;
	if (!last)
		trace[traced++] = 100;
	sk_task_wake(pair[1 - self->number]);
	if (last)
		count_up(&ended);
	return last ? 0 : SKUA_PENDING;
}

/* The head of the queue waits for three polls from the LIFO slot, for eight interactive ones before each
 * of these and its own, and for one of the background: 36. Before that it was second, behind one of the
 * pair, which waits for eight interactive polls and is polled: 9 more, since it was polled itself. */
T_TEST(priority, the_head_of_the_queue_behind_all_that_may_come_before_it)
{
	sched = new_sched(1);
	for (unsigned i = 0; i < 2; i++)
		pair[i] = spawn_of(NORMAL, new_step(wake_the_other, i));
	spawn_detached_of(NORMAL, new_step(note_for_ever, NORMAL));
	spawn_detached_of(INTERACTIVE, new_step(note_for_ever, INTERACTIVE));
	spawn_detached_of(BACKGROUND, new_step(note_for_ever, BACKGROUND));
	T_EQ(sk_sched_start(sched), 0);
	EVENTUALLY(count_of(&ended) == 5);
	T_EQ(longest_wait(NORMAL), 36 + 9);
	T_EQ(longest_wait(INTERACTIVE), 2);
	T_EQ(longest_wait(BACKGROUND), 63);
	for (unsigned i = 0; i < 2; i++)
		skua_detach(&pair[i]);
	T_EQ(end_sched(sched, 1000), 0);
}

/* Leaves a task in the inbox of its own worker, as the driver does. */
static skua_poll fill_inbox(skua_cx *cx, struct step *self)
{
	struct sk_chain chain = {0};

	if (traced == 100) {
		sk_chain_add(&chain, self->child);
		sk_inbox_push(&sched->workers[0]->inbox, &chain);
		self->child = NULL;
	}
	return note_for_ever(cx, self);
}

/* No class keeps the worker from its inbox for more than SK_INBOX_INTERVAL polls; there its tasks are at
 * the head of their lane or queue at once, here. */
static void wait_in_the_inbox(unsigned priority, unsigned bound)
{
	struct step busy = new_step(fill_inbox, INTERACTIVE), step = new_step(note, 100);
	unsigned i = 100;

	sched = new_sched(1);
	busy.child = sk_task_new(sched, &step, sizeof step, false);
	busy.child->priority = (uint8_t)priority;
	sk_fetch_add(&sched->foreign[0].spawned, 1, SK_RELAXED);
	spawn_detached_of(INTERACTIVE, busy);
	spawn_detached_of(NORMAL, new_step(note_for_ever, NORMAL));
	T_EQ(sk_sched_start(sched), 0);
	EVENTUALLY(count_of(&ended) == 3);
	while (i < POLLS && trace[i] != 100)
		i++;
	T_LE(i - 100, SK_INBOX_INTERVAL + bound);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(priority, an_interactive_task_in_the_inbox)
{
	wait_in_the_inbox(INTERACTIVE, 3);
}

T_TEST(priority, a_background_task_in_the_inbox)
{
	wait_in_the_inbox(BACKGROUND, 63);
}

/* ---- Several workers ---- */

static skua_poll wait_at_the_gate(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	count_up(&entered);
	await_count(&gate, 1);
	return 0;
}

/* Spawns `left` tasks of its class and keeps its worker busy until all have ended. */
static skua_poll hold_while_they_run(skua_cx *cx, struct step *self)
{
	(void)cx;
	for (uint64_t i = 0; i < self->left; i++)
		spawn_detached_of((unsigned)self->number, new_step(poll_number, 0));
	EVENTUALLY(count_of(&polls) == self->left);
	count_up(&ended);
	return 0;
}

static void others_take(unsigned priority, uint32_t workers)
{
	struct step step = new_step(hold_while_they_run, priority);
	skua_stats stats = {0};

	sched = start_sched(workers);
	EVENTUALLY(sk_idle_count(&sched->idle) == workers);
	step.left = 100;
	spawn_detached(step);
	EVENTUALLY(count_of(&ended) == 1);
	sk_sched_stats(sched, &stats);
	T_GE(stats.stolen, 100);
	T_EQ(end_sched(sched, 10000), 0);
}

T_TEST(priority, background_tasks_run_on_an_idle_worker)
{
	others_take(BACKGROUND, 2);
}

T_TEST(priority, interactive_tasks_run_on_an_idle_worker)
{
	others_take(INTERACTIVE, 2);
}

T_TEST(priority, several_idle_workers_share_a_lane)
{
	others_take(BACKGROUND, 4);
}

/* Keeps its worker busy until another one has run the other of the two. */
static skua_poll hold_until_the_other_runs(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	count_up(&entered);
	await_count(&entered, 2);
	count_up(&ended);
	return 0;
}

/* Somebody sleeps while a worker takes more out of its inbox than it runs next. */
static void the_inbox_is_offered(unsigned priority)
{
	struct step step = new_step(hold_until_the_other_runs, 0);
	struct sk_chain chain = {0};

	sched = start_sched(2);
	EVENTUALLY(sk_idle_count(&sched->idle) == 2);
	sk_store(&gate, 0, SK_RELEASE);
	sk_store(&entered, 0, SK_RELEASE);
	sk_store(&ended, 0, SK_RELEASE);
	spawn_detached(new_step(wait_at_the_gate, 0));
	await_count(&entered, 1);
	EVENTUALLY(sk_idle_count(&sched->idle) == 1);
	for (int i = 0; i < 2; i++) {
		skua_task *task = sk_task_new(sched, &step, sizeof step, false);

		task->priority = (uint8_t)priority;
		sk_chain_add(&chain, task);
	}
	sk_fetch_add(&sched->foreign[0].spawned, 2, SK_RELAXED);
	sk_inbox_push(&sched->workers[sk_idle_is_asleep(&sched->idle, 0)]->inbox, &chain);
	sk_store(&entered, 0, SK_RELEASE);
	count_up(&gate);
	EVENTUALLY(count_of(&ended) == 2);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(priority, what_comes_from_the_inbox_is_offered_to_others)
{
	for (unsigned priority = 0; priority < 3; priority++)
		the_inbox_is_offered(priority);
}

/* Two workers whose threads do not run. */
static void put(unsigned worker, unsigned priority, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct step step = new_step(note, priority);
		skua_task *task = sk_task_new(sched, &step, sizeof step, false);

		task->priority = (uint8_t)priority;
		sk_fetch_add(&sched->foreign[0].spawned, 1, SK_RELAXED);
		sk_worker_push(sched->workers[worker], task);
	}
}

static unsigned length(unsigned worker, unsigned priority)
{
	if (priority == NORMAL)
		return (unsigned)sk_deque_length(&sched->workers[worker]->deque);
	return (unsigned)sk_lane_length(&sched->workers[worker]->lanes, priority);
}

T_TEST(priority, thieves_take_half_of_the_most_urgent_class_into_the_same_lane)
{
	static const unsigned order[] = {INTERACTIVE, NORMAL, BACKGROUND};
	skua_task *stolen[9];

	sched = new_sched(2);
	for (unsigned priority = 0; priority < 3; priority++)
		put(0, priority, 4);
	/* Of four two are taken, then one, then the last. */
	for (unsigned i = 0; i < 9; i++) {
		stolen[i] = sk_steal(sched->workers[1]);
		T_NOT_NULL(stolen[i]);
		T_EQ(stolen[i]->priority, order[i / 3]);
		T_EQ(length(0, order[i / 3]), 2 - i % 3);
		T_EQ(length(1, order[i / 3]), 1);
	}
	T_NULL(sk_steal(sched->workers[1]));
	for (unsigned i = 0; i < 9; i++)
		sk_worker_push(sched->workers[0], stolen[i]);
	T_EQ(sk_sched_free(sched), 12);
}

/* The background of one worker comes after all that the others have. */
T_TEST(priority, background_is_stolen_last_of_all_workers)
{
	sched = new_sched(4);
	put(0, BACKGROUND, 20);
	put(1, BACKGROUND, 20);
	put(2, NORMAL, 1);
	for (unsigned i = 0; i < 2; i++) {
		skua_task *task = sk_steal(sched->workers[3]);

		T_EQ(task->priority, i == 0 ? NORMAL : BACKGROUND);
		sk_worker_push(sched->workers[3], task);
	}
	T_EQ(sk_sched_free(sched), 41);
}

/* What counts as work that another worker could take. */
T_TEST(priority, a_task_in_a_lane_is_a_backlog)
{
	for (unsigned priority = 0; priority < 3; priority++) {
		sched = new_sched(1);
		T_ASSERT(!sk_worker_has_backlog(sched->workers[0]));
		put(0, priority, 1);
		T_ASSERT(sk_worker_has_backlog(sched->workers[0]));
		T_EQ(sk_sched_free(sched), 1);
	}
}

/* ---- Many at once ---- */

enum { LEAVES = 4096 };

static counter ran[LEAVES];

/* A tree whose tasks have all classes; each gives way now and then, so that it moves. */
static skua_poll grow(skua_cx *cx, struct step *self)
{
	if (self->other == NULL && self->number % 3 == 0) {
		self->other = self;
		sk_task_wake(cx->task);
		return SKUA_PENDING;
	}
	while (self->left > 1) {
		struct step half = new_step(grow, self->number + self->left / 2);

		half.left = self->left - self->left / 2;
		self->left /= 2;
		spawn_detached_of((unsigned)(half.number % 3), half);
	}
	T_EQ(sk_fetch_add(&ran[self->number], 1, SK_RELAXED), 0);
	count_up(&ended);
	return 0;
}

T_TEST(priority, stress_tasks_of_all_classes_run_once)
{
	for (uint32_t workers = 1; workers <= 4; workers++) {
		uint64_t until = end_of_rounds();

		do {
			struct step root = new_step(grow, 0);

			root.left = LEAVES;
			sk_store(&ended, 0, SK_RELEASE);
			for (unsigned i = 0; i < LEAVES; i++)
				sk_store(&ran[i], 0, SK_RELEASE);
			sched = start_sched(workers);
			spawn_detached_of(workers % 3, root);
			EVENTUALLY(count_of(&ended) == LEAVES);
			T_EQ(end_sched(sched, 10000), 0);
		} while (sk_now() < until);
	}
}

/* Each worker is kept busy by interactive tasks that yield until all others have ended. */
static skua_poll until_others_ended(skua_cx *cx, struct step *self)
{
	if (count_of(&ended) >= self->number)
		return 0;
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

T_TEST(priority, nobody_starves_beside_interactive_tasks_that_yield_for_ever)
{
	sched = start_sched(2);
	for (unsigned i = 0; i < 8; i++)
		spawn_detached_of(INTERACTIVE, new_step(until_others_ended, 2000));
	for (unsigned i = 0; i < 1000; i++) {
		spawn_detached_of(NORMAL, new_step(be_busy, 0));
		spawn_detached_of(BACKGROUND, new_step(be_busy, 0));
	}
	EVENTUALLY(count_of(&ended) == 2000);
	T_EQ(end_sched(sched, 10000), 0);
}

/* ---- Without memory ---- */

/* With `allowed` allocations, which are not enough for lanes, tasks run all the same; the queue, which has
 * no classes, is where they go. */
static void without_memory(int64_t allowed, bool has_lanes)
{
	sk_store(&entered, 0, SK_RELEASE);
	sk_store(&gate, 0, SK_RELEASE);
	sk_store(&ended, 0, SK_RELEASE);
	traced = 0;
	sched = start_sched(1);
	spawn_detached(new_step(wait_at_the_gate, 0));
	await_count(&entered, 1);
	spawn_detached_of(BACKGROUND, new_step(note, BACKGROUND));
	spawn_detached_of(INTERACTIVE, new_step(note, INTERACTIVE));
	allow_allocations(allowed);
	count_up(&gate);
	EVENTUALLY(count_of(&ended) == 2);
	allow_allocations(-1);
	T_EQ(sk_lanes_exist(&sched->workers[0]->lanes), has_lanes);
	T_EQ(trace[0], has_lanes ? INTERACTIVE : BACKGROUND);
	T_EQ(end_sched(sched, 1000), 0);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(priority, tasks_of_all_classes_run_without_memory_for_lanes)
{
	limit_memory();
	for (int64_t allowed = 0; allowed < 3; allowed++)
		without_memory(allowed, false);
	without_memory(3, true);
}

/* A thief without memory for a lane takes what it can. */
T_TEST(priority, a_thief_without_memory_for_lanes)
{
	skua_task *task;

	limit_memory();
	sched = new_sched(2);
	put(0, BACKGROUND, 4);
	allow_allocations(0);
	task = sk_steal(sched->workers[1]);
	T_NOT_NULL(task);
	T_EQ(length(1, NORMAL), 1);
	T_EQ(length(0, BACKGROUND), 2);
	allow_allocations(-1);
	sk_worker_push(sched->workers[1], task);
	T_EQ(sk_sched_free(sched), 4);
	T_EQ(blocks_in_use(), 0);
}

/* ---- The end, and what is said of it ---- */

/* Fills the lanes of its worker, which does not come to them before the scheduler is stopped. */
static skua_poll fill_and_wait(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	for (unsigned priority = 0; priority < 3; priority++)
		for (unsigned i = 0; i < 100; i++)
			spawn_detached_of(priority, new_step(note, priority));
	count_up(&entered);
	while (sk_load(&sched->phase, SK_ACQUIRE) != SK_PHASE_STOPPED)
		sk_thread_yield();
	return 0;
}

T_TEST(priority, tasks_in_lanes_are_dropped_when_the_scheduler_is_freed)
{
	limit_memory();
	sched = start_sched(1);
	spawn_detached(new_step(fill_and_wait, 0));
	await_count(&entered, 1);
	T_EQ(end_sched(sched, 0), 300);
	T_EQ(count_of(&dropped), 300);
	T_EQ(count_of(&ended), 0);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(priority, dump_says_which_lane_a_task_is_in)
{
	char text[8192];
	FILE *file = fmemopen(text, sizeof text, "w");

	T_NOT_NULL(file);
	sched = new_sched(1);
	for (unsigned priority = 0; priority < 3; priority++)
		put(0, priority, priority + 1);
	sk_sched_dump(sched, file);
	fclose(file);
	T_NOT_NULL(strstr(text, "queue 1, interactive 2, background 3"));
	T_NOT_NULL(strstr(text, "in the interactive lane, worker 0"));
	T_NOT_NULL(strstr(text, "in the background lane, worker 0"));
	T_EQ(sk_sched_free(sched), 6);
}
