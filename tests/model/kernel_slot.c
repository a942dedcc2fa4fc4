/* kernel_slot.c - the slot: a waiter and its events, for tasks and for foreign wakers. */
#include <errno.h>

#include "sched/sched.h"
#include "sched/task.h"
#include "sched/waiter.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"

static sk_slot slot;
static int event;                  /* plain: the slot's orders have to be enough */
static SK_ATOMIC(uint32_t) events; /* for those who look at it without the slot */
static struct sk_sched *sched;     /* does not run: what is woken stays in its inbox */
static skua_task *tasks[2];
static skua_poll answers[2];

/* ---- Tasks ---- */

/* Tasks in the middle of their first poll. */
static void begin(unsigned count)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};

	mc_assert(sk_sched_new(&options, &sched) == 0);
	sk_slot_init(&slot);
	for (unsigned i = 0; i < count; i++) {
		tasks[i] = sk_task_new(sched, NULL, 0, false);
		sk_fetch_xor(&tasks[i]->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	}
}

static skua_cx cx_of(skua_task *task)
{
	skua_cx cx = {.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};

	return cx;
}

/* The poll ends with PENDING. */
static void end_poll(skua_task *task)
{
	sk_fetch_xor(&task->state, SK_TASK_RUNNING, SK_ACQ_REL);
}

static void waiter(void *argument)
{
	uintptr_t i = (uintptr_t)argument;
	skua_cx cx = cx_of(tasks[i]);

	answers[i] = sk_slot_wait(&slot, &cx);
	if (answers[i] == 0)
		mc_assert(event == 1);
	end_poll(tasks[i]);
}

static void firer(void *unused)
{
	(void)unused;
	event = 1;
	sk_waiter_wake(sk_slot_fire(&slot));
}

/* A slot that has been fired before is fired again. */
static void second_firer(void *unused)
{
	(void)unused;
	sk_waiter_wake(sk_slot_fire(&slot));
}

static bool is_scheduled(skua_task *task)
{
	return (sk_load(&task->state, SK_RELAXED) & SK_TASK_SCHEDULED) != 0;
}

/* Who is in the inbox is there once and SCHEDULED, with no reference but that of its life. */
static void finish(unsigned count)
{
	skua_task *task = sk_inbox_take(&sched->workers[0]->inbox);
	unsigned queued[2] = {0};

	for (; task != NULL; task = task->next) {
		mc_assert(is_scheduled(task));
		queued[task == tasks[1]]++;
	}
	sk_slot_reset(&slot);
	for (unsigned i = 0; i < count; i++) {
		mc_assert(queued[i] <= 1);
		mc_assert(sk_load(&tasks[i]->state, SK_RELAXED) / SK_TASK_REFERENCE == 1);
		sk_task_release(tasks[i]);
	}
	mc_assert(sk_sched_free(sched) == 0);
}

MC_SCENARIO(slot, wait_against_fire)
{
	begin(1);
	mc_start(waiter, 0);
	mc_start(firer, 0);
	mc_join_all();
	mc_assert(answers[0] == 0 || answers[0] == SKUA_PENDING);
	/* The event is not lost, and does not come twice. */
	mc_assert(is_scheduled(tasks[0]) == (answers[0] == SKUA_PENDING));
	mc_assert(sk_slot_is_ready(&slot));
	finish(1);
}

MC_SCENARIO(slot, wait_against_two_fires)
{
	begin(1);
	event = 1;
	mc_start(waiter, 0);
	mc_start(second_firer, 0);
	second_firer(NULL);
	mc_join_all();
	mc_assert(is_scheduled(tasks[0]) == (answers[0] == SKUA_PENDING));
	finish(1);
}

/* One slot has one waiter: the other task is told. */
MC_SCENARIO(slot, two_tasks_wait)
{
	begin(2);
	mc_start(waiter, 0);
	mc_start(waiter, 1);
	firer(NULL);
	mc_join_all();
	for (int i = 0; i < 2; i++) {
		mc_assert(answers[i] == 0 || answers[i] == SKUA_PENDING || answers[i] == -EBUSY);
		mc_assert(is_scheduled(tasks[i]) == (answers[i] == SKUA_PENDING));
	}
	mc_assert(answers[0] != -EBUSY || answers[1] != -EBUSY);
	finish(2);
}

/* Waits for the second event: resets before each look at the counter, which is read relaxed. */
static void resetting_waiter(void *unused)
{
	skua_cx cx = cx_of(tasks[0]);

	(void)unused;
	do {
		sk_slot_reset(&slot);
		if (sk_load(&events, SK_RELAXED) == 2) {
			answers[0] = 0;
			return;
		}
		answers[0] = sk_slot_wait(&slot, &cx);
	} while (answers[0] == 0);
	mc_assert(answers[0] == SKUA_PENDING);
}

static void resetting_poll(void *unused)
{
	resetting_waiter(unused);
	end_poll(tasks[0]);
}

static void counting_firer(void *unused)
{
	(void)unused;
	sk_fetch_add(&events, 1, SK_RELAXED);
	sk_waiter_wake(sk_slot_fire(&slot));
}

static void counting_firer_twice(void *unused)
{
	counting_firer(unused);
	counting_firer(unused);
}

MC_SCENARIO(slot, reset_against_fires)
{
	begin(1);
	mc_start(resetting_poll, 0);
	mc_start(counting_firer_twice, 0);
	mc_join_all();
	mc_assert(answers[0] == 0 || is_scheduled(tasks[0]));
	finish(1);
}

MC_SCENARIO(slot, reset_against_two_firers)
{
	begin(1);
	mc_start(resetting_poll, 0);
	mc_start(counting_firer, 0);
	counting_firer(NULL);
	mc_join_all();
	mc_assert(answers[0] == 0 || is_scheduled(tasks[0]));
	finish(1);
}

/* What is waited for is given up while it comes: then the wake is on its way, or there is none. */
static void forgetful_waiter(void *unused)
{
	skua_cx cx = cx_of(tasks[0]);

	waiter(unused);
	sk_slot_forget(&slot, cx.task);
}

MC_SCENARIO(slot, forget_against_fire)
{
	begin(1);
	mc_start(forgetful_waiter, 0);
	mc_start(firer, 0);
	mc_join_all();
	mc_assert(sk_slot_is_ready(&slot));
	finish(1);
}

/* A reset takes the wait of a former poll back. */
static void waits_and_resets(void *unused)
{
	skua_cx cx = cx_of(tasks[0]);

	(void)unused;
	answers[0] = sk_slot_wait(&slot, &cx);
	resetting_poll(NULL);
}

MC_SCENARIO(slot, reset_of_a_wait_against_fires)
{
	begin(1);
	mc_start(waits_and_resets, 0);
	mc_start(counting_firer_twice, 0);
	mc_join_all();
	mc_assert(answers[0] == 0 || is_scheduled(tasks[0]));
	finish(1);
}

/* Who sees the slot ready has the event without another look. */
static void looker(void *unused)
{
	(void)unused;
	if (sk_slot_is_ready(&slot))
		mc_assert(event == 1);
}

MC_SCENARIO(slot, a_look_against_fire)
{
	sk_slot_init(&slot);
	mc_start(firer, 0);
	looker(NULL);
	mc_join_all();
}

/* "Close against wait" in io/source.h: the closer sets the second word, then fires; the waiter empties
 * the slot, waits, then looks at that word. All looks at it are relaxed: the slot has to be enough. */
static SK_ATOMIC(uint32_t) closing;

static void waiter_that_looks(void *unused)
{
	skua_cx cx = cx_of(tasks[0]);

	(void)unused;
	sk_slot_reset(&slot);
	answers[0] = sk_slot_wait(&slot, &cx);
	if (sk_load(&closing, SK_RELAXED) != 0) {
		sk_slot_reset(&slot);
		answers[0] = -ECANCELED;
	}
	end_poll(tasks[0]);
}

static void closer(void *unused)
{
	(void)unused;
	sk_store(&closing, 1, SK_RELAXED);
	sk_waiter_wake(sk_slot_fire(&slot));
}

MC_SCENARIO(slot, close_against_wait)
{
	begin(1);
	mc_start(waiter_that_looks, 0);
	mc_start(closer, 0);
	mc_join_all();
	mc_assert(answers[0] != SKUA_PENDING || is_scheduled(tasks[0]));
	finish(1);
}

/* The same while events come. */
MC_SCENARIO(slot, close_against_wait_under_events)
{
	begin(1);
	mc_start(waiter_that_looks, 0);
	mc_start(closer, 0);
	second_firer(NULL);
	mc_join_all();
	mc_assert(answers[0] != SKUA_PENDING || is_scheduled(tasks[0]));
	finish(1);
}

/* ---- Foreign wakers ---- */

struct foreign {
	SK_ATOMIC(uint32_t) references, wakes;
	int woken; /* plain: an event is seen after the wake that it caused */
};

static struct foreign foreign[2];

static void *foreign_clone(void *data)
{
	sk_fetch_add(&((struct foreign *)data)->references, 1, SK_RELAXED);
	return data;
}

static void foreign_wake_by_ref(void *data)
{
	struct foreign *own = data;

	own->woken = event;
	sk_fetch_add(&own->wakes, 1, SK_RELAXED);
}

static void foreign_drop(void *data)
{
	sk_fetch_sub(&((struct foreign *)data)->references, 1, SK_RELAXED);
}

static void foreign_wake(void *data)
{
	foreign_wake_by_ref(data);
	foreign_drop(data);
}

static const skua_waker_ops foreign_ops = {foreign_clone, foreign_wake, foreign_wake_by_ref,
					   foreign_drop};

static void foreign_cx(skua_cx *cx, struct foreign *own)
{
	skua_waker waker = {&foreign_ops, own};

	skua_cx_init(cx, NULL, &waker);
}

static void foreign_waiter(void *unused)
{
	skua_cx cx;

	(void)unused;
	foreign_cx(&cx, &foreign[0]);
	answers[0] = sk_slot_wait(&slot, &cx);
	if (answers[0] == 0)
		mc_assert(event == 1);
}

static void foreign_finish(void)
{
	mc_assert(sk_slot_is_ready(&slot));
	for (int i = 0; i < 2; i++)
		mc_assert(sk_load(&foreign[i].references, SK_RELAXED) == 0);
}

MC_SCENARIO(slot, foreign_wait_against_fire)
{
	mc_start(foreign_waiter, 0);
	mc_start(firer, 0);
	mc_join_all();
	mc_assert(sk_load(&foreign[0].wakes, SK_RELAXED) == (answers[0] == SKUA_PENDING));
	foreign_finish();
}

/* Each poll brings another waker: the last one that waits is woken, and only that. */
static void changing_waiter(void *unused)
{
	skua_cx cx;

	foreign_waiter(unused);
	foreign_cx(&cx, &foreign[1]);
	do
		answers[1] = sk_slot_wait(&slot, &cx);
	while (answers[1] == -EBUSY);
}

MC_SCENARIO(slot, foreign_waker_is_replaced_against_fire)
{
	uint32_t first, second;

	mc_start(changing_waiter, 0);
	mc_start(firer, 0);
	mc_join_all();
	first = sk_load(&foreign[0].wakes, SK_RELAXED);
	second = sk_load(&foreign[1].wakes, SK_RELAXED);
	mc_assert(second == (answers[1] == SKUA_PENDING));
	/* The first one is woken if it waited and was not replaced. */
	mc_assert(first == (answers[0] == SKUA_PENDING && answers[1] == 0));
	foreign_finish();
}

static void forgetful_foreigner(void *unused)
{
	skua_cx cx;

	foreign_waiter(unused);
	foreign_cx(&cx, &foreign[0]);
	sk_slot_forget(&slot, cx.task);
}

MC_SCENARIO(slot, foreign_forget_against_fire)
{
	mc_start(forgetful_foreigner, 0);
	mc_start(firer, 0);
	mc_join_all();
	mc_assert(sk_load(&foreign[0].wakes, SK_RELAXED) <= (answers[0] == SKUA_PENDING));
	foreign_finish();
}
