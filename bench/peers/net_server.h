/*
 * net_server.h - what the net servers in C and C++ have in common besides http: the command line,
 * the line that says where they listen, and their end. README.md has the contract.
 */
#ifndef SKUA_BENCH_NET_SERVER_H
#define SKUA_BENCH_NET_SERVER_H

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SERVER_BACKLOG = 4096, ECHO_BUFFER = 65536 };

struct server_options {
	bool echo, lean;
	int port, workers; /* workers = 0: as many as the program has by default */
	uint64_t spin;     /* rounds of computing for each microsecond */
};

static inline void server_usage(void)
{
	fputs("usage: PROGRAM net --serve=http|echo [--workers=N] [--lean] [--spin=N] [--port=P]\n"
	      "       PROGRAM net --about\n",
	      stderr);
	exit(2);
}

static inline uint64_t server_number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long number = strtoull(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < min || number > max) {
		fprintf(stderr, "%s: expected a number from %llu to %llu\n", text,
			(unsigned long long)min, (unsigned long long)max);
		exit(2);
	}
	return number;
}

/* Reads what comes after the word `net`, which is argv[0]; --about is answered here. */
static inline struct server_options server_read_options(int argc, char **argv, const char *program,
							const char *version)
{
	static const struct option known[] = {
		{"serve", required_argument, NULL, 's'},
		{"workers", required_argument, NULL, 'w'},
		{"spin", required_argument, NULL, 'n'},
		{"port", required_argument, NULL, 'p'},
		{"lean", no_argument, NULL, 'l'},
		{"about", no_argument, NULL, 'a'},
		{NULL, 0, NULL, 0},
	};
	struct server_options options = {false, false, 0, 0, 300};
	bool serve = false;
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 's':
			options.echo = strcmp(optarg, "echo") == 0;
			serve = options.echo || strcmp(optarg, "http") == 0;
			if (!serve)
				server_usage();
			break;
		case 'w':
			options.workers = (int)server_number(optarg, 1, 512);
			break;
		case 'n':
			options.spin = server_number(optarg, 1, 1000 * 1000);
			break;
		case 'p':
			options.port = (int)server_number(optarg, 0, 65535);
			break;
		case 'l':
			options.lean = true;
			break;
		case 'a':
#ifdef __cplusplus
#define SERVER_LANGUAGE "C++"
#else
#define SERVER_LANGUAGE "C"
#endif
			printf("{\"program\": \"%s\", \"version\": \"%s\", "
			       "\"language\": \"" SERVER_LANGUAGE " (%s)\"}\n",
			       program, version, __VERSION__);
			exit(0);
		default:
			server_usage();
		}
	}
	if (!serve || optind < argc)
		server_usage();
	return options;
}

static inline void server_on_signal(int number)
{
	(void)number;
	_exit(0);
}

/* SIGTERM ends the process at once, from whatever it does. A connection that is gone is an error of
 * a call, no signal. As many descriptors as this user may have. Before any thread is started. */
static inline void server_prepare(void)
{
	struct rlimit limit;

	signal(SIGTERM, server_on_signal);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Ends the process when standard input is at its end: whoever started it is gone. */
static inline void *server_wait_for_end(void *nothing)
{
	char bytes[64];

	while (read(STDIN_FILENO, bytes, sizeof bytes) > 0)
		continue;
	_exit(0);
	return nothing;
}

/* Watches standard input from a thread of its own: for those that have another use for this one. */
static inline void server_watch_input(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, server_wait_for_end, NULL) != 0) {
		fputs("cannot start a thread\n", stderr);
		exit(1);
	}
	pthread_detach(thread);
}

static inline void server_say_port(int port)
{
	printf("listening on 127.0.0.1:%d\n", port);
	fflush(stdout);
}

#endif /* SKUA_BENCH_NET_SERVER_H */
