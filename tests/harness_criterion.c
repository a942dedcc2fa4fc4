/*
 * tests/harness_criterion.c - runs the tests with Criterion: its timeouts, its arguments and its
 * TAP are made to be those of the plain backend.
 */
#include "harness_backend.h"

#include <criterion/options.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <criterion/internal/ordered-set.h>

/* ---- A test ---- */

static int ended; /* the test has returned, or has skipped itself */

void t_end_as_failed_(void)
{
	abort(); /* the only end that Criterion counts as a failure from every thread */
}

/* Criterion takes exit(0) in the middle of a test for its end. */
static void check_end(void)
{
	if (!ended) {
		fprintf(stderr, "the test ended early\n");
		t_end_as_failed_();
	}
}

/*
 * Criterion's timeout is a signal, which a test may have blocked. This thread ends such a test, at
 * least a second later. It is started before the threads are counted.
 */
static time_t watchdog_seconds;

static void *end_when_time_is_up(void *unused)
{
	struct timespec left = {watchdog_seconds, 0};

	while (nanosleep(&left, &left) != 0)
		;
	t_fail_(__FILE__, __LINE__, "timed out");
	return unused;
}

void t_begin_test_(double seconds)
{
	pthread_t thread;

	atexit(check_end);
	watchdog_seconds = (time_t)(seconds * t_time_factor_() + 2);
	if (pthread_create(&thread, NULL, end_when_time_is_up, NULL) == 0)
		pthread_detach(thread);
}

void t_end_test_(void)
{
	ended = 1;
}

_Noreturn void t_skip_(const char *reason)
{
	ended = 1;
	criterion_skip_test("%s", reason);
}

/* ---- The tests that are wanted ---- */

/*
 * Takes the tests that the filters leave out from the set, so that they are neither counted nor
 * reported, and gives the others their timeouts.
 */
static void select_tests(struct criterion_test_set *tests, const struct t_options_ *options)
{
	FOREACH_SET (struct criterion_suite_set *suite, tests->suites) {
		struct criterion_ordered_set_node **link = &suite->tests->first;

		while (*link) {
			struct criterion_test *test = (struct criterion_test *)(void *)(*link + 1);

			test->data->timeout *= t_time_factor_();
			if (options->list &&
			    t_name_matches_(options->filters, test->data->identifier_))
				puts(test->data->identifier_);
			if (t_name_matches_(options->filters, test->data->identifier_)) {
				link = &(*link)->next;
			} else {
				*link = (*link)->next;
				suite->tests->size--;
				tests->tests--;
			}
		}
	}
}

/* ---- The report ---- */

/*
 * Asked for TAP on standard output, Criterion throws away what the tests print. So the TAP goes to
 * a file that is standard output, and what the tests print goes to standard error. Criterion opens
 * that file anew; a regular one, which it would overwrite, gets a copy at the end.
 */
static int open_tap(void)
{
	struct stat status;

	fflush(stdout);
	if (fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode))
		return memfd_create("tap", 0);
	return dup(STDOUT_FILENO);
}

static void copy_tap(int tap, int output)
{
	char text[4096];
	ssize_t size;

	if (lseek(tap, 0, SEEK_SET) != 0)
		return; /* not a copy: it has been written already */
	while ((size = read(tap, text, sizeof text)) > 0) {
		if (write(output, text, (size_t)size) != size)
			return;
	}
}

int main(int argc, char **argv)
{
	struct criterion_test_set *tests = criterion_initialize();
	char program[] = "criterion";
	char tap_option[64];
	char *arguments[] = {program, tap_option, NULL};
	struct t_options_ options;
	int failed = 0;
	int output;
	int tap;

	t_parse_arguments_(argc, argv, &options);
	select_tests(tests, &options);
	if (options.list)
		return 0;

	tap = open_tap();
	output = dup(STDOUT_FILENO);
	snprintf(tap_option, sizeof tap_option, "--tap=/dev/fd/%d", tap);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (criterion_handle_args(2, arguments, true)) {
		criterion_options.jobs = (size_t)options.jobs;
		failed = !criterion_run_all_tests(tests);
	}
	criterion_finalize(tests);
	copy_tap(tap, output);
	return failed;
}
