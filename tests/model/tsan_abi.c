/*
 * tsan_abi.c - what code compiled with -fsanitize=thread calls, answered by the explorer instead of
 * libtsan. The names and arguments are the compilers' (sanitizer/tsan_interface_atomic.h).
 */
#include <stdint.h>
#include <string.h>

#include "tests/model/explorer.h"

#define HERE __builtin_return_address(0)

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void)
{
}

/* ---- Plain accesses ---- */

#define PLAIN(name, size, write)                                                                   \
	void name(void *address);                                                                  \
	void name(void *address)                                                                   \
	{                                                                                          \
		mc_plain((uintptr_t)address, size, write, HERE);                                   \
	}

PLAIN(__tsan_read1, 1, false)
PLAIN(__tsan_read2, 2, false)
PLAIN(__tsan_read4, 4, false)
PLAIN(__tsan_read8, 8, false)
PLAIN(__tsan_read16, 16, false)
PLAIN(__tsan_write1, 1, true)
PLAIN(__tsan_write2, 2, true)
PLAIN(__tsan_write4, 4, true)
PLAIN(__tsan_write8, 8, true)
PLAIN(__tsan_write16, 16, true)
PLAIN(__tsan_unaligned_read2, 2, false)
PLAIN(__tsan_unaligned_read4, 4, false)
PLAIN(__tsan_unaligned_read8, 8, false)
PLAIN(__tsan_unaligned_read16, 16, false)
PLAIN(__tsan_unaligned_write2, 2, true)
PLAIN(__tsan_unaligned_write4, 4, true)
PLAIN(__tsan_unaligned_write8, 8, true)
PLAIN(__tsan_unaligned_write16, 16, true)

void __tsan_read_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size);
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int byte, size_t size);

void __tsan_read_range(void *address, unsigned long size)
{
	mc_plain((uintptr_t)address, size, false, HERE);
}

void __tsan_write_range(void *address, unsigned long size)
{
	mc_plain((uintptr_t)address, size, true, HERE);
}

/* clang calls these; for gcc the build renames memcpy and memset. */
void *__tsan_memcpy(void *to, const void *from, size_t size)
{
	mc_plain((uintptr_t)from, size, false, HERE);
	mc_plain((uintptr_t)to, size, true, HERE);
	return memcpy(to, from, size);
}

void *__tsan_memset(void *to, int byte, size_t size)
{
	mc_plain((uintptr_t)to, size, true, HERE);
	return memset(to, byte, size);
}

/* ---- Atomics ---- */

#define RMW(bits, name, operation)                                                                 \
	uint##bits##_t __tsan_atomic##bits##_##name(volatile void *address, uint##bits##_t value,  \
						    int order);                                    \
	uint##bits##_t __tsan_atomic##bits##_##name(volatile void *address, uint##bits##_t value,  \
						    int order)                                     \
	{                                                                                          \
		return (uint##bits##_t)mc_rmw(operation, (uintptr_t)address, bits / 8, value,      \
					      order, HERE);                                        \
	}

#define CAS(bits, name, weak)                                                                      \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile void *address, void *expected,  \
							  uint##bits##_t value, int success,       \
							  int failure);                            \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile void *address, void *expected,  \
							  uint##bits##_t value, int success,       \
							  int failure)                             \
	{                                                                                          \
		uint##bits##_t *place = expected;                                                  \
		uint64_t wanted = *place;                                                          \
		bool done = mc_cas((uintptr_t)address, bits / 8, &wanted, value, weak, success,    \
				   failure, HERE);                                                 \
		if (!done)                                                                         \
			*place = (uint##bits##_t)wanted;                                           \
		return done;                                                                       \
	}

#define ATOMICS(bits)                                                                              \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile void *address, int order);        \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile void *address, int order)         \
	{                                                                                          \
		return (uint##bits##_t)mc_load((uintptr_t)address, bits / 8, order, HERE);         \
	}                                                                                          \
	void __tsan_atomic##bits##_store(volatile void *address, uint##bits##_t value, int order); \
	void __tsan_atomic##bits##_store(volatile void *address, uint##bits##_t value, int order)  \
	{                                                                                          \
		mc_store((uintptr_t)address, bits / 8, value, order, HERE);                        \
	}                                                                                          \
	RMW(bits, exchange, MC_EXCHANGE)                                                           \
	RMW(bits, fetch_add, MC_ADD)                                                               \
	RMW(bits, fetch_sub, MC_SUB)                                                               \
	RMW(bits, fetch_and, MC_AND)                                                               \
	RMW(bits, fetch_or, MC_OR)                                                                 \
	RMW(bits, fetch_xor, MC_XOR)                                                               \
	CAS(bits, strong, false)                                                                   \
	CAS(bits, weak, true)

ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_atomic_thread_fence(int order)
{
	mc_fence(order, HERE);
}

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}
