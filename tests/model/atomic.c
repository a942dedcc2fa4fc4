/* atomic.c - atomics: histories of stores, and who may read which; see state.h. */
#include <string.h>

#include "tests/model/state.h"

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
	return (unsigned)(location - mc->locations);
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

static unsigned hash(uintptr_t address)
{
	return (unsigned)((address * UINT64_C(0x9E3779B97F4A7C15)) >> 54);
}

static struct location *find_location(uintptr_t address)
{
	for (unsigned i = hash(address);; i = (i + 1) % 1024) {
		if (mc->index[i] == 0)
			return NULL;
		if (mc->locations[mc->index[i] - 1].address == address)
			return &mc->locations[mc->index[i] - 1];
	}
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
	if (mc->location_count == LOCATIONS)
		mc_fail("more than %d atomics", LOCATIONS);
	location = &mc->locations[mc->location_count++];
	memset(location, 0, offsetof(struct location, stores));
	location->address = address;
	location->size = size;
	location->count = 1;
	begin_history(location);
	for (i = hash(address); mc->index[i] != 0; i = (i + 1) % 1024)
		;
	mc->index[i] = (uint16_t)mc->location_count;
	for (unsigned j = 0; j < size; j++) {
		struct shadow *shadow = mc_shadow_of(address + j);

		if (shadow != NULL)
			shadow->location = (uint16_t)mc->location_count;
	}
	return location;
}

/* An atomic access must not race with the plain ones before it. A load counts as a read for those, a
 * store as a write; atomics never race with each other. */
static void check_atomic(uintptr_t address, unsigned size, bool write, const void *where)
{
	struct thread *thread = self();

	for (unsigned i = 0; i < size; i++) {
		struct shadow *shadow = mc_shadow_of(address + i);

		if (shadow == NULL)
			return;
		mc_check_alive(shadow, address, where);
		if (shadow->write_clock > thread->knows.clock[shadow->writer])
			mc_fail("race: an atomic access of %#lx at explorer+%#lx, after a plain write of thread %d",
				(unsigned long)address, mc_offset(where), shadow->writer);
		for (int t = 0; write && t < mc->thread_count; t++)
			if (shadow->read_clock[t] > thread->knows.clock[t])
				mc_fail("race: an atomic write of %#lx at explorer+%#lx, after a plain read of "
					"thread %d",
					(unsigned long)address, mc_offset(where), t);
	}
}

void mc_touch(const void *object, const void *where)
{
	uintptr_t address = (uintptr_t)object;

	check_atomic(address, sizeof(int), true, where);
	location_at(address, sizeof(int))->write_clock[mc->current] =
		self()->knows.clock[mc->current];
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
}

static void read_store(struct location *location, uint32_t number, int order)
{
	const struct store *store = store_at(location, number);

	location->read_clock[mc->current] = self()->knows.clock[mc->current];
	see(location, number);
	mc_learn(acquires(order) ? &self()->knows : &self()->pending, &store->released);
}

/* The oldest store that this thread may read. */
static uint32_t oldest_visible(struct location *location, int order)
{
	unsigned i = number_of(location);
	uint32_t oldest = self()->knows.view[i];

	if (order == __ATOMIC_SEQ_CST && oldest < mc->consistent.view[i])
		oldest = mc->consistent.view[i];
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

	location->write_clock[mc->current] = thread->knows.clock[mc->current];
	see(location, number);
	/* A read-modify-write goes on with the release sequence of what it read. */
	if (rmw)
		released = before->released;
	mc_learn(&released, releases(order) ? &thread->knows : &thread->released);
	mc_passed_on();
	store->value = value;
	store->released = released;
	if (order == __ATOMIC_SEQ_CST)
		mc->consistent.view[number_of(location)] = number;
	if (value != memory_get(location->address, location->size))
		mc_made_change();
	memory_set(location->address, location->size, value);
}

/* Which of n stores a load reads, from the newest on. */
static unsigned choose_store(unsigned n)
{
	return mc_choose_bounded(A_STORE, n, NULL, &mc->stale, mc->stale_bound);
}

uint64_t mc_load(uintptr_t address, unsigned size, int order, const void *where)
{
	struct location *location;
	uint32_t newest, oldest, number;

	if (mc == NULL || mc->thread_count == 0)
		return memory_get(address, size);
	mc_point();
	check_atomic(address, size, false, where);
	location = location_at(address, size);
	newest = location->count - 1;
	oldest = oldest_visible(location, order);
	number = newest - choose_store(newest - oldest + 1);
	read_store(location, number, order);
	mc_note(number == newest ? "load" : "load (stale)", address,
		store_at(location, number)->value, where);
	return store_at(location, number)->value;
}

void mc_store(uintptr_t address, unsigned size, uint64_t value, int order, const void *where)
{
	if (mc == NULL || mc->thread_count == 0) {
		memory_set(address, size, value);
		return;
	}
	mc_point();
	check_atomic(address, size, true, where);
	add_store(location_at(address, size), value, order, false);
	mc_note("store", address, value, where);
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

	if (mc == NULL || mc->thread_count == 0) {
		old = memory_get(address, size);
		memory_set(address, size, apply(operation, old, value));
		return old;
	}
	mc_point();
	check_atomic(address, size, true, where);
	location = location_at(address, size);
	old = store_at(location, location->count - 1)->value;
	changed = cut(apply(operation, old, value), size);
	read_store(location, location->count - 1, order);
	add_store(location, changed, order, true);
	mc_note("read-modify-write", address, changed, where);
	return old;
}

bool mc_cas(uintptr_t address, unsigned size, uint64_t *expected, uint64_t value, bool weak,
	    int success, int failure, const void *where)
{
	struct location *location;
	uint32_t visible[HISTORY];
	unsigned n = 0, chosen;
	uint64_t wanted = cut(*expected, size);

	if (mc == NULL || mc->thread_count == 0) {
		uint64_t old = memory_get(address, size);

		if (old == wanted)
			memory_set(address, size, value);
		*expected = old;
		return old == wanted;
	}
	mc_point();
	check_atomic(address, size, false, where);
	location = location_at(address, size);
	/* It succeeds on the newest store only; it may fail on any visible one that differs. */
	visible[n++] = location->count - 1;
	for (uint32_t i = location->count - 1; i-- > oldest_visible(location, failure);)
		if (store_at(location, i)->value != wanted)
			visible[n++] = i;
	chosen = visible[choose_store(n)];
	if (store_at(location, chosen)->value != wanted) {
		read_store(location, chosen, failure);
		*expected = store_at(location, chosen)->value;
		mc_note("compare-and-exchange fails", address, *expected, where);
		return false;
	}
	if (weak && mc_spurious()) {
		/* Then it is a load, and may be one of an older store with the same value. */
		n = 1;
		for (uint32_t i = location->count - 1; i-- > oldest_visible(location, failure);)
			if (store_at(location, i)->value == wanted)
				visible[n++] = i;
		chosen = visible[choose_store(n)];
		read_store(location, chosen, failure);
		mc_note("compare-and-exchange fails for no reason", address, wanted, where);
		return false;
	}
	check_atomic(address, size, true, where);
	read_store(location, chosen, success);
	add_store(location, cut(value, size), success, true);
	mc_note("compare-and-exchange", address, value, where);
	return true;
}

/* The fence of a thread: it sees every store that the fences before it had seen; that orders what is
 * read, but does not make plain accesses ordered: the clocks are left alone. */
static void be_consistent(struct thread *thread)
{
	for (unsigned i = 0; i < mc->location_count; i++) {
		uint32_t *all = &mc->consistent.view[i], *own = &thread->knows.view[i];

		if (*all < *own)
			*all = *own;
		else
			*own = *all;
	}
}

void mc_fence_all(const void *where)
{
	if (mc == NULL || mc->thread_count == 0)
		return;
	mc_point();
	/* Twice: what the last one brings, the first one sees. */
	for (int i = 0; i < 2 * mc->thread_count; i++)
		be_consistent(&mc->threads[i % mc->thread_count]);
	mc_note("fence of all", 0, 0, where);
}

void mc_fence(int order, const void *where)
{
	struct thread *thread;

	if (mc == NULL || mc->thread_count == 0)
		return;
	mc_point();
	thread = self();
	if (acquires(order))
		mc_learn(&thread->knows, &thread->pending);
	if (order == __ATOMIC_SEQ_CST)
		be_consistent(thread);
	if (releases(order)) {
		thread->released = thread->knows;
		mc_passed_on();
	}
	mc_note("fence", 0, 0, where);
}
