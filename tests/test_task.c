/*
 * tests/test_task.c - the state word of a task: who queues it, who frees it, what cancelling, ending,
 * abandoning and giving up the handle do in each state. The scheduler's workers do not run: the
 * test plays the worker.
 */
#include "sched/task.h"

#include "tests/sched_support.h"

/* A future that counts what happens to it. */
struct probe {
	skua_future future;
	unsigned *dropped;
	char text[24];
};

static void probe_drop(skua_future *future)
{
	++*((struct probe *)(void *)future)->dropped;
}

static const skua_future_ops probe_ops = {
	NULL, probe_drop, sizeof(struct probe), "probe", __FILE__,
};

static unsigned dropped;

static skua_task *new_probe(struct sk_sched *sched, bool joinable)
{
	struct probe probe = {{&probe_ops, 0, 0}, &dropped, "carried along"};
	skua_task *task = sk_task_new(sched, &probe, sizeof probe, joinable);

	T_NOT_NULL(task);
	return task;
}

/* One that waits for something: neither queued nor running. */
static skua_task *new_idle_probe(struct sk_sched *sched, bool joinable)
{
	skua_task *task = new_probe(sched, joinable);

	begin_poll(task);
	T_ASSERT(!end_poll(task));
	return task;
}

/* Plays the runner of a task's last poll; the life reference goes, too. */
static void finish(skua_task *task, int64_t result)
{
	begin_poll(task);
	sk_task_complete(task, result, 0);
	sk_task_release(task);
}

T_TEST(task, a_new_one_is_scheduled)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *detached = new_probe(sched, false), *joinable = new_probe(sched, true);

	T_EQ(flags_of(detached), SK_TASK_SCHEDULED);
	T_EQ(references_of(detached), 1);
	T_EQ(flags_of(joinable), SK_TASK_SCHEDULED | SK_TASK_JOINABLE);
	T_EQ(references_of(joinable), 2);
	T_ASSERT(!sk_task_is_complete(detached));
	T_ASSERT(detached->sched == sched);
	sk_task_release(detached);
	sk_task_release(joinable);
	sk_task_release(joinable);
	T_EQ(dropped, 0);
	end_sched(sched, 0);
}

T_TEST(task, carries_its_future_by_value)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, false);
	struct probe *copy = sk_task_payload(task);

	T_ASSERT((void *)task->future == (void *)copy);
	T_ASSERT(copy->future.ops == &probe_ops);
	T_STR_EQ(copy->text, "carried along");
	T_EQ(task->size, sizeof *task + sizeof *copy);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, its_future_is_aligned_for_anything)
{
	struct {
		skua_future future;
		long double wide;
	} wide = {{&probe_ops, 0, 0}, 1};
	struct sk_sched *sched = new_sched(1);

	for (size_t more = 0; more < 5; more++) {
		skua_task *task = sk_task_new(sched, &wide, sizeof wide - more, false);

		T_EQ((uintptr_t)sk_task_payload(task) % _Alignof(max_align_t), 0);
		sk_task_release(task);
	}
	end_sched(sched, 0);
}

T_TEST(task, is_not_made_without_memory_or_of_gigabytes)
{
	struct sk_sched *sched;

	limit_memory();
	sched = new_sched(1);
	T_NULL(sk_task_new(sched, NULL, UINT32_MAX, true));
	allow_allocations(0);
	T_NULL(sk_task_new(sched, NULL, 0, true));
	allow_allocations(-1);
	end_sched(sched, 0);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(task, is_freed_with_its_last_reference)
{
	struct sk_sched *sched;
	int64_t before;
	skua_task *task;

	limit_memory();
	sched = new_sched(1);
	before = blocks_in_use();
	task = new_probe(sched, true);
	sk_task_hold(task);
	T_EQ(references_of(task), 3);
	sk_task_release(task);
	sk_task_release(task);
	T_EQ(blocks_in_use(), before + 1);
	sk_task_release(task);
	T_EQ(blocks_in_use(), before);
	end_sched(sched, 0);
	T_EQ(blocks_in_use(), 0);
}

/* ---- Waking ---- */

T_TEST(task, two_wakes_queue_it_once)
{
	struct sk_sched *sched = new_sched(3);
	skua_task *task = new_idle_probe(sched, false), *queued = NULL;

	T_EQ(flags_of(task), 0);
	sk_task_wake(task);
	sk_task_wake(task);
	sk_task_wake(task);
	T_EQ(flags_of(task), SK_TASK_SCHEDULED);
	T_EQ(references_of(task), 1);
	T_EQ(take_queued(sched, &queued), 1);
	T_ASSERT(queued == task);
	/* Once it was polled, the next wake counts again. */
	begin_poll(task);
	T_ASSERT(!end_poll(task));
	sk_task_wake(task);
	T_EQ(take_queued(sched, NULL), 1);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, a_wake_during_the_poll_is_left_to_the_runner)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, false);

	begin_poll(task);
	sk_task_wake(task);
	sk_task_wake(task);
	T_EQ(flags_of(task), SK_TASK_RUNNING | SK_TASK_SCHEDULED);
	T_EQ(take_queued(sched, NULL), 0);
	T_ASSERT(end_poll(task));
	T_EQ(flags_of(task), SK_TASK_SCHEDULED);
	sk_task_wake(task);
	T_EQ(take_queued(sched, NULL), 0);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, a_wake_after_the_end_does_nothing)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, true);

	finish(task, 7);
	sk_task_wake(task);
	sk_task_hold(task);
	sk_task_wake_and_release(task);
	sk_task_hold(task);
	T_ASSERT(!sk_task_mark_and_release(task));
	T_EQ(take_queued(sched, NULL), 0);
	T_EQ(references_of(task), 1);
	T_EQ(task->result, 7);
	sk_task_close_handle(task);
	end_sched(sched, 0);
}

T_TEST(task, wake_and_release_gives_its_reference_up)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_idle_probe(sched, false);

	sk_task_hold(task);
	sk_task_wake_and_release(task);
	T_EQ(references_of(task), 1);
	T_EQ(flags_of(task), SK_TASK_SCHEDULED);
	T_EQ(take_queued(sched, NULL), 1);
	sk_task_hold(task);
	sk_task_wake_and_release(task);
	T_EQ(references_of(task), 1);
	T_EQ(take_queued(sched, NULL), 0);
	begin_poll(task);
	sk_task_hold(task);
	sk_task_wake_and_release(task);
	T_EQ(references_of(task), 1);
	T_EQ(take_queued(sched, NULL), 0);
	T_ASSERT(end_poll(task));
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, wake_and_release_of_the_last_reference_frees_it)
{
	struct sk_sched *sched;
	skua_task *task;

	limit_memory();
	sched = new_sched(1);
	task = new_probe(sched, false);
	sk_task_hold(task);
	watched_block = task;
	finish(task, 0);
	T_EQ(count_of(&watched_block_freed), 0);
	sk_task_wake_and_release(task);
	T_EQ(count_of(&watched_block_freed), 1);
	T_EQ(take_queued(sched, NULL), 0);
	end_sched(sched, 0);
	T_EQ(blocks_in_use(), 0);
}

T_TEST(task, mark_and_release_names_one_who_queues)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_idle_probe(sched, false);

	for (int i = 0; i < 3; i++)
		sk_task_hold(task);
	T_ASSERT(sk_task_mark_and_release(task));
	T_ASSERT(!sk_task_mark_and_release(task));
	begin_poll(task);
	T_ASSERT(!sk_task_mark_and_release(task));
	T_ASSERT(end_poll(task));
	T_EQ(references_of(task), 1);
	T_EQ(take_queued(sched, NULL), 0);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, a_wake_in_a_poll_makes_it_the_next)
{
	struct sk_sched *sched = new_sched(2), *other = new_sched(1);
	struct sk_worker *worker = sched->workers[1];
	skua_task *first = new_idle_probe(sched, false), *second = new_idle_probe(sched, false);
	skua_task *stranger = new_idle_probe(other, false);

	sk_thread_local_set(worker);
	worker->running = stranger;
	sk_task_wake(first);
	T_ASSERT(sk_load(&worker->lifo, SK_RELAXED) == first);
	T_EQ(sk_deque_length(&worker->deque), 0);
	sk_task_hold(second);
	sk_task_wake_and_release(second);
	T_ASSERT(sk_load(&worker->lifo, SK_RELAXED) == second);
	T_ASSERT(sk_deque_pop(&worker->deque) == first);
	/* A task of another scheduler goes to that one's inbox. */
	sk_task_wake(stranger);
	T_EQ(take_queued(other, NULL), 1);
	T_ASSERT(sk_exchange(&worker->lifo, NULL, SK_RELAXED) == second);
	T_EQ(take_queued(sched, NULL), 0);
	sk_thread_local_set(NULL);
	sk_task_release(first);
	sk_task_release(second);
	sk_task_release(stranger);
	end_sched(other, 0);
	end_sched(sched, 0);
}

T_TEST(task, a_wake_between_polls_makes_it_the_last)
{
	struct sk_sched *sched = new_sched(1);
	struct sk_worker *worker = sched->workers[0];
	skua_task *first = new_idle_probe(sched, false), *second = new_idle_probe(sched, false);

	/* As timers do that fire: in their order. */
	sk_thread_local_set(worker);
	sk_task_wake(first);
	sk_task_wake(second);
	T_NULL(sk_load(&worker->lifo, SK_RELAXED));
	T_ASSERT(sk_deque_pop(&worker->deque) == first);
	T_ASSERT(sk_deque_pop(&worker->deque) == second);
	sk_thread_local_set(NULL);
	sk_task_release(first);
	sk_task_release(second);
	end_sched(sched, 0);
}

T_TEST(task, its_wakers_are_references)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_idle_probe(sched, false);
	skua_cx cx = task_cx(task);
	skua_waker first, second;

	T_EQ(skua_waker_clone(skua_cx_waker(&cx), &first), 0);
	T_EQ(skua_waker_clone(&first, &second), 0);
	T_EQ(references_of(task), 3);
	T_ASSERT(skua_waker_same(&first, &second));
	skua_waker_drop(&second);
	T_EQ(references_of(task), 2);
	T_ASSERT(!skua_waker_same(&first, &second));
	skua_waker_drop(&second);
	T_EQ(references_of(task), 2);
	T_EQ(take_queued(sched, NULL), 0);
	skua_waker_wake_by_ref(&first);
	T_EQ(references_of(task), 2);
	T_EQ(take_queued(sched, NULL), 1);
	begin_poll(task);
	T_ASSERT(!end_poll(task));
	skua_waker_wake(&first);
	T_EQ(references_of(task), 1);
	T_EQ(take_queued(sched, NULL), 1);
	T_NULL(first.ops);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, a_waker_outlives_the_task_and_its_scheduler)
{
	struct sk_sched *sched;
	skua_task *task;
	skua_cx cx;
	skua_waker waker;

	limit_memory();
	sched = new_sched(1);
	task = new_probe(sched, false);
	cx = task_cx(task);
	T_EQ(skua_waker_clone(&cx.waker, &waker), 0);
	finish(task, 0);
	end_sched(sched, 0);
	T_EQ(blocks_in_use(), 1);
	skua_waker_wake_by_ref(&waker);
	skua_waker_wake(&waker);
	T_EQ(blocks_in_use(), 0);
}

/* ---- Cancelling ---- */

T_TEST(task, cancelling_an_idle_one_queues_it)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_idle_probe(sched, true);

	T_EQ(sk_task_cancel(task), 0);
	T_EQ(flags_of(task), SK_TASK_JOINABLE | SK_TASK_CANCELLED | SK_TASK_SCHEDULED);
	T_EQ(take_queued(sched, NULL), 1);
	/* Asked twice, it is woken once. */
	begin_poll(task);
	T_ASSERT(!end_poll(task));
	T_EQ(sk_task_cancel(task), 0);
	T_EQ(take_queued(sched, NULL), 0);
	T_EQ(flags_of(task), SK_TASK_JOINABLE | SK_TASK_CANCELLED);
	sk_task_release(task);
	sk_task_close_handle(task);
	end_sched(sched, 0);
}

T_TEST(task, cancelling_a_queued_or_running_one_marks_it)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *queued = new_probe(sched, false), *running = new_probe(sched, false);

	T_EQ(sk_task_cancel(queued), 0);
	T_EQ(flags_of(queued), SK_TASK_CANCELLED | SK_TASK_SCHEDULED);
	begin_poll(running);
	T_EQ(sk_task_cancel(running), 0);
	T_EQ(flags_of(running), SK_TASK_CANCELLED | SK_TASK_SCHEDULED | SK_TASK_RUNNING);
	T_ASSERT(end_poll(running));
	T_EQ(take_queued(sched, NULL), 0);
	sk_task_release(queued);
	sk_task_release(running);
	end_sched(sched, 0);
}

T_TEST(task, cancelling_a_complete_one_is_too_late)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, true);

	finish(task, 5);
	T_EQ(sk_task_cancel(task), -ESRCH);
	T_EQ(sk_task_cancel(task), -ESRCH);
	T_EQ(take_queued(sched, NULL), 0);
	T_EQ(task->result, 5);
	sk_task_close_handle(task);
	end_sched(sched, 0);
}

T_TEST(task, a_cancel_is_delivered_once)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, false);
	skua_cx cx = task_cx(task);

	T_EQ(skua_cx_cancelled(&cx), 0);
	T_EQ(skua_cx_interrupt(&cx), 0);
	sk_task_cancel(task);
	T_EQ(skua_cx_cancelled(&cx), 1);
	T_EQ(skua_cx_interrupt(&cx), -ECANCELED);
	T_EQ(skua_cx_interrupt(&cx), 0);
	cx = task_cx(task);
	T_EQ(skua_cx_interrupt(&cx), 0);
	T_EQ(skua_cx_cancelled(&cx), 1);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, closing_the_scheduler_cancels_every_task)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, false);
	skua_cx cx = task_cx(task);

	T_EQ(skua_cx_interrupt(&cx), 0);
	sk_sched_close(sched);
	T_EQ(skua_cx_cancelled(&cx), 1);
	T_EQ(skua_cx_interrupt(&cx), -ECANCELED);
	T_EQ(skua_cx_interrupt(&cx), 0);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, a_deadline_interrupts_once_and_comes_first)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, false);
	skua_cx cx = task_cx(task);
	struct sk_interrupt deadline = {.error = -ETIMEDOUT};

	sk_task_cancel(task);
	sk_interrupt_enter(&deadline, &cx);
	T_EQ(skua_cx_interrupt(&cx), -ECANCELED);
	T_ASSERT(deadline.delivered);
	T_EQ(cx.due, 0);
	T_ASSERT(sk_interrupt_leave(&deadline, &cx));
	T_EQ(task->delivered, SK_CANCEL_NONE);
	T_EQ(skua_cx_interrupt(&cx), -ECANCELED);
	T_EQ(task->delivered, SK_CANCEL_OWN);
	T_EQ(skua_cx_interrupt(&cx), 0);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, a_deadline_that_nobody_asked_for_leaves_nothing_behind)
{
	struct sk_interrupt deadline = {.error = -ETIMEDOUT};
	skua_cx cx = {0};

	sk_interrupt_enter(&deadline, &cx);
	T_EQ(cx.due, 1);
	T_ASSERT(sk_interrupt_leave(&deadline, &cx));
	T_EQ(cx.due, 0);
	T_NULL(cx.interrupts);
	T_EQ(sk_interrupt_finish(&deadline, -ECANCELED), -ECANCELED);
}

T_TEST(task, the_budget_ends_in_a_wake)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, false);
	skua_cx cx = task_cx(task);

	begin_poll(task);
	cx.budget = 3;
	for (int i = 0; i < 3; i++)
		T_EQ(skua_cx_budget(&cx), 1);
	T_EQ(flags_of(task), SK_TASK_RUNNING);
	T_EQ(task->again, false);
	T_EQ(skua_cx_budget(&cx), 0);
	T_EQ(task->again, true);
	T_EQ(skua_cx_budget(&cx), 0);
	T_ASSERT(end_poll(task));
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, a_foreign_context_has_no_budget_and_no_cancel)
{
	struct counting counting;
	skua_cx cx = counting_cx(&counting);

	for (int i = 0; i < 1000; i++)
		T_EQ(skua_cx_budget(&cx), 1);
	T_EQ(skua_cx_cancelled(&cx), 0);
	T_EQ(skua_cx_interrupt(&cx), 0);
	T_EQ(count_of(&counting.wakes), 0);
}

/* ---- Ending ---- */

T_TEST(task, its_end_wakes_who_awaits_it)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, true);
	struct counting counting;
	skua_cx cx = counting_cx(&counting);

	T_EQ(sk_slot_wait(&task->join, &cx), SKUA_PENDING);
	begin_poll(task);
	T_ASSERT(!sk_task_is_complete(task));
	sk_task_complete(task, 42, 0);
	T_ASSERT(sk_task_is_complete(task));
	T_EQ(flags_of(task), SK_TASK_COMPLETE | SK_TASK_JOINABLE);
	T_EQ(count_of(&counting.wakes), 1);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(sk_slot_wait(&task->join, &cx), 0);
	T_EQ(task->result, 42);
	/* The life reference is still the caller's. */
	T_EQ(references_of(task), 2);
	sk_task_release(task);
	sk_task_close_handle(task);
	T_EQ(dropped, 0);
	end_sched(sched, 0);
}

T_TEST(task, a_wake_during_the_last_poll_is_harmless)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, false);

	begin_poll(task);
	sk_task_wake(task);
	sk_task_complete(task, 0, 0);
	T_EQ(flags_of(task), SK_TASK_COMPLETE | SK_TASK_SCHEDULED);
	T_EQ(take_queued(sched, NULL), 0);
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, the_handle_can_go_before_the_end)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_probe(sched, true);
	struct counting counting;
	skua_cx cx = counting_cx(&counting);

	T_EQ(sk_slot_wait(&task->join, &cx), SKUA_PENDING);
	sk_task_close_handle(task);
	T_EQ(count_of(&counting.references), 1);
	T_EQ(count_of(&counting.wakes), 0);
	T_EQ(flags_of(task), SK_TASK_SCHEDULED);
	T_EQ(references_of(task), 1);
	begin_poll(task);
	sk_task_complete(task, 0, 0);
	T_EQ(count_of(&counting.wakes), 0);
	T_ASSERT(!sk_slot_is_ready(&task->join));
	sk_task_release(task);
	end_sched(sched, 0);
}

T_TEST(task, the_handle_can_go_after_the_end)
{
	struct sk_sched *sched;
	skua_task *task;

	limit_memory();
	sched = new_sched(1);
	task = new_probe(sched, true);
	watched_block = task;
	finish(task, 3);
	T_EQ(references_of(task), 1);
	T_EQ(task->result, 3);
	T_EQ(count_of(&watched_block_freed), 0);
	sk_task_close_handle(task);
	T_EQ(count_of(&watched_block_freed), 1);
	end_sched(sched, 0);
}

T_TEST(task, abandoning_drops_the_future_once_and_tells_the_joiner)
{
	struct sk_sched *sched = new_sched(1);
	skua_task *task = new_idle_probe(sched, true);
	struct counting counting;
	skua_cx cx = counting_cx(&counting);

	T_EQ(sk_slot_wait(&task->join, &cx), SKUA_PENDING);
	sk_task_abandon(task);
	T_EQ(dropped, 1);
	T_EQ(count_of(&counting.wakes), 1);
	T_ASSERT(sk_task_is_complete(task));
	T_EQ(task->result, -ESHUTDOWN);
	T_EQ(sk_slot_wait(&task->join, &cx), 0);
	sk_task_wake(task);
	T_EQ(take_queued(sched, NULL), 0);
	T_EQ(sk_task_cancel(task), -ESRCH);
	sk_task_release(task);
	sk_task_close_handle(task);
	T_EQ(dropped, 1);
	T_EQ(count_of(&counting.references), 1);
	end_sched(sched, 0);
}

T_TEST(task, abandoning_works_without_a_drop_function)
{
	static const skua_future_ops ops = {NULL, NULL, sizeof(skua_future), "dropless", NULL};
	struct sk_sched *sched = new_sched(1);
	skua_future future = {&ops, 0, 0};
	skua_task *task = sk_task_new(sched, &future, sizeof future, false);

	sk_task_abandon(task);
	T_ASSERT(sk_task_is_complete(task));
	T_EQ(dropped, 0);
	sk_task_release(task);
	end_sched(sched, 0);
}

/* ---- Many threads ---- */

enum { WAKERS = 3 };

static struct stress {
	struct sk_sched *sched;
	skua_task *task;
	unsigned rounds;
	counter value, queued, ended;
} stress;

/* Half of the wakes give a reference up. What a wake announces is written before it, relaxed: only
 * the wake orders it. */
static void waker_main(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < stress.rounds; i++) {
		sk_fetch_add(&stress.value, 1, SK_RELAXED);
		if (i % 2 == 0) {
			sk_task_wake(stress.task);
		} else {
			sk_task_hold(stress.task);
			sk_task_wake_and_release(stress.task);
		}
		if (i % 64 == 0)
			sk_thread_yield();
	}
	count_up(&stress.ended);
}

T_TEST(task, stress_no_wake_is_lost_and_it_is_never_queued_twice)
{
	sk_thread threads[WAKERS];
	unsigned seen = 0;
	uint64_t until;

	stress.rounds = rounds_of(40000);
	stress.sched = new_sched(2);
	stress.task = new_idle_probe(stress.sched, false);
	for (unsigned i = 0; i < WAKERS; i++)
		T_EQ(sk_thread_start(&threads[i], "waker", waker_main, NULL), 0);
	until = after_ms(20000);
	while (seen < WAKERS * stress.rounds) {
		skua_task *queued = NULL;
		unsigned count = take_queued(stress.sched, &queued);

		T_ASSERT_MSG(sk_now() < until, "a wake is lost: %u seen", seen);
		T_LE(count, 1);
		if (count == 0) {
			sk_thread_yield();
			continue;
		}
		do {
			begin_poll(queued);
			seen = sk_load(&stress.value, SK_RELAXED);
		} while (end_poll(queued));
	}
	EVENTUALLY(count_of(&stress.ended) == WAKERS);
	for (unsigned i = 0; i < WAKERS; i++)
		sk_thread_join(&threads[i]);
	/* A last wake may have come too late to be needed. */
	T_LE(take_queued(stress.sched, NULL), 1);
	T_EQ(references_of(stress.task), 1);
	sk_task_release(stress.task);
	end_sched(stress.sched, 0);
}

static void handle_main(void *unused)
{
	(void)unused;
	await_count(&stress.queued, 1);
	sk_task_close_handle(stress.task);
	count_up(&stress.ended);
}

T_TEST(task, stress_the_handle_and_the_end_meet)
{
	unsigned rounds = rounds_of(2000);
	uint64_t until = end_of_rounds();

	stress.sched = new_sched(1);
	for (unsigned i = 0; i < rounds && sk_now() < until; i++) {
		struct counting counting;
		skua_cx cx = counting_cx(&counting);
		sk_thread thread;

		sk_init(&stress.queued, 0);
		stress.task = new_probe(stress.sched, true);
		T_EQ(sk_slot_wait(&stress.task->join, &cx), SKUA_PENDING);
		T_EQ(sk_thread_start(&thread, "handle", handle_main, NULL), 0);
		begin_poll(stress.task);
		count_up(&stress.queued);
		sk_task_complete(stress.task, 1, 0);
		sk_task_release(stress.task);
		sk_thread_join(&thread);
		T_EQ(count_of(&counting.references), 1);
		T_LE(count_of(&counting.wakes), 1);
	}
	end_sched(stress.sched, 0);
}
