#!/usr/bin/env python3
"""Scripts that never end: others go on, whatever they ask for, and SCRIPT KILL ends one script after the other.

    endless_scripts.py SERVER
"""
import sys
import threading
import redis
from own_server import Server, fail, wait_until

SCRIPTS = 5  # more than the long lane of the pool has threads


def run_endless(server, outcomes):
    try:
        server.connect().eval("while true do end", 0)
        outcomes.append("it ended by itself")
    except redis.ResponseError as error:
        outcomes.append(str(error))


def kill_one(client):
    try:
        return client.script_kill()
    except redis.ResponseError as error:
        if not str(error).startswith("NOTBUSY"):
            fail("SCRIPT KILL: %s" % error)
        return False


def end_writers(server, client):
    """What has written is ended by ROLLBACK alone, and leaves nothing."""
    body = "redis.call('set', 'written', 'x') redis.call('del', 'key1') while true do end"
    client.function_load("#!lua name=writers\nredis.register_function('writer', function() %s end)" % body, replace=True)
    for word, command in ("SCRIPT", ("EVAL", body, 0)), ("FUNCTION", ("FCALL", "writer", 0)):
        ended = []

        def run():
            try:
                server.connect().execute_command(*command)
            except redis.ResponseError as error:
                ended.append(str(error))

        thread = None
        while thread is None or not thread.is_alive():  # one that has not written yet is ended
            ended.clear()
            thread = threading.Thread(target=run)
            thread.start()
            wait_until("%s KILL says so" % word,
                       lambda: answer(client, word, "KILL").startswith("UNKILLABLE") or not thread.is_alive())
        if client.exists("written") or not client.exists("key1"):
            fail("what a script has written is seen before its end")
        if answer(client, word, "KILL", "ROLLBACK") != "OK":
            fail("%s KILL ROLLBACK" % word)
        thread.join(180)
        if not ended or "killed by user" not in ended[0] or client.exists("written") or not client.exists("key1"):
            fail("%s KILL ROLLBACK: %s" % (word, ended))
        if not answer(client, word, "KILL", "ROLLBACK").startswith("NOTBUSY"):
            fail("nothing is left to be killed")


def hold_memory(server, client):
    """Many that hold memory and don't end: together they take no more than half of maxmemory, and those that get none say so."""
    holders = 14
    body = "local t = {} for i = 1, 10000 do t[i] = string.rep('x', 1000) .. i end while true do end"
    client.config_set("maxmemory", 64 << 20)
    outcomes = []

    def run():
        try:
            server.connect().eval(body, 0)
        except redis.ResponseError as error:
            outcomes.append(str(error))
    threads = [threading.Thread(target=run) for _ in range(holders)]
    for thread in threads:
        thread.start()
    most = 0

    def are_decided():
        nonlocal most
        most = max(most, client.info("memory")["used_memory_vm_eval"])
        return len(outcomes) >= holders - 3
    wait_until("scripts that hold memory all get it", are_decided)
    if most > 64 << 20 or any("not enough memory" not in text for text in outcomes):
        fail("%d MB in interpreters; %s" % (most >> 20, outcomes))
    while len(outcomes) < holders:
        kill_one(client)
    for thread in threads:
        thread.join(180)


def answer(client, *command):
    try:
        reply = client.execute_command(*command)
        return reply.decode() if isinstance(reply, bytes) else "OK" if reply is True else str(reply)
    except redis.ResponseError as error:
        return str(error)


def main():
    server = Server(sys.argv[1], "--busy-reply-threshold", "100", "--enable-debug-command", "yes")
    server.start()
    outcomes = []
    threads = [threading.Thread(target=run_endless, args=(server, outcomes)) for _ in range(SCRIPTS)]
    try:
        client = server.connect()
        client.mset({"key%d" % i: i for i in range(1000)})
        for thread in threads:
            thread.start()
        for _ in range(SCRIPTS):
            # All of these run in the long lane.
            if len(client.keys("*")) != 1000 or client.debug_object("key1") is None:
                fail("KEYS beside endless scripts")
            if client.eval("return #redis.call('keys', '*')", 0) != 1000:
                fail("KEYS in a script beside endless ones")
        while len(outcomes) < SCRIPTS:
            before = len(outcomes)
            wait_until("no script was killed", lambda: kill_one(client))
            wait_until("a killed script did not end", lambda: len(outcomes) > before)
        for thread in threads:
            thread.join(180)
        if not all("Script killed by user" in outcome for outcome in outcomes):
            fail("outcomes: %s" % outcomes)
        end_writers(server, client)
        hold_memory(server, client)
        server.stop()
        print("%d endless scripts, all killed; others went on" % SCRIPTS)
    finally:
        server.clean_up()


main()
