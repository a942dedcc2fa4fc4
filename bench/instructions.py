#!/usr/bin/env python3
"""Counts the instructions of one operation, with callgrind: a figure that comes out the same again.

Each workload of skua-bench runs twice on one worker, with 1 and with 1 + N iterations; the difference
is what N iterations cost, without start, warm-up and end. All threads of the process are counted:
whoever spawns from outside, too.

Usage: ./dev bench instructions [WORKLOAD]...
"""

import re
import subprocess
import sys
import tempfile

# How many operations an iteration has is in skua-bench's own tables.
WORKLOADS = {
    "engine/yield_many": (200_000, "yield"),
    "engine/ring": (90_000, "wake, switch, and wait again"),
    "engine/ping_pong": (1_000, "two tasks, two messages"),
    "engine/chained_spawn": (1_000, "spawn by a task, run, end"),
    "engine/spawn_many_local": (10_000, "spawn from outside, run, end"),
    "engine/spawn_many_remote_idle": (10_000, "spawn from outside, run, end, join"),
    "engine/fib": (28_656, "spawn by a task, run, end, join by a task"),
    "time/insert_cancel": (1_000_000, "arm a timer beside a million others, cancel it"),
    "time/insert_cancel_one": (100_000, "arm a timer, cancel it"),
    "time/timeout_ready": (100_000, "a timeout around an operation that is ready"),
    "time/timeout_pending": (100_000, "around one that waits: arm, yield, cancel"),
    "scope/join": (1_000_000, "spawn into a scope, run, end"),
    "scope/results": (100_000, "the same, and take the result"),
    "scope/select_2": (10_000, "select over 2 branches"),
    "scope/select_8": (10_000, "over 8"),
    "scope/select_64": (10_000, "over 64"),
}
ITERATIONS = 10
LONG_ITERATIONS = 1  # of those with a million operations


def count(program, name, iterations):
    family, workload = name.split("/")
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", program]
        # With a bracket in it, it is a pattern, and fits this name only.
        command += [family, "--filter", f"{family}/[{workload[0]}]{workload[1:]}"]
        command += ["--workers", "1", "--samples", "1", "--iterations", str(iterations)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"instructions: {name} failed:\n{done.stderr}")
    return int(found[1])


def selected(names):
    """The workloads of these names, with their family or without; all if there are none."""
    full = {name.split("/")[1]: name for name in WORKLOADS} | {name: name for name in WORKLOADS}
    if unknown := [name for name in names if name not in full]:
        sys.exit(f"instructions: no workload {unknown[0]}; there are {', '.join(WORKLOADS)}")
    return [full[name] for name in names] or list(WORKLOADS)


def main():
    program, *names = sys.argv[1:]
    print(f"{'workload':<30} {'instructions':>12}  of one operation")
    for name in selected(names):
        operations, what = WORKLOADS[name]
        iterations = ITERATIONS if operations < 1_000_000 else LONG_ITERATIONS
        more = count(program, name, 1 + iterations) - count(program, name, 1)
        print(f"{name:<30} {more / iterations / operations:>12.0f}  {what}", flush=True)


if __name__ == "__main__":
    main()
