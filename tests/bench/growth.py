"""What tests/bench/streams.py and collection_costs.py share: servers of their own, connections, and what a command costs as a collection
grows."""
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../redis-tests"))
from links import request  # noqa: E402
from own_server import Server, fail  # noqa: E402

BATCH = 1000
SIZES = [10**4, 10**5, 10**6, 10**7]


def arguments(usage):
    """SERVER WHAT [--svg FILE] [NUMBER ...] of the command line. From then on SIGTERM ends the servers, too."""
    if len(sys.argv) < 3:
        print(usage)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rest, svg = sys.argv[3:], None
    if rest[:1] == ["--svg"]:
        svg, rest = rest[1], rest[2:]
    return sys.argv[1], sys.argv[2], svg, [int(word) for word in rest]


class Link:
    """A connection that sends commands in batches, and looks at no more of the replies than has to be."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(600)

    def run(self, commands):
        self.send(commands)
        return self.replies()

    def send(self, commands):
        """All at once, with a PING behind them."""
        self.socket.sendall(b"".join(commands) + request("PING"))

    def replies(self, end=b"PONG\r\n"):
        """Reads until the PING is answered."""
        data = b""
        parts = []
        while not data.endswith(end):
            part = self.socket.recv(1 << 20)
            if not part:
                fail("the connection broke")
            parts.append(part)
            data = (data + part)[-64:]
        replies = b"".join(parts)
        if b"-ERR" in replies or b"-OOM" in replies or b"-NOGROUP" in replies:
            fail(replies[:200])
        return replies

    def run_pipelined(self, commands, pipeline):
        for at in range(0, len(commands), pipeline):
            self.run(commands[at : at + pipeline])


def run_beside(links, commands, total, pipeline):
    """So many commands, of those given in turn, over all connections at once."""
    at = 0
    while at < total:
        for link in links:
            start = at % (len(commands) - pipeline + 1)
            link.send(commands[start : start + pipeline])
            at += pipeline
        for link in links:
            link.replies()
    return at


def figures(client):
    return client.info("storage")


def cpu_seconds(server):
    """Of all threads, which must be the same ones from call to call, and of children that have ended: redis-server writes its append-only file anew
    in one."""
    total = 0
    folder = "/proc/%d" % server.process.pid
    for thread in os.listdir(folder + "/task"):
        with open("%s/task/%s/schedstat" % (folder, thread)) as file:
            total += int(file.read().split()[0])
    with open(folder + "/stat") as file:
        ticks = file.read().rpartition(")")[2].split()[13:15]  # cutime and cstime
    return total / 1e9 + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def settle(client):
    """Waits until what was written is in tables, and merged."""
    client.save()
    before = None
    while True:
        now = figures(client)
        # A compaction under way shows in the blocks that it looks at.
        state = [now[key] for key in ("flushes", "compactions", "bytes_written", "block_cache_hits", "block_cache_misses")]
        if state == before and now["memtables_waiting"] == 0:
            return now
        before = state
        time.sleep(2)


def drop_page_cache(server):
    os.sync()
    for name in os.listdir(server.directory):
        path = os.path.join(server.directory, name)
        if os.path.isfile(path):
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def value_pool(size, count=4096):
    source = random.Random(1)
    return [bytes(source.randrange(33, 127) for _ in range(size)) for _ in range(count)]


MEMORY = 128 * 2**20


def new_server(program, *options):
    return Server(program, "--maxmemory", MEMORY, "--io-threads", 1, "--appendfsync", "everysec", "--save", "",
                  *options)


# ---- reactors ----

def run_clients(server, clients, commands, total):
    """Each in a process of its own, with its share of `total` commands at pipeline 16."""
    processes = []
    for _ in range(clients):
        process = os.fork()
        if process == 0:
            link = Link(server.socket)
            for at in range(0, total // clients, 16):
                link.run(commands[at % 4096 : at % 4096 + 16])
            os._exit(0)
        processes.append(process)
    for process in processes:
        if os.waitpid(process, 0)[1] != 0:
            fail("a client failed")


# ---- growth ----

def instructions(server, folder):
    """Of the threads that have run commands since the last time."""
    control = ["callgrind_control", "--dump", str(server.process.pid)]
    subprocess.run(control, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
    total = 0
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with open(path, errors="replace") as file:
            text = file.read()
        if ") command_" in text:
            total += int(text.split("\ntotals: ")[1].split()[0])
        os.unlink(path)
    return total


def start_in_valgrind(server, folder):
    server.prefix = ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes",
                     "--callgrind-out-file=%s/out" % folder]
    server.start()


def leave_room(client):
    """What valgrind itself has of the process's memory does not count."""
    memory = client.info("memory")
    client.config_set("maxmemory", MEMORY + max(0, memory["used_memory_rss"] - memory["used_memory"]))


def measure_row(server, link, client, folder, row, count):
    name, pipeline, text = row
    for _ in range(2):
        leave_room(client)
        link.run_pipelined([text(i) for i in range(count)], pipeline)
    instructions(server, folder)
    before = figures(client)
    idle = instructions(server, folder)
    link.run_pipelined([text(i) for i in range(count, 2 * count)], pipeline)
    used = instructions(server, folder)
    after = figures(client)
    blocks = sum(after[key] - before[key] for key in ("block_cache_hits", "block_cache_misses"))
    return max(0, used - idle) / count, blocks / count


def grown(program, fill):
    """A server that `fill` has loaded, and that was stopped."""
    server = new_server(program)
    try:
        server.start()
        fill(server)
        settle(server.connect(timeout=600))
        server.stop()
    except BaseException:
        server.clean_up()
        raise
    return server


def measure_rows(server, elements, rows):
    """Lines for growth-plot.awk. Rows: name, pipeline, a function that gives the i-th command."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="sett-callgrind.") as folder:
        start_in_valgrind(server, folder)
        link, client = Link(server.socket), server.connect(timeout=600)
        for row in rows:
            count = 1600 if row[1] > 1 else 200
            used, blocks = measure_row(server, link, client, folder, row, count)
            lines.append("%s\t%d\t%.0f\t%.2f" % (row[0], elements, used, blocks))
            print("%-18s %9d elements: %9.0f instructions, %6.2f blocks" % (row[0], elements, used, blocks), flush=True)
    return lines


def plot(lines, svg):
    awk = os.path.join(os.path.dirname(os.path.abspath(__file__)), "growth-plot.awk")
    with open(svg, "w") as file:
        subprocess.run(["awk", "-f", awk], input="\n".join(lines) + "\n", text=True, stdout=file, check=True)
