"""A pipeline as redis-py runs it: all requests are written before the first reply is read.

    pipelines.py SOCKET
"""
import sys
import redis

COUNT = 300000
VALUE = b"v" * 100
BLOCK = 20000


def fail(text):
    print("FAILED: redis-py: " + text)
    sys.exit(1)


def main():
    client = redis.Redis(unix_socket_path=sys.argv[1], socket_timeout=180)
    client.flushall()
    client.mset({"key:%d" % i: VALUE for i in range(1000)})

    pipeline = client.pipeline(transaction=False)
    for i in range(COUNT):
        pipeline.get("key:%d" % (i % 1001))
    replies = pipeline.execute()
    if len(replies) != COUNT:
        fail("%d replies, not %d" % (len(replies), COUNT))
    for i, reply in enumerate(replies):
        if reply != (None if i % 1001 == 1000 else VALUE):
            fail("reply %d is %r" % (i, reply))

    # Reads and writes in turn keep their order, large values too.
    large = b"l" * (2 << 20)
    pipeline = client.pipeline(transaction=False)
    for i in range(BLOCK):
        pipeline.incr("counter")
        pipeline.get("key:%d" % (i % 1000))
    for i in range(20):
        pipeline.set("large", large)
        pipeline.get("large")
    replies = pipeline.execute()
    if replies[0 : 2 * BLOCK : 2] != list(range(1, BLOCK + 1)):
        fail("the counter's replies are not in order")
    if replies[2 * BLOCK :] != [True, large] * 20:
        fail("the large values are not what was written")

    # The same as one transaction.
    pipeline = client.pipeline(transaction=True)
    for i in range(BLOCK):
        pipeline.get("key:%d" % (i % 1000))
    if pipeline.execute() != [VALUE] * BLOCK:
        fail("a transaction's replies")


main()
