/* backtrace.c - see backtrace.h. */

/* A chaos build disturbs a thread at each operation, which must not happen in a signal handler. */
#define SK_NO_POINTS
#include "sched/backtrace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "sched/log.h"
#include "sched/parker.h"

#if defined(__has_include)
#if __has_include(<execinfo.h>)
#define HAS_BACKTRACE
#include <dlfcn.h>
#include <execinfo.h>
#endif
#endif

#ifdef HAS_BACKTRACE

/* The handler's own frame and the trampoline that called it. */
enum { OWN_FRAMES = 2 };

/* The one that is being taken, for all runtimes of the process. */
static sk_mutex lock = SK_MUTEX_INITIALIZER;

static struct {
	SK_ATOMIC(void *)
	wanted; /* the thread with this sk_thread_local is asked; whoever clears it, answers */
	SK_ATOMIC(uint32_t) done;
	void *frames[SK_BACKTRACE_FRAMES + OWN_FRAMES];
	int count;
} answer;

static void on_signal(int signal)
{
	int error = errno;
	void *self = sk_thread_local(), *wanted = self;

	(void)signal;
	/* Acquire: pairs with the release in ask. */
	if (self != NULL && sk_cas(&answer.wanted, &wanted, NULL, SK_ACQUIRE, SK_RELAXED)) {
		answer.count = backtrace(answer.frames, SK_BACKTRACE_FRAMES + OWN_FRAMES);
		/* Release: pairs with the acquire in is_answered. */
		sk_store(&answer.done, 1, SK_RELEASE);
	}
	errno = error;
}

/* Whether the signal is the program's, by its disposition. */
static bool is_handled(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) != 0 ||
	       (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

uintptr_t sk_backtrace_allow(void)
{
	struct sigaction action;

	if (sigaction(SK_BACKTRACE_SIGNAL, NULL, &action) < 0 ||
	    (is_handled(&action) && action.sa_handler != on_signal))
		return 0;
	sk_thread_unblock(SK_BACKTRACE_SIGNAL);
	return sk_thread_address();
}

static void nap(void)
{
	sk_parker parker;

	sk_parker_init(&parker);
	sk_park(&parker, sk_now() + 1000000);
	sk_parker_destroy(&parker);
}

static bool is_answered(void)
{
	/* Acquire: pairs with the release in on_signal. */
	return sk_load(&answer.done, SK_ACQUIRE) != 0;
}

/* Returns whether there is an answer. */
static bool ask(uintptr_t address, void *local)
{
	uint64_t until = sk_now() + SK_BACKTRACE_WAIT_MS * UINT64_C(1000000);
	void *wanted = local;

	sk_store(&answer.done, 0, SK_RELAXED);
	/* Release: pairs with the acquire in on_signal. C11 asks for both; on every system a handler runs
	 * after what came before the signal, so nothing here can show them missing. */
	sk_store(&answer.wanted, local, SK_RELEASE);
	if (sk_thread_signal(address, SK_BACKTRACE_SIGNAL) == 0)
		while (!is_answered() && sk_now() < until)
			nap();
	if (sk_cas(&answer.wanted, &wanted, NULL, SK_RELAXED, SK_RELAXED))
		return false;
	/* It is in the middle of it. */
	while (!is_answered())
		nap();
	return true;
}

/* With the handler in place. */
static void take(uintptr_t address, void *local, struct sk_backtrace *backtrace)
{
	unsigned count;

	if (!ask(address, local)) {
		backtrace->why_none = "its thread has not answered a signal";
		return;
	}
	count = answer.count > OWN_FRAMES ? (unsigned)answer.count - OWN_FRAMES : 0;
	memcpy(backtrace->frames, answer.frames + OWN_FRAMES, count * sizeof *backtrace->frames);
	backtrace->count = count;
}

void sk_backtrace_take(uintptr_t address, void *local, struct sk_backtrace *result)
{
	struct sigaction action = {.sa_flags = SA_RESTART | SA_ONSTACK}, before, now;
	void *unused[1];

	result->count = 0;
	result->why_none = NULL;
	action.sa_handler = on_signal;
	sigemptyset(&action.sa_mask);
	sk_mutex_lock(&lock);
	/* The first call of it loads a library, which a handler must not. */
	(void)backtrace(unused, 1);
	if (address == 0 || sigaction(SK_BACKTRACE_SIGNAL, NULL, &before) < 0 ||
	    is_handled(&before)) {
		result->why_none = "the program has a handler of its own for SIGURG";
	} else if (sigaction(SK_BACKTRACE_SIGNAL, &action, NULL) == 0) {
		take(address, local, result);
		/* The program may have installed one meanwhile. */
		if (sigaction(SK_BACKTRACE_SIGNAL, NULL, &now) == 0 && now.sa_handler == on_signal)
			sigaction(SK_BACKTRACE_SIGNAL, &before, NULL);
	}
	sk_mutex_unlock(&lock);
}

/* The offset is that in the module's file, for addr2line. */
static void log_frame(int level, unsigned number, void *address)
{
	/* All but the innermost are where a call returns to, which can be the next function. */
	const char *place = (const char *)address - (number > 0);
	const char *module;
	Dl_info info;

	if (dladdr(place, &info) == 0 || info.dli_fname == NULL) {
		sk_log(level, "  #%u %p", number, address);
		return;
	}
	module = strrchr(info.dli_fname, '/');
	module = module != NULL ? module + 1 : info.dli_fname;
	sk_log(level, "  #%u %s (%s+0x%" PRIxPTR ")", number,
	       info.dli_sname != NULL ? info.dli_sname : "?", module,
	       (uintptr_t)place - (uintptr_t)info.dli_fbase);
}

#else

uintptr_t sk_backtrace_allow(void)
{
	return 0;
}

void sk_backtrace_take(uintptr_t address, void *local, struct sk_backtrace *result)
{
	(void)address, (void)local;
	result->count = 0;
	result->why_none = "this system's C library has none";
}

static void log_frame(int level, unsigned number, void *address)
{
	sk_log(level, "  #%u %p", number, address);
}

#endif

void sk_backtrace_log(const struct sk_backtrace *backtrace, int level)
{
	if (backtrace->why_none != NULL)
		sk_log(level, "  no backtrace: %s", backtrace->why_none);
	for (unsigned i = 0; i < backtrace->count; i++)
		log_frame(level, i, backtrace->frames[i]);
}
