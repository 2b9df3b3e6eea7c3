#!/usr/bin/python3
"""A directory of an earlier version with every type in it must open, check as clean, hold what was put in, and take changes.

    golden_types.py SERVER make ARCHIVE       makes such a directory: once for each version, which is kept in tests/golden
    golden_types.py SERVER TOOL ARCHIVE...    opens a copy of each

Half of it is written before a stop in good order and a restart, the other half after it, before a kill: so tables, value log and log have
something of each type, and large values have parts in two of them."""
import os
import subprocess
import sys
import tarfile
import redis
from own_server import Server, expect

FAR = 4102444800000  # the year 2100
LIBRARY = """#!lua name=golden
redis.register_function('answer', function(keys, args) return redis.call('GET', keys[1]) .. args[1] end)
"""


def pairs(prefix, numbers):
    return {"%s:%d" % (prefix, i): "value:%d" % i for i in numbers}


def names(prefix, numbers):
    return ["%s:%d" % (prefix, i) for i in numbers]


def write_half(client, half):
    """Of each type what fits into the root, and what is spread over entries. The second half goes on with the same keys."""
    small, large = range(4 * half, 4 * half + 4), range(600 * half, 600 * half + 600)
    client.mset(pairs("key%d" % half, range(50)))
    client.set("string", "half %d" % half)
    client.set("large%d" % half, "L" * 5000)
    client.set("huge%d" % half, "H%d" % half * 600000)
    client.append("appended", "a" * 3000)
    client.incrby("number", 21)
    client.set("deadline%d" % half, "far", pxat=FAR)
    client.set("gone%d" % half, "x")
    client.delete("gone%d" % half)
    client.setbit("bits", 100 + half, 1)
    client.pfadd("hyperloglog", *names("seen", large))
    client.geoadd("places", (13.361389 + half, 38.115556, "place%d" % half))
    for key, numbers in (("small", small), ("many", large)):
        client.rpush("list:" + key, *names("element", numbers))
        client.sadd("set:" + key, *names("member", numbers))
        client.sadd("intset:" + key, *numbers)
        client.zadd("zset:" + key, {"member:%d" % i: i / 4 for i in numbers})
        client.hset("hash:" + key, mapping=pairs("field", numbers))
        for i in numbers:
            client.xadd("stream:" + key, {"number": i}, id="%d-1" % (i + 1))
    client.execute_command("HPEXPIREAT", "hash:small", FAR, "FIELDS", 1, "field:%d" % (4 * half))
    client.execute_command("HPEXPIREAT", "hash:many", FAR, "FIELDS", 1, "field:%d" % (600 * half))
    client.lpush("list:many", "head%d" % half)
    client.srem("set:many", "member:%d" % (600 * half))
    if half == 0:
        client.xgroup_create("stream:many", "group", "0")
        client.function_load(LIBRARY)
        client.set("renamed", "x")
        client.rename("renamed", "new name")
    read = client.xreadgroup("group", "reader%d" % half, {"stream:many": ">"}, count=10)[0][1]
    client.xack("stream:many", "group", *[entry for entry, _ in read[:5]])
    client.xdel("stream:many", "%d-1" % (600 * half + 300))
    for db in (3, 9):
        client.select(db)
        client.set("in database %d, half %d" % (db, half), "y")
    if half == 1:
        client.flushdb()
        client.set("after a flush", "z")
    client.select(0)


def check_strings(client):
    for half in (0, 1):
        wanted = pairs("key%d" % half, range(50))
        expect("keys", dict(zip(wanted, client.mget(list(wanted)))), wanted)
        expect("a large value", client.get("large%d" % half), "L" * 5000)
        expect("a value in pieces", client.get("huge%d" % half), "H%d" % half * 600000)
        expect("a deadline", client.pexpiretime("deadline%d" % half), FAR)
        expect("a deleted key", client.exists("gone%d" % half), 0)
    expect("a string", client.get("string"), "half 1")
    expect("an appended one", client.get("appended"), "a" * 6000)
    expect("a number", (client.get("number"), client.object("encoding", "number")), ("42", "int"))
    expect("a renamed key", (client.get("new name"), client.exists("renamed")), ("x", 0))
    expect("bits", [i for i in range(120) if client.getbit("bits", i)], [100, 101])
    expect("a HyperLogLog", 1150 < client.pfcount("hyperloglog") < 1250, True)
    expect("places", client.geosearch("places", longitude=13.4, latitude=38.1, radius=300, unit="km", sort="ASC"), ["place0", "place1"])


def check_collections(client):
    for key, numbers in (("small", range(8)), ("many", range(1200))):
        heads = ["head1", "head0"] if key == "many" else []
        less = {"member:0", "member:600"} if key == "many" else set()
        expect("a list", client.lrange("list:" + key, 0, -1), heads + names("element", numbers))
        expect("a set", set(client.smembers("set:" + key)), set(names("member", numbers)) - less)
        expect("its count", client.scard("set:" + key), len(numbers) - len(less))
        expect("a set of numbers", set(client.smembers("intset:" + key)), {str(i) for i in numbers})
        expect("a sorted set", client.zrange("zset:" + key, 0, -1, withscores=True), [("member:%d" % i, i / 4) for i in numbers])
        expect("a rank", client.zrank("zset:" + key, "member:7"), 7)
        expect("a hash", client.hgetall("hash:" + key), pairs("field", numbers))
        second = 4 if key == "small" else 600
        expect("deadlines of fields",
               client.execute_command("HPEXPIRETIME", "hash:" + key, "FIELDS", 3, "field:0", "field:%d" % second, "field:1"),
               [FAR, FAR, -1])


def check_streams(client):
    expect("a small stream", client.xrange("stream:small"), [("%d-1" % (i + 1), {"number": str(i)}) for i in range(8)])
    expect("a stream", client.xrange("stream:many"),
           [("%d-1" % (i + 1), {"number": str(i)}) for i in range(1200) if i not in (299, 899)])
    info = client.xinfo_stream("stream:many")
    expect("its figures", (info["length"], info["last-generated-id"], info["entries-added"], info["max-deleted-entry-id"]),
           (1198, "1200-1", 1200, "900-1"))
    group = client.xinfo_groups("stream:many")[0]
    expect("its group", (group["name"], group["consumers"], group["pending"], group["last-delivered-id"]), ("group", 2, 10, "20-1"))
    pending = client.xpending_range("stream:many", "group", "-", "+", 100)
    expect("what is pending", [(p["message_id"], p["consumer"], p["times_delivered"]) for p in pending],
           [("%d-1" % i, "reader%d" % (i > 10), 1) for i in [*range(6, 11), *range(16, 21)]])


def check_databases(client, more):
    expect("keys of database 0", client.dbsize(), 100 + 13 + 12 + more)
    client.select(3)
    expect("database 3", sorted(client.keys()), ["in database 3, half 0", "in database 3, half 1"])
    client.select(9)
    expect("a flushed one", client.keys(), ["after a flush"])
    client.select(0)


def check_all(client, more=0):
    """`more`: keys that are there beside those of write_half."""
    check_strings(client)
    check_collections(client)
    check_streams(client)
    check_databases(client, more)
    expect("a function", client.fcall("answer", 1, "number", "!"), "42!")


def change(client):
    """What is written on after it, beside what is old."""
    client.rpop("list:many")
    client.zadd("zset:many", {"member:5": 1e6})
    client.hdel("hash:many", "field:3")
    client.srem("set:many", "member:7")
    client.xadd("stream:many", {"number": 1}, id="5000-1")
    client.setrange("huge0", 5, "changed")
    client.incr("number")


def check_changed(client):
    expect("a list", client.lrange("list:many", -1, -1), ["element:1198"])
    expect("a sorted set", client.zrange("zset:many", -1, -1), ["member:5"])
    expect("a hash", (client.hlen("hash:many"), client.hget("hash:many", "field:3")), (1199, None))
    expect("a set", client.sismember("set:many", "member:7"), False)
    expect("a stream", client.xlen("stream:many"), 1199)
    expect("a value", (client.getrange("huge0", 0, 12), client.strlen("huge0")), ("H0H0HchangedH", 1200000))
    expect("a number", client.get("number"), "43")


def connect(server):
    return redis.Redis(unix_socket_path=server.socket, socket_timeout=180, decode_responses=True)


def make(program, archive):
    server = Server(program, "--history", "no", "--maxmemory", "64mb")
    server.data = server.directory + "/data"
    os.mkdir(server.data)
    try:
        server.start()
        write_half(connect(server), 0)
        server.stop()
        server.start()
        client = connect(server)
        write_half(client, 1)
        check_all(client)
        server.kill()
        found = {name.rpartition(".")[2] for name in os.listdir(server.data)}
        expect("kinds of files", {"log", "sst", "vlog", "MANIFEST"} - found, set())
        with tarfile.open(archive, "w:gz") as file:
            for name in sorted(os.listdir(server.data)):
                file.add(server.data + "/" + name, name)
    finally:
        server.clean_up()


def open_copy(program, tool, archive):
    server = Server(program, "--check-at-start", "yes", "--maxmemory", "64mb")
    server.data = server.directory + "/data"
    try:
        with tarfile.open(archive) as file:
            file.extractall(server.data)
        done = subprocess.run([tool, "check", "--quiet", server.data], capture_output=True, text=True, timeout=180)
        expect("sett-tool check " + archive, done.returncode, 0)
        server.start()
        client = connect(server)
        check_all(client)
        change(client)
        server.kill()
        server.start()
        check_changed(connect(server))
        server.stop()
        done = subprocess.run([tool, "check", "--quiet", server.data], capture_output=True, text=True, timeout=180)
        expect("sett-tool check, changed", (done.returncode, done.stdout), (0, ""))
    finally:
        server.clean_up()


def main():
    program, second, *archives = sys.argv[1:]
    if second == "make":
        make(program, archives[0])
        return
    for archive in archives:
        open_copy(program, second, archive)


if __name__ == "__main__":
    main()
