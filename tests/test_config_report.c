/*
 * test_config_report.c - what an operator gets to read: complaints about the environment, the log
 * they are written to, and the table that describes a configuration.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setenv */
#endif

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "runtime/config.h"
#include "runtime/cpus.h"
#include "runtime/environment.h"
#include "sched/log.h"
#include "tests/config_support.h"

/* ---- What is said on standard error ---- */

T_TEST(config, bad_variable_is_also_logged)
{
	skua_config config;

	begin(&config);
	set("SKUA_WORKERS", "abc");
	T_STR_EQ(said_by(&config), "skua: error: SKUA_WORKERS=abc: expected \"auto\" or a number "
				   "from 1 to 512\n");
}

T_TEST(config, bad_field_is_not_logged)
{
	skua_config config;

	begin(&config);
	config.budget = 0;
	T_STR_EQ(said_by(&config), "");
}

T_TEST(config, log_off_silences_complaints)
{
	skua_config config;

	begin(&config);
	set("SKUA_WORKERS", "abc");
	set("SKUA_WORKER", "4");
	set("SKUA_LOG", "off");
	T_STR_EQ(said_by(&config), "");
	begin(&config);
	set("SKUA_WORKER", "4");
	config.log = SKUA_LOG_ERROR;
	T_STR_EQ(said_by(&config), "");
}

T_TEST(config, good_environment_says_nothing)
{
	skua_config config;

	begin(&config);
	set("SKUA_WORKERS", "2");
	set("SKUA_TEST_SEED", "1");
	set("SKUA_BENCH_SECONDS", "1");
	set("SKUATHING", "1");
	T_STR_EQ(said_by(&config), "");
}

T_TEST(config, misspelt_variable_gets_a_suggestion)
{
	static const char *const names[][2] = {
		{"SKUA_WORKER", "SKUA_WORKERS"},
		{"SKUA_WROKERS", "SKUA_WORKERS"},
		{"SKUA_workers", "SKUA_WORKERS"},
		{"SKUA_LOGS", "SKUA_LOG"},
		{"SKUA_CPU", "SKUA_CPUS"},
		{"SKUA_IO_THREAD", "SKUA_IO_THREADS"},
		{"SKUA_IOBACKEND", "SKUA_IO_BACKEND"},
		{"SKUA_SHUTDOWN_US", "SKUA_SHUTDOWN_MS"},
	};
	skua_config config;
	char expected[256];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		begin(&config);
		set(names[i][0], "4");
		snprintf(expected, sizeof expected,
			 "skua: warning: %s is not known: did you mean %s?\n", names[i][0],
			 names[i][1]);
		T_STR_EQ(said_by(&config), expected);
		T_ASSERT(config.workers != 4 || sk_cpus_available() == 4);
	}
}

T_TEST(config, unlike_variable_gets_no_suggestion)
{
	static const char *const names[] = {"SKUA_FOO", "SKUA_", "SKUA_NUM_WORKERS"};
	skua_config config;
	char expected[256];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		begin(&config);
		set(names[i], "4");
		snprintf(expected, sizeof expected,
			 "skua: warning: %s is not known and has no effect\n", names[i]);
		T_STR_EQ(said_by(&config), expected);
	}
}

/* Names are compared in a buffer of fixed size; nothing of ours is that long. */
T_TEST(config, name_that_is_very_long)
{
	static char name[300] = "SKUA_WORKERS";
	const size_t lengths[] = {63, 64, 255, 256, 299};
	const char *said;
	skua_config config;

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		begin(&config);
		memset(name + 12, 'S', lengths[i] - 12);
		name[lengths[i]] = '\0';
		set(name, "4");
		said = said_by(&config);
		if (lengths[i] < 256)
			T_ASSERT(strstr(said, "SS is not known and has no effect\n") != NULL);
		else
			T_STR_EQ(said, "");
	}
}

T_TEST(config, reserved_variable_has_no_effect_yet)
{
	static const char *const names[] = {"SKUA_TRACE", "SKUA_METRICS", "SKUA_DUMP_SIGNAL"};
	skua_config config;
	char expected[256];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		begin(&config);
		set(names[i], "1");
		snprintf(expected, sizeof expected,
			 "skua: warning: %s has no effect in this version\n", names[i]);
		T_STR_EQ(said_by(&config), expected);
	}
}

T_TEST(config, warning_comes_once_per_name)
{
	skua_config config;
	const char *said;

	begin(&config);
	set("SKUA_WORKER", "4");
	T_ASSERT(strstr(said_by(&config), "SKUA_WORKER ") != NULL);
	T_STR_EQ(said_by(&config), "");
	set("SKUA_BUDGE", "4");
	said = said_by(&config);
	T_ASSERT(strstr(said, "SKUA_BUDGE ") != NULL);
	T_ASSERT(strstr(said, "SKUA_WORKER ") == NULL);
}

T_TEST(config, remembered_strings_are_found_again)
{
	bool is_new;
	char text[] = "one";
	const char *first = sk_remember(text, &is_new);

	T_ASSERT(is_new);
	T_ASSERT(first != text);
	T_ASSERT(sk_remember("on", &is_new) != first && is_new);
	T_ASSERT(sk_remember("one", &is_new) == first && !is_new);
}

T_TEST(config, memory_for_strings_is_bounded)
{
	char text[1000];
	bool is_new;
	int kept = 0;

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "%0998d", i);
		kept += sk_remember(text, &is_new) != NULL;
	}
	T_ASSERT(kept > 8 && kept < 100);
	snprintf(text, sizeof text, "%0998d", 0);
	T_ASSERT(sk_remember(text, &is_new) != NULL && !is_new);
}

/* ---- The log itself ---- */

T_TEST(log, level_lets_lines_pass)
{
	capture_begin();
	sk_log(SK_LOG_ERROR, "a %d", 1);
	sk_log(SK_LOG_WARN, "b");
	sk_log(SK_LOG_INFO, "c");
	sk_log_set_level(SK_LOG_INFO);
	sk_log(SK_LOG_INFO, "d");
	sk_log_set_level(SK_LOG_OFF);
	sk_log(SK_LOG_ERROR, "e");
	sk_log_always(SK_LOG_WARN, "f");
	T_STR_EQ(capture_end(),
		 "skua: error: a 1\nskua: warning: b\nskua: info: d\nskua: warning: f\n");
}

T_TEST(log, line_stays_one_line_of_bounded_length)
{
	static char text[2000];
	const char *said;

	capture_begin();
	sk_log(SK_LOG_WARN, "a\nb\tc");
	T_STR_EQ(capture_end(), "skua: warning: a?b?c\n");
	memset(text, 'x', sizeof text - 1);
	capture_begin();
	sk_log(SK_LOG_WARN, "%s", text);
	said = capture_end();
	T_ASSERT(strlen(said) <= 512);
	T_STR_EQ(said + strlen(said) - 5, "x...\n");
}

/* ---- The table ---- */

static char table[8192];

static int describe(const skua_config *config)
{
	int length = skua_config_describe(config, table, sizeof table);

	T_ASSERT(length > 0 && (size_t)length < sizeof table);
	T_EQ(strlen(table), length);
	return length;
}

/* The line of a variable, cut at its column `column`, where the head says the columns are. */
static const char *cell(const char *variable, const char *column, char *text, size_t size)
{
	const char *line = strstr(table, variable);
	size_t offset = (size_t)(strstr(table, column) - table);

	T_ASSERT(line != NULL && (line == table || line[-1] == '\n'));
	snprintf(text, size, "%.*s", (int)strcspn(line + offset, "\n"), line + offset);
	text[strcspn(text, " ")] = '\0';
	return text;
}

T_TEST(describe, shows_every_variable_on_a_line)
{
	skua_config config;
	int lines = 0;

	begin(&config);
	describe(&config);
	for (const char *at = table; (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	T_EQ(lines, 1 + SK_KNOB_COUNT);
	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
		T_ASSERT(strstr(table, variables[i]) != NULL);
}

T_TEST(describe, shows_values_and_where_they_come_from)
{
	skua_config config;
	char text[64];

	begin(&config);
	config.budget = 64;
	config.max_blocking = 20;
	config.spin_us = 30;
	config.pinned = SKUA_KNOB_SPIN_US;
	set("SKUA_MAX_BLOCKING", "40");
	set("SKUA_SPIN_US", "50");
	describe(&config);
	T_STR_EQ(cell("SKUA_BUDGET ", "value", text, sizeof text), "64");
	T_STR_EQ(cell("SKUA_BUDGET ", "origin", text, sizeof text), "program");
	T_STR_EQ(cell("SKUA_MAX_BLOCKING ", "value", text, sizeof text), "40");
	T_STR_EQ(cell("SKUA_MAX_BLOCKING ", "origin", text, sizeof text), "environment");
	T_STR_EQ(cell("SKUA_SPIN_US ", "value", text, sizeof text), "30");
	T_STR_EQ(cell("SKUA_SPIN_US ", "origin", text, sizeof text), "pinned");
	T_STR_EQ(cell("SKUA_IO_THREADS ", "origin", text, sizeof text), "default");
	T_STR_EQ(cell("SKUA_CPUS ", "value", text, sizeof text), "any");
	T_STR_EQ(cell("SKUA_LOG ", "value", text, sizeof text), "warn");
	T_STR_EQ(cell("SKUA_LOG ", "accepted", text, sizeof text), "\"off\",");
	T_ASSERT(strstr(table, " (auto)") != NULL);
	T_ASSERT(strstr(table, "10000 ms ") != NULL);
}

T_TEST(describe, is_like_snprintf)
{
	static char whole[8192];
	skua_config config;
	char text[100];
	int length;

	begin(&config);
	length = describe(&config);
	memcpy(whole, table, sizeof whole);
	T_EQ(skua_config_describe(&config, NULL, 0), length);
	memset(text, 'x', sizeof text);
	T_EQ(skua_config_describe(&config, text, 50), length);
	T_EQ(strlen(text), 49);
	T_EQ(strncmp(text, whole, 49), 0);
	T_EQ(text[50], 'x');
	T_EQ(skua_config_describe(&config, text, 1), length);
	T_STR_EQ(text, "");
	T_EQ(skua_config_describe(&config, NULL, 10), -EINVAL);
}

T_TEST(describe, changes_nothing)
{
	skua_config config, before;

	begin(&config);
	set("SKUA_BUDGET", "5");
	before = config;
	describe(&config);
	T_MEM_EQ(&config, &before, sizeof config);
}

T_TEST(describe, bad_value_is_refused)
{
	skua_config config;
	int result;

	begin(&config);
	set("SKUA_BUDGET", "0");
	capture_begin();
	result = skua_config_describe(&config, table, sizeof table);
	T_STR_EQ(capture_end(), "skua: error: SKUA_BUDGET=0: expected a number from 1 to 65536\n");
	T_EQ(result, -EINVAL);
}
