#!/usr/bin/python3
"""What scripts give sett-tool, and what it ends with, stay once they are promised (docs/COMPATIBILITY.md). tests/golden/options.txt has the options
of the last release, each with its command, and with a value where it takes one; more may be there. The exit codes are those of EXIT_CODES.

    promised_options.py SERVER TOOL FILE         each option is taken, and stands in --help; each exit code is that
    promised_options.py SERVER TOOL FILE make    writes the options that are there: with each release"""
import functools
import os
import re
import shutil
import subprocess
import sys
from own_server import Server, expect

# Of options that take a value: one that will do, where 1 does not.
VALUES = {"--kinds": "fill", "--last": "1h", "--to": "2026-11-29T12:34:56.789", "--rdb-version": "10", "--user": "default", "--host": "localhost"}
# What stands behind the option in --help, if it takes a value.
OPTION = re.compile(r"(?m)^ +(--[a-z][a-z-]*)(?: ([A-Z]+))?(?: |$)")


def runs(tool, *words, output=subprocess.PIPE):
    return subprocess.run([tool, *words], stdout=output, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=300,
                          env={**os.environ, "REDISCLI_AUTH": ""})


@functools.lru_cache(maxsize=None)
def help_of(tool, *command):
    done = runs(tool, *command, "--help")
    expect("%s --help: %s" % (command, done.stderr), (done.returncode, done.stderr), (0, ""))
    return done.stdout


def commands_of(tool):
    return re.findall(r"(?m)^  ([a-z]+) ", help_of(tool))


def options_of(tool):
    return ["%s %s%s" % (command, name, "=" + VALUES.get(name, "1") if value else "")
            for command in commands_of(tool) for name, value in OPTION.findall(help_of(tool, command))]


def check_options(tool, path):
    with open(path) as file:
        promised = file.read().splitlines()
    expect("options that are promised", len(promised) >= 40, True)
    for line in promised:
        command, option = line.split(" ", 1)
        text = help_of(tool, command)
        name, has_value, _ = option.partition("=")
        expect("%s, by its --help" % line, (name, bool(has_value)) in [(n, bool(v)) for n, v in OPTION.findall(text)], True)
        # It would say of an option that it does not know, or of a value that does not belong there, and come no further.
        done = runs(tool, command, option, "--help")
        expect("%s: %s" % (line, done.stderr), (done.returncode, done.stdout), (0, text))
        if has_value:
            name, *value = option.split("=")
            done = runs(tool, command, name, *value, "--help")
            expect("%s, in two words: %s" % (line, done.stderr), (done.returncode, done.stdout), (0, text))


class World:
    """Directories, files and a server that the exit codes are asked of."""

    def __init__(self, program, tool):
        self.tool = tool
        self.server = Server(program, "--history", "no", "--maxmemory", "64mb", "--enable-debug-command", "yes")
        self.base = self.server.directory
        self.server.data = self.base + "/data"
        os.mkdir(self.server.data)
        self.fresh = 0

    def make(self):
        self.server.start()
        client = self.server.connect()
        client.mset({"key:%d" % i: "v" * 5000 for i in range(300)})
        client.execute_command("SAVE")
        os.rename(self.server.data + "/dump.rdb", self.base + "/dump.rdb")
        self.server.stop()
        for name in ("damaged", "running"):
            shutil.copytree(self.server.data, self.base + "/" + name)
        self.damage("dump.rdb", "broken.rdb")
        files = sorted(name for name in os.listdir(self.base + "/damaged") if name.endswith(".vlog"))
        self.damage("damaged/" + files[0], "damaged/" + files[0], at=3000)
        expect("backup", runs(self.tool, "backup", "--quiet", self.server.data, self.base + "/backup").returncode, 0)
        shutil.copytree(self.base + "/backup", self.base + "/broken-backup")
        self.damage("backup/" + files[0], "broken-backup/" + files[0], at=3000)
        self.server.data = self.base + "/running"
        self.server.start()

    def damage(self, source, target, at=None):
        with open(self.base + "/" + source, "rb") as file:
            content = bytearray(file.read())
        content[len(content) // 2 if at is None else at] ^= 0xff
        with open(self.base + "/" + target, "wb") as file:
            file.write(content)

    def words(self, line):
        """`{new}` is a path where nothing is yet, all else names what make() has made."""
        self.fresh += 1
        places = {"new": "%s/new-%d" % (self.base, self.fresh), "data": self.base + "/data", "base": self.base, "socket": self.server.socket}
        return [word.format(**places) for word in line.split()]


EXIT_CODES = (
    (0, ("--help", "help check", "--version", "info {data}", "info --json {data}", "check {data}", "dump log {data}", "dump --limit 1 manifest {data}",
         "export --quiet {data} {new}", "import --quiet {base}/dump.rdb {new}", "backup --quiet {data} {new}", "backup --quiet {socket} {new}",
         "restore --quiet {base}/backup {new}", "restore --check --quiet {base}/backup", "salvage --quiet {data} {new}",
         "bench --keys 100 --kinds fill --memory 16 {new}", "top --count 1 --socket {socket}")),
    (1, ("check {base}/damaged", "check --quiet {base}/damaged", "check --json {base}/damaged", "dump value-log {base}/damaged",
         "import --quiet {base}/broken.rdb {new}", "restore --quiet {base}/broken-backup {new}", "restore --check --quiet {base}/broken-backup",
         "salvage --quiet {base}/damaged {new}")),
    # The command line.
    (2, ("", "nonesuch", "info", "check", "check {data} {data}", "check --nonesuch {data}", "check --quiet=1 {data}", "dump table", "dump nonesuch {data}",
         "dump --limit x log {data}", "dump --limit", "import {base}/dump.rdb", "export {data}", "export --rdb-version 9 {data} {new}", "backup {data}",
         "restore", "restore {base}/backup", "restore --to nonesuch --archive {base} {base}/backup {new}", "salvage {data}",
         "bench --kinds nonesuch {new}", "top --count x", "plot --last x {data}", "check --encryption-key-file")),
    # It can't be done: nothing is there, a server has it, the target is not empty.
    (2, ("info {new}", "check {new}", "dump log {new}", "import {new} {new}/x", "export {new} {new}.rdb", "backup {new} {new}.backup",
         "restore {new} {new}.restored", "restore --check {new}", "salvage {new} {new}.whole", "top --count 1 --socket {new}", "plot --socket {new}", "plot {new}",
         "check {base}/running", "info {base}/running", "export {base}/running {new}", "salvage {base}/running {new}", "backup {base}/running {new}",
         "import {base}/dump.rdb {data}", "restore {base}/backup {data}", "salvage {base}/damaged {data}", "backup {data} {base}/damaged")),
)


def check_exit_codes(program, tool):
    world = World(program, tool)
    try:
        world.make()
        for code, lines in EXIT_CODES:
            for line in lines:
                done = runs(tool, *world.words(line))
                expect("sett-tool %s: %s%s" % (line, done.stdout[-100:], done.stderr), done.returncode, code)
                # What went wrong stands where it disturbs no output.
                expect("sett-tool %s: a word on standard error" % line, code != 2 or done.stderr != "", True)
        with open("/dev/full", "w") as full:
            expect("no room for the output", runs(tool, "check", world.base + "/data", output=full).returncode, 2)
        world.server.stop()
        expect("the data are as they were", runs(tool, "check", "--quiet", world.base + "/data").returncode, 0)
    finally:
        world.server.clean_up()


def main():
    program, tool, path = sys.argv[1:4]
    if sys.argv[4:] == ["make"]:
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in options_of(tool))
        return
    check_options(tool, path)
    check_exit_codes(program, tool)


main()
