#!/usr/bin/env python3
"""The project's lint; `./dev lint` is the way to call it.

Each check yields problems as `file:line: text`. The last line of the output is `lint: clean` or
`lint: N problems`. tests/test_lint.py feeds the checks with code that they must find fault with.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

LAYERS = ("sched", "io", "runtime")

# ---- Reading C ----


def blank(text, strings):
    """The text with comments (and, if asked, strings) turned into spaces; lines stay where they are."""
    token = re.compile(
        r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
    )

    def replace(match):
        if match.group(0)[0] in "\"'" and not strings:
            return match.group(0)
        return re.sub(r"[^\n]", " ", match.group(0))

    return token.sub(replace, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def files_of(root):
    """What git tracks, and what it would add: a new file is checked before its first commit."""
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split("\0")
    return sorted({f for f in listed if f and os.path.isfile(os.path.join(root, f))})


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


# ---- Includes point down ----

# What a layer may include besides the public headers, the system's, and itself.
MAY_INCLUDE = {
    "sched": ("sched",),
    "io": ("io", "sched"),
    "runtime": ("runtime", "io", "sched"),
}


def check_includes(root, files):
    for path in files:
        layer = path.split("/")[0]
        public = path.startswith("include/")
        if layer not in LAYERS and not public:
            continue
        text = blank(read(root, path), strings=False)
        for match in re.finditer(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", text, re.MULTILINE):
            quoted, target = match.group(1) == '"', match.group(2)
            where = f"{path}:{line_of(text, match.start(2))}"
            folder = os.path.dirname(path)
            if public:
                resolved = os.path.normpath(os.path.join(folder, target))
                if quoted and not (
                    resolved.startswith("include/skua/")
                    and os.path.exists(os.path.join(root, resolved))
                ):
                    yield f"{where}: a public header may include only include/skua: {target}"
                elif not quoted and re.match(r"(uv|pthread|stdatomic|threads)\.h$", target):
                    yield f"{where}: a public header must not bring in <{target}>"
                continue
            top = target.split("/")[0]
            if target == "skua.h" or top == "skua":
                continue
            if top in LAYERS:
                if top not in MAY_INCLUDE[layer]:
                    yield f"{where}: {layer}/ must not include {top}/: {target}"
            elif quoted:
                yield f"{where}: write includes from the project's root, such as \"{layer}/x.h\": {target}"


# ---- Concurrency, allocation, clocks and randomness only in the seam ----

SEAM = ("sched/sync.h", "sched/sync.c")
OUTSIDE_THE_SEAM = re.compile(
    r"\b_Atomic\b|__atomic_\w+|__sync_\w+|stdatomic\.h|\bpthread_\w+|\bpthread\.h|\bSYS_futex\b"
    r"|(?<![.>\w])(?:malloc|calloc|realloc|free|rand|srand|random)\s*\("
    r"|\b(?:clock_gettime|getrandom|nanosleep|clock_nanosleep|usleep)\b"
)


def check_seam(root, files):
    for path in files:
        if path.split("/")[0] not in LAYERS + ("include",) or path in SEAM:
            continue
        if not path.endswith((".c", ".h")):
            continue
        text = blank(read(root, path), strings=False)
        # A string may be the name of an included header, and nothing else.
        text = re.sub(
            r"\"(?:\\.|[^\"\\\n])*\"",
            lambda m: m.group(0) if m.group(0).endswith('.h"') else " " * len(m.group(0)),
            text,
        )
        for match in OUTSIDE_THE_SEAM.finditer(text):
            yield (
                f"{path}:{line_of(text, match.start())}: {match.group(0).strip('( ')} belongs into"
                " sched/sync.h"
            )


# ---- An awaited expression does not read what it assigns ----


def inside_parentheses(text, start):
    """What stands between the parenthesis that opens before `start` and its partner."""
    depth = 1
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth == 0:
            return text[start:position]
    return ""


def check_awaits(root, files):
    for path in files:
        if not path.endswith((".c", ".h", ".cpp", ".md")):
            continue
        text = read(root, path)
        if not path.endswith(".md"):
            text = blank(text, strings=True)
        for match in re.finditer(r"\bSKUA_AWAIT\(", text):
            awaited = inside_parentheses(text, match.end())
            assignment = re.match(r"\s*([\w.\[\]>-]+?)\s*=(?!=)(.*)", awaited, re.DOTALL)
            if assignment and re.search(
                rf"(?<![\w>.]){re.escape(assignment.group(1))}(?![\w(])", assignment.group(2)
            ):
                yield (
                    f"{path}:{line_of(text, match.start())}: {assignment.group(1)} is SKUA_PENDING when"
                    " this is evaluated again: do not read what is assigned"
                )


# ---- Every public function is documented ----


def ends_comment(lines, index):
    """Whether a comment that stands alone, and is not a section's title, ends at this line."""
    if index < 0 or not lines[index].rstrip().endswith("*/"):
        return False
    while index > 0 and "/*" not in lines[index]:
        index -= 1
    return lines[index].startswith("/*") and not lines[index].startswith("/* ---")


def check_comments(root, files):
    for path in files:
        if not (path.startswith("include/skua/") and path.endswith(".h")):
            continue
        lines = read(root, path).splitlines()
        covered = False  # the declaration that ends above this line has a comment
        inside = False  # in the middle of a declaration
        for number, line in enumerate(lines, 1):
            if inside:
                inside = ";" not in line
            elif line.startswith("SKUA_API"):
                # Declarations that follow each other without a gap share a comment.
                covered = covered or ends_comment(lines, number - 2)
                if not covered:
                    yield f"{path}:{number}: no comment above: {line.strip()}"
                inside = ";" not in line
            else:
                covered = False  # a gap, or something else


# ---- The documents name what exists ----

TEST_MACROS = r"^(?:T_TEST|T_TEST_T|T_ON_EACH_IO|T_ON_BACKENDS|MC_SCENARIO|MC_SCENARIO_WITH)"
TEST_OF_C = re.compile(TEST_MACROS + r"\(\s*(\w+),\s*(\w+)", re.MULTILINE)
CLAUSE = re.compile(r"^\*\*([A-Z])(\d+)\.\*\*", re.MULTILINE)
SEMANTICS = "docs/semantics.md"


def tests_of(root, path):
    """The names of the tests, or scenarios of the explorer, in a file; None if there is no such file."""
    if not os.path.isfile(os.path.join(root, path)):
        return None
    return {f"{suite}/{name}" for suite, name in TEST_OF_C.findall(read(root, path))}


def check_evidence(root, evidence):
    """What is wrong with `file.c`: `suite/name`, `suite/name`; `file.c`: ..."""
    path, tests, count = None, None, 0
    for token in re.findall(r"`([\w/]+(?:\.c)?)`", evidence):
        if token.endswith(".c"):
            path = "tests/" + token
            tests = tests_of(root, path)
            if tests is None:
                yield f"there is no {path}"
        elif "/" in token:
            count += 1
            if path is None:
                yield f"{token} stands before any file"
            elif tests is not None and token not in tests:
                yield f"{path} has no test {token}"
    if count == 0:
        yield "no test is named"


def check_semantics(root, files):
    """Each promise has a number of its own, in order, and names tests that exist."""
    if SEMANTICS not in files:
        return
    text = read(root, SEMANTICS)
    last = {}
    clauses = list(CLAUSE.finditer(text))
    ends = [match.start() for match in re.finditer(r"^(?:\*\*[A-Z]\d+\.\*\*|#)", text, re.MULTILINE)]
    for match in clauses:
        letter, number = match.group(1), int(match.group(2))
        where = f"{SEMANTICS}:{line_of(text, match.start())}: {letter}{number}"
        if number != last.get(letter, 0) + 1:
            yield f"{where} does not come after {letter}{last.get(letter, 0)}"
        last[letter] = number
        end = min((e for e in ends if e > match.start()), default=len(text))
        held = text.find("\nHeld by ", match.start(), end)
        for problem in check_evidence(root, text[held:end] if held >= 0 else ""):
            yield f"{where}: {problem}"
    if not clauses:
        yield f"{SEMANTICS}:1: no clause was found"


# It lists variables that do not exist, too.
OTHER_NAMES = ("docs/configuration.md",)


def check_documented_names(root, files):
    """Whatever of skua_ or SKUA_ a document names is declared in a public header, or asked for by a test."""
    declared = set()
    for path in files:
        if path.startswith("include/") and path.endswith(".h"):
            declared |= set(re.findall(r"\b(?:skua|SKUA)_\w+", read(root, path)))
        elif path.startswith("tests/") and path.endswith(".c"):
            declared |= set(re.findall(r'getenv\("(SKUA_\w+)"\)', read(root, path)))
    for path in files:
        if not path.endswith(".md") or "/" in path and not path.startswith("docs/") or path in OTHER_NAMES:
            continue
        text = read(root, path)
        for match in re.finditer(r"\b(?:skua|SKUA)_\w*\w", text):
            # A history tells of what is gone.
            if match.group(0) not in declared and path != "CHANGELOG.md":
                yield f"{path}:{line_of(text, match.start())}: no header declares {match.group(0)}, and no test asks for it"


# ---- Exported symbols ----


def public_functions(root, files):
    """Name -> file:line of everything that is declared SKUA_API."""
    found = {}
    for path in files:
        if not (path.startswith("include/") and path.endswith(".h")):
            continue
        text = blank(read(root, path), strings=True)
        for match in re.finditer(r"^SKUA_API\b([^;{]*)", text, re.MULTILINE):
            name = re.search(r"\b(skua_\w+)\s*\(", match.group(1))
            where = f"{path}:{line_of(text, match.start())}"
            if name:
                found[name.group(1)] = where
    return found


def check_symbols(root, files, library):
    run = subprocess.run(
        ["nm", "-D", "--defined-only", library], stdout=subprocess.PIPE, text=True, check=True
    )
    exported = set()
    for line in run.stdout.splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # the name of a symbol version
            exported.add(name.split("@")[0])
    declared = public_functions(root, files)
    for name in sorted(exported - declared.keys()):
        yield f"{os.path.basename(library)}: exports {name}, which no public header declares"
    for name in sorted(declared.keys() - exported):
        yield f"{declared[name]}: {name} is declared, but the library does not export it"


# ---- What other programs check ----


def output_of(command, **options):
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    return run.returncode, run.stdout


def check_format(root, files):
    sources = [f for f in files if f.endswith((".c", ".h"))]
    if sources:
        code, text = output_of(
            ["clang-format", "--style=file", "--dry-run", "--Werror", *sources], cwd=root
        )
        problems = re.findall(r"^\S+:\d+:\d+: error: .*$", text, re.MULTILINE)
        yield from problems
        if code != 0 and not problems:
            yield f"clang-format: {text.strip()}"


def check_tidy(root, files, build_dir):
    with open(os.path.join(build_dir, "compile_commands.json"), encoding="utf-8") as file:
        database = json.load(file)
    compiled = {
        os.path.relpath(os.path.join(entry["directory"], entry["file"]), root) for entry in database
    }
    sources = sorted(compiled & set(files))

    def one(path):
        code, text = output_of(
            ["clang-tidy", "--quiet", "-p", build_dir, "--extra-arg=-Wno-unknown-warning-option", path],
            cwd=root,
        )
        return path, code, text

    seen = set()
    with ThreadPoolExecutor(2) as pool:
        for path, code, text in pool.map(one, sources):
            problems = re.findall(r"^(\S+?:\d+):\d+: (?:error|warning): (.*)$", text, re.MULTILINE)
            for where, message in problems:
                place = os.path.relpath(os.path.join(build_dir, where), root)
                problem = f"{place}: {message}"
                if problem not in seen:
                    seen.add(problem)
                    yield problem
            if code != 0 and not problems:
                yield f"{path}: clang-tidy: {text.strip()}"


def check_warnings(root, build_dir):
    """A build of its own in which the compiler's warnings are errors."""
    folder = build_dir + "-lint"
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        code, text = output_of(["meson", "setup", "--werror", folder, root])
        if code != 0:
            yield f"meson setup: {text.strip()}"
            return
    code, text = output_of(["ninja", "-k", "0", "-C", folder])
    problems = re.findall(r"^(\S+?:\d+):\d+: error: (.*)$", text, re.MULTILINE)
    for where, message in sorted(set(problems)):
        yield f"{os.path.relpath(os.path.join(folder, where), root)}: {message}"
    if code != 0 and not problems:
        yield f"the build failed: {text.strip()}"


def check_headers_alone(root, files):
    """Each public header compiles on its own, as each language and by each compiler there is."""
    flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iinclude"]
    kinds = [
        ("c", "c11", ("gcc", "clang")),
        ("c", "c17", ("gcc", "clang")),
        ("c++", "c++17", ("g++", "clang++")),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            if not (path.startswith("include/") and path.endswith(".h")):
                continue
            for language, standard, compilers in kinds:
                source = os.path.join(folder, "alone." + ("c" if language == "c" else "cpp"))
                with open(source, "w", encoding="utf-8") as file:
                    # Twice: the include guard is tested, too.
                    name = path[len("include/") :]
                    file.write(f'#include "{name}"\n#include "{name}"\nint skua_alone_;\n')
                found = [c for c in compilers if shutil.which(c)]
                if not found:
                    yield f"{path}:1: no compiler for {standard}: need one of {', '.join(compilers)}"
                for compiler in found:
                    code, text = output_of(
                        [compiler, f"-std={standard}", *flags, source], cwd=root
                    )
                    if code != 0:
                        errors = re.findall(r"^.*error: .*$", text, re.MULTILINE) or [text.strip()]
                        yield f"{path}:1: not alone as {standard} with {compiler}: {errors[0]}"


def check_scripts(root, files):
    shell = []
    for path in files:
        if path.endswith(".py"):
            try:
                compile(read(root, path), path, "exec")
            except SyntaxError as error:
                yield f"{path}:{error.lineno}: {error.msg}"
        elif os.path.isfile(os.path.join(root, path)) and "." not in os.path.basename(path):
            with open(os.path.join(root, path), "rb") as file:
                if re.match(rb"#!.*\b(ba)?sh\b", file.readline()):
                    shell.append(path)
        elif path.endswith(".sh"):
            shell.append(path)
    if shell:
        code, text = output_of(["shellcheck", "-f", "gcc", *shell], cwd=root)
        problems = [line for line in text.splitlines() if line.strip()]
        yield from problems
        if code != 0 and not problems:
            yield "shellcheck failed"


# ---- All of it ----


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build-dir", required=True)
    arguments = parser.parse_args()
    build_dir = os.path.abspath(arguments.build_dir)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = files_of(root)
    checks = [
        ("format (clang-format)", lambda: check_format(root, files)),
        ("includes point down", lambda: check_includes(root, files)),
        ("concurrency only in sched/sync.h", lambda: check_seam(root, files)),
        ("awaits do not read what they assign", lambda: check_awaits(root, files)),
        ("public functions are documented", lambda: check_comments(root, files)),
        ("promises name their tests", lambda: check_semantics(root, files)),
        ("documents name what exists", lambda: check_documented_names(root, files)),
        ("public headers compile alone", lambda: check_headers_alone(root, files)),
        (
            "exported symbols",
            lambda: check_symbols(root, files, os.path.join(build_dir, "libskua.so")),
        ),
        ("no compiler warnings", lambda: check_warnings(root, build_dir)),
        ("scripts (shellcheck, python)", lambda: check_scripts(root, files)),
        ("static analysis (clang-tidy)", lambda: check_tidy(root, files, build_dir)),
    ]
    total = 0
    for title, check in checks:
        problems = list(check())
        total += len(problems)
        print(f"{title}: {'ok' if not problems else f'{len(problems)} problems'}")
        for problem in problems:
            print(f"  {problem}")
        sys.stdout.flush()
    print("lint: clean" if not total else f"lint: {total} problems", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
