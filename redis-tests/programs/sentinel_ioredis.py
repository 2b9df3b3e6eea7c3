"""ioredis, which knows a redis-sentinel alone: it follows when that makes a replica the master, and what it was told to be confirmed by all
replicas is there."""
import os
import subprocess
import sys
from program import JOURNAL, noted, run, same, until

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from sentinel_world import Watched  # noqa: E402

REDIS_SERVER = "/usr/bin/redis-server"
SECONDS = 120
NUMBERS = 30


def tour():
    open(JOURNAL, "w").close()
    with Watched(os.environ["SETT_SERVER"], REDIS_SERVER) as watched:
        client = subprocess.Popen(["node", HERE + "/sentinel_client.js", str(watched.sentinel.port), JOURNAL],
                                  stdin=subprocess.DEVNULL)
        try:
            until("it writes", lambda: len(noted("confirmed")) >= NUMBERS, SECONDS)
            for _ in range(2):
                new = watched.fail_over()
                before = len(noted("confirmed"))
                until("it goes on", lambda: len(noted("confirmed")) >= before + NUMBERS, SECONDS)
        finally:
            client.kill()
            client.wait()
        present = {int(n) for n in new.connect().smembers("seen")}
        same([n for n in noted("confirmed") if int(n) not in present], [], "what is lost of %d" % len(noted("confirmed")))
        same(noted("lacking"), [], "what a replica lacked")


run(tour=tour)
