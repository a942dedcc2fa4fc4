/*
 * sync_model.c - the seam sched/sync.h for modelled threads: in place of sched/sync.c.
 */
#include "sched/sync.h"

#include <errno.h>
#include <string.h>

#include "sched/log.h"
#include "tests/model/explorer.h"
#include "tests/model/sync_model.h"

void sk_panic_at(const char *file, int line, const char *message)
{
	mc_fail("%s:%d: %s", file, line, message);
}

bool sk_log_passes(int level)
{
	(void)level;
	return false;
}

void sk_log(int level, const char *format, ...)
{
	(void)level, (void)format;
}

void sk_fence(void)
{
	mc_fence(__ATOMIC_SEQ_CST, __builtin_return_address(0));
}

/* ---- Failures and time, as a scenario wants them ---- */

static unsigned failures_allowed, failures;
static uint64_t clock_floor; /* the clock is not before this */

void mc_allow_failures(unsigned n)
{
	failures_allowed = n;
}

unsigned mc_failures(void)
{
	return failures;
}

static bool fails(void)
{
	if (failures_allowed == 0 || mc_choose(2) == 0)
		return false;
	failures_allowed--;
	failures++;
	return true;
}

/* What the compiler may not move; the processor may. */
void sk_fence_light(void)
{
}

/* That it fails is as if the owner was inside (sched/bias.h). */
bool sk_fence_heavy(void)
{
	mc_fence_all(__builtin_return_address(0));
	return true;
}

void sk_fence_prepare(void)
{
}

static void clock_reaches(uint64_t moment)
{
	if (clock_floor < moment)
		clock_floor = moment;
}

uint64_t sk_now(void)
{
	clock_reaches(mc_now());
	return clock_floor;
}

uint64_t sk_now_coarse(void)
{
	return clock_floor;
}

/* Nothing can be read without being observed. */
bool sk_peek(void *copy, const void *from, size_t size)
{
	(void)copy, (void)from, (void)size;
	return false;
}

void mc_advance_clock(uint64_t ns)
{
	clock_reaches(sk_now() + ns);
}

/* A wait that may run out. Returns false if it did: then it is as late as that. */
static bool block_until(const void *object, const char *what, uint64_t deadline)
{
	if (mc_block(object, what, deadline != SK_FOREVER))
		return true;
	clock_reaches(deadline);
	return false;
}

/* ---- Threads ---- */

int sk_thread_start(sk_thread *thread, const char *name, void (*run)(void *argument),
		    void *argument)
{
	(void)name;
	if (fails())
		return -EAGAIN;
	thread->id = (pthread_t)mc_thread(run, argument);
	return 0;
}

void sk_thread_join(sk_thread *thread)
{
	mc_join((int)thread->id);
}

int sk_thread_pin(int cpu)
{
	(void)cpu;
	return 0;
}

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

int32_t sk_thread_cpu_clock(void)
{
	return SK_NO_CLOCK;
}

uint64_t sk_cpu_time(int32_t clock)
{
	(void)clock;
	return 0;
}

void sk_thread_yield(void)
{
	mc_yield();
}

uint32_t sk_thread_stripe(void)
{
	return (uint32_t)mc_self();
}

void *sk_thread_local(void)
{
	return *mc_thread_local();
}

void sk_thread_local_set(void *value)
{
	*mc_thread_local() = value;
}

/* ---- Locks: the first bytes of the handle say by whom it is held, counted from 1 ---- */

#define HERE __builtin_return_address(0)

static int *held(sk_mutex *mutex)
{
	return (int *)(void *)&mutex->handle;
}

void sk_mutex_init(sk_mutex *mutex)
{
	mc_plain((uintptr_t)mutex, sizeof *mutex, true, HERE);
	memset(mutex, 0, sizeof *mutex);
}

void sk_mutex_destroy(sk_mutex *mutex)
{
	if (*held(mutex))
		mc_fail("a mutex is destroyed while it is held");
	mc_plain((uintptr_t)mutex, sizeof *mutex, true, HERE);
}

/* The lock as such, without a step before it. */
static void take(sk_mutex *mutex)
{
	for (mc_touch(mutex, HERE); *held(mutex); mc_touch(mutex, HERE))
		mc_block(mutex, "locks a mutex", false);
	*held(mutex) = mc_self() + 1;
	mc_acquire_from(mutex);
}

static void give(sk_mutex *mutex)
{
	if (*held(mutex) != mc_self() + 1)
		mc_fail("a mutex is unlocked by a thread that does not hold it");
	mc_release_to(mutex);
	*held(mutex) = 0;
	mc_unblock(mutex, true);
}

void sk_mutex_lock(sk_mutex *mutex)
{
	mc_step("lock", HERE);
	take(mutex);
}

void sk_mutex_unlock(sk_mutex *mutex)
{
	mc_step("unlock", HERE);
	mc_touch(mutex, HERE);
	give(mutex);
}

void sk_cond_init(sk_cond *cond)
{
	mc_plain((uintptr_t)cond, sizeof *cond, true, HERE);
	memset(cond, 0, sizeof *cond);
}

void sk_cond_destroy(sk_cond *cond)
{
	mc_plain((uintptr_t)cond, sizeof *cond, true, HERE);
}

static bool cond_wait(sk_cond *cond, sk_mutex *mutex, uint64_t deadline)
{
	bool in_time = true;

	mc_step("waits on a condition", HERE);
	mc_touch(cond, HERE);
	give(mutex);
	if (mc_spurious())
		mc_step("wakes for no reason", HERE);
	else
		in_time = block_until(cond, "waits on a condition", deadline);
	take(mutex);
	return in_time;
}

void sk_cond_wait(sk_cond *cond, sk_mutex *mutex)
{
	cond_wait(cond, mutex, SK_FOREVER);
}

bool sk_cond_wait_until(sk_cond *cond, sk_mutex *mutex, uint64_t deadline)
{
	return cond_wait(cond, mutex, deadline);
}

void sk_cond_signal(sk_cond *cond)
{
	mc_step("signals a condition", HERE);
	mc_touch(cond, HERE);
	mc_unblock(cond, false);
}

void sk_cond_broadcast(sk_cond *cond)
{
	mc_step("broadcasts a condition", HERE);
	mc_touch(cond, HERE);
	mc_unblock(cond, true);
}

/* ---- Futexes: the kernel looks at the newest value, under a lock of its own ---- */

int sk_futex_wait(sk_futex *word, uint32_t expected, uint64_t deadline)
{
	mc_step("futex wait", HERE);
	mc_touch(word, HERE);
	if (word->value_ != expected || mc_spurious())
		return 0;
	return block_until(word, "sleeps in a futex", deadline) ? 0 : -ETIMEDOUT;
}

void sk_futex_wake(sk_futex *word)
{
	mc_step("futex wake", HERE);
	mc_unblock(word, false);
}

/* ---- Memory ---- */

void *sk_malloc(size_t size)
{
	return fails() ? NULL : mc_malloc(size);
}

void *sk_calloc(size_t count, size_t size)
{
	void *block = sk_malloc(count * size);

	return block != NULL ? memset(block, 0, count * size) : NULL;
}

void sk_free(void *block)
{
	mc_free(block, __builtin_return_address(0));
}

void sk_free_sized(void *block, size_t size)
{
	(void)size;
	mc_free(block, __builtin_return_address(0));
}

void *sk_calloc_aligned(size_t size)
{
	return sk_calloc(1, size);
}

void sk_free_aligned(void *block)
{
	sk_free(block);
}

void sk_allocator_hold(void)
{
}

void sk_allocator_release(void)
{
}
