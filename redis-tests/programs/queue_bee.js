// Bee-Queue: jobs with retries, delays, stalled jobs; Lua scripts, BRPOPLPUSH and publish/subscribe.
"use strict";
const Queue = require("bee-queue");
const { server, note, noted, same, until, run } = require("./program.js");

const open = (name, more = {}) => {
	const queue = new Queue(name, { redis: server, stallInterval: 500, nearTermWindow: 5000, ...more });
	queue.on("error", () => {});
	return queue;
};

async function jobsAndEvents() {
	const queue = open("plain", { activateDelayedJobs: true });
	const done = [];
	queue.process(3, async (job) => {
		job.reportProgress(10);
		if (job.data.n === 13 && job.options.retries > 0)
			throw new Error("no");
		return job.data.n + 1;
	});
	for (const n of [1, 13, 3]) {
		const job = await queue.createJob({ n }).retries(2).backoff("fixed", 50).save();
		job.on("succeeded", (result) => done.push(result));
	}
	const late = await queue.createJob({ n: 100 }).delayUntil(Date.now() + 300).save();
	late.on("succeeded", (result) => done.push(result));
	await until("all are done", () => done.length === 4);
	same(done.sort((a, b) => a - b), [2, 4, 14, 101], "results");
	await queue.createJob({ n: 5 }).setId("mine").save();
	await until("it is done", async () => (await queue.checkHealth()).succeeded === 5);
	same(await queue.checkHealth().then((h) => [h.waiting, h.active, h.failed, h.delayed]), [0, 0, 0, 0], "health");
	await queue.close();
}

run({
	tour: jobsAndEvents,
	async load() {
		const queue = open("load");
		queue.process(4, async (job) => { note("begun " + job.id); });
		queue.checkStalledJobs(500);
		for (;;)
			note("added " + (await queue.createJob({ text: "x".repeat(100) }).save()).id);
	},
	async settle() {
		const added = noted("added");
		const queue = open("load", { removeOnSuccess: false });
		queue.process(4, async () => {});
		queue.checkStalledJobs(500);
		await until("the queue is empty", async () => {
			const health = await queue.checkHealth();
			same(health.failed, 0, "failed jobs");
			return health.waiting + health.active === 0;
		}, 120);
		for (const id of added)
			same((await queue.getJob(id)).status, "succeeded", "job " + id);
		await queue.close();
	},
});
