#!/usr/bin/env python3
"""Mutation testing: breaks the concurrent code on purpose, and sees whether a test notices.

`./dev mutants` is the way to call it. tests/mutants/list.toml has the mutants; its head explains the
fields. The tree is copied once for each job, and the copy is built; then each mutant is applied to a
copy, its killers are built and run, and it is taken back. A killer kills by failing, by crashing or by
not coming to an end. That all killers pass without a mutant is checked first.

The last line is `mutants: K of M killed`; mutants whose survival is justified do not count. The exit
code is 1 if another one survived, if a justified one was killed, or if the list does not fit: its
text is not in the source, a mutant does not compile, a killer does not exist or fails by itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "mutants" / "list.toml"

CLASSES = ("order", "fence", "re-check", "catalogue", "logic")

# Each kind of killer, with the build that its program is in and the options of that build.
BUILDS = {"plain": (), "address": ("-Db_sanitize=address",), "thread": ("-Db_sanitize=thread",)}
KINDS = {"model": "plain", "test": "plain", "address": "address", "thread": "thread"}
SETUP = ("-Dtest_backend=plain", "-Dexamples=disabled", "-Dbench=disabled", "-Djemalloc=disabled")

EXPLORER = "tests/model/explorer"
# The explorer's bounds, tried one after the other: most mutants die within the first.
BOUNDS = (("--preemptions", "1"), ("--preemptions", "2", "--limit", "400000"))

TIMEOUT_MINIMUM = 12.0  # seconds for a killer; otherwise so many times what it takes by itself:
TIMEOUT_FACTOR = 5.0


class Problem(Exception):
    """Something is wrong with the list or with a build, rather than with a test."""


# ---- The list ----


@dataclass(frozen=True)
class Killer:
    """`model:KERNEL[/SCENARIO]`, or `test:`, `address:`, `thread:` PROGRAM[:GLOB]."""

    text: str
    kind: str
    program: str
    filter: str

    @staticmethod
    def parse(text: str) -> Killer:
        kind, _, rest = text.partition(":")
        if kind not in KINDS or not rest:
            raise Problem(f"{text}: not a killer; expected one of {', '.join(KINDS)}, and a name")
        if kind == "model":
            return Killer(text, kind, EXPLORER, rest if "/" in rest else rest + "/")
        program, _, tests = rest.partition(":")
        return Killer(text, kind, "tests/" + program, tests)

    @property
    def build(self) -> str:
        return KINDS[self.kind]

    def commands(self) -> list[list[str]]:
        """The arguments of each run; the mutant is dead when one of them fails."""
        if self.kind == "model":
            return [["--tap", "--filter", self.filter, *bounds] for bounds in BOUNDS]
        return [[self.filter] if self.filter else []]


@dataclass(frozen=True)
class Mutant:
    id: str
    file: str
    what: str
    old: str
    new: str
    index: int
    killers: tuple[Killer, ...]
    survives: str
    more: bool = False  # it has killers that are left out today

    def apply(self, text: str) -> str:
        """The file's text with this mutant in it."""
        parts = text.split(self.old)
        count = len(parts) - 1
        if count == 0:
            raise Problem(f"{self.id}: {self.file} no longer contains: {self.old.strip()}")
        if self.index == 0 and count > 1:
            raise Problem(f"{self.id}: {self.file} contains this {count} times; add `index`")
        if self.index > count:
            raise Problem(f"{self.id}: {self.file} contains this only {count} times")
        at = self.index or 1
        return self.old.join(parts[:at]) + self.new + self.old.join(parts[at:])

    def line(self, text: str) -> int:
        """The number of the first line that differs."""
        pairs = zip(text.splitlines(), self.apply(text).splitlines())
        return next((i for i, (old, new) in enumerate(pairs, 1) if old != new), 1)


def read_list(path: Path) -> list[Mutant]:
    mutants = []
    allowed = {"id", "file", "class", "old", "new", "index", "killers", "survives"}
    with path.open("rb") as file:
        entries = tomllib.load(file)["mutant"]
    for entry in entries:
        name = entry.get("id", "a mutant without id")
        if wrong := set(entry) - allowed:
            raise Problem(f"{name}: unknown field {', '.join(sorted(wrong))}")
        if missing := {"id", "file", "class", "old", "new", "killers"} - set(entry):
            raise Problem(f"{name}: without {', '.join(sorted(missing))}")
        if entry["class"] not in CLASSES:
            raise Problem(f"{name}: class {entry['class']}: expected {', '.join(CLASSES)}")
        if any(name == other.id for other in mutants):
            raise Problem(f"{name}: there are two of this id")
        mutants.append(
            Mutant(
                name,
                entry["file"],
                entry["class"],
                entry["old"],
                entry["new"],
                entry.get("index", 0),
                tuple(Killer.parse(text) for text in entry["killers"]),
                entry.get("survives", ""),
            )
        )
    return mutants


# ---- Running programs ----


class Processes:
    """Those that run now, each a group of its own, so that none is left behind."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal may come while it is held
        self.running: set[int] = set()
        self.stopping = False

    def start(self, command: list[str], **options) -> subprocess.Popen:
        with self.lock:
            if self.stopping:
                raise Problem("interrupted")
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, start_new_session=True, **options
            )
            self.running.add(process.pid)
        return process

    def end(self, process: subprocess.Popen) -> None:
        """Ends what is left of the group."""
        self.kill(process.pid)
        process.wait()
        with self.lock:
            self.running.discard(process.pid)

    @staticmethod
    def kill(group: int) -> None:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop(self) -> None:
        with self.lock:
            self.stopping = True
            for group in self.running:
                self.kill(group)


processes = Processes()


def execute(command: list[str], cwd: Path, timeout: float) -> str:
    """Runs a program that writes TAP, until its first failure. Returns how it failed, or ""."""
    process = processes.start(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        Processes.kill(process.pid)

    timer = threading.Timer(timeout, expire)
    timer.start()
    failed = ""
    try:
        for line in process.stdout:
            if line.startswith(b"not ok"):
                failed = line.decode(errors="replace").split(" - ", 1)[-1].strip()
                break
        if not failed:
            code = process.wait()
            if expired.is_set():
                failed = f"no end after {timeout:.0f} s"
            elif code != 0:
                failed = f"signal {-code}" if code < 0 else f"exit code {code}"
        return failed
    finally:
        timer.cancel()
        processes.end(process)
        process.stdout.close()


def environment() -> dict[str, str]:
    # The tests' own timeouts are long, so that a busy machine kills nothing; a hang is noticed here.
    return {**os.environ, "SKUA_TEST_QUICK": "1", "SKUA_TEST_SLOW": "4"}


def run_tool(command: list[str], cwd: Path) -> None:
    process = processes.start(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output = process.communicate()[0].decode(errors="replace")
    finally:
        processes.end(process)
    if process.returncode != 0:
        errors = [line for line in output.splitlines() if "error" in line] or output.splitlines()
        raise Problem(f"{command[0]} failed: " + "; ".join(errors[:3]))


# ---- A copy of the tree ----


@dataclass
class Tree:
    """The copy of the tree that one job works in, with its builds."""

    path: Path

    def set_up(self, programs: dict[str, set[str]]) -> None:
        for build, options in BUILDS.items():
            if build in programs:
                command = ["meson", "setup", "build-" + build, *SETUP, *options]
                run_tool(command, self.path)
                self.compile(build, programs[build])

    def compile(self, build: str, programs: set[str]) -> None:
        command = ["ninja", "-C", "build-" + build, "-j", "2", *sorted(programs)]
        run_tool(command, self.path)

    def run(self, killer: Killer, timeout: float) -> str:
        folder = self.path / ("build-" + killer.build)
        for arguments in killer.commands():
            if failed := execute([str(folder / killer.program), *arguments], folder, timeout):
                return failed
        return ""

    def exists(self, killer: Killer) -> bool:
        """Whether there is anything that this killer stands for."""
        if killer.kind == "model":
            command = [str(self.path / "build-plain" / EXPLORER), "--list"]
            command += ["--filter", killer.filter]
            return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout != b""
        return (self.path / (killer.program + ".c")).exists()


def copy_tree(source: Path, target: Path) -> Tree:
    # Builds inside the tree name its files relative to themselves, so they may be copied too.
    def ignore(folder: str, names: list[str]) -> list[str]:
        if Path(folder) != ROOT:
            return [name for name in names if name == "__pycache__"]
        return [name for name in names if name == ".git" or name.startswith("build")]

    shutil.copytree(source, target, ignore=ignore, symlinks=True)
    return Tree(target)


# ---- The work ----


@dataclass
class Session:
    trees: list[Tree]
    timeouts: dict[Killer, float] = field(default_factory=dict)
    missing: set[Killer] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    killed: int = 0
    survived: int = 0
    justified: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take_tree(self) -> Tree:
        with self.lock:
            return self.trees.pop()

    def give_back(self, tree: Tree) -> None:
        with self.lock:
            self.trees.append(tree)

    def problem(self, text: str) -> None:
        with self.lock:
            self.problems.append(text)
            print(f"error: {text}", flush=True)

    def check_killer(self, killer: Killer) -> None:
        """Without a mutant a killer passes; how long it takes is the measure of its timeout."""
        tree = self.take_tree()
        try:
            started = time.monotonic()
            failed = tree.run(killer, 300)
            elapsed = time.monotonic() - started
            if failed:
                self.problem(f"{killer.text} fails without any mutant: {failed}")
                return
            with self.lock:
                self.timeouts[killer] = max(TIMEOUT_MINIMUM, TIMEOUT_FACTOR * elapsed)
        except Problem as problem:
            self.problem(f"{killer.text}: {problem}")
        finally:
            self.give_back(tree)

    def try_killers(self, tree: Tree, mutant: Mutant) -> str:
        for killer in mutant.killers:
            if killer not in self.timeouts:
                continue  # it does not exist, or fails by itself
            tree.compile(killer.build, {killer.program})
            if failed := tree.run(killer, self.timeouts[killer]):
                return f"{killer.text} ({failed})"
        return ""

    def try_mutant(self, mutant: Mutant) -> None:
        tree = self.take_tree()
        path = tree.path / mutant.file
        original = path.read_text(encoding="utf-8")
        started = time.monotonic()
        try:
            path.write_text(mutant.apply(original), encoding="utf-8")
            killer = self.try_killers(tree, mutant)
            if not processes.stopping:
                self.report(mutant, killer, time.monotonic() - started, mutant.line(original))
        except Problem as problem:
            self.problem(f"{mutant.id}: {problem}")
        finally:
            path.write_text(original, encoding="utf-8")
            self.give_back(tree)

    def report(self, mutant: Mutant, killer: str, seconds: float, line: int) -> None:
        if mutant.survives and killer:
            self.problem(f"{mutant.id} is listed as a justified survivor, but killed by {killer}")
            return
        with self.lock:
            if mutant.survives:
                self.justified += 1
                text = f"survived, justified: {mutant.survives}"
            elif killer:
                self.killed += 1
                text = f"killed by {killer} in {seconds:.1f} s"
            elif mutant.more:
                text = "survived; left to the unit tests"
            else:
                self.survived += 1
                text = f"SURVIVED ({mutant.file}:{line})"
            print(f"{mutant.id:<40} {text}", flush=True)


def select(mutants: list[Mutant], filters: list[str], quick: bool) -> list[Mutant]:
    chosen = []
    for mutant in mutants:
        if filters and not any(text in f"{mutant.file} {mutant.id}" for text in filters):
            continue
        if quick:
            models = tuple(killer for killer in mutant.killers if killer.kind == "model")
            if not models:
                continue
            mutant = replace(mutant, killers=models, more=models != mutant.killers)
        chosen.append(mutant)
    # One file after another: so an object file is compiled again only once for each mutant.
    return sorted(chosen, key=lambda mutant: mutant.file)


def run_all(mutants: list[Mutant], jobs: int, folder: Path) -> int:
    killers = {killer for mutant in mutants for killer in mutant.killers}
    programs: dict[str, set[str]] = {}
    tree = copy_tree(ROOT, folder / "0")
    for killer in killers:
        if killer.kind == "model" or tree.exists(killer):
            programs.setdefault(killer.build, set()).add(killer.program)
    print(f"building for {len(killers)} killers", flush=True)
    tree.set_up(programs)
    session = Session([tree] + [copy_tree(tree.path, folder / str(i)) for i in range(1, jobs)])

    for killer in sorted(killers, key=lambda killer: killer.text):
        if not tree.exists(killer):
            session.missing.add(killer)
    if session.missing:
        names = ", ".join(sorted(killer.text for killer in session.missing))
        session.problem(f"the list names what does not exist: {names}")
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(session.check_killer, killers - session.missing))
        list(pool.map(session.try_mutant, mutants))

    if session.justified:
        print(f"{session.justified} more survived, justified")
    if session.problems:
        print(f"{len(session.problems)} problems with the list or the builds, see above")
    print(f"mutants: {session.killed} of {session.killed + session.survived} killed", flush=True)
    return 1 if session.survived or session.problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()

    try:
        mutants = select(read_list(LIST), arguments.filters, arguments.quick)
        # A list that does not fit is said before anything is built.
        wrong = []
        for mutant in mutants:
            try:
                mutant.apply((ROOT / mutant.file).read_text(encoding="utf-8"))
            except (Problem, OSError) as problem:
                wrong.append(f"error: {problem}")
        if wrong:
            raise Problem("\n".join([*wrong, "the list does not fit the source"]))
    except Problem as problem:
        print(problem)
        return 1
    if arguments.list:
        for mutant in mutants:
            killers = " ".join(killer.text for killer in mutant.killers)
            print(f"{mutant.id:<40} {mutant.file:<22} {mutant.what:<10} {killers}")
        return 0
    if not mutants:
        print("no mutant: nothing matches the filter")
        return 1

    folder = Path(tempfile.mkdtemp(prefix="skua-mutants-"))

    def interrupted(number: int, _frame) -> None:
        processes.stop()
        sys.exit(128 + number)

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        return run_all(mutants, max(arguments.jobs, 1), folder)
    except Problem as problem:
        print(f"error: {problem}")
        return 1
    finally:
        processes.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
