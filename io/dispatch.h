/*
 * dispatch.h - from events to waiters: what whoever has waited for the set does with what it got.
 */
#ifndef SKUA_IO_DISPATCH_H
#define SKUA_IO_DISPATCH_H

#include "io/io.h"
#include "io/source.h"

/* Fires the slots of each event, and hands each waiter that was in one to `woken`, in the order of the
 * events. */
static inline void sk_dispatch(struct sk_io *io, const skua_event *events, int count,
			       void (*woken)(void *argument, sk_waiter waiter), void *argument)
{
	for (int i = 0; i < count; i++) {
		struct sk_source *source = sk_source_of_event(&io->sources, events[i].id);
		uint32_t ready = events[i].ready;
		sk_waiter waiter;

		if (source == NULL)
			continue;
		if ((ready & SKUA_MORE) != 0)
			sk_source_has_more(source);
		if ((ready & SKUA_READABLE) != 0 &&
		    (waiter = sk_slot_fire(&source->slots[SK_READ])) != SK_NO_WAITER)
			woken(argument, waiter);
		if ((ready & SKUA_WRITABLE) != 0 &&
		    (waiter = sk_slot_fire(&source->slots[SK_WRITE])) != SK_NO_WAITER)
			woken(argument, waiter);
	}
}

#endif /* SKUA_IO_DISPATCH_H */
