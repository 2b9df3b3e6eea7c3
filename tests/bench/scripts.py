#!/usr/bin/env python3
"""Scripts and functions, beside redis-server: ./dev bench scripts [ROW ...]

Both with one thread that serves, Redis with its append-only file. Quoted are microseconds of the server's CPU time for a call, the
median of the rounds, in which the servers take turns, and how many times Redis' number of calls Sett does with the same CPU time.
`reactors` is Sett alone with one, two and four reactors, on keys of each connection's own and on the same keys: how many times one
reactor's CPU time a call takes.
"""
import argparse
import random
import shutil
import statistics
import tempfile

from waiting import Server, request, take

CONNECTIONS, KEYS = 8, 100000

RETURN = "return 1"
GET_SET = "local n = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], (n or 0) + 1) return 1"
# What a queue does with a job, 20 calls: it waits, is taken, runs, is delayed, is done; the queue is afterwards as it was before.
MOVE = """
local wait, active, delayed, done, job = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, now = ARGV[1], ARGV[2]
redis.call('HSET', job, 'data', ARGV[3], 'state', 'waiting')
redis.call('RPUSH', wait, id)
local taken = redis.call('LPOP', wait)
redis.call('LPUSH', active, taken)
redis.call('HSET', job, 'state', 'active', 'started', now)
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HGET', job, 'data')
redis.call('LREM', active, 1, taken)
redis.call('ZADD', delayed, now, taken)
redis.call('ZSCORE', delayed, taken)
local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', '+inf', 'LIMIT', 0, 1)
redis.call('ZREM', delayed, due[1])
redis.call('LLEN', wait)
redis.call('LLEN', active)
redis.call('HMGET', job, 'state', 'attempts')
redis.call('HSET', job, 'state', 'done')
redis.call('HDEL', job, 'started')
redis.call('ZADD', done, now, taken)
redis.call('ZREMRANGEBYRANK', done, 0, -101)
redis.call('ZCARD', done)
return 1
"""
LIBRARY = """#!lua name=bench
redis.register_function('one', function(keys, args) return 1 end)
redis.register_function('get_set', function(keys, args)
  local n = redis.call('GET', keys[1]) redis.call('SET', keys[1], (n or 0) + 1) return 1 end)
"""


def no_keys(chance, owner):
	return 0,


def one_key(chance, owner):
	return 1, f"key:{chance.randrange(KEYS)}"


def queue_keys(chance, owner):
	job = chance.randrange(1000)
	return (5, *(f"q{owner}:{part}" for part in ("wait", "active", "delayed", "done")), f"q{owner}:job:{job}", job, chance.randrange(10 ** 6),
		"x" * 64)


def own_key(chance, owner):
	return 1, f"own:{owner}:{chance.randrange(100)}"


def hot_key(chance, owner):
	return 1, "hot"


# Rows: what is called, with which keys, the pipeline, calls in a round, the aim if there is one.
ROWS = {
	"return-1": (RETURN, no_keys, 1, 8000, None),
	"return-1-p16": (RETURN, no_keys, 16, 64000, 1.0),
	"get-set": (GET_SET, one_key, 1, 8000, None),
	"get-set-p16": (GET_SET, one_key, 16, 48000, 1.2),
	"move": (MOVE, queue_keys, 1, 3000, 1.0),
	"move-p16": (MOVE, queue_keys, 16, 6400, 1.0),
	"fcall-1": ("one", no_keys, 1, 8000, None),
	"fcall-1-p16": ("one", no_keys, 16, 64000, 1.0),
	"fcall-get-set": ("get_set", one_key, 1, 8000, None),
	"fcall-get-set-p16": ("get_set", one_key, 16, 48000, 1.2),
}
# On several reactors: each connection has keys of its own, or all the same.
SHARED = {
	"get-set-own": (GET_SET, own_key, 16, 48000),
	"get-set-hot": (GET_SET, hot_key, 16, 48000),
	"move-own": (MOVE, queue_keys, 16, 6400),
	"move-hot": (MOVE, lambda chance, owner: queue_keys(chance, 0), 16, 6400),
}
REPLY = b":1\r\n"


def reply_line(client):
	line = b""
	while not line.endswith(b"\r\n"):
		line += take(client, 1)
	return line


def prepare(client, what):
	"""The first words of a call."""
	if what in ("one", "get_set"):
		client.sendall(request("FUNCTION", "LOAD", "REPLACE", LIBRARY))
		reply_line(client), reply_line(client)
		return "FCALL", what
	client.sendall(request("SCRIPT", "LOAD", what))
	reply_line(client)
	return "EVALSHA", reply_line(client)[:40]


def call(server, what, keys, pipeline, calls, seed=1):
	"""Microseconds of CPU time for a call."""
	chance = random.Random(seed)
	clients = [server.connect() for _ in range(CONNECTIONS)]
	head = prepare(clients[0], what)
	batches = [[b"".join(request(*head, *keys(chance, owner)) for _ in range(pipeline))
		for _ in range(calls // pipeline // CONNECTIONS)] for owner in range(CONNECTIONS)]
	before = server.cpu()
	for turn in zip(*batches):
		for client, batch in zip(clients, turn):
			client.sendall(batch)
		for client in clients:
			if take(client, len(REPLY) * pipeline) != REPLY * pipeline:
				raise SystemExit("bench: a script fails")
	spent = server.cpu() - before
	for client in clients:
		client.close()
	return spent / (len(batches[0]) * pipeline * CONNECTIONS) * 1e6


def measure(servers, rounds, *arguments):
	spent = {s.name: [] for s in servers}
	try:
		for s in servers:
			call(s, *arguments) # what is made once is made
		for i in range(rounds):
			for s in servers:
				spent[s.name].append(call(s, *arguments, i))
	finally:
		for s in servers:
			s.stop()
	return {name: statistics.median(s) for name, s in spent.items()}


def compare(name, options, folder):
	*arguments, aim = ROWS[name]
	spent = measure([
		Server("redis", options.redis, f"{folder}/{name}-redis", options.port),
		Server("sett", options.sett, f"{folder}/{name}-sett", options.port + 1, "--io-threads", "1")],
		options.rounds, *arguments)
	print(f"{name:20} {spent['redis']:8.2f} {spent['sett']:8.2f} {spent['redis'] / spent['sett']:8.2f} {aim or '-':>5}", flush=True)


def share(options, folder):
	print(f"{'reactors':20} {'one':>8} {'two':>8} {'four':>8} {'times':>12} {'aim':>5}")
	for name, arguments in SHARED.items():
		spent = measure([Server(n, options.sett, f"{folder}/{name}-{n}", options.port + int(n), "--io-threads", n) for n in "124"],
			options.rounds, *arguments)
		print(f"{name:20} {spent['1']:8.2f} {spent['2']:8.2f} {spent['4']:8.2f} {spent['2'] / spent['1']:6.2f} "
			f"{spent['4'] / spent['1']:5.2f} {1.15:5.2f}", flush=True)


def main():
	parser = argparse.ArgumentParser(prog="./dev bench scripts")
	parser.add_argument("--sett", default="build/src/sett-server")
	parser.add_argument("--redis", default="/usr/bin/redis-server")
	parser.add_argument("--rounds", type=int, default=3)
	parser.add_argument("--port", type=int, default=13750)
	parser.add_argument("rows", nargs="*", help="|".join([*ROWS, "reactors"]))
	options = parser.parse_args()
	rows = options.rows or [*ROWS, "reactors"]
	folder = tempfile.mkdtemp(prefix="sett-bench-scripts.")
	try:
		if rows != ["reactors"]:
			print(f"{'row':20} {'redis':>8} {'sett':>8} {'times':>8} {'aim':>5}")
		for name in rows:
			if name == "reactors":
				share(options, folder)
			else:
				compare(name, options, folder)
	finally:
		shutil.rmtree(folder, ignore_errors=True)


main()
