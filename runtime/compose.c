/*
 * compose.c - skua/compose.h: several operations at once in one task.
 *
 * A composition stands between its branches and what is around it. While a branch is polled, a
 * shield and an interrupt (sched/interrupt.h) of the composition's own are around it: so no branch
 * takes a cancellation that is meant for all. The composition alone asks outside, before it polls
 * its branches and after, and then tells each of them by its own interrupt: a telling. There are
 * three reasons for one:
 *
 *   - The result is known: a winner, a first error.
 *   - It is not known, and something outside wants the end. That is taken, and the result is
 *     -ECANCELED.
 *   - It is known, and something outside wants the end. That is only passed on: it is not taken, so
 *     the next await outside is told, and the result is not lost for it.
 *
 * So of several things outside one is taken at most, and a skua_timeout around the whole never makes
 * its error of another's. A branch that has not heard of one telling (it is shielded) when the next
 * one comes, hears of both at once.
 *
 * A poll is made of passes over the branches that are pending, and a telling causes one more, over
 * those that have not heard of it: nobody else would wake the task for that. Each reason is told
 * once, so the passes end.
 */
#include "skua/compose.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sched/cx.h"
#include "sched/interrupt.h"
#include "sched/worker.h"

/* The states of 64 branches. */
struct __attribute__((may_alias)) word {
	uint64_t pending; /* has not ended */
	uint64_t untold;  /* pending, and has not heard of the last telling */
};

/* May alias: it lives in storages that users assign as a whole. */
struct __attribute__((may_alias)) compose {
	struct sk_interrupt interrupt;
	struct word own;       /* of a block; a group's words are in its branches */
	skua_branch *branches; /* of a group, or NULL */
	int64_t value;         /* the result if nothing more happens */
	uintptr_t passed_on;   /* what was last told without being taken, see sk_cx_due */
	uint32_t count, left;  /* all, and those that are pending */
	uint32_t untold;       /* how many have not heard of the last telling */
	uint8_t kind;
	bool in_order, active, known;

	/* Of the poll that goes on. */
	bool again;   /* there was a telling since the pass began */
	bool partial; /* a pass over the untold ones only */
	bool wrapped; /* the pass has come to the last branch, and goes on from the first one */
	uint32_t start;
	uint32_t base;     /* the first branch of the word that the pass is at, */
	struct word *word; /* that word, */
	uint64_t todo;     /* and those of its members that are still to come */
	int32_t budget, share;
};

_Static_assert(sizeof(struct compose) <= sizeof(skua_compose), "skua_compose is too small");
_Static_assert(sizeof(struct compose) <= sizeof(((skua_group *)0)->opaque),
	       "skua_group is too small");
_Static_assert(sizeof(struct word) <= sizeof(((skua_branch *)0)->opaque),
	       "skua_branch is too small");

enum { WORD = 64, BLOCK_MAX = WORD };

/* What a block has before the branch is evaluated: no operation returns it. */
static const skua_poll not_evaluated = SKUA_PENDING + 1;

/* Branch i of a group keeps the word of the branches 64 i to 64 i + 63. */
static struct word *word_at(struct compose *self, uint32_t index)
{
	if (self->branches == NULL)
		return &self->own;
	return (struct word *)(void *)self->branches[index].opaque;
}

static void start(struct compose *self, unsigned kind, unsigned order, skua_branch *branches,
		  uint32_t count)
{
	/* The interrupt is as new after each poll; what belongs to a poll is set by it. */
	self->interrupt.is_composition = true;
	self->branches = branches;
	self->value = 0;
	self->passed_on = 0;
	self->count = self->left = count;
	self->untold = 0;
	self->kind = (uint8_t)kind;
	self->in_order = kind < SKUA_COMPOSE_SELECT_ || order == SKUA_IN_ORDER;
	self->active = true;
	self->known = false;
	for (uint32_t first = 0; first < count; first += WORD) {
		struct word *word = word_at(self, first / WORD);

		word->pending =
			count - first < WORD ? (UINT64_C(1) << (count - first)) - 1 : UINT64_MAX;
		word->untold = 0;
	}
}

/* ---- Tellings ---- */

static void tell_all(struct compose *self)
{
	for (uint32_t first = 0; first < self->count; first += WORD) {
		struct word *word = word_at(self, first / WORD);

		word->untold = word->pending;
	}
	self->untold = self->left;
	self->again = true;
}

__attribute__((noinline, cold)) static void ask_what(skua_cx *cx, struct compose *self)
{
	uintptr_t due;

	if (!self->known) {
		if (skua_cx_interrupt(cx) == 0)
			return;
		self->known = true;
		self->value = -ECANCELED;
	} else {
		due = sk_cx_due(cx);
		if (due == 0 || due == self->passed_on)
			return;
		self->passed_on = due;
	}
	tell_all(self);
}

/* Asks what is around the composition. */
static inline void ask(skua_cx *cx, struct compose *self)
{
	if (!sk_cx_is_undisturbed(cx))
		ask_what(cx, self);
}

/* A branch has heard of the last telling. */
static inline void heard(struct compose *self, uint64_t bit)
{
	self->word->untold &= ~bit;
	self->untold--;
}

/* ---- One branch ---- */

/* A branch has ended: is the result known by that? */
static void look_at(struct compose *self, uint32_t number, skua_poll result)
{
	switch (self->kind) {
	case SKUA_COMPOSE_JOIN_:
		return;
	case SKUA_COMPOSE_TRY_JOIN_:
		if (result >= 0)
			return;
		break;
	case SKUA_COMPOSE_SELECT_:
		result = number;
		break;
	case SKUA_COMPOSE_RACE_OK_:
		if (result < 0) {
			if (self->value == 0)
				self->value = result;
			return;
		}
		break;
	default:
		break;
	}
	self->value = result;
	self->known = true;
	tell_all(self);
}

/* A branch of the present word has ended. */
static inline void end_branch(struct compose *self, uint32_t number, uint64_t bit, skua_poll result)
{
	if ((self->word->untold & bit) != 0)
		heard(self, bit);
	self->word->pending &= ~bit;
	self->left--;
	if (self->branches != NULL)
		self->branches[number].result = result;
	if (!self->known)
		look_at(self, number, result);
}

/* Before a branch of the present word is polled. */
static inline void lead(skua_cx *cx, struct compose *self, uint32_t number)
{
	cx->budget = self->share;
	if ((self->word->untold >> number % WORD & 1) != 0) {
		self->interrupt.error = -ECANCELED;
		cx->due++;
	}
}

/* And after it. */
static inline void take(skua_cx *cx, struct compose *self, uint32_t number, skua_poll result)
{
	uint64_t bit = UINT64_C(1) << number % WORD;

	self->budget -= self->share - cx->budget;
	if (self->interrupt.error != 0) {
		if (self->interrupt.delivered)
			heard(self, bit);
		else
			cx->due--;
		self->interrupt.error = 0;
		self->interrupt.delivered = false;
	}
	if (result != SKUA_PENDING)
		end_branch(self, number, bit, result);
}

/* Comes to a word: which of its branches this pass is about. */
static inline void come_to(struct compose *self, uint32_t base)
{
	self->base = base;
	self->word = word_at(self, base / WORD);
	self->todo = self->partial ? self->word->untold : self->word->pending;
}

/* Begins a pass: with branch `start`, up to the last one, and then from the first one on. */
static inline void begin_pass(struct compose *self, uint32_t start)
{
	self->again = self->wrapped = false;
	self->start = start;
	come_to(self, start & ~(uint32_t)(WORD - 1));
	self->todo &= UINT64_MAX << start % WORD;
}

/* Goes on to the next word that has something to do; false: the pass is over. */
static bool next_word(struct compose *self)
{
	uint32_t base = self->base + WORD;

	/* As nearly always. */
	if (self->count <= WORD && self->start == 0)
		return false;
	for (;;) {
		uint32_t end = self->wrapped ? self->start : self->count;

		for (; base < end; base += WORD) {
			come_to(self, base);
			if (self->wrapped && end - base < WORD)
				self->todo &= (UINT64_C(1) << (end - base)) - 1;
			if (self->todo != 0)
				return true;
		}
		if (self->wrapped || self->start == 0)
			return false;
		self->wrapped = true;
		base = 0;
	}
}

/* ---- One poll ---- */

static void enter(skua_cx *cx, struct compose *self)
{
	cx->shields++;
	sk_interrupt_enter(&self->interrupt, cx);
}

static void leave(skua_cx *cx, struct compose *self)
{
	(void)sk_interrupt_leave(&self->interrupt, cx);
	cx->shields--;
}

/* How many bits a number has: two to the power of this is more than it. */
static inline unsigned bits_of(uint32_t number)
{
	return number > 0 ? 32 - (unsigned)__builtin_clz(number) : 0;
}

/* Begins a poll. False: it is over already, the task has used up its budget. */
static bool begin(skua_cx *cx, struct compose *self)
{
	struct sk_worker *worker = cx->worker;
	uint32_t random, start = 0;

	ask(cx, self);
	if (self->untold == 0 && !sk_cx_budget(cx))
		return false;
	if (!self->in_order) {
		random = worker != NULL ? sk_random(&worker->random)
					: (uint32_t)sk_now() * 2654435769u;
		start = (uint32_t)((uint64_t)random * self->count >> 32);
	}
	self->partial = false;
	begin_pass(self, start);
	/* At least one for each: else the last ones would get none as long as the first use up all.
	 * */
	self->budget = cx->budget;
	self->share = cx->budget >> bits_of(self->left - 1);
	if (self->share < 1)
		self->share = 1;
	enter(cx, self);
	return true;
}

/* A pass is over. True: there is another one. */
static inline bool end_pass(skua_cx *cx, struct compose *self)
{
	if (self->left > 0 && !sk_cx_is_undisturbed(cx)) {
		leave(cx, self);
		ask_what(cx, self);
		enter(cx, self);
	}
	if (self->left == 0 || !self->again) {
		leave(cx, self);
		cx->budget = self->budget > 0 ? self->budget : 0;
		return false;
	}
	self->partial = true;
	begin_pass(self, 0);
	return true;
}

/* The next branch of this poll, or -1: it is over. */
static inline int64_t next(skua_cx *cx, struct compose *self)
{
	uint32_t number;

	while (self->todo == 0)
		if (!next_word(self) && !end_pass(cx, self))
			return -1;
	number = self->base + (uint32_t)__builtin_ctzll(self->todo);
	self->todo &= self->todo - 1;
	lead(cx, self, number);
	return number;
}

static skua_poll finish(struct compose *self)
{
	if (self->left > 0)
		return SKUA_PENDING;
	self->active = false;
	return self->value;
}

/* ---- Blocks ---- */

/* Begins the poll of a block, and its await. 0, an error, or SKUA_PENDING. */
static skua_poll begin_block(skua_cx *cx, struct compose *self, const skua_compose_poll *poll)
{
	unsigned kind = poll->kind & 0xff, order = poll->kind >> 8;

	if (poll->count > BLOCK_MAX || order > SKUA_IN_ORDER)
		return -EINVAL;
	if (!self->active)
		start(self, kind, order, NULL, poll->count);
	else if (self->interrupt.around > 0 || self->kind != kind || self->count != poll->count)
		return -EINVAL;
	return begin(cx, self) ? 0 : SKUA_PENDING;
}

__attribute__((noinline, cold, noreturn)) static void
branch_is_missing(const skua_compose_poll *poll)
{
	fprintf(stderr, "skua: %s:%u: there is no SKUA_BRANCH(%d, ...), but %u were announced\n",
		poll->file, poll->line, poll->number, poll->count);
	sk_panic("a branch is missing");
}

int skua_compose_next(skua_cx *cx, skua_compose_poll *poll)
{
	struct compose *self = (struct compose *)(void *)poll->storage;

	if (poll->number < 0) {
		poll->value = begin_block(cx, self, poll);
		if (poll->value != 0)
			return 0;
	} else if (poll->result == not_evaluated) {
		branch_is_missing(poll);
	} else {
		take(cx, self, (uint32_t)poll->number, poll->result);
	}
	poll->number = (int32_t)next(cx, self);
	poll->result = not_evaluated;
	if (poll->number >= 0)
		return 1;
	poll->value = finish(self);
	return 0;
}

/* ---- Groups ---- */

static struct compose *compose_of(skua_future *future)
{
	return (struct compose *)(void *)((skua_group *)(void *)future)->opaque;
}

static skua_poll group_poll(skua_cx *cx, skua_future *future)
{
	struct compose *self = compose_of(future);
	int64_t number;

	/* It is a branch of its own, or has ended before. */
	if (!self->active || self->interrupt.around > 0)
		return -EINVAL;
	if (!begin(cx, self))
		return SKUA_PENDING;
	while ((number = next(cx, self)) >= 0) {
		skua_future *branch = self->branches[number].future;

		take(cx, self, (uint32_t)number, branch->ops->poll(cx, branch));
	}
	return finish(self);
}

static void group_drop(skua_future *future)
{
	struct compose *self = compose_of(future);

	if (!self->active)
		return;
	self->active = false;
	for (uint32_t i = 0; i < self->count; i++) {
		skua_future *branch = self->branches[i].future;

		if ((word_at(self, i / WORD)->pending >> i % WORD & 1) != 0 &&
		    branch->ops->drop != NULL)
			branch->ops->drop(branch);
	}
}

static const skua_future_ops group_ops = {
	.poll = group_poll,
	.drop = group_drop,
	.size = sizeof(skua_group),
	.name = "group",
	.file = NULL,
};

static int make(skua_group *group, skua_branch *branches, size_t count, unsigned kind,
		unsigned order)
{
	if (group == NULL || (branches == NULL && count > 0) || count > INT32_MAX ||
	    order > SKUA_IN_ORDER || (count == 0 && kind >= SKUA_COMPOSE_SELECT_))
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (branches[i].future == NULL)
			return -EINVAL;
	for (size_t i = 0; i < count; i++)
		branches[i].result = SKUA_PENDING;
	memset(group, 0, sizeof *group);
	group->future.ops = &group_ops;
	/* An array of none has no word either. */
	start(compose_of(&group->future), kind, order, count > 0 ? branches : NULL,
	      (uint32_t)count);
	return 0;
}

int skua_group_join(skua_group *group, skua_branch *branches, size_t count)
{
	return make(group, branches, count, SKUA_COMPOSE_JOIN_, SKUA_IN_ORDER);
}

int skua_group_try_join(skua_group *group, skua_branch *branches, size_t count)
{
	return make(group, branches, count, SKUA_COMPOSE_TRY_JOIN_, SKUA_IN_ORDER);
}

int skua_group_select(skua_group *group, skua_branch *branches, size_t count, unsigned order)
{
	return make(group, branches, count, SKUA_COMPOSE_SELECT_, order);
}

int skua_group_race(skua_group *group, skua_branch *branches, size_t count, unsigned order)
{
	return make(group, branches, count, SKUA_COMPOSE_RACE_, order);
}

int skua_group_race_ok(skua_group *group, skua_branch *branches, size_t count, unsigned order)
{
	return make(group, branches, count, SKUA_COMPOSE_RACE_OK_, order);
}
