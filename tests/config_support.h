/*
 * config_support.h - what the tests of the configuration share: an environment without SKUA_*
 * variables, and what is written to standard error.
 */
#ifndef SKUA_TESTS_CONFIG_SUPPORT_H
#define SKUA_TESTS_CONFIG_SUPPORT_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "runtime/config.h"

static const char *const variables[] = {
	"SKUA_WORKERS",
	"SKUA_CPUS",
	"SKUA_IO_THREADS",
	"SKUA_IO_BACKEND",
	"SKUA_IO_POLL",
	"SKUA_MAX_BLOCKING",
	"SKUA_BLOCKING_KEEPALIVE_MS",
	"SKUA_BLOCKING_QUEUE",
	"SKUA_BLOCKING_FILES",
	"SKUA_BLOCKING_NAMES",
	"SKUA_BUDGET",
	"SKUA_SPIN_US",
	"SKUA_SHUTDOWN_MS",
	"SKUA_LOG",
	"SKUA_STALL_MS",
	"SKUA_SPARE_WORKERS",
};

/* Removes every SKUA_* variable that the tests may have been started with; not the harness's. */
static inline void clear_environment(void)
{
	char name[256];

	for (char **entry = environ; *entry != NULL;) {
		size_t length = strcspn(*entry, "=");

		if (strncmp(*entry, "SKUA_", 5) != 0 || strncmp(*entry, "SKUA_TEST_", 10) == 0 ||
		    length >= sizeof name) {
			entry++;
			continue;
		}
		memcpy(name, *entry, length);
		name[length] = '\0';
		unsetenv(name);
		entry = environ;
	}
}

static inline void begin(skua_config *config)
{
	clear_environment();
	skua_config_init(config);
}

static inline void set(const char *variable, const char *value)
{
	T_EQ(setenv(variable, value, 1), 0);
}

/* ---- What is written to standard error ---- */

static int real_stderr = -1;
static int capture = -1;

static inline void capture_begin(void)
{
	int ends[2];

	T_EQ(pipe(ends), 0);
	T_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	real_stderr = dup(STDERR_FILENO);
	T_ASSERT(real_stderr >= 0);
	T_ASSERT(dup2(ends[1], STDERR_FILENO) >= 0);
	close(ends[1]);
	capture = ends[0];
}

static inline const char *capture_end(void)
{
	static char text[8192];
	ssize_t length = read(capture, text, sizeof text - 1);

	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(capture);
	text[length > 0 ? length : 0] = '\0';
	return text;
}

/* What resolving says on standard error, whatever comes of it. */
static inline const char *said_by(skua_config *config)
{
	int result;

	capture_begin();
	result = skua_config_resolve(config);
	(void)result;
	return capture_end();
}

/* A resolve that must fail; its message. */
static inline const char *refused(skua_config *config)
{
	int result;

	capture_begin();
	result = skua_config_resolve(config);
	capture_end();
	T_EQ(result, -EINVAL);
	return config->message;
}

static inline const char *variable_refused(const char *variable, const char *value)
{
	static skua_config config;

	begin(&config);
	set(variable, value);
	return refused(&config);
}

#endif /* SKUA_TESTS_CONFIG_SUPPORT_H */
