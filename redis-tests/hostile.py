#!/usr/bin/env python3
"""Clients that mean no good: slow, huge, random, half-closed. What each may keep in the server's memory is bounded.

    hostile.py SERVER [ATTACK ...]
    hostile.py SERVER --for SECONDS [SEED]

Each attack runs on many connections at once, for a bounded time, against a server with little memory. While it runs, what
the process has resident is watched: it may pass maxmemory for a moment, but what clients keep must not. The server must
answer others.

With --for, the attacks come one after another, drawn at random, on one server, some of them over TLS, until the time is over. What
the server has resident between two attacks, when all attackers are gone, must not grow.
"""
import os
import random
import select
import socket
import ssl
import subprocess
import sys
import threading
import time

import redis

from certificates import Certificates
from links import request
from own_server import Server, fail, free_port, wait_until

MB = 1 << 20
MAXMEMORY = 64 * MB
PEAK = MAXMEMORY * 5      # for a moment: buffers of many clients grow at once
KEPT = MAXMEMORY * 5 // 3  # while the clients are there, but send no more; the allocator has some of it for itself
KEPT_FOR_LONG = MAXMEMORY * 2  # the same with --for: what scripts and caches may keep is there as well
CONNECTIONS = 40
GROWTH = 16 * MB           # of what is resident at rest, with --for


def plain(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


class Attacker:
    """A socket on which it sends what `pieces` gives it, as fast as it is taken, and reads only if it `reads`."""

    def __init__(self, connected, pieces, reads=True, half_closes=False):
        self.socket = connected
        self.socket.setblocking(False)
        self.pieces, self.reads, self.half_closes = iter(pieces), reads, half_closes
        self.waiting, self.is_open, self.has_more = b'', True, True
        self.sent = 0

    def send(self):
        if len(self.waiting) == 0:
            self.waiting = next(self.pieces, b'')
            if len(self.waiting) == 0:
                self.has_more = False
                if self.half_closes:
                    self.socket.shutdown(socket.SHUT_WR)
                return
        done = self.socket.send(self.waiting[:256 * 1024])
        self.sent += done
        self.waiting = self.waiting[done:]

    def step(self, readable, writable):
        try:
            if writable:
                self.send()
            if readable and len(self.socket.recv(256 * 1024)) == 0:
                self.close()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.close()

    def close(self):
        if self.is_open:
            self.is_open = False
            self.socket.close()


def drive(attackers, seconds):
    """Until all have sent everything or were closed, or nothing moves any more, or time is up."""
    end = time.monotonic() + seconds
    still = 0
    while time.monotonic() < end and still < 10:
        readers = [a.socket for a in attackers if a.is_open and a.reads]
        writers = [a.socket for a in attackers if a.is_open and a.has_more]
        if not writers:
            break
        readable, writable, _ = select.select(readers, writers, [], 0.2)
        still = 0 if readable or writable else still + 1
        readable, writable = set(readable), set(writable)
        for attacker in attackers:
            if attacker.is_open:
                attacker.step(attacker.socket in readable, attacker.is_open and attacker.socket in writable)


class Watch:
    """The largest resident size, looked at every 10 ms."""

    def __init__(self, pid):
        self.pid, self.peak, self.stopped = pid, 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def resident(self):
        with open('/proc/%d/statm' % self.pid, encoding='ascii') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE')

    def run(self):
        while not self.stopped:
            self.peak = max(self.peak, self.resident())
            time.sleep(0.01)

    def stop(self):
        self.stopped = True
        self.thread.join()


def repeat(count, make):
    return (make(i) for i in range(count))


# ---- the attacks: what one connection sends, by its number ----

def half_a_request(me):
    """Arguments of which the last never comes."""
    yield b'*%d\r\n' % 1000
    for _ in range(64):
        yield b'$100000\r\n' + b'x' * 100000 + b'\r\n'


def many_arguments(me):
    """Of no bytes each: what costs is to know where they are."""
    yield b'*1000000\r\n$3\r\nDEL\r\n'
    for _ in range(999):
        yield b'$0\r\n\r\n' * 1000


def an_argument_without_end(me):
    yield b'*2\r\n$4\r\nECHO\r\n$536870912\r\n'
    for _ in range(512):
        yield b'x' * MB


def a_line_without_end(me):
    for _ in range(1000):
        yield b'x' * 65536


def large_names(command):
    def attack(me):
        for i in range(20):
            yield request(command, b'%d:%d:' % (me, i) + b'x' * 1000000)
    attack.__doc__ = command
    return attack


def many_names(command):
    def attack(me):
        for i in range(300):
            yield request(command, *['%d:%d:%d' % (me, i, j) for j in range(1000)])
    attack.__doc__ = command
    return attack


def a_queue(me):
    yield request('MULTI')
    for i in range(3000):
        yield request('SETRANGE', 'key', 0, b'x' * 10000)


def a_queue_of_small_commands(me):
    yield request('MULTI')
    for i in range(300):
        yield request('PING') * 1000


def prefixes(me):
    yield request('CLIENT', 'TRACKING', 'ON', 'BCAST', *[w for i in range(16) for w in (
        'PREFIX', b'%d:%d:' % (me, i) + b'x' * 1000000)])


def many_prefixes(me):
    for i in range(100):
        yield request('CLIENT', 'TRACKING', 'ON', 'BCAST', *[w for j in range(100) for w in (
            'PREFIX', b'%06d:%06d:%06d' % (me, i, j) + b'x' * 1000)])


def a_name(me):
    yield request('CLIENT', 'SETNAME', b'x' * 5000000)
    yield request('HELLO', '3', 'SETNAME', b'x' * 5000000)


def waits_for_many_keys(me):
    yield request('BLPOP', *['%d:%d' % (me, i) for i in range(200000)], 0)


def waits_for_large_keys(me):
    yield request('BLPOP', *[b'%d:%d:' % (me, i) + b'x' * 100000 for i in range(30)], 0)


def scripts(me):
    for i in range(200):
        yield request('EVAL', 'return 1 --%d:%d:' % (me, i) + 'x' * 10000, 0)


def loaded_scripts(me):
    for i in range(200):
        yield request('SCRIPT', 'LOAD', 'return 1 --%d:%d:' % (me, i) + 'x' * 10000)


def a_script_that_takes_all(me):
    for _ in range(3):
        yield request('EVAL', 'local t = {} for i = 1, 1e7 do t[i] = string.rep("x", 1000) .. i end return t', 0)


def a_script_with_a_large_reply(me):
    for _ in range(5):
        yield request('EVAL', 'local t = {} for i = 1, 30000 do t[i] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" end return t', 0)


def unread_replies(me):
    for _ in range(2000):
        yield request('GET', 'large') * 10


def unread_lines(me):
    yield request('MONITOR')


def unread_messages(me):
    yield request('SUBSCRIBE', 'channel')


def talk(me):
    """For those that listen and don't read."""
    for _ in range(300):
        yield request('PUBLISH', 'channel', b'x' * 100000)


def noise(me):
    source = random.Random(me)
    words = [b'*', b'$', b'\r\n', b'-', b'1', b'3', b'1000000', b'GET', b'SET', b'MULTI', b'"', b'\0', b' ', b'\xff' * 100]
    for _ in range(200):
        yield b''.join(source.choice(words) for _ in range(500))


def passwords(me):
    for _ in range(4):
        yield request('AUTH', b'x' * 5000000)


def errors(me):
    """Unknown commands with long names, wrong everywhere."""
    for i in range(50):
        yield request(b'x' * 100000, *[b'y' * 1000] * 20)


ATTACKS = {
    'half a request': {'pieces': half_a_request},
    'many arguments': {'pieces': many_arguments},
    'an argument without end': {'pieces': an_argument_without_end},
    'a line without end': {'pieces': a_line_without_end},
    'SUBSCRIBE, large': {'pieces': large_names('SUBSCRIBE')},
    'PSUBSCRIBE, many': {'pieces': many_names('PSUBSCRIBE')},
    'WATCH, large': {'pieces': large_names('WATCH')},
    'WATCH, many': {'pieces': many_names('WATCH')},
    'MULTI': {'pieces': a_queue},
    'MULTI, small': {'pieces': a_queue_of_small_commands},
    'prefixes': {'pieces': prefixes},
    'prefixes, many': {'pieces': many_prefixes},
    'a name': {'pieces': a_name},
    'BLPOP, many': {'pieces': waits_for_many_keys},
    'BLPOP, large': {'pieces': waits_for_large_keys},
    'EVAL': {'pieces': scripts},
    'SCRIPT LOAD': {'pieces': loaded_scripts},
    'EVAL that takes all': {'pieces': a_script_that_takes_all},
    'EVAL with a large reply': {'pieces': a_script_with_a_large_reply, 'reads': False},
    'GET, unread': {'pieces': unread_replies, 'reads': False},
    'GET, unread, half-closed': {'pieces': unread_replies, 'reads': False, 'half_closes': True},
    'MONITOR, unread': {'pieces': unread_lines, 'reads': False, 'others': talk},
    'SUBSCRIBE, unread': {'pieces': unread_messages, 'reads': False, 'others': talk},
    'noise': {'pieces': noise},
    'noise, half-closed': {'pieces': noise, 'half_closes': True},
    'AUTH': {'pieces': passwords},
    'errors': {'pieces': errors},
}


def answers(server):
    try:
        return server.connect().ping()
    except (OSError, redis.RedisError):
        return False


def settle(watch, kept):
    """What is resident when the allocator has given back what is free."""
    end = time.monotonic() + 90
    while watch.resident() > kept and time.monotonic() < end:
        time.sleep(0.05)
    return watch.resident()


def clients_of(server):
    """Empty where the list is so long that whoever asks for it is closed."""
    try:
        return server.connect().client_list()
    except (OSError, redis.RedisError):
        return []


def run(server, name, connect, kept=KEPT):
    """`connect` gives a connected socket, `kept` is what may be resident for long. What is wrong, or None."""
    attack = ATTACKS[name]
    watch = Watch(server.process.pid)
    before = watch.resident()
    try:
        attackers = [Attacker(connect(), attack['pieces'](i), attack.get('reads', True), attack.get('half_closes', False))
                     for i in range(CONNECTIONS)]
        drive(attackers, 15)
        if 'others' in attack:
            others = [Attacker(connect(), attack['others'](i)) for i in range(4)]
            drive(others, 15)
            for other in others:
                other.close()
        is_alive = answers(server)
        counted = [int(c['tot-mem']) for c in clients_of(server)]
        held = settle(watch, kept)
        for attacker in attackers:
            attacker.close()
    finally:
        watch.stop()
    print('%-26s before %3d MB, peak %3d MB, at the end %3d MB, tot-mem %3d MB in %d clients, sent %d MB' % (
        name, before // MB, watch.peak // MB, held // MB, sum(counted) // MB, len(counted), sum(a.sent for a in attackers) // MB),
        flush=True)
    if not is_alive or server.process.poll() is not None:
        fail('%s: the server does not answer' % name)
    for what, bytes_there, limit in ('for a moment', watch.peak, PEAK), ('for long', held, kept):
        if bytes_there > limit:
            return '%s: %s %d MB were resident under maxmemory %d MB' % (name, what, bytes_there // MB, MAXMEMORY // MB)
    return None


def new_server(program, *options):
    server = Server(program, '--maxmemory', MAXMEMORY, '--io-threads', '2', *options)
    server.options += ['--logfile', server.directory + '/log', '--loglevel', 'warning']
    return server


def each_on_its_own(program, names):
    complaints = []
    for name in names:
        server = new_server(program)
        try:
            server.start()
            server.connect().set('large', b'x' * 100000)
            complaint = run(server, name, lambda: plain(server.socket))
            if complaint:
                complaints.append(complaint)
        finally:
            server.clean_up()
    return complaints


class SecureConnections:
    """To a port of TLS: what a client can do there beside sending."""

    def __init__(self, port, certificates):
        self.port, self.certificates, self.context = port, certificates, certificates.context()

    def connect(self):
        return self.context.wrap_socket(socket.create_connection(('127.0.0.1', self.port), 60))

    def unfinished(self):
        """Handshakes that stop in the middle, and what is none at all."""
        sockets = [socket.create_connection(('127.0.0.1', self.port), 60) for _ in range(CONNECTIONS)]
        for number, s in enumerate(sockets):
            s.sendall(b'\x16\x03\x01\x40\x00' + bytes(100 * number))
        time.sleep(0.2)
        for s in sockets:
            s.close()

    def renegotiating(self):
        """New keys (TLS 1.3) and new handshakes (1.2), again and again. openssl asks for them where a line says so."""
        files = ['-cert', self.certificates('client.crt'), '-key', self.certificates('client.key')]
        asked = [('-tls1_3', 'K\n'), ('-tls1_3', 'k\n'), ('-tls1_2', 'R\n')]
        clients = [subprocess.Popen(['openssl', 's_client', '-connect', '127.0.0.1:%d' % self.port, '-quiet', '-no_ign_eof', version, *files],
                                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
                   for version, _ in asked for _ in range(3)]
        for number, client in enumerate(clients):
            try:
                client.communicate(asked[number // 3][1] * 500 + 'Q\n', timeout=60)
            except subprocess.TimeoutExpired:
                client.kill()
                client.communicate()


def at_rest(server):
    """What is resident when all attackers are gone; it looks for some seconds, as memory is given back by and by."""
    wait_until('attackers are still listed', lambda: len(clients_of(server)) <= 2)
    watch = Watch(server.process.pid)
    least = watch.resident()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        time.sleep(0.1)
        least = min(least, watch.resident())
    watch.stop()
    return least


def for_long(program, seconds, source):
    """Rounds of all attacks, in an order of chance, on one server."""
    certificates = Certificates()
    port = free_port()
    server = new_server(program, '--tls-port', port, '--bind', '127.0.0.1', *certificates.server_options())
    secure = SecureConnections(port, certificates)
    complaints, rests, end = [], [], time.monotonic() + seconds
    try:
        server.start()
        server.connect().set('large', b'x' * 100000)
        while time.monotonic() < end:
            for name in source.sample(sorted(ATTACKS), len(ATTACKS)):
                connect = secure.connect if source.random() < 0.3 else lambda: plain(server.socket)
                complaint = run(server, name, connect, KEPT_FOR_LONG)
                if complaint:
                    complaints.append(complaint)
            secure.unfinished()
            secure.renegotiating()
            rests.append(at_rest(server))
            print('round %d: at rest %d MB' % (len(rests), rests[-1] // MB), flush=True)
    finally:
        server.clean_up()
        certificates.remove()
    third = max(len(rests) // 3, 1)  # the first round fills caches
    if max(rests[-third:]) > max(rests[:third + 1]) + GROWTH:
        complaints.append('it grows: %s MB at rest' % ' '.join(str(r // MB) for r in rests))
    return complaints


def main():
    if sys.argv[2:3] == ['--for']:
        seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
        print('seed %d' % seed, flush=True)
        complaints = for_long(sys.argv[1], int(sys.argv[3]), random.Random(seed))
    else:
        complaints = each_on_its_own(sys.argv[1], sys.argv[2:] or ATTACKS)
    if complaints:
        fail('\n'.join(complaints))
    print('all as it should be')


if __name__ == '__main__':
    main()
