#!/usr/bin/env python3
"""Runs the example programs, and compares what they print with what their first comments say.

usage: test_examples.py --build-dir DIR [FILTER]...

Each runs with one, two and four workers. Writes TAP. The servers and socket_read are end_to_end.py's.
SKUA_TEST_SLOW=N asks for patience.
"""

import argparse
import glob
import os
import re
import subprocess
import sys

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXAMPLES = os.path.join(ROOT, "examples")

# What must stand on standard error, as regular expressions, besides what the first comment says of
# standard output. Of the others nothing may.
PROGRAMS = {
    "block_in_place": (),
    "blocking": (),
    "graceful_stop": (),
    "happy_eyeballs": (),
    "paused_clock": (),
    "priorities": (),
    "scopes": (),
    "select": (),
    "stop_token": (),
    "stuck_worker": (r"^skua: warning: worker \d+ is stuck: task thumbnails has been running for \d+ ms",),
    "task_locals": (),
    "timeouts": (),
    "timers": (),
}
# What is no program, or is run by end_to_end.py.
OTHERS = {"common", "echo_server", "http_hello", "socket_read"}


def source(name):
    with open(os.path.join(EXAMPLES, f"{name}.c"), encoding="utf-8") as file:
        return file.read()


def promised(text):
    """What the first comment says that the program prints; None if it does not say."""
    head = text.split("*/", 1)[0]
    _, found, block = head.partition("\n * It prints:\n *\n")
    if not found:
        return None
    lines = []
    for line in block.splitlines():
        if not line.startswith(" *     "):
            break
        lines.append(line[len(" *     ") :])
    return "".join(f"{line}\n" for line in lines)


def check_sources(writer):
    """Every program is run by a test, says what it prints, stands alone, and is in the table."""
    found = {os.path.basename(path)[: -len(".c")] for path in glob.glob(f"{EXAMPLES}/*.c")}
    known = set(PROGRAMS) | OTHERS
    writer.check("examples/each_is_run", found == known, f"differ: {sorted(found ^ known)}")
    silent = [name for name in PROGRAMS if not promised(source(name))]
    writer.check("examples/each_says_what_it_prints", not silent, silent)
    leaning = [name for name in PROGRAMS if re.search(r'#\s*include\s*"', source(name))]
    writer.check("examples/each_stands_alone", not leaning, leaning)
    with open(os.path.join(EXAMPLES, "README.md"), encoding="utf-8") as file:
        table = file.read()
    missing = [name for name in found - {"common"} if f"({name}.c)" not in table]
    writer.check("examples/each_is_in_the_table", not missing, missing)


def run(path, workers, log, seconds):
    """One run; what is wrong with it, or "" if it is as it should be."""
    name = os.path.basename(path)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SKUA_")}
    environment = {**kept, "SKUA_WORKERS": str(workers)}
    if not log:
        # On a busy machine a poll may take long for no fault of the program's.
        environment["SKUA_STALL_MS"] = "0"
    try:
        done = subprocess.run(
            [path],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return f"it has not ended after {seconds:g} s; it printed\n{error.stdout}\n{error.stderr}"
    wrong = [] if done.returncode == 0 else [f"exit code {done.returncode}"]
    if done.stdout != promised(source(name)):
        wrong.append(f"it printed\n{done.stdout}")
    if not log and done.stderr:
        wrong.append(f"on standard error is\n{done.stderr}")
    for pattern in log:
        if not re.search(pattern, done.stderr, re.MULTILINE):
            wrong.append(f"on standard error is no {pattern!r} but\n{done.stderr}")
    return "\n".join(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--sanitize", default="none")
    parser.add_argument("filters", nargs="*")
    arguments = parser.parse_args()
    patience = max(float(os.environ.get("SKUA_TEST_SLOW") or 1), 1)
    if arguments.sanitize != "none":
        patience *= 4

    writer = tap.Writer(arguments.filters)
    check_sources(writer)
    for name, log in PROGRAMS.items():
        path = os.path.join(arguments.build_dir, "examples", name)
        for workers in (1, 2, 4):
            test = f"examples/{name}_{workers}"
            if not writer.wants(test):
                continue
            if not os.path.exists(path):
                writer.skip(test, "it is not built")
                continue
            wrong = run(path, workers, log, 20 * patience)
            writer.check(test, not wrong, wrong)
    return writer.done()


if __name__ == "__main__":
    sys.exit(main())
