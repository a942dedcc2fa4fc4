/*
 * test_answers.c - how late answers are while workers are stuck: 99 of 100 requests, one every 10 ms, within
 * 5 ms; and that those are reported once each, within twice SKUA_STALL_MS.
 */
#include <poll.h>
#include <stdlib.h>

#include "echo_support.h"

enum { MANY = 8, STALL_MS = 100 };

static skua_runtime *runtime_with_spares(uint32_t workers)
{
	skua_config config;

	quiet_config(&config, workers, IO_AUTO);
	config.spare_workers = 4;
	config.stall_ms = STALL_MS;
	config.log = SKUA_LOG_WARN;
	return runtime_with(&config);
}

enum { ASK_EVERY_MS = 10, ANSWER_WITHIN_MS = 5, COMPUTES_MS = 1500 };

static skua_poll computes(skua_cx *cx, void *argument)
{
	uint64_t until = skua_now() + *(uint64_t *)argument;

	(void)cx;
	while (skua_now() < until)
		;
	return 5;
}

/* Leaves its CPU to the others, of which this machine may not have enough. */
static skua_poll sleeps(skua_cx *cx, void *argument)
{
	uint64_t ns = *(uint64_t *)argument;

	(void)cx;
	sleep_ms((long)(ns / SKUA_MSEC));
	return 5;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Asks at fixed moments; an answer that is late makes the next ones late as well, and counts as that. */
static uint64_t percentile_99(int fd, uint64_t *times, int asks)
{
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	uint64_t begin = skua_now();

	for (int i = 0; i < asks; i++) {
		uint64_t due = begin + (uint64_t)i * ASK_EVERY_MS * SKUA_MSEC, now = skua_now();
		char byte = 'x';

		if (now < due) {
			struct timespec wait = {0, (long)(due - now)};

			nanosleep(&wait, NULL);
		}
		T_EQ(send(fd, &byte, 1, 0), 1);
		T_EQ(poll(&answer, 1, -1), 1);
		T_EQ(recv(fd, &byte, 1, 0), 1);
		times[i] = skua_now() - due;
	}
	qsort(times, (size_t)asks, sizeof *times, by_value);
	return times[asks * 99 / 100];
}

/* ---- The same without Skua: what this machine can do at the moment ---- */

static void *plain_echo(void *argument)
{
	int fd = *(int *)argument;
	char byte;

	while (recv(fd, &byte, 1, 0) == 1)
		T_EQ(send(fd, &byte, 1, 0), 1);
	return NULL;
}

static atomic_int stop_computing;

static void *compute(void *unused)
{
	while (stop_computing == 0)
		;
	return unused;
}

/* Two threads: one answers, and one computes. */
static uint64_t plain_percentile_99(uint64_t *times, int asks)
{
	pthread_t threads[2];
	uint64_t late;
	int fds[2];

	T_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	stop_computing = 0;
	T_EQ(pthread_create(&threads[0], NULL, plain_echo, &fds[1]), 0);
	T_EQ(pthread_create(&threads[1], NULL, compute, NULL), 0);
	late = percentile_99(fds[0], times, asks);
	stop_computing = 1;
	close(fds[0]);
	for (int i = 0; i < 2; i++)
		T_EQ(pthread_join(threads[i], NULL), 0);
	close(fds[1]);
	return late;
}

/* Each stuck task has been reported once, in time. Returns when the last one was, in milliseconds. */
static unsigned look_at_reports(const char *text, int stuck)
{
	unsigned latest = 0;
	int reports = 0;

	while ((text = strstr(text, "is stuck: task call has been running for ")) != NULL) {
		unsigned ms = 0;

		T_EQ(sscanf(text, "is stuck: task call has been running for %u ms", &ms), 1);
		latest = ms > latest ? ms : latest;
		reports++;
		text++;
	}
	T_EQ(reports, stuck);
	T_GE(latest, STALL_MS);
	return latest;
}

/* The same with Skua, of whose workers some are stuck. */
static uint64_t skua_percentile_99(uint32_t workers, int stuck, operation *how, uint64_t ns,
				   uint64_t *times, int asks)
{
	struct net net = {.rt = runtime_with_spares(workers)};
	struct echo answering = {.co = SKUA_CORO_INIT(echo)};
	skua_task *tasks[MANY], *echo_task;
	struct capture capture;
	char text[16384];
	unsigned reported;
	uint64_t late;

	net.listener = listen_on(net.rt, "127.0.0.1", NULL, &net.addr);
	net_connect(&net);
	answering.conn = net.server;
	echo_task = start_future(net.rt, &answering.co);
	capture_start(&capture);
	for (int i = 0; i < stuck; i++)
		tasks[i] = start(net.rt, how, &ns);
	late = percentile_99(fd_of(net.client), times, asks);
	for (int i = 0; i < stuck; i++)
		T_EQ(skua_task_wait(&tasks[i]), 5);
	capture_stop(&capture, text, sizeof text);
	reported = look_at_reports(text, stuck);
	T_LOG("%u workers, %d stuck for %g s: 99 of 100 within %g ms, the last after %g ms; reported "
	      "after %u ms",
	      workers, stuck, (double)ns / 1e9, (double)late / 1e6, (double)times[asks - 1] / 1e6,
	      reported);
	if (reported > 2 * STALL_MS * PATIENCE)
		late = UINT64_MAX;
	skua_tcp_close(net.client);
	T_EQ(skua_task_wait(&echo_task), 0);
	net.client = net.server = NULL;
	net_close(&net);
	return late;
}

/* SKUA_TEST_STALL_S=10 takes so many seconds. On a machine that may be busy with others: what is late counts
 * only if right after it, without Skua, nothing was, and one of four has to be in time. */
static void answers_are_in_time(uint32_t workers, int stuck, operation *how)
{
	const char *seconds = getenv("SKUA_TEST_STALL_S");
	uint64_t ns =
		seconds != NULL ? strtoull(seconds, NULL, 10) * SKUA_SEC : COMPUTES_MS * SKUA_MSEC;
	const uint64_t bound = ANSWER_WITHIN_MS * SKUA_MSEC * PATIENCE;
	int asks = (int)(ns / SKUA_MSEC / ASK_EVERY_MS), counted = 0, in_time = 0;
	uint64_t *times = calloc((size_t)asks + 1, sizeof *times);

	T_NOT_NULL(times);
	for (int try = 0; try < 4 && !in_time; try++) {
		in_time = skua_percentile_99(workers, stuck, how, ns, times, asks) <= bound;
		if (!in_time)
			counted += plain_percentile_99(times, asks) <= bound / 2;
	}
	free(times);
	if (!in_time && counted < 4)
		T_SKIP("this machine is too busy: without Skua, too, answers are late");
	T_ASSERT(in_time);
}

T_TEST_T(answers, in_time_while_one_of_two_computes, 120)
{
	answers_are_in_time(2, 1, computes);
}

T_TEST_T(answers, in_time_while_both_are_stuck, 120)
{
	answers_are_in_time(2, 2, sleeps);
}

T_TEST_T(answers, in_time_while_the_only_one_is_stuck, 120)
{
	answers_are_in_time(1, 1, sleeps);
}
