/*
 * environment.h - the SKUA_* variables that no knob answers to, and strings that outlive the
 * environment they were read from.
 */
#ifndef SKUA_RUNTIME_ENVIRONMENT_H
#define SKUA_RUNTIME_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Writes a warning for each variable whose name begins with SKUA_ and is not one of `known`: it is
 * most likely misspelt, and would otherwise be ignored without a word. Once per name and process.
 * SKUA_TEST_* and SKUA_BENCH_* belong to others. Any thread, with getenv's caveat.
 */
void sk_environment_check(const char *const *known, size_t count);

/*
 * A copy of `text` that lives as long as the process; the same one for the same text. NULL when the
 * fixed space for them is full. `is_new`, if not NULL, is told whether this is the first time.
 * Any thread; allocates nothing.
 */
const char *sk_remember(const char *text, bool *is_new);

#endif /* SKUA_RUNTIME_ENVIRONMENT_H */
