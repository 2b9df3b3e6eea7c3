#!/usr/bin/env python3
"""Makes the command table from commands.toml, which says what the fields mean.

	generate_commands.py commands.toml commands.h commands.c

commands.h declares the functions of all commands, commands.c defines the rows (table/command_table.h,
table/command_docs.h).
"""
import json
import re
import sys
import tomllib

NOTICE = "/* Made from src/cmd/commands.toml by generate_commands.py: edit that. */\n"
FIELDS = {
	"summary", "complexity", "group", "since", "deprecated_since", "replaced_by", "doc_flags", "arity", "flags",
	"categories", "tips", "keys", "history", "arguments",
	"own_flags", "function", "key_rule", "first_value", "first_element", "element_step", "sensitive",
	"channels",
}
REQUIRED = {"summary", "group", "since", "arity"}
KEY_FIELDS = {"index", "keyword", "start", "range", "keynum", "flags", "notes"}
ARGUMENT_FIELDS = {
	"name", "type", "token", "key_spec", "flags", "since", "deprecated_since", "summary", "arguments",
}
SENSITIVE_FIELDS = {"from", "after", "count", "directives"}


class Wrong(Exception):
	"""An entry that makes no row; the text names it."""


def check_fields(where, entry, allowed, required=frozenset()):
	for field in entry.keys() - allowed:
		raise Wrong(f"{where}: unknown field '{field}'")
	for field in required - entry.keys():
		raise Wrong(f"{where}: '{field}' is missing")


def text(value):
	return "NULL" if value is None else json.dumps(value, ensure_ascii=False)


def bits(prefix, words):
	"""Or'ed constants: a word that does not exist is an error of the compiler."""
	return " | ".join(prefix + word.upper() for word in words) or "0"


def identifier(name):
	return re.sub(r"[^a-z0-9]", "_", name)


def row(pairs):
	return "{" + ", ".join(f".{field} = {value}" for field, value in pairs if str(value) not in ("NULL", "0")) + "}"


def array(kind, name, rows):
	return f"static const {kind} {name}[] = {{\n" + "".join(f"\t{line},\n" for line in rows) + "};\n"


# ---- what follows from other fields ----

def all_categories(entry):
	flags = set(entry.get("flags", "").split())
	categories = set(entry.get("categories", "").split())
	implied = {"fast" if "fast" in flags else "slow"} | flags & {"write", "pubsub", "blocking"}
	if "readonly" in flags and "scripting" not in categories:
		implied.add("read")
	if "admin" in flags:
		implied |= {"admin", "dangerous"}
	return sorted(categories | implied)


def short_range(specs):
	"""COMMAND INFO's first, last, step: the run of keys that index and range give, and whether there may be more."""
	ranges = [s for s in specs if "index" in s and "keynum" not in s]
	found = [s.get("range", [0, 1, 0]) for s in ranges]
	if len(specs) == 1 and ranges:
		last, step, _ = found[0]
		first = ranges[0]["index"]
		return first, last if last < 0 else first + last, step, "incomplete" in specs[0]["flags"].split()
	first = last = 0
	more = len(ranges) < len(specs)
	for spec, (last_key, step, _) in zip(ranges, found):
		if step != 1 or (last != 0 and last != spec["index"] - 1):
			more = True
			continue
		more |= "incomplete" in spec["flags"].split()
		first = first or spec["index"]
		last = last_key if last_key < 0 else spec["index"] + last_key
	return first, last, 1 if first else 0, more


# ---- the parts of a row ----

def key_spec(where, spec):
	check_fields(where, spec, KEY_FIELDS, {"flags"})
	pairs = []
	if "index" in spec:
		pairs += [("begin", "BEGIN_INDEX"), ("index", spec["index"])]
	elif "keyword" in spec:
		pairs += [("begin", "BEGIN_KEYWORD"), ("keyword", text(spec["keyword"])), ("index", spec["start"])]
	if "keynum" in spec:
		keynum, first, step = spec["keynum"]
		pairs += [("find", "FIND_KEYNUM"), ("keynum", keynum), ("first", first), ("step", step)]
	elif pairs:
		last, step, limit = spec.get("range", [0, 1, 0])
		pairs += [("find", "FIND_RANGE"), ("last", last), ("step", step), ("limit", limit)]
	return row(pairs + [("flags", bits("KEY_", spec["flags"].split())), ("notes", text(spec.get("notes")))])


def sensitive(where, entry):
	check_fields(where, entry, SENSITIVE_FIELDS)
	if "from" in entry:
		return row([("kind", "SENSITIVE_FROM"), ("first", entry["from"])])
	if "after" in entry:
		return row([("kind", "SENSITIVE_AFTER"), ("keyword", text(entry["after"])), ("first", 1),
			("count", entry["count"])])
	return row([("kind", "SENSITIVE_DIRECTIVES"), ("first", 2)])


def write_arguments(out, where, name, arguments):
	rows = []
	for number, entry in enumerate(arguments):
		check_fields(f"{where}, argument {number}", entry, ARGUMENT_FIELDS, {"name", "type"})
		inner, inner_name = entry.get("arguments", []), f"{name}_{number}"
		if inner:
			write_arguments(out, where, inner_name, inner)
		rows.append(row([
			*((field, text(entry.get(field)))
				for field in ("name", "type", "token", "summary", "since", "deprecated_since")),
			("key_spec", entry.get("key_spec", -1)),
			("flags", bits("ARGUMENT_", entry.get("flags", "").split())),
			("arguments", inner_name if inner else "NULL"),
			("argument_count", len(inner))]))
	out.append(array("struct command_argument", name, rows))


class Command:
	def __init__(self, full_name, entry):
		check_fields(full_name, entry, FIELDS, REQUIRED)
		self.full_name, self.entry = full_name, entry
		self.name = full_name.split("|")[-1]
		self.id = identifier(full_name)
		self.subcommands = []
		self.index = None

	def function(self):
		if "function" in self.entry:
			return self.entry["function"]
		return None if self.subcommands else f"command_{self.id}"

	def write_list(self, out, kind, suffix, rows):
		"""The pairs for a field and its count; an empty list needs no array."""
		if not rows:
			return "NULL", 0
		name = f"{suffix}_of_{self.id}"
		out.append(array(kind, name, rows))
		return name, len(rows)

	def write_docs(self, out):
		entry = self.entry
		arguments = entry.get("arguments", [])
		if arguments:
			write_arguments(out, self.full_name, f"arguments_of_{self.id}", arguments)
		history = self.write_list(out, "struct command_change", "history",
			[f"{{{text(since)}, {text(what)}}}" for since, what in entry.get("history", [])])
		tips = self.write_list(out, "char *const", "tips", [text(tip) for tip in entry.get("tips", "").split()])
		out.append(f"static const struct command_docs docs_of_{self.id} = " + row([
			*((field, text(entry.get(field)))
				for field in ("summary", "since", "group", "complexity", "deprecated_since", "replaced_by")),
			("doc_flags", bits("DOC_", entry.get("doc_flags", "").split())),
			("history", history[0]), ("history_count", history[1]),
			("tips", tips[0]), ("tip_count", tips[1]),
			("arguments", f"arguments_of_{self.id}" if arguments else "NULL"),
			("argument_count", len(arguments))]) + ";\n")

	def write(self, out):
		"""Appends the arrays that the row refers to; returns the row."""
		entry, where = self.entry, self.full_name
		self.write_docs(out)
		specs = entry.get("keys", [])
		keys = self.write_list(out, "struct key_spec", "keys", [key_spec(where, spec) for spec in specs])
		secrets = self.write_list(out, "struct sensitive_argument", "sensitive",
			[sensitive(where, item) for item in entry.get("sensitive", [])])
		first, last, step, movable = short_range(specs)
		flags = entry.get("flags", "").split() + entry.get("own_flags", "").split()
		return row([
			("name", text(self.name)), ("full_name", text(where)),
			("name_head", hex(name_head(self.name))), ("name_size", len(self.name)), ("run", self.function() or "NULL"),
			("arity", entry["arity"]),
			("flags", bits("COMMAND_", flags + ["movable_keys"] * movable)),
			("categories", bits("CATEGORY_", all_categories(entry))),
			("index", self.index), ("number", self.index),
			("key_specs", keys[0]), ("key_spec_count", keys[1]),
			("first_key", first), ("last_key", last), ("key_step", step),
			("first_value", entry.get("first_value", 0)),
			("first_element", entry.get("first_element", 0)), ("element_step", entry.get("element_step", 1)),
			("channels", "CHANNELS_" + entry["channels"].upper() if "channels" in entry else "0"),
			("key_rule", entry.get("key_rule", "NULL")),
			("sensitive", secrets[0]), ("sensitive_count", secrets[1]),
			("subcommand_count", len(self.subcommands)),
			("subcommands", f"&rows[{self.subcommands[0].index}]" if self.subcommands else "NULL"),
			("docs", f"&docs_of_{self.id}")])


# ---- the table ----

def read_commands(path):
	"""All commands, those of the top level first, then the subcommands of each container."""
	with open(path, "rb") as file:
		entries = tomllib.load(file)
	commands = {name: Command(name, entry) for name, entry in entries.items()}
	top = [c for name, c in commands.items() if "|" not in name]
	for name, command in commands.items():
		if "|" in name:
			container = name.split("|")[0]
			if container not in commands:
				raise Wrong(f"{name}: there is no entry for '{container}'")
			commands[container].subcommands.append(command)
	ordered = top + [sub for command in top for sub in command.subcommands]
	for index, command in enumerate(ordered):
		command.index = index
	return top, ordered


def name_head(name):
	return int.from_bytes(name.encode()[:8], "little")


def first_slot(name, count):
	"""command_table.c's."""
	return ((name_head(name) ^ len(name)) * 0x9e3779b97f4a7c15 & 0xffffffffffffffff) >> 32 & count - 1


def slots_of(top):
	count = 1
	while count < 4 * len(top):
		count *= 2
	slots = [0] * count
	for command in top:
		slot = first_slot(command.name, count)
		while slots[slot] != 0:
			slot = (slot + 1) % count
		slots[slot] = command.index + 1
	return slots


def header(ordered):
	functions = sorted({c.function() for c in ordered if c.function() is not None})
	rules = sorted({c.entry["key_rule"] for c in ordered if "key_rule" in c.entry})
	return (NOTICE + "#ifndef SETT_CMD_COMMANDS_H\n#define SETT_CMD_COMMANDS_H\n\n#include \"txn/command.h\"\n\n"
		+ "extern const struct command_table sett_commands;\n\n"
		+ "".join(f"int {function}(struct command_context *);\n" for function in functions)
		+ "".join(f"int {rule}(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count);\n"
			for rule in rules)
		+ "\n#endif\n")


def source(top, ordered):
	out = [NOTICE, '#include "cmd/commands.h"\n\n#include "table/command_docs.h"\n',
		f"static const struct command rows[{len(ordered)}];\n"]
	rows = [command.write(out) for command in ordered]
	slots = slots_of(top)
	out.append(f"static const struct command rows[{len(rows)}] = {{\n" + "".join(f"\t{r},\n" for r in rows) + "};\n")
	out.append(array("uint16_t", "slots", [", ".join(map(str, slots[i:i + 16])) for i in range(0, len(slots), 16)]))
	out.append("const struct command_table sett_commands = " + row([
		("rows", "rows"), ("top_count", len(top)), ("row_count", len(rows)),
		("slots", "slots"), ("slot_mask", len(slots) - 1)]) + ";\n")
	return "\n".join(out)


def main():
	data, header_path, source_path = sys.argv[1:]
	try:
		top, ordered = read_commands(data)
		made = {header_path: header(ordered), source_path: source(top, ordered)}
	except (Wrong, tomllib.TOMLDecodeError) as error:
		sys.exit(f"{data}: {error}")
	for path, content in made.items():
		with open(path, "w", encoding="utf-8") as file:
			file.write(content)


if __name__ == "__main__":
	main()
