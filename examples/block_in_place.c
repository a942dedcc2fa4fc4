/*
 * examples/block_in_place.c - blocking in the middle of a task: a callback of a library, which needs what
 * is on the stack, waits for another task. What waits behind this one goes on meanwhile, even with one
 * worker: a spare one takes it over.
 *
 * Where nothing on the stack is needed, skua_spawn_blocking (blocking.c) is better: it keeps no worker.
 *
 * It prints:
 *
 *     sorting asks for the order
 *     another task answers: downwards
 *     sorted: 9 7 5 3 1
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <skua.h>

/* ---- A question, and a thread that waits for the answer ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int order; /* 0: not known yet; 1 upwards, -1 downwards */

static int order_wait(void)
{
	int found;

	pthread_mutex_lock(&lock);
	while (order == 0)
		pthread_cond_wait(&changed, &lock);
	found = order;
	pthread_mutex_unlock(&lock);
	return found;
}

static void order_set(int to)
{
	pthread_mutex_lock(&lock);
	order = to;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

/* ---- The task that knows the answer ---- */

struct knows {
	skua_coro co;
};

static skua_poll knows(skua_cx *cx, struct knows *self)
{
	(void)cx;
	SKUA_BEGIN(self);
	printf("another task answers: downwards\n");
	order_set(-1);
	SKUA_END(0);
}
SKUA_CORO(knows, struct knows);

/* ---- The task that sorts: qsort, which knows no awaits, calls compare ---- */

static int compare(const void *a, const void *b)
{
	int difference = *(const int *)a - *(const int *)b;

	return order_wait() * difference;
}

struct numbers {
	int values[5];
};

static int64_t sort(void *argument)
{
	struct numbers *numbers = argument;

	qsort(numbers->values, 5, sizeof numbers->values[0], compare);
	return 0;
}

struct sorts {
	skua_coro co;
	skua_task *other;
	int64_t rc;
};

static skua_poll sorts(skua_cx *cx, struct sorts *self)
{
	struct numbers numbers = {{5, 1, 9, 3, 7}}; /* on the stack, where the call is made */

	SKUA_BEGIN(self);
	printf("sorting asks for the order\n");
	self->rc = skua_spawn(skua_cx_runtime(cx), &(struct knows){.co = SKUA_CORO_INIT(knows)}.co,
			      &self->other);
	if (self->rc == 0)
		self->rc = skua_block_in_place(cx, sort, &numbers);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	printf("sorted: %d %d %d %d %d\n", numbers.values[0], numbers.values[1], numbers.values[2],
	       numbers.values[3], numbers.values[4]);
	self->rc = numbers.values[0] == 9 && numbers.values[4] == 1 ? 0 : -1;
	SKUA_AWAIT(skua_join(cx, &self->other));
	SKUA_END(self->rc);
}
SKUA_CORO(sorts, struct sorts);

int main(void)
{
	struct sorts task = {.co = SKUA_CORO_INIT(sorts)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_block_on(rt, &task.co);
	return skua_runtime_free(rt) < 0 || rc < 0;
}
