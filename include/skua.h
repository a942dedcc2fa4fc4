/*
 * skua.h - Skua, a multi-threaded, work-stealing async runtime for C: all of its public headers.
 */
#ifndef SKUA_H
#define SKUA_H

#include "skua/base.h"
#include "skua/blocker.h"
#include "skua/blocking.h"
#include "skua/cancel.h"
#include "skua/compose.h"
#include "skua/coro.h"
#include "skua/future.h"
#include "skua/local.h"
#include "skua/runtime.h"
#include "skua/scope.h"
#include "skua/source.h"
#include "skua/task.h"
#include "skua/tcp.h"
#include "skua/time.h"

#endif /* SKUA_H */
