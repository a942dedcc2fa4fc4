/*
 * uv.h - the part of libuv that io/ uses, for modelled threads: found in place of the real header.
 * uv_model.c says how it works. Only the types differ from libuv's; io/ names no member but `data`,
 * and of the loop none.
 */
#ifndef SKUA_TESTS_MODEL_UV_H
#define SKUA_TESTS_MODEL_UV_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "sched/sync.h"

typedef struct uv_loop uv_loop_t;
typedef struct uv_handle uv_handle_t;
typedef struct uv_async uv_async_t;
typedef struct uv_poll uv_poll_t;
typedef struct uv_timer uv_timer_t;

typedef void (*uv_close_cb)(uv_handle_t *handle);
typedef void (*uv_walk_cb)(uv_handle_t *handle, void *argument);
typedef void (*uv_async_cb)(uv_async_t *handle);
typedef void (*uv_poll_cb)(uv_poll_t *handle, int status, int events);
typedef void (*uv_timer_cb)(uv_timer_t *handle);

typedef enum { UV_RUN_DEFAULT, UV_RUN_ONCE, UV_RUN_NOWAIT } uv_run_mode;

enum { UV_READABLE = 1, UV_WRITABLE = 2, UV_DISCONNECT = 4 };

enum { UV_EBADF = -EBADF, UV_EBUSY = -EBUSY, UV_EEXIST = -EEXIST };

enum uv_kind { UV_ASYNC, UV_POLL, UV_TIMER };

/* What all handles begin with. */
#define UV_HANDLE_FIELDS                                                                           \
	void *data;                                                                                \
	uv_loop_t *loop;                                                                           \
	enum uv_kind kind;                                                                         \
	bool active, closing;                                                                      \
	uv_close_cb close_cb;                                                                      \
	uv_handle_t *next; /* of the loop */

struct uv_handle {
	UV_HANDLE_FIELDS
};

struct uv_async {
	UV_HANDLE_FIELDS
	uv_async_cb callback;
	SK_ATOMIC(int) pending;
};

struct uv_poll {
	UV_HANDLE_FIELDS
	uv_poll_cb callback;
	int fd;
	uint32_t file;   /* which one the descriptor named when this began */
	uint32_t events; /* waited for, as epoll names them */
	uint32_t ready;  /* found in this turn of the loop, and not reported yet */
};

struct uv_timer {
	UV_HANDLE_FIELDS
	uv_timer_cb callback;
	uint64_t due, repeat;
};

struct uv_loop {
	uint64_t time;        /* in milliseconds */
	uv_handle_t *handles; /* all, also those that are being closed */
	uv_async_t *async;    /* the only one */
	int event_fd;         /* that wakes the loop for it */
	bool changed;         /* a handle waits that is not in the loop's set yet */
};

int uv_loop_init(uv_loop_t *loop);
int uv_backend_fd(const uv_loop_t *loop);
int uv_backend_timeout(uv_loop_t *loop);
int uv_loop_close(uv_loop_t *loop);
int uv_run(uv_loop_t *loop, uv_run_mode mode);
void uv_update_time(uv_loop_t *loop);
void uv_walk(uv_loop_t *loop, uv_walk_cb callback, void *argument);
int uv_is_closing(const uv_handle_t *handle);
void uv_close(uv_handle_t *handle, uv_close_cb callback);

int uv_async_init(uv_loop_t *loop, uv_async_t *handle, uv_async_cb callback);
int uv_async_send(uv_async_t *handle);

int uv_poll_init(uv_loop_t *loop, uv_poll_t *handle, int fd);
int uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb callback);
int uv_poll_stop(uv_poll_t *handle);

int uv_timer_init(uv_loop_t *loop, uv_timer_t *handle);
int uv_timer_start(uv_timer_t *handle, uv_timer_cb callback, uint64_t timeout, uint64_t repeat);
int uv_timer_stop(uv_timer_t *handle);

#endif /* SKUA_TESTS_MODEL_UV_H */
