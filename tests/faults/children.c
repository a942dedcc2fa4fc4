/*
 * children.c - the processes in which cases run, many in each, so that a crash or a hang costs one
 * case and not the run.
 *
 * A child writes what it is about to do into memory that it shares with the parent. The parent
 * watches the clock, names the case of a child that died or had to be killed, and starts another one
 * behind it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

double case_limit(void)
{
	return CASE_SECONDS * case_slowness();
}

/* The first index from `index` on that is to be tried, or 0. */
static int selected(const struct fault_rule *rule, bool for_good, int index)
{
	int limit = rule->call == CALL_memory ? MEMORY_LIMIT
		    : for_good                ? CALLS_FOR_GOOD
					      : CALLS_ONCE;

	if (options.quick) {
		/* Of the sample: 1, 2, 3, 5, 8, ... */
		int a = 1, b = 2;

		if (rule->call != CALL_memory)
			limit = for_good ? 1 : 2;
		while (a < index) {
			int c = a + b;

			a = b;
			b = c;
		}
		index = a;
	}
	return index <= limit ? index : 0;
}

/* ---- A child ---- */

static void run_case(struct slot *slot, const struct job *job)
{
	const struct fault fault = slot->fault;
	struct outcome outcome;

	/* What a dead one is reported with is of its own case. */
	if (ftruncate(slot->report, 0) != 0 || lseek(slot->report, 0, SEEK_SET) != 0)
		perror("faults: report");
	slot->since = now_ns();
	case_run(job, &fault, &outcome);
	slot->since = 0;
	report_outcome(job, &fault, &outcome);
	slot->failed += outcome.problem[0] != '\0';
	slot->missed = outcome.delivered > 0 ? 0 : slot->missed + 1;
}

/* The most calls of each kind that a scenario makes in a few runs; -1 if unknown. */
static void take_census(struct slot *slot, const struct job *job, int *calls)
{
	bool fresh = (job->scenario->flags & SCENARIO_FRESH) != 0;

	for (int i = 0; i < fault_rule_count; i++)
		calls[i] = fresh ? -1 : 0;
	for (int run = 0; run < CENSUS_RUNS && !fresh; run++) {
		struct outcome outcome;

		slot->fault.rule = -1;
		slot->since = now_ns();
		case_run(job, NULL, &outcome);
		slot->since = 0;
		if (outcome.problem[0] != '\0')
			report_failure(job, NULL, outcome.problem);
		for (int i = 0; i < fault_rule_count; i++)
			if (fault_calls(&fault_rules[i]) > calls[i])
				calls[i] = fault_calls(&fault_rules[i]);
	}
}

/* Whether there is a next index of this rule and mode; `slot->fault` is set to it. */
static bool has_more(struct slot *slot, const struct job *job, int calls)
{
	const struct fault_rule *rule = &fault_rules[slot->fault.rule];
	/* One run may make fewer calls than another: the end is certain only beyond their number. */
	int patience = calls >= 0 && slot->fault.index > calls ? 1 : 3;
	int index;

	if (calls == 0 || (slot->fault.for_good && (rule->flags & RULE_ONCE) != 0) ||
	    slot->missed >= patience)
		return false;
	index = selected(rule, slot->fault.for_good, slot->fault.index);
	if (index == 0)
		return false;
	if (slot->failed >= MAX_FAILURES) {
		report_left_out(job, &slot->fault);
		return false;
	}
	slot->fault.index = index;
	return true;
}

static void next_row(struct slot *slot)
{
	slot->fault.rule += slot->fault.for_good;
	slot->fault.for_good = !slot->fault.for_good;
	slot->fault.index = 1;
	slot->failed = slot->missed = 0;
}

/* Goes on where the slot says; returns false if another process has to. */
static bool run_job(struct slot *slot, const struct job *job)
{
	bool fresh = (job->scenario->flags & SCENARIO_FRESH) != 0;
	struct fault start = slot->resumed ? slot->fault : (struct fault){0, 1, false};
	int calls[MAX_RULES];

	if (!slot->resumed)
		slot->failed = slot->missed = 0;
	take_census(slot, job, calls);
	slot->fault = start;
	while (slot->fault.rule < fault_rule_count) {
		if (!has_more(slot, job, calls[slot->fault.rule])) {
			next_row(slot);
			continue;
		}
		run_case(slot, job);
		slot->fault.index++;
		if (fresh)
			return false;
	}
	return true;
}

void warm_up(const struct job *job)
{
	skua_blocker *blocker;

	if ((job->scenario->flags & SCENARIO_FRESH) == 0 &&
	    skua_blocker_new(io_backend_of(job->io), &blocker) == 0)
		skua_blocker_free(blocker);
}

static void *no_thread(void *unused)
{
	return unused;
}

void prepare_process(void)
{
	pthread_t thread;

	/* With the first one ThreadSanitizer starts one of its own. */
	if (pthread_create(&thread, NULL, no_thread, NULL) == 0)
		pthread_join(thread, NULL);
	memory_init();
	/* For the pipes of the scenarios; the library's own threads block it. */
	signal(SIGPIPE, SIG_IGN);
}

static void child_main(struct slot *slot)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(slot->report, STDERR_FILENO);
	fault_count_into(&slot->delivered);
	prepare_process();
	for (;;) {
		const struct job *job;
		bool done;

		if (slot->job < 0) {
			slot->job = shared->next_job++;
			slot->resumed = false;
			slot->deaths = 0;
		}
		if (slot->job >= job_count)
			break;
		job = &jobs[slot->job];
		warm_up(job);
		done = run_job(slot, job);
		slot->resumed = !done;
		if (!done)
			exit(0);
		slot->job = -1;
	}
	slot->finished = true;
	exit(0);
}

/* ---- The parent ---- */

static void start_child(struct slot *slot)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child_main(slot);
	if (pid < 0) {
		perror("faults: fork");
		exit(2);
	}
	slot->pid = pid;
}

/* What it has written to standard error since the last time. */
static const char *take_report(struct slot *slot)
{
	static char text[4096];
	ssize_t n = pread(slot->report, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	if (ftruncate(slot->report, 0) != 0 || lseek(slot->report, 0, SEEK_SET) != 0)
		perror("faults: report");
	return text;
}

/* libuv before 1.51 has no other answer, and the library says so. */
static bool is_said_abort(const struct fault *fault, int status, const char *report)
{
	return fault_rules[fault->rule].call == CALL_memory && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGABRT &&
	       strstr(report, "no memory for libuv, most likely for its table of descriptors") !=
		       NULL;
}

/* A child is gone in the middle of a case. */
static void bury(struct slot *slot, int status, bool hung)
{
	const struct job *job = &jobs[slot->job];
	const char *report = take_report(slot);
	char problem[80];

	shared->cases++;
	if (slot->fault.rule < 0) {
		report_death(job, NULL, hung ? "no end" : "died", report);
		slot->job = -1;
		return;
	}
	shared->hangs += hung;
	slot->missed = 0;
	if (!hung && slot->delivered > 0 && is_said_abort(&slot->fault, status, report)) {
		tally_of(job)->aborts++;
		slot->fault.index++;
		slot->resumed = true;
		return;
	}
	if (slot->delivered > 0)
		count_case(job, &slot->fault);
	if (hung)
		snprintf(problem, sizeof problem, "no end after %g s", case_limit());
	else if (WIFSIGNALED(status))
		snprintf(problem, sizeof problem, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(problem, sizeof problem, "exit code %d", WEXITSTATUS(status));
	report_death(job, &slot->fault, problem, report);
	slot->fault.index++;
	slot->failed++;
	slot->resumed = true;
	if (++slot->deaths >= MAX_DEATHS) {
		report_failure(job, &slot->fault, "too many deaths, the rest is left out");
		slot->job = -1;
	}
}

static bool watch(struct slot *slot)
{
	uint64_t since = slot->since;
	bool hung = since != 0 && now_ns() - since > (uint64_t)(case_limit() * 1e9);
	int status = 0;

	if (slot->finished && slot->pid == 0)
		return false;
	if (hung)
		kill(slot->pid, SIGKILL);
	if (waitpid(slot->pid, &status, hung ? 0 : WNOHANG) == 0)
		return true;
	slot->pid = 0;
	if (slot->finished) {
		/* LeakSanitizer has the last word. */
		if (status != 0)
			report_death(&jobs[0], NULL, "a process ended badly", take_report(slot));
		return false;
	}
	if (hung || slot->since != 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		slot->since = 0;
		bury(slot, status, hung);
	}
	start_child(slot);
	return true;
}

void run_all(void)
{
	int running = options.children;

	for (int i = 0; i < options.children; i++) {
		shared->slots[i].job = -1;
		shared->slots[i].report = memfd_create("report", 0);
		start_child(&shared->slots[i]);
	}
	while (running > 0) {
		nanosleep(&(struct timespec){0, 2000000}, NULL);
		running = 0;
		for (int i = 0; i < options.children; i++)
			running += watch(&shared->slots[i]);
	}
}
