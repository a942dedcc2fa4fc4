/* schedule.c - who makes the next step, and what one thread passes on to another; see state.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/state.h"

int mc_self(void)
{
	return mc->current;
}

static void end_of_execution(void)
{
	fiber_switch(&self()->fiber, &mc->main_fiber);
}

static void switch_to(int thread)
{
	int before = mc->current;

	mc->current = thread;
	if (before != thread)
		fiber_switch(&mc->threads[before].fiber, &mc->threads[thread].fiber);
}

static bool can_go_on(int thread)
{
	return mc->threads[thread].status == READY && !mc->threads[thread].yielded;
}

/* Time passes: the wait of a thread runs out. */
static void time_out(struct thread *thread)
{
	thread->status = READY;
	thread->timed_out = true;
	mc->now += 1000000;
}

/* Nobody can go on: those who have yielded try again, or a timed wait runs out, or that was it. */
static bool revive(void)
{
	struct thread *timed[MC_THREADS], *resting = NULL;
	unsigned n = 0;
	bool any = false;

	for (int i = 0; i < mc->thread_count; i++) {
		struct thread *thread = &mc->threads[i];

		if (thread->status == READY && thread->yielded) {
			thread->yielded = false;
			any = true;
		}
	}
	if (any && ++mc->idle_yields < 100)
		return true;
	for (int i = 0; i < mc->thread_count; i++) {
		struct thread *thread = &mc->threads[i];

		if (thread->status != BLOCKED || !thread->timed)
			continue;
		resting = thread->rests ? thread : resting;
		if (thread->rests)
			continue;
		if (!mc->scenario->allow_timeouts)
			mc_fail("only a timeout ends the wait of thread %d (%s): a wakeup was lost",
				i, thread->what);
		timed[n++] = thread;
	}
	if (n > 0)
		time_out(timed[mc_choose(n)]);
	else if (resting != NULL)
		time_out(resting);
	return n > 0 || resting != NULL;
}

static void report_deadlock(void)
{
	char text[256];
	size_t length = 0;

	text[0] = '\0';
	for (int i = 0; i < mc->thread_count; i++)
		if (mc->threads[i].status != FINISHED && length < sizeof text)
			length +=
				(size_t)snprintf(text + length, sizeof text - length, " %d: %s;", i,
						 mc->threads[i].what != NULL ? mc->threads[i].what
									     : "yields for ever");
	mc_fail("no thread can go on (a lost wakeup?):%s", text);
}

int64_t mc_random_priority(void)
{
	return mc->mode == PCT ? (int64_t)mc_random() + DEPTH : 0;
}

static void change_priority(void)
{
	if (mc->mode != PCT)
		return;
	for (int i = 0; i + 1 < mc->priority_changes; i++)
		if (mc->change_at[i] == mc->steps)
			self()->priority = i;
}

/* Nobody is kept away for ever by others that wait for him and take turns: no scheduler is so unfair
 * (after the fair scheduler of Musuvathi and Qadeer, PLDI 2008). Leaves only the starved ones, if there
 * are any. */
static unsigned keep_starved(int *threads, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++)
		if (mc->threads[threads[i]].starved >= STARVED)
			threads[kept++] = threads[i];
	return kept > 0 ? kept : n;
}

/* Chooses who makes the next step, and lets him. It costs a preemption to take another thread than
 * this one if it can go on, unless it gives way. */
static void schedule(bool gives_way)
{
	int threads[MC_THREADS];
	unsigned n = 0, next, ready;
	bool preempts;

	for (;;) {
		preempts = can_go_on(mc->current);
		if (preempts)
			threads[n++] = mc->current;
		for (int i = 0; i < mc->thread_count; i++)
			if (i != mc->current && can_go_on(i))
				threads[n++] = i;
		if (n > 0)
			break;
		if (!revive()) {
			for (int i = 0; i < mc->thread_count; i++)
				if (mc->threads[i].status != FINISHED)
					report_deadlock();
			mc->ended = true;
			end_of_execution();
		}
	}
	if (++mc->steps > STEPS)
		mc_fail("more than %d steps: a livelock?", STEPS);
	change_priority();
	if (!preempts)
		n = keep_starved(threads, n);
	/* Somebody whose time runs out at this moment may go on as well. */
	ready = n;
	if (mc->scenario->allow_timeouts && mc->spurious < mc->spurious_bound)
		for (int i = 0; i < mc->thread_count; i++)
			if (mc->threads[i].status == BLOCKED && mc->threads[i].timed &&
			    !mc->threads[i].rests)
				threads[n++] = i;
	if (preempts && !gives_way)
		next = mc_choose_bounded(A_THREAD, n, threads, &mc->preemptions,
					 mc->preemption_bound);
	else
		next = mc_choose_about(A_THREAD, n, threads);
	if (next >= ready) {
		mc->spurious++;
		time_out(&mc->threads[threads[next]]);
	}
	mc->threads[threads[next]].starved = 0;
	switch_to(threads[next]);
}

/* This thread makes a step: those who have yielded may look again, but who has done so before waits
 * for a change. Or else two who wait could take turns for ever while a third one never gets on. */
static void made_step(void)
{
	for (int i = 0; i < mc->thread_count; i++)
		if (i != mc->current && mc->threads[i].yields < 2)
			mc->threads[i].yielded = false;
}

void mc_made_change(void)
{
	mc->idle_yields = 0;
	for (int i = 0; i < mc->thread_count; i++) {
		mc->threads[i].yields = 0;
		if (i != mc->current)
			mc->threads[i].yielded = false;
	}
}

void mc_point(void)
{
	schedule(false);
	made_step();
	self()->knows.clock[mc->current]++;
}

void mc_passed_on(void)
{
	self()->knows.clock[mc->current]++;
}

void mc_step(const char *what, const void *where)
{
	mc_point();
	mc_note(what, 0, 0, where);
}

void mc_yield(void)
{
	self()->yielded = true;
	self()->yields++;
	for (int i = 0; i < mc->thread_count; i++)
		if (i != mc->current && can_go_on(i))
			mc->threads[i].starved++;
	self()->priority = --mc->lowest;
	schedule(false);
	self()->knows.clock[mc->current]++;
}

bool mc_block(const void *object, const char *what, bool timed)
{
	struct thread *thread = self();

	thread->blocked_on = object;
	thread->what = what;
	thread->timed = timed;
	/* The time may run out now: others may then come first, but nobody can wake it any more. */
	thread->timed_out = timed && mc->scenario->allow_timeouts && mc_spurious();
	if (thread->timed_out)
		mc->now += 1000000;
	else
		thread->status = BLOCKED;
	schedule(true);
	thread->what = NULL;
	return !thread->timed_out;
}

void mc_rest(void)
{
	struct thread *thread = self();

	thread->blocked_on = thread;
	thread->what = "rests";
	thread->timed = thread->rests = true;
	thread->status = BLOCKED;
	schedule(true);
	thread->rests = false;
	thread->what = NULL;
}

void mc_unblock(const void *object, bool all)
{
	struct thread *blocked[MC_THREADS];
	unsigned n = 0, only = 0;

	mc_made_change();
	for (int i = 0; i < mc->thread_count; i++)
		if (mc->threads[i].status == BLOCKED && mc->threads[i].blocked_on == object)
			blocked[n++] = &mc->threads[i];
	if (!all)
		only = mc_choose(n);
	for (unsigned i = 0; i < n; i++) {
		if (!all && i != only)
			continue;
		blocked[i]->status = READY;
		blocked[i]->timed = false;
	}
}

void mc_learn(struct knowledge *into, const struct knowledge *from)
{
	for (int i = 0; i < mc->thread_count; i++)
		if (into->clock[i] < from->clock[i])
			into->clock[i] = from->clock[i];
	for (unsigned i = 0; i < mc->location_count; i++)
		if (into->view[i] < from->view[i])
			into->view[i] = from->view[i];
}

/* The start of a thread, its end and a join are not points of the schedule: nothing that another
 * thread does would be different before or after. */
void mc_finish(void)
{
	struct thread *thread = self();

	thread->status = FINISHED;
	mc_unblock(thread, true);
	schedule(false);
	abort();
}

static void thread_body(void)
{
	self()->run(self()->argument);
	mc_finish();
}

static int start(void (*run)(void *), void *argument, const void *where)
{
	int number = mc->thread_count;
	struct thread *thread;

	if (number >= MC_THREADS)
		mc_fail("more than %d threads", MC_THREADS);
	mc->thread_count++;
	thread = &mc->threads[number];
	memset(thread, 0, sizeof *thread);
	thread->run = run;
	thread->argument = argument;
	thread->knows = self()->knows;
	thread->knows.clock[number] = 1;
	thread->priority = mc_random_priority();
	mc_passed_on();
	mc_made_change();
	fiber_init(&thread->fiber, mc_stacks + (size_t)number * STACK, STACK, thread_body);
	mc_note("starts thread", 0, (uint64_t)number, where);
	return number;
}

int mc_thread(void (*run)(void *argument), void *argument)
{
	return start(run, argument, __builtin_return_address(0));
}

int mc_start(void (*run)(void *argument), uintptr_t argument)
{
	int number = start(run, (void *)argument, __builtin_return_address(0));

	mc->threads[number].in_all = true;
	return number;
}

void mc_join(int number)
{
	struct thread *thread = &mc->threads[number];

	while (thread->status != FINISHED)
		mc_block(thread, "joins a thread", false);
	mc_learn(&self()->knows, &thread->knows);
}

void mc_join_all(void)
{
	for (int i = 1; i < mc->thread_count; i++)
		if (mc->threads[i].in_all)
			mc_join(i);
}

void **mc_thread_local(void)
{
	return &self()->local;
}

uint64_t mc_now(void)
{
	return mc->now;
}

/* ---- What is passed on by locks ---- */

static struct object *object_of(const void *address)
{
	for (unsigned i = 0; i < mc->object_count; i++)
		if (mc->objects[i].address == address)
			return &mc->objects[i];
	if (mc->object_count == OBJECTS)
		mc_fail("more than %d locks", OBJECTS);
	memset(&mc->objects[mc->object_count], 0, sizeof mc->objects[0]);
	mc->objects[mc->object_count].address = address;
	return &mc->objects[mc->object_count++];
}

void mc_release_to(const void *address)
{
	mc_learn(&object_of(address)->released, &self()->knows);
	mc_passed_on();
}

void mc_acquire_from(const void *address)
{
	mc_learn(&self()->knows, &object_of(address)->released);
}
