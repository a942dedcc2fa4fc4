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

/* Empties a slot that begins at the position: what is due to the end of `due`, the rest to where it
 * belongs now. */
static void empty_slot(struct sk_wheel *wheel, unsigned level, unsigned slot, uint64_t now)
{
	struct sk_wheel_entry *entry = wheel->slots[level][slot].first;

	wheel->slots[level][slot].first = NULL;
	wheel->used[level] &= ~(UINT64_C(1) << slot);
	while (entry != NULL) {
		struct sk_wheel_entry *next = entry->next;

		if (entry->moment <= now) {
			entry->level = DUE;
			append(&wheel->due, entry);
		} else {
			place(wheel, entry);
		}
		entry = next;
	}
}

/* Brings the position to `now`, or to the first slot before it that has something due. */
static void advance(struct sk_wheel *wheel, uint64_t now)
{
	unsigned level, slot;
	uint64_t tick;

	while (wheel->due.first == NULL && first_slot(wheel, &level, &slot, &tick) &&
	       tick <= tick_of(now)) {
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

uint64_t sk_wheel_next(const struct sk_wheel *wheel)
{
	uint64_t earliest = SK_WHEEL_NEVER, tick;
	unsigned level, slot;

	if (wheel->due.first != NULL)
		return wheel->due.first->moment;
	if (!first_slot(wheel, &level, &slot, &tick))
		return SK_WHEEL_NEVER;
	if (level > 0)
		return tick << SK_TICK_BITS;
	for (const struct sk_wheel_entry *entry = wheel->slots[0][slot].first; entry != NULL;
	     entry = entry->next)
		if (entry->moment < earliest)
			earliest = entry->moment;
	return earliest;
}
