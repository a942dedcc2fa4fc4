/*
 * test_allocator.c - replacing the memory functions, and running out of memory: each allocation of
 * an operation is made to fail in its turn, until the operation gets through without a failure. It
 * must report the failure, leak nothing, and leave everything usable.
 *
 * Only Skua's own allocations fail. libuv's cannot: it aborts the process when it has no memory for
 * its table of watchers (maybe_resize in libuv's src/unix/core.c), which skua_blocker_new reaches
 * through uv_async_init and each new watch through uv_poll_start.
 */
#include <fcntl.h>
#include <uv.h>

#include "api_support.h"

/* ---- An allocator that counts, and fails when told to ---- */

static atomic_llong countdown; /* the allocation that fails: 1 is the next one; 0: none */
static atomic_int keeps_failing;
static atomic_int failures;
static atomic_llong calls, alive;

static int fails(void)
{
	long long left = atomic_load(&countdown);

	atomic_fetch_add(&calls, 1);
	while (left > 0) {
		if (left == 1 && keeps_failing)
			break;
		if (atomic_compare_exchange_weak(&countdown, &left, left - 1))
			break;
	}
	if (left != 1)
		return 0;
	atomic_fetch_add(&failures, 1);
	return 1;
}

static void *test_malloc(size_t size)
{
	void *block = fails() ? NULL : malloc(size);

	if (block != NULL)
		atomic_fetch_add(&alive, 1);
	return block;
}

static void *test_calloc(size_t count, size_t size)
{
	void *block = fails() ? NULL : calloc(count, size);

	if (block != NULL)
		atomic_fetch_add(&alive, 1);
	return block;
}

static void *test_realloc(void *block, size_t size)
{
	void *moved = fails() ? NULL : realloc(block, size);

	if (moved != NULL && block == NULL)
		atomic_fetch_add(&alive, 1);
	return moved;
}

static void test_free(void *block)
{
	if (block != NULL)
		atomic_fetch_sub(&alive, 1);
	free(block);
}

static atomic_int sized;

static void test_free_sized(void *block, size_t size)
{
	atomic_fetch_add(&sized, 1);
	/* The size is right: the block can be written to its end. */
	if (block != NULL)
		memset(block, 0xdd, size);
	test_free(block);
}

static const skua_allocator table = {
	sizeof(skua_allocator), test_malloc, test_calloc, test_realloc, test_free, test_free_sized,
};

/* ---- skua_set_allocator ---- */

static skua_poll seven(skua_cx *cx, void *argument)
{
	(void)cx, (void)argument;
	return 7;
}

T_TEST(allocator, incomplete_tables_are_refused)
{
	skua_allocator bad[5];

	for (int i = 0; i < 5; i++)
		bad[i] = table;
	bad[0].struct_size--;
	bad[1].malloc = NULL;
	bad[2].calloc = NULL;
	bad[3].realloc = NULL;
	bad[4].free = NULL;
	for (int i = 0; i < 5; i++)
		T_EQ(skua_set_allocator(&bad[i]), -EINVAL);
	T_EQ(skua_runtime_free(runtime_of(1)), 0);
	T_EQ(calls, 0);
}

T_TEST(allocator, serves_skua_and_libuv)
{
	skua_allocator copy = table;
	skua_runtime *rt;
	long long before;
	uv_loop_t loop;

	T_EQ(skua_set_allocator(&copy), 0);
	memset(&copy, 0xff, sizeof copy);
	rt = runtime_of(2);
	T_EQ(run(rt, seven, NULL), 7);
	T_GT(alive, 0);
	T_GT(sized, 0);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(alive, 0);
	before = calls;
	T_EQ(uv_loop_init(&loop), 0);
	T_GT(calls, before);
	T_EQ(uv_loop_close(&loop), 0);
	T_EQ(alive, 0);
	T_EQ(skua_set_allocator(NULL), 0);
}

T_TEST(allocator, cannot_change_while_something_lives)
{
	skua_blocker *blocker = NULL;
	skua_runtime *rt = runtime_of(1), *second = runtime_of(1);

	T_EQ(skua_set_allocator(&table), -EBUSY);
	T_EQ(skua_set_allocator(NULL), -EBUSY);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(skua_set_allocator(&table), -EBUSY);
	T_EQ(skua_runtime_free(second), 0);
	T_EQ(skua_blocker_new(SKUA_IO_BACKEND_AUTO, &blocker), 0);
	T_EQ(skua_set_allocator(&table), -EBUSY);
	skua_blocker_free(blocker);
	T_EQ(skua_set_allocator(&table), 0);
	T_EQ(skua_set_allocator(NULL), 0);
}

T_TEST(allocator, works_without_a_sized_free)
{
	skua_allocator plain = table;
	skua_runtime *rt;

	plain.free_sized = NULL;
	T_EQ(skua_set_allocator(&plain), 0);
	rt = runtime_of(1);
	T_EQ(run(rt, seven, NULL), 7);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(alive, 0);
	T_EQ(sized, 0);
	T_EQ(skua_set_allocator(NULL), 0);
}

/* ---- Running out of memory ---- */

/* Skua's own allocations come from the table, libuv's from the C library. */
static void use_failing_allocator(void)
{
	T_EQ(skua_set_allocator(&table), 0);
	T_EQ(uv_replace_allocator(malloc, realloc, calloc, free), 0);
}

static void fail_at(int n, int and_all_after)
{
	atomic_store(&failures, 0);
	atomic_store(&keeps_failing, and_all_after);
	atomic_store(&countdown, n);
}

static void fail_no_more(void)
{
	atomic_store(&countdown, 0);
}

/*
 * Runs something on a runtime with the n-th allocation failing, for n = 1, 2, ... until none fails.
 * It returns 0 or an error, and has cleaned up after itself either way.
 */
static void survives(skua_runtime *rt, int (*attempt)(skua_runtime *rt))
{
	int n = 0, rc;

	/* Once as it should be, so that what is allocated only once exists. */
	T_EQ(attempt(rt), 0);
	do {
		fail_at(++n, 0);
		rc = attempt(rt);
		fail_no_more();
		T_ASSERT_MSG(rc == 0 || rc == -ENOMEM, "allocation %d failed: result %d", n, rc);
		/* And it still works. */
		T_EQ(attempt(rt), 0);
		T_LT(n, 500);
	} while (failures > 0);
	T_LOG("%d allocations", n - 1);
	T_GT(n, 1);
}

static void survives_on(uint32_t kind, int (*attempt)(skua_runtime *rt))
{
	skua_runtime *rt;

	use_failing_allocator();
	rt = runtime_on(2, kind);
	survives(rt, attempt);
	T_EQ(skua_runtime_free(rt), 0);
	T_EQ(alive, 0);
	T_EQ(skua_set_allocator(NULL), 0);
}

static int try_runtime(uint32_t kind)
{
	skua_config config;
	skua_runtime *rt = NULL;
	int rc;

	quiet_config(&config, 3, kind);
	config.io_threads = 2;
	rc = skua_runtime_new(&config, &rt);
	if (rc < 0) {
		T_NULL(rt);
		T_NE(config.message[0], '\0');
		return rc;
	}
	T_EQ(skua_runtime_free(rt), 0);
	return 0;
}

static void runtime_without_memory(uint32_t kind, int and_all_after)
{
	int n = 0, rc;

	use_failing_allocator();
	do {
		fail_at(++n, and_all_after);
		rc = try_runtime(kind);
		fail_no_more();
		T_ASSERT_MSG(rc == (failures > 0 ? -ENOMEM : 0), "allocation %d: %d", n, rc);
		T_EQ(alive, 0);
	} while (failures > 0);
	T_LOG("%d allocations", n - 1);
	T_GT(n, 10);
	T_EQ(try_runtime(kind), 0);
	T_EQ(skua_set_allocator(NULL), 0);
}

T_ON_EACH_IO(allocator, runtime_when_one_allocation_fails)
{
	runtime_without_memory(kind, 0);
}

T_ON_EACH_IO(allocator, runtime_when_all_allocations_fail)
{
	runtime_without_memory(kind, 1);
}

static int try_spawn_and_wait(skua_runtime *rt)
{
	struct call call = call_of(seven, NULL);
	skua_task *task = NULL;
	int rc = skua_spawn(rt, &call.future, &task);
	int64_t result;

	if (rc < 0) {
		T_NULL(task);
		return rc;
	}
	result = skua_task_wait(&task);
	if (result == 7) {
		T_NULL(task);
		return 0;
	}
	/* There was no memory to wait with: the handle is kept. */
	T_EQ(result, -ENOMEM);
	T_NOT_NULL(task);
	fail_no_more();
	T_EQ(skua_task_wait(&task), 7);
	return -ENOMEM;
}

T_TEST(allocator, spawn_and_wait)
{
	survives_on(SKUA_IO_BACKEND_AUTO, try_spawn_and_wait);
}

static skua_poll nap(skua_cx *cx, void *argument)
{
	return skua_sleep(cx, argument, 200 * SKUA_USEC);
}

/* What block_on polls is the caller's: it must not return while it is polled. */
static int try_block_on(skua_runtime *rt)
{
	skua_timer timer = {{0}};
	int64_t result = run(rt, nap, &timer);

	memset(&timer, 0xff, sizeof timer);
	return (int)result;
}

T_TEST(allocator, block_on_and_sleep)
{
	survives_on(SKUA_IO_BACKEND_AUTO, try_block_on);
}

/* The first timers of each shard, for which its heap has to grow. */
T_TEST(allocator, first_sleep)
{
	use_failing_allocator();
	for (int n = 1;; n++) {
		skua_runtime *rt = runtime_of(1);
		int rc;

		fail_at(n, 0);
		rc = try_block_on(rt);
		fail_no_more();
		T_ASSERT(rc == 0 || rc == -ENOMEM);
		T_EQ(try_block_on(rt), 0);
		T_EQ(skua_runtime_free(rt), 0);
		T_EQ(alive, 0);
		if (failures == 0) {
			T_GT(n, 2);
			break;
		}
	}
	T_EQ(skua_set_allocator(NULL), 0);
}

static skua_poll limited(skua_cx *cx, void *argument)
{
	return skua_timeout(cx, argument, 200 * SKUA_USEC, parked(cx, NULL));
}

static int try_timeout(skua_runtime *rt)
{
	skua_timer timer = {{0}};
	int64_t result = run(rt, limited, &timer);

	return result == -ETIMEDOUT ? 0 : (int)result;
}

T_TEST(allocator, timeout)
{
	survives_on(SKUA_IO_BACKEND_AUTO, try_timeout);
}

static int64_t job(void *argument)
{
	return *(int *)argument;
}

static int try_blocking(skua_runtime *rt)
{
	int value = 5, rc;
	skua_task *task = NULL;
	int64_t result;

	rc = skua_spawn_blocking(rt, job, &value, sizeof value, &task);
	if (rc < 0) {
		T_NULL(task);
		return rc;
	}
	result = skua_task_wait(&task);
	if (result == 5)
		return 0;
	T_EQ(result, -ENOMEM);
	T_NOT_NULL(task);
	fail_no_more();
	T_EQ(skua_task_wait(&task), 5);
	return -ENOMEM;
}

T_TEST(allocator, spawn_blocking)
{
	survives_on(SKUA_IO_BACKEND_AUTO, try_blocking);
}

/* Also when no thread of the pool exists yet. */
T_TEST(allocator, first_blocking_job)
{
	use_failing_allocator();
	for (int n = 1;; n++) {
		skua_runtime *rt = runtime_of(1);
		int rc;

		fail_at(n, 0);
		rc = try_blocking(rt);
		fail_no_more();
		T_ASSERT(rc == 0 || rc == -ENOMEM);
		T_EQ(try_blocking(rt), 0);
		T_EQ(skua_runtime_free(rt), 0);
		T_EQ(alive, 0);
		if (failures == 0) {
			T_GT(n, 3);
			break;
		}
	}
	T_EQ(skua_set_allocator(NULL), 0);
}

/* ---- Sockets ---- */

/* Listens, connects to itself, sends a word to and fro, and closes everything, whatever happens. */
/* A child task of its own reads, so that somebody has to wait for the descriptor. */
struct listening {
	skua_coro co;
	skua_tcp *conn;
	char word[4];
	int64_t n;
};

static skua_poll listening(skua_cx *cx, struct listening *self)
{
	SKUA_BEGIN(self);
	SKUA_AWAIT(self->n = skua_read(cx, self->conn, self->word, 4));
	skua_tcp_close(self->conn);
	SKUA_END(self->n);
}
SKUA_CORO(listening, struct listening);

struct talking {
	skua_coro co;
	skua_listener *listener;
	skua_addr addr;
	skua_tcp *client, *server;
	skua_timer timer;
	skua_task *reader;
	int64_t rc, n;
};

static skua_poll talking(skua_cx *cx, struct talking *self)
{
	struct listening reader = {.co = SKUA_CORO_INIT(listening)};

	SKUA_BEGIN(self);
	self->rc = skua_listen(skua_cx_runtime(cx), &self->addr, NULL, &self->listener);
	if (self->rc < 0)
		goto end;
	T_EQ(skua_listener_addr(self->listener, &self->addr), 0);
	SKUA_AWAIT(self->rc = skua_connect(cx, &self->addr, &self->client));
	if (self->rc < 0)
		goto end;
	SKUA_AWAIT(self->rc = skua_accept(cx, self->listener, &self->server));
	if (self->rc < 0)
		goto end;
	reader.conn = self->server;
	self->rc = skua_spawn(skua_cx_runtime(cx), &reader.co, &self->reader);
	if (self->rc < 0)
		goto end;
	self->server = NULL;
	/* Without memory for a timer the reader need not have waited: all the same. */
	SKUA_AWAIT(self->n = skua_sleep(cx, &self->timer, 100 * SKUA_USEC));
	SKUA_AWAIT(self->rc = skua_write_all(cx, self->client, "skua", 4));
	SKUA_AWAIT(self->n = skua_join(cx, &self->reader));
	T_NULL(self->reader);
	if (self->n < 0)
		self->rc = self->n;
end:
	skua_tcp_close(self->client);
	skua_tcp_close(self->server);
	skua_listener_close(self->listener);
	SKUA_END(self->rc == 4 ? 0 : self->rc);
}
SKUA_CORO(talking, struct talking);

static int try_talking(skua_runtime *rt)
{
	struct talking future = {.co = SKUA_CORO_INIT(talking)};

	T_EQ(skua_addr_parse(&future.addr, "127.0.0.1", 0), 0);
	return (int)skua_block_on(rt, &future.co);
}

T_ON_EACH_IO(allocator, sockets)
{
	survives_on(kind, try_talking);
}

/* The first ones, for which the table of sources has to grow. */
T_ON_EACH_IO(allocator, first_sockets)
{
	use_failing_allocator();
	for (int n = 1;; n++) {
		skua_runtime *rt = runtime_on(2, kind);
		int rc;

		fail_at(n, 0);
		rc = try_talking(rt);
		fail_no_more();
		T_ASSERT_MSG(rc == 0 || rc == -ENOMEM, "allocation %d: %d", n, rc);
		T_EQ(try_talking(rt), 0);
		T_EQ(skua_runtime_free(rt), 0);
		T_EQ(alive, 0);
		if (failures == 0) {
			T_GT(n, 3);
			break;
		}
	}
	T_EQ(skua_set_allocator(NULL), 0);
}

/* ---- The blocker ---- */

T_ON_BACKENDS(allocator, blocker)
{
	int n = 0, rc;

	use_failing_allocator();
	do {
		skua_blocker *blocker = NULL;
		skua_registration registration = {0};
		int ends[2];

		T_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
		fail_at(++n, 0);
		rc = skua_blocker_new(backend, &blocker);
		if (rc == 0) {
			rc = skua_blocker_register(
				blocker, ends[0], (skua_interest){1, SKUA_READABLE}, &registration);
			if (rc == 0)
				skua_blocker_deregister(blocker, &registration, 0);
			skua_blocker_free(blocker);
		}
		fail_no_more();
		T_EQ(rc, failures > 0 ? -ENOMEM : 0);
		T_EQ(alive, 0);
		close(ends[0]);
		close(ends[1]);
	} while (failures > 0);
	T_GT(n, 1);
	T_EQ(skua_set_allocator(NULL), 0);
}
