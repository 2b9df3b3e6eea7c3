#!/usr/bin/python3
"""What streams cost as they grow, and what they write.

    tests/bench/streams.py SERVER growth [--svg FILE] [ENTRIES ...]
    tests/bench/streams.py SERVER written [ENTRIES]
    tests/bench/streams.py SERVER trimmed [ENTRIES]
    tests/bench/streams.py SERVER threads [COMMANDS]
    tests/bench/streams.py SERVER beside [COMMANDS [ROUNDS]]

growth: instructions (callgrind, threads that run commands) and blocks looked at, of one command on streams of so many
entries, which have been written to tables; with `maxmemory 128mb`. Half of the entries, up to 10^6, are pending.
Before that cold reads of entries that are not in memory, beside cold GETs, in turn.
written: bytes written for each byte of the client's, flushes and compactions included.
trimmed: a stream that is kept at 10^4 entries: the disk it takes, and the time of its parts.
threads: XADD and XREADGROUP on one stream, beside SET of many keys, by clients of 1, 2 and 4 reactors: time of CPU for each.
beside: one stream of 10^5 entries of five fields, commands at pipeline 16 by 8 connections, in turn with redis-server and its
append-only file: time of CPU for each.
Figures that are times want a machine with nothing else to do.
"""
import random
import re
import time

from growth import (
    BATCH, SIZES, Link, Server, arguments, cpu_seconds, drop_page_cache, fail, figures, grown, measure_rows,
    new_server, plot, request, run_beside, run_clients, settle, value_pool)

PENDING_MOST = 1000000
IDS = re.compile(rb"\d{10,}-\d+")


# ---- streams of a size: entry k has the id k-1 ----

def load(server, entries):
    """Entries, pending ones, and a tenth as many strings."""
    link = Link(server.socket)
    values = value_pool(20)
    for first in range(1, entries + 1, BATCH):
        numbers = range(first, min(first + BATCH, entries + 1))
        link.run([request("XADD", "s", "%d-1" % k, "f", values[k % 4096]) for k in numbers])
    link.run([request("XGROUP", "CREATE", "s", "g", "0")])
    for _ in range(0, pending_of(entries), BATCH):
        link.run([request("XREADGROUP", "GROUP", "g", "c", "COUNT", BATCH, "STREAMS", "s", ">")])
    values = value_pool(100)
    for first in range(0, entries // 10, BATCH):
        numbers = range(first, min(first + BATCH, entries // 10))
        link.run([request("SET", "key:%d" % k, values[k % 4096]) for k in numbers])


def pending_of(entries):
    return min(entries // 2, PENDING_MOST)


# ---- cold ----

def measure_cold(server, entries):
    """Of entries that are not in memory, beside GETs of keys that are not; in turn."""
    server.start()
    drop_page_cache(server)
    link, client = Link(server.socket), server.connect(timeout=600)
    source = random.Random(3)
    rows = {
        "GET": lambda: request("GET", "key:%d" % source.randrange(1, entries // 10)),
        "XRANGE COUNT 1": lambda: request("XRANGE", "s", "%d-1" % source.randrange(1, entries), "+", "COUNT", 1),
    }
    times = {name: [] for name in rows}
    used = {name: [0, 0] for name in rows}
    for _ in range(max(1, min(entries // 10 // 20, 2000) // 20)):
        for name, text in rows.items():
            cpu, before = cpu_seconds(server), figures(client)["block_cache_misses"]
            for _ in range(20):
                began = time.monotonic()
                link.run([text()])
                times[name].append(time.monotonic() - began)
            used[name][0] += cpu_seconds(server) - cpu
            used[name][1] += figures(client)["block_cache_misses"] - before
    for name in rows:
        taken = sorted(times[name])
        print("cold %-14s %9d entries: p50 %.3f ms, p90 %.3f ms, %.1f us of CPU, %.2f blocks read"
              % (name, entries, taken[len(taken) // 2] * 1e3, taken[len(taken) * 9 // 10] * 1e3,
                 used[name][0] / len(taken) * 1e6, used[name][1] / len(taken)), flush=True)
    server.stop()


# ---- growth ----

def growth_rows(entries):
    """Name, pipeline, and a function that gives the i-th command. Entries are of one neighbourhood, whose blocks earlier
    commands have brought to memory."""
    middle = entries // 2
    first = pending_of(entries) // 10
    fields = [word for i in range(5) for word in ("field:%d" % i, "value of 20 bytes %d" % i)]

    def near(i):
        return "%d-1" % (middle + i * 7919 % 200)

    def near_pending(i):
        return "%d-1" % (first + 500 + i * 7919 % 200)

    def pending(i):
        """Another one each time, for as many as are measured, and those behind it are acknowledged first."""
        return "%d-1" % (first + 400 - i)

    return [
        ("XADD", 16, lambda i: request("XADD", "s", "*", *fields)),
        ("XADD MAXLEN ~", 16, lambda i: request("XADD", "s", "MAXLEN", "~", entries + 3200, "*", *fields)),
        ("XRANGE COUNT 1", 1, lambda i: request("XRANGE", "s", near(i), "+", "COUNT", 1)),
        ("XRANGE COUNT 100", 1, lambda i: request("XRANGE", "s", near(i), "+", "COUNT", 100)),
        ("XREVRANGE COUNT 1", 1, lambda i: request("XREVRANGE", "s", "+", "-", "COUNT", 1)),
        ("XREAD COUNT 10", 1, lambda i: request("XREAD", "COUNT", 10, "STREAMS", "s", near(i))),
        ("XACK", 1, lambda i: request("XACK", "s", "g", pending(i))),
        ("XPENDING", 1, lambda i: request("XPENDING", "s", "g")),
        ("XPENDING 10", 1, lambda i: request("XPENDING", "s", "g", near_pending(i), "+", 10)),
        ("XREADGROUP new", 1, lambda i: request("XREADGROUP", "GROUP", "g", "c", "COUNT", 10, "STREAMS", "s", ">")),
        ("XINFO STREAM", 1, lambda i: request("XINFO", "STREAM", "s")),
        ("XDEL", 1, lambda i: request("XDEL", "s", "%d-1" % (middle + 1000 + i))),
        ("GET", 1, lambda i: request("GET", "key:%d" % (i % 100))),
    ]


def measure_growth(program, sizes, svg):
    lines = []
    for entries in sizes:
        server = grown(program, lambda server: load(server, entries))
        try:
            measure_cold(server, entries)
            lines += measure_rows(server, entries, growth_rows(entries))
        finally:
            server.clean_up()
    if svg:
        plot(lines, svg)


# ---- what is written ----

def measure_written(program, entries, maxmemory="1gb"):
    server = new_server(program, "--maxmemory", maxmemory)
    try:
        server.start()
        links, client = [Link(server.socket) for _ in range(8)], server.connect(timeout=600)
        entries = run_beside(links, [request("XADD", "s", "*", "f", value) for value in value_pool(100)], entries, 16)
        now = settle(client)
        print("%d entries of 100 bytes: %.2f bytes written for each byte, %d flushes, %d compactions, %.1f MiB on disk"
              % (entries, now["bytes_written"] / (100 * entries), now["flushes"], now["compactions"],
                 now["disk_bytes"] / 2**20), flush=True)
    finally:
        server.clean_up()


def measure_trimmed(program, entries):
    parts = 10
    server = new_server(program)
    try:
        server.start()
        links, client = [Link(server.socket) for _ in range(4)], server.connect(timeout=600)
        commands = [request("XADD", "s", "MAXLEN", 10000, "*", "f", value) for value in value_pool(20)]
        most = 0
        for part in range(parts):
            began, cpu = time.monotonic(), cpu_seconds(server)
            run_beside(links, commands, entries // parts, 100)
            now = figures(client)
            most = max(most, now["disk_bytes"])
            print("%9d entries so far: %.2f us, %.2f us of CPU each; %.1f MiB on disk, of them log %.1f MiB"
                  % ((part + 1) * entries // parts, (time.monotonic() - began) / (entries / parts) * 1e6,
                     (cpu_seconds(server) - cpu) / (entries / parts) * 1e6, now["disk_bytes"] / 2**20,
                     now["log_bytes"] / 2**20), flush=True)
        now = settle(client)
        print("%d entries are left; at most %.1f MiB on disk, in the end %.1f MiB"
              % (client.xlen("s"), most / 2**20, now["disk_bytes"] / 2**20), flush=True)
    finally:
        server.clean_up()


# ---- reactors ----

def measure_threads(program, total):
    values = value_pool(20)
    adds = [request("XADD", "s", "*", "f", value) for value in values]
    sets = [request("SET", "key:%d" % i, value) for i, value in enumerate(values)]
    reads = [request("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "s", ">")] * 4096
    servers = {}
    spent, conflicts = {}, {}
    try:
        for threads in (1, 2, 4):
            servers[threads] = new_server(program, "--io-threads", threads)
            servers[threads].start()
            Link(servers[threads].socket).run([request("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")])
        for _ in range(3):
            for name, commands in ("SET", sets), ("XADD", adds), ("XREADGROUP", reads):
                for threads, server in servers.items():
                    cpu, before = cpu_seconds(server), figures(server.connect())["conflicts"]
                    run_clients(server, 8, commands, total)
                    spent.setdefault((name, threads), []).append((cpu_seconds(server) - cpu) / total * 1e6)
                    conflicts[name, threads] = (figures(server.connect())["conflicts"] - before) / total
        for (name, threads), each in sorted(spent.items()):
            ratio = sorted(a / b for a, b in zip(each, spent[name, 1]))
            print("%-10s %d reactors: %s us of CPU each, median %.2f x one reactor's; %.3f conflicts each"
                  % (name, threads, " ".join("%.2f" % x for x in each), ratio[len(ratio) // 2],
                     conflicts[name, threads]), flush=True)
    finally:
        for server in servers.values():
            server.clean_up()


# ---- beside redis-server ----

def measure_beside(program, total, rounds):
    """Each connection has a consumer of its own."""
    entries = 100000
    fields = [word for i in range(5) for word in ("field:%d" % i, "x" * 16)]
    adds = [request("XADD", "s", "*", *fields)] * 4096
    trims = [request("XADD", "t", "MAXLEN", "~", 1000, "*", *fields)] * 4096

    def read_and_acknowledge(count):
        def run(server):
            """Reads, then acknowledges what was delivered, in turn. Only then is known what the ids are."""
            link = Link(server.socket)
            for _ in range(total // 4 // (16 * count)):
                replies = link.run([request("XREADGROUP", "GROUP", "g", "c", "COUNT", count, "STREAMS", "s", ">")] * 16)
                ids = IDS.findall(replies)
                if len(ids) != 16 * count:
                    fail("%d entries were delivered" % len(ids))
                link.run([request("XACK", "s", "g", *ids[at : at + count]) for at in range(0, len(ids), count)])
            return total // 4 // (16 * count) * 16
        return run

    def prepared(server):
        link = Link(server.socket)
        link.run([request("FLUSHALL")])
        link.run([request("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")])
        for _ in range(entries // BATCH):
            link.run([request("XADD", "s", "*", *fields)] * BATCH)

    def spread(commands, count=total):
        def run(server):
            links = [Link(server.socket) for _ in range(8)]
            return run_beside(links, commands, count, 16)
        return run

    def middle(server):
        """An id in the middle of the stream."""
        info = server.connect().xinfo_stream("s")
        first, last = (int(info[which][0].split(b"-")[0]) for which in ("first-entry", "last-entry"))
        return (first + last) // 2

    def ranges(server):
        return spread([request("XRANGE", "s", middle(server), "+", "COUNT", 100)] * 64, total // 10)(server)

    rows = [
        ("XADD", spread(adds)),
        ("XADD MAXLEN ~", spread(trims)),
        ("XRANGE COUNT 100", ranges),
        ("XREVRANGE COUNT 1", spread([request("XREVRANGE", "s", "+", "-", "COUNT", 1)] * 4096)),
        ("XREADGROUP+XACK of 10", read_and_acknowledge(10)),
        ("XREADGROUP+XACK of 1", read_and_acknowledge(1)),
    ]
    servers = [
        Server("redis-server", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", 0),
        new_server(program, "--maxmemory", "1gb")]
    spent = {}
    try:
        for server in servers:
            server.start()
        for _ in range(rounds):
            for server in servers:
                prepared(server)
                for name, run in rows:
                    cpu = cpu_seconds(server)
                    count = run(server)
                    spent.setdefault(name, {}).setdefault(server, []).append((cpu_seconds(server) - cpu) / count * 1e6)
        for name, each in spent.items():
            redis, sett = (each[server] for server in servers)
            ratios = sorted(a / b for a, b in zip(redis, sett))
            print("%-22s redis %6.2f us, sett %6.2f us of CPU each; %.2f times (%.2f to %.2f)"
                  % (name, sorted(redis)[rounds // 2], sorted(sett)[rounds // 2], ratios[rounds // 2], ratios[0], ratios[-1]), flush=True)
    finally:
        for server in servers:
            server.clean_up()


def main():
    program, what, svg, numbers = arguments(__doc__)
    if what == "growth":
        measure_growth(program, numbers or SIZES, svg)
    elif what == "written":
        measure_written(program, *(numbers or [2000000]))
    elif what == "trimmed":
        measure_trimmed(program, *(numbers or [50000000]))
    elif what == "threads":
        measure_threads(program, *(numbers or [200000]))
    elif what == "beside":
        measure_beside(program, *numbers, *(200000, 5)[len(numbers):])
    else:
        fail("no such figure: " + what)


main()
