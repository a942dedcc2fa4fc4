/*
 * tests/test_waiter.c - waiters and the slot in which one of them meets an event: every transition,
 * who owns which reference, and that no event is lost.
 */
#include "sched/waiter.h"

#include "tests/sched_support.h"

static const skua_future_ops no_ops = {NULL, NULL, sizeof(skua_future), "a task of the test", NULL};

static skua_task *new_task(struct sk_sched *sched)
{
	skua_future future = {&no_ops, 0, 0};
	skua_task *task = sk_task_new(sched, &future, sizeof future, false);

	T_NOT_NULL(task);
	return task;
}

/* ---- Waiters ---- */

T_TEST(waiter, of_a_task_is_one_reference)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_task(sched);
	skua_cx cx = task_cx(task);
	sk_waiter waiter = sk_waiter_of(&cx);

	T_ASSERT(sk_is_waiter(waiter));
	T_ASSERT(sk_waiter_task(waiter) == task);
	T_EQ(references_of(task), 2);
	sk_waiter_drop(waiter);
	T_EQ(references_of(task), 1);
	T_EQ(flags_of(task), SK_TASK_SCHEDULED);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(waiter, of_a_task_wakes_it)
{
	struct sk_sched *sched = new_sched(2);
	skua_task *task = new_task(sched), *queued = NULL;
	skua_cx cx = task_cx(task);
	sk_waiter waiter = sk_waiter_of(&cx);

	begin_poll(task);
	T_ASSERT(!end_poll(task));
	sk_waiter_wake(waiter);
	T_EQ(flags_of(task), SK_TASK_SCHEDULED);
	T_EQ(references_of(task), 1);
	T_EQ(take_queued(sched, &queued), 1);
	T_ASSERT(queued == task);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(waiter, of_a_foreign_waker_is_a_clone_of_it)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	sk_waiter waiter = sk_waiter_of(&cx);

	T_ASSERT(sk_is_waiter(waiter));
	T_NULL(sk_waiter_task(waiter));
	T_EQ(count_of(&counting.references), 2);
	sk_waiter_drop(waiter);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(count_of(&counting.wakes), 0);

	waiter = sk_waiter_of(&cx);
	sk_waiter_wake(waiter);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(count_of(&counting.wakes), 1);
}

/* NULL is a clone without memory only if the data was not NULL before. */
static void *null_clone(void *data)
{
	T_NULL(data);
	return NULL;
}

static unsigned null_wakes;

static void null_wake(void *data)
{
	T_NULL(data);
	null_wakes++;
}

static void null_drop(void *data)
{
	T_NULL(data);
}

T_TEST(waiter, of_a_foreign_waker_without_data)
{
	static const skua_waker_ops ops = {null_clone, null_wake, null_wake, null_drop};
	const skua_waker waker = {&ops, NULL};
	sk_waiter waiter;
	skua_cx cx;

	skua_cx_init(&cx, NULL, &waker);
	waiter = sk_waiter_of(&cx);
	T_ASSERT(sk_is_waiter(waiter));
	sk_waiter_wake(waiter);
	T_EQ(null_wakes, 1);
}

T_TEST(waiter, takes_a_waker_over)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	skua_waker waker;
	sk_waiter waiter;

	T_EQ(skua_waker_clone(&cx.waker, &waker), 0);
	waiter = sk_waiter_of_waker(&waker);
	T_EQ(count_of(&counting.references), 2);
	sk_waiter_wake(waiter);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(count_of(&counting.wakes), 1);
}

T_TEST(waiter, nobody_can_be_woken_and_dropped)
{
	sk_waiter_wake(SK_NO_WAITER);
	sk_waiter_drop(SK_NO_WAITER);
	T_ASSERT(!sk_is_waiter(SK_NO_WAITER));
	T_ASSERT(!sk_is_waiter(SK_SLOT_READY));
}

T_TEST(waiter, none_without_memory_and_nothing_leaks)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	skua_waker waker = cx.waker;
	sk_slot slot;

	limit_memory();
	sk_slot_init(&slot);
	allow_allocations(0);
	T_EQ(sk_waiter_of(&cx), SK_NO_WAITER);
	T_EQ(sk_slot_wait(&slot, &cx), -ENOMEM);
	/* The waker is kept by the caller: it is not dropped. */
	T_EQ(sk_waiter_of_waker(&waker), SK_NO_WAITER);
	T_EQ(count_of(&counting.references), 1);
	allow_allocations(-1);
	counting.no_memory = true;
	T_EQ(sk_waiter_of(&cx), SK_NO_WAITER);
	T_EQ(sk_slot_wait(&slot, &cx), -ENOMEM);
	T_EQ(sk_load(&slot, SK_RELAXED), SK_SLOT_EMPTY);
	T_EQ(blocks_in_use(), 0);
}

/* ---- Slots ---- */

T_TEST(waiter, an_event_before_the_wait_is_kept)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	sk_slot slot;

	sk_slot_init(&slot);
	T_ASSERT(!sk_slot_is_ready(&slot));
	T_EQ(sk_slot_fire(&slot), SK_NO_WAITER);
	T_ASSERT(sk_slot_is_ready(&slot));
	T_EQ(sk_slot_wait(&slot, &cx), 0);
	T_EQ(sk_slot_wait(&slot, &cx), 0);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(count_of(&counting.clones), 0);
	T_EQ(sk_slot_fire(&slot), SK_NO_WAITER);
	sk_slot_reset(&slot);
	T_ASSERT(!sk_slot_is_ready(&slot));
}

T_TEST(waiter, an_event_gives_the_waiter_to_who_brings_it)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	sk_waiter waiter;
	sk_slot slot;

	sk_slot_init(&slot);
	T_EQ(sk_slot_wait(&slot, &cx), SKUA_PENDING);
	T_ASSERT(!sk_slot_is_ready(&slot));
	waiter = sk_slot_fire(&slot);
	T_ASSERT(sk_is_waiter(waiter));
	T_EQ(count_of(&counting.wakes), 0);
	T_ASSERT(sk_slot_is_ready(&slot));
	T_EQ(sk_slot_fire(&slot), SK_NO_WAITER);
	sk_waiter_wake(waiter);
	T_EQ(count_of(&counting.wakes), 1);
	T_EQ(count_of(&counting.references), 1);
}

T_TEST(waiter, a_slot_can_be_used_again_after_a_reset)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	sk_slot slot;

	sk_slot_init(&slot);
	for (unsigned i = 1; i <= 10; i++) {
		T_EQ(sk_slot_wait(&slot, &cx), SKUA_PENDING);
		sk_waiter_wake(sk_slot_fire(&slot));
		T_EQ(sk_slot_wait(&slot, &cx), 0);
		sk_slot_reset(&slot);
		T_EQ(count_of(&counting.wakes), i);
	}
	T_EQ(count_of(&counting.references), 1);
}

T_TEST(waiter, a_reset_drops_the_waiter_and_wakes_nobody)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_task(sched);
	skua_cx by_task = task_cx(task), foreign;
	struct counting counting;
	sk_slot slot;

	foreign = counting_cx(&counting);
	sk_slot_init(&slot);
	sk_slot_reset(&slot);
	T_EQ(sk_slot_wait(&slot, &foreign), SKUA_PENDING);
	sk_slot_reset(&slot);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(count_of(&counting.wakes), 0);
	T_EQ(sk_slot_wait(&slot, &by_task), SKUA_PENDING);
	T_EQ(references_of(task), 2);
	sk_slot_reset(&slot);
	T_EQ(references_of(task), 1);
	T_EQ(sk_slot_fire(&slot), SK_NO_WAITER);
	T_EQ(take_queued(sched, NULL), 0);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(waiter, the_same_task_waits_once_however_often_it_asks)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_task(sched);
	skua_cx cx = task_cx(task);
	sk_waiter waiter;
	sk_slot slot;

	sk_slot_init(&slot);
	for (int i = 0; i < 5; i++) {
		T_EQ(sk_slot_wait(&slot, &cx), SKUA_PENDING);
		T_EQ(references_of(task), 2);
	}
	waiter = sk_slot_fire(&slot);
	T_ASSERT(sk_waiter_task(waiter) == task);
	sk_waiter_drop(waiter);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(waiter, a_second_task_is_turned_away)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *first = new_task(sched), *second = new_task(sched);
	skua_cx cx = task_cx(first), other = task_cx(second), foreign;
	struct counting counting;
	sk_slot slot;

	foreign = counting_cx(&counting);
	sk_slot_init(&slot);
	T_EQ(sk_slot_wait(&slot, &cx), SKUA_PENDING);
	T_EQ(sk_slot_wait(&slot, &other), -EBUSY);
	T_EQ(sk_slot_wait(&slot, &foreign), -EBUSY);
	T_EQ(references_of(second), 1);
	T_EQ(count_of(&counting.references), 1);
	/* Nor can they take back what is not theirs. */
	sk_slot_forget(&slot, other.task);
	sk_slot_forget(&slot, NULL);
	T_ASSERT(sk_load(&slot, SK_RELAXED) == (uintptr_t)first);
	sk_slot_reset(&slot);
	sk_task_release(first);
	sk_task_release(second);
	end_sched(sched, 0);
}

T_TEST(waiter, the_last_foreign_waker_counts)
{
	struct counting first, second;
	skua_cx cx = counting_cx(&first), other = counting_cx(&second);
	sk_slot slot;

	sk_slot_init(&slot);
	T_EQ(sk_slot_wait(&slot, &cx), SKUA_PENDING);
	T_EQ(sk_slot_wait(&slot, &other), SKUA_PENDING);
	T_EQ(count_of(&first.references), 1);
	T_EQ(count_of(&second.references), 2);
	T_EQ(sk_slot_wait(&slot, &other), SKUA_PENDING);
	T_EQ(count_of(&second.references), 2);
	sk_waiter_wake(sk_slot_fire(&slot));
	T_EQ(count_of(&first.wakes), 0);
	T_EQ(count_of(&second.wakes), 1);
	T_EQ(count_of(&second.references), 1);
}

T_TEST(waiter, forgetting_takes_back_ones_own_wait)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_task(sched);
	skua_cx by_task = task_cx(task), foreign;
	struct counting counting;
	sk_slot slot;

	foreign = counting_cx(&counting);
	sk_slot_init(&slot);
	sk_slot_forget(&slot, task);
	T_EQ(sk_slot_wait(&slot, &by_task), SKUA_PENDING);
	sk_slot_forget(&slot, task);
	T_EQ(sk_load(&slot, SK_RELAXED), SK_SLOT_EMPTY);
	T_EQ(references_of(task), 1);
	T_EQ(sk_slot_wait(&slot, &foreign), SKUA_PENDING);
	sk_slot_forget(&slot, task);
	T_EQ(count_of(&counting.references), 2);
	sk_slot_forget(&slot, NULL);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(sk_slot_fire(&slot), SK_NO_WAITER);
	/* A ready slot stays ready: the event belongs to whoever waits next. */
	sk_slot_forget(&slot, task);
	sk_slot_forget(&slot, NULL);
	T_ASSERT(sk_slot_is_ready(&slot));
	sk_task_release(task);
	end_sched(sched, 0);
}

static void fire_and_wake(void *slot)
{
	sk_waiter_wake(sk_slot_fire(slot));
}

T_TEST(waiter, an_event_while_the_waker_is_cloned_is_seen)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	sk_slot slot;

	sk_slot_init(&slot);
	counting.on_clone = fire_and_wake;
	counting.argument = &slot;
	T_EQ(sk_slot_wait(&slot, &cx), 0);
	T_EQ(count_of(&counting.references), 1);
	T_ASSERT(sk_slot_is_ready(&slot));
}

T_TEST(waiter, an_event_while_a_waker_is_replaced_is_seen)
{
	struct counting first, second;
	skua_cx cx = counting_cx(&first), other = counting_cx(&second);
	sk_slot slot;

	sk_slot_init(&slot);
	T_EQ(sk_slot_wait(&slot, &cx), SKUA_PENDING);
	second.on_clone = fire_and_wake;
	second.argument = &slot;
	T_EQ(sk_slot_wait(&slot, &other), 0);
	T_ASSERT(sk_slot_is_ready(&slot));
	T_EQ(count_of(&first.references), 1);
	T_EQ(count_of(&second.references), 1);
}

/* ---- Two threads ---- */

/* Both threads do their part of each round at about the same time. */
static struct rounds {
	counter begun, ended;
	unsigned rounds;
	sk_slot slot;
	uint32_t event; /* plain: the event's own data, written before the fire */
} shared;

static void firer_main(void *unused)
{
	uint32_t random = 77;

	(void)unused;
	for (unsigned i = 1; i <= shared.rounds; i++) {
		await_count(&shared.begun, i);
		if (count_of(&shared.begun) == UINT32_MAX)
			return;
		for (uint32_t spin = sk_random(&random) % 64; spin > 0; spin--)
			sk_spin_hint();
		shared.event = i;
		fire_and_wake(&shared.slot);
		sk_store(&shared.ended, i, SK_RELEASE);
	}
}

T_TEST(waiter, stress_no_event_is_lost_between_wait_and_fire)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	unsigned woken = 0;
	uint64_t until = end_of_rounds();
	sk_thread thread;

	shared.rounds = rounds_of(60000);
	sk_slot_init(&shared.slot);
	T_EQ(sk_thread_start(&thread, "firer", firer_main, NULL), 0);
	for (unsigned i = 1; i <= shared.rounds && sk_now() < until; i++) {
		skua_poll waits;

		sk_slot_reset(&shared.slot);
		sk_store(&shared.begun, i, SK_RELEASE);
		waits = sk_slot_wait(&shared.slot, &cx);
		if (waits == SKUA_PENDING) {
			woken++;
			EVENTUALLY(count_of(&counting.wakes) == woken);
		} else {
			T_EQ(waits, 0);
		}
		/* Whichever it was, what the event brought is there. */
		T_ASSERT(sk_slot_is_ready(&shared.slot));
		T_EQ(shared.event, i);
		await_count(&shared.ended, i);
		T_EQ(count_of(&counting.wakes), woken);
	}
	sk_store(&shared.begun, UINT32_MAX, SK_RELEASE);
	sk_thread_join(&thread);
	T_EQ(count_of(&counting.references), 1);
}

T_TEST(waiter, stress_no_event_is_lost_while_wakers_are_replaced)
{
	struct counting counting[2];
	skua_cx cx[2];
	uint64_t until = end_of_rounds();
	sk_thread thread;

	cx[0] = counting_cx(&counting[0]);
	cx[1] = counting_cx(&counting[1]);
	shared.rounds = rounds_of(60000);
	sk_slot_init(&shared.slot);
	T_EQ(sk_thread_start(&thread, "firer", firer_main, NULL), 0);
	for (unsigned i = 1; i <= shared.rounds && sk_now() < until; i++) {
		unsigned polls = 0;

		sk_slot_reset(&shared.slot);
		sk_store(&shared.begun, i, SK_RELEASE);
		/* An executor that polls for no reason, each time with another waker. */
		while (count_of(&shared.ended) < i) {
			skua_poll waits = sk_slot_wait(&shared.slot, &cx[polls++ % 2]);

			T_ASSERT(waits == SKUA_PENDING || waits == 0);
		}
		T_ASSERT_MSG(sk_slot_is_ready(&shared.slot), "the event of round %u is lost", i);
		T_EQ(shared.event, i);
	}
	sk_store(&shared.begun, UINT32_MAX, SK_RELEASE);
	sk_thread_join(&thread);
	T_EQ(count_of(&counting[0].references), 1);
	T_EQ(count_of(&counting[1].references), 1);
}

T_TEST(waiter, stress_forgetting_and_firing_end_each_waiter_once)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);
	uint64_t until = end_of_rounds();
	sk_thread thread;

	shared.rounds = rounds_of(60000);
	sk_slot_init(&shared.slot);
	T_EQ(sk_thread_start(&thread, "firer", firer_main, NULL), 0);
	for (unsigned i = 1; i <= shared.rounds && sk_now() < until; i++) {
		sk_slot_reset(&shared.slot);
		sk_store(&shared.begun, i, SK_RELEASE);
		if (sk_slot_wait(&shared.slot, &cx) == SKUA_PENDING)
			sk_slot_forget(&shared.slot, cx.task);
		await_count(&shared.ended, i);
		T_ASSERT(sk_slot_is_ready(&shared.slot));
		T_EQ(count_of(&counting.references), 1);
	}
	sk_store(&shared.begun, UINT32_MAX, SK_RELEASE);
	sk_thread_join(&thread);
}
