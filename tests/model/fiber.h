/*
 * fiber.h - a stack of its own to run on, for the explorer's modelled threads. On x86-64 a switch is a
 * few instructions; elsewhere it is swapcontext, which costs a system call.
 */
#ifndef SKUA_TESTS_MODEL_FIBER_H
#define SKUA_TESTS_MODEL_FIBER_H

#include <stddef.h>

#ifdef __x86_64__

struct fiber {
	void *stack_pointer;
};

#else

#include <ucontext.h>

struct fiber {
	ucontext_t context;
};

#endif

/* Prepares a fiber that runs `body`, which must not return. */
void fiber_init(struct fiber *fiber, void *stack, size_t size, void (*body)(void));

/* Leaves `from`, to be come back to, and goes on with `to`. */
void fiber_switch(struct fiber *from, struct fiber *to);

#endif /* SKUA_TESTS_MODEL_FIBER_H */
