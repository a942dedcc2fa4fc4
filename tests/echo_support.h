/* echo_support.h - a coroutine that sends back what comes, until the end of the stream, and closes. */
#ifndef SKUA_TESTS_ECHO_SUPPORT_H
#define SKUA_TESTS_ECHO_SUPPORT_H

#include "net_support.h"

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
	SKUA_END(self->n <= 0 ? self->n : self->rc);
}
SKUA_CORO(echo, struct echo);

#endif /* SKUA_TESTS_ECHO_SUPPORT_H */
