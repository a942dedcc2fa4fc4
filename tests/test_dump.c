/* test_dump.c - what sk_sched_dump says of a scheduler. */
#include "tests/sched_support.h"

#include <stdio.h>

static void dump_of(struct sk_sched *sched, char *text, size_t size)
{
	FILE *file = fmemopen(text, size, "w");

	T_NOT_NULL(file);
	sk_sched_dump(sched, file);
	fclose(file);
}

#define T_SAYS(text, part) T_ASSERT_MSG(strstr(text, part) != NULL, "no \"%s\" in:\n%s", part, text)

struct held {
	skua_future future;
	counter *entered, *leave;
};

static skua_poll held_poll(skua_cx *cx, skua_future *self)
{
	struct held *held = (struct held *)(void *)self;

	(void)cx;
	count_up(held->entered);
	await_count(held->leave, 1);
	return 0;
}

static const skua_future_ops held_ops = {held_poll, NULL, sizeof(struct held), "held", NULL};

static counter entered, leave;

static void spawn_held(struct sk_sched *sched)
{
	struct held held = {{&held_ops, 0, 0}, &entered, &leave};

	T_EQ(sk_sched_spawn(sched, &held.future, NULL), 0);
}

T_TEST(dump, of_a_scheduler_that_does_not_run)
{
	struct sk_sched *sched = new_sched(2);
	char text[4096];

	dump_of(sched, text, sizeof text);
	T_SAYS(text,
	       "open, 2 workers, 0 spare, 0 parked, 0 searching, not watched, 0 tasks spawned");
	T_SAYS(text, "worker 0: awake without a task");
	T_SAYS(text, "worker 1: ");
	T_SAYS(text, "blocking pool: 0 threads, 0 idle");
	T_EQ(end_sched(sched, 0), 0);
}

T_TEST(dump, queued_tasks_and_where_they_are)
{
	struct sk_sched *sched = new_sched(1);
	char text[4096];

	spawn_held(sched);
	spawn_held(sched);
	dump_of(sched, text, sizeof text);
	T_SAYS(text, "2 tasks spawned, 0 completed");
	T_SAYS(text, "inbox 2");
	T_SAYS(text, "in the inbox, worker 0");
	T_SAYS(text, "2 tasks");
	T_EQ(end_sched(sched, 0), 2);
}

T_TEST(dump, a_running_task_and_a_parked_worker)
{
	struct sk_sched *sched = start_sched(2);
	char text[4096];

	spawn_held(sched);
	await_count(&entered, 1);
	EVENTUALLY(sk_idle_count(&sched->idle) == 1);
	dump_of(sched, text, sizeof text);
	T_SAYS(text, "1 parked");
	T_SAYS(text, ": runs task 0x");
	T_SAYS(text, ": parked; ");
	T_SAYS(text, " running, worker ");
	count_up(&leave);
	T_EQ(end_sched(sched, 10000), 0);
}

/* While everything moves it may say anything, but it must come back. */
T_TEST(dump, while_tasks_run)
{
	struct sk_sched *sched = start_sched(2);
	static char text[1 << 16];
	uint64_t until = end_of_rounds();

	count_up(&leave);
	while (sk_now() < until) {
		for (int i = 0; i < 20; i++)
			spawn_held(sched);
		dump_of(sched, text, sizeof text);
		T_SAYS(text, "open, 2 workers");
	}
	T_EQ(end_sched(sched, 10000), 0);
}

T_TEST(dump, memory_that_is_not_there_cannot_be_peeked)
{
	int value = 7, copy = 0;

	T_ASSERT(sk_peek(&copy, &value, sizeof copy));
	T_EQ(copy, 7);
	T_ASSERT(!sk_peek(&copy, NULL, sizeof copy));
}
