/*
 * scope_results.c - the results of a scope's children: a stack on which they leave them, and the
 * list or heap that the owner makes of it; see scope.h.
 */
#include "sched/scope.h"

#include "sched/cx.h"

/* Two heaps become one: the root with the lower number has the other as its first child. The links
 * of a heap: `previous` is the first child, `next` the next sibling. */
static skua_task *heap_meld(skua_task *a, skua_task *b)
{
	struct sk_task_extension *upper, *lower;

	if (a == NULL || b == NULL)
		return a != NULL ? a : b;
	if (sk_task_extension(b)->number < sk_task_extension(a)->number) {
		skua_task *swap = a;

		a = b;
		b = swap;
	}
	upper = sk_task_extension(a);
	lower = sk_task_extension(b);
	lower->next = upper->previous;
	upper->previous = b;
	return a;
}

/* Takes the root off: its children become one heap, in pairs from the left, then from the right. */
static skua_task *heap_pop(skua_task *root)
{
	skua_task *child = sk_task_extension(root)->previous, *pairs = NULL, *heap = NULL;

	while (child != NULL) {
		skua_task *second = sk_task_extension(child)->next, *pair, *rest = NULL;

		if (second != NULL)
			rest = sk_task_extension(second)->next;
		pair = heap_meld(child, second);
		sk_task_extension(pair)->next = pairs;
		pairs = pair;
		child = rest;
	}
	while (pairs != NULL) {
		skua_task *rest = sk_task_extension(pairs)->next;

		heap = heap_meld(heap, pairs);
		pairs = rest;
	}
	return heap;
}

void sk_scope_leave_result(skua_scope *scope, skua_task *task)
{
	struct sk_task_extension *extension = sk_task_extension(task);
	skua_task *head = sk_load(&scope->ended, SK_RELAXED);

	do
		extension->next = head;
	/* Release: pairs with the acquire in fetch_results. */
	while (!sk_cas_weak(&scope->ended, &head, task, SK_RELEASE, SK_RELAXED));
	if (head == NULL)
		sk_waiter_wake(sk_slot_fire(&scope->news));
}

/* Takes what has been pushed, and puts it behind what is there. */
static void fetch_results(skua_scope *scope)
{
	skua_task *task, *oldest = NULL;

	if (sk_load(&scope->ended, SK_RELAXED) == NULL)
		return;
	/* Acquire: pairs with the release in sk_scope_leave_result; later pushes continue its
	 * release sequence. */
	task = sk_exchange(&scope->ended, NULL, SK_ACQUIRE);
	while (task != NULL) {
		struct sk_task_extension *extension = sk_task_extension(task);
		skua_task *next = extension->next;

		if (scope->results == SKUA_RESULTS_IN_ORDER) {
			extension->previous = NULL;
			extension->next = NULL;
			scope->first = heap_meld(scope->first, task);
		} else {
			extension->next = oldest;
			oldest = task;
		}
		task = next;
	}
	/* A list is fetched only when it is empty. */
	if (oldest != NULL)
		scope->first = oldest;
}

/* The result that is next, out of the list or heap; NULL if it is not there. */
static skua_task *take_result(skua_scope *scope)
{
	skua_task *first = scope->first;

	if (first == NULL)
		return NULL;
	if (scope->results != SKUA_RESULTS_IN_ORDER)
		scope->first = sk_task_extension(first)->next;
	else if (sk_task_extension(first)->number != scope->taken)
		return NULL;
	else
		scope->first = heap_pop(first);
	scope->taken++;
	return first;
}

static skua_poll give_result(skua_task *task, skua_scope_result *result)
{
	result->result = task->result;
	result->index = sk_task_extension(task)->number;
	sk_task_release(task);
	return 1;
}

skua_poll sk_scope_next(skua_cx *cx, skua_scope *scope, skua_scope_result *result)
{
	int interrupt = sk_cx_interrupt(cx);
	skua_poll waits = 0;
	skua_task *task;

	if (interrupt != 0) {
		sk_slot_forget(&scope->news, cx->task);
		return interrupt;
	}
	if (!sk_cx_budget(cx))
		return SKUA_PENDING;
	task = take_result(scope);
	while (task == NULL && waits == 0) {
		sk_slot_reset(&scope->news);
		fetch_results(scope);
		task = take_result(scope);
		/* Relaxed: what a child has spawned was counted before its result came. */
		if (task == NULL && scope->taken == sk_load(&scope->numbers, SK_RELAXED))
			return 0;
		if (task == NULL)
			waits = sk_slot_wait(&scope->news, cx);
	}
	return task != NULL ? give_result(task, result) : waits;
}

void sk_scope_discard_results(skua_scope *scope)
{
	do {
		while (scope->first != NULL) {
			skua_task *first = scope->first;

			if (scope->results == SKUA_RESULTS_IN_ORDER)
				scope->first = heap_pop(first);
			else
				scope->first = sk_task_extension(first)->next;
			sk_task_release(first);
		}
		fetch_results(scope);
	} while (scope->first != NULL);
}
