/* scope.c - see scope.h. */
#include "sched/scope.h"

#include <errno.h>
#include <string.h>

#include "sched/cx.h"
#include "sched/interrupt.h"
#include "sched/local.h"
#include "sched/sched.h"
#include "sched/worker.h"

/* The owner's share of `open`: more than there can be children. */
#define BIAS (INT64_C(1) << 48)

enum { CANCEL_BATCH = 64 };

static void take_back(struct sk_obligation *obligation, skua_task *task);

static const struct sk_obligation_ops obligation_ops = {take_back, "scope", true};

static skua_scope *scope_of_obligation(struct sk_obligation *obligation)
{
	return (skua_scope *)(void *)((char *)obligation - offsetof(skua_scope, obligation));
}

/* ---- Beginning and end ---- */

static void scope_release(skua_scope *scope)
{
	/* Release, and acquire for the last one: everybody is done with it. */
	if (sk_fetch_sub(&scope->references, 1, SK_ACQ_REL) != 1)
		return;
	sk_mutex_destroy(&scope->lock);
	sk_free_aligned(scope);
}

static void scope_hold(skua_scope *scope)
{
	/* Relaxed: whoever adds a reference has one. */
	sk_fetch_add(&scope->references, 1, SK_RELAXED);
}

/* The waker of a deadline cancels the scope. */
static void *deadline_clone(void *data)
{
	scope_hold(data);
	return data;
}

static void deadline_wake_by_ref(void *data)
{
	sk_scope_cancel(data, -ETIMEDOUT);
}

static void deadline_wake(void *data)
{
	sk_scope_cancel(data, -ETIMEDOUT);
	scope_release(data);
}

static void deadline_drop(void *data)
{
	scope_release(data);
}

static const skua_waker_ops deadline_ops = {
	deadline_clone,
	deadline_wake,
	deadline_wake_by_ref,
	deadline_drop,
};

static int arm_deadline(skua_cx *cx, skua_scope *scope, uint64_t deadline, uint64_t now)
{
	const skua_waker waker = {&deadline_ops, scope};
	skua_cx waiter;
	int rc;

	skua_cx_init(&waiter, NULL, &waker);
	rc = sk_sched_arm_timer(scope->sched, cx->worker, &scope->deadline, deadline, now, &waiter);
	scope->has_deadline = rc == 0;
	return rc;
}

/* A deadline that has passed already cancels at once. */
static int begin_deadline(skua_cx *cx, skua_scope *scope, uint64_t deadline)
{
	uint64_t now;

	if (deadline == 0)
		return 0;
	now = sk_clock_now(&scope->sched->clock);
	if (deadline > now)
		return arm_deadline(cx, scope, deadline, now);
	sk_scope_cancel(scope, -ETIMEDOUT);
	return 0;
}

/* A token that is cancelled cancels the scope. */
static skua_scope *scope_of_listener(struct sk_token_listener *listener)
{
	return (skua_scope *)(void *)((char *)listener - offsetof(skua_scope, listening));
}

static sk_waiter token_take(struct sk_token_listener *listener)
{
	scope_hold(scope_of_listener(listener));
	return SK_NO_WAITER;
}

static void token_cancelled(struct sk_token_listener *listener)
{
	skua_scope *scope = scope_of_listener(listener);

	sk_scope_cancel(scope, -EINTR);
	scope_release(scope);
}

static const struct sk_token_listener_ops token_ops = {token_take, token_cancelled};

int sk_scope_new(skua_cx *cx, struct sk_sched *sched, const skua_scope_options *options,
		 skua_scope **out)
{
	skua_scope *scope = sk_calloc_aligned(sizeof *scope);
	int rc;

	if (scope == NULL)
		return -ENOMEM;
	scope->sched = sched;
	scope->owner = cx->task;
	scope->on_error = options->on_error;
	scope->results = options->results;
	scope->limit = options->limit;
	sk_init(&scope->open, BIAS);
	sk_init(&scope->references, 1);
	sk_mutex_init(&scope->lock);
	rc = begin_deadline(cx, scope, options->deadline);
	if (rc < 0) {
		scope_release(scope);
		return rc;
	}
	if (options->token != NULL &&
	    !sk_token_listen(options->token, &scope->listening, &token_ops))
		sk_scope_cancel(scope, -EINTR);
	if (cx->task != NULL) {
		scope->spared = sk_is_shielded(cx) || cx->task->delivered != SK_CANCEL_NONE;
		scope->obligation.ops = &obligation_ops;
		sk_obligation_add(&cx->task->obligations, &scope->obligation);
	}
	*out = scope;
	return 0;
}

/* ---- Ends ---- */

/* Neither a deadline nor a token ends it from now on, unless it is at it. */
static void forget_reasons(skua_scope *scope)
{
	if (scope->has_deadline)
		sk_timer_disarm(&scope->deadline);
	scope->has_deadline = false;
	(void)sk_token_unlisten(&scope->listening);
}

/* Nobody is left but the caller: gives everything back. */
static void scope_close(skua_scope *scope)
{
	sk_obligation_remove(&scope->obligation);
	forget_reasons(scope);
	/* An owner that gave up to wait may still be there. */
	sk_slot_reset(&scope->news);
	sk_slot_reset(&scope->room);
	sk_scope_discard_results(scope);
	scope_release(scope);
}

/* The owner gives up its share of the count. True: every child has ended. */
static bool give_up_share(skua_scope *scope)
{
	int64_t share = BIAS - (int64_t)sk_load(&scope->owned_spawns, SK_RELAXED);

	scope->joining = true;
	/* Acquire: pairs with the release in leave. */
	return sk_fetch_sub(&scope->open, share, SK_ACQUIRE) == share;
}

/* A child does not count any more: the last thing that it does. */
static void leave(skua_scope *scope)
{
	/* Release: what this child did comes before the end of the scope. Acquire, for the last
	 * one: so does what all others did. */
	if (sk_fetch_sub(&scope->open, 1, SK_ACQ_REL) != 1)
		return;
	if (scope->orphaned)
		scope_close(scope);
	else
		/* The last touch: the owner may now free it. */
		sk_waiter_wake(sk_slot_fire(&scope->done));
}

static skua_poll await_children(skua_cx *cx, skua_scope *scope)
{
	skua_poll waits;

	if (!scope->joining)
		scope->finished = give_up_share(scope);
	if (scope->finished)
		return 0;
	waits = sk_slot_wait(&scope->done, cx);
	scope->finished = waits == 0;
	return waits;
}

skua_poll sk_scope_join(skua_cx *cx, skua_scope **handle)
{
	skua_scope *scope = *handle;
	skua_poll result;

	/* Once: what else comes meanwhile is for the next await, as in runtime/compose.h. */
	if (!scope->interrupted && sk_cx_interrupt(cx) != 0) {
		scope->interrupted = true;
		sk_scope_cancel(scope, -ECANCELED);
	}
	if (!sk_cx_budget(cx))
		return SKUA_PENDING;
	result = await_children(cx, scope);
	if (result != 0)
		return result;
	/* Relaxed: an error of a child came before its end; the deadline may come at any time. */
	result = scope->interrupted ? -ECANCELED : sk_load(&scope->error, SK_RELAXED);
	scope_close(scope);
	*handle = NULL;
	return result;
}

uint64_t sk_scope_count(const skua_scope *scope)
{
	int64_t open = sk_load(&scope->open, SK_RELAXED);

	if (open >= BIAS / 2)
		open -= BIAS - (int64_t)sk_load(&scope->owned_spawns, SK_RELAXED);
	return open > 0 ? (uint64_t)open : 0;
}

/* ---- Limit ---- */

/* A new child: may it run? If not, it is put behind those that wait. */
static bool begin_turn(skua_scope *scope, skua_task *task)
{
	bool begins;

	if (scope->limit == 0)
		return true;
	sk_mutex_lock(&scope->lock);
	begins = scope->running < scope->limit;
	if (begins) {
		scope->running++;
	} else {
		task->next = NULL;
		if (scope->waiting == NULL)
			scope->waiting = task;
		else
			scope->last_waiting->next = task;
		scope->last_waiting = task;
	}
	sk_mutex_unlock(&scope->lock);
	return begins;
}

/* Takes the first one that waits out; under the lock. */
static skua_task *pop_waiting(skua_scope *scope)
{
	skua_task *task = scope->waiting;

	if (task != NULL)
		scope->waiting = task->next;
	return task;
}

static void queue(skua_task *task)
{
	struct sk_worker *worker = sk_worker_current();

	if (worker != NULL && worker->sched == task->sched)
		sk_worker_queue_hot(worker, task);
	else
		sk_sched_inject(task->sched, task);
}

/* A child has ended: the next one begins. */
static void end_turn(skua_scope *scope)
{
	skua_task *next;

	sk_mutex_lock(&scope->lock);
	next = pop_waiting(scope);
	if (next == NULL)
		scope->running--;
	sk_mutex_unlock(&scope->lock);
	if (next != NULL)
		queue(next);
	else
		sk_waiter_wake(sk_slot_fire(&scope->room));
}

void sk_scopes_each_waiting(const skua_task *owner,
			    void (*function)(void *argument, skua_task *task), void *argument)
{
	for (struct sk_obligation *each = owner->obligations; each != NULL; each = each->next) {
		if (each->ops != &obligation_ops)
			continue;
		for (skua_task *task = scope_of_obligation(each)->waiting; task != NULL;
		     task = task->next)
			function(argument, task);
	}
}

unsigned sk_scope_depth(const skua_task *task, unsigned most)
{
	unsigned depth = 0;

	while (depth < most) {
		const skua_scope *scope = sk_scope_of(task);

		if (scope == NULL)
			break;
		depth++;
		if (scope->owner == NULL)
			break;
		task = scope->owner;
	}
	return depth;
}

/* The runtime is gone: none of those that wait will ever run. Their ends come back here. */
static void abandon_waiting(skua_scope *scope)
{
	/* No lock: this is the last thread. */
	skua_task *task = scope->waiting;

	scope->waiting = NULL;
	while (task != NULL) {
		skua_task *next = task->next;

		sk_task_abandon(task);
		/* It was never polled, so nobody is in the middle of waking it. */
		sk_task_release(task);
		task = next;
	}
}

static bool has_room(skua_scope *scope)
{
	bool room;

	sk_mutex_lock(&scope->lock);
	room = scope->running < scope->limit;
	sk_mutex_unlock(&scope->lock);
	return room;
}

skua_poll sk_scope_room(skua_cx *cx, skua_scope *scope)
{
	int interrupt = sk_cx_interrupt(cx);
	skua_poll waits;

	if (interrupt != 0) {
		sk_slot_forget(&scope->room, cx->task);
		return interrupt;
	}
	if (!sk_cx_budget(cx))
		return SKUA_PENDING;
	if (scope->limit == 0)
		return 0;
	do {
		sk_slot_reset(&scope->room);
		if (has_room(scope))
			return 0;
		waits = sk_slot_wait(&scope->room, cx);
	} while (waits == 0);
	return waits;
}

/* ---- Spawning ---- */

bool sk_scope_is_around(const skua_scope *scope, const skua_cx *cx)
{
	const skua_scope *inner;

	if (scope->owner == cx->task)
		return !scope->joining;
	if (cx->task == NULL)
		return false;
	/* The owner of a scope outlives those who are inside it. */
	for (inner = sk_scope_of(cx->task); inner != NULL && inner != scope;)
		inner = inner->owner != NULL ? sk_scope_of(inner->owner) : NULL;
	return inner == scope;
}

static skua_task *new_child(skua_cx *cx, skua_scope *scope, const skua_future *future,
			    const skua_spawn_options *options, bool joinable)
{
	skua_task *task = sk_task_new_extended(scope->sched, future, future->ops->size, joinable);
	struct sk_task_extension *extension;

	if (task == NULL)
		return NULL;
	extension = sk_task_extension(task);
	extension->scope = scope;
	extension->previous = task;
	if (cx->task != NULL)
		task->priority = cx->task->priority;
	if (options != NULL) {
		extension->name = options->name;
		task->priority = (uint8_t)options->priority;
	}
	/* Nobody else knows it yet. */
	if (scope->results != SKUA_RESULTS_NONE)
		sk_init(&task->state, sk_load(&task->state, SK_RELAXED) + SK_TASK_REFERENCE);
	return task;
}

/* Counts a child that will be queued. */
static void enter(skua_cx *cx, skua_scope *scope, skua_task *task)
{
	struct sk_task_extension *extension = sk_task_extension(task);

	/* Relaxed: whoever spawns is the owner, whose share is still there, or counts himself. */
	if (scope->owner == cx->task)
		sk_store(&scope->owned_spawns, sk_load(&scope->owned_spawns, SK_RELAXED) + 1,
			 SK_RELAXED);
	else
		sk_fetch_add(&scope->open, 1, SK_RELAXED);
	if (scope->results != SKUA_RESULTS_NONE)
		extension->number = sk_fetch_add(&scope->numbers, 1, SK_RELAXED);
	if (cx->task != NULL)
		extension->locals = sk_locals_hold(sk_locals_of(cx->task));
}

int sk_scope_spawn(skua_cx *cx, skua_scope *scope, const skua_future *future,
		   const skua_spawn_options *options, skua_task **handle)
{
	struct sk_spawning spawning;
	skua_task *task;
	int rc;

	if (sk_load(&scope->cancelled, SK_RELAXED) != 0)
		return -ECANCELED;
	task = new_child(cx, scope, future, options, handle != NULL);
	if (task == NULL)
		return -ENOMEM;
	rc = sk_sched_begin_spawn(scope->sched, &spawning);
	if (rc < 0) {
		sk_task_discard(task);
		return rc;
	}
	enter(cx, scope, task);
	/* Before it can run: its end may be awaited through this. */
	if (handle != NULL)
		*handle = task;
	sk_sched_end_spawn(scope->sched, &spawning, begin_turn(scope, task) ? task : NULL);
	return 0;
}

/* ---- Cancelling ---- */

static bool is_pending(skua_task *task)
{
	return sk_task_extension(task)->previous != task;
}

/* Both under the lock. What is not in the list is its own predecessor. */
static void pending_add(skua_scope *scope, skua_task *task)
{
	struct sk_task_extension *extension = sk_task_extension(task);

	extension->previous = NULL;
	extension->next = scope->pending;
	if (scope->pending != NULL)
		sk_task_extension(scope->pending)->previous = task;
	scope->pending = task;
}

static void pending_remove(skua_scope *scope, skua_task *task)
{
	struct sk_task_extension *extension = sk_task_extension(task);

	if (extension->previous != NULL)
		sk_task_extension(extension->previous)->next = extension->next;
	else
		scope->pending = extension->next;
	if (extension->next != NULL)
		sk_task_extension(extension->next)->previous = extension->previous;
	extension->previous = task;
}

void sk_scope_cancel(skua_scope *scope, int error)
{
	skua_task *batch[CANCEL_BATCH];
	int32_t none = 0;
	unsigned count;

	sk_cas(&scope->error, &none, error, SK_RELAXED, SK_RELAXED);
	/* Release: pairs with the acquire in sk_scope_is_cancelled. */
	if (sk_exchange(&scope->cancelled, 1, SK_RELEASE) != 0)
		return;
	/* The children may end meanwhile, and the owner's join with them. */
	scope_hold(scope);
	do {
		sk_mutex_lock(&scope->lock);
		for (count = 0; count < CANCEL_BATCH && scope->pending != NULL; count++) {
			batch[count] = scope->pending;
			pending_remove(scope, batch[count]);
		}
		sk_mutex_unlock(&scope->lock);
		for (unsigned i = 0; i < count; i++) {
			sk_task_cancel(batch[i]);
			sk_task_release(batch[i]);
		}
	} while (count == CANCEL_BATCH);
	scope_release(scope);
}

void sk_scope_child_waits(skua_task *task)
{
	skua_scope *scope = sk_scope_of(task);
	bool cancelled;

	if (scope == NULL)
		return;
	sk_mutex_lock(&scope->lock);
	/* That one of the two sees the other is by the lock, see scope.h. But the mark is set before the
	 * lock is taken: so what came before the cancel is acquired here. */
	cancelled = sk_scope_is_cancelled(scope);
	if (!cancelled) {
		sk_task_hold(task);
		pending_add(scope, task);
	}
	sk_mutex_unlock(&scope->lock);
	if (cancelled) {
		sk_fetch_or(&task->state, SK_TASK_CANCELLED, SK_RELAXED);
		sk_task_poll_again(task);
	}
}

/* Takes a child out of the list at its end, if it is still there. */
static void forget_pending(skua_scope *scope, skua_task *task)
{
	bool pending;

	sk_mutex_lock(&scope->lock);
	pending = is_pending(task);
	if (pending)
		pending_remove(scope, task);
	sk_mutex_unlock(&scope->lock);
	if (pending)
		sk_task_release(task);
}

static bool is_error(skua_task *task, int64_t result)
{
	/* Who was cancelled himself has not failed. */
	return result < 0 && (result != -ECANCELED ||
			      (sk_load(&task->state, SK_RELAXED) & SK_TASK_CANCELLED) == 0);
}

static void note_error(skua_scope *scope, const skua_task *task, int64_t result)
{
	int32_t none = 0, error = result > INT32_MIN ? (int32_t)result : INT32_MIN;

	/* With the runtime nobody is left to be cancelled. */
	if (scope->on_error == SKUA_ON_ERROR_CANCEL && !task->abandoned)
		sk_scope_cancel(scope, error);
	else
		sk_cas(&scope->error, &none, error, SK_RELAXED, SK_RELAXED);
}

void sk_scope_child_ends(skua_task *task, int64_t result)
{
	skua_scope *scope = sk_scope_of(task);

	if (scope == NULL)
		return;
	/* Who has never been pending is in no list. */
	if (task->owned)
		forget_pending(scope, task);
	if (is_error(task, result))
		note_error(scope, task, result);
	if (task->abandoned)
		abandon_waiting(scope);
	else if (scope->limit != 0)
		end_turn(scope);
	if (scope->results != SKUA_RESULTS_NONE)
		sk_scope_leave_result(scope, task);
	leave(scope);
}

/* ---- The owner ---- */

void sk_scopes_cancel(skua_task *owner)
{
	struct sk_obligation *next;

	for (struct sk_obligation *each = owner->obligations; each != NULL; each = next) {
		skua_scope *scope = scope_of_obligation(each);

		next = each->next;
		if (each->ops == &obligation_ops && !scope->spared)
			sk_scope_cancel(scope, -ECANCELED);
	}
}

/* The future is at its end. What it has begun is taken back, but for scopes, which are cancelled.
 * False: there are none. */
static bool begin_end(skua_task *task)
{
	struct sk_obligation *scopes = NULL, *each, *next;

	for (each = task->obligations; each != NULL; each = next) {
		next = each->next;
		if (each->ops != &obligation_ops)
			continue;
		sk_obligation_remove(each);
		sk_obligation_add(&scopes, each);
	}
	if (scopes == NULL)
		return false;
	sk_obligations_take_back(&task->obligations, task);
	while ((each = scopes) != NULL) {
		sk_obligation_remove(each);
		sk_obligation_add(&task->obligations, each);
		sk_scope_cancel(scope_of_obligation(each), -ECANCELED);
	}
	return true;
}

skua_poll sk_scopes_end(skua_cx *cx, skua_poll result)
{
	skua_task *task = cx->task;
	struct sk_obligation *next;
	bool pending = false;

	if (!task->ending) {
		if (!begin_end(task))
			return result;
		task->ending = true;
		task->result = result;
	}
	for (struct sk_obligation *each = task->obligations; each != NULL; each = next) {
		skua_scope *scope = scope_of_obligation(each);

		next = each->next;
		if (await_children(cx, scope) == 0)
			scope_close(scope);
		else
			pending = true;
	}
	return pending ? SKUA_PENDING : task->result;
}

/* The owner is abandoned. The children are, too, before or after it. */
static void take_back(struct sk_obligation *obligation, skua_task *task)
{
	skua_scope *scope = scope_of_obligation(obligation);

	sk_slot_forget(&scope->news, task);
	sk_slot_forget(&scope->room, task);
	sk_slot_forget(&scope->done, task);
	forget_reasons(scope);
	abandon_waiting(scope);
	scope->orphaned = true;
	if (!scope->joining)
		scope->finished = give_up_share(scope);
	if (scope->finished || sk_slot_is_ready(&scope->done))
		scope_close(scope);
}
