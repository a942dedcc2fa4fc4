/*
 * test_shutdown_load.c - a runtime that is freed at every tenth scheduling step of a load of everything
 * (load_support.h): how long that takes, what is left, and who is named in the log.
 *
 * The load is run once to its end, to count its steps, and then once for each step at which it is to be
 * stopped. Threads are real, so a step is not the same moment in each run.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>

#include "load_support.h"

enum {
	STRIDE = T_SANITIZED ? 100 : 10,
	GRACE_MS = 100 * PATIENCE,
	LONG_GRACE_MS = 20000 * PATIENCE,
	SLACK_MS = 1000 * PATIENCE, /* the machine may be busy with others */
	TEXT_SIZE = 65536,
};

static struct capture captured;
static char text[TEXT_SIZE];
static atomic_int gate, is_free;

/* ---- What has been written ---- */

static unsigned count_of(const char *words)
{
	unsigned count = 0;

	for (const char *place = text; (place = strstr(place, words)) != NULL; place++)
		count++;
	return count;
}

static int has_said(const char *words)
{
	ssize_t length = pread(fileno(captured.file), text, sizeof text - 1, 0);

	text[length > 0 ? length : 0] = '\0';
	return strstr(text, words) != NULL;
}

/* ---- One run ---- */

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	T_NOT_NULL(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

struct run {
	int64_t step; /* at which it is stopped; 0: it is not */
	uint32_t grace_ms;
	void (*before)(void);  /* begins what will not end */
	const char *opener;    /* words that open the gate; NULL: it is open */
	int rc;                /* of skua_runtime_free */
	uint64_t took, opened; /* all of it, and since the gate was opened */
};

static void *free_runtime(void *argument)
{
	struct run *run = argument;
	uint64_t begin = skua_now();

	run->rc = skua_runtime_free(load.rt);
	run->took = skua_now() - begin;
	atomic_store(&is_free, 1);
	return NULL;
}

static void free_it(struct run *run)
{
	pthread_t thread;
	uint64_t opened;

	atomic_store(&is_free, 0);
	T_EQ(pthread_create(&thread, NULL, free_runtime, run), 0);
	if (run->opener != NULL)
		WAIT_UNTIL(has_said(run->opener) || is_free != 0);
	opened = skua_now();
	atomic_store(&gate, 1);
	T_EQ(pthread_join(thread, NULL), 0);
	run->opened = skua_now() - opened;
}

/* Returns how many steps there were. */
static int64_t run_load(struct run *run)
{
	skua_config config;

	quiet_config(&config, 2, IO_AUTO);
	config.spare_workers = 2;
	config.shutdown_ms = run->grace_ms;
	config.log = SKUA_LOG_WARN;
	config.stall_ms = 0;
	atomic_store(&gate, run->opener == NULL);
	load_open(&config, run->step);
	if (run->before != NULL)
		run->before();
	load_begin();
	WAIT_UNTIL(load.alive == 0 || load.stopping != 0);
	capture_start(&captured);
	free_it(run);
	capture_stop(&captured, text, sizeof text);
	skua_token_release(load.token);
	T_ASSERT_MSG(load.bad == 0, "stopped at step %" PRId64 ": wrong bytes or accepted work",
		     run->step);
	T_EQ(memory_alive, 0);
	return load.steps;
}

/* Runs it with each step, and has a look at each result. */
static void at_every_tenth_step(const struct run *kind, void (*look)(const struct run *run))
{
	struct run whole = {.grace_ms = LONG_GRACE_MS};
	int64_t steps;
	int stopped = 0, runs = 0, before;

	memory_begin();
	steps = run_load(&whole);
	T_EQ(whole.rc, 0);
	/* libuv's own, which stay, are among them. */
	before = descriptors();
	T_LOG("%" PRId64 " steps", steps);
	for (int64_t step = STRIDE; step <= steps; step += T_QUICK ? 5 * STRIDE : STRIDE) {
		struct run run = *kind;

		run.step = step;
		run_load(&run);
		stopped += load.stopping;
		runs++;
		T_EQ(descriptors(), before);
		look(&run);
	}
	/* Some runs have fewer steps than the first one. */
	T_LOG("%d of %d runs were stopped", stopped, runs);
	T_GE(2 * stopped, runs);
	memory_end();
}

static void is_quick(uint64_t took, uint64_t bound_ms, int64_t step)
{
	T_ASSERT_MSG(took <= (bound_ms + SLACK_MS) * SKUA_MSEC,
		     "stopped at step %" PRId64 ", it took %g ms:\n%s", step, (double)took / 1e6,
		     text);
}

/* ---- All tasks obey ---- */

static void has_ended(const struct run *run)
{
	T_ASSERT_MSG(run->rc == 0 && load.alive == 0 && text[0] == '\0',
		     "stopped at step %" PRId64 ": %d, %d tasks are left\n%s", run->step, run->rc,
		     load.alive, text);
	is_quick(run->took, 0, run->step);
}

T_TEST_T(shutdown_load, of_tasks_that_obey, 120)
{
	at_every_tenth_step(&(struct run){.grace_ms = LONG_GRACE_MS}, has_ended);
}

/* ---- Some ignore that they are cancelled ---- */

enum { DEAF_SLEEPER, DEAF_READER, DEAF_YIELDER, DEAF_JOINER, DEAF_PARENT, DEAF_CHILD, DEAF };

static const char *const deaf_names[DEAF] = {
	"deaf sleeper", "deaf reader", "deaf yielder", "deaf joiner", "deaf parent", "deaf child",
};

static atomic_int waiting;    /* deaf tasks that have come to their await */
static skua_addr silent_addr; /* of a server that says nothing */
static skua_task *deaf_child;

struct deaf {
	skua_coro co;
	int kind;
	skua_timer timer;
	skua_tcp *conn;
	skua_task *child;
	skua_scope *scope;
	int64_t rc;
	char byte;
};

static void deaf_release(struct deaf *self)
{
	skua_tcp_close(self->conn);
	skua_detach(&self->child);
}

static skua_poll deaf_wait(skua_cx *cx, struct deaf *self)
{
	switch (self->kind) {
	case DEAF_READER:
		return skua_read(cx, self->conn, &self->byte, 1);
	case DEAF_YIELDER:
		return skua_yield(cx);
	case DEAF_JOINER:
		return skua_join(cx, &self->child);
	case DEAF_PARENT:
		return skua_scope_join(cx, &self->scope);
	default:
		return skua_sleep(cx, &self->timer, 3600 * SKUA_SEC);
	}
}

static void start_deaf(skua_cx *cx, int kind, struct deaf *parent);

static void prepare(skua_cx *cx, struct deaf *self)
{
	if (self->kind == DEAF_JOINER)
		self->child = deaf_child;
	if (self->kind != DEAF_PARENT)
		return;
	T_EQ(skua_scope_new(cx, NULL, &self->scope), 0);
	start_deaf(cx, DEAF_CHILD, self);
}

enum { DEAF_LINE = __LINE__ + 10 };

static skua_poll deaf(skua_cx *cx, struct deaf *self)
{
	SKUA_BEGIN(self);
	if (self->kind == DEAF_READER)
		SKUA_AWAIT(self->rc = skua_connect(cx, &silent_addr, &self->conn));
	prepare(cx, self);
	atomic_fetch_add(&waiting, 1);
	for (;;)
		SKUA_AWAIT(self->rc = deaf_wait(cx, self));
	SKUA_END(0);
}
SKUA_CORO_WITH_DROP(deaf, struct deaf, deaf_release);

static void start_deaf(skua_cx *cx, int kind, struct deaf *parent)
{
	const skua_spawn_options options = {.struct_size = sizeof options,
					    .name = deaf_names[kind]};
	struct deaf future = {.co = SKUA_CORO_INIT(deaf), .kind = kind};
	skua_task **task = kind == DEAF_SLEEPER ? &deaf_child : NULL;

	if (parent != NULL)
		T_EQ(skua_scope_spawn_with(cx, parent->scope, &future.co, &options, task), 0);
	else
		T_EQ(skua_spawn_with(load.rt, &future.co, &options, task), 0);
}

static void start_all_deaf(void)
{
	waiting = 0;
	for (int kind = 0; kind < DEAF; kind++)
		if (kind != DEAF_CHILD)
			start_deaf(NULL, kind, NULL);
	WAIT_UNTIL(waiting == DEAF);
}

static void deaf_ones_are_named(const struct run *run)
{
	static const char *const waits[DEAF] = {
		"pending: timer; task deaf joiner awaits it",
		"pending: reading a descriptor",
		"it was about to go on",
		"it waits for another task, or a waker",
		"pending: scope",
		"pending: timer",
	};

	for (int kind = 0; kind < DEAF; kind++) {
		char line[512];

		snprintf(line, sizeof line,
			 "shutdown: task %s did not end in time and is dropped, at %s:%d; %s\n",
			 deaf_names[kind], __FILE__, DEAF_LINE, waits[kind]);
		T_ASSERT_MSG(count_of(line) == 1, "stopped at step %" PRId64 ": no \"%s\" in\n%s",
			     run->step, line, text);
	}
	T_ASSERT_MSG(count_of("is dropped") == DEAF && count_of("waited for") == 0,
		     "stopped at step %" PRId64 ":\n%s", run->step, text);
	T_EQ(load.alive, 0);
	T_EQ(run->rc, -ETIMEDOUT);
	is_quick(run->took, run->grace_ms, run->step);
}

static int start_silent_server(void)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	socklen_t size = sizeof name;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	T_EQ(bind(fd, (struct sockaddr *)(void *)&name, size), 0);
	T_EQ(listen(fd, 4096), 0);
	T_EQ(getsockname(fd, (struct sockaddr *)(void *)&name, &size), 0);
	T_EQ(skua_addr_parse(&silent_addr, "127.0.0.1", ntohs(name.sin_port)), 0);
	return fd;
}

T_TEST_T(shutdown_load, of_some_that_ignore_it, 120)
{
	int server = start_silent_server();

	at_every_tenth_step(&(struct run){.grace_ms = GRACE_MS, .before = start_all_deaf},
			    deaf_ones_are_named);
	close(server);
}

/* ---- One poll takes longer than the grace period ---- */

static void stay(void)
{
	WAIT_UNTIL(gate != 0);
}

static void let_the_poll_stay(void)
{
	load.in_the_poll = stay;
}

/* Who has been told too late, by no fault of its own, is neither dropped nor named. */
static void the_poll_is_named(const struct run *run)
{
	if (load.stopping == 0) {
		/* It was over before. */
		has_ended(run);
		return;
	}
	T_ASSERT_MSG(count_of("is in a poll that does not return") == 1 &&
			     count_of("waited for") == 1 && count_of("is dropped") == 0,
		     "stopped at step %" PRId64 ":\n%s", run->step, text);
	T_ASSERT_MSG(run->rc == 0 && load.alive == 0,
		     "stopped at step %" PRId64 ": %d, %d tasks are left", run->step, run->rc,
		     load.alive);
	is_quick(run->opened, run->grace_ms, run->step);
}

T_TEST_T(shutdown_load, of_one_that_computes, 120)
{
	at_every_tenth_step(&(struct run){.grace_ms = GRACE_MS,
					  .before = let_the_poll_stay,
					  .opener = "waited for"},
			    the_poll_is_named);
}

/* ---- A blocking job takes longer ---- */

static atomic_int copying;

static int64_t slow_copy(void *unused)
{
	(void)unused;
	atomic_store(&copying, 1);
	stay();
	return 0;
}

static void start_slow_copy(void)
{
	const skua_blocking_options options = {sizeof options, SKUA_BLOCKING_FILES, "slow copy"};

	copying = 0;
	T_EQ(skua_spawn_blocking_with(load.rt, slow_copy, NULL, 0, &options, NULL), 0);
	WAIT_UNTIL(copying == 1);
}

static void the_job_is_named(const struct run *run)
{
	T_ASSERT_MSG(count_of("shutdown: slow copy (files) has run for ") == 1 &&
			     count_of("waited for") == 1 && count_of("is dropped") == 0,
		     "stopped at step %" PRId64 ":\n%s", run->step, text);
	T_ASSERT_MSG(run->rc == 0 && load.alive == 0,
		     "stopped at step %" PRId64 ": %d, %d tasks are left", run->step, run->rc,
		     load.alive);
	is_quick(run->opened, 0, run->step);
}

T_TEST_T(shutdown_load, of_a_job_that_takes_longer, 120)
{
	at_every_tenth_step(&(struct run){.grace_ms = GRACE_MS,
					  .before = start_slow_copy,
					  .opener = "waited for"},
			    the_job_is_named);
}
