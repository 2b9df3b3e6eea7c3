"""A file system that is really full: filled by the server itself, by others, healed, and with kills and restarts on it. What was
acknowledged is there, what was refused is not; deletions go through; everything goes on by itself once there is room.

    full_disk.py SERVER [SECONDS]

The file system is a tmpfs in a mount namespace of the test's own; where none may be made, the test is skipped (exit code 77).
"""
import os
import random
import subprocess
import sys
import threading
import time

import redis

from own_server import Server, fail, wait_until

MB = 1 << 20
SIZE = 100 * MB
SKIPPED = 77


def value_of(seed):
    """What does not compress; mostly short, some of the value log's size."""
    pick = random.Random(seed)
    return pick.randbytes(pick.choice((50, 300, 3000, 20000)))


class Disk:
    """The server's directory, on the small file system, and what others keep there."""

    def __init__(self, server):
        self.path = server.data
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % SIZE, "full-disk", self.path], check=True)
        self.others = self.path + "/others"

    def free(self):
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def fill(self):
        """Others take all that is left, also what becomes free meanwhile."""
        with open(self.others, "ab", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(64 << 10))
                except OSError:
                    break

    def heal(self):
        os.remove(self.others)


class Model:
    """What was acknowledged: key -> the seed of its value. A key whose reply did not come may have either."""

    def __init__(self):
        self.there, self.open, self.seed = {}, {}, 0

    def set_some(self, client, count):
        """How many were refused, with what."""
        refused = []
        for _ in range(count):
            self.seed += 1
            key, before = "key:%d" % (self.seed * 7919 % 20000), None
            before = self.there.get(key)
            self.open[key] = (before, self.seed)
            try:
                client.set(key, value_of(self.seed))
                self.there[key] = self.seed
            except redis.ResponseError as error:
                refused.append(str(error))
            del self.open[key]
        return refused

    def delete_some(self, client, share):
        keys = sorted(self.there)[::share]
        for begin in range(0, len(keys), 50):
            some = keys[begin:begin + 50]
            if client.delete(*some) != len(some):
                fail("deletions on a full disk do not find all keys")
            for key in some:
                del self.there[key]

    def check(self, client, when):
        found = {key.decode() for key in client.scan_iter(count=1000)}
        for key, (before, after) in self.open.items():
            value = client.get(key)
            fits = [seed for seed in (before, after) if value == (None if seed is None else value_of(seed))]
            if not fits:
                fail("%s: %s has neither the value before the kill nor the one after" % (when, key))
            self.there.pop(key, None)
            if fits[0] is not None:
                self.there[key] = fits[0]
        self.open.clear()
        if found != set(self.there):
            fail("%s: %d keys are lost, %d should not be there" % (when, len(set(self.there) - found), len(found - set(self.there))))
        keys = sorted(found)
        for begin in range(0, len(keys), 100):
            some = keys[begin:begin + 100]
            for key, value in zip(some, client.mget(some)):
                if value != value_of(self.there[key]):
                    fail("%s: %s has another value" % (when, key))


def refuses(model, client):
    return bool(model.set_some(client, 20))


def takes(model, client):
    return not model.set_some(client, 20)


def fill_by_writes(model, client):
    for _ in range(2000):
        refused = model.set_some(client, 50)
        if refused:
            return refused[0]
    return fail("nothing is refused")


def kill_while_writing(server, model):
    """The server dies while a client writes."""
    def write():
        client = server.connect()
        try:
            while True:
                model.set_some(client, 50)
        except redis.ConnectionError:
            pass
    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(random.random() / 5)  # any moment will do
    server.kill()
    writer.join()


def one_round(program, policy, *options):
    server = Server(program, "--maxmemory", "32mb", "--appendfsync", policy, *options)
    disk = Disk(server)
    model = Model()
    try:
        server.start()
        client = server.connect()
        # By us.
        said = fill_by_writes(model, client)
        model.check(client, "filled by its own writes")
        kill_while_writing(server, model)
        server.start()
        client = server.connect()
        model.check(client, "killed when it had filled the disk")
        fill_by_writes(model, client)
        model.delete_some(client, 2)
        model.check(client, "after deletions on a full disk")
        wait_until("no room comes of deletions", lambda: takes(model, client))
        # By others.
        disk.fill()
        wait_until("a disk that others have filled takes writes", lambda: disk.fill() or refuses(model, client))
        model.check(client, "filled by others")
        if client.info("stats")["evicted_keys"] != 0:
            fail("keys were evicted for a disk that others have filled")
        kill_while_writing(server, model)
        server.start()
        client = server.connect()
        model.check(client, "killed on a disk that others have filled")
        model.delete_some(client, 20)
        disk.heal()
        wait_until("it does not heal", lambda: takes(model, client))
        model.check(client, "healed")
        server.stop()
        if server.process.returncode != 0:
            fail("it ends with %d" % server.process.returncode)
        # Full when it ends in good order and starts again.
        server.start()
        client = server.connect()
        disk.fill()
        server.stop()
        server.start()
        client = server.connect()
        model.check(client, "ended and started on a full disk")
        disk.heal()
        wait_until("it does not heal after a start", lambda: takes(model, client))
        model.check(client, "at the end")
        print("%s %s: %d keys, refused with: %s" % (policy, " ".join(options), len(model.there), said), flush=True)
    finally:
        if server.process is not None:
            server.kill()
        subprocess.run(["umount", disk.path], check=False)
        server.clean_up()


def main():
    if os.environ.get("FULL_DISK_NAMESPACE") is None:
        if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            print("no mount namespace may be made: skipped")
            sys.exit(SKIPPED)
        os.environ["FULL_DISK_NAMESPACE"] = "yes"
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv])
    end = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    while True:
        one_round(sys.argv[1], "everysec", "--maxdisk", "0")
        one_round(sys.argv[1], "always", "--maxdisk", "95%")
        if time.monotonic() >= end:
            break
    print("all as it should be")


if __name__ == "__main__":
    main()
