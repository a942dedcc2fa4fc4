/*
 * tests/test_parker.c - putting a thread to sleep: an unpark is remembered once, deadlines are kept,
 * and nothing else ends a park.
 */
#include "tests/sched_support.h"

T_TEST(parker, an_unpark_before_the_park_ends_it)
{
	sk_parker parker;

	sk_parker_init(&parker);
	sk_unpark(&parker);
	T_ASSERT(sk_park(&parker, SK_FOREVER));
	sk_unpark(&parker);
	/* Even if the deadline has passed: it was unparked, and that is not lost. */
	T_ASSERT(sk_park(&parker, 0));
	sk_parker_destroy(&parker);
}

T_TEST(parker, unparks_do_not_add_up)
{
	sk_parker parker;

	sk_parker_init(&parker);
	for (int i = 0; i < 5; i++)
		sk_unpark(&parker);
	T_ASSERT(sk_park(&parker, after_ms(1)));
	T_ASSERT(!sk_park(&parker, after_ms(1)));
	sk_parker_destroy(&parker);
}

T_TEST(parker, a_park_ends_at_its_deadline_and_not_before)
{
	sk_parker parker;
	uint64_t deadline;

	sk_parker_init(&parker);
	for (unsigned ms = 1; ms <= 32; ms *= 2) {
		deadline = after_ms(ms);
		T_ASSERT(!sk_park(&parker, deadline));
		T_ASSERT(sk_now() >= deadline);
	}
	sk_parker_destroy(&parker);
}

T_TEST(parker, a_deadline_in_the_past_is_no_wait)
{
	sk_parker parker;
	uint64_t before = sk_now();

	sk_parker_init(&parker);
	for (int i = 0; i < 100; i++) {
		T_ASSERT(!sk_park(&parker, 0));
		T_ASSERT(!sk_park(&parker, 1));
		T_ASSERT(!sk_park(&parker, before));
	}
	/* The next unpark is not taken for one that has already ended a park. */
	sk_unpark(&parker);
	T_ASSERT(sk_park(&parker, SK_FOREVER));
	sk_parker_destroy(&parker);
}

T_TEST(parker, a_deadline_far_away_is_one)
{
	sk_parker parker;

	sk_parker_init(&parker);
	sk_unpark(&parker);
	T_ASSERT(sk_park(&parker, SK_FOREVER - 1));
	sk_parker_destroy(&parker);
}

/* ---- Two threads ---- */

static struct pair {
	sk_parker parker;
	counter parked, returned;
	uint64_t deadline;
	uint32_t data; /* plain: ordered by the unpark */
} pair;

static void park_main(void *unused)
{
	(void)unused;
	count_up(&pair.parked);
	T_ASSERT(sk_park(&pair.parker, pair.deadline));
	T_EQ(pair.data, 4711);
	count_up(&pair.returned);
}

static void unpark_a_sleeper(uint64_t deadline)
{
	sk_thread thread;

	sk_parker_init(&pair.parker);
	pair.deadline = deadline;
	T_EQ(sk_thread_start(&thread, "sleeper", park_main, NULL), 0);
	EVENTUALLY(count_of(&pair.parked) == 1);
	sleep_ms(20);
	T_EQ(count_of(&pair.returned), 0);
	pair.data = 4711;
	sk_unpark(&pair.parker);
	EVENTUALLY(count_of(&pair.returned) == 1);
	sk_thread_join(&thread);
	sk_parker_destroy(&pair.parker);
}

T_TEST(parker, an_unpark_ends_a_park_without_a_deadline)
{
	unpark_a_sleeper(SK_FOREVER);
}

T_TEST(parker, an_unpark_ends_a_park_before_its_deadline)
{
	unpark_a_sleeper(after_ms(120000));
}

T_TEST(parker, an_unpark_after_the_deadline_is_for_the_next_park)
{
	sk_parker parker;

	sk_parker_init(&parker);
	T_ASSERT(!sk_park(&parker, after_ms(2)));
	sk_unpark(&parker);
	T_ASSERT(sk_park(&parker, SK_FOREVER));
	T_ASSERT(!sk_park(&parker, after_ms(1)));
	sk_parker_destroy(&parker);
}

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

T_TEST(parker, a_spurious_wake_of_the_kernel_does_not_end_a_park)
{
	sk_thread thread;

	sk_parker_init(&pair.parker);
	pair.deadline = SK_FOREVER;
	T_EQ(sk_thread_start(&thread, "sleeper", park_main, NULL), 0);
	EVENTUALLY(count_of(&pair.parked) == 1);
	for (int i = 0; i < 20; i++) {
		/* Until one really hits the thread in its sleep, or it is taken for asleep. */
		uint64_t until = after_ms(50);

		while (syscall(SYS_futex, &pair.parker.state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL,
			       0) != 1 &&
		       sk_now() < until)
			sk_thread_yield();
		T_EQ(count_of(&pair.returned), 0);
	}
	sleep_ms(5);
	T_EQ(count_of(&pair.returned), 0);
	pair.data = 4711;
	sk_unpark(&pair.parker);
	sk_thread_join(&thread);
	T_EQ(count_of(&pair.returned), 1);
	sk_parker_destroy(&pair.parker);
}
#endif

/* ---- To and fro ---- */

static struct ping_pong {
	sk_parker parkers[2];
	unsigned rounds;
	unsigned ball; /* plain: handed over by unparking */
	bool with_deadline;
} game;

static void play(unsigned side)
{
	for (unsigned i = 0; i < game.rounds; i++) {
		T_ASSERT(sk_park(&game.parkers[side],
				 game.with_deadline ? after_ms(60000) : SK_FOREVER));
		T_EQ(game.ball, 2 * i + side);
		game.ball++;
		sk_unpark(&game.parkers[1 - side]);
	}
}

static void play_second(void *unused)
{
	(void)unused;
	play(1);
}

static void run_game(bool with_deadline)
{
	sk_thread thread;

	game.rounds = rounds_of(10000);
	game.with_deadline = with_deadline;
	sk_parker_init(&game.parkers[0]);
	sk_parker_init(&game.parkers[1]);
	T_EQ(sk_thread_start(&thread, "second", play_second, NULL), 0);
	sk_unpark(&game.parkers[0]);
	play(0);
	sk_thread_join(&thread);
	T_EQ(game.ball, 2 * game.rounds);
	T_ASSERT(sk_park(&game.parkers[0], 0));
	sk_parker_destroy(&game.parkers[0]);
	sk_parker_destroy(&game.parkers[1]);
}

T_TEST(parker, stress_ping_pong)
{
	run_game(false);
}

T_TEST(parker, stress_ping_pong_with_deadlines)
{
	run_game(true);
}

/* One unpark in each round, when the one before has been answered. */
static void unpark_main(void *unused)
{
	uint32_t random = 5;

	(void)unused;
	for (unsigned i = 0; i < game.rounds; i++) {
		await_count(&pair.returned, i);
		for (uint32_t spin = sk_random(&random) % 128; spin > 0; spin--)
			sk_spin_hint();
		sk_unpark(&pair.parker);
	}
}

/* Deadlines so short that many pass at the very moment of the unpark, which must end one of the
 * parks all the same. */
T_TEST(parker, stress_timeouts_do_not_lose_unparks)
{
	uint32_t random = 3;
	sk_thread thread;

	game.rounds = rounds_of(20000);
	sk_parker_init(&pair.parker);
	T_EQ(sk_thread_start(&thread, "unparker", unpark_main, NULL), 0);
	for (unsigned i = 1; i <= game.rounds; i++) {
		uint32_t ns = sk_random(&random) % 4096;

		/* Mostly past ones: the kernel is late by more than a park takes. */
		EVENTUALLY(sk_park(&pair.parker, ns < 64 ? sk_now() + ns : 0));
		sk_store(&pair.returned, i, SK_RELEASE);
	}
	sk_thread_join(&thread);
	T_ASSERT(!sk_park(&pair.parker, 0));
	sk_parker_destroy(&pair.parker);
}
