/* test_scope_token.c - scopes that end with a cancel token. */
#include "scope_support.h"

/* Cancels a token when so many children have begun. */
struct striker {
	struct waiter *waiters;
	int count;
	skua_token *token;
};

static void *strike(void *argument)
{
	struct striker *striker = argument;

	for (int i = 0; i < striker->count; i++)
		WAIT_UNTIL(atomic_load(&striker->waiters[i].begun) == 1);
	skua_token_cancel(striker->token);
	return NULL;
}

T_TEST(scope_token, cancelling_it_ends_the_scope_and_tells_the_children)
{
	for (int below = 0; below < 2; below++) {
		skua_runtime *rt = runtime_of(2);
		struct waiter waiters[1] = {{0}};
		struct sleeper child = sleeper_of(&waiters[0]);
		skua_scope_options options = {.struct_size = sizeof options};
		struct striker striker = {waiters, 1, NULL};
		struct owner self = owner_of(&child.co, 1);
		pthread_t thread;

		T_EQ(skua_token_new(NULL, &striker.token), 0);
		/* The token itself, or one above it. */
		if (below)
			T_EQ(skua_token_new(striker.token, &options.token), 0);
		else
			options.token = skua_token_hold(striker.token);
		self.options = &options;
		T_EQ(pthread_create(&thread, NULL, strike, &striker), 0);
		T_EQ(skua_block_on(rt, &self.co), -EINTR);
		T_EQ(waiters[0].told, 1);
		T_EQ(waiters[0].ended, 1);
		pthread_join(thread, NULL);
		skua_token_release(options.token);
		skua_token_release(striker.token);
		T_EQ(skua_runtime_free(rt), 0);
	}
}

T_TEST(scope_token, one_that_is_cancelled_already_lets_nothing_be_spawned)
{
	skua_runtime *rt = runtime_of(1);
	struct call child = call_of(child_seven, NULL);
	skua_scope_options options = {.struct_size = sizeof options};
	struct owner self = owner_of(&child.future, 3);

	T_EQ(skua_token_new(NULL, &options.token), 0);
	skua_token_cancel(options.token);
	self.options = &options;
	T_EQ(skua_block_on(rt, &self.co), -EINTR);
	T_EQ(self.spawned, 0);
	T_EQ(self.failed, -ECANCELED);
	skua_token_release(options.token);
	T_EQ(skua_runtime_free(rt), 0);
}

T_TEST(scope_token, one_that_is_never_cancelled_does_nothing_and_may_go_first)
{
	skua_runtime *rt = runtime_of(2);
	skua_scope_options options = {.struct_size = sizeof options};
	atomic_int count = 0;
	struct call child = call_of(child_counts, &count);
	struct owner self = owner_of(&child.future, 100);
	skua_token *parent;

	T_EQ(skua_token_new(NULL, &parent), 0);
	T_EQ(skua_token_new(parent, &options.token), 0);
	self.options = &options;
	T_EQ(skua_block_on(rt, &self.co), 0);
	T_EQ(count, 100);
	skua_token_release(options.token);
	/* The scope does not listen any more. */
	skua_token_cancel(parent);
	skua_token_release(parent);
	T_EQ(skua_runtime_free(rt), 0);
}

/* ---- Cancelling while scopes end ---- */

static void *cancel_now(void *token)
{
	skua_token_cancel(token);
	return NULL;
}

T_TEST(scope_token, stress_cancelling_while_the_scope_ends)
{
	skua_runtime *rt = runtime_of(2);
	int ended = 0, interrupted = 0;

	for (int i = 0; i < rounds(2000); i++) {
		skua_scope_options options = {.struct_size = sizeof options};
		atomic_int count = 0;
		struct yielder child = {.co = SKUA_CORO_INIT(yielder), .count = &count};
		struct owner self = owner_of(&child.co, 3);
		pthread_t thread;
		int64_t rc;

		T_EQ(skua_token_new(NULL, &options.token), 0);
		self.options = &options;
		T_EQ(pthread_create(&thread, NULL, cancel_now, options.token), 0);
		rc = skua_block_on(rt, &self.co);
		T_ASSERT_MSG(rc == 0 || rc == -EINTR, "the join gave %" PRId64, rc);
		T_EQ(count, self.spawned);
		ended += rc == 0;
		interrupted += rc != 0;
		pthread_join(thread, NULL);
		skua_token_release(options.token);
	}
	T_LOG("%d ended, %d were interrupted", ended, interrupted);
	T_EQ(skua_runtime_free(rt), 0);
}
