/* clock.c - see clock.h. */
#include "sched/clock.h"

static SK_ATOMIC(uint32_t) waits;

void sk_clock_begin_wait(void)
{
	sk_fetch_add(&waits, 1, SK_RELAXED);
}

void sk_clock_end_wait(void)
{
	sk_fetch_sub(&waits, 1, SK_RELAXED);
}

bool sk_clock_is_awaited(void)
{
	return sk_load(&waits, SK_RELAXED) > 0;
}

void sk_clock_init(struct sk_clock *clock)
{
	sk_init(&clock->state, SK_CLOCK_SYSTEM);
	sk_mutex_init(&clock->lock);
	clock->time = clock->shift = 0;
}

void sk_clock_destroy(struct sk_clock *clock)
{
	sk_mutex_destroy(&clock->lock);
}

/* Under the lock. */
static uint64_t time_of(struct sk_clock *clock)
{
	if (sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_PAUSED)
		return clock->time;
	return sk_now() + clock->shift;
}

uint64_t sk_clock_time(struct sk_clock *clock)
{
	uint64_t time;

	sk_mutex_lock(&clock->lock);
	time = time_of(clock);
	sk_mutex_unlock(&clock->lock);
	return time;
}

uint64_t sk_clock_sleep_until(struct sk_clock *clock, uint64_t moment)
{
	uint64_t until = moment;

	if (sk_clock_is_system(clock) || moment == SK_FOREVER)
		return moment;
	sk_mutex_lock(&clock->lock);
	if (moment <= time_of(clock))
		until = 0;
	else if (sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_PAUSED)
		until = SK_FOREVER;
	else
		until = moment - clock->shift;
	sk_mutex_unlock(&clock->lock);
	return until;
}

void sk_clock_publish(struct sk_clock *clock)
{
	/* Who holds the lock now, or has not had it yet, cannot see what comes later without this. */
	sk_mutex_lock(&clock->lock);
	sk_mutex_unlock(&clock->lock);
}

bool sk_clock_pause(struct sk_clock *clock)
{
	bool paused;

	sk_mutex_lock(&clock->lock);
	paused = sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_PAUSED;
	clock->time = time_of(clock);
	sk_store(&clock->state, SK_CLOCK_PAUSED, SK_RELAXED);
	sk_mutex_unlock(&clock->lock);
	return !paused;
}

bool sk_clock_resume(struct sk_clock *clock)
{
	bool paused;

	sk_mutex_lock(&clock->lock);
	paused = sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_PAUSED;
	if (paused) {
		clock->shift = clock->time - sk_now();
		sk_store(&clock->state, SK_CLOCK_SHIFTED, SK_RELAXED);
	}
	sk_mutex_unlock(&clock->lock);
	return paused;
}

bool sk_clock_advance(struct sk_clock *clock, uint64_t ns)
{
	bool paused;

	sk_mutex_lock(&clock->lock);
	paused = sk_load(&clock->state, SK_RELAXED) == SK_CLOCK_PAUSED;
	if (paused)
		clock->time = ns < SK_FOREVER - clock->time ? clock->time + ns : SK_FOREVER - 1;
	sk_mutex_unlock(&clock->lock);
	return paused;
}
