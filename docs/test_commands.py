#!/usr/bin/python3
"""What README.md and the pages for users show as typed is run here, in the order of the page, and prints what the page says it does. Numbers, times and
sizes may be others, but not in sessions of redis-cli. Paths such as /srv/backup lie in a folder of the test's own, and port 6379 is another one.

What can't be run here, as it needs a system of its own, another test runs: RUN_ELSEWHERE says which.

    test_commands.py SOURCE-ROOT SERVER TOOL"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import redis
sys.path.append(os.path.join(os.path.dirname(__file__), "../redis-tests"))
from ports import free_port  # noqa: E402

PAGES = ("README.md", "docs/backup.md", "docs/moving.md", "docs/operating.md", "docs/errors.md", "docs/transactions.md", "docs/SETT-TOOL.md",
         "docs/CONFIGURATION.md", "docs/COMPATIBILITY.md")
PROMPT = re.compile(r"127\.0\.0\.1:6379(?:\(TX\))?> (.*)")
# Lines that begin like this are commands, also where no prompt stands in front.
COMMANDS = re.compile(r"(mkdir|redis-cli|systemctl|apt-get|sett-tool|sett-server|sed|cp|mv|rm|cd|chown|chmod|docker|buildah|debootstrap|export|git|\./dev|container=)\b")
# A page's part, and the test that follows it line by line.
RUN_ELSEWHERE = {
    ("docs/moving.md", "Moving from Redis"): "tests/package/package_test.py",
    ("docs/moving.md", "Moving back"): "tests/package/package_test.py",
    ("docs/operating.md", "Backup"): "tests/package/package_test.py",
    ("docs/operating.md", "Restore"): "tests/package/package_test.py",
}
WAIT_S = 180


def fail(text):
    print("FAILED: " + text)
    sys.exit(1)


def wait_until(what, condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            fail(what)
        time.sleep(0.01)


class Place:
    """Where the pages' commands run: a folder that stands for the root, and a server whose data is in its /var/lib/sett."""

    def __init__(self, server, tool):
        self.root = tempfile.mkdtemp(prefix="sett-docs.")
        self.server, self.port, self.process, self.writer = server, free_port(), None, None
        self.more, self.moment, self.commit = [], None, None  # options of the server; what stands for the pages' moment
        self.client = redis.Redis(port=self.port, single_connection_client=False)
        for path in ("/bin", "/etc/sett", "/home", "/srv", "/var/lib/sett", "/var/lib/redis", "/tmp", "/mnt/tue"):
            os.makedirs(self.root + path)
        for name, text in (("redis-cli", 'exec /usr/bin/redis-cli -p %d "$@"' % self.port), ("sett-tool", 'exec %s "$@"' % tool),
                           ("ssh", 'shift; exec sh -c "$*"')):
            with open(self.root + "/bin/" + name, "w") as file:
                file.write("#!/bin/sh\n%s\n" % text)
            os.chmod(self.root + "/bin/" + name, 0o755)
        self.environment = dict(os.environ, PATH=self.root + "/bin:" + os.environ["PATH"])
        self.status = 0

    def start(self):
        if self.process is None:
            self.process = subprocess.Popen([self.server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.root + "/var/lib/sett",
                                             *self.more], stdout=subprocess.DEVNULL)
            wait_until("the server does not come up", self.answers)

    def answers(self):
        try:
            return self.client.ping()
        except redis.RedisError:
            return False

    def stop(self, kill=False):
        if self.writer is not None:
            self.writer.kill()
            self.writer.wait()
            self.writer = None
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(WAIT_S)
            self.process = None

    def empty(self):
        """No server, and no data."""
        self.stop()
        shutil.rmtree(self.root + "/var/lib/sett")
        os.mkdir(self.root + "/var/lib/sett")

    def inside(self, text):
        """What a page says, for here."""
        if self.moment is not None:
            text = text.replace("2026-11-29T12:34:56.789", self.moment).replace("--to-commit 81233", "--to-commit %d" % self.commit)
        return re.sub(r"(?<![\w/])/(?=(etc/sett|srv|var/lib|tmp|mnt)\b)", self.root + "/", text).replace("6379", str(self.port))

    def shell(self, command):
        """Its exit status; what it prints, as the page would show it."""
        done = subprocess.run(["bash", "-c", "set -o pipefail; " + self.inside(command)], cwd=self.root + "/home", env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400)
        return done.returncode, done.stdout.replace(self.root, "").replace(str(self.port), "6379").splitlines()

    def session(self, commands):
        done = subprocess.run(["/usr/bin/redis-cli", "-p", str(self.port), "--no-raw"], input="\n".join(commands) + "\n", text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        return done.stdout.replace(self.root, "").splitlines()

    def clean_up(self):
        self.stop(kill=True)
        shutil.rmtree(self.root, ignore_errors=True)


# What happens before a command of a page, as the page's words say.


def fresh(place):
    place.empty()
    place.start()


def killed(place):
    place.stop(kill=True)
    place.start()


def written(place):
    place.start()
    for n in range(200):
        place.client.set("key%d" % n, "v" * 5000)


def fresh_and_written(place):
    fresh(place)
    written(place)


def first_backup(place):
    shutil.rmtree(place.root + "/srv/backup", ignore_errors=True)
    fresh(place)
    written(place)


def empty_directory(place):
    place.empty()


def left_to_another_disk(place):
    """An incremental one that has only what is new: as tar, since there is one file system here."""
    fresh(place)
    written(place)
    shutil.rmtree(place.root + "/srv/backup")
    os.mkdir(place.root + "/srv/backup")
    for command in ("sett-tool backup :6379 /srv/backup/mon", "redis-cli SET new value",
                    "sett-tool backup :6379 - --incremental-from /srv/backup/mon | tar xf - -C /mnt/tue"):
        if place.shell(command)[0] != 0:
            fail(command)
    place.empty()


def manifest_at_hand(place):
    shutil.copy(place.root + "/home/mon/backup.manifest", place.root + "/home/mon.manifest")


def damage(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def damaged_backup(place):
    fresh(place)
    written(place)
    shutil.rmtree(place.root + "/srv/backup")
    os.mkdir(place.root + "/srv/backup")
    if place.shell("sett-tool backup :6379 /srv/backup/tue")[0] != 0:
        fail("a backup")
    damage(max(glob.glob(place.root + "/srv/backup/tue/*.vlog"), key=os.path.getsize), 1000)


def archived(place):
    """Two backups of a server that archives, and a moment behind them."""
    shutil.rmtree(place.root + "/srv/backup", ignore_errors=True)
    os.mkdir(place.root + "/srv/backup")
    place.empty()
    place.more = ["--archive-dir", place.root + "/srv/archive", "--archive-interval", "1"]
    written(place)
    for day in "mon", "tue":
        place.client.set("day", day)
        if place.shell("sett-tool backup :6379 /srv/backup/" + day)[0] != 0:
            fail("a backup")
    place.client.set("before", "it")
    time.sleep(0.01)
    now = time.time_ns() // 1000000
    place.moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1000)) + ".%03d" % (now % 1000)
    place.commit = place.client.info("storage")["visible_timestamp"]
    time.sleep(0.01)
    place.client.set("after", "it")
    wait_until("all is archived", lambda: place.client.info("storage")["archive_commit"] > place.commit)
    place.empty()
    place.more = []


def redis_file(place):
    fresh(place)
    written(place)
    place.client.save()
    shutil.move(place.root + "/var/lib/sett/dump.rdb", place.root + "/var/lib/redis/dump.rdb")
    place.empty()
    os.rmdir(place.root + "/var/lib/sett")


def small_database(place, kill=False, tables=True):
    """A backup has all written into tables; else it is in the log."""
    fresh(place)
    place.client.set("greeting", "hello")
    place.client.set("soon", "gone", ex=100000)
    place.client.set("big", "x" * 3000)
    place.client.select(3)
    redis.Redis(port=place.port, db=3).set("other", "database")
    if tables:
        for step in "START", "SEAL", "CLEANUP":
            place.client.execute_command("BACKUP", step)
    place.stop(kill)


def damaged_value(place):
    for path in glob.glob(place.root + "/var/lib/sett/*.vlog"):
        with open(path, "rb") as file:
            at = file.read().find(b"x" * 3000)
        if at >= 0:
            return damage(path, at + 100)
    fail("there is no such value")


def killed_small_database(place):
    small_database(place, kill=True, tables=False)


def some_figures(place):
    """Until the server stops, somebody writes."""
    written(place)
    place.writer = subprocess.Popen(["redis-benchmark", "-p", str(place.port), "-t", "set", "-n", "100000000", "-r", "60000", "-d", "1000", "-c", "4", "-q"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("there are figures", lambda: len(place.client.execute_command("HISTORY", 600).splitlines()) > 3)


SERVER_WITH_KEY = "sett-server --encryption-key-file /etc/sett/master.key        # or --encryption-key-command 'your key store'"


def encrypted(place):
    place.empty()
    place.more = ["--encryption-key-file", place.root + "/etc/sett/master.key"]
    place.start()
    place.client.set("greeting", "hello")


def ended(place):
    place.stop()
    place.more = []


# By page and the first command of a session or the command: what is done before, each time in turn.
BEFORE = {
    ("README.md", 'SET greeting "hello from the den"'): [fresh],
    ("README.md", "MGET greeting visits"): [killed],
    ("README.md", "sett-tool restore /srv/backup/mon /srv/backup/tue --archive /srv/archive --to 2026-11-29T12:34:56.789 /srv/then"): [archived],
    ("README.md", SERVER_WITH_KEY): [encrypted],
    ("README.md", "sett-tool check --encryption-key-file /etc/sett/master.key /var/lib/sett"): [ended],
    ("docs/transactions.md", "SET stock 5"): [fresh],
    ("docs/transactions.md", "CONFIG SET as-of-window 3600"): [fresh],
    ("docs/backup.md", "mkdir -p /srv/backup"): [first_backup],
    ("docs/backup.md", "sett-tool backup :6379 /srv/backup/tue --incremental-from /srv/backup/mon"): [written],
    ("docs/backup.md", "sett-tool restore /srv/backup/tue /var/lib/sett"): [empty_directory],
    ("docs/backup.md", "sett-tool restore /mnt/tue /srv/backup/mon /var/lib/sett"): [left_to_another_disk],
    ("docs/backup.md", "ssh db1 sett-tool backup :6379 - | (mkdir mon && tar xf - -C mon)"): [killed],
    ("docs/backup.md", "ssh db1 sett-tool backup :6379 - --incremental-from mon.manifest | (mkdir tue && tar xf - -C tue)"): [manifest_at_hand],
    ("docs/backup.md", "sett-tool restore tue mon /var/lib/sett"): [empty_directory],
    ("docs/backup.md", "sett-tool restore /srv/backup/tue /tmp/new"): [damaged_backup],
    ("docs/backup.md", "sett-tool restore /srv/backup/mon /srv/backup/tue --archive /srv/archive --to 2026-11-29T12:34:56.789 /var/lib/sett"): [archived],
    ("docs/backup.md", "BACKUP START"): [fresh_and_written],
    ("docs/SETT-TOOL.md", "sett-tool import /var/lib/redis/dump.rdb /var/lib/sett"): [redis_file],
    ("docs/SETT-TOOL.md", "mkdir -p /srv/backup"): [first_backup],
    ("docs/SETT-TOOL.md", "sett-tool restore /srv/backup/tue /var/lib/sett"): [empty_directory],
    ("docs/SETT-TOOL.md", "sett-tool check /var/lib/sett"): [small_database, damaged_value],
    ("docs/SETT-TOOL.md", "sett-tool info /var/lib/sett"): [killed_small_database],
    ("docs/SETT-TOOL.md", "sett-tool dump table --bytes 20 /var/lib/sett"): [small_database],
    ("docs/SETT-TOOL.md", "sett-tool top --port 6379"): [some_figures],
}
# What is run in place of what would not end by itself. Of several pictures, as tables come and go on a level, and on a busy machine INFO may
# have most of the time: the page's lines come in this order in one or in some.
INSTEAD = {"sett-tool top --port 6379": "sett-tool top --port 6379 --count 12", SERVER_WITH_KEY: "redis-cli ping"}


def form_of(line):
    """Whatever it says with other numbers, sizes and times."""
    line = re.sub(r"\s*#[# ]*(?=\])", " ", line)
    pattern = re.escape(" ".join(line.split()))
    pattern = pattern.replace(r"\.\.\.", ".*").replace(r"\ ", r"\s+")
    pattern = re.sub(r"sett\\-bench\\\.\w+", r"sett-bench\\.\\w+", pattern)
    pattern = re.sub(r"\b(?:[KMG]iB|bytes)\b", "(?:[KMG]iB|bytes)", pattern)
    pattern = re.sub(r"\d+(?:\\\.\d+)?", r"\\d+(?:\\.\\d+)?", pattern)
    return re.compile(r"\s*" + pattern.replace(r"\[\s+\]", r"\[[# ]*\]").replace(r"\[\]", r"\[[# ]*\]") + r"\s*")


def compare(where, printed, said):
    """What the page says comes in what was printed, in this order."""
    rest = list(printed)
    for line in said:
        if not line.strip() or line.strip() == "...":
            continue
        form = form_of(line)
        while rest and not form.fullmatch(rest[0]):
            rest.pop(0)
        if not rest:
            fail("%s: the page says\n    %s\nprinted was\n    %s" % (where, line, "\n    ".join(printed)))
        rest.pop(0)


def compare_json(where, printed, said):
    """The same fields."""
    if set(json.loads("".join(printed))) != set(json.loads("".join(said).replace('{"file"', ' {"file"'))):
        fail("%s: other fields: %s" % (where, printed))


def without_places(lines):
    return [re.sub(r"^\d+\) ", "", line) for line in lines]


def without_times(lines):
    """In milliseconds."""
    return [re.sub(r"\b\d{13}\b", "now", line) for line in lines if line.strip()]


def kind_of_file(line):
    return line.rpartition(".")[2]


def blocks_of(root, page):
    """Of each block of indented lines: the heading above it, and its lines."""
    with open(os.path.join(root, page)) as file:
        heading, block = "", []
        for line in [*file.read().splitlines(), ""]:
            if line.startswith("    "):
                block.append(line[4:])
                continue
            if block and line.strip():
                yield heading, block
                block = []
            elif block:
                block.append("")
            if line.startswith("#"):
                heading = line.strip("# ")
    if any(line.strip() for line in block):
        yield heading, block


def steps_of(block):
    """Pairs of commands and what the page says they print: a list of commands is a session of redis-cli."""
    found = []
    for line in block:
        prompt = PROMPT.fullmatch(line)
        if line == "$ redis-cli":
            continue
        if prompt and found and isinstance(found[-1][0], list):
            found[-1][0].append(prompt[1])
        elif prompt:
            found.append(([prompt[1]], []))
        elif line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def run_step(place, page, commands, said, before):
    first = commands[0] if isinstance(commands, list) else commands
    where = "%s, %s" % (page, first)
    waiting = before.get((page, first))
    if waiting:
        waiting.pop(0)(place)
    if isinstance(commands, list):
        place.start()
        printed = place.session(commands)
        if "BACKUP LIST" in commands:
            # Files, in any order; the kinds are said.
            compare(where, sorted(without_places(printed), key=kind_of_file), sorted(without_places(said), key=kind_of_file))
        elif without_times(printed) != without_times(said):
            fail("%s: the page says\n    %s\nprinted was\n    %s" % (where, "\n    ".join(said), "\n    ".join(printed)))
        return
    if commands == "echo $?":
        if said[0] != str(place.status):
            fail("%s: the exit status is %d, the page says %s" % (page, place.status, said[0]))
        place.status = 0
        return
    if place.status != 0:
        fail("%s: a command fails, and the page does not show its exit status, before %s" % (page, first))
    place.status, printed = place.shell(INSTEAD.get(commands, commands))
    if "--json" in commands:
        compare_json(where, printed, said)
        place.status = 0
    else:
        compare(where, printed, said)
    if place.status != 0 and not any(line.startswith(("damage:", "lost:")) for line in said):
        fail("%s: exit status %d\n    %s" % (where, place.status, "\n    ".join(printed)))


def example_in_python(place, block):
    """docs/transactions.md: a loop that retries."""
    fresh(place)
    place.client.set("stock", 100)
    names = {"redis": redis}
    exec("\n".join(block), names)

    def take_ten():
        client = redis.Redis(port=place.port, single_connection_client=True)
        for _ in range(10):
            names["take_one"](client)

    threads = [threading.Thread(target=take_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if place.client.get("stock") != b"60":
        fail("docs/transactions.md: %r are left of 100 after 40 were taken" % place.client.get("stock"))
    return 1


def known_to_dev(root, page):
    """What a page says of ./dev is something that it does."""
    with open(root + "/dev") as file:
        known = set(re.findall(r"(?m)^(\w[\w-]*)(?: \| [^)]*)?\)", file.read()))
    with open(os.path.join(root, page)) as file:
        said = set(re.findall(r"\./dev ([a-z][\w-]*)", file.read()))
    if said - known:
        fail("%s: ./dev does not know %s" % (page, sorted(said - known)))
    return len(said)


def run_page(place, root, page, before):
    done = 0
    for heading, block in blocks_of(root, page):
        elsewhere = RUN_ELSEWHERE.get((page, heading))
        if any(line.startswith("$ ") or PROMPT.fullmatch(line) for line in block):
            for commands, said in steps_of(block):
                run_step(place, page, commands, said, before)
                done += 1
            if place.status != 0:
                fail("%s, %s: the last command fails" % (page, heading))
        elif block[0].startswith("def "):
            done += example_in_python(place, block)
        elif elsewhere is not None:
            with open(os.path.join(root, elsewhere)) as file:
                if page not in file.read():
                    fail("%s does not follow %s" % (elsewhere, page))
            done += 1
        else:
            lines = [line for line in block if COMMANDS.match(line) and not re.match(r"sett-tool (\w+ +(-\S|\[|[A-Z])|\w+ \[|COMMAND)", line)]
            if [line for line in lines if not line.startswith("./dev ")]:
                fail("%s, %s: no test runs %s" % (page, heading, lines))
    return done


def main():
    root, server, tool = [os.path.abspath(path) for path in sys.argv[1:4]]
    before = {key: list(value) for key, value in BEFORE.items()}
    place = Place(server, tool)
    done = said = 0
    try:
        for page in PAGES:
            done += run_page(place, root, page, before)
            said += known_to_dev(root, page)
    finally:
        place.clean_up()
    left = [key for key, value in before.items() if value]
    if left:
        fail("these are in no page any more: %s" % left)
    if done < 35 or said < 8:
        fail("only %d commands, and %d of ./dev, were found" % (done, said))


main()
