"""TLS: who gets in and who does not, large values both ways, reloads, and handshakes that are slow, broken or many, which hold
up nobody. The certificates are made here, by openssl.

    tls.py SERVER"""
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import redis
from certificates import Certificates
from own_server import Server, expect, fail, free_port, wait_until

TIMEOUT = 180
warnings.simplefilter("ignore", DeprecationWarning)  # old protocols are named to be refused


class Test:
    def __init__(self, program):
        self.certificates = Certificates()
        self.server = Server(program, *self.certificates.server_options(), "--enable-debug-command", "yes")
        self.server.start()
        self.control = self.server.connect(TIMEOUT)
        self.port = self.open_port()

    def open_port(self):
        port = free_port()
        self.control.config_set("tls-port", port)
        return port

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT)

    def connect(self, context=None, session=None):
        context = context or self.certificates.context()
        s = self.raw()
        return context.wrap_socket(s, session=session)

    def client(self, name="client", **options):
        pair = {} if name is None else {"ssl_certfile": self.certificates(name + ".crt"),
                                        "ssl_keyfile": self.certificates(name + ".key")}
        return redis.Redis(port=self.port, ssl=True, ssl_ca_certs=self.certificates("ca.crt"), ssl_check_hostname=False,
                           socket_timeout=TIMEOUT, **pair, **options)

    def set(self, **settings):
        self.control.config_set(*[part for item in settings.items() for part in (item[0].replace("_", "-"), item[1])])

    def refuses(self, what, context, text):
        """Whether a client with this context gets no reply."""
        try:
            with self.connect(context) as s:
                s.sendall(b"PING\r\n")
                expect(what + " gets a reply", s.recv(1) == b"")
        except (ssl.SSLError, ConnectionError) as error:
            expect("%s: %s" % (what, error), text in str(error) or isinstance(error, ConnectionError))

    def clients(self):
        return self.control.info("clients")["connected_clients"]


def receive(s, size):
    parts = []
    while size > 0:
        part = s.recv(min(size, 1 << 20))
        if not part:
            fail("the connection has ended, %d bytes are missing" % size)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def ask(s, request, reply):
    s.sendall(request)
    got = receive(s, len(reply))
    expect("%r gets %r" % (request, got), got == reply)


def admission(t):
    expect("a client with a certificate", t.client().ping())
    t.refuses("a client without a certificate", t.certificates.context(None), "certificate required")
    t.refuses("a client of another authority", t.certificates.context("stranger"), "unknown ca")
    for words in ("no", "optional"):
        t.set(tls_auth_clients=words)
        expect("tls-auth-clients " + words, t.client(None).ping() and t.client().ping())
    t.refuses("a stranger, optional", t.certificates.context("stranger"), "unknown ca")
    t.set(tls_auth_clients="yes")
    t.refuses("a client without a certificate", t.certificates.context(None), "certificate required")
    try:
        t.connect(t.certificates.context("client", "other-ca"))
        fail("a client with another authority accepts the server")
    except ssl.SSLCertVerificationError:
        pass
    with t.raw() as s:
        s.sendall(b"PING\r\n" * 20)
        expect("plain text gets a reply", not b"PONG" in b"".join(iter(lambda: take(s), b"")))


def take(s):
    try:
        return s.recv(4096)
    except ConnectionError:
        return b""


def protocols(t):
    def of(version):
        context = t.certificates.context()
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        return context
    t.refuses("TLS 1.1", of(ssl.TLSVersion.TLSv1_1), "version")
    for setting, version, got in (("TLSv1.2", ssl.TLSVersion.TLSv1_3, "TLSv1.2"), ("TLSv1.3", ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        t.set(tls_protocols=setting)
        with t.connect(of(version)) as s:
            expect("tls-protocols " + setting, s.version() == got)
            ask(s, b"PING\r\n", b"+PONG\r\n")
    t.refuses("TLS 1.2", of(ssl.TLSVersion.TLSv1_2), "version")
    t.set(tls_protocols="TLSv1.2", tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
          tls_prefer_server_ciphers="yes")
    context = of(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
    with t.connect(context) as s:
        expect("tls-prefer-server-ciphers", s.cipher()[0] == "ECDHE-ECDSA-AES128-GCM-SHA256")
    t.set(tls_protocols="", tls_ciphers="", tls_prefer_server_ciphers="no", tls_ciphersuites="TLS_AES_128_GCM_SHA256")
    with t.connect() as s:
        expect("tls-ciphersuites", s.cipher()[0] == "TLS_AES_128_GCM_SHA256")
    t.set(tls_ciphersuites="")


def sessions(t):
    context = t.certificates.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for caching in ("yes", "no"):
        t.set(tls_session_caching=caching)
        with t.connect(context) as s:
            ask(s, b"PING\r\n", b"+PONG\r\n")
            session = s.session
        with t.connect(context, session) as s:
            ask(s, b"PING\r\n", b"+PONG\r\n")
            expect("tls-session-caching %s: reused %s" % (caching, s.session_reused), s.session_reused == (caching == "yes"))
    t.set(tls_session_caching="yes")


def settings(t):
    c = t.certificates
    t.set(tls_key_file=c("locked.key"), tls_key_file_pass="secret", tls_dh_params_file=c("dh"), tls_ca_cert_file="",
          tls_ca_cert_dir=c("cas"), tls_client_cert_file=c("client.crt"), tls_client_key_file=c("client.key"))
    expect("a locked key, a folder of authorities", t.client().ping())
    for name, value in (("tls-key-file-pass", "wrong"), ("tls-cert-file", "/nonexistent"), ("tls-key-file", c("client.key")),
                        ("tls-ca-cert-file", c("server.key")), ("tls-protocols", "TLSv1.2 SSLv3"), ("tls-ciphers", "none"),
                        ("tls-ciphersuites", "none"), ("tls-dh-params-file", c("ca.crt")), ("tls-ca-cert-dir", ""),
                        ("tls-client-key-file", c("server.key"))):
        before = t.control.config_get(name)
        try:
            t.control.config_set(name, value)
            fail("%s takes %s" % (name, value))
        except redis.ResponseError as error:
            expect("%s: %s" % (name, error), str(error) == "CONFIG SET failed (possibly related to argument '%s') - Unable to "
                   "update TLS configuration. Check server logs." % name)
        expect(name + " is kept", t.control.config_get(name) == before and t.client().ping())
    t.set(tls_key_file=c("server.key"), tls_key_file_pass="", tls_dh_params_file="", tls_ca_cert_file=c("ca.crt"),
          tls_ca_cert_dir="", tls_client_cert_file="", tls_client_key_file="")


def large_values(t):
    value = os.urandom(1 << 16) * (24 << 4)
    client = t.client()
    client.set("large", value)
    expect("a large value", client.get("large") == value)
    expect("a part of it", client.getrange("large", 12345678, 13345678) == value[12345678:13345679])
    client.rpush("list", *[b"%06d" % i * 100 for i in range(20000)])
    expect("a long list", client.lrange("list", 0, -1) == [b"%06d" % i * 100 for i in range(20000)])
    pipe = client.pipeline(transaction=False)
    for i in range(50000):
        pipe.set("key:%d" % (i % 1000), "x" * (i % 300))
        pipe.get("key:%d" % (i % 1000))
    replies = pipe.execute()
    expect("a pipeline", all(len(replies[i * 2 + 1]) == i % 300 for i in range(50000)))
    # All is written before anything is read: 64 MiB of replies, and what is left of the requests.
    with t.connect() as s:
        writer = threading.Thread(target=lambda: s.sendall(b"GET large\r\n" * 3 + b"GET key:299\r\n" * 200000))
        writer.start()
        writer.join(TIMEOUT * 2)
        expect("a client that writes first is stuck", not writer.is_alive())
        for _ in range(3):
            expect("length", receive(s, 11) == b"$%d\r\n" % len(value))
            expect("a large value, late", receive(s, len(value) + 2) == value + b"\r\n")
        size = len(client.get("key:299"))
        one = b"$%d\r\n" % size + b"x" * size + b"\r\n"
        expect("the rest", receive(s, len(one) * 200000) == one * 200000)
    client.flushall()


def endings(t):
    """Half-closed connections, killed ones, and those of which nothing more comes."""
    with t.connect() as s:
        s.sendall(b"SET a b\r\n" + b"GET a\r\n" * 1000)
        socket.socket.shutdown(s, socket.SHUT_WR)  # TCP alone, as many clients do
        expect("replies after the end", receive(s, 5 + 7000) == b"+OK\r\n" + b"$1\r\nb\r\n" * 1000 and s.recv(1) == b"")
    with t.connect() as s:
        ask(s, b"CLIENT ID\r\n", b":")
        number = b""
        while not number.endswith(b"\r\n"):
            number += receive(s, 1)
        t.control.client_kill_filter(_id=int(number))
        expect("a killed client reads on", take(s) == b"")
    with t.connect() as s:
        s.sendall(b"BLPOP none 0\r\n")
        wait_until("nobody blocks", lambda: t.control.info("clients")["blocked_clients"] == 1)
    wait_until("a client that left blocks on", lambda: t.control.info("clients")["blocked_clients"] == 0)
    with t.connect() as s:
        # What follows the blocked request lies in OpenSSL's buffer when it ends.
        s.sendall(b"BLPOP list 0\r\nPING\r\n" + b"PING\r\n")
        wait_until("nobody blocks", lambda: t.control.info("clients")["blocked_clients"] == 1)
        t.control.rpush("list", "x")
        expected = b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n+PONG\r\n+PONG\r\n"
        expect("what follows a blocked request", receive(s, len(expected)) == expected)
    with t.connect() as s:
        ask(s, b"QUIT\r\n", b"+OK\r\n")
        expect("QUIT ends", take(s) == b"")
    before = int(t.control.config_get("maxclients")["maxclients"])

    def is_refused():
        t.set(maxclients=t.clients())  # those above may still be leaving
        try:
            t.connect().close()
        except (ssl.SSLError, ConnectionError):
            return True
        return False

    wait_until("maxclients lets one more in", is_refused)
    t.set(maxclients=before)


def hello(t):
    """The first bytes of a client: a memory BIO's, and the object that goes on with them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = t.certificates.context().wrap_bio(incoming, outgoing)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return tls, incoming, outgoing


def finish(tls, incoming, s, byte_by_byte, outgoing):
    while True:
        try:
            tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        data = outgoing.read()
        for part in ([data[i:i + 1] for i in range(len(data))] if byte_by_byte else [data]):
            s.sendall(part)
        if done:
            return
        incoming.write(s.recv(65536))


def broken_handshakes(t):
    base = t.clients()
    # Byte by byte, while others are served.
    s = t.raw()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls, incoming, outgoing = hello(t)
    first = outgoing.read()
    other = t.client()
    for i in range(len(first) - 1):
        s.sendall(first[i:i + 1])
        if i % 16 == 0:
            expect("others are served", other.ping())
    s.sendall(first[-1:])
    finish(tls, incoming, s, True, outgoing)
    tls.write(b"PING\r\n")
    s.sendall(outgoing.read())
    answer = b""
    while answer != b"+PONG\r\n":
        try:
            answer += tls.read(100)
        except ssl.SSLWantReadError:
            incoming.write(s.recv(65536))
    s.close()
    other.connection_pool.disconnect()
    # Ended after each part of the first message; after the server's answer; with bytes of no sense behind.
    for size in [0, 1, 4, 5, 6, 50, len(first) - 1, len(first)]:
        for junk in (b"", b"\xff" * 100):
            with t.raw() as s:
                s.sendall(first[:size] + junk)
                if size == len(first):
                    take(s)
    wait_until("connections are left", lambda: t.clients() <= base)
    # One that says nothing is listed, and may be killed, or ended by its time.
    idle = t.raw()
    wait_until("it is not listed", lambda: t.clients() == base + 1)
    listed = [c for c in t.control.client_list() if c["addr"].endswith(":%d" % idle.getsockname()[1])]
    expect("it is listed once", len(listed) == 1)
    t.control.client_kill_filter(_id=listed[0]["id"])
    expect("it is ended", take(idle) == b"")
    idle.close()
    t.set(timeout=1)
    idle = t.raw()
    expect("its time is over", select.select([idle], [], [], TIMEOUT)[0] and take(idle) == b"")
    idle.close()
    t.control.connection_pool.disconnect()  # its time may be over, too
    t.set(timeout=0)


def count_replies(t, stop, counts, index):
    client = t.client()
    while not stop.is_set():
        expect("a reply", client.incr("counter:%d" % index) == counts[index] + 1)
        counts[index] += 1


def reloads(t):
    """Under load; connections that are there go on."""
    c = t.certificates
    shutil.copy(c("server.crt"), c("live.crt"))
    shutil.copy(c("server.key"), c("live.key"))
    t.set(tls_cert_file=c("live.crt"), tls_key_file=c("live.key"))
    stop, counts = threading.Event(), [0] * 4
    threads = [threading.Thread(target=count_replies, args=(t, stop, counts, i), daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()

    def name():
        with t.connect() as s:
            ask(s, b"PING\r\n", b"+PONG\r\n")
            return dict(part[0] for part in s.getpeercert()["subject"])["commonName"]
    for i in range(20):
        wanted = "server" if i % 2 else "server2"
        for end in (".crt", ".key"):
            shutil.copy(c(wanted + end), c("live" + end))
        t.set(tls_cert_file=c("live.crt"))  # the same name: the files are read anew
        expect("the new certificate", name() == wanted)
    with open(c("live.crt"), "w") as file:
        file.write("nothing")
    try:
        t.set(tls_cert_file=c("live.crt"))
        fail("a file without a certificate is taken")
    except redis.ResponseError:
        pass
    expect("the old certificate stays", name() == "server")
    wait_until("the others go on", lambda: min(counts) > 100)
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT)
        expect("a connection that was there", not thread.is_alive())
    expect("all replies", [int(t.control.get("counter:%d" % i)) for i in range(4)] == counts)
    t.set(tls_cert_file=c("server.crt"), tls_key_file=c("server.key"))


def many_connects(t):
    base = t.clients()
    context = t.certificates.context()
    failures = []

    def some():
        try:
            for _ in range(25):
                with t.connect(context) as s:
                    ask(s, b"PING\r\n", b"+PONG\r\n")
        except (OSError, ssl.SSLError) as error:
            failures.append(error)
    threads = [threading.Thread(target=some) for _ in range(16)]
    received = t.control.info("stats")["total_connections_received"]
    for thread in threads:
        thread.start()
    # Handshakes that all begin before one of them is gone on with.
    waiting = [t.raw() for _ in range(100)]
    pings, end = 0, time.monotonic() + 2
    while any(thread.is_alive() for thread in threads) or time.monotonic() < end and pings < 100:
        expect("another is served", t.control.ping())
        pings += 1
    for thread in threads:
        thread.join()
    expect("connects fail: %r" % failures[:1], not failures)
    wait_until("they are not counted", lambda: t.control.info("stats")["total_connections_received"] >= received + 500)
    for s in waiting:
        s.close()
    wait_until("connections are left", lambda: t.clients() <= base)


def tools(t):
    c = t.certificates
    words = ["-p", str(t.port), "--tls", "--cacert", c("ca.crt"), "--cert", c("client.crt"), "--key", c("client.key")]
    done = subprocess.run(["redis-cli", *words, "PING"], stdout=subprocess.PIPE)
    expect("redis-cli --tls", done.stdout == b"PONG\n")
    done = subprocess.run(["redis-benchmark", *words, "-q", "-n", "20000", "-P", "16", "-t", "set,get"], stdout=subprocess.PIPE)
    expect("redis-benchmark --tls", done.returncode == 0 and b"GET: " in done.stdout and b"requests per second" in done.stdout)


def ports(t):
    """Opened and closed by CONFIG SET; open connections stay."""
    client = t.client()
    expect("ping", client.ping())
    expect("INFO shows the TLS port where there is no other", t.control.info("server")["tcp_port"] == t.port)
    t.set(tls_port=0)
    expect("a connection that is there", client.ping())
    try:
        t.raw()
        fail("the port is open")
    except ConnectionError:
        pass
    t.port = t.open_port()
    expect("the new port", t.client().ping())


def renegotiation(t):
    """Is refused, and the connection ends; others go on."""
    c = t.certificates
    client = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % t.port, "-tls1_2", "-cert", c("client.crt"),
                               "-key", c("client.key"), "-CAfile", c("ca.crt")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    client.stdin.write(b"R\n")
    client.stdin.flush()
    output = client.stdout.read().decode()
    client.stdin.close()
    client.wait(TIMEOUT)
    expect("renegotiation: " + output[-300:], "RENEGOTIATING" in output and "no renegotiation" in output)
    expect("others", t.client().ping())


def priorities(t):
    """The threads that compute handshakes come after the reactors, by the system's priorities (nice)."""
    nice = {}
    tasks = "/proc/%d/task" % t.server.process.pid
    for task in os.listdir(tasks):
        with open("%s/%s/stat" % (tasks, task), encoding="ascii") as file:
            begin, _, end = file.read().rpartition(")")
        nice.setdefault(begin.partition("(")[2].split("-")[0], set()).add(int(end.split()[16]))
    expect("the threads' nice: %s" % nice, min(nice["handshake"]) > max(nice["reactor"]) and nice["pool"] == nice["reactor"])


def migrating(program, t):
    """MIGRATE over TLS, as a client with a certificate of its own, to a server that has to show one of the authority."""
    c = t.certificates
    source = Server(program, "--tls-cluster", "yes", *c.server_options(), "--tls-client-cert-file", c("client.crt"),
                    "--tls-client-key-file", c("client.key"))
    source.start()
    try:
        control = source.connect(TIMEOUT)
        value = os.urandom(3000000)

        def migrate(*wanted):
            control.set("moved", value)
            t.control.delete("moved")
            try:
                reply = control.execute_command("MIGRATE", "127.0.0.1", t.port, "moved", 0, TIMEOUT * 1000)
            except redis.ResponseError as error:
                reply = str(error)
            expect("MIGRATE: %s" % reply, reply in wanted)
            expect("the key is in one place", control.exists("moved") + t.control.exists("moved") == 1)
        migrate(b"OK", "OK")
        expect("the value", t.control.get("moved") == value)
        failed = "IOERR error or timeout connecting to the client"
        control.config_set("tls-ca-cert-file", c("other-ca.crt"))
        migrate(failed)  # the target is of another authority
        control.config_set("tls-ca-cert-file", c("ca.crt"), "tls-cluster", "no")
        # Plain text to a TLS port.
        migrate("IOERR error or timeout reading to target instance", "IOERR error or timeout writing to target instance")
        control.config_set("tls-cluster", "yes", "tls-client-cert-file", "", "tls-client-key-file", "")
        migrate(b"OK", "OK")
    finally:
        source.clean_up()


def starts(program, t):
    """What a start refuses."""
    c = t.certificates
    for what, options in (("No tls-cert-file configured!", []), ("No tls-key-file configured!", ["--tls-cert-file", c("server.crt")]),
                          ("Either tls-ca-cert-file", ["--tls-cert-file", c("server.crt"), "--tls-key-file", c("server.key")]),
                          ("Failed to load private key", ["--tls-cert-file", c("server.crt"), "--tls-key-file", c("client.key"),
                                                          "--tls-ca-cert-file", c("ca.crt")])):
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run([program, "--port", "0", "--tls-port", "1", "--dir", directory, *options],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
            output = done.stdout.decode()
            expect("%s: %s" % (what, output), done.returncode == 1 and what in output and
                   "Failed to configure TLS. Check logs for more info." in output)


def stopping(program):
    """Handshakes that wait for their turn when the server is told to stop are not computed any more."""
    t, count = Test(program), 400
    try:
        base = t.clients()
        waiting = [(t.raw(), hello(t)[2].read()) for _ in range(count)]
        wait_until("not all are accepted", lambda: t.clients() >= base + count)
        t.server.pause()
        for s, first in waiting:
            s.sendall(first)
        t.server.process.terminate()
        t.server.resume()
        t.server.process.wait(TIMEOUT)
        answered = 0
        for s, _ in waiting:
            try:
                answered += len(s.recv(1)) > 0
            except ConnectionResetError:
                pass
            s.close()
        expect("%d of %d handshakes went on" % (answered, count), answered < count // 2)
    finally:
        t.server.clean_up()
        t.certificates.remove()


def main():
    t = Test(sys.argv[1])
    try:
        for part in (admission, protocols, sessions, settings, large_values, endings, broken_handshakes, reloads, many_connects,
                     renegotiation, priorities, tools, ports):
            begin = time.monotonic()
            part(t)
            print("%s: %.1f s" % (part.__name__, time.monotonic() - begin), flush=True)
        migrating(sys.argv[1], t)
        starts(sys.argv[1], t)
        stopping(sys.argv[1])
        t.server.stop()
    finally:
        t.server.clean_up()
        t.certificates.remove()


main()
