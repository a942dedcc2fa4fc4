/* stall_model.c - in place of sched/stall.c and sched/backtrace.c: nobody is reported in the explorer, whose
 * threads take no signals. */
#include "sched/backtrace.h"
#include "sched/stall.h"

void sk_stalls_init(struct sk_stalls *stalls, uint32_t stall_ms)
{
	(void)stalls, (void)stall_ms;
}

void sk_stalls_destroy(struct sk_stalls *stalls)
{
	(void)stalls;
}

void sk_stall_look(struct sk_sched *sched, struct sk_worker *worker, uint64_t tick, uint64_t now)
{
	(void)sched, (void)worker, (void)tick, (void)now;
}

void sk_stalls_pause(struct sk_sched *sched)
{
	(void)sched;
}

void sk_stalls_look_came(struct sk_sched *sched, uint64_t elapsed)
{
	(void)sched, (void)elapsed;
}

void sk_stalls_stop(struct sk_stalls *stalls)
{
	(void)stalls;
}

uintptr_t sk_backtrace_allow(void)
{
	return 0;
}
