/* execution.c - one execution, the next one, and what has failed; see state.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/model/state.h"

extern char __executable_start, __data_start, _end;

struct explorer *mc;
char *mc_arena, *mc_stacks;
struct shadow *mc_arena_shadow, *mc_data_shadow, *mc_stack_shadow;
char *mc_data_begin;
size_t mc_data_size;
static char *data_copy;

static void *map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return memory;
}

void mc_set_up(void)
{
	mc_arena = map(ARENA);
	mc_arena_shadow = map(ARENA * sizeof *mc_arena_shadow);
	mc_stacks = map((size_t)MC_THREADS * STACK);
	mc_stack_shadow = map((size_t)MC_THREADS * STACK * sizeof *mc_stack_shadow);
	mc_data_begin = &__data_start;
	mc_data_size = (size_t)(&_end - &__data_start);
	mc_data_shadow = map(mc_data_size * sizeof *mc_data_shadow);
	data_copy = map(mc_data_size);
	mc = map(sizeof *mc);
	memcpy(data_copy, mc_data_begin, mc_data_size);
}

/* ---- Failure ---- */

__attribute__((format(printf, 1, 0))) static void set_failure(const char *format, va_list arguments)
{
	if (!mc->failed) {
		vsnprintf(mc->failure, sizeof mc->failure, format, arguments);
		mc->failure_kind = format;
	}
	mc->failed = true;
}

void mc_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	set_failure(format, arguments);
	va_end(arguments);
	/* Back to the explorer's own stack; the fibers are left as they are. */
	fiber_switch(&self()->fiber, &mc->main_fiber);
	abort();
}

/* Of an execution that has ended. */
__attribute__((format(printf, 1, 2))) static void fail_after(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	set_failure(format, arguments);
	va_end(arguments);
}

unsigned long mc_offset(const void *where)
{
	return (unsigned long)((uintptr_t)where - (uintptr_t)&__executable_start);
}

void mc_mix(uint64_t value)
{
	mc->hash = (mc->hash ^ value) * UINT64_C(0x100000001B3);
}

void mc_note(const char *what, uintptr_t address, uint64_t value, const void *where)
{
	struct trace *trace;

	mc_mix((uint64_t)mc->current);
	mc_mix((uintptr_t)what);
	mc_mix(address);
	mc_mix(value);
	if (!mc->tracing)
		return;
	trace = &mc->trace[mc->trace_count++ % TRACE];
	*trace = (struct trace){mc->current, what, address, value, where};
}

/* ---- From the start to the end ---- */

void mc_outcome(int outcome)
{
	mc->outcome = outcome;
}

static void main_body(void)
{
	mc->scenario->run();
	mc_finish();
}

void mc_execute(void)
{
	struct thread *first = &mc->threads[0];

	memcpy(mc_data_begin, data_copy, mc_data_size);
	mc->execution++;
	mc->depth = 0;
	mc->thread_count = 1;
	mc->current = 0;
	mc->steps = mc->idle_yields = 0;
	mc->preemptions = mc->stale = mc->spurious = 0;
	mc->now = 1000000000;
	mc->failed = mc->ended = false;
	mc->hash = 0;
	mc->lowest = 0;
	for (int i = 0; mc->mode == PCT && i + 1 < mc->priority_changes; i++)
		mc->change_at[i] = 1 + mc_random() % mc->longest;
	mc->location_count = mc->object_count = 0;
	memset(mc->index, 0, sizeof mc->index);
	memset(&mc->consistent, 0, sizeof mc->consistent);
	mc->arena_used = mc->block_count = mc->blocks_in_use = mc->reuses = 0;
	mc->outcome = -1;
	mc->trace_count = 0;
	memset(first, 0, sizeof *first);
	first->knows.clock[0] = 1;
	first->priority = mc_random_priority();
	fiber_init(&first->fiber, mc_stacks, STACK, main_body);
	fiber_switch(&mc->main_fiber, &first->fiber);
	if (mc->steps > mc->longest)
		mc->longest = mc->steps;
	if (mc->failed)
		return;
	if (mc->blocks_in_use != 0)
		fail_after("%u blocks of memory are left at the end", mc->blocks_in_use);
	else if (mc->scenario->outcomes != NULL && (mc->outcome < 0 || mc->outcome >= OUTCOMES))
		fail_after("no outcome, or one above %d", OUTCOMES - 1);
	else if (mc->outcome >= 0)
		mc->seen[mc->outcome] = true;
}

void mc_check_deterministic(void)
{
	enum mode mode = mc->mode;
	unsigned depth = mc->depth, steps = mc->steps;
	uint64_t hash = mc->hash;
	int outcome = mc->outcome;

	mc->mode = REPLAY;
	mc->known = depth;
	mc_execute();
	mc->mode = mode;
	if (mc->failed) {
		if (strncmp(mc->failure, "not deterministic", 17) != 0) {
			mc->failed = false;
			fail_after("not deterministic: the same choices, made again, fail");
		}
	} else if (mc->depth != depth || mc->steps != steps || mc->hash != hash ||
		   mc->outcome != outcome) {
		fail_after("not deterministic: the same choices led through other steps");
	}
}

bool mc_advance(void)
{
	while (mc->depth > 0) {
		struct choice *last = &mc->choices[mc->depth - 1];

		if (last->chosen + 1 < last->options) {
			last->chosen++;
			mc->known = mc->depth;
			return true;
		}
		mc->depth--;
	}
	return false;
}

/* ---- Making a failure smaller ---- */

/* Runs the first `length` choices as they are now, whatever was chosen from. */
static void run_choices(unsigned length)
{
	for (unsigned i = 0; i < length; i++)
		mc->choices[i].options = 0;
	mc->mode = REPLAY;
	mc->known = length;
	mc_execute();
}

/* Whether this execution failed as the one before did: in the same place of the explorer, and if an
 * assertion did, it is the same one. Addresses may differ. */
static bool same_failure(const char *kind, const char *text)
{
	return mc->failed && mc->failure_kind == kind &&
	       (strncmp(kind, "%s", 2) != 0 || strcmp(mc->failure, text) == 0);
}

void mc_shrink(void)
{
	struct choice best[CHOICES];
	char text[sizeof mc->failure];
	const char *kind = mc->failure_kind;
	unsigned length = mc->depth;

	memcpy(text, mc->failure, sizeof text);
	memcpy(best, mc->choices, length * sizeof best[0]);
	for (unsigned i = length; i-- > 0;) {
		if (i >= length || best[i].chosen == 0)
			continue;
		memcpy(mc->choices, best, length * sizeof best[0]);
		mc->choices[i].chosen = 0;
		run_choices(length);
		if (same_failure(kind, text)) {
			length = mc->depth;
			memcpy(best, mc->choices, length * sizeof best[0]);
		}
	}
	memcpy(mc->choices, best, length * sizeof best[0]);
	run_choices(length);
}
