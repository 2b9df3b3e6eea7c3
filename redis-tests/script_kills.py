#!/usr/bin/env python3
"""Scripts under kill -9: clients run a script, by EVALSHA and in pipelines, that takes the next number and enters it in several keys
which it does not declare; it publishes the number, and pushes it for who waits. Some runs enter many numbers. After each kill a run is
there as a whole or not at all, and whatever anybody was told is there: replies, messages, elements that were handed over.

    script_kills.py SERVER [ROUNDS [SEED]]
"""
import random
import sys
import threading
import time
import redis
from own_server import Server, fail, wait_until

WRITERS = 3
SCRIPT = """
local last
for i = 1, ARGV[1] do
  last = redis.call('incr', 'number')
  redis.call('rpush', 'list', last)
  redis.call('hset', 'hash:' .. last % 7, last, last * 2)
  redis.call('zadd', 'scores', last, 'member:' .. last)
  redis.call('xadd', 'stream', last .. '-1', 'n', last)
  if not redis.pcall('blpop', 'list', 0).err then error('a script does not wait') end
  if ARGV[2] == 'tell' then
    redis.call('publish', 'news', last)
    redis.call('rpush', 'queue', last)
    redis.call('incr', 'told')
  end
end
return last
"""


class Run:
    def __init__(self, server, seed):
        self.server, self.seed = server, seed
        self.answered = 0  # the highest number that a reply had
        self.heard, self.taken = [], []
        self.calls, self.error, self.over = 0, None, False

    def guarded(self, body, *arguments):
        try:
            client = self.server.connect()
            while not self.over and self.error is None:
                body(client, *arguments)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not self.over:
                self.error = "a connection is lost: %s" % error
        except redis.RedisError as error:
            self.error = "%s: %s" % (type(error).__name__, error)

    def write(self, client, chance):
        sha = client.script_load(SCRIPT)
        count = chance.choice((1, 1, 1, 2, 50, 400))
        tell = chance.choice(("tell", "quiet", "quiet"))
        pipe = client.pipeline(transaction=chance.random() < 0.2)
        for _ in range(chance.choice((1, 1, 8))):
            pipe.evalsha(sha, 0, count, tell)
        for number in pipe.execute():
            self.answered = max(self.answered, number)
            self.calls += 1

    def listen(self, client):
        ear = client.pubsub(ignore_subscribe_messages=True)
        ear.subscribe("news")
        while not self.over:
            message = ear.get_message(timeout=0.1)
            if message is not None:
                self.heard.append(int(message["data"]))

    def take(self, client):
        popped = client.blpop(["queue"], 1)
        if popped is not None:
            self.taken.append(int(popped[1]))

    def until_killed(self, seconds, takes):
        """So many seconds after something was done, and, if it `takes`, handed over."""
        threads = [threading.Thread(target=self.guarded, args=(self.write, random.Random(self.seed * 10 + i)))
                   for i in range(WRITERS)]
        threads += [threading.Thread(target=self.guarded, args=(body,)) for body in (self.listen, self.take)]
        for thread in threads:
            thread.start()
        wait_until("too little happens", lambda: self.error is not None or self.calls > 1 and (self.taken or not takes))
        time.sleep(seconds)
        self.over = True
        self.server.kill()
        for thread in threads:
            thread.join()
        if self.error is not None:
            fail(self.error)


def check(client, run, taken):
    number = int(client.get("number") or 0)
    wanted = [b"%d" % n for n in range(1, number + 1)]
    if client.lrange("list", 0, -1) != wanted:
        fail("the list is not 1 to %d" % number)
    fields = {}
    for i in range(7):
        fields.update(client.hgetall("hash:%d" % i))
    if fields != {n: b"%d" % (2 * int(n)) for n in wanted}:
        fail("the hashes are not whole: %d fields of %d" % (len(fields), number))
    if client.zrange("scores", 0, -1) != [b"member:" + n for n in wanted]:
        fail("the sorted set is not whole")
    if [e[1][b"n"] for e in client.xrange("stream")] != wanted:
        fail("the stream is not whole")
    if number < run.answered:
        fail("a reply said %d, there is %d" % (run.answered, number))
    if run.heard and max(run.heard) > number:
        fail("a message said %d, there is %d" % (max(run.heard), number))
    if run.heard != sorted(run.heard):
        fail("messages come out of order")
    queue = [int(n) for n in client.lrange("queue", 0, -1)]
    if set(queue) & set(taken) or len(set(taken)) != len(taken):
        fail("an element was handed over that is still there, or twice")
    return number, int(client.get("told") or 0) - len(queue) - len(taken)


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    chance = random.Random(seed)
    server = Server(sys.argv[1], "--io-threads", "3")
    number = calls = 0
    taken = []
    try:
        for i in range(rounds):
            server.options = ["--io-threads", "3", "--appendfsync", chance.choice(("always", "everysec", "no"))]
            server.start()
            run = Run(server, seed * 1000 + i)
            run.until_killed(chance.uniform(0, 0.5), not taken)
            calls += run.calls
            taken += run.taken
            server.start()
            number, missing = check(server.connect(), run, taken)
            # Each kill may meet one element on its way to who took it.
            if not 0 <= missing <= i + 1:
                fail("round %d: %d elements are gone" % (i, missing))
            server.stop()
    finally:
        server.clean_up()
    if calls < rounds or number < rounds or not taken:
        fail("too little happened: %d calls, %d numbers, %d taken" % (calls, number, len(taken)))
    print("%d kills, %d calls, %d numbers, %d handed over" % (rounds, calls, number, len(taken)))


main()
