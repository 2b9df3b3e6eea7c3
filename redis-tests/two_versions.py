#!/usr/bin/python3
"""Masters and replicas of two versions follow each other (docs/COMPATIBILITY.md): data of every type come along by a full sync and by the stream,
a cut link goes on with a partial sync, and the roles change. Then an upgrade as it is to be done: the replica first, a fail-over, the other.

    two_versions.py NEWER OLDER      (of sett-server)"""
import sys
import golden_types as types
from own_server import Server, expect, free_port, wait_until

SECONDS = 300  # for what takes a moment on an idle machine


def server_of(program):
    port = free_port()
    server = Server(program, "--history", "no", "--maxmemory", "64mb", "--bind", "127.0.0.1", "--port", port)
    server.port = port
    return server


def follow(replica, master):
    expect("REPLICAOF", types.connect(replica).replicaof("127.0.0.1", master.port))


def is_level(replica, master):
    told, found = (types.connect(server).info("replication") for server in (master, replica))
    return ((told["role"], found["role"], found.get("master_link_status")) == ("master", "slave", "up")
            and found["slave_repl_offset"] == told["master_repl_offset"] == told.get("slave0", {}).get("offset"))


def wait_level(what, replica, master):
    wait_until("%s: the replica does not come level" % what, lambda: is_level(replica, master), SECONDS)


def syncs(master):
    """Full and partial ones."""
    stats = types.connect(master).info("stats")
    return stats["sync_full"], stats["sync_partial_ok"]


def check_data(server):
    client = types.connect(server)
    for part in (types.check_strings, types.check_collections, types.check_streams):
        part(client)
    types.check_databases(client, 0)


def expect_partial(before, master):
    """What it lacked came by the stream. A busy machine may cut a link once more."""
    full, partial = syncs(master)
    expect("full syncs, partial ones: %s, before %s" % ((full, partial), before), full == before[0] and partial > before[1], True)


def cut(replica, master):
    """By the master, who counts a sync more when it is there again."""
    before = syncs(master)
    expect("links that were cut", types.connect(master).execute_command("CLIENT", "KILL", "TYPE", "replica"), 1)
    types.change(types.connect(master))
    wait_level("after a cut", replica, master)
    expect_partial(before, master)


def fail_over(master, replica):
    expect("FAILOVER", types.connect(master).execute_command("FAILOVER"))
    wait_level("after FAILOVER", master, replica)
    expect("full syncs of a fail-over", syncs(replica)[0], 0)


def follows(newer_is_master, newer, older):
    """Full sync, stream, cut, roles changed twice."""
    first, second = (server_of(program) for program in ((newer, older) if newer_is_master else (older, newer)))
    try:
        first.start()
        second.start()
        types.write_half(types.connect(first), 0)
        follow(second, first)
        wait_level("by a full sync", second, first)
        types.write_half(types.connect(first), 1)
        wait_until("WAIT does not hear of the replica", lambda: types.connect(first).wait(1, 1000) == 1, SECONDS)
        wait_level("by the stream", second, first)
        check_data(second)
        cut(second, first)
        types.check_changed(types.connect(second))
        fail_over(first, second)
        client = types.connect(second)
        expect("a function", client.fcall("answer", 1, "number", "!"), "43!")
        client.set("string", "of the second")
        wait_level("the other way", first, second)
        expect("the other way", types.connect(first).get("string"), "of the second")
    finally:
        for server in (first, second):
            server.clean_up()


def upgraded(server, program, other):
    """A replica; its master is the other. What is written while it is away comes by the stream."""
    before = syncs(other)
    server.stop()
    types.connect(other).incr("meanwhile")
    server.program = program
    server.start()
    wait_level("after an upgrade", server, other)
    expect_partial(before, other)


def replica_first(newer, older):
    first, second = server_of(older), server_of(older)
    try:
        first.start()
        # Over restarts, a replica knows its master by its configuration.
        second.options += ["--replicaof", "127.0.0.1 %d" % first.port]
        types.write_half(types.connect(first), 0)
        second.start()
        wait_level("two of the older", second, first)
        upgraded(second, newer, first)
        types.write_half(types.connect(first), 1)
        types.connect(first).delete("meanwhile")
        fail_over(first, second)
        second.options = second.options[:-2]
        first.options += ["--replicaof", "127.0.0.1 %d" % second.port]
        upgraded(first, newer, second)
        types.connect(second).delete("meanwhile")
        wait_level("two of the newer", first, second)
        for server in (first, second):
            check_data(server)
        expect("a function", types.connect(second).fcall("answer", 1, "number", "!"), "42!")
    finally:
        for server in (first, second):
            server.clean_up()


def main():
    newer, older = sys.argv[1:]
    for newer_is_master in (False, True):
        follows(newer_is_master, newer, older)
    replica_first(newer, older)


main()
