/*
 * listener.c - listening sockets and skua_accept.
 *
 * A listening socket is edge-triggered like any other, so an accept that fails for want of
 * descriptors must not simply wait: no new edge comes for the connections that are already in the
 * backlog (tokio#3529 and others hung there), and trying at once would spin. It sleeps for
 * RETRY_NS and tries again.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/addr.h"
#include "io/driver.h"
#include "io/io.h"
#include "io/socket.h"
#include "io/source.h"
#include "sched/log.h"
#include "sched/timer.h"

#include "skua/tcp.h"

#define RETRY_NS (50 * SKUA_MSEC)

/* How many dead connections in a row are passed over before there is a pause. */
enum { MAX_DEAD = 16 };

static struct sk_source *source_of(skua_listener *listener)
{
	return (struct sk_source *)(void *)listener;
}

/* NODELAY is set here because accepted sockets inherit it: no system call for each connection. */
static int configure(int fd, const skua_listen_options *options)
{
	int rc = sk_socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (rc == 0 && options->reuse_port)
		rc = sk_socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (rc == 0 && !options->delay)
		rc = sk_socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return rc;
}

static int open_socket(const skua_addr *addr, const skua_listen_options *options)
{
	int backlog = options->backlog > 0 ? options->backlog : SOMAXCONN;
	int fd = sk_socket_new(sk_addr_family(addr));
	int rc;

	if (fd < 0)
		return fd;
	rc = configure(fd, options);
	if (rc == 0 &&
	    (bind(fd, sk_addr_sockaddr(addr), addr->length) < 0 || listen(fd, backlog) < 0))
		rc = -errno;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* A source with a timer. NULL: no memory, and the descriptor is still the caller's. */
static struct sk_source *new_source(struct sk_io *io, int fd)
{
	skua_timer *retry = sk_calloc(1, sizeof *retry);
	struct sk_source *source = retry != NULL ? sk_source_new(io, fd) : NULL;

	if (source == NULL)
		sk_free(retry);
	else
		source->retry = retry;
	return source;
}

int skua_listen(skua_runtime *runtime, const skua_addr *addr, const skua_listen_options *options,
		skua_listener **listener)
{
	const skua_listen_options defaults = {.struct_size = sizeof defaults};
	struct sk_source *source;
	int fd;

	if (runtime == NULL || addr == NULL || listener == NULL ||
	    sk_addr_family(addr) == AF_UNSPEC)
		return -EINVAL;
	if (options != NULL && (options->struct_size != sizeof *options || options->backlog < 0))
		return -EINVAL;
	if (!sk_sched_is_open(sk_io_of(runtime)->sched))
		return -ESHUTDOWN;
	fd = open_socket(addr, options != NULL ? options : &defaults);
	if (fd < 0)
		return fd;
	source = new_source(sk_io_of(runtime), fd);
	if (source == NULL) {
		close(fd);
		return -ENOMEM;
	}
	*listener = (skua_listener *)(void *)source;
	return 0;
}

int skua_listener_addr(const skua_listener *listener, skua_addr *addr)
{
	struct sk_source *source = source_of((skua_listener *)(uintptr_t)listener);
	int rc = -EBADF;

	if (sk_source_enter(source)) {
		rc = sk_socket_local_addr(source->fd, addr);
		sk_source_leave(source);
	}
	return rc;
}

/* Errors of a connection that died in the queue, accept(2): not the listener's. */
static bool is_of_dead_connection(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
	case EPERM:
		return true;
	default:
		return false;
	}
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Waits for the retry timer, and in the slot as well, because a close fires that. Nothing is armed:
 * the socket may be readable all the time. */
static skua_poll pause_accept(skua_cx *cx, struct sk_source *source)
{
	skua_poll result = skua_sleep(cx, source->retry, RETRY_NS);

	if (result != SKUA_PENDING)
		return result;
	do {
		sk_slot_reset(&source->slots[SK_READ]);
		result = sk_source_wait(cx, source, SK_READ);
	} while (result == 0);
	return result;
}

/* Waits until a retry is due. `progress` remembers that the shortage was announced. */
static skua_poll wait_for_relief(skua_cx *cx, struct sk_source *source, int error)
{
	if (source->progress == 0)
		sk_log(SKUA_LOG_WARN,
		       "accept: %s; connections wait in the backlog, and it is tried again every "
		       "%d ms",
		       skua_strerror(error), (int)(RETRY_NS / SKUA_MSEC));
	source->progress = 1;
	return pause_accept(cx, source);
}

static skua_poll attempt_accept(skua_cx *cx, struct sk_source *source, void *argument)
{
	skua_tcp **conn = argument;
	struct sk_source *accepted;
	int fd;

	/* The handle of a listener that was closed, whose place a connection has now. Asked here, where
	 * the place is held: before, a close may be about to free what is read. */
	if (source->retry == NULL)
		return -EBADF;
	/* Who goes on after its -ECANCELED gets no more connections. */
	if (!sk_sched_is_open(source->driver->io->sched)) {
		skua_timer_cancel(source->retry);
		return -ESHUTDOWN;
	}
	/* In a pause for want of descriptors, new connections are no reason to try. */
	if (sk_timer_is_armed(sk_timer_of(source->retry))) {
		skua_poll result = pause_accept(cx, source);

		if (result != 0)
			return result;
	}
	fd = sk_socket_accept(source->fd);
	for (int dead = 0; dead < MAX_DEAD && fd < 0 && is_of_dead_connection(-fd); dead++)
		fd = sk_socket_accept(source->fd);
	if (fd < 0 && (is_shortage(-fd) || is_of_dead_connection(-fd)))
		return wait_for_relief(cx, source, fd);
	if (fd < 0)
		return fd == -EWOULDBLOCK ? -EAGAIN : fd;
	accepted = sk_source_new(source->driver->io, fd);
	if (accepted == NULL) {
		close(fd);
		return -ENOMEM;
	}
	if (source->progress != 0)
		sk_log(SKUA_LOG_WARN, "accept: works again");
	source->progress = 0;
	*conn = (skua_tcp *)(void *)accepted;
	return 0;
}

skua_poll skua_accept(skua_cx *cx, skua_listener *listener, skua_tcp **conn)
{
	return sk_source_operate(cx, source_of(listener), SK_READ, attempt_accept, conn);
}

void skua_listener_close(skua_listener *listener)
{
	if (listener != NULL)
		sk_source_close(source_of(listener));
}
