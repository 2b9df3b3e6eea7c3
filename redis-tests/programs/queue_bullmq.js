// BullMQ: jobs, delays, priorities, retries, flows, rate limits; all of it is Lua over lists, sorted sets, hashes and streams.
"use strict";
const { FlowProducer, Queue, QueueEvents, Worker } = require("bullmq");
const { server, note, noted, same, holds, until, run } = require("./program.js");

const connection = { ...server, maxRetriesPerRequest: null };
const quiet = (thing) => (thing.on("error", () => {}), thing);
const worker = (name, body, options = {}) => quiet(new Worker(name, body, { connection, ...options }));

async function jobsAndEvents() {
	const queue = new Queue("plain", { connection });
	const events = new QueueEvents("plain", { connection });
	await events.waitUntilReady();
	const seen = [];
	const hands = worker("plain", async (job) => {
		seen.push(job.data.n);
		await job.updateProgress(50);
		return job.data.n * 2;
	});
	const jobs = await queue.addBulk([1, 2, 3].map((n) => ({ name: "double", data: { n } })));
	same(await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 30000))), [2, 4, 6], "results");
	same(seen, [1, 2, 3], "first in, first out");
	same((await queue.getJobCounts("completed", "failed", "waiting")), { completed: 3, failed: 0, waiting: 0 }, "counts");
	await hands.close();
	await events.close();
	await queue.close();
}

async function order() {
	const queue = new Queue("order", { connection });
	await queue.pause();
	await queue.add("x", { n: "low" }, { priority: 10 });
	await queue.add("x", { n: "late" }, { delay: 400 });
	await queue.add("x", { n: "high" }, { priority: 1 });
	await queue.add("x", { n: "twice" }, { jobId: "one" });
	await queue.add("x", { n: "again" }, { jobId: "one" });
	const seen = [];
	const hands = worker("order", async (job) => { seen.push(job.data.n); });
	await queue.resume();
	await until("four jobs", () => seen.length === 4);
	same(seen, ["twice", "high", "low", "late"], "priorities, a delay, one job for one id");
	await hands.close();
	await queue.obliterate({ force: true });
	same(await queue.count(), 0, "obliterated");
	await queue.close();
}

async function failures() {
	const queue = new Queue("failures", { connection });
	let tries = 0;
	const hands = worker("failures", async (job) => {
		if (job.name === "never" || ++tries < 3)
			throw new Error("no");
	});
	const third = await queue.add("third", {}, { attempts: 3, backoff: { type: "exponential", delay: 20 } });
	const never = await queue.add("never", {}, { attempts: 2 });
	await until("both have ended", async () =>
		(await third.getState()) === "completed" && (await never.getState()) === "failed");
	same(tries, 3, "tries");
	await never.retry();
	await until("it has failed again", async () => (await never.getState()) === "failed");
	await hands.close();
	await queue.close();
}

async function families() {
	const flow = new FlowProducer({ connection });
	const hands = ["child", "parent"].map((name) => worker(name, async (job) =>
		name === "child" ? job.data.n : Object.values(await job.getChildrenValues()).sort()));
	const { job } = await flow.add({
		name: "sum", queueName: "parent",
		children: [1, 2, 3].map((n) => ({ name: "part", queueName: "child", data: { n } })),
	});
	await until("the parent has run", async () => (await job.getState()) === "completed");
	const queue = new Queue("parent", { connection });
	same((await queue.getJob(job.id)).returnvalue, [1, 2, 3], "what the children returned");
	await Promise.all(hands.map((one) => one.close()));
	await queue.close();
	await flow.close();
}

async function limits() {
	const queue = new Queue("limited", { connection });
	const times = [];
	const hands = worker("limited", async () => { times.push(Date.now()); }, { limiter: { max: 2, duration: 300 } });
	await queue.addBulk(Array.from({ length: 6 }, () => ({ name: "x", data: {} })));
	await until("six jobs", () => times.length === 6);
	holds(times[5] - times[0] >= 500, "two in 300 ms");
	await hands.close();
	await queue.close();
}

const options = { lockDuration: 1000, stalledInterval: 500, maxStalledCount: 1000, concurrency: 4 };

run({
	async tour() {
		for (const part of [jobsAndEvents, order, failures, families, limits])
			await part();
	},
	async load() {
		const queue = quiet(new Queue("load", { connection }));
		worker("load", async (job) => { note("begun " + job.id); }, options);
		for (;;) {
			const job = await queue.add("x", { text: "x".repeat(100) });
			note("added " + job.id);
		}
	},
	async settle() {
		const added = noted("added");
		const queue = quiet(new Queue("load", { connection }));
		const hands = worker("load", async () => {}, options);
		await until("the queue is empty", async () => {
			const counts = await queue.getJobCounts("waiting", "active", "delayed", "failed");
			same(counts.failed, 0, "failed jobs");
			return counts.waiting + counts.active + counts.delayed === 0;
		}, 120);
		for (const id of added)
			same(await (await queue.getJob(id)).getState(), "completed", "job " + id);
		await hands.close();
		await queue.close();
	},
});
