#!/usr/bin/env python3
"""Redis' unit/maxmemory with maxdisk in its place, test by test: the limit is of live bytes on the disk (INFO: live_bytes, maxdisk_live).

    maxdisk_policies.py SERVER

The names are those of the unit's tests. Its keys hold one byte; here they hold some thousand, so that the limit is met in a second.
"""
import socket
import sys

import redis

from maxdisk import LIMIT, VALUE, check, fill, limits_seen
from own_server import Server, wait_until

ALL = ('allkeys-random', 'allkeys-lru', 'allkeys-lfu')
VOLATILE = ('volatile-lru', 'volatile-lfu', 'volatile-random', 'volatile-ttl')
DEADLINE = 10000
MAXDISK = LIMIT * 6 // 10
NEW = 1000000  # from here on: names that the first fill has not


class Bound:
    """A server with no keys, a policy, and its limit of live bytes."""

    def __init__(self, server, policy):
        self.client = server.connect()
        self.client.config_set('maxmemory-policy', 'noeviction')
        self.client.config_set('maxdisk', MAXDISK)
        self.client.flushall()
        wait_until('FLUSHALL gives nothing back', lambda: self.live() < VALUE * 10)
        self.client.config_set('maxmemory-policy', policy)
        self.evicted_before = self.client.info('stats')['evicted_keys']

    def live(self):
        return self.client.info('storage')['live_bytes']

    def evicted(self):
        return self.client.info('stats')['evicted_keys'] - self.evicted_before

    def room(self):
        """How much more may be alive; the limit moves with what the log and the reserve take."""
        storage = self.client.info('storage')
        return storage['maxdisk_live'] - storage['live_bytes']

    def fill_up(self, fill_some):
        """Until the limit is almost reached: evictions begin a little below it, and where a busy machine holds up writers more than
        them it is never met. How many keys that took."""
        count = 0
        while self.room() > 50 * VALUE and self.evicted() == 0:
            check(fill_some(count) == 0, 'refused below the limit')
            count += 40
            check(count * VALUE < LIMIT, 'the limit is never met')
        return count

    def comes_to_the_limit(self):
        wait_until('more than the limit is alive', lambda: self.room() >= 0)


def is_the_limit_honoured(server, policy):
    bound = Bound(server, policy)
    limits_seen.clear()
    count = bound.fill_up(lambda at: fill(bound.client, at, 40, DEADLINE))
    check(fill(bound.client, NEW, count, DEADLINE) == 0, 'a cache refuses writes')
    bound.comes_to_the_limit()
    evicted, left, least = bound.evicted(), bound.client.dbsize(), min(limits_seen)
    check(evicted > 0 and left * VALUE > least // 2, '%d evicted, %d left, of a limit of %d bytes' % (evicted, left, least))


def only_allkeys_removes_keys_without_deadline(server, policy):
    bound = Bound(server, policy)
    count = bound.fill_up(lambda at: fill(bound.client, at, 40))
    refused = fill(bound.client, NEW, count)
    if policy in ALL:
        check(refused == 0, 'a cache refuses writes')
        bound.comes_to_the_limit()
        check(bound.evicted() > 0, 'nothing is evicted')
    else:
        check(refused > 0, 'nothing is refused')
        check(bound.evicted() == 0, '%d keys are evicted' % bound.evicted())


def only_volatile_keys_are_removed(server, policy):
    bound = Bound(server, policy)
    count = bound.fill_up(lambda at: fill(bound.client, at, 20) + fill(bound.client, at + 20, 20, DEADLINE))
    fill(bound.client, NEW, count // 2, DEADLINE)
    bound.comes_to_the_limit()
    check(bound.evicted() > 0, 'nothing is evicted')
    lasting = ['key:%d' % (at + i) for at in range(0, count, 40) for i in range(20)]
    check(bound.client.exists(*lasting) == len(lasting), 'keys without a deadline are gone')


class Stream:
    """What a replica is told, after a full sync that it passes over."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(180)
        self.socket.connect(server.socket)
        self.file = self.socket.makefile('rb')
        self.socket.sendall(b'SYNC\r\n')
        head = b'\n'
        while head == b'\n':
            head = self.file.readline()
        check(head.startswith(b'$'), 'SYNC: %r' % head)
        self.file.read(int(head[1:]))

    def command(self):
        line = self.file.readline()
        check(line.startswith(b'*'), 'the stream: %r' % line)
        words = []
        for _ in range(int(line[1:])):
            size = int(self.file.readline()[1:])
            words.append(self.file.read(size + 2)[:-2])
        return words


def replicas_are_told(server, policy):
    """What the stream says is what is there: each evicted key's deletion comes once, behind what set it."""
    bound = Bound(server, policy)
    # It reads at the end, which on a busy machine is more than a minute away.
    bound.client.config_set('repl-timeout', 3600)
    bound.client.config_set('client-output-buffer-limit', 'replica 0 0 0')
    stream = Stream(server)
    count = bound.fill_up(lambda at: fill(bound.client, at, 40))
    check(fill(bound.client, NEW, count) == 0, 'a cache refuses writes')
    bound.comes_to_the_limit()
    bound.client.config_set('maxdisk', 0)
    there, deleted = set(), 0
    # An eviction that is under way now may come behind a key that is set now.
    for last in (b'last:%d' % i for i in range(100)):
        bound.client.set(last, 'x')
        while last not in there:
            words = stream.command()
            if words[0].upper() == b'SET':
                there.add(words[1])
            elif words[0].upper() in (b'DEL', b'UNLINK'):
                deleted += len(words) - 1
                for key in words[1:]:
                    check(key in there, 'deleted twice, or before it was set: %r' % key)
                    there.remove(key)
        if there == set(bound.client.scan_iter(count=1000)):
            break
    else:
        check(False, 'a replica would have other keys')
    check(0 < deleted == bound.evicted(), '%d deletions are told of, %d keys evicted' % (deleted, bound.evicted()))
    stream.socket.close()


TESTS = {
    'propagation with eviction (%s)': (replicas_are_told, ALL),
    'maxmemory - is the memory limit honoured? (policy %s)': (is_the_limit_honoured, ALL + VOLATILE),
    'maxmemory - only allkeys-* should remove non-volatile keys (%s)': (only_allkeys_removes_keys_without_deadline, ALL + VOLATILE),
    'maxmemory - policy %s should only remove volatile keys.': (only_volatile_keys_are_removed, VOLATILE),
}


def main():
    server = Server(sys.argv[1], '--maxmemory', '32mb', '--maxdisk', MAXDISK, '--table-compression', 'none', '--bottom-compression', 'none')
    server.options += ['--logfile', server.directory + '/log']
    try:
        server.start()
        for name, (test, policies) in TESTS.items():
            for policy in policies:
                print(name % policy, flush=True)
                test(server, policy)
    finally:
        server.clean_up()
    print('all as it should be')


if __name__ == '__main__':
    main()
