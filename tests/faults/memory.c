/* memory.c - the memory functions that the library and libuv are given: they count and fail. */
#include "faults.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long alive; /* blocks */

static bool fails(void)
{
	return fault_at(CALL_memory, FROM_SKUA) != 0;
}

static void *counted(void *block)
{
	if (block != NULL)
		alive++;
	return block;
}

static void *memory_malloc(size_t size)
{
	return fails() ? NULL : counted(malloc(size));
}

static void *memory_calloc(size_t count, size_t size)
{
	return fails() ? NULL : counted(calloc(count, size));
}

static void *memory_realloc(void *block, size_t size)
{
	if (fails())
		return NULL;
	return block == NULL ? counted(malloc(size)) : realloc(block, size);
}

static void memory_free(void *block)
{
	if (block != NULL)
		alive--;
	free(block);
}

static void memory_free_sized(void *block, size_t size)
{
	(void)size;
	memory_free(block);
}

void memory_init(void)
{
	static const skua_allocator table = {
		sizeof(skua_allocator), memory_malloc, memory_calloc,
		memory_realloc,         memory_free,   memory_free_sized,
	};

	if (skua_set_allocator(&table) != 0) {
		fprintf(stderr, "faults: the allocator cannot be set\n");
		exit(2);
	}
}

void *memory_take(void)
{
	return counted(malloc(1));
}

long memory_alive(void)
{
	return alive;
}
