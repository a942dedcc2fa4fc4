/* memory.c - plain memory: blocks, and races between plain accesses; see state.h. */
#include <string.h>

#include "tests/model/state.h"

/* The block that an address in the arena lies in or comes after, or NULL. */
static struct block *block_of(uintptr_t address)
{
	unsigned from = 0, to = mc->block_count;

	while (from < to) {
		unsigned middle = (from + to) / 2;

		if (mc->blocks[middle].address <= address)
			from = middle + 1;
		else
			to = middle;
	}
	return from > 0 ? &mc->blocks[from - 1] : NULL;
}

/* Of a byte that was not touched in this execution yet: whether it is there, and since when. */
static void first_touch(struct shadow *shadow, uintptr_t address)
{
	struct block *block;

	shadow->state = ALIVE;
	if (address - (uintptr_t)mc_arena >= ARENA)
		return;
	block = block_of(address);
	if (block == NULL || address - block->address >= block->size) {
		shadow->state = UNUSED;
		return;
	}
	if (block->freed)
		shadow->state = FREED;
	/* Allocating is a write of all of it. */
	shadow->writer = block->owner;
	shadow->write_clock = block->clock;
}

struct shadow *mc_shadow_of(uintptr_t address)
{
	struct shadow *shadow = NULL;

	if (address - (uintptr_t)mc_arena < ARENA)
		shadow = &mc_arena_shadow[address - (uintptr_t)mc_arena];
	else if (address - (uintptr_t)mc_stacks < (uintptr_t)MC_THREADS * STACK)
		shadow = &mc_stack_shadow[address - (uintptr_t)mc_stacks];
	else if (address - (uintptr_t)mc_data_begin < mc_data_size)
		shadow = &mc_data_shadow[address - (uintptr_t)mc_data_begin];
	else
		return NULL;
	if (shadow->execution != mc->execution) {
		memset(shadow, 0, sizeof *shadow);
		shadow->execution = mc->execution;
		first_touch(shadow, address);
	}
	return shadow;
}

void mc_check_alive(const struct shadow *shadow, uintptr_t address, const void *where)
{
	if (shadow->state == FREED)
		mc_fail("use of freed memory %#lx at explorer+%#lx", (unsigned long)address,
			mc_offset(where));
	if (shadow->state == UNUSED)
		mc_fail("use of memory %#lx that was not allocated at explorer+%#lx",
			(unsigned long)address, mc_offset(where));
}

/* A plain access of an atomic: those before it must be known. */
static void plain_on_atomic(struct location *location, uintptr_t address, bool write,
			    const void *where)
{
	const uint32_t *clock = self()->knows.clock;

	for (int i = 0; i < mc->thread_count; i++)
		if (location->write_clock[i] > clock[i] ||
		    (write && location->read_clock[i] > clock[i]))
			mc_fail("race: a plain %s of %#lx at explorer+%#lx, after an atomic access of thread %d",
				write ? "write" : "read", (unsigned long)address, mc_offset(where),
				i);
	if (write)
		location->stale = true;
}

static void plain_byte(uintptr_t address, bool write, const void *where)
{
	struct shadow *shadow = mc_shadow_of(address);
	struct thread *thread = self();

	if (shadow == NULL)
		return;
	mc_check_alive(shadow, address, where);
	if (shadow->write_clock > thread->knows.clock[shadow->writer])
		mc_fail("race: a plain %s of %#lx at explorer+%#lx, after a write of thread %d",
			write ? "write" : "read", (unsigned long)address, mc_offset(where),
			shadow->writer);
	if (shadow->location != 0)
		plain_on_atomic(&mc->locations[shadow->location - 1], address, write, where);
	if (!write) {
		shadow->read_clock[mc->current] = thread->knows.clock[mc->current];
		return;
	}
	for (int i = 0; i < mc->thread_count; i++)
		if (shadow->read_clock[i] > thread->knows.clock[i])
			mc_fail("race: a plain write of %#lx at explorer+%#lx, after a read of thread %d",
				(unsigned long)address, mc_offset(where), i);
	shadow->writer = (uint8_t)mc->current;
	shadow->write_clock = thread->knows.clock[mc->current];
}

void mc_plain(uintptr_t address, size_t size, bool write, const void *where)
{
	if (mc == NULL || mc->thread_count == 0 || mc_shadow_of(address) == NULL)
		return;
	mc_mix(address);
	for (size_t i = 0; i < size; i++)
		plain_byte(address + i, write, where);
}

void mc_reuse_memory(unsigned n)
{
	mc->reuses = n;
}

/* A block that was freed, if one is to be used again, or NULL. Who gets it comes after who freed it,
 * as with any allocator. */
static void *reuse(size_t size)
{
	struct block *block = NULL;

	for (unsigned i = 0; i < mc->block_count; i++)
		if (mc->blocks[i].freed && mc->blocks[i].size == size)
			block = &mc->blocks[i];
	if (block == NULL || mc_choose(2) == 0)
		return NULL;
	mc->reuses--;
	mc_acquire_from((void *)block->address);
	block->freed = false;
	block->clock = self()->knows.clock[mc->current];
	block->owner = (uint8_t)mc->current;
	for (uintptr_t a = block->address; a < block->address + size; a++) {
		struct shadow *shadow = &mc_arena_shadow[a - (uintptr_t)mc_arena];

		if (shadow->execution != mc->execution)
			continue;
		shadow->state = ALIVE;
		plain_byte(a, true, __builtin_return_address(0));
	}
	mc->blocks_in_use++;
	return memset((void *)block->address, 0xdb, size);
}

void *mc_malloc(size_t size)
{
	uintptr_t address;
	void *again = mc->reuses > 0 ? reuse(size) : NULL;

	if (again != NULL)
		return again;
	/* A gap of 16 bytes catches a step too far. */
	address = (mc->arena_used + 31) & ~(uintptr_t)15;
	if (address + size > ARENA)
		mc_fail("more than %d bytes allocated", ARENA);
	if (mc->block_count == BLOCKS)
		mc_fail("more than %d blocks of memory", BLOCKS);
	mc->arena_used = address + size;
	mc->blocks[mc->block_count++] = (struct block){
		.address = (uintptr_t)mc_arena + address,
		.size = size,
		.clock = self()->knows.clock[mc->current],
		.owner = (uint8_t)mc->current,
	};
	mc->blocks_in_use++;
	/* The same in every execution. */
	memset(mc_arena + address, 0xdb, size);
	return mc_arena + address;
}

void mc_free(void *pointer, const void *where)
{
	uintptr_t address = (uintptr_t)pointer;
	struct block *block;

	if (pointer == NULL)
		return;
	block = block_of(address);
	if (block == NULL || block->address != address)
		mc_fail("free of %p, which was not allocated, at explorer+%#lx", pointer,
			mc_offset(where));
	if (block->freed)
		mc_fail("second free of %p at explorer+%#lx", pointer, mc_offset(where));
	/* Freeing is a write of all of it: who uses it at the same time has a race. What nobody has
	 * touched cannot have one. */
	for (uintptr_t a = address; a < address + block->size; a++) {
		struct shadow *shadow = &mc_arena_shadow[a - (uintptr_t)mc_arena];

		if (shadow->execution != mc->execution)
			continue;
		plain_byte(a, true, where);
		shadow->state = FREED;
	}
	block->freed = true;
	mc->blocks_in_use--;
	if (mc->reuses > 0)
		mc_release_to(pointer);
}
