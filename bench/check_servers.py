#!/usr/bin/env python3
"""Checks from outside that the net servers (bench/peers/README.md) do what their contract says.

Each server runs as http, as http with --lean and as echo. A line for each; what is wrong is named on
lines of its own, and the exit code is 1 then. A program that was not built is left out with a line,
unless it was asked for.

Usage: python3 bench/check_servers.py [--release DIR] [--peers DIR] [--only PART] [--workers N]
           [PROGRAM]...
A PROGRAM is the path of any other server to check instead. Takes about a second for each line.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import listening

ANSWER_SECONDS = 5
END_SECONDS = 2
BUFFER = 4096
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"
VARIANTS = (("--serve=http",), ("--serve=http", "--lean"), ("--serve=echo",))


class Failure(Exception):
    """The server did not do what it should."""


def require(condition, message):
    if not condition:
        raise Failure(message)


# ---- A server ----


class Server:
    """A running server. Its standard input is a pipe that we keep open."""

    def __init__(self, program, arguments):
        self.process = subprocess.Popen(
            [program, "net", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self.port = listening.port_of(self.process)
        except listening.Silent as silent:
            self.kill()
            raise Failure(str(silent)) from silent
        except BaseException:
            self.kill()
            raise

    def connect(self, receive_buffer=None):
        conn = socket.socket()
        conn.settimeout(ANSWER_SECONDS)
        if receive_buffer:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        conn.connect(("127.0.0.1", self.port))
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return conn

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def wait_for_end(self, why):
        began = time.monotonic()
        try:
            code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"{why}: still runs after {END_SECONDS} s") from None
        require(code == 0, f"{why}: ended with {code}")
        require(self.process.stdout.read() == b"", f"{why}: printed more than one line")
        return time.monotonic() - began

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


# ---- A client ----


def receive(conn, size):
    """Exactly so many bytes, or fewer if the stream ends."""
    data = bytearray()
    while len(data) < size:
        try:
            piece = conn.recv(size - len(data))
        except socket.timeout:
            raise Failure(f"{len(data)} of {size} bytes in {ANSWER_SECONDS} s") from None
        if not piece:
            break
        data += piece
    return bytes(data)


def expect(conn, wanted, what):
    got = receive(conn, len(wanted))
    require(got == wanted, f"{what}: got {len(got)} of {len(wanted)} bytes, {got[-200:]!r}")


def expect_end(conn, what):
    try:
        got = conn.recv(1)
    except ConnectionResetError:
        return
    except socket.timeout:
        raise Failure(f"{what}: the connection is still open") from None
    require(got == b"", f"{what}: got {got!r} instead of the end")


def request(path="/", size=0):
    """A request for a path, filled up to a size."""
    line = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    fill = size - len(line) - len("X: \r\n\r\n")
    if fill >= 0:
        line += b"X: " + b"x" * fill + b"\r\n"
    return line + b"\r\n"


def exchange(conn, data, wanted_size, hold_back=0.0):
    """Sends and receives at once; with hold_back, receives only when for so long nothing could be sent."""
    got = bytearray()
    view = memoryview(data)
    conn.setblocking(False)
    receiving = not hold_back
    while view or len(got) < wanted_size:
        wait = ANSWER_SECONDS if receiving else hold_back
        reads, writes, _ = select.select([conn] if receiving else [], [conn] if view else [], [], wait)
        if not reads and not writes:
            require(not receiving, f"{len(got)} of {wanted_size} bytes came back, then nothing")
            receiving = True
        if writes:
            with contextlib.suppress(BlockingIOError):
                view = view[conn.send(view[:65536]) :]
        if reads:
            piece = conn.recv(65536)
            require(piece, f"the stream ended after {len(got)} of {wanted_size} bytes")
            got += piece
    conn.settimeout(ANSWER_SECONDS)
    return bytes(got)


def reset(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


# ---- What is checked: http ----


def hello(server):
    with server.connect() as conn:
        for path in ("/", "/", "/any/other"):
            conn.sendall(request(path))
            expect(conn, ANSWER, f"GET {path}")


def pipelined(server):
    """In one packet: few, as many as fill the buffer for answers, and more than any buffer holds."""
    with server.connect() as conn:
        for count in (2, 16, BUFFER // len(ANSWER), BUFFER // len(ANSWER) + 1, 100, 3000):
            conn.sendall(request() * count)
            expect(conn, ANSWER * count, f"{count} requests in one packet")
        # The shortest that there are: many more answers than one buffer holds from one read.
        conn.sendall(b"G / \r\n\r\n" * 500)
        expect(conn, ANSWER * 500, "500 short requests in one packet")


def split(server):
    """One request, and the border between two, cut at every byte."""
    data = request() * 2
    with server.connect() as conn:
        for cut in range(1, len(data)):
            conn.sendall(data[:cut])
            time.sleep(0.002)
            conn.sendall(data[cut:])
            expect(conn, ANSWER * 2, f"two requests cut at byte {cut}")
        for byte in request():
            conn.sendall(bytes([byte]))
            time.sleep(0.001)
        expect(conn, ANSWER, "a request byte for byte")


def sizes(server):
    with server.connect() as conn:
        for size in (1000, BUFFER - 1, BUFFER):
            conn.sendall(request(size=size))
            expect(conn, ANSWER, f"a request of {size} bytes")
        conn.sendall(request() + request(size=BUFFER) + request(size=BUFFER - 1))
        expect(conn, ANSWER * 3, "large requests behind a small one")
    with server.connect() as conn:
        conn.sendall(request() + request(size=BUFFER + 1)[: BUFFER - 4])
        expect(conn, ANSWER, "a request before one that is too large")
        conn.sendall(b"xxxxxxxx")
        expect_end(conn, "a request that does not fit")


def no_path(server):
    for bad in (b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"\r\n\r\n"):
        with server.connect() as conn:
            conn.sendall(bad)
            expect_end(conn, f"the request {bad!r}")
        with server.connect() as conn:
            conn.sendall(request() + bad)
            expect(conn, ANSWER, f"a request before {bad!r}")
            expect_end(conn, f"the request {bad!r}")


def closing(server):
    for before in (0, 1, 5, 60):
        with server.connect() as conn:
            conn.sendall(request() * before + request("/close") + request() * 3)
            expect(conn, ANSWER * (before + 1), f"/close after {before} requests")
            expect_end(conn, f"/close after {before} requests")


def compute(server):
    def seconds(path):
        began = time.monotonic()
        conn.sendall(request(path))
        expect(conn, ANSWER, path)
        return time.monotonic() - began

    with server.connect() as conn:
        seconds("/compute/1")
        # 9 million dependent rounds; no processor does one in less than a cycle at 6 GHz.
        took = seconds("/compute/30000")
        require(took > 9e6 / 6e9, f"/compute/30000 took {took * 1e6:.0f} us: nothing was computed")
        conn.sendall(request("/compute/10") * 20)
        expect(conn, ANSWER * 20, "20 x /compute/10 in one packet")


def half_closed(server):
    """A client that has sent its last request, and waits for the answer and for the end."""
    for count in (1, 100):
        for pause in (0, 0.005):
            for _ in range(5):
                with server.connect() as conn:
                    time.sleep(pause)
                    conn.sendall(request() * count)
                    conn.shutdown(socket.SHUT_WR)
                    expect(conn, ANSWER * count, f"{count} requests and a shutdown")
                    expect_end(conn, f"{count} requests and a shutdown")
    with server.connect() as conn:
        conn.sendall(request()[:20])
        conn.shutdown(socket.SHUT_WR)
        expect_end(conn, "a part of a request and a shutdown")


def slow_reader(server):
    """Answers that the kernel has no room for: the server waits, and loses and doubles nothing."""
    count = 60000
    with server.connect(receive_buffer=4096) as conn:
        got = exchange(conn, b"GET / HTTP/1.1\r\n\r\n" * count, count * len(ANSWER), 0.1)
    require(got == ANSWER * count, f"{count} requests of a slow reader: other bytes came back")


def many(server):
    """300 connections at once, all of them in use."""
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(server.connect()) for _ in range(300)]
        for count in (1, 3, 1):
            for conn in conns:
                conn.sendall(request() * count)
            for conn in conns:
                expect(conn, ANSWER * count, "300 connections")


def reset_after(server, pieces):
    """Clients that send one of these and vanish, at once or a moment later."""
    for data in pieces:
        for pause in (0, 0.002):
            for _ in range(5):
                conn = server.connect()
                conn.sendall(data)
                time.sleep(pause)
                reset(conn)


def resets(server):
    """Clients that vanish at each moment do not harm the others."""
    with server.connect() as other:
        reset_after(server, (b"", request()[:10], request(), request() * 100, request("/close")))
        other.sendall(request())
        expect(other, ANSWER, "another connection after resets")


# ---- What is checked: echo ----


def echoes(server):
    for size in (1, 2, 65535, 65536, 65537, 1 << 20):
        data = os.urandom(size)
        with server.connect() as conn:
            for _ in range(2):
                require(exchange(conn, data, size) == data, f"{size} bytes: others came back")


def echo_half_closed(server):
    for size in (1, 65536, 300000):
        data = os.urandom(size)
        for _ in range(5):
            with server.connect() as conn:
                conn.sendall(data[:65536])
                if size <= 65536:
                    conn.shutdown(socket.SHUT_WR)
                    expect(conn, data, f"{size} bytes and a shutdown")
                else:
                    rest = exchange(conn, data[65536:], size)
                    require(rest == data, f"{size} bytes: others came back")
                    conn.shutdown(socket.SHUT_WR)
                expect_end(conn, f"{size} bytes and a shutdown")


def echo_slow_reader(server):
    data = os.urandom(8 << 20)
    with server.connect(receive_buffer=4096) as conn:
        require(exchange(conn, data, len(data), 0.1) == data, "a slow reader: other bytes came back")


def echo_many(server):
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(server.connect()) for _ in range(300)]
        for size in (1, 1000, 30000):
            for number, conn in enumerate(conns):
                conn.sendall(bytes([number % 256]) * size)
            for number, conn in enumerate(conns):
                expect(conn, bytes([number % 256]) * size, "300 connections")


def echo_resets(server):
    with server.connect() as other:
        reset_after(server, (b"", b"x", b"x" * 65536, b"x" * 200000))
        other.sendall(b"still there")
        expect(other, b"still there", "another connection after resets")


# ---- What is checked: the process ----


def no_leak(server, before):
    """Every connection of the checks before is closed."""
    until = time.monotonic() + END_SECONDS
    while server.descriptors() > before:
        require(
            time.monotonic() < until,
            f"{server.descriptors() - before} descriptors are left of connections that have ended",
        )
        time.sleep(0.02)


def ends(program, arguments, why, end, busy):
    """With connections open, one of them in the middle of a request, and one that computes."""
    server = Server(program, arguments)
    try:
        with contextlib.ExitStack() as stack:
            conns = [stack.enter_context(server.connect()) for _ in range(50)]
            conns[0].sendall(b"GET ")
            if busy:
                conns[1].sendall(request("/compute/9000000"))
            time.sleep(0.05)
            end(server.process)
            server.wait_for_end(why)
    finally:
        server.kill()


def about(program):
    run = subprocess.run(
        [program, "net", "--about"], stdout=subprocess.PIPE, check=False, timeout=listening.START_SECONDS
    )
    require(run.returncode == 0, f"--about: ended with {run.returncode}")
    try:
        told = json.loads(run.stdout)
    except ValueError:
        told = None
    keys = {"program", "version", "language"}
    require(
        run.stdout.count(b"\n") == 1
        and isinstance(told, dict)
        and told.keys() == keys
        and all(isinstance(value, str) and value for value in told.values()),
        f"--about: printed {run.stdout!r}",
    )
    return f"{told['program']} {told['version']}, {told['language']}"


HTTP_CHECKS = (
    hello,
    pipelined,
    split,
    sizes,
    no_path,
    closing,
    compute,
    half_closed,
    slow_reader,
    many,
    resets,
    hello,
)
ECHO_CHECKS = (echoes, echo_half_closed, echo_slow_reader, echo_many, echo_resets, echoes)


def check(program, arguments):
    """Yields what is wrong."""
    is_echo = "--serve=echo" in arguments
    try:
        server = Server(program, arguments)
    except (Failure, OSError) as error:
        yield f"starting: {error}"
        return
    try:
        # One connection first: what is opened once stays.
        server.connect().close()
        time.sleep(0.1)
        before = server.descriptors()
        for one in ECHO_CHECKS if is_echo else HTTP_CHECKS:
            try:
                one(server)
            except (Failure, OSError) as error:
                yield f"{one.__name__}: {error}"
                if server.process.poll() is not None:
                    yield f"the server has ended with {server.process.returncode}"
                    return
        try:
            no_leak(server, before)
        except Failure as error:
            yield f"no_leak: {error}"
    finally:
        server.kill()
    for why, end in (
        ("SIGTERM", lambda process: process.send_signal(signal.SIGTERM)),
        ("end of standard input", lambda process: process.stdin.close()),
    ):
        for busy in (False,) if is_echo else (False, True):
            try:
                ends(program, arguments, why, end, busy)
            except (Failure, OSError) as error:
                yield f"{error} (computing)" if busy else f"{error}"


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--release", default=os.path.join(root, "build-release"))
    parser.add_argument("--peers", default=os.path.join(root, "build-peers"))
    parser.add_argument("--only", default="", help="only programs with this in their path")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    arguments = parser.parse_args()
    programs = arguments.programs or [
        os.path.join(arguments.release, "bench", "skua-bench"),
        os.path.join(arguments.peers, "tokio", "release", "skua-peer-tokio-net"),
        os.path.join(arguments.peers, "go", "skua-peer-go"),
        os.path.join(arguments.peers, "libuv", "skua-peer-libuv"),
        os.path.join(arguments.peers, "asio", "skua-peer-asio"),
        os.path.join(arguments.peers, "epoll", "skua-peer-epoll"),
    ]
    checked = problems = 0
    for program in programs:
        if arguments.only not in program:
            continue
        name = os.path.basename(program)
        if not os.access(program, os.X_OK):
            print(f"{name}: not built (./dev peers, ./dev build --release)")
            problems += bool(arguments.programs)
            continue
        try:
            print(f"{name}: {about(program)}")
        except (Failure, OSError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}")
            problems += 1
        for variant in VARIANTS:
            began = time.monotonic()
            found = list(check(program, (*variant, f"--workers={arguments.workers}")))
            checked += 1
            problems += len(found)
            state = "failed" if found else "ok"
            print(f"  {' '.join(variant)}: {state} ({time.monotonic() - began:.1f} s)")
            for problem in found:
                print(f"    FAILED {problem}")
            sys.stdout.flush()
    if checked == 0:
        print("check_servers: there is no server to check")
        return 1
    print(f"check_servers: {checked} servers, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
