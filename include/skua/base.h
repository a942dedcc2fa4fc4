/*
 * skua/base.h - what every other Skua header stands on: export marks, the version, and the
 * rules that hold for all of them.
 *
 * Errors. A fallible call returns a negative errno value (-ENOMEM, -EINVAL, ...); 0 or a positive
 * value is success. The C variable `errno` is never read or set as an interface. These carry a
 * meaning of their own throughout the library:
 *
 *     -ECANCELED   the task was cancelled, or the handle was closed under a waiting operation
 *     -ETIMEDOUT   a deadline passed
 *     -EINTR       the token of a skua_with_token was cancelled
 *     -ESHUTDOWN   the runtime is stopping
 *     -EDEADLK     the call would block a worker thread
 *     -EBUSY       another task already waits in the same place
 *
 * Threads. "Worker" is a thread of the runtime that polls tasks. A function that says "any thread"
 * may be called from workers, from threads of the program, and from blocking jobs.
 */
#ifndef SKUA_BASE_H
#define SKUA_BASE_H

#include <stddef.h>
#include <stdint.h>

#define SKUA_VERSION_MAJOR 0
#define SKUA_VERSION_MINOR 1
#define SKUA_VERSION_PATCH 0
/* One number that grows with each release: 0.1.0 is 100, 1.2.3 is 10203. */
#define SKUA_VERSION_NUMBER                                                                        \
	(SKUA_VERSION_MAJOR * 10000 + SKUA_VERSION_MINOR * 100 + SKUA_VERSION_PATCH)

#if defined(__GNUC__)
#define SKUA_API __attribute__((visibility("default")))
#define SKUA_MUST_USE __attribute__((warn_unused_result))
#define SKUA_MAY_ALIAS __attribute__((may_alias))
#define SKUA_NORETURN __attribute__((noreturn))
#define SKUA_FALLTHROUGH __attribute__((fallthrough))
#else
#define SKUA_API
#define SKUA_MUST_USE
#define SKUA_MAY_ALIAS
#define SKUA_NORETURN
#define SKUA_FALLTHROUGH ((void)0)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The version of the library that runs, as SKUA_VERSION_NUMBER. Compare it with the constant to
 * find out that a program was compiled against other headers. Any thread; never blocks.
 */
SKUA_API int skua_version(void);

/* The same as text, such as "0.1.0". Static storage; any thread; never blocks. */
SKUA_API const char *skua_version_string(void);

/*
 * An error as text, such as "connection refused" for -ECONNREFUSED. Takes any result: what is not
 * an error gives "unknown error". Static storage; any thread; never blocks.
 */
SKUA_API const char *skua_strerror(int64_t error);

/*
 * The memory functions that Skua and the libuv inside it use instead of malloc and its family.
 * All four are required and have the contract of their namesakes; they are called from any thread.
 * `free_sized`, if not NULL, is used where the size is known (jemalloc's sdallocx is such a one).
 */
typedef struct skua_allocator {
	size_t struct_size; /* sizeof(skua_allocator) */
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *block, size_t size);
	void (*free)(void *block);
	void (*free_sized)(void *block, size_t size);
} skua_allocator;

/*
 * Replaces the memory functions of the whole process's Skua, and of libuv (libuv's are global, so
 * these are). Call it before the first runtime and before any other use of libuv; the table is
 * copied. NULL goes back to the default: malloc, with jemalloc's sized free where the process has
 * jemalloc.
 *
 * Returns 0; -EINVAL if a required function is missing or struct_size is wrong; -EBUSY while a
 * runtime or a blocker is alive. No handle of a task or waker may be left of earlier ones. One
 * thread, before the others start; never blocks.
 */
SKUA_API SKUA_MUST_USE int skua_set_allocator(const skua_allocator *allocator);

#ifdef __cplusplus
}
#endif

#endif /* SKUA_BASE_H */
