/*
 * skua/tcp.h - TCP: listen, accept, connect, read, write.
 *
 * The workers call the kernel themselves; the driver thread only says when it is worth trying
 * again. A buffer is used during a poll only, never between two polls.
 *
 * At most one task reads and one task writes a connection at a time, and one accepts on a listener:
 * a second one gets -EBUSY. Any task may close, at any moment: whoever waits on the handle then
 * gets -ECANCELED. A close gives the handle up for everybody, like free: a task that could still
 * begin an operation on it must have ended, or know better. (-EBADF for such a use is likely, but
 * not promised: the memory serves another connection some time later.) Tasks that share a
 * connection are ended by skua_tcp_hang_up, which keeps the handle, and joined before it is closed.
 *
 * Results of reading and writing are the kernel's, such as -ECONNRESET and -EPIPE (no SIGPIPE is
 * raised); besides, every operation can return
 *     -ECANCELED   the task was cancelled, a deadline around it has passed, or the handle was closed
 *     -EBUSY       another task is in the middle of the same kind of operation
 *     -EBADF       it is closed (see above)
 *     -EINVAL      a size is greater than SSIZE_MAX, such as a SKUA_PENDING that was taken for one
 *     -ENOMEM
 */
#ifndef SKUA_TCP_H
#define SKUA_TCP_H

#include "future.h"

struct sockaddr;
struct iovec;

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Addresses ---- */

/* An IPv4 or IPv6 address with a port: a sockaddr, with its length. The fields are private. */
typedef struct SKUA_MAY_ALIAS skua_addr {
	uint32_t length;
	uint32_t reserved;
	uint64_t storage[16];
} skua_addr;

/*
 * Reads a numeric address: "127.0.0.1", "::1", or NULL for every IPv4 address of the machine
 * ("::" is every address of both kinds, where the system lets it). No names are looked up, and no
 * zones ("%eth0"). Returns 0; -EINVAL if it is not an address or port is not 0 to 65535. Any
 * thread; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_addr_parse(skua_addr *addr, const char *host, int port);

/* Writes "127.0.0.1:80" or "[::1]:80". Returns 0; -ENOSPC if size is too small (64 is enough),
 * -EAFNOSUPPORT if it is neither IPv4 nor IPv6. Any thread; never blocks. */
SKUA_API SKUA_MUST_USE int skua_addr_format(const skua_addr *addr, char *text, size_t size);

/* The port; 0 if it has none. Any thread; never blocks. */
SKUA_API int skua_addr_port(const skua_addr *addr);

/* ---- Listeners ---- */

typedef struct skua_listener skua_listener;
typedef struct skua_tcp skua_tcp;

typedef struct skua_listen_options {
	size_t struct_size; /* sizeof(skua_listen_options) */
	int backlog;        /* 0 = as many as the system allows */
	int reuse_port;     /* 1 = several listeners share the port (SO_REUSEPORT) */
	int delay; /* 1 = connections keep Nagle's algorithm; by default TCP_NODELAY is on */
} skua_listen_options;

/*
 * Opens a listening socket. SO_REUSEADDR is set. `options` may be NULL. Returns 0; the system's
 * error, -EADDRINUSE above all; -EINVAL; -ENOMEM; -ESHUTDOWN if the runtime is being freed. Any
 * thread; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_listen(skua_runtime *runtime, const skua_addr *addr,
				       const skua_listen_options *options,
				       skua_listener **listener);

/* The address it is bound to: tells the port that the system chose for port 0. Returns 0, -EBADF.
 * Any thread; never blocks. */
SKUA_API SKUA_MUST_USE int skua_listener_addr(const skua_listener *listener, skua_addr *addr);

/*
 * Awaits the next connection. Ready with 0, and *conn is the caller's. Connections that died in the
 * queue are passed over. While the process or the system is out of descriptors or of memory for
 * sockets, it goes on waiting and tries again every 50 ms: nothing spins, and connections that
 * wait in the backlog are served once there is room. While the runtime is being freed nothing is
 * accepted any more: after the -ECANCELED that every task gets once this is -ESHUTDOWN, and the
 * backlog goes with the listener. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_accept(skua_cx *cx, skua_listener *listener, skua_tcp **conn);

/* Closes it and gives the handle up. A waiting skua_accept returns -ECANCELED. NULL is allowed.
 * Any thread; never blocks. */
SKUA_API void skua_listener_close(skua_listener *listener);

/* ---- Connections ---- */

/*
 * Awaits a connection to an address. *conn must be NULL at the first poll, and belongs to this
 * operation until it is ready: with 0, and *conn is the caller's; or with an error, and *conn is
 * NULL. TCP_NODELAY is on. For a deadline put a skua_timeout around it. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_connect(skua_cx *cx, const skua_addr *addr, skua_tcp **conn);

/*
 * Awaits at least one byte, and reads at most `size`. Ready with the number of bytes; 0 at the end
 * of the stream (or if size is 0). From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_read(skua_cx *cx, skua_tcp *conn, void *buffer, size_t size);

/* Awaits room, and writes at least one byte, at most `size`. Ready with the number of bytes. From a
 * poll. */
SKUA_API SKUA_MUST_USE skua_poll skua_write(skua_cx *cx, skua_tcp *conn, const void *buffer,
					    size_t size);

/* skua_write from several pieces in order, at most 1024 of them. From a poll. */
SKUA_API SKUA_MUST_USE skua_poll skua_writev(skua_cx *cx, skua_tcp *conn,
					     const struct iovec *pieces, int count);

/*
 * Writes all `size` bytes; every poll of one await is given the same bytes. Ready with size; after
 * an error, some of them may have been written. From a poll.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_write_all(skua_cx *cx, skua_tcp *conn, const void *buffer,
						size_t size);

/* Tells the peer that nothing more will be written; reading goes on. Returns 0, or the system's
 * error. Any thread; never blocks. */
SKUA_API SKUA_MUST_USE int skua_tcp_shutdown(skua_tcp *conn);

/*
 * Ends the connection in both directions and keeps the handle: whoever reads gets the end of the
 * stream, whoever writes gets -EPIPE. Returns 0, or the system's error (-ENOTCONN if the peer was
 * faster). Any thread; never blocks.
 */
SKUA_API int skua_tcp_hang_up(skua_tcp *conn);

/* Closes it, in any state, and gives the handle up. Operations that wait on it return -ECANCELED.
 * NULL is allowed. Any thread; never blocks. */
SKUA_API void skua_tcp_close(skua_tcp *conn);

/* Its own and its peer's address. Return 0, or the system's error. Any thread; never blocks. */
SKUA_API SKUA_MUST_USE int skua_tcp_local_addr(const skua_tcp *conn, skua_addr *addr);
SKUA_API SKUA_MUST_USE int skua_tcp_peer_addr(const skua_tcp *conn, skua_addr *addr);

/* Turns TCP_NODELAY on (1) or off (0). Returns 0, or the system's error. Any thread; never
 * blocks. */
SKUA_API SKUA_MUST_USE int skua_tcp_set_nodelay(skua_tcp *conn, int on);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_TCP_H */
