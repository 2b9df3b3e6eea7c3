#!/usr/bin/python3
"""What everybody runs first, `redis-benchmark -q`, at Sett and at redis-server with AOF everysec: ./dev bench first [ROW ...]

    tests/bench/default_list.py SERVER [--rounds N] [--requests N] [--keys N --bytes N] [ROW ...]

One hot key and values of 3 bytes, or with --keys so many random keys, and values of --bytes. The two servers take turns on one core, each with one
thread that serves, redis-benchmark has another. Quoted for each row and pipeline are the median of the rounds' requests per second, and how many
times redis-server's Sett does in the same time, and with the same CPU time of the server and its children; then the lowest and highest of the latter.
"""
import argparse
import os
import statistics
import subprocess

from growth import Server, cpu_seconds, fail
from own_server import free_port, wait_until

ROWS = ["ping_inline", "ping_mbulk", "set", "get", "incr", "lpush", "rpush", "lpop", "rpop", "sadd", "hset", "spop", "zadd", "zpopmin",
        "lrange_100", "mset"]
PIPELINES = 1, 16
LONG = {"lrange_100": 8, "mset": 4}  # times fewer requests


def start(program, *options):
    server = Server(program, "--port", free_port(), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--io-threads", 1, *options)
    server.start()
    return server


def benchmark(options, port, row, pipeline, count):
    """Requests per second."""
    command = ["taskset", "-c", str(options.load_core), "redis-benchmark", "-p", str(port), "-P", str(pipeline), "-n", str(count), "--csv"]
    if options.keys:
        command += ["-r", str(options.keys)]
    if options.bytes:
        command += ["-d", str(options.bytes)]
    # Its own row of this name pushes as many elements first.
    command += ["LRANGE", "mylist", "0", "99"] if row == "lrange_100" else ["-t", row]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    lines = [line.split('","') for line in done.stdout.splitlines() if line.startswith('"') and not line.startswith('"test"')]
    if done.returncode != 0 or not lines:
        fail("redis-benchmark: %s%s" % (done.stdout[-300:], done.stderr[-300:]))
    return float(lines[-1][1].strip('"'))


def has_no_child(server):
    with open("/proc/%d/task/%d/children" % (server.process.pid, server.process.pid)) as file:
        return not file.read()


def measure(options, servers, row, pipeline):
    speeds, spent = {name: [] for name in servers}, {name: [] for name in servers}
    count = options.requests // LONG.get(row, 1) // (4 if pipeline == 1 else 1)
    for turn in range(options.rounds):
        for name in sorted(servers, reverse=turn % 2 == 0):
            server = servers[name]
            server.resume()
            before = cpu_seconds(server)
            speeds[name].append(benchmark(options, server.options[1], row, pipeline, count))
            # A child that writes redis-server's file anew would run on beside the other server.
            wait_until("its child does not end", lambda: has_no_child(server), 60)
            spent[name].append((cpu_seconds(server) - before) / count)
            server.pause()
    by_time = statistics.median(s / r for s, r in zip(speeds["sett"], speeds["redis"]))
    by_cpu = sorted(r / s for s, r in zip(spent["sett"], spent["redis"]))
    print("%-12s p%-3d %9.0f %9.0f  %5.2f  %5.2f (%.2f - %.2f)" % (
        row, pipeline, statistics.median(speeds["redis"]), statistics.median(speeds["sett"]), by_time, statistics.median(by_cpu),
        by_cpu[0], by_cpu[-1]), flush=True)
    return statistics.median(by_cpu)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1000000, help="of a round at pipeline 16; a quarter at pipeline 1")
    parser.add_argument("--keys", type=int, default=0)
    parser.add_argument("--bytes", type=int, default=0)
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error("rows: " + " ".join(ROWS))
    cores = os.sched_getaffinity(0)
    options.load_core = min(cores)
    os.sched_setaffinity(0, {max(cores)})  # what it starts inherits that
    servers = {}
    try:
        servers["redis"] = start("redis-server")
        servers["redis"].pause()
        servers["sett"] = start(options.server)
        servers["sett"].pause()
        print("%-12s %-4s %9s %9s  %5s  %s" % ("row", "", "redis/s", "sett/s", "ratio", "by CPU"))
        for pipeline in PIPELINES:
            ratios = [measure(options, servers, row, pipeline) for row in options.rows or ROWS]
            print("pipeline %d: median by CPU %.2f, least %.2f" % (pipeline, statistics.median(ratios), min(ratios)), flush=True)
    finally:
        for server in servers.values():
            server.clean_up()


main()
