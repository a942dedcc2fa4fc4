/* stage.c - see stage.h. */
#include "tests/lifecycle/stage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "lifecycle: %s: %s\n", what, skua_strerror(rc));
	abort();
}

/* ---- Calls ---- */

/* Makes the call, if there is one. */
static bool answer(struct stage_call *call)
{
	void (*function)(void *argument) = atomic_load(&call->function);

	if (function == NULL)
		return false;
	function(call->argument);
	atomic_store(&call->function, NULL);
	return true;
}

static void ask(struct stage_call *call, void (*function)(void *argument), void *argument)
{
	call->argument = argument;
	atomic_store(&call->function, function);
}

static void await_answer(struct stage_call *call)
{
	CASES_WAIT(atomic_load(&call->function) == NULL);
}

/* Stays, and makes the calls that it is asked to, until the flag is set or the runtime is there. */
static void stay(struct stage *stage, struct stage_call *call, _Atomic bool *flag,
		 _Atomic enum stage_until *until)
{
	for (unsigned turn = 0;; turn++) {
		uint32_t phase = sk_load(&stage->sched->phase, SK_ACQUIRE);
		enum stage_until what = atomic_load(until);

		if (answer(call))
			turn = 0;
		if (atomic_load(flag) || (what == UNTIL_CLOSING && phase != SK_PHASE_OPEN) ||
		    (what == UNTIL_STOPPED && phase == SK_PHASE_STOPPED))
			return;
		if (turn < 50)
			sched_yield();
		else
			usleep(50);
	}
}

void stage_hold(struct stage *stage)
{
	if (!atomic_exchange(&stage->hold, false))
		return;
	atomic_store(&stage->held, true);
	stay(stage, &stage->held_call, &stage->let_go, &stage->hold_until);
	atomic_store(&stage->held, false);
}

/* ---- Tasks that keep workers busy, and that do nothing ---- */

struct bystander {
	skua_future future;
	struct stage *stage;
	struct stage_call *call;
};

static skua_poll busy_poll(skua_cx *cx, skua_future *self)
{
	struct bystander *busy = (struct bystander *)(void *)self;

	(void)cx;
	atomic_fetch_add(&busy->stage->busy, 1);
	stay(busy->stage, busy->call, &busy->stage->released, &busy->stage->busy_until);
	atomic_fetch_sub(&busy->stage->busy, 1);
	return 0;
}

static skua_poll errand_poll(skua_cx *cx, skua_future *self)
{
	(void)cx;
	answer(((struct bystander *)(void *)self)->call);
	return 0;
}

static skua_poll nothing_poll(skua_cx *cx, skua_future *self)
{
	(void)cx, (void)self;
	return 0;
}

static const skua_future_ops busy_ops = {busy_poll, NULL, sizeof(struct bystander), "busy", NULL};
static const skua_future_ops errand_ops = {errand_poll, NULL, sizeof(struct bystander), "errand",
					   NULL};
static const skua_future_ops nothing_ops = {nothing_poll, NULL, sizeof(skua_future), "nothing",
					    NULL};

/* Makes a single task worth the wake of a worker, whatever was measured before. */
static void encourage(struct stage *stage)
{
	for (uint32_t i = 0; i < stage->sched->options.workers; i++)
		sk_store(&stage->sched->workers[i]->mean_poll_ns, SK_WAKE_COST_NS, SK_RELAXED);
}

static void spawn_bystander(struct stage *stage, const skua_future_ops *ops,
			    struct stage_call *call)
{
	struct bystander bystander = {{ops, 0, 0}, stage, call};

	encourage(stage);
	must(skua_spawn(stage->rt, &bystander.future, NULL), "spawning a bystander");
}

void stage_occupy(struct stage *stage, enum stage_until until)
{
	static struct stage_call none;
	uint32_t workers = stage->sched->options.workers;

	atomic_store(&stage->released, false);
	atomic_store(&stage->busy_until, until);
	for (uint32_t i = 0; i < workers; i++) {
		spawn_bystander(stage, &busy_ops, i == 0 ? &stage->busy_call : &none);
		CASES_WAIT(atomic_load(&stage->busy) > i);
	}
}

void stage_release(struct stage *stage)
{
	atomic_store(&stage->released, true);
	CASES_WAIT(atomic_load(&stage->busy) == 0);
}

void stage_queue_others(struct stage *stage)
{
	static const skua_future nothing = {&nothing_ops, 0, 0};

	for (int i = 0; i < 2; i++)
		must(skua_spawn(stage->rt, &nothing, NULL), "spawning others");
}

/* ---- The driver's thread: a foreign waker that it wakes makes the call ---- */

static void *bell_clone(void *data)
{
	return data;
}

static void bell_wake(void *data)
{
	answer(&((struct stage *)data)->bell_call);
}

static void bell_drop(void *data)
{
	(void)data;
}

static const skua_waker_ops bell_ops = {bell_clone, bell_wake, bell_wake, bell_drop};

static void bell_arm(struct stage *stage)
{
	uint64_t count;

	if (read(skua_source_fd(stage->bell), &count, sizeof count) < 0 && errno != EAGAIN)
		must(-errno, "reading the bell");
	while (skua_source_readable(&stage->bell_cx, stage->bell) != SKUA_PENDING)
		;
}

static void bell_ring(struct stage *stage, void (*function)(void *argument), void *argument)
{
	uint64_t one = 1;

	ask(&stage->bell_call, function, argument);
	if (write(skua_source_fd(stage->bell), &one, sizeof one) != sizeof one)
		must(-errno, "ringing the bell");
	await_answer(&stage->bell_call);
	bell_arm(stage);
}

void stage_open(struct stage *stage, const struct life_case *c, skua_runtime *rt)
{
	skua_waker waker = {&bell_ops, stage};

	memset(stage, 0, sizeof *stage);
	stage->c = c;
	stage->rt = rt;
	stage->sched = rt->head.sched;
	if (c->actor != ON_DRIVER)
		return;
	must(skua_source_new(rt, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), &stage->bell), "a bell");
	skua_cx_init(&stage->bell_cx, rt, &waker);
	bell_arm(stage);
}

void stage_close(struct stage *stage)
{
	skua_source_close(stage->bell);
	stage->bell = NULL;
	stage->rt = NULL;
}

/* ---- Actors ---- */

static int64_t job_errand(void *argument)
{
	answer(*(struct stage_call **)argument);
	return 0;
}

static void act_on_worker(struct stage *stage, void (*function)(void *argument), void *argument)
{
	/* With one worker, which is busy, the call is made in the poll that goes on there. */
	bool in_poll = atomic_load(&stage->held) && stage->sched->options.workers == 1;
	struct stage_call errand = {NULL, NULL};

	if (atomic_load(&stage->busy) > 0) {
		ask(&stage->busy_call, function, argument);
		await_answer(&stage->busy_call);
	} else if (in_poll) {
		ask(&stage->held_call, function, argument);
		await_answer(&stage->held_call);
	} else {
		ask(&errand, function, argument);
		spawn_bystander(stage, &errand_ops, &errand);
		await_answer(&errand);
	}
}

static void act_on_job(struct stage *stage, void (*function)(void *argument), void *argument)
{
	struct stage_call errand = {NULL, NULL}, *call = &errand;

	ask(&errand, function, argument);
	must(skua_spawn_blocking(stage->rt, job_errand, &call, sizeof(void *), NULL), "a job");
	await_answer(&errand);
}

void stage_act(struct stage *stage, void (*function)(void *argument), void *argument)
{
	enum actor actor = stage->rt == NULL ? OUTSIDE : stage->c->actor;

	switch (actor) {
	case ON_WORKER:
		act_on_worker(stage, function, argument);
		break;
	case ON_JOB:
		act_on_job(stage, function, argument);
		break;
	case ON_DRIVER:
		bell_ring(stage, function, argument);
		break;
	default:
		function(argument);
	}
}
