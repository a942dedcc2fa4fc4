/* jobs.h - runs the parts of a list in several processes, and prints what they say in its order. */
#ifndef SKUA_TESTS_MODEL_JOBS_H
#define SKUA_TESTS_MODEL_JOBS_H

#include <stddef.h>

/* Memory that stays shared with the processes of mc_jobs; zero, and never given back. */
void *mc_shared(size_t size);

/*
 * Calls run(0) to run(count - 1), each once, in `jobs` processes that take the next one as they get
 * free. What a run prints on stdout comes in order; what it has found out it must leave in shared
 * memory. Returns 0, or the number of runs that did not come to their end because their process died.
 */
unsigned mc_jobs(unsigned jobs, unsigned count, void (*run)(unsigned i));

#endif /* SKUA_TESTS_MODEL_JOBS_H */
