"""Hundreds of scans side by side, while others write and the server is killed: each ends, and meets what is there
throughout exactly once.

    scan.py SERVER
"""
import random
import sys
import threading
import time
import uuid
import redis
from own_server import Server, fail

SCANS = 200
STABLE = 400  # of each kind of name
KILLS = 3
SEED = 11
BATCH = 50  # scans that make a call in one pipeline
DEADLINE = 500  # seconds, for all


def names(kind, i):
    if kind == 0:
        return "user:%08d" % i
    if kind == 1:
        return "p" * 300 + ":%06d:x" % i
    if kind == 2:
        return "session:" + str(uuid.UUID(int=i // 2 * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)) + ":%d" % (i % 2)
    return "%d" % (i * 7919 % 1000003)


def write(server, stop, errors):
    """Keys that come and go, among the others and at the end of one kind; those that stay are overwritten."""
    chance = random.Random(SEED)
    newest = 1000000
    while not stop.is_set():
        client = server.connect()
        try:
            while not stop.is_set():
                pipeline = client.pipeline(transaction=False)
                for _ in range(20):
                    kind, i = chance.randrange(4), chance.randrange(STABLE)
                    pipeline.set(names(kind, 2 * i), chance.random())
                    if chance.random() < 0.5:
                        pipeline.set(names(kind, 2 * i + 1), "v")
                    else:
                        pipeline.delete(names(kind, 2 * i + 1))
                    newest += 1
                    pipeline.set(names(0, newest), "v")
                    pipeline.delete(names(0, newest - 200))
                pipeline.execute()
        except (redis.ConnectionError, redis.TimeoutError, ConnectionError):
            time.sleep(0.05)  # it was killed
        except Exception as error:  # pylint: disable=broad-except
            errors.append(repr(error))
            return


class Scan:
    def __init__(self, chance):
        self.cursor = 0
        self.count = chance.choice((50, 100, 200, 1000))
        self.calls = 0
        self.ended = False
        self.met = []

    def take(self, reply):
        self.cursor, keys = reply
        self.ended = self.cursor == 0
        self.calls += 1
        self.met += keys
        if not self.cursor < 2**53:
            fail("cursor %d is exact in no double" % self.cursor)

    def check(self, stable):
        times = {}
        for key in self.met:
            if key in stable:
                times[key] = times.get(key, 0) + 1
        if len(times) != len(stable):
            fail("%d of %d keys were met in %d calls" % (len(times), len(stable), self.calls))
        twice = [key for key, n in times.items() if n > 1]
        if twice:
            fail("%s was met %d times" % (twice[0], times[twice[0]]))


def run(server):
    server.start()
    client = server.connect()
    stable = {names(kind, 2 * i).encode() for kind in range(4) for i in range(STABLE)}
    pipeline = client.pipeline(transaction=False)
    for key in stable:
        pipeline.set(key, "v")
    pipeline.execute()
    stop, errors = threading.Event(), []
    writer = threading.Thread(target=write, args=(server, stop, errors), daemon=True)
    writer.start()

    chance = random.Random(SEED + 1)
    scans = [Scan(chance) for _ in range(SCANS)]
    open_scans, calls, end = list(scans), 0, time.monotonic() + DEADLINE
    met = 0
    kill_at = [SCANS * len(stable) * (i + 1) // (KILLS + 1) for i in range(KILLS)]
    while open_scans:
        batch = chance.sample(open_scans, min(BATCH, len(open_scans)))
        pipeline = client.pipeline(transaction=False)
        for scan in batch:
            pipeline.scan(scan.cursor, count=scan.count)
        for scan, reply in zip(batch, pipeline.execute()):
            scan.take(reply)
            met += len(reply[1])
            if scan.ended:
                scan.check(stable)
        calls += len(batch)
        open_scans = [scan for scan in open_scans if not scan.ended]
        if kill_at and met >= kill_at[0]:
            kill_at.pop(0)
            server.kill()
            server.start()
            client = server.connect()
        if errors:
            fail("a writer: " + errors[0])
        if time.monotonic() > end:
            fail("%d of %d scans have not ended after %d calls" % (len(open_scans), SCANS, calls))
    stop.set()
    writer.join()
    if kill_at:
        fail("the scans ended after %d calls, before the server was killed" % calls)
    print("%d scans ended in %d calls" % (SCANS, calls))


def main():
    server = Server(sys.argv[1], "--io-threads", 2, "--maxmemory", "128mb")
    try:
        run(server)
    finally:
        server.clean_up()


main()
