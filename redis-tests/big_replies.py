"""HGETALL, HKEYS and HVALS of a hash larger than maxmemory: right, in bounded memory, and with a limit for slow readers.

    big_replies.py SERVER [FIELDS [SLACK_MIB]]      SLACK_MIB 0: memory is not looked at (sanitizers)
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import redis

WAIT = 180  # seconds
VALUE = 150
MAXMEMORY = 64 << 20


def fail(text):
    print("FAILED: big replies: " + text)
    sys.exit(1)


def wait_until(what, condition, seconds=WAIT):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            fail(what)
        time.sleep(0.05)


def value_of(i):
    return (b"%d-" % i) * (VALUE // len(b"%d-" % i))


def resident(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return fail("no VmRSS")


def fill(client, fields):
    pipe = client.pipeline(transaction=False)
    for start in range(0, fields, 200):
        words = []
        for i in range(start, min(start + 200, fields)):
            words += [b"field:%d" % i, value_of(i)]
        pipe.execute_command("HSET", "big", *words)
        if start % 20000 == 0:
            pipe.execute()
    pipe.execute()


class Reader:
    """Reads one reply as it comes, without keeping it."""

    def __init__(self, path, command, protocol):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb", 1 << 16)
        if protocol == 3:
            self.socket.sendall(b"HELLO 3\r\n")
            while self.file.readline() != b"*0\r\n":
                pass  # the map ends in the empty list of modules
        self.socket.sendall(command + b"\r\n")

    def header(self):
        line = self.file.readline()
        return line[:1], int(line[1:])

    def bulk(self):
        kind, size = self.header()
        if kind != b"$":
            fail("no bulk")
        data = self.file.read(size + 2)
        if len(data) != size + 2 or data[-2:] != b"\r\n":
            fail("a bulk that is cut short")
        return data[:-2]

    def close(self):
        self.file.close()
        self.socket.close()


def read_all(path, pid, fields, command, protocol):
    reader = Reader(path, command + b" big", protocol)
    kind, count = reader.header()
    pairs = command == b"HGETALL"
    if (kind, count) != ((b"%", fields) if pairs and protocol == 3 else (b"*", fields * (2 if pairs else 1))):
        fail("%s: header %s%d" % (command.decode(), kind.decode(), count))
    met = bytearray(fields)
    largest = 0
    for n in range(fields):
        data = reader.bulk()
        if command == b"HVALS":
            i = int(data[:data.index(b"-")])
            right = data == value_of(i)
        else:
            i = int(data[6:])
            right = data[:6] == b"field:" and (not pairs or reader.bulk() == value_of(i))
        if not right or met[i]:
            fail("%s: field %d" % (command.decode(), i))
        met[i] = 1
        if n % 10000 == 0:
            largest = max(largest, resident(pid))
    reader.socket.sendall(b"PING\r\n")
    if reader.file.readline() != b"+PONG\r\n":
        fail("the next reply")
    reader.close()
    return largest


def slow_reader(client, path, log):
    """Meets the limit; a large value that is read as slowly holds no snapshot, and does not."""
    client.config_set("snapshot-limit-seconds", "2")
    client.set("large", b"x" * (4 << 20))
    innocent = Reader(path, b"GET large", 2)
    reader = Reader(path, b"HGETALL big", 2)
    closed = lambda: client.info("clients")["clients_closed_by_snapshot_limit"]
    if closed() != 0:
        fail("closed before the limit")
    began = time.monotonic()
    while closed() == 0:
        if time.monotonic() - began > WAIT:
            fail("a client that reads a kilobyte a second is not closed")
        reader.socket.recv(1024)
        innocent.socket.recv(1024)
        time.sleep(1)
    if time.monotonic() - began < 1.5:
        fail("closed too early")
    with open(log, encoding="utf-8", errors="replace") as file:
        if not any("reads its reply too slowly, past snapshot-limit-seconds" in line for line in file):
            fail("no line in the log")
    try:
        while reader.socket.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    reader.close()
    if closed() != 1:
        fail("more than one was closed")
    innocent.close()
    client.config_set("snapshot-limit-seconds", "300")


def run(server, work, fields, slack):
    path, log = os.path.join(work, "socket"), os.path.join(work, "log")
    with open(log, "wb") as output:
        process = subprocess.Popen([server, "--port", "0", "--unixsocket", path, "--dir", work, "--maxmemory",
                                    str(MAXMEMORY), "--save", ""], stdout=output, stderr=output)
    try:
        client = redis.Redis(unix_socket_path=path, socket_timeout=WAIT)
        wait_until("the server does not come up", lambda: os.path.exists(path))
        wait_until("the server does not answer", client.ping)
        fill(client, fields)
        if client.hlen("big") != fields:
            fail("HLEN")
        before = resident(process.pid)
        largest = 0
        for protocol in (2, 3):
            for command in (b"HGETALL", b"HKEYS", b"HVALS"):
                largest = max(largest, read_all(path, process.pid, fields, command, protocol))
        bound = max(before, MAXMEMORY * 12 // 10) + (slack << 20)
        print("%d fields: resident %d MiB before, at most %d MiB while they were read"
              % (fields, before >> 20, largest >> 20))
        if slack > 0 and largest > bound:
            fail("resident: %d MiB" % (largest >> 20))
        slow_reader(client, path, log)
        client.delete("big")
        process.terminate()
        if process.wait(WAIT) != 0:
            fail("the server ended with code %d" % process.returncode)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main():
    work = tempfile.mkdtemp(prefix="sett-big-replies.")
    try:
        run(os.path.abspath(sys.argv[1]), work, int(sys.argv[2]) if len(sys.argv) > 2 else 300000,
            int(sys.argv[3]) if len(sys.argv) > 3 else 16)
    finally:
        shutil.rmtree(work)
    print("big replies are right")


main()
