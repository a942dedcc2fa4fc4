/*
 * test_semantics.c - promises of docs/semantics.md that belong to no single part: who sees what was
 * written before, that no user code is called under a lock, how late a timer may be set.
 */
#include <fcntl.h>
#include <semaphore.h>

#include "runtime/runtime.h"
#include "sched/worker.h"
#include "spawn_support.h"

/* ---- Who sees what was written before ---- */

/* A plain variable, which each of the chain finds as the one before has left it. */
struct baton {
	skua_runtime *rt;
	skua_token *token;
	int value;
};

static void pass_on(struct baton *baton, int expected)
{
	T_EQ(baton->value, expected);
	baton->value++;
}

static skua_poll child_of_chain(skua_cx *cx, void *argument)
{
	(void)cx;
	pass_on(argument, 2);
	return 0;
}

static int64_t job_of_chain(void *argument)
{
	pass_on(*(struct baton **)argument, 4);
	return 0;
}

struct listener {
	skua_coro co;
	struct baton *baton;
	skua_token_waiter waiter;
};

static skua_poll listener(skua_cx *cx, struct listener *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(skua_token_wait(cx, &self->waiter, self->baton->token));
	pass_on(self->baton, 6);
	SKUA_END(0);
}
SKUA_CORO(listener, struct listener);

struct chain {
	skua_coro co;
	struct baton *baton;
	skua_scope *scope;
	skua_task *listens, *job;
};

static void chain_spawns(skua_cx *cx, struct chain *self)
{
	struct call child = call_of(child_of_chain, self->baton);

	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &child.future, NULL), 0);
}

static skua_poll chain(skua_cx *cx, struct chain *self)
{
	SKUA_BEGIN(self);
	pass_on(self->baton, 1);
	chain_spawns(cx, self);
	SKUA_AWAIT(skua_scope_join(cx, &self->scope));
	pass_on(self->baton, 3);
	T_EQ(skua_spawn_blocking(self->baton->rt, job_of_chain, &self->baton, sizeof(void *),
				 &self->job),
	     0);
	SKUA_AWAIT(skua_join(cx, &self->job));
	pass_on(self->baton, 5);
	skua_token_cancel(self->baton->token);
	SKUA_AWAIT(skua_join(cx, &self->listens));
	pass_on(self->baton, 7);
	SKUA_END(0);
}
SKUA_CORO(chain, struct chain);

/* A spawn, a scope's join, a job and its end, a token, a join, skua_task_wait: ThreadSanitizer says
 * if one of them does not order the accesses. */
T_TEST(semantics, what_was_written_before_is_seen_after)
{
	skua_runtime *rt = runtime_of(4);

	for (int i = 0; i < rounds(500); i++) {
		struct baton baton = {.rt = rt, .value = 1};
		struct listener listens = {.co = SKUA_CORO_INIT(listener), .baton = &baton};
		struct chain state = {.co = SKUA_CORO_INIT(chain), .baton = &baton};
		skua_task *task;

		T_EQ(skua_token_new(NULL, &baton.token), 0);
		state.listens = start_future(rt, &listens.co);
		task = start_future(rt, &state.co);
		T_EQ(skua_task_wait(&task), 0);
		pass_on(&baton, 8);
		skua_token_release(baton.token);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- No user code under a lock ---- */

/* What wakers, releases and drops of the tests do: nearly everything. */
struct caller {
	skua_runtime *rt;
	skua_token *token; /* that is waited for */
	skua_task *task;   /* that is joined */
	int no_timers;     /* the runtime is being freed */
	atomic_int calls, wakes, drops, clones;
};

static int64_t short_job(void *argument)
{
	(void)argument;
	return 0;
}

static void *same(void *data)
{
	return data;
}

static void nothing(void *data)
{
	(void)data;
}

static const skua_waker_ops silent_ops = {same, nothing, nothing, nothing};

static void call_timers(const struct caller *caller)
{
	const skua_waker silent = {&silent_ops, NULL};
	skua_token_waiter waiter = {0};
	skua_timer timer = {0};
	skua_cx cx;

	skua_cx_init(&cx, caller->rt, &silent);
	T_EQ(skua_sleep(&cx, &timer, SKUA_SEC), SKUA_PENDING);
	skua_timer_cancel(&timer);
	(void)!skua_token_wait(&cx, &waiter, caller->token);
	skua_token_forget(&waiter);
}

static void call_everything(struct caller *caller)
{
	static _Thread_local int inside;
	struct call call = call_of(seven, NULL);
	skua_token *below = NULL;
	skua_stats stats;

	if (inside++ == 0) {
		atomic_fetch_add(&caller->calls, 1);
		(void)!skua_spawn(caller->rt, &call.future, NULL);
		(void)!skua_spawn_blocking(caller->rt, short_job, NULL, 0, NULL);
		T_EQ(skua_token_new(caller->token, &below), 0);
		skua_token_cancel(below);
		skua_token_release(below);
		(void)skua_token_is_cancelled(caller->token);
		skua_runtime_stats(caller->rt, &stats);
		(void)skua_clock_now(caller->rt);
		if (!caller->no_timers)
			call_timers(caller);
	}
	inside--;
}

static void *caller_clone(void *data)
{
	struct caller *caller = data;

	call_everything(caller);
	atomic_fetch_add(&caller->clones, 1);
	return data;
}

static void caller_wake_by_ref(void *data)
{
	struct caller *caller = data;

	call_everything(caller);
	atomic_fetch_add(&caller->wakes, 1);
}

static void caller_drop(void *data)
{
	struct caller *caller = data;

	call_everything(caller);
	atomic_fetch_add(&caller->drops, 1);
}

static void caller_wake(void *data)
{
	caller_wake_by_ref(data);
	caller_drop(data);
}

static const skua_waker_ops caller_ops = {caller_clone, caller_wake, caller_wake_by_ref,
					  caller_drop};

/* What is waited for. */
struct awaited {
	struct caller *caller;
	skua_timer timer;
	skua_token_waiter waiter;
	skua_source *source;
	int writing_end, closed;
	skua_blocking_wait room;
	skua_scope *scope;
	struct cell cells[2]; /* the task's and the child's */
	skua_task *task;
	sem_t leave;
};

static skua_poll wait_sleep(skua_cx *cx, struct awaited *self)
{
	return skua_sleep(cx, &self->timer, 5 * SKUA_MSEC);
}

static skua_poll wait_timeout(skua_cx *cx, struct awaited *self)
{
	return skua_timeout(cx, &self->timer, 5 * SKUA_MSEC, parked(cx, NULL));
}

static skua_poll wait_token(skua_cx *cx, struct awaited *self)
{
	return skua_token_wait(cx, &self->waiter, self->caller->token);
}

static skua_poll wait_join(skua_cx *cx, struct awaited *self)
{
	return skua_join(cx, &self->task);
}

static skua_poll wait_readable(skua_cx *cx, struct awaited *self)
{
	return skua_source_readable(cx, self->source);
}

static skua_poll wait_room(skua_cx *cx, struct awaited *self)
{
	return skua_spawn_blocking_when_room(cx, &self->room, short_job, NULL, 0, NULL, NULL);
}

static skua_poll wait_scope_room(skua_cx *cx, struct awaited *self)
{
	return skua_scope_room(cx, self->scope);
}

static skua_poll wait_scope_next(skua_cx *cx, struct awaited *self)
{
	skua_scope_result result;

	return skua_scope_next(cx, self->scope, &result);
}

static skua_poll wait_scope_join(skua_cx *cx, struct awaited *self)
{
	return skua_scope_join(cx, &self->scope);
}

static void end_nothing(struct awaited *self)
{
	(void)self;
}

static void end_token(struct awaited *self)
{
	skua_token_cancel(self->caller->token);
}

static void end_task(struct awaited *self)
{
	cell_fill(&self->cells[0]);
	cell_fill(&self->cells[1]);
}

static void end_write(struct awaited *self)
{
	T_EQ(write(self->writing_end, "x", 1), 1);
}

static void end_close(struct awaited *self)
{
	skua_source_close(self->source);
	self->closed = 1;
}

static void end_jobs(struct awaited *self)
{
	sem_post(&self->leave);
	sem_post(&self->leave);
}

static const struct wait {
	const char *name;
	skua_poll (*poll)(skua_cx *cx, struct awaited *self);
	void (*end)(struct awaited *self);
	int64_t result;
} waits[] = {
	{"sleep", wait_sleep, end_nothing, 0},
	{"timeout", wait_timeout, end_nothing, -ETIMEDOUT},
	{"token", wait_token, end_token, 0},
	{"join", wait_join, end_task, 0},
	{"readable", wait_readable, end_write, 0},
	{"close", wait_readable, end_close, -ECANCELED},
	{"room in the pool", wait_room, end_jobs, 0},
	{"room in a scope", wait_scope_room, end_task, 0},
	{"result of a child", wait_scope_next, end_task, 1},
	{"join of a scope", wait_scope_join, end_task, 0},
};

static int64_t leave_when_told(void *argument)
{
	while (sem_wait(*(sem_t **)argument) != 0)
		;
	return 0;
}

/* One thread for jobs, one place in the queue, and both are taken; the scope has no room. */
static void awaited_begin(struct awaited *self, skua_cx *cx)
{
	skua_scope_options options = {
		.struct_size = sizeof options, .limit = 1, .results = SKUA_RESULTS_AS_THEY_COME};
	struct call child = call_of(cell_take, &self->cells[1]);
	sem_t *leave = &self->leave;
	int ends[2];

	self->cells[0] = self->cells[1] = (struct cell)CELL_INIT;
	T_EQ(sem_init(&self->leave, 0, 0), 0);
	T_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	self->writing_end = ends[1];
	T_EQ(skua_source_new(self->caller->rt, ends[0], &self->source), 0);
	for (int i = 0; i < 2; i++)
		T_EQ(skua_spawn_blocking(self->caller->rt, leave_when_told, &leave, sizeof(void *),
					 NULL),
		     0);
	self->task = start(self->caller->rt, cell_take, &self->cells[0]);
	T_EQ(skua_scope_new(cx, &options, &self->scope), 0);
	T_EQ(skua_scope_spawn(cx, self->scope, &child.future, NULL), 0);
	WAIT_UNTIL(cell_has_waiter(&self->cells[0]) && cell_has_waiter(&self->cells[1]));
}

static void awaited_end(struct awaited *self, skua_cx *cx)
{
	end_task(self);
	end_jobs(self);
	while (self->scope != NULL && skua_scope_join(cx, &self->scope) == SKUA_PENDING)
		sleep_ms(1);
	if (self->task != NULL)
		T_EQ(skua_task_wait(&self->task), 0);
	if (!self->closed)
		skua_source_close(self->source);
	close(self->writing_end);
}

/* Waits with one waker, then with another; ends the wait; and all that time each call of a waker
 * calls the library again: under a lock that would never end. */
static void wait_with_callers(const struct wait *wait)
{
	struct caller callers[2] = {{.rt = NULL}, {.rt = NULL}};
	struct awaited self = {.caller = &callers[0]};
	skua_waker waker = {&caller_ops, &callers[0]};
	skua_config config;
	skua_poll result;
	skua_cx cx;

	quiet_config(&config, 2, IO_AUTO);
	config.max_blocking = config.blocking_queue = 1;
	callers[0].rt = callers[1].rt = runtime_with(&config);
	T_EQ(skua_token_new(NULL, &callers[0].token), 0);
	callers[1].token = callers[0].token;
	skua_cx_init(&cx, callers[0].rt, &waker);
	awaited_begin(&self, &cx);
	T_EQ(wait->poll(&cx, &self), SKUA_PENDING);
	cx.waker.data = &callers[1];
	T_EQ(wait->poll(&cx, &self), SKUA_PENDING);
	WAIT_UNTIL(callers[0].clones > 0 && callers[0].drops + callers[0].wakes > 0);
	wait->end(&self);
	WAIT_UNTIL(callers[1].wakes > 0);
	while ((result = wait->poll(&cx, &self)) == SKUA_PENDING)
		sleep_ms(1);
	T_EQ(result, wait->result);
	awaited_end(&self, &cx);
	T_EQ(skua_runtime_free(callers[0].rt), 0);
	T_EQ(callers[0].drops, callers[0].clones);
	T_EQ(callers[1].drops, callers[1].clones);
	skua_token_release(callers[0].token);
	sem_destroy(&self.leave);
}

T_TEST_T(semantics, wakers_are_called_under_no_lock, 60)
{
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
		T_LOG("%s", waits[i].name);
		wait_with_callers(&waits[i]);
	}
}

/* A task that has a value, and ends at once, or never: then it is dropped. */
struct owner {
	skua_future future;
	struct caller *caller;
	atomic_int *polled;
	int ends;
};

static void release_value(void *value)
{
	caller_drop(value);
}

static const skua_local_key owned_value = {"value", release_value};

static skua_poll owner_poll(skua_cx *cx, skua_future *future)
{
	struct owner *self = (struct owner *)(void *)future;

	if (skua_local_get(cx, &owned_value) == NULL)
		T_EQ(skua_local_set(cx, &owned_value, self->caller), 0);
	atomic_store(self->polled, 1);
	return self->ends ? 0 : SKUA_PENDING;
}

static void owner_drop(skua_future *future)
{
	caller_drop(((struct owner *)(void *)future)->caller);
}

static const skua_future_ops owner_ops = {
	.poll = owner_poll,
	.drop = owner_drop,
	.size = sizeof(struct owner),
	.name = "owner",
};

T_TEST(semantics, drops_and_releases_are_called_under_no_lock)
{
	for (int ends = 0; ends < 2; ends++) {
		struct caller caller = {.no_timers = 1};
		atomic_int polled = 0;
		struct owner future = {{&owner_ops, 0, 0}, &caller, &polled, ends};
		skua_config config;
		skua_task *task;

		quiet_config(&config, 1, IO_AUTO);
		config.shutdown_ms = 1;
		config.log = SKUA_LOG_OFF;
		caller.rt = runtime_with(&config);
		T_EQ(skua_token_new(NULL, &caller.token), 0);
		task = start_future(caller.rt, &future.future);
		if (ends)
			WAIT_UNTIL(caller.drops == 1);
		WAIT_UNTIL(polled);
		T_EQ(skua_runtime_free(caller.rt), ends ? 0 : -ETIMEDOUT);
		/* The value's release, and the future's drop if it did not end. */
		T_EQ(caller.drops, ends ? 1 : 2);
		T_EQ(skua_task_wait(&task), ends ? 0 : -ESHUTDOWN);
		skua_token_release(caller.token);
	}
}

/* ---- How late a timer may be set ---- */

struct setting {
	uint64_t ns, before, after, set_to;
};

static skua_poll sets_a_timer(skua_cx *cx, void *argument)
{
	struct setting *self = argument;
	skua_timer timer = {0};

	self->before = skua_now();
	T_EQ(skua_sleep(cx, &timer, self->ns), SKUA_PENDING);
	self->after = skua_now();
	self->set_to = sk_timers_next(&sk_worker_current()->timers);
	skua_timer_cancel(&timer);
	return 0;
}

T_TEST(semantics, far_timers_are_set_a_little_later_and_near_ones_are_not)
{
	static const uint64_t milliseconds[] = {1, 5, 16, 17, 20, 50, 67, 70, 100, 1000, 3600000};

	for (size_t i = 0; i < sizeof milliseconds / sizeof milliseconds[0]; i++) {
		/* A new one each time: what is set is the nearest timer. */
		skua_runtime *rt = runtime_of(1);
		struct setting setting = {.ns = milliseconds[i] * SKUA_MSEC};
		uint64_t most = setting.ns / 64 < 1050000 ? setting.ns / 64 : 1050000;

		T_EQ(run(rt, sets_a_timer, &setting), 0);
		T_GE(setting.set_to, setting.before + setting.ns);
		T_LE(setting.set_to,
		     setting.after + setting.ns + (milliseconds[i] <= 16 ? 0 : most));
		T_EQ(skua_runtime_free(rt), 0);
	}
}

/* ---- A moment that never comes ---- */

static skua_poll sleep_for_ever(skua_cx *cx, void *argument)
{
	return skua_sleep_until(cx, argument, SKUA_NEVER);
}

static void *fill_later(void *argument)
{
	sleep_ms(30);
	cell_fill(argument);
	return NULL;
}

/* A clock that is paused does not jump there either, when nothing else is left and a thread waits. */
T_TEST(semantics, never_does_not_come)
{
	skua_runtime *rt = runtime_of(1);
	struct cell cell = CELL_INIT;
	skua_timer never = {0};
	skua_task *sleeps, *takes;
	pthread_t thread;
	uint64_t begin;

	T_EQ(skua_clock_pause(rt), 0);
	begin = skua_clock_now(rt);
	sleeps = start(rt, sleep_for_ever, &never);
	takes = start(rt, cell_take, &cell);
	WAIT_UNTIL(cell_has_waiter(&cell));
	T_EQ(pthread_create(&thread, NULL, fill_later, &cell), 0);
	T_EQ(skua_task_wait(&takes), 0);
	pthread_join(thread, NULL);
	T_EQ(skua_clock_now(rt) - begin, 0);
	T_EQ(skua_task_finished(sleeps), 0);
	T_EQ(skua_cancel(sleeps), 0);
	T_EQ(skua_task_wait(&sleeps), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
}
