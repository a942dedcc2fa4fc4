/* run.h - what the parts of the program share: the jobs, the options, the tallies. */
#ifndef SKUA_TESTS_FAULTS_RUN_H
#define SKUA_TESTS_FAULTS_RUN_H

#include <stdatomic.h>
#include <sys/types.h>

#include "faults.h"

enum {
	MAX_JOBS = 256,
	MAX_CHILDREN = 8,
	MAX_SCENARIOS = 64,
	MAX_RULES = 256,
	MAX_NOTES = 64,      /* of failures, in TAP */
	MAX_DEATHS = 12,     /* of one job, before the rest of it is left out */
	MAX_FAILURES = 4,    /* of one rule and mode in one job, before its other indexes are */
	CALLS_ONCE = 24,     /* so many calls of one kind are made to fail, */
	CALLS_FOR_GOOD = 10, /* one at a time, or from there on */
	MEMORY_LIMIT = 2000,
	CENSUS_RUNS = 3, /* without any failure, before a job */
	CASE_SECONDS = 5,
};

/* What a child is doing. */
struct slot {
	pid_t pid;
	int job; /* -1: it may take the next one */
	struct fault fault;
	int failed, missed; /* indexes of this rule and mode: in all, and in vain at the end */
	bool resumed, finished;
	int deaths, report;     /* its standard error */
	atomic_int delivered;   /* in the case that runs */
	_Atomic uint64_t since; /* in ns; 0: between two cases */
};

/* In TAP what failed is told below the result. */
struct note {
	int scenario;
	char text[1200];
};

struct tally {
	atomic_int memory_cases, call_cases, absorbed, errors, aborts, failed;
	atomic_uchar seen[160]; /* errors that came out */
};

struct shared {
	atomic_int next_job, leaks, hangs, failures, cases, notes;
	struct slot slots[MAX_CHILDREN];
	struct tally tallies[MAX_SCENARIOS];
	atomic_int rule_cases[MAX_RULES]; /* in which it was delivered */
	struct note note[MAX_NOTES];
};

struct options {
	const char *program, *fault;
	const char *filters[16], *names[16]; /* of jobs: parts or globs of them, and exact ones */
	int filter_count, name_count, children, repeat;
	bool by_position; /* only filters that are no options, as the suite gives them */
	bool tap, quick, list;
};

extern struct shared *shared; /* by all processes of the run */
extern struct options options;
extern struct job jobs[MAX_JOBS];
extern int job_count;
extern const struct scenario *scenarios[MAX_SCENARIOS];
extern int scenario_count;

/* ---- children.c ---- */

/* Before anything of the library is used in a process. */
void prepare_process(void);
/* Has libuv open its pipe for the process, so that it does not count as left behind. */
void warm_up(const struct job *job);
/* Runs all jobs with all their faults. */
void run_all(void);

/* Seconds after which a case is ended. */
double case_limit(void);

/* ---- canary.c ---- */

/* Cases that must be found to fail. A message that says which was not, or NULL. */
const char *run_canaries(void);

/* ---- report.c ---- */

struct tally *tally_of(const struct job *job);
/* One line for what went wrong, one that says how to repeat it. */
void report_failure(const struct job *job, const struct fault *fault, const char *problem);
void report_outcome(const struct job *job, const struct fault *fault,
		    const struct outcome *outcome);
/* Too much has failed for the other indexes to be tried. */
void report_left_out(const struct job *job, const struct fault *fault);
/* A case in which a fault was delivered; not that libuv aborted over it. */
void count_case(const struct job *job, const struct fault *fault);
/* The same with lines from elsewhere below it. */
void report_death(const struct job *job, const struct fault *fault, const char *problem,
		  const char *lines);
/* The whole at the end: a table, or TAP. Returns whether all is well. */
bool print_summary(const char *canary);

#endif /* SKUA_TESTS_FAULTS_RUN_H */
