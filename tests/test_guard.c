/*
 * tests/test_guard.c - the guard: whoever waits outlasts everybody who was inside before, however
 * threads share the counters.
 */
#include "sched/guard.h"

#include "tests/sched_support.h"

T_TEST(guard, waiting_for_nobody_takes_no_time)
{
	sk_guard_wait();
	sk_guard_leave(sk_guard_enter());
	sk_guard_wait();
}

static counter entered, may_leave, left, waited;

static void insider_main(void *unused)
{
	unsigned first, second;

	(void)unused;
	first = sk_guard_enter();
	second = sk_guard_enter();
	count_up(&entered);
	EVENTUALLY(count_of(&may_leave) >= 1);
	sk_guard_leave(first);
	count_up(&left);
	EVENTUALLY(count_of(&may_leave) >= 2);
	count_up(&left);
	sk_guard_leave(second);
}

static void waiter_main(void *unused)
{
	(void)unused;
	sk_guard_wait();
	T_EQ(count_of(&left), 2);
	count_up(&waited);
}

T_TEST(guard, a_wait_lasts_until_the_last_leave)
{
	sk_thread insider, waiter;

	T_EQ(sk_thread_start(&insider, "insider", insider_main, NULL), 0);
	EVENTUALLY(count_of(&entered) == 1);
	T_EQ(sk_thread_start(&waiter, "waiter", waiter_main, NULL), 0);
	sleep_ms(20);
	T_EQ(count_of(&waited), 0);
	count_up(&may_leave);
	EVENTUALLY(count_of(&left) == 1);
	sleep_ms(20);
	T_EQ(count_of(&waited), 0);
	count_up(&may_leave);
	EVENTUALLY(count_of(&waited) == 1);
	sk_thread_join(&insider);
	sk_thread_join(&waiter);
}

/* Threads that live at the same time, so that they are spread over all counters. */
enum { THREADS = 64 };

static struct turn {
	sk_thread thread;
	sk_parker parker;
} turns[THREADS];

static void turn_main(void *argument)
{
	struct turn *turn = argument;
	unsigned side;

	sk_park(&turn->parker, SK_FOREVER);
	side = sk_guard_enter();
	count_up(&entered);
	sk_park(&turn->parker, SK_FOREVER);
	count_up(&left);
	sk_guard_leave(side);
}

static void turn_waiter_main(void *argument)
{
	unsigned turn = (unsigned)((struct turn *)argument - turns);

	sk_guard_wait();
	T_EQ(count_of(&left), turn + 1);
	count_up(&waited);
}

T_TEST(guard, every_thread_is_waited_for_whichever_counter_it_has)
{
	for (unsigned i = 0; i < THREADS; i++) {
		sk_parker_init(&turns[i].parker);
		T_EQ(sk_thread_start(&turns[i].thread, "turn", turn_main, &turns[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		sk_thread waiter;

		sk_unpark(&turns[i].parker);
		EVENTUALLY(count_of(&entered) == i + 1);
		T_EQ(sk_thread_start(&waiter, "waiter", turn_waiter_main, &turns[i]), 0);
		sleep_ms(1);
		T_EQ(count_of(&waited), i);
		sk_unpark(&turns[i].parker);
		sk_thread_join(&waiter);
		sk_thread_join(&turns[i].thread);
		sk_parker_destroy(&turns[i].parker);
	}
}

/* ---- Many threads ---- */

/* What is to be freed under those who use it: they look at `object` only inside, and only while it
 * is there. The owner takes it away, waits, and destroys it with plain writes. */
enum { USERS = 3 };

struct object {
	uint32_t alive;
	counter uses;
};

static struct {
	SK_ATOMIC(struct object *) object;
	counter stop, uses;
} stress;

static void user_main(void *unused)
{
	(void)unused;
	while (count_of(&stress.stop) == 0) {
		unsigned side = sk_guard_enter();
		struct object *object;

		object = sk_load(&stress.object, SK_SEQ_CST);
		if (object != NULL) {
			for (int i = 0; i < 4; i++) {
				T_EQ(object->alive, 0xa11fe);
				sk_fetch_add(&object->uses, 1, SK_RELAXED);
			}
			sk_fetch_add(&stress.uses, 1, SK_RELAXED);
		}
		sk_guard_leave(side);
	}
}

T_TEST(guard, stress_nothing_is_freed_under_a_user)
{
	unsigned rounds = rounds_of(400);
	uint64_t until = end_of_rounds();
	sk_thread threads[USERS];

	for (unsigned i = 0; i < USERS; i++)
		T_EQ(sk_thread_start(&threads[i], "user", user_main, NULL), 0);
	for (unsigned i = 0; i < rounds && sk_now() < until; i++) {
		struct object *object = calloc(1, sizeof *object);
		uint32_t uses = count_of(&stress.uses);

		T_NOT_NULL(object);
		object->alive = 0xa11fe;
		sk_store(&stress.object, object, SK_SEQ_CST);
		if (i % 16 == 0)
			EVENTUALLY(count_of(&stress.uses) != uses);
		sk_store(&stress.object, NULL, SK_SEQ_CST);
		sk_guard_wait();
		object->alive = 0xdead;
		T_EQ(sk_load(&object->uses, SK_RELAXED) % 4, 0);
		free(object);
	}
	count_up(&stress.stop);
	for (unsigned i = 0; i < USERS; i++)
		sk_thread_join(&threads[i]);
}
