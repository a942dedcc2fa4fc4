#!/usr/bin/env python3
"""Shows what Skua does as a server: examples/http_hello with 1 to N workers, under load.

For each number of workers and of connections there are two phases. In the first, skua-load makes
some thousands of requests and compares every byte of every answer. In the second, wrk (skua-load
where there is no wrk) measures for a second how many requests are answered, how fast, and how much
CPU time the server spends on each. In the end the server has to stop cleanly on SIGTERM.

Usage: python3 bench/demo.py --build-dir build
Takes less than 30 seconds; exits with 1 if there was any error.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import listening
import wrk

CONNECTIONS = (1, 16, 64, 256)
VERIFIED_REQUESTS = 4000
MEASURED_SECONDS = 1
STOP_SECONDS = 5
CLIENT_SECONDS = MEASURED_SECONDS + 8
TOTAL_SECONDS = 29
BODY = "Hello, World!"
TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Something that makes going on pointless."""


class Clock:
    """What is left of TOTAL_SECONDS: with a server that hangs, each phase would take its longest."""

    start = time.monotonic()

    @classmethod
    def elapsed(cls):
        return time.monotonic() - cls.start

    @classmethod
    def limit(cls, seconds):
        left = TOTAL_SECONDS - STOP_SECONDS - cls.elapsed()
        if left <= 0:
            raise Failure(f"not done in {TOTAL_SECONDS} s")
        return min(seconds, left)


def worker_counts():
    """1 to N, where N is how many CPUs this process may use; at most four values of it."""
    cpus = len(os.sched_getaffinity(0))
    if cpus <= 4:
        return list(range(1, cpus + 1))
    return sorted({1, 2, cpus // 2, cpus})


class Server:
    """http_hello as a child process on a port of its own."""

    def __init__(self, program, workers):
        environment = dict(os.environ, SKUA_WORKERS=str(workers))
        self.process = subprocess.Popen(
            [program, "--port", "0"], stdout=subprocess.PIPE, env=environment
        )
        try:
            self.port = listening.port_of(self.process)
        except listening.Silent as silent:
            self.kill()
            raise Failure(f"the server {silent}") from silent
        except BaseException:
            self.kill()
            raise

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS  # utime and stime

    def stop(self):
        """Returns what is wrong with how it ended, or None."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return f"the server has not stopped {STOP_SECONDS} s after SIGTERM"
        return f"the server exited with {status} on SIGTERM" if status else None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def run_client(command):
    """Returns (exit status, output) of a client; the status of one that hangs is None."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=Clock.limit(CLIENT_SECONDS))
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                return None, ""
            raise
    return process.returncode, output


def run_skua_load(program, port, connections, *options):
    """Returns (result, errors); without a result there is at least one error."""
    command = [program, "--port", str(port), "--connections", str(connections), "--json"]
    status, output = run_client(command + ["--expect-body", BODY, *options])
    try:
        result = json.loads(output)
    except ValueError:
        return None, 1
    return result, max(result["errors"]["total"], 1 if status else 0)


def verify(program, port, connections):
    """Returns the number of errors in VERIFIED_REQUESTS answers of which every byte was compared."""
    requests = VERIFIED_REQUESTS if connections > 1 else VERIFIED_REQUESTS // 4
    result, errors = run_skua_load(
        program, port, connections, "--verify", "--requests", str(requests), "--seconds", "5"
    )
    if result and result["requests"] != requests:
        errors += 1
    return errors


def measure_with_skua_load(program, port, connections):
    result, errors = run_skua_load(program, port, connections, "--seconds", str(MEASURED_SECONDS))
    if not result:
        return None, errors
    latency = result["latency_us"]
    return {
        "requests": result["requests"],
        "rate": result["requests_per_second"],
        "p50": latency["p50"],
        "p99": latency["p99"],
    }, errors


def measure_with_wrk(program, port, connections):
    threads = min(connections, 2 if len(os.sched_getaffinity(0)) > 2 else 1)
    command = [program, f"-t{threads}", f"-c{connections}", f"-d{MEASURED_SECONDS}s", "--latency"]
    status, output = run_client(command + [f"http://127.0.0.1:{port}/"])
    return wrk.result_of(output) if status == 0 else (None, 1)


def show(workers, connections, client, result, cpu, errors):
    columns = ["-"] * 4
    if result:
        columns = [f"{result['rate']:.0f}", f"{result['p50']:.0f}", f"{result['p99']:.0f}", f"{cpu:.2f}"]
    print(
        f"{workers:7} {connections:11} {client:>9} {columns[0]:>10} {columns[1]:>8}"
        f" {columns[2]:>8} {columns[3]:>14} {errors:6}",
        flush=True,
    )


def measure_server(server, workers, load, wrk_program):
    """Both phases for each number of connections. Returns (best rate, errors)."""
    best, total = 0.0, 0
    for connections in CONNECTIONS:
        errors = verify(load, server.port, connections)
        before = server.cpu_seconds()
        if wrk_program:
            result, failed = measure_with_wrk(wrk_program, server.port, connections)
        else:
            result, failed = measure_with_skua_load(load, server.port, connections)
        cpu = server.cpu_seconds() - before
        errors += failed
        if result:
            best = max(best, result["rate"])
            cpu = cpu * 1e6 / max(result["requests"], 1)
        show(workers, connections, "wrk" if wrk_program else "skua-load", result, cpu, errors)
        total += errors
    return best, total


def demonstrate(build_dir):
    """Returns (best rate, its workers, errors)."""
    server_program = os.path.join(build_dir, "examples", "http_hello")
    load = os.path.join(build_dir, "bench", "skua-load")
    for program in (server_program, load):
        if not os.access(program, os.X_OK):
            raise Failure(f"{program} is missing: build the project first")
    print("workers connections    client requests/s   p50 us   p99 us  server us/req errors")
    best, best_workers, errors = 0.0, 0, 0
    for workers in worker_counts():
        server = Server(server_program, workers)
        try:
            rate, failed = measure_server(server, workers, load, shutil.which("wrk"))
            errors += failed
            if rate > best:
                best, best_workers = rate, workers
            complaint = server.stop()
            if complaint:
                print(f"demo: {complaint}", file=sys.stderr)
                errors += 1
        finally:
            server.kill()
    return best, best_workers, errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-dir", required=True, help="where the project was built")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that children are ended, too
    try:
        rate, workers, errors = demonstrate(arguments.build_dir)
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    print(f"{Clock.elapsed():.1f} s; every byte of the verified answers was compared")
    print(f"demo: {rate:.0f} req/s on {workers} workers, {errors} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
