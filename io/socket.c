/* socket.c - see socket.h. */
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "io/addr.h"

int sk_socket_set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

#ifdef SOCK_NONBLOCK

int sk_socket_new(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int sk_socket_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

#else

/* For systems that cannot do it in one step. */
static int prepare(int fd)
{
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		rc = -errno;
#ifdef SO_NOSIGPIPE
	if (rc == 0)
		rc = sk_socket_set(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int sk_socket_new(int family)
{
	return prepare(socket(family, SOCK_STREAM, 0));
}

int sk_socket_accept(int listener)
{
	return prepare(accept(listener, NULL, NULL));
}

#endif

static int fetch_addr(int fd, skua_addr *addr, int (*get)(int, struct sockaddr *, socklen_t *))
{
	socklen_t length = sizeof addr->storage;

	memset(addr, 0, sizeof *addr);
	if (get(fd, sk_addr_sockaddr(addr), &length) < 0)
		return -errno;
	addr->length = length;
	return 0;
}

static int call_getsockname(int fd, struct sockaddr *addr, socklen_t *length)
{
	return getsockname(fd, addr, length);
}

static int call_getpeername(int fd, struct sockaddr *addr, socklen_t *length)
{
	return getpeername(fd, addr, length);
}

int sk_socket_local_addr(int fd, skua_addr *addr)
{
	return fetch_addr(fd, addr, call_getsockname);
}

int sk_socket_peer_addr(int fd, skua_addr *addr)
{
	return fetch_addr(fd, addr, call_getpeername);
}
