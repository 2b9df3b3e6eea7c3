// A client that knows Debian's redis-sentinel alone, for sentinel_ioredis.py, which gives its port and a journal. It writes numbers
// to the master, and notes those that both replicas have; each of these it reads from a replica.
"use strict";
const fs = require("fs");
const Redis = require("ioredis");

const [port, journal] = process.argv.slice(2);
// Sent again alone, WAIT would speak for a write that it did not follow.
const open = (more) => new Redis({
	sentinels: [{ host: "127.0.0.1", port: Number(port) }], name: "it", autoResendUnfulfilledCommands: false,
	retryStrategy: () => 100, sentinelRetryStrategy: () => 100, ...more,
}).on("error", () => {});

// A pipeline whose connection ends may be left without an answer.
const within = (promise) => Promise.race([promise, new Promise((_, refuse) => setTimeout(refuse, 5000))]);

(async () => {
	const master = open(), replica = open({ role: "slave" });
	for (let n = 0; ; n++) {
		try {
			const replies = await within(master.pipeline().sadd("seen", n).wait(2, 1000).exec());
			const [[refused], [unconfirmed, count]] = replies;
			if (refused || unconfirmed || count < 2)
				continue;
			fs.appendFileSync(journal, "confirmed " + n + "\n");
			if (await within(replica.sismember("seen", n)) !== 1)
				fs.appendFileSync(journal, "lacking " + n + "\n");
		} catch {
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	}
})();
