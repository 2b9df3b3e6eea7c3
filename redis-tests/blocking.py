"""Clients that wait: queues between many producers and consumers, over several reactors, with time-outs and clients that
leave. Nothing is lost or delivered twice, nobody waits while there is something for him, and who came first is served
first.

    blocking.py SERVER [SECONDS [SEED]]
"""
import random
import socket
import sys
import threading
import time
import redis
from own_server import Server, fail, wait_until

LISTS = ["list:%d" % i for i in range(3)]
ZSETS = ["zset:%d" % i for i in range(2)]
PRODUCERS, CONSUMERS = 3, 8
BACKLOG = 2000  # elements that producers leave behind them: else a long run ends with more than consumers take in time
QUEUE = 200  # clients in one queue


def blocked(control):
    return control.info("clients")["blocked_clients"]


def in_order(server, control):
    """Each of many waiters gets the element that its place in the queue says, whichever reactor it is on."""
    clients = [server.connect().connection_pool.get_connection("BLPOP") for _ in range(QUEUE)]
    for i, client in enumerate(clients):
        client.send_command("BLPOP", "other", "queue", 0)
        wait_until("a client does not wait", lambda count=i + 1: blocked(control) == count)
    for start in range(0, QUEUE, 50):
        control.rpush("queue", *range(start, start + 50))
    for i, client in enumerate(clients):
        if client.read_response() != [b"queue", b"%d" % i]:
            fail("client %d was not served in its turn" % i)
        client.disconnect()
    if control.exists("queue"):
        fail("elements are left")


def chain(server, control):
    """One push wakes a client whose own push wakes the next."""
    links = 30
    clients = [server.connect().connection_pool.get_connection("BLMOVE") for _ in range(links)]
    for i, client in enumerate(clients):
        client.send_command("BLMOVE", "link:%d" % i, "link:%d" % (i + 1), "LEFT", "RIGHT", 0)
    wait_until("the clients of the chain do not wait", lambda: blocked(control) == links)
    pipeline = control.pipeline(transaction=False)
    pipeline.rpush("link:0", "x")
    pipeline.lrange("link:%d" % links, 0, -1)
    if pipeline.execute() != [1, [b"x"]]:
        fail("the chain was not served before the next command")
    for client in clients:
        if client.read_response() != b"x":
            fail("a client of the chain got something else")
        client.disconnect()
    control.delete("link:%d" % links)


def expired(server, control):
    """Who reads for a group is told when the stream is gone, also when nobody but time took it away."""
    control.xgroup_create("stream", "group", "$", mkstream=True)
    client = server.connect().connection_pool.get_connection("XREADGROUP")
    client.send_command("XREADGROUP", "GROUP", "group", "me", "BLOCK", 0, "STREAMS", "stream", ">")
    wait_until("the reader does not wait", lambda: blocked(control) == 1)
    control.pexpire("stream", 50)
    try:
        fail("the reader got %r" % client.read_response())
    except redis.ResponseError as error:
        if "no longer exists" not in str(error):
            fail("the reader was told: %s" % error)
    client.disconnect()


def claimed(server, control):
    """An entry that nobody acknowledges goes from one who waits to the next, in turn, each time it is old enough, on
    whichever reactors they are. Those that leave meanwhile get nothing."""
    age, waiting = 20, 12
    control.xgroup_create("jobs", "group", "$", mkstream=True)
    control.xadd("jobs", {"a": "b"}, id="1-1")
    control.xreadgroup("group", "lost", {"jobs": ">"})
    clients = [server.connect().connection_pool.get_connection("XREADGROUP") for _ in range(waiting)]
    for i, client in enumerate(clients):
        client.send_command("XREADGROUP", "GROUP", "group", "c%d" % i, "CLAIM", age, "BLOCK", 0, "STREAMS", "jobs", ">")
    for i, client in enumerate(clients):
        if i % 4 == 3:
            client.disconnect()
    delivered = set()
    for i, client in enumerate(clients):
        if i % 4 == 3:
            continue
        [[name, [[entry, fields, idle, count]]]] = client.read_response()
        if (name, entry, fields) != (b"jobs", b"1-1", [b"a", b"b"]) or idle < age:
            fail("client %d got %r" % (i, (name, entry, fields, idle, count)))
        delivered.add(count)
        client.disconnect()
    if len(delivered) != waiting - waiting // 4:
        fail("the entry was delivered after %r deliveries" % sorted(delivered))
    wait_until("clients that left still wait", lambda: blocked(control) == 0)
    control.delete("jobs")


class Run:
    def __init__(self, server, seconds, seed):
        self.server, self.seed = server, seed
        self.end = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.made, self.got, self.errors = set(), [], []
        self.over = threading.Event()

    def guard(self, body, number):
        try:
            body(random.Random(self.seed * 1000 + number), number)
        except Exception as error:  # the main thread reports it
            self.errors.append(repr(error))

    def produce(self, chance, number):
        client, count = self.server.connect(), 0
        while time.monotonic() < self.end:
            if len(self.made) - len(self.got) > BACKLOG:
                time.sleep(0.001)
                continue
            names = ["%d-%d" % (number, count + i) for i in range(chance.randint(1, 4))]
            count += len(names)
            with self.lock:
                self.made.update(names)
            way = chance.randrange(6)
            if way == 0:
                client.zadd(chance.choice(ZSETS), {name: chance.random() for name in names})
            elif way == 1:
                pipeline = client.pipeline(transaction=True)
                for name in names:
                    pipeline.rpush(chance.choice(LISTS), name)
                pipeline.execute()
            elif way == 2:
                pipeline = client.pipeline(transaction=False)
                for name in names:
                    pipeline.lpush(chance.choice(LISTS), name)
                pipeline.execute()
            elif way == 3:
                aside = "aside:%d" % number
                client.rpush(aside, *names)
                if not client.renamenx(aside, LISTS[0]):
                    for name in names:
                        client.lmove(aside, LISTS[1])
            else:
                client.rpush(chance.choice(LISTS), *names)
            if chance.random() < 0.3:
                time.sleep(chance.random() / 200)

    def take(self, client, chance):
        wait = chance.choice([0.001, 0.01, 0.05])
        way = chance.randrange(5)
        if way == 0:
            reply = client.blpop(chance.sample(LISTS, 2), wait)
            return [reply[1]] if reply else []
        if way == 1:
            reply = client.bzpopmin(chance.sample(ZSETS, 2), wait)
            return [reply[1]] if reply else []
        if way == 2:
            reply = client.execute_command("BLMPOP", wait, 2, *chance.sample(LISTS, 2), "RIGHT", "COUNT", 3)
            return reply[1] if reply else []
        if way == 3:
            reply = client.execute_command("BZMPOP", wait, 1, chance.choice(ZSETS), "MAX", "COUNT", 2)
            return [pair[0] for pair in reply[1]] if reply else []
        reply = client.lpop(chance.choice(LISTS))
        return [reply] if reply else []

    def consume(self, chance, number):
        client = self.server.connect()
        while not self.over.is_set():
            taken = self.take(client, chance)
            with self.lock:
                self.got += taken

    def come_and_go(self, chance, number):
        """Waits for what never comes, and leaves."""
        while not self.over.is_set():
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.server.socket)
            client.sendall(b"BLPOP never %s 0\r\n" % chance.choice([b"nothing", b"nowhere"]))
            time.sleep(chance.random() / 500)
            client.close()

    def left(self, control):
        return sum(control.llen(key) for key in LISTS) + sum(control.zcard(key) for key in ZSETS)

    def run(self, control):
        bodies = [self.produce] * PRODUCERS + [self.consume] * CONSUMERS + [self.come_and_go] * 2
        threads = [threading.Thread(target=self.guard, args=(body, i)) for i, body in enumerate(bodies)]
        for thread in threads:
            thread.start()
        for thread in threads[:PRODUCERS]:
            thread.join()
        wait_until("elements stay although clients wait", lambda: self.errors or self.left(control) == 0)
        self.over.set()
        for thread in threads:
            thread.join()
        if self.errors:
            fail(self.errors[0])
        got = sorted(self.got)
        if len(set(got)) != len(got):
            fail("an element was delivered twice")
        if got != sorted(name.encode() for name in self.made):
            fail("%d elements were made, %d delivered" % (len(self.made), len(got)))
        wait_until("clients that left still wait", lambda: blocked(control) == 0)
        print("%d elements through %d consumers" % (len(got), CONSUMERS))


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    server = Server(sys.argv[1], "--io-threads", 3, "--packed-max-size", 128)
    try:
        server.start()
        control = server.connect()
        in_order(server, control)
        chain(server, control)
        expired(server, control)
        claimed(server, control)
        Run(server, seconds, seed).run(control)
    finally:
        server.clean_up()


main()
