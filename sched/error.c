/* error.c - errors as text. */
#include "skua/base.h"

#include <errno.h>
#include <string.h>
#include <uv.h>

const char *skua_strerror(int64_t error)
{
	/* libuv's words, which are static; its errors are errno's, negated. What it would have to
	 * allocate a text for is unknown here, too. */
	switch (error) {
#define TEXT_OF(name, text)                                                                        \
	case UV_##name:                                                                            \
		return text;
		UV_ERRNO_MAP(TEXT_OF)
#undef TEXT_OF
	case 0:
		return "no error";
	case -EDEADLK:
		return "would block a worker thread";
	default:
		/* The C library knows more; its texts for known numbers are static. */
		return error < 0 && error > -4096 ? strerror((int)-error) : "unknown error";
	}
}
