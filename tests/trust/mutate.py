#!/usr/bin/env python3
"""Do the tests see it when one thing in a source file is another?

    mutate.py COMPILE LIBRARIES OBJECTS FILE [COUNT [SEED]]

COUNT (100; 0: all) changes are chosen of all that FILE has room for: operators, numbers, statements left out. With each of
them FILE is compiled, and linked with the unit suite of its name and with the command; then the suite runs, and the
command's test of that name, and what the golden files say of the command is asked: what is quickest comes first. Prints the
changes that nothing saw: each is a test that is missing, or a change that changes nothing, which only a reader can tell.
(What shows only where memory or a call fails, or as a leak, is seen by test_faults, which takes a minute and is not asked.)
COMPILE and LIBRARIES are the Makefile's, OBJECTS its directory.
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
import time

SWAPS = [("<", "<="), ("<=", "<"), (">", ">="), (">=", ">"), ("==", "!="), ("!=", "=="), ("&&", "||"), ("||", "&&"),
         ("+", "-"), ("-", "+"), ("*", "+"), ("/", "*"), ("%", "/"), ("&", "|"), ("|", "&"), ("+=", "-="), ("-=", "+=")]
PATTERNS = [(r"(?<=\s)%s(?=\s)" % re.escape(a), lambda m, b=b: b) for a, b in SWAPS] + [
    (r"\b\d+\b", lambda m: str(int(m[0], 8 if m[0][0] == "0" else 10) + 1)),
    (r"!(?=[a-z(])", lambda m: ""),
    (r"\btrue\b|\bfalse\b", lambda m: "false" if m[0] == "true" else "true"),
    (r"\bS24_OK\b", lambda m: "S24_ERR_DATA"),
    (r"\bbreak;|\bcontinue;", lambda m: "continue;" if m[0] == "break;" else "break;"),
    (r"(?m)^ +(?!return|case|const|static|struct)[a-z*][^;{}]*;$", lambda m: ";"),
]
# of files that have none of their name
SUITES = {"zip": "npz", "zip_member": "npz", "delivery": "requests", "temporary": "io", "panel": "prune"}
CLI_TESTS = {"zip": "npz", "zip_member": "npz", "delivery": "checkpoint", "temporary": "overwrite", "io": "pipes"}
BESIDES = {"plain_read": "permuted", "json_token": "jsonx"} # suites that also say something of a file
MEMORY = 8 << 30
SECONDS = 300 # ten times what it takes without a change, where that is less: else a change that hangs takes most of the time


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
    """Whether it ends well, and in time. A test that a suite forked is not killed with it: it runs out of time itself."""
    def bounded():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        if seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=bounded)
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
        self.archive = os.path.join(objects, "libs24.a")
        cli = os.path.join(objects, "cli")
        self.command = [os.path.join(cli, n) for n in os.listdir(cli) if n.endswith(".o")]
        self.asked = [(SECONDS, self.golden)]
        for n in self.named("tests/unit/test_%s.c", SUITES, name) + [n for n in [BESIDES.get(name)] if n]:
            if not self.build("tests/unit/test_%s.c" % n, self.at(n + "-suite.o"), ["-Icli", "-Itests"]):
                sys.exit("mutate: the suite %s does not compile" % n)
            self.asked.append((SECONDS, lambda limit, n=n: self.suite(n, limit)))
        for n in self.named("tests/cli/%s.t", CLI_TESTS, name):
            self.asked.append((SECONDS, lambda limit, n=n: self.cli(n, limit)))

    @staticmethod
    def named(path, others, name):
        return [n for n in (others.get(name, name), name.split("_")[0]) if os.path.exists(path % n)][:1]

    def at(self, name):
        return os.path.join(self.place, name)

    def build(self, source, made, more=()):
        return run(self.compile + ["-Ilib", "-Iformats", *more, "-w", "-c", "-o", made, source])

    def link(self, name, objects, libraries):
        command = [w for w in self.compile if not w.startswith("-M")]
        return run(command + ["-o", self.at(name), *objects, self.at("changed.o"), self.archive, *libraries, *self.libraries])

    def compiles(self, text):
        with open(self.at("changed.c"), "w", encoding="utf-8") as f:
            f.write(text)
        return self.build(self.at("changed.c"), self.at("changed.o"))

    def sees(self, text):
        """None: it does not compile."""
        if not self.compiles(text):
            return None
        if not self.link("s24", self.command, []):
            return True
        return not all(ask(limit) for limit, ask in self.asked)

    def suite(self, name, limit):
        check = subprocess.run(["pkg-config", "--libs", "check"], stdout=subprocess.PIPE, text=True).stdout.split()
        return self.link(name, [self.at(name + "-suite.o")], check) and run([self.at(name)], limit)

    def cli(self, name, limit):
        return run(["tests/cli/run", self.at("s24"), name], limit)

    def golden(self, limit):
        return run([sys.executable, "tests/golden/commands.py", self.at("s24")], limit)

    def without_a_change(self, text):
        """Whether nothing is seen where nothing is changed. How long each takes then says which is asked first."""
        if not (self.compiles(text) and self.link("s24", self.command, [])):
            return False
        timed = []
        for limit, ask in self.asked:
            begin = time.monotonic()
            if not ask(limit):
                return False
            timed.append((min(limit, 10 + 10 * (time.monotonic() - begin)), ask))
        self.asked = sorted(timed, key=lambda pair: pair[0])
        return True


def main(compile_, libraries, objects, path, count="100", seed="24"):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    every = changes(text)
    chosen = sorted(random.Random(int(seed)).sample(every, min(int(count) or len(every), len(every))))
    figures = {None: 0, True: 0, False: 0}
    with tempfile.TemporaryDirectory(prefix="s24-mutate-") as place:
        trial = Trial(compile_, libraries, objects, path, place)
        if not trial.without_a_change(text):
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
