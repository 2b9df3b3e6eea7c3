"""HAProxy: its check of Redis servers sees the server, a kill and a restart; a check by words finds the master; connections go through it."""
import os
import signal
import socket
import subprocess
import tempfile
import redis
from program import PORT, free_port, holds, note, noted, run, same, until

CONFIGURATION = """
global
    stats socket {folder}/admin mode 600
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen plain
    bind 127.0.0.1:{port}
    option redis-check
    server one 127.0.0.1:{server} check inter 100ms fall 2 rise 2
backend master
    option tcp-check
    tcp-check send PING\\r\\n
    tcp-check expect string +PONG
    tcp-check send info\\ replication\\r\\n
    tcp-check expect string role:master
    tcp-check send QUIT\\r\\n
    tcp-check expect string +OK
    server one 127.0.0.1:{server} check inter 100ms fall 2 rise 2
"""


class Proxy:
    def __enter__(self):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        with open(self.folder.name + "/conf", "w") as file:
            file.write(CONFIGURATION.format(folder=self.folder.name, port=self.port, server=PORT))
        self.process = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", self.folder.name + "/conf"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = redis.Redis(port=self.port, decode_responses=True)
        until("the checks pass", lambda: self.states() == ["UP", "UP"])
        return self

    def states(self):
        """Of both: after a check that was made."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(self.folder.name + "/admin")
                s.sendall(b"show stat\n")
                text = b""
                while piece := s.recv(65536):
                    text += piece
        except OSError:
            return []
        rows = [line.split(",") for line in text.decode().lstrip("# ").splitlines() if line]
        names = rows[0]
        found = [dict(zip(names, row)) for row in rows[1:]]
        return [row["status"] for row in found if row["svname"] == "one" and row["check_status"].lstrip("* ").startswith("L")]

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def server_process():
    return redis.Redis(port=PORT).info("server")["process_id"]


def tour():
    with Proxy() as proxy:
        client = proxy.client
        client.set("a", "x" * 100000)
        same(client.get("a"), "x" * 100000, "through it")
        # A server that hangs is seen, and one that goes on.
        process = server_process()
        os.kill(process, signal.SIGSTOP)
        try:
            until("the stopped server is seen", lambda: proxy.states() == ["DOWN", "DOWN"])
        finally:
            os.kill(process, signal.SIGCONT)
        until("it is seen again", lambda: proxy.states() == ["UP", "UP"])
        # A replica passes the one check, and not the other.
        direct = redis.Redis(port=PORT)
        direct.execute_command("REPLICAOF", "127.0.0.1", "1")
        until("a replica is no master", lambda: proxy.states() == ["UP", "DOWN"])
        direct.execute_command("REPLICAOF", "NO", "ONE")
        until("it is one again", lambda: proxy.states() == ["UP", "UP"])


def load():
    with Proxy() as proxy:
        n = 0
        while True:
            proxy.client.set("key%d" % n, n)
            note("set %d" % n)
            n += 1


def settle():
    numbers = noted("set")
    holds(numbers, "nothing was set")
    with Proxy() as proxy:
        for n in numbers:
            same(proxy.client.get("key" + n), n, "key " + n)


run(tour=tour, load=load, settle=settle)
