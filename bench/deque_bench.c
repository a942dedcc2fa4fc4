/*
 * deque_bench - compares the workers' run queue, sched/deque.h, with the two usual alternatives:
 * what a task costs in the queue, without and with a thief. docs/deque.md has the results.
 *
 * Every contender is verified before anything is timed: each task comes out exactly once, also with
 * thieves at work, and in the order that the contender promises. Then each round measures every
 * workload with every contender in turn, so that a disturbance of the machine meets all of them;
 * which one is first changes from round to round. The table has the medians of the rounds.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/deque_bounded.h"
#include "bench/deque_chase_lev.h"
#include "bench/deque_contender.h"
#include "examples/common.h"
#include "runtime/cpus.h"
#include "sched/deque.h"
#include "sched/sync.h"
#include "sched/task.h"

enum {
	TASKS = 10000,
	ROUNDS_MIN = 5, /* for a median that means something */
	ROUNDS_MAX = 1000,
	SPINS = 2000, /* before a thread that waits for the other gives its CPU away */
};

/* ---- Skua's own ---- */

static bool skua_init(void *queue, void *victim)
{
	(void)victim;
	return sk_deque_init(queue, SK_DEQUE_INITIAL) == 0;
}

static void skua_destroy(void *queue)
{
	sk_deque_destroy(queue);
}

static bool skua_push(void *queue, skua_task *task)
{
	return sk_deque_push(queue, task);
}

static skua_task *skua_pop(void *queue)
{
	return sk_deque_pop(queue);
}

static skua_task *skua_steal(void *victim, void *own)
{
	unsigned count;

	return sk_deque_steal(victim, own, &count);
}

static const struct contender skua = {
	.name = "skua",
	.about = "sched/deque.h: growable ring, FIFO, thieves take half with one exchange",
	.order = ORDER_FIFO,
	.size = sizeof(struct sk_deque),
	.init = skua_init,
	.destroy = skua_destroy,
	.push = skua_push,
	.pop = skua_pop,
	.steal = skua_steal,
};

/* ---- The floor: what the loops and calls cost with a queue that nobody else can use ---- */

struct private_ring {
	uint64_t head, tail;
	skua_task *slots[16384];
};

static bool private_init(void *queue, void *victim)
{
	(void)queue;
	(void)victim;
	return true;
}

static void private_destroy(void *queue)
{
	(void)queue;
}

OUTLINE bool private_ring_push(struct private_ring *ring, skua_task *task)
{
	if (ring->tail - ring->head >= sizeof ring->slots / sizeof ring->slots[0])
		return false;
	ring->slots[ring->tail++ % (sizeof ring->slots / sizeof ring->slots[0])] = task;
	return true;
}

OUTLINE skua_task *private_ring_pop(struct private_ring *ring)
{
	if (ring->head == ring->tail)
		return NULL;
	return ring->slots[ring->head++ % (sizeof ring->slots / sizeof ring->slots[0])];
}

static bool private_push(void *queue, skua_task *task)
{
	return private_ring_push(queue, task);
}

static skua_task *private_pop(void *queue)
{
	return private_ring_pop(queue);
}

static const struct contender private_ring = {
	.name = "private",
	.about = "ring without any synchronization, that nobody can steal from: the floor",
	.order = ORDER_FIFO,
	.size = sizeof(struct private_ring),
	.init = private_init,
	.destroy = private_destroy,
	.push = private_push,
	.pop = private_pop,
	.steal = NULL,
};

static const struct contender *const contenders[] = {&skua, &chase_lev, &bounded, &private_ring};

enum { CONTENDERS = sizeof contenders / sizeof contenders[0] };

/* ---- Queues and tasks ---- */

static skua_task *tasks; /* TASKS of them */

static void *allocate(size_t size)
{
	void *memory = sk_calloc_aligned(size);

	if (memory == NULL)
		die(1, "out of memory (%zu bytes)", size);
	return memory;
}

static void *queue_new(const struct contender *contender, void *victim)
{
	void *queue = allocate(contender->size);

	if (!contender->init(queue, victim))
		die(1, "%s: out of memory for a queue", contender->name);
	return queue;
}

static void queue_free(const struct contender *contender, void *queue)
{
	contender->destroy(queue);
	sk_free_aligned(queue);
}

static inline void push(const struct contender *contender, void *queue, size_t index)
{
	if (!contender->push(queue, &tasks[index]))
		die(1, "%s: out of memory for a larger queue", contender->name);
}

static inline void pop(const struct contender *contender, void *queue)
{
	if (contender->pop(queue) == NULL)
		die(1, "%s: a task is missing", contender->name);
}

static int thief_cpu = -1; /* to run on, or -1 */

/* Keeps this thread on the first CPU that it may use, and thieves on the second, if there are two
 * and the system lets us. Returns whether it does. */
static bool pin(void)
{
#ifdef __linux__
	cpu_set_t usable;
	int first = -1;

	if (sched_getaffinity(0, sizeof usable, &usable) < 0)
		return false;
	for (int cpu = 0; cpu < CPU_SETSIZE && thief_cpu < 0; cpu++) {
		if (!CPU_ISSET(cpu, &usable))
			continue;
		if (first < 0)
			first = cpu;
		else
			thief_cpu = cpu;
	}
	return thief_cpu >= 0 && sk_thread_pin(first) == 0;
#else
	return false;
#endif
}

static void thread_start(sk_thread *thread, void (*run)(void *argument), void *argument)
{
	int rc = sk_thread_start(thread, "thief", run, argument);

	if (rc < 0)
		die(1, "cannot start a thread: %s", error_text(rc));
}

/* Once more round a loop that waits for the other thread, which may have no CPU at the moment. */
static inline void wait_a_little(unsigned *spins)
{
	if (++*spins % SPINS == 0)
		sk_thread_yield();
	else
		sk_spin_hint();
}

/* ---- Verification ---- */

/* Pushes `count` tasks and has them all popped, or stolen: once each, and in order. Returns how
 * many newer tasks came before an older one, for the task for which that number is largest. */
static size_t verify_order(const struct contender *contender, size_t count, bool stealing)
{
	void *queue = queue_new(contender, NULL);
	void *own = stealing ? queue_new(contender, queue) : NULL;
	bool *seen = allocate(count * sizeof *seen);
	size_t taken = 0, oldest = 0, overtaken = 0;

	for (size_t i = 0; i < count; i++)
		push(contender, queue, i);
	for (;;) {
		skua_task *task = stealing ? contender->pop(own) : contender->pop(queue);
		size_t index, newer;

		if (task == NULL && stealing)
			task = contender->steal(queue, own);
		if (task == NULL)
			break;
		index = (size_t)(task - tasks);
		if (index >= count || seen[index])
			die(1, "%s: task %zu of %zu came out twice", contender->name, index, count);
		seen[index] = true;
		taken++;
		/* What is newer than the oldest that still waits has overtaken it. */
		while (oldest < count && seen[oldest])
			oldest++;
		newer = oldest < count ? taken - oldest : 0;
		if (newer > overtaken)
			overtaken = newer;
		if (contender->order == ORDER_LIFO && !stealing && index != count - taken)
			die(1, "%s: task %zu of %zu came out of order", contender->name, index,
			    count);
	}
	if (taken != count)
		die(1, "%s: %zu of %zu tasks were lost", contender->name, count - taken, count);
	if (overtaken > 0 &&
	    (contender->order == ORDER_FIFO || (contender->order == ORDER_LIFO && stealing) ||
	     (contender->order == ORDER_FIFO_BELOW && count <= BOUNDED_CAPACITY)))
		die(1, "%s: %zu tasks overtook one", contender->name, overtaken);
	sk_free_aligned(seen);
	if (stealing)
		queue_free(contender, own);
	queue_free(contender, queue);
	return overtaken;
}

struct race {
	const struct contender *contender;
	void *queue;
	skua_task *base; /* of the tasks of this race; only their addresses count */
	SK_ATOMIC(uint32_t) * times;
	size_t count;
	SK_ATOMIC(uint32_t) done;
};

/* Whether a task that came after `*last` in the same thread may do so. */
static void race_take(struct race *race, skua_task *task, bool owner, size_t *last)
{
	size_t index = (size_t)(task - race->base);
	enum order order = race->contender->order;

	if (index >= race->count)
		die(1, "%s: something that is no task came out", race->contender->name);
	sk_fetch_add(&race->times[index], 1, SK_RELAXED);
	if ((order == ORDER_FIFO || (order == ORDER_LIFO && !owner)) && index + 1 <= *last)
		die(1, "%s: with thieves, task %zu came after %zu", race->contender->name, index,
		    *last - 1);
	*last = index + 1;
}

static void race_thief(void *argument)
{
	struct race *race = argument;
	const struct contender *contender = race->contender;
	void *own = queue_new(contender, race->queue);
	size_t last = 0;
	unsigned spins = 0;

	for (;;) {
		/* Acquire: pairs with the release in verify_race. */
		bool done = sk_load(&race->done, SK_ACQUIRE);
		skua_task *task = contender->steal(race->queue, own);

		if (task == NULL && done)
			break;
		if (task == NULL)
			wait_a_little(&spins);
		for (; task != NULL; task = contender->pop(own))
			race_take(race, task, false, &last);
	}
	queue_free(contender, own);
}

/* An owner that pushes and pops bursts of all sizes, and two thieves: each task comes out once. */
static void verify_race(const struct contender *contender, size_t count)
{
	struct race race = {.contender = contender, .count = count};
	sk_thread thieves[2];
	uint32_t random = 2463534242u;
	size_t pushed = 0, last = 0;
	skua_task *task;

	race.queue = queue_new(contender, NULL);
	race.base = allocate(count * sizeof *race.base);
	race.times = allocate(count * sizeof *race.times);
	for (int i = 0; i < 2; i++)
		thread_start(&thieves[i], race_thief, &race);
	while (pushed < count) {
		size_t burst = sk_random(&random) % (sk_random(&random) % 8 ? 8 : 800) + 1;
		size_t pops = sk_random(&random) % (burst + burst / 2 + 1);

		for (; burst > 0 && pushed < count; burst--, pushed++)
			if (!contender->push(race.queue, &race.base[pushed]))
				die(1, "%s: out of memory for a larger queue", contender->name);
		while (pops-- > 0 && (task = contender->pop(race.queue)) != NULL)
			race_take(&race, task, true, &last);
	}
	while ((task = contender->pop(race.queue)) != NULL)
		race_take(&race, task, true, &last);
	/* Release: pairs with the acquire in race_thief. */
	sk_store(&race.done, 1, SK_RELEASE);
	for (int i = 0; i < 2; i++)
		sk_thread_join(&thieves[i]);
	for (size_t i = 0; i < count; i++) {
		uint32_t times = sk_load(&race.times[i], SK_RELAXED);

		if (times != 1)
			die(1, "%s: with thieves, task %zu of %zu came out %" PRIu32 " times",
			    contender->name, i, count, times);
	}
	sk_free_aligned(race.times);
	sk_free_aligned(race.base);
	queue_free(contender, race.queue);
}

static void verify(const struct contender *contender, size_t race)
{
	static const size_t counts[] = {1, 2, 64, 255, 256, 257, 1000, TASKS};
	size_t overtaken = 0;

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		overtaken = verify_order(contender, counts[i], false);
		if (contender->steal != NULL)
			verify_order(contender, counts[i], true);
	}
	if (contender->steal != NULL)
		verify_race(contender, race);
	printf("  %-10s %s;\n  %-10s %d tasks in the queue: one waited for up to %zu newer ones\n",
	       contender->name, contender->about, "", TASKS, overtaken);
	fflush(stdout);
}

/* ---- Workloads ---- */

/* What one run of a workload took. */
struct sample {
	uint64_t time;  /* in nanoseconds, */
	uint64_t count; /* for so many tasks, or steals */
	uint64_t taken; /* by the thief */
};

struct workload {
	const char *name;
	/* Runs it until at least `total` tasks have been through. */
	struct sample (*run)(const struct contender *contender, size_t depth, uint64_t total);
	size_t depth;
	bool steals; /* nothing for a queue without thieves */
};

/* Pushes `depth` and pops `depth`, again and again. */
static struct sample run_owner(const struct contender *contender, size_t depth, uint64_t total)
{
	struct sample sample = {0};
	void *queue = queue_new(contender, NULL);
	uint64_t start;

	for (size_t i = 0; i < depth; i++)
		push(contender, queue, i);
	for (size_t i = 0; i < depth; i++)
		pop(contender, queue);
	start = sk_now();
	for (; sample.count < total; sample.count += depth) {
		for (size_t i = 0; i < depth; i++)
			push(contender, queue, i);
		for (size_t i = 0; i < depth; i++)
			pop(contender, queue);
	}
	sample.time = sk_now() - start;
	queue_free(contender, queue);
	return sample;
}

/* The same with a new queue each time: what it costs to grow. */
static struct sample run_growing(const struct contender *contender, size_t depth, uint64_t total)
{
	struct sample sample = {0};

	for (; sample.count < total; sample.count += depth) {
		void *queue = queue_new(contender, NULL);
		uint64_t start = sk_now();

		for (size_t i = 0; i < depth; i++)
			push(contender, queue, i);
		for (size_t i = 0; i < depth; i++)
			pop(contender, queue);
		sample.time += sk_now() - start;
		queue_free(contender, queue);
	}
	return sample;
}

/* Pushes `depth` into one queue, and the same thread takes all of them as a thief would. */
static struct sample run_transfer(const struct contender *contender, size_t depth, uint64_t total)
{
	struct sample sample = {0};
	void *queue = queue_new(contender, NULL), *own = queue_new(contender, queue);
	uint64_t start = sk_now();

	for (; sample.count < total; sample.count += depth) {
		for (size_t i = 0; i < depth; i++)
			push(contender, queue, i);
		while (contender->steal(queue, own) != NULL)
			while (contender->pop(own) != NULL)
				;
	}
	sample.time = sk_now() - start;
	queue_free(contender, own);
	queue_free(contender, queue);
	return sample;
}

static struct sample run_empty(const struct contender *contender, size_t depth, uint64_t total)
{
	struct sample sample = {0};
	void *queue = queue_new(contender, NULL), *own = queue_new(contender, queue);
	uint64_t start = sk_now();

	(void)depth;
	for (; sample.count < total; sample.count++)
		if (contender->steal(queue, own) != NULL)
			die(1, "%s: a steal from an empty queue found something", contender->name);
	sample.time = sk_now() - start;
	queue_free(contender, own);
	queue_free(contender, queue);
	return sample;
}

struct thief {
	const struct contender *contender;
	void *queue;
	sk_thread thread;
	SK_ATOMIC(uint64_t) taken SK_ALIGNED; /* so far; UINT64_MAX until it has begun */
	SK_ATOMIC(uint32_t) stop SK_ALIGNED;
};

/* Takes what there is for as long as it may, and runs it: pops it from its own queue. */
static void thief_main(void *argument)
{
	struct thief *thief = argument;
	const struct contender *contender = thief->contender;
	void *own = queue_new(contender, thief->queue);
	uint64_t taken = 0;
	unsigned spins = 0;

	if (thief_cpu >= 0 && sk_thread_pin(thief_cpu) < 0)
		die(1, "cannot keep the thief on CPU %d; see --no-pin", thief_cpu);
	sk_store(&thief->taken, 0, SK_RELEASE);
	while (!sk_load(&thief->stop, SK_RELAXED)) {
		if (contender->steal(thief->queue, own) == NULL) {
			wait_a_little(&spins);
			continue;
		}
		do
			taken++;
		while (contender->pop(own) != NULL);
		/* Release: pairs with the acquire in thief_taken. */
		sk_store(&thief->taken, taken, SK_RELEASE);
	}
	queue_free(contender, own);
}

static uint64_t thief_taken(struct thief *thief)
{
	/* Acquire: pairs with the release in thief_main; the owner uses the tasks again. */
	return sk_load(&thief->taken, SK_ACQUIRE);
}

static struct thief *thief_new(const struct contender *contender, void *queue)
{
	struct thief *thief = allocate(sizeof *thief);
	unsigned spins = 0;

	thief->contender = contender;
	thief->queue = queue;
	sk_init(&thief->taken, UINT64_MAX);
	thread_start(&thief->thread, thief_main, thief);
	while (thief_taken(thief) == UINT64_MAX)
		wait_a_little(&spins);
	return thief;
}

/* Returns how many tasks it took. */
static uint64_t thief_free(struct thief *thief)
{
	uint64_t taken;

	sk_store(&thief->stop, 1, SK_RELAXED);
	sk_thread_join(&thief->thread);
	taken = thief_taken(thief);
	sk_free_aligned(thief);
	return taken;
}

/* Pushes `depth` and pops what the thief leaves, again and again. */
static struct sample run_shared(const struct contender *contender, size_t depth, uint64_t total)
{
	struct sample sample = {0};
	void *queue = queue_new(contender, NULL);
	struct thief *thief = thief_new(contender, queue);
	uint64_t start = sk_now();

	for (; sample.count < total; sample.count += depth) {
		for (size_t i = 0; i < depth; i++)
			push(contender, queue, i);
		for (size_t i = 0; i < depth; i++)
			if (contender->pop(queue) == NULL)
				break;
	}
	sample.time = sk_now() - start;
	sample.taken = thief_free(thief);
	queue_free(contender, queue);
	return sample;
}

/* Pushes `depth` and waits until the thief has taken all of them, again and again. */
static struct sample run_handover(const struct contender *contender, size_t depth, uint64_t total)
{
	struct sample sample = {0};
	void *queue = queue_new(contender, NULL);
	struct thief *thief = thief_new(contender, queue);
	unsigned spins = 0;
	uint64_t start = sk_now();

	for (; sample.count < total; sample.count += depth) {
		for (size_t i = 0; i < depth; i++)
			push(contender, queue, i);
		while (thief_taken(thief) < sample.count + depth)
			wait_a_little(&spins);
	}
	sample.time = sk_now() - start;
	sample.taken = thief_free(thief);
	queue_free(contender, queue);
	return sample;
}

static const struct workload workloads[] = {
	{"push 1, pop 1", run_owner, 1, false},
	{"push 64, pop 64", run_owner, 64, false},
	{"push 256, pop 256", run_owner, 256, false},
	{"push 10,000, pop 10,000", run_owner, TASKS, false},
	{"same, new queue each time", run_growing, TASKS, false},
	{"push 256, steal all of it", run_transfer, 256, true},
	{"steal from an empty queue", run_empty, 0, true},
	{"2 threads: push 1, pop 1", run_shared, 1, true},
	{"2 threads: push 64, pop 64", run_shared, 64, true},
	{"2 threads: thief takes all", run_handover, TASKS, true},
};

enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

/* ---- Rounds and results ---- */

struct samples {
	double ns[CONTENDERS][ROUNDS_MAX];
	double stolen[CONTENDERS][ROUNDS_MAX];
};

static void measure(struct samples *results, int round, uint64_t total)
{
	for (int i = 0; i < WORKLOADS; i++) {
		const struct workload *workload = &workloads[i];

		for (int turn = 0; turn < CONTENDERS; turn++) {
			int which = (round + turn) % CONTENDERS;
			struct sample sample;

			if (workload->steals && contenders[which]->steal == NULL)
				continue;
			sample = workload->run(contenders[which], workload->depth, total);
			results[i].ns[which][round] = (double)sample.time / (double)sample.count;
			results[i].stolen[which][round] =
				(double)sample.taken / (double)sample.count;
		}
	}
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static void print_cell(double *samples, int rounds, double scale, int precision)
{
	char text[64];

	qsort(samples, (size_t)rounds, sizeof *samples, compare);
	snprintf(text, sizeof text, "%.*f [%.*f..%.*f]", precision, samples[rounds / 2] * scale,
		 precision, samples[0] * scale, precision, samples[rounds - 1] * scale);
	printf("  %20s", text);
}

static void print_row(const struct workload *workload, struct samples *result, int rounds)
{
	printf("%-27s", workload->name);
	for (int i = 0; i < CONTENDERS; i++) {
		if (workload->steals && contenders[i]->steal == NULL)
			printf("  %20s", "-");
		else
			print_cell(result->ns[i], rounds, 1, 1);
	}
	putchar('\n');
	if (workload->run != run_shared)
		return;
	printf("%-27s", "  stolen, %");
	for (int i = 0; i < CONTENDERS; i++) {
		if (contenders[i]->steal == NULL)
			printf("  %20s", "-");
		else
			print_cell(result->stolen[i], rounds, 100, 0);
	}
	putchar('\n');
}

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

int main(int argc, char **argv)
{
	int64_t rounds = 21, quick = 0, no_pin = 0;
	const struct option options[] = {
		{"--rounds", "N", "rounds, of which the medians are printed", NULL, &rounds,
		 ROUNDS_MIN, ROUNDS_MAX},
		{"--quick", NULL, "5 short rounds, to see that it works", NULL, &quick, 0, 1},
		{"--no-pin", NULL, "let the system move the two threads between CPUs", NULL,
		 &no_pin, 0, 1},
	};
	struct samples *results;
	uint64_t total;
	int cpus = sk_cpus_available(); /* before this thread is pinned */

	options_read(argc, argv,
		     "Compares the workers' run queue with a Chase-Lev deque and a bounded ring.",
		     options, sizeof options / sizeof options[0]);
	if (quick)
		rounds = ROUNDS_MIN;
	total = quick ? 20000 : 400000;
	tasks = allocate(TASKS * sizeof *tasks);
	results = allocate(WORKLOADS * sizeof *results);

	printf("deque_bench: %d CPU%s, %s%s, %d rounds of %" PRIu64 " tasks\n\nverified:\n", cpus,
	       cpus == 1 ? "" : "s", COMPILER,
#ifdef __OPTIMIZE__
	       "",
#else
	       " without optimisation",
#endif
	       (int)rounds, total);
	for (int i = 0; i < CONTENDERS; i++)
		verify(contenders[i], quick ? 50000 : 1000000);
	/* Not earlier: threads inherit it, and the verification has three. */
	if (no_pin || !pin())
		printf("\nThe two threads are not pinned: some runs measure how they share a CPU.\n");

	for (int round = 0; round < (int)rounds; round++)
		measure(results, round, total);
	printf("\nns per task, there and back (or per steal that finds nothing): median "
	       "[min..max]\n\n%-27s",
	       "");
	for (int i = 0; i < CONTENDERS; i++)
		printf("  %20s", contenders[i]->name);
	putchar('\n');
	for (int i = 0; i < WORKLOADS; i++)
		print_row(&workloads[i], &results[i], (int)rounds);
	sk_free_aligned(results);
	sk_free_aligned(tasks);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(1, "cannot write the results");
	return 0;
}
