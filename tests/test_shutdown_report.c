/*
 * test_shutdown_report.c - what is written to standard error about jobs and polls that do not end when
 * a runtime is freed.
 */
#include <stdbool.h>

#include "api_support.h"

static skua_runtime *rt;
static struct capture captured;
static atomic_int gate, running;

static void begin(uint32_t workers, uint32_t shutdown_ms)
{
	skua_config config;

	quiet_config(&config, workers, SKUA_IO_BACKEND_AUTO);
	config.max_blocking = 64;
	config.blocking_files = config.blocking_names = 30;
	config.shutdown_ms = shutdown_ms;
	config.log = SKUA_LOG_WARN;
	rt = runtime_with(&config);
}

static int64_t hang(void *unused)
{
	(void)unused;
	atomic_fetch_add(&running, 1);
	WAIT_UNTIL(gate != 0);
	return 0;
}

static void *free_runtime(void *result)
{
	*(int *)result = skua_runtime_free(rt);
	return NULL;
}

static bool has_said(const char *words)
{
	char text[16384];
	ssize_t length = pread(fileno(captured.file), text, sizeof text - 1, 0);

	text[length > 0 ? length : 0] = '\0';
	return strstr(text, words) != NULL;
}

/* Frees the runtime, opens the gate when `words` have been said, and stores all that was. */
static int free_until(const char *words, char *text, size_t size)
{
	pthread_t thread;
	int result = 1;

	capture_start(&captured);
	T_EQ(pthread_create(&thread, NULL, free_runtime, &result), 0);
	WAIT_UNTIL(has_said(words));
	atomic_store(&gate, 1);
	T_EQ(pthread_join(thread, NULL), 0);
	capture_stop(&captured, text, size);
	return result;
}

static unsigned count_of(const char *text, const char *words)
{
	unsigned count = 0;

	for (; (text = strstr(text, words)) != NULL; text++)
		count++;
	return count;
}

/* This file and a line of it, as a report has them. */
static const char *place_of(int line)
{
	static char place[300];

	snprintf(place, sizeof place, "%s:%d", __FILE__, line);
	return place;
}

/* ---- Jobs ---- */

T_TEST(shutdown_report, jobs_that_do_not_end_are_named)
{
	const skua_blocking_options lookup = {sizeof lookup, SKUA_BLOCKING_NAMES,
					      "lookup of a host"};
	skua_task *queued;
	char text[16384];

	begin(1, 20);
	T_EQ(skua_spawn_blocking_with(rt, hang, NULL, 0, &lookup, NULL), 0);
	T_EQ(skua_spawn_blocking(rt, hang, NULL, 0, NULL), 0);
	for (int i = 0; i < 29; i++)
		T_EQ(skua_spawn_blocking_with(rt, hang, NULL, 0, &lookup, NULL), 0);
	WAIT_UNTIL(running == 31);
	T_EQ(skua_spawn_blocking_with(rt, hang, NULL, 0, &lookup, &queued), 0);
	T_EQ(free_until("more blocking calls", text, sizeof text), 0);
	T_ASSERT_MSG(strstr(text, "skua: warning: shutdown: not everything ended within 20 ms\n") !=
			     NULL,
		     "%s", text);
	T_EQ(count_of(text, "a blocking call cannot be ended: it is waited for\n"), 20);
	T_GE(count_of(text, "skua: warning: shutdown: lookup of a host (names) has run for "), 19);
	T_EQ(count_of(text, "skua: warning: shutdown: and 11 more blocking calls\n"), 1);
	/* One that did not start is not waited for. */
	T_EQ(running, 31);
	T_EQ(skua_task_wait(&queued), -ECANCELED);
}

/* How long a job has run, in the words of the report. */
T_TEST(shutdown_report, a_job_is_said_to_have_run_for_its_time)
{
	char text[4096];
	double seconds = -1;
	const char *words;
	uint64_t start;

	begin(1, 100);
	start = skua_now();
	T_EQ(skua_spawn_blocking(rt, hang, NULL, 0, NULL), 0);
	WAIT_UNTIL(running == 1);
	T_EQ(free_until("waited for", text, sizeof text), 0);
	words = strstr(text, "blocking job (general) has run for ");
	T_NOT_NULL(words);
	T_EQ(sscanf(words, "blocking job (general) has run for %lf s;", &seconds), 1);
	/* The clock that it goes by is some milliseconds late. */
	T_GE(seconds, 0.08);
	T_LE(seconds, seconds_since(start) + 0.05);
}

T_TEST(shutdown_report, jobs_that_end_in_time_are_not_named)
{
	char text[4096];

	begin(1, 10000 * PATIENCE);
	T_EQ(skua_spawn_blocking(rt, hang, NULL, 0, NULL), 0);
	WAIT_UNTIL(running == 1);
	atomic_store(&gate, 1);
	capture_start(&captured);
	T_EQ(skua_runtime_free(rt), 0);
	capture_stop(&captured, text, sizeof text);
	T_STR_EQ(text, "");
}

/* ---- Polls ---- */

struct stuck {
	skua_coro co;
	int64_t rc;
};

enum { STUCK_LINE = __LINE__ + 5 };

static skua_poll stuck(skua_cx *cx, struct stuck *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_yield(cx));
	hang(NULL);
	SKUA_END(3);
}
SKUA_CORO(stuck, struct stuck);

T_TEST(shutdown_report, a_poll_that_does_not_return_is_named)
{
	const skua_spawn_options options = {.struct_size = sizeof options, .name = "indexer"};
	struct stuck future = {.co = SKUA_CORO_INIT(stuck)};
	skua_task *task;
	char text[4096];

	begin(2, 20);
	T_EQ(skua_spawn_with(rt, &future.co, &options, &task), 0);
	WAIT_UNTIL(running == 1);
	T_EQ(free_until("waited for", text, sizeof text), 0);
	T_NOT_NULL(strstr(text,
			  "shutdown: task indexer is in a poll that does not return, on worker "));
	T_NOT_NULL(strstr(text, place_of(STUCK_LINE)));
	T_EQ(count_of(text, "waited for"), 1);
	T_EQ(skua_task_wait(&task), 3);
}

static skua_poll never(skua_cx *cx, void *unused)
{
	(void)cx, (void)unused;
	atomic_store(&running, 1);
	return SKUA_PENDING;
}

T_TEST(shutdown_report, a_task_that_sleeps_is_dropped_and_not_waited_for)
{
	char text[4096];

	begin(2, 20);
	skua_detach(&(skua_task *){start(rt, never, NULL)});
	WAIT_UNTIL(running == 1);
	capture_start(&captured);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	capture_stop(&captured, text, sizeof text);
	T_NOT_NULL(strstr(text, "task call did not end in time and is dropped"));
	T_NULL(strstr(text, "waited for"));
}

/* ---- Tasks that are dropped ---- */

/* Ignores that it is cancelled, and goes on to wait. */
struct deaf {
	skua_coro co;
	operation *awaits;
	void *argument;
	int64_t rc;
};

enum { DEAF_LINE = __LINE__ + 7 };

static skua_poll deaf(skua_cx *cx, struct deaf *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		atomic_fetch_add(&running, 1);
		SKUA_AWAIT(self->rc = self->awaits(cx, self->argument));
	}
	SKUA_END(0);
}
SKUA_CORO(deaf, struct deaf);

static void start_deaf(const char *name, operation *awaits, void *argument, skua_task **task)
{
	const skua_spawn_options options = {.struct_size = sizeof options, .name = name};
	struct deaf future = {.co = SKUA_CORO_INIT(deaf), .awaits = awaits, .argument = argument};

	T_EQ(skua_spawn_with(rt, &future.co, &options, task), 0);
}

/* Frees the runtime, whose tasks are dropped; what was written is in the result. */
static const char *free_and_drop(void)
{
	static char text[32768];

	capture_start(&captured);
	T_EQ(skua_runtime_free(rt), -ETIMEDOUT);
	capture_stop(&captured, text, sizeof text);
	return text;
}

static void is_told(const char *text, const char *name, int line, const char *what)
{
	char expected[512];

	snprintf(expected, sizeof expected,
		 "skua: warning: shutdown: task %s did not end in time and is dropped, at %s; %s\n",
		 name, place_of(line), what);
	T_ASSERT_MSG(count_of(text, expected) == 1, "no line \"%s\" in\n%s", expected, text);
}

static skua_timer timers[2];

static skua_poll sleeps(skua_cx *cx, void *unused)
{
	(void)unused;
	return skua_sleep(cx, &timers[0], 3600 * SKUA_SEC);
}

static skua_poll yields(skua_cx *cx, void *unused)
{
	(void)unused;
	return skua_yield(cx);
}

static skua_poll waits_for_a_token(skua_cx *cx, void *token)
{
	static skua_token_waiter waiter;

	return skua_timeout(cx, &timers[1], 3600 * SKUA_SEC, skua_token_wait(cx, &waiter, token));
}

static skua_poll joins(skua_cx *cx, void *task)
{
	return skua_join(cx, task);
}

T_TEST(shutdown_report, what_tasks_waited_for_is_told)
{
	static skua_task *child;
	skua_token *token;
	const char *text;

	T_EQ(skua_token_new(NULL, &token), 0);
	begin(2, 100);
	start_deaf("sleeper", sleeps, NULL, &child);
	start_deaf("parent", joins, &child, NULL);
	start_deaf("yielder", yields, NULL, NULL);
	start_deaf("listener", waits_for_a_token, token, NULL);
	WAIT_UNTIL(running >= 4);
	text = free_and_drop();
	is_told(text, "sleeper", DEAF_LINE, "pending: timer; task parent awaits it");
	is_told(text, "parent", DEAF_LINE, "it waits for another task, or a waker");
	is_told(text, "yielder", DEAF_LINE, "it was about to go on");
	is_told(text, "listener", DEAF_LINE, "pending: timer, token");
	T_EQ(count_of(text, "is dropped"), 4);
	skua_detach(&child);
	skua_token_release(token);
}

T_TEST(shutdown_report, of_many_tasks_the_first_are_named)
{
	enum { TASKS = 50, NAMED = 20 };
	const char *text;

	begin(2, 20);
	for (int i = 0; i < TASKS; i++)
		start_deaf("one of many", parked, NULL, NULL);
	WAIT_UNTIL(running >= TASKS);
	text = free_and_drop();
	T_EQ(count_of(text, "task one of many did not end in time and is dropped, at "), NAMED);
	T_EQ(count_of(text, "skua: warning: shutdown: and 30 more tasks are dropped\n"), 1);
}

/* The only worker is kept from it, and there is no grace period. */
T_TEST(shutdown_report, a_task_that_was_never_polled_is_told_as_such)
{
	struct stuck future = {.co = SKUA_CORO_INIT(stuck)};
	struct call never_polled = call_of(parked, NULL);
	char text[4096];
	skua_task *task;

	begin(1, 0);
	task = start_future(rt, &future.co);
	WAIT_UNTIL(running == 1);
	T_EQ(skua_spawn(rt, &never_polled.future, NULL), 0);
	T_EQ(free_until("waited for", text, sizeof text), -ETIMEDOUT);
	T_NOT_NULL(strstr(text, "it has never been polled\n"));
	T_EQ(skua_task_wait(&task), 3);
}
