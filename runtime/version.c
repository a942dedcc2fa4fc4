/* version.c - the version of the library that runs. */
#include "skua/base.h"

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
