/* timer.c - see timer.h. */
#include "sched/timer.h"

#include <errno.h>

#include "sched/task.h"

enum { POSTED = 1, GONE = 2 };

enum { FIRE_BATCH = 64, CHUNK_ENTRIES = 63 };

/* Entries are made in chunks, which stay until the end. */
struct sk_timer_chunk {
	struct sk_timer_chunk *next;
	struct sk_timer_entry entries[CHUNK_ENTRIES];
};

void sk_timers_init(struct sk_timers *timers, const void *owner)
{
	sk_init(&timers->next, SK_FOREVER);
	sk_bias_init(&timers->bias);
	timers->owner = owner;
}

static bool is_owner(const struct sk_timers *timers)
{
	return sk_thread_local() == timers->owner;
}

/* ---- Under the lock ---- */

static struct sk_timer_entry *entry_of(struct sk_wheel_entry *in_wheel)
{
	return (struct sk_timer_entry *)(void *)((char *)in_wheel -
						 offsetof(struct sk_timer_entry, in_wheel));
}

static void put_back(struct sk_timers *timers, struct sk_timer_entry *entry)
{
	entry->next = timers->unused;
	timers->unused = entry;
}

static void insert(struct sk_timers *timers, struct sk_timer_entry *entry, uint64_t moment)
{
	sk_wheel_insert(&timers->wheel, &entry->in_wheel, moment);
	if (moment < sk_timers_next(timers))
		sk_store(&timers->next, moment, SK_RELAXED);
}

/* What one visit has found. What is woken and freed is so after it: that may call foreign code. */
struct visit {
	unsigned fired, woken;
	struct sk_timer_entry *singles;
	sk_waiter waiters[FIRE_BATCH];
};

static void take_in(struct sk_timers *timers, struct sk_timer_entry *entry, struct visit *visit)
{
	/* Acquire: pairs with the release in post; if it is GONE, the entry is this side's alone. Release:
	 * pairs with the acquire there; if it is not, `next` may be written again. */
	uint32_t posted = sk_fetch_and(&entry->posted, ~(uint32_t)POSTED, SK_ACQ_REL);

	if ((posted & GONE) == 0) {
		insert(timers, entry, entry->in_wheel.moment);
		return;
	}
	if (sk_wheel_holds(&entry->in_wheel))
		sk_wheel_remove(&timers->wheel, &entry->in_wheel);
	if (entry->single) {
		entry->next = visit->singles;
		visit->singles = entry;
	} else {
		put_back(timers, entry);
	}
}

static void take_mail(struct sk_timers *timers, struct visit *visit)
{
	struct sk_timer_entry *entry;

	if (!sk_timers_have_mail(timers))
		return;
	/* Acquire: pairs with the release in post. */
	entry = sk_exchange(&timers->mail, NULL, SK_ACQUIRE);
	while (entry != NULL) {
		struct sk_timer_entry *next = entry->next;

		take_in(timers, entry, visit);
		entry = next;
	}
}

static void look(struct sk_timers *timers, uint64_t now, struct visit *visit)
{
	struct sk_wheel_entry *in_wheel;

	visit->fired = visit->woken = 0;
	visit->singles = NULL;
	take_mail(timers, visit);
	while (visit->fired < FIRE_BATCH &&
	       (in_wheel = sk_wheel_take(&timers->wheel, now)) != NULL) {
		/* The last touch: whoever finds it ready may give it back. */
		sk_waiter waiter = sk_slot_fire(&entry_of(in_wheel)->slot);

		visit->fired++;
		if (waiter != SK_NO_WAITER)
			visit->waiters[visit->woken++] = waiter;
	}
	sk_store(&timers->next, sk_wheel_next(&timers->wheel), SK_RELAXED);
}

/* After it. Returns whether there may be more that is due. */
static bool finish(struct visit *visit)
{
	for (unsigned i = 0; i < visit->woken; i++)
		sk_waiter_wake(visit->waiters[i]);
	while (visit->singles != NULL) {
		struct sk_timer_entry *entry = visit->singles;

		visit->singles = entry->next;
		sk_free_sized(entry, sizeof *entry);
	}
	return visit->fired == FIRE_BATCH;
}

void sk_timers_refresh(struct sk_timers *timers)
{
	struct visit visit = {0};

	sk_bias_enter(&timers->bias);
	take_mail(timers, &visit);
	sk_store(&timers->next, sk_wheel_earliest(&timers->wheel), SK_RELAXED);
	sk_bias_leave(&timers->bias);
	(void)finish(&visit);
}

unsigned sk_timers_fire(struct sk_timers *timers, uint64_t now)
{
	struct visit visit;
	unsigned total = 0;

	do {
		if (sk_timers_next(timers) > now && !sk_timers_have_mail(timers))
			break;
		sk_bias_enter(&timers->bias);
		look(timers, now, &visit);
		sk_bias_leave(&timers->bias);
		total += visit.fired;
	} while (finish(&visit));
	return total;
}

unsigned sk_timers_visit(struct sk_timers *timers, uint64_t now, bool *earlier)
{
	struct visit visit;
	unsigned total = 0;

	do {
		uint64_t before;

		if (sk_timers_next(timers) > now && !sk_timers_have_mail(timers))
			break;
		if (!sk_bias_try_take(&timers->bias))
			break;
		before = sk_timers_next(timers);
		look(timers, now, &visit);
		*earlier = *earlier || sk_timers_next(timers) < before;
		sk_bias_give_back(&timers->bias);
		total += visit.fired;
	} while (finish(&visit));
	return total;
}

unsigned sk_timers_fire_for_owner(struct sk_timers *timers, uint64_t now)
{
	bool earlier = false;

	return sk_timers_visit(timers, now, &earlier);
}

void sk_timers_destroy(struct sk_timers *timers)
{
	struct sk_wheel_entry *in_wheel;
	struct visit visit = {0};

	/* What a foreign executor has left behind. */
	take_mail(timers, &visit);
	while ((in_wheel = sk_wheel_take(&timers->wheel, SK_FOREVER)) != NULL) {
		struct sk_timer_entry *entry = entry_of(in_wheel);

		sk_slot_reset(&entry->slot);
		if (entry->single) {
			entry->next = visit.singles;
			visit.singles = entry;
		}
	}
	(void)finish(&visit);
	while (timers->chunks != NULL) {
		struct sk_timer_chunk *chunk = timers->chunks;

		timers->chunks = chunk->next;
		sk_free_sized(chunk, sizeof *chunk);
	}
	sk_bias_destroy(&timers->bias);
}

/* ---- Arming ---- */

/* The task ends, and has not awaited its timer to the end. */
static void take_back(struct sk_obligation *obligation, skua_task *task)
{
	(void)task;
	sk_timer_disarm((struct sk_timer *)(void *)((char *)obligation -
						    offsetof(struct sk_timer, obligation)));
}

static const struct sk_obligation_ops obligation_ops = {take_back, "timer", true};

/* The user's side of arming. */
static void attach(struct sk_timer *timer, struct sk_timer_entry *entry, uint64_t deadline,
		   const skua_cx *cx)
{
	timer->entry = entry;
	timer->deadline = deadline;
	timer->obligation.ops = &obligation_ops;
	if (cx->task != NULL)
		sk_obligation_add(&cx->task->obligations, &timer->obligation);
}

/* More entries for the store. Outside the lock, since it allocates. */
static bool add_chunk(struct sk_timers *timers)
{
	struct sk_timer_chunk *chunk = sk_calloc(1, sizeof *chunk);

	if (chunk == NULL)
		return false;
	sk_bias_enter(&timers->bias);
	chunk->next = timers->chunks;
	timers->chunks = chunk;
	for (unsigned i = 0; i < CHUNK_ENTRIES; i++) {
		chunk->entries[i].timers = timers;
		put_back(timers, &chunk->entries[i]);
	}
	sk_bias_leave(&timers->bias);
	return true;
}

/* A multiple of the granule, not before the deadline. */
static uint64_t round_up(uint64_t deadline, uint64_t granule)
{
	uint64_t rounded = (deadline + (granule - 1)) & ~(granule - 1);

	return rounded >= deadline ? rounded : SK_FOREVER;
}

int sk_timer_arm(struct sk_timers *timers, struct sk_timer *timer, uint64_t deadline,
		 uint64_t granule, const skua_cx *cx)
{
	sk_waiter waiter = sk_waiter_of(cx);
	struct sk_timer_entry *entry;

	if (waiter == SK_NO_WAITER)
		return -ENOMEM;
	sk_bias_enter(&timers->bias);
	if (timers->unused == NULL) {
		sk_bias_leave(&timers->bias);
		if (!add_chunk(timers)) {
			sk_waiter_drop(waiter);
			return -ENOMEM;
		}
		/* Only the owner takes from the store. */
		sk_bias_enter(&timers->bias);
	}
	entry = timers->unused;
	timers->unused = entry->next;
	/* Known to nobody else until it is in the wheel and the lock is left. */
	sk_init(&entry->slot, waiter);
	sk_init(&entry->posted, 0);
	insert(timers, entry, round_up(deadline, granule));
	sk_bias_leave(&timers->bias);
	attach(timer, entry, deadline, cx);
	return 0;
}

/* Leaves an entry for the owner, unless it is on its way already. */
static void post(struct sk_timer_entry *entry, uint32_t what)
{
	struct sk_timers *timers = entry->timers;
	struct sk_timer_entry *head;

	/* Release: pairs with the acquire in take_in; this side is done with it. Acquire: pairs with the
	 * release there. */
	if ((sk_fetch_or(&entry->posted, what | POSTED, SK_ACQ_REL) & POSTED) != 0)
		return;
	head = sk_load(&timers->mail, SK_RELAXED);
	do
		entry->next = head;
	/* Release: pairs with the acquire in take_mail. */
	while (!sk_cas_weak(&timers->mail, &head, entry, SK_RELEASE, SK_RELAXED));
}

int sk_timer_arm_from_outside(struct sk_timers *timers, struct sk_timer *timer, uint64_t deadline,
			      const skua_cx *cx)
{
	struct sk_timer_entry *entry = sk_calloc(1, sizeof *entry);
	sk_waiter waiter;

	if (entry == NULL)
		return -ENOMEM;
	waiter = sk_waiter_of(cx);
	if (waiter == SK_NO_WAITER) {
		sk_free_sized(entry, sizeof *entry);
		return -ENOMEM;
	}
	sk_init(&entry->slot, waiter);
	entry->single = true;
	entry->timers = timers;
	entry->in_wheel.moment = deadline;
	attach(timer, entry, deadline, cx);
	post(entry, 0);
	return 0;
}

void sk_timer_disarm(struct sk_timer *timer)
{
	struct sk_timer_entry *entry = timer->entry;
	struct sk_timers *timers;

	if (entry == NULL)
		return;
	timers = entry->timers;
	timer->entry = NULL;
	sk_obligation_remove(&timer->obligation);
	/* From here on it wakes nobody. */
	sk_slot_reset(&entry->slot);
	if (entry->single || !is_owner(timers)) {
		post(entry, GONE);
		return;
	}
	sk_bias_enter(&timers->bias);
	if (sk_wheel_holds(&entry->in_wheel))
		sk_wheel_remove(&timers->wheel, &entry->in_wheel);
	put_back(timers, entry);
	sk_bias_leave(&timers->bias);
}
