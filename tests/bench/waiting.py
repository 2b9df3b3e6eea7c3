#!/usr/bin/env python3
"""Clients that listen and wait, beside redis-server: ./dev bench waiting [ROW ...]

Both with one thread that serves, Redis with its append-only file. Quoted are microseconds of the server's CPU time for a message
delivered or an element handed over, the median of the rounds, in which the servers take turns, and how many times Redis' number
Sett does with the same CPU time: so how busy the machine is matters little. `crowd` is Sett alone: what 18,000 clients take,
and what they cost others.
"""
import argparse
import os
import select
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

PATIENCE = 60  # seconds


def request(*words):
	words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
	return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Server:
	def __init__(self, name, program, folder, port, *options):
		self.name, self.port = name, port
		os.mkdir(folder)
		self.process = subprocess.Popen([program, "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "yes",
			"--maxclients", "19500", *options], stdout=subprocess.DEVNULL)
		end = time.monotonic() + PATIENCE
		while True:
			try:
				socket.create_connection(("127.0.0.1", port)).close()
				return
			except OSError:
				if time.monotonic() > end or self.process.poll() is not None:
					self.stop()
					raise SystemExit(f"bench: {program} does not come up")
				time.sleep(0.05)

	def connect(self, address="127.0.0.1"):
		client = socket.create_connection(("127.0.0.1", self.port), PATIENCE, (address, 0))
		client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		return client

	def cpu(self):
		"""Seconds that all its threads took."""
		tasks = f"/proc/{self.process.pid}/task"
		return sum(int(open(f"{tasks}/{t}/schedstat").read().split()[0]) for t in os.listdir(tasks)) / 1e9

	def resident(self):
		for line in open(f"/proc/{self.process.pid}/status"):
			if line.startswith("VmRSS"):
				return int(line.split()[1]) * 1024

	def stop(self):
		self.process.terminate()
		try:
			self.process.wait(PATIENCE)
		except subprocess.TimeoutExpired:
			self.process.kill()


def take(client, size):
	"""So many bytes of replies."""
	data = bytearray()
	while len(data) < size:
		got = client.recv(size - len(data))
		if not got:
			raise SystemExit("bench: the server closed a connection")
		data += got
	return bytes(data)


def ask(client, reply, *words):
	client.sendall(request(*words))
	got = take(client, len(reply))
	if got != reply:
		raise SystemExit(f"bench: {words} answered {got}")


class Readers:
	"""Reads so much from each of many clients."""

	def __init__(self, clients):
		self.poll = select.epoll()
		self.clients = {c.fileno(): c for c in clients}
		for descriptor in self.clients:
			self.poll.register(descriptor, select.EPOLLIN)

	def take(self, size):
		left = size * len(self.clients)
		while left > 0:
			ready = self.poll.poll(PATIENCE)
			if not ready:
				raise SystemExit("bench: a message does not come")
			for descriptor, _ in ready:
				got = len(self.clients[descriptor].recv(1 << 18))
				if got == 0:
					raise SystemExit("bench: the server closed a connection")
				left -= got

	def close(self):
		for client in self.clients.values():
			client.close()
		self.poll.close()


PAYLOAD = b"m" * 64
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$64\r\n" + PAYLOAD + b"\r\n"


def publish(subscribers, pipeline, messages):
	def run(server):
		clients = [server.connect() for _ in range(subscribers)]
		for c in clients:
			ask(c, b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n", "SUBSCRIBE", "channel")
		readers, publisher = Readers(clients), server.connect()
		batch, reply = request("PUBLISH", "channel", PAYLOAD) * pipeline, b":%d\r\n" % subscribers * pipeline
		before = server.cpu()
		for _ in range(messages // pipeline):
			publisher.sendall(batch)
			take(publisher, len(reply))
			readers.take(len(MESSAGE) * pipeline)
		spent = server.cpu() - before
		publisher.close()
		readers.close()
		return spent / (messages // pipeline * pipeline * subscribers) * 1e6
	return run


def hand_over(waiters, times):
	"""Each push is taken by one who waits, who waits again. With one reactor that is who waits longest; clients of several reactors that ask
	at almost the same time may come in either order."""
	def run(server):
		served = b"*2\r\n$5\r\nqueue\r\n$64\r\n" + PAYLOAD + b"\r\n"
		wait, push = request("BRPOP", "queue", 0), request("LPUSH", "queue", PAYLOAD)
		clients = [server.connect() for _ in range(waiters)]
		pusher = server.connect()
		# In their order: each has been answered before the next one asks.
		for c in clients:
			ask(c, b"+PONG\r\n", "PING")
			c.sendall(wait)
			ask(pusher, b"+PONG\r\n", "PING")
		# What was sent last may not have been read yet.
		time.sleep(0.2)
		poll, by_descriptor = select.epoll(), {c.fileno(): c for c in clients}
		for descriptor in by_descriptor:
			poll.register(descriptor, select.EPOLLIN)
		before = server.cpu()
		for _ in range(times):
			pusher.sendall(push)
			take(pusher, len(b":1\r\n"))
			ready = poll.poll(PATIENCE)
			if len(ready) != 1:
				raise SystemExit(f"bench: {len(ready)} clients were served")
			client = by_descriptor[ready[0][0]]
			take(client, len(served))
			client.sendall(wait)
			# The next waiter is another one, or this one waits before the next push comes: whichever is first, it is served.
		spent = server.cpu() - before
		poll.close()
		for c in clients + [pusher]:
			c.close()
		wait_gone(server)
		return spent / times * 1e6
	return run


def wait_gone(server):
	"""Until nobody waits any more, and the queue is gone."""
	control = server.connect()
	control.sendall(request("DEL", "queue"))
	take(control, 4)
	control.close()
	time.sleep(0.1)


def read_group(times):
	"""Entries of five fields, delivered to a group and acknowledged one by one."""
	texts = [w for i in range(5) for w in (f"field{i}", "v" * 16)]

	def run(server):
		client = server.connect()
		ask(client, b":0\r\n", "DEL", "stream")
		for i in range(1, times + 1):
			client.sendall(request("XADD", "stream", f"{i}-1", *texts))
			take(client, len(b"$%d\r\n%d-1\r\n" % (len(str(i)) + 2, i)))
		ask(client, b"+OK\r\n", "XGROUP", "CREATE", "stream", "group", "0")
		read, entry = request("XREADGROUP", "GROUP", "group", "consumer", "COUNT", 1, "STREAMS", "stream", ">"), request(*texts)
		before = server.cpu()
		for i in range(1, times + 1):
			delivered = b"*1\r\n*2\r\n$6\r\nstream\r\n*1\r\n*2\r\n$%d\r\n%d-1\r\n" % (len(str(i)) + 2, i) + entry
			client.sendall(read)
			if take(client, len(delivered)) != delivered:
				raise SystemExit("bench: another entry was delivered")
			ask(client, b":1\r\n", "XACK", "stream", "group", f"{i}-1")
		spent = server.cpu() - before
		ask(client, b":1\r\n", "DEL", "stream")
		client.close()
		return spent / times * 1e6
	return run


ROWS = {
	"publish-1": (1, publish(1, 1, 4000), 1.0),
	"publish-100": (1, publish(100, 1, 400), 1.0),
	"publish-1000": (1, publish(1000, 1, 40), 1.0),
	"publish-1-pipelined": (1, publish(1, 100, 40000), 1.5),
	"publish-100-pipelined": (1, publish(100, 100, 3000), 1.5),
	"publish-1000-pipelined": (1, publish(1000, 100, 400), 1.5),
	"hand-over-1": (1, hand_over(1, 4000), 1.0),
	"hand-over-500": (1, hand_over(500, 4000), 1.0),
	"hand-over-1-two-reactors": (2, hand_over(1, 4000), 1.0),
	"hand-over-500-two-reactors": (2, hand_over(500, 4000), 1.0),
	"read-group-1": (1, read_group(4000), 1.0),
}


def compare(name, options, folder):
	reactors, run, aim = ROWS[name]
	servers = [
		Server("redis", options.redis, f"{folder}/{name}-redis", options.port),
		Server("sett", options.sett, f"{folder}/{name}-sett", options.port + 1, "--io-threads", str(reactors))]
	spent = {s.name: [] for s in servers}
	try:
		for _ in range(options.rounds):
			for server in servers:
				spent[server.name].append(run(server))
	finally:
		for server in servers:
			server.stop()
	redis, sett = (statistics.median(spent[s.name]) for s in servers)
	print(f"{name:28} {redis:8.2f} {sett:8.2f} {redis / sett:8.2f} {aim:5.1f}", flush=True)


# ---- the crowd ----

EACH = 6000
PROBES = 20000


def per_mille(times, part):
	return sorted(times)[int(len(times) * part / 1000)] * 1e6


def probe(client):
	"""Seconds that each of many GETs took."""
	get, times = request("GET", "probe"), []
	for _ in range(PROBES):
		began = time.monotonic()
		client.sendall(get)
		take(client, len(b"$5\r\nvalue\r\n"))
		times.append(time.monotonic() - began)
	return times


def crowd(options, folder):
	"""Clients of three kinds from several addresses."""
	server = Server("sett", options.sett, f"{folder}/crowd", options.port)
	clients = []
	try:
		control = server.connect()
		ask(control, b"+OK\r\n", "SET", "probe", "value")
		probe(control)
		alone, before = probe(control), server.resident()
		for i in range(EACH * 3):
			c = server.connect(f"127.0.0.{2 + i % 6}")
			clients.append(c)
			if i % 3 == 0:
				ask(c, b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n", "SUBSCRIBE", "channel")
			elif i % 3 == 1:
				c.sendall(request("BRPOP", f"queue:{i % 50}", 0))
			else:
				ask(c, b"+OK\r\n", "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "none:")
		time.sleep(1)
		each = (server.resident() - before) / len(clients)
		beside = probe(control)
		print(f"crowd: {len(clients)} clients, {each / 1024:.1f} KiB each (aimed at: 8); GET of others, microseconds: "
			f"p50 {per_mille(alone, 500):.0f} alone, {per_mille(beside, 500):.0f} beside them; "
			f"p99.9 {per_mille(alone, 999):.0f} alone, {per_mille(beside, 999):.0f} beside them "
			f"({per_mille(beside, 999) / per_mille(alone, 999):.2f} times, aimed at: 2)", flush=True)
	finally:
		server.stop()
		for c in clients:
			c.close()


def main():
	parser = argparse.ArgumentParser(prog="./dev bench waiting")
	parser.add_argument("--sett", default="build/src/sett-server")
	parser.add_argument("--redis", default="/usr/bin/redis-server")
	parser.add_argument("--rounds", type=int, default=3)
	parser.add_argument("--port", type=int, default=13700)
	parser.add_argument("rows", nargs="*", help="|".join([*ROWS, "crowd"]))
	options = parser.parse_args()
	rows = options.rows or [*ROWS, "crowd"]
	folder = tempfile.mkdtemp(prefix="sett-bench-waiting.")
	try:
		if rows != ["crowd"]:
			print(f"{'row':28} {'redis':>8} {'sett':>8} {'times':>8} {'aim':>5}")
		for name in rows:
			if name == "crowd":
				crowd(options, folder)
			else:
				compare(name, options, folder)
	finally:
		shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
	main()
