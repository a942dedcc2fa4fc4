"""What wrk prints, as numbers."""

import re


def microseconds(text):
    """wrk's "1.23ms" as a number."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def result_of(output):
    """What `wrk --latency` has found: (result, errors). None if it is not all there."""
    counts = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    # At the start of a line: a share such as "69.99%" stands elsewhere.
    median = re.search(r"^\s+50%\s+(\S+)", output, re.MULTILINE)
    tail = re.search(r"^\s+99%\s+(\S+)", output, re.MULTILINE)
    if not (counts and rate and median and tail):
        return None, 1
    errors = 0
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    if sockets:
        errors += sum(map(int, sockets.groups()))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if refused:
        errors += int(refused.group(1))
    return {
        "requests": int(counts.group(1)),
        "rate": float(rate.group(1)),
        "p50": microseconds(median.group(1)),
        "p99": microseconds(tail.group(1)),
    }, errors
