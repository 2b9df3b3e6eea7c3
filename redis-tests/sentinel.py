#!/usr/bin/env python3
"""redis-server's Sentinel watches a Sett master and its replicas: it fails over when the master is killed, and brings the old one
back as a replica. What it asks to be kept (CONFIG REWRITE in the block that changes the role) is in the files. redis-py, which
knows the Sentinel alone, follows.

    sentinel.py SETT_SERVER REDIS_SERVER
"""
import sys
import threading
import time

import redis
from redis.sentinel import Sentinel as SentinelClient

from own_server import fail, wait_until
from replica_world import expect
from sentinel_world import SECONDS, Watched, seen

NUMBERS = 30


def directive(server):
    with open(server.configuration) as f:
        return [line for line in f.read().splitlines() if line.startswith("replicaof")]


class Client(threading.Thread):
    """Writes numbers to whoever is the master, and keeps those that both replicas have; each of these it reads from a replica."""

    def __init__(self, sentinel_port):
        super().__init__(daemon=True)
        seeker = SentinelClient([("127.0.0.1", sentinel_port)], socket_timeout=5)
        self.master, self.replica = seeker.master_for("it"), seeker.slave_for("it")
        self.confirmed, self.lacking = [], []
        self.stopped = threading.Event()

    def run(self):
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                # Over one connection: alone, WAIT would speak for a write that it did not follow.
                pipeline = self.master.pipeline(transaction=False)
                pipeline.sadd("seen", number)
                pipeline.execute_command("WAIT", 2, 1000)
                if pipeline.execute()[1] < 2:
                    continue
                self.confirmed.append(number)
                if not self.replica.sismember("seen", number):
                    self.lacking.append(number)
            except redis.RedisError:
                time.sleep(0.05)

    def wait_for_more(self):
        wanted = len(self.confirmed) + NUMBERS
        wait_until("redis-py does not follow", lambda: len(self.confirmed) >= wanted, SECONDS)


def check_failover(watched):
    old = watched.nodes[0]
    old.connect().set("before", "1")
    wait_until("nothing is replicated", lambda: all(s.connect().get("before") == b"1" for s in watched.nodes[1:]))
    new = watched.fail_over()
    wait_until("what was there before is not", seen(lambda: new.connect().get("before") == b"1"))
    wait_until("nothing can be written", seen(lambda: new.connect().set("after", "2")))
    others = [s for s in watched.nodes if s is not new]
    wait_until("the others do not follow", seen(lambda: all(s.connect().get("after") == b"2" for s in others)), SECONDS)
    followed = ["replicaof 127.0.0.1 %d" % new.port]
    wait_until("the files do not say who is followed",
               lambda: directive(new) == [] and all(directive(s) == followed for s in others), SECONDS)


def main(sett_server, redis_server):
    with Watched(sett_server, redis_server) as watched:
        client = Client(watched.sentinel.port)
        client.start()
        client.wait_for_more()
        check_failover(watched)
        client.wait_for_more()
        new = watched.fail_over()
        client.wait_for_more()
        client.stopped.set()
        client.join(SECONDS)
        present = {int(n) for n in new.connect().smembers("seen")}
        lost = [n for n in client.confirmed if n not in present]
        if lost or client.lacking:
            fail("lost %r, lacking at a replica %r, of %d" % (lost, client.lacking, len(client.confirmed)))
    print("failed over; redis-py followed")


main(*sys.argv[1:])
