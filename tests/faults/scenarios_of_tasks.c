/* scenarios_of_tasks.c - tasks, time, wakers, blocking jobs, and the runtime's own life. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faults.h"

/* ---- The smallest futures ---- */

struct number {
	skua_future future;
	int64_t value;
};

static skua_poll number_poll(skua_cx *cx, skua_future *future)
{
	(void)cx;
	return ((struct number *)(void *)future)->value;
}

static const skua_future_ops number_ops = {
	.poll = number_poll, .size = sizeof(struct number), .name = "number"};

static struct number number_of(int64_t value)
{
	return (struct number){{&number_ops, 0, 0}, value};
}

struct sleeper {
	skua_coro co;
	skua_timer timer;
	uint64_t ns;
	int64_t rc;
};

static skua_poll sleeper(skua_cx *cx, struct sleeper *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, self->ns));
	SKUA_END(self->rc);
}
SKUA_CORO(sleeper, struct sleeper);

static struct sleeper sleeper_of(uint64_t ns)
{
	return (struct sleeper){.co = SKUA_CORO_INIT(sleeper), .ns = ns};
}

/* The result of a task that must be `expected` or an error. */
static int checked(struct env *env, int64_t result, int64_t expected)
{
	if (result < 0)
		return (int)result;
	if (result != expected)
		env_wrong(env, "a task ended with another result than its own");
	return 0;
}

/* ---- Runtimes ---- */

static int run_nothing(struct env *env)
{
	skua_stats stats;

	if (env->rt == NULL)
		return 0;
	skua_runtime_stats(env->rt, &stats);
	if (stats.workers == 0)
		env_wrong(env, "a runtime without workers");
	return 0;
}

static int run_two_runtimes(struct env *env)
{
	struct env second = *env;
	skua_config config;
	int rc;

	skua_config_init(&config);
	config.workers = 2;
	config.io_threads = 2;
	io_configure(&config, env->io);
	config.pinned = ENV_PINNED;
	rc = skua_runtime_new(&config, &second.rt);
	if (rc < 0)
		return rc;
	rc = echo_once(&second);
	if (rc == 0)
		rc = echo_once(env);
	if (second.wrong != NULL)
		env_wrong(env, second.wrong);
	if (skua_runtime_free(second.rt) != 0)
		env_wrong(env, "the second runtime dropped tasks");
	return rc;
}

/* A runtime that is refused for a value in the environment, with a line in the log. */
static int run_bad_variable(struct env *env)
{
	skua_config config;
	skua_runtime *rt = NULL;
	int rc;

	skua_config_init(&config);
	config.workers = 1;
	io_configure(&config, env->io);
	config.pinned = ENV_PINNED & ~(uint32_t)SKUA_KNOB_BUDGET;
	setenv("SKUA_BUDGET", "none", 1);
	rc = skua_runtime_new(&config, &rt);
	unsetenv("SKUA_BUDGET");
	if (rc == 0) {
		env_wrong(env, "a bad value was taken");
		skua_runtime_free(rt);
	}
	return rc == -EINVAL ? 0 : rc;
}

/* ---- Spawning ---- */

static int run_spawn(struct env *env)
{
	struct number number = number_of(42);
	skua_task *task = NULL;
	int rc = skua_spawn(env->rt, &number.future, &task);

	return rc < 0 ? rc : checked(env, env_wait(&task), 42);
}

enum { MANY = 300 };

/* From a worker, so that its queue has to grow. */
struct spawner {
	skua_coro co;
	struct env *env;
	int count, i;
	int64_t rc, n;
	skua_task *tasks[MANY];
};

static skua_poll spawner(skua_cx *cx, struct spawner *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < MANY && self->rc == 0; self->i++) {
		struct number number = number_of(self->i);

		self->rc = skua_spawn(skua_cx_runtime(cx), &number.future, &self->tasks[self->i]);
		self->count += self->rc == 0;
	}
	for (self->i = 0; self->i < self->count; self->i++)
		while (self->tasks[self->i] != NULL) {
			SKUA_AWAIT(self->n = skua_join(cx, &self->tasks[self->i]));
			if (self->tasks[self->i] == NULL && self->n != self->i)
				env_wrong(self->env,
					  "a task ended with another result than its own");
			if (self->tasks[self->i] != NULL)
				self->rc = self->n;
		}
	SKUA_END(self->rc);
}
SKUA_CORO(spawner, struct spawner);

static int run_spawn_many(struct env *env)
{
	static struct spawner many;

	many = (struct spawner){.co = SKUA_CORO_INIT(spawner), .env = env};
	return env_block_on(env, &many.co);
}

/* From outside, so that the inboxes are used. */
static int run_spawn_outside(struct env *env)
{
	skua_task *tasks[16] = {NULL};
	int rc = 0;

	for (int i = 0; i < 16 && rc == 0; i++) {
		struct number number = number_of(i);

		rc = skua_spawn(env->rt, &number.future, &tasks[i]);
	}
	for (int i = 0; i < 16; i++)
		if (tasks[i] != NULL) {
			int ended = checked(env, env_wait(&tasks[i]), i);

			rc = rc == 0 ? ended : rc;
		}
	return rc;
}

static atomic_int leavers_made, leavers_ended;

struct leaver {
	skua_coro co;
	int64_t rc;
};

static skua_poll leaver(skua_cx *cx, struct leaver *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_yield(cx));
	leavers_ended++;
	SKUA_END(self->rc);
}
SKUA_CORO(leaver, struct leaver);

static int run_detach(struct env *env)
{
	struct leaver future = {.co = SKUA_CORO_INIT(leaver)};
	skua_task *task = NULL;
	int rc;

	leavers_made = 0;
	leavers_ended = 0;
	rc = skua_spawn(env->rt, &future.co, NULL);
	leavers_made += rc == 0;
	if (rc == 0) {
		rc = skua_spawn(env->rt, &future.co, &task);
		leavers_made += rc == 0;
	}
	skua_detach(&task);
	return rc;
}

static void finish_detach(struct env *env)
{
	if (leavers_ended != leavers_made)
		env_wrong(env, "a detached task did not run to its end, once");
}

static int run_join(struct env *env)
{
	struct sleeper sleeper = sleeper_of(100 * SKUA_USEC);
	skua_task *task = NULL;
	int rc = skua_spawn(env->rt, &sleeper.co, &task);

	return rc < 0 ? rc : checked(env, env_wait(&task), 0);
}

static int run_cancel(struct env *env)
{
	struct sleeper sleeper = sleeper_of(60 * SKUA_SEC);
	skua_task *task = NULL;
	int rc = skua_spawn(env->rt, &sleeper.co, &task);
	int64_t result;

	if (rc < 0)
		return rc;
	skua_cancel(task);
	result = env_wait(&task);
	if (result >= 0)
		env_wrong(env, "a cancelled task went on");
	return result == -ECANCELED ? 0 : (int)result;
}

static int run_block_on(struct env *env)
{
	struct number number = number_of(7);

	return checked(env, skua_block_on(env->rt, &number.future), 7);
}

/* ---- Time ---- */

static int run_sleep(struct env *env)
{
	struct sleeper sleeper = sleeper_of(200 * SKUA_USEC);
	uint64_t begin = skua_now();
	int rc = env_block_on(env, &sleeper.co);

	if (rc == 0 && skua_now() - begin < 200 * SKUA_USEC)
		env_wrong(env, "slept too short");
	return rc;
}

/* More than the first heap of timers has room for. */
static int run_sleep_many(struct env *env)
{
	skua_task *tasks[80] = {NULL};
	int rc = 0;

	for (int i = 0; i < 80 && rc == 0; i++) {
		struct sleeper sleeper = sleeper_of(300 * SKUA_USEC + (uint64_t)i * SKUA_USEC);

		rc = skua_spawn(env->rt, &sleeper.co, &tasks[i]);
	}
	for (int i = 0; i < 80; i++)
		if (tasks[i] != NULL) {
			int ended = checked(env, env_wait(&tasks[i]), 0);

			rc = rc == 0 ? ended : rc;
		}
	return rc;
}

struct deadlines {
	skua_coro co;
	skua_timer outer, inner;
	int64_t rc;
};

/* A sleep that is cut short, then one that is not. */
static skua_poll deadlines(skua_cx *cx, struct deadlines *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_timeout(cx, &self->outer, 100 * SKUA_USEC,
					   skua_sleep(cx, &self->inner, 60 * SKUA_SEC)));
	if (self->rc == 0)
		SKUA_RETURN(-EPROTO);
	if (self->rc != -ETIMEDOUT)
		SKUA_RETURN(self->rc);
	SKUA_AWAIT(self->rc = skua_deadline(cx, &self->outer, skua_now() + 60 * SKUA_SEC,
					    skua_sleep(cx, &self->inner, 50 * SKUA_USEC)));
	SKUA_END(self->rc);
}
SKUA_CORO(deadlines, struct deadlines);

static int run_timeout(struct env *env)
{
	struct deadlines future = {.co = SKUA_CORO_INIT(deadlines)};
	int rc = env_block_on(env, &future.co);

	if (rc == -EPROTO)
		env_wrong(env, "a minute passed at once");
	return rc;
}

/* ---- Coroutines in coroutines ---- */

struct inner {
	skua_coro co;
	int i;
	int64_t rc;
};

static skua_poll inner(skua_cx *cx, struct inner *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < 5; self->i++)
		SKUA_AWAIT(self->rc = skua_yield(cx));
	SKUA_END(self->rc < 0 ? self->rc : self->i);
}
SKUA_CORO(inner, struct inner);

struct outer {
	skua_coro co;
	struct env *env;
	struct inner inner;
	int64_t rc;
};

static skua_poll outer(skua_cx *cx, struct outer *self)
{
	SKUA_BEGIN(self);
	self->inner = (struct inner){.co = SKUA_CORO_INIT(inner)};
	SKUA_AWAIT(self->rc = skua_poll_future(cx, &self->inner.co));
	SKUA_END(checked(self->env, self->rc, 5));
}
SKUA_CORO(outer, struct outer);

static int run_coroutines(struct env *env)
{
	struct outer future = {.co = SKUA_CORO_INIT(outer), .env = env};

	return env_block_on(env, &future.co);
}

/* ---- Wakers ---- */

/* Is woken by a thread that is not the runtime's. */
struct woken {
	skua_future future;
	skua_waker waker;
	pthread_t thread;
	atomic_int done;
	int started;
};

static void *wake_from_outside(void *argument)
{
	struct woken *woken = argument;

	woken->done = 1;
	skua_waker_wake(&woken->waker);
	return NULL;
}

static skua_poll woken_poll(skua_cx *cx, skua_future *future)
{
	struct woken *woken = (struct woken *)(void *)future;
	int interrupt = skua_cx_interrupt(cx);
	int rc;

	if (interrupt != 0)
		return interrupt;
	if (woken->done)
		return 0;
	if (woken->started)
		return SKUA_PENDING;
	rc = skua_waker_clone(skua_cx_waker(cx), &woken->waker);
	if (rc < 0)
		return rc;
	woken->started = 1;
	if (pthread_create(&woken->thread, NULL, wake_from_outside, woken) != 0) {
		woken->started = 0;
		skua_waker_drop(&woken->waker);
		return -EAGAIN;
	}
	return SKUA_PENDING;
}

static const skua_future_ops woken_ops = {
	.poll = woken_poll, .size = sizeof(struct woken), .name = "woken"};

static int run_foreign_wake(struct env *env)
{
	struct woken future = {.future = {&woken_ops, 0, 0}};
	int rc = env_block_on(env, &future.future);

	if (future.started)
		pthread_join(future.thread, NULL);
	return rc;
}

/* An executor of its own: a semaphore is its waker. */
static atomic_int foreign_references;
static sem_t foreign_woken;

static void *foreign_clone(void *data)
{
	foreign_references++;
	return data;
}

static void foreign_wake_by_ref(void *data)
{
	sem_post(data);
}

static void foreign_drop(void *data)
{
	(void)data;
	foreign_references--;
}

static void foreign_wake(void *data)
{
	foreign_wake_by_ref(data);
	foreign_drop(data);
}

static const skua_waker_ops foreign_ops = {foreign_clone, foreign_wake, foreign_wake_by_ref,
					   foreign_drop};

static int run_foreign_executor(struct env *env)
{
	const skua_waker waker = {&foreign_ops, &foreign_woken};
	uint64_t deadline = skua_now() + env->patience;
	skua_timer timer = {{0}};
	skua_poll result;
	skua_cx cx;

	foreign_references = 0;
	sem_init(&foreign_woken, 0, 0);
	skua_cx_init(&cx, env->rt, &waker);
	while ((result = skua_sleep(&cx, &timer, 200 * SKUA_USEC)) == SKUA_PENDING) {
		const struct timespec pause = {0, 50000};

		while (sem_trywait(&foreign_woken) != 0 && skua_now() < deadline)
			nanosleep(&pause, NULL);
		if (skua_now() >= deadline) {
			skua_timer_cancel(&timer);
			return -ETIMEDOUT;
		}
	}
	return (int)result;
}

static void finish_foreign_executor(struct env *env)
{
	if (foreign_references != 0)
		env_wrong(env, "a foreign waker was leaked or dropped twice");
	sem_destroy(&foreign_woken);
}

/* ---- Blocking jobs ---- */

static int64_t job_of(void *argument)
{
	int value;

	memcpy(&value, argument, sizeof value);
	return value * 3;
}

static int run_jobs(struct env *env, int count)
{
	skua_task *tasks[12] = {NULL};
	int rc = 0;

	for (int i = 0; i < count && rc == 0; i++)
		rc = skua_spawn_blocking(env->rt, job_of, &i, sizeof i, &tasks[i]);
	for (int i = 0; i < count; i++)
		if (tasks[i] != NULL) {
			int ended = checked(env, env_wait(&tasks[i]), i * 3);

			rc = rc == 0 ? ended : rc;
		}
	return rc;
}

static int run_blocking(struct env *env)
{
	return run_jobs(env, 1);
}

static int run_blocking_many(struct env *env)
{
	return run_jobs(env, 12);
}

/* ---- Scopes ---- */

static atomic_int values_released;

static void value_release(void *value)
{
	(void)value;
	atomic_fetch_add(&values_released, 1);
}

static const skua_local_key value_key = {"value", value_release};

/* Children in a scope that has everything a scope can have; its results are counted. */
struct scoped {
	skua_coro co;
	skua_scope *scope;
	skua_scope_result result;
	int values_set, spawned, taken;
	int64_t rc, joined;
};

static int64_t fill_scope(skua_cx *cx, struct scoped *self)
{
	skua_scope_options options = {.struct_size = sizeof options,
				      .results = SKUA_RESULTS_IN_ORDER,
				      .limit = 2,
				      .deadline = skua_now() + 3600 * SKUA_SEC};
	struct sleeper child = sleeper_of(100 * SKUA_USEC);
	int64_t rc = skua_scope_new(cx, &options, &self->scope);

	for (int i = 0; i < 4 && rc == 0; i++) {
		rc = skua_local_set(cx, &value_key, self);
		self->values_set += rc == 0;
		if (rc == 0)
			rc = skua_scope_spawn(cx, self->scope, &child.co, NULL);
		self->spawned += rc == 0;
	}
	return rc;
}

static skua_poll scoped(skua_cx *cx, struct scoped *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = fill_scope(cx, self));
	if (self->scope == NULL)
		SKUA_RETURN(self->rc);
	for (;;) {
		SKUA_AWAIT(self->joined = skua_scope_next(cx, self->scope, &self->result));
		if (self->joined != 1)
			break;
		self->taken++;
	}
	SKUA_AWAIT(self->joined = skua_scope_join(cx, &self->scope));
	/* A spawn is refused when a child has failed: what that has failed of is known here. */
	SKUA_END(self->joined < 0 ? self->joined : self->rc);
}
SKUA_CORO(scoped, struct scoped);

static int run_scope(struct env *env)
{
	struct scoped scoped_future = {.co = SKUA_CORO_INIT(scoped)};
	int rc;

	atomic_store(&values_released, 0);
	rc = env_block_on(env, &scoped_future.co);
	if (scoped_future.taken != scoped_future.spawned)
		env_wrong(env, "a scope has lost a result");
	if (atomic_load(&values_released) != scoped_future.values_set)
		env_wrong(env, "a task-local value was not released once");
	return rc;
}

/* ---- Tokens ---- */

/* Some wait for a token, some sleep under it, and its parent is cancelled when they do. */
struct listener {
	skua_coro co;
	atomic_int *begun;
	skua_token *token;
	skua_token_waiter waiter;
	skua_timer timer;
	bool sleeps;
	int64_t rc;
};

static skua_poll listener(skua_cx *cx, struct listener *self)
{
	SKUA_BEGIN(self);
	/* Whoever has counted to all of them cancels during this poll or later. */
	atomic_fetch_add(self->begun, 1);
	if (self->sleeps)
		SKUA_AWAIT(self->rc = skua_with_token(cx, &self->waiter, self->token,
						      skua_sleep(cx, &self->timer, 60 * SKUA_SEC)));
	else
		SKUA_AWAIT(self->rc = skua_token_wait(cx, &self->waiter, self->token));
	SKUA_END(self->rc);
}
SKUA_CORO(listener, struct listener);

static struct listener listener_of(skua_token *token, bool sleeps, atomic_int *begun)
{
	return (struct listener){
		.co = SKUA_CORO_INIT(listener), .begun = begun, .token = token, .sleeps = sleeps};
}

static int run_tokens(struct env *env)
{
	enum { LISTENERS = 4 };
	const struct timespec pause = {0, 50000};
	skua_task *tasks[LISTENERS] = {NULL};
	atomic_int begun = 0;
	int spawned = 0;
	skua_token *parent = NULL, *token = NULL;
	int rc = skua_token_new(NULL, &parent);

	if (rc == 0)
		rc = skua_token_new(parent, &token);
	for (int i = 0; i < LISTENERS && rc == 0; i++) {
		struct listener listener = listener_of(token, i % 2 != 0, &begun);

		rc = skua_spawn(env->rt, &listener.co, &tasks[i]);
		spawned += rc == 0;
	}
	while (atomic_load(&begun) < spawned)
		nanosleep(&pause, NULL);
	if (parent != NULL)
		skua_token_cancel(parent);
	if (token != NULL && !skua_token_is_cancelled(token))
		env_wrong(env, "a token is not cancelled by its parent");
	for (int i = 0; i < LISTENERS; i++) {
		int64_t expected = i % 2 != 0 ? -EINTR : 0;
		int64_t result = tasks[i] != NULL ? env_wait(&tasks[i]) : expected;

		/* Else it is what this one has failed of. */
		if (result >= 0 && result != expected)
			env_wrong(env, "a wait for a token has a result of something else");
		if (result < 0 && result != expected && rc == 0)
			rc = (int)result;
	}
	skua_token_release(token);
	skua_token_release(parent);
	return rc;
}

/* ---- The end with tasks that live ---- */

static int run_live_tasks(struct env *env)
{
	int rc = 0;

	for (int i = 0; i < 12 && rc == 0; i++) {
		struct sleeper sleeper = sleeper_of(60 * SKUA_SEC);
		struct inner yielding = {.co = SKUA_CORO_INIT(inner)};

		rc = skua_spawn(env->rt, i % 3 == 0 ? &yielding.co : &sleeper.co, NULL);
	}
	return rc;
}

const struct scenario scenarios_of_tasks[] = {
	{"first_runtime", SCENARIO_FRESH | SCENARIO_ONE, run_nothing, NULL},
	{"runtime", 0, run_nothing, NULL},
	{"auto_workers", SCENARIO_AUTO, run_nothing, NULL},
	{"pinned_workers", SCENARIO_CPUS, run_block_on, NULL},
	{"two_runtimes", SCENARIO_PEER, run_two_runtimes, NULL},
	{"bad_variable", 0, run_bad_variable, NULL},
	{"spawn", 0, run_spawn, NULL},
	{"spawn_many", 0, run_spawn_many, NULL},
	{"spawn_outside", 0, run_spawn_outside, NULL},
	{"detach", 0, run_detach, finish_detach},
	{"join", 0, run_join, NULL},
	{"cancel", 0, run_cancel, NULL},
	{"block_on", 0, run_block_on, NULL},
	{"sleep", 0, run_sleep, NULL},
	{"sleep_many", 0, run_sleep_many, NULL},
	{"timeout", 0, run_timeout, NULL},
	{"coroutines", 0, run_coroutines, NULL},
	{"foreign_wake", 0, run_foreign_wake, NULL},
	{"foreign_executor", 0, run_foreign_executor, finish_foreign_executor},
	{"blocking", 0, run_blocking, NULL},
	{"blocking_many", 0, run_blocking_many, NULL},
	{"scope", 0, run_scope, NULL},
	{"tokens", 0, run_tokens, NULL},
	{"live_tasks", 0, run_live_tasks, NULL},
};

const int scenarios_of_tasks_count = sizeof scenarios_of_tasks / sizeof *scenarios_of_tasks;
