/*
 * test_tcp.c - TCP on both backends: every operation, in every order that gives trouble. Many tests
 * await single operations from their own thread, which is slow and clear.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "api_support.h"
#include "io/source.h"

/* The descriptor inside a connection or a listener. */
static int fd_of(const void *handle)
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

static skua_poll op_read(skua_cx *cx, void *argument)
{
	struct io *io = argument;
	skua_poll result = skua_read(cx, io->conn, io->data, io->size);

	atomic_fetch_add(&io->polls, 1);
	return result;
}

static skua_poll op_write(skua_cx *cx, void *argument)
{
	struct io *io = argument;

	return skua_write(cx, io->conn, io->data, io->size);
}

static skua_poll op_write_all(skua_cx *cx, void *argument)
{
	struct io *io = argument;
	skua_poll result = skua_write_all(cx, io->conn, io->data, io->size);

	atomic_fetch_add(&io->polls, 1);
	return result;
}

static skua_poll op_read_in_time(skua_cx *cx, void *argument)
{
	struct io *io = argument;

	return skua_timeout(cx, &io->timer, io->ns, skua_read(cx, io->conn, io->data, io->size));
}

struct accepting {
	skua_listener *listener;
	skua_tcp *conn;
	atomic_int polls;
};

static skua_poll op_accept(skua_cx *cx, void *argument)
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

static skua_poll op_connect(skua_cx *cx, void *argument)
{
	struct connecting *self = argument;
	skua_poll result = skua_connect(cx, &self->addr, &self->conn);

	atomic_fetch_add(&self->polls, 1);
	return result;
}

static skua_poll op_connect_in_time(skua_cx *cx, void *argument)
{
	struct connecting *self = argument;

	return skua_timeout(cx, &self->timer, self->ns, skua_connect(cx, &self->addr, &self->conn));
}

static int64_t read_some(skua_runtime *rt, skua_tcp *conn, void *data, size_t size)
{
	struct io io = {.conn = conn, .data = data, .size = size};

	return run(rt, op_read, &io);
}

static int64_t write_all(skua_runtime *rt, skua_tcp *conn, const void *data, size_t size)
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

static skua_listener *listen_on(skua_runtime *rt, const char *host,
				const skua_listen_options *options, skua_addr *addr)
{
	skua_listener *listener = NULL;

	T_EQ(skua_addr_parse(addr, host, 0), 0);
	T_EQ(skua_listen(rt, addr, options, &listener), 0);
	T_EQ(skua_listener_addr(listener, addr), 0);
	T_NE(skua_addr_port(addr), 0);
	return listener;
}

static void net_connect(struct net *net)
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

static struct net net_open(uint32_t backend)
{
	struct net net = {.rt = runtime_on(2, backend)};

	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	net_connect(&net);
	return net;
}

static void net_close(struct net *net)
{
	skua_tcp_close(net->client);
	skua_tcp_close(net->server);
	skua_listener_close(net->listener);
	T_EQ(skua_runtime_free(net->rt), 0);
}

/* ---- Data that tells where it stands ---- */

static char byte_at(size_t position)
{
	return (char)(position * 2654435761u >> 13);
}

static void fill(char *data, size_t position, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = byte_at(position + i);
}

static void check(const char *data, size_t position, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != byte_at(position + i))
			T_ASSERT_MSG(0, "the byte at %zu is wrong", position + i);
}

static uint32_t random_number(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Writes `total` bytes in pieces of random size up to `most`, then says that this is all. */
struct producer {
	skua_coro co;
	skua_tcp *conn;
	size_t total, done, size, most;
	uint32_t random;
	int64_t n;
	char *data; /* of `most` bytes */
};

static skua_poll producer(skua_cx *cx, struct producer *self)
{
	SKUA_BEGIN(self);
	while (self->done < self->total) {
		self->size = random_number(&self->random) % self->most + 1;
		if (self->size > self->total - self->done)
			self->size = self->total - self->done;
		fill(self->data, self->done, self->size);
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, self->data, self->size));
		if (self->n < 0)
			SKUA_RETURN(self->n);
		T_EQ(self->n, self->size);
		self->done += self->size;
	}
	T_EQ(skua_tcp_shutdown(self->conn), 0);
	SKUA_END((int64_t)self->done);
}
SKUA_CORO(producer, struct producer);

/* Reads to the end, in pieces of random size, with pauses. */
struct consumer {
	skua_coro co;
	skua_tcp *conn;
	skua_timer timer;
	size_t done, most, pause_every, paused;
	uint32_t random;
	int64_t n;
	char *data;
};

static skua_poll consumer(skua_cx *cx, struct consumer *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		/* The size may change between polls of one await; the data must not care. */
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->data,
					       random_number(&self->random) % self->most + 1));
		if (self->n <= 0)
			SKUA_RETURN(self->n < 0 ? self->n : (int64_t)self->done);
		check(self->data, self->done, (size_t)self->n);
		self->done += (size_t)self->n;
		if (self->pause_every != 0 && self->done - self->paused > self->pause_every) {
			self->paused = self->done;
			SKUA_AWAIT(self->n = skua_sleep(cx, &self->timer, SKUA_MSEC));
		}
	}
	SKUA_END(0);
}
SKUA_CORO(consumer, struct consumer);

static void transfer(uint32_t backend, size_t total, size_t write_most, size_t read_most,
		     size_t pause_every)
{
	struct net net = net_open(backend);
	struct producer producing = {
		.co = SKUA_CORO_INIT(producer),
		.conn = net.client,
		.total = total,
		.most = write_most,
		.random = 1,
		.data = malloc(write_most),
	};
	struct consumer consuming = {
		.co = SKUA_CORO_INIT(consumer),
		.conn = net.server,
		.most = read_most,
		.random = 2,
		.pause_every = pause_every,
		.data = malloc(read_most),
	};
	skua_task *writer = start_future(net.rt, &producing.co);
	skua_task *reader = start_future(net.rt, &consuming.co);

	T_EQ(skua_task_wait(&reader), (int64_t)total);
	T_EQ(skua_task_wait(&writer), (int64_t)total);
	free(producing.data);
	free(consuming.data);
	net_close(&net);
}

T_ON_BOTH(tcp, sixteen_megabytes_to_a_slow_reader)
{
	transfer(backend, 16 << 20, 1 << 20, 64 << 10, 512 << 10);
}

T_ON_BOTH(tcp, random_sizes)
{
	transfer(backend, 200000, 300, 200, 0);
	transfer(backend, 200000, 3, 5000, 0);
	transfer(backend, 1 << 20, 70000, 3000, 0);
}

/* ---- Echo ---- */

struct echo {
	skua_coro co;
	skua_tcp *conn;
	int64_t n, rc;
	char data[4096];
};

static skua_poll echo(skua_cx *cx, struct echo *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->data, sizeof self->data));
		if (self->n <= 0)
			break;
		SKUA_AWAIT(self->rc = skua_write_all(cx, self->conn, self->data, (size_t)self->n));
		if (self->rc < 0)
			break;
	}
	skua_tcp_close(self->conn);
	SKUA_END(self->n);
}
SKUA_CORO(echo, struct echo);

/* A number that is no size: the result of an await that was pending, as a size. Nothing of what lies
 * behind the buffer may go out. */
static skua_poll read_no_size(skua_cx *cx, void *argument)
{
	return skua_read(cx, argument, &(char){0}, (size_t)SKUA_PENDING);
}

static skua_poll write_no_size(skua_cx *cx, void *argument)
{
	return skua_write(cx, argument, "x", (size_t)SKUA_PENDING);
}

static skua_poll write_all_no_size(skua_cx *cx, void *argument)
{
	return skua_write_all(cx, argument, "x", (size_t)SKUA_PENDING);
}

T_ON_BOTH(tcp, a_negative_size_is_refused)
{
	struct net net = net_open(backend);
	char in[4];

	T_EQ(run(net.rt, read_no_size, net.server), -EINVAL);
	T_EQ(run(net.rt, write_no_size, net.server), -EINVAL);
	T_EQ(run(net.rt, write_all_no_size, net.server), -EINVAL);
	T_EQ(skua_tcp_shutdown(net.server), 0);
	T_EQ(read_some(net.rt, net.client, in, sizeof in), 0);
	net_close(&net);
}

T_ON_BOTH(tcp, echo)
{
	struct net net = net_open(backend);
	struct echo future = {.co = SKUA_CORO_INIT(echo), .conn = net.server};
	skua_task *task = start_future(net.rt, &future.co);
	char out[3000], in[3000];

	for (size_t i = 1; i <= 200; i++) {
		size_t size = i * i % sizeof out + 1, got = 0;

		fill(out, i, size);
		T_EQ(write_all(net.rt, net.client, out, size), (int64_t)size);
		while (got < size) {
			int64_t n = read_some(net.rt, net.client, in + got, size - got);

			T_GT(n, 0);
			got += (size_t)n;
		}
		T_MEM_EQ(in, out, size);
	}
	T_EQ(skua_tcp_shutdown(net.client), 0);
	T_EQ(skua_task_wait(&task), 0);
	net.server = NULL;
	T_EQ(read_some(net.rt, net.client, in, 1), 0);
	net_close(&net);
}

/* ---- Writing ---- */

T_ON_BOTH(tcp, write_all_takes_as_many_polls_as_it_needs)
{
	enum { SIZE = 8 << 20 };
	struct net net = net_open(backend);
	struct io io = {.conn = net.client, .data = malloc(SIZE), .size = SIZE};
	struct consumer consuming = {
		.co = SKUA_CORO_INIT(consumer),
		.conn = net.server,
		.most = 100000,
		.random = 3,
		.data = malloc(100000),
	};
	skua_task *writer, *reader;

	fill(io.data, 0, SIZE);
	writer = start(net.rt, op_write_all, &io);
	WAIT_UNTIL(io.polls >= 1);
	sleep_ms(20);
	T_EQ(skua_task_finished(writer), 0);
	reader = start_future(net.rt, &consuming.co);
	T_EQ(skua_task_wait(&writer), SIZE);
	T_GE(io.polls, 2);
	T_EQ(skua_tcp_shutdown(net.client), 0);
	T_EQ(skua_task_wait(&reader), SIZE);
	free(io.data);
	free(consuming.data);
	net_close(&net);
}

static char ones_to_write[4] = {'1', '1', '1', '1'};

/* A write_all that was cancelled half-way leaves nothing behind for the next one. */
T_ON_BOTH(tcp, write_all_after_a_cancelled_write_all)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(backend);
	struct io io = {.conn = net.client, .data = calloc(1, SIZE), .size = SIZE};
	struct io next = {.conn = net.client, .data = ones_to_write, .size = 4};
	skua_task *writer = start(net.rt, op_write_all, &io);
	char *in = malloc(SIZE);
	int64_t n = 0, zeros = 0, ones = 0;

	WAIT_UNTIL(io.polls >= 1);
	sleep_ms(10);
	T_EQ(skua_cancel(writer), 0);
	T_EQ(skua_task_wait(&writer), -ECANCELED);
	/* What was written is zeros; how much of it must be read to make room is the kernel's affair. */
	writer = start(net.rt, op_write_all, &next);
	do {
		n = read_some(net.rt, net.server, in, SIZE);
		for (int64_t i = 0; i < n; i++) {
			zeros += in[i] == 0;
			ones += in[i] == '1';
		}
		if (ones == 4 && writer != NULL) {
			T_EQ(skua_task_wait(&writer), 4);
			T_EQ(skua_tcp_shutdown(net.client), 0);
		}
	} while (n > 0);
	T_EQ(n, 0);
	T_EQ(ones, 4);
	T_LT(zeros, SIZE);
	free(io.data);
	free(in);
	net_close(&net);
}

struct pieces {
	skua_tcp *conn;
	const struct iovec *pieces;
	int count;
};

static skua_poll op_writev(skua_cx *cx, void *argument)
{
	struct pieces *self = argument;

	return skua_writev(cx, self->conn, self->pieces, self->count);
}

T_ON_BOTH(tcp, writev)
{
	static char parts[1024][2];
	struct net net = net_open(backend);
	char a[] = "sk", b[] = "", c[] = "ua!", in[2048];
	const struct iovec three[3] = {{a, 2}, {b, 0}, {c, 3}};
	struct iovec many[1024];
	struct pieces pieces = {.conn = net.client, .pieces = three, .count = 3};

	T_EQ(run(net.rt, op_writev, &pieces), 5);
	T_EQ(read_some(net.rt, net.server, in, sizeof in), 5);
	T_MEM_EQ(in, "skua!", 5);

	for (size_t i = 0; i < 1024; i++) {
		fill(parts[i], 2 * i, 2);
		many[i] = (struct iovec){parts[i], 2};
	}
	pieces.pieces = many;
	pieces.count = 1024;
	T_EQ(run(net.rt, op_writev, &pieces), 2048);
	for (size_t got = 0; got < 2048;) {
		int64_t n = read_some(net.rt, net.server, in, sizeof in);

		T_GT(n, 0);
		check(in, got, (size_t)n);
		got += (size_t)n;
	}
	pieces.count = 1025;
	T_EQ(run(net.rt, op_writev, &pieces), -EINVAL);
	pieces.count = -1;
	T_EQ(run(net.rt, op_writev, &pieces), -EINVAL);
	pieces.count = 0;
	T_EQ(run(net.rt, op_writev, &pieces), 0);
	net_close(&net);
}

T_ON_BOTH(tcp, nothing_to_read_or_write)
{
	struct net net = net_open(backend);
	struct io io = {.conn = net.client, .data = &io, .size = 0};

	T_EQ(run(net.rt, op_read, &io), 0);
	T_EQ(run(net.rt, op_write, &io), 0);
	T_EQ(run(net.rt, op_write_all, &io), 0);
	net_close(&net);
}

/* ---- Ends of connections ---- */

T_ON_BOTH(tcp, half_close)
{
	struct net net = net_open(backend);
	char in[8];

	T_EQ(write_all(net.rt, net.client, "last", 4), 4);
	T_EQ(skua_tcp_shutdown(net.client), 0);
	T_EQ(read_some(net.rt, net.server, in, 8), 4);
	for (int i = 0; i < 3; i++)
		T_EQ(read_some(net.rt, net.server, in, 8), 0);
	/* The other direction still works. */
	T_EQ(write_all(net.rt, net.server, "answer", 6), 6);
	T_EQ(read_some(net.rt, net.client, in, 8), 6);
	T_MEM_EQ(in, "answer", 6);
	skua_tcp_close(net.server);
	net.server = NULL;
	T_EQ(read_some(net.rt, net.client, in, 8), 0);
	net_close(&net);
}

T_ON_BOTH(tcp, a_waiting_reader_sees_the_end)
{
	struct net net = net_open(backend);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};
	skua_task *reader = start(net.rt, op_read, &io);

	WAIT_UNTIL(io.polls >= 1);
	skua_tcp_close(net.client);
	net.client = NULL;
	T_EQ(skua_task_wait(&reader), 0);
	net_close(&net);
}

/* Closes with a reset instead of a goodbye. */
static void reset(skua_tcp *conn)
{
	const struct linger linger = {1, 0};

	T_EQ(setsockopt(fd_of(conn), SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
	skua_tcp_close(conn);
}

T_ON_BOTH(tcp, a_waiting_reader_sees_a_reset)
{
	struct net net = net_open(backend);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};
	skua_task *reader = start(net.rt, op_read, &io);

	WAIT_UNTIL(io.polls >= 1);
	reset(net.client);
	net.client = NULL;
	T_EQ(skua_task_wait(&reader), -ECONNRESET);
	net_close(&net);
}

T_ON_BOTH(tcp, a_waiting_writer_sees_a_reset)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(backend);
	struct io io = {.conn = net.server, .data = calloc(1, SIZE), .size = SIZE};
	skua_task *writer = start(net.rt, op_write_all, &io);

	WAIT_UNTIL(io.polls >= 1);
	sleep_ms(5);
	T_EQ(skua_task_finished(writer), 0);
	reset(net.client);
	net.client = NULL;
	T_EQ(skua_task_wait(&writer), -ECONNRESET);
	/* The reset was told once; from here on it is a broken pipe, and no signal. */
	T_EQ(run(net.rt, op_write, &io), -EPIPE);
	free(io.data);
	net_close(&net);
}

T_ON_BOTH(tcp, writing_after_shutdown_is_a_broken_pipe)
{
	struct net net = net_open(backend);
	char byte = 0;
	struct io io = {.conn = net.client, .data = &byte, .size = 1};
	const struct iovec piece = {&byte, 1};
	struct pieces pieces = {.conn = net.client, .pieces = &piece, .count = 1};

	T_EQ(skua_tcp_shutdown(net.client), 0);
	T_EQ(run(net.rt, op_write, &io), -EPIPE);
	T_EQ(run(net.rt, op_write_all, &io), -EPIPE);
	T_EQ(run(net.rt, op_writev, &pieces), -EPIPE);
	net_close(&net);
}

T_ON_BOTH(tcp, close_leaves_what_was_written_to_the_peer)
{
	struct net net = net_open(backend);
	char in[16];

	T_EQ(write_all(net.rt, net.client, "testament", 9), 9);
	skua_tcp_close(net.client);
	net.client = NULL;
	T_EQ(read_some(net.rt, net.server, in, sizeof in), 9);
	T_EQ(read_some(net.rt, net.server, in, sizeof in), 0);
	net_close(&net);
}

/* ---- Closing under a wait, cancelling, timing out ---- */

T_ON_BOTH(tcp, close_under_a_waiting_reader)
{
	struct net net = net_open(backend);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};
	skua_task *reader = start(net.rt, op_read, &io);

	WAIT_UNTIL(io.polls >= 1);
	skua_tcp_close(net.server);
	net.server = NULL;
	T_EQ(skua_task_wait(&reader), -ECANCELED);
	T_EQ(read_some(net.rt, net.client, in, sizeof in), 0);
	net_close(&net);
}

static skua_poll op_close(skua_cx *cx, void *argument)
{
	(void)cx;
	skua_tcp_close(((struct io *)argument)->conn);
	return 0;
}

T_ON_BOTH(tcp, close_by_a_task_under_a_reader_and_a_writer)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(backend);
	struct io in = {.conn = net.server, .data = malloc(8), .size = 8};
	struct io out = {.conn = net.server, .data = calloc(1, SIZE), .size = SIZE};
	skua_task *reader = start(net.rt, op_read, &in);
	skua_task *writer = start(net.rt, op_write_all, &out);

	WAIT_UNTIL(in.polls >= 1 && out.polls >= 1);
	sleep_ms(5);
	T_EQ(run(net.rt, op_close, &in), 0);
	net.server = NULL;
	T_EQ(skua_task_wait(&reader), -ECANCELED);
	T_EQ(skua_task_wait(&writer), -ECANCELED);
	free(in.data);
	free(out.data);
	net_close(&net);
}

/* A reader that is woken by data while its connection is being closed. */
T_ON_BOTH(tcp, close_races_with_data)
{
	struct net net = {.rt = runtime_on(2, backend)};

	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	for (int i = 0; i < rounds(200); i++) {
		char in[8];
		struct io io = {.data = in, .size = sizeof in};
		skua_task *reader;
		int64_t result;

		net_connect(&net);
		io.conn = net.server;
		reader = start(net.rt, op_read, &io);
		if (i % 2 == 0)
			WAIT_UNTIL(io.polls >= 1);
		T_EQ(write(fd_of(net.client), "data", 4), 4);
		if (i % 4 < 2)
			sched_yield();
		skua_tcp_close(net.server);
		result = skua_task_wait(&reader);
		T_ASSERT_MSG(result == 4 || result == -ECANCELED || result == -EBADF,
			     "the read gave %" PRId64, result);
		skua_tcp_close(net.client);
	}
	net.client = net.server = NULL;
	net_close(&net);
}

T_ON_BOTH(tcp, cancelled_read_loses_no_data)
{
	struct net net = net_open(backend);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};

	for (int i = 0; i < 20; i++) {
		skua_task *reader = start(net.rt, op_read, &io);

		WAIT_UNTIL(io.polls >= 1);
		T_EQ(skua_cancel(reader), 0);
		T_EQ(skua_task_wait(&reader), -ECANCELED);
		T_EQ(write_all(net.rt, net.client, "data", 4), 4);
		T_EQ(read_some(net.rt, net.server, in, sizeof in), 4);
		io.polls = 0;
	}
	net_close(&net);
}

T_ON_BOTH(tcp, read_that_times_out_can_be_repeated)
{
	struct net net = net_open(backend);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in, .ns = 10 * SKUA_MSEC};

	for (int i = 0; i < 3; i++) {
		uint64_t begin = skua_now();

		T_EQ(run(net.rt, op_read_in_time, &io), -ETIMEDOUT);
		T_GE(skua_now() - begin, 10 * SKUA_MSEC);
	}
	T_EQ(write_all(net.rt, net.client, "late", 4), 4);
	io.ns = 60 * SKUA_SEC;
	T_EQ(run(net.rt, op_read_in_time, &io), 4);
	net_close(&net);
}

/* A task that gives an operation up by closing the connection, as one does after a race. */
struct abandons {
	skua_tcp *conn;
	skua_listener *listener;
	int polls;
};

static skua_poll abandons(skua_cx *cx, void *argument)
{
	struct abandons *self = argument;
	skua_tcp *accepted = NULL;
	char byte;

	if (self->polls++ == 0) {
		T_EQ(skua_read(cx, self->conn, &byte, 1), SKUA_PENDING);
		T_EQ(skua_accept(cx, self->listener, &accepted), SKUA_PENDING);
		skua_waker_wake_by_ref(skua_cx_waker(cx));
		return SKUA_PENDING;
	}
	skua_tcp_close(self->conn);
	skua_listener_close(self->listener);
	return 6;
}

T_ON_BOTH(tcp, closing_gives_up_ones_own_operation)
{
	struct net net = net_open(backend);
	struct abandons state = {.conn = net.server, .listener = net.listener};
	char in;

	T_EQ(run(net.rt, abandons, &state), 6);
	net.server = NULL;
	net.listener = NULL;
	T_EQ(read_some(net.rt, net.client, &in, 1), 0);
	net_close(&net);
}

/* ---- Two at once ---- */

T_ON_BOTH(tcp, a_second_reader_is_refused)
{
	struct net net = net_open(backend);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};
	skua_task *reader = start(net.rt, op_read, &io);

	WAIT_UNTIL(io.polls >= 1);
	T_EQ(read_some(net.rt, net.server, in, sizeof in), -EBUSY);
	/* Writing is the other direction. */
	T_EQ(write_all(net.rt, net.server, "out", 3), 3);
	T_EQ(write_all(net.rt, net.client, "in", 2), 2);
	T_EQ(skua_task_wait(&reader), 2);
	T_MEM_EQ(in, "in", 2);
	T_EQ(read_some(net.rt, net.client, in, sizeof in), 3);
	net_close(&net);
}

T_ON_BOTH(tcp, a_second_writer_is_refused)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(backend);
	struct io io = {.conn = net.server, .data = calloc(1, SIZE), .size = SIZE};
	skua_task *writer = start(net.rt, op_write_all, &io);
	char *in = malloc(SIZE);
	int64_t n, sum = 0;

	WAIT_UNTIL(io.polls >= 1);
	sleep_ms(5);
	T_EQ(write_all(net.rt, net.server, "x", 1), -EBUSY);
	/* The refusal has not disturbed the first one. */
	while (sum < SIZE && (n = read_some(net.rt, net.client, in, SIZE)) > 0)
		sum += n;
	T_EQ(skua_task_wait(&writer), SIZE);
	T_EQ(sum, SIZE);
	free(in);
	free(io.data);
	net_close(&net);
}

T_ON_BOTH(tcp, a_second_accept_is_refused)
{
	struct net net = net_open(backend);
	struct accepting first = {.listener = net.listener}, second = first;
	struct connecting connecting = {.addr = net.addr};
	skua_task *task = start(net.rt, op_accept, &first);

	WAIT_UNTIL(first.polls >= 1);
	T_EQ(run(net.rt, op_accept, &second), -EBUSY);
	T_EQ(run(net.rt, op_connect, &connecting), 0);
	T_EQ(skua_task_wait(&task), 0);
	skua_tcp_close(first.conn);
	skua_tcp_close(connecting.conn);
	net_close(&net);
}

/* ---- Accepting ---- */

T_ON_BOTH(tcp, cancelled_accept_can_be_repeated)
{
	struct net net = net_open(backend);
	struct accepting accepting = {.listener = net.listener};
	skua_task *task = start(net.rt, op_accept, &accepting);

	WAIT_UNTIL(accepting.polls >= 1);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_NULL(accepting.conn);
	skua_tcp_close(net.client);
	skua_tcp_close(net.server);
	net_connect(&net);
	net_close(&net);
}

T_ON_BOTH(tcp, listener_closed_under_an_accept)
{
	struct net net = net_open(backend);
	struct accepting accepting = {.listener = net.listener};
	skua_task *task = start(net.rt, op_accept, &accepting);

	WAIT_UNTIL(accepting.polls >= 1);
	skua_listener_close(net.listener);
	net.listener = NULL;
	T_EQ(skua_task_wait(&task), -ECANCELED);
	net_close(&net);
}

T_ON_BOTH(tcp, connections_in_the_backlog_are_accepted_later)
{
	enum { COUNT = 20 };
	struct net net = net_open(backend);
	struct connecting connecting[COUNT];

	for (int i = 0; i < COUNT; i++) {
		connecting[i] = (struct connecting){.addr = net.addr};
		T_EQ(run(net.rt, op_connect, &connecting[i]), 0);
	}
	for (int i = 0; i < COUNT; i++) {
		struct accepting accepting = {.listener = net.listener};

		T_EQ(run(net.rt, op_accept, &accepting), 0);
		skua_tcp_close(accepting.conn);
		skua_tcp_close(connecting[i].conn);
	}
	net_close(&net);
}

struct server {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	atomic_int *accepted;
	int64_t rc;
};

static skua_poll server(skua_cx *cx, struct server *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
		if (self->rc < 0)
			break;
		atomic_fetch_add(self->accepted, 1);
		{
			struct echo future = {.co = SKUA_CORO_INIT(echo), .conn = self->conn};

			T_EQ(skua_spawn(skua_cx_runtime(cx), &future.co, NULL), 0);
		}
	}
	skua_listener_close(self->listener);
	SKUA_END(self->rc);
}
SKUA_CORO(server, struct server);

T_ON_BOTH(tcp, listeners_share_a_port)
{
	enum { COUNT = 64 };
	const skua_listen_options options = {.struct_size = sizeof options, .reuse_port = 1};
	skua_runtime *rt = runtime_on(2, backend);
	struct server servers[2];
	struct connecting connecting;
	atomic_int accepted[2] = {0};
	skua_task *tasks[2];
	skua_addr addr;

	servers[0] = (struct server){.co = SKUA_CORO_INIT(server), .accepted = &accepted[0]};
	servers[1] = (struct server){.co = SKUA_CORO_INIT(server), .accepted = &accepted[1]};
	servers[0].listener = listen_on(rt, "127.0.0.1", &options, &addr);
	T_EQ(skua_listen(rt, &addr, &options, &servers[1].listener), 0);
	for (int i = 0; i < 2; i++)
		tasks[i] = start_future(rt, &servers[i].co);
	for (int i = 0; i < COUNT; i++) {
		char in;

		connecting = (struct connecting){.addr = addr};
		T_EQ(run(rt, op_connect, &connecting), 0);
		T_EQ(write_all(rt, connecting.conn, "?", 1), 1);
		T_EQ(read_some(rt, connecting.conn, &in, 1), 1);
		skua_tcp_close(connecting.conn);
	}
	T_EQ(accepted[0] + accepted[1], COUNT);
	T_GT(accepted[0], 0);
	T_GT(accepted[1], 0);
	for (int i = 0; i < 2; i++) {
		T_EQ(skua_cancel(tasks[i]), 0);
		T_EQ(skua_task_wait(&tasks[i]), -ECANCELED);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Listening ---- */

T_ON_BOTH(tcp, port_in_use)
{
	struct net net = net_open(backend);
	skua_listener *second = NULL;

	T_EQ(skua_listen(net.rt, &net.addr, NULL, &second), -EADDRINUSE);
	T_NULL(second);
	/* After a close it is free again, in spite of the connections. */
	skua_listener_close(net.listener);
	T_EQ(skua_listen(net.rt, &net.addr, NULL, &net.listener), 0);
	net_close(&net);
}

T_TEST(tcp, listen_refuses_bad_arguments)
{
	skua_runtime *rt = runtime_of(1);
	const skua_listen_options no_size = {.backlog = 1};
	skua_listener *listener = NULL;
	skua_addr addr, empty = {0}, foreign;

	T_EQ(skua_addr_parse(&addr, "127.0.0.1", 0), 0);
	T_EQ(skua_listen(NULL, &addr, NULL, &listener), -EINVAL);
	T_EQ(skua_listen(rt, NULL, NULL, &listener), -EINVAL);
	T_EQ(skua_listen(rt, &addr, NULL, NULL), -EINVAL);
	T_EQ(skua_listen(rt, &empty, NULL, &listener), -EINVAL);
	T_EQ(skua_listen(rt, &addr, &no_size, &listener), -EINVAL);
	/* 192.0.2.0/24 is for documentation: no machine has it. */
	T_EQ(skua_addr_parse(&foreign, "192.0.2.1", 0), 0);
	T_EQ(skua_listen(rt, &foreign, NULL, &listener), -EADDRNOTAVAIL);
	T_NULL(listener);
	skua_listener_close(NULL);
	skua_tcp_close(NULL);
	T_EQ(skua_runtime_free(rt), 0);
}

static int option_of(const void *handle, int level, int option)
{
	int value = -1;
	socklen_t size = sizeof value;

	T_EQ(getsockopt(fd_of(handle), level, option, &value, &size), 0);
	return value;
}

T_TEST(tcp, nodelay_is_on_unless_delay_is_asked_for)
{
	const skua_listen_options slow = {.struct_size = sizeof slow, .delay = 1};
	struct net net = net_open(SKUA_IO_BACKEND_AUTO);

	T_NE(option_of(net.client, IPPROTO_TCP, TCP_NODELAY), 0);
	T_NE(option_of(net.server, IPPROTO_TCP, TCP_NODELAY), 0);
	T_EQ(skua_tcp_set_nodelay(net.server, 0), 0);
	T_EQ(option_of(net.server, IPPROTO_TCP, TCP_NODELAY), 0);
	T_EQ(skua_tcp_set_nodelay(net.server, 1), 0);
	T_NE(option_of(net.server, IPPROTO_TCP, TCP_NODELAY), 0);
	skua_tcp_close(net.client);
	skua_tcp_close(net.server);
	skua_listener_close(net.listener);

	net.listener = listen_on(net.rt, "127.0.0.1", &slow, &net.addr);
	net_connect(&net);
	T_EQ(option_of(net.server, IPPROTO_TCP, TCP_NODELAY), 0);
	net_close(&net);
}

T_TEST(tcp, sockets_are_closed_on_exec_and_do_not_block)
{
	struct net net = net_open(SKUA_IO_BACKEND_AUTO);
	const void *handles[] = {net.listener, net.client, net.server};

	for (int i = 0; i < 3; i++) {
		T_NE(fcntl(fd_of(handles[i]), F_GETFD) & FD_CLOEXEC, 0);
		T_NE(fcntl(fd_of(handles[i]), F_GETFL) & O_NONBLOCK, 0);
	}
	net_close(&net);
}

/* ---- Connecting ---- */

T_ON_BOTH(tcp, connect_refused)
{
	struct net net = net_open(backend);
	struct connecting connecting = {.addr = net.addr};

	skua_listener_close(net.listener);
	net.listener = NULL;
	for (int i = 0; i < 5; i++) {
		T_EQ(run(net.rt, op_connect, &connecting), -ECONNREFUSED);
		T_NULL(connecting.conn);
	}
	connecting.addr = (skua_addr){0};
	T_EQ(run(net.rt, op_connect, &connecting), -EINVAL);
	net_close(&net);
}

/* A listening socket whose backlog is full: further connections get no answer. */
struct full {
	int listener;
	int clients[8];
	skua_addr addr;
};

static void full_open(struct full *full)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t size = sizeof in;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	full->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(bind(full->listener, (struct sockaddr *)&in, sizeof in), 0);
	T_EQ(listen(full->listener, 0), 0);
	T_EQ(getsockname(full->listener, (struct sockaddr *)&in, &size), 0);
	for (int i = 0; i < 8; i++) {
		full->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		T_EQ(connect(full->clients[i], (struct sockaddr *)&in, sizeof in), -1);
		T_EQ(errno, EINPROGRESS);
	}
	sleep_ms(5);
	T_EQ(skua_addr_parse(&full->addr, "127.0.0.1", ntohs(in.sin_port)), 0);
}

static void full_close(struct full *full)
{
	for (int i = 0; i < 8; i++)
		close(full->clients[i]);
	close(full->listener);
}

T_ON_BOTH(tcp, connect_with_a_deadline)
{
	skua_runtime *rt = runtime_on(2, backend);
	struct connecting connecting = {.ns = 50 * SKUA_MSEC};
	struct full full;
	uint64_t begin;

	full_open(&full);
	connecting.addr = full.addr;
	begin = skua_now();
	T_EQ(run(rt, op_connect_in_time, &connecting), -ETIMEDOUT);
	T_GE(skua_now() - begin, 50 * SKUA_MSEC);
	T_NULL(connecting.conn);
	full_close(&full);
	T_EQ(skua_runtime_free(rt), 0);
}

T_ON_BOTH(tcp, connect_cancelled)
{
	skua_runtime *rt = runtime_on(2, backend);
	struct connecting connecting = {0};
	struct full full;
	skua_task *task;

	full_open(&full);
	connecting.addr = full.addr;
	task = start(rt, op_connect, &connecting);
	WAIT_UNTIL(connecting.polls >= 1);
	T_EQ(skua_task_finished(task), 0);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_NULL(connecting.conn);
	full_close(&full);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Addresses ---- */

T_TEST(tcp, addresses_are_read_and_written)
{
	static const char *const bad[] = {"localhost", "",      "1.2.3", "256.0.0.1",
					  "1.2.3.4:5", "[::1]", "::g",   " 127.0.0.1"};
	skua_addr addr;
	char text[64], small[13];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		T_ASSERT_MSG(skua_addr_parse(&addr, bad[i], 80) == -EINVAL, "%s", bad[i]);
	T_EQ(skua_addr_parse(&addr, "127.0.0.1", -1), -EINVAL);
	T_EQ(skua_addr_parse(&addr, "127.0.0.1", 65536), -EINVAL);
	T_EQ(skua_addr_parse(NULL, "127.0.0.1", 1), -EINVAL);

	T_EQ(skua_addr_parse(&addr, "127.0.0.1", 65535), 0);
	T_EQ(skua_addr_port(&addr), 65535);
	T_EQ(skua_addr_format(&addr, text, sizeof text), 0);
	T_STR_EQ(text, "127.0.0.1:65535");
	T_EQ(skua_addr_format(&addr, text, strlen("127.0.0.1:65535")), -ENOSPC);
	T_EQ(skua_addr_format(&addr, text, strlen("127.0.0.1:65535") + 1), 0);

	T_EQ(skua_addr_parse(&addr, NULL, 80), 0);
	T_EQ(skua_addr_format(&addr, text, sizeof text), 0);
	T_STR_EQ(text, "0.0.0.0:80");
	T_EQ(skua_addr_parse(&addr, "::1", 0), 0);
	T_EQ(skua_addr_format(&addr, text, sizeof text), 0);
	T_STR_EQ(text, "[::1]:0");
	T_EQ(skua_addr_format(&addr, small, sizeof small), 0);
	T_EQ(skua_addr_parse(&addr, "2001:DB8:0:0:0:0:0:1", 8080), 0);
	T_EQ(skua_addr_format(&addr, text, sizeof text), 0);
	T_STR_EQ(text, "[2001:db8::1]:8080");

	memset(&addr, 0, sizeof addr);
	T_EQ(skua_addr_port(&addr), 0);
	T_EQ(skua_addr_format(&addr, text, sizeof text), -EAFNOSUPPORT);
}

T_ON_BOTH(tcp, local_and_peer_addresses)
{
	struct net net = net_open(backend);
	skua_addr a, b;
	char left[64], right[64];

	T_EQ(skua_tcp_local_addr(net.client, &a), 0);
	T_EQ(skua_tcp_peer_addr(net.server, &b), 0);
	T_EQ(skua_addr_format(&a, left, sizeof left), 0);
	T_EQ(skua_addr_format(&b, right, sizeof right), 0);
	T_STR_EQ(left, right);
	T_EQ(skua_tcp_peer_addr(net.client, &a), 0);
	T_EQ(skua_tcp_local_addr(net.server, &b), 0);
	T_EQ(skua_addr_port(&a), skua_addr_port(&net.addr));
	T_EQ(skua_addr_port(&b), skua_addr_port(&net.addr));
	net_close(&net);
}

T_ON_BOTH(tcp, ipv6)
{
	skua_runtime *rt = runtime_on(2, backend);
	struct net net = {.rt = rt};
	skua_addr addr;
	char in[4], text[64];
	int rc;

	T_EQ(skua_addr_parse(&addr, "::1", 0), 0);
	rc = skua_listen(rt, &addr, NULL, &net.listener);
	if (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT) {
		T_EQ(skua_runtime_free(rt), 0);
		T_SKIP("this machine has no IPv6");
	}
	T_EQ(rc, 0);
	T_EQ(skua_listener_addr(net.listener, &net.addr), 0);
	net_connect(&net);
	T_EQ(write_all(rt, net.client, "six", 3), 3);
	T_EQ(read_some(rt, net.server, in, sizeof in), 3);
	T_EQ(skua_tcp_peer_addr(net.server, &addr), 0);
	T_EQ(skua_addr_format(&addr, text, sizeof text), 0);
	T_EQ(strncmp(text, "[::1]:", 6), 0);
	net_close(&net);
}

/* ---- Out of descriptors ---- */

static void set_descriptor_limit(rlim_t count, struct rlimit *before)
{
	struct rlimit limit;

	T_EQ(getrlimit(RLIMIT_NOFILE, before), 0);
	limit = *before;
	limit.rlim_cur = count;
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int first_free_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

T_ON_BOTH(tcp, accept_waits_for_descriptors_without_spinning)
{
	enum { CLIENTS = 5 };
	struct net net = net_open(backend);
	struct accepting accepting = {.listener = net.listener};
	int clients[CLIENTS];
	struct rlimit before;
	skua_stats stats, later;
	skua_task *task;
	uint64_t cpu, relief;

	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		T_GE(clients[i], 0);
	}
	set_descriptor_limit((rlim_t)first_free_descriptor(), &before);
	task = start(net.rt, op_accept, &accepting);
	for (int i = 0; i < CLIENTS; i++)
		T_EQ(connect(clients[i], (const struct sockaddr *)net.addr.storage,
			     (socklen_t)net.addr.length),
		     0);
	sleep_ms(100);
	skua_runtime_stats(net.rt, &stats);
	cpu = cpu_time();
	sleep_ms(T_QUICK ? 300 : 1000);
	cpu = cpu_time() - cpu;
	skua_runtime_stats(net.rt, &later);
	T_EQ(skua_task_finished(task), 0);
	T_ASSERT_MSG(cpu < 100 * SKUA_MSEC, "%g ms of CPU", (double)cpu / 1e6);
	/* It tries again every 50 ms, and at no other time. */
	T_LE(later.polls - stats.polls, 40);
	T_GE(later.polls - stats.polls, 2);

	T_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
	relief = skua_now();
	T_EQ(skua_task_wait(&task), 0);
	T_ASSERT(seconds_since(relief) < 1.0 * PATIENCE);
	skua_tcp_close(accepting.conn);
	for (int i = 1; i < CLIENTS; i++) {
		T_EQ(run(net.rt, op_accept, &accepting), 0);
		skua_tcp_close(accepting.conn);
	}
	for (int i = 0; i < CLIENTS; i++)
		close(clients[i]);
	net_close(&net);
}

T_ON_BOTH(tcp, accept_can_be_cancelled_while_it_waits_for_descriptors)
{
	struct net net = net_open(backend);
	struct accepting accepting = {.listener = net.listener};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rlimit before;
	skua_task *task;

	set_descriptor_limit((rlim_t)first_free_descriptor(), &before);
	T_EQ(connect(client, (const struct sockaddr *)net.addr.storage, (socklen_t)net.addr.length),
	     0);
	for (int i = 0; i < 2; i++) {
		accepting.polls = 0;
		task = start(net.rt, op_accept, &accepting);
		WAIT_UNTIL(accepting.polls >= 1);
		T_EQ(skua_cancel(task), 0);
		T_EQ(skua_task_wait(&task), -ECANCELED);
	}
	/* And closed. */
	accepting.polls = 0;
	task = start(net.rt, op_accept, &accepting);
	WAIT_UNTIL(accepting.polls >= 1);
	skua_listener_close(net.listener);
	net.listener = NULL;
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
	close(client);
	net_close(&net);
}

T_ON_BOTH(tcp, connect_and_listen_without_descriptors)
{
	struct net net = net_open(backend);
	struct connecting connecting = {.addr = net.addr};
	skua_listener *listener = NULL;
	struct rlimit before;

	set_descriptor_limit((rlim_t)first_free_descriptor(), &before);
	T_EQ(run(net.rt, op_connect, &connecting), -EMFILE);
	T_NULL(connecting.conn);
	T_EQ(skua_listen(net.rt, &net.addr, NULL, &listener), -EMFILE);
	T_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
	T_EQ(run(net.rt, op_connect, &connecting), 0);
	skua_tcp_close(connecting.conn);
	net_close(&net);
}

/* ---- Many ---- */

struct crowd {
	atomic_int connected, arrived;
	int size;
};

/* Connects, waits until all have, then has some things echoed. */
struct visitor {
	skua_coro co;
	skua_addr addr;
	struct crowd *crowd;
	skua_tcp *conn;
	uint32_t id;
	int turn;
	size_t got;
	int64_t n;
	char out[64], in[64];
};

static skua_poll visitor(skua_cx *cx, struct visitor *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->n = skua_connect(cx, &self->addr, &self->conn));
	T_EQ(self->n, 0);
	atomic_fetch_add(&self->crowd->connected, 1);
	for (self->turn = 0; self->turn < 3; self->turn++) {
		fill(self->out, self->id * 7 + (size_t)self->turn, sizeof self->out);
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, self->out, sizeof self->out));
		T_EQ(self->n, sizeof self->out);
		for (self->got = 0; self->got < sizeof self->in; self->got += (size_t)self->n) {
			SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->in + self->got,
						       sizeof self->in - self->got));
			T_GT(self->n, 0);
		}
		T_MEM_EQ(self->in, self->out, sizeof self->out);
		/* Nobody leaves before all are there. */
		while (self->crowd->connected < self->crowd->size)
			SKUA_AWAIT(self->n = skua_yield(cx));
	}
	skua_tcp_close(self->conn);
	SKUA_END(1);
}
SKUA_CORO(visitor, struct visitor);

static void visit(uint32_t backend, uint32_t workers, uint32_t io_threads, int count)
{
	skua_config config;
	skua_runtime *rt;
	struct crowd crowd = {.size = count};
	struct server serving = {.co = SKUA_CORO_INIT(server), .accepted = &crowd.arrived};
	struct visitor visiting = {.co = SKUA_CORO_INIT(visitor), .crowd = &crowd};
	skua_task **tasks = calloc((size_t)count, sizeof(void *)), *task;

	quiet_config(&config, workers, backend);
	config.io_threads = io_threads;
	rt = runtime_with(&config);
	serving.listener = listen_on(rt, "127.0.0.1", NULL, &visiting.addr);
	task = start_future(rt, &serving.co);
	for (int i = 0; i < count; i++) {
		visiting.id = (uint32_t)i;
		tasks[i] = start_future(rt, &visiting.co);
	}
	for (int i = 0; i < count; i++)
		T_EQ(skua_task_wait(&tasks[i]), 1);
	T_EQ(crowd.arrived, count);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	T_EQ(skua_runtime_free(rt), 0);
	free(tasks);
}

T_ON_BOTH(tcp, a_thousand_connections_at_once)
{
	struct rlimit limit;

	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < 3000)
		T_SKIP("the limit of descriptors is too low");
	limit.rlim_cur = limit.rlim_max;
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	visit(backend, 2, 1, T_TSAN ? 300 : 1000);
}

T_ON_BOTH(tcp, many_workers_and_several_drivers)
{
	visit(backend, 16, 3, 100);
}

/* On one worker, one who always finds data must not keep the others from running. */
struct greedy {
	skua_tcp *conn;
	int reads, reads_before_the_other;
	atomic_int hold;
};

static skua_poll greedy(skua_cx *cx, void *argument)
{
	struct greedy *self = argument;
	skua_poll n;
	char byte;

	while ((n = skua_read(cx, self->conn, &byte, 1)) == 1)
		self->reads++;
	return n;
}

static skua_poll the_other(skua_cx *cx, void *argument)
{
	struct greedy *self = argument;

	(void)cx;
	self->reads_before_the_other = self->reads;
	return 0;
}

static skua_poll holds(skua_cx *cx, void *argument)
{
	struct greedy *self = argument;

	(void)cx;
	while (self->hold)
		sleep_ms(1);
	return 0;
}

T_ON_BOTH(tcp, a_busy_connection_gives_way)
{
	enum { BUDGET = 50, BYTES = 100000 };
	struct net net = {.listener = NULL};
	struct greedy state = {.hold = 1};
	char *many = calloc(1, BYTES);
	skua_task *held, *busy, *other;
	skua_config config;

	quiet_config(&config, 1, backend);
	config.budget = BUDGET;
	net.rt = runtime_with(&config);
	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	net_connect(&net);
	state.conn = net.server;
	/* Much to read, so that only the budget ends a poll. */
	T_EQ(write_all(net.rt, net.client, many, BYTES), BYTES);
	T_EQ(skua_tcp_shutdown(net.client), 0);
	held = start(net.rt, holds, &state);
	busy = start(net.rt, greedy, &state);
	other = start(net.rt, the_other, &state);
	atomic_store(&state.hold, 0);
	T_EQ(skua_task_wait(&held), 0);
	T_EQ(skua_task_wait(&other), 0);
	T_EQ(skua_task_wait(&busy), 0);
	T_EQ(state.reads, BYTES);
	T_LE(state.reads_before_the_other, 10 * BUDGET);
	free(many);
	net_close(&net);
}
