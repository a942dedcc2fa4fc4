/* wheel.c - see wheel.h. */
#include "sched/wheel.h"

/* The level of what has been taken out of its slot because it is due. */
enum { DUE = SK_WHEEL_LEVELS };

/* ---- Lists, first in, first out ---- */

static void append(struct sk_wheel_slot *slot, struct sk_wheel_entry *entry)
{
	struct sk_wheel_entry **place = slot->first == NULL ? &slot->first : slot->end;

	entry->next = NULL;
	entry->place = place;
	*place = entry;
	slot->end = &entry->next;
}

static void take_out(struct sk_wheel_slot *slot, struct sk_wheel_entry *entry)
{
	*entry->place = entry->next;
	if (entry->next != NULL)
		entry->next->place = entry->place;
	else
		slot->end = entry->place;
	entry->place = NULL;
}

/* ---- Where an entry belongs ---- */

static uint64_t tick_of(uint64_t moment)
{
	return moment >> SK_TICK_BITS;
}

static unsigned digit_of(uint64_t tick, unsigned level)
{
	return (unsigned)(tick >> (level * SK_WHEEL_DIGIT)) & (SK_WHEEL_SLOTS - 1);
}

/* The highest digit in which they differ; 0 if they are equal. */
static unsigned level_between(uint64_t a, uint64_t b)
{
	/* A tick has 48 bits: the last digit stands for no difference. */
	uint64_t difference = (a ^ b) | (SK_WHEEL_SLOTS - 1);

	return (63 - (unsigned)__builtin_clzll(difference)) / SK_WHEEL_DIGIT;
}

static void place(struct sk_wheel *wheel, struct sk_wheel_entry *entry)
{
	uint64_t tick = tick_of(entry->moment);
	unsigned level, slot;

	if (tick < wheel->position)
		tick = wheel->position;
	level = level_between(tick, wheel->position);
	slot = digit_of(tick, level);
	entry->level = (uint16_t)level;
	entry->slot = (uint16_t)slot;
	append(&wheel->slots[level][slot], entry);
	wheel->used[level] |= UINT64_C(1) << slot;
}

void sk_wheel_insert(struct sk_wheel *wheel, struct sk_wheel_entry *entry, uint64_t moment)
{
	entry->moment = moment;
	place(wheel, entry);
}

void sk_wheel_remove(struct sk_wheel *wheel, struct sk_wheel_entry *entry)
{
	struct sk_wheel_slot *slot = &wheel->due;

	if (entry->level != DUE)
		slot = &wheel->slots[entry->level][entry->slot];
	take_out(slot, entry);
	if (slot->first == NULL && entry->level != DUE)
		wheel->used[entry->level] &= ~(UINT64_C(1) << entry->slot);
}

/* ---- Time goes on ---- */

/* The first slot that is used, and the tick at which it begins. False: there is none. */
static bool first_slot(const struct sk_wheel *wheel, unsigned *level, unsigned *slot,
		       uint64_t *tick)
{
	for (unsigned i = 0; i < SK_WHEEL_LEVELS; i++) {
		unsigned bits = i * SK_WHEEL_DIGIT;

		if (wheel->used[i] == 0)
			continue;
		*level = i;
		*slot = (unsigned)__builtin_ctzll(wheel->used[i]);
		*tick = ((wheel->position >> bits >> SK_WHEEL_DIGIT << SK_WHEEL_DIGIT) | *slot)
			<< bits;
		return true;
	}
	return false;
}

/* Two lists that are in order become one; of equal ones those of `first` come first. */
static struct sk_wheel_entry *merge(struct sk_wheel_entry *first, struct sk_wheel_entry *second)
{
	struct sk_wheel_entry *merged, **end = &merged;

	while (first != NULL && second != NULL) {
		struct sk_wheel_entry **from = second->moment < first->moment ? &second : &first;

		*end = *from;
		end = &(*end)->next;
		*from = *end;
	}
	*end = first != NULL ? first : second;
	return merged;
}

/* Sorts a list; entries of the same moment stay in their order. Runs that are in order, as most lists are
 * from end to end, are merged like the digits of a binary counter: the n-th is that of 2^n runs. */
static struct sk_wheel_entry *sort(struct sk_wheel_entry *list)
{
	struct sk_wheel_entry *counter[64] = {0}, *sorted = NULL;
	unsigned runs = 0;

	while (list != NULL) {
		struct sk_wheel_entry *run = list, *last = list;
		unsigned digit = 0;

		while (last->next != NULL && last->moment <= last->next->moment)
			last = last->next;
		list = last->next;
		last->next = NULL;
		if (list == NULL && runs == 0)
			return run;
		runs++;
		for (; counter[digit] != NULL; digit++) {
			run = merge(counter[digit], run);
			counter[digit] = NULL;
		}
		counter[digit] = run;
	}
	for (unsigned digit = 0; digit < 64; digit++)
		sorted = merge(counter[digit], sorted);
	return sorted;
}

/* Empties a slot that begins at the position: what is due goes into `due`, in order, and the rest to where
 * it belongs now. */
static void empty_slot(struct sk_wheel *wheel, unsigned level, unsigned slot, uint64_t now)
{
	struct sk_wheel_entry *entry = wheel->slots[level][slot].first, *due = NULL, **end = &due;

	wheel->slots[level][slot].first = NULL;
	wheel->used[level] &= ~(UINT64_C(1) << slot);
	while (entry != NULL) {
		struct sk_wheel_entry *next = entry->next;

		if (entry->moment <= now) {
			*end = entry;
			end = &entry->next;
		} else {
			place(wheel, entry);
		}
		entry = next;
	}
	*end = NULL;
	for (entry = sort(due); entry != NULL; entry = due) {
		due = entry->next;
		entry->level = DUE;
		append(&wheel->due, entry);
	}
}

/* Brings the position to `now`, or to the first slot before it that has something due. */
static void advance(struct sk_wheel *wheel, uint64_t now)
{
	unsigned level, slot;
	uint64_t tick;

	/* The slot of the position may have something due also if this is an earlier `now` than the last. */
	while (wheel->due.first == NULL && first_slot(wheel, &level, &slot, &tick) &&
	       (tick <= tick_of(now) || tick <= wheel->position)) {
		wheel->position = tick;
		empty_slot(wheel, level, slot, now);
		/* What has stayed is of this tick, and not yet due. */
		if (level == 0 && (wheel->used[0] >> slot & 1) != 0)
			break;
	}
	if (wheel->due.first == NULL && wheel->position < tick_of(now))
		wheel->position = tick_of(now);
}

struct sk_wheel_entry *sk_wheel_take(struct sk_wheel *wheel, uint64_t now)
{
	struct sk_wheel_entry *entry;

	if (wheel->due.first == NULL)
		advance(wheel, now);
	entry = wheel->due.first;
	if (entry != NULL)
		take_out(&wheel->due, entry);
	return entry;
}

uint64_t sk_wheel_earliest(const struct sk_wheel *wheel)
{
	uint64_t earliest = SK_WHEEL_NEVER, tick;
	unsigned level, slot;

	if (wheel->due.first != NULL)
		return wheel->due.first->moment;
	if (!first_slot(wheel, &level, &slot, &tick))
		return SK_WHEEL_NEVER;
	for (const struct sk_wheel_entry *entry = wheel->slots[level][slot].first; entry != NULL;
	     entry = entry->next) {
		if (entry->moment < earliest)
			earliest = entry->moment;
		/* Rounded moments are beginnings of ticks, and many are the same. */
		if (earliest <= tick << SK_TICK_BITS)
			break;
	}
	return earliest;
}

uint64_t sk_wheel_next(const struct sk_wheel *wheel)
{
	unsigned level, slot;
	uint64_t tick;

	if (wheel->due.first == NULL && first_slot(wheel, &level, &slot, &tick) && level > 0)
		return tick << SK_TICK_BITS;
	return sk_wheel_earliest(wheel);
}
