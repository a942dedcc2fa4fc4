/* signal.h - how tasks tell the thread that measures, which is no worker, that they are done. */
#ifndef SKUA_BENCH_SIGNAL_H
#define SKUA_BENCH_SIGNAL_H

#include <errno.h>
#include <semaphore.h>

static inline void signal_wait(sem_t *signal)
{
	while (sem_wait(signal) < 0 && errno == EINTR)
		;
}

#endif /* SKUA_BENCH_SIGNAL_H */
