/*
 * skua/runtime.h - the runtime: its configuration, its life, and the way in from ordinary threads.
 *
 * A runtime is a set of worker threads, an IO driver thread and a pool of threads for calls that
 * block. A process may have several; they share nothing.
 *
 *     skua_config config;
 *     skua_config_init(&config);
 *     rc = skua_runtime_new(&config, &rt);
 *     if (rc < 0)
 *             return 1; // it has been logged why; config.message says it, too
 *     ...
 *     skua_runtime_free(rt);
 */
#ifndef SKUA_RUNTIME_H
#define SKUA_RUNTIME_H

#include "blocking.h"
#include "future.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The knobs. Each has a field in skua_config and an environment variable, and takes its value from
 * the default, then the field, then the environment: the operator has the last word, unless the
 * program pins the knob (skua_config.pinned). docs/configuration.md has the table.
 */
enum {
	SKUA_KNOB_WORKERS = 1u << 0,               /* SKUA_WORKERS */
	SKUA_KNOB_CPUS = 1u << 1,                  /* SKUA_CPUS */
	SKUA_KNOB_IO_THREADS = 1u << 2,            /* SKUA_IO_THREADS */
	SKUA_KNOB_IO_BACKEND = 1u << 3,            /* SKUA_IO_BACKEND */
	SKUA_KNOB_IO_POLL = 1u << 4,               /* SKUA_IO_POLL */
	SKUA_KNOB_MAX_BLOCKING = 1u << 5,          /* SKUA_MAX_BLOCKING */
	SKUA_KNOB_BLOCKING_KEEPALIVE_MS = 1u << 6, /* SKUA_BLOCKING_KEEPALIVE_MS */
	SKUA_KNOB_BLOCKING_QUEUE = 1u << 7,        /* SKUA_BLOCKING_QUEUE */
	SKUA_KNOB_BLOCKING_FILES = 1u << 8,        /* SKUA_BLOCKING_FILES */
	SKUA_KNOB_BLOCKING_NAMES = 1u << 9,        /* SKUA_BLOCKING_NAMES */
	SKUA_KNOB_BUDGET = 1u << 10,               /* SKUA_BUDGET */
	SKUA_KNOB_SPIN_US = 1u << 11,              /* SKUA_SPIN_US */
	SKUA_KNOB_SHUTDOWN_MS = 1u << 12,          /* SKUA_SHUTDOWN_MS */
	SKUA_KNOB_LOG = 1u << 13,                  /* SKUA_LOG */
	SKUA_KNOB_STALL_MS = 1u << 14,             /* SKUA_STALL_MS */
	SKUA_KNOB_SPARE_WORKERS = 1u << 15,        /* SKUA_SPARE_WORKERS */
};

enum { SKUA_IO_BACKEND_AUTO = 0, SKUA_IO_BACKEND_EPOLL = 1, SKUA_IO_BACKEND_UV = 2 };

/* Who waits for events: only the driver, or an idle worker in its place. Assist needs the epoll
 * backend. */
enum { SKUA_IO_POLL_AUTO = 0, SKUA_IO_POLL_DRIVER = 1, SKUA_IO_POLL_ASSIST = 2 };

enum { SKUA_LOG_OFF = 0, SKUA_LOG_ERROR = 1, SKUA_LOG_WARN = 2, SKUA_LOG_INFO = 3 };

typedef struct skua_config {
	size_t struct_size; /* set by skua_config_init */
	uint32_t pinned;    /* SKUA_KNOB_* bits that the environment must not change */

	uint32_t workers;      /* 1 to 512; 0 = auto: the CPUs this process may use */
	const char *cpus;      /* such as "0-3,6"; worker i runs on the i-th; NULL = any */
	uint32_t io_threads;   /* driver threads, 1 to 64; descriptors are spread over them */
	uint32_t io_backend;   /* SKUA_IO_BACKEND_* */
	uint32_t io_poll;      /* SKUA_IO_POLL_* */
	uint32_t max_blocking; /* threads for blocking calls, 1 to 10000 */
	uint32_t blocking_keepalive_ms; /* how long an idle one of these lives */
	uint32_t blocking_queue;        /* jobs of each kind that may wait for one, from 1 on */
	uint32_t blocking_files; /* jobs on files that run at once, at most, 1 to 10000; 0 = auto:
	                            half of max_blocking */
	uint32_t blocking_names; /* lookups of names, likewise; 0 = auto: a quarter of it */
	uint32_t budget;         /* operations in one poll before a task gives way, 1 to 65536 */
	uint32_t spin_us;        /* how long a worker looks for work before it sleeps, 0 to
	                                   10000 */
	uint32_t shutdown_ms;    /* how long skua_runtime_free lets tasks end by themselves */
	uint32_t log;            /* SKUA_LOG_*: what is written to standard error */
	uint32_t stall_ms;       /* a poll that takes so long is reported; 0: none is */
	uint32_t spare_workers;  /* threads that stand in for stuck workers, 0 to 511, at most */

	char message[256]; /* out: what was wrong, as a sentence, when a call returned an error */
} skua_config;

/* Fills in the defaults. Must come before any field is set. Any thread; never blocks. */
SKUA_API void skua_config_init(skua_config *config);

/*
 * Applies the environment and checks every knob. skua_runtime_new does this by itself on a copy;
 * call it to see the outcome. Returns 0; -EINVAL if config is NULL, was not initialised or holds a
 * value that is not accepted: config->message then names the variable or the field, the value, and
 * what is accepted. Any thread, but getenv's usual caveat holds; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_config_resolve(skua_config *config);

/*
 * Writes a table of every knob, its value and where the value came from (default, program,
 * environment), of an initialised config as skua_config_resolve would make it.
 * Like snprintf: returns the length of the whole text, at most size - 1 of which are stored; or
 * -EINVAL as skua_config_resolve, whose message says why. Any thread; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_config_describe(const skua_config *config, char *text, size_t size);

/*
 * Starts a runtime: its workers and its driver run when this returns. `config` is read, except for
 * `message`. Returns 0 and stores the runtime; otherwise nothing is left running: -EINVAL (see
 * skua_config_resolve; also if config or runtime is NULL), -ENOMEM, -EAGAIN (no more threads),
 * -EMFILE or -ENFILE (no more descriptors); -EDEADLK on a worker. config->message says it as a
 * sentence, and what is wrong with the environment is on standard error as well. Any thread that is
 * not a worker; blocks for as long as threads take to start.
 *
 * The runtime's threads block every signal but those of faults, so that signals go to the program's
 * own threads; but workers take SIGURG, for the backtraces of SKUA_STALL_MS, unless the program handles
 * it. They share nothing with other runtimes, but a task may join a task of another one.
 */
SKUA_API SKUA_MUST_USE int skua_runtime_new(skua_config *config, skua_runtime **runtime);

/*
 * Ends a runtime: no new tasks; every task is cancelled, once more if it was before, and gets
 * `shutdown_ms` to end; tasks that have not are named on standard error and dropped; blocking calls
 * and polls that still run are named there, too, and waited for (after such a poll, tasks that could
 * not be told before, because their worker was in it, get `shutdown_ms` as well); every thread is
 * joined; sockets that are still open are closed. Handles of tasks may outlive it, those of sockets,
 * listeners and timers may not. NULL is allowed.
 *
 * Returns 0; -ETIMEDOUT if tasks had to be dropped (the runtime is gone all the same); -EDEADLK
 * from a worker or a blocking job of this runtime, and nothing happened. One thread; blocks. A
 * poll or a blocking call that never returns makes it wait for ever: threads cannot be ended.
 */
SKUA_API int skua_runtime_free(skua_runtime *runtime);

/*
 * Runs a future to its end and returns its result. The future stays where it is, and is polled on
 * a worker while the calling thread waits. Returns the result; -EDEADLK from a worker, -ENOMEM,
 * -ESHUTDOWN, -EINVAL if an argument is NULL, in which cases it was never polled. -ECANCELED, too,
 * if the runtime is freed meanwhile and the future does not end in the grace period: it has been
 * dropped then. Any thread but a worker; blocks.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_block_on(skua_runtime *runtime, skua_future *future);

/* Blocking jobs of one kind, now; the last one since the beginning. */
typedef struct skua_blocking_stats {
	uint64_t running;
	uint64_t queued;  /* accepted, and not begun */
	uint64_t waiting; /* skua_spawn_blocking_when_room that wait for room in the queue */
	uint64_t refused; /* times that a job found no room */
} skua_blocking_stats;

/* What a runtime has done so far; all are sums over its workers or drivers. */
typedef struct skua_stats {
	uint64_t workers;   /* how many there are, without spare ones */
	uint64_t spawned;   /* tasks and blocking jobs */
	uint64_t completed; /* of these */
	uint64_t polls;     /* polls of tasks */
	uint64_t stolen;    /* tasks that another worker took */
	uint64_t parks;     /* times that a worker went to sleep */
	uint64_t wakes;     /* times that a worker was woken by another thread */
	uint64_t
		io_batches; /* times that a driver or a worker came back from its wait with events */
	uint64_t io_events;                                /* events in them */
	uint64_t blocking_threads;                         /* that exist now */
	skua_blocking_stats blocking[SKUA_BLOCKING_KINDS]; /* by kind: SKUA_BLOCKING_* */
	uint64_t spare_workers; /* that have been started to stand in for stuck ones */
	uint64_t stalls;        /* polls that took SKUA_STALL_MS, reported or left out */
} skua_stats;

/* Takes the counters, each exact, together only roughly of one moment. Any thread; never blocks. */
SKUA_API void skua_runtime_stats(const skua_runtime *runtime, skua_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_RUNTIME_H */
