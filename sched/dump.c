/*
 * dump.c - sk_sched_dump: a scheduler in words, for finding out why nothing goes on.
 *
 * Whoever calls this is no part of what it looks at, which may be stuck anywhere. So it takes no
 * lock but that of the list of tasks (live.h), whose holders never wait, and reads what is not
 * atomic through sk_peek. First it notes where every queued task is, then it goes through all.
 */
#include <inttypes.h>

#include "sched/live.h"
#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"

enum {
	MAX_PLACES = 1024, /* queued tasks that are noted, on the stack */
	MAX_TASKS = 500,   /* that are printed */
	MAX_WAITS = 16,    /* of one task that are printed */
};

/* Where a task is. */
struct place {
	const skua_task *task;
	const char *what;
	unsigned worker;
};

struct dump {
	FILE *file;
	struct sk_sched *sched;
	uint64_t now;
	unsigned place_count;
	unsigned tasks;
	struct place places[MAX_PLACES];
};

static void note(struct dump *dump, const skua_task *task, const char *what, unsigned worker)
{
	if (task != NULL && dump->place_count < MAX_PLACES)
		dump->places[dump->place_count++] = (struct place){task, what, worker};
}

/* ---- Workers ---- */

static void note_deque(struct dump *dump, struct sk_deque *deque, const char *what, unsigned worker)
{
	uint64_t top = sk_load(&deque->top, SK_RELAXED);
	uint64_t bottom = sk_load(&deque->bottom, SK_ACQUIRE);
	/* Acquire: as in sk_deque_steal. Rings are freed with the scheduler only. */
	struct sk_ring *ring = sk_load(&deque->ring, SK_ACQUIRE);

	/* An old top is as far behind as it likes; a ring has no more than its size. */
	if (bottom - top > ring->mask + 1 && bottom > top)
		top = bottom - (ring->mask + 1);
	for (uint64_t i = top; i < bottom; i++)
		note(dump, sk_load(&ring->slots[i & ring->mask], SK_RELAXED), what, worker);
}

static void note_lanes(struct dump *dump, struct sk_worker *worker)
{
	struct sk_deque *interactive = sk_lane(&worker->lanes, SKUA_PRIORITY_INTERACTIVE);
	struct sk_deque *background = sk_lane(&worker->lanes, SKUA_PRIORITY_BACKGROUND);

	if (interactive != NULL)
		note_deque(dump, interactive, "in the interactive lane", worker->index);
	if (background != NULL)
		note_deque(dump, background, "in the background lane", worker->index);
}

/* Returns how many there are. */
static unsigned note_inbox(struct dump *dump, struct sk_worker *worker)
{
	const skua_task *task = sk_load(&worker->inbox.head, SK_ACQUIRE);
	unsigned count = 0;

	while (task != NULL && count < MAX_PLACES) {
		skua_task copy;

		note(dump, task, "in the inbox", worker->index);
		count++;
		task = sk_peek(&copy, task, sizeof copy) ? copy.next : NULL;
	}
	return count;
}

static void print_timer(struct dump *dump, uint64_t deadline)
{
	double ms = ((double)deadline - (double)dump->now) / 1e6;

	if (deadline == SK_FOREVER)
		fprintf(dump->file, "none");
	else
		fprintf(dump->file, "%s%.1f ms%s", ms < 0 ? "" : "in ", ms < 0 ? -ms : ms,
			ms < 0 ? " ago" : "");
}

static void print_worker(struct dump *dump, struct sk_worker *worker)
{
	bool asleep = sk_idle_is_asleep(&dump->sched->idle, worker->index);
	skua_task *running = NULL, *lifo = sk_load(&worker->lifo, SK_ACQUIRE);
	unsigned inbox;

	sk_peek(&running, &worker->running, sizeof(void *));
	note(dump, running, "running", worker->index);
	note(dump, lifo, "in the LIFO slot", worker->index);
	note_deque(dump, &worker->deque, "in the queue", worker->index);
	note_lanes(dump, worker);
	inbox = note_inbox(dump, worker);
	fprintf(dump->file, "worker %u: ", worker->index);
	if (running != NULL)
		fprintf(dump->file, "runs task %p%s", (void *)running,
			sk_load(&worker->blocks, SK_RELAXED) != 0 ? ", blocking in place" : "");
	else
		fprintf(dump->file, "%s", asleep ? "parked" : "awake without a task, or searching");
	fprintf(dump->file,
		"; %" PRIu64 " polls, queue %" PRIu64 ", interactive %" PRIu64
		", background %" PRIu64 ", inbox %u, LIFO %s, stolen %" PRIu64 ", parks %" PRIu64
		", wakes %" PRIu64 ", next timer ",
		sk_load(&worker->tick, SK_RELAXED), sk_deque_length(&worker->deque),
		sk_lane_length(&worker->lanes, SKUA_PRIORITY_INTERACTIVE),
		sk_lane_length(&worker->lanes, SKUA_PRIORITY_BACKGROUND), inbox,
		lifo != NULL ? "taken" : "free", sk_load(&worker->stolen, SK_RELAXED),
		sk_load(&worker->parks, SK_RELAXED), sk_load(&worker->wakes, SK_RELAXED));
	print_timer(dump, sk_timers_next(&worker->timers));
	fprintf(dump->file, "\n");
}

static void note_jobs(struct dump *dump, const skua_task *task)
{
	for (unsigned count = 0; task != NULL && count < MAX_PLACES; count++) {
		skua_task copy;

		note(dump, task, "in the queue of the blocking pool", 0);
		task = sk_peek(&copy, task, sizeof copy) ? copy.next : NULL;
	}
}

static void print_blocking(struct dump *dump)
{
	struct sk_blocking pool;

	if (!sk_peek(&pool, &dump->sched->blocking, sizeof pool))
		return;
	fprintf(dump->file,
		"blocking pool: %" PRIu32 " threads, %" PRIu32 " idle, %" PRIu32
		" promised, %u starting%s\n",
		pool.threads, pool.idle, pool.promised, pool.starting,
		pool.closed ? ", closed" : "");
	for (unsigned i = 0; i < SKUA_BLOCKING_KINDS; i++) {
		const struct sk_blocking_kind *kind = &pool.kinds[i];

		note_jobs(dump, kind->first);
		fprintf(dump->file,
			"  %s: %" PRIu32 " jobs queued, %" PRIu32 " running, at most %" PRIu32 "\n",
			sk_blocking_kind_name(i), kind->queued, kind->running, kind->limit);
	}
}

/* ---- Tasks ---- */

#ifdef SK_CHAOS

static void print_state(struct dump *dump, uint64_t state)
{
	static const char *const names[] = {"SCHEDULED", "RUNNING", "COMPLETE", "CANCELLED",
					    "JOINABLE"};
	bool any = false;

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if ((state >> i & 1) != 0) {
			fprintf(dump->file, "%s%s", any ? "|" : "", names[i]);
			any = true;
		}
	fprintf(dump->file, "%s, %" PRIu64 " references", any ? "" : "idle",
		state / SK_TASK_REFERENCE);
}

/* A string that may be anything. */
static void print_string(struct dump *dump, const char *string)
{
	char text[64];
	unsigned length = 0;

	while (length < sizeof text - 1 && sk_peek(&text[length], string + length, 1) &&
	       text[length] != '\0')
		length++;
	text[length] = '\0';
	fprintf(dump->file, "%s", text);
}

static void print_future(struct dump *dump, const skua_future *future)
{
	skua_future_ops ops;
	skua_future copy;

	if (!sk_peek(&copy, future, sizeof copy) || !sk_peek(&ops, copy.ops, sizeof ops)) {
		fprintf(dump->file, "(gone)");
		return;
	}
	fprintf(dump->file, "\"");
	print_string(dump, ops.name);
	fprintf(dump->file, "\"");
	if (copy.line == 0)
		return;
	fprintf(dump->file, " at ");
	print_string(dump, ops.file);
	fprintf(dump->file, ":%" PRIu32, copy.line);
}

static void print_waits(struct dump *dump, const struct sk_obligation *obligation)
{
	fprintf(dump->file, "; obligations:");
	if (obligation == NULL)
		fprintf(dump->file, " none");
	for (unsigned i = 0; obligation != NULL && i < MAX_WAITS; i++) {
		struct sk_obligation_ops ops;
		struct sk_obligation copy;

		if (!sk_peek(&copy, obligation, sizeof copy)) {
			fprintf(dump->file, " (gone)");
			return;
		}
		fprintf(dump->file, "%s", i > 0 ? ", " : " ");
		/* A constant, if it is one at all. */
		print_string(dump, sk_peek(&ops, copy.ops, sizeof ops) ? ops.name : "(gone)");
		obligation = copy.next;
	}
}

static void print_place(struct dump *dump, const skua_task *task, uint64_t state)
{
	const uint64_t mask = SK_TASK_SCHEDULED | SK_TASK_RUNNING | SK_TASK_COMPLETE;
	bool found = false;

	for (unsigned i = 0; i < dump->place_count; i++)
		if (dump->places[i].task == task) {
			fprintf(dump->file, "; %s, worker %u", dump->places[i].what,
				dump->places[i].worker);
			found = true;
		}
	if (!found && (state & mask) == SK_TASK_SCHEDULED)
		fprintf(dump->file, "; in no queue that was looked at");
}

static bool print_task(void *argument, skua_task *task)
{
	struct dump *dump = argument;
	uintptr_t join = sk_load(&task->join, SK_RELAXED);
	uint64_t state = sk_load(&task->state, SK_RELAXED);
	skua_task copy;

	if (task->sched != dump->sched || !sk_peek(&copy, task, sizeof copy))
		return true;
	if (dump->tasks++ >= MAX_TASKS)
		return true;
	fprintf(dump->file, "task %" PRIu64 " %p ", copy.number, (void *)task);
	print_future(dump, copy.future);
	fprintf(dump->file, ": ");
	print_state(dump, state);
	fprintf(dump->file, "; last on worker %u%s%s", sk_load(&task->last_worker, SK_RELAXED),
		copy.owned ? "" : ", in no list", copy.blocking ? ", a blocking job" : "");
	print_place(dump, task, state);
	if (sk_is_waiter(join) && sk_waiter_task(join) != NULL)
		fprintf(dump->file, "; joined by task %p", (void *)sk_waiter_task(join));
	else if (sk_is_waiter(join))
		fprintf(dump->file, "; joined by a thread");
	print_waits(dump, copy.obligations);
	fprintf(dump->file, "\n");
	return true;
}

static void print_tasks(struct dump *dump)
{
	sk_live_each(print_task, dump);
	fprintf(dump->file, "%u tasks%s\n", dump->tasks,
		dump->tasks > MAX_TASKS ? ", not all of them shown" : "");
}

#else

/* Only what is queued is known. */
static void print_tasks(struct dump *dump)
{
	for (unsigned i = 0; i < dump->place_count && i < MAX_TASKS; i++)
		fprintf(dump->file, "task %p %s, worker %u\n",
			(void *)(uintptr_t)dump->places[i].task, dump->places[i].what,
			dump->places[i].worker);
	fprintf(dump->file, "%u tasks are queued; only a chaos build lists the others\n",
		dump->place_count);
}

#endif

void sk_sched_dump(struct sk_sched *sched, FILE *file)
{
	static const char *const phases[] = {"open", "closing", "stopped"};
	const struct sk_driver_ops *ops = sched->options.driver_ops;
	struct dump on_stack, *dump = &on_stack;
	uint64_t spawned = 0, completed = 0;

	dump->file = file;
	dump->sched = sched;
	dump->now = sk_now();
	dump->place_count = dump->tasks = 0;
	for (uint32_t i = 0; i < sk_sched_width(sched); i++) {
		spawned += sk_load(&sched->workers[i]->spawned, SK_RELAXED);
		completed += sk_load(&sched->workers[i]->completed, SK_RELAXED);
	}
	for (uint32_t i = 0; i < SK_STRIPES; i++)
		spawned += sk_load(&sched->foreign[i].spawned, SK_RELAXED);
	fprintf(file,
		"scheduler %p: %s, %" PRIu32 " workers, %" PRIu32 " spare, %u parked, %" PRIu32
		" searching, %s, %" PRIu64 " tasks spawned, %" PRIu64 " completed\n",
		(void *)sched, phases[sk_load(&sched->phase, SK_RELAXED)], sched->options.workers,
		sk_sched_width(sched) - sched->options.workers, sk_idle_count(&sched->idle),
		sk_load(&sched->idle.searching, SK_RELAXED),
		sk_load(&sched->monitoring, SK_RELAXED) != 0 ? "watched" : "not watched", spawned,
		completed);
	for (uint32_t i = 0; i < sk_sched_width(sched); i++)
		print_worker(dump, sched->workers[i]);
	if (ops != NULL && ops->dump != NULL)
		ops->dump(sched->options.driver, file);
	print_blocking(dump);
	print_tasks(dump);
	fflush(file);
}
