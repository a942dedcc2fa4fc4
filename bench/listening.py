"""Where a server that was started with port 0 says that it listens."""

import re
import selectors

START_SECONDS = 10


class Silent(Exception):
    """It has not said so, and what instead."""


def port_of(process):
    """Reads the first line of a server's standard output, which is a pipe of bytes."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(START_SECONDS):
            raise Silent(f"has not said where it listens in {START_SECONDS} s")
    line = process.stdout.readline().decode(errors="replace")
    found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
    if not found:
        raise Silent(f"said {line!r} instead of where it listens")
    return int(found[1])
