#!/usr/bin/python3
"""Backups of a running server, and what is made of them: BACKUP's states, a load beside it, chains, damage, and ends in the middle.

    backup.py SERVER TOOL
"""
import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import termios
import threading
import time

import redis

from own_server import Server, expect, fail, wait_until

server_program, tool = sys.argv[1], sys.argv[2]
RING = 211  # keys of a writer
COLORS = 7


def expect_error(what, words, call):
    try:
        call()
    except redis.ResponseError as error:
        if words not in str(error):
            fail("%s: %r is not in %r" % (what, words, str(error)))
        return
    fail(what + ": no error")


def run_tool(*arguments, code=0, **more):
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, timeout=180, **more)
    if done.returncode != code:
        fail("%r: exit %d, not %d: %s %s" % (arguments, done.returncode, code, done.stdout[-2000:], done.stderr[-2000:]))
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def status(client):
    return dict(zip(*[iter([word.decode() for word in client.execute_command("BACKUP", "STATUS")])] * 2))


def new_server(*options):
    server = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb", *options)
    server.data = server.directory + "/data"
    os.mkdir(server.data)
    server.start()
    return server


def digest_of(server, directory):
    """What a server over the directory has."""
    other = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb")
    other.data = directory
    try:
        other.start()
        return other.connect().execute_command("DEBUG", "DIGEST")
    finally:
        other.stop()
        other.clean_up()


# ---- the states ----


def check_states():
    server = new_server()
    client = server.connect()
    command = lambda *words: client.execute_command("BACKUP", *words)
    directory = server.data + "/backupdir"
    try:
        idle = status(client)
        expect("a fresh one", [idle[name] for name in ("state", "error", "start_time", "end_time")], ["idle", "", "0", "0"])
        expect("in progress", client.info("persistence")["backup_in_progress"], 0)
        expect_error("abort without one", "No backup in progress", lambda: command("ABORT"))
        expect_error("seal without one", "No backup ready to seal", lambda: command("SEAL"))
        expect("cleanup without one", command("CLEANUP"), b"OK")
        expect("list without one", command("LIST"), [])
        os.mkdir(directory)
        with open(directory + "/stale", "w") as f:
            f.write("mine")
        expect_error("a directory with something in it", "not empty", lambda: command("START"))
        os.remove(directory + "/stale")

        client.set("before", "1")
        with client.pipeline() as pipe:  # in a MULTI block
            pipe.set("in", "1")
            pipe.execute_command("BACKUP", "START")
            expect("EXEC", pipe.execute(), [True, b"OK"])
        expect("started", status(client)["state"], "incrementing")
        expect("in progress", client.info("persistence")["backup_in_progress"], 1)
        expect("nothing is there yet", command("LIST"), [])
        expect_error("a second one", "already in progress", lambda: command("START"))
        expect_error("cleanup before the seal", "in progress", lambda: command("CLEANUP"))
        client.set("after the start", "x" * 5000)
        expect("seal", command("SEAL"), b"OK")
        client.set("after the seal", "1")
        sealed = status(client)
        expect("sealed", (sealed["state"], sealed["error"], client.info("persistence")["backup_in_progress"]), ("sealed", "", 0))
        if not 0 < int(sealed["start_time"]) <= int(sealed["end_time"]):
            fail("times %r" % sealed)
        files = [path.decode() for path in command("LIST")]
        expect("the last of the list", files[-1], directory + "/MANIFEST")
        expect("files", int(sealed["files"]), len(files))
        expect("bytes", int(sealed["bytes"]), sum(os.path.getsize(path) for path in files))
        expect_error("abort what is sealed", "No backup in progress", lambda: command("ABORT"))
        expect_error("start beside what is sealed", "sealed backup", lambda: command("START"))

        # What the server removes stays on the disk, and counts.
        client.flushall()
        wait_until("nothing is held by the backup", lambda: client.info("storage")["backup_held_bytes"] > 5000)
        server.kill()
        server.start()
        client = server.connect()
        expect("after a kill", status(client)["state"], "sealed")
        expect("files after a kill", len(command("LIST")), len(files))
        shutil.copytree(directory, server.directory + "/copy")
        expect("cleanup", command("CLEANUP"), b"OK")
        expect("idle again", (status(client)["state"], os.listdir(directory)), ("idle", []))
        expect("nothing is held", client.info("storage")["backup_held_bytes"], 0)
        if "clean:" not in run_tool("check", server.directory + "/copy"):
            fail("the copied files are not clean")
        other = Server(server_program)
        other.data = server.directory + "/copy"
        other.start()
        expect("what was sealed", sorted(other.connect().keys()), [b"after the start", b"before", b"in"])
        other.stop()
        other.clean_up()

        command("START")
        expect("abort", command("ABORT"), b"OK")
        expect("aborted", [status(client)[name] for name in ("state", "error")], ["failed", "aborted by user"])
        expect("start after that", command("START"), b"OK")
        expect("seal", command("SEAL"), b"OK")
        client.config_set("backup-sealed-ttl", 1)
        wait_until("it is not removed in time", lambda: status(client)["state"] == "idle")
        expect("removed", os.listdir(directory), [])

        # What a kill in the middle of a seal leaves has no MANIFEST.
        command("START")
        command("SEAL")
        server.kill()
        os.remove(directory + "/MANIFEST")
        server.start()
        client = server.connect()
        expect("half a seal", status(client)["state"], "failed")
        expect_error("start over it", "not empty", lambda: command("START"))
        expect("cleanup", command("CLEANUP"), b"OK")
        # Nor is it more than the seal's first file at times.
        server.kill()
        for name in ("LOCK", "MANIFEST.tmp", "000001.vlog"):
            open("%s/%s" % (directory, name), "w").close()
            server.start()
            client = server.connect()
            expect("a seal cut behind " + name, status(client)["state"], "failed")
            expect("cleanup", (command("CLEANUP"), os.listdir(directory)), (b"OK", []))
            server.kill()
        server.start()
        client = server.connect()
        expect("start", command("START"), b"OK")
    finally:
        server.clean_up()


# ---- under load ----


def body(writer, number):
    """Inline, in the value log, or large; the same for the same number."""
    draw = random.Random(writer * 1000003 + number)
    size = draw.choice((10, 100, 900, 1500, 5000, 40000))
    return (b"%d:%d:" % (writer, number) + bytes(draw.getrandbits(8) for _ in range(16)) * (size // 16))[:size]


class Writer(threading.Thread):
    """Transaction number n writes the ring's key n, and changes collections in a way that follows from n."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.client, self.number, self.done, self.ended = server.connect(), number, 0, False

    def run(self):
        try:
            while not self.ended:
                self.write(self.done + 1)
                self.done += 1
        except redis.ConnectionError:
            pass  # the server was killed

    def write(self, n):
        w = self.number
        with self.client.pipeline() as pipe:
            pipe.incr("all")
            pipe.incr("seq:%d" % w)
            if n % 5 == 0:
                pipe.delete("ring:%d:%d" % (w, n % RING))
            else:
                pipe.set("ring:%d:%d" % (w, n % RING), body(w, n))
            pipe.hset("hash:%d" % w, "f%d" % (n % 400), n)
            pipe.zadd("zset:%d" % w, {"m%d" % (n % 300): n})
            pipe.rpush("list:%d" % w, n)
            pipe.ltrim("list:%d" % w, -50, -1)
            if n % 700 == 0:
                pipe.delete("hash:%d" % w)
            pipe.execute()


def expected_hash(n):
    fields = {}
    for i in range(n - n % 700 + 1 if n >= 700 else 1, n + 1):
        fields[b"f%d" % (i % 400)] = b"%d" % i
    return fields


def check_prefix(client, writers, least):
    """Every writer's transactions up to one, whole; together as many as the one counter says. Returns how many."""
    total = int(client.get("all") or 0)
    parts = [int(client.get("seq:%d" % w) or 0) for w in range(writers)]
    expect("transactions of all writers together", total, sum(parts))
    if total < least:
        fail("%d transactions, %d were answered before the backup" % (total, least))
    for w, n in enumerate(parts):
        for slot in range(RING):
            newest = n - (n - slot) % RING
            expected = None if newest < 1 or newest % 5 == 0 else body(w, newest)
            if client.get("ring:%d:%d" % (w, slot)) != expected:
                fail("writer %d at %d: the ring's key %d is not that of %d" % (w, n, slot, newest))
        expect("hash", client.hgetall("hash:%d" % w), expected_hash(n))
        expect("list", client.lrange("list:%d" % w, 0, -1), [b"%d" % i for i in range(max(1, n - 49), n + 1)])
        scores = {b"m%d" % (i % 300): float(i) for i in range(max(1, n - 299), n + 1)}
        expect("zset", dict(client.zrange("zset:%d" % w, 0, -1, withscores=True)), scores)
    return total


def check_restored(directory, writers, least):
    if "clean:" not in run_tool("check", directory):
        fail("%s is not clean" % directory)
    server = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb")
    server.data = directory
    try:
        server.start()
        return check_prefix(server.connect(), writers, least)
    finally:
        server.stop()
        server.clean_up()


def start_writers(server, count):
    writers = [Writer(server, number) for number in range(count)]
    for writer in writers:
        writer.start()
    return writers


def stop_writers(writers):
    for writer in writers:
        writer.ended = True
    for writer in writers:
        writer.join(180)


def answered(writers):
    return sum(writer.done for writer in writers)


def check_load():
    server = new_server()
    place = server.directory
    try:
        writers = start_writers(server, 3)
        wait_until("no load", lambda: answered(writers) > 300)
        least, earlier = [], None
        for number in range(4):
            least.append(answered(writers))
            target = "%s/b%d" % (place, number)
            run_tool("backup", server.socket, target, *(["--incremental-from", earlier] if earlier else []))
            earlier = target
            reached = answered(writers) + 200
            wait_until("the load stands", lambda: answered(writers) > reached)
        stop_writers(writers)
        totals = []
        for number in range(4):
            run_tool("restore", "%s/b%d" % (place, number), "%s/r%d" % (place, number))
            totals.append(check_restored("%s/r%d" % (place, number), 3, least[number]))
        expect("each is later than the one before", totals, sorted(totals))
        # Nothing is under way: it is what the server has, to the last key.
        digest = server.connect().execute_command("DEBUG", "DIGEST")
        run_tool("backup", server.socket, place + "/last", "--incremental-from", earlier)
        run_tool("restore", place + "/last", place + "/at-rest")
        expect("digest", digest_of(server, place + "/at-rest"), digest)
        # Through a pipe, what is new alone; the rest is in the last one.
        with open(place + "/pipe.tar", "wb") as out:
            done = subprocess.run([tool, "backup", server.socket, "-", "--incremental-from", place + "/last/backup.manifest"],
                                  stdout=out, stderr=subprocess.PIPE, timeout=120)
        expect("exit of the pipe", (done.returncode, b"commits up to" in done.stderr), (0, True))
        with tarfile.open(place + "/pipe.tar") as archive:
            archive.extractall(place + "/piped")
        run_tool("restore", place + "/piped", place + "/from-pipe")
        expect("digest", digest_of(server, place + "/from-pipe"), digest)
        # Where the earlier one has gone elsewhere, it is named.
        os.rename(place + "/last", place + "/moved")
        if " is missing" not in run_tool("restore", "--check", place + "/piped", code=1):
            fail("what is missing is not named")
        run_tool("restore", "--check", place + "/piped", place + "/moved")
        os.rename(place + "/moved", place + "/last")
        # Of a restored one goes another way: nothing of the first is taken for its own.
        other = Server(server_program, "--enable-debug-command", "yes")
        other.data = place + "/at-rest"
        other.start()
        fork = start_writers(other, 3)
        wait_until("no load", lambda: answered(fork) > 500)
        stop_writers(fork)
        run_tool("backup", other.socket, place + "/fork", "--incremental-from", place + "/last")
        digest = other.connect().execute_command("DEBUG", "DIGEST")
        other.stop()
        other.clean_up()
        run_tool("restore", place + "/fork", place + "/forked")
        expect("digest of the other way", digest_of(server, place + "/forked"), digest)
        # A directory that no server has open.
        server.stop()
        run_tool("backup", server.data, place + "/offline", "--incremental-from", place + "/last")
        run_tool("restore", place + "/offline", place + "/from-offline")
        expect("digest of the directory's", digest_of(server, place + "/from-offline"), digest_of(server, server.data))
        expect("nothing is left there", [name for name in os.listdir(server.data) if "sett-tool" in name], [])
    finally:
        server.clean_up()


# ---- refused, cut, damaged ----


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 0x40]))


def check_damage(server, place):
    """Whatever byte of whatever file it is, it is found and named, and nothing is written."""
    backup, target = place + "/whole", place + "/target"
    run_tool("backup", server.socket, backup)
    draw = random.Random(1)
    for name in sorted(os.listdir(backup)):
        path = "%s/%s" % (backup, name)
        for _ in range(3):
            at = draw.randrange(os.path.getsize(path))
            flip(path, at)
            said = run_tool("restore", backup, target, code=1)
            if "damage: " not in said or name not in said or os.path.exists(target):
                fail("%s at %d: %s" % (name, at, said))
            flip(path, at)
        with open(path, "ab") as f:
            f.write(b"x")
        if name not in run_tool("restore", backup, target, code=1):
            fail("%s: a byte too much" % name)
        os.truncate(path, os.path.getsize(path) - 1)
        os.rename(path, path + ".away")
        if name not in run_tool("restore", backup, target, code=2 if name == "backup.manifest" else 1):
            fail("%s is missing" % name)
        os.rename(path + ".away", path)
    os.mkdir(target)
    with open(target + "/mine", "w") as f:
        f.write("1")
    if "mine" not in run_tool("restore", backup, target, code=2):
        fail("a directory with something in it")
    os.remove(target + "/mine")
    run_tool("restore", backup, target)
    expect("what a second one finds", "is not empty" in run_tool("restore", backup, target, code=2), True)
    for refused, words in ((backup, "holds a backup"), (target, "is not empty"), (server.data, "is not empty")):
        if words not in run_tool("backup", server.socket, refused, code=2):
            fail("a backup into %s" % refused)
    expect("the server has let go", status(server.connect())["state"], "idle")


def check_cuts(server, place):
    target = place + "/cut"
    # No room for a file: a clean error, and the server's files are let go.
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if "write " not in run_tool("backup", server.socket, target, code=2, preexec_fn=small):
        fail("no room")
    expect("let go", status(server.connect())["state"], "idle")
    if "backup.manifest" not in run_tool("restore", target, place + "/none", code=2):
        fail("half a backup was restored")
    # Killed again and again at some moment, and gone on with.
    draw, kills = random.Random(2), 0
    for _ in range(60):
        process = subprocess.Popen([tool, "backup", "--quiet", server.socket, target], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            process.wait(draw.random() * 0.05)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait() != -signal.SIGKILL:
            break
        kills += 1
        if os.path.exists(target + "/backup.manifest"):  # killed behind the last step that counts
            break
        run_tool("restore", "--check", target, code=2)
        client = server.connect()
        if status(client)["state"] == "incrementing":  # killed between the two words
            try:
                client.execute_command("BACKUP", "ABORT")
            except redis.ResponseError as error:  # the second one had come all the same
                expect("ABORT", ("No backup in progress" in str(error), status(client)["state"]), (True, "sealed"))
    if not os.path.exists(target + "/backup.manifest"):
        run_tool("backup", server.socket, target)
    run_tool("restore", target, place + "/after-cuts")
    client = server.connect()
    expect("digest after %d kills" % kills, digest_of(server, place + "/after-cuts"), client.execute_command("DEBUG", "DIGEST"))
    client.execute_command("BACKUP", "CLEANUP")
    # Sealed by hand, copied, and still there.
    client.execute_command("BACKUP", "START")
    client.execute_command("BACKUP", "SEAL")
    if "--sealed" not in run_tool("backup", server.socket, place + "/sealed", code=2):
        fail("what is sealed was taken")
    if os.path.exists(place + "/sealed"):
        fail("a refused backup has made its directory")
    run_tool("backup", "--sealed", server.socket, place + "/sealed")
    expect("still sealed", status(client)["state"], "sealed")
    client.execute_command("BACKUP", "CLEANUP")
    run_tool("restore", "--check", place + "/sealed")


def check_server_kills():
    """The server is killed at some moment of a seal under load: it starts, and the next backup is whole."""
    server = new_server()
    place = server.directory
    draw = random.Random(3)
    try:
        for number in range(4):
            writers = start_writers(server, 2)
            wait_until("no load", lambda: answered(writers) > 100)
            process = subprocess.Popen([tool, "backup", "--quiet", server.socket, "%s/k%d" % (place, number)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.random() * 0.1)
            server.kill()
            code = process.wait(180)
            stop_writers(writers)
            if (code == 0) != os.path.exists("%s/k%d/backup.manifest" % (place, number)) and code == 0:
                fail("exit 0 without a backup")
            server.start()
            client = server.connect()
            client.execute_command("BACKUP", "CLEANUP")
            run_tool("backup", server.socket, "%s/a%d" % (place, number))
            run_tool("restore", "%s/a%d" % (place, number), "%s/ra%d" % (place, number))
            expect("digest", digest_of(server, "%s/ra%d" % (place, number)), client.execute_command("DEBUG", "DIGEST"))
    finally:
        server.clean_up()


def check_refusals():
    server = new_server()
    try:
        client = server.connect()
        for number in range(200):
            client.set("key:%d" % number, body(0, number))
        check_damage(server, server.directory)
        check_cuts(server, server.directory)
    finally:
        server.clean_up()


# ---- what goes wrong beside it ----


def restored_digest(server, backup, target):
    run_tool("restore", backup, target)
    return digest_of(server, target)


def check_bases(server, place):
    """What the earlier one has not, or not whole, is copied of the server, and nothing is left to it on one file system."""
    client = server.connect()
    digest = client.execute_command("DEBUG", "DIGEST")
    run_tool("backup", server.socket, place + "/full")
    big = max((name for name in os.listdir(place + "/full") if name.endswith((".vlog", ".sst"))),
              key=lambda name: os.path.getsize("%s/full/%s" % (place, name)))
    # copied without its times, by cp or tar: its files are read, and taken
    shutil.copytree(place + "/full", place + "/copied", copy_function=shutil.copy)
    said = run_tool("backup", server.socket, place + "/of-copied", "--incremental-from", place + "/copied")
    expect("of a copied one", ("left to" in said, "shared with" in said), (False, True))
    flip("%s/copied/%s" % (place, big), 5)  # the link goes with it: that is found
    if big not in run_tool("restore", "--check", place + "/of-copied", code=1):
        fail("damage to a shared file is not found")
    said = run_tool("backup", server.socket, place + "/of-damaged", "--incremental-from", place + "/copied")
    shutil.rmtree(place + "/copied")
    expect("of a damaged copy", ("left to" in said, restored_digest(server, place + "/of-damaged", place + "/r1")), (False, digest))
    # without one of its files
    os.remove("%s/full/%s" % (place, big))
    said = run_tool("backup", server.socket, place + "/of-less", "--incremental-from", place + "/full")
    expect("of one that lacks a file", ("left to" in said, restored_digest(server, place + "/of-less", place + "/r2")), (False, digest))
    with open(place + "/less.tar", "wb") as out:
        subprocess.run([tool, "backup", "--quiet", server.socket, "-", "--incremental-from", place + "/full"], stdout=out,
                       stderr=subprocess.DEVNULL, timeout=120, check=True)
    with tarfile.open(place + "/less.tar") as archive:
        expect("in the pipe", big in archive.getnames(), True)
    # a manifest alone: what it names is left to who has it
    os.mkdir(place + "/bare")
    shutil.copy(place + "/of-less/backup.manifest", place + "/bare/its.manifest")
    if "left to" not in run_tool("backup", server.socket, place + "/of-bare", "--incremental-from", place + "/bare/its.manifest"):
        fail("a bare manifest")
    run_tool("restore", "--check", place + "/of-bare", place + "/of-less")


def waiting_bytes(pipe):
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def slow_pipe(server, *arguments):
    """A backup into a pipe that nobody reads: its files are sealed, and it waits for room."""
    process = subprocess.Popen([tool, "backup", "--quiet", server.socket, "-", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until("it copies nothing", lambda: waiting_bytes(process.stdout) > 0)
    return process


def check_pipes(server, place):
    client = server.connect()
    # A signal ends one that waits for the pipe.
    process = slow_pipe(server)
    wait_until("it does not wait", lambda: open("/proc/%d/stat" % process.pid).read().rpartition(")")[2].split()[0] == "S")
    process.send_signal(signal.SIGTERM)
    expect("ended", (process.wait(180), b"interrupted" in process.communicate()[1]), (2, True))
    expect("let go", status(client)["state"], "idle")
    # Neither the time of what is sealed nor that of an idle connection ends while it is copied.
    client.config_set("timeout", 1)
    client.config_set("backup-sealed-ttl", 4)
    process = slow_pipe(server)
    time.sleep(9)  # more than both times
    expect("sealed", status(server.connect())["state"], "sealed")
    archive, said = process.communicate(timeout=180)
    expect("a slow pipe", (process.returncode, said[:300]), (0, said[:300]))
    wait_until("not let go", lambda: status(server.connect())["state"] == "idle")
    with open(place + "/slow.tar", "wb") as out:
        out.write(archive)
    with tarfile.open(place + "/slow.tar") as tar:
        tar.extractall(place + "/slow")
    run_tool("restore", "--check", place + "/slow")
    client.config_set("timeout", 0)
    client.config_set("backup-sealed-ttl", 0)
    # The server is killed meanwhile, and there again when the files are to be let go.
    process = slow_pipe(server)
    server.kill()
    server.start()
    client = server.connect()
    expect("after a kill", (status(client)["state"], int(status(client)["commit"]) > 0), ("sealed", True))
    said = process.communicate(timeout=180)[1]
    expect("a server that was killed", (process.returncode, said[:300], status(client)["state"]), (0, said[:300], "idle"))


def check_two(server, place):
    """Two into one target, one that was cut whose files are no more sealed, and names that are not of a backup."""
    client = server.connect()
    target = place + "/twice"
    os.mkdir(target)
    with open(target + "/backup.part", "w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        if "another backup" not in run_tool("backup", server.socket, target, code=2):
            fail("two backups into one directory")
    # What is sealed is of another: it stays.
    client.execute_command("BACKUP", "START")
    client.execute_command("BACKUP", "SEAL")
    if "--sealed" not in run_tool("backup", server.socket, target, code=2):
        fail("another's backup was taken")
    expect("another's", status(client)["state"], "sealed")
    # ... also if an earlier run with --sealed was cut.
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    run_tool("backup", "--sealed", server.socket, target, code=2, preexec_fn=small)
    run_tool("backup", server.socket, target, code=2)
    expect("another's", status(client)["state"], "sealed")
    client.execute_command("BACKUP", "CLEANUP")
    os.mkdir(target + "/folder")
    with open(target + "/notes.txt", "w") as notes:
        notes.write("mine")
    for stray in ("999999.sst", "999998.vlog.part"):
        open("%s/%s" % (target, stray), "w").close()
    run_tool("backup", server.socket, target)
    expect("what stays", [os.path.exists("%s/%s" % (target, name)) for name in ("folder", "notes.txt", "999999.sst", "999998.vlog.part", "backup.part")],
           [True, True, False, False, False])
    run_tool("restore", "--check", target)
    # A seal that was cut: the tool says what helps.
    client.execute_command("BACKUP", "START")
    client.execute_command("BACKUP", "SEAL")
    server.kill()
    os.remove(server.data + "/backupdir/MANIFEST")
    server.start()
    if "BACKUP CLEANUP" not in run_tool("backup", server.socket, place + "/cut-seal", code=2):
        fail("it does not say what helps")
    server.connect().execute_command("BACKUP", "CLEANUP")
    # An address of IPv6 in brackets: it is tried, and nobody is there.
    said = run_tool("backup", "[::1]:1", place + "/never", code=2)
    if not any(words in said for words in ("refused", "Cannot assign", "not supported")):
        fail("brackets: " + said)
    # Under the path that the server names lies what another has sealed, as on another machine.
    client = server.connect()
    client.set("one more", "1")
    client.execute_command("BACKUP", "START")
    client.execute_command("BACKUP", "SEAL")
    os.rename(server.data + "/backupdir", place + "/its-files")
    shutil.copytree(target, server.data + "/backupdir")
    if "not what that server has sealed" not in run_tool("backup", "--sealed", server.socket, place + "/not-its", code=2):
        fail("another server's files were taken")
    shutil.rmtree(server.data + "/backupdir")
    os.rename(place + "/its-files", server.data + "/backupdir")
    client.execute_command("BACKUP", "CLEANUP")


def check_owner(server, place):
    """Another user's directory is left as it is: what would be written there its server could not read."""
    if os.geteuid() != 0:
        return
    server.stop()
    before = sorted(os.listdir(server.data))
    os.chown(server.data + "/MANIFEST", 65534, 65534)
    if "belongs to user 65534" not in run_tool("backup", server.data, place + "/not-mine", code=2):
        fail("a directory of another user")
    expect("untouched", sorted(os.listdir(server.data)), before)


def check_beside():
    server = new_server()
    try:
        client = server.connect()
        for number in range(300):
            client.set("key:%d" % number, body(0, number))
        for check in (check_bases, check_pipes, check_two, check_owner):
            check(server, server.directory)
    finally:
        server.clean_up()


check_states()
check_load()
check_refusals()
check_beside()
check_server_kills()
print("backups: well")
