#!/usr/bin/env python3
"""Tests of bench/net-load against servers that do what they should, or do not. Writes TAP."""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

import tap

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Calls `serve(connection, number)` in a thread for each connection, and counts."""

    def __init__(self, serve):
        self.serve = serve
        self.lock = threading.Lock()
        self.paths = []
        self.connections = self.open = self.most_open = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        with self.lock:
            self.connections += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            number = self.connections
        try:
            self.serve(self, connection, number)
        except OSError:
            pass
        finally:
            connection.close()
            with self.lock:
                self.open -= 1

    def requests(self, connection):
        """The paths of the requests that come, all of one read together."""
        rest = b""
        while piece := connection.recv(65536):
            *requests, rest = (rest + piece).split(b"\r\n\r\n")
            paths = [request.split(b" ")[1].decode() for request in requests]
            with self.lock:
                self.paths += paths
            if paths:
                yield paths

    def close(self):
        # A thread in accept would keep it open.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def well(server, connection, _number):
    for paths in server.requests(connection):
        connection.sendall(ANSWER * len(paths))


def in_pieces(server, connection, _number):
    cuts = (3, 10, 30, len(ANSWER) - 1)
    for count, _paths in enumerate(server.requests(connection)):
        cut = cuts[count % len(cuts)]
        connection.sendall(ANSWER[:cut])
        time.sleep(0.002)
        connection.sendall(ANSWER[cut:])


def then(later, after=20):
    """Serves well at first, then with another answer."""

    def serve(server, connection, _number):
        for count, _paths in enumerate(server.requests(connection)):
            data = ANSWER if count < after else later
            if data is None:
                time.sleep(30)
            connection.sendall(data)
            if data == b"":
                return

    return serve


def by_path(server, connection, _number):
    for paths in server.requests(connection):
        if paths[0] == "/slow":
            time.sleep(0.02)
        connection.sendall(ANSWER)


def closing(answer):
    def serve(server, connection, _number):
        for _ in server.requests(connection):
            connection.sendall(answer)
            return

    return serve


class Pause:
    """Serves well, except that all connections stand still together once."""

    def __init__(self, after, length):
        self.start = None
        self.after, self.length = after, length

    def __call__(self, server, connection, _number):
        for _ in server.requests(connection):
            self.start = self.start or time.monotonic()
            left = self.start + self.after + self.length - time.monotonic()
            if 0 < left < self.length:
                time.sleep(left)
            connection.sendall(ANSWER)


def echo(_server, connection, _number):
    while piece := connection.recv(65536):
        connection.sendall(piece)


def echo_of_the_first(_server, connection, _number):
    """For messages of 64 bytes; the first one again and again."""
    first = None
    while piece := connection.recv(64):
        first = first or piece
        connection.sendall(first)


class Run:
    def __init__(self, program, serve, *options):
        server = Server(serve)
        began = time.monotonic()
        try:
            done = subprocess.run(
                [program, f"--port={server.port}", *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            server.close()
        self.seconds = time.monotonic() - began
        self.server = server
        self.code = done.returncode
        self.errors = done.stderr
        try:
            self.json = json.loads(done.stdout)
        except ValueError:
            self.json = None
        self.text = f"exit code {done.returncode} after {self.seconds:.1f} s\n{done.stdout}{done.stderr}"
        self.text += f"{server.connections} connections, {len(server.paths)} requests"

    def clean(self):
        return self.code == 0 and self.json["errors"] == 0 and self.json["requests"] > 0


def test_counting(out, run):
    done = run(well, "--connections=4", "--seconds=0.3", "--warm-up=0")
    # One for each connection at first, and those that were under way at the end.
    most = done.json["requests"] + 8 if done.json else 0
    out.check("net-load/answers", done.clean() and len(done.server.paths) <= most, done.text)
    done = run(in_pieces, "--connections=3", "--seconds=0.3", "--warm-up=0")
    out.check("net-load/answers_in_pieces", done.clean(), done.text)
    done = run(well, "--connections=2", "--pipeline=5", "--seconds=0.3", "--warm-up=0")
    right = done.clean() and (len(done.server.paths) - 2) % 5 == 0
    out.check("net-load/pipeline", right, done.text)
    for size in (1, 2, 64, 70000):
        options = ["--kind=echo", f"--size={size}", "--connections=3", "--seconds=0.2"]
        done = run(echo, *options)
        out.check(f"net-load/echo_{size}", done.clean(), done.text)
    done = run(echo, "--kind=echo", "--size=100", "--pipeline=7", "--seconds=0.2")
    out.check("net-load/echo_pipeline", done.clean(), done.text)
    done = run(well, "--connections=3", "--idle=40", "--seconds=0.2")
    right = done.clean() and done.server.most_open == 43 and done.json["connections_made"] == 43
    out.check("net-load/idle", right, done.text)
    done = run(closing(ANSWER), "--connections=4", "--churn", "--seconds=0.3", "--warm-up=0")
    most = done.json["requests"] + 4 if done.json else 0
    right = done.clean() and done.json["requests"] <= done.server.connections <= most
    out.check("net-load/churn", right, done.text)


def test_open_loop(out, run):
    done = run(well, "--connections=3", "--rate=500", "--seconds=0.6", "--warm-up=0.1")
    right = done.clean() and abs(done.json["latencies"] - 300) <= 5
    out.check("net-load/rate", right, done.text)

    # Of 1 s the server stands still for 0.4: so 0.2 of all requests wait for longer than 0.2 s.
    options = ["--connections=4", "--seconds=1", "--warm-up=0"]
    done = run(Pause(0.3, 0.4), *options, "--rate=400")
    latency = done.json["latency_us"] if done.json else {}
    right = done.clean() and latency["p90"] > 200_000 and latency["p50"] < 200_000
    out.check("net-load/rate_counts_from_when_it_was_due", right, done.text)
    done = run(Pause(0.3, 0.4), *options)
    latency = done.json["latency_us"] if done.json else {}
    right = done.clean() and latency["p99"] < 200_000 < latency["max"]
    out.check("net-load/the_closed_loop_does_not", right, done.text)

    for name, more in (("closed", ()), ("open", ("--rate=400",))):
        options = ["--connections=4", "--seconds=0.6", "--slow-path=/slow", "--slow-share=10"]
        done = run(by_path, *options, *more)
        slow = done.server.paths.count("/slow") / max(len(done.server.paths), 1)
        right = done.clean() and 0.08 < slow < 0.12 and done.json["slow_latencies"] > 0
        right = right and done.json["slow_latency_us"]["p50"] > 19_000 > done.json["latency_us"]["p50"]
        out.check(f"net-load/slow_share_{name}", right, f"{done.text}, {slow:.3f} slow")
    done = run(by_path, "--connections=2", "--stuck-path=/slow", "--seconds=0.3", "--warm-up=0")
    right = done.clean() and done.server.paths.count("/slow") > 3
    out.check("net-load/stuck", right, done.text)


def test_errors(out, run):
    def check(name, done, says):
        right = done.code == 1 and re.search(says, done.errors)
        out.check(f"net-load/{name}", right, done.text)

    wrong = ANSWER.replace(b"200 OK", b"500 no")
    options = ["--connections=2", "--seconds=0.5", "--warm-up=0"]
    check("status", run(then(wrong), *options), "status 200")
    check("first_status", run(then(wrong, 0), *options), "status 200")
    check("longer_answer", run(then(ANSWER + b"!"), *options), "nobody has asked|status 200")
    check("end", run(then(b""), *options), "closed the connection")
    check("short_answer", run(closing(ANSWER[:-1]), *options, "--churn"), "before the end")
    check("echo", run(echo_of_the_first, *options, "--kind=echo"), "not the message")
    done = run(then(None), *options)
    check("no_answer_at_the_end", done, "no answer 5 s after the end")
    out.check("net-load/no_answer_in_time", done.seconds < 9, done.text)
    for options in (["--rate=0"], ["--seconds=nan"], ["--path=x"], ["--nope"], ["--churn", "--rate=5"]):
        done = run(well, *options)
        out.check(f"net-load/refuses{options[-1]}", done.code == 2 and done.errors, done.text)


def test_server(out, run):
    done = run(well, "--connections=2", "--idle=3", "--seconds=0.3", f"--server-pid={os.getpid()}")
    server = (done.json or {}).get("server") or {}
    right = done.clean() and server["cpu_ns_per_request"] > 1000 and server["switches_per_request"] > 0
    right = right and isinstance(server["bytes_per_idle"], float)
    out.check("net-load/what_the_server_takes", right, done.text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build-dir", required=True)
    arguments, filters = parser.parse_known_args()
    out = tap.Writer(filters)
    program = os.path.join(arguments.build_dir, "bench", "net-load")
    if not os.path.exists(program):
        out.skip("net-load", "bench/net-load is not built")
        return out.done()

    def run(serve, *options):
        return Run(program, serve, *options)

    test_counting(out, run)
    test_open_loop(out, run)
    test_errors(out, run)
    test_server(out, run)
    return out.done()


sys.exit(main())
