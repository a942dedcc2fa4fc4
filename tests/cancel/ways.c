/*
 * ways.c - the ways of cancelling: what asks for the end of the subject, from inside the poll that
 * has just answered PENDING.
 */
#include "runtime/runtime.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/cancel/cancel.h"
#include "tests/cases.h"

/* ---- By the task's handle ---- */

static void cancel_task(skua_cx *cx, struct trial *trial)
{
	trial->requests++;
	trial_expect(trial, "skua_cancel", skua_cancel(cx->task), 0);
}

/* One that was asked before is not told again. */
static void cancel_task_again(skua_cx *cx, struct trial *trial)
{
	trial_expect(trial, "skua_cancel", skua_cancel(cx->task), 0);
}

/* The first one was a token's, this one is another's. */
static void cancel_task_once(skua_cx *cx, struct trial *trial)
{
	if (trial->requests == 1)
		cancel_task(cx, trial);
}

/* ---- From another thread ---- */

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct trial *trial; /* whose task is to be cancelled */
	skua_task *task;
	bool stops;
} actor = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *actor_main(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&actor.lock);
	for (;;) {
		struct trial *trial = actor.trial;
		skua_task *task = actor.task;

		if (trial == NULL && actor.stops)
			break;
		if (trial == NULL) {
			pthread_cond_wait(&actor.changed, &actor.lock);
			continue;
		}
		actor.trial = NULL;
		pthread_mutex_unlock(&actor.lock);
		(void)skua_cancel(task);
		/* The last touch: the controller waits for it. */
		atomic_store(&trial->actor_done, true);
		pthread_mutex_lock(&actor.lock);
	}
	pthread_mutex_unlock(&actor.lock);
	return NULL;
}

void actor_start(void)
{
	if (pthread_create(&actor.thread, NULL, actor_main, NULL) != 0)
		abort();
}

void actor_stop(void)
{
	pthread_mutex_lock(&actor.lock);
	actor.stops = true;
	pthread_cond_signal(&actor.changed);
	pthread_mutex_unlock(&actor.lock);
	pthread_join(actor.thread, NULL);
}

static void ask_actor(skua_cx *cx, struct trial *trial)
{
	trial->requests++;
	atomic_store(&trial->actor_done, false);
	pthread_mutex_lock(&actor.lock);
	actor.trial = trial;
	actor.task = cx->task;
	pthread_cond_signal(&actor.changed);
	pthread_mutex_unlock(&actor.lock);
}

static void cancel_from_a_thread(skua_cx *cx, struct trial *trial)
{
	ask_actor(cx, trial);
	CASES_WAIT(atomic_load(&trial->actor_done));
}

/* ---- By what stands around it ---- */

/* Its deadline alone: the clock moves by as little as it can. The next poll is to find it due, also
 * if it comes at once. */
static void let_deadline_pass(skua_cx *cx, struct trial *trial)
{
	struct sk_worker *worker = cx->worker;

	trial->requests++;
	trial_expect(trial, "skua_timer_reset",
		     skua_timer_reset(cx, &trial->timer, skua_clock_now(trial->rt) + 1), 0);
	trial_expect(trial, "skua_clock_advance", skua_clock_advance(trial->rt, 1), 0);
	if (worker != NULL)
		sk_timers_fire(&worker->timers, skua_clock_now(trial->rt));
	CASES_WAIT(sk_timer_has_fired(sk_timer_of(&trial->timer)));
}

static void cancel_token(skua_cx *cx, struct trial *trial)
{
	(void)cx;
	trial->requests++;
	skua_token_cancel(trial->token);
}

static void cancel_parent_token(skua_cx *cx, struct trial *trial)
{
	(void)cx;
	trial->requests++;
	skua_token_cancel(trial->parent);
}

static void cancel_scope(skua_cx *cx, struct trial *trial)
{
	(void)cx;
	trial->requests++;
	skua_scope_cancel(trial->scope);
}

/* The task that owns the outermost scope around it. */
static void cancel_owner(skua_cx *cx, struct trial *trial)
{
	(void)cx;
	trial->requests++;
	trial_expect(trial, "skua_cancel of the owner", skua_cancel(trial->root), 0);
}

/* ---- By the end of the runtime ---- */

static void shut_down(skua_cx *cx, struct trial *trial)
{
	struct sk_sched *sched = cx->task->sched;

	trial->requests++;
	pthread_mutex_lock(&trial->lock);
	trial->wants_shutdown = true;
	pthread_cond_broadcast(&trial->changed);
	pthread_mutex_unlock(&trial->lock);
	CASES_WAIT(sk_load(&sched->phase, SK_ACQUIRE) != SK_PHASE_OPEN);
}

const struct way cancel_ways[] = {
	{.name = "handle", .on_each_io = true, .request = cancel_task, .from_the_start = true},
	{.name = "handle-twice",
	 .request = cancel_task,
	 .again = cancel_task_again,
	 .from_the_start = true},
	{.name = "thread",
	 .on_each_io = true,
	 .request = cancel_from_a_thread,
	 .from_the_start = true,
	 .two_workers = true},
	{.name = "thread-racing", .request = ask_actor, .races = true, .two_workers = true},
	{.name = "deadline",
	 .on_each_io = true,
	 .around = DEADLINE_AROUND,
	 .request = let_deadline_pass},
	{.name = "scope", .place = AS_A_CHILD, .request = cancel_scope, .from_the_start = true},
	/* One worker polls the owner, which was woken last, before the probe; the one between comes
	 * after it. */
	{.name = "owner", .place = AS_A_CHILD, .request = cancel_owner},
	{.name = "owner-of-owner", .place = AS_A_GRANDCHILD, .request = cancel_owner, .delay = 2},
	{.name = "owner-racing",
	 .place = AS_A_GRANDCHILD,
	 .request = cancel_owner,
	 .races = true,
	 .two_workers = true},
	{.name = "token", .around = TOKEN_AROUND, .request = cancel_token, .from_the_start = true},
	{.name = "parent-token",
	 .around = TOKEN_AROUND,
	 .place = AS_A_CHILD,
	 .request = cancel_parent_token,
	 .from_the_start = true},
	{.name = "token-then-handle",
	 .around = TOKEN_AROUND,
	 .request = cancel_token,
	 .again = cancel_task_once,
	 .from_the_start = true},
	{.name = "select", .on_each_io = true, .around = SELECT_AROUND},
	{.name = "behind-a-shield", .around = SHIELD_AROUND, .request = cancel_task},
	{.name = "shutdown",
	 .on_each_io = true,
	 .request = shut_down,
	 .at_shutdown = true,
	 .two_workers = true},
	{.name = "foreign-deadline",
	 .around = DEADLINE_AROUND,
	 .place = UNDER_A_FOREIGN_EXECUTOR,
	 .request = let_deadline_pass},
	{.name = "foreign-token",
	 .on_each_io = true,
	 .around = TOKEN_AROUND,
	 .place = UNDER_A_FOREIGN_EXECUTOR,
	 .request = cancel_token,
	 .from_the_start = true},
	{.name = "foreign-select", .around = SELECT_AROUND, .place = UNDER_A_FOREIGN_EXECUTOR},
};

const unsigned cancel_way_count = sizeof cancel_ways / sizeof cancel_ways[0];
