/*
 * kernel_source_task.c - sources under tasks that end in the middle of an operation, or are cancelled.
 */
#include <errno.h>

#include "sched/sched.h"
#include "sched/task.h"
#include "sched/worker.h"
#include "tests/model/explorer.h"
#include "tests/model/fd_model.h"
#include "tests/model/source_model.h"

static struct sk_sched *sched; /* does not run: what is woken stays in its inbox */
static skua_task *task;

static void begin_task(void)
{
	struct sk_sched_options options = {.workers = 1, .budget = 128};

	sm_begin(SKUA_IO_BACKEND_EPOLL);
	mc_assert(sk_sched_new(&options, &sched) == 0);
	task = sk_task_new(sched, NULL, 0, false);
	sm_start_driver();
	sm_open(0, 0);
}

static void end_task(void)
{
	/* The driver may still be waking the task. */
	sm_end();
	mc_assert(sk_load(&task->state, SK_RELAXED) / SK_TASK_REFERENCE == 1);
	mc_assert(task->obligations == NULL);
	sk_inbox_take(&sched->workers[0]->inbox);
	sk_task_release(task);
	mc_assert(sk_sched_free(sched) == 0);
}

static skua_cx begin_poll(void)
{
	skua_cx cx = {.waker = {&sk_task_waker_ops, task}, .task = task, .budget = 128};

	sk_fetch_xor(&task->state, SK_TASK_SCHEDULED | SK_TASK_RUNNING, SK_ACQ_REL);
	return cx;
}

/* The poll has answered PENDING: the runner comes back when the task is SCHEDULED again. */
static void end_poll(void)
{
	uint64_t old = sk_fetch_xor(&task->state, SK_TASK_RUNNING, SK_ACQ_REL);

	if ((old & SK_TASK_SCHEDULED) != 0)
		return;
	while (sk_inbox_take(&sched->workers[0]->inbox) == NULL)
		sk_thread_yield();
}

/* The task ends in the middle of its operation: what it had begun is taken back. */
static void forgetful_task(void *unused)
{
	skua_cx cx = begin_poll();

	(void)unused;
	sm_answers[0] = sm_operate(&cx, sm_sources[0], SK_READ);
	sm_answers[1] = sm_operate(&cx, sm_sources[0], SK_WRITE);
	sk_task_complete(task, 0, 0);
}

MC_SCENARIO_WITH(source, task_ends_against_event, LESS)
{
	begin_task();
	mc_start(forgetful_task, 0);
	fd_raise(sm_sources[0]->fd, EPOLLIN);
	mc_join_all();
	mc_assert(sm_answers[0] == 7 || sm_answers[0] == SKUA_PENDING);
	mc_assert(sm_answers[1] == SKUA_PENDING);
	mc_assert(sk_load(&sm_sources[0]->slots[SK_WRITE], SK_RELAXED) == SK_SLOT_EMPTY);
	/* Both directions are free again. */
	fd_raise(sm_sources[0]->fd, EPOLLIN | EPOLLOUT);
	sm_reader(0);
	sm_writer(0);
	mc_assert(sm_answers[0] == 7 && sm_answers[1] == 8);
	sk_source_close(sm_sources[0]);
	end_task();
}

MC_SCENARIO_WITH(source, task_ends_against_close, LESS)
{
	begin_task();
	mc_start(forgetful_task, 0);
	sk_source_close(sm_sources[0]);
	mc_join_all();
	end_task();
}

/* Awaits readiness; it is told once that it was cancelled, and goes on. */
static void cancelled_task(void *unused)
{
	(void)unused;
	for (;;) {
		skua_cx cx = begin_poll();
		skua_poll result = sk_source_ready(&cx, sm_sources[0], SK_READ);

		if (result == -ECANCELED) {
			mc_assert(++sm_answers[0] == 1);
			result = sk_source_ready(&cx, sm_sources[0], SK_READ);
		}
		if (result == 0)
			break;
		mc_assert(result == SKUA_PENDING);
		end_poll();
	}
	sk_task_complete(task, 0, 0);
}

/* An event that comes with a cancellation is not lost. */
MC_SCENARIO_WITH(source, task_is_cancelled_against_event, LESS)
{
	begin_task();
	mc_start(cancelled_task, 0);
	fd_raise(sm_sources[0]->fd, EPOLLIN);
	sk_task_cancel(task);
	mc_join_all();
	sk_source_close(sm_sources[0]);
	end_task();
}
