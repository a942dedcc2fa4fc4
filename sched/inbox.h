/*
 * inbox.h - where other threads leave tasks for a worker: a list that anybody extends by a whole
 * chain with one compare-and-exchange, and that anybody empties with one exchange.
 *
 * It is Treiber's stack (IBM RJ 5118, 1986) without its pop: the list is only ever taken whole, so
 * the ABA problem cannot occur, and a thief may empty it as well as the owner. A chain lists its
 * newest task first; whoever takes the list turns it round, so tasks come out in the order in which
 * they went in. The links are the tasks' own, so an inbox is never full.
 */
#ifndef SKUA_SCHED_INBOX_H
#define SKUA_SCHED_INBOX_H

#include "sched/sync.h"
#include "sched/task.h"

struct sk_inbox {
	SK_ATOMIC(skua_task *) head;
};

/* A chain of tasks under construction, newest first. */
struct sk_chain {
	skua_task *newest;
	skua_task *oldest;
	unsigned count;
};

static inline void sk_chain_add(struct sk_chain *chain, skua_task *task)
{
	task->next = chain->newest;
	chain->newest = task;
	if (chain->oldest == NULL)
		chain->oldest = task;
	chain->count++;
}

/* Publishes a chain, which must not be empty. Whoever publishes to a worker that may be asleep goes
 * on as idle.h says: this is the write of the publishing side. Returns whether the inbox was empty. */
static inline bool sk_inbox_push(struct sk_inbox *inbox, const struct sk_chain *chain)
{
	skua_task *head = sk_load(&inbox->head, SK_RELAXED);

	do
		chain->oldest->next = head;
	/* Release: pairs with the acquire in sk_inbox_take. Sequentially consistent: for sk_idle_sleeps. */
	while (!sk_cas_weak(&inbox->head, &head, chain->newest, SK_SEQ_CST, SK_RELAXED));
	return head == NULL;
}

/* Takes everything, oldest first, linked by `next`; NULL if there is nothing. */
static inline skua_task *sk_inbox_take(struct sk_inbox *inbox)
{
	skua_task *task, *oldest = NULL;

	if (sk_load(&inbox->head, SK_RELAXED) == NULL)
		return NULL;
	/* Acquire: pairs with the release in sk_inbox_push; later pushes continue its release
	 * sequence, because they are read-modify-writes. */
	task = sk_exchange(&inbox->head, NULL, SK_ACQUIRE);
	while (task != NULL) {
		skua_task *next = task->next;

		task->next = oldest;
		oldest = task;
		task = next;
	}
	return oldest;
}

static inline bool sk_inbox_empty(struct sk_inbox *inbox)
{
	return sk_load(&inbox->head, SK_RELAXED) == NULL;
}

#endif /* SKUA_SCHED_INBOX_H */
