/*
 * examples/socket_read.c - how a future that waits for a socket comes to be polled again, told step
 * by step. docs/socket-read.md walks through what this program prints.
 *
 * The parts, all in this file except the first:
 *
 *   the IO blocker      skua/blocker.h: the place where a thread blocks until some socket is ready
 *   struct waker_map    from the id of an event to the waker of the future that waits for it
 *   struct socket_read  a future, written by hand: tries recv, stores its waker, is polled again
 *   the driver          a thread that blocks, looks up the ids of the events, and wakes
 *
 * The driver knows nothing of tasks, workers or queues; all it has is wakers. So it serves any
 * executor, and the same future runs here under two of them: on the workers of a Skua runtime, and
 * under an executor of a few lines that polls on the main thread.
 *
 * A program would simply use skua_read; this is what stands behind it.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <skua.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- Telling the story ---- */

static _Thread_local char thread_name[16]; /* a thread that gave itself none is a worker */

/* One line: which thread does what. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	static atomic_int workers;
	char line[256];
	va_list arguments;

	if (thread_name[0] == '\0')
		snprintf(thread_name, sizeof thread_name, "[worker %d]", ++workers);
	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	printf("%-10s %s\n", thread_name, line);
}

/* Ends the program if something failed that never should. */
static void check(int64_t rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "socket_read: %s: %s\n", what, skua_strerror(rc));
	exit(1);
}

/* ---- The map from event id to waker ---- */

struct slot {
	uint64_t id; /* 0: not in use */
	skua_waker waker;
	int waiting; /* there is a waker */
	int ready;   /* an event came, and found none */
};

struct waker_map {
	pthread_mutex_t lock;
	uint64_t last_id;
	struct slot slots[8];
};

/* With the lock held: the slot of an id (0: one that is free), or NULL. */
static struct slot *map_find(struct waker_map *map, uint64_t id)
{
	for (size_t i = 0; i < sizeof map->slots / sizeof map->slots[0]; i++) {
		if (map->slots[i].id == id)
			return &map->slots[i];
	}
	return NULL;
}

/* A new id; 0 if there is no room. Ids are not used again, so a late event wakes no stranger. */
static uint64_t map_add(struct waker_map *map)
{
	struct slot *slot;
	uint64_t id = 0;

	pthread_mutex_lock(&map->lock);
	slot = map_find(map, 0);
	if (slot != NULL) {
		id = ++map->last_id;
		*slot = (struct slot){.id = id};
	}
	pthread_mutex_unlock(&map->lock);
	return id;
}

/*
 * Stores a clone of a waker. Returns 1; 0 if an event came in the meantime, and the caller has to
 * try its call again instead of waiting for an event that is past; -ENOMEM.
 */
static int map_store(struct waker_map *map, uint64_t id, const skua_waker *waker)
{
	struct slot *slot;
	int rc = 0;

	pthread_mutex_lock(&map->lock);
	slot = map_find(map, id);
	if (slot->waiting)
		skua_waker_drop(&slot->waker);
	slot->waiting = 0;
	if (!slot->ready)
		rc = skua_waker_clone(waker, &slot->waker) < 0 ? -ENOMEM : 1;
	slot->ready = 0;
	slot->waiting = rc == 1;
	pthread_mutex_unlock(&map->lock);
	return rc;
}

/* Hands over the waker of an id. Returns 0 if nobody waits (yet), and remembers the event. */
static int map_take(struct waker_map *map, uint64_t id, skua_waker *waker)
{
	struct slot *slot;
	int found = 0;

	pthread_mutex_lock(&map->lock);
	slot = map_find(map, id);
	if (slot != NULL) {
		found = slot->waiting;
		*waker = slot->waker;
		slot->waiting = 0;
		slot->ready = !found;
	}
	pthread_mutex_unlock(&map->lock);
	return found;
}

static void map_remove(struct waker_map *map, uint64_t id)
{
	struct slot *slot;

	pthread_mutex_lock(&map->lock);
	slot = map_find(map, id);
	if (slot->waiting)
		skua_waker_drop(&slot->waker);
	*slot = (struct slot){.id = 0};
	pthread_mutex_unlock(&map->lock);
}

/* ---- The driver ---- */

struct io {
	skua_blocker *blocker;
	struct waker_map wakers;
	pthread_t driver;
	atomic_int stopping;
};

static void dispatch(struct io *io, const skua_event *event)
{
	const char *ready = event->ready & SKUA_READABLE ? "READABLE" : "something else";
	skua_waker waker;

	if (map_take(&io->wakers, event->id, &waker)) {
		say("block() returned event id %d: %s -> waking", (int)event->id, ready);
		skua_waker_wake(&waker);
	} else {
		say("block() returned event id %d: %s -> nobody waits", (int)event->id, ready);
	}
}

/* The whole driver: block, look up, wake. */
static void *drive(void *argument)
{
	struct io *io = argument;
	skua_event events[8];

	strcpy(thread_name, "[driver]");
	while (!io->stopping) {
		int count = skua_blocker_block(io->blocker, events, 8, -1);

		check(count, "block");
		for (int i = 0; i < count; i++)
			dispatch(io, &events[i]);
	}
	return NULL;
}

static void io_start(struct io *io, uint32_t backend)
{
	check(skua_blocker_new(backend, &io->blocker), "making the IO blocker");
	pthread_mutex_init(&io->wakers.lock, NULL);
	check(-pthread_create(&io->driver, NULL, drive, io), "starting the driver");
}

static void io_stop(struct io *io)
{
	io->stopping = 1;
	skua_blocker_wake(io->blocker);
	pthread_join(io->driver, NULL);
	skua_blocker_free(io->blocker);
	pthread_mutex_destroy(&io->wakers.lock);
}

/* ---- The future ---- */

/*
 * Reads `size` bytes, or up to the end of the stream if that comes first. It owns the socket; the
 * buffer is the caller's, and is touched only during a poll.
 */
struct socket_read {
	skua_future future; /* first member */
	const char *name;
	struct io *io;
	int fd;
	char *buffer;
	size_t size;
	size_t received;
	int polls;
	uint64_t id; /* of its events; 0 as long as it never had to wait */
	skua_registration registration;
};

static int socket_read_register(struct socket_read *self)
{
	skua_interest interest = {.id = self->id, .flags = SKUA_READABLE};

	return skua_blocker_register(self->io->blocker, self->fd, interest, &self->registration);
}

/*
 * Has the future polled again when the socket is readable. The order matters: the waker is in the
 * map before the blocker is asked for an event. Returns as map_store does, or an error.
 */
static int wait_readable(struct socket_read *self, const skua_waker *waker)
{
	struct io *io = self->io;
	int first = self->id == 0;
	int rc;

	if (first)
		self->id = map_add(&io->wakers);
	if (self->id == 0)
		return -ENOSPC;
	rc = map_store(&io->wakers, self->id, waker);
	if (rc == 1) {
		say("%s: poll #%d: EAGAIN; waker stored under id %d, interest {%d, READABLE} %s -> "
		    "PENDING",
		    self->name, self->polls, (int)self->id, (int)self->id,
		    first ? "registered" : "rearmed");
		rc = first ? socket_read_register(self)
			   : skua_blocker_rearm(io->blocker, &self->registration, SKUA_READABLE);
		rc = rc < 0 ? rc : 1;
	}
	if (first && rc < 0) {
		map_remove(&io->wakers, self->id);
		self->id = 0; /* there is nothing to deregister */
	}
	return rc;
}

static void socket_read_release(skua_future *future)
{
	struct socket_read *self = (struct socket_read *)future;

	if (self->id == 0) {
		close(self->fd);
		return;
	}
	skua_blocker_deregister(self->io->blocker, &self->registration, 1); /* and close */
	map_remove(&self->io->wakers, self->id);
}

static skua_poll finish(struct socket_read *self, skua_poll result)
{
	say("%s: poll #%d: %d bytes in all -> READY", self->name, self->polls, (int)self->received);
	socket_read_release(&self->future);
	return result;
}

static skua_poll socket_read_poll(skua_cx *cx, skua_future *future)
{
	struct socket_read *self = (struct socket_read *)future;
	int rc = skua_cx_interrupt(cx); /* has this task been cancelled? */

	self->polls++;
	while (rc == 0) {
		ssize_t n = recv(self->fd, self->buffer + self->received,
				 self->size - self->received, 0);

		if (n > 0) {
			say("%s: poll #%d: recv gave %d bytes", self->name, self->polls, (int)n);
			self->received += (size_t)n;
		}
		if (n == 0 || self->received == self->size)
			return finish(self, (skua_poll)self->received);
		if (n < 0)
			rc = errno == EAGAIN ? wait_readable(self, skua_cx_waker(cx)) : -errno;
	}
	return rc > 0 ? SKUA_PENDING : finish(self, rc);
}

static const skua_future_ops socket_read_ops = {
	.poll = socket_read_poll,
	.drop = socket_read_release,
	.size = sizeof(struct socket_read),
	.name = "socket_read",
	.file = __FILE__,
};

/* ---- A writer at the other end of each socket ---- */

struct channel {
	const char *name;
	const char *text;  /* what is sent... */
	char received[64]; /* ...and what has to come out here */
	int ends[2];       /* of a socketpair; the future owns [0] */
	int delay_ms;
};

static void channel_open(struct channel *channel)
{
	check(-(socketpair(AF_UNIX, SOCK_STREAM, 0, channel->ends) < 0 ? errno : 0), "socketpair");
	check(-(fcntl(channel->ends[0], F_SETFL, O_NONBLOCK) < 0 ? errno : 0), "fcntl");
}

static struct socket_read channel_read(struct channel *channel, struct io *io)
{
	return (struct socket_read){
		.future = {.ops = &socket_read_ops},
		.name = channel->name,
		.io = io,
		.fd = channel->ends[0],
		.buffer = channel->received,
		.size = strlen(channel->text),
	};
}

/* Writes the text in two halves, each after a delay, so that the future has to wait twice. */
static void *channel_write(void *argument)
{
	struct channel *channel = argument;
	size_t half = strlen(channel->text) / 2;
	size_t sizes[2] = {half, strlen(channel->text) - half};
	struct timespec delay = {.tv_nsec = channel->delay_ms * 1000 * 1000};

	strcpy(thread_name, "[writer]");
	for (int i = 0; i < 2; i++) {
		nanosleep(&delay, NULL);
		say("%s: writes %d bytes", channel->name, (int)sizes[i]);
		if (write(channel->ends[1], channel->text + i * half, sizes[i]) !=
		    (ssize_t)sizes[i])
			check(-errno, "write");
	}
	return NULL;
}

/* What the future says it has read has to be what was written. */
static void channel_close(struct channel *channel, skua_poll result)
{
	close(channel->ends[1]);
	check(result, "reading");
	if ((size_t)result != strlen(channel->text) ||
	    strcmp(channel->received, channel->text) != 0)
		check(-EBADMSG, "what was read is not what was written");
	say("%s: read \"%s\", as written", channel->name, channel->received);
}

/* ---- The first executor: the workers of a Skua runtime ---- */

static void read_on_workers(struct io *io)
{
	struct channel channels[2] = {
		{.name = "A", .text = "a skua lives by stealing", .delay_ms = 50},
		{.name = "B", .text = "and a future by waking", .delay_ms = 30},
	};
	skua_runtime *runtime;
	skua_config config;
	skua_task *tasks[2];
	pthread_t writers[2];

	skua_config_init(&config);
	config.workers = 2;
	check(skua_runtime_new(&config, &runtime), config.message);
	for (int i = 0; i < 2; i++) {
		struct socket_read future;

		channel_open(&channels[i]);
		future = channel_read(&channels[i], io);
		check(skua_spawn(runtime, &future.future, &tasks[i]), "spawning");
		check(-pthread_create(&writers[i], NULL, channel_write, &channels[i]),
		      "starting a writer");
	}
	for (int i = 0; i < 2; i++) {
		skua_poll result = skua_task_wait(&tasks[i]);

		pthread_join(writers[i], NULL);
		channel_close(&channels[i], result);
	}
	check(skua_runtime_free(runtime), "ending the runtime");
}

/* ---- The second executor: made here, for one future, on the thread that calls it ---- */

struct executor {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int woken;
};

/* A waker is a pointer to the executor, which outlives all of them: there is nothing to count. */
static void *executor_clone(void *data)
{
	return data;
}

static void executor_drop(void *data)
{
	(void)data;
}

static void executor_wake(void *data)
{
	struct executor *executor = data;

	pthread_mutex_lock(&executor->lock);
	executor->woken = 1;
	pthread_cond_signal(&executor->changed);
	pthread_mutex_unlock(&executor->lock);
}

static const skua_waker_ops executor_waker_ops = {
	.clone = executor_clone,
	.wake = executor_wake,
	.wake_by_ref = executor_wake,
	.drop = executor_drop,
};

/* Polls a future, sleeps until its waker is woken, polls it again, until it is ready. */
static skua_poll executor_run(struct executor *executor, skua_future *future)
{
	skua_waker waker = {&executor_waker_ops, executor};
	skua_poll result;
	skua_cx cx;

	skua_cx_init(&cx, NULL, &waker); /* no runtime: this future needs none */
	while ((result = future->ops->poll(&cx, future)) == SKUA_PENDING) {
		pthread_mutex_lock(&executor->lock);
		while (!executor->woken)
			pthread_cond_wait(&executor->changed, &executor->lock);
		executor->woken = 0;
		pthread_mutex_unlock(&executor->lock);
		say("woken");
	}
	return result;
}

static void read_on_this_thread(struct io *io)
{
	static struct executor executor = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
	struct channel channel = {.name = "C", .text = "whoever polls it", .delay_ms = 30};
	struct socket_read future;
	pthread_t writer;
	skua_poll result;

	channel_open(&channel);
	future = channel_read(&channel, io);
	check(-pthread_create(&writer, NULL, channel_write, &channel), "starting a writer");
	result = executor_run(&executor, &future.future);
	pthread_join(writer, NULL);
	channel_close(&channel, result);
}

/* An argument, "epoll" or "uv", chooses what the IO blocker stands on. */
int main(int argc, char **argv)
{
	static struct io io;
	uint32_t backend = SKUA_IO_BACKEND_AUTO;

	if (argc > 1 && strcmp(argv[1], "epoll") == 0) {
		backend = SKUA_IO_BACKEND_EPOLL;
	} else if (argc > 1 && strcmp(argv[1], "uv") == 0) {
		backend = SKUA_IO_BACKEND_UV;
	} else if (argc > 1) {
		fprintf(stderr, "Usage: socket_read [epoll | uv]\n");
		return 2;
	}
	strcpy(thread_name, "[main]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	io_start(&io, backend);
	say("--- A and B are tasks on the workers of a runtime");
	read_on_workers(&io);
	say("--- C is polled by an executor on this thread");
	read_on_this_thread(&io);
	io_stop(&io);
	say("3 futures read 62 bytes, all as written");
	return 0;
}
