/*
 * compose.h - what blocks and groups of branches (skua/compose.h) have in common.
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
 * its error of another's. Each of the others is passed on once; for that it is marked, or numbered
 * where it may come again, in a composition around this one. A branch that has not heard of one
 * telling (it is shielded) when the next one comes, hears of both at once.
 *
 * A poll is a pass over the branches that are pending. A telling within it begins another one, over
 * those that have not heard of it: nobody else would wake the task for that. Each reason is told
 * once, so the passes end.
 *
 * Nearly all of this is inlined into its two users. A block passes NULL for `branches`, and its copy
 * has no loop over words.
 */
#ifndef SKUA_RUNTIME_COMPOSE_H
#define SKUA_RUNTIME_COMPOSE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/cx.h"
#include "sched/interrupt.h"
#include "sched/worker.h"
#include "skua/compose.h"

/* The states of 64 branches. */
struct __attribute__((may_alias)) compose_word {
	uint64_t pending; /* has not ended */
	uint64_t untold;  /* pending, and has not heard of the last telling */
};

enum { COMPOSE_WORD = 64 };

/* May alias: it lives in storages that users assign as a whole. */
struct __attribute__((may_alias)) compose {
	skua_compose_pass pass; /* of the poll that goes on */
	struct sk_interrupt interrupt;
	uint64_t what;           /* of an await that goes on: compose_what */
	struct compose_word own; /* of a block; a group's words are in its branches */
	skua_branch *branches;   /* of a group, or NULL */
	int64_t value;           /* the result if nothing more happens */
	uint32_t left;           /* how many are pending, */
	uint8_t log2_left;       /* and the least power of two that is not below that */
	bool known;
	bool has_passed_on;    /* something */
	uint8_t passed_cancel; /* which of the task's own, SK_CANCEL_* */
	uint16_t tellings;     /* their number */
	uint16_t passed;       /* which one of the composition around this one was passed on last */

	/* Of the poll that goes on, too. */
	bool partial;    /* the pass is over the untold ones only */
	int32_t spare;   /* what is left of the task's budget, but for the present share */
	uint32_t untold; /* of a group: how many have not heard of the last telling */
	uint32_t base;   /* of a group: the first branch of the word that the pass is at */
	uint32_t words;  /* of a group: how many more it has to come to */
	uint64_t rest;   /* of a group: what is left for the end of the word it began in */
	struct compose_word *word; /* of a group: where the pass is */
};

_Static_assert(sizeof(struct compose) <= sizeof(skua_compose), "skua_compose is too small");
_Static_assert(sizeof(struct compose) <= sizeof(((skua_group *)0)->opaque),
	       "skua_group is too small");
_Static_assert(sizeof(struct compose_word) <= sizeof(((skua_branch *)0)->opaque),
	       "skua_branch is too small");
_Static_assert(offsetof(skua_compose, pass) == 0, "the pass of a skua_compose is not first");

/* Of one of SKUA_COMPOSE_, with the order and, of a block, its line. Never 0, since none of those is. */
static inline uint64_t compose_what(uint32_t kind, uint32_t count)
{
	return (uint64_t)count << 32 | kind;
}

static inline uint32_t compose_count(const struct compose *self)
{
	return (uint32_t)(self->what >> 32);
}

/* The word the pass is at. */
static inline struct compose_word *compose_word(struct compose *self, const skua_branch *branches)
{
	return branches == NULL ? &self->own : self->word;
}

static inline void compose_set_left(struct compose *self, uint32_t left)
{
	self->left = left;
	self->log2_left = left > 1 ? 32 - (unsigned)__builtin_clz(left - 1) : 0;
}

/* Branch i of a group keeps the word of the branches 64 i to 64 i + 63. */
static inline struct compose_word *compose_word_at(struct compose *self, skua_branch *branches,
						   uint32_t index)
{
	if (branches == NULL)
		return &self->own;
	return (struct compose_word *)(void *)branches[index].opaque;
}

/* What belongs to a poll is set by it, and the interrupt is as new after each. */
static inline void compose_start(struct compose *self, uint64_t what, skua_branch *branches)
{
	uint32_t count = (uint32_t)(what >> 32);

	self->interrupt.kind = SK_INTERRUPT_COMPOSITION;
	self->what = what;
	self->branches = branches;
	self->value = 0;
	self->untold = 0;
	self->known = false;
	self->has_passed_on = false;
	self->passed_cancel = SK_CANCEL_NONE;
	self->tellings = 0;
	self->passed = 0;
	compose_set_left(self, count);
	for (uint32_t first = 0; first < count; first += COMPOSE_WORD) {
		struct compose_word *word = compose_word_at(self, branches, first / COMPOSE_WORD);
		uint32_t members = count - first < COMPOSE_WORD ? count - first : COMPOSE_WORD;

		word->pending = UINT64_MAX >> (COMPOSE_WORD - members);
		word->untold = 0;
		if (branches == NULL)
			break;
	}
}

/* ---- Tellings ---- */

static inline void compose_tell_all(struct compose *self, skua_branch *branches)
{
	for (uint32_t first = 0; first < compose_count(self); first += COMPOSE_WORD) {
		struct compose_word *word = compose_word_at(self, branches, first / COMPOSE_WORD);

		word->untold = word->pending;
		if (branches == NULL)
			break;
	}
	self->untold = self->left;
	self->tellings++;
}

/* Marks what is due outside. Returns whether any of it had not been passed on. */
static bool compose_pass_on(skua_cx *cx, struct compose *self)
{
	uint8_t cancel = sk_cx_task_due(cx);
	bool news = cancel > self->passed_cancel;

	if (news)
		self->passed_cancel = cancel;
	/* As far as the next shield; a composition is one. */
	for (struct sk_interrupt *i = cx->interrupts; i != NULL && i->shields == cx->shields;
	     i = i->outer) {
		if (i->error == 0 || i->delivered)
			continue;
		if (i->kind == SK_INTERRUPT_COMPOSITION) {
			const struct compose *outer =
				(const void *)((const char *)i -
					       offsetof(struct compose, interrupt));

			news |= self->passed != outer->tellings;
			self->passed = outer->tellings;
		} else {
			/* The mark may be an earlier composition's. */
			news |= !i->passed_on || !self->has_passed_on;
			i->passed_on = true;
		}
	}
	self->has_passed_on = true;
	return news;
}

/* Asks what is outside. Returns whether that was a telling. */
__attribute__((noinline, cold)) static bool compose_ask(skua_cx *cx, struct compose *self)
{
	if (self->known ? !compose_pass_on(cx, self) : skua_cx_interrupt(cx) == 0)
		return false;
	if (!self->known) {
		self->known = true;
		self->value = -ECANCELED;
	}
	compose_tell_all(self, self->branches);
	return true;
}

/* Whether a branch has not heard of the last telling. */
static inline bool compose_has_untold(const struct compose *self, const skua_branch *branches)
{
	return branches == NULL ? self->own.untold != 0 : self->untold > 0;
}

/* A branch of the present word has heard of it. */
static inline void compose_heard(struct compose *self, skua_branch *branches, uint64_t bit)
{
	compose_word(self, branches)->untold &= ~bit;
	self->untold--;
}

/* ---- Passes ---- */

/* Comes to a word of a group. Returns which of its branches this pass is about. */
static inline uint64_t compose_come_to(struct compose *self, skua_branch *branches, uint32_t base)
{
	self->base = base;
	self->word = compose_word_at(self, branches, base / COMPOSE_WORD);
	return self->partial ? self->word->untold : self->word->pending;
}

/* Begins a pass: with branch `start`, up to the last one, and then from the first one on. */
static inline void compose_begin_pass(struct compose *self, skua_branch *branches, uint32_t start)
{
	uint32_t before = start % COMPOSE_WORD;
	uint64_t members;

	if (branches == NULL) {
		members = self->partial ? self->own.untold : self->own.pending;
		self->pass.todo = members >> before | members << -before % COMPOSE_WORD;
		self->pass.turned = before;
		return;
	}
	members = compose_come_to(self, branches, start - before);
	self->pass.todo = members & UINT64_MAX << before;
	self->rest = members & ~(UINT64_MAX << before);
	self->words = (compose_count(self) + COMPOSE_WORD - 1) / COMPOSE_WORD;
}

/* Goes on to the next word that has something to do; false: the pass is over. */
static inline bool compose_next_word(struct compose *self, skua_branch *branches)
{
	while (branches != NULL && self->words > 0) {
		uint32_t base = self->base + COMPOSE_WORD;

		self->words--;
		self->pass.todo =
			compose_come_to(self, branches, base < compose_count(self) ? base : 0);
		/* Come round to where it began. */
		if (self->words == 0)
			self->pass.todo = self->rest;
		if (self->pass.todo != 0)
			return true;
	}
	return false;
}

static inline void compose_begin_partial_pass(struct compose *self, skua_branch *branches)
{
	self->partial = true;
	compose_begin_pass(self, branches, 0);
}

/* ---- One branch ---- */

/* A branch has ended: is the result known by that? */
static inline void compose_look_at(struct compose *self, skua_branch *branches, uint32_t number,
				   skua_poll result)
{
	uint32_t kind = (uint32_t)self->what;

	if ((kind & (result < 0 ? SKUA_COMPOSE_BY_ERROR_ : SKUA_COMPOSE_BY_SUCCESS_)) != 0) {
		self->value = (kind & SKUA_COMPOSE_BY_NUMBER_) != 0 ? number : result;
		self->known = true;
		compose_tell_all(self, branches);
		compose_begin_partial_pass(self, branches);
	} else if ((kind & SKUA_COMPOSE_OR_ERROR_) != 0 && self->value == 0) {
		self->value = result;
	}
}

/* A branch of the present word has ended. */
static inline void compose_end_branch(struct compose *self, skua_branch *branches, uint32_t number,
				      uint64_t bit, skua_poll result)
{
	struct compose_word *word = compose_word(self, branches);

	if ((word->untold & bit) != 0)
		compose_heard(self, branches, bit);
	word->pending &= ~bit;
	compose_set_left(self, self->left - 1);
	if (branches != NULL)
		branches[number].result = result;
	if (!self->known)
		compose_look_at(self, branches, number, result);
}

/* Before a branch of the present word is polled. */
static inline void compose_lead(skua_cx *cx, struct compose *self, skua_branch *branches,
				uint32_t number)
{
	uint64_t untold = compose_word(self, branches)->untold;

	cx->budget = self->pass.share;
	self->pass.untouched = untold == 0 ? self->pass.share : INT32_MIN;
	if ((untold >> number % COMPOSE_WORD & 1) != 0) {
		self->interrupt.error = -ECANCELED;
		cx->due++;
	}
}

/* And after it. */
static inline void compose_take(skua_cx *cx, struct compose *self, skua_branch *branches,
				uint32_t number, skua_poll result)
{
	uint64_t bit = UINT64_C(1) << number % COMPOSE_WORD;

	self->spare -= self->pass.share - cx->budget;
	if (self->interrupt.error != 0) {
		if (self->interrupt.delivered)
			compose_heard(self, branches, bit);
		else
			cx->due--;
		self->interrupt.error = 0;
		self->interrupt.delivered = false;
	}
	if (result != SKUA_PENDING)
		compose_end_branch(self, branches, number, bit, result);
}

/* ---- One poll ---- */

/* As sk_interrupt_enter and _leave, for one that is in no chain already, and has no error: that is
 * so between the branches. */
static inline void compose_enter(skua_cx *cx, struct compose *self)
{
	self->interrupt.around = 1;
	self->interrupt.outer = (struct sk_interrupt *)cx->interrupts;
	self->interrupt.shields = ++cx->shields;
	cx->interrupts = &self->interrupt;
}

static inline void compose_leave(skua_cx *cx, struct compose *self)
{
	self->interrupt.around = 0;
	cx->interrupts = self->interrupt.outer;
	cx->shields--;
}

/* Which branch is polled first. */
static inline uint32_t compose_first(const skua_cx *cx, const struct compose *self)
{
	struct sk_worker *worker = cx->worker;
	uint32_t random;

	if ((self->what & SKUA_COMPOSE_IN_ORDER_) != 0)
		return 0;
	random = worker != NULL ? sk_random(&worker->random) : (uint32_t)sk_now() * 2654435769u;
	return (uint32_t)((uint64_t)random * compose_count(self) >> 32);
}

/* Begins a poll. False: it is over already, the task has used up its budget. */
static inline bool compose_begin(skua_cx *cx, struct compose *self, skua_branch *branches)
{
	int32_t share;

	if (!sk_cx_is_undisturbed(cx))
		(void)compose_ask(cx, self);
	if (!compose_has_untold(self, branches) && !sk_cx_budget(cx))
		return false;
	self->partial = false;
	compose_begin_pass(self, branches, compose_first(cx, self));
	/* At least one for each: else the last ones would get none as long as the first use up all. */
	share = cx->budget >> self->log2_left;
	self->pass.share = share > 0 ? share : 1;
	self->spare = cx->budget;
	compose_enter(cx, self);
	return true;
}

/* A pass is over. True: there is another one. */
static inline bool compose_end_pass(skua_cx *cx, struct compose *self, skua_branch *branches)
{
	if (self->left > 0 && !sk_cx_is_undisturbed(cx)) {
		bool told;

		compose_leave(cx, self);
		told = compose_ask(cx, self);
		compose_enter(cx, self);
		if (told) {
			compose_begin_partial_pass(self, branches);
			return true;
		}
	}
	compose_leave(cx, self);
	/* A debt is for whoever is around. */
	cx->budget = self->spare;
	return false;
}

/* The next branch of the present word, which has one. */
static inline int32_t compose_pick(skua_cx *cx, struct compose *self, skua_branch *branches)
{
	uint32_t number = (uint32_t)skua_compose_pick_(&self->pass);

	if (branches != NULL)
		number += self->base;
	compose_lead(cx, self, branches, number);
	return (int32_t)number;
}

/* Goes on to the next branch of this poll: its number, or -1: it is over. */
static inline int32_t compose_next(skua_cx *cx, struct compose *self, skua_branch *branches)
{
	while (self->pass.todo == 0)
		if (!compose_next_word(self, branches) && !compose_end_pass(cx, self, branches))
			return -1;
	return compose_pick(cx, self, branches);
}

/* After a poll: the result of the whole, or SKUA_PENDING. */
static inline skua_poll compose_result(struct compose *self)
{
	if (self->left > 0)
		return SKUA_PENDING;
	self->what = 0;
	return self->value;
}

#endif /* SKUA_RUNTIME_COMPOSE_H */
