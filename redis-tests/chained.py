#!/usr/bin/env python3
"""A chain of replicas: redis-server, two Setts, redis-server. All have the same bytes of the stream, so any link may be cut, any
server killed, and the head fall away: the rest goes on by partial syncs, and is equal at equal offsets.

    chained.py SETT_SERVER REDIS_SERVER [SEED]
"""
import sys
import time

from own_server import fail, wait_until
from replica_world import World, Writer, count_syncs, expect, follow, free_port, link_of
from values import Maker, digest, fill


def offset_of(server):
    return server.connect().info("replication")["master_repl_offset"]


def wait_chain(what, servers):
    """All have what the first one has said, and the links stand."""
    def are_level():
        at = offset_of(servers[0])
        return all(link_of(s)["master_link_status"] == "up" and offset_of(s) == at for s in servers[1:])
    wait_until("the chain does not come level " + what, are_level)


def expect_chain(world, what, servers):
    for _ in range(20):
        wait_chain(what, servers)
        digests = [digest(s) if s.program == world.redis_server else world.digest_of(s) for s in servers]
        if len(set(digests)) == 1:
            return
        time.sleep(0.3)
    fail("the data differ %s: %r" % (what, digests))


def server_with_port(world, make, *options):
    server = make(*options)
    if not hasattr(server, "port"):
        server.port = free_port()
        server.options += ["--port", str(server.port), "--repl-backlog-size", "300mb"]
    return server


def check_branches(world, above, middle, below):
    """The one in the middle is made a master while the one above lives: what is below follows its branch under its id, so
    that it can't go back to the other one as if nothing had been."""
    middle.connect().execute_command("REPLICAOF", "NO", "ONE")
    wait_until("what is below does not learn the new id", lambda: link_of(below)["master_link_status"] == "up" and
               link_of(below)["master_replid"] == link_of(middle)["master_replid"])
    for i in range(5):
        middle.connect().set("branch:%d" % i, "middle")
    for i in range(50):
        above.connect().set("branch:%d" % i, "above, and longer")
    expect_chain(world, "on its own branch", [middle, below])
    follow(below, above.port)
    expect_chain(world, "back on the other branch", [above, below])


def main(sett_server, redis_server, seed=1):
    world = World(sett_server, redis_server, int(seed))
    try:
        head = world.redis()
        near, far, last = (server_with_port(world, world.sett) for _ in range(3))
        tail = world.redis()
        chain = [head, near, far, tail]
        for server in chain + [last]:
            server.start()
        fill((head,), Maker(world.seed), 1000)
        # The stream stands in another database than the first when each begins, and does not select it again for those further down.
        elsewhere = head.connect(db=5)
        for above, below in zip(chain, chain[1:]):
            elsewhere.incr("elsewhere")
            wait_chain("before the next", chain[:chain.index(below)])
            follow(below, above.port)
            wait_until("no link", lambda: link_of(below)["master_link_status"] == "up")
            elsewhere.incr("elsewhere")
        # So it does behind a replica of redis-server.
        follow(last, tail.port)
        wait_until("no link", lambda: link_of(last)["master_link_status"] == "up")
        elsewhere.incr("elsewhere")
        expect_chain(world, "with one more", [tail, last])
        last.connect().execute_command("REPLICAOF", "NO", "ONE")
        last.kill()
        expect_chain(world, "at first", chain)
        expect("ids", len({link_of(s)["master_replid"] for s in chain}), 1)
        writer = Writer(head, world.seed)
        writer.start()
        full = [count_syncs(s)[0] for s in chain[:3]]
        # Whoever is killed goes on from where it was, and so do those below it.
        for above, server in ((head, near), (near, far), (head, near)):
            if "--replicaof" not in server.options:
                server.options += ["--replicaof", "127.0.0.1 %d" % above.port]
            server.kill()
            server.start()
            wait_until("no link after a kill", lambda: link_of(server)["master_link_status"] == "up")
            time.sleep(0.5)
        writer.stop()
        expect_chain(world, "after kills", chain)
        expect("full syncs of the head's", count_syncs(head)[0], full[0])
        # The head falls away: the next one takes its place, and the rest goes on without a full sync.
        full = count_syncs(near)[0], count_syncs(far)[0]
        head.kill()
        near.connect().execute_command("REPLICAOF", "NO", "ONE")
        expect("the second id", link_of(near)["master_replid2"] != "0" * 40, True)
        writer = Writer(near, world.seed + 1)
        writer.start()
        wait_until("nothing is written", lambda: writer.rounds > 100)
        writer.stop()
        expect_chain(world, "behind a new head", chain[1:])
        expect("full syncs behind a new head", (count_syncs(near)[0], count_syncs(far)[0]), full)
        # The old head comes back, below.
        head.start()
        follow(head, near.port)
        expect_chain(world, "with the old head below", [near, head])
        check_branches(world, near, far, tail)
    except BaseException:
        for server in [s for s in world.servers if s.log_text()][:4]:
            print("-- %s\n%s" % (server.program, server.log_text()[-2500:]))
        raise
    finally:
        world.clean_up()
    print("chained")


main(*sys.argv[1:])
