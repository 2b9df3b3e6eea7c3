// ioredis, RESP2 and RESP3: every type, pipelines, MULTI, publish and subscribe, blocking, streams, scripts, scans, client-side caching.
"use strict";
const Redis = require("ioredis");
const { server, same, holds, sleep, until, run } = require("./program.js");

let protocol;
const open = (more) => new Redis({ ...server, protocol, ...more });

async function types(redis) {
	same(await redis.set("s", "v", "EX", 100, "NX"), "OK", "SET");
	same(await redis.mget("s", "absent"), ["v", null], "MGET");
	same(await redis.getBuffer("s"), Buffer.from("v"), "bytes");
	same(await redis.incrbyfloat("f", 1.5), "1.5", "INCRBYFLOAT");
	same(await redis.setbit("bits", 7, 1), 0, "SETBIT");
	same(await redis.bitfield("bits", "GET", "u8", 0, "INCRBY", "u4", 4, 1), [1, 2], "BITFIELD");
	same(await redis.hset("h", { a: 1, b: 2 }), 2, "HSET");
	same(await redis.hgetall("h"), { a: "1", b: "2" }, "HGETALL");
	same(await redis.rpush("l", 1, 2, 3), 3, "RPUSH");
	same(await redis.lmove("l", "m", "LEFT", "RIGHT"), "1", "LMOVE");
	same(await redis.lrange("l", 0, -1), ["2", "3"], "LRANGE");
	same(await redis.sadd("set", "x", "y", "z"), 3, "SADD");
	same((await redis.smembers("set")).sort(), ["x", "y", "z"], "SMEMBERS");
	same(await redis.zadd("z", 1, "one", 2.5, "two"), 2, "ZADD");
	same(await redis.zrange("z", 0, -1, "WITHSCORES"), ["one", "1", "two", "2.5"], "ZRANGE");
	same(await redis.pfadd("hll", "a", "b"), 1, "PFADD");
	same(await redis.pfcount("hll"), 2, "PFCOUNT");
	same(await redis.geoadd("geo", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"), 2, "GEOADD");
	same(await redis.geodist("geo", "Palermo", "Catania", "km"), "166.2742", "GEODIST");
	same(await redis.type("z"), "zset", "TYPE");
}

async function together(redis) {
	same(await redis.pipeline().set("p", 1).incr("p").lpush("p", 1).get("p").exec().then((all) =>
		all.map(([error, value]) => error ? error.message.slice(0, 9) : value)), ["OK", 2, "WRONGTYPE", "2"], "a pipeline");
	same(await redis.multi().incr("p").incr("p").exec(), [[null, 3], [null, 4]], "MULTI");
	await redis.watch("p");
	const other = open();
	await other.set("p", "changed");
	same(await redis.multi().incr("p").exec(), null, "a watched key has changed");
	other.disconnect();
	redis.defineCommand("addTo", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1]) + #ARGV" });
	same(await redis.addTo("counter", 5), 6, "a script by its SHA-1");
	same(await redis.pipeline().addTo("counter", 1).addTo("counter", 1).exec(), [[null, 7], [null, 8]], "in a pipeline");
	await redis.script("FLUSH");
	same(await redis.addTo("counter", 1), 9, "after SCRIPT FLUSH");
	const many = redis.pipeline();
	for (let i = 0; i < 1000; i++)
		many.set("scan:" + i, i);
	await many.exec();
	const found = new Set();
	for await (const keys of redis.scanStream({ match: "scan:*", count: 100 }))
		keys.forEach((key) => found.add(key));
	same(found.size, 1000, "SCAN");
}

async function listening(redis) {
	const ear = open(), heard = [];
	ear.on("message", (channel, text) => heard.push([channel, text]));
	ear.on("pmessage", (pattern, channel, text) => heard.push([pattern, channel, text]));
	same(await ear.subscribe("one", "two"), 2, "SUBSCRIBE");
	same(await ear.psubscribe("o*"), 3, "PSUBSCRIBE");
	same(await redis.publish("one", "hello"), 2, "PUBLISH");
	await until("both are heard", () => heard.length === 2);
	same(heard, [["one", "hello"], ["o*", "one", "hello"]], "messages");
	await redis.config("SET", "notify-keyspace-events", "KEA");
	await ear.subscribe("__keyevent@0__:expired");
	await redis.set("soon", 1, "PX", 30);
	await until("a key ends", () => heard.some((m) => m[1] === "soon"));
	await redis.config("SET", "notify-keyspace-events", "");
	ear.disconnect();
	const monitor = await open().monitor();
	const lines = [];
	monitor.on("monitor", (time, args) => lines.push(args.join(" ")));
	await redis.set("watched", "by all");
	await until("it is shown", () => lines.includes("set watched by all"));
	monitor.disconnect();
}

async function waiting(redis) {
	const waiter = open();
	const popped = waiter.blpop("queue:a", "queue:b", 10);
	await until("it waits", async () => (await redis.info("clients")).includes("blocked_clients:1"));
	await redis.rpush("queue:b", "job");
	same(await popped, ["queue:b", "job"], "BLPOP");
	same(await waiter.bzpopmin("none", 0.05), null, "its time ends");
	const moved = waiter.blmove("from", "to", "LEFT", "RIGHT", 10);
	await redis.rpush("from", "x");
	same(await moved, "x", "BLMOVE");
	waiter.disconnect();
}

async function streams(redis) {
	const reader = open();
	const id = await redis.xadd("stream", "*", "a", "1");
	await redis.xgroup("CREATE", "stream", "group", "0");
	same(await redis.xreadgroup("GROUP", "group", "me", "COUNT", 10, "STREAMS", "stream", ">"),
		[["stream", [[id, ["a", "1"]]]]], "XREADGROUP");
	same((await redis.xpending("stream", "group"))[0], 1, "XPENDING");
	same((await redis.xautoclaim("stream", "group", "you", 0, "0"))[1][0][0], id, "XAUTOCLAIM");
	same(await redis.xack("stream", "group", id), 1, "XACK");
	const next = reader.xread("BLOCK", 10000, "STREAMS", "stream", "$");
	await sleep(50);
	const second = await redis.xadd("stream", "MAXLEN", "~", 1000, "*", "b", "2");
	same(await next, [["stream", [[second, ["b", "2"]]]]], "XREAD");
	reader.disconnect();
}

/* RESP2: invalidations are redirected to a connection that is subscribed. */
async function caching(redis) {
	const ear = open({ protocol: 2 }), reader = open(), stale = [];
	ear.on("message", (channel, keys) => stale.push(keys));
	const id = await ear.client("ID");
	await ear.subscribe("__redis__:invalidate");
	await reader.client("TRACKING", "ON", "REDIRECT", id);
	await redis.set("cached", 1);
	same(await reader.get("cached"), "1", "it is read");
	await redis.set("cached", 2);
	await until("it is told of", () => stale.length > 0);
	same(stale, ["cached"], "the key");
	ear.disconnect();
	reader.disconnect();
}

run({
	async tour() {
		for (protocol of [2, 3]) {
			const redis = open();
			await redis.flushall();
			for (const part of [types, together, listening, waiting, streams, caching])
				await part(redis);
			redis.disconnect();
		}
	},
});
