/*
 * net-load - makes requests to a server on this machine, and tells how many were answered, how fast,
 * and what the server took for them. It is built on nothing but epoll.
 *
 * In the closed loop each connection makes a request, awaits the answer, and makes the next. With
 * --rate the loop is open: when each request is due is fixed before, and its latency counts from
 * then, however long it had to wait for its connection. A server that stands still for a while
 * cannot hide that by being asked less (what Gil Tene calls coordinated omission).
 *
 * The order: busy connections are opened, and each makes a request; then idle ones; then there is
 * load, for --warm-up seconds uncounted, and for --seconds counted; then answers that are still due
 * are awaited. Whatever the server does, this ends in time.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "load.h"

enum {
	DESCRIPTORS_MAX = 20000, /* connections and a few */
	MESSAGE_MAX = 1 << 20,
};

struct plan plan = {
	.connections = 1,
	.pipeline = 1,
	.size = 64,
	.seconds = 1,
	.warm_up = 0.3,
	.path = "/",
};

void die(int status, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fputs("net-load: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	va_end(list);
	exit(status);
}

/* ---- The command line ---- */

static const char *kind = "http";
static int64_t calibrate;

/* Its value goes to the one that is not NULL. */
static const struct option {
	const char *name, *value; /* without a value it is a flag */
	const char **text;
	int64_t *number;
	double *real;
	double min, max;
	const char *help;
} options[] = {
	{"port", "PORT", NULL, &plan.port, NULL, 1, 65535, "of the server, on 127.0.0.1"},
	{"kind", "http|echo", &kind, NULL, NULL, 0, 0, "what it does"},
	{"connections", "N", NULL, &plan.connections, NULL, 1, DESCRIPTORS_MAX, "busy ones"},
	{"seconds", "S", NULL, NULL, &plan.seconds, 0.01, 3600, "how long is counted"},
	{"warm-up", "S", NULL, NULL, &plan.warm_up, 0, 60, "before that (0.3)"},
	{"path", "PATH", &plan.path, NULL, NULL, 0, 0, "what is asked for (/)"},
	{"pipeline", "N", NULL, &plan.pipeline, NULL, 1, 256, "requests sent at once"},
	{"size", "BYTES", NULL, &plan.size, NULL, 1, MESSAGE_MAX, "of a message of echo (64)"},
	{"rate", "N", NULL, &plan.rate, NULL, 1, 1000000, "requests a second: an open loop"},
	{"churn", NULL, NULL, &plan.churn, NULL, 0, 0, "a connection for each request"},
	{"slow-path", "PATH", &plan.slow_path, NULL, NULL, 0, 0, "what some requests are for"},
	{"slow-share", "PERCENT", NULL, NULL, &plan.slow_percent, 0, 100, "how many of them"},
	{"stuck-path", "PATH", &plan.stuck_path, NULL, NULL, 0, 0,
	 "asked for by one more connection, all the time that is counted"},
	{"idle", "N", NULL, &plan.idle, NULL, 0, DESCRIPTORS_MAX, "connections that do nothing"},
	{"server-pid", "PID", NULL, &plan.server_pid, NULL, 1, INT32_MAX, "tell what it uses"},
	{"calibrate", NULL, NULL, &calibrate, NULL, 0, 0,
	 "print the rounds of xorshift64 in a microsecond, and end"},
};

enum { OPTIONS = sizeof options / sizeof options[0] };

static void print_help(void)
{
	printf("usage: net-load --port=PORT [OPTION]...\n\n");
	for (int i = 0; i < OPTIONS; i++) {
		const struct option *option = &options[i];
		int width = printf("  --%s%s%s", option->name, option->value ? "=" : "",
				   option->value ? option->value : "");

		printf("%*s%s\n", width < 26 ? 26 - width : 1, "", option->help);
	}
	exit(0);
}

static void set_option(const struct option *option, const char *value)
{
	char *end;
	double number;

	if (option->text) {
		*option->text = value;
		return;
	}
	errno = 0;
	number = strtod(value, &end);
	/* Written so that what is not a number is refused, too. */
	if (*value == '\0' || *end != '\0' || !(number >= option->min && number <= option->max))
		die(2, "--%s=%s: expected a number from %g to %g", option->name, value, option->min,
		    option->max);
	if (option->real)
		*option->real = number;
	else if (number != (double)(int64_t)number)
		die(2, "--%s=%s: expected a whole number", option->name, value);
	else
		*option->number = (int64_t)number;
}

static void read_option(const char *argument)
{
	for (int i = 0; i < OPTIONS; i++) {
		const struct option *option = &options[i];
		size_t length = strlen(option->name);

		if (strncmp(argument, "--", 2) != 0 ||
		    strncmp(argument + 2, option->name, length) != 0)
			continue;
		if (option->value == NULL && argument[2 + length] == '\0') {
			*option->number = 1;
			return;
		}
		if (option->value != NULL && argument[2 + length] == '=') {
			set_option(option, argument + 2 + length + 1);
			return;
		}
	}
	die(2, "%s: not understood; --help lists the options", argument);
}

static void check_path(const char *name, const char *path)
{
	if (path && (path[0] != '/' || strpbrk(path, " \t\r\n") || strlen(path) > 1000))
		die(2, "--%s=%s: expected a path that starts with '/'", name, path);
}

static void read_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			print_help();
		read_option(argv[i]);
	}
	if (calibrate)
		return;
	plan.echo = strcmp(kind, "echo") == 0;
	if (!plan.echo && strcmp(kind, "http") != 0)
		die(2, "--kind=%s: expected http or echo", kind);
	if (plan.port == 0)
		die(2, "--port is missing");
	check_path("path", plan.path);
	check_path("slow-path", plan.slow_path);
	check_path("stuck-path", plan.stuck_path);
	if (plan.echo && (plan.churn || plan.slow_path || plan.stuck_path))
		die(2, "--churn, --slow-path and --stuck-path are for http");
	if (plan.pipeline > 1 && (plan.rate || plan.churn || plan.slow_path))
		die(2, "--pipeline goes with none of --rate, --churn and --slow-path");
	if (plan.churn && (plan.rate || plan.slow_path))
		die(2, "--churn goes with neither --rate nor --slow-path");
	if ((plan.slow_path != NULL) != (plan.slow_percent > 0))
		die(2, "--slow-path and --slow-share belong together");
	if (plan.connections + plan.idle > DESCRIPTORS_MAX - 100)
		die(2, "more than %d connections", DESCRIPTORS_MAX - 100);
	if (plan.pipeline * plan.size > 4 * MESSAGE_MAX)
		die(2, "--pipeline and --size: more than %d bytes at once", 4 * MESSAGE_MAX);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)(plan.connections + plan.idle + 32);

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	if (limit.rlim_cur < wanted || setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die(1, "%llu descriptors are needed, and %llu allowed", (unsigned long long)wanted,
		    (unsigned long long)limit.rlim_max);
}

/* ---- The run ---- */

struct window {
	uint64_t begin, end;
	uint64_t answers, client_cpu_ns;
	struct usage used;
	double bytes_per_idle, bytes_grown;
};

static void measure(struct window *window)
{
	struct usage at_begin = {0}, at_end = {0};
	uint64_t memory = 0, with_idle = 0, length = (uint64_t)(plan.seconds * 1e9);
	uint64_t start, client;

	load_open_busy();
	if (plan.server_pid)
		memory = observe_memory(plan.server_pid);
	load_open_idle();
	if (plan.server_pid)
		with_idle = observe_memory(plan.server_pid);
	if (plan.idle > 0)
		window->bytes_per_idle = ((double)with_idle - (double)memory) / (double)plan.idle;

	start = now_ns();
	window->begin = start + (uint64_t)(plan.warm_up * 1e9);
	window->end = window->begin + length;
	load_start(window->end);
	load_run(window->begin);
	/* Looking at the server takes its time, which belongs to the warm-up. */
	if (plan.server_pid)
		at_begin = observe_usage(plan.server_pid);
	client = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	window->begin = now_ns();
	load_count_from(window->begin);
	if (plan.stuck_path)
		load_stick();
	load_run(window->end);
	window->end = now_ns();
	window->answers = counts.answers;
	window->client_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - client;
	if (plan.server_pid) {
		at_end = observe_usage(plan.server_pid);
		window->bytes_grown = (double)observe_memory(plan.server_pid) - (double)with_idle;
	}
	window->used.cpu_ns = at_end.cpu_ns - at_begin.cpu_ns;
	/* Those of threads that have ended are lost. */
	if (at_end.switches > at_begin.switches)
		window->used.switches = at_end.switches - at_begin.switches;
	load_drain();
}

static void print_report(const struct window *window)
{
	double seconds = (double)(window->end - window->begin) / 1e9;
	double answers = window->answers > 0 ? (double)window->answers : 1;

	printf("{\"requests\": %llu, \"seconds\": %.4f, \"per_second\": %.1f, \"errors\": %llu, ",
	       (unsigned long long)window->answers, seconds, (double)window->answers / seconds,
	       (unsigned long long)counts.errors);
	printf("\"latency_us\": {");
	histogram_print_json(&counts.light, 1000);
	printf("}, \"latencies\": %llu, \"slow_latency_us\": ",
	       (unsigned long long)counts.light.count);
	if (plan.slow_path) {
		printf("{");
		histogram_print_json(&counts.slow, 1000);
		printf("}, ");
	} else {
		printf("null, ");
	}
	printf("\"slow_latencies\": %llu, \"connections_made\": %llu, \"server\": ",
	       (unsigned long long)counts.slow.count, (unsigned long long)counts.made);
	if (plan.server_pid) {
		printf("{\"cpu_ns_per_request\": %.1f, \"switches_per_request\": %.5f, ",
		       (double)window->used.cpu_ns / answers,
		       (double)window->used.switches / answers);
		if (plan.idle > 0)
			printf("\"bytes_per_idle\": %.1f, ", window->bytes_per_idle);
		else
			printf("\"bytes_per_idle\": null, ");
		printf("\"bytes_grown\": %.0f, \"cpus\": %.3f}, ", window->bytes_grown,
		       (double)window->used.cpu_ns / 1e9 / seconds);
	} else {
		printf("null, ");
	}
	printf("\"client_cpu_ns_per_request\": %.1f, \"worst_lateness_us\": %.1f}\n",
	       (double)window->client_cpu_ns / answers, (double)counts.lateness / 1000);
}

int main(int argc, char **argv)
{
	struct window window = {0};

	read_options(argc, argv);
	if (calibrate) {
		printf("%.0f\n", observe_spin());
		return 0;
	}
	raise_descriptor_limit();
	load_prepare();
	measure(&window);
	print_report(&window);
	return counts.errors > 0;
}
