/*
 * socket.h - making sockets that fit here: non-blocking, closed on exec, never raising SIGPIPE.
 */
#ifndef SKUA_IO_SOCKET_H
#define SKUA_IO_SOCKET_H

#include "skua/tcp.h"

/* A TCP socket of a family (AF_INET, ...). Returns the descriptor or a negative errno. */
int sk_socket_new(int family);

/* Takes a connection from a listening socket. Returns the descriptor or a negative errno. */
int sk_socket_accept(int listener);

/* Sets an option that is an int. Returns 0 or a negative errno. */
int sk_socket_set(int fd, int level, int option, int value);

/* The address of one end. Returns 0 or a negative errno. */
int sk_socket_local_addr(int fd, skua_addr *addr);
int sk_socket_peer_addr(int fd, skua_addr *addr);

#endif /* SKUA_IO_SOCKET_H */
