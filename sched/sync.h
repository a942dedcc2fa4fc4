/*
 * sync.h - the seam for everything that depends on other threads, on the clock or on memory.
 *
 * This file and sync.c are the only places in sched/, io/ and runtime/ that name atomics, threads,
 * locks, futexes, thread-local storage (but for one of chaos.c), raw allocation, the clock or
 * randomness; `./dev lint` enforces it. In a release build the atomics are the compiler's own and
 * cost nothing extra. Under ThreadSanitizer, which does not see fences, sk_fence is a
 * read-modify-write. A model checker replaces sync.c and sees every access. A chaos build disturbs
 * threads at each operation (chaos.h).
 *
 * An atomic is declared with SK_ATOMIC(type) and reached through the macros below only: the wrapper
 * struct makes a plain access a compile error. Every access names its order, and says in a comment
 * which access it pairs with, unless it is SK_RELAXED.
 */
#ifndef SKUA_SCHED_SYNC_H
#define SKUA_SCHED_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Atomics ---- */

#define SK_RELAXED __ATOMIC_RELAXED
#define SK_ACQUIRE __ATOMIC_ACQUIRE
#define SK_RELEASE __ATOMIC_RELEASE
#define SK_ACQ_REL __ATOMIC_ACQ_REL
#define SK_SEQ_CST __ATOMIC_SEQ_CST

#define SK_ATOMIC(type)                                                                            \
	struct {                                                                                   \
		type value_;                                                                       \
	}

/* Before an object is shared; not atomic. */
#define sk_init(atomic, value) ((void)((atomic)->value_ = (value)))

/* A point at which a chaos build disturbs the calling thread (chaos.h); in chaos.c itself there are
 * none. */
#if defined(SK_CHAOS) && !defined(SK_NO_POINTS)
#include "sched/chaos.h"
#define sk_point() sk_chaos_point()
#else
#define sk_point() ((void)0)
#endif

#define sk_load(atomic, order) (sk_point(), __atomic_load_n(&(atomic)->value_, (order)))
#define sk_store(atomic, value, order)                                                             \
	(sk_point(), __atomic_store_n(&(atomic)->value_, (value), (order)))
#define sk_exchange(atomic, value, order)                                                          \
	(sk_point(), __atomic_exchange_n(&(atomic)->value_, (value), (order)))
#define sk_fetch_add(atomic, value, order)                                                         \
	(sk_point(), __atomic_fetch_add(&(atomic)->value_, (value), (order)))
#define sk_fetch_sub(atomic, value, order)                                                         \
	(sk_point(), __atomic_fetch_sub(&(atomic)->value_, (value), (order)))
#define sk_fetch_or(atomic, value, order)                                                          \
	(sk_point(), __atomic_fetch_or(&(atomic)->value_, (value), (order)))
#define sk_fetch_and(atomic, value, order)                                                         \
	(sk_point(), __atomic_fetch_and(&(atomic)->value_, (value), (order)))
#define sk_fetch_xor(atomic, value, order)                                                         \
	(sk_point(), __atomic_fetch_xor(&(atomic)->value_, (value), (order)))

/* Compare and exchange: true if `*expected` was there and `desired` is now; otherwise `*expected`
 * becomes what was found (read with order `failure`). The weak one may fail spuriously. */
#define sk_cas(atomic, expected, desired, success, failure)                                        \
	(sk_point(), __atomic_compare_exchange_n(&(atomic)->value_, (expected), (desired), 0,      \
						 (success), (failure)))
#if defined(SK_CHAOS) && !defined(SK_NO_POINTS)
#define sk_cas_weak(atomic, expected, desired, success, failure)                                   \
	(sk_chaos_fails() ? (*(expected) = sk_load(atomic, failure), false)                        \
			  : sk_cas(atomic, expected, desired, success, failure))
#else
#define sk_cas_weak(atomic, expected, desired, success, failure)                                   \
	__atomic_compare_exchange_n(&(atomic)->value_, (expected), (desired), 1, (success),        \
				    (failure))
#endif

#if defined(__SANITIZE_THREAD__) && !defined(SK_TSAN)
#define SK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SK_TSAN 1
#endif
#endif

/* The sequentially consistent step between "publish" and "look", in store-then-load protocols. */
#ifdef SK_TSAN
void sk_fence(void);
#else
static inline void sk_fence(void)
{
	sk_point();
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#endif

/*
 * The same step for two sides of which one takes it all the time, and the other hardly ever: whoever
 * passes the light one, and whoever passes the heavy one, are ordered as by two sk_fence. Where the
 * system has membarrier(2), the light one costs nothing, and the heavy one interrupts every thread of
 * the process; elsewhere both are fences. sk_fence_prepare comes first, once or more often.
 */
#ifdef SK_TSAN
void sk_fence_light(void);
#else
typedef SK_ATOMIC(bool) sk_flag;
extern sk_flag sk_fence_light_is_free;

static inline void sk_fence_light(void)
{
	sk_point();
	/* Relaxed: decided before sk_fence_prepare returns, and the same ever after. */
	if (sk_load(&sk_fence_light_is_free, SK_RELAXED))
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	else
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#endif
/* False: it cannot be done, and nothing is known of the others. */
bool sk_fence_heavy(void);
void sk_fence_prepare(void);

/* Says that this thread only waits for another one. */
static inline void sk_spin_hint(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

/* One line of the cache, doubled because x86 fetches lines in pairs. */
#define SK_CACHE_LINE 128
#define SK_ALIGNED __attribute__((aligned(SK_CACHE_LINE)))

/* ---- Threads ---- */

typedef struct sk_thread {
	pthread_t id;
	void (*run)(void *argument);
	void *argument;
	char name[16];
} sk_thread;

/* Starts a thread with every signal blocked that is not of its own making, so that signals go to
 * the program's own threads. It reads `thread` when it begins: it stays where it is until then.
 * `name` has at most 15 characters. Returns 0 or -EAGAIN. */
int sk_thread_start(sk_thread *thread, const char *name, void (*run)(void *argument),
		    void *argument);

void sk_thread_join(sk_thread *thread);

/* The calling thread's address for signals; not 0. */
uintptr_t sk_thread_address(void);

/* Sends a signal to a thread that has not been joined. Returns 0 or a negative errno. */
int sk_thread_signal(uintptr_t address, int signal);

/* Lets the calling thread take a signal. */
void sk_thread_unblock(int signal);

/* The CPUs that a thread may run on; room for any number that the kernel can give. */
typedef struct sk_cpu_mask {
	unsigned long bits[8192 / (8 * sizeof(unsigned long))];
} sk_cpu_mask;

/* Keeps the calling thread on one CPU. Returns 0 or a negative errno. */
int sk_thread_pin(int cpu);

/* What the calling thread may run on, and the same set. Return 0 or a negative errno. */
int sk_thread_get_cpus(sk_cpu_mask *mask);
int sk_thread_set_cpus(const sk_cpu_mask *mask);

/* The CPU that the calling thread is on at the moment; -1 if nobody knows. */
int sk_thread_cpu(void);

void sk_thread_yield(void);

/* A clock of the calling thread's CPU time, for sk_cpu_time; SK_NO_CLOCK if there is none. */
enum { SK_NO_CLOCK = 0 };
int32_t sk_thread_cpu_clock(void);

/* What a thread has used so far, in ns; any thread may ask. 0 if it has ended, or for SK_NO_CLOCK. */
uint64_t sk_cpu_time(int32_t clock);

#ifdef SK_CHAOS
void sk_thread_sleep(uint64_t ns);
#endif

/* A small number that differs between threads and stays the same in one: for spreading. */
uint32_t sk_thread_stripe(void);

/* Over how many places a counter is spread that all threads write. The model checker, which tries
 * every order of looking at them, has fewer. */
#ifndef SK_STRIPES
#define SK_STRIPES 16
#endif

/* The one thread-local pointer there is: the worker that runs on this thread, or NULL. */
void *sk_thread_local(void);
void sk_thread_local_set(void *value);

typedef struct sk_mutex {
	pthread_mutex_t handle;
} sk_mutex;

typedef struct sk_cond {
	pthread_cond_t handle;
} sk_cond;

/* For a mutex with static storage. */
#define SK_MUTEX_INITIALIZER                                                                       \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER                                                          \
	}

void sk_mutex_init(sk_mutex *mutex);
void sk_mutex_destroy(sk_mutex *mutex);
void sk_mutex_lock(sk_mutex *mutex);
void sk_mutex_unlock(sk_mutex *mutex);

void sk_cond_init(sk_cond *cond);
void sk_cond_destroy(sk_cond *cond);
void sk_cond_wait(sk_cond *cond, sk_mutex *mutex);
/* Until a moment of sk_now. Returns false when it has passed. */
bool sk_cond_wait_until(sk_cond *cond, sk_mutex *mutex, uint64_t deadline);
void sk_cond_signal(sk_cond *cond);
void sk_cond_broadcast(sk_cond *cond);

#define SK_FOREVER UINT64_MAX

#ifdef __linux__
#define SK_HAS_FUTEX 1
typedef SK_ATOMIC(uint32_t) sk_futex;

/* Sleeps while the word is `expected`; returns -ETIMEDOUT when `deadline` has passed, or else 0, also
 * for no reason. */
int sk_futex_wait(sk_futex *word, uint32_t expected, uint64_t deadline);

/* Wakes one thread that sleeps on this address. The word itself is not touched, and may be gone. */
void sk_futex_wake(sk_futex *word);
#endif

/* ---- Time and randomness ---- */

/* Nanoseconds of the monotonic clock. */
uint64_t sk_now(void);

/* The same, some milliseconds late, where that costs less. */
uint64_t sk_now_coarse(void);

/* The next number of a generator whose state is not 0 (xorshift, Marsaglia 2003). */
static inline uint32_t sk_random(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

/* ---- Memory ---- */

/* As their namesakes, through the table of skua_set_allocator. */
void *sk_malloc(size_t size);
void *sk_calloc(size_t count, size_t size);
void sk_free(void *block);
/* For a block of sk_malloc or sk_calloc whose size is known. */
void sk_free_sized(void *block, size_t size);

/* Zeroed memory on a boundary of SK_CACHE_LINE. */
void *sk_calloc_aligned(size_t size);
void sk_free_aligned(void *block);

/* Counts what keeps the memory functions from being replaced (runtimes, blockers). */
void sk_allocator_hold(void);
void sk_allocator_release(void);

/*
 * Copies memory that other threads may be writing, or that may be gone, for dumps: what comes of it
 * may be anything. False: it cannot be read.
 */
bool sk_peek(void *copy, const void *from, size_t size);

/* ---- Mistakes ---- */

/* Says what went wrong, where, and aborts: for broken invariants, never for bad input. */
#define sk_panic(message) sk_panic_at(__FILE__, __LINE__, message)
__attribute__((noreturn)) void sk_panic_at(const char *file, int line, const char *message);

/* An invariant, checked in every build: these checks are cheap and a broken queue is not. */
#define sk_assert(condition)                                                                       \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0))                                             \
			sk_panic("broken invariant: " #condition);                                 \
	} while (0)

#endif /* SKUA_SCHED_SYNC_H */
