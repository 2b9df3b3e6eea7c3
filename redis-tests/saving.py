#!/usr/bin/env python3
"""SAVE and BGSAVE write files that redis-server loads: the same content as in a redis-server that got the same
commands, of the moment of the BGSAVE though commands go on, and whole whatever happens meanwhile. Save points ask for them.

    saving.py SETT_SERVER REDIS_SERVER [KEYS [SEED]]
"""
import os
import shutil
import signal
import sys
import threading
import time

import redis

from own_server import Server, expect, fail, wait_until
from values import Maker, digest, fill

REDIS_OPTIONS = ("--save", "", "--enable-debug-command", "yes")


def expect_error(client, text, *command):
    try:
        reply = client.execute_command(*command)
    except redis.ResponseError as error:
        if text not in str(error):
            fail("%s: %s" % (command, error))
        return
    fail("%s was answered with %r" % (command, reply))


def load(redis_server, file, wanted, what):
    other = Server(redis_server, *REDIS_OPTIONS)
    try:
        shutil.copy(file, other.directory + "/dump.rdb")
        other.start()
        expect(what, digest(other), wanted)
    finally:
        other.clean_up()


def figure(client, name):
    return client.info("persistence")[name]


def wait_for_save(client):
    wait_until("the background save does not end", lambda: figure(client, "rdb_bgsave_in_progress") == 0)


def check_contents(sett, reference, redis_server, keys, seed):
    client = sett.connect()
    fill((sett, reference), Maker(seed), keys)
    file = sett.directory + "/dump.rdb"
    wanted = digest(reference)
    for compression in ("yes", "no"):
        client.config_set("rdbcompression", compression)
        before = client.execute_command("LASTSAVE")
        expect("SAVE", client.execute_command("SAVE"), True)
        expect("the order of saves", client.execute_command("LASTSAVE") >= before, True)
        load(redis_server, file, wanted, "the content that redis-server loaded from SAVE, compression " + compression)
    return wanted


def check_moment(sett, redis_server, wanted):
    """What is written during a BGSAVE, and a FLUSHDB and a SWAPDB, is not in its file."""
    client = sett.connect()
    client.config_set("rdb-key-save-delay", 500)
    stop = threading.Event()

    def write():
        other = sett.connect()
        i = 0
        while not stop.is_set():
            i += 1
            other.set("key:%d" % (i % 1000), "changed %d" % i)
            other.delete("key:%d" % ((i * 7) % 1000))

    # At once, so that it does not end meanwhile.
    together = client.pipeline(transaction=False).bgsave().info("persistence").bgsave().save().execute(raise_on_error=False)
    writer = threading.Thread(target=write)
    writer.start()
    expect("BGSAVE", together[0], True)
    expect("rdb_bgsave_in_progress", together[1]["rdb_bgsave_in_progress"], 1)
    for reply in together[2:]:
        expect("another save beside it", "Background save already in progress" in str(reply), True)
    sett.connect(db=15).flushdb()
    client.execute_command("SWAPDB", 0, 9)
    wait_until("the writer does not write", lambda: client.dbsize() > 0)
    client.config_set("rdb-key-save-delay", 0)
    wait_for_save(client)
    stop.set()
    writer.join()
    expect("rdb_last_bgsave_status", figure(client, "rdb_last_bgsave_status"), "ok")
    load(redis_server, sett.directory + "/dump.rdb", wanted, "the content of the moment of BGSAVE")


def check_failures(sett):
    """A save that fails, is killed, or is cut short by a shutdown leaves the file before as it is."""
    client = sett.connect()
    file = sett.directory + "/dump.rdb"
    before = open(file, "rb").read()
    client.execute_command("HSET", "with deadlines", "a", "1", "b", "2")
    client.execute_command("HEXPIRE", "with deadlines", 1000, "FIELDS", 1, "a")
    expect_error(client, "with deadlines", "SAVE")
    client.execute_command("BGSAVE")
    wait_for_save(client)
    expect("rdb_last_bgsave_status after a failure", figure(client, "rdb_last_bgsave_status"), "err")
    expect("the file after a failure", open(file, "rb").read() == before, True)
    client.config_set("rdb-version", 12)
    client.execute_command("SAVE")
    expect("the version", open(file, "rb").read(9), b"REDIS0012")
    client.config_set("rdb-version", 10)
    client.delete("with deadlines")
    client.execute_command("SAVE")
    before = open(file, "rb").read()
    client.config_set("rdb-key-save-delay", 100000)
    client.execute_command("BGSAVE")
    sett.kill()
    expect("the file after a kill", open(file, "rb").read() == before, True)
    beside = [sett.directory + "/temp-%s.rdb" % middle for middle in ("1", "x", "")]
    for path in beside:
        open(path, "w").close()
    sett.start()
    expect("temporary files after a kill and a start",
           sorted(n for n in os.listdir(sett.directory) if n.startswith("temp-")), sorted(map(os.path.basename, beside)))
    for path in beside:
        os.remove(path)
    client = sett.connect()
    client.config_set("rdb-key-save-delay", 300000000)
    client.execute_command("BGSAVE")
    began = time.monotonic()
    sett.stop()
    expect("a shutdown that does not wait for a save", time.monotonic() - began < 150, True)
    expect("the file after a shutdown", open(file, "rb").read() == before, True)
    expect("temporary files", [n for n in os.listdir(sett.directory) if n.startswith("temp-%d" % sett.process.pid)], [])


def check_reload(sett):
    client = sett.connect()
    client.execute_command("HSET", "with deadlines", "a", "1", "b", "2")
    client.execute_command("HEXPIRE", "with deadlines", 1000, "FIELDS", 1, "a")
    before = digest(sett)
    for options in ((), ("NOFLUSH", "MERGE"), ("NOSAVE",)):
        expect("DEBUG RELOAD", client.execute_command("DEBUG", "RELOAD", *options), b"OK")
        expect("the content after DEBUG RELOAD %r" % (options,), digest(sett), before)
    expect_error(client, "Error trying to load the RDB dump, check server logs.", "DEBUG", "RELOAD", "NOFLUSH")
    expect("the content after a reload that failed", digest(sett), before)
    client.set("a key", "x")
    client.execute_command("DEBUG", "RELOAD", "NOSAVE")
    expect("what was not saved", client.exists("a key"), 0)
    client.delete("with deadlines")


def check_shutdown(sett, redis_server):
    sett.start()
    client = sett.connect()
    client.flushall()
    client.set("at the end", "0")
    # A save in the background gives way.
    client.config_set("rdb-key-save-delay", 300000)
    client.execute_command("BGSAVE")
    client.set("at the end", "1")
    try:
        client.shutdown(save=True)
    except redis.ConnectionError:
        pass
    sett.process.wait(180)
    other = Server(redis_server, *REDIS_OPTIONS)
    try:
        shutil.copy(sett.directory + "/dump.rdb", other.directory + "/dump.rdb")
        other.start()
        expect("keys after SHUTDOWN SAVE", other.connect().keys("*"), [b"at the end"])
        expect("its value", other.connect().get("at the end"), b"1")
    finally:
        other.clean_up()


def loaded_keys(redis_server, file):
    """The names of the keys that redis-server finds in the file."""
    other = Server(redis_server, *REDIS_OPTIONS)
    try:
        shutil.copy(file, other.directory + "/dump.rdb")
        other.start()
        return sorted(other.connect().keys("*"))
    finally:
        other.clean_up()


def log_of(sett):
    with open(sett.directory + "/log") as log:
        return log.read()


def check_points(sett, redis_server):
    client = sett.connect()
    file = sett.directory + "/dump.rdb"
    expect("save points, unless given", client.config_get("save"), {"save": ""})
    client.set("a", "1")
    client.config_set("save", "3600 100 1 1")
    wait_until("no save begins at a save point", lambda: figure(client, "rdb_saves") == 1)
    expect("changes since", figure(client, "rdb_changes_since_last_save"), 0)
    expect("the log of a save point", "1 changes in 1 seconds. Saving..." in log_of(sett), True)
    expect("keys of a save point", loaded_keys(redis_server, file), [b"a"])


def check_flushall(sett, redis_server):
    """With save points FLUSHALL leaves a file before its reply: what there is after the commit that it is in."""
    client = sett.connect()
    file = sett.directory + "/dump.rdb"
    client.config_set("save", "3600 1")
    client.set("a", "1")
    client.config_set("rdb-key-save-delay", 300000000)
    client.execute_command("BGSAVE")
    client.flushall()  # that gives way
    expect("changes since FLUSHALL", figure(client, "rdb_changes_since_last_save"), 0)
    expect("keys after FLUSHALL", loaded_keys(redis_server, file), [])
    client.config_set("rdb-key-save-delay", 0)
    pipe = client.pipeline()
    pipe.set("b", "1").flushall().set("c", "1").execute()
    expect("keys after FLUSHALL in MULTI", loaded_keys(redis_server, file), [b"c"])
    client.eval("redis.call('flushall') redis.call('set', 'd', '1')", 0)
    expect("changes since FLUSHALL in a script", figure(client, "rdb_changes_since_last_save"), 0)
    expect("keys after FLUSHALL in a script", loaded_keys(redis_server, file), [b"d"])


def answer(client, *command):
    try:
        return client.execute_command(*command)
    except redis.ResponseError as error:
        return str(error).split()[0]


def check_refusals(sett, reference):
    """After a failure writes are refused as in Redis, while there are save points, and it is tried again."""
    servers = sett, reference
    clients = [server.connect() for server in servers]
    for server, client in zip(servers, clients):
        if os.path.exists(server.directory + "/dump.rdb"):
            os.remove(server.directory + "/dump.rdb")
        os.mkdir(server.directory + "/dump.rdb")
        client.set("refused", "0")
        client.config_set("save", "1 1")
        wait_until("no save fails", lambda client=client: figure(client, "rdb_last_bgsave_status") == "err")
        client.config_set("save", "3600 1000")
    asked = (("SET", "refused", "1"), ("PING",), ("GET", "refused"), ("INCR", "refused"), ("FLUSHALL",),
             ("EVAL", "return redis.call('set', 'refused', '2')", 0), ("EVAL", "return redis.call('get', 'refused')", 0),
             ("EVAL", "#!lua\nreturn 1", 0), ("EVAL", "#!lua flags=no-writes\nreturn 1", 0),
             ("MULTI",), ("SET", "refused", "3"), ("EXEC",), ("MULTI",), ("GET", "refused"), ("EXEC",))
    for change in (("stop-writes-on-bgsave-error", "yes"), ("stop-writes-on-bgsave-error", "no"),
                   ("stop-writes-on-bgsave-error", "yes"), ("save", ""), ("save", "3600 1000")):
        found = []
        for client in clients:
            client.config_set(*change)
            if change[1] in ("no", ""):
                found.append([answer(client, "SET", "refused", "0"), answer(client, "PING")])
            else:
                # One connection: MULTI is among them.
                with client.client() as one:
                    found.append([answer(one, *command) for command in asked])
        expect("answers after a failure, with %r" % (change,), found[0], found[1])
        expect("the first, with %r" % (change,), found[0][0] == "MISCONF", change[1] not in ("no", ""))
    # One that is given up in between tells nothing.
    for client in clients:
        client.config_set("stop-writes-on-bgsave-error", "no")
        client.config_set("rdb-key-save-delay", 300000000)
        client.set("refused", "0")
        client.execute_command("BGSAVE")
        client.flushall()
        client.config_set("rdb-key-save-delay", 0)
        client.config_set("stop-writes-on-bgsave-error", "yes")
    texts = []
    for client in clients:
        texts.append([])
        for command in (("SET", "refused", "1"), ("EVAL", "#!lua\nreturn 1", 0)):
            try:
                client.execute_command(*command)
            except redis.ResponseError as error:
                texts[-1].append(str(error))
    expect("the texts", texts[0], texts[1])
    client = clients[0]
    os.rmdir(sett.directory + "/dump.rdb")
    client.config_set("save", "1 1")
    wait_until("it is not tried again", lambda: figure(client, "rdb_last_bgsave_status") == "ok")
    expect("a write after that", client.set("refused", "4"), True)
    client.config_set("save", "3600 1000")


def check_end(sett, redis_server):
    """With save points the end leaves a file, or there is none."""
    client = sett.connect()
    file = sett.directory + "/dump.rdb"
    os.remove(file)
    os.mkdir(file)
    expect("SHUTDOWN", answer(client, "SHUTDOWN"), "Errors")
    refused = log_of(sett).count("Error trying to save the DB, can't exit")
    expect("times that the end is refused", refused, 1)
    sett.process.send_signal(signal.SIGTERM)
    wait_until("SIGTERM does not try to save",
               lambda: log_of(sett).count("Errors trying to shut down the server.") == refused + 1)
    expect("a server that stays", client.ping(), True)
    client.config_set("shutdown-on-sigterm", "nosave")
    sett.stop()
    os.rmdir(file)
    sett.start("--save", "3600", "1")
    os.mkdir(file)
    client = sett.connect()
    client.flushdb()
    client.set("force", "1")
    try:
        client.execute_command("SHUTDOWN", "FORCE")
    except redis.ConnectionError:
        pass
    sett.process.wait(180)
    expect("the log of FORCE", "Error trying to save the DB, exit anyway" in log_of(sett), True)
    os.rmdir(file)
    sett.start("--save", "3600", "1")
    sett.stop()
    expect("keys after SIGTERM", loaded_keys(redis_server, file), [b"force"])


def check_save_points(sett_server, redis_server):
    sett = Server(sett_server, "--enable-debug-command", "yes")
    sett.options += ["--logfile", sett.directory + "/log"]
    reference = Server(redis_server, "--save", "")
    try:
        sett.start()
        reference.start()
        check_points(sett, redis_server)
        check_flushall(sett, redis_server)
        check_refusals(sett, reference)
        check_end(sett, redis_server)
    finally:
        sett.clean_up()
        reference.clean_up()


MEMORY = 8  # MiB
LARGE = 3 * MEMORY * 2**20  # bytes of a value


def fill_large(servers):
    """A value of each type that is several times maxmemory, of elements that are small."""
    size = 250
    texts = ["element %d of many " % i for i in range(LARGE // size)]
    texts = [text + "x" * (size - len(text)) for text in texts]
    for server in servers:
        client = server.connect()
        for at in range(0, len(texts), 1000):
            some = texts[at:at + 1000]
            pipeline = client.pipeline(transaction=False)
            pipeline.rpush("list", *some)
            pipeline.sadd("set", *some)
            pipeline.zadd("zset", {text: i for i, text in enumerate(some, at)})
            pipeline.hset("hash", mapping={text[:20]: text for text in some})
            for i, text in enumerate(some, at):
                pipeline.xadd("stream", {"field": text}, id="%d-1" % (i + 1))
            pipeline.execute()
        for i in range(150):
            client.xgroup_create("stream", "group %d" % i, "0")
        for i in range(150):
            client.xgroup_createconsumer("stream", "group 7", "consumer %d" % i)
        for consumer in ("one", "two"):
            for _ in range(10):
                client.xreadgroup("group 7", consumer, {"stream": ">"}, count=1000)
        for id in range(1, 3000, 7):  # holes
            client.xdel("stream", "%d-1" % id)


def groups_of(server):
    client = server.connect()
    groups = client.xinfo_groups("stream")
    consumers = [(c["name"], c["pending"]) for c in client.xinfo_consumers("stream", "group 7")]
    pending = [(p["message_id"], p["consumer"], p["times_delivered"])
               for p in client.xpending_range("stream", "group 7", "-", "+", 30000)]
    return groups, consumers, pending


def peak(pid):
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return fail("no VmHWM")


def keeps_freed_memory(pid):
    """A build with the address sanitizer keeps it for a while, so what is resident says nothing."""
    with open("/proc/%d/maps" % pid) as file:
        return "libasan" in file.read()


def check_larger_than_memory(sett_server, redis_server):
    sett = Server(sett_server, "--enable-debug-command", "yes", "--rdbcompression", "no", "--maxmemory", "%dmb" % MEMORY)
    reference, back = Server(redis_server, *REDIS_OPTIONS), Server(redis_server, *REDIS_OPTIONS)
    try:
        sett.start()
        reference.start()
        fill_large((sett, reference))
        client = sett.connect(timeout=600)
        for key in ("list", "set", "zset", "hash", "stream"):  # a payload is in memory whole
            expect_error(client, "OOM ", "DUMP", key)
        open("/proc/%d/clear_refs" % sett.process.pid, "w").write("5")  # its peak begins anew
        before = peak(sett.process.pid)
        client.save()
        grown = peak(sett.process.pid) - before
        if grown > LARGE // 2 and not keeps_freed_memory(sett.process.pid):
            fail("SAVE took %d MiB" % (grown >> 20))
        shutil.copy(sett.directory + "/dump.rdb", back.directory)
        back.start()
        expect("values that are larger than maxmemory", digest(back), digest(reference))
        expect("groups of a stream", groups_of(back), groups_of(reference))
        own = client.execute_command("DEBUG", "DIGEST")
        client.execute_command("DEBUG", "RELOAD")
        expect("the digest after DEBUG RELOAD", client.execute_command("DEBUG", "DIGEST"), own)
    finally:
        for server in (sett, reference, back):
            server.clean_up()
    return grown


def main(sett_server, redis_server, keys=4000, seed=1):
    sett = Server(sett_server, "--enable-debug-command", "yes")
    reference = Server(redis_server, *REDIS_OPTIONS)
    try:
        sett.start()
        reference.start()
        wanted = check_contents(sett, reference, redis_server, int(keys), int(seed))
        check_moment(sett, redis_server, wanted)
        check_reload(sett)
        check_failures(sett)
        check_shutdown(sett, redis_server)
    finally:
        sett.clean_up()
        reference.clean_up()
    check_save_points(sett_server, redis_server)
    grown = check_larger_than_memory(sett_server, redis_server)
    print("redis-server loads what was saved: %s keys; values of %d MiB took %d MiB more" % (keys, LARGE >> 20, grown >> 20))


main(*sys.argv[1:])
