/*
 * tests/test_timer.c - the timers of one worker: beside a plain model, the edges of time, what others post,
 * disarming beside a firing, and the list that a task leaves behind.
 */
#include "sched/timer.h"

#include "tests/sched_support.h"

/* Those of the test's thread. */
static struct sk_timers timers;

static void begin_timers(void)
{
	sk_timers_init(&timers, sk_thread_local());
}

static void arm(struct sk_timer *timer, uint64_t deadline, const skua_cx *cx)
{
	T_EQ(sk_timer_arm(&timers, timer, deadline, 1, cx), 0);
}

static bool is_empty(void)
{
	for (unsigned i = 0; i < SK_WHEEL_LEVELS; i++)
		if (timers.wheel.used[i] != 0)
			return false;
	return timers.wheel.due.first == NULL && !sk_timers_have_mail(&timers);
}

/* Of an entry at a higher level only the beginning of its slot is known. */
static void check_next(uint64_t expected)
{
	sk_timers_refresh(&timers);
	T_ASSERT_MSG(sk_timers_next(&timers) == expected, "next is %" PRIu64 ", not %" PRIu64,
		     sk_timers_next(&timers), expected);
}

T_TEST(timer, none_is_due_at_first)
{
	begin_timers();
	check_next(SK_FOREVER);
	T_EQ(sk_timers_fire(&timers, 0), 0);
	T_EQ(sk_timers_fire(&timers, UINT64_MAX), 0);
	sk_timers_destroy(&timers);
}

T_TEST(timer, fires_at_its_deadline_and_not_before)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	struct sk_timer timer = {0};

	begin_timers();
	T_ASSERT(!sk_timer_is_armed(&timer));
	arm(&timer, 1000, &cx);
	T_ASSERT(sk_timer_is_armed(&timer));
	check_next(1000);
	T_EQ(sk_timers_fire(&timers, 999), 0);
	T_EQ(count_of(&counting.wakes), 0);
	T_ASSERT(!sk_timer_has_fired(&timer));
	T_EQ(sk_timers_fire(&timers, 1000), 1);
	T_EQ(count_of(&counting.wakes), 1);
	T_EQ(count_of(&counting.references), 1);
	T_ASSERT(sk_timer_has_fired(&timer));
	check_next(SK_FOREVER);
	T_EQ(sk_timers_fire(&timers, 2000), 0);
	sk_timer_disarm(&timer);
	T_ASSERT(!sk_timer_is_armed(&timer));
	sk_timers_destroy(&timers);
}

T_TEST(timer, a_disarmed_one_does_not_fire)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	struct sk_timer timer = {0};

	begin_timers();
	sk_timer_disarm(&timer);
	for (int i = 0; i < 3; i++) {
		arm(&timer, 10, &cx);
		T_EQ(count_of(&counting.references), 2);
		sk_timer_disarm(&timer);
		T_EQ(count_of(&counting.references), 1);
		sk_timer_disarm(&timer);
		check_next(SK_FOREVER);
		T_EQ(sk_timers_fire(&timers, 100), 0);
	}
	T_EQ(count_of(&counting.wakes), 0);
	/* It is as new: it can be armed again, and fires then. */
	arm(&timer, 20, &cx);
	T_EQ(sk_timers_fire(&timers, 20), 1);
	sk_timer_disarm(&timer);
	sk_timers_destroy(&timers);
}

T_TEST(timer, equal_deadlines_fire_together)
{
	enum { N = 200 };
	static struct sk_timer timer[N];
	struct counting counting;
	skua_cx cx = counting_cx(&counting);

	begin_timers();
	for (unsigned i = 0; i < N; i++)
		arm(&timer[i], i % 2 == 0 ? 77 : 78, &cx);
	/* More than one batch of sk_timers_fire. */
	T_EQ(sk_timers_fire(&timers, 77), N / 2);
	T_EQ(count_of(&counting.wakes), N / 2);
	for (unsigned i = 0; i < N; i++)
		T_EQ(sk_timer_has_fired(&timer[i]), i % 2 == 0);
	check_next(78);
	T_EQ(sk_timers_fire(&timers, 78), N / 2);
	for (unsigned i = 0; i < N; i++)
		sk_timer_disarm(&timer[i]);
	sk_timers_destroy(&timers);
}

T_TEST(timer, the_beginning_and_the_end_of_time_are_deadlines)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	struct sk_timer first = {0}, last = {0};

	begin_timers();
	arm(&last, UINT64_MAX, &cx);
	T_ASSERT(sk_timers_next(&timers) > UINT64_MAX / 2);
	T_EQ(sk_timers_fire(&timers, UINT64_MAX - 1), 0);
	arm(&first, 0, &cx);
	check_next(0);
	T_EQ(sk_timers_fire(&timers, 0), 1);
	T_ASSERT(sk_timer_has_fired(&first));
	T_ASSERT(!sk_timer_has_fired(&last));
	T_EQ(sk_timers_fire(&timers, UINT64_MAX), 1);
	T_ASSERT(sk_timer_has_fired(&last));
	sk_timer_disarm(&first);
	sk_timer_disarm(&last);
	sk_timers_destroy(&timers);
}

T_TEST(timer, is_not_armed_without_memory)
{
	enum { ROOM = 63 };
	static struct sk_timer timer[ROOM + 1];
	struct counting counting;
	skua_cx cx = counting_cx(&counting);

	limit_memory();
	begin_timers();
	/* For the waiter; none for the entries. */
	allow_allocations(1);
	T_EQ(sk_timer_arm(&timers, &timer[0], 5, 1, &cx), -ENOMEM);
	T_ASSERT(!sk_timer_is_armed(&timer[0]));
	T_EQ(count_of(&counting.references), 1);
	T_EQ(blocks_in_use(), 0);
	allow_allocations(0);
	T_EQ(sk_timer_arm(&timers, &timer[0], 5, 1, &cx), -ENOMEM);
	allow_allocations(-1);
	for (unsigned i = 0; i < ROOM; i++)
		arm(&timer[i], 1000 - i, &cx);
	allow_allocations(1);
	T_EQ(sk_timer_arm(&timers, &timer[ROOM], 1, 1, &cx), -ENOMEM);
	T_ASSERT(!sk_timer_is_armed(&timer[ROOM]));
	check_next(1000 - ROOM + 1);
	allow_allocations(-1);
	arm(&timer[ROOM], 1, &cx);
	check_next(1);
	T_EQ(sk_timers_fire(&timers, 2000), ROOM + 1);
	for (unsigned i = 0; i <= ROOM; i++)
		sk_timer_disarm(&timer[i]);
	sk_timers_destroy(&timers);
	T_EQ(blocks_in_use(), 0);
}

/* ---- A task's timers ---- */

static const skua_future_ops no_ops = {NULL, NULL, sizeof(skua_future), "a task of the test", NULL};

static unsigned listed(skua_task *task)
{
	unsigned count = 0;

	for (struct sk_obligation *o = task->obligations; o != NULL; o = o->next, count++)
		T_ASSERT(o->next == NULL || o->next->place == &o->next);
	return count;
}

T_TEST(timer, those_that_a_task_leaves_armed_end_with_it)
{
	struct sk_sched *sched = new_sched(1);
	skua_future future = {&no_ops, 0, 0};
	skua_task *task = sk_task_new(sched, &future, sizeof future, false);
	skua_cx cx = task_cx(task);
	struct sk_timer timer[5] = {0};

	begin_timers();
	begin_poll(task);
	for (unsigned i = 0; i < 5; i++)
		arm(&timer[i], 100 + i, &cx);
	T_EQ(listed(task), 5);
	T_EQ(references_of(task), 6);
	/* From the middle, the front and the end of the list. */
	sk_timer_disarm(&timer[2]);
	T_EQ(listed(task), 4);
	sk_timer_disarm(&timer[4]);
	sk_timer_disarm(&timer[0]);
	T_EQ(listed(task), 2);
	T_EQ(references_of(task), 3);
	sk_task_complete(task, 0, 0);
	T_EQ(listed(task), 0);
	T_EQ(references_of(task), 1);
	check_next(SK_FOREVER);
	T_EQ(sk_timers_fire(&timers, 1000), 0);
	for (unsigned i = 0; i < 5; i++)
		T_ASSERT(!sk_timer_is_armed(&timer[i]));
	sk_task_release(task);
	sk_timers_destroy(&timers);
	end_sched(sched, 0);
}

T_TEST(timer, wakes_its_task)
{
	struct sk_sched *sched = new_sched(1);
	skua_future future = {&no_ops, 0, 0};
	skua_task *task = sk_task_new(sched, &future, sizeof future, false), *queued = NULL;
	skua_cx cx = task_cx(task);
	struct sk_timer timer[2] = {0};

	begin_timers();
	begin_poll(task);
	arm(&timer[0], 5, &cx);
	arm(&timer[1], 6, &cx);
	T_ASSERT(!end_poll(task));
	T_EQ(sk_timers_fire(&timers, 6), 2);
	T_EQ(take_queued(sched, &queued), 1);
	T_ASSERT(queued == task);
	T_EQ(references_of(task), 1);
	/* Fired ones stay in the list until they are disarmed; an abandoned task does that. */
	T_EQ(listed(task), 2);
	begin_poll(task);
	arm(&(struct sk_timer){0}, 5, &cx);
	T_ASSERT(!end_poll(task));
	sk_task_abandon(task);
	T_EQ(listed(task), 0);
	T_EQ(references_of(task), 1);
	check_next(SK_FOREVER);
	sk_task_release(task);
	sk_timers_destroy(&timers);
	end_sched(sched, 0);
}

/* ---- Against a model ---- */

enum { POPULATION = 300 };

static struct model {
	struct counting counting;
	skua_cx cx;
	struct sk_timer timer;
	uint64_t deadline;
	bool armed, fired;
} model[POPULATION];

/* Who was woken, in order. */
static unsigned woken[POPULATION], woken_count;

static void note_wake(void *argument)
{
	woken[woken_count++] = (unsigned)((struct model *)argument - model);
}

static uint64_t model_next(void)
{
	uint64_t next = SK_FOREVER;

	for (unsigned i = 0; i < POPULATION; i++)
		if (model[i].armed && model[i].deadline < next)
			next = model[i].deadline;
	return next;
}

static void model_fire(uint64_t now)
{
	unsigned due = 0;
	uint64_t last = 0;

	for (unsigned i = 0; i < POPULATION; i++)
		due += model[i].armed && model[i].deadline <= now;
	woken_count = 0;
	T_EQ(sk_timers_fire(&timers, now), due);
	T_EQ(woken_count, due);
	for (unsigned i = 0; i < woken_count; i++) {
		struct model *m = &model[woken[i]];

		T_ASSERT(m->armed && m->deadline <= now);
		T_ASSERT(m->deadline >= last);
		T_ASSERT(sk_timer_has_fired(&m->timer));
		last = m->deadline;
		m->armed = false;
		m->fired = true;
	}
}

T_TEST(timer, the_timers_do_what_a_plain_model_does)
{
	uint32_t random = 20240229;
	uint64_t now = 1000;
	unsigned steps = rounds_of(100000);

	begin_timers();
	for (unsigned i = 0; i < POPULATION; i++) {
		model[i].cx = counting_cx(&model[i].counting);
		model[i].counting.on_wake = note_wake;
		model[i].counting.argument = &model[i];
	}
	for (unsigned step = 0; step < steps; step++) {
		struct model *m = &model[sk_random(&random) % POPULATION];
		/* Phases in which they become more and in which they become fewer; few deadlines, so that
		 * many are equal. */
		unsigned often = step / 1000 % 2 == 0 ? 90 : 30;

		if (sk_random(&random) % 100 < often) {
			if (m->armed || m->fired)
				continue;
			m->deadline = now + sk_random(&random) % 500;
			arm(&m->timer, m->deadline, &m->cx);
			m->armed = true;
		} else if (sk_random(&random) % 8 != 0) {
			sk_timer_disarm(&m->timer);
			m->armed = m->fired = false;
		} else {
			now += sk_random(&random) % 50;
			model_fire(now);
		}
		check_next(model_next());
	}
	model_fire(UINT64_MAX);
	for (unsigned i = 0; i < POPULATION; i++) {
		sk_timer_disarm(&model[i].timer);
		T_EQ(count_of(&model[i].counting.references), 1);
	}
	T_ASSERT(is_empty());
	sk_timers_destroy(&timers);
}

/* ---- Two threads ---- */

static struct stress {
	counter stop, time, fired;
} stress;

static void firer_main(void *unused)
{
	(void)unused;
	while (count_of(&stress.stop) == 0) {
		uint32_t now = sk_fetch_add(&stress.time, 1, SK_RELAXED) + 1;

		sk_fetch_add(&stress.fired, sk_timers_fire_for_owner(&timers, now), SK_RELAXED);
	}
}

/* The timers lie on memory that is overwritten as soon as they are disarmed or seen ready. */
T_TEST(timer, stress_disarming_waits_for_a_firing)
{
	enum { N = 8 };
	unsigned rounds = rounds_of(30000), ready = 0;
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	uint32_t random = 99;
	sk_thread thread;

	begin_timers();
	T_EQ(sk_thread_start(&thread, "firer", firer_main, NULL), 0);
	for (unsigned i = 0; i < rounds; i++) {
		struct sk_timer timer[N] = {0};
		uint32_t now = count_of(&stress.time);

		for (unsigned j = 0; j < N; j++)
			arm(&timer[j], now + sk_random(&random) % 8, &cx);
		for (uint32_t spin = sk_random(&random) % 64; spin > 0; spin--)
			sk_spin_hint();
		for (unsigned j = 0; j < N; j++) {
			ready += sk_timer_has_fired(&timer[j]);
			sk_timer_disarm(&timer[j]);
		}
		memset(timer, 0xa5, sizeof timer);
	}
	count_up(&stress.stop);
	sk_thread_join(&thread);
	T_ASSERT(is_empty());
	check_next(SK_FOREVER);
	T_EQ(count_of(&counting.references), 1);
	/* A firing may find that nobody waits any more. */
	T_LE(count_of(&counting.wakes), count_of(&stress.fired));
	T_GE(count_of(&counting.wakes), ready);
	T_LE(count_of(&stress.fired), rounds * N);
	sk_timers_destroy(&timers);
}

T_TEST(timer, stress_two_threads_fire_each_timer_once)
{
	enum { N = 300 };
	static struct sk_timer timer[N];
	unsigned rounds = rounds_of(200), armed = 0;
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	sk_thread thread;

	begin_timers();
	T_EQ(sk_thread_start(&thread, "firer", firer_main, NULL), 0);
	for (unsigned i = 0; i < rounds; i++) {
		uint32_t now = count_of(&stress.time);

		for (unsigned j = 0; j < N; j++, armed++)
			arm(&timer[j], now + j % 16, &cx);
		sk_fetch_add(&stress.fired, sk_timers_fire(&timers, now + 8), SK_RELAXED);
		for (unsigned j = 0; j < N; j++) {
			EVENTUALLY(sk_timer_has_fired(&timer[j]));
			sk_timer_disarm(&timer[j]);
		}
	}
	count_up(&stress.stop);
	sk_thread_join(&thread);
	T_EQ(count_of(&stress.fired), armed);
	T_EQ(count_of(&counting.wakes), armed);
	T_EQ(count_of(&counting.references), 1);
	sk_timers_destroy(&timers);
}
