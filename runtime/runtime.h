/* runtime.h - what a runtime is: its IO, its scheduler, its configuration. */
#ifndef SKUA_RUNTIME_RUNTIME_INTERNAL_H
#define SKUA_RUNTIME_RUNTIME_INTERNAL_H

#include "io/io.h"
#include "runtime/config.h"
#include "sched/sched.h"

struct skua_runtime {
	struct sk_runtime_head head; /* first: io/ knows a runtime by it */
	struct sk_config config;
};

#endif /* SKUA_RUNTIME_RUNTIME_INTERNAL_H */
