/*
 * test_tcp_connect.c - connecting over TCP, the addresses at both ends, and the options that the
 * sockets get.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "net_support.h"

/* ---- Connecting ---- */

T_ON_EACH_IO(tcp_connect, connect_refused)
{
	struct net net = net_open(kind);
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

static skua_poll op_connect_in_time(skua_cx *cx, void *argument)
{
	struct connecting *self = argument;

	return skua_timeout(cx, &self->timer, self->ns, skua_connect(cx, &self->addr, &self->conn));
}

T_ON_EACH_IO(tcp_connect, connect_with_a_deadline)
{
	skua_runtime *rt = runtime_on(2, kind);
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

T_ON_EACH_IO(tcp_connect, connect_cancelled)
{
	skua_runtime *rt = runtime_on(2, kind);
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

T_TEST(tcp_connect, addresses_are_read_and_written)
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

T_ON_EACH_IO(tcp_connect, local_and_peer_addresses)
{
	struct net net = net_open(kind);
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

T_ON_EACH_IO(tcp_connect, ipv6)
{
	skua_runtime *rt = runtime_on(2, kind);
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

/* ---- Options ---- */

static int option_of(const void *handle, int level, int option)
{
	int value = -1;
	socklen_t size = sizeof value;

	T_EQ(getsockopt(fd_of(handle), level, option, &value, &size), 0);
	return value;
}

T_TEST(tcp_connect, nodelay_is_on_unless_delay_is_asked_for)
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

T_TEST(tcp_connect, sockets_are_closed_on_exec_and_do_not_block)
{
	struct net net = net_open(SKUA_IO_BACKEND_AUTO);
	const void *handles[] = {net.listener, net.client, net.server};

	for (int i = 0; i < 3; i++) {
		T_NE(fcntl(fd_of(handles[i]), F_GETFD) & FD_CLOEXEC, 0);
		T_NE(fcntl(fd_of(handles[i]), F_GETFL) & O_NONBLOCK, 0);
	}
	net_close(&net);
}
