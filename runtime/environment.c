/*
 * environment.c - the SKUA_* variables that no knob answers to, and strings that outlive the
 * environment they were read from; see environment.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* environ */
#endif

#include "runtime/environment.h"

#include <string.h>
#include <unistd.h>

#include "sched/log.h"
#include "sched/sync.h"

#ifdef __APPLE__
#include <crt_externs.h>
#define environ (*_NSGetEnviron()) /* a dynamic library has no `environ` of its own there */
#endif

#define PREFIX "SKUA_"
#define NAME_SIZE 64 /* longer names are like none of ours */

/* Not ours to judge: the test and the benchmark programs have variables of their own. */
static const char *const foreign_prefixes[] = {"SKUA_TEST_", "SKUA_BENCH_"};

/* Names that are spoken for. */
static const char *const reserved[] = {"SKUA_TRACE", "SKUA_METRICS", "SKUA_DUMP_SIGNAL"};

/* ---- Strings that stay ---- */

/*
 * One text after the other, each with its NUL. It only grows, and texts in it never change, so they
 * can be read without the lock. The lock is a flag: it is held for a moment, rarely and at start.
 */
#define MEMORY_SIZE 16384
static char memory[MEMORY_SIZE];
static size_t memory_used;
static SK_ATOMIC(uint32_t) memory_locked;

const char *sk_remember(const char *text, bool *is_new)
{
	size_t size = strlen(text) + 1;
	const char *found = NULL;
	bool is_missing = false;

	/* Acquire: pairs with the release below, by which the last holder left its text. */
	while (sk_exchange(&memory_locked, 1, SK_ACQUIRE) != 0)
		sk_thread_yield();
	for (size_t at = 0; at < memory_used && found == NULL; at += strlen(memory + at) + 1) {
		if (strcmp(memory + at, text) == 0)
			found = memory + at;
	}
	if (found == NULL && size <= MEMORY_SIZE - memory_used) {
		found = memcpy(memory + memory_used, text, size);
		memory_used += size;
		is_missing = true;
	}
	sk_store(&memory_locked, 0, SK_RELEASE);
	if (is_new != NULL)
		*is_new = is_missing;
	return found;
}

/* ---- Likeness of names ---- */

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/*
 * How many letters must be put in, taken out or replaced to turn `a`, in capitals, into `b`
 * (Levenshtein's distance). Both are shorter than NAME_SIZE.
 */
static size_t distance_between(const char *a, const char *b)
{
	size_t row[NAME_SIZE]; /* of the prefixes of b to the prefix of a that is looked at */
	size_t length = strlen(b);

	for (size_t i = 0; i <= length; i++)
		row[i] = i;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < length; j++) {
			size_t best = diagonal + (upper(a[i]) != b[j]);

			diagonal = row[j + 1];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (diagonal + 1 < best)
				best = diagonal + 1;
			row[j + 1] = best;
		}
	}
	return row[length];
}

/* The known name that was probably meant, or NULL. A short name may be off by one letter only. */
static const char *nearest(const char *name, const char *const *known, size_t count)
{
	const char *best = NULL;
	size_t best_distance = 3;

	if (strlen(name) >= NAME_SIZE)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t distance = distance_between(name, known[i]);
		size_t own_length = strlen(known[i]) - strlen(PREFIX);

		if (distance < best_distance && distance <= (own_length < 6 ? 1 : 2)) {
			best = known[i];
			best_distance = distance;
		}
	}
	return best;
}

/* ---- The check ---- */

static bool contains(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static bool is_foreign(const char *name)
{
	for (size_t i = 0; i < sizeof foreign_prefixes / sizeof *foreign_prefixes; i++) {
		if (strncmp(name, foreign_prefixes[i], strlen(foreign_prefixes[i])) == 0)
			return true;
	}
	return false;
}

static void warn_about(const char *name, const char *const *known, size_t count)
{
	const char *meant = nearest(name, known, count);

	if (contains(reserved, sizeof reserved / sizeof *reserved, name))
		sk_log_always(SK_LOG_WARN, "%s has no effect in this version", name);
	else if (meant != NULL)
		sk_log_always(SK_LOG_WARN, "%s is not known: did you mean %s?", name, meant);
	else
		sk_log_always(SK_LOG_WARN, "%s is not known and has no effect", name);
}

void sk_environment_check(const char *const *known, size_t count)
{
	char name[256];
	bool is_new;

	for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
		size_t length = strcspn(*entry, "=");

		if (strncmp(*entry, PREFIX, strlen(PREFIX)) != 0 || length >= sizeof name)
			continue;
		memcpy(name, *entry, length);
		name[length] = '\0';
		if (contains(known, count, name) || is_foreign(name))
			continue;
		if (sk_remember(name, &is_new) != NULL && is_new)
			warn_about(name, known, count);
	}
}
