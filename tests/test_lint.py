#!/usr/bin/env python3
"""Tests of lint.py: each check must find fault with bad code, and let good code pass. Writes TAP."""

import os
import subprocess
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

# Checks that compare files: name, check, the files, how many problems. Each clause is one of SEMANTICS.
CLAUSE = "**A{}.** A promise.\n\nHeld by {}.\n\n"
TEST_FILES = {
    "tests/test_a.c": "T_TEST(a, one)\n{\n}\nT_ON_EACH_IO(a, two)\nT_TEST_T(a, three, 10)\n",
    "tests/model/kernel_a.c": "MC_SCENARIO(a, one)\nMC_SCENARIO_WITH(a, four, .preemptions = 1)\n",
}


def semantics(*clauses):
    return {**TEST_FILES, "docs/semantics.md": "# Semantics\n\n" + "".join(CLAUSE.format(*c) for c in clauses)}


TREES = [
    (
        "semantics_are_fine",
        lint.check_semantics,
        semantics((1, "`test_a.c`: `a/one`, `a/two`,\n`a/three`"), (2, "`model/kernel_a.c`: `a/one`; `test_a.c`: `a/one`")),
        0,
    ),
    ("semantics_of_any_kind_of_scenario", lint.check_semantics, semantics((1, "`model/kernel_a.c`: `a/four`")), 0),
    ("semantics_without_a_test", lint.check_semantics, semantics((1, "nothing")), 1),
    (
        "semantics_do_not_borrow_the_tests_of_the_next",
        lint.check_semantics,
        {**TEST_FILES, "docs/semantics.md": "**A1.** A promise.\n\n" + CLAUSE.format(2, "`test_a.c`: `a/one`")},
        1,
    ),
    ("semantics_of_no_such_test", lint.check_semantics, semantics((1, "`test_a.c`: `a/one`, `a/four`")), 1),
    ("semantics_of_the_test_of_another_file", lint.check_semantics, semantics((1, "`model/kernel_a.c`: `a/two`")), 1),
    ("semantics_of_no_such_file", lint.check_semantics, semantics((1, "`test_b.c`: `a/one`")), 1),
    ("semantics_of_no_file", lint.check_semantics, semantics((1, "`a/one`")), 1),
    (
        "semantics_with_a_number_twice",
        lint.check_semantics,
        semantics((1, "`test_a.c`: `a/one`"), (1, "`test_a.c`: `a/two`")),
        1,
    ),
    ("semantics_with_a_number_left_out", lint.check_semantics, semantics((2, "`test_a.c`: `a/one`")), 1),
    ("semantics_without_clauses", lint.check_semantics, {"docs/semantics.md": "# Semantics\n"}, 1),
    (
        "documents_name_what_is_not_declared",
        lint.check_documented_names,
        {"include/skua/a.h": DOCUMENTED, "docs/a.md": "`skua_a` and skua_c(x)\n", "README.md": "SKUA_C\n"},
        2,
    ),
    (
        "documents_name_what_is_declared",
        lint.check_documented_names,
        {"include/skua/a.h": DOCUMENTED, "docs/a.md": "`skua_a(2)`\n", "CHANGELOG.md": "skua_c\n"},
        0,
    ),
]


def check_tree(out, name, check, tree, expected):
    with tempfile.TemporaryDirectory() as root:
        for path, text in tree.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        problems = list(check(root, list(tree)))
    out.check(
        f"lint/{name}",
        len(problems) == expected,
        f"expected {expected} problems, found {len(problems)}:\n" + "\n".join(problems),
    )


def check_files(out):
    # In a hook git says whose repository it is: not this one.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as root:

        def git(*arguments):
            subprocess.run(["git", "-C", root, *arguments], check=True)

        def write(name, text):
            with open(os.path.join(root, name), "w", encoding="utf-8") as file:
                file.write(text)

        git("init", "-q")
        write(".gitignore", "ignored.c\n")
        for name in ("tracked.c", "removed.c", "new.c", "ignored.c"):
            write(name, "")
        git("add", "tracked.c", "removed.c")
        os.remove(os.path.join(root, "removed.c"))
        files = lint.files_of(root)
    out.check("lint/new_files_are_checked", files == [".gitignore", "new.c", "tracked.c"], files)


def main():
    out = tap.Writer(sys.argv[1:])
    for name, check, path, text, expected in CASES:
        check_tree(out, name, check, {path: text}, expected)
    for name, check, tree, expected in TREES:
        check_tree(out, name, check, tree, expected)
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "include/skua"))
        with open(os.path.join(root, "include/skua/a.h"), "w", encoding="utf-8") as file:
            file.write(DOCUMENTED + "SKUA_API SKUA_MUST_USE skua_poll *skua_c(\n\tskua_cx *cx);\n")
        names = sorted(lint.public_functions(root, ["include/skua/a.h"]))
    out.check("lint/public_functions_are_read", names == ["skua_a", "skua_b", "skua_c"], names)
    check_files(out)
    return out.done()


sys.exit(main())
