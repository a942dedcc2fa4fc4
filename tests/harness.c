/*
 * tests/harness.c - behind harness.h: settings, assertions, the gates at the end of every test, and
 * the arguments. What runs the tests is harness_plain.c or harness_criterion.c. Both take the same
 * arguments: globs or parts of "suite/name", -jN, --list; and both write TAP to standard output.
 */
#include "harness_backend.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Present in the process or not: the sanitizer's leak check, gcov, libuv. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
void uv_library_shutdown(void) __attribute__((weak));

/* The sanitizers' settings; their environment variables still have the last word. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1";
}

const char *__tsan_default_options(void)
{
	return "halt_on_error=1:second_deadlock_stack=1";
}

const char *__ubsan_default_options(void)
{
	return "halt_on_error=1:print_stacktrace=1";
}

/* ---- Settings ---- */

double t_time_factor_(void)
{
	const char *text = getenv("SKUA_TEST_SLOW");
	double factor = text ? strtod(text, NULL) : 1;

	if (!(factor > 0))
		factor = 1;
	return factor * (T_SANITIZED ? 4 : 1);
}

int t_quick_(void)
{
	const char *text = getenv("SKUA_TEST_QUICK");

	return text && *text && strcmp(text, "0") != 0;
}

/* ---- Messages and assertions ---- */

/* One write for a whole line, so that lines of several threads do not mix. */
static void print_line(const char *file, int line, const char *format, va_list arguments)
{
	char text[2048];
	int length = snprintf(text, sizeof text, "%s:%d: ", file, line);
	int more = vsnprintf(text + length, sizeof text - (size_t)length - 1, format, arguments);
	ssize_t written;

	if (more > 0)
		length += more;
	if (length > (int)sizeof text - 2)
		length = (int)sizeof text - 2;
	text[length++] = '\n';
	fflush(stdout);
	written = write(STDERR_FILENO, text, (size_t)length);
	(void)written;
}

void t_log_(const char *file, int line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(file, line, format, arguments);
	va_end(arguments);
}

void t_fail_(const char *file, int line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(file, line, format, arguments);
	va_end(arguments);
	t_end_as_failed_();
}

void t_str_eq_(const char *file, int line, const char *a_text, const char *a, const char *b_text,
	       const char *b)
{
	if (a == b || (a && b && strcmp(a, b) == 0))
		return;
	t_fail_(file, line, "expected %s and %s to be equal, but they are %s%s%s and %s%s%s",
		a_text, b_text, a ? "\"" : "", a ? a : "NULL", a ? "\"" : "", b ? "\"" : "",
		b ? b : "NULL", b ? "\"" : "");
}

void t_mem_eq_(const char *file, int line, const char *a_text, const void *a, const char *b_text,
	       const void *b, size_t size)
{
	const unsigned char *left = a;
	const unsigned char *right = b;

	for (size_t i = 0; i < size; i++) {
		if (left[i] != right[i])
			t_fail_(file, line,
				"expected %s and %s to be equal, but byte %zu of %zu is 0x%02x and "
				"0x%02x",
				a_text, b_text, i, size, left[i], right[i]);
	}
}

/* ---- The gates ---- */

enum { MAX_FDS = 512, TARGET_SIZE = 96 };

struct fd_list {
	int count;
	struct {
		int fd;
		char target[TARGET_SIZE]; /* what the descriptor is, such as "socket:[4711]" */
	} item[MAX_FDS];
};

static void list_fds(struct fd_list *list)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	list->count = 0;
	if (!dir)
		t_fail_(__FILE__, __LINE__, "cannot list the open descriptors: %s",
			strerror(errno));
	while ((entry = readdir(dir)) && list->count < MAX_FDS) {
		int fd = atoi(entry->d_name);
		char *target = list->item[list->count].target;
		ssize_t length;

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		length = readlinkat(dirfd(dir), entry->d_name, target, TARGET_SIZE - 1);
		target[length > 0 ? length : 0] = '\0';
		list->item[list->count++].fd = fd;
	}
	closedir(dir);
}

static int fd_listed(const struct fd_list *list, int fd, const char *target)
{
	for (int i = 0; i < list->count; i++) {
		if (list->item[i].fd == fd && strcmp(list->item[i].target, target) == 0)
			return 1;
	}
	return 0;
}

/* Prints what is in `list` and not in `other`; returns how many that are. */
static int report_fds(const struct fd_list *list, const struct fd_list *other, const char *what)
{
	int found = 0;

	for (int i = 0; i < list->count; i++) {
		if (fd_listed(other, list->item[i].fd, list->item[i].target))
			continue;
		fprintf(stderr, "%s: descriptor %d -> %s\n", what, list->item[i].fd,
			list->item[i].target);
		found++;
	}
	return found;
}

static int count_threads(int print)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int count = 0;

	if (!dir)
		t_fail_(__FILE__, __LINE__, "cannot list the threads: %s", strerror(errno));
	while ((entry = readdir(dir))) {
		char path[300];
		char name[64] = "?\n";
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		count++;
		if (!print)
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file) {
			if (!fgets(name, sizeof name, file))
				name[0] = '\0';
			fclose(file);
		}
		fprintf(stderr, "  thread %s: %s", entry->d_name, name);
	}
	closedir(dir);
	return count;
}

/* Waits until no more threads run than that, for at most so many milliseconds. */
static int threads_back_to(int count, int ms)
{
	const struct timespec one_ms = {0, 1000000};

	while (count_threads(0) > count) {
		if (ms-- <= 0)
			return 0;
		nanosleep(&one_ms, NULL);
	}
	return 1;
}

static void *return_at_once(void *unused)
{
	return unused;
}

/* ThreadSanitizer's own thread starts with a program's first thread, and stays. */
static void start_sanitizer_thread(void)
{
	pthread_t thread;

	if (T_TSAN && pthread_create(&thread, NULL, return_at_once, NULL) == 0)
		pthread_join(thread, NULL);
}

static void check_gates(const struct fd_list *fds_before, int threads_before)
{
	static struct fd_list fds_after;
	int failures = 0;

	if (!threads_back_to(threads_before, 1000)) {
		if (uv_library_shutdown)
			uv_library_shutdown();
		if (!threads_back_to(threads_before, 100)) {
			fprintf(stderr, "threads were left running: %d at the start, now\n",
				threads_before);
			count_threads(1);
			t_end_as_failed_();
		}
	}
	if (uv_library_shutdown)
		uv_library_shutdown();

	list_fds(&fds_after);
	failures += report_fds(&fds_after, fds_before, "left open");
	failures += report_fds(fds_before, &fds_after, "closed, but not by its owner");
	if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check() != 0) {
		fprintf(stderr, "memory was leaked\n");
		failures++;
	}
	if (failures > 0)
		t_end_as_failed_();
}

void t_run_(void (*body)(void), double seconds)
{
	static struct fd_list fds;
	int threads;

	t_begin_test_(seconds);
	start_sanitizer_thread();
	if (T_TSAN)
		threads_back_to(2, 100);
	threads = count_threads(0);
	list_fds(&fds);
	body();
	check_gates(&fds, threads);
	t_end_test_();
}

/* ---- Arguments ---- */

static void usage(const char *program)
{
	printf("usage: %s [-jN] [--list] [--no-fork] [GLOB or part of suite/name]...\n"
	       "  -jN        run N tests at a time (default 1)\n"
	       "  --list     print the names of the tests\n"
	       "  --no-fork  run in this process, for a debugger (plain backend)\n",
	       program);
}

void t_parse_arguments_(int argc, char **argv, struct t_options_ *options)
{
	char **filters = argv + 1;

	*options = (struct t_options_){.jobs = 1, .filters = filters};
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-j", 2) == 0 && atoi(argv[i] + 2) > 0) {
			options->jobs = atoi(argv[i] + 2);
		} else if (strcmp(argv[i], "--list") == 0) {
			options->list = 1;
		} else if (strcmp(argv[i], "--no-fork") == 0) {
			options->no_fork = 1;
		} else if (strcmp(argv[i], "--help") == 0) {
			usage(argv[0]);
			exit(0);
		} else if (argv[i][0] == '-') {
			fprintf(stderr, "%s: unknown option %s\n", argv[0], argv[i]);
			exit(2);
		} else {
			*filters++ = argv[i];
		}
	}
	*filters = NULL;
}

/* A filter with a wildcard must match the whole name, one without a part of it; none lets all in. */
int t_name_matches_(char *const *filters, const char *name)
{
	if (!*filters)
		return 1;
	for (; *filters; filters++) {
		if (strpbrk(*filters, "*?[") ? fnmatch(*filters, name, 0) == 0
					     : strstr(name, *filters) != NULL)
			return 1;
	}
	return 0;
}
