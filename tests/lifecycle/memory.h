/*
 * memory.h - the memory functions of the matrix: every block has a mark before it, so that what is
 * left, freed twice or not a block at all is counted.
 */
#ifndef SKUA_TESTS_LIFECYCLE_MEMORY_H
#define SKUA_TESTS_LIFECYCLE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* From here on Skua's memory comes from these functions; until then. */
void life_memory_begin(void);
void life_memory_end(void);

/* Blocks that are allocated now. */
int64_t life_memory_alive(void);

/* How many frees there were of blocks that were none (any more), since this was asked last. */
unsigned life_memory_mistakes(void);

/* For the tests' own things that must be given back. */
void *life_malloc(size_t size);
void life_free(void *block);

#endif /* SKUA_TESTS_LIFECYCLE_MEMORY_H */
