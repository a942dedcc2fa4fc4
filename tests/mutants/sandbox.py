"""Copies of the tree to break: how they are built, and how the programs in them are run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from catalogue import EXPLORER, ROOT, Attempt, Killer, Problem

# The builds, and the options of each.
BUILDS = {"plain": (), "address": ("-Db_sanitize=address",), "thread": ("-Db_sanitize=thread",)}
SETUP = ("-Dtest_backend=plain", "-Dexamples=disabled", "-Dbench=disabled", "-Djemalloc=disabled")


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


@dataclass(frozen=True)
class Outcome:
    failure: str  # what failed; "" if nothing did
    expired: bool  # the time was up before the end
    seconds: float


def execute(command: list[str], cwd: Path, timeout: float) -> Outcome:
    """Runs a program that writes TAP, until its first failure."""
    started = time.monotonic()
    process = processes.start(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        Processes.kill(process.pid)

    timer = threading.Timer(timeout, expire)
    timer.start()
    failure = ""
    try:
        for line in process.stdout:
            if line.startswith(b"not ok"):
                failure = line.decode(errors="replace").split(" - ", 1)[-1].strip()
                break
        if not failure:
            code = process.wait()
            if not expired.is_set() and code != 0:
                failure = f"signal {-code}" if code < 0 else f"exit code {code}"
        late = not failure and expired.is_set()
        return Outcome(failure, late, time.monotonic() - started)
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


@dataclass
class Tree:
    """The copy of the tree that one job works in, with its builds."""

    path: Path
    threads: int  # for one compilation

    def compile(self, build: str, programs: set[str]) -> None:
        if not (self.path / ("build-" + build)).exists():
            setup = ["meson", "setup", "build-" + build, *SETUP, *BUILDS[build]]
            run_tool(setup, self.path)
        command = ["ninja", "-C", "build-" + build, "-j", str(self.threads), *sorted(programs)]
        run_tool(command, self.path)

    def run(self, attempt: Attempt, timeout: float) -> Outcome:
        folder = self.path / ("build-" + attempt.killer.build)
        command = [str(folder / attempt.killer.program), *attempt.arguments]
        return execute(command, folder, timeout)

    def exists(self, killer: Killer) -> bool:
        """Whether there is anything that this killer stands for."""
        if killer.kind == "model":
            command = [str(self.path / "build-plain" / EXPLORER), "--list"]
            command += ["--filter", killer.filter]
            return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout != b""
        return (self.path / (killer.program + ".c")).exists()

    def copy(self, target: Path) -> Tree:
        # The builds name their files relative to themselves, so they may be copied too.
        shutil.copytree(self.path, target, symlinks=True)
        return Tree(target, self.threads)


def copy_of_source(target: Path, threads: int) -> Tree:
    def ignore(folder: str, names: list[str]) -> list[str]:
        if Path(folder) != ROOT:
            return [name for name in names if name == "__pycache__"]
        return [name for name in names if name == ".git" or name.startswith("build")]

    shutil.copytree(ROOT, target, ignore=ignore, symlinks=True)
    return Tree(target, threads)
