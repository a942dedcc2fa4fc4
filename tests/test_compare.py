#!/usr/bin/env python3
"""Tests of bench/compare.py with stand-ins, programs whose results are known. Writes TAP."""

import json
import os
import subprocess
import sys
import tempfile
import xml.dom.minidom

import tap

BENCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench")
sys.path.insert(0, BENCH)
import ratio_chart  # noqa: E402 (found by the line above)

# Has results as a program of bench/peers has, without measuring: those in the file beside it.
STAND_IN = r"""#!/usr/bin/env python3
import fnmatch, json, sys
known = json.load(open(sys.argv[0] + ".json"))
if sys.argv[1] not in ("engine", "time", "scope"):
    sys.exit(2)
words = sys.argv[2:]
if words == ["--list"]:
    print("\n".join(n for n in known["results"] if n.startswith(sys.argv[1] + "/")))
    sys.exit(0)
if words == ["--help"]:
    print("usage: stand-in")
    sys.exit(0)
options = dict(zip(words[::2], words[1::2]))
names = [n for n in known["results"] if fnmatch.fnmatchcase(n, options["--filter"])]
names = [n for n in names if n.startswith(sys.argv[1] + "/")]
if len(names) != 1:
    sys.exit(f"{options['--filter']} fits {names}")
name = names[0]
value = known["results"][name]
report = {"program": "any", "version": known["version"], "language": "none", "results": [], "skipped": []}
if value == "wrong":
    sys.exit("a wrong answer")
elif value == "garbage":
    print("not JSON")
    sys.exit(0)
elif value == "skipped":
    report["skipped"].append({"name": name, "reason": "none"})
elif isinstance(value, dict):
    report["results"].append({"name": name, "workers": int(options["--workers"]), **value})
else:
    sample = {"ns": value, "cpu_ns": value / 4, "switches": 0}
    samples = [sample] * int(options["--samples"])
    row = {"name": name, "workers": int(options["--workers"]), "operations": 1, "samples": samples}
    report["results"].append(row)
print(json.dumps(report))
"""


class Comparison:
    """One run of compare.py with stand-ins for the programs: name -> results."""

    def __init__(self, programs, *options, what="engine"):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, os.path.join(BENCH, "compare.py"), what, *options]
            command += ["--workers", "2", "--json", os.path.join(folder, "out.json")]
            for name, results in programs.items():
                path = os.path.join(folder, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(STAND_IN)
                os.chmod(path, 0o755)
                with open(path + ".json", "w", encoding="utf-8") as file:
                    family = "" if what == "time" else "engine/"
                    known = {f"{family}{key}": value for key, value in results.items()}
                    json.dump({"version": f"1.{len(name)}", "results": known}, file)
                command += [f"--{name}", path]
            run = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=100,
            )
            self.code = run.returncode
            self.text = run.stdout
            self.last = (run.stdout.splitlines() or [""])[-1]
            self.json = None
            if os.path.exists(os.path.join(folder, "out.json")):
                with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
                    self.json = json.load(file)

    def has(self, code, last, *parts):
        return self.code == code and self.last == last and all(p in self.text for p in parts)


OURS = {"a": 50, "b": 300, "memory": {"bytes": 100}}
TOKIO = {"a": 100, "b": 150, "memory": {"bytes": 400}}
GO = {"a": 25, "b": "skipped", "memory": {"bytes": 50}}
CLOSING = "compare engine: geomean 1.00, worst 2.00 (b at 2 workers) vs tokio 1.5"
NOTHING = "compare engine: there was nothing to compare with"


def test_comparisons(out):
    def check(name, comparison, *expected):
        out.check(f"compare/{name}", comparison.has(*expected), comparison.text)

    all_three = Comparison({"ours": OURS, "tokio": TOKIO, "go": GO})
    check("ratios_mean_and_worst", all_three, 0, CLOSING, "0.50 (0.50-0.50)  0.50", "2.00 (2.00")
    found = all_three.json["summaries"]["go"] if all_three.json else None
    expected = {"geomean": 2.0, "worst": 2.0, "name": "engine/a", "workers": 2}
    out.check("compare/what_a_peer_skips_is_left_out", found == expected, all_three.text)
    line = [line for line in all_three.text.splitlines() if line.startswith("memory")]
    cells = ["2", "100.0", "±0%", "400.0", "±0%", "50.0", "±0%", "0.25", "2.00"]
    right = line and line[0].split()[-9:] == cells
    out.check("compare/values_stand_beside_the_mean", right, all_three.text)
    rows = all_three.json["rows"] if all_three.json else []
    counts = {len(row["samples"]["skua"]["ns"]) for row in rows if "ns" in row["samples"]["skua"]}
    out.check("compare/six_samples", counts == {6}, all_three.text)
    found = [(r["medians"]["skua"], r["spreads_percent"]["tokio"]) for r in rows if r["name"] == "engine/b"]
    expected = [({"ns": 300, "cpu_ns": 75, "switches": 0}, {"ns": 0, "cpu_ns": 0, "switches": 0})]
    out.check("compare/medians_and_spreads_in_the_json", found == expected, all_three.text)
    counts = [len(r["samples"]["go"]["bytes"]) for r in rows if r["name"] == "engine/memory"]
    out.check("compare/memory_in_five_processes", counts == [5], all_three.text)

    quick = Comparison({"ours": OURS, "tokio": TOKIO}, "--quick")
    check("quick", quick, 0, CLOSING, "without go")
    without = Comparison({"ours": OURS, "go": GO})
    last = "compare engine: geomean 2.00, worst 2.00 (a at 2 workers) vs go 1.2"
    check("without_tokio_go_is_left", without, 0, last, "without tokio: it has not been built")
    check("without_peers", Comparison({"ours": OURS}), 1, NOTHING, "without go", "50.0")
    nothing = Comparison({"ours": {"a": 1}, "tokio": {"b": 1}})
    check("without_a_workload_in_common", nothing, 1, NOTHING, "only tokio has engine/b")

    names = {"spawn": 10, "spawn10": 20, "respawn": 30}
    last = "compare engine: geomean 1.00, worst 1.00 (spawn at 1 worker) vs tokio 1.5"
    check("names_that_contain_another", Comparison({"ours": names, "tokio": names}), 0, last)
    filtered = Comparison({"ours": OURS, "tokio": TOKIO}, "--filter", "[a]")
    last = "compare engine: geomean 0.50, worst 0.50 (a at 2 workers) vs tokio 1.5"
    check("filter", filtered, 0, last)
    no_match = Comparison({"ours": OURS, "tokio": TOKIO}, "--filter", "nope")
    out.check("compare/filter_without_a_match", no_match.code == 2, no_match.text)

    last = "compare engine: geomean 0.50, worst 0.50 (a at 2 workers) vs tokio 1.5"
    for value, says in (
        ("wrong", "failed: engine/b at 2 workers: tokio: exit code 1: a wrong answer"),
        ("garbage", "failed: engine/b at 2 workers: tokio: not the JSON"),
    ):
        comparison = Comparison({"ours": OURS, "tokio": dict(TOKIO, b=value)})
        check(f"{value}_answer_fails", comparison, 1, last, says)
    comparison = Comparison({"ours": dict(OURS, b="wrong"), "tokio": TOKIO})
    check("wrong_answer_of_ours_fails", comparison, 1, last, "skua: exit code 1")


def live(p50, p99, cpu):
    return {"samples": [{"late_p50_ns": p50, "late_p99_ns": p99, "cpu_ns_per_s": cpu}] * 3}


def test_time(out):
    ours = {"time/a": 40, "scope/b": 90, "time/live": live(1000, 1_500_000, 300), "engine/c": 1}
    tokio = {"time/a": 100, "scope/b": 100, "time/live": live(2000, 3_000_000, 100), "engine/c": 2}
    closing = "compare time: geomean 0.60, worst 0.90 (b at 2 workers) vs tokio 1.5"
    both = Comparison({"ours": ours, "tokio": tokio}, what="time")
    kept = "limit: time/live at 2 workers: late_p99_ns 1500000, at most 1500000: kept"
    right = both.has(0, closing, kept, "0.40 (0.40-0.40)") and "engine" not in both.text
    out.check("compare/time_takes_two_families", right, both.text)
    lines = [line for line in both.text.splitlines() if line.startswith("live: ")]
    cells = {line.rsplit(None, 6)[0]: line.split()[-1] for line in lines}
    expected = {
        "live: ns after its deadline that a timer fires, half of them": "0.50",
        "live: ns after its deadline that a timer fires, 99 %": "0.50",
        "live: ns of CPU time in a second": "3.00",
    }
    out.check("compare/each_figure_has_its_line", cells == expected, f"{cells}\n{both.text}")
    rows = both.json["rows"] if both.json else []
    found = [row["medians"]["skua"] for row in rows if row["name"] == "time/live"]
    expected = [{"late_p50_ns": 1000, "late_p99_ns": 1_500_000, "cpu_ns_per_s": 300}]
    out.check("compare/each_figure_is_in_the_json", found == expected, both.text)

    late = dict(ours, **{"time/live": live(1000, 1_500_001, 300)})
    comparison = Comparison({"ours": late, "tokio": tokio}, "--quick", what="time")
    exceeded = "late_p99_ns 1500001, at most 1500000: EXCEEDED"
    out.check("compare/a_limit_is_exceeded", comparison.has(0, closing, exceeded), comparison.text)


def test_chart(out):
    text = ratio_chart.draw("a < b", "c & d", [("fast", 0.5, 0.4, 0.6), ("slow", 3, 2, 500)])
    document = xml.dom.minidom.parseString(text)
    one = [line for line in document.getElementsByTagName("line") if line.getAttribute("class") == "one"]
    bars = document.getElementsByTagName("rect")[1:]
    edges = [(float(b.getAttribute("x")), float(b.getAttribute("width"))) for b in bars]
    middle = float(one[0].getAttribute("x1"))
    right = (
        len(one) == 1
        and len(edges) == 2
        and abs(sum(edges[0]) - middle) < 0.2
        and edges[0][1] > 0
        and abs(edges[1][0] - middle) < 0.2
        and abs(edges[1][1] / edges[0][1] - 1.585) < 0.02  # log 3 / log 2
    )
    out.check("compare/chart_bars_start_at_one", right, text)


def main():
    out = tap.Writer(sys.argv[1:])
    test_comparisons(out)
    test_time(out)
    test_chart(out)
    return out.done()


sys.exit(main())
