/*
 * scope_select.c - select over 2, 8 and 64 operations. One of them, each time another one, wakes its
 * task at the first poll and is ready at the second; the others are cancelled. They wait for mailboxes that
 * nobody fills, which are alike in all programs, or for the runtime's own timers.
 */
#include "bench.h"
#include "give_way.h"
#include "mailbox.h"

enum { SELECTS = 10000, BRANCHES = 64 };

static struct mailbox mailboxes[BRANCHES];
static skua_timer timers[BRANCHES];

struct selector {
	skua_coro co;
	unsigned order; /* SKUA_FAIR or SKUA_IN_ORDER */
	bool for_timers;
	int i, winner;
	int64_t chosen, sum, rc;
	skua_compose select;
	struct give_way operation;
};

/* A loser is cancelled in the end. */
static skua_poll receive(skua_cx *cx, struct mailbox *mailbox)
{
	int interrupt = skua_cx_interrupt(cx);

	if (interrupt == 0)
		return mailbox_receive(cx, mailbox);
	mailbox_stop_receiving(mailbox);
	return interrupt;
}

static inline skua_poll branch(skua_cx *cx, struct selector *self, int number)
{
	if (number == self->winner)
		return give_way(cx, &self->operation, number);
	if (self->for_timers)
		return skua_sleep(cx, &timers[number], 3600 * SKUA_SEC);
	return receive(cx, &mailboxes[number]);
}

#define BRANCH(number) SKUA_BRANCH(number, self->rc = branch(cx, self, number))
#define FOUR_BRANCHES(first)                                                                       \
	BRANCH((first));                                                                           \
	BRANCH((first) + 1);                                                                       \
	BRANCH((first) + 2);                                                                       \
	BRANCH((first) + 3)
#define SIXTEEN_BRANCHES(first)                                                                    \
	FOUR_BRANCHES((first));                                                                    \
	FOUR_BRANCHES((first) + 4);                                                                \
	FOUR_BRANCHES((first) + 8);                                                                \
	FOUR_BRANCHES((first) + 12)

/* The winner of a select over so many branches. */
static int winner_of(int select, int branches)
{
	return (select * 7 + 3) % branches;
}

static skua_poll select_2(skua_cx *cx, struct selector *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < SELECTS; self->i++) {
		self->winner = winner_of(self->i, 2);
		SKUA_SELECT (self->chosen, cx, &self->select, self->order, 2) {
			BRANCH(0);
			BRANCH(1);
		}
		self->sum += self->chosen;
	}
	SKUA_END(self->sum);
}
SKUA_CORO(select_2, struct selector);

static skua_poll select_8(skua_cx *cx, struct selector *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < SELECTS; self->i++) {
		self->winner = winner_of(self->i, 8);
		SKUA_SELECT (self->chosen, cx, &self->select, self->order, 8) {
			FOUR_BRANCHES(0);
			FOUR_BRANCHES(4);
		}
		self->sum += self->chosen;
	}
	SKUA_END(self->sum);
}
SKUA_CORO(select_8, struct selector);

static skua_poll select_64(skua_cx *cx, struct selector *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < SELECTS; self->i++) {
		self->winner = winner_of(self->i, 64);
		SKUA_SELECT (self->chosen, cx, &self->select, self->order, 64) {
			SIXTEEN_BRANCHES(0);
			SIXTEEN_BRANCHES(16);
			SIXTEEN_BRANCHES(32);
			SIXTEEN_BRANCHES(48);
		}
		self->sum += self->chosen;
	}
	SKUA_END(self->sum);
}
SKUA_CORO(select_64, struct selector);

static const skua_future_ops *ops_of(int64_t branches)
{
	return branches == 2 ? &select_2_ops : branches == 8 ? &select_8_ops : &select_64_ops;
}

static void run(struct bench *bench, int64_t branches, unsigned order, bool for_timers)
{
	struct selector future = {
		.co = {ops_of(branches), 0, 0}, .order = order, .for_timers = for_timers};
	int64_t expected = 0;

	for (int i = 0; i < SELECTS; i++)
		expected += winner_of(i, (int)branches);
	must_be(skua_block_on(bench->runtime, &future.co), expected, "the sum of the winners");
	for (int i = 0; i < BRANCHES; i++)
		must_be(atomic_load(&mailboxes[i].state), 0, "the state of a mailbox");
}

static void fair(struct bench *bench, int64_t branches)
{
	run(bench, branches, SKUA_FAIR, false);
}

static void biased(struct bench *bench, int64_t branches)
{
	run(bench, branches, SKUA_IN_ORDER, false);
}

static void with_timers(struct bench *bench, int64_t branches)
{
	run(bench, branches, SKUA_FAIR, true);
}

#define SELECT(name_, count, function)                                                             \
	{                                                                                          \
		.name = "scope/" name_ #count, .operations = SELECTS, .argument = count,           \
		.iterate = function,                                                               \
	}

const struct workload scope_select[] = {
	SELECT("select_", 2, fair),
	SELECT("select_", 8, fair),
	SELECT("select_", 64, fair),
	SELECT("select_biased_", 2, biased),
	SELECT("select_biased_", 8, biased),
	SELECT("select_biased_", 64, biased),
	SELECT("select_timers_", 2, with_timers),
	SELECT("select_timers_", 8, with_timers),
	SELECT("select_timers_", 64, with_timers),
	{.name = NULL},
};
