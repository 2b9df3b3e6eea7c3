#!/usr/bin/env python3
"""redis-server's Sentinel watches a Sett master and its replicas: it fails over when the master is killed, and brings the old one
back as a replica. What it asks to be kept (CONFIG REWRITE in the block that changes the role) is in the files.

    sentinel.py SETT_SERVER REDIS_SERVER
"""
import os
import subprocess
import sys

import redis

from own_server import wait_until
from replica_world import World, expect, follow, free_port, link_of

SECONDS = 90


def node(world):
    """A server with a file of its own, which comes first in its command."""
    server = world.sett()
    server.port = free_port()
    server.configuration = server.directory + "/node.conf"
    with open(server.configuration, "w") as f:
        f.write("# a node\n")
    script = server.directory + "/run"
    with open(script, "w") as f:
        f.write("#!/bin/sh\nexec %s %s \"$@\"\n" % (os.path.abspath(server.program), server.configuration))
    os.chmod(script, 0o755)
    server.program = script
    server.options += ["--port", str(server.port)]
    server.start()
    return server


def directive(server):
    with open(server.configuration) as f:
        return [line for line in f.read().splitlines() if line.startswith("replicaof")]


def start_sentinel(world, master):
    port, directory = free_port(), master.directory
    path = directory + "/sentinel.conf"
    with open(path, "w") as f:
        f.write("port %d\ndir %s\nlogfile %s/sentinel.log\nsentinel monitor it 127.0.0.1 %d 1\n"
                "sentinel down-after-milliseconds it 1500\nsentinel failover-timeout it 10000\n"
                % (port, directory, directory, master.port))
    process = subprocess.Popen([world.redis_server, path, "--sentinel"], stdout=subprocess.DEVNULL)
    return process, redis.Redis(port=port, socket_timeout=30)


def answers(client):
    try:
        return client.ping()
    except redis.RedisError:
        return False


def check_failover(world, nodes, sentinel):
    old, others = nodes[0], nodes[1:]
    wait_until("the sentinel does not come up", lambda: answers(sentinel))
    wait_until("the sentinel does not find the replicas",
               lambda: len(sentinel.execute_command("SENTINEL", "REPLICAS", "it")) == 2, SECONDS)
    old.connect().set("before", "1")
    wait_until("nothing is replicated", lambda: all(s.connect().get("before") == b"1" for s in others))
    old.kill()
    port = lambda: sentinel.sentinel_get_master_addr_by_name("it")[1]
    wait_until("there is no failover", lambda: port() != old.port, SECONDS)
    new = [s for s in others if s.port == port()][0]
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
        nodes = [node(world) for _ in range(3)]
        for replica in nodes[1:]:
            follow(replica, nodes[0].port)
            wait_until("no link", lambda: link_of(replica)["master_link_status"] == "up")
        sentinel, client = start_sentinel(world, nodes[0])
        check_failover(world, nodes, client)
    finally:
        if sentinel is not None:
            sentinel.kill()
            sentinel.wait()
        world.clean_up()
    print("failed over")


main(*sys.argv[1:])
