/*
 * config.h - a configuration with every knob settled, as the runtime uses it.
 */
#ifndef SKUA_RUNTIME_CONFIG_H
#define SKUA_RUNTIME_CONFIG_H

#include "skua/runtime.h"

#define SK_KNOB_COUNT 16

/* Where a value came from. */
enum sk_origin {
	SK_ORIGIN_DEFAULT,
	SK_ORIGIN_PROGRAM,
	SK_ORIGIN_ENVIRONMENT,
	SK_ORIGIN_PINNED, /* the default's or the program's, and the environment had no say */
};

/* A list of CPUs as text, with its NUL. */
#define SK_CPU_LIST_SIZE 1024

/*
 * Every field of `public` is what counts: none is still "auto", and cpus is NULL or points to the copy beside it, never to the environment. For that reason the struct must
 * stay where it was filled in.
 */
struct sk_config {
	skua_config public;
	uint32_t automatic;            /* SKUA_KNOB_* bits that were "auto" */
	uint8_t origin[SK_KNOB_COUNT]; /* enum sk_origin, by the number of the knob's bit */
	char cpus[SK_CPU_LIST_SIZE];
};

/*
 * Applies the environment to a copy of `config` and checks every knob. Complaints about the
 * environment are also written to standard error, as far as the config's own log level allows.
 * Returns 0, with an empty config->message; or -EINVAL with one that says why (but not if config
 * is NULL or was not initialised). Nothing else in `config` is written. Any thread, with getenv's
 * caveat.
 */
int sk_config_resolve_copy(skua_config *config, struct sk_config *resolved);

/*
 * The CPUs of a resolved config in the order of the list, of which at most `capacity` are stored:
 * worker i belongs on the CPU i % count. Returns their count; 0 if workers may run anywhere;
 * -EINVAL if the process may no longer use one of them. Any thread.
 */
int sk_config_cpu_list(const skua_config *config, int *cpus, int capacity);

#endif /* SKUA_RUNTIME_CONFIG_H */
