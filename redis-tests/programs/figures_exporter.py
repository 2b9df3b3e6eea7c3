"""prometheus-redis-exporter, and collectd's plugin: of Sett they collect without an error, and the exporter gives every series that it gives of
redis-server."""
import glob
import os
import re
import subprocess
import tempfile
import urllib.request
import redis
from program import PORT, free_port, holds, run, same, until


def fill(port):
    """The same of all kinds, so that both have the same series."""
    client = redis.Redis(port=port)
    client.set("a", "b", ex=100)
    client.lpush("list", 1, 2)
    client.xadd("stream", {"x": 1})
    client.xgroup_create("stream", "group", "0")
    client.xreadgroup("group", "reader", {"stream": ">"})
    client.select(3)
    client.set("c", "d")
    try:
        client.lpush("c", 1)
    except redis.ResponseError:
        pass
    client.slowlog_get(1)


def collect(port):
    """Names and labels (but for their values) of all series, and what the exporter logs."""
    own = free_port()
    process = subprocess.Popen(["/usr/bin/prometheus-redis-exporter", "-redis.addr", "redis://127.0.0.1:%d" % port, "-web.listen-address",
                                "127.0.0.1:%d" % own, "-check-keys", "db0=a,db0=list", "-check-streams", "db0=stream",
                                "-include-system-metrics"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = []

    def answers():
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % own, timeout=10) as answer:
                found.append(answer.read().decode())
                return True
        except OSError:
            return False

    try:
        until("the exporter answers", answers)
    finally:
        process.terminate()
        log, _ = process.communicate(timeout=30)
    text = found[0]
    errors = [line for line in log.splitlines() if re.search("error|warn", line, re.I)]
    series = {}
    for line in text.splitlines():
        if line.startswith("redis_"):
            name = re.match(r"[a-z0-9_]+", line)[0]
            keys = tuple(sorted(re.findall(r'([a-z_]+)="', line)))
            series.setdefault(name, set()).add(keys)
    same(re.findall(r"(?m)^redis_up (\d)", text), ["1"], "up")
    same(re.findall(r"(?m)^redis_exporter_last_scrape_error\{.*\} (\d)", text), ["0"], "errors of the scrape")
    same(errors, [], "what the exporter says")
    return series


def exporter():
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        stock = subprocess.Popen(["/usr/bin/redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                                  "--appendonly", "yes"], stdout=subprocess.DEVNULL)
        try:
            until("redis-server answers", lambda: pings(port))
            fill(port)
            wanted = collect(port)
        finally:
            stock.kill()
            stock.wait()
    fill(PORT)
    ours = collect(PORT)
    holds(len(wanted) > 100, "few series: %d" % len(wanted))
    same(sorted(set(wanted) - set(ours)), [], "series that are missing")
    same({name: wanted[name] - ours[name] for name in wanted if name in ours and wanted[name] - ours[name]}, {}, "labels that are missing")


def pings(port):
    try:
        return redis.Redis(port=port).ping()
    except redis.RedisError:
        return False


def collectd():
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/conf", "w") as file:
            file.write('Hostname "here"\nFQDNLookup false\nBaseDir "%s"\nPIDFile "%s/pid"\nInterval 1\nTypesDB "/usr/share/collectd/types.db"\n'
                       'LoadPlugin logfile\n<Plugin logfile>\n LogLevel info\n File "%s/log"\n</Plugin>\n'
                       'LoadPlugin csv\n<Plugin csv>\n DataDir "%s/csv"\n</Plugin>\n'
                       'LoadPlugin redis\n<Plugin redis>\n <Node "sett">\n  Host "127.0.0.1"\n  Port "%d"\n  Timeout 5000\n'
                       '  <Query "GET a">\n   Type "gauge"\n   Instance "a"\n  </Query>\n </Node>\n</Plugin>\n'
                       % (folder, folder, folder, folder, PORT))
        redis.Redis(port=PORT).set("a", 17)
        process = subprocess.Popen(["/usr/sbin/collectd", "-f", "-C", folder + "/conf"], stdin=subprocess.DEVNULL)

        def values(name):
            lines = [line for path in glob.glob(folder + "/csv/here/redis-sett/" + name + "-2*") for line in open(path)]
            return [line.strip().split(",")[1] for line in lines if line[0].isdigit()]

        try:
            until("collectd has values", lambda: "17.000000" in values("gauge-a") and len(values("memory")) >= 2)
        finally:
            process.terminate()
            process.wait(30)
        with open(folder + "/log") as file:
            same([line for line in file if re.search("error|warning|fail", line, re.I)], [], "what collectd says")
        names = {os.path.basename(path)[:-len("-2026-12-01")] for path in glob.glob(folder + "/csv/here/redis-sett/*")}
        holds({"memory", "current_connections-clients", "total_operations", "volatile_changes"} <= names, "its values: %s" % names)


def tour():
    exporter()
    collectd()


run(tour=tour)
