/*
 * case.c - one case: a scenario with one fault, and what has to hold afterwards.
 *
 * It ends, with success or with an error that the fault explains; bytes that arrived were the right
 * ones; a connection is served by the same runtime, or by a new one if there was none; everything
 * is given back: memory, descriptors, threads.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faults.h"

double case_slowness(void)
{
	const char *slow = getenv("SKUA_TEST_SLOW");
	double factor = slow != NULL ? atof(slow) : 1;

	return (factor > 1 ? factor : 1) * (T_SANITIZED ? 6 : 1);
}

/* ---- What is left ---- */

struct snapshot {
	int descriptors, threads;
	long blocks;
};

static int count_entries(const char *directory)
{
	DIR *dir = opendir(directory);
	int count = 0;

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static struct snapshot take_snapshot(void)
{
	return (struct snapshot){
		.descriptors = count_entries("/proc/self/fd"),
		.threads = count_entries("/proc/self/task"),
		.blocks = memory_alive(),
	};
}

__attribute__((format(printf, 2, 3))) static void complain(struct outcome *outcome,
							   const char *format, ...)
{
	va_list arguments;

	if (outcome->problem[0] != '\0')
		return;
	va_start(arguments, format);
	vsnprintf(outcome->problem, sizeof outcome->problem, format, arguments);
	va_end(arguments);
}

static void compare(const struct snapshot *before, bool fresh, struct outcome *outcome)
{
	struct snapshot after = take_snapshot();

	/* A thread that was joined may be listed for a moment longer: now, or when it was counted
	 * before, so fewer than that are none too few. */
	for (int i = 0; i < 2000 && after.threads > before->threads; i++) {
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		after = take_snapshot();
	}
	/* libuv keeps one pipe for the process. */
	if (fresh && after.descriptors == before->descriptors + 2)
		after.descriptors -= 2;
	outcome->leak = after.blocks != before->blocks || after.threads > before->threads ||
			after.descriptors != before->descriptors;
	if (outcome->leak)
		complain(outcome, "left behind: %ld blocks of memory, %d descriptors, %d threads",
			 after.blocks - before->blocks, after.descriptors - before->descriptors,
			 after.threads - before->threads);
}

/* ---- Whether an error is one that may come ---- */

/* A fault after which only a deadline ends the scenario. */
static bool is_endless_wait(const struct fault *fault)
{
	return fault != NULL && fault->for_good &&
	       (fault_rules[fault->rule].flags & RULE_WAITS) != 0;
}

static bool moves_data(enum fault_call call)
{
	return call == CALL_recv || call == CALL_send || call == CALL_sendmsg ||
	       call == CALL_shutdown;
}

static bool is_explained(const struct job *job, const struct fault *fault, int error)
{
	const struct fault_rule *rule = &fault_rules[fault->rule];

	if (is_endless_wait(fault) && error == ETIMEDOUT)
		return true;
	if ((rule->flags & RULE_ABSORBED) != 0)
		return false;
	if (error == rule->error)
		return true;
	/* skua_config_resolve says it in its own way. */
	if (rule->call == CALL_sched_getaffinity)
		return error == EINVAL && (job->scenario->flags & SCENARIO_CPUS) != 0;
	/* What the other side of a connection sees. */
	if ((job->scenario->flags & SCENARIO_PEER) == 0 || !moves_data(rule->call))
		return false;
	return error == ECONNRESET || error == EPIPE || error == ENOTCONN;
}

static void judge(const struct job *job, const struct fault *fault, struct outcome *outcome)
{
	int error = -outcome->result;

	if (error == 0)
		return;
	if (error > 0 && fault != NULL && outcome->delivered > 0 && is_explained(job, fault, error))
		return;
	/* It was given little time, for a wait that did not come. */
	if (error == ETIMEDOUT && is_endless_wait(fault))
		return;
	outcome->hang = error == ETIMEDOUT;
	if (outcome->delivered == 0)
		complain(outcome, "%s without any failure", fault_error_name(error));
	else if (outcome->hang)
		complain(outcome, "no end: it took longer than its deadline");
	else
		complain(outcome, "%s, which this failure does not explain",
			 fault_error_name(error));
}

/* ---- Runtimes ---- */

static int start_runtime(const struct job *job, skua_runtime **rt)
{
	skua_config config;
	char cpus[16];
	cpu_set_t set;

	skua_config_init(&config);
	config.workers = job->workers;
	/* One more worker in memory is enough to fail for. */
	config.spare_workers = 1;
	io_configure(&config, job->io);
	config.shutdown_ms = (uint32_t)(3000 * case_slowness());
	config.pinned = ENV_PINNED;
	if ((job->scenario->flags & SCENARIO_AUTO) != 0)
		config.workers = 0;
	if ((job->scenario->flags & SCENARIO_CPUS) != 0) {
		int cpu = 0;

		CPU_ZERO(&set);
		sched_getaffinity(0, sizeof set, &set);
		while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &set))
			cpu++;
		snprintf(cpus, sizeof cpus, "%d", cpu);
		config.cpus = cpus;
	}
	return skua_runtime_new(&config, rt);
}

static void end_runtime(skua_runtime *rt, struct outcome *outcome)
{
	int rc = skua_runtime_free(rt);

	if (rc != 0)
		complain(outcome, "skua_runtime_free: %s", fault_error_name(-rc));
}

/* Nothing fails any more: so a connection must be served. */
static void check_echo(struct env *env, struct outcome *outcome)
{
	int rc;

	env->patience = (uint64_t)((double)(2 * SKUA_SEC) * case_slowness());
	rc = echo_once(env);
	if (rc == 0)
		return;
	outcome->hang = outcome->hang || rc == -ETIMEDOUT;
	complain(outcome, "afterwards an echo failed: %s", fault_error_name(-rc));
}

static void check_new_runtime(const struct job *job, struct outcome *outcome)
{
	struct env env = {.io = job->io};
	int rc = start_runtime(job, &env.rt);

	if (rc < 0) {
		complain(outcome, "afterwards no runtime could be made: %s", fault_error_name(-rc));
		return;
	}
	check_echo(&env, outcome);
	end_runtime(env.rt, outcome);
}

/* ---- The case ---- */

static uint64_t patience_of(const struct fault *fault)
{
	uint64_t normal = is_endless_wait(fault) ? 20 * SKUA_MSEC : 2 * SKUA_SEC;

	return (uint64_t)((double)normal * case_slowness());
}

void case_run(const struct job *job, const struct fault *fault, struct outcome *outcome)
{
	const struct scenario *scenario = job->scenario;
	struct env env = {.io = job->io, .patience = patience_of(fault)};
	struct snapshot before = take_snapshot();
	bool ran = false, had_runtime;

	memset(outcome, 0, sizeof *outcome);
	fault_arm(fault);
	if ((scenario->flags & SCENARIO_STANDALONE) == 0)
		outcome->result = start_runtime(job, &env.rt);
	had_runtime = env.rt != NULL;
	if (outcome->result == 0) {
		outcome->result = scenario->run(&env);
		ran = true;
	}
	fault_pause();
	outcome->delivered = fault_delivered();
	judge(job, fault, outcome);
	if (had_runtime) {
		check_echo(&env, outcome);
		/* The end may meet the fault as well, but it cannot fail. */
		fault_resume();
		end_runtime(env.rt, outcome);
	}
	fault_disarm();
	if (fault_delivered() > outcome->delivered || (fault_delivered() > 0 && !had_runtime))
		check_new_runtime(job, outcome);
	outcome->delivered = fault_delivered();
	if (ran && scenario->finish != NULL)
		scenario->finish(&env);
	if (env.wrong != NULL)
		complain(outcome, "%s", env.wrong);
	compare(&before, (scenario->flags & SCENARIO_FRESH) != 0, outcome);
}
