/* io_kinds.h - the ways in which a runtime can come to its events, for tests that try each: a backend,
 * and who polls it. */
#ifndef SKUA_TESTS_IO_KINDS_H
#define SKUA_TESTS_IO_KINDS_H

#include <skua/runtime.h>

/* The first three are backends as well; of the epoll backend, workers poll. */
enum io_kind {
	IO_AUTO = SKUA_IO_BACKEND_AUTO,
	IO_EPOLL = SKUA_IO_BACKEND_EPOLL,
	IO_UV = SKUA_IO_BACKEND_UV,
	IO_DRIVER, /* epoll, and only the driver polls */
	IO_KINDS,
};

static inline uint32_t io_backend_of(uint32_t kind)
{
	return kind == IO_DRIVER ? (uint32_t)IO_EPOLL : kind;
}

static inline const char *io_name(uint32_t kind)
{
	static const char *const names[] = {"auto", "epoll", "uv", "driver"};

	return names[kind];
}

static inline void io_configure(skua_config *config, uint32_t kind)
{
	config->io_backend = io_backend_of(kind);
	config->io_poll = SKUA_IO_POLL_AUTO;
	if (kind == IO_EPOLL)
		config->io_poll = SKUA_IO_POLL_ASSIST;
	else if (kind == IO_DRIVER)
		config->io_poll = SKUA_IO_POLL_DRIVER;
}

#endif /* SKUA_TESTS_IO_KINDS_H */
