/* main.c - fault injection: what there is to do, and the command line; see faults.h. */
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "run.h"

struct shared *shared;
struct options options = {.children = 2, .repeat = 1};
struct job jobs[MAX_JOBS];
int job_count;
const struct scenario *scenarios[MAX_SCENARIOS];
int scenario_count;

/* ---- What there is to do ---- */

static bool is_wanted(const char *name)
{
	for (int i = 0; i < options.filter_count; i++) {
		const char *filter = options.filters[i];

		if (strpbrk(filter, "*?[") != NULL ? fnmatch(filter, name, 0) == 0
						   : strstr(name, filter) != NULL)
			return true;
	}
	return options.filter_count == 0;
}

static void add_job(const struct scenario *scenario, uint32_t backend, uint32_t workers)
{
	struct job *job = &jobs[job_count];

	job->scenario = scenario;
	job->backend = backend;
	job->workers = workers;
	snprintf(job->name, sizeof job->name, "faults/%s/%s/%u", scenario->name,
		 backend == SKUA_IO_BACKEND_EPOLL ? "epoll" : "uv", workers);
	if (!is_wanted(job->name))
		return;
	/* A sample: each scenario once, with one backend or the other. */
	if (options.quick && (scenario_count + (int)backend) % 2 != 0)
		return;
	if (job_count + 1 < MAX_JOBS)
		job_count++;
}

static void add_scenarios(const struct scenario *list, int count)
{
	for (int i = 0; i < count; i++) {
		bool one = (list[i].flags & SCENARIO_ONE) != 0;

		scenarios[scenario_count] = &list[i];
		for (uint32_t backend = SKUA_IO_BACKEND_EPOLL; backend <= SKUA_IO_BACKEND_UV;
		     backend++)
			for (uint32_t workers = one || !options.quick ? 1 : 2;
			     workers <= (one ? 1 : 2); workers++)
				add_job(&list[i], backend, workers);
		scenario_count++;
	}
}

/* ---- One case again ---- */

static int replay(void)
{
	struct fault fault;
	bool none = strcmp(options.fault, "none") == 0;
	int problems = 0;

	if (!none && !fault_parse(options.fault, &fault)) {
		fprintf(stderr, "faults: no such fault: %s\n", options.fault);
		return 2;
	}
	prepare_process();
	for (int turn = 0; turn < options.repeat; turn++)
		for (int i = 0; i < job_count; i++) {
			struct outcome outcome;

			warm_up(&jobs[i]);
			case_run(&jobs[i], none ? NULL : &fault, &outcome);
			printf("%s: delivered %d times, result %s, %s\n", jobs[i].name,
			       outcome.delivered,
			       outcome.result == 0 ? "0" : fault_error_name(-outcome.result),
			       outcome.problem[0] != '\0' ? outcome.problem : "all well");
			problems += outcome.problem[0] != '\0';
		}
	return problems > 0;
}

/* ---- The command line ---- */

static void usage(void)
{
	printf("usage: faults [OPTION]... [FILTER]...\n\n"
	       "  --filter=GLOB     only jobs whose name faults/SCENARIO/BACKEND/WORKERS matches\n"
	       "  --scenario=NAME   SCENARIO/BACKEND/WORKERS, for --fault\n"
	       "  --fault=FAULT     only this one, in this process: CALL:INDEX:ERROR:once|forgood\n"
	       "  --repeat=N        that N times\n"
	       "  --quick           a fixed sample\n"
	       "  --jobs=N          processes at a time (default 2)\n"
	       "  --list            the names of the jobs\n"
	       "  --tap             write TAP\n");
}

static void add_filter(const char *filter)
{
	if (options.filter_count < (int)(sizeof options.filters / sizeof *options.filters))
		options.filters[options.filter_count++] = filter;
}

static void parse_options(int argc, char **argv)
{
	static const struct option names[] = {
		{"filter", required_argument, NULL, 'f'},
		{"scenario", required_argument, NULL, 's'},
		{"fault", required_argument, NULL, 'x'},
		{"repeat", required_argument, NULL, 'r'},
		{"quick", no_argument, NULL, 'q'},
		{"jobs", required_argument, NULL, 'j'},
		{"list", no_argument, NULL, 'l'},
		{"tap", no_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	options.program = argv[0];
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (option) {
		case 'f':
		case 's':
			add_filter(optarg);
			break;
		case 'x':
			options.fault = optarg;
			break;
		case 'r':
			options.repeat = atoi(optarg);
			break;
		case 'q':
			options.quick = true;
			break;
		case 'j':
			options.children = atoi(optarg);
			break;
		case 'l':
			options.list = true;
			break;
		case 't':
			options.tap = true;
			break;
		case 'h':
			usage();
			exit(0);
		default:
			usage();
			exit(2);
		}
	/* As the other tests take them. */
	while (optind < argc)
		add_filter(argv[optind++]);
	if (options.children < 1 || options.children > MAX_CHILDREN)
		options.children = 2;
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	if (!calls_init())
		return 2;
	add_scenarios(scenarios_of_tasks, scenarios_of_tasks_count);
	add_scenarios(scenarios_of_tcp, scenarios_of_tcp_count);
	add_scenarios(scenarios_of_io, scenarios_of_io_count);
	if (options.list) {
		for (int i = 0; i < job_count; i++)
			printf("%s\n", jobs[i].name);
		return 0;
	}
	if (options.fault != NULL)
		return replay();
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED) {
		perror("faults: mmap");
		return 2;
	}
	if (options.tap)
		printf("TAP version 13\n");
#if defined(__clang__) && T_SANITIZED
	/* They would be replaced by the functions of calls.c. */
	printf("ok 1 - faults # SKIP clang links the interceptors of its sanitizers into the program\n"
	       "1..1\n");
	return 0;
#endif
	run_all();
	print_summary();
	return shared->failures > 0 || shared->leaks > 0 || shared->hangs > 0;
}
