/* source.c - see source.h for the protocols. */
#include "io/source.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io/blocker.h"
#include "io/driver.h"
#include "io/io.h"
#include "sched/cx.h"
#include "sched/task.h"
#include "sched/timer.h"

/* The life word. */
#define CLOSING (UINT64_C(1) << 63)
#define TAKEN(direction) (UINT64_C(1) << (61 + (direction)))
#define USER (UINT64_C(1) << 32)
#define USERS (TAKEN(SK_READ) - USER)
#define REFERENCE UINT64_C(1)

static const struct sk_obligation_ops read_ops, write_ops;

/* ---- The table ---- */

void sk_sources_init(struct sk_source_table *table)
{
	sk_mutex_init(&table->lock);
	for (uint32_t i = 0; i < SK_SOURCE_LOCKS; i++)
		sk_mutex_init(&table->locks[i]);
}

static struct sk_source *source_at(struct sk_source_table *table, uint32_t index)
{
	struct sk_source *chunk;

	if (index / SK_SOURCE_CHUNK >= SK_SOURCE_CHUNKS)
		return NULL;
	/* Acquire: pairs with the release in grow. */
	chunk = sk_load(&table->chunks[index / SK_SOURCE_CHUNK], SK_ACQUIRE);
	return chunk != NULL ? &chunk[index % SK_SOURCE_CHUNK] : NULL;
}

/* Puts a place at the end of the list, so that it is long before it is used again: who still holds a
 * handle that was closed most likely gets -EBADF, and not somebody else's connection. Under the lock. */
static void add_free(struct sk_source_table *table, struct sk_source *source)
{
	source->next = NULL;
	if (table->free == NULL)
		table->free = source;
	else
		table->last_free->next = source;
	table->last_free = source;
}

/* Adds a chunk of places. Under the lock. False: no memory, or no room for more. */
static bool grow(struct sk_source_table *table)
{
	struct sk_source *chunk;

	if (table->count / SK_SOURCE_CHUNK >= SK_SOURCE_CHUNKS)
		return false;
	chunk = sk_calloc(SK_SOURCE_CHUNK, sizeof *chunk);
	if (chunk == NULL)
		return false;
	for (uint32_t i = 0; i < SK_SOURCE_CHUNK; i++) {
		struct sk_source *source = &chunk[i];

		source->index = table->count + i;
		source->fd = -1;
		source->obligations[SK_READ].ops = &read_ops;
		source->obligations[SK_WRITE].ops = &write_ops;
		add_free(table, source);
	}
	/* Release: pairs with the acquire in source_at. */
	sk_store(&table->chunks[table->count / SK_SOURCE_CHUNK], chunk, SK_RELEASE);
	table->count += SK_SOURCE_CHUNK;
	return true;
}

static struct sk_source *take_place(struct sk_source_table *table)
{
	struct sk_source *source = NULL;

	sk_mutex_lock(&table->lock);
	if (table->free != NULL || grow(table)) {
		source = table->free;
		table->free = source->next;
	}
	sk_mutex_unlock(&table->lock);
	return source;
}

static void give_place_back(struct sk_source *source)
{
	struct sk_source_table *table = &source->driver->io->sources;

	sk_free(source->retry);
	source->retry = NULL;
	/* From here on events of the old descriptor are strays. */
	sk_fetch_add(&source->generation, 1, SK_RELAXED);
	sk_slot_reset(&source->slots[SK_READ]);
	sk_slot_reset(&source->slots[SK_WRITE]);
	sk_mutex_lock(&table->lock);
	add_free(table, source);
	sk_mutex_unlock(&table->lock);
}

static uint64_t event_id(struct sk_source *source)
{
	return (uint64_t)sk_load(&source->generation, SK_RELAXED) << 32 | source->index;
}

struct sk_source *sk_source_of_event(struct sk_source_table *table, uint64_t id)
{
	struct sk_source *source = source_at(table, (uint32_t)id);

	if (source == NULL || sk_load(&source->generation, SK_RELAXED) != id >> 32)
		return NULL;
	return source;
}

struct sk_source *sk_source_new(struct sk_io *io, int fd)
{
	struct sk_source *source = take_place(&io->sources);

	if (source == NULL)
		return NULL;
	source->fd = fd;
	source->driver = io->drivers[sk_io_driver_of(fd, io->driver_count)];
	source->writing = NULL;
	source->progress = 0;
	for (int i = 0; i < 2; i++) {
		sk_slot_reset(&source->slots[i]);
		sk_store(&source->pending[i], 0, SK_RELAXED);
	}
	sk_store(&source->interest, 0, SK_RELAXED);
	sk_store(&source->more, false, SK_RELAXED);
	source->drained = false;
	/* One reference of the handle, one of the descriptor. */
	sk_store(&source->life, 2 * REFERENCE, SK_RELAXED);
	return source;
}

/* ---- Life ---- */

static void close_descriptor(struct sk_source *source);

/* Adds `plus` and takes `minus` away, in one step; and does what has to be done by the one who did. */
static void change(struct sk_source *source, uint64_t plus, uint64_t minus)
{
	/* Acquire and release: who closes the descriptor, or gives the place back, comes after all
	 * uses of it. */
	uint64_t before = sk_fetch_add(&source->life, plus - minus, SK_ACQ_REL);
	uint64_t life = before + plus - minus;

	/* The last user of a source that is closing; there will be no other. */
	if ((life & CLOSING) != 0 && (life & USERS) == 0 && (before & USERS) != 0)
		close_descriptor(source);
	else if (life == CLOSING)
		give_place_back(source);
}

static void close_descriptor(struct sk_source *source)
{
	skua_blocker *blocker = source->driver->blocker;

	if (sk_load(&source->interest, SK_RELAXED) != 0)
		skua_blocker_deregister(blocker, &source->registration, true);
	else
		close(source->fd);
	source->fd = -1;
	change(source, 0, REFERENCE);
}

bool sk_source_enter(struct sk_source *source)
{
	uint64_t life = sk_load(&source->life, SK_RELAXED);

	while ((life & CLOSING) == 0)
		/* Relaxed: a call that is not an operation shares nothing with others but the
		 * descriptor, which is closed after sk_source_leave. */
		if (sk_cas_weak(&source->life, &life, life + USER, SK_RELAXED, SK_RELAXED))
			return true;
	return false;
}

void sk_source_leave(struct sk_source *source)
{
	change(source, 0, USER);
}

void sk_source_close(struct sk_source *source)
{
	uint64_t before = sk_load(&source->life, SK_RELAXED), life;

	do {
		if ((before & CLOSING) != 0)
			return;
		/* The handle's reference is kept until the end of this function. */
		life = before | CLOSING;
		/* Release: what came before is seen by whoever finds CLOSING. */
	} while (!sk_cas_weak(&source->life, &before, life + USER, SK_RELEASE, SK_RELAXED));
	sk_waiter_wake(sk_slot_fire(&source->slots[SK_READ]));
	sk_waiter_wake(sk_slot_fire(&source->slots[SK_WRITE]));
	change(source, 0, USER + REFERENCE);
}

void sk_sources_destroy(struct sk_source_table *table)
{
	for (uint32_t i = 0; i < table->count; i++) {
		struct sk_source *source = source_at(table, i);

		if (source->fd >= 0)
			sk_source_close(source);
		sk_slot_reset(&source->slots[SK_READ]);
		sk_slot_reset(&source->slots[SK_WRITE]);
		sk_free(source->retry);
	}
	for (uint32_t i = 0; i < table->count / SK_SOURCE_CHUNK; i++)
		sk_free(sk_load(&table->chunks[i], SK_RELAXED));
	for (uint32_t i = 0; i < SK_SOURCE_LOCKS; i++)
		sk_mutex_destroy(&table->locks[i]);
	sk_mutex_destroy(&table->lock);
}

/* ---- Operations ---- */

static uintptr_t identity(const skua_cx *cx)
{
	return cx->task != NULL ? (uintptr_t)cx->task : (uintptr_t)cx;
}

/* The timer is accept's, which reads; a writer must not touch it. */
static void cancel_retry(struct sk_source *source, enum sk_direction direction)
{
	if (direction == SK_READ && source->retry != NULL)
		skua_timer_cancel(source->retry);
}

/* Gives back what an operation holds that was pending and will not go on. */
static void give_up(struct sk_source *source, enum sk_direction direction)
{
	sk_obligation_remove(&source->obligations[direction]);
	sk_store(&source->pending[direction], 0, SK_RELAXED);
	cancel_retry(source, direction);
	change(source, 0, REFERENCE + TAKEN(direction));
}

static void take_back(struct sk_source *source, enum sk_direction direction, skua_task *task)
{
	sk_slot_forget(&source->slots[direction], task);
	give_up(source, direction);
}

/* The task has ended in the middle of its operation. */
static void take_read_back(struct sk_obligation *obligation, skua_task *task)
{
	char *source = (char *)obligation - offsetof(struct sk_source, obligations[SK_READ]);

	take_back((struct sk_source *)(void *)source, SK_READ, task);
}

static const struct sk_obligation_ops read_ops = {take_read_back, "reading a descriptor", true};

static void take_write_back(struct sk_obligation *obligation, skua_task *task)
{
	char *source = (char *)obligation - offsetof(struct sk_source, obligations[SK_WRITE]);

	take_back((struct sk_source *)(void *)source, SK_WRITE, task);
}

static const struct sk_obligation_ops write_ops = {take_write_back, "writing a descriptor", true};

/* Takes the direction, or goes on with an operation that was pending, whose reference becomes the
 * use of this poll; all in one step. */
static skua_poll begin(skua_cx *cx, struct sk_source *source, enum sk_direction direction)
{
	/* Acquire, here and on failure below: pairs with the release in sk_source_close. */
	uint64_t life = sk_load(&source->life, SK_ACQUIRE), next;

	do {
		bool taken = (life & TAKEN(direction)) != 0;
		uintptr_t pending = sk_load(&source->pending[direction], SK_RELAXED);

		if (taken && pending != identity(cx))
			return -EBUSY;
		if ((life & CLOSING) != 0) {
			if (!taken)
				return -EBADF;
			give_up(source, direction);
			return -ECANCELED;
		}
		next = taken ? life + USER - REFERENCE : life + USER + TAKEN(direction);
		/* Acquire: pairs with the release of whoever had the direction before. */
	} while (!sk_cas_weak(&source->life, &life, next, SK_ACQUIRE, SK_ACQUIRE));
	sk_obligation_remove(&source->obligations[direction]);
	if ((life & TAKEN(direction)) == 0 && direction == SK_WRITE)
		source->writing = NULL;
	return 0;
}

/* Leaves with a result, and gives the direction back; SKUA_PENDING keeps it, and a reference, for
 * the next poll. */
static skua_poll finish(skua_cx *cx, struct sk_source *source, enum sk_direction direction,
			skua_poll result)
{
	if (result == SKUA_PENDING) {
		sk_store(&source->pending[direction], identity(cx), SK_RELAXED);
		if (cx->task != NULL)
			sk_obligation_add(&cx->task->obligations, &source->obligations[direction]);
		change(source, REFERENCE, USER);
		return result;
	}
	sk_store(&source->pending[direction], 0, SK_RELAXED);
	change(source, 0, USER + TAKEN(direction));
	return result;
}

/* Sees to it that the driver will hear of this direction. */
static int arm(struct sk_source *source, enum sk_direction direction)
{
	sk_mutex *lock = &source->driver->io->sources.locks[source->index % SK_SOURCE_LOCKS];
	skua_blocker *blocker = source->driver->blocker;
	uint32_t flag = direction == SK_READ ? SKUA_READABLE : SKUA_WRITABLE;
	uint32_t interest = sk_load(&source->interest, SK_RELAXED);
	int rc;

	if ((interest & flag) != 0 && sk_blocker_is_edge_triggered(blocker))
		return 0;
	sk_mutex_lock(lock);
	interest = sk_load(&source->interest, SK_RELAXED);
	if (interest == 0)
		rc = skua_blocker_register(blocker, source->fd,
					   (skua_interest){event_id(source), flag},
					   &source->registration);
	else
		rc = skua_blocker_rearm(blocker, &source->registration, flag);
	if (rc == 0)
		sk_store(&source->interest, interest | flag, SK_RELAXED);
	sk_mutex_unlock(lock);
	return rc;
}

skua_poll sk_source_wait(skua_cx *cx, struct sk_source *source, enum sk_direction direction)
{
	sk_slot *slot = &source->slots[direction];
	skua_poll result = sk_slot_wait(slot, cx);

	/* After the slot: "close against wait" in source.h. Relaxed: the operation ends with change,
	 * which acquires what came before the close. */
	if ((sk_load(&source->life, SK_RELAXED) & CLOSING) != 0) {
		sk_slot_reset(slot);
		return -ECANCELED;
	}
	return result;
}

static skua_poll arm_and_wait(skua_cx *cx, struct sk_source *source, enum sk_direction direction)
{
	skua_poll result = arm(source, direction);

	return result < 0 ? result : sk_source_wait(cx, source, direction);
}

/* Begins an operation; anything but 0 is what the poll has to return. */
static skua_poll begin_or_give_up(skua_cx *cx, struct sk_source *source,
				  enum sk_direction direction)
{
	skua_poll result = begin(cx, source, direction);
	int interrupt;

	if (result < 0)
		return result;
	interrupt = sk_cx_interrupt(cx);
	if (interrupt != 0) {
		/* An event that came at the same time stays in the slot. */
		sk_slot_forget(&source->slots[direction], cx->task);
		cancel_retry(source, direction);
		return finish(cx, source, direction, interrupt);
	}
	if (!sk_cx_budget(cx))
		return finish(cx, source, direction, SKUA_PENDING);
	return 0;
}

/* Whether there is something to try for: see "short reads" in source.h. */
static bool is_worth_trying(struct sk_source *source, enum sk_direction direction)
{
	if (direction != SK_READ || !source->drained)
		return true;
	/* The slot first, which acquires: an event tells of `more` before it fires. */
	if (!sk_slot_is_ready(&source->slots[SK_READ]) && !sk_load(&source->more, SK_RELAXED))
		return false;
	source->drained = false;
	return true;
}

skua_poll sk_source_operate(skua_cx *cx, struct sk_source *source, enum sk_direction direction,
			    sk_attempt *attempt, void *argument)
{
	skua_poll result = begin_or_give_up(cx, source, direction);

	if (result != 0)
		return result;
	for (;;) {
		if (is_worth_trying(source, direction)) {
			sk_slot_reset(&source->slots[direction]);
			result = attempt(cx, source, argument);
			if (result != -EAGAIN)
				break;
		}
		result = arm_and_wait(cx, source, direction);
		if (result != 0)
			break;
	}
	return finish(cx, source, direction, result);
}

skua_poll sk_source_nothing(skua_cx *cx, struct sk_source *source, enum sk_direction direction)
{
	skua_poll result = begin_or_give_up(cx, source, direction);

	return result != 0 ? result : finish(cx, source, direction, 0);
}

skua_poll sk_source_ready(skua_cx *cx, struct sk_source *source, enum sk_direction direction)
{
	skua_poll result = begin_or_give_up(cx, source, direction);

	if (result != 0)
		return result;
	/* If it is ready, to wait would only arm it for nothing. */
	if (!sk_slot_is_ready(&source->slots[direction]))
		result = arm_and_wait(cx, source, direction);
	/* Empty before the caller's system call: what comes from here on is kept. */
	if (result == 0)
		sk_slot_reset(&source->slots[direction]);
	return finish(cx, source, direction, result);
}
