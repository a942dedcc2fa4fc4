/* kernel_bias.c - the lock that belongs to one thread: never two inside, and nobody stays outside. */
#include "sched/bias.h"
#include "tests/model/explorer.h"

static struct sk_bias bias;
static int inside; /* plain: the explorer finds two who write it at once */
static SK_ATOMIC(uint32_t) taken;

static void other(void *unused)
{
	(void)unused;
	if (!sk_bias_try_take(&bias))
		return;
	mc_assert(inside++ == 0);
	inside--;
	sk_fetch_add(&taken, 1, SK_RELAXED);
	sk_bias_give_back(&bias);
}

static void owner_once(void)
{
	sk_bias_enter(&bias);
	mc_assert(inside++ == 0);
	inside--;
	sk_bias_leave(&bias);
}

static void begin(void)
{
	sk_bias_init(&bias);
	inside = 0;
}

MC_SCENARIO(bias, owner_against_another)
{
	begin();
	mc_start(other, 0);
	owner_once();
	owner_once();
	mc_join_all();
	sk_bias_destroy(&bias);
}

MC_SCENARIO(bias, owner_against_two)
{
	begin();
	mc_start(other, 0);
	mc_start(other, 0);
	owner_once();
	mc_join_all();
	sk_bias_destroy(&bias);
}

/* An owner that is outside does not keep the others out. */
MC_SCENARIO(bias, others_while_the_owner_is_outside)
{
	begin();
	owner_once();
	mc_start(other, 0);
	mc_start(other, 0);
	mc_join_all();
	mc_assert(sk_load(&taken, SK_RELAXED) == 2);
	owner_once();
	sk_bias_destroy(&bias);
}
