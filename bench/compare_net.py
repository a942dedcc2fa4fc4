#!/usr/bin/env python3
"""Compares Skua as a server with its peers: skua-bench net and the programs of bench/peers.

For each row (bench/README.md says what they are) the servers run one after the other, several rounds,
each time in a new process, and net-load makes requests to them. What disturbs the machine for a while
disturbs all of them. Figures are medians of the rounds; a ratio is Skua's median by the peer's, and its
spread that of the pairs of one round.

Usage: ./dev compare net [OPTION]...
Exits with 1 if a server failed or there were errors, or if there was nothing to compare with.
"""

import argparse
import fnmatch
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import comparison
import listening
import ratio_chart
import wrk
from comparison import Failure, progress, ratio_text, table

CHART = "docs/benchmarks-net.svg"
# Name -> whose program it is, and its environment besides the user's.
SERVERS = {
    "skua": ("ours", {}),
    "skua driver": ("ours", {"SKUA_IO_POLL": "driver"}),
    "skua assist": ("ours", {"SKUA_IO_POLL": "assist"}),
    "skua uv": ("ours", {"SKUA_IO_BACKEND": "uv"}),
    "tokio": ("tokio", {}),
    "go": ("go", {}),
    "libuv": ("libuv", {}),
    "asio": ("asio", {}),
    "epoll": ("epoll", {}),
}
QUICK_SERVERS = ("skua", "tokio", "go", "asio", "epoll")
PEERS = ("tokio", "go", "libuv", "asio", "epoll")
RIVALS = ("tokio", "go", "asio")  # with several workers, as we have
LIMIT = "epoll"
ONE_THREAD = ("libuv", "epoll")

STOP_SECONDS = 5
LOAD_SECONDS = 30  # what net-load may take besides its window; it ends itself long before
DESCRIPTORS = 20000

# The heavy requests of mix keep half of one processor busy: rate * share * 5 ms = 0.5. Of the light
# ones there are more than 1000 in 0.6 s, so that their 99th percentile is not chance.
MIX_SHARE, MIX_USEC = 5, 5000
MIX_RATE = round(0.5 / (MIX_SHARE / 100 * MIX_USEC / 1e6))
MIX_SECONDS = 0.6
RATE_SHARE = 0.6  # of what the slowest server can do: that is no overload for anybody

WORKERS_ON_STUCK = 2


class Plan:
    """How much is measured."""

    def __init__(self, arguments):
        self.quick = quick = arguments.quick
        self.workers = arguments.workers
        self.rounds = arguments.rounds or (3 if quick else 5)
        self.seconds = arguments.seconds or (0.25 if quick else 1.2)
        self.warm_up = 0.1 if quick else 0.3
        self.idle = 4000 if quick else 15000
        # The worker has to be stuck until the end of the window.
        self.stuck_usec = 1_500_000 if quick else 3_000_000
        self.stuck_seconds = 0.8 if quick else 2.5
        self.spin = None


# ---- What is measured ----


class Row:
    """A kind of load, and what each server has shown under it."""

    def __init__(self, name, *load, serve="http", lean=False, quick=True, without=()):
        self.name = name
        self.load = load  # options of net-load
        self.serve = serve
        self.lean = lean
        self.quick = quick
        self.without = without  # servers
        # With a rate that is given, or with computing in the background, not all figures compare.
        self.rate_counts = name not in ("rate_64", "mix")
        self.cpu_counts = name != "stuck"
        self.samples = {}  # server -> list of {field: value}, one for each round

    def values(self, server, field):
        values = [sample.get(field) for sample in self.samples.get(server, ())]
        return [value for value in values if value is not None]

    def median(self, server, field):
        values = self.values(server, field)
        return statistics.median(values) if values else None

    def counts(self, field):
        return {"rate": self.rate_counts, "cpu_ns": self.cpu_counts}.get(field, True)

    def ratio(self, ours, peer, field):
        """None where it would mean nothing."""
        a, b = self.median(ours, field), self.median(peer, field)
        return a / b if self.counts(field) and a and b else None

    def ratios(self, ours, peer, field):
        """Of the pairs of samples taken in the same round."""
        pairs = zip(self.values(ours, field), self.values(peer, field))
        return [a / b for a, b in pairs if b]

    def best(self, peers, field):
        """The peer that is best at something, None without any."""
        found = {peer: self.median(peer, field) for peer in peers}
        found = {peer: value for peer, value in found.items() if value}
        if not found:
            return None
        return (max if field == "rate" else min)(found, key=found.get)


def make_rows(plan):
    hello = [
        Row(f"hello_{n}", f"--connections={n}", quick=n not in (16, 256))
        for n in (1, 16, 64, 256, 1024)
    ]
    echo = [
        Row(f"echo_{name}", "--kind=echo", f"--size={size}", "--connections=64", serve="echo", quick=quick)
        for name, size, quick in (("64B", 64, False), ("4K", 4096, True), ("64K", 65536, True))
    ]
    compute = [
        Row(f"compute_{n}", f"--path=/compute/{n}", "--connections=64", quick=n == 20)
        for n in (5, 20, 100)
    ]
    return [
        *hello,
        Row("pipeline_64", "--pipeline=16", "--connections=64"),
        *echo,
        Row("churn", "--churn", "--path=/close", "--connections=32"),
        *compute,
        Row("rate_64", "--connections=64"),
        Row(
            "mix",
            "--connections=64",
            f"--rate={MIX_RATE}",
            f"--slow-path=/compute/{MIX_USEC}",
            f"--slow-share={MIX_SHARE}",
        ),
        Row("idle", f"--idle={plan.idle}", "--connections=64", lean=True),
        Row(
            "stuck",
            f"--stuck-path=/compute/{plan.stuck_usec}",
            "--connections=16",
            without=ONE_THREAD,  # which do nothing else meanwhile
        ),
    ]


def selected(name, pattern):
    if not re.search(r"[*?[]", pattern):
        return pattern in name
    return fnmatch.fnmatchcase(name, pattern)


def chosen_rows(plan, pattern):
    rows = make_rows(plan)
    if pattern is None:
        return [row for row in rows if row.quick or not plan.quick]
    chosen = [row for row in rows if selected(row.name, pattern)]
    if any(row.name == "rate_64" for row in chosen):
        # Whose results say what the rate is.
        chosen = [row for row in rows if row in chosen or row.name == "hello_64"]
    return chosen


def load_options(row, rows, plan):
    """The options of net-load for a row."""
    seconds = plan.seconds
    options = list(row.load)
    if row.name == "rate_64":
        hello = next(other for other in rows if other.name == "hello_64")
        rates = [hello.median(server, "rate") for server in hello.samples]
        if not any(rates):
            raise Failure("there is no rate of hello_64")
        options.append(f"--rate={round(RATE_SHARE * min(rate for rate in rates if rate))}")
    elif row.name == "mix":
        seconds = max(seconds, MIX_SECONDS)
    elif row.name == "stuck":
        seconds = plan.stuck_seconds
    return [*options, f"--seconds={seconds}", f"--warm-up={plan.warm_up}"]


# ---- Servers ----


class Server:
    """One of those that are compared: a program and an environment."""

    def __init__(self, name, program, environment):
        self.name = name
        self.program = program
        self.environment = dict(os.environ, **environment)
        about = subprocess.run(
            [program, "net", "--about"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=listening.START_SECONDS,
            check=False,
        )
        try:
            found = json.loads(about.stdout)
            self.version, self.language = found["version"], found["language"]
        except (ValueError, KeyError, TypeError) as error:
            lines = about.stderr.strip().splitlines() or ["it does not say what it is"]
            raise Failure(lines[0]) from error

    def command(self, row, plan):
        workers = WORKERS_ON_STUCK if row.name == "stuck" else plan.workers
        command = [self.program, "net", f"--serve={row.serve}", f"--workers={workers}"]
        command.append(f"--spin={plan.spin}")
        return command + (["--lean"] if row.lean else [])


class Running:
    """A server's process. It ends when its standard input does, and so if we die."""

    def __init__(self, command, environment):
        self.errors = tempfile.TemporaryFile()
        self.process = None
        try:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
            )
            self.port = listening.port_of(self.process)
        except listening.Silent as silent:
            self.kill_process()
            complaint = self.complaint() or str(silent)
            self.kill()
            raise Failure(complaint) from silent
        except OSError as error:
            self.kill()
            raise Failure(str(error)) from error
        except BaseException:
            self.kill()
            raise

    def complaint(self):
        """The first line it wrote to its standard error."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[0] if lines else None

    def stop(self):
        """Asks for the end by SIGTERM, and checks that it comes."""
        gone = self.process.poll()
        if gone is not None:
            raise Failure(f"ended by itself with {gone}: {self.complaint() or 'it said nothing'}")
        self.process.terminate()
        self.wait()

    def wait(self):
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"has not ended in {STOP_SECONDS} s") from error
        if code != 0:
            raise Failure(f"exit code {code} at its end: {self.complaint() or 'it said nothing'}")

    def kill_process(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def kill(self):
        self.kill_process()
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
        if not self.errors.closed:
            self.errors.close()


def find_servers(arguments, plan):
    """Those that can be started. Prints a line for each that cannot, and why."""
    jemalloc = comparison.jemalloc_of(arguments.ours)
    shared = jemalloc is not None and arguments.allocator == "same"
    servers, absent = [], {}
    trial = Row("trial")
    for name in arguments.servers:
        whose, environment = SERVERS[name]
        program = getattr(arguments, whose)
        if not program or not os.access(program, os.X_OK):
            absent[name] = "it has not been built"
            continue
        if shared and whose not in ("ours", "go"):
            environment = dict(environment, LD_PRELOAD=jemalloc)
        running = None
        try:
            server = Server(name, program, environment)
            running = Running(server.command(trial, plan), server.environment)
            running.stop()
            said = running.complaint()
            # The library says so of a variable that it does not know.
            if said and "has no effect" in said:
                raise Failure(said)
            servers.append(server)
        except (Failure, OSError, subprocess.TimeoutExpired) as failure:
            absent[name] = str(failure)
        finally:
            if running:
                running.kill()
    for name, why in absent.items():
        print(f"without {name}: {why}")
    allocator = f"skua: {'jemalloc' if jemalloc else 'that of libc'}"
    allocator += f"; others but go: {'the same, preloaded' if shared else 'that of libc'}"
    return servers, absent, allocator


# ---- One run ----


def run_load(program, port, options, seconds):
    """What net-load says after so many seconds. It fails if there was any error."""
    command = [program, f"--port={port}", *options]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=LOAD_SECONDS + seconds)
        except subprocess.TimeoutExpired as error:
            raise Failure("net-load does not end") from error
        finally:
            if process.poll() is None:
                process.kill()
    if process.returncode != 0:
        said = (errors.strip().splitlines() or ["net-load said nothing"])[0]
        count = re.search(r'"errors": (\d+)', output)
        raise Failure(f"{count[1]} errors: {said}" if count else said)
    return json.loads(output)


def own_sample(program, running, options, seconds):
    options = [*options, f"--server-pid={running.process.pid}"]
    found = run_load(program, running.port, options, seconds)
    light, slow, server = found["latency_us"], found["slow_latency_us"], found["server"]
    return {
        "rate": found["per_second"],
        "p50": light["p50"],
        "p99": light["p99"],
        "p999": light["p99.9"],
        "max": light["max"],
        "cpu_ns": server["cpu_ns_per_request"],
        "switches": server["switches_per_request"],
        "slow_p50": slow["p50"] if slow else None,
        "slow_p99": slow["p99"] if slow else None,
        "idle_bytes": server["bytes_per_idle"],
        # Of one processor, in percent: near to 100 the generator is what is measured.
        "generator": found["client_cpu_ns_per_request"] * found["per_second"] / 1e7,
        "lateness": found["worst_lateness_us"],
        "latencies": found["latencies"],
    }


def usage_of(pid):
    """CPU time in ns and context switches of a process."""
    switches = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            counts = re.findall(r"^\w*voluntary_ctxt_switches:\s+(\d+)", file.read(), re.MULTILINE)
        switches += sum(map(int, counts))
    # What clock_getcpuclockid returns on Linux.
    return time.clock_gettime_ns((~pid << 3) | 2), switches


def wrk_sample(running, connections, seconds):
    pid = running.process.pid
    before = usage_of(pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    try:
        run = subprocess.run(
            [*command, f"http://127.0.0.1:{running.port}/"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=LOAD_SECONDS + seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure("wrk does not end") from error
    after = usage_of(pid)
    result, errors = wrk.result_of(run.stdout)
    if result is None or errors:
        raise Failure(f"wrk: {errors} errors")
    return {
        "rate": result["rate"],
        "p50": result["p50"],
        "p99": result["p99"],
        "cpu_ns": (after[0] - before[0]) / result["requests"],
        "switches": (after[1] - before[1]) / result["requests"],
    }


def sample(server, row, options, plan, arguments):
    running = Running(server.command(row, plan), server.environment)
    try:
        if arguments.generator == "wrk" and row.name.startswith("hello"):
            connections = int(row.name.split("_")[1])
            found = wrk_sample(running, connections, plan.seconds)
        else:
            found = own_sample(arguments.load, running, options, plan.seconds)
        running.stop()
        return found
    finally:
        running.kill()


def measure(servers, rows, plan, arguments):
    """Fills the rows in. Returns what went wrong, a line for each."""
    failures = []
    for number, row in enumerate(rows):
        left = [server for server in servers if server.name not in row.without]
        try:
            options = load_options(row, rows, plan)
        except Failure as failure:
            failures.append(f"{row.name}: {failure}")
            continue
        row.load = [option for option in options if not option.startswith("--seconds")]
        for turn in range(plan.rounds):
            # Each round the other way about: nobody always comes after the same.
            for server in left[:: 1 if turn % 2 == 0 else -1]:
                progress(f"{number + 1} of {len(rows)}: {row.name}, round {turn + 1}, {server.name}")
                try:
                    found = sample(server, row, options, plan, arguments)
                    row.samples.setdefault(server.name, []).append(found)
                except (Failure, OSError, ValueError, KeyError) as failure:
                    failures.append(f"{row.name}: {server.name}: {failure}")
                    left.remove(server)
    progress("")
    return failures


# ---- System calls ----

STRACED = ("hello_1", "hello_64", "churn")


def traced(server, row, seconds, plan, arguments):
    """Runs a server under strace. Returns its calls, name -> count, and the requests it answered."""
    options = [*make_load_of(row), f"--seconds={seconds}", "--warm-up=0"]
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as counts:
        strace = ["strace", "-f", "-qq", "-c", "-o", counts.name]
        running = Running(strace + server.command(row, plan), server.environment)
        try:
            found = run_load(arguments.load, running.port, options, seconds)
            # strace passes this on by not reading it itself; SIGTERM would be for strace.
            running.process.stdin.close()
            running.wait()
        finally:
            running.kill()
        calls = {}
        for line in counts:
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                calls[words[-1]] = calls.get(words[-1], 0) + int(words[3])
    return calls, found["requests"]


def make_load_of(row):
    return [option for option in row.load if not option.startswith(("--seconds", "--warm-up"))]


def count_calls(servers, rows, plan, arguments):
    """Row -> server -> name of a system call -> count for each request; and what went wrong.

    A long run less a short one: what the start and the connections take is in both.
    """
    found, failures = {}, []
    for row in rows:
        for server in servers if row.name in STRACED else ():
            progress(f"system calls: {row.name}, {server.name}")
            try:
                few, some = traced(server, row, 0.1, plan, arguments)
                many, more = traced(server, row, 0.5, plan, arguments)
                requests = max(more - some, 1)
                counts = {name: (many[name] - few.get(name, 0)) / requests for name in many}
                counts = {name: count for name, count in counts.items() if count >= 0.005}
                found.setdefault(row.name, {})[server.name] = counts
            except (Failure, OSError, ValueError, KeyError) as failure:
                failures.append(f"system calls: {row.name}: {server.name}: {failure}")
    progress("")
    return found, failures


def show_calls(found):
    lines = []
    for row, servers in found.items():
        for server, counts in servers.items():
            main = sorted(counts.items(), key=lambda item: -item[1])[:6]
            text = ", ".join(f"{name} {count:.2f}" for name, count in main)
            lines.append([row, server, f"{sum(counts.values()):.2f}", text])
    if lines:
        print()
        widths = [max(len(line[i]) for line in lines) for i in range(2)]
        print("system calls for each request")
        for row, server, total, text in lines:
            print(f"{row:<{widths[0]}}  {server:<{widths[1]}}  {total:>6}  {text}")


# ---- Showing ----


def figure(value, digits=0):
    return "-" if value is None else f"{value:.{digits}f}"


def show_figures(rows, servers):
    head = ["row", "server", "req/s", "p50 us", "p99 us", "p99.9 us", "CPU ns/req", "switches/req"]
    lines = []
    for row in rows:
        name = row.name
        for server in servers:
            if server.name not in row.samples:
                continue
            line = [name, server.name, comparison.median_text(row.values(server.name, "rate"))]
            line += [figure(row.median(server.name, field)) for field in ("p50", "p99", "p999")]
            line.append(comparison.median_text(row.values(server.name, "cpu_ns")))
            line.append(figure(row.median(server.name, "switches"), 3))
            generator = row.median(server.name, "generator")
            line.append("-" if generator is None else f"{generator:.0f}%")
            lines.append(line)
            name = ""  # the rest belongs to the same row
    # The names of the servers to the left, too.
    width = max([len(line[1]) for line in lines], default=0)
    for line in lines:
        line[1] = line[1].ljust(width)
    if lines:
        table([*head, "generator"], lines)


# What only some rows have: row, field, title, digits.
BESIDES = (
    ("mix", "slow_p50", "mix: median of the heavy requests, us", 0),
    ("mix", "slow_p99", "mix: p99 of the heavy requests, us", 0),
    ("mix", "lateness", "mix: latest request of the generator, us", 0),
    ("rate_64", "lateness", "rate_64: latest request of the generator, us", 0),
    ("idle", "idle_bytes", "idle: bytes of an idle connection", 0),
    ("stuck", "max", "stuck: worst latency, us", 0),
)


def show_besides(rows, servers):
    lines = []
    for row in rows:
        for name, field, title, digits in BESIDES:
            values = [row.median(server.name, field) for server in servers]
            if row.name == name and any(value is not None for value in values):
                lines.append([title, *(figure(value, digits) for value in values)])
    if lines:
        print()
        table(["besides", *(server.name for server in servers)], lines)


def show_ratios(rows, ours, names):
    rivals = [name for name in RIVALS if name in names]
    first = rivals[0] if rivals else None
    if first is None and LIMIT not in names:
        return
    head = [f"{ours} to"]
    if first:
        head += [f"{first}: req/s (spread)", "CPU (spread)", "p99", "best: req/s", "of", "CPU", "of"]
    if LIMIT in names:
        head += [f"{LIMIT}: req/s", "CPU"]
    lines = []
    for row in rows:
        if ours not in row.samples:
            continue
        line = [row.name]
        if first:
            for field in ("rate", "cpu_ns"):
                pairs = row.ratios(ours, first, field)
                line.append(ratio_text(row.ratio(ours, first, field), pairs))
            line.append(ratio_text(row.ratio(ours, first, "p99")))
            for field in ("rate", "cpu_ns"):
                best = row.best(rivals, field) if row.counts(field) else None
                line += [ratio_text(row.ratio(ours, best, field) if best else None), best or "-"]
        if LIMIT in names:
            line += [ratio_text(row.ratio(ours, LIMIT, field)) for field in ("rate", "cpu_ns")]
        lines.append(line)
    if lines:
        print()
        table(head, lines)


def summary(rows, ours, peer):
    """Geometric means of the ratios to a peer, and the worst of req/s. None without any."""
    rates = [(row.ratio(ours, peer, "rate"), row.name) for row in rows]
    rates = [(ratio, name) for ratio, name in rates if ratio is not None]
    cpu = [row.ratio(ours, peer, "cpu_ns") for row in rows]
    cpu = [ratio for ratio in cpu if ratio is not None]
    tails = [ratio for row in rows if (ratio := row.ratio(ours, peer, "p99")) is not None]
    if not rates or not cpu:
        return None
    worst, name = min(rates)
    return {
        "rate": comparison.geometric_mean(ratio for ratio, _ in rates),
        "cpu": comparison.geometric_mean(cpu),
        "p99": comparison.geometric_mean(tails) if tails else None,
        "worst": worst,
        "name": name,
    }


def summaries(rows, names):
    """Each of ours to each of the others: ours -> peer -> summary."""
    return {
        ours: {
            peer: found
            for peer in names
            if peer in PEERS and (found := summary(rows, ours, peer)) is not None
        }
        for ours in names
        if ours not in PEERS
    }


def show_means(found):
    for ours, peers in found.items():
        for peer, each in peers.items():
            tail = f", p99 {each['p99']:.2f}" if each["p99"] else ""
            print(
                f"{ours} to {peer}: req/s geomean {each['rate']:.2f}, CPU/req {each['cpu']:.2f}{tail};"
                f" worst req/s {each['worst']:.2f} ({each['name']})"
            )


def closing_line(found, ours, servers):
    """What was found, in a line, and whether anything was compared."""
    for server in servers:
        each = found.get(ours, {}).get(server.name)
        if server.name in RIVALS and each:
            return (
                f"compare net: req/s geomean {each['rate']:.2f}, CPU/req geomean {each['cpu']:.2f}"
                f" vs {server.name} {server.version}; worst {each['worst']:.2f} ({each['name']})"
            ), True
    return "compare net: there was nothing to compare with", False


def chart_of(rows, ours, peer, about, workers):
    panels = (
        ("rate", "Requests per second", "to the right of 1 is better"),
        ("cpu_ns", "CPU time of a request", "to the left of 1 is better"),
        ("p99", "99th percentile of latency", "to the left of 1 is better"),
    )
    charts = []
    for field, title, better in panels:
        bars = []
        for row in rows:
            ratio = row.ratio(ours.name, peer.name, field)
            if ratio is not None:
                pairs = row.ratios(ours.name, peer.name, field)
                bars.append((row.name, ratio, min(pairs), max(pairs)))
        title = f"{title}: {ours.name} {ours.version} by {peer.name} {peer.version}"
        subtitle = f"{workers} workers; {about['cpus']} CPUs, {about['model']}; {better}"
        charts.append(ratio_chart.draw(title, subtitle, bars, more_is_better=field == "rate"))
    return ratio_chart.stack(charts)


def row_document(row, ours):
    fields = list(dict.fromkeys(f for found in row.samples.values() for one in found for f in one))

    def each(make):
        return {
            server: {f: make(values) for f in fields if (values := row.values(server, f))}
            for server in row.samples
        }

    def ratios(peer):
        return {field: row.ratio(ours, peer, field) for field in ("rate", "cpu_ns", "p99")}

    return {
        "name": row.name,
        "servers": list(row.samples),
        "load": list(row.load),
        "medians": each(statistics.median),
        "spreads_percent": each(comparison.spread),
        "samples": row.samples,
        "ratios": {peer: ratios(peer) for peer in row.samples if peer in PEERS},
        "best": {
            field: row.best([r for r in RIVALS if r in row.samples], field) for field in ("rate", "cpu_ns")
        },
    }


# ---- The command line ----


def server_list(text):
    names = [name.strip().replace("-", " ") for name in text.split(",")]
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no server {unknown[0]!r}; there are {', '.join(SERVERS)}")
    return [name for name in SERVERS if name in names]


def number(least, most, kind):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected a number from {least} to {most}")
        return value

    return read


def read_arguments():
    parser = argparse.ArgumentParser(prog="compare", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--ours", required=True, help="path of skua-bench")
    parser.add_argument("--load", required=True, help="path of net-load")
    for peer in PEERS:
        parser.add_argument(f"--{peer}", help=f"path of the program of {peer}, which may be missing")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--servers", type=server_list)
    parser.add_argument("--filter")
    parser.add_argument("--workers", type=number(1, 512, int), default=2)
    parser.add_argument("--seconds", type=number(0.05, 60, float))
    parser.add_argument("--rounds", type=number(1, 100, int))
    parser.add_argument("--generator", choices=["own", "wrk"], default="own")
    parser.add_argument("--allocator", choices=["same", "own"], default="same")
    parser.add_argument("--syscalls", action="store_true")
    parser.add_argument("--json", default="compare-net.json")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    if arguments.servers is None:
        arguments.servers = list(QUICK_SERVERS if arguments.quick else SERVERS)
    return arguments


def calibrate(load):
    run = subprocess.run([load, "--calibrate"], stdout=subprocess.PIPE, text=True, check=True, timeout=10)
    return int(run.stdout)


def raise_descriptor_limit():
    """For the servers, too, which inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS and (hard == resource.RLIM_INFINITY or hard > soft):
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main():
    arguments = read_arguments()
    # So that whatever ends us ends what we have started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    about = comparison.machine()
    plan = Plan(arguments)
    rows = chosen_rows(plan, arguments.filter)
    if not rows:
        print(f"compare: no row matches {arguments.filter}", file=sys.stderr)
        return 2
    if arguments.generator == "wrk" and not shutil.which("wrk"):
        print("compare: there is no wrk", file=sys.stderr)
        return 2
    raise_descriptor_limit()
    plan.spin = calibrate(arguments.load)
    servers, absent, allocator = find_servers(arguments, plan)
    names = [server.name for server in servers]
    ours = next((server for server in servers if server.name not in PEERS), None)
    if ours is None:
        print("compare net: there was nothing to compare with")
        return 1

    failures = measure(servers, rows, plan, arguments)
    calls = {}
    if arguments.syscalls and not shutil.which("strace"):
        failures.append("system calls: there is no strace")
    elif arguments.syscalls or (not plan.quick and shutil.which("strace")):
        calls, more = count_calls(servers, rows, plan, arguments)
        failures += more

    for server in servers:
        print(f"{server.name} {server.version}, {server.language}")
    print(comparison.machine_text(about))
    print(f"allocator: {allocator}")
    print(f"{plan.workers} workers, {plan.rounds} rounds, {plan.spin} rounds of computing in 1 us\n")
    show_figures(rows, servers)
    show_besides(rows, servers)
    show_ratios(rows, ours.name, names)
    show_calls(calls)
    print()
    found = summaries(rows, names)
    show_means(found)
    for failure in failures:
        print(f"failed: {failure}")
    line, compared = closing_line(found, ours.name, servers)
    comparison.write_json(
        arguments.json,
        {
            "machine": about,
            "allocator": allocator,
            "workers": plan.workers,
            "rounds": plan.rounds,
            "spin": plan.spin,
            "servers": [
                {"name": s.name, "version": s.version, "language": s.language} for s in servers
            ],
            "absent": absent,
            "rows": [row_document(row, ours.name) for row in rows],
            "syscalls": calls,
            "summaries": found,
            "failures": failures,
        },
    )
    print(f"{time.monotonic() - begun:.0f} s; all samples are in {arguments.json}")
    if arguments.save and compared:
        peer = next(server for server in servers if server.name in RIVALS)
        comparison.write_chart(CHART, chart_of(rows, ours, peer, about, plan.workers))
        print(f"the charts are in {CHART}")
    print(line)
    return 0 if compared and not failures else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
