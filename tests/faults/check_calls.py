#!/usr/bin/env python3
"""Whether every function of the system that the library calls is either made to fail by the fault
injection or listed here with the reason why not. Writes TAP.

usage: check_calls.py LIBRARY PROGRAM [FILTER]...
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tap  # noqa: E402

# Why a function is not made to fail. An eventfd that only we write to has room for ever.
CANNOT_FAIL = """
	abort bcmp clock_gettime environ eventfd_write fprintf getenv inet_ntop inet_pton memchr memcpy memmove memset
	pthread_getcpuclockid pthread_self sched_getcpu sched_yield sigdelset sigfillset snprintf stderr strchr strcmp strcspn strerror
	strlen strncmp strrchr strstr vsnprintf
"""
# A panic says so; glibc returns errors only for misuse.
MISUSE_ONLY = """
	pthread_cond_broadcast pthread_cond_destroy pthread_cond_init pthread_cond_signal
	pthread_cond_timedwait pthread_cond_wait pthread_condattr_destroy pthread_condattr_init
	pthread_condattr_setclock pthread_join pthread_mutex_destroy pthread_mutex_init
	pthread_mutex_lock pthread_mutex_unlock pthread_sigmask
"""
# Of the report about a stuck worker, which does without a backtrace if it gets none.
BACKTRACE = "backtrace dladdr pthread_kill sigaction sigaddset sigemptyset"
# Replaced by the allocator table of tests/faults/memory.c.
MEMORY = "calloc free malloc realloc sdallocx"
# Of sk_sched_dump, which is no operation: it leaves out what it cannot read or write.
DUMP = "fflush fputc fputs fwrite getpid process_vm_readv"
# Called only after another call has failed: there is one fault at a time.
SECOND_FAULT = "sysconf"
# Of the compiler and the loader.
TOOLCHAIN_PREFIXES = ("__", "_ITM_", "_Jv_")
# But these are calls all the same, under the names that _FORTIFY_SOURCE gives them.
FORTIFIED = {"__read_chk", "__recv_chk", "__open64_2", "__open_2"}

LISTED = set((CANNOT_FAIL + MISUSE_ONLY).split()) | set(MEMORY.split()) | set(DUMP.split()) | set(BACKTRACE.split()) | {SECOND_FAULT}


def symbols(path, types):
    """The dynamic symbols of a file whose type, a letter of nm's, is one of these."""
    run = subprocess.run(["nm", "-D", path], stdout=subprocess.PIPE, text=True, check=True)
    lines = [line.split() for line in run.stdout.splitlines()]
    return {line[-1].split("@")[0] for line in lines if len(line) > 1 and line[-2] in types}


def main():
    library, program = sys.argv[1:3]
    out = tap.Writer(sys.argv[3:])
    needed = {
        name
        for name in symbols(library, "Uw")
        if name in FORTIFIED or not name.startswith(TOOLCHAIN_PREFIXES + ("uv_",))
    }
    defined = symbols(program, "TW")
    missing = sorted(needed - defined - LISTED)
    out.check(
        "faults/every_call_of_the_library_can_fail",
        not missing,
        "neither interposed by tests/faults/calls.c nor listed in check_calls.py: "
        + " ".join(missing),
    )
    both = sorted(LISTED & defined & needed)
    out.check("faults/no_call_is_listed_and_interposed", not both, " ".join(both))
    return out.done()


if __name__ == "__main__":
    sys.exit(main())
