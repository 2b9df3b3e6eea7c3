// node-redis, RESP3: every type, MULTI, publish and subscribe, blocking, streams, functions, its client-side cache.
"use strict";
const { createClient, createClientPool } = require("redis");
const { server, same, holds, sleep, until, run } = require("./program.js");

async function open(more) {
	const client = createClient({ socket: server, RESP: 3, ...more });
	client.on("error", () => {});
	return client.connect();
}

const plain = (value) => JSON.parse(JSON.stringify(value));

async function types(redis) {
	same(await redis.set("s", "v", { EX: 100, NX: true }), "OK", "SET");
	same(await redis.mGet(["s", "absent"]), ["v", null], "MGET");
	same(await redis.incrByFloat("f", 1.5), "1.5", "INCRBYFLOAT");
	same(await redis.hSet("h", { a: "1", b: "2" }), 2, "HSET");
	same(plain(await redis.hGetAll("h")), { a: "1", b: "2" }, "HGETALL");
	same(await redis.hExpire("h", "a", 100), [1], "HEXPIRE");
	same(await redis.rPush("l", ["1", "2", "3"]), 3, "RPUSH");
	same(await redis.lRange("l", 0, -1), ["1", "2", "3"], "LRANGE");
	same(await redis.sAdd("set", ["x", "y"]), 2, "SADD");
	same([...await redis.sMembers("set")].sort(), ["x", "y"], "SMEMBERS");
	same(await redis.zAdd("z", [{ score: 1, value: "one" }, { score: 2.5, value: "two" }]), 2, "ZADD");
	same(plain(await redis.zRangeWithScores("z", 0, -1)), [{ value: "one", score: 1 }, { value: "two", score: 2.5 }], "ZRANGE");
	same(await redis.zScore("z", "two"), 2.5, "a double of RESP3");
	same(await redis.pfAdd("hll", ["a", "b"]), 1, "PFADD");
	same(await redis.geoAdd("geo", { longitude: 13.361389, latitude: 38.115556, member: "Palermo" }), 1, "GEOADD");
	same(await redis.geoSearch("geo", { longitude: 13, latitude: 38 }, { radius: 100, unit: "km" }), ["Palermo"], "GEOSEARCH");
	same(await redis.type("z"), "zset", "TYPE");
}

async function together(redis) {
	same(await redis.multi().set("p", 1).incr("p").get("p").exec(), ["OK", 2, "2"], "MULTI");
	const pool = createClientPool({ socket: server, RESP: 3 });
	pool.on("error", () => {});
	await pool.connect();
	same((await Promise.all(Array.from({ length: 100 }, () => pool.incr("pooled")))).sort((a, b) => a - b)[99], 100, "a pool");
	await pool.close();
	await redis.functionLoad("#!lua name=tour\nredis.register_function('tour_add', function(keys, args) " +
		"return redis.call('INCRBY', keys[1], args[1]) end)", { REPLACE: true });
	same(await redis.fCall("tour_add", { keys: ["counter"], arguments: ["5"] }), 5, "FCALL");
	same(await redis.eval("return {KEYS[1], ARGV[1]}", { keys: ["k"], arguments: ["a"] }), ["k", "a"], "EVAL");
	let found = 0;
	await redis.mSet(Object.fromEntries(Array.from({ length: 500 }, (_, i) => ["scan:" + i, "x"])));
	for await (const keys of redis.scanIterator({ MATCH: "scan:*", COUNT: 50 }))
		found += keys.length;
	same(found, 500, "SCAN");
}

async function listening(redis) {
	const ear = await open(), heard = [];
	const hear = (text, channel) => heard.push([channel, text]);
	await ear.subscribe("one", hear);
	await ear.pSubscribe("o*", hear);
	await ear.sSubscribe("sharded", hear);
	same(await redis.publish("one", "hello"), 2, "PUBLISH");
	same(await redis.sPublish("sharded", "hello"), 1, "SPUBLISH");
	await until("all are heard", () => heard.length === 3);
	same(await ear.get("absent"), null, "RESP3: a subscribed client goes on");
	ear.destroy();
}

async function waiting(redis) {
	const waiter = await open();
	const popped = waiter.blPop(["queue:a", "queue:b"], 10);
	await until("it waits", async () => (await redis.info("clients")).includes("blocked_clients:1"));
	await redis.rPush("queue:b", "job");
	same(plain(await popped), { key: "queue:b", element: "job" }, "BLPOP");
	same(await waiter.bzPopMin("none", 0.05), null, "its time ends");
	waiter.destroy();
}

async function streams(redis) {
	const reader = await open();
	const id = await redis.xAdd("stream", "*", { a: "1" });
	await redis.xGroupCreate("stream", "group", "0");
	const read = await redis.xReadGroup("group", "me", { key: "stream", id: ">" }, { COUNT: 10 });
	holds(JSON.stringify(read).includes(id), "XREADGROUP");
	same((await redis.xPending("stream", "group")).pending, 1, "XPENDING");
	same(await redis.xAck("stream", "group", id), 1, "XACK");
	const next = reader.xRead({ key: "stream", id: "$" }, { BLOCK: 10000 });
	await sleep(50);
	const second = await redis.xAdd("stream", "*", { b: "2" });
	holds(JSON.stringify(await next).includes(second), "XREAD");
	reader.destroy();
}

async function caching(redis) {
	const reader = await open({ clientSideCache: { ttl: 0, maxEntries: 100 } });
	const calls = async () => Number(/cmdstat_get:calls=(\d+)/.exec(await redis.info("commandstats"))[1]);
	await redis.set("cached", "1");
	same(await reader.get("cached"), "1", "it is read");
	const before = await calls();
	for (let i = 0; i < 10; i++)
		same(await reader.get("cached"), "1", "of the cache");
	same(await calls(), before, "the server was not asked");
	await redis.set("cached", "2");
	await until("it is told of", async () => (await reader.get("cached")) === "2");
	reader.destroy();
}

run({
	async tour() {
		const redis = await open();
		for (const part of [types, together, listening, waiting, streams, caching])
			await part(redis);
		await redis.close();
	},
});
