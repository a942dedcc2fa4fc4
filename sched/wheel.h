/*
 * wheel.h - a hierarchical timing wheel: entries in the order of their moments, to insert, to remove
 * and to take out when they are due, each in constant time. A plain data structure: one thread at a
 * time.
 *
 * Time is counted in ticks of 2^16 ns (65.5 us). Eight levels of 64 slots each hold all moments that
 * there are: a slot of level L is 64^L ticks long. An entry is at the level of the highest digit (to
 * base 64) in which its tick differs from the wheel's position, in the slot that this digit names. So
 *
 *   - at level 0 all slots lie between the position and the end of its level-1 slot, and at level L > 0
 *     all that are used come after the one that the position is in: the lowest level that has an entry
 *     has the earliest one, in its first slot, and a word of 64 bits for each level finds it;
 *   - when the position comes to a slot of a higher level, its entries move to lower ones: each entry
 *     moves seven times at most, and one that is removed before, never;
 *   - the position may pass over slots that are empty without a look at them.
 *
 * A slot of level 0 may hold entries that are due and others that are not: what counts in the end is
 * the moment itself, in ns. Those that are due together come out in the order of their moments, and
 * those of the same moment in the order in which they went in.
 *
 * Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7; the digits and the
 * words are as in Tokio (runtime/time/wheel).
 */
#ifndef SKUA_SCHED_WHEEL_H
#define SKUA_SCHED_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SK_TICK_BITS = 16,
	SK_WHEEL_DIGIT = 6, /* bits in one */
	SK_WHEEL_SLOTS = 1 << SK_WHEEL_DIGIT,
	SK_WHEEL_LEVELS = (64 - SK_TICK_BITS) / SK_WHEEL_DIGIT,
};

#define SK_WHEEL_NEVER UINT64_MAX

/* What is inserted: a member of the thing itself. Zeroed, it is in no wheel. */
struct sk_wheel_entry {
	struct sk_wheel_entry *next;
	struct sk_wheel_entry **place; /* what points to this one; NULL: in no wheel */
	uint64_t moment;               /* when it is due, in ns */
	uint16_t level, slot;
};

struct sk_wheel_slot {
	struct sk_wheel_entry *first;
	struct sk_wheel_entry **end; /* the `next` of the last one; only if there is one */
};

/* All zeroes is an empty wheel at the beginning of time. */
struct sk_wheel {
	uint64_t position; /* in ticks: all before it is done */
	uint64_t used[SK_WHEEL_LEVELS];
	struct sk_wheel_slot due; /* taken out of its slot, and not yet by the caller */
	struct sk_wheel_slot slots[SK_WHEEL_LEVELS][SK_WHEEL_SLOTS];
};

static inline bool sk_wheel_holds(const struct sk_wheel_entry *entry)
{
	return entry->place != NULL;
}

/* Inserts an entry that is in no wheel. A moment that has passed is due at once. */
void sk_wheel_insert(struct sk_wheel *wheel, struct sk_wheel_entry *entry, uint64_t moment);

/* Takes an entry out that is in this wheel. */
void sk_wheel_remove(struct sk_wheel *wheel, struct sk_wheel_entry *entry);

/* Takes out the next entry that is due at `now`, or returns NULL. The wheel's time never goes back: an
 * earlier `now` than before finds only what that one has left. */
struct sk_wheel_entry *sk_wheel_take(struct sk_wheel *wheel, uint64_t now);

/* The moment at which sk_wheel_take is to be called next: that of the earliest entry, or before it, when
 * entries have to move. SK_WHEEL_NEVER if there is none (or that is its moment). */
uint64_t sk_wheel_next(const struct sk_wheel *wheel);

/* The moment of the earliest entry; looks at all that share its slot. SK_WHEEL_NEVER if there is none. */
uint64_t sk_wheel_earliest(const struct sk_wheel *wheel);

#endif /* SKUA_SCHED_WHEEL_H */
