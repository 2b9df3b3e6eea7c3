#!/usr/bin/env python3
"""Masters that end without losing what was acknowledged: FAILOVER to a replica under writes, between Setts and with redis-server on
either side; and shutdowns, which wait for replicas, and end whatever has failed.

    handing_over.py SETT_SERVER REDIS_SERVER [SEED]
"""
import os
import resource
import shutil
import socket
import sys
import threading
import time

import redis

from own_server import fail, wait_until
from replica_world import World, count_syncs, expect, follow, free_port, is_level, link_of, wait_level
from values import digest


def server_with_port(world, make, *options):
    server = make(*options)
    if not hasattr(server, "port"):
        server.port = free_port()
        server.options += ["--port", str(server.port)]
    server.start()
    return server


def state_of(server):
    return link_of(server)["master_failover_state"]


def wait_online(master):
    wait_until("it is not online", lambda: link_of(master)["slave0"]["state"] == "online")


def wait_acknowledged(master):
    def is_all():
        found = link_of(master)
        return found["slave0"]["offset"] == found["master_repl_offset"]
    wait_until("the stream is not acknowledged", is_all)


def answer(server, *words):
    try:
        return server.connect().execute_command(*words)
    except redis.RedisError as error:
        return str(error)


def in_multi(server, words, last):
    client = redis.Redis(connection_pool=server.connect().connection_pool, single_connection_client=True)
    connection = client.connection
    found = []
    for request in (["MULTI"], words, [last]):
        connection.send_command(*request)
        found.append(connection.read_response())
    client.close()
    return found


class Counter(threading.Thread):
    """Counts in one key of whoever is the master, and knows what was acknowledged."""

    def __init__(self, servers):
        super().__init__(daemon=True)
        self.clients = [s.connect() for s in servers]
        self.acknowledged, self.refused, self.failure = 0, 0, None
        self.stopped = threading.Event()

    def run(self):
        at = 0
        while not self.stopped.is_set():
            try:
                self.acknowledged = self.clients[at].incr("counter")
            except redis.ReadOnlyError:
                self.refused += 1
                at = 1 - at
                time.sleep(0.001)
            except redis.RedisError as error:
                self.failure = error
                return

    def stop(self):
        self.stopped.set()
        self.join(180)
        if self.failure is not None:
            fail("a write failed: %s" % self.failure)


def check_hand_over(world, makes, back):
    """The role goes to the replica and, with `back`, comes back; every acknowledged write is there, and nothing is sent anew."""
    pair = [server_with_port(world, make) for make in makes]
    follow(pair[1], pair[0].port)
    pair[0].connect().set("counter", "0")
    wait_level("before", pair[1], pair[0])
    wait_online(pair[0])
    full = [count_syncs(s)[0] for s in pair]
    counter = Counter(pair)
    counter.start()
    wait_until("nothing is written", lambda: counter.acknowledged > 100)
    for old, new in (pair, pair[::-1])[:1 + back]:
        reached = counter.acknowledged
        expect("FAILOVER", answer(old, "FAILOVER", "TO", "127.0.0.1", new.port, "TIMEOUT", "100000"), b"OK")
        wait_until("it does not end", lambda: state_of(old) == "no-failover")
        expect("the old master", link_of(old)["role"], "slave")
        expect("the new master", link_of(new)["role"], "master")
        wait_until("no writes behind it", lambda: counter.acknowledged > reached + 100)
    counter.stop()
    wait_level("behind it", old, new)
    for server in pair:
        expect("the counter", int(server.connect().get("counter")), counter.acknowledged)
    expect("full syncs", [count_syncs(s)[0] for s in pair], full)
    for server in pair:
        server.clean_up()


def check_answers(world):
    """Who may hand over, and to whom, as redis-server has it."""
    sides = []
    for make in (world.sett, world.redis):
        master, replica = (server_with_port(world, make) for _ in range(2))
        found = [answer(master, "FAILOVER"), answer(master, "FAILOVER", "ABORT")]
        follow(replica, master.port)
        wait_level("for answers", replica, master)
        wait_online(master)
        for words in (["TO", "nohost", replica.port], ["TO", "127.0.0.1", "x"], ["TO", "127.0.0.1", "1"], ["FORCE", "TIMEOUT", "100"],
                      ["TO", "127.0.0.1", replica.port, "FORCE"], ["TIMEOUT", "0"], ["TO", "127.0.0.1"], ["ABORT", "x"]):
            found.append(answer(master, "FAILOVER", *words))
        found.append(answer(replica, "FAILOVER"))
        found.append(answer(master, "PSYNC", "0" * 40, "1", "FAILOVER"))
        found.append(answer(replica, "PSYNC", "0" * 40, "1", "FAILOVER"))
        # One that never comes level, as it does not run.
        replica.pause()
        master.connect().set("key", "value")
        found.append(answer(master, "FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", "60000"))
        found += [answer(master, *words) for words in (["FAILOVER"], ["REPLICAOF", "NO", "ONE"], ["SYNC"], ["GET", "key"])]
        found.append(state_of(master))
        found.append(answer(master, "FAILOVER", "ABORT"))
        found += [state_of(master), answer(master, "INCR", "number")]
        # In a MULTI block it begins, and ends, with EXEC.
        for words, last in ((["FAILOVER"], "DISCARD"), (["FAILOVER"], "EXEC"), (["FAILOVER", "ABORT"], "EXEC")):
            found += in_multi(master, words, last) + [state_of(master)]
        found.append(answer(master, "FAILOVER", "TIMEOUT", "200"))
        wait_until("its time does not end", lambda: state_of(master) == "no-failover")
        found.append(answer(master, "INCR", "number"))
        replica.resume()
        wait_level("after all", replica, master)
        sides.append(found)
    expect("answers", sides[0], sides[1])


def check_aborts(world, rounds=40):
    """An abort comes at any moment: in time, or after the switch, which it undoes, or it is refused. The log says the same."""
    old, new = (server_with_port(world, world.sett) for _ in range(2))
    follow(new, old.port)

    def is_level_again():
        if link_of(new)["role"] == "master":  # it took over what was undone
            follow(new, old.port)
        return is_level(new, old)
    for i in range(rounds):
        wait_until("it does not come level before an abort", is_level_again)
        wait_online(old)
        before = len(old.log_text())
        expect("FAILOVER", answer(old, "FAILOVER"), b"OK")
        time.sleep(world.random.random() * 0.012)  # its thread looks each 10 ms
        found = answer(old, "FAILOVER", "ABORT")
        wait_until("it does not end", lambda: state_of(old) == "no-failover")
        said = lambda text: text in old.log_text()[before:]
        if found == b"OK":
            wait_until("it is not logged", lambda: said("Failover manually aborted"))
        in_time, undone = said("while waiting-for-sync: Failover man"), said("while failover-in-progress: Failover man")
        expect("how it ended", (found, in_time != undone), (b"OK", True) if found == b"OK" else ("No failover in progress.", False))
        if in_time:
            expect("the roles", (said("failing over."), [link_of(s)["role"] for s in (old, new)]), (False, ["master", "slave"]))
        expect("the role", link_of(old)["role"], "master" if found == b"OK" else "slave")
        expect("that writes go on", answer(old if found == b"OK" else new, "SET", "key", i), True)
        if found != b"OK":
            old, new = new, old
    for server in (old, new):
        server.clean_up()


def check_refusal(world):
    """The target takes no PSYNC: the master is one again, and writes that waited go on."""
    master, replica = (server_with_port(world, world.sett) for _ in range(2))
    follow(replica, master.port)
    wait_level("before a refusal", replica, master)
    answer(replica, "ACL", "SETUSER", "default", "-psync")
    counter = Counter([master, replica])
    counter.start()
    expect("FAILOVER to it", answer(master, "FAILOVER"), b"OK")
    wait_until("it does not end", lambda: state_of(master) == "no-failover")
    reached = counter.acknowledged
    wait_until("no writes behind it", lambda: counter.acknowledged > reached)
    counter.stop()
    expect("its log", "Failover target rejected psync request" in master.log_text(), True)
    answer(replica, "ACL", "SETUSER", "default", "+psync")
    wait_level("after a refusal", replica, master)
    expect("the counter", int(replica.connect().get("counter")), counter.acknowledged)


def check_lost_answer(world):
    """The target took over, and the old master hears nothing of that: it asks again, and there is one master."""
    master, replica = (server_with_port(world, world.sett) for _ in range(2))
    relay = world.relay(replica.port)
    answer(replica, "CONFIG", "SET", "replica-announce-port", relay.port)
    follow(replica, master.port)
    wait_level("before an answer is lost", replica, master)
    wait_online(master)
    full = [count_syncs(s)[0] for s in (master, replica)]
    relay.loses_answer_to = b"FAILOVER"
    expect("FAILOVER", answer(master, "FAILOVER", "TO", "127.0.0.1", relay.port, "TIMEOUT", "100000"), b"OK")
    wait_until("it does not end", lambda: state_of(master) == "no-failover")
    expect("that an answer was lost", relay.loses_answer_to, None)
    expect("the roles", [link_of(s)["role"] for s in (master, replica)], ["slave", "master"])
    replica.connect().set("key", "behind it")
    wait_level("after an answer was lost", master, replica)
    expect("full syncs", [count_syncs(s)[0] for s in (master, replica)], full)
    expect("its key", master.connect().get("key"), b"behind it")


def check_waits_while_held(world):
    """WAIT does not make the stream grow that a replica has to come level with."""
    master, replica = (server_with_port(world, world.sett) for _ in range(2))
    follow(replica, master.port)
    wait_level("before waits", replica, master)
    wait_online(master)
    replica.pause()
    client = master.connect()
    client.set("key", "value")
    offset = lambda: link_of(master)["master_repl_offset"]
    before = offset()
    expect("FAILOVER", answer(master, "FAILOVER"), b"OK")
    wait_until("it does not ask for itself", lambda: offset() > before)
    time.sleep(0.3)
    before = offset()
    for _ in range(10):
        client.wait(1, 30)
    time.sleep(0.3)
    expect("the offset", offset(), before)
    replica.resume()
    wait_until("it does not end", lambda: state_of(master) == "no-failover")
    expect("the new master", link_of(replica)["role"], "master")


def check_force(world):
    """What the target lacks is lost when its time is over, and the old master takes its branch."""
    master, replica = (server_with_port(world, world.sett) for _ in range(2))
    follow(replica, master.port)
    wait_level("before force", replica, master)
    replica.pause()
    master.connect().set("key", "value")
    expect("FAILOVER FORCE", answer(master, "FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE", "TIMEOUT", "100"), b"OK")
    wait_until("its time does not end", lambda: state_of(master) == "failover-in-progress")
    expect("the old master meanwhile", link_of(master)["role"], "slave")
    replica.resume()
    wait_until("it does not end", lambda: state_of(master) == "no-failover")
    wait_level("after force", master, replica)
    expect("the same data", digest(master), digest(replica))


def check_back_behind(world):
    """A master whose last writes a power cut has taken comes back as a replica of the one in its place: what it lacks of the stream
    goes to the database that is selected where its data end."""
    old, heir = (server_with_port(world, world.sett) for _ in range(2))
    follow(heir, old.port)
    wait_level("before", heir, old)
    first, third = old.connect(), old.connect(db=3)
    first.set("here", "1")
    third.set("there", "1")
    first.execute_command("WAITAOF", 1, 0, 0)
    old.pause()
    kept = old.directory + ".kept"
    shutil.copytree(old.data, kept, ignore=shutil.ignore_patterns("socket"))
    old.resume()
    for i in range(10):
        third.incr("there")
    wait_level("with all", heir, old)
    old.kill()
    heir.connect().execute_command("REPLICAOF", "NO", "ONE")
    shutil.rmtree(old.data)
    os.rename(kept, old.data)
    old.options += ["--replicaof", "127.0.0.1 %d" % heir.port]
    old.start()
    wait_level("behind it", old, heir)
    expect("full syncs", count_syncs(heir)[0], 0)
    for db in (0, 3):
        for key in ("here", "there"):
            expect("%s in database %d" % (key, db), old.connect(db=db).get(key), heir.connect(db=db).get(key))
    expect("digests", digest(old), digest(heir))
    for server in (old, heir):
        server.clean_up()


def replica_by_hand(server):
    """A socket over which the stream comes, and nothing that was there before."""
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(b"PSYNC ? -1\r\n")
    def is_online():
        s.sendall(b"REPLCONF ACK 0\r\n")
        return link_of(server).get("slave0", {}).get("state") == "online"

    wait_until("it gets no stream", is_online)
    return s


def check_killed_in_block(world):
    """A replica that is killed in a MULTI block gets nothing that the block writes behind that."""
    master = server_with_port(world, lambda: world.sett("--io-threads", "2", "--repl-diskless-sync-delay", "0"))
    stopped = threading.Event()

    def write():
        client = master.connect()
        while not stopped.is_set():
            client.incr("other")

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for i in range(60):
            replica = replica_by_hand(master)
            block = master.connect().pipeline()
            block.execute_command("CLIENT", "KILL", "TYPE", "replica")
            block.set("behind", "what comes behind it")
            block.execute()
            received = b""
            replica.settimeout(180)
            try:
                while data := replica.recv(65536):
                    received += data
            except ConnectionError:
                pass
            expect("round %d" % i, b"what comes behind it" in received, False)
            replica.close()
            master.connect().delete("behind")
    finally:
        stopped.set()
        for writer in writers:
            writer.join()
    master.clean_up()


def check_shutdown(world, make):
    """A shutdown waits for a replica that lags, and can be called off."""
    master, replica = server_with_port(world, world.sett, "--shutdown-timeout", "50"), server_with_port(world, make)
    follow(replica, master.port)
    wait_level("before a shutdown", replica, master)
    replica.pause()
    master.connect().set("key", "last")
    client = master.connect()
    wait_until("replicas count as clients", lambda: client.info("clients")["connected_clients"] == 1)
    answers = []

    def shut_down():
        answers.append(answer(master, "SHUTDOWN"))
    thread = threading.Thread(target=shut_down)
    thread.start()
    left = lambda: int(master.connect().info("server").get("shutdown_in_milliseconds", 0))
    wait_until("it does not wait", lambda: left() > 0)
    expect("the client waits", master.connect().info("clients")["blocked_clients"], 1)
    expect("SHUTDOWN ABORT", answer(master, "SHUTDOWN", "ABORT") in (True, b"OK"), True)
    thread.join(180)
    expect("the answer of the one that was called off", answers, ["Errors trying to SHUTDOWN. Check logs."])
    wait_until("it still waits", lambda: left() == 0)
    expect("writes go on", answer(master, "SET", "key", "very last"), True)
    master.process.terminate()
    wait_until("it does not wait for SIGTERM", lambda: left() > 0)
    expect("SHUTDOWN ABORT of a signal", answer(master, "SHUTDOWN", "ABORT") in (True, b"OK"), True)
    wait_until("it still waits", lambda: left() == 0)
    master.process.terminate()
    wait_until("it does not wait again", lambda: left() > 0)
    replica.resume()
    expect("the exit code", master.process.wait(180), 0)
    expect("the replica's", replica.connect().get("key"), b"very last")
    expect("its log", "1 of 1 replicas are in sync when shutting down." in master.log_text(), True)
    # NOW waits for nobody, and neither does the end of the time.
    for words, timeout in ((["SHUTDOWN", "NOW"], "50"), (["SHUTDOWN"], "1")):
        master.start()
        wait_level("before the next", replica, master)
        answer(master, "CONFIG", "SET", "shutdown-timeout", timeout)
        replica.pause()
        master.connect().incr("number")
        began = time.monotonic()
        answer(master, *words)
        expect("the exit code", master.process.wait(180), 0)
        expect("it takes no time", time.monotonic() - began < 25, True)
        replica.resume()
        expect("its log", "0 of 1 replicas are in sync when shutting down." in master.log_text(), True)
    replica.clean_up()


def check_sync_under_way(world, make):
    """What a master says of a full sync that is being made while it is sent."""
    master, replica = server_with_port(world, make), server_with_port(world, world.sett)
    client = master.connect()
    client.mset({"key:%d" % i: "value" for i in range(1000)})
    client.config_set("repl-diskless-sync", "yes")
    client.config_set("repl-diskless-sync-delay", 0)
    client.config_set("rdb-key-save-delay", 100000)
    follow(replica, master.port)
    wait_until("no full sync comes", lambda: link_of(replica).get("master_sync_in_progress") == 1)
    expect("a save", client.info("persistence")["rdb_bgsave_in_progress"], 1)
    expect("its state", client.info("replication")["slave0"]["state"], "wait_bgsave")
    master.kill()
    replica.kill()


def check_memory_of_link(world):
    """What a master keeps for a replica does not stay as large as the largest value that it has sent."""
    master, replica = server_with_port(world, world.sett), server_with_port(world, world.sett)
    follow(replica, master.port)
    wait_level("before a large value", replica, master)
    client = master.connect()
    client.set("key", "x" * 2**18)
    client.set("key", "small")
    wait_level("after a large value", replica, master)
    wait_until("the memory for a replica stays large",
               lambda: int(client.client_list(_type="replica")[0]["tot-mem"]) < 2**17)
    master.kill()
    replica.kill()


def check_decided(world):
    """From the end of the wait for replicas on: writes are held, ABORT comes too late, and a signal counts if the save fails."""
    master, replica = (server_with_port(world, world.sett) for _ in range(2))
    follow(replica, master.port)
    pipeline = master.connect().pipeline()
    for i in range(1500):
        pipeline.set("key:%d" % i, "value")
    pipeline.execute()
    wait_level("before a decision", replica, master)
    answer(master, "CONFIG", "SET", "rdb-key-save-delay", "5000")
    os.makedirs(master.data + "/dump.rdb/is_in_the_way")
    thread = threading.Thread(target=answer, args=(master, "SHUTDOWN", "SAVE"))
    thread.start()
    wait_until("it is not decided", lambda: "1 of 1 replicas are in sync when shutting down." in master.log_text())
    expect("SHUTDOWN ABORT", answer(master, "SHUTDOWN", "ABORT"), "No shutdown in progress.")
    try:
        master.connect(timeout=0.3).set("key", "late")
        fail("a write is acknowledged during a shutdown")
    except redis.TimeoutError:
        pass
    master.process.terminate()
    expect("the exit code", master.process.wait(180), 0)
    thread.join(180)
    log = master.log_text()
    expect("the save failed", "Errors trying to shut down the server." in log, True)
    expect("attempts", log.count("User requested shutdown..."), 2)
    os.removedirs(master.data + "/dump.rdb/is_in_the_way")
    replica.clean_up()


def check_failed_log(world):
    """A server whose log has failed stays for SHUTDOWN SAVE alone."""
    for words in ([], ["SHUTDOWN", "NOSAVE"], ["SHUTDOWN"], ["SHUTDOWN", "SAVE", "FORCE"]):
        server = world.sett()
        server.prefix = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]
        server.start()
        pipeline = server.connect().pipeline()
        for i in range(2000):
            pipeline.set("key:%d" % i, os.urandom(200))
        pipeline.execute()
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1 << 17, resource.RLIM_INFINITY))
        wait_until("its log does not fail", lambda: answer(server, "SET", "key", os.urandom(200)) is not True)
        expect("SHUTDOWN SAVE", answer(server, "SHUTDOWN", "SAVE"), "Errors trying to SHUTDOWN. Check logs.")
        if words:
            answer(server, *words)
        else:
            server.process.terminate()
        expect("the exit code after %s" % words, server.process.wait(180), 1)
        expect("its log", "can't be made durable" in server.log_text(), True)
        server.process = None


def check_kept_backlog(world):
    """A replica that lacks something when its master is restarted gets that alone; after a kill of the master all anew."""
    master, replica = (server_with_port(world, world.sett) for _ in range(2))
    follow(replica, master.port)
    wait_level("before it is killed", replica, master)
    master.connect().set("first", "1")
    wait_level("with a first key", replica, master)
    wait_acknowledged(master)
    for ends_well in (True, True, False):
        replica.kill()
        wait_until("it does not go", lambda: link_of(master)["connected_slaves"] == 0)
        pipeline = master.connect().pipeline()
        for i in range(3000):
            pipeline.rpush("list:%d" % (i % 10), "x" * 100)
        pipeline.execute()
        if ends_well:
            master.stop()
        else:
            master.connect().execute_command("WAITAOF", 1, 0, 0)
            master.kill()
        master.start()
        expect("the file of the backlog", os.path.exists(master.directory + "/replication-backlog"), False)
        if "--replicaof" not in replica.options:
            replica.options += ["--replicaof", "127.0.0.1 %d" % master.port]
        replica.start()
        wait_level("after a restart", replica, master)
        expect("syncs, ended well: %s" % ends_well, count_syncs(master), (0, 1) if ends_well else (1, 0))
        expect("the same data", digest(master), digest(replica))
        wait_acknowledged(master)
    for server in (master, replica):
        server.clean_up()


def check_sent_backlog(world):
    """What was sent to a replica that has never read it is kept, too."""
    master, replica = (server_with_port(world, world.sett) for _ in range(2))
    follow(replica, master.port)
    wait_level("before the first key", replica, master)
    master.connect().set("first", "1")
    wait_level("before it stops", replica, master)
    wait_acknowledged(master)
    replica.pause()
    master.connect().set("second", "2")
    time.sleep(0.2)  # it is sent
    answer(master, "SHUTDOWN", "NOW")
    expect("the exit code", master.process.wait(180), 0)
    replica.kill()
    replica.options += ["--replicaof", "127.0.0.1 %d" % master.port]
    master.start()
    replica.start()
    wait_level("after a restart", replica, master)
    expect("syncs", count_syncs(master), (0, 1))
    expect("the same data", digest(master), digest(replica))
    for server in (master, replica):
        server.clean_up()


def main(sett_server, redis_server, seed=1):
    world = World(sett_server, redis_server, int(seed))
    try:
        check_hand_over(world, (world.sett, world.sett), True)
        check_hand_over(world, (world.sett, world.redis), False)
        check_hand_over(world, (world.redis, world.sett), False)
        check_answers(world)
        check_aborts(world)
        check_refusal(world)
        check_lost_answer(world)
        check_waits_while_held(world)
        check_force(world)
        check_kept_backlog(world)
        check_sent_backlog(world)
        check_back_behind(world)
        check_killed_in_block(world)
        check_shutdown(world, world.sett)
        check_shutdown(world, world.redis)
        check_sync_under_way(world, world.redis)
        check_sync_under_way(world, world.sett)
        check_memory_of_link(world)
        check_decided(world)
        check_failed_log(world)
    except BaseException:
        for server in [s for s in world.servers if s.log_text()][-4:]:
            print("-- %s\n%s" % (server.program, server.log_text()[-2500:]))
        raise
    finally:
        world.clean_up()
    print("handed over")


main(*sys.argv[1:])
