#!/usr/bin/env python3
"""Tests of bench/compare_net.py with stand-ins for servers and net-load. Writes TAP."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.dom.minidom

import tap

BENCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench")

# Listens nowhere: the port that it names tells the other stand-in which server it is.
SERVER = r"""#!/usr/bin/env python3
import json, os, signal, sys
known = json.load(open(sys.argv[0] + ".json"))
if known.get("refuses") and "--about" not in sys.argv:
    sys.exit("will not")
if sys.argv[2:] == ["--about"]:
    print(json.dumps({"program": "any", "version": known["version"], "language": "none"}))
    sys.exit(0)
if "SKUA_IO_POLL" in os.environ:
    print("SKUA_IO_POLL has no effect", file=sys.stderr)
status = known.get("status", 0)
signal.signal(signal.SIGTERM, lambda *_: os._exit(status))
port = known["port"] + (50 if os.environ.get("SKUA_IO_BACKEND") == "uv" else 0)
print(f"listening on 127.0.0.1:{port}", flush=True)
sys.stdin.read()
"""

LOAD = r"""#!/usr/bin/env python3
import json, sys, time
if sys.argv[1:] == ["--calibrate"]:
    print(300)
    sys.exit(0)
options = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
known = json.load(open(sys.argv[0] + ".json"))[options["port"]]
time.sleep(known.get("sleeps", 0))
errors = known.get("errors", 0) if options["connections"] == "64" else 0
if errors:
    print("net-load: the first error: it is broken", file=sys.stderr)
latency = {"p50": 1, "p90": 1, "p99": known.get("p99", 10), "p99.9": 2, "max": 3}
rate = float(options.get("rate", known["rate"]))
server = {"cpu_ns_per_request": known["cpu"], "switches_per_request": 0.5, "bytes_per_idle": None}
print(json.dumps({
    "requests": 1, "seconds": 1, "per_second": rate, "errors": errors,
    "latency_us": latency, "slow_latency_us": None, "latencies": 1, "server": server,
    "client_cpu_ns_per_request": 1000, "worst_lateness_us": 5,
}))
sys.exit(1 if errors else 0)
"""


class Comparison:
    """compare_net.py with stand-ins: name -> what it is known to do."""

    def __init__(self, servers, *options, interrupt=None):
        with tempfile.TemporaryDirectory() as folder:

            def write(name, text, mode=0o644):
                path = os.path.join(folder, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                os.chmod(path, mode)
                return path

            known = {}
            command = [sys.executable, os.path.join(BENCH, "compare_net.py")]
            for number, (name, server) in enumerate(servers.items()):
                server = dict(server, port=100 + number, version=f"1.{len(name)}")
                command += [f"--{name}", write(name, SERVER, 0o755)]
                write(name + ".json", json.dumps(server))
                known[server["port"]] = server
                known[server["port"] + 50] = dict(server, rate=server.get("rate", 1) * 2)
            command += ["--load", write("load", LOAD, 0o755)]
            write("load.json", json.dumps(known))
            result = os.path.join(folder, "out.json")
            command += ["--json", result, "--rounds=3", *options]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process:
                if interrupt:
                    time.sleep(interrupt)
                    process.send_signal(signal.SIGTERM)
                self.text, _ = process.communicate(timeout=100)
            self.code = process.returncode
            self.last = (self.text.splitlines() or [""])[-1]
            self.json = None
            if os.path.exists(result):
                with open(result, encoding="utf-8") as file:
                    self.json = json.load(file)
            self.left = processes_in(folder)

    def has(self, code, last, *parts):
        return self.code == code and self.last == last and all(p in self.text for p in parts)

    def row(self, name):
        return next(row for row in self.json["rows"] if row["name"] == name)


def processes_in(folder):
    """The processes that have this folder in their command lines."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if pid.isdigit() and folder.encode() in file.read():
                    found.append(pid)
        except OSError:
            pass
    return found


OURS = {"rate": 300, "cpu": 50}
TOKIO = {"rate": 100, "cpu": 100, "p99": 40}
ASIO = {"rate": 150, "cpu": 40}
EPOLL = {"rate": 600, "cpu": 25}
NOTHING = "compare net: there was nothing to compare with"


def test_comparisons(out):
    def check(name, comparison, *expected):
        out.check(f"compare_net/{name}", comparison.has(*expected), comparison.text)

    servers = {"ours": OURS, "tokio": TOKIO, "asio": ASIO, "epoll": EPOLL}
    last = "compare net: req/s geomean 3.00, CPU/req geomean 0.50 vs tokio 1.5; worst 3.00 (hello_1)"
    all_four = Comparison(servers, "--servers=skua,tokio,asio,epoll,go", "--filter=hello_1")
    check("ratios", all_four, 0, last, "without go: it has not been built", "3.00 (3.00-3.00)")
    check("each_mean", all_four, 0, last, "skua to epoll: req/s geomean 0.50, CPU/req 2.00")
    row = all_four.row("hello_1") if all_four.json else {}
    right = row and row["best"] == {"rate": "asio", "cpu_ns": "asio"}
    out.check("compare_net/best_has_several_workers", right, all_four.text)
    right = row and row["ratios"]["tokio"] == {"rate": 3, "cpu_ns": 0.5, "p99": 0.25}
    out.check("compare_net/ratios_in_the_json", right, row)
    right = row and all(len(samples) == 3 for samples in row["samples"].values())
    out.check("compare_net/three_rounds", right, row)

    rate = Comparison(servers, "--servers=skua,tokio,epoll", "--filter=rate_64")
    last = last.replace("hello_1", "hello_64")
    check("a_given_rate_counts_in_no_mean", rate, 0, last)
    right = rate.json and "--rate=60" in rate.row("rate_64")["load"]
    out.check("compare_net/the_rate_is_a_share_of_the_slowest", right, rate.text)
    stuck = Comparison(servers, "--servers=skua,tokio,epoll", "--filter=stuck", "--quick")
    right = stuck.json and stuck.row("stuck")["servers"] == ["skua", "tokio"]
    out.check("compare_net/stuck_without_servers_of_one_thread", right, stuck.text)

    variants = Comparison(servers, "--servers=skua-driver,skua-uv,tokio", "--filter=hello_1")
    last = "compare net: req/s geomean 6.00, CPU/req geomean 0.50 vs tokio 1.5; worst 6.00 (hello_1)"
    check("variants", variants, 0, last, "without skua driver: SKUA_IO_POLL has no effect")
    options = ["--servers=skua,tokio", "--filter=hello_1"]
    refusing = Comparison({"ours": OURS, "tokio": {"refuses": 1}}, *options)
    check("a_server_that_does_not_start", refusing, 1, NOTHING, "without tokio: will not")
    check("without_peers", Comparison({"ours": OURS}, *options), 1, NOTHING, "300.0")
    bad = Comparison(dict(servers, ours=dict(OURS, errors=7)), "--servers=skua,tokio", "--filter=hello_[16]*")
    says = "failed: hello_64: skua: 7 errors: net-load: the first error: it is broken"
    check("errors", bad, 1, last.replace("6.00", "3.00"), says)
    bad = Comparison({"ours": dict(OURS, status=3), "tokio": TOKIO}, *options)
    check("a_bad_end", bad, 1, NOTHING, "without skua: exit code 3 at its end")
    none = Comparison(servers, "--filter=nope")
    out.check("compare_net/filter_without_a_match", none.code == 2, none.text)
    unknown = Comparison(servers, "--servers=skua,nginx")
    out.check("compare_net/unknown_server", unknown.code == 2, unknown.text)

    sleeping = Comparison({"ours": dict(OURS, sleeps=9), "tokio": TOKIO}, *options, interrupt=1.5)
    right = sleeping.code == 1 and sleeping.left == []
    out.check("compare_net/interrupted_it_leaves_nothing", right, f"{sleeping.left} {sleeping.text}")


def test_chart(out):
    sys.path.insert(0, BENCH)
    import ratio_chart

    first = ratio_chart.draw("a", "b", [("x", 2, 1, 3)], more_is_better=True)
    second = ratio_chart.draw("c", "d", [("x", 0.5, 0.4, 3)], more_is_better=False)
    document = xml.dom.minidom.parseString(ratio_chart.stack([first, second]))
    parts = document.documentElement.getElementsByTagName("svg")
    heights = [int(part.getAttribute("height")) for part in parts]
    bars = [part.getElementsByTagName("rect")[1].getAttribute("fill") for part in parts]
    right = (
        [part.getAttribute("y") for part in parts] == ["0", str(heights[0])]
        and document.documentElement.getAttribute("height") == str(sum(heights))
        and bars[0] == bars[1] == ratio_chart.BETTER
    )
    out.check("compare_net/charts_in_one", right, document.toxml())


def main():
    out = tap.Writer(sys.argv[1:])
    test_comparisons(out)
    test_chart(out)
    return out.done()


sys.exit(main())
