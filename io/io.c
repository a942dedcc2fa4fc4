/* io.c - the IO of one runtime: makes, starts, stops and frees its drivers; see io.h. */
#include "io/io.h"

#include <errno.h>

#include "io/driver.h"

int sk_io_new(uint32_t backend, bool assisted, uint32_t drivers, struct sk_io **out)
{
	struct sk_io *io = sk_calloc(1, sizeof *io);
	int rc = 0;

	if (io == NULL)
		return -ENOMEM;
	sk_sources_init(&io->sources);
	io->drivers = sk_calloc(drivers, sizeof(struct sk_driver *));
	if (io->drivers == NULL)
		rc = -ENOMEM;
	while (rc == 0 && io->driver_count < drivers) {
		rc = sk_driver_new(backend, assisted && io->driver_count == 0, io,
				   &io->drivers[io->driver_count]);
		if (rc == 0)
			io->driver_count++;
	}
	if (rc < 0) {
		sk_io_free(io);
		return rc;
	}
	*out = io;
	return 0;
}

int sk_io_start(struct sk_io *io, struct sk_sched *sched)
{
	int rc = 0;

	io->sched = sched;
	for (uint32_t i = 0; i < io->driver_count && rc == 0; i++)
		rc = sk_driver_start(io->drivers[i], i);
	return rc;
}

void sk_io_stop(struct sk_io *io)
{
	for (uint32_t i = 0; i < io->driver_count; i++)
		sk_driver_stop(io->drivers[i]);
}

void sk_io_free(struct sk_io *io)
{
	sk_sources_destroy(&io->sources);
	for (uint32_t i = 0; i < io->driver_count; i++)
		sk_driver_free(io->drivers[i]);
	sk_free(io->drivers);
	sk_free(io);
}

void sk_io_stats(struct sk_io *io, skua_stats *stats)
{
	for (uint32_t i = 0; i < io->driver_count; i++) {
		stats->io_batches += sk_load(&io->drivers[i]->batches, SK_RELAXED);
		stats->io_events += sk_load(&io->drivers[i]->events, SK_RELAXED);
	}
}
