/*
 * kernel_scope.c - scopes: the count, the list by which children are cancelled, results, the limit,
 * the deadline; and tables of task-local values that tasks share.
 *
 * The scheduler does not run. The owner is in the middle of a poll on the thread of the scenario,
 * which has spawned the children before; each of the other threads plays the runner of one of them.
 */
#include <errno.h>

#include "sched/local.h"
#include "sched/sched.h"
#include "sched/scope.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"

enum { CHILDREN = 2 };

static struct sk_sched *sched;
static skua_task *owner, *children[CHILDREN + 1];
static skua_scope *scope;
static int written[CHILDREN]; /* plain: the end of a child is seen by the owner */
static int event;             /* plain: what came before a cancel */
static int64_t results[CHILDREN];

static skua_poll never_polled(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	mc_fail("the scheduler does not run");
}

static const skua_future_ops child_ops = {never_polled, NULL, sizeof(skua_future), "child", NULL};
static const skua_future child_future = {&child_ops, 0, 0};

static skua_cx cx_of(skua_task *task)
{
	skua_cx cx = {.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};

	return cx;
}

/* The next task that is queued, as its runner takes it. */
static skua_task *take_queued(void)
{
	skua_task *task = sk_inbox_take(&sched->workers[0]->inbox);

	if (task == NULL)
		return NULL;
	mc_assert(task->next == NULL);
	sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQUIRE);
	return task;
}

static void spawn_child(unsigned i)
{
	skua_cx cx = cx_of(owner);

	mc_assert(sk_scope_spawn(&cx, scope, &child_future, NULL, NULL) == 0);
	children[i] = take_queued();
}

static void begin(const skua_scope_options *options, unsigned count)
{
	struct sk_sched_options sched_options = {.workers = 1, .budget = 128};
	skua_cx cx;

	mc_assert(sk_sched_new(&sched_options, &sched) == 0);
	owner = sk_task_new(sched, NULL, 0, false);
	sk_fetch_xor(&owner->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	cx = cx_of(owner);
	mc_assert(sk_scope_new(&cx, sched, options, &scope) == 0);
	for (unsigned i = 0; i < count; i++)
		spawn_child(i);
}

static bool is_in_state(skua_task *task, uint64_t flags)
{
	return (sk_load(&task->state, SK_RELAXED) & flags) == flags;
}

/* Polls the owner until its join is ready; between two polls it must have been woken. */
static skua_poll join(void)
{
	skua_cx cx = cx_of(owner);
	skua_poll result = sk_scope_join(&cx, &scope);

	if (result == SKUA_PENDING) {
		mc_join_all();
		mc_assert(is_in_state(owner, SK_TASK_SCHEDULED));
		sk_fetch_and(&owner->state, ~(uint64_t)SK_TASK_SCHEDULED, SK_ACQUIRE);
		result = sk_scope_join(&cx, &scope);
	}
	mc_assert(result != SKUA_PENDING && scope == NULL);
	return result;
}

/* Everything has gone but the owner's life reference. */
static void finish(void)
{
	mc_join_all();
	mc_assert(sk_load(&owner->state, SK_RELAXED) / SK_TASK_REFERENCE == 1);
	mc_assert(owner->obligations == NULL);
	sk_task_release(owner);
	(void)sk_inbox_take(&sched->workers[0]->inbox);
	mc_assert(sk_sched_free(sched) == 0);
}

/* ---- The runner of a child ---- */

static void end_child(skua_task *task, int64_t result)
{
	sk_task_complete(task, result, 0);
	sk_task_release(task);
}

static void ends(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	written[i] = 1;
	end_child(children[i], results[i]);
}

static const skua_scope_options plain = {.struct_size = sizeof plain};

static void check_written(void)
{
	for (unsigned i = 0; i < CHILDREN; i++)
		mc_assert(written[i] == 1);
}

MC_SCENARIO(scope, join_against_ends)
{
	begin(&plain, CHILDREN);
	mc_start(ends, 0);
	mc_start(ends, 1);
	mc_assert(join() == 0);
	check_written();
	finish();
}

/* The first child spawns the second one, which may end at any time. */
static void spawns_and_ends(void *unused)
{
	skua_cx cx = cx_of(children[0]);

	(void)unused;
	mc_assert(sk_scope_spawn(&cx, scope, &child_future, NULL, NULL) == 0);
	children[1] = take_queued();
	mc_start(ends, 1);
	ends(0);
}

MC_SCENARIO(scope, join_against_a_child_that_spawns)
{
	begin(&plain, 1);
	mc_start(spawns_and_ends, 0);
	/* The owner joins while the other two end. */
	mc_assert(join() == 0);
	mc_join_all();
	check_written();
	finish();
}

/* ---- Errors and cancelling ---- */

MC_SCENARIO(scope, an_error_is_known_when_the_join_is_ready)
{
	begin(&plain, CHILDREN);
	results[0] = -EIO;
	mc_start(ends, 0);
	mc_start(ends, 1);
	mc_assert(join() == -EIO);
	check_written();
	finish();
}

/* Its first poll is pending: it is in the scope's list, or has been told, or is told by who
 * cancels. */
static void becomes_pending(skua_task *task)
{
	task->owned = true;
	sk_scope_child_waits(task);
	if (task->again)
		sk_fetch_or(&task->state, SK_TASK_SCHEDULED, SK_RELAXED);
	sk_fetch_xor(&task->state, SK_TASK_RUNNING, SK_RELEASE);
}

static void pends(void *argument)
{
	becomes_pending(children[(uintptr_t)argument]);
}

static void cancels(void *unused)
{
	(void)unused;
	event = 1;
	sk_scope_cancel(scope, -ECANCELED);
}

/* Who has been told ends. */
static void end_told(skua_task *task)
{
	(void)sk_inbox_take(&sched->workers[0]->inbox);
	mc_assert(is_in_state(task, SK_TASK_SCHEDULED | SK_TASK_CANCELLED));
	sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQUIRE);
	mc_assert(event == 1);
	end_child(task, -ECANCELED);
}

MC_SCENARIO(scope, cancel_against_a_first_pending)
{
	begin(&plain, 1);
	mc_start(pends, 0);
	mc_start(cancels, 0);
	mc_join_all();
	end_told(children[0]);
	mc_assert(join() == -ECANCELED);
	finish();
}

/* It is in the list, and in a later poll: it ends on its own. */
static void pends_and_runs(unsigned i)
{
	becomes_pending(children[i]);
	sk_fetch_or(&children[i]->state, SK_TASK_RUNNING, SK_ACQUIRE);
}

MC_SCENARIO(scope, cancel_against_an_end)
{
	begin(&plain, CHILDREN);
	pends_and_runs(0);
	becomes_pending(children[1]);
	mc_start(ends, 0);
	mc_start(cancels, 0);
	mc_join_all();
	end_told(children[1]);
	mc_assert(join() == -ECANCELED);
	finish();
}

/* Two cancel at once: each child is told once, and the scope stays as long as one of them needs
 * it. */
MC_SCENARIO(scope, two_errors)
{
	skua_poll result;

	begin(&plain, CHILDREN);
	results[0] = -EIO;
	results[1] = -EPIPE;
	pends_and_runs(0);
	pends_and_runs(1);
	mc_start(ends, 0);
	mc_start(ends, 1);
	result = join();
	mc_assert(result == -EIO || result == -EPIPE);
	check_written();
	finish();
}

/* A child that has not yet been pending finds out by itself: before its first poll, or when it
 * asks. */
static void asks(void *unused)
{
	skua_cx cx = cx_of(children[0]);

	(void)unused;
	sk_scope_child_begins(children[0]);
	if (is_in_state(children[0], SK_TASK_CANCELLED))
		mc_assert(event == 1);
	else if (skua_cx_interrupt(&cx) == -ECANCELED)
		mc_assert(event == 1);
	ends(0);
}

MC_SCENARIO(scope, cancel_against_a_child_that_asks)
{
	begin(&plain, 1);
	mc_start(asks, 0);
	mc_start(cancels, 0);
	mc_join_all();
	mc_assert(join() == -ECANCELED);
	finish();
}

/* Who finds out at the end of its first poll, and is polled again by the same worker, sees what came
 * before the cancel. */
static void pends_and_asks(void *unused)
{
	skua_cx cx = cx_of(children[0]);

	(void)unused;
	children[0]->owned = true;
	sk_scope_child_waits(children[0]);
	if (children[0]->again) {
		mc_assert(skua_cx_interrupt(&cx) == -ECANCELED);
		mc_assert(event == 1);
	}
	ends(0);
}

MC_SCENARIO(scope, cancel_against_a_child_that_pends_and_asks)
{
	begin(&plain, 1);
	mc_start(pends_and_asks, 0);
	mc_start(cancels, 0);
	mc_join_all();
	mc_assert(join() == -ECANCELED);
	finish();
}

/* ---- Results ---- */

static skua_poll next(skua_scope_result *result)
{
	skua_cx cx = cx_of(owner);
	skua_poll rc = sk_scope_next(&cx, scope, result);

	if (rc == SKUA_PENDING) {
		mc_join_all();
		mc_assert(is_in_state(owner, SK_TASK_SCHEDULED));
		sk_fetch_and(&owner->state, ~(uint64_t)SK_TASK_SCHEDULED, SK_ACQUIRE);
		rc = sk_scope_next(&cx, scope, result);
	}
	return rc;
}

static void take_all(uint32_t order)
{
	skua_scope_options options = {.struct_size = sizeof options, .results = order};
	skua_scope_result result;
	unsigned seen = 0;

	begin(&options, CHILDREN);
	results[0] = 10;
	results[1] = 11;
	mc_start(ends, 0);
	mc_start(ends, 1);
	for (unsigned n = 0; n < CHILDREN; n++) {
		mc_assert(next(&result) == 1);
		mc_assert(result.result == 10 + (int64_t)result.index);
		mc_assert(written[result.index] == 1);
		mc_assert(order == SKUA_RESULTS_AS_THEY_COME || result.index == n);
		seen |= 1u << result.index;
	}
	mc_assert(seen == 3);
	mc_assert(next(&result) == 0);
	mc_assert(join() == 0);
	finish();
}

MC_SCENARIO(scope, results_as_they_come)
{
	take_all(SKUA_RESULTS_AS_THEY_COME);
}

MC_SCENARIO(scope, results_in_order)
{
	take_all(SKUA_RESULTS_IN_ORDER);
}

/* What the child of a child has to say is awaited, too. */
MC_SCENARIO(scope, results_of_a_child_that_spawns)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .results = SKUA_RESULTS_AS_THEY_COME};
	skua_scope_result result;

	begin(&options, 1);
	mc_start(spawns_and_ends, 0);
	mc_assert(next(&result) == 1);
	mc_assert(next(&result) == 1);
	mc_assert(next(&result) == 0);
	mc_assert(join() == 0);
	finish();
}

/* ---- The limit ---- */

/* The second child is spawned while the first one ends: it is queued, once, at the latest by
 * that. */
MC_SCENARIO(scope, a_turn_is_not_lost)
{
	skua_scope_options options = {.struct_size = sizeof options, .limit = 1};
	skua_cx cx;

	begin(&options, 1);
	cx = cx_of(owner);
	mc_start(ends, 0);
	mc_assert(sk_scope_spawn(&cx, scope, &child_future, NULL, NULL) == 0);
	mc_join_all();
	children[1] = take_queued();
	mc_assert(children[1] != NULL);
	ends((void *)1);
	mc_assert(join() == 0);
	check_written();
	finish();
}

MC_SCENARIO(scope, room_against_an_end)
{
	skua_scope_options options = {.struct_size = sizeof options, .limit = 1};
	skua_poll room;
	skua_cx cx;

	begin(&options, 1);
	cx = cx_of(owner);
	mc_start(ends, 0);
	room = sk_scope_room(&cx, scope);
	mc_join_all();
	mc_assert(room == 0 || (room == SKUA_PENDING && is_in_state(owner, SK_TASK_SCHEDULED)));
	mc_assert(sk_scope_room(&cx, scope) == 0);
	sk_fetch_and(&owner->state, ~(uint64_t)SK_TASK_SCHEDULED, SK_ACQUIRE);
	mc_assert(join() == 0);
	finish();
}

/* ---- The deadline ---- */

static void fires(void *unused)
{
	(void)unused;
	sk_timers_fire(&sched->workers[0]->timers, SK_FOREVER - 1);
}

/* It passes while the owner joins and frees the scope. */
MC_SCENARIO(scope, deadline_against_join)
{
	skua_scope_options options = {.struct_size = sizeof options, .deadline = SK_FOREVER - 2};
	skua_poll result;

	begin(&options, 1);
	mc_start(ends, 0);
	mc_start(fires, 0);
	result = join();
	mc_assert(result == 0 || result == -ETIMEDOUT);
	finish();
}

/* ---- Task-local values ---- */

static SK_ATOMIC(uint32_t) released;

static void release(void *value)
{
	/* Whoever has looked at it is done. */
	*(int *)value = 0;
	sk_fetch_add(&released, 1, SK_RELAXED);
}

static const skua_local_key key = {"key", release};
static int values[2];

static void looks_and_ends(void *argument)
{
	uintptr_t i = (uintptr_t)argument;

	mc_assert(*(int *)sk_local_get(children[i], &key) == 1);
	ends(argument);
}

MC_SCENARIO(scope, a_value_is_released_after_the_last_look)
{
	begin(&plain, 0);
	values[0] = values[1] = 1;
	mc_assert(sk_local_set(owner, &key, &values[0]) == 0);
	spawn_child(0);
	mc_start(looks_and_ends, 0);
	/* In place, or in a copy of the table. */
	mc_assert(sk_local_set(owner, &key, &values[1]) == 0);
	mc_assert(join() == 0);
	mc_join_all();
	mc_assert(values[0] == 0 && values[1] == 1);
	mc_assert(sk_load(&released, SK_RELAXED) == 1);
	sk_obligations_take_back(&owner->obligations, owner);
	mc_assert(sk_load(&released, SK_RELAXED) == 2);
	finish();
}

/* Two tables have the value: that of the child, and the copy that the owner has made. */
static const skua_local_key other_key = {"other", NULL};

MC_SCENARIO(scope, a_value_in_two_tables_is_released_after_the_last_look)
{
	begin(&plain, 0);
	values[0] = values[1] = 1;
	mc_assert(sk_local_set(owner, &key, &values[0]) == 0);
	mc_assert(sk_local_set(owner, &other_key, NULL) == 0);
	spawn_child(0);
	mc_assert(sk_local_set(owner, &other_key, NULL) == 0);
	mc_start(looks_and_ends, 0);
	mc_assert(*(int *)sk_local_get(owner, &key) == 1);
	mc_assert(sk_local_set(owner, &key, &values[1]) == 0);
	mc_assert(join() == 0);
	mc_join_all();
	mc_assert(values[0] == 0 && values[1] == 1);
	sk_obligations_take_back(&owner->obligations, owner);
	finish();
}

MC_SCENARIO(scope, a_value_is_released_by_one_of_two)
{
	begin(&plain, 0);
	values[0] = values[1] = 1;
	mc_assert(sk_local_set(owner, &key, &values[0]) == 0);
	spawn_child(0);
	spawn_child(1);
	mc_assert(sk_local_set(owner, &key, &values[1]) == 0);
	mc_start(looks_and_ends, 0);
	mc_start(looks_and_ends, 1);
	mc_assert(join() == 0);
	mc_join_all();
	mc_assert(values[0] == 0);
	mc_assert(sk_load(&released, SK_RELAXED) == 1);
	sk_obligations_take_back(&owner->obligations, owner);
	finish();
}

/* ---- A token ---- */

static skua_token *token;

static void cancels_the_token(void *unused)
{
	(void)unused;
	sk_token_cancel(token);
}

/* The token is cancelled while the scope is joined: nobody is told after the scope is gone. */
MC_SCENARIO(scope, token_cancelled_against_the_end)
{
	skua_scope_options options = {.struct_size = sizeof options};
	skua_poll result;

	mc_assert(sk_token_new(NULL, &token) == 0);
	options.token = token;
	begin(&options, 1);
	mc_start(ends, 0);
	mc_start(cancels_the_token, 0);
	result = join();
	mc_assert(result == 0 || result == -EINTR);
	mc_assert(written[0] == 1);
	finish();
	sk_token_release(token);
}
