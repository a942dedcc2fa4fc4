/*
 * test_clock.c - a clock that is paused: what sleeps for hours is woken in no time and in order, and
 * nothing is woken before its time; advancing by hand; what keeps the clock from jumping; going on.
 */
#include "api_support.h"

#define HOUR (3600 * SKUA_SEC)

static skua_runtime *paused_runtime(uint32_t workers)
{
	skua_runtime *rt = runtime_of(workers);

	T_EQ(skua_clock_pause(rt), 0);
	return rt;
}

/* Sleeps, and writes down what the clock says then. */
struct sleeper {
	skua_coro co;
	skua_timer timer;
	uint64_t length;
	uint64_t *woken_at;
	int64_t rc;
};

static atomic_int asleep;

static skua_poll sleep_and_tell(skua_cx *cx, struct sleeper *self)
{
	skua_poll rc = skua_sleep(cx, &self->timer, self->length);

	if (rc == SKUA_PENDING)
		atomic_fetch_add(&asleep, 1);
	return rc;
}

static skua_poll sleeper(skua_cx *cx, struct sleeper *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = sleep_and_tell(cx, self));
	*self->woken_at = skua_now();
	SKUA_END(self->rc);
}
SKUA_CORO(sleeper, struct sleeper);

static skua_task *spawn_sleeper(skua_runtime *rt, uint64_t length, uint64_t *woken_at)
{
	struct sleeper task = {
		.co = SKUA_CORO_INIT(sleeper), .length = length, .woken_at = woken_at};
	skua_task *handle;

	*woken_at = 0;
	T_EQ(skua_spawn(rt, &task.co, &handle), 0);
	return handle;
}

/* ---- Jumping ---- */

static void sleeps_exactly(uint32_t workers)
{
	static const uint64_t lengths[] = {1,        999,  70000,      30 * SKUA_MSEC,
					   SKUA_SEC, HOUR, 1000 * HOUR};
	skua_runtime *rt = paused_runtime(workers);
	uint64_t real = skua_now();

	for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		uint64_t before = skua_clock_now(rt), woken_at = 0;
		struct sleeper task = {
			.co = SKUA_CORO_INIT(sleeper), .length = lengths[i], .woken_at = &woken_at};

		T_EQ(skua_block_on(rt, &task.co), 0);
		T_ASSERT(woken_at == before + lengths[i]);
		T_ASSERT(skua_clock_now(rt) == before + lengths[i]);
	}
	T_ASSERT(skua_now() - real < 60 * SKUA_SEC);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, hours_pass_in_no_time_on_one_worker)
{
	sleeps_exactly(1);
}

T_TEST(clock, hours_pass_in_no_time_on_three_workers)
{
	sleeps_exactly(3);
}

T_TEST(clock, the_order_is_that_of_the_moments)
{
	enum { N = 50 };
	skua_runtime *rt = paused_runtime(2);
	uint64_t begin = skua_clock_now(rt), woken_at[N];
	skua_task *tasks[N];

	/* The waits of this thread let time pass, so they come after all spawns. */
	for (unsigned i = 0; i < N; i++)
		tasks[i] = spawn_sleeper(rt, (N - i) * HOUR, &woken_at[i]);
	for (unsigned i = 0; i < N; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	for (unsigned i = 0; i < N; i++)
		T_ASSERT(woken_at[i] == begin + (N - i) * HOUR);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll slow_operation(skua_cx *cx, void *timers)
{
	skua_timer *timer = timers;

	return skua_timeout(cx, &timer[0], HOUR, skua_sleep(cx, &timer[1], 2 * HOUR));
}

T_TEST(clock, a_timeout_of_an_hour)
{
	skua_runtime *rt = paused_runtime(2);
	uint64_t begin = skua_clock_now(rt);
	skua_timer timers[2] = {{{0}}};

	T_EQ(run(rt, slow_operation, timers), -ETIMEDOUT);
	T_ASSERT(skua_clock_now(rt) == begin + HOUR);
	T_EQ(skua_runtime_free(rt), 0);
}

/* Whoever has waited goes on at the moment that was waited for, whatever sleeps for longer. */
static void goes_no_further(uint32_t workers)
{
	skua_runtime *rt = paused_runtime(workers);

	for (int i = 0; i < 300; i++) {
		uint64_t begin = skua_clock_now(rt), woken_at[3];
		struct sleeper shortest = {.co = SKUA_CORO_INIT(sleeper),
					   .length = HOUR - 1,
					   .woken_at = &woken_at[0]};
		skua_task *middle = spawn_sleeper(rt, HOUR, &woken_at[1]);
		skua_task *longest = spawn_sleeper(rt, HOUR + 1, &woken_at[2]);

		T_EQ(skua_block_on(rt, &shortest.co), 0);
		T_ASSERT(skua_clock_now(rt) == begin + HOUR - 1);
		T_EQ(skua_task_finished(middle), 0);
		T_EQ(skua_task_wait(&middle), 0);
		T_ASSERT(skua_clock_now(rt) == begin + HOUR);
		T_EQ(skua_task_finished(longest), 0);
		T_EQ(skua_task_wait(&longest), 0);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, it_goes_no_further_than_is_waited_for_on_one_worker)
{
	goes_no_further(1);
}

T_TEST(clock, it_goes_no_further_than_is_waited_for_on_three_workers)
{
	goes_no_further(3);
}

/* ---- What keeps it from jumping ---- */

T_TEST(clock, it_stands_while_nobody_waits)
{
	skua_runtime *rt = paused_runtime(2);
	uint64_t begin = skua_clock_now(rt), woken_at;
	skua_task *task = spawn_sleeper(rt, 1, &woken_at);

	sleep_ms(50);
	T_ASSERT(skua_clock_now(rt) == begin);
	T_EQ(skua_task_finished(task), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_ASSERT(woken_at == begin + 1);
	T_EQ(skua_runtime_free(rt), 0);
}

static int64_t slow_job(void *argument)
{
	(void)argument;
	sleep_ms(50);
	return 0;
}

static skua_poll job_or_timeout(skua_cx *cx, void *argument)
{
	struct {
		skua_timer timer;
		skua_task *job;
	} *state = argument;

	return skua_timeout(cx, &state->timer, SKUA_MSEC, skua_join(cx, &state->job));
}

T_TEST(clock, it_stands_while_a_blocking_job_runs)
{
	skua_runtime *rt = paused_runtime(2);
	struct {
		skua_timer timer;
		skua_task *job;
	} state = {{{0}}, NULL};

	T_EQ(skua_spawn_blocking(rt, slow_job, NULL, 0, &state.job), 0);
	T_EQ(run(rt, job_or_timeout, &state), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, it_jumps_when_a_job_that_nobody_joins_has_ended)
{
	skua_runtime *rt = paused_runtime(2);
	uint64_t woken_at;
	skua_task *task = spawn_sleeper(rt, HOUR, &woken_at);

	T_EQ(skua_spawn_blocking(rt, slow_job, NULL, 0, NULL), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A timer that was disarmed does not count. */
static skua_poll give_up_and_wait(skua_cx *cx, void *argument)
{
	struct {
		skua_timer timer;
		struct cell *cell;
		int begun;
	} *state = argument;

	if (!state->begun) {
		state->begun = 1;
		T_EQ(skua_sleep(cx, &state->timer, HOUR), SKUA_PENDING);
		skua_timer_cancel(&state->timer);
	}
	return cell_take(cx, state->cell);
}

static void *fill_later(void *cell)
{
	sleep_ms(50);
	cell_fill(cell);
	return NULL;
}

T_TEST(clock, a_timer_that_was_disarmed_is_no_reason)
{
	skua_runtime *rt = paused_runtime(1);
	uint64_t begin = skua_clock_now(rt);
	struct cell cell = CELL_INIT;
	struct {
		skua_timer timer;
		struct cell *cell;
		int begun;
	} state = {{{0}}, &cell, 0};
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, fill_later, &cell), 0);
	T_EQ(run(rt, give_up_and_wait, &state), 0);
	T_ASSERT(skua_clock_now(rt) == begin);
	pthread_join(thread, NULL);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- A timer that is disarmed on another worker than it was armed on ---- */

static struct {
	skua_timer timer;
	struct cell woken, end;
	void *_Atomic armed_on;
	atomic_int holds, release, elsewhere;
} moved = {.woken = CELL_INIT, .end = CELL_INIT};

/* Arms a timer; on another worker it sleeps for a while, and gives the first timer up when the worker of
 * that sleeps; then it waits for something else. */
struct mover {
	skua_coro co;
	skua_timer timer;
	int64_t rc;
};

static skua_poll arm_and_wait(skua_cx *cx)
{
	if (atomic_load(&moved.armed_on) == NULL) {
		T_EQ(skua_sleep(cx, &moved.timer, HOUR), SKUA_PENDING);
		atomic_store(&moved.armed_on, cx->worker);
	}
	return cell_take(cx, &moved.woken);
}

static skua_poll mover(skua_cx *cx, struct mover *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = arm_and_wait(cx));
	atomic_store(&moved.release, 1);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, SKUA_SEC));
	atomic_store(&moved.elsewhere, cx->worker != atomic_load(&moved.armed_on));
	skua_timer_cancel(&moved.timer);
	SKUA_AWAIT(self->rc = cell_take(cx, &moved.end));
	SKUA_END(self->rc);
}
SKUA_CORO(mover, struct mover);

/* Keeps the worker on which the timer was armed busy; another one is left alone. */
static skua_poll hold_that_worker(skua_cx *cx, void *argument)
{
	(void)argument;
	if (cx->worker != atomic_load(&moved.armed_on))
		return 0;
	atomic_store(&moved.holds, 1);
	WAIT_UNTIL(atomic_load(&moved.release));
	return 1;
}

static void disarm_elsewhere(void)
{
	skua_runtime *rt = paused_runtime(2);
	uint64_t begin = skua_clock_now(rt);
	struct mover mover = {.co = SKUA_CORO_INIT(mover)};
	skua_task *task = start_future(rt, &mover.co), *holder = NULL;
	pthread_t thread;

	WAIT_UNTIL(atomic_load(&moved.armed_on) != NULL);
	while (!atomic_load(&moved.holds)) {
		if (holder != NULL && skua_task_finished(holder))
			T_EQ(skua_task_wait(&holder), 0);
		if (holder == NULL)
			holder = start(rt, hold_that_worker, NULL);
	}
	cell_fill(&moved.woken);
	T_EQ(pthread_create(&thread, NULL, fill_later, &moved.end), 0);
	T_EQ(skua_task_wait(&holder), 1);
	T_EQ(skua_task_wait(&task), 0);
	T_ASSERT(skua_clock_now(rt) == begin + SKUA_SEC);
	pthread_join(thread, NULL);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, a_timer_that_was_disarmed_elsewhere_is_no_reason)
{
	/* The task can be back on the first worker before it disarms the timer. */
	for (int tries = 0; tries < 50 && !atomic_load(&moved.elsewhere); tries++) {
		atomic_store(&moved.armed_on, NULL);
		atomic_store(&moved.holds, 0);
		atomic_store(&moved.release, 0);
		disarm_elsewhere();
	}
	T_ASSERT(atomic_load(&moved.elsewhere));
}

/* ---- By hand ---- */

T_TEST(clock, advancing_wakes_what_is_due_and_nothing_else)
{
	skua_runtime *rt = paused_runtime(2);
	uint64_t begin = skua_clock_now(rt), woken_at[3];
	skua_task *tasks[3];

	for (unsigned i = 0; i < 3; i++)
		tasks[i] = spawn_sleeper(rt, (i + 1) * SKUA_SEC, &woken_at[i]);
	WAIT_UNTIL(atomic_load(&asleep) == 3);
	T_EQ(skua_clock_advance(rt, 2 * SKUA_SEC), 0);
	WAIT_UNTIL(skua_task_finished(tasks[0]) && skua_task_finished(tasks[1]));
	T_EQ(skua_task_finished(tasks[2]), 0);
	T_ASSERT(woken_at[0] == begin + 2 * SKUA_SEC);
	T_ASSERT(woken_at[1] == begin + 2 * SKUA_SEC);
	T_EQ(skua_clock_advance(rt, SKUA_SEC - 1), 0);
	sleep_ms(20);
	T_EQ(skua_task_finished(tasks[2]), 0);
	T_EQ(skua_clock_advance(rt, 1), 0);
	WAIT_UNTIL(skua_task_finished(tasks[2]));
	T_ASSERT(woken_at[2] == begin + 3 * SKUA_SEC);
	for (unsigned i = 0; i < 3; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, the_end_of_time)
{
	skua_runtime *rt = paused_runtime(1);
	uint64_t woken_at;
	skua_task *task = spawn_sleeper(rt, 1000000 * HOUR, &woken_at);

	WAIT_UNTIL(atomic_load(&asleep) == 1);
	T_EQ(skua_clock_advance(rt, UINT64_MAX), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_ASSERT(skua_clock_now(rt) == UINT64_MAX - 1);
	T_EQ(skua_clock_advance(rt, UINT64_MAX), 0);
	T_ASSERT(skua_clock_now(rt) == UINT64_MAX - 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Pausing and going on ---- */

T_TEST(clock, mistakes_are_told)
{
	skua_runtime *rt = runtime_of(1);

	T_EQ(skua_clock_resume(rt), -EALREADY);
	T_EQ(skua_clock_advance(rt, 1), -EINVAL);
	T_EQ(skua_clock_pause(rt), 0);
	T_EQ(skua_clock_pause(rt), -EALREADY);
	T_EQ(skua_clock_resume(rt), 0);
	T_EQ(skua_clock_resume(rt), -EALREADY);
	T_EQ(skua_clock_advance(rt, 1), -EINVAL);
	T_EQ(skua_clock_pause(NULL), -EINVAL);
	T_EQ(skua_clock_resume(NULL), -EINVAL);
	T_EQ(skua_clock_advance(NULL, 1), -EINVAL);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, it_never_goes_back)
{
	skua_runtime *rt = runtime_of(1);
	uint64_t last = skua_clock_now(rt);

	for (int i = 0; i < 200; i++) {
		uint64_t now;

		if (i % 4 == 0)
			T_EQ(skua_clock_pause(rt), 0);
		if (i % 8 == 1)
			T_EQ(skua_clock_advance(rt, (uint64_t)i * SKUA_SEC), 0);
		if (i % 4 == 3)
			T_EQ(skua_clock_resume(rt), 0);
		now = skua_clock_now(rt);
		T_ASSERT(now >= last);
		last = now;
	}
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, what_sleeps_goes_on_when_it_goes_on)
{
	skua_runtime *rt = paused_runtime(1);
	uint64_t begin = skua_clock_now(rt), real, woken_at;
	skua_task *task = spawn_sleeper(rt, HOUR + 20 * SKUA_MSEC, &woken_at);

	WAIT_UNTIL(atomic_load(&asleep) == 1);
	T_EQ(skua_clock_advance(rt, HOUR), 0);
	real = skua_now();
	T_EQ(skua_clock_resume(rt), 0);
	WAIT_UNTIL(skua_task_finished(task));
	T_ASSERT(skua_now() - real >= 20 * SKUA_MSEC);
	T_ASSERT(woken_at >= begin + HOUR + 20 * SKUA_MSEC);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(clock, what_sleeps_already_stays_asleep_when_it_is_paused)
{
	skua_runtime *rt = runtime_of(1);
	uint64_t woken_at, begin;
	skua_task *task = spawn_sleeper(rt, 200 * SKUA_MSEC, &woken_at);

	WAIT_UNTIL(atomic_load(&asleep) == 1);
	T_EQ(skua_clock_pause(rt), 0);
	begin = skua_clock_now(rt);
	sleep_ms(250);
	/* On a machine that is very busy it was paused too late. */
	T_ASSERT(skua_task_finished(task) == (woken_at != 0 && woken_at <= begin));
	T_EQ(skua_clock_advance(rt, SKUA_SEC), 0);
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Never, now, and at once ---- */

static skua_poll sleep_for_ever_or(skua_cx *cx, void *argument)
{
	struct {
		skua_timer timer;
		struct cell *cell;
	} *state = argument;

	return skua_timeout(cx, &state->timer, SKUA_NEVER, cell_take(cx, state->cell));
}

T_TEST(clock, the_clock_does_not_jump_to_never)
{
	skua_runtime *rt = paused_runtime(2);
	uint64_t begin = skua_clock_now(rt);
	struct cell cell = CELL_INIT;
	struct {
		skua_timer timer;
		struct cell *cell;
	} state = {{{0}}, &cell};
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, fill_later, &cell), 0);
	T_EQ(run(rt, sleep_for_ever_or, &state), 0);
	T_LOG("clock: %lu s later\n", (unsigned long)((skua_clock_now(rt) - begin) / SKUA_SEC));
	T_ASSERT(skua_clock_now(rt) == begin);
	pthread_join(thread, NULL);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll reset_to_now(skua_cx *cx, void *argument)
{
	struct {
		skua_timer timer;
		int state;
		uint64_t at;
	} *self = argument;
	skua_poll rc = skua_sleep(cx, &self->timer, SKUA_SEC);

	if (rc == SKUA_PENDING && self->state++ == 0) {
		self->at = skua_now();
		T_EQ(skua_timer_reset(cx, &self->timer, self->at), 0);
	}
	return rc;
}

T_TEST(clock, a_reset_to_now_is_at_once)
{
	skua_runtime *rt = runtime_of(1);
	uint64_t least = UINT64_MAX, sum = 0;

	for (int i = 0; i < 50; i++) {
		struct {
			skua_timer timer;
			int state;
			uint64_t at;
		} self = {{{0}}, 0, 0};
		uint64_t late;

		T_EQ(run(rt, reset_to_now, &self), 0);
		late = skua_now() - self.at;
		sum += late;
		least = late < least ? late : least;
	}
	T_LOG("late: least %lu ns, mean %lu ns\n", (unsigned long)least, (unsigned long)sum / 50);
	T_ASSERT(sum / 50 < 300000);
	T_EQ(skua_runtime_free(rt), 0);
}

static skua_poll first_tick(skua_cx *cx, void *interval)
{
	return skua_tick(cx, interval);
}

T_TEST(clock, the_first_tick_is_at_once)
{
	skua_runtime *rt = paused_runtime(1);
	uint64_t begin = skua_clock_now(rt);
	skua_interval interval;

	sleep_ms(5);
	T_EQ(skua_interval_init(&interval, 0, SKUA_SEC, SKUA_MISSED_BURST), 0);
	T_EQ(run(rt, first_tick, &interval), 0);
	T_LOG("first tick after %lu us\n", (unsigned long)(skua_clock_now(rt) - begin) / 1000);
	T_ASSERT(skua_clock_now(rt) == begin);
	T_EQ(skua_runtime_free(rt), 0);
}

/* The deadline is put off at the moment at which it is due: by who has not been told yet. */
struct idle {
	skua_timer deadline, sleep;
	uint64_t later, ends;
	int polls;
	int reset_rc;
};

static skua_poll busy_session(skua_cx *cx, struct idle *self)
{
	/* Something has come in: the connection is not idle. */
	if (self->polls++ == 1)
		self->reset_rc = skua_timer_reset(
			cx, &self->deadline, skua_clock_now(skua_cx_runtime(cx)) + self->later);
	return skua_sleep(cx, &self->sleep, self->ends);
}

static skua_poll session_with_deadline(skua_cx *cx, void *argument)
{
	struct idle *self = argument;

	return skua_timeout(cx, &self->deadline, SKUA_SEC, busy_session(cx, self));
}

T_TEST(clock, a_deadline_that_was_put_off_in_time_is_not_told)
{
	skua_runtime *rt = paused_runtime(1);
	struct idle idle = {.later = HOUR, .ends = 2 * SKUA_SEC};

	T_EQ(run(rt, session_with_deadline, &idle), 0);
	T_EQ(idle.reset_rc, 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* It comes all the same, though it has fired once. */
T_TEST(clock, a_deadline_that_was_put_off_when_it_was_due_comes_later)
{
	skua_runtime *rt = paused_runtime(1);
	struct idle idle = {.later = 3 * SKUA_SEC, .ends = HOUR};
	uint64_t begin = skua_clock_now(rt);

	T_EQ(run(rt, session_with_deadline, &idle), -ETIMEDOUT);
	T_EQ(idle.reset_rc, 0);
	T_EQ(skua_clock_now(rt) - begin, 4 * SKUA_SEC);
	T_EQ(skua_runtime_free(rt), 0);
}
