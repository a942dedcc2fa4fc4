/* test_coro.c - the await macros of skua/coro.h. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "api_support.h"

/* Pending `times` times, then `value`; counts all polls. */
struct slow {
	int times;
	int polls;
};

static skua_poll slow(skua_cx *cx, struct slow *slow, int64_t value)
{
	slow->polls++;
	if (slow->times-- > 0) {
		skua_waker_wake_by_ref(skua_cx_waker(cx));
		return SKUA_PENDING;
	}
	return value;
}

/* ---- Several awaits on one line ---- */

struct line {
	skua_coro co;
	struct slow a, b, c;
	int64_t x, y, z;
};

static skua_poll line(skua_cx *cx, struct line *self)
{
	SKUA_BEGIN(self);
	/* clang-format off */
	SKUA_AWAIT(self->x = slow(cx, &self->a, 1)); SKUA_AWAIT(self->y = slow(cx, &self->b, 2)); SKUA_AWAIT(self->z = slow(cx, &self->c, 3));
	/* clang-format on */
	SKUA_END(self->x + 10 * self->y + 100 * self->z);
}
SKUA_CORO(line, struct line);

T_TEST(coro, several_awaits_on_one_line)
{
	skua_runtime *rt = runtime_of(1);
	struct line future = {.co = SKUA_CORO_INIT(line), .a = {2, 0}, .b = {0, 0}, .c = {3, 0}};

	T_EQ(skua_block_on(rt, &future.co), 321);
	T_EQ(future.a.polls, 3);
	T_EQ(future.b.polls, 1);
	T_EQ(future.c.polls, 4);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Loops, branches, and awaits without braces ---- */

struct loops {
	skua_coro co;
	struct slow slow;
	int i, j;
	int64_t n, sum;
};

static skua_poll loops(skua_cx *cx, struct loops *self)
{
	SKUA_BEGIN(self);
	for (self->i = 0; self->i < 10; self->i++) {
		self->j = 0;
		while (self->j++ < 5) {
			self->slow.times = self->j % 2;
			if (self->i % 2 == 0)
				SKUA_AWAIT(self->n = slow(cx, &self->slow, self->i));
			else
				SKUA_AWAIT(self->n = slow(cx, &self->slow, 100));
			if (self->j == 4)
				continue;
			self->sum += self->n;
		}
	}
	SKUA_END(self->sum);
}
SKUA_CORO(loops, struct loops);

T_TEST(coro, loops_and_branches)
{
	skua_runtime *rt = runtime_of(1);
	struct loops future = {.co = SKUA_CORO_INIT(loops)};

	/* 4 of 5 turns count: even i give i, odd ones 100. */
	T_EQ(skua_block_on(rt, &future.co), 4 * (0 + 2 + 4 + 6 + 8) + 4 * 5 * 100);
	T_EQ(future.slow.polls, 50 + 10 * 3);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Coroutines inside coroutines ---- */

struct nest {
	skua_coro co;
	int depth;
	struct slow slow;
	struct nest *child;
	int64_t n;
};

static skua_poll nest(skua_cx *cx, struct nest *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->n = slow(cx, &self->slow, 1));
	if (self->child == NULL)
		SKUA_RETURN(self->n);
	SKUA_AWAIT(self->n = skua_poll_future(cx, &self->child->co));
	if (self->n < 0)
		SKUA_RETURN(self->n);
	SKUA_END(self->n + 1);
}
SKUA_CORO(nest, struct nest);

T_TEST(coro, nested)
{
	enum { DEPTH = 50 };
	skua_runtime *rt = runtime_of(1);
	struct nest nests[DEPTH];

	for (int i = 0; i < DEPTH; i++)
		nests[i] = (struct nest){
			.co = SKUA_CORO_INIT(nest),
			.slow = {i % 3, 0},
			.child = i + 1 < DEPTH ? &nests[i + 1] : NULL,
		};
	T_EQ(skua_block_on(rt, &nests[0].co), DEPTH);
	/* Polled again from the outside, an await does not run again what came before it. */
	for (int i = 0; i < DEPTH; i++)
		T_EQ(nests[i].slow.polls, i % 3 + 1);
	T_EQ(skua_runtime_free(rt), 0);
}

/* A child in the parent's own struct, used twice. */
struct reuse {
	skua_coro co;
	struct nest child;
	int64_t first, second;
};

static skua_poll reuse(skua_cx *cx, struct reuse *self)
{
	SKUA_BEGIN(self);
	self->child = (struct nest){.co = SKUA_CORO_INIT(nest), .slow = {1, 0}};
	SKUA_AWAIT(self->first = skua_poll_future(cx, &self->child.co));
	self->child = (struct nest){.co = SKUA_CORO_INIT(nest), .slow = {2, 0}};
	SKUA_AWAIT(self->second = skua_poll_future(cx, &self->child.co));
	SKUA_END(self->first + self->second);
}
SKUA_CORO(reuse, struct reuse);

T_TEST(coro, a_child_can_be_started_again)
{
	skua_runtime *rt = runtime_of(2);
	struct reuse future = {.co = SKUA_CORO_INIT(reuse)};
	skua_task *task = start_future(rt, &future.co);

	T_EQ(skua_task_wait(&task), 2);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Ways out ---- */

struct out {
	skua_coro co;
	int way;
	struct slow slow;
	int64_t n;
};

static skua_poll out(skua_cx *cx, struct out *self)
{
	SKUA_BEGIN(self);
	if (self->way == 0)
		SKUA_RETURN(100);
	SKUA_AWAIT(self->n = slow(cx, &self->slow, 0));
	while (self->way < 3) {
		if (self->way == 1)
			SKUA_RETURN(-ENOENT);
		SKUA_AWAIT(self->n = slow(cx, &self->slow, 0));
		self->way++;
	}
	SKUA_END(self->way);
}
SKUA_CORO(out, struct out);

T_TEST(coro, return_from_anywhere)
{
	static const int64_t results[] = {100, -ENOENT, 3, 3};
	skua_runtime *rt = runtime_of(1);

	for (int way = 0; way < 4; way++) {
		struct out future = {.co = SKUA_CORO_INIT(out), .way = way, .slow = {1, 0}};

		T_EQ(skua_block_on(rt, &future.co), results[way]);
	}
	T_EQ(skua_runtime_free(rt), 0);
}

/* An error of an operation is a result like any other: the coroutine goes on. */
struct goes_on {
	skua_coro co;
	skua_timer timer;
	int64_t n, m;
};

static skua_poll goes_on(skua_cx *cx, struct goes_on *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->n = skua_timeout(cx, &self->timer, SKUA_MSEC, parked(cx, NULL)));
	SKUA_AWAIT(self->m = skua_yield(cx));
	SKUA_END(self->n == -ETIMEDOUT && self->m == 0 ? 1 : -EBADMSG);
}
SKUA_CORO(goes_on, struct goes_on);

T_TEST(coro, errors_are_results)
{
	skua_runtime *rt = runtime_of(1);
	struct goes_on future = {.co = SKUA_CORO_INIT(goes_on)};

	T_EQ(skua_block_on(rt, &future.co), 1);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(coro, knows_the_line_where_it_waits)
{
	skua_runtime *rt = runtime_of(1);
	struct goes_on future = {.co = SKUA_CORO_INIT(goes_on)};

	T_EQ(future.co.line, 0);
	T_STR_EQ(future.co.ops->name, "goes_on");
	T_NOT_NULL(strstr(future.co.ops->file, "test_coro.c"));
	T_EQ(future.co.ops->size, sizeof future);
	T_EQ(skua_block_on(rt, &future.co), 1);
	T_NE(future.co.line, 0);
	T_LT(future.co.line, __LINE__);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- A resume point that does not exist ---- */

/* Polls a coroutine in a child process, which has to abort; returns what it said. */
static void dies(struct out *future, char *said, size_t size)
{
	const struct rlimit no_core = {0, 0};
	const skua_waker none = {NULL, NULL};
	struct capture capture;
	int status;
	pid_t pid;

	capture_start(&capture);
	pid = fork();
	T_GE(pid, 0);
	if (pid == 0) {
		skua_poll result;
		skua_cx cx;

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		skua_cx_init(&cx, NULL, &none);
		result = out(&cx, future);
		_exit(result == SKUA_PENDING ? 1 : 2);
	}
	T_EQ(waitpid(pid, &status, 0), pid);
	capture_stop(&capture, said, size);
	T_LOG("%s", said);
	T_ASSERT(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGABRT);
}

T_TEST(coro, a_bad_resume_point_traps)
{
	struct out future = {.co = SKUA_CORO_INIT(out)};
	char said[1024];

	future.co.resume = 123456;
	dies(&future, said, sizeof said);
	T_NOT_NULL(strstr(said, "coroutine out "));
	T_NOT_NULL(strstr(said, "123456"));
	T_NOT_NULL(strstr(said, "test_coro.c"));
}

T_TEST(coro, a_poll_after_the_end_traps)
{
	const skua_waker none = {NULL, NULL};
	struct out future = {.co = SKUA_CORO_INIT(out)};
	char said[1024];
	skua_cx cx;

	skua_cx_init(&cx, NULL, &none);
	T_EQ(out(&cx, &future), 100);
	dies(&future, said, sizeof said);
	T_NOT_NULL(strstr(said, "coroutine out "));
}
