/*
 * examples/happy_eyeballs.c - a connection to whichever of several addresses answers first: each
 * attempt begins when the one before it has failed, or 250 ms later (RFC 8305, "Happy Eyeballs").
 *
 * A race of any number of futures (skua_group_race_ok) is ready with the first one that is no error;
 * the others are cancelled, and awaited. Here the first address refuses connections, the second is
 * a listener of this program, and the third is never tried.
 *
 * It prints:
 *
 *     attempt 0: connection refused
 *     attempt 1: connected
 *     attempt 2: not needed
 *     race_ok: 1
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <skua.h>

enum { ATTEMPTS = 3 };

#define DELAY (250 * SKUA_MSEC)

/* ---- One attempt ---- */

struct attempt {
	skua_coro co;
	skua_addr addr;
	skua_token *failed; /* the one before it; NULL: there is none */
	skua_token *fails;  /* what is cancelled when this one fails */
	skua_timer timer;
	skua_token_waiter waiter;
	skua_tcp *conn;
	uint64_t begins; /* at the latest */
	int64_t rc;
	int number;
};

/* Its result is its number. The connection is in the struct then. */
static skua_poll attempt(skua_cx *cx, struct attempt *self)
{
	SKUA_BEGIN(self);
	/* A token that is cancelled makes -EINTR of it, and then it is our turn as well. */
	SKUA_AWAIT(self->rc = skua_with_token(cx, &self->waiter, self->failed,
					      skua_sleep_until(cx, &self->timer, self->begins)));
	if (self->rc == 0 || self->rc == -EINTR)
		SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->conn));
	if (self->rc < 0)
		skua_token_cancel(self->fails);
	SKUA_END(self->rc < 0 ? self->rc : self->number);
}
SKUA_CORO(attempt, struct attempt);

/* ---- All of them: a future that is made, and may be awaited anywhere ---- */

struct attempts {
	struct attempt attempts[ATTEMPTS];
	skua_branch branches[ATTEMPTS];
	skua_token *failed[ATTEMPTS];
	skua_group group;
};

static int attempts_init(struct attempts *all, const skua_addr *addrs, uint64_t now)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		int rc = skua_token_new(NULL, &all->failed[i]);

		if (rc < 0)
			return rc;
		all->attempts[i] = (struct attempt){.co = SKUA_CORO_INIT(attempt),
						    .addr = addrs[i],
						    .failed = i > 0 ? all->failed[i - 1] : NULL,
						    .fails = all->failed[i],
						    .begins = now + (uint64_t)i * DELAY,
						    .number = i};
		all->branches[i].future = &all->attempts[i].co;
	}
	return skua_group_race_ok(&all->group, all->branches, ATTEMPTS, SKUA_IN_ORDER);
}

static void attempts_release(struct attempts *all)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		/* Two of them can have connected in the same poll: a loser's is ours as well. */
		skua_tcp_close(all->attempts[i].conn);
		skua_token_release(all->failed[i]);
	}
}

/* ---- Addresses of this machine: one that refuses, one that listens ---- */

static int addresses(skua_runtime *rt, skua_addr *addrs, skua_listener **listener)
{
	skua_listener *closed;
	int rc = skua_addr_parse(&addrs[1], "127.0.0.1", 0);

	if (rc < 0 || (rc = skua_listen(rt, &addrs[1], NULL, &closed)) < 0)
		return rc;
	rc = skua_listener_addr(closed, &addrs[0]);
	if (rc == 0)
		rc = skua_listen(rt, &addrs[1], NULL, listener);
	skua_listener_close(closed); /* a port of our own that nobody listens on any more */
	if (rc == 0)
		rc = skua_listener_addr(*listener, &addrs[1]);
	addrs[2] = addrs[0];
	return rc;
}

int main(void)
{
	static struct attempts all;
	skua_addr addrs[ATTEMPTS];
	skua_listener *listener = NULL;
	skua_config config;
	skua_runtime *rt;
	int64_t winner;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	if (addresses(rt, addrs, &listener) < 0 || attempts_init(&all, addrs, skua_now()) < 0)
		return 1;
	winner = skua_block_on(rt, &all.group.future);
	for (int i = 0; i < ATTEMPTS; i++)
		printf("attempt %d: %s\n", i,
		       i == winner  ? "connected"
		       : i < winner ? skua_strerror(all.branches[i].result)
				    : "not needed");
	printf("race_ok: %d\n", (int)winner);
	attempts_release(&all);
	skua_listener_close(listener);
	return skua_runtime_free(rt) < 0 || winner != 1;
}
