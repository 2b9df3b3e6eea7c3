"""Connections of a test's own, which know of the protocol no more than they must, and processes that use them."""
import os
import socket
import time
import redis
from own_server import fail


def request(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class LineLink:
    """Sends requests and counts the lines of the replies."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(server.socket)
        self.socket.settimeout(120)

    def run(self, requests, lines):
        """Takes replies of so many lines, none of them an error; those of EXEC come behind its own."""
        self.socket.sendall(requests)
        found, before = 0, b"\n"
        while found < lines:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError
            found += data.count(b"\n")
            data = before + data
            at = data.find(b"\n-")  # an error is a line of its own, wherever it was cut
            if at >= 0:
                fail("a reply is %r" % data[at + 1:at + 100])
            before = data[-1:]


def is_broken(error):
    """What redis-py makes of a connection that ends between WATCH and EXEC."""
    return isinstance(error, redis.WatchError) and "ConnectionError" in str(error)


def forked(run):
    """A process that runs it. That the server goes away meanwhile is no fault of it."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except (ConnectionError, redis.ConnectionError, redis.TimeoutError):
            pass
        except BaseException as error:  # whatever it is, the parent is to hear of it
            if not is_broken(error):
                print("FAILED: in a client: %r" % error, flush=True)
                os._exit(1)
        os._exit(0)
    return child


def joined(child):
    if os.waitpid(child, 0)[1] != 0:
        fail("a client met something wrong")


class LongestCommits:
    """Commits to a key that nobody else uses, one after the other, in a process of their own while the `with` block runs:
    `longest` is then the longest three of them, in milliseconds."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.ended, self.end = os.pipe()
        self.told, self.tell = os.pipe()
        self.child = forked(self.commit)
        os.close(self.tell)
        os.close(self.ended)
        self.hear()
        return self

    def hear(self):
        data = os.read(self.told, 200)
        if not data:
            fail("the client that commits beside has ended")
        return data

    def __exit__(self, *_):
        os.close(self.end)
        self.longest = [float(word) for word in self.hear().split()]
        joined(self.child)
        os.close(self.told)

    def commit(self):
        os.close(self.end)
        link = LineLink(self.server)
        os.set_blocking(self.ended, False)
        longest = [0.0] * 3
        os.write(self.tell, b".")
        while True:
            began = time.monotonic()
            link.run(request("SET", "other", "x"), 1)
            longest = sorted(longest + [(time.monotonic() - began) * 1000])[1:]
            try:
                os.read(self.ended, 1)
            except BlockingIOError:
                continue
            os.write(self.tell, b" ".join(b"%.1f" % ms for ms in longest))
            return
