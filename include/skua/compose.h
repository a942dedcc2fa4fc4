/*
 * skua/compose.h - several operations at once in one task: all of them (join), all unless one fails
 * (try_join), or the first one (select, race). Nothing is allocated, whatever their number.
 *
 * There are two forms. Operations written down where they are awaited, up to 64, in a coroutine:
 *
 *     SKUA_SELECT(self->which, cx, &self->select, SKUA_FAIR, 2) {
 *             SKUA_BRANCH(0, self->n = skua_read(cx, self->conn, self->buf, sizeof self->buf));
 *             SKUA_BRANCH(1, self->rc = skua_sleep(cx, &self->timer, SKUA_SEC));
 *     }
 *     if (self->which == 0) ...
 *
 * And a group, a future made of any number of others: awaited with skua_poll_future, handed to
 * skua_block_on or skua_spawn, polled by a foreign executor, or a branch of another group:
 *
 *     skua_branch branches[] = {{.future = &a.co}, {.future = &b.co}};
 *     skua_group group;
 *
 *     rc = skua_group_join(&group, branches, 2);
 *     ...
 *     n = skua_block_on(rt, &group.future);
 *
 * The rules are the same for both:
 *
 *   - Every branch is polled at least once, and none again after it has ended. It is never
 *     abandoned: the whole is ready when all branches have ended.
 *   - When the result is known (the first one of a select is ready, one of a try_join has failed),
 *     the others are cancelled: the await that goes on in each of them, or its next one, returns
 *     -ECANCELED, once. They may await while they clean up. One that does not ask ends as it likes.
 *   - A cancellation or a deadline from outside is taken by the whole, which cancels every branch
 *     and ends with -ECANCELED. If the result is known by then, it stays, and it is the next await
 *     outside that is told; the branches are told at once all the same.
 *   - A skua_shield in a branch keeps all of that away from this branch for its time.
 *   - Each branch has its share of the task's budget, at least one unit, so none starves another.
 *   - A wake polls all branches that have not ended: N branches cost N polls for each.
 *   - No two branches wait in the same place: for the same direction of a socket, the next result of
 *     the same scope, skua_yield, with the same timer. A place knows one waiter of a task, and takes
 *     the second for the first.
 *
 * Each level of nesting takes some hundred bytes of the worker's stack while it is polled.
 */
#ifndef SKUA_COMPOSE_H
#define SKUA_COMPOSE_H

#include "coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Which branch is polled first, in a select or race: SKUA_FAIR, a random one, so that one which is
 * always ready does not starve the others; SKUA_IN_ORDER, that with the lowest number.
 */
enum { SKUA_FAIR = 0, SKUA_IN_ORDER = 1 };

/* ---- Groups ---- */

/*
 * One of the futures of a group. `future` is set by the user, all else zero; it is lent to the
 * group and has not been polled; no two branches have the same. `result` is its result when it has
 * ended, and SKUA_PENDING from the start of the group until then. The rest is private.
 */
typedef struct skua_branch {
	skua_future *future;
	skua_poll result;
	uint64_t opaque[2];
} skua_branch;

/*
 * A future made of others. The user's memory; made by one of the functions below, and again after
 * its end, if the futures of the branches have been made anew. Until its end the branches, which it
 * does not copy, and their futures stay where they are. If it is dropped, it drops its branches.
 */
typedef struct SKUA_MAY_ALIAS skua_group {
	skua_future future;
	uint64_t opaque[18];
} skua_group;

/*
 * Makes a group of `count` branches. All return 0, or -EINVAL: an argument is NULL, a branch has no
 * future, count is 0 (but for the joins, which are then ready at once) or above INT32_MAX, or
 * `order` is neither SKUA_FAIR nor SKUA_IN_ORDER; then nothing is changed. Any thread; never block.
 * What they are ready with:
 *
 *     join        0, whatever the branches returned
 *     try_join    0, or the first error of a branch: the others are cancelled
 *     select      the number of the branch that was ready first: the others are cancelled
 *     race        the result of that branch
 *     race_ok     the first result that is no error: the others are cancelled. If all are errors,
 *                 the first of those
 *
 * A branch that is cancelled may have succeeded all the same, in the same poll or while it cleaned
 * up: its own `result`, or what the block has assigned, says so, and what it got is the user's.
 *
 * or with -ECANCELED; see above.
 */
SKUA_API SKUA_MUST_USE int skua_group_join(skua_group *group, skua_branch *branches, size_t count);
SKUA_API SKUA_MUST_USE int skua_group_try_join(skua_group *group, skua_branch *branches,
					       size_t count);
SKUA_API SKUA_MUST_USE int skua_group_select(skua_group *group, skua_branch *branches, size_t count,
					     unsigned order);
SKUA_API SKUA_MUST_USE int skua_group_race(skua_group *group, skua_branch *branches, size_t count,
					   unsigned order);
SKUA_API SKUA_MUST_USE int skua_group_race_ok(skua_group *group, skua_branch *branches,
					      size_t count, unsigned order);

/* ---- Operations written where they are awaited ---- */

/* How a poll of a block goes on as long as its branches are not ready: that costs no call. Private. */
typedef struct skua_compose_pass {
	uint64_t todo; /* who comes next, from the lowest bit: bit b is branch (b + turned) % 64 */
	uint32_t turned;   /* the branch that the pass has begun with */
	int32_t share;     /* of the task's budget, for each branch */
	int32_t untouched; /* the budget after a pending branch of which nothing has to be noted */
	skua_poll value;   /* when the poll is over: the result of the whole, or SKUA_PENDING */
} skua_compose_pass;

/*
 * What a block of branches needs while it is awaited, for up to 64 of them: a member of the struct
 * of whoever awaits. Zero it before the first use; after each await it may be used again. It is for
 * one await, one statement, at a time: a second one gets -EINVAL if it is inside the first, of
 * another kind or count, or in a line with another number; else (a function that is called twice
 * with one storage) the two get mixed up. The fields are private.
 */
typedef struct SKUA_MAY_ALIAS skua_compose {
	skua_compose_pass pass;
	uint64_t opaque[13];
} skua_compose;

/*
 * In a coroutine, a statement that awaits `count` branches, as in the head of this file, and stores
 * in `result` what the group of the same name is ready with. `count` is a constant, 1 to 64; the
 * branches are numbered from 0, and each of them is written once. Inside there is no await, and
 * nothing that leaves a branch: return, break, continue, goto.
 */
#define SKUA_JOIN(result, cx, storage, count)                                                      \
	SKUA_COMPOSE_(result, cx, storage, SKUA_COMPOSE_JOIN_, count)
#define SKUA_TRY_JOIN(result, cx, storage, count)                                                  \
	SKUA_COMPOSE_(result, cx, storage, SKUA_COMPOSE_TRY_JOIN_, count)
#define SKUA_SELECT(result, cx, storage, order, count)                                             \
	SKUA_COMPOSE_(result, cx, storage, skua_compose_kind_(SKUA_COMPOSE_SELECT_, (order)), count)
#define SKUA_RACE(result, cx, storage, order, count)                                               \
	SKUA_COMPOSE_(result, cx, storage, skua_compose_kind_(SKUA_COMPOSE_RACE_, (order)), count)
#define SKUA_RACE_OK(result, cx, storage, order, count)                                            \
	SKUA_COMPOSE_(result, cx, storage, skua_compose_kind_(SKUA_COMPOSE_RACE_OK_, (order)),     \
		      count)

/*
 * The same in any other function that returns a skua_poll, such as a poll function written by hand:
 * while it is not ready, the function returns SKUA_PENDING.
 */
#define SKUA_POLL_JOIN(result, cx, storage, count)                                                 \
	SKUA_COMPOSE_POLL_(result, cx, storage, SKUA_COMPOSE_JOIN_, count)
#define SKUA_POLL_TRY_JOIN(result, cx, storage, count)                                             \
	SKUA_COMPOSE_POLL_(result, cx, storage, SKUA_COMPOSE_TRY_JOIN_, count)
#define SKUA_POLL_SELECT(result, cx, storage, order, count)                                        \
	SKUA_COMPOSE_POLL_(result, cx, storage, skua_compose_kind_(SKUA_COMPOSE_SELECT_, (order)), \
			   count)
#define SKUA_POLL_RACE(result, cx, storage, order, count)                                          \
	SKUA_COMPOSE_POLL_(result, cx, storage, skua_compose_kind_(SKUA_COMPOSE_RACE_, (order)),   \
			   count)
#define SKUA_POLL_RACE_OK(result, cx, storage, order, count)                                       \
	SKUA_COMPOSE_POLL_(result, cx, storage,                                                    \
			   skua_compose_kind_(SKUA_COMPOSE_RACE_OK_, (order)), count)

/*
 * One of the branches: an operation, or an assignment of one, which is evaluated again at each poll
 * until it is ready. A number that stands twice, or is not below the count, does not compile; one
 * that is missing ends the process with a message.
 */
#define SKUA_BRANCH(number, operation)                                                             \
	case number:                                                                               \
		(void)sizeof(char[(size_t)(number) < SKUA_COMPOSE_COUNT_ ? 1 : -1]);               \
		skua_compose_.result = (operation);                                                \
		break

/* ---- How the block works; not for use on its own ---- */

/* What makes the result known, and what it is. None is 0. */
enum {
	SKUA_COMPOSE_BY_SUCCESS_ = 1, /* of a branch, whose result it is, */
	SKUA_COMPOSE_BY_ERROR_ = 2,
	SKUA_COMPOSE_BY_NUMBER_ = 4, /* or whose number */
	SKUA_COMPOSE_OR_ERROR_ = 8,  /* of all: the first one */
	SKUA_COMPOSE_IN_ORDER_ = SKUA_IN_ORDER << 8,

	SKUA_COMPOSE_JOIN_ = SKUA_COMPOSE_IN_ORDER_,
	SKUA_COMPOSE_TRY_JOIN_ = SKUA_COMPOSE_BY_ERROR_ | SKUA_COMPOSE_IN_ORDER_,
	SKUA_COMPOSE_RACE_ = SKUA_COMPOSE_BY_SUCCESS_ | SKUA_COMPOSE_BY_ERROR_,
	SKUA_COMPOSE_SELECT_ = SKUA_COMPOSE_RACE_ | SKUA_COMPOSE_BY_NUMBER_,
	SKUA_COMPOSE_RACE_OK_ = SKUA_COMPOSE_BY_SUCCESS_ | SKUA_COMPOSE_OR_ERROR_
};

/* Which branch is evaluated now, or -1: the poll is over; and what that gave. */
typedef struct skua_compose_step {
	skua_compose *place;
	skua_poll result;
	int32_t number;
} skua_compose_step;

/* What `result` is before the branch is evaluated: no operation returns it. */
#define SKUA_COMPOSE_UNKNOWN_ (SKUA_PENDING + 1)

/*
 * Begin a poll, and the await if this is the first one (the upper half of `kind` is its line); take
 * the result of a branch; end a pass whose last branch is pending. All return the next branch, or -1:
 * then `value` is what the poll gives. From a poll.
 */
SKUA_API int32_t skua_compose_begin(skua_cx *cx, skua_compose *storage, uint32_t kind,
				    uint32_t count);
SKUA_API int32_t skua_compose_take(skua_cx *cx, skua_compose *storage, int32_t number,
				   skua_poll result);
SKUA_API int32_t skua_compose_end(skua_cx *cx, skua_compose *storage);

/* Ends the process, and says that a branch is not there. */
SKUA_API SKUA_NORETURN void skua_compose_is_missing(const char *file, int line, int number);

/* An order that does not exist gives a kind that does not. */
static inline uint32_t skua_compose_kind_(uint32_t kind, unsigned order)
{
	return kind | (order <= SKUA_IN_ORDER ? order : 0xffu) << 8;
}

static inline skua_compose_step skua_compose_first_(skua_cx *cx, skua_compose *storage,
						    uint32_t kind, uint32_t count, uint32_t line)
{
	skua_compose_step step = {storage, SKUA_COMPOSE_UNKNOWN_, -1};

	step.number = skua_compose_begin(cx, storage, kind | line << 16, count);
	return step;
}

static inline int32_t skua_compose_pick_(skua_compose_pass *pass)
{
	uint32_t number = ((uint32_t)__builtin_ctzll(pass->todo) + pass->turned) % 64;

	pass->todo &= pass->todo - 1;
	return (int32_t)number;
}

static inline void skua_compose_next_(skua_cx *cx, skua_compose_step *step, const char *file,
				      int line)
{
	skua_compose_pass *pass = &step->place->pass;

	if (step->result == SKUA_PENDING && cx->budget == pass->untouched) {
		if (pass->todo != 0)
			step->number = skua_compose_pick_(pass);
		else
			step->number = skua_compose_end(cx, step->place);
	} else {
		if (step->result == SKUA_COMPOSE_UNKNOWN_)
			skua_compose_is_missing(file, line, step->number);
		step->number = skua_compose_take(cx, step->place, step->number, step->result);
	}
	step->result = SKUA_COMPOSE_UNKNOWN_;
}

/* The second declarator holds the count where SKUA_BRANCH can see it as a constant. */
#define SKUA_COMPOSE_COUNT_ (sizeof(*skua_counted_) / sizeof(**skua_counted_))
#define SKUA_COMPOSE_POLL_(to, cx, storage, kind, count)                                           \
	SKUA_COMPOSE_LOOP_(to, cx, storage, kind, count, (void)0)
#define SKUA_COMPOSE_LOOP_(to, cx, storage, kind, count, end)                                      \
	for (skua_compose_step skua_compose_ = skua_compose_first_((cx), (storage), (kind),        \
								   (count), __LINE__),             \
			       (*skua_counted_)[(count)] = NULL;                                   \
	     ; skua_compose_next_((cx), &skua_compose_, __FILE__, __LINE__))                       \
		if ((void)skua_counted_, skua_compose_.number < 0) {                               \
			skua_compose_.result = skua_compose_.place->pass.value;                    \
			if (skua_compose_.result == SKUA_PENDING)                                  \
				return SKUA_PENDING;                                               \
			(to) = skua_compose_.result;                                               \
			end;                                                                       \
			break;                                                                     \
		} else                                                                             \
			switch (skua_compose_.number)

/*
 * One statement. A later poll jumps to the label, into the outer loop, which then begins the inner
 * one; it goes on while the coroutine stands at this await.
 */
#define SKUA_COMPOSE_(to, cx, storage, kind, count)                                                \
	SKUA_COMPOSE_1_(to, cx, storage, kind, count, (__COUNTER__ + 1u))
#define SKUA_COMPOSE_1_(to, cx, storage, kind, count, number)                                      \
	SKUA_COMPOSE_2_(to, cx, storage, kind, count, number)
#define SKUA_COMPOSE_2_(to, cx, storage, kind, count, number)                                      \
	for (skua_co_->resume = (number), skua_co_->line = __LINE__;                               \
	     skua_co_->resume == (number);)                                                        \
		if (0) {                                                                           \
			SKUA_FALLTHROUGH;                                                          \
		case number:;                                                                      \
		} else                                                                             \
			SKUA_COMPOSE_LOOP_(to, cx, storage, kind, count, skua_co_->resume = 0u)

#ifdef __cplusplus
}
#endif

#endif /* SKUA_COMPOSE_H */
