"""Reading and writing the Test Anything Protocol, for the scripts of this folder."""

import fnmatch
import re
import sys
from dataclasses import dataclass, field
from typing import List, Optional

RESULT = re.compile(
    r"^(?P<bad>not )?ok\b\s*(?P<number>\d+)?\s*(?:-\s*)?(?P<name>.*?)"
    r"(?:\s*#\s*(?P<skip>SKIP)\S*\s*(?P<reason>.*))?$",
    re.IGNORECASE,
)
PLAN = re.compile(r"^1\.\.(\d+)")


@dataclass
class Result:
    """One line `ok` or `not ok`, with the comments below it."""

    name: str
    passed: bool
    skipped: bool
    reason: str
    details: List[str] = field(default_factory=list)


@dataclass
class Report:
    """A whole TAP stream."""

    results: List[Result] = field(default_factory=list)
    plan: Optional[int] = None
    bail_out: Optional[str] = None


def parse(text):
    """The report of a TAP stream. Lines that are not TAP count as details."""
    report = Report()
    for line in text.splitlines():
        plan = PLAN.match(line)
        result = RESULT.match(line)
        if plan:
            report.plan = int(plan.group(1))
        elif result:
            # Criterion writes suite::name and, after it, the time taken or what went wrong.
            name, _, remark = result.group("name").partition(" ")
            name = name.replace("::", "/")
            report.results.append(
                Result(
                    name,
                    not result.group("bad"),
                    result.group("skip") is not None,
                    result.group("reason") or "",
                    [remark.strip()] if result.group("bad") and remark.strip() else [],
                )
            )
        elif line.startswith("Bail out!"):
            report.bail_out = line[len("Bail out!") :].strip()
        elif report.results and line.strip() and not line.startswith("TAP version"):
            report.results[-1].details.append(line)
    return report


def matches(name, filters):
    """The rule of tests/harness.c: a glob matches the whole name, other text a part of it."""
    return not filters or any(
        fnmatch.fnmatchcase(name, f) if any(c in f for c in "*?[") else f in name for f in filters
    )


class Writer:
    """Writes TAP for a script that is itself a test."""

    def __init__(self, filters=()):
        self.filters = filters
        self.count = 0
        self.failed = 0
        print("TAP version 13", flush=True)

    def wants(self, name):
        return matches(name, self.filters)

    def check(self, name, passed, details=""):
        """Reports one test."""
        if not self.wants(name):
            return
        self.count += 1
        self.failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self.count} - {name}")
        if not passed:
            for line in str(details).splitlines():
                print(f"# {line}")
        sys.stdout.flush()

    def skip(self, name, reason):
        """Reports a test that cannot run here."""
        if not self.wants(name):
            return
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    def done(self):
        """Writes the plan; returns the exit code."""
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0
