"""Commits of very many entries (I17): atomic whatever happens, and others go on beside them.

    large_commits.py SERVER [--rounds N] [--keys N] [--bound MILLISECONDS]

MSET, MULTI blocks and DEL of so many keys, with kill -9 in the middle: after each, all keys have one value or none is there, and what
was acknowledged is not older. Clients that read and write single keys of them meanwhile see all of a commit or nothing of it, also
those that WATCH. Then it measures: a client writes one other key again and again beside MSET, MULTI and DEL, and the longest of its
commits is told. Only with a bound does that fail, if one is longer.
"""
import os
import random
import signal
import sys
import time
import redis
from links import LineLink, LongestCommits, forked, is_broken, joined, request
from own_server import Server, fail, wait_until


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def names(count):
    return [b"key:%d" % i for i in range(count)]


def mset(keys, value):
    return request(b"MSET", *[word for key in keys for word in (key, value)]), 1


def multi(keys, value):
    return request(b"MULTI") + b"".join(request(b"SET", key, value) for key in keys) + request(b"EXEC"), len(keys) + 2


def delete(keys, value):
    return request(b"DEL", *keys), 1


def note(path, number):
    with open(path + ".new", "w") as file:
        file.write("%d" % number)
    os.rename(path + ".new", path)


def noted(path):
    with open(path) as file:
        return int(file.read())


def write_rounds(server, keys, first, notes):
    """Round by round until the server goes; the last acknowledged round is in the notes."""
    link = LineLink(server)
    for number in range(first, first + 1000):
        make = (mset, multi)[number % 2]
        requests, lines = make(keys, b"%d" % number)
        link.run(requests, lines + (len(keys) if make is multi else 0))
        note(notes, number)


def look(server, keys, seed):
    """Pairs of keys have one value at any moment; and a watched one is not changed behind an EXEC's back."""
    chance = random.Random(seed)
    client = redis.Redis(unix_socket_path=server.socket, socket_timeout=180)
    while True:
        one, other = chance.sample(keys, 2)
        values = client.mget(one, other)
        if values[0] != values[1]:
            fail("two keys of one commit have %r" % values)
        with client.pipeline() as block:
            block.watch(one)
            before = block.get(one)
            block.multi()
            block.get(one)
            block.get(other)
            try:
                seen = block.execute()
            except redis.WatchError as error:
                if is_broken(error):
                    return
                continue
            if seen != [before, before]:
                fail("it watched %r and EXEC has %r" % (before, seen))


def check_kills(server, rounds, keys):
    notes = server.directory + "/acknowledged"
    acknowledged, cut = 0, 0
    client = server.connect()
    client.execute_command("MSET", *[word for key in keys for word in (key, b"0")])
    chance = random.Random(17)
    for _ in range(rounds):
        note(notes, acknowledged)
        first = acknowledged + 1
        children = [forked(lambda: write_rounds(server, keys, first, notes)), forked(lambda: look(server, keys, 1)),
                    forked(lambda: look(server, keys, 2))]
        began = time.monotonic()
        wait_until("no commit comes through", lambda: noted(notes) > acknowledged)
        time.sleep(chance.random() * (time.monotonic() - began))  # any moment of one of the next
        server.kill()
        for child in children:
            joined(child)
        server.start()
        client = server.connect()
        values = set()
        for at in range(0, len(keys), 10000):
            values |= set(client.mget(keys[at:at + 10000]))
        if len(values) != 1 or client.dbsize() != len(keys):
            fail("after a kill there are %d values, %d keys" % (len(values), client.dbsize()))
        acknowledged = noted(notes)
        value = int(values.pop())
        if not acknowledged <= value <= acknowledged + 1:
            fail("round %d is there, %d was acknowledged" % (value, acknowledged))
        cut += value > acknowledged
        acknowledged = value
    print("%d kills, %d commits of %d keys" % (rounds, acknowledged, len(keys)))


def measure_others(server, keys, bound):
    """Without a bound it only tells how long commits beside large ones take, which is the machine's, too."""
    link = LineLink(server)
    for what, make, extra in (("nothing", None, 0), ("MSET", mset, 0), ("MULTI", multi, len(keys)), ("DEL", delete, 0)):
        requests, lines = make(keys, b"value") if make is not None else (b"", 0)
        again, again_lines = mset(keys, b"again")
        end = time.monotonic() + 5
        count = 0
        with LongestCommits(server) as beside:
            while time.monotonic() < end:
                if make is None:
                    time.sleep(0.1)
                    continue
                link.run(requests, lines + extra)
                count += 1
                if make is delete:
                    link.run(again, again_lines)
        print("beside %d times %s of %d keys: the longest commits took %s ms" % (count, what, len(keys), beside.longest))
        if bound and make is not None and beside.longest[-1] > bound:
            fail("a commit to another key took %.1f ms beside %s" % (beside.longest[-1], what))


def main():
    server = Server(sys.argv[1], "--io-threads", "2", "--appendfsync", "no", "--maxmemory", "2gb")
    try:
        server.start()
        check_kills(server, option("--rounds", 6), names(option("--keys", 60000)))
        server.connect().flushall()
        measure_others(server, names(200000), option("--bound", 0))
        server.stop()
    finally:
        server.clean_up()


signal.signal(signal.SIGPIPE, signal.SIG_IGN)
main()
