#!/usr/bin/env python3
"""Tests of the servers in docs/coming-from-*.md, which the build has put together. Writes TAP."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

import tap

patience = max(float(os.environ.get("SKUA_TEST_SLOW") or 1), 1)


class Failed(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failed(message)


class Server:
    """One of them, from its start to a clean end. It prints the port that it listens on."""

    def __init__(self, program):
        self.process = subprocess.Popen(
            [program],
            env={**{k: v for k, v in os.environ.items() if not k.startswith("SKUA_")}, "SKUA_WORKERS": "2"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        check(line.strip().isdigit(), f"it said {line!r}")
        self.port = int(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20 * patience)

    def ask(self, request):
        """The answer to a request, and how long it took."""
        with self.connect() as client:
            begin = time.monotonic()
            client.sendall(request)
            return client.recv(100), time.monotonic() - begin

    def wait(self):
        _, said = self.process.communicate(timeout=20 * patience)
        check(self.process.returncode == 0 and said == "", f"exit code {self.process.returncode}: {said}")


def expect(server, request, answer, least, most):
    said, took = server.ask(request)
    check(said == answer, f"{request!r} was answered with {said!r}")
    check(least <= took <= most * patience, f"{request!r} took {took:g} s")


def stops_gracefully(program, request, answer):
    """Who has asked is still answered; who is idle is closed; then it ends."""
    with Server(program) as server, server.connect() as idle, server.connect() as busy:
        busy.sendall(request)
        time.sleep(0.05)  # it is read, and not yet answered, unless the machine is very busy
        server.process.send_signal(signal.SIGTERM)
        check(idle.recv(1) == b"", "an idle client was answered")
        said = busy.recv(100)
        check(said == answer, f"who was being served got {said!r}")
        check(busy.recv(1) == b"", "who was served is still connected")
        server.wait()


def stops_gracefully_once(program, request, answer):
    for _ in range(4):
        try:
            return stops_gracefully(program, request, answer)
        except Failed:
            time.sleep(0.5)
    return stops_gracefully(program, request, answer)


def tokio(program):
    with Server(program) as server:
        expect(server, b"20\n", b"done 20\n", 0.02, 5)
        expect(server, b"60000\n", b"timeout\n", 0.2, 5)
    stops_gracefully_once(program, b"100\n", b"done 100\n")


def go(program):
    with Server(program) as server:
        expect(server, b"30 20 10\n", b"sum 60\n", 0.03, 5)
        expect(server, b"10 60000 10\n", b"connection timed out -110\n", 0.2, 5)
        expect(server, b"60000 -1 60000\n", b"result too large -34\n", 0, 5)
    stops_gracefully_once(program, b"100 100 1\n", b"sum 201\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("filters", nargs="*")
    arguments = parser.parse_args()
    out = tap.Writer(arguments.filters)
    for name, test in (("tokio", tokio), ("go", go)):
        problem = ""
        try:
            test(os.path.join(arguments.build_dir, "tests", f"coming_from_{name}"))
        except (Failed, OSError, subprocess.TimeoutExpired) as error:
            problem = str(error) or repr(error)
        out.check(f"documents/the_server_for_those_who_come_from_{name}", not problem, problem)
    return out.done()


sys.exit(main())
