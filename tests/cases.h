/*
 * cases.h - what programs share that generate their cases and run thousands of them (lifecycle, cancel):
 * what a case complains of, printed below the result of its test, and which one it was that did not end.
 */
#ifndef SKUA_TESTS_CASES_H
#define SKUA_TESTS_CASES_H

#include <sched.h>
#include <stdarg.h>
#include <unistd.h>

/* The name of the case that goes on, or "". */
extern char cases_current[200];

/* Keeps a line, until the next result has been printed; never two calls at a time. */
void cases_note(const char *line);
void cases_print_notes(void);

/* Counts a failure, and hands the line to `note`, after the case's name if it is the first one. Any thread. */
__attribute__((format(printf, 4, 0))) void cases_fail(void (*note)(const char *line),
						      _Atomic unsigned *failures, const char *name,
						      const char *format, va_list arguments);

/* From here on whoever ends the process, an alarm among them, is told which case goes on. */
void cases_watch(const char *program);

/* How long a case may take: for alarm. */
unsigned cases_seconds(void);

/* Waits for something that another thread is about to do. If it is not, the alarm ends it. */
#define CASES_WAIT(condition)                                                                      \
	do {                                                                                       \
		for (unsigned turn_ = 0; !(condition); turn_++)                                    \
			if (turn_ < 100)                                                           \
				sched_yield();                                                     \
			else                                                                       \
				usleep(50);                                                        \
	} while (0)

#endif /* SKUA_TESTS_CASES_H */
