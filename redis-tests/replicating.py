#!/usr/bin/env python3
"""Sett as a master of redis-server replicas.

    replicating.py SETT_SERVER REDIS_SERVER
"""
import os
import random
import socket
import subprocess
import sys
import threading
import time

import redis

from own_server import PATIENCE, Server, expect, fail, free_port, wait_until
from relay import Relay
from values import Maker, fill


class Node(Server):
    """A server with a port, which can be started again with its data."""

    def __init__(self, program, *options):
        self.port = free_port()
        super().__init__(program, "--enable-debug-command", "yes", "--port", self.port, "--bind", "127.0.0.1",
                         "--repl-diskless-sync-delay", 0, *options)

    def client(self):
        return self.connect()

    def info(self, section="replication"):
        return self.client().info(section)


def follow(replica, port):
    replica.client().execute_command("REPLICAOF", "127.0.0.1", port)


def is_up(replica):
    return replica.info().get("master_link_status") == "up"


def offset(node):
    return node.info()["master_repl_offset"]


def expect_same(what, master, replica):
    """The same data at the same offset: nobody writes."""
    wait_until(what + ": the replica does not catch up",
               lambda: is_up(replica) and offset(replica) == offset(master))
    contents = [contents_of(node) for node in (master, replica)]
    if contents[0] != contents[1]:
        different = [key for key in set(contents[0]) | set(contents[1])
                     if contents[0].get(key) != contents[1].get(key)]
        for key in different[:5]:
            print("%r: %r, %r" % (key, str(contents[0].get(key))[:200], str(contents[1].get(key))[:200]))
        fail("%s: %d keys differ" % (what, len(different)))


READS = {
    b"string": [["GET"]],
    b"list": [["LRANGE", 0, -1]],
    b"set": [["SMEMBERS"]],
    b"zset": [["ZRANGE", 0, -1, "WITHSCORES"]],
    b"hash": [["HGETALL"]],
    b"stream": [["XRANGE", "-", "+"], ["XINFO", "GROUPS"]],
}


def contents_of(node):
    """What every key holds, and its deadline."""
    contents = {}
    for db in (0, 3, 9, 15):
        client = node.connect(db=db)
        keys = client.keys()
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.execute_command("TYPE", key)
            pipe.execute_command("PEXPIRETIME", key)
        replies = pipe.execute()
        for key, kind, _ in zip(keys, replies[::2], replies[1::2]):
            for read in READS[kind]:
                name = [" ".join(read[:2]), key] if read[0] == "XINFO" else [read[0], key] + read[1:]
                pipe.execute_command(*name)
        values = iter(pipe.execute())
        for key, kind, deadline in zip(keys, replies[::2], replies[1::2]):
            found = [next(values) for _ in READS[kind]]
            if kind == b"set":
                found = [sorted(found[0])]
            contents[db, key] = (kind, deadline, found)
    return contents


class Writer(threading.Thread):
    """Writes commands that are the same wherever they run, until it is told to stop or the server goes."""

    def __init__(self, node, seed):
        super().__init__(daemon=True)
        self.node, self.random = node, random.Random(seed)
        self.stopped, self.written, self.error = threading.Event(), 0, None

    def commands(self, pipe):
        r = self.random
        key = "w:%d" % r.randrange(300)
        kind = r.randrange(6)
        if kind == 0:
            pipe.execute_command("SET", key, r.randbytes(r.choice((5, 50, 2000))))
        elif kind == 1:
            pipe.execute_command("RPUSH", key + ":l", r.randrange(1000), "x" * r.randrange(100))
        elif kind == 2:
            pipe.execute_command("ZADD", key + ":z", r.randrange(1000), r.randrange(50))
        elif kind == 3:
            pipe.execute_command("HSET", key + ":h", r.randrange(50), r.randrange(1000))
        elif kind == 4:
            pipe.execute_command("INCR", key + ":n")
        else:
            pipe.execute_command("DEL", key, key + ":l")

    def run(self):
        clients = [self.node.connect(db=db) for db in (0, 0, 3)]
        try:
            while not self.stopped.is_set():
                pipe = self.random.choice(clients).pipeline(transaction=self.random.randrange(2) == 0)
                for _ in range(self.random.randrange(1, 12)):
                    self.commands(pipe)
                pipe.execute()
                self.written += 1
        except redis.RedisError as error:
            self.error = error

    def finish(self):
        self.stopped.set()
        self.join(180)
        if self.error is not None:
            fail("a writer: %s" % self.error)


def check_full_syncs(master, replica):
    """With a file and without one, with all types, beside writes."""
    client = master.client()
    fill((master,), Maker(11), 400)
    client.function_load("#!lua name=lib\nredis.register_function('f', function() return 7 end)")
    client.execute_command("SET", "big", "y" * 3000000)
    for diskless in ("no", "yes"):
        client.config_set("repl-diskless-sync", diskless)
        before = master.info("stats")["sync_full"]
        replica.client().execute_command("REPLICAOF", "NO", "ONE")
        replica.client().flushall()
        writers = [Writer(master, seed) for seed in (1, 2)]
        for writer in writers:
            writer.start()
        follow(replica, master.port)
        wait_until("no full sync, diskless " + diskless, lambda: is_up(replica))
        written = sum(w.written for w in writers)
        wait_until("nothing is written", lambda: sum(w.written for w in writers) > written + 50)
        for writer in writers:
            writer.finish()
        expect_same("full sync, diskless " + diskless, master, replica)
        expect("full syncs", master.info("stats")["sync_full"], before + 1)
    expect("libraries of the replica", len(replica.client().function_list()), 1)


def check_partial_syncs(master, replica):
    link = Relay(master.port)
    follow(replica, link.port)
    wait_until("no link", lambda: is_up(replica))
    master.client().config_set("repl-backlog-size", 64 << 20)
    stats = master.info("stats")
    for round in range(3):
        writer = Writer(master, 20 + round)
        writer.start()
        link.shut()
        written = writer.written
        wait_until("nothing is written", lambda: writer.written > written + 30)
        link.mend()
        wait_until("no link again", lambda: is_up(replica))
        writer.finish()
        expect_same("after a cut", master, replica)
    after = master.info("stats")
    expect("full syncs after cuts", after["sync_full"], stats["sync_full"])
    if after["sync_partial_ok"] < stats["sync_partial_ok"] + 3:
        fail("partial syncs: %r" % after["sync_partial_ok"])
    # What the backlog has no more is a full sync.
    master.client().config_set("repl-backlog-size", 16384)
    link.shut()
    pipe = master.client().pipeline(transaction=False)
    for i in range(3000):
        pipe.set("fill:%d" % (i % 10), "z" * 1000)
    pipe.execute()
    wait_until("the backlog does not shrink",
               lambda: master.info()["repl_backlog_histlen"] <= 16384 + 65536)
    link.mend()
    expect_same("after a cut that was too long", master, replica)
    expect("full syncs", master.info("stats")["sync_full"], after["sync_full"] + 1)
    link.shut()
    follow(replica, master.port)
    wait_until("no link", lambda: is_up(replica))


def check_large_backlog(master, replica):
    """More than is kept in memory: the oldest bytes come from the file."""
    client = master.client()
    client.config_set("repl-backlog-size", 100 << 20)
    client.config_set("client-output-buffer-limit", "replica 0 0 0")
    expect_same("before the large backlog", master, replica)
    link = Relay(master.port)
    follow(replica, link.port)
    wait_until("no link", lambda: is_up(replica))
    before = master.info("stats")["sync_full"]
    link.shut()
    wait_until("the replica stays", lambda: master.info()["connected_slaves"] == 0)
    for i in range(40):
        client.set("large:%d" % (i % 4), os.urandom(700000))
    link.mend()
    expect_same("after 28 MB", master, replica)
    expect("full syncs", master.info("stats")["sync_full"], before)
    # A value that is larger than what is kept in memory goes through the stream.
    client.set("large:0", os.urandom(1000) * 80000)
    client.set("large:1", "behind it")
    expect_same("after a large value", master, replica)
    expect("full syncs", master.info("stats")["sync_full"], before)
    client.delete("large:0")
    link.shut()
    client.config_set("client-output-buffer-limit", "replica 256mb 64mb 60")
    follow(replica, master.port)
    wait_until("no link", lambda: is_up(replica))


def check_restarts(master, replica):
    """A master that is killed goes on under a new id; a replica that has all goes on with it."""
    for round in range(3):
        writer = Writer(master, 40 + round)
        writer.start()
        wait_until("nothing is written", lambda: writer.written > 20)
        old = master.info()["master_replid"]
        master.kill()
        writer.stopped.set()
        writer.join(180)
        master.start()
        state = master.info()
        if state["master_replid"] == old:
            fail("the id is the old one after a restart")
        expect("second id", state["master_replid2"], old)
        expect("second offset", state["second_repl_offset"], state["master_repl_offset"] + 1)
        master.client().set("after", round)
        expect_same("after a kill", master, replica)
    # The replica has what the master forgets: no silent fork.
    master.client().set("x", 1)
    expect_same("before the flood", master, replica)


def check_fork(sett, redis_server):
    """A replica that is ahead of a master, as after a power cut, must not go on with it."""
    master, replica = Node(sett, "--appendfsync", "no"), Node(redis_server, "--save", "")
    copy = None
    try:
        master.start()
        replica.start()
        follow(replica, master.port)
        wait_until("no link", lambda: is_up(replica))
        master.client().set("a", 1)
        expect_same("before", master, replica)
        master.stop()
        copy = master.directory + ".copy"
        subprocess.run(["cp", "-r", master.directory, copy], check=True)
        master.start()
        master.client().set("b", 2)
        expect_same("after a stop", master, replica)
        master.kill()
        subprocess.run(["rm", "-rf", master.directory], check=True)
        os.rename(copy, master.directory)
        master.start()
        master.client().set("c", 3)
        wait_until("the replica does not come back", lambda: is_up(replica))
        expect_same("after the master went back", master, replica)
        expect("full syncs", master.info("stats")["sync_full"], 1)
        expect("b is gone", replica.client().get("b"), None)
    finally:
        for node in (master, replica):
            node.clean_up()


def check_slow_replica(master):
    """One that does not read is closed at its limit."""
    client = master.client()
    client.config_set("client-output-buffer-limit", "replica 1mb 0 0")
    client.config_set("repl-backlog-size", 16384)
    with socket.create_connection(("127.0.0.1", master.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"SYNC\r\n")
        address = "%s:%d" % slow.getsockname()

        def is_there():
            return any(line["addr"] == address and "S" in line["flags"] for line in client.client_list())

        wait_until("SYNC is not served", is_there)

        def is_closed():
            pipe = client.pipeline(transaction=False)
            for _ in range(100):
                pipe.set("slow", "s" * 10000)
            pipe.execute()
            return not is_there()

        wait_until("a replica that does not read stays", is_closed)
    client.config_set("client-output-buffer-limit", "replica 256mb 64mb 60")
    client.config_set("repl-backlog-size", 1 << 20)


def has_sync_file(pid):
    files = "/proc/%d/fd/" % pid
    for name in os.listdir(files):
        try:
            if "replication-sync" in os.readlink(files + name):
                return True
        except FileNotFoundError:
            pass  # it was closed meanwhile
    return False


def check_stuck_replica(sett):
    """One that stops to read in its full sync is closed, and what it was sent is given back."""
    master = Node(sett, "--repl-timeout", 2)
    try:
        master.start()
        client = master.client()
        for i in range(60):
            client.set("stuck:%d" % i, os.urandom(500000))
        with socket.create_connection(("127.0.0.1", master.port)) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.sendall(b"SYNC\r\n")
            wait_until("SYNC is not served", lambda: client.info("stats")["sync_full"] == 1)
            wait_until("a replica that does not read stays", lambda: master.info()["connected_slaves"] == 0)
        wait_until("the full sync's file stays", lambda: not has_sync_file(master.process.pid))
    finally:
        master.clean_up()


def check_words_of_replicas(master):
    """What a replica asks that has an answer ends it, whenever it comes: also while the database is read for it. It may not
    write."""
    master.client().flushall()
    for number in range(60):
        begin = (b"*1\r\n$4\r\nSYNC\r\n", b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n")[number % 2]
        with socket.create_connection(("127.0.0.1", master.port), PATIENCE) as replica:
            replica.sendall(b"PING\r\n")
            replica.recv(100)
            replica.sendall(begin)
            time.sleep(number % 20 * 0.0005)
            replica.sendall((b"*1\r\n$4\r\nPING\r\n", b"*3\r\n$3\r\nSET\r\n$4\r\nmine\r\n$1\r\n1\r\n")[number % 3 % 2])
            end = time.monotonic() + PATIENCE
            try:
                while replica.recv(1 << 16):
                    if time.monotonic() > end:
                        fail("a replica that pings stays")
            except TimeoutError:
                fail("a replica that pings stays")
            except ConnectionResetError:
                pass
    client = master.client()
    expect("what a replica has written", client.get("mine"), None)
    try:
        client.execute_command("PSYNC", "?", "x")
        fail("PSYNC takes a wrong offset")
    except redis.ResponseError as error:
        expect("what PSYNC says of its offset", str(error), "value is not an integer or out of range")


def check_tools(master):
    """redis-cli as a replica, and its dumps."""
    master.client().set("tool", "1")
    path = master.directory + "/tool.rdb"
    for option in ("--rdb", "--functions-rdb"):
        done = subprocess.run(["redis-cli", "-p", str(master.port), option, path], capture_output=True, timeout=180)
        expect("redis-cli " + option, done.returncode, 0)
        with open(path, "rb") as file:
            data = file.read()
        expect("what the file begins with", data[:9], b"REDIS0010")
        expect("keys in it", b"tool" in data, option == "--rdb")
    follower = subprocess.Popen(["redis-cli", "-p", str(master.port), "--replica"], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
    try:
        wait_until("redis-cli --replica is no replica", lambda: any(
            line["flags"] == "S" and line["cmd"] in ("sync", "replconf", "psync")
            for line in master.client().client_list()))
        seen = b""
        end = time.monotonic() + PATIENCE
        os.set_blocking(follower.stdout.fileno(), False)
        while b'"tool-key"' not in seen:
            if time.monotonic() > end:
                fail("redis-cli --replica sees %r" % seen[-300:])
            master.client().set("tool-key", "v")
            seen += follower.stdout.read() or b""
            time.sleep(0.05)
    finally:
        follower.terminate()
        follower.wait(PATIENCE)


def check_waits(master, replica):
    client = master.client()
    expect("WAIT without a write", client.execute_command("WAIT", 0, 0) >= 0, True)
    client.set("waited", 1)
    expect("WAIT 1", client.execute_command("WAIT", 1, 60000), 1)
    expect("WAIT 2", client.execute_command("WAIT", 2, 100), 1)
    expect("WAITAOF here", client.execute_command("WAITAOF", 1, 0, 60000), [1, 0])
    pipe = client.pipeline()
    pipe.set("waited", 2)
    pipe.execute_command("WAIT", 5, 0)
    pipe.execute()
    client.config_set("min-replicas-to-write", 1)
    wait_until("no good replica", lambda: master.info()["min_slaves_good_slaves"] == 1)
    client.set("waited", 3)
    client.config_set("min-replicas-to-write", 2)
    for command in (("SET", "waited", 4), ("EVAL", "return redis.call('SET','waited',4)", 0)):
        try:
            client.execute_command(*command)
            fail("a write with too few replicas")
        except redis.ResponseError as error:
            if "NOREPLICAS Not enough good replicas to write." not in str(error):
                fail("the error of too few replicas: %s" % error)
    client.config_set("min-replicas-to-write", 0)
    roles = client.execute_command("ROLE")
    expect("ROLE", (roles[0], len(roles[2]), int(roles[2][0][1])), (b"master", 1, replica.port))


def add_field_deadline(client):
    client.hset("fields", mapping={"a": 1, "b": 2})
    client.execute_command("HPEXPIREAT", "fields", 4000000000000, "FIELDS", 1, "a")


def check_field_deadlines(sett, redis_server):
    """They are not lost in silence on a replica that does not know them."""
    master, replica = Node(sett), Node(redis_server, "--save", "")
    try:
        for node in (master, replica):
            node.start()
        client = master.client()
        add_field_deadline(client)
        follow(replica, master.port)
        wait_until("no full sync is tried", lambda: master.info("stats")["sync_full"] > 1)
        expect("the link, which is refused", is_up(replica), False)
        client.config_set("replica-field-deadlines", "leave-out")
        expect_same("without deadlines of fields", master, replica)
        client.execute_command("HPEXPIRE", "fields", 1, "FIELDS", 1, "a")
        wait_until("a field stays past its deadline", lambda: replica.client().hgetall("fields") == {b"b": b"2"})
    finally:
        for node in (master, replica):
            node.clean_up()


def check_late_replica(master, replica):
    """It runs commands when the deadlines that they gave have passed: the master says what went."""
    client, other = master.client(), replica.client()
    client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    client.set("text", 1)
    payload = client.dump("text")
    expect_same("before it is late", master, replica)
    replica.pause()
    pipe = client.pipeline()
    pipe.hset("late", mapping={"a": 1, "b": 5, "c": 3})
    pipe.execute_command("HPEXPIRE", "late", 300, "FIELDS", 3, "a", "b", "c")
    pipe.hincrby("late", "b", 1)
    pipe.execute_command("HPERSIST", "late", "FIELDS", 2, "a", "b")
    pipe.execute_command("HSETEX", "late", "PX", 300, "FIELDS", 1, "d", 4)
    pipe.execute_command("HPERSIST", "late", "FIELDS", 1, "d")
    pipe.restore("restored", 300, payload)
    pipe.persist("restored")
    pipe.set("set", 1, px=300)
    pipe.execute_command("GETEX", "set", "PX", 300)
    pipe.persist("set")
    pipe.hset("gone", mapping={"a": 1})
    pipe.execute_command("HPEXPIRE", "gone", 300, "FIELDS", 1, "a")
    pipe.execute()
    time.sleep(0.5)
    replica.resume()
    client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    wait_until("a field stays past its deadline", lambda: client.dbsize() == 6)
    expect_same("after it was late", master, replica)
    expect("fields", other.hgetall("late"), {b"a": b"1", b"b": b"6", b"d": b"4"})
    expect("counts", (other.hlen("late"), other.dbsize()), (3, client.dbsize()))


def check_setts(sett):
    """What another Sett says of its disk; what REPLICAOF does to who waits, and beside writes of a MULTI block."""
    master, replica = Node(sett), Node(sett)
    try:
        for node in (master, replica):
            node.start()
        client = master.client()
        client.set("alone", 1)
        expect("WAITAOF without replicas", client.execute_command("WAITAOF", 1, 0, 0), [1, 0])
        add_field_deadline(client)
        follow(replica, master.port)
        wait_until("no link", lambda: is_up(replica))
        expect("deadlines of fields", replica.client().execute_command("HPEXPIRETIME", "fields", "FIELDS", 2, "a", "b"),
               [4000000000000, -1])
        check_late_replica(master, replica)
        for i in range(3):
            client.set("durable", i)
            expect("WAITAOF there", client.execute_command("WAITAOF", 1, 1, 60000), [1, 1])
        other = replica.client()
        other.config_set("replica-read-only", "no")
        pipe = other.pipeline()
        pipe.execute_command("REPLICAOF", "NO", "ONE")
        pipe.set("beside", 1)
        try:
            pipe.execute()
            fail("a write beside REPLICAOF NO ONE")
        except redis.ResponseError as error:
            expect("the error", "can't become a master" in str(error), True)
        expect("the write", other.get("beside"), None)
        expect("the role", replica.info()["role"], "slave")
        with socket.create_connection(("127.0.0.1", master.port), PATIENCE) as waiting:
            waiting.sendall(b"SET waited 1\r\nWAIT 5 0\r\n")
            wait_until("nobody waits", lambda: client.info("clients")["blocked_clients"] == 1)
            pipe = other.pipeline()
            pipe.execute_command("REPLICAOF", "NO", "ONE")
            pipe.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            pipe.execute()
            follow(master, replica.port)
            said = b""
            while more := waiting.recv(1000):
                said += more
        expect("what WAIT says", said[:15], b"+OK\r\n-UNBLOCKED")
        expect_same("after they took turns", replica, master)
    finally:
        for node in (master, replica):
            node.clean_up()


def main():
    sett, redis_server = sys.argv[1:3]
    master, replica = Node(sett), Node(redis_server, "--save", "")
    try:
        for node in (master, replica):
            node.start()
        for check in (check_full_syncs, check_partial_syncs, check_waits, check_large_backlog, check_restarts):
            began = time.monotonic()
            check(master, replica)
            print("%s: %.1f s" % (check.__name__, time.monotonic() - began), flush=True)
        check_slow_replica(master)
        check_words_of_replicas(master)
        check_tools(master)
    finally:
        for node in (master, replica):
            node.clean_up()
    check_stuck_replica(sett)
    check_fork(sett, redis_server)
    check_setts(sett)
    check_field_deadlines(sett, redis_server)
    print("ok")


main()
