/* local.c - see local.h. */
#include "sched/local.h"

#include <errno.h>

#include "sched/obligation.h"

/* A value, shared by the tables that have it. */
struct local {
	SK_ATOMIC(uint32_t) references;
	const skua_local_key *key;
	void *value;
};

struct sk_locals {
	SK_ATOMIC(uint32_t) references;
	uint32_t count;
	struct local *entries[];
};

/* Where the table of a task without an extension hangs. */
struct holder {
	struct sk_obligation obligation;
	struct sk_locals *locals;
};

/* ---- Values and tables ---- */

static void local_release(struct local *local)
{
	/* Release, and acquire for the last one: everybody is done with the value. */
	if (sk_fetch_sub(&local->references, 1, SK_ACQ_REL) != 1)
		return;
	if (local->key->release != NULL)
		local->key->release(local->value);
	sk_free_sized(local, sizeof *local);
}

static struct local *local_new(const skua_local_key *key, void *value)
{
	struct local *local = sk_malloc(sizeof *local);

	if (local == NULL)
		return NULL;
	sk_init(&local->references, 1);
	local->key = key;
	local->value = value;
	return local;
}

static size_t table_size(uint32_t count)
{
	return sizeof(struct sk_locals) + count * sizeof(struct local *);
}

struct sk_locals *sk_locals_hold(struct sk_locals *locals)
{
	/* Relaxed: whoever adds a reference has one. */
	if (locals != NULL)
		sk_fetch_add(&locals->references, 1, SK_RELAXED);
	return locals;
}

void sk_locals_release(struct sk_locals *locals)
{
	/* Release, and acquire for the last one: everybody is done with the table. */
	if (locals == NULL || sk_fetch_sub(&locals->references, 1, SK_ACQ_REL) != 1)
		return;
	for (uint32_t i = 0; i < locals->count; i++)
		local_release(locals->entries[i]);
	sk_free_sized(locals, table_size(locals->count));
}

/* Where a key stands in a table; its length if it does not. */
static uint32_t find(const struct sk_locals *locals, const skua_local_key *key)
{
	uint32_t i = 0;

	while (i < locals->count && locals->entries[i]->key != key)
		i++;
	return i;
}

/* A table with the entries of another, which may be NULL, and `local` under its key. NULL: no
 * memory. */
static struct sk_locals *copy_with(const struct sk_locals *old, struct local *local)
{
	uint32_t count = old != NULL ? old->count : 0;
	uint32_t index = old != NULL ? find(old, local->key) : 0;
	struct sk_locals *locals;

	if (index == count)
		count++;
	locals = sk_malloc(table_size(count));
	if (locals == NULL)
		return NULL;
	sk_init(&locals->references, 1);
	locals->count = count;
	for (uint32_t i = 0; i < count; i++) {
		locals->entries[i] = i == index ? local : old->entries[i];
		/* Relaxed: the old table has one. */
		if (i != index)
			sk_fetch_add(&locals->entries[i]->references, 1, SK_RELAXED);
	}
	return locals;
}

/* ---- The table of a task ---- */

static void take_back(struct sk_obligation *obligation, skua_task *task)
{
	struct holder *holder = (struct holder *)(void *)obligation;

	(void)task;
	sk_locals_release(holder->locals);
	sk_free_sized(holder, sizeof *holder);
}

static const struct sk_obligation_ops obligation_ops = {take_back, "task-local values", false};

/* Where the pointer to the table is; NULL: nowhere yet. */
static struct sk_locals **find_place(const skua_task *task)
{
	struct sk_task_extension *extension = sk_task_extension(task);

	if (extension != NULL)
		return &extension->locals;
	for (struct sk_obligation *each = task->obligations; each != NULL; each = each->next)
		if (each->ops == &obligation_ops)
			return &((struct holder *)(void *)each)->locals;
	return NULL;
}

/* The same, made if need be. NULL: no memory. */
static struct sk_locals **make_place(skua_task *task)
{
	struct sk_locals **place = find_place(task);
	struct holder *holder;

	if (place != NULL)
		return place;
	holder = sk_malloc(sizeof *holder);
	if (holder == NULL)
		return NULL;
	holder->locals = NULL;
	holder->obligation.ops = &obligation_ops;
	sk_obligation_add(&task->obligations, &holder->obligation);
	return &holder->locals;
}

struct sk_locals *sk_locals_of(const skua_task *task)
{
	struct sk_locals **place = find_place(task);

	return place != NULL ? *place : NULL;
}

void *sk_local_get(const skua_task *task, const skua_local_key *key)
{
	const struct sk_locals *locals = sk_locals_of(task);
	uint32_t index;

	if (locals == NULL)
		return NULL;
	index = find(locals, key);
	return index < locals->count ? locals->entries[index]->value : NULL;
}

/* Puts a value into a table that has a place for it and that nobody else refers to. */
static bool replace(struct sk_locals *locals, struct local *local)
{
	struct local *old;
	uint32_t index;

	/* Acquire: pairs with the release in sk_locals_release, of those who looked at it
	 * before. */
	if (locals == NULL || sk_load(&locals->references, SK_ACQUIRE) != 1)
		return false;
	index = find(locals, local->key);
	if (index == locals->count)
		return false;
	old = locals->entries[index];
	locals->entries[index] = local;
	local_release(old);
	return true;
}

int sk_local_set(skua_task *task, const skua_local_key *key, void *value)
{
	struct sk_locals **place = make_place(task), *old, *table;
	struct local *local;

	if (place == NULL)
		return -ENOMEM;
	local = local_new(key, value);
	if (local == NULL)
		return -ENOMEM;
	old = *place;
	if (replace(old, local))
		return 0;
	table = copy_with(old, local);
	if (table == NULL) {
		sk_free_sized(local, sizeof *local);
		return -ENOMEM;
	}
	*place = table;
	sk_locals_release(old);
	return 0;
}
