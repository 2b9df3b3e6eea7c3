#!/usr/bin/env python3
"""What new TLS connections cost those who are there, and what idle connections take.

    tls_connections.py SERVER [rate] [idle]

rate: 20 connections ask for a key 1,000 times a second in all, alone and while 500 others connect each second with a full handshake
(ECDSA P-256, TLS 1.3), send a PING and go. A request's time begins when it was due. The server has one reactor. It has the first core
to itself, the others' load the second one; who asks comes before all others there, where real-time priorities are allowed, so that
what is measured is the server. With one core, all share it.
idle: 10,000 connections that have sent one PING, plain and over TLS; what the process has resident more for each.
"""
import multiprocessing
import os
import resource
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../redis-tests"))
from certificates import Certificates  # noqa: E402
from own_server import Server, fail  # noqa: E402

CORES = os.sched_getaffinity(0)
ASKERS, REQUESTS_A_SECOND, CONNECTS_A_SECOND, CONNECTORS = 20, 1000, 500, 2
IDLE, HOLDERS = 10000, 4
SECONDS = 10


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def paced(count_a_second, until):
    """Times at which something is due. What is still due when the time is over is left out."""
    due = time.monotonic()
    while max(due, time.monotonic()) < until:
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield due
        due += 1 / count_a_second


def connect(port, context):
    s = socket.create_connection(("127.0.0.1", port), 30)
    if context is not None:
        s = context.wrap_socket(s)
    s.sendall(b"PING\r\n")
    if s.recv(16) != b"+PONG\r\n":
        fail("no PONG")
    return s


def use_core(number):
    """For this process, and those that it starts from now on."""
    cores = sorted(CORES)
    os.sched_setaffinity(0, {cores[min(number, len(cores) - 1)]})


def come_first():
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass


def connect_on_and_on(port, certificates, count, ret):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    context = certificates.context()
    done = 0
    for _ in paced(CONNECTS_A_SECOND / CONNECTORS, time.monotonic() + SECONDS):
        connect(port, context).close()
        done += 1
    ret.put(done)


def ask_on_and_on(path, seconds):
    """Times of replies, in ms."""
    sockets = []
    for _ in range(ASKERS):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        sockets.append(s)
    times = []
    for number, due in enumerate(paced(REQUESTS_A_SECOND, time.monotonic() + seconds)):
        s = sockets[number % ASKERS]
        s.sendall(b"GET key\r\n")
        if not s.recv(64).startswith(b"$5"):
            fail("no reply")
        times.append((time.monotonic() - due) * 1000)
    for s in sockets:
        s.close()
    return sorted(times)


def shown(times):
    return "p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms" % tuple(times[int(len(times) * part)] for part in (0.5, 0.99, 0.999))


def rate(program, certificates):
    port = free_port()
    server = Server(program, "--io-threads", "1", "--tls-port", port, "--bind", "127.0.0.1", *certificates.server_options())
    use_core(0)
    server.start()
    use_core(1)
    come_first()
    try:
        server.connect().set("key", "value")
        alone = ask_on_and_on(server.socket, SECONDS)
        done = multiprocessing.Queue()
        others = [multiprocessing.Process(target=connect_on_and_on, args=(port, certificates, CONNECTS_A_SECOND, done))
                  for _ in range(CONNECTORS)]
        for other in others:
            other.start()
        time.sleep(0.5)
        beside = ask_on_and_on(server.socket, SECONDS - 1)
        connected = sum(done.get() for _ in others)
        for other in others:
            other.join()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, CORES)
        server.clean_up()
    print("alone: " + shown(alone))
    print("beside %d new TLS connections a second: %s" % (connected // SECONDS, shown(beside)))
    print("p99 %.2f times" % (beside[int(len(beside) * 0.99)] / alone[int(len(alone) * 0.99)]))


def hold(port, context, go, ready, end):
    go.wait()
    sockets = [connect(port, context) for _ in range(IDLE // HOLDERS)]
    ready.release()
    end.wait()
    for s in sockets:
        s.close()


def resident(pid):
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def idle(program, certificates, context, name):
    port = free_port()
    server = Server(program, "--maxclients", IDLE + 100, "--bind", "127.0.0.1", *(
        ["--port", "0", "--tls-port", port] if context is not None else ["--port", port]), *certificates.server_options())
    server.start()
    go, ready, end = multiprocessing.Event(), multiprocessing.Semaphore(0), multiprocessing.Event()
    holders = [multiprocessing.Process(target=hold, args=(port, context, go, ready, end)) for _ in range(HOLDERS)]
    try:
        for holder in holders:
            holder.start()
        time.sleep(1)
        before = resident(server.process.pid)
        go.set()
        for _ in holders:
            if not ready.acquire(timeout=120):
                fail("not all connect")
        time.sleep(2)
        after = resident(server.process.pid)
        clients = server.connect().info("clients")["connected_clients"]
        print("%s: %d clients, %.1f KiB each" % (name, clients, (after - before) / 1024 / IDLE))
    finally:
        end.set()
        for holder in holders:
            holder.join(30)
        server.clean_up()


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    parts = sys.argv[2:] or ["rate", "idle"]
    certificates = Certificates()
    try:
        if "rate" in parts:
            rate(sys.argv[1], certificates)
        if "idle" in parts:
            idle(sys.argv[1], certificates, None, "plain")
            idle(sys.argv[1], certificates, certificates.context(), "TLS")
    finally:
        certificates.remove()


if __name__ == "__main__":
    main()
