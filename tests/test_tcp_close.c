/*
 * test_tcp_close.c - the ends of TCP connections: half-closing, closing, resets, and closing under
 * an operation that waits.
 */
#include "net_support.h"

/* ---- Ends of connections ---- */

T_ON_EACH_IO(tcp_close, half_close)
{
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_close, a_waiting_reader_sees_the_end)
{
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_close, a_waiting_reader_sees_a_reset)
{
	struct net net = net_open(kind);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};
	skua_task *reader = start(net.rt, op_read, &io);

	WAIT_UNTIL(io.polls >= 1);
	reset(net.client);
	net.client = NULL;
	T_EQ(skua_task_wait(&reader), -ECONNRESET);
	net_close(&net);
}

T_ON_EACH_IO(tcp_close, a_waiting_writer_sees_a_reset)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_close, writing_after_shutdown_is_a_broken_pipe)
{
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_close, close_leaves_what_was_written_to_the_peer)
{
	struct net net = net_open(kind);
	char in[16];

	T_EQ(write_all(net.rt, net.client, "testament", 9), 9);
	skua_tcp_close(net.client);
	net.client = NULL;
	T_EQ(read_some(net.rt, net.server, in, sizeof in), 9);
	T_EQ(read_some(net.rt, net.server, in, sizeof in), 0);
	net_close(&net);
}

/* ---- Closing under a wait ---- */

T_ON_EACH_IO(tcp_close, close_under_a_waiting_reader)
{
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_close, close_by_a_task_under_a_reader_and_a_writer)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(kind);
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
T_ON_EACH_IO(tcp_close, close_races_with_data)
{
	struct net net = net_listen(2, kind);

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

T_ON_EACH_IO(tcp_close, listener_closed_under_an_accept)
{
	struct net net = net_open(kind);
	struct accepting accepting = {.listener = net.listener};
	skua_task *task = start(net.rt, op_accept, &accepting);

	WAIT_UNTIL(accepting.polls >= 1);
	skua_listener_close(net.listener);
	net.listener = NULL;
	T_EQ(skua_task_wait(&task), -ECANCELED);
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

T_ON_EACH_IO(tcp_close, closing_gives_up_ones_own_operation)
{
	struct net net = net_open(kind);
	struct abandons state = {.conn = net.server, .listener = net.listener};
	char in;

	T_EQ(run(net.rt, abandons, &state), 6);
	net.server = NULL;
	net.listener = NULL;
	T_EQ(read_some(net.rt, net.client, &in, 1), 0);
	net_close(&net);
}
