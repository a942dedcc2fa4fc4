/*
 * probe.c - the future that polls a subject: it counts the awaits, asks for the end at the chosen
 * one, and looks at what the subject leaves behind.
 *
 * The patient is the subject with a clean-up after it that awaits twice, once behind a shield; so
 * a second request can meet it there. Around the patient stands what the way of cancelling needs.
 */
#include "sched/interrupt.h"
#include "sched/task.h"
#include "tests/cancel/cancel.h"

/* ---- What is told ---- */

/* How often something around the subject has been told to it. What stands inside it, such as a
 * timeout of its own, is not in the context between its polls. */
struct tellings {
	unsigned interrupts;
	uint8_t task;
};

static struct tellings tellings_of(const skua_cx *cx)
{
	struct tellings count = {0, cx->task != NULL ? cx->task->delivered : 0};

	for (const struct sk_interrupt *i = cx->interrupts; i != NULL; i = i->outer)
		count.interrupts += i->delivered;
	return count;
}

static skua_poll poll_subject(skua_cx *cx, struct trial *trial)
{
	struct tellings before = tellings_of(cx), after;
	skua_poll result = skua_poll_future(cx, trial->subject);

	after = tellings_of(cx);
	trial->told_in_body += after.interrupts - before.interrupts + (after.task != before.task);
	return result;
}

/* An await of the clean-up. */
static int64_t noted(struct trial *trial, int64_t result)
{
	trial->told_late += result == -ECANCELED;
	return result;
}

/* ---- The patient ---- */

static skua_poll patient(skua_cx *cx, struct patient *self)
{
	struct trial *trial = self->trial;

	SKUA_BEGIN(self);
	SKUA_AWAIT(trial->result = poll_subject(cx, trial));
	SKUA_AWAIT(self->rc = noted(trial, skua_yield(cx)));
	SKUA_AWAIT(self->rc = skua_shield(cx, skua_yield(cx)));
	trial_expect(trial, "an await behind a shield", self->rc, 0);
	trial->cleanups++;
	/* What no await has told yet. */
	while (noted(trial, skua_cx_interrupt(cx)) != 0)
		;
	SKUA_END(trial->result);
}
SKUA_CORO(patient, struct patient);

static skua_poll poll_patient(skua_cx *cx, struct trial *trial)
{
	const uint16_t shields = cx->shields, due = cx->due;
	const void *interrupts = cx->interrupts;
	skua_poll result = skua_poll_future(cx, &trial->patient.co);

	trial_expect(trial, "shields that are left in the context", cx->shields, shields);
	if (cx->interrupts != interrupts)
		trial_fail(trial, "an interrupt is left in the context");
	if (cx->due > due)
		trial_fail(trial, "more is due than before: %u, not %u", cx->due, due);
	if (result == SKUA_PENDING)
		atomic_fetch_add(&trial->awaits, 1);
	else
		trial->ends++;
	return result;
}

/* ---- What stands around it ---- */

static bool is_time(const struct trial *trial)
{
	return !trial->requested && trial->awaits >= trial->target;
}

static void now_requested(struct trial *trial)
{
	trial->requested = true;
	trial->requested_at = skua_clock_now(trial->rt);
}

/* The other branch of a select: it wins when it is time. */
static skua_poll rival(struct trial *trial)
{
	if (is_time(trial)) {
		now_requested(trial);
		trial->requests++;
	}
	return trial->requested ? 0 : SKUA_PENDING;
}

/* It takes the -ECANCELED of a patient that was faster. */
static skua_poll interruptible_rival(skua_cx *cx, struct trial *trial)
{
	int interrupt = skua_cx_interrupt(cx);

	return interrupt != 0 ? interrupt : rival(trial);
}

static skua_poll select_patient(skua_cx *cx, struct trial *trial)
{
	skua_poll which;

	SKUA_POLL_SELECT (which, cx, &trial->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, poll_patient(cx, trial));
		SKUA_BRANCH(1, interruptible_rival(cx, trial));
	}
	return which;
}

static skua_poll poll_around(skua_cx *cx, struct trial *trial)
{
	switch (trial->way->around) {
	case DEADLINE_AROUND:
		return skua_timeout(cx, &trial->timer, 1000000 * CANCEL_HOUR,
				    poll_patient(cx, trial));
	case TOKEN_AROUND:
		return skua_with_token(cx, &trial->waiter, trial->token, poll_patient(cx, trial));
	case SELECT_AROUND:
		return select_patient(cx, trial);
	case SHIELD_AROUND:
		return skua_shield(cx, poll_patient(cx, trial));
	default:
		return poll_patient(cx, trial);
	}
}

/* ---- One poll ---- */

static void request(skua_cx *cx, struct trial *trial)
{
	const struct way *way = trial->way;

	if (way->request == NULL)
		return;
	if (is_time(trial)) {
		now_requested(trial);
		way->request(cx, trial);
	} else if (trial->requested && way->again != NULL) {
		way->again(cx, trial);
	}
}

static bool is_nudged(const struct trial *trial)
{
	const struct scenario *scenario = trial->scenario;

	if (scenario->nudge == NULL)
		return false;
	return !trial->alone || (scenario->flags & NEEDS_NUDGES) != 0 ||
	       trial->way->around == SHIELD_AROUND || trial->awaits != trial->target;
}

static void look_back(skua_cx *cx, struct trial *trial)
{
	bool leaves_some = (trial->scenario->flags & LEAVES_OBLIGATIONS) != 0;

	if (trial->way->around == SHIELD_AROUND) {
		trial_expect(trial, "told behind the shield",
			     trial->told_in_body + trial->told_late, 0);
		noted(trial, skua_cx_interrupt(cx));
	}
	if (!trial->way->races && trial->way->delay == 0)
		trial_expect(trial, "a further -ECANCELED", skua_cx_interrupt(cx), 0);
	if (cx->task != NULL && cx->task->obligations != NULL && !leaves_some)
		trial_fail(trial, "an obligation is left: %s", cx->task->obligations->ops->name);
}

void probe_is_over(struct trial *trial)
{
	pthread_mutex_lock(&trial->lock);
	trial->is_over = true;
	pthread_cond_broadcast(&trial->changed);
	pthread_mutex_unlock(&trial->lock);
}

static skua_poll probe_poll(skua_cx *cx, skua_future *future)
{
	struct trial *trial = ((struct probe *)(void *)future)->trial;
	unsigned before = trial->awaits;
	skua_poll result;

	if (trial->target == 0 && before == 0)
		request(cx, trial);
	result = poll_around(cx, trial);
	if (result != SKUA_PENDING) {
		trial->outcome = result;
		trial->over_at = skua_clock_now(trial->rt);
		look_back(cx, trial);
		probe_is_over(trial);
		return result;
	}
	if (trial->awaits == before)
		return result;
	request(cx, trial);
	if (is_nudged(trial))
		trial->scenario->nudge(trial);
	return result;
}

static const skua_future_ops probe_ops = {
	.poll = probe_poll,
	.size = sizeof(struct probe),
	.name = "probe",
	.file = __FILE__,
};

struct probe probe_of(struct trial *trial)
{
	trial->patient = (struct patient){.co = SKUA_CORO_INIT(patient), .trial = trial};
	return (struct probe){{&probe_ops, 0, 0}, trial};
}
