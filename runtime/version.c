/* version.c - skua/base.h: the version of the library that runs, and errors as text. */
#include "skua/base.h"

#include <errno.h>
#include <uv.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

int skua_version(void)
{
	return SKUA_VERSION_NUMBER;
}

const char *skua_version_string(void)
{
	return TEXT(SKUA_VERSION_MAJOR) "." TEXT(SKUA_VERSION_MINOR) "." TEXT(SKUA_VERSION_PATCH);
}

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
		return "would wait for itself";
	default:
		return "unknown error";
	}
}
