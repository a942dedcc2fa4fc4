/* memory.c - see memory.h. */
#include "tests/lifecycle/memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <skua.h>

struct mark {
	_Alignas(max_align_t) uint64_t word;
};

#define ALIVE UINT64_C(0x616c697665626c6b)
#define FREED UINT64_C(0x6672656564626c6b)

static _Atomic int64_t alive;
static _Atomic unsigned mistakes;

static void *marked(struct mark *mark)
{
	if (mark == NULL)
		return NULL;
	mark->word = ALIVE;
	atomic_fetch_add(&alive, 1);
	return mark + 1;
}

void *life_malloc(size_t size)
{
	return marked(malloc(sizeof(struct mark) + size));
}

static void *life_calloc(size_t count, size_t size)
{
	return marked(calloc(1, sizeof(struct mark) + count * size));
}

/* Takes the mark away; NULL, and a mistake, if it is not there. */
static struct mark *unmark(void *block)
{
	struct mark *mark = (struct mark *)block - 1;

	if (mark->word != ALIVE) {
		atomic_fetch_add(&mistakes, 1);
		return NULL;
	}
	mark->word = FREED;
	return mark;
}

static void *life_realloc(void *block, size_t size)
{
	struct mark *mark;

	if (block == NULL)
		return life_malloc(size);
	mark = unmark(block);
	atomic_fetch_sub(&alive, 1);
	return mark == NULL ? NULL : marked(realloc(mark, sizeof *mark + size));
}

void life_free(void *block)
{
	struct mark *mark;

	if (block == NULL)
		return;
	mark = unmark(block);
	if (mark == NULL)
		return;
	atomic_fetch_sub(&alive, 1);
	free(mark);
}

void life_memory_begin(void)
{
	static const skua_allocator table = {
		sizeof(skua_allocator), life_malloc, life_calloc, life_realloc, life_free, NULL,
	};

	if (skua_set_allocator(&table) < 0)
		abort();
}

void life_memory_end(void)
{
	if (skua_set_allocator(NULL) < 0)
		abort();
}

int64_t life_memory_alive(void)
{
	return atomic_load(&alive);
}

unsigned life_memory_mistakes(void)
{
	return atomic_exchange(&mistakes, 0);
}
