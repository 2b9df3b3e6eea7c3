// Socket.IO on two servers that know of each other through Redis: by publish and subscribe (plain and sharded), and by a stream, with which a
// client that was away gets what it missed.
"use strict";
const http = require("http");
const { Server } = require("socket.io");
const connectTo = require("socket.io-client").io;
const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
const streams = require("@socket.io/redis-streams-adapter");
const { createClient } = require("redis");
const { port, note, noted, same, until, run } = require("./program.js");

async function connect() {
	const client = createClient({ url: "redis://127.0.0.1:" + port });
	client.on("error", () => {});
	await client.connect();
	return client;
}

const byPublishing = async () => createAdapter(await connect(), await connect());
const bySharded = async () => createShardedAdapter(await connect(), await connect());
const byStream = async () => streams.createAdapter(await connect(), { readCount: 100 });

async function open(makeAdapter) {
	const server = http.createServer();
	const io = new Server(server, { adapter: await makeAdapter(), connectionStateRecovery: {} });
	await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
	return { io, port: server.address().port };
}

async function talk(makeAdapter, what) {
	const [a, b] = [await open(makeAdapter), await open(makeAdapter)];
	for (const { io } of [a, b])
		io.on("connection", (socket) => socket.on("join", (room, done) => {
			socket.join(room);
			done();
		}));
	const heard = [[], []];
	const clients = [a, b].map((side, i) => connectTo("http://127.0.0.1:" + side.port, { transports: ["websocket"] })
		.on("message", (text) => heard[i].push(text)));
	await until(what + ": both are connected", () => clients.every((client) => client.connected));
	await until(what + ": the servers see each other", async () => (await a.io.fetchSockets()).length === 2);
	await clients[1].emitWithAck("join", "room");
	a.io.emit("message", "to all");
	a.io.to("room").emit("message", "to the room");
	a.io.except("room").emit("message", "to the others");
	await until(what + ": all is heard", () => heard[0].length === 2 && heard[1].length === 2);
	same(heard, [["to all", "to the others"], ["to all", "to the room"]], what);
	b.io.on("question", (text, answer) => answer("answer to " + text));
	a.io.on("question", (text, answer) => answer("answer to " + text));
	same(await a.io.serverSideEmitWithAck("question", "x"), ["answer to x"], what + ": between the servers");
	b.io.socketsLeave("room");
	await until(what + ": the room is empty", async () => (await a.io.in("room").fetchSockets()).length === 0);
	a.io.to("room").emit("message", "to nobody");
	b.io.disconnectSockets(true);
	await until(what + ": all are sent away", () => clients.every((client) => !client.connected));
	same(heard.map((texts) => texts.length), [2, 2], what + ": nobody is in the room");
	clients.forEach((client) => client.close());
	a.io.close();
	b.io.close();
}

run({
	async tour() {
		await talk(byPublishing, "published");
		await talk(bySharded, "sharded");
		await talk(byStream, "in a stream");
	},
	async load() {
		const { io } = await open(byStream);
		const redis = await connect();
		for (let i = 0; ; i++) {
			io.emit("message", "number " + i);
			const before = i;
			await until("it is in the stream", async () => {
				const [entry] = await redis.xRevRange("socket.io", "+", "-", { COUNT: 1 });
				return entry !== undefined && JSON.stringify(entry.message).includes("number " + before);
			});
			note("sent " + i);
		}
	},
	async settle() {
		const redis = await connect();
		const kept = JSON.stringify(await redis.xRange("socket.io", "-", "+"));
		for (const i of noted("sent"))
			same(kept.includes("number " + i), true, "message " + i);
		await talk(byStream, "after the kill");
	},
});
