"""Clients that never read: client-output-buffer-limit closes them, as it does in Redis.

    unread_replies.py SOCKET LOG
"""
import socket
import sys
import time
import redis
from links import request

PATIENCE = 180  # seconds
LINE = "for overcoming of output buffer limits."


def fail(text):
    print("FAILED: unread replies: " + text)
    sys.exit(1)


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(path)
    client.sendall(request(b"CLIENT", b"SETNAME", b"silent"))
    return client


def wait_until(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            fail(what)
        time.sleep(0.02)


def silent_clients(control):
    return [c for c in control.client_list() if c["name"] == "silent"]


def lines(log):
    with open(log, encoding="utf-8", errors="replace") as file:
        return [line for line in file if LINE in line]


def expect_closed(control, log, limit, value_size, count):
    control.config_set("client-output-buffer-limit", limit)
    control.set("value", b"v" * value_size)
    before = len(lines(log))
    client = connect(sys.argv[1])
    try:
        client.sendall(request(b"GET", b"value") * count)
    except OSError:
        pass  # closed while it was sending
    wait_until("%s closes nobody" % limit, lambda: not silent_clients(control))
    wait_until("%s: no line in the log" % limit, lambda: len(lines(log)) == before + 1)
    line = lines(log)[-1]
    if " id=" not in line or "name=silent" not in line or "omem=" not in line:
        fail("the log does not show the client: " + line)
    client.close()


def main():
    path, log = sys.argv[1:3]
    control = redis.Redis(unix_socket_path=path, socket_timeout=PATIENCE, decode_responses=True)
    # One reply, many replies, many more than a connection may leave unread without a limit; and time.
    expect_closed(control, log, "normal 1mb 0 0", 2 << 20, 1)
    expect_closed(control, log, "normal 1mb 0 0", 100, 100000)
    expect_closed(control, log, "normal 20mb 0 0", 100000, 1000)
    expect_closed(control, log, "normal 0 1mb 1", 2 << 20, 1)

    # A reply that is never made to its end, as no memory would hold it.
    control.config_set("client-output-buffer-limit", "normal 1mb 0 0")
    control.hset("hash", "field", "value")
    control.sadd("set", "member")
    control.zadd("zset", {"member": 1})
    for words in ((b"HRANDFIELD", b"hash"), (b"SRANDMEMBER", b"set"), (b"ZRANDMEMBER", b"zset")):
        before = len(lines(log))
        client = connect(path)
        client.recv(5)
        client.sendall(request(*words, b"-999999999"))
        if client.recv(1) != b"":
            fail("a reply of seven gigabytes is sent")
        wait_until("no line in the log", lambda count=before: len(lines(log)) > count)
    if control.info("memory")["used_memory_rss"] > 256 << 20:
        fail("the memory of such replies")

    # Below the limit, or above it for a short time, nobody is closed.
    control.config_set("client-output-buffer-limit", "normal 8mb 1mb 3600")
    control.set("value", "v" * (2 << 20))
    client = connect(path)
    client.sendall(request(b"GET", b"value"))
    wait_until("the reply is not there", lambda: any(c["cmd"] == "get" for c in silent_clients(control)))
    time.sleep(1.5)  # the server looks at each client once a second
    if len(silent_clients(control)) != 1:
        fail("closed without reason")
    client.close()
    # The limits of other classes are none of a normal client's.
    control.config_set("client-output-buffer-limit", "normal 0 0 0 pubsub 1 1 1 replica 1 1 1")
    if len(control.get("value")) != 2 << 20:
        fail("a large value")


main()
