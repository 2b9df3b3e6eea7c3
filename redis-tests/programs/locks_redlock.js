// Redlock: locks by SET NX PX and scripts that compare before they extend or delete. After a kill, who held a lock holds it still.
"use strict";
const Redis = require("ioredis");
const Redlock = require("redlock");
const { server, note, noted, same, holds, sleep, run } = require("./program.js");

const client = () => new Redis({ ...server });
const maker = (redis, options) => new Redlock([redis], { retryDelay: 5, retryJitter: 10, ...options });

async function exclusion() {
	const redis = client();
	let inside = 0;
	await redis.set("counter", 0);
	await Promise.all(Array.from({ length: 10 }, async () => {
		const own = client(), locks = maker(own, { retryCount: -1 });
		for (let i = 0; i < 20; i++) {
			const lock = await locks.lock("locks:counter", 10000);
			same(++inside, 1, "one holds the lock");
			await own.set("counter", Number(await own.get("counter")) + 1);
			inside--;
			await lock.unlock();
		}
		own.disconnect();
	}));
	same(await redis.get("counter"), "200", "no addition is lost");
	redis.disconnect();
}

async function lives() {
	const redis = client(), locks = maker(redis, { retryCount: 0 });
	let lock = await locks.lock(["locks:a", "locks:b"], 1000);
	await locks.lock("locks:a", 1000).then(() => holds(false, "it is held"), (error) => same(error.name, "LockError", "refused"));
	lock = await lock.extend(2500);
	await sleep(1200);
	holds(await redis.exists("locks:a", "locks:b") === 2, "extended");
	await lock.unlock();
	holds(await redis.exists("locks:a", "locks:b") === 0, "released");
	// Longer than a request takes on a busy machine: an answer that comes after the lock has ended is no lock.
	await locks.lock("locks:short", 500);
	await sleep(700);
	await (await locks.lock("locks:short", 500)).unlock();
	redis.disconnect();
}

run({
	async tour() {
		await exclusion();
		await lives();
	},
	async load() {
		const redis = client(), locks = maker(redis, { retryCount: 0 });
		redis.on("error", () => {});
		for (let i = 0; ; i++) {
			const lock = await locks.lock("kept:" + process.pid + ":" + i, 3600000);
			note("held " + lock.resource[0] + " " + lock.value);
		}
	},
	async settle() {
		const redis = client(), locks = maker(redis, { retryCount: 0 });
		for (const line of noted("held")) {
			const [name, value] = line.split(" ");
			same(await redis.get(name), value, name);
		}
		const [name] = noted("held")[0].split(" ");
		await locks.lock(name, 1000).then(() => holds(false, "it is held"), () => {});
		redis.disconnect();
	},
});
