#!/usr/bin/env python3
"""Checks that tests which must fail are reported as failed, and for the right reason.

usage: check_failing.py PROGRAM --sanitize=none|address|... [FILTER]...

PROGRAM is failing.c with one of the harness's backends. Writes TAP itself.
"""

import argparse
import os
import subprocess
import sys

import tap

ALWAYS = {
    "assertion_in_main_thread": "expected 1 + 1 == 3, but they are 2 and 3",
    "message_of_an_assertion": "a message with the number 4711",
    "strings": 'they are "skua" and "gull"',
    "memory_contents": "byte 3 of 4 is 0x61 and 0x41",
    "null_pointer": "not to be NULL",
    "assertion_in_other_thread": 'assertion failed: !"reached"',
    "descriptor_leak": "-> /dev/null",
    "descriptor_of_another_closed": "closed, but not by its owner: descriptor 0",
    "thread_leak": "threads were left running",
    "timeout": "",
    "timeout_with_signals_blocked": "",
    "crash": "",
    "early_exit": "",
    "early_exit_as_if_passed": "",
    "early_exit_as_if_skipped": "",
}
# What only a sanitizer finds, and its name for it.
ONLY_WITH = {
    "memory_leak": ("address", "LeakSanitizer: detected memory leaks"),
    "use_after_free": ("address", "heap-use-after-free"),
    "data_race": ("thread", "ThreadSanitizer: data race"),
    "undefined_behaviour": ("undefined", "signed integer overflow"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--sanitize", default="none")
    parser.add_argument("filters", nargs="*")
    arguments = parser.parse_intermixed_args()
    sanitizers = arguments.sanitize.split(",")

    run = subprocess.run(
        [arguments.program, "-j2"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=100,
        text=True,
        errors="replace",
    )
    everything = run.stdout + run.stderr
    results = {r.name.split("/")[-1]: r for r in tap.parse(run.stdout).results}

    prefix = os.path.basename(arguments.program)
    out = tap.Writer(arguments.filters)

    def check(name, passed):
        out.check(f"{prefix}/{name}", passed, "" if out.failed else everything)

    for name, message in ALWAYS.items():
        check(name, name in results and not results[name].passed and message in everything)
    for name, (sanitizer, message) in ONLY_WITH.items():
        if sanitizer in sanitizers:
            check(name, name in results and not results[name].passed and message in everything)

    control = results.get("control_passes")
    check("control_passes", control is not None and control.passed and not control.skipped)
    skip = results.get("control_is_skipped")
    check(
        "control_is_skipped",
        skip is not None and skip.passed and skip.skipped and "the reason of the skip" in everything,
    )
    check("exit_code_is_1", run.returncode == 1)
    return out.done()


sys.exit(main())
