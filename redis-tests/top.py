#!/usr/bin/python3
"""sett-tool top beside a server that works: its figures are those of INFO, on a terminal it draws and ends by a key, and what goes wrong is one line.

    top.py SERVER TOOL"""
import os
import pty
import re
import select
import subprocess
import sys
import termios
import threading
import time
from own_server import Server, fail


def expect(what, seen, expected):
    if seen != expected:
        fail("%s: expected %r, got %r" % (what, expected, seen))


class Load(threading.Thread):
    """SETs and GETs until it is ended."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client = server.connect()
        self.ends = False

    def run(self):
        while not self.ends:
            self.client.set("busy", "x" * 5000)
            self.client.get("busy")


def pictures(server, tool):
    client = server.connect()
    with client.pipeline(transaction=False) as pipe:
        for i in range(2000):
            pipe.set("key%d" % i, "v" * 3000)
        pipe.execute()
    client.select(2)
    client.set("other", "y")
    load = Load(server)
    load.start()
    done = subprocess.run([tool, "top", "--socket", server.socket, "--count", "2"], capture_output=True, text=True, timeout=60)
    load.ends = True
    load.join()
    expect("exit", (done.returncode, done.stderr), (0, ""))
    expect("escapes", "\033" in done.stdout, False)
    both = done.stdout.split("Sett ")[1:]
    expect("pictures", len(both), 2)
    for picture in both:
        if not re.match(r"\S+, master, up 0d 00:0\d:\d\d, health ok\nkeys 2002, clients \d+ \(0 blocked\)", picture):
            fail("head: " + picture)
        rates = {row[0]: (float(row[1]), float(row[2])) for row in re.findall(r"(?m)^(set|get) +(\d+) +(\d+)%", picture)}
        expect("commands", sorted(rates), ["get", "set"])
        if min(calls for calls, _ in rates.values()) < 1 or not 70 <= sum(share for _, share in rates.values()) <= 101:
            fail("rates: %s" % rates)
        bars = re.findall(r"(?m)^(memory|disk|live data|garbage) .*\[#* *\] +\d+%$", picture)
        expect("bars", bars, ["memory", "disk", "live data", "garbage"])
    values = re.search(r"garbage +\S+ \S+ of +(\S+) MiB", both[1])
    if values is None or float(values[1]) < 2000 * 3000 / 2 ** 20:
        fail("value log: " + both[1])


def on_terminal(server, tool):
    """Draws, takes `q`, leaves the terminal as it was."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen([tool, "top", "--socket", server.socket], stdin=slave, stdout=slave, stderr=slave)
    seen, end, pressed = b"", time.monotonic() + 60, False
    while process.poll() is None and time.monotonic() < end:
        if select.select([master], [], [], 0.05)[0]:
            seen += os.read(master, 65536)
        if b"q ends it" in seen and not pressed:
            os.write(master, b"q")
            pressed = True
    while select.select([master], [], [], 0)[0]:
        seen += os.read(master, 65536)
    expect("exit on a terminal", process.poll(), 0)
    expect("the screen", (seen.startswith(b"\033[?1049h"), seen.rstrip().endswith(b"\033[?1049l"), b"\033[H\033[J" in seen),
           (True, True, True))
    expect("the terminal", termios.tcgetattr(slave), before)


def failures(server, tool):
    def one_line(arguments, text, **environment):
        done = subprocess.run([tool, "top", *arguments], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, **environment))
        expect(arguments, (done.returncode, done.stdout, done.stderr.count("\n"), text in done.stderr), (2, "", 1, True))

    one_line(["--socket", server.socket + ".not"], "No such file or directory")
    one_line(["--port", "1"], "Connection refused")
    one_line(["--seconds", "0"], "--seconds takes a number")
    one_line(["x"], "options alone")
    server.connect().config_set("requirepass", "secret")
    one_line(["--socket", server.socket], "NOAUTH")
    one_line(["--socket", server.socket], "WRONGPASS", REDISCLI_AUTH="wrong")
    done = subprocess.run([tool, "top", "--socket", server.socket, "--count", "1"], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, REDISCLI_AUTH="secret"))
    expect("with the password", (done.returncode, "health ok" in done.stdout), (0, True))


def main():
    program, tool = sys.argv[1:]
    server = Server(program)
    try:
        server.start()
        pictures(server, tool)
        on_terminal(server, tool)
        failures(server, tool)
    finally:
        server.clean_up()


main()
