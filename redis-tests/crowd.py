"""Many clients at once that do not read, or never end their requests: the memory of all together is bounded, those with
the largest buffers are closed for it, and the others get every reply.

    crowd.py SOCKET
"""
import select
import socket
import sys
import redis
from links import request

MIB = 1 << 20
MEMORY = 64 * MIB
BOUND = MEMORY // 4 * 3  # of the buffers of all clients
ANNOUNCED = 16_000_000  # bytes of an argument: the server has a buffer for it whole as soon as it has read its size
SLACK = 16 * MIB  # what one client may add before the server looks, at the end of a round of its loop


def fail(text):
    print("FAILED: crowd: " + text)
    sys.exit(1)


def send_what_it_takes(client, data):
    """What it does not take is returned."""
    client.settimeout(0.2)
    data = memoryview(data)
    try:
        while data:
            data = data[client.send(data):]
    except OSError:
        pass  # it takes no more, or has closed it
    return data


def crowd(control, count, data):
    clients, peak = [], 0
    for _ in range(count):
        client = socket.socket(socket.AF_UNIX)
        client.connect(sys.argv[1])
        clients.append((client, send_what_it_takes(client, data)))
        peak = max(peak, control.info("memory")["mem_clients_normal"])
    if peak > BOUND + SLACK:
        fail("the buffers of %d clients took %d MiB" % (count, peak // MIB))
    return clients


def read_all(client, rest, size):
    """Sends the rest meanwhile. False: it was closed before."""
    while size > 0:
        readable, writable, _ = select.select([client], [client] if rest else [], [], 180)
        if not readable and not writable:
            fail("%d bytes of replies do not come" % size)
        try:
            if writable:
                rest = rest[client.send(rest[:4096]):]
            if not readable:
                continue
            got = client.recv(1 << 16)
        except ConnectionError:
            return False
        if not got:
            return False
        size -= len(got)
    return True


def main():
    control = redis.Redis(unix_socket_path=sys.argv[1])
    control.client_no_evict("ON")
    control.config_set("maxmemory", MEMORY)
    value, gets = b"v" * 2000, 8000
    control.set("value", value)
    before = control.info("stats")["evicted_clients"]
    clients = crowd(control, 60, request(b"GET", b"value") * gets)
    whole = sum(read_all(c, rest, gets * (len(value) + 9)) for c, rest in clients)
    evicted = control.info("stats")["evicted_clients"] - before
    if whole + evicted < len(clients) or whole < 30:
        fail("%d of %d got their replies, %d were closed" % (whole, len(clients), evicted))
    for client, _ in clients:
        client.close()
    half = b"*4\r\n$4\r\nHSET\r\n$4\r\nhash\r\n$5\r\nfield\r\n$%d\r\n" % ANNOUNCED + b"y" * (8 * MIB)
    clients = crowd(control, 20, half)
    if control.info("stats")["evicted_clients"] - before - evicted < 10:
        fail("requests that are still arriving are not bounded")
    for client, _ in clients:
        client.close()
    control.config_set("maxmemory", 4 * MEMORY)


main()
