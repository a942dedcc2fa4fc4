#!/usr/bin/env python3
"""Runs the example servers and talks to them as clients do: curl, wrk, thousands of connections.

usage: end_to_end.py --build-dir DIR [FILTER]...

Writes TAP. What needs a program that is not installed, or more descriptors than this user may have,
is skipped with the reason. SKUA_TEST_QUICK=1 asks for a short run, SKUA_TEST_SLOW=N for patience.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import tap

QUICK = os.environ.get("SKUA_TEST_QUICK", "0") not in ("", "0")
HELLO = b"Hello, World!"
GET = b"GET / HTTP/1.1\r\nHost: skua\r\n\r\n"

# The ways to come to events, and how a server is told.
IO_KINDS = {
    "epoll": {"SKUA_IO_BACKEND": "epoll", "SKUA_IO_POLL": "assist"},
    "driver": {"SKUA_IO_BACKEND": "epoll", "SKUA_IO_POLL": "driver"},
    "uv": {"SKUA_IO_BACKEND": "uv"},
}

build_dir = "build"
sanitize = "none"
patience = 1.0  # what times are multiplied with


class Failed(Exception):
    """Something is not as it should be."""


class Skipped(Exception):
    """This test cannot run here, and why."""


def check(condition, message):
    if not condition:
        raise Failed(message)


def program(folder, name):
    path = os.path.join(build_dir, folder, name)
    if not os.path.exists(path):
        raise Skipped(f"{folder}/{name} is not built")
    return path


def tool(name):
    path = shutil.which(name)
    if path is None:
        raise Skipped(f"{name} is not installed")
    return path


def environment(**changes):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SKUA_")}
    # On a busy machine a poll may take long for no fault of the program's.
    return {**kept, "SKUA_STALL_MS": "0", **changes}


def run(command, seconds, **variables):
    return subprocess.run(
        command,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds * patience,
        check=False,
    )


# ---- Servers ----


class Server:
    """One of the example servers, from its start to a clean end."""

    def __init__(self, name, io, *options):
        self.process = subprocess.Popen(
            [program("examples", name), "--port=0", *options],
            env=environment(**IO_KINDS[io]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        if not found:
            self.process.kill()
            raise Failed(f"{name} said {line!r}, and {self.process.communicate()[1]!r}")
        self.port = int(found.group(1))
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}/"

    def connect(self):
        client = socket.create_connection(self.address, timeout=20 * patience)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def switches(self):
        """How often each thread has been given a processor: name and number, by thread id."""
        found = {}
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/status", encoding="ascii") as status:
                fields = dict(line.split(":", 1) for line in status if ":" in line)
            found[thread] = fields["Name"].strip(), sum(
                int(fields[kind]) for kind in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
            )
        return found

    def stop(self, how=signal.SIGTERM, seconds=10):
        """Ends it; it has to exit with 0, in time and without a word."""
        started = time.monotonic()
        self.process.send_signal(how)
        try:
            _, said = self.process.communicate(timeout=seconds * patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"it has not ended {seconds * patience:g} s after {how.name}") from None
        check(self.process.returncode == 0, f"exit code {self.process.returncode}: {said}")
        check(said == "", f"it said: {said}")
        return time.monotonic() - started


@contextlib.contextmanager
def serving(name, io, *options):
    server = Server(name, io, *options)
    try:
        yield server
        if server.process.poll() is None:
            server.stop()
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


# ---- Talking HTTP ----


class Reader:
    """Takes answers out of a connection."""

    def __init__(self, client):
        self.client = client
        self.data = b""

    def more(self):
        piece = self.client.recv(65536)
        if not piece:
            raise Failed(f"the connection ended after {self.data[-200:]!r}")
        self.data += piece

    def answer(self, head_only=False):
        """(status, head, body) of the next answer."""
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head).group(1))
        if head_only:
            return status, head, b""
        while len(self.data) < length:
            self.more()
        body, self.data = self.data[:length], self.data[length:]
        return status, head, body

    def expect_hello(self):
        status, _, body = self.answer()
        check((status, body) == (200, HELLO), f"the answer is {status} {body!r}")

    def expect_end(self):
        check(self.data == b"", f"left over: {self.data!r}")
        piece = self.client.recv(65536)
        check(piece == b"", f"after the end: {piece!r}")


def ask(server, request, head_only=False, ends=False):
    """One request on a connection of its own; (status, head, body)."""
    with server.connect() as client:
        client.sendall(request)
        reader = Reader(client)
        answer = reader.answer(head_only)
        if ends:
            reader.expect_end()
        return answer


def expect_alive(server):
    status, _, body = ask(server, GET)
    check((status, body) == (200, HELLO), f"the server answers {status} {body!r}")


# ---- Tests of http_hello, with each kind of IO ----


def curl_parallel(io):
    curl = tool("curl")
    with serving("http_hello", io) as server:
        done = run(
            [curl, "-sS", "--no-progress-meter", "--parallel", "--parallel-max", "100",
             "-o", "/dev/null", "-w", "%{http_code} %{size_download}\\n",
             server.url + "?[1-2000]"],
            60,
        )
        lines = done.stdout.split("\n")[:-1]
        check(done.returncode == 0, f"curl ended with {done.returncode}: {done.stderr}")
        check(len(lines) == 2000, f"{len(lines)} answers")
        wrong = [line for line in lines if line != "200 13"]
        check(not wrong, f"{len(wrong)} wrong answers, such as {wrong[:3]}")


def wrk_256_connections(io):
    wrk = tool("wrk")
    seconds = 1 if QUICK else 3
    with serving("http_hello", io) as server:
        done = run([wrk, "-t2", "-c256", f"-d{seconds}s", server.url], seconds + 20)
        check(done.returncode == 0, f"wrk ended with {done.returncode}: {done.stderr}")
        check("Socket errors" not in done.stdout, done.stdout)
        check("Non-2xx" not in done.stdout, done.stdout)
        requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
        check(requests > 256, done.stdout)


def load_verified(io):
    with serving("http_hello", io) as server:
        done = run(
            [program("bench", "skua-load"), f"--port={server.port}", "--connections=64",
             "--pipeline=8", "--requests=20000", "--seconds=30", "--verify", "--json",
             f"--expect-body={HELLO.decode()}"],
            60,
        )
        check(done.returncode == 0, f"skua-load: {done.stdout} {done.stderr}")
        check(json.loads(done.stdout)["errors"]["total"] == 0, done.stdout)


def raise_descriptor_limit(count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 100:
        raise Skipped(f"this user may have only {hard} descriptors")
    limit = hard if hard != resource.RLIM_INFINITY else count + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def open_many(server, count):
    """So many connections, in groups that fit the backlog."""
    clients = []
    while len(clients) < count:
        group = []
        for _ in range(min(500, count - len(clients))):
            client = socket.socket()
            client.setblocking(False)
            clients.append(client)
            group.append(client)
            client.connect_ex(server.address)
        for client in group:
            client.settimeout(30 * patience)
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_WRITE)
                check(selector.select(30 * patience), "a connection was not accepted")
            error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            check(error == 0, f"connecting: {os.strerror(error)}")
    return clients


def answers_of_all(clients, request):
    """Sends to all, then takes one answer from each, as they come; how many were right."""
    answers = {client: b"" for client in clients}
    right = 0
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        for client in clients:
            client.sendall(request)
        while answers:
            events = selector.select(30 * patience)
            check(events, f"{len(answers)} connections got no answer")
            for key, _ in events:
                piece = key.fileobj.recv(4096)
                check(piece, f"a connection ended: {answers[key.fileobj]!r}")
                answers[key.fileobj] += piece
                if answers[key.fileobj].endswith(HELLO):
                    right += answers[key.fileobj].startswith(b"HTTP/1.1 200 ")
                    del answers[key.fileobj]
                    selector.unregister(key.fileobj)
    return right


def many_connections_open_at_once(io):
    count = 2000 if QUICK or patience > 1 else 10000
    raise_descriptor_limit(count)
    with serving("http_hello", io) as server:
        before = server.descriptors()
        clients = open_many(server, count)
        try:
            for _ in range(2):
                right = answers_of_all(clients, GET)
                check(right == count, f"{right} of {count} were answered")
            held = server.descriptors() - before
            check(held >= count, f"the server holds {held} of {count} connections")
        finally:
            for client in clients:
                client.close()
        wait_for(lambda: server.descriptors() <= before + 1, "the server to close them all")
        expect_alive(server)


def wait_for(condition, what, seconds=10):
    end = time.monotonic() + seconds * patience
    while not condition():
        check(time.monotonic() < end, f"waited in vain for {what}")
        time.sleep(0.01)


def split_at_every_byte(io):
    request = b"GET /plaintext HTTP/1.1\r\nHost: skua\r\nX-Long: " + b"x" * 20 + b"\r\n\r\n"
    with serving("http_hello", io) as server, server.connect() as client:
        reader = Reader(client)
        for at in range(1, len(request)):
            client.sendall(request[:at])
            time.sleep(0.0005)
            client.sendall(request[at:])
            reader.expect_hello()
        for byte in request:
            client.sendall(bytes([byte]))
            time.sleep(0.0002)
        reader.expect_hello()
        # Two requests, split anywhere: the cut is in either of them.
        for at in range(1, 2 * len(request), 7):
            client.sendall((2 * request)[:at])
            time.sleep(0.0005)
            client.sendall((2 * request)[at:])
            reader.expect_hello()
            reader.expect_hello()


def pipelined(io):
    count = 5000
    with serving("http_hello", io) as server, server.connect() as client:
        sender = threading.Thread(target=client.sendall, args=(GET * count,))
        sender.start()
        reader = Reader(client)
        for _ in range(count):
            reader.expect_hello()
        sender.join()
        check(reader.data == b"", f"left over: {reader.data!r}")


def requests_of_all_kinds(io):
    with serving("http_hello", io) as server:
        status, head, _ = ask(server, GET.replace(b"GET", b"HEAD"), head_only=True)
        check(status == 200 and b"Content-Length: 13" in head, f"HEAD: {head!r}")
        with server.connect() as client:
            # Nothing of a body follows the head: the next answer begins at once.
            client.sendall(GET.replace(b"GET", b"HEAD") + GET)
            reader = Reader(client)
            check(reader.answer(head_only=True)[0] == 200, "HEAD, then GET")
            reader.expect_hello()
        for request, wanted in (
            (b"GET /nothing HTTP/1.1\r\nHost: s\r\n\r\n", 404),
            (b"DELETE / HTTP/1.1\r\nHost: s\r\n\r\n", 405),
            (b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\n\r\nbody", 405),
            (b"GET /?query HTTP/1.1\r\nHost: s\r\n\r\n", 200),
            (b"GET / HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 200),
        ):
            status, _, _ = ask(server, request)
            check(status == wanted, f"{request!r} was answered with {status}, not {wanted}")
        for request in (
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n",
        ):
            status, _, body = ask(server, request, ends=True)
            check((status, body) == (200, HELLO), f"{request!r}: {status} {body!r}")


def bad_requests(io):
    with serving("http_hello", io) as server:
        for request, wanted in (
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 10000 + b"\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n", 400),
            (b"\0" * 100, 400),
            (b"GET / HTTP/x.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n", 413),
        ):
            with server.connect() as client:
                client.sendall(request)
                # As a client that has nothing more to say; so the server need not wait.
                client.shutdown(socket.SHUT_WR)
                reader = Reader(client)
                status, _, _ = reader.answer()
                check(status == wanted, f"{request[:40]!r}: {status}, not {wanted}")
                reader.expect_end()
        expect_alive(server)


def silent_clients_are_closed(io):
    with serving("http_hello", io, "--idle-ms=200") as server, server.connect() as client:
        started = time.monotonic()
        check(client.recv(1) == b"", "something was sent")
        took = time.monotonic() - started
        check(took >= 0.19, f"closed after only {took:g} s")


VICTIM = """
import socket, sys, time
clients = []
for i in range(100):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    client.sendall(b"GET / HTTP/1.1\\r\\n" * (i % 2 + 1) if i % 3 else b"GET / HTTP/1.1\\r\\n\\r\\n" * 50)
    clients.append(client)
print("ready", flush=True)
time.sleep(60)
"""


def killed_client_loses_nothing_else(io):
    with serving("http_hello", io) as server:
        before = server.descriptors()
        load = subprocess.Popen(
            [program("bench", "skua-load"), f"--port={server.port}", "--connections=32",
             f"--seconds={1 if QUICK else 2}", "--verify", "--json"],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        kills = 0
        while load.poll() is None and kills < 5:
            with subprocess.Popen(
                [sys.executable, "-c", VICTIM, str(server.port)], stdout=subprocess.PIPE, text=True
            ) as victim:
                ready = victim.stdout.readline()
                victim.kill()
            check(ready == "ready\n", "the victim did not get ready")
            kills += 1
        said, _ = load.communicate(timeout=60 * patience)
        check(kills > 0, "nobody was killed in time")
        check(load.returncode == 0 and json.loads(said)["errors"]["total"] == 0, f"the others: {said}")
        check(json.loads(said)["requests"] > 0, said)
        wait_for(lambda: server.descriptors() <= before + 1, "the victim's connections to go")
        expect_alive(server)


def sigterm_under_load(io):
    with serving("http_hello", io) as server:
        load = subprocess.Popen(
            [program("bench", "skua-load"), f"--port={server.port}", "--connections=64",
             "--seconds=20"],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(0.5)
            check(load.poll() is None, "the load has ended early")
            took = server.stop(seconds=4)
            check(took < 4 * patience, f"it took {took:g} s")
        finally:
            load.kill()
            load.wait()


def switched(server, seconds):
    """Who has run in that time, and the threads at its end."""
    before = server.switches()
    time.sleep(seconds)
    after = server.switches()
    # A thread that has run is seen by this even where its time is too short to be counted. The
    # program's first thread has given its name to ThreadSanitizer's own, which never rests.
    ran = [
        f"{name} ran {number - before.get(thread, (name, 0))[1]} times"
        for thread, (name, number) in after.items()
        if before.get(thread) != (name, number)
        and not ("thread" in sanitize and not name.startswith("skua-"))
    ]
    return ran, after


def idle_runs_no_thread(io):
    seconds = 1 if QUICK else 3
    with serving("http_hello", io) as server:
        clients = [server.connect() for _ in range(50)]
        for client in clients:
            client.sendall(GET)
            Reader(client).expect_hello()
        # On a busy machine the work before may last into the first look; what wakes up again and again
        # is seen by all three.
        for _ in range(3):
            time.sleep(1.2)
            ran, after = switched(server, seconds)
            if not ran:
                break
        check(not ran, f"in {seconds} s without anything to do: {', '.join(ran)}")
        check(sum(name.startswith("skua-") for name, _ in after.values()) >= 2, f"threads: {after}")
        for client in clients:
            client.close()


def idle_as_strace_sees_it(io):
    strace = tool("strace")
    if "thread" in sanitize:
        raise Skipped("ThreadSanitizer has a thread of its own, which never rests")
    seconds = 1 if QUICK else 3
    with serving("http_hello", io) as server, server.connect() as client:
        client.sendall(GET)
        Reader(client).expect_hello()
        time.sleep(1.2)
        tracer = subprocess.Popen(
            [strace, "-f", "-qq", "-p", str(server.process.pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(seconds)
        tracer.send_signal(signal.SIGINT)
        _, said = tracer.communicate(timeout=10 * patience)
        if "Operation not permitted" in said or "ptrace" in said:
            raise Skipped(f"strace may not trace here: {said.splitlines()[0]}")
        # Each thread is in one call, which strace shows as it finds it, and shows detached.
        calls = [
            line
            for line in said.splitlines()
            if "<detached ...>" not in line and not line.rstrip().endswith("<unfinished ...>")
        ]
        check(not calls, f"{len(calls)} calls in {seconds} s:\n" + "\n".join(calls[:20]))
        check(said.strip(), "strace saw no thread at all")


# ---- Tests of echo_server, with each kind of IO ----


def echo_of_much(io):
    size = 1 << 20
    data = os.urandom(size)
    failures = []

    def one(server):
        try:
            with server.connect() as client:
                sender = threading.Thread(
                    target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR))
                )
                sender.start()
                back = bytearray()
                while piece := client.recv(50000):
                    back += piece
                sender.join()
                check(bytes(back) == data, f"{len(back)} bytes came back, or others")
        except (OSError, Failed) as error:
            failures.append(str(error))

    with serving("echo_server", io) as server:
        threads = [threading.Thread(target=one, args=(server,)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not failures, "\n".join(failures))


def echo_to_a_client_that_reads_late(io):
    data = os.urandom(16 << 20)
    sent = []

    def send(client):
        try:
            for at in range(0, len(data), 1 << 16):
                client.sendall(data[at : at + (1 << 16)])
                sent.append(1 << 16)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server gave up: then not everything comes back

    with serving("echo_server", io) as server, server.connect() as client:
        sender = threading.Thread(target=send, args=(client,))
        sender.start()
        # Until nothing goes on: the server has to wait in the middle of a write.
        before = -1
        while before != len(sent):
            before = len(sent)
            time.sleep(0.5 * patience)
        check(sent and sum(sent) < len(data), "the server never had to wait")
        back = bytearray()
        while piece := client.recv(1 << 16):
            back += piece
        sender.join()
        check(bytes(back) == data, f"{len(back)} bytes came back, or others")


def echo_stops_with_open_connections(io):
    with serving("echo_server", io) as server:
        clients = [server.connect() for _ in range(100)]
        for client in clients:
            client.sendall(b"x")
            check(client.recv(1) == b"x", "no echo")
        server.stop(signal.SIGINT, seconds=3)
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                check(client.recv(1) == b"", "something came after the end")
            client.close()


# ---- Tests of mistakes ----


def port_in_use():
    for name in ("http_hello", "echo_server"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = run([program("examples", name), f"--port={port}"], 10)
        wanted = f"{name}: cannot listen on 127.0.0.1:{port}: address already in use\n"
        check(done.returncode == 1, f"{name}: exit code {done.returncode}")
        check(done.stderr == wanted, f"{name} said {done.stderr!r}")
        check(done.stdout == "", f"{name} printed {done.stdout!r}")


def bad_options():
    for options, part in (
        (["--nonsense"], "--nonsense"),
        (["--port"], "--port"),
        (["--port=70000"], "70000"),
        (["--port=-1"], "-1"),
        (["--port=abc"], "abc"),
        (["--port="], "--port"),
        (["--host=localhost"], "localhost"),
        (["--host=300.0.0.1"], "300.0.0.1"),
        (["--workers=0"], "0"),
        (["stray"], "stray"),
    ):
        for name in ("http_hello", "echo_server"):
            done = run([program("examples", name), *options], 10)
            check(done.returncode == 2, f"{name} {options}: exit code {done.returncode}")
            check(part in done.stderr, f"{name} {options} said {done.stderr!r}")
    done = run([program("examples", "http_hello"), "--help"], 10)
    check(done.returncode == 0 and "--port" in done.stdout, f"--help: {done.stdout}")


def bad_environment():
    for value in ("0", "-1", "abc", "99999999999"):
        for name in ("http_hello", "echo_server"):
            done = run([program("examples", name), "--port=0"], 10, SKUA_WORKERS=value)
            check(done.returncode == 2, f"SKUA_WORKERS={value}: exit code {done.returncode}")
            check(
                "SKUA_WORKERS" in done.stderr and value in done.stderr,
                f"SKUA_WORKERS={value}: {done.stderr!r}",
            )
    done = run([program("examples", "echo_server"), "--port=0"], 10, SKUA_IO_BACKEND="kqueue")
    check(done.returncode == 2 and "SKUA_IO_BACKEND" in done.stderr, done.stderr)


def story_of_a_read():
    for arguments in ([], ["epoll"], ["uv"]):
        done = run([program("examples", "socket_read"), *arguments], 20)
        check(done.returncode == 0, f"{arguments}: exit code {done.returncode}: {done.stderr}")
        check(done.stderr == "", f"{arguments}: {done.stderr}")
        last = done.stdout.splitlines()[-1]
        check(last.endswith("3 futures read 62 bytes, all as written"), f"{arguments}: {last}")
        for words in ("-> PENDING", "block() returned event id", "-> waking", "-> READY"):
            check(words in done.stdout, f"{arguments}: nothing of {words!r}")
    done = run([program("examples", "socket_read"), "select"], 20)
    check(done.returncode == 2, f"a bad argument: exit code {done.returncode}")


# ---- All of them ----

EACH_IO = (
    curl_parallel,
    wrk_256_connections,
    load_verified,
    many_connections_open_at_once,
    split_at_every_byte,
    pipelined,
    requests_of_all_kinds,
    bad_requests,
    killed_client_loses_nothing_else,
    sigterm_under_load,
    echo_of_much,
    echo_to_a_client_that_reads_late,
    echo_stops_with_open_connections,
)
# They wait nearly all of their time, in which their servers do nothing: so all at the same time.
RESTING = (silent_clients_are_closed, idle_runs_no_thread, idle_as_strace_sees_it)
ONCE = (port_in_use, bad_options, bad_environment, story_of_a_read)


def result_of(function, *arguments):
    """Runs a case: None, or what was raised."""
    try:
        function(*arguments)
    except (Skipped, Failed, OSError, subprocess.TimeoutExpired, ValueError) as error:
        return error
    return None


def write(writer, name, error):
    if isinstance(error, Skipped):
        writer.skip(name, str(error))
    else:
        writer.check(name, error is None, f"{type(error).__name__}: {error}")


def main():
    global build_dir, sanitize, patience
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--sanitize", default="none")
    parser.add_argument("filters", nargs="*")
    arguments = parser.parse_args()
    build_dir = arguments.build_dir
    sanitize = arguments.sanitize
    patience = max(float(os.environ.get("SKUA_TEST_SLOW") or 1), 1)
    if sanitize != "none":
        patience *= 4

    writer = tap.Writer(arguments.filters)

    def wanted(functions):
        cases = [(f"end_to_end/{f.__name__}_{io}", f, io) for f in functions for io in IO_KINDS]
        return [case for case in cases if writer.wants(case[0])]

    resting = wanted(RESTING)
    with ThreadPoolExecutor(max(len(resting), 1)) as pool:
        results = list(pool.map(lambda case: result_of(*case[1:]), resting))
    for (name, *_), error in zip(resting, results):
        write(writer, name, error)
    for name, function, io in wanted(EACH_IO):
        write(writer, name, result_of(function, io))
    for function in ONCE:
        name = f"end_to_end/{function.__name__}"
        if writer.wants(name):
            write(writer, name, result_of(function))
    return writer.done()


if __name__ == "__main__":
    sys.exit(main())
