/*
 * test_clock_jumps.c - the time of day is set, or the process is stopped for a while: no timer comes early,
 * none is lost, and no worker is taken to be stuck.
 *
 * The clock of the system cannot be set here. So the functions that tell the time of day are the program's
 * own, for Skua and libuv alike, and what they tell jumps by a day to and fro. The runtime lives in a
 * process of its own, which shares `seen` with the test.
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "api_support.h"

/* ---- The time of day ---- */

static atomic_int is_jumping, asked; /* asked: how often somebody has, meanwhile */

static time_t jump(time_t seconds)
{
	if (is_jumping == 0)
		return seconds;
	return seconds + (atomic_fetch_add(&asked, 1) % 2 == 0 ? 86400 : -86400);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, now);

	if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec = jump(now->tv_sec);
	return rc;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int rc = (int)syscall(SYS_gettimeofday, now, zone);

	if (rc == 0)
		now->tv_sec = jump(now->tv_sec);
	return rc;
}

/* ---- Sleepers and intervals ---- */

enum { SLEEPERS = 20, STEP_MS = 40, TICKS = 40, PERIOD_MS = 50, KINDS = 3, STOPPED_MS = 1000 };

static struct shared {
	atomic_int begun, go_on;
	uint64_t due[SLEEPERS], woken[SLEEPERS];
	uint64_t begin[KINDS], came[KINDS][TICKS];
	int64_t said[KINDS][TICKS];
	int asked, result, reports;
} * seen;

struct sleeper {
	skua_coro co;
	skua_timer timers[2];
	int number;
	int64_t rc;
};

/* Half of them sleep, and half wait for a deadline. */
static skua_poll sleep_or_wait(skua_cx *cx, struct sleeper *self)
{
	uint64_t ns = (uint64_t)(self->number + 1) * STEP_MS * SKUA_MSEC;

	if (seen->due[self->number] == 0)
		seen->due[self->number] = skua_now() + ns;
	if (self->number % 2 == 0)
		return skua_sleep(cx, &self->timers[0], ns);
	return skua_timeout(cx, &self->timers[0], ns,
			    skua_sleep(cx, &self->timers[1], 3600 * SKUA_SEC));
}

static skua_poll sleeper(skua_cx *cx, struct sleeper *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = sleep_or_wait(cx, self));
	seen->woken[self->number] = skua_now();
	SKUA_END(self->rc == 0 || self->rc == -ETIMEDOUT ? 0 : self->rc);
}
SKUA_CORO(sleeper, struct sleeper);

struct ticker {
	skua_coro co;
	skua_interval interval;
	uint32_t kind;
	int tick;
	int64_t rc;
};

static skua_poll ticker(skua_cx *cx, struct ticker *self)
{
	SKUA_BEGIN(self);
	seen->begin[self->kind] = skua_now();
	T_EQ(skua_interval_init(&self->interval, seen->begin[self->kind], PERIOD_MS * SKUA_MSEC,
				self->kind),
	     0);
	for (; self->tick < TICKS; self->tick++) {
		SKUA_AWAIT(self->rc = skua_tick(cx, &self->interval));
		seen->said[self->kind][self->tick] = self->rc;
		seen->came[self->kind][self->tick] = skua_now();
	}
	SKUA_END(0);
}
SKUA_CORO(ticker, struct ticker);

/* In one poll until the process has been stopped and goes on. */
static skua_poll computes(skua_cx *cx, void *unused)
{
	(void)cx, (void)unused;
	atomic_store(&seen->begun, 1);
	while (seen->go_on == 0)
		;
	return 0;
}

/* Runs all of it; what was written about stuck workers is counted. */
static void run_all(uint32_t stall_ms)
{
	skua_task *tasks[SLEEPERS + KINDS + 1];
	char text[4096];
	skua_config config;
	struct capture capture;
	skua_runtime *rt;
	int count = 0;

	quiet_config(&config, 2, IO_AUTO);
	config.log = SKUA_LOG_WARN;
	config.stall_ms = stall_ms;
	capture_start(&capture);
	rt = runtime_with(&config);
	for (int i = 0; i < SLEEPERS; i++)
		tasks[count++] = start_future(
			rt, &(struct sleeper){.co = SKUA_CORO_INIT(sleeper), .number = i}.co);
	for (uint32_t kind = 0; kind < KINDS; kind++)
		tasks[count++] = start_future(
			rt, &(struct ticker){.co = SKUA_CORO_INIT(ticker), .kind = kind}.co);
	tasks[count++] = start(rt, computes, NULL);
	while (count > 0)
		seen->result |= (int)skua_task_wait(&tasks[--count]);
	seen->result |= skua_runtime_free(rt);
	capture_stop(&capture, text, sizeof text);
	seen->reports = strstr(text, "is stuck") != NULL;
	seen->asked = asked;
}

/* ---- What must be true ---- */

/* When the process was stopped, if it was. */
struct pause {
	uint64_t stopped, continued;
};

/* It was due at `earliest`, or at `latest` if that is not known exactly. What the pause has delayed comes
 * at once after it. */
static void is_in_time(uint64_t came, uint64_t earliest, uint64_t latest, const struct pause *pause)
{
	const uint64_t patience = 400 * PATIENCE * SKUA_MSEC;

	T_ASSERT_MSG(came >= earliest, "%g ms early", (double)(earliest - came) / 1e6);
	if (latest + patience >= pause->stopped && latest < pause->continued)
		latest = pause->continued;
	T_ASSERT_MSG(came <= latest + patience, "%g ms late", (double)(came - latest) / 1e6);
}

static void ticks_are_right(uint32_t kind, const struct pause *pause)
{
	const uint64_t period = PERIOD_MS * SKUA_MSEC;
	uint64_t due = seen->begin[kind], before = due - period;

	for (int i = 0; i < TICKS; i++) {
		uint64_t came = seen->came[kind][i];
		bool delays = kind == SKUA_MISSED_DELAY;

		is_in_time(came, due, delays ? before + period : due, pause);
		due += (uint64_t)(1 + seen->said[kind][i]) * period;
		before = came;
		if (kind != SKUA_MISSED_SKIP)
			T_EQ(seen->said[kind][i], 0);
	}
}

static void all_is_right(const struct pause *pause)
{
	int64_t left_out = 0;

	T_EQ(seen->result, 0);
	for (int i = 0; i < SLEEPERS; i++)
		is_in_time(seen->woken[i], seen->due[i], seen->due[i], pause);
	for (uint32_t kind = 0; kind < KINDS; kind++)
		ticks_are_right(kind, pause);
	for (int i = 0; i < TICKS; i++)
		left_out += seen->said[SKUA_MISSED_SKIP][i];
	if (pause->continued != 0)
		T_GE(left_out,
		     (int64_t)(pause->continued - pause->stopped) / (PERIOD_MS * 1000000) - 2);
}

static void share(void)
{
	seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_ASSERT(seen != MAP_FAILED);
}

T_TEST_T(clock_jumps, of_the_time_of_day, 60)
{
	struct timespec now;

	share();
	seen->go_on = 1;
	is_jumping = 1;
	run_all(0);
	/* The canary. */
	T_EQ(clock_gettime(CLOCK_REALTIME, &now), 0);
	T_EQ(asked, 1);
	is_jumping = 0;
	all_is_right(&(struct pause){UINT64_MAX, 0});
	/* Nobody has even asked. */
	T_EQ(seen->asked, 0);
}

T_TEST_T(clock_jumps, of_a_process_that_is_stopped, 60)
{
	const uint32_t stall_ms = 700;
	struct pause pause;
	int status;
	pid_t child;

	share();
	child = fork();
	T_GE(child, 0);
	if (child == 0) {
		run_all(T_SANITIZED ? 0 : stall_ms);
		_exit(0);
	}
	WAIT_UNTIL(seen->begun == 1);
	sleep_ms(100);
	pause.stopped = skua_now();
	T_EQ(kill(child, SIGSTOP), 0);
	T_EQ(waitpid(child, &status, WUNTRACED), child);
	T_ASSERT(WIFSTOPPED(status));
	sleep_ms(STOPPED_MS);
	pause.continued = skua_now();
	T_EQ(kill(child, SIGCONT), 0);
	sleep_ms(50);
	seen->go_on = 1;
	T_EQ(waitpid(child, &status, 0), child);
	T_ASSERT_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
	all_is_right(&pause);
	/* What was computing had less time than that. */
	T_EQ(seen->reports, 0);
}
