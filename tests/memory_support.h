/*
 * memory_support.h - memory functions for the tests of the public interface: they count what is
 * alive, fail at a chosen allocation of the calling thread, and call back in the middle of one.
 */
#ifndef SKUA_TESTS_MEMORY_SUPPORT_H
#define SKUA_TESTS_MEMORY_SUPPORT_H

#include "api_support.h"

static atomic_llong memory_alive;          /* blocks */
static atomic_uintptr_t memory_watched;    /* a block ... */
static atomic_int memory_watched_freed;    /* ... and how often it was freed */
static _Thread_local int memory_countdown; /* this allocation of the thread fails: 1 is the next */
static _Thread_local void (*memory_on_allocation)(size_t size); /* called before each */

static inline int memory_fails(size_t size)
{
	if (memory_on_allocation != NULL)
		memory_on_allocation(size);
	return memory_countdown > 0 && --memory_countdown == 0;
}

static inline void *memory_count(void *block)
{
	if (block != NULL)
		atomic_fetch_add(&memory_alive, 1);
	return block;
}

static inline void *memory_malloc(size_t size)
{
	return memory_fails(size) ? NULL : memory_count(malloc(size));
}

static inline void *memory_calloc(size_t count, size_t size)
{
	return memory_fails(count * size) ? NULL : memory_count(calloc(count, size));
}

static inline void *memory_realloc(void *block, size_t size)
{
	if (block == NULL)
		return memory_malloc(size);
	return memory_fails(size) ? NULL : realloc(block, size);
}

static inline void memory_free(void *block)
{
	if (block == NULL)
		return;
	if ((uintptr_t)block == atomic_load(&memory_watched))
		atomic_fetch_add(&memory_watched_freed, 1);
	atomic_fetch_sub(&memory_alive, 1);
	free(block);
}

/* From here on Skua's memory comes from these functions. */
static inline void memory_begin(void)
{
	static const skua_allocator table = {
		sizeof(skua_allocator), memory_malloc, memory_calloc,
		memory_realloc,         memory_free,   NULL,
	};

	T_EQ(skua_set_allocator(&table), 0);
}

/* All of it has been given back. */
static inline void memory_end(void)
{
	T_EQ(memory_alive, 0);
	T_EQ(skua_set_allocator(NULL), 0);
}

#endif /* SKUA_TESTS_MEMORY_SUPPORT_H */
