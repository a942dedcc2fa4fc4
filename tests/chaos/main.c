/*
 * main.c - runs the workloads one after the other, each in a process of its own that is stopped and
 * continued at random times, and judges how it ended. The first two runs prove the watchdog: a task
 * that nobody wakes must be reported by name, and time that the process is stopped must not count.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sched/chaos.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/workloads.h"
#include "tests/lifecycle/memory.h"

const struct chaos_workload chaos_workloads[] = {
	{"trees", chaos_trees},         {"ping-pong", chaos_ping_pong},
	{"echo", chaos_echo},           {"timers", chaos_timers},
	{"blocking", chaos_blocking},   {"closing", chaos_closing},
	{"outsiders", chaos_outsiders}, {"runtimes", chaos_runtimes},
	{"lifecycle", chaos_lifecycle}, {NULL, NULL},
};

enum {
	LIMIT_MS = 5000,       /* without progress */
	PROOF_LIMIT_MS = 500,  /* in the proofs of the watchdog */
	PROOF_BEFORE_MS = 50,  /* from the begin of the operation to the stop, in one of them */
	PROOF_AFTER_MS = 100,  /* from the stop's end to the operation's: some looks */
	EXTRA_SECONDS = 60,    /* after which a run that does not end is killed */
	MAX_STOP_MS = 40,      /* how long a process is stopped at once */
	MAX_CONTINUE_MS = 120, /* and how long it runs in between */
};

static const char usage[] =
	"usage: chaos [OPTION]...\n"
	"\n"
	"Stress under chaos (docs/verification.md). The last line is\n"
	"`chaos: S seconds, W workloads, P operations, 0 failures`.\n"
	"\n"
	"  --seconds=N       for so long, in turns (default 60); every workload runs at least once\n"
	"  --seed=N          the first run's; each further one has the next number\n"
	"  --workload=NAME   only this one; may be given several times\n"
	"  --list            print the names of the workloads\n";

static struct {
	double seconds;
	uint64_t seed;
	uint64_t workloads; /* a bit for each; 0: all */
} options = {.seconds = 60};

struct chaos_shared *chaos_shared;

void chaos_fail(const char *file, int line, const char *condition, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "chaos: %s:%d: not so: %s: ", file, line, condition);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	_exit(CHAOS_EXIT_FAILED);
}

/* ---- In the child ---- */

static void keep_on_one_cpu(void)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
		return;
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &allowed)) {
			CPU_SET(i, &one);
			break;
		}
	if (sched_setaffinity(0, sizeof one, &one) != 0)
		fprintf(stderr, "chaos: not kept on one CPU: %s\n", strerror(errno));
}

__attribute__((noreturn)) static void child(struct chaos *chaos, void (*run)(struct chaos *chaos),
					    uint64_t limit_ms)
{
	struct sk_chaos_options disturb = sk_chaos_default(chaos->seed);

	if (chaos->one_cpu)
		keep_on_one_cpu();
	sk_chaos_configure(&disturb);
	watchdog_start(limit_ms);
	life_memory_begin();
	run(chaos);
	watchdog_stop();
	CHAOS_CHECK(life_memory_alive() == 0, "%lld blocks of memory are left",
		    (long long)life_memory_alive());
	CHAOS_CHECK(life_memory_mistakes() == 0, "memory was freed twice");
	chaos_shared->operations = chaos_operations();
	fflush(NULL);
	_exit(0);
}

/* ---- In the parent ---- */

static double now(void)
{
	return (double)skua_now() / 1e9;
}

static void sleep_us(uint64_t us)
{
	struct timespec ts = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

	nanosleep(&ts, NULL);
}

/* As fork. A child that is stopped when its parent dies would stay for ever: it dies, too. */
static pid_t fork_child(void)
{
	pid_t parent = getpid(), pid;
	siginfo_t info = {.si_pid = 0};

	*chaos_shared = (struct chaos_shared){.operations = 0};
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("chaos: fork");
		exit(1);
	}
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
			_exit(1);
		atomic_store(&chaos_shared->ready, true);
		return 0;
	}
	/* It does little until then, and nobody stops it. */
	while (!atomic_load(&chaos_shared->ready) &&
	       waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0)
		sleep_us(100);
	return pid;
}

/* Stops and continues a process at random until it ends. Returns its status, as waitpid does. */
static int disturb(pid_t pid, uint64_t random, double until, unsigned *stops)
{
	int status;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (now() > until) {
			fprintf(stderr, "chaos: it does not end: killed\n");
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return status;
		}
		sleep_us(chaos_random(&random, MAX_CONTINUE_MS * 1000));
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		kill(pid, SIGSTOP);
		sleep_us(chaos_random(&random, MAX_STOP_MS * 1000));
		kill(pid, SIGCONT);
		++*stops;
	}
}

static struct chaos chaos_of(uint64_t seed, double seconds)
{
	uint64_t random = seed;
	struct chaos chaos = {
		.seed = seed,
		.until = skua_now() + (uint64_t)(seconds * 1e9),
		.workers = chaos_random(&random, 4) == 0 ? 1 + chaos_random(&random, 4) : 16,
		.io = IO_EPOLL + chaos_random(&random, IO_KINDS - IO_EPOLL),
		.one_cpu = chaos_random(&random, 4) != 0,
	};

	return chaos;
}

static bool run_workload(const struct chaos_workload *workload, uint64_t seed, double seconds)
{
	struct chaos chaos = chaos_of(seed, seconds);
	struct sk_chaos_options how = sk_chaos_default(seed);
	unsigned stops = 0;
	bool ended, passed;
	int status;
	pid_t pid;

	pid = fork_child();
	if (pid == 0)
		child(&chaos, workload->run, LIMIT_MS);
	status = disturb(pid, seed, now() + seconds + EXTRA_SECONDS, &stops);
	ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	passed = ended && chaos_shared->operations > 0;
	printf("%-10s seed %" PRIu64 ": %s, %" PRIu64
	       " operations, %u workers on %s, %s, stopped %u times%s\n",
	       workload->name, seed, passed ? "ok" : "FAILED", chaos_shared->operations,
	       chaos.workers, chaos.one_cpu ? "one CPU" : "all CPUs", io_name(chaos.io), stops,
	       how.migrate ? ", tasks migrate" : "");
	if (!passed) {
		if (WIFSIGNALED(status))
			printf("    ended by signal %d (%s)\n", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
		if (ended)
			printf("    no operation has ended\n");
		printf("    repeat: ./dev chaos --workload=%s --seed=%" PRIu64 " --seconds=%g\n",
		       workload->name, seed, seconds);
	}
	fflush(stdout);
	return passed;
}

/* ---- The proofs of the watchdog ---- */

/* Runs a child whose standard error is kept; returns its status. */
static int run_proof(void (*run)(struct chaos *chaos), void (*meanwhile)(pid_t pid), char *said,
		     size_t size)
{
	struct chaos chaos = chaos_of(options.seed, 0);
	double until = now() + EXTRA_SECONDS;
	FILE *file = tmpfile();
	ssize_t length;
	int status;
	pid_t pid;

	if (file == NULL)
		abort();
	pid = fork_child();
	if (pid == 0) {
		dup2(fileno(file), STDERR_FILENO);
		child(&chaos, run, PROOF_LIMIT_MS);
	}
	if (meanwhile != NULL)
		meanwhile(pid);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now() > until)
			kill(pid, SIGKILL);
		sleep_us(1000);
	}
	length = pread(fileno(file), said, size - 1, 0);
	said[length > 0 ? length : 0] = '\0';
	fclose(file);
	return status;
}

/* Stops the process in the middle of its operation for longer than the watchdog's limit. The
 * operation goes on for some looks after that, so that nothing has ended since before the stop when
 * they come; without the stop it is quiet for less than half of the limit. */
static void stop_once(pid_t pid)
{
	double until = now() + EXTRA_SECONDS;
	siginfo_t info;

	while (!atomic_load(&chaos_shared->begun) && now() < until)
		sleep_us(1000);
	sleep_us(PROOF_BEFORE_MS * 1000);
	kill(pid, SIGSTOP);
	/* It may also have ended, which is the caller's to see. */
	waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT);
	sleep_us(2 * PROOF_LIMIT_MS * 1000);
	kill(pid, SIGCONT);
	sleep_us(PROOF_AFTER_MS * 1000);
	atomic_store(&chaos_shared->may_end, true);
}

static bool proof(const char *what, bool holds, const char *said)
{
	printf("watchdog: %s: %s\n", what, holds ? "ok" : "FAILED");
	if (!holds)
		printf("%s", said);
	fflush(stdout);
	return holds;
}

static unsigned prove_watchdog(void)
{
	static char said[1 << 16];
	unsigned failures = 0;
	int status = run_proof(chaos_forget_a_task, NULL, said, sizeof said);
	const char *line = strstr(said, "\"never_woken\": JOINABLE, ");

	failures += !proof("a task that nobody wakes is reported by its name and state",
			   WIFEXITED(status) && WEXITSTATUS(status) == CHAOS_EXIT_STUCK &&
				   strstr(said, "no progress for") != NULL && line != NULL &&
				   strstr(line, "joined by a thread; obligations: none") != NULL,
			   said);
	failures += !proof("so are the workers, the driver and the blocking pool",
			   strstr(said, "worker 0: parked; ") != NULL &&
				   strstr(said, "driver 0: ") != NULL &&
				   strstr(said, "blocking pool: ") != NULL,
			   said);
	status = run_proof(chaos_span_a_stop, stop_once, said, sizeof said);
	failures += !proof("the time of a stop is not counted",
			   WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
				   chaos_shared->operations == 2,
			   said);
	return failures;
}

/* ---- All of it ---- */

static bool is_chosen(unsigned i)
{
	return options.workloads == 0 || (options.workloads >> i & 1) != 0;
}

static void choose(const char *name)
{
	for (unsigned i = 0; chaos_workloads[i].name != NULL; i++)
		if (strcmp(chaos_workloads[i].name, name) == 0) {
			options.workloads |= UINT64_C(1) << i;
			return;
		}
	fprintf(stderr, "chaos: there is no workload %s\n", name);
	exit(2);
}

__attribute__((noreturn)) static void refuse(const char *argument, const char *expected)
{
	fprintf(stderr, "chaos: %s: expected %s\n", argument, expected);
	exit(2);
}

static double parse_seconds(const char *argument, const char *text)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || !(value > 0 && value <= 1e6))
		refuse(argument, "a number above 0, at most 1000000");
	return value;
}

static uint64_t parse_seed(const char *argument, const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
		refuse(argument, "a number from 0");
	return value;
}

static void parse(int argc, char **argv)
{
	options.seed = skua_now() / 1000 % 1000000000;
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--seconds=", 10) == 0) {
			options.seconds = parse_seconds(argv[i], argv[i] + 10);
		} else if (strncmp(argv[i], "--seed=", 7) == 0) {
			options.seed = parse_seed(argv[i], argv[i] + 7);
		} else if (strncmp(argv[i], "--workload=", 11) == 0) {
			choose(argv[i] + 11);
		} else if (strcmp(argv[i], "--list") == 0) {
			for (unsigned k = 0; chaos_workloads[k].name != NULL; k++)
				puts(chaos_workloads[k].name);
			exit(0);
		} else {
			fputs(usage, strcmp(argv[i], "--help") == 0 ? stdout : stderr);
			exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
		}
	}
}

/* How long each run takes: all workloads come at least once, and no run is longer than 5 s. */
static double slice(void)
{
	unsigned count = 0;
	double each;

	for (unsigned i = 0; chaos_workloads[i].name != NULL; i++)
		count += is_chosen(i);
	each = options.seconds / count;
	return each < 5 ? each : 5;
}

int main(int argc, char **argv)
{
	unsigned failures = 0, runs = 0;
	uint64_t operations = 0, seed;
	double start = now(), each;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	chaos_shared = mmap(NULL, sizeof *chaos_shared, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (chaos_shared == MAP_FAILED)
		abort();
	printf("chaos: seed %" PRIu64 "\n", options.seed);
	if (options.workloads == 0)
		failures += prove_watchdog();
	each = slice();
	seed = options.seed;
	for (double begin = now(); runs == 0 || now() - begin < options.seconds - each / 2;)
		for (unsigned i = 0; chaos_workloads[i].name != NULL; i++) {
			if (!is_chosen(i))
				continue;
			failures += !run_workload(&chaos_workloads[i], seed++, each);
			operations += chaos_shared->operations;
			runs++;
		}
	printf("chaos: %.0f seconds, %u workloads, %" PRIu64 " operations, %u failures\n",
	       now() - start, runs, operations, failures);
	return failures > 0;
}
