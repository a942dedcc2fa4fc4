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

# The paths of the engine; how many operations an iteration has is in skua-bench's own table.
WORKLOADS = {
    "yield_many": (200_000, "yield"),
    "ring": (90_000, "wake, switch, and wait again"),
    "ping_pong": (1_000, "two tasks, two messages"),
    "chained_spawn": (1_000, "spawn by a task, run, end"),
    "spawn_many_local": (10_000, "spawn from outside, run, end"),
    "spawn_many_remote_idle": (10_000, "spawn from outside, run, end, join"),
    "fib": (28_656, "spawn by a task, run, end, join by a task"),
}
ITERATIONS = 10


def count(program, workload, iterations):
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", program]
        command += ["engine", "--filter", f"engine/{workload}", "--workers", "1", "--samples", "1"]
        command += ["--iterations", str(iterations)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"instructions: {workload} failed:\n{done.stderr}")
    return int(found[1])


def main():
    program, *names = sys.argv[1:]
    if unknown := [name for name in names if name not in WORKLOADS]:
        sys.exit(f"instructions: no workload {unknown[0]}; there are {', '.join(WORKLOADS)}")
    print(f"{'workload':<24} {'instructions':>12}  of one operation")
    for name in names or WORKLOADS:
        operations, what = WORKLOADS[name]
        more = count(program, name, 1 + ITERATIONS) - count(program, name, 1)
        print(f"{name:<24} {more / ITERATIONS / operations:>12.0f}  {what}", flush=True)


if __name__ == "__main__":
    main()
