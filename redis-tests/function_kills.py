#!/usr/bin/env python3
"""Functions under kill -9: a client loads a library anew again and again, together with a key that says which edition it is, while
others call it. Whoever calls finds edition and key in step, and never an older one than before. After each kill both are there, no
older than what was answered last. Now and then the library is deleted, or all are flushed and restored from a dump.

    function_kills.py SERVER [ROUNDS [SEED]]
"""
import random
import sys
import threading
import time
import redis
from own_server import Server, fail, wait_until

CALLERS = 3
TEXT = """#!lua name=editions
local edition = %d
redis.register_function{function_name='edition', callback=function(keys)
  return {edition, tonumber(redis.call('get', keys[1]) or 0)}
end, flags={'no-writes'}}
-- %s
"""


class Run:
    def __init__(self, server, edition, chance):
        self.server, self.chance = server, chance
        self.sent = self.answered = edition  # editions
        self.calls, self.error = 0, None
        self.over = False

    def change(self, client):
        edition = self.sent + 1
        block = client.pipeline(transaction=True)
        kind = self.chance.randrange(10)
        if kind == 0:
            block.execute_command("FUNCTION", "DELETE", "editions")
        elif kind == 1:
            block.execute_command("FUNCTION", "FLUSH")
        block.set("edition", edition)
        # Short ones lie in the tree, long ones in the value log.
        text = TEXT % (edition, "x" * self.chance.choice((1, 100, 5000)))
        block.execute_command("FUNCTION", "LOAD", "REPLACE", text)
        if kind == 2:
            block.execute_command("FUNCTION", "RESTORE", client.execute_command("FUNCTION", "DUMP"), "APPEND")
        self.sent = edition
        try:
            block.execute()
        except redis.ResponseError as error:
            # What is there already can't be appended; the block has happened all the same.
            if kind != 2 or "already exists" not in str(error):
                raise
        self.answered = edition

    def guarded(self, body):
        client = self.server.connect()
        try:
            while not self.over and self.error is None:
                body(client)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not self.over:
                self.error = "a connection is lost: %s" % error
        except (redis.RedisError, AssertionError) as error:
            self.error = "%s: %s" % (type(error).__name__, error)

    def caller(self):
        last = self.answered

        def call(client):
            nonlocal last
            least = max(last, self.answered)
            edition, key = client.execute_command("FCALL_RO", "edition", 1, "edition")
            assert edition == key, "edition %d is with key %d" % (edition, key)
            assert edition >= least, "edition %d after %d" % (edition, least)
            last = edition
            self.calls += 1

        self.guarded(call)

    def until_killed(self):
        threads = [threading.Thread(target=self.guarded, args=(self.change,))]
        threads += [threading.Thread(target=self.caller) for _ in range(CALLERS)]
        begun = self.sent
        for thread in threads:
            thread.start()
        wait_until("too little happens", lambda: self.error is not None or self.calls > 1 and self.answered > begun)
        time.sleep(self.chance.uniform(0, 0.5))
        self.over = True
        self.server.kill()
        for thread in threads:
            thread.join()
        if self.error is not None:
            fail(self.error)


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    chance = random.Random(seed)
    server = Server(sys.argv[1], "--io-threads", "3")
    edition = calls = 0
    try:
        server.start()
        client = server.connect()
        client.set("edition", 0)
        client.execute_command("FUNCTION", "LOAD", TEXT % (0, ""))
        for i in range(rounds):
            run = Run(server, edition, chance)
            run.until_killed()
            calls += run.calls
            server.options = ["--io-threads", "3", "--appendfsync", chance.choice(("always", "everysec", "no"))]
            server.start()
            edition, key = server.connect().execute_command("FCALL", "edition", 1, "edition")
            if edition != key or not run.answered <= edition <= run.sent:
                fail("round %d: edition %d, key %d, answered %d, sent %d" % (
                    i, edition, key, run.answered, run.sent))
    finally:
        server.clean_up()
    if edition < rounds or calls < rounds:
        fail("too little happened: %d editions, %d calls" % (edition, calls))
    print("%d kills, %d editions, %d calls" % (rounds, edition, calls))


main()
