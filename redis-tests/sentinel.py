#!/usr/bin/env python3
"""redis-server's Sentinel watches a Sett master and its replicas: it fails over when the master is killed, and brings the old one
back as a replica. What it asks to be kept (CONFIG REWRITE in the block that changes the role) is in the files.

    sentinel.py SETT_SERVER REDIS_SERVER
"""
import sys

from own_server import wait_until
from replica_world import World, expect, follow, link_of
from sentinel_world import Sentinel, with_file

SECONDS = 90


def directive(server):
    with open(server.configuration) as f:
        return [line for line in f.read().splitlines() if line.startswith("replicaof")]


def check_failover(world, nodes, sentinel):
    old, others = nodes[0], nodes[1:]
    wait_until("the sentinel does not come up", sentinel.answers)
    wait_until("the sentinel does not find the replicas", lambda: sentinel.knows_replicas(2), SECONDS)
    old.connect().set("before", "1")
    wait_until("nothing is replicated", lambda: all(s.connect().get("before") == b"1" for s in others))
    old.kill()
    wait_until("there is no failover", lambda: sentinel.master_port() != old.port, SECONDS)
    new = [s for s in others if s.port == sentinel.master_port()][0]
    other = [s for s in others if s is not new][0]
    wait_until("the new master is none", lambda: link_of(new)["role"] == "master")
    expect("what was there before", new.connect().get("before"), b"1")
    new.connect().set("after", "2")
    wait_until("the other replica does not follow", lambda: other.connect().get("after") == b"2", SECONDS)
    old.start()
    wait_until("the old master does not follow",
               lambda: link_of(old)["role"] == "slave" and old.connect().get("after") == b"2", SECONDS)
    followed = ["replicaof 127.0.0.1 %d" % new.port]
    wait_until("the files do not say who is followed",
               lambda: directive(new) == [] and directive(other) == followed and directive(old) == followed, SECONDS)


def main(sett_server, redis_server):
    world = World(sett_server, redis_server, 1)
    sentinel = None
    try:
        nodes = [with_file(world.sett()) for _ in range(3)]
        for node in nodes:
            node.start()
        for replica in nodes[1:]:
            follow(replica, nodes[0].port)
            wait_until("no link", lambda: link_of(replica)["master_link_status"] == "up")
        sentinel = Sentinel(redis_server, nodes[0])
        check_failover(world, nodes, sentinel)
    finally:
        if sentinel is not None:
            sentinel.clean_up()
        world.clean_up()
    print("failed over")


main(*sys.argv[1:])
