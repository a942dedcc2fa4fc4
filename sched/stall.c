/* stall.c - see stall.h. */
#include "sched/stall.h"

#include <inttypes.h>
#include <stdio.h>

#include "sched/backtrace.h"
#include "sched/log.h"
#include "sched/report.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"

enum { MS = 1000000, NAME_SIZE = 64, FILE_SIZE = 160 };

void sk_stalls_init(struct sk_stalls *stalls, uint32_t stall_ms)
{
	sk_mutex_init(&stalls->lock);
	stalls->limit = (uint64_t)stall_ms * MS;
}

void sk_stalls_destroy(struct sk_stalls *stalls)
{
	sk_mutex_destroy(&stalls->lock);
}

/* ---- What is told: on a thread of its own ---- */

/* What a poll is about. */
struct subject {
	char name[NAME_SIZE], file[FILE_SIZE];
	uint32_t line; /* 0: it has not awaited yet */
};

/* Copies a string that may be gone. False: it is. */
static bool peek_string(char *copy, size_t size, const char *string)
{
	for (size_t i = 0; i < size - 1; i++) {
		if (!sk_peek(&copy[i], string + i, 1)) {
			copy[0] = '\0';
			return false;
		}
		if (copy[i] == '\0')
			return true;
	}
	copy[size - 1] = '\0';
	return true;
}

static void peek_task(const skua_task *task, struct subject *subject)
{
	struct sk_task_seen seen;

	if (!sk_report_peek(task, &seen))
		return;
	if (seen.name == NULL || !peek_string(subject->name, sizeof subject->name, seen.name))
		snprintf(subject->name, sizeof subject->name, "unnamed");
	if (seen.file == NULL || !peek_string(subject->file, sizeof subject->file, seen.file))
		snprintf(subject->file, sizeof subject->file, "an unknown file");
	subject->line = seen.line;
}

/* False: the poll is over, or there is none. */
static bool find_subject(const struct sk_stall *stall, struct subject *subject)
{
	skua_task *task = NULL;

	*subject = (struct subject){.name = "unknown"};
	/* Where looking is forbidden, as it is in some sandboxes, the rest can be told all the same. */
	if (sk_peek(&task, &stall->worker->running, sizeof(void *))) {
		if (task == NULL)
			return false;
		peek_task(task, subject);
	}
	return sk_load(&stall->worker->tick, SK_RELAXED) == stall->tick;
}

static void tell(const struct sk_stall *stall)
{
	struct sk_backtrace backtrace;
	struct subject subject, again;
	bool same_poll;
	char await[FILE_SIZE + 48], share[32] = "";

	if (!find_subject(stall, &subject))
		return;
	if (subject.line > 0)
		snprintf(await, sizeof await, "its last await was %s:%" PRIu32, subject.file,
			 subject.line);
	else
		snprintf(await, sizeof await, "it has not awaited yet");
	sk_backtrace_take(sk_load(&stall->worker->address, SK_RELAXED), stall->worker, &backtrace);
	same_poll = find_subject(stall, &again);
	if (stall->left_out > 0)
		sk_log(SK_LOG_WARN, "%" PRIu32 " stuck workers have not been reported",
		       stall->left_out);
	if (stall->on_cpu >= 0)
		snprintf(share, sizeof share, ", %" PRId32 " %% of that on a CPU", stall->on_cpu);
	sk_log(SK_LOG_WARN, "worker %u is stuck: task %s has been running for %" PRIu64 " ms%s; %s",
	       stall->worker->index, subject.name, stall->ns / MS, share, await);
	/* Else it is that of something else. */
	if (same_poll)
		sk_backtrace_log(&backtrace, SK_LOG_WARN);
	else
		sk_log(SK_LOG_WARN, "it went on before its backtrace was taken");
	if (stall->is_last)
		sk_log(SK_LOG_WARN, "no more such reports for %d s", SK_STALL_PAUSE_MS / 1000);
}

static void write_report(void *argument)
{
	struct sk_stalls *stalls = argument;
	const struct sk_stall *stall = &stalls->stall;

	if (stall->ended)
		sk_log(SK_LOG_INFO, "worker %u goes on: what it was stuck in took %" PRIu64 " ms",
		       stall->worker->index, stall->ns / MS);
	else
		tell(stall);
	/* Relaxed: who finds this joins the thread. */
	sk_store(&stalls->busy, 0, SK_RELAXED);
}

/* ---- When: on the driver's thread ---- */

/* False: try again at the next look. */
static bool start_report(struct sk_stalls *stalls, const struct sk_stall *stall)
{
	bool done;

	if (sk_load(&stalls->busy, SK_RELAXED) != 0)
		return false;
	sk_mutex_lock(&stalls->lock);
	if (stalls->started)
		sk_thread_join(&stalls->thread);
	stalls->started = false;
	if (!stalls->stopped) {
		stalls->stall = *stall;
		sk_store(&stalls->busy, 1, SK_RELAXED);
		stalls->started =
			sk_thread_start(&stalls->thread, "skua-report", write_report, stalls) == 0;
		if (!stalls->started)
			sk_store(&stalls->busy, 0, SK_RELAXED);
	}
	done = stalls->started || stalls->stopped;
	sk_mutex_unlock(&stalls->lock);
	return done;
}

/* Whether there may be one more report now. */
static bool is_allowed(struct sk_stalls *stalls, uint64_t now)
{
	if (now >= stalls->pause) {
		stalls->in_burst = 0;
		stalls->pause = now + SK_STALL_PAUSE_MS * (uint64_t)MS;
	}
	return stalls->in_burst < SK_STALL_BURST;
}

/* The CPU time of a poll is counted from its second look on: most have no second one. The look itself
 * may have begun some time ago. */
static void begin_cpu_time(struct sk_worker *worker)
{
	worker->poll.cpu = sk_cpu_time(sk_load(&worker->cpu_clock, SK_RELAXED));
	worker->poll.cpu_since = worker->poll.cpu > 0 ? sk_now() : 0;
}

/* In hundredths, -1: not known. */
static int32_t share_on_cpu(const struct sk_worker *worker)
{
	const struct sk_long_poll *poll = &worker->poll;
	uint64_t cpu = sk_cpu_time(sk_load(&worker->cpu_clock, SK_RELAXED)) - poll->cpu;
	uint64_t elapsed = sk_now() - poll->cpu_since;

	if (poll->cpu_since == 0 || elapsed < MS)
		return -1;
	return cpu < elapsed ? (int32_t)(cpu * 100 / elapsed) : 100;
}

static void report(struct sk_stalls *stalls, struct sk_worker *worker, uint64_t tick, uint64_t now)
{
	struct sk_stall stall = {
		.worker = worker,
		.tick = tick,
		.ns = now - worker->poll.since,
		.on_cpu = share_on_cpu(worker),
		.left_out = stalls->left_out,
	};

	if (!sk_log_passes(SK_LOG_WARN)) {
		worker->poll.is_reported = true;
	} else if (!is_allowed(stalls, now)) {
		worker->poll.is_reported = true;
		stalls->left_out++;
	} else {
		stall.is_last = stalls->in_burst == SK_STALL_BURST - 1;
		worker->poll.is_reported = start_report(stalls, &stall);
		stalls->in_burst += worker->poll.is_reported;
		stalls->left_out = worker->poll.is_reported ? 0 : stalls->left_out;
	}
}

/* It is not in the poll any more in which it was at the last look. */
static void moved(struct sk_stalls *stalls, struct sk_worker *worker, uint64_t now)
{
	const struct sk_stall stall = {
		.worker = worker, .ns = now - worker->poll.since, .ended = true};

	if (worker->poll.is_reported && sk_log_passes(SK_LOG_INFO))
		(void)start_report(stalls, &stall);
	worker->poll = (struct sk_long_poll){.since = now};
}

/* Whether it has no task: it looks for work, or gives memory back. Where looking is forbidden, nobody knows. */
static bool is_between_polls(const struct sk_worker *worker)
{
	skua_task *task = NULL;

	return sk_peek(&task, &worker->running, sizeof(void *)) && task == NULL;
}

/* It has been in this poll for as long as is reported. */
static void found(struct sk_stalls *stalls, struct sk_worker *worker, uint64_t tick, uint64_t now)
{
	if (!worker->poll.is_counted)
		sk_store(&stalls->count, sk_load(&stalls->count, SK_RELAXED) + 1, SK_RELAXED);
	worker->poll.is_counted = true;
	report(stalls, worker, tick, now);
}

/* What has been so far does not count. */
static void begin_anew(struct sk_long_poll *poll, uint64_t now)
{
	poll->since = now;
	poll->cpu_since = 0;
}

void sk_stall_look(struct sk_sched *sched, struct sk_worker *worker, uint64_t tick, uint64_t now)
{
	struct sk_stalls *stalls = &sched->stalls;

	if (stalls->limit == 0)
		return;
	if (tick != worker->monitor_tick || worker->poll.since == 0 ||
	    sk_idle_is_asleep(&sched->idle, worker->index)) {
		moved(stalls, worker, now);
		return;
	}
	if (sk_load(&worker->blocks, SK_RELAXED) != 0) {
		begin_anew(&worker->poll, now);
		return;
	}
	if (worker->poll.cpu_since == 0)
		begin_cpu_time(worker);
	if (now - worker->poll.since < stalls->limit || worker->poll.is_reported)
		return;
	if (is_between_polls(worker))
		begin_anew(&worker->poll, now);
	else
		found(stalls, worker, tick, now);
}

void sk_stalls_pause(struct sk_sched *sched)
{
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		sched->workers[i]->poll.since = 0;
}

void sk_stalls_look_came(struct sk_sched *sched, uint64_t elapsed)
{
	if (sched->stalls.limit == 0 || elapsed < sched->stalls.limit / 2 ||
	    elapsed <= 2 * SK_MONITOR_MS * (uint64_t)MS)
		return;
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		if (sched->workers[i]->poll.since != 0)
			begin_anew(&sched->workers[i]->poll,
				   sched->workers[i]->poll.since + elapsed);
}

void sk_stalls_stop(struct sk_stalls *stalls)
{
	bool started;

	sk_mutex_lock(&stalls->lock);
	stalls->stopped = true;
	started = stalls->started;
	stalls->started = false;
	sk_mutex_unlock(&stalls->lock);
	if (started)
		sk_thread_join(&stalls->thread);
}
