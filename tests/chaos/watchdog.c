/*
 * watchdog.c - a thread that looks whether operations still end. It counts its own looks, not time:
 * while the process is stopped it does not look either, so that is not held against anybody.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"

enum { LOOKS = 50, MAX_SCHEDS = 16 };

static _Atomic uint64_t operations;

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	struct sk_sched *scheds[MAX_SCHEDS];
	uint64_t limit_ms;
	_Atomic bool stop;
} watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER};

void chaos_progress(void)
{
	atomic_fetch_add_explicit(&operations, 1, memory_order_relaxed);
}

uint64_t chaos_operations(void)
{
	return atomic_load(&operations);
}

void watchdog_add(struct sk_sched *sched)
{
	pthread_mutex_lock(&watchdog.lock);
	for (int i = 0; i < MAX_SCHEDS; i++)
		if (watchdog.scheds[i] == NULL) {
			watchdog.scheds[i] = sched;
			break;
		}
	pthread_mutex_unlock(&watchdog.lock);
}

void watchdog_remove(struct sk_sched *sched)
{
	pthread_mutex_lock(&watchdog.lock);
	for (int i = 0; i < MAX_SCHEDS; i++)
		if (watchdog.scheds[i] == sched)
			watchdog.scheds[i] = NULL;
	pthread_mutex_unlock(&watchdog.lock);
}

__attribute__((noreturn)) static void bark(void)
{
	fprintf(stderr, "chaos: no progress for %" PRIu64 " ms, after %" PRIu64 " operations\n",
		watchdog.limit_ms, chaos_operations());
	pthread_mutex_lock(&watchdog.lock);
	for (int i = 0; i < MAX_SCHEDS; i++)
		if (watchdog.scheds[i] != NULL)
			sk_sched_dump(watchdog.scheds[i], stderr);
	_exit(CHAOS_EXIT_STUCK);
}

static void *watch(void *argument)
{
	uint64_t seen = 0, quiet = 0, pause_us = watchdog.limit_ms * 1000 / LOOKS;

	while (!atomic_load(&watchdog.stop)) {
		uint64_t now = chaos_operations();

		quiet = now == seen ? quiet + 1 : 0;
		seen = now;
		if (quiet > LOOKS)
			bark();
		usleep((useconds_t)pause_us);
	}
	return argument;
}

void watchdog_start(uint64_t limit_ms)
{
	watchdog.limit_ms = limit_ms;
	if (pthread_create(&watchdog.thread, NULL, watch, NULL) != 0)
		abort();
}

void watchdog_stop(void)
{
	atomic_store(&watchdog.stop, true);
	pthread_join(watchdog.thread, NULL);
}
