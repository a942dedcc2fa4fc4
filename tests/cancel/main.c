/*
 * main.c - runs every scenario in every way at every await, and counts. TAP: one test for each
 * scenario on each kind of IO.
 */
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "runtime/runtime.h"
#include "tests/cancel/cancel.h"
#include "tests/cases.h"
#include "tests/harness.h"
#include "tests/io_kinds.h"
#include "tests/lifecycle/memory.h"

enum {
	NEVER_REACHED = 1 << 30,
	REPEATS = 4, /* more memory after each of so many runs is a leak, else a cache that grows */
};

static const char usage[] =
	"usage: cancel [OPTION]... [TEST]...\n"
	"\n"
	"Runs scenarios, and cancels each at every await in every way: docs/verification.md. TAP;\n"
	"the last line counts. TEST is a test's name, a part of it or a glob; by default all run.\n"
	"\n"
	"  --all        every way on each kind of IO, not only on the first one\n"
	"  --case=TEXT  only cases whose name, as it is printed with a failure, has this in it\n"
	"  --repeat=N   runs every case N times\n";

static struct {
	const char *text;
	char **filters;
	int filter_count, repeat;
	bool all;
	const char *program;
} options = {.repeat = 1};

static struct {
	unsigned tests, scenarios, awaits, cases, failures, leaks;
} counts;

/* ---- A case ---- */

/* Where cases are run: a scenario, a way, a runtime, which some ways free. */
struct place_of_cases {
	const struct scenario *scenario;
	const struct way *way;
	uint32_t kind, workers;
	skua_runtime *rt;
	int64_t memory; /* blocks, with the runtime and its caches */
	int descriptors;
};

/* Waits a little for what other threads give back a moment later. */
static int64_t more_memory(int64_t memory)
{
	for (unsigned turn = 0; turn < 100 && life_memory_alive() > memory; turn++)
		usleep(50);
	return life_memory_alive() - memory;
}

static int more_descriptors(int descriptors)
{
	for (unsigned turn = 0; turn < 2000 && trial_descriptors() > descriptors; turn++)
		usleep(50);
	return trial_descriptors() - descriptors;
}

static void run_once(struct place_of_cases *place, struct trial *trial, unsigned target, bool alone)
{
	memset(trial, 0, sizeof *trial);
	trial->scenario = place->scenario;
	trial->way = place->way;
	trial->kind = place->kind;
	trial->workers = place->workers;
	trial->target = target;
	trial->alone = alone;
	trial->rt = place->rt;
	trial_name(trial, cases_current, sizeof cases_current);
	alarm(cases_seconds());
	trial_run(trial);
	place->rt = trial->rt;
	if (life_memory_mistakes() > 0)
		trial_fail(trial, "a block was freed twice");
}

static void leak(struct trial *trial, const char *what, int64_t count)
{
	trial_fail(trial, "leak: %lld %s", (long long)count, what);
	counts.leaks++;
}

/* The runtime goes on: a cache of its may have grown, but not each time. */
static void look_for_leaks(struct place_of_cases *place, struct trial *trial)
{
	struct trial again;
	int64_t more = more_memory(place->memory);
	unsigned repeats = 0;

	while (more > 0 && repeats < REPEATS) {
		place->memory += more;
		run_once(place, &again, trial->target, trial->alone);
		more = more_memory(place->memory);
		repeats++;
	}
	if (more > 0)
		leak(trial, "blocks of memory in each run", more);
	if (more_descriptors(place->descriptors) > 0) {
		leak(trial, "descriptors", more_descriptors(place->descriptors));
		place->descriptors = trial_descriptors();
	}
}

static void open_runtime(struct place_of_cases *place, struct trial *trial)
{
	place->rt = trial_runtime(place->workers, place->kind);
	/* Caches fill. */
	for (unsigned i = 0; i < 2; i++)
		run_once(place, trial, NEVER_REACHED, false);
	place->memory = life_memory_alive();
	place->descriptors = trial_descriptors();
}

/* Returns whether it failed. */
static bool run_case(struct place_of_cases *place, unsigned target, bool alone)
{
	int64_t memory = life_memory_alive();
	int descriptors = trial_descriptors();
	bool frees = place->way->at_shutdown;
	struct trial trial;

	if (frees)
		place->rt = trial_runtime(place->workers, place->kind);
	run_once(place, &trial, target, alone);
	if (frees) {
		skua_runtime_free(place->rt);
		place->rt = NULL;
		if (more_memory(memory) != 0)
			leak(&trial, "blocks of memory", life_memory_alive() - memory);
		if (more_descriptors(descriptors) > 0)
			leak(&trial, "descriptors", trial_descriptors() - descriptors);
	} else {
		look_for_leaks(place, &trial);
	}
	counts.cases += trial.requests > 0;
	return trial.failures > 0;
}

static bool is_chosen(const struct place_of_cases *place, unsigned target, bool alone)
{
	struct trial trial = {.scenario = place->scenario,
			      .way = place->way,
			      .kind = place->kind,
			      .target = target,
			      .alone = alone};

	trial_name(&trial, cases_current, sizeof cases_current);
	return options.text == NULL || strstr(cases_current, options.text) != NULL;
}

/* A nudge besides, or nothing but the cancellation. */
static bool can_be_alone(const struct place_of_cases *place)
{
	return place->scenario->nudge != NULL && (place->scenario->flags & NEEDS_NUDGES) == 0 &&
	       place->way->around != SHIELD_AROUND && !place->way->races;
}

/* One way at every await. Returns how many cases failed. */
static unsigned run_way(struct place_of_cases *place, unsigned *awaits)
{
	int64_t memory = life_memory_alive();
	unsigned failed = 0;
	struct trial first;

	open_runtime(place, &first);
	failed += first.failures > 0;
	*awaits = first.awaits;
	if (place->way->at_shutdown) {
		trial_expect(&first, "skua_runtime_free", skua_runtime_free(place->rt), 0);
		place->rt = NULL;
	}
	for (unsigned target = place->way->from_the_start ? 0 : 1; target <= *awaits; target++)
		for (int alone = 0; alone <= can_be_alone(place); alone++)
			for (int i = 0; i < options.repeat && is_chosen(place, target, alone); i++)
				failed += run_case(place, target, alone);
	if (place->rt != NULL)
		trial_expect(&first, "skua_runtime_free", skua_runtime_free(place->rt), 0);
	if (more_memory(memory) != 0) {
		leak(&first, "blocks of memory after all", life_memory_alive() - memory);
		failed++;
	}
	return failed;
}

/* ---- The tests ---- */

static bool is_wanted(const char *test)
{
	bool found = options.filter_count == 0;

	/* The rule of tests/harness.c: a glob matches the whole name, other text a part of it. */
	for (int i = 0; i < options.filter_count && !found; i++) {
		const char *filter = options.filters[i];

		found = strpbrk(filter, "*?[") != NULL ? fnmatch(filter, test, 0) == 0
						       : strstr(test, filter) != NULL;
	}
	return found;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_test(const struct scenario *scenario, uint32_t kind)
{
	unsigned cases = counts.cases, failed = 0, awaits = 0;
	bool every_way = options.all || kind == IO_AUTO || kind == IO_EPOLL;
	double start = now();
	char name[100];

	snprintf(name, sizeof name, "cancel/%s/%s", scenario->name, io_name(kind));
	if (!is_wanted(name))
		return;
	for (unsigned i = 0; i < cancel_way_count; i++) {
		const struct way *way = &cancel_ways[i];
		struct place_of_cases place = {.scenario = scenario,
					       .way = way,
					       .kind = kind,
					       .workers = way->two_workers ? 2 : 1};
		unsigned count;

		if (!trial_is_possible(scenario, way) || (!every_way && !way->on_each_io))
			continue;
		failed += run_way(&place, &count);
		awaits = count > awaits ? count : awaits;
	}
	alarm(0);
	counts.awaits += awaits;
	counts.failures += failed;
	printf("%sok %u - %s\n", failed > 0 ? "not " : "", ++counts.tests, name);
	cases_print_notes();
	printf("# %u awaits, %u cases, %u failed, %.2f s\n", awaits, counts.cases - cases, failed,
	       now() - start);
	fflush(stdout);
}

static void run_list(const struct scenario *list)
{
	for (const struct scenario *scenario = list; scenario->name != NULL; scenario++) {
		unsigned tests = counts.tests;

		if ((scenario->flags & WITH_IO) == 0) {
			run_test(scenario, IO_AUTO);
		} else {
			run_test(scenario, IO_EPOLL);
			run_test(scenario, IO_DRIVER);
			run_test(scenario, IO_UV);
		}
		counts.scenarios += counts.tests > tests;
	}
}

static void parse(int argc, char **argv)
{
	options.program = argv[0];
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-') {
			options.filters = argv + i;
			options.filter_count = argc - i;
			break;
		}
		if (strncmp(argv[i], "--case=", 7) == 0) {
			options.text = argv[i] + 7;
		} else if (strcmp(argv[i], "--all") == 0) {
			options.all = true;
		} else if (strncmp(argv[i], "--repeat=", 9) == 0 && atoi(argv[i] + 9) > 0) {
			options.repeat = atoi(argv[i] + 9);
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
	cases_watch("cancel");
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	life_memory_begin();
	actor_start();
	run_list(scenarios_of_time);
	run_list(scenarios_of_tasks);
	run_list(scenarios_of_scopes);
	run_list(scenarios_of_compositions);
	run_list(scenarios_of_io);
	actor_stop();
	life_memory_end();
	printf("1..%u\n", counts.tests);
	/* A filter that is meant for other programs leaves nothing of this one. */
	if (counts.tests == 0)
		return 0;
	printf("# cancel: %.1f s\n", now() - start);
	printf("# cancel: %u scenarios, %u awaits, %u cases, %u failures, %u leaks\n",
	       counts.scenarios, counts.awaits, counts.cases, counts.failures, counts.leaks);
	return counts.failures + counts.leaks > 0;
}
