#!/usr/bin/env python3
"""Prints entries for src/cmd/commands.toml, with the facts that a redis-server gives about commands.

	command_entry.py PORT COMMAND ...        e.g. command_entry.py 6379 hset 'xgroup|create'

What COMMAND INFO and COMMAND DOCS say is filled in, and which arguments redis-server keeps out of its slow log. The
summary is left for the author to write, and Sett's own fields (own_flags, first_value, key_rule, function) are left
out: see the top of commands.toml.
"""
import json
import subprocess
import sys

# Categories and flags that generate_commands.py derives.
IMPLIED_FLAGS = {"movablekeys"}


# What redis-server redacts (it does not say so in COMMAND INFO).
SENSITIVE = {
	"acl|setuser": "[{from = 2}]",
	"auth": "[{from = 1}]",
	"config|set": "[{directives = true}]",
	"hello": '[{after = "AUTH", count = 2}]',
	"migrate": '[{after = "AUTH", count = 1}, {after = "AUTH2", count = 2}]',
}


def ask(port, *words):
	reply = subprocess.run(["redis-cli", "-p", port, "--json", "-3", *words], capture_output=True, check=True)
	return json.loads(reply.stdout)


def implied_categories(flags, categories):
	implied = {"fast" if "fast" in flags else "slow"}
	implied |= flags & {"write", "pubsub", "blocking"}
	if "readonly" in flags and "scripting" not in categories:
		implied.add("read")
	if "admin" in flags:
		implied |= {"admin", "dangerous"}
	return implied


def quoted(text):
	return json.dumps(text, ensure_ascii=False)


def inline(pairs):
	return "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"


def key_spec(spec):
	pairs = []
	begin, find = spec["begin_search"], spec["find_keys"]
	if begin["type"] == "index":
		pairs.append(("index", begin["spec"]["index"]))
	elif begin["type"] == "keyword":
		pairs.append(("keyword", quoted(begin["spec"]["keyword"])))
		pairs.append(("start", begin["spec"]["startfrom"]))
	if find["type"] == "range":
		found = [find["spec"][field] for field in ("lastkey", "keystep", "limit")]
		if found != [0, 1, 0]:
			pairs.append(("range", found))
	elif find["type"] == "keynum":
		pairs.append(("keynum", [find["spec"][field] for field in ("keynumidx", "firstkey", "keystep")]))
	pairs.append(("flags", quoted(" ".join(spec["flags"]))))
	if "notes" in spec:
		pairs.append(("notes", quoted(spec["notes"])))
	return inline(pairs)


def argument(fact, indent):
	pairs = [("name", quoted(fact["name"])), ("type", quoted(fact["type"]))]
	for field in ("token", "since", "deprecated_since"):
		if field in fact:
			pairs.append((field, quoted(fact[field])))
	if "key_spec_index" in fact:
		pairs.append(("key_spec", fact["key_spec_index"]))
	if "flags" in fact:
		pairs.append(("flags", quoted(" ".join(fact["flags"]))))
	if "arguments" not in fact:
		return "\t" * indent + inline(pairs) + ",\n"
	inner = "".join(argument(a, indent + 1) for a in fact["arguments"])
	head = ", ".join(f"{key} = {value}" for key, value in pairs)
	return "\t" * indent + "{" + head + ", arguments = [\n" + inner + "\t" * indent + "]},\n"


def entry(info, docs, extra=()):
	name, arity, flags, _, _, _, categories, tips, specs, _ = info
	flag_set, category_set = set(flags), {word[1:] for word in categories}
	explicit = [word[1:] for word in categories if word[1:] not in implied_categories(flag_set, category_set)]
	lines = [f"[{quoted(name)}]", f"summary = {quoted(dict(extra).get('summary', ''))}"]
	if "complexity" in docs:
		lines.append(f"complexity = {quoted(docs['complexity'])}")
	lines.append(f"group = {quoted(docs['group'])}")
	lines.append(f"since = {quoted(docs['since'])}")
	for field in ("deprecated_since", "replaced_by"):
		if field in docs:
			lines.append(f"{field} = {quoted(docs[field])}")
	if "doc_flags" in docs:
		lines.append(f"doc_flags = {quoted(' '.join(docs['doc_flags']))}")
	lines.append(f"arity = {arity}")
	shown = [word for word in flags if word not in IMPLIED_FLAGS]
	if shown:
		lines.append(f"flags = {quoted(' '.join(shown))}")
	lines += [f"{key} = {value}" for key, value in extra if key not in ("summary", "sensitive")]
	if name in SENSITIVE:
		lines.append(f"sensitive = {SENSITIVE[name]}")
	if explicit:
		lines.append(f"categories = {quoted(' '.join(explicit))}")
	if tips:
		lines.append(f"tips = {quoted(' '.join(tips))}")
	if len(specs) == 1:
		lines.append(f"keys = [{key_spec(specs[0])}]")
	elif specs:
		lines.append("keys = [")
		lines += [f"\t{key_spec(spec)}," for spec in specs]
		lines.append("]")
	if "history" in docs:
		lines.append("history = [")
		lines += [f"\t[{quoted(since)}, {quoted(what)}]," for since, what in docs["history"]]
		lines.append("]")
	if "arguments" in docs:
		lines.append("arguments = [")
		return "\n".join(lines) + "\n" + "".join(argument(a, 1) for a in docs["arguments"]) + "]\n"
	return "\n".join(lines) + "\n"


def main():
	if len(sys.argv) < 3:
		sys.exit(__doc__)
	port = sys.argv[1]
	for name in sys.argv[2:]:
		info = ask(port, "command", "info", name)[0]
		if info is None:
			sys.exit(f"redis-server has no command {name}")
		print(entry(info, ask(port, "command", "docs", name)[info[0]]))


if __name__ == "__main__":
	main()
