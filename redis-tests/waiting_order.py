"""Thousands of clients on several reactors that wait for lists, and are served in the order in which they came; the server is
killed meanwhile. For `./dev soak`.

    waiting_order.py SERVER [SECONDS [SEED [CLIENTS]]]

In each round groups of clients come one after the other: the next one once all of the last are known to wait. Some leave again,
some time out. Then each list gets as many elements as clients wait for it, and whoever came with an earlier group must have an
earlier element. Subscribers are told of every push and every hand-over, of a list as many hand-overs as there were elements. In
every other round the server is killed while it serves: nothing is delivered twice, and of what was acknowledged nothing is
lost but what was on its way to a client.
"""
import random
import select
import socket
import sys
import time
from links import request
from own_server import Server, fail, wait_until

LISTS, GROUPS = 7, 5


class Waiter:
    def __init__(self, path, number):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # waits while many others do
        self.socket.settimeout(180)
        self.list, self.group, self.data = number % LISTS, None, b""

    def wait(self, group, seconds):
        self.group, self.data = group, b""
        self.socket.sendall(request("BLPOP", "list:%d" % self.list, seconds))

    def element(self):
        """What it got; None: nothing (yet)."""
        parts = self.data.split(b"\r\n")
        if len(parts) < 6:
            return None
        if parts[2] != b"list:%d" % self.list:
            fail("a client got %r" % self.data)
        return int(parts[4])


class Round:
    def __init__(self, server, chance, count, is_killed):
        self.server, self.chance, self.is_killed = server, chance, is_killed
        self.control = server.connect()
        self.control.ping()  # connects before the others fill the queue of the socket
        self.waiters = [Waiter(server.socket, i) for i in range(count)]
        self.acknowledged = [0] * LISTS
        self.pushed = [0] * LISTS

    def blocked(self, count):
        wait_until("%d clients should wait" % count,
                   lambda: self.control.info("clients")["blocked_clients"] == count)

    def come(self):
        """In groups; those that stay are left."""
        size, there = len(self.waiters) // GROUPS, []
        for group in range(GROUPS):
            come = self.waiters[group * size:(group + 1) * size]
            for waiter in come:
                waiter.wait(group, 0)
            there += come
            self.blocked(len(there))
            for waiter in self.chance.sample(there, size // 10):
                there.remove(waiter)
                waiter.socket.close()
            # Who has timed out is told so, and waits no more.
            late = Waiter(self.server.socket, group)
            late.wait(group, 0.01)
            if late.socket.recv(100) != b"*-1\r\n":
                fail("a client did not time out")
            late.socket.close()
            self.blocked(len(there))
        self.waiters = there

    def push(self, wanted):
        """As many elements as clients wait, over a connection for each list, some at a time."""
        pushers = [Waiter(self.server.socket, i) for i in range(LISTS)]
        kill_at = self.chance.randrange(len(self.waiters)) if self.is_killed else None
        while any(self.pushed[i] < wanted[i] for i in range(LISTS)):
            i = self.chance.choice([i for i in range(LISTS) if self.pushed[i] < wanted[i]])
            count = min(self.chance.randint(1, 20), wanted[i] - self.pushed[i])
            pushers[i].socket.sendall(request("RPUSH", "list:%d" % i, *range(self.pushed[i], self.pushed[i] + count)))
            self.pushed[i] += count
            if kill_at is not None and sum(self.pushed) >= kill_at:
                self.server.kill()
                return
            if pushers[i].socket.recv(100) != b":%d\r\n" % count:
                fail("a push found elements that others wait for")
            self.acknowledged[i] = self.pushed[i]
        for pusher in pushers:
            pusher.socket.close()

    def read(self):
        """Until all have their element, or the server is gone."""
        poll = select.epoll()
        left = {waiter.socket.fileno(): waiter for waiter in self.waiters}
        for descriptor in left:
            poll.register(descriptor, select.EPOLLIN)
        while left:
            ready = poll.poll(60)
            if not ready:
                fail("%d clients are not served" % len(left))
            for descriptor, _ in ready:
                waiter = left[descriptor]
                try:
                    got = waiter.socket.recv(1000)
                except ConnectionError:
                    got = b""
                waiter.data += got
                if not got and not self.is_killed:
                    fail("the server closed a connection")
                if not got or waiter.element() is not None:
                    poll.unregister(descriptor)
                    del left[descriptor]
        poll.close()

    def check_order(self, got):
        """Of each list: an earlier group has earlier elements."""
        for i in range(LISTS):
            last = -1
            for group in range(GROUPS):
                mine = [e for waiter, e in got if waiter.list == i and waiter.group == group]
                if mine and min(mine) < last:
                    fail("list %d: group %d was served before an earlier one" % (i, group))
                last = max([last, *mine])

    def check_killed(self, got):
        control = self.server.connect()
        for i in range(LISTS):
            here = [e for waiter, e in got if waiter.list == i]
            left = [int(e) for e in control.lrange("list:%d" % i, 0, -1)]
            if len(set(here + left)) != len(here) + len(left):
                fail("list %d: an element was delivered and is still there" % i)
            lost = set(range(self.acknowledged[i])) - set(here) - set(left)
            waiting = sum(waiter.list == i for waiter in self.waiters) - len(here)
            # Taken for a client whose reply the kill cut off: the next ones in turn.
            if len(lost) > waiting:
                fail("list %d: %d elements are lost, for %d clients" % (i, len(lost), waiting))
        control.flushall()

    def check_told(self, listener, wanted):
        """Each list: so many hand-overs, and no more than were pushed before."""
        told = {}
        while any(told.get("list:%d" % i, [0, 0])[1] < wanted[i] for i in range(LISTS)):
            message = listener.get_message(timeout=60)
            if message is None:
                fail("events are missing: %r" % told)
            key = message["channel"].decode().split(":", 1)[1]
            counts = told.setdefault(key, [0, 0])
            if message["data"] == b"del":  # its last element was handed over
                continue
            counts[message["data"] == b"lpop"] += 1
            if message["data"] not in (b"rpush", b"lpop") or (counts[1] > 0 and counts[0] == 0):
                fail("an event of %s came too early: %r" % (key, message))

    def run(self):
        self.come()
        wanted = [sum(waiter.list == i for waiter in self.waiters) for i in range(LISTS)]
        listener = self.control.pubsub(ignore_subscribe_messages=True)
        listener.psubscribe("__keyspace@0__:list:*")
        listener.get_message(timeout=10)
        self.push(wanted)
        self.read()
        got = [(waiter, waiter.element()) for waiter in self.waiters if waiter.element() is not None]
        if len({(waiter.list, element) for waiter, element in got}) != len(got):
            fail("an element was delivered twice")
        self.check_order(got)
        if self.is_killed:
            self.server.start()
            self.check_killed(got)
        else:
            self.check_told(listener, wanted)
            if self.control.dbsize() != 0:
                fail("elements are left")
        listener.close()
        for waiter in self.waiters:
            waiter.socket.close()
        return len(got)


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 2000
    print("seed %d" % seed, flush=True)
    chance, end, rounds, served = random.Random(seed), time.monotonic() + seconds, 0, 0
    server = Server(sys.argv[1], "--io-threads", 3, "--appendfsync", chance.choice(["always", "everysec"]),
                    "--notify-keyspace-events", "KA")
    try:
        server.start()
        while time.monotonic() < end:
            served += Round(server, chance, count, rounds % 2 == 1).run()
            rounds += 1
    finally:
        server.clean_up()
    print("%d rounds, %d elements handed over" % (rounds, served))


main()
