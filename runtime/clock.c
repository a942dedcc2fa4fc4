/* clock.c - skua/time.h: what time it is, and a clock for tests (sched/clock.h). */
#include <errno.h>

#include "runtime/runtime.h"
#include "sched/worker.h"

#include "skua/time.h"

/* Of the runtime that the calling thread belongs to, or NULL. */
static struct sk_sched *own_sched(void)
{
	struct sk_worker *worker = sk_worker_current();

	return worker != NULL ? worker->sched : sk_blocking_current();
}

uint64_t skua_now(void)
{
	struct sk_sched *sched = own_sched();

	return sched != NULL ? sk_clock_now(&sched->clock) : sk_now();
}

uint64_t skua_clock_now(const skua_runtime *rt)
{
	return sk_clock_now(&rt->head.sched->clock);
}

int skua_clock_pause(skua_runtime *rt)
{
	if (rt == NULL)
		return -EINVAL;
	if (!sk_clock_pause(&rt->head.sched->clock))
		return -EALREADY;
	sk_sched_clock_changed(rt->head.sched);
	return 0;
}

int skua_clock_resume(skua_runtime *rt)
{
	if (rt == NULL)
		return -EINVAL;
	if (!sk_clock_resume(&rt->head.sched->clock))
		return -EALREADY;
	sk_sched_clock_changed(rt->head.sched);
	return 0;
}

int skua_clock_advance(skua_runtime *rt, uint64_t ns)
{
	if (rt == NULL || !sk_clock_advance(&rt->head.sched->clock, ns))
		return -EINVAL;
	sk_sched_clock_changed(rt->head.sched);
	return 0;
}
