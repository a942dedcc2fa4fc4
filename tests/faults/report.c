/* report.c - what the run found: a line for each failure, and the summary. */
#include <stdio.h>
#include <string.h>

#include "run.h"

struct tally *tally_of(const struct job *job)
{
	int i = 0;

	while (scenarios[i] != job->scenario)
		i++;
	return &shared->tallies[i];
}

void report_death(const struct job *job, const struct fault *fault, const char *problem,
		  const char *lines)
{
	struct tally *tally = tally_of(job);
	char name[80] = "none", text[800];
	int number;

	if (fault != NULL)
		fault_format(fault, name, sizeof name);
	snprintf(text, sizeof text,
		 "FAILED %s: %s: %s\n  repeat: %s --scenario=%s --fault=%s --repeat=20\n"
		 "  (likely, not certain: an index counts the calls of all threads)\n",
		 job->name, name, problem, options.program, job->name + strlen("faults/"), name);
	shared->failures++;
	tally->failed++;
	if (!options.tap) {
		printf("%s%s%s", text, lines, lines[0] != '\0' ? "\n" : "");
		fflush(stdout);
		return;
	}
	number = shared->notes++;
	if (number >= MAX_NOTES)
		return;
	shared->note[number].scenario = (int)(tally - shared->tallies);
	snprintf(shared->note[number].text, sizeof shared->note[number].text, "%s%s", text, lines);
}

void report_left_out(const struct job *job, const struct fault *fault)
{
	report_failure(job, fault, "too many indexes have failed, the others are left out");
}

void report_failure(const struct job *job, const struct fault *fault, const char *problem)
{
	report_death(job, fault, problem, "");
}

void count_case(const struct job *job, const struct fault *fault)
{
	struct tally *tally = tally_of(job);

	if (fault_rules[fault->rule].call == CALL_memory)
		tally->memory_cases++;
	else
		tally->call_cases++;
	shared->rule_cases[fault->rule]++;
}

void report_outcome(const struct job *job, const struct fault *fault, const struct outcome *outcome)
{
	struct tally *tally = tally_of(job);

	shared->cases++;
	if (outcome->delivered > 0)
		count_case(job, fault);
	if (outcome->delivered > 0 && outcome->result == 0)
		tally->absorbed++;
	if (outcome->delivered > 0 && outcome->result < 0) {
		tally->errors++;
		if (-outcome->result < (int)sizeof tally->seen)
			tally->seen[-outcome->result] = 1;
	}
	shared->leaks += outcome->leak;
	shared->hangs += outcome->hang;
	if (outcome->problem[0] != '\0')
		report_failure(job, fault, outcome->problem);
}

/* ---- The summary ---- */

static void format_errors(const struct tally *tally, char *text, size_t size)
{
	size_t length = 0;

	text[0] = '\0';
	for (int i = 1; i < (int)sizeof tally->seen; i++)
		if (tally->seen[i] && length < size)
			length += (size_t)snprintf(text + length, size - length, " %s",
						   fault_error_name(i));
}

static bool is_whole(void)
{
	return options.filter_count == 0 && options.name_count == 0;
}

static int cases_of(const struct tally *tally)
{
	return tally->memory_cases + tally->call_cases;
}

/* What the whole run must have reached: each scenario and each rule. Returns how much it has not,
 * with a line for each unless `start` is NULL. */
static int check_floor(const char *start)
{
	int missing = 0;

	for (int i = 0; i < scenario_count && is_whole(); i++)
		if (cases_of(&shared->tallies[i]) == 0) {
			missing++;
			if (start != NULL)
				printf("%sin scenario %s nothing was made to fail\n", start,
				       scenarios[i]->name);
		}
	for (int i = 0; i < fault_rule_count && is_whole(); i++)
		if (shared->rule_cases[i] == 0) {
			struct fault fault = {i, 1, false};
			char name[64];

			missing++;
			fault_format(&fault, name, sizeof name);
			if (start != NULL)
				printf("%sin no scenario came %s\n", start, name);
		}
	return missing;
}

struct sums {
	int memory, calls, aborts;
};

static struct sums sum_up(void)
{
	struct sums sums = {0, 0, 0};

	for (int i = 0; i < scenario_count; i++) {
		sums.memory += shared->tallies[i].memory_cases;
		sums.calls += shared->tallies[i].call_cases;
		sums.aborts += shared->tallies[i].aborts;
	}
	return sums;
}

static bool print_table(const char *canary)
{
	struct sums sums = sum_up();
	int missing;

	printf("%-18s %8s %8s %9s %7s  %s\n", "scenario", "memory", "calls", "absorbed", "errors",
	       "which");
	for (int i = 0; i < scenario_count; i++) {
		const struct tally *tally = &shared->tallies[i];
		char errors[512];

		format_errors(tally, errors, sizeof errors);
		if (cases_of(tally) + tally->failed > 0)
			printf("%-18s %8d %8d %9d %7d %s\n", scenarios[i]->name,
			       tally->memory_cases, tally->call_cases, tally->absorbed,
			       tally->errors, errors);
	}
	missing = check_floor("FAILED ");
	if (canary != NULL)
		printf("FAILED canary: %s\n", canary);
	else
		printf("canary: each case that must fail has failed\n");
	if (sums.aborts > 0)
		printf("not among these: %d allocation failures after which libuv aborted, as the "
		       "library had said\n",
		       sums.aborts);
	if (shared->failures > 0)
		printf("%d of %d cases failed\n", shared->failures, shared->cases);
	printf("faults: %d allocation failures, %d system call failures, %d leaks, %d hangs\n",
	       sums.memory, sums.calls, shared->leaks, shared->hangs);
	return missing == 0;
}

/* As comments, line by line. */
static void print_notes(int scenario)
{
	for (int i = 0; i < shared->notes && i < MAX_NOTES; i++) {
		const char *line = shared->note[i].text;

		while (shared->note[i].scenario == scenario && *line != '\0') {
			int length = (int)strcspn(line, "\n");

			printf("# %.*s\n", length, line);
			line += length + (line[length] == '\n');
		}
	}
}

static bool print_tap(const char *canary)
{
	struct sums sums = sum_up();
	int number = 0, missing = 0;

	for (int i = 0; i < scenario_count; i++) {
		const struct tally *tally = &shared->tallies[i];

		if (cases_of(tally) + tally->failed == 0)
			continue;
		printf("%s %d - faults/%s\n", tally->failed == 0 ? "ok" : "not ok", ++number,
		       scenarios[i]->name);
		print_notes(i);
	}
	if (shared->notes > MAX_NOTES)
		printf("# %d more failures are not told\n", shared->notes - MAX_NOTES);
	printf("%s %d - faults/canary\n", canary == NULL ? "ok" : "not ok", ++number);
	if (canary != NULL)
		printf("# %s\n", canary);
	if (is_whole()) {
		/* The details of a result come below it, and this one has to be known before. */
		missing = check_floor(NULL);
		printf("%s %d - faults/floor\n", missing == 0 ? "ok" : "not ok", ++number);
		check_floor("# ");
	}
	printf("# faults: %d allocation failures, %d system call failures", sums.memory,
	       sums.calls);
	if (sums.aborts > 0)
		printf(", %d aborts of libuv that the library announced", sums.aborts);
	printf("%s\n1..%d\n", options.quick ? " (a fixed choice of indexes)" : "", number);
	return missing == 0;
}

bool print_summary(const char *canary)
{
	return options.tap ? print_tap(canary) : print_table(canary);
}
