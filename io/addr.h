/* addr.h - what the inside of skua_addr is: a sockaddr of any family, and its length. */
#ifndef SKUA_IO_ADDR_H
#define SKUA_IO_ADDR_H

#include <sys/socket.h>

#include "skua/tcp.h"

static inline struct sockaddr *sk_addr_sockaddr(const skua_addr *addr)
{
	return (struct sockaddr *)(uintptr_t)addr->storage;
}

/* AF_UNSPEC for one that was never filled in. */
static inline int sk_addr_family(const skua_addr *addr)
{
	return addr->length == 0 ? AF_UNSPEC : sk_addr_sockaddr(addr)->sa_family;
}

#endif /* SKUA_IO_ADDR_H */
