#!/usr/bin/env python3
"""Checks what the explorer says about failures: that it can be repeated, and that it was made smaller.

usage: check_explorer.py EXPLORER DOCUMENT [FILTER]...

Takes the litmus programs that must fail, as the search and two random walks find them; DOCUMENT has to
list all litmus programs. Writes TAP itself.
"""

import argparse
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import tap  # pylint: disable=wrong-import-position

MODES = {
    "search": [],
    "random": ["--random", "3000", "--seed", "5"],
    "pct": ["--pct", "3", "--random", "3000", "--seed", "5"],
}
# It fails because it cannot be repeated.
NOT_REPEATABLE = "litmus/not_deterministic"
# No single execution of these is wrong.
AS_A_WHOLE = {"litmus/outcome_missing", "litmus/outcome_forbidden"}
REPORT = re.compile(
    r"FOUND (\S+): (.*)\n\s+found:\s+(\S+) .*\n\s+replay:\s+(\S+) .*\n\s+then:\s+(.*)\n"
)


def run(explorer, *options):
    done = subprocess.run(
        [explorer, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=250,
        text=True,
    )
    return done.returncode, done.stdout


def without_addresses(text):
    return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)


def kind(text):
    """What a failure is, whoever it hits where."""
    text = re.sub(r"plain (read|write)|0x[0-9a-f]+|thread \d+", "", text)
    return text.split("(a lost wakeup?)")[0]


def deviations(token):
    runs = (run.split("*") for run in token.split(":")[1].split(".") if run)
    return sum(int((*run, "1")[1]) for run in runs if run[0] != "0")


def problems_of(explorer, name, text, found, shrunk, shrunk_text):
    """What is wrong with one failure."""
    for token, expected in ((found, text), (shrunk, shrunk_text)):
        code, output = run(explorer, "--replay", token)
        last = output.splitlines()[-1] if output else ""
        if code != 1 or without_addresses(last) != without_addresses(f"{name}: {expected}"):
            yield f"{token}: exit {code}: {last}\nexpected: {expected}"
    if deviations(shrunk) > deviations(found):
        yield f"{shrunk} has more deviations than {found}"
    if kind(text) != kind(shrunk_text):
        yield f"{shrunk} is another failure: {shrunk_text}\nbefore: {text}"


def without_times(text):
    return re.sub(r"\d+\.\d+s|seed \d", "", without_addresses(text))


def check_failures(out, explorer, must_fail):
    shorter = 0
    for mode, options in MODES.items():
        only = ["--filter", "litmus/", "--report-must-fail", *options]
        code, output = run(explorer, *only)
        reports = REPORT.findall(output)
        missing = must_fail - AS_A_WHOLE - {report[0] for report in reports}
        found_all = code == 0 and (mode != "search" or not missing) and len(reports) > 30
        out.check(f"{mode}_finds_what_must_fail", found_all, f"exit {code}; missing: {missing}")
        problems = []
        for name, text, found, shrunk, shrunk_text in reports:
            if name != NOT_REPEATABLE:
                problems += problems_of(explorer, name, text, found, shrunk, shrunk_text)
                shorter += deviations(shrunk) < deviations(found)
        out.check(f"{mode}_replays", not problems, "\n".join(problems))
        if mode != "search":
            again = run(explorer, *only)
            same = without_times(again[1]) == without_times(output)
            out.check(f"{mode}_is_repeated_by_its_seed", same, again[1])
            other = run(explorer, *only[:-1], "6")
            differs = without_times(other[1]) != without_times(output)
            out.check(f"{mode}_depends_on_its_seed", differs)
    out.check("shrinking_drops_deviations", shorter > 10, f"only in {shorter} failures")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("explorer")
    parser.add_argument("document")
    parser.add_argument("filters", nargs="*")
    arguments = parser.parse_args()
    out = tap.Writer(arguments.filters)
    explorer = arguments.explorer

    names = run(explorer, "--list", "--filter", "litmus/")[1].split()
    with open(arguments.document, encoding="utf-8") as file:
        listed = set(re.findall(r"^\| `(\w+)` \|", file.read(), re.MULTILINE))
    short = {name.split("/")[1] for name in names}
    out.check("there_are_forty_programs", len(names) >= 40, len(names))
    out.check("the_document_lists_them", short == listed, sorted(short ^ listed))

    code, output = run(explorer, "--list-must-fail", "--filter", "litmus/")
    check_failures(out, explorer, set(output.split()))

    for what, token in {
        "of_no_scenario": "litmus/none@1,1,1:0",
        "without_bounds": "litmus/mp_relaxed:0",
        "with_other_text": "litmus/mp_relaxed@1,1,1:0.x",
    }.items():
        code, output = run(explorer, "--replay", token)
        out.check(f"a_token_{what}_is_refused", code == 2, f"exit {code}: {output}")
    code, output = run(explorer, "--replay", "litmus/mp_relaxed@1,1,1:9")
    out.check("a_token_that_does_not_fit_is_refused", "does not fit" in output, output)
    return out.done()


if __name__ == "__main__":
    sys.exit(main())
