/* parker.c - see parker.h. */
#include "sched/parker.h"

#include <errno.h>

#ifdef SK_HAS_FUTEX

enum { EMPTY, PARKED, NOTIFIED, ELSEWHERE };

void sk_parker_init(sk_parker *parker)
{
	sk_init(&parker->state, EMPTY);
}

void sk_parker_destroy(sk_parker *parker)
{
	(void)parker;
}

bool sk_park(sk_parker *parker, uint64_t deadline)
{
	uint32_t state = EMPTY;

	if (!sk_cas(&parker->state, &state, PARKED, SK_RELAXED, SK_RELAXED)) {
		/* Acquire: pairs with the exchange in sk_unpark. */
		sk_exchange(&parker->state, EMPTY, SK_ACQUIRE);
		return true;
	}
	for (;;) {
		bool expired = sk_futex_wait(&parker->state, PARKED, deadline) == -ETIMEDOUT;

		if (expired || sk_load(&parker->state, SK_RELAXED) == NOTIFIED)
			/* Acquire: pairs with the exchange in sk_unpark. */
			return sk_exchange(&parker->state, EMPTY, SK_ACQUIRE) == NOTIFIED;
	}
}

bool sk_park_elsewhere(sk_parker *parker)
{
	uint32_t state = EMPTY;

	if (sk_cas(&parker->state, &state, ELSEWHERE, SK_RELAXED, SK_RELAXED))
		return true;
	/* Acquire: pairs with the exchange in sk_unpark. */
	sk_exchange(&parker->state, EMPTY, SK_ACQUIRE);
	return false;
}

bool sk_park_end(sk_parker *parker)
{
	/* Acquire: pairs with the exchange in sk_unpark. */
	return sk_exchange(&parker->state, EMPTY, SK_ACQUIRE) == NOTIFIED;
}

bool sk_unpark(sk_parker *parker)
{
	/* Release, also when it was NOTIFIED already: pairs with the acquires above. After a PARKED
	 * was taken away the owner may be gone, so only the address is used, not the word. */
	uint32_t state = sk_exchange(&parker->state, NOTIFIED, SK_RELEASE);

	if (state == PARKED)
		sk_futex_wake(&parker->state);
	return state == ELSEWHERE;
}

#else

void sk_parker_init(sk_parker *parker)
{
	parker->notified = parker->elsewhere = false;
	sk_mutex_init(&parker->mutex);
	sk_cond_init(&parker->cond);
}

void sk_parker_destroy(sk_parker *parker)
{
	sk_cond_destroy(&parker->cond);
	sk_mutex_destroy(&parker->mutex);
}

bool sk_park(sk_parker *parker, uint64_t deadline)
{
	bool notified;

	sk_mutex_lock(&parker->mutex);
	while (!parker->notified) {
		if (deadline == SK_FOREVER)
			sk_cond_wait(&parker->cond, &parker->mutex);
		else if (!sk_cond_wait_until(&parker->cond, &parker->mutex, deadline))
			break;
	}
	notified = parker->notified;
	parker->notified = false;
	sk_mutex_unlock(&parker->mutex);
	return notified;
}

/* Takes the notification; leaves the owner here or elsewhere. */
static bool take_notification(sk_parker *parker, bool elsewhere)
{
	bool notified;

	sk_mutex_lock(&parker->mutex);
	notified = parker->notified;
	parker->notified = false;
	parker->elsewhere = elsewhere && !notified;
	sk_mutex_unlock(&parker->mutex);
	return notified;
}

bool sk_park_elsewhere(sk_parker *parker)
{
	return !take_notification(parker, true);
}

bool sk_park_end(sk_parker *parker)
{
	return take_notification(parker, false);
}

bool sk_unpark(sk_parker *parker)
{
	bool elsewhere;

	sk_mutex_lock(&parker->mutex);
	elsewhere = parker->elsewhere && !parker->notified;
	parker->notified = true;
	sk_cond_signal(&parker->cond);
	sk_mutex_unlock(&parker->mutex);
	return elsewhere;
}

#endif
