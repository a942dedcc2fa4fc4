"""The list of mutants, tests/mutants/list.toml: what its entries mean, and whether they fit the source."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "mutants" / "list.toml"

CLASSES = ("order", "fence", "re-check", "catalogue", "logic")

# Each kind of killer, with the build that its program is in.
KINDS = {"model": "plain", "test": "plain", "address": "address", "thread": "thread"}

EXPLORER = "tests/model/explorer"
# The explorer's bounds, tried one after the other: most mutants die within the first.
BOUNDS = (
    ("--jobs", "1", "--preemptions", "1"),
    ("--jobs", "1", "--preemptions", "2", "--limit", "400000"),
)


class Problem(Exception):
    """Something is wrong with the list or with a build, rather than with a test."""


@dataclass(frozen=True)
class Killer:
    """`model:KERNEL[/SCENARIO]`, or `test:`, `address:`, `thread:` PROGRAM[:GLOB]."""

    text: str
    kind: str
    program: str
    filter: str

    @staticmethod
    def expand(text: str) -> list[Killer]:
        """The killers that a text stands for: several if its program is a glob."""
        kind, _, rest = text.partition(":")
        program, colon, tests = rest.partition(":")
        if kind == "model" or "*" not in program:
            return [Killer.parse(text)]
        names = sorted(path.stem for path in (ROOT / "tests").glob(program + ".c"))
        if not names:
            raise Problem(f"{text}: no tests/{program}.c")
        return [Killer.parse(f"{kind}:{name}{colon}{tests}") for name in names]

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

    def attempts(self) -> list[Attempt]:
        """The quickest first."""
        if self.kind == "model":
            return [
                Attempt(self, ("--tap", "--filter", self.filter, *bounds), i == 0)
                for i, bounds in enumerate(BOUNDS)
            ]
        arguments = (self.filter,) if self.filter else ()
        return [Attempt(self, arguments, self.build == "plain")]


@dataclass(frozen=True)
class Attempt:
    """One run of a killer's program."""

    killer: Killer
    arguments: tuple[str, ...]
    is_cheap: bool  # it takes a short time, and the build that there is always


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
    source: tuple[str, str] | None  # the file that says so, and what it says
    canary: str

    def place(self, text: str) -> int:
        """Where `old` begins in the file's text."""
        count = text.count(self.old)
        if count == 0:
            raise Problem(f"{self.id}: {self.file} no longer contains: {self.old.strip()}")
        if self.index == 0 and count > 1:
            raise Problem(f"{self.id}: {self.file} contains this {count} times; add `index`")
        if self.index > count:
            raise Problem(f"{self.id}: {self.file} contains this only {count} times")
        at = -1
        for _ in range(self.index or 1):
            at = text.index(self.old, at + 1)
        return at

    def apply(self, text: str) -> str:
        """The file's text with this mutant in it."""
        at = self.place(text)
        return text[:at] + self.new + text[at + len(self.old) :]

    def line(self, text: str) -> int:
        """The number of the first line that differs."""
        pairs = zip(text.splitlines(), self.apply(text).splitlines())
        return next((i for i, (old, new) in enumerate(pairs, 1) if old != new), 1)

    def check(self) -> None:
        """Refuses what does not fit the source."""
        try:
            text = (ROOT / self.file).read_text(encoding="utf-8")
        except OSError as error:
            raise Problem(f"{self.id}: {error}") from error
        if self.apply(text) == text:
            raise Problem(f"{self.id}: changes nothing")
        if self.source is not None:
            file, words = self.source
            said = comment_words((ROOT / file).read_text(encoding="utf-8"))
            if comment_words(words) not in said:
                raise Problem(f"{self.id}: {file} does not say: {words}")


def comment_words(text: str) -> str:
    """The text with the frames of its comments and all line breaks gone."""
    return " ".join(re.sub(r"^\s*(/\*|\*/|\*)|\*/\s*$", " ", text, flags=re.MULTILINE).split())


FIELDS = {"id", "file", "class", "old", "new", "index", "killers", "survives", "source", "canary"}
NEEDED = {"id", "file", "class", "old", "new", "killers"}
CANARIES = ("survives", "killed")


def parse_entry(entry: dict) -> Mutant:
    name = entry.get("id", "a mutant without id")
    if wrong := set(entry) - FIELDS:
        raise Problem(f"{name}: unknown field {', '.join(sorted(wrong))}")
    if missing := NEEDED - set(entry):
        raise Problem(f"{name}: without {', '.join(sorted(missing))}")
    if entry["class"] not in CLASSES:
        raise Problem(f"{name}: class {entry['class']}: expected {', '.join(CLASSES)}")
    if not entry["killers"]:
        raise Problem(f"{name}: no killers")
    if ("survives" in entry) != ("source" in entry):
        raise Problem(f"{name}: `survives` and `source` go together")
    if len(entry.get("source", ["", ""])) != 2:
        raise Problem(f"{name}: `source` is a file and the words in it")
    if entry.get("canary", CANARIES[0]) not in CANARIES:
        raise Problem(f"{name}: canary: expected {' or '.join(CANARIES)}")
    return Mutant(
        name,
        entry["file"],
        entry["class"],
        entry["old"],
        entry["new"],
        entry.get("index", 0),
        tuple(killer for text in entry["killers"] for killer in Killer.expand(text)),
        entry.get("survives", ""),
        tuple(entry["source"]) if "source" in entry else None,
        entry.get("canary", ""),
    )


def read_list(path: Path = LIST) -> list[Mutant]:
    """All of the list. Raises Problem, with a line for each entry that does not fit."""
    mutants: list[Mutant] = []
    wrong: list[str] = []
    with path.open("rb") as file:
        entries = tomllib.load(file)["mutant"]
    for entry in entries:
        try:
            mutant = parse_entry(entry)
            if any(mutant.id == other.id for other in mutants):
                raise Problem(f"{mutant.id}: there are two of this id")
            mutants.append(mutant)
            mutant.check()
        except Problem as problem:
            wrong.append(f"error: {problem}")
    for canary in CANARIES:
        if not any(mutant.canary == canary for mutant in mutants):
            wrong.append(f'error: there is no canary = "{canary}", so the run would prove nothing')
    if wrong:
        raise Problem("\n".join([*wrong, "the list does not fit the source"]))
    return mutants


# ---- Which orders have mutants ----

ORDER = re.compile(r"\bSK_(?:ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)\b|\bsk_fence\(\)")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def weaker(order: str, before: str) -> set[str]:
    """What is one step weaker; "" is that it is gone. `before` is the text up to the order."""
    call = before[before.rfind("sk_") :]
    if order == "sk_fence()":
        return {""}
    if order in ("SK_ACQUIRE", "SK_RELEASE"):
        return {"SK_RELAXED"}
    if order == "SK_ACQ_REL":
        return {"SK_ACQUIRE", "SK_RELEASE"}
    if call.startswith("sk_load"):
        return {"SK_ACQUIRE"}
    return {"SK_RELEASE"} if call.startswith("sk_store") else {"SK_ACQ_REL"}


def orders_of(text: str) -> list[tuple[int, str]]:
    """Each order that is stronger than relaxed, and each fence, with its place."""
    code = COMMENT.sub(lambda comment: " " * len(comment[0]), text)
    return [(match.start(), match[0]) for match in ORDER.finditer(code)]


def orders_without_mutants(mutants: list[Mutant]) -> tuple[int, list[str]]:
    """How many steps down there are in the code, and those that no mutant takes."""
    total, missing = 0, []
    files = sorted([*ROOT.glob("sched/*.[ch]"), *ROOT.glob("io/*.[ch]")])
    for path in files:
        name = str(path.relative_to(ROOT))
        # The seam itself, what only looks on, and what no other build has.
        if path.stem in ("sync", "dump", "chaos"):
            continue
        text = path.read_text(encoding="utf-8")
        taken = {step for mutant in mutants if mutant.file == name for step in steps(mutant, text)}
        for at, order in orders_of(text):
            wanted = weaker(order, text[:at])
            total += len(wanted)
            for step in sorted(wanted - {new for place, new in taken if place == at}):
                line = text.count("\n", 0, at) + 1
                missing.append(f"{name}:{line}: {order} -> {step or 'nothing'}")
    return total, missing


def steps(mutant: Mutant, text: str) -> set[tuple[int, str]]:
    """The orders that a mutant changes, each with what it makes of it."""
    at = mutant.place(text)
    old = [(at + match.start(), match[0]) for match in ORDER.finditer(mutant.old)]
    new = re.findall(r"\bSK_(?:RELAXED|ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)\b|\bsk_fence\(\)", mutant.new)
    every = re.findall(
        r"\bSK_(?:RELAXED|ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)\b|\bsk_fence\(\)", mutant.old
    )
    if len(every) != len(new):
        return {(place, "") for place, order in old if order == "sk_fence()"}
    # In step: the same number of orders before and after.
    strong = iter(old)
    changed = set()
    for before, after in zip(every, new):
        if before == "SK_RELAXED":
            continue
        place, _ = next(strong)
        if before != after:
            changed.add((place, after))
    return changed
