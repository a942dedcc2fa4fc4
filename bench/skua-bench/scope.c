/* scope.c - tasks that belong to a scope: joined, with results, nested, cancelled. */
#include <errno.h>
#include <stdatomic.h>

#include "bench.h"

enum { TASKS = 1000000, RESULTS = 100000, SCOPES = 1000, CHILDREN = 10, CANCELLED = 10000 };

/* ---- Without results ---- */

struct empty {
	skua_coro co;
};

static skua_poll empty(skua_cx *cx, struct empty *self)
{
	(void)cx, (void)self;
	return 0;
}
SKUA_CORO(empty, struct empty);

struct owner {
	skua_coro co;
	int64_t count, i, rc;
	skua_scope *scope;
	struct bench *bench;
};

static skua_poll join_all(skua_cx *cx, struct owner *self)
{
	struct empty child = {.co = SKUA_CORO_INIT(empty)};

	SKUA_BEGIN(self);
	must(skua_scope_new(cx, NULL, &self->scope), "skua_scope_new");
	for (self->i = 0; self->i < self->count; self->i++)
		must(skua_scope_spawn(cx, self->scope, &child.co, NULL), "skua_scope_spawn");
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	SKUA_END(self->rc);
}
SKUA_CORO(join_all, struct owner);

static void join(struct bench *bench, int64_t count)
{
	struct owner future = {.co = SKUA_CORO_INIT(join_all), .count = count};

	must_be(skua_block_on(bench->runtime, &future.co), 0, "the end of a scope");
}

/* ---- With results, which are taken one by one as they come ---- */

struct number {
	skua_coro co;
	int64_t value;
};

static skua_poll number(skua_cx *cx, struct number *self)
{
	(void)cx;
	return self->value;
}
SKUA_CORO(number, struct number);

/* A scope of `count` tasks, whose results it adds up: the numbers from `first` on, or, if `nested`,
 * the sums of as many scopes of CHILDREN numbers. */
struct adder {
	skua_coro co;
	bool nested;
	int64_t first, count, i, rc, sum;
	skua_scope *scope;
	skua_scope_result result;
};

static skua_poll adder(skua_cx *cx, struct adder *self);
SKUA_CORO(adder, struct adder);

static int spawn_child(skua_cx *cx, const struct adder *self)
{
	struct number leaf = {.co = SKUA_CORO_INIT(number), .value = self->first + self->i};
	struct adder inner = {
		.co = SKUA_CORO_INIT(adder),
		.first = self->i * CHILDREN,
		.count = CHILDREN,
	};

	return skua_scope_spawn(cx, self->scope, self->nested ? &inner.co : &leaf.co, NULL);
}

static skua_poll adder(skua_cx *cx, struct adder *self)
{
	const skua_scope_options options = {
		.struct_size = sizeof options,
		.results = SKUA_RESULTS_AS_THEY_COME,
	};

	SKUA_BEGIN(self);
	must(skua_scope_new(cx, &options, &self->scope), "skua_scope_new");
	for (self->i = 0; self->i < self->count; self->i++)
		must(spawn_child(cx, self), "skua_scope_spawn");
	for (;;) {
		SKUA_AWAIT(self->rc = skua_scope_next(cx, self->scope, &self->result));
		must(self->rc, "skua_scope_next");
		if (self->rc == 0)
			break;
		self->sum += self->result.result;
	}
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	must(self->rc, "skua_scope_join");
	SKUA_END(self->sum);
}

static void results(struct bench *bench, int64_t count)
{
	struct adder future = {.co = SKUA_CORO_INIT(adder), .count = count};

	must_be(skua_block_on(bench->runtime, &future.co), count * (count - 1) / 2, "the sum");
}

static void nested(struct bench *bench, int64_t count)
{
	struct adder future = {.co = SKUA_CORO_INIT(adder), .nested = true, .count = count};
	int64_t leaves = count * CHILDREN;

	must_be(skua_block_on(bench->runtime, &future.co), leaves * (leaves - 1) / 2, "the sum");
}

/* ---- Cancelled ---- */

static atomic_long waiting, cancelled;

/* Keeps its waker, as one that waits for something does. */
struct parked {
	skua_coro co;
	skua_waker waker;
};

static skua_poll parked(skua_cx *cx, struct parked *self)
{
	if (skua_cx_interrupt(cx) != 0) {
		skua_waker_drop(&self->waker);
		atomic_fetch_add_explicit(&cancelled, 1, memory_order_relaxed);
		return -ECANCELED;
	}
	must(skua_waker_clone(skua_cx_waker(cx), &self->waker), "skua_waker_clone");
	atomic_fetch_add_explicit(&waiting, 1, memory_order_release);
	return SKUA_PENDING;
}
SKUA_CORO(parked, struct parked);

static skua_poll cancel_all(skua_cx *cx, struct owner *self)
{
	struct parked child = {.co = SKUA_CORO_INIT(parked)};

	SKUA_BEGIN(self);
	must(skua_scope_new(cx, NULL, &self->scope), "skua_scope_new");
	for (self->i = 0; self->i < self->count; self->i++)
		must(skua_scope_spawn(cx, self->scope, &child.co, NULL), "skua_scope_spawn");
	while (atomic_load_explicit(&waiting, memory_order_acquire) < self->count)
		SKUA_AWAIT(skua_yield(cx));
	self->bench->start = skua_now();
	skua_scope_cancel(self->scope);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	self->bench->stop = skua_now();
	SKUA_END(self->rc);
}
SKUA_CORO(cancel_all, struct owner);

/* Only the cancelling and joining is timed. */
static void cancel(struct bench *bench, int64_t count)
{
	struct owner future = {.co = SKUA_CORO_INIT(cancel_all), .count = count, .bench = bench};

	atomic_store(&waiting, 0);
	atomic_store(&cancelled, 0);
	must_be(skua_block_on(bench->runtime, &future.co), -ECANCELED, "the end of a scope");
	must_be(atomic_load(&cancelled), count, "cancelled tasks");
}

const struct workload scope_tasks[] = {
	{.name = "scope/join", .operations = TASKS, .argument = TASKS, .iterate = join},
	{.name = "scope/results", .operations = RESULTS, .argument = RESULTS, .iterate = results},
	{.name = "scope/nested",
	 .operations = SCOPES * (1 + CHILDREN),
	 .argument = SCOPES,
	 .iterate = nested},
	{.name = "scope/cancel", .operations = CANCELLED, .argument = CANCELLED, .iterate = cancel},
	{.name = NULL},
};
