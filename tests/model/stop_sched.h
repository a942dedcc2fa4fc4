/* stop_sched.h - the end of scenarios in which a worker runs on the scenario's own thread. */
#ifndef SKUA_TESTS_MODEL_STOP_SCHED_H
#define SKUA_TESTS_MODEL_STOP_SCHED_H

#include "sched/sched.h"
#include "sched/worker.h"

/* As sk_sched_stop, but by a task: nobody is waited for. */
static inline void stop_sched(struct sk_sched *sched)
{
	sk_store(&sched->phase, SK_PHASE_STOPPED, SK_RELEASE);
	sk_fence();
	for (unsigned i = 0; i < sched->options.workers; i++)
		if (sk_idle_claim_worker(&sched->idle, i))
			sk_unpark(&sched->workers[i]->parker);
}

#endif /* SKUA_TESTS_MODEL_STOP_SCHED_H */
