"""Servers that redis-server's Sentinel watches."""
import os
import subprocess

import redis

from replica_world import free_port


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


class Sentinel:
    """One that watches `it`, whose master is given, and decides alone."""

    def __init__(self, redis_server, master, down_after_ms=1500, failover_timeout_ms=10000):
        port, directory = free_port(), master.directory
        path = directory + "/sentinel.conf"
        with open(path, "w") as f:
            f.write("port %d\ndir %s\nlogfile %s/sentinel.log\nsentinel monitor it 127.0.0.1 %d 1\n"
                    "sentinel down-after-milliseconds it %d\nsentinel failover-timeout it %d\n"
                    % (port, directory, directory, master.port, down_after_ms, failover_timeout_ms))
        self.process = subprocess.Popen([redis_server, path, "--sentinel"], stdout=subprocess.DEVNULL)
        self.client = redis.Redis(port=port, socket_timeout=30)

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
