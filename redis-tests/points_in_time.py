#!/usr/bin/python3
"""Points in time: a running server archives its commits, and a backup with them gives any later moment. With kill -9 in the middle,
under a load of all types; then what is out of reach, gaps, damage, and what is removed for its age.

    points_in_time.py SERVER TOOL
"""
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import redis

from own_server import Server, fail, wait_until

server_program, tool = sys.argv[1], sys.argv[2]
RING = 97


def expect(what, seen, expected):
    if seen != expected:
        fail("%s: expected %r, got %r" % (what, expected, seen))


def run_tool(*arguments, code=0):
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, timeout=240)
    text = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode != code:
        fail("%r: exit %d, not %d: %s" % (arguments, done.returncode, code, text[-2000:]))
    return text


def new_server(*options):
    server = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb", "--archive-interval", "1", *options)
    server.data = server.directory + "/data"
    server.archive = server.directory + "/archive"
    server.options += ["--archive-dir", server.archive]
    os.mkdir(server.data)
    server.start()
    return server


def storage(client):
    return client.info("storage")


def now_ms():
    return time.time_ns() // 1000000


def text_of(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + ".%03d" % (ms % 1000)


def wait_for_archive(client, ms):
    """Until it is known what was committed up to then."""
    commit = storage(client)["visible_timestamp"]
    client.set("one more", ms)  # an idle server says only once a minute that nothing was committed
    wait_until("the archive does not come", lambda: storage(client)["archive_commit"] > commit)


class Over:
    """A server over a directory that was restored."""

    def __init__(self, directory):
        self.server = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb")
        self.server.data = directory

    def __enter__(self):
        self.server.start()
        return self.server.connect()

    def __exit__(self, *_):
        self.server.stop()
        self.server.clean_up()


def restore(server, target, *moment, backups=None):
    where = server.directory + "/" + target
    text = run_tool("restore", *(backups or [server.directory + "/mon"]), "--archive", server.archive, *moment, "--quiet", where)
    if "restored:" not in text:
        fail("no word of what was restored: " + text)
    return where, text


# ---- moments between commits: the whole database, by its digest ----


def change(client, number, rng):
    """One step of all sorts."""
    kind = number % 23
    key = "key:%d" % rng.randrange(60)
    if kind == 0:
        client.delete("hash")
        client.hset("hash", mapping={"field:%d" % i: "x" * rng.randrange(60) for i in range(300)})
    elif kind == 1:
        client.rpush("list", *["e" * rng.randrange(200) for _ in range(50)])
    elif kind == 2:
        client.zadd("zset", {"m%d" % rng.randrange(2000): rng.random() for _ in range(60)})
    elif kind == 3:
        client.sadd("set", *[rng.randrange(5000) for _ in range(60)])
    elif kind == 4:
        client.xadd("stream", {"n": number})
    elif kind == 5:
        client.set("large", os.urandom(1 << 20) + b"%d" % number)
    elif kind == 6:
        client.copy("hash", "copy:%d" % (number % 3), replace=True)
    elif kind == 7:
        with client.pipeline() as pipe:
            pipe.incr("n")
            pipe.append("long", "y" * 5000)
            pipe.set(key, "in a block")
            pipe.execute()
    elif kind == 8:
        client.eval("for i = 1, 20 do redis.call('incr', KEYS[1] .. i) end", 1, "script:")
    elif kind == 9 and number % 5 == 0:
        client.flushdb()
    elif kind == 10:
        client.swapdb(0, 1)
    elif kind == 11:
        client.execute_command("PEXPIREAT", "zset", 4000000000000 + number)
    elif kind == 12:
        client.unlink("list", "set")
    elif kind == 13:
        client.rename("large", "larger") if client.exists("large") else None
    elif kind == 14:
        client.setrange("long", 20000 + rng.randrange(5000), "z" * 100)
    else:
        client.set(key, "v" * rng.choice((10, 500, 3000)) + str(number))


def digests(client):
    return [client.execute_command("DEBUG", "DIGEST"), client.dbsize()]


def check_moments():
    server = new_server()
    client = server.connect()
    rng = random.Random(7)
    moments = []
    try:
        for number in range(100):
            change(client, number, rng)
        run_tool("backup", server.socket, server.directory + "/mon", "--quiet")
        for number in range(100, 1000):
            change(client, number, rng)
            if number % 60 == 0:
                time.sleep(0.003)
                moments.append((now_ms(), storage(client)["visible_timestamp"], digests(client)))
                time.sleep(0.003)
            if number == 400:
                run_tool("backup", server.socket, server.directory + "/tue", "--quiet")
            if number % 300 == 299:
                server.kill()
                server.start()
                client = server.connect()
                expect("breaks after a kill", storage(client)["archive_breaks"], 0)
        wait_for_archive(client, now_ms())
        facts = storage(client)
        expect("state", facts["archive_state"], "ok")
        expect("one chain, from the first commit on", facts["archive_since_commit"], 0)
        status = dict(zip(*[iter([word.decode() for word in client.execute_command("BACKUP", "STATUS")])] * 2))
        expect("in BACKUP STATUS", (status["archive_state"], status["archive_breaks"], status["archive_error"]), ("ok", "0", ""))
        for number, (ms, commit, digest) in enumerate(moments):
            backups = [server.directory + "/mon", server.directory + "/tue"]
            moment = ("--to", text_of(ms)) if number % 3 else ("--to-commit", commit)
            where, text = restore(server, "at-%d" % number, *moment, backups=backups)
            if number > 6 and "/tue," not in text:
                fail("not from the newest backup: " + text)
            with Over(where) as other:
                expect("the database at %s" % text_of(ms), digests(other), digest)
            if number % 4 == 0 and "clean:" not in run_tool("check", where):
                fail("not clean")
            shutil.rmtree(where)
        check_refusals(server, client, moments)
        server.stop()
        check_newest(server)
    finally:
        server.clean_up()


def check_newest(server):
    """Damage in the newest file, behind which nothing begins. A clean stop has left a mark behind the last commit."""
    copy = server.directory + "/newest"
    shutil.copytree(server.archive, copy)
    newest = max(name for name in os.listdir(copy) if name.endswith(".arc"))
    mon = server.directory + "/mon"
    if "whole:" not in run_tool("restore", "--check", mon, "--archive", copy, "--quiet"):
        fail("--check")
    with open(copy + "/" + newest, "r+b") as f:
        f.seek(100)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))
    damaged = run_tool("restore", "--check", mon, "--archive", copy, "--quiet", code=1)
    if newest + " is damaged at offset 80" not in damaged:
        fail("damage in the newest file: " + damaged)


def check_refusals(server, client, moments):
    mon, archive = server.directory + "/mon", server.archive
    target = server.directory + "/none"
    last = storage(client)["archive_commit"]
    begins = run_tool("restore", mon, "--archive", archive, "--to", "1999-01-01T00:00", target, code=2)
    if "begins later" not in begins:
        fail("before its beginning: " + begins)
    late = run_tool("restore", mon, "--archive", archive, "--to", text_of(now_ms() + 10**7), target, code=2)
    if "ends" not in late:
        fail("behind its end: " + late)
    beyond = run_tool("restore", mon, "--archive", archive, "--to-commit", last + 10**6, target, code=2)
    if "ends" not in beyond:
        fail("a commit behind its end: " + beyond)
    older = run_tool("restore", server.directory + "/tue", "--archive", archive, "--to-commit", moments[0][1], target, code=2)
    if "is reached from a backup of commits" not in older:
        fail("a backup that is newer than the moment: " + older)
    run_tool("restore", mon, "--to-commit", 5, target, code=2)
    run_tool("restore", mon, "--archive", archive, "--to", "yesterday", target, code=2)
    if os.path.exists(target):
        fail("something was written")
    if "whole:" not in run_tool("restore", "--check", mon, "--archive", archive, "--to-commit", last, "--quiet"):
        fail("--check")
    # A file is damaged, another gone.
    copy = server.directory + "/copy"
    shutil.copytree(archive, copy)
    names = sorted(name for name in os.listdir(copy) if name.endswith(".arc"))
    with open(copy + "/" + names[0], "r+b") as f:
        f.seek(os.path.getsize(f.name) // 2)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))
    damaged = run_tool("restore", mon, "--archive", copy, "--to-commit", last, target, code=1)
    if "are missing" not in damaged or damaged.count("damage:") != 1 or os.path.exists(target):
        fail("damage: " + damaged)
    os.remove(copy + "/" + names[1])
    gone = run_tool("restore", mon, "--archive", copy, "--to-commit", last, target, code=1)
    if "are missing" not in gone:
        fail("a gap: " + gone)
    # A restore that was cut short.
    where, _ = restore(server, "cut", "--to-commit", last)
    open(where + "/RESTORING", "w").close()
    if "a restore was cut short" not in run_tool("check", where, code=1):
        fail("check of a half restored directory")
    done = subprocess.run([server_program, "--dir", where, "--port", "0", "--unixsocket", server.directory + "/second"], capture_output=True, timeout=180)
    if done.returncode == 0 or b"restore it anew" not in done.stdout + done.stderr:
        fail("a half restored directory was opened: %r" % (done.stdout + done.stderr)[-500:])


# ---- moments in the middle of a load ----


class Writer(threading.Thread):
    """Step i sets n and one of a ring of keys in one block, and notes when it asked and was answered."""

    def __init__(self, server):
        super().__init__()
        self.server, self.stop, self.steps = server, False, []

    def run(self):
        client = self.server.connect()
        number = 0
        while not self.stop:
            number += 1
            asked = now_ms()
            try:
                with client.pipeline() as pipe:
                    pipe.set("n", number)
                    pipe.set("ring:%d" % (number % RING), "%d:" % number + "w" * (number % 5000))
                    pipe.execute()
                self.steps.append((number, asked, now_ms()))
            except redis.RedisError:
                self.steps.append((number, asked, None))  # it was done, or not
                wait_until("the server does not come back", lambda: self.server.answers(client))
                number = int(client.get("n") or 0)


def check_load():
    server = new_server("--appendfsync", "everysec")
    try:
        client = server.connect()
        client.set("n", 0)
        run_tool("backup", server.socket, server.directory + "/mon", "--quiet")
        began = now_ms()
        writer = Writer(server)
        writer.start()
        for _ in range(2):
            time.sleep(2)
            server.kill()
            server.start()
        time.sleep(2)
        writer.stop = True
        writer.join()
        client = server.connect()
        ended = now_ms()
        wait_for_archive(client, ended)
        expect("breaks", storage(client)["archive_breaks"], 0)
        rng = random.Random(11)
        for number in range(12):
            ms = rng.randrange(began + 200, ended)
            where, _ = restore(server, "at", "--to", text_of(ms))
            with Over(where) as other:
                n = int(other.get("n"))
                least = max([step for step, _, answered in writer.steps if answered is not None and answered < ms], default=0)
                most = max([step for step, asked, _ in writer.steps if asked <= ms], default=0)
                if not least <= n <= most:
                    fail("at %s there are %d steps, between %d and %d were due" % (text_of(ms), n, least, most))
                for step in range(max(1, n - RING + 1), n + 1):
                    expect("step %d of %d" % (step, n), other.get("ring:%d" % (step % RING)), b"%d:" % step + b"w" * (step % 5000))
            shutil.rmtree(where)
        server.stop()
    finally:
        server.clean_up()


# ---- what is removed, and what is lost ----


def check_ends():
    server = new_server()
    try:
        client = server.connect()
        client.set("a", 1)
        wait_until("not archived", lambda: storage(client)["archive_commit"] >= 1)
        run_tool("backup", server.socket, server.directory + "/mon", "--quiet")
        for number in range(4):  # each start begins a file
            server.stop()
            server.start()
            client = server.connect()
            client.set("b", "%d" % number * 1000)
            wait_until("not archived", lambda: storage(client)["archive_behind_commits"] == 0)
        files = storage(client)["archive_files"]
        if files < 4:
            fail("files: %d" % files)
        client.config_set("archive-retention-seconds", 1)
        time.sleep(1.5)
        client.set("c", 1)
        wait_until("old files are not removed", lambda: storage(client)["archive_files"] < files)
        names = lambda: [name for name in os.listdir(server.archive) if name.endswith(".arc")]
        wait_until("the files that are there are others", lambda: len(names()) == storage(client)["archive_files"])
        text = run_tool("restore", server.directory + "/mon", "--archive", server.archive, server.directory + "/none", code=2)
        if "is reached from a backup" not in text:
            fail("files that are not there any more: " + text)
        # Somebody removes all of it.
        for name in names():
            os.remove(server.archive + "/" + name)
        client.set("d", 1)
        wait_until("the break is not told", lambda: storage(client)["archive_breaks"] == 1)
        wait_until("no new chain", lambda: storage(client)["archive_state"] == "ok")
        status = dict(zip(*[iter([word.decode() for word in client.execute_command("BACKUP", "STATUS")])] * 2))
        if "is gone" not in status["archive_broken_by"]:
            fail("why it broke: %r" % status)
        run_tool("backup", server.socket, server.directory + "/tue", "--quiet")
        client.set("e", 1)
        wait_for_archive(client, now_ms())
        where, _ = restore(server, "new", backups=[server.directory + "/tue"])
        with Over(where) as other:
            expect("what was written since", other.get("e"), b"1")
        # A backup of another history with a number that fits is passed over; alone it is refused.
        with Over(where) as other:
            commit = storage(other)["visible_timestamp"]
            other.set("another", "history")
            run_tool("backup", other.connection_pool.connection_kwargs["path"], server.directory + "/other", "--quiet")
            last = storage(other)["visible_timestamp"]
            if last <= commit:
                fail("nothing was committed")
        while storage(client)["visible_timestamp"] < last + 2:
            client.set("e", 2)
        wait_for_archive(client, now_ms())
        both, text = restore(server, "both", backups=[server.directory + "/other", server.directory + "/tue"])
        if "/tue," not in text:
            fail("from the backup of another history: " + text)
        text = run_tool("restore", server.directory + "/other", "--archive", server.archive, server.directory + "/none", code=2)
        if "another database's archive" not in text:
            fail("a backup of another history: " + text)
        # A second server may not archive there.
        done = subprocess.run([server_program, "--dir", where, "--port", "0", "--unixsocket", server.directory + "/second", "--archive-dir", server.archive], capture_output=True,
                              timeout=60)
        if done.returncode == 0 or b"another server archives there" not in done.stdout + done.stderr:
            fail("two archive to one directory")
        server.stop()
    finally:
        server.clean_up()


check_moments()
check_load()
check_ends()
print("points in time: well")
