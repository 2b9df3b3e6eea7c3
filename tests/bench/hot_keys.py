#!/usr/bin/python3
"""What one hot key costs that clients of several reactors write.

    tests/bench/hot_keys.py SERVER [COMMANDS [ROUNDS]]

Servers with 1, 2 and 4 reactors take turns in each round; the load is 8 clients, pipeline 16, all on one key. Quoted are the
median of the CPU time for a command, beside that with one reactor, and the conflicts. SET of many keys is the floor: what more
reactors cost where nobody meets.
"""
import os
import sys

from growth import Link, cpu_seconds, figures, new_server, request, run_clients, value_pool

GET_SET = "local n = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], (n or 0) + 1) return 1"
REACTORS = (1, 2, 4)


def rows():
    """Name, and 4096 commands."""
    values = value_pool(20)
    numbered = list(enumerate(values))
    return [
        ("SET, many keys", [request("SET", "key:%d" % i, value) for i, value in numbered]),
        ("SET", [request("SET", "string", value) for value in values]),
        ("INCR", [request("INCR", "counter")] * 4096),
        ("HSET", [request("HSET", "hash", "field:%d" % (i % 1000), value) for i, value in numbered]),
        ("LPUSH", [request("LPUSH", "list", value) for value in values]),
        ("ZADD", [request("ZADD", "zset", i * 7919 % 1000, "member:%d" % (i % 1000)) for i, _ in numbered]),
        ("SADD", [request("SADD", "set", "member:%d" % (i % 1000)) for i, _ in numbered]),
        ("XADD", [request("XADD", "stream", "*", "f", value) for value in values]),
        ("XREADGROUP", [request("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "stream", ">")] * 4096),
        ("script, GET and SET", [request("EVAL", GET_SET, 1, "scripted")] * 4096),
    ]


def median(values):
    return sorted(values)[len(values) // 2]


def measure(program, total, rounds):
    servers, spent, conflicts = {}, {}, {}
    try:
        for reactors in REACTORS:
            servers[reactors] = new_server(program, "--io-threads", reactors)
            servers[reactors].start()
            Link(servers[reactors].socket).run([request("XGROUP", "CREATE", "stream", "g", "0", "MKSTREAM")])
        for name, commands in rows():
            for _ in range(rounds):
                for reactors, server in servers.items():
                    cpu, before = cpu_seconds(server), figures(server.connect())["conflicts"]
                    run_clients(server, 8, commands, total)
                    spent.setdefault(reactors, []).append((cpu_seconds(server) - cpu) / total * 1e6)
                    conflicts.setdefault(reactors, []).append((figures(server.connect())["conflicts"] - before) / total)
            print("%-20s" % name + "".join(
                "  %d: %6.2f us, %.2f x, %.4f conflicts" % (
                    n, median(spent[n]), median([a / b for a, b in zip(spent[n], spent[1])]), median(conflicts[n]))
                for n in REACTORS), flush=True)
            spent.clear()
            conflicts.clear()
    finally:
        for server in servers.values():
            server.clean_up()


def main():
    numbers = [int(word) for word in sys.argv[2:]]
    if len(sys.argv) < 2 or len(numbers) > 2 or not os.path.exists(sys.argv[1]):
        sys.exit(__doc__)
    measure(sys.argv[1], *(numbers + [200000, 3][len(numbers):]))


main()
