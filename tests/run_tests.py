#!/usr/bin/env python3
"""Runs every test of a build directory and counts test cases; `./dev test` is the way to call it.

What there is to run comes from `meson introspect --tests`. Each of these programs writes TAP. A
line is printed for each of them, and its comments that begin with its name (`# NAME: ...`); the
output of a failed one follows in full. The last line is
`N passed, N failed`, with `, N skipped` if there were any.

A program that dies, hangs, or reports fewer results than it planned counts as a failure even if no
single test does. The exit code is 1 if anything failed or nothing ran.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import tap

print_lock = threading.Lock()


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def execute(test, build_dir, filters, env, slow):
    """Runs one program in a process group of its own; returns (stdout, stderr, problem)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # A pipe on standard output: the harness opens it a second time for Criterion.
        process = subprocess.Popen(
            test["cmd"] + filters,
            cwd=test["workdir"] or build_dir,
            env={**env, **test["env"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
            start_new_session=True,
        )
        reader = threading.Thread(target=lambda: out.write(process.stdout.read()), daemon=True)
        reader.start()
        problem = None
        try:
            code = process.wait(timeout=test["timeout"] * slow if test["timeout"] > 0 else None)
            if code < 0:
                problem = f"killed by signal {-code} ({signal.strsignal(-code)})"
            elif code != 0:
                problem = f"exit code {code}"
        except subprocess.TimeoutExpired:
            problem = f"no end after {test['timeout'] * slow:g} s"
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        reader.join(timeout=10)
        out.seek(0)
        err.seek(0)
        return (
            out.read().decode(errors="replace"),
            err.read().decode(errors="replace"),
            problem,
        )


def judge(report, problem):
    """The failures that no `not ok` line tells of."""
    extra = []
    failed = sum(not r.passed for r in report.results)
    if report.bail_out is not None:
        extra.append(f"gave up: {report.bail_out}")
    if report.plan is None:
        extra.append("wrote no plan")
    elif len(report.results) < report.plan:
        extra.append(f"planned {report.plan} tests, and reported {len(report.results)}")
    elif len(report.results) > report.plan:
        extra.append(f"planned only {report.plan} tests, and reported {len(report.results)}")
    if problem and (extra or not failed):
        extra.append(problem)
    return extra


def run_one(test, build_dir, filters, env, slow, totals):
    started = time.monotonic()
    try:
        stdout, stderr, problem = execute(test, build_dir, filters, env, slow)
    except OSError as error:
        stdout, stderr, problem = "", "", f"cannot be run: {error}"
    report = tap.parse(stdout)
    extra = judge(report, problem)
    skipped = [r for r in report.results if r.passed and r.skipped]
    passed = sum(r.passed for r in report.results) - len(skipped)
    bad = [r for r in report.results if not r.passed]
    missing = max((report.plan or 0) - len(report.results), 0)
    failed = len(bad) + (max(missing, 1) if extra else 0)

    with print_lock:
        totals.passed += passed
        totals.failed += failed
        totals.skipped += len(skipped)
        if not report.results and not extra:
            return  # the filter left nothing of it
        print(
            f"{test['name']:<28} {passed:4d} passed"
            + (f", {failed} FAILED" if failed else "")
            + (f", {len(skipped)} skipped" if skipped else "")
            + f"  ({time.monotonic() - started:.1f} s)"
        )
        for line in stdout.splitlines():
            if line.startswith(f"# {test['name']}: "):
                print(f"    {line[2:]}")
        for result in skipped:
            print(f"    skipped: {result.name}: {result.reason or 'no reason given'}")
        for result in bad:
            print(f"    FAILED: {result.name}")
            for line in result.details:
                print(f"        {line}")
        for line in extra:
            print(f"    FAILED: {test['name']}: {line}")
        if failed:
            if extra:
                print("    its standard output:")
                for line in stdout.splitlines():
                    print(f"        {line}")
            if stderr.strip():
                print("    its standard error:")
                for line in stderr.splitlines():
                    print(f"        {line}")
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    parser.add_argument("--except", action="append", default=[], dest="left_out")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()

    tests = json.loads(
        subprocess.run(
            ["meson", "introspect", "--tests", arguments.build_dir],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    unknown = set(arguments.left_out) - {test["name"] for test in tests}
    if unknown:
        parser.error(f"--except={unknown.pop()}: there is no such file of tests")
    tests = [test for test in tests if test["name"] not in arguments.left_out]
    for name in arguments.left_out:
        print(f"{name:24} left out, as was asked for")
    env = dict(os.environ)
    if arguments.quick:
        env["SKUA_TEST_QUICK"] = "1"
    slow = max(float(env.get("SKUA_TEST_SLOW") or 1), 1)
    totals = Totals()

    def run(test):
        run_one(test, arguments.build_dir, arguments.filters, env, slow, totals)

    for turn in range(arguments.repeat):
        if arguments.repeat > 1:
            print(f"-- run {turn + 1} of {arguments.repeat}", flush=True)
        together = [t for t in tests if t["is_parallel"]]
        alone = [t for t in tests if not t["is_parallel"]]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(run, together))
        for test in alone:
            run(test)

    ran = totals.passed + totals.failed + totals.skipped
    if ran == 0:
        print("no test ran" + (": nothing matches the filter" if arguments.filters else ""))
    print(totals.line(), flush=True)
    return 1 if totals.failed or ran == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
