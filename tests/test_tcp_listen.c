/*
 * test_tcp_listen.c - listening and accepting: arguments, ports, the backlog, and a process that
 * has run out of descriptors.
 */
#include <fcntl.h>
#include <sys/resource.h>

#include "net_support.h"

/* ---- Listening ---- */

T_ON_EACH_IO(tcp_listen, port_in_use)
{
	struct net net = net_open(kind);
	skua_listener *second = NULL;

	T_EQ(skua_listen(net.rt, &net.addr, NULL, &second), -EADDRINUSE);
	T_NULL(second);
	/* After a close it is free again, in spite of the connections. */
	skua_listener_close(net.listener);
	T_EQ(skua_listen(net.rt, &net.addr, NULL, &net.listener), 0);
	net_close(&net);
}

T_TEST(tcp_listen, listen_refuses_bad_arguments)
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

/* ---- Accepting ---- */

T_ON_EACH_IO(tcp_listen, cancelled_accept_can_be_repeated)
{
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_listen, a_second_accept_is_refused)
{
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_listen, connections_in_the_backlog_are_accepted_later)
{
	enum { COUNT = 20 };
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_listen, accept_waits_for_descriptors_without_spinning)
{
	enum { CLIENTS = 5 };
	struct net net = net_open(kind);
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
		connect_fd(clients[i], &net.addr);
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

T_ON_EACH_IO(tcp_listen, accept_can_be_cancelled_while_it_waits_for_descriptors)
{
	struct net net = net_open(kind);
	struct accepting accepting = {.listener = net.listener};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rlimit before;
	skua_task *task;

	set_descriptor_limit((rlim_t)first_free_descriptor(), &before);
	connect_fd(client, &net.addr);
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

T_ON_EACH_IO(tcp_listen, connect_and_listen_without_descriptors)
{
	struct net net = net_open(kind);
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
