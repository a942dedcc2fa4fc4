/*
 * fd_model.h - the kernel's part of IO, for modelled threads: descriptors, and the system calls that
 * io/ makes for them. Included by the compiler before anything else, so that the real files call
 * these functions by the usual names.
 *
 * A system call is one step. As a futex, an eventfd and a socket pass on nothing that their users
 * know; an epoll set does, by the kernel's lock of the set: what was before the epoll_ctl that made or
 * changed an entry comes before the epoll_wait that reports it. A call must name an open descriptor: io/ closes one only after its last use (io/source.h), so anything
 * else is a fault and ends the execution. As in POSIX a new descriptor has the lowest free number, so
 * numbers are soon used again.
 */
#ifndef SKUA_TESTS_MODEL_FD_MODEL_H
#define SKUA_TESTS_MODEL_FD_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

int fd_close(int fd);
int fd_pipe(int ends[2]);
int fd_stat(int fd, struct stat *status);
int fd_epoll_create1(int flags);
int fd_epoll_ctl(int set, int operation, int fd, const struct epoll_event *event);
int fd_epoll_wait(int set, struct epoll_event *events, int capacity, int timeout);
int fd_eventfd(unsigned value, int flags);
int fd_eventfd_write(int fd, uint64_t value);

#ifndef FD_MODEL_ITSELF
#define close fd_close
#define pipe fd_pipe
#define fstat fd_stat
#define epoll_create1 fd_epoll_create1
#define epoll_ctl fd_epoll_ctl
#define epoll_wait fd_epoll_wait
#define eventfd fd_eventfd
#define eventfd_write fd_eventfd_write
#endif

/* ---- For scenarios ---- */

/* A new socket, with these of EPOLLIN, EPOLLOUT and so on ready. */
int fd_socket(uint32_t ready);

/* What the other side or the network does: this becomes ready. */
void fd_raise(int fd, uint32_t ready);

/* A call that does not wait: 0 if the socket was ready for it, and is not any more; -EAGAIN. */
int fd_use(int fd, uint32_t ready);

/* recv from a stream: 1 if there was data, all of which is taken; 0 at the end; -EAGAIN. */
int fd_receive(int fd);

/* How many descriptors are open. */
int fd_open(void);

/* ---- For uv_model.c ---- */

void fd_eventfd_read(int fd);

/* Which file the descriptor names now, counted from 1; 0 if it is not open. */
uint32_t fd_file(int fd);

/* What is ready, without a step; and until anything changes. False: the time is up. */
uint32_t fd_ready(int fd);
bool fd_block(const char *what, bool timed);

#endif /* SKUA_TESTS_MODEL_FD_MODEL_H */
