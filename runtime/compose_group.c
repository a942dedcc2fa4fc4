/* compose_group.c - skua/compose.h: a future that is made of others. */
#include <string.h>

#include "runtime/compose.h"

static struct compose *compose_of(skua_future *future)
{
	return (struct compose *)(void *)((skua_group *)(void *)future)->opaque;
}

static skua_poll group_poll(skua_cx *cx, skua_future *future)
{
	struct compose *self = compose_of(future);
	skua_branch *branches = self->branches;
	int32_t number;

	/* It has ended before, or is a branch of its own. */
	if (self->what == 0 || self->interrupt.around > 0)
		return -EINVAL;
	if (!compose_begin(cx, self, branches))
		return SKUA_PENDING;
	while ((number = compose_next(cx, self, branches)) >= 0) {
		skua_future *branch = branches[number].future;

		compose_take(cx, self, branches, (uint32_t)number, branch->ops->poll(cx, branch));
	}
	return compose_result(self);
}

static void group_drop(skua_future *future)
{
	struct compose *self = compose_of(future);

	uint32_t count = compose_count(self);

	if (self->what == 0)
		return;
	self->what = 0;
	for (uint32_t i = 0; i < count; i++) {
		skua_future *branch = self->branches[i].future;
		uint64_t pending = compose_word_at(self, self->branches, i / COMPOSE_WORD)->pending;

		if ((pending >> i % COMPOSE_WORD & 1) != 0 && branch->ops->drop != NULL)
			branch->ops->drop(branch);
	}
}

static const skua_future_ops group_ops = {
	.poll = group_poll,
	.drop = group_drop,
	.size = sizeof(skua_group),
	.name = "group",
	.file = NULL,
};

static int make(skua_group *group, skua_branch *branches, size_t count, unsigned kind,
		unsigned order)
{
	if (group == NULL || (branches == NULL && count > 0) || count > INT32_MAX ||
	    order > SKUA_IN_ORDER || (count == 0 && (kind & SKUA_COMPOSE_BY_SUCCESS_) != 0))
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (branches[i].future == NULL)
			return -EINVAL;
	for (size_t i = 0; i < count; i++)
		branches[i].result = SKUA_PENDING;
	memset(group, 0, sizeof *group);
	group->future.ops = &group_ops;
	/* An array of none has no word either. */
	compose_start(compose_of(&group->future), compose_what(kind | order << 8, (uint32_t)count),
		      count > 0 ? branches : NULL);
	return 0;
}

int skua_group_join(skua_group *group, skua_branch *branches, size_t count)
{
	return make(group, branches, count, SKUA_COMPOSE_JOIN_, SKUA_IN_ORDER);
}

int skua_group_try_join(skua_group *group, skua_branch *branches, size_t count)
{
	return make(group, branches, count, SKUA_COMPOSE_TRY_JOIN_, SKUA_IN_ORDER);
}

int skua_group_select(skua_group *group, skua_branch *branches, size_t count, unsigned order)
{
	return make(group, branches, count, SKUA_COMPOSE_SELECT_, order);
}

int skua_group_race(skua_group *group, skua_branch *branches, size_t count, unsigned order)
{
	return make(group, branches, count, SKUA_COMPOSE_RACE_, order);
}

int skua_group_race_ok(skua_group *group, skua_branch *branches, size_t count, unsigned order)
{
	return make(group, branches, count, SKUA_COMPOSE_RACE_OK_, order);
}
