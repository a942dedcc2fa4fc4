/*
 * skua/coro.h - stackless coroutines: a future written as straight code with awaits in it.
 *
 *     struct echo {
 *             skua_coro co;                  // first member: the future and the resume point
 *             skua_tcp *conn;
 *             int64_t n;
 *             char buf[4096];
 *     };
 *
 *     static skua_poll echo(skua_cx *cx, struct echo *self)
 *     {
 *             SKUA_BEGIN(self);
 *             SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->buf, sizeof self->buf));
 *             ...
 *             SKUA_END(self->n);
 *     }
 *     SKUA_CORO(echo, struct echo);          // makes echo_ops, and struct echo spawnable
 *
 *     struct echo e = { .co = SKUA_CORO_INIT(echo), .conn = conn };
 *     rc = skua_spawn(rt, &e.co, NULL);
 *
 * How it works: the body is one switch over the resume point (the trick is Tom Duff's and Simon
 * Tatham's); an await stores its number, and a later poll jumps back to it. Hence the rules:
 *
 *   - What must live across an await is a member of the struct, never a local variable. Compile with
 *     -Wjump-misses-init (gcc) or -Wconditional-uninitialized (clang), which find such locals; in C++
 *     a local with an initialiser needs braces that end before the next await.
 *   - No await inside a `switch` of your own: move that switch into a function.
 *   - An awaited expression is evaluated again at each poll until it is ready, so it names an
 *     operation and nothing with a side effect of its own. It must not read the variable that it
 *     assigns, which is SKUA_PENDING at the second poll: `n = skua_write(cx, conn, buf, n)` is wrong.
 *
 * A spawn copies the struct, so a member that points to another member is set in the body, not
 * before.
 *
 * Several awaits may stand on one line. A damaged resume point ends the process with a message
 * that names the coroutine.
 */
#ifndef SKUA_CORO_H
#define SKUA_CORO_H

#include "future.h"

/* The head of a coroutine's struct: a future. */
typedef skua_future skua_coro;

#define SKUA_CORO_FINISHED_ 0xffffffffu

/* Opens the body. `self` is a pointer to a struct whose first member is `skua_coro co`. */
#define SKUA_BEGIN(self)                                                                           \
	skua_coro *const skua_co_ = &(self)->co;                                                   \
	switch (skua_co_->resume) {                                                                \
	case 0u:

/* Awaits an operation, or an assignment of one: goes on when it is ready, whatever the result. */
#define SKUA_AWAIT(operation) SKUA_AWAIT_(operation, (__COUNTER__ + 1u))
#define SKUA_AWAIT_(operation, number) SKUA_AWAIT_2_(operation, number)
#define SKUA_AWAIT_2_(operation, number)                                                           \
	do {                                                                                       \
		enum { skua_number_ = number };                                                    \
		skua_co_->resume = skua_number_;                                                   \
		skua_co_->line = __LINE__;                                                         \
		SKUA_FALLTHROUGH;                                                                  \
	case skua_number_:                                                                         \
		if ((operation) == SKUA_PENDING)                                                   \
			return SKUA_PENDING;                                                       \
	} while (0)

/* Ends the coroutine from anywhere in the body, with a result that is not SKUA_PENDING. */
#define SKUA_RETURN(result)                                                                        \
	do {                                                                                       \
		skua_co_->resume = SKUA_CORO_FINISHED_;                                            \
		return (result);                                                                   \
	} while (0)

/* Closes the body; reaching it ends the coroutine with this result. */
#define SKUA_END(result)                                                                           \
	SKUA_RETURN(result);                                                                       \
	default:                                                                                   \
		skua_coro_bad_resume(skua_co_);                                                    \
		}

/*
 * At file scope, after the coroutine's function: makes `name_ops`, the skua_future_ops of the
 * function `name(skua_cx *, type *)`.
 */
#define SKUA_CORO(function, type)                                                                  \
	static skua_poll function##_poll_(skua_cx *cx, skua_future *self)                          \
	{                                                                                          \
		return function(cx, (type *)(void *)self);                                         \
	}                                                                                          \
	static const skua_future_ops function##_ops = {                                            \
		function##_poll_, NULL, sizeof(type), #function, __FILE__,                         \
	}

/*
 * The same for a coroutine that owns something which must be released even if it is never polled to
 * its end: `release(type *)` is called when its runtime is freed and the task did not end in the
 * grace period (skua_future_ops.drop). A coroutine that reaches its end, cancelled or not, cleans
 * up in its own body, and release is not called.
 */
#define SKUA_CORO_WITH_DROP(function, type, release)                                               \
	static skua_poll function##_poll_(skua_cx *cx, skua_future *self)                          \
	{                                                                                          \
		return function(cx, (type *)(void *)self);                                         \
	}                                                                                          \
	static void function##_drop_(skua_future *self)                                            \
	{                                                                                          \
		release((type *)(void *)self);                                                     \
	}                                                                                          \
	static const skua_future_ops function##_ops = {                                            \
		function##_poll_, function##_drop_, sizeof(type), #function, __FILE__,             \
	}

/* The value of the member `co` before the first poll, in an initialiser; an assignment takes
 * `(skua_coro)SKUA_CORO_INIT(function)`. */
#define SKUA_CORO_INIT(function)                                                                   \
	{                                                                                          \
		&function##_ops, 0u, 0u                                                            \
	}

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Where SKUA_END sends a resume point that the body does not have: prints the coroutine's name and
 * the number, and aborts. It means that the struct was overwritten, was polled again after its
 * end, or holds an await inside a switch of its own.
 */
SKUA_API SKUA_NORETURN void skua_coro_bad_resume(const skua_coro *co);

/*
 * Polls one coroutine, or any future, from inside another: SKUA_AWAIT(skua_poll_future(cx,
 * &self->child.co)). The child is a member of the parent, so this allocates nothing. From a poll;
 * what it returns is what the child's poll returned.
 */
SKUA_API SKUA_MUST_USE skua_poll skua_poll_future(skua_cx *cx, skua_future *future);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_CORO_H */
