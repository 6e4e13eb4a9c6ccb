#!/usr/bin/env python3
"""commands.py S24 - what README.md says in its tables, of the command S24.

Of every file in bad/ and unsupported/: the exit statuses of prune (of a .s24: decompress), stats, inspect and verify,
and what they say. 3 is one line on standard error, with what is wrong and what to do, nothing on standard output, and no
output; 1 is a fault that verify found, on standard output. Of inputs in good/: what prune makes of them decodes to the
text that the table names. Every file there is has to be in a table.
"""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

sys.dont_write_bytecode = True
from decode import File  # noqa: E402: it must not leave bytecode in the tree

GOLDEN = os.path.dirname(os.path.abspath(__file__))
COMMANDS = "prune", "stats", "inspect", "verify"


def rows(cells):
    """The rows of the tables of so many columns: without their marks of code."""
    with open(os.path.join(GOLDEN, "README.md"), encoding="utf-8") as f:
        for line in f:
            row = re.findall(r" (.*?) \|(?= |$)", line)
            if line.startswith("| `") and len(row) == cells:
                yield row


class Fault(Exception):
    pass


def check(truth, what):
    if not truth:
        raise Fault(what)


def run(s24, command, path, options, output):
    if path.endswith(".s24") and command == "prune":
        command = "decompress"
    arguments = [s24, command, "-T", "1", path] + options
    if command in ("prune", "decompress", "convert"):
        arguments += ["-o", os.path.join(output, "out")]
    done = subprocess.run(arguments, cwd=GOLDEN, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def refused(s24, path, options, command, expected, says):
    with TemporaryDirectory() as output:
        status, out, err = run(s24, command, path, options, output)
        told = " (status %d, stdout %r, stderr %r)" % (status, out, err)
        check(status == expected, "status %d expected%s" % (expected, told))
        check(status == 0 or not os.listdir(output), "an output was left: %s" % os.listdir(output))
        if status == 3:
            check(not out and err.count("\n") == 1 and err.endswith("\n"), "one line on stderr expected" + told)
            check(re.match("s24: " + re.escape(path) + "[:/]", err), "the file is not named first" + told)
            check(any(what in err for what in says), "it does not say: %s%s" % (" or ".join(says), told))
            check("; " in err, "it does not say what to do" + told)
        elif status == 1:
            check(not err and out, "faults on stdout alone expected" + told)
            check(all(line.startswith(path + ": ") for line in out.splitlines()), "the file is not named first" + told)
            check(any(what in out for what in says), "it does not say: %s%s" % (" or ".join(says), told))


def refuse(s24, row):
    """File and options; a digit a command; what it says, in two ways where commands differ; what is wrong."""
    path, *options = row[0].strip("`").split(" ")
    commands = COMMANDS
    if options and options[0] == "convert":
        commands = options[:1]
        del options[0]
    check(os.path.exists(os.path.join(GOLDEN, path)), "is not there")
    check(len(row[1]) == len(commands) and set(row[1]) <= set("013") and set(row[1]) & set("13"), "no exit statuses")
    for command, status in zip(commands, row[1]):
        try:
            refused(s24, path, options, command, int(status), re.findall("`(.*?)`", row[2]))
        except Fault as fault:
            raise Fault("%s: %s" % (command, fault))


def read(s24, row):
    """Input and options; the text that the .s24 decodes to; what it is."""
    name, *options = row[0].strip("`").split(" ")
    with TemporaryDirectory() as output:
        made = os.path.join(output, "out")
        options += ["-q", "--to", "s24", "-o", made]
        status, out, err = run(s24, "prune", os.path.join("good", name), options, output)
        check(status == 0 and not out and not err, "is not read: %s" % err)
        text = ""
        for path in [os.path.join(made, n) for n in sorted(os.listdir(made))] if os.path.isdir(made) else [made]:
            if not path.endswith(".json"):
                with open(path, "rb") as f:
                    text += File(f.read()).text()
    with open(os.path.join(GOLDEN, "good", row[1].strip("`") + ".txt"), encoding="utf-8") as f:
        check(text == f.read(), "does not become what %s.txt says" % row[1].strip("`"))


def main(s24):
    bad = [row for row in rows(4) if re.match("`(bad|unsupported)/", row[0])]
    good = [row for row in rows(3) if os.path.exists(os.path.join(GOLDEN, "good", row[1].strip("`") + ".txt"))]
    listed = [row[0].strip("`").split(" ")[0] for row in bad]
    there = [where + "/" + name for where in ("bad", "unsupported") for name in os.listdir(os.path.join(GOLDEN, where))]
    faults = ["README.md does not have %s once" % name for name in set(listed) ^ set(there)]
    faults += ["README.md has %s twice" % name for name in set(listed) if listed.count(name) > 1]
    tasks = [(refuse, row) for row in bad] + [(read, row) for row in good]

    def fault_of(task):
        try:
            task[0](os.path.abspath(s24), task[1])
        except (Fault, OSError, ValueError) as fault:
            return "%s: %s" % (task[1][0].strip("`"), fault)

    with ThreadPoolExecutor(2) as pool:
        faults += filter(None, pool.map(fault_of, tasks))
    for fault in faults:
        print("golden: " + fault, file=sys.stderr)
    count = sum(name.startswith("bad") for name in listed)
    print("golden: the command refuses %d bad and %d unsupported files, and reads %d others" % (
        count, len(listed) - count, len(good)))
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
