/*
 * tests/test_sched.c - the scheduler with its workers: every task runs once wherever it comes from,
 * in a fair order, is stolen when others have time, is helped out from behind a stuck worker, and
 * ends with the scheduler whatever state it is in. There is no driver: the tests play it.
 */
#include "sched/sched.h"

#include "sched/guard.h"
#include "skua/task.h"
#include "tests/sched_support.h"

static struct sk_sched *sched;

static counter polls, ended, cancelled, dropped, gate;

/* A future whose poll function is its field: one kind for all tests. */
struct step {
	skua_future future;
	skua_poll (*poll)(skua_cx *cx, struct step *self);
	uint64_t number;
	uint64_t left;
	skua_task *child;
	void *other;
};

static skua_poll step_poll(skua_cx *cx, skua_future *future)
{
	struct step *self = (struct step *)(void *)future;

	return self->poll(cx, self);
}

static void step_drop(skua_future *future)
{
	struct step *self = (struct step *)(void *)future;

	count_up(&dropped);
	skua_detach(&self->child);
}

static const skua_future_ops step_ops = {
	step_poll, step_drop, sizeof(struct step), "step", __FILE__,
};

static struct step new_step(skua_poll (*poll)(skua_cx *, struct step *), uint64_t number)
{
	struct step step = {.future = {&step_ops, 0, 0}, .poll = poll, .number = number};

	return step;
}

static skua_task *spawn_step(struct step step)
{
	skua_task *task = NULL;

	T_EQ(sk_sched_spawn(sched, &step.future, &task), 0);
	T_NOT_NULL(task);
	return task;
}

static void spawn_detached(struct step step)
{
	T_EQ(sk_sched_spawn(sched, &step.future, NULL), 0);
}

/* Keeps this thread busy. */
static void spin_us(unsigned us)
{
	uint64_t until = sk_now() + us * UINT64_C(1000);

	while (sk_now() < until)
		sk_spin_hint();
}

/* ---- Running ---- */

static skua_poll poll_number(skua_cx *cx, struct step *self)
{
	T_NOT_NULL(cx->task);
	T_ASSERT(sk_worker_current() == cx->worker);
	count_up(&polls);
	return (skua_poll)self->number;
}

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
	struct sk_sched_options options = {.workers = 3, .max_blocking = 1};
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

/* ---- Waking ---- */

/* Pending until it was polled `left` times. */
static skua_poll count_down(skua_cx *cx, struct step *self)
{
	(void)cx;
	sk_fetch_add(&polls, 1, SK_ACQ_REL);
	return --self->left == 0 ? 0 : SKUA_PENDING;
}

T_TEST(sched, a_pending_task_is_polled_when_woken_and_only_then)
{
	struct step step = new_step(count_down, 0);
	skua_task *task;

	step.left = 20;
	sched = start_sched(2);
	task = spawn_step(step);
	for (unsigned i = 1; i < 20; i++) {
		EVENTUALLY(count_of(&polls) == i);
		if (i % 8 == 0)
			sleep_ms(3);
		T_EQ(count_of(&polls), i);
		sk_task_wake(task);
	}
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(count_of(&polls), 20);
	T_EQ(end_sched(sched, 1000), 0);
}

static skua_poll wake_self(skua_cx *cx, struct step *self)
{
	count_up(&polls);
	if (self->left-- == 0)
		return 0;
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	return SKUA_PENDING;
}

T_TEST(sched, a_task_that_wakes_itself_is_polled_again_once)
{
	struct step step = new_step(wake_self, 0);
	skua_task *task;

	step.left = 1000;
	sched = start_sched(2);
	task = spawn_step(step);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(count_of(&polls), 1001);
	T_EQ(end_sched(sched, 1000), 0);
}

/* ---- Order ---- */

static unsigned order[4096], order_count;

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

/* Yields until the gate opens. */
static skua_poll yield_until_open(skua_cx *cx, struct step *self)
{
	(void)self;
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

/* ---- Stealing ---- */

static skua_poll be_busy(skua_cx *cx, struct step *self)
{
	(void)cx;
	spin_us((unsigned)self->number);
	count_up(&ended);
	return 0;
}

static skua_poll spawn_busy_ones(skua_cx *cx, struct step *self)
{
	(void)cx;
	while (self->left-- > 0)
		spawn_detached(new_step(be_busy, self->number));
	count_up(&ended);
	return 0;
}

T_TEST(sched, a_backlog_is_stolen)
{
	struct step root = new_step(spawn_busy_ones, 20);
	skua_stats stats = {0};
	unsigned spawned = 0;

	root.left = 200;
	sched = start_sched(2);
	/* The other worker may not get a CPU at once. */
	for (unsigned i = 0; i < 100 && stats.stolen == 0; i++) {
		EVENTUALLY(sk_idle_count(&sched->idle) == 2);
		spawn_detached(root);
		spawned += 201;
		EVENTUALLY(count_of(&ended) == spawned);
		memset(&stats, 0, sizeof stats);
		sk_sched_stats(sched, &stats);
	}
	T_GT(stats.stolen, 0);
	T_GT(stats.wakes, 0);
	T_GT(stats.parks, 0);
	T_LE(stats.stolen, spawned);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(sched, the_inbox_of_a_busy_worker_is_stolen)
{
	struct step stuck = new_step(be_busy, 0);
	skua_task *tasks[10];

	/* One worker is kept in a poll; whatever is left at its door runs on the other. */
	sched = start_sched(2);
	for (unsigned round = 0; round < 5; round++) {
		stuck.number = 30000;
		spawn_detached(stuck);
		for (unsigned i = 0; i < 10; i++)
			tasks[i] = spawn_step(new_step(poll_number, i));
		for (unsigned i = 0; i < 10; i++)
			T_EQ(skua_task_wait(&tasks[i]), i);
	}
	T_EQ(end_sched(sched, 10000), 0);
}

/* Stays in its poll until `left` tasks do. */
static skua_poll meet(skua_cx *cx, struct step *self)
{
	(void)cx;
	count_up(&polls);
	EVENTUALLY(count_of(&polls) >= self->left);
	return 0;
}

/* As many tasks as workers, each of which needs a worker of its own: one that a searcher was trusted
 * to come for, and did not, is missed by all. */
T_TEST(sched, every_worker_is_woken_when_all_are_needed)
{
	enum { WORKERS = 4 };
	unsigned rounds = rounds_of(300);
	uint64_t until = end_of_rounds();
	skua_task *tasks[WORKERS];

	sched = start_sched(WORKERS);
	for (unsigned round = 1; round <= rounds && sk_now() < until; round++) {
		struct step step = new_step(meet, 0);

		step.left = round * WORKERS;
		if (round % 2 == 0)
			EVENTUALLY(sk_idle_count(&sched->idle) == WORKERS);
		for (unsigned i = 0; i < WORKERS; i++)
			tasks[i] = spawn_step(step);
		for (unsigned i = 0; i < WORKERS; i++)
			T_EQ(skua_task_wait(&tasks[i]), 0);
	}
	T_EQ(end_sched(sched, 1000), 0);
}

/* ---- The driver's look ---- */

static counter watches;

static void note_watch(void *argument)
{
	T_ASSERT(argument == &watches);
	count_up(&watches);
}

static const struct sk_driver_ops driver_ops = {.watch = note_watch};

/* One that believes polls to be so short that no backlog is worth a wake. */
static struct sk_sched *start_paced(uint32_t workers)
{
	struct sk_sched_options options = {
		.workers = workers,
		.budget = 128,
		.max_blocking = 1,
		.driver_ops = &driver_ops,
		.driver = &watches,
	};
	struct sk_sched *paced = new_sched_with(&options);

	for (uint32_t i = 0; i < workers; i++)
		sk_store(&paced->workers[i]->mean_poll_ns, 0, SK_RELAXED);
	T_EQ(sk_sched_start(paced), 0);
	EVENTUALLY(sk_idle_count(&paced->idle) == workers);
	return paced;
}

static unsigned stuck_worker;

/* Spawns `left` tasks, and stays in its poll until they have run. */
static skua_poll spawn_and_get_stuck(skua_cx *cx, struct step *self)
{
	uint64_t left = self->left;

	stuck_worker = ((struct sk_worker *)cx->worker)->index;
	for (uint64_t i = 0; i < left; i++)
		spawn_detached(new_step(poll_number, i));
	count_up(&gate);
	EVENTUALLY(count_of(&polls) == left);
	return 0;
}

static void help_a_stuck_worker(unsigned backlog)
{
	struct step step = new_step(spawn_and_get_stuck, 0);
	skua_task *task;

	step.left = backlog;
	sched = start_paced(2);
	task = spawn_step(step);
	EVENTUALLY(count_of(&gate) == 1);
	sleep_ms(10);
	/* Nobody came by himself: the backlog was not worth it. */
	T_EQ(count_of(&polls), 0);
	T_EQ(sk_idle_count(&sched->idle), 1);
	T_ASSERT(sk_sched_monitor(sched));
	T_ASSERT(sk_sched_monitor(sched));
	EVENTUALLY(count_of(&polls) == backlog);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(sched, the_hot_task_of_a_stuck_worker_runs_elsewhere)
{
	help_a_stuck_worker(1);
}

T_TEST(sched, the_backlog_of_a_stuck_worker_runs_elsewhere)
{
	help_a_stuck_worker(10);
}

static struct sleeper {
	struct sk_timer timer;
	counter armed;
	unsigned worker; /* on which it ended */
} sleeper;

/* Awaits a timer of its worker. */
static skua_poll await_timer(skua_cx *cx, struct step *self)
{
	struct sk_worker *worker = cx->worker;
	bool earliest;

	(void)self;
	if (count_of(&sleeper.armed) == 0) {
		T_EQ(sk_timer_arm(&worker->timers, &sleeper.timer, after_ms(15), cx, &earliest), 0);
		T_ASSERT(earliest);
		count_up(&sleeper.armed);
		return SKUA_PENDING;
	}
	if (sk_slot_wait(&sleeper.timer.slot, cx) == SKUA_PENDING)
		return SKUA_PENDING;
	sk_timer_disarm(&sleeper.timer);
	sleeper.worker = worker->index;
	count_up(&polls);
	return 7;
}

T_TEST(sched, a_worker_wakes_for_its_timers)
{
	skua_task *task;
	uint64_t before = sk_now();

	sched = start_sched(2);
	task = spawn_step(new_step(await_timer, 0));
	T_EQ(skua_task_wait(&task), 7);
	T_ASSERT(sk_now() - before >= 15 * UINT64_C(1000000));
	T_EQ(end_sched(sched, 1000), 0);
}

/* Spawns the sleeper, lets it go first, and then stays in its poll until the sleeper has ended. */
static skua_poll get_stuck_before_a_timer(skua_cx *cx, struct step *self)
{
	if (self->left-- > 0) {
		sk_task_wake(cx->task);
		spawn_detached(new_step(await_timer, 0));
		return SKUA_PENDING;
	}
	/* The other worker may have stolen it before it was polled here: then it is armed there. */
	EVENTUALLY(count_of(&sleeper.armed) == 1);
	stuck_worker = ((struct sk_worker *)cx->worker)->index;
	EVENTUALLY(count_of(&polls) == 1);
	T_NE(sleeper.worker, stuck_worker);
	return 0;
}

T_TEST(sched, the_timers_of_a_stuck_worker_are_fired_for_it)
{
	struct step step = new_step(get_stuck_before_a_timer, 0);
	uint64_t until = after_ms(20000);
	skua_task *task;

	step.left = 1;
	sched = start_paced(2);
	task = spawn_step(step);
	while (!skua_task_finished(task)) {
		T_ASSERT_MSG(sk_now() < until, "nobody fired the timer");
		sk_sched_monitor(sched);
		sleep_ms(1);
	}
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(end_sched(sched, 1000), 0);
}

T_TEST(sched, the_driver_is_asked_to_watch_while_somebody_is_awake)
{
	skua_task *task;
	unsigned looks = 0;

	sched = start_paced(2);
	/* Starting woke the workers, so somebody asked. */
	T_EQ(count_of(&watches), 1);
	while (sk_sched_monitor(sched))
		T_LT(++looks, 1000);
	T_GT(looks, 1);
	task = spawn_step(new_step(poll_number, 1));
	T_EQ(skua_task_wait(&task), 1);
	EVENTUALLY(count_of(&watches) == 2);
	T_EQ(end_sched(sched, 1000), 0);
}

/* ---- Batches ---- */

static sk_waiter waiter_of(skua_task *task)
{
	skua_cx cx = task_cx(task);

	return sk_waiter_of(&cx);
}

T_TEST(sched, a_batch_goes_to_the_workers_that_ran_the_tasks)
{
	struct sk_batch batch;
	struct counting counting;
	skua_cx foreign = counting_cx(&counting);
	skua_task *tasks[12], *queued;

	sched = new_sched(3);
	T_EQ(sk_batch_init(&batch, sched), 0);
	for (unsigned i = 0; i < 12; i++) {
		struct step step = new_step(poll_number, i);

		tasks[i] = sk_task_new(sched, &step, sizeof step, false);
		begin_poll(tasks[i]);
		T_ASSERT(!end_poll(tasks[i]));
		sk_store(&tasks[i]->last_worker, i % 3, SK_RELAXED);
	}
	/* Worker 2 sleeps, and is left alone while another searches: its tasks go to one that is
	 * awake. */
	sk_idle_sleep(&sched->idle, 2, false);
	T_ASSERT(sk_idle_begin_search(&sched->idle));
	sk_batch_add(&batch, SK_NO_WAITER);
	for (unsigned i = 0; i < 12; i++)
		sk_batch_add(&batch, waiter_of(tasks[i]));
	sk_batch_add(&batch, waiter_of(tasks[0]));
	T_EQ(count_of(&counting.wakes), 0);
	sk_batch_add(&batch, sk_waiter_of(&foreign));
	T_EQ(count_of(&counting.wakes), 1);
	T_EQ(take_queued(sched, NULL), 0);
	sk_batch_publish(&batch);
	queued = sk_inbox_take(&sched->workers[1]->inbox);
	for (unsigned i = 1; i < 12; i += 3, queued = queued->next)
		T_ASSERT(queued == tasks[i]);
	T_NULL(queued);
	queued = sk_inbox_take(&sched->workers[0]->inbox);
	for (unsigned i = 0; i < 12; i += 3, queued = queued->next)
		T_ASSERT(queued == tasks[i]);
	for (unsigned i = 2; i < 12; i += 3, queued = queued->next)
		T_ASSERT(queued == tasks[i]);
	T_NULL(queued);
	T_NULL(sk_inbox_take(&sched->workers[2]->inbox));
	T_EQ(sk_idle_count(&sched->idle), 1);
	/* Published once. */
	sk_batch_publish(&batch);
	T_EQ(take_queued(sched, NULL), 0);
	for (unsigned i = 0; i < 12; i++) {
		T_EQ(references_of(tasks[i]), 1);
		T_EQ(flags_of(tasks[i]), SK_TASK_SCHEDULED);
		sk_task_release(tasks[i]);
	}
	sk_batch_destroy(&batch);
	end_sched(sched, 0);
}

T_TEST(sched, no_batch_without_memory)
{
	struct sk_batch batch;
	int64_t before;

	limit_memory();
	sched = new_sched(2);
	before = blocks_in_use();
	for (int64_t allowed = 0; allowed < 2; allowed++) {
		allow_allocations(allowed);
		T_EQ(sk_batch_init(&batch, sched), -ENOMEM);
		T_EQ(blocks_in_use(), before);
	}
	allow_allocations(-1);
	end_sched(sched, 0);
}

/* ---- The end ---- */

/* Waits for ever; ends when it is asked to. */
static skua_poll wait_for_cancel(skua_cx *cx, struct step *self)
{
	int interrupt = skua_cx_interrupt(cx);

	(void)self;
	count_up(&polls);
	if (interrupt == 0)
		return SKUA_PENDING;
	count_up(&cancelled);
	return interrupt;
}

/* Waits for ever, whatever it is asked. */
static skua_poll wait_for_ever(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	count_up(&polls);
	return SKUA_PENDING;
}

/* Yields until it is asked to end. */
static skua_poll yield_until_cancelled(skua_cx *cx, struct step *self)
{
	if (wait_for_cancel(cx, self) != SKUA_PENDING)
		return -ECANCELED;
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

static skua_poll yield_for_ever(skua_cx *cx, struct step *self)
{
	wait_for_ever(cx, self);
	sk_task_wake(cx->task);
	return SKUA_PENDING;
}

T_TEST(sched, nothing_is_spawned_while_closing)
{
	struct step step = new_step(poll_number, 1);
	skua_task *task = NULL;

	sched = start_sched(2);
	sk_sched_close(sched);
	T_EQ(sk_sched_spawn(sched, &step.future, &task), -ESHUTDOWN);
	T_EQ(sk_sched_spawn_reference(sched, &step.future, SK_NO_WAITER, &task), -ESHUTDOWN);
	T_NULL(task);
	T_ASSERT(sk_sched_drain(sched, 0));
	sk_sched_stop(sched);
	T_EQ(sk_sched_spawn(sched, &step.future, NULL), -ESHUTDOWN);
	T_EQ(sk_sched_free(sched), 0);
	T_EQ(count_of(&polls), 0);
	T_EQ(count_of(&dropped), 0);
}

T_TEST(sched, waiting_and_yielding_tasks_are_cancelled_and_end)
{
	enum { TASKS = 100 };
	skua_task *tasks[TASKS];

	sched = start_sched(3);
	for (unsigned i = 0; i < TASKS; i++)
		tasks[i] = spawn_step(
			new_step(i % 2 == 0 ? wait_for_cancel : yield_until_cancelled, i));
	EVENTUALLY(count_of(&polls) >= TASKS);
	sk_sched_close(sched);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), 0);
	T_EQ(count_of(&cancelled), TASKS);
	T_EQ(count_of(&dropped), 0);
	for (unsigned i = 0; i < TASKS; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
}

T_TEST(sched, sleeping_workers_wake_to_cancel_their_tasks)
{
	skua_task *tasks[10];

	sched = start_sched(3);
	for (unsigned i = 0; i < 10; i++)
		tasks[i] = spawn_step(new_step(wait_for_cancel, i));
	EVENTUALLY(count_of(&polls) == 10 && sk_idle_count(&sched->idle) == 3);
	sk_sched_close(sched);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), 0);
	for (unsigned i = 0; i < 10; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
}

T_TEST(sched, a_task_that_ended_elsewhere_and_was_not_fetched_is_freed)
{
	struct step step = new_step(poll_number, 0);
	skua_task *task;

	limit_memory();
	sched = new_sched(2);
	/* In the list of one worker, and completed by the other just before the end. */
	task = sk_task_new(sched, &step, sizeof step, false);
	begin_poll(task);
	task->owned = true;
	task->owner = 1;
	sched->workers[1]->owned = task;
	sk_task_complete(task, 0);
	T_EQ(end_sched(sched, 0), 0);
	T_EQ(count_of(&dropped), 0);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(sched, a_task_that_never_ran_is_polled_with_the_cancel)
{
	skua_task *tasks[5], *stuck;

	sched = start_sched(1);
	stuck = spawn_step(new_step(be_busy, 20000));
	for (unsigned i = 0; i < 5; i++)
		tasks[i] = spawn_step(new_step(wait_for_cancel, i));
	sk_sched_close(sched);
	T_ASSERT(sk_sched_drain(sched, after_ms(20000)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), 0);
	T_EQ(skua_task_wait(&stuck), 0);
	for (unsigned i = 0; i < 5; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	T_EQ(count_of(&dropped), 0);
}

/* Ends a scheduler whose tasks do not: each is dropped once, and its joiner is told. */
static void end_stubborn(skua_poll (*poll)(skua_cx *, struct step *), uint32_t workers,
			 uint64_t grace_ms)
{
	enum { TASKS = 20 };
	skua_task *tasks[TASKS];

	sched = start_sched(workers);
	for (unsigned i = 0; i < TASKS; i++)
		tasks[i] = spawn_step(new_step(poll, i));
	EVENTUALLY(count_of(&polls) >= TASKS);
	sk_sched_close(sched);
	T_ASSERT(!sk_sched_drain(sched, after_ms(grace_ms)));
	sk_sched_stop(sched);
	T_EQ(sk_sched_free(sched), TASKS);
	T_EQ(count_of(&dropped), TASKS);
	for (unsigned i = 0; i < TASKS; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ESHUTDOWN);
}

T_TEST(sched, tasks_that_wait_for_ever_are_dropped_without_grace)
{
	end_stubborn(wait_for_ever, 2, 0);
}

T_TEST(sched, tasks_that_wait_for_ever_are_dropped_after_a_grace)
{
	end_stubborn(wait_for_ever, 2, 20);
}

T_TEST(sched, tasks_that_yield_for_ever_are_dropped_without_grace)
{
	end_stubborn(yield_for_ever, 2, 0);
}

T_TEST(sched, tasks_that_yield_for_ever_are_dropped_after_a_grace)
{
	end_stubborn(yield_for_ever, 3, 20);
}

T_TEST(sched, tasks_of_a_scheduler_that_never_started_are_dropped)
{
	enum { TASKS = 10 };
	skua_task *tasks[TASKS];

	sched = new_sched(3);
	for (unsigned i = 0; i < TASKS; i++)
		tasks[i] = spawn_step(new_step(poll_number, i));
	T_EQ(end_sched(sched, 1), TASKS);
	T_EQ(count_of(&polls), 0);
	T_EQ(count_of(&dropped), TASKS);
	for (unsigned i = 0; i < TASKS; i++)
		T_EQ(skua_task_wait(&tasks[i]), -ESHUTDOWN);
}

static skua_poll a_long_poll(skua_cx *cx, struct step *self)
{
	(void)cx, (void)self;
	count_up(&polls);
	sleep_ms(50);
	count_up(&ended);
	return 3;
}

T_TEST(sched, stopping_waits_for_the_poll_that_is_going_on)
{
	skua_task *task;

	sched = start_sched(2);
	task = spawn_step(new_step(a_long_poll, 0));
	EVENTUALLY(count_of(&polls) == 1);
	T_EQ(end_sched(sched, 0), 0);
	T_EQ(count_of(&ended), 1);
	T_EQ(skua_task_wait(&task), 3);
}

/* Awaits `child`, for ever and whatever it is asked. */
static skua_poll join_stubbornly(skua_cx *cx, struct step *self)
{
	count_up(&polls);
	while (self->child != NULL) {
		skua_poll result = skua_join(cx, &self->child);

		if (result == SKUA_PENDING)
			return result;
	}
	return 0;
}

T_TEST(sched, dropping_a_task_that_others_await_leaves_nothing_behind)
{
	enum { CHAIN = 12 };

	limit_memory();
	for (unsigned round = 0; round < 4; round++) {
		struct step step = new_step(wait_for_ever, 0);
		skua_task *last = NULL;

		sk_store(&polls, 0, SK_RELEASE);
		sk_store(&dropped, 0, SK_RELEASE);
		sched = start_sched(1 + round % 3);
		for (unsigned i = 0; i < CHAIN; i++) {
			step.child = last;
			last = spawn_step(step);
			step = new_step(join_stubbornly, i);
		}
		EVENTUALLY(count_of(&polls) >= CHAIN);
		T_EQ(end_sched(sched, round), CHAIN);
		T_EQ(count_of(&dropped), CHAIN);
		T_EQ(skua_task_wait(&last), -ESHUTDOWN);
		T_EQ(blocks_in_use(), 0);
	}
}

T_TEST(sched, the_end_comes_as_soon_as_the_last_task_has_ended)
{
	for (unsigned i = 0; i < 20; i++) {
		uint64_t before;

		sched = start_sched(2);
		for (unsigned j = 0; j < 10; j++)
			spawn_detached(new_step(be_busy, 300));
		spawn_detached(new_step(wait_for_cancel, 0));
		before = sk_now();
		sk_sched_close(sched);
		T_ASSERT(sk_sched_drain(sched, after_ms(60000)));
		T_LT(sk_now() - before, UINT64_C(10000000000));
		sk_sched_stop(sched);
		T_EQ(sk_sched_free(sched), 0);
	}
}

T_TEST(sched, a_worker_on_its_way_to_sleep_sees_the_end)
{
	struct sk_sched_options options = {
		.workers = 2,
		.budget = 128,
		.spin_us = 5000,
		.max_blocking = 1,
	};

	/* Workers that still look around are not asleep, so nobody wakes them. */
	for (unsigned i = 0; i < 5; i++) {
		skua_task *task;

		sched = new_sched_with(&options);
		T_EQ(sk_sched_start(sched), 0);
		task = spawn_step(new_step(poll_number, i));
		T_EQ(skua_task_wait(&task), i);
		T_EQ(end_sched(sched, 1000), 0);
	}
}

/* ---- The end, and threads that are in the middle of something ---- */

static int64_t wait_for_a_task(void *argument)
{
	skua_task *task = *(skua_task **)argument;

	count_up(&gate);
	return skua_task_wait(&task);
}

T_TEST(sched, a_job_that_waits_for_a_task_does_not_hold_up_the_end)
{
	skua_task *task, *job = NULL;

	sched = start_sched(1);
	task = spawn_step(new_step(wait_for_ever, 0));
	T_EQ(sk_blocking_spawn(sched, wait_for_a_task, &task, sizeof(skua_task *), &job), 0);
	EVENTUALLY(count_of(&gate) == 1 && count_of(&polls) == 1);
	T_EQ(end_sched(sched, 1), 1);
	T_EQ(skua_task_wait(&job), -ESHUTDOWN);
	T_EQ(count_of(&dropped), 1);
}

static counter marked, was_freed_early;

/* A wake, with a pause in the middle: the task is marked, and not yet in a queue. */
static void wake_slowly(void *argument)
{
	skua_task *task = argument;
	unsigned side = sk_guard_enter();

	T_ASSERT(sk_task_mark_and_release(task));
	count_up(&marked);
	sleep_ms(30);
	sk_store(&was_freed_early, count_of(&watched_block_freed), SK_RELEASE);
	if (count_of(&was_freed_early) == 0)
		sk_sched_inject(sched, task);
	sk_guard_leave(side);
}

T_TEST(sched, a_task_is_not_freed_under_who_wakes_it)
{
	sk_thread thread;
	skua_task *task;

	limit_memory();
	sched = start_sched(1);
	task = spawn_step(new_step(wait_for_ever, 0));
	EVENTUALLY(count_of(&polls) == 1 && sk_idle_count(&sched->idle) == 1);
	/* The waker's reference is the one that the handle had. */
	watched_block = task;
	T_EQ(sk_thread_start(&thread, "waker", wake_slowly, task), 0);
	EVENTUALLY(count_of(&marked) == 1);
	T_EQ(end_sched(sched, 0), 1);
	sk_thread_join(&thread);
	T_EQ(count_of(&was_freed_early), 0);
	T_EQ(count_of(&watched_block_freed), 1);
	T_EQ(count_of(&dropped), 1);
	T_EQ(blocks_in_use(), 0);
}

/* A job that spawns a task when the scheduler is about to be freed. */
static int64_t spawn_late(void *unused)
{
	struct step step = new_step(poll_number, 0);

	(void)unused;
	count_up(&gate);
	sleep_ms(30);
	return sk_sched_spawn(sched, &step.future, NULL);
}

T_TEST(sched, a_job_cannot_spawn_when_the_workers_are_gone)
{
	skua_task *job = NULL;

	limit_memory();
	sched = start_sched(1);
	T_EQ(sk_blocking_spawn(sched, spawn_late, NULL, 0, &job), 0);
	EVENTUALLY(count_of(&gate) == 1);
	T_EQ(end_sched(sched, 0), 0);
	T_EQ(skua_task_wait(&job), -ESHUTDOWN);
	T_EQ(count_of(&polls), 0);
	T_EQ(count_of(&dropped), 0);
	T_EQ(blocks_in_use(), 0);
}

/* A spawn that is in the middle when the scheduler closes: closing waits for it, and the task is
 * found. */
static void spawn_slowly(void *unused)
{
	struct step step = new_step(poll_number, 0);
	skua_task *task = sk_task_new(sched, &step, sizeof step, false);
	unsigned side = sk_guard_enter();

	(void)unused;
	T_NOT_NULL(task);
	T_EQ(sk_load(&sched->phase, SK_SEQ_CST), SK_PHASE_OPEN);
	count_up(&gate);
	sleep_ms(30);
	sk_fetch_add(&sched->foreign[0].spawned, 1, SK_RELAXED);
	sk_sched_inject(sched, task);
	sk_guard_leave(side);
}

T_TEST(sched, closing_waits_for_a_spawn_that_has_begun)
{
	sk_thread thread;

	limit_memory();
	sched = start_sched(1);
	T_EQ(sk_thread_start(&thread, "spawner", spawn_slowly, NULL), 0);
	EVENTUALLY(count_of(&gate) == 1);
	T_EQ(end_sched(sched, 5000), 0);
	sk_thread_join(&thread);
	T_EQ(count_of(&polls), 1);
	T_EQ(blocks_in_use(), 0);
}

/* ---- Many threads ---- */

enum { WAKERS = 3, WAKEN = 32 };

static struct {
	skua_task *tasks[WAKEN];
	counter woken[WAKEN], seen[WAKEN];
	unsigned rounds;
	counter done;
} stress;

/* Ends when it has seen every wake. */
static skua_poll see_wakes(skua_cx *cx, struct step *self)
{
	uint32_t woken = sk_load(&stress.woken[self->number], SK_RELAXED);

	(void)cx;
	sk_store(&stress.seen[self->number], woken, SK_RELEASE);
	return woken == WAKERS * stress.rounds ? 0 : SKUA_PENDING;
}

static void waker_main(void *argument)
{
	uint32_t random = *(uint32_t *)argument;

	for (unsigned i = 0; i < stress.rounds; i++) {
		for (unsigned j = 0; j < WAKEN; j++) {
			sk_fetch_add(&stress.woken[j], 1, SK_RELAXED);
			sk_task_wake(stress.tasks[j]);
		}
		if (sk_random(&random) % 64 == 0)
			sleep_ms(1);
	}
	count_up(&stress.done);
}

static void run_stress(uint32_t workers)
{
	static uint32_t seeds[WAKERS] = {1, 2, 3};
	sk_thread threads[WAKERS];

	stress.rounds = rounds_of(2000);
	sched = start_sched(workers);
	for (unsigned i = 0; i < WAKEN; i++)
		stress.tasks[i] = spawn_step(new_step(see_wakes, i));
	for (unsigned i = 0; i < WAKERS; i++)
		T_EQ(sk_thread_start(&threads[i], "waker", waker_main, &seeds[i]), 0);
	for (unsigned i = 0; i < WAKEN; i++)
		EVENTUALLY(skua_task_finished(stress.tasks[i]));
	for (unsigned i = 0; i < WAKERS; i++)
		sk_thread_join(&threads[i]);
	for (unsigned i = 0; i < WAKEN; i++)
		T_EQ(skua_task_wait(&stress.tasks[i]), 0);
	T_EQ(end_sched(sched, 10000), 0);
}

T_TEST(sched, stress_every_wake_is_followed_by_a_poll_with_two_workers)
{
	run_stress(2);
}

T_TEST(sched, stress_every_wake_is_followed_by_a_poll_with_four_workers)
{
	run_stress(4);
}

static void free_waker_main(void *unused)
{
	(void)unused;
	while (count_of(&gate) == 0)
		for (unsigned i = 0; i < WAKEN; i++)
			sk_task_wake(stress.tasks[i]);
}

/* Wakers are at work until after the scheduler is gone. */
T_TEST(sched, stress_waking_while_the_scheduler_is_freed)
{
	unsigned rounds = rounds_of(40);
	uint64_t until = end_of_rounds();

	for (unsigned i = 0; i < rounds && sk_now() < until; i++) {
		sk_thread threads[2];

		sk_store(&gate, 0, SK_RELEASE);
		sk_store(&dropped, 0, SK_RELEASE);
		sched = start_sched(2);
		for (unsigned j = 0; j < WAKEN; j++)
			stress.tasks[j] = spawn_step(
				new_step(j % 2 == 0 ? wait_for_ever : wait_for_cancel, j));
		for (unsigned j = 0; j < 2; j++)
			T_EQ(sk_thread_start(&threads[j], "waker", free_waker_main, NULL), 0);
		sk_sched_close(sched);
		sk_sched_drain(sched, after_ms(i % 3));
		sk_sched_stop(sched);
		T_GE(sk_sched_free(sched), WAKEN / 2);
		T_GE(count_of(&dropped), WAKEN / 2);
		count_up(&gate);
		for (unsigned j = 0; j < 2; j++)
			sk_thread_join(&threads[j]);
		for (unsigned j = 0; j < WAKEN; j++) {
			T_ASSERT(skua_task_finished(stress.tasks[j]));
			skua_detach(&stress.tasks[j]);
		}
	}
}
