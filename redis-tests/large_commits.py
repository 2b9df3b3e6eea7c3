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
import socket
import sys
import time
import redis
from own_server import Server, fail, wait_until


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def names(count):
    return [b"key:%d" % i for i in range(count)]


def mset(keys, value):
    return command(b"MSET", *[word for key in keys for word in (key, value)]), 1


def multi(keys, value):
    return command(b"MULTI") + b"".join(command(b"SET", key, value) for key in keys) + command(b"EXEC"), len(keys) + 2


def delete(keys, value):
    return command(b"DEL", *keys), 1


class Link:
    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(server.socket)
        self.socket.settimeout(120)

    def run(self, request, lines):
        """Sends it, and takes replies of so many lines, none of them an error; those of EXEC come behind its own."""
        self.socket.sendall(request)
        found, before = 0, b"\n"
        while found < lines:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError
            found += data.count(b"\n")
            data = before + data
            at = data.find(b"\n-")  # an error is a line of its own, wherever it was cut
            if at >= 0:
                fail("a reply is %r" % data[at + 1:at + 100])
            before = data[-1:]


def is_broken(error):
    """What redis-py makes of a connection that ends between WATCH and EXEC."""
    return isinstance(error, redis.WatchError) and "ConnectionError" in str(error)


def forked(run):
    child = os.fork()
    if child == 0:
        try:
            run()
        except (ConnectionError, redis.ConnectionError, redis.TimeoutError):
            pass
        except BaseException as error:  # whatever it is, the parent is to hear of it
            if not is_broken(error):
                print("FAILED: in a client: %r" % error, flush=True)
                os._exit(1)
        os._exit(0)
    return child


def joined(child):
    if os.waitpid(child, 0)[1] != 0:
        fail("a client met something wrong")


def note(path, number):
    with open(path + ".new", "w") as file:
        file.write("%d" % number)
    os.rename(path + ".new", path)


def noted(path):
    with open(path) as file:
        return int(file.read())


def write_rounds(server, keys, first, notes):
    """Round by round until the server goes; the last acknowledged round is in the notes."""
    link = Link(server)
    for number in range(first, first + 1000):
        make = (mset, multi)[number % 2]
        request, lines = make(keys, b"%d" % number)
        link.run(request, lines + (len(keys) if make is multi else 0))
        note(notes, number)


def look(server, keys, seed):
    """Pairs of keys have one value at any moment; and a watched one is not changed behind an EXEC's back."""
    chance = random.Random(seed)
    client = redis.Redis(unix_socket_path=server.socket, socket_timeout=120)
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


def worst_beside(server, seconds, ready):
    """The longest commits to another key, in milliseconds."""
    link = Link(server)
    request = command(b"SET", b"other", b"x")
    longest = [0.0] * 3
    end = time.monotonic() + seconds
    os.write(ready, b".")
    while time.monotonic() < end:
        began = time.monotonic()
        link.run(request, 1)
        longest = sorted(longest + [(time.monotonic() - began) * 1000])[1:]
    return longest


def measure_others(server, keys, bound):
    """Without a bound it only tells how long commits beside large ones take, which is the machine's, too."""
    link = Link(server)
    for what, make, extra in (("nothing", None, 0), ("MSET", mset, 0), ("MULTI", multi, len(keys)), ("DEL", delete, 0)):
        read, write = os.pipe()
        notes = server.directory + "/longest"

        def beside():
            with open(notes, "w") as file:
                file.write(" ".join("%.1f" % ms for ms in worst_beside(server, 6, write)))
        request, lines = make(keys, b"value") if make is not None else (b"", 0)
        again, again_lines = mset(keys, b"again")
        child = forked(beside)
        os.read(read, 1)
        end = time.monotonic() + 5
        count = 0
        while make is not None and time.monotonic() < end:
            link.run(request, lines + extra)
            count += 1
            if make is delete:
                link.run(again, again_lines)
        joined(child)
        os.close(read)
        os.close(write)
        with open(notes) as file:
            longest = [float(word) for word in file.read().split()]
        print("beside %d times %s of %d keys: the longest commits took %s ms" % (count, what, len(keys), longest))
        if bound and make is not None and longest[-1] > bound:
            fail("a commit to another key took %.1f ms beside %s" % (longest[-1], what))


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
