"""Keys that clients of several reactors all write at once.

    hot_keys.py SERVER [SECONDS [REACTORS]]

Counters are counted up with pipelines of INCR, alone and beside keys that nobody else writes; a few accounts change by scripts,
by scripts that declare no key, and by MULTI blocks, many transfers in a pipeline; a set and a stream grow. Meanwhile clients come,
send a pipeline and leave, or are killed, before it is answered. In the end every counter is what was acknowledged, and no more
than what was sent beside; the accounts add up to what they were; and no reply took longer than a bound. Then the server is
told to stop while all of them go on, and is through at once.
"""
import os
import random
import select
import socket
import sys
import time
from links import request
from own_server import Server, fail, wait_until

CLIENTS, PIPELINE, ACCOUNTS, INITIAL = 12, 16, 3, 1000
LONGEST = 60  # seconds that a reply may take, on a machine that does much else
TRANSFER = """
local from, to = KEYS[1] or ARGV[1], KEYS[2] or ARGV[2]
if tonumber(redis.call('GET', from)) < 1 then return 0 end
redis.call('DECR', from) redis.call('INCR', to)
return 1
"""


class Link:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(180)
        self.data = b""

    def line(self):
        while b"\r\n" not in self.data:
            part = self.socket.recv(1 << 16)
            if not part:
                raise ConnectionError
            self.data += part
        line, _, self.data = self.data.partition(b"\r\n")
        return line

    def reply(self):
        """Of an integer, a status, a short string, or of EXEC."""
        line = self.line()
        if line[:1] == b"-":
            fail("a reply is %r" % line)
        if line[:1] == b"*":
            return [self.reply() for _ in range(int(line[1:]))]
        return self.line() if line[:1] == b"$" else line


def pair(chance):
    return ["account:%d" % i for i in chance.sample(range(ACCOUNTS), 2)]


# Of each kind of client: the requests of its i-th pipeline, and how many replies they have.

def count_up(chance, number):
    return [request("INCR", "counter")] * PIPELINE, PIPELINE


def count_beside(chance, number):
    own = [request("INCR", "own:%d" % number), request("INCR", "counter"), request("GET", "counter")]
    return own * (PIPELINE // 3), PIPELINE // 3 * 3


def transfer_by_script(chance, number):
    return [request("EVAL", TRANSFER, 2, *pair(chance)) for _ in range(PIPELINE)], PIPELINE


def transfer_undeclared(chance, number):
    return [request("EVAL", TRANSFER, 0, *pair(chance)) for _ in range(PIPELINE)], PIPELINE


def transfer_in_block(chance, number):
    requests = []
    for _ in range(4):
        one, other = pair(chance)
        requests += [request("MULTI"), request("DECR", one), request("INCR", other), request("INCR", "counter"), request("EXEC")]
    return requests, len(requests)


def grow(chance, number):
    some = [request("SADD", "set", chance.randrange(1000)), request("XADD", "stream", "MAXLEN", 100, "*", "f", number)]
    return some * (PIPELINE // 2), PIPELINE // 2 * 2


KINDS = [count_up, count_beside, transfer_by_script, transfer_undeclared, transfer_in_block, grow]


def run_client(server, number, seconds, until):
    """In a process of its own. Writes how often it counted up, and how long the longest pipeline took."""
    chance, link, kind = random.Random(number), Link(server.socket), KINDS[number % len(KINDS)]
    end, counted, longest = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        requests, replies = kind(chance, number)
        began = time.monotonic()
        link.socket.sendall(b"".join(requests))
        last = {}
        for at in range(replies):
            reply, sent = link.reply(), requests[at]
            if sent == request("INCR", "counter"):
                if reply == b"+QUEUED":
                    counted += 1
                    continue
                counted += 1
                if int(reply[1:]) <= last.get(sent, 0):
                    fail("the counter went from %d to %r" % (last[sent], reply))
                last[sent] = int(reply[1:])
        longest = max(longest, time.monotonic() - began)
    os.write(until, b"%d %d\n" % (counted, longest * 1e6))


def start_clients(server, seconds):
    read, write = os.pipe()
    processes = []
    for number in range(CLIENTS):
        process = os.fork()
        if process == 0:
            status = 1
            try:
                run_client(server, number, seconds, write)
                status = 0
            except (ConnectionError, socket.timeout) as e:
                status = 2
            finally:
                os._exit(status)
        processes.append(process)
    os.close(write)
    return processes, read


def leave_early(server, control, chance, seconds):
    """Clients that do not wait for what they asked. How often they counted up at most."""
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        links = [Link(server.socket) for _ in range(4)]
        for link in links:
            link.socket.sendall(request("INCR", "counter") * PIPELINE)
        sent += PIPELINE * len(links)
        if chance.random() < 0.5:
            own = control.client_id()
            for client in control.client_list():
                if client["name"] == "victim" and int(client["id"]) != own:
                    control.client_kill_filter(_id=client["id"])
            victim = Link(server.socket)
            victim.socket.sendall(request("CLIENT", "SETNAME", "victim") + request("INCR", "counter") * PIPELINE)
            sent += PIPELINE
            select.select([victim.socket], [], [], chance.random() * 0.01)
            links.append(victim)
        for link in links:
            link.socket.close()
        time.sleep(0.005)
    return sent


def ended(processes):
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def check_sums(server, seconds):
    control = server.connect()
    for i in range(ACCOUNTS):
        control.set("account:%d" % i, INITIAL)
    processes, results = start_clients(server, seconds)
    dared = leave_early(server, control, random.Random(1), seconds)
    if any(ended(processes)):
        fail("a client failed")
    lines = [line.split() for line in os.fdopen(results).read().splitlines()]
    counted, longest = sum(int(line[0]) for line in lines), max(int(line[1]) for line in lines) / 1e6
    counter = int(control.get("counter"))
    if not counted <= counter <= counted + dared:
        fail("the counter is %d, of %d acknowledged and %d that nobody waited for" % (counter, counted, dared))
    total = sum(int(control.get("account:%d" % i)) for i in range(ACCOUNTS))
    if total != ACCOUNTS * INITIAL:
        fail("the accounts have %d" % total)
    if longest > LONGEST:
        fail("a pipeline took %.1f s" % longest)
    info = control.info("all")
    print("%d acknowledged; the longest pipeline took %.3f s; %d conflicts" % (counted, longest, info["conflicts"]), flush=True)


def check_stop(server):
    """All go on while the server is told to stop."""
    processes, results = start_clients(server, 600)
    control = server.connect()
    before = int(control.get("counter"))
    wait_until("nobody counts", lambda: int(control.get("counter")) > before + 1000)
    began = time.monotonic()
    server.stop()
    if time.monotonic() - began > 120:
        fail("the server took %.1f s to stop" % (time.monotonic() - began))
    if 1 in ended(processes):
        fail("a client failed")
    os.close(results)


def main():
    program, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 5
    reactors = sys.argv[3] if len(sys.argv) > 3 else 4
    server = Server(program, "--io-threads", reactors, "--save", "")
    try:
        server.start()
        check_sums(server, seconds)
        check_stop(server)
    finally:
        server.clean_up()


main()
