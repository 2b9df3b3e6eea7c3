#!/usr/bin/env python3
"""Publish and subscribe over several reactors: every subscriber gets every message once, in one order for all.

    pubsub.py SERVER [SECONDS [SEED]]

Rounds follow each other until the seconds are over.

Publishers send at the same time, alone and in MULTI, over connections of all reactors. Subscribers are told over RESP2
and RESP3, by channel and by pattern, subscribe and leave while messages come, and one of them does not read. MONITOR shows
the same order.
"""
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 180  # seconds
PUBLISHERS, MESSAGES = 6, 3000


def fail(text):
	raise SystemExit("FAILED: pubsub: " + text)


class Client:
	"""A connection, and what has come over it: replies are numbers, bytes, or lists of them."""

	def __init__(self, path):
		self.socket = socket.socket(socket.AF_UNIX)
		self.socket.settimeout(PATIENCE)
		self.socket.connect(path)
		self.bytes, self.at = b"", 0

	def send(self, *commands):
		text = b""
		for command in commands:
			words = [w if isinstance(w, bytes) else str(w).encode() for w in command]
			text += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
		self.socket.sendall(text)

	def fill(self):
		more = self.socket.recv(1 << 16)
		if not more:
			raise EOFError
		self.bytes = self.bytes[self.at:] + more
		self.at = 0

	def line(self):
		while (end := self.bytes.find(b"\r\n", self.at)) < 0:
			self.fill()
		line, self.at = self.bytes[self.at:end], end + 2
		return line

	def read(self):
		line = self.line()
		kind, rest = line[:1], line[1:]
		if kind in b"*>":
			return [self.read() for _ in range(int(rest))]
		if kind == b"$":
			size = int(rest)
			if size < 0:
				return None
			while len(self.bytes) - self.at < size + 2:
				self.fill()
			text, self.at = self.bytes[self.at:self.at + size], self.at + size + 2
			return text
		if kind == b"%":
			return [self.read() for _ in range(2 * int(rest))]
		return int(rest) if kind == b":" else rest

	def ask(self, *words):
		self.send(words)
		return self.read()


def publish(path, number, seed, counts):
	"""Sends `MESSAGES` messages "number:i" in batches, some of them in MULTI."""
	chance = random.Random(seed * 100 + number)
	client = Client(path)
	i = 0
	while i < MESSAGES:
		size = min(chance.randint(1, 40), MESSAGES - i)
		batch = [("PUBLISH", "news", f"{number}:{j}") for j in range(i, i + size)]
		i += size
		if chance.random() < 0.3:
			client.send(("MULTI",), ("SET", f"k{number}", i), *batch, ("EXEC",))
			for _ in range(size + 2):
				client.read()
			counts.extend(client.read()[1:])
		else:
			client.send(*batch)
			counts.extend(client.read() for _ in range(size))


def listen(client, stop, got):
	"""Collects messages until the one that ends it."""
	while True:
		message = client.read()
		if not isinstance(message, list) or message[0] not in (b"message", b"pmessage"):
			fail(f"not a message: {message}")
		if message[-1] == stop:
			return
		got.append(message[-1])


def watch(client, stop, got):
	"""As listen, from the lines of MONITOR."""
	while (text := client.read().split(b'"')[-2]) != stop:
		if b":" in text:
			got.append(text)


def check_order(path, seed):
	subscribers, threads, counts = [], [], []
	for i in range(12):
		client = Client(path)
		if i % 3 == 2:
			client.ask("HELLO", 3)
		pattern = i % 4 == 3
		client.ask("PSUBSCRIBE" if pattern else "SUBSCRIBE", "n?ws" if pattern else "news")
		subscribers.append((client, []))
	for client, got in subscribers:
		threads.append(threading.Thread(target=listen, args=(client, b"the end", got)))
	monitor, watched = Client(path), []
	monitor.ask("MONITOR")
	threads.append(threading.Thread(target=watch, args=(monitor, b"the end", watched)))
	publishers = [threading.Thread(target=publish, args=(path, n, seed, counts)) for n in range(PUBLISHERS)]
	for thread in threads + publishers:
		thread.start()
	# Others come and go; what they hear after they came is a piece of what all hear.
	visitors = visit(path, seed, publishers)
	for thread in publishers:
		thread.join(PATIENCE)
	Client(path).ask("PUBLISH", "news", "the end")
	for thread in threads:
		thread.join(PATIENCE)
		if thread.is_alive():
			fail("a subscriber did not get the last message")
	first = subscribers[0][1]
	if len(first) != PUBLISHERS * MESSAGES:
		fail(f"{len(first)} of {PUBLISHERS * MESSAGES} messages came")
	for _, got in subscribers:
		if got != first:
			fail("two subscribers were told in different orders")
	if watched != first:
		fail("MONITOR shows another order")
	last = [-1] * PUBLISHERS
	for text in first:
		number, i = map(int, text.split(b":"))
		if i != last[number] + 1:
			fail(f"message {i} of publisher {number} came after {last[number]}")
		last[number] = i
	if min(counts) < len(subscribers):
		fail(f"a message is said to have reached {min(counts)}")
	places = {text: i for i, text in enumerate(first)}
	for heard in visitors:
		if heard and first[places[heard[0]]:places[heard[0]] + len(heard)] != heard:
			fail("a visitor missed a message")
	return len(visitors)


def visit(path, seed, publishers):
	chance = random.Random(seed)
	visitors = []
	while any(p.is_alive() for p in publishers):
		client = Client(path)
		client.send(("SUBSCRIBE", "news"))
		if client.read() != [b"subscribe", b"news", 1]:
			fail("a message came before the confirmation")
		heard = []
		for _ in range(chance.randint(0, 20)):
			client.send(("PING",))
			while (message := client.read())[0] == b"message":
				heard.append(message[-1])
		client.send(("UNSUBSCRIBE",), ("PING",))
		while (message := client.read())[0] == b"message":
			heard.append(message[-1])
		if message != [b"unsubscribe", b"news", 0] or client.read() != b"PONG":
			fail("a message came after the subscription had ended")
		visitors.append(heard)
		client.socket.close()
	return visitors


def check_slow(path):
	"""One does not read: it is closed, and nobody else notices."""
	control, slow, reader, normal = Client(path), Client(path), Client(path), Client(path)
	control.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0 normal 0 0 0")
	for client in slow, reader:
		client.ask("SUBSCRIBE", "flood")
	text = b"x" * 50000
	sent = 0
	while (reached := control.ask("PUBLISH", "flood", text)) == 2 or sent == 0:
		sent += 1
		if reader.read() != [b"message", b"flood", text]:
			fail("the one who reads got something else")
		if sent > 2000:
			fail("who does not read is never closed")
	if reached != 1 or reader.read()[-1] != text:
		fail(f"after that {reached} are left")
	if sent * len(text) < 1000000:
		fail("closed before the limit")
	try:
		while True:
			slow.read()
	except (EOFError, ConnectionResetError):
		pass
	end = time.monotonic() + PATIENCE
	while b"sub=1" in control.ask("CLIENT", "LIST", "TYPE", "pubsub").replace(b"sub=1", b"", 1):
		if time.monotonic() > end:
			fail("it is still there")
	if normal.ask("PING") != b"PONG" or control.ask("PUBSUB", "NUMSUB", "flood")[1] != 1:
		fail("others suffered")


def check_reader(path):
	"""Messages that all come at once close nobody whose socket takes them: the limit counts what is left."""
	control, reader = Client(path), Client(path)
	control.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100kb 0 0")
	reader.ask("SUBSCRIBE", "many")
	text, count = b"x" * 400, 400
	control.send(("MULTI",), *[("PUBLISH", "many", text)] * count, ("EXEC",))
	for _ in range(count + 1):
		control.read()
	if control.read() != [1] * count:
		fail("not all messages of a block were told")
	try:
		for _ in range(count):
			if reader.read() != [b"message", b"many", text]:
				fail("another message")
	except (EOFError, ConnectionResetError):
		fail("a subscriber whose socket took all was closed")


def check_busy(path):
	"""A client of RESP3 is told while it waits for a list, and while its command is in the pool."""
	client, control = Client(path), Client(path)
	client.ask("HELLO", 3)
	client.ask("SUBSCRIBE", "c")
	client.send(("BLPOP", "list", 0))
	end = time.monotonic() + PATIENCE
	while b"flags=Pb" not in control.ask("CLIENT", "LIST"):
		if time.monotonic() > end:
			fail("it never waits")
	control.ask("PUBLISH", "c", "while it waits")
	if client.read() != [b"message", b"c", b"while it waits"]:
		fail("not told while it waits")
	control.ask("RPUSH", "list", "v")
	if client.read() != [b"list", b"v"]:
		fail("BLPOP")
	# A script that runs until it is killed is in the pool. The message can't come behind its reply.
	client.send(("EVAL", "while true do end", 0))
	control.ask("PUBLISH", "c", "in the pool")
	try:
		told = client.read()
	except TimeoutError:
		told = None
	if told != [b"message", b"c", b"in the pool"]:
		fail("not told while it is in the pool, but %r" % told)
	end = time.monotonic() + PATIENCE
	while (reply := control.ask("SCRIPT", "KILL")) != b"OK":
		if not reply.startswith(b"NOTBUSY") or time.monotonic() > end:
			fail("SCRIPT KILL: %r" % reply)
	if b"Script killed by user" not in client.read():
		fail("the script that was killed")


def check_own(path):
	"""As in Redis, who publishes to itself is told before it is answered; and a MULTI block that subscribes hears what it
	publishes after that."""
	client = Client(path)
	client.ask("HELLO", 3)
	client.ask("SUBSCRIBE", "own")
	client.send(("PUBLISH", "own", "1"), ("PING",))
	if [client.read() for _ in range(3)] != [[b"message", b"own", b"1"], 1, b"PONG"]:
		fail("a message to oneself does not come before the reply")
	client = Client(path)
	client.ask("HELLO", 3)
	client.send(("MULTI",), ("PUBLISH", "new", "0"), ("SUBSCRIBE", "new"), ("PUBLISH", "new", "1"), ("EXEC",))
	replies = [client.read() for _ in range(6)]
	if replies[4:] != [[0, [b"subscribe", b"new", 1], 1], [b"message", b"new", b"1"]]:
		fail("a block does not hear itself: %r" % replies)


def take(client, expected, what):
	"""The very bytes."""
	while len(client.bytes) - client.at < len(expected):
		client.fill()
	got = client.bytes[client.at:client.at + len(expected)]
	client.at += len(expected)
	if got != expected:
		at = next(i for i in range(len(got)) if got[i] != expected[i])
		fail(f"{what}: byte {at} differs: {got[at:at + 60]}, not {expected[at:at + 60]}")


def check_runs(path):
	"""Messages that come in one go, over all lengths at which the server cuts them: in both protocols, to who is subscribed to a
	pattern, too, and to who has subscribed between two of them."""
	def message(kind, protocol, *words):
		return kind + b"%d\r\n" % (len(words) + 1) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (protocol, *words))

	texts = [b"%d:" % i + b"x" * (i * i % 1500 if i % 50 else 70000) for i in range(700)]
	old, new, publisher = Client(path), Client(path), Client(path)
	new.ask("HELLO", 3)
	for client in (old, new):
		client.ask("SUBSCRIBE", "run")
	publisher.ask("HELLO", 3)
	# The publisher hears what follows its subscription.
	middle = 333
	publisher.send(*[("PUBLISH", "run", t) for t in texts[:middle]], ("MULTI",), ("PUBLISH", "run", "before"),
		("SUBSCRIBE", "run"), ("PUBLISH", "run", "after"), ("PUBLISH", "run", "it"), ("EXEC",), ("UNSUBSCRIBE", "run"),
		*[("PUBLISH", "run", t) for t in texts[middle:]])
	heard = texts[:middle] + [b"before", b"after", b"it"] + texts[middle:]
	for client, kind in ((old, b"*"), (new, b">")):
		take(client, b"".join(message(kind, b"message", b"run", t) for t in heard), "a run")
	for _ in range(middle + 5):
		publisher.read()  # numbers, OK, QUEUED
	replies = [publisher.read() for _ in range(4 + len(texts) - middle)]
	if replies[1:3] != [[b"message", b"run", b"after"], [b"message", b"run", b"it"]]:
		fail("in the middle of a run: %r" % replies[:4])
	# With a pattern somewhere each message goes to all topics before the next one does.
	old.ask("PSUBSCRIBE", "ru*")
	new.ask("SSUBSCRIBE", "run")
	publisher.send(*[("PUBLISH", "run", t) for t in texts[:40]], *[("SPUBLISH", "run", t) for t in texts[:40]])
	take(old, b"".join(message(b"*", b"message", b"run", t) + message(b"*", b"pmessage", b"ru*", b"run", t)
		for t in texts[:40]), "a run and a pattern")
	take(new, b"".join(message(b">", kind, b"run", t) for kind in (b"message", b"smessage") for t in texts[:40]),
		"a run of a shard")


def check_events(path):
	"""In a pipeline, the events of each write come beside its reply: behind those of the requests before it, and in front of
	those after it. Where Redis has them, in front of the reply or behind it, depends on the command."""
	client, other = Client(path), Client(path)
	client.ask("CONFIG", "SET", "notify-keyspace-events", "EA")
	client.ask("HELLO", 3)
	client.ask("PSUBSCRIBE", "__keyevent*")
	client.send(("SET", "e", "1"), ("INCR", "e"), ("GET", "e"), ("DEL", "e"))
	other.send(("SET", "o", "1"), ("INCR", "o"))
	got = []
	while len(got) < 9:
		reply = client.read()
		got.append(reply[-2:] if isinstance(reply, list) else reply)
	got = [g for g in got if not isinstance(g, list) or g[1] != b"o"]
	events = [[b"__keyevent@0__:" + name, b"e"] for name in (b"set", b"incrby", b"del")]
	if got != [events[0], b"OK", events[1], 2, b"2", events[2], 1]:
		fail("the events of a pipeline come as %r" % got)
	client.ask("CONFIG", "SET", "notify-keyspace-events", "")


def main():
	server = os.path.abspath(sys.argv[1])
	over = time.monotonic() + (float(sys.argv[2]) if len(sys.argv) > 2 else 0)
	seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
	visitors = rounds = 0
	print(f"seed {seed}")
	with tempfile.TemporaryDirectory(prefix="sett-pubsub.") as folder:
		path = folder + "/socket"
		process = subprocess.Popen([server, "--port", "0", "--unixsocket", path, "--dir", folder, "--io-threads", "3",
			"--enable-debug-command", "yes"], stdout=open(folder + "/log", "w"))
		try:
			end = time.monotonic() + PATIENCE
			while True:
				try:
					Client(path).ask("PING")
					break
				except OSError:
					if time.monotonic() > end or process.poll() is not None:
						fail("the server does not come up")
					time.sleep(0.05)
			while rounds == 0 or time.monotonic() < over:
				visitors += check_order(path, seed + rounds)
				rounds += 1
			check_own(path)
			check_runs(path)
			check_events(path)
			Client(path).ask("INFO") # looks into all rooms, which must outlive the thread that did
			check_reader(path)
			check_slow(path)
			check_busy(path)
		finally:
			process.terminate()
			if process.wait(PATIENCE) != 0:
				fail("the server ended badly")
	print(f"{rounds * PUBLISHERS * MESSAGES} messages in one order, {visitors} visitors")


if __name__ == "__main__":
	main()
