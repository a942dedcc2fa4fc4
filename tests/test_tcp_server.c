/*
 * test_tcp_server.c - whole servers and their clients: echo, listeners that share a port, a crowd
 * of connections at once, and a busy connection among others.
 */
#include <sys/resource.h>

#include "echo_support.h"

/* ---- Echo ---- */

T_ON_EACH_IO(tcp_server, echo)
{
	struct net net = net_open(kind);
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

/* ---- Two listeners ---- */

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

T_ON_EACH_IO(tcp_server, listeners_share_a_port)
{
	enum { COUNT = 64 };
	const skua_listen_options options = {.struct_size = sizeof options, .reuse_port = 1};
	skua_runtime *rt = runtime_on(2, kind);
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

static void visit(uint32_t kind, uint32_t workers, uint32_t io_threads, int count)
{
	skua_config config;
	skua_runtime *rt;
	struct crowd crowd = {.size = count};
	struct server serving = {.co = SKUA_CORO_INIT(server), .accepted = &crowd.arrived};
	struct visitor visiting = {.co = SKUA_CORO_INIT(visitor), .crowd = &crowd};
	skua_task **tasks = calloc((size_t)count, sizeof(void *)), *task;

	quiet_config(&config, workers, kind);
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

T_ON_EACH_IO(tcp_server, a_thousand_connections_at_once)
{
	struct rlimit limit;

	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < 3000)
		T_SKIP("the limit of descriptors is too low");
	limit.rlim_cur = limit.rlim_max;
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	visit(kind, 2, 1, T_TSAN ? 300 : 1000);
}

T_ON_EACH_IO(tcp_server, many_workers_and_several_drivers)
{
	visit(kind, 16, 3, 100);
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

T_ON_EACH_IO(tcp_server, a_busy_connection_gives_way)
{
	enum { BUDGET = 50, BYTES = 100000 };
	struct net net = {.listener = NULL};
	struct greedy state = {.hold = 1};
	char *many = calloc(1, BYTES);
	skua_task *held, *busy, *other;
	skua_config config;

	quiet_config(&config, 1, kind);
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

/* ---- One request now and then ---- */

/* The worker that hears of it serves it: another one would cost a wake for nothing. */
T_TEST(tcp_server, a_lone_request_wakes_no_second_worker)
{
	enum { BEFORE = 30, REQUESTS = 60 };
	struct net net = net_open(IO_EPOLL);
	struct echo future = {.co = SKUA_CORO_INIT(echo)};
	int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct accepting accepting = {.listener = net.listener};
	skua_stats before, after;
	skua_task *task;
	char data[4];

	if (T_SANITIZED)
		T_SKIP("under a sanitizer a poll takes as long as one that is worth a wake");
	connect_fd(peer, &net.addr);
	T_EQ(run(net.rt, op_accept, &accepting), 0);
	future.conn = accepting.conn;
	task = start_future(net.rt, &future.co);
	for (int i = 0; i < BEFORE + REQUESTS; i++) {
		if (i == BEFORE)
			skua_runtime_stats(net.rt, &before);
		T_EQ(send(peer, "abcd", 4, 0), 4);
		T_EQ(recv(peer, data, 4, MSG_WAITALL), 4);
		/* Long enough for everybody to go to sleep; now and then for the monitor, too. */
		sleep_ms(i % 2 == 0 ? 1 : 15);
	}
	skua_runtime_stats(net.rt, &after);
	T_LOG("%d wakes, %d parks", (int)(after.wakes - before.wakes),
	      (int)(after.parks - before.parks));
	T_LT(after.wakes - before.wakes, REQUESTS / 3);
	close(peer);
	T_EQ(skua_task_wait(&task), 0);
	net_close(&net);
}
