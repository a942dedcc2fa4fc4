/*
 * main.c - generates the matrix, runs what is possible of it, and counts. TAP: one test for each
 * program of the task.
 */
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/cases.h"
#include "tests/harness.h"
#include "tests/lifecycle/lifecycle.h"

enum {
	SAMPLE = 4, /* one case of so many runs: the whole matrix takes a minute or more */
	SANITIZED_SAMPLE = 12,
	QUICK_SAMPLE = 40, /* with --quick */
};

static const char usage[] =
	"usage: lifecycle [OPTION]... [TEST]...\n"
	"\n"
	"Runs the lifecycle matrix of a task (docs/verification.md). TAP; the last line counts.\n"
	"TEST is a test's name, a part of it or a glob: by default all are run.\n"
	"\n"
	"  --case=TEXT     only cases whose name has this in it, and no sample of them\n"
	"  --sample=N      one of N cases, picked by their number\n"
	"  --all           every case\n"
	"  --list          print the names of the possible cases\n"
	"  --impossible    print the reasons against the others, and how many each is true of\n";

static struct {
	const char *text; /* only cases with this in their name */
	char **filters;   /* tests */
	int filter_count;
	unsigned sample;
	bool list, impossible;
	const char *program;
} options;

static struct {
	unsigned generated, impossible, left_out, run, failed, listed;
} counts;

static void add_repeat(const char *name)
{
	char line[600];

	snprintf(line, sizeof line, "  repeat: %s --case=%s", options.program, name);
	cases_note(line);
}

/* ---- Which cases ---- */

/* The rule of tests/harness.c: a glob matches the whole name, other text a part of it. */
static bool is_wanted(const char *test)
{
	bool found = options.filter_count == 0;

	for (int i = 0; i < options.filter_count && !found; i++) {
		const char *filter = options.filters[i];

		found = strpbrk(filter, "*?[") != NULL ? fnmatch(filter, test, 0) == 0
						       : strstr(test, filter) != NULL;
	}
	return found;
}

/* Spreads neighbours, which differ in one thing only, over all samples. */
static bool is_sampled(unsigned index)
{
	if (options.text != NULL)
		return strstr(cases_current, options.text) != NULL;
	return options.sample <= 1 ||
	       ((index * UINT64_C(0x9E3779B97F4A7C15)) >> 32) % options.sample == 0;
}

enum { MAX_REASONS = 32 };

static struct {
	const char *text;
	unsigned count;
} reasons[MAX_REASONS];

static void count_reason(const char *text)
{
	unsigned i = 0;

	while (reasons[i].text != NULL && strcmp(reasons[i].text, text) != 0)
		if (++i == MAX_REASONS)
			abort();
	reasons[i].text = text;
	reasons[i].count++;
}

/* ---- The runs ---- */

/* All cases of one program. Returns how many failed; adds how many ran. */
static unsigned run_program(unsigned first, unsigned count, unsigned *ran)
{
	unsigned failed = 0;

	for (unsigned i = first; i < first + count; i++) {
		struct life_case c = life_case_at(i);
		const char *reason = life_impossible(&c);

		counts.generated++;
		if (reason != NULL) {
			counts.impossible++;
			count_reason(reason);
			continue;
		}
		life_case_name(&c, cases_current, sizeof cases_current);
		if (!is_sampled(i)) {
			counts.left_out++;
			continue;
		}
		if (options.list) {
			puts(cases_current);
			counts.listed++;
			continue;
		}
		alarm(cases_seconds());
		if (life_run(&c) > 0) {
			failed++;
			add_repeat(cases_current);
		}
		++*ran;
	}
	alarm(0);
	cases_current[0] = '\0';
	return failed;
}

static void print_reasons(void)
{
	for (unsigned i = 0; i < MAX_REASONS && reasons[i].text != NULL; i++)
		printf("# %8u  %s\n", reasons[i].count, reasons[i].text);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_all(void)
{
	const unsigned each = LIFE_CASES / PROGRAMS;
	unsigned tests = 0;
	double start;

	life_on_note = cases_note;
	life_begin();
	for (unsigned i = 0; i < PROGRAMS; i++) {
		unsigned ran = 0, failed;
		char name[64];

		snprintf(name, sizeof name, "lifecycle/%s", life_program_name((enum program)i));
		if (!is_wanted(name))
			continue;
		start = now();
		failed = run_program(i * each, each, &ran);
		counts.run += ran;
		counts.failed += failed;
		if (ran == 0)
			continue;
		printf("%sok %u - %s\n", failed > 0 ? "not " : "", ++tests, name);
		cases_print_notes();
		printf("# %u cases, %u failed, %.1f s\n", ran, failed, now() - start);
		fflush(stdout);
	}
	life_finish();
	if (!options.list)
		printf("1..%u\n", tests);
}

static unsigned parse_sample(const char *text)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value == 0 ||
	    value > UINT_MAX) {
		fprintf(stderr, "lifecycle: --sample=%s: expected a number from 1\n", text);
		exit(2);
	}
	return (unsigned)value;
}

static void parse(int argc, char **argv)
{
	const char *quick = getenv("SKUA_TEST_QUICK");

	options.program = argv[0];
	options.sample = T_SANITIZED ? SANITIZED_SAMPLE : SAMPLE;
	if (quick != NULL && *quick == '1')
		options.sample = QUICK_SAMPLE;
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-') {
			options.filters = argv + i;
			options.filter_count = argc - i;
			break;
		}
		if (strncmp(argv[i], "--case=", 7) == 0) {
			options.text = argv[i] + 7;
		} else if (strncmp(argv[i], "--sample=", 9) == 0) {
			options.sample = parse_sample(argv[i] + 9);
		} else if (strcmp(argv[i], "--all") == 0) {
			options.sample = 1;
		} else if (strcmp(argv[i], "--list") == 0) {
			options.sample = 1;
			options.list = true;
		} else if (strcmp(argv[i], "--impossible") == 0) {
			options.impossible = true;
		} else {
			fputs(usage, strcmp(argv[i], "--help") == 0 ? stdout : stderr);
			exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
		}
	}
}

int main(int argc, char **argv)
{
	double start = now();

	parse(argc, argv);
	cases_watch("lifecycle");
	setvbuf(stdout, NULL, _IOLBF, 0);
	run_all();
	/* A filter of tests that is meant for other programs leaves nothing of this one. */
	if (counts.generated == 0 && options.text == NULL)
		return 0;
	if (counts.run + counts.listed == 0) {
		fprintf(stderr, "lifecycle: no case matches%s%s\n",
			options.text != NULL ? " --case=" : "",
			options.text != NULL ? options.text : "");
		return 2;
	}
	if (options.list)
		return 0;
	if (options.impossible)
		print_reasons();
	if (options.sample > 1 && options.text == NULL)
		printf("# lifecycle: one case of %u%s\n", options.sample,
		       options.sample == QUICK_SAMPLE ? " (a short run)"
		       : T_SANITIZED                  ? " (a sanitizer)"
						      : "");
	printf("# lifecycle: %u generated, %u impossible, %u not run, %.1f s\n", counts.generated,
	       counts.impossible, counts.left_out, now() - start);
	printf("# lifecycle: %u cases, %u impossible left out, %u failures\n", counts.run,
	       counts.impossible, counts.failed);
	return counts.failed > 0;
}
