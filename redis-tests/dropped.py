"""Very many small spread hashes that go away at once: by DEL, UNLINK, SET over them, their deadline, FLUSHDB.

    dropped.py SERVER [HASHES [BOUND]]

A sixth of the hashes goes in each of these ways, and a sixth stays; they were made in turn. The server is killed in the middle of
each way: what was acknowledged does not come back, and what stays is there to the end. It tells the longest commits to another key
meanwhile, in milliseconds, what keeps track of dead ids, and how soon the disk holds little more than what is alive. A longer commit
than BOUND fails; without a bound none does, as the machine has its part in it.
"""
import signal
import sys
import time
from multiprocessing.sharedctypes import RawValue
from links import LineLink, LongestCommits, forked, joined, request
from own_server import Server, expect, fail, wait_until

BATCH = 1000
FIELDS = [word for i in range(3) for word in ("field:%d" % i, "x" * 30)]  # more than packed-max-size in all
WAYS = "del", "unlink", "set", "expire", "flushdb"
KINDS = *WAYS, "stay"
AHEAD = 2000  # milliseconds until hashes expire
MEMORY_EACH = 16  # bytes for an id that is dead
MEMORY_SLACK = 1 << 20
SPACE, SPACE_SECONDS = 1.5, 180  # times what is alive, and when
EMPTY = 32 << 20  # the log and the reserve of an empty database


def database(kind):
    return int(kind == "flushdb")


def fill(server, count):
    links = LineLink(server), LineLink(server)
    links[1].run(request("SELECT", 1), 1)
    for first in range(0, count, BATCH):
        for db, link in enumerate(links):
            some = [request("HSET", "%s:%d" % (kind, k), *FIELDS)
                    for k in range(first, min(count, first + BATCH)) for kind in KINDS if database(kind) == db]
            link.run(b"".join(some), len(some))


def drop_request(way, key, deadline):
    return {"del": ("DEL", key), "unlink": ("UNLINK", key), "set": ("SET", key, "over"), "expire": ("PEXPIREAT", key, deadline)}[way]


def drop(server, way, first, end, deadline, done):
    """`done`: how many are acknowledged."""
    link = LineLink(server)
    for at in range(first, end, BATCH):
        some = [request(*drop_request(way, "%s:%d" % (way, k), deadline)) for k in range(at, min(end, at + BATCH))]
        link.run(b"".join(some), len(some))
        done.value += len(some)


def check_gone(server, way, end):
    """None of the first of them is a hash any more."""
    client = server.connect()
    for at in range(0, end, BATCH):
        block = client.pipeline(transaction=False)
        for k in range(at, min(end, at + BATCH)):
            block.type("%s:%d" % (way, k))
        expect("what went by %s" % way, set(block.execute()), {b"string" if way == "set" else b"none"})


def drop_by_flush(server, count):
    client = server.connect(db=1)
    expect("hashes before FLUSHDB", client.dbsize(), count)
    with LongestCommits(server) as beside:
        client.flushdb()
    dead = storage(server)
    server.kill()
    server.start()
    expect("keys after FLUSHDB and a kill", server.connect(db=1).dbsize(), 0)
    return beside.longest, dead


def drop_by_key(server, way, count):
    """Half of them beside another client's commits; a kill while the other half goes; then what is left of it."""
    half, done = count // 2, RawValue("Q", 0)
    before = server.connect().dbsize()
    with LongestCommits(server) as beside:
        deadline = int(time.time() * 1000) + AHEAD
        drop(server, way, 0, half, deadline, done)
        if way == "expire":
            client = server.connect()
            wait_until("they do not expire", lambda: client.dbsize() <= before + 1 - half)  # one is of LongestCommits
    dead = storage(server)
    deadline = int(time.time() * 1000) + AHEAD
    child = forked(lambda: drop(server, way, half, count, deadline, done))
    wait_until("nothing is dropped", lambda: done.value > half + half // 3)
    server.kill()
    joined(child)
    server.start()
    wait_until("the deadline does not come", lambda: int(time.time() * 1000) > deadline)
    check_gone(server, way, done.value)
    drop(server, way, done.value, count, deadline, done)
    check_gone(server, way, count)
    return beside.longest, dead


def storage(server):
    return server.connect().info("storage")


def check_space(server):
    """Soon the disk holds little more than what is alive."""
    began = time.monotonic()

    def is_small():
        now = storage(server)
        return now["disk_bytes"] <= SPACE * now["live_bytes"] + EMPTY
    wait_until("the space does not come back", is_small, SPACE_SECONDS)
    now = storage(server)
    print("%.1f MiB on disk, %.1f alive, after %.1f s; %d dead ids"
          % (now["disk_bytes"] / 2**20, now["live_bytes"] / 2**20, time.monotonic() - began, now["dead_ids"]))


def check_rest(server, count):
    client = server.connect()
    expect("keys", client.dbsize(), 2 * count + 1)
    for at in range(0, count, BATCH):
        block = client.pipeline(transaction=False)
        for k in range(at, min(count, at + BATCH)):
            block.hgetall("stay:%d" % k)
        whole = {field.encode(): value.encode() for field, value in zip(FIELDS[::2], FIELDS[1::2])}
        for found in block.execute():
            expect("a hash that stays", found, whole)


def main():
    count, bound = (*map(int, sys.argv[2:]), *(60000, 0)[len(sys.argv) - 2:])
    count //= len(KINDS)
    server = Server(sys.argv[1], "--packed-max-size", 64, "--maxmemory", "256mb", "--io-threads", 2)
    try:
        server.start()
        fill(server, count)
        for way in WAYS:
            longest, dead = drop_by_flush(server, count) if way == "flushdb" else drop_by_key(server, way, count)
            print("%-8s beside it the longest commits took %s ms; %d dead ids in %d bytes"
                  % (way, longest, dead["dead_ids"], dead["dead_memory"]), flush=True)
            if dead["dead_memory"] > MEMORY_EACH * dead["dead_ids"] + MEMORY_SLACK:
                fail("too much memory for %d dead ids: %d bytes" % (dead["dead_ids"], dead["dead_memory"]))
            if bound and longest[-1] > bound:
                fail("a commit to another key took %.1f ms" % longest[-1])
        check_space(server)
        server.kill()
        server.start()
        check_rest(server, count)
        server.stop()
    finally:
        server.clean_up()


signal.signal(signal.SIGPIPE, signal.SIG_IGN)
main()
