#!/usr/bin/env python3
"""MIGRATE between Sett and redis-server, both ways, and its errors beside redis-server's.

    migrating.py SETT_SERVER REDIS_SERVER
"""
import socket
import sys
import threading

import redis

from own_server import Server, expect, free_port
from values import Maker, digest, fill


def server(program, *options):
    port = free_port()
    s = Server(program, "--save", "", "--enable-debug-command", "yes", "--port", port, "--bind", "127.0.0.1", *options)
    s.port = port
    s.start()
    return s


def call(client, *words):
    try:
        reply = client.execute_command(*words)
        return reply.decode() if isinstance(reply, bytes) else reply
    except redis.ResponseError as error:
        return "error: " + str(error)


def check_all_types(source, target, name):
    for client in (source.connect(), target.connect()):
        client.flushall()
    fill((source,), Maker(6), 400)
    client = source.connect()
    keys = client.keys("*")
    wanted = {key: call(client, "DEBUG", "DIGEST-VALUE", key)[0] for key in keys}
    for key in keys[:20]:
        expect("MIGRATE of one key", call(client, "MIGRATE", "127.0.0.1", target.port, key, 3, 60000), "OK")
    rest = [key for key in keys[20:]]
    expect("COPY", call(client, "MIGRATE", "127.0.0.1", target.port, "", 3, 60000, "COPY", "KEYS", *rest[:100]), "OK")
    expect("keys after COPY", client.exists(*rest[:100]), 100)
    reply = call(client, "MIGRATE", "127.0.0.1", target.port, "", 3, 60000, "KEYS", *rest)
    expect("a key that is there", reply,
           "error: Target instance replied with error: BUSYKEY Target key name already exists.")
    expect("keys that could not move", client.exists(*rest), 100)
    expect("REPLACE", call(client, "MIGRATE", "127.0.0.1", target.port, "", 3, 60000, "REPLACE", "KEYS", *rest), "OK")
    expect("keys that stayed", client.dbsize(), 0)
    there = target.connect(db=3)
    expect("keys that arrived", there.dbsize(), len(keys))
    # Back again, so that the same server makes the digests.
    expect("back", call(there, "MIGRATE", "127.0.0.1", source.port, "", 0, 60000, "KEYS", *keys), "OK")
    found = {key: call(client, "DEBUG", "DIGEST-VALUE", key)[0] for key in keys}
    expect("values after " + name, found, wanted)


def check_deadline(source, target):
    client, there = source.connect(), target.connect(db=3)
    client.set("volatile", "x", px=100000)
    call(client, "MIGRATE", "127.0.0.1", target.port, "volatile", 3, 60000)
    expect("a deadline moves", 0 < there.pttl("volatile") <= 100000, True)


def check_errors(sett, other, closed_port, silent_port, secret):
    replies = []
    for s in (sett, other):
        client = s.connect()
        client.set("k", "v")
        client.set("k2", "v")
        replies.append([call(client, "MIGRATE", *words) for words in (
            ("127.0.0.1", closed_port, "k", 0, 60000),
            ("127.0.0.1", silent_port, "k", 0, 100),
            ("127.0.0.1", closed_port, "none", 0, 60000),
            ("127.0.0.1", secret, "k", 0, 60000),
            ("127.0.0.1", secret, "k", 0, 60000, "AUTH", "wrong"),
            ("127.0.0.1", secret, "k", 0, 60000, "AUTH"),
            ("127.0.0.1", secret, "k", 0, 60000, "AUTH2", "x"),
            ("127.0.0.1", secret, "k", 99, 60000, "AUTH", "right"),
            ("127.0.0.1", secret, "k", 0, 60000, "KEYS", "a"),
            ("127.0.0.1", secret, "", 0, 60000, "NONE"),
            ("127.0.0.1", secret, "k", "x", 60000),
            ("127.0.0.1", secret, "k", 0, "x"),
            ("127.0.0.1", secret, "k", 0, 60000, "REPLACE", "AUTH", "right"),
            ("127.0.0.1", secret, "", 0, 60000, "REPLACE", "AUTH2", "default", "right", "KEYS", "k", "k2"),
        )])
        expect("what is left", client.exists("k", "k2"), 0)
    for i, (ours, theirs) in enumerate(zip(*replies)):
        expect("reply %d" % i, ours, theirs)


def check_writers(sett, target):
    """A key that others change all the time is there or here, never older there than here was."""
    client = sett.connect()
    target.connect(db=5).flushdb()
    stop = threading.Event()

    def write():
        other = sett.connect()
        while not stop.is_set():
            other.incr("hot")

    client.set("hot", 0)
    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    replies = {call(client, "MIGRATE", "127.0.0.1", target.port, "hot", 5, 60000, "REPLACE") for _ in range(20)}
    stop.set()
    for writer in writers:
        writer.join()
    expect("replies while others write", replies - {"OK", "NOKEY"}, set())
    expect("that it moved", target.connect(db=5).exists("hot"), 1)


class Target(threading.Thread):
    """Takes a SELECT and one more request in each of `steps`, does the step, and answers with what it returns."""

    def __init__(self, steps):
        super().__init__(daemon=True)
        self.steps, self.requests = steps, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def read_request(self, file):
        count = int(file.readline()[1:])
        return [file.read(int(file.readline()[1:]) + 2)[:-2] for _ in range(count)]

    def run(self):
        connection, _ = self.listener.accept()
        file = connection.makefile("rb")
        for step in self.steps:
            self.read_request(file)
            self.requests.append(self.read_request(file))
            connection.sendall(b"+OK\r\n" + step())


def check_changes_between_tries(sett):
    """What was sent is changed here before the commit, and the target refuses the new value: it stays here."""
    client, other = sett.connect(), sett.connect()

    def change():
        other.set("k", "new")
        return b"+OK\r\n"

    def delete():
        other.delete("k")
        return b"+OK\r\n"

    client.set("k", "old")
    target = Target([change, lambda: b"-ERR no\r\n"])
    target.start()
    expect("a refused second value", call(client, "MIGRATE", "127.0.0.1", target.port, "k", 0, 60000),
           "error: Target instance replied with error: ERR no")
    expect("what is here", client.get("k"), b"new")
    expect("that the second try replaces", target.requests[1][-1], b"REPLACE")
    target = Target([delete, lambda: b":1\r\n"])
    target.start()
    expect("a key that went meanwhile", call(client, "MIGRATE", "127.0.0.1", target.port, "k", 0, 60000), "NOKEY")
    expect("what is sent after it", target.requests[1], [b"DEL", b"k"])


def secret_port(redis_server, servers):
    s = server(redis_server)
    s.connect().config_set("requirepass", "right")
    servers.append(s)
    return s.port


def main(sett_server, redis_server):
    servers = []
    try:
        sett, other = server(sett_server), server(redis_server)
        servers += [sett, other]
        check_all_types(sett, other, "Sett to redis-server and back")
        check_all_types(other, sett, "redis-server to Sett and back")
        check_deadline(sett, other)
        check_deadline(other, sett)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            check_errors(sett, other, free_port(), silent.getsockname()[1], secret_port(redis_server, servers))
        check_writers(sett, other)
        check_changes_between_tries(sett)
    finally:
        for s in servers:
            s.clean_up()
    print("keys moved both ways")


main(*sys.argv[1:])
