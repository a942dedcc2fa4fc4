/* test_cpp.cpp - every public header in C++17, and a program that uses them; writes TAP. */
#include <skua.h>
#include <skua/base.h>
#include <skua/blocker.h>
#include <skua/blocking.h>
#include <skua/cancel.h>
#include <skua/compose.h>
#include <skua/coro.h>
#include <skua/future.h>
#include <skua/local.h>
#include <skua/runtime.h>
#include <skua/scope.h>
#include <skua/source.h>
#include <skua/task.h>
#include <skua/tcp.h>
#include <skua/time.h>

#include <cstdio>
#include <cstring>
#include <fnmatch.h>
#include <type_traits>

static_assert(std::is_standard_layout<skua_future>::value, "a future can head a C struct");
static_assert(SKUA_PENDING < 0, "SKUA_PENDING is a constant in C++ too");

namespace
{

struct napper {
	skua_coro co;
	skua_timer timer;
	int turns;
	int64_t n;
	skua_compose compose;
	skua_timer other;
};

/* A leaf, with what is a function and in line as well. */
skua_poll leaf(skua_cx *cx)
{
	int (*const ask)(skua_cx *) = skua_cx_interrupt;
	const int interrupt = skua_cx_interrupt(cx);

	if (interrupt != 0 || ask(cx) != 0)
		return interrupt;
	skua_waker_wake_by_ref(skua_cx_waker(cx));
	return SKUA_PENDING;
}

skua_poll by_hand(skua_cx *cx, napper *self)
{
	skua_poll result;

	SKUA_POLL_RACE (result, cx, &self->compose, SKUA_IN_ORDER, 2) {
		SKUA_BRANCH(0, leaf(cx));
		SKUA_BRANCH(1, skua_sleep(cx, &self->other, SKUA_MSEC));
	}
	return result;
}

skua_poll nap(skua_cx *cx, napper *self)
{
	SKUA_BEGIN(self);
	for (; self->turns > 0; self->turns--)
		SKUA_AWAIT(self->n = skua_timeout(cx, &self->timer, SKUA_MSEC, skua_yield(cx)));
	SKUA_SELECT (self->n, cx, &self->compose, SKUA_FAIR, 2) {
		SKUA_BRANCH(0, skua_sleep(cx, &self->timer, SKUA_MSEC));
		SKUA_BRANCH(1, skua_sleep(cx, &self->other, SKUA_SEC));
	}
	if (self->n != 0)
		SKUA_RETURN(self->n);
	SKUA_AWAIT(self->n = by_hand(cx, self));
	SKUA_END(self->n == 0 ? 17 : self->n);
}
SKUA_CORO(nap, napper);

skua_poll run()
{
	skua_config config;
	skua_runtime *runtime = nullptr;
	skua_task *task = nullptr;
	napper future = {SKUA_CORO_INIT(nap), {}, 3, 0, {}, {}};
	skua_poll result;

	skua_config_init(&config);
	if (skua_runtime_new(&config, &runtime) < 0)
		return -1;
	result = skua_spawn(runtime, &future.co, &task);
	if (result == 0)
		result = skua_task_wait(&task);
	if (skua_runtime_free(runtime) < 0)
		return -2;
	return result;
}

} // namespace

int main(int argc, char **argv)
{
	const char *const name = "cpp/a_coroutine_in_cpp";
	bool wanted = argc < 2;

	/* The filters of tests/harness.c. */
	for (int i = 1; i < argc; i++)
		if (std::strpbrk(argv[i], "*?[") != nullptr)
			wanted = wanted || fnmatch(argv[i], name, 0) == 0;
		else
			wanted = wanted || std::strstr(name, argv[i]) != nullptr;
	if (!wanted) {
		std::printf("1..0\n");
		return 0;
	}

	const skua_poll result = run();

	std::printf("1..1\n%s 1 - %s\n", result == 17 ? "ok" : "not ok", name);
	if (result != 17)
		std::printf("# the result is %lld\n", static_cast<long long>(result));
	return result == 17 ? 0 : 1;
}
