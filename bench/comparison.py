"""What the comparisons with peers have in common: figures, tables, the machine, options."""

import argparse
import datetime
import json
import math
import os
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failure(Exception):
    """A program that did not do what it should."""


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text[:100]}")
        sys.stderr.flush()


# ---- Figures ----


def spread(values):
    """Half of the distance between the quartiles, in percent of the median."""
    median = statistics.median(values)
    if len(values) < 2 or median == 0:
        return 0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / median * 100


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


# ---- Showing ----


def number_text(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"


def median_text(values):
    """The median, and how far the others are from it; values may be missing."""
    if not values:
        return "-"
    return f"{number_text(statistics.median(values))} ±{spread(values):.0f}%"


def ratio_text(ratio, ratios=()):
    """A ratio, and the range of those that were taken in turn."""
    if ratio is None:
        return "-"
    if not ratios:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def table(head, lines):
    """Columns as wide as they must be; the first is aligned to the left."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())


# ---- What it runs on ----


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "model": model,
        "kernel": os.uname().release,
        "load": round(os.getloadavg()[0], 2),
    }


def machine_text(about):
    return f"{about['cpus']} CPUs, {about['model']}, Linux {about['kernel']}, load {about['load']}"


def jemalloc_of(path):
    """The jemalloc that a program is linked with, or None."""
    run = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=False)
    found = re.search(r"libjemalloc\S* => (\S+)", run.stdout)
    return found.group(1) if found else None


# ---- Files ----


def write_json(path, document):
    document = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **document,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


def write_chart(path, text):
    with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
        file.write(text)


# ---- Options ----


def worker_list(text):
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(1 <= count <= 512 for count in counts):
        raise argparse.ArgumentTypeError("expected numbers from 1 to 512, with commas between")
    return sorted(set(counts))
