/* runtimes.c - workloads that make and free runtimes: several at a time with all sorts of tasks,
 * and cases of the lifecycle matrix. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/config.h"
#include "runtime/runtime.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/workloads.h"
#include "tests/lifecycle/lifecycle.h"
#include "tests/lifecycle/memory.h"

skua_runtime *chaos_runtime(struct chaos *chaos, uint32_t workers, uint32_t shutdown_ms)
{
	skua_runtime *rt = NULL;
	skua_config config;
	int rc;

	skua_config_init(&config);
	config.pinned = (1u << SK_KNOB_COUNT) - 1;
	config.workers = workers;
	io_configure(&config, chaos->io);
	config.io_threads = 1 + chaos->seed % 2;
	config.log = SKUA_LOG_ERROR;
	config.max_blocking = 8;
	config.blocking_keepalive_ms = 5;
	config.budget = 1 + chaos->seed % 32;
	config.spin_us = chaos->seed % 5 == 0 ? 50 : 0;
	config.shutdown_ms = shutdown_ms;
	rc = skua_runtime_new(&config, &rt);
	CHAOS_CHECK(rc == 0, "skua_runtime_new: %s", config.message);
	watchdog_add(rt->head.sched);
	return rt;
}

void chaos_runtime_free(skua_runtime *rt, int expected)
{
	struct sk_sched *sched = rt->head.sched;
	int rc = skua_runtime_free(rt);

	watchdog_remove(sched);
	CHAOS_CHECK(rc == expected, "skua_runtime_free: %d", rc);
}

/* ---- Several runtimes, freed while their tasks do all sorts of things ---- */

enum { CREATORS = 2, TASKS = 20 };

struct creator {
	struct chaos *chaos;
	uint64_t random;
	pthread_t thread;
};

/* Does one thing or another until it is cancelled; joins a task that may be another runtime's. */
struct resident {
	skua_coro co;
	uint32_t kind;
	skua_task *target;
	skua_timer timer;
	skua_poll result;
};

static skua_poll await_for_ever(skua_cx *cx)
{
	int interrupt = skua_cx_interrupt(cx);

	return interrupt != 0 ? interrupt : SKUA_PENDING;
}

static skua_poll resident(skua_cx *cx, struct resident *self)
{
	SKUA_BEGIN(self);
	for (;;) {
		if (self->target != NULL) {
			SKUA_AWAIT(self->result = skua_join(cx, &self->target));
			skua_detach(&self->target);
		} else if (self->kind == 0) {
			SKUA_AWAIT(self->result = await_for_ever(cx));
		} else if (self->kind == 1) {
			SKUA_AWAIT(self->result = skua_sleep(cx, &self->timer, 100 * SKUA_USEC));
		} else if (self->kind == 2) {
			SKUA_AWAIT(self->result = skua_yield(cx));
		} else {
			SKUA_RETURN(3);
		}
		chaos_progress();
		if (self->result == -ECANCELED)
			break;
	}
	SKUA_END(-ECANCELED);
}
SKUA_CORO(resident, struct resident);

static void live_and_end(struct creator *self)
{
	uint32_t workers = 1 + chaos_random(&self->random, 4);
	skua_runtime *rt = chaos_runtime(self->chaos, workers, 5000);
	skua_runtime *other = chaos_runtime(self->chaos, 1, 5000);
	skua_task *tasks[TASKS];

	for (int i = 0; i < TASKS; i++) {
		struct resident one = {.co = SKUA_CORO_INIT(resident),
				       .kind = chaos_random(&self->random, 4)};
		bool joins = i > 0 && chaos_random(&self->random, 4) == 0;
		int rc;

		if (joins) {
			one.target = tasks[i - 1];
			tasks[i - 1] = NULL;
		}
		rc = skua_spawn(chaos_random(&self->random, 3) == 0 ? other : rt, &one.co,
				&tasks[i]);
		CHAOS_CHECK(rc == 0, "skua_spawn: %d", rc);
	}
	usleep(chaos_random(&self->random, 2000));
	chaos_runtime_free(rt, 0);
	chaos_runtime_free(other, 0);
	for (int i = 0; i < TASKS; i++) {
		skua_poll result;

		if (tasks[i] == NULL)
			continue;
		result = skua_task_wait(&tasks[i]);
		CHAOS_CHECK(result == -ECANCELED || result == 3, "%lld", (long long)result);
	}
	chaos_progress();
}

static void *creator(void *argument)
{
	struct creator *self = argument;

	while (chaos_goes_on(self->chaos))
		live_and_end(self);
	return NULL;
}

void chaos_runtimes(struct chaos *chaos)
{
	struct creator creators[CREATORS];

	for (int i = 0; i < CREATORS; i++) {
		creators[i] = (struct creator){chaos, chaos->seed + (uint64_t)i, 0};
		if (pthread_create(&creators[i].thread, NULL, creator, &creators[i]) != 0)
			abort();
	}
	for (int i = 0; i < CREATORS; i++)
		pthread_join(creators[i].thread, NULL);
}

/* ---- Cases of the lifecycle matrix ---- */

static struct sk_sched *on_stage;

static void stage_changes(struct sk_sched *sched)
{
	if (sched != NULL)
		watchdog_add(sched);
	else
		watchdog_remove(on_stage);
	on_stage = sched;
}

void chaos_lifecycle(struct chaos *chaos)
{
	uint64_t random = chaos->seed;

	life_on_runtime = stage_changes;
	life_begin();
	while (chaos_goes_on(chaos)) {
		struct life_case c = life_case_at(chaos_random(&random, LIFE_CASES));
		char name[200];

		if (life_impossible(&c) != NULL)
			continue;
		life_case_name(&c, name, sizeof name);
		CHAOS_CHECK(life_run(&c) == 0, "%s", name);
		chaos_progress();
	}
	life_finish();
}
