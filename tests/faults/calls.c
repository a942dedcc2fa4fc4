/*
 * calls.c - the system calls of the library and of libuv, interposed; see faults.h.
 *
 * Each is defined under a name of its own and given the real one as its symbol, so that the
 * declarations of the C library's headers, with their attributes and macros, stay out of the way.
 */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* ---- Who calls ---- */

struct range {
	uintptr_t start, end;
};

static struct range ranges[2]; /* of FROM_SKUA and FROM_LIBUV */

static int note_object(struct dl_phdr_info *info, size_t size, void *unused)
{
	const char *name = strrchr(info->dlpi_name, '/');
	struct range *range = NULL;

	(void)size, (void)unused;
	if (name != NULL && strncmp(name, "/libskua.so", 11) == 0)
		range = &ranges[FROM_SKUA];
	else if (name != NULL && strncmp(name, "/libuv.so", 9) == 0)
		range = &ranges[FROM_LIBUV];
	for (int i = 0; range != NULL && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0)
			continue;
		if (range->end == 0 || start < range->start)
			range->start = start;
		if (start + segment->p_memsz > range->end)
			range->end = start + segment->p_memsz;
	}
	return 0;
}

bool calls_init(void)
{
	dl_iterate_phdr(note_object, NULL);
	if (ranges[FROM_SKUA].end != 0 && ranges[FROM_LIBUV].end != 0)
		return true;
	fprintf(stderr, "faults: needs libskua and libuv as shared libraries\n");
	return false;
}

/* FROM_SKUA, FROM_LIBUV, or -1: somebody else, whose calls never fail. */
static int origin_of(void *return_address)
{
	uintptr_t address = (uintptr_t)return_address;

	for (int i = 0; i < 2; i++)
		if (address >= ranges[i].start && address < ranges[i].end)
			return i;
	return -1;
}

static int fault_of(enum fault_call call, void *return_address)
{
	int origin = origin_of(return_address);

	return origin < 0 ? 0 : fault_at(call, (enum fault_origin)origin);
}

#define FAULT_OF(call) fault_of(CALL_##call, __builtin_return_address(0))

/* ---- The real functions ---- */

/* Every symbol that is defined below. */
#define SYMBOLS(X)                                                                                 \
	X(accept4)                                                                                 \
	X(bind)                                                                                    \
	X(close)                                                                                   \
	X(connect)                                                                                 \
	X(epoll_create1)                                                                           \
	X(epoll_ctl)                                                                               \
	X(epoll_pwait)                                                                             \
	X(epoll_pwait2)                                                                            \
	X(epoll_wait)                                                                              \
	X(eventfd)                                                                                 \
	X(fcntl64)                                                                                 \
	X(fstat64)                                                                                 \
	X(getpeername)                                                                             \
	X(getsockname)                                                                             \
	X(getsockopt)                                                                              \
	X(listen)                                                                                  \
	X(open64)                                                                                  \
	X(pipe)                                                                                    \
	X(pipe2)                                                                                   \
	X(pthread_create)                                                                          \
	X(pthread_setname_np)                                                                      \
	X(read)                                                                                    \
	X(recv)                                                                                    \
	X(sched_getaffinity)                                                                       \
	X(send)                                                                                    \
	X(sendmsg)                                                                                 \
	X(setsockopt)                                                                              \
	X(shutdown)                                                                                \
	X(socket)                                                                                  \
	X(syscall)                                                                                 \
	X(write)

enum symbol {
#define X(name) SYMBOL_##name,
	SYMBOLS(X)
#undef X
		SYMBOL_COUNT
};

static const char *const symbol_names[] = {
#define X(name) #name,
	SYMBOLS(X)
#undef X
};

typedef void function(void);

static function *reals[SYMBOL_COUNT];

/* Others may call before any constructor runs. */
static function *real_of(enum symbol symbol)
{
	function *found = __atomic_load_n(&reals[symbol], __ATOMIC_RELAXED);

	if (found == NULL) {
		void *address = dlsym(RTLD_NEXT, symbol_names[symbol]);

		/* ISO C has no conversion for this. */
		memcpy(&found, &address, sizeof found);
		__atomic_store_n(&reals[symbol], found, __ATOMIC_RELAXED);
	}
	return found;
}

__attribute__((constructor)) static void find_reals(void)
{
	for (int i = 0; i < SYMBOL_COUNT; i++)
		real_of((enum symbol)i);
}

#define DEFINE(type, symbol, parameters)                                                           \
	type fault_##symbol parameters __asm__(#symbol);                                           \
	type fault_##symbol parameters

#define REAL(type, symbol, parameters) ((type(*) parameters)real_of(SYMBOL_##symbol))

/* One that only has to fail. */
#define INTERPOSE(type, symbol, parameters, arguments)                                             \
	DEFINE(type, symbol, parameters)                                                           \
	{                                                                                          \
		int error = FAULT_OF(symbol);                                                      \
                                                                                                   \
		if (error != 0) {                                                                  \
			errno = error;                                                             \
			return -1;                                                                 \
		}                                                                                  \
		return REAL(type, symbol, parameters) arguments;                                   \
	}

INTERPOSE(int, accept4, (int fd, void *address, socklen_t *size, int flags),
	  (fd, address, size, flags))
INTERPOSE(int, bind, (int fd, const void *address, socklen_t size), (fd, address, size))
INTERPOSE(int, epoll_create1, (int flags), (flags))
INTERPOSE(int, epoll_pwait, (int fd, void *events, int capacity, int timeout, const void *signals),
	  (fd, events, capacity, timeout, signals))
INTERPOSE(int, epoll_pwait2,
	  (int fd, void *events, int capacity, const void *timeout, const void *signals),
	  (fd, events, capacity, timeout, signals))
INTERPOSE(int, eventfd, (unsigned value, int flags), (value, flags))
INTERPOSE(int, fstat64, (int fd, void *status), (fd, status))
INTERPOSE(int, getpeername, (int fd, void *address, socklen_t *size), (fd, address, size))
INTERPOSE(int, getsockname, (int fd, void *address, socklen_t *size), (fd, address, size))
INTERPOSE(int, listen, (int fd, int backlog), (fd, backlog))
INTERPOSE(int, pipe, (int fds[2]), (fds))
INTERPOSE(ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags))
INTERPOSE(int, sched_getaffinity, (pid_t pid, size_t size, void *mask), (pid, size, mask))
INTERPOSE(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t size),
	  (fd, level, option, value, size))
INTERPOSE(int, shutdown, (int fd, int how), (fd, how))
INTERPOSE(int, socket, (int family, int type, int protocol), (family, type, protocol))

/* ---- Those that do more, or fail in another way ---- */

/* libuv makes a pipe once for the whole process, and can only abort if it does not get it. That is
 * why the library tries before whether there are descriptors (io/blocker.c). */
DEFINE(int, pipe2, (int fds[2], int flags))
{
	static int made;
	int origin = origin_of(__builtin_return_address(0));
	bool first = origin == FROM_LIBUV && __atomic_exchange_n(&made, 1, __ATOMIC_RELAXED) == 0;
	int error = origin >= 0 && !first ? fault_at(CALL_pipe2, (enum fault_origin)origin) : 0;

	if (error != 0) {
		errno = error;
		return -1;
	}
	return REAL(int, pipe2, (int *, int))(fds, flags);
}

/* The descriptor is gone also when close fails. */
DEFINE(int, close, (int fd))
{
	int error = FAULT_OF(close);
	int rc = REAL(int, close, (int))(fd);

	if (error == 0 || rc < 0)
		return rc;
	errno = error;
	return -1;
}

/* After EINTR the connection goes on in the background. */
DEFINE(int, connect, (int fd, const void *address, socklen_t size))
{
	int error = FAULT_OF(connect);

	if (error == 0 || error == EINTR) {
		int rc = REAL(int, connect, (int, const void *, socklen_t))(fd, address, size);

		if (error == 0 || (rc < 0 && errno != EINPROGRESS))
			return rc;
	}
	errno = error;
	return -1;
}

/* libuv waits with this one or with epoll_pwait, which depends on its version: one rule for both. */
DEFINE(int, epoll_wait, (int fd, void *events, int capacity, int timeout))
{
	int origin = origin_of(__builtin_return_address(0));
	enum fault_call call = origin == FROM_LIBUV ? CALL_epoll_pwait : CALL_epoll_wait;
	int error = origin >= 0 ? fault_at(call, (enum fault_origin)origin) : 0;

	if (error != 0) {
		errno = error;
		return -1;
	}
	return REAL(int, epoll_wait, (int, void *, int, int))(fd, events, capacity, timeout);
}

/* Only what takes memory can fail; of libuv's only the check of a new uv_poll_t, which it can
 * report: its data is -1. */
DEFINE(int, epoll_ctl, (int set, int operation, int fd, struct epoll_event *event))
{
	int origin = origin_of(__builtin_return_address(0));
	bool can_fail = origin == FROM_SKUA ? operation != EPOLL_CTL_DEL
					    : operation == EPOLL_CTL_ADD && event != NULL &&
						      event->data.fd == -1;
	int error =
		origin >= 0 && can_fail ? fault_at(CALL_epoll_ctl, (enum fault_origin)origin) : 0;

	if (error != 0) {
		errno = error;
		return -1;
	}
	return REAL(int, epoll_ctl, (int, int, int, struct epoll_event *))(set, operation, fd,
									   event);
}

DEFINE(int, fcntl64, (int fd, int command, ...))
{
	int error = FAULT_OF(fcntl64);
	va_list arguments;
	void *argument;

	if (error != 0) {
		errno = error;
		return -1;
	}
	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return REAL(int, fcntl64, (int, int, ...))(fd, command, argument);
}

DEFINE(int, open64, (const char *path, int flags, ...))
{
	int error = FAULT_OF(open64);
	va_list arguments;
	unsigned mode;

	if (error != 0) {
		errno = error;
		return -1;
	}
	va_start(arguments, flags);
	mode = va_arg(arguments, unsigned);
	va_end(arguments);
	return REAL(int, open64, (const char *, int, ...))(path, flags, mode);
}

/* The call may fail, and so may what it tells about the connection. */
DEFINE(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *size))
{
	int error = FAULT_OF(getsockopt);
	int rc;

	if (error != 0) {
		errno = error;
		return -1;
	}
	rc = REAL(int, getsockopt, (int, int, int, void *, socklen_t *))(fd, level, option, value,
									 size);
	if (rc == 0 && level == SOL_SOCKET && option == SO_ERROR) {
		error = FAULT_OF(so_error);
		if (error != 0)
			memcpy(value, &error, sizeof error);
	}
	return rc;
}

DEFINE(int, pthread_create,
       (pthread_t * id, const void *attributes, void *(*run)(void *), void *argument))
{
	int error = FAULT_OF(pthread_create);

	if (error != 0)
		return error;
	return REAL(int, pthread_create, (pthread_t *, const void *, void *(*)(void *), void *))(
		id, attributes, run, argument);
}

DEFINE(int, pthread_setname_np, (pthread_t id, const char *name))
{
	int error = FAULT_OF(pthread_setname_np);

	return error != 0 ? error
			  : REAL(int, pthread_setname_np, (pthread_t, const char *))(id, name);
}

/* How many bytes to move instead of `size`; -1 with errno for an error. */
static ssize_t size_with(int error, size_t size)
{
	if (error == 0)
		return (ssize_t)size;
	if (error == FAULT_SHORT)
		return size > 0;
	errno = error;
	return -1;
}

DEFINE(ssize_t, read, (int fd, void *buffer, size_t size))
{
	ssize_t n = size_with(FAULT_OF(read), size);

	return n < 0 ? n : REAL(ssize_t, read, (int, void *, size_t))(fd, buffer, (size_t)n);
}

/* What _FORTIFY_SOURCE makes of it. */
DEFINE(ssize_t, __read_chk, (int fd, void *buffer, size_t size, size_t room))
{
	ssize_t n = size_with(FAULT_OF(read), size);

	(void)room;
	return n < 0 ? n : REAL(ssize_t, read, (int, void *, size_t))(fd, buffer, (size_t)n);
}

DEFINE(ssize_t, send, (int fd, const void *buffer, size_t size, int flags))
{
	ssize_t n = size_with(FAULT_OF(send), size);

	return n < 0 ? n
		     : REAL(ssize_t, send, (int, const void *, size_t, int))(fd, buffer, (size_t)n,
									     flags);
}

DEFINE(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
	int error = FAULT_OF(sendmsg);
	struct iovec first = {NULL, 0};
	struct msghdr shortened = *message;

	if (error != 0 && error != FAULT_SHORT) {
		errno = error;
		return -1;
	}
	for (size_t i = 0; i < message->msg_iovlen && first.iov_len == 0; i++)
		first = message->msg_iov[i];
	if (error == FAULT_SHORT && first.iov_len > 0) {
		first.iov_len = 1;
		shortened.msg_iov = &first;
		shortened.msg_iovlen = 1;
	}
	return REAL(ssize_t, sendmsg, (int, const struct msghdr *, int))(fd, &shortened, flags);
}

DEFINE(ssize_t, write, (int fd, const void *buffer, size_t size))
{
	int error = FAULT_OF(write);

	if (error != 0) {
		errno = error;
		return -1;
	}
	return REAL(ssize_t, write, (int, const void *, size_t))(fd, buffer, size);
}

/* Waiting for a futex may end for no reason, but not when its time is up. */
static bool is_due(const struct timespec *until)
{
	struct timespec now;

	if (until == NULL)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > until->tv_sec ||
	       (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec);
}

/* The calls that have no function of their own. Most have fewer arguments than are passed on. */
__attribute__((no_sanitize_address)) DEFINE(long, syscall, (long number, ...))
{
	int error = 0;
	va_list arguments;
	long a[6];

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET &&
	    !is_due((const struct timespec *)a[3]))
		error = FAULT_OF(futex_wait);
	else if (number == SYS_sched_setaffinity)
		error = FAULT_OF(sched_setaffinity);
	else if (number == SYS_close)
		/* libuv's; gone also when it fails. */
		error = FAULT_OF(close);
	if (error != 0) {
		if (number == SYS_close)
			REAL(long, syscall, (long, ...))(number, a[0]);
		errno = error;
		return -1;
	}
	return REAL(long, syscall, (long, ...))(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
