/*
 * source_model.h - what the scenarios about sources have in common: the IO without its threads, sources
 * of modelled sockets, and those who use them.
 *
 * Operations are those of foreign executors, each a thread that sleeps until its waker wakes it. The
 * driver's part is short here; kernel_driver.c has the real one.
 */
#ifndef SKUA_TESTS_MODEL_SOURCE_MODEL_H
#define SKUA_TESTS_MODEL_SOURCE_MODEL_H

#include "io/io.h"
#include "io/source.h"

/* Bounds for scenarios of many steps. */
#define LESS .stale = 1, .spurious = -1

extern struct sk_io *sm_io;
extern struct sk_source *sm_sources[2];
extern skua_poll sm_answers[2];

void sm_begin(uint32_t backend);
/* Everything has been given back: memory, descriptors, and every place of the table. */
void sm_end(void);

/* Makes a source of a socket that is ready for this. */
void sm_open(unsigned i, uint32_t ready);

/* What the driver does with an event; one turn of its loop; its thread, which sm_end ends. */
void sm_dispatch(uint64_t id, uint32_t ready);
void sm_block_and_dispatch(int64_t timeout);
void sm_start_driver(void);

/* A call that does not wait, as fd_use. The descriptor is still the one that the source was made of. */
int sm_use(const struct sk_source *source, uint32_t ready);

/* Polls an operation that receives (7) or transmits (8). */
skua_poll sm_operate(skua_cx *cx, struct sk_source *source, enum sk_direction direction);

/* A foreign executor: the running thread. */
struct sm_sleeper;
struct sm_sleeper *sm_begin_to_poll(skua_cx *cx);
void sm_sleep(struct sm_sleeper *sleeper);

/* Does such an operation to its end. */
skua_poll sm_await(struct sk_source *source, enum sk_direction direction);

/* Threads that do such an operation with the source of this number,: the first answer is
 * the reader's, the second one the writer's. */
void sm_reader(void *number);
void sm_writer(void *number);

#endif /* SKUA_TESTS_MODEL_SOURCE_MODEL_H */
