"""Masters and replicas, Sett's and redis-server's, for tests that compare them at equal offsets."""
import random
import shutil
import threading
import time

import redis

from own_server import Server, expect, fail, free_port, wait_until
from relay import Relay
from values import digest


class Logged(Server):
    """A server whose log is kept."""

    def __init__(self, program, *options):
        super().__init__(program, *options)
        self.log = self.directory + "/log"
        self.options += ["--logfile", self.log]

    def clean_up(self):
        died = self.process.poll() if self.process is not None else None
        super().clean_up()
        if died not in (None, 0, -9):
            fail("%s died: %d" % (self.program, died))

    def log_text(self):
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""


class World:
    def __init__(self, sett_server, redis_server, seed):
        self.sett_server, self.redis_server, self.seed = sett_server, redis_server, seed
        self.random = random.Random(seed)
        self.servers, self.relays = [], []

    def server(self, server):
        self.servers.append(server)
        return server

    def sett(self, *options):
        return self.server(Logged(self.sett_server, "--enable-debug-command", "yes", *options))

    def redis(self, *options):
        server = self.server(Logged(self.redis_server, "--save", "", "--enable-debug-command", "yes", "--port", free_port(),
                                    "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "300mb", *options))
        server.port = int(server.options[server.options.index("--port") + 1])
        return server

    def relay(self, port):
        relay = Relay(port)
        self.relays.append(relay)
        return relay

    def clean_up(self):
        for relay in self.relays:
            relay.close()
        for server in self.servers:
            server.clean_up()

    def redis_with_content_of(self, sett):
        """By way of a file. It leaves out what is past its deadline."""
        sett.connect(timeout=300).execute_command("SAVE")
        other = self.redis()
        shutil.copy(sett.data + "/dump.rdb", other.directory + "/dump.rdb")
        other.start()
        return other

    def digest_of(self, sett):
        """What redis-server makes of Sett's content."""
        other = self.redis_with_content_of(sett)
        found = digest(other)
        other.clean_up()
        return found


class Writer(threading.Thread):
    """Writes of all types, MULTI blocks, scripts and deadlines, until it is stopped."""

    def __init__(self, master, seed):
        super().__init__(daemon=True)
        self.master, self.random = master, random.Random(seed)
        self.stopped = threading.Event()
        self.failure, self.rounds = None, 0

    def commands(self, pipeline):
        r = self.random
        key = lambda kind: "%s:%d" % (kind, r.randrange(60))
        for _ in range(30):
            choice = r.randrange(12)
            if choice == 0:
                pipeline.set(key("text"), r.randbytes(r.choice((1, 10, 1000, 30000))))
            elif choice == 1:
                pipeline.incrby(key("number"), r.randrange(1000))
            elif choice == 2:
                pipeline.rpush(key("list"), *[r.randrange(1000) for _ in range(r.randrange(1, 20))])
            elif choice == 3:
                pipeline.lpop(key("list"), r.randrange(1, 10))
            elif choice == 4:
                pipeline.sadd(key("set"), *[r.randrange(5000) for _ in range(r.randrange(1, 20))])
            elif choice == 5:
                pipeline.spop(key("set"), r.randrange(1, 5))
            elif choice == 6:
                pipeline.zadd(key("zset"), {"m%d" % r.randrange(500): r.random() for _ in range(5)})
            elif choice == 7:
                pipeline.hset(key("hash"), mapping={"f%d" % r.randrange(500): r.random() for _ in range(5)})
            elif choice == 8:
                pipeline.xadd(key("stream"), {"f": r.randrange(1000)}, maxlen=100)
            elif choice == 9:
                pipeline.pexpire(key(r.choice(("text", "list", "hash"))), r.choice((1, 50, 10**8)))
            elif choice == 10:
                pipeline.delete(key(r.choice(("text", "list", "set", "zset", "hash"))))
            else:
                pipeline.eval("redis.call('INCR', KEYS[1]) redis.call('APPEND', KEYS[2], 'x')", 2, key("number"), key("more"))

    def run(self):
        clients = [self.master.connect(db=db) for db in (0, 0, 3)]
        while not self.stopped.is_set():
            pipeline = self.random.choice(clients).pipeline(transaction=self.random.randrange(4) == 0)
            self.commands(pipeline)
            try:
                pipeline.execute()
            except redis.RedisError as error:
                self.failure = error
                return
            self.rounds += 1
            time.sleep(0.002)

    def stop(self):
        self.stopped.set()
        self.join(180)
        if self.failure is not None:
            fail("a write failed: %s" % self.failure)


def link_of(sett):
    return sett.connect().info("replication")


def follow(sett, port):
    expect("REPLICAOF", sett.connect().execute_command("REPLICAOF", "127.0.0.1", str(port)), b"OK")


def is_level(sett, master):
    """It has applied all that the master has said."""
    found = link_of(sett)
    return (found["role"] == "slave" and found["master_link_status"] == "up"
            and found["slave_repl_offset"] == master.connect().info("replication")["master_repl_offset"])


def wait_level(what, sett, master):
    wait_until("it does not come level " + what, lambda: is_level(sett, master))


def stop_expiring(master):
    """So that two digests are of one moment: keys past their deadlines stay."""
    master.connect().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")


def expect_equal(world, what, sett, master):
    for _ in range(20):
        wait_level(what, sett, master)
        wanted, found = digest(master), world.digest_of(sett)
        if wanted == found:
            return
        # A PING, or a key past its deadline, may come between.
        time.sleep(0.2)
    fail("the data differ " + what)


def count_syncs(master):
    stats = master.connect().info("stats")
    return stats["sync_full"], stats["sync_partial_ok"]
