// ioredis' Cluster class, with a server that is a cluster of one node: slots, pipelines, MULTI, scripts, scans, publish and subscribe,
// reads from replicas (there are none). What it has written before a kill is there afterwards, and it finds the node again.
// Server options: --cluster-enabled yes
"use strict";
const { Cluster } = require("ioredis");
const { server, note, noted, same, holds, until, run } = require("./program.js");

const open = (more) => new Cluster([server], { clusterRetryStrategy: () => 100, ...more });

async function keys(cluster) {
	for (let i = 0; i < 300; i++)
		same(await cluster.set("key:" + i, i), "OK", "SET");
	const found = await Promise.all(Array.from({ length: 300 }, (_, i) => cluster.get("key:" + i)));
	same(found, Array.from({ length: 300 }, (_, i) => String(i)), "keys of all slots");
	same(await cluster.mset("{tag}a", 1, "{tag}b", 2), "OK", "MSET of one slot");
	same(await cluster.mget("{tag}a", "{tag}b"), ["1", "2"], "MGET");
	// With automatic pipelines the client refuses it by itself.
	holds((await cluster.mget("a", "b").catch((error) => error.message)).includes("same slot"), "MGET of two");
	same(await cluster.cluster("KEYSLOT", "{tag}x"), await cluster.cluster("KEYSLOT", "tag"), "slots");
	same((await cluster.cluster("INFO")).includes("cluster_state:ok"), true, "its state");
	same(cluster.nodes("master").length, 1, "masters");
	same(cluster.nodes("slave").length, 0, "replicas");
}

async function together(cluster) {
	const replies = await cluster.pipeline().set("{p}", 1).incr("{p}").get("{p}").lpush("{p}", 1).exec();
	same(replies.map(([error, value]) => error ? error.message.slice(0, 9) : value), ["OK", 2, "2", "WRONGTYPE"], "a pipeline");
	same(await cluster.multi().incr("{p}").incr("{p}:other").exec(), [[null, 3], [null, 1]], "MULTI");
	cluster.defineCommand("addTo", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1]) + #ARGV" });
	same(await cluster.addTo("counter", 5), 6, "a script");
	const seen = new Set();
	for (const node of cluster.nodes("master"))
		for await (const names of node.scanStream({ match: "key:*", count: 100 }))
			names.forEach((name) => seen.add(name));
	same(seen.size, 300, "SCAN of each node");
}

async function listening(cluster) {
	const ear = open(), heard = [];
	ear.on("message", (channel, text) => heard.push([channel, text]));
	await ear.subscribe("news");
	same(await cluster.publish("news", "one"), 1, "PUBLISH");
	await until("it is heard", () => heard.length > 0);
	same(heard, [["news", "one"]], "what is heard");
	ear.disconnect();
}

run({
	async tour() {
		for (const more of [{}, { scaleReads: "slave" }, { enableAutoPipelining: true }]) {
			const cluster = open(more);
			await cluster.flushall();
			for (const part of [keys, together, listening])
				await part(cluster);
			cluster.disconnect();
		}
	},
	async load() {
		const cluster = open();
		for (let n = 0; ; n++) {
			await cluster.set("load:" + n, n);
			note("set " + n);
		}
	},
	async settle() {
		const cluster = open();
		for (const n of noted("set"))
			same(await cluster.get("load:" + n), n, "key " + n);
		holds(noted("set").length > 0, "nothing was written");
		cluster.disconnect();
	},
});
