/* descriptor.c - skua/source.h: readiness of a descriptor that the program uses itself. */
#include "skua/source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "io/io.h"
#include "io/source.h"

static struct sk_source *source_of(const skua_source *source)
{
	return (struct sk_source *)(uintptr_t)source;
}

int skua_source_new(skua_runtime *runtime, int fd, skua_source **out)
{
	struct sk_source *source;
	struct stat status;
	int flags;

	if (runtime == NULL || out == NULL)
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
		return -EPERM;
	if ((flags & O_NONBLOCK) == 0)
		return -EINVAL;
	source = sk_source_new(sk_io_of(runtime), fd);
	if (source == NULL)
		return -ENOMEM;
	*out = (skua_source *)(void *)source;
	return 0;
}

int skua_source_fd(const skua_source *source)
{
	return source_of(source)->fd;
}

void skua_source_close(skua_source *source)
{
	if (source != NULL)
		sk_source_close(source_of(source));
}

skua_poll skua_source_readable(skua_cx *cx, skua_source *source)
{
	return sk_source_ready(cx, source_of(source), SK_READ);
}

skua_poll skua_source_writable(skua_cx *cx, skua_source *source)
{
	return sk_source_ready(cx, source_of(source), SK_WRITE);
}
