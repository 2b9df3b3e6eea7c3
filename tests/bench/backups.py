#!/usr/bin/python3
"""A backup of a server under load, beside `cp` of as many bytes.

    tests/bench/backups.py SERVER TOOL [MIB [ROUNDS]]

Keys with values of 1 KiB (so many MiB of them: 4096), `maxmemory 256mb`. Then, in turn, under SETs of keys that are there at half
the rate that a connection reaches: nothing else for ten seconds, `sett-tool backup`, and `cp -r` of that backup with a sync; source
and targets on one disk. MiB a second of each, and how late replies came. A SET's time begins when it was due.
The times want a machine with nothing else to do.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from growth import Link, Server, fail, request
from imports import delays, half_rate

BATCH = 512
PARTS = (0.5, 0.99, 0.999)


def commands_of(keys, source):
    return [request("SET", "key:%d" % k, source.randbytes(1024)) for k in keys]


def bytes_in(directory):
    return sum(os.path.getsize(os.path.join(directory, name)) for name in os.listdir(directory))


class Bench:
    def __init__(self, server, tool, mib):
        self.server, self.tool = server, tool
        self.link = Link(server.socket)
        source = random.Random(1)
        keys = mib * 1024
        for first in range(0, keys, BATCH):
            self.link.run(commands_of(range(first, first + BATCH), source))
        self.commands = commands_of(range(0, keys, max(1, keys // 100000)), source)
        self.rate = half_rate(self.link, self.commands)

    def measure(self, name, target, *command):
        """p99.9 in milliseconds and MiB a second; the process ends well, and its target counts."""
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL) if command else None
        ended = []
        began = time.monotonic()
        if process is not None:
            threading.Thread(target=lambda: ended.append((process.wait(), time.monotonic())[1])).start()
        found = delays(self.link, self.rate, 10, self.commands, lambda: process is not None and not ended)
        if process is not None and process.returncode != 0:
            fail("%s: exit %d" % (name, process.returncode))
        speed = bytes_in(target) / 2**20 / (ended[0] - began) if process is not None else 0
        late = [found[int(len(found) * part)] for part in PARTS]
        print("%-8s %6.1f s, %6.1f MiB/s; %5.0f SETs a second: p50 %.3f ms, p99 %.2f, p99.9 %.2f, most %.1f"
              % (name, (ended[0] if ended else time.monotonic()) - began, speed, self.rate, *late, found[-1]), flush=True)
        return late[-1], speed

    def round(self, directory):
        backup, copy = directory + "/backup", directory + "/copy"
        alone, _ = self.measure("alone", None)
        beside, ours = self.measure("backup", backup, self.tool, "backup", "--quiet", self.server.socket, backup)
        _, theirs = self.measure("cp", copy, "sh", "-c", 'cp -r "$1" "$2" && sync -f "$2"', "sh", backup, copy)
        shutil.rmtree(backup)
        shutil.rmtree(copy)
        return ours / theirs, beside / alone


def main():
    if len(sys.argv) < 3:
        print(__doc__)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    program, tool, *numbers = sys.argv[1:]
    mib, rounds = (*map(int, numbers), *(4096, 3)[len(numbers):])
    server = Server(program, "--maxmemory", "256mb", "--appendfsync", "everysec", "--save", "")
    try:
        server.start()
        bench = Bench(server, tool, mib)
        ratios = [bench.round(server.directory) for _ in range(rounds)]
        print("median: a backup is %.2f times as fast as cp; p99.9 beside it %.2f times that alone"
              % tuple(sorted(r[i] for r in ratios)[rounds // 2] for i in range(2)))
    finally:
        server.clean_up()


if __name__ == "__main__":
    main()
