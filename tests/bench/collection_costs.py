#!/usr/bin/python3
"""What lists, sets, sorted sets and hashes cost as they grow, and after much has moved through them.

    tests/bench/collection_costs.py SERVER growth [--svg FILE] [ELEMENTS ...]
    tests/bench/collection_costs.py SERVER queues [ELEMENTS]
    tests/bench/collection_costs.py SERVER pivot [INSERTS]
    tests/bench/collection_costs.py SERVER deleted [ELEMENTS]
    tests/bench/collection_costs.py SERVER cold [ELEMENTS]
    tests/bench/collection_costs.py SERVER small [COLLECTIONS]

growth: instructions (callgrind, threads that run commands) and blocks looked at, of one command on collections of so many
elements, which have been written to tables; with `maxmemory 128mb`.
queues: so many elements have moved through a queue that never has more than 1,000: time of CPU of its parts, and the disk it takes.
pivot: LINSERTs behind one element: time of CPU of its parts.
deleted: DEL of collections of so many elements: its time, and how long their space takes to come back.
cold: reads of random elements of collections of so many, each right after a start with nothing in memory, beside GETs of as many keys.
small: disk of so many hashes of 5 fields, sets of 10 and lists of 10, beside what an eighth of them takes in redis-server's memory; cold HGET
beside cold GET.
Figures that are times want a machine with nothing else to do.
"""
import random
import time

from growth import (
    BATCH, Link, Server, arguments, cpu_seconds, drop_page_cache, fail, figures, grown, measure_rows, new_server, plot,
    request, settle, value_pool)

SIZES = [10**3, 10**4, 10**5, 10**6]
QUEUE_MOST = 1000
PARTS = 10


# ---- collections of a size ----

def fills(values):
    """Of each collection the command that adds its elements from number `first` to before `end`."""
    return {
        "list": lambda first, end: request("RPUSH", "list", *["element:%d" % k for k in range(first, end)]),
        "set": lambda first, end: request("SADD", "set", *["member:%d" % k for k in range(first, end)]),
        "zset": lambda first, end: request(
            "ZADD", "zset", *[word for k in range(first, end) for word in (k, "member:%d" % k)]),
        "hash": lambda first, end: request(
            "HSET", "hash", *[word for k in range(first, end) for word in ("field:%d" % k, values[k % 4096])]),
    }


def load(server, elements):
    link = Link(server.socket)
    values = value_pool(20)
    for fill in fills(values).values():
        for first in range(0, elements, BATCH):
            link.run([fill(first, min(first + BATCH, elements))])
    link.run([request("SET", "key:%d" % k, values[k]) for k in range(100)])


# ---- growth ----

def growth_rows(elements):
    """As in streams.py: elements are of one neighbourhood, but those that are drawn at random."""
    middle = elements // 2

    def near(i):
        return middle + i * 7919 % 200

    return [
        ("ZADD new", 16, lambda i: request("ZADD", "zset", "%d.5" % near(i), "new:%d" % i)),
        ("ZADD moved", 16, lambda i: request("ZADD", "zset", "%d.%d" % (near(i), i % 7), "member:%d" % near(i * 31))),
        ("ZRANK", 1, lambda i: request("ZRANK", "zset", "member:%d" % near(i))),
        ("ZREVRANK", 1, lambda i: request("ZREVRANK", "zset", "member:%d" % near(i))),
        ("ZCOUNT", 1, lambda i: request("ZCOUNT", "zset", near(i), "+inf")),
        ("ZRANGE of 10", 1, lambda i: request("ZRANGE", "zset", near(i), near(i) + 9)),
        ("ZREMRANGEBYRANK of 1", 1, lambda i: request("ZREMRANGEBYRANK", "zset", middle, middle)),
        ("HGET", 1, lambda i: request("HGET", "hash", "field:%d" % near(i))),
        ("HSET new", 16, lambda i: request("HSET", "hash", "new:%d" % i, "value of 20 bytes")),
        ("SISMEMBER", 1, lambda i: request("SISMEMBER", "set", "member:%d" % near(i))),
        ("SADD new", 16, lambda i: request("SADD", "set", "new:%d" % i)),
        ("SRANDMEMBER", 16, lambda i: request("SRANDMEMBER", "set")),
        ("SPOP", 1, lambda i: request("SPOP", "set")),
        ("LINDEX", 1, lambda i: request("LINDEX", "list", near(i))),
        ("LINSERT near an end", 1, lambda i: request("LINSERT", "list", "AFTER", "element:10", "new:%d" % i)),
        ("LPUSH", 16, lambda i: request("LPUSH", "list", "new:%d" % i)),
        ("GET", 1, lambda i: request("GET", "key:%d" % (i % 100))),
    ]


def measure_growth(program, sizes, svg):
    lines = []
    for elements in sizes:
        if elements < 1000:
            fail("fewer than 1,000 elements have no neighbourhood")
        server = grown(program, lambda server: load(server, elements))
        try:
            lines += measure_rows(server, elements, growth_rows(elements))
        finally:
            server.clean_up()
    if svg:
        plot(lines, svg)


# ---- what moves through ----

def measure_parts(program, title, total, step, make):
    """`make(i)` is a batch of commands that moves elements i to before i + step."""
    server = new_server(program)
    try:
        server.start()
        link, client = Link(server.socket), server.connect(timeout=600)
        each, most, at = [], 0, 0
        for part in range(1, PARTS + 1):
            cpu, began = cpu_seconds(server), at
            while at < total * part // PARTS:
                link.run(make(at))
                at += step
            each.append((cpu_seconds(server) - cpu) / max(1, at - began) * 1e6)
            most = max(most, figures(client)["disk_bytes"])
        settle(client)
        print("%-24s %9d elements: %s us of CPU each in tenths, last / first %.2f; at most %.1f MiB on disk"
              % (title, at, " ".join("%.1f" % x for x in each), each[-1] / each[0], most / 2**20), flush=True)
        return client.keys()
    finally:
        server.clean_up()


def measure_queues(program, total):
    values = value_pool(20)
    source = random.Random(5)
    half = QUEUE_MOST // 2

    def through(put, take):
        return lambda i: [put(k) for k in range(i, i + half)] + [take] * half

    queues = {
        "LPUSH, RPOP": through(lambda k: request("LPUSH", "q", values[k % 4096]), request("RPOP", "q")),
        "RPUSH, LPOP": through(lambda k: request("RPUSH", "q", values[k % 4096]), request("LPOP", "q")),
        "ZADD at random, ZPOPMIN": through(
            lambda k: request("ZADD", "q", source.randrange(10**6), "member:%d" % k), request("ZPOPMIN", "q")),
        "SADD, SPOP": through(lambda k: request("SADD", "q", "member:%d" % k), request("SPOP", "q")),
    }
    for title, make in queues.items():
        if measure_parts(program, title, total, half, make):
            fail("elements are left in the queue of %s" % title)


def measure_pivot(program, total):
    values = value_pool(20)

    def inserts(i):
        first = [request("RPUSH", "list", "before", "pivot", "behind")] if i == 0 else []
        return first + [request("LINSERT", "list", "AFTER", "pivot", values[k % 4096]) for k in range(i, i + BATCH)]

    measure_parts(program, "LINSERT at one pivot", total, BATCH, inserts)


# ---- what is deleted ----

def measure_deleted(program, elements):
    server = new_server(program)
    try:
        server.start()
        load(server, elements)
        link, client = Link(server.socket), server.connect(timeout=600)
        before = settle(client)
        for key in "list", "set", "zset", "hash":
            cpu, began = cpu_seconds(server), time.monotonic()
            link.run([request("DEL", key)])
            print("DEL of a %-4s of %d elements: %.3f ms, %.3f ms of CPU"
                  % (key, elements, (time.monotonic() - began) * 1e3, (cpu_seconds(server) - cpu) * 1e3), flush=True)
        began = time.monotonic()
        small = max(before["disk_bytes"] // 4, 32 * 2**20)  # an empty database has its log and a reserve
        while figures(client)["disk_bytes"] > small and time.monotonic() - began < 60:
            time.sleep(0.5)
        print("of %.1f MiB on disk %.1f are left after %.1f s"
              % (before["disk_bytes"] / 2**20, figures(client)["disk_bytes"] / 2**20, time.monotonic() - began), flush=True)
    finally:
        server.clean_up()


# ---- what is not in memory ----

COLD_READS = 2000


def cold_reads(server, name, make):
    """Of single commands, one after the other, behind a start with caches that have nothing."""
    settle(server.connect(timeout=600))
    server.stop()
    drop_page_cache(server)
    server.start()
    link, client, source = Link(server.socket), server.connect(timeout=600), random.Random(11)
    before, cpu, began = figures(client), cpu_seconds(server), time.monotonic()
    for _ in range(COLD_READS):
        link.run([make(source)])
    took, used, after = time.monotonic() - began, cpu_seconds(server) - cpu, figures(client)
    missed = (after["block_cache_misses"] - before["block_cache_misses"]) / COLD_READS
    print("%-28s %7.1f us, %6.1f us of CPU, %5.2f blocks that were not in memory"
          % (name, took / COLD_READS * 1e6, used / COLD_READS * 1e6, missed), flush=True)
    return took


def measure_cold(program, elements):
    server, values = new_server(program), value_pool(20)
    try:
        server.start()
        load(server, elements)
        link = Link(server.socket)
        for first in range(0, elements, BATCH):
            last = min(first + BATCH, elements)
            link.run([request("SET", "string:%d" % k, values[k % 4096]) for k in range(first, last)])
        middle = elements // 2
        rows = [
            ("GET", lambda r: request("GET", "string:%d" % r.randrange(elements))),
            ("HGET", lambda r: request("HGET", "hash", "field:%d" % r.randrange(elements))),
            ("SISMEMBER", lambda r: request("SISMEMBER", "set", "member:%d" % r.randrange(elements))),
            ("ZSCORE", lambda r: request("ZSCORE", "zset", "member:%d" % r.randrange(elements))),
            ("ZRANK", lambda r: request("ZRANK", "zset", "member:%d" % r.randrange(elements))),
            ("ZCOUNT", lambda r: request("ZCOUNT", "zset", r.randrange(elements), "+inf")),
            ("ZRANGE of 1", lambda r: request("ZRANGE", "zset", *[r.randrange(middle)] * 2)),
            ("SRANDMEMBER", lambda r: request("SRANDMEMBER", "set")),
            ("LINDEX", lambda r: request("LINDEX", "list", r.randrange(elements))),
            ("GET", lambda r: request("GET", "string:%d" % r.randrange(elements))),
        ]
        took = [cold_reads(server, name, make) for name, make in rows]
        get = (took[0] + took[-1]) / 2
        print("in GETs: " + ", ".join("%s %.2f" % (row[0], t / get) for row, t in zip(rows[1:-1], took[1:-1])))
    finally:
        server.clean_up()


# ---- small ones ----

def small_commands(values):
    """Of each kind, what makes collection k."""
    def of(k, count):
        return [values[(k * 7 + i * 131) % 4096] for i in range(count)]

    return {
        "hash of 5": lambda k: request("HSET", "h:%d" % k, *[w for i, v in enumerate(of(k, 5)) for w in ("field:%d" % i, v)]),
        "set of 10": lambda k: request("SADD", "s:%d" % k, *of(k, 10)),
        "list of 10": lambda k: request("RPUSH", "l:%d" % k, *of(k, 10)),
    }


def measure_small(program, collections):
    values = value_pool(20)
    for name, make in small_commands(values).items():
        ours, theirs = new_server(program), Server("redis-server", "--save", "", "--appendonly", "no")
        try:
            ours.start()
            link, client = Link(ours.socket), ours.connect(timeout=600)
            empty = settle(client)["disk_bytes"]
            for first in range(0, collections, BATCH):
                link.run([make(k) for k in range(first, first + BATCH)])
            disk = (settle(client)["disk_bytes"] - empty) / collections
            some = collections // 8
            theirs.start()
            link, other = Link(theirs.socket), theirs.connect(timeout=600)
            empty = other.info("memory")["used_memory"]
            for first in range(0, some, BATCH):
                link.run([make(k) for k in range(first, first + BATCH)])
            memory = (other.info("memory")["used_memory"] - empty) / some
            theirs.kill()
            print("%-12s %9d: %.1f bytes each on disk, redis-server %.1f in memory, %.2f"
                  % (name, collections, disk, memory, disk / memory), flush=True)
            if name == "hash of 5":
                link = Link(ours.socket)
                for first in range(0, collections, BATCH):
                    link.run([request("SET", "string:%d" % k, values[k % 4096]) for k in range(first, first + BATCH)])
                get = cold_reads(ours, "GET", lambda r: request("GET", "string:%d" % r.randrange(collections)))
                hget = cold_reads(ours, "HGET", lambda r: request(
                    "HGET", "h:%d" % r.randrange(collections), "field:%d" % r.randrange(5)))
                print("cold HGET %.2f times a cold GET" % (hget / get), flush=True)
        finally:
            ours.clean_up()
            theirs.clean_up()


def main():
    program, what, svg, numbers = arguments(__doc__)
    if what == "growth":
        measure_growth(program, numbers or SIZES, svg)
    elif what == "queues":
        measure_queues(program, *(numbers or [10**6]))
    elif what == "pivot":
        measure_pivot(program, *(numbers or [10**5]))
    elif what == "deleted":
        measure_deleted(program, *(numbers or [10**6]))
    elif what == "cold":
        measure_cold(program, *(numbers or [10**6]))
    elif what == "small":
        measure_small(program, *(numbers or [10**6]))
    else:
        fail("no such figure: " + what)


main()
