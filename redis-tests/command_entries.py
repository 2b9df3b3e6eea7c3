#!/usr/bin/env python3
"""What commands.toml can say, held to all commands of redis-server, also those that Sett does not have yet.

	command_entries.py ROOT REDIS-SERVER COMPILER INCLUDE-FOLDER ...

Every command's entry, as command_entry.py prints it, goes through generate_commands.py. What the generator derives
(first key, last key, step, movablekeys, categories) must be what redis-server says, and the C code must compile.
Entries with mistakes must be refused, by name.
"""
import os
import subprocess
import sys
import tempfile
import time

ROOT, REDIS_SERVER, COMPILER, *INCLUDES = sys.argv[1:]
sys.dont_write_bytecode = True
sys.path += [os.path.join(ROOT, "redis-tests"), os.path.join(ROOT, "src/cmd")]
import command_entry  # noqa: E402
import generate_commands  # noqa: E402
from ports import free_port  # noqa: E402

failures = 0


def complain(*what):
	global failures
	failures += 1
	print("FAILED:", *what)


def start_server(folder):
	port = str(free_port())
	server = subprocess.Popen([REDIS_SERVER, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder],
		stdout=subprocess.DEVNULL)
	for _ in range(1200):
		if subprocess.run(["redis-cli", "-p", port, "ping"], capture_output=True).stdout.strip() == b"PONG":
			return server, port
		time.sleep(0.05)
	server.kill()
	sys.exit("redis-server does not come up")


def all_facts(port):
	"""full name -> (COMMAND INFO, COMMAND DOCS)"""
	infos, docs = {}, {}

	def walk_info(info):
		infos[info[0]] = info
		for sub in info[9]:
			walk_info(sub)

	def walk_docs(name, doc):
		docs[name] = doc
		for sub_name, sub in doc.get("subcommands", {}).items():
			walk_docs(sub_name, sub)

	for info in command_entry.ask(port, "command", "info"):
		walk_info(info)
	for name, doc in command_entry.ask(port, "command", "docs").items():
		walk_docs(name, doc)
	return {name: (infos[name], docs[name]) for name in infos}


def check_derived(command, info):
	first, last, step, movable = generate_commands.short_range(command.entry.get("keys", []))
	if [first, last, step] != info[3:6]:
		complain(command.full_name, "keys", [first, last, step], "not", info[3:6])
	if movable != ("movablekeys" in info[2]):
		complain(command.full_name, "movablekeys", movable)
	categories = sorted("@" + category for category in generate_commands.all_categories(command.entry))
	if categories != sorted(info[6]):
		complain(command.full_name, "categories", categories, "not", sorted(info[6]))


def check_compiles(folder, top, ordered):
	os.mkdir(os.path.join(folder, "cmd"))
	with open(os.path.join(folder, "cmd/commands.h"), "w", encoding="utf-8") as file:
		file.write(generate_commands.header(ordered))
	source = os.path.join(folder, "commands.c")
	with open(source, "w", encoding="utf-8") as file:
		file.write(generate_commands.source(top, ordered))
	includes = [f"-I{path}" for path in (folder, *INCLUDES)]
	done = subprocess.run([*COMPILER.split(), "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
		"-Wno-missing-field-initializers", "-fsyntax-only", *includes, source], capture_output=True, text=True)
	if done.returncode != 0:
		complain("the table of all commands does not compile:", done.stderr[:2000])


GOOD = '["x"]\nsummary = "s"\ngroup = "g"\nsince = "1"\narity = 1\n'
MISTAKES = {
	'x: unknown field \'arty\'': GOOD + "arty = 1\n",
	"x: 'summary' is missing": GOOD.replace('summary = "s"\n', ""),
	"y|z: there is no entry for 'y'": GOOD + GOOD.replace("x", "y|z"),
	"x: unknown field 'step'": GOOD + 'keys = [{index = 1, step = 1, flags = "RO"}]\n',
	"x: 'flags' is missing": GOOD + "keys = [{index = 1}]\n",
	"x, argument 0: 'type' is missing": GOOD + 'arguments = [{name = "a"}]\n',
	"x: unknown field 'before'": GOOD + 'sensitive = [{before = "A"}]\n',
}


def check_mistakes(folder):
	path = os.path.join(folder, "mistake.toml")
	generator = os.path.join(ROOT, "src/cmd/generate_commands.py")
	for message, text in MISTAKES.items():
		with open(path, "w", encoding="utf-8") as file:
			file.write(text)
		done = subprocess.run([sys.executable, generator, path, "/dev/null", "/dev/null"],
			capture_output=True, text=True)
		if done.returncode == 0 or message not in done.stderr:
			complain("not refused with", repr(message), "but", repr(done.stderr))


def main():
	with tempfile.TemporaryDirectory() as folder:
		server, port = start_server(folder)
		try:
			facts = all_facts(port)
		finally:
			server.terminate()
			server.wait()
		path = os.path.join(folder, "all.toml")
		with open(path, "w", encoding="utf-8") as file:
			file.write("\n".join(command_entry.entry(*fact) for fact in facts.values()))
		top, ordered = generate_commands.read_commands(path)
		if len(ordered) != len(facts):
			complain(len(ordered), "entries, not", len(facts))
		for command in ordered:
			check_derived(command, facts[command.full_name][0])
		check_compiles(folder, top, ordered)
		check_mistakes(folder)
	print(f"{len(facts)} commands, {failures} failures")
	sys.exit(1 if failures else 0)


main()
