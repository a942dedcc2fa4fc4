/* plan.c - which fault is armed, and the table of what can fail with which error. */
#include "faults.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKUA(call, error, flags)                                                                   \
	{                                                                                          \
		CALL_##call, FROM_SKUA, error, flags                                               \
	}
#define LIBUV(call, error, flags)                                                                  \
	{                                                                                          \
		CALL_##call, FROM_LIBUV, error, flags                                              \
	}

/*
 * Not here, because no kernel does it: EAGAIN for a socket that is ready (the descriptor is
 * edge-triggered, so no second edge would come), a recv that leaves something in a stream for no reason
 * ("short reads" in io/source.h), an endless row of EINTR or of futex waits whose value has changed, a
 * clock or a yield that fails. And not here because libuv has no answer but
 * abort(): epoll_ctl inside its loop (its check of a new uv_poll_t is here), reads and writes of its
 * eventfd that fail otherwise than by EINTR.
 */
const struct fault_rule fault_rules[] = {
	SKUA(memory, ENOMEM, 0),

	SKUA(socket, EMFILE, 0),
	SKUA(socket, ENFILE, 0),
	SKUA(socket, ENOBUFS, 0),
	SKUA(socket, ENOMEM, 0),
	SKUA(setsockopt, ENOBUFS, 0),
	SKUA(setsockopt, ENOMEM, 0),
	SKUA(setsockopt, EINVAL, 0),
	SKUA(bind, EADDRINUSE, 0),
	SKUA(bind, EACCES, 0),
	SKUA(bind, ENOMEM, 0),
	SKUA(listen, EADDRINUSE, 0),
	SKUA(listen, ENOBUFS, 0),
	SKUA(accept4, EMFILE, RULE_ABSORBED | RULE_WAITS),
	SKUA(accept4, ENFILE, RULE_ABSORBED | RULE_WAITS),
	SKUA(accept4, ENOBUFS, RULE_ABSORBED | RULE_WAITS),
	SKUA(accept4, ENOMEM, RULE_ABSORBED | RULE_WAITS),
	SKUA(accept4, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(accept4, ECONNABORTED, RULE_ABSORBED | RULE_WAITS),
	SKUA(accept4, EPROTO, RULE_ABSORBED | RULE_WAITS),
	SKUA(accept4, EINVAL, 0),
	SKUA(connect, ECONNREFUSED, 0),
	SKUA(connect, ENETUNREACH, 0),
	SKUA(connect, EADDRNOTAVAIL, 0),
	SKUA(connect, ENOBUFS, 0),
	SKUA(connect, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(getsockopt, ENOBUFS, 0),
	SKUA(getsockopt, ENOMEM, 0),
	SKUA(so_error, ECONNREFUSED, 0),
	SKUA(so_error, ETIMEDOUT, 0),
	SKUA(so_error, ECONNRESET, 0),
	SKUA(getpeername, ENOBUFS, 0),
	SKUA(getsockname, ENOBUFS, 0),
	SKUA(recv, ECONNRESET, 0),
	SKUA(recv, ENOMEM, 0),
	SKUA(recv, ENOBUFS, 0),
	SKUA(recv, EINTR, RULE_ONCE),
	SKUA(send, ECONNRESET, 0),
	SKUA(send, EPIPE, 0),
	SKUA(send, ENOBUFS, 0),
	SKUA(send, ENOMEM, 0),
	SKUA(send, EINTR, RULE_ONCE),
	SKUA(send, FAULT_SHORT, RULE_ABSORBED),
	SKUA(sendmsg, ECONNRESET, 0),
	SKUA(sendmsg, EPIPE, 0),
	SKUA(sendmsg, ENOBUFS, 0),
	SKUA(sendmsg, ENOMEM, 0),
	SKUA(sendmsg, EINTR, RULE_ONCE),
	SKUA(sendmsg, FAULT_SHORT, RULE_ABSORBED),
	SKUA(shutdown, ENOTCONN, 0),
	SKUA(close, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(close, EIO, RULE_ABSORBED),
	SKUA(fcntl64, EBADF, 0),
	SKUA(fstat64, EBADF, 0),
	SKUA(fstat64, ENOMEM, 0),

	SKUA(pipe, EMFILE, 0),
	SKUA(pipe, ENFILE, 0),
	SKUA(epoll_create1, EMFILE, 0),
	SKUA(epoll_create1, ENFILE, 0),
	SKUA(epoll_create1, ENOMEM, 0),
	SKUA(epoll_ctl, ENOMEM, 0),
	SKUA(epoll_ctl, ENOSPC, 0),
	SKUA(epoll_wait, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(epoll_pwait2, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(epoll_pwait2, ENOSYS, RULE_ABSORBED),
	SKUA(epoll_pwait2, EPERM, RULE_ABSORBED),
	SKUA(eventfd, EMFILE, 0),
	SKUA(eventfd, ENFILE, 0),
	SKUA(eventfd, ENOMEM, 0),

	SKUA(pthread_create, EAGAIN, 0),
	SKUA(pthread_create, ENOMEM, 0),
	SKUA(pthread_setname_np, ENOENT, RULE_ABSORBED),
	SKUA(futex_wait, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(futex_wait, EAGAIN, RULE_ABSORBED | RULE_ONCE),
	SKUA(sched_getaffinity, EINVAL, 0),
	SKUA(sched_getaffinity, EPERM, 0),
	SKUA(sched_setaffinity, EINVAL, RULE_ABSORBED),
	SKUA(sched_setaffinity, EPERM, RULE_ABSORBED),
	SKUA(open64, EACCES, RULE_ABSORBED),
	SKUA(open64, EMFILE, RULE_ABSORBED),
	SKUA(open64, ENFILE, RULE_ABSORBED),
	SKUA(open64, ENOENT, RULE_ABSORBED),
	SKUA(open64, ENOMEM, RULE_ABSORBED),
	SKUA(open64, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(read, EIO, RULE_ABSORBED),
	SKUA(read, ENODEV, RULE_ABSORBED),
	SKUA(read, EINTR, RULE_ABSORBED | RULE_ONCE),
	SKUA(read, FAULT_SHORT, RULE_ABSORBED),
	SKUA(write, EAGAIN, RULE_ABSORBED),
	SKUA(write, EIO, RULE_ABSORBED),

	LIBUV(epoll_create1, EMFILE, 0),
	LIBUV(epoll_create1, ENFILE, 0),
	LIBUV(epoll_create1, ENOMEM, 0),
	LIBUV(epoll_ctl, ENOMEM, 0),
	LIBUV(epoll_ctl, ENOSPC, 0),
	LIBUV(epoll_pwait, EINTR, RULE_ABSORBED | RULE_ONCE),
	LIBUV(eventfd, EMFILE, 0),
	LIBUV(eventfd, ENFILE, 0),
	LIBUV(eventfd, ENOMEM, 0),
	LIBUV(pipe2, EMFILE, 0),
	LIBUV(pipe2, ENFILE, 0),
	LIBUV(read, EINTR, RULE_ABSORBED | RULE_ONCE),
	LIBUV(write, EINTR, RULE_ABSORBED | RULE_ONCE),
	LIBUV(close, EINTR, RULE_ABSORBED | RULE_ONCE),
};

const int fault_rule_count = sizeof fault_rules / sizeof *fault_rules;

/* ---- Names ---- */

static const char *const call_names[] = {
#define X(name) #name,
	FAULT_CALLS(X)
#undef X
};

const char *fault_error_name(int error)
{
	const char *name = error == FAULT_SHORT ? "short" : strerrorname_np(error);

	return name != NULL ? name : "unknown";
}

static void rule_format(const struct fault_rule *rule, int index, char *text, size_t size)
{
	snprintf(text, size, "%s%s:%d:%s", rule->origin == FROM_LIBUV ? "uv." : "",
		 call_names[rule->call], index, fault_error_name(rule->error));
}

void fault_format(const struct fault *fault, char *text, size_t size)
{
	char start[64];

	rule_format(&fault_rules[fault->rule], fault->index, start, sizeof start);
	snprintf(text, size, "%s:%s", start, fault->for_good ? "forgood" : "once");
}

bool fault_parse(const char *text, struct fault *fault)
{
	const char *colon = strchr(text, ':');
	char expected[80];

	if (colon == NULL)
		return false;
	fault->index = atoi(colon + 1);
	for (fault->rule = 0; fault->rule < fault_rule_count; fault->rule++)
		for (int mode = 0; mode < 2; mode++) {
			fault->for_good = mode == 1;
			fault_format(fault, expected, sizeof expected);
			if (strcmp(text, expected) == 0)
				return fault->index > 0;
		}
	return false;
}

/* ---- The plan ---- */

static struct {
	atomic_int counting; /* also while nothing is to fail */
	atomic_int call, origin;
	atomic_int error, index, for_good;
	atomic_int seen;
	atomic_int calls[FAULT_CALL_COUNT][2];
} plan;

static atomic_int own_delivered;
static atomic_int *delivered = &own_delivered;

void fault_count_into(atomic_int *place)
{
	delivered = place;
}

void fault_arm(const struct fault *fault)
{
	const struct fault_rule *rule = fault != NULL ? &fault_rules[fault->rule] : NULL;

	plan.call = rule != NULL ? (int)rule->call : -1;
	plan.origin = rule != NULL ? (int)rule->origin : -1;
	plan.error = rule != NULL ? rule->error : 0;
	plan.index = fault != NULL ? fault->index : 0;
	plan.for_good = fault != NULL && fault->for_good;
	plan.seen = 0;
	*delivered = 0;
	for (int i = 0; i < FAULT_CALL_COUNT; i++)
		plan.calls[i][0] = plan.calls[i][1] = 0;
	plan.counting = 1;
}

void fault_pause(void)
{
	plan.counting = 0;
}

void fault_resume(void)
{
	plan.counting = 1;
}

void fault_disarm(void)
{
	plan.counting = 0;
	plan.call = -1;
}

int fault_delivered(void)
{
	return *delivered;
}

int fault_calls(const struct fault_rule *rule)
{
	return plan.calls[rule->call][rule->origin];
}

int fault_at(enum fault_call call, enum fault_origin origin)
{
	int number;

	if (!plan.counting)
		return 0;
	plan.calls[call][origin]++;
	if (plan.call != (int)call || plan.origin != (int)origin)
		return 0;
	number = ++plan.seen;
	if (number != plan.index && !(plan.for_good && number > plan.index))
		return 0;
	(*delivered)++;
	return plan.error;
}
