// rate-limiter-flexible: counters with deadlines, by MULTI and by scripts. After a kill no point that was taken is given back.
"use strict";
const Redis = require("ioredis");
const { BurstyRateLimiter, RateLimiterQueue, RateLimiterRedis } = require("rate-limiter-flexible");
const { server, note, noted, same, holds, sleep, run } = require("./program.js");

const limiter = (storeClient, options) => new RateLimiterRedis({ storeClient, ...options });

async function points() {
	const redis = new Redis(server);
	const five = limiter(redis, { keyPrefix: "five", points: 5, duration: 2, blockDuration: 3 });
	const results = await Promise.allSettled(Array.from({ length: 12 }, () => five.consume("a")));
	same(results.filter((r) => r.status === "fulfilled").length, 5, "five of twelve");
	holds(results.find((r) => r.status === "rejected").reason.msBeforeNext > 2000, "then it is blocked");
	same((await five.consume("b", 2)).remainingPoints, 3, "remaining");
	same((await five.penalty("b", 2)).consumedPoints, 4, "a penalty");
	same((await five.reward("b", 1)).consumedPoints, 3, "a reward");
	await five.block("c", 1);
	await five.consume("c").then(() => holds(false, "blocked"), () => {});
	await sleep(1200);
	same((await five.consume("c")).consumedPoints, 1, "the block is over");
	same(await five.delete("b"), true, "deleted");
	same(await five.get("b"), null, "nothing is left");
	redis.disconnect();
}

async function forms() {
	const redis = new Redis(server);
	const bursty = new BurstyRateLimiter(
		limiter(redis, { keyPrefix: "slow", points: 2, duration: 1 }),
		limiter(redis, { keyPrefix: "burst", points: 3, duration: 10 }));
	const taken = await Promise.allSettled(Array.from({ length: 8 }, () => bursty.consume("a")));
	same(taken.filter((r) => r.status === "fulfilled").length, 5, "two and three");
	const queue = new RateLimiterQueue(limiter(redis, { keyPrefix: "queue", points: 2, duration: 1 }));
	const start = Date.now();
	for (let i = 0; i < 5; i++)
		await queue.removeTokens(1);
	holds(Date.now() - start > 900, "two a second");
	redis.disconnect();
}

run({
	async tour() {
		await points();
		await forms();
	},
	async load() {
		const redis = new Redis(server);
		redis.on("error", () => {});
		const many = limiter(redis, { keyPrefix: "kept", points: 1e9, duration: 3600 });
		for (let i = 0; ; i++)
			note("taken " + i % 10 + " " + (await many.consume("key" + i % 10)).consumedPoints);
	},
	async settle() {
		const redis = new Redis(server);
		const many = limiter(redis, { keyPrefix: "kept", points: 1e9, duration: 3600 });
		const least = {};
		for (const line of noted("taken")) {
			const [key, count] = line.split(" ").map(Number);
			least[key] = Math.max(least[key] || 0, count);
		}
		for (const key of Object.keys(least)) {
			const { consumedPoints } = await many.get("key" + key);
			holds(consumedPoints >= least[key] && consumedPoints <= least[key] + 1,
				"key" + key + ": " + consumedPoints + ", at least " + least[key]);
		}
		redis.disconnect();
	},
});
