/*
 * obligation.h - what a task has begun and not ended: an armed timer, an operation that has
 * answered PENDING. Each hangs in its task's list; what is left there when the task ends is taken
 * back, so that a future may forget an await without harm.
 *
 * The list belongs to the task: only its runner touches it, in a poll or at its end. An obligation
 * is a member of the thing itself, so nothing is allocated.
 */
#ifndef SKUA_SCHED_OBLIGATION_H
#define SKUA_SCHED_OBLIGATION_H

#include <stdbool.h>
#include <stddef.h>

#include "skua/future.h"

struct sk_obligation;

/* What is known of a kind of obligation; one constant for each. */
struct sk_obligation_ops {
	/* Called at the end of the task, when the obligation is out of the list already. */
	void (*take_back)(struct sk_obligation *self, skua_task *task);
	const char *name; /* for dumps and reports */
	bool is_wait;     /* something that the task waits for, or may */
};

struct sk_obligation {
	struct sk_obligation **place; /* what points to this one; NULL: it is in no list */
	struct sk_obligation *next;
	const struct sk_obligation_ops *ops;
};

static inline void sk_obligation_add(struct sk_obligation **list, struct sk_obligation *self)
{
	self->next = *list;
	self->place = list;
	if (self->next != NULL)
		self->next->place = &self->next;
	*list = self;
}

static inline void sk_obligation_remove(struct sk_obligation *self)
{
	if (self->place == NULL)
		return;
	*self->place = self->next;
	if (self->next != NULL)
		self->next->place = self->place;
	self->place = NULL;
}

static inline void sk_obligations_take_back(struct sk_obligation **list, skua_task *task)
{
	while (*list != NULL) {
		struct sk_obligation *first = *list;

		sk_obligation_remove(first);
		first->ops->take_back(first, task);
	}
}

#endif /* SKUA_SCHED_OBLIGATION_H */
