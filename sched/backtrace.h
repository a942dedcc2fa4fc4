/*
 * backtrace.h - where a worker is: a signal makes its thread write its own stack down.
 *
 * Nobody but a thread itself can walk its stack, so it gets SK_BACKTRACE_SIGNAL, whose handler stores the
 * return addresses into memory that is there already. The signal is Go's, SIGURG, for Go's reasons: nearly
 * no program handles it, it is ignored when there is no handler, so a late one does no harm, and a
 * debugger passes it on without a word.
 *
 * The process's disposition of that signal is changed only while a backtrace is taken, so nothing is left
 * behind, not even by a library that is unloaded. A program's own handler is never replaced: then there
 * is no backtrace. A worker lets the signal through only if there was no such handler when it began.
 *
 * The handler is installed with SA_RESTART, but some system calls return EINTR all the same (signal(7)):
 * poll, nanosleep, sem_wait with a deadline and others, if the task is in one when it is asked.
 */
#ifndef SKUA_SCHED_BACKTRACE_H
#define SKUA_SCHED_BACKTRACE_H

#include <signal.h>

#include "sched/sync.h"

#define SK_BACKTRACE_SIGNAL SIGURG

enum { SK_BACKTRACE_FRAMES = 48, SK_BACKTRACE_WAIT_MS = 100 };

struct sk_backtrace {
	void *frames[SK_BACKTRACE_FRAMES]; /* innermost first */
	unsigned count;
	const char *why_none; /* or NULL */
};

/* On a thread whose sk_thread_local is set: lets the signal through, from now on. Returns its address for
 * sk_backtrace_take, or 0 if the signal is the program's. */
uintptr_t sk_backtrace_allow(void);

/* The stack of the thread with this address and this sk_thread_local, which must not have been joined. Any
 * thread but that one and those that others depend on: waits up to SK_BACKTRACE_WAIT_MS for an answer. */
void sk_backtrace_take(uintptr_t address, void *local, struct sk_backtrace *result);

/* Writes one line for each frame. May wait for a lock of the dynamic linker. */
void sk_backtrace_log(const struct sk_backtrace *backtrace, int level);

#endif /* SKUA_SCHED_BACKTRACE_H */
