/* fiber.c - see fiber.h. */
#include "tests/model/fiber.h"

#include <stdint.h>
#include <stdlib.h>

#ifdef __x86_64__

/* Saves what the System V ABI has a function keep, changes stacks, and takes it back. */
__asm__(".text\n"
	".type fiber_swap, @function\n"
	"fiber_swap:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size fiber_swap, . - fiber_swap\n");

void fiber_swap(void **save, void *load);

void fiber_init(struct fiber *fiber, void *stack, size_t size, void (*body)(void))
{
	uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
	void **frame = (void **)top - 8;

	/* Six registers, the address that ret goes to, and one word so that the stack is aligned as
	 * after a call. */
	for (int i = 0; i < 6; i++)
		frame[i] = NULL;
	frame[6] = (void *)(uintptr_t)body;
	frame[7] = (void *)(uintptr_t)abort;
	fiber->stack_pointer = frame;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
	fiber_swap(&from->stack_pointer, to->stack_pointer);
}

#else

void fiber_init(struct fiber *fiber, void *stack, size_t size, void (*body)(void))
{
	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = stack;
	fiber->context.uc_stack.ss_size = size;
	fiber->context.uc_link = NULL;
	makecontext(&fiber->context, body, 0);
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
	swapcontext(&from->context, &to->context);
}

#endif
