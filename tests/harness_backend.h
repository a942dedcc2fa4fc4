/*
 * tests/harness_backend.h - what harness.c and the two backends have in common: each backend has
 * main(), t_skip_() and how a test begins and ends; the rest is in harness.c.
 */
#ifndef SKUA_TESTS_HARNESS_BACKEND_H
#define SKUA_TESTS_HARNESS_BACKEND_H

#include "harness.h"

/* ---- In harness.c ---- */

/* Both backends take the same arguments. */
struct t_options_ {
	int jobs;
	int list;
	int no_fork;
	char **filters; /* NULL-terminated */
};

void t_parse_arguments_(int argc, char **argv, struct t_options_ *options);
int t_name_matches_(char *const *filters, const char *name);

/* By how much every timeout is multiplied. */
double t_time_factor_(void);

/* ---- In harness_plain.c and in harness_criterion.c ---- */

/* Before anything is counted, with the test's timeout; and when it has passed the gates. */
void t_begin_test_(double seconds);
void t_end_test_(void);

/* Ends the process, from any thread, as that of a test that failed. */
void t_end_as_failed_(void) __attribute__((noreturn));

#endif /* SKUA_TESTS_HARNESS_BACKEND_H */
