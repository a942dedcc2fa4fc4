/*
 * io.h - the IO of one runtime: its drivers and its table of sources.
 *
 * A runtime's struct begins with sk_runtime_head (runtime/runtime.h), so that this layer finds its
 * own part without knowing the rest.
 */
#ifndef SKUA_IO_IO_H
#define SKUA_IO_IO_H

#include "io/source.h"

#include "skua/runtime.h"

struct sk_driver;
struct sk_sched;

struct sk_io {
	struct sk_sched *sched;
	struct sk_driver **drivers;
	uint32_t driver_count;
	struct sk_source_table sources;
};

struct sk_runtime_head {
	struct sk_io *io;
	struct sk_sched *sched;
};

static inline struct sk_io *sk_io_of(skua_runtime *runtime)
{
	return ((struct sk_runtime_head *)(void *)runtime)->io;
}

/*
 * Which of the drivers serves a descriptor. The kernel gives the lowest number that is free, so the
 * numbers of one kind of descriptor often have a stride: of a process that has both ends of each
 * connection, or connects for each one that it accepts, one driver of two would get all of the one
 * kind by the remainder of a division. Multiples of the golden ratio are spread whatever the stride
 * (Knuth, The Art of Computer Programming 6.4).
 */
static inline uint32_t sk_io_driver_of(int fd, uint32_t drivers)
{
	uint32_t hash = (uint32_t)fd * 2654435769u;

	return (uint32_t)((uint64_t)hash * drivers >> 32);
}

/* Makes the drivers, which do not run yet. `assisted`: workers poll in the place of the first one.
 * Returns 0 or a negative errno. */
int sk_io_new(uint32_t backend, bool assisted, uint32_t drivers, struct sk_io **out);

/* Tells it its scheduler, and starts the drivers' threads. On failure call sk_io_stop. */
int sk_io_start(struct sk_io *io, struct sk_sched *sched);

/* Ends the drivers' threads. */
void sk_io_stop(struct sk_io *io);

/* Closes every descriptor that is still open, and frees everything. */
void sk_io_free(struct sk_io *io);

/* The driver that watches over the workers, the first: for sk_sched_options. */
extern const struct sk_driver_ops sk_io_driver_ops, sk_io_assisted_driver_ops;

void sk_io_stats(struct sk_io *io, skua_stats *stats);

#endif /* SKUA_IO_IO_H */
