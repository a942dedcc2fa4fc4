/*
 * main.c - skua-peer-libuv: libuv's streams on its loop, in one thread.
 *
 * Reads go into the connection's own buffer; with --lean into one that all share, since libuv asks
 * for a buffer only when there is something to read. Answers are written at once by uv_try_write;
 * what the kernel has no room for by uv_write, and until then nothing more is read.
 */
#include <netinet/in.h>
#include <uv.h>

#include "../net_http.h"
#include "../net_server.h"

struct connection {
	uv_tcp_t tcp; /* first: the address of both is the same */
	uv_write_t write;
	enum http_state state;
	struct http_buffers *http; /* NULL only with --lean, while it waits for a request */
	char *echo;
};

static struct server_options options;
static struct http_buffers shared; /* with --lean, between two events nothing is in it */

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, uv_strerror(rc));
	exit(1);
}

static uv_stream_t *stream_of(struct connection *self)
{
	return (uv_stream_t *)&self->tcp;
}

static void on_close(uv_handle_t *handle)
{
	struct connection *self = handle->data;

	if (options.lean && !options.echo)
		free(self->http);
	free(self);
}

static void end(struct connection *self)
{
	if (!uv_is_closing((uv_handle_t *)&self->tcp))
		uv_close((uv_handle_t *)&self->tcp, on_close);
}

/* Writes what it can at once. Returns how much, which may be nothing; negative: the end. */
static int transmit(struct connection *self, char *bytes, size_t size)
{
	uv_buf_t buf = uv_buf_init(bytes, (unsigned)size);
	int n = uv_try_write(stream_of(self), &buf, 1);

	return n == UV_EAGAIN ? 0 : n;
}

/* Writes the rest as soon as there is room, and reads nothing until `done` starts it again. */
static void transmit_later(struct connection *self, char *bytes, size_t size, uv_write_cb done)
{
	uv_buf_t buf = uv_buf_init(bytes, (unsigned)size);

	uv_read_stop(stream_of(self));
	if (uv_write(&self->write, stream_of(self), &buf, 1, done) < 0)
		end(self);
}

/* ---- http ---- */

static void http_written(uv_write_t *request, int status);

/* Writes answers until there are none, or no room. Returns whether reading may go on; what could
 * not be written is in self->http then. */
static bool http_go_on(struct connection *self, struct http_buffers *buffers)
{
	while (buffers->sent < buffers->unsent) {
		size_t size = buffers->unsent - buffers->sent;
		int n = transmit(self, buffers->out + buffers->sent, size);

		if (n < 0) {
			end(self);
			return false;
		}
		buffers->sent += (uint32_t)n;
		if ((size_t)n < size)
			break;
		buffers->sent = buffers->unsent = 0;
		if (self->state == HTTP_ROOM)
			self->state = http_answer(buffers, options.spin);
	}
	if (self->state == HTTP_CLOSE && buffers->sent == buffers->unsent) {
		end(self);
		return false;
	}
	if (self->http == NULL && !http_is_empty(buffers)) {
		self->http = malloc(sizeof *self->http);
		if (self->http == NULL) {
			end(self);
			return false;
		}
		http_copy(self->http, buffers);
		buffers = self->http;
	}
	if (buffers->sent < buffers->unsent) {
		transmit_later(self, buffers->out + buffers->sent, buffers->unsent - buffers->sent,
			       http_written);
		return false;
	}
	if (options.lean && self->http != NULL && http_is_empty(self->http)) {
		free(self->http);
		self->http = NULL;
	}
	return true;
}

static void http_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct connection *self = handle->data;
	struct http_buffers *buffers = self->http;

	(void)suggested;
	if (buffers == NULL) {
		buffers = &shared;
		http_init(buffers);
	}
	*buf = uv_buf_init(buffers->in + buffers->used,
			   (unsigned)(sizeof buffers->in - buffers->used));
}

static void http_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct connection *self = stream->data;
	struct http_buffers *buffers = self->http != NULL ? self->http : &shared;

	(void)buf;
	if (n < 0)
		end(self);
	if (n <= 0)
		return;
	buffers->used += (uint32_t)n;
	self->state = http_answer(buffers, options.spin);
	(void)http_go_on(self, buffers);
}

static void http_written(uv_write_t *request, int status)
{
	struct connection *self = request->handle->data;

	if (status < 0) {
		end(self);
		return;
	}
	self->http->sent = self->http->unsent = 0;
	if (self->state == HTTP_ROOM)
		self->state = http_answer(self->http, options.spin);
	if (http_go_on(self, self->http) &&
	    uv_read_start(stream_of(self), http_allocate, http_read) < 0)
		end(self);
}

/* ---- echo ---- */

static void echo_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct connection *self = handle->data;

	(void)suggested;
	*buf = uv_buf_init(self->echo, ECHO_BUFFER);
}

static void echo_written(uv_write_t *request, int status);

static void echo_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct connection *self = stream->data;
	int written;

	(void)buf;
	if (n < 0)
		end(self);
	if (n <= 0)
		return;
	written = transmit(self, self->echo, (size_t)n);
	if (written < 0)
		end(self);
	else if (written < n)
		transmit_later(self, self->echo + written, (size_t)(n - written), echo_written);
}

static void echo_written(uv_write_t *request, int status)
{
	struct connection *self = request->handle->data;

	if (status < 0 || uv_read_start(stream_of(self), echo_allocate, echo_read) < 0)
		end(self);
}

/* ---- Accepting ---- */

static struct connection *connection_new(void)
{
	size_t size = options.echo ? ECHO_BUFFER : sizeof(struct http_buffers);
	struct connection *self;

	if (options.lean && !options.echo)
		size = 0;
	self = malloc(sizeof *self + size);
	if (self == NULL)
		return NULL;
	self->state = HTTP_READ;
	self->http = NULL;
	self->echo = NULL;
	if (options.echo) {
		self->echo = (char *)(self + 1);
	} else if (!options.lean) {
		self->http = (struct http_buffers *)(void *)(self + 1);
		http_init(self->http);
	}
	return self;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct connection *self;
	int rc;

	if (status < 0)
		return;
	self = connection_new();
	if (self == NULL)
		return;
	must(uv_tcp_init(listener->loop, &self->tcp), "uv_tcp_init");
	self->tcp.data = self;
	rc = uv_accept(listener, stream_of(self));
	if (rc == 0 && options.echo)
		rc = uv_read_start(stream_of(self), echo_allocate, echo_read);
	else if (rc == 0)
		rc = uv_read_start(stream_of(self), http_allocate, http_read);
	if (rc < 0)
		end(self);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr;
	int size = sizeof addr;
	uv_loop_t *loop = uv_default_loop();
	uv_tcp_t listener;

	if (argc < 2 || strcmp(argv[1], "net") != 0)
		server_usage();
	options = server_read_options(argc - 1, argv + 1, "libuv", uv_version_string());
	server_prepare();
	server_watch_input();
	must(uv_tcp_init(loop, &listener), "uv_tcp_init");
	must(uv_ip4_addr("127.0.0.1", options.port, &addr), "uv_ip4_addr");
	must(uv_tcp_bind(&listener, (struct sockaddr *)&addr, 0), "uv_tcp_bind");
	/* Of the listener: accepted sockets inherit it, and it is not set on them again. */
	must(uv_tcp_nodelay(&listener, 1), "uv_tcp_nodelay");
	must(uv_listen((uv_stream_t *)&listener, SERVER_BACKLOG, on_connection), "uv_listen");
	must(uv_tcp_getsockname(&listener, (struct sockaddr *)&addr, &size), "uv_tcp_getsockname");
	server_say_port(ntohs(addr.sin_port));
	return uv_run(loop, UV_RUN_DEFAULT);
}
