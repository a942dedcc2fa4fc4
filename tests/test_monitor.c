/*
 * test_monitor.c - what the driver's regular look mends, and that it costs next to nothing. Polls
 * that take long sleep instead of computing, so that a busy machine does not matter.
 */
#include <ctype.h>
#include <dirent.h>

#include "api_support.h"
#include "runtime/runtime.h"
#include "sched/worker.h"

static void long_poll(long ns)
{
	const struct timespec time = {0, ns};

	nanosleep(&time, NULL);
}

/* ---- A backlog whose polls are longer than estimated ---- */

enum { BACKLOG = 100, PIECE_NS = 500000 };

static struct {
	atomic_int left, by_others;
	atomic_int alone; /* pieces that were done before another worker came */
} backlog;

struct piece {
	skua_future future;
	void *worker; /* on which it was spawned */
};

static skua_poll piece_poll(skua_cx *cx, skua_future *future)
{
	struct piece *self = (struct piece *)(void *)future;

	long_poll(PIECE_NS);
	if (cx->worker != self->worker)
		atomic_fetch_add(&backlog.by_others, 1);
	else if (backlog.by_others == 0)
		atomic_fetch_add(&backlog.alone, 1);
	atomic_fetch_sub(&backlog.left, 1);
	return 0;
}

static const skua_future_ops piece_ops = {
	.poll = piece_poll,
	.size = sizeof(struct piece),
	.name = "piece",
};

static skua_poll spawn_pieces(skua_cx *cx, void *unused)
{
	struct sk_worker *worker = cx->worker;

	(void)unused;
	WAIT_UNTIL(sk_idle_count(&worker->sched->idle) > 0);
	/* As after many polls that were very short: the backlog seems not to be worth a wake. */
	sk_store(&worker->mean_poll_ns, 100, SK_RELAXED);
	for (int i = 0; i < BACKLOG; i++) {
		struct piece piece = {{&piece_ops, 0, 0}, worker};

		T_EQ(skua_spawn(skua_cx_runtime(cx), &piece.future, NULL), 0);
	}
	return 0;
}

T_TEST(monitor, a_backlog_of_longer_polls_than_before_is_shared)
{
	skua_runtime *rt = runtime_of(2);
	int shared = 0;

	/* Not in each round: the driver itself may be late. */
	for (int i = 0; i < 8 && shared < 2; i++) {
		backlog.left = BACKLOG;
		backlog.by_others = backlog.alone = 0;
		T_EQ(run(rt, spawn_pieces, NULL), 0);
		WAIT_UNTIL(backlog.left == 0);
		T_LOG("%d of %d on the other worker, which came after %d", backlog.by_others,
		      BACKLOG, backlog.alone);
		/* The driver looks every 2 ms, which is 4 pieces. */
		if (backlog.alone <= BACKLOG / 5 && backlog.by_others >= BACKLOG / 4)
			shared++;
	}
	T_EQ(shared, 2);
	T_EQ(skua_runtime_free(rt), 0);
}

/* What comes from outside to such a worker, which looks into its inbox at every eighth poll. */

struct deceived {
	skua_coro co;
	int64_t rc;
};

static atomic_int stop_deceived, deceived_polls, polls_at_start;

static skua_poll deceived(skua_cx *cx, struct deceived *self)
{
	struct sk_worker *worker = cx->worker;

	SKUA_BEGIN(self);
	while (stop_deceived == 0) {
		sk_store(&worker->mean_poll_ns, 100, SK_RELAXED);
		long_poll(1500000);
		atomic_fetch_add(&deceived_polls, 1);
		SKUA_AWAIT(self->rc = skua_yield(cx));
	}
	SKUA_END(0);
}
SKUA_CORO(deceived, struct deceived);

static skua_poll note_start(skua_cx *cx, void *unused)
{
	(void)cx, (void)unused;
	polls_at_start = deceived_polls;
	return 0;
}

T_TEST(monitor, an_inbox_beside_longer_polls_than_before_is_shared)
{
	enum { ROUNDS = 24 };
	skua_runtime *rt = runtime_of(2);
	struct deceived future = {.co = SKUA_CORO_INIT(deceived)};
	skua_task *task = start_future(rt, &future.co), *other;
	int soon = 0;

	for (int i = 0; i < ROUNDS; i++) {
		int before = deceived_polls;

		WAIT_UNTIL(deceived_polls > before + 1);
		before = deceived_polls;
		other = start(rt, note_start, NULL);
		T_EQ(skua_task_wait(&other), 0);
		/* The driver looks every 2 ms. By its own look it would take four polls in the mean. */
		soon += polls_at_start - before <= 3;
	}
	T_LOG("%d of %d were started soon", soon, ROUNDS);
	T_GE(soon, ROUNDS * 3 / 4);
	stop_deceived = 1;
	T_EQ(skua_task_wait(&task), 0);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Timers beside long polls ---- */

struct hog {
	skua_coro co;
	int64_t rc;
	atomic_int *stop, *polls;
};

static skua_poll hog(skua_cx *cx, struct hog *self)
{
	SKUA_BEGIN(self);
	while (*self->stop == 0) {
		long_poll(1500000);
		atomic_fetch_add(self->polls, 1);
		SKUA_AWAIT(self->rc = skua_yield(cx));
	}
	SKUA_END(0);
}
SKUA_CORO(hog, struct hog);

enum { NAPS = 9 };

struct punctual {
	skua_coro co;
	skua_timer timer;
	int i;
	int64_t rc;
	uint64_t due;
	atomic_int *polls; /* of the hogs */
	int before, took[NAPS];
};

static skua_poll punctual(skua_cx *cx, struct punctual *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < NAPS; self->i++) {
		self->before = *self->polls;
		self->due = skua_now() + 5 * SKUA_MSEC;
		SKUA_AWAIT(self->rc = skua_sleep_until(cx, &self->timer, self->due));
		self->took[self->i] = *self->polls - self->before;
		T_LOG("%g ms late, %d polls", (double)(skua_now() - self->due) / 1e6,
		      self->took[self->i]);
	}
	SKUA_END(0);
}
SKUA_CORO(punctual, struct punctual);

static int by_size(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Every worker has long polls to do; a sleep of 5 ms is measured in these. */
static void timers_beside_hogs(uint32_t workers)
{
	skua_runtime *rt = runtime_of(workers);
	atomic_int stop = 0, polls = 0;
	struct hog hogs = {.co = SKUA_CORO_INIT(hog), .stop = &stop, .polls = &polls};
	struct punctual state = {.co = SKUA_CORO_INIT(punctual), .polls = &polls};
	skua_task *tasks[4];

	for (uint32_t i = 0; i < workers; i++)
		tasks[i] = start_future(rt, &hogs.co);
	T_EQ(skua_block_on(rt, &state.co), 0);
	stop = 1;
	for (uint32_t i = 0; i < workers; i++)
		T_EQ(skua_task_wait(&tasks[i]), 0);
	T_EQ(skua_runtime_free(rt), 0);
	/* Without help a timer is looked at every 61 polls. */
	qsort(state.took, NAPS, sizeof state.took[0], by_size);
	T_LE(state.took[NAPS / 2], 20 * (int)workers);
}

T_TEST(monitor, a_timer_beside_long_polls_is_in_time_on_1_worker)
{
	timers_beside_hogs(1);
}

T_TEST(monitor, a_timer_beside_long_polls_is_in_time_on_2_workers)
{
	timers_beside_hogs(2);
}

/* ---- What it costs ---- */

/* Fields of a thread in /proc: its name, and the sum of those that begin with `field`. */
static long switches_of(const char *thread, const char *field, char *name, size_t size)
{
	char path[300], line[200];
	long sum = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
	file = fopen(path, "re");
	T_NOT_NULL(file);
	while (fgets(line, sizeof line, file) != NULL) {
		char *value = strchr(line, ':');

		if (value == NULL)
			continue;
		*value++ = '\0';
		while (isspace((unsigned char)*value))
			value++;
		value[strcspn(value, "\n")] = '\0';
		if (strcmp(line, "Name") == 0)
			snprintf(name, size, "%s", value);
		else if (strcmp(line, field) == 0)
			sum += strtol(value, NULL, 10);
	}
	fclose(file);
	return sum;
}

/* How often the runtime's threads have gone to sleep so far. */
static long switches(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	long sum = 0;

	T_NOT_NULL(dir);
	while ((entry = readdir(dir)) != NULL) {
		char name[64] = "";
		long count;

		if (entry->d_name[0] == '.')
			continue;
		count = switches_of(entry->d_name, "voluntary_ctxt_switches", name, sizeof name);
		if (strncmp(name, "skua-", 5) == 0)
			sum += count;
	}
	closedir(dir);
	return sum;
}

struct naps {
	skua_coro co;
	skua_timer timer;
	int i;
	int64_t rc;
};

enum { NAP_MS = 40, NAP_COUNT = 15, SWITCHES_EACH = 10 };

static skua_poll naps(skua_cx *cx, struct naps *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < NAP_COUNT; self->i++)
		SKUA_AWAIT(self->rc = skua_sleep(cx, &self->timer, NAP_MS * SKUA_MSEC));
	SKUA_END(self->rc);
}
SKUA_CORO(naps, struct naps);

T_TEST(monitor, a_timer_now_and_then_costs_next_to_nothing)
{
	skua_runtime *rt = runtime_of(2);
	struct naps state = {.co = SKUA_CORO_INIT(naps)};
	uint64_t begin = skua_now(), cpu;
	long before;

	WAIT_UNTIL(sk_idle_count(&rt->head.sched->idle) == 2);
	before = switches();
	cpu = cpu_time();
	T_EQ(skua_block_on(rt, &state.co), 0);
	cpu = cpu_time() - cpu;
	begin = skua_now() - begin;
	before = switches() - before;
	T_LOG("%ld switches, %g ms of CPU in %g ms", before, (double)cpu / 1e6,
	      (double)begin / 1e6);
	/* For each: the worker, the driver, and its few looks. Without an end to these there would
	 * be one every 2 ms. */
	T_LE(before, NAP_COUNT * SWITCHES_EACH);
	if (!T_SANITIZED)
		T_LT(cpu, begin / 50);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(monitor, an_idle_runtime_does_nothing_at_all)
{
	skua_runtime *rt = runtime_of(2);
	long before = 0, after = 1;
	uint64_t cpu = 0;

	/* It may take a while until all have gone to sleep. */
	for (int i = 0; i < 10 && after != before; i++) {
		struct timespec own[2];

		sleep_ms(100);
		before = switches();
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own[0]);
		cpu = cpu_time();
		sleep_ms(T_QUICK ? 300 : 1000);
		cpu = cpu_time() - cpu;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own[1]);
		cpu -= (uint64_t)(own[1].tv_sec - own[0].tv_sec) * SKUA_SEC +
		       (uint64_t)(own[1].tv_nsec - own[0].tv_nsec);
		after = switches();
	}
	T_EQ(after, before);
	/* The two clocks are not read at the same moment. */
	if (!T_SANITIZED)
		T_ASSERT_MSG((int64_t)cpu < (int64_t)SKUA_MSEC, "%g ms",
			     (double)(int64_t)cpu / 1e6);
	T_EQ(skua_runtime_free(rt), 0);
}
