"""How one gets in: `bind` and `port` that change while clients are there, sockets that the service manager passes, the mode of the
unix socket; what is said to syslog, and what in a crash.

    doors.py SERVER [no-crash]"""
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import redis
from own_server import Server, expect, fail, free_port, wait_until

TIMEOUT = 180


def listen(host, port=0):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, port))
    s.listen(16)
    return s


def answers(host, port):
    try:
        with socket.create_connection((host, port), TIMEOUT) as s:
            s.sendall(b"PING\r\n")
            return s.recv(7) == b"+PONG\r\n"
    except ConnectionError:
        return False


def refused(control, error, **settings):
    try:
        control.config_set(*[part for item in settings.items() for part in item])
    except redis.ResponseError as refusal:
        expect("%s: %s" % (settings, refusal), error in str(refusal))
        return
    fail("%s is taken" % settings)


def change_addresses(program):
    port = free_port()
    server = Server(program, "--bind", "127.0.0.1", "--port", port)
    server.start()
    try:
        control = server.connect(TIMEOUT)
        stays = socket.create_connection(("127.0.0.1", port), TIMEOUT)

        def served(*hosts):
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                expect("%s, %s" % (host, hosts), answers(host, port) == (host in hosts))
            stays.sendall(b"PING\r\n")
            expect("a connection that was there", stays.recv(7) == b"+PONG\r\n")
        served("127.0.0.1")
        control.config_set("bind", "127.0.0.1 127.0.0.2")
        served("127.0.0.1", "127.0.0.2")
        control.config_set("bind", "127.0.0.2 -192.0.2.77")  # one that this machine has not, and need not have
        served("127.0.0.2")
        refused(control, "Failed to bind to specified addresses.", bind="127.0.0.2 192.0.2.77")
        served("127.0.0.2")
        control.config_set("bind", "*")
        served("127.0.0.1", "127.0.0.2", "127.0.0.3")
        for same in ("-0.0.0.0", "127.0.0.1", "-127.0.0.1", "127.1", "127.0.0.1"):
            control.config_set("bind", same)
            expect("another word for it: " + same, answers("127.0.0.1", port))
        served("127.0.0.1")
        for addresses in ("127.0.0.1 127.1", "* 127.0.0.1", "127.0.0.2 0.0.0.0"):
            refused(control, "Failed to bind to specified addresses.", bind=addresses)  # one is in the other's way
        served("127.0.0.1")
        # Somebody else listens on one of the addresses that are asked for, or of all addresses.
        with listen("127.0.0.3", port):
            for addresses in ("127.0.0.1 127.0.0.3", "127.0.0.3", "*", "* -::*", "127.0.0.2 0.0.0.0"):
                refused(control, "Failed to bind to specified addresses.", bind=addresses)
                expect("bind is kept", control.config_get("bind")["bind"] == "127.0.0.1")
                expect("the old address", answers("127.0.0.1", port) and not answers("127.0.0.2", port))
        served("127.0.0.1")
        control.config_set("bind", "* -::*")
        served("127.0.0.1", "127.0.0.2", "127.0.0.3")
        with listen("127.0.0.1") as busy:
            refused(control, "Unable to listen on this port. Check server logs.", port=busy.getsockname()[1])
        served("127.0.0.1", "127.0.0.2", "127.0.0.3")
        control.config_set("port", 0)
        served()
        control.config_set("bind", "127.0.0.1", "port", port)
        served("127.0.0.1")
        hammer(control, port)
        refusals_disturb_nobody(control, port)
    finally:
        server.clean_up()


def hammer(control, port):
    """Connects go on while addresses change: who gets through is served."""
    end = time.monotonic() + 2
    count = 0
    while time.monotonic() < end:
        control.config_set("bind", ("127.0.0.1 127.0.0.2", "*", "127.0.0.1")[count % 3])
        expect("an address that stays", answers("127.0.0.1", port))
        count += 1


def refusals_disturb_nobody(control, port):
    """Addresses that can't be had are asked for again and again: the old one takes connections all the time."""
    end = time.monotonic() + 2
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            refused(control, "Failed to bind to specified addresses.", bind="* 192.0.2.77")

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        while time.monotonic() < end:
            expect("the old address, while others are refused", answers("127.0.0.1", port))
    finally:
        stop.set()
        asker.join()
    expect("bind is kept", control.config_get("bind")["bind"] in ("*", "127.0.0.1", "127.0.0.1 127.0.0.2"))


def passed_sockets(program):
    """As systemd does for a .socket unit: a TCP socket and a unix socket that listen already."""
    server = Server(program, "--bind", "127.0.0.1")
    path = server.directory + "/passed"
    tcp = listen("127.0.0.1")
    port = tcp.getsockname()[1]
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen(16)

    def hand_over():
        copies = [os.dup(s.fileno()) for s in (tcp, unix)]
        high = [os.dup2(fd, 200 + i) for i, fd in enumerate(copies)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)

    def start(process, *options):
        script = "LISTEN_PID=%s exec \"$@\"" % process
        return subprocess.Popen(["/bin/sh", "-c", script, "sh", program, "--dir", server.directory, "--bind", "127.0.0.1",
                                 "--logfile", server.directory + "/log", *options], preexec_fn=hand_over, close_fds=False,
                                env=dict(os.environ, LISTEN_FDS="2"), stdout=subprocess.DEVNULL)
    # The port is taken by the socket that is passed: the server would not come up if it opened its own.
    running = start("$$", "--port", str(port), "--unixsocket", server.directory + "/not-opened")
    try:
        wait_until("a passed TCP socket", lambda: answers("127.0.0.1", port))
        client = redis.Redis(unix_socket_path=path, socket_timeout=TIMEOUT)
        expect("a passed unix socket", client.ping())
        shown = [c["laddr"] for c in client.client_list()]
        expect("it is shown by its path: %s" % shown, path + ":0" in shown)
        expect("the configured one is not opened", not os.path.exists(server.directory + "/not-opened"))
        refused(client, "The service manager has passed the sockets", bind="127.0.0.2")
        refused(client, "The service manager has passed the sockets", port="1")
        client.config_set("bind", "127.0.0.1", "port", port)
        running.terminate()
        expect("a clean end", running.wait(TIMEOUT) == 0)
        expect("the file stays the manager's", os.path.exists(path))
        # Another process is meant: it opens its own, and the port is taken.
        running = start("1", "--port", str(port))
        expect("sockets for another process are taken", running.wait(TIMEOUT) == 1)
        # What is no socket that listens ends the start.
        unix.close()
        unix = socket.socket(socket.AF_UNIX)
        running = start("$$", "--port", str(port))
        expect("a socket that does not listen", running.wait(TIMEOUT) == 1)
        with open(server.directory + "/log") as log:
            expect("the reason", "LISTEN_FDS: descriptor 4 is no stream socket that listens" in log.read())
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
        server.clean_up()


def unix_mode(program):
    for mode in ("700", "777"):
        server = Server(program, "--unixsocketperm", mode)
        server.start()
        try:
            expect("unixsocketperm " + mode, stat.S_IMODE(os.stat(server.socket).st_mode) == int(mode, 8))
        finally:
            server.clean_up()


def syslog(program):
    """Where nobody else is the system's logger. True: it was looked at."""
    if os.path.exists("/dev/log") or not os.access("/dev", os.W_OK):
        return False
    logger = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    logger.bind("/dev/log")
    logger.settimeout(TIMEOUT)
    try:
        server = Server(program, "--syslog-enabled", "yes", "--syslog-ident", "sett-ident", "--syslog-facility", "local3")
        server.start()
        try:
            lines = []
            while not lines or "Ready to accept connections" not in lines[-1]:
                lines.append(logger.recv(4096).decode().rstrip("\0"))
            local3, notice = 19, 5
            expect("facility and priority: " + lines[-1], lines[-1].startswith("<%d>" % (local3 * 8 + notice)))
            expect("ident and process: " + lines[-1], "sett-ident[%d]: Ready to accept" % server.process.pid in lines[-1])
        finally:
            server.clean_up()
    finally:
        os.unlink("/dev/log")
        logger.close()
    return True


def crash(program):
    """DEBUG runs on the pool."""
    for enabled in ("yes", "no"):
        server = Server(program, "--enable-debug-command", "yes", "--crash-log-enabled", enabled, "--logfile", "crash.log")
        server.options[-1] = server.directory + "/crash.log"
        server.start()
        try:
            try:
                server.connect(TIMEOUT).execute_command("DEBUG", "SEGFAULT")
                fail("DEBUG SEGFAULT has a reply")
            except redis.ConnectionError:
                pass
            expect("it ends by the signal", server.process.wait(TIMEOUT) == -signal.SIGSEGV)
            with open(server.options[-1]) as log:
                text = log.read()
            begun = text.find("=== SETT BUG REPORT START")
            expect("crash-log-enabled " + enabled, (begun >= 0) == (enabled == "yes"))
            if begun < 0:
                continue
            for part in ("crashed by signal: 11", ", pool-long", "------ STACK TRACE ------", "(+0x", "BUG REPORT END"):
                begun = text.find(part, begun)
                expect("the report has %s: %s" % (part, text), begun >= 0)
        finally:
            server.clean_up()


def main():
    program = sys.argv[1]
    if "no-crash" not in sys.argv:  # a sanitizer has its own report
        crash(program)
    change_addresses(program)
    passed_sockets(program)
    unix_mode(program)
    print("doors: all well" + ("" if syslog(program) else "; syslog is another's, and was not looked at"))


main()
