/* main.c - skua-bench: runs workloads, and says how long an operation takes. See bench.h. With the
 * word `net` it is a server for others to measure. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../../examples/common.h"
#include "bench.h"

#define WARM_UP (50 * SKUA_MSEC)

enum { SAMPLES = 101 };

/* Of an operation: its time, CPU time and context switches; or what the workload measures. */
struct sample {
	double figures[FIGURES];
};

static const char *const units[FIGURES] = {"ns", "cpu_ns", "switches"};

struct result {
	const struct workload *workload;
	unsigned workers;
	int count;
	struct sample samples[SAMPLES];
};

static const struct workload *const families[] = {
	/* First: memory that others have freed would be used again. */
	engine_states,  engine_spawning, engine_waking, engine_fork_join,
	time_cancelled, time_live,       scope_tasks,   scope_select,
};

static const char *filter, *json;
static int64_t workers = OPTION_UNSET, samples = 5, min_ms = 50, iterations, list, quick;

void must(int64_t rc, const char *what)
{
	if (rc < 0)
		die(1, "%s: %s", what, error_text(rc));
}

void must_be(int64_t value, int64_t expected, const char *what)
{
	if (value != expected)
		die(1, "%s is %lld and should be %lld", what, (long long)value,
		    (long long)expected);
}

double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
	       ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

void pause_ms(long ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

static double switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_nvcsw + (double)usage.ru_nivcsw;
}

/* One iteration: how long it took. */
static uint64_t iterate(struct bench *bench, const struct workload *workload)
{
	bench->stop = 0;
	bench->start = skua_now();
	workload->iterate(bench, workload->argument);
	if (bench->stop == 0)
		bench->stop = skua_now();
	return bench->stop - bench->start;
}

static struct sample take_sample(struct bench *bench, const struct workload *workload)
{
	double cpu = cpu_ns(), switched = switches(), operations = 0;
	uint64_t spent = 0;
	int64_t done = 0;

	do {
		spent += iterate(bench, workload);
		operations += (double)workload->operations;
		done++;
	} while (iterations > 0 ? done < iterations : spent < (uint64_t)min_ms * SKUA_MSEC);
	return (struct sample){{
		(double)spent / operations,
		(cpu_ns() - cpu) / operations,
		(switches() - switched) / operations,
	}};
}

static void take_samples(struct bench *bench, struct result *result)
{
	const struct workload *workload = result->workload;
	uint64_t begin = skua_now();

	if (workload->measure != NULL) {
		do
			workload->measure(bench, workload->argument,
					  result->samples[result->count++].figures);
		while (!workload->once && result->count < samples);
		return;
	}
	do
		iterate(bench, workload);
	while (iterations == 0 && skua_now() - begin < WARM_UP);
	while (result->count < samples)
		result->samples[result->count++] = take_sample(bench, workload);
}

static void measure(const struct workload *workload, struct result *result)
{
	struct bench bench = {.quick = quick};
	skua_stats stats;

	bench.runtime = runtime_start(workload->workers != 0 ? workload->workers : workers);
	skua_runtime_stats(bench.runtime, &stats);
	bench.workers = (unsigned)stats.workers;
	result->workload = workload;
	result->workers = bench.workers;
	result->count = 0;
	if (workload->begin != NULL)
		workload->begin(&bench, workload->argument);
	take_samples(&bench, result);
	if (workload->end != NULL)
		workload->end(&bench, workload->argument);
	must(skua_runtime_free(bench.runtime), "skua_runtime_free");
}

/* ---- Saying it ---- */

static int by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

/* What the samples say of one figure, in order. */
static void sort(const struct result *result, int figure, double *sorted)
{
	for (int i = 0; i < result->count; i++)
		sorted[i] = result->samples[i].figures[figure];
	qsort(sorted, (size_t)result->count, sizeof sorted[0], by_value);
}

static void print_figure(const struct result *result, int figure)
{
	double sorted[SAMPLES];

	sort(result, figure, sorted);
	printf("%-32s %3u %12.1f %10.1f %10.1f", result->workload->name, result->workers,
	       sorted[result->count / 2], sorted[0], sorted[result->count - 1]);
}

/* A line, or one for each figure of a workload that has its own. */
static void print_row(const struct result *result)
{
	const char *const *own = result->workload->units;
	double cpu[SAMPLES], switched[SAMPLES];

	for (int i = 0; i < FIGURES && own[i] != NULL; i++) {
		print_figure(result, i);
		printf(" %s\n", own[i]);
	}
	if (own[0] != NULL)
		return;
	print_figure(result, 0);
	sort(result, 1, cpu);
	sort(result, 2, switched);
	printf(" %12.1f %10.4f\n", cpu[result->count / 2], switched[result->count / 2]);
}

static void print_samples(FILE *file, const struct result *result)
{
	const char *const *own = result->workload->units;
	const char *const *keys = own[0] != NULL ? own : units;

	for (int i = 0; i < result->count; i++) {
		fprintf(file, "%s{", i == 0 ? "" : ", ");
		for (int j = 0; j < FIGURES && keys[j] != NULL; j++)
			fprintf(file, "%s\"%s\": %.6f", j == 0 ? "" : ", ", keys[j],
				result->samples[i].figures[j]);
		fprintf(file, "}");
	}
}

static void print_json(FILE *file, const struct result *results, int count)
{
	double sorted[SAMPLES];

	fprintf(file,
		"{\"program\": \"skua\", \"version\": \"%s\", \"language\": \"C (%s)\", "
		"\"results\": [",
		skua_version_string(), __VERSION__);
	for (int i = 0; i < count; i++) {
		const struct result *result = &results[i];

		sort(result, 0, sorted);
		fprintf(file, "%s\n{\"name\": \"%s\", \"workers\": %u, ", i == 0 ? "" : ",",
			result->workload->name, result->workers);
		if (result->workload->units[0] == NULL)
			fprintf(file, "\"operations\": %llu, ",
				(unsigned long long)result->workload->operations);
		fprintf(file, "\"median\": %.2f, \"min\": %.2f, \"max\": %.2f, \"samples\": [",
			sorted[result->count / 2], sorted[0], sorted[result->count - 1]);
		print_samples(file, result);
		fprintf(file, "]}");
	}
	fprintf(file, "\n], \"skipped\": []}\n");
}

static void write_json(const struct result *results, int count)
{
	FILE *file = strcmp(json, "-") == 0 ? stdout : fopen(json, "w");

	if (file == NULL)
		die(1, "%s: %s", json, error_text(-errno));
	print_json(file, results, count);
	if ((file == stdout ? fflush(file) : fclose(file)) != 0)
		die(1, "%s: %s", json, error_text(-errno));
}

/* ---- The command line ---- */

static bool selected(const struct workload *workload, const char *family)
{
	if (family != NULL && (strncmp(workload->name, family, strlen(family)) != 0 ||
			       workload->name[strlen(family)] != '/'))
		return false;
	if (filter == NULL || strpbrk(filter, "*?[") == NULL)
		return filter == NULL || strstr(workload->name, filter) != NULL;
	return fnmatch(filter, workload->name, 0) == 0 ||
	       fnmatch(filter, strchr(workload->name, '/') + 1, 0) == 0;
}

static void progress(const char *name)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%-60s\r", name);
}

int main(int argc, char **argv)
{
	const struct option options[] = {
		OPTION_TEXT("--filter", "GLOB", &filter,
			    "only workloads whose name matches; without * ? [ a part will do"),
		WORKERS_OPTION(&workers),
		OPTION_NUMBER("--samples", "N", &samples, 1, SAMPLES, "samples of each (5)"),
		OPTION_NUMBER("--min-ms", "MS", &min_ms, 1, 60000,
			      "how long a sample takes at least (50)"),
		OPTION_NUMBER("--iterations", "N", &iterations, 0, 1000000,
			      "exactly so many in a sample, after one: to count instructions"),
		OPTION_TEXT("--json", "FILE", &json, "write the results there; - is stdout"),
		OPTION_FLAG("--quick", &quick, "shorter, where a workload has a length of its own"),
		OPTION_FLAG("--list", &list, "list the workloads"),
	};
	struct result *results;
	const char *family = NULL;
	int count = 0;

	if (argc > 1 && strcmp(argv[1], "net") == 0)
		return net_main(argc - 1, argv + 1);
	if (argc > 1 && argv[1][0] != '-') {
		family = argv[1];
		argv[1] = argv[0];
		argc--, argv++;
	}
	options_read(argc, argv,
		     "Measures Skua: skua-bench [FAMILY] [options]; families are engine, time and "
		     "scope. With the word net it is a server.",
		     options, sizeof options / sizeof options[0]);
	results = calloc(64, sizeof *results);
	if (results == NULL)
		die(1, "no memory");
	if (!list && json == NULL)
		printf("%-32s %3s %12s %10s %10s %12s %10s\n", "workload", "w", "ns/op", "min",
		       "max", "cpu ns/op", "switches");
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
		for (const struct workload *w = families[i]; w->name != NULL; w++) {
			if (!selected(w, family))
				continue;
			if (list) {
				printf("%s\n", w->name);
				continue;
			}
			progress(w->name);
			measure(w, &results[count]);
			progress("");
			if (json == NULL)
				print_row(&results[count]);
			fflush(stdout);
			count++;
		}
	if (!list && count == 0)
		die(2, "no workload matches; --list names them");
	if (json != NULL && !list)
		write_json(results, count);
	free(results);
	return 0;
}
