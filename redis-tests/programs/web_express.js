// A web application: sessions by connect-redis, limits by express-rate-limit with rate-limit-redis (scripts), in an Express that is asked over HTTP.
"use strict";
const express = require("express");
const session = require("express-session");
const { RedisStore: SessionStore } = require("connect-redis");
const { rateLimit } = require("express-rate-limit");
const { RedisStore: LimitStore } = require("rate-limit-redis");
const { createClient } = require("redis");
const { port, note, noted, same, holds, run } = require("./program.js");

// Longer than all phases together may take on a busy machine: a session that has ended is not one that was lost.
const SESSION_S = 3600;

async function connect() {
	const client = createClient({ url: "redis://127.0.0.1:" + port });
	client.on("error", () => {});
	await client.connect();
	return client;
}

// Answers with what the session has seen; /limited three times a minute.
async function serve(client) {
	const app = express();
	const sendCommand = (...words) => client.sendCommand(words);
	app.set("trust proxy", 1);
	app.use("/limited", rateLimit({ windowMs: 60000, limit: 3, legacyHeaders: false, standardHeaders: "draft-6",
		store: new LimitStore({ sendCommand, prefix: "limit:" }) }));
	app.get("/limited", (request, response) => response.json({}));
	app.use(session({ store: new SessionStore({ client, prefix: "session:", ttl: SESSION_S }), secret: "x", resave: false,
		saveUninitialized: false }));
	app.get("/visit", (request, response) => {
		request.session.visits = (request.session.visits || 0) + 1;
		request.session.save((error) => response.status(error ? 500 : 200).json({ visits: request.session.visits }));
	});
	app.get("/leave", (request, response) => request.session.destroy(() => response.json({})));
	return new Promise((resolve) => {
		const server = app.listen(0, "127.0.0.1", () => resolve(server));
	});
}

const asker = (server) => async (path, cookie) => {
	const answer = await fetch("http://127.0.0.1:" + server.address().port + path, { headers: cookie ? { cookie } : {} });
	const given = answer.headers.get("set-cookie");
	return { status: answer.status, body: answer.status === 200 ? await answer.json() : null,
		left: answer.headers.get("ratelimit-remaining"), cookie: given ? given.split(";")[0] : cookie };
};

run({
	async tour() {
		const client = await connect();
		const server = await serve(client), ask = asker(server);
		const first = await ask("/visit");
		same([first.body.visits, (await ask("/visit", first.cookie)).body.visits], [1, 2], "a session");
		same((await ask("/visit")).body.visits, 1, "another");
		const keys = await client.keys("session:*");
		same(keys.length, 2, "two are kept");
		const left = await client.ttl(keys[0]);
		holds(left > SESSION_S - 300 && left <= SESSION_S, "with a deadline: " + left);
		await ask("/leave", first.cookie);
		same((await ask("/visit", first.cookie)).body.visits, 1, "after the end of the session");
		const answers = [];
		for (let i = 0; i < 5; i++)
			answers.push(await ask("/limited"));
		same(answers.map((a) => a.status), [200, 200, 200, 429, 429], "three a minute");
		same(answers.slice(0, 3).map((a) => a.left), ["2", "1", "0"], "what is left");
		await client.scriptFlush();
		same((await ask("/limited")).status, 429, "scripts are loaded again");
		server.close();
	},
	async load() {
		const server = await serve(await connect()), ask = asker(server);
		let one = await ask("/visit");
		for (;;) {
			one = await ask("/visit", one.cookie);
			note("visits " + one.cookie + " " + one.body.visits);
			const other = await ask("/visit");
			note("visits " + other.cookie + " " + other.body.visits);
		}
	},
	async settle() {
		const server = await serve(await connect()), ask = asker(server);
		const least = {};
		for (const line of noted("visits")) {
			const [cookie, visits] = line.split(" ");
			least[cookie] = Math.max(least[cookie] || 0, Number(visits));
		}
		for (const cookie of Object.keys(least)) {
			const { visits } = (await ask("/visit", cookie)).body;
			holds(visits === least[cookie] + 1 || visits === least[cookie] + 2, cookie + ": " + visits + " after " + least[cookie]);
		}
		server.close();
	},
});
