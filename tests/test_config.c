/*
 * test_config.c - the knobs: defaults, checks of fields and variables, and who has the last word.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, setenv */
#endif

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "runtime/config.h"
#include "runtime/cpus.h"
#include "tests/config_support.h"

/* ---- Defaults ---- */

T_TEST(config, defaults)
{
	skua_config config;

	begin(&config);
	T_EQ(config.struct_size, sizeof config);
	T_EQ(config.pinned, 0);
	T_EQ(config.workers, 0);
	T_NULL(config.cpus);
	T_EQ(config.io_threads, 1);
	T_EQ(config.io_backend, SKUA_IO_BACKEND_AUTO);
	T_EQ(config.max_blocking, 512);
	T_EQ(config.blocking_keepalive_ms, 10000);
	T_EQ(config.blocking_queue, 65536);
	T_EQ(config.blocking_files, 0);
	T_EQ(config.blocking_names, 0);
	T_EQ(config.budget, 128);
	T_EQ(config.spin_us, 0);
	T_EQ(config.shutdown_ms, 5000);
	T_EQ(config.log, SKUA_LOG_WARN);
	T_EQ(config.stall_ms, 100);
	T_EQ(config.spare_workers, 16);
	T_STR_EQ(config.message, "");
}

T_TEST(config, resolve_settles_auto_and_keeps_the_rest)
{
	skua_config config;

	begin(&config);
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, sk_cpus_available());
	T_NE(config.io_backend, SKUA_IO_BACKEND_AUTO);
#ifdef __linux__
	T_EQ(config.io_backend, SKUA_IO_BACKEND_EPOLL);
#endif
	T_NULL(config.cpus);
	T_EQ(config.max_blocking, 512);
	T_EQ(config.blocking_files, 256);
	T_EQ(config.blocking_names, 128);
	T_STR_EQ(config.message, "");
}

T_TEST(config, each_kind_of_blocking_job_may_have_one_thread_at_least)
{
	skua_config config;

	for (uint32_t threads = 1; threads <= 8; threads++) {
		begin(&config);
		config.max_blocking = threads;
		T_EQ(skua_config_resolve(&config), 0);
		T_EQ(config.blocking_files, threads < 4 ? 1 : threads / 2);
		T_EQ(config.blocking_names, threads < 8 ? 1 : 2);
	}
}

T_TEST(config, resolve_twice_is_the_same)
{
	skua_config config, again;

	begin(&config);
	set("SKUA_BUDGET", "7");
	set("SKUA_IO_BACKEND", "uv");
	config.spin_us = 9;
	T_EQ(skua_config_resolve(&config), 0);
	again = config;
	T_EQ(skua_config_resolve(&again), 0);
	T_MEM_EQ(&config, &again, sizeof config);
}

T_TEST(config, message_of_an_earlier_failure_goes_away)
{
	skua_config config;

	begin(&config);
	config.budget = 0;
	T_ASSERT(*refused(&config) != '\0');
	config.budget = 1;
	T_EQ(skua_config_resolve(&config), 0);
	T_STR_EQ(config.message, "");
}

T_TEST(config, failure_changes_nothing_but_the_message)
{
	skua_config config;

	begin(&config);
	set("SKUA_WORKERS", "3");
	set("SKUA_BUDGET", "0");
	config.spin_us = 9;
	refused(&config);
	T_EQ(config.workers, 0);
	T_EQ(config.budget, 128);
	T_EQ(config.spin_us, 9);
	T_EQ(config.io_backend, SKUA_IO_BACKEND_AUTO);
}

T_TEST(config, null_is_refused)
{
	char text[16];

	T_EQ(skua_config_resolve(NULL), -EINVAL);
	T_EQ(skua_config_describe(NULL, text, sizeof text), -EINVAL);
}

/* A config of an unknown size may end before `message`: nothing may be written to it. */
T_TEST(config, unknown_size_is_refused_untouched)
{
	static const size_t sizes[] = {0, 1, sizeof(skua_config) - 1, sizeof(skua_config) + 8};
	skua_config config, before;

	begin(&config);
	memset(config.message, 'x', sizeof config.message);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		config.struct_size = sizes[i];
		before = config;
		T_EQ(skua_config_resolve(&config), -EINVAL);
		T_MEM_EQ(&config, &before, sizeof config);
		T_EQ(skua_config_describe(&config, NULL, 0), -EINVAL);
	}
}

/* ---- Fields ---- */

T_TEST(config, field_out_of_range_is_named)
{
	skua_config config;

	begin(&config);
	config.workers = 600;
	T_STR_EQ(refused(&config), "workers = 600: expected 0 (auto) or 1 to 512");
	begin(&config);
	config.io_threads = 0;
	T_STR_EQ(refused(&config), "io_threads = 0: expected 1 to 64");
	begin(&config);
	config.io_threads = 65;
	T_STR_EQ(refused(&config), "io_threads = 65: expected 1 to 64");
	begin(&config);
	config.max_blocking = 10001;
	T_STR_EQ(refused(&config), "max_blocking = 10001: expected 1 to 10000");
	begin(&config);
	config.blocking_queue = 0;
	T_STR_EQ(refused(&config), "blocking_queue = 0: expected 1 to 4294967295");
	begin(&config);
	config.blocking_names = 10001;
	T_STR_EQ(refused(&config), "blocking_names = 10001: expected 0 (auto) or 1 to 10000");
	begin(&config);
	config.budget = 65537;
	T_STR_EQ(refused(&config), "budget = 65537: expected 1 to 65536");
	begin(&config);
	config.spin_us = 4294967295u;
	T_STR_EQ(refused(&config), "spin_us = 4294967295: expected 0 to 10000");
	begin(&config);
	config.log = 4;
	T_STR_EQ(refused(&config), "log = 4: expected 0 (off), 1 (error), 2 (warn) or 3 (info)");
}

T_TEST(config, field_at_both_ends_of_its_range)
{
	skua_config config;

	begin(&config);
	config.workers = 1;
	config.io_threads = 1;
	config.max_blocking = 1;
	config.blocking_keepalive_ms = 0;
	config.blocking_queue = config.blocking_files = config.blocking_names = 1;
	config.budget = 1;
	config.spin_us = 0;
	config.shutdown_ms = 0;
	config.log = SKUA_LOG_OFF;
	config.stall_ms = 0;
	config.spare_workers = 0;
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, 1);
	config.workers = 512;
	config.io_threads = 64;
	config.max_blocking = 10000;
	config.blocking_keepalive_ms = UINT32_MAX;
	config.blocking_queue = UINT32_MAX;
	config.blocking_files = config.blocking_names = 10000;
	config.budget = 65536;
	config.spin_us = 10000;
	config.shutdown_ms = UINT32_MAX;
	config.log = SKUA_LOG_INFO;
	config.stall_ms = UINT32_MAX;
	config.spare_workers = 511;
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, 512);
	T_EQ(config.shutdown_ms, UINT32_MAX);
	T_EQ(config.stall_ms, UINT32_MAX);
	T_EQ(config.spare_workers, 511);
	config.spare_workers = 512;
	T_STR_EQ(refused(&config), "spare_workers = 512: expected 0 to 511");
}

T_TEST(config, unknown_io_backend_field)
{
	skua_config config;

	begin(&config);
	config.io_backend = 3;
#ifdef __linux__
	T_STR_EQ(refused(&config), "io_backend = 3: expected 0 (auto), 1 (epoll) or 2 (uv)");
#else
	T_STR_EQ(refused(&config), "io_backend = 3: expected 0 (auto) or 2 (uv)");
#endif
}

T_TEST(config, bad_field_is_an_error_even_if_the_environment_has_a_good_value)
{
	skua_config config;

	begin(&config);
	config.budget = 0;
	set("SKUA_BUDGET", "10");
	T_STR_EQ(refused(&config), "budget = 0: expected 1 to 65536");
}

T_TEST(config, io_poll_words)
{
	skua_config config;

	T_STR_EQ(variable_refused("SKUA_IO_POLL", "worker"),
		 "SKUA_IO_POLL=worker: expected \"auto\", \"driver\" or \"assist\"");
	begin(&config);
	set("SKUA_IO_POLL", "driver");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.io_poll, SKUA_IO_POLL_DRIVER);
	begin(&config);
	set("SKUA_IO_BACKEND", "uv");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.io_poll, SKUA_IO_POLL_DRIVER);
}

T_TEST(config, workers_cannot_poll_the_uv_backend)
{
	skua_config config;

	begin(&config);
	config.io_backend = SKUA_IO_BACKEND_UV;
	config.io_poll = SKUA_IO_POLL_ASSIST;
	T_STR_EQ(refused(&config), "io_poll = 2: needs the epoll backend; leave it out, or set "
				   "SKUA_IO_BACKEND to epoll");
	begin(&config);
	set("SKUA_IO_BACKEND", "uv");
	set("SKUA_IO_POLL", "assist");
	T_STR_EQ(refused(&config), "SKUA_IO_POLL=assist: needs the epoll backend; leave it out, or "
				   "set SKUA_IO_BACKEND to epoll");
#ifdef __linux__
	begin(&config);
	set("SKUA_IO_POLL", "assist");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.io_poll, SKUA_IO_POLL_ASSIST);
#endif
}

T_TEST(config, unknown_bit_in_pinned)
{
	skua_config config;

	begin(&config);
	config.pinned = SKUA_KNOB_LOG | 0x80000000;
	T_STR_EQ(refused(&config), "pinned = 0x80002000: expected SKUA_KNOB_* bits");
}

/* ---- Variables ---- */

T_TEST(config, every_variable_is_applied)
{
	skua_config config;

	begin(&config);
	set("SKUA_WORKERS", "3");
	set("SKUA_IO_THREADS", "4");
	set("SKUA_IO_BACKEND", "uv");
	set("SKUA_MAX_BLOCKING", "5");
	set("SKUA_BLOCKING_KEEPALIVE_MS", "6");
	set("SKUA_BLOCKING_QUEUE", "10");
	set("SKUA_BLOCKING_FILES", "11");
	set("SKUA_BLOCKING_NAMES", "12");
	set("SKUA_BUDGET", "7");
	set("SKUA_SPIN_US", "8");
	set("SKUA_SHUTDOWN_MS", "9");
	set("SKUA_LOG", "info");
	set("SKUA_STALL_MS", "10");
	set("SKUA_SPARE_WORKERS", "11");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, 3);
	T_EQ(config.io_threads, 4);
	T_EQ(config.io_backend, SKUA_IO_BACKEND_UV);
	T_EQ(config.max_blocking, 5);
	T_EQ(config.blocking_keepalive_ms, 6);
	T_EQ(config.blocking_queue, 10);
	T_EQ(config.blocking_files, 11);
	T_EQ(config.blocking_names, 12);
	T_EQ(config.budget, 7);
	T_EQ(config.spin_us, 8);
	T_EQ(config.shutdown_ms, 9);
	T_EQ(config.log, SKUA_LOG_INFO);
	T_EQ(config.stall_ms, 10);
	T_EQ(config.spare_workers, 11);
}

T_TEST(config, workers_accept_auto_over_a_field)
{
	skua_config config;

	begin(&config);
	config.workers = 500;
	set("SKUA_WORKERS", "auto");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, sk_cpus_available());
}

T_TEST(config, bad_workers_are_named_with_what_is_accepted)
{
	static const char *const values[] = {
		"abc",   "0",     "-1", "+4",  "513", "99999999999", "18446744073709551617",
		" 4",    "4 ",    "4x", "0x4", "4.0", "1e2",         "AUTO",
		"auto ", "\"4\"",
	};
	char expected[256];

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		snprintf(expected, sizeof expected,
			 "SKUA_WORKERS=%s: expected \"auto\" or a number from 1 to 512", values[i]);
		T_STR_EQ(variable_refused("SKUA_WORKERS", values[i]), expected);
	}
}

T_TEST(config, empty_variable_is_refused_for_every_knob)
{
	char start[64];

	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
		const char *message = variable_refused(variables[i], "");

		snprintf(start, sizeof start, "%s is set but empty: ", variables[i]);
		T_EQ(strncmp(message, start, strlen(start)), 0);
	}
}

T_TEST(config, numbers_have_their_own_ranges)
{
	T_STR_EQ(variable_refused("SKUA_IO_THREADS", "65"),
		 "SKUA_IO_THREADS=65: expected a number from 1 to 64");
	T_STR_EQ(variable_refused("SKUA_MAX_BLOCKING", "0"),
		 "SKUA_MAX_BLOCKING=0: expected a number from 1 to 10000");
	T_STR_EQ(variable_refused("SKUA_BLOCKING_QUEUE", "0"),
		 "SKUA_BLOCKING_QUEUE=0: expected a number from 1 to 4294967295");
	T_STR_EQ(variable_refused("SKUA_BLOCKING_FILES", "0"),
		 "SKUA_BLOCKING_FILES=0: expected \"auto\" or a number from 1 to 10000");
	T_STR_EQ(variable_refused("SKUA_BUDGET", "65537"),
		 "SKUA_BUDGET=65537: expected a number from 1 to 65536");
	T_STR_EQ(variable_refused("SKUA_SPIN_US", "10001"),
		 "SKUA_SPIN_US=10001: expected a number from 0 to 10000");
	T_STR_EQ(variable_refused("SKUA_BUDGET", "auto"),
		 "SKUA_BUDGET=auto: expected a number from 1 to 65536");
	T_STR_EQ(variable_refused("SKUA_SHUTDOWN_MS", "4294967296"),
		 "SKUA_SHUTDOWN_MS=4294967296: expected a number from 0 to 4294967295");
	T_STR_EQ(variable_refused("SKUA_BLOCKING_KEEPALIVE_MS", "-1"),
		 "SKUA_BLOCKING_KEEPALIVE_MS=-1: expected a number from 0 to 4294967295");
}

T_TEST(config, largest_number_fits)
{
	skua_config config;

	begin(&config);
	set("SKUA_SHUTDOWN_MS", "4294967295");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.shutdown_ms, UINT32_MAX);
}

T_TEST(config, io_backend_words)
{
	skua_config config;

#ifdef __linux__
	T_STR_EQ(variable_refused("SKUA_IO_BACKEND", "kqueue"),
		 "SKUA_IO_BACKEND=kqueue: expected \"auto\", \"epoll\" or \"uv\"");
	begin(&config);
	config.io_backend = SKUA_IO_BACKEND_UV;
	set("SKUA_IO_BACKEND", "epoll");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.io_backend, SKUA_IO_BACKEND_EPOLL);
#else
	T_STR_EQ(variable_refused("SKUA_IO_BACKEND", "epoll"),
		 "SKUA_IO_BACKEND=epoll: expected \"auto\" or \"uv\"");
#endif
	begin(&config);
	config.io_backend = SKUA_IO_BACKEND_UV;
	set("SKUA_IO_BACKEND", "auto");
	T_EQ(skua_config_resolve(&config), 0);
	T_NE(config.io_backend, SKUA_IO_BACKEND_AUTO);
}

T_TEST(config, log_words)
{
	static const char *const words[] = {"off", "error", "warn", "info"};
	skua_config config;

	for (uint32_t i = 0; i < 4; i++) {
		begin(&config);
		set("SKUA_LOG", words[i]);
		T_EQ(skua_config_resolve(&config), 0);
		T_EQ(config.log, i);
	}
	T_STR_EQ(variable_refused("SKUA_LOG", "2"),
		 "SKUA_LOG=2: expected \"off\", \"error\", \"warn\" or \"info\"");
	T_STR_EQ(variable_refused("SKUA_LOG", "warning"),
		 "SKUA_LOG=warning: expected \"off\", \"error\", \"warn\" or \"info\"");
}

T_TEST(config, value_in_a_message_is_cut_and_stays_on_one_line)
{
	char value[400], expected[256];

	T_STR_EQ(variable_refused("SKUA_BUDGET", "1\n2\x7f"),
		 "SKUA_BUDGET=1?2?: expected a number from 1 to 65536");
	memset(value, '9', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	snprintf(expected, sizeof expected,
		 "SKUA_BUDGET=%.61s...: expected a number from 1 to 65536", value);
	T_STR_EQ(variable_refused("SKUA_BUDGET", value), expected);
}

/* ---- Precedence ---- */

T_TEST(config, environment_wins_over_the_program)
{
	skua_config config;

	begin(&config);
	config.workers = 8;
	config.budget = 1000;
	set("SKUA_WORKERS", "2");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, 2);
	T_EQ(config.budget, 1000);
}

T_TEST(config, pinned_wins_over_the_environment)
{
	skua_config config;

	begin(&config);
	config.workers = 8;
	config.pinned = SKUA_KNOB_WORKERS;
	set("SKUA_WORKERS", "2");
	set("SKUA_BUDGET", "5");
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, 8);
	T_EQ(config.budget, 5);
}

T_TEST(config, each_knob_can_be_pinned)
{
	skua_config config, expected;

	begin(&expected);
	expected.pinned = (1u << SK_KNOB_COUNT) - 1;
	T_EQ(skua_config_resolve(&expected), 0);
	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
		begin(&config);
		set(variables[i], "nonsense");
		refused(&config);
		config.pinned = 1u << i;
		T_EQ(skua_config_resolve(&config), 0);
		config.pinned = expected.pinned;
		T_MEM_EQ(&config, &expected, sizeof config);
	}
}

T_TEST(config, pinned_field_is_still_checked)
{
	skua_config config;

	begin(&config);
	config.workers = 513;
	config.pinned = SKUA_KNOB_WORKERS;
	T_STR_EQ(refused(&config), "workers = 513: expected 0 (auto) or 1 to 512");
}

T_TEST(config, several_mistakes_give_the_first_as_message_and_all_as_lines)
{
	skua_config config;
	const char *said;

	begin(&config);
	set("SKUA_BUDGET", "x");
	set("SKUA_IO_THREADS", "y");
	said = said_by(&config);
	T_STR_EQ(config.message, "SKUA_IO_THREADS=y: expected a number from 1 to 64");
	T_ASSERT(strstr(said, "SKUA_IO_THREADS=y: ") != NULL);
	T_ASSERT(strstr(said, "SKUA_BUDGET=x: ") != NULL);
}

/* ---- CPUs ---- */

#ifdef __linux__
static int first_cpu(void)
{
	cpu_set_t allowed;
	size_t cpu = 0;

	T_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
	while (!CPU_ISSET(cpu, &allowed))
		cpu++;
	return (int)cpu;
}

T_TEST(config, cpus_of_the_environment_outlive_it)
{
	skua_config config;
	char list[16], expected[16];

	begin(&config);
	snprintf(list, sizeof list, "%d", first_cpu());
	snprintf(expected, sizeof expected, "%s", list);
	set("SKUA_CPUS", list);
	T_EQ(skua_config_resolve(&config), 0);
	T_ASSERT(config.cpus != getenv("SKUA_CPUS"));
	set("SKUA_CPUS", "any");
	unsetenv("SKUA_CPUS");
	T_STR_EQ(config.cpus, expected);
}

T_TEST(config, cpus_of_a_resolved_copy_are_inside_it)
{
	static struct sk_config resolved;
	skua_config config;
	char list[16];
	int cpu = -1;

	begin(&config);
	snprintf(list, sizeof list, "%d", first_cpu());
	set("SKUA_CPUS", list);
	T_EQ(sk_config_resolve_copy(&config, &resolved), 0);
	T_ASSERT(resolved.public.cpus == resolved.cpus);
	T_EQ(resolved.origin[1], SK_ORIGIN_ENVIRONMENT);
	T_EQ(sk_config_cpu_list(&resolved.public, &cpu, 1), 1);
	T_EQ(cpu, first_cpu());
	T_NULL(config.cpus);
	T_EQ(resolved.public.workers, 1);
}

T_TEST(config, cpus_field_is_copied_too)
{
	static struct sk_config resolved;
	skua_config config;
	char list[16], expected[16];

	begin(&config);
	snprintf(list, sizeof list, "%d", first_cpu());
	snprintf(expected, sizeof expected, "%s", list);
	config.cpus = list;
	T_EQ(sk_config_resolve_copy(&config, &resolved), 0);
	memset(list, 'x', sizeof list - 1);
	T_STR_EQ(resolved.public.cpus, expected);
	T_EQ(resolved.origin[1], SK_ORIGIN_PROGRAM);
}

T_TEST(config, more_workers_than_cpus_is_accepted)
{
	skua_config config;
	char list[16];

	begin(&config);
	snprintf(list, sizeof list, "%d", first_cpu());
	config.cpus = list;
	config.workers = 4;
	T_EQ(skua_config_resolve(&config), 0);
	T_EQ(config.workers, 4);
	T_ASSERT(config.cpus == list);
}

T_TEST(config, cpus_any_takes_a_list_back)
{
	skua_config config;
	char list[16];
	int cpu;

	begin(&config);
	config.cpus = "any";
	T_EQ(skua_config_resolve(&config), 0);
	T_NULL(config.cpus);
	T_EQ(sk_config_cpu_list(&config, &cpu, 1), 0);
	snprintf(list, sizeof list, "%d", first_cpu());
	config.cpus = list;
	set("SKUA_CPUS", "any");
	T_EQ(skua_config_resolve(&config), 0);
	T_NULL(config.cpus);
}

T_TEST(config, bad_cpus_are_named)
{
	skua_config config;
	char list[64], expected[256];
	int cpu = first_cpu();

	T_STR_EQ(variable_refused("SKUA_CPUS", "0-"),
		 "SKUA_CPUS=0-: expected \"any\" or a list of CPUs such as 0-3,6");
	T_STR_EQ(variable_refused("SKUA_CPUS", "60000"),
		 "SKUA_CPUS=60000: this process may not use CPU 60000");
	snprintf(list, sizeof list, "%d,%d", cpu, cpu);
	snprintf(expected, sizeof expected, "SKUA_CPUS=%s: CPU %d is in it twice", list, cpu);
	T_STR_EQ(variable_refused("SKUA_CPUS", list), expected);
	begin(&config);
	config.cpus = "";
	T_STR_EQ(refused(&config),
		 "cpus = \"\": expected NULL, \"any\" or a list of CPUs such as 0-3,6");
	begin(&config);
	config.cpus = "60001";
	T_STR_EQ(refused(&config), "cpus = \"60001\": this process may not use CPU 60001");
}

T_TEST(config, cpu_list_that_is_too_long)
{
	static char list[SK_CPU_LIST_SIZE + 1];
	skua_config config;
	size_t length = (size_t)snprintf(list, sizeof list, "%d", first_cpu());

	/* Zeros in front make a short list long. */
	memmove(list + SK_CPU_LIST_SIZE - length, list, length + 1);
	memset(list, '0', SK_CPU_LIST_SIZE - length);
	begin(&config);
	config.cpus = list + 1;
	T_EQ(skua_config_resolve(&config), 0);
	config.cpus = list;
	T_ASSERT(strstr(refused(&config), "...\": longer than 1023 characters") != NULL);
}
#endif
