/* thread_waker.c - see thread_waker.h. */
#include "sched/thread_waker.h"

#include "sched/clock.h"
#include "sched/parker.h"

/* Of a waker, since the thread has last come back from its sleep. */
enum { NOTHING, COUNTED, WOKEN };

struct sk_thread_waker {
	SK_ATOMIC(uint32_t) references;
	SK_ATOMIC(uint32_t) wait;
	sk_parker parker;
};

static void release(struct sk_thread_waker *waker)
{
	/* Release, and acquire for the last one: everybody is done with it. */
	if (sk_fetch_sub(&waker->references, 1, SK_ACQ_REL) != 1)
		return;
	sk_parker_destroy(&waker->parker);
	sk_free_sized(waker, sizeof *waker);
}

static void *duplicate(void *data)
{
	struct sk_thread_waker *waker = data;

	sk_fetch_add(&waker->references, 1, SK_RELAXED);
	return waker;
}

static void wake_by_ref(void *data)
{
	struct sk_thread_waker *waker = data;

	/* Acquire: pairs with the release in sk_thread_waker_count, so the count is never below 0. (Only a
	 * read-modify-write that is done before what it depends on would show either of them weakened.) */
	if (sk_exchange(&waker->wait, WOKEN, SK_ACQUIRE) == COUNTED)
		sk_clock_end_wait();
	sk_unpark(&waker->parker);
}

static void wake(void *data)
{
	wake_by_ref(data);
	release(data);
}

static void drop(void *data)
{
	release(data);
}

static const skua_waker_ops ops = {duplicate, wake, wake_by_ref, drop};

struct sk_thread_waker *sk_thread_waker_new(void)
{
	struct sk_thread_waker *waker = sk_malloc(sizeof *waker);

	if (waker == NULL)
		return NULL;
	sk_init(&waker->references, 1);
	sk_init(&waker->wait, NOTHING);
	sk_parker_init(&waker->parker);
	return waker;
}

void sk_thread_waker_free(struct sk_thread_waker *waker)
{
	release(waker);
}

void sk_thread_waker_cx(struct sk_thread_waker *waker, skua_cx *cx)
{
	skua_waker lent = {&ops, waker};

	skua_cx_init(cx, NULL, &lent);
}

void sk_thread_waker_count(struct sk_thread_waker *waker)
{
	uint32_t nothing = NOTHING;

	sk_clock_begin_wait();
	/* Release: pairs with the acquire of whoever wakes. */
	if (!sk_cas(&waker->wait, &nothing, COUNTED, SK_RELEASE, SK_RELAXED))
		sk_clock_end_wait();
}

void sk_thread_waker_park(struct sk_thread_waker *waker)
{
	sk_park(&waker->parker, SK_FOREVER);
	if (sk_exchange(&waker->wait, NOTHING, SK_RELAXED) == COUNTED)
		sk_clock_end_wait();
}
