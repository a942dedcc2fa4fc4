/*
 * test_sizes.c - sizes that no buffer has. An awaited expression that reads the variable which it
 * assigns passes SKUA_PENDING as a size at its second poll, and the kernel would take that for "all
 * of the memory from here on".
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "api_support.h"

/* A connection to a plain socket of the test's. */
struct link {
	skua_runtime *rt;
	skua_addr addr;
	skua_tcp *conn;
	int peer;
};

static skua_poll op_connect(skua_cx *cx, void *argument)
{
	struct link *link = argument;

	return skua_connect(cx, &link->addr, &link->conn);
}

static struct link link_open(uint32_t kind)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct link link = {.rt = runtime_on(1, kind)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof address;

	T_EQ(bind(listener, (struct sockaddr *)&address, size), 0);
	T_EQ(listen(listener, 1), 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	T_EQ(skua_addr_parse(&link.addr, "127.0.0.1", ntohs(address.sin_port)), 0);
	T_EQ(run(link.rt, op_connect, &link), 0);
	link.peer = accept(listener, NULL, NULL);
	T_GE(link.peer, 0);
	close(listener);
	return link;
}

static void link_close(struct link *link)
{
	skua_tcp_close(link->conn);
	T_EQ(skua_runtime_free(link->rt), 0);
	close(link->peer);
}

/* What comes out of a socket until the other side closes, compared with a byte. */
static size_t drain(int fd, char expected)
{
	static char data[1 << 16];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, data, sizeof data, 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			T_EQ(data[i], expected);
		total += (size_t)n;
	}
	return total;
}

enum { SIZE = 8 << 20 }; /* more than the sockets take */

struct careless {
	skua_coro co;
	struct link *link;
	char *data;
	int64_t n;
	atomic_int polls;
	atomic_bool polled; /* once, to the end of what the sockets take */
};

static skua_poll write_all_carelessly(struct careless *self, skua_cx *cx)
{
	atomic_fetch_add(&self->polls, 1);
	self->n = skua_write_all(cx, self->link->conn, self->data, (size_t)self->n);
	atomic_store(&self->polled, true);
	return self->n;
}

static skua_poll careless(skua_cx *cx, struct careless *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(write_all_carelessly(self, cx));
	skua_tcp_hang_up(self->link->conn);
	SKUA_END(self->n);
}
SKUA_CORO(careless, struct careless);

static void *drain_peer(void *argument)
{
	struct careless *future = argument;

	/* Not before, or everything may fit into the first poll. */
	while (!atomic_load(&future->polled))
		sleep_ms(1);
	T_LE(drain(future->link->peer, 'd'), SIZE);
	return NULL;
}

T_ON_EACH_IO(sizes, pending_as_a_size_is_refused_by_write_all)
{
	struct link link = link_open(kind);
	struct careless future = {
		.co = SKUA_CORO_INIT(careless), .link = &link, .data = malloc(SIZE), .n = SIZE};
	pthread_t thread;

	memset(future.data, 'd', SIZE);
	T_EQ(pthread_create(&thread, NULL, drain_peer, &future), 0);
	T_EQ(skua_block_on(link.rt, &future.co), -EINVAL);
	T_EQ(pthread_join(thread, NULL), 0);
	T_GE(future.polls, 2);
	free(future.data);
	link_close(&link);
}

struct single {
	struct link *link;
	size_t size;
	char data[16];
};

static skua_poll op_read(skua_cx *cx, void *argument)
{
	struct single *self = argument;

	return skua_read(cx, self->link->conn, self->data, self->size);
}

static skua_poll op_write(skua_cx *cx, void *argument)
{
	struct single *self = argument;

	return skua_write(cx, self->link->conn, self->data, self->size);
}

T_ON_EACH_IO(sizes, pending_as_a_size_is_refused_by_read_and_write)
{
	struct link link = link_open(kind);
	struct single single = {.link = &link, .size = (size_t)SKUA_PENDING};

	T_EQ(run(link.rt, op_read, &single), -EINVAL);
	T_EQ(run(link.rt, op_write, &single), -EINVAL);
	/* The connection can be used as before. */
	single.size = 4;
	memcpy(single.data, "skua", 4);
	T_EQ(run(link.rt, op_write, &single), 4);
	T_EQ(send(link.peer, "abcd", 4, 0), 4);
	T_EQ(run(link.rt, op_read, &single), 4);
	T_MEM_EQ(single.data, "abcd", 4);
	link_close(&link);
}

/* A short read has emptied the socket, so the next one would wait at once; not so one for nothing. */
T_ON_EACH_IO(sizes, no_size_and_no_bytes_are_answered_after_a_short_read)
{
	struct link link = link_open(kind);
	struct single single = {.link = &link, .size = sizeof single.data};

	T_EQ(send(link.peer, "abcd", 4, 0), 4);
	T_EQ(run(link.rt, op_read, &single), 4);
	single.size = 0;
	T_EQ(run(link.rt, op_read, &single), 0);
	single.size = (size_t)SKUA_PENDING;
	T_EQ(run(link.rt, op_read, &single), -EINVAL);
	single.size = 2;
	T_EQ(send(link.peer, "efgh", 4, 0), 4);
	T_EQ(run(link.rt, op_read, &single), 2);
	/* A full read has emptied nothing. */
	single.size = 0;
	T_EQ(run(link.rt, op_read, &single), 0);
	single.size = sizeof single.data;
	T_EQ(run(link.rt, op_read, &single), 2);
	T_MEM_EQ(single.data, "gh", 2);
	link_close(&link);
}
