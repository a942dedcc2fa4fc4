/*
 * source.h - a source: one descriptor, the two slots in which tasks wait for it, and its life.
 *
 * From event to waker. A source is registered with its driver's blocker under an event id: its
 * index in the table, and a generation that changes when the place is given to another descriptor.
 * The driver takes an id out of an event, finds the source, and fires the slot of each direction
 * that is ready; the waiter that was in the slot is woken. That is the map from event id to waker.
 *
 * An operation (sk_source_operate) is tried first and waits only when the kernel says EAGAIN:
 *
 *     begin   takes the direction: nobody else may have it, and the descriptor may not be closing
 *     loop:   if it is known that the kernel has nothing, and there was no event since: go to wait
 *             reset the slot                an event from here on is kept
 *             attempt the system call       done, unless EAGAIN
 *             register or rearm             the first time, or on a one-shot backend
 *             wait in the slot              if an event has come since the reset: loop
 *     pending the direction is kept; the task is polled again when the slot fires
 *
 * Short reads. A read of a stream that gives less than was asked for has emptied the socket, as one
 * that says EAGAIN: the next one need not ask the kernel, but waits at once, unless the slot has become
 * ready since it was reset before that read (`drained`). That saves a system call for each request.
 * It is wrong if there is something to be read that brings no further event: the end of the stream or
 * an error, when it has been reported together with the data, and data behind a mark of urgent data.
 * Who dispatches such an event says so before it fires the slot, for the rest of the source's life
 * (`more`), and reads go on until EAGAIN then. (Tokio and Asio do the same, or can; lost ends of
 * streams: dotnet/runtime#38747.)
 *
 * Life. One word holds it: CLOSING, one bit for each direction that an operation has taken, `users`
 * that are inside a system call, and `references`. So beginning and ending an operation is one
 * read-modify-write each. Who holds a reference: the handle (until close), the descriptor (until it
 * is closed), each operation that has answered PENDING (until it is polled again, or its task
 * ends). The descriptor is closed by whoever ends the last use after CLOSING was set, so its number
 * cannot be reused under a system call (Go's fdMutex, internal/poll/fd_mutex.go). The place in the
 * table is reused when nothing is left; its memory stays as long as the runtime, so a late event
 * finds at worst a slot to make ready for nothing.
 *
 * Close against wait. Close sets CLOSING, then fires both slots; a waiter empties its slot, enters it,
 * then looks at CLOSING. A slot is changed by read-modify-writes that acquire and release (waiter.h):
 * if the waiter came first, the close finds it; if the close came first, the waiter finds the slot
 * ready, or has emptied it of that, and sees CLOSING.
 */
#ifndef SKUA_IO_SOURCE_H
#define SKUA_IO_SOURCE_H

#include "sched/obligation.h"
#include "sched/sync.h"
#include "sched/waiter.h"

#include "skua/blocker.h"
#include "skua/time.h"

struct sk_io;
struct sk_driver;

enum sk_direction { SK_READ, SK_WRITE };

/* Places in a chunk of the table, and chunks. The model checker, which tries what happens when a place
 * is used again, has fewer. */
#ifndef SK_SOURCE_CHUNK
#define SK_SOURCE_CHUNK 256
#define SK_SOURCE_CHUNKS 8192
#define SK_SOURCE_LOCKS 64
#endif

struct sk_source {
	SK_ATOMIC(uint64_t) life;
	sk_slot slots[2];
	/* Whose operation has answered PENDING: a task, or the context of a foreign executor. Written
	 * by who holds the direction, and 0 when nobody does. */
	SK_ATOMIC(uintptr_t) pending[2];
	struct sk_obligation obligations[2]; /* of that task */
	SK_ATOMIC(uint32_t) generation;
	SK_ATOMIC(uint32_t) interest; /* directions registered so far */
	SK_ATOMIC(bool) more;         /* a short read does not say that there is nothing left */
	bool drained;                 /* belongs to who holds the direction of reading */
	uint32_t index;
	int fd;
	struct sk_driver *driver;
	skua_registration registration;
	const void *writing; /* of skua_write_all: what, and how much of it is written */
	size_t progress;
	skua_timer *retry;      /* of skua_accept; of a listener only, and freed with the place */
	struct sk_source *next; /* in the list of free places */
};

struct sk_source_table {
	sk_mutex lock;
	/* For registering: a reader and a writer may come at the same time. Source i has the
	 * (i % SK_SOURCE_LOCKS)th: one of its own in each would make it a fifth larger. */
	sk_mutex locks[SK_SOURCE_LOCKS];
	struct sk_source *free, *last_free; /* taken at the front, given back at the end */
	uint32_t count;                     /* places that exist */
	SK_ATOMIC(struct sk_source *) chunks[SK_SOURCE_CHUNKS];
};

void sk_sources_init(struct sk_source_table *table);

/* Closes what is still open, and frees the table. Nobody else uses it any more. */
void sk_sources_destroy(struct sk_source_table *table);

/* Makes a source of a non-blocking descriptor, which it takes over. NULL: no memory, and the
 * descriptor is still the caller's. */
struct sk_source *sk_source_new(struct sk_io *io, int fd);

/* Closes it and gives the handle up. Waiting operations return -ECANCELED. */
void sk_source_close(struct sk_source *source);

/* The source of an event, or NULL if that is long gone. */
struct sk_source *sk_source_of_event(struct sk_source_table *table, uint64_t id);

/* By who dispatches an event, before it fires the slot: see "short reads". */
static inline void sk_source_has_more(struct sk_source *source)
{
	/* Relaxed: the fire that follows releases it. */
	sk_store(&source->more, true, SK_RELAXED);
}

/*
 * One attempt at an operation: returns its result, -EAGAIN if the kernel is not ready, or
 * SKUA_PENDING after it has arranged for the task to be woken itself.
 */
typedef skua_poll sk_attempt(skua_cx *cx, struct sk_source *source, void *argument);

/* Inside an attempt at reading, of a stream: the kernel has given all that it had. */
static inline void sk_source_is_drained(struct sk_source *source)
{
	source->drained = true;
}

/* Polls an operation in one direction. */
skua_poll sk_source_operate(skua_cx *cx, struct sk_source *source, enum sk_direction direction,
			    sk_attempt *attempt, void *argument);

/* Inside an attempt: waits in the slot for an event or a close. Returns SKUA_PENDING; 0 if there was an
 * event since the last reset; an error. */
skua_poll sk_source_wait(skua_cx *cx, struct sk_source *source, enum sk_direction direction);

/* An operation with nothing to do: 0, unless it would have failed before its first attempt. */
skua_poll sk_source_nothing(skua_cx *cx, struct sk_source *source, enum sk_direction direction);

/* Awaits a change of readiness in one direction, for whoever makes the system calls himself. */
skua_poll sk_source_ready(skua_cx *cx, struct sk_source *source, enum sk_direction direction);

/* Counts a use for a call that is not an operation, such as shutdown(2). False if it is closing.
 * Ends with sk_source_leave. */
bool sk_source_enter(struct sk_source *source);
void sk_source_leave(struct sk_source *source);

#endif /* SKUA_IO_SOURCE_H */
