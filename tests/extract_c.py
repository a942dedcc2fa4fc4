#!/usr/bin/env python3
"""Writes the C of a document, all its blocks one after the other, into a file: extract_c.py DOCUMENT FILE."""

import re
import sys


def extract(text, name):
    """The C blocks of a document, each with its place, so that the compiler's messages lead there."""
    pieces = []
    for match in re.finditer(r"^```c\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(1)) + 1
        pieces.append(f'#line {line} "{name}"\n{match.group(1)}')
    return "".join(pieces)


def main():
    document, target = sys.argv[1:]
    with open(document, encoding="utf-8") as file:
        code = extract(file.read(), document)
    if not code:
        sys.exit(f"{document} has no C in it")
    with open(target, "w", encoding="utf-8") as file:
        file.write(code)


if __name__ == "__main__":
    main()
