"""Ports for the servers of tests that run side by side. Wants nothing but Python's own library."""
import random
import socket
import sys

# Below those that the system gives to connections, so that no connection has one while its server is down; beside those of Redis'
# suites (suite/run.sh). server_process.c takes ports here, too.
PORTS = range(29000, 32768)
# redis-server in cluster mode has a second port, 10,000 above.
CLUSTER_PORTS = range(9000, 10900)
held_ports = []  # sockets whose names say so to other tests


def free_port(ports=PORTS):
    """For another program, which is started once or again and again: no other test takes it while this process runs."""
    for port in random.SystemRandom().sample(ports, len(ports)):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind("\0sett-test-port-%d" % port)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("0.0.0.0", port))
                s.listen()
        except OSError:
            name.close()
            continue
        held_ports.append(name)
        return port
    sys.exit("there is no free port")
