/*
 * test_io_threads.c - several drivers (SKUA_IO_THREADS): descriptors are spread over them, and neither
 * data nor closing nor the end of a runtime asks which of them serves a connection.
 */
#include "io/driver.h"
#include "echo_support.h"
#include "runtime/runtime.h"
#include "sched/worker.h"

static struct sk_io *io_of(skua_runtime *rt)
{
	return rt->head.io;
}

static uint32_t driver_of(skua_runtime *rt, const void *handle)
{
	struct sk_io *io = io_of(rt);
	uint32_t i = 0;

	while (io->drivers[i] != ((const struct sk_source *)handle)->driver)
		T_LT(++i, io->driver_count);
	return i;
}

static struct net net_listen_on_drivers(uint32_t workers, uint32_t drivers, uint32_t kind)
{
	skua_config config;
	struct net net = {0};

	quiet_config(&config, workers, kind);
	config.io_threads = drivers;
	net.rt = runtime_with(&config);
	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	T_EQ(io_of(net.rt)->driver_count, drivers);
	return net;
}

static void net_free(struct net *net)
{
	skua_listener_close(net->listener);
	T_EQ(skua_runtime_free(net->rt), 0);
}

/* ---- How they are spread ---- */

/* Whatever lies between two numbers of one kind: no driver has half as many again as its share, or
 * only half of it. */
T_TEST(io_threads, descriptors_with_any_stride_are_spread)
{
	enum { MOST = 64, SHARE = 64, STRIDES = 32 };

	for (uint32_t drivers = 1; drivers <= MOST; drivers++) {
		for (int stride = 1; stride <= STRIDES; stride++) {
			int counts[MOST] = {0};

			for (int i = 0; i < SHARE * (int)drivers; i++) {
				uint32_t driver = sk_io_driver_of(7 + i * stride, drivers);

				T_LT(driver, drivers);
				counts[driver]++;
			}
			for (uint32_t i = 0; i < drivers; i++)
				T_ASSERT_MSG(counts[i] >= SHARE / 2 && counts[i] <= SHARE * 3 / 2,
					     "driver %u of %u has %d with stride %d", i, drivers,
					     counts[i], stride);
		}
	}
}

T_TEST(io_threads, the_largest_descriptor_has_a_driver)
{
	for (uint32_t drivers = 1; drivers <= 64; drivers++)
		T_LT(sk_io_driver_of(INT32_MAX, drivers), drivers);
}

/* The clients' ends get every other number, and the servers' those between. */
T_ON_EACH_IO(io_threads, both_ends_of_connections_are_spread)
{
	enum { COUNT = 40, DRIVERS = 2 };
	struct net net = net_listen_on_drivers(2, DRIVERS, kind);
	skua_tcp *ends[COUNT][2];
	int counts[2][DRIVERS] = {0};

	for (int i = 0; i < COUNT; i++) {
		net_connect(&net);
		ends[i][0] = net.client;
		ends[i][1] = net.server;
		for (int end = 0; end < 2; end++)
			counts[end][driver_of(net.rt, ends[i][end])]++;
	}
	for (int i = 0; i < DRIVERS; i++) {
		T_GE(counts[0][i], COUNT / 4);
		T_GE(counts[1][i], COUNT / 4);
	}
	for (int i = 0; i < COUNT; i++) {
		skua_tcp_close(ends[i][0]);
		skua_tcp_close(ends[i][1]);
	}
	net_free(&net);
}

/* ---- Data ---- */

/* Has something echoed, so many times or until that fails. Ends with how often it did. */
struct talker {
	skua_coro co;
	skua_tcp *conn;
	int turns, turn;
	size_t got;
	int64_t n;
	char out[100], in[100];
};

static skua_poll talker(skua_cx *cx, struct talker *self)
{
	SKUA_BEGIN(self);
	for (self->turn = 0; self->turn < self->turns; self->turn++) {
		fill(self->out, (size_t)self->turn * 31, sizeof self->out);
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, self->out, sizeof self->out));
		if (self->n < 0)
			break;
		for (self->got = 0; self->got < sizeof self->in; self->got += (size_t)self->n) {
			SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->in + self->got,
						       sizeof self->in - self->got));
			if (self->n <= 0)
				break;
		}
		if (self->n <= 0)
			break;
		T_MEM_EQ(self->in, self->out, sizeof self->out);
	}
	skua_tcp_close(self->conn);
	SKUA_END(self->turn);
}
SKUA_CORO(talker, struct talker);

/* Connects two tasks, which own their ends. */
static void start_talk(struct net *net, int turns, skua_task **talking, skua_task **echoing)
{
	struct talker talker_future = {.co = SKUA_CORO_INIT(talker), .turns = turns};
	struct echo echo_future = {.co = SKUA_CORO_INIT(echo)};

	net_connect(net);
	talker_future.conn = net->client;
	echo_future.conn = net->server;
	*echoing = start_future(net->rt, &echo_future.co);
	*talking = start_future(net->rt, &talker_future.co);
}

/* The events that came from one driver's set: workers wait in that of the first. */
static uint64_t events_of(skua_runtime *rt, uint32_t driver)
{
	struct sk_io *io = io_of(rt);
	uint64_t events = sk_load(&io->drivers[driver]->events, SK_RELAXED);

	for (uint32_t i = 0; driver == 0 && i < io->sched->options.workers; i++)
		events += sk_load(&io->sched->workers[i]->io_events, SK_RELAXED);
	return events;
}

T_ON_EACH_IO(io_threads, data_flows_by_every_driver)
{
	enum { COUNT = 48, DRIVERS = 3 };
	struct net net = net_listen_on_drivers(4, DRIVERS, kind);
	skua_task *talking[COUNT], *echoing[COUNT];
	int turns = rounds(100);

	for (int i = 0; i < COUNT; i++)
		start_talk(&net, turns, &talking[i], &echoing[i]);
	for (int i = 0; i < COUNT; i++) {
		T_EQ(skua_task_wait(&talking[i]), turns);
		T_EQ(skua_task_wait(&echoing[i]), 0);
	}
	for (uint32_t i = 0; i < DRIVERS; i++) {
		T_LOG("driver %u: %" PRIu64 " events", i, events_of(net.rt, i));
		T_GT(events_of(net.rt, i), 0);
	}
	net_free(&net);
}

/* ---- Closing, and numbers that are used again ---- */

/* A reader waits on each of them when it gets its data, or is closed under it. */
T_ON_EACH_IO(io_threads, numbers_of_closed_descriptors_are_used_again)
{
	enum { WAVES = 20, COUNT = 12, DRIVERS = 3, NUMBERS = 256 };
	struct net net = net_listen_on_drivers(2, DRIVERS, kind);
	int used[NUMBERS] = {0}, again = 0, drivers[DRIVERS] = {0};

	for (int wave = 0; wave < WAVES; wave++) {
		skua_tcp *clients[COUNT];
		skua_task *readers[COUNT];
		struct io ios[COUNT];
		char in[COUNT][8];

		for (int i = 0; i < COUNT; i++) {
			int fd;

			net_connect(&net);
			clients[i] = net.client;
			ios[i] = (struct io){.conn = net.server, .data = in[i], .size = 8};
			readers[i] = start(net.rt, op_read, &ios[i]);
			fd = fd_of(net.server);
			T_LT(fd, NUMBERS);
			again += used[fd];
			used[fd] = 1;
			drivers[driver_of(net.rt, net.server)]++;
		}
		for (int i = 0; i < COUNT; i++) {
			WAIT_UNTIL(ios[i].polls >= 1);
			if (i % 2 == wave % 2) {
				skua_tcp_close(ios[i].conn);
				T_EQ(skua_task_wait(&readers[i]), -ECANCELED);
			} else {
				T_EQ(write_all(net.rt, clients[i], "data", 4), 4);
				T_EQ(skua_task_wait(&readers[i]), 4);
				T_MEM_EQ(in[i], "data", 4);
				skua_tcp_close(ios[i].conn);
			}
		}
		for (int i = 0; i < COUNT; i++) {
			T_EQ(read_some(net.rt, clients[i], in[i], 8), 0);
			skua_tcp_close(clients[i]);
		}
	}
	T_GE(again, WAVES * COUNT / 2);
	for (int i = 0; i < DRIVERS; i++)
		T_GT(drivers[i], 0);
	net_free(&net);
}

/* ---- The end ---- */

/* Half of the connections are idle, the others talk for ever; and some nobody waits for. */
T_ON_EACH_IO(io_threads, the_runtime_ends_while_connections_are_open)
{
	enum { COUNT = 24, LONELY = 6, DRIVERS = 3 };
	struct net net = net_listen_on_drivers(2, DRIVERS, kind);
	skua_task *talking[COUNT / 2], *echoing[COUNT], *accepting;
	struct accepting accept = {.listener = net.listener};
	int peers[COUNT / 2 + LONELY];
	int64_t turns = 0;

	for (int i = 0; i < COUNT / 2; i++)
		start_talk(&net, INT32_MAX, &talking[i], &echoing[i]);
	for (int i = 0; i < COUNT / 2 + LONELY; i++) {
		struct accepting accepted = {.listener = net.listener};
		struct echo future = {.co = SKUA_CORO_INIT(echo)};

		peers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		connect_fd(peers[i], &net.addr);
		T_EQ(run(net.rt, op_accept, &accepted), 0);
		future.conn = accepted.conn;
		if (i < COUNT / 2)
			echoing[COUNT / 2 + i] = start_future(net.rt, &future.co);
	}
	accepting = start(net.rt, op_accept, &accept);
	WAIT_UNTIL(accept.polls >= 1);
	for (uint32_t i = 0; i < DRIVERS; i++)
		WAIT_UNTIL(events_of(net.rt, i) > 10);
	T_EQ(skua_runtime_free(net.rt), 0);
	for (int i = 0; i < COUNT / 2; i++)
		turns += skua_task_wait(&talking[i]);
	T_GT(turns, 0);
	for (int i = 0; i < COUNT; i++) {
		int64_t result = skua_task_wait(&echoing[i]);

		/* The other end may have been closed first. */
		T_ASSERT_MSG(result == -ECANCELED || (i < COUNT / 2 && result <= 0),
			     "the echo gave %" PRId64, result);
	}
	T_EQ(skua_task_wait(&accepting), -ECANCELED);
	for (int i = 0; i < COUNT / 2 + LONELY; i++) {
		char byte;

		T_EQ(recv(peers[i], &byte, 1, MSG_DONTWAIT), 0);
		close(peers[i]);
	}
}
