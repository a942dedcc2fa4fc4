/*
 * test_accept.c - accepting connections while accept4 fails, for whatever reason and for as long
 * as it likes. accept4 is the test's own.
 */
#include <sys/syscall.h>

#include "net_support.h"

static atomic_int failure;       /* what accept4 fails with, or 0 */
static atomic_int failures_left; /* how often; negative: always */
static atomic_int calls;

/* The C library's own declaration names its parameters otherwise, and fills the length in.
 * NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name,readability-non-const-parameter) */
int accept4(int fd, __SOCKADDR_ARG address, socklen_t *restrict length, int flags)
{
	int error = failure;

	(void)address, (void)length;
	atomic_fetch_add(&calls, 1);
	if (error != 0 && failures_left != 0) {
		if (failures_left > 0)
			atomic_fetch_sub(&failures_left, 1);
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_accept4, fd, NULL, NULL, flags);
}

static void fail_with(int error, int count)
{
	atomic_store(&failures_left, count);
	atomic_store(&failure, error);
	atomic_store(&calls, 0);
}

/* A client that is in the backlog when this returns. */
static int connect_to(const skua_addr *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	T_GE(fd, 0);
	connect_fd(fd, addr);
	return fd;
}

/* Errors of single connections, and those of the process or the system. */
static const int errors[] = {EPERM, ENETDOWN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM};

enum { ERRORS = sizeof errors / sizeof errors[0], RETRY_MS = 50, CALLS_EACH = 17 };

/* Accepts while it fails with `error`, and looks how often that is tried. */
static void fail_for_a_while(skua_runtime *rt, struct accepting *accepting, int error)
{
	skua_task *task;
	uint64_t begin, cpu;
	int before, after;

	fail_with(error, -1);
	accepting->polls = 0;
	task = start(rt, op_accept, accepting);
	WAIT_UNTIL(calls >= 1);
	begin = skua_now();
	cpu = cpu_time();
	before = calls;
	sleep_ms(2 * RETRY_MS);
	/* It goes on trying ... */
	WAIT_UNTIL(calls > before);
	after = calls;
	cpu = cpu_time() - cpu;
	begin = skua_now() - begin;
	/* ... a few times every 50 ms, */
	T_ASSERT_MSG((uint64_t)(after - before) <=
			     (begin / (RETRY_MS * SKUA_MSEC) + 2) * CALLS_EACH,
		     "errno %d: %d calls in %g ms", error, after - before, (double)begin / 1e6);
	T_LE(accepting->polls, begin / (RETRY_MS * SKUA_MSEC) + 4);
	T_ASSERT_MSG(cpu < begin / 2, "errno %d: %g ms of CPU in %g ms", error, (double)cpu / 1e6,
		     (double)begin / 1e6);
	/* and does not end by itself. */
	T_EQ(skua_task_finished(task), 0);
	T_EQ(skua_cancel(task), 0);
	T_EQ(skua_task_wait(&task), -ECANCELED);
	after = calls;
	sleep_ms(RETRY_MS / 5);
	T_EQ(calls, after);
}

T_ON_EACH_IO(accept, that_fails_all_the_time_neither_spins_nor_ends)
{
	struct net net = net_listen(1, kind);
	struct accepting accepting = {.listener = net.listener};

	for (int i = 0; i < ERRORS; i++) {
		int client = connect_to(&net.addr);

		fail_for_a_while(net.rt, &accepting, errors[i]);
		/* The connection is still there. */
		fail_with(0, 0);
		T_EQ(run(net.rt, op_accept, &accepting), 0);
		T_NOT_NULL(accepting.conn);
		skua_tcp_close(accepting.conn);
		close(client);
	}
	net_close(&net);
}

T_ON_EACH_IO(accept, that_has_failed_goes_on_by_itself)
{
	struct net net = net_listen(1, kind);
	struct accepting accepting = {.listener = net.listener};

	for (int i = 0; i < ERRORS; i++) {
		skua_task *task = start(net.rt, op_accept, &accepting);
		int client;

		fail_with(errors[i], -1);
		client = connect_to(&net.addr);
		WAIT_UNTIL(calls >= 1);
		T_EQ(skua_task_finished(task), 0);
		fail_with(0, 0);
		T_EQ(skua_task_wait(&task), 0);
		skua_tcp_close(accepting.conn);
		close(client);
	}
	net_close(&net);
}

T_ON_EACH_IO(accept, passes_over_a_few_dead_connections_at_once)
{
	struct net net = net_listen(1, kind);
	struct accepting accepting = {.listener = net.listener};
	int client;

	client = connect_to(&net.addr);
	fail_with(ECONNABORTED, 5);
	T_EQ(run(net.rt, op_accept, &accepting), 0);
	T_EQ(accepting.polls, 1);
	T_EQ(calls, 6);
	skua_tcp_close(accepting.conn);
	close(client);
	net_close(&net);
}

/* A shortage that lasts: close must end the wait, too. */
T_ON_EACH_IO(accept, that_fails_can_be_ended_by_closing_the_listener)
{
	skua_runtime *rt = runtime_on(1, kind);
	struct accepting accepting = {0};
	skua_addr addr;

	for (int i = 0; i < ERRORS; i++) {
		skua_task *task;
		int client;

		accepting.listener = listen_on(rt, "127.0.0.1", NULL, &addr);
		client = connect_to(&addr);
		fail_with(errors[i], -1);
		task = start(rt, op_accept, &accepting);
		WAIT_UNTIL(calls >= 1);
		skua_listener_close(accepting.listener);
		T_EQ(skua_task_wait(&task), -ECANCELED);
		close(client);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* A mistake, but one that gets an answer: the place of the closed listener has gone to a connection. */
T_ON_EACH_IO(accept, on_a_handle_that_names_a_connection_now_is_refused)
{
	enum { CONNECTIONS = 300 };
	struct net net = net_listen(1, kind);
	skua_addr unused;
	struct accepting stale = {.listener = listen_on(net.rt, "127.0.0.1", NULL, &unused)};
	static skua_tcp *conns[CONNECTIONS];
	int found = 0;

	skua_listener_close(stale.listener);
	T_EQ(run(net.rt, op_accept, &stale), -EBADF);
	for (int i = 0; i < CONNECTIONS; i++) {
		struct accepting accepting = {.listener = net.listener};
		int client = connect_to(&net.addr);

		T_EQ(run(net.rt, op_accept, &accepting), 0);
		conns[i] = accepting.conn;
		found += (void *)conns[i] == (void *)stale.listener;
		T_EQ(run(net.rt, op_accept, &stale), -EBADF);
		close(client);
	}
	T_EQ(found, 1);
	for (int i = 0; i < CONNECTIONS; i++)
		skua_tcp_close(conns[i]);
	net_close(&net);
}
