/*
 * tests/test_harness.c - the harness tested by tests that must pass or be skipped. That failures
 * are seen is the other half: failing.c and check_failing.py.
 */
#include "tests/harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

T_TEST(harness, comparisons_hold)
{
	int value = 7;
	int *pointer = &value;

	T_ASSERT(value == 7);
	T_ASSERT_MSG(value > 0, "value is %d", value);
	T_EQ(value, 7);
	T_NE(value, -7);
	T_LT(value, 8);
	T_LE(value, 7);
	T_GT(value, 6);
	T_GE(value, 7);
	T_NULL(NULL);
	T_NOT_NULL(pointer);
	T_STR_EQ("skua", "skua");
	T_STR_EQ(NULL, NULL);
	T_MEM_EQ("skua\0a", "skua\0b", 5);
}

T_TEST(harness, comparisons_are_of_the_widest_integers)
{
	T_EQ(INT64_MIN, INT64_MIN);
	T_NE(INT64_MIN, INT64_MAX);
	T_LT(-1, UINT32_MAX);
	T_GT(UINT64_C(1) << 40, 1);
}

T_TEST(harness, arguments_are_evaluated_once)
{
	int calls = 0;

	T_EQ(++calls, 1);
	T_GE(++calls, 2);
	T_ASSERT(++calls == 3);
	T_EQ(calls, 3);
}

static void *assert_in_thread(void *argument)
{
	T_NOT_NULL(argument);
	T_EQ(*(int *)argument, 42);
	return argument;
}

T_TEST(harness, assertions_work_in_other_threads)
{
	int value = 42;
	pthread_t thread;
	void *result;

	T_EQ(pthread_create(&thread, NULL, assert_in_thread, &value), 0);
	T_EQ(pthread_join(thread, &result), 0);
	T_ASSERT(result == &value);
}

static void *end_a_little_later(void *unused)
{
	const struct timespec time = {0, 100 * 1000 * 1000};

	nanosleep(&time, NULL);
	return unused;
}

T_TEST(harness, detached_threads_get_time_to_end)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, end_a_little_later, NULL), 0);
	T_EQ(pthread_detach(thread), 0);
}

T_TEST(harness, closed_descriptors_pass_the_gate)
{
	int fd[2];

	T_EQ(pipe(fd), 0);
	T_EQ(close(fd[0]), 0);
	T_EQ(close(fd[1]), 0);
}

T_TEST(harness, freed_memory_passes_the_gate)
{
	char *volatile block = malloc(100);

	T_NOT_NULL(block);
	free(block);
}

static char *first_process;

/* The two halves run in either order; neither sees what the other has written. */
T_TEST(harness, tests_share_no_memory_1)
{
	static char mark;

	T_NULL(first_process);
	first_process = &mark;
}

T_TEST(harness, tests_share_no_memory_2)
{
	static char mark;

	T_NULL(first_process);
	first_process = &mark;
}

T_TEST(harness, quick_follows_the_environment)
{
	T_EQ(setenv("SKUA_TEST_QUICK", "1", 1), 0);
	T_EQ(T_QUICK, 1);
	T_EQ(setenv("SKUA_TEST_QUICK", "0", 1), 0);
	T_EQ(T_QUICK, 0);
	T_EQ(unsetenv("SKUA_TEST_QUICK"), 0);
	T_EQ(T_QUICK, 0);
}

/* gcc defines macros for sanitizers, clang has features; neither tells of -fsanitize=undefined. */
#ifdef __has_feature
#define COMPILED_WITH(feature) __has_feature(feature)
#else
#define COMPILED_WITH(feature) 0
#endif

T_TEST(harness, sanitizers_are_told_apart)
{
#if defined(__SANITIZE_THREAD__) || COMPILED_WITH(thread_sanitizer)
	T_EQ(T_TSAN, 1);
#else
	T_EQ(T_TSAN, 0);
#endif
#if defined(__SANITIZE_ADDRESS__) || COMPILED_WITH(address_sanitizer)
	T_EQ(T_SANITIZED, 1);
#endif
	T_GE(T_SANITIZED, T_TSAN);
}

T_TEST_T(harness, a_timeout_of_its_own_is_no_delay, 2.5)
{
	T_LOG("logged lines are shown with a failing test: %d", 1);
}
