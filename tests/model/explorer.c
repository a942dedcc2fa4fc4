/* explorer.c - see explorer.h. */
#include "tests/model/explorer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/model/fiber.h"

enum {
	HISTORY = 8,        /* stores that an atomic remembers */
	LOCATIONS = 192,    /* atomics in one execution */
	OBJECTS = 64,       /* locks and other things that pass knowledge on */
	CHOICES = 1 << 14,  /* in one execution */
	STEPS = 20000,      /* in one execution; more is a livelock */
	ARENA = 1 << 20,    /* bytes that one execution may allocate */
	BLOCKS = 256,       /* of memory, in one execution */
	STACK = 128 * 1024, /* bytes of each fiber */
	TRACE = 4096,       /* steps that are kept for the report */
	OUTCOMES = 256,
};

/* ---- What a thread knows ---- */

/* Which steps of each thread come before, and, for each atomic, the newest store known. */
struct knowledge {
	uint32_t clock[MC_THREADS];
	uint32_t view[LOCATIONS];
};

struct store {
	uint64_t value;
	struct knowledge released; /* to those who read it with acquire */
};

struct location {
	uintptr_t address;
	unsigned size;
	bool stale;                /* written by a plain access: the history begins anew */
	uint32_t first;            /* number of the oldest store that is remembered */
	uint32_t count;            /* number of stores so far */
	uint32_t used[MC_THREADS]; /* when each thread last accessed it */
	struct store stores[HISTORY];
};

struct object {
	const void *address;
	struct knowledge released;
};

/* ---- Plain memory ---- */

struct shadow {
	uint32_t execution; /* in which this was written */
	uint32_t write_clock;
	uint32_t read_clock[MC_THREADS];
	uint8_t writer;
	uint8_t state; /* ALIVE, FREED */
};

enum { UNUSED, ALIVE, FREED };

struct block {
	uintptr_t address;
	size_t size;
	bool freed;
};

/* ---- Threads ---- */

enum status { READY, BLOCKED, FINISHED };

struct thread {
	enum status status;
	bool yielded;
	bool timed, timed_out;
	const void *blocked_on;
	const char *what;
	void (*run)(void *argument);
	void *argument;
	void *local;
	struct fiber fiber;
	struct knowledge knows;
	struct knowledge pending;  /* read relaxed; an acquire fence makes it known */
	struct knowledge released; /* by the last release fence */
};

struct choice {
	uint16_t chosen, options;
};

struct trace {
	int thread;
	const char *what;
	uintptr_t address;
	uint64_t value;
	const void *where;
};

enum mode { SEARCH, RANDOM, REPLAY };

/* Everything of the explorer's is here, outside of the program's data, which is put back to what it
 * was before each execution. */
struct explorer {
	struct mc_scenario *scenario;
	enum mode mode;
	int preemption_bound, stale_bound, spurious_bound;
	uint64_t random;

	/* The search. */
	struct choice choices[CHOICES];
	unsigned depth, known; /* of this execution; of these, taken over from the last one */
	uint64_t executions;

	/* This execution. */
	uint32_t execution;
	struct thread threads[MC_THREADS];
	int thread_count, current;
	unsigned steps, idle_yields;
	int preemptions, stale, spurious;
	uint64_t now;
	bool failed, ended;
	char failure[512];
	jmp_buf end;
	struct location locations[LOCATIONS];
	unsigned location_count;
	uint16_t index[1024]; /* of locations, by hash; 0 is none */
	struct object objects[OBJECTS];
	unsigned object_count;
	struct knowledge consistent; /* what sequentially consistent operations have seen */
	uintptr_t arena_used;
	struct block blocks[BLOCKS]; /* by address */
	unsigned block_count, blocks_in_use;

	int outcome;
	bool seen[OUTCOMES];
	bool tracing;
	struct trace trace[TRACE];
	unsigned trace_count;
	struct fiber main_fiber;
};

static struct explorer *x;
static char *arena, *stacks;
static struct shadow *arena_shadow, *data_shadow;
static char *data_begin, *data_copy;
static size_t data_size;

static struct mc_scenario *scenarios;

void mc_register(struct mc_scenario *scenario)
{
	struct mc_scenario **last = &scenarios;

	while (*last != NULL)
		last = &(*last)->next;
	*last = scenario;
}

int mc_self(void)
{
	return x->current;
}

static struct thread *self(void)
{
	return &x->threads[x->current];
}

/* ---- Failure ---- */

void mc_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (!x->failed)
		vsnprintf(x->failure, sizeof x->failure, format, arguments);
	va_end(arguments);
	x->failed = true;
	/* Back to the explorer's own stack; the fibers are left as they are. */
	fiber_switch(&self()->fiber, &x->main_fiber);
	abort();
}

static void note(const char *what, uintptr_t address, uint64_t value, const void *where)
{
	struct trace *trace;

	if (!x->tracing)
		return;
	trace = &x->trace[x->trace_count++ % TRACE];
	*trace = (struct trace){x->current, what, address, value, where};
}

/* ---- Choices ---- */

static uint32_t next_random(void)
{
	x->random ^= x->random << 13;
	x->random ^= x->random >> 7;
	x->random ^= x->random << 17;
	return (uint32_t)(x->random >> 16);
}

unsigned mc_choose(unsigned n)
{
	struct choice *choice;

	if (n < 2)
		return 0;
	if (x->depth >= CHOICES)
		mc_fail("too many choices in one execution: make the scenario smaller");
	choice = &x->choices[x->depth];
	if (x->depth >= x->known) {
		choice->options = (uint16_t)n;
		choice->chosen = x->mode == RANDOM ? (uint16_t)(next_random() % n) : 0;
	} else if (x->mode == REPLAY && choice->options == 0) {
		choice->options = (uint16_t)n;
		if (choice->chosen >= n)
			mc_fail("this token does not fit: %u of %u choices", choice->chosen, n);
	} else if (choice->options != n) {
		mc_fail("not deterministic: %u choices where there were %u", n, choice->options);
	}
	x->depth++;
	return choice->chosen;
}

/* A choice whose other branches cost one of a bounded number of deviations. */
static unsigned choose_bounded(unsigned n, int *used, int bound)
{
	unsigned chosen;

	if (*used >= bound)
		return 0;
	chosen = mc_choose(n);
	if (chosen != 0)
		++*used;
	return chosen;
}

bool mc_spurious(void)
{
	return choose_bounded(2, &x->spurious, x->spurious_bound) != 0;
}

/* ---- Threads ---- */

static void end_of_execution(void)
{
	fiber_switch(&self()->fiber, &x->main_fiber);
}

static void switch_to(int thread)
{
	int before = x->current;

	x->current = thread;
	if (before != thread)
		fiber_switch(&x->threads[before].fiber, &x->threads[thread].fiber);
}

static bool can_go_on(int thread)
{
	return x->threads[thread].status == READY && !x->threads[thread].yielded;
}

/* Time passes: the wait of a thread runs out. */
static void time_out(struct thread *thread)
{
	thread->status = READY;
	thread->timed_out = true;
	x->now += 1000000;
}

/* Nobody can go on: those who have yielded try again, or a timed wait runs out, or that was it. */
static bool revive(void)
{
	bool any = false;

	for (int i = 0; i < x->thread_count; i++) {
		struct thread *thread = &x->threads[i];

		if (thread->status == READY && thread->yielded) {
			thread->yielded = false;
			any = true;
		}
	}
	if (any && ++x->idle_yields < 100)
		return true;
	for (int i = 0; i < x->thread_count; i++) {
		struct thread *thread = &x->threads[i];

		if (thread->status == BLOCKED && thread->timed) {
			if (!x->scenario->allow_timeouts)
				mc_fail("only a timeout ends the wait of thread %d (%s): a wakeup was lost",
					i, thread->what);
			time_out(thread);
			return true;
		}
	}
	return false;
}

static void report_deadlock(void)
{
	char text[256];
	size_t length = 0;

	text[0] = '\0';
	for (int i = 0; i < x->thread_count; i++)
		if (x->threads[i].status != FINISHED && length < sizeof text)
			length +=
				(size_t)snprintf(text + length, sizeof text - length, " %d: %s;", i,
						 x->threads[i].what != NULL ? x->threads[i].what
									    : "yields for ever");
	mc_fail("no thread can go on (a lost wakeup?):%s", text);
}

/* Chooses who makes the next step, and lets him. */
static void schedule(void)
{
	int options[MC_THREADS], n = 0, ready;
	unsigned chosen;
	bool preempts;

	for (;;) {
		preempts = can_go_on(x->current);
		if (preempts)
			options[n++] = x->current;
		for (int i = 0; i < x->thread_count; i++)
			if (i != x->current && can_go_on(i))
				options[n++] = i;
		if (n > 0)
			break;
		if (!revive()) {
			for (int i = 0; i < x->thread_count; i++)
				if (x->threads[i].status != FINISHED)
					report_deadlock();
			x->ended = true;
			end_of_execution();
		}
	}
	if (++x->steps > STEPS)
		mc_fail("more than %d steps: a livelock?", STEPS);
	/* Somebody whose time runs out at this moment may go on as well. */
	ready = n;
	if (x->scenario->allow_timeouts && x->spurious < x->spurious_bound)
		for (int i = 0; i < x->thread_count; i++)
			if (x->threads[i].status == BLOCKED && x->threads[i].timed)
				options[n++] = i;
	if (preempts)
		chosen = choose_bounded((unsigned)n, &x->preemptions, x->preemption_bound);
	else
		chosen = mc_choose((unsigned)n);
	if (chosen >= (unsigned)ready) {
		x->spurious++;
		time_out(&x->threads[options[chosen]]);
	}
	switch_to(options[chosen]);
}

/* This thread has done something: those who waited for that may look again. */
static void made_progress(void)
{
	x->idle_yields = 0;
	for (int i = 0; i < x->thread_count; i++)
		if (i != x->current)
			x->threads[i].yielded = false;
}

static void point(void)
{
	schedule();
	made_progress();
	self()->knows.clock[x->current]++;
}

void mc_step(const char *what, const void *where)
{
	point();
	note(what, 0, 0, where);
}

void mc_yield(void)
{
	self()->yielded = true;
	schedule();
	self()->knows.clock[x->current]++;
}

bool mc_block(const void *object, const char *what, bool timed)
{
	struct thread *thread = self();

	thread->status = BLOCKED;
	thread->blocked_on = object;
	thread->what = what;
	thread->timed = timed;
	thread->timed_out = false;
	schedule();
	thread->what = NULL;
	return !thread->timed_out;
}

void mc_unblock(const void *object, bool all)
{
	for (int i = 0; i < x->thread_count; i++) {
		struct thread *thread = &x->threads[i];

		if (thread->status != BLOCKED || thread->blocked_on != object)
			continue;
		thread->status = READY;
		thread->timed = false;
		if (!all)
			break;
	}
}

static void learn(struct knowledge *into, const struct knowledge *from)
{
	for (int i = 0; i < x->thread_count; i++)
		if (into->clock[i] < from->clock[i])
			into->clock[i] = from->clock[i];
	for (unsigned i = 0; i < x->location_count; i++)
		if (into->view[i] < from->view[i])
			into->view[i] = from->view[i];
}

static void thread_body(void)
{
	struct thread *thread = self();

	thread->run(thread->argument);
	point();
	thread = self();
	thread->status = FINISHED;
	mc_unblock(thread, true);
	schedule();
	abort();
}

int mc_thread(void (*run)(void *argument), void *argument)
{
	int number = x->thread_count;
	struct thread *thread;

	if (number >= MC_THREADS)
		mc_fail("more than %d threads", MC_THREADS);
	point();
	x->thread_count++;
	thread = &x->threads[number];
	memset(thread, 0, sizeof *thread);
	thread->run = run;
	thread->argument = argument;
	thread->knows = self()->knows;
	thread->knows.clock[number] = 1;
	fiber_init(&thread->fiber, stacks + (size_t)number * STACK, STACK, thread_body);
	note("starts thread", 0, (uint64_t)number, __builtin_return_address(0));
	return number;
}

void mc_join(int number)
{
	struct thread *thread = &x->threads[number];

	point();
	while (thread->status != FINISHED)
		mc_block(thread, "joins a thread", false);
	learn(&self()->knows, &thread->knows);
}

void **mc_thread_local(void)
{
	return &self()->local;
}

uint64_t mc_now(void)
{
	return x->now;
}

static struct object *object_of(const void *address)
{
	for (unsigned i = 0; i < x->object_count; i++)
		if (x->objects[i].address == address)
			return &x->objects[i];
	if (x->object_count == OBJECTS)
		mc_fail("more than %d locks", OBJECTS);
	memset(&x->objects[x->object_count], 0, sizeof x->objects[0]);
	x->objects[x->object_count].address = address;
	return &x->objects[x->object_count++];
}

void mc_release_to(const void *address)
{
	learn(&object_of(address)->released, &self()->knows);
}

void mc_acquire_from(const void *address)
{
	learn(&self()->knows, &object_of(address)->released);
}

/* ---- Plain memory ---- */

/* The block that an address in the arena lies in or comes after, or NULL. */
static struct block *block_of(uintptr_t address)
{
	unsigned from = 0, to = x->block_count;

	while (from < to) {
		unsigned middle = (from + to) / 2;

		if (x->blocks[middle].address <= address)
			from = middle + 1;
		else
			to = middle;
	}
	return from > 0 ? &x->blocks[from - 1] : NULL;
}

/* Of a byte that was not touched in this execution yet. */
static uint8_t state_of(uintptr_t address)
{
	struct block *block;

	if (address - (uintptr_t)arena >= ARENA)
		return ALIVE;
	block = block_of(address);
	if (block == NULL || address - block->address >= block->size)
		return UNUSED;
	return block->freed ? FREED : ALIVE;
}

static struct shadow *shadow_of(uintptr_t address)
{
	struct shadow *shadow = NULL;

	if (address - (uintptr_t)arena < ARENA)
		shadow = &arena_shadow[address - (uintptr_t)arena];
	else if (address - (uintptr_t)data_begin < data_size)
		shadow = &data_shadow[address - (uintptr_t)data_begin];
	else
		return NULL;
	if (shadow->execution != x->execution) {
		memset(shadow, 0, sizeof *shadow);
		shadow->execution = x->execution;
		shadow->state = state_of(address);
	}
	return shadow;
}

static void check_alive(const struct shadow *shadow, uintptr_t address, const void *where)
{
	if (shadow->state == FREED)
		mc_fail("use of freed memory %#lx at %p", (unsigned long)address, where);
	if (shadow->state == UNUSED)
		mc_fail("use of memory %#lx that was not allocated at %p", (unsigned long)address,
			where);
}

static void plain_byte(uintptr_t address, bool write, const void *where)
{
	struct shadow *shadow = shadow_of(address);
	struct thread *thread = self();

	if (shadow == NULL)
		return;
	check_alive(shadow, address, where);
	if (shadow->write_clock > thread->knows.clock[shadow->writer])
		mc_fail("race: a plain %s of %#lx at %p, after a write of thread %d",
			write ? "write" : "read", (unsigned long)address, where, shadow->writer);
	if (!write) {
		shadow->read_clock[x->current] = thread->knows.clock[x->current];
		return;
	}
	for (int i = 0; i < x->thread_count; i++)
		if (shadow->read_clock[i] > thread->knows.clock[i])
			mc_fail("race: a plain write of %#lx at %p, after a read of thread %d",
				(unsigned long)address, where, i);
	shadow->writer = (uint8_t)x->current;
	shadow->write_clock = thread->knows.clock[x->current];
}

static unsigned hash(uintptr_t address)
{
	return (unsigned)((address * UINT64_C(0x9E3779B97F4A7C15)) >> 54);
}

static struct location *find_location(uintptr_t address)
{
	for (unsigned i = hash(address);; i = (i + 1) % 1024) {
		if (x->index[i] == 0)
			return NULL;
		if (x->locations[x->index[i] - 1].address == address)
			return &x->locations[x->index[i] - 1];
	}
}

void mc_plain(uintptr_t address, size_t size, bool write, const void *where)
{
	if (x == NULL || x->thread_count == 0 || shadow_of(address) == NULL)
		return;
	for (size_t i = 0; i < size; i++)
		plain_byte(address + i, write, where);
	if (!write)
		return;
	for (uintptr_t a = address & ~(uintptr_t)7; a < address + size; a++) {
		struct location *location = find_location(a);

		if (location != NULL && a + location->size > address)
			location->stale = true;
	}
}

void *mc_malloc(size_t size)
{
	uintptr_t address;

	/* A gap of 16 bytes catches a step too far. */
	address = (x->arena_used + 31) & ~(uintptr_t)15;
	if (address + size > ARENA)
		mc_fail("more than %d bytes allocated", ARENA);
	if (x->block_count == BLOCKS)
		mc_fail("more than %d blocks of memory", BLOCKS);
	x->arena_used = address + size;
	x->blocks[x->block_count++] = (struct block){(uintptr_t)arena + address, size, false};
	x->blocks_in_use++;
	return arena + address;
}

void mc_free(void *pointer, const void *where)
{
	uintptr_t address = (uintptr_t)pointer;
	struct block *block;

	if (pointer == NULL)
		return;
	block = block_of(address);
	if (block == NULL || block->address != address)
		mc_fail("%#lx is freed and was never allocated", (unsigned long)address);
	if (block->freed)
		mc_fail("second free of %#lx at %p", (unsigned long)address, where);
	for (unsigned i = 0; i < x->location_count; i++) {
		const struct location *location = &x->locations[i];

		if (location->address - address >= block->size)
			continue;
		for (int t = 0; t < x->thread_count; t++)
			if (location->used[t] > self()->knows.clock[t])
				mc_fail("race: %#lx is freed at %p after an atomic access of thread %d",
					(unsigned long)location->address, where, t);
	}
	/* Freeing is a write of all of it: who uses it at the same time has a race. What nobody has
	 * touched cannot have one. */
	for (uintptr_t a = address; a < address + block->size; a++) {
		struct shadow *shadow = &arena_shadow[a - (uintptr_t)arena];

		if (shadow->execution != x->execution)
			continue;
		plain_byte(a, true, where);
		shadow->state = FREED;
	}
	block->freed = true;
	x->blocks_in_use--;
}

/* ---- Atomics ---- */

static uint64_t memory_get(uintptr_t address, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, (const void *)address, size);
	return value;
}

static void memory_set(uintptr_t address, unsigned size, uint64_t value)
{
	memcpy((void *)address, &value, size);
}

static unsigned number_of(const struct location *location)
{
	return (unsigned)(location - x->locations);
}

static struct store *store_at(struct location *location, uint32_t number)
{
	return &location->stores[number % HISTORY];
}

static void begin_history(struct location *location)
{
	/* What is there now is known to everybody: whoever wrote it plainly came before, or there is
	 * a race, which the check of the access finds. */
	location->first = location->count++;
	memset(store_at(location, location->first), 0, sizeof(struct store));
	store_at(location, location->first)->value = memory_get(location->address, location->size);
	location->stale = false;
}

static struct location *location_at(uintptr_t address, unsigned size)
{
	struct location *location = find_location(address);
	unsigned i;

	if (location != NULL) {
		if (location->stale)
			begin_history(location);
		return location;
	}
	if (x->location_count == LOCATIONS)
		mc_fail("more than %d atomics", LOCATIONS);
	location = &x->locations[x->location_count++];
	memset(location, 0, offsetof(struct location, stores));
	location->address = address;
	location->size = size;
	location->count = 1;
	begin_history(location);
	for (i = hash(address); x->index[i] != 0; i = (i + 1) % 1024)
		;
	x->index[i] = (uint16_t)x->location_count;
	return location;
}

/* An atomic access must not race with plain ones. A load counts as a read for those, a store as a
 * write, but atomics never race with each other; so only plain accesses leave their clocks. */
static void check_atomic(uintptr_t address, unsigned size, bool write, const void *where)
{
	struct thread *thread = self();

	for (unsigned i = 0; i < size; i++) {
		struct shadow *shadow = shadow_of(address + i);

		if (shadow == NULL)
			return;
		check_alive(shadow, address, where);
		if (shadow->write_clock > thread->knows.clock[shadow->writer])
			mc_fail("race: an atomic access of %#lx at %p, after a plain write of thread %d",
				(unsigned long)address, where, shadow->writer);
		for (int t = 0; write && t < x->thread_count; t++)
			if (shadow->read_clock[t] > thread->knows.clock[t])
				mc_fail("race: an atomic write of %#lx at %p, after a plain read of "
					"thread %d",
					(unsigned long)address, where, t);
	}
}

static bool acquires(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME ||
	       order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static void see(struct location *location, uint32_t number)
{
	uint32_t *view = &self()->knows.view[number_of(location)];

	if (*view < number)
		*view = number;
	location->used[x->current] = self()->knows.clock[x->current];
}

static void read_store(struct location *location, uint32_t number, int order)
{
	const struct store *store = store_at(location, number);

	see(location, number);
	learn(acquires(order) ? &self()->knows : &self()->pending, &store->released);
}

/* The oldest store that this thread may read. */
static uint32_t oldest_visible(struct location *location, int order)
{
	unsigned i = number_of(location);
	uint32_t oldest = self()->knows.view[i];

	if (order == __ATOMIC_SEQ_CST && oldest < x->consistent.view[i])
		oldest = x->consistent.view[i];
	if (oldest < location->first)
		oldest = location->first;
	if (oldest + HISTORY < location->count)
		oldest = location->count - HISTORY;
	return oldest;
}

static void add_store(struct location *location, uint64_t value, int order, bool rmw)
{
	struct thread *thread = self();
	const struct store *before = store_at(location, location->count - 1);
	uint32_t number = location->count++;
	struct store *store = store_at(location, number);
	struct knowledge released = {{0}, {0}};

	see(location, number);
	/* A read-modify-write goes on with the release sequence of what it read. */
	if (rmw)
		released = before->released;
	learn(&released, releases(order) ? &thread->knows : &thread->released);
	store->value = value;
	store->released = released;
	if (order == __ATOMIC_SEQ_CST)
		x->consistent.view[number_of(location)] = number;
	memory_set(location->address, location->size, value);
}

uint64_t mc_load(uintptr_t address, unsigned size, int order, const void *where)
{
	struct location *location;
	uint32_t newest, oldest, number;

	if (x == NULL || x->thread_count == 0)
		return memory_get(address, size);
	point();
	check_atomic(address, size, false, where);
	location = location_at(address, size);
	newest = location->count - 1;
	oldest = oldest_visible(location, order);
	number = newest - choose_bounded(newest - oldest + 1, &x->stale, x->stale_bound);
	read_store(location, number, order);
	note(number == newest ? "load" : "load (stale)", address, store_at(location, number)->value,
	     where);
	return store_at(location, number)->value;
}

void mc_store(uintptr_t address, unsigned size, uint64_t value, int order, const void *where)
{
	if (x == NULL || x->thread_count == 0) {
		memory_set(address, size, value);
		return;
	}
	point();
	check_atomic(address, size, true, where);
	add_store(location_at(address, size), value, order, false);
	note("store", address, value, where);
}

static uint64_t apply(enum mc_rmw operation, uint64_t old, uint64_t value)
{
	switch (operation) {
	case MC_ADD:
		return old + value;
	case MC_SUB:
		return old - value;
	case MC_AND:
		return old & value;
	case MC_OR:
		return old | value;
	case MC_XOR:
		return old ^ value;
	default:
		return value;
	}
}

static uint64_t cut(uint64_t value, unsigned size)
{
	return size == 8 ? value : value & ((UINT64_C(1) << (8 * size)) - 1);
}

uint64_t mc_rmw(enum mc_rmw operation, uintptr_t address, unsigned size, uint64_t value, int order,
		const void *where)
{
	struct location *location;
	uint64_t old, changed;

	if (x == NULL || x->thread_count == 0) {
		old = memory_get(address, size);
		memory_set(address, size, apply(operation, old, value));
		return old;
	}
	point();
	check_atomic(address, size, true, where);
	location = location_at(address, size);
	old = store_at(location, location->count - 1)->value;
	changed = cut(apply(operation, old, value), size);
	read_store(location, location->count - 1, order);
	add_store(location, changed, order, true);
	note("read-modify-write", address, changed, where);
	return old;
}

bool mc_cas(uintptr_t address, unsigned size, uint64_t *expected, uint64_t value, bool weak,
	    int success, int failure, const void *where)
{
	struct location *location;
	uint32_t visible[HISTORY];
	unsigned n = 0, chosen;
	uint64_t wanted = cut(*expected, size);

	if (x == NULL || x->thread_count == 0) {
		uint64_t old = memory_get(address, size);

		if (old == wanted)
			memory_set(address, size, value);
		*expected = old;
		return old == wanted;
	}
	point();
	check_atomic(address, size, true, where);
	location = location_at(address, size);
	/* It succeeds on the newest store only; it may fail on any visible one that differs. */
	visible[n++] = location->count - 1;
	for (uint32_t i = location->count - 1; i-- > oldest_visible(location, failure);)
		if (store_at(location, i)->value != wanted)
			visible[n++] = i;
	chosen = visible[choose_bounded(n, &x->stale, x->stale_bound)];
	if (store_at(location, chosen)->value != wanted) {
		read_store(location, chosen, failure);
		*expected = store_at(location, chosen)->value;
		note("compare-and-exchange fails", address, *expected, where);
		return false;
	}
	if (weak && mc_spurious()) {
		read_store(location, chosen, failure);
		note("compare-and-exchange fails for no reason", address, wanted, where);
		return false;
	}
	read_store(location, chosen, success);
	add_store(location, cut(value, size), success, true);
	note("compare-and-exchange", address, value, where);
	return true;
}

void mc_fence(int order, const void *where)
{
	struct thread *thread;

	if (x == NULL || x->thread_count == 0)
		return;
	point();
	thread = self();
	if (acquires(order))
		learn(&thread->knows, &thread->pending);
	if (order == __ATOMIC_SEQ_CST) {
		/* Each sees every store that the fences before it had seen; that orders what is read,
		 * but does not make plain accesses ordered: the clocks are left alone. */
		for (unsigned i = 0; i < x->location_count; i++) {
			uint32_t *all = &x->consistent.view[i], *own = &thread->knows.view[i];

			if (*all < *own)
				*all = *own;
			else
				*own = *all;
		}
	}
	if (releases(order))
		thread->released = thread->knows;
	note("fence", 0, 0, where);
}

/* ---- One execution ---- */

void mc_outcome(int outcome)
{
	x->outcome = outcome;
}

static void main_body(void)
{
	x->scenario->run();
	point();
	self()->status = FINISHED;
	schedule();
	abort();
}

static void execute(void)
{
	struct thread *first = &x->threads[0];

	memcpy(data_begin, data_copy, data_size);
	x->execution++;
	x->executions++;
	x->depth = 0;
	x->thread_count = 1;
	x->current = 0;
	x->steps = x->idle_yields = 0;
	x->preemptions = x->stale = x->spurious = 0;
	x->now = 1000000000;
	x->failed = x->ended = false;
	x->location_count = x->object_count = 0;
	memset(x->index, 0, sizeof x->index);
	memset(&x->consistent, 0, sizeof x->consistent);
	x->arena_used = x->block_count = x->blocks_in_use = 0;
	x->outcome = -1;
	x->trace_count = 0;
	memset(first, 0, sizeof *first);
	first->knows.clock[0] = 1;
	fiber_init(&first->fiber, stacks, STACK, main_body);
	fiber_switch(&x->main_fiber, &first->fiber);
	if (!x->failed && x->blocks_in_use != 0) {
		x->failed = true;
		snprintf(x->failure, sizeof x->failure, "%u blocks of memory are left at the end",
			 x->blocks_in_use);
	}
	if (!x->failed && x->scenario->outcomes != NULL && x->outcome < 0) {
		x->failed = true;
		snprintf(x->failure, sizeof x->failure, "no outcome");
	}
	if (!x->failed && x->outcome >= 0 && x->outcome < OUTCOMES)
		x->seen[x->outcome] = true;
}

/* Goes on to the next execution of the search. False: there is none. */
static bool advance(void)
{
	while (x->depth > 0) {
		struct choice *last = &x->choices[x->depth - 1];

		if (last->chosen + 1 < last->options) {
			last->chosen++;
			x->known = x->depth;
			return true;
		}
		x->depth--;
	}
	return false;
}

/* ---- The program ---- */

extern char __data_start, _end;

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

static void set_up(void)
{
	arena = map(ARENA);
	arena_shadow = map(ARENA * sizeof *arena_shadow);
	stacks = map((size_t)MC_THREADS * STACK);
	data_begin = &__data_start;
	data_size = (size_t)(&_end - &__data_start);
	data_shadow = map(data_size * sizeof *data_shadow);
	data_copy = map(data_size);
	x = map(sizeof *x);
	memcpy(data_copy, data_begin, data_size);
}

static void print_token(void)
{
	unsigned last = x->depth;

	/* What is left out at the end is 0. */
	while (last > 0 && x->choices[last - 1].chosen == 0)
		last--;
	printf("%s/%s:", x->scenario->kernel, x->scenario->name);
	for (unsigned i = 0; i < last; i++)
		printf("%s%u", i == 0 ? "" : ".", x->choices[i].chosen);
}

static bool read_token(const char *text)
{
	unsigned n = 0;

	memset(x->choices, 0, sizeof x->choices);
	while (*text != '\0' && n < CHOICES) {
		char *end;

		x->choices[n++].chosen = (uint16_t)strtoul(text, &end, 10);
		if (end == text)
			return false;
		text = *end == '.' ? end + 1 : end;
	}
	x->known = n;
	return true;
}

static void print_trace(void)
{
	unsigned from = x->trace_count > TRACE ? x->trace_count - TRACE : 0;

	for (unsigned i = from; i < x->trace_count; i++) {
		const struct trace *trace = &x->trace[i % TRACE];

		printf("  %*s[%d] %s", 4 * trace->thread, "", trace->thread, trace->what);
		if (trace->address != 0)
			printf(" %#lx = %#lx", (unsigned long)trace->address,
			       (unsigned long)trace->value);
		printf("  (%p)\n", trace->where);
	}
}

/* Drops choices one by one as long as the failure stays: fewer deviations are easier to read. */
static void shrink(void)
{
	struct choice best[CHOICES];
	unsigned length = x->depth;

	memcpy(best, x->choices, length * sizeof best[0]);
	for (unsigned i = length; i-- > 0;) {
		if (best[i].chosen == 0)
			continue;
		memcpy(x->choices, best, length * sizeof best[0]);
		x->choices[i].chosen = 0;
		for (unsigned j = 0; j < length; j++)
			x->choices[j].options = 0;
		x->mode = REPLAY;
		x->known = length;
		execute();
		if (x->failed && strncmp(x->failure, "this token", 10) != 0) {
			length = x->depth;
			memcpy(best, x->choices, length * sizeof best[0]);
			i = i < length ? i : length;
		}
	}
	memcpy(x->choices, best, length * sizeof best[0]);
	for (unsigned j = 0; j < length; j++)
		x->choices[j].options = 0;
	x->mode = REPLAY;
	x->known = length;
	execute();
}

static const char *check_outcomes(void)
{
	static char text[128];
	const int *expected = x->scenario->outcomes;
	bool allowed[OUTCOMES] = {false};

	if (expected == NULL)
		return NULL;
	for (; *expected >= 0; expected++) {
		allowed[*expected] = true;
		if (!x->seen[*expected]) {
			snprintf(text, sizeof text, "the outcome %d is allowed and was never seen",
				 *expected);
			return text;
		}
	}
	for (int i = 0; i < OUTCOMES; i++)
		if (x->seen[i] && !allowed[i]) {
			snprintf(text, sizeof text, "the outcome %d is forbidden and was seen", i);
			return text;
		}
	return NULL;
}

static struct options {
	int preemptions, stale, spurious;
	uint64_t random, limit, seed;
	const char *filter, *replay;
	bool list, trace, tap;
} options = {2, 2, 1, 0, 0, 1, NULL, NULL, false, false, false};

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct total {
	unsigned scenarios, failures, incomplete, kernels;
	uint64_t executions;
};

static int bound(int own, int general)
{
	return own < 0 ? 0 : own > 0 ? own : general;
}

static void fail_report(struct mc_scenario *scenario, bool shrinkable)
{
	char first[sizeof x->failure];

	memcpy(first, x->failure, sizeof first);
	if (shrinkable) {
		x->tracing = true;
		shrink();
	}
	printf("%sFAILED %s/%s: %s\n", options.tap ? "# " : "", scenario->kernel, scenario->name,
	       x->failed ? x->failure : first);
	if (shrinkable) {
		printf("%s  replay: ", options.tap ? "# " : "");
		print_token();
		printf("\n");
		if (options.trace)
			print_trace();
	}
}

static void run_scenario(struct mc_scenario *scenario, struct total *total)
{
	double begin = seconds();
	bool complete = true, failed;
	const char *wrong = NULL;

	memset(x->seen, 0, sizeof x->seen);
	x->scenario = scenario;
	x->executions = 0;
	x->known = x->depth = 0;
	x->tracing = false;
	x->preemption_bound = bound(scenario->preemptions, options.preemptions);
	x->stale_bound = bound(scenario->stale, options.stale);
	x->spurious_bound = bound(scenario->spurious, options.spurious);
	x->mode = options.random > 0 ? RANDOM : SEARCH;
	x->random = options.seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
	for (;;) {
		execute();
		if (x->failed)
			break;
		if (x->mode == RANDOM) {
			x->known = 0;
			complete = false;
			if (x->executions >= options.random)
				break;
		} else if (!advance()) {
			break;
		} else if (options.limit > 0 && x->executions >= options.limit) {
			complete = false;
			break;
		}
	}
	failed = x->failed;
	if (!failed && x->mode == SEARCH && complete)
		wrong = check_outcomes();
	total->scenarios++;
	total->executions += x->executions;
	if (!complete)
		total->incomplete++;
	if (options.tap)
		printf("%s %u - %s/%s\n",
		       failed != scenario->must_fail || wrong != NULL ? "not ok" : "ok",
		       total->scenarios, scenario->kernel, scenario->name);
	printf("%s%-12s %-44s %2d %2d %2d %10lu %s %6.2fs\n", options.tap ? "# " : "",
	       scenario->kernel, scenario->name, x->preemption_bound, x->stale_bound,
	       x->spurious_bound, (unsigned long)x->executions,
	       scenario->must_fail ? (failed ? "fails as it must" : "DOES NOT FAIL")
	       : failed            ? "failed"
	       : complete          ? "complete"
				   : "not complete",
	       seconds() - begin);
	if (failed != scenario->must_fail) {
		total->failures++;
		if (failed)
			fail_report(scenario, true);
	} else if (wrong != NULL) {
		total->failures++;
		printf("%sFAILED %s/%s: %s\n", options.tap ? "# " : "", scenario->kernel,
		       scenario->name, wrong);
	}
	fflush(stdout);
}

static int replay(const char *text)
{
	const char *colon = strchr(text, ':');

	for (struct mc_scenario *s = scenarios; s != NULL && colon != NULL; s = s->next) {
		char name[256];

		snprintf(name, sizeof name, "%s/%s", s->kernel, s->name);
		if (strlen(name) != (size_t)(colon - text) ||
		    strncmp(name, text, strlen(name)) != 0)
			continue;
		x->scenario = s;
		x->preemption_bound = bound(s->preemptions, options.preemptions);
		x->stale_bound = bound(s->stale, options.stale);
		x->spurious_bound = bound(s->spurious, options.spurious);
		x->mode = REPLAY;
		x->tracing = true;
		if (!read_token(colon + 1))
			break;
		execute();
		print_trace();
		printf("%s: %s\n", name, x->failed ? x->failure : "does not fail");
		return x->failed ? 1 : 0;
	}
	fprintf(stderr, "explorer: '%s' is not KERNEL/SCENARIO:CHOICE.CHOICE...\n", text);
	return 2;
}

static const char help[] =
	"usage: explorer [options]\n"
	"  --preemptions N  bound for each execution (2)\n"
	"  --stale N        loads that do not read the newest store (2)\n"
	"  --spurious N     compare-and-exchanges and waits that fail for no reason (1)\n"
	"  --filter TEXT    only scenarios with this in KERNEL/NAME\n"
	"  --random N       N random executions of each scenario instead of a search\n"
	"  --seed N         for --random (1)\n"
	"  --limit N        stop a search after N executions\n"
	"  --trace          print the steps of a failing execution\n"
	"  --replay TOKEN   run one execution, as printed by a failure\n"
	"  --tap            report in the Test Anything Protocol\n"
	"  --list           list the scenarios\n";

static uint64_t number(const char *option, const char *text)
{
	char *end;
	unsigned long long value = text != NULL ? strtoull(text, &end, 10) : 0;

	if (text == NULL || end == text || *end != '\0') {
		fprintf(stderr, "explorer: %s wants a number\n", option);
		exit(2);
	}
	return value;
}

static void read_options(char **argv)
{
	while (*++argv != NULL) {
		const char *option = *argv;

		if (strcmp(option, "--help") == 0) {
			fputs(help, stdout);
			exit(0);
		} else if (strcmp(option, "--list") == 0) {
			options.list = true;
		} else if (strcmp(option, "--tap") == 0) {
			options.tap = true;
		} else if (strcmp(option, "--trace") == 0) {
			options.trace = true;
		} else if (strcmp(option, "--preemptions") == 0) {
			options.preemptions = (int)number(option, *++argv);
		} else if (strcmp(option, "--stale") == 0) {
			options.stale = (int)number(option, *++argv);
		} else if (strcmp(option, "--spurious") == 0) {
			options.spurious = (int)number(option, *++argv);
		} else if (strcmp(option, "--random") == 0) {
			options.random = number(option, *++argv);
		} else if (strcmp(option, "--seed") == 0) {
			options.seed = number(option, *++argv);
		} else if (strcmp(option, "--limit") == 0) {
			options.limit = number(option, *++argv);
		} else if (strcmp(option, "--filter") == 0 && argv[1] != NULL) {
			options.filter = *++argv;
		} else if (strcmp(option, "--replay") == 0 && argv[1] != NULL) {
			options.replay = *++argv;
		} else {
			fprintf(stderr, "explorer: unknown or incomplete option %s\n%s", option,
				help);
			exit(2);
		}
	}
}

/* The first scenario of a kernel, for counting kernels. */
static bool first_of_kernel(const struct mc_scenario *scenario)
{
	for (const struct mc_scenario *s = scenarios; s != scenario; s = s->next)
		if (strcmp(s->kernel, scenario->kernel) == 0)
			return false;
	return true;
}

static bool selected(const struct mc_scenario *scenario)
{
	char name[256];

	snprintf(name, sizeof name, "%s/%s", scenario->kernel, scenario->name);
	return options.filter == NULL || strstr(name, options.filter) != NULL;
}

int main(int argc, char **argv)
{
	struct total *total = map(sizeof *total);

	(void)argc;
	read_options(argv);
	set_up();
	if (options.replay != NULL)
		return replay(options.replay);
	for (struct mc_scenario *s = scenarios; s != NULL; s = s->next) {
		if (!selected(s))
			continue;
		if (options.list) {
			printf("%s/%s\n", s->kernel, s->name);
			continue;
		}
		if (first_of_kernel(s))
			total->kernels++;
		run_scenario(s, total);
	}
	if (options.list)
		return 0;
	if (options.tap)
		printf("1..%u\n# ", total->scenarios);
	printf("model: %u kernels, %u scenarios, %lu executions, %u failures, %s\n", total->kernels,
	       total->scenarios, (unsigned long)total->executions, total->failures,
	       total->incomplete == 0 ? "all complete" : "not all complete");
	return total->failures > 0 || total->scenarios == 0;
}
