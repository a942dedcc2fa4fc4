#!/usr/bin/env python3
"""Mutation testing: breaks the concurrent code on purpose, and sees whether a test notices.

`./dev mutants` is the way to call it. tests/mutants/list.toml has the mutants; its head explains the
fields. The tree is copied once for each job, and the copy is built; then each mutant is applied to a
copy, what it touches is built again, its killers are run, the quickest first, and it is taken back.
A killer kills by failing, by crashing or, if it is a test, by not coming to an end. (The explorer ends
what hangs by itself; if it does not come to an end, the search may only have become larger.)

The run proves itself first: without a mutant all killers pass, the canary that nobody can notice
survives, and every killer of the canary that each of them must notice kills it.

The last line is `mutants: K of M killed`; mutants whose survival is justified are counted apart. The
exit code is 1 if another one survived, if a justified one was killed, or if the list does not fit: its
text is not in the source, a mutant does not compile, a killer does not exist or fails by itself.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from catalogue import ROOT, Attempt, Killer, Mutant, Problem, orders_without_mutants, read_list
from sandbox import Tree, copy_of_source, processes

TIMEOUT_MINIMUM = 12.0  # seconds for one run; otherwise so many times what it takes by itself:
TIMEOUT_FACTOR = 5.0
BASELINE_TIMEOUT = 300.0
# What it costs to build a mutant for a sanitizer, too; so these come after what is there already.
OTHER_BUILD = 5.0


@dataclass
class Verdict:
    """What became of a mutant."""

    killer: str = ""  # with what it said; "" if it survived
    timeout: bool = False
    seconds: float = 0.0
    endless: list[str] = field(default_factory=list)  # searches that did not come to an end


@dataclass
class Session:
    trees: list[Tree]
    quick: bool = False  # nothing that takes long
    seconds: dict[Attempt, float] = field(default_factory=dict)  # of those that pass by themselves
    problems: list[str] = field(default_factory=list)
    killed: int = 0
    by_timeout: int = 0
    survived: int = 0
    left: int = 0
    justified: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def tree(self):
        with self.lock:
            tree = self.trees.pop()
        try:
            yield tree
        finally:
            with self.lock:
                self.trees.append(tree)

    def problem(self, text: str) -> None:
        with self.lock:
            self.problems.append(text)
            print(f"error: {text}", flush=True)

    def baseline(self, attempt: Attempt) -> None:
        """Without a mutant it passes; how long it takes is the measure of its timeout."""
        with self.tree() as tree:
            outcome = tree.run(attempt, BASELINE_TIMEOUT)
        if outcome.expired or outcome.failure:
            why = outcome.failure or "no end"
            self.problem(f"{attempt.killer.text} fails without any mutant: {why}")
            return
        with self.lock:
            self.seconds[attempt] = outcome.seconds

    def cost(self, attempt: Attempt) -> float:
        return self.seconds[attempt] + (0.0 if attempt.killer.build == "plain" else OTHER_BUILD)

    def attempts(self, mutant: Mutant) -> list[Attempt]:
        """Those that can be relied on, the quickest first."""
        wanted = attempts_of([mutant], self.quick)
        return sorted((attempt for attempt in wanted if attempt in self.seconds), key=self.cost)

    @contextmanager
    def applied(self, mutant: Mutant):
        with self.tree() as tree:
            path = tree.path / mutant.file
            original = path.read_text(encoding="utf-8")
            try:
                path.write_text(mutant.apply(original), encoding="utf-8")
                yield tree
            finally:
                path.write_text(original, encoding="utf-8")

    def try_attempt(self, tree: Tree, attempt: Attempt, verdict: Verdict) -> None:
        killer = attempt.killer
        tree.compile(killer.build, {killer.program})
        timeout = max(TIMEOUT_MINIMUM, TIMEOUT_FACTOR * self.seconds[attempt])
        outcome = tree.run(attempt, timeout)
        if outcome.failure:
            verdict.killer = f"{killer.text} ({outcome.failure})"
        elif outcome.expired and killer.kind == "model":
            verdict.endless.append(killer.text)
        elif outcome.expired:
            verdict.killer = f"timeout of {killer.text} ({timeout:.0f} s)"
            verdict.timeout = True

    def try_mutant(self, mutant: Mutant) -> None:
        verdict = Verdict()
        started = time.monotonic()
        try:
            with self.applied(mutant) as tree:
                for attempt in self.attempts(mutant):
                    self.try_attempt(tree, attempt, verdict)
                    if verdict.killer:
                        break
        except Problem as problem:
            self.problem(f"{mutant.id}: {problem}")
            return
        verdict.seconds = time.monotonic() - started
        if not processes.stopping:
            self.report(mutant, verdict)

    def report(self, mutant: Mutant, verdict: Verdict) -> None:
        if mutant.survives and verdict.killer:
            killer = verdict.killer
            self.problem(f"{mutant.id} is listed as a justified survivor, but killed by {killer}")
            return
        with self.lock:
            if verdict.killer:
                self.killed += 1
                self.by_timeout += verdict.timeout
                text = f"killed by {verdict.killer}"
            elif mutant.survives:
                self.justified += 1
                text = f"survived, justified: {mutant.survives}"
            elif self.quick and attempts_of([mutant], False) != attempts_of([mutant], True):
                self.left += 1
                text = "survived; left to what takes longer"
            else:
                self.survived += 1
                line = mutant.line((ROOT / mutant.file).read_text(encoding="utf-8"))
                text = f"SURVIVED ({mutant.file}:{line})"
            if verdict.endless and not verdict.killer:
                text += f"; no end of {', '.join(verdict.endless)}"
            print(f"{mutant.id:<40} {text} in {verdict.seconds:.1f} s", flush=True)

    def try_canary(self, mutant: Mutant, quiet: bool = False) -> None:
        """Each of its killers must notice it, or none may."""
        wrong = []
        started = time.monotonic()
        with self.applied(mutant) as tree:
            for killer in mutant.killers:
                verdict = Verdict()
                attempts = [a for a in killer.attempts() if a.is_cheap or not self.quick]
                if not attempts:
                    continue
                for attempt in attempts:
                    if attempt not in self.seconds:
                        raise Problem(f"canary {mutant.id}: no {killer.text}")
                    if not verdict.killer:
                        self.try_attempt(tree, attempt, verdict)
                if bool(verdict.killer) != (mutant.canary == "killed"):
                    wrong.append(verdict.killer or killer.text)
        if wrong and mutant.canary == "killed":
            raise Problem(f"the canary {mutant.id} is not noticed by {', '.join(wrong)}")
        if wrong:
            raise Problem(f"the canary {mutant.id} cannot be noticed, but is by {', '.join(wrong)}")
        as_it_must = "was noticed by all killers" if mutant.canary == "killed" else "survived all"
        seconds = time.monotonic() - started
        if not quiet:
            text = f"{as_it_must}, as it must, in {seconds:.1f} s"
            print(f"canary {mutant.id:<33} {text}", flush=True)


def select(mutants: list[Mutant], arguments: argparse.Namespace) -> list[Mutant]:
    chosen = []
    for mutant in mutants:
        place = f"{mutant.file} {mutant.id}"
        if arguments.filters and not any(text in place for text in arguments.filters):
            continue
        if arguments.quick and not attempts_of([mutant], True):
            continue
        chosen.append(mutant)
    if arguments.sample is not None and arguments.sample < len(chosen):
        chosen = random.Random(arguments.seed).sample(chosen, arguments.sample)
    # One file after another: so an object file is compiled again only once for each mutant.
    return sorted(chosen, key=lambda mutant: (mutant.file, mutant.id))


def attempts_of(mutants: list[Mutant], quick: bool) -> list[Attempt]:
    """All runs of the killers of these mutants, each once; or only those that are cheap."""
    killers = dict.fromkeys(killer for mutant in mutants for killer in mutant.killers)
    attempts = [attempt for killer in killers for attempt in killer.attempts()]
    return [attempt for attempt in attempts if attempt.is_cheap or not quick]


def build(folder: Path, killers: set[Killer], jobs: int) -> tuple[list[Tree], set[Killer]]:
    """Copies of the tree with what these killers need, and the killers that there are."""
    tree = copy_of_source(folder / "0", os.cpu_count() or 1)
    programs: dict[str, set[str]] = {}
    for killer in killers:
        if killer.kind == "model" or tree.exists(killer):
            programs.setdefault(killer.build, set()).add(killer.program)
    for kind in sorted(programs):
        tree.compile(kind, programs[kind])
    tree.threads = max(1, (os.cpu_count() or 1) // jobs)
    trees = [tree] + [tree.copy(folder / str(i)) for i in range(1, jobs)]
    return trees, {killer for killer in killers if tree.exists(killer)}


def run_all(
    mutants: list[Mutant], canaries: list[Mutant], quick: bool, jobs: int, folder: Path
) -> int:
    started = time.monotonic()
    attempts = attempts_of(mutants + canaries, quick)
    killers = {attempt.killer for attempt in attempts}
    trees, there = build(folder, killers, jobs)
    print(f"built for {len(killers)} killers in {time.monotonic() - started:.0f} s", flush=True)
    session = Session(trees, quick)
    if missing := killers - there:
        names = ", ".join(sorted(killer.text for killer in missing))
        session.problem(f"the list names what does not exist: {names}")

    since = time.monotonic()
    attempts = [attempt for attempt in attempts if attempt.killer in there]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(session.baseline, attempts))
        print(
            f"without any mutant {len(session.seconds)} of {len(attempts)} runs of the killers "
            f"passed in {time.monotonic() - since:.0f} s",
            flush=True,
        )
        list(pool.map(session.try_canary, canaries))
        list(pool.map(session.try_mutant, mutants))

    if session.problems:
        print(f"{len(session.problems)} problems with the list or the builds, see above")
    if session.by_timeout:
        print(f"{session.by_timeout} of those killed were killed by timeout")
    if session.left:
        print(f"{session.left} more survived what is quick, and are left to a full run")
    print(f"{time.monotonic() - started:.0f} s in all, {jobs} at a time")
    closing = f"mutants: {session.killed} of {session.killed + session.survived} killed"
    closing += f", {session.justified} justified" if session.justified else ""
    print(closing, flush=True)
    return 1 if session.survived or session.problems else 0


def print_orders(mutants: list[Mutant]) -> int:
    total, missing = orders_without_mutants(mutants)
    print("\n".join([*missing, f"orders: {total - len(missing)} of {total} have their mutants"]))
    return 1 if missing else 0


def print_list(mutants: list[Mutant]) -> int:
    for mutant in mutants:
        killers = " ".join(killer.text for killer in mutant.killers)
        print(f"{mutant.id:<40} {mutant.file:<22} {mutant.what:<10} {killers}")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--filter", action="append", default=[], dest="filters")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--orders", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    if arguments.sample is not None and arguments.seed is None:
        arguments.seed = random.randrange(1000000)
    return arguments


def main() -> int:
    arguments = parse_arguments()
    try:
        everything = read_list()
    except Problem as problem:
        print(problem)
        return 1
    canaries = [mutant for mutant in everything if mutant.canary]
    everything = [mutant for mutant in everything if not mutant.canary]
    if arguments.orders:
        return print_orders(everything)
    mutants = select(everything, arguments)
    if arguments.list:
        return print_list(mutants)
    if not mutants:
        print("no mutant: nothing matches the filter")
        return 1
    if arguments.sample is not None:
        print(f"a sample of {len(mutants)}, seed {arguments.seed}")

    folder = Path(tempfile.mkdtemp(prefix="skua-mutants-"))

    def interrupted(number: int, _frame) -> None:
        processes.stop()
        sys.exit(128 + number)

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        jobs = max(arguments.jobs, 1)
        return run_all(mutants, canaries, arguments.quick, jobs, folder)
    except Problem as problem:
        print(f"error: {problem}")
        return 1
    finally:
        processes.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
