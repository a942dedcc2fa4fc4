/* matrix.c - the combinations, the reasons against some, and what must come of the others. */
#include "tests/lifecycle/lifecycle.h"

#include <errno.h>
#include <stdio.h>

static const char *const programs[] = {"value",   "error",     "value-after-1", "value-after-3",
				       "error-1", "cleans-up", "stubborn",      "is-dropped"};
static const char *const waits[] = {"nothing", "yield", "waker", "timer", "source", "job"};
static const char *const moments[] = {"never",  "new",      "running", "parked",
				      "queued", "complete", "twice"};
static const char *const handles[] = {
	"none", "detach-new", "detach-running", "detach-parked", "detach-late",    "wait-after",
	"wait", "join",       "join-timed",     "join-too-late", "join-cancelled", "join-twice"};
static const char *const actors[] = {"outside", "worker", "job", "driver"};
static const char *const backends[] = {"epoll", "uv"};

_Static_assert(sizeof programs / sizeof *programs == PROGRAMS, "a name for each");
_Static_assert(sizeof waits / sizeof *waits == WAITS, "a name for each");
_Static_assert(sizeof moments / sizeof *moments == CANCELS, "a name for each");
_Static_assert(sizeof handles / sizeof *handles == HANDLES, "a name for each");
_Static_assert(sizeof actors / sizeof *actors == ACTORS, "a name for each");

static unsigned digit(unsigned *rest, unsigned base)
{
	unsigned value = *rest % base;

	*rest /= base;
	return value;
}

struct life_case life_case_at(unsigned index)
{
	struct life_case c;

	c.backend = digit(&index, BACKENDS);
	c.workers = digit(&index, WORKER_COUNTS);
	c.actor = (enum actor)digit(&index, ACTORS);
	c.end = (enum moment)digit(&index, MOMENTS);
	c.handle = (enum handle)digit(&index, HANDLES);
	c.cancel = digit(&index, CANCELS);
	c.wait = (enum wait)digit(&index, WAITS);
	c.program = (enum program)digit(&index, PROGRAMS);
	return c;
}

const char *life_program_name(enum program program)
{
	return programs[program];
}

uint32_t life_worker_count(const struct life_case *c)
{
	return 1u << c->workers;
}

void life_case_name(const struct life_case *c, char *name, size_t size)
{
	snprintf(name, size, "%s/%s/cancel=%s/handle=%s/end=%s/%s/%u/%s", programs[c->program],
		 waits[c->wait], moments[c->cancel], handles[c->handle], moments[c->end],
		 actors[c->actor], life_worker_count(c), backends[c->backend]);
}

/* ---- The moments of a case ---- */

static bool is_at_once(const struct life_case *c)
{
	return c->program == VALUE || c->program == ERROR;
}

static bool takes_no_notice(const struct life_case *c)
{
	return c->program == STUBBORN || c->program == DROPPED;
}

/* Something outside must wake it: it can be found parked. */
static bool can_park(const struct life_case *c)
{
	return c->wait >= WAKER;
}

static enum moment cancel_moment(const struct life_case *c)
{
	return c->cancel == TWICE ? RUNNING : (enum moment)c->cancel;
}

enum moment life_detached_at(const struct life_case *c)
{
	static const enum moment at[HANDLES] = {[DETACHED_NEW] = NEW,
						[DETACHED_RUNNING] = RUNNING,
						[DETACHED_PARKED] = PARKED,
						[DETACHED_COMPLETE] = COMPLETE};

	return at[c->handle];
}

bool life_is_consumed(const struct life_case *c)
{
	return c->handle == WAITED_ALWAYS || c->handle == JOINED || c->handle == JOINED_IN_TIME ||
	       c->handle == JOINED_TWICE;
}

/* When something is done with the handle, besides waiting at the end. */
static enum moment handle_moment(const struct life_case *c)
{
	if (c->handle == JOINED_LATE || c->handle == JOINED_CANCELLED || c->handle == JOINED_TWICE)
		return PARKED;
	return life_detached_at(c);
}

/* ---- What must come of a case ---- */

struct walk {
	const struct life_case *c;
	struct life_outcome *outcome;
	bool asked, told;           /* cancelled; an await has said so */
	bool closing, told_closing; /* the same of the runtime's end */
};

static void come_to(struct walk *walk, enum moment moment)
{
	walk->outcome->passes[moment] = true;
	if (cancel_moment(walk->c) == moment)
		walk->asked = true;
	if (walk->c->end == moment)
		walk->closing = true;
}

/* What skua_cx_interrupt must say. */
static bool is_interrupted(struct walk *walk)
{
	if (walk->told_closing || (!walk->closing && (!walk->asked || walk->told)))
		return false;
	if (walk->closing)
		walk->told_closing = true;
	else
		walk->told = true;
	walk->outcome->interrupts_max++;
	return true;
}

static void drop(struct walk *walk)
{
	walk->outcome->dropped = true;
	walk->outcome->result = -ESHUTDOWN;
}

/* Where an await begins or is polled again; true if the task has ended. */
static bool obeys(struct walk *walk)
{
	while (is_interrupted(walk))
		if (!takes_no_notice(walk->c)) {
			walk->outcome->result = -ECANCELED;
			/* The clean-up awaits; nobody will tell it twice but the runtime. */
			return true;
		}
	return false;
}

/* The awaits of a task that is in its first poll. True: it ends by itself, with the result. */
static bool walk_awaits(struct walk *walk)
{
	const struct life_case *c = walk->c;

	if (obeys(walk))
		return true;
	if (walk->closing && c->program == DROPPED)
		return false;
	if (c->wait == YIELD)
		return true;
	if (walk->closing && c->wait == JOB) {
		walk->outcome->result = -ESHUTDOWN; /* of skua_spawn_blocking */
		return true;
	}
	if (walk->closing)
		return false;

	come_to(walk, PARKED);
	if (walk->closing && c->program == DROPPED)
		return false;
	if (obeys(walk))
		return true;
	if (walk->closing)
		return c->wait == JOB;

	if (c->cancel == QUEUED || c->end == QUEUED)
		come_to(walk, QUEUED);
	if (walk->closing && c->program == DROPPED)
		return false;
	if (obeys(walk))
		return true;
	/* It was woken already; but an interrupted sleep begins anew. */
	return !walk->closing || c->wait != TIMER;
}

void life_predict(const struct life_case *c, struct life_outcome *outcome)
{
	struct walk walk = {c, outcome, false, false, false, false};

	*outcome = (struct life_outcome){.polled = true, .result = LIFE_VALUE};
	if (c->program == ERROR || c->program == ERROR_AFTER_1)
		outcome->result = -EIO;
	come_to(&walk, NEW);
	if (walk.closing && c->program == DROPPED) {
		outcome->polled = false;
		outcome->never_polled = true;
		drop(&walk);
		return;
	}
	if (!walk.closing)
		come_to(&walk, RUNNING);
	if (!is_at_once(c) && !walk_awaits(&walk))
		drop(&walk);
	if (outcome->dropped && walk.closing)
		/* Nobody waits until it has seen the end. */
		outcome->polled = c->end != NEW;
	outcome->interrupts_min = walk.told;
	if (walk.told_closing && !outcome->dropped)
		outcome->interrupts_min++;
	if (outcome->dropped)
		outcome->interrupts_max++;
	/* It may be told of its cancellation before its runtime ends at the same moment. */
	if (c->cancel == PARKED && c->end == PARKED)
		outcome->interrupts_max++;
	outcome->passes[COMPLETE] = !walk.closing;
}

/* ---- What makes no sense ---- */

static const char *impossible_program(const struct life_case *c)
{
	if (is_at_once(c) && c->wait != NOTHING)
		return "a future that is ready at once waits for nothing";
	if (!is_at_once(c) && c->wait == NOTHING && !(c->program == DROPPED && c->end == NEW))
		return "a future that is not ready at once waits for something";
	if (c->program == DROPPED && (c->end == NEVER || c->end == COMPLETE))
		return "a future is dropped only when its runtime is freed first";
	if (c->program == DROPPED && c->end == NEW && c->wait != NOTHING)
		return "what is never polled waits for nothing";
	if (c->program == DROPPED && c->end == RUNNING && c->wait == YIELD && c->workers > 0)
		return "another worker may just be about to take it, and end it";
	if (c->program == DROPPED && c->end == RUNNING && c->wait == JOB)
		return "a runtime that is being freed starts no job to wait for";
	return NULL;
}

static const char *impossible_handle(const struct life_case *c)
{
	enum moment detached = life_detached_at(c), cancel = cancel_moment(c);

	if (c->handle == NO_HANDLE && cancel != NEVER)
		return "without a handle nobody can cancel";
	if (detached != NEVER && cancel > detached)
		return "the handle is gone before the cancellation";
	if (life_is_consumed(c) && cancel == COMPLETE)
		return "who joins has taken the handle when it is complete";
	if (life_is_consumed(c) && c->end == COMPLETE)
		return "it has been joined when it is complete, so nothing is left for its runtime's end";
	return NULL;
}

static const char *impossible_moment(const struct life_case *c)
{
	enum moment cancel = cancel_moment(c), handle = handle_moment(c);
	struct life_outcome outcome;

	if (!can_park(c) && (cancel == PARKED || cancel == QUEUED || handle == PARKED ||
			     c->end == PARKED || c->end == QUEUED))
		return "it is never parked";
	/* The handle outlives the runtime, so the last moment comes in any case. */
	if (c->end != NEVER &&
	    ((cancel > c->end && cancel != COMPLETE) || (handle > c->end && handle != COMPLETE)))
		return "the runtime is freed before that moment";
	life_predict(c, &outcome);
	if ((cancel == PARKED || cancel == QUEUED) && !outcome.passes[cancel])
		return "it has ended before the cancellation";
	if (handle == PARKED && !outcome.passes[PARKED])
		return "it has ended before anything is done with the handle";
	if ((c->end == PARKED || c->end == QUEUED) && !outcome.passes[c->end])
		return "it has ended before its runtime is freed at that moment";
	return NULL;
}

const char *life_impossible(const struct life_case *c)
{
	const char *reason = impossible_program(c);

	if (reason == NULL)
		reason = impossible_handle(c);
	if (reason == NULL)
		reason = impossible_moment(c);
	if (reason == NULL && c->backend != 0 && c->wait != SOURCE && c->actor != ON_DRIVER)
		reason = "no descriptor is waited for: the backend makes no difference";
	return reason;
}
