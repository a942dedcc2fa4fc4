/*
 * faults.h - fault injection: what is made to fail, when, and what the scenarios share.
 *
 * A fault names a rule (which call, which error), an index and a mode: the index-th such call that
 * the library makes fails (once), or that one and all later ones do (for good). `seen` and
 * `delivered` count what the library itself has got: calls of the scenarios do not count.
 *
 * System calls are interposed by definition in the executable (calls.c): the dynamic linker binds
 * the calls of libskua.so and of libuv.so to them, and dlsym(RTLD_NEXT) finds the next definition,
 * which under a sanitizer is its interceptor. The linker's --wrap would see only what is linked
 * statically, so not what libuv does. Who called is told by the return address. Memory fails in the
 * table of skua_set_allocator, which is libuv's as well.
 */
#ifndef SKUA_TESTS_FAULTS_FAULTS_H
#define SKUA_TESTS_FAULTS_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <skua.h>

#include "../io_kinds.h"

/* From the build. */
#ifndef T_SANITIZED
#define T_SANITIZED 0
#endif

/* ---- What can fail ---- */

/* Every call that is interposed, and memory, which is not one. */
#define FAULT_CALLS(X)                                                                             \
	X(memory)                                                                                  \
	X(accept4)                                                                                 \
	X(bind)                                                                                    \
	X(close)                                                                                   \
	X(connect)                                                                                 \
	X(epoll_create1)                                                                           \
	X(epoll_ctl)                                                                               \
	X(epoll_pwait)                                                                             \
	X(epoll_pwait2)                                                                            \
	X(epoll_wait)                                                                              \
	X(eventfd)                                                                                 \
	X(fcntl64)                                                                                 \
	X(fstat64)                                                                                 \
	X(futex_wait)                                                                              \
	X(getpeername)                                                                             \
	X(getsockname)                                                                             \
	X(getsockopt)                                                                              \
	X(listen)                                                                                  \
	X(open64)                                                                                  \
	X(pipe)                                                                                    \
	X(pipe2)                                                                                   \
	X(pthread_create)                                                                          \
	X(pthread_setname_np)                                                                      \
	X(read)                                                                                    \
	X(recv)                                                                                    \
	X(sched_getaffinity)                                                                       \
	X(sched_setaffinity)                                                                       \
	X(send)                                                                                    \
	X(sendmsg)                                                                                 \
	X(setsockopt)                                                                              \
	X(shutdown)                                                                                \
	X(so_error)                                                                                \
	X(socket)                                                                                  \
	X(write)

enum fault_call {
#define X(name) CALL_##name,
	FAULT_CALLS(X)
#undef X
		FAULT_CALL_COUNT
};

enum fault_origin { FROM_SKUA, FROM_LIBUV };

/* Instead of an errno: the call moves one byte only. */
enum { FAULT_SHORT = 4096 };

enum {
	RULE_ONCE = 1,     /* never for good: it would not be what a kernel does */
	RULE_ABSORBED = 2, /* the library gets over it: no error may come out */
	RULE_WAITS = 4,    /* for good, the library goes on waiting: only a deadline ends that */
};

struct fault_rule {
	enum fault_call call;
	enum fault_origin origin;
	int error; /* an errno or FAULT_SHORT */
	unsigned flags;
};

extern const struct fault_rule fault_rules[];
extern const int fault_rule_count;

struct fault {
	int rule;
	int index; /* from 1 */
	bool for_good;
};

/* "epoll_ctl:3:ENOMEM:once", with "uv." before the call if libuv makes it. */
void fault_format(const struct fault *fault, char *text, size_t size);
bool fault_parse(const char *text, struct fault *fault);
/* Such as "ENOMEM", "short", or a number. */
const char *fault_error_name(int error);

/* ---- The plan: one fault at a time ---- */

void fault_arm(const struct fault *fault); /* NULL: nothing fails, calls are counted */
void fault_pause(void);
void fault_resume(void);
void fault_disarm(void);
int fault_delivered(void);
/* Has deliveries counted in memory that outlives the process. */
void fault_count_into(atomic_int *place);
/* How many calls of a rule's kind were made since the plan was armed, pauses left out. */
int fault_calls(const struct fault_rule *rule);

/* What an interposed call has to do: 0 to go on, or the error. */
int fault_at(enum fault_call call, enum fault_origin origin);

/* ---- Calls and memory ---- */

/* Finds the real functions and who lies where. False, with a message: they cannot be told apart. */
bool calls_init(void);

/* Has the library take its memory from here. */
void memory_init(void);
long memory_alive(void);
/* A block that counts as the library's. */
void *memory_take(void);

/* ---- Scenarios ---- */

struct env {
	skua_runtime *rt;  /* NULL in a standalone scenario */
	uint32_t io;       /* enum io_kind */
	uint64_t patience; /* for how long something may take, in ns */
	const char *wrong; /* what should never be; set by env_wrong */
};

enum {
	SCENARIO_STANDALONE = 1, /* is given no runtime */
	SCENARIO_FRESH = 2,      /* each case in a process of its own, which has not used libuv */
	SCENARIO_AUTO = 4,       /* the number of workers is found out */
	SCENARIO_CPUS = 8,       /* the worker is kept on a CPU */
	SCENARIO_ONE = 16,       /* the number of workers makes no difference */
	SCENARIO_PEER = 32,      /* has two ends of a connection: one sees what befalls the other */
};

struct scenario {
	const char *name;
	unsigned flags;
	/* 0, or the error that came out. What it leaves running ends with the runtime. */
	int (*run)(struct env *env);
	/* After the runtime is gone; may be NULL. */
	void (*finish)(struct env *env);
};

/* Every knob: the environment is not to change a scenario. */
#define ENV_PINNED                                                                                 \
	(SKUA_KNOB_WORKERS | SKUA_KNOB_CPUS | SKUA_KNOB_IO_THREADS | SKUA_KNOB_IO_BACKEND |        \
	 SKUA_KNOB_IO_POLL | SKUA_KNOB_MAX_BLOCKING | SKUA_KNOB_BLOCKING_KEEPALIVE_MS |            \
	 SKUA_KNOB_BLOCKING_QUEUE | SKUA_KNOB_BLOCKING_FILES | SKUA_KNOB_BLOCKING_NAMES |          \
	 SKUA_KNOB_BUDGET | SKUA_KNOB_SPIN_US | SKUA_KNOB_SHUTDOWN_MS | SKUA_KNOB_LOG |            \
	 SKUA_KNOB_STALL_MS | SKUA_KNOB_SPARE_WORKERS)

extern const struct scenario scenarios_of_tasks[], scenarios_of_tcp[], scenarios_of_io[];
extern const int scenarios_of_tasks_count, scenarios_of_tcp_count, scenarios_of_io_count;

void env_wrong(struct env *env, const char *what);

/* Runs a future to its end or for env->patience; -ETIMEDOUT if it took longer. */
int env_block_on(struct env *env, skua_future *future);

/* Waits for a task, also without memory, and gives its result. */
int64_t env_wait(skua_task **task);

/* Of the results of two ends of a connection: the failure, not what the other end saw of it. */
int64_t first_cause(int64_t here, int64_t there);

/* A listener, a server task, a client: bytes go and come back, and are compared. */
int echo_once(struct env *env);

/* ---- Cases ---- */

struct job {
	const struct scenario *scenario;
	uint32_t io, workers;
	char name[64]; /* scenario/io/workers */
};

struct outcome {
	int delivered;
	int result; /* of the runtime or the scenario */
	bool leak, hang;
	char problem[256]; /* "" if all is well */
};

/* Runs a scenario with a fault, or with none, and everything that has to hold afterwards. */
void case_run(const struct job *job, const struct fault *fault, struct outcome *outcome);

/* Everything takes so many times as long here. */
double case_slowness(void);

#endif /* SKUA_TESTS_FAULTS_FAULTS_H */
