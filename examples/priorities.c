/*
 * examples/priorities.c - interactive tasks before normal ones, background tasks after them, and none of
 * them starved.
 *
 * One worker, whatever SKUA_WORKERS says, so that the order is the same each time: each worker keeps
 * the order for itself, and with several an idle one takes what there is.
 *
 * It prints:
 *
 *     spawned: background background normal normal interactive interactive
 *     run: interactive interactive normal normal background background
 *     beside an interactive task that never rests, a background task has had its turn
 */
#include <errno.h>
#include <stdio.h>

#include <skua.h>

static const char *const names[] = {"normal", "interactive", "background"}; /* SKUA_PRIORITY_* */

/* ---- A task that says what it is ---- */

struct says {
	skua_coro co;
	uint32_t priority;
};

static skua_poll says(skua_cx *cx, struct says *self)
{
	(void)cx;
	SKUA_BEGIN(self);
	printf(" %s", names[self->priority]);
	SKUA_END(0);
}
SKUA_CORO(says, struct says);

/* ---- One that is always ready, until the background has had its turn, or for too long ---- */

struct busy {
	skua_coro co;
	const int *done;
	int turns;
	int64_t rc;
};

static skua_poll busy(skua_cx *cx, struct busy *self)
{
	SKUA_BEGIN(self);
	while (!*self->done && self->turns++ < 1000)
		SKUA_AWAIT(self->rc = skua_yield(cx));
	SKUA_END(*self->done ? 0 : -ETIME);
}
SKUA_CORO(busy, struct busy);

struct patient {
	skua_coro co;
	int *done;
};

static skua_poll patient(skua_cx *cx, struct patient *self)
{
	(void)cx;
	SKUA_BEGIN(self);
	*self->done = 1;
	SKUA_END(0);
}
SKUA_CORO(patient, struct patient);

/* ---- Their owner ---- */

struct owner {
	skua_coro co;
	skua_scope *scope;
	int done; /* a child may use it: it ends before its owner does */
	int64_t rc;
};

static int spawn(skua_cx *cx, struct owner *self, const skua_future *future, uint32_t priority)
{
	const skua_spawn_options options = {.struct_size = sizeof options, .priority = priority};

	return skua_scope_spawn_with(cx, self->scope, future, &options, NULL);
}

/* Two of each class, the least urgent ones first; all in one poll, so none of them runs meanwhile. */
static int64_t spawn_six(skua_cx *cx, struct owner *self)
{
	static const uint32_t order[] = {SKUA_PRIORITY_BACKGROUND, SKUA_PRIORITY_NORMAL,
					 SKUA_PRIORITY_INTERACTIVE};
	int rc = skua_scope_new(cx, NULL, &self->scope);

	printf("spawned:");
	for (int i = 0; rc == 0 && i < 6; i++) {
		struct says task = {.co = SKUA_CORO_INIT(says), .priority = order[i / 2]};

		printf(" %s", names[task.priority]);
		rc = spawn(cx, self, &task.co, task.priority);
	}
	printf("\nrun:");
	return rc;
}

static int64_t spawn_two(skua_cx *cx, struct owner *self)
{
	const struct patient patient = {.co = SKUA_CORO_INIT(patient), .done = &self->done};
	const struct busy busy = {.co = SKUA_CORO_INIT(busy), .done = &self->done};
	int rc = skua_scope_new(cx, NULL, &self->scope);

	if (rc == 0)
		rc = spawn(cx, self, &patient.co, SKUA_PRIORITY_BACKGROUND);
	return rc < 0 ? rc : spawn(cx, self, &busy.co, SKUA_PRIORITY_INTERACTIVE);
}

static skua_poll owner(skua_cx *cx, struct owner *self)
{
	SKUA_BEGIN(self);
	self->rc = spawn_six(cx, self);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	self->rc = spawn_two(cx, self);
	if (self->rc < 0)
		SKUA_RETURN(self->rc);
	SKUA_AWAIT(self->rc = skua_scope_join(cx, &self->scope));
	printf("\nbeside an interactive task that never rests, a background task has %shad its turn\n",
	       self->rc == 0 ? "" : "not ");
	SKUA_END(self->rc);
}
SKUA_CORO(owner, struct owner);

int main(void)
{
	struct owner task = {.co = SKUA_CORO_INIT(owner)};
	skua_config config;
	skua_runtime *rt;
	int64_t rc;

	skua_config_init(&config);
	config.workers = 1;
	config.spare_workers = 0;
	config.pinned = SKUA_KNOB_WORKERS | SKUA_KNOB_SPARE_WORKERS;
	if (skua_runtime_new(&config, &rt) < 0)
		return 1; /* config.message says why */
	rc = skua_block_on(rt, &task.co);
	return skua_runtime_free(rt) < 0 || rc < 0;
}
