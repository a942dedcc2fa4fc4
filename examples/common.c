/*
 * examples/common.c - options, messages, and the way from a start to a clean stop.
 *
 * How a server stops. SIGINT and SIGTERM are blocked before the runtime starts its threads, which
 * inherit the mask; so no thread is ever interrupted, and the main thread takes the signal where it
 * wants to: in sigwait. There is no signal handler, and nothing to be careful about in one.
 */
#define _POSIX_C_SOURCE 200809L

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"

/* ---- Messages ---- */

static const char *program = "skua"; /* options_read knows better */

const char *error_text(int64_t error)
{
	static _Thread_local char text[128];

	snprintf(text, sizeof text, "%s", skua_strerror(error));
	text[0] = (char)tolower((unsigned char)text[0]);
	return text;
}

void die(int status, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(status);
}

/* ---- The command line ---- */

static void options_help(const char *purpose, const struct option *options, int count)
{
	printf("Usage: %s [OPTION]...\n%s\n\n", program, purpose);
	for (int i = 0; i < count; i++) {
		const struct option *option = &options[i];
		char left[64];

		snprintf(left, sizeof left, "%s %s", option->name,
			 option->value ? option->value : "");
		printf("  %-24s %s", left, option->help);
		if (option->text && *option->text)
			printf(" (%s)", *option->text);
		else if (option->value && option->number && *option->number != OPTION_UNSET)
			printf(" (%lld)", (long long)*option->number);
		putchar('\n');
	}
	printf("  %-24s %s\n", "--help", "show this text");
}

/* The option that an argument names; *value is what stands behind its '=', or NULL. */
static const struct option *option_find(const struct option *options, int count,
					const char *argument, const char **value)
{
	for (int i = 0; i < count; i++) {
		size_t length = strlen(options[i].name);

		if (strncmp(argument, options[i].name, length) != 0)
			continue;
		if (argument[length] != '\0' && argument[length] != '=')
			continue;
		*value = argument[length] == '=' ? argument + length + 1 : NULL;
		return &options[i];
	}
	return NULL;
}

static int64_t option_number(const struct option *option, const char *value)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(value, &end, 10);
	if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 ||
	    number < option->min || number > option->max)
		die(2, "%s: '%s' is not a number from %lld to %lld", option->name, value,
		    (long long)option->min, (long long)option->max);
	return number;
}

void options_read(int argc, char **argv, const char *purpose, const struct option *options,
		  int count)
{
	if (argc > 0)
		program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	for (int i = 1; i < argc; i++) {
		const struct option *option;
		const char *value;

		if (strcmp(argv[i], "--help") == 0) {
			options_help(purpose, options, count);
			exit(0);
		}
		option = option_find(options, count, argv[i], &value);
		if (option == NULL)
			die(2, "unknown option '%s'; see --help", argv[i]);
		if (option->value == NULL) {
			if (value != NULL)
				die(2, "%s takes no value", option->name);
			*option->number = 1;
			continue;
		}
		if (value == NULL && i + 1 < argc)
			value = argv[++i];
		if (value == NULL)
			die(2, "%s needs a value: %s", option->name, option->value);
		if (option->text != NULL)
			*option->text = value;
		else
			*option->number = option_number(option, value);
	}
}

/* ---- The life of a server ---- */

skua_runtime *runtime_start(int64_t workers)
{
	skua_config config;
	skua_runtime *runtime;
	int rc;

	skua_config_init(&config);
	if (workers != OPTION_UNSET) {
		config.workers = (uint32_t)workers;
		config.pinned |= SKUA_KNOB_WORKERS; /* the command line beats the environment */
	}
	rc = skua_runtime_new(&config, &runtime);
	if (rc == -EINVAL)
		die(2, "%s", config.message);
	if (rc < 0)
		die(1, "cannot start the runtime: %s", error_text(rc));
	return runtime;
}

void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* without it there is room for fewer */
}

static void stop_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
}

void server_start(struct server *server)
{
	sigset_t signals;
	skua_addr addr;
	char text[64];
	int rc;

	if (skua_addr_parse(&addr, server->host, (int)server->port) < 0)
		die(2, "--host: '%s' is not a numeric address", server->host);
	stop_signals(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	raise_descriptor_limit();
	server->runtime = runtime_start(server->workers);

	rc = skua_listen(server->runtime, &addr, NULL, &server->listener);
	if (rc < 0) {
		skua_runtime_free(server->runtime);
		if (skua_addr_format(&addr, text, sizeof text) < 0)
			text[0] = '\0';
		die(1, "cannot listen on %s: %s", text, error_text(rc));
	}
	if (skua_listener_addr(server->listener, &addr) < 0 ||
	    skua_addr_format(&addr, text, sizeof text) < 0)
		die(1, "cannot tell the address that was chosen");
	printf("listening on %s\n", text);
	fflush(stdout);
}

int server_run(struct server *server, skua_task *accepting)
{
	sigset_t signals;
	skua_poll result;
	int signal, rc;

	stop_signals(&signals);
	sigwait(&signals, &signal);

	skua_cancel(accepting);
	result = skua_task_wait(&accepting);
	if (result != -ECANCELED)
		fprintf(stderr, "%s: accepting failed: %s\n", program, error_text(result));
	rc = skua_runtime_free(server->runtime);
	return result == -ECANCELED && rc == 0 ? 0 : 1;
}

void server_stop(void)
{
	kill(getpid(), SIGTERM);
}
