/*
 * log.h - the lines that the library writes to standard error, and the level that lets them pass.
 */
#ifndef SKUA_SCHED_LOG_H
#define SKUA_SCHED_LOG_H

#include <stdbool.h>

/* The values of SKUA_LOG_*, which belongs to a layer above this one. */
enum { SK_LOG_OFF = 0, SK_LOG_ERROR = 1, SK_LOG_WARN = 2, SK_LOG_INFO = 3 };

/* Lets levels up to this one pass. Process-wide; until it is called, errors and warnings do. */
void sk_log_set_level(int level);

/* Whether lines of this level pass: for who would have to find out what to say. */
bool sk_log_passes(int level);

/*
 * Writes one line, "skua: warning: <text>", if its level passes. The line goes out in one write, so
 * that lines of several threads do not mix; control characters in it become '?', so that it stays
 * one line; a text of more than some 500 bytes is cut and ends in "...". Any thread; allocates
 * nothing.
 */
__attribute__((format(printf, 2, 3))) void sk_log(int level, const char *format, ...);

/* The same whatever the level is, for who has one of his own: a config that is being resolved. */
__attribute__((format(printf, 2, 3))) void sk_log_always(int level, const char *format, ...);

#endif /* SKUA_SCHED_LOG_H */
