/*
 * examples/http_hello.c - an HTTP/1.1 server that says "Hello, World!", made to be measured.
 *
 * Each connection is one coroutine that reads, answers everything that it has read, and writes all
 * the answers at once: requests that arrive together (pipelining) cost one read and one write. The
 * packaged http_parser takes the requests apart, whatever pieces they arrive in. The answers are
 * constant bytes; nothing is allocated for a request, and nothing is locked.
 *
 * What a server needs besides is here too: limits on the head (8 KiB, then 431) and on the body
 * (1 MiB, then 413; a smaller one is read and ignored), keep-alive by the rules of HTTP/1.1 and
 * 1.0, a limit on waiting, and a close that lets the peer read the last answer. For the sake of
 * constant bytes there is no Date header.
 */
#include <errno.h>
#include <http_parser.h>
#include <string.h>

#include "common.h"

enum {
	HEAD_MAX = 8 * 1024,
	BODY_MAX = 1024 * 1024,
	ANSWER_MAX = 256, /* the longest answer is shorter than this */
	PATH_KEPT = 16,   /* as much of a path is looked at: more than our longest */
};

#define LINGER_TIME (1 * SKUA_SEC) /* how long a refused peer may take to stop sending */

static uint64_t idle_time; /* nanoseconds that a peer may be silent; set before the first task */

/* ---- The answers ---- */

enum answer_kind { OK, NOT_FOUND, NOT_ALLOWED, BAD_REQUEST, TOO_LARGE, HEAD_TOO_LARGE };

/* What an answer says of the connection: in HTTP/1.1 keeping it needs no word, in 1.0 it does. */
enum keep { KEEP, KEEP_1_0, CLOSE };

struct answer {
	const char *bytes;
	size_t head; /* how many of them answer a HEAD */
	size_t size;
};

#define ANSWER(head, body)                                                                         \
	{                                                                                          \
		head "\r\n" body, sizeof head "\r\n" - 1, sizeof head "\r\n" body - 1              \
	}
#define ANSWERS(head, body)                                                                        \
	{                                                                                          \
		[KEEP] = ANSWER(head, body),                                                       \
		[KEEP_1_0] = ANSWER(head "Connection: keep-alive\r\n", body),                      \
		[CLOSE] = ANSWER(head "Connection: close\r\n", body),                              \
	}
#define HEAD(status, length)                                                                       \
	"HTTP/1.1 " status "\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n"

static const struct answer answers[][3] = {
	[OK] = ANSWERS(HEAD("200 OK", "13"), "Hello, World!"),
	[NOT_FOUND] = ANSWERS(HEAD("404 Not Found", "10"), "Not Found\n"),
	[NOT_ALLOWED] = ANSWERS(HEAD("405 Method Not Allowed", "19") "Allow: GET, HEAD\r\n",
				"Method Not Allowed\n"),
	[BAD_REQUEST] = ANSWERS(HEAD("400 Bad Request", "12"), "Bad Request\n"),
	[TOO_LARGE] = ANSWERS(HEAD("413 Payload Too Large", "18"), "Payload Too Large\n"),
	[HEAD_TOO_LARGE] = ANSWERS(HEAD("431 Request Header Fields Too Large", "32"),
				   "Request Header Fields Too Large\n"),
};

/* ---- One connection ---- */

struct connection {
	skua_coro co;
	skua_tcp *conn;
	skua_timer timer;
	uint64_t linger_until;
	int64_t n;     /* bytes read, or the error */
	int64_t sent;  /* bytes written, or the error */
	size_t parsed; /* how many of the bytes read the parser has seen */
	size_t unsent; /* bytes of answers in `out` */
	http_parser parser;
	uint32_t body; /* bytes of this request's body so far */
	uint8_t path_length;
	uint8_t closing; /* no more requests are taken */
	uint8_t refused; /* and the peer may still be sending this one */
	char path[PATH_KEPT];
	char in[4096];
	char out[4096];
};

static void append(struct connection *self, const char *bytes, size_t size)
{
	memcpy(self->out + self->unsent, bytes, size);
	self->unsent += size;
}

/* Answers a request that will not be read to its end; the connection ends with it. */
static void refuse(struct connection *self, enum answer_kind kind)
{
	append(self, answers[kind][CLOSE].bytes, answers[kind][CLOSE].size);
	self->closing = 1;
	self->refused = 1;
}

static int path_is(const struct connection *self, const char *path)
{
	const char *query = memchr(self->path, '?', self->path_length);
	size_t length = query ? (size_t)(query - self->path) : self->path_length;

	return length == strlen(path) && memcmp(self->path, path, length) == 0;
}

static enum answer_kind find_answer(const struct connection *self)
{
	if (!path_is(self, "/") && !path_is(self, "/plaintext"))
		return NOT_FOUND;
	if (self->parser.method != HTTP_GET && self->parser.method != HTTP_HEAD)
		return NOT_ALLOWED;
	return OK;
}

/* Answers a request that has been understood. */
static void answer_request(struct connection *self)
{
	const http_parser *parser = &self->parser;
	const struct answer *answer;
	enum keep keep = CLOSE;

	if (http_should_keep_alive(parser))
		keep = parser->http_minor == 0 ? KEEP_1_0 : KEEP;
	answer = &answers[find_answer(self)][keep];
	append(self, answer->bytes, parser->method == HTTP_HEAD ? answer->head : answer->size);
}

/* ---- What the parser calls ---- */

static int on_message_begin(http_parser *parser)
{
	struct connection *self = parser->data;

	self->path_length = 0;
	self->body = 0;
	return 0;
}

/* A path may come in pieces; one that does not fit is kept as far as it does. */
static int on_url(http_parser *parser, const char *piece, size_t size)
{
	struct connection *self = parser->data;
	size_t room = sizeof self->path - self->path_length;

	if (size > room)
		size = room;
	memcpy(self->path + self->path_length, piece, size);
	self->path_length += (uint8_t)size;
	return 0;
}

/*
 * The head is complete, and says enough for an answer; so a client that waits for one before it
 * sends its body (Expect: 100-continue) has it now. Only a body of unknown length has to be seen
 * first: it may be too large.
 */
static int on_headers_complete(http_parser *parser)
{
	struct connection *self = parser->data;

	parser->upgrade = 0; /* offers of another protocol are declined by going on with this one */
	if ((parser->flags & F_CONTENTLENGTH) && parser->content_length > BODY_MAX) {
		refuse(self, TOO_LARGE);
		return -1;
	}
	if (!(parser->flags & F_CHUNKED))
		answer_request(self);
	return 0;
}

static int on_body(http_parser *parser, const char *piece, size_t size)
{
	struct connection *self = parser->data;

	(void)piece;
	self->body += (uint32_t)size;
	if (self->body <= BODY_MAX)
		return 0;
	refuse(self, TOO_LARGE);
	return -1;
}

static int on_message_complete(http_parser *parser)
{
	struct connection *self = parser->data;

	if (parser->flags & F_CHUNKED)
		answer_request(self);
	self->closing = !http_should_keep_alive(parser);
	if (self->closing || sizeof self->out - self->unsent < ANSWER_MAX)
		http_parser_pause(parser, 1); /* until there is room for another answer */
	return 0;
}

static const http_parser_settings callbacks = {
	.on_message_begin = on_message_begin,
	.on_url = on_url,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* Takes on what has been read and not been parsed, as far as there is room for the answers. */
static void parse(struct connection *self)
{
	http_parser *parser = &self->parser;

	http_parser_pause(parser, 0);
	self->parsed += http_parser_execute(parser, &callbacks, self->in + self->parsed,
					    (size_t)self->n - self->parsed);
	switch (HTTP_PARSER_ERRNO(parser)) {
	case HPE_OK:
	case HPE_PAUSED:
	case HPE_CB_headers_complete: /* refused by the callback */
	case HPE_CB_body:
		break;
	case HPE_HEADER_OVERFLOW:
		refuse(self, HEAD_TOO_LARGE);
		break;
	default:
		refuse(self, BAD_REQUEST);
	}
}

/* ---- The coroutine, and operations made of others ---- */

static skua_poll receive(skua_cx *cx, struct connection *self)
{
	return skua_timeout(cx, &self->timer, idle_time,
			    skua_read(cx, self->conn, self->in, sizeof self->in));
}

static skua_poll send_answers(skua_cx *cx, struct connection *self)
{
	return skua_timeout(cx, &self->timer, idle_time,
			    skua_write_all(cx, self->conn, self->out, self->unsent));
}

static skua_poll receive_while_lingering(skua_cx *cx, struct connection *self)
{
	return skua_deadline(cx, &self->timer, self->linger_until,
			     skua_read(cx, self->conn, self->in, sizeof self->in));
}

static skua_poll serve(skua_cx *cx, struct connection *self)
{
	SKUA_BEGIN(self);
	http_parser_init(&self->parser, HTTP_REQUEST);
	self->parser.data = self; /* from its first poll on, a future stays where it is */

	while (!self->closing) {
		SKUA_AWAIT(self->n = receive(cx, self));
		if (self->n <= 0)
			goto close;
		self->parsed = 0;
		while (self->parsed < (size_t)self->n && !self->closing) {
			parse(self);
			if (self->unsent == 0)
				break; /* no request is complete yet */
			SKUA_AWAIT(self->sent = send_answers(cx, self));
			if (self->sent < 0)
				goto close;
			self->unsent = 0;
		}
	}

	/* Bytes that nobody has read when a socket is closed make the kernel reset the connection,
	 * and the peer lose the answer; so a peer that was cut short is heard out for a while. */
	if (self->refused && skua_tcp_shutdown(self->conn) == 0) {
		self->linger_until = skua_now() + LINGER_TIME;
		do {
			SKUA_AWAIT(self->n = receive_while_lingering(cx, self));
		} while (self->n > 0);
	}
close:
	skua_tcp_close(self->conn);
	SKUA_END(0);
}
SKUA_CORO(serve, struct connection);

/* ---- The accepting task ---- */

struct accept_loop {
	skua_coro co;
	skua_listener *listener;
	skua_tcp *conn;
	int64_t rc;
};

/* A new task for a connection. It is detached: nobody waits for its result. */
static void serve_spawn(skua_runtime *runtime, skua_tcp *conn)
{
	struct connection task = {.co = SKUA_CORO_INIT(serve), .conn = conn};

	if (skua_spawn(runtime, &task.co, NULL) < 0)
		skua_tcp_close(conn);
}

static skua_poll accept_loop(skua_cx *cx, struct accept_loop *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->conn));
		if (self->rc < 0)
			break;
		serve_spawn(skua_cx_runtime(cx), self->conn);
	}
	skua_listener_close(self->listener);
	if (self->rc != -ECANCELED)
		server_stop();
	SKUA_END(self->rc);
}
SKUA_CORO(accept_loop, struct accept_loop);

int main(int argc, char **argv)
{
	struct server server = {.host = "127.0.0.1", .port = 8080, .workers = OPTION_UNSET};
	int64_t idle_ms = 60 * 1000;
	const struct option options[] = {
		SERVER_OPTIONS(server),
		OPTION_NUMBER("--idle-ms", "N", &idle_ms, 1, 24 * 60 * 60 * 1000,
			      "milliseconds after which a silent connection is closed"),
	};
	struct accept_loop loop = {.co = SKUA_CORO_INIT(accept_loop)};
	skua_task *accepting;
	int rc;

	options_read(argc, argv, "Says \"Hello, World!\" over HTTP/1.1, at / and at /plaintext.",
		     options, sizeof options / sizeof options[0]);
	idle_time = (uint64_t)idle_ms * SKUA_MSEC;
	http_parser_set_max_header_size(HEAD_MAX);
	server_start(&server);
	loop.listener = server.listener;
	rc = skua_spawn(server.runtime, &loop.co, &accepting);
	if (rc < 0)
		die(1, "cannot start accepting: %s", error_text(rc));
	return server_run(&server, accepting);
}
