"""Servers that redis-server's Sentinel watches."""
import os
import subprocess

import redis

from own_server import wait_until
from replica_world import World, follow, free_port, link_of

SECONDS = 240


def with_file(server):
    """The server gets a port, and a file of its own, which comes first in its command."""
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
    return server


def seen(look):
    """What it returns, for wait_until. Sentinel closes the connections of clients where it has changed a role."""
    def tried():
        try:
            return look()
        except redis.ConnectionError:
            return False
    return tried


class Sentinel:
    """One that watches `it`, whose master is given, and decides alone."""

    def __init__(self, redis_server, master, down_after_ms=5000, failover_timeout_ms=10000):
        port, directory = free_port(), master.directory
        self.port = port
        path = directory + "/sentinel.conf"
        with open(path, "w") as f:
            f.write("port %d\ndir %s\nlogfile %s/sentinel.log\nsentinel monitor it 127.0.0.1 %d 1\n"
                    "sentinel down-after-milliseconds it %d\nsentinel failover-timeout it %d\n"
                    % (port, directory, directory, master.port, down_after_ms, failover_timeout_ms))
        self.process = subprocess.Popen([redis_server, path, "--sentinel"], stdout=subprocess.DEVNULL)
        self.client = redis.Redis(port=port, socket_timeout=180)

    def answers(self):
        try:
            return self.client.ping()
        except redis.RedisError:
            return False

    def knows_replicas(self, count):
        return len(self.client.execute_command("SENTINEL", "REPLICAS", "it")) == count

    def master_port(self):
        return self.client.sentinel_get_master_addr_by_name("it")[1]

    def clean_up(self):
        self.process.kill()
        self.process.wait()


class Watched:
    """A master with two replicas, which a Sentinel watches."""

    def __init__(self, sett_server, redis_server):
        self.world = World(sett_server, redis_server, 1)
        self.sentinel = None

    def __enter__(self):
        try:
            self.nodes = [with_file(self.world.sett()) for _ in range(3)]
            for node in self.nodes:
                node.start()
            for replica in self.nodes[1:]:
                follow(replica, self.nodes[0].port)
            for replica in self.nodes[1:]:
                wait_until("no link", lambda: link_of(replica)["master_link_status"] == "up")
            self.sentinel = Sentinel(self.world.redis_server, self.nodes[0])
            wait_until("the sentinel does not come up", self.sentinel.answers)
            wait_until("the sentinel does not find the replicas", lambda: self.sentinel.knows_replicas(2), SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.sentinel is not None:
            self.sentinel.clean_up()
        self.world.clean_up()

    def node_at(self, port):
        return [n for n in self.nodes if n.port == port][0]

    def fail_over(self):
        """The master is killed, another takes its place, and follows that once it is back. Returns the new one."""
        old = self.node_at(self.sentinel.master_port())
        old.kill()
        wait_until("there is no failover", lambda: self.sentinel.master_port() != old.port, SECONDS)
        new = self.node_at(self.sentinel.master_port())
        wait_until("the new master is none", seen(lambda: link_of(new)["role"] == "master"))
        old.start()
        wait_until("the old master does not follow", seen(lambda: link_of(old)["role"] == "slave" and
                   link_of(old)["master_link_status"] == "up"), SECONDS)
        return new
