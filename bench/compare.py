#!/usr/bin/env python3
"""Compares Skua with its peers: skua-bench and the programs of bench/peers, turn by turn.

All programs have the same command line and write the same JSON (bench/peers/README.md). For each
workload and number of workers they run one after the other, several rounds, each time in a new
process: what disturbs the machine for a while disturbs all of them. A ratio is Skua's median by the
peer's, so that less than 1 is good; its spread is that of the pairs of samples taken in turn.

Usage: ./dev compare engine|time [OPTION]...
Exits with 1 if a program failed, or if there was nothing to compare with.
"""

import argparse
import fnmatch
import json
import os
import re
import statistics
import subprocess
import sys
import time

import comparison
import ratio_chart
from comparison import Failure, progress, ratio_text, spread, table

# What is compared together, by the families of workloads in it.
COMPARISONS = {"engine": ("engine",), "time": ("time", "scope")}
OURS = "skua"
PEERS = ("tokio", "go")
RUN_SECONDS = 40  # how long one run of one program may take,
GAME_SECONDS = 5  # and one of fairness, which takes less than one or stands still (docs/benchmarks.md)
LEAST_SAMPLES = 5  # behind every median

MEMORY, IDLE, LIVE = "engine/memory", "engine/idle", "time/live"

# Workloads that have a runtime with one worker, whatever is asked for.
ONE_WORKER = ("engine/spawn", "engine/spawn10")
# These always run at one number of workers only, and with --quick the long ones as well.
ALONE = (MEMORY, LIVE)
LONG = (
    "engine/skynet",
    "engine/spawn_blocking_*",
    IDLE,
    "time/insert_cancel",
    "scope/join",
    "scope/results",
    "scope/select_64",
    "scope/select_biased_*",
    "scope/select_timers_*",
)
# Figures that are not the time of an operation, and what they are. They count in no mean.
VALUES = {
    "bytes": "bytes per parked task",
    "worst_ns": "ns until a new task starts, at worst",
    "worst_polls": "polls of others until a new task starts, at worst",
    "late_p50_ns": "ns after its deadline that a timer fires, half of them",
    "late_p99_ns": "ns after its deadline that a timer fires, 99 %",
    "cpu_ns_per_s": "ns of CPU time in a second",
}
# What ours must not exceed, whatever the peers show: workload and figure -> limit.
LIMITS = {(LIVE, "late_p99_ns"): 1_500_000}


# ---- Running ----


class Program:
    """One of the programs that are compared."""

    def __init__(self, name, path, families, environment=None):
        self.name = name
        self.path = path
        self.environment = dict(os.environ, **(environment or {}))
        self.version = self.language = "?"
        self.names = [n for family in families for n in self.output(family, "--list").split()]
        self.has_quick = "--quick" in self.output(families[0], "--help")

    def output(self, *arguments):
        return self.ended(self.start(*arguments))

    def start(self, *arguments):
        try:
            return subprocess.Popen(
                [self.path, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise Failure(f"{self.name}: {error}") from error

    def ended(self, process):
        # The name comes as a glob that fits it alone: engine/[f]airness.
        limit = GAME_SECONDS if "[f]airness" in " ".join(process.args) else RUN_SECONDS
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name}: not done in {limit} s") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode != 0:
            lines = errors.strip().splitlines() or ["it said nothing"]
            raise Failure(f"{self.name}: exit code {process.returncode}: {lines[0]}")
        return output

    def start_workload(self, name, workers, plan):
        # With a bracket in it, it is a pattern for every program, and fits this name only.
        family, short = name.split("/", 1)
        arguments = [family, "--filter", f"{family}/[{short[0]}]{short[1:]}"]
        arguments += ["--workers", str(workers)]
        arguments += ["--samples", str(plan.samples_of(name)), "--min-ms", str(plan.min_ms)]
        arguments += ["--json", "-"]
        if plan.quick and self.has_quick:
            arguments.append("--quick")
        return self.start(*arguments)

    def result(self, process, name):
        """The samples of a workload: field -> list. None if the program has skipped it."""
        try:
            report = json.loads(self.ended(process))
            self.version, self.language = report["version"], report["language"]
            if any(skipped["name"] == name for skipped in report.get("skipped", ())):
                return None
            found = [result for result in report["results"] if result["name"] == name]
            if len(found) != 1:
                raise Failure(f"{self.name}: {len(found)} results of this name")
            return samples_of(found[0])
        except (ValueError, KeyError, TypeError) as error:
            raise Failure(f"{self.name}: not the JSON that was expected: {error!r}") from error


def samples_of(result):
    samples = result.get("samples", [result])
    fields = [field for field in VALUES if field in samples[0]] or ["ns", "cpu_ns", "switches"]
    return {field: [float(sample[field]) for sample in samples] for field in fields}


class Plan:
    """How much is measured."""

    def __init__(self, quick, workers):
        self.quick = quick
        self.workers = workers
        # Together at least LEAST_SAMPLES.
        self.rounds = 2 if quick else 3
        self.samples = 3 if quick else 2
        self.min_ms = 15 if quick else 50

    def worker_counts(self, name):
        if name in ONE_WORKER:
            return [1]
        long = any(fnmatch.fnmatchcase(name, pattern) for pattern in LONG)
        if name in ALONE or (self.quick and long):
            cpus = len(os.sched_getaffinity(0))
            return [cpus if cpus in self.workers else self.workers[0]]
        return self.workers

    def rounds_of(self, name):
        """Of memory, only the first measurement of a process is true."""
        return LEAST_SAMPLES if name == MEMORY else self.rounds

    def samples_of(self, name):
        """In each round; idle has only one round."""
        return {MEMORY: 1, IDLE: LEAST_SAMPLES}.get(name, self.samples)


class Row:
    """A workload at a number of workers: what each program has shown."""

    def __init__(self, name, workers):
        self.name = name
        self.workers = workers
        self.samples = {}  # program -> field -> list

    def __str__(self):
        return f"{self.name} at {self.workers} worker{'s' if self.workers != 1 else ''}"

    def add(self, program, samples):
        kept = self.samples.setdefault(program, {})
        for field, values in samples.items():
            kept.setdefault(field, []).extend(values)

    def fields(self):
        """What has been measured; nothing if nobody has shown anything."""
        return next((list(samples) for samples in self.samples.values()), [])

    def field(self):
        """What is compared first, and None if there is nothing."""
        return next(iter(self.fields()), None)

    def is_timed(self):
        """Whether its ratio is one of times of an operation, and counts in the mean."""
        return self.field() == "ns"

    def median(self, program, field=None):
        values = self.samples.get(program, {}).get(field or self.field())
        return statistics.median(values) if values else None

    def each(self, figure):
        """A figure of each list of samples: program -> field -> figure."""
        return {
            program: {field: figure(values) for field, values in samples.items()}
            for program, samples in self.samples.items()
        }

    def ratio(self, peer, field=None):
        ours, theirs = self.median(OURS, field), self.median(peer, field)
        return ours / theirs if ours is not None and theirs else None

    def ratios(self, peer):
        """Of the pairs of samples that were taken in turn."""
        ours = self.samples.get(OURS, {}).get("ns", ())
        theirs = self.samples.get(peer, {}).get("ns", ())
        return [a / b for a, b in zip(ours, theirs) if b]


def measure(programs, rows, plan):
    """Fills the rows in. Returns what went wrong, a line for each."""
    failures = []

    def shown(program, process, row):
        try:
            samples = program.result(process, row.name)
        except Failure as failure:
            failures.append(f"{row}: {failure}")
            return False
        if samples is not None:
            row.add(program.name, samples)
        return samples is not None

    for number, row in enumerate(rows):
        if row.name == IDLE:
            continue
        left = [program for program in programs if row.name in program.names]
        for turn in range(plan.rounds_of(row.name)):
            # Each round the other way about: nobody always comes after the same.
            for program in left[:: 1 if turn % 2 == 0 else -1]:
                progress(f"{number + 1} of {len(rows)}: {row}, round {turn + 1}, {program.name}")
                process = program.start_workload(row.name, row.workers, plan)
                if not shown(program, process, row):
                    left.remove(program)
    # These do nothing, so they may do it at the same time.
    progress(IDLE)
    idle = [
        (program, program.start_workload(row.name, row.workers, plan), row)
        for row in rows
        if row.name == IDLE
        for program in programs
        if row.name in program.names
    ]
    for program, process, row in idle:
        shown(program, process, row)
    progress("")
    return failures


# ---- Showing ----


def short(name):
    return name.split("/", 1)[1]


def median_cell(row, program, field="ns"):
    return comparison.median_text(row.samples.get(program, {}).get(field))


def ratio_with_spread(row, peer):
    ratios = row.ratios(peer)
    return ratio_text(row.ratio(peer), ratios) if ratios else "-"


def show(programs, rows):
    names = [program.name for program in programs]
    peers = names[1:]
    head = ["ns per operation", "workers", *names]
    for peer in peers:
        head += [f"to {peer} (spread)", "CPU"]
    lines = []
    for row in rows:
        if row.is_timed():
            line = [short(row.name), str(row.workers)]
            line += [median_cell(row, name) for name in names]
            for peer in peers:
                line += [ratio_with_spread(row, peer), ratio_text(row.ratio(peer, "cpu_ns"))]
            lines.append(line)
    if lines:
        table(head, lines)
    lines = []
    for row in rows:
        for field in row.fields():
            if field in VALUES:
                line = [f"{short(row.name)}: {VALUES[field]}", str(row.workers)]
                line += [median_cell(row, name, field) for name in names]
                line += [ratio_text(row.ratio(peer, field)) for peer in peers]
                lines.append(line)
    if lines:
        print()
        table(["not in the mean", "workers", *names, *(f"to {peer}" for peer in peers)], lines)


def summary(rows, peer):
    """The geometric mean of the ratios of time, the worst one, and its row; None without any."""
    compared = [(row.ratio(peer), row) for row in rows if row.is_timed()]
    compared = [(ratio, row) for ratio, row in compared if ratio is not None]
    if not compared:
        return None
    mean = comparison.geometric_mean(ratio for ratio, _ in compared)
    worst, row = max(compared, key=lambda pair: pair[0])
    return {"geomean": mean, "worst": worst, "name": row.name, "workers": row.workers}


def closing_line(what, programs, rows):
    """What was found, in a line, and whether anything was compared."""
    for program in programs[1:]:
        found = summary(rows, program.name)
        if found:
            where = str(Row(short(found["name"]), found["workers"]))
            return (
                f"compare {what}: geomean {found['geomean']:.2f}, worst {found['worst']:.2f}"
                f" ({where}) vs {program.name} {program.version}"
            ), True
    return f"compare {what}: there was nothing to compare with", False


def middle_lines(programs, rows):
    """The median ratio to each peer: a few rows that are far off move the mean, but not this."""
    for program in programs[1:]:
        ratios = [row.ratio(program.name) for row in rows if row.is_timed()]
        if ratios := [ratio for ratio in ratios if ratio]:
            yield f"median ratio to {program.name}: {statistics.median(ratios):.2f}"


def limit_lines(rows):
    """What ours must not exceed, and whether it did."""
    for row in rows:
        for field in row.fields():
            limit, value = LIMITS.get((row.name, field)), row.median(OURS, field)
            if limit is not None and value is not None:
                verdict = "kept" if value <= limit else "EXCEEDED"
                yield f"limit: {row}: {field} {value:.0f}, at most {limit}: {verdict}"


def write_json(path, programs, rows, about, failures, allocator):
    document = {
        "machine": about,
        "allocator": allocator,
        "programs": [
            {"name": p.name, "version": p.version, "language": p.language} for p in programs
        ],
        "rows": [
            {
                "name": row.name,
                "workers": row.workers,
                "medians": row.each(statistics.median),
                "spreads_percent": row.each(spread),
                "samples": row.samples,
                "ratios": {p.name: row.ratio(p.name) for p in programs[1:]},
            }
            for row in rows
        ],
        "summaries": {p.name: summary(rows, p.name) for p in programs[1:]},
        "failures": failures,
    }
    comparison.write_json(path, document)


def write_chart(path, programs, rows, about):
    peer = programs[1]
    bars = []
    for row in rows:
        if row.is_timed() and row.ratio(peer.name):
            ratios = row.ratios(peer.name)
            label = f"{short(row.name)}, {row.workers}"
            bars.append((label, row.ratio(peer.name), min(ratios), max(ratios)))
    versions = [f"{program.name} {program.version}" for program in programs[:2]]
    title = f"Time per operation: {versions[0]} by {versions[1]}"
    subtitle = f"workload, workers; {about['cpus']} CPUs, {about['model']}; to the left of 1 is faster"
    comparison.write_chart(path, ratio_chart.draw(title, subtitle, bars))


# ---- The command line ----


def selected(name, pattern):
    if pattern is None:
        return True
    if not re.search(r"[*?[]", pattern):
        return pattern in name
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(short(name), pattern)


def read_arguments():
    parser = argparse.ArgumentParser(prog="compare", description=__doc__.split("\n", 1)[0])
    parser.add_argument("family", choices=COMPARISONS)
    parser.add_argument("--ours", required=True, help="path of skua-bench")
    for peer in PEERS:
        parser.add_argument(f"--{peer}", help=f"path of the program of {peer}, which may be missing")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=comparison.worker_list, default=[1, 2, 4])
    parser.add_argument("--filter")
    parser.add_argument("--allocator", choices=["same", "own"], default="same")
    parser.add_argument("--json")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    arguments.json = arguments.json or f"compare-{arguments.family}.json"
    return arguments


def programs_of(arguments):
    """Ours and the peers that there are, and what is to be said about allocators."""
    families = COMPARISONS[arguments.family]
    ours = Program(OURS, arguments.ours, families)
    programs = [ours]
    jemalloc = comparison.jemalloc_of(arguments.ours)
    shared = arguments.allocator == "same" and jemalloc is not None
    for peer in PEERS:
        path = getattr(arguments, peer)
        if path and os.access(path, os.X_OK):
            preload = {"LD_PRELOAD": jemalloc} if shared and peer == "tokio" else None
            programs.append(Program(peer, path, families, preload))
        else:
            print(f"without {peer}: it has not been built")
    allocator = f"{OURS}: {'jemalloc' if jemalloc else 'that of libc'}"
    if any(program.name == "tokio" for program in programs):
        allocator += f"; tokio: {'the same, preloaded' if shared else 'that of libc'}"
    return programs, allocator


def main():
    arguments = read_arguments()
    begun = time.monotonic()
    about = comparison.machine()
    try:
        programs, allocator = programs_of(arguments)
    except Failure as failure:
        print(f"compare {arguments.family}: {failure}")
        return 1
    names = [name for name in programs[0].names if selected(name, arguments.filter)]
    if not names:
        print(f"compare: no workload matches {arguments.filter}", file=sys.stderr)
        return 2
    plan = Plan(arguments.quick, arguments.workers)
    rows = [Row(name, workers) for name in names for workers in plan.worker_counts(name)]
    failures = measure(programs, rows, plan)

    for program in programs:
        print(f"{program.name} {program.version}, {program.language}")
    print(comparison.machine_text(about))
    print(f"allocator: {allocator}\n")
    show(programs, rows)
    print()
    for program in programs[1:]:
        for name in sorted(set(program.names) - set(programs[0].names)):
            if selected(name, arguments.filter):
                print(f"only {program.name} has {name}")
    for line in middle_lines(programs, rows):
        print(line)
    for line in limit_lines(rows):
        print(line)
    for failure in failures:
        print(f"failed: {failure}")
    write_json(arguments.json, programs, rows, about, failures, allocator)
    print(f"{time.monotonic() - begun:.0f} s; all samples are in {arguments.json}")
    line, compared = closing_line(arguments.family, programs, rows)
    if arguments.save and compared:
        chart = f"docs/benchmarks-{arguments.family}.svg"
        write_chart(chart, programs, rows, about)
        print(f"the chart is in {chart}")
    print(line)
    return 0 if compared and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
