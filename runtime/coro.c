/* coro.c - what the macros of skua/coro.h call. */
#include "skua/coro.h"

#include <stdio.h>

#include "sched/sync.h"

void skua_coro_bad_resume(const skua_coro *co)
{
	fprintf(stderr,
		"skua: coroutine %s (%s): there is no resume point %u; it was overwritten, or polled "
		"again after its end, or it awaits inside a switch of its own\n",
		co->ops->name, co->ops->file != NULL ? co->ops->file : "unknown file", co->resume);
	sk_panic("bad resume point");
}

skua_poll skua_poll_future(skua_cx *cx, skua_future *future)
{
	return future->ops->poll(cx, future);
}
