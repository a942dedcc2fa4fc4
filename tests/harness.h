/*
 * tests/harness.h - how tests are written. One source runs on two backends, chosen by the build
 * option test_backend: Criterion, and `plain`, the forking TAP runner in harness_plain.c, which
 * works where Criterion cannot (ThreadSanitizer above all).
 *
 *     T_TEST(deque, pop_of_an_empty_deque_is_null)
 *     {
 *             T_NULL(deque_pop(&deque));
 *     }
 *
 * Every test has a process of its own. Assertions may fail in any thread and in any helper
 * function: the message is printed and the whole process ends at once, so a failing test cannot
 * hang. A test that returns must then pass three gates:
 *
 *   - the same descriptors are open as at its start
 *   - as many threads run as at its start (detached ones get a second to end)
 *   - under AddressSanitizer, no memory is leaked
 *
 * libuv's process-wide leftovers (its thread pool, its signal pipe) are taken down by the harness
 * before it counts.
 *
 * Environment: SKUA_TEST_SLOW multiplies every timeout (a slow machine, valgrind), SKUA_TEST_QUICK=1
 * asks long tests for a short run.
 */
#ifndef SKUA_TESTS_HARNESS_H
#define SKUA_TESTS_HARNESS_H

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

/* 1 when any sanitizer is on; T_TSAN when it is ThreadSanitizer. Both come from the build. */
#ifndef T_SANITIZED
#define T_SANITIZED 0
#endif
#ifndef T_TSAN
#define T_TSAN 0
#endif

/* 1 when a short run was asked for: stress tests then do a fraction of their rounds. */
#define T_QUICK (t_quick_())

/* ---- Tests ---- */

/* A test with the default timeout of 30 s. Sanitizer builds get four times as long. */
#define T_TEST(suite, name) T_TEST_T(suite, name, 30)

#ifdef T_BACKEND_CRITERION

#include <criterion/criterion.h>

#define T_TEST_T(suite, name, seconds)                                                             \
	static void t_##suite##_##name##_(void);                                                   \
	Test(suite, name, .timeout = (seconds))                                                    \
	{                                                                                          \
		t_run_(t_##suite##_##name##_, (seconds));                                          \
	}                                                                                          \
	static void t_##suite##_##name##_(void)

#else

struct t_test_ {
	const char *name; /* suite/name */
	double seconds;
	void (*body)(void);
	struct t_test_ *next;
};

void t_register_(struct t_test_ *test);

#define T_TEST_T(suite, name, seconds)                                                             \
	static void t_##suite##_##name##_(void);                                                   \
	static struct t_test_ t_##suite##_##name##_entry_ = {                                      \
		#suite "/" #name,                                                                  \
		(seconds),                                                                         \
		t_##suite##_##name##_,                                                             \
		NULL,                                                                              \
	};                                                                                         \
	__attribute__((constructor)) static void t_##suite##_##name##_register_(void)              \
	{                                                                                          \
		t_register_(&t_##suite##_##name##_entry_);                                         \
	}                                                                                          \
	static void t_##suite##_##name##_(void)

#endif

/* ---- Inside a test ---- */

#define T_ASSERT(cond)                                                                             \
	do {                                                                                       \
		if (!(cond))                                                                       \
			t_fail_(__FILE__, __LINE__, "assertion failed: %s", #cond);                \
	} while (0)

/* T_ASSERT_MSG(cond, format, ...): printf's format and arguments. */
#define T_ASSERT_MSG(cond, ...)                                                                    \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			t_log_(__FILE__, __LINE__, "assertion failed: %s", #cond);                 \
			t_fail_(__FILE__, __LINE__, __VA_ARGS__);                                  \
		}                                                                                  \
	} while (0)

/* Integers, compared as intmax_t. */
#define T_EQ(a, b) T_COMPARE_(a, ==, b)
#define T_NE(a, b) T_COMPARE_(a, !=, b)
#define T_LT(a, b) T_COMPARE_(a, <, b)
#define T_LE(a, b) T_COMPARE_(a, <=, b)
#define T_GT(a, b) T_COMPARE_(a, >, b)
#define T_GE(a, b) T_COMPARE_(a, >=, b)

#define T_COMPARE_(a, op, b)                                                                       \
	do {                                                                                       \
		const intmax_t t_a_ = (intmax_t)(a);                                               \
		const intmax_t t_b_ = (intmax_t)(b);                                               \
		if (!(t_a_ op t_b_))                                                               \
			t_fail_(__FILE__, __LINE__,                                                \
				"expected %s " #op " %s, but they are %" PRIdMAX " and %" PRIdMAX, \
				#a, #b, t_a_, t_b_);                                               \
	} while (0)

#define T_STR_EQ(a, b) t_str_eq_(__FILE__, __LINE__, #a, (a), #b, (b))
#define T_MEM_EQ(a, b, n) t_mem_eq_(__FILE__, __LINE__, #a, (a), #b, (b), (n))

#define T_NULL(p)                                                                                  \
	do {                                                                                       \
		const volatile void *const t_p_ = (p);                                             \
		if (t_p_ != NULL)                                                                  \
			t_fail_(__FILE__, __LINE__, "expected %s to be NULL, but it is %p", #p,    \
				(void *)(uintptr_t)t_p_);                                          \
	} while (0)

#define T_NOT_NULL(p)                                                                              \
	do {                                                                                       \
		if ((p) == NULL)                                                                   \
			t_fail_(__FILE__, __LINE__, "expected %s not to be NULL", #p);             \
	} while (0)

/* Ends the test here, neither passed nor failed; the reason is shown. From the test's own thread. */
#define T_SKIP(reason) t_skip_(reason)

/* A line of the test's output: T_LOG(format, ...). Shown when the test fails. */
#define T_LOG(...) t_log_(__FILE__, __LINE__, __VA_ARGS__)

/* ---- Behind the macros ---- */

#define T_PRINTF_ __attribute__((format(printf, 3, 4)))

void t_run_(void (*body)(void), double seconds);
int t_quick_(void);
void t_log_(const char *file, int line, const char *format, ...) T_PRINTF_;
void t_fail_(const char *file, int line, const char *format, ...) T_PRINTF_
	__attribute__((noreturn, cold));
void t_skip_(const char *reason) __attribute__((noreturn));
void t_str_eq_(const char *file, int line, const char *a_text, const char *a, const char *b_text,
	       const char *b);
void t_mem_eq_(const char *file, int line, const char *a_text, const void *a, const char *b_text,
	       const void *b, size_t size);

#endif /* SKUA_TESTS_HARNESS_H */
