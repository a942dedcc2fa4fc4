/*
 * main.c - skua-peer-epoll: one thread and epoll, nothing else. What a runtime can at best come to.
 *
 * Edge-triggered and registered once: a connection costs one epoll_ctl, a request one recv and one
 * send. A read that does not fill the buffer has emptied the socket, so there is no recv that says
 * EAGAIN; only when the peer has ended its stream, which an edge that was already seen may have
 * told, reading goes on to the end.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "../net_http.h"
#include "../net_server.h"

enum { EVENTS = 512 };

struct connection {
	int fd;
	bool readable;             /* a recv may find something: no event is to come */
	bool hung_up;              /* the peer has ended its stream: stays readable */
	uint8_t state;             /* http: an enum http_state */
	uint32_t sent, n;          /* echo: of the n bytes read */
	struct http_buffers *http; /* NULL only with --lean, while it waits for a request */
	char *echo;
	struct connection *next; /* in the list of those that may be used again */
};

static struct server_options options;
static struct connection *unused;
static int epoll_fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- Connections ---- */

static struct connection *connection_new(int fd)
{
	struct connection *self = unused;
	size_t size = options.echo ? ECHO_BUFFER : sizeof(struct http_buffers);

	if (self != NULL) {
		unused = self->next;
	} else {
		self = calloc(1, sizeof *self + (options.lean ? 0 : size));
		if (self == NULL)
			return NULL;
	}
	self->fd = fd;
	self->readable = self->hung_up = false;
	self->state = HTTP_READ;
	self->sent = self->n = 0;
	if (options.echo) {
		self->echo = (char *)(self + 1);
	} else if (!options.lean) {
		self->http = (struct http_buffers *)(void *)(self + 1);
		http_init(self->http);
	}
	return self;
}

static void connection_end(struct connection *self)
{
	close(self->fd);
	if (options.lean && !options.echo) {
		free(self->http);
		self->http = NULL;
	}
	self->next = unused;
	unused = self;
}

/* Reads if there may be something. Returns how much; 0: an event will come; negative: the end. */
static ssize_t receive(struct connection *self, char *buffer, size_t size)
{
	ssize_t n;

	if (!self->readable)
		return 0;
	n = recv(self->fd, buffer, size, 0);
	if (n > 0) {
		self->readable = self->hung_up || (size_t)n == size;
		return n;
	}
	if (n == 0 || errno != EAGAIN)
		return -1;
	self->readable = false;
	return 0;
}

/* Writes what it can. Returns how much, which may be nothing; negative: the end. */
static ssize_t transmit(const struct connection *self, const char *bytes, size_t size)
{
	ssize_t n = send(self->fd, bytes, size, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n;
}

/* ---- http ---- */

/* Goes on until it has to wait, with these buffers. False: the connection is to end. */
static bool http_go_on(struct connection *self, struct http_buffers *buffers)
{
	for (;;) {
		ssize_t n;

		if (buffers->sent < buffers->unsent) {
			size_t size = buffers->unsent - buffers->sent;

			n = transmit(self, buffers->out + buffers->sent, size);
			if (n < 0)
				return false;
			buffers->sent += (uint32_t)n;
			if ((size_t)n < size)
				return true;
			buffers->sent = buffers->unsent = 0;
		}
		if (self->state == HTTP_CLOSE)
			return false;
		if (self->state == HTTP_READ) {
			n = receive(self, buffers->in + buffers->used,
				    sizeof buffers->in - buffers->used);
			if (n <= 0)
				return n == 0;
			buffers->used += (uint32_t)n;
		}
		self->state = (uint8_t)http_answer(buffers, options.spin);
	}
}

/* With buffers on the stack as long as there is nothing to keep in them. */
static bool http_go_on_lean(struct connection *self)
{
	struct http_buffers stack;

	if (self->http == NULL) {
		http_init(&stack);
		if (!http_go_on(self, &stack))
			return false;
		if (http_is_empty(&stack))
			return true;
		self->http = malloc(sizeof *self->http);
		if (self->http == NULL)
			return false;
		http_copy(self->http, &stack);
		return true;
	}
	if (!http_go_on(self, self->http))
		return false;
	if (http_is_empty(self->http)) {
		free(self->http);
		self->http = NULL;
	}
	return true;
}

/* ---- echo ---- */

static bool echo_go_on(struct connection *self)
{
	for (;;) {
		ssize_t n;

		if (self->sent < self->n) {
			n = transmit(self, self->echo + self->sent, self->n - self->sent);
			if (n < 0)
				return false;
			self->sent += (uint32_t)n;
			if (self->sent < self->n)
				return true;
		}
		n = receive(self, self->echo, ECHO_BUFFER);
		if (n <= 0)
			return n == 0;
		self->sent = 0;
		self->n = (uint32_t)n;
	}
}

/* ---- The loop ---- */

static bool go_on(struct connection *self)
{
	if (options.echo)
		return echo_go_on(self);
	return options.lean ? http_go_on_lean(self) : http_go_on(self, self->http);
}

static void on_event(struct connection *self, uint32_t events)
{
	if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		self->hung_up = self->readable = true;
	if ((events & EPOLLIN) != 0)
		self->readable = true;
	if (!go_on(self))
		connection_end(self);
}

static void on_accept(int listener)
{
	for (;;) {
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			/* Out of descriptors: the listener stays ready; no spinning meanwhile. */
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			    errno == ENOBUFS)
				usleep(1000);
			else if (errno != EAGAIN)
				continue;
			return;
		}
		event.data.ptr = connection_new(fd);
		if (event.data.ptr == NULL)
			close(fd);
		else if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			connection_end(event.data.ptr);
	}
}

/* Accepted sockets inherit TCP_NODELAY. */
static int start_listening(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t size = sizeof addr;
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons((uint16_t)options.port);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(fd, SERVER_BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &size) < 0)
		die("listening");
	server_say_port(ntohs(addr.sin_port));
	return fd;
}

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	struct utsname kernel;
	int listener;

	if (argc < 2 || strcmp(argv[1], "net") != 0)
		server_usage();
	options = server_read_options(argc - 1, argv + 1, "epoll",
				      uname(&kernel) == 0 ? kernel.release : "");
	server_prepare();
	server_watch_input();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	listener = start_listening();
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
		die("epoll");
	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS, -1);

		if (count < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL)
				on_accept(listener);
			else
				on_event(events[i].data.ptr, events[i].events);
		}
	}
}
