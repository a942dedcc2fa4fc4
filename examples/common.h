/*
 * examples/common.h - what the servers and the load generator have in common, and what has little to
 * do with Skua: options on the command line, messages, and the way from a start to a clean stop.
 */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <skua.h>

/* ---- The command line ---- */

/* One option. Its value goes to `text` or to `number`, whichever is not NULL. */
struct option {
	const char *name;  /* "--port" */
	const char *value; /* what --help calls its value; NULL: a flag, and *number becomes 1 */
	const char *help;
	const char **text;
	int64_t *number; /* from min to max */
	int64_t min, max;
};

#define OPTION_TEXT(name, value, target, help)                                                     \
	{                                                                                          \
		name, value, help, target, NULL, 0, 0                                              \
	}
#define OPTION_NUMBER(name, value, target, min, max, help)                                         \
	{                                                                                          \
		name, value, help, NULL, target, min, max                                          \
	}
#define OPTION_FLAG(name, target, help)                                                            \
	{                                                                                          \
		name, NULL, help, NULL, target, 0, 1                                               \
	}

/*
 * Reads "--name value" and "--name=value". --help prints the options and exits with 0; anything
 * that is not understood is named on standard error, and the program exits with 2.
 */
void options_read(int argc, char **argv, const char *purpose, const struct option *options,
		  int count);

/* The value of an option that was not given. */
#define OPTION_UNSET INT64_C(-1)

/* ---- Messages ---- */

/* What a negative errno means: "address already in use". Valid until this thread's next call. */
const char *error_text(int64_t error);

/* Prints the program's name and a message on standard error, and exits. */
SKUA_NORETURN __attribute__((format(printf, 2, 3))) void die(int status, const char *format, ...);

/* ---- The life of a server ---- */

struct server {
	const char *host;
	int64_t port;
	int64_t workers; /* OPTION_UNSET: what SKUA_WORKERS says, or as many as there are CPUs */
	skua_runtime *runtime;
	skua_listener *listener;
};

/* The options that every server takes, for its table; `server` is a struct server. */
#define SERVER_OPTIONS(server)                                                                     \
	OPTION_TEXT("--host", "ADDRESS", &(server).host, "numeric address to listen on"),          \
		OPTION_NUMBER("--port", "PORT", &(server).port, 0, 65535,                          \
			      "port to listen on; 0 = any that is free"),                          \
		WORKERS_OPTION(&(server).workers)

/* --workers, also for programs that are no servers. */
#define WORKERS_OPTION(target)                                                                     \
	OPTION_NUMBER("--workers", "N", target, 1, 512,                                            \
		      "worker threads; by default SKUA_WORKERS, or one for each CPU")

/*
 * Starts a runtime. With workers = OPTION_UNSET the environment decides. Exits with 2 if the
 * configuration is not accepted, with 1 if the system does not give what is needed.
 */
skua_runtime *runtime_start(int64_t workers);

/* Raises the limit of open descriptors to what this user may have. */
void raise_descriptor_limit(void);

/*
 * Starts a server's runtime, listens, and prints "listening on ADDRESS:PORT". SIGINT and SIGTERM
 * are blocked from here on, in every thread; server_run takes them.
 */
void server_start(struct server *server);

/*
 * Waits for SIGINT or SIGTERM, then stops: the accepting task first, by cancelling it, then every
 * connection, by freeing the runtime. Returns the exit status.
 */
int server_run(struct server *server, skua_task *accepting);

/* From the accepting task, when it has to give up: has server_run stop the server. */
void server_stop(void);

#endif /* EXAMPLES_COMMON_H */
