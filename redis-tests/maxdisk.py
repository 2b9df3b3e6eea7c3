"""maxdisk and maxmemory-policy on a running server: a cache stays within its bound, who is told of what it evicts, what is
refused where nothing may be evicted, settings that change while it runs, and kills in the middle of evictions.

    maxdisk.py SERVER
"""
import os
import random
import sys
import threading
import time

import redis

from own_server import Server, fail, wait_until

MB = 1 << 20
LIMIT = 100 * MB  # the least is about 31 MB with this maxmemory
VALUE = 8000
OOM = "command not allowed when used memory > 'maxmemory'."


def value_of(number):
    """What does not compress, and is known from the key."""
    return random.Random(number).randbytes(VALUE)


def check(condition, text):
    if not condition:
        fail(text)


def disk_usage(path):
    """Of files that may go at any moment."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


# The limit moves with what the log takes, which is much while a slow disk is behind: what was evicted to was the least of these.
limits_seen = []


def storage_of(client):
    found = client.info('storage')
    limits_seen.append(found['maxdisk_live'])
    return found


def fill(client, first, count, expire=None):
    """Sets keys in pipelines; returns how many were refused."""
    refused = 0
    for begin in range(first, first + count, 20):
        pipe = client.pipeline(transaction=False)
        for number in range(begin, min(begin + 20, first + count)):
            pipe.set('key:%d' % number, value_of(number), ex=expire)
        for reply in pipe.execute(raise_on_error=False):
            if isinstance(reply, redis.exceptions.ResponseError):
                check(OOM in str(reply), str(reply))
                refused += 1
        storage_of(client)
    return refused


def refuses(call):
    try:
        call()
    except redis.exceptions.ResponseError as error:
        return str(error)
    return None


def check_values(client, numbers):
    """What is there is right."""
    there = 0
    for number in numbers:
        value = client.get('key:%d' % number)
        if value is not None:
            there += 1
            check(value == value_of(number), 'key:%d holds another value' % number)
    return there


def a_cache_stays_within_its_bound(server):
    client = server.connect()
    before = client.info('stats')['evicted_keys']
    limits_seen.clear()
    live_limit = storage_of(client)['maxdisk_live']
    count = 3 * live_limit // VALUE
    largest = 0
    for begin in range(0, count, 500):
        check(fill(client, begin, 500) == 0, 'a cache refuses writes')
        storage = client.info('storage')
        largest = max(largest, disk_usage(server.directory))
        check(storage['live_bytes'] < live_limit * 1.5, 'live bytes: %d of %d' % (storage['live_bytes'], live_limit))
    check(largest < LIMIT * 1.1, 'the files take %d of %d' % (largest, LIMIT))
    evicted = client.info('stats')['evicted_keys'] - before
    there = check_values(client, range(count))
    check(there * VALUE > min(limits_seen) * 0.75, 'only %d keys are left' % there)
    check(evicted > 0 and client.dbsize() >= there, 'evicted_keys')
    print('%d of %d keys left, %d evicted, files at most %.0f MB of %.0f, live %.0f MB of %.0f' % (
        there, count, evicted, largest / MB, LIMIT / MB, client.info('storage')['live_bytes'] / MB, live_limit / MB))
    client.flushall()


def hear(pubsub, names):
    while True:
        message = pubsub.get_message(timeout=0)
        if message is None:
            return
        if message['type'] == 'message':
            data = message['data']
            names.update(data if isinstance(data, list) else [data])


def subscribers_and_trackers_are_told(server):
    client = server.connect()
    client.config_set('notify-keyspace-events', 'Ee')
    client.config_set('maxmemory-policy', 'allkeys-random')
    listener = server.connect().pubsub()
    listener.subscribe('__keyevent@0__:evicted')
    # A client that caches what it has read, and is told of changes over another connection.
    invalid = server.connect().pubsub()
    invalid.subscribe('__redis__:invalidate')
    invalid.get_message(timeout=10)
    identity = max(int(c['id']) for c in client.client_list() if c['sub'] == '1')
    cache = redis.Redis(unix_socket_path=server.socket, single_connection_client=True)
    cache.execute_command('CLIENT', 'TRACKING', 'ON', 'REDIRECT', identity)
    live_limit = client.info('storage')['maxdisk_live']
    count = live_limit * 3 // 2 // VALUE
    cached = count // 4
    before = client.info('stats')['evicted_keys']
    fill(client, 0, cached)
    for number in range(cached):
        cache.get('key:%d' % number)
    told, invalidated, missing = set(), set(), set()
    for begin in range(cached, count, 100):
        fill(client, begin, min(100, count - begin))
        hear(listener, told)
        hear(invalid, invalidated)
    client.config_set('maxmemory-policy', 'noeviction')

    def all_heard():
        nonlocal missing
        missing = {n for n in range(count) if not client.exists('key:%d' % n)}
        hear(listener, told)
        hear(invalid, invalidated)
        return told == {b'key:%d' % n for n in missing} and \
            invalidated == {b'key:%d' % n for n in missing if n < cached}

    wait_until('not just the evicted keys were told of', all_heard)
    check(len(missing) == client.info('stats')['evicted_keys'] - before, 'evicted_keys')
    check(len(invalidated) > 0, 'no key that was read was evicted')
    client.config_set('notify-keyspace-events', '')
    client.flushall()


def without_a_policy_writes_are_refused(server):
    client = server.connect()
    client.config_set('maxmemory-policy', 'noeviction')
    library = '#!lua name=%s\nredis.register_function{function_name="%s", callback=function(k, a) ' \
              'return redis.call("set", "x", "1") end%s}'
    client.function_load(library % ('denied', 'denied', ''))
    client.function_load(library % ('allowed', 'allowed', ', flags={"allow-oom"}'))
    live_limit = client.info('storage')['maxdisk_live']
    count = 0
    while fill(client, count, 100) == 0:
        count += 100
        check(count * VALUE < 3 * LIMIT, 'nothing is refused')
    storage = client.info('storage')
    check(storage['live_bytes'] >= live_limit * 0.95, 'refused at %d of %d' % (storage['live_bytes'], live_limit))
    check(storage['maxdisk_refuses'] == 1, 'maxdisk_refuses')
    check(disk_usage(server.directory) < LIMIT * 1.1, 'the files pass maxdisk')
    script = 'return redis.call("set", KEYS[1], "1")'
    for name, call in {
            'SET': lambda: client.set('x', '1'),
            'APPEND': lambda: client.append('key:1', 'x'),
            'EVAL': lambda: client.eval(script, 1, 'x'),
            'FUNCTION LOAD': lambda: client.function_load(library % ('more', 'more', '')),
    }.items():
        text = refuses(call)
        check(text is not None and OOM in text, '%s: %s' % (name, text))
    text = refuses(lambda: client.eval('#!lua\n' + script, 1, 'x'))
    check(text is not None and 'allow-oom flag is not set on the script' in text, 'EVAL with #!lua: %s' % text)
    text = refuses(lambda: client.fcall('denied', 0))
    check(text is not None and 'allow-oom flag is not set on the script' in text, 'FCALL: %s' % text)
    check(client.fcall('allowed', 0) == b'OK', 'FCALL with allow-oom')
    check(client.eval('#!lua flags=allow-oom\n' + script, 1, 'x') == b'OK', 'EVAL with allow-oom')
    check(client.eval('return redis.call("get", KEYS[1])', 1, 'x') == b'1', 'EVAL that reads')
    check(client.get('key:1') == value_of(1), 'GET')
    pipe = client.pipeline(transaction=True)
    pipe.get('key:1')
    pipe.delete('key:2')
    check(pipe.execute() == [value_of(1), 1], 'MULTI that reads and deletes')
    # What is deleted makes room at once.
    client.delete(*['key:%d' % number for number in range(3, count // 3)])
    wait_until('no room after deletions', lambda: refuses(lambda: client.set('x', '1')) is None)
    while fill(client, count, 100) == 0:
        count += 100
        check(count * VALUE < 5 * LIMIT, 'nothing is refused after the deletions')
    # A larger bound counts at once, a smaller one too.
    client.config_set('maxdisk', '2gb')
    check(client.set('x', '1'), 'SET after CONFIG SET maxdisk 2gb')
    client.config_set('maxdisk', '60mb')
    check(refuses(lambda: client.set('x', '1')) is not None, 'SET after CONFIG SET maxdisk 60mb')
    client.config_set('maxdisk', '0')
    check(client.set('x', '1'), 'SET after CONFIG SET maxdisk 0')
    client.config_set('maxdisk', '50%')
    check(client.config_get('maxdisk') == {'maxdisk': '50%'}, 'CONFIG GET')
    text = refuses(lambda: client.config_set('maxdisk', '1mb'))
    check(text is not None and 'maxdisk must be at least' in text, 'CONFIG SET maxdisk 1mb: %s' % text)
    # And so does a policy: what is too much goes.
    client.config_set('maxdisk', '60mb')
    check(refuses(lambda: client.set('x', '1')) is not None, 'SET again within the bound')
    client.config_set('maxmemory-policy', 'allkeys-lru')
    wait_until('no room by evictions', lambda: refuses(lambda: client.set('x', '1')) is None)
    client.config_set('maxdisk', LIMIT)
    client.flushall()
    client.execute_command('FUNCTION', 'FLUSH')


def keys_without_deadline_are_spared(server):
    client = server.connect()
    client.config_set('maxmemory-policy', 'volatile-lru')
    live_limit = client.info('storage')['maxdisk_live']
    kept = live_limit // VALUE // 3
    check(fill(client, 0, kept) == 0, 'the first third is refused')
    check(fill(client, 100000, 2 * live_limit // VALUE, expire=10000) == 0, 'a cache refuses writes')
    check(check_values(client, range(kept)) == kept, 'a key without a deadline was evicted')
    check(client.info('stats')['evicted_keys'] > 0, 'nothing was evicted')
    client.flushall()


def databases_share(server):
    client = server.connect()
    client.config_set('maxmemory-policy', 'allkeys-random')
    limits_seen.clear()
    live_limit = storage_of(client)['maxdisk_live']
    clients = [server.connect(db=db) for db in (0, 3, 9)]
    count = live_limit // VALUE
    for begin in range(0, count, 100):
        for other in clients:
            check(fill(other, begin, 100) == 0, 'a cache refuses writes')
    left = [other.dbsize() for other in clients]
    print('keys of %d left in three databases: %s' % (count, left))
    check(min(left) > min(limits_seen) // VALUE // 8, 'one database lost nearly all')
    check(max(left) < count * 7 // 8, 'one database lost nothing')
    client.flushall()


def a_kill_loses_nothing_that_was_not_evicted(server):
    """What was acknowledged is there after a kill, or was evicted: no more keys are gone than that."""
    client = server.connect()
    client.config_set('maxmemory-policy', 'allkeys-lru')
    client.config_set('appendfsync', 'everysec')
    limits_seen.clear()
    storage_of(client)
    written = set()
    for _ in range(3):
        stop = threading.Event()

        def write(thread):
            own = server.connect()
            number = thread * 1000000 + len(written)
            try:
                while not stop.is_set():
                    own.set('key:%d' % number, value_of(number))
                    written.add(number)
                    number += 1
            except redis.exceptions.ConnectionError:
                pass

        threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        target = client.info('stats')['evicted_keys'] + 500
        wait_until('no evictions', lambda: storage_of(client) and client.info('stats')['evicted_keys'] > target)
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        # The evictor would go on while keys are counted, so it rests until that is done.
        server.start('--maxmemory-policy', 'noeviction')
        client = server.connect()
        there = check_values(client, sorted(written))
        left = {int(key.removeprefix(b'key:')) for key in client.scan_iter(count=1000)}
        check(client.info('stats')['evicted_keys'] == 0, 'keys were evicted while they were counted')
        check(client.dbsize() == len(left), 'DBSIZE after a kill: %d of %d keys' % (client.dbsize(), len(left)))
        check(there == len(left & written), '%d keys are found by GET, %d by SCAN' % (there, len(left & written)))
        # The server may die between a commit and its reply: that is one key of each writer.
        check(len(left - written) <= len(threads), '%d keys were never acknowledged' % len(left - written))
        check(there * VALUE > min(limits_seen) * 0.75, 'only %d keys are left after a kill' % there)
        written = left
        client.config_set('maxmemory-policy', 'allkeys-lru')
    client.flushall()


def main():
    server = Server(sys.argv[1], '--maxmemory', '32mb', '--maxdisk', LIMIT, '--maxmemory-policy', 'allkeys-lru',
                    '--table-compression', 'none', '--bottom-compression', 'none')
    server.options += ['--logfile', server.directory + '/log']
    try:
        server.start()
        with open(server.directory + '/log', encoding='utf-8', errors='replace') as log:
            check('Keys are evicted when their live data comes to' in log.read(), 'the log does not say how large it grows')
        a_cache_stays_within_its_bound(server)
        subscribers_and_trackers_are_told(server)
        without_a_policy_writes_are_refused(server)
        keys_without_deadline_are_spared(server)
        databases_share(server)
        a_kill_loses_nothing_that_was_not_evicted(server)
    finally:
        server.clean_up()
    print('all as it should be')


if __name__ == '__main__':
    main()
