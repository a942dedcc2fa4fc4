/* addr.c - addresses: reading and writing them; no names are looked up here. */
#include "io/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(sizeof(struct sockaddr_storage) <= sizeof(((skua_addr *)0)->storage),
	       "skua_addr is too small");

int skua_addr_parse(skua_addr *addr, const char *host, int port)
{
	struct sockaddr_in *v4;
	struct sockaddr_in6 *v6;

	if (addr == NULL || port < 0 || port > 65535)
		return -EINVAL;
	memset(addr, 0, sizeof *addr);
	v4 = (struct sockaddr_in *)(void *)addr->storage;
	v6 = (struct sockaddr_in6 *)(void *)addr->storage;
	if (host == NULL || inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		addr->length = sizeof *v4;
		return 0;
	}
	memset(addr, 0, sizeof *addr);
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
		return -EINVAL;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	addr->length = sizeof *v6;
	return 0;
}

int skua_addr_format(const skua_addr *addr, char *text, size_t size)
{
	const struct sockaddr_in *v4 = (const void *)addr->storage;
	const struct sockaddr_in6 *v6 = (const void *)addr->storage;
	char host[INET6_ADDRSTRLEN];
	int length;

	switch (sk_addr_family(addr)) {
	case AF_INET:
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		length = snprintf(text, size, "%s:%d", host, skua_addr_port(addr));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		length = snprintf(text, size, "[%s]:%d", host, skua_addr_port(addr));
		break;
	default:
		return -EAFNOSUPPORT;
	}
	return length >= 0 && (size_t)length < size ? 0 : -ENOSPC;
}

int skua_addr_port(const skua_addr *addr)
{
	const struct sockaddr_in *v4 = (const void *)addr->storage;
	const struct sockaddr_in6 *v6 = (const void *)addr->storage;

	switch (sk_addr_family(addr)) {
	case AF_INET:
		return ntohs(v4->sin_port);
	case AF_INET6:
		return ntohs(v6->sin6_port);
	default:
		return 0;
	}
}
