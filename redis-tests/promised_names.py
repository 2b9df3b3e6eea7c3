#!/usr/bin/python3
"""Names that programs read stay, once they are promised (docs/COMPATIBILITY.md): fields of INFO, series of metrics-port with their types, columns of
HISTORY, keys of sett-tool's --json. tests/golden/names.txt has those of the last release; more may be there.

    promised_names.py SERVER TOOL FILE         looks for each of them
    promised_names.py SERVER TOOL FILE make    writes those that are there: with each release"""
import json
import os
import re
import subprocess
import sys
import urllib.request
from own_server import Server, expect, free_port

# Of what is there for a while, for a client, a database or a command: its first, or none.
PASSING = re.compile(r"^info (cmdstat_|errorstat_|latency_percentiles_usec_|db[0-9]|slave[0-9])")


def keys_of(value, before):
    """Of JSON: the path to each value; what lies in a list has one path."""
    if isinstance(value, dict):
        return {name for key, part in value.items() for name in {before + "." + key} | keys_of(part, before + "." + key)}
    if isinstance(value, list):
        return {name for part in value for name in keys_of(part, before + "[]")}
    return set()


def tool_says(tool, *words):
    done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=180)
    expect("%s: %s" % (words, done.stderr), done.returncode, 0)
    return keys_of(json.loads(done.stdout), "tool " + words[0])


def names(program, tool):
    port = free_port()
    server = Server(program, "--maxmemory", "64mb", "--metrics-port", str(port))
    server.data = server.directory + "/data"
    os.mkdir(server.data)
    try:
        server.start()
        client = server.connect()
        client.mset({"key:%d" % i: "v" * 2000 for i in range(2000)})
        found = {"info " + name for name in client.info("everything")}
        told = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=180).read().decode()
        found |= {"metrics %s %s" % pair for pair in re.findall(r"(?m)^# TYPE (\S+) (\S+)$", told)}
        found |= {"history " + column for column in client.execute_command("HISTORY").decode().splitlines()[0].split(",")}
        server.stop()
        for words in (("info", "--json", server.data), ("check", "--json", server.data)):
            found |= tool_says(tool, *words)
    finally:
        server.clean_up()
    return {name for name in found if not PASSING.match(name)}


def main():
    program, tool, path = sys.argv[1:4]
    found = names(program, tool)
    if sys.argv[4:] == ["make"]:
        with open(path, "w") as file:
            file.writelines(name + "\n" for name in sorted(found))
        return
    with open(path) as file:
        promised = set(file.read().splitlines())
    expect("names that are promised", len(promised) > 200, True)
    expect("names that are gone", sorted(promised - found), [])


main()
