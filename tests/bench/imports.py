#!/usr/bin/python3
"""What it costs to take over Redis' files, and to save one under load, beside redis-server.

    tests/bench/imports.py SERVER rdb|aof|bgsave [KEYS [ROUNDS]]

rdb, aof: redis-server writes a file of so many keys (10^7: 2 GiB; half of them strings, the others hashes, lists, sets, sorted
sets and streams). Then both servers load it in turn, Sett with `maxmemory 256mb`: seconds from the start to the first PONG, seconds of
CPU of all threads until then, and the most that was resident.
bgsave: SETs of keys that are there, at half the rate that a connection reaches, for ten seconds each without and with a BGSAVE:
how late replies came. A SET's time begins when it was due.
The times want a machine with nothing else to do.
"""
import os
import random
import shutil
import signal
import sys
import tempfile
import time


from growth import Link, Server, fail, request, value_pool
from own_server import wait_until

BATCH = 1000
REDIS = "redis-server"
LOAD_SECONDS = 1200  # at most
STRING = 180
ELEMENT = 24


def write(link, keys):
    """Keys of all types, of about 200 bytes each. The kind of a key follows from its number."""
    long, short = value_pool(STRING), value_pool(ELEMENT)

    def words(k):
        kind = k % 10
        if kind < 5:
            return "SET", "string:%d" % k, long[k % 4096]
        elements = [short[(k * 7 + i) % 4096] for i in range(6)]
        if kind == 5:
            return "RPUSH", "list:%d" % k, *elements
        if kind == 6:
            return "SADD", "set:%d" % k, *elements
        if kind == 7:
            return "ZADD", "zset:%d" % k, *(word for i, e in enumerate(elements) for word in (k * 31 % 1000 + i, e))
        if kind == 8 and k % 100 == 8:
            return "XADD", "stream:%d" % k, "1-1", "field", elements[0], "other", long[k % 4096]
        return "HSET", "hash:%d" % k, *(word for i, e in enumerate(elements[:5]) for word in ("field:%d" % i, e))

    for first in range(0, keys, BATCH):
        link.run([request(*words(k)) for k in range(first, min(first + BATCH, keys))])


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_resident(pid):
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    fail("no VmHWM")


def start_and_wait(server):
    """Returns the seconds up to the first PONG."""
    answers, began = server.answers, time.monotonic()
    server.answers = lambda client: True  # start() is not to wait
    server.start()
    server.answers = answers
    client = server.connect()
    wait_until("it does not load", lambda: server.answers(client), LOAD_SECONDS)
    return time.monotonic() - began


class Files:
    """What redis-server has written, in a folder of its own."""

    def __init__(self, kind, keys):
        self.folder = tempfile.mkdtemp(prefix="sett-bench-import.")
        self.kind = kind
        self.server = Server(REDIS, *self.options())
        self.server.data = self.folder
        self.server.start()
        write(Link(self.server.socket), keys)
        client = self.server.connect(timeout=LOAD_SECONDS)
        self.keys = client.dbsize()
        if kind == "rdb":
            client.save()
        self.server.stop()
        self.bytes = sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(self.folder) for name in names)

    def options(self):
        return ("--save", "", "--appendonly", "yes" if self.kind == "aof" else "no", "--appendfsync", "no",
                "--auto-aof-rewrite-percentage", 0)

    def clean_up(self):
        self.server.clean_up()
        shutil.rmtree(self.folder, ignore_errors=True)

    def loaded_by(self, program, *options):
        """Wall, CPU, MiB."""
        server = Server(program, *self.options(), *options)
        try:
            for name in os.listdir(self.folder):
                path = os.path.join(self.folder, name)
                if os.path.isdir(path):
                    shutil.copytree(path, os.path.join(server.data, name), copy_function=os.link)
                else:
                    os.link(path, os.path.join(server.data, name))
            wall = start_and_wait(server)
            cpu, resident = cpu_seconds(server.process.pid), most_resident(server.process.pid)
            found = server.connect(timeout=300).dbsize()
            if found != self.keys:
                fail("%d keys of %d" % (found, self.keys))
            return wall, cpu, resident
        finally:
            server.clean_up()


def measure_imports(program, kind, keys, rounds):
    files = Files(kind, keys)
    try:
        print("%d keys, %.0f MiB" % (files.keys, files.bytes / (1 << 20)), flush=True)
        ratios = []
        for _ in range(rounds):
            theirs = files.loaded_by(REDIS)
            ours = files.loaded_by(program, "--maxmemory", "256mb")
            ratios.append((theirs[0] / ours[0], theirs[1] / ours[1]))
            print("redis-server %6.2f s, %6.2f s of CPU, %5.0f MiB; sett-server %6.2f s, %6.2f s of CPU, %5.0f MiB; keys per second %.2f, per second of CPU %.2f times"
                  % (*theirs, *ours, *ratios[-1]), flush=True)
        print("median: keys per second %.2f, per second of CPU %.2f times redis-server's"
              % tuple(sorted(r[i] for r in ratios)[len(ratios) // 2] for i in range(2)))
    finally:
        files.clean_up()


def half_rate(link, commands):
    """Half of what a connection reaches, a second."""
    began, count = time.monotonic(), 0
    while time.monotonic() < began + 2:
        link.socket.sendall(commands[count * 7919 % len(commands)])
        link.socket.recv(64)
        count += 1
    return count / 4


def delays(link, rate, seconds, commands, meanwhile):
    """Milliseconds from when each was due, sorted. Goes on while `meanwhile()`."""
    found, chance = [], random.Random(1)
    began = time.monotonic()
    while time.monotonic() < began + seconds or meanwhile():
        due = began + len(found) / rate
        while time.monotonic() < due:
            pass
        link.socket.sendall(commands[chance.randrange(len(commands))])
        if link.socket.recv(64) != b"+OK\r\n":
            fail("a SET is refused")
        found.append((time.monotonic() - due) * 1000)
        if len(found) > rate * LOAD_SECONDS:
            fail("the save does not end")
    return sorted(found)


def measure_bgsave(program, keys, options):
    server = Server(program, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
                    "--auto-aof-rewrite-percentage", 0, *options)
    try:
        server.start()
        link = Link(server.socket)
        write(link, keys)
        client = server.connect(timeout=LOAD_SECONDS)
        time.sleep(20)  # for merges
        pool = value_pool(STRING)
        commands = [request("SET", "string:%d" % (k * 10), pool[k % 4096]) for k in range(0, keys // 10, max(1, keys // 1000000))]
        rate = half_rate(link, commands)
        for name in "without", "BGSAVE", "without", "BGSAVE":
            saving = lambda: False  # noqa: E731
            if name == "BGSAVE":
                client.bgsave()
                checked = [0.0, True]

                def saving():
                    if time.monotonic() > checked[0] + 0.5:
                        checked[:] = time.monotonic(), client.info("persistence")["rdb_bgsave_in_progress"] == 1
                    return checked[1]
            start = time.monotonic()
            found = delays(link, rate, 10, commands, saving)
            print("%-14s %-8s %6.1f s, %6.0f SETs a second: p50 %.3f ms, p99 %.2f, p99.9 %.2f, most %.1f"
                  % (os.path.basename(program), name, time.monotonic() - start, rate, *(found[int(len(found) * part)] for part in (0.5, 0.99, 0.999)), found[-1]), flush=True)
    finally:
        server.clean_up()


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in ("rdb", "aof", "bgsave"):
        print(__doc__)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    program, what, *numbers = sys.argv[1:]
    keys, rounds = (*map(int, numbers), *(10**7, 3)[len(numbers):])
    if what == "bgsave":
        measure_bgsave(program, keys, ("--maxmemory", "256mb"))
        measure_bgsave(REDIS, keys, ())
    else:
        measure_imports(program, what, keys, rounds)


if __name__ == "__main__":
    main()
