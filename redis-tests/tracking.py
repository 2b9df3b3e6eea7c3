#!/usr/bin/env python3
"""Client-side caching over several reactors: no cached value is stale once its invalidation was due.

    tracking.py SERVER [SECONDS [SEED]]

Writers count keys up. Cachers keep what they have read until they are told to forget it, each in a mode of its own. Now and
then a cacher looks which counts the writers know of, asks for an answer (PING), and then holds nothing older: what was
committed before a request is told before its reply. Connections are killed, the table of tracked keys is too small for
all of them, and at last the server is killed: what a cacher has seen is still there. Rounds follow each other until the
seconds are over.
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

from pubsub import Client

KEYS, WRITERS, SECONDS = 40, 3, 4


def fail(text):
	raise SystemExit("FAILED: tracking: " + text)


class Counts:
	"""What is known of the keys: by the replies to writers, and by what anybody has read."""

	def __init__(self):
		self.written = [0] * KEYS
		self.seen = [0] * KEYS
		self.told = self.kept = 0
		self.over = threading.Event()
		self.failure = None


def key(number):
	return "%s:%d" % ("even" if number % 2 == 0 else "odd", number)


class Cacher(Client):
	"""A connection that handles the pushes between the replies."""

	def __init__(self, path, protocol=3):
		super().__init__(path)
		self.cache = {}
		self.told = 0
		if protocol == 3:
			self.ask("HELLO", 3)

	def forget(self, names):
		self.told += 1
		if names is None:
			self.cache.clear()
			return
		for name in names:
			self.cache.pop(name, None)

	def read(self):
		while True:
			if self.at == len(self.bytes):
				self.fill()
			is_push = self.bytes[self.at:self.at + 1] == b">"
			reply = super().read()
			if not is_push:
				return reply
			if reply[0] != b"invalidate":
				fail("a push of %r" % reply[0])
			self.forget(reply[1] if isinstance(reply[1], list) else None)


class Redirected(Cacher):
	"""In RESP2, told over another connection."""

	def __init__(self, path):
		super().__init__(path, 2)
		self.ear = Client(path)
		self.id = self.ear.ask("CLIENT", "ID")
		self.ear.ask("SUBSCRIBE", "__redis__:invalidate")

	def barrier(self):
		self.ear.send(("PING",))
		while (reply := self.ear.read())[0] != b"pong":
			self.forget(reply[2])
		self.ask("PING")


MODES = {
	"default": (), "no loop": ("NOLOOP",), "opt in": ("OPTIN",), "broadcast": ("BCAST",),
	"prefixes": ("BCAST", "PREFIX", "even:", "PREFIX", "odd:"), "redirected": None,
}


def begin(path, mode):
	if mode == "redirected":
		client = Redirected(path)
		client.ask("CLIENT", "TRACKING", "ON", "REDIRECT", client.id)
	else:
		client = Cacher(path)
		client.ask("CLIENT", "TRACKING", "ON", *MODES[mode])
	return client


def look_up(client, mode, chance):
	"""One or more keys by one of several ways: what came."""
	numbers = chance.sample(range(KEYS), chance.choice((1, 1, 1, 3)))
	names = [key(n) for n in numbers]
	if mode == "opt in":
		client.ask("CLIENT", "CACHING", "YES")
	if len(numbers) == 1:
		values = [client.ask("GET", names[0])]
	elif chance.random() < 0.5:
		values = client.ask("MGET", *names)
	else:
		client.send(("MULTI",), *[("GET", n) for n in names], ("EXEC",))
		values = [client.read() for _ in range(len(names) + 2)][-1]
	return [(n, int(v or 0)) for n, v in zip(numbers, values)]


def check(client, mode, floor):
	if mode == "redirected":
		client.barrier()
	else:
		client.ask("PING")
	for number in range(KEYS):
		value = client.cache.get(key(number).encode())
		if value is not None and value < floor[number]:
			fail("%s: %s is kept as %d, and was %d before" % (mode, key(number), value, floor[number]))


def use_cache(path, mode, seed, counts, is_killed):
	chance = random.Random(seed)
	client = begin(path, mode)
	while not counts.over.is_set():
		for number, value in look_up(client, mode, chance):
			if value < counts.seen[number] - 10 ** 6:
				fail("a count went back")
			client.cache[key(number).encode()] = value
			counts.seen[number] = max(counts.seen[number], value)
		if chance.random() < 0.1:
			check(client, mode, list(counts.written))
		if is_killed and chance.random() < 0.001:
			client.ask("CLIENT", "KILL", "ID", client.ask("CLIENT", "ID"), "SKIPME", "no")
			counts.told += client.told
			client = begin(path, mode)
	counts.told += client.told
	counts.kept += len(client.cache)
	check(client, mode, list(counts.written))


def write(path, number, seed, counts):
	"""Each key has one writer, so what it knows of is the newest."""
	chance = random.Random(seed)
	client = Client(path)
	mine = range(number, KEYS, WRITERS)
	while not counts.over.is_set():
		n, m = chance.choice(mine), chance.choice(mine)
		if chance.random() < 0.7:
			counts.written[n] = client.ask("INCR", key(n))
		else:
			client.send(("MULTI",), ("INCR", key(n)), ("INCR", key(m)), ("EXEC",))
			first, second = [client.read() for _ in range(4)][-1]
			counts.written[n] = max(first, counts.written[n])
			counts.written[m] = second
		if chance.random() < 0.005:
			client.send(("SELECT", 1), ("SET", "x", 1), ("FLUSHDB",), ("SWAPDB", 2, 3), ("SELECT", 0))
			for _ in range(5):
				client.read()
		time.sleep(0.0005)


def guarded(counts, is_ended_by_kill, run, *arguments):
	try:
		run(*arguments)
	except (OSError, EOFError) as error:
		if not is_ended_by_kill.is_set():
			counts.failure = counts.failure or repr(error)
	except SystemExit as failure:
		counts.failure = counts.failure or str(failure)
	if counts.failure:
		counts.over.set()


def start(server, folder):
	process = subprocess.Popen([server, "--port", "0", "--unixsocket", "s", "--dir", folder, "--io-threads", "3",
				    "--tracking-table-max-keys", "30"], stdout=subprocess.DEVNULL, cwd=folder)
	end = time.monotonic() + 60
	while time.monotonic() < end:
		try:
			client = Client(folder + "/s")
			if client.ask("PING") == b"+PONG"[1:]:
				return process
		except (OSError, EOFError):
			time.sleep(0.02)
	fail("the server does not come up")


def run_round(server, folder, seed, is_killed):
	counts, killed = Counts(), threading.Event()
	process = start(server, folder)
	path = folder + "/s"
	try:
		threads = [threading.Thread(target=guarded, args=(counts, killed, use_cache, path, mode, seed * 100 + i, counts,
								  not is_killed))
			   for i, mode in enumerate(MODES)]
		client = Client(path)
		counts.written = [int(client.ask("GET", key(n)) or 0) for n in range(KEYS)]
		threads += [threading.Thread(target=guarded, args=(counts, killed, write, path, i, seed * 200 + i, counts))
			    for i in range(WRITERS)]
		for thread in threads:
			thread.start()
		counts.over.wait(SECONDS)
		if is_killed:
			killed.set()
			process.send_signal(signal.SIGKILL)
		counts.over.set()
		for thread in threads:
			thread.join()
	finally:
		process.kill()
		process.wait()
	if counts.failure:
		fail("seed %d: %s" % (seed, counts.failure))
	if not is_killed and counts.told < 100:
		fail("only %d invalidations came" % counts.told)
	return counts


def check_kept(server, folder, rounds):
	"""After a kill."""
	process = start(server, folder)
	try:
		client = Client(folder + "/s")
		for n in range(KEYS):
			value, seen = int(client.ask("GET", key(n)) or 0), max(max(r.seen[n], r.written[n]) for r in rounds)
			if value < seen:
				fail("%s is %d after the kill, and was seen as %d" % (key(n), value, seen))
	finally:
		process.kill()
		process.wait()


def main():
	server = os.path.abspath(sys.argv[1])
	over = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else 0)
	seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
	told = kept = 0
	with tempfile.TemporaryDirectory(prefix="sett-tracking.") as folder:
		while told == 0 or time.monotonic() < over:
			whole = run_round(server, folder, seed, False)
			killed = run_round(server, folder, seed + 1, True)
			check_kept(server, folder, (whole, killed))
			told, kept, seed = told + whole.told, kept + whole.kept, seed + 2
	print("%d writes, %d invalidations, %d values kept at the end" % (sum(killed.written), told, kept))


if __name__ == "__main__":
	main()
