#!/usr/bin/env python3
"""Real programs and client libraries against a server: what is in programs/, each with flows of its own.

    programs.py SERVER MODULES [NAME ...]

SERVER is sett-server; MODULES is the folder whose node_modules has what programs/package.json names. A program has up to three phases,
each a process that is given the phase, the port, and the path of a journal:

    tour    its own flows, checked by itself
    load    works without end, and notes in the journal what has been acknowledged; the server is killed (-9) while it does, and then it
            is, too
    settle  after the server has started again: nothing of the journal is lost, and all that was begun comes to its end

A program that starts servers itself finds the path of sett-server in SETT_SERVER; one whose server needs more options names them in
a comment, "Server options: ...". Those with a load have three kills, under each of the policies of `appendfsync`."""
import os
import re
import signal
import socket
import subprocess
import sys
import time
import redis
from own_server import Server, wait_until

HERE = os.path.dirname(os.path.abspath(__file__)) + "/programs"
RUNS = {".py": "/usr/bin/python3", ".js": "node", ".php": "php", ".rb": "ruby"}
HELPERS = {"program.py", "program.js", "rq_jobs.py", "celery_tasks.py", "sentinel_client.js"}
SECONDS = 1200  # for a phase that hangs: a machine may be busy
NOTES = 30  # in the journal, before the kill
PORTS = 24100


class Failure(Exception):
    pass


class Program:
    def __init__(self, file, path, modules):
        self.file = file
        self.name = os.path.splitext(file)[0]
        self.environment = dict(os.environ, NODE_PATH=modules + "/node_modules", NODE_NO_WARNINGS="1", PYTHONDONTWRITEBYTECODE="1",
                                SETT_SERVER=path)
        text = open(HERE + "/" + file).read()
        options = re.search(r"^\W+Server options: (.*)$", text, re.MULTILINE)
        self.options = options.group(1).split() if options else []
        self.has_load = re.search(r"\bsettle\b", text) is not None

    def start(self, phase, port, journal):
        command = [RUNS[os.path.splitext(self.file)[1]], self.file, phase, str(port), journal]
        return subprocess.Popen(command, cwd=HERE, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def run(self, phase, port, journal):
        process = self.start(phase, port, journal)
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            output = "it did not end in %d s" % SECONDS
        end(process)
        if process.returncode != 0 or output.startswith("FAILED"):
            raise Failure("%s: %s" % (phase, output.strip() or "status %d" % process.returncode))


def session_of(pid):
    try:
        with open("/proc/%s/stat" % pid) as file:
            return int(file.read().rpartition(")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return None


def end(process):
    """With what it has started, also in groups of their own, as browsers and daemons do. A session's number is no other's while one of it is there."""
    for _ in range(2):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if session_of(pid) == process.pid:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
    process.wait()
    if process.stdout:
        process.stdout.close()


def lines_of(journal):
    with open(journal) as file:
        return sum(1 for _ in file)


def kill_in_the_middle(program, server, port, journal):
    open(journal, "w").close()
    load = program.start("load", port, journal)
    try:
        try:
            wait_until("", lambda: load.poll() is not None or lines_of(journal) >= NOTES, SECONDS)
        except SystemExit:
            raise Failure("load: too little happens")
        if load.poll() is not None:
            raise Failure("load: it ended: " + load.stdout.read().strip())
        server.kill()
    finally:
        end(load)
    noted = lines_of(journal)
    server.start()
    program.run("settle", port, journal)
    return noted


def run_program(program, path, port):
    noted = kills = 0
    options = ["--bind", "127.0.0.1", "--port", str(port)] + program.options
    server = Server(path, *options)
    try:
        server.start()
        journal = server.directory + "/journal"
        program.run("tour", port, journal)
        for policy in ("everysec", "always", "no") if program.has_load else ():
            server.stop()
            server.options = options + ["--appendfsync", policy]
            server.start()
            redis.Redis(port=port).flushall()
            noted += kill_in_the_middle(program, server, port, journal)
            kills += 1
    finally:
        server.clean_up()
    return kills, noted


def free_port():
    """Of those below the range that the system gives to clients, so that it is free again after a kill."""
    for port in range(PORTS, PORTS + 400):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failure("no port is free")


def main():
    path, modules, names = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]
    programs = [Program(file, path, modules) for file in sorted(os.listdir(HERE))
                if os.path.splitext(file)[1] in RUNS and file not in HELPERS]
    unknown = set(names) - {program.name for program in programs}
    if unknown:
        sys.exit("no such program: %s; there are: %s" % (", ".join(sorted(unknown)), ", ".join(p.name for p in programs)))
    failed = passed = 0
    print("%-18s %-6s %5s %14s %7s" % ("program", "tour", "kills", "acknowledged", "seconds"), flush=True)
    for program in programs:
        if names and program.name not in names:
            continue
        start = time.monotonic()
        try:
            kills, noted = run_program(program, path, free_port())
            print("%-18s %-6s %5d %14d %7.1f" % (program.name, "ok", kills, noted, time.monotonic() - start), flush=True)
            passed += 1
        except Failure as failure:
            print("%-18s FAILED in %s" % (program.name, failure), flush=True)
            failed += 1
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(failed > 0)


main()
