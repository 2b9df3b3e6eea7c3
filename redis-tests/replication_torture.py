#!/usr/bin/env python3
"""Replication under all that may happen to it: random writes of all types to the master, while replicas are killed, links cut and
slowed, the master is killed, its power cut with replicas ahead of what it has synced, and others take its place.

At the end of each round all have the same data at the same offset, and nothing is lost that was confirmed:

- by a reply, where a master that was killed comes back;
- by WAITAOF, where a master comes back whose power was cut;
- by WAIT for all its replicas, where one of them takes its place.

    replication_torture.py SETT_SERVER REDIS_SERVER SHIM [--rounds N] [--seed N] [--progress FILE] [--sentinel]

With a file for its progress a run that was stopped goes on behind the last round that was good. Sentinel's rounds have it choose
who takes the master's place.
"""
import argparse
import os
import random
import sys
import threading
import time

import redis

from cut_disk import OnCutDisk
from own_server import fail, wait_until
from relay import Relay
from replica_world import World, Writer, follow, free_port, link_of, stop_expiring
from sentinel_world import Sentinel, seen, with_file
from values import digest

ROUNDS_PER_WORLD = 10
CATCH_UP_SECONDS = 240
CALM_SECONDS = 30  # after so long the links are left alone: one that is cut more often than a full sync takes never gets there
TRACE = "trace:%d"
# What a client may be told while roles change.
PASSING = ("read only replica", "READONLY", "loading", "LOADING", "UNBLOCKED", "MASTERDOWN", "NOREPLICAS", "NOMASTERLINK", "WAIT cannot", "WAITAOF cannot",
           "EXECABORT")


class Confirmed:
    """Numbers of a writer's that have to be there, by who has confirmed them."""

    def __init__(self):
        self.replied, self.durable, self.everywhere = set(), set(), set()

    def keep(self, present):
        for numbers in (self.replied, self.durable, self.everywhere):
            numbers &= present


class Tracer(Writer):
    """Writes numbers beside other data, and notes which were confirmed. `world.master` says where; None: nowhere for now."""

    def __init__(self, world, number, seed, field_deadlines):
        super().__init__(None, seed)
        self.world, self.number, self.field_deadlines = world, number, field_deadlines
        self.trace = TRACE % number
        self.last = 0
        self.confirmed = Confirmed()
        self.lock = threading.Lock()  # held while it writes

    def add_more(self, pipeline):
        """What Redis 7.0 does not know, or the other writers do not write."""
        r = self.random
        if self.field_deadlines:
            key = "fields:%d" % r.randrange(20)
            pipeline.execute_command("HSET", key, "f%d" % r.randrange(50), r.random(), "g%d" % r.randrange(50), "x" * r.randrange(100))
            pipeline.execute_command("HPEXPIRE", key, r.choice((1, 100, 10**7)), "FIELDS", 1, "f%d" % r.randrange(50))
            pipeline.execute_command("HPERSIST", key, "FIELDS", 1, "f%d" % r.randrange(50))
        choice = r.randrange(8)
        if choice == 0:
            pipeline.execute_command("SET", "long:%d" % r.randrange(3), r.randbytes(r.choice((200000, 1200000))))
        elif choice == 1:
            pipeline.execute_command("SETRANGE", "long:%d" % r.randrange(3), r.randrange(300000), r.randbytes(2000))
        elif choice == 2:
            pipeline.execute_command("SUNIONSTORE", "set:union", *["set:%d" % r.randrange(60) for _ in range(10)])
        elif choice == 3:
            pipeline.execute_command("RENAME", "renamed", "renamed:to") if r.randrange(2) else pipeline.set("renamed", r.random())
        elif choice == 4 and r.randrange(10) == 0:
            pipeline.execute_command("FLUSHDB" if r.randrange(4) else "PING")
        elif choice == 5:
            pipeline.execute_command("PUBLISH", "channel", "text")

    def run(self):
        clients = {}
        while not self.stopped.is_set():
            with self.lock:
                master, replicas = self.world.master, self.world.direct_count
                if master is not None and not self.write(clients, master, replicas):
                    clients = {}
            time.sleep(0.003 if master is not None else 0.02)

    def write(self, clients, master, replicas):
        """Whether the connections are still good."""
        try:
            for db in (0, 3):
                if (master, db) not in clients:
                    clients[master, db] = redis.Redis(port=master.port, db=db, socket_timeout=20, single_connection_client=True)
                    clients[master, "unconfirmed"] = set()
            self.write_to(clients[master, self.random.choice((0, 0, 3))], clients[master, 0], clients[master, "unconfirmed"], replicas)
            return True
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return False  # of RENAME; the connection has more replies to give
            if not any(text in str(error) for text in PASSING):
                self.failure = error
                self.stopped.set()
        except redis.RedisError:
            pass
        return False

    def write_to(self, any_client, client, unconfirmed, replicas):
        r = self.random
        pipeline = any_client.pipeline(transaction=r.randrange(4) == 0)
        self.commands(pipeline)
        if any_client is not client:
            self.add_more(pipeline)
        pipeline.execute()
        self.last += 1
        number = self.last
        client.sadd(self.trace, number)
        self.confirmed.replied.add(number)
        unconfirmed.add(number)
        self.rounds += 1
        choice = r.randrange(12)
        if choice == 0 and replicas > 0:
            if client.execute_command("WAIT", replicas, 2000) >= replicas:
                self.confirmed.everywhere |= unconfirmed
        elif choice == 1 and self.world.master_is_sett:
            if client.execute_command("WAITAOF", 1, 0, 2500)[0] >= 1:
                self.confirmed.durable |= unconfirmed

    def stop(self):
        self.stopped.set()
        self.join(180)
        if self.failure is not None:
            fail("a write failed: %s" % self.failure)


class Node:
    """A server, and the link over which it follows another one."""

    def __init__(self, server, is_sett):
        self.server, self.is_sett = server, is_sett
        self.relay, self.above = None, None

    def follow(self, above):
        """Over the same link, which leads elsewhere now."""
        if self.relay is None:
            self.relay = Relay(above.server.port)
        self.above = above
        self.relay.target_port = above.server.port
        options = self.server.options
        if "--replicaof" in options:
            self.relay.cut()
        else:
            options += ["--replicaof", "127.0.0.1 %d" % self.relay.port]
            self.server.connect().execute_command("REPLICAOF", "127.0.0.1", self.relay.port)

    def lead(self):
        self.above = None
        self.forget_master()
        self.server.connect().execute_command("REPLICAOF", "NO", "ONE")

    def forget_master(self):
        options = self.server.options
        if "--replicaof" in options:
            at = options.index("--replicaof")
            del options[at:at + 2]


def shown(client, key):
    """What a server has under a key, for people."""
    reads = {b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",), b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
             b"hash": ("HGETALL",), b"stream": ("XINFO", "STREAM", "FULL")}
    kind = client.type(key)
    if kind not in reads:
        return kind
    name, *rest = reads[kind]
    words = (name, rest[0], key, *rest[1:]) if name == "XINFO" else (name, key, *rest)
    return "%s, until %s: %s" % (kind, client.execute_command("PEXPIRETIME", key), repr(client.execute_command(*words))[:2000])


def tell_differences(servers):
    """Which keys the servers do not have alike."""
    told, names = 0, []
    for db in (0, 3):
        print("keys in database %d: %r" % (db, [s.connect(db=db).dbsize() for s in servers]))
        clients = [s.connect(db=db) for s in servers]
        for key in sorted({key for client in clients for key in client.scan_iter(count=1000)}):
            digests = [client.execute_command("DEBUG", "DIGEST-VALUE", key)[0] for client in clients]
            if len(set(digests)) > 1 or len({client.execute_command("PEXPIRETIME", key) for client in clients}) > 1:
                told += 1
                names.append((db, key))
                for client, found in zip(clients, digests) if told <= 5 else ():
                    print("db %d, %r: %s %s" % (db, key, found, shown(client, key)))
    print("%d keys differ: %r" % (told, names[:200]))


class Torture:
    """One world: servers that live for some rounds."""

    def __init__(self, arguments, seed):
        self.world = World(arguments.sett_server, arguments.redis_server, seed)
        self.shim = arguments.shim
        self.random = random.Random(seed)
        self.master, self.direct_count, self.master_is_sett = None, 0, True
        self.nodes, self.writers = [], []
        self.head = None
        self.cuts_that_took = 0
        self.calm = threading.Event()
        self.lines = []

    # ---- the servers ----

    def say(self, text):
        self.lines.append("%.2f %s" % (time.monotonic() % 1000, text))

    def bare_sett(self):
        server = OnCutDisk(self.shim, self.world.sett_server, "--enable-debug-command", "yes", "--appendfsync", "everysec",
                           "--repl-backlog-size", self.random.choice(("1mb", "300mb")), "--repl-diskless-sync-delay", "0",
                           "--io-threads", self.random.choice((1, 2)))
        return self.world.server(server)

    def sett(self):
        server = self.bare_sett()
        server.port = free_port()
        server.options += ["--port", str(server.port)]
        return Node(server, True)

    def redis(self):
        return Node(self.world.redis(), False)

    def build(self):
        kind = self.random.randrange(5)
        if kind == 0:
            self.nodes = [self.redis(), self.sett(), self.sett(), self.redis()]
            above = (0, 1, self.random.choice((1, 2)))
        else:
            self.nodes = [self.sett(), self.sett(), self.sett()] + ([] if kind == 1 else [self.redis()])
            above = (0, self.random.choice((0, 0, 1)), self.random.choice((0, 1, 2)))
        self.field_deadlines = kind == 1
        for node in self.nodes:
            node.server.start()
        self.head = self.nodes[0]
        for node, number in zip(self.nodes[1:], above):
            node.follow(self.nodes[number])
            self.wait_caught_up("when it begins", [node])
        self.say("world of kind %d, above %s" % (kind, above[:len(self.nodes) - 1]))

    def name(self, node):
        return "%s %d" % ("sett" if node.is_sett else "redis", self.nodes.index(node))

    def below(self, node):
        return [n for n in self.nodes if n.above is node]

    def open_master(self):
        """Writers may go on."""
        self.direct_count = len(self.below(self.head))
        self.master_is_sett = self.head.is_sett
        self.master = self.head.server

    def shut_master(self):
        """Writers get errors from who goes; none goes on until all is well. What they have noted then is complete."""
        self.master = None

    def writers_are_idle(self):
        for writer in self.writers:
            with writer.lock:
                pass

    def is_caught_up(self, node, offset):
        try:
            state = link_of(node.server)
            return state["role"] == "slave" and state["master_link_status"] == "up" and state["slave_repl_offset"] >= offset
        except redis.RedisError:
            return False

    def wait_caught_up(self, what, nodes=None):
        """All of them, or those given, have what the master has said by now. From the top: what is below may sync again."""
        offset = link_of(self.head.server)["master_repl_offset"]
        calm = threading.Timer(CALM_SECONDS, self.calm_down)
        calm.daemon = True
        calm.start()
        for node in nodes if nodes is not None else self.nodes:
            if node is not self.head:
                wait_until("%s does not catch up %s" % (self.name(node), what), lambda: self.is_caught_up(node, offset),
                           CATCH_UP_SECONDS)
        calm.cancel()
        self.calm.clear()

    def calm_down(self):
        self.say("the links are left alone")
        self.calm.set()

    # ---- what happens ----

    def present(self, writer):
        return {int(n) for n in self.head.server.connect().smembers(writer.trace)}

    def check(self, what, required):
        """`required` of each writer's confirmed numbers are there; what is not is forgotten."""
        self.writers_are_idle()
        for writer in self.writers:
            present = self.present(writer)
            missing = getattr(writer.confirmed, required) - present
            if missing:
                fail("%s: %d of %d numbers that were confirmed (%s) are lost: %s of %d" % (
                    what, len(missing), len(getattr(writer.confirmed, required)), required, sorted(missing)[:20], writer.last))
            if writer.confirmed.replied - present:
                self.cuts_that_took += 1
            writer.confirmed.keep(present)

    def take_down(self, node, cuts_power):
        if cuts_power and node.is_sett:
            node.server.cut_power()
        else:
            node.server.kill()

    def down_replica(self):
        node = self.random.choice([n for n in self.nodes if n is not self.head])
        cuts_power = self.random.randrange(2) == 0
        self.say("%s is killed%s" % (self.name(node), ", power cut" if cuts_power else ""))
        self.take_down(node, cuts_power)
        time.sleep(self.random.choice((0, 0.3)))
        node.server.start()

    def down_master(self):
        """And it comes back. redis-server would forget all."""
        if not self.head.is_sett:
            return self.replace_master()
        cuts_power = self.random.randrange(3) > 0
        self.say("the master %s is killed%s" % (self.name(self.head), ", power cut" if cuts_power else ""))
        if cuts_power:
            time.sleep(self.random.random())
        self.take_down(self.head, cuts_power)
        self.shut_master()
        self.head.server.start()
        self.check("the master is back", "durable" if cuts_power else "replied")
        self.open_master()

    def replace_master(self):
        old = self.head
        heirs = [n for n in self.below(old) if n.is_sett]
        if not heirs:
            return self.say("nobody can take the master's place")
        cuts_power = self.random.randrange(2) == 0
        self.say("the master %s falls away%s" % (self.name(old), ", power cut" if cuts_power else ""))
        self.take_down(old, cuts_power)
        self.shut_master()
        heir = max(heirs, key=lambda n: link_of(n.server)["slave_repl_offset"])
        heir.lead()
        self.head = heir
        self.say("%s leads" % self.name(heir))
        self.check("another is the master", "everywhere")
        others = [n for n in self.nodes if n.above is old]
        for node in others:
            node.follow(self.random.choice([heir] + [n for n in self.below(heir) if n is not node]))
        self.come_back(old)
        self.open_master()

    def come_back(self, old):
        """As a replica: told so at once, or after it has been a master for a moment."""
        if old.relay is not None and self.random.randrange(2) == 0:
            old.server.options += ["--replicaof", "127.0.0.1 %d" % old.relay.port]
            old.relay.target_port = self.head.server.port
        old.server.start()
        old.follow(self.head)

    def switch(self):
        """Without a fall: a replica is made the master while the old one still takes writes."""
        heirs = [n for n in self.below(self.head) if n.is_sett]
        if not heirs:
            return
        old, heir = self.head, self.random.choice(heirs)
        self.say("%s leads in place of %s" % (self.name(heir), self.name(old)))
        heir.lead()
        old.follow(heir)
        self.shut_master()
        self.head = heir
        for node in self.nodes:
            if node.above is old:
                node.follow(heir)
        self.wait_caught_up("after a switch", [old])
        self.check("after a switch", "everywhere")
        self.open_master()

    def disturb(self, stop, seed):
        r = random.Random(seed)
        while not stop.wait(r.random() * 0.8):
            if self.calm.is_set():
                continue
            relays = [n.relay for n in self.nodes if n.relay is not None]
            relay, choice = r.choice(relays), r.randrange(4)
            if choice == 0:
                relay.cut()
            elif choice == 1:
                relay.shut()
                stop.wait(r.random())
                relay.mend()
            else:
                relay.pause = r.choice((0.002, 0.02))
                stop.wait(r.random())
                relay.pause = 0

    # ---- rounds ----

    def expect_equal(self):
        redis_nodes = [n for n in self.nodes if not n.is_sett]
        time.sleep(0.2)  # what was to last for a moment is gone
        stop_expiring(self.head.server)
        for attempt in range(20):
            self.forget_expired()
            self.wait_level()
            digests = [digest(n.server) for n in self.nodes if n.is_sett]
            as_redis = [digest(n.server) for n in redis_nodes]
            if redis_nodes:
                as_redis.append(self.world.digest_of(self.random.choice([n for n in self.nodes if n.is_sett]).server))
            if len(set(digests)) == 1 and len(set(as_redis)) <= 1:
                break
            time.sleep(0.2)  # a PING, or a key past its deadline, may come between
        else:
            setts = [n.server for n in self.nodes if n.is_sett]
            tell_differences(setts)
            if redis_nodes:
                tell_differences([n.server for n in redis_nodes] + [self.world.redis_with_content_of(s) for s in setts])
            fail("the data differ at equal offsets: %r, to redis-server %r" % (digests, as_redis))
        self.head.server.connect().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")

    def forget_expired(self):
        """redis-server as a master keeps keys past their deadlines until it meets them; one that loads a file leaves them out."""
        if not self.head.is_sett:
            for db in (0, 3):
                client = self.head.server.connect(db=db)
                for key in client.scan_iter(count=1000):
                    client.exists(key)

    def wait_level(self):
        def are_level():
            offset = link_of(self.head.server)["master_repl_offset"]
            return all(link_of(n.server)["master_repl_offset"] == offset for n in self.nodes)
        self.wait_caught_up("at the end")
        wait_until("they do not come level", are_level, CATCH_UP_SECONDS)

    def happen(self):
        events = (self.down_replica, self.down_replica, self.down_master, self.down_master, self.replace_master, self.switch)
        for _ in range(self.random.randrange(1, 4)):
            time.sleep(0.3 + self.random.random())
            self.random.choice(events)()
            self.wait_caught_up("after an event")

    def round(self, number):
        self.random = random.Random(number)
        first = 1 + self.random.randrange(1000) * 10
        self.head.server.connect().delete(*[TRACE % (first + i) for i in range(2)])
        self.writers = [Tracer(self, first + i, number * 10 + i, self.field_deadlines) for i in range(2)]
        stop = threading.Event()
        disturber = threading.Thread(target=self.disturb, args=(stop, number), daemon=True)
        self.open_master()
        for thread in self.writers + [disturber]:
            thread.start()
        self.happen()
        stop.set()
        disturber.join()
        for writer in self.writers:
            writer.stop()
        self.expect_equal()
        self.check("at the end of the round", "replied")
        self.master = None

    def clean_up(self):
        self.master = None
        for writer in self.writers:
            writer.stopped.set()
        for node in self.nodes:
            if node.relay is not None:
                node.relay.close()
        self.world.clean_up()

    def tell(self):
        print("\n".join(self.lines))
        for node in self.nodes:
            print("-- %s, port %d\n%s" % (self.name(node), node.server.port, node.server.log_text()[-6000:]))
        sys.stdout.flush()


class SentinelTorture(Torture):
    """Three Setts, of which a Sentinel makes a replica the master when that one falls away."""

    def build(self):
        self.field_deadlines = False
        self.nodes = [Node(with_file(self.bare_sett()), True) for _ in range(3)]
        self.head = self.nodes[0]
        for node in self.nodes:
            node.server.start()
        for node in self.nodes[1:]:
            follow(node.server, self.head.server.port)
        self.wait_caught_up("when it begins")
        self.sentinel = Sentinel(self.world.redis_server, self.head.server, 4000, 5000)
        wait_until("the sentinel does not come up", self.sentinel.answers)
        wait_until("the sentinel does not find the replicas", lambda: self.sentinel.knows_replicas(2), CATCH_UP_SECONDS)

    def below(self, node):
        return [n for n in self.nodes if n is not node]

    def happen(self):
        time.sleep(0.5 + self.random.random())
        old, cuts_power = self.head, self.random.randrange(2) == 0
        self.say("the master %s falls away%s" % (self.name(old), ", power cut" if cuts_power else ""))
        self.take_down(old, cuts_power)
        self.shut_master()
        wait_until("there is no failover", lambda: self.sentinel.master_port() != old.server.port, CATCH_UP_SECONDS)
        self.head = [n for n in self.nodes if n.server.port == self.sentinel.master_port()][0]
        wait_until("the new master is none", seen(lambda: link_of(self.head.server)["role"] == "master"))
        self.say("%s leads" % self.name(self.head))
        self.check("the Sentinel has chosen another master", "everywhere")
        old.server.start()
        self.open_master()
        self.wait_caught_up("after a fail-over")

    def disturb(self, stop, seed):
        """Links are cut from within: Sentinel is to know the ports."""
        r = random.Random(seed)
        while not stop.wait(0.2 + r.random()):
            if self.calm.is_set():
                continue
            try:
                r.choice(self.nodes).server.connect().execute_command("CLIENT", "KILL", "TYPE", r.choice(("master", "replica")))
            except redis.RedisError:
                pass

    def clean_up(self):
        if hasattr(self, "sentinel"):
            self.sentinel.clean_up()
        super().clean_up()


def check_shim(arguments):
    """It knows of every call that writes: after a stop in good order all is synced. What was not, a cut takes back."""
    world = World(arguments.sett_server, arguments.redis_server, 1)
    server = world.server(OnCutDisk(arguments.shim, arguments.sett_server, "--appendfsync", "everysec"))
    try:
        server.start()
        client = server.connect()
        for i in range(100):
            client.set("key:%d" % i, os.urandom(5000))
        server.stop()
        server.expect_synced()
        server.start()
        client.set("kept", 1)
        client.execute_command("WAITAOF", 1, 0, 0)
        lost = 0
        for i in range(20):
            client.set("n", i)
            server.cut_power()
            server.start()
            if client.get("kept") != b"1":
                fail("what was synced is gone")
            lost += client.get("n") != b"%d" % i
            if lost > 0:
                return
        fail("a cut takes nothing back")
    finally:
        world.clean_up()


def run(arguments, make, first):
    """Rounds [first, arguments.rounds)."""
    torture, took = None, 0
    for number in range(first, arguments.rounds):
        if torture is None:
            torture = make(arguments, arguments.seed * 100000 + number)
        try:
            if not torture.nodes:
                torture.build()
            torture.round(arguments.seed * 100000 + number)
        except BaseException:
            print("round %d of seed %d" % (number, arguments.seed))
            torture.tell()
            torture.clean_up()
            raise
        took += torture.cuts_that_took
        torture.cuts_that_took = 0
        if arguments.progress is not None:
            with open(arguments.progress, "w") as f:
                f.write("%d\n" % (number + 1))
        if (number + 1) % ROUNDS_PER_WORLD == 0 or number + 1 == arguments.rounds:
            torture.clean_up()
            torture = None
    return took


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sett_server")
    parser.add_argument("redis_server")
    parser.add_argument("shim", type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--progress")
    parser.add_argument("--sentinel", action="store_true")
    arguments = parser.parse_args()
    first = 0
    if arguments.progress is not None and os.path.exists(arguments.progress):
        with open(arguments.progress) as f:
            first = int(f.read())
    check_shim(arguments)
    took = run(arguments, SentinelTorture if arguments.sentinel else Torture, first)
    print("%d rounds; unconfirmed writes were taken back %d times" % (arguments.rounds - first, took))


if __name__ == "__main__":
    main()
