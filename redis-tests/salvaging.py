#!/usr/bin/python3
"""sett-tool salvage: a database of all types, damaged at each place that is different, and at random ones. What the damage has not
touched must be there as it was, nothing may be there that never was, the new database must be whole, and a server serves it.

    salvaging.py SERVER TOOL [--rounds N] [--seed N] [--only CHECK] [--encrypted yes]

Encrypted, the same holds, what a word of every value begins with is in no file, and without the right key nothing is done.
"""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

import redis

from own_server import Server, fail, wait_until

server_program, tool = sys.argv[1], sys.argv[2]
rest = dict(zip(sys.argv[3::2], sys.argv[4::2]))
ROUNDS = int(rest.get("--rounds", 6))
SEED = int(rest.get("--seed", 1))
ONLY = rest.get("--only", "")
ENCRYPTED = rest.get("--encrypted") == "yes"
KEY_FILE = []  # of an encrypted database: the option that names its key
FILLERS = 8000
EPOCHS = {0: 1, 3: 4}  # of a new directory's databases, which are not flushed


def expect(what, seen, expected):
    if seen != expected:
        fail("%s: expected %.300r, got %.300r" % (what, expected, seen))


def run_tool(*arguments, codes=(0,)):
    done = subprocess.run([tool, *map(str, arguments), *KEY_FILE], capture_output=True, timeout=300)
    text = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode not in codes:
        fail("%r: exit %d, not of %r: %s" % (arguments, done.returncode, codes, text[-3000:]))
    return done.returncode, text


# ---- what is in a database ----


def value_of(client, key):
    kind = client.type(key)
    if kind == b"string":
        return kind, client.get(key)
    if kind == b"hash":
        return kind, client.hgetall(key)
    if kind == b"set":
        return kind, client.smembers(key)
    if kind == b"zset":
        return kind, dict(client.zrange(key, 0, -1, withscores=True))
    if kind == b"list":
        return kind, client.lrange(key, 0, -1)
    if kind == b"stream":
        groups = {g["name"]: (g["pending"], g["consumers"], sorted((p["message_id"], p["consumer"]) for p in
                                                                   client.xpending_range(key, g["name"], "-", "+", 10000)))
                  for g in client.xinfo_groups(key)}
        return kind, (client.xrange(key), groups)
    return kind, None


def read_all(server):
    found = {}
    for db in EPOCHS:
        client = server.connect(db=db)
        keys = list(client.scan_iter(count=5000))
        expect("the number of keys", client.dbsize(), len(keys))
        fillers = [key for key in keys if key.startswith(b"filler:")]
        for at in range(0, len(fillers), 2000):
            part = fillers[at:at + 2000]
            found.update({(db, key): (b"string", value) for key, value in zip(part, client.mget(part))})
        found.update({(db, key): value_of(client, key) for key in keys if not key.startswith(b"filler:")})
    return found


class Over:
    """A server over a directory."""

    def __init__(self, directory):
        self.server = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb", "--history", "no", *KEY_FILE)
        self.server.data = directory

    def __enter__(self):
        self.server.start()
        return self.server

    def __exit__(self, *_):
        self.server.kill()
        shutil.rmtree(self.server.directory, ignore_errors=True)


def fill(client, rng):
    """All types, packed and spread, with what was overwritten and deleted."""
    client.set("short", "value")
    client.set("kib", b"k" * 5000)
    client.set("mib", rng.randbytes(3 << 20))
    client.set("k" * 9000, "a long name")
    client.set("deadline", "later", pxat=4000000000000)
    for name, count in (("small", 5), ("large", 2500)):
        client.hset(name + ":hash", mapping={"field:%d" % i: "%d:%s" % (i, "h" * (i % 50)) for i in range(count)})
        client.sadd(name + ":set", *range(1000, 1000 + count), *["m%d" % i for i in range(count)])
        client.zadd(name + ":zset", {"z%d" % i: i / 4 for i in range(count)})
        client.rpush(name + ":list", *["%06d" % i + "l" * (i % 90) for i in range(count)])
        with client.pipeline(transaction=False) as pipe:
            for i in range(count):
                pipe.xadd(name + ":stream", {"n": i, "text": "s" * (i % 70)}, id="%d-1" % (i + 1))
            pipe.execute()
    client.hset("large:hash", mapping={"big:%d" % i: rng.randbytes(3000) for i in range(20)})
    client.rpush("pages:list", *["%06d" % i + "p" * 700 for i in range(3000)])
    client.rpush("big:list", *[rng.randbytes(4000) for _ in range(8)])
    client.execute_command("HPEXPIREAT", "large:hash", 4000000000000, "FIELDS", 2, "field:7", "field:8")
    client.xgroup_create("large:stream", "group", "0")
    client.xreadgroup("group", "one", {"large:stream": ">"}, count=700)
    client.xreadgroup("group", "two", {"large:stream": ">"}, count=300)
    client.xack("large:stream", "group", *["%d-1" % i for i in range(100, 300)])
    client.set("edited", b"e" * 40000)
    client.setrange("edited", 20000, "changed in place")
    client.hdel("large:hash", *["field:%d" % i for i in range(100, 200)])
    client.srem("large:set", *["m%d" % i for i in range(50)])
    client.zrem("large:zset", *["z%d" % i for i in range(40)])
    client.lpop("large:list", 30)
    client.xtrim("large:stream", 2300, approximate=False)
    client.sadd("dropped", *range(2000))
    client.unlink("dropped")


def fill_more(client, client3, what):
    for at in range(0, FILLERS, 2000):
        pairs = {"filler:%06d" % i: "%s:%d:" % (what, i) + "f" * (600 + i % 60) for i in range(at, at + 2000)}
        client.mset(pairs)
    client3.mset({"other:%04d" % i: "database 3, " + str(i) for i in range(1500)})


def make(directory):
    """A database with tables on two levels, a log that was not flushed, and files of the value log; and what was in it."""
    rng = random.Random(7)
    with Over(directory) as server:
        client, client3 = server.connect(), server.connect(db=3)
        fill_more(client, client3, "old")
        fill(client, rng)
        fill_more(client, client3, "new")
        model = read_all(server)
        # the last of it stays in the log: a server that idles flushes
        client.set("overwritten", b"o" * 4000)
        client.set("overwritten", b"n" * 4100)
        model[(0, b"overwritten")] = (b"string", b"n" * 4100)
        for i in range(20):
            client.mset({"late:%d" % j: "late" * 30 for j in range(40 * i, 40 * i + 40)})
            model.update({(0, b"late:%d" % j): (b"string", b"late" * 30) for j in range(40 * i, 40 * i + 40)})
        client.hset("large:hash", mapping={"late:%d" % i: i for i in range(100)})
        model[(0, b"large:hash")][1].update({b"late:%d" % i: b"%d" % i for i in range(100)})
        server.kill()
    return model


# ---- what the tool says may be lost ----


def unescape(text):
    return re.sub(rb"\\(x[0-9a-f]{2}|n|r|t|\"|\\)", lambda m: {b"n": b"\n", b"r": b"\r", b"t": b"\t", b'"': b'"', b"\\": b"\\"}.get(
        m.group(1)) or bytes([int(m.group(1)[1:], 16)]), text.encode("latin-1"))


class Losses:
    def __init__(self, text):
        self.ranges, self.any = [], "any key may lack" in text or "doubt: " in text
        self.keys = set()
        for line in text.split("\n"):
            quoted = [unescape(q) for q in re.findall(r'"((?:[^"\\]|\\.)*)"', line)]
            if line.startswith("damage: ") and "any key may lack" not in line:
                behind, before = " behind " in line, " before " in line.split("; keys")[-1]
                low = quoted[0] if behind else b""
                high = quoted[-1] if before else None
                self.ranges.append((low, high))
            if line.startswith("lost: \""):
                self.keys.add(quoted[0])

    def touches(self, low, high):
        return any(l <= high and (h is None or h >= low) for l, h in self.ranges) or any(low <= key <= high for key in self.keys)

    def elements(self):
        return self.any or self.touches(b"\x02", b"\x03")

    def root(self, db, name):
        stored = name if len(name) <= 8192 else name[:8192]
        key = b"\x01" + EPOCHS[db].to_bytes(8, "big") + stored
        return self.any or self.touches(key, key + b"\xff" * 20)


def is_part(found, model, in_order):
    """Whether nothing is there that was not: of elements."""
    if isinstance(model, dict):
        return all(key in model for key in found)
    if isinstance(model, set):
        return found <= model
    if isinstance(model, list):
        at = iter(model)
        return all(any(x == y for y in at) for x in found) if in_order else all(x in model for x in found)
    return True


def compare(what, found, model, losses, text):
    exact = 0
    for place, (kind, value) in model.items():
        db, name = place
        is_simple = kind == b"string" and name != b"edited" or name.startswith(b"small:")
        if not losses.root(db, name) and (is_simple or not losses.elements()):
            exact += 1
            if found.get(place) != (kind, value):
                fail("%s: %r is another: %.200r, not %.200r\n%s" % (what, place, found.get(place), value, text[-3000:]))
    for place, (kind, value) in found.items():
        if place not in model:
            if place != (0, b"dropped"):
                fail("%s: %r never was there\n%s" % (what, place, text[-3000:]))
            continue
        if kind != model[place][0]:
            fail("%s: %r is a %s" % (what, place, kind))
        whole = model[place][1]
        if place[1].endswith(b":stream"):
            value, whole = value[0], whole[0]
        elif kind == b"set" or kind == b"hash" or kind == b"zset" or place[1].endswith(b":list"):
            pass
        else:
            continue
        # what was removed before may be back
        back = {b"set": {b"m%d" % i for i in range(50)} | {b"%d" % i for i in range(2000)}, b"hash": {b"field:%d" % i for i in range(100, 200)},
                b"zset": {b"z%d" % i for i in range(40)}}.get(kind, set())
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k not in back}
        elif isinstance(value, set):
            value = value - back
        elif place[1] == b"large:list":
            value = [x for x in value if int(x[:6]) >= 30]
        elif place[1] == b"large:stream":
            value = [x for x in value if x in whole or int(x[0].split(b"-")[0]) <= 200]
            value = [x for x in value if x in whole]
        if not is_part(value, whole, "another order" not in text):
            fail("%s: %r has elements that never were there, or in another order\n%s" % (what, place, text[-3000:]))
    return exact


def expect_sealed(directory):
    """Of what all values of a kind have in common nothing is in any file, and the keys of the new database are its own."""
    for name in os.listdir(directory):
        with open(directory + "/" + name, "rb") as f:
            text = f.read()
        for word in (b"ffffffff", b"late:", b"filler:", b"field:", b"database 3,", b"changed in place", b"a long name", b"kkkkkkkk"):
            if word in text:
                fail("%s/%s has %r in clear" % (directory, name, word))
    with open(directory + "/keys", "rb") as f:
        if not f.read().startswith(b"SETTKEYS"):
            fail("no keys in " + directory)


# ---- rounds ----


class World:
    def __init__(self):
        self.scratch = tempfile.mkdtemp(prefix="sett-salvage.")
        if ENCRYPTED:
            with open(self.scratch + "/master", "w") as f:
                f.write("5a" * 32)
            KEY_FILE[:] = ["--encryption-key-file", self.scratch + "/master"]
        self.whole = self.scratch + "/whole"
        os.mkdir(self.whole)
        self.model = make(self.whole)
        self.number = 0

    def files(self, suffix):
        return sorted(f for f in os.listdir(self.whole) if f.endswith(suffix))

    def round(self, what, damage, codes=(0, 1), is_all=False, most=None):
        """`damage` changes a copy; then all must hold. At most so many keys are others than they were."""
        self.number += 1
        damaged, target = self.scratch + "/damaged", self.scratch + "/target"
        for directory in (damaged, target):
            shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.whole, damaged)
        damage(damaged)
        before = {f: (os.stat(damaged + "/" + f).st_mtime_ns, os.stat(damaged + "/" + f).st_size) for f in os.listdir(damaged)}
        code, text = run_tool("salvage", "--raw", "--lines", 1000000, damaged, target, codes=codes)
        after = {f: (os.stat(damaged + "/" + f).st_mtime_ns, os.stat(damaged + "/" + f).st_size) for f in os.listdir(damaged)}
        expect(what + ": files that were only read", after, before)
        run_tool("check", "--quiet", target)
        if ENCRYPTED:
            expect_sealed(target)
        losses = Losses(text)
        with Over(target) as server:
            found = read_all(server)
        if is_all:
            for place in set(found) | set(self.model):
                expect("%s: %r" % (what, place), found.get(place), self.model.get(place))
        others = [place for place in self.model if found.get(place) != self.model[place]]
        if most is not None and len(others) > most:
            fail("%s: %d keys are lost or others: %.300r\n%s" % (what, len(others), others, text[-3000:]))
        exact = compare(what, found, self.model, losses, text)
        expect(what + ": the summary", (bool(re.search("^whole[:,]", text, re.M)), "in part: " in text), (code == 0, code == 1))
        print("%s: exit %d, %d keys of %d held exactly, %d damages, %d values" % (what, code, exact, len(self.model), len(losses.ranges) + losses.any,
                                                                               len(losses.keys)), flush=True)
        return text


def flip(path, offset, count=1):
    with open(path, "r+b") as f:
        f.seek(offset)
        old = f.read(count)
        f.seek(offset)
        f.write(bytes(b ^ 0x5a for b in old))


def ends_of(path):
    with open(path, "rb") as f:
        f.seek(-72, 2)
        footer = f.read(72)
    return [int.from_bytes(footer[i:i + 8], "little") for i in range(0, 40, 8)]


def largest(world, suffix, directory=None):
    return max(world.files(suffix), key=lambda f: os.stat(world.whole + "/" + f).st_size)


def used_of(path):
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def check_tables(world):
    name = largest(world, ".sst")
    data, index, top, filters, properties = ends_of(world.whole + "/" + name)
    size = os.stat(world.whole + "/" + name).st_size
    for what, offset, code in (("first data block", 10, 1), ("data block in the middle", data // 2, 1), ("last data block", data - 5, 1),
                               ("index", data + 20, 0), ("last index block", index - 4, 0), ("top index", index + 12, 0),
                               ("filter", top + 7, 0), ("properties", filters + 3, 0), ("footer", properties + 9, 0),
                               ("magic", size - 1, 0)):
        text = world.round("table, " + what, lambda d: flip(d + "/" + name, offset), codes=(code,), is_all=code == 0)
        if what == "footer" and "note: " not in text:
            fail("no word of the footer: " + text)
    world.round("table, index and footer", lambda d: (flip(d + "/" + name, data + 20), flip(d + "/" + name, properties + 9)), codes=(0, 1))
    world.round("table, cut in the middle", lambda d: os.truncate(d + "/" + name, data // 2), codes=(1,))
    world.round("table, without its end", lambda d: os.truncate(d + "/" + name, index + 50), codes=(0,), is_all=True)
    world.round("table, gone", lambda d: os.remove(d + "/" + name), codes=(1,))
    world.round("table, empty", lambda d: os.truncate(d + "/" + name, 0), codes=(1,))


def check_manifest(world):
    size = os.stat(world.whole + "/MANIFEST").st_size
    world.round("manifest, gone", lambda d: os.remove(d + "/MANIFEST"), codes=(1,), is_all=True)
    for offset in (3, 40, size // 2):
        world.round("manifest at %d" % offset, lambda d: flip(d + "/MANIFEST", offset), codes=(1,), is_all=True)
    text = world.round("a mark of a restore", lambda d: open(d + "/RESTORING", "w").close(), codes=(1,), is_all=True)
    if "has not come to its end" not in text:
        fail("no word of the mark: " + text)
    world.round("manifest, cut", lambda d: os.truncate(d + "/MANIFEST", size // 2), codes=(0, 1))
    world.round("manifest, empty", lambda d: os.truncate(d + "/MANIFEST", 0), codes=(1,), is_all=True)


def check_log(world):
    commits = {f: [int(line.split()[0]) for line in run_tool("dump", "log", world.whole + "/" + f)[1].split("\n") if re.match(r"\d+ commit", line)]
               for f in world.files(".log")}
    name = max(f for f in commits if commits[f])  # the newest: others may be in tables already
    offsets = commits[name]
    used = offsets[-1] + 100
    if len(offsets) < 8:
        fail("a log of %d commits" % len(offsets))
    world.round("log, a checksum of a header", lambda d: flip(d + "/" + name, 34), codes=(0,), is_all=True)
    world.round("log, a salt", lambda d: flip(d + "/" + name, 26), codes=(1,))
    small = [at for at, behind in zip(offsets, offsets[1:]) if behind - at < 20000]  # of few keys
    for part in (0.1, 0.5, 0.9):
        offset = small[int(len(small) * part)]
        for what, behind in (("checksum", 3), ("size", 9), ("payload", 70)):
            world.round("log at %d, %s" % (offset, what), lambda d: flip(d + "/" + name, offset + behind), codes=(1,), most=40)
    world.round("log, a hole", lambda d: flip(d + "/" + name, used // 3, 9000), codes=(1,))
    world.round("log, its end", lambda d: flip(d + "/" + name, offsets[-1] + 70), codes=(0, 1))
    world.round("log, cut", lambda d: os.truncate(d + "/" + name, used // 2), codes=(0, 1))
    world.round("log, gone", lambda d: os.remove(d + "/" + name), codes=(0, 1))
    text = world.round("log, noise over the last record", lambda d: flip(d + "/" + name, offsets[-1], 8), codes=(1,), most=41)
    if "doubt: " not in text:
        fail("no word of the noise: " + text)


def check_values(world):
    name = largest(world, ".vlog")
    size = os.stat(world.whole + "/" + name).st_size
    world.round("value log, header", lambda d: flip(d + "/" + name, 5), codes=(0,), is_all=True)
    for what, damage in (("a copy of another name", lambda d: shutil.copy(d + "/" + name, d + "/999999.vlog")),
                         ("a directory of such a name", lambda d: os.mkdir(d + "/999999.vlog"))):
        text = world.round("value log, " + what, damage, codes=(0,), is_all=True)
        if "999999.vlog is left out" not in text:
            fail("no word of 999999.vlog: " + text)
    for part in (0.05, 0.3, 0.7):
        world.round("value log at %.2f" % part, lambda d: flip(d + "/" + name, int(size * part)), codes=(0, 1), most=1)
    world.round("value log, cut", lambda d: os.truncate(d + "/" + name, size // 2), codes=(1,))
    world.round("value log, gone", lambda d: os.remove(d + "/" + name), codes=(1,))


def check_random(world):
    rng = random.Random(SEED)
    for number in range(ROUNDS):
        def damage(directory):
            for _ in range(rng.choice((1, 3, 20, 200))):
                name = rng.choice([f for f in os.listdir(directory) if re.search(r"MANIFEST$|\.(sst|log|vlog)$", f)])
                path = directory + "/" + name
                size = used_of(path) if name.endswith(".log") else os.stat(path).st_size
                if size > 0:
                    flip(path, rng.randrange(size), rng.choice((1, 1, 8, 600)))
        world.round("random %d of seed %d" % (number, SEED), damage)


def check_flushed(world):
    """What was written after a FLUSHALL comes into database 0, also when the entry that says so is lost."""
    source, target = world.scratch + "/flushed", world.scratch + "/unflushed"
    os.mkdir(source)
    with Over(source) as server:
        client = server.connect()
        client.set("old", 1)
        client.flushall()
        client.mset({"new%d" % i: "w" * 50 for i in range(500)})
        wait_until("no table is written", lambda: any(f.endswith(".sst") for f in os.listdir(source)))
        client.shutdown(save=True)
    # Which of them has the entry, and is not merged into another one, depends on when the server came to its end.
    for name in os.listdir(source):
        if name.endswith(".sst"):
            flip(source + "/" + name, 20, 7)
    text = run_tool("salvage", source, target, codes=(1,))[1]
    if "are in database 0:" not in text:
        fail("not in database 0: " + text)
    with Over(target) as server:
        client = server.connect()
        expect("a key after the flush", client.get("new99"), b"w" * 50)
        expect("the databases with keys", list(client.info("keyspace")), ["db0"])


def check_refusals(world):
    full = world.scratch + "/full"
    os.mkdir(full)
    open(full + "/something", "w").close()
    for arguments, words in (((world.whole, full), "not empty"), ((world.scratch + "/none", full + "/x"), "none"),
                             ((full, world.scratch + "/y"), "has no file keys" if ENCRYPTED else "there is no database in it"),
                             ((world.whole, world.whole + "/new"), "nothing is changed")):
        text = run_tool("salvage", *arguments, codes=(2,))[1]
        if words not in text:
            fail("%r: %s" % (arguments, text))
    expect("what was there", os.listdir(full), ["something"])
    expect("a target in the source", os.path.exists(world.whole + "/new"), False)
    with Over(world.whole):
        text = run_tool("salvage", world.whole, world.scratch + "/z", codes=(2,))[1]
        if "stop it first" not in text:
            fail(text)
    text = run_tool("check", world.scratch + "/z", codes=(0, 1, 2))[1]


def check_keys(world):
    """One line, no target, and nothing changed."""
    if not ENCRYPTED:
        return
    right, damaged, target = KEY_FILE[:], world.scratch + "/damaged", world.scratch + "/no-target"

    def refused(what, words):
        text = run_tool("salvage", damaged, target, codes=(2,))[1]
        if words not in text or len(text.strip().split("\n")) != 1:
            fail("%s: %s" % (what, text))
        expect(what + ": a target", os.path.exists(target), False)

    def again():
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(world.whole, damaged)

    again()
    with open(world.scratch + "/another", "w") as f:
        f.write("a5" * 32)
    KEY_FILE[:] = []
    refused("no key", "is encrypted")
    KEY_FILE[:] = ["--encryption-key-file", world.scratch + "/another"]
    refused("a wrong key", "is not the one that this directory was encrypted with")
    KEY_FILE[:] = right
    flip(damaged + "/keys", 100)
    refused("damaged keys", "is damaged, and without it nothing can be read")
    os.truncate(damaged + "/keys", 50)
    refused("keys that were cut", "is damaged, and without it nothing can be read")
    os.remove(damaged + "/keys")
    refused("no keys", "has no file keys")
    KEY_FILE[:] = []
    text = run_tool("salvage", damaged, target, codes=(2,))[1]
    if "is encrypted, and the file keys is missing" not in text:
        fail("no keys and no key: " + text)
    KEY_FILE[:] = right


def main():
    world = World()
    try:
        world.round("nothing", lambda d: None, codes=(0,), is_all=True)
        for check in (check_tables, check_manifest, check_log, check_values, check_flushed, check_random, check_refusals, check_keys):
            if ONLY in check.__name__:
                check(world)
    finally:
        shutil.rmtree(world.scratch, ignore_errors=True)
    print("ok: %d rounds" % world.number)


main()
