"""Random values of every type, made by the same commands on any number of servers."""
import random
import string


class Maker:
    """`types` are names of the methods below; sizes go from packed forms to those of many nodes."""

    TYPES = ("text", "list", "set", "integers", "zset", "hash", "stream")

    def __init__(self, seed, types=TYPES):
        self.random = random.Random(seed)
        self.types = types

    def word(self):
        r = self.random
        kind = r.randrange(6)
        if kind == 0:
            return str(r.randrange(-(2 ** r.randrange(1, 63)), 2 ** r.randrange(1, 63)))
        if kind == 1:
            return r.choice(string.ascii_letters) * r.choice((1, 20, 21, 64, 65, 300))
        if kind == 2:
            return r.randbytes(r.choice((0, 1, 10, 63, 64, 65, 200)))
        return "".join(r.choices(string.ascii_letters, k=r.randrange(1, 30)))

    def count(self):
        return self.random.choice((1, 2, 3, 5, 10, 30, 130, 600) if self.random.randrange(50) == 0 else (1, 2, 3, 8))

    def text(self, key):
        r = self.random
        value = self.word() if r.randrange(100) else r.randbytes(r.choice((1000, 5000, 20000, 70000)))
        return ["SET", key, value]

    def list(self, key):
        return ["RPUSH", key] + [self.word() for _ in range(self.count())]

    def set(self, key):
        return ["SADD", key] + [self.word() for _ in range(self.count())]

    def integers(self, key):
        bits = self.random.choice((8, 16, 40))
        return ["SADD", key] + [self.random.randrange(-(2**bits), 2**bits) for _ in range(self.count())]

    def zset(self, key):
        r = self.random
        command = ["ZADD", key]
        for _ in range(self.count()):
            command += [r.choice((r.randrange(-1000, 1000), r.random() * 10 ** r.randrange(-5, 20), "inf", "-inf"))]
            command += [self.word()]
        return command

    def hash(self, key):
        command = ["HSET", key]
        for _ in range(self.count()):
            command += [self.word(), self.word()]
        return command

    def stream(self, key):
        return ["XADD", key, "%d-%d" % (self.random.randrange(1, 2**40), self.random.randrange(100)), "f", self.word()]

    def keys(self, count):
        """Commands in the order in which they are to be sent, with the database of each."""
        r = self.random
        for i in range(count):
            db = r.choice((0, 0, 0, 0, 0, 0, 9, 15))
            key = "key:%d" % i if r.randrange(20) else b"\xff\x00%d" % i + r.randbytes(r.choice((1, 30, 5000, 9000)))
            yield db, getattr(self, r.choice(self.types))(key)
            if r.randrange(5) == 0:
                yield db, ["PEXPIREAT", key, 4000000000000 + r.randrange(10**9)]


def fill(servers, maker, count):
    """Clients by database of each server; errors are raised."""
    for commands in batches(maker.keys(count)):
        for server in servers:
            pipelines = {}
            for db, command in commands:
                if db not in pipelines:
                    pipelines[db] = server.connect(db=db).pipeline(transaction=False)
                pipelines[db].execute_command(*command)
            for pipeline in pipelines.values():
                pipeline.execute()


def batches(commands, size=2000):
    batch = []
    for command in commands:
        batch.append(command)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def digest(server):
    return server.connect(timeout=300).execute_command("DEBUG", "DIGEST").decode()
