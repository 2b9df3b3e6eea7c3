#!/usr/bin/env python3
"""Sett as a replica of Debian's redis-server: full syncs beside writes, from files and streamed; links that are cut; kill -9
in the middle of the stream and of a full sync; masters that restart, refuse, send garbage. At equal offsets the data are
equal: compared as redis-server's DEBUG DIGEST of what Sett saves.

    following.py SETT_SERVER REDIS_SERVER [SEED]
"""
import itertools
import os
import socket
import sys
import threading
import time

import redis

from certificates import Certificates
from own_server import PATIENCE, fail, wait_until
from replica_world import (World, Writer, count_syncs, expect, expect_equal, follow, free_port, link_of,
                           stop_expiring, wait_level)
from values import Maker, fill

KEYS = 1500


def check_full(world, diskless):
    """A full sync beside writes; what was there before is gone, and served until then."""
    master, sett = world.redis("--repl-diskless-sync", diskless), world.sett()
    master.start()
    sett.start()
    fill((master,), Maker(world.seed), KEYS)
    master.connect().function_load("#!lua name=one\nredis.register_function{function_name='one_f', "
                                   "callback=function() return 'one' end, flags={'no-writes'}}")
    client = sett.connect()
    client.set("mine", "1")
    client.function_load("#!lua name=mine\nredis.register_function('mine_f', function() return 'mine' end)")
    watcher = sett.connect().pipeline()
    watcher.watch("mine")
    writer = Writer(master, world.seed)
    writer.start()
    follow(sett, master.port)
    wait_until("the first sync does not end", lambda: link_of(sett)["master_link_status"] == "up")
    watcher.multi()
    watcher.get("mine")
    try:
        watcher.execute()
        fail("a full sync does not touch watched keys")
    except redis.WatchError:
        pass
    wait_until("nothing is written", lambda: writer.rounds > 100)
    writer.stop()
    expect_equal(world, "after a full sync, diskless " + diskless, sett, master)
    expect("what was there before", client.get("mine"), None)
    expect("FCALL", client.fcall("one_f", 0), b"one")
    expect("libraries", len(client.execute_command("FUNCTION", "LIST")), 1)
    expect("ROLE", sett.connect().execute_command("ROLE")[:4], [b"slave", b"127.0.0.1", master.port, b"connected"])
    return master, sett


def check_cut(world, master, sett):
    """A link that is cut goes on where it was."""
    relay = world.relay(master.port)
    follow(sett, relay.port)
    wait_level("through a proxy", sett, master)
    full, partial = count_syncs(master)
    writer = Writer(master, world.seed + 1)
    writer.start()
    for i in range(5):
        before = relay.accepted
        relay.cut()
        wait_until("no new link comes", lambda: relay.accepted > before)
        wait_until("the link is not up again", lambda: link_of(sett)["master_link_status"] == "up")
        time.sleep(0.1 * i)
    writer.stop()
    expect_equal(world, "after cuts", sett, master)
    expect("full syncs by cuts", count_syncs(master)[0], full)
    if count_syncs(master)[1] < partial + 5:
        fail("cuts are not mended by partial syncs: %r" % (count_syncs(master),))
    follow(sett, master.port)
    wait_level("without the proxy", sett, master)


def check_kills(world, master, sett, rounds):
    """Killed in the middle of the stream, it goes on where it was: nothing lost, nothing twice."""
    sett.options += ["--replicaof", "127.0.0.1 %d" % master.port]
    full = count_syncs(master)[0]
    writer = Writer(master, world.seed + 2)
    writer.start()
    for i in range(rounds):
        sett.kill()
        sett.start()
        wait_until("the link is not up after a kill", lambda: link_of(sett)["master_link_status"] == "up")
        time.sleep(world.random.random() * 0.2)
    sett.stop()
    sett.start()
    writer.stop()
    expect_equal(world, "after kills", sett, master)
    expect("full syncs by kills", count_syncs(master)[0], full)


def check_kills_in_sync(world, master, rounds):
    """Killed in the middle of a full sync, it has what it had, and begins anew."""
    sett = world.sett("--key-load-delay", "300")
    sett.start()
    for i in range(1000):
        sett.connect().set("mine:%d" % i, i)
    for i in range(rounds):
        before = sett.connect().dbsize()
        follow(sett, master.port)
        wait_until("no sync begins", lambda: "Loading DB in memory" in sett.log_text())
        time.sleep(world.random.random() * 0.4)
        found = sett.connect().dbsize()
        is_up = link_of(sett)["master_link_status"] == "up"
        sett.kill()
        open(sett.log, "w").close()
        sett.start()
        if is_up:
            break
        if found != before:  # the sync's commit came before the look, and its link after
            expect("keys while a sync is under way", found, master.connect().dbsize())
            break
        after = sett.connect().dbsize()
        expect("keys after a kill in a sync: %d" % after, after == before or after >= KEYS // 2, True)
    follow(sett, master.port)
    expect_equal(world, "after kills in a full sync", sett, master)
    sett.clean_up()


def check_promotion(world, master, sett):
    """REPLICAOF NO ONE keeps the data, under a new id; then it expires keys itself, and follows again."""
    client = sett.connect()
    for command in (("SET", "x", "1"), ("EVAL", "return redis.call('SET', 'x', '1')", "0")):
        try:
            client.execute_command(*command)
            fail("a replica takes a write")
        except redis.ReadOnlyError:
            pass
    stop_expiring(master)
    master.connect().set("soon", "x", px=1)
    master.connect().sadd("goes", "x")
    wait_level("before the promotion", sett, master)
    time.sleep(0.05)
    expect("a key past its deadline", client.get("soon"), None)
    keys = client.dbsize()
    blocked = sett.connect()
    before = link_of(sett)
    expect("REPLICAOF NO ONE", client.execute_command("REPLICAOF", "NO", "ONE"), b"OK")
    after = link_of(sett)
    expect("the role", after["role"], "master")
    expect("the second id", (after["master_replid2"], after["second_repl_offset"]),
           (before["master_replid"], before["slave_repl_offset"] + 1))
    if keys - client.dbsize() > 60:
        fail("keys are gone")
    client.set("x", "1")
    wait_until("a master does not expire", lambda: client.execute_command("DEBUG", "OBJECT", "x") and client.ttl("soon") == -2)
    # As a replica again it gets all anew, and who waits is told.
    waiting = threading.Thread(target=lambda: expect_unblocked(blocked), daemon=True)
    waiting.start()
    blocks = queue_scripts(sett)
    wait_until("nobody waits", lambda: client.info("clients")["blocked_clients"] == 1)
    follow(sett, master.port)
    waiting.join(180)
    expect("whoever waits is told", waiting.is_alive(), False)
    check_queued_scripts(blocks)
    master.connect().execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    expect_equal(world, "after following again", sett, master)
    expect("what was written meanwhile", client.get("x"), master.connect().get("x"))


# Scripts in a MULTI block, each behind a command that only reads: what EXEC answers once the server is a replica.
QUEUED_SCRIPTS = (
    ("return 1", [None, 1]),
    ("#!lua flags=no-writes\nreturn 1", [None, 1]),
    ("#!lua\nreturn 1", "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica."),
    ("#!lua flags=allow-oom\nreturn 1",
     "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica."),
)


def queue_scripts(sett):
    """Connections in MULTI, with their answers to be."""
    blocks = []
    for script, answer in QUEUED_SCRIPTS:
        pipe = sett.connect().pipeline()
        pipe.multi()
        pipe.connection = pipe.connection_pool.get_connection("MULTI")
        for command in (("MULTI",), ("GET", "absent"), ("EVAL", script, "0")):
            pipe.connection.send_command(*command)
            pipe.connection.read_response()
        blocks.append((pipe.connection, answer))
    return blocks


def check_queued_scripts(blocks):
    """A block with a script that may write is refused whole, by what the script says of itself."""
    for connection, answer in blocks:
        connection.send_command("EXEC")
        try:
            expect("EXEC with a script", connection.read_response(), answer)
        except redis.ResponseError as error:
            expect("EXEC with a script", "EXECABORT %s" % error if isinstance(error, redis.exceptions.ExecAbortError)
                   else str(error), answer)


def expect_unblocked(client):
    try:
        client.blpop("nothing", 60)
        fail("BLPOP answers")
    except redis.ResponseError as error:
        if "UNBLOCKED" not in str(error):
            fail("BLPOP says %s" % error)


def check_restarted_alone(world, master, sett):
    """A replica that was started without a master has data of its own: it must not go on with the stream."""
    wait_level("before a start alone", sett, master)
    sett.stop()
    options = list(sett.options)
    at = sett.options.index("--replicaof")
    del sett.options[at:at + 2]
    sett.start()
    sett.connect().set("of its own", "1")
    sett.kill()
    sett.options = options
    full = count_syncs(master)[0]
    sett.start()
    wait_level("after a start alone", sett, master)
    expect("full syncs after a start alone", count_syncs(master)[0], full + 1)
    expect("data of its own", sett.connect().get("of its own"), None)
    expect_equal(world, "after a start alone", sett, master)


def check_stale_scripts(client):
    """Scripts while stale data are not served."""
    stale = "Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    for script, said in (("return 1", stale), ("#!lua flags=no-writes\nreturn 1", stale),
                         ("#!lua flags=allow-stale\nreturn 1", "You can't write against a read only replica."),
                         ("#!lua flags=allow-stale,no-writes\nreturn redis.call('get','x')",
                          "Can not execute the command on a stale replica")):
        try:
            fail("%r answers %r" % (script, client.eval(script, 0)))
        except redis.ResponseError as error:
            if said not in str(error):
                fail("%r says %s" % (script, error))
    expect("ECHO in a script", client.eval("#!lua flags=allow-stale,no-writes\nreturn redis.call('echo','e')", 0), b"e")


def check_master_restart(world, master, sett):
    """A master that is gone and comes back, with another id."""
    master.connect().config_set("save", "900 1")
    master.stop()
    wait_until("the link does not go down", lambda: link_of(sett)["master_link_status"] == "down")
    sett.connect().config_set("replica-serve-stale-data", "no")
    try:
        sett.connect().get("x")
        fail("stale data are served")
    except redis.ResponseError as error:
        expect("what is said without a link", str(error),
               "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
    check_stale_scripts(sett.connect())
    sett.connect().config_set("replica-serve-stale-data", "yes")
    sett.connect().get("x")
    master.start()
    expect_equal(world, "after the master's restart", sett, master)


def check_password(world, master, sett):
    master.connect().config_set("requirepass", "secret")
    client = sett.connect()
    client.config_set("masterauth", "wrong")
    master.connect = lambda timeout=30, db=0: redis.Redis(
        unix_socket_path=master.socket, socket_timeout=timeout, db=db, password="secret")
    client.execute_command("CLIENT", "KILL", "TYPE", "master")
    for c in master.connect().client_list(_type="replica"):
        master.connect().client_kill_filter(_id=c["id"])
    wait_until("a wrong password is not said", lambda: "Unable to AUTH to MASTER" in sett.log_text())
    client.config_set("masterauth", "secret")
    wait_level("with the right password", sett, master)
    master.connect().execute_command("ACL", "SETUSER", "copier", "on", ">key", "+psync", "+replconf", "+ping")
    client.config_set("masteruser", "copier")
    client.config_set("masterauth", "key")
    for c in master.connect().client_list(_type="replica"):
        master.connect().client_kill_filter(_id=c["id"])
    wait_until("the user is not used", lambda: any(c.get("user") == "copier" for c in master.connect().client_list()))
    wait_level("as a user", sett, master)


class FalseMaster(threading.Thread):
    """Answers the handshake, then sends what it was given, to each connection."""

    def __init__(self, payload):
        super().__init__(daemon=True)
        self.payload, self.served, self.asked = payload, 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.serve(client)
            except OSError:
                pass
            client.close()
            self.served += 1

    def serve(self, client):
        client.settimeout(10)
        while True:
            request = client.recv(4096)
            if not request:
                return
            if b"PSYNC" in request:
                self.asked.append(request)
                client.sendall(self.payload)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
                return
            client.sendall(b"+OK\r\n" if b"PING" not in request else b"+PONG\r\n")

    def close(self):
        self.listener.close()


def check_garbage(world, dump):
    """What a master sends that makes no sense is said in the log; the old data are there, and it is tried again."""
    sett = world.sett()
    sett.start()
    client = sett.connect()
    client.set("mine", "1")
    resync = b"+FULLRESYNC " + b"a" * 40 + b" 100\r\n"
    damaged = bytearray(dump)
    damaged[len(dump) // 2] ^= 1
    mark = b"0123456789abcdef0123456789abcdef01234567"
    cases = (
        (b"+WHAT\r\n", "Unexpected reply to PSYNC from master: +WHAT"),
        (b"+FULLRESYNC short 1\r\n", "Unexpected reply to PSYNC from master"),
        (b"x" * 5000, "it answers with a line without end"),
        (b"-LOADING not now\r\n", "Master is currently unable to PSYNC"),
        (resync + b"what\r\n", "the first byte is not '$'"),
        (resync + b"-ERR no\r\n", "MASTER aborted replication with an error: ERR no"),
        (resync + b"$%d\r\n" % len(dump) + dump[:len(dump) // 2], "the other side has closed the connection"),
        (resync + b"$EOF:" + mark + b"\r\n" + dump, "the other side has closed the connection"),
        (resync + b"$%d\r\n" % len(dump) + bytes(damaged), "damaged"),
        (resync + b"$5\r\nREDIS", "damaged"),
        (resync + b"$0\r\n", "damaged"),
        (resync + b"$%d\r\n" % (1 << 60), "must lie in"),
    )
    for payload, wanted in cases:
        open(sett.log, "w").close()
        false = FalseMaster(payload)
        follow(sett, false.port)
        wait_until("the log does not say %r: %s" % (wanted, sett.log_text()), lambda: wanted in sett.log_text())
        expect("the old data after %r" % wanted, client.get("mine"), b"1")
        expect("REPLICAOF NO ONE", client.execute_command("REPLICAOF", "NO", "ONE"), b"OK")
        false.close()
    # A stream that makes no sense ends the link behind the last whole command.
    stream = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
    for end, wanted in ((b"*1\r\n!x\r\n", "makes no sense"), (b"*1\r\n$4\r\nEXEC\r\n", "makes no sense"),
                        (b"SET c 1\r\n", "inline protocol"),
                        (b"*2\r\n$6\r\nSELECT\r\n$4\r\n1000\r\n", "raise `databases`")):
        open(sett.log, "w").close()
        false = FalseMaster(resync + b"$EOF:" + mark + b"\r\n" + dump + mark + stream + end)
        follow(sett, false.port)
        wait_until("the log does not say %r" % wanted, lambda: wanted in sett.log_text())
        expect("what came before", client.get("a"), b"1")
        expect("the offset", link_of(sett)["slave_repl_offset"], 100 + len(stream))
        if "databases" not in wanted:
            wait_until("a stream that makes no sense is not replaced by a full sync",
                       lambda: any(b"\r\n?\r\n" in request for request in false.asked[1:]))
        expect("REPLICAOF NO ONE", client.execute_command("REPLICAOF", "NO", "ONE"), b"OK")
        false.close()
        # What is here counts once this server is a master: it says where it stands.
        time.sleep(0.3)
        false = FalseMaster(b"-LOADING not now\r\n")
        follow(sett, false.port)
        wait_until("it does not ask", lambda: false.asked)
        expect("that it asks for everything", b"\r\n?\r\n" in false.asked[0], False)
        expect("REPLICAOF NO ONE", client.execute_command("REPLICAOF", "NO", "ONE"), b"OK")
        false.close()
    # What can't be run is passed over, as Redis does.
    open(sett.log, "w").close()
    false = FalseMaster(resync + b"$%d\r\n" % len(dump) + dump + b"*1\r\n$4\r\nWHAT\r\n"
                        b"*3\r\n$5\r\nLPUSH\r\n$1\r\na\r\n$1\r\n1\r\n" + stream.replace(b"a", b"b") + b"*1\r\n$4\r\nPING\r\n")
    follow(sett, false.port)
    wait_until("a command after one that fails is not run", lambda: client.get("b") == b"1")
    if "== CRITICAL ==" not in sett.log_text():
        fail("a failing command of the master's is not logged")
    false.close()
    sett.clean_up()


def check_writable(world):
    """A writable replica deletes what its own clients gave deadlines, not what is its master's; and Redis' log line of a command
    that fails here."""
    for make in (world.sett, world.redis):
        master, replica = (make() for _ in range(2))
        for server in (master, replica):
            if not hasattr(server, "port"):
                server.port = free_port()
                server.options += ["--port", str(server.port)]
            server.start()
        follow(replica, master.port)
        wait_until("it is not synced", lambda: link_of(replica)["master_link_status"] == "up")
        client, other = master.connect(), replica.connect()
        stop_expiring(master)
        client.set("the master's", "1", px=1)
        client.set("kept", "text")
        expect("CONFIG SET", other.config_set("replica-read-only", "no"), True)
        with other.pipeline() as block:  # nothing is between them, so that it does not go
            block.hset("renewed", "field", "1").pexpire("renewed", 300).persist("renewed")
            block.execute()
        wait_until("it does not come level", lambda: other.exists("kept"))
        with other.pipeline() as block:
            block.set("own", "1", px=300)
            block.dbsize()
            expect("keys before", block.execute(), [True, 4])
        wait_until("its own key stays", lambda: other.dbsize() == 3)
        time.sleep(0.6)
        expect("keys after", (other.dbsize(), other.hgetall("renewed"), other.get("the master's")), (3, {b"field": b"1"}, None))
        expect("DEBUG REPLICATE", client.execute_command("DEBUG", "REPLICATE", "INCR", "kept"), b"OK")
        wait_until("it is not logged", lambda: "after processing the command 'incr'" in replica.log_text())
        expect("DEBUG REPLICATE", client.execute_command("DEBUG", "REPLICATE", "APPEND", "kept", " and more"), b"OK")
        wait_until("it is not run", lambda: other.get("kept") == b"text and more")
        for server in (master, replica):
            server.clean_up()


def check_written_behind_sync(world):
    """What clients of a writable replica write right behind the commit that puts the master's data in place of its own still
    has its deadlines."""
    master, sett = world.redis(), world.sett("--replica-read-only", "no")
    master.start()
    sett.start()
    master.connect().execute_command("DEBUG", "POPULATE", 2, "big", 30000000)
    client = sett.connect()
    follow(sett, master.port)
    synced = 0  # how many were written behind it
    end = time.monotonic() + PATIENCE
    for number in itertools.count():
        found, _ = client.pipeline().exists("big:0").set("own:%d" % number, "1", px=100).execute()
        synced += found
        if synced == 200 or time.monotonic() > end:
            break
    expect("writes behind the sync", synced, 200)
    wait_until("a client's key stays for ever", lambda: client.dbsize() == 2)
    for server in (master, sett):
        server.clean_up()


def check_paused(world):
    """CLIENT PAUSE on a replica holds back what its master sends, too; it is received meanwhile."""
    master, replica = (world.sett() for _ in range(2))
    for server in (master, replica):
        server.port = free_port()
        server.options += ["--port", str(server.port), "--repl-ping-replica-period", "3600"]
        server.start()
    follow(replica, master.port)
    wait_level("before a pause", replica, master)
    client, other = master.connect(), replica.connect()
    other.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    client.set("key", "value")
    offset = link_of(master)["master_repl_offset"]
    wait_until("it is not received", lambda: link_of(replica)["slave_read_repl_offset"] == offset)
    expect("the key meanwhile", (other.get("key"), client.wait(1, 200)), (None, 0))
    for _ in range(30):  # more than it receives meanwhile
        client.append("long", "x" * 100000)
    other.execute_command("CLIENT", "UNPAUSE")
    wait_level("after a pause", replica, master)
    expect("the key after it", (other.get("key"), other.strlen("long")), (b"value", 3000000))
    for server in (master, replica):
        server.clean_up()


def check_told_at_once(world):
    """Who cuts the link, here or at the master, is told at once that it is down."""
    master, sett = world.redis(), world.sett()
    master.start()
    sett.start()
    follow(sett, master.port)
    here, there = sett.connect(), master.connect()
    for i in range(40):
        wait_until("no link", lambda: here.info("replication")["master_link_status"] == "up")
        before = count_syncs(master)
        if i % 2:
            there.execute_command("CLIENT", "KILL", "TYPE", "replica")
            found = here.info("replication")
        else:
            pipeline = here.pipeline(transaction=False)
            pipeline.execute_command("CLIENT", "KILL", "TYPE", "master")
            pipeline.info("replication")
            found = pipeline.execute()[1]
        # Up again is fine, if the machine is that slow.
        if found["master_link_status"] != "down" and count_syncs(master) == before:
            fail("a link that was cut at %s is said to be up" % ("the master" if i % 2 else "the replica"))
    for server in (master, sett):
        server.clean_up()


def send(server, *words):
    """Does not wait for the answer."""
    connection = server.connect().connection_pool.get_connection("_")
    connection.send_command(*words)
    return connection


def fall_asleep(server, seconds):
    """DEBUG SLEEP on a connection, others whose PINGs have had no answer since, and the moment before which nobody has one."""
    others, waiting, looks = [server.connect().connection_pool.get_connection("_") for _ in range(4)], [], 0
    wakes = time.monotonic() + seconds
    sleeper = send(server, "DEBUG", "SLEEP", seconds)
    while True:
        for other in others:
            if other not in waiting:
                other.send_command("PING")
        time.sleep(0.5)
        waiting = [other for other in others if not other.can_read(0)]
        looks = looks + 1 if len(waiting) == len(others) else 0
        if looks == 4:  # once, it may only be slow
            return sleeper, others, wakes
        if time.monotonic() > wakes:
            fail("the server does not sleep")
        for other in others:
            if other not in waiting:
                other.read_response()


def check_sleep(world):
    """DEBUG SLEEP stops all of it, as of Redis: other clients, and its link, whose cut in the same block takes effect before."""
    master, sett = world.redis(), world.sett("--io-threads", "2")
    master.start()
    sett.start()
    follow(sett, master.port)
    wait_level("at first", sett, master)
    sleeper, others, wakes = fall_asleep(sett, 6)
    for connection in [send(sett, "PING") for _ in range(4)] + others:
        connection.read_response()
        if time.monotonic() < wakes:
            fail("a client is answered while the server sleeps")
    expect("DEBUG SLEEP", sleeper.read_response(), b"OK")
    master.connect().set("key", "1")
    block = sett.connect().pipeline()
    block.execute_command("CLIENT", "KILL", "TYPE", "master")
    block.execute_command("DEBUG", "SLEEP", "5")
    time.sleep(1.1)  # after so long a link that ends is made again at once
    syncs = count_syncs(master)
    wakes = time.monotonic() + 5
    thread = threading.Thread(target=block.execute)
    thread.start()
    cut = False
    while True:
        found = (master.connect().info("replication")["connected_slaves"], count_syncs(master))
        if time.monotonic() > wakes:
            break
        if cut or found[0] == 0:
            expect("replicas", found, (0, syncs))
            cut = True
        time.sleep(0.01)
    expect("the link was cut before the sleep", cut, True)
    thread.join()
    wait_level("after its sleep", sett, master)
    expect("full syncs", count_syncs(master)[0], 1)
    fall_asleep(sett, 600)
    sett.stop()
    for server in (master, sett):
        server.clean_up()


def check_tls(world):
    """The link over TLS, to a master that asks for certificates and shows its own."""
    certificates = Certificates()
    try:
        port = free_port()
        master = world.redis("--tls-port", str(port), *certificates.server_options())
        sett = world.sett("--tls-replication", "yes", *certificates.server_options())
        master.start()
        sett.start()
        fill((master,), Maker(world.seed), 200)
        master.connect().set("large", os.urandom(3000000))
        follow(sett, port)
        expect_equal(world, "over TLS", sett, master)
        client = sett.connect()
        client.config_set("tls-ca-cert-file", certificates("other-ca.crt"))
        client.execute_command("CLIENT", "KILL", "TYPE", "master")
        wait_until("a master with another certificate is followed", lambda: "TLS: " in sett.log_text())
        expect("the link", link_of(sett)["master_link_status"], "down")
        client.config_set("tls-ca-cert-file", certificates("ca.crt"))
        wait_level("with the right authority", sett, master)
        for server in (master, sett):
            server.clean_up()
    finally:
        certificates.remove()


def main(sett_server, redis_server, seed=1):
    world = World(sett_server, redis_server, int(seed))
    try:
        check_full(world, "no")
        master, sett = check_full(world, "yes")
        check_cut(world, master, sett)
        check_kills(world, master, sett, 20)
        check_promotion(world, master, sett)
        check_restarted_alone(world, master, sett)
        check_kills_in_sync(world, master, 5)
        check_master_restart(world, master, sett)
        check_password(world, master, sett)
        check_writable(world)
        check_written_behind_sync(world)
        check_paused(world)
        check_told_at_once(world)
        check_sleep(world)
        check_tls(world)
        small = world.redis()
        small.start()
        fill((small,), Maker(world.seed), 200)
        small.connect().save()
        with open(small.directory + "/dump.rdb", "rb") as f:
            check_garbage(world, f.read())
    except BaseException:
        for server in [s for s in world.servers if s.log_text()][-2:]:
            print("-- %s\n%s" % (server.program, server.log_text()[-4000:]))
        raise
    finally:
        world.clean_up()
    print("followed")


main(*sys.argv[1:])
