#!/usr/bin/python3
"""sett-tool top beside a server that works: its figures are those of INFO, on a terminal it draws within it and
ends by a key, and what goes wrong is one line.

    top.py SERVER TOOL"""
import fcntl
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from own_server import Server, expect, fail


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
    done = subprocess.run([tool, "top", "--socket", server.socket, "--count", "2"], capture_output=True, text=True, timeout=180)
    load.ends = True
    load.join()
    expect("exit", (done.returncode, done.stderr), (0, ""))
    expect("escapes", "\033" in done.stdout, False)
    both = done.stdout.split("Sett ")[1:]
    expect("pictures", len(both), 2)
    for picture in both:
        if not re.match(r"\S+, master, up 0d 00:0\d:\d\d, health ok\nkeys 2002, clients \d+ \(0 blocked\)", picture):
            fail("head: " + picture)
        rates = {row[0]: (float(row[1]), float(row[2])) for row in re.findall(r"(?m)^(\w+) +(\d+) +(\d+)% +\d", picture)}
        # INFO, which top itself asks for, may have much of the time where others want the processor.
        expect("commands", sorted(rates), ["get", "info", "set"])
        if min(rates["get"] + rates["set"]) < 1 or not 97 <= sum(share for _, share in rates.values()) <= 103:
            fail("rates: %s" % rates)
        bars = re.findall(r"(?m)^(memory|disk|live data|garbage) .*\[#* *\] +\d+%$", picture)
        expect("bars", bars, ["memory", "disk", "live data", "garbage"])
    values = re.search(r"garbage +\S+ \S+ of +(\S+) MiB", both[1])
    if values is None or float(values[1]) < 2000 * 3000 / 2 ** 20:
        fail("value log: " + both[1])


class Terminal:
    """The tool on a terminal; everything that it writes is in `seen`."""

    def __init__(self, tool, arguments, rows=0, columns=0):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process = subprocess.Popen([tool, "top", *arguments], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def read_until(self, is_enough):
        end = time.monotonic() + 180
        while not is_enough() and time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536)

    def wait_for(self, text):
        self.read_until(lambda: text in self.seen)

    def press(self, keys):
        os.write(self.master, keys)

    def expect_end(self, what, code):
        self.read_until(lambda: self.process.poll() is not None)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        expect(what + ": exit", self.process.poll(), code)
        expect(what + ": the screen", (self.seen.startswith(b"\033[?1049h"), self.seen.count(b"\033[?1049l")), (True, 1))
        expect(what + ": the terminal", termios.tcgetattr(self.slave), self.before)
        return self.seen.split(b"\033[?1049l")[1].decode()


def on_terminal(server, tool):
    """Draws, takes `q` and no other key, leaves the terminal as it was."""
    terminal = Terminal(tool, ["--socket", server.socket])
    terminal.wait_for(b"q ends it")
    terminal.press(b"\x1a\x1cx")
    drawn = terminal.seen.count(b"\033[H")
    terminal.read_until(lambda: terminal.seen.count(b"\033[H") > drawn)
    terminal.press(b"q")
    expect("after the end", terminal.expect_end("on a terminal", 0), "")


def on_a_small_terminal(server, tool):
    """Nothing scrolls: commands are left out first, and what is too wide is cut."""
    client = server.connect()
    terminal = Terminal(tool, ["--socket", server.socket], 24, 60)
    pictures = 0
    while terminal.seen.count(b"\033[J") < 3 and pictures < 3000:
        pictures += 1
        for command in ["GET", "STRLEN", "TTL", "TYPE", "EXISTS", "LLEN", "SCARD", "ZCARD", "HLEN", "XLEN", "PTTL"]:
            client.execute_command(command, "none")
        terminal.read_until(lambda: True)
        if select.select([terminal.master], [], [], 0.05)[0]:
            terminal.seen += os.read(terminal.master, 65536)
    terminal.press(b"q")
    terminal.expect_end("on a small terminal", 0)
    last = terminal.seen.split(b"\033[J")[-2].split(b"\033[H")[1].decode().replace("\033[K", "").split("\r\n")
    if not (last[0].startswith("Sett ") and last[-1] == "q ends it" and 20 <= len(last) <= 24):
        fail("on a small terminal: %s" % last)
    expect("the widest line", max(len(line) for line in last), 60)
    if not any(re.match(r"and [1-9]\d* others$", line) for line in last):
        fail("no command is left out: %s" % last)


def a_server_that_goes(program, tool):
    """What goes wrong is printed where it stays."""
    server = Server(program)
    try:
        server.start()
        terminal = Terminal(tool, ["--socket", server.socket])
        terminal.wait_for(b"q ends it")
    finally:
        server.clean_up()
    text = terminal.expect_end("a server that goes", 2)
    if not re.fullmatch(r"sett-tool: (reading from|asking) the server: [^\n]+\r\n", text):
        fail("a server that goes: %r" % text)


def fake_server(answers):
    """Answers each request with the next of these; then it is silent. Gives its port, and an event that says so."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_silent = threading.Event()

    def run():
        client, _ = listener.accept()
        for answer in answers:
            client.recv(4096)
            try:
                client.sendall(answer)
            except OSError:
                return
        while client.recv(4096):
            is_silent.set()

    threading.Thread(target=run, daemon=True).start()
    return str(listener.getsockname()[1]), is_silent


def bulk(text):
    return b"$%d\r\n%s\r\n" % (len(text), text)


def hostile_servers(tool):
    def run(answers):
        done = subprocess.run([tool, "top", "--port", fake_server(answers)[0], "--count", "1"], capture_output=True, timeout=180)
        if re.search(rb"[^\n -~]", done.stdout + done.stderr) or len(done.stdout) > 100000:
            fail("hostile: %r" % done.stdout[:1000])
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def show(figure):
        lines = b"".join(name + b":" + figure + b"\r\n"
                         for name in [b"used_memory_rss", b"disk_bytes", b"uptime_in_seconds", b"log_bytes"])
        info = b"sett_version:\033[2J\x9b\r\nrole:\x07\r\nmemory_budget:1\r\nmaxdisk:-1\r\n" + lines + \
            b"cmdstat_\033c:calls=" + figure + b",usec=" + figure + b"\r\n"
        code, text, why = run([bulk(b"sett_version:1\r\n"), bulk(info)])
        return code, "Sett ?[2J?, ?, up" in text, why

    figures = [b"-1e6", b"-1e12", b"nan", b"inf", b"-inf", b"1e300", b"-1", b"0x1p1023"]
    with ThreadPoolExecutor(len(figures)) as threads:
        for figure, seen in zip(figures, threads.map(show, figures)):
            expect(figure, seen, (0, True, ""))
    expect("an error", run([b"-ERR \033[2J\r\n"]), (2, "", "sett-tool: the server: ERR ?[2J\n"))
    long_line = run([b"+" + b"x" * 4000000])
    expect("a line without an end", (long_line[0], "does not speak" in long_line[2]), (2, True))


def ended_while_it_asks(tool):
    port, is_silent = fake_server([bulk(b"role:master\r\n")])
    terminal = Terminal(tool, ["--port", port])
    terminal.read_until(is_silent.is_set)
    terminal.process.terminate()
    expect("ended while it asks", terminal.expect_end("ended while it asks", 0), "")


def failures(server, tool):
    def one_line(arguments, text, **environment):
        done = subprocess.run([tool, "top", *arguments], capture_output=True, text=True, timeout=180,
                              env=dict(os.environ, **environment))
        expect(arguments, (done.returncode, done.stdout, done.stderr.count("\n"), text in done.stderr), (2, "", 1, True))

    one_line(["--socket", server.socket + ".not"], "No such file or directory")
    one_line(["--port", "1"], "Connection refused")
    one_line(["--port", "not-a-port"], "127.0.0.1: ")
    one_line(["--seconds", "0"], "--seconds takes a number")
    one_line(["x"], "options alone")
    server.connect().config_set("requirepass", "secret")
    one_line(["--socket", server.socket], "NOAUTH")
    one_line(["--socket", server.socket], "WRONGPASS", REDISCLI_AUTH="wrong")
    done = subprocess.run([tool, "top", "--socket", server.socket, "--count", "1"], capture_output=True, text=True, timeout=180,
                          env=dict(os.environ, REDISCLI_AUTH="secret"))
    expect("with the password", (done.returncode, "health ok" in done.stdout), (0, True))


def main():
    program, tool = sys.argv[1:]
    server = Server(program)
    try:
        server.start()
        pictures(server, tool)
        on_terminal(server, tool)
        on_a_small_terminal(server, tool)
        a_server_that_goes(program, tool)
        hostile_servers(tool)
        ended_while_it_asks(tool)
        failures(server, tool)
    finally:
        server.clean_up()


main()
