"""nutcracker (twemproxy): clients behind it, pipelines, keys of several slots; what went through it before a kill is there afterwards."""
import subprocess
import tempfile
import redis
from program import PORT, free_port, holds, note, noted, run, same, until


class Proxy:
    def __enter__(self):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        with open(self.folder.name + "/conf.yml", "w") as file:
            file.write("pool:\n  listen: 127.0.0.1:%d\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n"
                       "  auto_eject_hosts: false\n  timeout: 10000\n  servers:\n   - 127.0.0.1:%d:1\n" % (self.port, PORT))
        self.process = subprocess.Popen(["/usr/sbin/nutcracker", "-c", self.folder.name + "/conf.yml", "-s", str(free_port()),
                                         "-a", "127.0.0.1", "-o", self.folder.name + "/log"], stdin=subprocess.DEVNULL)
        self.client = redis.Redis(port=self.port, decode_responses=True)
        until("nutcracker answers", self.answers)
        return self.client

    def answers(self):
        try:
            return self.client.get("none") is None
        except redis.RedisError:
            return False

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def tour():
    with Proxy() as client:
        same(client.set("a", "1", ex=100, nx=True), True, "SET")
        same((client.incr("a"), client.get("a")), (2, "2"), "INCR")
        same(client.execute_command("MSET", *[word for i in range(100) for word in ("m%d" % i, str(i))]), True, "MSET")
        same(client.mget(["m%d" % i for i in range(0, 100, 9)]), [str(i) for i in range(0, 100, 9)], "MGET")
        same(client.delete(*["m%d" % i for i in range(100)]), 100, "DEL")
        client.rpush("list", *range(1000))
        same((client.llen("list"), client.lrange("list", -2, -1)), (1000, ["998", "999"]), "a list")
        client.hset("hash", mapping={"a": 1, "b": 2})
        same(client.hgetall("hash"), {"a": "1", "b": "2"}, "a hash")
        client.zadd("zset", {"one": 1, "two": 2})
        same(client.zrevrange("zset", 0, -1), ["two", "one"], "a sorted set")
        same(client.eval("return redis.call('GET', KEYS[1])", 1, "a"), "2", "a script")
        pipe = client.pipeline(transaction=False)
        for i in range(2000):
            pipe.set("p%d" % i, "x" * 100)
            pipe.get("p%d" % i)
        same(pipe.execute()[1::2], ["x" * 100] * 2000, "a pipeline")
        client.set("large", "y" * 3000000)
        same(client.strlen("large"), 3000000, "a large value")


def load():
    with Proxy() as client:
        n = 0
        while True:
            client.set("key%d" % n, n)
            note("set %d" % n)
            n += 1


def settle():
    numbers = noted("set")
    holds(numbers, "nothing was set")
    with Proxy() as client:
        for n in numbers:
            same(client.get("key" + n), n, "key " + n)


run(tour=tour, load=load, settle=settle)
