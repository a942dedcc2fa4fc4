/*
 * tests/failing.c - tests that must fail, each for one reason, and two that must not.
 * check_failing.py runs this program and compares what is reported with what is written there.
 */
#include "tests/harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

T_TEST(failing, control_passes)
{
	T_ASSERT(1);
}

T_TEST(failing, control_is_skipped)
{
	T_SKIP("the reason of the skip");
}

T_TEST(failing, assertion_in_main_thread)
{
	T_EQ(1 + 1, 3);
}

T_TEST(failing, message_of_an_assertion)
{
	T_ASSERT_MSG(0, "a message with the number %d", 4711);
}

T_TEST(failing, strings)
{
	T_STR_EQ("skua", "gull");
}

T_TEST(failing, memory_contents)
{
	T_MEM_EQ("skua", "skuA", 4);
}

T_TEST(failing, null_pointer)
{
	T_NOT_NULL(NULL);
}

static void helper_that_fails(void)
{
	T_ASSERT(!"reached");
}

static void *thread_that_fails(void *unused)
{
	helper_that_fails();
	return unused;
}

/* The main thread waits for ever: only the end of the process lets this test end. */
T_TEST(failing, assertion_in_other_thread)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, thread_that_fails, NULL), 0);
	for (;;)
		pause();
}

T_TEST(failing, descriptor_leak)
{
	T_GE(open("/dev/null", O_RDONLY), 0);
}

T_TEST(failing, descriptor_of_another_closed)
{
	T_EQ(close(STDIN_FILENO), 0);
}

static void *thread_that_stays(void *unused)
{
	for (;;)
		pause();
	return unused;
}

T_TEST(failing, thread_leak)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, thread_that_stays, NULL), 0);
	T_EQ(pthread_detach(thread), 0);
}

T_TEST_T(failing, timeout, 0.3)
{
	for (;;)
		pause();
}

T_TEST_T(failing, timeout_with_signals_blocked, 0.3)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;)
		pause();
}

T_TEST(failing, crash)
{
	raise(SIGSEGV);
}

T_TEST(failing, early_exit)
{
	_exit(3);
}

T_TEST(failing, early_exit_as_if_passed)
{
	exit(0);
}

T_TEST(failing, early_exit_as_if_skipped)
{
	_exit(77);
}

/* What only a sanitizer sees; check_failing.py knows which. */

T_TEST(failing, memory_leak)
{
	char *volatile block = malloc(100);

	T_NOT_NULL(block);
	block = NULL;
} /* NOLINT(clang-analyzer-unix.Malloc) */

T_TEST(failing, use_after_free)
{
	char *volatile block = malloc(100);

	T_NOT_NULL(block);
	block[0] = 1;
	free(block);
#if T_SANITIZED
	T_LOG("%d", block[0]);
#endif
}

static int raced;

static void *thread_that_races(void *unused)
{
	raced++;
	return unused;
}

T_TEST(failing, data_race)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, thread_that_races, NULL), 0);
	raced++;
	T_EQ(pthread_join(thread, NULL), 0);
}

T_TEST(failing, undefined_behaviour)
{
	volatile int largest = INT32_MAX;

	largest += 1;
	T_LOG("%d", largest);
}
