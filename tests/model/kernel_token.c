/*
 * kernel_token.c - cancel tokens: a cancel against waits that begin and are taken back, against
 * listeners, children that are made and references that go, and against another cancel.
 */
#include <errno.h>

#include "sched/token.h"
#include "tests/model/explorer.h"
#include "tests/model/sync_model.h"

static skua_token *top, *below;
static struct sk_token_waiter *waiter; /* a block of its own, to be freed as soon as it may */
static int written; /* plain: what was written before the cancel is seen after it */

/* ---- A foreign executor that only counts ---- */

static SK_ATOMIC(uint32_t) references, wakes;

static void *count_clone(void *data)
{
	sk_fetch_add(&references, 1, SK_RELAXED);
	return data;
}

static void count_wake_by_ref(void *data)
{
	(void)data;
	sk_fetch_add(&wakes, 1, SK_RELAXED);
}

static void count_drop(void *data)
{
	(void)data;
	sk_fetch_sub(&references, 1, SK_RELAXED);
}

static void count_wake(void *data)
{
	count_wake_by_ref(data);
	count_drop(data);
}

static const skua_waker_ops count_ops = {count_clone, count_wake, count_wake_by_ref, count_drop};

static uint32_t wakes_so_far(void)
{
	return sk_load(&wakes, SK_RELAXED);
}

/* ---- What the threads do ---- */

static void begin(void)
{
	mc_assert(sk_token_new(NULL, &top) == 0);
	mc_assert(sk_token_new(top, &below) == 0);
	waiter = sk_calloc(1, sizeof *waiter);
	mc_assert(waiter != NULL);
}

static skua_poll wait_for(skua_token *token)
{
	skua_waker lent = {&count_ops, NULL};
	skua_cx cx;

	skua_cx_init(&cx, NULL, &lent);
	return sk_token_wait_begin(waiter, token, &cx);
}

static void end_wait(void)
{
	if (waiter == NULL)
		return;
	sk_token_wait_end(waiter);
	mc_assert(!sk_token_waits(waiter));
	sk_free(waiter);
	waiter = NULL;
}

static void end(void)
{
	end_wait();
	sk_token_release(top);
	sk_token_release(below);
	mc_assert(sk_load(&references, SK_RELAXED) == 0);
}

static void cancels(void *argument)
{
	skua_token *token = (uintptr_t)argument == 0 ? top : below;

	sk_token_cancel(token);
	/* All of it, also where another one has cancelled a part. */
	mc_assert(sk_token_is_cancelled(token) && sk_token_is_cancelled(below));
}

static void writes_and_cancels(void *argument)
{
	written = 1;
	cancels(argument);
}

/* The others may let go of everything else meanwhile. */
static void cancels_and_releases(void *unused)
{
	(void)unused;
	sk_token_cancel(top);
	sk_token_release(top);
}

static void releases_below(void *unused)
{
	(void)unused;
	sk_token_release(below);
}

/* ---- Waits ---- */

/* It is woken, or finds the token cancelled; and sees what came before. */
MC_SCENARIO(token, wait_against_cancel)
{
	begin();
	mc_start(writes_and_cancels, 0);
	if (wait_for(below) == 0) {
		mc_assert(written == 1);
		mc_join_all();
		mc_assert(wakes_so_far() == 0);
	} else {
		mc_join_all();
		mc_assert(sk_slot_is_ready(&waiter->slot));
		mc_assert(wakes_so_far() == 1);
	}
	end();
}

MC_SCENARIO(token, look_against_cancel)
{
	begin();
	mc_start(writes_and_cancels, 0);
	if (sk_token_is_cancelled(below))
		mc_assert(written == 1);
	mc_join_all();
	mc_assert(sk_token_is_cancelled(below));
	end();
}

/* The waiter's memory goes as soon as the wait has been taken back. */
MC_SCENARIO(token, take_back_against_cancel)
{
	begin();
	mc_assert(wait_for(below) == SKUA_PENDING);
	mc_start(cancels, 0);
	end_wait();
	mc_join_all();
	mc_assert(wakes_so_far() <= 1);
	end();
}

/* Or as soon as it is found ready; and the references go as early. */
MC_SCENARIO(token, poll_and_release_against_cancel)
{
	bool ready;

	begin();
	sk_token_hold(top);
	mc_assert(wait_for(below) == SKUA_PENDING);
	sk_token_release(below);
	mc_start(cancels_and_releases, 0);
	ready = sk_slot_is_ready(&waiter->slot);
	if (ready)
		end_wait();
	else
		sk_token_hold(below);
	sk_token_release(top);
	mc_join_all();
	mc_assert(wakes_so_far() == 1);
	end_wait();
	if (!ready)
		sk_token_release(below);
	mc_assert(sk_load(&references, SK_RELAXED) == 0);
}

static void takes_back(void *unused)
{
	(void)unused;
	end_wait();
}

/* Two cancels, of the whole and of a part: one wake. */
MC_SCENARIO(token, two_cancels_against_take_back)
{
	begin();
	mc_assert(wait_for(below) == SKUA_PENDING);
	mc_start(cancels, 0);
	mc_start(takes_back, 0);
	cancels((void *)1);
	mc_join_all();
	mc_assert(wakes_so_far() <= 1);
	end();
}

MC_SCENARIO(token, two_cancels)
{
	begin();
	mc_assert(wait_for(below) == SKUA_PENDING);
	mc_start(cancels, 0);
	cancels((void *)1);
	mc_join_all();
	mc_assert(wakes_so_far() == 1);
	end();
}

/* The second one finds the top cancelled, and returns when all below is. */
MC_SCENARIO(token, two_cancels_of_the_whole)
{
	begin();
	mc_start(cancels, 0);
	cancels((void *)0);
	mc_join_all();
	end();
}

/* ---- The tree ---- */

/* A token may go while the one above it is cancelled. */
MC_SCENARIO(token, release_against_cancel)
{
	skua_token *other;

	begin();
	mc_assert(sk_token_new(top, &other) == 0);
	mc_start(releases_below, 0);
	sk_token_cancel(top);
	mc_join_all();
	mc_assert(sk_token_is_cancelled(other));
	sk_token_release(other);
	sk_token_release(top);
	end_wait();
}

/* Each thread has the last reference to one of them. */
MC_SCENARIO(token, release_of_the_whole_against_that_of_a_part)
{
	begin();
	mc_start(releases_below, 0);
	sk_token_release(top);
	mc_join_all();
	end_wait();
}

static void makes_a_child(void *unused)
{
	skua_token *child;

	(void)unused;
	mc_assert(sk_token_new(top, &child) == 0);
	mc_assert(wait_for(child) == 0 || sk_token_waits(waiter));
	sk_token_release(child);
}

/* A child is cancelled with its parent, or made cancelled: who waits in it does not wait for ever.
 * */
MC_SCENARIO(token, a_new_child_against_cancel)
{
	begin();
	mc_start(makes_a_child, 0);
	sk_token_cancel(top);
	mc_join_all();
	mc_assert(!sk_token_waits(waiter) || sk_slot_is_ready(&waiter->slot));
	end();
}

static void gives_two_up(void *unused)
{
	(void)unused;
	mc_assert(!sk_token_is_cancelled(below));
	sk_token_release(below);
}

/* Who frees a token comes after all that others did with it. */
MC_SCENARIO(token, last_references)
{
	begin();
	sk_token_hold(below);
	mc_start(gives_two_up, 0);
	gives_two_up(NULL);
	mc_join_all();
	sk_token_release(top);
	end_wait();
}

/* ---- Listeners ---- */

struct listener {
	struct sk_token_listener listener;
	SK_ATOMIC(uint32_t) references;
	bool taken;
};

static SK_ATOMIC(uint32_t) calls;

static void give_up(struct listener *self)
{
	if (sk_fetch_sub(&self->references, 1, SK_ACQ_REL) == 1)
		sk_free(self);
}

static sk_waiter take(struct sk_token_listener *listener)
{
	struct listener *self = (struct listener *)(void *)listener;

	mc_assert(!self->taken);
	self->taken = true;
	sk_fetch_add(&self->references, 1, SK_RELAXED);
	return SK_NO_WAITER;
}

static void called(struct sk_token_listener *listener)
{
	struct listener *self = (struct listener *)(void *)listener;

	mc_assert(self->taken);
	sk_fetch_add(&calls, 1, SK_RELAXED);
	give_up(self);
}

static const struct sk_token_listener_ops listener_ops = {take, called};

/* Taken back in time, it is never called; else it is, once, and its memory is there for that. */
MC_SCENARIO(token, unlisten_against_cancel)
{
	struct listener *self;
	bool listened;

	begin();
	self = sk_calloc(1, sizeof *self);
	mc_assert(self != NULL);
	sk_init(&self->references, 1);
	mc_assert(sk_token_listen(below, &self->listener, &listener_ops));
	mc_start(cancels, 0);
	listened = sk_token_unlisten(&self->listener);
	mc_assert(listened == !self->taken);
	give_up(self);
	mc_join_all();
	mc_assert(sk_load(&calls, SK_RELAXED) == !listened);
	end();
}
