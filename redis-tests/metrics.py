#!/usr/bin/python3
"""metrics-port, read with the OpenMetrics parser of Prometheus' client for Python, which is strict: names, types, order, one mark of the end.
The figures are those of INFO; requests that are none are refused; a peer that says nothing holds up others for a moment only.

    metrics.py SERVER"""
import socket
import sys
import urllib.error
import urllib.request
import redis
sys.path.insert(0, "/usr/lib/python3/dist-packages")
from prometheus_client.openmetrics.parser import text_string_to_metric_families  # noqa: E402
from own_server import Server, expect, fail, free_port  # noqa: E402


def read(port):
    """name -> labels -> value."""
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=180) as reply:
        expect("type", reply.headers["Content-Type"], "application/openmetrics-text; version=1.0.0; charset=utf-8")
        text = reply.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def figures(client, port):
    client.set("a", "1")
    client.mget("a", "b")
    client.config_get("port")
    client.execute_command("SELECT", 3)
    client.setex("c", 1000, "x")
    try:
        client.eval("return redis.error_reply('ODD\"\\\\CODE words')", 0)
        fail("no error")
    except redis.ResponseError:
        pass
    # Two that differ in bytes outside of ASCII alone are two series.
    for code in (b"ODD\xc3\xa9", b"ODD\xc3\xa8"):
        try:
            client.eval(b"return redis.error_reply('" + code + b" words')", 0)
            fail("no error")
        except redis.ResponseError:
            pass
    info, found = client.info("everything"), read(port)
    one = {name: values[()] for name, values in found.items() if () in values}
    for name, field in (("sett_maxclients", "maxclients"), ("sett_maxdisk", "maxdisk"), ("sett_commits_total", "commits"),
                        ("sett_keyspace_hits_total", "keyspace_hits"), ("sett_keyspace_misses_total", "keyspace_misses"),
                        ("sett_connected_clients", "connected_clients"), ("sett_io_threads", "io_threads"),
                        ("sett_space_amplification", "space_amplification")):
        expect(name, one[name], float(info[field]))
    expect("commands", one["sett_commands_processed_total"] >= info["total_commands_processed"] - 1 > 0, True)
    expect("health", one["sett_health_is_ok"], 1)
    expect("a save", one["sett_rdb_last_bgsave_status_is_ok"], 1)
    expect("calls", found["sett_command_calls_total"][(("command", "set"),)], 1)
    expect("a subcommand", found["sett_command_calls_total"][(("command", "config|get"),)], 1)
    expect("an odd code", found["sett_error_replies_by_code_total"][(("code", 'ODD"\\CODE'),)], 1)
    for code in (r"ODD\xc3\xa9", r"ODD\xc3\xa8"):
        expect(code, found["sett_error_replies_by_code_total"].get((("code", code),)), 1)
    expect("keys", [found["sett_db_keys"][(("db", db),)] for db in "03"], [1, 1])
    expect("expires", found["sett_db_expires"][(("db", "3"),)], 1)
    seconds = found["sett_db_average_ttl_seconds"][(("db", "3"),)]
    if not 900 < seconds < 1001:  # deadlines are summed up in steps of some milliseconds
        fail("a deadline in %s seconds, INFO says %s" % (seconds, info["db3"]))
    expect("levels", len(found["sett_level_tables"]), 7)
    latency = found["sett_command_latency_seconds"]
    expect("latency", 0 < latency[(("command", "mget"), ("quantile", "0.5"))] < 30, True)
    version = dict(next(iter(found["sett_info"])))
    expect("role", (version["role"], version["redis_version"]), ("master", "7.0.15"))


def exchange(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=180) as peer:
        peer.sendall(request)
        reply = b""
        while piece := peer.recv(65536):
            reply += piece
    return reply


def requests(port):
    for request, status in ((b"GET / HTTP/1.1\r\n\r\n", b"404"), (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
                            (b"SET a b\r\n\r\n", b"400"), (b"GET /metricsx HTTP/1.1\r\n\r\n", b"404"), (b"\r\n\r\n", b"400"),
                            (b"GET /metrics?x=1 HTTP/1.0\n\n", b"200"), (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200")):
        expect(request, exchange(port, request)[9:12], status)
    head, body = exchange(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").split(b"\r\n\r\n")
    expect("the body of HEAD", (body, b"Content-Length: " in head), (b"", True))
    # What is sent behind the request, and read by nobody, does not cost the reply.
    with socket.create_connection(("127.0.0.1", port), timeout=180) as peer:
        peer.sendall(b"POST /metrics HTTP/1.1\r\nContent-Length: 3000\r\n\r\n" + b"x" * 1000)
        expect("the first byte", peer.recv(1, socket.MSG_PEEK), b"H")
        reply = b""
        for _ in range(2):
            peer.sendall(b"x" * 1000)
        while piece := peer.recv(65536):
            reply += piece
        expect("a request with a body", reply[9:12], b"405")
    # Neither a reply nor trouble.
    with socket.create_connection(("127.0.0.1", port), timeout=180) as peer:
        try:
            peer.sendall(b"x" * 100000)
            expect("too long a request", peer.recv(1), b"")
        except ConnectionError:
            pass
    expect("behind it", exchange(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")[9:12], b"200")


def silent_peers(port):
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    read(port)
    for peer in peers:
        peer.close()


def main():
    port = free_port()
    server = Server(sys.argv[1], "--metrics-port", port)
    try:
        server.start()
        client = server.connect()
        figures(client, port)
        requests(port)
        silent_peers(port)
        expect("CONFIG GET", client.config_get("metrics-port"), {"metrics-port": str(port)})
        # The server ends although somebody is connected and silent.
        with socket.create_connection(("127.0.0.1", port)):
            server.stop()
        expect("the exit code", server.process.returncode, 0)
        # Off unless asked for.
        server.options = []
        server.start()
        expect("the default", server.connect().config_get("metrics-port"), {"metrics-port": "0"})
        try:
            urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=180)
            fail("it is served though nobody asked")
        except urllib.error.URLError:
            pass
    finally:
        server.clean_up()


main()
