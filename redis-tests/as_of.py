#!/usr/bin/python3
"""Reads as of moments of the past (BEGIN READ ONLY AS OF): a model is kept of what there was after each of some thousand writes, and read
back beside flushes, compactions and further writes; then errors, windows that shrink, and space that is given back.

    as_of.py SERVER [--steps N]
"""
import hashlib
import random
import sys
import time
import redis
from own_server import PATIENCE, Server, expect, fail, wait_until

SMALL, BIG = 24, 3
FIELDS = 1200  # of a big collection: its elements are entries of their own


def connection(server, db=0):
    """All commands over one connection, none sent twice."""
    return redis.Redis(unix_socket_path=server.socket, socket_timeout=PATIENCE, single_connection_client=True, retry=None, db=db)


def storage(client):
    return client.info("storage")


def refused(code, client, *words):
    try:
        answer = client.execute_command(*words)
    except redis.ResponseError as error:
        if not str(error).startswith(code):
            fail("%r answers %s, not %s" % (words, error, code))
        return str(error)
    fail("%r answers %r, not %s" % (words, answer, code))


def begin(client, kind, number):
    """The commit and the time that are read."""
    answer = client.execute_command("BEGIN", "READ", "ONLY", "AS", "OF", kind, number)
    expect("the reply of BEGIN", answer[0::2], [b"commit", b"timestamp"])
    return answer[1], answer[3]


# It may have been past its deadline when it was looked at, and not yet at the moment that is read.
UNKNOWN = object()


def ask_all(client, *commands):
    """Their replies; they are sent at once."""
    link = client.connection
    link.send_packed_command(link.pack_commands(commands))
    return [link.read_response() for _ in commands]


def value_command(kind, key):
    return ("HGETALL" if kind == b"hash" else "DUMP", key)


def content_of(kind, value, deadline):
    """What it is, a digest of all of it, and its deadline; None: there is no such key."""
    if kind == b"none":
        return None
    if kind == b"hash":
        value = b"\0".join(sorted(field + b"\0" + content for field, content in zip(value[0::2], value[1::2])))
    return kind, hashlib.sha1(value or b"").digest(), deadline


def content(client, key):
    """In a transaction, so that time stands still."""
    kind, deadline = ask_all(client, ("TYPE", key), ("PEXPIRETIME", key))
    return content_of(kind, ask_all(client, value_command(kind, key))[0], deadline)


def content_now(client, key):
    ask_all(client, ("BEGIN", "READ", "ONLY"))
    found = content(client, key)
    ask_all(client, ("COMMIT",))
    return found


class Writer:
    """Writes at random, and keeps what there was after each write."""

    def __init__(self, server, seed):
        self.client = connection(server)
        self.other = connection(server, 1)
        self.marks = connection(server, 2)  # each write is preceded by its time
        self.random = random.Random(seed)
        self.databases = [{}, {}]  # each by key: its content; never changed, but replaced
        self.past = []             # the commit, what there was, and when the write began, in the order of the commits

    def note(self, db, keys, are_gone):
        """`are_gone`: what is not there was deleted."""
        before = self.databases[db]
        changed = dict(before)
        may_pass = any(before.get(key) is UNKNOWN or before.get(key, (None, None, -1))[2] >= 0 for key in keys)
        for key in keys:
            changed[key] = content_now((self.client, self.other)[db], key)
            if changed[key] is None and may_pass and not are_gone:
                changed[key] = UNKNOWN
            elif changed[key] is None:
                del changed[key]
        self.databases[db] = changed

    def expire(self, db, client, key):
        """What there is is looked at in the same transaction."""
        client.execute_command("BEGIN")
        client.pexpire(key, self.random.choice((1, 50, 400, 100000)))
        found = content(client, key)
        try:
            client.execute_command("COMMIT")
        except redis.ResponseError as error:
            # It has passed its old deadline meanwhile, and was deleted.
            if not str(error).startswith("CONFLICT"):
                raise
            return
        if found is not None:
            self.databases[db] = dict(self.databases[db], **{key: found})

    def small(self, client, key):
        draw, n = self.random, self.random.randint(0, 10**6)
        kinds = {"string": b"string", "list": b"list", "set": b"set", "hash": b"hash", "zset": b"zset", "stream": b"stream"}
        kind, is_of = draw.choice(list(kinds.items()))
        if client.type(key) not in (is_of, b"none") and draw.random() < 0.9:
            kind = client.type(key).decode()
        elif client.type(key) != is_of:
            client.delete(key)
        if kind == "string":
            client.set(key, ("%d." % n) * draw.choice((1, 20, 400, 4000)))
        elif kind == "list":
            client.rpush(key, *["%d" % (n + i) for i in range(draw.choice((1, 5, 200)))])
        elif kind == "set":
            client.sadd(key, *[n + i for i in range(draw.choice((1, 5, 200)))])
        elif kind == "hash":
            client.hset(key, mapping={"f%d" % draw.randrange(30): n for _ in range(draw.choice((1, 10)))})
        elif kind == "zset":
            client.zadd(key, {"m%d" % draw.randrange(200): n})
        else:
            client.xadd(key, {"field": n})
        return [key], False

    def change(self, db, client):
        """The keys that may have changed, and whether they are deleted."""
        draw = self.random
        key, other = "key:%d" % draw.randrange(SMALL), "key:%d" % draw.randrange(SMALL)
        choice = draw.random()
        if choice < 0.60:
            return self.small(client, key)
        if choice < 0.68:
            client.delete(key, other)
            return [key, other], True
        elif choice < 0.74:
            self.rename(client, key, other)
        elif choice < 0.78:
            if key != other:
                client.copy(key, other, replace=True)
        elif choice < 0.88:
            self.expire(db, client, key)
            return [], False
        elif choice < 0.97:
            key, other = "big:%d" % draw.randrange(BIG), "big:%d" % draw.randrange(BIG)
            self.big(client, key, other)
        elif choice < 0.985:
            client.swapdb(0, 1)
            self.databases.reverse()
        else:
            flushes_all = draw.random() < 0.3
            client.flushall() if flushes_all else client.flushdb()
            self.databases[db] = {}
            if flushes_all:
                self.databases = [{}, {}]
            return [], False
        return [key, other], False

    def big(self, client, key, other):
        draw, kind = self.random, client.type(key)
        if kind == b"none":
            # HGETALL of the hash is sent from a snapshot.
            make = draw.choice((lambda: client.hset(key, mapping={"field:%d" % i: "%d" % i * draw.randrange(400) for i in range(FIELDS)}),
                                lambda: client.zadd(key, {"field:%d" % i: draw.randrange(10**6) for i in range(FIELDS)}),
                                lambda: client.sadd(key, *["field:%d" % i for i in range(FIELDS)]),
                                lambda: client.rpush(key, *["%d" % i * draw.randrange(50) for i in range(FIELDS)])))
            make()
        elif draw.random() < 0.3:
            client.unlink(key)
        elif draw.random() < 0.3:
            self.rename(client, key, other)
        elif kind == b"hash":
            client.hset(key, "field:%d" % draw.randrange(FIELDS), "new")
        elif kind == b"zset":
            client.zpopmin(key, 5) if draw.random() < 0.5 else client.zincrby(key, 5, "field:%d" % draw.randrange(FIELDS))
        elif kind == b"set":
            client.spop(key, 5)
        else:
            client.lpop(key, 5)

    @staticmethod
    def rename(client, key, other):
        try:
            client.rename(key, other)
        except redis.ResponseError as error:
            expect("RENAME", str(error), "no such key")

    def step(self):
        began_ms = time.time_ns() // 1000000
        self.marks.set("began_ms", began_ms)
        db = int(self.random.random() < 0.2)
        self.note(db, *self.change(db, (self.client, self.other)[db]))
        self.past.append((storage(self.client)["visible_timestamp"], tuple(self.databases), began_ms))


def compare(client, draw, databases, commit, ms, whole=False):
    """What a transaction that has begun sees. Deadlines count as of the moment that is read. It ends it."""
    for db, model in enumerate(databases):
        unknown = {key for key in model if model[key] is UNKNOWN}
        wanted = {key for key in model if key not in unknown and (model[key][2] < 0 or model[key][2] >= ms)}
        what = "database %d as of commit %d" % (db, commit)
        names = sorted(set(model) - unknown)
        names = names if whole else draw.sample(names, min(3, len(names)))
        wanted_of = {key: model[key] if key in wanted else None for key in names}
        _, found, count, drawn, nobody = ask_all(client, ("SELECT", db), ("KEYS", "*"), ("DBSIZE",), ("RANDOMKEY",), ("GET", "nobody"))
        found = {key.decode() for key in found}
        expect("the keys of " + what, found - unknown, wanted)
        if whole:
            expect("SCAN of " + what, {key.decode() for key in client.scan_iter(count=100)}, found)
        if not len(found) <= count <= len(model):
            fail("%s has %d keys, not %d to %d" % (what, count, len(found), len(model)))
        if (drawn.decode() not in found) if drawn else bool(found):
            fail("%s: RANDOMKEY gives %r" % (what, drawn))
        expect("a key that never was, in " + what, nobody, None)
        kinds = {key: was[0] if was else b"none" for key, was in wanted_of.items()}
        replies = ask_all(client, *[words for key in names
                                    for words in (("TYPE", key), value_command(kinds[key], key), ("PEXPIRETIME", key))])
        for at, key in enumerate(names):
            kind, value, deadline = replies[3 * at:3 * at + 3]
            expect("the type of %s in %s" % (key, what), kind, kinds[key])
            expect("%s in %s" % (key, what), content_of(kind, value, deadline), wanted_of[key])
    expect("COMMIT", client.execute_command("COMMIT"), b"OK")


def read_commit(client, draw, past, whole=False):
    commit, databases, _ = draw.choice(past)
    seen, ms = begin(client, "COMMIT", commit)
    expect("the commit that is read", seen, commit)
    compare(client, draw, databases, commit, ms, whole)


def read_time(client, draw, past):
    """Nothing is seen of what began later. Where a write had ended, what is seen is the state after it."""
    first = draw.randrange(len(past) - 1)
    at_ms = draw.randint(past[first][2], past[-1][2])
    try:
        commit, ms = begin(client, "TIMESTAMP", at_ms)
    except redis.ResponseError as error:
        if at_ms > past[0][2] + 1000 or "the oldest moment that is kept is TIMESTAMP" not in str(error):
            raise
        return 0  # before the window was opened, or so
    expect("the time of the moment", ms, at_ms)
    client.execute_command("SELECT", 2)
    mark = client.get("began_ms")
    if mark is not None and int(mark) > at_ms:
        fail("as of %d there is what was begun at %s" % (at_ms, mark))
    states = [databases for newest, databases, _ in past if newest == commit]
    if not states:
        client.execute_command("ROLLBACK")
        return 0
    compare(client, draw, states[0], commit, ms)
    return 1


def run_model(server, writer, steps, draw):
    reader, admin = connection(server), connection(server)
    reads = times = 0
    start = storage(admin)
    for n in range(steps):
        writer.step()
        if n % 40 == 39:
            admin.execute_command("DEBUG", "LOADAOF")  # all of it is in tables
        if n > 20:
            for _ in range(3):
                read_commit(reader, draw, writer.past)
                reads += 1
            if n % 4 == 0:
                times += read_time(reader, draw, writer.past)

    def is_compacted():
        writer.step()
        admin.execute_command("DEBUG", "LOADAOF")
        return storage(admin)["compactions"] > start["compactions"]
    wait_until("nothing is compacted", is_compacted)
    for _ in range(10):
        read_commit(reader, draw, writer.past, whole=True)
    now = storage(admin)
    if times < 3:
        fail("only %d of the times fell on a write" % times)
    oldest = now["as_of_oldest_commit"]
    if not 0 < oldest <= writer.past[0][0]:
        fail("the oldest commit that is kept is %d" % oldest)
    newest = now["visible_timestamp"]

    def time_reaches_it():
        commit, _ = begin(reader, "TIMESTAMP", time.time_ns() // 1000000)
        reader.execute_command("ROLLBACK")
        return commit >= newest
    wait_until("a time of now never has the newest commit", time_reaches_it)
    print("%d writes, %d commits and %d times read back, %d compactions, %d moments, %d kB held" %
          (steps, reads + 10, times, now["compactions"] - start["compactions"], now["as_of_moments"], now["as_of_held_bytes"] // 1000))


def check_words(server):
    client, other = connection(server), connection(server)
    for words in (("AS", "OF", "COMMIT", 1), ("READ", "ONLY", "AS"), ("READ", "ONLY", "AS", "OF", "COMMIT"),
                  ("READ", "ONLY", "AS", "OF", "DATE", 1), ("READ", "ONLY", "AS", "OF", "COMMIT", 1, 2)):
        refused("syntax error", client, "BEGIN", *words)
    refused("AS OF: the moment is no positive integer", client, "BEGIN", "READ", "ONLY", "AS", "OF", "TIMESTAMP", "yesterday")
    refused("AS OF: the moment is no positive integer", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", -1)
    refused("AS OF: it has not come yet", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", 10**15)
    refused("AS OF: it has not come yet", client, "BEGIN", "READ", "ONLY", "AS", "OF", "TIMESTAMP", 10**15)
    refused("AS OF: the oldest moment that is kept is TIMESTAMP", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", 0)
    refused("AS OF: the oldest moment that is kept is TIMESTAMP", client, "BEGIN", "READ", "ONLY", "AS", "OF", "TIMESTAMP", 0)
    expect("PING, as nothing has begun", client.ping(), True)

    client.flushall()
    client.set("stock", 5)
    client.function_load("#!lua name=lib\nredis.register_function{function_name='stock', flags={'no-writes'},"
                         " callback=function() return redis.call('GET', 'stock') end}")
    commit = storage(client)["visible_timestamp"]
    client.set("stock", 4)
    client.function_delete("lib")
    begin(client, "COMMIT", commit)
    refused("BEGIN calls can not be nested", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", commit)
    refused("You can't write in a transaction that is READ ONLY", client, "SET", "stock", 6)
    refused("You can't write in a transaction that is READ ONLY", client, "EVAL", "return redis.call('SET', 'stock', 6)", 0)
    refused("You can't write in a transaction that is READ ONLY", client, "FLUSHALL")
    expect("a script", client.execute_command("EVAL", "return redis.call('GET', KEYS[1])", 1, "stock"), b"5")
    expect("a function of then", client.execute_command("FCALL_RO", "stock", 0), b"5")
    expect("SAVEPOINT", client.execute_command("SAVEPOINT", "here"), b"OK")
    expect("stock as of then", client.get("stock"), b"5")
    other.set("stock", 3)
    other.delete("stock")
    expect("stock as of then, still", client.get("stock"), b"5")
    expect("ROLLBACK TO", client.execute_command("ROLLBACK", "TO", "here"), b"OK")
    expect("COMMIT", client.execute_command("COMMIT"), b"OK")
    expect("stock now", client.get("stock"), None)


def check_monitor(server):
    """What others are told of: MONITOR shows it with its COMMIT."""
    client, other = connection(server), connection(server)
    client.config_set("as-of-window", 3600)
    client.set("stock", 5)
    commit = storage(client)["visible_timestamp"]
    with other.monitor() as monitor:
        begin(client, "COMMIT", commit)
        client.get("stock")
        expect("COMMIT beside MONITOR", client.execute_command("COMMIT"), b"OK")
        while "GET stock" not in monitor.next_command()["command"]:
            pass


def check_deadlines(server):
    """A key that is gone for its deadline is there as of before it, with the time that it had left."""
    client = connection(server)
    due = time.time_ns() // 1000000 + 1000
    client.set("passing", "x", pxat=due)
    commit = storage(client)["visible_timestamp"]
    wait_until("the key does not go", lambda: client.get("passing") is None)
    _, ms = begin(client, "COMMIT", commit)
    if ms <= due:  # else the machine took its time: the moment was noted later
        expect("the key", client.get("passing"), b"x")
        expect("its time", client.pttl("passing"), due - ms)
    client.execute_command("ROLLBACK")
    wait_until("time stands still", lambda: time.time_ns() // 1000000 > due + 1)
    begin(client, "TIMESTAMP", due + 1)
    expect("the key past its deadline", client.get("passing"), None)
    client.execute_command("ROLLBACK")


def check_shrinking(server, writer, draw):
    client = connection(server)
    last = writer.past[-1][0]
    client.config_set("as-of-window", 1)

    def has_moved():
        client.incr("moving")
        return storage(client)["as_of_oldest_commit"] > last
    wait_until("the window does not shrink", has_moved)
    told = refused("AS OF: the oldest moment that is kept is TIMESTAMP", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", last)
    oldest = int(told.rsplit(" ", 1)[1])
    if oldest <= last:
        fail("it says that %d is kept, and %d is not" % (oldest, last))
    # Into a window that is long again.
    client.config_set("as-of-window", 3600)
    client.flushall()
    writer.databases, writer.past = [{}, {}], []
    for n in range(60):
        writer.step()
        if n % 20 == 19:
            client.execute_command("DEBUG", "LOADAOF")
    for _ in range(40):
        read_commit(client, draw, writer.past)


def check_space(server, log):
    """What it may keep is limited, and is given back."""
    client, reader = connection(server), connection(server)
    client.flushall()
    client.config_set("as-of-window", 3600)
    client.set("before", "x")
    first = storage(client)["visible_timestamp"]

    def overwrite(rounds):
        for n in range(rounds):
            pipeline = client.pipeline(transaction=False)
            for key in range(100):
                pipeline.set("value:%d" % key, ("%d.%d " % (n, key)) * 500)
            pipeline.execute()
            client.execute_command("DEBUG", "LOADAOF")
    overwrite(40)
    wait_until("nothing is said to be held", lambda: storage(client)["as_of_held_bytes"] > 1000000)
    full = storage(client)
    if full["value_log_total_bytes"] < 9000000:
        fail("only %d bytes of values are kept" % full["value_log_total_bytes"])
    begin(reader, "COMMIT", first)
    expect("a value as of before", reader.get("value:1"), None)
    expect("another", reader.get("before"), b"x")
    reader.execute_command("COMMIT")
    client.config_set("snapshot-limit-bytes", 500000)
    wait_until("it passes snapshot-limit-bytes", lambda: storage(client)["as_of_oldest_commit"] > first)
    wait_until("the log does not say so",
               lambda: "is given up, earlier than as-of-window says: what it keeps on the disk has passed snapshot-limit-bytes" in open(log).read())
    refused("AS OF: the oldest moment that is kept is TIMESTAMP", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", first)
    client.config_set("snapshot-limit-bytes", "1gb")

    def begins():
        # Another look by the lower limit may be under way.
        try:
            return begin(reader, "COMMIT", storage(client)["as_of_oldest_commit"])
        except redis.ResponseError:
            return None
    wait_until("the oldest moment can't be read", begins)
    client.set("before", "y")
    client.config_set("as-of-window", 0)
    refused("AS OF: no moment of the past is kept: as-of-window is 0", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", first)
    client.execute_command("DEBUG", "LOADAOF")
    expect("who reads goes on without a window", reader.get("before"), b"x")
    reader.execute_command("COMMIT")
    now = storage(client)
    expect("what is kept", (now["as_of_oldest_commit"], now["as_of_oldest_ms"], now["as_of_moments"], now["as_of_held_bytes"]), (0, 0, 0, 0))

    # Once nobody writes.
    wait_until("the space is not given back",
               lambda: storage(client)["value_log_total_bytes"] < full["value_log_total_bytes"] // 2)
    print("%d kB of values with the past, %d without" %
          (full["value_log_total_bytes"] // 1000, storage(client)["value_log_total_bytes"] // 1000))


def scan_all(client, count, keys):
    """What SCAN gives, in a bounded number of calls."""
    cursor, found = 0, []
    for _ in range(keys):
        cursor, names = client.scan(cursor, count=count)
        found += names
        if cursor == 0:
            return found
    fail("SCAN does not end: %d calls gave %d names" % (keys, len(found)))


def check_scans(server):
    """A scan's cursors name stems that are newer than the transaction."""
    client, keys = connection(server), 3000
    client.flushall()
    client.mset({"scanned:%d" % n: n for n in range(keys)})
    commit = storage(client)["visible_timestamp"]
    wanted = sorted(b"scanned:%d" % n for n in range(keys))
    client.execute_command("BEGIN", "READ", "ONLY")
    expect("SCAN in a transaction", sorted(scan_all(client, 20, keys)), wanted)
    client.execute_command("COMMIT")
    client.flushall()
    client.mset({"other:%d" % n: n for n in range(keys)})
    begin(client, "COMMIT", commit)
    expect("SCAN of the past", sorted(scan_all(client, 10, keys)), wanted)
    client.execute_command("COMMIT")
    # In a script, with names that nobody has scanned.
    found = client.eval("""local cursor, found, calls = '0', 0, 0
        repeat
            local reply = redis.call('SCAN', cursor, 'COUNT', 20)
            cursor, found, calls = reply[1], found + #reply[2], calls + 1
        until cursor == '0' or calls == 3000
        return {found, cursor}""", 0)
    expect("SCAN in a script", found, [keys, b"0"])


def check_long_window(server):
    """Its moments lie minutes apart; its limit counts at once. A commit keeps the time that it was given."""
    client = connection(server)
    client.config_set("as-of-window", 0)
    client.config_set("as-of-window", 365 * 86400)
    client.set("before", "x", px=500)
    first = storage(client)["visible_timestamp"]
    seen = begin(client, "COMMIT", first)
    if seen[1] < client.pexpiretime("before"):  # else the machine took its time
        expect("a key that lives for a moment", client.get("before"), b"x")
    client.execute_command("COMMIT")
    client.set("later", "y")
    wait_until("the key does not go", lambda: client.get("before") is None)
    expect("the time of the same commit, later", begin(client, "COMMIT", first), seen)
    client.execute_command("COMMIT")
    client.config_set("snapshot-limit-bytes", 500000)

    def gives_up():
        pipeline = client.pipeline(transaction=False)
        for key in range(100):
            pipeline.set("value:%d" % key, "%.9f " % time.time() * 200)
        pipeline.execute()
        client.execute_command("DEBUG", "LOADAOF")
        return storage(client)["as_of_oldest_commit"] > first
    wait_until("a window of a year passes snapshot-limit-bytes", gives_up)
    client.config_set("snapshot-limit-bytes", "1gb")
    client.config_set("as-of-window", 3600)


def main():
    steps = int(sys.argv[sys.argv.index("--steps") + 1]) if "--steps" in sys.argv else 350
    seed = random.randrange(10**9)
    print("seed %d" % seed, flush=True)
    server = Server(sys.argv[1], "--enable-debug-command", "yes", "--maxmemory", "64mb")
    log = server.directory + "/log"
    server.options += ["--logfile", log]
    try:
        server.start()
        client = connection(server)
        refused("AS OF: no moment of the past is kept", client, "BEGIN", "READ", "ONLY", "AS", "OF", "COMMIT", 1)
        client.config_set("as-of-window", 3600)
        draw = random.Random(seed + 1)
        writer = Writer(server, seed)
        run_model(server, writer, steps, draw)
        check_shrinking(server, writer, draw)
        check_words(server)
        check_deadlines(server)
        check_space(server, log)
        client.config_set("as-of-window", 3600)
        check_scans(server)
        check_long_window(server)
        check_monitor(server)
        server.stop()
        expect("a good end", server.process.returncode, 0)
    finally:
        server.clean_up()
    print("ok")


main()
