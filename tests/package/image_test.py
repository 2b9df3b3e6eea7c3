#!/usr/bin/python3
"""The image: built twice from the same files, and the same to the bit; then started as its configuration says, with the arguments and variables
of redis' image, on a root that can't be written; then what the compose files start, with a replica and Sentinel, and with what Prometheus asks.

    image_test.py CACHE      (a folder: of the Debian folder that is kept, as a tar file)

buildah builds it, without a container engine and without a registry: the base is a plain Debian 12 folder. What is started has name spaces
of its own of mounts, processes and the network, as under an engine. Prints a line for each step, with its seconds. Root only."""
import filecmp
import glob
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
import yaml
from package_test import SOURCE, expect, fail, plain_folder, run, wait_until

BASE = "docker.io/library/debian:12"
LARGEST_MB = 60
BUILD_S = 3600
STOP_S = 60  # stop_grace_period of the compose files
NETWORK = "10.9.0."


def buildah(folder, *words):
    return run("buildah", "--root", folder + "/store", "--runroot", folder + "/store-run", "--storage-driver", "vfs", *words, timeout_s=BUILD_S,
               env=dict(os.environ, BUILDAH_ISOLATION="chroot"), cwd=folder).strip()


def base_image(folder, cache):
    container = buildah(folder, "from", "scratch").split()[-1]
    buildah(folder, "add", "--quiet", container, plain_folder(cache), "/")
    buildah(folder, "commit", "--quiet", container, BASE)
    buildah(folder, "rm", container)


def built(folder, name, umask, keep_times):
    """From the files that git knows, in a folder of that name, as they would come out of git under that umask. It gives the root's folder and what
    buildah says of the image."""
    source = os.path.join(folder, name)
    os.mkdir(source)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=SOURCE, stdout=subprocess.PIPE, check=True).stdout
    for path in listed.decode().rstrip("\0").split("\0"):
        os.makedirs(os.path.dirname(os.path.join(source, path)), exist_ok=True)
        shutil.copy2(os.path.join(SOURCE, path), os.path.join(source, path))
        os.chmod(os.path.join(source, path), (0o777 if os.access(os.path.join(source, path), os.X_OK) else 0o666) & ~umask)
        if not keep_times:
            os.utime(os.path.join(source, path))
    moment = run("git", "log", "-1", "--format=%ct", cwd=SOURCE).strip()
    buildah(folder, "bud", "--pull-never", "--no-cache", "--format", "docker", "--timestamp", moment, "--build-arg", "SOURCE_DATE_EPOCH=" + moment,
            "--file", source + "/docker/Dockerfile", "--tag", name, source)
    shutil.rmtree(source)
    return root_of(folder, name), json.loads(buildah(folder, "inspect", "--type", "image", name))["Docker"]


def root_of(folder, name):
    return buildah(folder, "mount", buildah(folder, "from", "--pull-never", name))


def files_of(root):
    """Each path with what a layer says of it, but for its contents."""
    found = {}
    for directory, directories, names in os.walk(root):
        for name in directories + names:
            path = os.path.join(directory, name)
            told = os.lstat(path)
            link = os.readlink(path) if os.path.islink(path) else ""
            size = told.st_size if os.path.isfile(path) and not link else 0
            found[path[len(root):]] = (told.st_mode, told.st_uid, told.st_gid, told.st_rdev, told.st_mtime_ns, size, link)
    return found


def differ(first, second):
    """The paths of what is not the same in both roots."""
    left, right = files_of(first), files_of(second)
    found = {path for path in left.keys() | right.keys() if left.get(path) != right.get(path)}
    for path in left.keys() & right.keys():
        if left[path][5] > 0 and not filecmp.cmp(first + path, second + path, shallow=False):
            found.add(path)
    return sorted(found)


def same_twice(images):
    """A layer's digest is that of its tar file: names, contents, times, modes, owners. In what is said of the image the builds' own names alone
    may differ."""
    (first_root, first), (second_root, second) = images
    layers = [image["rootfs"]["diff_ids"] for image in (first, second)]
    if layers[0] != layers[1]:
        paths = differ(first_root, second_root)
        fail("the layers are not the same: %d files: %s" % (len(paths), paths[:30]))
    for image in (first, second):
        for key in ("container", "container_config"):
            image.pop(key, None)
        image["config"].pop("Hostname", None)
    expect("what is said of the image", second, first)
    expect("layers beyond the base", len(layers[0]), 2)
    expect("files that differ", differ(first_root, second_root), [])
    return "layer " + layers[0][1][:19]


def small(root, base):
    """Blocks of all files that are not the base's."""
    theirs, blocks, seen = files_of(base), 0, set()
    for path, told in files_of(root).items():
        if theirs.get(path) != told:
            at = os.lstat(root + path)
            blocks += at.st_blocks if at.st_ino not in seen else 0
            seen.add(at.st_ino)
    megabytes = blocks * 512 / 1e6
    if not 1 < megabytes <= LARGEST_MB:
        fail("%.1f MB beyond the base" % megabytes)
    return "%.1f MB beyond the base" % megabytes


def told_well(image, root, base):
    config = image["config"]
    expect("its user", config["User"], "sett")
    with open(root + "/etc/passwd") as file:
        account = [line.split(":") for line in file if line.startswith("sett:")][0]
    expect("its user's number, home and shell", account[2:4] + account[5:6] + [account[6].strip()], ["999", "999", "/data", "/usr/sbin/nologin"])
    for key, value in (("Volumes", {"/data": {}}), ("WorkingDir", "/data"), ("ExposedPorts", {"6379/tcp": {}}), ("StopSignal", "SIGTERM"),
                       ("Entrypoint", ["/usr/local/bin/entrypoint.sh"])):
        expect(key, config.get(key), value)
    expect("the health check is a shell's", config["Healthcheck"]["Test"][0], "CMD-SHELL")
    told = os.lstat(root + "/data")
    expect("/data", (told.st_uid, told.st_gid, told.st_mode & 0o7777), (999, 999, 0o750))
    for name in ("sett-server", "sett-tool", "entrypoint.sh"):
        told = os.lstat(root + "/usr/local/bin/" + name)
        expect(name, (told.st_uid, told.st_gid, told.st_mode & 0o7777), (0, 0, 0o755))
    theirs = files_of(base)
    more = [path for path, told in files_of(root).items() if stat.S_ISREG(told[0]) and told[0] & 0o6000 and path not in theirs]
    expect("programs that run as another user, beyond the base's", more, [])


class Machine:
    """One of the network: an address, a name, a folder for /data, and at most one process that was started. `root`: None for a program of this machine."""
    count = 1

    def __init__(self, name, root, config, folder):
        Machine.count += 1
        self.name, self.root, self.config, self.process = name, root, config, None
        self.address = NETWORK + str(Machine.count)
        self.data = os.path.join(folder, "data-%d" % Machine.count)
        self.log = self.data + ".log"
        os.mkdir(self.data, 0o750)
        os.chown(self.data, 999, 999)
        space, wire = "s%d" % Machine.count, "v%d" % Machine.count
        self.space = space
        run("ip", "netns", "add", space)
        run("ip", "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", wire, "master", "inside", "up")
        run("ip", "-n", space, "addr", "add", self.address + "/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "-n", space, "link", "set", "lo", "up")

    def start(self, command, as_root=False, **environment):
        """The first process of its name space, as `docker run --read-only -v DATA:/data`."""
        words = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
        if self.root is None:
            inside = ["sh", "-ec", 'mount -t tmpfs tmp /tmp; exec "$@"', "sh", *command]
        else:
            words = {**dict(word.split("=", 1) for word in self.config["Env"]), **environment}
            user = "root" if as_root else self.config["User"]
            inside = ["sh", "-ec", 'data=$1 root=$2 user=$3; shift 3; mount --bind "$data" "$root/data"; mount -t proc proc "$root/proc"; '
                      'exec chroot --userspec="$user" "$root" /bin/sh -c \'cd "$1"; shift; exec "$@"\' sh "$@"', "sh", self.data, self.root,
                      user + ":" + user, self.config["WorkingDir"], *self.config["Entrypoint"], *command]
        self.process = subprocess.Popen(["ip", "netns", "exec", self.space, "unshare", "--mount", "--pid", "--fork", "--kill-child", "env", "-i",
                                         *[name + "=" + value for name, value in words.items()], *inside], stdin=subprocess.DEVNULL,
                                        stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        wait_until("%s does not start" % self.name, lambda: self.process.poll() is not None or self.first() is not None)

    def first(self):
        """The process that is the first in there; None before there is one, and when it has ended."""
        try:
            with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
                children = file.read().split()
        except FileNotFoundError:
            return None
        return children[0] if children else None

    def said(self):
        with open(self.log) as file:
            return file.read()[-3000:]

    def ask(self, *command):
        """As `docker exec`: status, and what it printed."""
        first = self.first()
        if first is None:
            fail("%s is gone:\n%s" % (self.name, self.said()))
        done = subprocess.run(["nsenter", "--target", first, "--mount", "--net", "--pid", "--root", "--wd", *command], text=True, timeout=120,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.strip()

    def redis(self, *words):
        return self.ask("redis-cli", *words)[1]

    def healthy(self):
        return self.first() is not None and self.ask("/bin/sh", "-c", self.config["Healthcheck"]["Test"][1])[0] == 0

    def wait_healthy(self):
        wait_until("%s does not become healthy" % self.name, lambda: self.process.poll() is not None or self.healthy())
        if self.process.poll() is not None:
            fail("%s ended with %d:\n%s" % (self.name, self.process.returncode, self.said()))

    def stop(self):
        """As `docker stop`: to the first process alone, which has the time that the compose files give it."""
        os.kill(int(self.first()), signal.SIGTERM)
        code = self.process.wait(STOP_S)
        expect("the end of %s:\n%s" % (self.name, self.said()), code, 0)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            if self.first() is not None:
                os.kill(int(self.first()), signal.SIGKILL)
            self.process.wait(STOP_S)


def answers(machine, command, questions, as_root=False, **environment):
    """Started, it answers, is the first process and the user's, and ends when it is told to."""
    machine.start(command, as_root, **environment)
    machine.wait_healthy()
    for question, answer in questions:
        expect("%s: %s" % (command, question), machine.redis(*question.split()).split()[-1], answer)
    with open("/proc/%s/status" % machine.first()) as file:
        status = file.read()
    expect("what is the first process", re.search(r"Name:\s+(\S+)", status)[1], "sett-server")
    expect("its number in there", re.search(r"NSpid:.*\s(\d+)\n", status)[1], "1")
    expect("its user", re.search(r"Uid:\s+(\d+)", status)[1], "999")
    machine.stop()


def arguments(machine):
    """Those of redis' image."""
    mode, length = "CONFIG GET protected-mode", "CONFIG GET slowlog-max-len"
    for name, text in (("mine", "slowlog-max-len 5\n"), ("protected", "protected-mode yes\n")):
        with open("%s/%s.conf" % (machine.data, name), "w") as file:
            file.write(text)
    open(machine.data + "/of-root", "w").close()
    answers(machine, [], [(mode, "no"), ("CONFIG GET dir", "/data"), ("SET image kept", "OK")], as_root=True)
    expect("files of root", os.lstat(machine.data + "/of-root").st_uid, 999)
    answers(machine, ["--slowlog-max-len", "7"], [(length, "7"), ("GET image", "kept")])
    answers(machine, ["redis-server", "--save", "60", "1", "--loglevel", "warning"], [(mode, "no"), ("CONFIG GET loglevel", "warning")], as_root=True)
    answers(machine, ["/data/mine.conf"], [(mode, "no"), (length, "5")])
    answers(machine, ["redis-server", "/data/protected.conf", "--slowlog-max-len", "9"], [(mode, "yes"), (length, "9")])
    answers(machine, ["sett-server"], [(length, "11"), ("GET image", "kept")], REDIS_ARGS="--slowlog-max-len 11")
    for command, text in (("redis-cli --version", "redis-cli 7"), ("--version", "Sett server"), ("sett-tool check /data", "clean")):
        machine.start(command.split())
        expect("%s:\n%s" % (command, machine.said()), machine.process.wait(120), 0)
        expect(command, text in machine.said(), True)


def alive(machine):
    """The health check; a kill takes nothing; only /data is written."""
    machine.start(["--requirepass", "secret"])
    machine.wait_healthy()
    expect("without the password", machine.redis("SET", "image", "other")[:6], "NOAUTH")
    expect("with it", machine.redis("-a", "secret", "--no-auth-warning", "SET", "last", "word"), "OK")
    status, text = machine.ask("/bin/sh", "-c", "for i in / /etc/sett /usr/local/bin /tmp /var/tmp /root; do touch $i/new 2>/dev/null && echo $i; done; true")
    expect("what can be written", text, "")
    os.kill(int(machine.first()), signal.SIGSTOP)
    check = subprocess.run(["nsenter", "--target", machine.first(), "--mount", "--net", "--pid", "--root", "timeout", "3", "/bin/sh", "-c",
                            machine.config["Healthcheck"]["Test"][1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    expect("a server that hangs is not healthy", check.returncode != 0, True)
    machine.kill()
    answers(machine, [], [("GET last", "word")])


def services_of(name):
    with open(os.path.join(SOURCE, "docker", name)) as file:
        told = yaml.safe_load(file)
    for service in told["services"].values():
        if service["image"] == "sett":
            expect("%s: its Dockerfile" % name, service["build"], {"context": "..", "dockerfile": "docker/Dockerfile"})
            expect("%s: its volume" % name, [volume.split(":")[0] in told["volumes"] and volume.split(":")[1] for volume in service["volumes"]],
                   ["/data"])
    return told


def alone(machine_named):
    machine = machine_named("sett")
    answers(machine, services_of("compose.yaml")["services"]["sett"]["command"],
            [("CONFIG GET maxmemory", str(256 << 20)), ("CONFIG GET appendfsync", "everysec")])


def with_sentinel(machine_named):
    """The master is killed: Sentinel makes the replica the master. It comes back, and follows."""
    services = services_of("compose-sentinel.yaml")["services"]
    servers = {name: machine_named(name) for name in ("first", "second")}
    for name, server in servers.items():
        server.start(services[name]["command"])
        server.wait_healthy()
    first, second = servers["first"], servers["second"]
    expect("a write", first.redis("SET", "image", "kept"), "OK")
    wait_until("second does not follow", lambda: second.redis("GET", "image") == "kept")
    told = services["sentinel"]
    sentinels = [machine_named("sentinel") for _ in range(told["deploy"]["replicas"])]
    for sentinel in sentinels:
        sentinel.start(told["entrypoint"] + told["command"])

    def says(what, expected):
        return lambda: all(re.search(expected, sentinel.redis("-p", "26379", *what.split())) for sentinel in sentinels)

    wait_until("Sentinels do not see all:\n" + sentinels[0].said(),
               says("INFO sentinel", r"name=sett,status=ok,address=%s:6379,slaves=1,sentinels=3" % re.escape(first.address)))
    first.kill()
    begun = time.monotonic()
    wait_until("no new master", says("SENTINEL get-master-addr-by-name sett", re.escape(second.address)))
    taken = time.monotonic() - begun
    wait_until("second is no master", lambda: "role:master" in second.redis("INFO", "replication"))
    expect("what was written", second.redis("GET", "image"), "kept")
    expect("a write", second.redis("SET", "image", "later"), "OK")
    first.start(services["first"]["command"])
    first.wait_healthy()
    wait_until("first does not follow", lambda: first.redis("GET", "image") == "later" and "role:slave" in first.redis("INFO", "replication"))
    for server in servers.values():
        server.stop()
    return "another master after %.1f s" % taken


def with_prometheus(machine_named):
    """What Prometheus would ask for; itself it does not run."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as families
    told = services_of("compose-prometheus.yaml")
    sett = told["services"]["sett"]
    scrapes = yaml.safe_load(told["configs"]["prometheus"]["content"])["scrape_configs"]
    target = scrapes[0]["static_configs"][0]["targets"][0]
    expect("its configuration", told["services"]["prometheus"]["configs"][0]["source"] in told["configs"], True)
    host, port = target.split(":")
    machine = machine_named(host)
    expect("the target is a service", host in told["services"], True)
    machine.start(sett["command"])
    machine.wait_healthy()
    answer = urllib.request.urlopen("http://%s:%s/metrics" % (machine.address, port), timeout=30)
    found = {family.name for family in families(answer.read().decode())}
    expect("the series that the file names", "sett_commands_processed" in found, True)
    machine.stop()
    return "%d families of series" % len(found)


def inside(folder, root, image):
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "run", "/run")
    for words in (("set", "lo", "up"), ("add", "inside", "type", "bridge"), ("set", "inside", "up")):
        run("ip", "link", *words)
    run("ip", "addr", "add", NETWORK + "1/24", "dev", "inside")
    # As an engine does it: names of the network, devices, and a root that is not written.
    hosts = os.path.join(folder, "hosts")
    open(hosts, "w").close()
    open(root + "/etc/hosts", "a").close()
    run("mount", "--bind", root, root)
    run("mount", "--rbind", "/dev", root + "/dev")
    for path in (root + "/etc/hosts", "/etc/hosts"):
        run("mount", "--bind", hosts, path)
    run("mount", "-o", "remount,bind,ro", root)
    machines = []

    def machine_named(name):
        machine = Machine(name, None if name == "sentinel" else root, image["config"], folder)
        machines.append(machine)
        with open(hosts, "r+") as file:
            others = [line for line in file if name not in line.split()]
            file.seek(0)
            file.truncate()
            file.write("127.0.0.1 localhost\n" + "".join(line for line in others if "localhost" not in line) + "%s %s\n" % (machine.address, name))
        return machine

    try:
        one = machine_named("image")
        for name, part in (("the arguments of redis' image, a root that is not written", lambda: arguments(one)),
                           ("health, kill -9", lambda: alive(one)),
                           ("compose.yaml", lambda: alone(machine_named)),
                           ("compose-sentinel.yaml", lambda: with_sentinel(machine_named)),
                           ("compose-prometheus.yaml", lambda: with_prometheus(machine_named))):
            step(name, part)
    finally:
        for machine in machines:
            machine.kill()


def step(name, part):
    start = time.monotonic()
    said = part()
    print("ok %7.1f s  %s%s" % (time.monotonic() - start, name, ": " + said if isinstance(said, str) else ""), flush=True)
    return said


def main():
    if os.geteuid() != 0:
        fail("this test makes name spaces: run it as root")
    if sys.argv[1] == "--inside":
        with open(sys.argv[4]) as file:
            return inside(sys.argv[2], sys.argv[3], json.load(file))
    os.umask(0o022)
    folder = tempfile.mkdtemp(prefix="sett-image.")
    os.chmod(folder, 0o755)
    try:
        step("a base", lambda: base_image(folder, os.path.abspath(sys.argv[1])))
        images = []
        for name, umask, keep_times in (("first", 0o022, True), ("second", 0o077, False)):
            step("built, the %s time" % name, lambda: images.append(built(folder, name, umask, keep_times)))
        root, image = images[0]
        step("twice the same", lambda: same_twice(images))
        base = root_of(folder, BASE)
        step("its size", lambda: small(root, base))
        step("user, volume, port, health check, entry point", lambda: told_well(image, root, base))
        with open(folder + "/image.json", "w") as file:
            json.dump(image, file)
        done = subprocess.run(["unshare", "--mount", "--net", sys.executable, os.path.abspath(__file__), "--inside", folder, root, file.name])
    finally:
        shutil.rmtree(folder)
    if done.returncode == 0:
        print("the image is well")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
