// What the programs in JavaScript share. Each is run as
//
//     node NAME.js PHASE PORT JOURNAL
//
// The phases are described in ../programs.py. What a server has acknowledged goes into the journal, a line each.
"use strict";
const assert = require("assert");
const fs = require("fs");

const [phase, port, journal] = process.argv.slice(2);
exports.port = Number(port);
exports.server = { host: "127.0.0.1", port: exports.port };

exports.note = (line) => fs.appendFileSync(journal, line + "\n");
exports.noted = (word) => fs.readFileSync(journal, "utf8").split("\n")
	.filter((line) => line.startsWith(word + " ")).map((line) => line.slice(word.length + 1));

exports.same = (actual, wanted, what) => assert.deepStrictEqual(actual, wanted, what);
exports.holds = (value, what) => assert.ok(value, what);
exports.sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
exports.until = async (what, condition, seconds = 300) => {
	const end = Date.now() + 1000 * seconds;
	while (!(await condition())) {
		if (Date.now() > end)
			throw new Error("never: " + what);
		await exports.sleep(20);
	}
};

exports.run = async (phases) => {
	try {
		await phases[phase]();
		process.exit(0);
	} catch (error) {
		console.log("FAILED: " + (error.stack || error));
		process.exit(1);
	}
};
