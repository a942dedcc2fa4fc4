#!/usr/bin/env python3
"""Tests of lint.py: each check must find fault with bad code, and let good code pass. Writes TAP."""

import os
import sys
import tempfile

import lint
import tap

DOCUMENTED = "/* Says what it does. */\nSKUA_API int skua_a(void);\nSKUA_API int skua_b(int x,\n\t\tint y);\n"

# name, check, file, its text, how many problems
CASES = [
    ("includes_up_from_sched", lint.check_includes, "sched/a.c", '#include "io/driver.h"\n', 1),
    ("includes_up_from_io", lint.check_includes, "io/a.h", '# include "runtime/runtime.h"\n', 1),
    ("includes_relative", lint.check_includes, "io/a.c", '#include "driver.h"\n', 1),
    ("includes_up_from_public", lint.check_includes, "include/skua/a.h", '#include "../../sched/a.h"\n', 1),
    ("includes_uv_in_public", lint.check_includes, "include/skua/a.h", "#include <uv.h>\n", 1),
    (
        "includes_down_are_fine",
        lint.check_includes,
        "runtime/a.c",
        '#include "io/driver.h"\n#include "sched/task.h"\n#include <skua.h>\n#include "skua/task.h"\n#include <uv.h>\n',
        0,
    ),
    ("includes_in_comments_are_fine", lint.check_includes, "sched/a.c", '/*\n#include "io/driver.h"\n*/\n', 0),
    ("seam_atomic", lint.check_seam, "sched/deque.c", "static _Atomic int x;\n", 1),
    ("seam_builtin", lint.check_seam, "io/a.c", "int f(int *p) { return __atomic_load_n(p, 0); }\n", 1),
    ("seam_header", lint.check_seam, "io/a.c", "#include <stdatomic.h>\n", 1),
    ("seam_pthread", lint.check_seam, "runtime/a.c", "pthread_mutex_lock(&lock);\n", 1),
    ("seam_malloc", lint.check_seam, "sched/task.c", "p = malloc(3);\n", 1),
    ("seam_free_after_cast", lint.check_seam, "sched/task.c", "if (p)\n\tfree (p);\n", 1),
    ("seam_clock", lint.check_seam, "sched/timer.c", "clock_gettime(CLOCK_MONOTONIC, &t);\n", 1),
    ("seam_random", lint.check_seam, "sched/worker.c", "i = rand() % n;\n", 1),
    ("seam_itself_is_fine", lint.check_seam, "sched/sync.h", "static _Atomic int x;\n", 0),
    (
        "seam_comments_and_names_are_fine",
        lint.check_seam,
        "include/skua/a.h",
        "/* like malloc() */\nvoid *(*malloc)(size_t size);\nallocator->free(p);\nskua_free(p);\n"
        'const char *t = "malloc(3)";\n',
        0,
    ),
    ("awaits_read_what_they_assign", lint.check_awaits, "tests/a.c", "SKUA_AWAIT(s->n = f(cx, (size_t)s->n));\n", 1),
    ("awaits_of_another_variable", lint.check_awaits, "tests/a.c", "SKUA_AWAIT(s->n = f(s->nn, t->s->n, (s->m)));\n", 0),
    ("comments_missing", lint.check_comments, "include/skua/a.h", "int x;\n\nSKUA_API int skua_a(void);\n", 1),
    (
        "comments_of_another_group",
        lint.check_comments,
        "include/skua/a.h",
        DOCUMENTED + "\nSKUA_API int skua_c(void);\n",
        1,
    ),
    (
        "comments_at_the_end_of_a_line",
        lint.check_comments,
        "include/skua/a.h",
        "int x; /* x */\nSKUA_API int skua_a(void);\n",
        1,
    ),
    (
        "comments_that_are_titles",
        lint.check_comments,
        "include/skua/a.h",
        "/* ---- Section ---- */\nSKUA_API int skua_a(void);\n",
        1,
    ),
    ("comments_of_a_group_are_fine", lint.check_comments, "include/skua/a.h", DOCUMENTED, 0),
    ("python_syntax", lint.check_scripts, "tests/a.py", "def f(:\n", 1),
    ("python_is_fine", lint.check_scripts, "tests/a.py", "def f():\n    pass\n", 0),
]


def main():
    out = tap.Writer(sys.argv[1:])
    for name, check, path, text, expected in CASES:
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, os.path.dirname(path)))
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
            problems = list(check(root, [path]))
        out.check(
            f"lint/{name}",
            len(problems) == expected,
            f"expected {expected} problems, found {len(problems)}:\n" + "\n".join(problems),
        )
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "include/skua"))
        with open(os.path.join(root, "include/skua/a.h"), "w", encoding="utf-8") as file:
            file.write(DOCUMENTED + "SKUA_API SKUA_MUST_USE skua_poll *skua_c(\n\tskua_cx *cx);\n")
        names = sorted(lint.public_functions(root, ["include/skua/a.h"]))
    out.check("lint/public_functions_are_read", names == ["skua_a", "skua_b", "skua_c"], names)
    return out.done()


sys.exit(main())
