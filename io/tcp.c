/*
 * tcp.c - TCP connections: connect, read, write. Each operation is one system call, tried first and
 * repeated when the socket is ready (sk_source_operate).
 */
#include "skua/tcp.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/addr.h"
#include "io/io.h"
#include "io/socket.h"
#include "io/source.h"
#include "sched/cx.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* the sockets have SO_NOSIGPIPE there */
#endif

static struct sk_source *source_of(const skua_tcp *conn)
{
	return (struct sk_source *)(uintptr_t)conn;
}

/* What a system call returned, as a result. EINTR cannot come: these calls do not block. */
static skua_poll result_of(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

/* ---- Reading and writing ---- */

struct bytes {
	char *data;
	size_t size;
};

/* Whether a buffer can be of this size. The size that is likely not to be one is SKUA_PENDING, from
 * an awaited expression that reads what it assigns; the kernel would send whatever lies behind the
 * buffer. */
static bool is_size(size_t size)
{
	return size <= SSIZE_MAX;
}

static skua_poll attempt_read(skua_cx *cx, struct sk_source *source, void *argument)
{
	struct bytes *bytes = argument;
	skua_poll n;

	(void)cx;
	n = result_of(recv(source->fd, bytes->data, bytes->size, 0));
	if (n == -EAGAIN || (n > 0 && (size_t)n < bytes->size))
		sk_source_is_drained(source);
	return n;
}

skua_poll skua_read(skua_cx *cx, skua_tcp *conn, void *buffer, size_t size)
{
	struct bytes bytes = {buffer, size};

	if (!is_size(size))
		return -EINVAL;
	/* The kernel would wait for data even then. */
	if (size == 0)
		return sk_source_nothing(cx, source_of(conn), SK_READ);
	return sk_source_operate(cx, source_of(conn), SK_READ, attempt_read, &bytes);
}

static skua_poll attempt_write(skua_cx *cx, struct sk_source *source, void *argument)
{
	struct bytes *bytes = argument;

	(void)cx;
	if (!is_size(bytes->size))
		return -EINVAL;
	return result_of(send(source->fd, bytes->data, bytes->size, MSG_NOSIGNAL));
}

skua_poll skua_write(skua_cx *cx, skua_tcp *conn, const void *buffer, size_t size)
{
	struct bytes bytes = {(char *)(uintptr_t)buffer, size};

	return sk_source_operate(cx, source_of(conn), SK_WRITE, attempt_write, &bytes);
}

static skua_poll attempt_writev(skua_cx *cx, struct sk_source *source, void *argument)
{
	(void)cx;
	return result_of(sendmsg(source->fd, argument, MSG_NOSIGNAL));
}

skua_poll skua_writev(skua_cx *cx, skua_tcp *conn, const struct iovec *pieces, int count)
{
	struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces};

	if (count < 0 || count > 1024)
		return -EINVAL;
	message.msg_iovlen = (size_t)count;
	return sk_source_operate(cx, source_of(conn), SK_WRITE, attempt_writev, &message);
}

/* Writes on from where the last poll stopped, until all is written, the kernel has no room, or the
 * budget is used up: a fast reader must not keep a worker for itself. */
static skua_poll attempt_write_all(skua_cx *cx, struct sk_source *source, void *argument)
{
	struct bytes *bytes = argument;

	if (!is_size(bytes->size))
		return -EINVAL;
	if (source->writing == NULL) {
		source->writing = bytes->data;
		source->progress = 0;
	}
	/* Not what the last poll was writing: that one was given up half-way. */
	if (source->writing != bytes->data || source->progress > bytes->size)
		return -EINVAL;
	for (;;) {
		skua_poll n = result_of(send(source->fd, bytes->data + source->progress,
					     bytes->size - source->progress, MSG_NOSIGNAL));

		if (n < 0)
			return n;
		source->progress += (size_t)n;
		if (source->progress == bytes->size)
			return (skua_poll)bytes->size;
		if (!sk_cx_budget(cx))
			return SKUA_PENDING;
	}
}

skua_poll skua_write_all(skua_cx *cx, skua_tcp *conn, const void *buffer, size_t size)
{
	struct bytes bytes = {(char *)(uintptr_t)buffer, size};

	if (size == 0)
		return sk_source_nothing(cx, source_of(conn), SK_WRITE);
	return sk_source_operate(cx, source_of(conn), SK_WRITE, attempt_write_all, &bytes);
}

int skua_tcp_shutdown(skua_tcp *conn)
{
	struct sk_source *source = source_of(conn);
	int rc = -EBADF;

	if (sk_source_enter(source)) {
		rc = shutdown(source->fd, SHUT_WR) < 0 ? -errno : 0;
		sk_source_leave(source);
	}
	return rc;
}

int skua_tcp_hang_up(skua_tcp *conn)
{
	struct sk_source *source = source_of(conn);
	int rc = -EBADF;

	if (sk_source_enter(source)) {
		rc = shutdown(source->fd, SHUT_RDWR) < 0 ? -errno : 0;
		sk_source_leave(source);
	}
	return rc;
}

void skua_tcp_close(skua_tcp *conn)
{
	if (conn != NULL)
		sk_source_close(source_of(conn));
}

/* ---- Connecting ---- */

/* Starts a connection. 0 with the descriptor in *out: done or in progress. */
static int start_connect(const skua_addr *addr, int *out)
{
	int fd = sk_socket_new(sk_addr_family(addr));
	int rc;

	if (fd < 0)
		return fd;
	rc = sk_socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	/* EINTR means "in progress" here as well: connect is not to be repeated. */
	if (rc == 0 && connect(fd, sk_addr_sockaddr(addr), addr->length) < 0 &&
	    errno != EINPROGRESS && errno != EINTR)
		rc = -errno;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

/* Asks how it went. Registered only after connect was called: before that, a socket reports a
 * hang-up. */
static skua_poll attempt_finish_connect(skua_cx *cx, struct sk_source *source, void *argument)
{
	int error = 0;
	socklen_t size = sizeof error;
	skua_addr peer;
	int rc;

	(void)cx, (void)argument;
	if (getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	if (error != 0)
		return -error;
	/* No error and no peer: still in progress. */
	rc = sk_socket_peer_addr(source->fd, &peer);
	return rc == -ENOTCONN ? -EAGAIN : rc;
}

skua_poll skua_connect(skua_cx *cx, const skua_addr *addr, skua_tcp **conn)
{
	skua_poll result;

	if (*conn == NULL) {
		struct sk_source *source;
		int interrupt, fd = -1, rc;

		if (skua_cx_runtime(cx) == NULL || sk_addr_family(addr) == AF_UNSPEC)
			return -EINVAL;
		interrupt = sk_cx_interrupt(cx);
		if (interrupt != 0)
			return interrupt;
		rc = start_connect(addr, &fd);
		if (rc < 0)
			return rc;
		source = sk_source_new(sk_io_of(skua_cx_runtime(cx)), fd);
		if (source == NULL) {
			close(fd);
			return -ENOMEM;
		}
		*conn = (skua_tcp *)(void *)source;
	}
	result = sk_source_operate(cx, source_of(*conn), SK_WRITE, attempt_finish_connect, NULL);
	if (result < 0 && result != SKUA_PENDING) {
		skua_tcp_close(*conn);
		*conn = NULL;
	}
	return result;
}

/* ---- Addresses and options ---- */

int skua_tcp_local_addr(const skua_tcp *conn, skua_addr *addr)
{
	struct sk_source *source = source_of(conn);
	int rc = -EBADF;

	if (sk_source_enter(source)) {
		rc = sk_socket_local_addr(source->fd, addr);
		sk_source_leave(source);
	}
	return rc;
}

int skua_tcp_peer_addr(const skua_tcp *conn, skua_addr *addr)
{
	struct sk_source *source = source_of(conn);
	int rc = -EBADF;

	if (sk_source_enter(source)) {
		rc = sk_socket_peer_addr(source->fd, addr);
		sk_source_leave(source);
	}
	return rc;
}

int skua_tcp_set_nodelay(skua_tcp *conn, int on)
{
	struct sk_source *source = source_of(conn);
	int rc = -EBADF;

	if (sk_source_enter(source)) {
		rc = sk_socket_set(source->fd, IPPROTO_TCP, TCP_NODELAY, on != 0);
		sk_source_leave(source);
	}
	return rc;
}
