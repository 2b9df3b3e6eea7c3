#!/usr/bin/env python3
"""A directory in which Debian's redis-server has written its files is taken over by Sett, and back: what redis-server loads
from Sett's SAVE is what it had. Also where the taking over is killed, the files are damaged, or a database is there.

    taking_over.py SETT_SERVER REDIS_SERVER SETT_TOOL [KEYS [SEED [KILLS]]]
"""
import os
import random
import shutil
import subprocess
import sys
import time

import redis

from own_server import Server, expect, fail, wait_until
from values import Maker, digest, fill

REDIS_OPTIONS = ("--save", "", "--enable-debug-command", "yes")
SETT_OPTIONS = ("--enable-debug-command", "yes")


class World:
    def __init__(self, sett_server, redis_server, sett_tool, keys, seed):
        self.sett_server, self.redis_server, self.sett_tool = sett_server, redis_server, sett_tool
        self.keys, self.seed = keys, seed
        self.servers = []

    def server(self, program, *options):
        server = Server(program, *options)
        self.servers.append(server)
        return server

    def sett(self, *options):
        return self.server(self.sett_server, *SETT_OPTIONS, *options)

    def redis(self, *options):
        return self.server(self.redis_server, *REDIS_OPTIONS, *options)

    def clean_up(self):
        for server in self.servers:
            server.clean_up()

    def digest_of_file(self, path):
        other = self.redis()
        shutil.copy(path, other.directory + "/dump.rdb")
        other.start()
        found = digest(other)
        other.clean_up()
        return found

    def digest_by_redis(self, sett):
        """What redis-server makes of Sett's content."""
        sett.connect(timeout=300).execute_command("SAVE")
        return self.digest_of_file(sett.directory + "/dump.rdb")


def copy_files(source, target):
    for name in os.listdir(source.directory):
        path = source.directory + "/" + name
        if os.path.isdir(path):
            shutil.copytree(path, target.directory + "/" + name)
        elif name.endswith((".rdb", ".aof")):
            shutil.copy(path, target.directory)


def contents(directory):
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            if name.endswith((".rdb", ".aof", ".manifest")):
                path = os.path.join(folder, name)
                found[path[len(directory):]] = open(path, "rb").read()
    return found


def lines_of_failure(server, *options):
    """What a start that fails says."""
    command = [server.program, "--port", "0", "--unixsocket", server.socket, "--dir", server.directory]
    done = subprocess.run(command + server.options + list(options), stdout=subprocess.PIPE, timeout=180)
    expect("the exit code of a start that must fail: %r" % done.stdout[-300:], done.returncode, 1)
    return done.stdout.decode(errors="replace").splitlines()


def fails(server, *options):
    """The last line of a start that fails."""
    lines = [line for line in lines_of_failure(server, *options) if "Can't start" in line]
    expect("lines of a start that fails", len(lines), 1)
    return lines[0]


def expect_failure(server, words, *options):
    line = fails(server, *options)
    for word in words:
        if word not in line:
            fail("a start that fails says %r, without %r" % (line, word))


def take_over(world, source, wanted, what, *options):
    sett = world.sett(*options)
    copy_files(source, sett)
    before = contents(sett.directory)
    sett.start()
    expect("files after " + what, contents(sett.directory) == before, True)
    expect("what redis-server has back from " + what, world.digest_by_redis(sett), wanted)
    # Neither what was read nor what was written stands in the way of a start.
    sett.stop()
    sett.start()
    expect("keys after another start", sum(d["keys"] for d in sett.connect().info("keyspace").values()),
           sum(d["keys"] for d in source.connect().info("keyspace").values()))
    sett.clean_up()


def check_rdb(world):
    source = world.redis()
    source.start()
    fill((source,), Maker(world.seed), world.keys)
    wanted = digest(source)
    for compression in ("yes", "no"):
        source.connect().config_set("rdbcompression", compression)
        source.connect(timeout=300).save()
        take_over(world, source, wanted, "an RDB file, compression " + compression)
    source.connect().config_set("maxmemory-policy", "allkeys-lfu")
    source.connect(timeout=300).save()
    take_over(world, source, wanted, "an RDB file with frequencies", "--maxmemory-policy", "allkeys-lfu")
    return source, wanted


def check_aof(world, preamble):
    source = world.redis("--appendonly", "yes", "--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", "yes")
    source.start()
    fill((source,), Maker(world.seed + 1), world.keys // 2)
    client = source.connect()
    client.execute_command("BGREWRITEAOF")
    wait_until("the rewrite does not end", lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
    for i in range(300):
        pipeline = client.pipeline(transaction=True)
        pipeline.set("key:%d" % i, "changed").incr("counter").rpush("list", i).lpop("list")
        pipeline.execute()
    client.execute_command("SET", "large", b"x" * 1000000)
    client.execute_command("SET", "volatile", "x", "PX", 100000000)
    client.execute_command("XADD", "a stream", "*", "a", "b")
    wanted = digest(source)
    source.stop()
    take_over_stopped(world, source, wanted, "append-only files, RDB preamble " + preamble)
    return source, wanted


def take_over_stopped(world, source, wanted, what, *options):
    sett = world.sett(*options)
    copy_files(source, sett)
    before = contents(sett.directory)
    sett.start()
    expect("files after " + what, contents(sett.directory) == before, True)
    expect("what redis-server has back from " + what, world.digest_by_redis(sett), wanted)
    sett.clean_up()


def check_old_aof(world, source, wanted):
    """One file, as Redis had before version 7."""
    old = world.server(world.redis_server)
    folder = source.directory + "/appendonlydir/"
    names = sorted(os.listdir(folder), key=lambda name: (".incr." in name, name))
    with open(old.directory + "/appendonly.aof", "wb") as file:
        for name in names:
            if name.endswith((".rdb", ".aof")):
                file.write(open(folder + name, "rb").read())
    take_over_stopped(world, old, wanted, "a single append-only file")


def check_deadlines(world):
    """A deadline that has passed since the file was written is not the last word: commands behind it may take it away."""
    past, future = int(time.time() * 1000) - 300000, int(time.time() * 1000) + 3600000
    commands = (("SELECT", 0),
                ("SET", "renewed", "v", "PXAT", past), ("PEXPIREAT", "renewed", future),
                ("SET", "kept", "v", "PXAT", past), ("PERSIST", "kept"),
                ("SET", "number", 5, "PXAT", past), ("INCRBY", "number", 1),
                ("RPUSH", "list", "a"), ("PEXPIREAT", "list", past), ("RPUSH", "list", "b"), ("PERSIST", "list"),
                ("SET", "gone", "v"), ("PEXPIREAT", "gone", past),
                ("SET", "stays", "v"))
    found = []
    for server in (world.server(world.redis_server, "--appendonly", "yes"), world.sett("--appendonly", "yes")):
        write_aof(server, *commands)
        server.start()
        client = server.connect()
        keys = ("renewed", "kept", "number", "list", "gone", "stays")
        found.append([(key, client.type(key), client.pexpiretime(key)) for key in keys] + client.lrange("list", 0, -1))
        server.clean_up()
    expect("keys with deadlines that passed", found[1], found[0])


def write_aof(server, *commands):
    with open(server.directory + "/appendonly.aof", "wb") as file:
        for command in commands:
            words = [str(word).encode() for word in command]
            file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))


def check_failing_commands(world):
    """A command that fails is passed over; what stands around it counts, also in its MULTI block."""
    commands = (("SELECT", 0), ("SET", "a", "x"), ("LPUSH", "a", "y"), ("SET", "b", "z"), ("MULTI",), ("SET", "c", 1),
                ("LPUSH", "a", "y"), ("SET", "d", 1), ("EXEC",), ("INCR", "a"), ("XGROUP", "CREATE", "none", "g", "0"),
                ("SET", "large", "x" * 300000), ("LPUSH", "a", "x" * 300000), ("SET", "e", 1))
    found = []
    for server in (world.server(world.redis_server, "--appendonly", "yes"), world.sett("--appendonly", "yes")):
        write_aof(server, *commands)
        server.start()
        client = server.connect()
        found.append(client.mget("a", "b", "c", "d", "e") + [client.strlen("large"), client.dbsize()])
        server.clean_up()
    expect("keys of an append-only file whose commands fail", found[1], found[0])
    # What follows would go into the wrong database; and what may be a limit of this server's own is no failure of the data.
    block = lambda *commands: (("MULTI",), *commands, ("EXEC",))
    for commands, words in (((("SELECT", 99),), "SELECT"), ((("SELECT", "x"),), "SELECT"), (block(("SELECT", 16)), "SELECT"),
                            ((("SETRANGE", "large", 600000000, "x"),), "maximum allowed size"),
                            (block(("MOVE", "a", 99)), "DB index is out of range")):
        sett = world.sett("--appendonly", "yes")
        write_aof(sett, ("SELECT", 0), ("SET", "a", "x"), *commands, ("SET", "b", "x"))
        expect_failure(sett, ("A command failed", "appendonly.aof", "at byte", words))
        sett.clean_up()


def check_truncated_aof(world, source):
    sett = world.sett("--aof-load-truncated", "no")
    copy_files(source, sett)
    folder = sett.directory + "/appendonlydir/"
    name = [name for name in os.listdir(folder) if ".incr." in name][-1]
    whole = open(folder + name, "rb").read()
    open(folder + name, "wb").write(whole[:-5])
    expect_failure(sett, (name, "aof-load-truncated"))
    sett.options[-1] = "yes"
    sett.start()
    expect("what is behind the cut", sett.connect().exists("a stream"), 0)
    expect("what is before the cut", sett.connect().strlen("large"), 1000000)
    sett.clean_up()
    sett = world.sett()
    copy_files(source, sett)
    at = whole.index(b"INCR") if b"INCR" in whole else whole.index(b"incr")
    open(sett.directory + "/appendonlydir/" + name, "wb").write(whole[:at] + b"NONE" + whole[at + 4:])
    expect_failure(sett, (name, "Unknown command"))
    sett.clean_up()


def run_tool(world, code, *arguments):
    done = subprocess.run([world.sett_tool, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=3600)
    said = done.stderr.decode(errors="replace")
    if done.returncode != code:
        fail("sett-tool %r ends with %d: %s" % (arguments, done.returncode, said))
    return said


def check_import_and_export(world, files, wanted, what):
    """Out of the files, into a database, served, and out of that: always the same."""
    sett, out = world.sett(), world.redis()
    run_tool(world, 0, "import", files, sett.directory)
    run_tool(world, 0, "export", sett.directory, out.directory + "/dump.rdb")
    expect("what redis-server has from %s, there and back" % what, world.digest_of_file(out.directory + "/dump.rdb"), wanted)
    run_tool(world, 2, "import", files, sett.directory)
    sett.start()
    expect("what a server has from " + what, world.digest_by_redis(sett), wanted)
    if "has it open" not in run_tool(world, 2, "export", sett.directory, out.directory + "/dump.rdb"):
        fail("an export beside a server says nothing of it")
    sett.clean_up()
    out.clean_up()


def check_tool(world, source, wanted):
    before = contents(source.directory)
    check_import_and_export(world, source.directory + "/dump.rdb", wanted, "an RDB file")
    check_import_and_export(world, source.directory, wanted, "a directory with an RDB file")
    expect("files after imports", contents(source.directory) == before, True)
    empty, whole = world.sett(), open(source.directory + "/dump.rdb", "rb").read()
    run_tool(world, 2, "import", empty.directory, empty.directory + "/new")
    run_tool(world, 2, "import", empty.directory + "/nothing", empty.directory + "/new")
    run_tool(world, 2, "export", empty.directory, empty.directory + "/out.rdb")
    expect("what is left of an export of nothing", os.listdir(empty.directory), [])
    open(empty.directory + "/damaged.rdb", "wb").write(whole[:len(whole) // 2])
    said = run_tool(world, 1, "import", empty.directory + "/damaged.rdb", empty.directory + "/new")
    if "damaged.rdb" not in said or "at byte" not in said:
        fail("an import of a damaged file says %r" % said)
    empty.clean_up()


def check_tool_with_append_files(world, source, wanted):
    for files in (source.directory + "/appendonlydir/", source.directory):
        check_import_and_export(world, files, wanted, "append-only files")


def check_kills(world, source, wanted, count):
    sett = world.sett("--key-load-delay", "100")
    copy_files(source, sett)
    before = contents(sett.directory)
    pause = random.Random(world.seed)
    seen = set()
    for i in range(count):
        command = [sett.program, "--port", "0", "--unixsocket", sett.socket, "--dir", sett.directory, *sett.options]
        if os.path.exists(sett.socket):  # of the one before
            os.remove(sett.socket)
        sett.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        # Every other one is killed at some moment after it answers, which a busy machine may put off.
        for _ in range(1000 if i % 2 else 0):
            if os.path.exists(sett.socket):
                break
            time.sleep(0.01)
        time.sleep((0 if i % 2 else 0.05) + pause.random() * world.keys / 10000)
        answers = False
        try:
            persistence = sett.connect().info("persistence")
            answers = True
            seen.add(persistence["loading"])
            if persistence["loading"] == 1:
                expect("loading_total_bytes", persistence["loading_total_bytes"], len(before["/dump.rdb"]))
                answer, later = sett.connect().pipeline(transaction=False).get("x").info("persistence").execute(raise_on_error=False)
                if not isinstance(answer, redis.exceptions.BusyLoadingError) and later["loading"] == 1:
                    fail("GET is answered while the dataset is loaded: %r" % answer)
        except redis.ConnectionError:
            pass
        if i % 4 == 3 and answers:  # before that a signal may come before it is waited for
            sett.stop()
            expect("the exit code of a stop", sett.process.returncode, 0)
        else:
            sett.kill()
    expect("files after kills", contents(sett.directory) == before, True)
    expect("that some kills came while it was loading", 1 in seen, True)
    sett.options = list(SETT_OPTIONS)
    sett.start()
    expect("what redis-server has back after %d kills" % count, world.digest_by_redis(sett), wanted)
    sett.clean_up()


def check_shutdown_while_loading(world, source):
    """SHUTDOWN SAVE does not write the part that was read over the file that it is read from, and can't be aborted."""
    sett = world.sett("--key-load-delay", "10000")
    copy_files(source, sett)
    before = contents(sett.directory)
    command = [sett.program, "--port", "0", "--unixsocket", sett.socket, "--dir", sett.directory, *sett.options]
    sett.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def is_loading():
        try:
            return sett.connect().info("persistence")["loading"] == 1
        except redis.ConnectionError:
            return False

    wait_until("it does not load", is_loading)
    try:
        sett.connect().execute_command("DEBUG", "RELOAD")
        fail("DEBUG RELOAD while the dataset is loaded")
    except redis.exceptions.BusyLoadingError:
        pass
    other, asking = sett.connect(), sett.connect().connection_pool.get_connection("SHUTDOWN")
    other.info("server")
    asking.send_command("SHUTDOWN", "SAVE")
    time.sleep(0.003)  # it has come
    try:
        fail("SHUTDOWN ABORT says %r" % other.execute_command("SHUTDOWN", "ABORT"))
    except redis.ConnectionError:
        pass
    except redis.ResponseError as error:
        expect("SHUTDOWN ABORT", str(error), "No shutdown in progress.")
    expect("the exit code of SHUTDOWN SAVE", sett.process.wait(180), 0)
    expect("files after SHUTDOWN SAVE", contents(sett.directory) == before, True)
    sett.clean_up()


def check_damage(world, source, count):
    whole = open(source.directory + "/dump.rdb", "rb").read()
    place = random.Random(world.seed)
    for i in range(count):
        sett = world.sett()
        at = place.randrange(len(whole))
        damaged = bytearray(whole)
        if i % 2:
            damaged = damaged[:at]
        else:
            damaged[at] ^= 1 << place.randrange(8)
        open(sett.directory + "/dump.rdb", "wb").write(damaged)
        line = fails(sett)
        if "dump.rdb" not in line or "byte" not in line and "version" not in line:
            fail("damage at %d: %s" % (at, line))
        sett.clean_up()


def check_key_twice(world):
    """A key that comes twice is damage: in one transaction; in the next, which is filled while that is committed; far behind it."""
    for first, second in ((0, 1), (0, 300), (100, 600), (511, 512), (0, 1024), (3, 1999)):
        names = [b"key:%d" % i for i in range(2000)]
        names[second] = names[first]
        keys = b"".join(b"\x00" + bytes([len(name)]) + name + b"\x01v" for name in names)
        sett = world.sett()
        with open(sett.directory + "/dump.rdb", "wb") as file:
            file.write(b"REDIS0010\xfe\x00" + keys + b"\xff" + bytes(8))
        expect_failure(sett, ("dump.rdb", "at byte", "a key comes twice"))
        sett.clean_up()


def check_empty_keys(world):
    """Of those in transactions that are filled one beside the other the log names the first ten, each once."""
    empty = b"".join(b"\x01\x07empty:%d\x00" % i for i in range(10))
    keys = b"".join(b"\x00\x09key:%05d\x01v" % i for i in range(1024))
    half = len(keys) // 2
    sett = world.sett()
    sett.options += ["--logfile", sett.directory + "/log"]
    with open(sett.directory + "/dump.rdb", "wb") as file:
        file.write(b"REDIS0010\xfe\x00" + empty + keys[:half] + empty.replace(b"empty", b"other") + keys[half:] + b"\xff" + bytes(8))
    sett.start()
    wait_until("it does not end", lambda: sett.connect().info("persistence")["loading"] == 0)
    log = open(sett.directory + "/log").read()
    expect("keys beside empty ones", sett.connect().dbsize(), 1024)
    expect("empty keys that are named", [line.split()[-1] for line in log.splitlines() if "skipping empty key" in line],
           ["empty:%d" % i for i in range(10)])
    expect("the count of empty keys", "empty keys skipped: 20" in log, True)
    sett.clean_up()


def check_beside_database(world, source, wanted):
    sett = world.sett()
    sett.start()
    sett.connect().set("mine", "1")
    sett.stop()
    copy_files(source, sett)
    expect_failure(sett, ("dump.rdb", "--ignore-redis-files yes", "--import-redis-files yes"))
    options = list(sett.options)
    sett.options = options + ["--ignore-redis-files", "yes"]
    sett.start()
    expect("the database", sett.connect().keys("*"), [b"mine"])
    sett.stop()
    sett.options = options
    sett.start()
    expect("the database again", sett.connect().keys("*"), [b"mine"])
    sett.stop()
    # What was once ignored can be had later, once.
    wanted_keys = source.connect().dbsize()
    sett.options = options + ["--import-redis-files", "yes"]
    for start in ("an import of what was ignored", "another start with the option"):
        sett.start()
        expect("keys after " + start, sett.connect().dbsize(), wanted_keys)
        sett.connect().set("mine", "again")
        wanted_keys += start.startswith("an import")
        sett.stop()
    sett.options = options
    sett.start()
    sett.connect().save()
    sett.stop()
    shutil.copy(source.directory + "/dump.rdb", sett.directory)
    open(sett.directory + "/dump.rdb", "ab").write(b"\n")
    expect_failure(sett, ("dump.rdb", "--import-redis-files yes"))
    shutil.copy(source.directory + "/dump.rdb", sett.directory)
    sett.start()
    sett.stop()
    source.connect().set("more", "1")
    source.connect().save()
    shutil.copy(source.directory + "/dump.rdb", sett.directory)
    expect_failure(sett, ("dump.rdb", "--import-redis-files yes"))
    whole = open(sett.directory + "/dump.rdb", "rb").read()
    for at in (5, len(whole) // 2, len(whole) - 4):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        open(sett.directory + "/dump.rdb", "wb").write(damaged)
        sett.options = options
        expect_failure(sett, ("dump.rdb", "is damaged", "as it was"), "--import-redis-files", "yes")
        open(sett.directory + "/dump.rdb", "wb").write(whole)
        expect_failure(sett, ("dump.rdb", "--import-redis-files yes"))
    sett.options = options + ["--import-redis-files", "yes"]
    sett.start()
    expect("what was taken over", sett.connect().exists("mine", "more"), 1)
    sett.clean_up()


MODULE = b"\x81" + bytes(7) + b"\x03"  # the number of the type AAAAAAAAA
MODULE_VALUE = MODULE + b"\x02\x05\x05\x02xy\x00"


def command_bytes(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def check_survey(world):
    """All that can't be taken over is named, with counts, and nothing is replaced."""
    rdb = b"REDIS0010" + b"".join(b"\x07\x01" + name + MODULE_VALUE for name in (b"m", b"n")) + \
        b"\xfe\x3f\x00\x01a\x01x\xff" + bytes(8)
    whole = b"REDIS0010\xfe\x00\x00\x01a\x01x\xff" + bytes(8)
    unknown = command_bytes(b"SET", b"a", b"x") + command_bytes(b"JSON.SET", b"a", b"$", b"1") * 3 + command_bytes(b"FT.ADD", b"a")
    module = ("at byte 9", "the key 'm'", "module type AAAAAAAAA", "2 times", "kinds of such things: 2")
    commands = ("Unknown command 'JSON.SET' reading the append only file", "3 times", "kinds of such things: 2")
    database = "a key in a database that is not there"
    cases = (
        ("dump.rdb", rdb, module, ("2 times can't be taken over: a value of the module", "1 times can't be taken over: " + database)),
        ("dump.rdb", rdb[:-10], ("dump.rdb", "ends too early"), ("2 times can't be taken over: a value of the module",)),
        ("appendonly.aof", unknown, commands, ("3 times can't be taken over: Unknown command 'JSON.SET'", "1 times can't be taken over: Unknown command 'FT.ADD'")),
        ("appendonly.aof", rdb + unknown, module[:4] + ("kinds of such things: 4",), ("3 times can't be taken over: Unknown command 'JSON.SET'",)),
        ("appendonly.aof", whole + command_bytes(b"SET", b"a", b"x") + b"*1\r\n$3\r\nxy", ("appendonly.aof", "at byte 52"), ()),
        ("appendonly.aof", whole + command_bytes(b"MULTI") + command_bytes(b"MULTI"), ("Bad file format", "at byte 40"), ()),
        ("appendonly.aof", whole[:-12], ("appendonly.aof", "ends too early"), ()),
    )
    for fresh in (True, False):
        sett = world.sett("--appendonly", "yes", "--aof-load-truncated", "no")
        if not fresh:
            sett.start()
            sett.connect().set("mine", "1")
            sett.stop()
        for name, content, words, lines in cases:
            path = sett.directory + "/" + name
            open(path, "wb").write(content)
            expect_failure(sett, words + (() if fresh else ("as it was",)), "--import-redis-files", "yes")
            said = "\n".join(lines_of_failure(sett, "--import-redis-files", "yes"))
            for line in lines:
                if line not in said:
                    fail("the log lacks %r" % line)
            os.remove(path)
        if not fresh:
            sett.start()
            expect("the database after surveys", sett.connect().get("mine"), b"1")
        sett.clean_up()


def check_large(world):
    """Values that are read and written in pieces."""
    source = world.redis()
    source.start()
    client = source.connect()
    for i in range(0, 60000, 1000):
        pipeline = client.pipeline(transaction=False)
        names = ["member:%d" % j for j in range(i, i + 1000)]
        pipeline.rpush("a list", *["element %d of a list" % j for j in range(i, i + 1000)])
        pipeline.sadd("a set", *names)
        pipeline.sadd("integers", *range(i * 1000, i * 1000 + 1000))
        pipeline.zadd("a zset", {name: j / 7 for j, name in enumerate(names)})
        pipeline.hset("a hash", mapping={name: "value of " + name for name in names})
        for name in names[::20]:
            pipeline.xadd("a stream", {"field": name, "other": "value of " + name})
        pipeline.execute()
    for i in range(800):
        client.hset("long values", "field %d" % i, os.urandom(1500) * 2)
    client.xgroup_create("a stream", "group", 0)
    client.xreadgroup("group", "consumer", {"a stream": ">"}, count=500)
    client.set("large", os.urandom(3000000))
    client.set("large and compressible", b"ab" * 2000000)
    client.set("large, with a deadline", os.urandom(1500000), ex=100000)
    client.rpush("large elements", *[os.urandom(50000) for _ in range(60)])
    wanted = digest(source)
    client.save()
    take_over(world, source, wanted, "an RDB file with large values")
    take_over(world, source, wanted, "an RDB file with large values, in little memory", "--maxmemory", "64mb")


LIBRARY = """#!lua name=%s
redis.register_function('%s_f', function(keys, args) return '%s' .. args[1] end)"""


def check_functions(world):
    """Libraries are taken over from RDB and append-only files, and come back with SAVE."""
    source = world.redis("--appendonly", "yes")
    source.start()
    client = source.connect()
    client.function_load(LIBRARY % ("one", "one", "one"))
    client.execute_command("BGREWRITEAOF")
    wait_until("the rewrite does not end", lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
    client.function_load(LIBRARY % ("two", "two", "two"))
    client.set("x", "1")
    client.save()
    for appendonly in ("no", "yes"):
        sett = world.sett("--appendonly", appendonly)
        copy_files(source, sett)
        sett.start()
        for name in ("one", "two"):
            expect("FCALL, appendonly " + appendonly, sett.connect().fcall(name + "_f", 0, "!"), name.encode() + b"!")
        sett.connect().save()
        back = world.redis()
        shutil.copy(sett.directory + "/dump.rdb", back.directory)
        back.start()
        for name in ("one", "two"):
            expect("FCALL of what came back", back.connect().fcall(name + "_f", 0, "!"), name.encode() + b"!")
        back.clean_up()
        sett.clean_up()
    # What an import replaces has functions, too, and so has what is left of one that was cut off.
    for appendonly in ("no", "yes"):
        sett = world.sett("--appendonly", appendonly)
        sett.start()
        for name in ("mine", "two"):
            sett.connect().function_load(LIBRARY % (name, name, name))
        sett.connect().set("x", "mine")
        sett.stop()
        copy_files(source, sett)
        sett.options.extend(("--import-redis-files", "yes"))
        sett.start()
        reply = sett.connect().execute_command("FUNCTION", "LIST")
        expect("libraries after an import, appendonly " + appendonly, sorted(library[1] for library in reply), [b"one", b"two"])
        sett.clean_up()


def check_reload_of_functions(world):
    """DEBUG RELOAD has the libraries of the file, and no others."""
    found = []
    for server in (world.redis(), world.sett()):
        server.start()
        client = server.connect()
        client.function_load(LIBRARY % ("one", "one", "one"))
        client.save()
        client.function_load(LIBRARY % ("two", "two", "two"))
        replies = [client.execute_command("DEBUG", "RELOAD", "NOSAVE"), client.fcall("one_f", 0, "!")]
        client.function_load(LIBRARY % ("three", "three", "three"))
        replies += [client.execute_command("DEBUG", "RELOAD"), client.fcall("three_f", 0, "!")]
        found.append(replies + sorted(library[1] for library in client.execute_command("FUNCTION", "LIST")))
        server.clean_up()
    expect("libraries after DEBUG RELOAD", found[1], found[0])


def check_pipe(world):
    """The other way in: redis-cli --pipe."""
    sett = world.sett()
    sett.start()
    request = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$3\r\nabc\r\n" % (len(key), key)
                       for key in (b"key:%d" % i for i in range(20000)))
    done = subprocess.run(["redis-cli", "-s", sett.socket, "--pipe"], input=request, stdout=subprocess.PIPE, timeout=180)
    expect("what redis-cli --pipe says", done.stdout.decode().splitlines()[-1], "errors: 0, replies: 20000")
    expect("keys after redis-cli --pipe", sett.connect().dbsize(), 20000)
    sett.clean_up()


def main(sett_server, redis_server, sett_tool, keys=3000, seed=1, kills=12):
    world = World(sett_server, redis_server, sett_tool, int(keys), int(seed))
    try:
        source, wanted = check_rdb(world)
        check_tool(world, source, wanted)
        check_kills(world, source, wanted, int(kills))
        check_shutdown_while_loading(world, source)
        check_damage(world, source, 12)
        check_key_twice(world)
        check_empty_keys(world)
        check_beside_database(world, source, wanted)
        check_pipe(world)
        check_functions(world)
        check_reload_of_functions(world)
        check_deadlines(world)
        check_failing_commands(world)
        check_survey(world)
        check_large(world)
        for preamble in ("yes", "no"):
            log, wanted = check_aof(world, preamble)
            check_tool_with_append_files(world, log, wanted)
            check_old_aof(world, log, wanted)
            check_truncated_aof(world, log)
    finally:
        world.clean_up()
    print("taken over and back: %s keys" % keys)


main(*sys.argv[1:])
