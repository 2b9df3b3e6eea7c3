#!/usr/bin/python3
"""Random commands to a master, of which redis-server is the replica, or another server of the same program: as soon as it has all
of the stream, it must hold the same keys, values, deadlines and groups. The commands are the templates of random_commands.c, and those whose effect depends on
chance, on the clock or on who waits.

    propagation.py SERVER REPLICA_SERVER [ROUNDS [COMMANDS [SEED]]]"""
import os
import random
import re
import sys
import threading
import time
import redis
from own_server import PATIENCE, Server, fail, free_port, wait_until

DATABASES = 3
# Beside those of random_commands.c. %p: milliseconds that pass soon, or do not.
TEMPLATES = """SET %k %v PX %p|SET %k %v EX 1000|SETEX %k 1000 %v|PSETEX %k %p %v|GETEX %k PX %p|GETEX %k EX 1000
EXPIRE %k 1000|PEXPIRE %k %p|PEXPIRE %k %p NX|PEXPIRE %q %p GT|EXPIRE %z 0|PEXPIRE %h -1|PEXPIRE %y %p|PERSIST %k|INCR %k
INCRBYFLOAT %k 0.1|HINCRBYFLOAT %k %n 0.1|SPOP %k|SPOP %k 2|SPOP %k 7|SPOP set|SADD set %e %e %e %e|SPOP set 3|SINTERSTORE %k %k %k
BLPOP %q %q 0.01|BLMOVE %q %q RIGHT LEFT 0.01|BRPOPLPUSH %q %q 0.01|BZPOPMIN %z %l 0.01|BLMPOP 0.01 2 %q %q LEFT COUNT 3
XADD %y * a %v|XADD %y * a %e b %e|XADD %y MAXLEN ~ 20 * a %v|XADD %y MAXLEN 30 * a %e|XADD %y NOMKSTREAM MINID ~ %I * a %e
XTRIM %y MAXLEN ~ 10|XTRIM %y MAXLEN 15|XGROUP CREATE %y g 0 MKSTREAM|XGROUP CREATE %y h $ MKSTREAM
XGROUP CREATECONSUMER %y g c1|XGROUP DELCONSUMER %y g c2|XGROUP SETID %y g 0|XGROUP DESTROY %y h
XREADGROUP GROUP g c1 COUNT 3 STREAMS %y >|XREADGROUP GROUP g c2 COUNT 2 STREAMS %y >|XREADGROUP GROUP h c1 NOACK STREAMS %y >
XREADGROUP GROUP g c3 COUNT 2 BLOCK 5 STREAMS %y %y > >|XREADGROUP GROUP g c1 COUNT 2 STREAMS %y 0
XAUTOCLAIM %y g c2 0 0 COUNT 3|XAUTOCLAIM %y g c1 0 - JUSTID|XDELEX %y IDS 1 %I|XSETID %y 9999999999999-0
COPY %k %k REPLACE|MOVE %k %d|SWAPDB %d %d|SELECT %d|PUBLISH c %v|SORT set ALPHA STORE %q
DELEX %k|SET %k %v IFNE x|MSETEX 2 %k %v %k %v EX 1000|HGETDEL %k FIELDS 1 %n|HSETEX %k FIELDS 1 %n %v|HGETEX %k FIELDS 1 %n
EVAL return(redis.call('SPOP','set')) 0|EVAL redis.pcall('INCR',KEYS[1]);return(redis.pcall('SADD',KEYS[2],ARGV[1])) 2 %k %k %v
EVAL redis.pcall('PEXPIRE',KEYS[1],50);redis.pcall('XADD',KEYS[2],'*','a',1);redis.pcall('NOSUCH') 2 %k %y"""


class Maker:
    """Commands of one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        source = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "random_commands.c")).read()
        source = source[source.index("templates[]"):]
        source = source[:source.index("};")]
        texts = [t.lstrip("~") for t in re.findall(r'"([^"\\]*)"', source)]
        own = [t for line in TEMPLATES.split("\n") for t in line.split("|") if t]
        self.templates = [t.split(" ") for t in texts if not t.startswith("PFDEBUG")] + 3 * [t.split(" ") for t in own]

    def value(self):
        r = self.random
        size = r.randrange(24) if r.randrange(8) else r.choice([300, 3000, 40000])
        return bytes(r.choice(b"abcd\0\r\n\xff") for _ in range(size))

    def argument(self, letter):
        r = self.random
        names = {"k": ("key:%d", 12), "g": ("geo:%d", 4), "h": ("hll:%d", 6), "n": ("f%d", 40), "z": ("zset:%d", 6),
                 "l": ("names:%d", 3), "q": ("list:%d", 4), "y": ("stream:%d", 3), "b": ("%d", 2), "d": ("%d", DATABASES),
                 "r": ("%d", 9000), "i": ("%d", 100), "o": ("%d", 60)}
        if letter in names:
            form, count = names[letter]
            return form % r.randrange(count)
        if letter == "e":
            return "%s%d" % (r.choice(["", "", "m"]), r.randrange(40))
        if letter == "v":
            return self.value()
        if letter == "p":
            return str(r.choice([1, 30, 300, 100000]))
        if letter in "AI":
            return "%d-%d" % (r.randrange(1, 3000), r.randrange(8))
        if letter == "c":
            return r.choice(["inf", "-inf", "0"]) if r.randrange(20) == 0 else "%g" % (r.randrange(161) / 4 - 20)
        if letter == "s":
            return r.choice(["", "("]) + "%g" % (r.randrange(161) / 4 - 20)
        if letter == "x":
            return r.choice(["-", "+", "[m%d" % r.randrange(40), "(%d" % r.randrange(40)])
        if letter == "f":
            return "%.3f" % (r.randrange(20001) / 16 - 600)
        if letter == "w":
            return "%s%d" % (r.choice("ui"), r.randrange(1, 64))
        if letter in "GL":
            return "%.6f" % ((r.random() * 2 - 1) * (180 if letter == "G" else 85))
        return str(2000000000 * (1 if letter == "t" else 1000) + r.randrange(100000))

    def command(self):
        return [self.argument(w[1]) if len(w) == 2 and w[0] == "%" else w for w in self.random.choice(self.templates)]


def send(connection, command):
    connection.send_command(*command)


def receive(connection):
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def write(server, seed, count, errors):
    """What one client does: single commands, pipelines and MULTI blocks."""
    maker = Maker(seed)
    connection = server.connect().connection_pool.get_connection("_")
    done = 0
    try:
        while done < count:
            size = maker.random.choice([1, 1, 1, 5, 16])
            block = [maker.command() for _ in range(size)]
            if maker.random.randrange(3) == 0:
                block = [["MULTI"], *block, ["EXEC"]]
            if maker.random.randrange(400) == 0:
                block.append(maker.random.choice([["FLUSHDB"], ["FLUSHALL"]]))
            for command in block:
                send(connection, command)
            for command in block:
                receive(connection)
            done += size
    except Exception as error:
        errors.append(repr(error))
    connection.disconnect()


# Times of consumers and layouts are each server's own; the XCLAIM of Redis 7.0 tells nothing of how many entries were read.
IGNORED = {"radix-tree-keys", "radix-tree-nodes", "seen-time", "active-time", "entries-read", "lag"}


def text_of(key):
    return key.decode() if isinstance(key, bytes) else key


def strip(value):
    """A stream with its groups, without what is ignored."""
    if isinstance(value, dict):
        return {k: strip(v) for k, v in value.items() if text_of(k) not in IGNORED}
    if isinstance(value, list):
        if value and value[0] == b"name":
            return strip(dict(zip(value[::2], value[1::2])))
        return [strip(v) for v in value]
    return value


def stream_of(client, key):
    try:
        return strip(client.xinfo_stream(key, full=True))
    except redis.ResponseError as error:
        if "no such key" in str(error):
            return None  # past its deadline since it was looked at
        raise


READERS = {
    b"string": lambda c, k: c.get(k),
    b"list": lambda c, k: c.lrange(k, 0, -1),
    b"set": lambda c, k: sorted(c.smembers(k)),
    b"hash": lambda c, k: sorted(c.hgetall(k).items()),
    b"zset": lambda c, k: c.zrange(k, 0, -1, withscores=True),
    b"stream": lambda c, k: stream_of(c, k),
    b"none": lambda c, k: None,
}


def content(server):
    """All keys of all databases, with deadlines, and with digests where both servers make the same ones."""
    found = {}
    for db in range(DATABASES):
        client = server.connect(db=db)
        for key in client.keys("*"):
            kind = client.type(key)
            digest = client.execute_command("DEBUG", "DIGEST-VALUE", key) if server.digests else None
            found[db, key] = kind, client.execute_command("PEXPIRETIME", key), READERS[kind](client, key), digest
        client.close()
    return found


def explain(ours, theirs, path=""):
    """Where two values begin to differ."""
    if ours == theirs:
        return ""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted(set(ours) | set(theirs), key=repr)
        return "".join(explain(ours.get(k), theirs.get(k), "%s / %r" % (path, k)) for k in keys)
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
        return "".join(explain(a, b, "%s / %d" % (path, i)) for i, (a, b) in enumerate(zip(ours, theirs)))
    return "%s\n    master  %.300r\n    replica %.300r\n" % (path, ours, theirs)


def link_is_up(replica):
    return replica.info("replication").get("master_link_status") == "up"


def has_caught_up(master, replica):
    return master.info("replication")["master_repl_offset"] == replica.info("replication")["slave_repl_offset"]


def compare(master, replica, what):
    """Keys pass their deadlines meanwhile: sooner or later both must be equal."""
    end = time.monotonic() + PATIENCE
    while True:
        wait_until("the replica does not catch up", lambda: has_caught_up(master.client, replica.client))
        ours, theirs = content(master), content(replica)
        if ours == theirs:
            return len(ours)
        if time.monotonic() > end:
            fail("%s: master and replica differ\n%s" % (what, explain(ours, theirs)))
        time.sleep(0.2)


def main():
    program, replica_program = sys.argv[1:3]
    rounds, count, seed = [int(a) for a in (sys.argv[3:] + ["4", "1500", "1"][len(sys.argv) - 3:])]
    master = Server(program, "--port", str(free_port()), "--enable-debug-command", "yes")
    replica = Server(replica_program, "--port", "0", "--save", "", "--repl-diskless-load", "disabled", "--enable-debug-command", "yes")
    try:
        master.start()
        replica.start()
        master.client, replica.client = master.connect(), replica.connect()
        master.digests = replica.digests = program == replica_program
        replica.client.execute_command("REPLICAOF", "127.0.0.1", master.options[1])
        wait_until("the replica does not come up", lambda: link_is_up(replica.client))
        for turn in range(rounds):
            errors = []
            writers = [threading.Thread(target=write, args=(master, seed * 1000 + turn * 10 + n, count, errors))
                       for n in range(3)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            if errors:
                fail(str(errors))
            keys = compare(master, replica, "round %d of seed %d" % (turn, seed))
            print("round %d: %d keys are equal" % (turn, keys), flush=True)
        stats = master.client.info("stats")
        if stats["sync_full"] != 1:
            fail("the replica synced %d times" % stats["sync_full"])
        refused = replica.client.info("commandstats")
        failed = {name: s["failed_calls"] for name, s in refused.items() if s["failed_calls"] > 0}
        print("failed at the replica: %s" % failed)
    finally:
        master.clean_up()
        replica.clean_up()


if __name__ == "__main__":
    main()
