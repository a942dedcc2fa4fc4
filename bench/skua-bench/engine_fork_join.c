/* engine_fork_join.c - trees of tasks, each of which joins its children. */
#include "bench.h"

enum { SKYNET_LEAVES = 1000000, SKYNET_TASKS = 1111111, FIB = 22, FIB_TASKS = 57313, QUEENS = 8 };

static int64_t run(struct bench *bench, skua_future *future)
{
	int64_t result = skua_block_on(bench->runtime, future);

	must(result, "skua_block_on");
	return result;
}

/* ---- Skynet: a million leaves give their numbers, the others add them up ---- */

struct skynet {
	skua_coro co;
	int64_t number, size, sum;
	int i;
	skua_task *children[10];
};

static skua_poll skynet(skua_cx *cx, struct skynet *self);
SKUA_CORO(skynet, struct skynet);

static skua_poll skynet(skua_cx *cx, struct skynet *self)
{
	struct skynet child;
	int64_t sum;

	SKUA_BEGIN(self);
	if (self->size == 1)
		SKUA_RETURN(self->number);
	child = (struct skynet){.co = SKUA_CORO_INIT(skynet), .size = self->size / 10};
	for (self->i = 0; self->i < 10; self->i++) {
		child.number = self->number + self->i * child.size;
		must(skua_spawn(skua_cx_runtime(cx), &child.co, &self->children[self->i]),
		     "skua_spawn");
	}
	for (self->i = 0; self->i < 10; self->i++) {
		SKUA_AWAIT(sum = skua_join(cx, &self->children[self->i]));
		must(sum, "skua_join");
		self->sum += sum;
	}
	SKUA_END(self->sum);
}

static void run_skynet(struct bench *bench, int64_t leaves)
{
	struct skynet root = {.co = SKUA_CORO_INIT(skynet), .size = leaves};

	must_be(run(bench, &root.co), 499999500000, "the sum of skynet");
}

/* ---- Fibonacci numbers, the slow way: two children each ---- */

struct fib {
	skua_coro co;
	int64_t n, sum;
	skua_task *children[2];
};

static skua_poll fib(skua_cx *cx, struct fib *self);
SKUA_CORO(fib, struct fib);

static skua_poll fib(skua_cx *cx, struct fib *self)
{
	struct fib child = {.co = SKUA_CORO_INIT(fib)};
	int64_t sum;

	SKUA_BEGIN(self);
	if (self->n < 2)
		SKUA_RETURN(self->n);
	for (int i = 0; i < 2; i++) {
		child.n = self->n - 1 - i;
		must(skua_spawn(skua_cx_runtime(cx), &child.co, &self->children[i]), "skua_spawn");
	}
	SKUA_AWAIT(sum = skua_join(cx, &self->children[0]));
	self->sum = sum;
	SKUA_AWAIT(sum = skua_join(cx, &self->children[1]));
	SKUA_END(self->sum + sum);
}

static void run_fib(struct bench *bench, int64_t n)
{
	struct fib root = {.co = SKUA_CORO_INIT(fib), .n = n};

	must_be(run(bench, &root.co), 17711, "the Fibonacci number");
}

/* ---- Queens: each legal place in the next row is a child ---- */

struct queens {
	skua_coro co;
	unsigned columns, left, right; /* under attack, as bits */
	int row, i, count;
	int64_t sum;
	skua_task *children[QUEENS];
};

static skua_poll queens(skua_cx *cx, struct queens *self);
SKUA_CORO(queens, struct queens);

static skua_poll queens(skua_cx *cx, struct queens *self)
{
	int64_t sum;

	SKUA_BEGIN(self);
	if (self->row == QUEENS)
		SKUA_RETURN(1);
	for (unsigned place = 1; place < 1u << QUEENS; place <<= 1) {
		struct queens child = {.co = SKUA_CORO_INIT(queens), .row = self->row + 1};

		if (((self->columns | self->left | self->right) & place) != 0)
			continue;
		child.columns = self->columns | place;
		child.left = (self->left | place) << 1;
		child.right = (self->right | place) >> 1;
		must(skua_spawn(skua_cx_runtime(cx), &child.co, &self->children[self->count++]),
		     "skua_spawn");
	}
	for (self->i = 0; self->i < self->count; self->i++) {
		SKUA_AWAIT(sum = skua_join(cx, &self->children[self->i]));
		must(sum, "skua_join");
		self->sum += sum;
	}
	SKUA_END(self->sum);
}

static void run_queens(struct bench *bench, int64_t unused)
{
	struct queens root = {.co = SKUA_CORO_INIT(queens)};

	(void)unused;
	must_be(run(bench, &root.co), 92, "the number of solutions");
}

const struct workload engine_fork_join[] = {
	{.name = "engine/skynet",
	 .operations = SKYNET_TASKS,
	 .argument = SKYNET_LEAVES,
	 .iterate = run_skynet},
	{.name = "engine/fib", .operations = FIB_TASKS, .argument = FIB, .iterate = run_fib},
	{.name = "engine/nqueens", .operations = 2057, .iterate = run_queens},
	{.name = NULL},
};
