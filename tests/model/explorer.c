/* explorer.c - the program: scenarios, modes, reports; see explorer.h. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <unistd.h>

#include "tests/model/jobs.h"
#include "tests/model/state.h"

static struct options {
	int preemptions, stale, spurious, pct;
	uint64_t random, limit, seed;
	unsigned jobs;
	const char *filter, *pattern, *replay;
	bool markdown, list, list_must_fail, trace, tap, report_must_fail;
} options = {.preemptions = 2, .stale = 2, .spurious = 1, .seed = 1};

static struct mc_scenario *scenarios;

void mc_register(struct mc_scenario *scenario)
{
	struct mc_scenario **last = &scenarios;

	while (*last != NULL)
		last = &(*last)->next;
	*last = scenario;
}

/* The choices from the first one on; 3*4 are four times a 3. */
static void print_token(void)
{
	unsigned last = mc->depth;

	/* What is left out at the end is 0. */
	while (last > 0 && mc->choices[last - 1].chosen == 0)
		last--;
	printf("%s/%s@%d,%d,%d:", mc->scenario->kernel, mc->scenario->name, mc->preemption_bound,
	       mc->stale_bound, mc->spurious_bound);
	for (unsigned i = 0, n; i < last; i += n) {
		unsigned chosen = mc->choices[i].chosen;

		for (n = 1; i + n < last && mc->choices[i + n].chosen == chosen; n++)
			;
		printf(n > 1 ? "%s%u*%u" : "%s%u", i == 0 ? "" : ".", chosen, n);
	}
}

static bool read_token(const char *text)
{
	unsigned n = 0;

	memset(mc->choices, 0, sizeof mc->choices);
	while (*text != '\0' && n < CHOICES) {
		unsigned chosen, times = 1;
		char *end;

		chosen = (unsigned)strtoul(text, &end, 10);
		if (end == text)
			return false;
		if (*end == '*')
			times = (unsigned)strtoul(end + 1, &end, 10);
		while (times-- > 0 && n < CHOICES)
			mc->choices[n++].chosen = (uint16_t)chosen;
		text = *end == '.' ? end + 1 : end;
	}
	mc->known = n;
	return true;
}

static void print_trace(void)
{
	unsigned from = mc->trace_count > TRACE ? mc->trace_count - TRACE : 0;

	for (unsigned i = from; i < mc->trace_count; i++) {
		const struct trace *trace = &mc->trace[i % TRACE];

		printf("  %*s[%d] %s", 4 * trace->thread, "", trace->thread, trace->what);
		if (trace->address != 0)
			printf(" %#lx = %#lx", (unsigned long)trace->address,
			       (unsigned long)trace->value);
		printf("  (explorer+%#lx)\n", mc_offset(trace->where));
	}
}

static unsigned deviations(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < mc->depth; i++)
		count += mc->choices[i].chosen != 0;
	return count;
}

/* What is wrong with the outcomes; what was not seen counts only if everything was tried. */
static const char *check_outcomes(bool complete)
{
	static char text[128];
	const int *expected = mc->scenario->outcomes;
	bool allowed[OUTCOMES] = {false};

	if (expected == NULL)
		return NULL;
	for (; *expected >= 0; expected++) {
		allowed[*expected] = true;
		if (complete && !mc->seen[*expected]) {
			snprintf(text, sizeof text, "the outcome %d is allowed and was never seen",
				 *expected);
			return text;
		}
	}
	for (int i = 0; i < OUTCOMES; i++)
		if (mc->seen[i] && !allowed[i]) {
			snprintf(text, sizeof text, "the outcome %d is forbidden and was seen", i);
			return text;
		}
	return NULL;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* What a scenario came to; shared by all processes. */
struct result {
	struct mc_scenario *scenario;
	uint64_t executions;
	bool wrong, incomplete;
	bool lower; /* searched within narrower bounds than was asked for */
	double seconds;
};

static struct result *results;
static unsigned result_count;

static int bound(int own, int general)
{
	if (mc->mode != SEARCH)
		return UNBOUNDED;
	return own < 0 ? 0 : own > 0 ? own : general;
}

static const char *margin(void)
{
	return options.tap ? "# " : "";
}

/* Makes the failure smaller and says how to repeat it. */
static void report(const char *verdict, struct mc_scenario *scenario)
{
	printf("%s%s %s/%s: %s\n", margin(), verdict, scenario->kernel, scenario->name,
	       mc->failure);
	printf("%s  found:  ", margin());
	print_token();
	printf(" (%u deviations)\n", deviations());
	mc->tracing = true;
	mc_shrink();
	printf("%s  replay: ", margin());
	print_token();
	printf(" (%u deviations)\n", deviations());
	printf("%s  then:   %s\n", margin(), mc->failure);
	if (options.trace)
		print_trace();
}

/* Runs executions until one fails or there are no more. Returns whether everything was tried. */
static bool run_executions(void)
{
	for (;;) {
		mc_execute();
		if (mc->executions++ % CHECK_EVERY == 0 && !mc->failed)
			mc_check_deterministic();
		if (mc->failed)
			return false;
		if (mc->mode != SEARCH) {
			mc->known = 0;
			if (mc->executions >= options.random)
				return false;
		} else if (!mc_advance()) {
			return true;
		} else if (options.limit > 0 && mc->executions >= options.limit) {
			return false;
		}
	}
}

static const char *mode_name(void)
{
	static char text[64];

	if (mc->mode == SEARCH)
		snprintf(text, sizeof text, "search %d %d %d", mc->preemption_bound,
			 mc->stale_bound, mc->spurious_bound);
	else if (mc->mode == RANDOM)
		snprintf(text, sizeof text, "seed %lu", (unsigned long)options.seed);
	else
		snprintf(text, sizeof text, "pct %d, seed %lu", options.pct,
			 (unsigned long)options.seed);
	return text;
}

/* What is wrong with a run, or NULL. That something was not found in a part of all executions is not
 * a fault. With which words something fails depends on which order of the threads came first. */
static const char *judge(const struct mc_scenario *scenario, bool complete, bool *fails)
{
	static char text[sizeof mc->failure + 64];
	const char *found = mc->failed ? mc->failure : check_outcomes(complete);

	*fails = found != NULL;
	if (!scenario->must_fail)
		return found;
	if (found == NULL)
		return complete ? "does not fail" : NULL;
	if (mc->mode == SEARCH && scenario->expect != NULL &&
	    strstr(found, scenario->expect) == NULL) {
		snprintf(text, sizeof text, "fails, but not with '%s': %s", scenario->expect,
			 found);
		return text;
	}
	return NULL;
}

static void print_result(unsigned i, const char *verdict)
{
	const struct result *result = &results[i];
	const struct mc_scenario *scenario = result->scenario;
	unsigned long executions = (unsigned long)result->executions;

	if (options.tap)
		printf("%s %u - %s/%s\n", result->wrong ? "not ok" : "ok", i + 1, scenario->kernel,
		       scenario->name);
	if (options.markdown)
		printf("| %s | `%s` | %s | %lu | %s |\n", scenario->kernel, scenario->name,
		       mode_name(), executions, verdict);
	else
		printf("%s%-12s %-44s %-13s %10lu %s %6.2fs\n", margin(), scenario->kernel,
		       scenario->name, mode_name(), executions, verdict, result->seconds);
}

/* Whether everything was tried. */
static bool try(struct mc_scenario *scenario, enum mode mode)
{
	memset(mc->seen, 0, sizeof mc->seen);
	mc->scenario = scenario;
	mc->executions = 0;
	mc->known = mc->depth = 0;
	mc->tracing = false;
	mc->longest = 1;
	mc->mode = mode;
	mc->preemption_bound = bound(scenario->preemptions, options.preemptions);
	mc->stale_bound = bound(scenario->stale, options.stale);
	mc->spurious_bound = bound(scenario->spurious, options.spurious);
	mc->priority_changes = options.pct;
	mc->random = options.seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
	return run_executions();
}

/* The canary: a race that must be found in every run, whatever else it is about. */
static bool canary_is_found(void)
{
	struct mc_scenario *canary = scenarios;
	bool fails;

	while (canary != NULL && strcmp(canary->name, "canary_a_race_is_found") != 0)
		canary = canary->next;
	return canary != NULL && judge(canary, try(canary, SEARCH), &fails) == NULL && fails;
}

static void run_scenario(unsigned i)
{
	struct result *result = &results[i];
	struct mc_scenario *scenario = result->scenario;
	double begin = seconds();
	enum mode mode = options.pct > 0 ? PCT : options.random > 0 ? RANDOM : SEARCH;
	bool complete = try(scenario, mode), fails;
	const char *wrong;

	wrong = judge(scenario, complete, &fails);
	result->executions = mc->executions;
	result->incomplete = !complete && !mc->failed;
	result->wrong = wrong != NULL;
	result->lower = mc->mode == SEARCH && (mc->preemption_bound < options.preemptions ||
					       mc->stale_bound < options.stale);
	result->seconds = seconds() - begin;
	print_result(i, wrong != NULL ? "WRONG"
			: fails       ? "fails as it must"
			: complete    ? "complete"
				      : "not complete");
	if (wrong != NULL)
		printf("%s  %s\n", margin(), wrong);
	if (mc->failed && (wrong != NULL || options.report_must_fail))
		report(wrong != NULL ? "FAILED" : "FOUND", scenario);
	else if (wrong != NULL)
		printf("%sFAILED %s/%s: %s\n", margin(), scenario->kernel, scenario->name, wrong);
}

static int replay(const char *text)
{
	const char *at = strchr(text, '@'), *colon = strchr(text, ':');
	int length = 0;

	for (struct mc_scenario *s = scenarios; s != NULL && at != NULL && colon != NULL;
	     s = s->next) {
		char name[256];

		snprintf(name, sizeof name, "%s/%s", s->kernel, s->name);
		if (strlen(name) != (size_t)(at - text) || strncmp(name, text, strlen(name)) != 0)
			continue;
		mc->scenario = s;
		mc->mode = REPLAY;
		mc->tracing = true;
		if (sscanf(at, "@%d,%d,%d:%n", &mc->preemption_bound, &mc->stale_bound,
			   &mc->spurious_bound, &length) != 3 ||
		    at + length != colon + 1 || !read_token(colon + 1))
			break;
		mc_execute();
		print_trace();
		printf("%s: %s\n", name, mc->failed ? mc->failure : "does not fail");
		return mc->failed ? 1 : 0;
	}
	fprintf(stderr,
		"explorer: '%s' is not KERNEL/SCENARIO@BOUND,BOUND,BOUND:CHOICE.CHOICE...\n", text);
	return 2;
}

static const char help[] =
	"usage: explorer [options] [PATTERN]\n"
	"  PATTERN          only scenarios whose KERNEL/NAME matches, such as 'deque/*'\n"
	"  --preemptions N  bound for each execution (2)\n"
	"  --stale N        loads that do not read the newest store (2)\n"
	"  --spurious N     compare-and-exchanges and waits that fail for no reason (1)\n"
	"  --full           a search with 3 preemptions: takes long\n"
	"  --jobs N         scenarios at a time (as many as there are processors)\n"
	"  --markdown       print the results as rows of a table\n"
	"  --filter TEXT    only scenarios with this in KERNEL/NAME\n"
	"  --random N       N random executions of each scenario, without bounds, instead of a search\n"
	"  --pct D          the same by priorities that change D - 1 times; 1000 without --random\n"
	"  --seed N         for --random and --pct (1)\n"
	"  --limit N        stop a search after N executions\n"
	"  --report-must-fail  say how those failed that must, and how to replay it\n"
	"  --trace          print the steps of a failing execution\n"
	"  --replay TOKEN   run one execution, as printed by a failure\n"
	"  --tap            report in the Test Anything Protocol\n"
	"  --list           list the scenarios\n"
	"  --list-must-fail list those that must fail\n";

static uint64_t number(const char *option, const char *text)
{
	char *end;
	unsigned long long value = text != NULL ? strtoull(text, &end, 10) : 0;

	if (text == NULL || end == text || *end != '\0') {
		fprintf(stderr, "explorer: %s wants a number\n", option);
		exit(2);
	}
	return value;
}

static void read_options(char **argv)
{
	while (*++argv != NULL) {
		const char *option = *argv;

		if (strcmp(option, "--help") == 0) {
			fputs(help, stdout);
			exit(0);
		} else if (strcmp(option, "--list") == 0) {
			options.list = true;
		} else if (strcmp(option, "--list-must-fail") == 0) {
			options.list = options.list_must_fail = true;
		} else if (strcmp(option, "--tap") == 0) {
			options.tap = true;
		} else if (strcmp(option, "--trace") == 0) {
			options.trace = true;
		} else if (strcmp(option, "--preemptions") == 0) {
			options.preemptions = (int)number(option, *++argv);
		} else if (strcmp(option, "--full") == 0) {
			options.preemptions = 3;
		} else if (strcmp(option, "--jobs") == 0) {
			options.jobs = (unsigned)number(option, *++argv);
		} else if (strcmp(option, "--markdown") == 0) {
			options.markdown = true;
		} else if (strcmp(option, "--stale") == 0) {
			options.stale = (int)number(option, *++argv);
		} else if (strcmp(option, "--spurious") == 0) {
			options.spurious = (int)number(option, *++argv);
		} else if (strcmp(option, "--random") == 0) {
			options.random = number(option, *++argv);
		} else if (strcmp(option, "--pct") == 0) {
			options.pct = (int)number(option, *++argv);
		} else if (strcmp(option, "--report-must-fail") == 0) {
			options.report_must_fail = true;
		} else if (strcmp(option, "--seed") == 0) {
			options.seed = number(option, *++argv);
		} else if (strcmp(option, "--limit") == 0) {
			options.limit = number(option, *++argv);
		} else if (strcmp(option, "--filter") == 0 && argv[1] != NULL) {
			options.filter = *++argv;
		} else if (strcmp(option, "--replay") == 0 && argv[1] != NULL) {
			options.replay = *++argv;
		} else if (option[0] != '-') {
			options.pattern = option;
		} else {
			fprintf(stderr, "explorer: unknown or incomplete option %s\n%s", option,
				help);
			exit(2);
		}
	}
}

static bool selected(const struct mc_scenario *scenario)
{
	char name[256];

	snprintf(name, sizeof name, "%s/%s", scenario->kernel, scenario->name);
	if (options.pattern != NULL && fnmatch(options.pattern, name, 0) != 0)
		return false;
	return options.filter == NULL || strstr(name, options.filter) != NULL;
}

/* The closing line. Returns the exit code. */
static int sum_up(void)
{
	unsigned kernels = 0, failures = 0, incomplete = 0, own = 0;
	uint64_t executions = 0;

	for (unsigned i = 0; i < result_count; i++) {
		unsigned j = 0;

		while (strcmp(results[j].scenario->kernel, results[i].scenario->kernel) != 0)
			j++;
		kernels += j == i;
		failures += results[i].wrong;
		incomplete += results[i].incomplete || results[i].wrong;
		executions += results[i].executions;
		own += results[i].lower;
	}
	if (options.tap)
		printf("1..%u\n", result_count);
	if (own > 0)
		printf("%s%u scenarios have lower bounds of their own than was asked for, as shown\n",
		       margin(), own);
	printf("%s", margin());
	printf("model: %u kernels, %u scenarios, %lu executions, %u failures, %s\n", kernels,
	       result_count, (unsigned long)executions, failures,
	       incomplete > 0 || result_count == 0 ? "not all complete" : "all complete");
	/* A test run may be about something else. */
	return failures > 0 || (result_count == 0 && !options.tap);
}

int main(int argc, char **argv)
{
	unsigned count = 0, dead;

	(void)argc;
	read_options(argv);
	if (options.pct > DEPTH) {
		fprintf(stderr, "explorer: --pct goes up to %d\n", DEPTH);
		return 2;
	}
	if (options.pct > 0 && options.random == 0)
		options.random = 1000;
	if (options.jobs == 0)
		options.jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	for (struct mc_scenario *s = scenarios; s != NULL; s = s->next)
		count++;
	results = mc_shared((count + 1) * sizeof *results);
	for (struct mc_scenario *s = scenarios; s != NULL && options.replay == NULL; s = s->next) {
		if (!selected(s))
			continue;
		if (!options.list)
			results[result_count++].scenario = s;
		else if (s->must_fail || !options.list_must_fail)
			printf("%s/%s\n", s->kernel, s->name);
	}
	if (options.list)
		return 0;
	mc_set_up();
	if (options.replay != NULL)
		return replay(options.replay);
	if (!canary_is_found()) {
		fprintf(stderr,
			"explorer: the canary, a race, was not found: this run says nothing\n");
		return 2;
	}
	dead = mc_jobs(options.jobs, result_count, run_scenario);
	if (dead > 0) {
		fprintf(stderr, "explorer: %u scenarios were not run: their process has died\n",
			dead);
		return 2;
	}
	return sum_up();
}
