/*
 * test_tcp_data.c - reading and writing over TCP: all data arrives, in its order, whatever the
 * sizes, and also after operations that were cancelled, timed out or refused.
 */
#include "net_support.h"

/* ---- Streams ---- */

static uint32_t random_number(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Writes `total` bytes in pieces of random size up to `most`, then says that this is all. */
struct producer {
	skua_coro co;
	skua_tcp *conn;
	size_t total, done, size, most;
	uint32_t random;
	int64_t n;
	char *data; /* of `most` bytes */
};

static skua_poll producer(skua_cx *cx, struct producer *self)
{
	SKUA_BEGIN(self);
	while (self->done < self->total) {
		self->size = random_number(&self->random) % self->most + 1;
		if (self->size > self->total - self->done)
			self->size = self->total - self->done;
		fill(self->data, self->done, self->size);
		SKUA_AWAIT(self->n = skua_write_all(cx, self->conn, self->data, self->size));
		if (self->n < 0)
			SKUA_RETURN(self->n);
		T_EQ(self->n, self->size);
		self->done += self->size;
	}
	T_EQ(skua_tcp_shutdown(self->conn), 0);
	SKUA_END((int64_t)self->done);
}
SKUA_CORO(producer, struct producer);

/* Reads to the end, in pieces of random size, with pauses. */
struct consumer {
	skua_coro co;
	skua_tcp *conn;
	skua_timer timer;
	size_t done, most, pause_every, paused;
	uint32_t random;
	int64_t n;
	char *data;
};

static skua_poll consumer(skua_cx *cx, struct consumer *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		/* The size may change between polls of one await; the data must not care. */
		SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->data,
					       random_number(&self->random) % self->most + 1));
		if (self->n <= 0)
			SKUA_RETURN(self->n < 0 ? self->n : (int64_t)self->done);
		check(self->data, self->done, (size_t)self->n);
		self->done += (size_t)self->n;
		if (self->pause_every != 0 && self->done - self->paused > self->pause_every) {
			self->paused = self->done;
			SKUA_AWAIT(self->n = skua_sleep(cx, &self->timer, SKUA_MSEC));
		}
	}
	SKUA_END(0);
}
SKUA_CORO(consumer, struct consumer);

static void transfer(uint32_t kind, size_t total, size_t write_most, size_t read_most,
		     size_t pause_every)
{
	struct net net = net_open(kind);
	struct producer producing = {
		.co = SKUA_CORO_INIT(producer),
		.conn = net.client,
		.total = total,
		.most = write_most,
		.random = 1,
		.data = malloc(write_most),
	};
	struct consumer consuming = {
		.co = SKUA_CORO_INIT(consumer),
		.conn = net.server,
		.most = read_most,
		.random = 2,
		.pause_every = pause_every,
		.data = malloc(read_most),
	};
	skua_task *writer = start_future(net.rt, &producing.co);
	skua_task *reader = start_future(net.rt, &consuming.co);

	T_EQ(skua_task_wait(&reader), (int64_t)total);
	T_EQ(skua_task_wait(&writer), (int64_t)total);
	free(producing.data);
	free(consuming.data);
	net_close(&net);
}

T_ON_EACH_IO(tcp_data, sixteen_megabytes_to_a_slow_reader)
{
	transfer(kind, 16 << 20, 1 << 20, 64 << 10, 512 << 10);
}

T_ON_EACH_IO(tcp_data, random_sizes)
{
	transfer(kind, 200000, 300, 200, 0);
	transfer(kind, 200000, 3, 5000, 0);
	transfer(kind, 1 << 20, 70000, 3000, 0);
}

/* ---- Sizes ---- */

/* A number that is no size: the result of an await that was pending, as a size. Nothing of what
 * lies behind the buffer may go out. */
static skua_poll read_no_size(skua_cx *cx, void *argument)
{
	return skua_read(cx, argument, &(char){0}, (size_t)SKUA_PENDING);
}

static skua_poll write_no_size(skua_cx *cx, void *argument)
{
	return skua_write(cx, argument, "x", (size_t)SKUA_PENDING);
}

static skua_poll write_all_no_size(skua_cx *cx, void *argument)
{
	return skua_write_all(cx, argument, "x", (size_t)SKUA_PENDING);
}

T_ON_EACH_IO(tcp_data, a_negative_size_is_refused)
{
	struct net net = net_open(kind);
	char in[4];

	T_EQ(run(net.rt, read_no_size, net.server), -EINVAL);
	T_EQ(run(net.rt, write_no_size, net.server), -EINVAL);
	T_EQ(run(net.rt, write_all_no_size, net.server), -EINVAL);
	T_EQ(skua_tcp_shutdown(net.server), 0);
	T_EQ(read_some(net.rt, net.client, in, sizeof in), 0);
	net_close(&net);
}

T_ON_EACH_IO(tcp_data, nothing_to_read_or_write)
{
	struct net net = net_open(kind);
	struct io io = {.conn = net.client, .data = &io, .size = 0};

	T_EQ(run(net.rt, op_read, &io), 0);
	T_EQ(run(net.rt, op_write, &io), 0);
	T_EQ(run(net.rt, op_write_all, &io), 0);
	net_close(&net);
}

/* ---- Writing ---- */

T_ON_EACH_IO(tcp_data, write_all_takes_as_many_polls_as_it_needs)
{
	enum { SIZE = 8 << 20 };
	struct net net = net_open(kind);
	struct io io = {.conn = net.client, .data = malloc(SIZE), .size = SIZE};
	struct consumer consuming = {
		.co = SKUA_CORO_INIT(consumer),
		.conn = net.server,
		.most = 100000,
		.random = 3,
		.data = malloc(100000),
	};
	skua_task *writer, *reader;

	fill(io.data, 0, SIZE);
	writer = start(net.rt, op_write_all, &io);
	WAIT_UNTIL(io.polls >= 1);
	sleep_ms(20);
	T_EQ(skua_task_finished(writer), 0);
	reader = start_future(net.rt, &consuming.co);
	T_EQ(skua_task_wait(&writer), SIZE);
	T_GE(io.polls, 2);
	T_EQ(skua_tcp_shutdown(net.client), 0);
	T_EQ(skua_task_wait(&reader), SIZE);
	free(io.data);
	free(consuming.data);
	net_close(&net);
}

static char ones_to_write[4] = {'1', '1', '1', '1'};

/* A write_all that was cancelled half-way leaves nothing behind for the next one. */
T_ON_EACH_IO(tcp_data, write_all_after_a_cancelled_write_all)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(kind);
	struct io io = {.conn = net.client, .data = calloc(1, SIZE), .size = SIZE};
	struct io next = {.conn = net.client, .data = ones_to_write, .size = 4};
	skua_task *writer = start(net.rt, op_write_all, &io);
	char *in = malloc(SIZE);
	int64_t n = 0, zeros = 0, ones = 0;

	WAIT_UNTIL(io.polls >= 1);
	sleep_ms(10);
	T_EQ(skua_cancel(writer), 0);
	T_EQ(skua_task_wait(&writer), -ECANCELED);
	/* What was written is zeros; how much of it must be read to make room is the kernel's affair. */
	writer = start(net.rt, op_write_all, &next);
	do {
		n = read_some(net.rt, net.server, in, SIZE);
		for (int64_t i = 0; i < n; i++) {
			zeros += in[i] == 0;
			ones += in[i] == '1';
		}
		if (ones == 4 && writer != NULL) {
			T_EQ(skua_task_wait(&writer), 4);
			T_EQ(skua_tcp_shutdown(net.client), 0);
		}
	} while (n > 0);
	T_EQ(n, 0);
	T_EQ(ones, 4);
	T_LT(zeros, SIZE);
	free(io.data);
	free(in);
	net_close(&net);
}

T_ON_EACH_IO(tcp_data, writev)
{
	static char parts[1024][2];
	struct net net = net_open(kind);
	char a[] = "sk", b[] = "", c[] = "ua!", in[2048];
	const struct iovec three[3] = {{a, 2}, {b, 0}, {c, 3}};
	struct iovec many[1024];
	struct pieces pieces = {.conn = net.client, .pieces = three, .count = 3};

	T_EQ(run(net.rt, op_writev, &pieces), 5);
	T_EQ(read_some(net.rt, net.server, in, sizeof in), 5);
	T_MEM_EQ(in, "skua!", 5);

	for (size_t i = 0; i < 1024; i++) {
		fill(parts[i], 2 * i, 2);
		many[i] = (struct iovec){parts[i], 2};
	}
	pieces.pieces = many;
	pieces.count = 1024;
	T_EQ(run(net.rt, op_writev, &pieces), 2048);
	for (size_t got = 0; got < 2048;) {
		int64_t n = read_some(net.rt, net.server, in, sizeof in);

		T_GT(n, 0);
		check(in, got, (size_t)n);
		got += (size_t)n;
	}
	pieces.count = 1025;
	T_EQ(run(net.rt, op_writev, &pieces), -EINVAL);
	pieces.count = -1;
	T_EQ(run(net.rt, op_writev, &pieces), -EINVAL);
	pieces.count = 0;
	T_EQ(run(net.rt, op_writev, &pieces), 0);
	net_close(&net);
}

/* ---- Cancelling, timing out ---- */

T_ON_EACH_IO(tcp_data, cancelled_read_loses_no_data)
{
	struct net net = net_open(kind);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};

	for (int i = 0; i < 20; i++) {
		skua_task *reader = start(net.rt, op_read, &io);

		WAIT_UNTIL(io.polls >= 1);
		T_EQ(skua_cancel(reader), 0);
		T_EQ(skua_task_wait(&reader), -ECANCELED);
		T_EQ(write_all(net.rt, net.client, "data", 4), 4);
		T_EQ(read_some(net.rt, net.server, in, sizeof in), 4);
		io.polls = 0;
	}
	net_close(&net);
}

static skua_poll op_read_in_time(skua_cx *cx, void *argument)
{
	struct io *io = argument;
	skua_poll result =
		skua_timeout(cx, &io->timer, io->ns, skua_read(cx, io->conn, io->data, io->size));

	atomic_fetch_add(&io->polls, 1);
	return result;
}

T_ON_EACH_IO(tcp_data, read_that_times_out_can_be_repeated)
{
	struct net net = net_open(kind);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in, .ns = 10 * SKUA_MSEC};

	for (int i = 0; i < 3; i++) {
		uint64_t begin = skua_now();

		T_EQ(run(net.rt, op_read_in_time, &io), -ETIMEDOUT);
		T_GE(skua_now() - begin, 10 * SKUA_MSEC);
	}
	T_EQ(write_all(net.rt, net.client, "late", 4), 4);
	io.ns = 60 * SKUA_SEC;
	T_EQ(run(net.rt, op_read_in_time, &io), 4);
	net_close(&net);
}

/* ---- Urgent data ---- */

/*
 * A read stops at the mark of urgent data, so it may be short although there is more behind it, of which
 * no other event tells ("short reads" in io/source.h). The only worker is held while all of it arrives.
 */
struct urgent {
	struct net net;
	int fd; /* of the client */
	int inline_;
	size_t sent, got;
	uint32_t random;
	char in[4096];
};

static skua_poll held(skua_cx *cx, void *argument)
{
	atomic_int *holds = argument;

	(void)cx;
	atomic_store(holds, 1);
	WAIT_UNTIL(*holds == 2);
	return 0;
}

static struct urgent urgent_on(uint32_t kind, int inline_)
{
	struct urgent self = {.net = net_listen(1, kind), .inline_ = inline_, .random = 5};

	net_connect(&self.net);
	self.fd = fd_of(self.net.client);
	T_EQ(setsockopt(fd_of(self.net.server), SOL_SOCKET, SO_OOBINLINE, &inline_, sizeof inline_),
	     0);
	return self;
}

static void send_more(struct urgent *self, size_t size)
{
	char out[512];

	T_LE(size, sizeof out);
	fill(out, self->sent, size);
	T_EQ(send(self->fd, out, size, 0), (int64_t)size);
	self->sent += size;
}

/* A byte that belongs to the stream, or else to nothing. */
static void send_urgent(struct urgent *self)
{
	char byte = self->inline_ ? byte_at(self->sent) : '!';

	T_EQ(send(self->fd, &byte, 1, MSG_OOB), 1);
	self->sent += self->inline_ != 0;
}

/* Reads until there is all that was sent. */
static void read_all_sent(struct urgent *self, skua_task *first, struct io *io)
{
	while (self->got < self->sent) {
		int64_t n;

		if (first != NULL)
			n = skua_task_wait(&first);
		else
			n = run(self->net.rt, op_read_in_time, io);
		T_ASSERT_MSG(n > 0, "the read gave %" PRId64 " after %zu of %zu bytes", n,
			     self->got, self->sent);
		check(self->in, self->got, (size_t)n);
		self->got += (size_t)n;
	}
	T_EQ(self->got, self->sent);
}

static void exchange_with_urgent_data(uint32_t kind, int inline_)
{
	struct urgent self = urgent_on(kind, inline_);
	struct io io = {
		.conn = self.net.server,
		.data = self.in,
		.size = sizeof self.in,
		.ns = 5 * SKUA_SEC * PATIENCE,
	};
	int turns = rounds(100);

	for (int turn = 0; turn < turns; turn++) {
		skua_task *reader, *holder;
		atomic_int holds = 0;

		/* In some turns the reader waits when it comes, in others it comes later. */
		io.polls = 0;
		reader = turn % 3 != 0 ? start(self.net.rt, op_read_in_time, &io) : NULL;
		if (reader != NULL)
			WAIT_UNTIL(io.polls >= 1);
		holder = start(self.net.rt, held, &holds);
		WAIT_UNTIL(holds == 1);
		send_more(&self, random_number(&self.random) % 500 + 1);
		/* In the first turns there is none, so that the short-read shortcut is in use. */
		if (turn > 4 && turn % 2 == 0)
			send_urgent(&self);
		if (turn % 4 != 1)
			send_more(&self, random_number(&self.random) % 500 + 1);
		/* On each kind of IO the events have been found by now. */
		if (turn % 5 == 0)
			sleep_ms(5);
		atomic_store(&holds, 2);
		T_EQ(skua_task_wait(&holder), 0);
		read_all_sent(&self, reader, &io);
	}
	/* And the end of the stream. */
	T_EQ(skua_tcp_shutdown(self.net.client), 0);
	T_EQ(run(self.net.rt, op_read_in_time, &io), 0);
	net_close(&self.net);
}

T_ON_EACH_IO(tcp_data, urgent_data_beside_the_stream)
{
	exchange_with_urgent_data(kind, 0);
}

T_ON_EACH_IO(tcp_data, urgent_data_in_the_stream)
{
	exchange_with_urgent_data(kind, 1);
}

/* Nothing but urgent data: whoever waits goes on waiting, and sees what comes after it. */
T_ON_EACH_IO(tcp_data, urgent_data_alone_is_no_data)
{
	struct urgent self = urgent_on(kind, 0);
	struct io io = {.conn = self.net.server, .data = self.in, .size = sizeof self.in};

	for (int turn = 0; turn < 10; turn++) {
		skua_task *reader;

		io.polls = 0;
		reader = start(self.net.rt, op_read, &io);
		WAIT_UNTIL(io.polls >= 1);
		send_urgent(&self);
		sleep_ms(2);
		T_EQ(skua_task_finished(reader), 0);
		send_more(&self, 10);
		T_EQ(skua_task_wait(&reader), 10);
		check(self.in, self.got, 10);
		self.got += 10;
	}
	net_close(&self.net);
}

/* ---- Two at once ---- */

T_ON_EACH_IO(tcp_data, a_second_reader_is_refused)
{
	struct net net = net_open(kind);
	char in[8];
	struct io io = {.conn = net.server, .data = in, .size = sizeof in};
	skua_task *reader = start(net.rt, op_read, &io);

	WAIT_UNTIL(io.polls >= 1);
	T_EQ(read_some(net.rt, net.server, in, sizeof in), -EBUSY);
	/* Writing is the other direction. */
	T_EQ(write_all(net.rt, net.server, "out", 3), 3);
	T_EQ(write_all(net.rt, net.client, "in", 2), 2);
	T_EQ(skua_task_wait(&reader), 2);
	T_MEM_EQ(in, "in", 2);
	T_EQ(read_some(net.rt, net.client, in, sizeof in), 3);
	net_close(&net);
}

T_ON_EACH_IO(tcp_data, a_second_writer_is_refused)
{
	enum { SIZE = 16 << 20 };
	struct net net = net_open(kind);
	struct io io = {.conn = net.server, .data = calloc(1, SIZE), .size = SIZE};
	skua_task *writer = start(net.rt, op_write_all, &io);
	char *in = malloc(SIZE);
	int64_t n, sum = 0;

	WAIT_UNTIL(io.polls >= 1);
	sleep_ms(5);
	T_EQ(write_all(net.rt, net.server, "x", 1), -EBUSY);
	/* The refusal has not disturbed the first one. */
	while (sum < SIZE && (n = read_some(net.rt, net.client, in, SIZE)) > 0)
		sum += n;
	T_EQ(skua_task_wait(&writer), SIZE);
	T_EQ(sum, SIZE);
	free(in);
	free(io.data);
	net_close(&net);
}
