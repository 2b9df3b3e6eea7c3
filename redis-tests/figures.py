#!/usr/bin/python3
"""The history of figures: what HISTORY returns is what was done, a kill takes nothing back, a damaged file holds up no start, `history no` keeps
none; and sett-tool plot draws it, of a server and of a directory.

    figures.py SERVER TOOL"""
import os
import re
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
import redis
from own_server import Server, expect, fail, wait_until

FILE = "sett-history"


def history(client, *arguments):
    """The rows, each by the columns' names."""
    lines = client.execute_command("HISTORY", *arguments).decode().splitlines()
    names = lines[0].split(",")
    return [dict(zip(names, map(int, line.split(",")))) for line in lines[1:]]


def total(rows, name):
    return sum(row[name] for row in rows)


def wait_for_rows(client, count):
    wait_until("no samples", lambda: len(history(client, 600)) >= count)


def what_was_done(client):
    wait_for_rows(client, 1)
    before = history(client, 600)
    began = time.time()
    with client.pipeline(transaction=False) as pipe:
        for i in range(3000):
            pipe.set("key%d" % i, "v" * 3000)
            pipe.get("key%d" % i)
            pipe.get("absent")
        pipe.execute()
    try:
        client.lpush("key1", "x")
        fail("a list in a string")
    except redis.ResponseError:
        pass

    def is_there():
        rows = history(client, 600)
        return total(rows, "hits") >= 3000 and total(rows, "errors") >= 1

    wait_until("what was done is not there", is_there)
    rows = history(client, 600)
    expect("what was there stays", rows[:len(before)], before)
    done = rows[len(before):]
    if not 9001 <= total(done, "commands") <= 9001 + 100 * len(done) + 1000:
        fail("commands: %s" % done)
    expect("hits, misses, errors", [total(done, name) for name in ("hits", "misses", "errors")], [3000, 3000, 1])
    if total(done, "bytes_in") < 9000000 or total(done, "bytes_out") < 9000000 or total(done, "bytes_written") < 9000000:
        fail("bytes: %s" % done)
    if total(done, "cpu_usec") < 1000:
        fail("cpu: %s" % done)
    busiest = max(done, key=lambda row: row["commands"])
    if not 0 < busiest["p50_nsec"] <= busiest["p99_nsec"] <= busiest["p99.9_nsec"]:
        fail("latencies: %s" % busiest)
    last = done[-1]
    info = client.info("everything")
    expect("the limits", (last["memory_limit"], last["disk_limit"]), (info["memory_budget"], info["maxdisk"]))
    if last["clients"] < 1 or last["resident_bytes"] < 1 << 20 or last["value_log_bytes"] < 9000000 or \
       last["disk_bytes"] < last["value_log_bytes"]:
        fail("states: %s" % last)
    times = [row["time_ms"] for row in rows]
    if times != sorted(times) or abs(times[-1] / 1000 - time.time()) > 60 or times[-1] / 1000 < began:
        fail("times: %s" % times)
    for row in rows:
        if not 0 < row["span_ms"] < 60000:
            fail("span: %s" % row)
    since = int(time.time() * 1000) - 1000
    expect("a shorter time", [row for row in history(client, 1) if row["time_ms"] < since], [])


def refusals(client):
    for wrong in ("0", "86401", "x", "-1"):
        try:
            client.execute_command("HISTORY", wrong)
            fail("HISTORY " + wrong)
        except redis.ResponseError as error:
            expect("HISTORY " + wrong, str(error), "seconds must be from 1 to 86400")
    client.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@all", "-@dangerous")
    expect("who may", client.execute_command("ACL", "DRYRUN", "reader", "HISTORY"),
           b"This user has no permissions to run the 'history' command")


def kills_and_damage(server, client):
    before = history(client, 600)
    server.kill()
    server.start()
    client = server.connect()
    expect("after a kill", history(client, 600)[:len(before)], before)
    wait_for_rows(client, len(before) + 1)
    path = server.data + "/" + FILE
    size = os.path.getsize(path)
    expect("its size", 1000000 < size < 2000000, True)
    # One sample is damaged: that one is absent.
    server.stop()
    place = places(path)[before[0]["time_ms"]]
    with open(path, "r+b") as file:
        file.seek(place + 40)
        byte = file.read(1)
        file.seek(place + 40)
        file.write(bytes([byte[0] ^ 1]))
    server.start()
    client = server.connect()
    expect("a damaged sample", [row for row in history(client, 600) if row in before], before[1:])
    # The rest: begun again.
    for damage in (b"", b"x" * 100, b"\0" * size, os.urandom(size)):
        server.stop()
        with open(path, "wb") as file:
            file.write(damage)
        server.start()
        client = server.connect()
        wait_for_rows(client, 1)
        expect("begun again", (os.path.getsize(path), len(history(client, 600)) < 30), (size, True))
    # A file that can't be made is no reason not to start.
    server.stop()
    os.unlink(path)
    os.mkdir(path)
    server.start()
    client = server.connect()
    expect("no file", (client.ping(), history(client, 600)), (True, []))
    server.stop()
    os.rmdir(path)
    server.start()
    return server.connect()


def places(path):
    """Where the samples of the first tier are, by their times."""
    with open(path, "rb") as file:
        data = file.read()
    size = (32 + 3) * 8
    return {int.from_bytes(data[place:place + 8], "little"): place for place in range(64, 64 + 3600 * size, size)}


def switched(program):
    server = Server(program, "--history", "no")
    try:
        server.start()
        client = server.connect()
        time.sleep(1.5)  # it would take a sample at the next second
        expect("switched off", (history(client), os.path.exists(server.data + "/" + FILE)), ([], False))
        client.config_set("history", "yes")
        wait_for_rows(client, 1)
        client.config_set("history", "no")
        expect("CONFIG GET", client.config_get("history"), {"history": "no"})
        wait_for_rows(client, 1)
    finally:
        server.clean_up()


def cut_meanwhile(server, client):
    """A file that somebody cuts while the server runs has no samples behind its end: that is no damage to the database."""
    wait_for_rows(client, 1)
    os.truncate(server.data + "/" + FILE, 200)
    history(client, 600)
    wait_for_rows(client, 1)
    server.stop()
    server.start()


def picture(tool, *arguments):
    done = subprocess.run([tool, "plot", *arguments], capture_output=True, text=True, timeout=180)
    expect("plot %s" % (arguments,), (done.returncode, done.stderr), (0, ""))
    root = xml.fromstring(done.stdout)
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for title in ("Commands", "Latency of commands", "Memory", "Disk", "Tables, by level", "Value log", "Connections"):
        if title not in texts:
            fail("no panel %s: %s" % (title, texts))
    if not any(re.search(r"commands [\d.]+k?/s.*errors ", text) for text in texts):
        fail("no legend: %s" % texts)
    drawn = [path.get("d") for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("class") == "line"]
    for path in drawn:
        for x, y in re.findall(r"[ML](\S+) ([\d.]+)", path):
            if not (0 <= float(x) <= 1208 and 0 <= float(y) <= 1024):
                fail("outside of the picture: %s %s" % (x, y))
    expect("lines that are drawn", sum("L" in path for path in drawn) > 10, True)
    return texts


def strange_times(server, tool, time_ms):
    """A server that answers HISTORY with such a time: a picture or an error, but no crash, and no loop."""
    path = server.directory + "/strange"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        process = subprocess.Popen([tool, "plot", "--socket", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        listener.settimeout(180)
        connection = listener.accept()[0]
        connection.recv(1000)
        text = ("time_ms,span_ms,commands\n%s,1000,1\n" % time_ms).encode()
        connection.sendall(b"$%d\r\n%s\r\n" % (len(text), text))
        connection.close()
    os.unlink(path)
    try:
        process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        process.kill()
        fail("a time of %s: it does not end" % time_ms)
    expect("a time of %s" % time_ms, process.returncode in (0, 2), True)


def pictures(server, client, tool):
    wait_for_rows(client, 3)
    for time_ms in ("1e301", "18000000000000000000", "9007199254740992", "-5", "nan"):
        strange_times(server, tool, time_ms)
    of = server.socket
    expect("of a server", of in picture(tool, "--socket", of)[0], True)
    picture(tool, "--last", "1d", server.data)
    picture(tool, "--last", "30m", server.data)
    server.stop()
    expect("of a directory", server.data in picture(tool, "--last", "90s", server.data)[0], True)
    name = server.directory + "/out.svg"
    done = subprocess.run([tool, "plot", "--output", name, server.data], capture_output=True, text=True, timeout=180)
    expect("into a file", (done.returncode, done.stdout, done.stderr), (0, "", ""))
    xml.parse(name)

    def refused(text, *arguments):
        done = subprocess.run([tool, "plot", *arguments], capture_output=True, text=True, timeout=180)
        expect(arguments, (done.returncode, done.stdout, done.stderr.count("\n"), text in done.stderr), (2, "", 1, True))

    refused("--last takes a time", "--last", "2d", server.data)
    refused("--last takes a time", "--last", "1x", server.data)
    refused("neither a directory nor", server.data + "/" + FILE)
    refused("Connection refused", "127.0.0.1:1")
    refused("one server or directory", server.data, "x:1")
    os.unlink(server.data + "/" + FILE)
    refused(FILE, server.data)
    with open(server.data + "/" + FILE, "wb") as file:
        file.write(b"x" * 1000)
    refused("no file of figures", server.data)


def main():
    program, tool = sys.argv[1:]
    server = Server(program)
    try:
        server.start()
        client = server.connect()
        what_was_done(client)
        refusals(client)
        client = kills_and_damage(server, client)
        cut_meanwhile(server, client)
        pictures(server, client, tool)
    finally:
        server.clean_up()
    switched(program)


main()
