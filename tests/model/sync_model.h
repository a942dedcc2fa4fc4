/* sync_model.h - what a scenario may ask of the modelled seam: failures, and a clock that goes on. */
#ifndef SKUA_TESTS_MODEL_SYNC_MODEL_H
#define SKUA_TESTS_MODEL_SYNC_MODEL_H

#include <stdint.h>

/* From here on up to `n` allocations or starts of threads may fail: each is a choice. 0: none. */
void mc_allow_failures(unsigned n);

/* How many have failed so far. */
unsigned mc_failures(void);

/* Lets time pass. Otherwise the clock moves only when a timed wait runs out: to its deadline. */
void mc_advance_clock(uint64_t ns);

#endif /* SKUA_TESTS_MODEL_SYNC_MODEL_H */
