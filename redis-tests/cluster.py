#!/usr/bin/env python3
"""A cluster of one node, beside redis-server's: answers, slots, MULTI blocks, scripts; and clients that know nothing but clusters.

    cluster.py SETT_SERVER REDIS_SERVER [SEED]
"""
import random
import re
import subprocess
import sys

import redis
from redis.cluster import ClusterNode, RedisCluster

from own_server import fail, wait_until
from ports import CLUSTER_PORTS, free_port
from replica_world import World, expect

REDIS_ALONE = re.compile(rb"[0-9a-f]{40}")


def with_port(world, make, *options):
    server = make("--cluster-enabled", "yes", *options)
    server.port = free_port(CLUSTER_PORTS)
    server.options += ["--port", str(server.port)]
    server.start()
    server.connect().execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    wait_until("it has no slots", lambda: server.connect().execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    return server


class Side:
    """A connection over which answers are taken as they are."""

    def __init__(self, server):
        self.server = server
        pool = redis.ConnectionPool(host="127.0.0.1", port=server.port, socket_timeout=180)
        self.connection = pool.get_connection("_")

    def ask(self, *words):
        self.connection.send_command(*words)
        try:
            return self.plain(self.connection.read_response())
        except redis.RedisError as error:
            return "%s %s" % (type(error).__name__, error)

    def plain(self, found, in_list=False):
        """Without what is each server's own."""
        if isinstance(found, list):
            return [self.plain(f, True) for f in found]
        if isinstance(found, Exception):
            return str(found)
        if isinstance(found, bytes):
            found = REDIS_ALONE.sub(b"ID", found)
            found = found.replace(b"127.0.0.1:", b":").replace(b"%d@%d" % (self.server.port, self.server.port + 10000), b"PORT")
            return b"" if found == b"127.0.0.1" else found
        return "PORT" if in_list and found == self.server.port else found  # a number by itself may be a slot


def compare(what, sides, *words):
    found = [side.ask(*words) for side in sides]
    expect("%s: %r" % (what, words), found[0], found[1])
    return found[0]


def check_answers(sides):
    for words in (["CLUSTER", "INFO"], ["CLUSTER", "NODES"], ["CLUSTER", "SLOTS"], ["CLUSTER", "SHARDS"], ["CLUSTER", "LINKS"],
                  ["CLUSTER", "REPLICAS", "x"], ["CLUSTER", "SLAVES", "x"], ["CLUSTER", "COUNT-FAILURE-REPORTS", "x"],
                  ["CLUSTER", "FORGET", "x"], ["CLUSTER", "REPLICATE", "x"], ["CLUSTER", "COUNTKEYSINSLOT", "16384"],
                  ["CLUSTER", "COUNTKEYSINSLOT", "x"], ["CLUSTER", "COUNTKEYSINSLOT", "0"], ["CLUSTER", "GETKEYSINSLOT", "1", "-1"],
                  ["CLUSTER", "GETKEYSINSLOT", "x", "1"], ["CLUSTER", "GETKEYSINSLOT", "1", "x"], ["CLUSTER", "GETKEYSINSLOT", "1", "0"],
                  ["CLUSTER", "KEYSLOT"], ["CLUSTER", "ADDSLOTS", "16384"], ["CLUSTER", "ADDSLOTSRANGE", "5", "4"],
                  ["CLUSTER", "ADDSLOTSRANGE", "0", "1", "2"], ["CLUSTER", "SETSLOT", "1", "STABLE"], ["CLUSTER", "SETSLOT", "1", "NODE", "x"],
                  ["CLUSTER", "FAILOVER"], ["CLUSTER", "SAVECONFIG"], ["CLUSTER", "NONSENSE"], ["READONLY"], ["READWRITE"], ["ASKING"],
                  ["SELECT", "0"], ["SELECT", "1"], ["SELECT", "99"], ["MOVE", "a", "1"], ["SWAPDB", "0", "1"], ["COPY", "{a}1", "{a}2", "DB", "1"],
                  ["COPY", "{a}1", "{a}2", "DB", "0"], ["REPLICAOF", "NO", "ONE"], ["REPLICAOF", "h", "1"], ["FAILOVER"], ["FAILOVER", "ABORT"],
                  ["CONFIG", "GET", "cluster-enabled"]):
        compare("an answer", sides, *words)
    for side in sides:
        name = side.server.connect().execute_command("CLUSTER MYID")
        expect("MYID", len(name), 40)
        expect("replicas of itself", side.ask("CLUSTER", "REPLICAS", name), [])
        expect("failures of itself", side.ask("CLUSTER", "COUNT-FAILURE-REPORTS", name), 0)
        expect("INFO", side.server.connect().info("cluster")["cluster_enabled"], 1)
        expect("the mode", side.server.connect().info("server")["redis_mode"], "cluster")


def check_slots(sides, r):
    names = [b"", b"{", b"}", b"{}", b"{}a", b"a{b}c", b"{{b}c}", b"a{}{b}", b"foo{bar}{zap}", b"}{a}"]
    names += [bytes(r.choice(b"ab{}\x00\xff") for _ in range(r.randrange(12))) for _ in range(300)]
    names += [r.randbytes(r.randrange(40)) for _ in range(300)]
    for name in names:
        compare("a slot", sides, "CLUSTER", "KEYSLOT", name)


def check_crossings(sides):
    for words in (["MSET", "a", "1", "b", "2"], ["MSET", "{a}1", "1", "{a}2", "2"], ["MGET", "{a}1", "{a}2"], ["MGET", "{a}1", "b"], ["DEL", "a", "b"],
                  ["EXISTS", "x", "y"], ["SUNION", "{a}s", "t"], ["ZUNIONSTORE", "d", "2", "x", "y"], ["RENAME", "a", "b"], ["LMPOP", "2", "x", "y", "LEFT"],
                  ["XREAD", "STREAMS", "x", "y", "0", "0"], ["SORT", "a", "BY", "x*"], ["SORT", "a", "GET", "#"], ["SORT", "a", "BY", "nosort"],
                  ["SORT", "a", "STORE", "b"], ["SORT", "{a}1", "STORE", "{a}2"], ["BITOP", "AND", "d", "x", "y"], ["EVAL", "return 1", "2", "a", "b"],
                  ["EVAL", "return 1", "2", "{a}1", "{a}2"], ["EVAL", "return 1", "0"], ["EVAL", "return redis.call('MSET', 'a', '1', 'b', '2')", "0"],
                  ["EVAL", "redis.call('SET', 'a', '1') redis.call('SET', 'b', '1') return 'both'", "0"],
                  ["EVAL", "#!lua\nredis.call('SET', 'a', '1') redis.call('SET', 'b', '1')", "0"],
                  ["EVAL", "#!lua\nredis.call('SET', 'b', '1')", "1", "a"], ["EVAL", "#!lua\nreturn redis.call('SET', '{a}b', '1')", "1", "a"],
                  ["EVAL", "#!lua flags=allow-cross-slot-keys\nredis.call('SET', 'a', '1') return redis.call('SET', 'b', '1')", "1", "a"],
                  ["EVAL", "#!lua flags=allow-cross-slot-keys\nreturn redis.call('DEL', 'a', 'b')", "1", "a"],
                  ["EVAL", "#!lua flags=no-cluster\nreturn 1", "0"], ["SPUBLISH", "a", "x"], ["WATCH", "a", "b"], ["WATCH", "a"], ["UNWATCH"],
                  ["MSET", "a", "1", "b"], ["GET"], ["EVAL", "return 1", "5", "a"], ["OBJECT", "ENCODING", "a"], ["TOUCH", "a", "b"],
                  ["GEORADIUS", "a", "0", "0", "1", "m", "STORE", "b"], ["MIGRATE", "127.0.0.1", "1", "", "0", "10", "KEYS", "a", "b"],
                  ["SINTERCARD", "2", "a", "b"], ["PFCOUNT", "a", "b"], ["PFMERGE", "a", "b"], ["BLPOP", "a", "b", "1"], ["COPY", "a", "b"]):
        compare("keys in slots", sides, *words)
    blocks = ([["SET", "a", "1"], ["SET", "b", "2"]], [["SET", "a", "1"], ["GET", "a"]], [["MSET", "a", "1", "b", "2"], ["SET", "a", "7"]],
              [["SET", "{a}1", "1"], ["PING"], ["INCR", "{a}1"]], [["SET", "a", "8"], ["SELECT", "1"]], [["GET", "b"]])
    for block in blocks:
        compare("MULTI", sides, "MULTI")
        for words in block:
            compare("in MULTI", sides, *words)
        compare("EXEC", sides, "EXEC")
        compare("behind it", sides, "MGET", "a", "{a}1")
    compare("DISCARD", sides, "MULTI")
    compare("DISCARD", sides, "SET", "a", "1")
    compare("DISCARD", sides, "DISCARD")
    compare("behind DISCARD", sides, "SET", "b", "1")
    # Requests that come together, and may share a transaction.
    together = [["SET", "a", "1"], ["MSET", "a", "1", "b", "2"], ["GET", "a"], ["EVAL", "return 1", "2", "a", "b"], ["EVAL", "return KEYS[1]", "1", "a"],
                ["DEL", "x", "y"], ["INCR", "a"], ["EVAL", "#!lua\nredis.call('SET', 'b', '1')", "1", "a"], ["GET", "b"], ["SPUBLISH", "a", "x"],
                ["MGET", "{a}1", "{a}2"], ["BITOP", "AND", "d", "x", "y"]]
    found = []
    for side in sides:
        for words in together:
            side.connection.send_command(*words)
        found.append([])
        for words in together:
            try:
                found[-1].append(side.plain(side.connection.read_response()))
            except redis.RedisError as error:
                found[-1].append(str(error))
    expect("a pipeline", found[0], found[1])
    for side in sides:
        subscriber = Side(side.server)
        expect("channels in two slots", subscriber.ask("SSUBSCRIBE", "a", "b"), "ResponseError CROSSSLOT Keys in request don't hash to the same slot")
        expect("channels in one", subscriber.ask("SSUBSCRIBE", "{a}1", "{a}2"), [b"ssubscribe", b"{a}1", 1])


def check_keys(sides, r):
    for side in sides:
        side.ask("FLUSHALL")
    for i in range(2000):
        words = ["SET", "key:%d" % r.randrange(3000), "x"] if r.randrange(3) else ["DEL", "key:%d" % r.randrange(3000)]
        compare("a write", sides, *words)
    for i in range(200):
        compare("a write", sides, "SADD", "{few}%d" % i, "x")
    slot = compare("the slot", sides, "CLUSTER", "KEYSLOT", "few")
    for found in (slot, *(r.randrange(16384) for _ in range(40))):
        count = compare("keys of a slot", sides, "CLUSTER", "COUNTKEYSINSLOT", found)
        names = [sorted(side.ask("CLUSTER", "GETKEYSINSLOT", found, 1000)) for side in sides]
        expect("names in a slot", names[0], names[1])
        expect("their number", len(names[0]), count)
    expect("some of them", len(sides[0].ask("CLUSTER", "GETKEYSINSLOT", slot, 7)), 7)


def check_clients(server):
    cluster = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", server.port)])
    for i in range(300):
        cluster.set("client:%d" % i, i)
    expect("redis-py's cluster client", [int(cluster.get("client:%d" % i)) for i in range(300)], list(range(300)))
    cluster.mset_nonatomic({"n:%d" % i: i for i in range(20)})
    pipeline = cluster.pipeline()
    for i in range(20):
        pipeline.incr("n:%d" % i)
    expect("its pipeline", pipeline.execute(), [i + 1 for i in range(20)])
    expect("its slots", cluster.cluster_keyslot("a"), 15495)
    cluster.close()
    cli = ["redis-cli", "-c", "-h", "127.0.0.1", "-p", str(server.port)]
    expect("redis-cli -c", subprocess.run(cli + ["SET", "from cli", "1"], capture_output=True, timeout=180).stdout, b"OK\n")
    check = subprocess.run(["redis-cli", "--cluster", "check", "127.0.0.1:%d" % server.port], capture_output=True, timeout=180)
    expect("redis-cli --cluster check", (check.returncode, b"[OK] All 16384 slots covered." in check.stdout), (0, True))


def check_starts(world):
    server = with_port(world, world.sett)
    name = server.connect().execute_command("CLUSTER MYID")
    server.connect().set("kept", "1")
    server.stop()
    server.start()
    expect("its name after a restart", server.connect().execute_command("CLUSTER MYID"), name)
    server.stop()
    # What lies in other databases could not be got at.
    options = list(server.options)
    at = server.options.index("--cluster-enabled")
    del server.options[at:at + 2]
    server.start()
    for words in (["CLUSTER", "SLOTS"], ["READONLY"]):
        try:
            server.connect().execute_command(*words)
            fail("%r without a cluster" % words)
        except redis.ResponseError as error:
            expect("its answer", str(error), "This instance has cluster support disabled")
    server.connect(db=2).set("elsewhere", "1")
    server.stop()
    for more, text in ((["--replicaof", "127.0.0.1 1"], "replicaof directive not allowed in cluster mode"),
                       ([], "You can't have keys in a DB different than DB 0 when in Cluster mode")):
        command = [server.program, "--unixsocket", server.socket, "--dir", server.directory, *options, *more]
        expect("the exit code", subprocess.run(command, timeout=180).returncode, 1)
        expect("the log", text in server.log_text(), True)


def main(sett_server, redis_server, seed=1):
    world = World(sett_server, redis_server, int(seed))
    r = random.Random(world.seed)
    try:
        servers = [with_port(world, make) for make in (world.sett, world.redis)]
        sides = [Side(server) for server in servers]
        check_answers(sides)
        check_slots(sides, r)
        check_crossings(sides)
        check_keys(sides, r)
        check_clients(servers[0])
        check_starts(world)
    finally:
        world.clean_up()
    print("one node")


main(*sys.argv[1:])
