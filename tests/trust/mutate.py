#!/usr/bin/env python3
"""Do the tests see it when one thing in a source file is another?

    mutate.py COMPILE LIBRARIES OBJECTS FILE [COUNT [SEED]]

COUNT (100; 0: all) changes are chosen of all that FILE has room for: operators, numbers, statements left out. With each of
them FILE is compiled, and linked with the unit suite of its name and with the command; then the suite runs, and what the
golden files say of the command is asked. Prints the changes that nothing saw: each is a test that is missing, or a change
that changes nothing, which only a reader can tell. (What shows only where memory or a call fails, or as a leak, is seen by
test_faults, which takes a minute and is not asked.) COMPILE and LIBRARIES are the Makefile's, OBJECTS its directory.
"""
import os
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile

SWAPS = [("<", "<="), ("<=", "<"), (">", ">="), (">=", ">"), ("==", "!="), ("!=", "=="), ("&&", "||"), ("||", "&&"),
         ("+", "-"), ("-", "+"), ("*", "+"), ("/", "*"), ("%", "/"), ("&", "|"), ("|", "&"), ("+=", "-="), ("-=", "+=")]
PATTERNS = [(r"(?<=\s)%s(?=\s)" % re.escape(a), lambda m, b=b: b) for a, b in SWAPS] + [
    (r"\b\d+\b", lambda m: str(int(m[0], 0) + 1)),
    (r"!(?=[a-z(])", lambda m: ""),
    (r"\btrue\b|\bfalse\b", lambda m: "false" if m[0] == "true" else "true"),
    (r"\bS24_OK\b", lambda m: "S24_ERR_DATA"),
    (r"\bbreak;|\bcontinue;", lambda m: "continue;" if m[0] == "break;" else "break;"),
    (r"(?m)^ +(?!return|case|const|static|struct)[a-z*][^;{}]*;$", lambda m: ";"),
]
SUITES = {"zip": "npz", "zip_member": "npz"} # of files that have none of their name
MEMORY = 8 << 30


def masked(text):
    """The text with blanks for comments, strings and what the preprocessor takes: these are not changed."""
    return re.sub(r"(?ms)/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|^#(?:\\\n|[^\n])*",
                  lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def changes(text):
    found = set()
    for pattern, to in PATTERNS:
        for m in re.finditer(pattern, masked(text)):
            found.add((m.start(), m.end(), to(m)))
    return sorted(found)


def run(command, seconds=None):
    """Whether it ends well, and in time."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)))
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


class Trial:
    def __init__(self, compile_, libraries, objects, path, place):
        self.compile, self.libraries, self.path, self.place = shlex.split(compile_), shlex.split(libraries), path, place
        name = os.path.basename(path)[:-2]
        names = [SUITES.get(name, name), name.split("_")[0]]
        suites = [n for n in names if os.path.exists("tests/unit/test_%s.c" % n)][:1]
        self.archive = os.path.join(objects, "libs24.a")
        cli = os.path.join(objects, "cli")
        self.command = [os.path.join(cli, n) for n in os.listdir(cli) if n.endswith(".o")]
        self.suites = {n: self.at(n + "-suite.o") for n in suites}
        for n, made in self.suites.items():
            if not self.build("tests/unit/test_%s.c" % n, made, ["-Icli", "-Itests"]):
                sys.exit("mutate: the suite %s does not compile" % n)

    def at(self, name):
        return os.path.join(self.place, name)

    def build(self, source, made, more=()):
        return run(self.compile + ["-Ilib", "-Iformats", *more, "-w", "-c", "-o", made, source])

    def link(self, name, objects, libraries):
        command = [w for w in self.compile if not w.startswith("-M")]
        return run(command + ["-o", self.at(name), *objects, self.at("changed.o"), self.archive, *libraries, *self.libraries])

    def sees(self, text):
        """None: it does not compile."""
        with open(self.at("changed.c"), "w", encoding="utf-8") as f:
            f.write(text)
        if not self.build(self.at("changed.c"), self.at("changed.o")):
            return None
        check = subprocess.run(["pkg-config", "--libs", "check"], stdout=subprocess.PIPE, text=True).stdout.split()
        for n, suite in self.suites.items():
            if not (self.link(n, [suite], check) and run([self.at(n)], 300)):
                return True
        return not (self.link("s24", self.command, []) and
                    run([sys.executable, "tests/golden/commands.py", self.at("s24")], 300))


def main(compile_, libraries, objects, path, count="100", seed="24"):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    every = changes(text)
    chosen = sorted(random.Random(int(seed)).sample(every, min(int(count) or len(every), len(every))))
    figures = {None: 0, True: 0, False: 0}
    with tempfile.TemporaryDirectory(prefix="s24-mutate-") as place:
        trial = Trial(compile_, libraries, objects, path, place)
        if trial.sees(text) is not False:
            sys.exit("mutate: the tests fail without a change")
        for begin, end, to in chosen:
            seen = trial.sees(text[:begin] + to + text[end:])
            figures[seen] += 1
            if seen is False:
                line = text.count("\n", 0, begin) + 1
                print("%s:%d: %s -> %s in: %s" % (path, line, text[begin:end].strip(), to, text.split("\n")[line - 1].strip()),
                      flush=True)
    print("%s: of %d changes %d: %d do not compile, %d are seen, %d are not" % (
        path, len(every), len(chosen), figures[None], figures[True], figures[False]))


main(*sys.argv[1:])
