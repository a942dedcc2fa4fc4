/*
 * skua/source.h - awaiting readiness of a descriptor of one's own: a pipe, an eventfd, a socket
 * that another library opened.
 *
 * The order of things: try the non-blocking call; on EAGAIN await readiness; try again. What is
 * awaited is a change: a descriptor that was readable all along is only reported again after a
 * call that said EAGAIN.
 */
#ifndef SKUA_SOURCE_H
#define SKUA_SOURCE_H

#include "future.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct skua_source skua_source;

/*
 * Takes a descriptor over: it must be non-blocking, and skua_source_close closes it (dup it first
 * to keep one). Returns 0; -EBADF; -EPERM if it cannot be waited for (a regular file); -EINVAL;
 * -ENOMEM: then it is still the caller's. Any thread; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_source_new(skua_runtime *runtime, int fd, skua_source **source);

/* The descriptor, lent: for read, write and the like, while the source is open. Any thread;
 * never blocks. */
SKUA_API int skua_source_fd(const skua_source *source);

/* Closes the descriptor and gives the source up, for everybody, as skua_tcp_close does. Tasks that
 * wait on it get -ECANCELED. NULL is allowed. Any thread; never blocks. */
SKUA_API void skua_source_close(skua_source *source);

/*
 * Await that the descriptor has become readable, or writable, since the last such await (an error
 * or a hang-up count as both). Ready with 0, perhaps spuriously; -ECANCELED; -EBUSY if
 * another task awaits the same direction. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_source_readable(skua_cx *cx, skua_source *source);
SKUA_API SKUA_MUST_USE skua_poll skua_source_writable(skua_cx *cx, skua_source *source);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_SOURCE_H */
