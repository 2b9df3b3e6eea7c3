// node-cache-manager with Keyv's store for Redis: deadlines, what is made once, refreshed before its time, many at once.
"use strict";
const { createCache } = require("cache-manager");
const KeyvRedis = require("@keyv/redis").default;
const { Keyv } = require("keyv");
const { port, note, noted, same, holds, sleep, until, run } = require("./program.js");

const open = (namespace, more = {}) => {
	// Without these an entry that could not be set is no error.
	const store = new KeyvRedis("redis://127.0.0.1:" + port, { throwOnErrors: true, throwOnConnectError: true });
	const keyv = new Keyv({ store, namespace, useKeyPrefix: false, throwOnErrors: true });
	keyv.on("error", () => {});
	return createCache({ stores: [keyv], ...more });
};

async function caching() {
	const cache = open("tour", { ttl: 60000 });
	await cache.set("a", { list: [1, 2.5, null] });
	same(await cache.get("a"), { list: [1, 2.5, null] }, "an object");
	const ends = await cache.ttl("a");
	holds(ends > Date.now() + 50000 && ends <= Date.now() + 60000, "its deadline: " + ends);
	let made = 0;
	const results = await Promise.all(Array.from({ length: 10 }, () => cache.wrap("b", async () => {
		await sleep(20);
		return ++made;
	}, 5000)));
	same([new Set(results).size, made], [1, 1], "made once");
	await cache.mset(Array.from({ length: 50 }, (_, n) => ({ key: "n" + n, value: n, ttl: 5000 })));
	same(await cache.mget(["n0", "n49", "absent"]), [0, 49, undefined], "many");
	await cache.mdel(["n0", "n1"]);
	same(await cache.mget(["n1", "n2"]), [undefined, 2], "deleted");
	await cache.set("short", 1, 200);
	await sleep(400);
	same(await cache.get("short"), undefined, "a deadline passes");
	const fresh = open("fresh", { ttl: 2000, refreshThreshold: 1900 });
	let calls = 0;
	await fresh.wrap("c", async () => ++calls);
	await sleep(200);
	await fresh.wrap("c", async () => ++calls);
	await until("it is refreshed", async () => (await fresh.get("c")) === 2);
	await cache.clear();
	same([await cache.get("a"), await fresh.get("c")], [undefined, 2], "cleared, but for the other");
	await cache.disconnect();
	await fresh.disconnect();
}

run({
	tour: caching,
	async load() {
		const cache = open("load");
		for (let n = 0; ; n++) {
			await cache.set("n" + n, { n }, 600000);
			note("set " + n);
		}
	},
	async settle() {
		const cache = open("load");
		for (const n of noted("set"))
			same(await cache.get("n" + n), { n: Number(n) }, "entry " + n);
		await cache.disconnect();
	},
});
