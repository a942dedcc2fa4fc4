/*
 * connections.c - one thread, one epoll, and many connections, at as little cost as possible: a
 * receive and a send for each request, and a wait for each set of events.
 *
 * Answers are recognised by their size, which the first one of a connection tells (by its
 * Content-Length). Later ones are counted through without being looked at, except for the digits of
 * their status, or the first and last byte of an echoed message. So no connection has a buffer for
 * receiving; and as messages that are sent differ in these bytes only, none has one for sending.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "load.h"

enum {
	AT_ONCE = 256,        /* connections that are being opened at a time */
	ADDRESSES = 16,       /* 127.0.0.1 and on, each with some 28,000 ports */
	HEAD_MAX = 1024,      /* the head of an answer */
	EVENTS = 256,         /* taken at a time */
	INPUT_SIZE = 1 << 18, /* so that all there is comes at once */
};

enum state {
	CLOSED,  /* not yet opened, or failed for good */
	FREE,    /* nothing is asked for */
	WAITING, /* `due` answers have to come, and `left` bytes to be sent */
};

enum role {
	BUSY,
	IDLE,
	STUCK,
};

struct connection {
	int fd;
	uint8_t state, role;
	uint8_t slow;      /* the request under way is for --slow-path */
	uint8_t wants_out; /* epoll tells when more can be sent */
	uint8_t first;     /* echo: the byte in the first message under way */
	uint32_t due;      /* answers */
	uint32_t size;     /* of an answer; 0: not known yet */
	uint32_t got;      /* bytes of the answer that is coming */
	uint32_t left;     /* bytes to be sent */
	const char *out;   /* here */
	char *head;        /* of the first answer, until it is complete */
	uint64_t since;    /* what the latency of the request under way is counted from */
	uint64_t next;     /* open loop: the number of the next request */
};

struct counts counts;

static enum phase {
	OPENING,  /* one request for each connection */
	RUNNING,  /* one after the other, or when due */
	DRAINING, /* no further ones, except those that were due before the end */
} phase;

static struct {
	int epoll;
	int source; /* the last address from which there were ports */
	struct connection *connections;
	struct connection *stuck;
	size_t waiting; /* busy and idle connections in this state */
	size_t alive;   /* busy connections that have not failed */
	char *requests, *slow_request, *stuck_request;
	uint32_t requests_size, slow_size, stuck_size;
	char *input;
	/* Of the open loop; requests have numbers, and the first is due at `start`. */
	uint64_t start, from, end;
	uint64_t released, total;
	uint64_t numbered; /* requests that might have been slow ones */
} run;

/* ---- Memory and requests ---- */

static void *allocate(size_t count, size_t size)
{
	void *block = calloc(count, size);

	if (block == NULL)
		die(1, "out of memory");
	return block;
}

/* As many requests in a row as are sent at once. */
static char *requests_for(const char *path, int64_t count, uint32_t *size)
{
	static const char format[] = "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n";
	int one = snprintf(NULL, 0, format, path, (int)plan.port);
	char *text = allocate((size_t)count * (size_t)one + 1, 1);

	for (int64_t i = 0; i < count; i++)
		snprintf(text + i * one, (size_t)one + 1, format, path, (int)plan.port);
	*size = (uint32_t)(count * one);
	return text;
}

void load_prepare(void)
{
	size_t count = (size_t)plan.connections + (size_t)plan.idle + 1;

	/* Otherwise the system may wake us 50 us late. */
	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (run.epoll < 0)
		die(1, "epoll_create1: %s", strerror(errno));
	run.input = allocate(INPUT_SIZE, 1);
	run.connections = allocate(count, sizeof *run.connections);
	run.stuck = &run.connections[count - 1];
	if (plan.echo) {
		run.requests_size = (uint32_t)(plan.pipeline * plan.size);
		run.requests = allocate(run.requests_size, 1);
	} else {
		run.requests = requests_for(plan.path, plan.pipeline, &run.requests_size);
	}
	if (plan.slow_path)
		run.slow_request = requests_for(plan.slow_path, 1, &run.slow_size);
	if (plan.stuck_path)
		run.stuck_request = requests_for(plan.stuck_path, 1, &run.stuck_size);
	for (size_t i = 0; i < count; i++) {
		struct connection *conn = &run.connections[i];

		conn->fd = -1;
		conn->role = i < (size_t)plan.connections ? BUSY : IDLE;
		conn->next = i;
		if (plan.echo)
			conn->size = (uint32_t)plan.size;
	}
	run.stuck->role = STUCK;
}

/*
 * Whether the next request is a slow one: multiples of the golden section are spread evenly over
 * an interval, so that this comes at nearly equal distances, but on every connection.
 */
static int next_is_slow(void)
{
	double place = (double)(run.numbered++ * UINT64_C(0x9E3779B97F4A7C15)) / 0x1p64;

	return plan.slow_path && place < plan.slow_percent / 100;
}

/* ---- Connections ---- */

static void set_waiting(struct connection *conn, enum state state)
{
	if (conn->role != STUCK)
		run.waiting += (size_t)(state == WAITING) - (size_t)(conn->state == WAITING);
	conn->state = (uint8_t)state;
}

static void connection_close(struct connection *conn)
{
	close(conn->fd);
	conn->fd = -1;
	conn->wants_out = 0;
	conn->due = conn->left = conn->got = 0;
}

/* The connection takes no further part. */
static void fail(struct connection *conn, const char *why)
{
	if (phase == OPENING)
		die(1, "a connection to port %d: %s", (int)plan.port, why);
	if (counts.errors++ == 0)
		fprintf(stderr, "net-load: the first error: %s\n", why);
	/* Of the open loop: those that wait for this connection will have no answer either. */
	if (conn->role == BUSY && plan.rate > 0)
		for (; conn->next < run.released; conn->next += (uint64_t)plan.connections)
			counts.errors++;
	connection_close(conn);
	set_waiting(conn, CLOSED);
	if (conn->role == BUSY && --run.alive == 0)
		die(1, "every connection has failed, the last one with: %s", why);
}

static void watch(struct connection *conn, int operation)
{
	struct epoll_event event = {.data.ptr = conn};

	event.events = EPOLLIN | EPOLLRDHUP | (conn->wants_out ? (uint32_t)EPOLLOUT : 0);
	if (epoll_ctl(run.epoll, operation, conn->fd, &event) < 0)
		die(1, "epoll_ctl: %s", strerror(errno));
}

/* Connects from 127.0.0.1, or from the next address if that has no ports left. */
static int connect_from(int fd, int source)
{
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan.port)};
	struct sockaddr_in client = {.sin_family = AF_INET};
	int on = 1;

	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (source > 0) {
		client.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)source);
		/* The port is chosen by connect, which need only be free for this server. */
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		if (bind(fd, (struct sockaddr *)&client, sizeof client) < 0)
			return -1;
	}
	return connect(fd, (struct sockaddr *)&server, sizeof server);
}

static void connection_open(struct connection *conn)
{
	int on = 1, tries;

	for (tries = 0; tries < ADDRESSES; tries++) {
		conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (conn->fd < 0)
			die(1, "socket: %s", strerror(errno));
		if (connect_from(conn->fd, run.source) == 0 || errno == EINPROGRESS)
			break;
		if (errno != EADDRNOTAVAIL) {
			fail(conn, strerror(errno));
			return;
		}
		connection_close(conn);
		run.source = (run.source + 1) % ADDRESSES;
	}
	if (tries == ADDRESSES)
		die(1, "there are no local ports left");
	counts.made++;
	if (!plan.churn)
		setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	watch(conn, EPOLL_CTL_ADD);
}

/* Writes the bytes by which an echo is recognised into the messages that all connections share. */
static void mark_messages(const struct connection *conn)
{
	for (int64_t i = 0; i < plan.pipeline; i++) {
		char mark = (char)(conn->first + i);

		run.requests[i * plan.size] = mark;
		run.requests[(i + 1) * plan.size - 1] = mark;
	}
}

/* Sends what is left. Before the connection stands this is nothing, and epoll tells when it does. */
static void send_rest(struct connection *conn)
{
	ssize_t n;

	if (plan.echo)
		mark_messages(conn);
	n = send(conn->fd, conn->out, conn->left, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN) {
		fail(conn, strerror(errno));
		return;
	}
	if (n > 0) {
		conn->out += n;
		conn->left -= (uint32_t)n;
	}
	if ((conn->left > 0) != conn->wants_out) {
		conn->wants_out = conn->left > 0;
		watch(conn, EPOLL_CTL_MOD);
	}
}

/* Makes the next request, or as many as go at once; its latency counts from `since`. */
static void ask(struct connection *conn, uint64_t since)
{
	int many = phase != OPENING && conn->role == BUSY;

	conn->since = since;
	conn->slow = many && next_is_slow();
	conn->due = many ? (uint32_t)plan.pipeline : 1;
	conn->out = run.requests;
	conn->left = run.requests_size / (uint32_t)plan.pipeline * conn->due;
	if (conn->slow) {
		conn->out = run.slow_request;
		conn->left = run.slow_size;
	} else if (conn->role == STUCK && phase != OPENING) {
		conn->out = run.stuck_request;
		conn->left = run.stuck_size;
	}
	set_waiting(conn, WAITING);
	send_rest(conn);
}

static void open_and_ask(struct connection *conn, uint64_t now)
{
	connection_open(conn);
	if (conn->fd >= 0)
		ask(conn, now);
}

/* ---- The open loop ---- */

static uint64_t due_time(uint64_t number)
{
	return run.start + number * SECOND / (uint64_t)plan.rate;
}

/* Sends the requests that are due on connections that are free; those of the others wait there. */
static void release(uint64_t now)
{
	while (run.released < run.total && due_time(run.released) <= now) {
		uint64_t number = run.released++, due = due_time(number);
		struct connection *conn = &run.connections[number % (uint64_t)plan.connections];

		if (conn->state == CLOSED)
			counts.errors++;
		if (conn->state != FREE)
			continue;
		now = now_ns();
		if (due >= run.from && now - due > counts.lateness)
			counts.lateness = now - due;
		conn->next = number + (uint64_t)plan.connections;
		ask(conn, due);
	}
}

/* ---- Answers ---- */

/* What a free connection does next. */
static void go_on(struct connection *conn, uint64_t now)
{
	set_waiting(conn, FREE);
	if (phase == OPENING || conn->role == IDLE)
		return;
	if (conn->role == STUCK) {
		if (phase == RUNNING)
			ask(conn, now);
	} else if (plan.rate > 0) {
		if (conn->next < run.released) {
			uint64_t number = conn->next;

			conn->next += (uint64_t)plan.connections;
			ask(conn, due_time(number));
		}
	} else if (phase == RUNNING) {
		ask(conn, now);
	}
}

static void count_answer(const struct connection *conn, uint64_t now)
{
	if (conn->role != BUSY || phase == OPENING)
		return;
	counts.answers++;
	/* What was due before is the business of the warm-up. */
	if (plan.rate == 0 || conn->since >= run.from)
		histogram_count(conn->slow ? &counts.slow : &counts.light, now - conn->since);
}

/*
 * Reads the head of a first answer, which may come in pieces. Returns how many of the bytes belong to
 * it; conn->size is known when it is complete. NULL in *wrong, or what is wrong.
 */
static size_t learn(struct connection *conn, const char *bytes, size_t n, const char **wrong)
{
	static const char length_key[] = "\r\nContent-Length:";
	size_t had = conn->got, take = n < HEAD_MAX - had ? n : HEAD_MAX - had;
	char *end, *length;

	if (conn->head == NULL)
		conn->head = allocate(HEAD_MAX + 1, 1);
	memcpy(conn->head + had, bytes, take);
	conn->head[had + take] = '\0';
	conn->got += (uint32_t)take;
	end = strstr(conn->head, "\r\n\r\n");
	if (end == NULL) {
		if (had + take == HEAD_MAX)
			*wrong = "the head of an answer is too long";
		return take;
	}
	end[2] = '\0';
	length = strcasestr(conn->head, length_key);
	conn->got = (uint32_t)(end + 4 - conn->head);
	if (length == NULL || strncmp(conn->head, "HTTP/1.1 200", 12) != 0)
		*wrong = "an answer without status 200, or without a Content-Length";
	else
		conn->size = conn->got + (uint32_t)strtoul(length + strlen(length_key), NULL, 10);
	free(conn->head);
	conn->head = NULL;
	return conn->got - had;
}

/* Whether the bytes of an answer from position `from` on have what has to be at certain places. */
static int as_expected(const struct connection *conn, const char *bytes, size_t from, size_t n)
{
	if (plan.echo) {
		uint32_t number = conn->first + (uint32_t)plan.pipeline - conn->due;
		char mark = (char)(phase == OPENING ? conn->first : number);

		return (from > 0 || bytes[0] == mark) &&
		       (from + n < conn->size || bytes[n - 1] == mark);
	}
	for (size_t i = 9; i < 12; i++)
		if (i >= from && i - from < n && bytes[i - from] != "200"[i - 9])
			return 0;
	return 1;
}

/* Takes what has come. Returns NULL, or what is wrong with it. */
static const char *take_answers(struct connection *conn, const char *bytes, size_t n, uint64_t now)
{
	const char *wrong = NULL;

	while (n > 0) {
		size_t take;

		if (conn->due == 0)
			return "bytes that nobody has asked for";
		if (conn->size == 0) {
			take = learn(conn, bytes, n, &wrong);
			if (wrong)
				return wrong;
		} else {
			take = conn->size - conn->got < n ? conn->size - conn->got : n;
			if (!as_expected(conn, bytes, conn->got, take))
				return plan.echo ? "not the message that was sent"
						 : "an answer without status 200";
			conn->got += (uint32_t)take;
		}
		bytes += take;
		n -= take;
		if (conn->size > 0 && conn->got == conn->size) {
			conn->got = 0;
			conn->due--;
			/* With --churn the answer is complete at the end of the stream. */
			if (!plan.churn || conn->role != BUSY)
				count_answer(conn, now);
		}
	}
	return NULL;
}

/* The end of the stream of a slot of --churn: the next connection. */
static void churn(struct connection *conn, uint64_t now)
{
	if (conn->due > 0 || conn->got > 0) {
		fail(conn, "the end of the stream before the end of the answer");
		return;
	}
	count_answer(conn, now);
	connection_close(conn);
	set_waiting(conn, CLOSED);
	if (phase == RUNNING)
		open_and_ask(conn, now_ns());
}

/* Returns the time, which is asked for once for each event. */
static uint64_t take_event(struct connection *conn, uint32_t events)
{
	const char *wrong;
	uint64_t now;
	ssize_t n;

	if (conn->fd < 0) /* failed by an event before this one */
		return now_ns();
	if ((events & EPOLLOUT) && conn->left > 0) {
		send_rest(conn);
		if (conn->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
			return now_ns();
	}
	n = recv(conn->fd, run.input, INPUT_SIZE, 0);
	now = now_ns();
	if (n < 0) {
		if (errno != EAGAIN)
			fail(conn, strerror(errno));
		return now;
	}
	wrong = take_answers(conn, run.input, (size_t)n, now);
	if (wrong) {
		fail(conn, wrong);
	} else if (plan.churn && conn->role == BUSY) {
		/* All that there was before the end has been read, so the end comes next. */
		if (n == 0 || ((events & EPOLLRDHUP) && n < INPUT_SIZE))
			churn(conn, now);
	} else if (n == 0) {
		fail(conn, "the server has closed the connection");
	} else if (conn->due == 0 && conn->state == WAITING) {
		conn->first = (uint8_t)(conn->first + (phase == OPENING ? 1 : plan.pipeline));
		go_on(conn, now);
	}
	return now;
}

/* ---- The loop ---- */

/* Waits for events until a moment, with the precision of the clock. Returns how many. */
static int wait_for_events(struct epoll_event *events, uint64_t until)
{
	static int without_pwait2;
	uint64_t now = now_ns(), left = until > now ? until - now : 0;
	struct timespec time = {.tv_sec = (time_t)(left / SECOND),
				.tv_nsec = (long)(left % SECOND)};
	int n = -1;

	if (!without_pwait2) {
		n = (int)syscall(SYS_epoll_pwait2, run.epoll, events, EVENTS, &time, NULL, 0);
		without_pwait2 = n < 0 && errno == ENOSYS;
	}
	/* It knows milliseconds only; the last one is spent with calls that do not wait. */
	if (without_pwait2)
		n = epoll_wait(run.epoll, events, EVENTS, (int)(left / 1000000));
	if (n < 0 && errno != EINTR)
		die(1, "epoll_wait: %s", strerror(errno));
	return n > 0 ? n : 0;
}

/* One wait, and all that came of it. Returns the time after it. */
static uint64_t turn(uint64_t until)
{
	struct epoll_event events[EVENTS];
	uint64_t now;
	int n;

	if (plan.rate > 0 && run.released < run.total && due_time(run.released) < until)
		until = due_time(run.released);
	n = wait_for_events(events, until);
	now = now_ns();
	if (plan.rate > 0)
		release(now);
	for (int i = 0; i < n; i++) {
		now = take_event(events[i].data.ptr, events[i].events);
		if (plan.rate > 0)
			release(now);
	}
	return now;
}

static void open_some(size_t first, size_t count)
{
	uint64_t limit = now_ns() + PATIENCE;
	size_t opened = 0, waited = SIZE_MAX;

	while (opened < count || run.waiting > 0) {
		while (opened < count && run.waiting < AT_ONCE)
			open_and_ask(&run.connections[first + opened++], now_ns());
		if (waited != run.waiting + count - opened) {
			waited = run.waiting + count - opened;
			limit = now_ns() + PATIENCE;
		}
		if (turn(limit) >= limit)
			die(1, "%zu connections have been waiting %d s for their first answer",
			    run.waiting, (int)(PATIENCE / SECOND));
	}
}

void load_open_busy(void)
{
	int64_t rate = plan.rate;

	plan.rate = 0; /* the schedule does not run yet */
	run.alive = (size_t)plan.connections;
	if (!plan.churn)
		open_some(0, (size_t)plan.connections);
	if (plan.stuck_path) {
		run.stuck->role = IDLE; /* for once, it is waited for */
		open_some((size_t)(plan.connections + plan.idle), 1);
		run.stuck->role = STUCK;
	}
	plan.rate = rate;
}

void load_open_idle(void)
{
	int64_t rate = plan.rate;

	plan.rate = 0;
	open_some((size_t)plan.connections, (size_t)plan.idle);
	plan.rate = rate;
}

void load_start(uint64_t end)
{
	size_t count = (size_t)plan.connections;

	phase = RUNNING;
	run.start = now_ns();
	run.end = end;
	if (plan.rate > 0) {
		run.total = (run.end - run.start) * (uint64_t)plan.rate / SECOND;
		return;
	}
	for (size_t i = 0; i < count; i++)
		(plan.churn ? open_and_ask : ask)(&run.connections[i], now_ns());
}

void load_run(uint64_t until)
{
	while (now_ns() < until)
		turn(until);
}

void load_count_from(uint64_t moment)
{
	uint64_t made = counts.made;

	counts = (struct counts){.made = made, .errors = counts.errors};
	run.from = moment;
}

void load_stick(void)
{
	ask(run.stuck, now_ns());
}

void load_drain(void)
{
	uint64_t limit = run.end + PATIENCE;

	release(run.end);
	phase = DRAINING;
	while (run.waiting > 0)
		if (turn(limit) >= limit)
			die(1, "%zu connections have no answer %d s after the end", run.waiting,
			    (int)(PATIENCE / SECOND));
}
