/*
 * tests/harness.c - behind harness.h: assertions, the gates at the end of every test, and the two
 * runners. Both take the same arguments: globs or parts of "suite/name", -jN, --list; and both
 * write TAP to standard output.
 *
 * The plain runner forks once for each test and executes nothing, so it runs under every sanitizer
 * and under valgrind. The child's output goes to a file in memory and is shown if the test fails.
 * The parent watches the time and kills the child's whole process group when it is up; a parent
 * that dies takes its children along. The runner has no threads, which is what makes a fork safe.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

static double time_factor(void)
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

static void __attribute__((noreturn)) end_as_failed(void)
{
#ifdef T_BACKEND_CRITERION
	abort(); /* the only end that Criterion counts as a failure from every thread */
#else
	_exit(1);
#endif
}

void t_fail_(const char *file, int line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(file, line, format, arguments);
	va_end(arguments);
	end_as_failed();
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

enum { MAX_FDS = 512, TARGET_SIZE = 96, REASON_SIZE = 512 };

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
			end_as_failed();
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
		end_as_failed();
}

#ifdef T_BACKEND_CRITERION

static int ended; /* the test has returned, or has skipped itself */

/* Criterion takes exit(0) in the middle of a test for its end. */
static void check_end(void)
{
	if (!ended) {
		fprintf(stderr, "the test ended early\n");
		end_as_failed();
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

static void begin_test(double seconds)
{
	pthread_t thread;

	atexit(check_end);
	watchdog_seconds = (time_t)(seconds * time_factor() + 2);
	if (pthread_create(&thread, NULL, end_when_time_is_up, NULL) == 0)
		pthread_detach(thread);
}

static void end_test(void)
{
	ended = 1;
}

#else

/* Shared with the child, which tells here what its exit code cannot. */
struct outcome {
	int finished;             /* the test returned, and passed the gates */
	char reason[REASON_SIZE]; /* why the test skips itself; empty if it does not */
};

static struct outcome *outcome;

/* The parent watches the time, and sees how the test ends. */
static void begin_test(double seconds)
{
	(void)seconds;
}

static void end_test(void)
{
	if (outcome)
		outcome->finished = 1;
}

#endif

void t_run_(void (*body)(void), double seconds)
{
	static struct fd_list fds;
	int threads;

	begin_test(seconds);
	start_sanitizer_thread();
	if (T_TSAN)
		threads_back_to(2, 100);
	threads = count_threads(0);
	list_fds(&fds);
	body();
	check_gates(&fds, threads);
	end_test();
}

/* ---- Arguments ---- */

struct options {
	int jobs;
	int list;
	int no_fork;
	char **filters; /* NULL-terminated */
};

static void usage(const char *program)
{
	printf("usage: %s [-jN] [--list] [--no-fork] [GLOB or part of suite/name]...\n"
	       "  -jN        run N tests at a time (default 1)\n"
	       "  --list     print the names of the tests\n"
	       "  --no-fork  run in this process, for a debugger (plain backend)\n",
	       program);
}

static void parse_arguments(int argc, char **argv, struct options *options)
{
	char **filters = argv + 1;

	*options = (struct options){.jobs = 1, .filters = filters};
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
static int name_matches(char *const *filters, const char *name)
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

#ifdef T_BACKEND_CRITERION

/* ---- The Criterion runner ---- */

#include <criterion/options.h>

#include <criterion/internal/ordered-set.h>

_Noreturn void t_skip_(const char *reason)
{
	ended = 1;
	criterion_skip_test("%s", reason);
}

/*
 * Takes the tests that the filters leave out from the set, so that they are neither counted nor
 * reported, and gives the others their timeouts.
 */
static void select_tests(struct criterion_test_set *tests, const struct options *options)
{
	FOREACH_SET (struct criterion_suite_set *suite, tests->suites) {
		struct criterion_ordered_set_node **link = &suite->tests->first;

		while (*link) {
			struct criterion_test *test = (struct criterion_test *)(void *)(*link + 1);

			test->data->timeout *= time_factor();
			if (options->list &&
			    name_matches(options->filters, test->data->identifier_))
				puts(test->data->identifier_);
			if (name_matches(options->filters, test->data->identifier_)) {
				link = &(*link)->next;
			} else {
				*link = (*link)->next;
				suite->tests->size--;
				tests->tests--;
			}
		}
	}
}

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
	struct options options;
	int failed = 0;
	int output;
	int tap;

	parse_arguments(argc, argv, &options);
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

#else

/* ---- The plain runner ---- */

enum { EXIT_SKIPPED = 77, MAX_JOBS = 64, MAX_OUTPUT = 256 * 1024 };

static struct t_test_ *first_test;
static struct t_test_ **last_link = &first_test;

struct job {
	struct t_test_ *test;
	int number;
	pid_t pid; /* 0 when the job is free */
	int output;
	int timed_out;
	double deadline;
	struct outcome *outcome;
};

void t_register_(struct t_test_ *test)
{
	*last_link = test;
	last_link = &test->next;
}

void t_skip_(const char *reason)
{
	if (outcome)
		snprintf(outcome->reason, REASON_SIZE, "%s", *reason ? reason : "no reason given");
	else
		fprintf(stderr, "skipped: %s\n", reason);
	_exit(EXIT_SKIPPED);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void __attribute__((noreturn)) die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(2);
}

static void __attribute__((noreturn)) run_child(struct job *job, const sigset_t *signals)
{
	const struct rlimit no_core = {0, 0};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &no_core);
	sigprocmask(SIG_SETMASK, signals, NULL);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(job->output, STDOUT_FILENO) < 0 ||
	    dup2(job->output, STDERR_FILENO) < 0)
		_exit(1);
	close(null);
	close(job->output);
	setvbuf(stdout, NULL, _IOLBF, 0);
	outcome = job->outcome;
	t_run_(job->test->body, job->test->seconds);
	exit(0); /* and not _exit: sanitizers report, and gcov writes, at exit */
}

static void start(struct job *job, struct t_test_ *test, int number, const sigset_t *signals)
{
	job->test = test;
	job->number = number;
	job->timed_out = 0;
	memset(job->outcome, 0, sizeof *job->outcome);
	job->output = memfd_create("test output", MFD_CLOEXEC);
	if (job->output < 0)
		die("memfd_create");
	fflush(stdout);
	job->deadline = now() + test->seconds * time_factor();
	job->pid = fork();
	if (job->pid < 0)
		die("fork");
	if (job->pid == 0)
		run_child(job, signals);
	setpgid(job->pid,
		job->pid); /* here too: a kill must not come before the child's own call */
}

/* The first line of a file of /proc, without its end; an empty text if there is none. */
static void read_proc(char *text, size_t size, pid_t pid, const char *thread, const char *name)
{
	char path[300];
	int fd;
	ssize_t length;

	snprintf(path, sizeof path, "/proc/%d/task/%s/%s", (int)pid, thread, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? 0 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

/* Where the threads of a test stand whose time is up: appended to the test's own output. */
static void describe_threads(const struct job *job)
{
	char path[64];
	DIR *dir;
	struct dirent *entry;

	snprintf(path, sizeof path, "/proc/%d/task", (int)job->pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char comm[64];
		char wchan[128];
		char call[128];

		if (entry->d_name[0] == '.')
			continue;
		read_proc(comm, sizeof comm, job->pid, entry->d_name, "comm");
		read_proc(wchan, sizeof wchan, job->pid, entry->d_name, "wchan");
		read_proc(call, sizeof call, job->pid, entry->d_name, "syscall");
		dprintf(job->output, "thread %s (%s): in %s, system call %s\n", entry->d_name, comm,
			wchan[0] && strcmp(wchan, "0") != 0 ? wchan : "user code", call);
	}
	closedir(dir);
}

/* Copies the child's output as TAP comments, the last part of it if it is long. */
static void show_output(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	off_t from = size > MAX_OUTPUT ? size - MAX_OUTPUT : 0;
	FILE *file;
	char line[1024];
	int line_start = 1;

	if (lseek(fd, from, SEEK_SET) < 0 || !(file = fdopen(dup(fd), "r")))
		return;
	if (from > 0)
		printf("# (%lld bytes of output left out)\n", (long long)from);
	while (fgets(line, sizeof line, file)) {
		printf("%s%s", line_start ? "# " : "", line);
		line_start = strchr(line, '\n') != NULL;
	}
	if (!line_start)
		putchar('\n');
	fclose(file);
}

/* Reports a test whose process has ended; returns 1 if it failed. */
static int finish(struct job *job, int status)
{
	const int exited = !job->timed_out && WIFEXITED(status);
	const int skipped =
		exited && WEXITSTATUS(status) == EXIT_SKIPPED && job->outcome->reason[0];
	const int passed = exited && WEXITSTATUS(status) == 0 && job->outcome->finished;

	kill(-job->pid, SIGKILL); /* whatever the test itself has left behind */
	printf("%s %d - %s%s%s\n", passed || skipped ? "ok" : "not ok", job->number,
	       job->test->name, skipped ? " # SKIP " : "", skipped ? job->outcome->reason : "");
	if (!passed && !skipped) {
		show_output(job->output);
		if (job->timed_out)
			printf("# %s: timed out after %g s\n", job->test->name,
			       job->test->seconds * time_factor());
		else if (WIFSIGNALED(status))
			printf("# %s: killed by signal %d (%s)\n", job->test->name,
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
		else
			printf("# %s: ended %swith exit code %d\n", job->test->name,
			       job->outcome->finished ? "" : "early ", WEXITSTATUS(status));
	} else if (getenv("SKUA_TEST_VERBOSE")) {
		show_output(job->output);
	}
	fflush(stdout);
	close(job->output);
	job->pid = 0;
	return !passed && !skipped;
}

/* Waits for the next child to end, or for the next deadline. */
static void wait_for_change(struct job *jobs, int count, const sigset_t *child_signal)
{
	double left = 3600;
	struct timespec time;

	for (int i = 0; i < count; i++) {
		if (jobs[i].pid && !jobs[i].timed_out && jobs[i].deadline - now() < left)
			left = jobs[i].deadline - now();
	}
	if (left < 0)
		left = 0;
	time.tv_sec = (time_t)left;
	time.tv_nsec = (long)((left - (double)time.tv_sec) * 1e9);
	sigtimedwait(child_signal, NULL, &time);
	for (int i = 0; i < count; i++) {
		if (jobs[i].pid && !jobs[i].timed_out && now() >= jobs[i].deadline) {
			jobs[i].timed_out = 1;
			describe_threads(&jobs[i]);
			kill(-jobs[i].pid, SIGKILL);
		}
	}
}

static int run_all(const struct options *options)
{
	struct job jobs[MAX_JOBS] = {0};
	int count = options->jobs < MAX_JOBS ? options->jobs : MAX_JOBS;
	struct t_test_ *next = first_test;
	sigset_t child_signal;
	sigset_t before;
	int number = 0;
	int running = 0;
	int failed = 0;

	sigemptyset(&child_signal);
	sigaddset(&child_signal, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_signal, &before);
	for (int i = 0; i < count; i++) {
		jobs[i].outcome = mmap(NULL, sizeof *jobs[i].outcome, PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (jobs[i].outcome == MAP_FAILED)
			die("mmap");
	}

	while (next || running > 0) {
		for (int i = 0; i < count; i++) {
			int status;

			if (jobs[i].pid && waitpid(jobs[i].pid, &status, WNOHANG) == jobs[i].pid) {
				failed += finish(&jobs[i], status);
				running--;
			}
			while (next && !name_matches(options->filters, next->name))
				next = next->next;
			if (!jobs[i].pid && next) {
				start(&jobs[i], next, ++number, &before);
				next = next->next;
				running++;
			}
		}
		if (running > 0)
			wait_for_change(jobs, count, &child_signal);
	}
	return failed > 0;
}

int main(int argc, char **argv)
{
	struct options options;
	int count = 0;

	parse_arguments(argc, argv, &options);
	for (struct t_test_ *test = first_test; test; test = test->next) {
		if (!name_matches(options.filters, test->name))
			continue;
		count++;
		if (options.list)
			puts(test->name);
		if (options.no_fork)
			t_run_(test->body, test->seconds);
	}
	if (options.list || options.no_fork)
		return 0;
	printf("TAP version 13\n1..%d\n", count);
	return run_all(&options);
}

#endif
