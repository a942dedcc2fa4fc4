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
	char name[80] = "none", text[300];
	int number;

	if (fault != NULL)
		fault_format(fault, name, sizeof name);
	snprintf(text, sizeof text, "FAILED %s: %s: %s\n  repeat: %s --scenario=%s --fault=%s\n",
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

static void print_table(void)
{
	int memory = 0, calls = 0, aborts = 0;

	printf("%-18s %8s %8s %9s %7s  %s\n", "scenario", "memory", "calls", "absorbed", "errors",
	       "which");
	for (int i = 0; i < scenario_count; i++) {
		const struct tally *tally = &shared->tallies[i];
		char errors[512];

		format_errors(tally, errors, sizeof errors);
		memory += tally->memory_cases;
		calls += tally->call_cases;
		aborts += tally->aborts;
		if (tally->memory_cases + tally->call_cases + tally->failed > 0)
			printf("%-18s %8d %8d %9d %7d %s\n", scenarios[i]->name,
			       tally->memory_cases, tally->call_cases, tally->absorbed,
			       tally->errors, errors);
	}
	if (aborts > 0)
		printf("in %d of these libuv got no memory for its table of descriptors, and the "
		       "process ended with that message\n",
		       aborts);
	if (shared->failures > 0)
		printf("%d of %d cases failed\n", shared->failures, shared->cases);
	printf("faults: %d allocation failures, %d system call failures, %d leaks, %d hangs\n",
	       memory, calls, shared->leaks, shared->hangs);
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

static void print_tap(void)
{
	int number = 0, memory = 0, calls = 0;

	for (int i = 0; i < scenario_count; i++) {
		const struct tally *tally = &shared->tallies[i];

		memory += tally->memory_cases;
		calls += tally->call_cases;
		if (tally->memory_cases + tally->call_cases + tally->failed == 0)
			continue;
		printf("%s %d - faults/%s\n", tally->failed == 0 ? "ok" : "not ok", ++number,
		       scenarios[i]->name);
		print_notes(i);
	}
	printf("# a sample: %d allocation failures, %d system call failures\n1..%d\n", memory,
	       calls, number);
}

void print_summary(void)
{
	if (options.tap)
		print_tap();
	else
		print_table();
}
