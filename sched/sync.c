/*
 * sync.c - what sync.h declares: threads, locks, the clock and memory of this system.
 */
#include "sched/sync.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#endif

#include <uv.h>

#include "sched/log.h"

#include "skua/base.h"
#include "skua/runtime.h"

/* ---- Mistakes ---- */

void sk_panic_at(const char *file, int line, const char *message)
{
	fprintf(stderr, "skua: %s:%d: %s\n", file, line, message);
	abort();
}

static void check(int error, const char *call)
{
	if (error == 0)
		return;
	fprintf(stderr, "skua: %s: %s\n", call, strerror(error));
	abort();
}

#ifdef SK_TSAN
void sk_fence(void)
{
	static SK_ATOMIC(uint32_t) word;

	sk_fetch_add(&word, 0, SK_SEQ_CST);
}

/* It knows nothing of membarrier. */
void sk_fence_light(void)
{
	sk_fence();
}

bool sk_fence_heavy(void)
{
	sk_fence();
	return true;
}

void sk_fence_prepare(void)
{
}

#else

sk_flag sk_fence_light_is_free;

#ifdef __linux__

/* The command for "all threads of this process pass a fence" must have been asked for beforehand, by
 * `register`; both are since Linux 4.14 (MEMBARRIER(2)). */
static bool membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0) == 0;
}

void sk_fence_prepare(void)
{
	static sk_mutex lock = SK_MUTEX_INITIALIZER;
	static bool asked;

	sk_mutex_lock(&lock);
	if (!asked)
		sk_store(&sk_fence_light_is_free,
			 membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED), SK_RELAXED);
	asked = true;
	sk_mutex_unlock(&lock);
}

/* A filter for system calls that the program has put up since then may refuse it. */
bool sk_fence_heavy(void)
{
	sk_fence();
	if (sk_load(&sk_fence_light_is_free, SK_RELAXED) &&
	    !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return false;
	sk_fence();
	return true;
}

#else

void sk_fence_prepare(void)
{
}

bool sk_fence_heavy(void)
{
	sk_fence();
	return true;
}

#endif
#endif

/* ---- Threads ---- */

static void *thread_main(void *argument)
{
	sk_thread *thread = argument;

#ifdef __linux__
	pthread_setname_np(pthread_self(), thread->name);
#endif
	thread->run(thread->argument);
	return NULL;
}

int sk_thread_start(sk_thread *thread, const char *name, void (*run)(void *argument),
		    void *argument)
{
	static const int keep[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
				   SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
	sigset_t all, before;
	int error;

	thread->run = run;
	thread->argument = argument;
	snprintf(thread->name, sizeof thread->name, "%s", name);
	sigfillset(&all);
	/* Not those that a thread raises itself by a fault, and not a profiler's. */
	for (size_t i = 0; i < sizeof keep / sizeof keep[0]; i++)
		sigdelset(&all, keep[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread->id, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

void sk_thread_join(sk_thread *thread)
{
	check(pthread_join(thread->id, NULL), "pthread_join");
}

uintptr_t sk_thread_address(void)
{
	return (uintptr_t)pthread_self();
}

int sk_thread_signal(uintptr_t address, int signal)
{
	return -pthread_kill((pthread_t)address, signal);
}

void sk_thread_unblock(int signal)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int sk_thread_pin(int cpu)
{
	sk_cpu_mask mask = {{0}};
	size_t bits = 8 * sizeof mask.bits[0];

	if (cpu < 0 || (size_t)cpu >= 8 * sizeof mask)
		return -EINVAL;
	mask.bits[(size_t)cpu / bits] |= 1ul << ((size_t)cpu % bits);
	return sk_thread_set_cpus(&mask);
}

#ifdef __linux__
int sk_thread_get_cpus(sk_cpu_mask *mask)
{
	memset(mask, 0, sizeof *mask);
	return sched_getaffinity(0, sizeof *mask, (cpu_set_t *)mask) < 0 ? -errno : 0;
}

int sk_thread_set_cpus(const sk_cpu_mask *mask)
{
	return syscall(SYS_sched_setaffinity, 0, sizeof *mask, mask) < 0 ? -errno : 0;
}

int sk_thread_cpu(void)
{
	return sched_getcpu();
}
#else
int sk_thread_get_cpus(sk_cpu_mask *mask)
{
	(void)mask;
	return -ENOTSUP;
}

int sk_thread_set_cpus(const sk_cpu_mask *mask)
{
	(void)mask;
	return -ENOTSUP;
}

int sk_thread_cpu(void)
{
	return -1;
}
#endif

void sk_thread_yield(void)
{
	sched_yield();
}

int32_t sk_thread_cpu_clock(void)
{
#ifdef __linux__
	clockid_t clock;

	if (pthread_getcpuclockid(pthread_self(), &clock) == 0)
		return clock;
#endif
	return SK_NO_CLOCK;
}

uint64_t sk_cpu_time(int32_t clock)
{
	struct timespec time;

	if (clock == SK_NO_CLOCK || clock_gettime(clock, &time) < 0)
		return 0;
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

#ifdef SK_CHAOS
void sk_thread_sleep(uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	nanosleep(&ts, NULL);
}
#endif

static _Thread_local void *thread_local_value;

/*
 * Not inlined, and behind a barrier: a compiler may keep the address of a thread-local variable
 * over a call that changes threads. Tasks here never do that in the middle of a function, but the
 * stackful ones of a program may.
 */
__attribute__((noinline)) void *sk_thread_local(void)
{
	void **slot = &thread_local_value;

	__asm__ volatile("" : "+r"(slot));
	return *slot;
}

__attribute__((noinline)) void sk_thread_local_set(void *value)
{
	void **slot = &thread_local_value;

	__asm__ volatile("" : "+r"(slot));
	*slot = value;
}

__attribute__((noinline)) uint32_t sk_thread_stripe(void)
{
	uintptr_t address = (uintptr_t)&thread_local_value;

	/* Thread-local blocks lie a whole stack apart, a power of two perhaps: only the upper bits
	 * of the product depend on every bit of the address (Fibonacci hashing, Knuth 6.4). */
	return (uint32_t)((uint64_t)address * UINT64_C(0x9E3779B97F4A7C15) >> 48);
}

void sk_mutex_init(sk_mutex *mutex)
{
	check(pthread_mutex_init(&mutex->handle, NULL), "pthread_mutex_init");
}

void sk_mutex_destroy(sk_mutex *mutex)
{
	check(pthread_mutex_destroy(&mutex->handle), "pthread_mutex_destroy");
}

void sk_mutex_lock(sk_mutex *mutex)
{
	sk_point();
	check(pthread_mutex_lock(&mutex->handle), "pthread_mutex_lock");
}

void sk_mutex_unlock(sk_mutex *mutex)
{
	check(pthread_mutex_unlock(&mutex->handle), "pthread_mutex_unlock");
	sk_point();
}

void sk_cond_init(sk_cond *cond)
{
	pthread_condattr_t attributes;

	check(pthread_condattr_init(&attributes), "pthread_condattr_init");
#ifndef __APPLE__
	check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), "pthread_condattr_setclock");
#endif
	check(pthread_cond_init(&cond->handle, &attributes), "pthread_cond_init");
	pthread_condattr_destroy(&attributes);
}

void sk_cond_destroy(sk_cond *cond)
{
	check(pthread_cond_destroy(&cond->handle), "pthread_cond_destroy");
}

/* In a chaos build a wait may end for no reason. */
static bool ends_at_once(sk_mutex *mutex)
{
#ifdef SK_CHAOS
	if (sk_chaos_fails()) {
		sk_mutex_unlock(mutex);
		sk_mutex_lock(mutex);
		return true;
	}
#else
	(void)mutex;
#endif
	return false;
}

void sk_cond_wait(sk_cond *cond, sk_mutex *mutex)
{
	if (ends_at_once(mutex))
		return;
	check(pthread_cond_wait(&cond->handle, &mutex->handle), "pthread_cond_wait");
}

static struct timespec timespec_of(uint64_t nanoseconds)
{
	struct timespec ts = {
		.tv_sec = (time_t)(nanoseconds / 1000000000u),
		.tv_nsec = (long)(nanoseconds % 1000000000u),
	};

	return ts;
}

bool sk_cond_wait_until(sk_cond *cond, sk_mutex *mutex, uint64_t deadline)
{
#ifdef __APPLE__
	uint64_t now = sk_now();
	struct timespec ts = timespec_of(deadline > now ? deadline - now : 0);
	int error = pthread_cond_timedwait_relative_np(&cond->handle, &mutex->handle, &ts);
#else
	struct timespec ts = timespec_of(deadline);
	int error;

	if (ends_at_once(mutex))
		return true;
	error = pthread_cond_timedwait(&cond->handle, &mutex->handle, &ts);
#endif
	if (error == ETIMEDOUT)
		return false;
	check(error, "pthread_cond_timedwait");
	return true;
}

void sk_cond_signal(sk_cond *cond)
{
	sk_point();
	check(pthread_cond_signal(&cond->handle), "pthread_cond_signal");
}

void sk_cond_broadcast(sk_cond *cond)
{
	sk_point();
	check(pthread_cond_broadcast(&cond->handle), "pthread_cond_broadcast");
}

#ifdef __linux__

/* With a 64-bit time_t, 32-bit systems have a call of their own. */
#if defined(SYS_futex_time64) && (!defined(SYS_futex) || __SIZEOF_LONG__ == 4)
#define FUTEX_CALL (sizeof(time_t) > sizeof(long) ? SYS_futex_time64 : FUTEX_CALL_LONG)
#ifdef SYS_futex
#define FUTEX_CALL_LONG SYS_futex
#else
#define FUTEX_CALL_LONG SYS_futex_time64
#endif
#else
#define FUTEX_CALL SYS_futex
#endif

int sk_futex_wait(sk_futex *word, uint32_t expected, uint64_t deadline)
{
	struct timespec ts, *until = NULL;

	sk_point();
#ifdef SK_CHAOS
	if (sk_chaos_fails())
		return 0;
#endif
	if (deadline != SK_FOREVER) {
		ts = timespec_of(deadline);
		until = &ts;
	}
	/* WAIT_BITSET, because its timeout is a moment of the monotonic clock. */
	if (syscall(FUTEX_CALL, word, FUTEX_WAIT_BITSET_PRIVATE, expected, until, NULL,
		    FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void sk_futex_wake(sk_futex *word)
{
	sk_point();
	syscall(FUTEX_CALL, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif

/* ---- Time ---- */

uint64_t sk_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t sk_now_coarse(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
#else
	return sk_now();
#endif
}

/* ---- Memory ---- */

/* jemalloc's sized free, if the program or the environment brought jemalloc along. */
extern void sdallocx(void *block, size_t size, int flags) __attribute__((weak));

static void default_free_sized(void *block, size_t size)
{
	if (sdallocx != NULL && block != NULL)
		sdallocx(block, size, 0);
	else
		free(block);
}

static const skua_allocator default_allocator = {
	sizeof(skua_allocator), malloc, calloc, realloc, free, default_free_sized,
};

static skua_allocator allocator = {
	sizeof(skua_allocator), malloc, calloc, realloc, free, default_free_sized,
};

/* How many runtimes and blockers live: while there are any, the table must not change. */
static SK_ATOMIC(uint32_t) allocator_holders;

/* Before 1.51, libuv aborts without a word if its table of descriptors cannot grow. */
static void *libuv_realloc(void *block, size_t size)
{
	void *larger = allocator.realloc(block, size);

	if (larger == NULL && uv_version() < (1 << 16 | 51 << 8))
		sk_log(SKUA_LOG_ERROR,
		       "no memory for libuv, most likely for its table of descriptors: "
		       "then it aborts now");
	return larger;
}

int skua_set_allocator(const skua_allocator *table)
{
	const skua_allocator *t = table != NULL ? table : &default_allocator;

	if (t->struct_size != sizeof *t || t->malloc == NULL || t->calloc == NULL ||
	    t->realloc == NULL || t->free == NULL)
		return -EINVAL;
	if (sk_load(&allocator_holders, SK_ACQUIRE) != 0)
		return -EBUSY;
	if (uv_replace_allocator(t->malloc, libuv_realloc, t->calloc, t->free) != 0)
		return -EINVAL;
	allocator = *t;
	return 0;
}

void sk_allocator_hold(void)
{
	sk_fetch_add(&allocator_holders, 1, SK_RELAXED);
}

void sk_allocator_release(void)
{
	/* Release: pairs with the acquire in skua_set_allocator. */
	sk_fetch_sub(&allocator_holders, 1, SK_RELEASE);
}

void *sk_malloc(size_t size)
{
	return allocator.malloc(size);
}

void *sk_calloc(size_t count, size_t size)
{
	return allocator.calloc(count, size);
}

void sk_free(void *block)
{
	allocator.free(block);
}

void sk_free_sized(void *block, size_t size)
{
	if (allocator.free_sized != NULL)
		allocator.free_sized(block, size);
	else
		allocator.free(block);
}

void *sk_calloc_aligned(size_t size)
{
	/* Room to move the start to a boundary, and to keep the block's true start before it. */
	char *block = sk_malloc(size + SK_CACHE_LINE + sizeof(void *));
	uintptr_t start;

	if (block == NULL)
		return NULL;
	start = ((uintptr_t)block + sizeof(void *) + SK_CACHE_LINE - 1) &
		~(uintptr_t)(SK_CACHE_LINE - 1);
	((void **)start)[-1] = block;
	memset((void *)start, 0, size);
	return (void *)start;
}

void sk_free_aligned(void *block)
{
	if (block != NULL)
		sk_free(((void **)block)[-1]);
}

bool sk_peek(void *copy, const void *from, size_t size)
{
#ifdef __linux__
	/* The kernel reads for us: memory that is not there is an error, and no sanitizer is told. */
	struct iovec into = {copy, size}, out_of = {(void *)(uintptr_t)from, size};
	ssize_t read = process_vm_readv(getpid(), &into, 1, &out_of, 1, 0);

	/* Where that is forbidden (some sandboxes do), nothing can be read. */
	return read == (ssize_t)size;
#else
	if (from == NULL)
		return false;
	memcpy(copy, from, size);
	return true;
#endif
}
