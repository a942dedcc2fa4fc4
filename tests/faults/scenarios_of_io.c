/* scenarios_of_io.c - descriptors of one's own: sources on a runtime, and the IO blocker alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"

/* ---- A pipe ---- */

/* Reads one number from a descriptor as soon as it comes. */
struct reader {
	skua_coro co;
	skua_source *source;
	int64_t rc;
	uint32_t value;
};

/* Readers that have found nothing: only then is something sent, so that each has to wait. */
static atomic_int found_nothing;

/* Whether it is done: with the number, or with an error. */
static bool try_to_read(struct reader *self)
{
	ssize_t n = read(skua_source_fd(self->source), &self->value, sizeof self->value);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n == sizeof self->value)
		self->rc = self->value;
	else
		self->rc = n == 0 ? -EPIPE : -EIO;
	return true;
}

static skua_poll reader(skua_cx *cx, struct reader *self)
{
	SKUA_BEGIN(self);
	while (!try_to_read(self)) {
		found_nothing++;
		SKUA_AWAIT(self->rc = skua_source_readable(cx, self->source));
		if (self->rc < 0)
			break;
	}
	skua_source_close(self->source);
	SKUA_END(self->rc);
}
SKUA_CORO(reader, struct reader);

/* Makes a reader of a descriptor, which is closed in any case. */
static int spawn_reader(struct env *env, int fd, skua_task **task)
{
	struct reader future = {.co = SKUA_CORO_INIT(reader)};
	int rc = skua_source_new(env->rt, fd, &future.source);

	if (rc < 0) {
		close(fd);
		return rc;
	}
	rc = skua_spawn(env->rt, &future.co, task);
	if (rc < 0)
		skua_source_close(future.source);
	return rc;
}

/* Sends numbers to `count` readers, each with a descriptor of its own. */
static int run_readers(struct env *env, int count, bool sockets)
{
	skua_task *tasks[16] = {NULL};
	int ends[16][2], made = 0, readers = 0, rc = 0;
	uint64_t deadline = skua_now() + env->patience;

	found_nothing = 0;
	for (; made < count && rc == 0; made++) {
		int failed =
			sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends[made])
				: pipe2(ends[made], O_NONBLOCK);

		if (failed != 0) {
			rc = -errno;
			break;
		}
		rc = spawn_reader(env, ends[made][0], &tasks[made]);
		readers += tasks[made] != NULL;
	}
	while (found_nothing < readers && skua_now() < deadline)
		nanosleep(&(struct timespec){0, 50000}, NULL);
	for (int i = 0; i < made; i++) {
		uint32_t value = 1000u + (uint32_t)i;

		/* The reader may be gone; then its result tells. */
		if (tasks[i] != NULL && sockets)
			(void)!send(ends[i][1], &value, sizeof value, MSG_NOSIGNAL);
		else if (tasks[i] != NULL)
			(void)!write(ends[i][1], &value, sizeof value);
	}
	for (int i = 0; i < made; i++) {
		int64_t result = tasks[i] != NULL ? env_wait(&tasks[i]) : 0;

		if (result > 0 && result != 1000 + i)
			env_wrong(env, "a reader got the number of another one");
		if (rc == 0 && result < 0)
			rc = (int)result;
		close(ends[i][1]);
	}
	return rc;
}

static int run_source_pipe(struct env *env)
{
	return run_readers(env, 1, false);
}

static int run_socket_pairs(struct env *env)
{
	return run_readers(env, 16, true);
}

/* ---- More sources than one chunk of their table ---- */

static int run_sources_many(struct env *env)
{
	enum { SOURCES = 280 };
	skua_source *sources[SOURCES] = {NULL};
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int rc = fd < 0 ? -errno : 0;

	for (int i = 0; i < SOURCES && rc == 0; i++) {
		int copy = dup(fd);

		rc = copy < 0 ? -errno : skua_source_new(env->rt, copy, &sources[i]);
		if (rc < 0 && copy >= 0)
			close(copy);
	}
	for (int i = 0; i < SOURCES; i++)
		skua_source_close(sources[i]);
	close(fd);
	return rc;
}

/* ---- A task that waits in both directions ---- */

struct both {
	skua_coro co;
	skua_source *source;
	skua_timer timer;
	int64_t rc;
};

static skua_poll both(skua_cx *cx, struct both *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->rc = skua_source_writable(cx, self->source));
	if (self->rc == 0)
		SKUA_AWAIT(self->rc = skua_timeout(cx, &self->timer, 200 * SKUA_USEC,
						   skua_source_readable(cx, self->source)));
	skua_source_close(self->source);
	/* Either a spurious event, or nothing ever came. */
	SKUA_END(self->rc == -ETIMEDOUT ? 0 : self->rc);
}
SKUA_CORO(both, struct both);

static int run_source_both(struct env *env)
{
	struct both future = {.co = SKUA_CORO_INIT(both)};
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
		return -errno;
	rc = skua_source_new(env->rt, ends[0], &future.source);
	if (rc < 0)
		close(ends[0]);
	else
		rc = env_block_on(env, &future.co);
	close(ends[1]);
	return rc;
}

/* ---- A peer that says nothing ---- */

struct patient {
	struct reader reader;
	skua_timer timer;
};

/* Who is woken for nothing tries again: if waiting is what fails, that must come to an end. */
static skua_poll patient(skua_cx *cx, struct patient *self)
{
	struct reader *reader = &self->reader;

	SKUA_BEGIN(reader);
	while (!try_to_read(reader)) {
		SKUA_AWAIT(reader->rc = skua_timeout(cx, &self->timer, 2 * SKUA_MSEC,
						     skua_source_readable(cx, reader->source)));
		if (reader->rc < 0)
			break;
	}
	skua_source_close(reader->source);
	SKUA_END(reader->rc == -ETIMEDOUT ? 0 : reader->rc);
}
SKUA_CORO(patient, struct patient);

static int run_source_silent(struct env *env)
{
	struct patient future = {.reader = {.co = SKUA_CORO_INIT(patient)}};
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
		return -errno;
	rc = skua_source_new(env->rt, ends[0], &future.reader.source);
	if (rc < 0)
		close(ends[0]);
	else
		rc = env_block_on(env, &future.reader.co);
	close(ends[1]);
	return rc;
}

/* ---- The blocker without a runtime ---- */

static int block_for_one(struct env *env, skua_blocker *blocker, uint64_t id)
{
	uint64_t deadline = skua_now() + env->patience;
	skua_event event;

	do {
		int count = skua_blocker_block(blocker, &event, 1, (int64_t)env->patience);

		if (count < 0)
			return count;
		if (count == 1 && event.id != id)
			env_wrong(env, "an event with the id of nobody");
		if (count == 1)
			return 0;
	} while (skua_now() < deadline);
	return -ETIMEDOUT;
}

static int use_blocker(struct env *env, skua_blocker *blocker)
{
	skua_registration registration = {.fd = -1};
	skua_event event;
	int ends[2], rc;

	if (pipe2(ends, O_NONBLOCK) != 0)
		return -errno;
	rc = skua_blocker_register(blocker, ends[0], (skua_interest){77, SKUA_READABLE},
				   &registration);
	if (rc < 0) {
		close(ends[0]);
		close(ends[1]);
		return rc;
	}
	(void)!write(ends[1], "x", 1);
	rc = block_for_one(env, blocker, 77);
	if (rc == 0)
		rc = skua_blocker_rearm(blocker, &registration, SKUA_READABLE | SKUA_WRITABLE);
	skua_blocker_wake(blocker);
	if (skua_blocker_block(blocker, &event, 1, (int64_t)SKUA_MSEC) < 0)
		env_wrong(env, "block() failed");
	skua_blocker_deregister(blocker, &registration, 1);
	close(ends[1]);
	return rc;
}

static int run_blocker(struct env *env)
{
	skua_blocker *blocker;
	int rc = skua_blocker_new(io_backend_of(env->io), &blocker);

	if (rc < 0)
		return rc;
	rc = use_blocker(env, blocker);
	skua_blocker_free(blocker);
	return rc;
}

const struct scenario scenarios_of_io[] = {
	{"source_pipe", 0, run_source_pipe, NULL},
	{"socket_pairs", 0, run_socket_pairs, NULL},
	{"sources_many", 0, run_sources_many, NULL},
	{"source_both", 0, run_source_both, NULL},
	{"source_silent", 0, run_source_silent, NULL},
	{"blocker", SCENARIO_STANDALONE | SCENARIO_ONE, run_blocker, NULL},
};

const int scenarios_of_io_count = sizeof scenarios_of_io / sizeof *scenarios_of_io;
