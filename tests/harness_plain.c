/*
 * tests/harness_plain.c - the plain runner: forks once for each test and executes nothing, so it
 * runs under every sanitizer and under valgrind. The child's output goes to a file in memory and is
 * shown if the test fails. The parent watches the time and kills the child's whole process group
 * when it is up; a parent that dies takes its children along. The runner has no threads, which is
 * what makes a fork safe.
 */
#include "harness_backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_SKIPPED = 77, MAX_JOBS = 64, MAX_OUTPUT = 256 * 1024, REASON_SIZE = 512 };

/* ---- A test, in its own process ---- */

/* Shared with the child, which tells here what its exit code cannot. */
struct outcome {
	int finished;             /* the test returned, and passed the gates */
	char reason[REASON_SIZE]; /* why the test skips itself; empty if it does not */
};

static struct outcome *outcome;

/* The parent watches the time, and sees how the test ends. */
void t_begin_test_(double seconds)
{
	(void)seconds;
}

void t_end_test_(void)
{
	if (outcome)
		outcome->finished = 1;
}

void t_skip_(const char *reason)
{
	if (outcome)
		snprintf(outcome->reason, REASON_SIZE, "%s", *reason ? reason : "no reason given");
	else
		fprintf(stderr, "skipped: %s\n", reason);
	_exit(EXIT_SKIPPED);
}

void t_end_as_failed_(void)
{
	_exit(1);
}

/* ---- Starting them ---- */

static struct t_test_ *first_test;
static struct t_test_ **last_link = &first_test;

void t_register_(struct t_test_ *test)
{
	*last_link = test;
	last_link = &test->next;
}

struct job {
	struct t_test_ *test;
	int number;
	pid_t pid; /* 0 when the job is free */
	int output;
	int timed_out;
	double deadline;
	struct outcome *outcome;
};

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
	job->deadline = now() + test->seconds * t_time_factor_();
	job->pid = fork();
	if (job->pid < 0)
		die("fork");
	if (job->pid == 0)
		run_child(job, signals);
	setpgid(job->pid,
		job->pid); /* here too: a kill must not come before the child's own call */
}

/* ---- What became of them ---- */

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
			       job->test->seconds * t_time_factor_());
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

/* ---- All of them ---- */

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

static int run_all(const struct t_options_ *options)
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
			while (next && !t_name_matches_(options->filters, next->name))
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
	struct t_options_ options;
	int count = 0;

	t_parse_arguments_(argc, argv, &options);
	for (struct t_test_ *test = first_test; test; test = test->next) {
		if (!t_name_matches_(options.filters, test->name))
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
