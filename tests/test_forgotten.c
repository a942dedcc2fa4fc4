/*
 * tests/test_forgotten.c - operations that are begun and not awaited to the end: by the task that ends,
 * by a sibling that closes the handle, by a timer that is used for something else; and tasks that are
 * left behind a worker that is stuck.
 */
#include <fcntl.h>
#include <signal.h>

#include "api_support.h"

/* ---- Sources ---- */

struct pipe {
	skua_source *source;
	int writing_end;
};

static struct pipe open_pipe(skua_runtime *rt)
{
	struct pipe pipe = {NULL, -1};
	int ends[2];

	T_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	T_EQ(skua_source_new(rt, ends[0], &pipe.source), 0);
	pipe.writing_end = ends[1];
	return pipe;
}

static void close_pipe(struct pipe *pipe)
{
	skua_source_close(pipe->source);
	close(pipe->writing_end);
}

/* Begins to wait, and ends. */
static skua_poll forget_a_wait(skua_cx *cx, void *source)
{
	T_EQ(skua_source_readable(cx, source), SKUA_PENDING);
	return 7;
}

static skua_poll wait_readable(skua_cx *cx, void *source)
{
	return skua_source_readable(cx, source);
}

T_ON_EACH_IO(forgotten, a_wait_ends_with_its_task)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct pipe pipe = open_pipe(rt);

	T_EQ(run(rt, forget_a_wait, pipe.source), 7);
	/* The direction is free again. */
	T_EQ(write(pipe.writing_end, "x", 1), 1);
	T_EQ(run(rt, wait_readable, pipe.source), 0);
	close_pipe(&pipe);
	T_EQ(skua_runtime_free(rt), 0);
}

/* What a forgotten operation holds is given back: the places in the table are used again. (They go
 * round, so that a handle that was closed is not soon somebody else's.) */
T_TEST(forgotten, waits_do_not_use_up_the_table)
{
	enum { ROUNDS = 1000, PLACES = 256 };
	skua_runtime *rt = runtime_of(1);
	void *places[ROUNDS];
	int used_again = 0;

	for (int i = 0; i < ROUNDS; i++) {
		struct pipe pipe = open_pipe(rt);

		places[i] = pipe.source;
		T_EQ(run(rt, forget_a_wait, pipe.source), 7);
		close_pipe(&pipe);
		used_again += i >= PLACES && places[i] == places[i - PLACES];
	}
	T_EQ(used_again, ROUNDS - PLACES);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Two parts of one task: one waits, the other one closes; then the place is taken by another. */
static skua_poll close_under_a_sibling(skua_cx *cx, void *argument)
{
	skua_runtime *rt = skua_cx_runtime(cx);
	struct pipe first = open_pipe(rt), second;

	(void)argument;
	T_EQ(skua_source_readable(cx, first.source), SKUA_PENDING);
	close_pipe(&first);
	second = open_pipe(rt);
	T_EQ(write(second.writing_end, "x", 1), 1);
	sleep_ms(5);
	T_EQ(skua_source_readable(cx, first.source), -ECANCELED);
	close_pipe(&second);
	return 0;
}

T_ON_EACH_IO(forgotten, a_wait_whose_handle_a_sibling_closed_is_cancelled)
{
	skua_runtime *rt = runtime_on(1, kind);

	T_EQ(run(rt, close_under_a_sibling, NULL), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Timers ---- */

struct reuse {
	skua_coro co;
	skua_timer timer, inner;
	int64_t result;
};

/* Something that is told to stop, and goes on cleaning up. */
static skua_poll never_done(skua_cx *cx)
{
	(void)skua_cx_interrupt(cx);
	return SKUA_PENDING;
}

static skua_poll give_up_and_reuse(skua_cx *cx, struct reuse *self)
{
	SKUA_BEGIN(self);
	T_EQ(skua_timeout(cx, &self->timer, 0, never_done(cx)), SKUA_PENDING);
	SKUA_AWAIT(skua_yield(cx));
	T_EQ(skua_timeout(cx, &self->timer, 0, never_done(cx)), SKUA_PENDING);
	/* Overdue and delivered: now it is given up. */
	skua_timer_cancel(&self->timer);
	SKUA_AWAIT(self->result = skua_timeout(cx, &self->timer, 5 * SKUA_MSEC,
					       skua_sleep(cx, &self->inner, 600 * SKUA_SEC)));
	SKUA_END(self->result);
}
SKUA_CORO(give_up_and_reuse, struct reuse);

T_TEST(forgotten, a_timeout_that_was_given_up_can_be_used_again)
{
	skua_runtime *rt = runtime_of(1);
	struct reuse reuse = {.co = SKUA_CORO_INIT(give_up_and_reuse)};

	T_EQ(skua_block_on(rt, &reuse.co), -ETIMEDOUT);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Behind a stuck worker ---- */

static _Atomic int ran, release;

static skua_poll run_behind(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	ran = 1;
	return 0;
}

/* Spawns a task, which goes to this worker's LIFO slot, and does not end its poll before that one has
 * run elsewhere. */
static void be_stuck(skua_cx *cx)
{
	struct call behind = call_of(run_behind, NULL);

	T_EQ(skua_spawn(skua_cx_runtime(cx), &behind.future, NULL), 0);
	while (!ran)
		sleep_ms(1);
}

static skua_poll stuck_after_io(skua_cx *cx, void *source)
{
	skua_poll result = skua_source_readable(cx, source);

	if (result == 0)
		be_stuck(cx);
	return result;
}

T_ON_EACH_IO(forgotten, what_waits_behind_a_stuck_worker_runs_elsewhere)
{
	skua_runtime *rt = runtime_on(2, kind);

	for (int i = 0; i < 3; i++) {
		struct pipe pipe = open_pipe(rt);
		skua_task *task = start(rt, stuck_after_io, pipe.source);

		ran = 0;
		/* Long enough for the driver to have stopped looking. */
		sleep_ms(60);
		T_EQ(write(pipe.writing_end, "x", 1), 1);
		T_EQ(skua_task_wait(&task), 0);
		close_pipe(&pipe);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll yield_on(skua_cx *cx, void *argument)
{
	(void)argument;
	while (!release) {
		skua_poll result = skua_yield(cx);

		if (result != 0)
			return result;
	}
	return 0;
}

static skua_poll stuck(skua_cx *cx, void *argument)
{
	(void)argument;
	be_stuck(cx);
	return 0;
}

/* The other worker is never idle, so nobody can be woken: it takes over all the same. */
T_TEST(forgotten, what_waits_behind_a_stuck_worker_runs_though_nobody_sleeps)
{
	skua_runtime *rt = runtime_of(2);
	skua_task *busy[2], *task;

	for (int i = 0; i < 2; i++)
		busy[i] = start(rt, yield_on, NULL);
	task = start(rt, stuck, NULL);
	T_EQ(skua_task_wait(&task), 0);
	release = 1;
	for (int i = 0; i < 2; i++)
		T_EQ(skua_task_wait(&busy[i]), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- What a dropped future looks like from outside ---- */

static skua_poll deaf(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return SKUA_PENDING;
}

static void *block_on_deaf(void *argument)
{
	struct call call = call_of(deaf, NULL);

	T_EQ(skua_block_on(argument, &call.future), -ECANCELED);
	return NULL;
}

T_TEST(forgotten, block_on_says_that_its_future_was_dropped)
{
	skua_config config;
	skua_runtime *rt;
	skua_stats stats = {0};
	pthread_t thread;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = 0;
	rt = runtime_with(&config);
	T_EQ(pthread_create(&thread, NULL, block_on_deaf, rt), 0);
	while (stats.polls == 0)
		skua_runtime_stats(rt, &stats);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(pthread_join(thread, NULL), 0);
}

/* ---- Signals ---- */

static int64_t check_mask(void *argument)
{
	sigset_t mask;

	(void)argument;
	T_EQ(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
	/* Faults reach a handler; what is meant for the program does not come here. */
	T_EQ(sigismember(&mask, SIGSEGV), 0);
	T_EQ(sigismember(&mask, SIGFPE), 0);
	T_EQ(sigismember(&mask, SIGPROF), 0);
	T_EQ(sigismember(&mask, SIGINT), 1);
	T_EQ(sigismember(&mask, SIGTERM), 1);
	return 0;
}

static skua_poll check_mask_of_worker(skua_cx *cx, void *argument)
{
	(void)cx;
	return check_mask(argument);
}

T_TEST(forgotten, signals_of_faults_are_not_blocked)
{
	skua_runtime *rt = runtime_of(1);
	skua_task *job;

	T_EQ(run(rt, check_mask_of_worker, NULL), 0);
	T_EQ(skua_spawn_blocking(rt, check_mask, NULL, 0, &job), 0);
	T_EQ(skua_task_wait(&job), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Sizes ---- */

T_TEST(forgotten, a_future_of_an_impossible_size_is_refused)
{
	skua_runtime *rt = runtime_of(1);
	skua_future_ops huge = call_ops;
	struct call call = call_of(run_behind, NULL);
	skua_task *task = NULL;

	huge.size = SIZE_MAX - 64;
	call.future.ops = &huge;
	T_EQ(skua_spawn(rt, &call.future, &task), -ENOMEM);
	T_NULL(task);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Mistakes with timers ---- */

static skua_poll sleep_in_its_own_timeout(skua_cx *cx, void *timer)
{
	return skua_timeout(cx, timer, 5 * SKUA_MSEC, skua_sleep(cx, timer, 10 * SKUA_MSEC));
}

static skua_poll timeout_in_itself(skua_cx *cx, void *timer)
{
	return skua_timeout(cx, timer, SKUA_SEC,
			    skua_timeout(cx, (skua_timer *)timer, 5 * SKUA_MSEC, parked(cx, NULL)));
}

T_TEST(forgotten, one_timer_serves_one_await)
{
	skua_runtime *rt = runtime_of(1);
	skua_timer timer = {{0}};

	T_EQ(run(rt, sleep_in_its_own_timeout, &timer), -EINVAL);
	timer = (skua_timer){{0}};
	T_EQ(run(rt, timeout_in_itself, &timer), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Coroutines that are dropped ---- */

struct holder {
	skua_coro co;
	char *text;
};

static skua_poll holder(skua_cx *cx, struct holder *self)
{
	(void)cx;
	SKUA_BEGIN(self);
	SKUA_AWAIT(SKUA_PENDING);
	SKUA_END(0);
}

static void holder_release(struct holder *self)
{
	T_STR_EQ(self->text, "owned");
	free(self->text);
	release++;
}
SKUA_CORO_WITH_DROP(holder, struct holder, holder_release);

T_TEST(forgotten, a_coroutine_that_is_dropped_releases_what_it_owns)
{
	struct holder owner = {.co = SKUA_CORO_INIT(holder), .text = strdup("owned")};
	skua_stats stats = {0};
	skua_config config;
	skua_runtime *rt;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.shutdown_ms = 0;
	rt = runtime_with(&config);
	T_EQ(skua_spawn(rt, &owner.co, NULL), 0);
	while (stats.polls == 0)
		skua_runtime_stats(rt, &stats);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	T_EQ(release, 1);
}

/* ---- A runtime inside a runtime ---- */

static skua_poll nest(skua_cx *cx, void *argument)
{
	skua_config config;
	skua_runtime *inner = NULL;

	(void)cx, (void)argument;
	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	return skua_runtime_new(&config, &inner);
}

T_TEST(forgotten, a_worker_cannot_start_a_runtime)
{
	skua_runtime *rt = runtime_of(1);

	T_EQ(run(rt, nest, NULL), -EDEADLK);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Tasks that share a connection ---- */

struct shared {
	skua_tcp *near, *far;
	char byte;
};

static skua_poll read_near(skua_cx *cx, void *argument)
{
	struct shared *shared = argument;

	return skua_read(cx, shared->near, &shared->byte, 1);
}

static skua_poll write_near(skua_cx *cx, void *argument)
{
	return skua_write(cx, ((struct shared *)argument)->near, "x", 1);
}

struct dial {
	skua_listener *listener;
	skua_addr addr;
	struct shared *shared;
};

static skua_poll connect_near(skua_cx *cx, void *argument)
{
	struct dial *dial = argument;

	return skua_connect(cx, &dial->addr, &dial->shared->near);
}

static skua_poll accept_far(skua_cx *cx, void *argument)
{
	struct dial *dial = argument;

	return skua_accept(cx, dial->listener, &dial->shared->far);
}

T_ON_EACH_IO(forgotten, hanging_up_ends_the_operations_of_others)
{
	skua_runtime *rt = runtime_on(2, kind);
	struct shared shared = {NULL, NULL, 0};
	struct dial dial = {.shared = &shared};
	skua_task *reader;

	T_EQ(skua_addr_parse(&dial.addr, "127.0.0.1", 0), 0);
	T_EQ(skua_listen(rt, &dial.addr, NULL, &dial.listener), 0);
	T_EQ(skua_listener_addr(dial.listener, &dial.addr), 0);
	T_EQ(run(rt, connect_near, &dial), 0);
	T_EQ(run(rt, accept_far, &dial), 0);
	reader = start(rt, read_near, &shared);
	sleep_ms(10);
	T_EQ(skua_tcp_hang_up(shared.near), 0);
	T_EQ(skua_task_wait(&reader), 0);
	T_EQ(run(rt, write_near, &shared), -EPIPE);
	skua_tcp_close(shared.near);
	skua_tcp_close(shared.far);
	skua_listener_close(dial.listener);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Errors as text ---- */

T_TEST(forgotten, errors_have_texts)
{
	T_STR_EQ(skua_strerror(-ECONNREFUSED), "connection refused");
	T_STR_EQ(skua_strerror(-EDEADLK), "would block a worker thread");
	T_STR_EQ(skua_strerror(0), "no error");
	T_ASSERT(strcmp(skua_strerror(-EINPROGRESS), "unknown error") != 0);
	T_STR_EQ(skua_strerror(17), "unknown error");
	T_STR_EQ(skua_strerror(SKUA_PENDING), "unknown error");
	T_EQ(skua_version(), SKUA_VERSION_NUMBER);
	T_STR_EQ(skua_version_string(), "0.1.0");
}
