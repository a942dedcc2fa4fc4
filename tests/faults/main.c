/* main.c - fault injection: what there is to do, and the command line; see faults.h. */
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "run.h"

struct shared *shared;
struct options options = {.children = 2, .repeat = 1};
struct job jobs[MAX_JOBS];
int job_count;
const struct scenario *scenarios[MAX_SCENARIOS];
int scenario_count;

/* ---- What there is to do ---- */

__attribute__((noreturn)) static void refuse(const char *what, const char *which)
{
	fprintf(stderr, "faults: %s%s\n", what, which);
	exit(2);
}

/* For a table that has become too small. */
__attribute__((noreturn)) static void overflow(const char *limit)
{
	fprintf(stderr, "faults: %s is too small\n", limit);
	abort();
}

static bool is_wanted(const char *name)
{
	for (int i = 0; i < options.name_count; i++)
		if (strcmp(name + strlen("faults/"), options.names[i]) == 0)
			return true;
	for (int i = 0; i < options.filter_count; i++) {
		const char *filter = options.filters[i];

		if (strpbrk(filter, "*?[") != NULL ? fnmatch(filter, name, 0) == 0
						   : strstr(name, filter) != NULL)
			return true;
	}
	return options.filter_count == 0 && options.name_count == 0;
}

static void add_job(const struct scenario *scenario, uint32_t io, uint32_t workers)
{
	struct job job = {.scenario = scenario, .io = io, .workers = workers};

	snprintf(job.name, sizeof job.name, "faults/%s/%s/%u", scenario->name, io_name(io),
		 workers);
	if (!is_wanted(job.name))
		return;
	/* A sample: each scenario once, with one kind of IO. */
	if (options.quick && (uint32_t)scenario_count % (IO_KINDS - IO_EPOLL) + IO_EPOLL != io)
		return;
	if (job_count == MAX_JOBS)
		overflow("MAX_JOBS");
	jobs[job_count++] = job;
}

static void add_scenarios(const struct scenario *list, int count)
{
	for (int i = 0; i < count; i++) {
		bool one = (list[i].flags & SCENARIO_ONE) != 0;

		if (scenario_count == MAX_SCENARIOS)
			overflow("MAX_SCENARIOS");
		scenarios[scenario_count] = &list[i];
		for (uint32_t io = IO_EPOLL; io < IO_KINDS; io++)
			for (uint32_t workers = one || !options.quick ? 1 : 2;
			     workers <= (one ? 1 : 2); workers++)
				add_job(&list[i], io, workers);
		scenario_count++;
	}
}

/* ---- One case again ---- */

static void on_alarm(int signal)
{
	static const char text[] = "faults: the case has not ended in its time\n";

	(void)signal;
	(void)!write(STDERR_FILENO, text, sizeof text - 1);
	_exit(1);
}

static int replay(void)
{
	struct fault fault;
	bool none = strcmp(options.fault, "none") == 0;
	int problems = 0, delivered = 0;

	if (!none && !fault_parse(options.fault, &fault))
		refuse("no such fault: ", options.fault);
	signal(SIGALRM, on_alarm);
	prepare_process();
	for (int turn = 0; turn < options.repeat; turn++)
		for (int i = 0; i < job_count; i++) {
			struct outcome outcome;

			warm_up(&jobs[i]);
			alarm((unsigned)case_limit() + 1);
			case_run(&jobs[i], none ? NULL : &fault, &outcome);
			alarm(0);
			printf("%s: delivered %d times, result %s, %s\n", jobs[i].name,
			       outcome.delivered,
			       outcome.result == 0 ? "0" : fault_error_name(-outcome.result),
			       outcome.problem[0] != '\0' ? outcome.problem : "all well");
			fflush(stdout);
			problems += outcome.problem[0] != '\0';
			delivered += outcome.delivered > 0;
		}
	if (!none && delivered == 0)
		fprintf(stderr, "faults: nothing was made to fail: there are fewer such calls\n");
	return problems > 0 || (!none && delivered == 0);
}

/* ---- The command line ---- */

static void usage(void)
{
	printf("usage: faults [OPTION]... [FILTER]...\n\n"
	       "  --filter=GLOB     only jobs whose name faults/SCENARIO/BACKEND/WORKERS matches\n"
	       "  --scenario=NAME   the job that is called exactly SCENARIO/BACKEND/WORKERS\n"
	       "  --fault=FAULT     only this one, in this process: CALL:INDEX:ERROR:once|forgood,\n"
	       "                    or none; an index counts the calls of all threads, so a case\n"
	       "                    comes again likely, not certainly\n"
	       "  --repeat=N        that N times\n"
	       "  --quick           a fixed sample\n"
	       "  --jobs=N          processes at a time, 1 to 8 (default 2)\n"
	       "  --list            the names of the jobs\n"
	       "  --tap             write TAP\n");
}

static void add_filter(const char *filter)
{
	if (options.filter_count == sizeof options.filters / sizeof *options.filters)
		refuse("too many filters: ", filter);
	options.filters[options.filter_count++] = filter;
}

static void add_name(const char *name)
{
	if (options.name_count == sizeof options.names / sizeof *options.names)
		refuse("too many scenarios: ", name);
	options.names[options.name_count++] = name;
}

static int number_of(const char *text, unsigned long most)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < 1 || number > most)
		refuse("no number, or none that is accepted: ", text);
	return (int)number;
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
			add_filter(optarg);
			break;
		case 's':
			add_name(optarg);
			break;
		case 'x':
			options.fault = optarg;
			break;
		case 'r':
			options.repeat = number_of(optarg, 1000000);
			break;
		case 'q':
			options.quick = true;
			break;
		case 'j':
			options.children = number_of(optarg, MAX_CHILDREN);
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
	/* As the other tests take them: the suite gives its filter to each. */
	options.by_position = options.filter_count + options.name_count == 0 && optind < argc;
	while (optind < argc)
		add_filter(argv[optind++]);
}

int main(int argc, char **argv)
{
	const char *canary;

	parse_options(argc, argv);
	if (!calls_init())
		return 2;
	if (fault_rule_count > MAX_RULES)
		overflow("MAX_RULES");
	add_scenarios(scenarios_of_tasks, scenarios_of_tasks_count);
	add_scenarios(scenarios_of_tcp, scenarios_of_tcp_count);
	add_scenarios(scenarios_of_io, scenarios_of_io_count);
	if (job_count == 0 && options.tap && options.by_position) {
		printf("TAP version 13\n1..0\n");
		return 0;
	}
	if (job_count == 0)
		refuse("no job has such a name: --list shows them", "");
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
	canary = run_canaries();
	run_all();
	if (!print_summary(canary))
		return 1;
	return canary != NULL || shared->failures > 0 || shared->leaks > 0 || shared->hangs > 0;
}
