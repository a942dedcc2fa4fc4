/*
 * net_support.h - what the tests of TCP share: single operations as futures, a connected pair, and
 * data that tells where it stands. Many tests await single operations from their own thread, which
 * is slow and clear.
 */
#ifndef SKUA_TESTS_NET_SUPPORT_H
#define SKUA_TESTS_NET_SUPPORT_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "api_support.h"
#include "io/source.h"

/* The descriptor inside a connection or a listener. */
static inline int fd_of(const void *handle)
{
	return ((const struct sk_source *)handle)->fd;
}

/* ---- Single operations ---- */

struct io {
	skua_tcp *conn;
	void *data;
	size_t size;
	skua_timer timer;
	uint64_t ns;
	atomic_int polls;
};

static inline skua_poll op_read(skua_cx *cx, void *argument)
{
	struct io *io = argument;
	skua_poll result = skua_read(cx, io->conn, io->data, io->size);

	atomic_fetch_add(&io->polls, 1);
	return result;
}

static inline skua_poll op_write(skua_cx *cx, void *argument)
{
	struct io *io = argument;

	return skua_write(cx, io->conn, io->data, io->size);
}

static inline skua_poll op_write_all(skua_cx *cx, void *argument)
{
	struct io *io = argument;
	skua_poll result = skua_write_all(cx, io->conn, io->data, io->size);

	atomic_fetch_add(&io->polls, 1);
	return result;
}

struct pieces {
	skua_tcp *conn;
	const struct iovec *pieces;
	int count;
};

static inline skua_poll op_writev(skua_cx *cx, void *argument)
{
	struct pieces *self = argument;

	return skua_writev(cx, self->conn, self->pieces, self->count);
}

struct accepting {
	skua_listener *listener;
	skua_tcp *conn;
	atomic_int polls;
};

static inline skua_poll op_accept(skua_cx *cx, void *argument)
{
	struct accepting *self = argument;
	skua_poll result = skua_accept(cx, self->listener, &self->conn);

	atomic_fetch_add(&self->polls, 1);
	return result;
}

struct connecting {
	skua_addr addr;
	skua_tcp *conn;
	skua_timer timer;
	uint64_t ns;
	atomic_int polls;
};

static inline skua_poll op_connect(skua_cx *cx, void *argument)
{
	struct connecting *self = argument;
	skua_poll result = skua_connect(cx, &self->addr, &self->conn);

	atomic_fetch_add(&self->polls, 1);
	return result;
}

static inline int64_t read_some(skua_runtime *rt, skua_tcp *conn, void *data, size_t size)
{
	struct io io = {.conn = conn, .data = data, .size = size};

	return run(rt, op_read, &io);
}

static inline int64_t write_all(skua_runtime *rt, skua_tcp *conn, const void *data, size_t size)
{
	struct io io = {.conn = conn, .data = (void *)(uintptr_t)data, .size = size};

	return run(rt, op_write_all, &io);
}

/* ---- A connected pair ---- */

struct net {
	skua_runtime *rt;
	skua_listener *listener;
	skua_addr addr;
	skua_tcp *client, *server;
};

static inline skua_listener *listen_on(skua_runtime *rt, const char *host,
				       const skua_listen_options *options, skua_addr *addr)
{
	skua_listener *listener = NULL;

	T_EQ(skua_addr_parse(addr, host, 0), 0);
	T_EQ(skua_listen(rt, addr, options, &listener), 0);
	T_EQ(skua_listener_addr(listener, addr), 0);
	T_NE(skua_addr_port(addr), 0);
	return listener;
}

/* A runtime with a listener, and nobody connected yet. */
static inline struct net net_listen(uint32_t workers, uint32_t kind)
{
	struct net net = {.rt = runtime_on(workers, kind)};

	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	return net;
}

static inline void net_connect(struct net *net)
{
	struct connecting connecting = {.addr = net->addr};
	struct accepting accepting = {.listener = net->listener};

	T_EQ(run(net->rt, op_connect, &connecting), 0);
	T_EQ(run(net->rt, op_accept, &accepting), 0);
	net->client = connecting.conn;
	net->server = accepting.conn;
	T_NOT_NULL(net->client);
	T_NOT_NULL(net->server);
}

static inline struct net net_open(uint32_t kind)
{
	struct net net = net_listen(2, kind);

	net_connect(&net);
	return net;
}

static inline void net_close(struct net *net)
{
	skua_tcp_close(net->client);
	skua_tcp_close(net->server);
	skua_listener_close(net->listener);
	T_EQ(skua_runtime_free(net->rt), 0);
}

/* Connects a socket of the test's own; the listener finds it in its backlog. */
static inline void connect_fd(int fd, const skua_addr *addr)
{
	T_EQ(connect(fd, (const struct sockaddr *)(const void *)addr->storage,
		     (socklen_t)addr->length),
	     0);
}

/* ---- Data that tells where it stands ---- */

static inline char byte_at(size_t position)
{
	return (char)(position * 2654435761u >> 13);
}

static inline void fill(char *data, size_t position, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = byte_at(position + i);
}

static inline void check(const char *data, size_t position, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != byte_at(position + i))
			T_ASSERT_MSG(0, "the byte at %zu is wrong", position + i);
}

#endif /* SKUA_TESTS_NET_SUPPORT_H */
