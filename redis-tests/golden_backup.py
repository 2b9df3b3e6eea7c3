#!/usr/bin/python3
"""A backup that an earlier version made, an incremental one after it, and its archive of commits must be restored for ever: to the moment of each.

    golden_backup.py SERVER TOOL make ARCHIVE       makes them: once for each version, which is kept in tests/golden
    golden_backup.py SERVER TOOL ARCHIVE...         restores them

What is in them is half of golden_types.py's data in the first, all of it in the second, and one write behind both, in the archive alone."""
import os
import subprocess
import sys
import tarfile
import tempfile
import golden_types as types
from own_server import Server, expect, wait_until

LAST = ("behind both", "backups")


def run(tool, *words):
    done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=180)
    expect("%s: %s%s" % (" ".join(words), done.stdout, done.stderr), done.returncode, 0)


def make(program, tool, archive):
    server = Server(program, "--history", "no", "--maxmemory", "64mb", "--archive-interval", "1")
    server.data = server.directory + "/data"
    server.options += ["--archive-dir", server.directory + "/archive"]
    os.mkdir(server.data)
    try:
        server.start()
        client = types.connect(server)
        types.write_half(client, 0)
        run(tool, "backup", server.socket, server.directory + "/full")
        types.write_half(client, 1)
        run(tool, "backup", server.socket, server.directory + "/next", "--incremental-from", server.directory + "/full")
        commit = client.info("storage")["visible_timestamp"]
        client.set(*LAST)
        wait_until("the archive does not come", lambda: client.info("storage")["archive_commit"] > commit)
        server.stop()
        with tarfile.open(archive, "w:gz") as file:
            for name in ("archive", "full", "next"):
                file.add(server.directory + "/" + name, name)
    finally:
        server.clean_up()


def check_restored(program, tool, target, words, check):
    """Reads them, restores them, and looks at what is there."""
    run(tool, "restore", *words, "--check")
    run(tool, "restore", *words, target)
    run(tool, "check", "--quiet", target)
    server = Server(program, "--check-at-start", "yes", "--maxmemory", "64mb")
    server.data = target
    try:
        server.start()
        check(types.connect(server))
        server.stop()
    finally:
        server.clean_up()


def check_half(client):
    expect("of the first half", client.mget("string", "number", "gone0"), ["half 0", "21", None])
    expect("of the second", client.mget("key1:1", "huge1"), [None, None])
    expect("a value in pieces", client.get("huge0"), "H0" * 600000)
    expect("a hash", client.hgetall("hash:many"), types.pairs("field", range(600)))


def check_all(client):
    types.check_all(client)
    expect("what came later", client.get(LAST[0]), None)


def check_archive(client):
    types.check_all(client, 1)
    expect("what the archive alone has", client.get(LAST[0]), LAST[1])


def main():
    program, tool, *archives = sys.argv[1:]
    if archives[0] == "make":
        make(program, tool, archives[1])
        return
    for archive in archives:
        with tempfile.TemporaryDirectory(prefix="sett-golden.") as folder:
            with tarfile.open(archive) as file:
                file.extractall(folder)
            full, later, commits = (os.path.join(folder, name) for name in ("full", "next", "archive"))
            check_restored(program, tool, folder + "/1", [full], check_half)
            check_restored(program, tool, folder + "/2", [later], check_all)
            check_restored(program, tool, folder + "/3", [full, "--archive", commits], check_archive)
            check_restored(program, tool, folder + "/4", [full, later, "--archive", commits], check_archive)


main()
