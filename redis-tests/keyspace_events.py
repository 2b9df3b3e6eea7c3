#!/usr/bin/env python3
"""Keyspace events beside redis-server: the same commands on both, and both subscribers are told the same.

    keyspace_events.py SERVER REDIS_SERVER [SEED]

First every line of a script, in which each event has its line, then random commands, then what newer servers tell of
keys that are overwritten (classes o and c, Redis 8.2), which redis-server 7 does not know. After each one a PUBLISH marks
the end of what it may have told. Sett runs twice, the second time with small collections spread over entries.
"""
import os
import random
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 180  # seconds

# Of random members none is asked for by number: they would differ.
SCRIPT = """
SET s v
SET s w
SET s v EX 100
SET s v KEEPTTL
SET s v NX
SET s v XX GET
SETNX s v
SETNX n v
SETEX s 100 v
PSETEX s 100000 v
GETSET s 1
GETEX s EX 50
GETEX s PERSIST
GETEX s PERSIST
GETEX s
GETEX s PXAT 1
GETDEL n
GETDEL n
INCR i
INCRBY i 5
DECR i
INCRBYFLOAT i 1.5
INCR s2x
APPEND a x
APPEND a y
SETRANGE a 3 z
SETRANGE a 3 ""
MSET m1 1 m2 2
MSETNX m1 1 m3 3
MSETNX m3 1 m4 3
SETBIT b 7 1
SETBIT b 8 0
BITOP OR b2 b
BITOP OR b2 none
BITOP OR b2 none
BITFIELD b SET u8 0 5 INCRBY u8 8 1
BITFIELD b GET u8 0
BITFIELD b OVERFLOW FAIL INCRBY u8 0 300
PFADD hll a b
PFADD hll a
PFMERGE hll2 hll
PFCOUNT hll
GET none
EXPIRE m1 100
EXPIRE m1 50 GT
EXPIRE m1 -1
EXPIRE m1 100
PERSIST m2
PEXPIREAT m2 99999999999999
PERSIST m2
DEL m2 none m3
UNLINK m4 m4
RENAME a a2
RENAME a2 a2
RENAMENX a2 b
SET a v
RENAME a2 a
RENAME none a
COPY a c
COPY a c
COPY a c REPLACE
COPY a c DB 1
MOVE c 1
MOVE a 1
SELECT 1
SET x y
SELECT 0
SWAPDB 0 1
SWAPDB 0 1
TOUCH a b
OBJECT ENCODING a
LPUSH l 1 2 3
RPUSH l 4 5
LPUSHX l 0
RPUSHX none 0
LINSERT l BEFORE 3 x
LINSERT l BEFORE none x
LSET l 0 y
LREM l 0 none
LREM l 1 x
LTRIM l 0 -2
LTRIM l 0 -1
LPOP l
RPOP l 0
RPOP l 2
LMOVE l l2 LEFT RIGHT
RPOPLPUSH l2 l3
LMOVE l3 l3 LEFT RIGHT
RPUSH l4 a b c
LMPOP 2 none l4 RIGHT COUNT 2
LMPOP 1 l4 LEFT
LTRIM l3 5 6
LPOP none
RPUSH num 3 1 2
SORT num STORE sorted
SORT none STORE sorted
SORT none STORE sorted
SADD set a b c
SADD set a
SREM set none
SREM set a
SMOVE set set2 b
SMOVE set set2 none
SADD set b
SMOVE set set2 b
SMOVE set2 set2 b
SREM set c
SADD p a
SPOP p
SPOP p
SADD p a b c
SPOP p 0
SPOP p 10
SADD p a
SADD q b
SINTERSTORE r p q
SUNIONSTORE r p q
SDIFFSTORE r p q
SUNIONSTORE r none
SINTERSTORE r none
ZADD z 1 a 2 b 3 c
ZADD z 1 a
ZADD z XX 1 new
ZADD z CH 5 a
ZADD z INCR 1 a
ZINCRBY z 1 a
ZINCRBY z 0 a
ZREM z none
ZREM z a
ZPOPMIN z
ZPOPMAX z 0
ZPOPMAX z
ZPOPMAX z
ZADD z 1 a 2 b 3 c 4 d
ZREMRANGEBYRANK z 0 0
ZREMRANGEBYRANK z 9 9
ZREMRANGEBYSCORE z 2 2
ZREMRANGEBYLEX z [c [c
ZMPOP 2 none z MIN
ZADD z 1 a 2 b
ZADD y 1 b
ZUNIONSTORE w 2 z y
ZINTERSTORE w 2 z y
ZDIFFSTORE w 2 z y
ZDIFFSTORE w 1 none
ZRANGESTORE w z 0 -1
ZRANGESTORE w z 5 6
ZRANGESTORE w none 0 1
PFMERGE hll3 none
GEOSEARCHSTORE g3 none FROMLONLAT 0 0 BYRADIUS 1 km
COPY none c
SMOVE none set a
TYPE none
EXISTS none
TTL none
SCARD none
STRLEN none
DEBUG OBJECT none
MGET none s
HRANDFIELD none
SORT_RO none
GEOADD g 13.361389 38.115556 Palermo
GEOADD g 13.361389 38.115556 Palermo
GEOSEARCHSTORE g2 g FROMMEMBER Palermo BYRADIUS 100 km
GEORADIUS g 13 38 200 km STORE g2
GEORADIUS g 0 0 1 km STORE g2
HSET h a 1 b 2
HSET h a 1
HMSET h c 3
HSETNX h a 1
HSETNX h d 1
HINCRBY h a 1
HINCRBYFLOAT h a 1.5
HDEL h none
HDEL h a
HDEL h b c d none
HGET h a
HGETALL h
MULTI
SET tx 1
INCR tx
LPUSH tx 1
DEL tx
EXEC
DEBUG SET-ACTIVE-EXPIRE 0
SET short v PX 1
PAUSE 5
GET short
SET short v PX 1
PAUSE 5
SET short w
SET short v PX 1
PAUSE 5
DEL short
HSET hs a 1
PEXPIRE hs 20
PAUSE 25
HSET hs b 1
SET s v PXAT 1
TTL s
SET s v PXAT 1
SET s w
FLUSHDB
DEBUG SET-ACTIVE-EXPIRE 1
TOLD
SET after v
FLUSHALL
"""

# Commands, and what they tell in the channels of events, if all classes and o and c are asked for.
OVERWRITING = """
SET s v : set s
SET s w : overwritten s, set s
SET s w XX EX 100 : overwritten s, set s, expire s
SETEX s 100 w : overwritten s, set s, expire s
GETSET s w : overwritten s, set s
MSET s 1 t 2 : overwritten s, set s, set t
SETNX s 1 :
SET s w NX :
APPEND s x : append s
SETRANGE s 0 y : setrange s
SETBIT b 7 1 : setbit b
BITOP OR s b : overwritten s, set s
BITOP OR s none : del s
INCR i : incrby i
INCR i : incrby i
RPUSH l 3 1 2 : rpush l
RPUSH l 4 : rpush l
SET l v : overwritten l, type_changed l, set l
DEL l : del l
RPUSH l 3 1 2 : rpush l
SORT l STORE i : overwritten i, type_changed i, sortstore i
SORT l STORE i : overwritten i, sortstore i
SORT none STORE i : del i
SADD p a b : sadd p
SUNIONSTORE t p : overwritten t, type_changed t, sunionstore t
SDIFFSTORE t p : overwritten t, sdiffstore t
SINTERSTORE t none : del t
ZADD z 1 a 2 b : zadd z
ZADD z 3 c : zadd z
ZUNIONSTORE p 1 z : overwritten p, type_changed p, zunionstore p
ZRANGESTORE p z 0 -1 : overwritten p, zrangestore p
ZRANGESTORE p none 0 1 : del p
GEOADD g 13.361389 38.115556 Palermo : zadd g
GEOSEARCHSTORE b g FROMMEMBER Palermo BYRADIUS 1 km : overwritten b, type_changed b, geosearchstore b
SET s v : set s
COPY s z REPLACE : copy_to z, overwritten z, type_changed z
COPY s z REPLACE : copy_to z, overwritten z
COPY s s2 : copy_to s2
RENAME l z : rename_from l, rename_to z, overwritten z, type_changed z
RENAME z l : rename_from z, rename_to l
RENAMENX l s :
RESTORE s 0 DUMP s2 REPLACE : restore s, overwritten s
RESTORE l 0 DUMP s2 REPLACE : restore l, overwritten l, type_changed l
RESTORE new 0 DUMP s2 REPLACE : restore new
HSET h f v : hset h
SET h v : overwritten h, type_changed h, set h
"""


def fail(text):
	raise SystemExit("FAILED: keyspace events: " + text)


class Client:
	def __init__(self, path):
		self.socket = socket.socket(socket.AF_UNIX)
		self.socket.settimeout(PATIENCE)
		self.socket.connect(path)
		self.file = self.socket.makefile("rb")

	def send(self, words):
		words = [w if isinstance(w, bytes) else w.encode() for w in words]
		self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

	def read(self):
		line = self.file.readline()[:-2]
		if line[:1] == b"*":
			return [self.read() for _ in range(int(line[1:]))]
		if line[:1] == b"$" and int(line[1:]) >= 0:
			return self.file.read(int(line[1:]) + 2)[:-2]
		return line

	def ask(self, *words):
		self.send(words)
		return self.read()


class Server:
	def __init__(self, program, folder, *arguments):
		os.mkdir(folder)
		self.path = folder + "/socket"
		self.process = subprocess.Popen([program, "--port", "0", "--unixsocket", self.path, "--dir", folder, "--save", "",
			"--enable-debug-command", "yes", *arguments], stdout=subprocess.DEVNULL)
		end = time.monotonic() + PATIENCE
		while True:
			try:
				self.client = Client(self.path)
				break
			except OSError:
				if time.monotonic() > end or self.process.poll() is not None:
					self.stop()
					fail(program + " does not come up")
				time.sleep(0.02)
		self.subscriber = Client(self.path)
		self.subscriber.ask("PSUBSCRIBE", "__key*__:*")
		self.subscriber.ask("SUBSCRIBE", "mark")

	def told(self, words):
		"""What it tells of a command."""
		got = []
		if words[0] == "PAUSE":
			time.sleep(int(words[1]) / 1000)
		elif words[0] == "TOLD":  # set, expire, and by itself, within a while, expired: two messages each
			self.client.ask("SET", "short", "v", "PX", "20")
			got = [self.subscriber.read() for _ in range(6)]
		else:
			self.client.ask(*words)
		self.client_of_marks().ask("PUBLISH", "mark", "")
		while (message := self.subscriber.read())[:2] != [b"message", b"mark"]:
			got.append(message)
		return [(m[2].decode(), m[3].decode()) for m in got]

	def client_of_marks(self):
		if not hasattr(self, "marks"):
			self.marks = Client(self.path)
		return self.marks

	def stop(self):
		self.process.terminate()
		self.process.wait(PATIENCE)


def random_command(chance):
	key = lambda: f"key{chance.randrange(6)}"
	value = lambda: str(chance.randrange(8))
	commands = [
		lambda: ["SET", key(), value()], lambda: ["DEL", key(), key()], lambda: ["INCR", key()],
		lambda: ["APPEND", key(), value()], lambda: ["SETEX", key(), "1000", value()], lambda: ["PERSIST", key()],
		lambda: ["EXPIRE", key(), chance.choice(["100", "-1"])], lambda: ["GETDEL", key()], lambda: ["GET", key()],
		lambda: ["RENAME", key(), key()], lambda: ["RENAMENX", key(), key()], lambda: ["COPY", key(), key()],
		lambda: ["COPY", key(), key(), "REPLACE"], lambda: ["LPUSH", key(), value(), value()],
		lambda: ["RPUSH", key(), value()], lambda: ["LPOP", key()], lambda: ["RPOP", key(), "2"],
		lambda: ["LMOVE", key(), key(), "LEFT", "RIGHT"], lambda: ["LTRIM", key(), "1", "2"],
		lambda: ["LREM", key(), "0", value()], lambda: ["LINSERT", key(), "AFTER", value(), value()],
		lambda: ["SADD", key(), value(), value(), value()], lambda: ["SREM", key(), value(), value()],
		lambda: ["SMOVE", key(), key(), value()], lambda: ["SINTERSTORE", key(), key(), key()],
		lambda: ["SUNIONSTORE", key(), key(), key()], lambda: ["SDIFFSTORE", key(), key(), key()],
		lambda: ["ZADD", key(), value(), value(), value(), value()], lambda: ["ZREM", key(), value()],
		lambda: ["ZINCRBY", key(), value(), value()], lambda: ["ZPOPMIN", key()], lambda: ["ZPOPMAX", key(), "2"],
		lambda: ["ZREMRANGEBYSCORE", key(), value(), value()], lambda: ["ZUNIONSTORE", key(), "2", key(), key()],
		lambda: ["ZINTERSTORE", key(), "2", key(), key()], lambda: ["ZRANGESTORE", key(), key(), value(), value()],
		lambda: ["HSET", key(), value(), value()], lambda: ["HDEL", key(), value(), value()],
		lambda: ["HINCRBY", key(), value(), value()], lambda: ["MSET", key(), value(), key(), value()],
		lambda: ["SETBIT", key(), value(), "1"], lambda: ["SORT", key(), "BY", "nosort", "STORE", key()],
		lambda: ["BITOP", "OR", key(), key(), key()], lambda: ["HGETALL", key()], lambda: ["LRANGE", key(), "0", "-1"],
	]
	return chance.choice(commands)()


def compare(servers, words, where):
	told = [server.told(words) for server in servers]
	for server, got in zip(servers[1:], told[1:]):
		if got != told[0]:
			print(f"{where}: {' '.join(words)}\n  redis-server {told[0]}\n  sett         {got}")
			return 1
	return 0


def overwriting(server):
	"""Returns how often it tells something else than OVERWRITING says."""
	ask = server.client.ask
	if ask("CONFIG", "SET", "notify-keyspace-events", "EAoc") != b"+OK" or ask("CONFIG", "GET", "notify-keyspace-events")[1] != b"AEoc":
		fail("the classes o and c")
	ask("FLUSHALL")
	server.told(["PING"])
	differences = 0
	for line in OVERWRITING.strip().split("\n"):
		command, wanted = line.split(" :")
		words = command.split(" ")
		if "DUMP" in words:
			where = words.index("DUMP")
			words[where:where + 2] = [ask("DUMP", words[where + 1])]
		got = ", ".join(f"{channel.split(':', 1)[1]} {key}" for channel, key in server.told(words))
		if got != wanted.strip():
			print(f"{command}\n  wanted {wanted}\n  got    {got}")
			differences += 1
	return differences


def main():
	seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
	print(f"seed {seed}")
	chance = random.Random(seed)
	lines = [[w.strip('"') for w in line.split(" ")] for line in SCRIPT.strip().split("\n")]
	differences = commands = 0
	with tempfile.TemporaryDirectory(prefix="sett-events.") as folder:
		servers = []
		try:
			servers.append(Server(sys.argv[2], folder + "/redis"))
			servers.append(Server(sys.argv[1], folder + "/sett"))
			servers.append(Server(sys.argv[1], folder + "/spread", "--packed-max-size", "64"))
			for classes in "KEA", "KEAmn", "Kg$h", "Elsz", "KExm", "":
				for server in servers:
					if server.client.ask("CONFIG", "SET", "notify-keyspace-events", classes) != b"+OK":
						fail("CONFIG SET")
				for words in lines:
					if words[0] == "TOLD" and classes != "KEA":
						continue
					differences += compare(servers, words, f"'{classes}'")
					commands += 1
			for server in servers:
				server.client.ask("CONFIG", "SET", "notify-keyspace-events", "KEA")
			for _ in range(3000):
				differences += compare(servers, random_command(chance), "random")
				commands += 1
			differences += sum(overwriting(server) for server in servers[1:])
		finally:
			for server in servers:
				server.stop()
	print(f"{commands} commands, {differences} differences")
	if differences:
		fail("they differ")


main()
