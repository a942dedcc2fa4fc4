/*
 * examples/blocking.c - calls that block, on threads of their own: a file is read although all name
 * lookups hang; a queue that is full says so; and a task waits until there is room in it.
 *
 * It prints:
 *
 *     lookup 0: accepted
 *     lookup 1: accepted
 *     lookup 2: resource temporarily unavailable
 *     the file has 12 bytes, while 2 lookups hang
 *     lookup 0: ended with 0
 *     lookup 1: ended with 1
 *     lookup 2: waited for room, ended with 2
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <skua.h>

/* ---- A name server that does not answer, for the time being ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int answers;

/* A job: its argument is a copy of what the spawn was given. */
static int64_t lookup(void *argument)
{
	int number = *(const int *)argument;

	pthread_mutex_lock(&lock);
	while (!answers)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return number;
}

static void answer(void)
{
	pthread_mutex_lock(&lock);
	answers = 1;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

/* ---- A file ---- */

static int64_t write_and_read(void *unused)
{
	FILE *file = tmpfile();
	char text[32];
	size_t length;

	(void)unused;
	if (file == NULL)
		return -errno;
	fputs("hello, disk\n", file);
	rewind(file);
	length = fread(text, 1, sizeof text, file);
	fclose(file);
	return (int64_t)length;
}

/* ---- The task that needs them ---- */

static const skua_blocking_options names = {
	.struct_size = sizeof names, .kind = SKUA_BLOCKING_NAMES, .name = "lookup"};
static const skua_blocking_options files = {
	.struct_size = sizeof files, .kind = SKUA_BLOCKING_FILES, .name = "read"};

struct needs {
	skua_coro co;
	skua_task *lookups[3], *file;
	skua_blocking_wait wait;
	skua_stats stats;
	int number; /* what is handed to the next lookup: a member, since the spawn may wait */
	int64_t rc, length;
};

static skua_poll needs(skua_cx *cx, struct needs *self)
{
	SKUA_BEGIN(self);
	for (; self->number < 3; self->number++) {
		self->rc = skua_spawn_blocking_with(skua_cx_runtime(cx), lookup, &self->number,
						    sizeof self->number, &names,
						    &self->lookups[self->number]);
		printf("lookup %d: %s\n", self->number,
		       self->rc == 0 ? "accepted" : skua_strerror(self->rc));
		if (self->rc < 0)
			break;
	}
	if (self->number != 2 || self->rc != -EAGAIN)
		SKUA_RETURN(-EPROTO);

	self->rc = skua_spawn_blocking_with(skua_cx_runtime(cx), write_and_read, NULL, 0, &files,
					    &self->file);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	SKUA_AWAIT(self->length = skua_join(cx, &self->file));
	skua_runtime_stats(skua_cx_runtime(cx), &self->stats);
	printf("the file has %d bytes, while %d lookups hang\n", (int)self->length,
	       (int)(self->stats.blocking[SKUA_BLOCKING_NAMES].running +
		     self->stats.blocking[SKUA_BLOCKING_NAMES].queued));

	answer();
	SKUA_AWAIT(self->rc = skua_spawn_blocking_when_room(cx, &self->wait, lookup, &self->number,
							    sizeof self->number, &names,
							    &self->lookups[self->number]));
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	for (self->number = 0; self->number < 3; self->number++) {
		SKUA_AWAIT(self->rc = skua_join(cx, &self->lookups[self->number]));
		printf("lookup %d: %sended with %d\n", self->number,
		       self->number == 2 ? "waited for room, " : "", (int)self->rc);
	}
	SKUA_END(self->rc == 2 && self->length == 12 ? 0 : -EPROTO);
}
SKUA_CORO(needs, struct needs);

int main(void)
{
	struct needs task = {.co = SKUA_CORO_INIT(needs)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	config.blocking_names = 1; /* one lookup at a time, */
	config.blocking_queue = 1; /* and one that waits */
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_block_on(rt, &task.co);
	return skua_runtime_free(rt) < 0 || rc < 0;
}
