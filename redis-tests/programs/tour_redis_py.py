"""redis-py: every type, pipelines, WATCH, publish and subscribe, blocking, streams, scripts, its locks, client-side caching. `load` and
`settle` are of its locks: who held one before a kill holds it after."""
import threading
import redis
from program import PORT, holds, note, noted, run, same, until

r = redis.Redis(port=PORT, decode_responses=True)


def types():
    same(r.set("s", "v", ex=100, nx=True), True, "SET")
    same(r.mget("s", "absent"), ["v", None], "MGET")
    same(r.incrbyfloat("f", 1.5), 1.5, "INCRBYFLOAT")
    same(r.bitfield("bits").set("u8", 0, 7).incrby("u4", 4, 9).execute(), [0, 0], "BITFIELD")
    same(r.hset("h", mapping={"a": 1, "b": 2}), 2, "HSET")
    same(r.hgetall("h"), {"a": "1", "b": "2"}, "HGETALL")
    same(r.rpush("l", 1, 2, 3), 3, "RPUSH")
    same(r.lmove("l", "m", "LEFT", "RIGHT"), "1", "LMOVE")
    same(r.lrange("l", 0, -1), ["2", "3"], "LRANGE")
    same(r.sadd("set", "x", "y"), 2, "SADD")
    same(r.smembers("set"), {"x", "y"}, "SMEMBERS")
    same(r.zadd("z", {"one": 1, "two": 2.5}), 2, "ZADD")
    same(r.zrange("z", 0, -1, withscores=True), [("one", 1.0), ("two", 2.5)], "ZRANGE")
    same(r.zmpop(1, ["z"], min=True), ["z", [["one", "1"]]], "ZMPOP")
    same(r.pfadd("hll", "a", "b"), 1, "PFADD")
    same(r.pfcount("hll"), 2, "PFCOUNT")
    same(r.geoadd("geo", (13.361389, 38.115556, "Palermo")), 1, "GEOADD")
    same(r.geosearch("geo", longitude=13, latitude=38, radius=100, unit="km"), ["Palermo"], "GEOSEARCH")
    same(r.sort("l", desc=True), ["3", "2"], "SORT")
    dump = redis.Redis(port=PORT).dump("h")
    same(r.restore("copy", 0, dump), "OK", "RESTORE")
    same(r.hget("copy", "b"), "2", "what was restored")


def together():
    with r.pipeline(transaction=False) as pipe:
        same(pipe.set("p", 1).incr("p").lpush("p", 1).execute(raise_on_error=False)[:2], [True, 2], "a pipeline")
    same(r.transaction(lambda pipe: pipe.multi() or pipe.incr("p"), "p"), [3], "a transaction under WATCH")
    with r.pipeline() as pipe:
        pipe.watch("p")
        r.set("p", 100)
        pipe.multi()
        pipe.incr("p")
        try:
            pipe.execute()
            holds(False, "a watched key has changed")
        except redis.WatchError:
            pass
    script = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    same(script(keys=["counter"], args=[5]), 5, "a script")
    r.script_flush()
    same(script(keys=["counter"], args=[5]), 10, "after SCRIPT FLUSH")
    same(r.function_load("#!lua name=tour_py\nredis.register_function('tour_py', function(k, a) return a[1] end)", replace=True),
         "tour_py", "FUNCTION LOAD")
    same(r.fcall("tour_py", 0, "x"), "x", "FCALL")
    r.mset({"scan:%d" % i: i for i in range(500)})
    same(len(set(r.scan_iter("scan:*", count=50))), 500, "SCAN")


def listening():
    heard = []
    ear = r.pubsub(ignore_subscribe_messages=True)
    ear.subscribe(one=lambda m: heard.append(m["data"]))
    ear.psubscribe(**{"o*": lambda m: heard.append(m["data"])})
    thread = ear.run_in_thread(sleep_time=0.01, daemon=True)
    until("it is subscribed to both", lambda: r.pubsub_numsub("one") == [("one", 1)] and r.pubsub_numpat() == 1)
    same(r.publish("one", "early"), 2, "PUBLISH")
    until("both are heard", lambda: heard == ["early", "early"])
    thread.stop()
    thread.join()
    with r.monitor() as monitor:
        r.set("watched", "by all")
        same(monitor.next_command()["command"], "SET watched by all", "MONITOR")


def waiting():
    popped = []
    thread = threading.Thread(target=lambda: popped.append(redis.Redis(port=PORT).blpop(["queue:a", "queue:b"], 30)))
    thread.start()
    until("it waits", lambda: r.info("clients")["blocked_clients"] == 1)
    r.rpush("queue:b", "job")
    thread.join()
    same(popped, [(b"queue:b", b"job")], "BLPOP")
    same(r.bzpopmin("none", 0.05), None, "its time ends")


def streams():
    entry = r.xadd("stream", {"a": 1})
    r.xgroup_create("stream", "group", "0")
    same(r.xreadgroup("group", "me", {"stream": ">"}), [["stream", [(entry, {"a": "1"})]]], "XREADGROUP")
    same(r.xpending("stream", "group")["pending"], 1, "XPENDING")
    same(r.xautoclaim("stream", "group", "you", 0)[1], [(entry, {"a": "1"})], "XAUTOCLAIM")
    same(r.xack("stream", "group", entry), 1, "XACK")
    same(r.xread({"stream": "$"}, block=50), [], "XREAD finds nothing new")
    same(r.xinfo_stream("stream")["length"], 1, "XINFO")


def locks():
    held = []

    def add():
        own = redis.Redis(port=PORT)
        for _ in range(20):
            with own.lock("lock:counter", timeout=30, sleep=0.002):
                held.append(int(own.get("added") or 0) + 1)
                own.set("added", held[-1])

    threads = [threading.Thread(target=add) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(held, list(range(1, 101)), "one holds the lock")
    lock = r.lock("lock:long", timeout=100)
    holds(lock.acquire(blocking=False) and not r.lock("lock:long").acquire(blocking=False), "it is held")
    holds(lock.extend(1000) and r.ttl("lock:long") > 1000, "extended")
    lock.release()
    holds(r.exists("lock:long") == 0, "released")


def caching():
    ear = r.connection_pool.make_connection()
    ear.send_command("CLIENT", "ID")
    number = ear.read_response()
    ear.send_command("SUBSCRIBE", "__redis__:invalidate")
    ear.read_response()
    with r.client() as reader:
        reader.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", number)
        r.set("cached", 1)
        same(reader.get("cached"), "1", "it is read")
        r.set("cached", 2)
        same(ear.read_response(), ["message", "__redis__:invalidate", ["cached"]], "it is told of")
        reader.execute_command("CLIENT", "TRACKING", "OFF")
    ear.disconnect()


def tour():
    for part in types, together, listening, waiting, streams, locks, caching:
        part()


def load():
    count = 0
    while True:
        count += 1
        lock = r.lock("kept:%d" % count, timeout=3600)
        holds(lock.acquire(blocking=False), "it is free")
        note("held kept:%d %s" % (count, lock.local.token.decode()))


def settle():
    for line in noted("held"):
        name, token = line.split()
        same(r.get(name), token, name)
        holds(not r.lock(name).acquire(blocking=False), "it is held")


run(tour=tour, load=load, settle=settle)
