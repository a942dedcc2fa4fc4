#!/usr/bin/env python3
"""That the list of mutants fits the source, and that the runner refuses what it must. Writes TAP."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
sys.dont_write_bytecode = True

import catalogue  # noqa: E402
import run  # noqa: E402
import sandbox  # noqa: E402
import tap  # noqa: E402

GOOD = {
    "id": "one",
    "file": "sched/inbox.h",
    "class": "logic",
    "old": "skua_task *head = sk_load(&inbox->head, SK_RELAXED);",
    "new": "skua_task *head = NULL;",
    "killers": ["model:inbox"],
}
REASON = {"survives": "why", "source": ["sched/deque.h", "A slot is written before `bottom` passes it"]}

# name, changes of the entry, what the refusal says; "" if it is good
ENTRIES = [
    ("as_it_is", {}, ""),
    ("that_survives", REASON, ""),
    ("whose_text_is_gone", {"old": "no such text"}, "no longer contains"),
    ("whose_text_is_there_twice", {"old": "sk_load"}, "times; add `index`"),
    ("with_an_index", {"old": "sk_load", "index": 2}, ""),
    ("with_an_index_too_large", {"old": "sk_load", "index": 4}, "only 3 times"),
    ("that_changes_nothing", {"new": GOOD["old"]}, "changes nothing"),
    ("of_no_file", {"file": "sched/none.c"}, "No such file"),
    ("of_no_class", {"class": "typo"}, "class typo"),
    ("with_a_typo", {"kilers": []}, "unknown field kilers"),
    ("without_killers", {"killers": []}, "no killers"),
    ("with_a_glob_of_nothing", {"killers": ["test:test_nothing*"]}, "no tests/test_nothing*.c"),
    ("with_no_killer", {"killers": ["modle:deque"]}, "not a killer"),
    ("that_survives_by_its_word_alone", {"survives": "why"}, "go together"),
    ("that_survives_as_nobody_says", {**REASON, "source": ["sched/deque.h", "It may."]}, "does not say"),
    ("of_no_canary", {"canary": "maybe"}, "canary: expected"),
]

# code, and the steps down from its orders
ORDERS = [
    ("sk_load(&a, SK_ACQUIRE)", ["SK_RELAXED"]),
    ("sk_load(&a, SK_SEQ_CST)", ["SK_ACQUIRE"]),
    ("sk_store(&a, 1, SK_SEQ_CST)", ["SK_RELEASE"]),
    ("sk_cas(&a, &b, 1, SK_ACQ_REL, SK_RELAXED)", ["SK_ACQUIRE", "SK_RELEASE"]),
    ("sk_exchange(&a, 1, SK_SEQ_CST)", ["SK_ACQ_REL"]),
    ("sk_fence();", [""]),
    ("/* SK_SEQ_CST */ sk_load(&a, SK_RELAXED)", []),
]

# what the shell runs, for how long it may, and what becomes of it: a failure, out of time
PROGRAMS = [
    ("that_passes", "echo ok 1 - a/b", 20, False, False),
    ("that_fails", "echo not ok 1 - a/b; exec sleep 100", 20, True, False),
    ("that_ends_badly", "echo ok 1 - a/b; exit 3", 20, True, False),
    ("that_crashes", "kill -SEGV $$", 20, True, False),
    ("that_hangs", "echo ok 1 - a/b; sleep 100 & wait", 0.2, False, True),
]


def refusal(entry):
    try:
        catalogue.parse_entry(entry).check()
    except catalogue.Problem as problem:
        return str(problem)
    return ""


def check_canaries(out):
    """The run ends when a canary does not do what it must. Nothing is built here: a script that fails,
    or does not, stands for the explorer."""
    mutant = catalogue.parse_entry(GOOD)
    attempt = mutant.killers[0].attempts()[0]
    with tempfile.TemporaryDirectory() as folder:
        tree = sandbox.Tree(Path(folder), 1)
        (tree.path / "sched").mkdir()
        shutil.copy(catalogue.ROOT / mutant.file, tree.path / mutant.file)
        program = tree.path / "build-plain" / attempt.killer.program
        program.parent.mkdir(parents=True)
        tree.compile = lambda build, programs: None
        for canary in catalogue.CANARIES:
            for code in (0, 1):
                program.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
                program.chmod(0o700)
                session = run.Session([tree], quick=True, seconds={attempt: 1.0})
                entry = catalogue.parse_entry({**GOOD, "canary": canary})
                why = ""
                try:
                    session.try_canary(entry, quiet=True)
                except catalogue.Problem as problem:
                    why = str(problem)
                noticed = "noticed" if code else "not_noticed"
                right = (canary == "killed") == bool(code)
                out.check(f"a_canary_of_{canary}_that_is_{noticed}", bool(why) != right, why)


def main():
    out = tap.Writer(sys.argv[1:])
    for name, changes, expected in ENTRIES:
        why = refusal({**GOOD, **changes})
        right = expected in why if expected else why == ""
        out.check(f"an_entry_{name}", right, why or "it was not refused")
    for code, expected in ORDERS:
        found = [
            step
            for at, order in catalogue.orders_of(code)
            for step in sorted(catalogue.weaker(order, code[:at]))
        ]
        name = "_".join(re.findall(r"\w+", code))
        out.check(f"the_steps_down_from_{name}", found == expected, found)
    for name, script, seconds, fails, expires in PROGRAMS:
        outcome = sandbox.execute(["sh", "-c", script], HERE, seconds)
        right = (bool(outcome.failure), outcome.expired) == (fails, expires)
        out.check(f"a_program_{name}", right, outcome)
    check_canaries(out)
    listing = subprocess.run(
        [sys.executable, "-B", str(HERE / "run.py"), "--list"], capture_output=True, text=True
    )
    out.check("the_list_fits_the_source", listing.returncode == 0, listing.stdout[-2000:])
    return out.done()


if __name__ == "__main__":
    sys.exit(main())
