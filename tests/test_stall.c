/*
 * test_stall.c - the report about a worker that is stuck: that it comes, once and in time, what is in it,
 * and that the process's signals are as they were.
 *
 * How soon it comes is measured, on a machine that may be busy with others: the best of several.
 */
#include <dlfcn.h>
#include <signal.h>

#include "api_support.h"
#include "sched/backtrace.h"
#include "sched/stall.h"

enum { STALL_MS = 50, TRIES = 20 };

static skua_runtime *reporting_runtime(uint32_t workers, uint32_t stall_ms, uint32_t log)
{
	skua_config config;

	quiet_config(&config, workers, SKUA_IO_BACKEND_AUTO);
	config.stall_ms = stall_ms;
	config.log = log;
	return runtime_with(&config);
}

static uint64_t stalls_of(const skua_runtime *rt)
{
	skua_stats stats;

	skua_runtime_stats(rt, &stats);
	return stats.stalls;
}

/* ---- What has been written ---- */

struct report {
	struct capture capture;
	char text[16384];
};

static void report_begin(struct report *report)
{
	report->text[0] = '\0';
	capture_start(&report->capture);
}

/* What there is so far. */
static const char *peek(struct report *report)
{
	ssize_t length =
		pread(fileno(report->capture.file), report->text, sizeof report->text - 1, 0);

	report->text[length > 0 ? length : 0] = '\0';
	return report->text;
}

static const char *report_end(struct report *report)
{
	capture_stop(&report->capture, report->text, sizeof report->text);
	T_LOG("%s", report->text);
	return report->text;
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* ---- Tasks that are stuck ---- */

/* Until there is a report, or for ever if there is none: then the test's timeout says so. */
struct stuck {
	skua_coro co;
	struct report *report;
	const char *awaits; /* what has to be written before it goes on */
	skua_timer timer;
	int64_t rc;
	uint64_t begin, reported;
};

enum { STAY_SIZE = 2048 }; /* bytes of code, roughly */

static __attribute__((noinline)) void stay(struct stuck *self)
{
	self->begin = skua_now();
	while (strstr(peek(self->report), "is stuck") == NULL)
		;
	self->reported = skua_now();
	WAIT_UNTIL(strstr(peek(self->report), self->awaits) != NULL);
}

enum { AWAIT_LINE = __LINE__ + 5 };

static skua_poll stuck(skua_cx *cx, struct stuck *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, SKUA_MSEC));
	stay(self);
	SKUA_END(0);
}
SKUA_CORO(stuck, struct stuck);

static struct stuck stuck_in(struct report *report)
{
	return (struct stuck){.co = SKUA_CORO_INIT(stuck), .report = report, .awaits = " #"};
}

/* Whether a line of the backtrace names a place in `stay`: the test's functions are not exported, so it is
 * the file that is named, and an offset in it. */
static int names_stay(const char *text)
{
	const char *module;
	Dl_info info;

	T_NE(dladdr((void *)(uintptr_t)stay, &info), 0);
	module = strrchr(info.dli_fname, '/');
	module = module != NULL ? module + 1 : info.dli_fname;
	while ((text = strstr(text, module)) != NULL) {
		unsigned long offset;

		text += strlen(module);
		if (sscanf(text, "+%lx", &offset) == 1 &&
		    offset + (uintptr_t)info.dli_fbase - (uintptr_t)stay < STAY_SIZE)
			return 1;
	}
	return 0;
}

/* For how many hundredths of its time the first one that is reported was on a CPU. */
static int share_on_cpu(const char *text)
{
	int ms, share;

	text = strstr(text, "has been running for ");
	T_ASSERT(text != NULL);
	T_EQ(sscanf(text, "has been running for %d ms, %d %% of that on a CPU;", &ms, &share), 2);
	return share;
}

T_TEST(stall, is_reported_once_with_all_there_is_to_know)
{
	skua_runtime *rt = reporting_runtime(1, STALL_MS, SKUA_LOG_WARN);
	struct report report;
	struct stuck state = stuck_in(&report);
	char expected[512];
	const char *text;

	report_begin(&report);
	state.awaits = T_TSAN ? "is stuck" : "  #";
	T_EQ(skua_block_on(rt, &state.co), 0);
	T_EQ(stalls_of(rt), 1);
	T_EQ(skua_runtime_free(rt), 0);
	text = report_end(&report);
	T_EQ(count(text, "is stuck"), 1);
	T_ASSERT(
		strstr(text, "skua: warning: worker 0 is stuck: task stuck has been running for "));
	snprintf(expected, sizeof expected, " on a CPU; its last await was %s:%d\n", __FILE__,
		 AWAIT_LINE);
	T_ASSERT(strstr(text, expected) != NULL);
	/* It computes; but others do so, too. */
	T_GE(share_on_cpu(text), 5);
	T_LE(share_on_cpu(text), 100);
	/* A thread that ThreadSanitizer looks after takes a signal when it likes. */
	T_ASSERT(T_TSAN || names_stay(text));
}

T_TEST_T(stall, is_reported_in_time, 60)
{
	uint64_t least = UINT64_MAX, bound = 2 * STALL_MS * SKUA_MSEC * PATIENCE;

	for (int i = 0; i < TRIES && least > bound; i++) {
		skua_runtime *rt = reporting_runtime(1, STALL_MS, SKUA_LOG_WARN);
		struct report report;
		struct stuck state = stuck_in(&report);

		report_begin(&report);
		state.awaits = "is stuck";
		T_EQ(skua_block_on(rt, &state.co), 0);
		T_EQ(skua_runtime_free(rt), 0);
		report_end(&report);
		T_GE(state.reported - state.begin, STALL_MS * SKUA_MSEC);
		if (state.reported - state.begin < least)
			least = state.reported - state.begin;
	}
	T_LE(least, bound);
}

/* Nothing but a function, which sleeps for so many milliseconds. */
static skua_poll sleeps(skua_cx *cx, void *argument)
{
	(void)cx;
	sleep_ms(*(long *)argument);
	return 0;
}

T_TEST(stall, of_a_task_that_has_not_awaited)
{
	skua_runtime *rt = reporting_runtime(1, 10, SKUA_LOG_INFO);
	struct report report;
	long ms = 300;
	const char *text;

	report_begin(&report);
	T_EQ(run(rt, sleeps, &ms), 0);
	WAIT_UNTIL(strstr(peek(&report), "goes on") != NULL);
	T_EQ(skua_runtime_free(rt), 0);
	text = report_end(&report);
	T_EQ(count(text, "is stuck"), 1);
	T_ASSERT(strstr(text, "task call has been running for ") != NULL);
	T_ASSERT(strstr(text, " on a CPU; it has not awaited yet\n") != NULL);
	T_EQ(count(text, "skua: info: worker 0 goes on: what it was stuck in took "), 1);
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec time;

	T_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time), 0);
	return (uint64_t)time.tv_sec * SKUA_SEC + (uint64_t)time.tv_nsec;
}

/* Computes for so many milliseconds of CPU time. */
static skua_poll computes(skua_cx *cx, void *argument)
{
	uint64_t end = thread_cpu_ns() + *(uint64_t *)argument * SKUA_MSEC;

	(void)cx;
	while (thread_cpu_ns() < end)
		;
	return 0;
}

/* What its thread has computed before does not count. */
T_TEST(stall, of_a_task_that_waits_in_a_system_call)
{
	enum { LIMIT_MS = 50, POLLS = 10 };
	skua_runtime *rt = reporting_runtime(1, LIMIT_MS, SKUA_LOG_WARN);
	struct report report;
	uint64_t some_ms = 20;
	long ms = 300;
	const char *text, *next;

	report_begin(&report);
	for (int i = 0; i < POLLS; i++)
		T_EQ(run(rt, computes, &some_ms), 0);
	T_EQ(run(rt, sleeps, &ms), 0);
	T_EQ(skua_runtime_free(rt), 0);
	text = report_end(&report);
	/* On a busy machine one of the others may have taken long, too. */
	while ((next = strstr(text + 1, "has been running")) != NULL)
		text = next;
	T_LE(share_on_cpu(text), 20);
}

/* A worker that looks for work for longer than is reported is in no poll. */
T_TEST(stall, no_report_between_two_polls)
{
	skua_config config;
	skua_runtime *rt;
	struct report report;
	long ms = 0;

	quiet_config(&config, 1, SKUA_IO_BACKEND_AUTO);
	config.stall_ms = 4;
	config.log = SKUA_LOG_WARN;
	config.spin_us = 10000;
	config.pinned |= SKUA_KNOB_SPIN_US;
	rt = runtime_with(&config);
	report_begin(&report);
	for (int i = 0; i < 20; i++) {
		T_EQ(run(rt, sleeps, &ms), 0);
		sleep_ms(15);
	}
	/* Not at each turn; on a busy machine one of them may take long. */
	T_LE(stalls_of(rt), 3);
	T_EQ(skua_runtime_free(rt), 0);
	T_LE(count(report_end(&report), "is stuck"), 3);
}

/* What has been written while a task sleeps for long, and what has been counted. */
static void of_a_sleep(uint32_t workers, uint32_t stall_ms, uint32_t log, operation *how,
		       int reports, uint64_t stalls)
{
	skua_runtime *rt = reporting_runtime(workers, stall_ms, log);
	struct report report;
	long ms = 200;

	report_begin(&report);
	T_EQ(run(rt, how, &ms), 0);
	T_EQ(stalls_of(rt), stalls);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(count(report_end(&report), "is stuck"), reports);
}

T_TEST(stall, no_report_if_none_is_wanted)
{
	of_a_sleep(1, 0, SKUA_LOG_INFO, sleeps, 0, 0);
	of_a_sleep(1, 10, SKUA_LOG_ERROR, sleeps, 0, 1);
	of_a_sleep(1, 100000, SKUA_LOG_INFO, sleeps, 0, 0);
	of_a_sleep(1, 10, SKUA_LOG_WARN, sleeps, 1, 1);
}

static int64_t sleeps_in_place(void *argument)
{
	sleep_ms(*(long *)argument);
	return 0;
}

static skua_poll says_so(skua_cx *cx, void *argument)
{
	return skua_block_in_place(cx, sleeps_in_place, argument);
}

T_TEST(stall, no_report_of_one_that_blocks_in_place)
{
	of_a_sleep(1, 50, SKUA_LOG_INFO, says_so, 0, 0);
}

/* A worker that is idle for long is not stuck, nor is it when it gets something to do. */
T_TEST(stall, no_report_of_one_that_sleeps)
{
	skua_runtime *rt = reporting_runtime(2, 100, SKUA_LOG_INFO);
	struct report report;
	long ms = 1;

	report_begin(&report);
	for (int i = 0; i < 5; i++) {
		sleep_ms(150);
		T_EQ(run(rt, sleeps, &ms), 0);
	}
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(count(report_end(&report), "is stuck"), 0);
}

T_TEST(stall, of_all_workers)
{
	enum { WORKERS = 3 };
	skua_runtime *rt = reporting_runtime(WORKERS, 50, SKUA_LOG_WARN);
	skua_task *tasks[WORKERS];
	struct report report;
	const char *text;
	long ms = 1000;

	report_begin(&report);
	for (int i = 0; i < WORKERS; i++)
		tasks[i] = start(rt, sleeps, &ms);
	for (int i = 0; i < WORKERS; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(stalls_of(rt), WORKERS);
	T_EQ(skua_runtime_free(rt), 0);
	text = report_end(&report);
	T_EQ(count(text, "is stuck"), WORKERS);
	for (int i = 0; i < WORKERS; i++) {
		char expected[64];

		snprintf(expected, sizeof expected, "worker %d is stuck", i);
		T_EQ(count(text, expected), 1);
	}
}

T_TEST(stall, of_one_that_is_stuck_all_the_time)
{
	skua_runtime *rt = reporting_runtime(1, 20, SKUA_LOG_WARN);
	struct report report;
	const char *text;
	long ms = 200;

	report_begin(&report);
	for (int i = 0; i < SK_STALL_BURST + 3; i++)
		T_EQ(run(rt, sleeps, &ms), 0);
	/* Those that are not told, too; but a driver that comes late may miss one. */
	T_GE(stalls_of(rt), SK_STALL_BURST + 1);
	T_LE(stalls_of(rt), SK_STALL_BURST + 3);
	T_EQ(skua_runtime_free(rt), 0);
	text = report_end(&report);
	T_EQ(count(text, "is stuck"), SK_STALL_BURST);
	T_EQ(count(text, "no more such reports for 10 s"), 1);
}

/* ---- The end ---- */

/* It ends at about the time at which it would be reported, and so does its runtime. */
T_TEST_T(stall, against_the_end_of_the_task_and_the_runtime, 60)
{
	struct report report;

	report_begin(&report);
	for (int i = 0; i < rounds(100); i++) {
		skua_runtime *rt = reporting_runtime(1, 5, SKUA_LOG_WARN);
		long ms = 3 + i % 7;

		T_EQ(run(rt, sleeps, &ms), 0);
		T_EQ(skua_runtime_free(rt), 0);
	}
	T_LE(count(report_end(&report), "is stuck"), 100);
}

/* Backtraces are taken one after the other in the whole process. */
T_TEST(stall, in_two_runtimes_at_once)
{
	skua_runtime *a = reporting_runtime(1, 50, SKUA_LOG_WARN);
	skua_runtime *b = reporting_runtime(1, 50, SKUA_LOG_WARN);
	struct report report;
	long ms = 1000;
	skua_task *tasks[2];

	report_begin(&report);
	tasks[0] = start(a, sleeps, &ms);
	tasks[1] = start(b, sleeps, &ms);
	T_EQ(skua_task_wait(&tasks[0]), 0);
	T_EQ(skua_task_wait(&tasks[1]), 0);
	T_EQ(skua_runtime_free(a), 0);
	T_EQ(skua_runtime_free(b), 0);
	T_EQ(count(report_end(&report), "worker 0 is stuck"), 2);
}

/* ---- The signal ---- */

static atomic_int signals;

static void on_urgent(int signal)
{
	(void)signal;
	signals++;
}

static void handle(void (*handler)(int signal))
{
	struct sigaction action = {.sa_flags = SA_RESTART};

	action.sa_handler = handler;
	T_EQ(sigaction(SK_BACKTRACE_SIGNAL, &action, NULL), 0);
}

static void is_handled_by(void (*handler)(int signal))
{
	struct sigaction action;

	T_EQ(sigaction(SK_BACKTRACE_SIGNAL, NULL, &action), 0);
	T_ASSERT(action.sa_handler == handler);
}

/* With the program's handler, of before the runtime or later, there is no backtrace, and no signal. */
static void with_a_handler(int later)
{
	skua_runtime *rt;
	struct report report;
	const char *text;
	long ms = 300;

	handle(later ? SIG_DFL : on_urgent);
	rt = reporting_runtime(1, 50, SKUA_LOG_WARN);
	/* The worker has begun. */
	T_EQ(run(rt, sleeps, &(long){0}), 0);
	handle(on_urgent);
	report_begin(&report);
	T_EQ(run(rt, sleeps, &ms), 0);
	T_EQ(skua_runtime_free(rt), 0);
	text = report_end(&report);
	T_EQ(count(text, "is stuck"), 1);
	T_EQ(count(text, "no backtrace: the program has a handler of its own for SIGURG"), 1);
	T_EQ(count(text, "  #"), 0);
	T_EQ(signals, 0);
	is_handled_by(on_urgent);
}

T_TEST(stall, with_a_handler_of_the_program)
{
	with_a_handler(0);
	with_a_handler(1);
}

/* The disposition is what it was. */
T_TEST(stall, leaves_the_signal_as_it_was)
{
	handle(SIG_DFL);
	of_a_sleep(1, 50, SKUA_LOG_WARN, sleeps, 1, 1);
	is_handled_by(SIG_DFL);
	handle(SIG_IGN);
	of_a_sleep(1, 50, SKUA_LOG_WARN, sleeps, 1, 1);
	is_handled_by(SIG_IGN);
}

static skua_poll is_open_to_signals(skua_cx *cx, void *argument)
{
	sigset_t blocked;

	(void)cx, (void)argument;
	T_EQ(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
	return !sigismember(&blocked, SK_BACKTRACE_SIGNAL);
}

/* A worker lets the signal through only if it is for reports. */
T_TEST(stall, the_signal_is_blocked_if_it_is_of_no_use)
{
	skua_runtime *rt = reporting_runtime(1, 0, SKUA_LOG_WARN);

	T_EQ(run(rt, is_open_to_signals, NULL), 0);
	T_EQ(skua_runtime_free(rt), 0);
	rt = reporting_runtime(1, 50, SKUA_LOG_WARN);
	T_EQ(run(rt, is_open_to_signals, NULL), 1);
	T_EQ(skua_runtime_free(rt), 0);
	handle(on_urgent);
	rt = reporting_runtime(1, 50, SKUA_LOG_WARN);
	T_EQ(run(rt, is_open_to_signals, NULL), 0);
	T_EQ(skua_runtime_free(rt), 0);
}
